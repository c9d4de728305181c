//! The names and labels of keepalived-exporter, so that dashboards and alerts that were made for it go on.
//!
//! What is counted by interface here (adverts that are rejected) is the same for every instance on it.

use super::page::{Labels, Page, label};
use crate::control::model::{InstanceStatus, InterfaceStatus, ScriptStatus, Status};

pub(super) fn render(status: &Status) -> String {
    let mut page = Page::default();
    page.gauges("keepalived_up", "Status", [(Labels::new(), 1.0)]);
    states(&mut page, status);
    counted(&mut page, status);
    rejected(&mut page, status);
    let delays = status.instances.iter();
    let delays = delays.map(|it| (of(it), it.garp_delay_ms / 1000));
    page.counters(
        "keepalived_gratuitous_arp_delay",
        "Gratuitous ARP delay",
        delays,
    );
    scripts(&mut page, status);
    page.text()
}

fn of(instance: &InstanceStatus) -> Labels {
    vec![
        label("iname", &instance.name),
        label("intf", &instance.interface),
        label("vrid", instance.vrid.to_string()),
    ]
}

/// A series for each address, or one with an empty address where there is none.
fn states(page: &mut Page, status: &Status) {
    let of_kind = |excluded: bool| {
        status.instances.iter().flat_map(move |it| {
            let state = number(&it.state);
            let series = move |interface: &str, address: &str| {
                let labels = vec![
                    label("iname", &it.name),
                    label("intf", interface),
                    label("vrid", it.vrid.to_string()),
                    label("ip_address", address),
                ];
                (labels, state)
            };
            let all = it.placed.iter().filter(move |at| at.excluded == excluded);
            let mut all: Vec<_> = all
                .map(|at| series(&at.interface, at.without_host_prefix()))
                .collect();
            if all.is_empty() && !excluded {
                all.push(series(&it.interface, ""));
            }
            all
        })
    };
    page.gauges("keepalived_vrrp_state", "State of vrrp", of_kind(false));
    page.gauges(
        "keepalived_vrrp_excluded_state",
        "State of vrrp with excluded VIP",
        of_kind(true),
    );
}

fn number(state: &str) -> f64 {
    match state {
        "BACKUP" => 1.0,
        "MASTER" => 2.0,
        "FAULT" => 3.0,
        _ => 0.0,
    }
}

fn counted(page: &mut Page, status: &Status) {
    let mut each = |name: &str, help: &str, counters: &[&str]| {
        let values = status.instances.iter().map(|it| {
            let counts = counters.iter().filter_map(|name| it.counters.get(*name));
            (of(it), counts.sum::<u64>())
        });
        page.counters(name, help, values);
    };
    each(
        "keepalived_advertisements_received",
        "Advertisements received",
        &["adverts_accepted", "adverts_without_authority"],
    );
    each(
        "keepalived_advertisements_sent",
        "Advertisements sent",
        &["adverts_sent"],
    );
    each(
        "keepalived_become_master",
        "Became master",
        &["became_master"],
    );
    each(
        "keepalived_release_master",
        "Released master",
        &["released_master"],
    );
    each(
        "keepalived_priority_zero_received",
        "Priority zero received",
        &["resignations_heard", "foreign_resignations"],
    );
    each(
        "keepalived_priority_zero_sent",
        "Priority zero sent",
        &["priority_zero_sent"],
    );
}

/// Names of counters, and the reasons of ours that keepalived counts there.
const REJECTED: [(&str, &str, &[&str]); 8] = [
    (
        "keepalived_packet_length_errors",
        "Packet length errors",
        &["length"],
    ),
    (
        "keepalived_advertisements_interval_errors",
        "Advertisement interval errors",
        &["interval"],
    ),
    ("keepalived_ip_ttl_errors", "TTL errors", &["ttl"]),
    (
        "keepalived_invalid_type_received",
        "Invalid type errors",
        &["type"],
    ),
    (
        "keepalived_address_list_errors",
        "Address list errors",
        &["count", "first_address"],
    ),
    (
        "keepalived_authentication_invalid",
        "Authentication invalid",
        &[],
    ),
    (
        "keepalived_authentication_mismatch",
        "Authentication mismatch",
        &[],
    ),
    (
        "keepalived_authentication_failure",
        "Authentication failure",
        &["authentication"],
    ),
];

fn rejected(page: &mut Page, status: &Status) {
    for (name, help, reasons) in REJECTED {
        let values = status.instances.iter().map(|it| {
            let mut all = status.interfaces.iter();
            let interface = all.find(|interface| interface.name == it.interface);
            let count = |interface: &InterfaceStatus| {
                let counts = reasons.iter().filter_map(|it| interface.rejects.get(*it));
                counts.sum::<u64>()
            };
            (of(it), interface.map_or(0, count))
        });
        page.counters(name, help, values);
    }
}

fn scripts(page: &mut Page, status: &Status) {
    let scripts = || status.scripts.iter().filter(|it| it.kind == "script");
    let of = |it: &ScriptStatus| vec![label("name", &it.name)];
    let good = scripts().map(|it| (of(it), if it.up == Some(true) { 1.0 } else { 0.0 }));
    page.gauges("keepalived_script_status", "Tracker Script Status", good);
    page.gauges(
        "keepalived_script_state",
        "Tracker Script State",
        scripts().map(|it| (of(it), if it.runs_now { 1.0 } else { 0.0 })),
    );
}
