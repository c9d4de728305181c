//! Three routers with two virtual routers, one that preempts and one that does not, an observer who asks
//! for both addresses all the time, and one fault after another, for as long as one likes. One oracle
//! judges everything that was on the wire.

mod faults;
mod judge;

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use faults::Fault;
use judge::{Episode, Judgement};

use crate::{
    asker::Asker,
    capture::{Capture, Seen},
    frames::arp_question,
    ms,
    netns::Lan,
    process::Scratch,
    sim::Random,
    spend, wall_ns,
    xvrrp::Xvrrp,
};

/// Routers; hosts beyond them are the observer and the attacker.
const ROUTERS: usize = 3;
const OBSERVER: u8 = 3;
const ATTACKER: u8 = 4;
/// The addresses, in the order of their virtual routers.
const VIPS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 100), Ipv4Addr::new(10, 9, 0, 101)];
const VRIDS: [u8; 2] = [51, 52];
const INTERVAL_NS: u64 = 100_000_000;
/// `Skew_Time` of the lowest priority, 50.
const SKEW_NS: u64 = INTERVAL_NS * 206 / 256;
const MASTER_DOWN_NS: u64 = 3 * INTERVAL_NS + SKEW_NS;
/// How often the observer asks.
const PERIOD: Duration = Duration::from_millis(2);
/// How long after a fault everything may take to be as it should be.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to play.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// For how long.
    pub time: Duration,
    /// Which faults, in which order.
    pub seed: u64,
}

struct Soak {
    lan: Lan,
    scratch: Scratch,
    capture: Capture,
    routers: Vec<Xvrrp>,
    macs: Vec<[u8; 6]>,
    random: Random,
    _asker: Asker,
}

/// Plays it, printing every fault with what followed.
///
/// # Errors
///
/// What the oracle found wrong.
pub fn run(plan: &Plan) -> Result<(), String> {
    let mut soak = Soak::start(plan.seed);
    let end = Instant::now() + plan.time;
    let mut total = Judgement::default();
    let mut faults = 0;
    let mut wrong = Vec::new();
    soak.wait_steady()?;
    while Instant::now() < end {
        let judgement = soak.play_one()?;
        wrong.extend(judgement.wrong.iter().cloned());
        total.add(&judgement);
        faults += 1;
    }
    println!(
        "{faults} faults in {:.1} minutes (seed {}): {} questions, {} switches; two answered for {:.1} ms at \
         most, nobody for {:.1} ms at most, healed from loss within {:.0} ms",
        plan.time.as_secs_f64() / 60.0,
        plan.seed,
        total.questions,
        total.switches,
        ms(total.overlap_ns),
        ms(total.nobody_ns),
        ms(total.healed_ns)
    );
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(wrong.join("\n"))
    }
}

impl Soak {
    fn start(seed: u64) -> Self {
        let lan = Lan::new(5);
        let capture = Capture::start(&lan.bridge, "br0", Some(lan.mac(ATTACKER)));
        let mac = lan.mac(OBSERVER);
        let question = |vip| arp_question(mac, Lan::address(OBSERVER), vip);
        let observer = &lan.hosts[usize::from(OBSERVER)];
        let asker = Asker::start(observer, VIPS.map(question).to_vec(), PERIOD);
        let mut soak = Self {
            macs: (0..3).map(|number| lan.mac(number)).collect(),
            scratch: Scratch::new("soak"),
            random: Random::new(seed),
            routers: Vec::new(),
            capture,
            lan,
            _asker: asker,
        };
        for number in 0..ROUTERS {
            let router = soak.run(number);
            soak.routers.push(router);
        }
        soak
    }

    /// The file whose presence makes a router's check fail.
    fn trouble(&self, number: usize) -> PathBuf {
        self.scratch.path(&format!("trouble-{number}"))
    }

    fn run(&self, number: usize) -> Xvrrp {
        let check = format!(
            "vrrp_script works {{\n  script \"/usr/bin/test ! -e {}\"\n  interval 0.1\n  rise 1\n  fall 1\n  \
             weight -120\n}}\n",
            self.trouble(number).display()
        );
        let one = |at: usize, priority: usize, more: &str| {
            format!(
                "vrrp_instance V{at} {{\n  state BACKUP\n  version 3\n  interface eth0\n  virtual_router_id \
                 {}\n  priority {priority}\n  advert_int 0.1\n  virtual_ipaddress {{\n    {}/24\n  }}\n  \
                 track_script {{\n    works\n  }}\n{more}}}\n",
                VRIDS[at], VIPS[at]
            )
        };
        let config = check
            + &one(0, [200, 150, 100][number], "")
            + &one(1, [170, 190, 210][number], "  nopreempt\n");
        Xvrrp::with_config(&self.lan.hosts[number], &self.scratch, &config)
    }

    /// Which router speaks for an address in a frame.
    fn answerer(&self, seen: &Seen) -> Option<(usize, usize)> {
        let (vip, mac) = judge::answer(seen)?;
        let router = self.macs.iter().position(|own| *own == mac)?;
        Some((vip, router))
    }

    /// Who answers for each address; `None` while not exactly one does.
    fn holders(&self) -> Option<[usize; 2]> {
        let from = self.capture.count();
        spend(Duration::from_nanos(4 * INTERVAL_NS));
        let seen = self.capture.seen_from(from);
        let answers: Vec<(usize, usize)> = seen.iter().filter_map(|it| self.answerer(it)).collect();
        let holder = |vip: usize| {
            let mut of = answers.iter().filter(|(it, _)| *it == vip);
            let first = of.clone().next()?.1;
            (of.clone().count() > 50 && of.all(|(_, router)| *router == first)).then_some(first)
        };
        Some([holder(0)?, holder(1)?])
    }

    fn wait_steady(&self) -> Result<[usize; 2], String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(holders) = self.holders() {
                return Ok(holders);
            }
            if Instant::now() > end {
                return Err(format!(
                    "no steady state after {PATIENCE:?}; see the logs in {}",
                    self.scratch.path("").display()
                ));
            }
        }
    }

    /// One fault from a steady state to the next.
    fn play_one(&mut self) -> Result<Judgement, String> {
        let holders = self.wait_steady()?;
        let fault = self.random.pick(&faults::ALL);
        let victim = match self.random.below(3) {
            0 => usize::try_from(self.random.below(3)).unwrap_or_default(),
            _ => self.random.pick(&holders),
        };
        let lasts = Duration::from_millis(50 + self.random.below(2500));
        // Faults do not keep to the rhythm of adverts.
        spend(Duration::from_nanos(self.random.below(2 * INTERVAL_NS)));
        let _ = self.capture.take();
        let struck_ns = wall_ns();
        self.strike(fault, victim, lasts)?;
        let healed_ns = wall_ns();
        let after = self.wait_steady()?;
        let (seen, disobedience) = self.capture.take();
        let episode = Episode {
            fault,
            struck_ns,
            healed_ns,
            rightful: after,
        };
        let mut judgement = judge::judge(&episode, &seen, |it| self.answerer(it));
        if !fault.parts() {
            judgement.wrong.extend(disobedience);
        }
        println!(
            "{fault:?} on {victim} for {:.1} s: {holders:?} -> {after:?}, two for {:.1} ms, nobody for {:.1} ms",
            lasts.as_secs_f64(),
            ms(judgement.overlap_ns),
            ms(judgement.nobody_ns)
        );
        for wrong in &judgement.wrong {
            println!("  WRONG: {wrong}");
        }
        Ok(judgement)
    }

    fn strike(&mut self, fault: Fault, victim: usize, lasts: Duration) -> Result<(), String> {
        match fault {
            Fault::Kill | Fault::Restart => {
                if fault == Fault::Kill {
                    self.routers[victim].kill();
                } else {
                    self.routers[victim].terminate();
                }
                spend(lasts);
                self.routers[victim] = self.run(victim);
            }
            Fault::Upgrade => {
                let output = self.routers[victim].upgrade(&self.lan.hosts[victim]);
                if !output.status.success() {
                    return Err(format!("upgrade: {output:?}"));
                }
            }
            Fault::Check => {
                let trouble = self.trouble(victim);
                std::fs::write(&trouble, "").map_err(|error| error.to_string())?;
                spend(lasts);
                std::fs::remove_file(&trouble).map_err(|error| error.to_string())?;
            }
            Fault::Stop
            | Fault::Cable
            | Fault::LinkDown
            | Fault::Removal
            | Fault::Deaf
            | Fault::Mute
            | Fault::Loss
            | Fault::Flood => {
                faults::outside(fault, &self.lan, &self.routers[victim], victim, lasts);
            }
        }
        Ok(())
    }
}
