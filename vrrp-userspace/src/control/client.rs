//! The asking end, for the command line.

use std::{convert::Infallible, io, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Empty, Full};
use hyper::{
    Request,
    body::{Body, Bytes},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::{net::UnixStream, time};

use super::{
    Happened,
    model::{Hand, InstanceStatus, Reloaded, Status},
};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "cannot connect to {path}: {error}; is xvrrp running in this network namespace, with the same --run-dir, and are you root?"
    )]
    Connect {
        /// The socket.
        path: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The connection failed.
    #[error("talk to the daemon: {0}")]
    Http(#[from] hyper::Error),
    /// The request could not be made.
    #[error("ask the daemon: {0}")]
    Request(#[from] hyper::http::Error),
    /// The daemon refused.
    #[error("the daemon answered {0}; it may be stopping")]
    Refused(hyper::StatusCode),
    /// It does not read its configuration for us.
    #[error("not reloaded ({0}): {1}")]
    NotReloaded(hyper::StatusCode, String),
    /// The daemon goes on as it is.
    #[error("not upgraded ({0}): {1}")]
    NotUpgraded(hyper::StatusCode, String),
    /// It was not done.
    #[error("{0}")]
    NotDone(String),
    /// The next daemon did not live.
    #[error(
        "the new daemon has ended; its log says why, and what it has left is taken off by `xvrrp cleanup`"
    )]
    Ended,
    /// The answer makes no sense.
    #[error("the daemon's answer makes no sense ({0}); is it another version?")]
    Answer(#[from] serde_json::Error),
}

/// What an upgrade has done.
#[derive(Clone, Debug)]
pub struct Upgraded {
    /// The version before.
    pub from: String,
    /// The version that runs now.
    pub to: String,
    /// Every instance and its state, before and after.
    pub instances: Vec<String>,
}

/// How often the new daemon is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Asks for the status.
///
/// # Errors
///
/// [`ClientError`].
pub async fn status(socket: &Path) -> Result<Status, ClientError> {
    get(socket, "/status").await
}

/// Asks what has happened after the event with this number, and waits so many seconds for something.
///
/// # Errors
///
/// [`ClientError`].
pub async fn events(socket: &Path, after: u64, wait: u64) -> Result<Vec<Happened>, ClientError> {
    get(socket, &format!("/events?after={after}&wait={wait}")).await
}

/// Makes the daemon read its configuration again, and waits until that is applied.
///
/// # Errors
///
/// [`ClientError`]; a configuration that is refused is an answer.
pub async fn reload(socket: &Path) -> Result<Reloaded, ClientError> {
    let before = status(socket).await?;
    let request = Request::post("/reload")
        .header("host", "xvrrp")
        .body(Empty::<Bytes>::new())?;
    match ask(socket, request).await {
        Ok((status, body)) if status.is_success() => Ok(serde_json::from_slice(&body)?),
        Ok((status, body)) => {
            let reason = String::from_utf8_lossy(&body).into_owned();
            Err(ClientError::NotReloaded(status, reason))
        }
        // The configuration has outgrown the process, which goes on as another image.
        Err(ClientError::Http(_)) => {
            let after = next(socket, &before).await?;
            Ok(Reloaded {
                applied: true,
                code: 0,
                message: format!("{} instances, as a new process", after.instances.len()),
            })
        }
        Err(error) => Err(error),
    }
}

/// Makes the daemon put the installed binary in its place, and waits until that one answers.
///
/// # Errors
///
/// [`ClientError`], with the daemon's reason where it goes on as it is.
pub async fn upgrade(socket: &Path) -> Result<Upgraded, ClientError> {
    let before = status(socket).await?;
    let request = Request::post("/upgrade")
        .header("host", "xvrrp")
        .body(Empty::<Bytes>::new())?;
    match ask(socket, request).await {
        Ok((status, body)) => {
            let reason = String::from_utf8_lossy(&body).into_owned();
            return Err(ClientError::NotUpgraded(status, reason));
        }
        // The image that we talked to is gone: just what was asked for.
        Err(ClientError::Http(_)) => {}
        Err(error) => return Err(error),
    }
    let after = next(socket, &before).await?;
    Ok(compare(before, after))
}

/// Does something by hand.
///
/// # Errors
///
/// [`ClientError`], with the daemon's reason where it does not.
pub async fn lend_a_hand(socket: &Path, hand: &Hand) -> Result<String, ClientError> {
    let request = Request::post("/hand")
        .header("host", "xvrrp")
        .header("content-type", "application/json")
        .body(Full::from(serde_json::to_vec(hand)?))?;
    let (status, body) = ask(socket, request).await?;
    let said = String::from_utf8_lossy(&body).into_owned();
    if status.is_success() {
        Ok(said)
    } else {
        Err(ClientError::NotDone(said))
    }
}

/// Waits until another daemon answers than before.
async fn next(socket: &Path, before: &Status) -> Result<Status, ClientError> {
    loop {
        if let Ok(after) = status(socket).await
            && after.started_ns != before.started_ns
        {
            return Ok(after);
        }
        if !Path::new("/proc").join(before.pid.to_string()).exists() {
            return Err(ClientError::Ended);
        }
        time::sleep(LOOK_AGAIN).await;
    }
}

fn compare(before: Status, after: Status) -> Upgraded {
    let state_of = |name: &str| {
        let mut all = before.instances.iter();
        let found = all.find(|instance| instance.name == name);
        found.map_or("-", |instance| &*instance.state)
    };
    let line = |instance: &InstanceStatus| {
        let InstanceStatus { name, state, .. } = instance;
        format!("({name}) {} -> {state}", state_of(name))
    };
    let is_gone = |it: &&InstanceStatus| !after.instances.iter().any(|now| now.name == it.name);
    let gone = before.instances.iter().filter(is_gone);
    let gone = gone.map(|it| format!("({}) {} -> gone", it.name, it.state));
    let instances = after.instances.iter().map(line).chain(gone).collect();
    Upgraded {
        from: before.version,
        to: after.version,
        instances,
    }
}

async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    let request = Request::get(path)
        .header("host", "xvrrp")
        .body(Empty::<Bytes>::new())?;
    let (status, body) = ask(socket, request).await?;
    if !status.is_success() {
        return Err(ClientError::Refused(status));
    }
    Ok(serde_json::from_slice(&body)?)
}

async fn ask<B>(
    socket: &Path,
    request: Request<B>,
) -> Result<(hyper::StatusCode, Bytes), ClientError>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| ClientError::Connect {
            path: socket.display().to_string(),
            error,
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}
