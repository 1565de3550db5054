//! A scripted API for tests in virtual time: a function from request to reply, and a record of what was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::transport::{Excerpt, Fault, Outlined, Request, Response, Transport, TransportError};
use super::{Api, ApiSettings, Credentials, Delivery, Endpoint, Fetched, Page};
use crate::error::Result;
use crate::memory::Memory;
use crate::plan::{Matching, Protocol, Slice};
use crate::time::{Clock, Interval, Timestamp, parse_timestamp};

/// One request as the API saw it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) authorization: String,
    /// The JSON body, or `null`.
    pub(crate) body: Value,
    /// The body as text.
    pub(crate) text: String,
    /// Whether an answer that is too large is to be read to its end.
    pub(crate) outlined: bool,
}

/// What the API does about a request.
pub(crate) struct Reply(Result<Response, (Fault, Excerpt)>, Duration);

impl Reply {
    pub(crate) fn json(body: Value) -> Reply {
        Reply::status(200, body)
    }

    pub(crate) fn status(status: u16, body: Value) -> Reply {
        Reply::raw(status, if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) })
    }

    pub(crate) fn raw(status: u16, body: impl Into<Bytes>) -> Reply {
        let mut response = Response::new(body.into());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        Reply(Ok(response), Duration::ZERO)
    }

    pub(crate) fn fault(fault: Fault) -> Reply {
        Reply(Err((fault, Excerpt::default())), Duration::ZERO)
    }

    /// An answer that is too large, and how it begins.
    pub(crate) fn too_large(head: String) -> Reply {
        let excerpt = Excerpt { head: head.into(), outline: Bytes::new() };
        Reply(Err((Fault::TooLarge, excerpt)), Duration::ZERO)
    }

    /// The same to a request that wants to know what stands beside: this.
    pub(crate) fn outlined(mut self, asked: &Asked, beside: &Value) -> Reply {
        if let (Err((_, excerpt)), true) = (&mut self.0, asked.outlined) {
            excerpt.outline = beside.to_string().into();
        }
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Reply {
        if let Ok(response) = &mut self.0 {
            response.headers_mut().append(name, value.parse().unwrap());
        }
        self
    }

    pub(crate) fn after(self, delay: Duration) -> Reply {
        Reply(self.0, delay)
    }
}

type Script = dyn FnMut(&Asked) -> Reply + Send;

/// The API.
pub(crate) struct Scripted {
    script: Mutex<Box<Script>>,
    asked: Mutex<Vec<Asked>>,
}

impl Scripted {
    /// Answers as `script` says, tokens included.
    pub(crate) fn bare(script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Arc<Scripted> {
        Arc::new(Scripted { script: Mutex::new(Box::new(script)), asked: Mutex::default() })
    }

    /// Gives a token to everybody and answers other requests as `script` says.
    pub(crate) fn new(mut script: impl FnMut(&Asked) -> Reply + Send + 'static) -> Arc<Scripted> {
        let mut tokens = 0;
        Scripted::bare(move |asked| {
            if asked.path != "/oauth/token" {
                return script(asked);
            }
            tokens += 1;
            Reply::json(json!({"access_token": format!("t{tokens}"), "token_type": "bearer", "expires_in": 86_400}))
        })
    }

    /// Gives the replies in turn.
    pub(crate) fn in_turn(replies: Vec<Reply>) -> Arc<Scripted> {
        let mut replies = replies.into_iter();
        Scripted::new(move |asked| replies.next().unwrap_or_else(|| panic!("one request too many: {asked:?}")))
    }

    /// Requests so far, those for tokens left out.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        let all = self.asked.lock().unwrap();
        all.iter().filter(|asked| asked.path != "/oauth/token").cloned().collect()
    }

    /// Requests for tokens so far.
    pub(crate) fn tokens(&self) -> Vec<Asked> {
        let all = self.asked.lock().unwrap();
        all.iter().filter(|asked| asked.path == "/oauth/token").cloned().collect()
    }

    /// Waits between requests, in seconds.
    pub(crate) fn waits(&self) -> Vec<f64> {
        self.asked().windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs_f64()).collect()
    }
}

impl Transport for Scripted {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, TransportError>> {
        let header = request.headers().get("authorization").map(|v| v.to_str().unwrap().to_owned());
        let text = String::from_utf8(request.body().to_vec()).unwrap();
        let asked = Asked {
            at: Instant::now(),
            method: request.method().to_string(),
            path: request.uri().path_and_query().unwrap().to_string(),
            authorization: header.unwrap_or_default(),
            body: serde_json::from_str(&text).unwrap_or_default(),
            outlined: request.extensions().get::<Outlined>().is_some(),
            text,
        };
        let Reply(outcome, delay) = (self.script.lock().unwrap())(&asked);
        self.asked.lock().unwrap().push(asked);
        async move {
            tokio::time::sleep(delay).await;
            outcome.map_err(|(fault, excerpt)| TransportError { fault, excerpt, message: format!("{fault:?}") })
        }
        .boxed()
    }
}

/// When the tests take place.
pub(crate) fn today() -> Timestamp {
    parse_timestamp("2025-06-15T12:00:00Z").unwrap()
}

/// A secret that must appear nowhere.
pub(crate) const CANARY: &str = "canary-secret";

pub(crate) fn settings() -> ApiSettings {
    let endpoint = Endpoint::base_url("http://localhost", false).unwrap();
    ApiSettings { seed: Some(7), ..ApiSettings::new(endpoint, Credentials::new("client", CANARY).unwrap()) }
}

pub(crate) fn api(scripted: &Arc<Scripted>, settings: ApiSettings) -> Api {
    let transport: Arc<dyn Transport> = Arc::<Scripted>::clone(scripted);
    Api::new(settings, transport, Clock::starting_at(today()))
}

/// A slice of whole days from 2025-01-01.
pub(crate) fn slice(protocol: Protocol, days: i64) -> Slice {
    let from = parse_timestamp("2025-01-01T00:00:00Z").unwrap();
    let interval = Interval::new(from, from + chrono::TimeDelta::days(days)).unwrap();
    Slice { window: 3, interval, protocol, matching: Matching::Start }
}

/// `count` records that are told apart by number, from `from`.
pub(crate) fn records(from: usize, count: usize) -> Vec<Value> {
    (from..from + count).map(|n| json!({"conversationId": format!("c{n}")})).collect()
}

/// What was delivered and not taken back: chain, page and records of each page in source order; and the refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Delivered {
    pub(crate) pages: Vec<(u32, u32, usize)>,
    pub(crate) ids: Vec<String>,
    pub(crate) restarts: usize,
    pub(crate) refused: Vec<String>,
    /// Ids of records that were never received.
    pub(crate) set_aside: Vec<Option<String>>,
}

/// Fetches a slice to its end.
pub(crate) async fn fetch(api: &Api, slice: Slice) -> (Result<Fetched>, Delivered) {
    let (tx, mut rx) = mpsc::channel(4);
    // What is delivered is kept here.
    let memory = Memory::new(1 << 30);
    let collect = async {
        let (mut pages, mut set_aside, mut delivered) = (Vec::new(), Vec::new(), Delivered::default());
        let mut asked = None;
        while let Some(delivery) = rx.recv().await {
            match delivery {
                Delivery::Asked { at } => assert_eq!(asked.replace(at), None, "once"),
                Delivery::Page(page) => pages.push(page),
                Delivery::Restart { chain } => {
                    pages.retain(|page: &Page| page.chain < chain);
                    set_aside.retain(|(of, ..): &(u32, u32, Option<String>)| *of < chain);
                    delivered.restarts += 1;
                }
                Delivery::TooLarge { chain, number, id } => set_aside.push((chain, number, id)),
                Delivery::Refused { reason, .. } => delivered.refused.push(reason),
            }
        }
        set_aside.sort();
        delivered.set_aside = set_aside.into_iter().map(|(.., id)| id).collect();
        pages.sort_by_key(|page| (page.chain, page.number));
        for page in &pages {
            delivered.pages.push((page.chain, page.number, page.records.len()));
            for record in page.records() {
                let record: Value = serde_json::from_slice(&record).unwrap();
                delivered.ids.push(record["conversationId"].as_str().unwrap().to_owned());
            }
        }
        (delivered, asked)
    };
    let run = async {
        let fetched = api.fetch(&slice, 0, &memory, &tx).await;
        drop(tx);
        fetched
    };
    let (fetched, (delivered, asked)) = futures::join!(run, collect);
    if let Ok(fetched) = &fetched {
        assert!(asked.is_none_or(|at| at == fetched.observed_at) && asked.is_some() >= !delivered.pages.is_empty());
        let records = delivered.pages.iter().map(|page| page.2).sum::<usize>() + delivered.set_aside.len();
        assert_eq!((fetched.pages, fetched.records), (delivered.pages.len() as u64, records as u64));
    }
    (fetched, delivered)
}
