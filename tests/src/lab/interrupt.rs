//! Ctrl-C: noticed at the next look, so that everything is put away in order.

use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::Stop;

/// Whether somebody wants the lab to end.
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    ///
    /// # Errors
    ///
    /// When the signals cannot be caught.
    pub fn catch() -> io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, flag.clone())?;
        }
        Ok(Self(flag))
    }

    fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Does some work. A helper that panics because Ctrl-C has hit a program it was just starting is
    /// part of the interruption, and says nothing of its own.
    ///
    /// # Errors
    ///
    /// Those of the work, and [`Stop::Interrupted`] for such a panic.
    pub fn guard<T>(&self, work: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
        let came = self.0.clone();
        let tell = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !came.load(Ordering::Relaxed) {
                tell(info);
            }
        }));
        match panic::catch_unwind(AssertUnwindSafe(work)) {
            Ok(outcome) => outcome,
            Err(_) if self.came() => Err(Stop::Interrupted),
            Err(panic) => panic::resume_unwind(panic),
        }
    }

    /// Waits for it.
    pub fn wait(&self) {
        while !self.came() {
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Waits for `probe` to give a value.
    ///
    /// # Errors
    ///
    /// [`Stop`], after Ctrl-C or when the time is over.
    pub fn wait_for<T>(
        &self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut() -> Option<T>,
    ) -> Result<T, Stop> {
        let end = Instant::now() + limit;
        loop {
            if self.came() {
                return Err(Stop::Interrupted);
            }
            if let Some(value) = probe() {
                return Ok(value);
            }
            if Instant::now() > end {
                return Err(Stop::Failed(format!("waited {limit:?} in vain for {what}")));
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }
}
