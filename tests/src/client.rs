//! A client that asks through the virtual address again and again.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, setns};

use crate::{netns::Namespace, wall_ns};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_millis(150);

/// A running client; ended when dropped.
pub struct Client {
    requests: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A request that has ended.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// When it was made, in nanoseconds of the wall clock.
    pub made_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// Whether it got a good answer.
    pub answered: bool,
}

impl Client {
    /// Starts asking `http://VIP:PORT/` inside a namespace, once every `period`, however long the
    /// requests before take.
    pub fn start(namespace: &Namespace, vip: Ipv4Addr, port: u16, period: Duration) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let path = format!("/run/netns/{}", namespace.name());
        let handle = std::fs::File::open(path).expect("the namespace");
        let thread = {
            let (requests, stop) = (requests.clone(), stop.clone());
            std::thread::spawn(move || {
                setns(&handle, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                ask_again_and_again(SocketAddr::from((vip, port)), period, &requests, &stop);
            })
        };
        Self {
            requests,
            stop,
            thread: Some(thread),
        }
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the client's lock").clone()
    }

    /// When good answers came, in nanoseconds of the wall clock.
    pub fn answers(&self) -> Vec<u64> {
        let requests = self.requests();
        let answered = requests.iter().filter(|request| request.answered);
        let mut times: Vec<u64> = answered.map(|request| request.ended_ns).collect();
        times.sort_unstable();
        times
    }

    /// How many requests made within a span of time were lost.
    pub fn lost(&self, span: &Range<u64>) -> usize {
        let requests = self.requests();
        let lost = |request: &&Request| !request.answered && span.contains(&request.made_ns);
        requests.iter().filter(lost).count()
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

/// Each request has a thread of its own, which is in the namespace of the one that made it.
fn ask_again_and_again(
    address: SocketAddr,
    period: Duration,
    requests: &Mutex<Vec<Request>>,
    stop: &AtomicBool,
) {
    std::thread::scope(|scope| {
        let mut next = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            scope.spawn(|| {
                let made_ns = wall_ns();
                let answered = ask(address).is_some();
                let request = Request {
                    made_ns,
                    ended_ns: wall_ns(),
                    answered,
                };
                requests.lock().expect("the client's lock").push(request);
            });
            next += period;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                std::thread::park_timeout(left);
            }
        }
    });
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
