//! Dimensions: each is listed whole and becomes the snapshot of a day, one after the other. One that fails, or that the
//! client may not read, leaves the others alone.

use std::pin::pin;
use std::sync::Arc;

use serde::Serialize;

use super::report::{ClockReport, DayOutcome, ErrorReport, Report};
use crate::api::{Api, DIMENSIONS, Dimension, Listing};
use crate::error::{Error, Kind, Result};
use crate::flatten::batch::{BadRecord, DayBatch};
use crate::flatten::{Catalog, Flattener, Oddities};
use crate::lake::quarantine::{Origin, Quarantine};
use crate::lake::{Dataset, Family, Lake, Outcome, RunId, Snapshot, TableSpec};
use crate::time::{Clock, Day, Timestamp};

/// Fewer unreadable entities than this never fail a dimension, whatever their share; half of it and more do.
const BAD_MIN: usize = 10;

/// Which dimensions are wanted, and the day that they stand for.
#[derive(Clone, Debug)]
pub struct DimensionsRequest {
    /// The lake as the operator named it, for the report.
    pub lake: String,
    /// The day.
    pub day: Day,
    /// The tables; all of them when it is empty.
    pub only: Vec<String>,
}

/// What the run did. Field names are API: fields are added, never renamed.
#[derive(Clone, Debug, Serialize)]
pub struct DimensionsReport {
    /// Version of the tool.
    pub convlake: &'static str,
    /// `dimensions`.
    pub command: &'static str,
    /// Identifies this run in receipts and quarantine files.
    pub run: String,
    /// The lake, as it was named.
    pub lake: String,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The UTC day that the snapshots stand for.
    pub date: Day,
    /// Every dimension that was worked on, in order.
    pub dimensions: Vec<DimensionReport>,
    /// Requests for lists.
    pub calls: u64,
    /// Those of them that repeated a failed one.
    pub retries: u64,
    /// Values that are not where they were meant to be, or not as they came.
    #[serde(flatten)]
    pub oddities: Oddities,
    /// How far the source's clock is from this machine's, when that is more than five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReport>,
    /// What went wrong, in the order it did.
    pub errors: Vec<ErrorReport>,
    /// The exit code of the run.
    pub exit: u8,
}

/// What became of one dimension.
#[derive(Clone, Debug, Serialize)]
pub struct DimensionReport {
    /// Its table.
    pub table: &'static str,
    /// What became of it.
    pub outcome: DayOutcome,
    /// Rows that the lake holds of it.
    pub rows: u64,
    /// Entities that were listed more than once.
    pub duplicates: u64,
    /// Entities that could not be read.
    pub quarantined: u64,
    /// Whether the API would not page to the end.
    pub cut: bool,
    /// Why it was kept or failed.
    pub reason: Option<String>,
}

impl DimensionsReport {
    /// How many dimensions ended like that.
    pub fn count(&self, outcome: DayOutcome) -> u64 {
        self.dimensions.iter().filter(|dimension| dimension.outcome == outcome).count() as u64
    }
}

/// Takes a snapshot of the dimensions that `request` wants; errors are in the report.
///
/// `stop` ends the run when it resolves: nothing more is asked for, and a snapshot that is being published is finished.
pub async fn dimensions(
    request: DimensionsRequest,
    api: &Api,
    lake: &Arc<Lake>,
    clock: Clock,
    stop: impl Future<Output = Error>,
) -> DimensionsReport {
    let now = clock.now();
    let run = RunId::at(now);
    let mut state = State {
        api,
        lake,
        clock,
        run,
        day: request.day,
        quarantine: Arc::new(lake.quarantine(run)),
        failed: Vec::new(),
        report: DimensionsReport {
            convlake: env!("CARGO_PKG_VERSION"),
            command: "dimensions",
            run: run.to_string(),
            lake: request.lake,
            started_at: now,
            finished_at: now,
            date: request.day,
            dimensions: Vec::new(),
            calls: 0,
            retries: 0,
            oddities: Oddities::default(),
            clock: None,
            errors: Vec::new(),
            exit: 0,
        },
    };
    let stopped = state.run(&request.only, stop).await.err();
    let State { mut report, failed, .. } = state;
    report.errors.extend(stopped.as_ref().map(ErrorReport::from));
    let stats = api.stats();
    (report.calls, report.retries, report.finished_at) = (stats.calls, stats.retries, clock.now());
    report.exit = exit_code(stopped.map(|error| error.kind()), &failed, &report);
    report
}

/// Adds today's snapshots to what a run did for the lake: those that it does not have yet, so once a day however often
/// the run comes. What becomes of them is in `report`.
pub async fn daily_dimensions(
    report: &mut Report,
    api: &Api,
    lake: &Arc<Lake>,
    clock: Clock,
    stop: impl Future<Output = Error>,
) {
    let day = Day::of(clock.now());
    let (known, held) = (Arc::clone(lake), report.lake.clone());
    let due = blocking(move || {
        let mut due = Vec::new();
        for dimension in &DIMENSIONS {
            let dataset = Dataset::of_dimension(dimension.name);
            let taken = dataset.map(|dataset| known.ledger_of(dataset)).transpose()?;
            if taken.is_none_or(|ledger| ledger.receipt(day).is_none()) {
                due.push(dimension.name.to_owned());
            }
        }
        Ok(due)
    })
    .await;
    let taken = match due {
        Ok(due) if due.is_empty() => return,
        Ok(only) => dimensions(DimensionsRequest { lake: held, day, only }, api, lake, clock, stop).await,
        Err(error) => {
            report.errors.push(ErrorReport::from(&error));
            report.totals.exit = error.kind().exit_code();
            return;
        }
    };
    (report.totals.calls, report.totals.retries) = (taken.calls, taken.retries);
    report.finished_at = Some(taken.finished_at);
    report.totals.exit = match taken.exit {
        0 => report.totals.exit,
        // A list that this client may not read, or that failed, leaves the run as good as it was, but not whole.
        3 | 65 | 69 | 77 => Kind::Partial.exit_code(),
        stopped => stopped,
    };
    report.clock = report.clock.or(taken.clock);
    report.errors.extend(taken.errors);
    report.oddities.add(&taken.oddities);
    report.dimensions = taken.dimensions;
}

/// A run under way.
struct State<'a> {
    api: &'a Api,
    lake: &'a Arc<Lake>,
    clock: Clock,
    run: RunId,
    day: Day,
    /// Of the whole run, so that its files are numbered through.
    quarantine: Arc<Quarantine>,
    failed: Vec<Kind>,
    report: DimensionsReport,
}

impl State<'_> {
    /// Works on one dimension after the other; an error that is only a dimension's is recorded.
    async fn run(&mut self, only: &[String], stop: impl Future<Output = Error>) -> Result<()> {
        let catalog = catalog(self.lake, only)?;
        let mut stop = pin!(stop);
        tokio::select! {
            identified = self.identify() => identified?,
            error = &mut stop => return Err(error),
        }
        for dimension in DIMENSIONS.iter().filter(|d| catalog.table(d.name).is_some()) {
            let generation = self.next_generation(dimension).await?;
            let listed = tokio::select! {
                listed = self.api.list(dimension) => listed,
                error = &mut stop => return Err(error),
            };
            let done = match listed {
                Ok(listing) => self.publish(dimension, generation, listing, catalog.alone(dimension.name)?).await,
                Err(error) => Err(error),
            };
            match done {
                Ok(done) => self.report.dimensions.push(done),
                // A list that is not for this client says nothing about the next one.
                Err(error) if error.kind() == Kind::Access || !error.kind().stops_the_run() => {
                    self.failed.push(error.kind());
                    self.report.errors.push(ErrorReport::from(&error));
                    let reason = Some(error.to_string());
                    self.report.dimensions.push(DimensionReport { reason, ..new(dimension, DayOutcome::Failed) });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The generation of what is listed from here on.
    async fn next_generation(&self, dimension: &Dimension) -> Result<u64> {
        let (lake, day, name) = (Arc::clone(self.lake), self.day, dimension.name);
        blocking(move || lake.next_generation(dataset(name)?, Some(&[day].into()))).await
    }

    /// Whether the source is the organization that the lake is of, where both are known.
    async fn identify(&self) -> Result<()> {
        if self.lake.identity().family != Family::Genesys {
            return Ok(());
        }
        let Some(organization) = self.api.organization().await? else { return Ok(()) };
        let lake = Arc::clone(self.lake);
        blocking(move || lake.identify(&organization)).await
    }

    async fn publish(
        &mut self,
        dimension: &Dimension,
        generation: u64,
        listing: Listing,
        table: Catalog,
    ) -> Result<DimensionReport> {
        if let Some(told) = listing.clock_skew.map(ClockReport::of_source)
            && self.report.clock.replace(told).is_none()
        {
            tracing::warn!("{told}");
        }
        let (lake, clock, id, day) = (Arc::clone(self.lake), self.clock, self.run, self.day);
        let (name, cut, quarantine) = (dimension.name, listing.cut, Arc::clone(&self.quarantine));
        let (observed_at, clock_skew) = (listing.observed_at, listing.clock_skew);
        let (outcome, quarantined, oddities) = blocking(move || {
            let dataset = dataset(name)?;
            let flattener = Flattener::new(Arc::new(table))?;
            let run = lake.begin(id, dataset, TableSpec::of(flattener.catalog())?, clock)?;
            let Rows { batches, bad, oddities } = Rows::of(&listing, day, &flattener)?;
            quarantine.add(|_| Origin { place: name.into(), day: Some(day), generation }, &bad)?;
            let (rows, bad) = (batches.iter().map(|batch| batch.keys.len()).sum::<usize>(), bad.len());
            if bad >= BAD_MIN && bad >= rows {
                return Err(Error::data(format!("{name}: {bad} of {} entities cannot be read", rows + bad))
                    .hint("they are under `_convlake/quarantine`"));
            }
            let snapshot =
                Snapshot { day, rows: batches.into(), generation, observed_at, clock_skew, quarantined: bad as u64 };
            Ok((run.snapshot(&snapshot)?, bad as u64, oddities))
        })
        .await?;
        self.report.oddities.add(&oddities);
        Ok(DimensionReport { quarantined, cut, ..outcome_of(dimension, outcome)? })
    }
}

fn dataset(name: &str) -> Result<Dataset> {
    Dataset::of_dimension(name).ok_or_else(|| Error::bug(format!("`{name}` has no ledger")))
}

/// A listing, flattened.
struct Rows {
    batches: Vec<DayBatch>,
    bad: Vec<BadRecord>,
    oddities: Oddities,
}

impl Rows {
    fn of(listing: &Listing, day: Day, flattener: &Flattener) -> Result<Rows> {
        let mut rows = Rows { batches: Vec::new(), bad: Vec::new(), oddities: Oddities::default() };
        for page in &listing.pages {
            let flat = flattener.snapshot(day, page.chain, page.number, page.records())?;
            rows.batches.extend(flat.days);
            rows.bad.extend(flat.bad);
            rows.oddities.add(&flat.oddities);
        }
        Ok(rows)
    }
}

/// The dimensions that are wanted, without the columns that the lake leaves out.
fn catalog(lake: &Lake, only: &[String]) -> Result<Catalog> {
    let all = Catalog::dimensions()?;
    let excluded = &lake.identity().selection.excluded;
    let excluded: Vec<String> = excluded.iter().filter(|column| all.has_table_of(column)).cloned().collect();
    all.select((!only.is_empty()).then_some(only), &excluded)
}

fn new(dimension: &Dimension, outcome: DayOutcome) -> DimensionReport {
    let table = dimension.name;
    DimensionReport { table, outcome, rows: 0, duplicates: 0, quarantined: 0, cut: false, reason: None }
}

fn outcome_of(dimension: &Dimension, outcome: Outcome) -> Result<DimensionReport> {
    let (outcome, receipt) = match outcome {
        Outcome::Published(receipt) => (DayOutcome::Published, receipt),
        Outcome::Unchanged(receipt) => (DayOutcome::Unchanged, receipt),
        Outcome::Superseded { by } => {
            let reason = Some(format!("run {} has published a newer observation, or is about to", by.writer()));
            return Ok(DimensionReport { reason, ..new(dimension, DayOutcome::Kept) });
        }
        Outcome::Kept { .. } | Outcome::NeedsWhole | Outcome::NeedsConfirmation { .. } => {
            return Err(Error::bug("a snapshot is published or superseded"));
        }
    };
    let rows = receipt.files.iter().map(|file| file.rows).sum();
    Ok(DimensionReport { rows, duplicates: receipt.counts.duplicates, ..new(dimension, outcome) })
}

/// What stops the run keeps its code; a dimension that failed gives 3 if any other is in the lake, and its own otherwise.
fn exit_code(stopped_by: Option<Kind>, failed: &[Kind], report: &DimensionsReport) -> u8 {
    let some_are_there = report.count(DayOutcome::Failed) < report.dimensions.len() as u64;
    match (stopped_by, failed.first()) {
        (Some(kind), _) => kind.exit_code(),
        (None, Some(_)) if some_are_there => Kind::Partial.exit_code(),
        (None, Some(kind)) => kind.exit_code(),
        (None, None) => 0,
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|e| Error::bug("a snapshot died").source(e))?
}
