//! The thread that checks run on: a thousand of them must keep nobody waiting but each other.

use std::{io, thread};

use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::AbortHandle,
};

use super::run;

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
    pub async fn scripts_ended(&self) -> bool {
        // There: what was aborted in the middle of starting a script is over before.
        self.handle.spawn(run::all_ended()).await.unwrap_or(false)
    }
}
