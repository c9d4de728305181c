//! `check tcp HOST:PORT`.

use tokio::net::TcpStream;

/// Whether a connection is accepted. `Err`: why not.
pub(super) async fn ask(endpoint: &str) -> Result<String, String> {
    match TcpStream::connect(endpoint).await {
        Ok(_) => Ok("connected".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
