//! What guards the addresses: the lease, whom to believe, how the election is scheduled.

use std::net::IpAddr;

use vrrp_common::slot::LeaseMode;

use super::{Severity, read, said};
use crate::election::Scheduling;

/// An instance with these lines, over IPv4.
fn with(lines: &str) -> String {
    format!(
        "vrrp_instance A {{\n state MASTER\n version 3\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{\n \
         10.0.0.1\n }}\n{lines}\n}}\n"
    )
}

#[test]
fn the_lease_has_three_modes() {
    for (line, expected) in [
        ("", LeaseMode::Strict),
        (" lease strict", LeaseMode::Strict),
        (" lease peer", LeaseMode::Peer),
        (" lease off", LeaseMode::Off),
    ] {
        let loaded = read(&with(line));
        assert_eq!(
            said(&loaded, Severity::Error),
            Vec::<String>::new(),
            "{line}"
        );
        assert_eq!(loaded.config.instances[0].lease, expected, "{line}");
    }
    let loaded = read(&with(" lease maybe"));
    let errors = said(&loaded, Severity::Error);
    assert!(errors[0].contains("lease cannot be maybe"), "{errors:?}");
    assert_eq!(loaded.config.instances[0].lease, LeaseMode::Strict);
}

#[test]
fn accept_from_names_the_routers_that_count() {
    for block in [
        " accept_from 10.0.0.2 10.0.0.3",
        " accept_from {\n 10.0.0.2\n 10.0.0.3\n }",
        " accept_from { 10.0.0.2 10.0.0.3 }",
    ] {
        let loaded = read(&with(block));
        let expected: Vec<IpAddr> = ["10.0.0.2", "10.0.0.3"]
            .map(|it| it.parse().unwrap())
            .into();
        assert_eq!(loaded.config.instances[0].accept_from, expected, "{block}");
        assert_eq!(loaded.config.peer_count(), 2, "room in the kernel");
    }
    for (block, complaint) in [
        (" accept_from {\n }", "names nobody"),
        (" accept_from { fe80::1 }", "not of the family"),
    ] {
        let loaded = read(&with(block));
        let errors = said(&loaded, Severity::Error);
        assert!(
            errors.iter().any(|line| line.contains(complaint)),
            "{errors:?}"
        );
        assert!(loaded.config.instances.is_empty(), "{block}: left out");
    }
    let loaded = read(&with(
        " unicast_peer { 10.0.0.2 }\n accept_from { 10.0.0.2 }",
    ));
    let warnings = said(&loaded, Severity::Warning);
    assert!(
        warnings.iter().any(|it| it.contains("does not go with")),
        "{warnings:?}"
    );
    assert!(loaded.config.instances[0].accept_from.is_empty());
}

#[test]
fn the_election_is_scheduled_as_configured() {
    let of = |lines: &str| {
        let loaded = read(&format!("global_defs {{\n{lines}\n}}\n{}", with("")));
        (
            loaded.config.global.scheduling.clone(),
            said(&loaded, Severity::Error),
        )
    };
    let (scheduling, errors) = of("");
    assert_eq!(
        (scheduling.rt_priority, errors.len()),
        (1, 0),
        "before every ordinary thread"
    );
    let (scheduling, errors) = of(
        " vrrp_rt_priority 0\n vrrp_priority -20\n vrrp_no_swap\n vrrp_cpu_affinity 0 2\n \
         vrrp_rlimit_rttime 10000",
    );
    assert_eq!(errors, Vec::<String>::new());
    let expected = Scheduling {
        rt_priority: 0,
        nice: Some(-20),
        rttime_limit_us: Some(10_000),
        no_swap: true,
        cpus: vec![0, 2],
    };
    assert_eq!(scheduling, expected);
    let (scheduling, errors) = of(" vrrp_rt_priority 100\n vrrp_cpu_affinity x");
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(scheduling, Scheduling::default());
}
