//! When and where the calling thread runs.

use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

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
