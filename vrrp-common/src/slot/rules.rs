//! What a virtual router accepts, as user space tells the kernel.

use super::{Slot, Word};
use crate::{
    timers,
    vrrp::{Source, Version},
};

/// How adverts travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// To a group that every router of the LAN is a member of.
    Multicast(Source),
    /// To each peer's own address (`unicast_peer`).
    Unicast {
        /// Only configured peers count (`check_unicast_src`, `min_ttl`, `max_ttl`).
        checks_peers: bool,
    },
}

/// What the lease means for a MASTER that nobody vouches for any longer: its process hangs, is stopped
/// or has crashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaseMode {
    /// The kernel stops answering when the lease is over.
    #[default]
    Strict,
    /// It does so only where another router was ever heard.
    Peer,
    /// It goes on until it is told to stop, or an advert beats it.
    Off,
}

/// What a virtual router accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// `version`.
    pub version: Version,
    /// How adverts travel.
    pub transport: Transport,
    /// Advertisement_Interval in centiseconds; in `VRRPv2` every router has the same.
    pub interval_cs: u16,
    /// `auth_pass` of `VRRPv2`, padded with zeros, as a big-endian number.
    pub password: Option<u64>,
    /// `strict_mode`: what RFC 9568 demands of IPv6 adverts and keepalived does not do by itself.
    pub strict: bool,
    /// Accept_Mode: whether packets to the virtual addresses are for this machine.
    pub accept: bool,
    /// Only adverts from listed routers count, multicast ones too (`accept_from`).
    pub listed_only: bool,
    /// What the lease means (`lease`).
    pub lease: LeaseMode,
}

impl Rules {
    /// `VRRPv3` on a multicast group.
    #[must_use]
    pub const fn multicast(group: Source) -> Self {
        Self {
            version: Version::V3,
            transport: Transport::Multicast(group),
            interval_cs: 100,
            password: None,
            strict: false,
            accept: true,
            listed_only: false,
            lease: LeaseMode::Strict,
        }
    }
}

/// [`Rules`] in words.
///
/// ```text
///   0 packed: interval in bits 16-31, flags in 0-15  8 password   16 group high   24 group low
/// ```
#[repr(C)]
pub(super) struct RuleWords {
    packed: Word,
    password: Word,
    group_high: Word,
    group_low: Word,
}

const VERSION_2: u64 = 1;
const UNICAST: u64 = 1 << 1;
const CHECKS_PEERS: u64 = 1 << 2;
const HAS_PASSWORD: u64 = 1 << 3;
const STRICT: u64 = 1 << 4;
const REFUSES_PACKETS: u64 = 1 << 5;
const LISTED_ONLY: u64 = 1 << 6;
const LEASE_PEER: u64 = 1 << 7;
const LEASE_OFF: u64 = 1 << 8;

impl RuleWords {
    pub(super) const fn new() -> Self {
        Self {
            packed: Word::new(0),
            password: Word::new(0),
            group_high: Word::new(0),
            group_low: Word::new(0),
        }
    }

    fn store(&self, rules: &Rules) {
        let flag = |holds: bool, bit: u64| if holds { bit } else { 0 };
        let (way, group) = match rules.transport {
            Transport::Multicast(group) => (0, group),
            Transport::Unicast { checks_peers } => (
                UNICAST | flag(checks_peers, CHECKS_PEERS),
                Source::default(),
            ),
        };
        self.password.store(rules.password.unwrap_or_default());
        self.group_high.store(group.high);
        self.group_low.store(group.low);
        self.packed.store(
            way | flag(matches!(rules.version, Version::V2), VERSION_2)
                | flag(rules.password.is_some(), HAS_PASSWORD)
                | flag(rules.strict, STRICT)
                | flag(!rules.accept, REFUSES_PACKETS)
                | flag(rules.listed_only, LISTED_ONLY)
                | flag(rules.lease == LeaseMode::Peer, LEASE_PEER)
                | flag(rules.lease == LeaseMode::Off, LEASE_OFF)
                | u64::from(rules.interval_cs) << 16,
        );
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "unpacking fields of a word"
    )]
    fn load(&self) -> Rules {
        let packed = self.packed.load();
        let has = |bit| packed & bit != 0;
        let transport = if has(UNICAST) {
            Transport::Unicast {
                checks_peers: has(CHECKS_PEERS),
            }
        } else {
            Transport::Multicast(Source {
                high: self.group_high.load(),
                low: self.group_low.load(),
            })
        };
        Rules {
            version: if has(VERSION_2) {
                Version::V2
            } else {
                Version::V3
            },
            transport,
            interval_cs: (packed >> 16) as u16,
            password: has(HAS_PASSWORD).then(|| self.password.load()),
            strict: has(STRICT),
            accept: !has(REFUSES_PACKETS),
            listed_only: has(LISTED_ONLY),
            lease: lease_mode(packed),
        }
    }
}

#[inline(always)]
const fn lease_mode(packed: u64) -> LeaseMode {
    if packed & LEASE_OFF != 0 {
        LeaseMode::Off
    } else if packed & LEASE_PEER != 0 {
        LeaseMode::Peer
    } else {
        LeaseMode::Strict
    }
}

impl Slot {
    /// Tells the kernel what this virtual router accepts. Only while nothing is routed to the slot,
    /// or where the change may be seen half done for one advert.
    pub fn publish_rules(&self, rules: &Rules) {
        self.user.rules.store(rules);
    }

    /// What this virtual router accepts.
    #[inline(always)]
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.user.rules.load()
    }

    /// What the lease means.
    #[inline(always)]
    #[must_use]
    pub fn lease_mode(&self) -> LeaseMode {
        lease_mode(self.user.rules.packed.load())
    }

    /// Advertisement_Interval in nanoseconds.
    #[inline(always)]
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "unpacking a field of a word"
    )]
    pub fn interval_ns(&self) -> u64 {
        timers::interval_ns((self.user.rules.packed.load() >> 16) as u16)
    }

    /// Accept_Mode.
    #[inline(always)]
    #[must_use]
    pub fn accepts_packets(&self) -> bool {
        self.user.rules.packed.load() & REFUSES_PACKETS == 0
    }
}
