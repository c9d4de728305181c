//! When addresses come to a router's interfaces and go, as the kernel tells whoever listens.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    os::fd::AsRawFd as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt,
    socket, sockopt,
};

use crate::{netns::Namespace, scheduling::go_first, wait_for, wall_ns};

/// Listens as long as it lives.
pub(super) struct Arrivals {
    /// The addresses that are there, and since when, in nanoseconds of the wall clock.
    present: Arc<Mutex<BTreeMap<Ipv4Addr, u64>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const NEW_ADDRESS: u16 = 20;
const DELETED_ADDRESS: u16 = 21;
/// The group of IPv4 addresses (`RTMGRP_IPV4_IFADDR`).
const GROUP: u32 = 0x10;
/// Attribute `IFA_LOCAL`.
const LOCAL: u16 = 2;
/// How long it lets messages gather: to wake for each of hundreds would take the machine from the router.
const STEP: Duration = Duration::from_micros(500);
/// Headers before the attributes: `nlmsghdr` and `ifaddrmsg`.
const HEADERS: usize = 24;

impl Arrivals {
    pub(super) fn watch(namespace: &Namespace) -> Self {
        let fd = namespace.enter(|| {
            let fd = socket(
                AddressFamily::Netlink,
                SockType::Raw,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::NetlinkRoute,
            )
            .expect("a netlink socket");
            bind(fd.as_raw_fd(), &NetlinkAddr::new(0, GROUP)).expect("join the group");
            fd
        });
        setsockopt(&fd, sockopt::RcvBufForce, &(32 << 20)).expect("a large buffer");
        let patience = nix::sys::time::TimeVal::new(0, 20_000);
        setsockopt(&fd, sockopt::ReceiveTimeout, &patience).expect("a timeout");
        let (present, stop) = (Arc::<Mutex<_>>::default(), Arc::<AtomicBool>::default());
        let thread = {
            let (present, stop) = (Arc::clone(&present), Arc::clone(&stop));
            std::thread::spawn(move || {
                go_first();
                let mut buffer = vec![0; 1 << 16];
                let mut flags = MsgFlags::empty();
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(length) = recv(fd.as_raw_fd(), &mut buffer, flags) {
                        let bytes = buffer.get(..length).unwrap_or_default();
                        note(bytes, &mut present.lock().expect("the lock"));
                        flags = MsgFlags::MSG_DONTWAIT;
                    } else if flags.is_empty() {
                        // Nothing has come for as long as it waits.
                    } else {
                        std::thread::park_timeout(STEP);
                        flags = MsgFlags::empty();
                    }
                }
            })
        };
        Self {
            present,
            stop,
            thread: Some(thread),
        }
    }

    /// Waits until so many are there.
    pub(super) fn wait(&self, count: usize, limit: Duration) {
        wait_for(format!("{count} addresses"), limit, || {
            (self.present.lock().expect("the lock").len() == count).then_some(())
        });
    }

    /// Whether so many are there within this time.
    pub(super) fn comes_to(&self, count: usize, limit: Duration) -> bool {
        let end = std::time::Instant::now() + limit;
        while std::time::Instant::now() < end {
            if self.present.lock().expect("the lock").len() == count {
                return true;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        false
    }

    /// Those that are there, and since when.
    pub(super) fn present(&self) -> BTreeMap<Ipv4Addr, u64> {
        self.present.lock().expect("the lock").clone()
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// Takes note of every message in the bytes of one read.
fn note(mut bytes: &[u8], present: &mut BTreeMap<Ipv4Addr, u64>) {
    let now_ns = wall_ns();
    while let Some((length, kind)) = header(bytes) {
        let message = bytes.get(HEADERS..length).unwrap_or_default();
        match (kind, local_address(message)) {
            (NEW_ADDRESS, Some(address)) => {
                present.entry(address).or_insert(now_ns);
            }
            (DELETED_ADDRESS, Some(address)) => {
                present.remove(&address);
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
}

/// Length and type of a message that is whole.
fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    (length >= HEADERS && length <= bytes.len()).then_some((length, kind))
}

/// A virtual address; others are nobody's business here.
fn local_address(mut attributes: &[u8]) -> Option<Ipv4Addr> {
    loop {
        let length = u16::from_ne_bytes(attributes.get(..2)?.try_into().ok()?);
        let kind = u16::from_ne_bytes(attributes.get(2..4)?.try_into().ok()?);
        let length = usize::from(length).max(4);
        if kind == LOCAL {
            let octets: [u8; 4] = attributes.get(4..8)?.try_into().ok()?;
            return (octets[..2] == [10, 100]).then(|| octets.into());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}
