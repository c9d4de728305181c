//! The thread that checks run on: a thousand of them must keep nobody waiting but each other.

use std::{io, thread, time::Duration};

use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::AbortHandle,
    time,
};

use super::run;

/// How long scripts may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// A thread with a runtime of its own, which ends with this.
pub struct Runner {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Runner {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When the thread or its runtime cannot be had.
    pub fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new()
            .name("xvrrp-checks".to_owned())
            .spawn(move || {
                // It ends when nobody can stop it any longer.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            handle,
            _stop: stop,
        })
    }

    /// Runs something there until it is aborted.
    pub fn spawn(&self, watching: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.handle.spawn(watching).abort_handle()
    }

    /// Waits for the scripts of what was aborted to end. Says whether they have.
    pub fn scripts_ended(&self) -> impl Future<Output = bool> + Send + use<> {
        // There: what was aborted in the middle of starting a script is over before. That thread may hang itself,
        // in a file system that does not answer.
        let ended = self.handle.spawn(run::all_ended());
        async move { matches!(time::timeout(PATIENCE, ended).await, Ok(Ok(true))) }
    }
}
