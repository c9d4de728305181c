//! Two threads of which one gives the other work: on different processors they work at the same time.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity},
    unistd::{Pid, gettid},
};

/// Keeps a thread off the processor of another one that gives it work and goes first (the election is
/// real-time). Left to itself the kernel often wakes it right there, where it waits until the other one has
/// nothing left to do, and is interrupted by each of its own answers.
#[derive(Default)]
pub(super) struct Beside {
    /// Who it is, and where it may run.
    thread: OnceLock<(Pid, CpuSet)>,
    /// One more than the number of the processor that it stays off.
    avoided: AtomicUsize,
    /// How much it has been given and has not done.
    open: AtomicUsize,
}

impl Beside {
    /// The calling thread is the one that steps aside.
    pub(super) fn begin(&self) {
        if let Ok(allowed) = sched_getaffinity(Pid::from_raw(0)) {
            // The first one stays.
            let _ = self.thread.set((gettid(), allowed));
        }
    }

    /// It is about to be given work.
    pub(super) fn has_more(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// It has done so much.
    pub(super) fn has_done(&self, count: usize) {
        self.open.fetch_sub(count, Ordering::Relaxed);
    }

    /// Whether it has something to do.
    pub(super) fn is_busy(&self) -> bool {
        self.open.load(Ordering::Relaxed) > 0
    }

    /// The calling thread is about to give it work. Costs no system call while that one stays where it is.
    pub(super) fn step_aside(&self) {
        let (Some((thread, allowed)), Ok(here)) = (self.thread.get(), sched_getcpu()) else {
            return;
        };
        if self.avoided.load(Ordering::Relaxed) == here + 1 {
            return;
        }
        let mut others = *allowed;
        let has_others = others.unset(here).is_ok() && others != CpuSet::new();
        if !has_others || others == *allowed {
            return self.go_anywhere();
        }
        self.avoided.store(here + 1, Ordering::Relaxed);
        if sched_setaffinity(*thread, &others).is_err() {
            // That costs time, and nothing else; the next time may do.
            self.avoided.store(0, Ordering::Relaxed);
        }
    }

    /// It may run anywhere, until it has to step aside again.
    pub(super) fn go_anywhere(&self) {
        if let Some((thread, allowed)) = self.thread.get()
            && self.avoided.swap(0, Ordering::Relaxed) != 0
        {
            // Where even that is refused somebody else decides where it runs.
            let _ = sched_setaffinity(*thread, allowed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn it_is_busy_until_it_has_done_what_it_was_given() {
        let beside = Beside::default();
        assert!(!beside.is_busy());
        beside.has_more();
        beside.has_more();
        beside.has_done(1);
        assert!(beside.is_busy(), "half of it");
        beside.has_done(1);
        assert!(!beside.is_busy());
    }

    #[test]
    fn a_thread_stays_off_the_processor_of_who_gives_it_work() {
        let all = sched_getaffinity(Pid::from_raw(0)).expect("where we may run");
        let processors = (0..CpuSet::count()).filter(|it| all.is_set(*it).unwrap_or(false));
        let Some([here, there]) = processors.collect::<Vec<_>>().first_chunk().copied() else {
            eprintln!("skipped: this machine has one processor");
            return;
        };
        let (beside, (work, inbox), (answers, outbox)) =
            (Beside::default(), mpsc::channel::<()>(), mpsc::channel());
        thread::scope(|scope| {
            scope.spawn(|| {
                beside.begin();
                answers.send(usize::MAX).expect("somebody waits");
                for () in inbox {
                    let now = sched_getcpu().expect("where it runs");
                    answers.send(now).expect("somebody waits");
                }
            });
            outbox.recv().expect("it has begun");
            for at in [here, there, here] {
                let mut only = CpuSet::new();
                only.set(at).expect("a processor");
                sched_setaffinity(Pid::from_raw(0), &only).expect("move there");
                beside.step_aside();
                work.send(()).expect("it waits for work");
                assert_ne!(outbox.recv().expect("it answers"), at);
            }
            let (thread, _) = beside.thread.get().expect("it has begun");
            let may_run = || sched_getaffinity(*thread).expect("where it may run");
            assert_ne!(may_run(), all, "it stays off one");
            beside.go_anywhere();
            assert_eq!(may_run(), all, "it need not any longer");
            beside.step_aside();
            assert_ne!(
                may_run(),
                all,
                "it steps aside again, where nothing has moved"
            );
            drop(work);
        });
        sched_setaffinity(Pid::from_raw(0), &all).expect("as before");
    }
}
