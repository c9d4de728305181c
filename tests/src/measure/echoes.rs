//! Somebody who pings virtual addresses from a certain moment on, again and again, until they answer.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{contestant::Work, field::Field};
use crate::{
    capture::{Capture, Sender},
    frames::packet_v4,
    scheduling::go_first,
    wall_ns,
};

/// Everything that a pinger needs.
pub(super) struct Questions {
    frames: BTreeMap<Ipv4Addr, Vec<u8>>,
    ports: Vec<(Sender, Capture)>,
}

/// A running pinger.
pub(super) struct Echoes(JoinHandle<BTreeMap<Ipv4Addr, u64>>);

/// How long it waits for those that have not answered.
const PATIENCE: Duration = Duration::from_secs(20);
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(1);
/// How many addresses are asked: asking all of many would take the machine from those that are asked, and
/// asking them seldom would say little.
const ASKED: usize = 16;

impl Questions {
    /// The observer will ask the second router's MAC for some of the addresses, others each `turn`.
    pub(super) fn new(field: &Field, work: Work, turn: usize) -> Self {
        let observer = field.observer.as_ref().expect("an observer");
        let mut frames = BTreeMap::new();
        let mut ports = Vec::new();
        let step = work.routers().div_ceil(ASKED);
        let mut turns = (0..step).cycle().skip(turn);
        for interface in 0..work.interfaces {
            let device = format!("eth{interface}");
            let macs = (observer.mac(&device), field.routers[1].mac(&device));
            let own = Field::observer_address(interface);
            for vrid in (1..=work.each).filter(|_| turns.next() == Some(0)) {
                let address = Work::address(interface, vrid);
                frames.insert(address, packet_v4(macs, own, address));
            }
            let sender = observer.enter(|| Sender::on(&device));
            ports.push((sender, Capture::echo_replies(observer, &device)));
        }
        Self { frames, ports }
    }
}

impl Echoes {
    /// Asks from then on, in nanoseconds of the wall clock.
    pub(super) fn start(questions: Questions, from_ns: u64) -> Self {
        Self(thread::spawn(move || {
            go_first();
            ask(questions.frames, &questions.ports, from_ns)
        }))
    }

    /// When each address has answered first, in nanoseconds of the wall clock.
    pub(super) fn wait(self) -> BTreeMap<Ipv4Addr, u64> {
        self.0.join().expect("the pinger")
    }
}

fn ask(
    mut questions: BTreeMap<Ipv4Addr, Vec<u8>>,
    ports: &[(Sender, Capture)],
    from_ns: u64,
) -> BTreeMap<Ipv4Addr, u64> {
    let wait_ns = from_ns.saturating_sub(wall_ns());
    thread::park_timeout(Duration::from_nanos(wait_ns));
    let end = std::time::Instant::now() + PATIENCE;
    let mut answered = BTreeMap::new();
    while !questions.is_empty() && std::time::Instant::now() < end {
        for (address, question) in &questions {
            let [_, _, interface, _] = address.octets();
            if let Some((sender, _)) = ports.get(usize::from(interface)) {
                // What the kernel has no room for is asked in the next round.
                let _ = sender.try_send(question);
            }
        }
        thread::park_timeout(PAUSE);
        for (_, capture) in ports {
            for seen in capture.take().0 {
                let Some(source) = seen.frame.get(26..30) else {
                    continue;
                };
                let source: [u8; 4] = source.try_into().expect("four bytes");
                if questions.remove(&Ipv4Addr::from(source)).is_some() {
                    answered.insert(source.into(), seen.at_ns);
                }
            }
        }
    }
    assert!(questions.is_empty(), "every address answers");
    answered
}
