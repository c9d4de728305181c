//! keepalived's command line: where the program is called `keepalived`, or by `xvrrp keepalived …`.

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use clap::{ArgAction, Parser};
use nix::{
    sys::stat::{Mode, umask},
    unistd::daemon,
};
use vrrp_userspace::{
    config::{Reader, Verdict, diagnostics::Severity, explain::explain},
    handover,
};

use super::{
    LogTo, RunArguments,
    serve::{self, Manners},
    start_log,
};

/// keepalived(8)'s options. What is about load balancing, SNMP or debugging is accepted and does nothing.
#[derive(Debug, Parser)]
#[command(
    name = "keepalived",
    about = "xvrrp with keepalived's command line",
    disable_version_flag = true
)]
#[expect(
    clippy::struct_excessive_bools,
    clippy::option_option,
    reason = "each is an option of its own, which may lack its value"
)]
struct Options {
    /// The configuration file
    #[arg(
        short = 'f',
        long = "use-file",
        value_name = "FILE",
        default_value = "/etc/keepalived/keepalived.conf"
    )]
    use_file: PathBuf,
    /// Only VRRP: there is nothing else
    #[arg(short = 'P', long)]
    vrrp: bool,
    /// Only load balancing: refused
    #[arg(short = 'C', long)]
    check: bool,
    /// Everything: VRRP
    #[arg(long)]
    all: bool,
    /// Stay in the foreground
    #[arg(short = 'n', long)]
    dont_fork: bool,
    /// Log to standard error
    #[arg(short = 'l', long)]
    log_console: bool,
    /// Tell more
    #[arg(short = 'D', long)]
    log_detail: bool,
    /// The syslog facility: 0-7, local0-local7, user or daemon
    #[arg(short = 'S', long, value_name = "FACILITY")]
    log_facility: Option<String>,
    /// Log to this file
    #[arg(short = 'g', long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// Do not log to syslog
    #[arg(short = 'G', long)]
    no_syslog: bool,
    /// Say at the start what the configuration does
    #[arg(short = 'd', long)]
    dump_conf: bool,
    /// Where the process id is written
    #[arg(
        short = 'p',
        long,
        value_name = "FILE",
        default_value = "/run/keepalived.pid"
    )]
    pid: PathBuf,
    /// Where it is written once more, for programs that look for the VRRP process of keepalived
    #[arg(
        short = 'r',
        long = "vrrp_pid",
        value_name = "FILE",
        default_value = "/run/keepalived_vrrp.pid"
    )]
    vrrp_pid: PathBuf,
    /// Run in this network namespace
    #[arg(short = 's', long, value_name = "NAME")]
    namespace: Option<String>,
    /// A file that is included and missing is an error
    #[arg(short = 'e', long)]
    all_config: bool,
    /// What lines with `@ID` are for
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
    /// Leave addresses and routes where they are when the daemon stops
    #[arg(short = 'V', long)]
    dont_release_vrrp: bool,
    /// The file mode creation mask
    #[arg(short = 'u', long, value_name = "NUMBER")]
    umask: Option<String>,
    /// Check the configuration, and say what is wrong with it on standard error or in FILE
    #[arg(short = 't', long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    config_test: Option<Option<PathBuf>>,
    /// Say the number of a signal: `STOP`, `RELOAD`, `DATA`, `STATS`, `STATS_CLEAR`, `JSON`
    #[arg(long, value_name = "NAME")]
    signum: Option<String>,
    /// Say the version
    #[arg(short = 'v', long, action = ArgAction::SetTrue)]
    version: bool,
    #[command(flatten)]
    ignored: Ignored,
}

/// Accepted, so that whoever passes them need not change.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    clippy::option_option,
    reason = "each is an option of its own, which may lack its value"
)]
struct Ignored {
    #[arg(short = 'B', long = "no_bfd", hide = true)]
    no_bfd: bool,
    #[arg(long, hide = true)]
    flush_log_file: bool,
    #[arg(short = 'X', long, hide = true)]
    release_vips: bool,
    #[arg(short = 'I', long, hide = true)]
    dont_release_ipvs: bool,
    #[arg(short = 'R', long, hide = true)]
    dont_respawn: bool,
    #[arg(short = 'c', long = "checkers_pid", hide = true, value_name = "FILE")]
    checkers_pid: Option<PathBuf>,
    #[arg(short = 'b', long = "bfd_pid", hide = true, value_name = "FILE")]
    bfd_pid: Option<PathBuf>,
    #[arg(short = 'a', long, hide = true)]
    address_monitoring: bool,
    #[arg(short = 'x', long, hide = true)]
    snmp: bool,
    #[arg(short = 'A', long, hide = true, value_name = "FILE")]
    snmp_agent_socket: Option<PathBuf>,
    #[arg(short = 'm', long, hide = true)]
    core_dump: bool,
    #[arg(short = 'M', long, hide = true, num_args = 0..=1, require_equals = true)]
    core_dump_pattern: Option<Option<String>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    perf: Option<Option<String>>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true)]
    debug: Option<Option<String>>,
    #[arg(long, hide = true)]
    no_mem_check: bool,
}

/// Whether the program was called by keepalived's name.
pub(crate) fn is_meant(name: Option<&OsStr>) -> bool {
    let name = name.map(Path::new).and_then(Path::file_name);
    name.is_some_and(|name| name == "keepalived")
}

/// Does what keepalived's options ask for; the first word is the program's name.
pub(crate) fn run(words: impl IntoIterator<Item = OsString>) -> Result<ExitCode> {
    let options = Options::parse_from(words);
    if options.version {
        println!(
            "xvrrp {}, in place of keepalived",
            env!("CARGO_PKG_VERSION")
        );
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &options.signum {
        println!("{}", signal_number(name)?);
        return Ok(ExitCode::SUCCESS);
    }
    if options.check && !options.vrrp && !options.all {
        bail!("-C asks for load balancing alone, and xvrrp does VRRP only");
    }
    if let Some(mask) = &options.umask {
        umask(mask_of(mask)?);
    }
    if let Some(file) = &options.config_test {
        return check(&options, file.as_deref());
    }
    serve(&options)
}

/// The numbers that keepalived has given its signals.
fn signal_number(name: &str) -> Result<i32> {
    Ok(match name {
        "STOP" => libc::SIGTERM,
        "RELOAD" => libc::SIGHUP,
        "DATA" => libc::SIGUSR1,
        "STATS" => libc::SIGUSR2,
        "STATS_CLEAR" => libc::SIGRTMAX() - 1,
        "JSON" => libc::SIGRTMIN() + 2,
        other => {
            bail!("there is no signal for {other}: STOP, RELOAD, DATA, STATS, STATS_CLEAR or JSON")
        }
    })
}

/// Octal with a 0 in front, hexadecimal with 0x, else decimal.
fn mask_of(text: &str) -> Result<Mode> {
    let bits = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8),
        _ => text.parse(),
    };
    bits.ok()
        .filter(|bits| *bits <= 0o777)
        .and_then(Mode::from_bits)
        .with_context(|| format!("{text} cannot be a umask; such as 0177"))
}

fn reader(options: &Options) -> Reader {
    Reader {
        needs_every_file: options.all_config,
        ..Reader::new(options.config_id.as_deref())
    }
}

fn check(options: &Options, file: Option<&Path>) -> Result<ExitCode> {
    let loaded = super::load(&reader(options), &options.use_file)?;
    let diagnostics = &loaded.diagnostics;
    let shown = diagnostics.render_from(Severity::Warning, &loaded.sources, false);
    match file {
        Some(file) => {
            let written = std::fs::write(file, shown);
            written.with_context(|| format!("write {}", file.display()))?;
        }
        None => eprint!("{shown}"),
    }
    Ok(ExitCode::from(loaded.verdict(false).code()))
}

fn serve(options: &Options) -> Result<ExitCode> {
    // What is found only later is told to nobody: nobody waits then.
    let path =
        std::path::absolute(&options.use_file).context("find out where the configuration is")?;
    let loaded = super::load(&reader(options), &path)?;
    let facility = facility(options.log_facility.as_deref())?;
    if loaded.verdict(false) == Verdict::CannotRun {
        bail!(
            "{}: no instance can be served; -t shows why",
            path.display()
        );
    }
    // It stays where it is: the next image of it is started with the same paths. One that goes on is in the
    // background already.
    if !options.dont_fork && !handover::was_handed_over() {
        daemon(true, false).context("go on in the background")?;
    }
    let log_to = match &options.log_file {
        Some(file) => LogTo::File(file.clone()),
        None if options.log_console || options.no_syslog || options.dont_fork => LogTo::Console,
        None => LogTo::Syslog(facility),
    };
    start_log(&log_to, options.log_detail)?;
    if options.dump_conf {
        for line in explain(&loaded.config).lines() {
            tracing::info!("{line}");
        }
    }
    let arguments =
        RunArguments::of_file(path, options.config_id.clone(), options.namespace.clone());
    let manners = Manners {
        keeps_addresses: options.dont_release_vrrp,
        pid_files: vec![options.pid.clone(), options.vrrp_pid.clone()],
        needs_every_file: options.all_config,
    };
    serve::serve(&arguments, manners)
}

fn facility(name: Option<&str>) -> Result<syslog_tracing::Facility> {
    use syslog_tracing::Facility;
    let Some(name) = name else {
        return Ok(Facility::Daemon);
    };
    let local = name.strip_prefix("local").unwrap_or(name);
    Ok(match local {
        "0" => Facility::Local0,
        "1" => Facility::Local1,
        "2" => Facility::Local2,
        "3" => Facility::Local3,
        "4" => Facility::Local4,
        "5" => Facility::Local5,
        "6" => Facility::Local6,
        "7" => Facility::Local7,
        "user" => Facility::User,
        "daemon" => Facility::Daemon,
        _ => bail!("there is no syslog facility {name}: 0-7, local0-local7, user or daemon"),
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_options_are_keepalived_s() {
        Options::command().debug_assert();
        let words = "keepalived -f a.conf -P -n -l -D -d -p pid -r vpid -s ns -i id -V -x -R -u 0177 --all -tout";
        let parsed = Options::try_parse_from(words.replace("-tout", "-t=out").split(' '));
        let options = parsed.expect("all of them");
        assert_eq!(options.config_test, Some(Some(PathBuf::from("out"))));
        assert_eq!(options.config_id.as_deref(), Some("id"));
        assert!(is_meant(Some(OsStr::new("/usr/sbin/keepalived"))));
        assert!(!is_meant(Some(OsStr::new("/usr/bin/xvrrp"))));
    }

    #[test]
    fn masks_and_signals_are_numbers() {
        assert_eq!(
            mask_of("0177").expect("octal"),
            Mode::from_bits_truncate(0o177)
        );
        assert_eq!(
            mask_of("18").expect("decimal"),
            Mode::from_bits_truncate(0o22)
        );
        assert!(mask_of("rwx").is_err());
        assert_eq!(signal_number("RELOAD").expect("known"), 1);
        assert!(signal_number("TDATA").is_err());
    }
}
