//! The transport over the network: `reqwest` with every comfort off that would hide what happened.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::outline::Outline;
use super::region::Endpoint;
use super::transport::{Excerpt, Fault, Outlined, Request, Response, SILENCE_MAX, Transport, TransportError};
use crate::error::{Error, Result};

/// Longest wait for a connection and its handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for one request and its whole answer.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(180);
/// How long an unused connection is kept: below the minute after which load balancers drop theirs.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Largest decoded body: a page of 1,000 conversations has 22 MB; a compressed bomb has no end.
pub const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How much is kept of what is larger.
const HEAD_BYTES: usize = 4 * 1024;
/// How far an answer is read of which nothing is kept but its outline.
const OUTLINED_BYTES_MAX: usize = 1 << 30;

/// [`Transport`] over HTTP/1.1 and HTTP/2. Proxies come from the usual variables, trust from the system's
/// certificates or `SSL_CERT_FILE`.
#[derive(Clone, Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
}

impl HttpTransport {
    /// A transport for calls to `endpoint`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when the system's certificates or the proxy variables cannot be used.
    pub fn new(endpoint: &Endpoint) -> Result<HttpTransport> {
        // A provider that someone else installed serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder()
            .user_agent(concat!("convlake/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .gzip(true)
            .https_only(!endpoint.uses_http())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_MAX)
            .timeout(TOTAL_TIMEOUT)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .tcp_keepalive(POOL_IDLE_TIMEOUT)
            .tcp_nodelay(true)
            // Where HTTP/2 is offered, pages of megabytes are not throttled by a window of 64 KiB.
            .http2_adaptive_window(true);
        // No proxy can reach this machine's own loopback.
        let builder = if endpoint.is_local() { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|e| Error::config("cannot set up HTTPS").source(e.without_url()))?;
        Ok(HttpTransport { client })
    }

    /// The same, to be shared.
    ///
    /// # Errors
    /// Like [`HttpTransport::new`].
    pub fn shared(endpoint: &Endpoint) -> Result<Arc<dyn Transport>> {
        Ok(Arc::new(HttpTransport::new(endpoint)?))
    }

    async fn exchange(&self, request: Request) -> Result<Response, TransportError> {
        let outlined = request.extensions().get::<Outlined>().is_some();
        let request = reqwest::Request::try_from(request).map_err(fault)?;
        let mut answer = self.client.execute(request).await.map_err(fault)?;
        // The length is that of a body that is not compressed, and no more than a promise.
        let promised = answer.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
        let mut body = BytesMut::with_capacity(promised.min(BODY_BYTES_MAX));
        while let Some(chunk) = answer.chunk().await.map_err(fault)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                let message = format!("the answer is larger than {} MiB", BODY_BYTES_MAX >> 20);
                // A copy: the rest is let go of.
                let head = Bytes::copy_from_slice(&body[..body.len().min(HEAD_BYTES)]);
                let mut excerpt = Excerpt { head, outline: Bytes::new() };
                if outlined {
                    let mut outline = Outline::default();
                    [&body[..], &chunk].into_iter().for_each(|piece| outline.read(piece));
                    drop((body, chunk));
                    excerpt.outline = rest(answer, outline).await.unwrap_or_default();
                }
                return Err(TransportError { fault: Fault::TooLarge, excerpt, message });
            }
            body.extend_from_slice(&chunk);
        }
        let mut response = Response::new(body.freeze());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        Ok(response)
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        self.exchange(request).boxed()
    }
}

/// The outline of an answer that is read to its end.
async fn rest(mut answer: reqwest::Response, mut outline: Outline) -> Option<Bytes> {
    let mut left = OUTLINED_BYTES_MAX;
    while let Some(chunk) = answer.chunk().await.ok()? {
        left = left.checked_sub(chunk.len())?;
        outline.read(&chunk);
    }
    Some(outline.of_one())
}

/// Sorts an error of `reqwest` by what to do about it. Its URL is cut off: a query may hold a cursor.
fn fault(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let (fault, what) = if tls(&error) {
        (Fault::Tls, "no trusted connection")
    } else if error.is_connect() {
        (Fault::Connect, "no connection")
    } else if error.is_timeout() {
        (Fault::Timeout, "no answer in time")
    } else if error.is_body() || error.is_decode() {
        (Fault::Body, "the answer broke off")
    } else {
        (Fault::Connect, "the connection failed")
    };
    let cause = chain(&error).last().map(|cause| format!(": {cause}")).unwrap_or_default();
    TransportError { fault, excerpt: Excerpt::default(), message: format!("{what}{cause}") }
}

/// Whether the handshake failed for a reason that will be the same next time.
fn tls(error: &reqwest::Error) -> bool {
    // An `io::Error` shows the cause of what it wraps, not what it wraps: those are looked into by hand.
    let inner = |cause: &'_ (dyn std::error::Error + 'static)| -> bool {
        let mut io = cause.downcast_ref::<io::Error>();
        while let Some(wrapped) = io.and_then(io::Error::get_ref) {
            if wrapped.is::<rustls::Error>() {
                return true;
            }
            io = wrapped.downcast_ref::<io::Error>();
        }
        false
    };
    chain(error).any(|cause| cause.is::<rustls::Error>() || inner(cause))
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    /// Serves one connection: reads a request's head and writes `answer` as it stands. Returns the port.
    fn serve(answer: Vec<u8>) -> (u16, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = read_head(&mut stream);
            // The client may hang up first.
            let _ = stream.write_all(&answer);
            head
        });
        (port, served)
    }

    fn read_head(stream: &mut TcpStream) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    fn answer(headers: &str, body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{headers}\r\n").as_bytes(), body].concat()
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    async fn get(scheme: &str, port: u16) -> Result<Response, TransportError> {
        let base = format!("{scheme}://127.0.0.1:{port}");
        let transport = HttpTransport::new(&Endpoint::base_url(&base, false).unwrap()).unwrap();
        let request = http::Request::get(format!("{base}/path?cursor=hunter2")).extension(Outlined);
        transport.send(request.body(bytes::Bytes::new()).unwrap()).await
    }

    async fn fault_of(answer: Vec<u8>) -> Fault {
        let (port, served) = serve(answer);
        let error = get("http", port).await.unwrap_err();
        served.join().unwrap();
        assert!(!error.message.contains("hunter2"), "{error}");
        error.fault
    }

    #[tokio::test]
    async fn a_compressed_answer_arrives_plain() {
        let body = gzip(b"{\"conversations\":[]}");
        let headers = format!(
            "content-encoding: gzip\r\ndate: Sat, 21 Nov 2026 21:00:00 GMT\r\ncontent-length: {}\r\n",
            body.len()
        );
        let (port, served) = serve(answer(&headers, &body));
        let response = get("http", port).await.unwrap();
        assert_eq!((response.status().as_u16(), response.body().as_ref()), (200, b"{\"conversations\":[]}".as_slice()));
        assert!(response.headers().contains_key("date"));
        let head = served.join().unwrap().to_lowercase();
        assert!(
            head.contains(concat!("user-agent: convlake/", env!("CARGO_PKG_VERSION")))
                && head.contains("accept-encoding: gzip")
        );
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let (port, served) =
            serve(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec());
        assert_eq!(get("http", port).await.unwrap().status().as_u16(), 302);
        served.join().unwrap();
    }

    #[tokio::test]
    async fn broken_answers_are_told_apart() {
        assert_eq!(fault_of(answer("content-length: 10\r\n", b"123")).await, Fault::Body);
        assert_eq!(fault_of(answer("transfer-encoding: chunked\r\n", b"5\r\nhello\r\n")).await, Fault::Body);
        assert_eq!(fault_of(answer("content-encoding: gzip\r\ncontent-length: 5\r\n", b"plain")).await, Fault::Body);
        let cut = gzip(&[7; 1000]);
        let headers = format!("content-encoding: gzip\r\ncontent-length: {}\r\n", cut.len() - 6);
        assert_eq!(fault_of(answer(&headers, &cut[..cut.len() - 6])).await, Fault::Body);
        assert_eq!(fault_of(Vec::new()).await, Fault::Connect);
    }

    #[tokio::test]
    async fn a_compressed_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; BODY_BYTES_MAX + 1]);
        let headers = format!("content-encoding: gzip\r\ncontent-length: {}\r\n", bomb.len());
        assert_eq!(fault_of(answer(&headers, &bomb)).await, Fault::TooLarge);
    }

    #[tokio::test]
    async fn what_stands_beside_a_record_that_is_too_large_is_kept() {
        let page = |record: &str| format!(r#"{{"conversations":[{record}],"cursor":"next"}}"#);
        let body = page(&format!(r#"{{"conversationId":"a","b":"{}"}}"#, "b".repeat(BODY_BYTES_MAX)));
        for (body, outline) in [(body.as_str(), page("")), (&body[..body.len() - 2], String::new())] {
            let (port, served) = serve(answer("", body.as_bytes()));
            let error = get("http", port).await.unwrap_err();
            served.join().unwrap();
            assert_eq!((error.fault, error.excerpt.outline), (Fault::TooLarge, outline.into()));
            assert_eq!(error.excerpt.head, body.as_bytes()[..HEAD_BYTES]);
        }
    }

    #[tokio::test]
    async fn no_listener_and_no_tls_are_told_apart() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert_eq!(get("http", closed).await.unwrap_err().fault, Fault::Connect);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let served = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 512]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 400 this is no handshake\r\n\r\n").unwrap();
        });
        let error = get("https", port).await.unwrap_err();
        served.join().unwrap();
        assert_eq!(error.fault, Fault::Tls, "{error}");
    }
}
