//! The cursor protocol's `nextPageCursor`: repeated, in a circle, dead, empty, and pages without records.

use convlake::api::{CursorIn, RangeEnd};
use convlake::simulator::{Rules, SimulatorSettings};
use serde_json::{Value, json};

use crate::common::org::{Ids, Org, ids};
use crate::{FROM, NOW, TO, faulty, in_pages, refuses, refuses_as, sound, survives};

/// A fault on the cursor protocol.
fn on(which: &str, action: &str) -> String {
    format!(r#"{{"endpoint": "cursor", {which}, "action": {action}}}"#)
}

/// The pages asked for, by their cursor: 1 for the first request, then by first sight.
fn steps(org: &Org) -> Vec<usize> {
    let mut seen = vec![Value::Null];
    let requests = org.sent().into_iter().filter(|sent| sent.body["startTime"].is_string());
    let step = |cursor: Value| match seen.iter().position(|other| *other == cursor) {
        Some(at) => at + 1,
        None => {
            seen.push(cursor);
            seen.len()
        }
    };
    requests.map(|sent| sent.body["pageCursor"].clone()).map(step).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_comes_again_once_is_asked_again_and_twice_starts_again() {
    let (org, report) = survives("cursor", &on(r#""page": 3, "nth": 1"#, r#""repeat_cursor""#)).await;
    assert_eq!(steps(&org), [1, 2, 3, 3, 4, 5, 6, 7]);
    assert_eq!(report.totals.duplicates, 0);
    let (org, report) = survives("cursor", &on(r#""page": 3, "first": 2"#, r#""repeat_cursor""#)).await;
    assert_eq!(steps(&org).len(), 4 + 7);
    assert_eq!((report.totals.duplicates, report.windows[0].records), (0, 25), "what was read before is void");
}

#[tokio::test(start_paused = true)]
async fn a_circle_of_cursors_starts_again_and_fails_when_it_stays() {
    // From page 4 back to page 2.
    let back = r#"{"cursor_to_page": {"page": 2}}"#;
    survives("cursor", &on(r#""page": 4, "nth": 1"#, back)).await;
    survives("cursor", &on(r#""page": 4, "first": 2"#, back)).await;
    survives("cursor", &on(r#""page": 4, "first": 6"#, back)).await;
    let (org, error) = refuses("cursor", &on(r#""page": 4"#, back), 65).await;
    assert!(error.message.contains("cursor for the second time"), "{error:?}");
    assert!(error.message.contains("after 3 restarts"), "{error:?}");
    assert_eq!(steps(&org).len(), 4 * 5, "four times to page 4, which is looked at twice");
}

#[tokio::test(start_paused = true)]
async fn a_dead_cursor_starts_again_and_fails_when_all_die() {
    for code in [400, 404, 410] {
        let dead = format!(r#"{{"status": {{"code": {code}}}}}"#);
        survives("cursor", &on(r#""page": 3, "nth": 1"#, &dead)).await;
        let (org, error) = refuses("cursor", &on(r#""page": 3"#, &dead), 65).await;
        assert!(error.message.contains(&code.to_string()), "{error:?}");
        assert_eq!(steps(&org).len(), 4 * 3);
    }
}

/// The records of a page that comes without them are the API's to lose; those behind it are not.
#[tokio::test(start_paused = true)]
async fn a_page_without_records_and_with_a_cursor_goes_on() {
    let org = Org::new(faulty(&on(r#""page": 2"#, r#""empty_records""#)), NOW);
    let report = org.run(in_pages(&org, "cursor")).await;
    assert_eq!(report.totals.exit, 0, "{:?}", report.errors);
    assert_eq!(steps(&org).len(), 2 * 7, "what is missing is looked for again");
    assert_eq!(report.totals.missing, 4);
    let mut records: Vec<_> =
        org.world(FROM, TO).keys().flat_map(|day| org.simulator.world().conversations(*day, org.clock.now())).collect();
    records.drain(4..8);
    let mut rest = Ids::new();
    for record in records {
        rest.entry(convlake::time::Day::of(record.start)).or_default().push(record.id);
    }
    rest.values_mut().for_each(|ids| ids.sort());
    assert_eq!(ids(&org.lake()), rest);
    for action in [r#""no_records""#, r#""null_records""#] {
        let (_, error) = refuses("cursor", &on(r#""page": 2"#, action), 65).await;
        assert!(error.message.contains("page 2: "), "{action}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_or_null_cursor_and_no_cursor_are_the_end() {
    for cursor in [json!(""), json!(null), Value::Object(Default::default())] {
        let mut page = json!({"entities": [
            {"conversationId": "one", "startTime": "2025-01-01T10:00:00.000Z"},
            {"conversationId": "two", "startTime": "2025-01-02T10:00:00.000Z"},
        ]});
        if !cursor.is_object() {
            page["nextPageCursor"] = cursor.clone();
        }
        let body = Value::from(page.to_string());
        let script = on(r#""first": 1"#, &format!(r#"{{"status": {{"code": 200, "body": {body}}}}}"#));
        let org = Org::new(faulty(&script), NOW);
        let report = org.export("cursor", FROM, TO).await;
        assert_eq!((report.totals.exit, steps(&org)), (0, vec![1]), "{cursor}: {:?}", report.errors);
        let held: Vec<_> = ids(&org.lake()).into_values().collect();
        assert_eq!(held, [["one"], ["two"]], "{cursor}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bare_object_is_the_end_and_never_empties_days_that_the_lake_holds() {
    // The first fetch sees nothing, the one that confirms it sees everything.
    let (org, _) = refilled(r#""nth": 1"#).await;
    assert!(steps(&org).len() > 1, "a second look was taken");
    // And when nothing is all there ever is, the days stay what they were.
    let org = Org::new(large(&on(r#""after": 0"#, r#""bare""#)), NOW);
    let (_, error) = refuses_as(org, 65, |org| in_pages(org, "cursor")).await;
    assert!(error.message.contains("2025-01-01"), "{error:?}");
}

/// So many a day that all of them are more than may vanish.
fn large(script: &str) -> SimulatorSettings {
    SimulatorSettings { faults: faulty(script).faults, ..sound(30) }
}

/// Exports the two days twice, the second time with bare answers on some calls; the lake is whole afterwards.
async fn refilled(which: &str) -> (Org, convlake::export::Report) {
    let org = Org::new(large(&on(which, r#""bare""#)), NOW);
    {
        let before = org.turned_into(sound(30));
        let report = before.export("cursor", FROM, TO).await;
        before.assert_complete(&report, FROM, TO);
    }
    let report = org.export("cursor", FROM, TO).await;
    org.assert_complete(&report, FROM, TO);
    (org, report)
}

/// The cursor is in both places unless it is said, so that a source that reads either one leads on.
#[tokio::test(start_paused = true)]
async fn the_cursor_stands_where_the_source_reads_it() {
    use CursorIn::{Body, Both, Query};
    for (sends, reads, ends) in [
        (None, Body, true),
        (None, Query, true),
        (Some(Both), Query, true),
        (Some(Body), Body, true),
        (Some(Query), Query, true),
        // What is not read leads nowhere, and never to fewer conversations.
        (Some(Body), Query, false),
        (Some(Query), Body, false),
    ] {
        let rules = Rules { cursor_in: reads, ..Rules::default() };
        let org = Org::new(SimulatorSettings { rules, ..sound(12) }, NOW);
        let mut ask = in_pages(&org, "cursor");
        ask.api.wanted.cursor_in = sends;
        let report = org.run(ask).await;
        if ends {
            org.assert_complete(&report, FROM, TO);
        } else {
            assert_eq!((report.totals.exit, ids(&org.lake())), (65, Ids::new()), "{:?}", report.errors);
        }
        let pages = org.sent().iter().filter(|sent| sent.path.contains("details/query")).count();
        let in_url = org.sent().iter().filter(|sent| sent.path.contains("?pageCursor=")).count();
        let in_body = org.sent().iter().filter(|sent| sent.body["pageCursor"].is_string()).count();
        let later = if ends { pages - 1 } else { in_url.max(in_body) };
        assert_eq!((in_url > 0, in_body > 0), (sends != Some(Body), sends != Some(Query)), "{sends:?}");
        assert!([0, later].contains(&in_url) && [0, later].contains(&in_body), "{sends:?}: {in_url} {in_body}");
    }
}

/// Conversations start at the very midnights of the simulated world.
#[tokio::test(start_paused = true)]
async fn an_end_is_sent_as_the_source_means_it_and_leaves_no_gap() {
    use RangeEnd::{Exclusive, Inclusive};
    for (protocol, key, sends, means, end) in [
        ("cursor", "endTime", None, Inclusive, "2025-01-03T00:00:00.000Z"),
        ("cursor", "endTime", None, Exclusive, "2025-01-03T00:00:00.000Z"),
        ("cursor", "endTime", Some(Inclusive), Inclusive, "2025-01-02T23:59:59.999Z"),
        ("page", "dateTo", Some(Inclusive), Inclusive, "2025-01-02T23:59:59.999Z"),
        ("page", "dateTo", Some(Exclusive), Exclusive, "2025-01-03T00:00:00.000Z"),
        ("page", "dateTo", Some(Exclusive), Inclusive, "2025-01-03T00:00:00.000Z"),
    ] {
        let rules = Rules { range_end: means, ..Rules::default() };
        let org = Org::new(SimulatorSettings { rules, ..sound(12) }, NOW);
        let mut ask = in_pages(&org, protocol);
        ask.api.wanted.end = sends;
        let report = org.run(ask).await;
        org.assert_complete(&report, FROM, TO);
        let sent = org.sent();
        let ends: Vec<_> = sent.iter().filter_map(|sent| sent.body[key].as_str()).collect();
        assert!(!ends.is_empty() && ends.iter().all(|sent| *sent == end), "{protocol}, {sends:?}: {ends:?}");
        assert_eq!(
            report.totals.out_of_window > 0,
            sends != Some(Inclusive) && means == Inclusive && end.contains("00:00")
        );
    }
}
