//! When and where the calling thread runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// A thread on each processor that this one may run on, until it is ended or dropped.
pub(crate) struct OnEach {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl OnEach {
    /// Each of them does `begin`, which all have done when this returns, then `turn` again and again.
    pub(crate) fn start<T: Fn() + Clone + Send + 'static>(begin: fn(), turn: T) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (ready, each_ready) = mpsc::channel();
        let start = |processor| {
            let (stop, turn, ready) = (Arc::clone(&stop), turn.clone(), ready.clone());
            thread::spawn(move || {
                stay_on(processor);
                begin();
                ready.send(()).expect("whoever starts it waits");
                while !stop.load(Ordering::Relaxed) {
                    turn();
                }
            })
        };
        let threads: Vec<_> = processors().into_iter().map(start).collect();
        drop(ready);
        for _ in &threads {
            each_ready.recv().expect("each of them begins");
        }
        Self { stop, threads }
    }

    pub(crate) fn count(&self) -> usize {
        self.threads.len()
    }

    /// Ends all of them and waits for that.
    pub(crate) fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a thread on each processor");
        }
    }
}

impl Drop for OnEach {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Where the calling thread may run.
pub(crate) fn processors() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("where this thread may run");
    let all = 0..CpuSet::count();
    all.filter(|it| set.is_set(*it).unwrap_or(false)).collect()
}

/// Runs when nobody else wants to, but takes its share: the kernel stamps frames and has room for many, and what
/// is watched must not be slowed by it.
pub(crate) fn give_way() {
    // SAFETY: no memory is passed; 0 is the calling thread.
    let done = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    assert_eq!(done, 0, "be nice");
}

/// Runs before everybody else: whoever waits for a processor measures that. Only for what takes little of one.
pub(crate) fn go_first() {
    become_one_of(libc::SCHED_FIFO, 2);
}

/// Runs before those as well.
#[cfg(test)]
pub(crate) fn go_before_all() {
    become_one_of(libc::SCHED_FIFO, 3);
}

/// Runs only when nobody else wants to.
pub(crate) fn idle() {
    become_one_of(libc::SCHED_IDLE, 0);
}

/// Runs on that processor alone.
pub(crate) fn stay_on(processor: usize) {
    let mut set = CpuSet::new();
    set.set(processor).expect("a processor");
    sched_setaffinity(Pid::from_raw(0), &set).expect("stay on a processor");
}

fn become_one_of(class: libc::c_int, priority: libc::c_int) {
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: the parameter lives through the call; 0 is the calling thread.
    let done = unsafe { libc::sched_setscheduler(0, class, &raw const parameter) };
    assert_eq!(done, 0, "scheduling class {class}");
}
