//! Metrics over HTTP, read by a real Prometheus, whose rules fire at a failover.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;
use xvrrp_tests::{
    LONG,
    netns::{Lan, Namespace},
    process::{Process, Scratch},
    wait_for,
    xvrrp::{Xvrrp, instance},
};

const METRICS: &str = "127.0.0.1:9650";
const PROMETHEUS: &str = "127.0.0.1:9090";

/// `GET` from inside a namespace. Head and body.
fn get(host: &Namespace, address: &str, path: &str, accept: &str) -> Option<(String, String)> {
    host.enter(|| {
        let mut stream = TcpStream::connect(address).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nhost: x\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.to_owned(), body.to_owned()))
    })
}

fn router(host: &Namespace, scratch: &Scratch, priority: u8, more: &str) -> Xvrrp {
    host.ip("link set lo up");
    let script = format!(
        "global_defs {{\n notify_fifo {}\n}}\nvrrp_script fine {{\n script \"/bin/true\"\n interval 0.2\n \
         weight 1\n}}\n",
        scratch.path("fifo").display()
    );
    let track = format!(" track_script {{\n  fine\n }}\n{more}");
    let config = script + &instance(priority, 0.1, &track);
    let path = scratch.write(&format!("{}.conf", host.name()), &config);
    let path = path.display().to_string();
    Xvrrp::run(host, scratch, &["--config", &path, "--metrics", METRICS])
}

fn page(host: &Namespace, path: &str) -> String {
    let answer = wait_for("the metrics", LONG, || {
        get(host, METRICS, path, "*/*").filter(|(head, _)| head.contains(" 200 "))
    });
    answer.1
}

fn promtool(words: &[&str], input: Option<&str>) {
    let mut command = Command::new("promtool");
    command
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("run promtool");
    let mut stdin = child.stdin.take().expect("its input");
    stdin
        .write_all(input.unwrap_or_default().as_bytes())
        .expect("write to it");
    drop(stdin);
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success(), "promtool {words:?}: {output:?}");
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging")
}

#[test]
fn metrics_say_how_everything_stands() {
    let lan = Lan::pair();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("metrics");
    let daemon = router(
        host,
        &scratch,
        120,
        " virtual_ipaddress_excluded {\n  10.9.0.200/32\n }\n",
    );
    daemon.wait_state(host, "MASTER", LONG);
    let own = page(host, "/metrics");
    let labels = r#"instance="VI",interface="eth0",vrid="51""#;
    for wanted in [
        format!("xvrrp_instance_state{{{labels},state=\"MASTER\"}} 1.0"),
        format!("xvrrp_instance_state{{{labels},state=\"BACKUP\"}} 0.0"),
        format!("xvrrp_instance_priority{{{labels}}} 121.0"),
        format!("xvrrp_instance_base_priority{{{labels}}} 120.0"),
        format!("xvrrp_instance_check_share{{{labels},check=\"fine\",kind=\"script\"}} 1.0"),
        format!("xvrrp_instance_became_master_total{{{labels}}} 1"),
        "xvrrp_instance_transitions_total{instance=\"VI\",state=\"MASTER\",cause=\"master_timeout\"} 1".to_owned(),
        "xvrrp_interface_attached{interface=\"eth0\",mode=\"tc\"} 1.0".to_owned(),
        "xvrrp_interface_fence{interface=\"eth0\"} 1.0".to_owned(),
        "xvrrp_interface_adverts_rejected_total{interface=\"eth0\",reason=\"ttl\"} 0".to_owned(),
        "xvrrp_check_up{check=\"fine\",kind=\"script\"} 1.0".to_owned(),
    ] {
        assert!(own.lines().any(|line| line == wanted), "{wanted} in {own}");
    }
    assert!(
        own.contains("xvrrp_failover_delay_seconds_bucket{le=\"+Inf\"}"),
        "{own}"
    );
    promtool(&["check", "metrics"], Some(&own));
    let newer = get(
        host,
        METRICS,
        "/metrics",
        "application/openmetrics-text;version=1.0.0",
    )
    .expect("an answer");
    assert!(
        newer
            .0
            .contains("application/openmetrics-text; version=1.0.0"),
        "{}",
        newer.0
    );
    assert!(newer.1.ends_with("# EOF\n"));
    let health = get(host, METRICS, "/healthz", "*/*").expect("an answer");
    assert!(
        health.0.contains(" 200 ") && health.1 == "ok\n",
        "{health:?}"
    );
}

/// Every name of keepalived-exporter, with its labels.
#[test]
fn the_names_of_keepalived_exporter_are_there() {
    let lan = Lan::pair();
    let host = &lan.hosts[0];
    let scratch = Scratch::new("exporter");
    let more = " virtual_ipaddress_excluded {\n  10.9.0.200/32\n }\n";
    let daemon = router(host, &scratch, 120, more);
    daemon.wait_state(host, "MASTER", LONG);
    let theirs = page(host, "/metrics/keepalived");
    let of_instance = r#"{iname="VI",intf="eth0",vrid="51"}"#;
    let counters = [
        "advertisements_received",
        "advertisements_sent",
        "become_master",
        "release_master",
        "packet_length_errors",
        "advertisements_interval_errors",
        "ip_ttl_errors",
        "invalid_type_received",
        "address_list_errors",
        "authentication_invalid",
        "authentication_mismatch",
        "authentication_failure",
        "priority_zero_received",
        "priority_zero_sent",
        "gratuitous_arp_delay",
    ];
    let mut wanted: Vec<String> = counters
        .iter()
        .map(|name| format!("keepalived_{name}_total{of_instance} "))
        .collect();
    wanted.extend([
        "keepalived_up{} 1.0".to_owned(),
        r#"keepalived_vrrp_state{iname="VI",intf="eth0",vrid="51",ip_address="10.9.0.100/24"} 2.0"#.to_owned(),
        r#"keepalived_vrrp_excluded_state{iname="VI",intf="eth0",vrid="51",ip_address="10.9.0.200"} 2.0"#.to_owned(),
        r#"keepalived_script_status{name="fine"} 1.0"#.to_owned(),
        r#"keepalived_script_state{name="fine"} "#.to_owned(),
    ]);
    for wanted in wanted {
        assert!(
            theirs.lines().any(|line| line.starts_with(&wanted)),
            "{wanted} in {theirs}"
        );
    }
    promtool(&["check", "metrics"], Some(&theirs));
}

/// The dashboard and the rules ask for nothing that is not served.
#[test]
fn the_dashboard_and_the_rules_know_the_names() {
    let lan = Lan::pair();
    let scratches = [0, 1].map(|number| Scratch::new(&format!("dashboard-{number}")));
    let routers = [(0, 150), (1, 100)].map(|(number, priority): (usize, u8)| {
        router(&lan.hosts[number], &scratches[number], priority, "")
    });
    // Some only a MASTER has, and some only a BACKUP.
    let pages = [(0, "MASTER"), (1, "BACKUP")].map(|(number, state): (usize, &str)| {
        let host = &lan.hosts[number];
        routers[number].wait_state(host, state, LONG);
        page(host, "/metrics")
    });
    let lines = pages.iter().flat_map(|page| page.lines());
    let known: BTreeSet<&str> = lines
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let dashboard =
        std::fs::read_to_string(packaging().join("grafana/xvrrp.json")).expect("the dashboard");
    let parsed: Value = serde_json::from_str(&dashboard).expect("JSON");
    assert!(
        parsed["panels"]
            .as_array()
            .is_some_and(|panels| panels.len() >= 10)
    );
    let rules =
        std::fs::read_to_string(packaging().join("prometheus/xvrrp.rules.yml")).expect("the rules");
    let mut asked = BTreeSet::new();
    for text in [&dashboard, &rules] {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        asked.extend(words.filter(|word| word.starts_with("xvrrp_")));
    }
    assert!(asked.len() > 15, "{asked:?}");
    for name in asked {
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(known.contains(name), "{name} is not served: {known:?}");
    }
    let path = packaging().join("prometheus/xvrrp.rules.yml");
    promtool(&["check", "rules", &path.display().to_string()], None);
}

#[test]
fn a_real_prometheus_scrapes_and_its_alert_fires() {
    let lan = Lan::pair();
    let scratches = [0, 1].map(|number| Scratch::new(&format!("prometheus-{number}")));
    let [mut master, backup] = [(0, 150), (1, 100)].map(|(number, priority): (usize, u8)| {
        router(&lan.hosts[number], &scratches[number], priority, "")
    });
    master.wait_state(&lan.hosts[0], "MASTER", LONG);
    let host = &lan.hosts[1];
    backup.wait_state(host, "BACKUP", LONG);
    let rules = packaging()
        .join("prometheus/xvrrp.rules.yml")
        .canonicalize()
        .expect("the rules");
    let config = format!(
        "global:\n  scrape_interval: 200ms\n  evaluation_interval: 200ms\nrule_files:\n  - {}\nscrape_configs:\n  \
         - job_name: xvrrp\n    static_configs:\n      - targets: ['{METRICS}']\n  - job_name: exporter\n    \
         metrics_path: /metrics/keepalived\n    static_configs:\n      - targets: ['{METRICS}']\n",
        rules.display()
    );
    let config = scratches[1].write("prometheus.yml", &config);
    promtool(&["check", "config", &config.display().to_string()], None);
    let mut command = host.command("prometheus");
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            scratches[1].path("tsdb").display()
        ))
        .arg(format!("--web.listen-address={PROMETHEUS}"));
    let _prometheus = Process::start(command, &scratches[1].path("prometheus.log"));
    let ask = |path: &str| -> Option<Value> {
        let (_, body) = get(host, PROMETHEUS, path, "*/*")?;
        serde_json::from_str(&body).ok()
    };
    let value = |query: &str| -> Option<String> {
        let answer = ask(&format!("/api/v1/query?query={query}"))?;
        Some(answer["data"]["result"][0]["value"][1].as_str()?.to_owned())
    };
    wait_for("both jobs to be up", LONG, || {
        (value("sum(up)")? == "2").then_some(())
    });
    wait_for("the state", LONG, || {
        let of_ours = value("xvrrp_instance_state%7Bstate%3D%22BACKUP%22%7D")?;
        let of_theirs = value("keepalived_vrrp_state")?;
        (of_ours == "1" && of_theirs == "1").then_some(())
    });
    let is_firing = |name: &str| -> Option<bool> {
        let answer = ask("/api/v1/alerts")?;
        let alerts = answer["data"]["alerts"].as_array()?;
        let mut named = alerts.iter().filter(|it| it["labels"]["alertname"] == name);
        Some(named.any(|it| it["state"] == "firing"))
    };
    assert_eq!(
        is_firing("XvrrpFailover"),
        Some(false),
        "nothing has happened"
    );
    master.terminate();
    backup.wait_state(host, "MASTER", LONG);
    wait_for("the alert of a failover", LONG, || {
        is_firing("XvrrpFailover")?.then_some(())
    });
}
