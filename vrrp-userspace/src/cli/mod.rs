//! Commands and their options.

mod cleanup;
mod configuration;
mod control;
mod doctor;
mod embedded;
pub(crate) mod keepalived;
mod manual;
mod serve;
mod top;
mod wire;

use std::{
    ffi::OsString,
    io::IsTerminal as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use tracing_subscriber::EnvFilter;
use vrrp_userspace::{
    config::{Loaded, Reader},
    daemon,
    dataplane::{DEFAULT_BPFFS, ModeRequest},
    net, run_dir,
};

use configuration::{CheckArguments, ExplainArguments, FormatArguments};
use control::{
    EventsArguments, HandArguments, PriorityArguments, ReloadArguments, StatusArguments,
    UpgradeArguments, WatchArguments,
};
use doctor::DoctorArguments;
use embedded::{parse_interval, parse_vip};
use manual::{CompletionsArguments, ManualArguments};
use serve::Manners;
use top::TopArguments;
use wire::{ObserveArguments, TapArguments};

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
    /// Says in plain words what a configuration does, when, and who wins against whom
    Explain(ExplainArguments),
    /// Puts the layout of a configuration in order; comments stay
    Fmt(FormatArguments),
    /// Shows how the running daemon stands
    Status(StatusArguments),
    /// Shows what has happened lately, and why
    Events(EventsArguments),
    /// Shows what happens, as it happens
    Watch(WatchArguments),
    /// How everything stands, as it changes; keys filter, sort, look closer, drain
    Top(TopArguments),
    /// Shows every advert on an interface as it comes, also those that are rejected, and why
    Tap(TapArguments),
    /// Listens to a LAN without taking part: who is there, and what is wrong
    Observe(ObserveArguments),
    /// Looks at this machine, its settings and its LAN: what is wrong, and what to do about it
    Doctor(DoctorArguments),
    /// Makes the running daemon read its configuration again
    Reload(ReloadArguments),
    /// Gives up the mastership of an instance gently, and keeps it out
    Drain(HandArguments),
    /// Lets a drained instance take part again
    Undrain(HandArguments),
    /// Gives an instance another base priority until the next reload
    Priority(PriorityArguments),
    /// Puts the installed binary in the place of the running one, without a failover
    Upgrade(UpgradeArguments),
    /// Takes off what a daemon that has ended left behind: addresses, then programs
    Cleanup(CleanupArguments),
    /// Completions for a shell: `source <(xvrrp completions bash)`
    Completions(CompletionsArguments),
    /// Writes the manual pages, for packages
    #[command(hide = true)]
    Manual(ManualArguments),
    /// keepalived's own options: `xvrrp keepalived --help`
    #[command(disable_help_flag = true)]
    Keepalived {
        /// The options
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
}

#[derive(Args)]
struct RunArguments {
    /// Configuration file in keepalived.conf syntax
    #[arg(long, short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    /// What lines with `@ID` are for [default: the host's name without its domain]
    #[arg(long, short = 'i', value_name = "ID")]
    config_id: Option<String>,
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
    /// Write the process id here while the daemon runs
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Members of this group may ask how everything stands (`xvrrp status`); changing anything is for the
    /// user that the daemon runs as
    #[arg(long, value_name = "GROUP")]
    control_group: Option<String>,
    /// Serve metrics for Prometheus here: /metrics, /metrics/keepalived and /healthz over HTTP
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    #[command(flatten)]
    bpffs: BpfFs,
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Args)]
struct CleanupArguments {
    /// Do nothing while the next daemon is about to take over: one has just left everything to it, or
    /// the service manager restarts it after a failure (`SERVICE_RESULT`)
    #[arg(long)]
    unless_restarting: bool,
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
    /// The network namespace (`ip netns`) [default: the one this is started in, or `net_namespace` of the
    /// configuration]
    #[arg(id = "netns", long = "netns", value_name = "NAME")]
    namespace: Option<String>,
}

impl RunDir {
    /// The directory of the network namespace, which is entered where one is named.
    fn enter(&self) -> Result<PathBuf> {
        if let Some(name) = &self.namespace {
            net::enter_namespace(name)?;
        }
        run_dir::of_this_namespace(&self.path)
    }
}

impl RunArguments {
    /// Serves a file, with the defaults of everything else.
    fn of_file(config: PathBuf, config_id: Option<String>, namespace: Option<String>) -> Self {
        Self {
            config: Some(config),
            config_id,
            iface: None,
            vrid: None,
            vip: Vec::new(),
            priority: None,
            advert_int: None,
            xdp_mode: ModeRequest::default(),
            pid_file: None,
            control_group: None,
            metrics: None,
            bpffs: BpfFs {
                path: DEFAULT_BPFFS.into(),
            },
            run_dir: RunDir {
                path: run_dir::DEFAULT.into(),
                namespace,
            },
        }
    }
}

pub(crate) fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Subcommands::Run(arguments) => {
            start_log(&LogTo::Console, false)?;
            let manners = Manners {
                pid_files: arguments.pid_file.iter().cloned().collect(),
                ..Manners::default()
            };
            serve::serve(&arguments, manners)
        }
        Subcommands::Check(arguments) => configuration::check(&arguments),
        Subcommands::Explain(arguments) => configuration::explain_files(&arguments),
        Subcommands::Fmt(arguments) => configuration::format(&arguments),
        Subcommands::Status(arguments) => control::status(&arguments),
        Subcommands::Events(arguments) => control::events(&arguments),
        Subcommands::Watch(arguments) => control::watch(&arguments),
        Subcommands::Top(arguments) => top::top(&arguments),
        Subcommands::Tap(arguments) => wire::tap(&arguments),
        Subcommands::Observe(arguments) => wire::observe(&arguments),
        Subcommands::Doctor(arguments) => doctor::doctor(&arguments),
        Subcommands::Reload(arguments) => control::reload(&arguments),
        Subcommands::Drain(arguments) => control::drain(&arguments),
        Subcommands::Undrain(arguments) => control::undrain(&arguments),
        Subcommands::Priority(arguments) => control::priority(arguments),
        Subcommands::Upgrade(arguments) => control::upgrade(&arguments),
        Subcommands::Keepalived { options } => {
            keepalived::run([OsString::from("keepalived")].into_iter().chain(options))
        }
        Subcommands::Completions(arguments) => Ok(manual::completions(&arguments)),
        Subcommands::Manual(arguments) => manual::manual(&arguments),
        Subcommands::Cleanup(arguments) => cleanup::clean_up(&arguments),
    }
}

/// Where the log goes.
enum LogTo {
    /// Standard error.
    Console,
    /// A file.
    File(PathBuf),
    /// The system's log.
    Syslog(syslog_tracing::Facility),
}

fn start_log(to: &LogTo, in_detail: bool) -> Result<()> {
    let usual = if in_detail { "debug" } else { "info" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        // Nobody reads the log, or it has no room: that ends no election.
        .log_internal_errors(false);
    match to {
        LogTo::Console => log
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init(),
        LogTo::File(path) => {
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(path);
            let file = file.with_context(|| format!("open the log file {}", path.display()))?;
            log.with_writer(std::sync::Mutex::new(file))
                .with_ansi(false)
                .init();
        }
        LogTo::Syslog(facility) => {
            let options = syslog_tracing::Options::LOG_PID;
            let syslog = syslog_tracing::Syslog::new(c"xvrrp", options, *facility);
            let syslog = syslog.context("the system's log is taken already")?;
            // It writes the time and the level itself.
            log.with_writer(syslog)
                .with_ansi(false)
                .with_level(false)
                .without_time()
                .init();
        }
    }
    Ok(())
}

fn configuration(path: Option<PathBuf>) -> Result<PathBuf> {
    path.or_else(daemon::default_configuration).context(
        "no configuration: name one with --config FILE, or try the embedded default with --iface IF",
    )
}

fn load(reader: &Reader, path: &Path) -> Result<Loaded> {
    reader
        .load(path)
        .with_context(|| format!("read {}", path.display()))
}
