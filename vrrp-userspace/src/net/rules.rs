//! `virtual_rules` and `static_rules`: a routing policy rule, and the message that puts it in place.

use std::fmt;

use netlink_packet_route::{
    AddressFamily,
    route::RouteProtocol,
    rule::{RuleAction, RuleAttribute, RuleMessage},
};

use super::routes::{Network, PROTOCOL};

/// What a rule does with packets that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// Looks them up in a table.
    Table(u32),
    /// Drops them without a word.
    Blackhole,
    /// Says that the destination cannot be reached.
    Unreachable,
    /// Says that it is prohibited.
    Prohibit,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it is one for IPv6.
    pub is_v6: bool,
    /// What it does.
    pub kind: RuleKind,
    /// `from`.
    pub from: Option<Network>,
    /// `to`.
    pub to: Option<Network>,
    /// `iif`: the interface that packets come in by.
    pub iif: Option<String>,
    /// `oif`: the interface that a local socket is bound to.
    pub oif: Option<String>,
    /// `fwmark`: value and mask.
    pub mark: Option<(u32, Option<u32>)>,
    /// `priority`: the lower, the earlier it is looked at.
    pub priority: Option<u32>,
}

impl Rule {
    pub(super) fn message(&self) -> RuleMessage {
        let mut message = RuleMessage::default();
        let header = &mut message.header;
        header.family = if self.is_v6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let attributes = &mut message.attributes;
        header.action = match self.kind {
            RuleKind::Table(table) => {
                header.table = u8::try_from(table).unwrap_or_default();
                attributes.push(RuleAttribute::Table(table));
                RuleAction::ToTable
            }
            RuleKind::Blackhole => RuleAction::Blackhole,
            RuleKind::Unreachable => RuleAction::Unreachable,
            RuleKind::Prohibit => RuleAction::Prohibit,
        };
        if let Some(from) = self.from {
            header.src_len = from.prefix;
            attributes.push(RuleAttribute::Source(from.address));
        }
        if let Some(to) = self.to {
            header.dst_len = to.prefix;
            attributes.push(RuleAttribute::Destination(to.address));
        }
        attributes.extend(self.iif.clone().map(RuleAttribute::Iifname));
        attributes.extend(self.oif.clone().map(RuleAttribute::Oifname));
        attributes.extend(self.mark.map(|(mark, _)| RuleAttribute::FwMark(mark)));
        let mask = self.mark.and_then(|(_, mask)| mask);
        attributes.extend(mask.map(RuleAttribute::FwMask));
        attributes.extend(self.priority.map(RuleAttribute::Priority));
        attributes.push(RuleAttribute::Protocol(RouteProtocol::from(PROTOCOL)));
        message
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            Some(from) => write!(f, "from {from}")?,
            None => f.write_str("from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        match self.kind {
            RuleKind::Table(table) => write!(f, " table {table}"),
            RuleKind::Blackhole => f.write_str(" blackhole"),
            RuleKind::Unreachable => f.write_str(" unreachable"),
            RuleKind::Prohibit => f.write_str(" prohibit"),
        }
    }
}
