//! One access token for all callers: fetched once, renewed before it ends and when it is refused.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::complaint::text;
use super::region::Endpoint;
use super::retry::Policy;
use super::stats::Counters;
use super::transport::{Request, Response, Transport};
use super::verdict::{Cause, Rejection, Trouble, Verdict, judge};
use crate::error::{Error, Result};
use crate::secrets::Secrets;
use crate::time::Clock;

/// Life of a token that does not state a sensible one.
const LIFE_UNSTATED: Duration = Duration::from_secs(300);
/// Longest life that is believed.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A token is renewed this long before its end, or a tenth of its life when that is shorter.
const MARGIN_MAX: Duration = Duration::from_secs(60);
/// Tokens refused in a row, none of which served a call, after which the credentials are to blame. One is not
/// enough: Genesys ends the oldest of a client's tokens when another process asks for one too many.
const UNUSED_REFUSED_MAX: u32 = 2;

/// An OAuth client. Neither its id nor its secret is ever printed.
#[derive(Clone)]
pub struct Credentials {
    id: String,
    secret: String,
    /// Where they were set, for people.
    origin: Option<String>,
}

impl Credentials {
    /// The id and secret of an OAuth client with the client-credentials grant.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when one is empty.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Result<Credentials> {
        let (id, secret) = (id.into().trim().to_owned(), secret.into().trim().to_owned());
        let credentials = Credentials { id, secret, origin: None };
        if credentials.id.is_empty() || credentials.secret.is_empty() {
            return Err(Error::config("the OAuth client's id or secret is empty"));
        }
        Ok(credentials)
    }

    /// The same, with where they were set: what to correct when they are refused.
    #[must_use]
    pub fn set_by(self, origin: impl Into<String>) -> Credentials {
        Credentials { origin: Some(origin.into()), ..self }
    }

    /// The client's id; it is no secret, but it is the operator's.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Both, as a `Basic` header has them.
    fn basic(&self) -> String {
        BASE64_STANDARD.encode(format!("{}:{}", self.id, self.secret))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(hidden)")
    }
}

/// How the credentials are shown to the login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthStyle {
    /// In an `Authorization: Basic` header: the standard, and Genesys' SDKs.
    #[default]
    Basic,
    /// In the form: the second tutorial.
    Body,
    /// In the header, and in the form when the login does not know the client by its header.
    Either,
}

/// A token in use.
#[derive(Clone)]
pub(crate) struct Token {
    header: HeaderValue,
    generation: u64,
    renew_at: Instant,
    served: Arc<AtomicBool>,
}

impl Token {
    /// The `Authorization` header; marked sensitive, so that nothing prints it.
    pub(crate) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// A call with it was let in.
    pub(crate) fn served(&self) {
        self.served.store(true, Ordering::Relaxed);
    }
}

/// Where the credentials stand in one login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Header,
    Form,
}

/// Why a login brought no token.
enum Refused {
    /// It does not know the client as it was shown.
    Unknown(Rejection),
    Otherwise(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Otherwise(error)
    }
}

/// Where tokens come from.
pub(crate) struct TokenSource {
    endpoint: Endpoint,
    credentials: Credentials,
    style: AuthStyle,
    /// Where the credentials and every token are kept that were sent.
    secrets: Arc<Secrets>,
    /// Held while a token is fetched: whoever else needs one waits for the same.
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    token: Option<Token>,
    /// The last failure to get one: it is also the answer to those who waited for it.
    failed: Option<(Instant, Error)>,
    generation: u64,
    unused_refused: u32,
    /// Whether the login did not know the client by its header: from then on the form is used.
    by_form: bool,
}

impl TokenSource {
    pub(crate) fn new(
        endpoint: Endpoint,
        credentials: Credentials,
        style: AuthStyle,
        secrets: Arc<Secrets>,
    ) -> TokenSource {
        secrets.keep(&credentials.secret);
        secrets.keep(&credentials.basic());
        TokenSource { endpoint, credentials, style, secrets, held: Mutex::default() }
    }

    /// The token of the moment.
    ///
    /// # Errors
    /// [`crate::error::Kind::Access`] when the login refuses the credentials, and those of [`super::retry`].
    pub(crate) async fn get(
        &self,
        transport: &dyn Transport,
        policy: &Policy,
        clock: &Clock,
        counters: &Counters,
    ) -> Result<Token> {
        let asked = Instant::now();
        let mut held = self.held.lock().await;
        if let Some((_, error)) = held.failed.as_ref().filter(|(at, _)| *at > asked) {
            return Err(error.clone());
        }
        if let Some(token) = held.token.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.clone());
        }
        if held.token.take().is_some_and(|old| old.served.load(Ordering::Relaxed)) {
            held.unused_refused = 0;
        }
        let mut fetched = self.fetch(self.shown(&held), transport, policy, clock, counters).await;
        if let Err(Refused::Unknown(rejection)) = &fetched
            && self.style == AuthStyle::Either
            && !held.by_form
        {
            tracing::info!("the login does not know the client by its header ({rejection}); the form is tried");
            held.by_form = true;
            fetched = self.fetch(self.shown(&held), transport, policy, clock, counters).await;
            // If the form is no better, the next login begins anew.
            held.by_form = fetched.is_ok();
        }
        let fetched = fetched.map_err(|refused| match refused {
            Refused::Unknown(rejection) if self.style == AuthStyle::Either => {
                self.denied(&rejection).context("by header and by form")
            }
            Refused::Unknown(rejection) => self.denied(&rejection),
            Refused::Otherwise(error) => error,
        });
        held.failed = fetched.as_ref().err().map(|error| (Instant::now(), error.clone()));
        let (header, life) = fetched?;
        held.generation += 1;
        let renew_at = Instant::now() + life - MARGIN_MAX.min(life / 10);
        let token = Token { header, generation: held.generation, renew_at, served: Arc::default() };
        held.token = Some(token.clone());
        Ok(token)
    }

    /// `token` was refused with a 401: it is given up, once however many callers report it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Access`] when fresh tokens are refused before they served one call.
    pub(crate) async fn refused(&self, token: &Token, rejection: &Rejection) -> Result<()> {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_none_or(|current| current.generation != token.generation) {
            return Ok(());
        }
        held.token = None;
        held.unused_refused = if token.served.load(Ordering::Relaxed) { 0 } else { held.unused_refused + 1 };
        if held.unused_refused >= UNUSED_REFUSED_MAX {
            return Err(self.refuses(rejection));
        }
        tracing::debug!("the access token was refused and is renewed");
        Ok(())
    }

    /// The error of an API that does not accept the login's tokens.
    pub(crate) fn refuses(&self, rejection: &Rejection) -> Error {
        Error::access(format!("{} refuses a fresh access token: {rejection}", self.endpoint.describe()))
            .hint("check that the OAuth client is active and belongs to this region")
    }

    /// Where the credentials stand in the next login.
    fn shown(&self, held: &Held) -> Shown {
        match self.style {
            AuthStyle::Basic => Shown::Header,
            AuthStyle::Body => Shown::Form,
            AuthStyle::Either if held.by_form => Shown::Form,
            AuthStyle::Either => Shown::Header,
        }
    }

    async fn fetch(
        &self,
        shown: Shown,
        transport: &dyn Transport,
        policy: &Policy,
        clock: &Clock,
        counters: &Counters,
    ) -> Result<(HeaderValue, Duration), Refused> {
        let mut tries = policy.tries(None);
        loop {
            counters.token_request();
            let outcome = policy.within(transport.send(self.request(shown)?)).await?;
            let trouble = match judge(outcome, &self.secrets, clock.now()) {
                Verdict::Accept(response) => match self.read(&response) {
                    Some(token) => {
                        policy.earn();
                        return Ok(token);
                    }
                    None => {
                        let what = "the login's answer holds no access token: a proxy or portal may have answered";
                        let what = self.secrets.tell(what);
                        Trouble { cause: Cause::Unreadable, what, asked: None }
                    }
                },
                Verdict::Again(trouble) => trouble,
                Verdict::Renew(rejection) | Verdict::Forbidden(rejection) => return Err(self.refused_client(rejection)),
                Verdict::Rejected(rejection) if rejection.status.as_u16() == 400 => {
                    return Err(self.refused_client(rejection));
                }
                Verdict::Rejected(rejection) => {
                    return Err(Error::config(format!("no tokens at this address: {rejection}"))
                        .hint("check the region, --base-url or --login-url")
                        .context(self.place())
                        .into());
                }
                Verdict::TooLarge(what, _) => return Err(Error::unavailable(what).context(self.place()).into()),
                Verdict::Stop(error) => return Err(error.context(self.place()).into()),
            };
            let wait = tries.next(&trouble).map_err(|e| e.context(self.place()))?;
            tracing::warn!("the login is asked again in {:.1} s: {}", wait.as_secs_f64(), trouble.what);
            policy.sleep(wait).await?;
        }
    }

    fn place(&self) -> String {
        format!("login at {}", self.endpoint.describe())
    }

    fn refused_client(&self, rejection: Rejection) -> Refused {
        let code = rejection.complaint.code.as_deref().unwrap_or_default();
        if code.eq_ignore_ascii_case("invalid_client") {
            Refused::Unknown(rejection)
        } else {
            Refused::Otherwise(self.denied(&rejection))
        }
    }

    fn denied(&self, rejection: &Rejection) -> Error {
        Error::access(format!("the login refused the OAuth client: {rejection}"))
            .hint(format!(
                "check id and secret{}, that the client has the client-credentials grant, and that it belongs to {}",
                self.credentials.origin.as_ref().map_or(String::new(), |origin| format!(" ({origin})")),
                self.endpoint.describe()
            ))
            .context(self.place())
    }

    fn request(&self, shown: Shown) -> Result<Request> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        let mut request = Request::default();
        *request.method_mut() = Method::POST;
        *request.uri_mut() =
            self.endpoint.token_uri().parse().map_err(|e| Error::bug("the token URL is no URI").source(e))?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        match shown {
            Shown::Header => {
                let basic = format!("Basic {}", self.credentials.basic());
                headers.insert(header::AUTHORIZATION, secret_header(&basic)?);
            }
            Shown::Form => {
                form.append_pair("client_id", &self.credentials.id);
                form.append_pair("client_secret", &self.credentials.secret);
            }
        }
        *request.body_mut() = Bytes::from(form.finish());
        Ok(request)
    }

    /// The header and the life of the token that the login's answer holds.
    fn read(&self, response: &Response) -> Option<(HeaderValue, Duration)> {
        let answer: Value = serde_json::from_slice(response.body()).ok()?;
        let token = answer.get("access_token").and_then(Value::as_str).filter(|t| !t.is_empty())?;
        self.secrets.keep(token);
        let stated = answer.get("expires_in").and_then(text).and_then(|t| t.trim().parse::<f64>().ok());
        let life = match stated {
            Some(seconds) if seconds > 0.0 => {
                Duration::try_from_secs_f64(seconds).map_or(LIFE_MAX, |life| life.min(LIFE_MAX))
            }
            _ => LIFE_UNSTATED,
        };
        Some((secret_header(&format!("Bearer {token}")).ok()?, life))
    }
}

fn secret_header(text: &str) -> Result<HeaderValue> {
    // The cause is left out: it could quote the secret.
    let mut value =
        HeaderValue::from_str(text).map_err(|_| Error::access("the token or the credentials hold odd characters"))?;
    value.set_sensitive(true);
    Ok(value)
}
