//! When the network itself is what fails: a third party decides who may be MASTER, a quorum of targets or
//! a lease in real etcd. Never may two routers answer, whoever asks, on either side of a partition.

use std::{net::Ipv4Addr, time::Duration};

use nix::sys::signal::Signal;
use xvrrp_tests::{
    asker::Asker,
    capture::Capture,
    etcd::{self, Cluster},
    frames::{Said, arp_question},
    netns::Lan,
    process::Scratch,
    wait_for, wall_ns,
    xvrrp::{Xvrrp, instance, instances},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const VRID: u8 = 51;
const LONG: Duration = Duration::from_secs(30);
/// The hosts: two routers, three who can be asked, and somebody on each side who asks for the address.
const ROUTERS: [usize; 2] = [0, 1];
const WITNESSES: [u8; 3] = [2, 3, 4];
const ASKERS: [u8; 2] = [5, 6];
/// How often these ask.
const PERIOD: Duration = Duration::from_millis(5);

struct Field {
    lan: Lan,
    captures: [Capture; 2],
    routers: Vec<Xvrrp>,
    scratches: Vec<Scratch>,
    _askers: Vec<Asker>,
}

impl Field {
    fn new(name: &str) -> Self {
        let lan = Lan::new(7);
        // The island: what is moved there still has its carrier.
        lan.bridge
            .ip("link add br9 type bridge forward_delay 0 mcast_snooping 0");
        lan.bridge.ip("link set br9 up promisc on");
        let captures = ["br0", "br9"].map(|bridge| Capture::start(&lan.bridge, bridge, None));
        let asker = |host: u8| {
            let question = arp_question(lan.mac(host), Lan::address(host), VIP);
            Asker::start(&lan.hosts[usize::from(host)], vec![question], PERIOD)
        };
        let askers = ASKERS.map(asker).into();
        let scratches = ROUTERS
            .map(|at| Scratch::new(&format!("{name}-{at}")))
            .into();
        Self {
            lan,
            captures,
            routers: Vec::new(),
            scratches,
            _askers: askers,
        }
    }

    /// Two routers that need this arbiter; the first is the better one.
    fn start_routers(&mut self, arbiter: &str) {
        for (at, priority) in ROUTERS.into_iter().zip([100, 90]) {
            let config =
                arbiter.to_owned() + &instance(priority, 0.1, " track_arbiter {\n  judge\n }\n");
            let router = Xvrrp::with_config(&self.lan.hosts[at], &self.scratches[at], &config);
            self.routers.push(router);
        }
        self.wait_states(["MASTER", "BACKUP"]);
    }

    fn wait_states(&self, states: [&str; 2]) {
        for (at, state) in ROUTERS.into_iter().zip(states) {
            self.routers[at].wait_state(&self.lan.hosts[at], state, LONG);
        }
    }

    /// Moves hosts to the island, or back.
    fn partition(&self, hosts: &[u8], apart: bool) {
        let bridge = if apart { "br9" } else { "br0" };
        for host in hosts {
            self.lan
                .bridge
                .ip(&format!("link set p{host} master {bridge}"));
        }
    }

    /// Who has answered for the address, on either side: when, and which router.
    fn answers(&self) -> Vec<(u64, usize)> {
        let macs = [self.lan.mac(0), self.lan.mac(1)];
        let all = self.captures.iter().flat_map(Capture::seen);
        let answers = all.filter_map(|seen| match seen.said {
            Said::Arp {
                operation: 2,
                sender,
                sender_mac,
                ..
            } if sender == VIP => {
                let router = macs.iter().position(|mac| *mac == sender_mac);
                Some((seen.at_ns, router.expect("a router's MAC")))
            }
            _ => None,
        });
        let mut answers: Vec<(u64, usize)> = answers.collect();
        answers.sort_unstable();
        answers
    }

    /// How often another router answers than before; each must have stopped by then. Frames of one side
    /// and the other are put in order by their time, so that two who answer at once would be seen to take
    /// turns.
    fn turns(&self, since_ns: u64) -> Vec<usize> {
        let answers = self.answers();
        let mut turns: Vec<usize> = answers
            .iter()
            .filter(|(at, _)| *at >= since_ns)
            .map(|(_, router)| *router)
            .collect();
        turns.dedup();
        turns
    }

    fn wait_answer(&self, router: usize, since_ns: u64) {
        wait_for(format!("an answer of router {router}"), LONG, || {
            let answers = self.answers();
            let mut late = answers.iter().filter(|(at, _)| *at >= since_ns);
            late.any(|(_, who)| *who == router).then_some(())
        });
    }

    /// The arbiter cannot be told from a master that the others do not hear.
    fn excuse(&self) {
        for capture in &self.captures {
            for host in 0..2 {
                let why = "it could not hear the other one while the network was apart";
                capture.excuse(VRID, Lan::address(host), why);
            }
        }
    }
}

/// The cut-off MASTER gives up; the cut-off BACKUP does not take over; in the end one is MASTER.
fn cut_off_either(field: &Field, with: &[u8]) {
    let start = wall_ns();
    field.wait_answer(0, start);
    println!("the MASTER is cut off");
    let apart = [&[0, ASKERS[1]], with].concat();
    field.partition(&apart, true);
    let cut_ns = wall_ns();
    field.wait_states(["FAULT", "MASTER"]);
    field.wait_answer(1, cut_ns);
    let first = field
        .answers()
        .into_iter()
        .find(|it| it.0 > cut_ns && it.1 == 1);
    let took = first.expect("an answer").0 - cut_ns;
    println!("the other answers {} ms later", took / 1_000_000);
    field.partition(&apart, false);
    let healed_ns = wall_ns();
    field.wait_states(["MASTER", "BACKUP"]);
    field.wait_answer(0, healed_ns);
    assert_eq!(field.turns(start), [0, 1, 0], "never two at once");

    println!("the BACKUP is cut off");
    let start = wall_ns();
    let apart = [&[1, ASKERS[1]], with].concat();
    field.partition(&apart, true);
    field.wait_states(["MASTER", "FAULT"]);
    field.wait_answer(0, wall_ns());
    field.partition(&apart, false);
    field.wait_states(["MASTER", "BACKUP"]);
    field.wait_answer(0, wall_ns());
    assert_eq!(field.turns(start), [0], "the cut-off BACKUP never answers");
}

#[test]
fn a_quorum_decides_in_a_partition() {
    let mut field = Field::new("quorum");
    let target = |host: &u8| format!(" target icmp {}\n", Lan::address(*host));
    let targets: String = WITNESSES.iter().map(target).collect();
    let arbiter = format!("vrrp_arbiter judge {{\n{targets} interval 0.1\n timeout 0.1\n}}\n");
    field.start_routers(&arbiter);
    cut_off_either(&field, &[]);
    // With one of three on its side nobody has a quorum either.
    cut_off_either(&field, &WITNESSES[..1]);
    field.excuse();
}

fn lease(cluster: &Cluster) -> String {
    format!("vrrp_arbiter judge {{\n{} ttl 2\n}}\n", cluster.endpoints())
}

#[test]
fn a_lease_in_etcd_decides() {
    let mut field = Field::new("etcd1");
    let etcd = WITNESSES[0];
    let scratch = Scratch::new("etcd1-data");
    let mut cluster = Cluster::start(&field.lan, &scratch, &[etcd]);
    field.start_routers(&lease(&cluster));
    cut_off_either(&field, &[]);
    println!("etcd stands still");
    let start = wall_ns();
    cluster.signal(None, Signal::SIGSTOP);
    field.wait_states(["FAULT", "FAULT"]);
    let silent_ns = wall_ns();
    cluster.signal(None, Signal::SIGCONT);
    field.wait_states(["MASTER", "BACKUP"]);
    field.wait_answer(0, silent_ns);
    println!("etcd is killed, and comes back");
    cluster.kill(etcd);
    field.wait_states(["FAULT", "FAULT"]);
    cluster.start_member(&field.lan, &scratch, etcd);
    field.wait_states(["MASTER", "BACKUP"]);
    field.wait_answer(0, wall_ns());
    let turns = field.turns(start);
    // Which of the two is first when etcd is back does not matter, as long as there is one.
    assert!(turns.last() == Some(&0), "{turns:?}");
    field.excuse();
}

/// Waits longer than a lease lasts: who is MASTER afterwards has renewed it.
fn wait_renewed() {
    let start = wall_ns();
    wait_for("the lease to be renewed", LONG, || {
        (wall_ns() > start + 5_000_000_000).then_some(())
    });
}

#[test]
fn a_cluster_of_three_decides() {
    let mut field = Field::new("etcd3");
    let scratch = Scratch::new("etcd3-data");
    let mut cluster = Cluster::start(&field.lan, &scratch, &WITNESSES);
    field.start_routers(&lease(&cluster));
    cut_off_either(&field, &[]);
    // The first of the members is on the island: it has no majority.
    cut_off_either(&field, &WITNESSES[..1]);
    // The member that comes back from the island makes the others choose a leader anew: what that does to
    // the lease is over before the next trouble begins.
    cluster.wait_healthy(&field.lan, WITNESSES[0]);
    wait_renewed();
    field.wait_states(["MASTER", "BACKUP"]);
    field.wait_answer(0, wall_ns());
    println!("a member is killed");
    let start = wall_ns();
    cluster.kill(WITNESSES[0]);
    wait_renewed();
    field.wait_states(["MASTER", "BACKUP"]);
    field.wait_answer(0, wall_ns());
    assert_eq!(field.turns(start), [0]);
    println!("a second one is: there is no majority");
    cluster.kill(WITNESSES[1]);
    field.wait_states(["FAULT", "FAULT"]);
    cluster.start_member(&field.lan, &scratch, WITNESSES[1]);
    field.wait_states(["MASTER", "BACKUP"]);
    println!("the MASTER dies");
    let died_ns = wall_ns();
    field.routers[0].kill();
    field.wait_answer(1, died_ns);
    let answers = field.answers();
    let last = answers.iter().rfind(|it| it.1 == 0).expect("an answer").0;
    let first = answers
        .iter()
        .find(|it| it.0 > died_ns && it.1 == 1)
        .expect("an answer")
        .0;
    assert!(last < first, "never two at once");
    println!(
        "the other answers {} ms later",
        (first - died_ns) / 1_000_000
    );
    field.excuse();
}

/// A drained MASTER gives its lease back: nobody waits for it to run out. Over an upgrade the lease goes on.
#[test]
fn a_lease_is_given_back_and_handed_over() {
    let mut field = Field::new("handed");
    let scratch = Scratch::new("handed-data");
    let cluster = Cluster::start(&field.lan, &scratch, &WITNESSES[..1]);
    let long = format!(
        "vrrp_arbiter judge {{\n{} ttl 60\n}}\n",
        cluster.endpoints()
    );
    field.start_routers(&long);
    let start = wall_ns();
    for _ in 0..3 {
        let upgraded = field.routers[0].upgrade(&field.lan.hosts[0]);
        assert!(
            upgraded.status.success(),
            "{}",
            field.routers[0].process.log()
        );
        field.wait_answer(0, wall_ns());
    }
    assert_eq!(field.turns(start), [0], "the other one never had a chance");
    let status = field.routers[0]
        .status(&field.lan.hosts[0])
        .expect("a status");
    assert_eq!(status["instances"][0]["state"], "MASTER");
    // Somebody takes the key away by hand: whoever held it notices, and asks for it again.
    assert!(etcd::delete_holder(&field.lan, WITNESSES[0]));
    wait_for("the lease to be held again", LONG, || {
        etcd::is_held(&field.lan, WITNESSES[0]).then_some(())
    });
    field.wait_states(["MASTER", "BACKUP"]);
    let stopped_ns = wall_ns();
    field.routers[0].terminate();
    field.wait_answer(1, stopped_ns);
    let took = field
        .answers()
        .into_iter()
        .find(|it| it.0 > stopped_ns && it.1 == 1)
        .expect("an answer")
        .0
        - stopped_ns;
    println!("the other answers {} ms later", took / 1_000_000);
    // A second at most: Skew_Time, and a few attempts.
    assert!(took < 1_500_000_000, "{took}");
    field.excuse();
}

/// A sync group has one lease, by its name: its members are MASTER together, and never in two places.
#[test]
fn a_group_has_one_lease() {
    let mut field = Field::new("grouped");
    let scratch = Scratch::new("grouped-data");
    let cluster = Cluster::start(&field.lan, &scratch, &WITNESSES[..1]);
    for (at, priority) in ROUTERS.into_iter().zip([100, 90]) {
        let config = lease(&cluster)
            + &instances(2, priority, 0.1, "")
            + "vrrp_sync_group BOTH {\n group {\n  V1\n  V2\n }\n track_arbiter {\n  judge\n }\n}\n";
        let router = Xvrrp::with_config(&field.lan.hosts[at], &field.scratches[at], &config);
        field.routers.push(router);
    }
    let states = |field: &Field, at: usize| {
        let status = field.routers[at].status(&field.lan.hosts[at])?;
        let all = status["instances"].as_array()?.iter();
        let all: Option<Vec<String>> = all
            .map(|entry| entry["state"].as_str().map(str::to_owned))
            .collect();
        all
    };
    let wait_both = |field: &Field, at: usize, state: &str| {
        wait_for(format!("router {at}: both {state}"), LONG, || {
            (states(field, at)? == [state, state]).then_some(())
        });
    };
    wait_both(&field, 0, "MASTER");
    wait_both(&field, 1, "BACKUP");
    // A reload with other terms of the lease moves nothing.
    let other = lease(&cluster).replace("ttl 2", "ttl 2\n interval 0.3")
        + &instances(2, 100, 0.1, "")
        + "vrrp_sync_group BOTH {\n group {\n  V1\n  V2\n }\n track_arbiter {\n  judge\n }\n}\n";
    field.routers[0].reloads(&field.lan.hosts[0], &field.scratches[0], &other);
    wait_for("the lease to be renewed on the new terms", LONG, || {
        let told = field.routers[0].status(&field.lan.hosts[0])?;
        let said = told["scripts"][0]["last"].as_str()?.to_owned();
        said.contains("renewed").then_some(())
    });
    wait_both(&field, 0, "MASTER");
    let entry = field.routers[0].instance(&field.lan.hosts[0], "V1");
    let entry = entry.expect("a status");
    assert_eq!(entry["counters"]["became_master"], 1, "{entry}");
    field.routers[0].kill();
    wait_both(&field, 1, "MASTER");
    field.excuse();
}

/// The arbiter gets another name on both routers, one after the other, for the same keys: what the old name
/// held is given back, and there is one MASTER throughout or none.
#[test]
fn another_name_for_the_arbiter_leaves_one_lease() {
    let mut field = Field::new("renamed");
    let scratch = Scratch::new("renamed-data");
    let cluster = Cluster::start(&field.lan, &scratch, &WITNESSES[..1]);
    let arbiter = |name: &str| {
        format!(
            "vrrp_arbiter {name} {{\n{} ttl 60\n prefix xvrrp/judge\n}}\n",
            cluster.endpoints()
        )
    };
    field.start_routers(&arbiter("judge"));
    let start = wall_ns();
    field.wait_answer(0, start);
    for (at, priority) in ROUTERS.into_iter().zip([100, 90]) {
        let tracks = " track_arbiter {\n  other\n }\n";
        let config = arbiter("other") + &instance(priority, 0.1, tracks);
        field.routers[at].reloads(&field.lan.hosts[at], &field.scratches[at], &config);
    }
    // Far less than the 60 s that a lease lasts which nobody gives back.
    field.wait_states(["MASTER", "BACKUP"]);
    field.wait_answer(0, wall_ns());
    let turns = field.turns(start);
    assert!(turns == [0] || turns == [0, 1, 0], "{turns:?}");
    field.excuse();
}
