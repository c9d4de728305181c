//! Whole configurations: what they mean, and what is said about broken ones.

mod broken;
mod documentation;
mod guarding;
mod keywords;
mod routing;
mod settled;

use std::{path::Path, time::Duration};

use super::{
    Loaded, Reader,
    diagnostics::Severity,
    model::{TrackKind, Weight},
};

fn read(text: &str) -> Loaded {
    Reader::new(Some("node1")).load_text(Path::new("test.conf"), text.to_owned())
}

/// The diagnostics of a severity, one line each.
fn said(loaded: &Loaded, wanted: Severity) -> Vec<String> {
    let lines = loaded.diagnostics.lines(&loaded.sources);
    lines
        .into_iter()
        .filter(|(severity, _)| *severity == wanted)
        .map(|(_, line)| line)
        .collect()
}

/// The instances that can be served.
fn names(loaded: &Loaded) -> Vec<&str> {
    let instances = loaded.config.instances.iter();
    instances.map(|entry| &*entry.name).collect()
}

const WHOLE: &str = r#"
global_defs {
    router_id lb1
    vrrp_version 3
    vrrp_garp_master_delay 2
    script_user root
    enable_script_security
}
vrrp_script haproxy {
    script "/usr/bin/killall -0 haproxy"   # is it alive?
    interval 0.5
    fall 3
    weight -30
}
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 0.1
    virtual_ipaddress {
        10.7.3.202/16 brd +
        10.7.3.201/16 dev eth0 label eth0:db
        10.7.3.200
    }
    virtual_ipaddress_excluded { 10.8.0.1/24 scope link }
    track_script { haproxy }
    track_interface {
        eth1 weight 10
        eth2
    }
    notify_master "/etc/up.sh a b" root root
    garp_master_repeat 3
}
"#;

#[test]
fn a_whole_configuration_means_what_it_says() {
    let loaded = read(WHOLE);
    assert_eq!(said(&loaded, Severity::Error), Vec::<String>::new());
    assert_eq!(said(&loaded, Severity::Warning), Vec::<String>::new());
    let config = loaded.config;
    assert_eq!(config.global.router_id.as_deref(), Some("lb1"));
    let script = &config.scripts["haproxy"];
    assert_eq!(script.probe.to_string(), "/usr/bin/killall -0 haproxy");
    assert_eq!(
        (script.interval, script.timeout),
        (Duration::from_millis(500), Duration::from_millis(500))
    );
    assert_eq!((script.rise, script.fall), (1, 3));
    let instance = &config.instances[0];
    assert_eq!(
        (instance.vrid, instance.priority, instance.interval_cs),
        (51, 150, 10)
    );
    let addresses: Vec<String> = instance
        .addresses
        .iter()
        .map(|entry| {
            format!(
                "{}/{} {:?} {:?}",
                entry.address, entry.prefix, entry.broadcast, entry.label
            )
        })
        .collect();
    assert_eq!(
        addresses,
        [
            "10.7.3.202/16 Some(10.7.255.255) None",
            "10.7.3.201/16 None Some(\"eth0:db\")",
            "10.7.3.200/32 None None",
        ]
    );
    assert_eq!(instance.excluded[0].prefix, 24);
    assert_eq!(
        instance.tracks[0].weight,
        Weight {
            value: -30,
            reverse: false
        }
    );
    let interfaces: Vec<i32> = instance
        .tracks
        .iter()
        .filter(|track| track.kind == TrackKind::Interface)
        .map(|track| track.weight.value)
        .collect();
    assert_eq!(interfaces, [10, 0]);
    let master = instance.notify.master.as_ref().expect("a script");
    assert_eq!(master.command, "/etc/up.sh a b");
    assert_eq!(instance.announce.repeat, 3);
    assert_eq!(
        instance.announce.delay_ns, 2_000_000_000,
        "inherited from global_defs"
    );
}

/// (lines in the instance, priority).
#[test]
fn the_default_priority_depends_on_state() {
    for (lines, priority) in [
        ("", 100),
        ("state BACKUP", 100),
        ("state MASTER", 255),
        ("priority 7", 7),
    ] {
        let text = format!(
            "vrrp_instance A {{\n version 3\n interface eth0\n virtual_router_id 1\n {lines}\n \
             virtual_ipaddress {{ 10.0.0.1 }}\n}}\n"
        );
        assert_eq!(
            read(&text).config.instances[0].priority,
            priority,
            "{lines}"
        );
    }
}

/// The mission's rule for scripts without a weight: (script weight, tracking weight, nopreempt,
/// global default) to the weight in force.
#[test]
fn a_missing_weight_has_a_stated_meaning() {
    let rows = [
        ("", "", "", "", 2),
        ("", "", "nopreempt", "", 0),
        ("", "", "", "vrrp_script_default_weight 0", 0),
        ("weight 5", "", "", "", 5),
        ("weight 5", "", "nopreempt", "", 5),
        ("weight 5", "weight -7", "", "", -7),
        ("weight 0", "", "", "", 0),
    ];
    for (script, track, preemption, global, expected) in rows {
        let text = format!(
            "global_defs {{\n {global}\n}}\nvrrp_script s {{\n script /bin/true\n {script}\n}}\n\
             vrrp_instance A {{\n state BACKUP\n version 3\n interface eth0\n virtual_router_id 1\n {preemption}\n \
             virtual_ipaddress {{ 10.0.0.1 }}\n track_script {{ s {track} }}\n}}\n"
        );
        let loaded = read(&text);
        let weight = loaded.config.instances[0].tracks[0].weight.value;
        assert_eq!(weight, expected, "{script} {track} {preemption} {global}");
        let unweighted = script.is_empty() && track.is_empty();
        let lints = said(&loaded, Severity::Lint);
        let mentioned = lints.iter().any(|line| line.contains("s has no weight"));
        assert_eq!(mentioned, unweighted, "{lints:?}");
        let warned = said(&loaded, Severity::Warning)
            .iter()
            .any(|line| line.contains("cannot move"));
        assert_eq!(
            warned,
            preemption == "nopreempt" && expected != 0,
            "{script} {preemption}"
        );
    }
}

#[test]
fn scripts_may_come_after_their_users() {
    let text = "vrrp_instance A {\n version 3\n interface eth0\n virtual_router_id 1\n \
                virtual_ipaddress { 10.0.0.1 }\n track_script { s weight 1 }\n}\n\
                vrrp_script s { script /bin/true }\n";
    let loaded = read(text);
    assert_eq!(said(&loaded, Severity::Error), Vec::<String>::new());
    assert_eq!(loaded.config.instances[0].tracks.len(), 1);
}

#[test]
fn braces_stand_where_people_put_them() {
    for text in [
        "vrrp_instance A {\nversion 3\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {\n10.0.0.1\n}\n}",
        "vrrp_instance A\n{\nversion 3\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress\n{\n\n10.0.0.1\n}\n}",
        "vrrp_instance A{ \r\n version 3\r\n interface eth0\r\n virtual_router_id 1\r\n virtual_ipaddress{10.0.0.1}}\r\n",
    ] {
        let loaded = read(text);
        assert_eq!(
            said(&loaded, Severity::Error),
            Vec::<String>::new(),
            "{text}"
        );
        assert_eq!(loaded.config.instances.len(), 1, "{text}");
    }
}

/// (what is broken, the beginning of the diagnostic).
#[test]
fn broken_instances_are_named_and_left_out() {
    let rows = [
        (
            "virtual_router_id 999",
            "test.conf:3:20: error: virtual_router_id cannot be 999",
        ),
        (
            "priority 256",
            "test.conf:3:11: error: priority cannot be 256",
        ),
        (
            "advert_int 41",
            "test.conf:3:2: error: advert_int is too long",
        ),
        (
            "version 2\n authentication { auth_type AH }",
            "test.conf:4:19: error: this kind of authentication is not supported",
        ),
        (
            "unicast_peer { }",
            "test.conf:3:2: error: unicast_peer names nobody",
        ),
        (
            "unicast_peer { fe80::1 }",
            "test.conf:3:17: error: this is not of the family of the virtual addresses",
        ),
        (
            "strict_mode\n unicast_peer { 10.0.0.9 }",
            "test.conf:4:2: error: strict_mode knows no unicast",
        ),
        (
            "strict_mode\n virtual_ipaddress { 2001:db8::1/64 }",
            "test.conf:1:15: error: strict_mode wants a link-local address",
        ),
        (
            "virtual_ipaddress { 10.0.0.300 }",
            "test.conf:3:22: error: 10.0.0.300 is not an IP address",
        ),
        (
            "virtual_ipaddress { 10.0.0.1/33 }",
            "test.conf:3:22: error: /33 is not a prefix length",
        ),
        (
            "virtual_ipaddress { fe80::1/129 }",
            "test.conf:3:22: error: /129 is not a prefix length",
        ),
    ];
    for (broken, diagnostic) in rows {
        let text = format!(
            "vrrp_instance BROKEN {{\n version 3\n {broken}\n interface eth0\n}}\n\
             vrrp_instance WHOLE {{\n version 3\n interface eth0\n virtual_router_id 5\n virtual_ipaddress {{ 10.0.0.5 }}\n}}\n"
        );
        let loaded = read(&text);
        let errors = said(&loaded, Severity::Error);
        assert!(
            errors.iter().any(|line| line.starts_with(diagnostic)),
            "{broken}: {errors:?}"
        );
        assert_eq!(names(&loaded), ["WHOLE"], "{broken}");
    }
}

#[test]
fn an_unclosed_block_does_not_swallow_the_next() {
    let text = "vrrp_instance A {\n version 3\n interface eth0\n virtual_router_id 1\n \
                virtual_ipaddress {\n 10.0.0.1\n\nvrrp_instance B {\n version 3\n interface eth0\n \
                virtual_router_id 2\n virtual_ipaddress { 10.0.0.2 }\n}\n";
    let loaded = read(text);
    let errors = said(&loaded, Severity::Error);
    assert!(
        errors[0].starts_with("test.conf:1:17: error: this block is never closed"),
        "{errors:?}"
    );
    assert!(
        errors[1].starts_with("test.conf:5:20: error: this block is never closed"),
        "{errors:?}"
    );
    assert_eq!(names(&loaded), ["B"]);
}

#[test]
fn duplicates_are_left_out_and_named() {
    let instance = |name: &str, interface: &str, vrid: u8| {
        format!(
            "vrrp_instance {name} {{\n version 3\n interface {interface}\n virtual_router_id {vrid}\n \
             virtual_ipaddress {{ 10.0.0.1 }}\n}}\n"
        )
    };
    let text = instance("A", "eth0", 1)
        + &instance("B", "eth0", 1)
        + &instance("A", "eth0", 2)
        + &instance("C", "eth1", 1);
    let loaded = read(&text);
    let errors = said(&loaded, Severity::Error);
    assert!(
        errors[0].contains("virtual_router_id 1 on eth0 is already that of A"),
        "{errors:?}"
    );
    assert!(
        errors[1].contains("there is another vrrp_instance A"),
        "{errors:?}"
    );
    assert_eq!(names(&loaded), ["A", "C"]);
}

#[test]
fn known_and_unknown_keywords_are_told_apart() {
    let text = "vrrp_instance A {\n version 3\n interface eth0\n virtual_router_id 1\n use_ipvlan\n prioriti 5\n \
                frobnicate { x { y } }\n virtual_ipaddress { 10.0.0.1 }\n}\nvirtual_server 10.0.0.1 80 {\n lb_algo rr\n}\n";
    let loaded = read(text);
    let warnings = said(&loaded, Severity::Warning);
    assert_eq!(
        warnings,
        [
            "test.conf:5:2: warning: use_ipvlan is not supported (Addresses are on the interface itself. It is ignored)",
            "test.conf:6:2: warning: unknown keyword prioriti (did you mean priority? It is ignored)",
            "test.conf:7:2: warning: unknown keyword frobnicate (it is ignored)",
        ]
    );
    assert_eq!(
        said(&loaded, Severity::Lint).len(),
        1,
        "load balancing is skipped with one notice"
    );
    assert_eq!(loaded.config.instances.len(), 1);
}

#[test]
fn diagnostics_underline_the_text() {
    let loaded =
        read("vrrp_instance A {\n version 3\n interface eth0\n virtual_router_id 999\n}\n");
    let shown = loaded.diagnostics.render(&loaded.sources, false);
    assert!(
        shown.contains("test.conf:4:20: virtual_router_id cannot be 999"),
        "{shown}"
    );
    assert!(shown.contains(" virtual_router_id 999"), "{shown}");
    assert!(shown.contains("───"), "{shown}");
    assert!(
        shown.contains("help: a whole number from 1 to 255"),
        "{shown}"
    );
}

#[test]
fn included_files_are_read_beside_the_including_one() {
    let directory = std::env::temp_dir().join(format!("xvrrp-include-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("d")).unwrap();
    let instance = "vrrp_instance A {\n version 3\n interface eth0\n virtual_router_id 0\n}\n";
    std::fs::write(
        directory.join("main.conf"),
        "include d/*.conf\ninclude none.conf\n",
    )
    .unwrap();
    std::fs::write(directory.join("d/a.conf"), instance).unwrap();
    let loaded = Reader::default()
        .load(&directory.join("main.conf"))
        .unwrap();
    let errors = said(&loaded, Severity::Error);
    assert!(
        errors[0].contains("d/a.conf:4:20: error: virtual_router_id cannot be 0"),
        "{errors:?}"
    );
    assert!(
        said(&loaded, Severity::Warning)
            .iter()
            .any(|line| line.contains("no file matches"))
    );
    std::fs::write(directory.join("main.conf"), "include main.conf\n").unwrap();
    let loaded = Reader::default()
        .load(&directory.join("main.conf"))
        .unwrap();
    assert!(said(&loaded, Severity::Error)[0].contains("is being read already"));
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn deep_nesting_and_byte_order_marks_are_survived() {
    let deep = "a {\n".repeat(200_000);
    assert!(
        said(&read(&deep), Severity::Error)
            .iter()
            .any(|line| line.contains("nested too deeply"))
    );
    let marked = "\u{feff}vrrp_instance A {\n version 3\n interface eth0\n virtual_router_id 1\n \
                  virtual_ipaddress { 10.0.0.1 }\n}\n";
    assert_eq!(read(marked).config.instances.len(), 1);
}

#[test]
fn what_stands_behind_a_value_is_mentioned() {
    let loaded = read(
        "vrrp_script s {\n script /usr/bin/killall -0 haproxy\n interval 1 2\n}\n\
         global_defs { enable_script_security }\n",
    );
    let warnings = said(&loaded, Severity::Warning);
    assert!(
        warnings[0].contains("script takes one value; -0 is ignored"),
        "{warnings:?}"
    );
    assert!(
        warnings[1].contains("interval takes one value; 2 is ignored"),
        "{warnings:?}"
    );
}

#[test]
fn commands_are_checked_as_they_will_be_run() {
    let command = |line: &str| read(&format!("vrrp_script s {{\n script {line}\n}}\n"));
    for fine in ["'/bin/check a b'", "\"it's \\$HOME | cat\"", "/bin/true"] {
        let loaded = command(fine);
        assert_eq!(
            said(&loaded, Severity::Error),
            Vec::<String>::new(),
            "{fine}"
        );
        assert_eq!(loaded.config.scripts.len(), 1, "{fine}");
    }
    assert_eq!(
        command("'/bin/check a b'").config.scripts["s"]
            .probe
            .to_string(),
        "/bin/check a b"
    );
    for broken in ["\"\"", "\"/bin/check 'a\""] {
        assert_eq!(said(&command(broken), Severity::Error).len(), 1, "{broken}");
    }
}

#[test]
fn odd_files_are_survived() {
    for text in [
        "",
        "}",
        "{",
        "{}",
        "\"",
        "vrrp_instance",
        "vrrp_instance {",
        "include",
        "\0\0",
        "a { b { c",
        "vrrp_script s {}",
        "global_defs",
        "!",
    ] {
        let loaded = read(text);
        assert!(loaded.config.instances.is_empty(), "{text:?}");
    }
}
