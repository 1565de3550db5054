//! Every path of a lake, built and read in this one file. Pure.
//!
//! | [`LakePath`] | path below the root |
//! |---|---|
//! | `Part(sessions, 2025-01-31)` | `sessions/date=2025-01-31/sessions.parquet` |
//! | `Identity` | `_convlake/lake.json` |
//! | `Lock` | `_convlake/lock` |
//! | `Record(Conversations, 2025-01, name)` | `_convlake/ledger/2025-01/<name>.json` |
//! | `Record(Queues, 2025-01, name)` | `_convlake/dimensions/queues/2025-01/<name>.json` |
//! | `Claim(Conversations, 2025-01-31, name)` | `_convlake/claims/ledger/2025-01-31/<name>.json` |
//! | `Quarantine(run, 3)` | `_convlake/quarantine/<run>-3.jsonl` |
//! | `Refused(run, 3)` | `_convlake/quarantine/refused-<run>-3.json` |
//! | `RunBegun(run)` | `_convlake/runs/<run>.begun.json` |
//! | `Forgotten(run)` | `_convlake/forgotten/<run>.json` |
//! | `ForgottenKey` | `_convlake/forgotten/key` |
//! | `Staged(run, sessions, 2025-01-31, id)` | `_convlake/staging/<run>/sessions-2025-01-31-<id>.part` |
//!
//! A path is made of typed parts only (a table name, a day, a run id, a hash), never of text from the API. Nothing
//! below `_convlake` ends in `.parquet`: some readers hide names with a leading underscore, others hide by suffix,
//! and only both together keep a glob from reading what is not data.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::order::{Order, compact};
use crate::error::{Error, Result};
use crate::time::{Day, Timestamp};

/// The folder of everything that is not data.
const CONTROL: &str = "_convlake";
/// The folder, in it, of the ledgers of dimensions.
const DIMENSIONS: &str = "dimensions/";
/// Longest name of a table, in characters.
const TABLE_NAME_MAX: usize = 64;
/// Longest name of a ledger record, in characters; below the limit of every file system.
const RECORD_NAME_MAX: usize = 200;

/// The name of a table, fit to be a path component: lower snake case from the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableName(Arc<str>);

impl TableName {
    /// `name`, when it is lower snake case.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`]: names come from the catalog, which holds no others.
    pub fn new(name: &str) -> Result<TableName> {
        let first = name.starts_with(|c: char| c.is_ascii_lowercase());
        let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if first && rest && name.len() <= TABLE_NAME_MAX {
            return Ok(TableName(name.into()));
        }
        Err(Error::bug(format!("`{name}` cannot be a table: its name is not lower snake case")))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TableName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TableName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        TableName::new(&text).map_err(serde::de::Error::custom)
    }
}

/// One attempt to write to a lake; never used twice. Ordered by the time it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId(Uuid);

impl RunId {
    /// A new id for a run that begins at `at`: time-ordered, the rest random.
    pub fn at(at: Timestamp) -> RunId {
        let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
        let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, at.timestamp_subsec_nanos());
        RunId(Uuid::new_v7(time))
    }

    /// When the run began, to the millisecond.
    pub fn began(self) -> Option<Timestamp> {
        let (seconds, nanos) = self.0.get_timestamp()?.to_unix();
        Timestamp::from_timestamp(i64::try_from(seconds).ok()?, nanos)
    }

    /// Reads an id as it is displayed.
    pub fn parse(text: &str) -> Option<RunId> {
        let id = RunId(Uuid::try_parse(text).ok()?);
        (id.to_string() == text).then_some(id)
    }
}

impl From<Uuid> for RunId {
    fn from(id: Uuid) -> Self {
        RunId(id)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.hyphenated())
    }
}

/// A calendar month: the grouping of ledger records, by the day that they are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Month(Day);

impl Month {
    /// The month of `day`.
    pub fn of(day: Day) -> Month {
        Month(chrono::Datelike::with_day(&day.date(), 1).map_or(day, Day::from))
    }

    /// Reads `YYYY-MM`.
    pub fn parse(text: &str) -> Option<Month> {
        let month = Month::of(format!("{text}-01").parse().ok()?);
        (month.to_string() == text).then_some(month)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.month())
    }
}

/// The name of a ledger record, without `.json`. It holds what a person wants to see in a listing and ends in a hash
/// of the content, so two records never share a name unless they are the same; nothing is ever read out of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordName(String);

impl RecordName {
    /// Of a receipt.
    pub fn receipt(day: Day, observed_at: Timestamp, run: RunId, hash: u128) -> RecordName {
        RecordName(format!("{day}-{}-{run}-{hash:032x}", compact(observed_at)))
    }

    /// Of dirty marks.
    pub fn dirty(seen_at: Timestamp, run: RunId, hash: u128) -> RecordName {
        RecordName(format!("dirty-{}-{run}-{hash:032x}", compact(seen_at)))
    }

    /// Of an anchor.
    pub fn anchor(day: Day, run: RunId, hash: u128) -> RecordName {
        RecordName(format!("anchor-{day}-{run}-{hash:032x}"))
    }

    /// Of the receipts of days that expired together.
    pub fn expired(at: Timestamp, run: RunId, hash: u128) -> RecordName {
        RecordName(format!("expired-{}-{run}-{hash:032x}", compact(at)))
    }

    /// Of days that came back from expiry together.
    pub fn restored(at: Timestamp, run: RunId, hash: u128) -> RecordName {
        RecordName(format!("restored-{}-{run}-{hash:032x}", compact(at)))
    }

    /// Of the merge of many records.
    pub fn merged(hash: u128) -> RecordName {
        RecordName(format!("merged-{hash:032x}"))
    }

    /// The name of a file in a ledger folder, if it can be a record: also of a newer tool's.
    pub fn of_file(file_name: &str) -> Option<RecordName> {
        let name = file_name.strip_suffix(".json")?;
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        (plain && !name.is_empty() && !name.starts_with('.') && name.len() <= RECORD_NAME_MAX)
            .then(|| RecordName(name.to_owned()))
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a ledger is about: the tables that are published together. Each has days of its own, so that a snapshot of
/// names never counts as a day of conversations, and one that fails holds up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dataset {
    /// Conversations and their child tables.
    Conversations,
    /// Daily snapshots of queues.
    Queues,
    /// Daily snapshots of users.
    Users,
    /// Daily snapshots of wrap-up codes.
    WrapUpCodes,
    /// Daily snapshots of skills.
    Skills,
    /// Daily snapshots of divisions.
    Divisions,
    /// Daily snapshots of flows.
    Flows,
    /// Daily snapshots of teams.
    Teams,
}

impl Dataset {
    /// All of them, each in the place of its number.
    pub const ALL: [Dataset; 8] = [
        Dataset::Conversations,
        Dataset::Queues,
        Dataset::Users,
        Dataset::WrapUpCodes,
        Dataset::Skills,
        Dataset::Divisions,
        Dataset::Flows,
        Dataset::Teams,
    ];

    /// The dimension whose table has this name.
    pub fn of_dimension(table: &str) -> Option<Dataset> {
        Dataset::ALL.into_iter().find(|dataset| dataset.folder().strip_prefix(DIMENSIONS) == Some(table))
    }

    /// The folder of its ledger.
    const fn folder(self) -> &'static str {
        match self {
            Dataset::Conversations => "ledger",
            Dataset::Queues => "dimensions/queues",
            Dataset::Users => "dimensions/users",
            Dataset::WrapUpCodes => "dimensions/wrap_up_codes",
            Dataset::Skills => "dimensions/skills",
            Dataset::Divisions => "dimensions/divisions",
            Dataset::Flows => "dimensions/flows",
            Dataset::Teams => "dimensions/teams",
        }
    }

    /// The dataset in whose folder a path lies, and the rest of the path.
    fn of_path<'a>(path: &'a [&'a str]) -> Option<(Dataset, &'a [&'a str])> {
        let rest = |dataset: Dataset| dataset.folder().split('/').try_fold(path, |at, name| at.strip_prefix(&[name]));
        Dataset::ALL.into_iter().find_map(|dataset| Some((dataset, rest(dataset)?)))
    }
}

/// A place in a lake. Displayed as its path below the root, with `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LakePath {
    /// The folder of a table.
    Table(TableName),
    /// The folder of one day of a table.
    Partition(TableName, Day),
    /// The finished file of one day of a table: a slot that is replaced whole.
    Part(TableName, Day),
    /// The folder of everything that is not data.
    Control,
    /// What the lake is, written once.
    Identity,
    /// The identity while it is being written.
    StagedIdentity,
    /// The file whose lock serialises commits.
    Lock,
    /// The folder of a ledger.
    Ledger(Dataset),
    /// The folder of one month's records.
    LedgerMonth(Dataset, Month),
    /// A ledger record.
    Record(Dataset, Month, RecordName),
    /// The folder of the days that have claims; in buckets only, where there are no locks.
    Claimed(Dataset),
    /// The folder of the claims to a day.
    Claims(Dataset, Day),
    /// A run's word, given before it looks at a day, that it is about to publish this state of it.
    Claim(Dataset, Day, Order),
    /// An object that was made to see what a bucket can do.
    Probe(Uuid),
    /// The folder of those.
    Probes,
    /// The folder of bad records.
    QuarantineFolder,
    /// Bad records that a run found together, one JSON object a line; numbered within the run.
    Quarantine(RunId, u32),
    /// A whole response that was refused; numbered within its run.
    Refused(RunId, u32),
    /// The folder of what runs did.
    RunsFolder,
    /// That a run began.
    RunBegun(RunId),
    /// How a run ended.
    RunEnded(RunId),
    /// The folder of what must not come back.
    ForgottenFolder,
    /// The lake's own key, with which the ids there are hashed.
    ForgottenKey,
    /// The conversations that a run was told to forget.
    Forgotten(RunId),
    /// The folder of all runs' unfinished files.
    StagingFolder,
    /// The folder of one run's unfinished files.
    Staging(RunId),
    /// The file whose lock says that the run is alive.
    StagingLock(RunId),
    /// A part that is not published yet, by its own id: a day may be drafted more than once.
    Staged(RunId, TableName, Day, Uuid),
    /// A file of another kind that is not published yet.
    StagedFile(RunId, Uuid),
}

impl LakePath {
    /// The folder that it is in; `None` for what is in the root.
    pub fn folder(&self) -> Option<LakePath> {
        LakePath::parse(self.to_string().rsplit_once('/')?.0)
    }

    /// Reads a path below the root back; the inverse of `to_string`.
    pub fn parse(path: &str) -> Option<LakePath> {
        let parts: Vec<&str> = path.split('/').collect();
        Some(match parts.as_slice() {
            [CONTROL, inside @ ..] => return LakePath::parse_control(inside),
            [table] => LakePath::Table(TableName::new(table).ok()?),
            [table, date] => LakePath::Partition(TableName::new(table).ok()?, parse_date(date)?),
            [table, date, file] => {
                let name = TableName::new(table).ok()?;
                (file.strip_suffix(".parquet")? == name.as_str()).then_some(())?;
                LakePath::Part(name, parse_date(date)?)
            }
            _ => return None,
        })
    }

    fn parse_control(inside: &[&str]) -> Option<LakePath> {
        Some(match inside {
            [] => LakePath::Control,
            ["lake.json"] => LakePath::Identity,
            ["lake.json.new"] => LakePath::StagedIdentity,
            ["lock"] => LakePath::Lock,
            ["claims", inside @ ..] => match Dataset::of_path(inside)? {
                (dataset, []) => LakePath::Claimed(dataset),
                (dataset, [day]) => LakePath::Claims(dataset, parse_canonical(day)?),
                (dataset, [day, file]) => {
                    let claim = Order::parse(file.strip_suffix(".json")?)?;
                    LakePath::Claim(dataset, parse_canonical(day)?, claim)
                }
                _ => return None,
            },
            ["probes"] => LakePath::Probes,
            ["probes", name] => LakePath::Probe(parse_canonical(name)?),
            ["quarantine"] => LakePath::QuarantineFolder,
            ["quarantine", file] => match file.strip_prefix("refused-") {
                Some(rest) => {
                    let (run, number) = rest.strip_suffix(".json")?.rsplit_once('-')?;
                    LakePath::Refused(RunId::parse(run)?, parse_canonical(number)?)
                }
                None => {
                    let (run, number) = file.strip_suffix(".jsonl")?.rsplit_once('-')?;
                    LakePath::Quarantine(RunId::parse(run)?, parse_canonical(number)?)
                }
            },
            ["runs"] => LakePath::RunsFolder,
            ["runs", file] => match file.strip_suffix(".begun.json") {
                Some(run) => LakePath::RunBegun(RunId::parse(run)?),
                None => LakePath::RunEnded(RunId::parse(file.strip_suffix(".ended.json")?)?),
            },
            ["forgotten"] => LakePath::ForgottenFolder,
            ["forgotten", "key"] => LakePath::ForgottenKey,
            ["forgotten", file] => LakePath::Forgotten(RunId::parse(file.strip_suffix(".json")?)?),
            ["staging"] => LakePath::StagingFolder,
            ["staging", run] => LakePath::Staging(RunId::parse(run)?),
            ["staging", run, "lock"] => LakePath::StagingLock(RunId::parse(run)?),
            ["staging", run, file] => match file.strip_suffix(".part") {
                Some(part) => {
                    // A table name holds no `-`, so the first one ends it, and a day has always ten characters.
                    let (table, rest) = part.split_once('-')?;
                    let (day, id) = (rest.get(..10)?, rest.get(10..)?.strip_prefix('-')?);
                    let table = TableName::new(table).ok()?;
                    LakePath::Staged(RunId::parse(run)?, table, parse_canonical(day)?, parse_canonical(id)?)
                }
                None => LakePath::StagedFile(RunId::parse(run)?, parse_canonical(file.strip_suffix(".new")?)?),
            },
            inside => match Dataset::of_path(inside)? {
                (dataset, []) => LakePath::Ledger(dataset),
                (dataset, [month]) => LakePath::LedgerMonth(dataset, Month::parse(month)?),
                (dataset, [month, file]) => LakePath::Record(dataset, Month::parse(month)?, RecordName::of_file(file)?),
                _ => return None,
            },
        })
    }
}

impl fmt::Display for LakePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LakePath::Table(table) => write!(f, "{table}"),
            LakePath::Partition(table, day) => write!(f, "{table}/date={day}"),
            LakePath::Part(table, day) => write!(f, "{table}/date={day}/{table}.parquet"),
            LakePath::Control => f.write_str(CONTROL),
            LakePath::Identity => write!(f, "{CONTROL}/lake.json"),
            LakePath::StagedIdentity => write!(f, "{CONTROL}/lake.json.new"),
            LakePath::Lock => write!(f, "{CONTROL}/lock"),
            LakePath::Ledger(dataset) => write!(f, "{CONTROL}/{}", dataset.folder()),
            LakePath::LedgerMonth(dataset, month) => write!(f, "{CONTROL}/{}/{month}", dataset.folder()),
            LakePath::Record(dataset, month, name) => {
                write!(f, "{CONTROL}/{}/{month}/{name}.json", dataset.folder())
            }
            LakePath::Claimed(dataset) => write!(f, "{CONTROL}/claims/{}", dataset.folder()),
            LakePath::Claims(dataset, day) => write!(f, "{CONTROL}/claims/{}/{day}", dataset.folder()),
            LakePath::Claim(dataset, day, claim) => {
                write!(f, "{CONTROL}/claims/{}/{day}/{claim}.json", dataset.folder())
            }
            LakePath::Probes => write!(f, "{CONTROL}/probes"),
            LakePath::Probe(id) => write!(f, "{CONTROL}/probes/{id}"),
            LakePath::QuarantineFolder => write!(f, "{CONTROL}/quarantine"),
            LakePath::Quarantine(run, number) => write!(f, "{CONTROL}/quarantine/{run}-{number}.jsonl"),
            LakePath::Refused(run, number) => write!(f, "{CONTROL}/quarantine/refused-{run}-{number}.json"),
            LakePath::RunsFolder => write!(f, "{CONTROL}/runs"),
            LakePath::RunBegun(run) => write!(f, "{CONTROL}/runs/{run}.begun.json"),
            LakePath::RunEnded(run) => write!(f, "{CONTROL}/runs/{run}.ended.json"),
            LakePath::ForgottenFolder => write!(f, "{CONTROL}/forgotten"),
            LakePath::ForgottenKey => write!(f, "{CONTROL}/forgotten/key"),
            LakePath::Forgotten(run) => write!(f, "{CONTROL}/forgotten/{run}.json"),
            LakePath::StagingFolder => write!(f, "{CONTROL}/staging"),
            LakePath::Staging(run) => write!(f, "{CONTROL}/staging/{run}"),
            LakePath::StagingLock(run) => write!(f, "{CONTROL}/staging/{run}/lock"),
            LakePath::Staged(run, table, day, id) => write!(f, "{CONTROL}/staging/{run}/{table}-{day}-{id}.part"),
            LakePath::StagedFile(run, id) => write!(f, "{CONTROL}/staging/{run}/{id}.new"),
        }
    }
}

fn parse_date(component: &str) -> Option<Day> {
    parse_canonical(component.strip_prefix("date=")?)
}

/// Reads a value that prints as exactly the text it was read from.
fn parse_canonical<T: std::str::FromStr + fmt::Display>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tables() -> impl Strategy<Value = TableName> {
        "[a-z][a-z0-9_]{0,30}".prop_map(|name| TableName::new(&name).unwrap())
    }

    fn days() -> impl Strategy<Value = Day> {
        (0i64..2_932_896).prop_map(|days| "1970-01-01".parse::<Day>().unwrap().plus(days))
    }

    fn runs() -> impl Strategy<Value = RunId> {
        any::<u128>().prop_map(|n| RunId(Uuid::from_u128(n)))
    }

    fn records() -> impl Strategy<Value = RecordName> {
        (days(), runs(), any::<u128>(), 0i64..86_400_000_000, 0..5).prop_map(|(day, run, hash, micros, kind)| {
            let at = day.start() + chrono::TimeDelta::microseconds(micros);
            match kind {
                0 => RecordName::receipt(day, at, run, hash),
                1 => RecordName::dirty(at, run, hash),
                2 => RecordName::expired(at, run, hash),
                3 => RecordName::restored(at, run, hash),
                _ => RecordName::merged(hash),
            }
        })
    }

    fn paths() -> impl Strategy<Value = LakePath> {
        let ledgers = prop::sample::select(&Dataset::ALL[..]);
        let whole =
            (0..28, tables(), days(), runs(), records(), any::<u32>(), ledgers, (0i64..86_400_000_000, 0u64..3));
        whole.prop_map(|(kind, table, day, run, record, number, dataset, (micros, generation))| {
            let month = Month::of(day);
            let observed_at = day.start() + chrono::TimeDelta::microseconds(micros);
            match kind {
                0 => LakePath::Table(table),
                1 => LakePath::Partition(table, day),
                2 => LakePath::Part(table, day),
                3 => LakePath::Control,
                4 => LakePath::Identity,
                5 => LakePath::StagedIdentity,
                6 => LakePath::Lock,
                7 => LakePath::Ledger(dataset),
                8 => LakePath::LedgerMonth(dataset, month),
                9 => LakePath::Record(dataset, month, record),
                10 => LakePath::QuarantineFolder,
                11 => LakePath::Quarantine(run, number),
                12 => LakePath::Refused(run, number),
                13 => LakePath::StagingFolder,
                14 => LakePath::Staging(run),
                15 => LakePath::Staged(run, table, day, run.0),
                16 => LakePath::Claims(dataset, day),
                17 => LakePath::Claim(dataset, day, Order::observed(generation, observed_at, run)),
                18 => LakePath::Probes,
                19 => LakePath::Probe(run.0),
                20 => LakePath::RunsFolder,
                21 => LakePath::RunBegun(run),
                22 => LakePath::RunEnded(run),
                23 => LakePath::Claimed(dataset),
                24 => LakePath::ForgottenFolder,
                25 => LakePath::ForgottenKey,
                26 => LakePath::Forgotten(run),
                _ => LakePath::StagedFile(run, run.0),
            }
        })
    }

    proptest! {
        #[test]
        fn a_path_reads_back_as_itself(path in paths()) {
            prop_assert_eq!(LakePath::parse(&path.to_string()), Some(path));
        }

        #[test]
        fn only_parts_are_parquet_and_nothing_leaves_the_lake(path in paths()) {
            let text = path.to_string();
            prop_assert_eq!(text.ends_with(".parquet"), matches!(path, LakePath::Part(..)));
            prop_assert!(text.split('/').all(|c| !c.is_empty() && !c.starts_with('.')));
        }

        #[test]
        fn whatever_is_read_prints_as_it_was(text in "[a-z0-9_/=.-]{0,60}") {
            if let Some(path) = LakePath::parse(&text) {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_not_a_path() {
        for foreign in [
            "",
            "/",
            "..",
            "sessions/",
            "Sessions",
            "sessions/date=2025-1-1",
            "sessions/date=2025-02-30/sessions.parquet",
            "sessions/date=2025-01-01/segments.parquet",
            "sessions/date=2025-01-01/sessions.parquet#1",
            "sessions/date=2025-01-01/../sessions.parquet",
            "_convlake/ledger/2025-13",
            "_convlake/ledger/2025-01/../x.json",
            "_convlake/quarantine/refused-x-1.json",
            "_convlake/other",
        ] {
            assert_eq!(LakePath::parse(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_table_name_cannot_climb() {
        for bad in ["", "..", "a/b", "A", "_a", "a-b", &"a".repeat(TABLE_NAME_MAX + 1)] {
            assert!(TableName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn run_ids_follow_the_time_they_began() {
        let day: Day = "2025-01-01".parse().unwrap();
        assert!(RunId::at(day.start()) < RunId::at(day.next().start()));
        assert_eq!(RunId::at(day.start()).began(), Some(day.start()));
        assert_eq!(RunId::from(Uuid::from_u128(1)).began(), None);
    }
}
