//! Answers before they are bytes, so that a fault can falsify them where it likes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::api::transport::Response;

/// What the names and the members beside the records take, about.
const ROOM_FOR_THE_REST: usize = 256;

/// What the simulator does with a request.
#[derive(Debug)]
pub struct Reply {
    /// The answer; its body is not compressed.
    pub response: Response,
    /// How long it takes.
    pub latency: Duration,
    /// What happens to it on the way.
    pub broken: Option<Broken>,
}

/// What happens to an answer on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The connection is reset before the answer begins.
    Reset,
    /// The connection is reset in the middle of the body.
    InBody,
    /// Nothing ever comes.
    Hang,
}

/// An answer that can still be changed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

/// What an answer says.
#[derive(Debug)]
pub(crate) enum Body {
    Page(Box<Page>),
    Json(Value),
    Html(&'static str),
    Text(String),
    Empty,
}

/// A page of records.
pub(crate) struct Page {
    /// `conversations` or `entities`.
    pub(crate) key: &'static str,
    pub(crate) records: Records,
    /// Everything behind the records, in order.
    pub(crate) rest: Map<String, Value>,
    /// The field of `rest` that continues the chain, and the value that it has for a page number.
    pub(crate) cursor: Option<(&'static str, CursorOf)>,
    /// Its number in the chain, from 1.
    pub(crate) number: u64,
}

/// The cursor that leads to a page.
pub(crate) type CursorOf = Box<dyn Fn(u64) -> String + Send>;

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("key", &self.key).field("number", &self.number).finish_non_exhaustive()
    }
}

/// The records of a page, or what stands in their place.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    List(Vec<Bytes>),
    Null,
    Missing,
}

impl Answer {
    pub(crate) fn json(status: u16, value: Value) -> Answer {
        Answer { status, headers: Vec::new(), body: Body::Json(value) }
    }

    pub(crate) fn page(page: Page) -> Answer {
        Answer { status: 200, headers: Vec::new(), body: Body::Page(Box::new(page)) }
    }

    /// The API's error body; its `contextId` is added with the correlation id.
    pub(crate) fn error(status: u16, code: &str, message: &str) -> Answer {
        let body = json!({"message": message, "code": code, "status": status, "details": [], "errors": []});
        Answer::json(status, body)
    }

    /// A 400 about one field.
    pub(crate) fn invalid(field: &str, message: &str) -> Answer {
        let details = json!([{"errorCode": "invalid.value", "fieldName": field}]);
        let mut answer = Answer::error(400, "invalid.value", message);
        if let Body::Json(body) = &mut answer.body {
            body["details"] = details;
        }
        answer
    }

    /// The 429 of the rate limit.
    pub(crate) fn too_many(seconds: u64) -> Answer {
        let message = format!("Rate limit exceeded the maximum. Retry the request in [{seconds}] seconds");
        Answer::error(429, "too.many.requests.retry.after", &message)
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: impl fmt::Display) -> Answer {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// Writes it; `correlation` names the call in a header and in errors.
    pub(crate) fn render(mut self, correlation: &str) -> Response {
        if let Body::Json(Value::Object(body)) = &mut self.body
            && self.status >= 400
            && body.contains_key("code")
        {
            body.insert("contextId".to_owned(), Value::String(correlation.to_owned()));
        }
        let (kind, body) = match self.body {
            Body::Page(page) => ("application/json", page.render()),
            Body::Json(value) => ("application/json", Bytes::from(value.to_string())),
            Body::Html(text) => ("text/html; charset=utf-8", Bytes::from_static(text.as_bytes())),
            Body::Text(text) => ("application/json", Bytes::from(text)),
            Body::Empty => ("application/json", Bytes::new()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = http::StatusCode::from_u16(self.status).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        self.headers.push(("inin-correlation-id".to_owned(), correlation.to_owned()));
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl Page {
    fn render(self) -> Bytes {
        let records = match &self.records {
            Records::List(records) => records.iter().map(|record| record.len() + 1).sum(),
            Records::Null | Records::Missing => 0,
        };
        let mut body = Vec::with_capacity(records + ROOM_FOR_THE_REST);
        body.push(b'{');
        match &self.records {
            Records::List(records) => {
                body.extend_from_slice(format!("\"{}\":[", self.key).as_bytes());
                for (index, record) in records.iter().enumerate() {
                    if index > 0 {
                        body.push(b',');
                    }
                    body.extend_from_slice(record);
                }
                body.push(b']');
            }
            Records::Null => body.extend_from_slice(format!("\"{}\":null", self.key).as_bytes()),
            Records::Missing => {}
        }
        for (key, value) in &self.rest {
            if body.len() > 1 {
                body.push(b',');
            }
            body.extend_from_slice(format!("{}:{value}", Value::from(key.as_str())).as_bytes());
        }
        body.push(b'}');
        Bytes::from(body)
    }
}

/// The 404 of a path or a job that does not exist.
pub(crate) fn not_found(what: &str) -> Answer {
    Answer::error(404, "not.found", &format!("The requested resource was not found: {what}"))
}
