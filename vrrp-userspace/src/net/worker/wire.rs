//! What a worker and the kernel say to each other: many requests per netlink message batch, and which of them
//! were refused.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::sys::{
    socket::{
        setsockopt,
        sockopt::{RcvBufForce, ReceiveTimeout},
    },
    time::{TimeVal, TimeValLike as _},
};

use super::{Change, Job, Refused};
use crate::net::{Belonging, VirtualMac, VirtualMacs};

/// How many messages the kernel gets at once: it queues an answer to each that it refuses, and what finds no
/// room is lost.
const MESSAGES: usize = 128;
/// For as many answers, and more.
const RECEIVE_BUFFER: usize = 4 << 20;

/// How long the kernel may take to answer a batch.
const ANSWER_TIMEOUT_S: i64 = 5;

pub(super) struct Wire {
    socket: Socket,
    sequence: u32,
    /// Addresses that we added, by interface.
    added: BTreeSet<(u32, IpAddr)>,
    /// Addresses that were there before we wanted to add them.
    own: BTreeSet<(u32, IpAddr)>,
    macs: VirtualMacs,
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_cap_ack(true)?;
    // SAFETY: the socket outlives the borrow.
    let fd = unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) };
    setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(ANSWER_TIMEOUT_S))?;
    // Where more is not allowed, what the system has must do.
    let _ = setsockopt(&fd, RcvBufForce, &RECEIVE_BUFFER);
    Ok(socket)
}

impl Wire {
    /// Opens it in this thread's network namespace. `added` are addresses that are ours already.
    pub(super) fn open(added: BTreeSet<(u32, IpAddr)>) -> io::Result<Self> {
        Ok(Self {
            socket: open()?,
            sequence: 0,
            added,
            own: BTreeSet::new(),
            macs: VirtualMacs::default(),
        })
    }

    /// Jobs that want the same are one batch for the kernel.
    pub(super) fn carry_out_all<R>(&mut self, jobs: Vec<Job<R>>, mut report: impl FnMut(Vec<R>)) {
        let mut jobs = jobs.into_iter().peekable();
        while let Some(job) = jobs.next() {
            let change = job.change;
            let mut messages = job.belongings.len();
            let mut alike = vec![job];
            while let Some(next) = jobs.next_if(|next| {
                messages += next.belongings.len();
                next.change == change && messages <= MESSAGES
            }) {
                alike.push(next);
            }
            report(self.carry_out(change, alike));
        }
    }

    /// Returns what there is to report.
    fn carry_out<R>(&mut self, change: Change, jobs: Vec<Job<R>>) -> Vec<R> {
        for mac in macs(&jobs).filter(|_| change == Change::Add) {
            if let Err(error) = self.macs.take(mac) {
                // Most devices let everything in while they cannot filter; frames show whether this does.
                tracing::warn!("take the virtual MAC: {error}");
            }
        }
        let mut refused = self.change(change, &jobs);
        for mac in macs(&jobs).filter(|_| change == Change::Remove) {
            self.macs.give_up(mac);
        }
        let done = jobs.into_iter().enumerate().filter_map(|(index, job)| {
            let own = refused.extract_if(.., |(of, _)| *of == index);
            (job.done)(own.map(|(_, refused)| refused).collect())
        });
        done.collect()
    }

    /// What was refused, each with the number of its job.
    fn change<R>(&mut self, change: Change, jobs: &[Job<R>]) -> Vec<(usize, Refused)> {
        let mut entries: Vec<(usize, &Belonging)> = Vec::new();
        for (index, job) in jobs.iter().enumerate() {
            let ours = |entry: &&Belonging| {
                let address = entry.address();
                !(job.keep_own && address.is_some_and(|address| self.own.contains(&address)))
            };
            let of_job = |entry| (index, entry);
            match change {
                Change::Add => entries.extend(job.belongings.iter().map(of_job)),
                Change::Remove => {
                    entries.extend(job.belongings.iter().rev().filter(ours).map(of_job));
                }
            }
        }
        let mut refused = Vec::new();
        for entries in entries.chunks(MESSAGES) {
            let first = self.sequence.wrapping_add(1);
            let mut batch = Vec::new();
            for (index, (_, entry)) in entries.iter().enumerate() {
                self.sequence = self.sequence.wrapping_add(1);
                let last = index + 1 == entries.len();
                append(&mut batch, change, entry, self.sequence, last);
            }
            refused.extend(self.exchange(&batch, first, change, entries));
        }
        refused
    }

    /// Answers that were lost, or come too late, are not to be taken for those to the next batch.
    fn begin_anew(&mut self) {
        match open() {
            Ok(socket) => self.socket = socket,
            Err(error) => {
                tracing::error!("a new netlink socket: {error}; going on with the old one");
            }
        }
    }

    /// Sends the batch and reads until its last message is acknowledged. Errors of messages before
    /// the last arrive without having been asked for.
    fn exchange(
        &mut self,
        batch: &[u8],
        first: u32,
        change: Change,
        entries: &[(usize, &Belonging)],
    ) -> Vec<(usize, Refused)> {
        let all_failed = |error: &io::Error| {
            let refused = |(job, entry): &(usize, &Belonging)| {
                let error = io::Error::new(error.kind(), error.to_string());
                let what = entry.to_string();
                (*job, Refused { what, error })
            };
            entries.iter().map(refused).collect()
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
                Err(error) => {
                    let refused = all_failed(&error);
                    self.begin_anew();
                    return refused;
                }
            };
            for (sequence, code) in acknowledgements(&answer) {
                let index = sequence.wrapping_sub(first) as usize;
                let Some((job, entry)) = entries.get(index) else {
                    continue;
                };
                if change == Change::Add && code == -libc::EEXIST {
                    // Unless it is there because this very batch has added it.
                    let address = entry.address();
                    let mut before = entries.iter().take(index);
                    if !before.any(|(_, entry)| entry.address() == address) {
                        found.extend(address);
                    }
                }
                if !is_fine(change, code) {
                    let error = io::Error::from_raw_os_error(-code);
                    let what = entry.to_string();
                    refused.push((*job, Refused { what, error }));
                }
                if index + 1 == entries.len() {
                    self.remember(change, entries, &found);
                    return refused;
                }
            }
        }
    }

    /// Keeps apart what we added and what was there before.
    fn remember(
        &mut self,
        change: Change,
        entries: &[(usize, &Belonging)],
        found: &BTreeSet<(u32, IpAddr)>,
    ) {
        for key in entries.iter().filter_map(|(_, entry)| entry.address()) {
            match change {
                Change::Remove => {
                    self.added.remove(&key);
                }
                Change::Add if !found.contains(&key) => {
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

fn macs<R>(jobs: &[Job<R>]) -> impl Iterator<Item = VirtualMac> {
    jobs.iter().filter_map(|job| job.virtual_mac)
}

/// What is there already need not be added, what is gone already need not be removed: an address, a
/// rule, a route.
const fn is_fine(change: Change, code: i32) -> bool {
    match change {
        Change::Add => code == 0 || code == -libc::EEXIST,
        Change::Remove => matches!(
            -code,
            0 | libc::EADDRNOTAVAIL | libc::ENODEV | libc::ESRCH | libc::ENOENT
        ),
    }
}

fn append(batch: &mut Vec<u8>, change: Change, entry: &Belonging, sequence: u32, last: bool) {
    let flags = match (change, entry) {
        // As `ip route prepend`: ours comes before another one to the same network.
        (Change::Add, Belonging::Route { .. }) => NLM_F_CREATE,
        (Change::Add, _) => NLM_F_CREATE | NLM_F_EXCL,
        (Change::Remove, _) => 0,
    };
    let mut message = NetlinkMessage::from(entry.message(change));
    message.header.flags = NLM_F_REQUEST | flags | if last { NLM_F_ACK } else { 0 };
    message.header.sequence_number = sequence;
    message.finalize();
    let start = batch.len().next_multiple_of(4);
    batch.resize(start + message.buffer_len(), 0);
    if let Some(place) = batch.get_mut(start..) {
        message.serialize(place);
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn job(change: Change, report: Option<u8>) -> Job<u8> {
        Job {
            change,
            belongings: Arc::new([]),
            keep_own: false,
            virtual_mac: None,
            done: Box::new(move |refused| {
                assert!(refused.is_empty(), "there was nothing to refuse");
                report
            }),
        }
    }

    #[test]
    fn jobs_that_want_the_same_are_reported_together() {
        let mut wire = Wire::open(BTreeSet::new()).expect("a netlink socket");
        let mut reports = Vec::new();
        let jobs = vec![
            job(Change::Add, Some(1)),
            job(Change::Add, None),
            job(Change::Add, Some(3)),
            job(Change::Remove, Some(4)),
            job(Change::Add, Some(5)),
        ];
        wire.carry_out_all(jobs, |all| reports.push(all));
        assert_eq!(reports, [vec![1, 3], vec![4], vec![5]]);
    }
}
