//! The signals the daemon answers.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals the daemon answers. Caught before anything is claimed or attached: whoever is ended
/// early puts away what there is.
pub struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hangup: Signal,
}

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    ///
    /// When the kernel or the runtime refuses.
    pub fn catch() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("catch SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("catch SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("catch SIGHUP")?,
        })
    }

    /// Waits until somebody wants the daemon to end.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
