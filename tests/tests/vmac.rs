//! `use_vmac`: the addresses keep one MAC from router to router, without a macvlan device and without a
//! changed sysctl.

use std::{net::IpAddr, time::Duration};

use vrrp_userspace::dataplane::Dataplane;
use xvrrp_tests::{
    LONG,
    capture::{Capture, Seen, Sender},
    frames::{AdvertSpec, Said, adverts_v6, arp_question, packet_v4, ping_v6, solicitation},
    modes::pass_everything,
    ms,
    netns::{Lan, Namespace},
    ping::Pinger,
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, status},
};

const MS: u64 = 1_000_000;
const VRID: u8 = 51;
/// `Skew_Time` of the second router: (256 - 100) × 100 ms / 256.
const SKEW_MS: usize = 61;
const VIP_V6: &str = "2001:db8::100";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn vip(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::from([10, 9, 0, 100]),
            Self::V6 => VIP_V6.parse().expect("an address"),
        }
    }

    const fn mac(self) -> [u8; 6] {
        match self {
            Self::V4 => [0, 0, 0x5e, 0, 1, VRID],
            Self::V6 => [0, 0, 0x5e, 0, 2, VRID],
        }
    }

    fn config(self, priority: u8, lines: &str) -> String {
        let addresses = match self {
            Self::V4 => "10.9.0.100/24",
            Self::V6 => "fe80::100/64\n2001:db8::100/64",
        };
        // Another virtual router on the same interface.
        let other = "vrrp_instance OTHER {\n  state BACKUP\n  version 3\n  interface eth0\n  \
                     virtual_router_id 52\n  priority 90\n  advert_int 0.1\n  use_vmac\n  \
                     virtual_ipaddress {\n    10.9.0.101/24\n  }\n}\n";
        format!(
            "vrrp_instance VI {{\n  state BACKUP\n  version 3\n  interface eth0\n  \
             virtual_router_id {VRID}\n  priority {priority}\n  advert_int 0.1\n  use_vmac\n{lines}  \
             virtual_ipaddress {{\n    {addresses}\n  }}\n}}\n{other}"
        )
    }
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// The LAN: two routers and a client, with addresses of both families.
fn lan() -> Lan {
    let lan = Lan::new(3);
    for (number, host) in (1..).zip(&lan.hosts) {
        host.ip(&format!("address add 2001:db8::{number}/64 dev eth0 nodad"));
    }
    for host in &lan.hosts {
        wait_for("a link-local address", LONG, || {
            let shown = host.ip("-6 -o address show dev eth0 scope link");
            (shown.contains("fe80") && !shown.contains("tentative")).then_some(())
        });
    }
    lan
}

fn neighbour(host: &Namespace, address: IpAddr) -> String {
    host.ip(&format!("neigh show {address} dev eth0"))
}

fn knows_virtual_mac(host: &Namespace, family: Family, when: &str) {
    let shown = neighbour(host, family.vip());
    assert!(shown.contains(&text(family.mac())), "{when}: {shown:?}");
}

/// What a machine's kernel counts of IP and ICMP, whom it knows, and what came and went: where a ping was
/// lost.
fn traces(host: &Namespace) -> String {
    let mut counters = host.command("grep");
    counters.args(["-hi", "^ip\\|^icmp", "/proc/net/snmp", "/proc/net/snmp6"]);
    let output = counters.output().expect("run grep");
    [
        String::from_utf8_lossy(&output.stdout).into_owned(),
        host.ip("-s neigh show"),
        host.ip("-s -s link show"),
    ]
    .join("\n")
}

/// Everything below `net.ipv4.conf` and `net.ipv6.conf`, without what counts or depends on time.
fn sysctls(host: &Namespace) -> String {
    let mut command = host.command("grep");
    command.args([
        "-rs",
        "",
        "/proc/sys/net/ipv4/conf",
        "/proc/sys/net/ipv6/conf",
    ]);
    let output = command.output().expect("run grep");
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    assert!(lines.len() > 100, "{lines:?}");
    lines.join("\n")
}

struct Story {
    family: Family,
    lan: Lan,
    /// One for each router: configuration and run-time directory.
    directories: [Scratch; 2],
    pinger: Pinger,
    /// A veth sends native answers only to a peer that runs XDP too.
    _ports: Vec<Dataplane>,
}

impl Story {
    fn router(&self, number: usize, priority: u8, lines: &str, mode: &str) -> Xvrrp {
        let host = &self.lan.hosts[number];
        let directory = &self.directories[number];
        let config = directory.write("vmac.conf", &self.family.config(priority, lines));
        let config = config.display().to_string();
        Xvrrp::run(host, directory, &["--config", &config, "--xdp-mode", mode])
    }

    fn client(&self) -> &Namespace {
        &self.lan.hosts[2]
    }

    fn ping(&self, host: &Namespace, arguments: &[&str]) {
        let mut command = host.command("ping");
        command.args(["-c", "1", "-W", "1"]).args(arguments);
        let output = command.output().expect("run ping");
        if output.status.success() {
            return;
        }
        for host in self.lan.hosts.iter().chain([&self.lan.bridge]) {
            println!("{}", traces(host));
        }
        for directory in &self.directories {
            let status = status(host, &directory.path("run"), &["--json"]);
            println!("{}", String::from_utf8_lossy(&status.stdout));
        }
        panic!("ping {arguments:?}: {output:?}");
    }

    /// The router speaks first, in the name of the address, after everybody has forgotten everybody.
    fn master_pings_out(&self, master: usize) {
        let host = &self.lan.hosts[master];
        let vip = self.family.vip().to_string();
        let client = match self.family {
            Family::V4 => "10.9.0.3",
            Family::V6 => "2001:db8::3",
        };
        for flushed in [&[host][..], &[host, self.client()]] {
            for host in flushed {
                host.ip("neigh flush dev eth0");
            }
            self.ping(host, &["-I", &vip, client]);
            knows_virtual_mac(self.client(), self.family, "after the master pinged out");
        }
        self.ping(host, &[client]);
    }

    /// The other virtual router of the interface has a MAC of its own.
    fn other_router(&self) {
        self.ping(self.client(), &["10.9.0.101"]);
        let shown = neighbour(self.client(), IpAddr::from([10, 9, 0, 101]));
        assert!(shown.contains("00:00:5e:00:01:34"), "{shown:?}");
    }

    fn wait_answered(&self) {
        wait_for("pings to be answered", LONG, || {
            self.pinger.is_answered().then_some(())
        });
    }

    /// Pings lost from a moment on until they are answered again.
    fn lost_since(&self, from_ns: u64) -> usize {
        self.wait_answered();
        let end = wall_ns();
        wait_for("every ping to be judged", LONG, || {
            Pinger::has_judged(end).then_some(())
        });
        self.pinger.lost(&(from_ns..end))
    }
}

/// A client's view of a planned switch and of the way back.
fn one_mac_throughout(family: Family, lines: &str, mode: &str) {
    let lan = lan();
    let before: Vec<String> = lan.hosts.iter().map(sysctls).collect();
    let pinger = Pinger::start(&lan.hosts[2], family.vip(), Duration::from_millis(1));
    let ports = if mode == "native" {
        vec!["p0", "p1"]
    } else {
        Vec::new()
    };
    let pass = |port| pass_everything(&lan.bridge, port);
    let story = Story {
        family,
        directories: [0, 1].map(|number| Scratch::new(&format!("vmac-{number}"))),
        pinger,
        _ports: ports.into_iter().map(pass).collect(),
        lan,
    };
    let hosts = &story.lan.hosts;
    let mut first = story.router(0, 150, lines, mode);
    let status = first.wait_state(&hosts[0], "MASTER", LONG);
    assert_eq!(status["instances"][0]["mac"], text(family.mac()));
    story.wait_answered();
    knows_virtual_mac(story.client(), family, "at first");
    story.master_pings_out(0);
    wait_for("OTHER", LONG, || {
        let other = first.instance(&hosts[0], "OTHER")?;
        (other["state"] == "MASTER").then_some(())
    });
    story.other_router();
    let second = story.router(1, 100, lines, mode);
    second.wait_state(&hosts[1], "BACKUP", LONG);

    let from = wall_ns();
    first.terminate();
    let lost = story.lost_since(from);
    second.wait_state(&hosts[1], "MASTER", LONG);
    knows_virtual_mac(story.client(), family, "after the switch");
    story.master_pings_out(1);
    println!("{family:?} {mode} {lines:?}: {lost} pings of 1 ms lost at a planned switch");
    assert!(
        lost <= SKEW_MS + 10,
        "{lost} pings lost at a planned switch"
    );

    let from = wall_ns();
    let first = story.router(0, 150, lines, mode);
    first.wait_state(&hosts[0], "MASTER", LONG);
    let lost = story.lost_since(from);
    second.wait_state(&hosts[1], "BACKUP", LONG);
    println!("{family:?} {mode} {lines:?}: {lost} lost when the first came back");
    assert!(lost <= 10, "{lost} pings lost when the first came back");
    knows_virtual_mac(story.client(), family, "after the way back");
    story.master_pings_out(0);

    for (host, before) in hosts.iter().zip(before) {
        assert_eq!(sysctls(host), before, "a sysctl changed");
        let devices = host.ip("-d -o link show");
        assert!(!devices.contains("macvlan"), "{devices}");
    }
}

#[test]
fn ipv4_in_every_mode() {
    for mode in ["native", "tc", "generic"] {
        one_mac_throughout(Family::V4, "", mode);
    }
}

#[test]
fn ipv6_in_every_mode() {
    for mode in ["native", "tc", "generic"] {
        one_mac_throughout(Family::V6, "", mode);
    }
}

#[test]
fn adverts_from_the_interface_s_own_mac() {
    one_mac_throughout(Family::V4, "  vmac_xmit_base\n", "tc");
}

/// What a router has sent that only the holder of the address may send.
fn answers(seen: &[Seen], host_mac: [u8; 6], family: Family) -> Vec<&Seen> {
    let ours = |entry: &&Seen| {
        let source = &entry.frame[6..12];
        source == host_mac || source == family.mac()
    };
    let speaks = |entry: &&Seen| match &entry.said {
        Said::Arp { sender, .. } => IpAddr::from(*sender) == family.vip(),
        Said::Neighbour { target, .. } => IpAddr::from(*target) == family.vip(),
        Said::Advert { .. } => false,
        Said::Other => match (family, family.vip()) {
            (Family::V4, IpAddr::V4(vip)) => entry.frame.get(26..30) == Some(&vip.octets()[..]),
            (_, IpAddr::V6(vip)) => entry.frame.get(22..38) == Some(&vip.octets()[..]),
            _ => false,
        },
    };
    seen.iter().filter(ours).filter(speaks).collect()
}

/// Every way to make somebody answer for the address.
fn questions(lan: &Lan, family: Family) -> Vec<Vec<u8>> {
    let (client, physical) = (lan.mac(2), lan.mac(1));
    let own = Lan::address(2);
    let mut frames = Vec::new();
    match (family, family.vip()) {
        (Family::V4, IpAddr::V4(vip)) => {
            let question = arp_question(client, own, vip);
            frames.push([&family.mac()[..], &question[6..]].concat());
            frames.push([&physical[..], &question[6..]].concat());
            frames.push(question);
            frames.push(packet_v4((client, family.mac()), own, vip));
            frames.push(packet_v4((client, physical), own, vip));
        }
        (_, IpAddr::V6(vip)) => {
            let own = "2001:db8::3".parse().expect("an address");
            let question = solicitation(client, own, vip);
            frames.push([&family.mac()[..], &question[6..]].concat());
            frames.push([&physical[..], &question[6..]].concat());
            frames.push(question);
            frames.push(ping_v6((client, family.mac()), own, vip));
            frames.push(ping_v6((client, physical), own, vip));
        }
        _ => {}
    }
    frames
}

/// A router that is beaten answers nothing from the frame on that beats it, and nothing as BACKUP.
fn a_backup_is_silent(family: Family, mode: &str) {
    let lan = lan();
    let scratch = Scratch::new("vmac-silent");
    let config = scratch.write(
        "silent.conf",
        &family.config(100, "  garp_master_repeat 1\n"),
    );
    let config = config.display().to_string();
    let router = Xvrrp::run(
        &lan.hosts[1],
        &scratch,
        &["--config", &config, "--xdp-mode", mode],
    );
    router.wait_state(&lan.hosts[1], "MASTER", LONG);
    let capture = Capture::every_frame(&lan.bridge, "p1");
    let sender = Sender::new(&lan.hosts[2]);
    let questions = questions(&lan, family);
    let host_mac = lan.mac(1);
    let answered = |after_ns: u64| {
        let seen = capture.seen();
        let after: Vec<Seen> = seen.into_iter().filter(|it| it.at_ns > after_ns).collect();
        answers(&after, host_mac, family).len()
    };
    // The switch learns the virtual MAC from the router's adverts.
    wait_for("the MASTER to answer them all", LONG, || {
        let from = wall_ns();
        for question in &questions {
            sender.send(question);
        }
        wait_for("an advert behind the answers", LONG, || {
            let adverts = capture.adverts(VRID);
            adverts.last().filter(|advert| advert.at_ns > from).copied()
        });
        (answered(from) >= questions.len()).then_some(())
    });

    let better = better_advert(&lan, family);
    silent_after(&sender, &better, &questions, &answered, &router, &lan, mode);
}

/// The advert of a router with a higher priority.
fn better_advert(lan: &Lan, family: Family) -> Vec<u8> {
    let address = |text: &str| text.parse().expect("an address");
    match family {
        Family::V4 => {
            let vip = "10.9.0.100".parse().expect("an address");
            let mut spec = AdvertSpec::new(lan.mac(2), Lan::address(2), VRID, 200, vip);
            spec.interval_cs = 10;
            spec.build()
        }
        Family::V6 => {
            let vips = [address("fe80::100"), address(VIP_V6)];
            adverts_v6(lan.mac(2), address("fe80::ff:1"), VRID, 200, 10, &vips)
        }
    }
}

fn silent_after(
    sender: &Sender,
    better: &[u8],
    questions: &[Vec<u8>],
    answered: &dyn Fn(u64) -> usize,
    router: &Xvrrp,
    lan: &Lan,
    mode: &str,
) {
    let from = wall_ns();
    sender.send(better);
    for _ in 0..100 {
        for question in questions {
            sender.send(question);
        }
    }
    let burst = wall_ns() - from;
    // And as BACKUP, for several intervals, held down by more adverts.
    for _ in 0..20 {
        sender.send(better);
        for question in questions {
            sender.send(question);
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    router.wait_state(&lan.hosts[1], "BACKUP", LONG);
    assert_eq!(answered(from), 0, "{mode}: answers after it was beaten");
    println!(
        "{mode}: {} questions within {:.2} ms of the demotion, none answered",
        100 * questions.len(),
        ms(burst)
    );
    assert!(burst < 100 * MS, "the burst took {} ms", ms(burst));
}

#[test]
fn a_backup_is_silent_over_ipv4() {
    for mode in ["tc", "generic"] {
        a_backup_is_silent(Family::V4, mode);
    }
}

#[test]
fn a_backup_is_silent_over_ipv6() {
    for mode in ["tc", "generic"] {
        a_backup_is_silent(Family::V6, mode);
    }
}
