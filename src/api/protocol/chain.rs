//! One chain of pages: asking, handing on, and what a refusal means.

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::{Source, ending};
use crate::api::client::{Answer, Call, Failure, Misread};
use crate::api::envelope::Envelope;
use crate::api::heard::Heard;
use crate::api::limits::Objection;
use crate::api::page::{Delivery, Page};
use crate::api::shape::{Place, Shape};
use crate::api::transport::Excerpt;
use crate::api::verdict::{Rejection, disguised};
use crate::error::{Error, Kind, Result};
use crate::memory::Memory;
use crate::plan::{Matching, Protocol};
use crate::time::{Interval, Timestamp};

/// Down to this size a page is halved because it is slow: what is slow below it is so for another reason.
const PAGE_SIZE_SLOW_MIN: u32 = 10;

/// What to do about an answer that stays unreadable.
const UNREADABLE_HINT: &str = "the answer is kept under `_convlake/quarantine` of the lake: look at it; is it the API \
     that --base-url or --region names, and does it page by --protocol?";

/// Why a chain ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// From the start: a cursor died or came again.
    Restart(Error),
    /// The API objects to what was asked.
    Object(Objection, Error),
    /// Too slow for so many records.
    Smaller(Error),
    /// Too many bytes for one answer, which began with this id.
    TooLarge { error: Error, id: Option<Box<str>> },
    /// No answer could be read, however often it was asked for.
    Unreadable(Error, Box<Unread>),
    /// No way on.
    Fail(Error),
}

/// The last answer to a call of which none could be read.
#[derive(Debug)]
pub(super) struct Unread {
    /// The page that was asked for.
    pub(super) number: u32,
    pub(super) body: Bytes,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Fail(error)
    }
}

impl Stop {
    /// A refusal that may object to the size of what was asked.
    pub(super) fn rejected(rejection: Rejection) -> Stop {
        match Objection::of(&rejection) {
            Some(objection) => Stop::Object(objection, rejection.into_bare_error()),
            None => Stop::Fail(rejection.into_error()),
        }
    }

    /// Adds what to do about it.
    pub(super) fn hint(self, hint: &str) -> Stop {
        match self {
            Stop::Restart(error) => Stop::Restart(error.hint(hint)),
            Stop::Fail(error) => Stop::Fail(error.hint(hint)),
            other => other,
        }
    }

    pub(super) fn context(self, place: impl FnOnce() -> String) -> Stop {
        match self {
            Stop::Restart(error) => Stop::Restart(error.context(place())),
            Stop::Object(objection, error) => Stop::Object(objection, error.context(place())),
            Stop::Smaller(error) => Stop::Smaller(error.context(place())),
            Stop::TooLarge { error, id } => Stop::TooLarge { error: error.context(place()), id },
            Stop::Unreadable(error, last) => Stop::Unreadable(error.context(place()), last),
            Stop::Fail(error) => Stop::Fail(error.context(place())),
        }
    }
}

/// One answer, taken apart.
pub(super) struct Received {
    pub(super) envelope: Envelope,
    pub(super) body: Bytes,
    heard: Heard,
    /// The record that should be its only one and is too large.
    pub(super) too_large: Option<TooLarge>,
}

/// A record that fits into no answer.
pub(super) struct TooLarge {
    pub(super) error: Error,
    /// Its id, if the answer began with it.
    pub(super) id: Option<Box<str>>,
}

impl Received {
    pub(super) fn is_empty(&self) -> bool {
        self.envelope.records.is_empty() && self.too_large.is_none()
    }

    pub(super) fn said(&self) -> Said {
        let Envelope { total_hits, total_records, availability, .. } = self.envelope;
        Said { heard: self.heard, hits: total_hits.or(total_records), availability }
    }
}

/// What an answer says beside its records.
#[derive(Clone, Copy)]
pub(super) struct Said {
    /// When it was given.
    pub(super) heard: Heard,
    pub(super) hits: Option<u64>,
    pub(super) availability: Option<Timestamp>,
}

/// Asks for pages of one chain and hands them on; shared by calls that run at the same time.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    pub(super) source: &'a Source,
    /// Where pages count from the moment that they are asked for.
    pub(super) memory: &'a Memory,
    pub(super) tx: &'a Sender<Delivery>,
    pub(super) protocol: Protocol,
    /// What is asked for.
    pub(super) part: Interval,
    /// Which conversations of it.
    pub(super) matching: Matching,
    pub(super) ordinal: u32,
    /// Records asked for in one answer.
    pub(super) size: u32,
}

impl Chain<'_> {
    /// Asks until the answer is one that can be page `number` of the chain.
    pub(super) async fn ask(&self, call: Call, number: u32) -> Result<Received, Stop> {
        // A page is asked for when there is room to hold it, so that pages never pile up before the workshop.
        let room = self.memory.room().await;
        let call = call.shrinkable(self.size > PAGE_SIZE_SLOW_MIN);
        let read = |answer: &Answer| {
            let envelope = read_page(answer)?;
            ending::check(self.protocol, &envelope, number).map_err(Misread::Odd)?;
            Ok((envelope, answer.body.clone(), answer.heard))
        };
        let failure = match self.source.client.call(&call, read).await {
            Ok((envelope, body, heard)) => {
                return Ok(Received { envelope, body: room.fill(body), heard, too_large: None });
            }
            Err(failure) => failure,
        };
        if let Failure::TooLarge { error, excerpt } = &failure
            && let Some(envelope) = beside(excerpt)
        {
            let too_large = Some(TooLarge { error: error.clone(), id: first_id(&excerpt.head).map(Box::from) });
            let now = self.source.client.now();
            return Ok(Received { envelope, body: Bytes::new(), heard: Heard::new(None, now, now), too_large });
        }
        Err(self.stop(failure, number).context(|| format!("page {number}")))
    }

    /// Hands a page on.
    pub(super) async fn deliver(&self, number: u32, received: Received) -> Result<()> {
        let Received { envelope, body, .. } = received;
        self.send(Delivery::Page(Page { chain: self.ordinal, number, body, records: envelope.records, list: None }))
            .await
    }

    /// Sets aside the only record of a page that is too large: what is kept is where it stood, and its id if that came
    /// first.
    pub(super) async fn set_aside(&self, number: u32, id: Option<Box<str>>) -> Result<()> {
        self.send(Delivery::TooLarge { chain: self.ordinal, number, id: id.map(String::from) }).await
    }

    /// What a failed call means for its chain.
    fn stop(&self, failure: Failure, number: u32) -> Stop {
        match failure {
            Failure::Slow(error) => Stop::Smaller(error),
            Failure::TooLarge { error, excerpt } => {
                Stop::TooLarge { error, id: first_id(&excerpt.head).map(Box::from) }
            }
            Failure::Final(error) => Stop::Fail(error),
            Failure::Unreadable { body, reason } => {
                Stop::Unreadable(Error::data(reason).hint(UNREADABLE_HINT), Box::new(Unread { number, body }))
            }
            Failure::Rejected(rejection) => {
                // The cursor has died, or the job.
                let dead = match (self.protocol, rejection.status.as_u16()) {
                    (Protocol::Cursor | Protocol::Jobs, 400) => number > 1 && Objection::of(&rejection).is_none(),
                    (Protocol::Cursor, 404 | 410) => number > 1,
                    (Protocol::Jobs, 404 | 410) => true,
                    _ => false,
                };
                if dead { Stop::Restart(rejection.into_error()) } else { Stop::rejected(rejection) }
            }
        }
    }

    pub(super) async fn send(&self, delivery: Delivery) -> Result<()> {
        // A receiver hangs up when the run is being stopped.
        self.tx.send(delivery).await.map_err(|_| Error::new(Kind::Interrupted, "nobody waits for the pages any more"))
    }
}

/// What a page says beside its record, when that is too large.
fn beside(excerpt: &Excerpt) -> Option<Envelope> {
    let envelope = Envelope::read(&excerpt.outline).ok()?;
    (envelope.members.place == Place::List).then_some(envelope)
}

/// The first id in the beginning of a page.
fn first_id(head: &[u8]) -> Option<&str> {
    let key = b"\"conversationId\"";
    let at = head.windows(key.len()).position(|window| window == key)? + key.len();
    let value = head.get(at..)?.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    let id = value.split(|byte| matches!(byte, b'"' | b'\\')).next().filter(|id| id.len() < value.len())?;
    std::str::from_utf8(id).ok().filter(|id| !id.is_empty())
}

/// A page, or why the answer is none.
pub(in crate::api) fn read_page(answer: &Answer) -> Result<Envelope, Misread> {
    let mut envelope = Envelope::read(&answer.body).map_err(|e| Misread::Odd(e.to_string()))?;
    let keys = envelope.members.named();
    if let Some(complaint) = envelope.complaint.take() {
        let text = format!("the API answered with an error in place of a page: {complaint}; {keys}");
        return Err(disguised(complaint).map_or(Misread::Odd(text), Misread::Refusal));
    }
    match envelope.shape() {
        Shape::Page => Ok(envelope),
        Shape::Record => Err(Misread::Odd(format!("the answer is a conversation, not a page of them; {keys}"))),
        Shape::Neither => Err(Misread::Odd(format!("the answer is not a page of conversations; {keys}"))),
    }
}
