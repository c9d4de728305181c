//! Names of hosts into addresses. A resolver that hangs holds a thread for as long as it likes, whoever has
//! given up waiting: there are never more than a few of those, and what else blocks has its threads.

use std::{io, net::SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::{net::lookup_host, sync::Semaphore};

/// How many names are looked up at once.
static LOOKUPS: Semaphore = Semaphore::const_new(64);

/// The addresses of `HOST:PORT`.
///
/// # Errors
///
/// What the resolver says.
pub async fn resolve(endpoint: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = endpoint.parse() {
        return Ok(vec![address]);
    }
    let permit = LOOKUPS.acquire().await.map_err(io::Error::other)?;
    let endpoint = endpoint.to_owned();
    let lookup = tokio::spawn(async move {
        let found = lookup_host(&endpoint).await;
        drop(permit);
        Ok(found?.collect())
    });
    lookup.await?
}

/// The same for HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Names;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = resolve(&format!("{}:0", name.as_str())).await?;
            let found: Addrs = Box::new(found.into_iter());
            Ok(found)
        })
    }
}
