//! Taking off the programs that a daemon has left attached: after a crash, or native ones after a
//! clean stop.

use std::path::Path;

use aya::programs::tc;

use super::{
    Mode, clsact,
    kernel::{Kernel, Loaded, Side},
    ladder::Hook,
    pins::{Pin, Pins},
    take_over::{detach, ours_at, replace_xdp, unpin, update_pinned},
    xdp_netlink::{self, Attached},
};
use crate::net::InterfaceTable;

/// What to do with native XDP programs, whose detaching can take a NIC's link down for seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativePrograms {
    /// Take them off like every other.
    Detach,
    /// Leave them attached, with empty maps: everything passes.
    KeepInert,
}

/// Programs of ours that are attached in this network namespace.
pub struct Remains {
    pins: Vec<Pins>,
    found: Vec<Remnant>,
    /// Whether a TC filter is among them that netlink holds.
    has_filter: bool,
    /// Interfaces with a TC program that is pinned where we do not look.
    out_of_reach: Vec<String>,
}

struct Remnant {
    interface: String,
    ifindex: u32,
    program: Program,
}

enum Program {
    Pinned(Pin),
    Netlink(Attached),
}

impl Remnant {
    const fn hook(&self) -> Hook {
        match &self.program {
            Program::Pinned(pin) => pin.hook,
            Program::Netlink(program) => Hook::Receive(program.mode),
        }
    }
}

impl Remains {
    /// Looks for them.
    ///
    /// # Errors
    ///
    /// When an interface cannot be asked.
    pub fn find(bpffs: &Path, namespace: &str, table: &InterfaceTable) -> Result<Self, String> {
        let pins = Pins::existing(bpffs, namespace);
        let mut found: Vec<Remnant> = pins
            .iter()
            .flat_map(Pins::all)
            .map(|pin| Remnant {
                interface: table.by_index(pin.ifindex).map_or_else(
                    || format!("interface {}, which is gone", pin.ifindex),
                    |interface| interface.name.clone(),
                ),
                ifindex: pin.ifindex,
                program: Program::Pinned(pin),
            })
            .collect();
        for interface in table.iter() {
            let programs = match xdp_netlink::attached(interface.index) {
                Ok(programs) => programs,
                // It went meanwhile, and took its programs along.
                Err(refusal) if refusal.error.raw_os_error() == Some(libc::ENODEV) => continue,
                Err(refusal) => {
                    return Err(format!(
                        "ask for the programs on {}: {refusal}",
                        interface.name
                    ));
                }
            };
            for program in programs.into_iter().filter(Attached::is_ours) {
                let is_pinned = found.iter().any(|known| {
                    known.ifindex == interface.index && known.hook() == Hook::Receive(program.mode)
                });
                if !is_pinned {
                    found.push(Remnant {
                        interface: interface.name.clone(),
                        ifindex: interface.index,
                        program: Program::Netlink(program),
                    });
                }
            }
        }
        let has_filter = table.iter().any(|interface| {
            Side::ALL
                .into_iter()
                .any(|side| clsact::is_attached(interface.index, side))
        });
        let out_of_reach = table
            .iter()
            .filter(|interface| {
                Side::ALL.into_iter().any(|side| {
                    let pinned = |known: &&Remnant| {
                        known.ifindex == interface.index && known.hook().side() == Some(side)
                    };
                    ours_at(&interface.name, side) > found.iter().filter(pinned).count()
                })
            })
            .map(|interface| interface.name.clone())
            .collect();
        Ok(Self {
            pins,
            found,
            has_filter,
            out_of_reach,
        })
    }

    /// Whether a program is there that is not just a native one, which a clean stop leaves.
    #[must_use]
    pub fn show_a_crash(&self) -> bool {
        self.has_filter
            || !self.out_of_reach.is_empty()
            || self
                .found
                .iter()
                .any(|found| found.hook() != Hook::Receive(Mode::Native))
    }

    /// Takes them off. Returns what was done, and what could not be, in words for the operator.
    /// Nobody may serve the namespace meanwhile, and no virtual address may be left on it: without
    /// the program the kernel answers for them.
    #[must_use]
    pub fn take_off(
        self,
        table: &InterfaceTable,
        native: NativePrograms,
    ) -> Vec<Result<String, String>> {
        let mut report = Vec::new();
        for remnant in &self.found {
            let (name, hook) = (&remnant.interface, remnant.hook());
            // A pin of an interface that is gone holds nothing back.
            let is_there = table.by_index(remnant.ifindex).is_some();
            let is_native = hook == Hook::Receive(Mode::Native);
            let keep = is_there && is_native && native == NativePrograms::KeepInert;
            let (outcome, verb) = if keep {
                empty_or_take_off(remnant)
            } else {
                (take_off(remnant), "detached")
            };
            report.push(match outcome {
                Ok(()) => Ok(format!("{name}: {hook} {verb}")),
                Err(error) => Err(format!(
                    "{name}: the {hook} program stays: {error} (is it pinned below another --bpffs?)"
                )),
            });
        }
        for interface in table.iter() {
            let name = &interface.name;
            for hook in [Hook::Receive(Mode::Tc), Hook::Accept, Hook::Transmit] {
                // An error means that there is none.
                let outcome = hook
                    .side()
                    .map(|side| tc::qdisc_detach_program(name, side.place(), side.program()));
                if matches!(outcome, Some(Ok(()))) {
                    report.push(Ok(format!("{name}: {hook} detached")));
                }
            }
        }
        for name in &self.out_of_reach {
            report.push(Err(format!(
                "{name}: a {} program stays: it is pinned below another --bpffs",
                Mode::Tc
            )));
        }
        for pins in &self.pins {
            pins.remove_if_empty();
        }
        report
    }
}

/// Where the link of a pin is severed (its interface was made anew), there is nothing to keep.
fn empty_or_take_off(remnant: &Remnant) -> (Result<(), String>, &'static str) {
    match empty(remnant) {
        Err(_) if matches!(remnant.program, Program::Pinned(_)) => (take_off(remnant), "detached"),
        outcome => (outcome, "left attached, empty"),
    }
}

fn take_off(remnant: &Remnant) -> Result<(), String> {
    match &remnant.program {
        Program::Pinned(pin) => unpin(pin, &remnant.interface),
        Program::Netlink(program) => detach(remnant.ifindex, program),
    }
}

/// Puts a program with empty maps in its place. What the object brings besides is needed while the
/// program is handed to the kernel.
fn empty(remnant: &Remnant) -> Result<(), String> {
    let mut loaded: Loaded = Kernel::load(1, 1, 1, 1).map_err(|error| error.to_string())?;
    match &remnant.program {
        Program::Pinned(pin) => update_pinned(&mut loaded.kernel, pin).map(drop),
        Program::Netlink(program) => replace_xdp(&mut loaded.kernel, remnant.ifindex, program),
    }
}
