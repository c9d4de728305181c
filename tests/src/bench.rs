//! The kernel programs on a bench: loaded, with one virtual router, and fed frame by frame through
//! `BPF_PROG_TEST_RUN`.

use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd as _, BorrowedFd},
    time::Duration,
};

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use vrrp_common::{
    contract::{Family, InterfaceCounters, PeerLimits},
    slot::{Heard, Rules, Slot, Standing},
    vrrp::{GROUP_V4, Source},
};
use vrrp_userspace::{
    clock,
    dataplane::{Dataplane, Heartbeat, ModeRequest, Place, Plan, Routed},
};

use crate::frames::AdvertSpec;

/// `BPF_PROG_TEST_RUN` presents frames as arriving on the loopback interface.
pub const IFINDEX: u32 = 1;
/// Our MAC.
pub const OUR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];
/// The virtual MAC of the bench's virtual router, where it has one.
pub const VIRTUAL_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, VRID];
/// The other router's MAC.
pub const PEER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
/// Our address.
pub const OUR_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The other router's address.
pub const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
/// The virtual address.
pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// Virtual Router Identifier.
pub const VRID: u8 = 7;

/// What a program does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let through.
    Pass,
    /// Consumed.
    Drop,
    /// Sent back, rewritten.
    Transmit,
}

/// An entry point of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// XDP.
    Xdp,
    /// TC ingress.
    Tc,
    /// TC ingress, for frames to a virtual MAC.
    Accept,
    /// TC egress.
    Egress,
}

impl Entry {
    /// Every entry point for frames that come in.
    pub const BOTH: [Self; 2] = [Self::Xdp, Self::Tc];

    /// `XDP_*`, and `TC_ACT_UNSPEC`, `TC_ACT_SHOT`, `TC_ACT_REDIRECT`.
    #[must_use]
    pub fn verdict(self, number: u32) -> Verdict {
        match (self, number.cast_signed()) {
            (Self::Xdp, 2) | (Self::Tc | Self::Accept | Self::Egress, -1) => Verdict::Pass,
            (Self::Xdp, 1) | (Self::Tc | Self::Accept | Self::Egress, 2) => Verdict::Drop,
            (Self::Xdp, 3) | (Self::Tc, 7) => Verdict::Transmit,
            (entry, number) => panic!("{entry:?} returned {number}"),
        }
    }
}

/// What a virtual router of the bench accepts unless told otherwise.
pub const RULES: Rules = Rules::multicast(Source::v4(GROUP_V4));

/// The loaded programs with one virtual router.
pub struct Bench {
    entry: Entry,
    dataplane: Dataplane,
    slot: u32,
    group: u32,
    own: IpAddr,
    mac: [u8; 6],
    heartbeat: Heartbeat,
}

fn place(vlan: u16) -> Place {
    Place {
        ifindex: IFINDEX,
        vlan,
    }
}

impl Bench {
    /// A program that a live daemon attends to.
    pub fn new(entry: Entry) -> Self {
        Self::on_vlan(entry, 0)
    }

    /// The same, for a virtual router on a VLAN.
    pub fn on_vlan(entry: Entry, vlan: u16) -> Self {
        let mut bench = Self::unattended(entry, vlan);
        bench.heartbeat.beat(clock::now_ns()).expect("a heartbeat");
        bench
    }

    /// Makes the daemon be alive for a day.
    pub fn attend(&mut self) {
        let day = 86_400_000_000_000;
        self.heartbeat
            .beat(clock::now_ns() + day)
            .expect("a heartbeat");
    }

    /// A program whose daemon is dead.
    pub fn unattended(entry: Entry, vlan: u16) -> Self {
        let plan = Plan {
            routers: 2,
            addresses: 2,
            peers: 2,
            interfaces: 1,
            request: ModeRequest::Generic,
            pins: None,
        };
        let mut dataplane = Dataplane::load(&plan).expect("load the object; the tests run as root");
        let slot = dataplane.take_slot().expect("a slot");
        let group = dataplane.take_slot().expect("a slot");
        let heartbeat = dataplane.take_heartbeat().expect("the heartbeat");
        let mut bench = Self {
            entry,
            dataplane,
            slot,
            group,
            own: OUR_ADDRESS.into(),
            mac: OUR_MAC,
            heartbeat,
        };
        bench.serve(vlan, &RULES, OUR_ADDRESS.into(), VIP.into(), &[]);
        bench.dataplane.count_interface(IFINDEX).expect("counters");
        bench
    }

    /// Makes it another virtual router: with other rules, another source and another address.
    pub fn serve(
        &mut self,
        vlan: u16,
        rules: &Rules,
        own: IpAddr,
        vip: IpAddr,
        peers: &[(IpAddr, PeerLimits)],
    ) {
        self.own = own;
        self.with_slot(|slot| slot.publish_rules(rules));
        self.publish(100, 100, 1);
        let routed = Routed {
            place: place(vlan),
            family: Family::of(own),
            vrid: VRID,
            vips: vec![vip],
            elsewhere: Vec::new(),
            virtual_mac: (self.mac != OUR_MAC).then_some(self.mac),
            peers: peers.to_vec(),
        };
        self.dataplane.route(self.slot, routed).expect("route");
    }

    /// Gives it a virtual MAC; before [`Self::serve`].
    pub fn use_virtual_mac(&mut self) {
        self.mac = VIRTUAL_MAC;
    }

    /// Makes it a member of a sync group, and returns the group's slot.
    pub fn join_group<R>(&self, act: impl FnOnce(&Slot) -> R) -> R {
        self.with_slot(|slot| slot.join_group(Some(self.group)));
        act(self.dataplane.slots().get(self.group).expect("the slot"))
    }

    /// Says who we are.
    pub fn publish(&mut self, floor: u8, priority: u8, epoch: u64) {
        let source = Source::of(self.own);
        self.with_slot(|slot| {
            slot.publish_port(OUR_MAC);
            slot.publish(&Standing {
                mac: self.mac,
                floor,
                priority,
                source,
                epoch,
            });
        });
    }

    /// Does something with the slot.
    pub fn with_slot<R>(&self, act: impl FnOnce(&Slot) -> R) -> R {
        act(self.dataplane.slots().get(self.slot).expect("the slot"))
    }

    /// Grants a lease until so many seconds from now.
    pub fn lease(&self, seconds_from_now: i64) {
        let now = clock::now_ns();
        let at = now.saturating_add_signed(seconds_from_now * 1_000_000_000);
        self.with_slot(|slot| slot.store_lease(at));
    }

    /// What the program recorded.
    pub fn heard(&self) -> Heard {
        self.with_slot(Slot::heard)
    }

    /// What the program recorded apart from the last advert that it rejected.
    pub fn moved(&self) -> Heard {
        Heard {
            news_seq: 0,
            reject_ns: 0,
            reject_reason: 0,
            reject_source: Source::default(),
            ..self.heard()
        }
    }

    /// What the program counted.
    pub fn counters(&self) -> InterfaceCounters {
        self.dataplane.counters(IFINDEX).expect("counters")
    }

    /// Runs the program on a frame: what it did, and the frame afterwards.
    pub fn run(&mut self, frame: &[u8]) -> (Verdict, Vec<u8>) {
        let mut out = vec![0; 2048];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let result = match self.entry {
            Entry::Xdp => self.dataplane.xdp_program().expect("XDP").test_run(options),
            Entry::Tc => self.dataplane.tc_program().expect("TC").test_run(options),
            Entry::Accept | Entry::Egress => self.companion().test_run(options),
        }
        .expect("test run");
        out.truncate(result.data_size_out as usize);
        (self.entry.verdict(result.return_value), out)
    }

    /// How long the program takes on a frame, the mean of so many runs. What it makes of the frame is what
    /// the next run gets.
    pub fn time(&mut self, frame: &[u8], repeat: u32) -> Duration {
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat,
            ..TestRunOptions::default()
        };
        let result = match self.entry {
            Entry::Xdp => self.dataplane.xdp_program().expect("XDP").test_run(options),
            Entry::Tc => self.dataplane.tc_program().expect("TC").test_run(options),
            Entry::Accept | Entry::Egress => self.companion().test_run(options),
        };
        result.expect("test run").duration
    }

    /// The program itself.
    pub fn program(&mut self) -> BorrowedFd<'_> {
        let fd = match self.entry {
            Entry::Xdp => self.dataplane.xdp_program().expect("XDP").fd(),
            Entry::Tc => self.dataplane.tc_program().expect("TC").fd(),
            Entry::Accept | Entry::Egress => self.companion().fd(),
        };
        fd.expect("a loaded program").as_fd()
    }

    fn companion(&mut self) -> &mut SchedClassifier {
        let program = if self.entry == Entry::Accept {
            self.dataplane.accept_program()
        } else {
            self.dataplane.egress_program()
        };
        program.expect("a companion")
    }

    /// How many instructions the verifier walked through.
    pub fn verified_instructions(&mut self) -> u32 {
        let info = match self.entry {
            Entry::Xdp => self.dataplane.xdp_program().expect("XDP").info(),
            Entry::Tc => self.dataplane.tc_program().expect("TC").info(),
            Entry::Accept | Entry::Egress => self.companion().info(),
        };
        let info = info.expect("its info");
        info.verified_instruction_count().expect("a count")
    }
}

/// Makes a group's slot say that a member was beaten.
pub fn beaten(group: &Slot) {
    group.record_beaten_member();
}

/// A valid advert of the other router.
pub fn advert(priority: u8) -> AdvertSpec {
    AdvertSpec::new(PEER_MAC, PEER, VRID, priority, VIP)
}

/// The frame with an 802.1Q tag in it.
pub fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let [high, low] = vlan.to_be_bytes();
    let mut frame = frame.to_vec();
    frame.splice(12..12, [0x81, 0x00, 0x60 | high, low]);
    frame
}
