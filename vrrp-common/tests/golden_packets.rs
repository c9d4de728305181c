//! Golden messages: what we send, byte for byte, and what we make of them on receipt.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use vrrp_common::{
    encode::{self, Message, Way},
    frame::Frame as _,
    slot::Rules,
    validate::{self, Located, Reject},
    vrrp::{self, Advert, ChecksumForm, Source, Version},
};

const OWN: Source = Source::v4([10, 0, 0, 99]);
const RULES: Rules = Rules::multicast(Source::v4(vrrp::GROUP_V4));

struct Golden {
    name: &'static str,
    message: &'static str,
    source: [u8; 4],
    vrid: u8,
    priority: u8,
    interval_cs: u16,
    form: ChecksumForm,
    addresses: &'static [[u8; 4]],
}

const GOLDEN: &[Golden] = &[
    Golden {
        name: "RFC 9568: checksum over the message alone",
        message: "31016401006460980a000001",
        source: [10, 0, 0, 2],
        vrid: 1,
        priority: 100,
        interval_cs: 100,
        form: ChecksumForm::MessageOnly,
        addresses: &[[10, 0, 0, 1]],
    },
    Golden {
        name: "RFC 5798: checksum with the pseudo header",
        message: "31016401006476070a000001",
        source: [10, 0, 0, 2],
        vrid: 1,
        priority: 100,
        interval_cs: 100,
        form: ChecksumForm::PseudoHeader,
        addresses: &[[10, 0, 0, 1]],
    },
    Golden {
        name: "a resignation",
        message: "310700010064c4920a000001",
        source: [10, 0, 0, 2],
        vrid: 7,
        priority: 0,
        interval_cs: 100,
        form: ChecksumForm::MessageOnly,
        addresses: &[[10, 0, 0, 1]],
    },
    Golden {
        name: "the longest interval and two addresses",
        message: "3107c8020fffe1f70a0000010a0000fe",
        source: [10, 0, 0, 2],
        vrid: 7,
        priority: 200,
        interval_cs: 4095,
        form: ChecksumForm::MessageOnly,
        addresses: &[[10, 0, 0, 1], [10, 0, 0, 254]],
    },
];

/// A frame of `VRRPv3` over IPv4.
fn write(
    message: &Message<'_>,
    source: [u8; 4],
    buffer: &mut [u8],
) -> Result<usize, encode::DoesNotFit> {
    let way = Way {
        source: Ipv4Addr::from(source).into(),
        destination: Ipv4Addr::from(vrrp::GROUP_V4).into(),
    };
    message.write_frame([2, 0, 0, 0, 0, 1], &way, buffer)
}

fn ip(addresses: &[[u8; 4]]) -> Vec<IpAddr> {
    let ip = |address: &[u8; 4]| Ipv4Addr::from(*address).into();
    addresses.iter().map(ip).collect()
}

fn sum_of(addresses: &[[u8; 4]]) -> u16 {
    validate::addresses_sum(addresses.iter().map(|address| Source::v4(*address)))
}

fn frame(golden: &Golden) -> Vec<u8> {
    let mut buffer = [0; encode::MAX_FRAME_LEN];
    let message = Message {
        version: Version::V3,
        vrid: golden.vrid,
        priority: golden.priority,
        interval_cs: golden.interval_cs,
        form: golden.form,
        password: None,
        addresses: &ip(golden.addresses),
    };
    let length = write(&message, golden.source, &mut buffer).expect("fits");
    buffer[..length].to_vec()
}

fn judge(frame: &[u8]) -> Result<Advert, Reject> {
    match validate::locate(frame) {
        Located::Found(candidate) => {
            validate::validate(frame, &candidate, &RULES, OWN).map(|valid| valid.advert)
        }
        Located::Unreadable(reason) => Err(reason),
        Located::NotVrrp => panic!("not VRRP at all"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

#[test]
fn sent_messages_match_byte_for_byte() {
    for golden in GOLDEN {
        assert_eq!(hex(&frame(golden)[34..]), golden.message, "{}", golden.name);
    }
}

#[test]
fn sent_headers_are_the_protocols() {
    let frame = frame(&GOLDEN[0]);
    assert_eq!(
        hex(&frame[..14]),
        "01005e000012".to_owned() + "020000000001" + "0800"
    );
    assert_eq!(frame[22], 255, "TTL");
    assert_eq!(frame[23], 112, "protocol");
    assert_eq!(frame[26..34], [10, 0, 0, 2, 224, 0, 0, 18]);
    assert_eq!(
        frame.as_slice().sum(14, 20),
        Some(0xffff),
        "IPv4 header checksum"
    );
}

#[test]
fn what_is_sent_is_accepted_and_understood() {
    for golden in GOLDEN {
        let advert =
            judge(&frame(golden)).unwrap_or_else(|reason| panic!("{}: {reason:?}", golden.name));
        assert_eq!(
            advert,
            Advert {
                vrid: golden.vrid,
                priority: golden.priority,
                count: u8::try_from(golden.addresses.len()).unwrap(),
                interval_cs: golden.interval_cs,
                form: golden.form,
                addresses_sum: sum_of(golden.addresses),
                source: Source::v4(golden.source),
                mac: 0x0200_0000_0001,
            },
            "{}",
            golden.name
        );
    }
}

/// Mends the IPv4 header checksum after a change, so that only the intended rung breaks.
fn mend_ip(frame: &mut [u8]) {
    let header = usize::from(frame[14] & 15) * 4;
    frame[24..26].fill(0);
    let sum = vrrp_common::checksum::finish(vrrp_common::checksum::sum(&frame[14..14 + header]));
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

/// Mends the VRRP checksum (message only).
fn mend_vrrp(frame: &mut [u8]) {
    frame[40..42].fill(0);
    let sum = vrrp_common::checksum::finish(vrrp_common::checksum::sum(&frame[34..]));
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
}

#[expect(clippy::too_many_lines, reason = "a table")]
/// One row per rung: what is done to a good frame, and the reason it then has.
#[test]
fn every_rung_has_its_reason() {
    type Break = fn(&mut Vec<u8>);
    let rows: &[(&str, Break, Reject)] = &[
        (
            "IPv4 version 5",
            |f| {
                f[14] = 0x55;
                mend_ip(f);
            },
            Reject::IpHeader,
        ),
        (
            "IHL 4",
            |f| {
                f[14] = 0x44;
                mend_ip(f);
            },
            Reject::IpHeader,
        ),
        ("IPv4 checksum", |f| f[24] ^= 1, Reject::IpHeader),
        (
            "total length beyond the frame",
            |f| {
                f[17] += 1;
                mend_ip(f);
            },
            Reject::IpHeader,
        ),
        (
            "total length below the header",
            |f| {
                f[17] = 19;
                mend_ip(f);
            },
            Reject::IpHeader,
        ),
        (
            "fragment offset",
            |f| {
                f[21] = 1;
                mend_ip(f);
            },
            Reject::Fragment,
        ),
        (
            "more fragments",
            |f| {
                f[20] = 0x20;
                mend_ip(f);
            },
            Reject::Fragment,
        ),
        (
            "another group",
            |f| {
                f[33] = 5;
                mend_ip(f);
            },
            Reject::Destination,
        ),
        (
            "TTL 254",
            |f| {
                f[22] = 254;
                mend_ip(f);
            },
            Reject::Ttl,
        ),
        (
            "TTL 1",
            |f| {
                f[22] = 1;
                mend_ip(f);
            },
            Reject::Ttl,
        ),
        (
            "1 byte of message",
            |f| {
                f[17] = 21;
                f.truncate(35);
                mend_ip(f);
            },
            Reject::Length,
        ),
        (
            "7 bytes of message",
            |f| {
                f[17] = 27;
                f.truncate(41);
                mend_ip(f);
            },
            Reject::Length,
        ),
        (
            "version 2",
            |f| {
                f[34] = 0x21;
                mend_vrrp(f);
            },
            Reject::Version,
        ),
        (
            "version 15",
            |f| {
                f[34] = 0xf1;
                mend_vrrp(f);
            },
            Reject::Version,
        ),
        (
            "type 2",
            |f| {
                f[34] = 0x32;
                mend_vrrp(f);
            },
            Reject::Type,
        ),
        (
            "count 0",
            |f| {
                f[37] = 0;
                mend_vrrp(f);
            },
            Reject::Count,
        ),
        (
            "count beyond the packet",
            |f| {
                f[37] = 20;
                mend_vrrp(f);
            },
            Reject::Length,
        ),
        (
            "bytes behind the list",
            |f| {
                f[17] += 4;
                f.extend([0; 4]);
                mend_ip(f);
                mend_vrrp(f);
            },
            Reject::Length,
        ),
        (
            "interval 0",
            |f| {
                f[38] = 0xf0;
                f[39] = 0;
                mend_vrrp(f);
            },
            Reject::Interval,
        ),
        ("checksum", |f| f[40] ^= 0x80, Reject::Checksum),
        ("address bit", |f| f[45] ^= 1, Reject::Checksum),
        (
            "sender 0.0.0.0",
            |f| {
                f[26..30].fill(0);
                mend_ip(f);
                mend_vrrp(f);
            },
            Reject::Sender,
        ),
        (
            "sender multicast",
            |f| {
                f[26] = 224;
                mend_ip(f);
                mend_vrrp(f);
            },
            Reject::Sender,
        ),
        (
            "our own address",
            |f| {
                f[29] = 99;
                mend_ip(f);
                mend_vrrp(f);
            },
            Reject::OwnAddress,
        ),
    ];
    let mut covered: Vec<Reject> = Vec::new();
    for (name, break_it, reason) in rows {
        let mut bytes = frame(&GOLDEN[0]);
        break_it(&mut bytes);
        assert_eq!(judge(&bytes), Err(*reason), "{name}");
        covered.push(*reason);
    }
    // These have no meaning for a multicast VRRPv3 router over IPv4; other tests have their rows.
    let elsewhere = [Reject::Authentication, Reject::FirstAddress, Reject::Peer];
    for reason in Reject::ALL {
        let here = covered.contains(&reason);
        assert!(here != elsewhere.contains(&reason), "{reason:?}");
    }
}

/// The rungs hold in their order: of two faults the earlier is the reason.
#[test]
fn the_earlier_rung_is_the_reason() {
    let mut bytes = frame(&GOLDEN[0]);
    bytes[40] ^= 1; // checksum
    bytes[39] = 0; // interval
    assert_eq!(judge(&bytes), Err(Reject::Interval));
    bytes[34] = 0x21; // version
    assert_eq!(judge(&bytes), Err(Reject::Version));
    bytes[22] = 64; // TTL
    mend_ip(&mut bytes);
    assert_eq!(judge(&bytes), Err(Reject::Ttl));
}

#[test]
fn padding_options_and_the_reserved_nibble_do_not_matter() {
    let mut padded = frame(&GOLDEN[0]);
    padded.resize(60, 0xee);
    assert!(judge(&padded).is_ok(), "Ethernet padding");

    let mut with_options = frame(&GOLDEN[0]);
    with_options[14] = 0x46;
    with_options[17] += 4;
    with_options.splice(34..34, [1, 1, 1, 0]);
    mend_ip(&mut with_options);
    assert!(judge(&with_options).is_ok(), "IPv4 options");

    let mut reserved = frame(&GOLDEN[0]);
    reserved[38] = 0xf0;
    mend_vrrp(&mut reserved);
    assert_eq!(judge(&reserved).map(|advert| advert.interval_cs), Ok(100));
}

#[test]
fn a_tagged_frame_is_not_ipv4() {
    let mut tagged = frame(&GOLDEN[0]);
    tagged.splice(12..12, [0x81, 0x00, 0x00, 0x0a]);
    assert!(matches!(
        validate::locate(tagged.as_slice()),
        Located::NotVrrp
    ));
}

#[test]
fn nothing_to_advertise_does_not_fit() {
    let with = |addresses: &[IpAddr], room: usize| {
        let message = Message {
            version: Version::V3,
            vrid: 1,
            priority: 1,
            interval_cs: 1,
            form: ChecksumForm::MessageOnly,
            password: None,
            addresses,
        };
        write(&message, [10, 0, 0, 2], &mut vec![0; room])
    };
    let many = vec![IpAddr::from([10, 0, 0, 1]); 256];
    let room = encode::MAX_FRAME_LEN;
    assert_eq!(with(&[], room), Err(encode::DoesNotFit));
    assert_eq!(with(&many, room), Err(encode::DoesNotFit));
    assert_eq!(with(&many[..255], room), Ok(34 + 8 + 255 * 4));
    assert_eq!(with(&many[..255], 100), Err(encode::DoesNotFit));
    let mixed = [many[0], IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])];
    assert_eq!(
        with(&mixed, room),
        Err(encode::DoesNotFit),
        "one family only (RFC 9568 5.2.9)"
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// No bytes at all make the ladder panic, and what it accepts keeps its own promises.
        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Located::Found(candidate) = validate::locate(bytes.as_slice()) {
                let _ = validate::validate(bytes.as_slice(), &candidate, &RULES, OWN);
                let strict = Rules { version: Version::V2, password: Some(7), strict: true, ..RULES };
                let _ = validate::validate(bytes.as_slice(), &candidate, &strict, OWN);
            }
            if let Some(link) = vrrp_common::link::read(bytes.as_slice(), None) {
                let _ = vrrp_common::arp::read(bytes.as_slice(), &link);
            }
        }

        /// Every single bit that flips in an advert's IPv4 header or message makes it rejected, or
        /// is one the RFC says to ignore.
        #[test]
        fn a_flipped_bit_is_noticed(bit in 14 * 8..46_usize * 8) {
            let mut bytes = frame(&GOLDEN[1]);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let noticed = match validate::locate(bytes.as_slice()) {
                Located::Found(candidate) => {
                    validate::validate(bytes.as_slice(), &candidate, &RULES, OWN).is_err()
                }
                Located::Unreadable(_) | Located::NotVrrp => true,
            };
            prop_assert!(noticed, "bit {bit}");
        }

        /// What any router may send comes back as it was.
        #[test]
        fn adverts_survive_the_wire(
            vrid in 1..=255_u8,
            priority in 0..=255_u8,
            interval_cs in 1..=4095_u16,
            count in 1..=255_usize,
            pseudo in any::<bool>(),
            last in 1..=98_u8,
        ) {
            let addresses: Vec<[u8; 4]> = (0..count).map(|n| [10, 1, 0, u8::try_from(n).unwrap_or(0)]).collect();
            let form = if pseudo { ChecksumForm::PseudoHeader } else { ChecksumForm::MessageOnly };
            let message = Message {
                version: Version::V3, vrid, priority, interval_cs, form, password: None,
                addresses: &ip(&addresses),
            };
            let mut buffer = [0; encode::MAX_FRAME_LEN];
            let length = write(&message, [10, 0, 0, last], &mut buffer).unwrap();
            let advert = judge(&buffer[..length]).unwrap();
            prop_assert_eq!((advert.vrid, advert.priority, advert.interval_cs), (vrid, priority, interval_cs));
            prop_assert_eq!(advert.addresses_sum, sum_of(&addresses));
            prop_assert_eq!(usize::from(advert.count), count);
        }
    }
}
