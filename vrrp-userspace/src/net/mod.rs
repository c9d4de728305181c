//! The network as the daemon touches it: interfaces watched, addresses moved, frames sent.

mod addresses;
mod belongings;
mod beside;
mod features;
mod interfaces;
mod membership;
mod namespace;
mod packet;
mod receive;
mod request;
mod resolve;
mod route_watch;
mod routes;
mod rules;
mod sniffer;
mod unicast;
mod virtual_mac;
mod worker;

pub use addresses::{Scope, VirtualAddress};
pub use belongings::Belonging;
pub use features::strips_vlan_tags;
pub use interfaces::{Interface, InterfaceAddress, InterfaceTable, is_link_local, read, watch};
pub use membership::{MacFilter, Membership};
pub use namespace::enter_namespace;
pub(crate) use packet::{PacketAuxiliaryData, PacketIgnoreOutgoing, packet_address};
pub use packet::{PacketSocket, SendFailure};
pub(crate) use receive::{Received, receive};
pub use request::{Refusal, request, request_with};
pub use resolve::{Names, resolve};
pub use route_watch::{Removed, watch_routes};
pub use routes::{EVERYWHERE, Hop, MAIN_TABLE, Network, Route, RouteKind};
pub use rules::{Rule, RuleKind};
pub use sniffer::{Sniffed, Sniffer};
pub use unicast::UnicastSocket;
pub use virtual_mac::{VirtualMac, VirtualMacs};
pub use worker::{Change, Job, Refused, Worker};
