//! The asking end, for the command line.

use std::{io, path::Path};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::UnixStream;

use super::model::Status;

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
    /// The answer makes no sense.
    #[error("the daemon's answer makes no sense ({0}); is it another version?")]
    Answer(#[from] serde_json::Error),
}

/// Asks for the status.
///
/// # Errors
///
/// [`ClientError`].
pub async fn status(socket: &Path) -> Result<Status, ClientError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| ClientError::Connect {
            path: socket.display().to_string(),
            error,
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/status")
        .header("host", "xvrrp")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    if !response.status().is_success() {
        return Err(ClientError::Refused(response.status()));
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}
