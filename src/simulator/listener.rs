//! On loopback: the same state machine behind a real socket, for other programs and other languages.

use std::future::Future;
use std::io::{self, Write};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as TaskContext, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt, stream};
use http::HeaderValue;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::answer::{Broken, Reply};
use super::service::Simulator;
use crate::api::transport::Response;
use crate::error::{Error, Result};

/// Bodies below this size are not worth compressing.
const GZIP_BYTES_MIN: usize = 1_024;
/// Most bytes of a request that are read; above the API's own limit, which the simulator answers itself.
const REQUEST_BYTES_MAX: usize = 4 << 20;

/// Serves the simulator until `shutdown` is done; requests under way are answered, hanging ones are dropped.
///
/// # Errors
/// [`crate::error::Kind::Unavailable`] when the socket fails.
pub async fn serve(
    simulator: Simulator,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (stop, stopped) = watch::channel(false);
    let connecting = simulator.clone();
    let router =
        Router::new().fallback(move |ConnectInfo(line): ConnectInfo<Line>, request: axum::extract::Request| {
            let (simulator, stopped) = (simulator.clone(), stopped.clone());
            async move { answer(simulator, line, request, stopped).await }
        });
    let ended = async move {
        shutdown.await;
        stop.send_replace(true);
    };
    let service = router.into_make_service_with_connect_info::<Line>();
    let served = axum::serve(Loopback(listener, connecting), service).with_graceful_shutdown(ended).await;
    served.map_err(|e| Error::unavailable("the simulator's socket failed").source(e))
}

/// What a program that wants to talk to the simulator needs in its environment.
pub fn startup_lines(base_url: &str, id: &str, secret: &str) -> [String; 3] {
    [
        format!("CONVLAKE_BASE_URL={base_url}"),
        format!("GENESYSCLOUD_OAUTHCLIENT_ID={id}"),
        format!("GENESYSCLOUD_OAUTHCLIENT_SECRET={secret}"),
    ]
}

async fn answer(
    simulator: Simulator,
    line: Line,
    request: axum::extract::Request,
    mut stopped: watch::Receiver<bool>,
) -> http::Response<Body> {
    let (head, body) = request.into_parts();
    let gzip =
        head.headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).is_some_and(|v| v.contains("gzip"));
    let Ok(body) = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await else { return line.cut() };
    let request = http::Request::from_parts(head, body);
    // Telling a day takes milliseconds of CPU: not on the threads that wait for sockets.
    let work = tokio::task::spawn_blocking(move || {
        let mut reply = simulator.handle(&request);
        if gzip && simulator.compresses() && reply.broken.is_none() {
            compress(&mut reply.response);
        }
        reply
    });
    let Ok(Reply { response, latency, broken }) = work.await else { return line.cut() };
    tokio::time::sleep(latency).await;
    match broken {
        None => response.map(Body::from),
        Some(Broken::Reset) => line.cut(),
        Some(Broken::InBody) => broken_off(response),
        Some(Broken::Hang) => {
            // A sender that is gone means that the server is, too.
            let _ = stopped.wait_for(|stopped| *stopped).await;
            line.cut()
        }
    }
}

/// Compresses a body, unless it already says what it is.
fn compress(response: &mut Response) {
    if response.body().len() < GZIP_BYTES_MIN || response.headers().contains_key(CONTENT_ENCODING) {
        return;
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    if encoder.write_all(response.body()).is_ok()
        && let Ok(body) = encoder.finish()
    {
        *response.body_mut() = Bytes::from(body);
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// Promises the whole body and sends half of it.
fn broken_off(response: Response) -> http::Response<Body> {
    let whole = response.body().clone();
    let half = whole.slice(..whole.len() / 2);
    let rest = async {
        // Lets the half go out first: what comes without a pause is written together, or not at all.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    };
    let parts = stream::once(async { Ok(half) }).chain(stream::once(rest));
    let mut response = response.map(|_| Body::from_stream(parts));
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(whole.len()));
    response
}

/// The handle by which an answer cuts the connection it would have gone out on.
#[derive(Clone, Debug, Default)]
struct Line(Arc<AtomicBool>);

impl Line {
    /// Cuts; what is returned never arrives.
    fn cut(&self) -> http::Response<Body> {
        self.0.store(true, Ordering::Release);
        http::Response::new(Body::empty())
    }
}

impl Connected<IncomingStream<'_, Loopback>> for Line {
    fn connect_info(stream: IncomingStream<'_, Loopback>) -> Line {
        stream.remote_addr().clone()
    }
}

/// A TCP listener whose connections can be cut from inside.
struct Loopback(TcpListener, Simulator);

impl Listener for Loopback {
    type Io = Wire;
    type Addr = Line;

    async fn accept(&mut self) -> (Wire, Line) {
        let (stream, _) = Listener::accept(&mut self.0).await;
        self.1.connected();
        let line = Line::default();
        // Small answers and small requests take turns here: waiting for more to send would only add latency.
        let _ = stream.set_nodelay(true);
        (Wire { stream, line: line.clone() }, line)
    }

    fn local_addr(&self) -> io::Result<Line> {
        Ok(Line::default())
    }
}

/// A connection that fails as soon as its line is cut, and then closes with a reset.
struct Wire {
    stream: TcpStream,
    line: Line,
}

impl Wire {
    fn check(&self) -> io::Result<()> {
        if !self.line.0.load(Ordering::Acquire) {
            return Ok(());
        }
        self.stream.set_zero_linger()?;
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        pin!(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        pin!(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        pin!(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(cx)
    }
}
