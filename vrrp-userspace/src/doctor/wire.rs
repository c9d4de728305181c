//! What is heard of an instance's virtual router, compared with what the daemon says.

use super::{Case, Finding};
use crate::{
    config::model::Instance,
    observe::{Lan, VirtualRouter},
};

pub(super) fn examine(instance: &Instance, case: &Case<'_>) -> Vec<Finding> {
    let mut all = case.heard.iter();
    let Some((_, lan)) = all.find(|(interface, _)| *interface == instance.interface) else {
        return Vec::new();
    };
    let own = case.status.and_then(|status| {
        let mut all = status.instances.iter();
        all.find(|it| it.name == instance.name)
    });
    let heard = of_instance(lan, instance);
    let name = &instance.name;
    let mut findings = Vec::new();
    let others: Vec<String> = heard
        .into_iter()
        .flat_map(|it| &it.routers)
        .filter(|(source, router)| !is_ours(case, **source) && router.priority > 0)
        .map(|(source, router)| format!("{source} (prio {})", router.priority))
        .collect();
    let others = others.join(", ");
    let firewall = "its firewall has to let VRRP in: nft add rule inet filter input ip protocol vrrp accept, or \
                    iptables -I INPUT -p vrrp -j ACCEPT; and switches between must carry 224.0.0.18 (IGMP snooping)";
    match own.map(|own| own.state.as_str()) {
        Some("MASTER") if !others.is_empty() => findings.push(Finding::wrong(
            name,
            format!(
                "it is MASTER here, and {others} advertises too: that router does not hear this one"
            ),
            firewall,
        )),
        Some("BACKUP") if others.is_empty() => findings.push(Finding::wrong(
            name,
            "it is BACKUP, and no advert of a MASTER was heard on the wire",
            "is the MASTER's interface in the same LAN and VLAN? `xvrrp tap` shows what comes",
        )),
        Some("MASTER") => findings.push(Finding::fine(
            name,
            "nobody else advertises its virtual router",
        )),
        _ if !others.is_empty() => {
            findings.push(Finding::fine(name, format!("heard {others}")));
        }
        _ => {}
    }
    let of_wire = heard.into_iter().flat_map(VirtualRouter::findings);
    findings.extend(of_wire.map(|it| Finding::wrong(name, it.what, it.help)));
    findings
}

fn of_instance<'l>(lan: &'l Lan, instance: &Instance) -> Option<&'l VirtualRouter> {
    lan.iter()
        .find(|it| it.vrid == instance.vrid && it.vlan == 0 && it.is_v6 == instance.group.is_ipv6())
}

/// Whether this machine has the address.
fn is_ours(case: &Case<'_>, address: std::net::IpAddr) -> bool {
    case.table
        .iter()
        .any(|interface| interface.carries(address))
}
