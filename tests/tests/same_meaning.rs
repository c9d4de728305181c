//! keepalived.conf means here what it means to keepalived: Debian's samples and the examples of its manual,
//! read by both, compared field by field.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use vrrp_userspace::config::{Loaded, Reader, diagnostics::Severity, format};
use xvrrp_tests::{
    meaning::{Meaning, dump, of_config, of_dump},
    netns::Namespace,
    process::Scratch,
};

/// Where xvrrp means something else by intent: the weight of a script that has none.
const AS_KEEPALIVED: &str = "global_defs {\n vrrp_script_default_weight 0\n}\n";

fn documents() -> PathBuf {
    let path = std::env::var_os("XVRRP_KEEPALIVED_DOCUMENTS");
    let path = path
        .expect("XVRRP_KEEPALIVED_DOCUMENTS names keepalived's documents; run `cargo xtask test`");
    PathBuf::from(path)
}

/// Every interface that an example names.
fn host() -> Namespace {
    let host = Namespace::new("meaning");
    host.ip("link set lo up");
    let names = [
        "eth0", "eth1", "eth2", "eth3", "eth0.0", "eth0.1", "bond0.0",
    ];
    for (number, name) in names.iter().enumerate() {
        host.ip(&format!("link add {name} type veth peer name p{number}"));
        host.ip(&format!("link set p{number} up"));
        host.ip(&format!("link set {name} up"));
        host.ip(&format!("address add 10.99.{number}.1/24 dev {name}"));
    }
    host
}

fn read(text: &str, config_id: &str) -> Loaded {
    let text = format!("{text}\n{AS_KEEPALIVED}");
    Reader::new(Some(config_id)).load_text(Path::new("example.conf"), text)
}

/// Both have other words for the same; what is no part of the meaning goes.
fn alike(mut meaning: Meaning) -> Meaning {
    for script in meaning.scripts.values_mut() {
        // keepalived has looked the program up, and quotes its words.
        if let Some(command) = script.get_mut("command") {
            let words = command.replace('\'', "");
            let (first, rest) = words.split_once(' ').unwrap_or((&words, ""));
            let name = first.rsplit('/').next().unwrap_or_default();
            format!("{name} {rest}").trim_end().clone_into(command);
        }
    }
    for instance in meaning.instances.values_mut() {
        // keepalived holds the members of a group in BACKUP, whatever they want, before it dumps them.
        if instance.get("group").is_some_and(|group| !group.is_empty()) {
            instance.remove("state");
        }
    }
    meaning.statics.sort();
    meaning
}

/// What was compared, and what differed.
#[derive(Default)]
struct Compared {
    values: usize,
    differences: Vec<String>,
}

impl Compared {
    fn say(&self, what: &str) {
        let Self {
            values,
            differences,
        } = self;
        assert!(
            differences.is_empty(),
            "xvrrp and keepalived differ:\n{}",
            differences.join("\n")
        );
        println!("{what}: {values} values compared, no difference");
    }
}

/// Has both read it.
fn compare(name: &str, text: &str, config_id: &str, compared: &mut Compared) {
    let scratch = Scratch::new("meaning");
    let log = dump(&host(), &scratch, text, &["--config-id", config_id]);
    let theirs = alike(of_dump(&log));
    assert!(
        !theirs.instances.is_empty(),
        "{name}: keepalived serves nothing:\n{log}"
    );
    let loaded = read(text, config_id);
    let mut ours = alike(of_config(&loaded.config));
    if ours.global["router_id"].is_empty() {
        ours.global
            .insert("router_id", theirs.global["router_id"].clone());
    }
    let differences = ours.differences(&theirs);
    compared.values += theirs.count();
    let named = differences
        .iter()
        .map(|it| format!("{name} ({config_id}): {it}"));
    compared.differences.extend(named);
}

#[test]
fn the_samples_of_debian_s_package() {
    let documents = documents();
    let samples = documents.join("usr/share/doc/keepalived/samples");
    let mut files: Vec<PathBuf> = fs::read_dir(samples)
        .expect("the samples")
        .map(|entry| entry.expect("a sample").path())
        .filter(|path| path.to_string_lossy().contains("keepalived.conf."))
        .collect();
    files.push(documents.join("etc/keepalived/keepalived.conf.sample"));
    files.sort();
    let (mut with_vrrp, mut compared) = (0, Compared::default());
    for path in &files {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(path).expect("readable");
        // The namespace that it would move to is not there, and neither is load balancing.
        let text = text
            .replace("net_namespace", "! net_namespace")
            // AH is refused on purpose (docs/conformance.md): RFC 3768 has removed it.
            .replace("auth_type AH", "auth_type PASS")
            // keepalived leaves out a check that is not there; here it has failed.
            .replace("/etc/keepalived/scripts/check_high_VI_0.sh", "/bin/true")
            .replace("/etc/keepalived/scripts/check_low_VI_0.sh", "/bin/true")
            .replace("lvs_sync_daemon_interface", "! lvs_sync_daemon_interface");
        // Its layout means nothing.
        let (as_it_is, in_order) = (read(&text, "high"), read(&format(&text), "high"));
        assert_eq!(
            of_config(&as_it_is.config),
            of_config(&in_order.config),
            "{name}"
        );
        let count = |loaded: &Loaded| {
            [Severity::Lint, Severity::Warning, Severity::Error]
                .map(|it| loaded.diagnostics.count(it))
        };
        assert_eq!(count(&as_it_is), count(&in_order), "{name}");
        if !text.contains("vrrp_instance") {
            let loaded = read(&text, "high");
            let lines = loaded.diagnostics.lines(&loaded.sources);
            let wrong = lines
                .iter()
                .filter(|(severity, _)| *severity > Severity::Warning);
            assert_eq!(wrong.count(), 0, "{name}: {lines:#?}");
            continue;
        }
        with_vrrp += 1;
        let ids: &[&str] = if text.contains("@high") {
            &["high", "low"]
        } else {
            &["main"]
        };
        for id in ids {
            compare(&name, &text, id, &mut compared);
        }
    }
    assert!(with_vrrp >= 10, "{with_vrrp} samples");
    compared.say(&format!(
        "{} samples, {with_vrrp} with virtual routers",
        files.len()
    ));
}

/// The texts between `.nf` and `.fi` in a part of the manual.
fn examples(from: &str, to: &str) -> Vec<String> {
    let path = documents().join("usr/share/man/man5/keepalived.conf.5.gz");
    let output = Command::new("zcat").arg(path).output().expect("run zcat");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text.split_once(from).expect("the beginning of that part");
    let (part, _) = rest.split_once(to).expect("its end");
    let mut list = Vec::new();
    for block in part.split("\n.nf\n").skip(1) {
        let (block, _) = block.split_once("\n.fi").expect("its end");
        let plain = ["\\fB", "\\fR", "\\fI"]
            .iter()
            .fold(block.to_owned(), |text, font| text.replace(font, ""));
        list.push(plain.replace("\\e", "\\").replace("\\-", "-"));
    }
    // Lists stand in the running text.
    let lists = part.lines().filter(|line| line.starts_with("    ~LST("));
    list.extend(lists.map(str::to_owned));
    list
}

/// What an example gives, without what the manual says that it gives.
fn given(example: &str) -> String {
    let ends = |line: &&str| {
        let line = line.trim();
        !(line.starts_with("will produce")
            || line.starts_with("would produce")
            || line.starts_with("produces"))
    };
    example
        .lines()
        .take_while(ends)
        .filter(|line| line.trim() != "...")
        .collect::<Vec<_>>()
        .join("\n")
}

fn instance(name: &str, more: &str) -> String {
    format!("vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id 7\n{more}\n}}\n")
}

fn with_addresses(lines: &str) -> String {
    instance("V", &format!("virtual_ipaddress {{\n{lines}\n}}"))
}

/// A text, and the configuration ids that it is read with.
type Example = (String, &'static [&'static str]);

const WHOLE: &str = "interface eth0\nvirtual_router_id 7\nvirtual_ipaddress { 10.0.0.1 }\n";

/// The example with a word.
fn find<'a>(all: &'a [String], word: &str) -> &'a str {
    let found = all.iter().find(|text| text.contains(word));
    found.unwrap_or_else(|| panic!("the manual has no example with {word}: {all:#?}"))
}

fn lines_of(text: &str, start: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| line.trim_start().starts_with(start));
    lines.collect::<Vec<_>>().join("\n")
}

/// Conditions and definitions.
fn definitions(all: &[String]) -> Vec<(&'static str, Example)> {
    let completed = |text: &str, name: &str| {
        let head = format!("vrrp_instance {name} {{");
        given(text).replace(&head, &format!("{head}\n{WHOLE}"))
    };
    let conditional = completed(find(all, "@main   router_id"), "VRRP");
    let substituted = with_addresses(&given(find(all, "ADDRESS_BASE_SUB=0")));
    let both = find(all, "$PRIORITY=240");
    let condition = format!(
        "{}\nvirtual_ipaddress {{ 10.0.0.1 }}",
        lines_of(both, "$IF_MAIN")
    );
    let scripts = "vrrp_script offset_instance_0 {\nscript /bin/true\nweight 3\n}\n\
                   vrrp_script offset_instance_1 {\nscript /bin/true\n}\n";
    let template = format!("{scripts}{}", find(all, "vrrp_instance VI_${NUM}"));
    vec![
        (
            "conditional lines",
            (conditional, &["main", "backup", "backup2", "other"]),
        ),
        ("substitution", (substituted, &["main"])),
        (
            "substitution and conditions",
            (completed(both, "VI_0"), &["main", "backup"]),
        ),
        (
            "a condition by substitution",
            (instance("V", &condition), &["main", "backup"]),
        ),
        ("definitions of several lines", (template, &["high", "low"])),
    ]
}

/// `~SEQ` and `~LST`.
fn repetitions(all: &[String]) -> Vec<(&'static str, Example)> {
    let mut list: Vec<(&str, Example)> = Vec::new();
    let mut add = |name, lines: &str| list.push((name, (with_addresses(lines), &["main"])));
    let sequences = find(all, "~SEQ(SUBNET, 0, 3)");
    let without_keyword = |start| lines_of(sequences, start).replace("ip_address ", "");
    add("a sequence", &without_keyword("~SEQ(SUBNET"));
    for line in without_keyword("~SEQx(SUBNET").lines() {
        add("a hexadecimal sequence", line);
    }
    add(
        "two sequences",
        &lines_of(find(all, "~SEQx(AD2"), "~SEQx(AD2"),
    );
    for text in all.iter().filter(|text| text.contains("~LST")) {
        add("a list", &given(text));
    }
    // The 65 024 are another test's: keepalived would need its time.
    let few = find(all, "$VI4=")
        .replace("~SEQ(IF,0,7)", "~SEQ(IF,0,0)")
        .replace("~SEQ(NUM,0,31)", "~SEQ(NUM,0,0)")
        .replace("~SEQ(ID,1,254)", "~SEQ(ID,1,5)");
    list.push(("sequences of templates", (given(&few), &["main"])));
    list
}

#[test]
fn the_examples_of_the_manual() {
    let all = examples(".SH ADVANCED CONFIGURATION", ".SH KERNEL SETTINGS");
    let texts = [definitions(&all), repetitions(&all)].concat();
    assert_eq!(texts.len(), 13, "every example there is");
    let mut compared = Compared::default();
    for (name, (text, ids)) in &texts {
        for id in *ids {
            compare(name, text, id, &mut compared);
        }
    }
    // Load balancing: read by both, served by neither here.
    let nested = find(&all, "real_server 192.168.${VS_NUM}");
    let loaded = read(&format!("{nested}\n{}", with_addresses("10.0.0.1")), "main");
    assert_eq!(loaded.diagnostics.count(Severity::Error), 0);
    assert_eq!(loaded.config.instances.len(), 1);
    compared.say(&format!("{} examples of the manual", texts.len()));
}
