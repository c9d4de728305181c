//! Listening to the LAN before the embedded default starts: which VRIDs are in use, and by whom.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    net::{Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};
use vrrp_common::{
    contract::Family,
    validate::{self, Located},
    vrrp::{GROUP_V4, GROUP_V6},
};

use crate::net::{Membership, packet_address};

/// A virtual router heard on the LAN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heard {
    /// VRRP version.
    pub version: u8,
    /// Its IPv4 addresses; empty for an IPv6 one.
    pub addresses: Vec<Ipv4Addr>,
}

/// Every virtual router heard, by VRID.
pub type Lan = BTreeMap<u8, Vec<Heard>>;

/// How long to listen: a master with the default interval is heard at least three times.
pub const LISTEN: Duration = Duration::from_secs(4);

/// `ETH_P_ALL`.
const EVERY_PROTOCOL: u16 = 0x0003;

/// Listens on the interface for VRRP of every version and family. Blocks for [`LISTEN`].
///
/// # Errors
///
/// When the socket cannot be had; needs `CAP_NET_RAW`.
pub fn listen(ifindex: u32) -> Result<Lan> {
    let mut socket = Socket::new(
        Domain::PACKET,
        Type::RAW,
        Some(Protocol::from(i32::from(EVERY_PROTOCOL.to_be()))),
    )
    .context("open a packet socket")?;
    socket
        .bind(&packet_address(ifindex, EVERY_PROTOCOL)?)
        .context("bind the packet socket")?;
    let group = Ipv4Addr::from(GROUP_V4).into();
    let _v4 = Membership::join(ifindex, group).context("join 224.0.0.18")?;
    // A host without IPv6 has no IPv6 virtual routers either.
    let _v6 = Membership::join(ifindex, Ipv6Addr::from(GROUP_V6).into());
    let mut lan = Lan::new();
    let end = Instant::now() + LISTEN;
    let mut buffer = [0; 2048];
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        socket
            .set_read_timeout(Some(left))
            .context("set a timeout")?;
        match socket.read(&mut buffer) {
            Ok(length) => note(&mut lan, buffer.get(..length).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error).context("listen to the LAN"),
        }
    }
    Ok(lan)
}

/// The first VRID from `wanted` on that nobody uses for other addresses than `vips`; `None` where
/// every one is taken.
#[must_use]
pub fn free_vrid(lan: &Lan, wanted: u8, vips: &[Ipv4Addr]) -> Option<u8> {
    let ours = |heard: &Heard| {
        heard.version == 3
            && heard.addresses.len() == vips.len()
            && vips.iter().all(|vip| heard.addresses.contains(vip))
    };
    (0..255_u16)
        .filter_map(|step| u8::try_from((u16::from(wanted) - 1 + step) % 255 + 1).ok())
        .find(|vrid| lan.get(vrid).is_none_or(|heard| heard.iter().all(ours)))
}

fn note(lan: &mut Lan, frame: &[u8]) {
    let Some((vrid, heard)) = read(frame) else {
        return;
    };
    let routers = lan.entry(vrid).or_default();
    if !routers.contains(&heard) {
        routers.push(heard);
    }
}

fn read(frame: &[u8]) -> Option<(u8, Heard)> {
    let Located::Found(candidate) = validate::locate(frame) else {
        return None;
    };
    let message = candidate.message(frame)?;
    let [first, vrid, _, count, ..] = message else {
        return None;
    };
    // An IPv6 router has none that could be ours.
    let count = if candidate.family == Family::V4 {
        *count
    } else {
        0
    };
    let words = message.get(8..)?.chunks_exact(4).take(usize::from(count));
    let addresses = words
        .filter_map(|word| <[u8; 4]>::try_from(word).ok())
        .map(Ipv4Addr::from);
    Some((
        *vrid,
        Heard {
            version: first >> 4,
            addresses: addresses.collect(),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 213);

    fn lan(entries: &[(u8, u8, Ipv4Addr)]) -> Lan {
        let mut lan = Lan::new();
        for &(vrid, version, address) in entries {
            lan.entry(vrid).or_default().push(Heard {
                version,
                addresses: vec![address],
            });
        }
        lan
    }

    #[test]
    fn our_own_kind_is_joined_and_strangers_are_avoided() {
        let stranger = Ipv4Addr::new(10, 0, 0, 1);
        assert_eq!(free_vrid(&lan(&[]), 213, &[VIP]), Some(213));
        assert_eq!(free_vrid(&lan(&[(213, 3, VIP)]), 213, &[VIP]), Some(213));
        assert_eq!(free_vrid(&lan(&[(213, 2, VIP)]), 213, &[VIP]), Some(214));
        assert_eq!(
            free_vrid(&lan(&[(213, 3, stranger), (214, 3, VIP)]), 213, &[VIP]),
            Some(214)
        );
        let last = lan(&[(255, 3, stranger)]);
        assert_eq!(free_vrid(&last, 255, &[VIP]), Some(1), "behind 255 comes 1");
        let all: Vec<_> = (1..=255).map(|vrid| (vrid, 3, stranger)).collect();
        assert_eq!(free_vrid(&lan(&all), 213, &[VIP]), None);
    }
}
