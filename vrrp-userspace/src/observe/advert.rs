//! An advert as it is on the wire, and what a router would make of it.

use std::{fmt, net::IpAddr};

use serde::{Serialize, Serializer};
use vrrp_common::{
    contract::Family,
    slot::{Rules, Transport},
    validate::{self, Candidate, Located, Reject},
    vrrp::{AUTHENTICATION_LEN, ChecksumForm, SIMPLE_PASSWORD, Source, Version, VrrpHeader},
};

use crate::net::Sniffed;

/// A VRRP message, whatever is wrong with it.
#[derive(Clone, Debug, Serialize)]
pub struct Advert {
    /// When it came, in nanoseconds since 1970.
    pub at_ns: u64,
    /// 0 = none.
    pub vlan: u16,
    /// Ethernet source.
    pub mac: String,
    /// This machine has sent it.
    pub is_outgoing: bool,
    /// Sender.
    pub source: IpAddr,
    /// A group, or a unicast peer.
    pub destination: IpAddr,
    /// TTL or Hop Limit.
    pub ttl: u8,
    /// 2 or 3, or whatever else it says.
    pub version: u8,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// 0 resigns.
    pub priority: u8,
    /// Advertisement_Interval in centiseconds.
    pub interval_cs: u16,
    /// Virtual addresses, as many as are there.
    pub addresses: Vec<IpAddr>,
    /// `VRRPv2`: Authentication Type.
    pub authentication: Option<u8>,
    /// What a router without further rules would make of it.
    pub judgement: Judgement,
}

/// What a router makes of an advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It counts, with a checksum over the message alone.
    MessageOnly,
    /// It counts, with a checksum over the pseudo header too.
    PseudoHeader,
    /// It is rejected.
    Rejected(Reject),
}

impl Judgement {
    /// For programs: the form of the checksum, or why it is rejected.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MessageOnly => "message_only",
            Self::PseudoHeader => "pseudo_header",
            Self::Rejected(reason) => reason.name(),
        }
    }
}

impl Serialize for Judgement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Advert {
    /// Reads a frame; `None` where it is not VRRP, or too short to tell whose.
    #[must_use]
    pub fn read(sniffed: &Sniffed) -> Option<Self> {
        let frame = sniffed.frame.as_slice();
        let Located::Found(candidate) = validate::locate(frame) else {
            return None;
        };
        let header: VrrpHeader = candidate.header(frame)?;
        let family = candidate.family;
        let source = address(family, candidate.sender(frame));
        let (destination, ttl) = candidate.way(frame)?;
        let destination = address(family, destination);
        let mac: [u8; 6] = frame.get(6..12)?.try_into().ok()?;
        let version = header.version();
        Some(Self {
            at_ns: sniffed.at_ns,
            vlan: sniffed.vlan(),
            mac: mac.map(|byte| format!("{byte:02x}")).join(":"),
            is_outgoing: sniffed.is_outgoing,
            source,
            destination,
            ttl,
            version,
            vrid: header.vrid,
            priority: header.priority,
            interval_cs: if version == 2 {
                u16::from(header.interval_s()) * 100
            } else {
                header.interval_cs()
            },
            addresses: addresses(frame, &candidate, header.count),
            authentication: (version == 2).then(|| header.authentication_type()),
            judgement: judge(frame, &candidate, header, destination),
        })
    }

    /// Whether a router would count it.
    #[must_use]
    pub const fn counts(&self) -> bool {
        !matches!(self.judgement, Judgement::Rejected(_))
    }
}

fn address(family: Family, source: Source) -> IpAddr {
    match family {
        Family::V4 => source.as_v4().into(),
        Family::V6 => source.as_v6().into(),
    }
}

fn addresses(frame: &[u8], candidate: &Candidate, count: u8) -> Vec<IpAddr> {
    let message = candidate.message(frame).unwrap_or_default();
    let list = message.get(VrrpHeader::LEN..).unwrap_or_default();
    let count = usize::from(count);
    match candidate.family {
        Family::V4 => {
            let (words, _) = list.as_chunks::<4>();
            words.iter().take(count).map(|it| (*it).into()).collect()
        }
        Family::V6 => {
            let (words, _) = list.as_chunks::<16>();
            words.iter().take(count).map(|it| (*it).into()).collect()
        }
    }
}

fn judge(
    frame: &[u8],
    candidate: &Candidate,
    header: VrrpHeader,
    destination: IpAddr,
) -> Judgement {
    let version = match header.version() {
        2 => Version::V2,
        3 => Version::V3,
        _ => return Judgement::Rejected(Reject::Version),
    };
    let group = Source::of(destination);
    let mut rules = Rules::multicast(group);
    rules.version = version;
    let mut own = Source::default();
    if !destination.is_multicast() {
        rules.transport = Transport::Unicast {
            checks_peers: false,
        };
        own = group;
    }
    if version == Version::V2 {
        // Whatever it is: who else has it is another question.
        rules.interval_cs = u16::from(header.interval_s()) * 100;
        if header.authentication_type() == SIMPLE_PASSWORD {
            rules.password = password(frame, candidate);
        }
    }
    match validate::validate(frame, candidate, &rules, own) {
        Ok(valid) => match valid.advert.form {
            ChecksumForm::MessageOnly => Judgement::MessageOnly,
            ChecksumForm::PseudoHeader => Judgement::PseudoHeader,
        },
        Err(reject) => Judgement::Rejected(reject),
    }
}

/// The last eight bytes of a `VRRPv2` message.
fn password(frame: &[u8], candidate: &Candidate) -> Option<u64> {
    let message = candidate.message(frame)?;
    let data = message.last_chunk::<AUTHENTICATION_LEN>()?;
    Some(u64::from_be_bytes(*data))
}

/// As `xvrrp tap` shows it, without the time.
impl fmt::Display for Advert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.vlan != 0 {
            write!(f, "vlan {} ", self.vlan)?;
        }
        write!(
            f,
            "{} > {} VRRPv{} VRID {} ",
            self.source, self.destination, self.version, self.vrid
        )?;
        match self.priority {
            0 => write!(f, "RESIGNS")?,
            255 => write!(f, "prio 255 (owner)")?,
            priority => write!(f, "prio {priority}")?,
        }
        write!(f, ", every {} s", f64::from(self.interval_cs) / 100.0)?;
        match self.addresses.as_slice() {
            [first, _, _, _, ..] => write!(f, ", {first} and {} more", self.addresses.len() - 1)?,
            few => {
                for address in few {
                    write!(f, ", {address}")?;
                }
            }
        }
        if let Some(kind @ 1..) = self.authentication {
            write!(f, ", authentication type {kind}")?;
        }
        match self.judgement {
            Judgement::MessageOnly => write!(f, " [ok]"),
            Judgement::PseudoHeader => write!(f, " [ok, pseudo header]"),
            Judgement::Rejected(Reject::Ttl) => write!(f, " [REJECTED: ttl {}]", self.ttl),
            Judgement::Rejected(reason) => write!(f, " [REJECTED: {}]", reason.name()),
        }
    }
}
