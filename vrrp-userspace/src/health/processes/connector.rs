//! The proc connector: the kernel tells of every process that begins, changes its name or ends
//! (`linux/cn_proc.h`).

use std::io;

use netlink_sys::{AsyncSocket as _, AsyncSocketExt as _, SocketAddr, TokioSocket};

/// Something about a process.
pub(super) enum News {
    /// It is new, or another program now.
    Changed(u32),
    /// It has ended.
    Ended(u32),
    /// The kernel could not keep everything for us.
    Lost,
}

pub(super) struct Connector {
    socket: TokioSocket,
    /// What has been read and not been told yet.
    pending: Vec<u8>,
}

const NETLINK_CONNECTOR: isize = 11;
/// `CN_IDX_PROC`, which is the group as well, and `CN_VAL_PROC`.
const PROC: u32 = 1;
/// `PROC_CN_MCAST_LISTEN`.
const LISTEN: u32 = 1;
/// `NLMSG_DONE`: connector messages are of this type.
const DONE: u16 = 3;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// Where `struct proc_event` begins: behind `struct nlmsghdr` and `struct cn_msg`.
const EVENT: usize = HEADER + 20;
/// Where its data begin: behind `what`, `cpu` and the time.
const DATA: usize = EVENT + 16;

const FORK: u32 = 0x1;
const EXEC: u32 = 0x2;
const COMM: u32 = 0x200;
const EXIT: u32 = 0x8000_0000;

impl Connector {
    /// # Errors
    ///
    /// Outside the first network namespace the kernel has no such thing; without `CAP_NET_ADMIN` it tells
    /// nothing.
    pub(super) fn listen() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_CONNECTOR)?;
        socket.socket_mut().bind(&SocketAddr::new(0, PROC))?;
        let request = request();
        let sent = socket
            .socket_ref()
            .send_to(&request, &SocketAddr::new(0, 0), 0)?;
        if sent != request.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(Self {
            socket,
            pending: Vec::new(),
        })
    }

    async fn next(&mut self) -> News {
        loop {
            while !self.pending.is_empty() {
                let length = length(&self.pending);
                let message: Vec<u8> = self.pending.drain(..length).collect();
                if let Some(news) = read(&message) {
                    return news;
                }
            }
            match self.socket.recv_from_full().await {
                // Anybody may send to a netlink socket; the kernel has the port 0.
                Ok((bytes, from)) if from.port_number() == 0 => self.pending = bytes,
                Ok(_) => {}
                Err(_) => return News::Lost,
            }
        }
    }
}

/// The next news; for ever where nobody tells.
pub(super) async fn next(connector: &mut Option<Connector>) -> News {
    match connector {
        Some(connector) => connector.next().await,
        None => std::future::pending().await,
    }
}

/// How much of the buffer is the first message.
fn length(buffer: &[u8]) -> usize {
    let stated = word(buffer, 0).and_then(|stated| usize::try_from(stated).ok());
    let aligned = stated.map_or(0, |stated| stated.div_ceil(4) * 4);
    if aligned < HEADER {
        return buffer.len();
    }
    aligned.min(buffer.len())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

fn read(message: &[u8]) -> Option<News> {
    let data = |number: usize| word(message, DATA + 4 * number);
    match word(message, EVENT)? {
        // Parent and its thread group, then child and its thread group: threads are not counted.
        FORK if data(2)? == data(3)? => Some(News::Changed(data(2)?)),
        EXEC | COMM => Some(News::Changed(data(1)?)),
        EXIT if data(0)? == data(1)? => Some(News::Ended(data(0)?)),
        _ => None,
    }
}

/// `struct nlmsghdr`, `struct cn_msg`, and what is asked for.
fn request() -> Vec<u8> {
    let length = u32::try_from(EVENT + 4).unwrap_or(0);
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(DONE.to_ne_bytes());
    bytes.extend(0_u16.to_ne_bytes());
    bytes.extend([0; 8]);
    for word in [PROC, PROC, 0, 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(4_u16.to_ne_bytes());
    bytes.extend(0_u16.to_ne_bytes());
    bytes.extend(LISTEN.to_ne_bytes());
    bytes
}
