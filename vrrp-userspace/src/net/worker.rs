//! Addresses, routes and rules put in place and taken away, many per netlink message batch, off the
//! election thread.

mod wire;

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    sync::{Arc, mpsc},
    thread,
};

use tokio::sync::mpsc::UnboundedSender;

use self::wire::Wire;
use super::{Belonging, VirtualMac, beside::Beside};
use crate::privileges;

/// Add or remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Put them in place.
    Add,
    /// Take them away.
    Remove,
}

/// What the kernel refused to change, and why.
#[derive(Debug)]
pub struct Refused {
    /// What, in words for the operator.
    pub what: String,
    /// What the kernel said.
    pub error: io::Error,
}

/// What to change together. `R` is what is told of jobs that are done.
pub struct Job<R> {
    /// Add or remove.
    pub change: Change,
    /// In the order in which they are added; removed in reverse, so that no secondary address goes with
    /// its primary, and no route with its address.
    pub belongings: Arc<[Belonging]>,
    /// An address that is there before it is added is the machine's own and is never removed: the
    /// address owner (priority 255) has it anyway.
    pub keep_own: bool,
    /// Taken before the rest is added, given up after it was removed.
    pub virtual_mac: Option<VirtualMac>,
    /// Called once the kernel has acknowledged, with what it refused. What is there already, or gone
    /// already, is not refused. What it returns is reported.
    pub done: Box<dyn FnOnce(Vec<Refused>) -> Option<R> + Send>,
}

/// A thread that does jobs in order.
pub struct Worker<R> {
    jobs: mpsc::Sender<Job<R>>,
    beside: Arc<Beside>,
    reports: UnboundedSender<Vec<R>>,
}

impl<R> Clone for Worker<R> {
    fn clone(&self) -> Self {
        Self {
            jobs: self.jobs.clone(),
            beside: self.beside.clone(),
            reports: self.reports.clone(),
        }
    }
}

impl<R: Send + 'static> Worker<R> {
    /// Starts the worker in this thread's network namespace. `before` are the addresses that a daemon
    /// before us has put on interfaces, by their index: they are ours as well. What there is to report of the
    /// jobs of a batch is reported at once: whoever waits for that is woken by it, and may be on the same
    /// processor.
    ///
    /// # Errors
    ///
    /// When netlink or the thread cannot be had.
    pub fn start(
        before: BTreeSet<(u32, IpAddr)>,
        prepare: impl FnOnce() + Send + 'static,
        reports: UnboundedSender<Vec<R>>,
    ) -> io::Result<Self> {
        let mut wire = Wire::open(before)?;
        let (jobs, inbox) = mpsc::channel::<Job<R>>();
        let beside = Arc::new(Beside::default());
        let worker = Self {
            jobs,
            beside: beside.clone(),
            reports: reports.clone(),
        };
        thread::Builder::new()
            .name("xvrrp-netlink".to_owned())
            .spawn(move || {
                prepare();
                beside.begin();
                privileges::leave_signals_alone();
                if let Err(error) = privileges::keep_for_the_network() {
                    tracing::warn!("the netlink thread keeps all of its privileges: {error}");
                }
                while let Ok(job) = inbox.recv() {
                    let mut jobs = vec![job];
                    jobs.extend(inbox.try_iter().take(JOBS - 1));
                    let count = jobs.len();
                    wire.carry_out_all(jobs, |all| report(&reports, all));
                    beside.has_done(count);
                }
            })?;
        Ok(worker)
    }

    /// Queues a job of a thread that goes first, which is always the same one: the worker stays off its
    /// processor.
    pub fn submit_beside(&self, job: Job<R>) {
        self.beside.step_aside();
        self.submit(job);
    }

    /// The thread that goes first may have been moved to the processor that the worker has for itself: while it
    /// has something to do, it stays off that one as well.
    pub fn stay_beside(&self) {
        if self.beside.is_busy() {
            self.beside.step_aside();
        }
    }

    /// The thread that goes first is about to wait: its processor is as good as any.
    pub fn go_anywhere(&self) {
        if self.beside.is_busy() {
            self.beside.go_anywhere();
        }
    }

    /// Queues a job; never blocks.
    pub fn submit(&self, job: Job<R>) {
        self.beside.has_more();
        if let Err(mpsc::SendError(job)) = self.jobs.send(job) {
            // The worker ends when nobody can give it work, or with the process; whoever waits must not wait for ever.
            self.beside.has_done(1);
            let refused = |entry: &Belonging| Refused {
                what: entry.to_string(),
                error: io::Error::other("the worker has ended"),
            };
            let all = job.belongings.iter().map(refused).collect();
            report(&self.reports, (job.done)(all).into_iter().collect());
        }
    }
}

fn report<R>(reports: &UnboundedSender<Vec<R>>, all: Vec<R>) {
    if !all.is_empty() {
        // An error means that the process is ending.
        let _ = reports.send(all);
    }
}

/// How many jobs are taken on together.
const JOBS: usize = 1024;

#[cfg(test)]
mod tests {
    use nix::{
        sched::{CpuSet, sched_getaffinity, sched_setaffinity},
        unistd::{Pid, gettid},
    };

    use super::*;

    fn may_run(thread: Pid) -> Vec<usize> {
        let set = sched_getaffinity(thread).expect("where it may run");
        let all = 0..CpuSet::count();
        all.filter(|it| set.is_set(*it).unwrap_or(false)).collect()
    }

    fn move_to(processors: &[usize]) {
        let mut set = CpuSet::new();
        for processor in processors {
            set.set(*processor).expect("a processor");
        }
        sched_setaffinity(Pid::from_raw(0), &set).expect("move there");
    }

    #[test]
    fn while_it_works_it_stays_off_the_processor_of_who_goes_first() {
        let all = may_run(Pid::from_raw(0));
        let Some([here, there]) = all.first_chunk().copied() else {
            eprintln!("skipped: this machine has one processor");
            return;
        };
        let (reports, mut reported) = tokio::sync::mpsc::unbounded_channel();
        let worker = Worker::start(BTreeSet::new(), || (), reports).expect("a worker");
        let ((works, working), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
        worker.submit(Job {
            change: Change::Add,
            belongings: Arc::new([]),
            keep_own: false,
            virtual_mac: None,
            done: Box::new(move |_| {
                works.send(gettid()).expect("somebody waits");
                may_go_on.recv().expect("somebody says so");
                Some("done")
            }),
        });
        let thread = working.recv().expect("it works");
        for processor in [here, there] {
            move_to(&[processor]);
            worker.stay_beside();
            assert!(!may_run(thread).contains(&processor));
            worker.go_anywhere();
            assert_eq!(may_run(thread), all);
        }
        move_to(&all);
        go_on.send(()).expect("it waits");
        assert_eq!(reported.blocking_recv(), Some(vec!["done"]));
    }
}
