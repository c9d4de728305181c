//! Commands and their options.

use std::{
    io::{IsTerminal as _, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Parser, Subcommand};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;
use vrrp_userspace::{
    config::{
        self, Loaded,
        default::{self, Choice},
        diagnostics::Severity,
        model::Config,
    },
    control,
    daemon::{self, Options, Origin, Signals},
    dataplane::{DEFAULT_BPFFS, ModeRequest, NativePrograms},
    discovery, net,
    remains::{self, CleanUp},
    run_dir::{self, Claim},
};

/// Keeps one IP address alive across machines: VRRP with an XDP dataplane, configured by
/// keepalived.conf.
#[derive(Parser)]
#[command(version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Serves a configuration, or the embedded default on one interface
    Run(RunArguments),
    /// Checks a configuration and says what is wrong, where, and what to do
    Check(CheckArguments),
    /// Shows how the running daemon stands
    Status(StatusArguments),
    /// Takes off what a daemon that has ended left behind: addresses, then programs
    Cleanup(CleanupArguments),
}

#[derive(Args)]
struct RunArguments {
    /// Configuration file in keepalived.conf syntax
    #[arg(long, short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve the embedded default on this interface
    #[arg(long, value_name = "IF", conflicts_with = "config")]
    iface: Option<String>,
    /// Virtual Router Identifier of the embedded default [default: 213, or the next nobody uses]
    #[arg(long, value_name = "1-255", requires = "iface", value_parser = clap::value_parser!(u8).range(1..))]
    vrid: Option<u8>,
    /// Virtual address of the embedded default; may be given more than once
    #[arg(long, value_name = "IP[/PREFIX]", requires = "iface", value_parser = parse_vip)]
    vip: Vec<(Ipv4Addr, u8)>,
    /// Priority of the embedded default
    #[arg(long, value_name = "1-255", requires = "iface", value_parser = clap::value_parser!(u8).range(1..))]
    priority: Option<u8>,
    /// Seconds between adverts of the embedded default, in steps of 0.01
    #[arg(long, value_name = "SECONDS", requires = "iface", value_parser = parse_interval)]
    advert_int: Option<u16>,
    /// Where frames are judged
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    xdp_mode: ModeRequest,
    #[command(flatten)]
    bpffs: BpfFs,
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Args)]
struct CheckArguments {
    /// Configuration file in keepalived.conf syntax
    #[arg(value_name = "FILE")]
    config: Option<PathBuf>,
    /// Warnings fail the check too
    #[arg(long)]
    strict: bool,
}

#[derive(Args)]
struct StatusArguments {
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Args)]
struct CleanupArguments {
    /// Leave native XDP programs attached, with nothing to do: detaching them can take a network
    /// card's link down for seconds
    #[arg(long)]
    keep_native: bool,
    /// Go on although nobody knows which addresses may be left
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    bpffs: BpfFs,
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Args)]
struct BpfFs {
    /// The BPF file system that keeps programs attached when the daemon is gone. Where there is
    /// none, netlink does
    #[arg(id = "bpffs", long = "bpffs", value_name = "DIR", default_value = DEFAULT_BPFFS)]
    path: PathBuf,
}

#[derive(Args)]
struct RunDir {
    /// Where sockets and locks live, in a directory per network namespace
    #[arg(id = "run_dir", long = "run-dir", value_name = "DIR", default_value = run_dir::DEFAULT)]
    path: PathBuf,
}

/// How long `status` waits for the daemon.
const PATIENCE: Duration = Duration::from_secs(5);
/// keepalived's exit code for a configuration with errors.
const EXIT_CONFIG: u8 = 4;

pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Subcommands::Run(arguments) => serve(&arguments),
        Subcommands::Check(arguments) => check(&arguments),
        Subcommands::Status(arguments) => status(&arguments),
        Subcommands::Cleanup(arguments) => clean_up(&arguments),
    }
}

fn serve(arguments: &RunArguments) -> Result<ExitCode> {
    start_log();
    raise_file_limit();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::catch()?;
        let claim = Claim::take(run_dir::of_this_namespace(&arguments.run_dir.path)?)?;
        let configured = async {
            match &arguments.iface {
                Some(interface) => embedded(interface, arguments).await,
                None => from_file(arguments.config.clone()),
            }
        };
        let (config, origin) = tokio::select! {
            configured = configured => configured?,
            () = signals.end() => return Ok(()),
        };
        daemon::run(Options {
            config,
            origin,
            mode: arguments.xdp_mode,
            bpffs: arguments.bpffs.path.clone(),
            claim,
            signals,
        })
        .await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A descriptor per interface and per running check: the soft limit of 1024 that most systems start
/// with is too low for a large configuration, the hard limit is not.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(errno) = raised {
        tracing::warn!("cannot raise the limit of open files: {errno}");
    }
}

fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

fn from_file(path: Option<PathBuf>) -> Result<(Config, Origin)> {
    let path = configuration(path)?;
    let loaded = load(&path)?;
    for (severity, line) in loaded.diagnostics.lines(&loaded.sources) {
        match severity {
            Severity::Error => tracing::error!("{line}"),
            Severity::Warning => tracing::warn!("{line}"),
            Severity::Lint => tracing::info!("{line}"),
        }
    }
    if loaded.config.instances.is_empty() {
        bail!(
            "{}: no vrrp_instance can be served; `xvrrp check` shows why",
            path.display()
        );
    }
    Ok((loaded.config, Origin::File(path)))
}

fn configuration(path: Option<PathBuf>) -> Result<PathBuf> {
    path.or_else(daemon::default_configuration).context(
        "no configuration: name one with --config FILE, or try the embedded default with --iface IF",
    )
}

fn load(path: &Path) -> Result<Loaded> {
    config::load(path).with_context(|| format!("read {}", path.display()))
}

/// The embedded default, on a VRID that no stranger uses.
async fn embedded(interface: &str, arguments: &RunArguments) -> Result<(Config, Origin)> {
    let table = net::watch().await?.borrow().clone();
    let Some(found) = table.by_name(interface) else {
        bail!(
            "there is no interface {interface}; there are {}",
            table.names()
        );
    };
    let vips = match arguments.vip.as_slice() {
        [] => vec![(default::VIP, 32)],
        vips => distinct(vips),
    };
    if vips.len() > usize::from(u8::MAX) {
        bail!(
            "an advert carries 255 addresses at most; {} were given with --vip",
            vips.len()
        );
    }
    tracing::info!(
        "no configuration given: this is the embedded default. Bring your own with --config FILE \
         (keepalived.conf syntax)"
    );
    let vrid = match arguments.vrid {
        Some(vrid) => vrid,
        None => unused_vrid(interface, found.index, &vips).await?,
    };
    let choice = Choice {
        interface: interface.to_owned(),
        vrid,
        vips,
        priority: arguments.priority.unwrap_or(default::PRIORITY),
        interval_cs: arguments.advert_int.unwrap_or(100),
    };
    let addresses: Vec<String> = choice
        .vips
        .iter()
        .map(|(address, prefix)| format!("{address}/{prefix}"))
        .collect();
    tracing::info!(
        "VRID {vrid}, priority {}, {} on {interface}",
        choice.priority,
        addresses.join(", ")
    );
    let origin = Origin::Embedded {
        yields: arguments.vrid.is_none(),
    };
    Ok((default::config(&choice), origin))
}

/// Each address once, in the order given.
fn distinct(vips: &[(Ipv4Addr, u8)]) -> Vec<(Ipv4Addr, u8)> {
    let mut list: Vec<(Ipv4Addr, u8)> = Vec::new();
    for vip in vips {
        if !list.iter().any(|(address, _)| *address == vip.0) {
            list.push(*vip);
        }
    }
    list
}

async fn unused_vrid(interface: &str, ifindex: u32, vips: &[(Ipv4Addr, u8)]) -> Result<u8> {
    let seconds = discovery::LISTEN.as_secs();
    tracing::info!(
        "listening on {interface} for {seconds} s for virtual routers that are there already"
    );
    let lan = tokio::task::spawn_blocking(move || discovery::listen(ifindex)).await??;
    let addresses: Vec<Ipv4Addr> = vips.iter().map(|(address, _)| *address).collect();
    let Some(vrid) = discovery::free_vrid(&lan, default::VRID, &addresses) else {
        bail!("every VRID on {interface} is in use by others; choose one with --vrid");
    };
    if vrid != default::VRID {
        tracing::info!(
            "strangers use VRID {} on this LAN; taking {vrid}",
            default::VRID
        );
    }
    Ok(vrid)
}

fn check(arguments: &CheckArguments) -> Result<ExitCode> {
    let path = configuration(arguments.config.clone())?;
    let Loaded {
        config,
        diagnostics,
        sources,
    } = load(&path)?;
    print!(
        "{}",
        diagnostics.render(&sources, std::io::stdout().is_terminal())
    );
    let (errors, warnings) = (
        diagnostics.count(Severity::Error),
        diagnostics.count(Severity::Warning),
    );
    println!(
        "{}: {} instances can be served, {errors} errors, {warnings} warnings, {} lints",
        path.display(),
        config.instances.len(),
        diagnostics.count(Severity::Lint)
    );
    let fails = errors > 0 || config.instances.is_empty() || (arguments.strict && warnings > 0);
    Ok(if fails {
        ExitCode::from(EXIT_CONFIG)
    } else {
        ExitCode::SUCCESS
    })
}

fn status(arguments: &StatusArguments) -> Result<ExitCode> {
    let socket = run_dir::socket(&run_dir::of_this_namespace(&arguments.run_dir.path)?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async { timeout(PATIENCE, control::status(&socket)).await });
    let status = answer.context("the daemon does not answer; is it overloaded or stopped?")??;
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&status)?)
    } else {
        control::render(&status)
    };
    // A reader that stops reading, such as `head`, is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

fn clean_up(arguments: &CleanupArguments) -> Result<ExitCode> {
    start_log();
    let claim = Claim::take(run_dir::of_this_namespace(&arguments.run_dir.path)?)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let table = runtime.block_on(net::read())?;
    let native = if arguments.keep_native {
        NativePrograms::KeepInert
    } else {
        NativePrograms::Detach
    };
    let options = CleanUp {
        bpffs: &arguments.bpffs.path,
        native,
        force: arguments.force,
    };
    let done = remains::clean_up(&claim, &table, &options)?;
    if done.is_empty() {
        println!("nothing was left behind");
    }
    for line in done {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

fn parse_vip(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    let address: Ipv4Addr = address
        .parse()
        .map_err(|_| format!("{address} is not an IPv4 address"))?;
    if !config::can_be_virtual(address.into()) {
        return Err(format!("{address} cannot be anybody's address"));
    }
    match prefix.parse() {
        Ok(prefix @ 0..=32) => Ok((address, prefix)),
        _ => Err(format!("/{prefix} is not a prefix length from 0 to 32")),
    }
}

fn parse_interval(text: &str) -> Result<u16, String> {
    let explain = || "seconds from 0.01 to 40.95".to_owned();
    let seconds: f64 = text.parse().map_err(|_| explain())?;
    if !(0.01..=40.95).contains(&seconds) {
        return Err(explain());
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked just above"
    )]
    Ok((seconds * 100.0).round() as u16)
}
