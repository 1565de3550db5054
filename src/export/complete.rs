//! A slice is complete, and its days are published: first those are encoded that have not been on the way, then all of
//! them together, and a day in doubt is fetched a second time.

use std::collections::BTreeMap;

use futures::stream;

use super::days::{Observer, Publishing};
use super::feed::Feed;
use super::harvest::Harvest;
use super::pipeline::{Brought, Exporter};
use super::workshop::LeftBehind;
use crate::error::{Context, Error, Result};
use crate::lake::publish::Observation;
use crate::plan::{Asked, Matching, Protocol, ProtocolChoice, Slice};
use crate::time::{Day, Interval, Timestamp};

/// Fetches of a day that was not published at first: one that completes it, and one that confirms what has vanished.
const AGAIN_MAX: usize = 2;

impl Exporter {
    /// Publishes the days of `slice`, several together. A day that fails is recorded, and the others go on.
    pub(super) async fn publish_days(&self, slice: &Slice, asked: &Asked, brought: Brought) -> Result<()> {
        let Brought { fetched, generation, mut harvest, mut ahead, shortage, refetched } = brought;
        self.recorder.slice_fetched(slice, &fetched, &harvest);
        let readable = harvest.check_readable(self.max_bad).context(|| slice.to_string());
        let observer = Observer {
            source: slice.protocol.into(),
            forced: self.manner.protocol == ProtocolChoice::One(Protocol::Query),
            availability: fetched.availability,
            generation,
            observed_at: fetched.observed_at,
            clock_skew: fetched.clock_skew,
            lookback: self.manner.lookback,
            out_of_window: harvest.seen().out_of_window,
            quarantined: harvest.bad.len() as u64,
            shortage,
        };
        let feed = Feed::Slice(*slice);
        self.publisher.quarantine((feed, generation), &mut harvest, readable.is_err()).await?;
        readable?;
        self.publisher.mark_dirty(active_elsewhere(slice, &harvest, asked), fetched.observed_at).await?;
        let (mut promises, mut rest) = (Vec::new(), Vec::new());
        for day in slice.days() {
            let Some(part) = asked.part(day) else { continue };
            let Some(promised) = promised(part, slice.protocol, fetched.availability) else {
                self.recorder.not_available(day, observer.source);
                continue;
            };
            if promised == day.interval() && !ahead.contains_key(&day) {
                let (rows, leaving) = (harvest.take(day), self.workshop.memory().leaving());
                rest.push(LeftBehind { day, rows, generation, observed_at: fetched.observed_at, leaving });
            }
            promises.push((day, promised));
        }
        ahead.extend(self.draft(stream::iter(rest)).await?);
        let mut observations = Vec::new();
        for (day, promised) in promises {
            let fetched = slice.interval.intersection(&day.interval()).unwrap_or(promised);
            let late = self.publisher.observation(&observer, day, promised, harvest.take(day));
            let refetched = refetched.get(&day).copied().unwrap_or(0);
            let late = Observation { fetched, refetched, ..late };
            match ahead.remove(&day).transpose() {
                Ok(drafted) => observations.push(Observation { drafted, ..late }),
                Err(error) => self.recorder.day_failed(day, observer.source, &error),
            }
        }
        while !observations.is_empty() {
            let left = observations.split_off(self.publisher.together_max().min(observations.len()));
            for (day, published) in self.publisher.publish_all(std::mem::replace(&mut observations, left)).await? {
                let published = match published {
                    Ok(published) => self.again(slice, published, harvest.next_chain()).await,
                    Err(error) => Err(error),
                };
                match published {
                    Err(error) if !error.kind().stops_the_run() => {
                        self.recorder.day_failed(day, observer.source, &error);
                    }
                    outcome => outcome?,
                }
            }
        }
        Ok(())
    }

    /// Publishes a day that was not, once more: it is fetched whole. The second fetch of a day from which conversations have
    /// vanished confirms that, and what either fetch brought counts; a part of a day is replaced by the whole.
    async fn again(&self, slice: &Slice, mut published: Publishing, mut chain: u32) -> Result<()> {
        for _ in 0..AGAIN_MAX {
            let (mut observation, confirmed) = match published {
                Publishing::Done => return Ok(()),
                Publishing::Narrow(observation) => (observation, false),
                Publishing::Doubtful(observation) => (observation, true),
            };
            let whole = observation.day.interval();
            let again = Slice { interval: whole, matching: Matching::Start, ..*slice };
            if !confirmed {
                // What is fetched now is all of the day, and stands for itself.
                observation.generation = self.publisher.next_generation(Some([observation.day].into())).await?;
            }
            let generation = observation.generation;
            let Brought { mut harvest, fetched, .. } = self.fetch(&again, (generation, chain), &|_| false).await?;
            chain += fetched.chains;
            // Most of these the first fetch brought as well: better kept twice than lost.
            self.publisher.quarantine((Feed::Slice(again), generation), &mut harvest, false).await?;
            let rows = harvest.take(observation.day);
            if confirmed {
                observation.refetched += rows.count() as u64;
                observation.rows.extend(rows);
            } else {
                (observation.refetched, observation.rows) = (0, rows);
            }
            (observation.fetched, observation.observed_at) = (whole, fetched.observed_at);
            observation.clock_skew = observation.clock_skew.or(fetched.clock_skew);
            observation.confirmed = confirmed;
            published = self.publisher.publish(*observation).await?;
        }
        match published {
            Publishing::Done => Ok(()),
            Publishing::Narrow(_) | Publishing::Doubtful(_) => Err(Error::bug("a confirmed observation is doubted")),
        }
    }
}

/// Days that are not asked for on which `harvest` shows activity. Those that are asked for are fetched by their own
/// slices.
fn active_elsewhere(slice: &Slice, harvest: &Harvest, asked: &Asked) -> BTreeMap<Day, Timestamp> {
    if !slice.brings_active() {
        return BTreeMap::new();
    }
    harvest.seen().active.into_iter().filter(|(day, _)| asked.part(*day).is_none()).collect()
}

/// The part of `asked` that the source promises to know completely. Only jobs promise anything, and cut off silently
/// what lies behind it.
fn promised(asked: &Interval, protocol: Protocol, availability: Option<Timestamp>) -> Option<Interval> {
    match (protocol, availability) {
        (Protocol::Jobs, Some(to)) => Interval::new(asked.from(), asked.to().min(to)).ok(),
        _ => Some(*asked),
    }
}
