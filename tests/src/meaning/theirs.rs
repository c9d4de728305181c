//! As keepalived dumps it (`--dump-conf`).

use super::{Fields, Meaning, in_order};
use crate::{LONG, keepalived::Keepalived, netns::Namespace, process::Scratch, wait_for};

/// Starts keepalived with a file, and returns what it dumps, and everything it says.
pub fn dump(namespace: &Namespace, scratch: &Scratch, config: &str, options: &[&str]) -> String {
    let options = [&["--dump-conf"], options].concat();
    let keepalived = Keepalived::with_options(namespace, scratch, config, &options);
    let ends = |log: &String| log.contains("< Interfaces >") || log.contains("Stopped Keepalived");
    wait_for("keepalived's dump", LONG, || {
        Some(keepalived.log()).filter(ends)
    })
}

/// What the dump says.
pub fn of_dump(log: &str) -> Meaning {
    let mut meaning = Meaning::default();
    let mut section = String::new();
    // What happens meanwhile is told in between, without white space in front.
    let is_dumped = |line: &&str| line.starts_with(' ') || line.starts_with("------<");
    let mut lines = log.lines().map(without_date).filter(is_dumped).peekable();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("------< ") {
            title.trim_end_matches(" >------").clone_into(&mut section);
            continue;
        }
        let trimmed = line.trim();
        match section.as_str() {
            "Global definitions" => global(trimmed, &mut meaning.global),
            "Static Addresses" => meaning
                .statics
                .push(format!("address {}", address(trimmed))),
            "Static Routes" => meaning.statics.push(format!("route {}", route(trimmed))),
            "Static Rules" => meaning.statics.push(format!("rule {}", rule(trimmed))),
            "VRRP Topology" => {
                if let Some(name) = trimmed.strip_prefix("VRRP Instance = ") {
                    let body = block(&mut lines, 1);
                    meaning.instances.insert(name.to_owned(), instance(&body));
                }
            }
            "VRRP Scripts" => {
                if let Some(name) = trimmed.strip_prefix("VRRP Script = ") {
                    let body = block(&mut lines, 1);
                    meaning.scripts.insert(name.to_owned(), script(&body));
                }
            }
            "VRRP Sync groups" => {
                if let Some(name) = trimmed.strip_prefix("VRRP Sync Group = ") {
                    let name = name.split(',').next().unwrap_or_default();
                    let members = list(&block(&mut lines, 1), "VRRP member instances");
                    meaning.groups.insert(name.to_owned(), members);
                }
            }
            _ => {}
        }
    }
    meaning
}

/// `Wed Nov 25 23:10:54 2026: ` is in front of every line.
fn without_date(line: &str) -> &str {
    line.get(26..).unwrap_or_default()
}

fn depth(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The lines that are further in.
fn block<'a>(
    lines: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    outside: usize,
) -> Vec<&'a str> {
    let mut body = Vec::new();
    while let Some(line) = lines.next_if(|line| depth(line) > outside) {
        body.push(line);
    }
    body
}

/// The lines below a title of a block.
fn list(body: &[&str], title: &str) -> Vec<String> {
    let start = body.iter().position(|line| line.trim().starts_with(title));
    let Some(start) = start else {
        return Vec::new();
    };
    let inside = depth(body[start]);
    let lines = body[start + 1..].iter();
    lines
        .take_while(|line| depth(line) > inside)
        .map(|line| line.trim().to_owned())
        .collect()
}

fn value<'a>(body: &[&'a str], name: &str) -> Option<&'a str> {
    let found = body.iter().find_map(|line| line.trim().strip_prefix(name));
    found.map(|rest| rest.trim_start_matches([' ', '=']))
}

fn global(line: &str, fields: &mut Fields) {
    let Some((name, value)) = line.split_once(" = ") else {
        if line == "Script security disabled" || line == "Script security enabled" {
            fields.insert("script_security", line.ends_with("enabled").to_string());
        }
        return;
    };
    let name = match name {
        "Router ID" => "router_id",
        "Dynamic interfaces" => "dynamic_interfaces",
        "Default interface" => "default_interface",
        "VRRP IPv4 mcast group" => "group4",
        "VRRP IPv6 mcast group" => "group6",
        "Gratuitous ARP delay" => "garp_delay",
        "Gratuitous ARP repeat" => "garp_repeat",
        "Gratuitous ARP refresh timer" => "garp_refresh",
        "Gratuitous ARP refresh repeat" => "garp_refresh_repeat",
        "Gratuitous ARP lower priority delay" => "garp_lower_delay",
        "Gratuitous ARP lower priority repeat" => "garp_lower_repeat",
        "Gratuitous ARP interval" => "garp_interval",
        "Gratuitous NA interval" => "gna_interval",
        "Num adverts before down" => "down_timer_adverts",
        "VRRP strict mode" => "strict",
        _ => return,
    };
    fields.insert(name, value.to_owned());
}

fn instance(body: &[&str]) -> Fields {
    let text = |name: &str| value(body, name).unwrap_or_default().to_owned();
    let is = |name: &str, wanted: &str| (value(body, name) == Some(wanted)).to_string();
    let addresses = |title| {
        list(body, title)
            .iter()
            .map(|it| address(it))
            .collect::<Vec<_>>()
    };
    let (virtual_ip, excluded) = (addresses("Virtual IP ("), addresses("Virtual IP Excluded"));
    let advertised: Vec<&str> = virtual_ip
        .iter()
        .filter_map(|it| it.split([' ', '/']).next())
        .collect();
    let first = text("Interface");
    let interface = first
        .split_once(", vmac on ")
        .map_or(&*first, |(_, base)| base);
    let password = if text("Authentication type") == "SIMPLE_PASSWORD" {
        text("Password")
    } else {
        String::new()
    };
    Fields::from([
        ("version", text("VRRP Version")),
        ("state", text("Wantstate")),
        ("interface", interface.to_owned()),
        ("vrid", text("Virtual Router ID")),
        ("priority", text("Priority")),
        ("interval_ms", interval(&text("Advert interval"))),
        ("use_vmac", value(body, "Use VMAC").is_some().to_string()),
        ("group", text("Sync group")),
        ("accept", is("Accept", "enabled")),
        ("preempt", is("Preempt", "enabled")),
        ("preempt_delay", delay(&text("Preempt delay"))),
        ("promote_secondaries", is("Promote_secondaries", "enabled")),
        ("down_timer_adverts", text("Down timer adverts")),
        (
            "lower_prio_no_advert",
            is("Send advert after receive lower priority advert", "false"),
        ),
        (
            "higher_prio_send_advert",
            is("Send advert after receive higher priority advert", "true"),
        ),
        ("garp_delay", text("Gratuitous ARP delay")),
        ("garp_repeat", text("Gratuitous ARP repeat")),
        ("garp_refresh", text("Gratuitous ARP refresh =")),
        ("garp_refresh_repeat", text("Gratuitous ARP refresh repeat")),
        (
            "garp_lower_delay",
            text("Gratuitous ARP lower priority delay"),
        ),
        (
            "garp_lower_repeat",
            text("Gratuitous ARP lower priority repeat"),
        ),
        ("password", password),
        ("peers", list(body, "Unicast Peer").join(", ")),
        ("advertised", advertised.join(", ")),
        ("addresses", once(&virtual_ip)),
        ("excluded", excluded.join(", ")),
        ("routes", in_words(&list(body, "Virtual Routes"), route)),
        ("rules", in_words(&list(body, "Virtual Rules"), rule)),
        ("track_scripts", list(body, "Tracked scripts").join(", ")),
        (
            "track_interfaces",
            list(body, "Tracked interfaces").join(", "),
        ),
    ])
}

/// An address that is written twice is on the interface as the first says.
fn once(addresses: &[String]) -> String {
    let mut kept: Vec<&String> = Vec::new();
    for entry in addresses {
        let of = |it: &str| it.split([' ', '/']).next().map(str::to_owned);
        if !kept.iter().any(|known| of(known) == of(entry)) {
            kept.push(entry);
        }
    }
    kept.into_iter().cloned().collect::<Vec<_>>().join(", ")
}

fn in_words(lines: &[String], read: fn(&str) -> String) -> String {
    lines
        .iter()
        .map(|line| read(line))
        .collect::<Vec<_>>()
        .join(", ")
}

/// `1 sec`, `12000 milli-sec`.
fn interval(text: &str) -> String {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number: f64 = number.parse().expect("a number");
    let factor = if unit == "sec" { 1000.0 } else { 1.0 };
    (number * factor).to_string()
}

fn delay(text: &str) -> String {
    let seconds = text.trim_end_matches(" secs").trim_end_matches(" sec");
    seconds.parse::<f64>().unwrap_or_default().to_string()
}

fn script(body: &[&str]) -> Fields {
    let text = |name: &str| value(body, name).unwrap_or_default().to_owned();
    let number = |name: &str| {
        let text = text(name);
        text.trim_end_matches(" sec")
            .parse::<f64>()
            .map_or(text, |it| it.to_string())
    };
    Fields::from([
        ("command", text("Command")),
        ("interval", number("Interval")),
        ("timeout", number("Timeout")),
        ("weight", text("Weight")),
        ("rise", text("Rise")),
        ("fall", text("Fall")),
    ])
}

/// `IP[/PREFIX] dev IF scope S [label L] [set]`; a device of keepalived's own (`vrrp.1@eth0`) is where its
/// interface is.
fn address(line: &str) -> String {
    let mut words = Vec::new();
    for word in line.split_whitespace().filter(|word| *word != "set") {
        words.push(word.split_once('@').map_or(word, |(_, base)| base));
    }
    words.join(" ")
}

fn route(line: &str) -> String {
    let line = line.split(" [installed").next().unwrap_or_default();
    let mut words = Vec::new();
    let mut left = line.split_whitespace();
    let mut say = |key: &str, value: &str| words.push((key.to_owned(), value.to_owned()));
    while let Some(word) = left.next() {
        match word {
            "prepend" | "add" | "append" | "no_track" | "nexthop" => {}
            "proto" => drop(left.next()),
            "via" => {
                // The family stands in front.
                left.next();
                say("via", left.next().unwrap_or_default());
            }
            "scope" => say(
                "scope",
                match left.next().unwrap_or_default() {
                    "200" => "site",
                    "253" => "link",
                    "254" => "host",
                    other => other,
                },
            ),
            "src" | "dev" | "table" | "metric" => say(word, left.next().unwrap_or_default()),
            "blackhole" | "unreachable" | "prohibit" | "throw" => say("kind", word),
            "0.0.0.0/0" => say("to", "default"),
            destination if destination.contains('/') => say("to", destination),
            host => say("to", &format!("{host}/32")),
        }
    }
    in_order(&words)
}

fn rule(line: &str) -> String {
    let mut words = Vec::new();
    let mut left = line.split_whitespace();
    while let Some(word) = left.next() {
        let argument = left.next().unwrap_or_default();
        match word {
            "tos" | "protocol" => {}
            "lookup" => words.push(("table".to_owned(), argument.to_owned())),
            other => words.push((other.to_owned(), argument.to_owned())),
        }
    }
    in_order(&words)
}
