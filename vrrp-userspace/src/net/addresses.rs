//! Virtual addresses on interfaces, many per netlink message batch, off the election thread.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd as _, BorrowedFd},
    sync::{Arc, mpsc},
    thread,
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{setsockopt, sockopt::ReceiveTimeout},
    time::{TimeVal, TimeValLike as _},
};
use serde::Serialize;

/// An address of a virtual router as it should stand on the interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
    /// Label, as `ip address` shows it (`eth0:db`); IPv4 only.
    pub label: Option<String>,
    /// Broadcast address (`brd`); IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// Scope.
    pub scope: Scope,
}

/// Address scope, as iproute2 names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Valid everywhere.
    #[default]
    Global,
    /// Valid on this site.
    Site,
    /// Valid on this link.
    Link,
    /// Valid on this host.
    Host,
    /// Valid nowhere.
    Nowhere,
}

impl From<Scope> for AddressScope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Global => Self::Universe,
            Scope::Site => Self::Site,
            Scope::Link => Self::Link,
            Scope::Host => Self::Host,
            Scope::Nowhere => Self::Nowhere,
        }
    }
}

/// Add or remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Put the addresses on the interface.
    Add,
    /// Take them off.
    Remove,
}

/// An address the kernel refused to change, and why.
#[derive(Debug)]
pub struct Refused {
    /// The address.
    pub address: IpAddr,
    /// What the kernel said.
    pub error: io::Error,
}

/// Addresses to change together.
pub struct AddressJob {
    /// Interface.
    pub ifindex: u32,
    /// Add or remove.
    pub change: Change,
    /// In the order in which they were configured; removed in reverse, so that no secondary
    /// address goes with its primary.
    pub addresses: Arc<[VirtualAddress]>,
    /// An address that is there before it is added is the machine's own and is never removed: the
    /// address owner (priority 255) has it anyway.
    pub keep_own: bool,
    /// Called once the kernel has acknowledged, with what it refused. An address that is there
    /// already, or gone already, is not refused.
    pub done: Box<dyn FnOnce(Vec<Refused>) + Send>,
}

/// A thread that does jobs in order.
#[derive(Clone)]
pub struct AddressWorker {
    jobs: mpsc::Sender<AddressJob>,
}

impl AddressWorker {
    /// Starts the worker in this thread's network namespace.
    ///
    /// # Errors
    ///
    /// When netlink or the thread cannot be had.
    pub fn start() -> io::Result<Self> {
        let mut wire = Wire::open()?;
        let (jobs, inbox) = mpsc::channel::<AddressJob>();
        thread::Builder::new()
            .name("xvrrp-address".to_owned())
            .spawn(move || {
                for job in inbox {
                    let refused = wire.carry_out(&job);
                    (job.done)(refused);
                }
            })?;
        Ok(Self { jobs })
    }

    /// Queues a job; never blocks.
    pub fn submit(&self, job: AddressJob) {
        if let Err(mpsc::SendError(job)) = self.jobs.send(job) {
            // The worker only ends with the process; whoever waits must not wait for ever.
            let error = || io::Error::other("the address worker has ended");
            let refused = |entry: &VirtualAddress| Refused {
                address: entry.address,
                error: error(),
            };
            let all = job.addresses.iter().map(refused).collect();
            (job.done)(all);
        }
    }
}

/// How long the kernel may take to answer a batch.
const ANSWER_TIMEOUT_S: i64 = 5;

struct Wire {
    socket: Socket,
    sequence: u32,
    /// Addresses that we added, by interface.
    added: BTreeSet<(u32, IpAddr)>,
    /// Addresses that were there before we wanted to add them.
    own: BTreeSet<(u32, IpAddr)>,
}

impl Wire {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_cap_ack(true)?;
        // SAFETY: the socket outlives the borrow.
        let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
        setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_S))?;
        Ok(Self {
            socket,
            sequence: 0,
            added: BTreeSet::new(),
            own: BTreeSet::new(),
        })
    }

    fn carry_out(&mut self, job: &AddressJob) -> Vec<Refused> {
        let ours = |entry: &&VirtualAddress| {
            !(job.keep_own && self.own.contains(&(job.ifindex, entry.address)))
        };
        let addresses: Vec<&VirtualAddress> = match job.change {
            Change::Add => job.addresses.iter().collect(),
            Change::Remove => job.addresses.iter().rev().filter(ours).collect(),
        };
        if addresses.is_empty() {
            return Vec::new();
        }
        let first = self.sequence.wrapping_add(1);
        let mut batch = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            self.sequence = self.sequence.wrapping_add(1);
            let last = index + 1 == addresses.len();
            append(&mut batch, job, address, self.sequence, last);
        }
        self.exchange(&batch, first, job, &addresses)
    }

    /// Sends the batch and reads until its last message is acknowledged. Errors of messages before
    /// the last arrive without having been asked for.
    fn exchange(
        &mut self,
        batch: &[u8],
        first: u32,
        job: &AddressJob,
        addresses: &[&VirtualAddress],
    ) -> Vec<Refused> {
        let all_failed = |error: &io::Error| {
            let copy = || io::Error::new(error.kind(), error.to_string());
            addresses
                .iter()
                .map(|entry| Refused {
                    address: entry.address,
                    error: copy(),
                })
                .collect()
        };
        if let Err(error) = self.socket.send(batch, 0) {
            return all_failed(&error);
        }
        let mut refused = Vec::new();
        let mut found = BTreeSet::new();
        loop {
            let (answer, _) = match self.socket.recv_from_full() {
                Ok(answer) => answer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return all_failed(&error),
            };
            for (sequence, code) in acknowledgements(&answer) {
                let index = sequence.wrapping_sub(first) as usize;
                let Some(entry) = addresses.get(index) else {
                    continue;
                };
                if job.change == Change::Add && code == -libc::EEXIST {
                    found.insert(entry.address);
                }
                if !is_fine(job.change, code) {
                    let error = io::Error::from_raw_os_error(-code);
                    refused.push(Refused {
                        address: entry.address,
                        error,
                    });
                }
                if index + 1 == addresses.len() {
                    self.remember(job, addresses, &found);
                    return refused;
                }
            }
        }
    }
}

impl Wire {
    /// Keeps apart what we added and what was there before.
    fn remember(
        &mut self,
        job: &AddressJob,
        addresses: &[&VirtualAddress],
        found: &BTreeSet<IpAddr>,
    ) {
        for entry in addresses {
            let key = (job.ifindex, entry.address);
            match job.change {
                Change::Remove => {
                    self.added.remove(&key);
                }
                Change::Add if !found.contains(&entry.address) => {
                    self.added.insert(key);
                }
                Change::Add if !self.added.contains(&key) => {
                    self.own.insert(key);
                }
                Change::Add => {}
            }
        }
    }
}

/// What is there already need not be added, what is gone already need not be removed.
fn is_fine(change: Change, code: i32) -> bool {
    match change {
        Change::Add => code == 0 || code == -libc::EEXIST,
        Change::Remove => code == 0 || code == -libc::EADDRNOTAVAIL || code == -libc::ENODEV,
    }
}

fn append(
    batch: &mut Vec<u8>,
    job: &AddressJob,
    address: &VirtualAddress,
    sequence: u32,
    last: bool,
) {
    let mut message = AddressMessage::default();
    message.header.prefix_len = address.prefix;
    message.header.index = job.ifindex;
    let ip = address.address;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    match ip {
        IpAddr::V4(_) => {
            message.header.family = AddressFamily::Inet;
            message.header.scope = address.scope.into();
        }
        IpAddr::V6(_) => {
            message.header.family = AddressFamily::Inet6;
            // The kernel must not look for duplicates first: the master before us may still be there.
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.extend(lifetime(address.prefix));
        }
    }
    message
        .attributes
        .extend(address.broadcast.map(AddressAttribute::Broadcast));
    message
        .attributes
        .extend(address.label.clone().map(AddressAttribute::Label));
    let (inner, flags) = match job.change {
        Change::Add => (
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_EXCL,
        ),
        Change::Remove => (RouteNetlinkMessage::DelAddress(message), 0),
    };
    let mut message = NetlinkMessage::from(inner);
    message.header.flags = NLM_F_REQUEST | flags | if last { NLM_F_ACK } else { 0 };
    message.header.sequence_number = sequence;
    message.finalize();
    let start = batch.len().next_multiple_of(4);
    batch.resize(start + message.buffer_len(), 0);
    if let Some(place) = batch.get_mut(start..) {
        message.serialize(place);
    }
}

/// An address without a network is for whoever asks for it, and no source for packets of this machine
/// (keepalived's default for /128).
fn lifetime(prefix: u8) -> Option<AddressAttribute> {
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_preferred = 0;
    lifetime.ifa_valid = u32::MAX;
    (prefix == 128).then_some(AddressAttribute::CacheInfo(lifetime))
}

/// The (sequence number, code) pairs in an answer; code 0 is an acknowledgement.
fn acknowledgements(mut answer: &[u8]) -> Vec<(u32, i32)> {
    let mut list = Vec::new();
    while !answer.is_empty() {
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(answer) else {
            break;
        };
        if let NetlinkPayload::Error(error) = &message.payload {
            list.push((message.header.sequence_number, error.raw_code()));
        }
        let length = (message.header.length as usize).next_multiple_of(4);
        answer = answer.get(length.max(1)..).unwrap_or_default();
    }
    list
}
