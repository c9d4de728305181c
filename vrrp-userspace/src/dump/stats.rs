//! `/tmp/keepalived.stats`.

use std::fmt::Write as _;

use super::Counted;
use crate::control::model::Status;

pub(super) fn render(status: &Status) -> String {
    let mut out = String::new();
    for instance in &status.instances {
        if let Some(counted) = Counted::of(&instance.name, status) {
            one(&mut out, &instance.name, &counted);
        }
    }
    out
}

fn one(out: &mut String, name: &str, it: &Counted) {
    // Writing into a string cannot fail.
    let _ = write!(
        out,
        "VRRP Instance: {name}\n  Advertisements:\n    Received: {}\n    Sent: {}\n  Became master: {}\n  \
         Released master: {}\n  Packet Errors:\n    Length: {}\n    TTL: {}\n    Invalid Type: {}\n    \
         Advertisement Interval: {}\n    Address List: {}\n  Authentication Errors:\n    Invalid Type: 0\n    \
         Type Mismatch: 0\n    Failure: {}\n  Priority Zero:\n    Received: {}\n    Sent: {}\n",
        it.received,
        it.sent,
        it.became_master,
        it.released_master,
        it.length,
        it.ttl,
        it.kind,
        it.interval,
        it.address_list,
        it.authentication,
        it.zero_received,
        it.zero_sent,
    );
}
