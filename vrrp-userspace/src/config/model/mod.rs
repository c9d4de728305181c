//! A checked configuration.

mod notification;
mod tracking;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use vrrp_common::{
    contract::Family,
    election::Announce,
    slot::LeaseMode,
    vrrp::{GROUP_V4, GROUP_V6, Version},
};

pub use notification::{FifoSettings, MailSettings, MailTls, Notify, NotifyScript};
pub use tracking::{
    Arbiter, Etcd, Judge, Script, Track, TrackFile, TrackKind, TrackProcess, Weight,
};

use super::source::Span;
use crate::{
    election::Scheduling,
    net::{Route, Rule, VirtualAddress},
};

/// Everything that can be served.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `global_defs`.
    pub global: Global,
    /// `vrrp_script`, by name.
    pub scripts: BTreeMap<String, Script>,
    /// `track_file`, by name.
    pub files: BTreeMap<String, TrackFile>,
    /// `vrrp_track_process`, by name.
    pub processes: BTreeMap<String, TrackProcess>,
    /// `vrrp_arbiter`, by name.
    pub arbiters: BTreeMap<String, Arbiter>,
    /// `vrrp_instance`, in the order of the file.
    pub instances: Vec<Instance>,
    /// `vrrp_sync_group`, in the order of the file.
    pub groups: Vec<SyncGroup>,
    /// `static_ipaddress`, `static_routes` and `static_rules`.
    pub statics: Statics,
    /// `garp_group`, in the order of the file.
    pub garp_groups: Vec<GarpGroup>,
}

/// `garp_group`: interfaces that take turns with their announcements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GarpGroup {
    /// `garp_interval`.
    pub garp_interval: Duration,
    /// `gna_interval`.
    pub gna_interval: Duration,
    /// `interface`, `interfaces`.
    pub interfaces: Vec<String>,
}

/// What is there whatever the state of any instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statics {
    /// `static_ipaddress`; each names its interface.
    pub addresses: Vec<VirtualAddress>,
    /// `static_routes`.
    pub routes: Vec<Route>,
    /// `static_rules`.
    pub rules: Vec<Rule>,
}

impl Config {
    /// Everybody who acts together: sync groups, and by itself who needs a lease of an arbiter.
    #[must_use]
    pub fn acting_groups(&self) -> Vec<SyncGroup> {
        let mut groups = self.groups.clone();
        let is_lease = |track: &Track| {
            let arbiter = self.arbiters.get(&track.name);
            track.kind == TrackKind::Arbiter
                && arbiter.is_some_and(|it| matches!(it.judge, Judge::Etcd(_)))
        };
        let grouped: BTreeSet<&str> = self
            .groups
            .iter()
            .flat_map(|group| group.members.iter().map(String::as_str))
            .collect();
        for instance in &self.instances {
            if !grouped.contains(&*instance.name) && instance.tracks.iter().any(is_lease) {
                groups.push(SyncGroup {
                    name: instance.name.clone(),
                    members: vec![instance.name.clone()],
                    is_alone: true,
                    notify: Notify::default(),
                    span: instance.span.clone(),
                });
            }
        }
        groups
    }

    /// How many virtual addresses there are in all.
    #[must_use]
    pub fn address_count(&self) -> usize {
        let of = |instance: &Instance| instance.addresses.len() + instance.excluded.len();
        self.instances.iter().map(of).sum()
    }

    /// How many interfaces there are in all that carry an instance or one of its addresses.
    #[must_use]
    pub fn interface_count(&self) -> usize {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for instance in &self.instances {
            let addresses = instance.addresses.iter().chain(&instance.excluded);
            names.extend(addresses.filter_map(|entry| entry.interface.as_deref()));
            names.insert(&instance.interface);
        }
        names.len()
    }

    /// How many unicast peers there are in all.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        let unicast = self.instances.iter().filter_map(|it| it.unicast.as_ref());
        let peers: usize = unicast.map(|unicast| unicast.peers.len()).sum();
        let listed = self.instances.iter().map(|it| it.accept_from.len());
        peers + listed.sum::<usize>()
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
    /// `net_namespace`: the network namespace to run in, by its name.
    pub net_namespace: Option<String>,
    /// `enable_script_security`: scripts of root that others can change are not run.
    pub script_security: bool,
    /// `default_interface`: where static addresses are that name none.
    pub default_interface: String,
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
    /// `vrrp_garp_interval`: the pause after a gratuitous ARP.
    pub garp_interval: Duration,
    /// `vrrp_gna_interval`: the pause after an unsolicited neighbour advertisement.
    pub gna_interval: Duration,
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
    /// `vrrp_delay_after_boot`: how long after the machine's start.
    pub delay_after_boot: Duration,
    /// `vrrp_rt_priority` and its like.
    pub scheduling: Scheduling,
    /// `notify_fifo`, `vrrp_notify_fifo`.
    pub fifos: Vec<FifoSettings>,
    /// `fifo_write_vrrp_states_on_reload`.
    pub repeats_states: bool,
    /// `vrrp_notify_priority_changes`.
    pub tells_priority: bool,
    /// E-mail.
    pub mail: Option<MailSettings>,
    /// `webhook`: where changes of state are posted.
    pub webhooks: Vec<String>,
    /// `state_dump_file` and its like.
    pub dump_files: DumpFiles,
    /// `json_version`.
    pub json_version: JsonVersion,
}

/// Where dumps go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DumpFiles {
    /// `state_dump_file`.
    pub data: PathBuf,
    /// `stats_dump_file`.
    pub stats: PathBuf,
    /// `json_dump_file`.
    pub json: PathBuf,
}

impl Default for DumpFiles {
    fn default() -> Self {
        Self {
            data: "/tmp/keepalived.data".into(),
            stats: "/tmp/keepalived.stats".into(),
            json: "/tmp/keepalived.json".into(),
        }
    }
}

/// `json_version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JsonVersion {
    /// An array of instances.
    #[default]
    One,
    /// An object.
    Two,
}

/// The weight of a script that has none, unless configured: what the mission asks for.
pub const DEFAULT_WEIGHT: i32 = 2;

impl Default for Global {
    fn default() -> Self {
        Self {
            router_id: None,
            script_user: None,
            dynamic_interfaces: false,
            net_namespace: None,
            script_security: false,
            default_interface: "eth0".to_owned(),
            default_weight: DEFAULT_WEIGHT,
            version: None,
            checksum_message_only: false,
            down_timer_adverts: vrrp_common::timers::DOWN_TIMER_ADVERTS,
            announce: Announce::default(),
            garp_interval: Duration::ZERO,
            gna_interval: Duration::ZERO,
            group_v4: Ipv4Addr::from(GROUP_V4),
            group_v6: Ipv6Addr::from(GROUP_V6),
            strict: false,
            checks_peers: false,
            higher_prio_send_advert: false,
            lower_prio_no_advert: false,
            startup_delay: Duration::ZERO,
            delay_after_boot: Duration::ZERO,
            scheduling: Scheduling::default(),
            fifos: Vec::new(),
            repeats_states: false,
            tells_priority: false,
            mail: None,
            webhooks: Vec::new(),
            dump_files: DumpFiles::default(),
            json_version: JsonVersion::default(),
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

/// `vrrp_instance`: one virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// `accept_from`: the only routers whose multicast adverts count; empty = all.
    pub accept_from: Vec<IpAddr>,
    /// `lease`: what becomes of a MASTER that nobody vouches for.
    pub lease: LeaseMode,
    /// `unicast_src_ip` or `mcast_src_ip`: where adverts come from.
    pub source: Option<IpAddr>,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// `use_vmac`: the MAC that goes with the addresses from router to router.
    pub virtual_mac: Option<[u8; 6]>,
    /// `vmac_xmit_base`: adverts leave with the interface's MAC all the same.
    pub sends_from_port: bool,
    /// `priority`: the base priority.
    pub priority: u8,
    /// `advert_int` in centiseconds.
    pub interval_cs: u16,
    /// `state MASTER`, or an owner that says nothing. It makes no MASTER.
    pub wants_master: bool,
    /// `virtual_ipaddress`, in order.
    pub addresses: Vec<VirtualAddress>,
    /// What adverts carry: the same, with an address that is written twice twice, as other routers with the
    /// same file have it.
    pub advertised: Vec<IpAddr>,
    /// `virtual_ipaddress_excluded`: on the interface, but not in adverts.
    pub excluded: Vec<VirtualAddress>,
    /// `virtual_routes`: there while it is MASTER.
    pub routes: Vec<Route>,
    /// `virtual_rules`: there while it is MASTER.
    pub rules: Vec<Rule>,
    /// `promote_secondaries`: an address of a subnet does not take the others along when it goes.
    pub promote_secondaries: bool,
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
    /// `track_script`, `track_interface` and their like.
    pub tracks: Vec<Track>,
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
    /// Whether it says the same, wherever it stands.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let mut moved = other.clone();
        moved.span.clone_from(&self.span);
        *self == moved
    }

    /// The family of its adverts: that of its first address.
    #[must_use]
    pub fn family(&self) -> Family {
        Family::of(self.group)
    }
}

/// How adverts travel without multicast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unicast {
    /// `unicast_peer`; without any (`unicast_fault_no_peer`) the instance is in FAULT.
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
    /// It is no `vrrp_sync_group`: one instance that needs a lease.
    pub is_alone: bool,
    /// `notify*`.
    pub notify: Notify,
    /// Where it stands.
    pub span: Span,
}
