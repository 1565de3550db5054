//! A slice of which the source counts more than it sent is fetched a second time: a total is a hint, and so is a page
//! that is not full. What stays short is published all the same, and said.

use super::pipeline::{Brought, Exporter};
use crate::api::Fetched;
use crate::error::{Error, Result};
use crate::lake::receipt::Shortage;
use crate::plan::Slice;

impl Exporter {
    /// Fetches `slice` once more, because `first` is short. If all came now it stands alone, else what either fetch
    /// brought counts.
    ///
    /// # Errors
    /// Those of a fetch; [`crate::error::Kind::Data`] if it is short again and totals are strict.
    pub(super) async fn fetch_again(&self, slice: &Slice, mut first: Brought) -> Result<Brought> {
        let before = first.fetched;
        tracing::warn!("{slice}: {}: it is fetched once more", told(&before));
        let chain = first.harvest.next_chain();
        let again =
            self.fetch(slice, (first.generation, chain), &|_| false).await.and_then(|again| self.accept(slice, again));
        let alone = again.as_ref().map_or(true, |again| again.fetched.missing == 0);
        if alone {
            let drafts = std::mem::take(&mut first.ahead).into_values().flatten().collect();
            self.publisher.discard(drafts).await?;
            return again;
        }
        let Brought { fetched, harvest, .. } = again?;
        tracing::warn!("{slice}: {}, also when it was asked again: its days are marked dirty", told(&fetched));
        first.refetched = harvest.records_by_day();
        first.harvest.join(harvest);
        let numbers = |fetched: &Fetched| (fetched.records + fetched.missing, fetched.records);
        let (told, read) = numbers(&fetched);
        first.shortage = Some(Shortage { told, read, stays: numbers(&before) == (told, read) });
        let availability = before.availability.into_iter().chain(fetched.availability).min();
        // Of what the first fetch alone brought nothing later is known.
        let clock_skew = before.clock_skew.or(fetched.clock_skew);
        first.fetched = Fetched { observed_at: before.observed_at, clock_skew, availability, ..fetched };
        Ok(first)
    }

    fn accept(&self, slice: &Slice, again: Brought) -> Result<Brought> {
        if self.strict_totals && again.fetched.missing > 0 {
            return Err(Error::data(format!("{}, also when it was asked again", told(&again.fetched)))
                .hint("without --strict-totals what came is published, and its days are marked dirty")
                .context(slice.to_string()));
        }
        Ok(again)
    }
}

/// What the source counts and what came.
fn told(fetched: &Fetched) -> String {
    let Fetched { records, missing, .. } = fetched;
    format!("the API counts {} records and sent {records}", records + missing)
}
