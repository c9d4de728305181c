//! What neighbours do wrong: who, what, since when. Each is told once in a while, and not more often
//! than somebody can read, whatever arrives.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use vrrp_common::{
    slot::{Facts, Heard, Rules},
    timers::NS_PER_S,
    validate::Reject,
    vrrp::{ChecksumForm, PRIORITY_OWNER, Source, Version},
};

/// What somebody does that is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mistake {
    /// Its adverts are rejected, for this reason (the number of a [`Reject`]).
    Rejected(u8),
    /// It advertises other addresses, so many.
    OtherAddresses(u8),
    /// It advertises another interval, in centiseconds. Backups learn it (RFC 9568 6.1).
    OtherInterval(u16),
    /// It sends the other checksum form.
    OtherChecksumForm,
    /// It says that it owns the addresses (priority 255), and we do not know of an owner.
    Owner,
    /// It resigns without being the master.
    ForeignResignation,
    /// It announces one of our addresses while we are MASTER.
    Claim([u8; 6]),
}

/// A mistake, with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Noticed {
    /// Who; unspecified where only the MAC is known, or nothing.
    pub peer: Source,
    /// What.
    pub mistake: Mistake,
    /// When it was noticed first, in nanoseconds of `CLOCK_BOOTTIME`.
    pub first_ns: u64,
    /// When it was noticed last.
    pub last_ns: u64,
}

/// Every mistake that is remembered.
#[derive(Default)]
pub(super) struct Mistakes {
    list: BTreeMap<(Mistake, Source), Entry>,
    quiet_until_ns: u64,
    /// When the list last was too short.
    overflowed_ns: Option<u64>,
    /// What was looked at already: stamps of adverts, a claim, a reject, and resignations.
    seen: [u64; 5],
}

#[expect(clippy::struct_field_names, reason = "each is a time in nanoseconds")]
struct Entry {
    first_ns: u64,
    last_ns: u64,
    told_ns: Option<u64>,
}

/// How many are remembered; the one that is longest ago gives way.
const ROOM: usize = 32;
/// How soon one that goes on is told again.
const AGAIN_NS: u64 = 600 * NS_PER_S;
/// How soon the next line may follow a line, and how soon while senders are made up faster than they
/// can be remembered.
const QUIET_NS: u64 = NS_PER_S;
const QUIET_IN_A_FLOOD_NS: u64 = 60 * NS_PER_S;

/// What we send ourselves, to compare with.
pub(super) struct Own<'a> {
    pub(super) rules: &'a Rules,
    pub(super) form: ChecksumForm,
    pub(super) count: usize,
    pub(super) addresses_sum: u16,
}

impl Mistakes {
    /// Takes what was heard so far for told: by the daemon before.
    pub(super) const fn begin(&mut self, heard: &Heard) {
        self.seen = stamps(heard);
    }

    /// Looks at what the kernel heard since the last time. Returns what is to be told now.
    pub(super) fn look(&mut self, heard: &Heard, own: &Own<'_>, now_ns: u64) -> Vec<Noticed> {
        let [master, other, claim, reject, resignations] = self.seen;
        if heard.seen_ns > master {
            self.compare(&heard.master, own, now_ns);
        }
        if heard.other_ns > other {
            self.compare(&heard.other, own, now_ns);
        }
        if heard.claim_ns > claim {
            self.note(Mistake::Claim(heard.claim_mac), Source::default(), now_ns);
        }
        if heard.reject_ns > reject {
            let reason = u8::try_from(heard.reject_reason).unwrap_or(u8::MAX);
            self.note(Mistake::Rejected(reason), heard.reject_source, now_ns);
        }
        if heard.foreign_zero > resignations {
            self.note(Mistake::ForeignResignation, Source::default(), now_ns);
        }
        self.seen = stamps(heard);
        self.tell(now_ns)
    }

    /// Everything that is remembered, the latest first.
    pub(super) fn all(&self) -> Vec<Noticed> {
        let mut all: Vec<Noticed> = self
            .list
            .iter()
            .map(|((mistake, peer), entry)| entry.noticed(*mistake, *peer))
            .collect();
        all.sort_by_key(|noticed| std::cmp::Reverse(noticed.last_ns));
        all
    }

    fn compare(&mut self, facts: &Facts, own: &Own<'_>, now_ns: u64) {
        if facts.source.is_unspecified() {
            return;
        }
        if usize::from(facts.count) != own.count || facts.addresses_sum != own.addresses_sum {
            self.note(Mistake::OtherAddresses(facts.count), facts.source, now_ns);
        }
        if facts.priority == PRIORITY_OWNER {
            self.note(Mistake::Owner, facts.source, now_ns);
        }
        if facts.interval_cs != own.rules.interval_cs {
            let mistake = Mistake::OtherInterval(facts.interval_cs);
            self.note(mistake, facts.source, now_ns);
        }
        let is_v4 = matches!(address_of(facts.source), IpAddr::V4(_));
        let with_pseudo_header = own.form == ChecksumForm::PseudoHeader;
        let is_v3 = own.rules.version == Version::V3;
        if is_v4 && is_v3 && facts.pseudo_header != with_pseudo_header {
            self.note(Mistake::OtherChecksumForm, facts.source, now_ns);
        }
    }

    fn note(&mut self, mistake: Mistake, peer: Source, now_ns: u64) {
        if let Some(entry) = self.list.get_mut(&(mistake, peer)) {
            entry.last_ns = now_ns;
            return;
        }
        if self.list.len() >= ROOM {
            self.overflowed_ns = Some(now_ns);
            let oldest = self.list.iter().min_by_key(|(_, entry)| entry.last_ns);
            if let Some(key) = oldest.map(|(key, _)| *key) {
                self.list.remove(&key);
            }
        }
        let entry = Entry {
            first_ns: now_ns,
            last_ns: now_ns,
            told_ns: None,
        };
        self.list.insert((mistake, peer), entry);
    }

    /// What is worth a line. What is held back now is told later; the counters have it all the time.
    fn tell(&mut self, now_ns: u64) -> Vec<Noticed> {
        if self.list.is_empty() || now_ns < self.quiet_until_ns {
            return Vec::new();
        }
        let in_a_flood = self
            .overflowed_ns
            .is_some_and(|at_ns| now_ns < at_ns + QUIET_IN_A_FLOOD_NS);
        let mut news: Vec<(&(Mistake, Source), &mut Entry)> = self
            .list
            .iter_mut()
            // Where there is an owner that is as it should be, and once is enough.
            .filter(|((mistake, _), entry)| {
                entry.is_news() && (*mistake != Mistake::Owner || entry.told_ns.is_none())
            })
            .collect();
        // Anybody can make up adverts to be rejected: what else there is comes first.
        news.sort_by_key(|((mistake, _), _)| matches!(mistake, Mistake::Rejected(_)));
        news.truncate(if in_a_flood { 1 } else { ROOM });
        let told: Vec<Noticed> = news
            .into_iter()
            .map(|((mistake, peer), entry)| {
                entry.told_ns = Some(now_ns);
                entry.noticed(*mistake, *peer)
            })
            .collect();
        if !told.is_empty() {
            self.quiet_until_ns = now_ns
                + if in_a_flood {
                    QUIET_IN_A_FLOOD_NS
                } else {
                    QUIET_NS
                };
        }
        told
    }
}

const fn stamps(heard: &Heard) -> [u64; 5] {
    [
        heard.seen_ns,
        heard.other_ns,
        heard.claim_ns,
        heard.reject_ns,
        heard.foreign_zero,
    ]
}

impl Entry {
    fn is_news(&self) -> bool {
        self.told_ns
            .is_none_or(|told_ns| self.last_ns >= told_ns + AGAIN_NS)
    }

    const fn noticed(&self, mistake: Mistake, peer: Source) -> Noticed {
        Noticed {
            peer,
            mistake,
            first_ns: self.first_ns,
            last_ns: self.last_ns,
        }
    }
}

/// An address as it is written. An IPv4 address fills the first four bytes, and no IPv6 sender ends in
/// twelve zeros.
#[must_use]
pub fn address_of(source: Source) -> IpAddr {
    let is_v4 = source.low == 0 && source.high.trailing_zeros() >= u32::BITS;
    let [a, b, c, d, ..] = source.as_v6();
    if is_v4 {
        Ipv4Addr::new(a, b, c, d).into()
    } else {
        Ipv6Addr::from(source.as_v6()).into()
    }
}

/// The reason with this number.
#[must_use]
pub fn reason(number: u8) -> Option<Reject> {
    Reject::ALL.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules::multicast(Source::v4([224, 0, 0, 18]));
    const OWN: Own<'static> = Own {
        rules: &RULES,
        form: ChecksumForm::PseudoHeader,
        count: 1,
        addresses_sum: 7,
    };

    fn facts(last: u8) -> Facts {
        Facts {
            source: Source::v4([10, 0, 0, last]),
            priority: 100,
            interval_cs: 100,
            count: 1,
            addresses_sum: 7,
            pseudo_header: true,
        }
    }

    #[test]
    fn what_differs_is_told_once_and_again_much_later() {
        let mut mistakes = Mistakes::default();
        let mut heard = Heard {
            seen_ns: 1,
            master: facts(9),
            ..Heard::default()
        };
        assert_eq!(mistakes.look(&heard, &OWN, 1), [], "nothing is wrong");
        heard.master = Facts {
            count: 2,
            interval_cs: 50,
            pseudo_header: false,
            ..facts(9)
        };
        heard.seen_ns = 2;
        let told: Vec<Mistake> = mistakes
            .look(&heard, &OWN, 2)
            .iter()
            .map(|noticed| noticed.mistake)
            .collect();
        let expected = [
            Mistake::OtherAddresses(2),
            Mistake::OtherInterval(50),
            Mistake::OtherChecksumForm,
        ];
        assert_eq!(told, expected);
        for second in 1..600 {
            heard.seen_ns = second * NS_PER_S;
            let at = second * NS_PER_S;
            assert_eq!(mistakes.look(&heard, &OWN, at), [], "at {second} s");
        }
        heard.seen_ns = AGAIN_NS + 2;
        assert_eq!(
            mistakes.look(&heard, &OWN, AGAIN_NS + 2).len(),
            3,
            "it goes on"
        );
        assert_eq!(mistakes.all()[0].first_ns, 2);
        assert_eq!(
            mistakes.look(&heard, &OWN, 3 * AGAIN_NS),
            [],
            "nothing new since"
        );
    }

    /// Where there is an owner that is as it should be; where there is none it must not go unseen.
    #[test]
    fn an_owner_is_told_once() {
        let mut mistakes = Mistakes::default();
        let mut lines = 0;
        for second in 1..=3 * 600 {
            let heard = Heard {
                seen_ns: second * NS_PER_S,
                master: Facts {
                    priority: 255,
                    ..facts(9)
                },
                ..Heard::default()
            };
            let told = mistakes.look(&heard, &OWN, second * NS_PER_S);
            assert!(told.iter().all(|it| it.mistake == Mistake::Owner));
            lines += told.len();
        }
        assert_eq!(lines, 1);
        assert_eq!(mistakes.all().len(), 1, "shown all the time");
    }

    #[test]
    fn another_peer_and_another_cause_are_told_a_little_later() {
        let mut mistakes = Mistakes::default();
        let mut heard = Heard {
            reject_ns: 1,
            reject_reason: Reject::Authentication as u64,
            reject_source: facts(9).source,
            ..Heard::default()
        };
        let told = mistakes.look(&heard, &OWN, 1);
        assert_eq!(
            told[0].mistake,
            Mistake::Rejected(Reject::Authentication as u8)
        );
        assert_eq!(address_of(told[0].peer).to_string(), "10.0.0.9");
        heard.reject_ns = 2;
        heard.reject_source = facts(8).source;
        heard.claim_ns = 2;
        heard.foreign_zero = 1;
        assert_eq!(
            mistakes.look(&heard, &OWN, 2),
            [],
            "too soon for another line"
        );
        assert_eq!(mistakes.look(&heard, &OWN, 1 + QUIET_NS).len(), 3);
        assert_eq!(mistakes.all().len(), 4);
    }

    #[test]
    fn made_up_senders_do_not_fill_the_log_or_the_memory() {
        let mut mistakes = Mistakes::default();
        let mut lines = 0;
        for second in 1..=3600_u64 {
            let [.., high, low] = second.to_be_bytes();
            let heard = Heard {
                reject_ns: second * NS_PER_S,
                reject_reason: Reject::Checksum as u64,
                reject_source: Source::v4([10, 0, high, low]),
                ..Heard::default()
            };
            lines += mistakes.look(&heard, &OWN, second * NS_PER_S).len();
        }
        assert!(mistakes.all().len() <= ROOM);
        // What nobody made up is told at the next line.
        let heard = Heard {
            claim_ns: 3601 * NS_PER_S,
            ..Heard::default()
        };
        let told = mistakes.look(&heard, &OWN, 3661 * NS_PER_S);
        assert!(matches!(told[0].mistake, Mistake::Claim(_)), "{told:?}");
        assert!(
            (ROOM..ROOM + 62).contains(&lines),
            "{lines} lines in an hour"
        );
    }
}
