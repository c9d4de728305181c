//! `check http URL [expect STATUS|"TEXT"]`.

use std::{error::Error as _, fmt};

use crate::web;

/// An answer is read up to here: a text that is looked for further down is not found.
const LONGEST: usize = 1 << 20;

/// What is asked, and what the answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// `http://…` or `https://…`.
    pub url: String,
    /// What is expected.
    pub expect: Expect,
}

/// What an answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Any status from 200 to 399.
    Good,
    /// This status.
    Status(u16),
    /// Such a status, and this text somewhere in the body.
    Text(String),
}

impl fmt::Display for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.expect {
            Expect::Good => write!(f, "{}", self.url),
            Expect::Status(status) => write!(f, "{} (status {status})", self.url),
            Expect::Text(text) => write!(f, "{} (with {text:?})", self.url),
        }
    }
}

/// What asks.
#[derive(Clone, Debug)]
pub(in crate::health) struct Client {
    http: Http,
    client: Result<reqwest::Client, String>,
}

impl Client {
    pub(super) fn new(http: &Http) -> Self {
        Self {
            http: http.clone(),
            client: web::plain(),
        }
    }

    pub(super) async fn ask(&self) -> Result<String, String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let request = client.get(&self.http.url).send();
        let mut answer = request.await.map_err(|error| reason(&error))?;
        let status = answer.status();
        let is_good = match self.http.expect {
            Expect::Status(wanted) => status.as_u16() == wanted,
            Expect::Good | Expect::Text(_) => status.is_success() || status.is_redirection(),
        };
        if !is_good {
            return Err(format!("status {status}"));
        }
        if let Expect::Text(wanted) = &self.http.expect {
            let mut body = Vec::new();
            while body.len() < LONGEST
                && let Some(piece) = answer.chunk().await.map_err(|error| reason(&error))?
            {
                body.extend_from_slice(&piece);
            }
            if !String::from_utf8_lossy(&body).contains(wanted) {
                return Err(format!("status {status}, without the text {wanted:?}"));
            }
        }
        Ok(format!("status {status}"))
    }
}

/// The innermost cause: what the network said.
fn reason(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut innermost = error.to_string();
    while let Some(inner) = cause {
        innermost = inner.to_string();
        cause = inner.source();
    }
    innermost
}
