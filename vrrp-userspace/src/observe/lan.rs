//! What is known of a LAN from its adverts.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::IpAddr,
    time::{Duration, Instant},
};

use serde::Serialize;
use vrrp_common::{timers, validate::Reject};

use super::advert::{Advert, Judgement};
use crate::net::Sniffer;

/// Every virtual router that was heard.
#[derive(Clone, Debug, Default)]
pub struct Lan {
    by_key: BTreeMap<Key, VirtualRouter>,
}

/// What makes virtual routers different: VLAN, family, VRID.
type Key = (u16, bool, u8);

/// One virtual router, and everybody who speaks for it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VirtualRouter {
    /// 0 = none.
    pub vlan: u16,
    /// Virtual Router Identifier.
    pub vrid: u8,
    /// Whether its adverts go over IPv6.
    pub is_v6: bool,
    /// By sender, those whose adverts count.
    pub routers: BTreeMap<IpAddr, Router>,
    /// Adverts that do not.
    pub rejected: Vec<Rejected>,
    /// Who spoke last.
    #[serde(skip)]
    last: Option<IpAddr>,
    /// When the last changes from one sender to another were, in nanoseconds since 1970.
    #[serde(skip)]
    changes: VecDeque<u64>,
}

/// One that has sent adverts, by the last one.
#[derive(Clone, Debug, Serialize)]
pub struct Router {
    /// Ethernet source.
    pub mac: String,
    /// 0 = it has resigned.
    pub priority: u8,
    /// Protocol version.
    pub version: u8,
    /// Advertisement_Interval in centiseconds.
    pub interval_cs: u16,
    /// Form of the checksum.
    pub checksum: Judgement,
    /// Virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// `VRRPv2`: Authentication Type.
    pub authentication: Option<u8>,
    /// How many were heard.
    pub adverts: u64,
    /// When it was heard last, in nanoseconds since 1970.
    pub last_ns: u64,
    /// The longest time between two of them while it was MASTER.
    pub longest_gap_ns: u64,
}

/// Adverts of one sender that are rejected for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct Rejected {
    /// Sender.
    pub source: IpAddr,
    /// Why.
    #[serde(skip)]
    pub reason: Reject,
    /// The last one.
    pub last: Advert,
    /// How many.
    pub count: u64,
}

/// How many senders and reasons are told apart: anybody can make up more.
const REJECTED: usize = 64;
/// So many changes of the sender, one soon after the other, are two that speak at the same time: a failover
/// and a way back are two.
const CHANGES: usize = 3;
/// How soon, in intervals.
const SOON: u64 = 5;

impl Lan {
    /// Takes note of an advert.
    pub fn note(&mut self, advert: &Advert) {
        let is_v6 = advert.source.is_ipv6();
        let key = (advert.vlan, is_v6, advert.vrid);
        let router = self.by_key.entry(key).or_insert_with(|| VirtualRouter {
            vlan: advert.vlan,
            vrid: advert.vrid,
            is_v6,
            ..VirtualRouter::default()
        });
        match advert.judgement {
            Judgement::Rejected(reason) => router.reject(advert, reason),
            _ => router.hear(advert),
        }
    }

    /// What is heard in a time.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn hear(sniffer: &Sniffer, time: Duration) -> io::Result<Self> {
        let end = Instant::now() + time;
        let mut lan = Self::default();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(lan);
            }
            let frame = sniffer.next(left)?;
            if let Some(advert) = frame.as_ref().and_then(Advert::read) {
                lan.note(&advert);
            }
        }
    }

    /// Every virtual router.
    pub fn iter(&self) -> impl Iterator<Item = &VirtualRouter> {
        self.by_key.values()
    }

    /// Whether nobody was heard.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }
}

impl VirtualRouter {
    fn hear(&mut self, advert: &Advert) {
        let before = self.last.replace(advert.source);
        if before.is_some_and(|before| before != advert.source) {
            self.changes.push_back(advert.at_ns);
            if self.changes.len() > CHANGES {
                self.changes.pop_front();
            }
        }
        let known = self.routers.get(&advert.source);
        let gap_ns = known
            .filter(|_| before == Some(advert.source))
            .filter(|known| known.priority > 0)
            .map_or(0, |known| advert.at_ns.saturating_sub(known.last_ns));
        let router = Router {
            mac: advert.mac.clone(),
            priority: advert.priority,
            version: advert.version,
            interval_cs: advert.interval_cs,
            checksum: advert.judgement,
            addresses: advert.addresses.clone(),
            authentication: advert.authentication,
            adverts: known.map_or(0, |known| known.adverts) + 1,
            last_ns: advert.at_ns,
            longest_gap_ns: known.map_or(0, |known| known.longest_gap_ns).max(gap_ns),
        };
        self.routers.insert(advert.source, router);
    }

    fn reject(&mut self, advert: &Advert, reason: Reject) {
        let mut all = self.rejected.iter_mut();
        let known = all.find(|it| it.source == advert.source && it.reason == reason);
        if let Some(known) = known {
            known.count += 1;
            known.last = advert.clone();
        } else if self.rejected.len() < REJECTED {
            self.rejected.push(Rejected {
                source: advert.source,
                reason,
                last: advert.clone(),
                count: 1,
            });
        }
    }

    /// Who spoke last, if that was no resignation.
    #[must_use]
    pub fn master(&self) -> Option<(IpAddr, &Router)> {
        let last = self.last?;
        let router = self.routers.get(&last)?;
        (router.priority > 0).then_some((last, router))
    }

    /// Those who speak at the same time; nobody, or at least two.
    #[must_use]
    pub fn masters_at_once(&self) -> Vec<(IpAddr, &Router)> {
        let intervals = self.routers.values().map(|it| it.interval_cs);
        let interval_ns = timers::interval_ns(intervals.max().unwrap_or_default());
        let (Some(first), Some(last)) = (self.changes.front(), self.changes.back()) else {
            return Vec::new();
        };
        if self.changes.len() < CHANGES || last.saturating_sub(*first) > SOON * interval_ns {
            return Vec::new();
        }
        let recent = self.routers.iter();
        let recent = recent.filter(|(_, it)| {
            it.priority > 0 && last.saturating_sub(it.last_ns) < SOON * interval_ns
        });
        recent.map(|(source, it)| (*source, it)).collect()
    }
}
