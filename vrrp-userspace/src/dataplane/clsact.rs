//! Whether our TC filter is on an interface without a pin: the kernel lists filters, and ours is known
//! by its place and its name.

use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};

use super::kernel::Side;
use crate::net::request;

/// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)`, or the one for egress.
const fn parent(side: Side) -> TcHandle {
    TcHandle {
        major: 0xffff,
        minor: match side {
            Side::Ingress | Side::Accept => 0xfff2,
            Side::Egress => 0xfff3,
        },
    }
}
/// The handle of our filter, as [`super::attach::TC_HANDLE`].
const OURS: TcHandle = TcHandle {
    major: 0,
    minor: 112,
};
/// `ETH_P_ALL`.
const EVERY_PROTOCOL: u16 = 0x0003;

/// Whether it is there. An interface without a clsact qdisc has none.
pub(super) fn is_attached(ifindex: u32, side: Side) -> bool {
    let mut message = TcMessage::default();
    message.header.index = ifindex.cast_signed();
    message.header.parent = parent(side);
    message.header.handle = OURS;
    message.header.info = u32::from(side.priority()) << 16 | u32::from(EVERY_PROTOCOL.to_be());
    message.attributes.push(TcAttribute::Kind("bpf".to_owned()));
    let answers = match request(RouteNetlinkMessage::GetTrafficFilter(message)) {
        Ok(answers) => answers,
        Err(refusal) => {
            tracing::debug!("interface {ifindex}: no TC filter: {refusal}");
            return false;
        }
    };
    answers.into_iter().any(|answer| match answer {
        RouteNetlinkMessage::NewTrafficFilter(filter) => is_named(&filter, side.program()),
        _ => false,
    })
}

fn is_named(filter: &TcMessage, expected: &str) -> bool {
    let options = filter
        .attributes
        .iter()
        .filter_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        });
    options.flatten().any(|option| {
        matches!(option, TcOption::Bpf(TcFilterBpfOption::ProgName(name)) if name == expected)
    })
}
