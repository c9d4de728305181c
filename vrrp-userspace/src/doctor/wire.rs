//! What is heard of an instance's virtual router, compared with what the daemon says.

use vrrp_common::timers;

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
    if is_behind_xdp(instance, case) {
        return Vec::new();
    }
    let heard = of_instance(lan, instance);
    let mut findings: Vec<Finding> = compare(instance, heard, case).into_iter().collect();
    let of_wire = heard.into_iter().flat_map(VirtualRouter::findings);
    findings.extend(of_wire.map(|it| {
        if it.is_serious {
            Finding::wrong(&instance.name, it.what, it.help)
        } else {
            Finding::note(&instance.name, it.what, it.help)
        }
    }));
    findings
}

/// Who else speaks for the virtual router, compared with what the daemon says.
fn compare(instance: &Instance, heard: Option<&VirtualRouter>, case: &Case<'_>) -> Option<Finding> {
    let name = &instance.name;
    let own = case.status.and_then(|status| {
        let mut all = status.instances.iter();
        all.find(|it| it.name == *name)
    });
    let others = heard.into_iter().flat_map(|it| &it.routers);
    let others = others
        .filter(|(source, router)| !is_ours(case, **source) && router.priority > 0)
        .map(|(source, router)| {
            let shown = format!("{source} (prio {})", router.priority);
            (router.priority, shown)
        });
    let (priorities, others): (Vec<u8>, Vec<String>) = others.unzip();
    let highest = priorities.into_iter().max();
    let others = others.join(", ");
    let interval_ns = timers::interval_ns(instance.interval_cs);
    let is_long_enough = case.listened.as_nanos() > u128::from(4 * interval_ns);
    Some(match own.map(|own| own.state.as_str()) {
        Some("MASTER") if highest > own.map(|own| own.effective_priority) => Finding::wrong(
            name,
            format!("it is MASTER here, although {others} advertises with a higher priority"),
            "its adverts do not count here, or it has just come: `xvrrp status` says what is rejected, `xvrrp events` \
             what has happened",
        ),
        Some("MASTER") if highest.is_some() => Finding::wrong(
            name,
            format!(
                "it is MASTER here, and {others} advertises too: that router does not hear this one"
            ),
            "its firewall has to let VRRP in: nft add rule inet filter input ip protocol vrrp accept, or iptables -I \
             INPUT -p vrrp -j ACCEPT; and switches between must carry 224.0.0.18 (IGMP snooping)",
        ),
        Some("BACKUP") if highest.is_none() && is_long_enough => Finding::wrong(
            name,
            "it is BACKUP, and no advert of a MASTER was heard on the wire",
            "is the MASTER's interface in the same LAN and VLAN? `xvrrp tap` shows what comes",
        ),
        Some("MASTER") => Finding::fine(name, "nobody else advertises its virtual router"),
        _ if highest.is_some() => Finding::fine(name, format!("heard {others}")),
        _ => return None,
    })
}

/// Whether adverts of its virtual router are consumed before anybody else on this machine can hear them: then
/// what the daemon says is all there is.
fn is_behind_xdp(instance: &Instance, case: &Case<'_>) -> bool {
    let interfaces = case
        .status
        .into_iter()
        .flat_map(|status| &status.interfaces);
    let mut own = interfaces.filter(|it| it.name == instance.interface);
    own.any(|it| matches!(it.attached.as_deref(), Some("native" | "generic")))
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
