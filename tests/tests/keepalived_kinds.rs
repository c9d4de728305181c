//! Every kind of virtual router that keepalived and xvrrp can run together, each side in both roles:
//! VRRPv2, a password, IPv6, unicast, sync groups, `preempt_delay`.

use std::{net::IpAddr, time::Duration};

use xvrrp_tests::{
    LONG,
    capture::{AdvertSeen, Capture},
    frames::Said,
    keepalived::Keepalived,
    ms,
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for,
    xvrrp::Xvrrp,
};

const MS: u64 = 1_000_000;
const XVRRP: u8 = 0;
const KEEPALIVED: u8 = 1;
/// How much earlier than the formula a takeover may look: the two frames' time on the wire.
const EARLY: u64 = MS;
/// How much later it may be.
const MARGIN: u64 = 50 * MS;

/// What both are configured with.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    version: u8,
    interval_cs: u16,
    /// The virtual address, as `ip address` shows it.
    address: &'static str,
    /// More lines for both; `OWN` and `PEER` are the addresses of the two hosts.
    lines: &'static str,
    /// More lines for one of them: xvrrp's, keepalived's.
    only: [&'static str; 2],
}

const VERSION_2: Kind = Kind {
    name: "v2",
    version: 2,
    interval_cs: 100,
    address: "10.9.0.100/24",
    lines: "",
    only: ["", ""],
};

const PASSWORD: Kind = Kind {
    name: "v2-pass",
    lines: "  authentication {\n    auth_type PASS\n    auth_pass secret\n  }\n",
    ..VERSION_2
};

const IPV6: Kind = Kind {
    name: "v6",
    version: 3,
    interval_cs: 10,
    address: "fe80::100/64",
    lines: "",
    only: ["", ""],
};

const UNICAST: Kind = Kind {
    name: "unicast",
    version: 3,
    interval_cs: 10,
    address: "10.9.0.100/24",
    lines: "  unicast_src_ip OWN\n  unicast_peer {\n    PEER\n  }\n",
    only: ["", ""],
};

const VMAC: Kind = Kind {
    name: "vmac",
    version: 3,
    interval_cs: 10,
    address: "10.9.0.100/24",
    lines: "  use_vmac\n",
    only: ["", ""],
};

const VMAC_OF_XVRRP: Kind = Kind {
    name: "vmac-xvrrp",
    lines: "",
    only: ["  use_vmac\n", ""],
    ..VMAC
};

const VMAC_OF_KEEPALIVED: Kind = Kind {
    name: "vmac-keepalived",
    lines: "",
    only: ["", "  use_vmac\n"],
    ..VMAC
};

impl Kind {
    fn config(&self, host: u8, priority: u8) -> String {
        let lines = self
            .lines
            .replace("OWN", &Lan::address(host).to_string())
            .replace("PEER", &Lan::address(1 - host).to_string());
        format!(
            "vrrp_instance VI {{\n  state BACKUP\n  version {}\n  interface eth0\n  \
             virtual_router_id 51\n  priority {priority}\n  advert_int {}\n{lines}{}  \
             virtual_ipaddress {{\n    {}\n  }}\n}}\n",
            self.version,
            f64::from(self.interval_cs) / 100.0,
            self.only[usize::from(host)],
            self.address
        )
    }

    fn interval_ns(&self) -> u64 {
        u64::from(self.interval_cs) * 10 * MS
    }

    /// RFC 3768 6.1 knows no interval in the skew.
    fn skew_ns(&self, priority: u64) -> u64 {
        let whole = if self.version == 2 {
            1000 * MS
        } else {
            self.interval_ns()
        };
        (256 - priority) * whole / 256
    }
}

struct Pair {
    kind: Kind,
    lan: Lan,
    scratch: Scratch,
    capture: Capture,
}

impl Pair {
    fn new(kind: Kind) -> Self {
        let lan = Lan::new(2);
        let capture = Capture::start(&lan.bridge, "br0", None);
        let scratch = Scratch::new(kind.name);
        if kind.address.contains(':') {
            for host in &lan.hosts {
                wait_for("a link-local address", LONG, || link_local(host));
            }
        }
        Self {
            kind,
            lan,
            scratch,
            capture,
        }
    }

    fn xvrrp(&self, priority: u8) -> Xvrrp {
        let config = self.kind.config(XVRRP, priority);
        Xvrrp::with_config(&self.lan.hosts[0], &self.scratch, &config)
    }

    fn keepalived(&self, priority: u8) -> Keepalived {
        let config = self.kind.config(KEEPALIVED, priority);
        Keepalived::start(&self.lan.hosts[1], &self.scratch, &config)
    }

    fn source(&self, host: u8) -> IpAddr {
        if self.kind.address.contains(':') {
            link_local(&self.lan.hosts[usize::from(host)]).expect("a link-local address")
        } else {
            Lan::address(host).into()
        }
    }

    /// The first non-zero advert of a host after a moment.
    fn next_advert(&self, what: &str, from: u8, after_ns: u64) -> AdvertSeen {
        let source = self.source(from);
        self.capture.wait_advert(what, 51, LONG, |advert| {
            advert.source == source && advert.priority > 0 && advert.at_ns > after_ns
        })
    }

    fn last_advert(&self, from: u8) -> AdvertSeen {
        self.capture
            .last_advert(51, self.source(from))
            .expect("adverts of the master")
    }

    fn check_takeover(&self, what: &str, killed: u8, heir: u8, heir_priority: u64) {
        let died = self.last_advert(killed);
        let first = self.next_advert(what, heir, died.at_ns);
        let took = first.at_ns - died.at_ns;
        let down = 3 * self.kind.interval_ns() + self.kind.skew_ns(heir_priority);
        println!(
            "{}: {what}: {:.2} ms, formula {:.2} ms",
            self.kind.name,
            ms(took),
            ms(down)
        );
        assert!(
            took + EARLY >= down && took <= down + MARGIN,
            "{what}: {} ms",
            ms(took)
        );
    }

    fn holds(&self, host: u8) -> bool {
        let shown = self.lan.hosts[usize::from(host)].ip("address show");
        shown.contains(&format!(" {} ", self.kind.address))
    }

    fn wait_holder(&self, host: u8) {
        wait_for("the address to be in one place", LONG, || {
            (self.holds(host) && !self.holds(1 - host)).then_some(())
        });
    }

    /// The loser sends no non-zero advert later than one interval after the winner's first.
    fn check_loser_silent(&self, winner: u8, loser: u8, first: AdvertSeen) {
        let settled = first.at_ns + 5 * self.kind.interval_ns();
        self.next_advert("some more of the winner's", winner, settled);
        let last = self.last_advert(loser);
        assert!(
            last.at_ns <= first.at_ns + self.kind.interval_ns(),
            "the loser goes on"
        );
    }
}

/// The link-local address of a host that it has made sure of, other than the virtual one.
fn link_local(host: &Namespace) -> Option<IpAddr> {
    let shown = host.ip("-6 -o address show dev eth0 scope link");
    let lines = shown.lines().filter(|line| !line.contains("tentative"));
    lines
        .filter_map(|line| line.split_whitespace().nth(3)?.split('/').next())
        .find(|address| *address != "fe80::100")?
        .parse()
        .ok()
}

/// xvrrp preempts keepalived, crashes, and keepalived takes over; then the other way round.
fn both_roles(kind: Kind) {
    let pair = Pair::new(kind);
    let keepalived = pair.keepalived(100);
    let theirs = pair.next_advert("keepalived as master", KEEPALIVED, 0);
    let mut xvrrp = pair.xvrrp(200);
    let ours = pair.next_advert("xvrrp preempting", XVRRP, theirs.at_ns);
    pair.check_loser_silent(XVRRP, KEEPALIVED, ours);
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);
    pair.wait_holder(XVRRP);
    xvrrp.kill();
    pair.check_takeover("keepalived for a killed xvrrp", XVRRP, KEEPALIVED, 100);
    drop(keepalived);

    // What the crash left is taken off by the next one, which listens.
    let xvrrp = pair.xvrrp(90);
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);
    let ours = pair.last_advert(XVRRP);
    let mut keepalived = pair.keepalived(150);
    let theirs = pair.next_advert("keepalived preempting", KEEPALIVED, ours.at_ns);
    pair.check_loser_silent(KEEPALIVED, XVRRP, theirs);
    let status = xvrrp.wait_state(&pair.lan.hosts[0], "BACKUP", LONG);
    assert_eq!(status["instances"][0]["version"], kind.version);
    pair.wait_holder(KEEPALIVED);
    keepalived.kill();
    pair.check_takeover("xvrrp for a killed keepalived", KEEPALIVED, XVRRP, 90);
}

#[test]
fn version_2() {
    both_roles(VERSION_2);
}

#[test]
fn version_2_with_a_password() {
    both_roles(PASSWORD);
}

#[test]
fn ipv6() {
    both_roles(IPV6);
}

#[test]
fn unicast() {
    both_roles(UNICAST);
}

#[test]
fn virtual_mac_on_both_sides() {
    both_roles(VMAC);
}

#[test]
fn virtual_mac_on_our_side() {
    both_roles(VMAC_OF_XVRRP);
}

#[test]
fn virtual_mac_on_their_side() {
    both_roles(VMAC_OF_KEEPALIVED);
}

#[test]
fn another_password_is_counted_and_moves_nothing() {
    let pair = Pair::new(PASSWORD);
    let xvrrp = pair.xvrrp(100);
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);
    let wrong = pair
        .kind
        .config(KEEPALIVED, 200)
        .replace("auth_pass secret", "auth_pass Secret");
    let _keepalived = Keepalived::start(&pair.lan.hosts[1], &pair.scratch, &wrong);
    pair.next_advert("keepalived to speak", KEEPALIVED, 0);
    wait_for("rejects", LONG, || {
        let status = xvrrp.status(&pair.lan.hosts[0])?;
        let rejects = status["interfaces"][0]["rejects"]["authentication"].as_u64()?;
        let state = &status["instances"][0]["state"];
        assert_eq!(*state, "MASTER", "a wrong password beats nobody");
        // keepalived says little while it hears what it does not like.
        (rejects >= 1).then_some(())
    });
}

#[test]
fn neighbours_learn_where_an_ipv6_address_is() {
    let pair = Pair::new(IPV6);
    let xvrrp = pair.xvrrp(100);
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);
    let mac = pair.lan.mac(XVRRP);
    wait_for("an unsolicited advertisement", LONG, || {
        let seen = pair.capture.seen();
        seen.iter().find_map(|entry| match &entry.said {
            Said::Neighbour {
                target,
                flags: 0xa0,
                mac: at,
                good: true,
                ..
            } if target.to_string() == "fe80::100" && *at == mac => Some(()),
            _ => None,
        })
    });
    let peer = &pair.lan.hosts[1];
    let ping = || {
        let mut command = peer.command("ping");
        command.args(["-6", "-c", "1", "-W", "1", "fe80::100%eth0"]);
        command.output().expect("run ping").status.success()
    };
    wait_for("an answer to ping", LONG, || ping().then_some(()));
    let known = peer.ip("-6 neigh show fe80::100 dev eth0");
    let [a, b, c, d, e, f] = mac;
    let text = format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}");
    assert!(known.contains(&text) && known.contains("router"), "{known}");
    let status = xvrrp.status(&pair.lan.hosts[0]).expect("a status");
    let answered = status["interfaces"][0]["kernel"]["nd_answered"].as_u64();
    assert!(answered > Some(0), "by the kernel program: {answered:?}");
}

/// Two virtual routers that move together, on two LANs.
fn group_config(priority: u8) -> String {
    let instance = |name: &str, device: &str, vrid: u8, address: &str| {
        format!(
            "vrrp_instance {name} {{\n  state BACKUP\n  version 3\n  interface {device}\n  \
             virtual_router_id {vrid}\n  priority {priority}\n  advert_int 0.1\n  \
             virtual_ipaddress {{\n    {address}\n  }}\n}}\n"
        )
    };
    format!(
        "{}{}vrrp_sync_group G {{\n  group {{\n    A\n    B\n  }}\n}}\n",
        instance("A", "eth0", 51, "10.9.0.100/24"),
        instance("B", "eth1", 52, "10.8.0.100/24")
    )
}

/// Where each of the two addresses is: bit 0 and 1 for the hosts.
fn holders(lan: &Lan) -> [u8; 2] {
    ["10.9.0.100", "10.8.0.100"].map(|address| {
        (0..2).fold(0, |mask, host: u8| {
            let shown = lan.hosts[usize::from(host)].ip("-4 -o address show");
            mask | u8::from(shown.contains(&format!(" {address}/"))) << host
        })
    })
}

fn wait_both(lan: &Lan, host: u8, what: &str) {
    wait_for(what.to_owned(), LONG, || {
        (holders(lan) == [1 << host; 2]).then_some(())
    });
}

#[test]
fn a_sync_group_moves_as_one() {
    let lan = Lan::new(2);
    lan.add_second();
    let scratch = Scratch::new("group");
    let xvrrp = Xvrrp::with_config(&lan.hosts[0], &scratch, &group_config(150));
    wait_both(&lan, XVRRP, "xvrrp to have both");
    let keepalived = Keepalived::start(&lan.hosts[1], &scratch, &group_config(100));
    // One cable of xvrrp's: both addresses go.
    lan.bridge.ip("link set q0 down");
    wait_both(&lan, KEEPALIVED, "keepalived to have both");
    let faulty = |name: &str| {
        let instance = xvrrp.instance(&lan.hosts[0], name)?;
        (instance["state"] == "FAULT").then_some(instance)
    };
    wait_for("FAULT of both", LONG, || {
        faulty("A").and(faulty("B")).map(drop)
    });
    let other = faulty("A").expect("FAULT");
    assert_eq!(other["sync_group"], "G");
    assert!(
        other["why"]
            .as_str()
            .is_some_and(|why| why.contains("sync group")),
        "{other}"
    );
    lan.bridge.ip("link set q0 up");
    wait_both(&lan, XVRRP, "xvrrp to have both again");
    // And the other way round: keepalived loses both.
    drop(keepalived);
    let _keepalived = Keepalived::start(&lan.hosts[1], &scratch, &group_config(200));
    wait_both(&lan, KEEPALIVED, "keepalived to preempt both");
    lan.bridge.ip("link set q1 down");
    wait_both(&lan, XVRRP, "xvrrp to take both over");
}

#[test]
fn keepalived_s_preempt_delay_and_ours() {
    let kind = Kind {
        name: "delay",
        lines: "  preempt_delay 2\n",
        ..UNICAST
    };
    let pair = Pair::new(kind);
    let keepalived = pair.keepalived(100);
    let first = pair.next_advert("keepalived as master", KEEPALIVED, 0);
    let xvrrp = pair.xvrrp(200);
    let ours = pair.next_advert("xvrrp preempting", XVRRP, first.at_ns);
    let delay = Duration::from_nanos(ours.at_ns - first.at_ns);
    assert!(delay >= Duration::from_secs(2), "{delay:?}");
    pair.wait_holder(XVRRP);
    drop(keepalived);
    drop(xvrrp);
    let xvrrp = pair.xvrrp(100);
    xvrrp.wait_state(&pair.lan.hosts[0], "MASTER", LONG);
    let since = pair.last_advert(XVRRP);
    let _keepalived = pair.keepalived(200);
    let theirs = pair.next_advert("keepalived preempting", KEEPALIVED, since.at_ns);
    let delay = Duration::from_nanos(theirs.at_ns - since.at_ns);
    assert!(delay >= Duration::from_secs(2), "{delay:?}");
    xvrrp.wait_state(&pair.lan.hosts[0], "BACKUP", LONG);
}
