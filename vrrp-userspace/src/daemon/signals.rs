//! The signals the daemon answers.

use anyhow::{Context as _, Result};
use nix::sys::signal::{self, SigSet};
use tokio::signal::unix::{Signal, SignalKind, signal as caught};

use crate::dump::Dump;

/// The signals the daemon answers. Caught before anything is claimed or attached: whoever is ended
/// early puts away what there is.
pub struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hangup: Signal,
    pub(super) restart: Signal,
    /// What keepalived dumps something for: other programs send it without asking who listens.
    pub(super) dumps: Dumps,
}

/// Signals by which keepalived is asked for a dump.
pub(super) struct Dumps([(Dump, Signal); 4]);

/// Signals that must not get lost between two images of the daemon, nor end the one that does not catch them yet.
fn ending() -> SigSet {
    let mut set = SigSet::empty();
    let known = [
        signal::SIGTERM,
        signal::SIGINT,
        signal::SIGHUP,
        signal::SIGUSR1,
        signal::SIGUSR2,
    ];
    for signal in known {
        set.add(signal);
    }
    let mut raw = *set.as_ref();
    let others = [
        libc::SIGRTMIN() + 10,
        libc::SIGRTMIN() + 2,
        libc::SIGRTMAX() - 1,
    ];
    for number in others {
        // SAFETY: the set is a valid one, and the number one of a signal.
        unsafe { libc::sigaddset(&raw mut raw, number) };
    }
    // SAFETY: made from a valid set.
    unsafe { SigSet::from_sigset_t_unchecked(raw) }
}

/// Does something while no signal reaches this process; one that comes then is kept, through `exec` as
/// well.
pub(super) async fn held_back<T>(work: impl Future<Output = T>) -> T {
    // An error would mean that the set is not one.
    let _ = ending().thread_block();
    let outcome = work.await;
    let _ = ending().thread_unblock();
    outcome
}

fn dump(dump: Dump, name: &str, number: i32) -> Result<(Dump, Signal)> {
    let signal = caught(SignalKind::from_raw(number)).with_context(|| format!("catch {name}"))?;
    Ok((dump, signal))
}

/// `SIGRTMIN+10`: end, but leave everything to the next daemon (`RestartKillSignal` of the unit).
fn restart() -> SignalKind {
    SignalKind::from_raw(libc::SIGRTMIN() + 10)
}

impl Dumps {
    /// Waits until somebody asks for a dump, and says which.
    pub(super) async fn recv(&mut self) -> Dump {
        let [one, two, three, four] = &mut self.0;
        tokio::select! {
            _ = one.1.recv() => one.0,
            _ = two.1.recv() => two.0,
            _ = three.1.recv() => three.0,
            _ = four.1.recv() => four.0,
        }
    }
}

impl Signals {
    /// Catches them.
    ///
    /// # Errors
    ///
    /// When the kernel or the runtime refuses.
    pub fn catch() -> Result<Self> {
        let caught = Self {
            terminate: caught(SignalKind::terminate()).context("catch SIGTERM")?,
            interrupt: caught(SignalKind::interrupt()).context("catch SIGINT")?,
            hangup: caught(SignalKind::hangup()).context("catch SIGHUP")?,
            restart: caught(restart()).context("catch SIGRTMIN+10")?,
            dumps: Dumps([
                dump(Dump::Data, "SIGUSR1", libc::SIGUSR1)?,
                dump(Dump::Stats, "SIGUSR2", libc::SIGUSR2)?,
                dump(Dump::Json, "SIGRTMIN+2", libc::SIGRTMIN() + 2)?,
                // What keepalived sets to zero goes on here.
                dump(Dump::Stats, "SIGRTMAX-1", libc::SIGRTMAX() - 1)?,
            ]),
        };
        // Whatever came while the image before was replaced.
        ending().thread_unblock().context("let signals in")?;
        Ok(caught)
    }

    /// Waits until somebody wants the daemon to end.
    pub async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
