//! Keeps the run's report while tasks and blocking publishes write into it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::days::{expired, held};
use super::expect::{Expectation, Volume};
use super::harvest::Harvest;
use super::report::{
    ClockReport, DayOutcome, DayReport, Holdings, Report, Sample, WindowReport, exit_code, peak_rss_bytes,
};
use super::{Event, Settings, Watch};
use crate::api::{Fetched, Stats};
use crate::error::{Error, Kind};
use crate::lake::layout::RunId;
use crate::lake::receipt::Receipt;
use crate::plan::due::{Due, Reason};
use crate::plan::{Slice, Source, Window};
use crate::time::{Day, Interval, Timestamp};

/// The report in the making.
pub(super) struct Recorder {
    state: Mutex<State>,
    run: RunId,
    watch: Watch,
}

struct State {
    report: Report,
    failed: Vec<Kind>,
    /// Why the days of a `sync` are worked on.
    due: BTreeMap<Day, Reason>,
    /// Volume seen: whole days of slices that were fetched, and their records.
    days_seen: u64,
    records_seen: u64,
}

impl Recorder {
    pub(super) fn start(settings: &Settings, range: Option<Interval>, now: Timestamp, watch: Watch) -> Arc<Recorder> {
        let run = RunId::at(now);
        let report = Report {
            run: run.to_string(),
            range,
            notes: settings.notes.clone(),
            ..Report::new(settings.command, settings.lake.clone(), now)
        };
        let state = State { report, failed: Vec::new(), due: BTreeMap::new(), days_seen: 0, records_seen: 0 };
        Arc::new(Recorder { state: Mutex::new(state), run, watch })
    }

    /// Identifies the run.
    pub(super) fn run_id(&self) -> RunId {
        self.run
    }

    /// The command, and when it began.
    pub(super) fn beginning(&self) -> (&'static str, Timestamp) {
        let state = self.state();
        (state.report.command, state.report.started_at)
    }

    /// Takes up more windows; they are numbered after those that were there before.
    pub(super) fn plan(&self, mut windows: Vec<Window>) -> Vec<Window> {
        let reports = &mut self.state().report.windows;
        for window in &mut windows {
            window.index = reports.len();
            reports.push(WindowReport::from(&*window));
        }
        windows
    }

    /// Takes up days that are due.
    pub(super) fn due(&self, due: &[Due]) {
        let mut state = self.state();
        state.due.extend(due.iter().map(|due| (due.day, due.reason)));
        let hull = due.iter().map(|due| due.part).chain(state.report.range).reduce(|a, b| a.hull(&b));
        state.report.range = hull;
    }

    /// Days that have changed and are left to the next run.
    pub(super) fn dirty_left(&self, days: usize) {
        self.state().report.totals.dirty_left = days as u64;
    }

    /// What the lake knows of its volume before anything is fetched.
    pub(super) fn volume(&self, volume: &Volume) {
        let mut state = self.state();
        (state.days_seen, state.records_seen) = volume.seen();
    }

    /// What the run is expected to cost.
    pub(super) fn expected(&self, expected: &Expectation) {
        (self.watch)(Event::Expected(expected));
    }

    /// What the lake is at the end.
    pub(super) fn closing(&self, watermark: Option<Timestamp>, holds: Holdings, sample: Option<Sample>) {
        let report = &mut self.state().report;
        report.totals.watermark = watermark;
        report.holds = Some(holds);
        report.sample = sample;
    }

    /// Conversations a day in the slices fetched so far.
    pub(super) fn records_per_day(&self) -> Option<u64> {
        let state = self.state();
        (state.days_seen > 0).then(|| state.records_seen / state.days_seen)
    }

    pub(super) fn availability(&self, availability: Option<Timestamp>) {
        let mut state = self.state();
        state.report.totals.availability_date = state.report.totals.availability_date.max(availability);
    }

    /// The source's clock is so many seconds ahead of this run's. Said once.
    fn clock_skew(&self, skew: Option<i64>) {
        let Some(told) = skew.map(ClockReport::of_source) else { return };
        let before = self.state().report.clock.replace(told);
        if before.is_none() {
            tracing::warn!("{told}");
        }
    }

    /// Something that the operator should know about what is read.
    pub(super) fn note(&self, note: String) {
        (self.watch)(Event::Note(&note));
        self.state().report.notes.push(note);
    }

    pub(super) fn page(&self, records: u64) {
        (self.watch)(Event::Page(records));
    }

    pub(super) fn slice_fetched(&self, slice: &Slice, fetched: &Fetched, harvest: &Harvest) {
        self.availability(fetched.availability);
        self.clock_skew(fetched.clock_skew);
        self.harvested(harvest);
        let records = fetched.records;
        let mut state = self.state();
        state.report.totals.missing += fetched.missing;
        state.report.totals.surplus += fetched.surplus;
        state.days_seen += slice.days().count() as u64;
        state.records_seen += records;
        if let Some(window) = state.report.windows.get_mut(slice.window) {
            window.slices += 1;
            window.pages += fetched.pages;
            window.records += records;
            window.hits = [window.hits, fetched.hits].into_iter().flatten().reduce(|a, b| a + b);
            // Of slices of which nothing is told what was read counts.
            window.told = match (window.told, fetched.told) {
                (None, None) => None,
                (before, told) => Some(before.unwrap_or(window.read) + told.unwrap_or(records)),
            };
            window.read += records;
        }
    }

    /// Counts what a harvest holds beside rows.
    pub(super) fn harvested(&self, harvest: &Harvest) {
        let seen = harvest.seen();
        let mut state = self.state();
        let totals = &mut state.report.totals;
        totals.quarantined += harvest.bad.len() as u64;
        totals.out_of_window += seen.out_of_window;
        state.report.oddities.add(&seen.oddities);
    }

    /// All days of the slice failed.
    pub(super) fn slice_failed(&self, slice: &Slice, error: &Error) {
        {
            let mut state = self.state();
            state.failed.push(error.kind());
            state.report.errors.push(error.into());
            if let Some(window) = state.report.windows.get_mut(slice.window) {
                window.failed += 1;
            }
        }
        for day in slice.days() {
            self.day(DayReport::failed(day, slice.protocol.into(), error));
        }
    }

    pub(super) fn day_failed(&self, day: Day, source: Source, error: &Error) {
        {
            let mut state = self.state();
            state.failed.push(error.kind());
            state.report.errors.push(error.into());
        }
        self.day(DayReport::failed(day, source, error));
    }

    /// A day is done, one way or another.
    pub(super) fn day(&self, day: DayReport) {
        let due = self.state().due.get(&day.date).copied();
        let day = DayReport { due, ..day };
        (self.watch)(Event::Day(&day));
        self.state().report.days.push(day);
    }

    /// The days that this run published or found unchanged.
    pub(super) fn days_done(&self) -> Vec<Day> {
        let done = |day: &&DayReport| matches!(day.outcome, DayOutcome::Published | DayOutcome::Unchanged);
        self.state().report.days.iter().filter(done).map(|day| day.date).collect()
    }

    /// A day is done that may have been done before: only what became of it at last is told.
    pub(super) fn day_again(&self, day: DayReport) {
        self.state().report.days.retain(|before| before.date != day.date);
        self.day(day);
    }

    /// The day is not fetched: the lake has what `receipt` says.
    pub(super) fn skipped(&self, receipt: &Receipt) {
        let day = DayReport::new(receipt.day, DayOutcome::Skipped, receipt.source);
        let reason = Some(format!("published by run {}", receipt.run));
        self.day(held(DayReport { reason, ..day }, receipt));
    }

    /// The day is not fetched: it has expired.
    pub(super) fn expired(&self, receipt: &Receipt) {
        self.day(expired(receipt.day, receipt.source));
    }

    /// The source does not promise this day yet.
    pub(super) fn not_available(&self, day: Day, source: Source) {
        let reason = Some("the source does not promise this day yet".to_owned());
        self.day(DayReport { reason, ..DayReport::new(day, DayOutcome::NotAvailable, source) });
    }

    pub(super) fn calls(&self, stats: &Stats) {
        let mut state = self.state();
        state.report.totals.calls = stats.calls;
        state.report.totals.retries = stats.retries;
    }

    /// Ends the report; `stopped_by` is the error that ended the run early.
    pub(super) fn finish(&self, stopped_by: Option<Error>, now: Timestamp) -> Report {
        let mut state = self.state();
        let kind = stopped_by.as_ref().map(Error::kind);
        if let Some(error) = &stopped_by {
            state.report.errors.push(error.into());
        }
        let State { report, failed, .. } = &mut *state;
        report.finished_at = Some(now);
        report.days.sort_by_key(|day| day.date);
        for day in &report.days {
            if matches!(day.outcome, DayOutcome::Published | DayOutcome::Unchanged | DayOutcome::Skipped) {
                report.totals.conversations += day.conversations;
                for (table, rows) in &day.rows {
                    *report.totals.rows.entry(table.clone()).or_default() += rows;
                }
            }
            report.totals.duplicates += day.duplicates;
            report.totals.vanished += day.vanished;
            report.totals.forgotten += day.forgotten;
        }
        report.totals.exit = exit_code(kind, failed, &report.days);
        report.totals.peak_rss_bytes = peak_rss_bytes();
        report.clone()
    }

    /// A panic while the lock was held left at worst one half-told event.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DayReport {
    /// A day of which the lake knows nothing new.
    pub(super) fn new(date: Day, outcome: DayOutcome, source: Source) -> DayReport {
        DayReport {
            date,
            outcome,
            state: None,
            source,
            due: None,
            conversations: 0,
            rows: BTreeMap::new(),
            duplicates: 0,
            vanished: 0,
            forgotten: 0,
            reason: None,
        }
    }

    fn failed(date: Day, source: Source, error: &Error) -> DayReport {
        DayReport { reason: Some(error.to_string()), ..DayReport::new(date, DayOutcome::Failed, source) }
    }
}
