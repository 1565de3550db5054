//! Saved pages into the same lake: no plan and no source, the rest of the pipeline as it is.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::ahead;
use super::closing::conclude;
use super::days::{Observer, PUBLISHING_MAX, Publisher, Publishing};
use super::feed::Feed;
use super::input::Input;
use super::merge;
use super::reading::{Reading, check_any_readable};
use super::record::Recorder;
use super::workshop::{Early, Gathered, LeftBehind, Owner, PAGES_WAITING_MAX, Workshop};
use super::{Means, Report, Settings, begin, resume};
use crate::error::{Error, Result};
use crate::lake::day_rows::DayRows;
use crate::lake::publish::Observation;
use crate::plan::Source;
use crate::plan::due::LOOKBACK;
use crate::time::{Clock, Day};

/// What saved pages are to the days that they are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// All inputs of one call are one observation of the days they hold, which takes the place of what the lake holds of
    /// them. Of two versions of a conversation the one read later wins.
    Replace,
    /// They are added to what the lake holds. Of two versions of a conversation the one in which something happened last
    /// wins, wherever it comes from.
    Merge,
}

/// Converts saved pages. Nothing is published before all of them are read.
pub async fn convert(
    settings: Settings,
    inputs: Vec<Input>,
    onto: Onto,
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
        run(&settings, inputs, onto, &workshop, &publisher, &recorder, clock).await
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
    onto: Onto,
    workshop: &Workshop,
    publisher: &Publisher,
    recorder: &Arc<Recorder>,
    clock: Clock,
) -> Result<()> {
    // Before anything is read: what the lake comes to hold meanwhile is not older than these files.
    let generation = publisher.next_generation(None).await?;
    let (pages, delivered) = mpsc::channel(PAGES_WAITING_MAX);
    let inputs: Arc<[Input]> = inputs.into();
    let feed = Feed::Saved(Arc::clone(&inputs));
    let reading = Reading::new(Arc::clone(&inputs), workshop.memory().clone(), pages, Arc::clone(recorder));
    let reading = tokio::task::spawn_blocking(move || reading.all());
    let observed_at = clock.now();
    let (left, mut behind) = mpsc::channel(1);
    let owner = Owner { feed: feed.clone(), generation, now: observed_at };
    let early = Early { to: left, wants: &|_| true, spilled: true };
    // What is added to a day is assembled with what the lake holds of it, not before.
    let early = (onto == Onto::Replace).then_some(early);
    let gathering = workshop.gather(delivered, owner, |records| recorder.page(records), early);
    let behind = stream::poll_fn(move |context| behind.poll_recv(context));
    let drafting = ahead::draft(publisher, behind).try_collect::<BTreeMap<_, _>>();
    let (gathered, drafted) = tokio::join!(gathering, drafting);
    let read = reading.await.map_err(|e| Error::bug("the reader died").source(e))?;
    // Files never start again, so nothing that was left behind is void.
    let (ahead, Gathered { mut harvest, .. }) = (drafted?, gathered?);
    recorder.harvested(&harvest);
    let readable =
        check_any_readable(&harvest, &inputs, settings.max_bad).and_then(|()| harvest.check_readable(settings.max_bad));
    let observer = Observer {
        source: Source::Files,
        forced: false,
        availability: None,
        generation,
        observed_at,
        clock_skew: None,
        lookback: LOOKBACK,
        out_of_window: 0,
        quarantined: harvest.bad.len() as u64,
        shortage: None,
    };
    publisher.quarantine((feed, generation), &mut harvest, read.is_err() || readable.is_err()).await?;
    let others = read?;
    readable?;
    if others > 0 && harvest.seen().records == 0 {
        return Err(Error::data("the inputs hold no conversations, only records of other streams")
            .hint("conversations have a conversationId and a conversationStart"));
    }
    if onto == Onto::Merge {
        return merge::merge(publisher, recorder, harvest, observer.quarantined).await;
    }

    // What came of a day after it was drafted joins it when it is published.
    let mut late: BTreeMap<Day, DayRows> = ahead.keys().map(|day| (*day, harvest.take(*day))).collect();
    let days = harvest.days().into_iter();
    let left = |day| {
        let (rows, leaving) = (harvest.take(day), workshop.memory().leaving());
        LeftBehind { day, rows, generation, observed_at, leaving }
    };
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
            Publishing::Narrow(observation) | Publishing::Doubtful(observation) => Err(missing(&observation)),
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
    .hint("say `--merge` to add these pages to the day; or convert all pages of the day in one call")
}
