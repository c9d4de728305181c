//! What each thread may do. Programs that are started get what the user they run as has; this process
//! itself keeps what its work needs, and the threads that face the network less than that.

use caps::{CapSet, Capability, CapsHashSet, errors::CapsError};
use nix::sys::signal::SigSet;

/// What the control plane works with.
const CONTROL_PLANE: &[Capability] = &[
    // Addresses, routes, programs on interfaces, packet sockets.
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    // Programs and maps of a daemon before are found by their number; before Linux 5.8, all of BPF.
    Capability::CAP_SYS_ADMIN,
    // Scripts that run as somebody else, and their ends.
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_KILL,
    // Configuration and run-time directories, whomever they belong to.
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_CHOWN,
    Capability::CAP_FOWNER,
    // Files, memory and scheduling.
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_NICE,
    Capability::CAP_IPC_LOCK,
];

/// What a thread works with that only sends frames, stores into maps and speaks netlink.
const NETWORK: &[Capability] = &[
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_BPF,
];

/// Keeps what the control plane needs, in this thread and those it starts.
///
/// # Errors
///
/// What the kernel says.
pub fn keep_for_the_control_plane() -> Result<(), CapsError> {
    keep(CONTROL_PLANE)
}

/// Keeps what a thread needs that faces the network.
///
/// # Errors
///
/// What the kernel says.
pub fn keep_for_the_network() -> Result<(), CapsError> {
    keep(NETWORK)
}

/// Keeps nothing, in a thread that only answers questions.
///
/// # Errors
///
/// What the kernel says.
pub fn keep_nothing() -> Result<(), CapsError> {
    keep(&[])
}

/// Leaves signals to the control plane.
pub fn leave_signals_alone() {
    // An error would mean that the set is not one.
    let _ = SigSet::all().thread_block();
}

/// What is not there cannot be kept.
fn keep(wanted: &[Capability]) -> Result<(), CapsError> {
    let permitted = caps::read(None, CapSet::Permitted)?;
    let wanted: CapsHashSet = wanted.iter().copied().collect();
    let kept: CapsHashSet = permitted.intersection(&wanted).copied().collect();
    caps::set(None, CapSet::Effective, &kept)?;
    caps::set(None, CapSet::Permitted, &kept)
}
