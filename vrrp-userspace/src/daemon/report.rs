//! Notices of the election thread as log lines. State changes keep keepalived's phrases.

use std::net::IpAddr;

use vrrp_common::{
    election::{Cause, State},
    slot::Facts,
    validate::Reject,
};

use crate::{
    config::model::Instance,
    election::{Mistake, Notice, Noticed, RouterId, Transition, address_of, reason},
};

/// Whom a notice is about.
pub(super) const fn subject(notice: &Notice) -> Option<RouterId> {
    Some(match notice {
        Notice::Wants { .. } => return None,
        Notice::Entered(Transition { id, .. })
        | Notice::HeardLesser { id, .. }
        | Notice::Mistake { id, .. }
        | Notice::Refused { id, .. }
        | Notice::SendFailed { id, .. } => *id,
    })
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
        Notice::Mistake { noticed, .. } => {
            tracing::warn!("({name}) {}", mistake(instance.vrid, noticed));
        }
        Notice::Wants { .. } => {}
        Notice::HeardLesser { .. } => {
            tracing::info!("({name}) heard an advert with a lower priority as MASTER");
        }
        Notice::Refused { what, .. } => tracing::error!("({name}) cannot {what}"),
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
        Cause::Arbiter => "its arbiter does not let it be MASTER any longer".to_owned(),
        Cause::Group => "another member of its sync group is not MASTER".to_owned(),
    }
}

/// The cause for programs.
pub(super) const fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::Startup => "startup",
        Cause::Shutdown => "shutdown",
        Cause::Owner => "owner",
        Cause::MasterTimeout => "master_timeout",
        Cause::MasterResigned => "master_resigned",
        Cause::Beaten => "beaten",
        Cause::Overslept => "overslept",
        Cause::FaultRaised => "fault_raised",
        Cause::FaultCleared => "fault_cleared",
        Cause::Arbiter => "arbiter",
        Cause::Group => "group",
    }
}

/// Who said it.
pub(super) fn sender(facts: &Facts) -> IpAddr {
    address_of(facts.source)
}

/// What a neighbour does wrong, and what to do about it.
pub(super) fn mistake(vrid: u8, noticed: &Noticed) -> String {
    let peer = address_of(noticed.peer);
    match noticed.mistake {
        Mistake::Rejected(number) => match reason(number) {
            Some(reason) => format!("adverts of {peer} are rejected: {}", rejection(reason)),
            None => format!("adverts of {peer} are rejected"),
        },
        Mistake::OtherAddresses(count) => format!(
            "{peer} advertises VRID {vrid} with other addresses than ours ({count} of them); every router \
             of a VRID should list the same, and another group of routers needs another VRID"
        ),
        Mistake::OtherInterval(interval_cs) => format!(
            "{peer} advertises every {} s, another interval than ours; backups follow the master's, but \
             advert_int should be the same everywhere",
            f64::from(interval_cs) / 100.0
        ),
        Mistake::OtherChecksumForm => format!(
            "{peer} sends the other form of the VRRPv3 checksum; it is accepted, but a stricter router \
             would not: set v3_checksum_as_v2 the same everywhere"
        ),
        Mistake::Owner => format!(
            "{peer} advertises priority 255: it says that the addresses are its own. If no router of \
             yours has that priority it is forged, and accept_from names those that count"
        ),
        Mistake::ForeignResignation => {
            "ignored a priority-0 advert that did not come from the master: \
             another address, or the master's from another MAC"
                .to_owned()
        }
        Mistake::Claim(address) => format!(
            "{} claims one of our addresses while we are MASTER; find it, and remove the address there",
            mac(address)
        ),
    }
}

/// Why adverts are rejected, as an operator would say it.
pub(crate) fn rejection(reason: Reject) -> &'static str {
    match reason {
        Reject::IpHeader => "their IP header is broken",
        Reject::Fragment => "they are fragments",
        Reject::Destination => {
            "they are not sent to the group, or to us as a unicast peer; see unicast_peer and mcast_dst_ip"
        }
        Reject::Ttl => {
            "their TTL is not 255 (or within min_ttl and max_ttl): they crossed a router"
        }
        Reject::Length => "they are shorter or longer than they say",
        Reject::Version => "they are of another VRRP version; set the same `version` everywhere",
        Reject::Type => "they are of an unknown type",
        Reject::Count => "they carry no address",
        Reject::Interval => "their advert_int is not ours, which VRRPv2 demands, or 0",
        Reject::Checksum => "their checksum is wrong",
        Reject::Authentication => "another auth_type or auth_pass than ours",
        Reject::FirstAddress => "their first address is not link-local, which strict_mode demands",
        Reject::Sender => "nobody can have that address as a sender of adverts",
        Reject::OwnAddress => {
            "they come from our own address: a loop, or two routers with one address"
        }
        Reject::Peer => "it is not one of our unicast_peer, or not in accept_from",
    }
}

/// A MAC as everybody writes it.
pub(super) fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
