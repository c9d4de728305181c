//! What the lines of an instance mean together: version and family, transport, `strict_mode`, groups.

use std::time::Duration;

use vrrp_common::vrrp::Version;

use super::{Loaded, Severity, read, said};

/// An instance with these lines, and with an IPv4 address unless they name one.
fn instance(lines: &str) -> Loaded {
    let address = if lines.contains("virtual_ipaddress") {
        ""
    } else {
        "virtual_ipaddress { 10.0.0.1 }"
    };
    read(&format!(
        "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n {lines}\n {address}\n}}\n"
    ))
}

#[test]
fn the_version_is_keepalived_s_where_none_is_named() {
    for (lines, version, interval_cs) in [
        ("", Version::V2, 100),
        ("version 3\n advert_int 0.01", Version::V3, 1),
        ("advert_int 255", Version::V2, 25_500),
        ("virtual_ipaddress { fe80::1 }", Version::V3, 100),
        (
            "version 2\n virtual_ipaddress { fe80::1 }",
            Version::V3,
            100,
        ),
    ] {
        let loaded = instance(lines);
        let read = &loaded.config.instances[0];
        assert_eq!(
            (read.version, read.interval_cs),
            (version, interval_cs),
            "{lines}"
        );
    }
    let global = "global_defs { vrrp_version 3 }\nvrrp_instance A {\n interface eth0\n \
                  virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 }\n}\n";
    assert_eq!(read(global).config.instances[0].version, Version::V3);
}

#[test]
fn ipv6_instances_begin_with_a_link_local_address() {
    let loaded = instance(
        "virtual_ipaddress {\n 2001:db8::1/64\n fe80::1/64\n 10.0.0.1\n}\n \
         virtual_ipaddress_excluded { 10.0.0.2/24 }",
    );
    let read = &loaded.config.instances[0];
    let addresses: Vec<String> = read
        .addresses
        .iter()
        .map(|entry| format!("{}/{}", entry.address, entry.prefix))
        .collect();
    assert_eq!(addresses, ["fe80::1/64", "2001:db8::1/64"]);
    assert_eq!(read.group.to_string(), "ff02::12");
    assert_eq!(
        read.excluded.len(),
        1,
        "of the other family, and not advertised"
    );
    assert_eq!(
        said(&loaded, Severity::Warning).len(),
        1,
        "an advert carries one family"
    );
    let without = instance("virtual_ipaddress { 2001:db8::1 }");
    assert!(said(&without, Severity::Lint)[0].contains("link-local"));
}

#[test]
fn a_password_is_eight_bytes_of_version_2() {
    let password = "authentication {\n auth_type PASS\n auth_pass verysecret\n}";
    let loaded = instance(&format!("version 2\n {password}"));
    let expected = Some(u64::from_be_bytes(*b"verysecr"));
    assert_eq!(loaded.config.instances[0].password, expected);
    assert_eq!(
        said(&loaded, Severity::Lint).len(),
        1,
        "the rest does not count"
    );
    let loaded = instance(&format!("version 3\n {password}"));
    assert_eq!(loaded.config.instances[0].password, None);
    assert_eq!(said(&loaded, Severity::Warning).len(), 1);
}

#[test]
fn a_password_needs_its_type() {
    for block in [
        "authentication {\n auth_pass secret\n}",
        "authentication {\n auth_type PASS\n auth_pass \"\"\n}",
    ] {
        let loaded = instance(&format!("version 2\n {block}"));
        assert_eq!(loaded.config.instances[0].password, None, "{block}");
        assert_eq!(said(&loaded, Severity::Warning).len(), 1, "{block}");
    }
}

#[test]
fn version_2_rounds_its_interval() {
    for (said_s, used_cs) in [("0.3", 100), ("1.4", 100), ("1.5", 200), ("2", 200)] {
        let loaded = instance(&format!("version 2\n advert_int {said_s}"));
        assert_eq!(loaded.config.instances[0].interval_cs, used_cs, "{said_s}");
        let rounded = usize::from(said_s.contains('.'));
        assert_eq!(said(&loaded, Severity::Warning).len(), rounded, "{said_s}");
    }
}

#[test]
fn what_does_not_fit_into_an_advert_is_served_only() {
    let addresses: Vec<String> = (1..=100).map(|it| format!("fe80::{it:x}/64")).collect();
    let block = format!("virtual_ipaddress {{\n{}\n}}", addresses.join("\n"));
    let loaded = instance(&block);
    let read = &loaded.config.instances[0];
    assert_eq!((read.addresses.len(), read.excluded.len()), (90, 10));
    assert_eq!(said(&loaded, Severity::Warning).len(), 10);
}

#[test]
fn either_keyword_sets_the_source() {
    let loaded = instance("mcast_src_ip 10.0.0.12\n unicast_peer { 10.0.0.3 }");
    let source = loaded.config.instances[0].source;
    assert_eq!(source, "10.0.0.12".parse().ok());
    let loaded = instance("unicast_src_ip 10.0.0.12");
    assert_eq!(loaded.config.instances[0].source, "10.0.0.12".parse().ok());
}

#[test]
fn unicast_peers_and_their_limits() {
    let loaded = instance(
        "unicast_src_ip 10.0.0.2\n unicast_ttl 64\n unicast_peer {\n 10.0.0.3\n \
         10.1.0.4 min_ttl 60 max_ttl 62\n}",
    );
    assert_eq!(said(&loaded, Severity::Error), Vec::<String>::new());
    let read = &loaded.config.instances[0];
    let unicast = read.unicast.as_ref().expect("unicast");
    let peers: Vec<(String, u8, u8)> = unicast
        .peers
        .iter()
        .map(|peer| (peer.address.to_string(), peer.min_ttl, peer.max_ttl))
        .collect();
    assert_eq!(
        peers,
        [
            ("10.0.0.3".to_owned(), 0, 255),
            ("10.1.0.4".to_owned(), 60, 62)
        ]
    );
    assert_eq!((unicast.ttl, unicast.checks_peers), (64, true));
    assert_eq!(read.source, "10.0.0.2".parse().ok());
    let plain = instance("unicast_peer { 10.0.0.3 }");
    let plain = plain.config.instances[0].unicast.clone().expect("unicast");
    assert_eq!((plain.ttl, plain.checks_peers), (255, false));
}

#[test]
fn strict_mode_puts_right_and_says_so() {
    let loaded = instance("strict_mode\n version 2\n accept\n preempt_delay 5");
    let read = &loaded.config.instances[0];
    assert!(!read.accept && read.strict);
    assert!(!instance("strict_mode\n version 3").config.instances[0].accept);
    assert!(
        instance("strict_mode\n version 3\n accept")
            .config
            .instances[0]
            .accept,
        "RFC 9568 leaves Accept_Mode to the operator"
    );
    assert_eq!(read.preempt_delay, Duration::ZERO);
    let lints = said(&loaded, Severity::Lint);
    assert!(
        lints
            .iter()
            .any(|line| line.contains("not even answer ping")),
        "{lints:?}"
    );
    let owner = instance("strict_mode\n version 3\n priority 255");
    assert!(owner.config.instances[0].accept, "an owner accepts");
    assert!(!instance("no_accept").config.instances[0].accept);
    assert!(
        instance("").config.instances[0].accept,
        "keepalived's default"
    );
}

#[test]
fn sync_groups_have_members_that_exist() {
    let instances = "vrrp_script s { script /bin/true\n weight 5 }\n\
         vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 }\n \
         track_script { s }\n}\n\
         vrrp_instance B {\n interface eth1\n virtual_router_id 1\n advert_int 2\n \
         virtual_ipaddress { 10.1.0.1 }\n}\n";
    // A group may stand before its instances, and its members on one line or several.
    let loaded = read(&format!(
        "vrrp_sync_group G {{\n group {{\n A\n B C\n B\n}}\n notify_master /bin/true\n}}\n{instances}"
    ));
    let errors = said(&loaded, Severity::Error);
    assert_eq!(
        errors.len(),
        2,
        "C is nobody, and B is there twice: {errors:?}"
    );
    let group = &loaded.config.groups[0];
    assert_eq!(group.members, ["A", "B"]);
    assert!(group.notify.master.is_some());
    assert!(
        loaded.config.instances[0].tracks.is_empty(),
        "weights mean nothing in a group"
    );
    assert!(
        said(&loaded, Severity::Lint)
            .iter()
            .any(|line| line.contains("advert_int"))
    );
    let weighted = read(&format!(
        "{instances}vrrp_sync_group G {{\n sync_group_tracking_weight\n group {{ A\n B }}\n}}\n"
    ));
    assert_eq!(weighted.config.instances[0].tracks.len(), 1);
    let alone = read(&format!(
        "{instances}vrrp_sync_group G {{\n group {{ A }}\n}}\n"
    ));
    assert_eq!(
        alone.config.groups[0].members,
        ["A"],
        "its scripts are still told"
    );
    let nobody = read(&format!(
        "{instances}vrrp_sync_group G {{\n group {{ X }}\n}}\n"
    ));
    assert!(nobody.config.groups.is_empty());
}

#[test]
fn families_share_their_numbers() {
    let text = "vrrp_instance A {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress { 10.0.0.1 }\n}\n\
                vrrp_instance B {\n interface eth0\n virtual_router_id 7\n virtual_ipaddress { fe80::1 }\n}\n";
    assert_eq!(read(text).config.instances.len(), 2);
}

#[test]
fn a_virtual_mac_follows_family_and_vrid() {
    let v6 = "use_vmac\n virtual_ipaddress { fe80::1 }";
    let peers = "use_vmac\n unicast_peer { 10.0.0.9 }";
    // (lines, MAC, adverts leave from the interface's own, refresh in seconds)
    let rows = [
        ("", None, false, 0),
        ("use_vmac", Some([0, 0, 0x5e, 0, 1, 1]), false, 0),
        (v6, Some([0, 0, 0x5e, 0, 2, 1]), false, 0),
        ("use_vmac vrrp.51", Some([0, 0, 0x5e, 0, 1, 1]), false, 0),
        (
            "use_vmac 02:aa:bb:cc:dd:ee",
            Some([2, 0xaa, 0xbb, 0xcc, 0xdd, 0xee]),
            false,
            0,
        ),
        (
            "use_vmac name v1 2:aa:bb:cc:dd",
            Some([2, 0xaa, 0xbb, 0xcc, 0xdd, 1]),
            false,
            0,
        ),
        (
            "use_vmac\n vmac_xmit_base",
            Some([0, 0, 0x5e, 0, 1, 1]),
            true,
            60,
        ),
        (peers, Some([0, 0, 0x5e, 0, 1, 1]), false, 60),
        ("vmac_xmit_base", None, false, 0),
        (
            "use_vmac 01:00:5e:00:00:01",
            Some([0, 0, 0x5e, 0, 1, 1]),
            false,
            0,
        ),
        (
            "use_vmac 02:aa:bb:cc:dd:ee\n vmac_xmit_base\n strict_mode",
            Some([0, 0, 0x5e, 0, 1, 1]),
            false,
            0,
        ),
    ];
    for (lines, mac, from_port, refresh) in rows {
        let loaded = instance(lines);
        let read = &loaded.config.instances[0];
        assert_eq!(read.virtual_mac, mac, "{lines}");
        assert_eq!(read.sends_from_port, from_port, "{lines}");
        assert_eq!(read.announce.refresh_ns, refresh * 1_000_000_000, "{lines}");
    }
    for wrong in [
        "01:00:5e:00:00:01",
        "02:aa:bb:cc",
        "0:0:0:0:0:0",
        "2:x:1:1:1:1",
    ] {
        let loaded = instance(&format!("use_vmac {wrong}"));
        assert_eq!(said(&loaded, Severity::Error).len(), 1, "{wrong}");
    }
    let loaded = instance("use_vmac vrrp.51");
    let lints = said(&loaded, Severity::Lint);
    assert!(
        lints.iter().any(|lint| lint.contains("vrrp.51")),
        "{lints:?}"
    );
}
