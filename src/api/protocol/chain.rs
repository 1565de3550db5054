//! One chain of pages: asking, handing on, and what a refusal means.

use bytes::Bytes;
use tokio::sync::mpsc::Sender;

use super::Source;
use crate::api::client::{Answer, Call, Failure, Misread};
use crate::api::envelope::Envelope;
use crate::api::limits::Objection;
use crate::api::page::{Delivery, Page};
use crate::api::verdict::{Rejection, disguised};
use crate::error::{Error, Kind, Result};
use crate::plan::{Matching, Protocol};
use crate::time::{Interval, Timestamp};

/// Why a chain ended before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// From the start: a cursor died or came again.
    Restart(Error),
    /// The API objects to what was asked.
    Object(Objection, Error),
    /// Too much for one answer.
    Smaller(Error),
    /// No way on.
    Fail(Error),
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
            Some(objection) => Stop::Object(objection, rejection.into_error()),
            None => Stop::Fail(rejection.into_error()),
        }
    }

    pub(super) fn context(self, place: impl FnOnce() -> String) -> Stop {
        match self {
            Stop::Restart(error) => Stop::Restart(error.context(place())),
            Stop::Object(objection, error) => Stop::Object(objection, error.context(place())),
            Stop::Smaller(error) => Stop::Smaller(error.context(place())),
            Stop::Fail(error) => Stop::Fail(error.context(place())),
        }
    }
}

/// One answer, taken apart.
pub(super) struct Received {
    pub(super) envelope: Envelope,
    pub(super) body: Bytes,
    /// When the server gave it.
    pub(super) date: Timestamp,
}

impl Received {
    pub(super) fn is_empty(&self) -> bool {
        self.envelope.records.is_empty()
    }
}

/// Asks for pages of one chain and hands them on; shared by calls that run at the same time.
#[derive(Clone, Copy)]
pub(super) struct Chain<'a> {
    pub(super) source: &'a Source,
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
    /// Asks until the answer is a page that `check` has nothing to say against.
    pub(super) async fn ask(
        &self,
        call: Call,
        number: u32,
        check: impl Fn(&Envelope) -> Result<(), String>,
    ) -> Result<Received, Stop> {
        let call = call.shrinkable(self.size > 1);
        let read = |answer: &Answer| {
            let envelope = read_page(answer)?;
            check(&envelope).map_err(Misread::Odd)?;
            let date = answer.date.unwrap_or_else(|| self.source.client.now());
            Ok(Received { envelope, body: answer.body.clone(), date })
        };
        match self.source.client.call(&call, read).await {
            Ok(received) => Ok(received),
            Err(failure) => Err(self.stop(failure, number).await?.context(|| format!("page {number}"))),
        }
    }

    /// Hands a page on.
    pub(super) async fn deliver(&self, number: u32, received: Received) -> Result<()> {
        let records = received.envelope.records;
        self.send(Delivery::Page(Page { chain: self.ordinal, number, body: received.body, records })).await
    }

    /// What a failed call means for its chain.
    async fn stop(&self, failure: Failure, number: u32) -> Result<Stop> {
        Ok(match failure {
            Failure::TooMuch(error) => Stop::Smaller(error),
            Failure::Final(error) => Stop::Fail(error),
            Failure::Unreadable { body, reason } => {
                let error = Error::data(reason.clone());
                self.send(Delivery::Refused { chain: self.ordinal, number, body, reason }).await?;
                Stop::Fail(error)
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
        })
    }

    pub(super) async fn send(&self, delivery: Delivery) -> Result<()> {
        // A receiver hangs up when the run is being stopped.
        self.tx.send(delivery).await.map_err(|_| Error::new(Kind::Interrupted, "nobody waits for the pages any more"))
    }
}

/// A page, or why the answer is none.
pub(in crate::api) fn read_page(answer: &Answer) -> Result<Envelope, Misread> {
    let mut envelope = Envelope::read(&answer.body).map_err(|e| Misread::Odd(e.to_string()))?;
    match envelope.complaint.take() {
        None => Ok(envelope),
        Some(complaint) => {
            let text = format!("the API answered with an error in place of a page: {complaint}");
            Err(disguised(complaint).map_or(Misread::Odd(text), Misread::Refusal))
        }
    }
}
