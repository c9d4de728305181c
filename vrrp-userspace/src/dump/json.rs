//! `/tmp/keepalived.json`.

use serde_json::{Map, Value, json};
use vrrp_common::timers::NS_PER_S;

use super::{Counted, data};
use crate::{
    clock,
    config::model::{Config, Instance, Track, TrackKind},
    control::model::{InstanceStatus, Status},
};

/// An array of instances, or with `json_version 2` an object that has it.
pub(super) fn render(status: &Status, config: &Config, is_array: bool) -> String {
    let all: Vec<Value> = config
        .instances
        .iter()
        .filter_map(|instance| {
            let mut all = status.instances.iter();
            let standing = all.find(|it| it.name == instance.name)?;
            Some(json!({
                "data": data_of(instance, standing),
                "stats": stats_of(&Counted::of(&instance.name, status)?),
            }))
        })
        .collect();
    let whole = if is_array {
        Value::from(all)
    } else {
        json!({ "vrrp": all, "track_process": processes(status) })
    };
    format!("{whole}\n")
}

fn data_of(instance: &Instance, standing: &InstanceStatus) -> Value {
    let announce = &instance.announce;
    let at_ns = last_transition_ns(standing);
    let master = standing.master.as_ref();
    let mut data = Map::new();
    let facts = json!({
        "iname": instance.name,
        "dont_track_primary": instance.dont_track_primary,
        "strict_mode": instance.strict,
        "ifp_ifname": instance.interface,
        "master_priority": master.map_or(0, |it| it.priority),
        "last_transition": seconds(at_ns),
        "garp_delay": announce.delay_ns / NS_PER_S,
        "garp_refresh": announce.refresh_ns / NS_PER_S,
        "garp_rep": announce.repeat,
        "garp_refresh_rep": announce.refresh_repeat,
        "garp_lower_prio_delay": announce.lower_prio_delay_ns / NS_PER_S,
        "garp_lower_prio_rep": announce.lower_prio_repeat,
        "lower_prio_no_advert": instance.lower_prio_no_advert,
        "higher_prio_send_advert": instance.higher_prio_send_advert,
        "vrid": instance.vrid,
        "base_priority": instance.priority,
        "effective_priority": standing.effective_priority,
        "vipset": standing.state == "MASTER",
        "promote_secondaries": instance.promote_secondaries,
        "adver_int": f64::from(instance.interval_cs) / 100.0,
        "master_adver_int": master.map_or(0.0, |it| it.interval_seconds),
        "accept": instance.accept,
        "nopreempt": instance.nopreempt,
        "preempt_delay": instance.preempt_delay.as_secs(),
        "state": number(&standing.state),
        "wantstate": number(wanted(instance)),
        "version": instance.version as u8,
    });
    if let Value::Object(facts) = facts {
        data.extend(facts);
    }
    let tracks = |kind: TrackKind| -> Vec<String> {
        let tracks = instance.tracks.iter().filter(|it| it.kind == kind);
        tracks.map(|Track { name, .. }| name.clone()).collect()
    };
    let lists = [
        ("vips", placed(standing, false)),
        ("evips", placed(standing, true)),
        ("track_ifp", tracks(TrackKind::Interface)),
        ("track_script", tracks(TrackKind::Script)),
        ("track_process", tracks(TrackKind::Process)),
    ];
    // keepalived leaves empty lists out.
    for (name, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
        data.insert(name.to_owned(), list.into());
    }
    data.into()
}

fn stats_of(it: &Counted) -> Value {
    json!({
        "advert_rcvd": it.received,
        "advert_sent": it.sent,
        "become_master": it.became_master,
        "release_master": it.released_master,
        "packet_len_err": it.length,
        "advert_interval_err": it.interval,
        "ip_ttl_err": it.ttl,
        "invalid_type_rcvd": it.kind,
        "addr_list_err": it.address_list,
        "invalid_authtype": 0,
        "authtype_mismatch": 0,
        "auth_failure": it.authentication,
        "pri_zero_rcvd": it.zero_received,
        "pri_zero_sent": it.zero_sent,
    })
}

fn processes(status: &Status) -> Vec<Value> {
    let all = status.scripts.iter().filter(|it| it.kind == "process");
    all.map(|it| json!({ "process": it.name, "have_quorum": it.up == Some(true) }))
        .collect()
}

/// Addresses as `ip` writes them, with the word that keepalived has for those that are there.
pub(super) fn placed(standing: &InstanceStatus, excluded: bool) -> Vec<String> {
    let all = standing.placed.iter().filter(|it| it.excluded == excluded);
    let is_set = standing.state == "MASTER";
    all.map(|at| data::address(at, is_set)).collect()
}

/// The state that the configuration asks for.
pub(super) const fn wanted(instance: &Instance) -> &'static str {
    if instance.wants_master {
        "MASTER"
    } else {
        "BACKUP"
    }
}

pub(super) fn last_transition_ns(standing: &InstanceStatus) -> u64 {
    let since = std::time::Duration::try_from_secs_f64(standing.since_seconds).unwrap_or_default();
    let since_ns = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    clock::wall_ns(clock::now_ns()).saturating_sub(since_ns)
}

fn number(state: &str) -> u8 {
    match state {
        "BACKUP" => 1,
        "MASTER" => 2,
        "FAULT" => 3,
        _ => 0,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "microseconds since 1970 need 51 bits"
)]
fn seconds(ns: u64) -> f64 {
    (ns / 1000) as f64 / 1e6
}
