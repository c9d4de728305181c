//! The embedded default: one virtual router, for a first look without a configuration.

use std::net::Ipv4Addr;

use vrrp_common::vrrp::{GROUP_V4, Version};

use super::model::{Config, Instance, Notify};
use crate::net::VirtualAddress;

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
    let address = |&(address, prefix): &(Ipv4Addr, u8)| VirtualAddress::new(address.into(), prefix);
    let instance = Instance {
        virtual_mac: None,
        sends_from_port: false,
        name: "default".to_owned(),
        interface: choice.interface.clone(),
        version: Version::V3,
        password: None,
        group: Ipv4Addr::from(GROUP_V4).into(),
        unicast: None,
        accept_from: Vec::new(),
        lease: vrrp_common::slot::LeaseMode::Strict,
        source: None,
        vrid: choice.vrid,
        priority: choice.priority,
        interval_cs: choice.interval_cs,
        wants_master: false,
        advertised: choice
            .vips
            .iter()
            .map(|(address, _)| (*address).into())
            .collect(),
        addresses: choice.vips.iter().map(address).collect(),
        excluded: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
        promote_secondaries: false,
        accept: true,
        strict: false,
        higher_prio_send_advert: false,
        lower_prio_no_advert: false,
        nopreempt: false,
        preempt_delay: std::time::Duration::ZERO,
        tracks: Vec::new(),
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
