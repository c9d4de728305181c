//! `check tcp HOST:PORT`.

use tokio::net::TcpStream;

use crate::net::resolve;

/// Whether a connection is accepted. `Err`: why not.
pub(super) async fn ask(endpoint: &str) -> Result<String, String> {
    let connected = async { TcpStream::connect(&*resolve(endpoint).await?).await };
    match connected.await {
        Ok(_) => Ok("connected".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
