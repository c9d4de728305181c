//! What must never be: two routers that hear each other, both answering.

#[derive(Default)]
pub(super) struct Oracle {
    pub(super) longest_overlap: u64,
    since: Option<u64>,
}

impl Oracle {
    /// `answering` routers answer from now until the next observation.
    pub(super) fn observe(&mut self, now: u64, answering: usize) {
        if let Some(since) = self.since {
            self.longest_overlap = self.longest_overlap.max(now - since);
        }
        self.since = match (answering > 1, self.since) {
            (true, Some(since)) => Some(since),
            (true, None) => Some(now),
            (false, _) => None,
        };
    }
}
