//! What the ledger says: whether its records can be read, and whether its receipts agree with themselves.

use super::finding::{Damage, Finding};
use crate::error::Result;
use crate::lake::encode::CONVERSATIONS;
use crate::lake::layout::{Dataset, LakePath, Month, RecordName};
use crate::lake::ledger::Record;
use crate::lake::open::Lake;
use crate::lake::receipt::{Receipt, State};

/// Every record that says less than it holds: to the rest of convlake, what cannot be read was never said.
pub(super) fn unreadable(lake: &Lake, dataset: Dataset) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for month in lake.store.list(&LakePath::Ledger(dataset))?.iter().filter_map(|name| Month::parse(name)) {
        let files = lake.store.list(&LakePath::LedgerMonth(dataset, month))?;
        let records = files.iter().filter_map(|file| RecordName::of_file(file));
        let places: Vec<LakePath> = records.map(|name| LakePath::Record(dataset, month, name)).collect();
        for (place, json) in places.iter().zip(lake.store.read_all(&places)?) {
            // A record that was merged into another is gone by now.
            if let Some(what) = json.and_then(|json| trouble(&json, month)) {
                let file = Some(place.to_string());
                findings.push(Finding { day: None, dataset, table: None, file, damage: Damage::Record, what });
            }
        }
    }
    Ok(findings)
}

fn trouble(json: &[u8], month: Month) -> Option<String> {
    let (record, unknown) = match Record::from_json(json) {
        Ok(read) => read,
        Err(e) => return Some(e.to_string()),
    };
    let days = record.receipts.iter().map(|r| r.day).chain(record.dirty.iter().map(|m| m.day));
    let days = days.chain(record.anchors.iter().map(|a| a.day));
    let misplaced = days.filter(|day| Month::of(*day) != month).count();
    (unknown.entries + misplaced > 0)
        .then(|| format!("{} of its entries cannot be read, {misplaced} are of another month", unknown.entries))
}

/// What `receipt` says against itself.
pub(super) fn contradictions(dataset: Dataset, receipt: &Receipt) -> Vec<Finding> {
    let of_conversations = dataset == Dataset::Conversations;
    let mut found: Vec<String> = if of_conversations { counts(receipt) } else { Vec::new() };
    // A list of the present is complete without anybody's promise.
    found.extend(state(receipt, !of_conversations || receipt.is_promised()));
    let table = if of_conversations { None } else { receipt.files.first().map(|file| &file.table) };
    let finding =
        |what| Finding { dataset, table: table.cloned(), ..Finding::of_day(receipt.day, Damage::Receipt, what) };
    found.into_iter().map(finding).collect()
}

fn counts(receipt: &Receipt) -> Vec<String> {
    let counts = &receipt.counts;
    let mut found = Vec::new();
    if counts.records != counts.conversations + counts.duplicates + counts.outside {
        found.push(format!(
            "{} records came in, but {} conversations, {} earlier versions and {} outside of what it covers are told",
            counts.records, counts.conversations, counts.duplicates, counts.outside
        ));
    }
    let rows = match receipt.files.iter().find(|file| file.table.as_str() == CONVERSATIONS) {
        Some(file) => file.rows,
        None if receipt.files.is_empty() => 0,
        None => {
            found.push(format!("it has files, but none of `{CONVERSATIONS}`"));
            counts.conversations
        }
    };
    if rows != counts.conversations {
        found.push(format!("it counts {} conversations, and its file has {rows} rows", counts.conversations));
    }
    found
}

fn state(receipt: &Receipt, promised: bool) -> Option<String> {
    let (whole, files) = (receipt.is_whole(), !receipt.files.is_empty());
    let wrong = match receipt.state {
        State::Settled if !whole => Some("settled, but does not hold the whole day"),
        State::Settled if !promised => Some("settled, but the source had not promised the day complete"),
        State::Partial if whole => Some("partial, but covers the whole day"),
        State::Provisional | State::Empty if !whole => Some("not partial, but does not hold the whole day"),
        State::Empty | State::Expired if files => Some("without rows, but has files"),
        State::Dirty => Some("dirty, which only a later mark can make it"),
        _ => None,
    };
    wrong.map(|wrong| format!("its receipt calls it {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::testing::{at, receipt};

    fn contradictions(receipt: &Receipt) -> Vec<String> {
        let found = super::contradictions(Dataset::Conversations, receipt).into_iter();
        found.inspect(|finding| assert_eq!(finding.day, Some(receipt.day))).map(|finding| finding.what).collect()
    }

    fn good() -> Receipt {
        Receipt { availability: Some(at("2025-01-02T00:00:00Z")), ..receipt("2025-01-01", "2025-02-01T00:00:00Z", 1) }
    }

    #[test]
    fn each_contradiction_is_told() {
        assert_eq!(contradictions(&good()), Vec::<String>::new());
        assert_eq!(contradictions(&Receipt { state: State::Settled, ..good() }), Vec::<String>::new());
        type Change = fn(&mut Receipt);
        let changes: [(&str, Change); 10] = [
            ("4 records came in", |r| r.counts.records = 4),
            ("it counts 2 conversations", |r| (r.counts.records, r.counts.conversations) = (2, 2)),
            ("it counts 3 conversations, and its file has 0 rows", |r| r.files.clear()),
            ("none of `conversations`", |r| r.files[0].table = crate::lake::TableName::new("sessions").unwrap()),
            ("had not promised", |r| (r.state, r.availability) = (State::Settled, Some(at("2025-01-01T23:59:59Z")))),
            ("settled, but does not hold", |r| {
                (r.state, r.covers) = (State::Settled, r.covers.halves().unwrap().0);
            }),
            ("partial, but covers the whole", |r| r.state = State::Partial),
            ("not partial, but does not hold", |r| r.merged = true),
            ("without rows, but has files", |r| r.state = State::Expired),
            ("only a later mark", |r| r.state = State::Dirty),
        ];
        for (words, change) in changes {
            let mut receipt = good();
            change(&mut receipt);
            let found = contradictions(&receipt);
            assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
        }
    }

    #[test]
    fn a_list_is_complete_without_a_promise() {
        let list = Receipt { state: State::Settled, availability: None, ..good() };
        assert_eq!(super::contradictions(Dataset::ALL[1], &list), Vec::new());
        let partial = Receipt { state: State::Partial, ..list };
        let found = super::contradictions(Dataset::ALL[1], &partial);
        assert!(found.len() == 1 && found[0].table.is_some(), "{found:?}");
    }

    #[test]
    fn a_record_that_is_not_wholly_read_is_told() {
        let month = Month::parse("2025-01").unwrap();
        let of = |date: &str| Record { receipts: vec![receipt(date, "2025-02-01T00:00:00Z", 1)], ..Record::default() };
        assert_eq!(trouble(&of("2025-01-31").to_json().unwrap(), month), None);
        assert_eq!(trouble(br#"{"leases": [1]}"#, month), None, "a later version's");
        let bad = [of("2025-02-01").to_json().unwrap(), b"{".to_vec(), br#"{"receipts": [{"day": 7}]}"#.to_vec()];
        assert!(bad.iter().all(|json| trouble(json, month).is_some()));
    }
}
