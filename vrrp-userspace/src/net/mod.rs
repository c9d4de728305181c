//! The network as the daemon touches it: interfaces watched, addresses moved, frames sent.

mod addresses;
mod features;
mod interfaces;
mod membership;
mod packet;
mod request;
mod unicast;

pub use addresses::{AddressJob, AddressWorker, Change, Refused, Scope, VirtualAddress};
pub use features::strips_vlan_tags;
pub use interfaces::{Interface, InterfaceAddress, InterfaceTable, is_link_local, read, watch};
pub use membership::Membership;
pub(crate) use packet::{PacketAuxiliaryData, PacketIgnoreOutgoing, packet_address};
pub use packet::{PacketSocket, SendFailure};
pub use request::{Refusal, request};
pub use unicast::UnicastSocket;
