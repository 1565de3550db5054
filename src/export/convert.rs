//! Saved pages into the same lake: no plan and no source, the rest of the pipeline as it is.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;

use super::days::{Observer, Publisher, Publishing};
use super::documents::{self, Documents};
use super::record::Recorder;
use super::workshop::{Owner, PAGES_WAITING_MAX, Workshop};
use super::{Means, Report, Settings, begin, conclude, resume};
use crate::api::envelope::Envelope;
use crate::api::page::{Delivery, Page};
use crate::error::{Context, Error, Result};
use crate::lake::publish::Observation;
use crate::plan::Source;
use crate::plan::due::LOOKBACK;
use crate::time::Clock;

/// Conversations that stand alone in their documents are gathered into pages of this size.
const LONE_RECORDS_A_PAGE: usize = 500;
/// A page of lone records is also full at this size.
const LONE_BYTES_A_PAGE: usize = 8 << 20;

/// Where saved pages are read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl From<&Path> for Input {
    /// `-` is standard input.
    fn from(path: &Path) -> Input {
        if path == Path::new("-") { Input::Stdin } else { Input::File(path.to_owned()) }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Stdin => f.write_str("stdin"),
            Input::File(path) => write!(f, "`{}`", path.display()),
        }
    }
}

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
    let reading = tokio::task::spawn_blocking(move || read(&inputs, &pages));
    let gathered =
        workshop.gather(delivered, Owner { slice: None, now: clock.now() }, |records| recorder.page(records)).await;
    let read = reading.await.map_err(|e| Error::bug("the reader died").source(e))?;
    let mut harvest = gathered?;
    recorder.harvested(&harvest);
    let readable = harvest.check_readable(settings.max_bad);
    let observer = Observer {
        source: Source::Files,
        forced: false,
        availability: None,
        observed_at: clock.now(),
        lookback: LOOKBACK,
        out_of_window: 0,
        quarantined: harvest.bad.len() as u64,
    };
    publisher.quarantine("convert".to_owned(), &mut harvest).await?;
    read?;
    readable?;
    for day in harvest.days() {
        let observation = publisher.observation(&observer, day, day.interval(), harvest.take(day)?);
        let published = match publisher.publish(observation).await {
            Ok(Publishing::Done) => Ok(()),
            Ok(Publishing::Doubtful(observation)) => Err(missing(&observation)),
            Err(error) => Err(error),
        };
        match published {
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
fn read(inputs: &[Input], pages: &mpsc::Sender<Delivery>) -> Result<()> {
    for (chain, input) in (0..).zip(inputs) {
        let raw: Box<dyn Read + Send> = match input {
            Input::Stdin => Box::new(io::stdin()),
            Input::File(path) => {
                Box::new(File::open(path).map_err(|e| Error::usage(format!("{input} cannot be opened")).source(e))?)
            }
        };
        let documents =
            documents::open(raw).map_err(|e| Error::storage(format!("{input} cannot be read")).source(e))?;
        read_input(documents, chain, pages).context(|| input.to_string())?;
    }
    Ok(())
}

fn read_input<R: Read>(documents: Documents<R>, chain: u32, pages: &mpsc::Sender<Delivery>) -> Result<()> {
    let mut number = 0;
    let mut send = |body: Bytes, records: Vec<std::ops::Range<usize>>| {
        number += 1;
        // Nobody listens any more only when the conversion has ended with an error of its own.
        pages.blocking_send(Delivery::Page(Page { chain, number, body, records })).is_ok()
    };
    let mut lone = Lone::default();
    for (n, document) in (1..).zip(documents) {
        let place = || format!("document {n}");
        let document = document.context(place)?;
        let document = if document.first() == Some(&b'[') { listed(&document) } else { document };
        let envelope = Envelope::read(&document).context(place)?;
        if let Some(complaint) = envelope.complaint {
            return Err(Error::data(format!("an error answer, not a page: {complaint}")).context(place()));
        }
        let alone = !envelope.is_page;
        // A page in between must not overtake the lone records before it: order decides between versions.
        if (lone.is_full() || !alone)
            && let Some((body, records)) = lone.take()
            && !send(body, records)
        {
            return Ok(());
        }
        if alone {
            lone.add(&document);
        } else if !send(document, envelope.records) {
            return Ok(());
        }
    }
    if let Some((body, records)) = lone.take() {
        send(body, records);
    }
    Ok(())
}

/// A bare list of conversations as a page.
fn listed(list: &Bytes) -> Bytes {
    let mut page = BytesMut::with_capacity(list.len() + 18);
    page.put_slice(br#"{"conversations":"#);
    page.put_slice(list);
    page.put_u8(b'}');
    page.freeze()
}

/// Conversations that stand alone, one a document.
#[derive(Default)]
struct Lone {
    body: BytesMut,
    records: Vec<std::ops::Range<usize>>,
}

impl Lone {
    fn add(&mut self, record: &[u8]) {
        let start = self.body.len();
        self.body.put_slice(record);
        self.records.push(start..self.body.len());
    }

    fn is_full(&self) -> bool {
        self.records.len() >= LONE_RECORDS_A_PAGE || self.body.len() >= LONE_BYTES_A_PAGE
    }

    fn take(&mut self) -> Option<(Bytes, Vec<std::ops::Range<usize>>)> {
        let records = std::mem::take(&mut self.records);
        (!records.is_empty()).then(|| (std::mem::take(&mut self.body).freeze(), records))
    }
}
