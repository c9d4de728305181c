//! The pages over HTTP, on a thread of their own: whoever asks often keeps nobody waiting but others who ask.

use std::{io, net::SocketAddr, sync::Arc, thread, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ACCEPT, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    runtime,
    sync::{Mutex, Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};

use super::{Measures, keepalived, own, page::older};
use crate::{
    control::{Question, model::Status},
    privileges,
};

/// How soon an address that cannot be had is tried again: it may be a virtual one.
const TRY_AGAIN: Duration = Duration::from_secs(2);
/// How long the daemon may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many may be connected at once: descriptors are for more important things.
const CONNECTIONS: usize = 16;
/// How long headers may take, and with them the pause between two questions.
const HEADERS: Duration = Duration::from_secs(20);
/// How long anybody may stay.
const CONNECTION: Duration = Duration::from_mins(1);
const OPEN_METRICS: &str = "application/openmetrics-text";
const NEWER: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OLDER: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Clone)]
struct Source {
    /// One question at a time, however many ask.
    questions: Arc<Mutex<mpsc::Sender<Question>>>,
    measures: Measures,
}

/// Serves the pages until the process ends.
///
/// # Errors
///
/// When the thread or its runtime cannot be had.
pub fn serve(
    address: SocketAddr,
    questions: mpsc::Sender<Question>,
    measures: Measures,
) -> io::Result<()> {
    let source = Source {
        questions: Arc::new(Mutex::new(questions)),
        measures,
    };
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/metrics/keepalived", get(keepalived_metrics))
        .route("/healthz", get(health))
        .with_state(source);
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("xvrrp-metrics".to_owned())
        .spawn(move || {
            privileges::leave_signals_alone();
            if let Err(error) = privileges::keep_nothing() {
                tracing::debug!("the metrics are served with privileges: {error}");
            }
            runtime.block_on(listen(address, routes));
        })?;
    Ok(())
}

async fn listen(address: SocketAddr, routes: Router) {
    let mut is_told = false;
    loop {
        let failed = match TcpListener::bind(address).await {
            Ok(listener) => {
                is_told = false;
                tracing::info!("metrics: http://{address}/metrics");
                accept(&listener, &routes).await
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut is_told, true) {
            tracing::error!("metrics: cannot listen on {address}: {failed}; trying again");
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Serves whoever comes, until the socket fails. Who is slow or idle keeps the place of nobody else but those who
/// ask here.
async fn accept(listener: &TcpListener, routes: &Router) -> io::Error {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&room).acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => return error,
        };
        let service = TowerToHyperService::new(routes.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .serve_connection(TokioIo::new(stream), service);
            // An error is the client's.
            let _ = timeout(CONNECTION, connection).await;
            drop(place);
        });
    }
}

impl Source {
    async fn status(&self) -> Option<Status> {
        let questions = self.questions.lock().await;
        let (reply, answer) = oneshot::channel();
        let asked = async {
            questions.send(Question::Status(reply)).await.ok()?;
            answer.await.ok()
        };
        timeout(PATIENCE, asked).await.ok().flatten()
    }
}

async fn metrics(State(source): State<Source>, headers: HeaderMap) -> Response {
    match source.status().await {
        Some(status) => page(own::render(&status, &source.measures), &headers),
        None => away(),
    }
}

async fn keepalived_metrics(State(source): State<Source>, headers: HeaderMap) -> Response {
    match source.status().await {
        Some(status) => page(keepalived::render(&status), &headers),
        None => away(),
    }
}

/// Whether the control plane answers.
async fn health(State(source): State<Source>) -> Response {
    match source.status().await {
        Some(_) => "ok\n".into_response(),
        None => away(),
    }
}

/// In the format that whoever asks reads.
fn page(text: String, headers: &HeaderMap) -> Response {
    let accepted = headers
        .get(ACCEPT)
        .and_then(|accepted| accepted.to_str().ok());
    if accepted.is_some_and(|accepted| accepted.contains(OPEN_METRICS)) {
        ([(CONTENT_TYPE, NEWER)], text).into_response()
    } else {
        ([(CONTENT_TYPE, OLDER)], older(&text)).into_response()
    }
}

fn away() -> Response {
    (
        StatusCode::SERVICE_UNAVAILABLE,
        "the daemon does not answer\n",
    )
        .into_response()
}
