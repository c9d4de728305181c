//! What a daemon that did not end in order has left on the machine: virtual addresses, which only
//! its record knows, and programs. [`clean_up`] takes both off, in that order, because without the
//! program the kernel would answer for an address that is still there.

use std::{
    collections::BTreeSet,
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
};
use nix::{getsockopt_impl, sockopt_impl, sys::socket::getsockopt};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use crate::{
    dataplane::{self, NativePrograms},
    handover::Handover,
    net::{Interface, InterfaceTable, Refusal, request},
    run_dir::{self, Claim},
};

/// An address that the daemon may have put on an interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placed {
    /// Interface name.
    pub interface: String,
    /// Interface index when it was written down, 0 where there was none: a name can change.
    #[serde(default)]
    pub ifindex: u32,
    /// The address.
    pub address: IpAddr,
}

/// Every address the daemon may put on an interface, written down before it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The kernel's own number of the network namespace, where it has one (Linux 5.14). The inode
    /// in the directory's name is given to another namespace once this one is gone; this number
    /// never is.
    pub namespace_cookie: Option<u64>,
    /// The addresses.
    pub addresses: BTreeSet<Placed>,
}

impl Record {
    /// Reads the record of the daemon before; `None` where that one ended in order.
    ///
    /// # Errors
    ///
    /// When there is one that cannot be read: nobody knows then which addresses may be left.
    pub fn load(directory: &Path) -> Result<Option<Self>> {
        let path = path(directory);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let record: Self =
            serde_json::from_str(&text).with_context(|| format!("read {}", path.display()))?;
        let here = namespace_cookie();
        let is_of_another =
            here.is_some() && record.namespace_cookie.is_some() && record.namespace_cookie != here;
        // The addresses of a namespace that is gone went with it.
        Ok((!is_of_another).then_some(record))
    }

    /// A record of this network namespace.
    #[must_use]
    pub fn of(addresses: impl IntoIterator<Item = Placed>) -> Self {
        Self {
            namespace_cookie: namespace_cookie(),
            addresses: addresses.into_iter().collect(),
        }
    }

    /// Writes the record, whole or not at all.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn store(&self, directory: &Path) -> io::Result<()> {
        let draft = directory.join("addresses.json.new");
        fs::write(&draft, serde_json::to_string(self)?)?;
        fs::rename(draft, path(directory))
    }

    /// Removes the record: nothing is left.
    pub fn clear(directory: &Path) {
        // A record that stays is read, and its addresses are looked for in vain.
        let _ = fs::remove_file(path(directory));
    }

    /// Takes every recorded address off that is still there, with whatever prefix length. Says what
    /// was done, and what could not be.
    #[must_use]
    pub fn take_off(&self, table: &InterfaceTable) -> Vec<Outcome> {
        let mut report = Vec::new();
        for placed in &self.addresses {
            let said = |result| Outcome {
                placed: placed.clone(),
                is_elsewhere: false,
                result,
            };
            let interfaces = placed.interfaces(table);
            if interfaces.is_empty()
                && let Some(where_it_is) = placed.elsewhere(table)
            {
                report.push(Outcome {
                    is_elsewhere: true,
                    ..said(Err(where_it_is))
                });
            }
            for interface in interfaces {
                let entries = interface.addresses.iter();
                for entry in entries.filter(|entry| entry.address == placed.address) {
                    let what = format!("{}: {}/{}", interface.name, entry.address, entry.prefix);
                    let removed = remove(interface, entry.address, entry.prefix);
                    report.push(said(match removed {
                        Ok(()) => Ok(format!("{what} removed")),
                        Err(refusal) => Err(format!("{what} stays: {refusal}")),
                    }));
                }
            }
        }
        report
    }
}

/// What became of a recorded address.
#[derive(Debug)]
pub struct Outcome {
    /// The address.
    pub placed: Placed,
    /// Its interface is gone, and another one has such an address, which may be that one's own.
    pub is_elsewhere: bool,
    /// What was done, or what could not be, in words for the operator.
    pub result: Result<String, String>,
}

impl Placed {
    /// The interfaces it may be on: the one of that name, and the one of that index, whatever it is
    /// called now.
    fn interfaces<'t>(&self, table: &'t InterfaceTable) -> Vec<&'t Interface> {
        let found = table.iter().filter(|interface| {
            interface.name == self.interface || interface.index == self.ifindex
        });
        found.collect()
    }

    /// Its interface is gone. An address that is on another one now was put there by somebody else,
    /// or its interface was made anew under another name: nobody can know.
    fn elsewhere(&self, table: &InterfaceTable) -> Option<String> {
        let interface = table.iter().find(|interface| {
            let mut addresses = interface.addresses.iter();
            addresses.any(|entry| entry.address == self.address)
        })?;
        Some(format!(
            "{}: {} is there, and was written down for {}, which is gone; if it is not this \
             machine's own, remove it with `ip address`, otherwise `xvrrp cleanup --force` lets it be",
            interface.name, self.address, self.interface
        ))
    }
}

/// The addresses that the daemon before may have left, by interface index.
#[must_use]
pub fn placed_before(claim: &Claim) -> BTreeSet<(u32, IpAddr)> {
    // What cannot be read is told when it is to be taken off.
    let record = Record::load(claim.directory()).ok().flatten();
    let record = record.unwrap_or_default();
    let placed = record.addresses.iter();
    placed.map(|it| (it.ifindex, it.address)).collect()
}

/// A daemon must not start over programs that guard addresses nobody has a record of: it would put
/// its own in their place, and the kernel would answer for what is left.
///
/// # Errors
///
/// When there are such programs, or nobody can tell.
pub fn must_be_known(claim: &Claim, bpffs: &Path, table: &InterfaceTable) -> Result<()> {
    let directory = claim.directory();
    if matches!(Record::load(directory), Ok(Some(_))) {
        return Ok(());
    }
    let remains = dataplane::Remains::find(bpffs, claim.namespace(), table)
        .map_err(|error| anyhow!(error))?;
    if remains.show_a_crash() {
        bail!(
            "a program of an xvrrp that did not end in order is attached, and {} has no record of \
             the addresses it guards (was that one started with another --run-dir?). Look at `ip \
             address`, remove what it has left, then run `xvrrp cleanup --force`",
            directory.display()
        );
    }
    Ok(())
}

sockopt_impl!(
    /// The number of the network namespace a socket was made in (`SO_NETNS_COOKIE`).
    NamespaceCookie,
    GetOnly,
    libc::SOL_SOCKET,
    libc::SO_NETNS_COOKIE,
    u64
);

fn namespace_cookie() -> Option<u64> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    getsockopt(&socket, NamespaceCookie).ok()
}

fn path(directory: &Path) -> PathBuf {
    directory.join("addresses.json")
}

fn remove(interface: &Interface, address: IpAddr, prefix: u8) -> Result<(), Refusal> {
    let mut message = AddressMessage::default();
    message.header.family = match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.index = interface.index;
    message.header.prefix_len = prefix;
    message.attributes.push(AddressAttribute::Local(address));
    match request(RouteNetlinkMessage::DelAddress(message)) {
        Ok(_) => Ok(()),
        // It went with the primary address of its subnet, or with the interface.
        Err(refusal)
            if matches!(
                refusal.error.raw_os_error(),
                Some(libc::EADDRNOTAVAIL | libc::ENODEV)
            ) =>
        {
            Ok(())
        }
        Err(refusal) => Err(refusal),
    }
}

/// Whether programs of a daemon before are attached in this network namespace: then addresses that it has
/// left answer nobody once its lease is over.
#[must_use]
pub fn are_fenced(bpffs: &Path, namespace: &str, table: &InterfaceTable) -> bool {
    dataplane::Remains::find(bpffs, namespace, table).is_ok_and(|remains| remains.show_a_crash())
}

/// How `xvrrp cleanup` is to go about it.
#[derive(Clone, Copy, Debug)]
pub struct CleanUp<'a> {
    /// The bpffs programs are pinned to.
    pub bpffs: &'a Path,
    /// What to do with native programs.
    pub native: NativePrograms,
    /// Go on although nobody knows which addresses may be left.
    pub force: bool,
}

/// Takes off whatever a daemon has left in this network namespace, and returns what was done.
///
/// # Errors
///
/// When something had to stay.
pub fn clean_up(
    claim: &Claim,
    table: &InterfaceTable,
    options: &CleanUp<'_>,
) -> Result<Vec<String>> {
    let directory = claim.directory();
    let remains = dataplane::Remains::find(options.bpffs, claim.namespace(), table)
        .map_err(|error| anyhow!(error))?;
    let record = match Record::load(directory) {
        Ok(Some(record)) => record,
        Ok(None) if remains.show_a_crash() && !options.force => bail!(
            "a program is attached, and {} has no record of the addresses it guards (was the daemon \
             started with another --run-dir?). Without the program the kernel answers for them: \
             look at `ip address`, then use --force",
            directory.display()
        ),
        Ok(None) => Record::default(),
        Err(error) if options.force => {
            tracing::warn!("{error:#}");
            Record::default()
        }
        Err(error) => {
            return Err(error.context(
                "nobody knows which addresses are left; look at `ip address`, then use --force",
            ));
        }
    };
    let outcomes = record.take_off(table).into_iter();
    let results = outcomes.map(|outcome| match outcome.result {
        Err(message) if outcome.is_elsewhere && options.force => Ok(message),
        result => result,
    });
    let (mut done, failed) = split(results.collect());
    if !failed.is_empty() {
        bail!("{} (the programs stay as a fence)", failed.join("; "));
    }
    let (detached, failed) = split(remains.take_off(table, options.native));
    done.extend(detached);
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Record::clear(directory);
    Handover::clear(directory);
    run_dir::forget_stop(directory);
    Ok(done)
}

/// What was done, and what could not be.
fn split(report: Vec<Result<String, String>>) -> (Vec<String>, Vec<String>) {
    let (done, failed): (Vec<_>, Vec<_>) = report.into_iter().partition(Result::is_ok);
    (
        done.into_iter().filter_map(Result::ok).collect(),
        failed.into_iter().filter_map(Result::err).collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_a_damaged_one_is_an_error() {
        let directory = std::env::temp_dir().join(format!("xvrrp-record-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert_eq!(Record::load(&directory).unwrap(), None);
        let record = Record::of([Placed {
            interface: "eth0".to_owned(),
            ifindex: 2,
            address: IpAddr::from([10, 0, 0, 1]),
        }]);
        record.store(&directory).unwrap();
        assert_eq!(Record::load(&directory).unwrap(), Some(record.clone()));
        if let Some(cookie) = record.namespace_cookie {
            let elsewhere = Record {
                namespace_cookie: Some(cookie + 1),
                ..record
            };
            elsewhere.store(&directory).unwrap();
            assert_eq!(
                Record::load(&directory).unwrap(),
                None,
                "another namespace's"
            );
        }
        fs::write(path(&directory), "{\"addr").unwrap();
        assert!(Record::load(&directory).is_err());
        Record::clear(&directory);
        fs::remove_dir_all(&directory).unwrap();
    }
}
