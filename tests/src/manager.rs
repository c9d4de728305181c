//! A small service manager, in systemd's words: it hears what a service says (`NOTIFY_SOCKET`), keeps
//! descriptors for it (`FDSTORE`), and restarts it with them (`LISTEN_FDS`).

use std::{
    io::IoSliceMut,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::{net::UnixDatagram, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use nix::sys::{
    signal::Signal,
    socket::{ControlMessageOwned, MsgFlags, recvmsg},
};

use crate::{
    LONG,
    netns::Namespace,
    process::{Process, Scratch},
    wait_for,
};

/// The first descriptor that a service gets.
const FIRST: RawFd = 3;

/// A service and its manager.
pub struct Manager {
    socket: UnixDatagram,
    path: PathBuf,
    log: PathBuf,
    run_dir: PathBuf,
    config: PathBuf,
    /// Everything the service has said.
    pub told: Vec<String>,
    kept: Vec<(String, OwnedFd)>,
    /// The service.
    pub process: Process,
    starts: u32,
}

impl Manager {
    /// Starts the daemon as a service, and waits until it says that it is ready.
    pub fn start(namespace: &Namespace, scratch: &Scratch, config: &str) -> Self {
        let config = scratch.write("service.conf", config);
        let path = scratch.path("notify");
        let socket = UnixDatagram::bind(&path).expect("the manager's socket");
        socket.set_nonblocking(true).expect("non-blocking");
        let (log, run_dir) = (scratch.path("service.log"), scratch.path("run"));
        let process = Process::start(
            command(namespace, &config, &run_dir, &path, &[]),
            &log.with_extension("0"),
        );
        let mut manager = Self {
            socket,
            path,
            log,
            run_dir,
            config,
            told: Vec::new(),
            kept: Vec::new(),
            process,
            starts: 1,
        };
        manager.wait_told("READY=1");
        manager
    }

    /// Where its control socket is.
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    /// Waits until the service has said this since the last time.
    pub fn wait_told(&mut self, what: &str) {
        wait_for(what.to_owned(), LONG, || {
            self.listen();
            let at = self.told.iter().position(|line| line == what)?;
            self.told.drain(..=at);
            Some(())
        });
    }

    /// What is kept for the service, by name.
    pub fn kept(&mut self) -> Vec<&str> {
        self.listen();
        self.kept.iter().map(|(name, _)| &**name).collect()
    }

    fn listen(&mut self) {
        while let Some((text, descriptors)) = self.receive() {
            let lines: Vec<&str> = text.lines().collect();
            let name = lines
                .iter()
                .find_map(|line| line.strip_prefix("FDNAME="))
                .unwrap_or("stored");
            if lines.contains(&"FDSTOREREMOVE=1") {
                self.kept.retain(|(kept, _)| kept != name);
            }
            if lines.contains(&"FDSTORE=1") {
                let named = descriptors.into_iter().map(|fd| (name.to_owned(), fd));
                self.kept.extend(named);
            }
            self.told.extend(lines.into_iter().map(str::to_owned));
        }
    }

    fn receive(&self) -> Option<(String, Vec<OwnedFd>)> {
        let mut buffer = [0; 1024];
        let mut control = nix::cmsg_space!([RawFd; 4]);
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let received = recvmsg::<()>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            flags,
        )
        .ok()?;
        let descriptors = received.cmsgs().ok()?.flat_map(|message| match message {
            ControlMessageOwned::ScmRights(descriptors) => descriptors,
            _ => Vec::new(),
        });
        // SAFETY: the kernel has just made them for us.
        let descriptors = descriptors.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let descriptors = descriptors.collect();
        let length = received.bytes;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        Some((text, descriptors))
    }

    /// Ends the service with the unit's `RestartKillSignal`, runs its `ExecStopPost`, and starts it
    /// again with what it has left: what `systemctl restart` does.
    pub fn restart(&mut self, namespace: &Namespace) {
        self.leave();
        self.start_again(namespace, "success");
    }

    /// Ends the service with the unit's `RestartKillSignal`.
    pub fn leave(&mut self) {
        let pid = i32::try_from(self.process.pid()).expect("a pid");
        // SAFETY: a signal to a child of ours.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGRTMIN() + 10) }, 0);
        let status: ExitStatus = self.process.wait(Duration::from_secs(10));
        assert!(status.success(), "{status}: {}", self.process.log());
        self.listen();
    }

    /// Starts the service with what is kept and this configuration, and waits for its end: it must fail.
    pub fn start_in_vain(&mut self, namespace: &Namespace, config: &str) -> String {
        std::fs::write(&self.config, config).expect("the configuration");
        self.launch(namespace);
        let status = self.process.wait(Duration::from_secs(10));
        assert!(!status.success(), "{status}");
        self.process.log()
    }

    /// Kills the service and starts it again, as a manager does that restarts what has failed.
    pub fn crash(&mut self, namespace: &Namespace) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(Duration::from_secs(10));
        self.start_again(namespace, "signal");
    }

    fn start_again(&mut self, namespace: &Namespace, result: &str) {
        self.listen();
        self.clean_up(namespace, result);
        self.launch(namespace);
        self.wait_told("READY=1");
    }

    fn launch(&mut self, namespace: &Namespace) {
        let kept: Vec<(String, RawFd)> = self
            .kept
            .iter()
            .map(|(name, fd)| (name.clone(), fd.as_raw_fd()))
            .collect();
        let command = command(namespace, &self.config, &self.run_dir, &self.path, &kept);
        let log = self.log.with_extension(self.starts.to_string());
        self.starts += 1;
        self.process = Process::start(command, &log);
    }

    /// Runs the unit's `ExecStopPost`.
    fn clean_up(&self, namespace: &Namespace, result: &str) {
        let mut cleanup = namespace.command(&crate::xvrrp::binary());
        cleanup
            .args(["cleanup", "--keep-native", "--unless-restarting"])
            .arg("--run-dir")
            .arg(&self.run_dir)
            .env("SERVICE_RESULT", result);
        let output = cleanup.output().expect("run ExecStopPost");
        assert!(output.status.success(), "{output:?}");
    }
}

fn command(
    namespace: &Namespace,
    config: &Path,
    run_dir: &Path,
    notify: &Path,
    kept: &[(String, RawFd)],
) -> std::process::Command {
    // Only the process itself knows its pid.
    let mut command = namespace.command("sh");
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"])
        .arg(crate::xvrrp::binary())
        .args(["run", "--config"])
        .arg(config)
        .arg("--run-dir")
        .arg(run_dir)
        .arg(format!("--bpffs={}", run_dir.join("none").display()))
        .env("NOTIFY_SOCKET", notify);
    let names: Vec<&str> = kept.iter().map(|(name, _)| &**name).collect();
    let numbers: Vec<RawFd> = kept.iter().map(|(_, number)| *number).collect();
    if !names.is_empty() {
        command
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"));
    }
    let pass = move || {
        // Out of the way first: one may be where another is to go.
        for (target, number) in (FIRST + 100..).zip(&numbers) {
            // SAFETY: async-signal-safe, and both are numbers of the child alone.
            if unsafe { libc::dup2(*number, target) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        for offset in 0..RawFd::try_from(numbers.len()).unwrap_or_default() {
            // SAFETY: as above.
            if unsafe { libc::dup2(FIRST + 100 + offset, FIRST + offset) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        Ok(())
    };
    // SAFETY: `pass` calls nothing else between fork and exec.
    unsafe { command.pre_exec(pass) };
    command
}
