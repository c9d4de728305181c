//! One netlink request and its answer, waited for: for set-up work, never on the election thread.

use std::{fmt, io, os::fd::AsRawFd as _, os::fd::BorrowedFd};

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};

/// What the kernel said to a request that it refused.
#[derive(Debug)]
pub struct Refusal {
    /// The error.
    pub error: io::Error,
    /// The kernel's or the driver's own words, where it gave any.
    pub explanation: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.explanation {
            Some(words) => write!(f, "{words} ({})", self.error),
            None => self.error.fmt(f),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self {
            error,
            explanation: None,
        }
    }
}

/// How long an answer may take. What is asked for is done within `send` already, however long that
/// takes: attaching to a driver can take its link down for seconds.
const PATIENCE_S: i64 = 5;

/// Sends a request and returns the messages that answer it, once it is acknowledged.
///
/// # Errors
///
/// The kernel's refusal.
pub fn request(message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
    request_with(message, 0)
}

/// The same with more flags than a request needs, such as those that make something new.
///
/// # Errors
///
/// The kernel's refusal.
pub fn request_with(
    message: RouteNetlinkMessage,
    flags: u16,
) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_cap_ack(true)?;
    // An old kernel has no words; its error is told all the same.
    let _ = socket.set_ext_ack(true);
    // SAFETY: the socket outlives the borrow.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(PATIENCE_S)).map_err(io::Error::from)?;
    let mut packet = NetlinkMessage::from(message);
    packet.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    collect(&socket)
}

fn collect(socket: &Socket) -> Result<Vec<RouteNetlinkMessage>, Refusal> {
    let mut answers = Vec::new();
    loop {
        let (datagram, _) = match socket.recv_from_full() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                .map_err(|error| io::Error::other(error.to_string()))?;
            // Each message is padded to four bytes.
            let length = usize::try_from(message.header.length).unwrap_or(rest.len());
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            match message.payload {
                NetlinkPayload::InnerMessage(inner) => answers.push(inner),
                NetlinkPayload::Error(error) if error.code.is_none() => return Ok(answers),
                NetlinkPayload::Error(error) => {
                    return Err(Refusal {
                        explanation: explanation(&error.header),
                        error: error.to_io(),
                    });
                }
                _ => {}
            }
        }
    }
}

/// Bytes of the request's header, which come first in an acknowledgement.
const REQUEST_HEADER: usize = 16;
/// `NLMSGERR_ATTR_MSG`.
const WORDS: u16 = 1;

fn explanation(payload: &[u8]) -> Option<String> {
    let attributes = payload.get(REQUEST_HEADER..)?;
    let words = NlasIterator::new(attributes)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == WORDS)?;
    let text = String::from_utf8_lossy(words.value());
    Some(text.trim_end_matches('\0').to_owned())
}
