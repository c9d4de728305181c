//! Whether our TC filter is on an interface without a pin: the kernel lists filters, and ours is known
//! by its place and its name.

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};

use super::{attach::TC_PRIORITY, kernel::TC_PROGRAM};
use crate::net::request;

/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`.
const INGRESS: TcHandle = TcHandle {
    major: 0xffff,
    minor: 0xfff2,
};
/// The handle of our filter, as [`super::attach::TC_HANDLE`].
const OURS: TcHandle = TcHandle {
    major: 0,
    minor: 112,
};
/// `ETH_P_ALL`.
const EVERY_PROTOCOL: u16 = 0x0003;

/// Whether it is there. An interface without a clsact qdisc has none.
pub(super) fn is_attached(ifindex: u32) -> bool {
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    message.header.parent = INGRESS;
    message.header.handle = OURS;
    message.header.info = u32::from(TC_PRIORITY) << 16 | u32::from(EVERY_PROTOCOL.to_be());
    message.attributes.push(TcAttribute::Kind("bpf".to_owned()));
    let answers = match request(RouteNetlinkMessage::GetTrafficFilter(message)) {
        Ok(answers) => answers,
        Err(refusal) => {
            tracing::debug!("interface {ifindex}: no TC filter: {refusal}");
            return false;
        }
    };
    answers.into_iter().any(|answer| match answer {
        RouteNetlinkMessage::NewTrafficFilter(filter) => has_our_name(&filter),
        _ => false,
    })
}

fn has_our_name(filter: &TcMessage) -> bool {
    let options = filter
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        });
    options.flatten().any(|option| {
        matches!(option, TcOption::Bpf(TcFilterBpfOption::ProgName(name)) if name == TC_PROGRAM)
    })
}
