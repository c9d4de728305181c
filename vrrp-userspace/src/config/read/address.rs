//! Items of `virtual_ipaddress`:
//! `IP[/M] [brd +|-|IP] [dev IF] [scope S] [label L] [noprefixroute] [no_track]`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::words::is_device_name;
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        lexer::Word,
        tree::Node,
    },
    net::{Scope, VirtualAddress},
};

/// Longest label the kernel takes: `IFNAMSIZ` with its final zero.
const MAX_LABEL: usize = 15;

/// Reads one line. `None` after an error, or where the address is left out with a warning.
pub(super) fn read(
    node: &Node,
    interface: &str,
    diagnostics: &mut Diagnostics,
) -> Result<Option<VirtualAddress>, ()> {
    let Some(first) = node.words.first() else {
        return Ok(None);
    };
    let (address, prefix) = parse(first, diagnostics).ok_or(())?;
    let mut virtual_address = VirtualAddress::new(address, prefix);
    let mut words = node.arguments().iter();
    while let Some(option) = words.next() {
        let mut argument = || words.next().ok_or(option);
        let read = match option.text.as_str() {
            "brd" | "broadcast" | "label" if address.is_ipv6() => argument().map(|word| {
                diagnostics.push(
                    Diagnostic::warning(
                        word.span.clone(),
                        format!("an IPv6 address has no {}", option.text),
                    )
                    .help("it is ignored; the address is served"),
                );
            }),
            "dev" => match argument() {
                Ok(word) if !is_device_name(&word.text) => {
                    diagnostics.push(no_device(word));
                    return Err(());
                }
                found => found.map(|word| {
                    let elsewhere = word.text != interface;
                    virtual_address.interface = elsewhere.then(|| word.text.clone());
                }),
            },
            "brd" | "broadcast" => argument().map(|word| {
                virtual_address.broadcast = broadcast(word, address, prefix, diagnostics);
            }),
            "scope" => argument().map(|word| virtual_address.scope = scope(word, diagnostics)),
            "label" => argument().map(|word| {
                let device = virtual_address.interface.as_deref().unwrap_or(interface);
                virtual_address.label = label(word, device, diagnostics);
            }),
            "no_track" => {
                virtual_address.tracked = false;
                Ok(())
            }
            "noprefixroute" => {
                virtual_address.prefix_route = false;
                Ok(())
            }
            "preferred_lft" => argument().map(|word| {
                virtual_address.preferred_s = preferred(word, diagnostics);
            }),
            "track_group" => argument().map(drop),
            other => {
                diagnostics.push(
                    Diagnostic::warning(
                        option.span.clone(),
                        format!("{other} is not supported for an address"),
                    )
                    .help("it is ignored; the address is served"),
                );
                Ok(())
            }
        };
        if let Err(option) = read {
            diagnostics.push(
                Diagnostic::error(
                    option.span.clone(),
                    format!("{} needs a value", option.text),
                )
                .help("IP[/M] [brd +|-|IP] [dev IF] [scope S] [label L]"),
            );
            return Err(());
        }
    }
    Ok(Some(virtual_address))
}

fn parse(word: &Word, diagnostics: &mut Diagnostics) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match word.text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (word.text.as_str(), None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        diagnostics.push(
            Diagnostic::error(word.span.clone(), format!("{address} is not an IP address"))
                .help("such as 10.0.0.30 or 2001:db8::30, then /PREFIX"),
        );
        return None;
    };
    if !can_be_virtual(address) {
        diagnostics.push(
            Diagnostic::error(
                word.span.clone(),
                format!("{address} cannot be anybody's address"),
            )
            .help("an address that a host can have"),
        );
        return None;
    }
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let Some(prefix) = prefix else {
        return Some((address, longest));
    };
    let bits = prefix.parse::<u8>().ok().filter(|bits| *bits <= longest);
    if bits.is_none() {
        diagnostics.push(
            Diagnostic::error(
                word.span.clone(),
                format!("/{prefix} is not a prefix length"),
            )
            .help(format!("a number from 0 to {longest}")),
        );
    }
    bits.map(|bits| (address, bits))
}

/// Whether an address can be a host's own.
#[must_use]
pub fn can_be_virtual(address: IpAddr) -> bool {
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    let is_mapped = matches!(address, IpAddr::V6(address)
        if Ipv6Addr::to_ipv4_mapped(&address).is_some());
    !(address.is_multicast()
        || address.is_unspecified()
        || address.is_loopback()
        || is_broadcast
        || is_mapped)
}

fn no_device(word: &Word) -> Diagnostic {
    let what = format!("{} cannot be an interface", word.text);
    Diagnostic::error(word.span.clone(), what).help("15 characters at most, without a slash")
}

/// `forever` or a number of seconds.
fn preferred(word: &Word, diagnostics: &mut Diagnostics) -> Option<u32> {
    if word.text == "forever" {
        return Some(u32::MAX);
    }
    let seconds = word.text.parse().ok();
    if seconds.is_none() {
        diagnostics.push(
            Diagnostic::error(word.span.clone(), format!("{} is no lifetime", word.text))
                .help("seconds, or forever; the default is used"),
        );
    }
    seconds
}

fn broadcast(
    word: &Word,
    address: IpAddr,
    prefix: u8,
    diagnostics: &mut Diagnostics,
) -> Option<Ipv4Addr> {
    let IpAddr::V4(address) = address else {
        return None;
    };
    let host_bits = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    match word.text.as_str() {
        "+" => Some(Ipv4Addr::from(u32::from(address) | host_bits)),
        "-" => Some(Ipv4Addr::from(u32::from(address) & !host_bits)),
        text => {
            let parsed = text.parse().ok();
            if parsed.is_none() {
                diagnostics.push(
                    Diagnostic::error(
                        word.span.clone(),
                        format!("{text} is not a broadcast address"),
                    )
                    .help("+, - or an IPv4 address; none is set"),
                );
            }
            parsed
        }
    }
}

fn scope(word: &Word, diagnostics: &mut Diagnostics) -> Scope {
    Scope::by_name(&word.text).unwrap_or_else(|| {
        diagnostics.push(
            Diagnostic::error(word.span.clone(), format!("{} is not a scope", word.text))
                .help("global, site, link, host or nowhere; global is used"),
        );
        Scope::Global
    })
}

/// The kernel shows a label as the name of the interface with something behind it, and takes any
/// text that is short enough.
fn label(word: &Word, interface: &str, diagnostics: &mut Diagnostics) -> Option<String> {
    if word.text.len() > MAX_LABEL {
        diagnostics.push(
            Diagnostic::error(
                word.span.clone(),
                format!("the label {} is too long", word.text),
            )
            .help(format!(
                "{MAX_LABEL} characters at most; the address gets none"
            )),
        );
        return None;
    }
    if !word.text.starts_with(interface) {
        diagnostics.push(
            Diagnostic::lint(
                word.span.clone(),
                format!("the label {} does not begin with {interface}", word.text),
            )
            .help(format!("older tools expect {interface}:NAME")),
        );
    }
    Some(word.text.clone())
}
