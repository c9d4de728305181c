//! The laboratory: a LAN of network namespaces on one machine, with everything a failover concerns,
//! and a story that is played on it: a backend dies and returns, HAProxy dies and returns, the node
//! is cut off and returns.

mod cases;
mod interrupt;
mod picture;
mod stale;
mod story;
mod timeline;
mod topology;
mod web;

use std::{fmt, path::PathBuf};

pub use cases::{CASES, Case};
pub use interrupt::Interrupt;
pub use stale::Lock;
pub use timeline::{Entry, Timeline};

/// What to play.
pub struct Plan {
    /// The cases, in order.
    pub cases: Vec<&'static Case>,
    /// One JSON object per line.
    pub json: bool,
    /// Seconds between adverts.
    pub advert_int: f64,
    /// Leave the last case's LAN running until Ctrl-C.
    pub hold: bool,
    /// Where to draw the last case.
    pub picture: Option<PathBuf>,
    /// A bpffs for the daemons, where it is not the usual one.
    pub bpffs: Option<PathBuf>,
}

/// Why a lab ended early.
#[derive(Debug)]
pub enum Stop {
    /// Ctrl-C.
    Interrupted,
    /// Something that had to happen did not.
    Failed(String),
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interrupted => f.write_str("interrupted"),
            Self::Failed(what) => f.write_str(what),
        }
    }
}

/// Plays the cases. Whatever was made is gone when this returns.
///
/// # Errors
///
/// [`Stop`], when it was interrupted or a step did not end as its case says.
pub fn play(plan: &Plan, interrupt: &Interrupt) -> Result<(), Stop> {
    let mut timeline = Timeline::new(plan.json);
    timeline.header(plan.advert_int);
    for (number, case) in plan.cases.iter().enumerate() {
        timeline.case(number + 1, plan.cases.len(), case);
        let mut lab = topology::Lab::build(case, plan, interrupt)?;
        let played = story::play(&mut lab, case, &mut timeline);
        if let Err(Stop::Failed(_)) = &played {
            lab.show_logs();
        }
        played?;
        if let Some(path) = &plan.picture
            && number + 1 == plan.cases.len()
        {
            let (told, start_ns) = timeline.told();
            let title = format!("{}: {}", case.name, case.meaning());
            picture::Data::of(&lab, title, told, start_ns).draw(path)?;
        }
        if plan.hold && number + 1 == plan.cases.len() {
            lab.explain();
            interrupt.wait();
            return Err(Stop::Interrupted);
        }
    }
    Ok(())
}
