//! The clock of the protocol: `CLOCK_BOOTTIME`, which the kernel program stamps with too and which
//! goes on while the machine is suspended.

use std::{
    io,
    os::fd::{AsRawFd, RawFd},
    time::{Duration, SystemTime},
};

use nix::{
    sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    },
    time::clock_gettime,
};
use tokio::io::unix::AsyncFd;

/// Nanoseconds of `CLOCK_BOOTTIME`.
#[must_use]
pub fn now_ns() -> u64 {
    // Fails only for a clock the kernel does not know, and this one is older than BPF.
    let now = clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).unwrap_or(TimeSpec::new(0, 0));
    Duration::from(now)
        .as_nanos()
        .try_into()
        .unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970 of a moment of [`now_ns`], by the wall clock as it is set now.
#[must_use]
pub fn wall_ns(at_ns: u64) -> u64 {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let wall_ns = u64::try_from(wall.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
    let ago_ns = now_ns().saturating_sub(at_ns);
    wall_ns.saturating_sub(ago_ns)
}

/// Nanoseconds since 1970 as people here write them, to the millisecond.
#[must_use]
pub fn local_time(wall_ns: u64) -> String {
    let Ok(time) = jiff::Timestamp::from_nanosecond(wall_ns.into()) else {
        return "-".to_owned();
    };
    let time = time.to_zoned(jiff::tz::TimeZone::system());
    time.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// One timer with an absolute deadline, exact to the kernel's own precision (tokio's sleeps come in
/// steps of a millisecond).
pub struct Alarm {
    timer: AsyncFd<OwnedTimer>,
    armed_for: Option<u64>,
}

struct OwnedTimer(TimerFd);

impl AsRawFd for OwnedTimer {
    fn as_raw_fd(&self) -> RawFd {
        use std::os::fd::AsFd as _;
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// A timer that is not armed. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = OwnedTimer(TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?);
        // SAFETY: the timer owns its descriptor for as long as the registration lives.
        let timer = unsafe { AsyncFd::register(timer) }.map_err(io::Error::from)?;
        Ok(Self {
            timer,
            armed_for: None,
        })
    }

    /// Arms the timer for `deadline_ns`, or disarms it. Arming it anew for the same deadline costs
    /// nothing.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn set(&mut self, deadline_ns: Option<u64>) -> io::Result<()> {
        if self.armed_for == deadline_ns {
            return Ok(());
        }
        let timer = &self.timer.get_ref().0;
        match deadline_ns {
            // A deadline of zero would disarm it.
            Some(at) => timer.set(
                Expiration::OneShot(TimeSpec::from(Duration::from_nanos(at.max(1)))),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME,
            )?,
            None => timer.unset()?,
        }
        self.armed_for = deadline_ns;
        Ok(())
    }

    /// Waits until the deadline has passed.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub async fn rang(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.timer.readable().await?;
            match ready.get_inner().0.wait() {
                Ok(()) => {
                    // It rings once; what comes after this is another event, and not lost.
                    ready.clear_ready();
                    self.armed_for = None;
                    return Ok(());
                }
                Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
