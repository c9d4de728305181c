//! etcd's version 3 over its JSON gateway.
//!
//! ```text
//! PREFIX/SUBJECT/holder       the name of who holds it; goes with its lease
//! PREFIX/SUBJECT/want/LEASE   the priority of a candidate; goes with its lease
//! ```

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use reqwest::{StatusCode, header::AUTHORIZATION};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use vrrp_common::arbiter::{Answer, Ask};

use super::Contract;
use crate::{host, web};

/// What asks.
pub(super) struct Client {
    http: Result<reqwest::Client, String>,
    endpoints: Vec<String>,
    /// The member that is asked.
    at: usize,
    user: Option<(String, String)>,
    token: Option<String>,
    ttl_s: u64,
    /// What every key begins with.
    prefix: String,
}

/// The number of our lease, what was answered, and that in words.
type Said = (i64, Answer, String);

#[derive(Deserialize)]
struct Granted {
    #[serde(rename = "ID")]
    id: String,
}

#[derive(Deserialize)]
struct Kept {
    result: Option<KeptLease>,
}

#[derive(Deserialize)]
struct KeptLease {
    /// Absent for a lease that is not there.
    #[serde(rename = "TTL", default)]
    ttl: String,
}

#[derive(Deserialize)]
struct Done {
    #[serde(default)]
    succeeded: bool,
    #[serde(default)]
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    response_range: Option<Range>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    kvs: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
    #[serde(default)]
    value: String,
    #[serde(default)]
    lease: String,
}

impl Done {
    /// The first key of the answer to the request of that number.
    fn first_of(&self, at: usize) -> Option<&Pair> {
        let range = self.responses.get(at)?.response_range.as_ref();
        range?.kvs.first()
    }
}

impl Pair {
    fn text(&self) -> String {
        let bytes = BASE64.decode(&self.value).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn is_of(&self, lease: i64) -> bool {
        self.lease.parse() == Ok(lease)
    }
}

fn base64(text: &str) -> String {
    BASE64.encode(text)
}

impl Client {
    pub(super) fn new(contract: &Contract) -> Self {
        let etcd = &contract.etcd;
        Self {
            http: web::client(&etcd.trust).map_err(|error| format!("{error:#}")),
            endpoints: etcd.endpoints.clone(),
            at: 0,
            user: etcd.user.clone(),
            token: None,
            ttl_s: etcd.ttl.as_secs(),
            prefix: format!("{}/{}/", etcd.prefix, contract.subject),
        }
    }

    /// Another member is asked from now on.
    pub(super) fn turn_to_the_next(&mut self) {
        self.at += 1;
        self.token = None;
    }

    /// Asks one question. `Err`: nobody has answered, and why.
    pub(super) async fn ask(&mut self, ask: Ask, lease: i64) -> Result<Said, String> {
        if self.token.is_none() && self.user.is_some() {
            self.log_in().await?;
        }
        match ask {
            Ask::Lease => self.grant().await,
            Ask::Renew => self.renew(lease).await,
            Ask::Acquire(priority) => self.acquire(lease, priority).await,
            Ask::Release => self.release(lease).await,
        }
    }

    async fn log_in(&mut self) -> Result<(), String> {
        #[derive(Deserialize)]
        struct Token {
            token: String,
        }
        let Some((name, password)) = &self.user else {
            return Ok(());
        };
        let request = json!({ "name": name, "password": password });
        let token: Token = self.post("auth/authenticate", &request).await?;
        self.token = Some(token.token);
        Ok(())
    }

    async fn grant(&self) -> Result<Said, String> {
        let granted: Granted = self
            .post("lease/grant", &json!({ "TTL": self.ttl_s.to_string() }))
            .await?;
        let id = granted.id.parse().map_err(|_| "a lease without a number")?;
        Ok((id, Answer::Leased, "has a lease".to_owned()))
    }

    /// Reads first, which the cluster's majority has to agree to, then keeps the lease: a member that has
    /// lost the majority and does not know it yet could keep a lease that nobody else knows of.
    async fn renew(&self, lease: i64) -> Result<Said, String> {
        let read = json!({ "success": [self.candidates(), self.holder()] });
        let done: Done = self.post("kv/txn", &read).await?;
        let rival = best_rival(&done, lease);
        let holds = done.first_of(1).is_some_and(|holder| holder.is_of(lease));
        let kept: Kept = self
            .post("lease/keepalive", &json!({ "ID": lease.to_string() }))
            .await?;
        let ttl = kept.result.and_then(|result| result.ttl.parse().ok());
        Ok(if ttl.unwrap_or(0_u64) == 0 {
            (0, Answer::Lost, "the lease has run out".to_owned())
        } else {
            let said = "the lease is renewed".to_owned();
            (lease, Answer::Renewed { holds, rival }, said)
        })
    }

    async fn acquire(&self, lease: i64, priority: u8) -> Result<Said, String> {
        let want = json!({ "request_put": {
            "key": base64(&format!("{}want/{lease:x}", self.prefix)),
            "value": base64(&priority.to_string()),
            "lease": lease.to_string(),
        } });
        let become_known = json!({ "success": [want, self.candidates(), self.holder()] });
        let done: Done = match self.post("kv/txn", &become_known).await {
            Err(why) if why.contains(NO_LEASE) => {
                return Ok((0, Answer::Lost, "the lease has run out".to_owned()));
            }
            other => other?,
        };
        let holder = done.first_of(2);
        if holder.is_some_and(|holder| holder.is_of(lease)) {
            return Ok((lease, Answer::Acquired(true), "holds the lease".to_owned()));
        }
        if let Some(holder) = holder {
            let said = format!("{} holds the lease", holder.text());
            return Ok((lease, Answer::Acquired(false), said));
        }
        if let Some(rival) = best_rival(&done, lease).filter(|rival| *rival > priority) {
            let said = format!("a candidate of priority {rival} waits");
            return Ok((lease, Answer::Acquired(false), said));
        }
        self.take(lease).await
    }

    /// Puts our name where nobody's is.
    async fn take(&self, lease: i64) -> Result<Said, String> {
        let key = base64(&format!("{}holder", self.prefix));
        let own = format!("{} (pid {})", host::name(), std::process::id());
        let take = json!({
            "compare": [{ "key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0" }],
            "success": [
                { "request_put": { "key": key, "value": base64(&own), "lease": lease.to_string() } },
                { "request_delete_range": {
                    "key": base64(&format!("{}want/{lease:x}", self.prefix)),
                } },
            ],
        });
        let done: Done = match self.post("kv/txn", &take).await {
            Err(why) if why.contains(NO_LEASE) => {
                return Ok((0, Answer::Lost, "the lease has run out".to_owned()));
            }
            other => other?,
        };
        Ok(if done.succeeded {
            (lease, Answer::Acquired(true), "holds the lease".to_owned())
        } else {
            let said = "another was faster".to_owned();
            (lease, Answer::Acquired(false), said)
        })
    }

    async fn release(&self, lease: i64) -> Result<Said, String> {
        let revoked = self
            .post::<Value>("lease/revoke", &json!({ "ID": lease.to_string() }))
            .await;
        match revoked {
            Err(why) if !why.contains(NO_LEASE) => Err(why),
            _ => Ok((0, Answer::Released, "the lease is given back".to_owned())),
        }
    }

    fn candidates(&self) -> Value {
        // `0` is the byte behind `/`.
        json!({ "request_range": {
            "key": base64(&format!("{}want/", self.prefix)),
            "range_end": base64(&format!("{}want0", self.prefix)),
        } })
    }

    fn holder(&self) -> Value {
        json!({ "request_range": { "key": base64(&format!("{}holder", self.prefix)) } })
    }

    async fn post<T: DeserializeOwned>(
        &self,
        call: &str,
        request: &impl Serialize,
    ) -> Result<T, String> {
        let client = self.http.as_ref().map_err(Clone::clone)?;
        let many = self.endpoints.len().max(1);
        let endpoint = self
            .endpoints
            .get(self.at % many)
            .map_or("", String::as_str);
        let mut post = client.post(format!("{endpoint}/v3/{call}")).json(request);
        if let Some(token) = &self.token {
            post = post.header(AUTHORIZATION, token);
        }
        let of = |error: reqwest::Error| format!("{endpoint}: {:#}", anyhow::Error::from(error));
        let answer = post.send().await.map_err(of)?;
        let status = answer.status();
        let body = answer.bytes().await.map_err(of)?;
        if status != StatusCode::OK {
            let said = String::from_utf8_lossy(&body);
            return Err(format!("{endpoint}: {status}: {}", said.trim()));
        }
        serde_json::from_slice(&body).map_err(|error| format!("{endpoint}: {error}; is it etcd?"))
    }
}

/// As etcd says it.
const NO_LEASE: &str = "requested lease not found";

/// The highest priority of a candidate beside us, in the first range of an answer.
fn best_rival(done: &Done, lease: i64) -> Option<u8> {
    let ranges = done
        .responses
        .iter()
        .filter_map(|it| it.response_range.as_ref());
    let candidates = ranges.take(1).flat_map(|range| &range.kvs);
    let others = candidates.filter(|pair| !pair.is_of(lease));
    others.filter_map(|pair| pair.text().parse().ok()).max()
}
