//! `notify_fifo`, `vrrp_notify_fifo` and the scripts that read them: a line per event, in order.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, chown},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use nix::sys::{
    signal::{Signal, killpg},
    stat::Mode,
};
use nix::unistd::{Pid, mkfifo};
use tokio::{
    io::AsyncWriteExt as _,
    net::unix::pipe::Sender,
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinHandle},
    time::{self, Instant},
};

use super::Ending;
use crate::{
    config::model::{FifoSettings, NotifyScript, ScriptUser},
    health::{Command, Identity},
};

/// Lines that wait while nobody reads. The pipe itself holds about a thousand more.
const WAITING: usize = 10_000;
/// How long a reader that ended is waited for before the next one is started: longer each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How long a reader may take to end by itself. One that has the FIFO open for writing as well never does.
const GRACE: Duration = Duration::from_secs(1);

/// An open FIFO.
pub(super) struct Fifo {
    pub(super) settings: FifoSettings,
    lines: mpsc::Sender<Line>,
    sent: AtomicU64,
    lost: AtomicU64,
    writer: JoinHandle<()>,
    reader: Option<Reader>,
    /// It was not there before.
    is_ours: bool,
}

enum Line {
    Text(String),
    /// Answered once everything before is in the pipe.
    Flushed(oneshot::Sender<()>),
}

impl Drop for Fifo {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

impl Fifo {
    /// Opens it, makes it first where it is not there, and starts its reader.
    pub(super) fn open(
        settings: &FifoSettings,
        default_user: Option<&ScriptUser>,
    ) -> io::Result<Self> {
        let (file, is_ours) = open(settings)?;
        let pipe = Sender::from_file(file)?;
        let (lines, queue) = mpsc::channel(WAITING);
        let writer = tokio::spawn(write(pipe, queue));
        let script = settings.script.as_ref();
        let reader = script.map(|script| Reader::start(script, default_user, &settings.path));
        Ok(Self {
            settings: settings.clone(),
            lines,
            sent: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            writer,
            reader,
            is_ours,
        })
    }

    /// Queues a line. One that finds no room is lost, and that is told.
    pub(super) fn tell(&self, line: &str) {
        if self.lines.try_send(Line::Text(line.to_owned())).is_ok() {
            self.sent.fetch_add(1, Ordering::Relaxed);
        } else if self.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!(
                "{WAITING} lines wait for a reader of {}: from here on lines are lost",
                self.settings.path.display()
            );
        }
    }

    /// How many lines were written, lost, and wait.
    pub(super) fn counts(&self) -> (u64, u64, usize) {
        let waiting = self.lines.max_capacity() - self.lines.capacity();
        let (sent, lost) = (&self.sent, &self.lost);
        (
            sent.load(Ordering::Relaxed),
            lost.load(Ordering::Relaxed),
            waiting,
        )
    }

    /// Waits until every line is in the pipe.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.lines.send(Line::Flushed(done)).await.is_ok() {
            // An error means that the writer has ended.
            let _ = flushed.await;
        }
    }

    /// Its reader ends by itself once it has read everything and nobody has the other end any longer; one
    /// that does not, for a while, is ended. At the end of the daemon a FIFO that it has made is taken away.
    pub(super) async fn close(mut self, ending: Ending) {
        if let Some(reader) = self.reader.take() {
            self.writer.abort();
            // Aborted as it was told to be.
            let _ = (&mut self.writer).await;
            reader.finish().await;
        }
        if ending == Ending::Stop
            && self.is_ours
            && let Err(error) = fs::remove_file(&self.settings.path)
        {
            tracing::warn!("remove {}: {error}", self.settings.path.display());
        }
    }
}

/// `O_RDWR`: the FIFO can be opened, and keeps its lines, while nobody reads.
fn open(settings: &FifoSettings) -> io::Result<(File, bool)> {
    let path = &settings.path;
    let is_new = match mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(()) => true,
        Err(nix::Error::EEXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.file_type().is_fifo() {
        return Err(io::Error::other("there is something that is no FIFO"));
    }
    if let Some(user) = &settings.user {
        let identity = Identity::resolve(Some(user), None).map_err(io::Error::other)?;
        let (uid, gid) = identity.map_or((metadata.uid(), metadata.gid()), Identity::ids);
        if is_new {
            chown(path, Some(uid), Some(gid))?;
        }
    }
    Ok((file, is_new))
}

async fn write(mut pipe: Sender, mut queue: mpsc::Receiver<Line>) {
    while let Some(line) = queue.recv().await {
        match line {
            // A line is shorter than PIPE_BUF: it goes in whole or not at all.
            Line::Text(text) => {
                if let Err(error) = pipe.write_all(text.as_bytes()).await {
                    tracing::error!("a line for a FIFO is lost: {error}");
                }
            }
            Line::Flushed(done) => {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }
}

/// The script that reads a FIFO; ended when dropped.
struct Reader {
    keeper: AbortHandle,
    /// Its process group; 0 = none runs.
    group: watch::Receiver<i32>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.keeper.abort();
        let group = *self.group.borrow();
        if group > 0 {
            // One that is gone already is as wanted.
            let _ = killpg(Pid::from_raw(group), Signal::SIGTERM);
        }
    }
}

impl Reader {
    fn start(script: &NotifyScript, default_user: Option<&ScriptUser>, fifo: &Path) -> Self {
        let (running, group) = watch::channel(0);
        let keeper = keep_reading(
            script.clone(),
            default_user.cloned(),
            fifo.to_owned(),
            running,
        );
        Self {
            keeper: tokio::spawn(keep_reading_logged(keeper)).abort_handle(),
            group,
        }
    }

    /// Waits until the script has ended; dropping it ends one that has not.
    async fn finish(mut self) {
        // An error means that none will run any more.
        let _ = time::timeout(GRACE, self.group.wait_for(|group| *group == 0)).await;
    }
}

async fn keep_reading_logged(keeper: impl Future<Output = Result<(), String>>) {
    if let Err(why) = keeper.await {
        tracing::error!("{why}");
    }
}

/// Starts the reader, and another one whenever it ends.
async fn keep_reading(
    script: NotifyScript,
    default_user: Option<ScriptUser>,
    fifo: PathBuf,
    running: watch::Sender<i32>,
) -> Result<(), String> {
    let line = &script.command;
    let command = Identity::resolve(script.user.as_ref(), default_user.as_ref())
        .and_then(|identity| Command::new(line, identity))
        .map_err(|error| format!("the reader of {}: {line}: {error}", fifo.display()))?;
    let path = fifo.display().to_string();
    let mut pause = FIRST_PAUSE;
    loop {
        let started = Instant::now();
        let ended = match command.start(&[&path]) {
            Ok(mut child) => {
                let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
                running.send_replace(pid.unwrap_or(0));
                let ended = child.wait().await;
                running.send_replace(0);
                ended.map_or_else(|error| error.to_string(), |status| status.to_string())
            }
            Err(error) => error.to_string(),
        };
        if started.elapsed() > LONGEST_PAUSE {
            pause = FIRST_PAUSE;
        }
        // Whoever closes the FIFO ends this task here.
        time::sleep(pause).await;
        tracing::warn!(
            "the reader of {path}: {line}: {ended}, {pause:?} ago; starting another one"
        );
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
