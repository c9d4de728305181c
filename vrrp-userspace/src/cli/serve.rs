//! `xvrrp run`.

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vrrp_userspace::{
    config::{Reader, diagnostics::Severity, model::Config},
    daemon::{self, Launch, Options, Origin, Running, Signals},
    dataplane::NativePrograms,
    handover::{self, Parcel},
    net, privileges,
    remains::{self, CleanUp},
    run_dir::{self, Claim},
};

use super::{RunArguments, configuration, embedded::embedded, load};

/// What is different where keepalived's command line is used.
#[derive(Default)]
pub(super) struct Manners {
    /// Addresses and routes stay where they are when the daemon stops (`--dont-release-vrrp`).
    pub(super) keeps_addresses: bool,
    /// Where the process id is written.
    pub(super) pid_files: Vec<PathBuf>,
    /// A file that is included and missing is an error (`--all-config`).
    pub(super) needs_every_file: bool,
}

/// Files with the process id, for as long as this lives.
struct PidFiles(Vec<PathBuf>);

impl PidFiles {
    fn write(paths: Vec<PathBuf>) -> Result<Self> {
        let files = Self(paths);
        for path in &files.0 {
            fs::write(path, format!("{}\n", std::process::id()))
                .with_context(|| format!("write the process id into {}", path.display()))?;
        }
        Ok(files)
    }
}

impl Drop for PidFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // Whoever reads it finds no process of that number any more.
            let _ = fs::remove_file(path);
        }
    }
}

/// Where the daemon is to run: named on the command line, or in the configuration.
fn namespace(arguments: &RunArguments, reader: &Reader) -> Option<String> {
    let named = arguments.run_dir.namespace.clone();
    named.or_else(|| {
        let path = configuration(arguments.config.clone()).ok()?;
        // What cannot be read is told soon enough.
        let loaded = reader.load(&path).ok()?;
        loaded.config.global.net_namespace
    })
}

pub(super) fn serve(arguments: &RunArguments, manners: Manners) -> Result<ExitCode> {
    let reader = Reader {
        needs_every_file: manners.needs_every_file,
        ..Reader::new(arguments.config_id.as_deref())
    };
    if arguments.iface.is_none()
        && let Some(name) = namespace(arguments, &reader)
    {
        net::enter_namespace(&name)?;
    } else if let Some(name) = &arguments.run_dir.namespace {
        net::enter_namespace(name)?;
    }
    daemon::reap_children();
    let launch = Launch::note().context("find out which binary this is")?;
    let parcel = Parcel::receive();
    raise_file_limit();
    if let Err(error) = privileges::keep_for_the_control_plane() {
        tracing::warn!("cannot give up privileges: {error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .on_thread_start(privileges::leave_signals_alone)
        .enable_all()
        .build()?;
    let succeeds = parcel.is_some() || handover::was_handed_over();
    runtime.block_on(async {
        match start(arguments, &manners, reader, launch, parcel).await {
            Ok(Some(running)) => {
                // Not before the claim: another daemon's are not ours to write.
                let _pid_files = PidFiles::write(manners.pid_files)?;
                running.serve().await
            }
            Ok(None) => Ok(()),
            Err(error) => {
                if succeeds {
                    // Nobody else takes off what we were to go on with.
                    bury(arguments).await;
                }
                Err(error)
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Starts the daemon; `None` where somebody wants it to end before it has begun.
async fn start(
    arguments: &RunArguments,
    manners: &Manners,
    reader: Reader,
    launch: Launch,
    parcel: Option<Parcel>,
) -> Result<Option<Running>> {
    let mut signals = Signals::catch()?;
    let claim = Claim::take(run_dir::of_this_namespace(&arguments.run_dir.path)?)?;
    let configured = async {
        match &arguments.iface {
            Some(interface) => embedded(interface, arguments, parcel.as_ref()).await,
            None => from_file(arguments, reader),
        }
    };
    let (config, origin) = if parcel.is_some() {
        // What was handed over must be given up in order: first it is taken up.
        configured.await?
    } else {
        tokio::select! {
            configured = configured => configured?,
            () = signals.end() => return Ok(None),
        }
    };
    let options = Options {
        config,
        origin,
        mode: arguments.xdp_mode,
        bpffs: arguments.bpffs.path.clone(),
        claim,
        signals,
        launch,
        parcel,
        control_group: arguments.control_group.clone(),
        metrics: arguments.metrics,
        keeps_addresses: manners.keeps_addresses,
    };
    daemon::start(options).await.map(Some)
}

/// A daemon that cannot go on where another left off leaves nothing behind.
async fn bury(arguments: &RunArguments) {
    let buried = async {
        let claim = Claim::take(run_dir::of_this_namespace(&arguments.run_dir.path)?)?;
        let options = CleanUp {
            bpffs: &arguments.bpffs.path,
            native: NativePrograms::KeepInert,
            force: false,
        };
        remains::clean_up(&claim, &net::read().await?, &options)
    };
    match buried.await {
        Ok(done) => {
            for line in done {
                tracing::warn!("left by the daemon before: {line}");
            }
        }
        Err(error) => tracing::error!("what the daemon before has left stays: {error:#}"),
    }
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

fn from_file(arguments: &RunArguments, reader: Reader) -> Result<(Config, Origin)> {
    let path = configuration(arguments.config.clone())?;
    let loaded = load(&reader, &path)?;
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
    Ok((loaded.config, Origin::File { path, reader }))
}
