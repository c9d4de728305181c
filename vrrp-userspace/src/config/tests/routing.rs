//! Routes, rules and addresses beside those of an instance's own interface.

use super::{Severity, read, said};

fn instance(block: &str, lines: &str) -> super::Loaded {
    read(&format!(
        "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{ 10.0.0.1 }}\n \
         {block} {{\n{lines}\n}}\n}}\n"
    ))
}

#[test]
fn routes_are_read_as_iproute2_writes_them() {
    let lines = "src 192.168.100.1 192.168.109.0/24 via 192.168.200.254 dev eth1
        192.168.110.0/24 gw 192.168.200.254 dev eth1
        192.168.111.0/24 dev eth2
        192.168.113.0/24 via 192.168.100.252 or 192.168.100.253
        blackhole 192.168.113.1/32
        default via 192.168.200.254 metric 5
        0.0.0.0/0 gw 192.168.0.1 table 100
        to default via inet6 fe80::1 dev eth0
        10.9.0.0/16 nexthop via 10.0.0.2 dev eth0 weight 2 nexthop via 10.0.0.3 onlink";
    let loaded = instance("virtual_routes", lines);
    assert_eq!(said(&loaded, Severity::Error), Vec::<String>::new());
    let routes = &loaded.config.instances[0].routes;
    let shown: Vec<String> = routes.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "192.168.109.0/24 via 192.168.200.254 dev eth1",
            "192.168.110.0/24 via 192.168.200.254 dev eth1",
            "192.168.111.0/24 dev eth2",
            "192.168.113.0/24 via 192.168.100.252 via 192.168.100.253",
            "blackhole 192.168.113.1/32",
            "default via 192.168.200.254",
            "default via 192.168.0.1 table 100",
            "default via fe80::1 dev eth0",
            "10.9.0.0/16 via 10.0.0.2 dev eth0 via 10.0.0.3",
        ]
    );
    assert_eq!(routes[0].source, "192.168.100.1".parse().ok());
    assert_eq!(routes[5].metric, Some(5));
    assert!(routes[7].destination.address.is_ipv6());
    let weights: Vec<u16> = routes[8].hops.iter().map(|hop| hop.weight).collect();
    assert_eq!(weights, [2, 1]);
    assert!(routes[8].hops[1].onlink && !routes[8].hops[0].onlink);
}

#[test]
fn a_route_that_would_mean_something_else_is_left_out() {
    for (line, expected) in [
        ("10.1.0.0/16", "no way to go"),
        ("via 10.0.0.2", "leads nowhere"),
        (
            "10.1.0.0/16 via 10.0.0.2 encap mpls 7",
            "encap is not supported",
        ),
        ("10.1.0.0/16 via fe80::1", "mixes IPv4 and IPv6"),
        ("10.1.0.1/16 via 10.0.0.2", "not a network"),
        ("10.1.0.0/33 via 10.0.0.2", "not a network"),
        ("10.1.0.0/16 via nobody", "not an IP address"),
        ("10.1.0.0/16 via", "needs a value"),
        (
            "10.1.0.0/16 via 10.0.0.2 table nowhere",
            "no routing table nowhere",
        ),
        ("10.1.0.0/16 via 10.0.0.2 table 0", "no routing table 0"),
        ("10.1.0.0/16 via 10.0.0.2 scope far", "not a scope"),
        ("10.1.0.0/16 via 10.0.0.2 mtu 7", "cannot be 7"),
        (
            "10.1.0.0/16 10.2.0.0/16 via 10.0.0.2",
            "10.2.0.0/16 is not supported",
        ),
    ] {
        let loaded = instance("virtual_routes", line);
        let errors = said(&loaded, Severity::Error);
        assert!(
            errors.len() == 1 && errors[0].contains(expected),
            "{line}: {errors:?}"
        );
        assert!(loaded.config.instances[0].routes.is_empty(), "{line}");
    }
}

#[test]
fn rules_are_read_and_given_a_fixed_priority() {
    let lines = "from 192.168.200.0/24 table 2
        to 192.168.200.0/24 lookup main
        inet6 fwmark 0x7/0xff table 3
        from all iif eth1 oif eth2 priority 7 unreachable
        from 2001:db8::/32 blackhole";
    let loaded = instance("virtual_rules", lines);
    assert_eq!(said(&loaded, Severity::Error), Vec::<String>::new());
    let rules = &loaded.config.instances[0].rules;
    let shown: Vec<(String, Option<u32>, bool)> = rules
        .iter()
        .map(|rule| (rule.to_string(), rule.priority, rule.is_v6))
        .collect();
    let row = |text: &str, priority, is_v6| (text.to_owned(), Some(priority), is_v6);
    assert_eq!(
        shown,
        [
            row("from 192.168.200.0/24 table 2", 16_384, false),
            row("from all to 192.168.200.0/24 table 254", 16_383, false),
            row("from all table 3", 16_384, true),
            row("from all unreachable", 7, false),
            row("from 2001:db8::/32 blackhole", 16_383, true),
        ]
    );
    assert_eq!(rules[2].mark, Some((7, Some(0xff))));
    for (line, expected) in [
        ("from 10.0.0.0/8", "does nothing"),
        (
            "from 10.0.0.0/8 to fe80::/64 table 2",
            "mixes IPv4 and IPv6",
        ),
        ("from 10.0.0.0/8 goto 7", "goto is not supported"),
        ("to 192.168.200./24 table 2", "not a network"),
        ("fwmark x table 2", "no mark"),
        ("from 10.0.0.0/8 table 5 table 6", "something already"),
        ("iif abcdefghijklmnop table 5", "cannot be an interface"),
    ] {
        let loaded = instance("virtual_rules", line);
        let errors = said(&loaded, Severity::Error);
        assert!(
            errors.len() == 1 && errors[0].contains(expected),
            "{line}: {errors:?}"
        );
    }
}

#[test]
fn addresses_may_be_elsewhere_and_static_ones_are() {
    let loaded = instance(
        "virtual_ipaddress_excluded",
        "10.7.0.1/24 dev eth1 no_track noprefixroute\n10.7.0.2/24 dev eth0",
    );
    let excluded = &loaded.config.instances[0].excluded;
    assert_eq!(excluded[0].interface.as_deref(), Some("eth1"));
    assert!(!excluded[0].tracked && !excluded[0].prefix_route);
    assert_eq!(excluded[1].interface, None, "its own");
    let loaded = read(
        "static_ipaddress {\n 10.7.0.1/24 dev eth1 scope link\n 10.7.0.2/24\n}\n\
         static_routes { 10.8.0.0/16 via 10.7.0.9 }\nstatic_rules { from 10.7.0.1 table 9 }\n",
    );
    for odd in ["../../etc", "abcdefghijklmnop", "eth0:1"] {
        let lines = format!("10.7.0.1/24 dev {odd}");
        let broken = instance("virtual_ipaddress_excluded", &lines);
        let errors = said(&broken, Severity::Error);
        let expected = format!("{odd} cannot be an interface");
        assert!(errors[0].contains(&expected), "{errors:?}");
        assert!(broken.config.instances.is_empty(), "{odd}");
    }
    let statics = &loaded.config.statics;
    assert_eq!((statics.addresses.len(), statics.routes.len()), (2, 1));
    assert_eq!(statics.rules[0].priority, Some(16_384));
    assert_eq!(statics.addresses[1].interface.as_deref(), Some("eth0"));
    let named = read(
        "global_defs { default_interface br0 }\nstatic_ipaddress { 10.7.0.2/24 }\nstatic_routes { 10.8.0.0/16 }\n",
    );
    let address = &named.config.statics.addresses[0];
    assert_eq!(address.interface.as_deref(), Some("br0"));
    let errors = said(&named, Severity::Error);
    assert!(errors[0].contains("has no way to go"), "{errors:?}");
}

#[test]
fn two_instances_share_neither_address_nor_virtual_mac() {
    let instance = |name: &str, vrid: u8, lines: &str| {
        format!(
            "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n {lines}\n}}\n"
        )
    };
    let address = "virtual_ipaddress { 10.0.0.1 }";
    let other = "virtual_ipaddress { 10.0.0.2 }";
    let there = "virtual_ipaddress { 10.0.0.2 }\n virtual_ipaddress_excluded { 10.0.0.1 dev eth1 }";
    let five = |lines: &str| format!("use_vmac 02:1:1:1:1\n {lines}");
    let rows = [
        (
            address.to_owned(),
            2,
            address.to_owned(),
            "already an address",
        ),
        (
            five(address),
            1,
            five("virtual_ipaddress { fe80::1 }"),
            "virtual MAC",
        ),
        (address.to_owned(), 2, other.to_owned(), ""),
        (address.to_owned(), 2, there.to_owned(), ""),
        (five(address), 2, five(other), ""),
        (
            format!("use_vmac\n {address}"),
            1,
            "use_vmac\n virtual_ipaddress { fe80::1 }".to_owned(),
            "",
        ),
    ];
    for (first, vrid, second, expected) in rows {
        let loaded = read(&(instance("A", 1, &first) + &instance("B", vrid, &second)));
        let errors = said(&loaded, Severity::Error);
        if expected.is_empty() {
            assert_eq!(errors, Vec::<String>::new(), "{first} {second}");
            assert_eq!(loaded.config.instances.len(), 2);
        } else {
            assert!(
                errors.len() == 1 && errors[0].contains(expected),
                "{errors:?}"
            );
            assert_eq!(loaded.config.instances.len(), 1);
        }
    }
}
