//! Saved pages into the same lake: no plan and no source, the rest of the pipeline as it is.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::ahead;
use super::closing::conclude;
use super::days::{Observer, PUBLISHING_MAX, Publisher, Publishing};
use super::documents::{self, Document, Documents};
use super::input::{Feed, Input};
use super::record::Recorder;
use super::workshop::{Early, Gathered, LeftBehind, Owner, PAGES_WAITING_MAX, Workshop};
use super::{Means, Report, Settings, begin, resume};
use crate::api::page::{Delivery, Page};
use crate::api::shape::Shape;
use crate::error::{Context, Error, Result};
use crate::lake::day_rows::DayRows;
use crate::lake::publish::Observation;
use crate::memory::Memory;
use crate::plan::Source;
use crate::plan::due::LOOKBACK;
use crate::time::{Clock, Day};

/// Conversations that stand alone in their documents are gathered into pages of this size.
const LONE_RECORDS_A_PAGE: usize = 500;

/// Converts saved pages: all inputs of one call are one observation of the days they hold, and nothing is published
/// before all of them are read. Of two versions of a conversation the one read later wins.
pub async fn convert(
    settings: Settings,
    inputs: Vec<Input>,
    means: Means,
    stop: impl Future<Output = Error>,
) -> Report {
    let clock = means.clock;
    let recorder = Recorder::start(&settings, None, clock.now(), Arc::clone(&means.watch));
    let (workshop, publisher) = match begin(&settings, means, &recorder) {
        Ok(begun) => begun,
        Err(error) => return recorder.finish(Some(error), clock.now()),
    };
    let work = async {
        let begun = resume::begun(&recorder, None);
        publisher.with_run(move |run| run.lake().history().begin(&begun)).await?;
        run(&settings, inputs, &workshop, &publisher, &recorder, clock).await
    };
    let outcome = tokio::select! {
        outcome = work => outcome,
        error = stop => Err(error),
    };
    conclude(&publisher, &recorder, outcome, clock).await
}

async fn run(
    settings: &Settings,
    inputs: Vec<Input>,
    workshop: &Workshop,
    publisher: &Publisher,
    recorder: &Recorder,
    clock: Clock,
) -> Result<()> {
    let (pages, delivered) = mpsc::channel(PAGES_WAITING_MAX);
    let memory = workshop.memory().clone();
    let inputs: Arc<[Input]> = inputs.into();
    let feed = Feed::Saved(Arc::clone(&inputs));
    let reading = tokio::task::spawn_blocking(move || read(&inputs, &memory, &pages));
    let observed_at = clock.now();
    let (left, mut behind) = mpsc::channel(1);
    let owner = Owner { feed: feed.clone(), now: observed_at };
    let early = Early { to: left, wants: &|_| true, spilled: true };
    let gathering = workshop.gather(delivered, owner, |records| recorder.page(records), Some(early));
    let behind = stream::poll_fn(move |context| behind.poll_recv(context));
    let drafting = ahead::draft(publisher, behind).try_collect::<BTreeMap<_, _>>();
    let (gathered, drafted) = tokio::join!(gathering, drafting);
    let read = reading.await.map_err(|e| Error::bug("the reader died").source(e))?;
    // Files never start again, so nothing that was left behind is void.
    let (ahead, Gathered { mut harvest, .. }) = (drafted?, gathered?);
    recorder.harvested(&harvest);
    let readable = harvest.check_readable(settings.max_bad);
    let observer = Observer {
        source: Source::Files,
        forced: false,
        availability: None,
        observed_at,
        lookback: LOOKBACK,
        out_of_window: 0,
        quarantined: harvest.bad.len() as u64,
        shortage: None,
    };
    publisher.quarantine(feed, &mut harvest).await?;
    read?;
    readable?;

    // What came of a day after it was drafted joins it when it is published.
    let mut late: BTreeMap<Day, DayRows> = ahead.keys().map(|day| (*day, harvest.take(*day))).collect();
    let days = harvest.days().into_iter();
    let left = |day| LeftBehind { day, rows: harvest.take(day), observed_at, leaving: workshop.memory().leaving() };
    let rest: Vec<LeftBehind> = days.map(left).collect();
    // Full when publishing is slower than encoding: what is encoded takes room.
    let (ready, mut waiting) = mpsc::channel(publisher.together_max());
    let drafting = async {
        let rest = ahead::draft(publisher, stream::iter(rest));
        let mut drafts = pin!(stream::iter(ahead).map(Ok).chain(rest));
        while let Some((day, drafted)) = drafts.try_next().await? {
            let rows = late.remove(&day).unwrap_or_default();
            match drafted {
                Ok(drafted) => {
                    let observation = publisher.observation(&observer, day, day.interval(), rows);
                    // Nobody listens any more only when publishing has ended with an error of its own.
                    drop(ready.send(Observation { drafted: Some(Arc::new(drafted)), ..observation }).await);
                }
                Err(error) => recorder.day_failed(day, Source::Files, &error),
            }
        }
        drop(ready);
        Ok(())
    };
    let publishing = stream::poll_fn(move |context| waiting.poll_recv(context))
        .ready_chunks(publisher.together_max())
        .map(|days| publish(publisher, recorder, days))
        .buffer_unordered(PUBLISHING_MAX)
        .try_for_each(async |()| Ok(()));
    tokio::try_join!(drafting, publishing).map(drop)
}

async fn publish(publisher: &Publisher, recorder: &Recorder, days: Vec<Observation>) -> Result<()> {
    for (day, published) in publisher.publish_all(days).await? {
        let outcome = published.and_then(|published| match published {
            Publishing::Done => Ok(()),
            Publishing::Doubtful(observation) => Err(missing(&observation)),
        });
        match outcome {
            Err(error) if !error.kind().stops_the_run() => recorder.day_failed(day, Source::Files, &error),
            outcome => outcome?,
        }
    }
    Ok(())
}

/// Files cannot be asked a second time.
fn missing(observation: &Observation) -> Error {
    Error::data(format!(
        "day {}: the lake holds conversations that these pages do not: the day keeps its files",
        observation.day
    ))
    .hint("convert all pages of a day in one call, or say `--allow-vanished`")
}

/// Sends the pages of all inputs, one chain an input.
fn read(inputs: &[Input], memory: &Memory, pages: &mpsc::Sender<Delivery>) -> Result<()> {
    for (chain, input) in (0..).zip(inputs) {
        read_input(input.documents()?, chain, memory, pages)
            .map_err(documents::refused)
            .context(|| input.to_string())?;
    }
    Ok(())
}

fn read_input<R: Read>(
    documents: Documents<R>,
    chain: u32,
    memory: &Memory,
    pages: &mpsc::Sender<Delivery>,
) -> Result<()> {
    let send = |number, (body, records): (Bytes, Vec<Range<usize>>), list: Option<Range<usize>>| {
        let body = Handle::current().block_on(memory.page(body));
        // Nobody listens any more only when the conversion has ended with an error of its own.
        pages.blocking_send(Delivery::Page(Page { chain, number, body, records, list })).is_ok()
    };
    let mut lone = Lone::default();
    for (n, document) in (1_u64..).zip(documents) {
        let document = document?;
        let number = u32::try_from(n).map_err(|_| Error::data("there are over 4 billion documents"))?;
        if let Some(complaint) = &document.envelope.complaint {
            return Err(
                Error::data(format!("an error answer, not a page: {complaint}")).context(format!("document {n}"))
            );
        }
        // A page in between must not overtake the lone records before it: order decides between versions.
        if !lone.takes(&document)
            && let Some(page) = lone.take()
            && !send(lone.first, page, None)
        {
            return Ok(());
        }
        if document.envelope.shape() != Shape::Page {
            lone.add(number, document);
        } else if !send(number, (document.body(), document.envelope.records), document.list) {
            return Ok(());
        }
    }
    if let Some(page) = lone.take() {
        send(lone.first, page, None);
    }
    Ok(())
}

/// Conversations that stand alone, one a document, in the same chunk.
#[derive(Default)]
struct Lone {
    /// The number of the first of them.
    first: u32,
    chunk: Bytes,
    records: Vec<Range<usize>>,
}

impl Lone {
    /// Whether `document` goes on the same page as those before.
    fn takes(&self, document: &Document) -> bool {
        let is_near = self.chunk.as_ptr() == document.chunk.as_ptr();
        self.records.is_empty()
            || is_near && document.envelope.shape() != Shape::Page && self.records.len() < LONE_RECORDS_A_PAGE
    }

    fn add(&mut self, number: u32, document: Document) {
        if self.records.is_empty() {
            self.first = number;
        }
        self.chunk = document.chunk;
        self.records.push(document.range);
    }

    fn take(&mut self) -> Option<(Bytes, Vec<Range<usize>>)> {
        let (chunk, records) = (std::mem::take(&mut self.chunk), std::mem::take(&mut self.records));
        let whole = records.first()?.start..records.last()?.end;
        let shifted = |record: Range<usize>| record.start - whole.start..record.end - whole.start;
        Some((chunk.slice(whole.clone()), records.into_iter().map(shifted).collect()))
    }
}
