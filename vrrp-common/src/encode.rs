//! Advert frames, built once and patched never: the transmit side keeps the bytes.

use network_types::eth::EthHdr;

use crate::{
    checksum,
    vrrp::{self, ChecksumForm, VrrpHeader},
};

/// Bytes of the Ethernet and IPv4 headers in front of the message.
pub const OVERHEAD: usize = EthHdr::LEN + IPV4_LEN;
/// The longest advert frame: 255 IPv4 addresses.
pub const MAX_FRAME_LEN: usize = OVERHEAD + VrrpHeader::LEN + 255 * 4;

const IPV4_LEN: usize = 20;
/// Internet control, CS6: what routers give their own protocols.
const DSCP_CS6: u8 = 0xc0;

/// Everything an advert frame is made of.
#[derive(Clone, Copy, Debug)]
pub struct AdvertFrame<'a> {
    /// Ethernet source.
    pub mac: [u8; 6],
    /// IPv4 source: the primary address of the interface.
    pub source: [u8; 4],
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Priority; 0 resigns.
    pub priority: u8,
    /// Advertisement_Interval in centiseconds.
    pub interval_cs: u16,
    /// Checksum form to send.
    pub form: ChecksumForm,
    /// The virtual addresses, in configured order.
    pub addresses: &'a [[u8; 4]],
}

/// The buffer is too small, or there are no or more than 255 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoesNotFit;

/// Writes the frame into `buffer` and returns its length in bytes.
///
/// # Errors
///
/// [`DoesNotFit`] when the buffer is too small or the address count is not 1 to 255.
pub fn advert(frame: &AdvertFrame<'_>, buffer: &mut [u8]) -> Result<usize, DoesNotFit> {
    let count = u8::try_from(frame.addresses.len()).map_err(|_| DoesNotFit)?;
    if count == 0 {
        return Err(DoesNotFit);
    }
    let message_len = VrrpHeader::LEN + frame.addresses.len() * 4;
    let total = OVERHEAD + message_len;
    let buffer = buffer.get_mut(..total).ok_or(DoesNotFit)?;
    let (ethernet, rest) = buffer.split_at_mut_checked(EthHdr::LEN).ok_or(DoesNotFit)?;
    let (ip, message) = rest.split_at_mut_checked(IPV4_LEN).ok_or(DoesNotFit)?;
    write_ethernet(ethernet, frame.mac);
    write_ipv4(ip, frame.source, IPV4_LEN + message_len)?;
    write_message(message, frame, count)?;
    Ok(total)
}

fn write_ethernet(out: &mut [u8], mac: [u8; 6]) {
    let parts: [&[u8]; 3] = [&vrrp::GROUP_V4_MAC, &mac, &[0x08, 0x00]];
    fill(out, &parts);
}

fn write_ipv4(out: &mut [u8], source: [u8; 4], total: usize) -> Result<(), DoesNotFit> {
    let [high, low] = u16::try_from(total).map_err(|_| DoesNotFit)?.to_be_bytes();
    let parts: [&[u8]; 4] = [
        &[
            0x45,
            DSCP_CS6,
            high,
            low,
            0,
            0,
            0,
            0,
            vrrp::TTL,
            vrrp::IP_PROTOCOL,
        ],
        &[0, 0],
        &source,
        &vrrp::GROUP_V4,
    ];
    fill(out, &parts);
    let sum = checksum::finish(checksum::sum(out)).to_be_bytes();
    patch(out, 10, sum)
}

fn write_message(out: &mut [u8], frame: &AdvertFrame<'_>, count: u8) -> Result<(), DoesNotFit> {
    let header = VrrpHeader {
        version_type: vrrp::VERSION_3_ADVERTISEMENT,
        vrid: frame.vrid,
        priority: frame.priority,
        count,
        interval: (frame.interval_cs & vrrp::MAX_INTERVAL_CS).to_be_bytes(),
        checksum: [0, 0],
    };
    fill(
        out,
        &[bytemuck::bytes_of(&header), frame.addresses.as_flattened()],
    );
    let length = u16::try_from(out.len()).map_err(|_| DoesNotFit)?;
    let pseudo = match frame.form {
        ChecksumForm::MessageOnly => 0,
        ChecksumForm::PseudoHeader => {
            checksum::pseudo_header_v4(frame.source, vrrp::GROUP_V4, length)
        }
    };
    let sum = checksum::finish(u32::from(checksum::fold(checksum::sum(out))) + pseudo);
    patch(out, 6, sum.to_be_bytes())
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

fn patch(out: &mut [u8], offset: usize, value: [u8; 2]) -> Result<(), DoesNotFit> {
    out.get_mut(offset..offset + 2)
        .ok_or(DoesNotFit)?
        .copy_from_slice(&value);
    Ok(())
}
