//! What is said about a day once it is published: the receipt, and the marks that say it has changed since. Pure.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::layout::{RunId, TableName};
use super::order::Order;
use crate::plan::Source;
use crate::time::{Day, Interval, Timestamp};

/// The version of receipts that this version writes.
pub const VERSION: u32 = 2;

/// How final a day is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may still change at the source.
    Provisional,
    /// Older than the lookback, and promised complete when it was fetched.
    Settled,
    /// It covers less than the day, or pages were merged into it that nobody calls all of it.
    Partial,
    /// It was seen to have changed since, or the source counts more than it sent. Never in a receipt: a later mark or a
    /// shortage makes it so.
    Dirty,
    /// No conversation, and no file.
    Empty,
    /// Removed on purpose when its time was over, until that is taken back; no file.
    Expired,
}

impl State {
    /// Its name in receipts and reports.
    pub const fn name(self) -> &'static str {
        match self {
            State::Provisional => "provisional",
            State::Settled => "settled",
            State::Partial => "partial",
            State::Dirty => "dirty",
            State::Empty => "empty",
            State::Expired => "expired",
        }
    }
}

/// Where the records of an observation went:
/// `records = conversations + duplicates + outside`, and what was set aside or not ours beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Records of this day that became rows, duplicates included.
    pub records: u64,
    /// Conversations in the files.
    pub conversations: u64,
    /// Earlier versions that gave way to a later one.
    pub duplicates: u64,
    /// Conversations of this day that start outside of what it covers.
    pub outside: u64,
    /// Records that the same fetch returned for days that it does not own.
    pub out_of_window: u64,
    /// Records that the same fetch set aside; which day they are of cannot be told.
    pub quarantined: u64,
    /// Conversations that were in the files before and are gone.
    pub vanished: u64,
    /// Conversations that were left out, or taken out, because they are to be forgotten.
    pub forgotten: u64,
    /// What the same fetch was told of and did not bring, where there is such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortage: Option<Shortage>,
}

/// A fetch that brought fewer records than the source says there are, twice in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Records of the fetch by the source's account.
    pub told: u64,
    /// Records that came.
    pub read: u64,
    /// Whether the numbers stay what they are: then the day is left alone until it is due for another reason.
    pub stays: bool,
}

impl Shortage {
    /// The same where the day is known to lack `known`.
    pub(super) fn after(self, known: Option<Shortage>) -> Shortage {
        let news = known.is_some_and(|known| (known.told, known.read) != (self.told, self.read));
        Shortage { stays: self.stays && !news, ..self }
    }
}

/// One file of a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its table.
    pub table: TableName,
    /// Its path below the root, for people and other tools; convlake builds it from table and day.
    pub path: String,
    /// The id in its footer; a file with another one is not this file.
    pub uuid: Uuid,
    /// Its rows.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// Version of the table's schema.
    pub schema: u32,
    /// Hash of its content, see [`super::encode`]: equal for equal records.
    pub content: String,
    /// Hash of all its bytes (xxh3-128, hexadecimal).
    pub hash: String,
    /// What a later version adds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl FileEntry {
    /// Whether `other` has the same content.
    pub(super) fn is_same(&self, other: &FileEntry) -> bool {
        (&self.content, self.schema, self.rows) == (&other.content, other.schema, other.rows)
    }
}

/// What was written for one day by one observation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The version of this record's format.
    pub version: u32,
    /// The day.
    pub day: Day,
    /// How often the day had come back from expiry by then: what was said of it before that is void.
    #[serde(default, skip_serializing_if = "is_first")]
    pub era: u32,
    /// The run that wrote it.
    pub run: RunId,
    /// What orders the observations of a day, see [`Order`]; 0 in lakes that know no generations.
    #[serde(default)]
    pub generation: u64,
    /// The run that asked the source, when another one wrote its observation anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observer: Option<RunId>,
    /// How often that was done.
    #[serde(default, skip_serializing_if = "is_first")]
    pub revision: u32,
    /// When the source was asked. It is shown, and orders nothing.
    pub observed_at: Timestamp,
    /// By how many seconds the source's clock was ahead of the run's own, when that was too much: see [`Receipt::asked_at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_skew: Option<i64>,
    /// When it was written.
    pub recorded_at: Timestamp,
    /// The part of the day that the files hold; of a `merged` day the part in which its conversations lie.
    pub covers: Interval,
    /// How final the day is.
    pub state: State,
    /// How the records were fetched.
    pub source: Source,
    /// Up to where the source had promised to be complete, if it promises anything.
    #[serde(default)]
    pub availability: Option<Timestamp>,
    /// Where the records went.
    #[serde(default)]
    pub counts: Counts,
    /// Hashes of the conversation ids that were in the files before and are gone.
    #[serde(default)]
    pub vanished: Vec<String>,
    /// The files.
    pub files: Vec<FileEntry>,
    /// Whether the files hold what was merged into them, and nobody knows what is missing between that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub merged: bool,
    /// What a later version adds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl Receipt {
    /// What orders the receipts of a day.
    pub fn order(&self) -> Order {
        let observer = self.observer.unwrap_or(self.run);
        Order::observed(self.generation, self.observed_at, observer).as_revision(self.revision, self.run)
    }

    /// The same receipt in another place.
    #[must_use]
    pub(super) fn ordered(self, order: Order) -> Receipt {
        let (run, observer) = (order.writer(), order.observer());
        Receipt {
            run,
            generation: order.generation(),
            observer: (observer != run).then_some(observer),
            revision: order.revision(),
            ..self
        }
    }

    /// When the source was asked at the earliest: two clocks told it, and when they differ by too much, nobody knows which
    /// of them is right.
    pub fn asked_at(&self) -> Timestamp {
        let ahead = TimeDelta::try_seconds(self.clock_skew.unwrap_or_default().max(0)).unwrap_or_default();
        self.observed_at.checked_sub_signed(ahead).unwrap_or(self.observed_at)
    }

    /// Whether it covers the whole day.
    pub fn is_whole(&self) -> bool {
        self.holds(&self.day.interval())
    }

    /// The part of the day of which it is known to hold everything. What had not happened yet when a source was asked for
    /// it is not in it, whoever took it for the past.
    pub fn known(&self) -> Option<Interval> {
        match self.source {
            // Nobody was asked, or for something else than a time.
            Source::Files | Source::List => Some(self.covers),
            // `Date` has whole seconds.
            _ => Interval::new(self.covers.from(), self.covers.to().min(self.asked_at() + TimeDelta::seconds(1))).ok(),
        }
    }

    /// Whether it is known to hold all of `part`.
    pub fn holds(&self, part: &Interval) -> bool {
        !self.merged && self.known().is_some_and(|known| known.covers(part))
    }

    /// Whether the source had promised the whole day to be complete.
    pub fn is_promised(&self) -> bool {
        self.availability.is_some_and(|until| self.day.interval().to() <= until)
    }

    /// Up to when everything that happened in the day's conversations is in it: what the source had promised, or the
    /// moment of asking where it answers with what it knows right then.
    pub fn knows_until(&self) -> Timestamp {
        self.availability.map_or(self.asked_at(), |until| until.min(self.asked_at()))
    }

    /// Whether the day was removed for good.
    pub fn is_expired(&self) -> bool {
        self.state == State::Expired
    }

    /// How final the day is if nothing was seen of it since.
    pub fn state(&self) -> State {
        if self.counts.shortage.is_some() && !self.is_expired() { State::Dirty } else { self.state }
    }

    /// The file of `table`.
    pub fn file(&self, table: &TableName) -> Option<&FileEntry> {
        self.files.iter().find(|f| f.table == *table)
    }
}

/// A day of which the expiry was taken back: whatever was said of it in an earlier era does not count any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// The day.
    pub day: Day,
    /// The era that begins with it.
    pub era: u32,
    /// When it was taken back.
    pub restored_at: Timestamp,
    /// The run that did.
    pub run: RunId,
    /// What a later version adds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_first(era: &u32) -> bool {
    *era == 0
}

/// A day that was seen to have changed at the source, or that lost a race. It counts until the day is observed in a
/// higher generation, and only in its era.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirtyMark {
    /// The day.
    pub day: Day,
    /// The era of the receipt that it is about.
    #[serde(default, skip_serializing_if = "is_first")]
    pub era: u32,
    /// The highest generation of which the mark says that it may lack something: one more than the lake knew of the day,
    /// because a run that has begun by then may not have seen it. Absent in lakes that know no generations:
    /// there it counts while it is later than the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// When the change was seen.
    pub seen_at: Timestamp,
    /// The run that saw it.
    pub run: RunId,
    /// What a later version adds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Where `sync` began: it keeps every day from here on. It only ever moves back: the earliest one counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The first day.
    pub day: Day,
    /// When it was set.
    pub set_at: Timestamp,
    /// The run that set it.
    pub run: RunId,
    /// What a later version adds.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The hash by which an id is listed in receipts: ids themselves stay in the data.
pub fn id_hash(id: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128(id.as_bytes())
}

impl DirtyMark {
    /// Whether it says something about what `receipt` holds.
    pub(super) fn counts_for(&self, receipt: &Receipt) -> bool {
        match self.generation {
            Some(generation) => receipt.generation <= generation,
            None => receipt.generation == 0 && self.seen_at > receipt.observed_at,
        }
    }
}
