//! VRRPv2 (RFC 3768) and its password (RFC 2338): what we send, and what we make of what we receive.

use std::net::Ipv4Addr;

use vrrp_common::{
    checksum,
    encode::{self, Message, Way},
    slot::Rules,
    validate::{self, Located, Reject, Valid},
    vrrp::{self, ChecksumForm, Source, Version},
};

const OWN: Source = Source::v4([10, 0, 0, 99]);
/// "secret", padded.
const PASSWORD: u64 = u64::from_be_bytes(*b"secret\0\0");

fn rules(password: Option<u64>) -> Rules {
    Rules {
        version: Version::V2,
        interval_cs: 100,
        password,
        ..Rules::multicast(Source::v4(vrrp::GROUP_V4))
    }
}

fn frame(password: Option<u64>, interval_cs: u16) -> Vec<u8> {
    let message = Message {
        version: Version::V2,
        vrid: 1,
        priority: 100,
        interval_cs,
        // Has no meaning in version 2: its checksum never has a pseudo header.
        form: ChecksumForm::PseudoHeader,
        password,
        addresses: &[Ipv4Addr::new(10, 0, 0, 1).into()],
    };
    let way = Way {
        source: Ipv4Addr::new(10, 0, 0, 2).into(),
        destination: Ipv4Addr::from(vrrp::GROUP_V4).into(),
    };
    let mut buffer = [0; encode::MAX_FRAME_LEN];
    let length = message
        .write_frame([2, 0, 0, 0, 0, 1], &way, &mut buffer)
        .expect("fits");
    buffer[..length].to_vec()
}

fn judge(frame: &[u8], rules: &Rules) -> Result<Valid, Reject> {
    match validate::locate(frame) {
        Located::Found(candidate) => validate::validate(frame, &candidate, rules, OWN),
        Located::Unreadable(reason) => Err(reason),
        Located::NotVrrp => panic!("not VRRP at all"),
    }
}

fn mend(frame: &mut [u8]) {
    frame[40..42].fill(0);
    let sum = checksum::finish(checksum::sum(&frame[34..]));
    frame[40..42].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn sent_messages_match_byte_for_byte() {
    let golden = [
        0x21, 0x01, 0x64, 0x01, 0x00, 0x01, 0x70, 0xfb, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    assert_eq!(frame(None, 100)[34..], golden);
    let with_password = frame(Some(PASSWORD), 100);
    assert_eq!(with_password[38], 1, "simple password");
    assert_eq!(&with_password[46..], b"secret\0\0");
    assert_eq!(frame(None, 25500)[39], 255, "whole seconds");
}

#[test]
fn what_is_sent_is_accepted_and_understood() {
    for password in [None, Some(PASSWORD)] {
        let valid = judge(&frame(password, 100), &rules(password)).expect("good");
        let advert = valid.advert;
        assert_eq!((advert.priority, advert.interval_cs), (100, 100));
        assert_eq!((valid.ttl, advert.form), (255, ChecksumForm::MessageOnly));
        let own = validate::addresses_sum([Source::v4([10, 0, 0, 1])]);
        assert_eq!(advert.addresses_sum, own, "the password is no address");
    }
}

/// (description, what is done to a good frame, the reason it then has)
#[test]
fn every_rung_has_its_reason() {
    type Break = fn(&mut Vec<u8>);
    let rows: &[(&str, Break, Reject)] = &[
        ("version 3", |f| f[34] = 0x31, Reject::Version),
        ("type 2", |f| f[34] = 0x22, Reject::Type),
        ("count 0", |f| f[37] = 0, Reject::Count),
        ("count 2", |f| f[37] = 2, Reject::Length),
        ("interval 0", |f| f[39] = 0, Reject::Interval),
        ("another interval", |f| f[39] = 2, Reject::Interval),
        (
            "type 0 of authentication",
            |f| f[38] = 0,
            Reject::Authentication,
        ),
        (
            "IP Authentication Header",
            |f| f[38] = 2,
            Reject::Authentication,
        ),
        (
            "unknown authentication",
            |f| f[38] = 9,
            Reject::Authentication,
        ),
        ("another password", |f| f[46] = b'S', Reject::Authentication),
        (
            "a longer password",
            |f| f[53] = b'x',
            Reject::Authentication,
        ),
    ];
    for (name, break_it, reason) in rows {
        let mut bytes = frame(Some(PASSWORD), 100);
        break_it(&mut bytes);
        mend(&mut bytes);
        let verdict = judge(&bytes, &rules(Some(PASSWORD)));
        assert_eq!(verdict, Err(*reason), "{name}");
    }
    let mut bytes = frame(None, 100);
    bytes[41] ^= 1;
    assert_eq!(judge(&bytes, &rules(None)), Err(Reject::Checksum));
}

#[test]
fn a_checksum_with_a_pseudo_header_is_not_version_2() {
    let mut bytes = frame(None, 100);
    let pseudo = checksum::pseudo_header(Source::v4([10, 0, 0, 2]), Source::v4(vrrp::GROUP_V4), 20);
    bytes[40..42].fill(0);
    let sum = checksum::finish(u32::from(checksum::fold(checksum::sum(&bytes[34..]))) + pseudo);
    bytes[40..42].copy_from_slice(&sum.to_be_bytes());
    assert_eq!(judge(&bytes, &rules(None)), Err(Reject::Checksum));
}

#[test]
fn without_a_password_the_data_is_ignored_and_its_type_is_not() {
    let mut bytes = frame(None, 100);
    bytes[50] = 77;
    mend(&mut bytes);
    let advert = judge(&bytes, &rules(None)).expect("RFC 3768 5.3.10");
    let without_data = judge(&frame(None, 100), &rules(None)).expect("an advert");
    let sums = [advert, without_data].map(|valid| valid.advert.addresses_sum);
    assert_eq!(sums[0], sums[1]);
    let with_password = frame(Some(PASSWORD), 100);
    assert_eq!(
        judge(&with_password, &rules(None)),
        Err(Reject::Authentication)
    );
}

#[test]
fn a_carp_message_falls_out() {
    // Protocol 112, the same group and first byte, and another layout: 36 bytes, authentication
    // length 7 where the count is.
    let mut bytes = frame(None, 100);
    bytes.resize(34 + 36, 0x5a);
    bytes[17] = 20 + 36;
    bytes[34..42].copy_from_slice(&[0x21, 1, 0, 7, 0, 1, 0, 0]);
    bytes[24..26].fill(0);
    let header = checksum::finish(checksum::sum(&bytes[14..34]));
    bytes[24..26].copy_from_slice(&header.to_be_bytes());
    mend(&mut bytes);
    assert_eq!(judge(&bytes, &rules(None)), Err(Reject::Length));
    let version_3 = Rules::multicast(Source::v4(vrrp::GROUP_V4));
    assert_eq!(judge(&bytes, &version_3), Err(Reject::Version));
}
