//! Virtual routers and addresses that share a place in the arrays where the kernel programs look first: each
//! of them is found, and nobody in the place of another.

use std::net::Ipv4Addr;

use vrrp_common::{
    contract::{Family, VipKey, VridKey},
    shortcut::{of_vip, of_vrid},
    vrrp::Source,
};
use xvrrp_tests::{
    bench::{
        Bench, Entry, IFINDEX, OUR_ADDRESS, OUR_MAC, PEER, PEER_MAC, RULES, VIP, VRID,
        Verdict::{Drop, Pass, Transmit},
        advert, tagged,
    },
    frames::{arp, arp_question},
};

/// On this VLAN a virtual router has the place of the untagged one.
const VLAN: u16 = 64;

fn place_of_address(address: Ipv4Addr) -> u32 {
    let address = Source::v4(address.octets());
    of_vip(VipKey::new(Family::V4, IFINDEX, 0, address)).0
}

#[test]
fn addresses_that_share_a_place_are_found() {
    let mut others = (u32::from(VIP) + 1..).map(Ipv4Addr::from);
    let other = others.find(|it| place_of_address(*it) == place_of_address(VIP));
    let other = other.expect("another address with that place");
    for entry in Entry::BOTH {
        let mut bench = Bench::new(entry);
        // The first to come has the place, also when it comes again.
        for (own, foreign) in [(VIP, other), (other, VIP), (VIP, other)] {
            bench.serve(0, &RULES, OUR_ADDRESS.into(), own.into(), &[]);
            bench.lease(10);
            let (verdict, out) = bench.run(&arp_question(PEER_MAC, PEER, own));
            let answer = arp(2, PEER_MAC, OUR_MAC, own, PEER_MAC, PEER);
            assert_eq!((verdict, out), (Transmit, answer), "{entry:?}: {own}");
            let question = arp_question(PEER_MAC, PEER, foreign);
            let (verdict, out) = bench.run(&question);
            assert_eq!((verdict, out), (Pass, question), "{entry:?}: not {foreign}");
        }
    }
}

#[test]
fn virtual_routers_that_share_a_place_are_found() {
    let place = |vlan| of_vrid(VridKey::new(Family::V4, IFINDEX, vlan, VRID)).0;
    assert_eq!(place(0), place(VLAN));
    let untagged = advert(150).build();
    for entry in Entry::BOTH {
        let mut bench = Bench::new(entry);
        for own in [0, VLAN, 0] {
            bench.serve(own, &RULES, OUR_ADDRESS.into(), VIP.into(), &[]);
            for vlan in [0, VLAN] {
                let frame = match vlan {
                    0 => untagged.clone(),
                    vlan => tagged(&untagged, vlan),
                };
                let before = bench.heard();
                let (verdict, _) = bench.run(&frame);
                let is_heard = bench.heard() != before;
                let expected = if vlan == own { Drop } else { Pass };
                assert_eq!(
                    (verdict, is_heard),
                    (expected, vlan == own),
                    "{entry:?}: on {own}, a frame on {vlan}"
                );
            }
        }
    }
}
