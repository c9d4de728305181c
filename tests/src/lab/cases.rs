//! The cases of the switching table, each with what must happen in it.

/// One way to configure the three routers.
#[derive(Debug)]
pub struct Case {
    /// Its name, for people and for `--case`.
    pub name: &'static str,
    /// The weight line of the check, or nothing.
    pub weight: &'static str,
    /// Whether a returning node leaves the address where it is.
    pub nopreempt: bool,
    /// Base priorities of r1, r2 and r3.
    pub priorities: [u8; 3],
    /// Who holds the addresses after each step of the story: 0 = r1, 1 = r2, 2 = r3.
    pub holders: Holders,
}

/// Who holds the addresses after each step.
#[derive(Clone, Copy, Debug)]
pub struct Holders {
    /// HAProxy on r1 has died.
    pub proxy_dead: usize,
    /// It has returned.
    pub proxy_back: usize,
    /// The node that held the addresses then is cut off.
    pub node_cut: usize,
    /// It has returned.
    pub node_back: usize,
}

/// The addresses go to r2 while r1 cannot have them, and come back.
const RETURNS: Holders = Holders {
    proxy_dead: 1,
    proxy_back: 0,
    node_cut: 1,
    node_back: 0,
};

/// The addresses go where they must and stay: to r2, and when r2 is cut off to r1.
const GOES_AND_STAYS: Holders = Holders {
    proxy_dead: 1,
    proxy_back: 1,
    node_cut: 0,
    node_back: 0,
};

/// A failed check cannot move them, only the loss of the node can; they come back.
const ONLY_THE_NODE: Holders = Holders {
    proxy_dead: 0,
    proxy_back: 0,
    node_cut: 1,
    node_back: 0,
};

/// A failed check cannot move them, and after the loss of the node they stay where they went.
const ONLY_THE_NODE_AND_STAYS: Holders = Holders {
    proxy_dead: 0,
    proxy_back: 0,
    node_cut: 1,
    node_back: 1,
};

const fn case(
    name: &'static str,
    weight: &'static str,
    priorities: [u8; 3],
    holders: Holders,
) -> Case {
    Case {
        name,
        weight,
        nopreempt: matches!(name.as_bytes(), [b'n', ..]),
        priorities,
        holders,
    }
}

/// Every case.
pub const CASES: &[Case] = &[
    case("preempt+20", "weight 20", [100, 90, 70], RETURNS),
    case("preempt-30", "weight -30", [100, 90, 80], RETURNS),
    case(
        "preempt-30-far-apart",
        "weight -30",
        [150, 100, 80],
        ONLY_THE_NODE,
    ),
    case("preempt-0", "weight 0", [100, 90, 80], RETURNS),
    case("preempt-default", "", [100, 99, 80], RETURNS),
    case(
        "nopreempt+20",
        "weight 20",
        [100, 90, 70],
        ONLY_THE_NODE_AND_STAYS,
    ),
    case(
        "nopreempt-30",
        "weight -30",
        [100, 90, 80],
        ONLY_THE_NODE_AND_STAYS,
    ),
    case("nopreempt-0", "weight 0", [100, 90, 80], GOES_AND_STAYS),
    case("nopreempt-default", "", [100, 90, 80], GOES_AND_STAYS),
];

impl Case {
    /// What the weight means, in words.
    #[must_use]
    pub fn meaning(&self) -> String {
        let weight = match (self.weight, self.nopreempt) {
            ("", true) => "no weight: a failed check means FAULT".to_owned(),
            ("", false) => "no weight: a passed check adds 2".to_owned(),
            ("weight 0", _) => "weight 0: a failed check means FAULT".to_owned(),
            (weight, _) if weight.contains('-') => format!("{weight}: a failed check costs that"),
            (weight, _) => format!("{weight}: a passed check adds that"),
        };
        let preemption = if self.nopreempt {
            "not preemptive"
        } else {
            "preemptive"
        };
        let [a, b, c] = self.priorities;
        format!("{preemption}, {weight}, priorities {a} {b} {c}")
    }
}
