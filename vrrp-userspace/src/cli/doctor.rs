//! `xvrrp doctor`.

use std::{
    collections::BTreeSet, io::Write as _, path::PathBuf, process::ExitCode, thread, time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use tokio::time::timeout;
use vrrp_userspace::{
    config::{Reader, model::Config},
    control,
    doctor::{self, Case, Finding, Host, Level},
    net::{self, InterfaceTable, Sniffer},
    observe::Lan,
    run_dir,
};

use super::{RunDir, configuration, load};

#[derive(Args)]
pub(super) struct DoctorArguments {
    /// Configuration file [default: the one that the daemon would serve]
    #[arg(long, short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long to listen on each interface
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = super::wire::parse_seconds)]
    seconds: Duration,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at everything. Exits with 1 where something is wrong.
pub(super) fn doctor(arguments: &DoctorArguments) -> Result<ExitCode> {
    let socket = run_dir::socket(&arguments.run_dir.enter()?);
    let path = configuration(arguments.config.clone())?;
    let config = load(&Reader::new(None), &path)?.config;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (status, table) = runtime.block_on(async {
        let status = timeout(PATIENCE, control::status(&socket)).await;
        // That nobody answers is a finding, and why.
        let late = |_| "it does not answer; is it stopped, or overloaded?".to_owned();
        let status = status
            .map_err(late)
            .and_then(|status| status.map_err(|error| error.to_string()));
        (status, net::read().await)
    });
    let table = table.context("read the interfaces")?;
    let heard = listen(&config, &table, arguments.seconds);
    let findings = doctor::examine(&Case {
        host: &Host::default(),
        config: &config,
        status: status.as_ref().ok(),
        silence: status.as_ref().err().map(String::as_str),
        table: &table,
        heard: &heard,
        listened: arguments.seconds,
    });
    let text = if arguments.json {
        format!("{}\n", serde_json::to_string_pretty(&findings)?)
    } else {
        render(&findings)
    };
    // A reader that stops reading is no failure of ours.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let is_wrong = findings.iter().any(|it| it.level == Level::Wrong);
    Ok(ExitCode::from(u8::from(is_wrong)))
}

/// Listens on every interface of the configuration at the same time.
fn listen(config: &Config, table: &InterfaceTable, time: Duration) -> Vec<(String, Lan)> {
    let names: BTreeSet<&String> = config.instances.iter().map(|it| &it.interface).collect();
    thread::scope(|scope| {
        let listeners = names.into_iter().filter_map(|name| {
            let sniffer = Sniffer::open(table.by_name(name)?.index).ok()?;
            Some((name.clone(), scope.spawn(move || Lan::hear(&sniffer, time))))
        });
        let listeners: Vec<_> = listeners.collect();
        listeners
            .into_iter()
            .filter_map(|(name, listener)| Some((name, listener.join().ok()?.ok()?)))
            .collect()
    })
}

fn render(findings: &[Finding]) -> String {
    let mut text = String::new();
    for level in [Level::Wrong, Level::Note, Level::Fine] {
        for finding in findings.iter().filter(|it| it.level == level) {
            text.push_str(&line(finding));
        }
    }
    let count = |level| findings.iter().filter(|it| it.level == level).count();
    if text.contains("sysctl -w") {
        text.push_str("\nWhat sysctl -w sets lasts until the machine restarts; a file in /etc/sysctl.d makes it stay.\n");
    }
    text + &format!(
        "\n{} wrong, {} to know, {} fine\n",
        count(Level::Wrong),
        count(Level::Note),
        count(Level::Fine)
    )
}

fn line(finding: &Finding) -> String {
    let Finding {
        level, about, what, ..
    } = finding;
    let fix = finding.fix.as_ref();
    let fix = fix.map_or_else(String::new, |fix| format!("       -> {fix}\n"));
    format!("{:5}  {about}: {what}\n{fix}", level.name())
}
