//! VRRP and Neighbour Discovery over IPv6: what we send, and what we make of what we receive.

use std::{cell::RefCell, net::Ipv6Addr};

use network_types::ip::Ipv6Hdr;
use vrrp_common::{
    checksum,
    encode::{self, Message, Way},
    frame::{Frame, FrameMut, Wire},
    link,
    nd::{self, Kind},
    slot::{Rules, Transport},
    validate::{self, Located, Reject, Valid},
    vrrp::{self, ChecksumForm, Source, Version},
};

const PEER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
const VIRTUAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);

const fn source(address: Ipv6Addr) -> Source {
    Source::v6(address.octets())
}

const RULES: Rules = Rules::multicast(Source::v6(vrrp::GROUP_V6));

fn advert(from: Ipv6Addr, to: Ipv6Addr, addresses: &[Ipv6Addr]) -> Vec<u8> {
    let addresses: Vec<_> = addresses.iter().copied().map(Into::into).collect();
    let message = Message {
        version: Version::V3,
        vrid: 1,
        priority: 100,
        interval_cs: 100,
        // IPv6 always has the pseudo header (RFC 9568 5.2.8).
        form: ChecksumForm::MessageOnly,
        password: None,
        addresses: &addresses,
    };
    let way = Way {
        source: from.into(),
        destination: to.into(),
    };
    let mut buffer = [0; encode::MAX_FRAME_LEN];
    let length = message
        .write_frame([2, 0, 0, 0, 0, 2], &way, &mut buffer)
        .expect("fits");
    buffer[..length].to_vec()
}

fn judge(frame: &[u8], rules: &Rules) -> Result<Valid, Reject> {
    match validate::locate(frame) {
        Located::Found(candidate) => validate::validate(frame, &candidate, rules, source(OWN)),
        Located::Unreadable(reason) => Err(reason),
        Located::NotVrrp => panic!("not VRRP at all"),
    }
}

/// Mends the checksum of the message (ICMPv6 or VRRP) behind the IPv6 header.
fn mend(frame: &mut [u8], at: usize, protocol: u8) {
    let address = |from: usize| Source::v6(frame[from..from + 16].try_into().expect("16 bytes"));
    let (from, to) = (address(22), address(38));
    frame[at..at + 2].fill(0);
    let length = u32::try_from(frame.len() - 54).expect("short");
    let pseudo = from.sum() + to.sum() + length + u32::from(protocol);
    let sum = u32::from(checksum::fold(checksum::sum(&frame[54..]))) + pseudo;
    frame[at..at + 2].copy_from_slice(&checksum::finish(sum).to_be_bytes());
}

#[test]
fn sent_messages_match_byte_for_byte() {
    let frame = advert(PEER, GROUP, &[VIRTUAL, GLOBAL]);
    let mut golden = vec![0x31, 0x01, 0x64, 0x02, 0x00, 0x64, 0x40, 0x2c];
    golden.extend(VIRTUAL.octets());
    golden.extend(GLOBAL.octets());
    assert_eq!(frame[54..], golden);
    assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 0x12]);
    assert_eq!(frame[12..14], [0x86, 0xdd]);
    assert_eq!(frame[14] >> 4, 6);
    assert_eq!((frame[20], frame[21]), (112, 255), "protocol, Hop Limit");
    assert_eq!(frame[38..54], GROUP.octets());
}

#[test]
fn what_is_sent_is_accepted_and_understood() {
    let valid = judge(&advert(PEER, GROUP, &[VIRTUAL, GLOBAL]), &RULES).expect("good");
    let advert = valid.advert;
    assert_eq!(advert.source, source(PEER));
    assert_eq!((advert.count, advert.interval_cs), (2, 100));
    assert_eq!(advert.form, ChecksumForm::PseudoHeader);
    let own = validate::addresses_sum([source(VIRTUAL), source(GLOBAL)]);
    assert_eq!(advert.addresses_sum, own);
}

#[test]
fn the_longest_list_fits() {
    let many: Vec<Ipv6Addr> = (0..255)
        .map(|last| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 1, last))
        .collect();
    let frame = advert(PEER, GROUP, &many);
    assert_eq!(frame.len(), encode::MAX_FRAME_LEN);
    assert_eq!(
        judge(&frame, &RULES).map(|valid| valid.advert.count),
        Ok(255)
    );
}

/// (description, what is done to a good frame, the reason it then has)
#[test]
fn every_rung_has_its_reason() {
    type Break = fn(&mut Vec<u8>);
    let rows: &[(&str, Break, Reject)] = &[
        ("IPv6 version 5", |f| f[14] = 0x50, Reject::IpHeader),
        ("beyond the frame", |f| f[19] += 1, Reject::IpHeader),
        (
            "another group",
            |f| {
                f[53] = 0x13;
                mend(f, 60, 112);
            },
            Reject::Destination,
        ),
        ("Hop Limit 254", |f| f[21] = 254, Reject::Ttl),
        ("version 2", |f| f[54] = 0x21, Reject::Version),
        ("count 0", |f| f[57] = 0, Reject::Count),
        ("count 3", |f| f[57] = 3, Reject::Length),
        ("interval 0", |f| f[59] = 0, Reject::Interval),
        ("checksum", |f| f[61] ^= 1, Reject::Checksum),
        (
            "checksum of the message alone",
            |f| {
                f[60..62].fill(0);
                let sum = checksum::finish(checksum::sum(&f[54..]));
                f[60..62].copy_from_slice(&sum.to_be_bytes());
            },
            Reject::Checksum,
        ),
        (
            "sender with a global address",
            |f| {
                f[22..38].copy_from_slice(&GLOBAL.octets());
                mend(f, 60, 112);
            },
            Reject::Sender,
        ),
        (
            "our own address",
            |f| {
                f[22..38].copy_from_slice(&OWN.octets());
                mend(f, 60, 112);
            },
            Reject::OwnAddress,
        ),
    ];
    for (name, break_it, reason) in rows {
        let mut bytes = advert(PEER, GROUP, &[VIRTUAL, GLOBAL]);
        break_it(&mut bytes);
        assert_eq!(judge(&bytes, &RULES), Err(*reason), "{name}");
    }
}

#[test]
fn the_first_address_matters_to_the_strict() {
    let global_first = advert(PEER, GROUP, &[GLOBAL, VIRTUAL]);
    assert!(judge(&global_first, &RULES).is_ok());
    let strict = Rules {
        strict: true,
        ..RULES
    };
    assert_eq!(judge(&global_first, &strict), Err(Reject::FirstAddress));
    assert!(judge(&advert(PEER, GROUP, &[VIRTUAL, GLOBAL]), &strict).is_ok());
}

/// `fe80::/10`, and nothing that has only one of its two bytes.
#[test]
fn link_local_is_the_whole_prefix_and_nothing_else() {
    let strict = Rules {
        strict: true,
        ..RULES
    };
    let rows: [(&str, bool); 6] = [
        ("fe80::2", true),
        ("febf:ffff::2", true),
        ("fe7f::2", false),
        ("fec0::2", false),
        ("fd80::2", false),
        ("2081::2", false),
    ];
    for (text, is_link_local) in rows {
        let address: Ipv6Addr = text.parse().expect("an address");
        let verdict = |bytes: &[u8], rules| judge(bytes, rules).map(|_| ());
        let expected = |reason| if is_link_local { Ok(()) } else { Err(reason) };
        assert_eq!(
            verdict(&advert(address, GROUP, &[VIRTUAL]), &RULES),
            expected(Reject::Sender),
            "{text} as the sender"
        );
        assert_eq!(
            verdict(&advert(PEER, GROUP, &[address]), &strict),
            expected(Reject::FirstAddress),
            "{text} as the first address"
        );
    }
}

const UNICAST: Rules = Rules {
    transport: Transport::Unicast {
        checks_peers: false,
    },
    ..RULES
};

#[test]
fn unicast_comes_from_no_address_that_nobody_has() {
    let rows = [
        ("::", Err(Reject::Sender)),
        ("::1", Err(Reject::Sender)),
        ("ff02::5", Err(Reject::Sender)),
        ("2001:db8::1", Ok(())),
        ("fd00::", Ok(())),
        ("fe80::2", Ok(())),
    ];
    for (text, expected) in rows {
        let frame = advert(text.parse().expect("an address"), OWN, &[VIRTUAL]);
        assert_eq!(judge(&frame, &UNICAST).map(|_| ()), expected, "{text}");
    }
}

#[test]
fn unicast_comes_to_us_from_anywhere() {
    let mut frame = advert(GLOBAL, OWN, &[VIRTUAL]);
    frame[21] = 61;
    let valid = judge(&frame, &UNICAST).expect("good");
    assert_eq!(valid.ttl, 61, "for the peer's own limits");
    assert_eq!(judge(&frame, &RULES), Err(Reject::Destination));
    let multicast = advert(PEER, GROUP, &[VIRTUAL]);
    assert_eq!(judge(&multicast, &UNICAST), Err(Reject::Destination));
}

/// A frame that can be rewritten and resized.
struct Buffer(RefCell<Vec<u8>>);

impl Frame for Buffer {
    fn load<T: Wire>(&self, offset: usize) -> Option<T> {
        self.0.borrow().as_slice().load(offset)
    }

    fn length(&self) -> usize {
        self.0.borrow().len()
    }

    fn sum(&self, offset: usize, len: usize) -> Option<u16> {
        self.0.borrow().as_slice().sum(offset, len)
    }
}

impl FrameMut for Buffer {
    fn store<T: Wire>(&self, offset: usize, value: T) -> bool {
        let mut bytes = self.0.borrow_mut();
        let Some(place) = bytes.get_mut(offset..offset + size_of::<T>()) else {
            return false;
        };
        // SAFETY: the place is as long as the value.
        unsafe { place.as_mut_ptr().cast::<T>().write_unaligned(value) };
        true
    }

    fn resize(&self, length: usize) -> bool {
        self.0.borrow_mut().resize(length, 0);
        true
    }
}

const ASKER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const MAC: [u8; 6] = [0, 0, 0x5e, 0, 2, 1];

/// "Who has the global virtual address?"
fn solicitation(from: Ipv6Addr, option: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x33, 0x33, 0xff, 0, 0, 1];
    frame.extend(ASKER_MAC);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0]);
    frame.push(u8::try_from(24 + option.len()).expect("short"));
    frame.extend([58, 255]);
    frame.extend(from.octets());
    frame.extend(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1).octets());
    frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    frame.extend(GLOBAL.octets());
    frame.extend(option);
    mend(&mut frame, 56, 58);
    frame
}

fn read(frame: &[u8]) -> Option<nd::Nd> {
    let link = link::read(frame, None)?;
    let ip = frame.load::<Ipv6Hdr>(link.payload)?;
    nd::read(frame, &link, &ip)
}

#[test]
fn a_solicitation_is_answered_to_its_sender() {
    let link_layer = [1, 1, 2, 0, 0, 0, 0, 7];
    let with_nonce = [1, 1, 2, 0, 0, 0, 0, 7, 14, 1, 1, 2, 3, 4, 5, 6];
    for option in [&[][..], &link_layer, &with_nonce] {
        let buffer = Buffer(RefCell::new(solicitation(PEER, option)));
        let asked = read(&buffer.0.borrow()).expect("a solicitation");
        assert_eq!(asked.kind, Kind::Solicitation { valid: true });
        assert_eq!((asked.target, asked.sender), (source(GLOBAL), source(PEER)));
        let link = link::read(&buffer, None).expect("a link");
        assert!(nd::write_answer(&buffer, &link, &asked, MAC));
        let answer = buffer.0.into_inner();
        assert_eq!(answer.len(), 86, "with one option");
        assert_eq!((&answer[..6], &answer[6..12]), (&ASKER_MAC[..], &MAC[..]));
        assert_eq!(answer[22..38], GLOBAL.octets());
        assert_eq!(answer[38..54], PEER.octets());
        assert_eq!((answer[54], answer[58]), (136, 0xe0), "R, S and O");
        assert_eq!(answer[62..78], GLOBAL.octets());
        assert_eq!(answer[78..86], [2, 1, 0, 0, 0x5e, 0, 2, 1]);
        let mut mended = answer.clone();
        mend(&mut mended, 56, 58);
        assert_eq!(mended, answer, "the checksum");
    }
}

#[test]
fn a_probe_for_duplicates_is_answered_to_everybody() {
    let buffer = Buffer(RefCell::new(solicitation(Ipv6Addr::UNSPECIFIED, &[])));
    let asked = read(&buffer.0.borrow()).expect("a solicitation");
    let link = link::read(&buffer, None).expect("a link");
    assert!(nd::write_answer(&buffer, &link, &asked, MAC));
    let answer = buffer.0.into_inner();
    assert_eq!(answer[..6], nd::ALL_NODES_MAC);
    assert_eq!(answer[38..54], nd::ALL_NODES);
    assert_eq!(answer[58], 0xa0, "R and O: nobody was answered");
}

#[test]
fn an_announcement_is_for_everybody() {
    let frame = nd::announcement(GLOBAL.octets(), MAC);
    assert_eq!(
        (&frame[..6], &frame[6..12]),
        (&nd::ALL_NODES_MAC[..], &MAC[..])
    );
    assert_eq!((frame[54], frame[58]), (136, 0xa0), "R and O, not S");
    assert_eq!(frame[78..86], [2, 1, 0, 0, 0x5e, 0, 2, 1]);
    let mut mended = frame.to_vec();
    mend(&mut mended, 56, 58);
    assert_eq!(mended, frame);
    assert_eq!(
        read(&frame).map(|nd| (nd.kind, nd.target)),
        Some((Kind::Advertisement, source(GLOBAL)))
    );
}

#[test]
fn a_solicitation_that_no_host_would_take_is_not_valid() {
    type Break = fn(&mut Vec<u8>);
    let rows: &[(&str, Break)] = &[
        ("Hop Limit 254", |f| f[21] = 254),
        ("code 1", |f| {
            f[55] = 1;
            mend(f, 56, 58);
        }),
        ("checksum", |f| f[57] ^= 1),
        ("half an option", |f| {
            f.extend([1, 1, 2, 0]);
            f[19] += 4;
            mend(f, 56, 58);
        }),
        ("beyond the frame", |f| f[19] += 8),
    ];
    for (name, break_it) in rows {
        let mut frame = solicitation(PEER, &[]);
        break_it(&mut frame);
        let kind = read(&frame).map(|nd| nd.kind);
        assert_eq!(kind, Some(Kind::Solicitation { valid: false }), "{name}");
    }
    let mut other = solicitation(PEER, &[]);
    other[54] = 134;
    assert_eq!(read(&other), None, "a router advertisement");
}
