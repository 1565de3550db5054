//! What one answer means: a pure verdict.
//!
//! Asked again: 408, 425, 429, every 5xx, connections that fail and bodies that break off. Not asked again:
//! certificates (69), redirects (78), missing permissions (77), and every other 4xx, which the protocol sees.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::complaint::{Complaint, quote};
use super::transport::{Excerpt, Fault, Response, TransportError};
use crate::error::Error;
use crate::secrets::{Secrets, Told};
use crate::time::Timestamp;

/// The permission that every analytics call needs, and where it is given.
const PERMISSION_HINT: &str =
    "grant Admin > Integrations > OAuth > your client > Roles: analytics > conversationDetail > view";
/// What the tutorials call the same.
const SCOPES_HINT: &str = "; in the words of the cursor and page documents the scopes analytics:conversation:details:view, \
     analytics:conversation:summary:view, analytics:conversation:view, analytics:report:view";

/// What is wrong with a question that the API refuses, as far as its status says.
const PLACE_HINT: &str =
    "nothing answers there: check the region or --base-url, and whether --protocol fits this source";
const PROTOCOL_HINT: &str = "check that --protocol fits this source: query and jobs (or auto) are for Genesys Cloud, cursor \
     and page for sources of their shape";
const FILTER_HINT: &str = "check the filters: --queue, --user and the like want ids that this source has, and --filter its \
     own form; plan shows them";
const METRICS_HINT: &str = "check --metrics, --group-by and --granularity against what this source knows";
/// Words of refusals that tell what they are about, and what to do; the first that is said counts.
const TOPICS: [(&str, &str); 7] = [
    ("filter", FILTER_HINT),
    ("predicate", FILTER_HINT),
    ("dimension", FILTER_HINT),
    ("entities", FILTER_HINT),
    ("metric", METRICS_HINT),
    ("groupby", METRICS_HINT),
    ("granularity", METRICS_HINT),
];

/// What is wrong with an answer that may be right the next time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// 429.
    Throttled,
    /// 425 or 5xx.
    Busy,
    /// No answer in time, 408 or 504; a smaller question may get one.
    Slow,
    /// No connection, or one that broke.
    Connection,
    /// An answer that arrived whole and cannot be read.
    Unreadable,
}

/// Why to ask again, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) cause: Cause,
    /// What happened, for people.
    pub(crate) what: Told,
    /// The wait that the answer asks for.
    pub(crate) asked: Option<Duration>,
}

/// A refusal as it came: nothing of it is fit to be shown.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    complaint: Complaint,
    correlation: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, complaint: Complaint) -> Refusal {
        Refusal { status, complaint, correlation: None }
    }

    /// The same without our secrets.
    pub(crate) fn told(self, secrets: &Secrets) -> Rejection {
        let correlation = self.correlation.map(|id| secrets.tell(&id));
        Rejection { status: self.status, complaint: self.complaint.told(secrets), correlation }
    }
}

/// A request that the API understood and refused. Fit to be shown.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    pub(crate) complaint: Complaint,
    correlation: Option<Told>,
}

impl Rejection {
    /// What it says, for people.
    fn what(&self) -> Told {
        // Its parts are told already.
        Secrets::default().tell(&self.to_string())
    }

    /// The error when nobody knows what else to do.
    pub(crate) fn into_error(self) -> Error {
        let said = self.complaint.to_string().to_lowercase();
        let hint = match self.status.as_u16() {
            404 | 405 | 410 => PLACE_HINT,
            _ => TOPICS.iter().find(|(word, _)| said.contains(word)).map_or(PROTOCOL_HINT, |(_, hint)| hint),
        };
        self.into_bare_error().hint(hint)
    }

    /// The same for those that know what else to do.
    pub(crate) fn into_bare_error(self) -> Error {
        Error::data(self.to_string())
    }

    /// The error of a call that the client's roles do not permit.
    pub(crate) fn into_access_error(self) -> Error {
        Error::access(self.to_string()).hint(format!("{PERMISSION_HINT}{SCOPES_HINT}"))
    }
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the API answered {}", self.status.as_u16())?;
        if !self.complaint.is_empty() {
            write!(f, ": {}", self.complaint)?;
        }
        self.correlation.iter().try_for_each(|id| write!(f, " [correlation {id}]"))
    }
}

/// What one try amounts to.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// 2xx.
    Accept(Response),
    /// 401: the token is no longer good.
    Renew(Rejection),
    /// To be asked again.
    Again(Trouble),
    /// More than one answer can carry: to be asked for less.
    TooLarge(Told, Excerpt),
    /// 403: a permission is missing.
    Forbidden(Rejection),
    /// Any other 4xx.
    Rejected(Rejection),
    /// Nothing helps.
    Stop(Error),
}

/// Judges the outcome of one try; `now` stands in for a missing `Date`. What it says is without `secrets`.
pub(crate) fn judge(outcome: Result<Response, TransportError>, secrets: &Secrets, now: Timestamp) -> Verdict {
    match outcome {
        Ok(response) => judge_response(response, secrets, now),
        Err(TransportError { fault, excerpt, message }) => {
            let what = secrets.tell(&message);
            match fault {
                Fault::Tls => Verdict::Stop(
                    Error::unavailable(what)
                        .hint("check the system's certificates, SSL_CERT_FILE, the clock and the proxy"),
                ),
                Fault::TooLarge => Verdict::TooLarge(what, excerpt),
                Fault::Timeout => Verdict::Again(Trouble { cause: Cause::Slow, what, asked: None }),
                Fault::Connect | Fault::Body => Verdict::Again(Trouble { cause: Cause::Connection, what, asked: None }),
            }
        }
    }
}

fn judge_response(response: Response, secrets: &Secrets, now: Timestamp) -> Verdict {
    let status = response.status();
    if status.is_success() {
        return Verdict::Accept(response);
    }
    if status.is_redirection() {
        return Verdict::Stop(redirected(&response, secrets));
    }
    let correlation = response.headers().get("inin-correlation-id").and_then(|id| id.to_str().ok()).map(quote);
    let refusal = Refusal { status, complaint: Complaint::of_body(response.body()), correlation };
    refused(refusal.told(secrets), retry_after(response.headers(), now))
}

/// Judges a refusal, whether it came as a status or inside an answer that claims success.
pub(crate) fn refused(rejection: Rejection, asked: Option<Duration>) -> Verdict {
    let again = |cause| Verdict::Again(Trouble { cause, what: rejection.what(), asked });
    match rejection.status.as_u16() {
        401 => Verdict::Renew(rejection),
        403 => Verdict::Forbidden(rejection),
        407 => Verdict::Stop(
            Error::config("the proxy wants to be authenticated").hint("put its credentials into HTTPS_PROXY"),
        ),
        425 => again(Cause::Busy),
        413 => Verdict::TooLarge(rejection.what(), Excerpt::default()),
        429 => again(Cause::Throttled),
        408 | 504 => again(Cause::Slow),
        500.. => again(Cause::Busy),
        _ => Verdict::Rejected(rejection),
    }
}

/// The error object of an answer that claims success, as the refusal that it is.
pub(crate) fn disguised(complaint: Complaint) -> Option<Refusal> {
    let status = complaint.status.and_then(|s| StatusCode::from_u16(s).ok()).filter(|s| s.as_u16() >= 400)?;
    Some(Refusal::new(status, complaint))
}

/// The host alone is named: the rest of the target may hold anything.
fn redirected(response: &Response, secrets: &Secrets) -> Error {
    let target = response.headers().get(header::LOCATION).and_then(|l| l.to_str().ok());
    let host = target.and_then(|l| url::Url::parse(l).ok()).and_then(|u| u.host_str().map(str::to_owned));
    let host = host.map(|h| format!(" to host `{}`", secrets.tell(&quote(&h)))).unwrap_or_default();
    Error::config(format!(
        "the API answered {} with a redirect{host}, which is never followed",
        response.status().as_u16()
    ))
    .hint("check the region or --base-url, and whether a proxy or portal stands in between")
}

/// `Retry-After` in seconds or as a date, which counts from the answer's own `Date`. What lies in the past is no
/// wait, what cannot be read is absent, of several the longest counts.
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let sent = date(headers).unwrap_or(now);
    let read = |value: &http::HeaderValue| -> Option<Duration> {
        let text = value.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse::<i64>() {
            return Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        }
        let until = Timestamp::from(httpdate::parse_http_date(text).ok()?);
        Some((until - sent).to_std().unwrap_or(Duration::ZERO))
    };
    headers.get_all(header::RETRY_AFTER).iter().filter_map(read).max()
}

/// The answer's `Date`.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(Timestamp::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::time::parse_timestamp;
    use bytes::Bytes;

    fn now() -> Timestamp {
        parse_timestamp("2026-11-21T20:00:00Z").unwrap()
    }

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        values.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn status(status: u16, body: &str) -> Verdict {
        let mut response = Response::new(Bytes::from(body.to_owned()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        judge(Ok(response), &Secrets::default(), now())
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_garbage_is_absent() {
        let cases = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("-1", Some(0)),
            ("99999999", Some(99_999_999)),
            ("abc", None),
            ("", None),
            ("Sat, 21 Nov 2026 21:00:00 GMT", Some(3600)),
            ("Sat, 21 Nov 2026 19:00:00 GMT", Some(0)),
        ];
        for (text, seconds) in cases {
            assert_eq!(
                retry_after(&headers(&[("retry-after", text)]), now()),
                seconds.map(Duration::from_secs),
                "{text}"
            );
        }
        // The server's clock counts, not ours.
        let dated =
            headers(&[("retry-after", "Sat, 21 Nov 2026 21:00:00 GMT"), ("date", "Sat, 21 Nov 2026 20:59:50 GMT")]);
        assert_eq!(retry_after(&dated, now()), Some(Duration::from_secs(10)));
        let mut two = headers(&[("retry-after", "3")]);
        two.append("retry-after", "8".parse().unwrap());
        assert_eq!(retry_after(&two, now()), Some(Duration::from_secs(8)));
    }

    #[test]
    fn every_status_has_its_verdict() {
        for (code, cause) in [
            (408, Cause::Slow),
            (425, Cause::Busy),
            (429, Cause::Throttled),
            (500, Cause::Busy),
            (502, Cause::Busy),
            (503, Cause::Busy),
            (504, Cause::Slow),
            (520, Cause::Busy),
            (527, Cause::Busy),
        ] {
            assert!(matches!(status(code, "<html>"), Verdict::Again(trouble) if trouble.cause == cause), "{code}");
        }
        assert!(matches!(status(200, ""), Verdict::Accept(_)));
        assert!(matches!(status(401, ""), Verdict::Renew(_)));
        assert!(matches!(status(403, ""), Verdict::Forbidden(_)));
        assert!(matches!(status(413, ""), Verdict::TooLarge(..)));
        assert!(matches!(status(404, ""), Verdict::Rejected(_)));
        let Verdict::Rejected(rejection) = status(400, r#"{"code":"bad.request","message":"no\u0007 way"}"#) else {
            panic!()
        };
        assert_eq!(rejection.into_error().to_string(), "the API answered 400: bad.request: no way");
    }

    #[test]
    fn a_redirect_names_the_host_alone() {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::FOUND;
        response.headers_mut().insert("location", "https://portal.example/login?user=hunter2".parse().unwrap());
        let Verdict::Stop(error) = judge(Ok(response), &Secrets::default(), now()) else {
            panic!("redirects end the call")
        };
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains("`portal.example`") && !error.to_string().contains("hunter2"));
    }
}
