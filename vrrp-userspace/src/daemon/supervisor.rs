//! One instance as the control plane sees it: what its interface and its checks say, and what that
//! means for its priority and for FAULT.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use vrrp_common::{
    election::{Event, Settings},
    slot::{Rules, Transport},
    timers,
    vrrp::{ChecksumForm, PRIORITY_OWNER, Source},
};

use super::{
    checks::{Checks, Says},
    ports::Ports,
    restore::Restore,
};
use crate::{
    config::model::{Config, Instance, ScriptUser, TrackKind, Weight},
    dataplane::Elsewhere,
    election::{
        Audience, ElectionHandle, Home, Inheritance, Pace, RouterId, RouterSpec, Transition,
    },
    net::{Belonging, InterfaceTable, VirtualAddress},
    notify::{Desk, Notifier, Subject},
};

/// An instance and what the election was told of it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each can be without the others"
)]
pub(super) struct Supervised {
    pub(super) id: RouterId,
    pub(super) slot: u32,
    pub(super) instance: Instance,
    /// Whether it is a member of a sync group.
    pub(super) grouped: bool,
    /// The pauses between its announcements.
    pace: Pace,
    pub(super) home: Home,
    pub(super) notifier: Notifier,
    /// Who runs scripts that name nobody.
    script_user: Option<ScriptUser>,
    /// What holds it in FAULT.
    pub(super) faults: Vec<String>,
    /// What each tracked thing does to the priority.
    pub(super) shares: Vec<Share>,
    /// The embedded default has given up, and why.
    pub(super) stepped_back: Option<String>,
    /// The daemon has started too recently to take part.
    pub(super) held_back: bool,
    /// Somebody has taken it out by hand.
    pub(super) drained: bool,
    /// A base priority that somebody has given it by hand, until the next reload.
    pub(super) priority_by_hand: Option<u8>,
    pub(super) last_transition: Option<Transition>,
    pub(super) told: Told,
    /// Why the dataplane cannot serve it.
    pub(super) route_error: Option<String>,
    /// What the dataplane must know of it has changed.
    pub(super) is_routed_anew: bool,
    /// Where the dataplane looks for its addresses beside its own interface.
    pub(super) routed_elsewhere: Vec<Elsewhere>,
    /// Addresses that have been on their interface since we became MASTER.
    pub(super) present: BTreeSet<(u32, IpAddr)>,
    /// Something of it is missing.
    pub(super) restore: Restore,
    /// Addresses of an owner that were there before it took part for the first time.
    pub(super) own: BTreeSet<IpAddr>,
    /// Addresses that a reload knows to be none of those.
    pub(super) not_own: BTreeSet<IpAddr>,
    /// What the daemon before has left of it, until it goes on with that.
    pub(super) inheritance: Option<Inheritance>,
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
    pub(super) kind: TrackKind,
    pub(super) weight: Weight,
    /// `None` before its first result.
    pub(super) says: Option<Says>,
}

/// What the election knows already.
pub(super) struct Told {
    pub(super) home: Home,
    pub(super) belongings: Arc<[Belonging]>,
    priority: u8,
    pub(super) started: bool,
    fault: bool,
}

impl Supervised {
    pub(super) fn new(
        id: RouterId,
        slot: u32,
        instance: Instance,
        grouped: bool,
        config: &Config,
        desk: Desk,
    ) -> Self {
        let pace = pace(&instance, config);
        let script_user = config.global.script_user.clone();
        let subject = Subject::Instance(instance.name.clone());
        let notify = instance.notify.clone();
        let notifier = Notifier::start(subject, notify, script_user.clone(), desk);
        let told = Told {
            home: Home::default(),
            belongings: Arc::new([]),
            priority: instance.priority,
            started: false,
            fault: false,
        };
        Self {
            id,
            slot,
            instance,
            grouped,
            pace,
            home: Home::default(),
            notifier,
            script_user,
            faults: Vec::new(),
            shares: Vec::new(),
            stepped_back: None,
            held_back: false,
            drained: false,
            priority_by_hand: None,
            last_transition: None,
            told,
            route_error: None,
            is_routed_anew: false,
            routed_elsewhere: Vec::new(),
            present: BTreeSet::new(),
            restore: Restore::default(),
            own: BTreeSet::new(),
            not_own: BTreeSet::new(),
            inheritance: None,
        }
    }

    /// Follows a changed configuration of the same virtual router. Returns what the election is to be told
    /// where anything is different.
    pub(super) fn reconfigure(
        &mut self,
        instance: &Instance,
        grouped: bool,
        config: &Config,
    ) -> Option<RouterSpec> {
        let pace = pace(instance, config);
        let script_user = &config.global.script_user;
        let same_scripts =
            instance.notify == self.instance.notify && *script_user == self.script_user;
        if instance.is_same(&self.instance)
            && grouped == self.grouped
            && pace == self.pace
            && same_scripts
        {
            return None;
        }
        if !same_scripts {
            self.script_user.clone_from(script_user);
            let notify = instance.notify.clone();
            self.notifier.change(notify, script_user.clone());
        }
        if instance.promote_secondaries && !self.instance.promote_secondaries {
            self.promote_secondaries();
        }
        self.instance = instance.clone();
        self.grouped = grouped;
        self.pace = pace;
        let addresses: BTreeSet<IpAddr> = self.addresses().map(|it| it.address).collect();
        self.own.retain(|address| addresses.contains(address));
        self.is_routed_anew = true;
        Some(self.spec())
    }

    pub(super) fn spec(&self) -> RouterSpec {
        let instance = &self.instance;
        RouterSpec {
            id: self.id,
            slot: self.slot,
            home: self.home,
            vrid: instance.vrid,
            priority: self.told.priority,
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
            sends_from_port: instance.sends_from_port,
            advertised: instance.advertised.clone(),
            pace: self.pace,
            belongings: Arc::new([]),
            owner: instance.priority == PRIORITY_OWNER,
            inheritance: self.inheritance.clone(),
        }
    }

    /// The election goes on as it was: it has started, with this priority.
    pub(super) const fn told_already(&mut self, priority: u8) {
        self.told.started = true;
        self.told.priority = priority;
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
            listed_only: !instance.accept_from.is_empty(),
            lease: instance.lease,
        }
    }

    /// Every address, advertised or not.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.instance
            .addresses
            .iter()
            .chain(&self.instance.excluded)
    }

    pub(super) fn entered(&mut self, transition: Transition) {
        self.last_transition = Some(transition);
    }

    /// Adds up what the interface and the checks say, and tells the election what changed.
    pub(super) fn weigh(
        &mut self,
        table: &InterfaceTable,
        ports: &Ports,
        checks: &Checks,
        election: &ElectionHandle,
    ) {
        self.shares = self.measure(table, checks);
        self.look_for_faults(table, ports);
        self.tell_home(table, election);
        let priority = self.effective_priority();
        if priority != self.told.priority {
            tracing::info!(
                "({}) effective priority {} -> {priority}",
                self.instance.name,
                self.told.priority
            );
            self.told.priority = priority;
            if let Some(entered) = self.last_transition {
                self.notifier.tell_priority(entered.state, priority);
            }
            election.tell(self.id, Event::Priority(priority));
        }
        self.tell_fault(election);
    }

    pub(super) fn look_for_faults(&mut self, table: &InterfaceTable, ports: &Ports) {
        let faults = self.find_faults(table, ports);
        if faults != self.faults {
            for fault in faults.iter().filter(|fault| !self.faults.contains(fault)) {
                tracing::warn!("({}) {fault}", self.instance.name);
            }
            self.faults = faults;
        }
    }

    pub(super) fn raise_fault(&mut self, election: &ElectionHandle) {
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
        let undecided = |share: &Share| share.says.is_none() && share.weight.value == 0;
        !self.told.started && self.shares.iter().any(undecided)
    }

    fn measure(&self, table: &InterfaceTable, checks: &Checks) -> Vec<Share> {
        let running = |name: &str| table.by_name(name).is_some_and(|it| it.running);
        let tracks = self.instance.tracks.iter().map(|track| Share {
            name: track.name.clone(),
            kind: track.kind,
            weight: track.weight,
            says: match track.kind {
                TrackKind::Interface => Some(Says::Up(running(&track.name))),
                kind => checks.says(kind, &track.name),
            },
        });
        tracks.collect()
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
        for (name, tracked) in self.other_interfaces() {
            match table.by_name(name) {
                None if tracked => faults.push(format!("interface {name} does not exist")),
                Some(interface) if tracked && !interface.running => {
                    faults.push(format!("interface {name} is down or has no carrier"));
                }
                Some(interface) => {
                    faults.extend(ports.problem(interface.index).map(str::to_owned));
                }
                None => {}
            }
        }
        if self.drained {
            let name = &self.instance.name;
            faults.push(format!("drained by hand; `xvrrp undrain {name}` ends that"));
        }
        faults.extend(self.conflict());
        let unicast = self.instance.unicast.as_ref();
        if unicast.is_some_and(|unicast| unicast.peers.is_empty()) {
            faults.push("unicast_peer names nobody (unicast_fault_no_peer)".to_owned());
        }
        faults.extend(self.route_error.clone());
        faults.extend(ports.problem(self.home.ifindex).map(str::to_owned));
        for share in &self.shares {
            faults.extend(share.fault());
        }
        faults
    }

    /// keepalived's arithmetic: the sum is kept between 1 and 254, and an owner stays an owner.
    pub(super) fn effective_priority(&self) -> u8 {
        if self.instance.priority == PRIORITY_OWNER {
            return PRIORITY_OWNER;
        }
        let total: i32 = self.shares.iter().map(Share::adds).sum();
        let base = self.priority_by_hand.unwrap_or(self.instance.priority);
        let effective = (i32::from(base) + total).clamp(1, 254);
        u8::try_from(effective).unwrap_or(self.instance.priority)
    }
}

/// The pauses between an instance's announcements: those of the group that its interface is in.
fn pace(instance: &Instance, config: &Config) -> Pace {
    let nanos = |pause: Duration| pause.as_nanos().try_into().unwrap_or(u64::MAX);
    let groups = &config.garp_groups;
    let found = groups
        .iter()
        .position(|group| group.interfaces.contains(&instance.interface));
    let group = found.and_then(|at| groups.get(at));
    let (garp, gna) = group.map_or(
        (config.global.garp_interval, config.global.gna_interval),
        |group| (group.garp_interval, group.gna_interval),
    );
    Pace {
        garp_ns: nanos(garp),
        gna_ns: nanos(gna),
        group: found.and_then(|at| u32::try_from(at).ok()),
    }
}

impl Share {
    /// What it adds to the priority now; nothing before its first result, or where it means FAULT.
    pub(super) fn adds(&self) -> i32 {
        self.says.and_then(|says| self.effect(says)).unwrap_or(0)
    }

    /// Whether it is up; `None` before its first result, and for a number.
    pub(super) const fn up(&self) -> Option<bool> {
        match self.says {
            Some(Says::Up(up)) => Some(up),
            Some(Says::Number(_)) | None => None,
        }
    }

    /// The number in a file.
    pub(super) const fn number(&self) -> Option<i64> {
        match self.says {
            Some(Says::Number(number)) => Some(number),
            Some(Says::Up(_)) | None => None,
        }
    }

    /// `None`: FAULT.
    const fn effect(&self, says: Says) -> Option<i32> {
        match says {
            Says::Up(up) => self.weight.share(up),
            Says::Number(number) => self.weight.share_of(number),
        }
    }

    /// What holds the instance in FAULT, if it does.
    pub(super) fn fault(&self) -> Option<String> {
        let says = self.says.filter(|says| self.effect(*says).is_none())?;
        let state = match says {
            Says::Up(_) if self.weight.reverse => "is up".to_owned(),
            Says::Up(_) => "is down".to_owned(),
            Says::Number(number) => format!("says {number}"),
        };
        Some(format!("{} {} {state}", self.kind.name(), self.name))
    }
}
