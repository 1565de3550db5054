//! The ledger: all that was recorded about the days of a lake, merged. Pure.
//!
//! It is a set of immutable records, not a chain: of a day's receipts the newest wins (see [`super::order`]), unless the
//! day has expired, which lasts until it is restored: then an era begins in which nothing counts that was said before; of its
//! dirty marks the highest counts until an observation of a higher generation. The merge is commutative, associative and idempotent, so
//! the order in which records arrive, repeated records, and the late record of a run that was overtaken do not matter.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::layout::RunId;
use super::receipt::{Anchor, DirtyMark, Receipt, Restored, State};
use crate::error::{Error, Result};
use crate::time::{Day, Timestamp};

/// What is known of one day.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayEntry {
    /// The winning receipt.
    pub receipt: Option<Receipt>,
    /// The latest mark; see [`DayEntry::is_dirty`].
    mark: Option<DirtyMark>,
    /// What began the present era, unless it is the first.
    restored: Option<Restored>,
}

impl DayEntry {
    /// Whether the day was seen to have changed after its receipt. What has expired does not change any more.
    pub fn is_dirty(&self) -> bool {
        match (&self.receipt, &self.mark) {
            (Some(receipt), Some(mark)) => mark.era == receipt.era && !receipt.is_expired() && mark.counts_for(receipt),
            _ => false,
        }
    }

    /// Whether it is dirty by a mark of `run`.
    pub(super) fn is_marked_by(&self, run: RunId) -> bool {
        self.is_dirty() && self.mark.as_ref().is_some_and(|mark| mark.run == run)
    }

    /// Whether the day is to be fetched again: it has changed, or what it lacks is not what it lacked before.
    pub fn is_due(&self) -> bool {
        let short = self.receipt.as_ref().filter(|receipt| !receipt.is_expired()).and_then(|r| r.counts.shortage);
        self.is_dirty() || short.is_some_and(|shortage| !shortage.stays)
    }

    /// Whether the day was removed for good.
    pub fn is_expired(&self) -> bool {
        self.receipt.as_ref().is_some_and(Receipt::is_expired)
    }

    /// How often the day has come back from expiry. Whoever says something of it, says it of this era.
    pub fn era(&self) -> u32 {
        let receipt = self.receipt.as_ref().map_or(0, |receipt| receipt.era);
        self.restored.as_ref().map_or(receipt, |restored| restored.era.max(receipt))
    }

    /// The highest generation that is known of the day.
    pub(super) fn generation(&self) -> u64 {
        let receipt = self.receipt.as_ref().map_or(0, |receipt| receipt.generation);
        self.mark.as_ref().and_then(|mark| mark.generation).map_or(receipt, |mark| mark.max(receipt))
    }

    /// Forgets the receipt of an era that is over.
    fn settle(&mut self) {
        let began = self.restored.as_ref().map_or(0, |restored| restored.era);
        self.receipt.take_if(|receipt| receipt.era < began);
    }

    /// The day's state, if it was ever published.
    pub fn state(&self) -> Option<State> {
        let receipt = self.receipt.as_ref()?;
        Some(if self.is_dirty() { State::Dirty } else { receipt.state() })
    }
}

/// All receipts and marks, by day, and where `sync` began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    days: BTreeMap<Day, DayEntry>,
    anchor: Option<Anchor>,
}

impl Ledger {
    /// What is known of `day`.
    pub fn day(&self, day: Day) -> Option<&DayEntry> {
        self.days.get(&day)
    }

    /// Every day with its entry, in order.
    pub fn days(&self) -> btree_map::Iter<'_, Day, DayEntry> {
        self.days.iter()
    }

    /// The winning receipt of `day`.
    pub fn receipt(&self, day: Day) -> Option<&Receipt> {
        self.day(day)?.receipt.as_ref()
    }

    /// The first of the days that `sync` keeps, once it has run.
    pub fn anchor(&self) -> Option<Day> {
        self.anchor.as_ref().map(|anchor| anchor.day)
    }

    /// End of the gap-free run of whole days from `anchor` on that the source had promised complete when they were
    /// fetched; `None` when `anchor` is not such a day. A dirty day counts: what it held was complete once. So does an
    /// expired one: nothing of it is missing.
    pub fn watermark(&self, anchor: Day) -> Option<Timestamp> {
        let complete =
            |day: Day| self.receipt(day).is_some_and(|r| r.is_expired() || (r.is_whole() && r.is_promised()));
        let mut day = anchor;
        while complete(day) {
            day = day.next();
        }
        (day > anchor).then(|| day.start())
    }

    /// Adds a record.
    pub fn absorb(&mut self, record: Record) {
        for receipt in record.receipts {
            let entry = self.days.entry(receipt.day).or_default();
            if entry.receipt.as_ref().is_none_or(|c| receipt_order(&receipt, c).is_gt()) {
                entry.receipt = Some(receipt);
            }
            entry.settle();
        }
        for restored in record.restored {
            let entry = self.days.entry(restored.day).or_default();
            if entry.restored.as_ref().is_none_or(|c| restored_order(&restored, c).is_gt()) {
                entry.restored = Some(restored);
            }
            entry.settle();
        }
        for mark in record.dirty {
            let current = &mut self.days.entry(mark.day).or_default().mark;
            if current.as_ref().is_none_or(|c| mark_order(&mark, c).is_gt()) {
                *current = Some(mark);
            }
        }
        for anchor in record.anchors {
            if self.anchor.as_ref().is_none_or(|a| anchor_order(&anchor, a).is_lt()) {
                self.anchor = Some(anchor);
            }
        }
    }

    /// Adds all of another ledger.
    pub fn merge(&mut self, other: Ledger) {
        self.absorb(other.into_record());
    }

    /// One record that says as much as all that were absorbed.
    pub fn into_record(self) -> Record {
        let mut record = Record::default();
        for (_, entry) in self.days {
            let (dirty, known) = (entry.is_dirty(), entry.receipt.as_ref().map(|receipt| receipt.era));
            record.dirty.extend(entry.mark.filter(|mark| dirty || known.is_none_or(|era| era < mark.era)));
            record.receipts.extend(entry.receipt);
            record.restored.extend(entry.restored);
        }
        record.anchors.extend(self.anchor);
        record
    }
}

/// The later era wins. In it, what has expired stays expired. Then the newer state wins; the rest only makes the order
/// total, so that a merge has one result.
fn receipt_order(a: &Receipt, b: &Receipt) -> Ordering {
    (a.era, a.is_expired(), a.order())
        .cmp(&(b.era, b.is_expired(), b.order()))
        .then_with(|| a.recorded_at.cmp(&b.recorded_at))
        .then_with(|| serde_json::to_string(a).ok().cmp(&serde_json::to_string(b).ok()))
}

fn restored_order(a: &Restored, b: &Restored) -> Ordering {
    (a.era, a.restored_at, a.run)
        .cmp(&(b.era, b.restored_at, b.run))
        .then_with(|| serde_json::to_string(a).ok().cmp(&serde_json::to_string(b).ok()))
}

fn mark_order(a: &DirtyMark, b: &DirtyMark) -> Ordering {
    (a.era, a.generation, a.seen_at, a.run)
        .cmp(&(b.era, b.generation, b.seen_at, b.run))
        .then_with(|| serde_json::to_string(a).ok().cmp(&serde_json::to_string(b).ok()))
}

fn anchor_order(a: &Anchor, b: &Anchor) -> Ordering {
    (a.day, a.set_at, a.run)
        .cmp(&(b.day, b.set_at, b.run))
        .then_with(|| serde_json::to_string(a).ok().cmp(&serde_json::to_string(b).ok()))
}

/// One file of the ledger: a receipt, some marks, or the merge of many records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Record {
    /// Receipts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub receipts: Vec<Receipt>,
    /// Marks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dirty: Vec<DirtyMark>,
    /// Where `sync` began.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<Anchor>,
    /// Expiries that were taken back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restored: Vec<Restored>,
}

/// What reading a record found besides its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Entries that could not be read.
    pub entries: usize,
    /// Parts of the record that this version does not know.
    pub fields: usize,
}

impl Unknown {
    /// Whether all of the record is understood; only such a record may be merged with others.
    pub fn is_none(self) -> bool {
        self == Unknown::default()
    }
}

impl Record {
    /// The record as JSON.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when it cannot be written, which no value of these types causes.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::bug("cannot write a ledger record").source(e))
    }

    /// How many things it says.
    pub fn entries(&self) -> usize {
        self.receipts.len() + self.dirty.len() + self.anchors.len() + self.restored.len()
    }

    /// Reads a record, entry by entry: one that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`crate::error::Kind::Data`] when it is not a record at all.
    pub fn from_json(text: &[u8]) -> Result<(Record, Unknown)> {
        #[derive(Deserialize)]
        struct Raw {
            #[serde(default)]
            receipts: Vec<Value>,
            #[serde(default)]
            dirty: Vec<Value>,
            #[serde(default)]
            anchors: Vec<Value>,
            #[serde(default)]
            restored: Vec<Value>,
            #[serde(flatten)]
            other: Map<String, Value>,
        }
        let raw: Raw = serde_json::from_slice(text).map_err(|e| Error::data("not a ledger record").source(e))?;
        let found = raw.receipts.len() + raw.dirty.len() + raw.anchors.len() + raw.restored.len();
        let record = Record {
            receipts: readable(raw.receipts),
            dirty: readable(raw.dirty),
            anchors: readable(raw.anchors),
            restored: readable(raw.restored),
        };
        let entries = found - record.entries();
        Ok((record, Unknown { entries, fields: raw.other.len() }))
    }
}

fn readable<T: DeserializeOwned>(values: Vec<Value>) -> Vec<T> {
    values.into_iter().filter_map(|value| serde_json::from_value(value).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::testing::{at, day, receipt};
    use proptest::prelude::*;

    fn mark(date: &str, seen_at: &str, run: u128) -> DirtyMark {
        let run = uuid::Uuid::from_u128(run).into();
        DirtyMark { day: day(date), era: 0, generation: None, seen_at: at(seen_at), run, other: Map::new() }
    }

    fn records() -> impl Strategy<Value = Record> {
        let receipts = (1u32..4, 0u32..4, 0u128..3, 0u32..3, 0..4).prop_map(|(date, hour, run, era, fate)| {
            let mut r = receipt(&format!("2025-01-{date:02}"), &format!("2025-02-01T0{hour}:00:00Z"), run);
            r.era = era;
            if fate == 0 {
                r.state = State::Expired;
            }
            r
        });
        let marks = (1u32..4, 0u32..4, 0u128..3, 0u32..3).prop_map(|(date, hour, run, era)| {
            let mark = mark(&format!("2025-01-{date:02}"), &format!("2025-02-01T0{hour}:00:00Z"), run);
            DirtyMark { era, ..mark }
        });
        let anchors = (1u32..4, 0u32..3, 0u128..3).prop_map(|(date, hour, run)| Anchor {
            day: day(&format!("2025-01-{date:02}")),
            set_at: at(&format!("2025-02-01T0{hour}:00:00Z")),
            run: uuid::Uuid::from_u128(run).into(),
            other: Map::new(),
        });
        use proptest::collection::vec;
        let restored = (1u32..4, 0u32..3, 0u128..3, 1u32..3).prop_map(|(date, hour, run, era)| Restored {
            day: day(&format!("2025-01-{date:02}")),
            era,
            restored_at: at(&format!("2025-02-01T0{hour}:00:00Z")),
            run: uuid::Uuid::from_u128(run).into(),
            other: Map::new(),
        });
        (vec(receipts, 0..4), vec(marks, 0..4), vec(anchors, 0..3), vec(restored, 0..3))
            .prop_map(|(receipts, dirty, anchors, restored)| Record { receipts, dirty, anchors, restored })
    }

    fn ledger(records: impl IntoIterator<Item = Record>) -> Ledger {
        let mut ledger = Ledger::default();
        records.into_iter().for_each(|r| ledger.absorb(r));
        ledger
    }

    /// What a reader can see: a mark that does not count is not seen.
    fn view(ledger: &Ledger) -> (Option<Anchor>, Vec<Seen>) {
        let seen = ledger.days().filter(|(_, e)| e.receipt.is_some());
        (ledger.anchor.clone(), seen.map(|(day, e)| (*day, e.receipt.clone(), e.state())).collect())
    }

    type Seen = (Day, Option<Receipt>, Option<State>);

    proptest! {
        #[test]
        fn the_merge_is_commutative_associative_and_idempotent(records in proptest::collection::vec(records(), 0..8), seed: u64) {
            let mut shuffled = records.clone();
            for i in (1..shuffled.len()).rev() {
                shuffled.swap(i, (seed as usize).wrapping_mul(i + 7) % (i + 1));
            }
            prop_assert_eq!(ledger(records.clone()), ledger(shuffled));
            prop_assert_eq!(ledger(records.clone()), ledger(records.iter().cloned().chain(records.clone())));
            let cut = records.len() / 2;
            let mut halves = ledger(records[..cut].to_vec());
            halves.merge(ledger(records[cut..].to_vec()));
            prop_assert_eq!(view(&halves), view(&ledger(records)));
        }

        #[test]
        fn a_merged_record_stands_for_what_it_replaces(old in proptest::collection::vec(records(), 0..6), new in records()) {
            let merged = ledger(old.clone()).into_record();
            let (read, unknown) = Record::from_json(&merged.to_json().unwrap()).unwrap();
            prop_assert!(unknown.is_none());
            prop_assert_eq!(&read, &merged);
            let before = ledger(old.into_iter().chain([new.clone()]));
            prop_assert_eq!(view(&ledger([read, new])), view(&before));
        }
    }

    #[test]
    fn a_mark_counts_only_while_it_is_later_than_the_receipt() {
        let published = receipt("2025-01-01", "2025-02-01T02:00:00Z", 1);
        let seen = |t| Record { dirty: vec![mark("2025-01-01", t, 9)], ..Record::default() };
        let one = |r: &Receipt| Record { receipts: vec![r.clone()], ..Record::default() };
        let state = |records: Vec<Record>| ledger(records).day(day("2025-01-01")).unwrap().state();
        assert_eq!(state(vec![one(&published), seen("2025-02-01T03:00:00Z")]), Some(State::Dirty));
        assert_eq!(state(vec![one(&published), seen("2025-02-01T02:00:00Z")]), Some(State::Provisional));
        assert_eq!(state(vec![seen("2025-02-01T03:00:00Z")]), None);
        let again = receipt("2025-01-01", "2025-02-01T04:00:00Z", 1);
        assert_eq!(state(vec![one(&published), seen("2025-02-01T03:00:00Z"), one(&again)]), Some(State::Provisional));
    }

    #[test]
    fn of_many_anchors_the_earliest_counts() {
        let anchor = |date: &str, set_at: &str| Anchor {
            day: day(date),
            set_at: at(set_at),
            run: uuid::Uuid::from_u128(1).into(),
            other: Map::new(),
        };
        let anchors = vec![
            anchor("2025-01-05", "2025-02-01T00:00:00Z"),
            anchor("2025-01-02", "2025-02-03T00:00:00Z"),
            anchor("2025-01-09", "2025-02-04T00:00:00Z"),
        ];
        assert_eq!(Ledger::default().anchor(), None);
        let ledger = ledger([Record { anchors, ..Record::default() }]);
        assert_eq!(ledger.anchor(), Some(day("2025-01-02")));
        assert_eq!(ledger.into_record().anchors.len(), 1);
    }

    #[test]
    fn what_has_expired_stays_so_and_is_complete() {
        let gone = Receipt { state: State::Expired, ..receipt("2025-01-01", "2025-02-01T00:00:00Z", 1) };
        let again = receipt("2025-01-01", "2025-02-01T04:00:00Z", 2);
        let dirty = vec![mark("2025-01-01", "2025-02-01T05:00:00Z", 9)];
        let receipts = vec![again.clone(), gone.clone(), again];
        let ledger = ledger([Record { receipts, dirty, ..Record::default() }]);
        assert_eq!(ledger.receipt(gone.day), Some(&gone));
        assert_eq!(ledger.day(gone.day).unwrap().state(), Some(State::Expired));
        assert_eq!(ledger.watermark(gone.day), Some(at("2025-01-02T00:00:00Z")));
    }

    #[test]
    fn what_is_restored_is_as_if_never_published_until_it_is_published_or_expires_again() {
        let held = receipt("2025-01-01", "2025-02-01T00:00:00Z", 1);
        let gone = Receipt { state: State::Expired, ..held.clone() };
        let late = receipt("2025-01-01", "2025-09-01T00:00:00Z", 2);
        let restored =
            Restored { day: held.day, era: 1, restored_at: held.observed_at, run: held.run, other: Map::new() };
        let undone = Record { restored: vec![restored], ..Record::default() };
        let one = |receipt: &Receipt| Record { receipts: vec![receipt.clone()], ..Record::default() };
        let first_era = [one(&held), one(&gone), undone, one(&late)];
        let entry = |more: &[Record]| {
            let ledger = ledger(first_era.iter().chain(more).cloned());
            ledger.day(held.day).cloned().unwrap()
        };
        assert_eq!((entry(&[]).receipt, entry(&[]).state(), entry(&[]).era()), (None, None, 1));
        let again = Receipt { era: 1, ..held.clone() };
        assert_eq!(entry(&[one(&again)]).receipt, Some(again.clone()), "an earlier observation, of a later era");
        let gone_again = Receipt { era: 1, ..gone.clone() };
        assert!(entry(&[one(&gone_again), one(&again)]).is_expired());
    }

    #[test]
    fn what_a_later_version_adds_survives() {
        let text = serde_json::to_value(receipt("2025-01-01", "2025-02-01T00:00:00Z", 1)).unwrap();
        let mut later = text.clone();
        later["version"] = 2.into();
        later["price"] = serde_json::json!({"big": 12345678901234567890u64, "exact": 0.10, "list": [1, null]});
        later["files"][0]["sorted"] = true.into();
        let bytes = serde_json::json!({"receipts": [later]}).to_string();
        let (record, unknown) = Record::from_json(bytes.as_bytes()).unwrap();
        assert!(unknown.is_none());
        let again: Value = serde_json::from_slice(&ledger([record]).into_record().to_json().unwrap()).unwrap();
        assert_eq!(again["receipts"][0], later);
    }

    #[test]
    fn an_entry_that_cannot_be_read_hides_no_other() {
        let good = serde_json::to_value(receipt("2025-01-01", "2025-02-01T00:00:00Z", 1)).unwrap();
        let mut strange = good.clone();
        strange["state"] = "archived".into();
        let bytes = serde_json::json!({"receipts": [strange, good], "leases": []}).to_string();
        let (record, unknown) = Record::from_json(bytes.as_bytes()).unwrap();
        assert_eq!((record.receipts.len(), unknown), (1, Unknown { entries: 1, fields: 1 }));
        for garbage in ["", "[]", "{", "7", "{\"receipts\": 1}"] {
            assert!(Record::from_json(garbage.as_bytes()).is_err(), "{garbage}");
        }
    }

    #[test]
    fn the_watermark_stops_at_the_first_gap() {
        let promised = |date: &str| {
            let mut r = receipt(date, "2025-02-01T00:00:00Z", 1);
            r.availability = Some(r.day.interval().to());
            r
        };
        let mut partial = promised("2025-01-03");
        partial.covers = partial.covers.halves().unwrap().0;
        let mut unpromised = promised("2025-01-03");
        unpromised.availability = None;
        for third in [Some(partial), Some(unpromised), None] {
            let receipts = [promised("2025-01-01"), promised("2025-01-02"), promised("2025-01-04")];
            let receipts = receipts.into_iter().chain(third).collect();
            let ledger = ledger([Record { receipts, ..Record::default() }]);
            assert_eq!(ledger.watermark(day("2025-01-01")), Some(at("2025-01-03T00:00:00Z")));
            assert_eq!(ledger.watermark(day("2024-12-31")), None);
        }
    }
}
