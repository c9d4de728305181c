//! Whoever takes messages: a mail server, a web server for webhooks. Each can be away for a while.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::netns::Namespace;

/// What was taken, in order.
pub type Taken = Arc<Mutex<Vec<String>>>;

/// A server in a namespace; gone when dropped.
pub struct Sink {
    stop: Arc<AtomicBool>,
    address: SocketAddr,
    namespace: String,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// A mail server. What is taken has the header and the body as they were sent.
    pub fn mail(namespace: &Namespace, port: u16, taken: &Taken) -> Self {
        Self::start(namespace, port, taken, take_mail)
    }

    /// A web server that takes what is posted. What is taken is the body.
    pub fn web(namespace: &Namespace, port: u16, taken: &Taken) -> Self {
        Self::start(namespace, port, taken, take_post)
    }

    fn start(
        namespace: &Namespace,
        port: u16,
        taken: &Taken,
        take: fn(TcpStream, &Taken) -> Option<()>,
    ) -> Self {
        let address = SocketAddr::from(([0, 0, 0, 0], port));
        let listener = namespace.enter(|| TcpListener::bind(address).expect("a sink"));
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, taken) = (Arc::clone(&stop), Arc::clone(taken));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                take(stream, &taken);
            }
        });
        Self {
            stop,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            namespace: namespace.name().to_owned(),
            thread: Some(thread),
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes it up, so that it sees that.
        let path = format!("/run/netns/{}", self.namespace);
        let address = self.address;
        let woken = thread::spawn(move || {
            let namespace = std::fs::File::open(path).expect("the namespace");
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET)
                .expect("enter the namespace");
            TcpStream::connect(address)
        });
        let _ = woken.join();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn keep(taken: &Taken, what: String) {
    taken.lock().expect("the sink's lock").push(what);
}

/// RFC 5321, as little of it as a client needs.
fn take_mail(stream: TcpStream, taken: &Taken) -> Option<()> {
    let mut answers = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines();
    write!(answers, "220 sink\r\n").ok()?;
    while let Some(Ok(line)) = lines.next() {
        match line.get(..4).unwrap_or_default().to_uppercase().as_str() {
            "DATA" => {
                write!(answers, "354 go on\r\n").ok()?;
                let mut mail = Vec::new();
                loop {
                    let line = lines.next()?.ok()?;
                    if line == "." {
                        break;
                    }
                    mail.push(line);
                }
                keep(taken, mail.join("\n"));
                write!(answers, "250 taken\r\n").ok()?;
            }
            "QUIT" => {
                write!(answers, "221 bye\r\n").ok()?;
                return Some(());
            }
            _ => write!(answers, "250 fine\r\n").ok()?,
        }
    }
    None
}

fn take_post(mut stream: TcpStream, taken: &Taken) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    keep(taken, String::from_utf8_lossy(&body).into_owned());
    write!(
        stream,
        "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
    )
    .ok()
}
