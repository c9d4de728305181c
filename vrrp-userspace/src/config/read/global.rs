//! `global_defs`.

use super::{look_at_form, notification, scheduling, unsupported, value};
use crate::config::{
    diagnostics::{Diagnostic, Diagnostics},
    keywords,
    model::{Global, JsonVersion},
    tree::Node,
};
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use vrrp_common::{election::Announce, vrrp::Version};

pub(super) fn read(
    block: &Node,
    global: &mut Global,
    notification: &mut notification::Draft,
    diagnostics: &mut Diagnostics,
) {
    look_at_form(block.children(), &keywords::GLOBAL, diagnostics);
    for node in block.children() {
        match node.keyword() {
            "router_id" => {
                global.router_id =
                    value::word(node, "a name", diagnostics).map(|word| word.text.clone());
            }
            "script_user" => global.script_user = value::user(node.arguments(), diagnostics),
            "dynamic_interfaces" => global.dynamic_interfaces = true,
            "enable_script_security" => global.script_security = true,
            "default_interface" => {
                if let Some(word) = value::only_word(node, "an interface", diagnostics) {
                    global.default_interface.clone_from(&word.text);
                }
            }
            "vrrp_version" => {
                global.version = version(node, diagnostics);
            }
            "vrrp_mcast_group4" | "vrrp_mcast_group6" => group(node, global, diagnostics),
            "vrrp_strict" => global.strict = value::flag(node, diagnostics).unwrap_or(false),
            "vrrp_check_unicast_src" => global.checks_peers = true,
            "vrrp_higher_prio_send_advert" => {
                global.higher_prio_send_advert = value::flag(node, diagnostics).unwrap_or(false);
            }
            "vrrp_lower_prio_no_advert" => {
                global.lower_prio_no_advert = value::flag(node, diagnostics).unwrap_or(false);
            }
            "state_dump_file" | "state_file_location" => {
                file(node, &mut global.dump_files.data, diagnostics);
            }
            "stats_dump_file" | "stats_file_location" => {
                file(node, &mut global.dump_files.stats, diagnostics);
            }
            "json_dump_file" | "json_file_location" => {
                file(node, &mut global.dump_files.json, diagnostics);
            }
            "json_version" => {
                if value::number(node, 1..=2_u8, diagnostics) == Some(2) {
                    global.json_version = JsonVersion::Two;
                }
            }
            "vrrp_startup_delay" => {
                if let Some(delay) = value::seconds(node, 0.0..=86400.0, diagnostics) {
                    global.startup_delay = delay;
                }
            }
            "vrrp_garp_interval" => {
                pause(node, &mut global.garp_interval, diagnostics);
            }
            "vrrp_gna_interval" => {
                pause(node, &mut global.gna_interval, diagnostics);
            }
            "vrrp_delay_after_boot" => {
                if let Some(delay) = value::seconds(node, 0.0..=86400.0, diagnostics) {
                    global.delay_after_boot = delay;
                }
            }
            "v3_checksum_as_v2" => {
                global.checksum_message_only = value::flag(node, diagnostics).unwrap_or(false);
            }
            "vrrp_script_default_weight" => {
                if let Some(weight) = value::number(node, -253..=253, diagnostics) {
                    global.default_weight = weight;
                }
            }
            "vrrp_down_timer_adverts" => {
                if let Some(adverts) = value::number(node, 1..=100, diagnostics) {
                    global.down_timer_adverts = adverts;
                }
            }
            keyword => {
                let known = keyword.strip_prefix("vrrp_").is_some_and(|name| {
                    announce(name, node, &mut global.announce, true, diagnostics)
                }) || scheduling::read(node, &mut global.scheduling, diagnostics)
                    || notification.read(node, global, diagnostics);
                if !known {
                    unsupported(node, &keywords::GLOBAL, diagnostics);
                }
            }
        }
    }
}

/// `version` or `vrrp_version`.
pub(super) fn version(node: &Node, diagnostics: &mut Diagnostics) -> Option<Version> {
    let number = value::number(node, 2..=3_u8, diagnostics)?;
    Some(if number == 2 {
        Version::V2
    } else {
        Version::V3
    })
}

fn group(node: &Node, global: &mut Global, diagnostics: &mut Diagnostics) {
    let wants_v4 = node.keyword().ends_with('4');
    match value::group(node, diagnostics) {
        Some(IpAddr::V4(group)) if wants_v4 => global.group_v4 = group,
        Some(IpAddr::V6(group)) if !wants_v4 => global.group_v6 = group,
        Some(group) => diagnostics.push(
            Diagnostic::error(node.span(), format!("{group} is of the other family"))
                .help("vrrp_mcast_group4 IPV4, vrrp_mcast_group6 IPV6; it is ignored"),
        ),
        None => {}
    }
}

/// A pause between announcements, in seconds with up to six decimals.
pub(super) fn pause(node: &Node, place: &mut Duration, diagnostics: &mut Diagnostics) {
    set(place, value::seconds(node, 0.0..=1000.0, diagnostics));
}

/// The `garp_*` family, which `global_defs` spells with `vrrp_` in front: only there what follows losing
/// adverts follows the rest, unless it is set itself. Says whether the keyword is one of them.
pub(super) fn announce(
    keyword: &str,
    node: &Node,
    announce: &mut Announce,
    is_global: bool,
    diagnostics: &mut Diagnostics,
) -> bool {
    let whole_seconds = 0.0..=86400.0;
    match keyword {
        "garp_master_delay" => {
            if let Some(delay_ns) = value::seconds(node, whole_seconds, diagnostics).map(nanos) {
                // garp_lower_prio_delay follows it, unless it was set to something else before.
                if is_global && announce.lower_prio_delay_ns == announce.delay_ns {
                    announce.lower_prio_delay_ns = delay_ns;
                }
                announce.delay_ns = delay_ns;
            }
        }
        "garp_master_refresh" => {
            set(
                &mut announce.refresh_ns,
                value::seconds(node, whole_seconds, diagnostics).map(nanos),
            );
        }
        "garp_master_repeat" => {
            if let Some(repeat) = value::number(node, 0..=100, diagnostics) {
                // garp_lower_prio_repeat follows it, unless it was set to something else before.
                if is_global && announce.lower_prio_repeat == announce.repeat {
                    announce.lower_prio_repeat = repeat;
                }
                announce.repeat = repeat;
            }
        }
        "garp_master_refresh_repeat" => {
            set(
                &mut announce.refresh_repeat,
                value::number(node, 1..=100, diagnostics),
            );
        }
        "garp_lower_prio_repeat" => {
            set(
                &mut announce.lower_prio_repeat,
                value::number(node, 0..=100, diagnostics),
            );
        }
        "garp_lower_prio_delay" => {
            set(
                &mut announce.lower_prio_delay_ns,
                value::seconds(node, whole_seconds, diagnostics).map(nanos),
            );
        }
        "min_garp" => {
            if value::flag(node, diagnostics) == Some(true) {
                *announce = Announce {
                    repeat: 1,
                    delay_ns: 0,
                    refresh_ns: 0,
                    refresh_repeat: 1,
                    lower_prio_repeat: 1,
                    lower_prio_delay_ns: 0,
                };
            }
        }
        _ => return false,
    }
    true
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// A file that is written, by its whole path.
fn file(node: &Node, path: &mut PathBuf, diagnostics: &mut Diagnostics) {
    let Some(word) = value::only_word(node, "a file", diagnostics) else {
        return;
    };
    let named = Path::new(&word.text);
    if named.is_absolute() && named.file_name().is_some() {
        *path = named.to_path_buf();
    } else {
        let what = format!("{} is no absolute path of a file", word.text);
        diagnostics.push(
            Diagnostic::error(word.span.clone(), what)
                .help("where the daemon runs is nobody's business: write the whole path"),
        );
    }
}
