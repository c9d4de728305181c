//! keepalived's dumps, in its formats and places, for programs that read them: `SIGUSR1` (data), `SIGUSR2`
//! (statistics), `SIGRTMIN+2` (JSON).

mod data;
mod json;
mod stats;

use std::{
    io::{self, Write as _},
    path::Path,
};

use crate::{
    config::model::{Config, DumpFiles, JsonVersion},
    control::model::Status,
};

/// What is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// Instances and scripts as they are configured and stand.
    Data,
    /// What was counted.
    Stats,
    /// Both, for programs.
    Json,
}

impl Dump {
    /// Where it goes.
    #[must_use]
    pub fn path(self, files: &DumpFiles) -> &Path {
        match self {
            Self::Data => &files.data,
            Self::Stats => &files.stats,
            Self::Json => &files.json,
        }
    }

    /// The dump as text.
    #[must_use]
    pub fn render(self, status: &Status, config: &Config) -> String {
        match self {
            Self::Data => data::render(status, config),
            Self::Stats => stats::render(status),
            Self::Json => {
                let is_array = config.global.json_version == JsonVersion::One;
                json::render(status, config, is_array)
            }
        }
    }
}

/// Writes a file whole or not at all, for this user alone, whatever stands in its place now: nothing that is
/// linked there is touched.
///
/// # Errors
///
/// What the file system says.
pub fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("/"));
    let mut draft = tempfile::NamedTempFile::new_in(directory)?;
    draft.write_all(text.as_bytes())?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What keepalived counts of an instance.
struct Counted {
    received: u64,
    sent: u64,
    became_master: u64,
    released_master: u64,
    length: u64,
    ttl: u64,
    kind: u64,
    interval: u64,
    address_list: u64,
    authentication: u64,
    zero_received: u64,
    zero_sent: u64,
}

impl Counted {
    /// Rejected adverts are counted by interface.
    fn of(name: &str, status: &Status) -> Option<Self> {
        let instance = status.instances.iter().find(|it| it.name == name)?;
        let mut interfaces = status.interfaces.iter();
        let interface = interfaces.find(|it| it.name == instance.interface);
        let count = |name: &str| instance.counters.get(name).copied().unwrap_or_default();
        let rejected = |name: &str| {
            let found = interface.and_then(|it| it.rejects.get(name));
            found.copied().unwrap_or_default()
        };
        Some(Self {
            received: count("adverts_accepted") + count("adverts_without_authority"),
            sent: count("adverts_sent"),
            became_master: count("became_master"),
            released_master: count("released_master"),
            length: rejected("length"),
            ttl: rejected("ttl"),
            kind: rejected("type"),
            interval: rejected("interval"),
            address_list: rejected("count") + rejected("first_address"),
            authentication: rejected("authentication"),
            zero_received: count("resignations_heard") + count("foreign_resignations"),
            zero_sent: count("priority_zero_sent"),
        })
    }
}
