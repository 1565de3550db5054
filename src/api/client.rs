//! One call: token, pace, transport, verdict, and again until it is answered or refused.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::Value;
use tokio::time::Instant;

use super::heard::Heard;
use super::pace::{CALLS_PER_MINUTE, Pace, Permit};
use super::retry::{Policy, Tries};
use super::settings::ApiSettings;
use super::stats::{Counters, Stats};
use super::token::{Token, TokenSource};
use super::transport::{Excerpt, Outlined, Request, Response, Transport, TransportError};
use super::verdict::{Cause, Refusal, Rejection, Trouble, Verdict, date, judge, refused};
use crate::error::{Error, Result};
use crate::secrets::Secrets;
use crate::time::{Clock, Timestamp};

/// Answers in a row that came too late after which fewer records are asked for.
const SLOW_ANSWERS_MAX: u32 = 2;
/// Refused tokens that one call survives: an endpoint that refuses what others accept would never end.
const RENEWALS_MAX: u32 = 3;

/// What to call, and how much it matters.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    /// Path and query under the API's base.
    path: String,
    body: Bytes,
    /// Whether it counts as a call at an analytics endpoint.
    counted: bool,
    /// Whether it could ask for fewer records.
    can_shrink: bool,
    /// How long it may be answered 429, when longer than any. Such 429s speak of what the call starts, not of the pace of
    /// calls.
    throttled_for: Option<Duration>,
    /// Whether one try is enough.
    once: bool,
    /// Whether a missing permission is an answer like another.
    permission_optional: bool,
    /// Whether an answer that is too large is read to its end.
    outlined: bool,
}

impl Call {
    pub(crate) fn get(path: impl Into<String>) -> Call {
        Call::new(Method::GET, path.into(), Bytes::new())
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Call {
        Call::new(Method::POST, path.into(), Bytes::from(body.to_string()))
    }

    /// An attempt at tidying up: tried once.
    pub(crate) fn delete(path: impl Into<String>) -> Call {
        Call { once: true, ..Call::new(Method::DELETE, path.into(), Bytes::new()).aside() }
    }

    fn new(method: Method, path: String, body: Bytes) -> Call {
        Call {
            method,
            path,
            body,
            counted: true,
            can_shrink: false,
            throttled_for: None,
            once: false,
            permission_optional: false,
            outlined: false,
        }
    }

    /// Not a call for data.
    pub(crate) fn aside(self) -> Call {
        Call { counted: false, ..self }
    }

    /// Asks for a page whose size can be halved.
    pub(crate) fn shrinkable(self, can_shrink: bool) -> Call {
        Call { can_shrink, ..self }
    }

    /// Waits its turn for longer than others.
    pub(crate) fn throttled_for(self, length: Duration) -> Call {
        Call { throttled_for: Some(length), ..self }
    }

    /// Asks for what not every client may see.
    pub(crate) fn permission_optional(self) -> Call {
        Call { permission_optional: true, ..self }
    }

    /// Asks for one record: what stands beside it is heard even when it is too large.
    pub(crate) fn outlined(self, outlined: bool) -> Call {
        Call { outlined, ..self }
    }

    /// The path without its query, which may hold a cursor.
    fn place(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Bytes,
    /// When it was given.
    pub(crate) heard: Heard,
}

/// Why a successful answer cannot be used.
#[derive(Debug)]
pub(crate) enum Misread {
    /// It is not what was asked for.
    Odd(String),
    /// It is a refusal in disguise.
    Refusal(Refusal),
}

/// Why a call did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Refused with a 4xx that a protocol may have an answer to.
    Rejected(Rejection),
    /// Too slow for so many records.
    Slow(Error),
    /// Too many bytes for one answer.
    TooLarge { error: Error, excerpt: Excerpt },
    /// Every try was answered, and with nothing that could be read.
    Unreadable {
        /// The last one.
        body: Bytes,
        /// What was the matter.
        reason: String,
    },
    /// Everything else.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Final(error)
    }
}

impl Failure {
    /// The error when nobody knows what else to do.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Failure::Rejected(rejection) => rejection.into_error(),
            Failure::Slow(error) | Failure::TooLarge { error, .. } | Failure::Final(error) => error,
            Failure::Unreadable { reason, .. } => Error::data(reason),
        }
    }
}

/// The one way to the API.
pub(crate) struct Client {
    transport: Arc<dyn Transport>,
    clock: Clock,
    settings: Arc<ApiSettings>,
    token: TokenSource,
    /// What this client has sent and must not show.
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) pace: Pace,
    pub(crate) policy: Policy,
    counters: Counters,
}

impl Client {
    pub(crate) fn new(settings: Arc<ApiSettings>, transport: Arc<dyn Transport>, clock: Clock) -> Client {
        let secrets = Arc::<Secrets>::default();
        let (endpoint, credentials) = (settings.endpoint.clone(), settings.credentials.clone());
        let token = TokenSource::new(endpoint, credentials, settings.auth, Arc::clone(&secrets));
        let pace = Pace::new(settings.rate_limit.unwrap_or(CALLS_PER_MINUTE));
        let policy = Policy::new(settings.retry_for, settings.deadline, settings.seed);
        Client { transport, clock, settings, token, secrets, pace, policy, counters: Counters::default() }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn stats(&self) -> Stats {
        self.counters.totals()
    }

    /// Calls until `read` makes something of the answer.
    pub(crate) async fn call<T>(
        &self,
        call: &Call,
        read: impl Fn(&Answer) -> Result<T, Misread>,
    ) -> Result<T, Failure> {
        let mut tries = self.policy.tries(call.throttled_for);
        let (mut slow, mut renewals) = (0, 0);
        loop {
            if tries.failed() > 0 && call.counted {
                self.counters.retry();
            }
            let Attempt { outcome, sent, token, permit } = self.attempt(call, &tries).await?;
            let (verdict, unreadable) = match judge(outcome, &self.secrets, self.now()) {
                Verdict::Accept(response) => match interpret(response, (sent, self.now()), &self.secrets, &read) {
                    Reading::Done(value) => {
                        token.served();
                        self.policy.earn();
                        return Ok(value);
                    }
                    Reading::Misread(verdict, body) => (verdict, body),
                },
                verdict => (verdict, None),
            };
            let trouble = match verdict {
                Verdict::Accept(_) => return Err(Error::bug("an accepted answer was not read").into()),
                Verdict::Again(trouble) => trouble,
                Verdict::Renew(rejection) => {
                    renewals += 1;
                    if renewals >= RENEWALS_MAX {
                        return Err(self.token.refuses(&rejection).into());
                    }
                    self.token.refused(&token, &rejection).await?;
                    continue;
                }
                Verdict::TooLarge(what, excerpt) => {
                    return Err(Failure::TooLarge { error: Error::data(what), excerpt });
                }
                Verdict::Forbidden(rejection) if !call.permission_optional => {
                    return Err(rejection.into_access_error().into());
                }
                Verdict::Rejected(rejection) | Verdict::Forbidden(rejection) => {
                    return Err(Failure::Rejected(rejection));
                }
                Verdict::Stop(error) => return Err(error.into()),
            };
            if let Some(body) = unreadable
                && !tries.reads_left()
            {
                let body = self.secrets.cover(&body).map_or(body, Bytes::from);
                return Err(Failure::Unreadable { body, reason: trouble.what.into() });
            }
            slow = if trouble.cause == Cause::Slow { slow + 1 } else { 0 };
            if call.can_shrink && slow >= SLOW_ANSWERS_MAX {
                return Err(Failure::Slow(Error::unavailable(trouble.what)));
            }
            let wait = if call.once { Err(Error::unavailable(trouble.what.clone())) } else { tries.next(&trouble) };
            if trouble.cause == Cause::Throttled {
                self.counters.throttled();
                if call.throttled_for.is_none() {
                    permit.refused(trouble.asked, wait.as_ref().ok().copied().unwrap_or_default());
                }
            }
            // Only now may the next caller go: it finds the pause.
            drop(permit);
            let wait = wait?;
            tracing::warn!("{} is asked again in {:.1} s: {}", call.place(), wait.as_secs_f64(), trouble.what);
            self.policy.sleep(wait).await?;
        }
    }

    async fn attempt(&self, call: &Call, tries: &Tries<'_>) -> Result<Attempt<'_>> {
        // Before the turn, so that a call goes out the moment it has one; after it, for a turn can be long in coming.
        self.token().await?;
        let permit = self.pace.acquire(tries.patience()).await?;
        let token = self.token().await?;
        if call.counted && !self.counters.call(self.settings.max_calls) {
            let budget = self.settings.max_calls.unwrap_or_default();
            return Err(
                Error::later(format!("the budget of {budget} calls is spent")).hint("run again; progress is kept")
            );
        }
        let (started, sent) = (Instant::now(), self.now());
        let outcome = self.policy.within(self.transport.send(self.request(call, &token)?)).await?;
        if let Ok(response) = &outcome {
            permit.answered(response.headers(), response.status() != StatusCode::TOO_MANY_REQUESTS);
            self.counters.received(response.body().len());
            tracing::debug!(
                "{}: {} with {} bytes in {} ms",
                call.place(),
                response.status().as_u16(),
                response.body().len(),
                started.elapsed().as_millis()
            );
        }
        Ok(Attempt { outcome, sent, token, permit })
    }

    async fn token(&self) -> Result<Token> {
        self.token.get(self.transport.as_ref(), &self.policy, &self.clock, &self.counters).await
    }

    fn request(&self, call: &Call, token: &Token) -> Result<Request> {
        let mut request = Request::new(call.body.clone());
        *request.method_mut() = call.method.clone();
        let uri = self.settings.endpoint.api_uri(&call.path);
        *request.uri_mut() = uri.parse().map_err(|e| Error::bug(format!("no URI for {}", call.place())).source(e))?;
        let headers: &mut HeaderMap = request.headers_mut();
        headers.insert(header::AUTHORIZATION, token.header());
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if !call.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if call.outlined {
            request.extensions_mut().insert(Outlined);
        }
        Ok(request)
    }
}

/// One request sent, and what it was sent with.
struct Attempt<'a> {
    outcome: Result<Response, TransportError>,
    /// When it was sent.
    sent: Timestamp,
    token: Token,
    /// Held until the verdict, so that a pause begins before the next caller's turn.
    permit: Permit<'a>,
}

/// What became of an answer that claims success.
enum Reading<T> {
    Done(T),
    /// Judged anew; a body that might hold data comes along.
    Misread(Verdict, Option<Bytes>),
}

fn interpret<T>(
    response: Response,
    (sent, now): (Timestamp, Timestamp),
    secrets: &Secrets,
    read: impl Fn(&Answer) -> Result<T, Misread>,
) -> Reading<T> {
    let again =
        |what: &str| Verdict::Again(Trouble { cause: Cause::Unreadable, what: secrets.tell(what), asked: None });
    if is_html(&response) {
        return Reading::Misread(again("a proxy or portal answered in place of the API"), None);
    }
    let answer = Answer { heard: Heard::new(date(response.headers()), sent, now), body: response.into_body() };
    match read(&answer) {
        Ok(value) => Reading::Done(value),
        Err(Misread::Refusal(refusal)) => Reading::Misread(refused(refusal.told(secrets), None), None),
        Err(Misread::Odd(what)) => Reading::Misread(again(&what), Some(answer.body)),
    }
}

fn is_html(response: &Response) -> bool {
    let says = response.headers().get(header::CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
    match response.body().trim_ascii_start().first() {
        Some(b'<') => true,
        Some(b'{') | None => false,
        Some(_) => says.starts_with("text/html"),
    }
}
