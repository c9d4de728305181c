//! What a slot is responsible for, as the keys of the maps.

use std::{collections::BTreeSet, net::IpAddr};

use vrrp_common::{
    contract::{Family, MacKey, PeerKey, PeerLimits, VipKey, VipTarget, VridKey},
    vrrp::Source,
};

/// A place on the network: an interface and a VLAN on it (0 = untagged).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Interface index.
    pub ifindex: u32,
    /// VLAN id.
    pub vlan: u16,
}

/// What a slot is responsible for.
#[derive(Clone, Debug)]
pub struct Routed {
    /// Where.
    pub place: Place,
    /// Family of its adverts.
    pub family: Family,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Its addresses, of either family.
    pub vips: Vec<IpAddr>,
    /// Addresses that it has on other interfaces.
    pub elsewhere: Vec<Elsewhere>,
    /// Its virtual MAC, if it has one.
    pub virtual_mac: Option<[u8; 6]>,
    /// Its unicast peers, where only they count.
    pub peers: Vec<(IpAddr, PeerLimits)>,
}

/// A virtual address on another interface than the adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Where.
    pub place: Place,
    /// The MAC of the interface.
    pub mac: [u8; 6],
    /// The address.
    pub address: IpAddr,
}

/// Entries of the maps that are not wanted any more.
pub(super) struct Stale {
    pub(super) vrid: Option<VridKey>,
    pub(super) vips: Vec<VipKey>,
    pub(super) mac: Option<MacKey>,
    pub(super) peers: Vec<PeerKey>,
}

impl Routed {
    /// Its entries that `kept` does not have.
    pub(super) fn but(&self, kept: Option<&Self>, slot: u32) -> Stale {
        let vips: BTreeSet<[u8; 24]> = kept
            .iter()
            .flat_map(|kept| kept.vips(slot))
            .map(|(key, _)| bytemuck::cast(key))
            .collect();
        let peers: BTreeSet<[u8; 20]> = kept
            .iter()
            .flat_map(|kept| kept.peer_keys(slot))
            .map(|(key, _)| bytemuck::cast(key))
            .collect();
        let own_vips = self.vips(slot).map(|(key, _)| key);
        let own_peers = self.peer_keys(slot).map(|(key, _)| key);
        let vrid = Some(self.vrid_key());
        Stale {
            vrid: vrid.filter(|key| kept.map(Self::vrid_key) != Some(*key)),
            vips: own_vips
                .filter(|key| !vips.contains(bytemuck::bytes_of(key)))
                .collect(),
            mac: self
                .mac_key()
                .filter(|key| kept.and_then(Self::mac_key) != Some(*key)),
            peers: own_peers
                .filter(|key| !peers.contains(bytemuck::bytes_of(key)))
                .collect(),
        }
    }

    /// The interfaces that it has entries for.
    pub(super) fn interfaces(&self) -> impl Iterator<Item = u32> {
        let elsewhere = self.elsewhere.iter().map(|entry| entry.place.ifindex);
        std::iter::once(self.place.ifindex).chain(elsewhere)
    }

    pub(super) const fn vrid_key(&self) -> VridKey {
        let Place { ifindex, vlan } = self.place;
        VridKey::new(self.family, ifindex, vlan, self.vrid)
    }

    pub(super) fn vips(&self, slot: u32) -> impl Iterator<Item = (VipKey, VipTarget)> {
        let here = self.vips.iter().map(|vip| (self.place, [0; 6], *vip));
        let elsewhere = self.elsewhere.iter();
        let elsewhere = elsewhere.map(|entry| (entry.place, entry.mac, entry.address));
        here.chain(elsewhere).map(move |(place, mac, vip)| {
            let Place { ifindex, vlan } = place;
            let key = VipKey::new(Family::of(vip), ifindex, vlan, Source::of(vip));
            let target = VipTarget { slot, mac, row: 0 };
            (key, target)
        })
    }

    pub(super) fn mac_key(&self) -> Option<MacKey> {
        let Place { ifindex, vlan } = self.place;
        self.virtual_mac.map(|mac| MacKey::new(ifindex, vlan, mac))
    }

    pub(super) fn peer_keys(&self, slot: u32) -> impl Iterator<Item = (PeerKey, PeerLimits)> {
        self.peers
            .iter()
            .map(move |(peer, limits)| (PeerKey::new(slot, Source::of(*peer)), *limits))
    }
}
