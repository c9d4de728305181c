//! One table of frames on the wire, in every mode: native XDP, TC, generic XDP and user space. What
//! is counted, what moves and who answers is the same in all of them.

use std::net::Ipv4Addr;

use vrrp_common::{contract::Family, slot::Standing, vrrp::Source};
use vrrp_userspace::dataplane::{Dataplane, Device, ModeRequest, Place, Plan, Routed};
use xvrrp_tests::{
    LONG,
    bench::{RULES, tagged},
    frames::{AdvertSpec, arp, arp_question},
    modes::{Cable, Counts, Mode},
    netns::Lan,
    process::Scratch,
    wait_for,
    xvrrp::{Xvrrp, instance},
};

const VIP: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const VRID: u8 = 51;

/// What a frame did: every counter that moved, and the MACs that answered for the VIP.
type Effect = (Counts, Vec<[u8; 6]>);

/// Says a frame and reports what it did. Counters of questions are left out: where there is no
/// fence the kernel answers, and nobody counts. So is the one that the marker moves.
fn effect(cable: &Cable, router: &Xvrrp, frame: &[u8]) -> Effect {
    let before = cable.settle(router);
    let answers = cable.answers(VIP).len();
    cable.say.send(frame);
    let after = cable.settle(router);
    let about_frames = |name: &str| {
        !["_answered", "arp_silenced", "foreign_vrid"]
            .iter()
            .any(|other| name.ends_with(other))
    };
    let moved = after
        .iter()
        .filter(|(name, value)| about_frames(name) && before[*name] != **value)
        .map(|(name, value)| (name.clone(), value - before[name]))
        .collect();
    (moved, cable.answers(VIP).split_off(answers))
}

fn backup_frames(cable: &Cable) -> Vec<(&'static str, Vec<u8>)> {
    let spec = || cable.advert(VRID, 150, VIP);
    let with = |change: fn(&mut AdvertSpec)| {
        let mut spec = spec();
        change(&mut spec);
        spec.build()
    };
    vec![
        ("good", spec().build()),
        ("good, message only", with(|spec| spec.message_only = true)),
        ("lesser", with(|spec| spec.priority = 50)),
        ("resignation of the master", with(|spec| spec.priority = 0)),
        ("TTL 254", with(|spec| spec.ttl = 254)),
        ("checksum", with(|spec| spec.bad_checksum = true)),
        ("version 2", with(|spec| spec.version = 2)),
        ("type 2", with(|spec| spec.kind = 2)),
        ("count 0", with(|spec| spec.count = Some(0))),
        ("interval 0", with(|spec| spec.interval_cs = 0)),
        ("truncated", with(|spec| spec.truncate = Some(7))),
        ("fragment", with(|spec| spec.fragment = true)),
        (
            "our own address",
            with(|spec| spec.source = Lan::address(0)),
        ),
        ("VLAN 20", tagged(&spec().build(), 20)),
        ("priority tag", tagged(&spec().build(), 0)),
        ("two tags", tagged(&tagged(&spec().build(), 20), 20)),
        (
            "question",
            arp_question(cable.peer_mac, Lan::address(1), VIP),
        ),
        ("claim", arp(1, [0xff; 6], cable.peer_mac, VIP, [0; 6], VIP)),
    ]
}

/// A backup that nothing promotes while the table runs.
fn backup_effects(mode: Mode) -> Vec<(&'static str, Effect)> {
    let cable = Cable::new(mode);
    let scratch = Scratch::new("modes-backup");
    let router = cable.run(&scratch, mode, &instance(100, 30.0, ""), &[]);
    let status = router.wait_state(&cable.lan.hosts[0], "BACKUP", LONG);
    let interface = &status["interfaces"][0];
    assert_eq!(interface["attached"], mode.name);
    assert_eq!(interface["fence"], mode.fence, "{mode:?}");
    println!("{}: {}", mode.name, interface["reason"]);
    let frames = backup_frames(&cable);
    frames
        .into_iter()
        .map(|(name, frame)| (name, effect(&cable, &router, &frame)))
        .collect()
}

#[test]
fn a_backup_judges_alike_in_every_mode() {
    let reference = backup_effects(Mode::NATIVE);
    let counted = |name: &str| {
        let (_, (counts, _)) = reference.iter().find(|(row, _)| *row == name).expect(name);
        counts.clone()
    };
    assert_eq!(counted("good")["instance adverts_accepted"], 1);
    assert_eq!(counted("TTL 254")["reject ttl"], 1);
    assert_eq!(counted("priority tag")["instance adverts_accepted"], 1);
    for silent in ["VLAN 20", "two tags", "question"] {
        assert_eq!(counted(silent), Counts::new(), "{silent} moves nothing");
    }
    for (name, (_, answers)) in &reference {
        assert!(answers.is_empty(), "{name}: a backup answers nothing");
    }
    for mode in [Mode::TC, Mode::GENERIC, Mode::USER_SPACE] {
        for ((name, expected), (_, found)) in reference.iter().zip(backup_effects(mode)) {
            assert_eq!(&found, expected, "{}: {name}", mode.name);
        }
    }
    println!("{} frames, the same effects in four modes", reference.len());
}

/// An instance on a VLAN of an interface, where the kernel takes the tag out of the frame before
/// anybody sees it: TC reads it from the socket buffer, the packet socket from beside the frame.
#[test]
fn a_tag_beside_the_frame_counts() {
    for request in [ModeRequest::Tc, ModeRequest::Off] {
        let cable = Cable::new(Mode::TC);
        let host = &cable.lan.hosts[0];
        let plan = Plan {
            routers: 2,
            addresses: 2,
            peers: 0,
            interfaces: 1,
            request,
            pins: None,
        };
        let (dataplane, slots) = host.enter(|| {
            let mut dataplane = Dataplane::load(&plan).expect("load the object");
            let ifindex = nix::net::if_::if_nametoindex("eth0").expect("eth0");
            let slots = [10, 0].map(|vlan| {
                let slot = dataplane.take_slot().expect("a slot");
                let place = Place { ifindex, vlan };
                let table = dataplane.slots();
                let own = table.get(slot).expect("the slot");
                own.publish_rules(&RULES);
                own.publish(&Standing {
                    source: Source::v4([10, 9, 0, 1]),
                    ..Standing::default()
                });
                let routed = Routed {
                    place,
                    family: Family::V4,
                    vrid: VRID,
                    vips: vec![VIP.into()],
                    elsewhere: Vec::new(),
                    virtual_mac: None,
                    peers: Vec::new(),
                };
                dataplane.route(slot, routed).expect("route");
                slot
            });
            let device = Device {
                index: ifindex,
                name: "eth0".to_owned(),
                ..Device::default()
            };
            dataplane.attach(&device).expect("attach");
            (dataplane, slots)
        });
        let heard = || {
            let table = dataplane.slots();
            slots.map(|slot| table.get(slot).expect("the slot").heard().accepted)
        };
        let advert = cable.advert(VRID, 150, VIP).build();
        // (VLAN of the frame, adverts heard on VLAN 10 and untagged afterwards)
        let rows = [
            (Some(20), [0, 0]),
            (Some(10), [1, 0]),
            (None, [1, 1]),
            (Some(20), [1, 1]),
            (Some(0), [1, 2]),
            (Some(10), [2, 2]),
        ];
        for (vlan, expected) in rows {
            match vlan {
                Some(vlan) => cable.say.send(&tagged(&advert, vlan)),
                None => cable.say.send(&advert),
            }
            if heard() != expected {
                wait_for(format!("{request:?}: {vlan:?} {expected:?}"), LONG, || {
                    (heard() == expected).then_some(())
                });
            }
        }
        println!("{request:?}: each VLAN to its own instance");
    }
}

#[test]
fn a_master_answers_alike_in_every_mode() {
    for mode in Mode::ALL {
        let cable = Cable::new(mode);
        let scratch = Scratch::new("modes-master");
        let router = cable.run(&scratch, mode, &instance(100, 0.1, ""), &[]);
        router.wait_state(&cable.lan.hosts[0], "MASTER", LONG);
        let (peer, ours) = (cable.peer_mac, cable.router_mac);
        let question = arp_question(peer, Lan::address(1), VIP);
        let rows = [
            ("broadcast", question.clone()),
            ("probe", arp_question(peer, Ipv4Addr::UNSPECIFIED, VIP)),
            ("unicast", arp(1, ours, peer, Lan::address(1), [0; 6], VIP)),
        ];
        for (name, frame) in rows {
            let before = cable.answers(VIP).len();
            cable.say.send(&frame);
            wait_for("an answer", LONG, || {
                (cable.answers(VIP).len() > before).then_some(())
            });
            cable.settle(&router);
            let answers = cable.answers(VIP).split_off(before);
            assert_eq!(answers, [ours], "{}: {name}", mode.name);
        }
        for (name, frame) in [
            ("VLAN 20", tagged(&question, 20)),
            (
                "somebody else's MAC",
                arp(1, [2; 6], peer, Lan::address(1), [0; 6], VIP),
            ),
        ] {
            let (_, answers) = effect(&cable, &router, &frame);
            assert!(answers.is_empty(), "{}: {name} is answered", mode.name);
        }
        let beaten = cable.advert(VRID, 200, VIP).build();
        // Right after one of the router's own adverts, so that no other is due meanwhile.
        let own = cable.seen.adverts(VRID).len();
        wait_for("an advert of the router's own", LONG, || {
            (cable.seen.adverts(VRID).len() > own).then_some(())
        });
        let (moved, _) = effect(&cable, &router, &tagged(&beaten, 20));
        let about_adverts = |name: &&String| name.contains("adverts") || name.contains("reject");
        let moved: Vec<&String> = moved.keys().filter(about_adverts).collect();
        assert!(moved.is_empty(), "{}: {moved:?}", mode.name);
        let state = router.instance(&cable.lan.hosts[0], "VI").expect("VI")["state"].clone();
        assert_eq!(state, "MASTER", "{}: VLAN 20 beats nobody here", mode.name);
        cable.say.send(&beaten);
        router.wait_state(&cable.lan.hosts[0], "BACKUP", LONG);
        println!("{}: answers once, yields at once", mode.name);
    }
}
