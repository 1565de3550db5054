//! Saved pages are added to the days that the lake holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::days::Publisher;
use super::harvest::Harvest;
use super::record::Recorder;
use crate::error::Result;
use crate::lake::day_rows::DayRows;
use crate::lake::merge::Addition;
use crate::plan::Source;
use crate::time::Day;

/// Adds everything in `harvest` to its days. Then no conversation stays in a day when another of these days, or one
/// beside them, holds the version that counts.
pub(super) async fn merge(
    publisher: &Publisher,
    recorder: &Recorder,
    mut harvest: Harvest,
    quarantined: u64,
) -> Result<()> {
    let days = harvest.days();
    for together in days.chunks(publisher.together_max()) {
        let addition =
            |day: &Day| Addition { day: *day, rows: harvest.take(*day), quarantined, leaving: Arc::default() };
        add(publisher, recorder, together.iter().map(addition).collect()).await?;
    }
    let days = BTreeSet::from_iter(days);
    let misplaced = publisher.with_run(move |run| run.misplaced(&days)).await?;
    for (day, ids) in misplaced {
        tracing::info!(%day, conversations = ids.len(), "conversations that start on another day by now leave it");
        let addition = Addition { day, rows: DayRows::default(), quarantined: 0, leaving: Arc::new(ids) };
        add(publisher, recorder, vec![addition]).await?;
    }
    Ok(())
}

async fn add(publisher: &Publisher, recorder: &Recorder, additions: Vec<Addition>) -> Result<()> {
    for (day, merged) in publisher.merge_all(additions).await? {
        match merged {
            Err(error) if !error.kind().stops_the_run() => recorder.day_failed(day, Source::Files, &error),
            merged => merged?,
        }
    }
    Ok(())
}
