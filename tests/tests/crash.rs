//! What stays when the daemon is killed: its programs, and with them the fence. A restart takes
//! them over in place.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use xvrrp_tests::{
    LONG,
    bpffs::{self, BpfFs},
    frames::arp_question,
    modes::{Cable, Mode, program_id},
    ms,
    netns::{Lan, Namespace},
    process::{Process, Scratch},
    wait_for, wall_ns,
    xvrrp::{cleanup_says, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
/// Three intervals of 0.1 s, and time for a frame to get through.
const LEASE_NS: u64 = 320_000_000;

/// Clears a flag when dropped: whoever waits for it must not wait for ever if we fail.
struct While<'a>(&'a AtomicBool);

impl Drop for While<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Kills a MASTER, starts it anew, and asks for the address every 5 ms all the time. Nobody may
/// answer from the end of the lease until the new daemon is MASTER: were the program detached for a
/// moment, the kernel would, because the address is still there. `look` is called before the crash,
/// after it, and after the restart.
fn crash_and_restart(mode: Mode, cable: &Cable, options: &[&str], mut look: impl FnMut(&str)) {
    let scratch = Scratch::new("crash");
    let config = instance(100, 0.1, "");
    let host = &cable.lan.hosts[0];
    let mut router = cable.run(&scratch, mode, &config, options);
    router.wait_state(host, "MASTER", LONG);
    look("before the crash");
    let asking = AtomicBool::new(true);
    let (killed, restarted, master) = thread::scope(|scope| {
        let _asking = While(&asking);
        scope.spawn(|| {
            let question = arp_question(cable.peer_mac, Lan::address(1), VIP);
            while asking.load(Ordering::Relaxed) {
                cable.say.send(&question);
                thread::park_timeout(Duration::from_millis(5));
            }
        });
        wait_for("answers before the crash", LONG, || {
            (cable.answers(VIP).len() > 20).then_some(())
        });
        router.kill();
        let killed = wall_ns();
        wait_for("a second without a daemon", LONG, || {
            (wall_ns() > killed + 1_000_000_000).then_some(())
        });
        assert!(host.ip("address show dev eth0").contains("10.9.0.100/24"));
        look("after the crash");
        let restarted = wall_ns();
        router = cable.run(&scratch, mode, &config, options);
        router.wait_state(host, "MASTER", LONG);
        look("after the restart");
        let master = wall_ns();
        wait_for("answers after the restart", LONG, || {
            cable.answer_times(VIP).into_iter().find(|at| *at > master)
        });
        (killed, restarted, master)
    });
    let announced = cable.announcement_times(VIP);
    let announced = announced
        .into_iter()
        .find(|at| *at > restarted)
        .expect("an announcement");
    let wrong: Vec<f64> = cable
        .answer_times(VIP)
        .into_iter()
        .filter(|at| (killed + LEASE_NS..announced).contains(at))
        .map(|at| ms(at - killed))
        .collect();
    assert!(
        wrong.is_empty(),
        "{mode:?}: answered {wrong:?} ms after the crash"
    );
    let last = cable
        .answer_times(VIP)
        .into_iter()
        .filter(|at| *at < restarted)
        .max();
    println!(
        "{}: last answer {:.0} ms after the crash, next with the announcement {:.0} ms after the \
         restart, MASTER seen after {:.0} ms",
        mode.name,
        ms(last.expect("answers").saturating_sub(killed)),
        ms(announced - restarted),
        ms(master - restarted)
    );
    let status = router.status(host).expect("a status");
    let reason = status["interfaces"][0]["reason"]
        .as_str()
        .unwrap_or_default();
    assert!(reason.contains("taken over in place"), "{reason}");
    router.terminate();
}

#[test]
fn pinned_programs_stay_and_are_taken_over() {
    for mode in Mode::KERNEL {
        let cable = Cable::new(mode);
        let scratch = Scratch::new("pins");
        let bpffs = BpfFs::mount(&scratch);
        let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[&bpffs.option()]);
        let status = router.wait_state(&cable.lan.hosts[0], "MASTER", LONG);
        assert_eq!(status["interfaces"][0]["held_by"], "pinned");
        router.terminate();
        let mut seen: Vec<BTreeMap<PathBuf, (u32, u32)>> = Vec::new();
        crash_and_restart(mode, &cable, &[&bpffs.option()], |_| {
            let files = bpffs.files().into_iter();
            seen.push(files.map(|pin| (pin.clone(), bpffs::ids(&pin))).collect());
        });
        let [before, dead, after] = &seen[..] else {
            panic!("three looks: {seen:?}")
        };
        assert_eq!(
            before, dead,
            "{mode:?}: links and programs outlive the daemon"
        );
        assert!(
            before.keys().eq(after.keys()),
            "{mode:?}: {before:?} {after:?}"
        );
        for (before, after) in before.values().zip(after.values()) {
            assert_eq!(after.0, before.0, "{mode:?}: the same link");
            assert_ne!(after.1, before.1, "{mode:?}: with the new program");
            println!(
                "{}: link {} stays, program {} -> {}",
                mode.name, before.0, before.1, after.1
            );
        }
        // A clean stop leaves nothing, native programs apart, and those only until the cleanup.
        if mode == Mode::NATIVE {
            assert_eq!(bpffs.files().len(), 1, "native stays attached");
            cleanup_says(
                &cable.lan.hosts[0],
                &scratch,
                &[&bpffs.option()],
                "native XDP detached",
            );
        }
        assert_eq!(bpffs.files(), Vec::<PathBuf>::new(), "{mode:?}");
        assert!(
            !bpffs.path().join("xvrrp").exists(),
            "{mode:?}: no directory stays"
        );
    }
}

/// Events of an interface or its filters, as iproute2 tells them.
struct Monitor {
    process: Process,
}

impl Monitor {
    fn start(host: &Namespace, scratch: &Scratch, mode: Mode) -> Self {
        let mut command = if mode == Mode::TC {
            host.command("tc")
        } else {
            host.command("ip")
        };
        command.arg("monitor");
        if mode != Mode::TC {
            command.arg("link");
        }
        let log = scratch.path(&format!("{}.monitor", mode.name));
        let monitor = Self {
            process: Process::start(command, &log),
        };
        // It listens once it tells of something that we make happen.
        wait_for("the monitor", LONG, || {
            if mode == Mode::TC {
                host.ip("link add watched type veth peer name watched2");
                let added = host
                    .command("tc")
                    .args(["qdisc", "add", "dev", "watched", "clsact"])
                    .status();
                assert!(added.is_ok_and(|status| status.success()), "add a qdisc");
            } else {
                host.ip("link add watched type veth peer name watched2");
            }
            host.ip("link del watched");
            monitor.process.log().contains("watched").then_some(())
        });
        monitor
    }

    /// What it told about our interface.
    fn lines(&self) -> Vec<String> {
        let log = self.process.log();
        let ours = log.lines().filter(|line| line.contains("eth0"));
        ours.map(str::to_owned).collect()
    }
}

#[test]
fn programs_held_by_netlink_stay_and_are_taken_over() {
    for mode in Mode::KERNEL {
        let cable = Cable::new(mode);
        let host = &cable.lan.hosts[0];
        let scratch = Scratch::new("netlink");
        // A clean stop before leaves a clsact qdisc, or a native program: neither is in the way.
        let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[]);
        let status = router.wait_state(host, "MASTER", LONG);
        assert_eq!(status["interfaces"][0]["held_by"], "held by netlink");
        router.terminate();
        let mut seen: Vec<u64> = Vec::new();
        let mut monitor = None;
        crash_and_restart(mode, &cable, &[], |when| {
            let id = program_id(host, mode).unwrap_or_else(|| panic!("{mode:?}: none {when}"));
            seen.push(id);
            if seen.len() == 2 {
                monitor = Some(Monitor::start(host, &scratch, mode));
            }
            if seen.len() == 3 {
                let told = monitor.take().expect("the monitor").lines();
                assert!(
                    told.iter().all(|line| !shows_a_gap(mode, line)),
                    "{told:#?}"
                );
                println!(
                    "{}: {} events, none without a program",
                    mode.name,
                    told.len()
                );
            }
        });
        assert_eq!(
            seen[0], seen[1],
            "{mode:?}: the program outlives the daemon"
        );
        assert_ne!(seen[1], seen[2], "{mode:?}: and is replaced");
        println!(
            "{}: program {} -> {}, never detached",
            mode.name, seen[0], seen[2]
        );
        if mode == Mode::NATIVE {
            assert!(program_id(host, mode).is_some(), "native stays attached");
            cleanup_says(host, &scratch, &[], "native XDP detached");
        }
        assert_eq!(
            program_id(host, mode),
            None,
            "{mode:?}: a clean stop detaches"
        );
    }
}

/// An event that says that the interface has no program: a filter deleted, a link without XDP.
fn shows_a_gap(mode: Mode, line: &str) -> bool {
    if mode == Mode::TC {
        line.contains("deleted filter")
    } else {
        !line.contains("xdp")
    }
}

#[test]
fn after_a_crash_others_on_the_machine_hear_adverts_again() {
    for mode in [Mode::TC, Mode::GENERIC] {
        let cable = Cable::new(mode);
        let host = &cable.lan.hosts[0];
        let scratch = Scratch::new("deaf");
        let socket = host.enter(|| {
            let vrrp = Some(Protocol::from(112));
            let socket = Socket::new(Domain::IPV4, Type::RAW, vrrp).expect("a raw socket");
            socket.set_nonblocking(true).expect("non-blocking");
            socket
                .join_multicast_v4_n(
                    &Ipv4Addr::new(224, 0, 0, 18),
                    &socket2::InterfaceIndexOrAddress::Address(Lan::address(0)),
                )
                .expect("join");
            socket
        });
        let heard = || {
            socket
                .recv(&mut [std::mem::MaybeUninit::uninit(); 256])
                .is_ok()
        };
        let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[]);
        router.wait_state(host, "MASTER", LONG);
        let advert = cable.advert(51, 50, VIP).build();
        cable.say.send(&advert);
        cable.settle(&router);
        // The marker's VRID is nobody's: it passes. Ours does not.
        assert!(heard(), "{mode:?}: the marker");
        assert!(!heard(), "{mode:?}: a live daemon consumes");
        router.kill();
        let killed = wall_ns();
        wait_for("an advert to pass", LONG, || {
            cable.say.send(&advert);
            heard().then_some(())
        });
        println!(
            "{}: heard again {:.1} s after the crash",
            mode.name,
            ms(wall_ns() - killed) / 1000.0
        );
    }
}
