//! Adverts to send, built once and patched never: the transmit side keeps the bytes.

use core::net::IpAddr;

use network_types::eth::EthHdr;

use crate::{
    checksum,
    contract::Family,
    vrrp::{self, ChecksumForm, Source, Version, VrrpHeader},
};

/// The longest message: 255 IPv6 addresses.
pub const MAX_MESSAGE_LEN: usize = VrrpHeader::LEN + 255 * 16;
/// The longest advert frame.
pub const MAX_FRAME_LEN: usize = EthHdr::LEN + IPV6_LEN + MAX_MESSAGE_LEN;

const IPV4_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// Internet control, CS6: what routers give their own protocols.
const DSCP_CS6: u8 = 0xc0;

/// What an advert says.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Protocol version.
    pub version: Version,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Priority; 0 resigns.
    pub priority: u8,
    /// Advertisement_Interval in centiseconds; whole seconds in `VRRPv2`.
    pub interval_cs: u16,
    /// Checksum form of `VRRPv3` over IPv4. IPv6 always has the pseudo header, `VRRPv2` never.
    pub form: ChecksumForm,
    /// `auth_pass` of `VRRPv2`, padded with zeros, as a big-endian number.
    pub password: Option<u64>,
    /// The virtual addresses in configured order, all of the source's family.
    pub addresses: &'a [IpAddr],
}

/// Where an advert comes from and goes to.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// The sender's own address.
    pub source: IpAddr,
    /// The group, or a peer.
    pub destination: IpAddr,
}

/// The buffer is too small, there are no or more than 255 addresses, or families are mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoesNotFit;

impl Message<'_> {
    /// Writes the message alone into `buffer` and returns its length in bytes: what a unicast peer is
    /// sent, behind an IP header that the kernel makes.
    ///
    /// # Errors
    ///
    /// [`DoesNotFit`].
    pub fn write(&self, way: &Way, buffer: &mut [u8]) -> Result<usize, DoesNotFit> {
        let count = u8::try_from(self.addresses.len()).map_err(|_| DoesNotFit)?;
        let same = |address: &IpAddr| address.is_ipv4() == way.source.is_ipv4();
        if count == 0 || !self.addresses.iter().all(same) {
            return Err(DoesNotFit);
        }
        let total = self.length(Family::of(way.source));
        let out = buffer.get_mut(..total).ok_or(DoesNotFit)?;
        out.fill(0);
        let (header, rest) = out
            .split_at_mut_checked(VrrpHeader::LEN)
            .ok_or(DoesNotFit)?;
        fill(header, &[bytemuck::bytes_of(&self.header(count))]);
        let mut rest = rest;
        for address in self.addresses {
            rest = match address {
                IpAddr::V4(address) => put(rest, &address.octets()),
                IpAddr::V6(address) => put(rest, &address.octets()),
            }
            .ok_or(DoesNotFit)?;
        }
        if let Some(password) = self.password.filter(|_| self.version == Version::V2) {
            fill(rest, &[&password.to_be_bytes()]);
        }
        let sum = self.checksum(way, out)?;
        patch(out, 6, sum.to_be_bytes())?;
        Ok(total)
    }

    fn length(&self, family: Family) -> usize {
        let address = match family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        let trailer = match self.version {
            Version::V2 => vrrp::AUTHENTICATION_LEN,
            Version::V3 => 0,
        };
        VrrpHeader::LEN + self.addresses.len() * address + trailer
    }

    fn header(&self, count: u8) -> VrrpHeader {
        let interval = match self.version {
            Version::V2 => {
                let kind = if self.password.is_some() {
                    vrrp::SIMPLE_PASSWORD
                } else {
                    vrrp::NO_AUTHENTICATION
                };
                [
                    kind,
                    u8::try_from(self.interval_cs / 100).unwrap_or(u8::MAX),
                ]
            }
            Version::V3 => (self.interval_cs & vrrp::MAX_INTERVAL_CS).to_be_bytes(),
        };
        VrrpHeader {
            version_type: self.version.first_byte(),
            vrid: self.vrid,
            priority: self.priority,
            count,
            interval,
            checksum: [0, 0],
        }
    }

    fn checksum(&self, way: &Way, message: &[u8]) -> Result<u16, DoesNotFit> {
        let length = u16::try_from(message.len()).map_err(|_| DoesNotFit)?;
        let is_ipv4 = way.source.is_ipv4();
        let bare = self.version == Version::V2 || self.form == ChecksumForm::MessageOnly;
        let pseudo = if is_ipv4 && bare {
            0
        } else {
            checksum::pseudo_header(Source::of(way.source), Source::of(way.destination), length)
        };
        let sum = u32::from(checksum::fold(checksum::sum(message))) + pseudo;
        Ok(checksum::finish(sum))
    }

    /// Writes a whole frame to the multicast group into `buffer` and returns its length in bytes.
    ///
    /// # Errors
    ///
    /// [`DoesNotFit`].
    pub fn write_frame(
        &self,
        mac: [u8; 6],
        way: &Way,
        buffer: &mut [u8],
    ) -> Result<usize, DoesNotFit> {
        let ip_len = match way.source {
            IpAddr::V4(_) => IPV4_LEN,
            IpAddr::V6(_) => IPV6_LEN,
        };
        let (ethernet, rest) = buffer.split_at_mut_checked(EthHdr::LEN).ok_or(DoesNotFit)?;
        let (ip, rest) = rest.split_at_mut_checked(ip_len).ok_or(DoesNotFit)?;
        let message_len = self.write(way, rest)?;
        let ether_type: [u8; 2] = match way.source {
            IpAddr::V4(_) => [0x08, 0x00],
            IpAddr::V6(_) => [0x86, 0xdd],
        };
        fill(
            ethernet,
            &[&multicast_mac(way.destination), &mac, &ether_type],
        );
        write_ip(ip, way, message_len)?;
        Ok(EthHdr::LEN + ip_len + message_len)
    }
}

fn write_ip(out: &mut [u8], way: &Way, message_len: usize) -> Result<(), DoesNotFit> {
    let length = |extra: usize| {
        let length = u16::try_from(message_len + extra).map_err(|_| DoesNotFit)?;
        Ok(length.to_be_bytes())
    };
    match (way.source, way.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let total = length(IPV4_LEN)?;
            let parts: [&[u8]; 6] = [
                &[0x45, DSCP_CS6],
                &total,
                &[0, 0, 0, 0, vrrp::TTL, vrrp::IP_PROTOCOL],
                &[0, 0],
                &source.octets(),
                &destination.octets(),
            ];
            fill(out, &parts);
            let sum = checksum::finish(checksum::sum(out)).to_be_bytes();
            patch(out, 10, sum)
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let payload = length(0)?;
            let parts: [&[u8]; 5] = [
                &[0x60 | DSCP_CS6 >> 4, DSCP_CS6 << 4, 0, 0],
                &payload,
                &[vrrp::IP_PROTOCOL, vrrp::TTL],
                &source.octets(),
                &destination.octets(),
            ];
            fill(out, &parts);
            Ok(())
        }
        _ => Err(DoesNotFit),
    }
}

/// The Ethernet address that frames to a group are sent to (RFC 1112 6.4, RFC 2464 7).
#[must_use]
pub const fn multicast_mac(group: IpAddr) -> [u8; 6] {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let [.., a, b, c, d] = group.octets();
            [0x33, 0x33, a, b, c, d]
        }
    }
}

/// Copies the parts one after the other; the caller sized `out` for them.
fn fill(out: &mut [u8], parts: &[&[u8]]) {
    for (to, from) in out
        .iter_mut()
        .zip(parts.iter().flat_map(|part| part.iter()))
    {
        *to = *from;
    }
}

/// Copies bytes to the beginning of `out` and returns what is behind them.
fn put<'a>(out: &'a mut [u8], bytes: &[u8]) -> Option<&'a mut [u8]> {
    let (place, rest) = out.split_at_mut_checked(bytes.len())?;
    place.copy_from_slice(bytes);
    Some(rest)
}

fn patch(out: &mut [u8], offset: usize, value: [u8; 2]) -> Result<(), DoesNotFit> {
    out.get_mut(offset..offset + 2)
        .ok_or(DoesNotFit)?
        .copy_from_slice(&value);
    Ok(())
}
