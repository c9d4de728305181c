//! A checked configuration.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use vrrp_common::{
    contract::Family,
    election::Announce,
    vrrp::{GROUP_V4, GROUP_V6, Version},
};

use super::source::Span;
use crate::net::VirtualAddress;

/// Everything that can be served.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `global_defs`.
    pub global: Global,
    /// `vrrp_script`, by name.
    pub scripts: BTreeMap<String, Script>,
    /// `vrrp_instance`, in the order of the file.
    pub instances: Vec<Instance>,
    /// `vrrp_sync_group`, in the order of the file.
    pub groups: Vec<SyncGroup>,
}

impl Config {
    /// How many virtual addresses there are in all.
    #[must_use]
    pub fn address_count(&self) -> usize {
        let of = |instance: &Instance| instance.addresses.len() + instance.excluded.len();
        self.instances.iter().map(of).sum()
    }

    /// How many unicast peers there are in all.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        let unicast = self.instances.iter().filter_map(|it| it.unicast.as_ref());
        unicast.map(|unicast| unicast.peers.len()).sum()
    }
}

/// `global_defs`.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword of its own"
)]
pub struct Global {
    /// `router_id`: this machine's name in messages.
    pub router_id: Option<String>,
    /// `script_user`: who runs scripts that name nobody.
    pub script_user: Option<ScriptUser>,
    /// `dynamic_interfaces`: interfaces may appear later.
    pub dynamic_interfaces: bool,
    /// `vrrp_script_default_weight`: the weight of a script that has none.
    pub default_weight: i32,
    /// `vrrp_version`, with its place.
    pub version: Option<Version>,
    /// `v3_checksum_as_v2`.
    pub checksum_message_only: bool,
    /// `vrrp_down_timer_adverts`.
    pub down_timer_adverts: u8,
    /// `vrrp_garp_*`.
    pub announce: Announce,
    /// `vrrp_mcast_group4`.
    pub group_v4: Ipv4Addr,
    /// `vrrp_mcast_group6`.
    pub group_v6: Ipv6Addr,
    /// `vrrp_strict`.
    pub strict: bool,
    /// `vrrp_check_unicast_src`.
    pub checks_peers: bool,
    /// `vrrp_higher_prio_send_advert`.
    pub higher_prio_send_advert: bool,
    /// `vrrp_lower_prio_no_advert`.
    pub lower_prio_no_advert: bool,
    /// `vrrp_startup_delay`: how long after its start the daemon takes no part.
    pub startup_delay: Duration,
}

/// The weight of a script that has none, unless configured: what the mission asks for.
pub const DEFAULT_WEIGHT: i32 = 2;

impl Default for Global {
    fn default() -> Self {
        Self {
            router_id: None,
            script_user: None,
            dynamic_interfaces: false,
            default_weight: DEFAULT_WEIGHT,
            version: None,
            checksum_message_only: false,
            down_timer_adverts: vrrp_common::timers::DOWN_TIMER_ADVERTS,
            announce: Announce::default(),
            group_v4: Ipv4Addr::from(GROUP_V4),
            group_v6: Ipv6Addr::from(GROUP_V6),
            strict: false,
            checks_peers: false,
            higher_prio_send_advert: false,
            lower_prio_no_advert: false,
            startup_delay: Duration::ZERO,
        }
    }
}

/// `user` and group of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptUser {
    /// User name.
    pub user: String,
    /// Group name; the user's own where none is given.
    pub group: Option<String>,
}

/// `vrrp_script`: a health check.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its name.
    pub name: String,
    /// The command line.
    pub command: String,
    /// Time from one run to the next.
    pub interval: Duration,
    /// How long a run may take.
    pub timeout: Duration,
    /// `weight`, where it is given.
    pub weight: Option<Weight>,
    /// Successes in a row to be up.
    pub rise: u32,
    /// Failures in a row to be down.
    pub fall: u32,
    /// Who runs it.
    pub user: Option<ScriptUser>,
    /// Where it stands.
    pub span: Span,
}

/// A `weight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// -253 to 253; 0 = failure means FAULT.
    pub value: i32,
    /// `reverse`: success counts as failure.
    pub reverse: bool,
}

impl Weight {
    /// What the weight adds to the priority, given whether the tracked thing is up. `None`: it
    /// holds the instance in FAULT.
    #[must_use]
    pub const fn share(self, up: bool) -> Option<i32> {
        let up = up != self.reverse;
        match (self.value, up) {
            (0, true) => Some(0),
            (0, false) => None,
            (weight, true) if weight > 0 => Some(weight),
            (weight, false) if weight < 0 => Some(weight),
            _ => Some(0),
        }
    }
}

/// `vrrp_instance`: one virtual router.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a keyword of its own"
)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// `interface`.
    pub interface: String,
    /// `version`.
    pub version: Version,
    /// `auth_pass` of `VRRPv2`, padded with zeros, as a big-endian number.
    pub password: Option<u64>,
    /// `mcast_dst_ip`, or the family's group.
    pub group: IpAddr,
    /// `unicast_peer` and what goes with it, instead of multicast.
    pub unicast: Option<Unicast>,
    /// `unicast_src_ip` or `mcast_src_ip`: where adverts come from.
    pub source: Option<IpAddr>,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// `priority`: the base priority.
    pub priority: u8,
    /// `advert_int` in centiseconds.
    pub interval_cs: u16,
    /// `virtual_ipaddress`, in order.
    pub addresses: Vec<VirtualAddress>,
    /// `virtual_ipaddress_excluded`: on the interface, but not in adverts.
    pub excluded: Vec<VirtualAddress>,
    /// Accept_Mode: false with `no_accept`.
    pub accept: bool,
    /// `strict_mode`.
    pub strict: bool,
    /// `higher_prio_send_advert`.
    pub higher_prio_send_advert: bool,
    /// `lower_prio_no_advert`.
    pub lower_prio_no_advert: bool,
    /// `nopreempt`.
    pub nopreempt: bool,
    /// `preempt_delay`.
    pub preempt_delay: Duration,
    /// `track_script`.
    pub track_scripts: Vec<TrackScript>,
    /// `track_interface`.
    pub track_interfaces: Vec<TrackInterface>,
    /// `dont_track_primary`: the instance's own interface may lose its carrier.
    pub dont_track_primary: bool,
    /// `v3_checksum_as_v2`.
    pub checksum_message_only: bool,
    /// `down_timer_adverts`.
    pub down_timer_adverts: u8,
    /// `garp_*`.
    pub announce: Announce,
    /// `notify*`.
    pub notify: Notify,
    /// Where it stands.
    pub span: Span,
}

impl Instance {
    /// The family of its adverts: that of its first address.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.group)
    }
}

/// How adverts travel without multicast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unicast {
    /// `unicast_peer`.
    pub peers: Vec<Peer>,
    /// `unicast_ttl`.
    pub ttl: u8,
    /// Only configured peers count: `check_unicast_src`, or any of `min_ttl` and `max_ttl`.
    pub checks_peers: bool,
}

/// A line of `unicast_peer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// `min_ttl`.
    pub min_ttl: u8,
    /// `max_ttl`.
    pub max_ttl: u8,
}

/// `vrrp_sync_group`: instances that are MASTER together or not at all.
#[derive(Clone, Debug)]
pub struct SyncGroup {
    /// Its name.
    pub name: String,
    /// Names of its instances.
    pub members: Vec<String>,
    /// `notify*`.
    pub notify: Notify,
    /// Where it stands.
    pub span: Span,
}

/// A tracked script with the weight it has for this instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackScript {
    /// Name of the `vrrp_script`.
    pub script: String,
    /// Its weight here.
    pub weight: Weight,
}

/// A tracked interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInterface {
    /// Its name.
    pub interface: String,
    /// Its weight; 0 = FAULT while it is down.
    pub weight: Weight,
}

/// `notify_master`, `notify_backup`, `notify_fault`, `notify_stop` and `notify`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// Run on entering MASTER.
    pub master: Option<NotifyScript>,
    /// Run on entering BACKUP.
    pub backup: Option<NotifyScript>,
    /// Run on entering FAULT.
    pub fault: Option<NotifyScript>,
    /// Run when the daemon stops.
    pub stop: Option<NotifyScript>,
    /// Run on every change, with four more arguments.
    pub any: Option<NotifyScript>,
}

/// A script to run on a state change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyScript {
    /// The command line.
    pub command: String,
    /// Who runs it.
    pub user: Option<ScriptUser>,
}
