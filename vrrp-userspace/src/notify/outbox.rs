//! What must reach somebody on the network: sent in order, and again until it was taken.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
    time,
};

/// What waits beyond this pushes the oldest out.
const WAITING: usize = 1000;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Why something was not taken.
pub(super) struct Refusal {
    /// What was said.
    pub(super) why: String,
    /// It would be said again.
    pub(super) is_final: bool,
}

/// Somebody who takes things.
pub(super) trait Taker: Send + Sync + 'static {
    /// What is sent.
    type Item: Send + Sync + 'static;

    /// Sends one.
    fn send(&self, item: &Self::Item) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Who it is.
    fn name(&self) -> String;
}

/// What became of everything.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: AtomicU64,
    pub(super) lost: AtomicU64,
}

/// What is in the queue.
enum Message<T: Taker> {
    Item(T::Item),
    /// From here on somebody else takes what waits.
    Taker(T),
}

/// The queue towards one taker.
pub(super) struct Outbox<T: Taker> {
    queue: mpsc::UnboundedSender<Message<T>>,
    waiting: Arc<watch::Sender<usize>>,
    tally: Arc<Tally>,
    task: AbortHandle,
}

impl<T: Taker> Drop for Outbox<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Taker> Outbox<T> {
    pub(super) fn start(taker: T) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        let waiting = Arc::new(watch::channel(0).0);
        let tally = Arc::<Tally>::default();
        let delivery = Delivery {
            taker,
            messages,
            queue: VecDeque::new(),
            waiting: Arc::clone(&waiting),
            tally: Arc::clone(&tally),
            pause: FIRST_PAUSE,
            fails: false,
        };
        Self {
            queue,
            waiting,
            tally,
            task: tokio::spawn(delivery.deliver()).abort_handle(),
        }
    }

    pub(super) fn put(&self, item: T::Item) {
        self.waiting.send_modify(|count| *count += 1);
        // The task ends with its owner.
        let _ = self.queue.send(Message::Item(item));
    }

    /// What waits, and what comes, is for somebody else from now on.
    pub(super) fn turn_to(&self, taker: T) {
        // The task ends with its owner.
        let _ = self.queue.send(Message::Taker(taker));
    }

    /// How many were sent, lost, and wait.
    pub(super) fn counts(&self) -> (u64, u64, usize) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (
            count(&self.tally.sent),
            count(&self.tally.lost),
            *self.waiting.borrow(),
        )
    }

    /// Waits until nothing waits.
    pub(super) async fn empty(&self) {
        let mut waiting = self.waiting.subscribe();
        let _ = waiting.wait_for(|count| *count == 0).await;
    }
}

/// The other end of the queue.
struct Delivery<T: Taker> {
    taker: T,
    messages: mpsc::UnboundedReceiver<Message<T>>,
    queue: VecDeque<T::Item>,
    waiting: Arc<watch::Sender<usize>>,
    tally: Arc<Tally>,
    pause: Duration,
    fails: bool,
}

impl<T: Taker> Delivery<T> {
    async fn deliver(mut self) {
        loop {
            self.has_turned();
            let Some(item) = self.queue.front() else {
                match self.messages.recv().await {
                    Some(message) => self.receive(message),
                    None => return,
                };
                continue;
            };
            match self.taker.send(item).await {
                Ok(()) => {
                    if std::mem::take(&mut self.fails) {
                        tracing::info!("{} takes messages again", self.taker.name());
                    }
                    self.pause = FIRST_PAUSE;
                    self.drop_first(|tally| &tally.sent);
                }
                Err(Refusal {
                    why,
                    is_final: true,
                }) => {
                    // Another taker may be there since, and think otherwise.
                    if self.has_turned() {
                        continue;
                    }
                    tracing::error!("{} refuses a message for good: {why}", self.taker.name());
                    self.drop_first(|tally| &tally.lost);
                }
                Err(Refusal { why, .. }) => {
                    if !std::mem::replace(&mut self.fails, true) {
                        let name = self.taker.name();
                        tracing::warn!("{name}: {why}; trying again until it works");
                    }
                    self.wait().await;
                }
            }
        }
    }

    /// Receives what is there, and says whether the taker is another one now.
    fn has_turned(&mut self) -> bool {
        let mut has_turned = false;
        while let Ok(message) = self.messages.try_recv() {
            has_turned |= self.receive(message);
        }
        has_turned
    }

    /// Whether the taker is another one now.
    fn receive(&mut self, message: Message<T>) -> bool {
        match message {
            Message::Item(item) => {
                self.queue.push_back(item);
                if self.queue.len() > WAITING {
                    self.drop_first(|tally| &tally.lost);
                }
                false
            }
            Message::Taker(taker) => {
                self.taker = taker;
                self.fails = false;
                self.pause = FIRST_PAUSE;
                true
            }
        }
    }

    fn drop_first(&mut self, counter: fn(&Tally) -> &AtomicU64) {
        if self.queue.pop_front().is_some() {
            counter(&self.tally).fetch_add(1, Ordering::Relaxed);
            self.waiting
                .send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    /// Until it is worth another attempt: after a pause, longer each time, or with another taker.
    async fn wait(&mut self) {
        let until = time::Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        while let Ok(Some(message)) = time::timeout_at(until, self.messages.recv()).await {
            if self.receive(message) {
                return;
            }
        }
        // An owner that is gone ends this task, and must not make it spin until then.
        time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Notify, mpsc};

    use super::*;

    /// Refuses everything for good once it may answer, or takes it.
    struct Clerk {
        may_answer: Arc<Notify>,
        taken: Option<mpsc::UnboundedSender<u32>>,
    }

    impl Taker for Clerk {
        type Item = u32;

        async fn send(&self, item: &u32) -> Result<(), Refusal> {
            let Some(taken) = &self.taken else {
                self.may_answer.notified().await;
                return Err(Refusal {
                    why: "no".to_owned(),
                    is_final: true,
                });
            };
            taken.send(*item).expect("somebody who reads");
            Ok(())
        }

        fn name(&self) -> String {
            "a clerk".to_owned()
        }
    }

    #[tokio::test]
    async fn what_is_refused_while_another_taker_waits_goes_to_that_one() {
        let may_answer = Arc::<Notify>::default();
        let clerk = |taken| Clerk {
            may_answer: Arc::clone(&may_answer),
            taken,
        };
        let outbox = Outbox::start(clerk(None));
        outbox.put(1);
        tokio::task::yield_now().await;
        let (taken, mut read) = mpsc::unbounded_channel();
        outbox.turn_to(clerk(Some(taken)));
        outbox.put(2);
        may_answer.notify_one();
        outbox.empty().await;
        assert_eq!((read.recv().await, read.recv().await), (Some(1), Some(2)));
        assert_eq!(outbox.counts(), (2, 0, 0));
    }
}
