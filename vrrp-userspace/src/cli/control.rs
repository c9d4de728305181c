//! Commands that talk to the running daemon.

use std::{future::Future, io::Write as _, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use tokio::{
    runtime,
    time::{sleep, timeout},
};
use vrrp_userspace::{
    control::{self, ClientError, Hand, Happened, Whom},
    run_dir,
};

use super::RunDir;

#[derive(Args)]
pub(super) struct StatusArguments {
    /// One instance, in depth
    instance: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Args)]
struct Asked {
    /// Only what is about this instance or check
    subject: Option<String>,
    /// For programs: one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Args)]
pub(super) struct EventsArguments {
    #[command(flatten)]
    asked: Asked,
    /// How many, of the last ones
    #[arg(long, short = 'n', default_value_t = 20)]
    count: usize,
}

#[derive(Args)]
pub(super) struct WatchArguments {
    #[command(flatten)]
    asked: Asked,
    /// How many of the last ones come first
    #[arg(long, short = 'n', default_value_t = 0)]
    count: usize,
}

#[derive(Args)]
pub(super) struct ReloadArguments {
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Args)]
pub(super) struct UpgradeArguments {
    #[command(flatten)]
    run_dir: RunDir,
}

#[derive(Args)]
pub(super) struct HandArguments {
    /// The instance
    #[arg(required_unless_present = "all")]
    instance: Option<String>,
    /// Every instance
    #[arg(long, conflicts_with = "instance")]
    all: bool,
    #[command(flatten)]
    run_dir: RunDir,
}

impl HandArguments {
    fn whom(&self) -> Whom {
        match &self.instance {
            Some(name) => Whom::Instance(name.clone()),
            None => Whom::All,
        }
    }
}

#[derive(Args)]
pub(super) struct PriorityArguments {
    /// The instance
    instance: String,
    /// Its base priority
    #[arg(value_name = "1-254", value_parser = clap::value_parser!(u8).range(1..=254))]
    priority: u8,
    #[command(flatten)]
    run_dir: RunDir,
}

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many seconds one question of `watch` waits for an event.
const WATCH_WAIT: u64 = 20;
/// How soon `watch` asks again where nobody answers.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How many events `status` shows of an instance.
const LAST_EVENTS: usize = 8;

pub(super) fn status(arguments: &StatusArguments) -> Result<ExitCode> {
    let socket = socket(&arguments.run_dir)?;
    let (mut status, events) = ask(PATIENCE, async {
        let status = control::status(&socket).await?;
        let events = match arguments.instance {
            Some(_) => control::events(&socket, 0, 0).await?,
            None => Vec::new(),
        };
        Ok((status, events))
    })?;
    let text = match &arguments.instance {
        Some(name) => {
            let names: Vec<&str> = status.instances.iter().map(|it| &*it.name).collect();
            let names = names.join(", ");
            let events = last(&events, Some(name), LAST_EVENTS);
            let Some(text) = control::render_instance(&status, name, &events) else {
                bail!("there is no instance {name} (there are {names})");
            };
            status.instances.retain(|it| it.name == *name);
            text
        }
        None => control::render(&status),
    };
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&status)?));
    } else {
        print(&text);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn events(arguments: &EventsArguments) -> Result<ExitCode> {
    let socket = socket(&arguments.asked.run_dir)?;
    let all = ask(PATIENCE, control::events(&socket, 0, 0))?;
    for event in last(&all, arguments.asked.subject.as_deref(), arguments.count) {
        print(&line(&event, arguments.asked.json)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Until somebody ends it; the daemon may be replaced meanwhile.
pub(super) fn watch(arguments: &WatchArguments) -> Result<ExitCode> {
    let socket = socket(&arguments.asked.run_dir)?;
    let all = ask(PATIENCE, control::events(&socket, 0, 0))?;
    let subject = arguments.asked.subject.as_deref();
    for event in last(&all, subject, arguments.count) {
        print(&line(&event, arguments.asked.json)?);
    }
    let mut after = all.last().map_or(0, |last| last.number);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut is_away = false;
    loop {
        let came = runtime.block_on(async {
            let came = control::events(&socket, after, WATCH_WAIT).await;
            if came.is_err() {
                sleep(ASK_AGAIN).await;
            }
            came
        });
        match came {
            Ok(came) => {
                is_away = false;
                for event in &came {
                    let is_meant = subject.is_none_or(|subject| event.is_about(subject));
                    if is_meant && !print(&line(event, arguments.asked.json)?) {
                        return Ok(ExitCode::SUCCESS);
                    }
                    after = event.number;
                }
            }
            Err(error) if !is_away => {
                eprintln!("xvrrp: {error}; waiting for it");
                is_away = true;
            }
            Err(_) => {}
        }
    }
}

/// The last ones, about a subject where one is named.
fn last(all: &[Happened], subject: Option<&str>, count: usize) -> Vec<Happened> {
    let meant = all.iter().rev();
    let meant = meant.filter(|it| subject.is_none_or(|subject| it.is_about(subject)));
    let mut meant: Vec<Happened> = meant.take(count).cloned().collect();
    meant.reverse();
    meant
}

fn line(event: &Happened, for_programs: bool) -> Result<String> {
    let text = if for_programs {
        serde_json::to_string(event)?
    } else {
        event.line()
    };
    Ok(format!("{text}\n"))
}

/// Returns when the configuration is applied, or with what is wrong with it.
pub(super) fn reload(arguments: &ReloadArguments) -> Result<ExitCode> {
    let socket = socket(&arguments.run_dir)?;
    let reloaded = ask(PATIENCE * 6, control::reload(&socket))?;
    if reloaded.applied {
        println!("{}", reloaded.message);
    } else {
        eprintln!("{}", reloaded.message);
    }
    Ok(ExitCode::from(reloaded.code))
}

pub(super) fn drain(arguments: &HandArguments) -> Result<ExitCode> {
    lend_a_hand(&arguments.run_dir, &Hand::Drain(arguments.whom()))
}

pub(super) fn undrain(arguments: &HandArguments) -> Result<ExitCode> {
    lend_a_hand(&arguments.run_dir, &Hand::Undrain(arguments.whom()))
}

pub(super) fn priority(arguments: PriorityArguments) -> Result<ExitCode> {
    let PriorityArguments {
        instance,
        priority,
        run_dir,
    } = arguments;
    lend_a_hand(&run_dir, &Hand::Priority { instance, priority })
}

fn lend_a_hand(run_dir: &RunDir, hand: &Hand) -> Result<ExitCode> {
    let socket = socket(run_dir)?;
    let said = ask(PATIENCE, control::lend_a_hand(&socket, hand))?;
    println!("{said}");
    Ok(ExitCode::SUCCESS)
}

/// Asks the daemon, which answers only where it goes on as it is, and then waits for the new one.
pub(super) fn upgrade(arguments: &UpgradeArguments) -> Result<ExitCode> {
    let socket = socket(&arguments.run_dir)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async { timeout(PATIENCE * 4, control::upgrade(&socket)).await });
    let upgraded = done.context(
        "the new daemon does not answer; look at its log, and at `xvrrp status` for who is MASTER",
    )??;
    println!("xvrrp {} -> {}", upgraded.from, upgraded.to);
    for instance in upgraded.instances {
        println!("{instance}");
    }
    Ok(ExitCode::SUCCESS)
}

fn socket(run_dir: &RunDir) -> Result<PathBuf> {
    Ok(run_dir::socket(&run_dir.enter()?))
}

fn ask<T>(patience: Duration, question: impl Future<Output = Result<T, ClientError>>) -> Result<T> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(async { timeout(patience, question).await });
    let answer = answer.context("the daemon does not answer; is it overloaded or stopped?")?;
    Ok(answer?)
}

/// Says whether anybody reads it. A reader that stops, such as `head`, is no failure of ours.
fn print(text: &str) -> bool {
    std::io::stdout().write_all(text.as_bytes()).is_ok()
}
