//! What systemd is told (`sd_notify`), where it started us with `Type=notify`. Without it nobody
//! listens, and nothing happens.

use std::{env, io, os::fd::BorrowedFd};

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

/// Whether somebody listens.
pub(super) fn is_there() -> bool {
    env::var_os("NOTIFY_SOCKET").is_some()
}

/// Gives a descriptor to keep, under a name, for the next process of this service.
pub(super) fn keep(descriptor: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    let states = [NotifyState::FdStore, NotifyState::FdName(name)];
    sd_notify::notify_with_fds(&states, &[descriptor])
}

/// What was kept under these names has been read.
pub(super) fn let_go(names: &[&str]) {
    for name in names {
        tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("tell the service manager: {error}");
    }
}
