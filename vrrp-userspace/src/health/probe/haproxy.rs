//! `check haproxy SOCKET [backend NAME]`: HAProxy's own account of its backends, from its stats socket
//! (HAProxy management guide, section 9).

use std::{fmt, path::PathBuf};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
};

/// Every proxy (-1), the backends' own lines (2), every server (-1).
const QUESTION: &[u8] = b"show stat -1 2 -1\n";
/// Longer than thousands of backends need.
const LONGEST: u64 = 8 << 20;

/// Whom to ask about what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Haproxy {
    /// Its stats socket.
    pub socket: Socket,
    /// The backend that must have a live server; every backend that has any where none is named.
    pub backend: Option<String>,
}

/// `stats socket` of HAProxy's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// A Unix socket.
    Path(PathBuf),
    /// HOST:PORT.
    Tcp(String),
}

impl fmt::Display for Haproxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.socket {
            Socket::Path(path) => write!(f, "{}", path.display())?,
            Socket::Tcp(endpoint) => f.write_str(endpoint)?,
        }
        match &self.backend {
            Some(backend) => write!(f, " backend {backend}"),
            None => Ok(()),
        }
    }
}

impl Haproxy {
    pub(super) async fn ask(&self) -> Result<String, String> {
        let answer = match &self.socket {
            Socket::Path(path) => match UnixStream::connect(path).await {
                Ok(stream) => converse(stream).await,
                Err(error) => Err(error),
            },
            Socket::Tcp(endpoint) => match TcpStream::connect(endpoint).await {
                Ok(stream) => converse(stream).await,
                Err(error) => Err(error),
            },
        };
        let answer = answer.map_err(|error| format!("{}: {error}", self.socket_name()))?;
        judge(&answer, self.backend.as_deref())
    }

    fn socket_name(&self) -> String {
        let socket = self.socket.clone();
        let whole = Self {
            socket,
            backend: None,
        };
        whole.to_string()
    }
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<String> {
    stream.write_all(QUESTION).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What the table says: comma-separated, its first line names the columns.
fn judge(table: &str, wanted: Option<&str>) -> Result<String, String> {
    let mut lines = table.lines().filter(|line| !line.trim().is_empty());
    let header = lines.next().unwrap_or_default();
    let names: Vec<&str> = header.trim_start_matches(['#', ' ']).split(',').collect();
    let column = |name: &str| names.iter().position(|known| *known == name);
    let (Some(proxy), Some(status), Some(active), Some(backup)) = (
        column("pxname"),
        column("status"),
        column("act"),
        column("bck"),
    ) else {
        return Err("the answer is no table of HAProxy's; is this its stats socket?".to_owned());
    };
    let mut dead = Vec::new();
    let mut count = 0;
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        if wanted.is_some_and(|wanted| wanted != field(proxy)) {
            continue;
        }
        count += 1;
        let servers = |at: usize| field(at).parse::<u64>().unwrap_or(0);
        // One that needs no servers (statistics, redirects) is UP without any.
        let is_alive = field(status).starts_with("UP")
            && (wanted.is_none() || servers(active) + servers(backup) > 0);
        if !is_alive {
            dead.push(format!("{} is {}", field(proxy), field(status)));
        }
    }
    match (wanted, count) {
        (Some(wanted), 0) => Err(format!("HAProxy has no backend {wanted}")),
        _ if dead.is_empty() => Ok(format!("{count} backends up")),
        (Some(_), _) => Err(format!("{}, without a live server", dead.join(", "))),
        (None, _) => Err(dead.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;

    const HEADER: &str = "# pxname,svname,qcur,status,weight,act,bck,\n";

    #[test]
    fn a_backend_needs_a_live_server() {
        let rows = [
            ("web,BACKEND,0,UP,1,2,0,\n", Some("web"), true),
            ("web,BACKEND,0,UP,1,0,1,\n", Some("web"), true),
            ("web,BACKEND,0,DOWN,0,0,0,\n", Some("web"), false),
            ("web,BACKEND,0,UP,0,0,0,\n", Some("web"), false),
            ("web,BACKEND,0,UP,1,1,0,\n", Some("api"), false),
            (
                "web,BACKEND,0,UP,1,1,0,\napi,BACKEND,0,DOWN,0,0,0,\n",
                Some("web"),
                true,
            ),
            (
                "web,BACKEND,0,UP,1,1,0,\napi,BACKEND,0,DOWN,0,0,0,\n",
                None,
                false,
            ),
            (
                "web,BACKEND,0,UP,1,1,0,\nstats,BACKEND,0,UP,0,0,0,\n",
                None,
                true,
            ),
            ("", None, true),
        ];
        for (lines, wanted, passes) in rows {
            let said = judge(&format!("{HEADER}{lines}"), wanted);
            assert_eq!(said.is_ok(), passes, "{lines} {wanted:?}: {said:?}");
        }
    }

    #[test]
    fn what_is_no_table_is_named() {
        for answer in ["", "Unknown command\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let said = judge(answer, None).unwrap_err();
            assert!(said.contains("stats socket"), "{said}");
        }
    }
}
