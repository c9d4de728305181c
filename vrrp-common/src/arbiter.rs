//! A lease held by a third party (etcd, a database): only its holder may be MASTER. What to ask next, and
//! until when an answer allows what; no IO, no clock.
//!
//! ```text
//!            wanted, nobody holds it, no better candidate
//!   IDLE ──────────────────────────────────────────────────► HOLDING ──► renewed again and again
//!    ▲                                                          │
//!    └── not wanted any more (released), run out, or a better ──┘
//!        candidate waits: the permit ends first, then the lease is given back
//! ```
//!
//! The party counts from when it answers, we from when we asked, so that our permit ends first. Clocks need
//! not agree, only run at about the same rate ([`MARGIN_DIVISOR`]).

/// Of a lease so much is left to clocks that run at different rates: one part in thirty. Two clocks that are
/// each off by 1 % need less than one in fifty.
const MARGIN_DIVISOR: u64 = 30;

/// What is to be asked. One question at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// For a lease of our own, which nothing hangs on yet.
    Lease,
    /// Whether a better candidate waits; then to keep our lease, and with it what we hold.
    Renew,
    /// To hold it, as a candidate of this priority, unless somebody does or a better candidate waits.
    Acquire(u8),
    /// To end our lease, and with it that we hold it, or want to.
    Release,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// We have a lease.
    Leased,
    /// It is kept.
    Renewed {
        /// Whether what we hold is ours by it.
        holds: bool,
        /// The priority of the best candidate beside us, if any waits.
        rival: Option<u8>,
    },
    /// There is no such lease any more.
    Lost,
    /// Whether we hold it now.
    Acquired(bool),
    /// It is given back.
    Released,
    /// Nobody answered.
    Failed,
}

/// What holds while nobody answers (`on_unreachable`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnUnreachable {
    /// Nobody may be MASTER once its lease has run out; a check fails.
    #[default]
    Fault,
    /// Who held it may go on, and nobody else; a check says what it said before.
    Keep,
    /// Everybody may; a check passes.
    Ignore,
}

/// How often what. Times in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a lease lasts without being renewed.
    pub ttl_ns: u64,
    /// From one renewal to the next.
    pub interval_ns: u64,
    /// From one attempt of a candidate to the next.
    pub retry_ns: u64,
    /// What holds while nobody answers.
    pub on_unreachable: OnUnreachable,
}

/// One who would like to hold it at times.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each can be without the others"
)]
pub struct Tenant {
    terms: Terms,
    /// Until when our lease lasts for certain; 0 = there is none.
    lease_until_ns: u64,
    /// The party has said that we hold it, by the lease that we have.
    has_key: bool,
    /// We held it when the party was last heard: what `on_unreachable` goes by.
    holds: bool,
    /// The priority of the candidate that we are.
    wanted: Option<u8>,
    /// We may be known as a candidate or as the holder, by this lease.
    is_known: bool,
    /// This lease is to be given back. Whatever is wanted next is wanted by another one: what was asked for
    /// this one, and comes late, then changes nothing.
    releases: bool,
    /// A better candidate waits.
    gives_way: bool,
    /// Nobody answers since then.
    silent_since_ns: Option<u64>,
    /// There was an answer, or none, to the first question.
    is_tried: bool,
    next_ns: u64,
}

/// What one process leaves to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Until when the lease lasts for certain.
    pub lease_until_ns: u64,
    /// The priority that it is held with, or was when the party was last heard.
    pub held_as: Option<u8>,
    /// It is held by this very lease.
    pub has_key: bool,
    /// Since when nobody answers.
    pub silent_since_ns: Option<u64>,
}

/// May be MASTER without end.
pub const FOREVER: u64 = u64::MAX;

impl Tenant {
    /// One that knows nobody yet.
    #[must_use]
    pub const fn new(terms: Terms) -> Self {
        Self {
            terms,
            lease_until_ns: 0,
            has_key: false,
            holds: false,
            wanted: None,
            is_known: false,
            releases: false,
            gives_way: false,
            silent_since_ns: None,
            is_tried: false,
            next_ns: 0,
        }
    }

    /// One that goes on with the lease that another process had. Who held it wants it, at first; a lease
    /// that we do not know to hold anything is given back. Silence goes on as well.
    #[must_use]
    pub const fn resume(terms: Terms, left: Left) -> Self {
        let mut tenant = Self::new(terms);
        tenant.lease_until_ns = left.lease_until_ns;
        tenant.silent_since_ns = left.silent_since_ns;
        // Who has left something was answered, or knows that nobody answers.
        tenant.is_tried = true;
        tenant.holds = left.held_as.is_some();
        tenant.has_key = tenant.holds && left.has_key;
        tenant.wanted = left.held_as;
        tenant.is_known = true;
        tenant.releases = left.held_as.is_none();
        tenant
    }

    /// What the next process may go on with.
    #[must_use]
    pub const fn left(&self) -> Left {
        Left {
            lease_until_ns: self.lease_until_ns,
            held_as: if self.holds { self.wanted } else { None },
            has_key: self.has_key,
            silent_since_ns: self.silent_since_ns,
        }
    }

    /// Until when we may be MASTER; 0 = not at all.
    #[must_use]
    pub const fn permit_until_ns(&self, now_ns: u64) -> u64 {
        if let Some(since_ns) = self.silent_since_ns {
            let is_long = now_ns.saturating_sub(since_ns) >= self.terms.ttl_ns;
            match self.terms.on_unreachable {
                OnUnreachable::Ignore if self.holds || is_long => return FOREVER,
                OnUnreachable::Keep if self.holds => return FOREVER,
                OnUnreachable::Ignore | OnUnreachable::Keep | OnUnreachable::Fault => {}
            }
        }
        if self.has_key && !self.gives_way {
            self.lease_until_ns
        } else {
            0
        }
    }

    /// Whether somebody answers; `None` before the first answer. Silence counts when a lease has run out by
    /// it.
    #[must_use]
    pub const fn is_reachable(&self, now_ns: u64) -> Option<bool> {
        if !self.is_tried {
            return None;
        }
        Some(self.silent_since_ns.is_none() || now_ns < self.lease_until_ns)
    }

    /// We are a candidate of this priority, or none any more. 0 is one that asks nobody to give way.
    pub fn want(&mut self, now_ns: u64, wanted: Option<u8>) {
        if self.wanted == wanted {
            return;
        }
        self.wanted = wanted;
        if wanted.is_none() {
            // From here on somebody else may hold it at any moment.
            self.holds = false;
            self.has_key = false;
            self.gives_way = false;
            self.releases = self.is_known;
        }
        // Whoever asks waits for the answer to the question before.
        self.next_ns = now_ns;
    }

    /// What to ask, and when.
    #[must_use]
    pub const fn next(&self, now_ns: u64) -> (Ask, u64) {
        let ask = if now_ns >= self.lease_until_ns {
            Ask::Lease
        } else if self.releases {
            Ask::Release
        } else {
            match self.wanted {
                // A candidate keeps its lease as well, in good time. Who holds it by `on_unreachable` alone
                // has to get it anew.
                Some(priority) if !self.has_key && !self.is_half_over(now_ns) => {
                    Ask::Acquire(priority)
                }
                _ => Ask::Renew,
            }
        };
        (ask, self.next_ns)
    }

    const fn is_half_over(&self, now_ns: u64) -> bool {
        self.lease_until_ns.saturating_sub(now_ns) < self.terms.ttl_ns / 2
    }

    /// Takes an answer to what was asked at that time.
    pub fn answer(&mut self, asked_ns: u64, now_ns: u64, ask: Ask, answer: Answer) {
        self.is_tried = true;
        let until_ns = asked_ns + self.terms.ttl_ns - self.terms.ttl_ns / MARGIN_DIVISOR;
        self.next_ns = match answer {
            Answer::Leased | Answer::Lost | Answer::Released => now_ns,
            Answer::Renewed { .. } | Answer::Acquired(true) => now_ns + self.terms.interval_ns,
            Answer::Acquired(false) | Answer::Failed => now_ns + self.terms.retry_ns,
        };
        match answer {
            Answer::Leased => {
                self.begin_lease(until_ns);
            }
            Answer::Lost | Answer::Released => self.begin_lease(0),
            Answer::Renewed { holds, rival } => {
                self.lease_until_ns = until_ns;
                if self.has_key && !holds {
                    // Somebody has taken it away by hand.
                    self.has_key = false;
                    self.holds = false;
                }
                if self.wanted.is_some() && !self.has_key {
                    // Whether we hold it is known once that was asked: the silence lasts until then.
                    self.next_ns = now_ns;
                } else {
                    self.silent_since_ns = None;
                }
                let own = self.wanted.unwrap_or(0);
                self.gives_way = self.has_key && rival.is_some_and(|rival| rival > own);
            }
            // Who does not want it any more has not got it, and gives it back; even who wants it again by now.
            Answer::Acquired(holds) => {
                self.silent_since_ns = None;
                self.is_known = true;
                self.gives_way = false;
                self.releases |= self.wanted.is_none();
                self.holds = holds && !self.releases;
                self.has_key = self.holds;
                if self.releases {
                    self.next_ns = now_ns;
                }
            }
            Answer::Failed => {
                // It may have been heard all the same.
                self.is_known |= matches!(ask, Ask::Acquire(_));
                self.releases |= self.is_known && self.wanted.is_none();
                self.silent_since_ns.get_or_insert(asked_ns);
            }
        }
    }

    /// Another lease, or none. Nothing is held by it, but while nobody answers to that question either,
    /// `on_unreachable` may want us to go on.
    fn begin_lease(&mut self, until_ns: u64) {
        self.lease_until_ns = until_ns;
        self.has_key = false;
        self.is_known = false;
        self.releases = false;
        self.gives_way = false;
        let goes_on = self.silent_since_ns.is_some()
            && !matches!(self.terms.on_unreachable, OnUnreachable::Fault);
        self.holds &= goes_on;
    }
}
