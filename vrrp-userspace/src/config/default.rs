//! The embedded default: one virtual router, for a first look without a configuration.

use std::net::Ipv4Addr;

use vrrp_common::vrrp::{GROUP_V4, Version};

use super::model::{Config, Instance, Notify};
use crate::net::{Scope, VirtualAddress};

/// The address it serves: one reserved for documentation (RFC 5737), so that nobody's is taken.
pub const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 213);
/// Its VRID, unless strangers use it.
pub const VRID: u8 = 213;
/// Its priority.
pub const PRIORITY: u8 = 100;

/// What may differ from the default on the command line.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The interface.
    pub interface: String,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// The addresses with their prefix lengths.
    pub vips: Vec<(Ipv4Addr, u8)>,
    /// Priority.
    pub priority: u8,
    /// Advertisement_Interval in centiseconds.
    pub interval_cs: u16,
}

/// The embedded default as a configuration.
#[must_use]
pub fn config(choice: &Choice) -> Config {
    let address = |&(address, prefix): &(Ipv4Addr, u8)| VirtualAddress {
        address: address.into(),
        prefix,
        label: None,
        broadcast: None,
        scope: Scope::Global,
    };
    let instance = Instance {
        name: "default".to_owned(),
        interface: choice.interface.clone(),
        version: Version::V3,
        password: None,
        group: Ipv4Addr::from(GROUP_V4).into(),
        unicast: None,
        source: None,
        vrid: choice.vrid,
        priority: choice.priority,
        interval_cs: choice.interval_cs,
        addresses: choice.vips.iter().map(address).collect(),
        excluded: Vec::new(),
        accept: true,
        strict: false,
        higher_prio_send_advert: false,
        lower_prio_no_advert: false,
        nopreempt: false,
        preempt_delay: std::time::Duration::ZERO,
        track_scripts: Vec::new(),
        track_interfaces: Vec::new(),
        dont_track_primary: false,
        checksum_message_only: false,
        down_timer_adverts: vrrp_common::timers::DOWN_TIMER_ADVERTS,
        announce: vrrp_common::election::Announce::default(),
        notify: Notify::default(),
        span: super::source::Span::default(),
    };
    Config {
        instances: vec![instance],
        ..Config::default()
    }
}
