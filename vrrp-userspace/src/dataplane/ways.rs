//! The shorter ways of the kernel programs to `VRIDS` and `VIPS`
//! ([`vrrp_common::shortcut`]).

use aya::maps::MapData;
use vrrp_common::{
    contract::{VipKey, VipTarget, VridKey, VridTarget},
    shortcut::{self, Shortcut, VIP_PLACES, VRID_PLACES},
};

use super::{DataplaneError, mapped::Mapped};

pub(super) struct Ways {
    vrids: Mapped<Shortcut<1>>,
    vips: Mapped<Shortcut<3>>,
    /// Open for the programs that are yet to be handed to the kernel.
    _maps: [MapData; 2],
}

impl Ways {
    pub(super) fn map(vrids: MapData, vips: MapData) -> Result<Self, DataplaneError> {
        Ok(Self {
            vrids: Mapped::map("VRID_WAYS", &vrids, VRID_PLACES)?,
            vips: Mapped::map("VIP_WAYS", &vips, VIP_PLACES)?,
            _maps: [vrids, vips],
        })
    }

    /// After the virtual router is in `VRIDS`.
    pub(super) fn add_vrid(&self, key: VridKey, target: VridTarget) {
        let (place, words) = shortcut::of_vrid(key);
        if let Some(way) = self.vrids.get(place) {
            way.lead(&words, target.slot, target.row);
        }
    }

    /// Before it is taken out of `VRIDS`.
    pub(super) fn remove_vrid(&self, key: VridKey) {
        let (place, words) = shortcut::of_vrid(key);
        if let Some(way) = self.vrids.get(place) {
            way.forget(&words);
        }
    }

    /// After the address is in `VIPS`. Only that table has room for a MAC.
    pub(super) fn add_vip(&self, key: VipKey, target: VipTarget) {
        let (place, words) = shortcut::of_vip(key);
        let Some(way) = self.vips.get(place) else {
            return;
        };
        if target.mac == [0; 6] {
            way.lead(&words, target.slot, target.row);
        } else {
            way.leave_to_table(&words);
        }
    }

    /// Before it is taken out of `VIPS`.
    pub(super) fn remove_vip(&self, key: VipKey) {
        let (place, words) = shortcut::of_vip(key);
        if let Some(way) = self.vips.get(place) {
            way.forget(&words);
        }
    }
}
