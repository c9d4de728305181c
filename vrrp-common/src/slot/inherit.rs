//! A slot that goes on where that of the daemon before left off.

use super::{FactWords, Slot, Word};

fn copy(to: &Word, from: &Word) {
    to.store(from.load());
}

fn copy_facts(to: &FactWords, from: &FactWords) {
    copy(&to.high, &from.high);
    copy(&to.low, &from.low);
    copy(&to.packed, &from.packed);
}

impl Slot {
    /// Takes over what the kernel wrote into the slot of the daemon before. Only while no program of this
    /// daemon is attached: until then the kernel half is nobody's. Whether that one was beaten is for
    /// [`Self::catch_up`] to say, once an epoch is published here.
    pub fn inherit(&self, before: &Self) {
        let (to, from) = (&self.kernel, &before.kernel);
        for (to, from) in [
            (&to.seen_ns, &from.seen_ns),
            (&to.other_ns, &from.other_ns),
            (&to.accepted, &from.accepted),
            (&to.lesser, &from.lesser),
            (&to.foreign_zero, &from.foreign_zero),
            (&to.answered, &from.answered),
            (&to.late, &from.late),
            (&to.very_late, &from.very_late),
            (&to.claim_ns, &from.claim_ns),
            (&to.claim_mac, &from.claim_mac),
            (&to.reject_ns, &from.reject_ns),
            (&to.reject_reason, &from.reject_reason),
            (&to.reject_high, &from.reject_high),
            (&to.reject_low, &from.reject_low),
            (&to.master_mac, &from.master_mac),
        ] {
            copy(to, from);
        }
        copy_facts(&to.master, &from.master);
        copy_facts(&to.other, &from.other);
    }

    /// Takes over what was recorded in the slot of the daemon before between [`Self::inherit`] and the
    /// moment the programs were replaced. The kernel may be writing here by now: what it stamps at the
    /// same time is lost, and heard again with the next advert.
    pub fn catch_up(&self, before: &Self) {
        let (to, from) = (&self.kernel, &before.kernel);
        if from.seen_ns.load() > to.seen_ns.load() {
            copy_facts(&to.master, &from.master);
            copy(&to.master_mac, &from.master_mac);
            copy(&to.seen_ns, &from.seen_ns);
        }
        if from.other_ns.load() > to.other_ns.load() {
            copy_facts(&to.other, &from.other);
            copy(&to.other_ns, &from.other_ns);
        }
        if before.is_beaten() && before.user.epoch.load() == self.user.epoch.load() {
            copy(&to.beaten, &from.beaten);
        }
    }
}
