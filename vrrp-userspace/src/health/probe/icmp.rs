//! `check icmp HOST`: an echo request, and whether it is answered (RFC 792, RFC 4443 section 4.1).

use std::{
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};
use vrrp_common::checksum;

use crate::net;

/// Every request has a number of its own, so that a late answer is not taken for another's.
static SEQUENCE: AtomicU16 = AtomicU16::new(0);

const ECHO_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// ```text
///  0                   1                   2                   3
/// +---------------+---------------+-------------------------------+
/// |     Type      |   Code = 0    |           Checksum            |
/// +---------------+---------------+-------------------------------+
/// |          Identifier           |        Sequence Number        |
/// +-------------------------------+-------------------------------+
/// ```
#[derive(Clone, Copy)]
struct Echo {
    identifier: u16,
    sequence: u16,
}

impl Echo {
    fn request(self, is_v6: bool) -> [u8; 8] {
        let kind = if is_v6 { ECHO_V6 } else { ECHO_V4 };
        let [id_high, id_low] = self.identifier.to_be_bytes();
        let [high, low] = self.sequence.to_be_bytes();
        let mut message = [kind, 0, 0, 0, id_high, id_low, high, low];
        // The kernel adds that of ICMPv6, whose pseudo header it knows.
        if !is_v6 {
            let sum = checksum::finish(checksum::sum(&message)).to_be_bytes();
            message[2..4].copy_from_slice(&sum);
        }
        message
    }

    fn is_answered_by(self, message: &[u8], is_v6: bool) -> bool {
        let wanted = if is_v6 { ECHO_REPLY_V6 } else { ECHO_REPLY_V4 };
        let [id_high, id_low] = self.identifier.to_be_bytes();
        let [high, low] = self.sequence.to_be_bytes();
        matches!(message, [kind, 0, _, _, a, b, c, d, ..]
            if *kind == wanted && [*a, *b, *c, *d] == [id_high, id_low, high, low])
    }
}

pub(super) async fn ask(host: &str) -> Result<String, String> {
    let address = resolve(host).await?;
    echo(address)
        .await
        .map_err(|error| format!("{address}: {error}"))
}

async fn resolve(host: &str) -> Result<IpAddr, String> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let found = net::resolve(&format!("{host}:0"))
        .await
        .map_err(|error| format!("{host}: {error}"))?;
    let first = found
        .first()
        .ok_or_else(|| format!("{host} has no address"))?;
    Ok(first.ip())
}

async fn echo(address: IpAddr) -> io::Result<String> {
    let is_v6 = address.is_ipv6();
    let (domain, protocol) = if is_v6 {
        (Domain::IPV6, Protocol::ICMPV6)
    } else {
        (Domain::IPV4, Protocol::ICMPV4)
    };
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    // Only what comes from there is seen, and what the network says of it: unreachable.
    socket.connect(&SockAddr::from(SocketAddr::new(address, 0)))?;
    let echo = Echo {
        // The lower half tells processes apart well enough.
        identifier: (std::process::id() & 0xffff) as u16,
        sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
    };
    socket.send(&echo.request(is_v6))?;
    // SAFETY: the socket owns its descriptor for as long as the registration lives.
    let socket = unsafe { AsyncFd::register(socket) }?;
    loop {
        let mut buffer = [0; 1500];
        let read = |mut socket: &Socket| socket.read(&mut buffer);
        let length = socket.async_io(Interest::READABLE, read).await?;
        let packet = buffer.get(..length).unwrap_or_default();
        // In IPv4 a raw socket gets the IP header as well, whose length its first byte has.
        let header = match packet.first() {
            Some(first) if !is_v6 => usize::from(first & 0x0f) * 4,
            _ => 0,
        };
        if echo.is_answered_by(packet.get(header..).unwrap_or_default(), is_v6) {
            return Ok("answered".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Echo;

    #[test]
    fn only_the_answer_to_this_request_counts() {
        let echo = Echo {
            identifier: 0x1234,
            sequence: 7,
        };
        let request = echo.request(false);
        assert!(
            !echo.is_answered_by(&request, false),
            "a request is no answer"
        );
        let mut reply = request;
        reply[0] = 0;
        assert!(echo.is_answered_by(&reply, false));
        assert!(!echo.is_answered_by(&reply[..7], false));
        reply[7] = 8;
        assert!(!echo.is_answered_by(&reply, false), "another's");
    }
}
