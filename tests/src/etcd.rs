//! Real etcd, one member or several, each on a host of its own.

use std::{net::Ipv4Addr, time::Duration};

use nix::sys::signal::Signal;

use crate::{
    netns::{Lan, Namespace},
    process::{Process, Scratch},
    wait_for,
};

/// The port clients use.
pub const PORT: u16 = 2379;

/// A member.
pub struct Member {
    process: Process,
    number: u8,
}

/// A cluster on these hosts of a LAN.
pub struct Cluster {
    hosts: Vec<u8>,
    members: Vec<Member>,
    generation: u32,
}

impl Cluster {
    /// Starts a member on each of these hosts, and waits until they agree on a leader.
    pub fn start(lan: &Lan, scratch: &Scratch, hosts: &[u8]) -> Self {
        let mut cluster = Self {
            hosts: hosts.to_vec(),
            members: Vec::new(),
            generation: 0,
        };
        for host in hosts {
            cluster.start_member(lan, scratch, *host);
        }
        cluster.wait_healthy(lan, hosts[0]);
        cluster
    }

    /// Starts the member of a host, for the first time or with what it has stored.
    pub fn start_member(&mut self, lan: &Lan, scratch: &Scratch, host: u8) {
        let url = |host: u8, port: u16| format!("http://{}:{port}", Lan::address(host));
        let all: Vec<String> = self
            .hosts
            .iter()
            .map(|host| format!("m{host}={}", url(*host, PORT + 1)))
            .collect();
        let data = scratch.path(&format!("etcd-{host}"));
        let (clients, peers) = (url(host, PORT), url(host, PORT + 1));
        let mut command = lan.hosts[usize::from(host)].command("etcd");
        command
            .args(["--name", &format!("m{host}"), "--data-dir"])
            .arg(data)
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &clients])
            .args(["--listen-peer-urls", &peers])
            .args(["--initial-advertise-peer-urls", &peers])
            .args(["--initial-cluster", &all.join(",")])
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"]);
        self.generation += 1;
        let log = scratch.path(&format!("etcd-{host}-{}.log", self.generation));
        let process = Process::start(command, &log);
        self.members.push(Member {
            process,
            number: host,
        });
    }

    /// Waits until a member answers for the whole cluster.
    pub fn wait_healthy(&self, lan: &Lan, host: u8) {
        let address = Lan::address(host);
        wait_for("etcd to have a leader", Duration::from_secs(30), || {
            healthy(&lan.hosts[usize::from(host)], address).then_some(())
        });
    }

    /// Sends a signal to every member, or to that of one host.
    pub fn signal(&mut self, host: Option<u8>, signal: Signal) {
        for member in &mut self.members {
            if host.is_none_or(|host| host == member.number) {
                member.process.signal(signal);
            }
        }
    }

    /// Kills the member of a host.
    pub fn kill(&mut self, host: u8) {
        self.signal(Some(host), Signal::SIGKILL);
        for member in &mut self.members {
            if member.number == host {
                member.process.wait(Duration::from_secs(5));
            }
        }
        self.members.retain(|member| member.number != host);
    }

    /// The lines of a `vrrp_arbiter` that name all members.
    pub fn endpoints(&self) -> String {
        let url = |host: &u8| format!("http://{}:{PORT}", Lan::address(*host));
        let all: Vec<String> = self.hosts.iter().map(url).collect();
        format!(" etcd {}\n", all.join(" "))
    }
}

/// The key of who holds the lease of the arbiter `judge` for the instance `VI`, as etcd's gateway wants it.
const HOLDER: &str = "eHZycnAvanVkZ2UvVkkvaG9sZGVy"; // xvrrp/judge/VI/holder

/// Takes the lease's key away by hand, as an operator may. Returns whether it was there.
#[must_use]
pub fn delete_holder(lan: &Lan, host: u8) -> bool {
    let answer = ask_holder(lan, host, "deleterange");
    answer.is_some_and(|answer| answer.contains("\"deleted\":\"1\""))
}

/// Whether somebody holds it.
#[must_use]
pub fn is_held(lan: &Lan, host: u8) -> bool {
    let answer = ask_holder(lan, host, "range");
    answer.is_some_and(|answer| answer.contains("\"count\":\"1\""))
}

fn ask_holder(lan: &Lan, host: u8, call: &str) -> Option<String> {
    let body = format!("{{\"key\":\"{HOLDER}\"}}");
    let length = body.len();
    let request = format!("POST /v3/kv/{call} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}");
    ask(&lan.hosts[usize::from(host)], Lan::address(host), &request)
}

fn healthy(namespace: &Namespace, address: Ipv4Addr) -> bool {
    let answer = ask(namespace, address, "GET /health HTTP/1.0\r\n\r\n");
    answer.is_some_and(|answer| answer.contains("\"true\""))
}

fn ask(namespace: &Namespace, address: Ipv4Addr, request: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    namespace.enter(|| {
        let limit = Duration::from_millis(500);
        let to = std::net::SocketAddr::from((address, PORT));
        let mut stream = std::net::TcpStream::connect_timeout(&to, limit).ok()?;
        stream.set_read_timeout(Some(limit)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}
