//! A Debian machine of its own: a clean root (`debootstrap`), systemd as its first process, and the network
//! of one host of a LAN. What it writes is gone with it.

use std::{
    net::Ipv4Addr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    netns::Namespace,
    process::{Process, Scratch},
    wait_for,
};

/// A machine that has booted; it is cut off from its power when dropped.
pub struct Machine {
    first: Process,
    pid: u32,
    cgroup: String,
}

/// Something of this machine that the other one sees too.
pub struct Shared<'a> {
    /// Where it is here.
    pub what: &'a Path,
    /// Where it is there; an absolute path.
    pub at: &'a str,
}

/// How long booting may take.
const BOOT: Duration = Duration::from_mins(1);
/// What a person finds after logging in as root.
const ENVIRONMENT: [&str; 5] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "TERM=xterm-256color",
    "LANG=C.UTF-8",
    "DEBIAN_FRONTEND=noninteractive",
];

/// Where the shell script below puts things together. The root of its own is a file system over the clean
/// one; the parts of `/dev` are this machine's.
const PUT_TOGETHER: &str = r#"
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/root"
mount -t overlay -o "lowerdir=$LOWER,upperdir=$PLACE/upper,workdir=$PLACE/work" overlay "$PLACE/root"
cd "$PLACE/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mkdir -p sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for node in null zero full random urandom tty; do
    touch "dev/$node"
    mount --bind "/dev/$node" "dev/$node"
done
while [ $# -gt 0 ]; do
    mkdir -p "$(dirname ".$2")"
    if [ -d "$1" ]; then mkdir -p ".$2"; else touch ".$2"; fi
    mount --rbind "$1" ".$2"
    shift 2
done
# What is the whole machine's is not for this one to set.
ln -s /dev/null etc/systemd/system/systemd-sysctl.service
if [ -e proc/sysrq-trigger ]; then mount --bind /dev/null proc/sysrq-trigger; fi
echo "$NAME" > /proc/sys/kernel/hostname
echo "$NAME" > etc/hostname
echo "127.0.0.1 localhost $NAME" > etc/hosts
exec env -i container=xvrrp "PATH=$PATH" chroot . /lib/systemd/systemd
"#;

/// Puts the shell into a control group of its own, whatever the machine has mounted, and goes on in
/// namespaces of its own.
const ENTER: &str = r#"
set -e
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$PLACE"
mkdir "$PLACE/$CGROUP"
echo $$ > "$PLACE/$CGROUP/cgroup.procs"
umount "$PLACE"
exec unshare --cgroup --pid --uts --ipc --fork --kill-child=KILL sh -c "$SCRIPT" sh "$@"
"#;

/// Removes the control group and what systemd has made below it, once its processes are gone.
const LEAVE: &str = r#"
mount --make-rprivate /
mount -t cgroup2 cgroup2 "$PLACE"
for attempt in $(seq 50); do
    find "$PLACE/$CGROUP" -depth -type d -exec rmdir {} + && exit
    sleep 0.1
done
exit 1
"#;

/// The clean root that `cargo xtask setup` has made.
pub fn clean_root() -> PathBuf {
    std::env::var_os("XVRRP_DEBIAN_ROOT")
        .map(PathBuf::from)
        .expect("XVRRP_DEBIAN_ROOT names a clean Debian root; run `cargo xtask test [FILTER]`")
}

impl Machine {
    /// Boots a machine with the network of this namespace.
    pub fn boot(network: &Namespace, scratch: &Scratch, shared: &[Shared<'_>]) -> Self {
        let name = network.name();
        let place = scratch.path(&format!("{name}.root"));
        std::fs::create_dir_all(&place).expect("a place for the root");
        // Whoever starts it may be killed, and `unshare` would not hear of it.
        let mut command = network.command("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c"])
            .args([ENTER, "sh"])
            .env("PLACE", &place)
            .env("LOWER", clean_root())
            .env("CGROUP", name)
            .env("NAME", name)
            .env("SCRIPT", PUT_TOGETHER);
        for Shared { what, at } in shared {
            command.arg(what).arg(at);
        }
        let mut machine = Self {
            first: Process::start(command, &scratch.path(&format!("{name}.boot"))),
            pid: 0,
            cgroup: name.to_owned(),
        };
        let first = &mut machine.first;
        let pid = wait_for(format!("{name} to begin"), BOOT, || {
            assert!(first.runs(), "{}", first.log());
            let children = format!("/proc/{0}/task/{0}/children", first.pid());
            let children = std::fs::read_to_string(children).ok()?;
            let pid: u32 = children.split_whitespace().next()?.parse().ok()?;
            let runs = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            (runs.trim() == "systemd").then_some(pid)
        });
        machine.pid = pid;
        wait_for(format!("{name} to have booted"), BOOT, || {
            let output = machine.shell("systemctl is-system-running").output();
            let said = output.expect("ask systemd").stdout;
            let said = String::from_utf8_lossy(&said);
            ["running", "degraded"].contains(&said.trim()).then_some(())
        });
        machine
    }

    /// A line of shell, as root, in `/src`.
    pub fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("nsenter");
        // A signal to the group reaches what runs inside.
        command.process_group(0);
        let target = self.pid.to_string();
        command
            .args(["--target", &target, "--mount", "--pid", "--net", "--uts"])
            .args(["--ipc", "--cgroup", "--root", "env", "-i", "--chdir=/"])
            .args(ENVIRONMENT)
            .args(["sh", "-c", "cd /src 2>/dev/null; eval \"$1\"", "sh", line]);
        command
    }

    /// Whether its `eth0` has an address.
    pub fn has_address(&self, address: Ipv4Addr) -> bool {
        let all = self.run("ip -4 -o address show dev eth0");
        all.contains(&format!(" {address}/"))
    }

    /// Runs a line to its end, which must be a good one, and returns what it has printed.
    pub fn run(&self, line: &str) -> String {
        let output = self.shell(line).output().expect("run a shell");
        let said = both(&output);
        assert!(output.status.success(), "$ {line}\n{said}");
        said
    }
}

/// What a program has printed, errors behind.
pub fn both(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    out + &String::from_utf8_lossy(&output.stderr)
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.first.end(Signal::SIGKILL, BOOT);
        let place = std::env::temp_dir();
        let left = Command::new("unshare")
            .args(["--mount", "sh", "-c", LEAVE])
            .env("PLACE", place)
            .env("CGROUP", &self.cgroup)
            .output();
        if !left.is_ok_and(|output| output.status.success()) {
            eprintln!("could not remove the control group {}", self.cgroup);
        }
    }
}
