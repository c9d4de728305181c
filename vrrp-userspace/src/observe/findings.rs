//! What is wrong on a LAN, and what to do about it.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Serialize;
use vrrp_common::{timers, vrrp::SIMPLE_PASSWORD};

use super::lan::{Lan, Router, VirtualRouter};
use crate::daemon::rejection;

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The virtual router.
    pub vrid: u8,
    /// Its VLAN; 0 = none.
    pub vlan: u16,
    /// What.
    pub what: String,
    /// What to do about it.
    pub help: String,
    /// It does not work as it is; otherwise somebody should know.
    pub is_serious: bool,
}

impl Lan {
    /// Everything that is wrong.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = self.iter().flat_map(VirtualRouter::findings).collect();
        findings.extend(self.shared_addresses());
        findings
    }

    /// Addresses that belong to two virtual routers.
    fn shared_addresses(&self) -> Vec<Finding> {
        let mut owners: BTreeMap<(u16, IpAddr), u8> = BTreeMap::new();
        let mut findings = Vec::new();
        for virtual_router in self.iter() {
            let VirtualRouter { vlan, vrid, .. } = *virtual_router;
            let Some((_, master)) = virtual_router.master() else {
                continue;
            };
            for address in &master.addresses {
                let other = owners.insert((vlan, *address), vrid);
                if let Some(other) = other.filter(|other| *other != vrid) {
                    findings.push(Finding {
                        vrid,
                        vlan,
                        what: format!("{address} belongs to VRID {other} as well"),
                        help: "an address belongs to one virtual router; take it out of one"
                            .to_owned(),
                        is_serious: true,
                    });
                }
            }
        }
        findings
    }
}

impl VirtualRouter {
    /// Everything that is wrong with it.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        of_one(self)
    }
}

fn of_one(it: &VirtualRouter) -> Vec<Finding> {
    let finding = |what: String, help: &str, is_serious| Finding {
        vrid: it.vrid,
        vlan: it.vlan,
        what,
        help: help.to_owned(),
        is_serious,
    };
    let mut all = Vec::new();
    let mut find = |what: String, help: &str| all.push(finding(what, help, true));
    let masters = it.masters_at_once();
    if masters.len() > 1 {
        let names = masters
            .iter()
            .map(|(source, router)| format!("{source} (prio {})", router.priority));
        let names: Vec<String> = names.collect();
        find(
            format!("{} are MASTER at the same time", names.join(" and ")),
            "the one with the lower priority does not hear the other, or does not count its adverts: look at its \
             firewall, at multicast (IGMP) snooping between them, and at the differences below",
        );
    }
    differences(it, &mut find);
    for rejected in &it.rejected {
        let (count, source) = (rejected.count, rejected.source);
        let what = format!(
            "{count} adverts of {source} are rejected: {}",
            rejection(rejected.reason)
        );
        find(
            what,
            "no router that keeps to the RFC counts them; mend that router",
        );
    }
    let mut note = |what: String, help: &str| all.push(finding(what, help, false));
    for (source, router) in &it.routers {
        of_router(*source, router, &mut note);
    }
    all
}

/// What routers of one virtual router do not agree on.
fn differences(it: &VirtualRouter, find: &mut impl FnMut(String, &str)) {
    let differ = |of: &dyn Fn(&Router) -> String| {
        let said: Vec<(IpAddr, String)> = it
            .routers
            .iter()
            .map(|(source, router)| (*source, of(router)))
            .collect();
        let (_, first) = said.first()?;
        let is_same = said.iter().all(|(_, other)| other == first);
        let list = said.iter().map(|(source, what)| format!("{source} {what}"));
        (!is_same).then(|| list.collect::<Vec<_>>().join(", "))
    };
    let interval = |router: &Router| format!("{} s", f64::from(router.interval_cs) / 100.0);
    if let Some(said) = differ(&interval) {
        find(
            format!("different intervals: {said}"),
            "set the same advert_int everywhere; VRRPv2 routers ignore each other otherwise",
        );
    }
    let addresses = |router: &Router| {
        let mut list: Vec<String> = router.addresses.iter().map(ToString::to_string).collect();
        list.sort();
        format!("[{}]", list.join(" "))
    };
    if let Some(said) = differ(&addresses) {
        find(
            format!("different addresses: {said}"),
            "set the same virtual_ipaddress everywhere; if these are different groups of routers, give one another \
             virtual_router_id",
        );
    }
    if let Some(said) = differ(&|router| format!("VRRPv{}", router.version)) {
        find(
            format!("different versions: {said}"),
            "set the same version everywhere; each ignores the other's adverts",
        );
    }
    if let Some(said) = differ(&|router| router.checksum.name().to_owned()) {
        find(
            format!("different checksums: {said}"),
            "set v3_checksum_as_v2 the same everywhere; a strict router counts one form only",
        );
    }
}

fn of_router(source: IpAddr, router: &Router, find: &mut impl FnMut(String, &str)) {
    let interval_ns = timers::interval_ns(router.interval_cs);
    if router.longest_gap_ns > 2 * interval_ns {
        let gap = router.longest_gap_ns / timers::NS_PER_MS;
        find(
            format!("{source} was silent for {gap} ms, more than two intervals"),
            "adverts are lost on the way, or it is busy: after three intervals a backup takes over",
        );
    }
    if router.authentication == Some(SIMPLE_PASSWORD) {
        find(
            format!("{source} sends its password in the clear"),
            "whoever listens knows it; VRRPv3 has none, and accept_from names those that count",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{Advert, Judgement};

    const MS: u64 = 1_000_000;

    fn advert(at_ms: u64, last: u8, priority: u8) -> Advert {
        Advert {
            at_ns: at_ms * MS,
            vlan: 0,
            mac: String::new(),
            is_outgoing: false,
            source: [10, 0, 0, last].into(),
            destination: [224, 0, 0, 18].into(),
            ttl: 255,
            version: 3,
            vrid: 7,
            priority,
            interval_cs: 100,
            addresses: vec![[10, 0, 0, 100].into()],
            authentication: None,
            judgement: Judgement::PseudoHeader,
        }
    }

    fn found(adverts: &[Advert]) -> Vec<String> {
        let mut lan = Lan::default();
        for advert in adverts {
            lan.note(advert);
        }
        lan.findings().into_iter().map(|it| it.what).collect()
    }

    #[test]
    fn a_failover_and_a_way_back_are_nothing_wrong() {
        let adverts = [
            advert(0, 1, 200),
            advert(1000, 1, 200),
            advert(4300, 2, 100),
            advert(5300, 2, 100),
            advert(5400, 1, 200),
            advert(6400, 1, 200),
        ];
        assert_eq!(found(&adverts), Vec::<String>::new());
    }

    #[test]
    fn two_that_speak_at_once_are_found() {
        let adverts: Vec<Advert> = (0..4)
            .flat_map(|second| {
                [
                    advert(second * 1000, 1, 200),
                    advert(second * 1000 + 300, 2, 100),
                ]
            })
            .collect();
        assert_eq!(
            found(&adverts),
            ["10.0.0.1 (prio 200) and 10.0.0.2 (prio 100) are MASTER at the same time"]
        );
    }

    #[test]
    fn differences_are_named() {
        let mut other = advert(4300, 2, 100);
        other.interval_cs = 200;
        other.addresses = vec![[10, 0, 0, 101].into()];
        other.judgement = Judgement::MessageOnly;
        let found = found(&[advert(0, 1, 200), other]);
        assert_eq!(
            found,
            [
                "different intervals: 10.0.0.1 1 s, 10.0.0.2 2 s",
                "different addresses: 10.0.0.1 [10.0.0.100], 10.0.0.2 [10.0.0.101]",
                "different checksums: 10.0.0.1 pseudo_header, 10.0.0.2 message_only",
            ]
        );
    }

    #[test]
    fn silence_and_shared_addresses_are_found() {
        let mut second = advert(100, 3, 50);
        second.vrid = 9;
        let found = found(&[advert(0, 1, 200), advert(2500, 1, 200), second]);
        assert_eq!(
            found,
            [
                "10.0.0.1 was silent for 2500 ms, more than two intervals",
                "10.0.0.100 belongs to VRID 7 as well",
            ]
        );
    }
}
