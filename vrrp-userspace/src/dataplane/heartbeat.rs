//! The sign of life. Programs outlive the daemon; they consume adverts only while it is alive, so
//! that after a crash another daemon on this machine can hear them. It costs no wake-up of its own:
//! the daemon says when it will wake next, so after a crash the programs go on consuming until then
//! and a little longer; and a daemon with nothing to wait for, all in FAULT, lets adverts pass.

use aya::maps::{Array, MapData, MapError};
use vrrp_common::timers::NS_PER_S;

/// Tells the kernel programs until when the daemon is alive at least.
pub struct Heartbeat {
    map: Option<Array<MapData, u64>>,
    until_ns: u64,
}

/// How much longer than its next deadline the daemon may be silent.
const SLACK_NS: u64 = 5 * NS_PER_S;

impl Heartbeat {
    pub(super) const fn of(map: Array<MapData, u64>) -> Self {
        Self {
            map: Some(map),
            until_ns: 0,
        }
    }

    /// Without kernel programs there is nobody to tell.
    pub(super) const fn none() -> Self {
        Self {
            map: None,
            until_ns: 0,
        }
    }

    /// The daemon wakes again at `deadline_ns` (nanoseconds of `CLOCK_BOOTTIME`) at the latest. A
    /// system call every few seconds at most.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn beat(&mut self, deadline_ns: u64) -> Result<(), MapError> {
        let Some(map) = &mut self.map else {
            return Ok(());
        };
        let enough_ns = deadline_ns.saturating_add(SLACK_NS / 2);
        if self.until_ns < enough_ns {
            self.until_ns = deadline_ns.saturating_add(SLACK_NS);
            map.set(0, self.until_ns, 0)?;
        }
        Ok(())
    }
}
