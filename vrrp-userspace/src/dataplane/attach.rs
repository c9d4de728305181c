//! Attaching one interface: what a daemon before us has left is taken over in place; otherwise the
//! ladder is climbed down until something holds.

use std::{collections::HashMap, fmt, io, mem::ManuallyDrop, os::fd::AsFd as _, path::Path};

use aya::programs::{
    LinkOrder, SchedClassifier, Xdp, XdpMode,
    links::{FdLink, PinnedLink},
    tc::{self, NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle},
};
use serde::Serialize;

use super::{
    Dataplane, DataplaneError, Device, Mode, Routed,
    kernel::{Kernel, Side},
    ladder::{Hook, Rung, ladder},
    take_over,
    userspace::{Receiver, Reception},
    xdp_netlink,
};

/// How an interface is attached, and why so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Where frames are judged.
    pub mode: Mode,
    /// Why there, in words for the operator.
    pub reason: String,
    /// What keeps the program attached.
    pub held_by: Holder,
    /// Why a program is missing that should be attached beside the one that judges frames: then a
    /// virtual MAC cannot be kept, or what the kernel says by itself is not held back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub companion_problem: Option<String>,
}

/// What keeps a program attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// A pin on a bpffs; it stays after a crash.
    Pin,
    /// Netlink; it stays after a crash.
    Netlink,
    /// This process; it goes with it.
    Process,
}

impl Attachment {
    /// Whether ARP for our addresses is kept from the kernel unless the lease allows an answer.
    #[must_use]
    pub const fn fences(&self) -> bool {
        !matches!(self.mode, Mode::UserSpace)
    }

    /// Why an instance cannot have a virtual MAC here; `None` where it can.
    #[must_use]
    pub fn no_virtual_mac(&self) -> Option<&str> {
        if self.fences() {
            return self.companion_problem.as_deref();
        }
        Some("without a kernel program nobody takes frames for it")
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pin => "pinned",
            Self::Netlink => "held by netlink",
            Self::Process => "held by this process",
        })
    }
}

/// An attached interface.
pub(super) struct Port {
    pub(super) attachment: Attachment,
    hold: Hold,
    /// What is attached beside it.
    companions: Vec<Hold>,
}

impl Port {
    fn new(mode: Mode, reason: String, hold: Hold) -> Self {
        let held_by = hold.holder();
        Self {
            attachment: Attachment {
                mode,
                reason,
                held_by,
                companion_problem: None,
            },
            hold,
            companions: Vec::new(),
        }
    }
}

/// The reason of a mode that was not chosen but found.
const TAKEN_OVER: &str = "taken over in place from the daemon before";

/// What has to be let go of to detach. Dropping it leaves the program where it is, as far as it can
/// stay: a daemon that fails must not take the fence with it.
pub(super) enum Hold {
    Pinned(PinnedLink),
    XdpNetlink { ifindex: u32, mode: Mode },
    TcNetlink(ManuallyDrop<SchedClassifierLink>),
    TcProcess(SchedClassifierLink),
    UserSpace(Reception),
}

impl Hold {
    const fn holder(&self) -> Holder {
        match self {
            Self::Pinned(_) => Holder::Pin,
            Self::XdpNetlink { .. } | Self::TcNetlink(_) => Holder::Netlink,
            Self::TcProcess(_) | Self::UserSpace(_) => Holder::Process,
        }
    }

    /// Detaches. Netlink is told which program is meant: somebody may have put another in its place.
    fn release(self, kernel: Option<&mut Kernel>) -> Result<(), String> {
        match self {
            Self::Pinned(pin) => pin.unpin().map(drop).map_err(|error| error.to_string()),
            Self::XdpNetlink { ifindex, mode } => {
                let kernel = kernel.ok_or("there is no kernel program")?;
                let program = kernel.xdp().map_err(in_full)?.fd().map_err(in_full)?;
                xdp_netlink::detach(ifindex, mode, program.as_fd())
                    .map_err(|refusal| refusal.to_string())
            }
            Self::TcNetlink(link) => {
                drop(ManuallyDrop::into_inner(link));
                Ok(())
            }
            Self::TcProcess(link) => {
                drop(link);
                Ok(())
            }
            Self::UserSpace(reception) => {
                drop(reception);
                Ok(())
            }
        }
    }
}

/// The handle of our filters at their priority; 112 is VRRP's protocol number.
pub(super) const TC_HANDLE: TcHandle = TcHandle::new(0, 112);

impl Dataplane {
    /// Attaches to the interface, or says how it is attached already.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Attach`] with what the kernel said on each rung.
    pub fn attach(&mut self, device: &Device) -> Result<Attachment, DataplaneError> {
        if let Some(port) = self.ports.get(&device.index) {
            return Ok(port.attachment.clone());
        }
        self.count_interface(device.index)?;
        let rungs = ladder(self.request, device);
        let mut port = match self.take_over(device, &rungs)? {
            Some((mode, hold)) => {
                let reason = rungs.iter().find(|(rung, _)| *rung == mode);
                let reason = reason.map_or("", |(_, reason)| reason);
                Port::new(mode, format!("{TAKEN_OVER}; {reason}"), hold)
            }
            None => self.climb(device, rungs)?,
        };
        if port.attachment.fences() {
            self.attach_companions(device, &mut port);
        } else {
            self.take_off_companions(device);
        }
        let attachment = port.attachment.clone();
        self.ports.insert(device.index, port);
        Ok(attachment)
    }

    /// How the interface is attached.
    #[must_use]
    pub fn attachment(&self, ifindex: u32) -> Option<&Attachment> {
        self.ports.get(&ifindex).map(|port| &port.attachment)
    }

    /// Detaches from interfaces that `keep` does not want, and forgets those that are gone.
    pub fn detach_except(&mut self, keep: impl Fn(u32) -> bool) {
        let (kept, gone): (HashMap<_, _>, HashMap<_, _>) = std::mem::take(&mut self.ports)
            .into_iter()
            .partition(|(ifindex, _)| keep(*ifindex));
        self.ports = kept;
        for (ifindex, port) in gone {
            // An interface that is gone has taken its program along; there is nothing to detach.
            for hold in port.companions.into_iter().chain([port.hold]) {
                if let Err(error) = hold.release(self.kernel.as_mut()) {
                    tracing::debug!("detach from interface {ifindex}: {error}");
                }
            }
            self.tables.forget_interface(ifindex);
            let mut routed = self.routed.values().flat_map(Routed::interfaces);
            let is_routed = routed.any(|index| index == ifindex);
            if let Some(kernel) = &mut self.kernel {
                kernel.forget_interface(ifindex, is_routed);
            }
        }
    }

    /// An orderly end, after the addresses are gone: every program is detached, except native ones.
    /// Detaching those can take a NIC's link down for seconds, so they stay and let everything pass.
    ///
    /// Says whether everything went as it should.
    pub fn release(&mut self) -> bool {
        let mut whole = true;
        self.unroute_all();
        for (ifindex, port) in std::mem::take(&mut self.ports) {
            let (mode, held_by) = (port.attachment.mode, port.attachment.held_by);
            for hold in port.companions {
                if let Err(error) = hold.release(self.kernel.as_mut()) {
                    tracing::warn!("interface {ifindex}: a TC program stays: {error}");
                    whole = false;
                }
            }
            if mode == Mode::Native && held_by != Holder::Process {
                tracing::info!(
                    "interface {ifindex}: the native XDP program stays and lets everything pass; \
                     `xvrrp cleanup` takes it off"
                );
                continue;
            }
            if let Err(error) = port.hold.release(self.kernel.as_mut()) {
                tracing::warn!("interface {ifindex}: the {mode} program stays: {error}");
                whole = false;
            }
        }
        if let Some(pins) = &self.pins {
            pins.remove_if_empty();
        }
        whole
    }

    fn climb(&mut self, device: &Device, rungs: Vec<Rung>) -> Result<Port, DataplaneError> {
        let mut refusals: Vec<String> = Vec::new();
        for (mode, reason) in rungs {
            match self.step_on(device, mode) {
                Ok(hold) => {
                    refusals.insert(0, reason);
                    return Ok(Port::new(mode, refusals.join("; "), hold));
                }
                Err(refusal) => refusals.push(format!("{mode}: {refusal}")),
            }
        }
        Err(DataplaneError::Attach {
            interface: device.name.clone(),
            attempts: refusals.join("; "),
        })
    }

    fn step_on(&mut self, device: &Device, mode: Mode) -> Result<Hold, String> {
        if mode == Mode::UserSpace {
            return self.listen(device.index).map_err(|error| error.to_string());
        }
        let Some(kernel) = self.kernel.as_mut() else {
            return Err(self.no_kernel.clone());
        };
        let hook = Hook::Receive(mode);
        let pin = self.pins.as_ref().map(|pins| pins.path(hook, device.index));
        if mode == Mode::Tc {
            attach_tc(kernel, &device.name, Side::Ingress, pin.as_deref())
        } else {
            attach_xdp(kernel, device.index, mode, pin.as_deref())
        }
    }

    fn attach_companions(&mut self, device: &Device, port: &mut Port) {
        for (hook, side) in take_over::COMPANIONS {
            match self.attach_companion(device, hook, side) {
                Ok(hold) => port.companions.push(hold),
                Err(problem) => {
                    tracing::warn!("{}: nothing at {hook}: {problem}", device.name);
                    port.attachment.companion_problem = Some(format!("{hook}: {problem}"));
                }
            }
        }
    }

    /// A companion: the one before us goes on in place, or ours is attached anew.
    fn attach_companion(
        &mut self,
        device: &Device,
        hook: Hook,
        side: Side,
    ) -> Result<Hold, String> {
        if let Some(hold) = self.take_over_companion(device, hook, side) {
            return Ok(hold);
        }
        let kernel = self.kernel.as_mut().ok_or(&self.no_kernel)?;
        let pins = self.pins.as_ref();
        let pin = pins.map(|pins| pins.path(hook, device.index));
        attach_tc(kernel, &device.name, side, pin.as_deref())
    }

    fn listen(&mut self, ifindex: u32) -> io::Result<Hold> {
        let receiver = match self.receiver.take() {
            Some(receiver) => receiver,
            None => Receiver::start(self.tables.clone())?,
        };
        let reception = receiver.listen(ifindex);
        self.receiver = Some(receiver);
        Ok(Hold::UserSpace(reception?))
    }
}

fn attach_xdp(
    kernel: &mut Kernel,
    ifindex: u32,
    mode: Mode,
    pin: Option<&Path>,
) -> Result<Hold, String> {
    if let Some(other) = xdp_netlink::attached(ifindex)
        .unwrap_or_default()
        .into_iter()
        .next()
    {
        return Err(format!(
            "the XDP program {:?} (id {}) is there already; stop what attached it, or use \
             --xdp-mode tc",
            other.name, other.program_id
        ));
    }
    let program = kernel.xdp().map_err(in_full)?;
    if let Some(path) = pin {
        match attach_xdp_pinned(program, ifindex, mode, path) {
            Ok(link) => return Ok(Hold::Pinned(link)),
            // Netlink is asked next: what it answers, it explains.
            Err(error) => tracing::debug!("interface {ifindex}: {mode} by link: {error}"),
        }
    }
    let fd = program.fd().map_err(in_full)?;
    xdp_netlink::attach(ifindex, mode, fd.as_fd())
        .map(|()| Hold::XdpNetlink { ifindex, mode })
        .map_err(|refusal| refusal.to_string())
}

fn attach_xdp_pinned(
    program: &mut Xdp,
    ifindex: u32,
    mode: Mode,
    path: &Path,
) -> Result<PinnedLink, String> {
    let flag = match mode {
        Mode::Native => XdpMode::Driver,
        _ => XdpMode::Skb,
    };
    let id = program.attach_to_if_index(ifindex, flag).map_err(in_full)?;
    let link = FdLink::try_from(program.take_link(id).map_err(in_full)?).map_err(in_full)?;
    link.pin(path).map_err(in_full)
}

fn attach_tc(
    kernel: &mut Kernel,
    interface: &str,
    side: Side,
    pin: Option<&Path>,
) -> Result<Hold, String> {
    let program = kernel.tc(side).map_err(in_full)?;
    if let Some(path) = pin {
        let pinned = attach_tcx(program, interface, side)
            .and_then(|link| FdLink::try_from(link).map_err(in_full))
            .and_then(|link| link.pin(path).map_err(in_full));
        match pinned {
            Ok(link) => return Ok(Hold::Pinned(link)),
            Err(error) => tracing::debug!("{interface}: TCX: {error}"),
        }
    }
    match attach_clsact(program, interface, side) {
        Ok(link) => Ok(Hold::TcNetlink(ManuallyDrop::new(link))),
        Err(refusal) => {
            let link = attach_tcx(program, interface, side).map_err(|_| refusal.clone())?;
            tracing::warn!(
                "{interface}: the TC program goes with this process, and the fence with it: a \
                 clsact filter, which would stay, was refused ({refusal})"
            );
            Ok(Hold::TcProcess(link))
        }
    }
}

/// Before all others: one of them may end the chain, ours never does with what is not ours.
fn attach_tcx(
    program: &mut SchedClassifier,
    interface: &str,
    side: Side,
) -> Result<SchedClassifierLink, String> {
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    let id = program
        .attach_with_options(interface, side.place(), first)
        .map_err(in_full)?;
    program.take_link(id).map_err(in_full)
}

fn attach_clsact(
    program: &mut SchedClassifier,
    interface: &str,
    side: Side,
) -> Result<SchedClassifierLink, String> {
    match tc::qdisc_add_clsact(interface) {
        Ok(()) | Err(TcError::AlreadyAttached) => {}
        // Somebody made it before: another program, or a daemon before us.
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST) => {}
        Err(error) => return Err(in_full(error)),
    }
    let place = TcAttachOptions::Netlink(NlOptions {
        priority: side.priority(),
        handle: TC_HANDLE,
        classid: None,
    });
    let id = program
        .attach_with_options(interface, side.place(), place)
        .map_err(in_full)?;
    program.take_link(id).map_err(in_full)
}

/// An error with all its causes.
pub(super) fn in_full(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
