//! Sync groups (`vrrp_sync_group`): virtual routers that are MASTER together or not at all. No RFC
//! knows them; the rules are keepalived's.
//!
//! A member that would be MASTER waits until all would be. One that leaves MASTER takes the others
//! along, and so does one in FAULT. Whoever holds the members looks at every member's slot before it
//! asks [`decide`], and gives the order to all of them.

/// How a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stance {
    /// Not started.
    Out,
    /// In FAULT.
    Fault {
        /// Whether something of its own failed.
        own: bool,
    },
    /// BACKUP, held down by a master, or listening whether there is one.
    Listening,
    /// BACKUP, and kept there by its group alone.
    Ready,
    /// MASTER.
    Master,
}

/// What every member is told to do. A member that it does not concern does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Become MASTER.
    Promote,
    /// Become BACKUP, without resigning: whoever beat one member takes the others over too.
    Yield,
    /// Become BACKUP and resign: an arbiter does not allow to be MASTER any longer.
    Surrender,
    /// Go to FAULT.
    Fault,
    /// Leave FAULT and listen.
    ClearFault,
}

/// What the group must do, given how its members stand; nothing where all is as it should be.
#[must_use]
pub fn decide(members: &(impl Iterator<Item = Stance> + Clone)) -> Option<Order> {
    let any = |wanted: fn(Stance) -> bool| members.clone().any(wanted);
    let takes_part = |stance| matches!(stance, Stance::Listening | Stance::Ready | Stance::Master);
    if any(|stance| stance == Stance::Fault { own: true }) {
        return any(takes_part).then_some(Order::Fault);
    }
    if any(|stance| stance == Stance::Fault { own: false }) {
        return Some(Order::ClearFault);
    }
    let ready = any(|stance| stance == Stance::Ready);
    if any(|stance| matches!(stance, Stance::Out | Stance::Listening)) {
        return any(|stance| stance == Stance::Master).then_some(Order::Yield);
    }
    ready.then_some(Order::Promote)
}

/// The same for a group that needs the permit of an arbiter ([`crate::arbiter`]) to be MASTER.
#[must_use]
pub fn decide_with_permit(
    members: &(impl Iterator<Item = Stance> + Clone),
    has_permit: bool,
) -> Option<Order> {
    let order = decide(members);
    if has_permit {
        return order;
    }
    match order {
        Some(Order::Promote) | None => {
            let mut all = members.clone();
            all.any(|stance| stance == Stance::Master)
                .then_some(Order::Surrender)
        }
        other => other,
    }
}

/// Whether the group is, or would be, MASTER: what it takes an arbiter's permit for.
#[must_use]
pub fn wants_permit(members: &(impl Iterator<Item = Stance> + Clone)) -> bool {
    let mut all = members.clone();
    let mut any = members.clone();
    any.next().is_some() && all.all(|it| matches!(it, Stance::Ready | Stance::Master))
}

#[cfg(test)]
mod tests {
    use super::{Order, Stance::*, decide, decide_with_permit, wants_permit};

    #[test]
    fn without_a_permit_nobody_is_master() {
        let own = Fault { own: true };
        // (members, wants a permit, what happens without, what with one)
        let rows = [
            (vec![Ready], true, None, Some(Order::Promote)),
            (vec![Master], true, Some(Order::Surrender), None),
            (vec![Listening], false, None, None),
            (vec![Ready, Listening], false, None, None),
            (
                vec![Master, Ready],
                true,
                Some(Order::Surrender),
                Some(Order::Promote),
            ),
            (
                vec![Master, Listening],
                false,
                Some(Order::Yield),
                Some(Order::Yield),
            ),
            (
                vec![Master, own],
                false,
                Some(Order::Fault),
                Some(Order::Fault),
            ),
            (vec![Out], false, None, None),
            (vec![], false, None, None),
        ];
        for (members, wants, without, with) in rows {
            let stances = members.iter().copied();
            assert_eq!(wants_permit(&stances), wants, "{members:?}");
            assert_eq!(decide_with_permit(&stances, false), without, "{members:?}");
            assert_eq!(decide_with_permit(&stances, true), with, "{members:?}");
        }
    }

    #[test]
    fn all_or_none() {
        let own = Fault { own: true };
        let by_group = Fault { own: false };
        let rows = [
            (vec![Ready, Ready], Some(Order::Promote)),
            (vec![Ready, Listening], None),
            (vec![Ready, Out], None),
            (vec![Listening, Listening], None),
            (vec![Master, Master], None),
            (vec![Master, Ready], Some(Order::Promote)),
            (vec![Master, Listening], Some(Order::Yield)),
            (vec![Master, Out], Some(Order::Yield)),
            (vec![Master, own], Some(Order::Fault)),
            (vec![Ready, own], Some(Order::Fault)),
            (vec![Out, own], None),
            (vec![by_group, own], None),
            (vec![by_group, by_group], Some(Order::ClearFault)),
            (vec![by_group, Listening], Some(Order::ClearFault)),
            (vec![], None),
        ];
        for (members, expected) in rows {
            assert_eq!(decide(&members.iter().copied()), expected, "{members:?}");
        }
    }
}
