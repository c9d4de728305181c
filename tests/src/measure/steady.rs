//! At rest: one MASTER, one BACKUP, and what their adverts cost each of them and the machine.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    bare,
    contestant::{Daemon, Maker, Work, wait_master},
    field::Field,
    spinner::{self, Spinners},
};
use crate::{process::Scratch, spend};

/// What was measured of one maker in one round. Shares are of one processor.
#[derive(Clone, Debug, Serialize)]
pub struct Steady {
    maker: Maker,
    master_share: f64,
    backup_share: f64,
    /// What both daemons and everything they cause take from the machine.
    machine_share: f64,
    /// Frames of the master that came to the bridge, of the adverts that were due: where nobody takes over it sends
    /// nothing else.
    sent: f64,
    /// How often the BACKUP has become MASTER.
    false_takeovers: usize,
    master_kib: u64,
    backup_kib: u64,
    /// From the start of the first router until it had every address.
    up_s: f64,
}

/// How long each settles.
const SETTLE: Duration = Duration::from_secs(6);
/// How long the spinners take part.
const SPIN: Duration = Duration::from_secs(20);
const UP: Duration = Duration::from_mins(1);
/// Less than this share of the adverts is another work, which takes another time.
const AT_WORK: f64 = 0.95;

/// Measures one maker for this long.
pub(super) fn measure(maker: Maker, work: Work, time: Duration) -> Steady {
    let quiet_rate = spinner::quiet_rate();
    let field = Field::new(work.interfaces);
    let scratch = Scratch::new("steady");
    let began = Instant::now();
    let master = Daemon::start(maker, work, &field, 0, &scratch);
    wait_master(work, &field, 0, UP);
    let up_s = began.elapsed().as_secs_f64();
    spend(SETTLE);
    let backup = Daemon::start(maker, work, &field, 1, &scratch);
    spend(SETTLE);
    let promotions = backup.promotions();
    let (sent, began) = (field.sent(), Instant::now());
    let before = (master.bill(), backup.bill());
    spend(time);
    let used = (
        master.bill().since(&before.0),
        backup.bill().since(&before.1),
    );
    let (sent, took) = (field.sent() - sent, began.elapsed());
    let spinners = Spinners::start();
    spend((time / 2).min(SPIN));
    let machine_share = spinners.lost(quiet_rate);
    let sent = super::float(sent) / (work.adverts_per_second() * took.as_secs_f64());
    let false_takeovers = backup.promotions() - promotions;
    assert!(
        sent > AT_WORK,
        "{sent} of the adverts were sent, with {false_takeovers} takeovers: that is not this work"
    );
    Steady {
        maker,
        master_share: super::ratio(used.0, took),
        backup_share: super::ratio(used.1, took),
        machine_share,
        sent,
        false_takeovers,
        master_kib: master.memory_kib(),
        backup_kib: backup.memory_kib(),
        up_s,
    }
}

/// The bare loop, on a field of the same shape.
pub(super) fn measure_bare(work: Work, time: Duration) -> f64 {
    let field = Field::new(work.interfaces);
    bare::share(work, &field, time)
}

impl Steady {
    pub(super) const fn maker(&self) -> Maker {
        self.maker
    }

    pub(super) const fn master_share(&self) -> f64 {
        self.master_share
    }

    /// Of the adverts that were due.
    pub(super) const fn sent(&self) -> f64 {
        self.sent
    }

    pub(super) const fn false_takeovers(&self) -> usize {
        self.false_takeovers
    }

    pub(super) const fn backup_share(&self) -> f64 {
        self.backup_share
    }

    pub(super) const fn machine_share(&self) -> f64 {
        self.machine_share
    }
}
