//! The serving end.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::{
        ConnectInfo, State,
        connect_info::{Connected, MockConnectInfo},
    },
    http::StatusCode,
    routing::{get, post},
    serve::IncomingStream,
};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::UnixListener,
    sync::{mpsc, oneshot},
};

use super::model::{Hand, Reloaded, Status};

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

/// Serves the control interface until the process ends. Root may connect, and the members of `group`.
///
/// # Errors
///
/// When the socket cannot be had, or there is no such group.
pub fn serve(path: &Path, group: Option<&str>, questions: mpsc::Sender<Question>) -> Result<()> {
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
    let service = routes(questions).into_make_service_with_connect_info::<Peer>();
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

fn routes(questions: mpsc::Sender<Question>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/reload", post(reload))
        .route("/upgrade", post(upgrade))
        .route("/hand", post(hand))
        .with_state(questions)
}

/// Serves one connection, whatever it is made of, of somebody who may only ask.
pub async fn serve_connection<S>(stream: S, questions: mpsc::Sender<Question>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let router = routes(questions).layer(MockConnectInfo(Peer::default()));
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
