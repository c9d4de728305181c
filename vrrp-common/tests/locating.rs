//! Finding the message in a frame, to the byte, and what operators are told of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use vrrp_common::{
    checksum,
    encode::{self, Message, Way},
    slot::Rules,
    validate::{self, Located, Reject},
    vrrp::{self, Advert, ChecksumForm, Source, Version},
};

const OWN: Source = Source::v4([10, 0, 0, 99]);
const IPV4_START: usize = 14;
const MESSAGE_START: usize = 34;

/// A good frame, padded as Ethernet pads what is short.
fn frame(form: ChecksumForm, addresses: &[[u8; 4]]) -> Vec<u8> {
    let addresses: Vec<_> = addresses
        .iter()
        .map(|address| Ipv4Addr::from(*address).into())
        .collect();
    let message = Message {
        version: Version::V3,
        vrid: 7,
        priority: 100,
        interval_cs: 100,
        form,
        password: None,
        addresses: &addresses,
    };
    let way = Way {
        source: Ipv4Addr::new(10, 0, 0, 2).into(),
        destination: Ipv4Addr::from(vrrp::GROUP_V4).into(),
    };
    let mut buffer = [0; encode::MAX_FRAME_LEN];
    let length = message
        .write_frame([2, 0, 0, 0, 0, 1], &way, &mut buffer)
        .expect("fits");
    let mut frame = buffer[..length].to_vec();
    frame.resize(length.max(60), 0xee);
    frame
}

fn plain() -> Vec<u8> {
    frame(ChecksumForm::MessageOnly, &[[10, 0, 0, 1]])
}

/// A good frame over IPv6.
fn ipv6() -> Vec<u8> {
    let message = Message {
        version: Version::V3,
        vrid: 7,
        priority: 100,
        interval_cs: 100,
        form: ChecksumForm::PseudoHeader,
        password: None,
        addresses: &["fe80::1".parse().expect("an address")],
    };
    let way = Way {
        source: "fe80::2".parse().expect("an address"),
        destination: "ff02::12".parse().expect("an address"),
    };
    let mut buffer = [0; encode::MAX_FRAME_LEN];
    let length = message
        .write_frame([2, 0, 0, 0, 0, 1], &way, &mut buffer)
        .expect("fits");
    buffer[..length].to_vec()
}

/// A frame whose IP header says that so many bytes of message follow, whatever follows.
fn shortened(message_len: u8) -> Vec<u8> {
    let mut frame = plain();
    frame[IPV4_START + 3] = 20 + message_len;
    let header = IPV4_START..MESSAGE_START;
    frame[IPV4_START + 10..IPV4_START + 12].fill(0);
    let sum = checksum::finish(checksum::sum(&frame[header]));
    frame[IPV4_START + 10..IPV4_START + 12].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn judge(frame: &[u8]) -> Result<Advert, Reject> {
    let rules = Rules::multicast(Source::v4(vrrp::GROUP_V4));
    match validate::locate(frame) {
        Located::Found(candidate) => {
            validate::validate(frame, &candidate, &rules, OWN).map(|valid| valid.advert)
        }
        Located::Unreadable(reason) => Err(reason),
        Located::NotVrrp => panic!("not VRRP at all"),
    }
}

/// What listens for the routers of a LAN reads the message itself.
#[test]
fn the_message_is_what_the_ip_header_says_without_the_padding() {
    let frame = plain();
    let Located::Found(candidate) = validate::locate(frame.as_slice()) else {
        panic!("not found");
    };
    let message = [0x31, 7, 100, 1, 0, 100, 0x60, 0x92, 10, 0, 0, 1];
    assert_eq!(candidate.message(&frame), Some(&message[..]));
    assert_eq!(
        candidate.message(&frame[..MESSAGE_START + 11]),
        None,
        "another, shorter frame"
    );
}

/// Padding is no message: a VRID is read only where the IP header says that there is one.
#[test]
fn a_vrid_in_the_padding_is_nobody_s() {
    for message_len in 0..=2 {
        let vrid = match validate::locate(shortened(message_len).as_slice()) {
            Located::Found(candidate) => Ok(candidate.vrid),
            Located::Unreadable(reason) => Err(reason),
            Located::NotVrrp => panic!("not VRRP at all"),
        };
        let expected = if message_len < 2 {
            Err(Reject::Length)
        } else {
            Ok(7)
        };
        assert_eq!(vrid, expected, "{message_len} bytes of message");
    }
}

/// Seven bytes are too few to be judged by what would follow them, eight are enough.
#[test]
fn a_header_in_the_padding_is_not_judged() {
    for (message_len, reason) in [(7, Reject::Length), (8, Reject::Version)] {
        let mut frame = shortened(message_len);
        frame[MESSAGE_START] = 0xf1;
        assert_eq!(judge(&frame), Err(reason), "{message_len} bytes of message");
    }
}

/// The same bytes behind another `EtherType` are something else.
#[test]
fn only_ip_carries_vrrp() {
    let ipv6 = ipv6();
    for mut frame in [plain(), ipv6] {
        assert!(matches!(
            validate::locate(frame.as_slice()),
            Located::Found(_)
        ));
        for other in [0x0806_u16, 0x88b5, 0x88cc] {
            frame[12..14].copy_from_slice(&other.to_be_bytes());
            assert!(
                matches!(validate::locate(frame.as_slice()), Located::NotVrrp),
                "{other:04x}"
            );
        }
    }
}

/// The sum tells lists apart, and knows one zero although ones' complement has two.
#[test]
fn the_sum_of_a_list_is_the_same_in_the_file_and_on_the_wire() {
    let rows: [(&[[u8; 4]], u16); 5] = [
        (&[[10, 0, 0, 1]], 0x0a01),
        (&[[10, 0, 0, 1], [10, 0, 0, 2]], 0x1403),
        (&[[10, 0, 0, 2], [10, 0, 0, 1]], 0x1403),
        (&[[10, 0, 245, 255]], 0),
        (&[[0, 0, 0, 0]], 0),
    ];
    for (addresses, sum) in rows {
        let configured = addresses.iter().map(|address| Source::v4(*address));
        assert_eq!(validate::addresses_sum(configured), sum, "{addresses:?}");
        for form in [ChecksumForm::MessageOnly, ChecksumForm::PseudoHeader] {
            let advert = judge(&frame(form, addresses)).expect("good");
            assert_eq!(advert.addresses_sum, sum, "{addresses:?}, {form:?}");
        }
    }
}

/// `status` and the metrics show a reason under the name it has in the code, in snake case.
#[test]
fn every_reason_is_shown_by_its_name() {
    for reason in Reject::ALL {
        let mut name = String::new();
        for letter in format!("{reason:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_lowercase());
        }
        assert_eq!(reason.name(), name);
    }
}

/// Who sent a rejected advert is told to the operator, in either family.
#[test]
fn the_sender_is_read_before_anything_is_judged() {
    let sender = |frame: &[u8]| match validate::locate(frame) {
        Located::Found(candidate) => Some(candidate.sender(frame)),
        Located::NotVrrp | Located::Unreadable(_) => None,
    };
    let mut broken = plain();
    broken[MESSAGE_START + 6] ^= 1;
    assert_eq!(sender(&broken), Some(Source::v4([10, 0, 0, 2])));
    let source: Ipv6Addr = "fe80::2".parse().expect("an address");
    assert_eq!(sender(&ipv6()), Some(Source::v6(source.octets())));
}
