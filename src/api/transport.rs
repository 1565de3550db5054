//! The one seam to the network: a request in, a response or a fault out. `reqwest` is one implementation, the
//! simulator another; everything above (token, pace, retry, protocols) mentions neither.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

/// A whole request. The URI is absolute.
pub type Request = http::Request<Bytes>;
/// A whole response, its body decoded (gzip) and capped.
pub type Response = http::Response<Bytes>;

/// Longest silence within an answer, and before its first byte: a slow query thinks for most of a minute. After it
/// every transport gives up with [`Fault::Timeout`].
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Sends one request and reads the whole answer. Does not follow redirects, retry, pace or authenticate.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request`.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>>;
}

/// What kept a response from arriving whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Name resolution, refused connection: asked again.
    Connect,
    /// The certificate or the handshake: not asked again.
    Tls,
    /// No answer in time: asked again, a page with half the records.
    Timeout,
    /// The body broke off, or is not what its encoding says: asked again.
    Body,
    /// The decoded body is larger than a page may be: asked again with fewer records.
    TooLarge,
}

/// Marks a request for one record, as an extension of it: an answer that is too large shall be read to its end, because
/// what stands beside the record says how to go on.
#[derive(Clone, Copy, Debug)]
pub struct Outlined;

/// What is kept of an answer that is too large.
#[derive(Clone, Debug, Default)]
pub struct Excerpt {
    /// How it began.
    pub head: Bytes,
    /// The answer without what is in its lists and in the objects within it, when the request was [`Outlined`] and the
    /// answer, with one record in it, came to its end.
    pub outline: Bytes,
}

/// A fault with its text; the text holds no URL query and no header.
#[derive(Clone, Debug)]
pub struct TransportError {
    /// What to do about it.
    pub fault: Fault,
    /// Of an answer that is too large.
    pub excerpt: Excerpt,
    /// What happened.
    pub message: String,
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TransportError {}
