//! How the election thread is scheduled (`vrrp_rt_priority` and its like). Whoever decides by timers
//! must run when they are due, whatever else the machine has to do.

use std::io;

use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::{
        mman::{MlockAllFlags, mlockall},
        resource::{Resource, setrlimit},
    },
    unistd::Pid,
};

/// How the election thread is scheduled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduling {
    /// `vrrp_rt_priority`: the `SCHED_RR` priority, 1 to 99; 0 = an ordinary thread.
    pub rt_priority: u8,
    /// `vrrp_priority`: the nice value of an ordinary thread, -20 to 19.
    pub nice: Option<i8>,
    /// `vrrp_rlimit_rttime`: microseconds of CPU it may use at a stretch before the kernel ends the
    /// process.
    pub rttime_limit_us: Option<u64>,
    /// `vrrp_no_swap`: the process stays in memory.
    pub no_swap: bool,
    /// `vrrp_cpu_affinity`: the CPUs it may run on; empty = all.
    pub cpus: Vec<usize>,
}

/// The lowest real-time priority: before every ordinary thread, and behind whatever else an operator
/// has made real-time.
const DEFAULT_RT_PRIORITY: u8 = 1;

impl Default for Scheduling {
    fn default() -> Self {
        Self {
            rt_priority: DEFAULT_RT_PRIORITY,
            nice: None,
            rttime_limit_us: None,
            no_swap: false,
            cpus: Vec::new(),
        }
    }
}

impl Scheduling {
    /// Applies it to the calling thread. Returns what the kernel refused, in words for the operator:
    /// the election goes on without.
    pub(super) fn apply(&self) -> Vec<String> {
        let outcomes = [
            (
                format!("vrrp_rt_priority {}", self.rt_priority),
                self.apply_rt_priority(),
            ),
            ("vrrp_priority".to_owned(), self.apply_nice()),
            ("vrrp_rlimit_rttime".to_owned(), self.apply_limit()),
            ("vrrp_no_swap".to_owned(), self.apply_no_swap()),
            ("vrrp_cpu_affinity".to_owned(), self.apply_cpus()),
        ];
        let refused = outcomes
            .into_iter()
            .filter_map(|(what, outcome)| Some(format!("{what}: {}", outcome.err()?)));
        refused.collect()
    }

    /// Puts the calling thread before every other ordinary one, and behind the election, whose budget of
    /// real-time it does not share. Not where the election is ordinary too, or the kernel does not let it be
    /// anything else.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn prefer(&self) -> io::Result<()> {
        const FIRST: libc::c_int = -20;
        if self.rt_priority == 0 {
            return Ok(());
        }
        // What the election is not given is not given to this thread either.
        self.apply_rt_priority()?;
        give_up_rt_priority()?;
        // SAFETY: no memory is passed; 0 is the calling thread.
        succeeded(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, FIRST) })
    }

    /// What the thread starts is ordinary again.
    fn apply_rt_priority(&self) -> io::Result<()> {
        if self.rt_priority == 0 {
            return Ok(());
        }
        let parameter = libc::sched_param {
            sched_priority: i32::from(self.rt_priority),
        };
        // SAFETY: the parameter lives through the call; 0 is the calling thread.
        let outcome = unsafe {
            libc::sched_setscheduler(
                0,
                libc::SCHED_RR | libc::SCHED_RESET_ON_FORK,
                &raw const parameter,
            )
        };
        succeeded(outcome)
    }

    fn apply_nice(&self) -> io::Result<()> {
        let Some(nice) = self.nice else {
            return Ok(());
        };
        // SAFETY: no memory is passed; 0 is the calling thread.
        succeeded(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, i32::from(nice)) })
    }

    fn apply_limit(&self) -> io::Result<()> {
        let Some(limit) = self.rttime_limit_us else {
            return Ok(());
        };
        Ok(setrlimit(Resource::RLIMIT_RTTIME, limit, limit)?)
    }

    fn apply_no_swap(&self) -> io::Result<()> {
        if !self.no_swap {
            return Ok(());
        }
        Ok(mlockall(
            MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE,
        )?)
    }

    fn apply_cpus(&self) -> io::Result<()> {
        if self.cpus.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        for cpu in &self.cpus {
            set.set(*cpu)?;
        }
        Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
    }
}

fn give_up_rt_priority() -> io::Result<()> {
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the parameter lives through the call; 0 is the calling thread.
    succeeded(unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const parameter) })
}

fn succeeded(outcome: i32) -> io::Result<()> {
    if outcome == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
