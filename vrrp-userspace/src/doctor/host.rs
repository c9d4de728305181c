//! The machine: kernel, privileges, and the files that say how they are set.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::Finding;

/// Where the machine's files are: another root in tests.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

/// What the programs need of the kernel (README, "Two commands").
const OLDEST_KERNEL: (u32, u32) = (5, 15);

impl Host {
    /// With the files below this directory.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// A file without the white space around it; `None` where it cannot be read.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Whether the process that a file names is there, and has this name.
    pub(super) fn runs_by_pid_file(&self, path: &str, name: &str) -> bool {
        let pid = self.read(path).and_then(|text| text.parse::<u32>().ok());
        let comm = pid.and_then(|pid| self.read(&format!("proc/{pid}/comm")));
        comm.as_deref() == Some(name)
    }

    /// `net.ipv4.conf.*`: the higher of the interface's value and that of all.
    pub(super) fn of_interface(&self, interface: &str, name: &str) -> u32 {
        let value = |interface: &str| {
            let text = self.read(&format!("proc/sys/net/ipv4/conf/{interface}/{name}"));
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        value("all").max(value(interface))
    }

    /// The hypervisor that this machine runs under, where it is known that it does.
    pub(super) fn hypervisor(&self) -> Option<String> {
        let flags = self.read("proc/cpuinfo").unwrap_or_default();
        let is_virtual = flags
            .lines()
            .filter(|line| line.starts_with("flags"))
            .any(|line| line.split_whitespace().any(|flag| flag == "hypervisor"));
        let vendor = self.read("sys/class/dmi/id/sys_vendor");
        is_virtual.then(|| vendor.unwrap_or_else(|| "a hypervisor".to_owned()))
    }
}

pub(super) fn examine(host: &Host) -> Vec<Finding> {
    let mut findings = vec![kernel(host)];
    if host.read("proc/sys/net/core/bpf_jit_enable").as_deref() == Some("0") {
        findings.push(Finding::wrong(
            "kernel",
            "it interprets BPF programs instead of compiling them: every frame takes many times as long",
            "sysctl -w net.core.bpf_jit_enable=1",
        ));
    }
    let mounts = host.read("proc/mounts").unwrap_or_default();
    let has_bpffs = mounts
        .lines()
        .any(|line| line.split_whitespace().nth(2) == Some("bpf"));
    findings.push(if has_bpffs {
        Finding::fine("kernel", "a BPF file system is there to pin programs to")
    } else {
        Finding::note(
            "kernel",
            "there is no BPF file system: programs are held by netlink instead of pins",
            "mount -t bpf bpf /sys/fs/bpf",
        )
    });
    findings
}

fn kernel(host: &Host) -> Finding {
    let release = host.read("proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|part| part.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    match version {
        Some(version) if version >= OLDEST_KERNEL => {
            Finding::fine("kernel", format!("Linux {release}"))
        }
        _ => Finding::wrong(
            "kernel",
            format!(
                "Linux {release} is older than {}.{}",
                OLDEST_KERNEL.0, OLDEST_KERNEL.1
            ),
            "the kernel programs may not load; without them there is no fence. Use a newer kernel",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
            fs::write(path, text).expect("a file");
        }
        let host = Host::at(root.path());
        (root, host)
    }

    fn levels(files: &[(&str, &str)]) -> Vec<Level> {
        let (_root, host) = host(files);
        examine(&host).iter().map(|it| it.level).collect()
    }

    #[test]
    fn a_healthy_and_an_old_kernel() {
        let healthy = [
            ("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n"),
            ("proc/sys/net/core/bpf_jit_enable", "1\n"),
            ("proc/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n"),
        ];
        assert_eq!(levels(&healthy), [Level::Fine, Level::Fine]);
        let old = [
            ("proc/sys/kernel/osrelease", "5.4.0-100-generic\n"),
            ("proc/sys/net/core/bpf_jit_enable", "0\n"),
            ("proc/mounts", "proc /proc proc rw 0 0\n"),
        ];
        assert_eq!(levels(&old), [Level::Wrong, Level::Wrong, Level::Note]);
    }

    #[test]
    fn a_hypervisor_is_known_by_its_flag() {
        let (_root, machine) = host(&[("proc/cpuinfo", "flags\t: fpu sse\n")]);
        assert_eq!(machine.hypervisor(), None);
        let (_root, machine) = host(&[
            ("proc/cpuinfo", "flags\t: fpu hypervisor\n"),
            ("sys/class/dmi/id/sys_vendor", "VMware, Inc.\n"),
        ]);
        assert_eq!(machine.hypervisor().as_deref(), Some("VMware, Inc."));
    }
}
