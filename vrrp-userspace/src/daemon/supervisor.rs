//! One instance as the control plane sees it: what its interface and its checks say, and what that
//! means for its priority and for FAULT.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use tokio::sync::watch;
use vrrp_common::{
    contract::{Family, PeerLimits},
    election::{Event, Settings, State},
    slot::{Rules, Transport},
    timers,
    vrrp::{ChecksumForm, PRIORITY_OWNER, Source},
};

use super::ports::Ports;
use crate::{
    config::model::{Instance, ScriptUser, Weight},
    dataplane::{Dataplane, DataplaneError, Place, Routed},
    election::{Audience, Command, ElectionHandle, Home, RouterId, RouterSpec, Transition},
    health::ScriptState,
    net::{Interface, InterfaceTable, VirtualAddress},
    notify::{Notifier, Subject},
    remains::Placed,
};

/// An instance and what the election was told of it.
pub(super) struct Supervised {
    pub(super) id: RouterId,
    pub(super) slot: u32,
    pub(super) instance: Instance,
    /// Whether it is a member of a sync group.
    pub(super) grouped: bool,
    pub(super) home: Home,
    pub(super) notifier: Notifier,
    /// What holds it in FAULT.
    pub(super) faults: Vec<String>,
    /// What each tracked thing does to the priority.
    pub(super) shares: Vec<Share>,
    /// The embedded default has given up, and why.
    pub(super) stepped_back: Option<String>,
    /// The daemon has started too recently to take part.
    pub(super) held_back: bool,
    pub(super) last_transition: Option<Transition>,
    told: Told,
    /// Why the dataplane cannot serve it.
    route_error: Option<String>,
    /// Addresses that have been on the interface since we became MASTER.
    present: BTreeSet<IpAddr>,
    /// Addresses of an owner that were there before it took part for the first time.
    own: BTreeSet<IpAddr>,
}

/// The virtual addresses of every instance.
#[derive(Default)]
pub(super) struct VirtualAddresses {
    /// All of them.
    pub(super) all: BTreeSet<IpAddr>,
    /// Those of owners (priority 255).
    pub(super) owned: BTreeSet<IpAddr>,
}

/// A tracked thing and what it does.
pub(super) struct Share {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) weight: Weight,
    pub(super) up: Option<bool>,
}

/// What the election knows already.
#[derive(Default)]
struct Told {
    home: Home,
    priority: u8,
    started: bool,
    fault: bool,
}

impl Supervised {
    pub(super) fn new(
        id: RouterId,
        slot: u32,
        instance: Instance,
        grouped: bool,
        script_user: Option<ScriptUser>,
    ) -> Self {
        let subject = Subject::Instance(instance.name.clone());
        let notifier = Notifier::start(subject, instance.notify.clone(), script_user);
        let told = Told {
            priority: instance.priority,
            ..Told::default()
        };
        Self {
            id,
            slot,
            instance,
            grouped,
            home: Home::default(),
            notifier,
            faults: Vec::new(),
            shares: Vec::new(),
            stepped_back: None,
            held_back: false,
            last_transition: None,
            told,
            route_error: None,
            present: BTreeSet::new(),
            own: BTreeSet::new(),
        }
    }

    pub(super) fn spec(&self) -> RouterSpec {
        let instance = &self.instance;
        RouterSpec {
            id: self.id,
            slot: self.slot,
            home: self.home,
            vrid: instance.vrid,
            priority: instance.priority,
            rules: self.rules(),
            settings: Settings {
                version: instance.version,
                interval_ns: timers::interval_ns(instance.interval_cs),
                preempt: !instance.nopreempt,
                preempt_delay_ns: instance
                    .preempt_delay
                    .as_nanos()
                    .try_into()
                    .unwrap_or(u64::MAX),
                down_timer_adverts: instance.down_timer_adverts,
                higher_prio_send_advert: instance.higher_prio_send_advert,
                lower_prio_no_advert: instance.lower_prio_no_advert,
                grouped: self.grouped,
                announce: instance.announce,
            },
            form: if instance.checksum_message_only {
                ChecksumForm::MessageOnly
            } else {
                ChecksumForm::PseudoHeader
            },
            audience: match &instance.unicast {
                Some(unicast) => {
                    let peers = unicast.peers.iter().map(|peer| peer.address);
                    Audience::Peers(peers.collect(), unicast.ttl)
                }
                None => Audience::Group(instance.group),
            },
            advertised: instance
                .addresses
                .iter()
                .map(|entry| entry.address)
                .collect(),
            addresses: self.addresses().cloned().collect::<Arc<[VirtualAddress]>>(),
            owner: instance.priority == PRIORITY_OWNER,
        }
    }

    fn rules(&self) -> Rules {
        let instance = &self.instance;
        Rules {
            version: instance.version,
            transport: match &instance.unicast {
                Some(unicast) => Transport::Unicast {
                    checks_peers: unicast.checks_peers,
                },
                None => Transport::Multicast(Source::of(instance.group)),
            },
            interval_cs: instance.interval_cs,
            password: instance.password,
            strict: instance.strict,
            accept: instance.accept || instance.priority == PRIORITY_OWNER,
        }
    }

    /// Every address, advertised or not.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.instance
            .addresses
            .iter()
            .chain(&self.instance.excluded)
    }

    /// Notices addresses of an owner that are there before it takes part: they are the machine's own.
    /// Says whether there are new ones.
    pub(super) fn notice_own(&mut self, table: &InterfaceTable) -> bool {
        if self.instance.priority != PRIORITY_OWNER || self.told.started {
            return false;
        }
        let Some(interface) = table.by_name(&self.instance.interface) else {
            return false;
        };
        let known = self.own.len();
        let there = |address: &IpAddr| {
            let mut entries = interface.addresses.iter();
            entries.any(|entry| entry.address == *address)
        };
        let wanted: Vec<IpAddr> = self.addresses().map(|entry| entry.address).collect();
        self.own.extend(wanted.into_iter().filter(there));
        self.own.len() > known
    }

    /// The addresses that it may leave on its interface.
    pub(super) fn placed(&self, table: &InterfaceTable) -> impl Iterator<Item = Placed> {
        let interface = table.by_name(&self.instance.interface);
        self.addresses()
            .filter(move |entry| !self.own.contains(&entry.address))
            .map(move |entry| Placed {
                interface: self.instance.interface.clone(),
                ifindex: interface.map_or(0, |interface| interface.index),
                address: entry.address,
            })
    }

    pub(super) fn entered(&mut self, transition: Transition) {
        self.last_transition = Some(transition);
    }

    /// Whether its interface is no longer the one it lives on. It resigns there then, and takes its
    /// addresses off.
    pub(super) fn leaves_interface(
        &mut self,
        table: &InterfaceTable,
        election: &ElectionHandle,
    ) -> bool {
        let found = table.by_name(&self.instance.interface);
        let stays = found.is_some_and(|interface| {
            interface.index == self.home.ifindex && interface.generation == self.home.generation
        });
        let leaves = self.home.ifindex != 0 && !stays;
        if leaves {
            self.raise_fault(election);
        }
        leaves
    }

    /// Finds the interface, and makes the dataplane judge frames there. The program is attached
    /// afterwards, so that it never sees an interface without knowing what is ours on it.
    pub(super) fn follow_interface(
        &mut self,
        table: &InterfaceTable,
        dataplane: &mut Dataplane,
        vips: &VirtualAddresses,
    ) {
        let interface = table.by_name(&self.instance.interface);
        let home = interface.map_or(Home::default(), |interface| Home {
            ifindex: interface.index,
            generation: interface.generation,
            mac: interface.mac,
            source: self.source_on(interface, vips),
        });
        let moved = !home.is_on(&self.home);
        self.home = home;
        if moved || self.route_error.is_some() {
            self.route_error = self.route(dataplane).err().map(|error| error.to_string());
        }
    }

    fn route(&self, dataplane: &mut Dataplane) -> Result<(), DataplaneError> {
        if self.home.ifindex == 0 {
            dataplane.unroute(self.slot);
            return Ok(());
        }
        let unicast = self.instance.unicast.as_ref();
        let checked = unicast.filter(|unicast| unicast.checks_peers);
        let peers = checked.into_iter().flat_map(|unicast| &unicast.peers);
        let routed = Routed {
            place: Place {
                ifindex: self.home.ifindex,
                vlan: 0,
            },
            family: self.instance.family(),
            vrid: self.instance.vrid,
            vips: self.addresses().map(|entry| entry.address).collect(),
            peers: peers
                .map(|peer| {
                    let limits = PeerLimits {
                        min_ttl: peer.min_ttl,
                        max_ttl: peer.max_ttl,
                        reserved: [0; 2],
                    };
                    (peer.address, limits)
                })
                .collect(),
        };
        dataplane.route(self.slot, routed)
    }

    /// The address adverts come from: the configured one while it is there; else not a virtual one,
    /// unless all there is on the interface is the address of an owner, which is this machine's own.
    fn source_on(&self, interface: &Interface, vips: &VirtualAddresses) -> Option<IpAddr> {
        if let Some(configured) = self.instance.source {
            return interface.has(configured).then_some(configured);
        }
        let family = self.instance.family();
        interface
            .primary_address(family, |address| vips.all.contains(&address))
            .or_else(|| {
                interface.primary_address(family, |address| {
                    vips.all.contains(&address) && !vips.owned.contains(&address)
                })
            })
    }

    /// What a MASTER carries is desired state: an address that somebody removes is put back.
    pub(super) fn reconcile(&mut self, table: &InterfaceTable, election: &ElectionHandle) {
        let is_master = self
            .last_transition
            .is_some_and(|entered| entered.state == State::Master);
        let Some(interface) = table.by_index(self.home.ifindex).filter(|_| is_master) else {
            self.present.clear();
            return;
        };
        let there = |address| {
            interface
                .addresses
                .iter()
                .any(|entry| entry.address == address)
        };
        let wanted: Vec<IpAddr> = self.addresses().map(|entry| entry.address).collect();
        let mut restore = false;
        for address in wanted {
            if there(address) {
                self.present.insert(address);
            } else if self.present.remove(&address) {
                let name = &self.instance.name;
                tracing::warn!(
                    "({name}) somebody removed {address} from {}; putting it back",
                    interface.name
                );
                restore = true;
            }
        }
        if restore {
            election.send(Command::Restore(self.id));
        }
    }

    /// Says where the instance is, before anything is attached there.
    pub(super) fn announce_home(
        &mut self,
        table: &InterfaceTable,
        ports: &Ports,
        election: &ElectionHandle,
    ) {
        self.look_for_faults(table, ports);
        self.tell_home(election);
    }

    /// Adds up what the interface and the checks say, and tells the election what changed.
    pub(super) fn weigh(
        &mut self,
        table: &InterfaceTable,
        ports: &Ports,
        scripts: &BTreeMap<String, watch::Receiver<ScriptState>>,
        election: &ElectionHandle,
    ) {
        self.shares = self.measure(table, scripts);
        self.look_for_faults(table, ports);
        self.tell_home(election);
        let priority = self.effective_priority();
        if priority != self.told.priority {
            tracing::info!(
                "({}) effective priority {} -> {priority}",
                self.instance.name,
                self.told.priority
            );
            self.told.priority = priority;
            election.tell(self.id, Event::Priority(priority));
        }
        self.tell_fault(election);
    }

    fn look_for_faults(&mut self, table: &InterfaceTable, ports: &Ports) {
        let faults = self.find_faults(table, ports);
        if faults != self.faults {
            for fault in faults.iter().filter(|fault| !self.faults.contains(fault)) {
                tracing::warn!("({}) {fault}", self.instance.name);
            }
            self.faults = faults;
        }
    }

    /// A fault first: what is to be said and removed belongs to the old home. An interface that was
    /// made anew counts as one, however fast.
    fn tell_home(&mut self, election: &ElectionHandle) {
        let made_anew = self.told.home.ifindex != 0 && !self.home.is_on(&self.told.home);
        if !self.faults.is_empty() || made_anew {
            self.raise_fault(election);
        }
        if self.home != self.told.home {
            self.told.home = self.home;
            election.send(Command::Move(self.id, self.home));
        }
    }

    fn raise_fault(&mut self, election: &ElectionHandle) {
        if self.stepped_back.is_none() && !std::mem::replace(&mut self.told.fault, true) {
            election.tell(self.id, Event::FaultRaised);
        }
    }

    fn tell_fault(&mut self, election: &ElectionHandle) {
        let out = self.stepped_back.is_some() || self.held_back;
        if out || !self.faults.is_empty() || self.waits_for_a_check() {
            return;
        }
        if std::mem::replace(&mut self.told.fault, false) {
            self.told.started = true;
            election.tell(self.id, Event::FaultCleared);
        } else if !std::mem::replace(&mut self.told.started, true) {
            election.tell(self.id, Event::Startup);
        }
    }

    /// A check whose failure means FAULT holds the instance out until its first result.
    pub(super) fn waits_for_a_check(&self) -> bool {
        let undecided = |share: &Share| share.up.is_none() && share.weight.value == 0;
        !self.told.started && self.shares.iter().any(undecided)
    }

    fn measure(
        &self,
        table: &InterfaceTable,
        scripts: &BTreeMap<String, watch::Receiver<ScriptState>>,
    ) -> Vec<Share> {
        let tracked_scripts = self.instance.track_scripts.iter().map(|track| Share {
            name: track.script.clone(),
            kind: "script",
            weight: track.weight,
            up: scripts
                .get(&track.script)
                .and_then(|script| script.borrow().up),
        });
        let tracked_interfaces = self.instance.track_interfaces.iter().map(|track| Share {
            name: track.interface.clone(),
            kind: "interface",
            weight: track.weight,
            up: Some(
                table
                    .by_name(&track.interface)
                    .is_some_and(|interface| interface.running),
            ),
        });
        tracked_scripts.chain(tracked_interfaces).collect()
    }

    fn find_faults(&self, table: &InterfaceTable, ports: &Ports) -> Vec<String> {
        let mut faults = Vec::new();
        let name = &self.instance.interface;
        match table.by_name(name) {
            None => faults.push(format!("interface {name} does not exist")),
            Some(interface) => {
                if !interface.running && !self.instance.dont_track_primary {
                    faults.push(format!("interface {name} is down or has no carrier"));
                }
                if self.home.source.is_none() {
                    faults.push(self.no_source(name));
                }
            }
        }
        faults.extend(self.route_error.clone());
        faults.extend(ports.problem(self.home.ifindex).map(str::to_owned));
        for share in &self.shares {
            if share.up.is_some_and(|up| share.weight.share(up).is_none()) {
                let state = if share.weight.reverse { "up" } else { "down" };
                faults.push(format!("{} {} is {state}", share.kind, share.name));
            }
        }
        faults
    }

    fn no_source(&self, interface: &str) -> String {
        match (self.instance.source, self.instance.family()) {
            (Some(address), _) => format!("{address} is not on interface {interface}"),
            (None, Family::V4) => format!("interface {interface} has no IPv4 address of its own"),
            (None, Family::V6) => {
                format!("interface {interface} has no link-local IPv6 address of its own yet")
            }
        }
    }

    /// keepalived's arithmetic: the sum is kept between 1 and 254, and an owner stays an owner.
    pub(super) fn effective_priority(&self) -> u8 {
        if self.instance.priority == PRIORITY_OWNER {
            return PRIORITY_OWNER;
        }
        let total: i32 = self.shares.iter().map(Share::adds).sum();
        let effective = (i32::from(self.instance.priority) + total).clamp(1, 254);
        u8::try_from(effective).unwrap_or(self.instance.priority)
    }
}

impl Share {
    /// What it adds to the priority now; nothing before its first result.
    pub(super) fn adds(&self) -> i32 {
        self.up.and_then(|up| self.weight.share(up)).unwrap_or(0)
    }
}
