//! One run of a script: its exit code, the end of what it prints, and its end where it takes too long.

use std::{
    io,
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::Child,
    runtime::Handle,
    sync::{Semaphore, SemaphorePermit, watch},
    task::JoinHandle,
    time,
};

use super::{
    Command, Outcome,
    command::{group_lives, signal_group},
};

/// How long a script may take to end itself after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How much of its output is kept: the end.
const KEPT: usize = 1024;
/// How long to wait for the rest of the output of a script that has ended: what it has left behind may
/// hold the pipe for ever.
const REST: Duration = Duration::from_millis(10);
/// How many scripts are listened to at once. What the others print is not kept; descriptors are for more
/// important things.
static LISTENERS: Semaphore = Semaphore::const_new(128);

/// How many scripts run.
static LIVING: LazyLock<watch::Sender<usize>> = LazyLock::new(watch::Sender::default);

/// Waits until no script runs any longer; those that nobody waits for are being ended. Says whether that is
/// so: what the kernel does not let go of is not waited for.
pub(super) async fn all_ended() -> bool {
    let mut living = LIVING.subscribe();
    let none = living.wait_for(|living| *living == 0);
    time::timeout(2 * GRACE, none).await.is_ok()
}

/// A run that has been judged.
pub(super) struct Run {
    pub(super) outcome: Outcome,
    /// The end of what it printed.
    pub(super) output: String,
    /// What it takes to end it, where it has not ended.
    pub(super) ending: Option<JoinHandle<()>>,
}

impl Run {
    /// One that has ended.
    pub(super) const fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            output: String::new(),
            ending: None,
        }
    }
}

/// One run. One that times out is judged at once and ended in a task of its own.
pub(super) async fn run(command: &Command, timeout: Duration) -> Run {
    let listener = LISTENERS.try_acquire().ok();
    let started = match &listener {
        Some(_) => command.start_heard(&[]),
        None => command.start(&[]),
    };
    let mut attended = match started {
        Ok(child) => Attended(Some(Living::new(child))),
        Err(error) => return Run::of(Outcome::NotStarted(error.to_string())),
    };
    let mut heard = Heard::default();
    if let (Some(child), Some(listener)) = (&mut attended.0, listener) {
        heard.listen(&mut child.0, listener);
    }
    let ended = time::timeout(timeout, attended.wait()).await;
    let child = attended.0.take();
    let (outcome, ending) = match ended {
        Ok(Ok(status)) => {
            let outcome = match (status.code(), status.signal()) {
                (Some(code), _) => Outcome::Exited(code),
                (None, signal) => Outcome::Signalled(signal.unwrap_or(0)),
            };
            (outcome, None)
        }
        Ok(Err(error)) => (Outcome::NotStarted(error.to_string()), None),
        Err(_) => {
            let ending = child.map(|child| tokio::spawn(end(child)));
            (Outcome::TimedOut, ending)
        }
    };
    Run {
        outcome,
        output: heard.end().await,
        ending,
    }
}

/// A child that counts until somebody has waited for it, or cannot.
struct Living(Child);

impl Living {
    fn new(child: Child) -> Self {
        LIVING.send_modify(|living| *living += 1);
        Self(child)
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        LIVING.send_modify(|living| *living -= 1);
    }
}

/// A child that is ended when nobody waits for it any longer.
struct Attended(Option<Living>);

impl Attended {
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        match &mut self.0 {
            Some(child) => child.0.wait().await,
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Attended {
    fn drop(&mut self) {
        let Some(child) = self.0.take() else {
            return;
        };
        // Nobody may be there any longer to send anything else.
        signal_group(&child.0, Signal::SIGTERM);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(end(child));
        }
    }
}

/// The end of what a script prints.
#[derive(Default)]
struct Heard {
    kept: Arc<Mutex<Vec<u8>>>,
    listening: Option<JoinHandle<()>>,
}

impl Heard {
    /// Reads for as long as anybody can print there: what a script leaves behind must not be ended by its
    /// own next word.
    fn listen(&mut self, child: &mut Child, listener: SemaphorePermit<'static>) {
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        let kept = Arc::clone(&self.kept);
        self.listening = Some(tokio::spawn(async move {
            tokio::join!(read(output, &kept), read(errors, &kept));
            drop(listener);
        }));
    }

    /// What was printed until now.
    async fn end(self) -> String {
        if let Some(listening) = self.listening {
            // Whatever holds the pipe goes on being read.
            let _ = time::timeout(REST, listening).await;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, kept: &Mutex<Vec<u8>>) {
    let Some(mut pipe) = pipe else {
        return;
    };
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(buffer.get(..length).unwrap_or_default());
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
    }
}

/// TERM, a little patience, then KILL, to the whole process group.
async fn end(mut child: Living) {
    let child = &mut child.0;
    signal_group(child, Signal::SIGTERM);
    let end = time::Instant::now() + GRACE;
    // Nobody waits for the child before that: its number is that of the group.
    while group_lives(child) && time::Instant::now() < end {
        time::sleep(LOOK_AGAIN).await;
    }
    signal_group(child, Signal::SIGKILL);
    // After SIGKILL the only thing left to wait for is the kernel.
    let _ = child.wait().await;
}
