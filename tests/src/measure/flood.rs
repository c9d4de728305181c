//! Somebody on the LAN sends as much as the machine can: adverts that nobody should believe, or questions for
//! every virtual address.

use std::time::Duration;

use serde::Serialize;

use super::{
    contestant::{Daemon, Maker, Work, wait_master},
    field::Field,
};
use crate::{
    flood::pour,
    frames::{AdvertSpec, arp_question},
    process::Scratch,
    spend,
};

/// What was measured of one maker in one round. Shares are of one processor.
#[derive(Clone, Debug, Serialize)]
pub struct Flood {
    pub(super) maker: Maker,
    /// Frames that came to the LAN each second.
    pub(super) frames_per_second: f64,
    /// Answers each second, where questions are asked.
    pub(super) answers_per_second: Option<f64>,
    pub(super) master_share: f64,
    pub(super) backup_share: f64,
    /// Frames that came to the bridge from the MASTER, of the adverts that were due: it may assert itself
    /// against adverts that lose (RFC 9568 6.4.3).
    pub(super) sent: f64,
    /// How often the BACKUP has become MASTER.
    pub(super) false_takeovers: usize,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Adverts with a lower priority, a wrong checksum, a TTL that is not 255.
    Adverts,
    /// Questions for the virtual addresses (ARP).
    Questions,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Adverts => "adverts",
            Self::Questions => "questions",
        })
    }
}

const UP: Duration = Duration::from_mins(1);
const SETTLE: Duration = Duration::from_secs(3);

pub(super) fn measure(maker: Maker, work: Work, kind: Kind, time: Duration) -> Flood {
    let field = Field::observed(work.interfaces);
    let scratch = Scratch::new("flood");
    let master = Daemon::start(maker, work, &field, 0, &scratch);
    wait_master(work, &field, 0, UP);
    let backup = Daemon::start(maker, work, &field, 1, &scratch);
    spend(SETTLE);
    let observer = field.observer.as_ref().expect("an observer");
    let frames = frames(kind, work, observer.mac("eth0"));
    let promotions = backup.promotions();
    let before = (master.bill(), backup.bill(), field.sent(), field.heard());
    let poured = pour(observer, &frames, time);
    let after = (
        master.bill().since(&before.0),
        backup.bill().since(&before.1),
        field.sent(),
        field.heard(),
    );
    let seconds = poured.took.as_secs_f64();
    let due = work.adverts_per_second();
    let answers = super::float(after.3 - before.3) / seconds - due;
    Flood {
        maker,
        frames_per_second: super::float(poured.frames) / seconds,
        answers_per_second: (kind == Kind::Questions).then_some(answers),
        master_share: super::ratio(after.0, poured.took),
        backup_share: super::ratio(after.1, poured.took),
        sent: super::float(after.2 - before.2) / (due * seconds),
        false_takeovers: backup.promotions() - promotions,
    }
}

fn frames(kind: Kind, work: Work, mac: [u8; 6]) -> Vec<Vec<u8>> {
    let own = Field::observer_address(0);
    let question = |vrid| arp_question(mac, own, Work::address(0, vrid));
    if kind == Kind::Questions {
        return (1..=work.each).map(question).collect();
    }
    let adverts = |vrid| {
        let mut spec = AdvertSpec::new(mac, own, vrid, 50, Work::address(0, vrid));
        spec.interval_cs = work.interval_cs;
        let lower = spec.build();
        spec.bad_checksum = true;
        let broken = spec.build();
        spec.bad_checksum = false;
        spec.ttl = 64;
        let routed = spec.build();
        [lower, broken, routed]
    };
    (1..=work.each).flat_map(adverts).collect()
}

impl Flood {
    /// With the names of what they are; an answer is not an advert, so of either there is one row.
    pub(super) fn all(&self) -> [(&'static str, f64); 5] {
        let (what, count) = match self.answers_per_second {
            Some(answers) => ("answers/s", answers),
            None => ("frames of the MASTER, of the adverts due", self.sent),
        };
        [
            ("frames/s", self.frames_per_second),
            (what, count),
            ("master CPU, %", self.master_share * 100.0),
            ("backup CPU, %", self.backup_share * 100.0),
            ("false takeovers", super::float(self.false_takeovers as u64)),
        ]
    }
}
