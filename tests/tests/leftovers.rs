//! What a daemon that did not end in order has left, and how it goes: by `xvrrp cleanup`, or by the
//! next daemon, whatever that one is configured for.

use std::{fs, net::Ipv4Addr, path::Path};

use vrrp_common::contract::ABI_VERSION;
use xvrrp_tests::{
    LONG,
    bpffs::{self, BpfFs},
    frames::arp_question,
    modes::{Cable, Mode, program_id},
    netns::{Lan, Namespace},
    process::Scratch,
    wait_for,
    xvrrp::{binary, cleanup, cleanup_says, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);

#[test]
fn cleanup_takes_addresses_off_before_programs() {
    let mode = Mode::TC;
    let cable = Cable::new(mode);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("cleanup");
    let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[]);
    router.wait_state(host, "MASTER", LONG);
    let refused = host
        .command(&binary())
        .args(["cleanup", "--run-dir"])
        .arg(scratch.path("elsewhere"))
        .output()
        .expect("run xvrrp cleanup");
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && words.contains("another xvrrp"),
        "{words}"
    );
    router.kill();
    cleanup_says(
        host,
        &scratch,
        &[],
        "eth0: 10.9.0.100/24 removed\neth0: TC detached",
    );
    assert!(!host.ip("address show dev eth0").contains("10.9.0.100"));
    assert_eq!(program_id(host, mode), None);
    cleanup_says(host, &scratch, &[], "nothing was left behind");
    assert!(!scratch.path("run").join(namespace_directory(host)).exists());
}

#[test]
fn cleanup_can_leave_native_programs_that_do_nothing() {
    let mode = Mode::NATIVE;
    let cable = Cable::new(mode);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("inert");
    let bpffs = BpfFs::mount(&scratch);
    let option = bpffs.option();
    for options in [&[option.as_str()][..], &[]] {
        let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), options);
        router.wait_state(host, "MASTER", LONG);
        router.kill();
        let before = program_id(host, mode).expect("attached");
        cleanup_says(
            host,
            &scratch,
            &[options, &["--keep-native"]].concat(),
            "native XDP left attached, empty",
        );
        let after = program_id(host, mode).expect("still attached");
        assert_ne!(before, after, "another program");
        // The address is put on by hand now: the empty program does not silence it.
        host.ip("address add 10.9.0.100/24 dev eth0");
        let answers = cable.answers(VIP).len();
        cable
            .say
            .send(&arp_question(cable.peer_mac, Lan::address(1), VIP));
        wait_for("the kernel's own answer", LONG, || {
            (cable.answers(VIP).len() > answers).then_some(())
        });
        host.ip("address del 10.9.0.100/24 dev eth0");
        cleanup_says(host, &scratch, options, "native XDP detached");
    }
}

#[test]
fn pins_of_another_version_are_taken_over_and_unknown_ones_removed() {
    let mode = Mode::TC;
    let cable = Cable::new(mode);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("versions");
    let bpffs = BpfFs::mount(&scratch);
    let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[&bpffs.option()]);
    router.wait_state(host, "MASTER", LONG);
    router.kill();
    let before = bpffs::ids(&bpffs.pin());
    let root = bpffs.path().join("xvrrp");
    let ours = root.join(format!("v{ABI_VERSION}"));
    fs::rename(&ours, root.join("v0")).expect("an older version's directory");
    let stranger = root
        .join("v0")
        .join(namespace_directory(host))
        .join("something");
    let link = aya::programs::links::PinnedLink::from_pin(bpffs.pin()).expect("the link");
    aya::programs::links::FdLink::from(link)
        .pin(&stranger)
        .expect("a pin with a name nobody knows");
    router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[&bpffs.option()]);
    router.wait_state(host, "MASTER", LONG);
    assert!(!root.join("v0").exists(), "the old directory is gone");
    let after = bpffs::ids(&bpffs.pin());
    assert_eq!(before.0, after.0, "the same link");
    assert!(bpffs.pin().starts_with(ours));
}

#[test]
fn a_pin_whose_interface_is_gone_does_not_stand_in_the_way() {
    let cable = Cable::new(Mode::TC);
    let [router_end, peer_end] = &cable.lan.hosts[..] else {
        panic!("two hosts")
    };
    let scratch = Scratch::new("severed");
    let bpffs = BpfFs::mount(&scratch);
    let mut router = cable.run(
        &scratch,
        Mode::TC,
        &instance(100, 0.1, ""),
        &[&bpffs.option()],
    );
    router.wait_state(router_end, "MASTER", LONG);
    router.kill();
    let pin = bpffs.pin();
    let index: u32 = file_index(&pin);
    router_end.ip("link del eth0");
    // The same index again, on another interface.
    router_end.ip(&format!(
        "link add eth0 index {index} type veth peer name eth0 netns {}",
        peer_end.name()
    ));
    for (number, host) in [(0, router_end), (1, peer_end)] {
        host.ip(&format!("address add {}/24 dev eth0", Lan::address(number)));
        host.ip("link set eth0 up");
    }
    let before = bpffs::ids(&pin).0;
    router = cable.run(
        &scratch,
        Mode::TC,
        &instance(100, 0.1, ""),
        &[&bpffs.option()],
    );
    router.wait_state(router_end, "MASTER", LONG);
    assert_ne!(
        bpffs::ids(&bpffs.pin()).0,
        before,
        "a new link under the old name"
    );
}

fn namespace_directory(host: &Namespace) -> String {
    let inode = host.enter(|| {
        let link = fs::read_link("/proc/thread-self/ns/net").expect("the namespace");
        link.display().to_string()
    });
    format!(
        "netns-{}",
        inode.trim_start_matches("net:[").trim_end_matches(']')
    )
}

fn file_index(pin: &Path) -> u32 {
    let name = pin
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a name");
    name.rsplit('-')
        .next()
        .and_then(|index| index.parse().ok())
        .expect("an index")
}

#[test]
fn cleanup_does_not_guess() {
    let mode = Mode::TC;
    let cable = Cable::new(mode);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("guess");
    let bpffs = BpfFs::mount(&scratch);
    let option = bpffs.option();
    let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[&option]);
    router.wait_state(host, "MASTER", LONG);
    router.kill();
    let record = scratch
        .path("run")
        .join(namespace_directory(host))
        .join("addresses.json");
    let whole = fs::read_to_string(&record).expect("the record");
    for damage in [None, Some("{\"addr")] {
        // A cleanup that does nothing still puts its own directory away, where it is empty.
        fs::create_dir_all(record.parent().expect("a directory")).expect("the directory");
        match damage {
            None => {
                fs::remove_file(&record).expect("remove the record");
            }
            Some(text) => fs::write(&record, text).expect("damage the record"),
        }
        let output = cleanup(host, &scratch, &[&option]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && words.contains("--force"),
            "{words}"
        );
        assert_eq!(bpffs.files().len(), 3, "the fence stays, both ways");
    }
    fs::write(&record, whole).expect("mend the record");
    cleanup_says(host, &scratch, &[&option], "10.9.0.100/24 removed");
    assert!(bpffs.files().is_empty());
}

#[test]
fn a_changed_prefix_leaves_no_address_behind() {
    let mode = Mode::TC;
    let cable = Cable::new(mode);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("prefix");
    let config = instance(100, 0.1, "");
    let mut router = cable.run(&scratch, mode, &config, &[]);
    router.wait_state(host, "MASTER", LONG);
    router.kill();
    let changed = config.replace("10.9.0.100/24", "10.9.0.100/32");
    router = cable.run(&scratch, mode, &changed, &[]);
    router.wait_state(host, "MASTER", LONG);
    wait_for("the address with its new prefix", LONG, || {
        host.ip("address show dev eth0")
            .contains("10.9.0.100/32")
            .then_some(())
    });
    assert!(!host.ip("address show dev eth0").contains("10.9.0.100/24"));
    router.terminate();
    assert!(!host.ip("address show dev eth0").contains("10.9.0.100"));
}

#[test]
fn a_daemon_without_kernel_programs_takes_left_ones_off() {
    let cable = Cable::new(Mode::TC);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("off");
    let bpffs = BpfFs::mount(&scratch);
    for mode in [Mode::TC, Mode::GENERIC] {
        for options in [&[bpffs.option()][..], &[]] {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let config = instance(100, 0.1, "");
            let mut router = cable.run(&scratch, mode, &config, &options);
            router.wait_state(host, "MASTER", LONG);
            router.kill();
            let mut router = cable.run(&scratch, Mode::USER_SPACE, &config, &options);
            router.wait_state(host, "MASTER", LONG);
            assert!(bpffs.files().is_empty(), "{mode:?} {options:?}");
            assert_eq!(program_id(host, mode), None, "{mode:?} {options:?}");
            let before = cable.answers(VIP).len();
            wait_for("the kernel's own answer", LONG, || {
                let question = arp_question(cable.peer_mac, Lan::address(1), VIP);
                cable.say.send(&question);
                (cable.answers(VIP).len() > before).then_some(())
            });
            router.terminate();
        }
    }
}

#[test]
fn a_program_that_cannot_be_taken_off_is_a_fault_and_not_silence() {
    for mode in [Mode::TC, Mode::GENERIC] {
        let cable = Cable::new(mode);
        let host = &cable.lan.hosts[0];
        let scratch = Scratch::new("front");
        let bpffs = BpfFs::mount(&scratch);
        let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[&bpffs.option()]);
        router.wait_state(host, "MASTER", LONG);
        router.kill();
        // This one looks for pins elsewhere.
        let router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[]);
        let status = router.wait_state(host, "FAULT", LONG);
        let faults = status["instances"][0]["faults"].to_string();
        assert!(faults.contains("stays in front"), "{mode:?}: {faults}");
        assert!(faults.contains("xvrrp cleanup"), "{mode:?}: {faults}");
    }
}

#[test]
fn programs_on_interfaces_no_longer_served_are_taken_off() {
    for pinned in [true, false] {
        let cable = Cable::new(Mode::TC);
        let host = &cable.lan.hosts[0];
        let scratch = Scratch::new("elsewhere");
        let bpffs = BpfFs::mount(&scratch);
        let option = bpffs.option();
        let options = if pinned { &[option.as_str()][..] } else { &[] };
        let config = instance(100, 0.1, "");
        let mut router = cable.run(&scratch, Mode::TC, &config, options);
        router.wait_state(host, "MASTER", LONG);
        router.kill();
        host.ip("link add eth1 type veth peer name far1");
        host.ip("address add 10.8.0.1/24 dev eth1");
        host.ip("link set far1 up");
        host.ip("link set eth1 up");
        let moved = config.replace("interface eth0", "interface eth1");
        let router = cable.run(&scratch, Mode::TC, &moved, options);
        router.wait_state(host, "MASTER", LONG);
        assert_eq!(program_id(host, Mode::TC), None, "pinned {pinned}");
        assert!(!host.ip("address show dev eth0").contains("10.9.0.100"));
        if pinned {
            let name = bpffs.pin().display().to_string();
            assert!(!name.ends_with("tc-2"), "the other interface's: {name}");
        }
    }
}

#[test]
fn what_a_crash_left_is_nobody_s_own() {
    let mode = Mode::TC;
    let cable = Cable::new(mode);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("owner");
    let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[]);
    router.wait_state(host, "MASTER", LONG);
    router.kill();
    // The next daemon is the owner of the address: but this machine has it from the one before.
    let owner = instance(255, 0.1, "");
    router = cable.run(&scratch, mode, &owner, &[]);
    router.wait_state(host, "MASTER", LONG);
    router.terminate();
    assert!(!host.ip("address show dev eth0").contains("10.9.0.100"));
    // And what an owner put there itself does not stay after its crash either.
    router = cable.run(&scratch, mode, &owner, &[]);
    router.wait_state(host, "MASTER", LONG);
    wait_for("the address", LONG, || {
        host.ip("address show dev eth0")
            .contains("10.9.0.100")
            .then_some(())
    });
    router.kill();
    cleanup_says(host, &scratch, &[], "10.9.0.100/24 removed");
    // What it finds on the interface is the machine's own, and stays.
    host.ip("address add 10.9.0.100/24 dev eth0");
    router = cable.run(&scratch, mode, &owner, &[]);
    router.wait_state(host, "MASTER", LONG);
    router.kill();
    cleanup_says(host, &scratch, &[], "TC detached");
    assert!(host.ip("address show dev eth0").contains("10.9.0.100"));
}

/// The record names an interface and its index: a new name hides nothing.
#[test]
fn an_interface_renamed_after_a_crash_keeps_no_address() {
    let mode = Mode::TC;
    for next in ["cleanup", "run"] {
        let cable = Cable::new(mode);
        let host = &cable.lan.hosts[0];
        let scratch = Scratch::new("renamed");
        let config = instance(100, 0.1, "");
        let mut router = cable.run(&scratch, mode, &config, &[]);
        router.wait_state(host, "MASTER", LONG);
        router.kill();
        for words in ["down", "name lan0", "up"] {
            let device = if words == "up" { "lan0" } else { "eth0" };
            host.ip(&format!("link set {device} {words}"));
        }
        assert!(host.ip("address show dev lan0").contains("10.9.0.100"));
        let _router = if next == "cleanup" {
            cleanup_says(host, &scratch, &[], "lan0: 10.9.0.100/24 removed");
            None
        } else {
            let waiting = format!("global_defs {{\n  dynamic_interfaces\n}}\n{config}");
            let router = cable.run(&scratch, mode, &waiting, &[]);
            router.wait_state(host, "FAULT", LONG);
            Some(router)
        };
        let shown = host.ip("address show dev lan0");
        assert!(!shown.contains("10.9.0.100"), "{next}: {shown}");
    }
}

/// Whether a question for the VIP is answered: one for the machine's own address, asked behind it, is.
fn is_answered(cable: &Cable) -> bool {
    let own = Lan::address(0);
    let (before, own_before) = (cable.answers(VIP).len(), cable.answers(own).len());
    for address in [VIP, own] {
        let question = arp_question(cable.peer_mac, Lan::address(1), address);
        cable.say.send(&question);
    }
    wait_for("the machine's own answer", LONG, || {
        (cable.answers(own).len() > own_before).then_some(())
    });
    cable.answers(VIP).len() > before
}

/// Without the record nobody knows which addresses the program guards: neither `cleanup` nor the next
/// daemon takes it off or replaces it.
#[test]
fn a_lost_record_is_not_guessed() {
    let mode = Mode::TC;
    let place = Scratch::new("lost-pins");
    let pinned = BpfFs::mount(&place);
    for pins in [Some(&pinned), None] {
        let cable = Cable::new(mode);
        let host = &cable.lan.hosts[0];
        let scratch = Scratch::new("lost");
        let options: Vec<String> = pins.iter().map(|bpffs| bpffs.option()).collect();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &options);
        router.wait_state(host, "MASTER", LONG);
        router.kill();
        fs::remove_dir_all(scratch.path("run")).expect("the run-time directory");
        let refused = cleanup(host, &scratch, &options);
        let words = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success() && words.contains("no record"),
            "{words}"
        );
        let mut router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &options);
        assert!(!router.process.wait(LONG).success());
        let words = router.process.log();
        assert!(
            words.contains("no record") && words.contains("--force"),
            "{words}"
        );
        assert!(
            host.ip("address show dev eth0").contains("10.9.0.100"),
            "it stays"
        );
        // The lease of the one that crashed may take a moment to end; then nobody answers.
        wait_for("silence", LONG, || (!is_answered(&cable)).then_some(()));
        assert!(!is_answered(&cable), "the fence stays too");
        host.ip("address del 10.9.0.100/24 dev eth0");
        let forced = [&options[..], &["--force"]].concat();
        cleanup_says(host, &scratch, &forced, "eth0: TC detached");
        let router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &options);
        router.wait_state(host, "MASTER", LONG);
    }
}

#[test]
fn a_program_pinned_out_of_sight_is_named() {
    let mode = Mode::TC;
    let cable = Cable::new(mode);
    let host = &cable.lan.hosts[0];
    let scratch = Scratch::new("sight");
    let bpffs = BpfFs::mount(&scratch);
    let config = instance(100, 0.1, "");
    let mut router = cable.run(&scratch, mode, &config, &[&bpffs.option()]);
    router.wait_state(host, "MASTER", LONG);
    router.kill();
    let refused = cleanup(host, &scratch, &[]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        !refused.status.success() && words.contains("eth0: a TC program stays"),
        "{words}"
    );
    cleanup_says(host, &scratch, &[&bpffs.option()], "eth0: TC detached");
    assert_eq!(program_id(host, mode), None);
}
