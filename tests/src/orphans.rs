//! What a run leaves behind that is killed, or ended by a signal: namespaces and directories, whose names hold
//! its process id.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
    low_level::emulate_default_handler,
};

/// Removes what runs have left that are no more, and from now on, before a signal ends this one, what is its own.
/// SIGHUP is let alone: `nohup` has had it ignored.
pub(crate) fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        remove(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        let mut signals = Signals::new([SIGINT, SIGTERM]).expect("catch signals");
        thread::spawn(move || {
            let own = std::process::id();
            for signal in signals.forever() {
                remove(|pid| pid == own);
                let _ = emulate_default_handler(signal);
            }
        });
    });
}

/// The directory of a run of this process, by its name.
pub(crate) fn directory(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("{DIRECTORY}{}-{name}", std::process::id()))
}

/// The name of a namespace of this process.
pub(crate) fn namespace(name: &str) -> String {
    format!("{NAMESPACE}{}-{name}", std::process::id())
}

const DIRECTORY: &str = "xvrrp-test-";
const NAMESPACE: &str = "xvrrp-";

/// Everything of the processes that are meant.
fn remove(is_meant: impl Fn(u32) -> bool) {
    for (name, _) in entries(Path::new("/run/netns"), NAMESPACE, &is_meant) {
        let _ = Command::new("ip")
            .args(["netns", "del", &name])
            .process_group(0)
            .status();
    }
    for (_, path) in entries(&std::env::temp_dir(), DIRECTORY, &is_meant) {
        for mount in mounts_below(&path).iter().rev() {
            let _ = Command::new("umount").arg(mount).process_group(0).status();
        }
        // What is mounted may be somebody else's.
        if mounts_below(&path).is_empty() {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Names that begin so, with the number of a process that is meant behind it.
fn entries(
    directory: &Path,
    prefix: &str,
    is_meant: impl Fn(u32) -> bool,
) -> Vec<(String, PathBuf)> {
    let all = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = all.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())));
    let meant = named.filter(|(name, _)| {
        let pid = name.strip_prefix(prefix);
        let pid = pid.and_then(|rest| rest.split('-').next()?.parse().ok());
        pid.is_some_and(&is_meant)
    });
    meant.collect()
}

fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    let places = places.map(PathBuf::from);
    places
        .filter(|place| place.starts_with(directory))
        .collect()
}
