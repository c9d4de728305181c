//! What the lines of an instance mean together: version and family, preemption, `strict_mode`.

use std::time::Duration;

use vrrp_common::{
    timers::DOWN_TIMER_ADVERTS,
    vrrp::{PRIORITY_OWNER, Version},
};

use super::{instance::Draft, transport::Listed};
use crate::{
    config::{
        diagnostics::{Diagnostic, Diagnostics},
        model::{Config, Unicast},
        source::Span,
    },
    net::is_link_local,
};

impl Draft<'_> {
    /// Settles everything that depends on more than one line.
    pub(super) fn settle(&mut self, config: &Config, diagnostics: &mut Diagnostics) {
        self.settle_family(config, diagnostics);
        self.settle_version(config, diagnostics);
        self.settle_interval(diagnostics);
        self.settle_authentication(diagnostics);
        self.settle_transport(diagnostics);
        self.settle_accept();
        if self.instance.strict {
            self.be_strict(diagnostics);
        }
    }

    /// The family is the first address's. IPv6 adverts begin with a link-local address (RFC 9568
    /// 5.2.9): one that stands further down is moved up.
    fn settle_family(&mut self, config: &Config, diagnostics: &mut Diagnostics) {
        let addresses = &mut self.instance.addresses;
        let is_v6 = addresses
            .first()
            .is_some_and(|entry| entry.address.is_ipv6());
        let default = if is_v6 {
            addresses.sort_by_key(|entry| !is_link_local(entry.address));
            let advertised = &mut self.instance.advertised;
            advertised.sort_by_key(|address| !is_link_local(*address));
            if addresses.iter().all(|entry| !is_link_local(entry.address)) {
                diagnostics.push(
                    Diagnostic::lint(
                        self.name.span.clone(),
                        format!("{} has no link-local address", self.name.text),
                    )
                    .help(
                        "RFC 9568 wants one as the first address, and strict routers ignore adverts \
                         without: add such as fe80::1/64 on every router",
                    ),
                );
            }
            config.global.group_v6.into()
        } else {
            config.global.group_v4.into()
        };
        self.instance.group = match self.transport.group.clone() {
            Some((group, _)) if group.is_ipv6() == is_v6 => group,
            Some((_, span)) => {
                self.wrong_family(span, diagnostics);
                default
            }
            None => default,
        };
    }

    fn wrong_family(&mut self, span: Span, diagnostics: &mut Diagnostics) {
        let what = "this is not of the family of the virtual addresses";
        self.refuse(span, what, "IPv4 or IPv6 throughout", diagnostics);
    }

    fn settle_version(&mut self, config: &Config, diagnostics: &mut Diagnostics) {
        let is_v6 = self.instance.group.is_ipv6();
        let default = if is_v6 { Version::V3 } else { Version::V2 };
        let named = self.version.as_ref().map(|(version, _)| *version);
        self.instance.version = named.or(config.global.version).unwrap_or(default);
        if is_v6 && self.instance.version == Version::V2 {
            self.instance.version = Version::V3;
            let span = self
                .version
                .as_ref()
                .map_or(&self.name.span, |(_, span)| span);
            diagnostics.push(
                Diagnostic::lint(span.clone(), "there is no IPv6 in VRRPv2")
                    .help("version 3 is used, as keepalived does"),
            );
        }
    }

    fn settle_authentication(&mut self, diagnostics: &mut Diagnostics) {
        if self.instance.version == Version::V3 {
            let span = self.transport.password.as_ref().map(|(_, span)| span);
            if let Some(span) = span.or(self.transport.unsupported.as_ref()) {
                diagnostics.push(
                    Diagnostic::warning(span.clone(), "VRRPv3 has no authentication")
                        .help("the block is ignored, as keepalived does for version 3"),
                );
            }
            return;
        }
        if let Some(span) = self.transport.unsupported.clone() {
            let what = "this kind of authentication is not supported";
            let help = "auth_type PASS; running without it would mean something else";
            self.refuse(span, what, help, diagnostics);
        }
        self.instance.password = self.transport.wire_password(diagnostics);
    }

    fn settle_transport(&mut self, diagnostics: &mut Diagnostics) {
        let is_v6 = self.instance.group.is_ipv6();
        let (unicast, multicast) = (
            self.transport.unicast_source.clone(),
            self.transport.multicast_source.clone(),
        );
        // Each keyword sets the source whatever the adverts' way is, as in keepalived.
        let source = if self.transport.is_unicast.is_some() {
            unicast.or(multicast)
        } else {
            multicast.or(unicast)
        };
        if let Some((address, span)) = &source
            && address.is_ipv6() != is_v6
        {
            self.wrong_family(span.clone(), diagnostics);
        }
        self.instance.source = source.map(|(address, _)| address);
        self.settle_accept_from(diagnostics);
        let Some(span) = self.transport.is_unicast.clone() else {
            return;
        };
        let peers = std::mem::take(&mut self.transport.peers);
        if let Some((_, span)) = peers
            .iter()
            .find(|(peer, _)| peer.address.is_ipv6() != is_v6)
        {
            self.wrong_family(span.clone(), diagnostics);
        }
        if peers.is_empty() && !self.transport.may_lack_peers {
            let help = "unicast_peer { IP … }, every other router of this VRID; or \
                        unicast_fault_no_peer, to be in FAULT until there is one";
            self.refuse(span, "unicast_peer names nobody", help, diagnostics);
        }
        self.instance.unicast = Some(Unicast {
            peers: peers.into_iter().map(|(peer, _)| peer).collect(),
            ttl: self.transport.ttl.unwrap_or(vrrp_common::vrrp::TTL),
            checks_peers: self.transport.checks_peers,
        });
    }

    fn settle_accept_from(&mut self, diagnostics: &mut Diagnostics) {
        let Some(listed) = self.transport.accept_from.take() else {
            return;
        };
        let Listed {
            routers,
            span,
            is_whole,
        } = listed;
        let is_v6 = self.instance.group.is_ipv6();
        if let Some((_, span)) = routers.iter().find(|(it, _)| it.is_ipv6() != is_v6) {
            self.wrong_family(span.clone(), diagnostics);
        }
        if self.transport.is_unicast.is_some() {
            diagnostics.push(
                Diagnostic::warning(span, "accept_from does not go with unicast_peer")
                    .help("it is ignored; check_unicast_src lets only the configured peers count"),
            );
            return;
        }
        self.broken |= !is_whole;
        if routers.is_empty() && is_whole {
            let help = "accept_from { IP … }, the address of every other router of this VRID";
            self.refuse(span, "accept_from names nobody", help, diagnostics);
        }
        self.instance.accept_from = routers.into_iter().map(|(address, _)| address).collect();
    }

    fn settle_accept(&mut self) {
        self.instance.accept = self.accept.as_ref().is_none_or(|(accept, _)| *accept);
    }

    /// `strict_mode`: what the RFC does not know is put right, and each change is told
    /// (keepalived.conf(5)).
    fn be_strict(&mut self, diagnostics: &mut Diagnostics) {
        let owner = self.is_owner();
        let mut changed = |span: &Span, what: &str| {
            diagnostics.push(
                Diagnostic::lint(span.clone(), format!("strict_mode: {what}"))
                    .help("remove strict_mode (vrrp_strict) to have it as it is written"),
            );
        };
        let name = &self.name.span;
        let instance = &mut self.instance;
        let says_accept = matches!(self.accept, Some((true, _)));
        let accepts =
            instance.accept && (owner || (instance.version == Version::V3 && says_accept));
        if instance.accept && !accepts {
            let span = self.accept.as_ref().map_or(name, |(_, span)| span);
            changed(
                span,
                "packets to the virtual addresses are dropped unless the priority is 255; they will \
                 not even answer ping",
            );
        }
        instance.accept = accepts;
        if instance.password.take().is_some() {
            changed(name, "the password is not used");
        }
        if let Some((_, span)) = self.preempt_delay.take() {
            instance.preempt_delay = Duration::ZERO;
            changed(&span, "there is no preempt_delay");
        }
        if instance.down_timer_adverts != DOWN_TIMER_ADVERTS {
            instance.down_timer_adverts = DOWN_TIMER_ADVERTS;
            changed(name, "down_timer_adverts is 3");
        }
        instance.announce.lower_prio_repeat = 0;
        instance.announce.lower_prio_delay_ns = 0;
        if !owner && let Some((true, span)) = self.wants_master.clone() {
            self.wants_master = Some((false, span.clone()));
            changed(&span, "state MASTER is for priority 255 only");
        }
        // RFC 9568 6.4.3 wants losing adverts answered, RFC 3768 does not know that.
        instance.lower_prio_no_advert = instance.version == Version::V2;
        instance.higher_prio_send_advert = false;
        if let Some(span) = self.transport.is_unicast.clone() {
            let help = "remove strict_mode or unicast_peer";
            self.refuse(span, "strict_mode knows no unicast", help, diagnostics);
        }
        let first = self.instance.addresses.first();
        if first.is_some_and(|it| it.address.is_ipv6() && !is_link_local(it.address)) {
            let what = "strict_mode wants a link-local address among the virtual ones";
            let help = "RFC 9568 5.2.9: add such as fe80::1/64 on every router; strict routers \
                        discard adverts without";
            self.refuse(self.name.span.clone(), what, help, diagnostics);
        }
    }

    fn is_owner(&self) -> bool {
        let wants_master = self
            .wants_master
            .as_ref()
            .is_some_and(|(master, _)| *master);
        match self.priority {
            Some(priority) => priority == PRIORITY_OWNER,
            None => wants_master,
        }
    }

    /// What keepalived does with the combinations it does not allow, and a word on those that
    /// surprise people.
    pub(super) fn settle_preemption(&mut self, diagnostics: &mut Diagnostics) {
        let wants_master = self
            .wants_master
            .as_ref()
            .is_some_and(|(master, _)| *master);
        if wants_master && let Some(span) = self.nopreempt.take() {
            diagnostics.push(
                Diagnostic::warning(span, "nopreempt does not go with state MASTER")
                    .help("it is ignored, as keepalived does; say state BACKUP on every node"),
            );
        }
        if let Some((_, span)) = &self.preempt_delay
            && (wants_master || self.nopreempt.is_some())
        {
            let other = if wants_master {
                "state MASTER"
            } else {
                "nopreempt"
            };
            diagnostics.push(
                Diagnostic::warning(
                    span.clone(),
                    format!("preempt_delay does not go with {other}"),
                )
                .help("it is ignored, as keepalived does"),
            );
            self.preempt_delay = None;
        }
        if let Some((false, span)) = &self.wants_master
            && self.nopreempt.is_none()
            && self.preempt_delay.is_none()
        {
            diagnostics.push(
                Diagnostic::lint(
                    span.clone(),
                    "state BACKUP does not keep this node from preempting",
                )
                .help("add nopreempt if a node that comes back must leave the address where it is"),
            );
        }
    }
}
