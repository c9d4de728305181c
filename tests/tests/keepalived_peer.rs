//! Against real keepalived (VRRPv3, pseudo-header checksums), each side in both roles.

use std::{net::Ipv4Addr, time::Duration};

use xvrrp_tests::{
    capture::{AdvertSeen, Capture},
    keepalived::Keepalived,
    ms,
    netns::Lan,
    process::Scratch,
    wait_for,
    xvrrp::{Xvrrp, instance},
};

const LONG: Duration = Duration::from_secs(20);
const MS: u64 = 1_000_000;
const XVRRP: u8 = 0;
const KEEPALIVED: u8 = 1;
/// How much earlier than the formula a takeover may look: the two frames' time on the wire.
const EARLY: u64 = MS;
/// How much later it may be.
const MARGIN: u64 = 50 * MS;

struct Pair {
    lan: Lan,
    scratch: Scratch,
    capture: Capture,
    interval: f64,
}

impl Pair {
    fn new(interval: f64) -> Self {
        let lan = Lan::new(2);
        let capture = Capture::start(&lan.bridge, "br0", None);
        let scratch = Scratch::new(&format!("keepalived-{interval}"));
        Self {
            lan,
            scratch,
            capture,
            interval,
        }
    }

    fn xvrrp(&self, priority: u8) -> Xvrrp {
        Xvrrp::with_config(
            &self.lan.hosts[0],
            &self.scratch,
            &instance(priority, self.interval, ""),
        )
    }

    fn keepalived(&self, priority: u8) -> Keepalived {
        Keepalived::start(
            &self.lan.hosts[1],
            &self.scratch,
            &instance(priority, self.interval, ""),
        )
    }

    fn interval_ns(&self) -> u64 {
        if self.interval < 0.5 {
            100 * MS
        } else {
            1000 * MS
        }
    }

    fn skew_ns(&self, priority: u64) -> u64 {
        (256 - priority) * self.interval_ns() / 256
    }

    fn first_advert(&self, what: &str, from: u8) -> AdvertSeen {
        let source = Lan::address(from);
        self.capture.wait_advert(what, 51, LONG, |advert| {
            advert.source == source && advert.priority > 0
        })
    }

    /// The first advert of `from` after a moment.
    fn next_advert(&self, what: &str, from: u8, after_ns: u64) -> AdvertSeen {
        let source = Lan::address(from);
        self.capture.wait_advert(what, 51, LONG, |advert| {
            advert.source == source && advert.priority > 0 && advert.at_ns > after_ns
        })
    }

    fn last_advert(&self, from: u8) -> AdvertSeen {
        self.capture
            .last_advert(51, Lan::address(from))
            .expect("adverts of the master")
    }

    fn check_takeover(&self, what: &str, killed: u8, heir: u8, heir_priority: u64) {
        let died = self.last_advert(killed);
        let first = self.next_advert(what, heir, died.at_ns);
        let took = first.at_ns - died.at_ns;
        let down = 3 * self.interval_ns() + self.skew_ns(heir_priority);
        println!(
            "{what} at {} s: {:.2} ms, 3 x interval + skew = {:.2} ms",
            self.interval,
            ms(took),
            ms(down)
        );
        assert!(
            took + EARLY >= down && took <= down + MARGIN,
            "{what}: {} ms",
            ms(took)
        );
    }

    /// The loser sends no non-zero advert later than one interval after the winner's first.
    fn check_loser_silent(&self, winner: u8, loser: u8, since_ns: u64) {
        let first = self.next_advert("the winner's first", winner, since_ns);
        let settled = first.at_ns + 10 * self.interval_ns();
        self.next_advert("ten more of the winner's", winner, settled);
        let late = self.capture.adverts(51).into_iter().find(|advert| {
            advert.source == Lan::address(loser)
                && advert.priority > 0
                && advert.at_ns > first.at_ns + self.interval_ns()
        });
        assert_eq!(late, None, "the loser goes on");
    }

    fn holds(&self, host: u8) -> bool {
        let shown = self.lan.hosts[usize::from(host)].ip("address show dev eth0");
        shown.contains(&Ipv4Addr::new(10, 9, 0, 100).to_string())
    }

    fn wait_holder(&self, host: u8) {
        wait_for("the address to be in one place", LONG, || {
            (self.holds(host) && !self.holds(1 - host)).then_some(())
        });
    }
}

/// keepalived is master; xvrrp preempts it, and keepalived comes back to take over when xvrrp dies.
fn xvrrp_higher(interval: f64) {
    let pair = Pair::new(interval);
    let keepalived = pair.keepalived(100);
    let theirs = pair.first_advert("keepalived as master", KEEPALIVED);
    let mut xvrrp = pair.xvrrp(200);
    let ours = pair.next_advert("xvrrp preempting", XVRRP, theirs.at_ns);
    pair.check_loser_silent(XVRRP, KEEPALIVED, ours.at_ns - 1);
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);
    pair.wait_holder(XVRRP);
    // A crash: keepalived waits for Master_Down.
    xvrrp.kill();
    pair.check_takeover(
        "xvrrp killed, keepalived takes over",
        XVRRP,
        KEEPALIVED,
        100,
    );
    drop(keepalived);
}

/// xvrrp is master; keepalived preempts it, is killed, comes back, and resigns.
fn keepalived_higher(interval: f64) {
    let pair = Pair::new(interval);
    let xvrrp = pair.xvrrp(100);
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);
    let ours = pair.first_advert("xvrrp as master", XVRRP);
    let mut keepalived = pair.keepalived(200);
    let theirs = pair.next_advert("keepalived preempting", KEEPALIVED, ours.at_ns);
    pair.check_loser_silent(KEEPALIVED, XVRRP, theirs.at_ns - 1);
    xvrrp.wait_state(&pair.lan.hosts[0], "BACKUP", LONG);
    pair.wait_holder(KEEPALIVED);

    keepalived.kill();
    pair.check_takeover(
        "keepalived killed, xvrrp takes over",
        KEEPALIVED,
        XVRRP,
        100,
    );
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);

    let mut keepalived = pair.keepalived(200);
    let taken = pair.next_advert("keepalived back", KEEPALIVED, pair.last_advert(XVRRP).at_ns);
    pair.next_advert("keepalived steady", KEEPALIVED, taken.at_ns);
    xvrrp.wait_state(&pair.lan.hosts[0], "BACKUP", LONG);
    keepalived.terminate();
    let resigned = pair
        .capture
        .wait_advert("keepalived resigning", 51, LONG, |advert| {
            advert.source == Lan::address(KEEPALIVED)
                && advert.priority == 0
                && advert.at_ns > taken.at_ns
        });
    let first = pair.next_advert("xvrrp after the resignation", XVRRP, resigned.at_ns);
    let (took, skew) = (first.at_ns - resigned.at_ns, pair.skew_ns(100));
    println!(
        "keepalived resigned at {interval} s: {:.2} ms, skew {:.2} ms",
        ms(took),
        ms(skew)
    );
    assert!(
        took + EARLY >= skew && took <= skew + MARGIN,
        "{} ms",
        ms(took)
    );
}

/// xvrrp resigns to keepalived.
fn xvrrp_resigns(interval: f64) {
    let pair = Pair::new(interval);
    let mut xvrrp = pair.xvrrp(200);
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);
    let _keepalived = pair.keepalived(100);
    // keepalived has listened once its log says so; what follows is the resignation's own time.
    let started = pair.last_advert(XVRRP).at_ns;
    pair.next_advert(
        "keepalived to have heard us",
        XVRRP,
        started + 20 * pair.interval_ns().min(200 * MS),
    );
    xvrrp.terminate();
    let resigned = pair
        .capture
        .wait_advert("the resignation", 51, LONG, |advert| {
            advert.source == Lan::address(XVRRP) && advert.priority == 0
        });
    let first = pair.next_advert(
        "keepalived after the resignation",
        KEEPALIVED,
        resigned.at_ns,
    );
    let (took, skew) = (first.at_ns - resigned.at_ns, pair.skew_ns(100));
    println!(
        "xvrrp resigned at {interval} s: {:.2} ms, skew {:.2} ms",
        ms(took),
        ms(skew)
    );
    assert!(
        took + EARLY >= skew && took <= skew + MARGIN,
        "{} ms",
        ms(took)
    );
}

#[test]
fn xvrrp_wins_and_is_replaced_at_1_s() {
    xvrrp_higher(1.0);
}

#[test]
fn xvrrp_wins_and_is_replaced_at_100_ms() {
    xvrrp_higher(0.1);
}

#[test]
fn keepalived_wins_and_is_replaced_at_1_s() {
    keepalived_higher(1.0);
}

#[test]
fn keepalived_wins_and_is_replaced_at_100_ms() {
    keepalived_higher(0.1);
}

#[test]
fn xvrrp_resigns_to_keepalived_at_1_s() {
    xvrrp_resigns(1.0);
}

#[test]
fn xvrrp_resigns_to_keepalived_at_100_ms() {
    xvrrp_resigns(0.1);
}
