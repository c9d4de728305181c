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

/// The queue towards one taker.
pub(super) struct Outbox<I> {
    queue: mpsc::UnboundedSender<I>,
    waiting: Arc<watch::Sender<usize>>,
    tally: Arc<Tally>,
    task: AbortHandle,
}

impl<I> Drop for Outbox<I> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<I: Send + Sync + 'static> Outbox<I> {
    pub(super) fn start(taker: impl Taker<Item = I>) -> Self {
        let (queue, items) = mpsc::unbounded_channel();
        let waiting = Arc::new(watch::channel(0).0);
        let tally = Arc::<Tally>::default();
        let (counter, tallied) = (Arc::clone(&waiting), Arc::clone(&tally));
        let task = tokio::spawn(deliver(taker, items, counter, tallied));
        Self {
            queue,
            waiting,
            tally,
            task: task.abort_handle(),
        }
    }

    pub(super) fn put(&self, item: I) {
        self.waiting.send_modify(|count| *count += 1);
        // The task ends with its owner.
        let _ = self.queue.send(item);
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

async fn deliver<T: Taker>(
    taker: T,
    mut items: mpsc::UnboundedReceiver<T::Item>,
    waiting: Arc<watch::Sender<usize>>,
    tally: Arc<Tally>,
) {
    let one_less = || waiting.send_modify(|count| *count = count.saturating_sub(1));
    let mut queue: VecDeque<T::Item> = VecDeque::new();
    let mut pause = FIRST_PAUSE;
    let mut fails = false;
    loop {
        if queue.is_empty() {
            match items.recv().await {
                Some(item) => queue.push_back(item),
                None => return,
            }
        }
        while let Ok(item) = items.try_recv() {
            queue.push_back(item);
        }
        while queue.len() > WAITING {
            queue.pop_front();
            tally.lost.fetch_add(1, Ordering::Relaxed);
            one_less();
        }
        let Some(item) = queue.front() else {
            continue;
        };
        match taker.send(item).await {
            Ok(()) => {
                if std::mem::take(&mut fails) {
                    tracing::info!("{} takes messages again", taker.name());
                }
                pause = FIRST_PAUSE;
                queue.pop_front();
                tally.sent.fetch_add(1, Ordering::Relaxed);
                one_less();
            }
            Err(Refusal {
                why,
                is_final: true,
            }) => {
                tracing::error!("{} refuses a message for good: {why}", taker.name());
                queue.pop_front();
                tally.lost.fetch_add(1, Ordering::Relaxed);
                one_less();
            }
            Err(Refusal { why, .. }) => {
                if !std::mem::replace(&mut fails, true) {
                    tracing::warn!("{}: {why}; trying again until it works", taker.name());
                }
                time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
