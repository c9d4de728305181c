//! What user space tells, as the kernel reads it.

use super::*;
use crate::vrrp::Version;

/// The MAC that answers carry and the one of the interface are two where the first is a virtual one.
#[test]
fn both_macs_are_told_byte_for_byte() {
    let slot = Slot::new();
    slot.publish(&Standing {
        mac: [0, 0, 0x5e, 0, 1, 7],
        floor: 0xff,
        priority: 0xfe,
        ..Standing::default()
    });
    slot.publish_port([0x02, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e]);
    assert_eq!(slot.own_mac(), 0x0000_5e00_0107);
    assert_eq!(slot.port_mac(), 0x020a_0b0c_0d0e);
    assert_eq!(mac_of(slot.own_mac()), [0, 0, 0x5e, 0, 1, 7]);
}

/// A backup whose floor is 255 obeys nobody but an owner, and owns nothing.
#[test]
fn only_priority_255_owns_the_addresses() {
    for (floor, priority, owns) in [(255, 255, true), (255, 254, false), (1, 100, false)] {
        assert_eq!(slot(floor, priority).is_owner(), owns, "{priority}");
    }
}

#[test]
fn every_combination_of_rules_is_told() {
    let ways = [
        Transport::Multicast(Source::v4([224, 0, 0, 18])),
        Transport::Multicast(Source::v6(crate::vrrp::GROUP_V6)),
        Transport::Unicast { checks_peers: true },
        Transport::Unicast {
            checks_peers: false,
        },
    ];
    let slot = Slot::new();
    for transport in ways {
        for flags in 0..96_u8 {
            let has = |bit: u8| flags & bit != 0;
            let rules = Rules {
                version: if has(1) { Version::V2 } else { Version::V3 },
                transport,
                interval_cs: 0x0f5a,
                password: has(2).then_some(0x7365_6372_6574_0000),
                strict: has(4),
                accept: has(8),
                listed_only: has(16),
                lease: [LeaseMode::Strict, LeaseMode::Peer, LeaseMode::Off]
                    [usize::from(flags / 32)],
            };
            slot.publish_rules(&rules);
            assert_eq!(slot.rules(), rules);
            assert_eq!(slot.accepts_packets(), rules.accept, "{rules:?}");
            assert_eq!(slot.lease_mode(), rules.lease, "{rules:?}");
            assert_eq!(slot.interval_ns(), 0x0f5a * 10_000_000, "{rules:?}");
        }
    }
}

#[test]
fn a_slot_knows_the_slot_of_its_group() {
    let slot = Slot::new();
    assert_eq!(slot.group(), None, "none at first");
    for group in [Some(0), Some(1), Some(7), None] {
        slot.join_group(group);
        assert_eq!(slot.group(), group);
    }
}

/// One beaten member silences all, until they are promoted together anew.
#[test]
fn a_group_is_beaten_for_one_epoch() {
    let group = Slot::new();
    group.store_epoch(1);
    assert!(!group.is_beaten());
    group.record_beaten_member();
    assert!(group.is_beaten());
    group.store_epoch(2);
    assert!(!group.is_beaten(), "what beat them before counts no longer");
}
