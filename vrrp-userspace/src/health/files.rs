//! `track_file`: numbers in files, read again whenever the kernel says that a file has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read as _},
    os::{
        fd::{AsFd as _, AsRawFd, RawFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, watch},
    time,
};

use super::Turned;
use crate::config::model::TrackKind;

/// How often directories are looked for that were not there, and files on file systems that tell nobody.
const PERIOD: Duration = Duration::from_secs(1);
/// More than any number.
const LONGEST: u64 = 64;

/// The number of every file, by name of the `track_file`.
pub type Numbers = BTreeMap<String, i64>;

/// Reads files for ever. `changed` gets the name of every one whose number is another.
pub async fn watch(
    files: BTreeMap<String, PathBuf>,
    state: watch::Sender<Numbers>,
    changed: mpsc::UnboundedSender<Turned>,
) {
    let mut watcher = match Watcher::new() {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!("track_file: {error}; files are read every {PERIOD:?}");
            None
        }
    };
    let mut ticks = time::interval(PERIOD);
    loop {
        if let Some(watcher) = &mut watcher {
            watcher.look_into(files.values().filter_map(|path| path.parent()));
        }
        let numbers: Numbers = files
            .iter()
            .map(|(name, path)| (name.clone(), number_in(path)))
            .collect();
        let before = state.send_replace(numbers.clone());
        for (name, number) in &numbers {
            let is_new = before.get(name) != Some(number);
            if is_new && changed.send((TrackKind::File, name.clone())).is_err() {
                return;
            }
        }
        tokio::select! {
            () = stirred(&mut watcher) => {}
            _ = ticks.tick() => {}
        }
    }
}

async fn stirred(watcher: &mut Option<Watcher>) {
    match watcher {
        Some(watcher) => watcher.stirred().await,
        None => std::future::pending().await,
    }
}

/// Watches the directories of files: a file that is replaced by another of its name is a new one.
struct Watcher {
    inotify: AsyncFd<Handle>,
    directories: BTreeMap<PathBuf, WatchDescriptor>,
}

struct Handle(Inotify);

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Watcher {
    fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let (handle, interest) = (Handle(inotify), Interest::READABLE);
        // SAFETY: the handle owns its descriptor for as long as the registration lives.
        let inotify = unsafe { AsyncFd::register_with_interest(handle, interest) }?;
        Ok(Self {
            inotify,
            directories: BTreeMap::new(),
        })
    }

    fn look_into<'a>(&mut self, directories: impl Iterator<Item = &'a Path>) {
        let wanted: BTreeSet<&Path> = directories.collect();
        for directory in wanted {
            if self.directories.contains_key(directory) {
                continue;
            }
            let flags = AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_MODIFY
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVE
                | AddWatchFlags::IN_DELETE_SELF
                | AddWatchFlags::IN_MOVE_SELF
                | AddWatchFlags::IN_ONLYDIR;
            let place = if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                directory
            };
            // One that is not there is looked for again.
            if let Ok(descriptor) = self.inotify.get_ref().0.add_watch(place, flags) {
                self.directories.insert(directory.to_owned(), descriptor);
            }
        }
    }

    /// Waits until something has happened in one of the directories.
    async fn stirred(&mut self) {
        let read = |handle: &Handle| Ok(handle.0.read_events()?);
        let events = self.inotify.async_io(Interest::READABLE, read).await;
        let gone =
            AddWatchFlags::IN_IGNORED | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_UNMOUNT;
        for event in events.unwrap_or_default() {
            if event.mask.intersects(gone) {
                self.directories.retain(|_, it| *it != event.wd);
            }
        }
    }
}

/// The number at the beginning of a file, as `strtol` reads it with base 0; 0 where there is none.
/// What is no file is not read: somebody's FIFO would keep us for ever.
#[must_use]
pub fn number_in(path: &Path) -> i64 {
    let read = || -> io::Result<String> {
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().map_or(0, |text| number(&text))
}

fn number(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let (radix, digits) = match (hexadecimal, digits.strip_prefix('0')) {
        (Some(rest), _) => (16, rest),
        (None, Some(_)) => (8, digits),
        (None, None) => (10, digits),
    };
    let end = digits
        .find(|letter: char| !letter.is_digit(radix))
        .unwrap_or(digits.len());
    let number = digits.get(..end).unwrap_or_default();
    let number = i64::from_str_radix(number, radix).unwrap_or(0) * sign;
    // keepalived ignores what 32 bits cannot hold.
    if i32::try_from(number).is_ok() {
        number
    } else {
        0
    }
}

/// `init_file`: writes the number, if no file is there or it is to be written over.
///
/// # Errors
///
/// What the file system says.
pub fn write_first(path: &Path, number: i64, overwrites: bool) -> io::Result<()> {
    if path.exists() && !overwrites {
        return Ok(());
    }
    fs::write(path, format!("{number}\n"))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read_as_strtol_reads_them() {
        let rows = [
            ("", 0),
            ("-20\n", -20),
            ("  +7 apples", 7),
            ("0x10", 16),
            ("010", 8),
            ("08", 0),
            ("apples", 0),
            ("-", 0),
            ("99999999999", 0),
            ("99999999999999999999999", 0),
        ];
        for (text, expected) in rows {
            assert_eq!(number(text), expected, "{text:?}");
        }
    }
}
