//! What systemd is told (`sd_notify`), where it started us with `Type=notify`. Without it nobody
//! listens, and nothing happens.

use sd_notify::NotifyState;

/// Every instance is started.
pub(super) fn ready(instances: usize) {
    let status = format!("serving {instances} virtual routers");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// A reload has begun; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("no clock for the service manager: {error}"),
    }
}

/// The end has begun.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("tell the service manager: {error}");
    }
}
