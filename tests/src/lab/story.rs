//! The story: what is done, one thing after the other, and what must have happened before the next.

use super::{
    Case, Stop, Timeline,
    timeline::Entry,
    topology::{BACKEND_NAMES, GATEWAY, Lab, ROUTERS, SERVICE, WAY_BACK},
    web::is_used,
};
use crate::{ms, ping::Pinger, wall_ns};

/// How many answered requests in a row end a step.
const ANSWERS: usize = 8;
/// How many intervals an address must stay where it is before a step says that it does.
const STEADY_INTERVALS: f64 = 10.0;

/// Plays the story on a lab whose addresses are on r1.
pub(super) fn play(lab: &mut Lab<'_>, case: &Case, timeline: &mut Timeline) -> Result<(), Stop> {
    let mut story = Story {
        lab,
        timeline,
        holder: 0,
        told_ns: wall_ns(),
    };
    story.expect_holder("the addresses on r1", 0)?;

    let [web1, _] = BACKEND_NAMES;
    let at = wall_ns();
    story.lab.backends[0] = None;
    story.wait_backend(web1, false)?;
    story.ends(at, &format!("{web1} dies, HAProxy takes it out"), 0)?;

    let at = wall_ns();
    story.lab.start_backend(0);
    story.wait_backend(web1, true)?;
    story.ends(at, &format!("{web1} returns, HAProxy takes it back"), 0)?;

    let at = wall_ns();
    story.lab.kill_proxy(0);
    story.wait_check(0, false)?;
    story.ends(at, "HAProxy on r1 dies", case.holders.proxy_dead)?;

    let at = wall_ns();
    story.lab.start_proxy(0);
    story.wait_check(0, true)?;
    story.ends(at, "HAProxy on r1 returns", case.holders.proxy_back)?;

    let cut = case.holders.proxy_back;
    let at = wall_ns();
    story.lab.cables(cut, false);
    story.ends(
        at,
        &format!("both cables of r{} are pulled", cut + 1),
        case.holders.node_cut,
    )?;

    let at = wall_ns();
    story.lab.cables(cut, true);
    story.ends(
        at,
        &format!("the cables of r{} are put back", cut + 1),
        case.holders.node_back,
    )
}

struct Story<'l, 'a> {
    lab: &'l mut Lab<'a>,
    timeline: &'l mut Timeline,
    holder: usize,
    /// Up to when losses have been told.
    told_ns: u64,
}

impl Story<'_, '_> {
    /// Waits until a step has ended as it must, and tells what it cost.
    fn ends(&mut self, at_ns: u64, what: &str, holder: usize) -> Result<(), Stop> {
        let moved = holder != self.holder;
        let failover_ns = if moved {
            self.expect_holder(
                &format!("the addresses on r{} after: {what}", holder + 1),
                holder,
            )?;
            Some(self.wait_announcements(holder, at_ns)? - at_ns)
        } else {
            None
        };
        self.wait_steady(what, holder)?;
        let span = self.told_ns..self.wait_served(what, holder)?;
        self.holder = holder;
        self.told_ns = span.end;
        let states: Vec<String> = (0..ROUTERS).map(|router| self.lab.state(router)).collect();
        self.timeline.tell(Entry {
            case: self.timeline.name(),
            at_s: self.timeline.seconds(at_ns),
            what: what.to_owned(),
            holder: match self.lab.holder() {
                Some(router) => format!("r{}", router + 1),
                None => "nobody".to_owned(),
            },
            moved,
            states,
            why: self.lab.why(holder),
            failover_ms: failover_ns.map(ms),
            requests_lost: self.lab.client.lost(&span),
            longest_gap_ms: ms(self.lab.client.longest_gap(span.start)),
            pings_lost: self.lab.pinger.lost(&span),
        });
        Ok(())
    }

    fn expect_holder(&self, what: &str, holder: usize) -> Result<(), Stop> {
        let lab = &*self.lab;
        lab.interrupt.wait_for(what, lab.limit(), || {
            (lab.holder() == Some(holder)).then_some(())
        })
    }

    /// When the last of the three addresses was announced by its new holder.
    fn wait_announcements(&self, holder: usize, at_ns: u64) -> Result<u64, Stop> {
        let lab = &*self.lab;
        lab.interrupt
            .wait_for("every address to be announced", lab.limit(), || {
                let times = [SERVICE, GATEWAY, WAY_BACK]
                    .map(|address| lab.announced(holder, address, at_ns));
                let [service, gateway, way_back] = times;
                Some(service?.max(gateway?).max(way_back?))
            })
    }

    /// The addresses stay where they are for some intervals.
    fn wait_steady(&self, what: &str, holder: usize) -> Result<(), Stop> {
        let lab = &*self.lab;
        let start = wall_ns();
        let wanted = STEADY_INTERVALS * lab.advert_int * 1000.0;
        lab.interrupt
            .wait_for("steady addresses", lab.limit(), || {
                if lab.holder() != Some(holder) {
                    return Some(false);
                }
                (ms(wall_ns() - start) >= wanted).then_some(true)
            })?
            .then_some(())
            .ok_or_else(|| {
                Stop::Failed(format!("the addresses left r{} after: {what}", holder + 1))
            })
    }

    /// Waits until client and host are served again, and every ping until then has been judged;
    /// returns until when that is.
    fn wait_served(&self, what: &str, holder: usize) -> Result<u64, Stop> {
        let lab = &*self.lab;
        let start = wall_ns();
        let what = format!("client and host served after: {what}");
        lab.interrupt.wait_for(&what, lab.limit(), || {
            let answers = lab.client.answers();
            let served = answers.iter().rev().take_while(|at| **at > start).count() >= ANSWERS;
            // Where the addresses stay without their HAProxy, nobody can be.
            let served = served || !lab.has_proxy(holder);
            (served && lab.pinger.is_answered()).then_some(())
        })?;
        let end = wall_ns();
        lab.interrupt.wait_for("the last answers", lab.limit(), || {
            Pinger::has_judged(end).then_some(end)
        })
    }

    fn wait_backend(&self, backend: &str, used: bool) -> Result<(), Stop> {
        let lab = &*self.lab;
        let stats = lab.stats(self.holder);
        lab.interrupt
            .wait_for(&format!("HAProxy to notice {backend}"), lab.limit(), || {
                (is_used(&stats, backend) == Some(used)).then_some(())
            })
    }

    fn wait_check(&self, router: usize, up: bool) -> Result<(), Stop> {
        let lab = &*self.lab;
        lab.interrupt
            .wait_for("the check's result", lab.limit(), || {
                (lab.check(router) == Some(up)).then_some(())
            })
    }
}
