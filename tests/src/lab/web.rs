//! The web behind the address: two backends that can die and return, and what HAProxy says of them.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::{SockFilter, SockRef};

use crate::{haproxy::PORT, netns::Namespace};

/// The port backends listen on.
const BACKEND_PORT: u16 = 9000;

/// A web server; dead when dropped.
pub(super) struct Backend {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Backend {
    pub(super) fn start(namespace: &Namespace, name: &'static str) -> Self {
        let listener =
            namespace.enter(|| TcpListener::bind(("0.0.0.0", BACKEND_PORT)).expect("a backend"));
        listener.set_nonblocking(true).expect("non-blocking");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => answer(stream, name),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        thread::park_timeout(Duration::from_millis(2));
                    }
                    Err(_) => {}
                }
            }
            end(&listener, name);
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends as real servers do: what the kernel has accepted for it already is answered, for it would be
/// reset, and HAProxy does not ask another server after a reset. Nobody new is let in meanwhile; a
/// handshake that has begun ends within the grace.
fn end(listener: &TcpListener, name: &str) {
    SockRef::from(listener)
        .attach_filter(&no_newcomers())
        .expect("keep newcomers out");
    let grace = Instant::now() + Duration::from_millis(20);
    while Instant::now() < grace {
        match listener.accept() {
            Ok((stream, _)) => answer(stream, name),
            Err(_) => thread::park_timeout(Duration::from_millis(1)),
        }
    }
}

/// A socket filter that drops segments with SYN and without ACK, and lets everything else in. It sees
/// the TCP header first.
fn no_newcomers() -> [SockFilter; 5] {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_AND_ACK: u32 = 0x12;
    // In the words of `tcpdump -d`: ldb, and, jeq, ret, ret.
    [
        SockFilter::new(0x30, 0, 0, FLAGS),
        SockFilter::new(0x54, 0, 0, SYN_AND_ACK),
        SockFilter::new(0x15, 0, 1, SYN),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ]
}

fn answer(mut stream: TcpStream, name: &str) {
    let _ = stream.set_nonblocking(false);
    let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
    let _ = stream.read(&mut [0; 2048]);
    // In one piece: a client never sees half of it.
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{name}",
        name.len()
    );
    let _ = stream.write_all(response.as_bytes());
}

/// HAProxy as people configure it: bound to the virtual address itself, two backends, checks. A server
/// that lets nobody in any more is given up for the other one well before the client loses its patience.
pub(super) fn haproxy_config(vip: Ipv4Addr, backends: [Ipv4Addr; 2], stats: &Path) -> String {
    let [one, two] = backends;
    format!(
        "global\n  maxconn 1000\n  stats socket {}\ndefaults\n  mode http\n  retries 2\n  \
         option redispatch 1\n  retry-on conn-failure empty-response\n  timeout connect 50ms\n  \
         timeout client 5s\n  timeout server 5s\n\
         frontend web\n  bind {vip}:{PORT}\n  default_backend pool\n\
         backend pool\n  balance roundrobin\n  default-server check inter 50ms fall 2 rise 1\n  \
         server web1 {one}:{BACKEND_PORT}\n  server web2 {two}:{BACKEND_PORT}\n",
        stats.display()
    )
}

/// Whether HAProxy uses a backend; `None` where it does not tell.
pub(super) fn is_used(stats: &Path, backend: &str) -> Option<bool> {
    let mut stream = UnixStream::connect(stats).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    stream.write_all(b"show stat\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("pool,{backend},")))?;
    // The 18th column is the status; "UP 1/2" is on its way down and still used.
    Some(line.split(',').nth(17)?.starts_with("UP"))
}
