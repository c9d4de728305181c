//! What every capture must show: no router advertises while it has heard, within Master_Down, a valid
//! advert that it must obey (RFC 9568 6.4.2, 6.4.3). It reads frames by itself and shares no code with
//! the daemon.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Mutex, PoisonError},
};

use crate::{
    capture::Seen,
    frames::{ones_complement, sums_v6},
    ms,
};

/// How long an advert that beats a router may take to it, and the router's own last one to the
/// capture.
const IN_FLIGHT_NS: u64 = 10_000_000;
/// How much earlier a takeover may look than it is: stamps of two frames are taken on two CPUs.
const EARLY_NS: u64 = 1_000_000;

/// Who the tests themselves speak as: Ethernet and IP source. What a test says obeys nobody.
static SPOKEN: Mutex<BTreeSet<(Vec<u8>, IpAddr)>> = Mutex::new(BTreeSet::new());

/// Notes that a test sends this frame.
pub(crate) fn note(frame: &[u8]) {
    if let Some(advert) = Advert::read(0, frame) {
        let mut spoken = SPOKEN.lock().unwrap_or_else(PoisonError::into_inner);
        spoken.insert((advert.mac, advert.source));
    }
}

/// An advert that every router of its kind accepts.
#[derive(Clone, Debug)]
struct Advert {
    at_ns: u64,
    mac: Vec<u8>,
    source: IpAddr,
    version: u8,
    vrid: u8,
    priority: u8,
    interval_ns: u64,
    /// Authentication Type and data of version 2.
    authentication: Vec<u8>,
}

impl Advert {
    fn read(at_ns: u64, frame: &[u8]) -> Option<Self> {
        let (source, message) = match frame.get(12..14)? {
            [0x08, 0x00] => ipv4(frame)?,
            [0x86, 0xdd] => ipv6(frame)?,
            _ => return None,
        };
        let &[first, vrid, priority, count, kind, low, ..] = message else {
            return None;
        };
        let (version, address) = (first >> 4, if source.is_ipv4() { 4 } else { 16 });
        let addresses = 8 + usize::from(count) * address;
        let (length, interval_ns, authentication) = match version {
            2 => {
                let data = message.get(addresses..addresses + 8)?;
                let authentication = [&[kind], data].concat();
                (
                    addresses + 8,
                    u64::from(low) * 1_000_000_000,
                    authentication,
                )
            }
            3 => {
                let interval = u64::from(u16::from_be_bytes([kind, low]) & 0x0fff);
                (addresses, interval * 10_000_000, Vec::new())
            }
            _ => return None,
        };
        let is_whole = first & 0x0f == 1 && count > 0 && vrid > 0 && message.len() == length;
        (is_whole && interval_ns > 0).then(|| Self {
            at_ns,
            mac: frame[6..12].to_vec(),
            source,
            version,
            vrid,
            priority,
            interval_ns,
            authentication,
        })
    }

    /// Whether a router that sends `own` must obey this one.
    fn binds(&self, own: &Self) -> bool {
        let same_kind = self.version == own.version
            && self.authentication.first() == own.authentication.first()
            && (own.authentication.first() != Some(&1)
                || self.authentication == own.authentication)
            && (self.version == 3 || self.interval_ns == own.interval_ns);
        same_kind && (self.priority, self.source) > (own.priority, own.source)
    }

    /// How long it binds a router of this priority.
    fn master_down_ns(&self, priority: u8) -> u64 {
        let rest = 256 - u64::from(priority);
        let skewed = if self.version == 2 {
            1_000_000_000
        } else {
            self.interval_ns
        };
        3 * self.interval_ns + rest * skewed / 256
    }
}

fn ipv4(frame: &[u8]) -> Option<(IpAddr, &[u8])> {
    let header = frame.get(14..34)?;
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let message = frame.get(34..14 + length)?;
    let address =
        |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let (source, destination) = (address(12), address(16));
    let is_whole = header[9] == 112
        && header[0] == 0x45
        && u16::from_be_bytes([header[6], header[7]]) << 2 == 0;
    let is_near = header[8] == 255 || !destination.is_multicast();
    let mut pseudo = [header[12..20].to_vec(), vec![0, 112]].concat();
    pseudo.extend(u16::try_from(message.len()).ok()?.to_be_bytes());
    let bare = ones_complement(message, 0) == 0xffff;
    let is_v3 = message.first()? >> 4 == 3;
    let pseudo = u32::from(ones_complement(&pseudo, 0));
    let sums = bare || (is_v3 && ones_complement(message, pseudo) == 0xffff);
    (is_whole && is_near && sums).then_some((source.into(), message))
}

fn ipv6(frame: &[u8]) -> Option<(IpAddr, &[u8])> {
    let length = usize::from(u16::from_be_bytes([*frame.get(18)?, *frame.get(19)?]));
    let message = frame.get(54..54 + length)?;
    let source: [u8; 16] = frame.get(22..38)?.try_into().ok()?;
    let source = Ipv6Addr::from(source);
    let is_whole = frame[20] == 112 && frame[21] == 255 && source.is_unicast_link_local();
    (is_whole && sums_v6(frame, 112)).then_some((source.into(), message))
}

/// What is wrong in a capture, in words.
pub(crate) fn judge(seen: &[Seen], excused: &[(u8, IpAddr)]) -> Vec<String> {
    let spoken = SPOKEN
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let mut heard: BTreeMap<(u8, IpAddr), Advert> = BTreeMap::new();
    let mut wrong = Vec::new();
    let adverts = seen.iter();
    for advert in adverts.filter_map(|entry| Advert::read(entry.at_ns, &entry.frame)) {
        let name = (advert.vrid, advert.source);
        if advert.priority == 0 {
            heard.remove(&name);
            continue;
        }
        let is_spoken = spoken.contains(&(advert.mac.clone(), advert.source));
        if !is_spoken && advert.priority < 255 && !excused.contains(&name) {
            let of_others = heard.iter().filter(|((vrid, source), _)| {
                let same_family = source.is_ipv4() == advert.source.is_ipv4();
                *vrid == advert.vrid && *source != advert.source && same_family
            });
            wrong.extend(of_others.filter_map(|(_, other)| disobeys(&advert, other)));
        }
        heard.insert(name, advert);
    }
    wrong
}

fn disobeys(advert: &Advert, other: &Advert) -> Option<String> {
    let silence = advert.at_ns.saturating_sub(other.at_ns);
    let down = other.master_down_ns(advert.priority);
    let too_early = silence > IN_FLIGHT_NS && silence + EARLY_NS < down;
    (other.binds(advert) && too_early).then(|| {
        format!(
            "{} advertises VRID {} with priority {} only {:.2} ms after {} did with {}: Master_Down is {:.2} ms",
            advert.source,
            advert.vrid,
            advert.priority,
            ms(silence),
            other.source,
            other.priority,
            ms(down)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{AdvertSpec, Said, advert_v6};

    const MS: u64 = 1_000_000;
    const MASTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    fn advert(source: Ipv4Addr, priority: u8) -> AdvertSpec {
        let mac = [2, 1, 1, 1, 1, source.octets()[3]];
        let mut spec = AdvertSpec::new(mac, source, 7, priority, Ipv4Addr::new(10, 0, 0, 100));
        spec.interval_cs = 10;
        spec
    }

    fn capture(frames: &[(u64, Vec<u8>)]) -> Vec<Seen> {
        let seen = |(at_ms, frame): &(u64, Vec<u8>)| Seen {
            at_ns: at_ms * MS,
            said: Said::Other,
            frame: frame.clone(),
        };
        frames.iter().map(seen).collect()
    }

    /// What is special about an advert, and how many lines it is good for.
    type Row = (&'static str, fn(&mut AdvertSpec), usize);

    /// The master's advert at 1000 ms, changed, then one of the router with priority 100.
    fn after(at_ms: u64, change: fn(&mut AdvertSpec)) -> usize {
        let mut master = advert(MASTER, 150);
        change(&mut master);
        let frames = [(1000, master.build()), (at_ms, advert(ROUTER, 100).build())];
        judge(&capture(&frames), &[]).len()
    }

    #[test]
    fn a_router_must_keep_silent_for_master_down() {
        // Master_Down is 300 ms and a skew of 156/256 of 100 ms.
        for (at_ms, wrong) in [(1005, 0), (1050, 1), (1359, 1), (1360, 0), (2000, 0)] {
            assert_eq!(after(at_ms, |_| {}), wrong, "at {at_ms} ms");
        }
    }

    #[test]
    fn only_what_binds_counts() {
        let rows: [Row; 9] = [
            ("higher priority", |_| {}, 1),
            ("equal, higher address", |spec| spec.priority = 100, 1),
            ("lower priority", |spec| spec.priority = 99, 0),
            ("a resignation", |spec| spec.priority = 0, 0),
            ("another virtual router", |spec| spec.vrid = 8, 0),
            (
                "another version",
                |spec| {
                    spec.version = 2;
                    spec.version_2 = Some((0, [0; 8]));
                    spec.interval_cs = 100;
                },
                0,
            ),
            ("from afar", |spec| spec.ttl = 254, 0),
            ("broken", |spec| spec.bad_checksum = true, 0),
            ("cut off", |spec| spec.truncate = Some(10), 0),
        ];
        for (description, change, wrong) in rows {
            assert_eq!(after(1100, change), wrong, "{description}");
        }
    }

    #[test]
    fn who_is_excused_or_resigned_is_not_judged() {
        let frames = capture(&[
            (1000, advert(MASTER, 150).build()),
            (1100, advert(ROUTER, 100).build()),
        ]);
        assert_eq!(judge(&frames, &[(7, ROUTER.into())]), Vec::<String>::new());
        let frames = capture(&[
            (1000, advert(MASTER, 150).build()),
            (1050, advert(MASTER, 0).build()),
            (1100, advert(ROUTER, 100).build()),
        ]);
        assert_eq!(judge(&frames, &[]), Vec::<String>::new());
    }

    #[test]
    fn ipv6_is_judged_too() {
        let frame = |last: u16, priority| {
            let source = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
            let mac = [2, 1, 1, 1, 2, u8::try_from(last).expect("small")];
            advert_v6(
                mac,
                source,
                7,
                priority,
                Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100),
            )
        };
        let seen = capture(&[(1000, frame(9, 150)), (2000, frame(5, 100))]);
        assert_eq!(judge(&seen, &[]).len(), 1);
        let seen = capture(&[(1000, frame(9, 150)), (5000, frame(5, 100))]);
        assert_eq!(judge(&seen, &[]), Vec::<String>::new());
    }
}
