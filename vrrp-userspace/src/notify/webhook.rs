//! Webhooks: a JSON object is posted for every change of state.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::Client;
use serde::Serialize;

use super::{
    event::Event,
    outbox::{Refusal, Taker},
};
use crate::web;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where it is posted.
pub(super) struct Webhook {
    url: String,
    client: Client,
}

/// What is posted. Field names are part of the interface.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Posted {
    /// This machine's `router_id`.
    router: String,
    /// `INSTANCE` or `GROUP`.
    kind: &'static str,
    name: String,
    state: &'static str,
    priority: u8,
    why: String,
    /// Seconds since 1970.
    time: f64,
}

impl Posted {
    pub(super) fn new(event: &Event, router: &str) -> Self {
        let since = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            router: router.to_owned(),
            kind: event.subject.word(),
            name: event.subject.name().to_owned(),
            state: event.word,
            priority: event.priority,
            why: event.why.clone(),
            time: since.as_secs_f64(),
        }
    }
}

impl Webhook {
    pub(super) fn new(url: &str) -> Result<Self, String> {
        Ok(Self {
            url: url.to_owned(),
            client: web::plain()?,
        })
    }
}

impl Taker for Webhook {
    type Item = Posted;

    async fn send(&self, item: &Posted) -> Result<(), Refusal> {
        let request = self.client.post(&self.url).json(item).timeout(PATIENCE);
        let answer = request.send().await.map_err(|error| Refusal {
            why: format!("{:#}", anyhow::Error::from(error)),
            is_final: false,
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Refusal {
            why: format!("status {status}"),
            // Who says that the question is wrong, or that another is to be asked, says so again; who is
            // busy does not.
            is_final: (status.is_redirection() || status.is_client_error())
                && !matches!(status.as_u16(), 408 | 425 | 429),
        })
    }

    fn name(&self) -> String {
        format!("the webhook {}", self.url)
    }
}
