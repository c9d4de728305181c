//! Our own names. They are part of the interface: `docs/metrics.md` lists them.

use super::{
    Measures,
    page::{Labels, Page, label},
};
use crate::control::model::{InstanceStatus, InterfaceStatus, Status};

/// States as Prometheus likes them: one series each, of which one is 1.
const STATES: [&str; 4] = ["INIT", "BACKUP", "MASTER", "FAULT"];

pub(super) fn render(status: &Status, measures: &Measures) -> String {
    let mut page = Page::default();
    daemon(&mut page, status);
    instances(&mut page, status);
    page.add(
        "xvrrp_instance_transitions",
        "States entered, by cause",
        measures.transitions.clone(),
    );
    page.add(
        "xvrrp_failover_delay_seconds",
        "How long after Master_Down_Interval this router became MASTER",
        measures.failover_delay.clone(),
    );
    instance_counters(&mut page, status);
    interfaces(&mut page, status);
    checks(&mut page, status);
    told(&mut page, status);
    page.text()
}

fn daemon(page: &mut Page, status: &Status) {
    let version = vec![
        label("version", &status.version),
        label("router_id", &status.router_id),
    ];
    page.gauges("xvrrp_info", "Which daemon this is", [(version, 1.0)]);
    let reloads = &status.reloads;
    let by_result = [("applied", reloads.applied), ("refused", reloads.refused)];
    page.counters(
        "xvrrp_reloads",
        "Reloads of the configuration",
        by_result.map(|(result, count)| (vec![label("result", result)], count)),
    );
    page.gauges(
        "xvrrp_last_reload_seconds",
        "How long applying the last reload took",
        [(Labels::new(), reloads.last_seconds)],
    );
}

fn of(instance: &InstanceStatus) -> Labels {
    vec![
        label("instance", &instance.name),
        label("interface", &instance.interface),
        label("vrid", instance.vrid.to_string()),
    ]
}

/// A label more.
fn and(mut labels: Labels, name: &'static str, value: impl Into<String>) -> Labels {
    labels.push(label(name, value));
    labels
}

const fn number(is: bool) -> f64 {
    if is { 1.0 } else { 0.0 }
}

fn instances(page: &mut Page, status: &Status) {
    let all = &status.instances;
    let in_state = all.iter().flat_map(|it| {
        STATES.map(|state| (and(of(it), "state", state), number(it.state == state)))
    });
    page.gauges("xvrrp_instance_state", "1 for the state it is in", in_state);
    let mut each = |name, help, value: fn(&InstanceStatus) -> Option<f64>| {
        page.gauges(
            name,
            help,
            all.iter().filter_map(|it| Some((of(it), value(it)?))),
        );
    };
    each(
        "xvrrp_instance_state_age_seconds",
        "How long it has been in its state",
        |it| Some(it.since_seconds),
    );
    each(
        "xvrrp_instance_priority",
        "Effective priority: what is advertised and compared",
        |it| Some(it.effective_priority.into()),
    );
    each(
        "xvrrp_instance_base_priority",
        "Configured priority",
        |it| Some(it.base_priority.into()),
    );
    each(
        "xvrrp_instance_master_priority",
        "Priority of the MASTER, as far as this router knows one",
        |it| it.master.as_ref().map(|master| master.priority.into()),
    );
    each(
        "xvrrp_instance_last_advert_age_seconds",
        "Age of the last advert that holds it down",
        |it| it.last_advert_age_ms.map(|age| age / 1000.0),
    );
    each(
        "xvrrp_instance_lease_seconds",
        "How much longer the kernel may answer for its addresses; negative once that has run out",
        |it| it.lease_ms.map(|left| left / 1000.0),
    );
    each("xvrrp_instance_drained", "Taken out by hand", |it| {
        Some(number(it.drained))
    });
    let faults = all.iter().map(|it| (of(it), float(it.faults.len())));
    page.gauges(
        "xvrrp_instance_faults",
        "How many things hold it in FAULT",
        faults,
    );
    let unfenced = all.iter().map(|it| (of(it), float(it.unfenced.len())));
    page.gauges(
        "xvrrp_instance_unfenced_interfaces",
        "Interfaces on which the kernel would answer for its addresses, whether it may or not",
        unfenced,
    );
    let shares = all.iter().flat_map(|it| {
        it.checks.iter().map(|check| {
            let labels = and(of(it), "check", &check.name);
            (and(labels, "kind", &check.kind), check.share.into())
        })
    });
    page.gauges(
        "xvrrp_instance_check_share",
        "What a check adds to the priority",
        shares,
    );
}

/// `xvrrp_instance_adverts_sent_total` and its like, by the names in `xvrrp status --json`.
fn instance_counters(page: &mut Page, status: &Status) {
    let Some(first) = status.instances.first() else {
        return;
    };
    for name in first.counters.keys() {
        let values = status.instances.iter().filter_map(|it| {
            let count = it.counters.get(name)?;
            Some((of(it), *count))
        });
        let help = name.replace('_', " ");
        page.counters(&format!("xvrrp_instance_{name}"), &help, values);
    }
}

fn interfaces(page: &mut Page, status: &Status) {
    let all = &status.interfaces;
    let on = |it: &InterfaceStatus| vec![label("interface", &it.name)];
    let modes = all.iter().map(|it| {
        let mode = it.attached.as_deref().unwrap_or("none");
        (and(on(it), "mode", mode), number(it.attached.is_some()))
    });
    page.gauges(
        "xvrrp_interface_attached",
        "Where frames are judged: native, tc, generic or userspace",
        modes,
    );
    page.gauges(
        "xvrrp_interface_fence",
        "Whether the kernel is kept from answering for our addresses unless the lease allows it",
        all.iter().map(|it| (on(it), number(it.fence))),
    );
    page.gauges(
        "xvrrp_interface_running",
        "Up, with a carrier",
        all.iter().map(|it| (on(it), number(it.running))),
    );
    let counts = all.iter().flat_map(|it| {
        let counts = it.kernel.iter();
        counts.map(|(event, count)| (and(on(it), "event", event), *count))
    });
    page.counters(
        "xvrrp_interface_kernel_events",
        "What the kernel program has counted",
        counts,
    );
    let rejects = all.iter().flat_map(|it| {
        let rejects = it.rejects.iter();
        rejects.map(|(reason, count)| (and(on(it), "reason", reason), *count))
    });
    page.counters(
        "xvrrp_interface_adverts_rejected",
        "Adverts that were rejected, by reason",
        rejects,
    );
}

fn checks(page: &mut Page, status: &Status) {
    let on = |name: &str, kind: &str| vec![label("check", name), label("kind", kind)];
    let up = status.scripts.iter().filter_map(|it| {
        let up = it.up?;
        Some((on(&it.name, &it.kind), number(up)))
    });
    page.gauges("xvrrp_check_up", "Whether a check is up", up);
    let took = status.scripts.iter().filter_map(|it| {
        let took = it.took_ms?;
        Some((on(&it.name, &it.kind), took / 1000.0))
    });
    page.gauges(
        "xvrrp_check_last_run_seconds",
        "How long the last run of a check took",
        took,
    );
    let runs = status.scripts.iter().filter(|it| it.took_ms.is_some());
    page.counters(
        "xvrrp_check_runs",
        "Runs of a check",
        runs.map(|it| (on(&it.name, &it.kind), it.runs)),
    );
    let seconds = status.scripts.iter().filter(|it| it.took_ms.is_some());
    page.seconds(
        "xvrrp_check_run_seconds",
        "How long all runs of a check took together",
        seconds.map(|it| (on(&it.name, &it.kind), it.seconds)),
    );
}

fn told(page: &mut Page, status: &Status) {
    let to = |name: &str| vec![label("to", without_secrets(name))];
    let all = &status.told;
    page.counters(
        "xvrrp_events_sent",
        "Events that a FIFO, a mail server or a webhook has taken",
        all.iter().map(|it| (to(&it.name), it.sent)),
    );
    page.counters(
        "xvrrp_events_lost",
        "Events that are lost to it",
        all.iter().map(|it| (to(&it.name), it.lost)),
    );
    page.gauges(
        "xvrrp_events_waiting",
        "Events that wait for it",
        all.iter().map(|it| (to(&it.name), float(it.waiting))),
    );
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
const fn float(count: usize) -> f64 {
    count as f64
}

/// Of a URL only who it goes to: what is behind that may be a key.
fn without_secrets(name: &str) -> &str {
    let Some(begin) = name.find("://").map(|at| at + 3) else {
        return name;
    };
    let rest = name.get(begin..).unwrap_or_default();
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest.get(..end).unwrap_or_default();
    // Nor what stands before the host.
    host.rsplit_once('@').map_or_else(
        || name.get(..begin + end).unwrap_or_default(),
        |(_, host)| host,
    )
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn labels_have_no_keys() {
        let key = "https://hooks.example.com/services/T0/B1/secret";
        assert_eq!(without_secrets(key), "https://hooks.example.com");
        let login = ["http://", "me:secret", "@10.0.0.1:80/x"].concat();
        assert_eq!(without_secrets(&login), "10.0.0.1:80");
        assert_eq!(without_secrets("/run/fifo"), "/run/fifo");
    }
}
