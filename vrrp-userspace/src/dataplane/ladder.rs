//! The attach ladder: which places to try for an interface, best first, each with the reason the
//! operator is given.

use std::fmt;

use serde::Serialize;

use super::kernel::Side;

/// Where frames are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// XDP in the driver, before the kernel allocates anything.
    Native,
    /// TC ingress: behind the kernel's VLAN handling, on every device.
    Tc,
    /// XDP on socket buffers.
    Generic,
    /// A packet socket: the same rules, but nothing can be kept from the kernel. No fence.
    UserSpace,
}

/// What the operator asked for (`--xdp-mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ModeRequest {
    /// The best that works: native, TC, generic, user space
    #[default]
    Auto,
    /// XDP in the driver, or nothing
    Native,
    /// TC ingress, or nothing
    Tc,
    /// XDP on socket buffers, or nothing
    Generic,
    /// No kernel program: adverts are read from a packet socket, and nothing is fenced
    Off,
}

/// An interface to attach to, as far as the choice depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind as `ip -d link` shows it; empty for hardware.
    pub kind: String,
    /// A VLAN device on top of it, if there is one.
    pub vlan_child: Option<String>,
    /// Whether the device takes VLAN tags out of frames before XDP sees them; `None` where nobody
    /// knows, and the answer must be assumed to be yes.
    pub strips_vlan_tags: Option<bool>,
}

/// Where a program of ours can be on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// Where frames come in.
    Receive(Mode),
    /// Beside that, for frames to a virtual MAC: TC ingress.
    Accept,
    /// Where they leave: TC egress.
    Transmit,
}

impl Hook {
    /// Every one.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let receive = Mode::ALL.into_iter().map(Self::Receive);
        receive.chain([Self::Accept, Self::Transmit])
    }

    /// The name in pins.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Receive(mode) => mode.name(),
            Self::Accept => "accept",
            Self::Transmit => "egress",
        }
    }

    /// Which of the TC programs it is, if it is one.
    pub(super) const fn side(self) -> Option<Side> {
        match self {
            Self::Receive(Mode::Tc) => Some(Side::Ingress),
            Self::Receive(_) => None,
            Self::Accept => Some(Side::Accept),
            Self::Transmit => Some(Side::Egress),
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Receive(mode) => mode.fmt(f),
            Self::Accept => f.write_str("TC ingress, for the virtual MAC"),
            Self::Transmit => f.write_str("TC egress"),
        }
    }
}

/// One rung: where, and why if it holds.
pub(super) type Rung = (Mode, String);

impl Mode {
    /// Every mode, best first.
    pub const ALL: [Self; 4] = [Self::Native, Self::Tc, Self::Generic, Self::UserSpace];

    /// The name in `status`, in pins and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Tc => "tc",
            Self::Generic => "generic",
            Self::UserSpace => "userspace",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native XDP",
            Self::Tc => "TC",
            Self::Generic => "generic XDP",
            Self::UserSpace => "user space",
        })
    }
}

/// The rungs to try.
pub(super) fn ladder(request: ModeRequest, device: &Device) -> Vec<Rung> {
    let asked = |mode| vec![(mode, "asked for by --xdp-mode".to_owned())];
    match request {
        ModeRequest::Native => asked_for_xdp(Mode::Native, device),
        ModeRequest::Tc => asked(Mode::Tc),
        ModeRequest::Generic => asked_for_xdp(Mode::Generic, device),
        ModeRequest::Off => asked(Mode::UserSpace),
        ModeRequest::Auto => automatic(device),
    }
}

/// XDP where it cannot tell VLANs apart is the operator's own choice, and is said to be.
fn asked_for_xdp(mode: Mode, device: &Device) -> Vec<Rung> {
    let reason = match hides_vlans(device) {
        Some(why) => format!(
            "asked for by --xdp-mode; frames of every VLAN look untagged to XDP here, because {why}"
        ),
        None => "asked for by --xdp-mode".to_owned(),
    };
    vec![(mode, reason)]
}

fn automatic(device: &Device) -> Vec<Rung> {
    let hidden = hides_vlans(device);
    let mut rungs = Vec::new();
    let reason = no_driver_hook(&device.kind).or(hidden.clone());
    if reason.is_none() {
        rungs.push((Mode::Native, "the driver supports it".to_owned()));
    }
    let reason = reason.unwrap_or_else(|| "native XDP did not work".to_owned());
    rungs.push((Mode::Tc, reason.clone()));
    if hidden.is_none() {
        rungs.push((Mode::Generic, reason.clone()));
    }
    rungs.push((Mode::UserSpace, reason));
    rungs
}

/// Why a device of this kind does not start at native.
fn no_driver_hook(kind: &str) -> Option<String> {
    let reason = match kind {
        "veth" => "veth loses native answers unless its peer runs XDP too",
        "vlan" => "a VLAN device has no driver hook",
        "bond" | "team" => "native mode would run on its members, under their indices",
        "bridge" => "a bridge has no driver hook",
        "macvlan" | "macvtap" | "ipvlan" => "a device on top of another has no driver hook",
        _ => return None,
    };
    Some(reason.to_owned())
}

/// Why XDP, native or generic, would see frames of VLANs as untagged ones.
fn hides_vlans(device: &Device) -> Option<String> {
    if let Some(child) = &device.vlan_child {
        return Some(format!("the VLAN device {child} is on top of this one"));
    }
    let name = &device.name;
    match device.strips_vlan_tags {
        Some(false) => None,
        Some(true) => Some(format!(
            "the device takes VLAN tags out of frames before XDP sees them (`ethtool -K {name} rxvlan off` \
             changes that)"
        )),
        None => Some(
            "ethtool does not tell whether the device takes VLAN tags out of frames".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(request: ModeRequest, device: &Device) -> Vec<Mode> {
        let rungs = ladder(request, device);
        rungs.into_iter().map(|(mode, _)| mode).collect()
    }

    fn device(kind: &str) -> Device {
        Device {
            kind: kind.to_owned(),
            name: "eth7".to_owned(),
            strips_vlan_tags: Some(false),
            ..Device::default()
        }
    }

    #[test]
    fn hardware_starts_at_the_top_and_what_has_no_driver_hook_below() {
        assert_eq!(modes(ModeRequest::Auto, &device("")), Mode::ALL);
        for kind in [
            "veth", "vlan", "bond", "team", "bridge", "macvlan", "ipvlan",
        ] {
            let below = [Mode::Tc, Mode::Generic, Mode::UserSpace];
            assert_eq!(modes(ModeRequest::Auto, &device(kind)), below, "{kind}");
        }
    }

    #[test]
    fn xdp_is_not_taken_where_it_cannot_tell_vlans_apart() {
        let parent = Device {
            vlan_child: Some("eth7.10".to_owned()),
            ..device("")
        };
        let stripping = Device {
            strips_vlan_tags: Some(true),
            ..device("")
        };
        let unknown = Device {
            strips_vlan_tags: None,
            ..device("")
        };
        for (blind, word) in [
            (&parent, "eth7.10"),
            (&stripping, "ethtool -K eth7 rxvlan off"),
            (&unknown, "does not tell"),
        ] {
            let rungs = ladder(ModeRequest::Auto, blind);
            assert_eq!(modes(ModeRequest::Auto, blind), [Mode::Tc, Mode::UserSpace]);
            assert!(rungs[0].1.contains(word), "{}", rungs[0].1);
            for request in [ModeRequest::Native, ModeRequest::Generic] {
                let reason = &ladder(request, blind)[0].1;
                assert!(reason.contains("look untagged"), "{reason}");
            }
        }
    }

    #[test]
    fn a_request_is_all_there_is() {
        for (request, mode) in [
            (ModeRequest::Native, Mode::Native),
            (ModeRequest::Tc, Mode::Tc),
            (ModeRequest::Generic, Mode::Generic),
            (ModeRequest::Off, Mode::UserSpace),
        ] {
            assert_eq!(modes(request, &device("")), [mode]);
        }
    }
}
