//! Where programs are attached, and why there: the ladder climbed down, refusals in the driver's own
//! words, others' programs, interfaces that come and go.

use std::{fs, io::ErrorKind, net::Ipv4Addr};

use aya::{
    Ebpf,
    programs::{Xdp, XdpMode},
};
use nix::sys::signal::Signal;
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};
use vrrp_userspace::dataplane;
use xvrrp_tests::{
    LONG,
    bpffs::BpfFs,
    capture::Sender,
    frames::arp_question,
    modes::{Cable, Mode, program_id},
    netns::{Lan, Namespace},
    process::{Process, Scratch},
    wait_for,
    xvrrp::{Xvrrp, binary, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);

#[test]
fn a_private_bpffs_is_not_trusted() {
    let lan = Lan::pair();
    let scratch = Scratch::new("private");
    let config = scratch.write("private.conf", &instance(100, 0.1, ""));
    let mount = scratch.path("bpf");
    fs::create_dir_all(&mount).expect("a mount point");
    let script = format!(
        "mount -t bpf bpf {0} && exec {1} run --config {2} --run-dir {3} --bpffs {0}",
        mount.display(),
        binary(),
        config.display(),
        scratch.path("run").display()
    );
    let mut command = lan.hosts[0].command("unshare");
    command.args(["--mount", "sh", "-c", &script]);
    let router = Process::start(command, &scratch.path("private.log"));
    let reason = "would go with it";
    wait_for("the reason in the log", LONG, || {
        router.log().contains(reason).then_some(())
    });
    wait_for("the program by netlink", LONG, || {
        program_id(&lan.hosts[0], Mode::TC)
    });
    router.signal(Signal::SIGTERM);
}

#[test]
fn a_second_daemon_is_refused_whatever_its_run_directory() {
    let lan = Lan::pair();
    let scratch = Scratch::new("second");
    let first = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(100, 0.1, ""));
    first.wait_state(&lan.hosts[0], "MASTER", LONG);
    let before = program_id(&lan.hosts[0], Mode::TC);
    let other = Scratch::new("second-other");
    let mut second = Xvrrp::with_config(&lan.hosts[0], &other, &instance(200, 0.1, ""));
    assert!(!second.process.wait(LONG).success());
    let words = format!("another xvrrp (pid {})", first.process.pid());
    assert!(
        second.process.log().contains(&words),
        "{}",
        second.process.log()
    );
    assert_eq!(
        program_id(&lan.hosts[0], Mode::TC),
        before,
        "and has touched nothing"
    );
}

/// Whoever may run programs in the namespace may fill the queue of the lock, which nobody empties.
#[test]
fn the_holder_is_named_when_its_queue_is_full() {
    let lan = Lan::pair();
    let scratch = Scratch::new("queue");
    let first = Xvrrp::with_config(&lan.hosts[0], &scratch, &instance(100, 0.1, ""));
    first.wait_state(&lan.hosts[0], "MASTER", LONG);
    let waiting = lan.hosts[0].enter(|| {
        let mut waiting = Vec::new();
        loop {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
            socket.set_nonblocking(true).expect("a flag");
            match socket.connect(&SockAddr::unix("\0xvrrp").expect("a name")) {
                Ok(()) => waiting.push(socket),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return waiting,
                Err(error) => panic!("after {} connections: {error}", waiting.len()),
            }
        }
    });
    let other = Scratch::new("queue-other");
    let mut second = Xvrrp::with_config(&lan.hosts[0], &other, &instance(200, 0.1, ""));
    assert!(!second.process.wait(LONG).success());
    let words = format!("another xvrrp (pid {})", first.process.pid());
    let log = second.process.log();
    assert!(
        log.contains(&words),
        "{} connections wait: {log}",
        waiting.len()
    );
}

#[test]
fn an_interface_made_anew_is_attached_again() {
    let cable = Cable::new(Mode::TC);
    let [router_end, peer_end] = &cable.lan.hosts[..] else {
        panic!("two hosts")
    };
    let scratch = Scratch::new("anew");
    let bpffs = BpfFs::mount(&scratch);
    let router = cable.run(
        &scratch,
        Mode::TC,
        &instance(100, 0.1, ""),
        &[&bpffs.option()],
    );
    router.wait_state(router_end, "MASTER", LONG);
    let first = bpffs.pin();
    router_end.ip("link del eth0");
    router.wait_state(router_end, "FAULT", LONG);
    wait_for("the stale pin to go", LONG, || {
        bpffs.files().is_empty().then_some(())
    });
    make_cable(router_end, peer_end);
    router.wait_state(router_end, "MASTER", LONG);
    assert_ne!(bpffs.pin(), first, "another interface, another pin");
    let status = router.status(router_end).expect("a status");
    assert_eq!(status["interfaces"][0]["attached"], "tc");
    drop(router);
    assert!(bpffs.files().is_empty(), "a clean stop");
}

#[test]
fn a_driver_s_refusal_is_explained() {
    let lan = Lan::pair();
    let host = &lan.hosts[0];
    host.ip("link set eth0 down");
    host.ip("link set eth0 name port0");
    host.ip("link add eth0 type bridge");
    host.ip("link set port0 master eth0 up");
    host.ip("address add 10.9.0.1/24 dev eth0");
    host.ip("link set eth0 up");
    let scratch = Scratch::new("refusal");
    let path = scratch.write("refusal.conf", &instance(100, 0.1, ""));
    let options = [
        "--config",
        &path.display().to_string(),
        "--xdp-mode",
        "native",
    ];
    let router = Xvrrp::run(host, &scratch, &options);
    let status = router.wait_state(host, "FAULT", LONG);
    let faults = status["instances"][0]["faults"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    println!("{faults:?}");
    let words = "Underlying driver does not support XDP in native mode";
    let told = faults
        .iter()
        .any(|fault| fault.as_str().is_some_and(|text| text.contains(words)));
    assert!(told, "the driver's own words: {faults:?}");
    drop(router);
    let options = ["--config", &path.display().to_string()];
    let router = Xvrrp::run(host, &scratch, &options);
    let status = router.wait_state(host, "MASTER", LONG);
    let interface = &status["interfaces"][0];
    println!("{} ({})", interface["attached"], interface["reason"]);
    assert_eq!(
        interface["attached"], "tc",
        "a bridge does not even try native"
    );
}

fn make_cable(router: &Namespace, peer: &Namespace) {
    router.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {}",
        peer.name()
    ));
    for (number, host) in [(0, router), (1, peer)] {
        host.ip(&format!("address add {}/24 dev eth0", Lan::address(number)));
        host.ip("link set eth0 up");
    }
}

/// An XDP program that is not ours: our own object under another name.
fn foreign_program(namespace: &Namespace, device: &str, mode: XdpMode) -> Ebpf {
    let mut object = dataplane::object().to_vec();
    let (ours, other) = (b"xvrrp_xdp", b"other_xdp");
    for at in 0..object.len() - ours.len() {
        if object[at..].starts_with(ours) {
            object[at..at + ours.len()].copy_from_slice(other);
        }
    }
    namespace.enter(|| {
        let mut ebpf = Ebpf::load(&object).expect("load the renamed object");
        let program: &mut Xdp = ebpf
            .program_mut("other_xdp")
            .expect("the renamed program")
            .try_into()
            .expect("an XDP program");
        program.load().expect("load the program");
        program.attach(device, mode).expect("attach it");
        ebpf
    })
}

fn interface(router: &Xvrrp, host: &Namespace) -> Value {
    router.status(host).expect("a status")["interfaces"][0].clone()
}

#[test]
fn the_ladder_is_climbed_down_until_something_holds() {
    let lan = Lan::pair();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("ladder");
    // A TAP device has a driver hook and takes no tags out of frames.
    host.ip("tuntap add dev tap0 mode tap");
    host.ip("address add 10.8.0.1/24 dev tap0");
    host.ip("link set tap0 up");
    let config = instance(100, 0.1, " dont_track_primary\n").replace("eth0", "tap0");
    let path = scratch.write("ladder.conf", &config).display().to_string();
    let attached = |options: &[&str]| {
        let options = [&["--config", &path], options].concat();
        let mut router = Xvrrp::run(host, &scratch, &options);
        let found = wait_for("an attachment or a fault", LONG, || {
            let status = router.status(host)?;
            let faults = status["instances"][0]["faults"].to_string();
            let interface = status["interfaces"][0].clone();
            (interface["attached"].is_string() || faults.contains("cannot attach"))
                .then_some((interface, faults))
        });
        router.terminate();
        found
    };
    let (best, _) = attached(&[]);
    println!("{} ({})", best["attached"], best["reason"]);
    assert_eq!(best["attached"], "native");
    xvrrp_tests::xvrrp::cleanup_says(host, &scratch, &[], "native XDP detached");

    // Somebody else's program is left where it is.
    let foreign = foreign_program(host, "tap0", XdpMode::Driver);
    let (next, _) = attached(&[]);
    println!("{} ({})", next["attached"], next["reason"]);
    assert_eq!(next["attached"], "tc");
    let reason = next["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("other_xdp"), "{reason}");
    let (_, faults) = attached(&["--xdp-mode", "generic"]);
    assert!(
        faults.contains("other_xdp") && faults.contains("--xdp-mode tc"),
        "{faults}"
    );
    let shown = host.ip("-details link show dev tap0");
    assert!(shown.contains("xdp"), "it is still there: {shown}");
    drop(foreign);
}

#[test]
fn a_large_mtu_is_no_obstacle() {
    let cable = Cable::new(Mode::NATIVE);
    for host in &cable.lan.hosts {
        host.ip("link set eth0 mtu 9000");
    }
    let scratch = Scratch::new("mtu");
    let router = cable.run(&scratch, Mode::NATIVE, &instance(100, 0.1, ""), &[]);
    router.wait_state(&cable.lan.hosts[0], "MASTER", LONG);
    assert_eq!(
        interface(&router, &cable.lan.hosts[0])["attached"],
        "native"
    );
}

#[test]
fn a_new_interface_with_the_old_index_is_noticed() {
    let cable = Cable::new(Mode::TC);
    let [host, peer] = &cable.lan.hosts[..] else {
        panic!("two hosts")
    };
    let scratch = Scratch::new("index");
    let router = cable.run(&scratch, Mode::TC, &instance(100, 0.1, ""), &[]);
    router.wait_state(host, "MASTER", LONG);
    let index = interface(&router, host)["index"]
        .as_u64()
        .expect("an index");
    // In one go, so that nobody sees the time between.
    let batch = format!(
        "link del eth0\nlink add eth0 index {index} type veth peer name eth0 netns {}\n\
         address add 10.9.0.1/24 dev eth0\nlink set eth0 up\n",
        peer.name()
    );
    let batch = scratch.write("batch", &batch);
    host.ip(&format!("-batch {}", batch.display()));
    peer.ip("address add 10.9.0.2/24 dev eth0");
    peer.ip("link set eth0 up");
    wait_for("a program on the new interface", LONG, || {
        program_id(host, Mode::TC)
    });
    router.wait_state(host, "MASTER", LONG);
    assert_eq!(interface(&router, host)["index"].as_u64(), Some(index));
    let group = || host.ip("maddress show dev eth0").contains("224.0.0.18");
    wait_for("the group on the new interface", LONG, || {
        group().then_some(())
    });
    // What leads to the slot still knows where the interface's counters are, and those began anew.
    let answered = || {
        let counters = &interface(&router, host)["kernel"];
        counters["arp_answered"].as_u64().expect("a counter")
    };
    assert_eq!(answered(), 0, "a new interface");
    let question = arp_question(peer.mac("eth0"), Lan::address(1), VIP);
    Sender::new(peer).send(&question);
    wait_for("a counted answer", LONG, || (answered() == 1).then_some(()));
}

#[test]
fn who_loses_the_name_of_the_interface_stays_silent() {
    let cable = Cable::new(Mode::TC);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("rename");
    let router = cable.run(&scratch, Mode::TC, &instance(100, 0.1, ""), &[]);
    router.wait_state(host, "MASTER", LONG);
    // A device that is up can be renamed since Linux 6.0.
    host.ip("link set eth0 name old0");
    router.wait_state(host, "FAULT", LONG);
    wait_for("the address to go", LONG, || {
        (!host.ip("address show dev old0").contains("10.9.0.100")).then_some(())
    });
    wait_for("the program to go", LONG, || {
        let shown = host
            .command("tc")
            .args(["filter", "show", "dev", "old0", "ingress"])
            .output();
        shown.expect("run tc").stdout.is_empty().then_some(())
    });
    let before = cable.answers(VIP).len();
    cable
        .say
        .send(&arp_question(cable.peer_mac, Lan::address(1), VIP));
    cable.say.send(&arp_question(
        cable.peer_mac,
        Lan::address(1),
        Lan::address(0),
    ));
    wait_for("an answer for the host's own address", LONG, || {
        (!cable.answers(Lan::address(0)).is_empty()).then_some(())
    });
    assert_eq!(
        cable.answers(VIP).len(),
        before,
        "nobody answers for the address"
    );
    host.ip("link set old0 name eth0");
    router.wait_state(host, "MASTER", LONG);
}
