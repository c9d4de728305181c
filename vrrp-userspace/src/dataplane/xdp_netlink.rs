//! XDP attached by netlink: it outlives the daemon without a pin, and the driver explains a refusal
//! in its own words, which attaching by a link does not hand over.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::programs::{ProgramFd, loaded_programs};
use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp, XdpAttached},
};

use super::{Mode, kernel::XDP_PROGRAM};
use crate::net::{Refusal, request};

/// `XDP_FLAGS_UPDATE_IF_NOEXIST`.
const ONLY_IF_FREE: u32 = 1;
/// `XDP_FLAGS_SKB_MODE`.
const SKB_MODE: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
const DRIVER_MODE: u32 = 1 << 2;
/// `XDP_FLAGS_REPLACE`.
const REPLACE: u32 = 1 << 4;

/// An XDP program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) mode: Mode,
    pub(super) program_id: u32,
    /// The name the kernel knows it by.
    pub(super) name: String,
}

impl Attached {
    /// Whether some xvrrp put it there.
    pub(super) fn is_ours(&self) -> bool {
        self.name == XDP_PROGRAM
    }

    /// A handle on the program.
    pub(super) fn program(&self) -> Result<ProgramFd, Refusal> {
        let found = loaded_programs()
            .filter_map(Result::ok)
            .find(|program| program.id() == self.program_id);
        let found = found.ok_or_else(|| io::Error::other("the program is gone"))?;
        Ok(found.fd().map_err(io::Error::other)?)
    }
}

/// Every XDP program on the interface: a device can have one in the driver and one on socket
/// buffers.
pub(super) fn attached(ifindex: u32) -> Result<Vec<Attached>, Refusal> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    let answers = request(RouteNetlinkMessage::GetLink(message))?;
    let mut found = Vec::new();
    for answer in answers {
        let RouteNetlinkMessage::NewLink(link) = answer else {
            continue;
        };
        for attribute in link.attributes {
            if let LinkAttribute::Xdp(attributes) = attribute {
                found.extend(programs(&attributes));
            }
        }
    }
    Ok(found)
}

fn programs(attributes: &[LinkXdp]) -> Vec<Attached> {
    let mut mode = None;
    let mut single = None;
    let mut list = Vec::new();
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(XdpAttached::Driver) => mode = Some(Mode::Native),
            LinkXdp::Attached(XdpAttached::SocketBuffer) => mode = Some(Mode::Generic),
            LinkXdp::ProgId(id) => single = Some(*id),
            LinkXdp::DrvProgId(id) => list.push((Mode::Native, *id)),
            LinkXdp::SkbProgId(id) => list.push((Mode::Generic, *id)),
            _ => {}
        }
    }
    if list.is_empty() {
        list.extend(mode.zip(single));
    }
    list.into_iter()
        .map(|(mode, program_id)| Attached {
            mode,
            program_id,
            name: program_name(program_id),
        })
        .collect()
}

fn program_name(id: u32) -> String {
    let mut programs = loaded_programs().filter_map(Result::ok);
    programs
        .find(|program| program.id() == id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Attaches a program where there is none.
pub(super) fn attach(ifindex: u32, mode: Mode, program: BorrowedFd<'_>) -> Result<(), Refusal> {
    set(
        ifindex,
        vec![
            LinkXdp::Fd(program.as_raw_fd()),
            LinkXdp::Flags(flag(mode) | ONLY_IF_FREE),
        ],
    )
}

/// Replaces a program in place; the kernel checks that it is still that one.
pub(super) fn replace(
    ifindex: u32,
    mode: Mode,
    program: BorrowedFd<'_>,
    expected: BorrowedFd<'_>,
) -> Result<(), Refusal> {
    set(
        ifindex,
        vec![
            LinkXdp::Fd(program.as_raw_fd()),
            LinkXdp::Flags(flag(mode) | REPLACE),
            LinkXdp::ExpectedFd(expected.as_raw_fd().cast_unsigned()),
        ],
    )
}

/// Detaches a program; the kernel checks that it is still that one.
pub(super) fn detach(ifindex: u32, mode: Mode, expected: BorrowedFd<'_>) -> Result<(), Refusal> {
    set(
        ifindex,
        vec![
            LinkXdp::Fd(-1),
            LinkXdp::Flags(flag(mode) | REPLACE),
            LinkXdp::ExpectedFd(expected.as_raw_fd().cast_unsigned()),
        ],
    )
}

fn set(ifindex: u32, attributes: Vec<LinkXdp>) -> Result<(), Refusal> {
    let mut message = LinkMessage::default();
    message.header.index = ifindex;
    message.attributes.push(LinkAttribute::Xdp(attributes));
    request(RouteNetlinkMessage::SetLink(message)).map(|_| ())
}

const fn flag(mode: Mode) -> u32 {
    match mode {
        Mode::Native => DRIVER_MODE,
        _ => SKB_MODE,
    }
}
