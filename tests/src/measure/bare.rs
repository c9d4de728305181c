//! What sending costs at least: a loop that does nothing else.

use std::{mem, path::Path, time::Duration};

use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use socket2::{Domain, Socket, Type};

use super::{
    contestant::{Work, on_cpu_ns},
    field::Field,
};
use crate::frames::AdvertSpec;

/// The share of a processor that it takes to send what the work has due, in one `sendmmsg` per interval.
pub(super) fn share(work: Work, field: &Field, time: Duration) -> f64 {
    let router = &field.routers[0];
    router.enter(|| {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None).expect("a packet socket");
        let frames = frames(work, field);
        let interval = Duration::from_millis(u64::from(work.interval_cs) * 10);
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::empty()).expect("a timer");
        timer
            .set(
                Expiration::Interval(interval.into()),
                TimerSetTimeFlags::empty(),
            )
            .expect("set the timer");
        let ticks = time.as_nanos() / interval.as_nanos();
        let began = std::time::Instant::now();
        let before = on_cpu_ns(Path::new("/proc/thread-self/schedstat"));
        let mut batch = Batch::new(&frames);
        for _ in 0..ticks {
            timer.wait().expect("wait for the timer");
            batch.send(&socket);
        }
        let used = on_cpu_ns(Path::new("/proc/thread-self/schedstat")) - before;
        super::ratio(used, began.elapsed())
    })
}

/// An advert of every virtual router, with the index of its interface.
fn frames(work: Work, field: &Field) -> Vec<(i32, Vec<u8>)> {
    let mut frames = Vec::new();
    for interface in 0..work.interfaces {
        let name = format!("eth{interface}");
        let index = nix::net::if_::if_nametoindex(&*name).expect("an interface");
        let index = i32::try_from(index).expect("an index");
        let mac = field.routers[0].mac(&name);
        for vrid in 1..=work.each {
            let source = std::net::Ipv4Addr::new(10, 50 + interface, 0, 1);
            let address = Work::address(interface, vrid);
            let mut advert = AdvertSpec::new(mac, source, vrid, 200, address);
            advert.interval_cs = work.interval_cs;
            frames.push((index, advert.build()));
        }
    }
    frames
}

/// Everything that `sendmmsg` wants, made once.
struct Batch {
    _targets: Vec<libc::sockaddr_ll>,
    _parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

impl Batch {
    fn new(frames: &[(i32, Vec<u8>)]) -> Self {
        let mut targets: Vec<libc::sockaddr_ll> = frames
            .iter()
            .map(|(index, _)| {
                // SAFETY: all-zero is a valid sockaddr_ll.
                let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
                address.sll_family = u16::try_from(libc::AF_PACKET).expect("a family");
                address.sll_ifindex = *index;
                address
            })
            .collect();
        let mut parts: Vec<libc::iovec> = frames
            .iter()
            .map(|(_, frame)| libc::iovec {
                iov_base: frame.as_ptr().cast_mut().cast(),
                iov_len: frame.len(),
            })
            .collect();
        let messages = targets
            .iter_mut()
            .zip(&mut parts)
            .map(|(target, part)| {
                // SAFETY: all-zero is a valid mmsghdr.
                let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
                message.msg_hdr.msg_name = std::ptr::from_mut(target).cast();
                message.msg_hdr.msg_namelen = 20;
                message.msg_hdr.msg_iov = part;
                message.msg_hdr.msg_iovlen = 1;
                message
            })
            .collect();
        Self {
            _targets: targets,
            _parts: parts,
            messages,
        }
    }

    fn send(&mut self, socket: &Socket) {
        use std::os::fd::AsRawFd as _;
        for chunk in self.messages.chunks_mut(1024) {
            let count = u32::try_from(chunk.len()).expect("a length");
            // SAFETY: the messages point into what this batch owns, and into frames that outlive it.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), chunk.as_mut_ptr(), count, 0) };
            assert_eq!(u32::try_from(sent), Ok(count), "send a batch");
        }
    }
}
