//! What lets frames for a virtual MAC come in: the filter of the device, and on a bridge an entry in
//! its forwarding table, without which it would look for the MAC behind its ports.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
};

use super::{MacFilter, Refusal, request, request_with};

/// A virtual MAC and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtualMac {
    /// Interface index.
    pub ifindex: u32,
    /// The MAC.
    pub mac: [u8; 6],
    /// Whether the interface is a bridge.
    pub on_bridge: bool,
}

/// The virtual MACs that this machine has taken.
#[derive(Default)]
pub struct VirtualMacs {
    filters: BTreeMap<(u32, [u8; 6]), MacFilter>,
}

impl VirtualMacs {
    /// Lets frames for the MAC come in.
    ///
    /// # Errors
    ///
    /// What the kernel or the driver says.
    pub fn take(&mut self, taken: VirtualMac) -> io::Result<()> {
        let VirtualMac { ifindex, mac, .. } = taken;
        if let Entry::Vacant(place) = self.filters.entry((ifindex, mac)) {
            place.insert(MacFilter::open(ifindex, mac)?);
        }
        if taken.on_bridge {
            bridge_entry(taken, true).map_err(|refusal| refusal.error)?;
        }
        Ok(())
    }

    /// Lets them go by. What is not there need not go.
    pub fn give_up(&mut self, given: VirtualMac) {
        self.filters.remove(&(given.ifindex, given.mac));
        if given.on_bridge
            && let Err(refusal) = bridge_entry(given, false)
        {
            tracing::debug!("bridge {}: {refusal}", given.ifindex);
        }
    }
}

/// A permanent entry of the bridge itself (`bridge fdb add MAC dev BRIDGE self permanent`).
fn bridge_entry(entry: VirtualMac, add: bool) -> Result<(), Refusal> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = entry.ifindex;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message
        .attributes
        .push(NeighbourAttribute::LinkLayerAddress(entry.mac.to_vec()));
    let outcome = if add {
        let message = RouteNetlinkMessage::NewNeighbour(message);
        request_with(message, NLM_F_CREATE | NLM_F_EXCL)
    } else {
        request(RouteNetlinkMessage::DelNeighbour(message))
    };
    match outcome {
        Err(refusal) if add && refusal.error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        other => other.map(drop),
    }
}
