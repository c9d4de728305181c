//! Real HAProxy behind the virtual address, and backends for it.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use nix::sys::signal::Signal;

use crate::{
    netns::Namespace,
    process::{Process, Scratch},
};

/// The port clients use.
pub const PORT: u16 = 8080;

/// A running HAProxy.
pub struct Haproxy {
    process: Process,
    pid_file: PathBuf,
}

impl Haproxy {
    /// Starts HAProxy inside a namespace, spreading over two backends at `backend`.
    pub fn start(namespace: &Namespace, scratch: &Scratch, backend: Ipv4Addr) -> Self {
        let config = format!(
            "global\n  maxconn 1000\n  stats socket {}\ndefaults\n  mode http\n  timeout connect 1s\n  timeout client 5s\n  \
             timeout server 5s\nfrontend web\n  bind *:{PORT}\n  default_backend pool\n\
             backend pool\n  balance roundrobin\n  server one {backend}:9001 check inter 200\n  \
             server two {backend}:9002 check inter 200\n",
            stats_socket(namespace, scratch).display()
        );
        Self::with_config(namespace, scratch, &config)
    }

    /// Starts HAProxy inside a namespace with a configuration.
    pub fn with_config(namespace: &Namespace, scratch: &Scratch, config: &str) -> Self {
        let name = namespace.name();
        let pid_file = pid_file(namespace, scratch);
        let config = scratch.write(&format!("{name}-haproxy.cfg"), config);
        let mut command = namespace.command("haproxy");
        command.arg("-db").arg("-f").arg(config);
        let process = Process::start(command, &scratch.path(&format!("{name}-haproxy.log")));
        // With -db HAProxy writes no pid file of its own.
        std::fs::write(&pid_file, process.pid().to_string()).expect("write the pid file");
        Self { process, pid_file }
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(Duration::from_secs(5));
        let _ = std::fs::remove_file(&self.pid_file);
    }
}

fn pid_file(namespace: &Namespace, scratch: &Scratch) -> PathBuf {
    scratch.path(&format!("{}-haproxy.pid", namespace.name()))
}

fn stats_socket(namespace: &Namespace, scratch: &Scratch) -> PathBuf {
    scratch.path(&format!("{}-stats.sock", namespace.name()))
}

/// The same as below without a script: HAProxy itself is asked.
pub fn built_in_check(namespace: &Namespace, scratch: &Scratch, weight: &str) -> String {
    format!(
        "vrrp_script haproxy {{\n  check haproxy {} backend pool\n  interval 0.1\n  fall 2\n  rise 2\n\
         {weight}}}\n",
        stats_socket(namespace, scratch).display()
    )
}

/// A `vrrp_script` that watches the HAProxy of a namespace.
pub fn check_script(namespace: &Namespace, scratch: &Scratch, weight: &str) -> String {
    let pid_file = pid_file(namespace, scratch);
    format!(
        "vrrp_script haproxy {{\n  script \"/bin/sh -c 'kill -0 $(cat {})'\"\n  interval 0.1\n  \
         fall 2\n  rise 2\n{weight}}}\n",
        pid_file.display()
    )
}

/// Two backends that answer every request, inside a namespace. They live as long as the process.
pub fn start_backends(namespace: &Namespace) {
    for port in [9001, 9002] {
        let listener = namespace.enter(|| TcpListener::bind(("0.0.0.0", port)).expect("a backend"));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut request = [0; 2048];
                let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
                let _ = stream.read(&mut request);
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"
                );
            }
        });
    }
}
