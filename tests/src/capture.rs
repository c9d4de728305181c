//! A capture with kernel timestamps, and sending whole frames.

use std::{
    io::IoSliceMut,
    net::IpAddr,
    os::fd::{AsRawFd, RawFd},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::{
    frames::{Said, read},
    netns::Namespace,
    oracle, scheduling, wait_for,
};

/// A frame and when the kernel saw it, in nanoseconds of the wall clock.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at_ns: u64,
    /// What it says.
    pub said: Said,
    /// Its bytes.
    pub frame: Vec<u8>,
}

/// An advert seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertSeen {
    /// When.
    pub at_ns: u64,
    /// From whom.
    pub source: IpAddr,
    /// Priority.
    pub priority: u8,
    /// Interval in centiseconds.
    pub interval_cs: u16,
}

/// A running capture; ended when dropped.
pub struct Capture {
    seen: Arc<Mutex<Vec<Seen>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Routers that the oracle does not judge.
    excused: Mutex<Vec<(u8, IpAddr)>>,
}

impl Capture {
    /// Captures VRRP and ARP on `device` inside `namespace`, except what `ignored` sends.
    pub fn start(namespace: &Namespace, device: &str, ignored: Option<[u8; 6]>) -> Self {
        Self::filtered(namespace, device, &filter(ignored.unwrap_or_default()))
    }

    /// Captures answers to pings over IPv4.
    pub fn echo_replies(namespace: &Namespace, device: &str) -> Self {
        let filter = [
            SockFilter::new(0x28, 0, 0, 12),     // ldh [12]
            SockFilter::new(0x15, 0, 5, 0x0800), // jeq IPv4, next, drop
            SockFilter::new(0x30, 0, 0, 23),     // ldb [23]
            SockFilter::new(0x15, 0, 3, 1),      // jeq ICMP, next, drop
            SockFilter::new(0x30, 0, 0, 34),     // ldb [34]
            SockFilter::new(0x15, 0, 1, 0),      // jeq reply, accept, drop
            SockFilter::new(0x06, 0, 0, 0xffff), // accept
            SockFilter::new(0x06, 0, 0, 0),      // drop
        ];
        Self::filtered(namespace, device, &filter)
    }

    /// Captures everything.
    pub fn every_frame(namespace: &Namespace, device: &str) -> Self {
        Self::filtered(namespace, device, &[SockFilter::new(0x06, 0, 0, 0xffff)])
    }

    fn filtered(namespace: &Namespace, device: &str, filter: &[SockFilter]) -> Self {
        let socket = namespace.enter(|| {
            let every = i32::from(0x0003_u16.to_be());
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(every)))
                .expect("a packet socket");
            socket.attach_filter(filter).expect("a filter");
            socket.bind(&link_address(index_of(device))).expect("bind");
            setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).expect("a large buffer");
            setsockopt(&socket, sockopt::ReceiveTimestampns, &true).expect("timestamps");
            socket
                .set_read_timeout(Some(Duration::from_millis(20)))
                .expect("a timeout");
            socket
        });
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (seen, stop) = (seen.clone(), stop.clone());
            std::thread::spawn(move || {
                scheduling::give_way();
                while !stop.load(Ordering::Relaxed) {
                    if let Some(frame) = receive(&socket) {
                        seen.lock().expect("the capture's lock").push(frame);
                    }
                }
            })
        };
        Self {
            seen,
            stop,
            thread: Some(thread),
            excused: Mutex::default(),
        }
    }

    /// Tells the oracle not to judge a router of a VRID, for a reason that the test gives.
    pub fn excuse(&self, vrid: u8, source: impl Into<IpAddr>, reason: &str) {
        assert!(!reason.is_empty(), "a reason");
        let mut excused = self.excused.lock().expect("the capture's lock");
        excused.push((vrid, source.into()));
    }

    /// Everything so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the capture's lock").clone()
    }

    /// How many frames so far.
    pub fn count(&self) -> usize {
        self.seen.lock().expect("the capture's lock").len()
    }

    /// Everything so far, which is forgotten here. What the oracle says of it comes along.
    pub fn take(&self) -> (Vec<Seen>, Vec<String>) {
        let seen = std::mem::take(&mut *self.seen.lock().expect("the capture's lock"));
        let excused = self.excused.lock().expect("the capture's lock");
        let wrong = oracle::judge(&seen, &excused);
        (seen, wrong)
    }

    /// Everything from the frame with this number on.
    pub fn seen_from(&self, number: usize) -> Vec<Seen> {
        let seen = self.seen.lock().expect("the capture's lock");
        seen.get(number..).unwrap_or_default().to_vec()
    }

    /// The adverts for a VRID so far.
    pub fn adverts(&self, wanted: u8) -> Vec<AdvertSeen> {
        let seen = self.seen();
        seen.iter()
            .filter_map(|entry| match &entry.said {
                Said::Advert {
                    source,
                    vrid,
                    priority,
                    interval_cs,
                    ..
                } if *vrid == wanted => Some(AdvertSeen {
                    at_ns: entry.at_ns,
                    source: *source,
                    priority: *priority,
                    interval_cs: *interval_cs,
                }),
                _ => None,
            })
            .collect()
    }

    /// Waits for an advert that matches.
    pub fn wait_advert(
        &self,
        what: &str,
        vrid: u8,
        limit: Duration,
        matches: impl Fn(&AdvertSeen) -> bool,
    ) -> AdvertSeen {
        wait_for(what, limit, || {
            self.adverts(vrid)
                .into_iter()
                .find(|advert| matches(advert))
        })
    }

    /// The last advert with a priority above 0 from `source`.
    pub fn last_advert(&self, vrid: u8, source: impl Into<IpAddr>) -> Option<AdvertSeen> {
        let source = source.into();
        let adverts = self.adverts(vrid);
        adverts
            .into_iter()
            .rev()
            .find(|advert| advert.source == source && advert.priority > 0)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed; the test judges by what was captured.
            let _ = thread.join();
        }
        if std::thread::panicking() {
            return;
        }
        let excused = self.excused.lock().expect("the capture's lock");
        let wrong = oracle::judge(&self.seen(), &excused);
        assert!(wrong.is_empty(), "the capture shows: {wrong:#?}");
    }
}

fn receive(socket: &Socket) -> Option<Seen> {
    let mut buffer = [0; 4608];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let received = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control),
        MsgFlags::empty(),
    )
    .ok()?;
    let stamp = received.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    })?;
    let length = received.bytes;
    let frame = buffer.get(..length)?.to_vec();
    let at_ns = u64::try_from(stamp.as_nanos()).ok()?;
    Some(Seen {
        at_ns,
        said: read(&frame),
        frame,
    })
}

/// Accepts ARP, VRRP over either family and ICMPv6, unless the source MAC is the ignored one.
fn filter(ignored: [u8; 6]) -> Vec<SockFilter> {
    let [a, b, c, d, e, f] = ignored;
    let (high, low) = (
        u32::from(u16::from_be_bytes([a, b])),
        u32::from_be_bytes([c, d, e, f]),
    );
    vec![
        SockFilter::new(0x28, 0, 0, 6),      // ldh [6]
        SockFilter::new(0x15, 0, 2, high),   // jeq high, next, +2
        SockFilter::new(0x20, 0, 0, 8),      // ld [8]
        SockFilter::new(0x15, 10, 0, low),   // jeq low, drop
        SockFilter::new(0x28, 0, 0, 12),     // ldh [12]
        SockFilter::new(0x15, 7, 0, 0x0806), // jeq ARP, accept
        SockFilter::new(0x15, 3, 0, 0x86dd), // jeq IPv6, +3
        SockFilter::new(0x15, 0, 6, 0x0800), // jeq IPv4, next, drop
        SockFilter::new(0x30, 0, 0, 23),     // ldb [23]
        SockFilter::new(0x15, 3, 4, 112),    // jeq VRRP, accept, drop
        SockFilter::new(0x30, 0, 0, 20),     // ldb [20]
        SockFilter::new(0x15, 1, 0, 112),    // jeq VRRP, accept
        SockFilter::new(0x15, 0, 1, 58),     // jeq ICMPv6, accept, drop
        SockFilter::new(0x06, 0, 0, 0xffff), // accept
        SockFilter::new(0x06, 0, 0, 0),      // drop
    ]
}

/// Sends whole frames on a device of a namespace.
pub struct Sender {
    socket: Socket,
    target: SockAddr,
}

impl Sender {
    /// Opens a sender on `eth0`.
    pub fn new(namespace: &Namespace) -> Self {
        namespace.enter(|| Self::on("eth0"))
    }

    /// Opens a sender on a device of the namespace that we are in.
    pub fn on(device: &str) -> Self {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).expect("a packet socket");
        let target = link_address(index_of(device));
        socket.bind(&target).expect("bind");
        Self { socket, target }
    }

    /// Sends a frame.
    pub fn send(&self, frame: &[u8]) {
        oracle::note(frame);
        self.socket
            .send_to(frame, &self.target)
            .expect("send a frame");
    }

    /// Sends a frame if the kernel has room for it.
    pub fn try_send(&self, frame: &[u8]) -> bool {
        oracle::note(frame);
        self.socket.send_to(frame, &self.target).is_ok()
    }
}

impl AsRawFd for Sender {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

fn index_of(device: &str) -> i32 {
    let index = nix::net::if_::if_nametoindex(device).expect("the device exists");
    i32::try_from(index).expect("a small index")
}

fn link_address(index: i32) -> SockAddr {
    // SAFETY: the closure writes a whole sockaddr_ll, which fits the storage, and its length.
    let result = unsafe {
        SockAddr::try_init(|storage, length| {
            let mut address: libc::sockaddr_ll = std::mem::zeroed();
            address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
            address.sll_protocol = 0x0003_u16.to_be();
            address.sll_ifindex = index;
            storage.cast::<libc::sockaddr_ll>().write(address);
            *length = 20;
            Ok(())
        })
    };
    result.expect("the closure does not fail").1
}
