//! The serving end.

use std::{os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result};
use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};

use super::model::Status;

/// What the control interface asks the daemon.
pub enum Question {
    /// How everything stands.
    Status(oneshot::Sender<Status>),
}

/// Serves the control interface until the process ends. Only root may connect.
///
/// # Errors
///
/// When the socket cannot be had.
pub fn serve(path: &Path, questions: mpsc::Sender<Question>) -> Result<()> {
    let listener =
        UnixListener::bind(path).with_context(|| format!("listen on {}", path.display()))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("protect {}", path.display()))?;
    let router = Router::new()
        .route("/status", get(status))
        .with_state(questions);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the control interface failed: {error}; `xvrrp status` cannot connect");
        }
    });
    Ok(())
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
