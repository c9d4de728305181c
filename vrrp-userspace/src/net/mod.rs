//! The network as the daemon touches it: interfaces watched, addresses moved, frames sent.

mod addresses;
mod interfaces;
mod membership;
mod packet;

pub use addresses::{AddressJob, AddressWorker, Change, Refused, Scope, VirtualAddress};
pub use interfaces::{Interface, InterfaceAddress, InterfaceTable, watch};
pub use membership::Membership;
pub(crate) use packet::{LINK_ADDRESS_LEN, link_address};
pub use packet::{PacketSocket, SendFailure};
