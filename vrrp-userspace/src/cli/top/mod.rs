//! `xvrrp top`: how everything stands, as it changes.

mod draw;
mod screen;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Args;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use tokio::{
    runtime::{self, Runtime},
    time::timeout,
};
use vrrp_userspace::{control, run_dir};

use super::RunDir;
use screen::{Screen, Wish};

#[derive(Args)]
pub(super) struct TopArguments {
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = super::wire::parse_seconds)]
    interval: Duration,
    #[command(flatten)]
    run_dir: RunDir,
}

/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn top(arguments: &TopArguments) -> Result<ExitCode> {
    let socket = run_dir::socket(&arguments.run_dir.enter()?);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut screen = Screen::default();
    // Where nobody answers at the start, that is said on the terminal as it is.
    look(&runtime, &socket, &mut screen)?;
    let mut terminal = ratatui::init();
    let outcome = show(
        &mut terminal,
        &runtime,
        &socket,
        &mut screen,
        arguments.interval,
    );
    ratatui::restore();
    outcome.map(|()| ExitCode::SUCCESS)
}

fn show(
    terminal: &mut DefaultTerminal,
    runtime: &Runtime,
    socket: &Path,
    screen: &mut Screen,
    interval: Duration,
) -> Result<()> {
    let mut next = Instant::now() + interval;
    loop {
        terminal.draw(|frame| draw::draw(frame, screen))?;
        let left = next.saturating_duration_since(Instant::now());
        if event::poll(left)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                match screen.press(key) {
                    Wish::Quit => return Ok(()),
                    Wish::Hand(hand) => {
                        let done = runtime.block_on(async {
                            timeout(PATIENCE, control::lend_a_hand(socket, &hand)).await
                        });
                        screen.says(match done {
                            Ok(Ok(said)) => said,
                            Ok(Err(error)) => error.to_string(),
                            Err(_) => "the daemon does not answer".to_owned(),
                        });
                    }
                    Wish::Nothing => {}
                }
            }
            continue;
        }
        next = Instant::now() + interval;
        if let Err(error) = look(runtime, socket, screen) {
            screen.says(format!("{error:#}"));
        }
    }
}

/// Asks the daemon how everything stands.
fn look(runtime: &Runtime, socket: &Path, screen: &mut Screen) -> Result<()> {
    let (status, events) = runtime.block_on(async {
        let asked = async {
            let status = control::status(socket).await?;
            let events = control::events(socket, screen.last_event(), 0).await?;
            Ok::<_, control::ClientError>((status, events))
        };
        timeout(PATIENCE, asked).await
    })??;
    screen.take(status, events);
    Ok(())
}
