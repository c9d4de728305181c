//! One TCP connection through an address that must not break: a server that echoes, a client that sends a
//! little again and again.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};

use crate::netns::Namespace;

const PORT: u16 = 7007;

/// A connection; ended when dropped.
pub struct Stream {
    shown: Arc<Mutex<Shown>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What has become of it.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Messages that came back.
    pub echoes: u64,
    /// The longest one of them took.
    pub slowest: Duration,
    /// What ended the connection, if anything did.
    pub broken: Option<String>,
}

impl Stream {
    /// Connects from one host to the address, which another one has, and sends every `period`.
    pub fn start(server: &Namespace, client: &Namespace, vip: Ipv4Addr, period: Duration) -> Self {
        let listener = server
            .enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)))
            .expect("listen");
        let stop = Arc::new(AtomicBool::new(false));
        let shown = Arc::new(Mutex::new(Shown::default()));
        let echo = thread::spawn(move || {
            let (mut connection, _) = listener.accept().expect("a connection");
            let mut buffer = [0; 8];
            // The client's end is ours too.
            while connection.read_exact(&mut buffer).is_ok() {
                if connection.write_all(&buffer).is_err() {
                    return;
                }
            }
        });
        let handle = File::open(format!("/run/netns/{}", client.name())).expect("the namespace");
        let talk = {
            let (shown, stop) = (shown.clone(), stop.clone());
            thread::spawn(move || {
                setns(&handle, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                let talked = talk(SocketAddr::from((vip, PORT)), period, &shown, &stop);
                if let Err(error) = talked {
                    shown.lock().expect("the lock").broken = Some(error.to_string());
                }
            })
        };
        Self {
            shown,
            stop,
            threads: vec![talk, echo],
        }
    }

    /// What has become of it so far.
    pub fn shown(&self) -> Shown {
        self.shown.lock().expect("the lock").clone()
    }
}

fn talk(
    target: SocketAddr,
    period: Duration,
    shown: &Mutex<Shown>,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut connection = TcpStream::connect(target)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        connection.write_all(&number.to_be_bytes())?;
        let mut echo = [0; 8];
        connection.read_exact(&mut echo)?;
        if echo != number.to_be_bytes() {
            return Err(std::io::Error::other("another message came back"));
        }
        number += 1;
        let mut shown = shown.lock().expect("the lock");
        shown.echoes = number;
        shown.slowest = shown.slowest.max(sent.elapsed());
        drop(shown);
        thread::park_timeout(period);
    }
    Ok(())
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
