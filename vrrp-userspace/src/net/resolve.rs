//! Names of hosts into addresses. A resolver that hangs holds a thread for as long as it likes, whoever has
//! given up waiting: whoever asks for the same name meanwhile waits for the same answer, so that there are
//! never more threads than names.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

type Found = Result<Vec<SocketAddr>, Arc<io::Error>>;

/// What is looked up at the moment.
static UNDER_WAY: Mutex<BTreeMap<String, Shared<BoxFuture<'static, Found>>>> =
    Mutex::new(BTreeMap::new());

/// The addresses of `HOST:PORT`.
///
/// # Errors
///
/// What the resolver says.
pub async fn resolve(endpoint: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = endpoint.parse() {
        return Ok(vec![address]);
    }
    let lookup = {
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        let lookup = under_way.entry(endpoint.to_owned());
        lookup.or_insert_with(|| start(endpoint.to_owned())).clone()
    };
    lookup.await.map_err(io::Error::other)
}

/// A lookup that goes on whether somebody waits for it or not.
fn start(endpoint: String) -> Shared<BoxFuture<'static, Found>> {
    let lookup = tokio::spawn(async move {
        let found = lookup_host(&endpoint).await;
        let mut under_way = UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.remove(&endpoint);
        found.map(Iterator::collect).map_err(Arc::new)
    });
    let found = lookup.map(|joined| joined.unwrap_or_else(|error| Err(Arc::new(error.into()))));
    found.boxed().shared()
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
