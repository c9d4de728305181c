//! What a daemon leaves to the one that takes its place, so that no failover lies in between: where every
//! election stands, what the checks said, what was counted. It travels in a memory file, beside it the
//! slots as the kernel programs go on writing them: through `exec` (`xvrrp upgrade`), or in the store of
//! the service manager (`systemctl restart`).

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    net::IpAddr,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
    path::{Path, PathBuf},
};

use aya::maps::MapData;
use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    sys::memfd::{MFdFlags, memfd_create},
};
use serde::{Deserialize, Deserializer, Serialize};

use crate::{
    arbiter::LeaseLeft,
    control::Happened,
    election::{Inheritance, Transition},
};

/// Changes with what is written down: a daemon that does not know the format starts as if nothing had been
/// handed over.
const FORMAT: u32 = 1;
/// More than any daemon writes down.
const LONGEST: u64 = 64 << 20;
/// The environment variable that names the descriptors after `exec`: `STATE` or `STATE,SLOTS`.
pub const VARIABLE: &str = "XVRRP_HANDOVER";
/// Names of the descriptors in the store of the service manager.
pub const STORED_STATE: &str = "xvrrp-state";
/// As above, of the slots.
pub const STORED_SLOTS: &str = "xvrrp-slots";

/// What is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Handover {
    format: u32,
    /// Of which start of the machine it is: its clock, and numbers of the kernel.
    boot: String,
    /// Version of the daemon that wrote it.
    pub version: String,
    /// When, in nanoseconds of `CLOCK_BOOTTIME`.
    pub made_ns: u64,
    /// Every instance.
    pub instances: Vec<InstanceLeft>,
    /// Checks that have had a result, by name: whether each is up.
    pub checks: BTreeMap<String, bool>,
    /// What was counted, by interface index.
    pub counters: BTreeMap<u32, Vec<u64>>,
    /// Leases of arbiters, by arbiter and what they are for.
    #[serde(default, deserialize_with = "what_can_be_read")]
    pub leases: BTreeMap<String, LeaseLeft>,
    /// What has happened lately.
    #[serde(default, deserialize_with = "events_that_can_be_read")]
    pub history: Vec<Happened>,
    /// The kernel's number of the `MASTER_SEEN` map.
    #[serde(default)]
    pub slots_id: Option<u32>,
}

/// A lease that an earlier daemon has written down in another way runs out by itself; nothing else is lost.
fn what_can_be_read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, LeaseLeft>, D::Error> {
    let all = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
    let all = all.into_iter();
    let readable = all.filter_map(|(key, left)| Some((key, serde_json::from_value(left).ok()?)));
    Ok(readable.collect())
}

/// As above: nobody needs old events to go on.
fn events_that_can_be_read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Happened>, D::Error> {
    let all = Vec::<serde_json::Value>::deserialize(deserializer)?;
    let readable = all
        .into_iter()
        .filter_map(|it| serde_json::from_value(it).ok());
    Ok(readable.collect())
}

/// An instance as it is left to the next daemon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceLeft {
    /// `vrrp_instance` name.
    pub name: String,
    /// `interface`.
    pub interface: String,
    /// Its index: an interface made anew is another one.
    pub ifindex: u32,
    /// `virtual_router_id`.
    pub vrid: u8,
    /// Protocol version.
    pub version: u8,
    /// Whether its adverts go over IPv6.
    pub is_v6: bool,
    /// Effective priority.
    pub priority: u8,
    /// `down_timer_adverts`.
    pub down_timer_adverts: u8,
    /// Addresses that are the machine's own.
    pub own: Vec<IpAddr>,
    /// `use_vmac`.
    pub virtual_mac: Option<[u8; 6]>,
    /// Every address, advertised or not.
    pub addresses: Vec<IpAddr>,
    /// Somebody has taken it out by hand.
    #[serde(default)]
    pub drained: bool,
    /// A base priority that somebody has given it by hand.
    #[serde(default)]
    pub priority_by_hand: Option<u8>,
    /// The state it entered last, and why.
    pub transition: Option<Transition>,
    /// Its election, where it takes part in one.
    pub inheritance: Option<Inheritance>,
}

/// A handover and the descriptor of the slots that goes with it.
pub struct Parcel {
    /// What is written down.
    pub handover: Handover,
    /// The `MASTER_SEEN` map of the daemon before.
    pub slots: Option<OwnedFd>,
    /// How it came.
    pub way: Way,
}

/// How a handover comes to the next daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through `exec`.
    Exec,
    /// The service manager has kept it, and must be told to let it go.
    Stored,
    /// The daemon crashed: this is what it had written down before, and its programs are still there.
    Crash,
}

impl Handover {
    /// Something to write down.
    #[must_use]
    pub fn new(
        made_ns: u64,
        instances: Vec<InstanceLeft>,
        checks: BTreeMap<String, bool>,
        counters: BTreeMap<u32, Vec<u64>>,
    ) -> Self {
        Self {
            format: FORMAT,
            boot: this_boot(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            made_ns,
            instances,
            checks,
            counters,
            leases: BTreeMap::new(),
            history: Vec::new(),
            slots_id: None,
        }
    }

    /// Writes it down for a daemon that is started after a crash, whole or not at all.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let draft = directory.join("state.json.new");
        fs::write(&draft, serde_json::to_vec(self)?)?;
        fs::rename(draft, file(directory))
    }

    /// Removes what was written down: this daemon has ended in order.
    pub fn clear(directory: &Path) {
        // One that stays is read, and nothing of it is found to be so.
        let _ = fs::remove_file(file(directory));
    }

    /// Writes it into a memory file.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn store(&self) -> io::Result<OwnedFd> {
        let memory = memfd_create(STORED_STATE, MFdFlags::MFD_CLOEXEC)?;
        let mut file = File::from(memory);
        file.write_all(&serde_json::to_vec(self)?)?;
        Ok(file.into())
    }

    fn load(memory: OwnedFd) -> io::Result<Self> {
        let mut file = File::from(memory);
        file.rewind()?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Self::parse(&text)
    }

    /// Reads what another daemon has written.
    ///
    /// # Errors
    ///
    /// Where it makes no sense, or is of another format.
    pub fn parse(text: &[u8]) -> io::Result<Self> {
        let handover: Self = serde_json::from_slice(text)?;
        if handover.format != FORMAT {
            return Err(io::Error::other(format!(
                "version {} wrote it in another format ({})",
                handover.version, handover.format
            )));
        }
        if handover.boot != this_boot() {
            return Err(io::Error::other("the machine has been started anew since"));
        }
        Ok(handover)
    }
}

fn this_boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.unwrap_or_default().trim().to_owned()
}

impl Parcel {
    /// Takes what was handed over to this process, if anything was. What cannot be read is left alone,
    /// loudly: then this is a start like any other.
    #[must_use]
    pub fn receive() -> Option<Self> {
        let (state, slots, way) = if let Ok(text) = env::var(VARIABLE) {
            let mut numbers = text.split(',').map(|number| number.parse().ok());
            let state = numbers.next().flatten()?;
            (state, numbers.next().flatten(), Way::Exec)
        } else {
            let (state, slots) = stored()?;
            (state, slots, Way::Stored)
        };
        let loaded = own(state).and_then(Handover::load);
        // One descriptor is not two.
        let slots = slots.filter(|slots| *slots != state);
        let slots = slots.and_then(|number| own(number).ok());
        match loaded {
            Ok(handover) => Some(Self {
                handover,
                slots,
                way,
            }),
            Err(error) => {
                tracing::warn!(
                    "what the daemon before has handed over cannot be read ({error}); starting without it"
                );
                None
            }
        }
    }
}

/// Whether this process came by `exec` to go on where another image left off, whatever became of that.
#[must_use]
pub fn was_handed_over() -> bool {
    env::var_os(VARIABLE).is_some()
}

fn file(directory: &Path) -> PathBuf {
    directory.join("state.json")
}

impl Parcel {
    /// What a daemon that crashed had written down, if there was one here.
    #[must_use]
    pub fn of_a_crash(directory: &Path) -> Option<Self> {
        let path = file(directory);
        let is_plain = |it: &fs::Metadata| it.is_file() && it.len() < LONGEST;
        fs::symlink_metadata(&path).ok().filter(is_plain)?;
        let text = fs::read(path).ok()?;
        let mut handover = Handover::parse(&text)
            .inspect_err(|error| {
                tracing::warn!("what the daemon before had written down cannot be read: {error}");
            })
            .ok()?;
        // What was held when that was written down may be somebody else's by now; and what may still be
        // ours is not to be given back before the programs of the dead daemon are silent. It runs out.
        handover.leases.clear();
        // A number is never used again; where the map is gone, so are the programs that held it.
        let map = MapData::from_id(handover.slots_id?).ok();
        let is_ours = |map: &MapData| {
            let info = map.info().ok();
            info.is_some_and(|info| info.name_as_str() == Some("MASTER_SEEN"))
        };
        let map = map.filter(is_ours);
        let slots = map.and_then(|map| map.fd().as_fd().try_clone_to_owned().ok());
        Some(Self {
            handover,
            slots,
            way: Way::Crash,
        })
    }
}

/// What the service manager kept for us.
fn stored() -> Option<(RawFd, Option<RawFd>)> {
    let kept: Vec<(RawFd, String)> = match sd_notify::listen_fds_with_names() {
        Ok(kept) => kept.collect(),
        Err(error) => {
            tracing::warn!("what the service manager kept for us cannot be read: {error}");
            return None;
        }
    };
    let find = |wanted: &str| {
        let found = kept.iter().rfind(|(_, name)| name == wanted);
        found.map(|(number, _)| *number)
    };
    Some((find(STORED_STATE)?, find(STORED_SLOTS)))
}

/// Makes a descriptor that this process was started with its own, and of nobody it starts.
fn own(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only asks for the flags, and fails where the descriptor is not open.
    if number <= 2 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::other(format!("descriptor {number} is not open")));
    }
    // SAFETY: it is open, and whoever started us has named it as ours alone.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl(&owned, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(owned)
}

/// Lets a descriptor go through `exec`, and returns its number.
///
/// # Errors
///
/// What the kernel says.
pub fn let_through(descriptor: &OwnedFd) -> io::Result<RawFd> {
    fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(descriptor.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_another_format_is_refused() {
        let checks = BTreeMap::from([("haproxy".to_owned(), true)]);
        let counters = BTreeMap::from([(2, vec![1, 2, 3])]);
        let mut handover = Handover::new(7, Vec::new(), checks, counters);
        let read = Handover::load(handover.store().unwrap()).unwrap();
        assert_eq!(read.made_ns, 7);
        assert_eq!(read.checks, handover.checks);
        assert_eq!(read.counters, handover.counters);
        handover.format += 1;
        let refused = Handover::load(handover.store().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("another format"), "{refused}");
    }
}
