//! The frames of a virtual router, built ahead of time.

use std::{io, net::IpAddr};

use vrrp_common::{
    arp,
    encode::{self, Message, Way},
    nd,
    vrrp::PRIORITY_RESIGN,
};

use super::{Audience, RouterSpec};
use crate::net::{Belonging, PacketSocket, UnicastSocket};

/// Adverts and announcements of one priority, source and MAC.
#[derive(Default)]
pub(super) struct Frames {
    pub(super) priority: u8,
    advert: Advert,
    resignation: Advert,
    /// Each with the interface that it is for.
    announcements: Vec<(u32, Vec<u8>)>,
}

/// One advert, ready to be sent.
#[derive(Default)]
enum Advert {
    /// The interface has no address to send from.
    #[default]
    Nothing,
    /// A whole frame to the group.
    Frame(Vec<u8>),
    /// A message for each peer: the checksum covers both addresses.
    Messages(Vec<(IpAddr, Vec<u8>)>),
}

impl Frames {
    pub(super) fn build(spec: &RouterSpec, priority: u8) -> Self {
        Self {
            priority,
            advert: Advert::build(spec, priority),
            resignation: Advert::build(spec, PRIORITY_RESIGN),
            announcements: spec.belongings.iter().filter_map(announcement).collect(),
        }
    }

    /// Whether there is anything to send an advert with.
    pub(super) const fn can_advertise(&self) -> bool {
        !matches!(self.advert, Advert::Nothing)
    }

    /// The advert to the group, as one frame.
    pub(super) fn advert_to_group(&self) -> Option<&[u8]> {
        match &self.advert {
            Advert::Frame(frame) => Some(frame),
            Advert::Messages(_) | Advert::Nothing => None,
        }
    }

    /// Sends the advert, or the one that resigns. For unicast it is enough that the kernel took one.
    pub(super) fn send_advert(
        &self,
        resigns: bool,
        ifindex: u32,
        socket: &PacketSocket,
        unicast: Option<&UnicastSocket>,
    ) -> io::Result<()> {
        let advert = if resigns {
            &self.resignation
        } else {
            &self.advert
        };
        match (advert, unicast) {
            (Advert::Frame(frame), _) => {
                let mut failures = socket.send(&[(ifindex, frame)]);
                failures.pop().map_or(Ok(()), |failure| Err(failure.error))
            }
            (Advert::Messages(messages), Some(unicast)) => send_to_all(messages, unicast),
            (Advert::Messages(_), None) => {
                Err(io::Error::other("the address to send from cannot be used"))
            }
            (Advert::Nothing, _) => Ok(()),
        }
    }

    /// One announcement of every address, each with its interface.
    pub(super) fn round(&self) -> Vec<(u32, &[u8])> {
        let round = self.announcements.iter();
        round.map(|(ifindex, frame)| (*ifindex, &**frame)).collect()
    }

    /// Every address once before any address twice: the first announcement is the one that counts.
    pub(super) fn rounds(&self, repeat: u32) -> Vec<(u32, &[u8])> {
        let round = self.round();
        (0..repeat).flat_map(|_| round.iter().copied()).collect()
    }
}

fn send_to_all(messages: &[(IpAddr, Vec<u8>)], unicast: &UnicastSocket) -> io::Result<()> {
    let mut outcome = Ok(());
    let mut taken = false;
    for (peer, message) in messages {
        match unicast.send(*peer, message) {
            Ok(()) => taken = true,
            Err(error) => outcome = Err(error),
        }
    }
    if taken { Ok(()) } else { outcome }
}

impl Advert {
    fn build(spec: &RouterSpec, priority: u8) -> Self {
        let Some(source) = spec.home.source else {
            return Self::Nothing;
        };
        let message = Message {
            version: spec.rules.version,
            vrid: spec.vrid,
            priority,
            interval_cs: spec.rules.interval_cs,
            form: spec.form,
            password: spec.rules.password,
            addresses: &spec.advertised,
        };
        let mut buffer = [0; encode::MAX_FRAME_LEN];
        let built = |length: Result<usize, _>, buffer: &[u8]| {
            length
                .ok()
                .and_then(|length| buffer.get(..length).map(<[u8]>::to_vec))
        };
        match &spec.audience {
            Audience::Group(group) => {
                let way = Way {
                    source,
                    destination: *group,
                };
                let mac = if spec.sends_from_port {
                    spec.home.port
                } else {
                    spec.home.mac
                };
                let length = message.write_frame(mac, &way, &mut buffer);
                built(length, &buffer).map_or(Self::Nothing, Self::Frame)
            }
            Audience::Peers(peers, _) => {
                let message_to = |peer: &IpAddr| {
                    let way = Way {
                        source,
                        destination: *peer,
                    };
                    let mut buffer = [0; encode::MAX_MESSAGE_LEN];
                    Some((*peer, built(message.write(&way, &mut buffer), &buffer)?))
                };
                Self::Messages(peers.iter().filter_map(message_to).collect())
            }
        }
    }
}

fn announcement(belonging: &Belonging) -> Option<(u32, Vec<u8>)> {
    let Belonging::Address {
        ifindex,
        mac,
        entry,
    } = belonging
    else {
        return None;
    };
    let frame = match entry.address {
        IpAddr::V4(address) => arp::announcement(address.octets(), *mac).to_vec(),
        IpAddr::V6(address) => nd::announcement(address.octets(), *mac).to_vec(),
    };
    Some((*ifindex, frame))
}
