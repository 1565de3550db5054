//! What a run did: written to `--report`, summed up on stderr, and the source of the exit code.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::dimensions::DimensionReport;
use crate::error::{Error, Kind};
use crate::flatten::Oddities;
use crate::lake::State;
use crate::plan::due::Reason;
use crate::plan::{Source, Window};
use crate::time::{Day, Interval, Timestamp};

/// The run as data. Field names are API: fields are added, never renamed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of the tool.
    pub convlake: &'static str,
    /// `export`, `sync`, `convert` or `demo`.
    pub command: &'static str,
    /// Identifies this run in receipts and quarantine files; empty when it could not begin.
    pub run: String,
    /// The lake, as it was named.
    pub lake: String,
    /// When the run began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What was asked for, `sync`: what was due; absent for `convert`.
    pub range: Option<Interval>,
    /// What the operator was told about the request.
    pub notes: Vec<String>,
    /// Everything summed up.
    pub totals: Totals,
    /// The windows of the plan, in order.
    pub windows: Vec<WindowReport>,
    /// The days that were worked on, in order.
    pub days: Vec<DayReport>,
    /// The snapshots that a sync took beside, in the order of the tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dimensions: Vec<DimensionReport>,
    /// Values that are not where they were meant to be, or not as they came: `unknown`, `wrong_type`, `overflowed`,
    /// `replaced`.
    #[serde(flatten)]
    pub oddities: Oddities,
    /// How far the source's clock is from this machine's, when that is more than five minutes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockReport>,
    /// What went wrong, in the order it did.
    pub errors: Vec<ErrorReport>,
    /// What the lake holds at the end; absent when it could not be read in time.
    pub holds: Option<Holdings>,
    /// One conversation of this run, as the lake has it. To look it up at the source; nothing personal.
    pub sample: Option<Sample>,
}

/// Two clocks that differ. Neither orders anything; but no day is final that was fetched by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClockReport {
    /// Seconds by which the source's clock is ahead of this machine's; below 0 it is behind.
    pub skew_seconds: i64,
    /// Whose time is written down as that of the observation: `source`.
    pub used: &'static str,
}

impl ClockReport {
    /// The source's `Date` is used where there is one: it is the same for all runs.
    pub(super) const fn of_source(skew_seconds: i64) -> ClockReport {
        ClockReport { skew_seconds, used: "source" }
    }
}

impl fmt::Display for ClockReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, side) =
            (self.skew_seconds.unsigned_abs(), if self.skew_seconds < 0 { "behind" } else { "ahead of" });
        write!(
            f,
            "the clock of the {} is {seconds} seconds {side} this machine's: its time is written down, and no day is \
             final until the two agree; set the wrong one right",
            self.used
        )
    }
}

/// What a lake holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// The first day.
    pub first: Option<Day>,
    /// The last day.
    pub last: Option<Day>,
    /// Days.
    pub days: u64,
    /// Bytes of their files.
    pub bytes: u64,
    /// Days that were seen to have changed at the source since.
    pub dirty: u64,
    /// Days of which the source counts more conversations than it sends.
    pub short: u64,
}

/// One conversation as the lake has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// `conversation_id`.
    pub conversation_id: String,
    /// `conversation_start`.
    pub conversation_start: Timestamp,
    /// `conversation_end`, once it has ended.
    pub conversation_end: Option<Timestamp>,
    /// Milliseconds that agents handled it, after-call work included.
    pub handle_ms: Option<i64>,
}

impl Report {
    /// The report of a run that has done nothing yet.
    pub(super) fn new(command: &'static str, lake: String, now: Timestamp) -> Report {
        Report {
            convlake: env!("CARGO_PKG_VERSION"),
            command,
            run: String::new(),
            lake,
            started_at: now,
            finished_at: None,
            range: None,
            notes: Vec::new(),
            totals: Totals::default(),
            windows: Vec::new(),
            days: Vec::new(),
            dimensions: Vec::new(),
            oddities: Oddities::default(),
            clock: None,
            errors: Vec::new(),
            holds: None,
            sample: None,
        }
    }

    /// The report of a run that `error` kept from beginning.
    pub fn refused(
        command: &'static str,
        lake: String,
        range: Option<Interval>,
        now: Timestamp,
        error: &Error,
    ) -> Report {
        let mut report = Report::new(command, lake, now);
        report.range = range;
        report.finished_at = Some(now);
        report.totals.exit = error.kind().exit_code();
        report.errors.push(error.into());
        report
    }
}

/// Everything summed up.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Conversations in the days that this run published, found unchanged, or left to an interrupted run before it.
    pub conversations: u64,
    /// Rows of those days, by table.
    pub rows: BTreeMap<String, u64>,
    /// Records that could not be read and are kept under `_convlake/quarantine`.
    pub quarantined: u64,
    /// Records that were an older version of a conversation delivered again.
    pub duplicates: u64,
    /// Records that belong to days outside the slice that delivered them.
    pub out_of_window: u64,
    /// Conversations that the source no longer has.
    pub vanished: u64,
    /// Conversations that were left out because they are to be forgotten.
    pub forgotten: u64,
    /// Records that the source counts and did not send, also when it was asked again; their days are dirty.
    pub missing: u64,
    /// Records that it sent beyond those that it counts.
    pub surplus: u64,
    /// Calls at analytics endpoints, repeats included.
    pub calls: u64,
    /// Calls that were repeats.
    pub retries: u64,
    /// Up to where the source promises its jobs to be complete: the latest that was heard.
    pub availability_date: Option<Timestamp>,
    /// End of the gap-free run of complete days since the lake's anchor; `sync` sets the anchor.
    pub watermark: Option<Timestamp>,
    /// Days that have changed and are left to the next `sync`.
    pub dirty_left: u64,
    /// The most memory that the process has had so far, where the system says it.
    pub peak_rss_bytes: Option<u64>,
    /// The exit code.
    pub exit: u8,
}

/// One window of the plan.
#[derive(Clone, Debug, Serialize)]
pub struct WindowReport {
    /// First midnight.
    pub from: Timestamp,
    /// Midnight behind it.
    pub to: Timestamp,
    /// Slices that were asked for.
    pub slices: u64,
    /// Slices that failed.
    pub failed: u64,
    /// Pages read.
    pub pages: u64,
    /// Records on those pages.
    pub records: u64,
    /// Conversations that the source said there were at first, where it said so: a hint.
    pub hits: Option<u64>,
    /// Records that it said there were at most, where it said so. Counts of pages say it roughly: it is the number nearest
    /// to `read` that fits them.
    pub told: Option<u64>,
    /// Records that were read, before any was left out or set aside.
    pub read: u64,
}

impl From<&Window> for WindowReport {
    fn from(window: &Window) -> Self {
        let (from, to) = (window.interval.from(), window.interval.to());
        WindowReport { from, to, slices: 0, failed: 0, pages: 0, records: 0, hits: None, told: None, read: 0 }
    }
}

/// What became of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DayOutcome {
    /// New files are in place.
    Published,
    /// The lake held the very same.
    Unchanged,
    /// The lake keeps what it has: it holds a better or a newer observation.
    Kept,
    /// Not fetched: the lake has it.
    Skipped,
    /// The source does not promise this day yet.
    NotAvailable,
    /// The day failed; the lake keeps what it has.
    Failed,
}

/// One day of the run.
#[derive(Clone, Debug, Serialize)]
pub struct DayReport {
    /// UTC date.
    pub date: Day,
    /// What became of it.
    pub outcome: DayOutcome,
    /// Its state in the lake, if it is there.
    pub state: Option<&'static str>,
    /// Where its records came from.
    pub source: Source,
    /// Why `sync` worked on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Reason>,
    /// Conversations it holds.
    pub conversations: u64,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Older versions that were dropped.
    pub duplicates: u64,
    /// Conversations that the source no longer has.
    pub vanished: u64,
    /// Conversations that were left out because they are to be forgotten.
    pub forgotten: u64,
    /// Why it was kept or failed.
    pub reason: Option<String>,
}

impl DayReport {
    /// Whether the day has expired: it was neither asked for nor published.
    pub fn is_expired(&self) -> bool {
        self.outcome == DayOutcome::Kept && self.state == Some(State::Expired.name())
    }
}

/// One error.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorReport {
    /// Its exit code.
    pub exit: u8,
    /// What happened and where.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl From<&Error> for ErrorReport {
    fn from(error: &Error) -> Self {
        ErrorReport {
            exit: error.kind().exit_code(),
            message: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
        }
    }
}

/// The most memory that this process has had, as Linux counts it.
pub(super) fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?;
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

/// How a run ended. Causes that stop a run keep their code whatever was committed; a failed day is 3 if any
/// other day was committed or confirmed, and its own code otherwise.
pub(super) fn exit_code(stopped_by: Option<Kind>, failed: &[Kind], days: &[DayReport]) -> u8 {
    if let Some(kind) = stopped_by {
        return kind.exit_code();
    }
    let done = |day: &DayReport| !matches!(day.outcome, DayOutcome::Failed | DayOutcome::NotAvailable);
    let committed = days.iter().any(|day| done(day) && !day.is_expired());
    match failed.first() {
        Some(_) if committed => Kind::Partial.exit_code(),
        Some(kind) => kind.exit_code(),
        None if days.iter().any(|day| day.outcome == DayOutcome::NotAvailable) => Kind::Later.exit_code(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(outcome: DayOutcome) -> DayReport {
        DayReport::new("2025-01-01".parse().unwrap(), outcome, Source::Query)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_more_memory_than_it_fills() {
        let before = peak_rss_bytes().unwrap();
        let filled = vec![1_u8; 2 * before as usize];
        assert!(peak_rss_bytes().unwrap() > filled.iter().map(|byte| u64::from(*byte)).sum());
    }

    #[test]
    fn the_exit_code_says_what_to_do_next() {
        use DayOutcome::*;
        let good = [day(Published), day(Failed)];
        let bad = [day(Failed)];
        assert_eq!(exit_code(None, &[], &[]), 0);
        assert_eq!(exit_code(None, &[], &[day(Unchanged)]), 0);
        assert_eq!(exit_code(None, &[Kind::Data], &good), 3);
        let gone = crate::export::days::expired("2025-01-02".parse().unwrap(), Source::Query);
        assert_eq!(exit_code(None, &[Kind::Data], &[day(Failed), gone]), 65, "nothing was done to an expired day");
        assert_eq!(exit_code(None, &[Kind::Unavailable], &bad), 69);
        assert_eq!(exit_code(None, &[Kind::Data], &bad), 65);
        assert_eq!(exit_code(Some(Kind::Later), &[Kind::Data], &good), 75);
        assert_eq!(exit_code(None, &[], &[day(Published), day(NotAvailable)]), 75);
    }
}
