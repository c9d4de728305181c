//! Attaching: the mode is found by trying, shown with its reason, or forced.

use std::fmt;

use aya::programs::XdpMode;
use serde::Serialize;

use super::{Dataplane, DataplaneError, xdp};
use crate::net::Interface;

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In the driver, before the kernel allocates anything.
    Native,
    /// On socket buffers; any device can.
    Generic,
}

/// What the operator asked for (`--xdp-mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeRequest {
    /// Native where it works, generic otherwise.
    #[default]
    Auto,
    /// Native or nothing.
    Native,
    /// Generic or nothing.
    Generic,
}

/// A mode and why it is that one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attachment {
    /// Where the program runs.
    pub mode: Mode,
    /// Why, in words for the operator.
    pub reason: String,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

impl Mode {
    const fn flag(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }
}

/// Why a device of this kind does not start at native.
fn no_native(kind: &str) -> Option<&'static str> {
    match kind {
        "veth" => Some("veth loses native answers unless its peer runs XDP too"),
        "vlan" => Some("a VLAN device has no driver hook"),
        "bond" | "team" => Some("native mode would run on its members, under their indices"),
        "bridge" => Some("a bridge has no driver hook"),
        "macvlan" | "ipvlan" => Some("a macvlan or ipvlan device has no driver hook"),
        _ => None,
    }
}

impl Dataplane {
    /// Attaches to the interface, or says how it is attached already.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Attach`] with what the kernel said to each mode tried.
    pub fn attach(
        &mut self,
        interface: &Interface,
        request: ModeRequest,
    ) -> Result<Attachment, DataplaneError> {
        if let Some((_, attachment)) = self.links.get(&interface.index) {
            return Ok(attachment.clone());
        }
        self.count_interface(interface.index)?;
        let mut attempts: Vec<String> = Vec::new();
        for (mode, reason) in ladder(request, &interface.kind) {
            match xdp(&mut self.ebpf)?.attach_to_if_index(interface.index, mode.flag()) {
                Ok(link) => {
                    let reason = if attempts.is_empty() {
                        reason
                    } else {
                        format!("{reason} ({})", attempts.join("; "))
                    };
                    let attachment = Attachment { mode, reason };
                    self.links
                        .insert(interface.index, (link, attachment.clone()));
                    return Ok(attachment);
                }
                Err(error) => attempts.push(format!("{mode}: {}", in_full(&error))),
            }
        }
        Err(DataplaneError::Attach {
            interface: interface.name.clone(),
            attempts: attempts.join("; "),
        })
    }

    /// Forgets an interface that is gone; the kernel detached with it.
    pub fn forget(&mut self, ifindex: u32) {
        if let Some((link, _)) = self.links.remove(&ifindex)
            && let Ok(program) = xdp(&mut self.ebpf)
        {
            // The device is gone, and the attachment with it: nothing to report.
            let _ = program.detach(link);
        }
    }

    /// How the interface is attached.
    #[must_use]
    pub fn attachment(&self, ifindex: u32) -> Option<&Attachment> {
        self.links.get(&ifindex).map(|(_, attachment)| attachment)
    }
}

/// Modes to try, best first, each with the reason to give if it works.
fn ladder(request: ModeRequest, kind: &str) -> Vec<(Mode, String)> {
    match (request, no_native(kind)) {
        (ModeRequest::Native, _) => vec![(Mode::Native, "asked for".to_owned())],
        (ModeRequest::Generic, _) => vec![(Mode::Generic, "asked for".to_owned())],
        (ModeRequest::Auto, Some(reason)) => vec![(Mode::Generic, reason.to_owned())],
        (ModeRequest::Auto, None) => vec![
            (Mode::Native, "the driver supports it".to_owned()),
            (Mode::Generic, "the driver refused native mode".to_owned()),
        ],
    }
}

fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_without_a_driver_hook_start_at_generic() {
        for kind in ["veth", "vlan", "bond", "bridge", "macvlan"] {
            let modes: Vec<Mode> = ladder(ModeRequest::Auto, kind)
                .into_iter()
                .map(|(m, _)| m)
                .collect();
            assert_eq!(modes, [Mode::Generic], "{kind}");
        }
        assert_eq!(ladder(ModeRequest::Auto, "").len(), 2);
        assert_eq!(ladder(ModeRequest::Native, "veth").len(), 1);
    }
}
