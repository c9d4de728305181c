//! The oracle: who answered the observer, whether two did, and for how long nobody.

use super::{INTERVAL_NS, MASTER_DOWN_NS, VIPS, faults::Fault};
use crate::{capture::Seen, frames::Said, ms};

/// How long after the first answer of the next router one of the router before may still be in flight.
const FLIGHT_NS: u64 = 5_000_000;
/// How late an answer may be before the question counts as unanswered.
const LATE_NS: u64 = 20_000_000;
/// For frames on two CPUs, and the observer's rhythm.
const MARGIN_NS: u64 = 30_000_000;

/// From one steady state to the next.
pub(super) struct Episode {
    pub(super) fault: Fault,
    pub(super) struck_ns: u64,
    pub(super) healed_ns: u64,
    /// Who has each address in the end.
    pub(super) rightful: [usize; 2],
}

/// What an episode showed.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    pub(super) questions: u64,
    pub(super) switches: u64,
    pub(super) overlap_ns: u64,
    pub(super) nobody_ns: u64,
    pub(super) healed_ns: u64,
    pub(super) wrong: Vec<String>,
}

impl Judgement {
    pub(super) fn add(&mut self, other: &Self) {
        self.questions += other.questions;
        self.switches += other.switches;
        self.overlap_ns = self.overlap_ns.max(other.overlap_ns);
        self.nobody_ns = self.nobody_ns.max(other.nobody_ns);
        self.healed_ns = self.healed_ns.max(other.healed_ns);
    }
}

/// The address that an answer is about, and the MAC that answered.
pub(super) fn answer(seen: &Seen) -> Option<(usize, [u8; 6])> {
    match &seen.said {
        Said::Arp {
            operation: 2,
            sender,
            sender_mac,
            ..
        } => Some((VIPS.iter().position(|vip| vip == sender)?, *sender_mac)),
        _ => None,
    }
}

/// The address that a question is about.
fn question(seen: &Seen) -> Option<usize> {
    match &seen.said {
        Said::Arp {
            operation: 1,
            sender,
            target,
            ..
        } if sender != target => VIPS.iter().position(|vip| vip == target),
        _ => None,
    }
}

pub(super) fn judge(
    episode: &Episode,
    seen: &[Seen],
    answerer: impl Fn(&Seen) -> Option<(usize, usize)>,
) -> Judgement {
    let mut judgement = Judgement::default();
    for (vip, rightful) in episode.rightful.into_iter().enumerate() {
        let answers: Vec<(u64, usize)> = seen
            .iter()
            .filter_map(|it| Some((it.at_ns, answerer(it).filter(|(of, _)| *of == vip)?.1)))
            .collect();
        let questions: Vec<u64> = seen
            .iter()
            .filter(|it| question(it) == Some(vip))
            .map(|it| it.at_ns)
            .collect();
        judgement.questions += questions.len() as u64;
        let switches = answers.windows(2).filter(|pair| pair[0].1 != pair[1].1);
        judgement.switches += switches.count() as u64;
        let (overlap, nobody) = (overlap(&answers), nobody(&questions, &answers));
        if let Some(bound) = episode.fault.bound_ns() {
            judgement.overlap_ns = judgement.overlap_ns.max(overlap);
            judgement.nobody_ns = judgement.nobody_ns.max(nobody);
            if overlap > FLIGHT_NS {
                judgement.complain(vip, &format!("two answered for {:.1} ms", ms(overlap)));
            }
            if nobody > bound {
                let text = format!("nobody for {:.1} ms, allowed {:.1}", ms(nobody), ms(bound));
                judgement.complain(vip, &text);
            }
        } else {
            judgement.heal(vip, episode, &answers, rightful);
        }
    }
    judgement
}

impl Judgement {
    fn complain(&mut self, vip: usize, what: &str) {
        self.wrong.push(format!("{}: {what}", VIPS[vip]));
    }

    /// After a loss: within Master_Down and one interval only the rightful one answers.
    fn heal(&mut self, vip: usize, episode: &Episode, answers: &[(u64, usize)], rightful: usize) {
        let mut wrong = answers.iter().filter(|(_, router)| *router != rightful);
        let last = wrong.next_back().map_or(episode.struck_ns, |(at, _)| *at);
        let took = last.saturating_sub(episode.healed_ns);
        self.healed_ns = self.healed_ns.max(took);
        let allowed = MASTER_DOWN_NS + INTERVAL_NS + MARGIN_NS;
        if took > allowed {
            let text = format!(
                "healed after {:.1} ms, allowed {:.1}",
                ms(took),
                ms(allowed)
            );
            self.complain(vip, &text);
        }
    }
}

/// How long two answered: after the first answer of another router, until one of the two has ended. An
/// answer after a pause is a switch of its own.
fn overlap(answers: &[(u64, usize)]) -> u64 {
    let mut longest = 0;
    for (at, pair) in answers.windows(2).enumerate() {
        let [(last, before), (begun, next)] = *pair else {
            continue;
        };
        if before != next {
            let rest = &answers[at + 1..];
            let end = end_of(rest, before, last).min(end_of(rest, next, begun));
            longest = longest.max(end.saturating_sub(begun));
        }
    }
    longest
}

/// Until when a router goes on answering without a pause.
fn end_of(answers: &[(u64, usize)], router: usize, mut last: u64) -> u64 {
    for (when, _) in answers.iter().filter(|(_, of)| *of == router) {
        if *when > last + LATE_NS {
            break;
        }
        last = *when;
    }
    last
}

/// The longest time from a question that nobody answered to the next that somebody did.
fn nobody(questions: &[u64], answers: &[(u64, usize)]) -> u64 {
    let (mut longest, mut since, mut next) = (0, None, 0);
    for asked in questions {
        while answers.get(next).is_some_and(|(at, _)| at < asked) {
            next += 1;
        }
        let answered = answers
            .get(next)
            .is_some_and(|(at, _)| *at < asked + LATE_NS);
        match (answered, since) {
            (false, None) => since = Some(*asked),
            (true, Some(begun)) => {
                longest = longest.max(asked - begun);
                since = None;
            }
            _ => {}
        }
    }
    longest
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn two_who_answer_are_found_and_a_switch_is_none() {
        let clean: Vec<(u64, usize)> = (0..100)
            .map(|at| (at * 2 * MS, usize::from(at >= 50)))
            .collect();
        assert_eq!(overlap(&clean), 0);
        let both: Vec<(u64, usize)> = (0..100)
            .flat_map(|at| {
                let first = (at < 60).then_some((at * 2 * MS, 0));
                let second = (at >= 50).then_some((at * 2 * MS + MS, 1));
                first.into_iter().chain(second)
            })
            .collect();
        assert_eq!(overlap(&both), 17 * MS);
        // Nobody for a while, another one for a moment, and then the first again: two elections.
        let quick: Vec<(u64, usize)> = (0..20)
            .map(|at| (at * 2 * MS, 0))
            .chain((0..40).map(|at| (340 * MS + at * 2 * MS, 1)))
            .chain((0..20).map(|at| (421 * MS + at * 2 * MS, 0)))
            .collect();
        assert_eq!(overlap(&quick), 0);
    }

    #[test]
    fn silence_is_measured_by_questions() {
        let questions: Vec<u64> = (0..100).map(|at| at * 2 * MS).collect();
        let answers: Vec<(u64, usize)> = questions
            .iter()
            .filter(|at| !(40 * MS..140 * MS).contains(*at))
            .map(|at| (at + MS / 10, 0))
            .collect();
        assert_eq!(nobody(&questions, &answers), 140 * MS - 40 * MS - 18 * MS);
    }
}
