//! `track_file`: numbers in files, read again whenever the kernel says that a file has changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd, RawFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
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
/// For how long a file must be empty until that counts: whoever writes one empties it first.
const EMPTY: Duration = Duration::from_millis(100);
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
        let before = state.borrow().clone();
        let mut numbers = Numbers::new();
        let mut is_being_written = false;
        for (name, path) in &files {
            let content = content_of(path);
            let kept = before.get(name).copied();
            let number = match (kept, &content) {
                (Some(kept), Some(content)) if content.is_being_written() => {
                    is_being_written = true;
                    kept
                }
                _ => content.map_or(0, |content| number(&content.text)),
            };
            numbers.insert(name.clone(), number);
        }
        state.send_replace(numbers.clone());
        for (name, number) in &numbers {
            let is_new = before.get(name) != Some(number);
            if is_new && changed.send((TrackKind::File, name.clone())).is_err() {
                return;
            }
        }
        tokio::select! {
            () = stirred(&mut watcher) => {}
            () = time::sleep(EMPTY), if is_being_written => {}
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
            // What is not closed yet is being written.
            let flags = AddWatchFlags::IN_CLOSE_WRITE
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
#[must_use]
pub fn number_in(path: &Path) -> i64 {
    content_of(path).map_or(0, |content| number(&content.text))
}

/// The beginning of a file.
struct Content {
    text: String,
    changed: SystemTime,
}

impl Content {
    fn is_being_written(&self) -> bool {
        self.text.is_empty() && self.changed.elapsed().is_ok_and(|age| age < EMPTY)
    }
}

/// What is in a file; `None` where it cannot be read.
fn content_of(path: &Path) -> Option<Content> {
    let read = || -> io::Result<Content> {
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        only_a_file(&file)?;
        let mut text = Vec::new();
        (&file).take(LONGEST).read_to_end(&mut text)?;
        // Only now: what was read empty was emptied by then.
        let changed = file.metadata()?.modified()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Ok(Content { text, changed })
    };
    read().ok()
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
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    only_a_file(&file)?;
    writeln!(file, "{number}")
}

/// What is no file is neither read nor written: somebody's FIFO would keep us for ever.
fn only_a_file(file: &File) -> io::Result<()> {
    if file.metadata()?.is_file() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "there is something that is no file",
    ))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs::File};

    use tokio::{
        sync::{mpsc, watch},
        time,
    };

    use super::{EMPTY, number, watch as watch_files};

    /// Whoever writes a file empties it first: that is nobody's number.
    #[tokio::test]
    async fn what_is_being_written_counts_once_it_is_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("number");
        std::fs::write(&path, "5").expect("write");
        let files = BTreeMap::from([("it".to_owned(), path.clone())]);
        let (state, known) = watch::channel(BTreeMap::new());
        let (changed, mut told) = mpsc::unbounded_channel();
        let watching = tokio::spawn(watch_files(files, state, changed));
        let mut next = async || {
            told.recv().await.expect("a change");
            known.borrow().get("it").copied()
        };
        assert_eq!(next().await, Some(5));
        for value in 100..110 {
            // The kernel tells of this; it is empty for a fifth of the time that counts.
            drop(File::create(&path).expect("empty the file"));
            time::sleep(EMPTY / 5).await;
            std::fs::write(&path, value.to_string()).expect("write");
            assert_eq!(next().await, Some(value));
        }
        // One that is emptied on purpose says 0.
        let emptied = time::Instant::now();
        drop(File::create(&path).expect("empty the file"));
        assert_eq!(next().await, Some(0));
        assert!(emptied.elapsed() >= EMPTY * 9 / 10);
        watching.abort();
    }

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
