//! A host that sends the same frames again and again, in a steady rhythm: questions.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    capture::{Seen, Sender},
    frames::Said,
    netns::Namespace,
    wall_ns,
};

/// A running asker; ended when dropped.
pub struct Asker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Asker {
    /// Starts sending all of these frames from a host's `eth0`, once every `period`.
    pub fn start(host: &Namespace, frames: Vec<Vec<u8>>, period: Duration) -> Self {
        let sender = Sender::new(host);
        let stop = Arc::new(AtomicBool::new(false));
        let ends = stop.clone();
        let period_ns = u64::try_from(period.as_nanos()).expect("a short period");
        let thread = thread::spawn(move || {
            let mut next_ns = wall_ns();
            while !ends.load(Ordering::Relaxed) {
                for frame in &frames {
                    // A full queue loses a question; the next comes soon.
                    sender.try_send(frame);
                }
                next_ns = (next_ns + period_ns).max(wall_ns());
                thread::park_timeout(Duration::from_nanos(next_ns.saturating_sub(wall_ns())));
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

/// The longest time that a question waited for an answer, in nanoseconds: its own or that of a later
/// question. Questions behind the last answer are left out.
pub fn longest_wait(
    questions: impl Iterator<Item = u64>,
    answers: impl Iterator<Item = u64>,
) -> u64 {
    let mut answers = answers.peekable();
    let mut longest = 0;
    for asked in questions {
        while answers.next_if(|at| *at < asked).is_some() {}
        if let Some(answered) = answers.peek() {
            longest = longest.max(answered - asked);
        }
    }
    longest
}

/// Whether a frame asks who has this address.
pub fn asks_for(seen: &Seen, address: IpAddr) -> bool {
    match (&seen.said, address) {
        (
            Said::Arp {
                operation: 1,
                sender,
                target,
                ..
            },
            IpAddr::V4(address),
        ) => sender != target && *target == address,
        (_, IpAddr::V6(address)) => {
            seen.frame.get(12..14) == Some(&[0x86, 0xdd])
                && seen.frame.get(20) == Some(&58)
                && seen.frame.get(54) == Some(&135)
                && seen.frame.get(62..78) == Some(&address.octets())
        }
        _ => false,
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::longest_wait;

    #[test]
    fn a_question_waits_for_the_next_answer() {
        let questions = [0, 10, 20, 30, 40, 50];
        assert_eq!(
            longest_wait(questions.into_iter(), [1, 11, 21, 31, 41].into_iter()),
            1
        );
        assert_eq!(longest_wait(questions.into_iter(), [1, 44].into_iter()), 34);
    }
}
