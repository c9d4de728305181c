//! A host that pings another one in a steady rhythm.

use std::{
    collections::BTreeMap,
    fs::File,
    mem::MaybeUninit,
    net::{IpAddr, SocketAddr},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{LONG, netns::Namespace, wait_for, wall_ns};

/// A ping without an answer for that long is lost.
const PATIENCE_NS: u64 = 500_000_000;

/// A running pinger; ended when dropped.
pub struct Pinger {
    /// When each ping was sent, and whether it was answered.
    pings: Arc<Mutex<BTreeMap<u64, bool>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pinger {
    /// Starts pinging an address from inside a namespace, once every `period`.
    pub fn start(namespace: &Namespace, target: IpAddr, period: Duration) -> Self {
        let pings = Arc::new(Mutex::new(BTreeMap::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let handle = File::open(format!("/run/netns/{}", namespace.name())).expect("the namespace");
        let thread = {
            let (pings, stop) = (pings.clone(), stop.clone());
            thread::spawn(move || {
                setns(&handle, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                let (domain, protocol) = match target {
                    IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
                    IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
                };
                let socket = Socket::new(domain, Type::RAW, Some(protocol)).expect("a raw socket");
                run(&socket, target, period, &pings, &stop);
            })
        };
        Self {
            pings,
            stop,
            thread: Some(thread),
        }
    }

    /// How many pings sent within a span of time got no answer.
    pub fn lost(&self, span: &Range<u64>) -> usize {
        let pings = self.pings.lock().expect("the pinger's lock");
        let range = pings.range(span.clone());
        range.filter(|(_, answered)| !**answered).count()
    }

    /// How many pings were lost while something was done: from when they are answered until they are again.
    pub fn lost_during(&self, deed: impl FnOnce()) -> usize {
        let is_answered = || self.is_answered().then_some(());
        wait_for("pings to be answered", LONG, is_answered);
        let from = wall_ns();
        deed();
        wait_for("pings to be answered", LONG, is_answered);
        let span = from..wall_ns();
        wait_for("the last answers", LONG, || {
            Self::has_judged(span.end).then_some(())
        });
        self.lost(&span)
    }

    /// Whether every ping sent until then has been answered or had time to be.
    pub fn has_judged(until_ns: u64) -> bool {
        wall_ns() > until_ns + PATIENCE_NS
    }

    /// Whether pings are answered now.
    pub fn is_answered(&self) -> bool {
        let pings = self.pings.lock().expect("the pinger's lock");
        let mut last = pings.iter().rev().skip(1).take(5);
        pings.len() > 5 && last.all(|(_, answered)| *answered)
    }
}

impl Drop for Pinger {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    socket: &Socket,
    target: IpAddr,
    period: Duration,
    pings: &Mutex<BTreeMap<u64, bool>>,
    stop: &AtomicBool,
) {
    let period_ns = u64::try_from(period.as_nanos()).expect("a short period");
    let address = SockAddr::from(SocketAddr::new(target, 0));
    let mut next_ns = wall_ns();
    while !stop.load(Ordering::Relaxed) {
        let now = wall_ns();
        if now >= next_ns {
            // While there is no way to the target the kernel refuses: that ping is lost too.
            let _ = socket.send_to(&echo_request(target, now), &address);
            pings.lock().expect("the pinger's lock").insert(now, false);
            // One that comes too late is left out: two at once would count twice.
            next_ns = (next_ns + period_ns).max(now + period_ns / 2);
            continue;
        }
        let left = Duration::from_nanos(next_ns - now);
        socket
            .set_read_timeout(Some(left.max(Duration::from_micros(100))))
            .expect("a timeout");
        if let Some(sent) = receive(socket, target)
            && let Some(answered) = pings.lock().expect("the pinger's lock").get_mut(&sent)
        {
            *answered = true;
        }
    }
}

/// The time within an echo reply is when the request was sent.
fn receive(socket: &Socket, target: IpAddr) -> Option<u64> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 128];
    // Without an answer in time there is none yet.
    let length = socket.recv(&mut buffer).ok()?;
    // SAFETY: the kernel wrote that many bytes.
    let bytes: Vec<u8> = buffer[..length]
        .iter()
        .map(|byte| unsafe { byte.assume_init() })
        .collect();
    // Over IPv6 the kernel keeps the header for itself.
    let (at, reply) = if target.is_ipv4() { (20, 0) } else { (0, 129) };
    let icmp = bytes.get(at..at + 16)?;
    let is_reply = icmp[0] == reply;
    is_reply
        .then(|| icmp[8..16].try_into().ok().map(u64::from_be_bytes))
        .flatten()
}

/// An ICMP echo request that carries the time (over IPv6 type 128, and the kernel fills the checksum in):
///
/// ```text
///  0 type 8   1 code 0   2 checksum   4 identifier   6 sequence   8 nanoseconds (8)
/// ```
fn echo_request(target: IpAddr, now_ns: u64) -> [u8; 16] {
    let mut packet = [0; 16];
    packet[0] = if target.is_ipv4() { 8 } else { 128 };
    packet[8..].copy_from_slice(&now_ns.to_be_bytes());
    let sum: u32 = packet
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let checksum = !u16::try_from(folded).unwrap_or(0);
    packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet
}
