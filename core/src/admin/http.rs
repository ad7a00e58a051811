//! The HTTP port and its thread.
#![expect(clippy::disallowed_types, reason = "the admin port is no core's")]

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as BlockingListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::{Board, CoreFigures, Health, WAIT, metrics};

/// Connections at a time; more wait to be accepted.
pub const CONNECTIONS_MAX: usize = 32;
/// Time for a connection, all of its requests included.
const CONNECTION_SECONDS: u64 = 60;
/// Time for the head of a request.
const HEAD_SECONDS: u64 = 5;
/// Bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// How often an answer of the cores is looked for.
const LOOK_MILLIS: u64 = 5;

const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const INDEX: &str = "pinion: /metrics /livez /readyz\n";

/// The port, before anybody is answered.
#[derive(Debug)]
pub struct Port {
    listener: BlockingListener,
    address: SocketAddr,
}

impl Port {
    /// Binds it; port 0 picks a free one.
    ///
    /// # Errors
    /// When it cannot be had: it is in use, most likely.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let listener = BlockingListener::bind(address)?;
        Ok(Self { address: listener.local_addr()?, listener })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers on a thread of its own, as long as the process lives.
    ///
    /// # Errors
    /// When there is no thread, or no descriptor, for it.
    pub fn serve(self, board: Arc<Board>) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || runtime.block_on(accept(self.listener, board));
        std::thread::Builder::new().name("admin".to_owned()).spawn(run).map(drop)
    }
}

async fn accept(listener: BlockingListener, board: Arc<Board>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptor is left, most likely: one may be later.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let board = board.clone();
        let service = service_fn(move |request| respond(request, board.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(HEAD_SECONDS))
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // What a client does wrong is its own matter.
            let _ = tokio::time::timeout(Duration::from_secs(CONNECTION_SECONDS), connection).await;
            drop(place);
        });
    }
}

async fn respond<B>(request: Request<B>, board: Arc<Board>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered here\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Ok(refused);
    }
    Ok(match request.uri().path() {
        "/metrics" => {
            let body = metrics(answers(&board).await, env!("CARGO_PKG_VERSION"));
            let mut shown = text(StatusCode::OK, body);
            shown.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
            shown
        }
        "/livez" => verdict(&Board::liveness(&answers(&board).await)),
        "/readyz" => verdict(&Board::readiness(&answers(&board).await)),
        "/" => text(StatusCode::OK, INDEX),
        _ => text(StatusCode::NOT_FOUND, INDEX),
    })
}

fn verdict(health: &Health) -> Response<Full<Bytes>> {
    match health {
        Health::Good => text(StatusCode::OK, "ok\n"),
        Health::Bad(lines) => text(StatusCode::SERVICE_UNAVAILABLE, lines.join("\n") + "\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    response
}

/// Asks all cores, and waits for those that answer in time.
async fn answers(board: &Board) -> Vec<Option<CoreFigures>> {
    let question = board.ask();
    #[expect(clippy::disallowed_methods, reason = "the admin thread is no core: it waits on the wall")]
    let asked = Instant::now();
    while !board.is_answered(question) && asked.elapsed() < WAIT {
        tokio::time::sleep(Duration::from_millis(LOOK_MILLIS)).await;
    }
    board.answers(question)
}
