//! A client that asks through the virtual address again and again.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use nix::sched::{CloneFlags, setns};

use crate::{netns::Namespace, wall_ns};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_millis(150);
/// How long the client waits between requests.
const PAUSE: Duration = Duration::from_millis(20);

/// A running client; ended when dropped.
pub struct Client {
    answers: Arc<Mutex<Vec<u64>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Client {
    /// Starts asking `http://VIP:PORT/` inside a namespace.
    pub fn start(namespace: &Namespace, vip: Ipv4Addr, port: u16) -> Self {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let path = format!("/run/netns/{}", namespace.name());
        let handle = std::fs::File::open(path).expect("the namespace");
        let thread = {
            let (answers, stop) = (answers.clone(), stop.clone());
            std::thread::spawn(move || {
                setns(&handle, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                while !stop.load(Ordering::Relaxed) {
                    if ask(SocketAddr::from((vip, port))).is_some() {
                        answers.lock().expect("the client's lock").push(wall_ns());
                    }
                    std::thread::park_timeout(PAUSE);
                }
            })
        };
        Self {
            answers,
            stop,
            thread: Some(thread),
        }
    }

    /// When good answers came, in nanoseconds of the wall clock.
    pub fn answers(&self) -> Vec<u64> {
        self.answers.lock().expect("the client's lock").clone()
    }

    /// The longest time without a good answer since `from_ns`, in nanoseconds.
    pub fn longest_gap(&self, from_ns: u64) -> u64 {
        let answers = self.answers();
        let since: Vec<u64> = answers.into_iter().filter(|at| *at >= from_ns).collect();
        let ends = since.iter().copied().chain([wall_ns()]);
        let starts = [from_ns].into_iter().chain(since.iter().copied());
        starts
            .zip(ends)
            .map(|(start, end)| end - start)
            .max()
            .unwrap_or(0)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One request; `Some` for a good answer.
pub fn ask(address: SocketAddr) -> Option<()> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n"
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(())
}
