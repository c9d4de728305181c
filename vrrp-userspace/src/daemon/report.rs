//! Notices of the election thread as log lines. State changes keep keepalived's phrases.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vrrp_common::{
    election::{Cause, State},
    slot::Facts,
};

use crate::{
    config::model::Instance,
    election::{Notice, RouterId, Transition},
};

/// Whom a notice is about.
pub(super) const fn subject(notice: &Notice) -> RouterId {
    match notice {
        Notice::Entered(Transition { id, .. })
        | Notice::OtherAddresses { id, .. }
        | Notice::ForeignResignation { id }
        | Notice::Claim { id, .. }
        | Notice::AddressRefused { id, .. }
        | Notice::SendFailed { id, .. } => *id,
    }
}

pub(super) fn log(instance: &Instance, notice: &Notice) {
    let name = &instance.name;
    match notice {
        Notice::Entered(transition) => {
            let why = why(transition);
            match transition.state {
                State::Init => tracing::info!("({name}) Stopped: {why}"),
                state => tracing::info!("({name}) Entering {} STATE: {why}", state_name(state)),
            }
        }
        Notice::OtherAddresses { facts, .. } => tracing::warn!(
            "({name}) {} advertises VRID {} with other addresses than ours ({} of them); \
             every router of a VRID should list the same",
            sender(facts),
            instance.vrid,
            facts.count
        ),
        Notice::ForeignResignation { .. } => tracing::warn!(
            "({name}) ignored a priority-0 advert from a router that is not the master"
        ),
        Notice::Claim {
            mac: [a, b, c, d, e, f],
            ..
        } => tracing::warn!(
            "({name}) {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x} claims one of our addresses \
             while we are MASTER"
        ),
        Notice::AddressRefused { what, .. } => tracing::error!("({name}) cannot {what}"),
        Notice::SendFailed { what, .. } => tracing::error!("({name}) cannot send adverts: {what}"),
    }
}

/// A state as users, logs and scripts say it.
pub(super) const fn state_name(state: State) -> &'static str {
    match state {
        State::Init => "INIT",
        State::Backup => "BACKUP",
        State::Master => "MASTER",
        State::Fault => "FAULT",
    }
}

/// The chain of causes in one sentence.
pub(super) fn why(transition: &Transition) -> String {
    let Transition {
        cause,
        master,
        priority,
        ..
    } = transition;
    match cause {
        Cause::Startup => "started, listening for a master".to_owned(),
        Cause::Shutdown => "the daemon stops".to_owned(),
        Cause::Owner => "priority 255 owns the addresses".to_owned(),
        Cause::MasterTimeout if master.source.is_unspecified() => {
            "no master was heard for Master_Down_Interval".to_owned()
        }
        Cause::MasterTimeout if master.priority < *priority => format!(
            "our priority {priority} is higher than {}'s {}",
            sender(master),
            master.priority
        ),
        Cause::MasterTimeout => {
            format!("{} was not heard for Master_Down_Interval", sender(master))
        }
        Cause::MasterResigned => format!("{} resigned", sender(master)),
        Cause::Beaten => format!(
            "{} was heard with priority {} (ours is {priority})",
            sender(master),
            master.priority
        ),
        Cause::Overslept => "this process did not run for longer than its lease".to_owned(),
        Cause::FaultRaised => "something it tracks failed".to_owned(),
        Cause::FaultCleared => "nothing it tracks fails any longer".to_owned(),
        Cause::Group => "another member of its sync group is not MASTER".to_owned(),
    }
}

/// Who said it. An IPv4 address fills the first four bytes, and no IPv6 sender ends in twelve zeros.
pub(super) fn sender(facts: &Facts) -> IpAddr {
    let source = facts.source;
    let is_v4 = source.low == 0 && source.high.trailing_zeros() >= u32::BITS;
    if is_v4 {
        Ipv4Addr::from(source.as_v4()).into()
    } else {
        Ipv6Addr::from(source.as_v6()).into()
    }
}
