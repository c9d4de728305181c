//! `use_vmac [[name] INTERFACE] [MAC] [netlink_notify_msg] [group GROUP]`, `vmac_xmit_base`.
//!
//! The virtual MAC lives in the programs on the instance's interface: there is no macvlan device, so a
//! name for one means nothing.

use std::time::Duration;

use vrrp_common::contract::Family;

use super::value;
use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    lexer::Word,
    model::Instance,
    source::Span,
    tree::Node,
};

/// What is read of it before the family is known.
#[derive(Default)]
pub(super) struct VirtualMac {
    wanted: Option<Span>,
    /// Bytes of a given MAC: all six, or the first five.
    given: Option<Vec<u8>>,
    sends_from_port: bool,
}

/// How often a virtual MAC is announced that no advert carries: switches forget in five minutes.
const REFRESH: Duration = Duration::from_mins(1);

impl VirtualMac {
    /// Reads a line if it is one of these; false where it is not.
    pub(super) fn read(&mut self, node: &Node, diagnostics: &mut Diagnostics) -> bool {
        match node.keyword() {
            "use_vmac" => self.arguments(node, diagnostics),
            "vmac_xmit_base" => self.sends_from_port = true,
            // Frames for an address are the same whatever interface it is on.
            "use_vmac_addr" => diagnostics.push(
                Diagnostic::warning(node.span(), "use_vmac_addr is not supported")
                    .help("addresses on other interfaces are at the MAC of those; it is ignored"),
            ),
            _ => return false,
        }
        true
    }

    fn arguments(&mut self, node: &Node, diagnostics: &mut Diagnostics) {
        self.wanted = Some(node.span());
        let mut words = node.arguments().iter();
        while let Some(word) = words.next() {
            match word.text.as_str() {
                "netlink_notify_msg" => {}
                "group" => drop(words.next()),
                "name" => no_device(words.next().unwrap_or(word), diagnostics),
                text if text.contains(':') => self.given = given(word, diagnostics),
                _ => no_device(word, diagnostics),
            }
        }
    }

    /// What it means for an instance whose family and VRID are known.
    pub(super) fn settle(self, instance: &mut Instance, diagnostics: &mut Diagnostics) {
        if self.sends_from_port && self.wanted.is_none() {
            diagnostics.push(
                Diagnostic::lint(
                    instance.span.clone(),
                    "vmac_xmit_base means nothing without use_vmac",
                )
                .help("it is ignored"),
            );
        }
        let Some(span) = self.wanted else {
            return;
        };
        if instance.strict && (self.given.is_some() || self.sends_from_port) {
            diagnostics.push(
                Diagnostic::lint(
                    span,
                    "strict_mode: the MAC is the RFC's, and adverts carry it",
                )
                .help("remove strict_mode (vrrp_strict) to have it as it is written"),
            );
        }
        let given = self.given.filter(|_| !instance.strict);
        instance.virtual_mac = Some(virtual_mac(given, instance));
        instance.sends_from_port = self.sends_from_port && !instance.strict;
        // Unicast adverts leave with the interface's MAC in any case.
        let is_silent = instance.sends_from_port || instance.unicast.is_some();
        if is_silent && instance.announce.refresh_ns == 0 {
            instance.announce.refresh_ns = REFRESH.as_nanos().try_into().unwrap_or(u64::MAX);
        }
    }
}

/// RFC 9568 7.3: 00-00-5E-00-01-{VRID} for IPv4, 00-00-5E-00-02-{VRID} for IPv6.
fn virtual_mac(given: Option<Vec<u8>>, instance: &Instance) -> [u8; 6] {
    let family = match instance.family() {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    let mut mac = [0x00, 0x00, 0x5e, 0x00, family, instance.vrid];
    for (to, from) in mac.iter_mut().zip(given.unwrap_or_default()) {
        *to = from;
    }
    mac
}

fn no_device(word: &Word, diagnostics: &mut Diagnostics) {
    diagnostics.push(
        Diagnostic::lint(
            word.span.clone(),
            format!("there is no device {} with xvrrp", word.text),
        )
        .help(
            "the virtual MAC lives in BPF programs on the instance's own interface; what refers to the \
             device (firewall rules, scripts) has to name that one",
        ),
    );
}

/// Six bytes, or five that the VRID is put behind. A group's MAC is nobody's.
fn given(word: &Word, diagnostics: &mut Diagnostics) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> = word.text.split(':').map(value::hexadecimal_byte).collect();
    let fits = |bytes: &Vec<u8>| {
        let is_group = bytes.first().is_none_or(|first| first & 1 == 1);
        (5..=6).contains(&bytes.len()) && !is_group && bytes.iter().any(|byte| *byte != 0)
    };
    let bytes = bytes.filter(fits);
    if bytes.is_none() {
        diagnostics.push(
            Diagnostic::error(
                word.span.clone(),
                format!("{} cannot be a virtual MAC", word.text),
            )
            .help(
                "six bytes such as 02:00:00:00:01:05, or the first five; the RFC's is used instead",
            ),
        );
    }
    bytes
}
