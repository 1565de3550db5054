//! Totals that do not fit what was sent: they end nothing, they are told, and what stays short is marked.

use std::collections::BTreeSet;

use convlake::export::Report;

use crate::common::org::{Org, files, ids};
use crate::common::receipts::ledger;
use crate::{FROM, NOW, TO, faulty, in_pages, pages_of};

/// An entry of a fault file on the pages of `protocol`.
fn on(protocol: &str, which: &str, action: &str) -> String {
    format!(r#"{{"endpoint": "{}", {which}, "action": {action}}}"#, pages_of(protocol).1)
}

fn off(protocol: &str, by: i64) -> String {
    on(protocol, r#""after": 0"#, &format!(r#"{{"total_off": {{"by": {by}}}}}"#))
}

fn states(report: &Report) -> BTreeSet<Option<&'static str>> {
    report.days.iter().map(|day| day.state).collect()
}

#[tokio::test(start_paused = true)]
async fn what_stays_short_is_published_and_told_and_its_days_are_dirty() {
    for protocol in ["query", "cursor"] {
        let org = Org::new(faulty(&off(protocol, 3)), NOW);
        let report = org.run(in_pages(&org, protocol)).await;
        let window = &report.windows[0];
        assert_eq!(
            (report.totals.exit, report.totals.missing, report.totals.surplus),
            (0, 3, 0),
            "{:?}",
            report.errors
        );
        assert_eq!(window.told, Some(window.read + 3), "{protocol}");
        assert_eq!(window.read, window.records, "{protocol}");
        assert_eq!(ids(&org.lake()), org.world(FROM, TO), "{protocol}");
        assert_eq!(states(&report), BTreeSet::from([Some("dirty")]), "{protocol}");
        assert!(
            org.said("also when it was asked again") == 1 && org.said("it is fetched once more") == 1,
            "{protocol}"
        );
        let ledger = ledger(&org.lake());
        for (day, entry) in ledger.days() {
            let short = entry.receipt.as_ref().unwrap().counts.shortage.unwrap();
            assert_eq!((short.told, short.read, short.stays), (window.read + 3, window.read, true), "{day}");
            assert!(!entry.is_due(), "the second fetch said the same");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_once_is_fetched_again_and_whole() {
    // The second page is empty at first, and there is a cursor behind it.
    let script = on("cursor", r#""page": 2, "nth": 1"#, r#""empty_records""#);
    let org = Org::new(faulty(&script), NOW);
    let report = org.run(in_pages(&org, "cursor")).await;
    org.assert_complete(&report, FROM, TO);
    assert_eq!((report.totals.exit, report.totals.missing, report.totals.duplicates), (0, 0, 0));
    assert_eq!(states(&report), BTreeSet::from([Some("provisional")]));
    assert_eq!(report.windows[0].told, Some(report.windows[0].read));
}

#[tokio::test(start_paused = true)]
async fn what_either_of_two_short_fetches_brought_counts() {
    // The second page is empty in the first fetch, the third in the second.
    let empty = |page: u64, nth: u64| on("cursor", &format!(r#""page": {page}, "nth": {nth}"#), r#""empty_records""#);
    let org = Org::new(faulty(&[empty(2, 1), empty(3, 2)].join(",")), NOW);
    let report = org.run(in_pages(&org, "cursor")).await;
    assert_eq!((report.totals.exit, report.totals.missing), (0, 4), "{:?}", report.errors);
    assert_eq!(ids(&org.lake()), org.world(FROM, TO));
    assert_eq!(states(&report), BTreeSet::from([Some("dirty")]));
}

#[tokio::test(start_paused = true)]
async fn strict_totals_fail_the_slice_and_leave_the_lake_as_it_was() {
    for protocol in ["query", "cursor", "page"] {
        let lie = match protocol {
            "page" => on("page", r#""after": 0"#, r#"{"page_count_off": {"by": 1}}"#),
            protocol => off(protocol, 1),
        };
        let org = Org::new(faulty(&lie), NOW);
        let mut ask = in_pages(&org, protocol);
        ask.settings.strict_totals = true;
        let report = org.run(ask).await;
        assert_eq!(report.totals.exit, 65, "{protocol}: {:?}", report.errors);
        assert!(report.errors[0].message.contains("records and sent"), "{:?}", report.errors);
        assert!(files(&org.lake().join("conversations")).is_empty(), "{protocol}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_was_told_is_told_and_nothing_else() {
    for protocol in ["query", "cursor"] {
        let org = Org::new(faulty(&off(protocol, -3)), NOW);
        let mut ask = in_pages(&org, protocol);
        ask.settings.strict_totals = true;
        let report = org.run(ask).await;
        org.assert_complete(&report, FROM, TO);
        assert_eq!((report.totals.missing, report.totals.surplus), (0, 3), "{protocol}");
        assert_eq!(report.windows[0].told, Some(report.windows[0].read - 3), "{protocol}");
        assert_eq!(states(&report), BTreeSet::from([Some("provisional")]), "{protocol}");
    }
}
