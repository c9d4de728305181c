//! `xvrrp tap` and `xvrrp observe`: what is on the wire, by whomever. No daemon is needed, nothing is sent.

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use comfy_table::{Table, presets};
use vrrp_userspace::{
    clock,
    net::{self, Sniffed, Sniffer},
    observe::{Advert, Finding, Lan, Recording, VirtualRouter},
};

#[derive(Args)]
pub(super) struct TapArguments {
    /// Interface
    #[arg(long, short = 'i', value_name = "IF")]
    iface: String,
    /// Only this virtual router
    #[arg(long, value_name = "1-255", value_parser = clap::value_parser!(u8).range(1..))]
    vrid: Option<u8>,
    /// End after so many
    #[arg(long, short = 'n')]
    count: Option<u64>,
    /// End after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    seconds: Option<Duration>,
    /// Write the frames to this file too, for Wireshark and its like
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// For programs: one JSON object per line
    #[arg(long)]
    json: bool,
    /// The network namespace (`ip netns`) [default: the one this is started in]
    #[arg(long, value_name = "NAME")]
    netns: Option<String>,
}

#[derive(Args)]
pub(super) struct ObserveArguments {
    /// Interface
    #[arg(long, short = 'i', value_name = "IF")]
    iface: String,
    /// How long to listen
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    seconds: Duration,
    /// For programs
    #[arg(long)]
    json: bool,
    /// The network namespace (`ip netns`) [default: the one this is started in]
    #[arg(long, value_name = "NAME")]
    netns: Option<String>,
}

/// A number of seconds, with a fraction where one is wanted.
pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    let time = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if time < SHORTEST || time > LONGEST {
        return Err("from 0.05 seconds to a day".to_owned());
    }
    Ok(time)
}

/// What can be asked for with `--seconds` and `--interval`.
const SHORTEST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_hours(24);
/// How long one look at the wire takes at most.
const LOOK: Duration = Duration::from_millis(500);

/// Until so many were shown, the time is over, or somebody ends it.
pub(super) fn tap(arguments: &TapArguments) -> Result<ExitCode> {
    enter(arguments.netns.as_deref())?;
    let wire = open(&arguments.iface)?;
    let mut recording = match &arguments.pcap {
        Some(path) => Some(Recording::create(path)?),
        None => None,
    };
    let mut left = arguments.count.unwrap_or(u64::MAX);
    let end = arguments.seconds.map(|seconds| Instant::now() + seconds);
    while left > 0 {
        let Some(patience) = patience(end) else {
            break;
        };
        let Some(sniffed) = wire.next(patience).context("listen")? else {
            continue;
        };
        let advert = Advert::read(&sniffed);
        let vrid = advert.as_ref().map(|advert| advert.vrid);
        if arguments.vrid.is_some() && vrid != arguments.vrid {
            continue;
        }
        if let Some(recording) = &mut recording {
            recording.add(&sniffed)?;
        }
        let line = line(&sniffed, advert.as_ref(), arguments.json)?;
        if writeln!(std::io::stdout(), "{line}").is_err() {
            break;
        }
        left -= 1;
    }
    Ok(ExitCode::SUCCESS)
}

fn line(sniffed: &Sniffed, advert: Option<&Advert>, for_programs: bool) -> Result<String> {
    if for_programs {
        return Ok(serde_json::to_string(&advert)?);
    }
    let time = clock::local_time(sniffed.at_ns);
    let way = if sniffed.is_outgoing { "out" } else { "in " };
    Ok(match advert {
        Some(advert) => format!("{time} {way} {advert}"),
        None => format!(
            "{time} {way} VRRP of {} bytes [UNREADABLE]",
            sniffed.frame.len()
        ),
    })
}

/// Listens, then says who there is and what is wrong. Exits with 1 where something does not work as it is.
pub(super) fn observe(arguments: &ObserveArguments) -> Result<ExitCode> {
    enter(arguments.netns.as_deref())?;
    let wire = open(&arguments.iface)?;
    if !arguments.json {
        eprintln!(
            "listening on {} for {} s",
            arguments.iface,
            arguments.seconds.as_secs_f64()
        );
    }
    let lan = Lan::hear(&wire, arguments.seconds).context("listen")?;
    let findings = lan.findings();
    let text = if arguments.json {
        let all: Vec<&VirtualRouter> = lan.iter().collect();
        let answer = serde_json::json!({ "virtual_routers": all, "findings": findings });
        format!("{}\n", serde_json::to_string_pretty(&answer)?)
    } else {
        render(&lan, &findings)
    };
    // A reader that stops reading is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let is_serious = findings.iter().any(|it| it.is_serious);
    Ok(ExitCode::from(u8::from(is_serious)))
}

fn render(lan: &Lan, findings: &[Finding]) -> String {
    if lan.is_empty() {
        return "nobody was heard\n".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "VRID",
        "VLAN",
        "ROUTER",
        "STATE",
        "PRIO",
        "VERSION",
        "INTERVAL",
        "CHECKSUM",
        "ADVERTS",
        "LAST",
        "ADDRESSES",
    ]);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now_ns = u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX);
    for virtual_router in lan.iter() {
        let master = virtual_router.master().map(|(source, _)| source);
        let at_once = virtual_router.masters_at_once();
        for (source, router) in &virtual_router.routers {
            let speaks = at_once.iter().any(|(other, _)| other == source);
            let state = match router.priority {
                0 => "resigned",
                _ if speaks || master == Some(*source) => "MASTER",
                _ => "silent",
            };
            let ago = now_ns.saturating_sub(router.last_ns) / 1_000_000;
            table.add_row([
                virtual_router.vrid.to_string(),
                vlan(virtual_router.vlan),
                source.to_string(),
                state.to_owned(),
                router.priority.to_string(),
                router.version.to_string(),
                format!("{} s", f64::from(router.interval_cs) / 100.0),
                router.checksum.name().replace('_', " "),
                router.adverts.to_string(),
                format!("{ago} ms ago"),
                few(&router.addresses),
            ]);
        }
        for rejected in &virtual_router.rejected {
            let last = &rejected.last;
            table.add_row([
                virtual_router.vrid.to_string(),
                vlan(virtual_router.vlan),
                rejected.source.to_string(),
                "REJECTED".to_owned(),
                last.priority.to_string(),
                last.version.to_string(),
                format!("{} s", f64::from(last.interval_cs) / 100.0),
                rejected.reason.name().to_owned(),
                rejected.count.to_string(),
                format!("{} ms ago", now_ns.saturating_sub(last.at_ns) / 1_000_000),
                few(&last.addresses),
            ]);
        }
    }
    let mut text = format!("{}\n", table.trim_fmt());
    for finding in findings {
        let Finding {
            vrid, what, help, ..
        } = finding;
        // Writing into a string cannot fail.
        let _ = writeln!(text, "\nVRID {vrid}: {what}\n  {help}");
    }
    if findings.is_empty() {
        text.push_str("\nnothing is wrong\n");
    }
    text
}

fn vlan(number: u16) -> String {
    match number {
        0 => "-".to_owned(),
        number => number.to_string(),
    }
}

/// A few addresses are shown, many are counted.
fn few(addresses: &[std::net::IpAddr]) -> String {
    match addresses {
        [first, _, _, _, ..] => format!("{first} and {} more", addresses.len() - 1),
        few => few
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" "),
    }
}

/// How long to wait for the next frame; `None` where the time is over.
fn patience(end: Option<Instant>) -> Option<Duration> {
    let Some(end) = end else {
        return Some(LOOK);
    };
    let left = end.checked_duration_since(Instant::now())?;
    (!left.is_zero()).then(|| left.min(LOOK))
}

fn enter(namespace: Option<&str>) -> Result<()> {
    if let Some(name) = namespace {
        net::enter_namespace(name)?;
    }
    Ok(())
}

fn open(interface: &str) -> Result<Sniffer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let table = runtime.block_on(net::read())?;
    let Some(found) = table.by_name(interface) else {
        bail!(
            "there is no interface {interface} (there are {})",
            table.names()
        );
    };
    let sniffer = Sniffer::open(found.index);
    sniffer.with_context(|| format!("listen on {interface} (CAP_NET_RAW is needed)"))
}
