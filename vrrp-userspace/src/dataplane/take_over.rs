//! What a daemon before us has left: on an interface that we serve its program is replaced in place,
//! everywhere else it is taken off.

use std::{
    fs,
    mem::ManuallyDrop,
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use aya::programs::{
    ProgramInfo, SchedClassifier,
    links::{FdLink, PinnedLink},
    tc::{self, SchedClassifierLink},
    xdp::XdpLink,
};

use super::{
    Dataplane, DataplaneError, Device, Mode,
    attach::{Hold, TC_HANDLE, in_full},
    clsact,
    kernel::{Kernel, Side},
    ladder::{Hook, Rung},
    pins::Pin,
    xdp_netlink::{self, Attached},
};
use crate::net::InterfaceTable;

impl Dataplane {
    /// What a daemon before us has left on the interface goes on with our program, where its place
    /// is one that we may use; otherwise it is taken off.
    pub(super) fn take_over(
        &mut self,
        device: &Device,
        rungs: &[Rung],
    ) -> Result<Option<(Mode, Hold)>, DataplaneError> {
        let wanted = |mode| rungs.iter().any(|(rung, _)| *rung == mode);
        let mut taken = self.take_over_pins(device, &wanted);
        if taken.is_none() {
            taken = self.take_over_xdp(device, &wanted);
        }
        if taken.is_none() && wanted(Mode::Tc) {
            taken = self
                .take_over_tc(device, Side::Ingress)
                .map(|hold| (Mode::Tc, hold));
        }
        if !matches!(&taken, Some((Mode::Tc, Hold::TcNetlink(_)))) {
            // An error, because there is none, is the usual answer.
            detach_filter(&device.name, Side::Ingress);
        }
        let mode = taken.as_ref().map(|(mode, _)| *mode);
        let front = in_front(device.index, &device.name, mode);
        let place = front.map(|mode| mode.to_string());
        match place.or_else(|| self.stale_companion(device)) {
            Some(place) => Err(DataplaneError::InFront {
                interface: device.name.clone(),
                place,
            }),
            None => Ok(taken),
        }
    }

    /// A companion whose pin is not here: with its old maps it would hold back what we say.
    fn stale_companion(&self, device: &Device) -> Option<String> {
        let is_stale = |(hook, side): &(Hook, Side)| {
            let pins = self.found.iter();
            let known = pins.filter(|pin| pin.ifindex == device.index && pin.hook == *hook);
            ours_at(&device.name, *side) > known.count()
        };
        let stale = COMPANIONS.into_iter().find(is_stale);
        stale.map(|(hook, _)| hook.to_string())
    }

    /// Takes off what is left on interfaces that we do not serve: nobody would ever do so, and it
    /// would go on silencing addresses that may be put there by hand.
    pub fn take_off_elsewhere(&mut self, table: &InterfaceTable) {
        for pin in std::mem::take(&mut self.found) {
            let name = table
                .by_index(pin.ifindex)
                .map_or("an interface that is gone", |interface| &interface.name);
            take_off_pin(&pin, name);
        }
        for interface in table.iter() {
            if self.attachment(interface.index).is_none() {
                for program in ours_on(interface.index) {
                    take_off_xdp(interface.index, &interface.name, &program);
                }
                for side in Side::ALL {
                    detach_filter(&interface.name, side);
                }
            }
        }
    }

    fn take_over_pins(
        &mut self,
        device: &Device,
        wanted: &impl Fn(Mode) -> bool,
    ) -> Option<(Mode, Hold)> {
        let (here, elsewhere) = std::mem::take(&mut self.found)
            .into_iter()
            .partition::<Vec<Pin>, _>(|pin| {
                pin.ifindex == device.index && matches!(pin.hook, Hook::Receive(_))
            });
        self.found = elsewhere;
        let mut taken = None;
        for pin in here {
            if taken.is_none()
                && let Hook::Receive(mode) = pin.hook
                && wanted(mode)
                && let Some(kernel) = &mut self.kernel
            {
                match update_pinned(kernel, &pin) {
                    Ok(link) => {
                        taken = Some((mode, Hold::Pinned(link)));
                        continue;
                    }
                    // `ENOLINK`: the interface it was on is gone, and this one has got its index.
                    Err(error) => tracing::debug!("{}: {error}", pin.path.display()),
                }
            }
            take_off_pin(&pin, &device.name);
        }
        taken
    }

    fn take_over_xdp(
        &mut self,
        device: &Device,
        wanted: &impl Fn(Mode) -> bool,
    ) -> Option<(Mode, Hold)> {
        let (ifindex, name) = (device.index, &device.name);
        let mut taken = None;
        for old in ours_on(ifindex) {
            let mode = old.mode;
            if taken.is_none()
                && wanted(mode)
                && let Some(kernel) = &mut self.kernel
            {
                match replace_xdp(kernel, ifindex, &old) {
                    Ok(()) => {
                        taken = Some((mode, Hold::XdpNetlink { ifindex, mode }));
                        continue;
                    }
                    Err(error) => tracing::debug!("{name}: replace the {mode} program: {error}"),
                }
            }
            take_off_xdp(ifindex, name, &old);
        }
        taken
    }

    /// A companion of a daemon before us, with ours in its place.
    pub(super) fn take_over_companion(
        &mut self,
        device: &Device,
        hook: Hook,
        side: Side,
    ) -> Option<Hold> {
        let is_here = |pin: &Pin| pin.ifindex == device.index && pin.hook == hook;
        if let Some(at) = self.found.iter().position(is_here) {
            let pin = self.found.swap_remove(at);
            match update_pinned(self.kernel.as_mut()?, &pin) {
                Ok(link) => return Some(Hold::Pinned(link)),
                Err(error) => tracing::debug!("{}: {error}", pin.path.display()),
            }
            take_off_pin(&pin, &device.name);
        }
        self.take_over_tc(device, side)
    }

    /// Takes companions off where there is no program that they could go with.
    pub(super) fn take_off_companions(&mut self, device: &Device) {
        for (hook, side) in COMPANIONS {
            let is_here = |pin: &Pin| pin.ifindex == device.index && pin.hook == hook;
            while let Some(at) = self.found.iter().position(is_here) {
                take_off_pin(&self.found.swap_remove(at), &device.name);
            }
            detach_filter(&device.name, side);
        }
    }

    fn take_over_tc(&mut self, device: &Device, side: Side) -> Option<Hold> {
        // Somebody else may have a filter at our place.
        if !clsact::is_attached(device.index, side) {
            return None;
        }
        let program = self.kernel.as_mut()?.tc(side).ok()?;
        let link = SchedClassifierLink::attached(
            &device.name,
            side.place(),
            side.priority(),
            TC_HANDLE,
            None,
        )
        .ok()?;
        let id = program.attach_to_link(link).ok()?;
        let link = program.take_link(id).ok()?;
        Some(Hold::TcNetlink(ManuallyDrop::new(link)))
    }
}

/// What may be attached beside the program that judges frames.
pub(super) const COMPANIONS: [(Hook, Side); 2] =
    [(Hook::Accept, Side::Accept), (Hook::Transmit, Side::Egress)];

fn ours_on(ifindex: u32) -> Vec<Attached> {
    let mut found = xdp_netlink::attached(ifindex).unwrap_or_default();
    found.retain(Attached::is_ours);
    found
}

/// Which program of an earlier xvrrp, besides the one taken over, is still on the interface.
fn in_front(ifindex: u32, name: &str, taken: Option<Mode>) -> Option<Mode> {
    let xdp = ours_on(ifindex).into_iter().map(|program| program.mode);
    let tcx = (0..ours_at(name, Side::Ingress)).map(|_| Mode::Tc);
    let mut left: Vec<Mode> = xdp.chain(tcx).collect();
    if let Some(at) = left.iter().position(|mode| Some(*mode) == taken) {
        left.swap_remove(at);
    }
    left.first().copied()
}

/// How many TC programs of ours are attached by links. Kernels without TCX have none.
pub(super) fn ours_at(interface: &str, side: Side) -> usize {
    let programs = SchedClassifier::query_tcx(interface, side.place())
        .map(|(_, programs)| programs)
        .unwrap_or_default();
    let ours = |program: &&ProgramInfo| program.name_as_str() == Some(side.program());
    programs.iter().filter(ours).count()
}

/// An error, because there is none, is the usual answer.
fn detach_filter(interface: &str, side: Side) {
    let _ = tc::qdisc_detach_program(interface, side.place(), side.program());
}

fn take_off_pin(pin: &Pin, interface: &str) {
    match unpin(pin, interface) {
        Ok(()) => tracing::info!(
            "{interface}: took the {} program of an earlier xvrrp off",
            pin.hook
        ),
        Err(error) => tracing::error!("{interface}: {error}"),
    }
}

fn take_off_xdp(ifindex: u32, interface: &str, program: &Attached) {
    match detach(ifindex, program) {
        Ok(()) => tracing::info!(
            "{interface}: took the {} program of an earlier xvrrp off",
            program.mode
        ),
        Err(error) => tracing::warn!("{interface}: {}: {error}", program.mode),
    }
}

/// Detaches a program that netlink holds.
pub(super) fn detach(ifindex: u32, program: &Attached) -> Result<(), String> {
    let handle = program.program().map_err(|refusal| refusal.to_string())?;
    xdp_netlink::detach(ifindex, program.mode, handle.as_fd())
        .map_err(|refusal| refusal.to_string())
}

/// How long the kernel may take to let go of a link whose pin is gone: it does so in the background.
const LETTING_GO: Duration = Duration::from_secs(3);

/// Removes a pin, and waits until the program behind it is off.
pub(super) fn unpin(pin: &Pin, interface: &str) -> Result<(), String> {
    let program = PinnedLink::from_pin(&pin.path)
        .and_then(|link| FdLink::from(link).info())
        .map(|info| info.program_id());
    fs::remove_file(&pin.path)
        .map_err(|error| format!("remove {}: {error}", pin.path.display()))?;
    let Ok(program) = program else {
        return Ok(());
    };
    let end = Instant::now() + LETTING_GO;
    while is_attached(pin, interface, program) {
        if Instant::now() > end {
            return Err(format!("the {} program stays attached", pin.hook));
        }
        thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

fn is_attached(pin: &Pin, interface: &str, program: u32) -> bool {
    if let Some(side) = pin.hook.side() {
        return SchedClassifier::query_tcx(interface, side.place())
            .is_ok_and(|(_, programs)| programs.iter().any(|found| found.id() == program));
    }
    xdp_netlink::attached(pin.ifindex)
        .is_ok_and(|found| found.iter().any(|attached| attached.program_id == program))
}

/// Puts our program behind a pinned link.
pub(super) fn update_pinned(kernel: &mut Kernel, pin: &Pin) -> Result<PinnedLink, String> {
    let link = FdLink::from(PinnedLink::from_pin(&pin.path).map_err(in_full)?);
    if let Some(side) = pin.hook.side() {
        let program = kernel.tc(side).map_err(in_full)?;
        let link = SchedClassifierLink::try_from(link).map_err(in_full)?;
        let id = program.attach_to_link(link).map_err(in_full)?;
        drop(program.take_link(id).map_err(in_full)?);
    } else {
        let program = kernel.xdp().map_err(in_full)?;
        let link = XdpLink::try_from(link).map_err(in_full)?;
        let id = program.attach_to_link(link).map_err(in_full)?;
        drop(program.take_link(id).map_err(in_full)?);
    }
    // The pin holds the link; what is kept here is a way to it.
    PinnedLink::from_pin(&pin.path).map_err(in_full)
}

/// Puts our program in the place of one that netlink holds.
pub(super) fn replace_xdp(kernel: &mut Kernel, ifindex: u32, old: &Attached) -> Result<(), String> {
    let program = kernel.xdp().map_err(in_full)?.fd().map_err(in_full)?;
    let old_program = old.program().map_err(|refusal| refusal.to_string())?;
    xdp_netlink::replace(ifindex, old.mode, program.as_fd(), old_program.as_fd())
        .map_err(|refusal| refusal.to_string())
}
