//! The serving end.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::{
        ConnectInfo, FromRef, Query, State,
        connect_info::{Connected, MockConnectInfo},
    },
    http::StatusCode,
    routing::{get, post},
    serve::IncomingStream,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixListener,
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{
    Happened,
    model::{Hand, Reloaded, Status},
};
use crate::history::History;

/// What the control interface asks the daemon.
pub enum Question {
    /// How everything stands.
    Status(oneshot::Sender<Status>),
    /// Read the configuration again.
    Reload(oneshot::Sender<Reloaded>),
    /// Do something by hand. `Err`: why not.
    Hand(Hand, oneshot::Sender<Result<String, String>>),
    /// Put the binary that is at the daemon's path by now in its place. Answered only where that fails.
    Upgrade(oneshot::Sender<String>),
}

/// What the control interface asks, and what it reads by itself.
#[derive(Clone)]
pub struct Served {
    questions: mpsc::Sender<Question>,
    history: History,
}

impl Served {
    /// Questions go to the daemon; its history is read without it.
    #[must_use]
    pub const fn new(questions: mpsc::Sender<Question>, history: History) -> Self {
        Self { questions, history }
    }
}

impl FromRef<Served> for mpsc::Sender<Question> {
    fn from_ref(served: &Served) -> Self {
        served.questions.clone()
    }
}

impl FromRef<Served> for History {
    fn from_ref(served: &Served) -> Self {
        served.history.clone()
    }
}

/// Serves the control interface until the process ends. Root may connect, and the members of `group`.
///
/// # Errors
///
/// When the socket cannot be had, or there is no such group.
pub fn serve(path: &Path, group: Option<&str>, served: Served) -> Result<()> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?;
    let protect = || format!("protect {}", path.display());
    let mode = match group {
        Some(name) => {
            let group = uzers::get_group_by_name(name);
            let group = group.with_context(|| format!("there is no group {name}"))?;
            chown(path, None, Some(group.gid())).with_context(protect)?;
            0o660
        }
        None => 0o600,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(protect)?;
    let service = routes(served).into_make_service_with_connect_info::<Peer>();
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!("the control interface failed: {error}; `xvrrp status` cannot connect");
        }
    });
    Ok(())
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self {
            uid: credentials.map(|credentials| credentials.uid()),
        }
    }
}

impl Peer {
    /// Whoever may change something: root, and the user that the daemon runs as.
    fn may_change(self) -> bool {
        let own = nix::unistd::geteuid().as_raw();
        self.uid.is_some_and(|uid| uid == 0 || uid == own)
    }
}

fn routes(served: Served) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/events", get(events))
        .route("/reload", post(reload))
        .route("/upgrade", post(upgrade))
        .route("/hand", post(hand))
        .with_state(served)
}

/// Serves one connection, whatever it is made of, of somebody who may only ask.
pub async fn serve_connection<S>(stream: S, served: Served)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = routes(served).layer(MockConnectInfo(Peer::default()));
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // An error is the client's: it is told, or has gone.
    let _ = connection.await;
}

const NOT_ALLOWED: &str = "only root, and the user that the daemon runs as, may change anything";

async fn reload(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(questions): State<mpsc::Sender<Question>>,
) -> Result<Json<Reloaded>, (StatusCode, &'static str)> {
    if !peer.may_change() {
        return Err((StatusCode::FORBIDDEN, NOT_ALLOWED));
    }
    let ending = (StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending");
    let (reply, answer) = oneshot::channel();
    if questions.send(Question::Reload(reply)).await.is_err() {
        return Err(ending);
    }
    answer.await.map(Json).map_err(|_| ending)
}

/// Answers with what was done.
async fn hand(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(questions): State<mpsc::Sender<Question>>,
    Json(hand): Json<Hand>,
) -> (StatusCode, String) {
    if !peer.may_change() {
        return (StatusCode::FORBIDDEN, NOT_ALLOWED.to_owned());
    }
    let (reply, answer) = oneshot::channel();
    let asked = questions.send(Question::Hand(hand, reply)).await;
    match (asked, answer.await) {
        (Ok(()), Ok(Ok(done))) => (StatusCode::OK, done),
        (Ok(()), Ok(Err(why))) => (StatusCode::CONFLICT, why),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the daemon is ending".to_owned(),
        ),
    }
}

/// Where it succeeds, the connection ends with this process image.
async fn upgrade(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(questions): State<mpsc::Sender<Question>>,
) -> (StatusCode, String) {
    if !peer.may_change() {
        return (StatusCode::FORBIDDEN, NOT_ALLOWED.to_owned());
    }
    let (reply, answer) = oneshot::channel();
    let asked = questions.send(Question::Upgrade(reply)).await;
    match (asked, answer.await) {
        (Ok(()), Ok(refusal)) => (StatusCode::CONFLICT, refusal),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the daemon is ending".to_owned(),
        ),
    }
}

/// What is asked of the history.
#[derive(Deserialize)]
struct After {
    /// The number of the last event that is known.
    #[serde(default)]
    after: u64,
    /// How many seconds to wait for one.
    #[serde(default)]
    wait: u64,
}

/// The longest that anybody may wait with one question.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

async fn events(State(history): State<History>, Query(asked): Query<After>) -> Json<Vec<Happened>> {
    let patience = Duration::from_secs(asked.wait).min(LONGEST_WAIT);
    // Nothing is an answer too.
    let _ = timeout(patience, history.wait(asked.after)).await;
    Json(history.after(asked.after))
}

async fn status(
    State(questions): State<mpsc::Sender<Question>>,
) -> Result<Json<Status>, StatusCode> {
    let (reply, answer) = oneshot::channel();
    let gone = |_| StatusCode::SERVICE_UNAVAILABLE;
    questions
        .send(Question::Status(reply))
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    answer.await.map(Json).map_err(gone)
}
