//! The page protocol's `pageCount`: too low, too high, growing, absent, and contradicted by what is on the pages.

use convlake::simulator::{Endpoint, SimulatorSettings};

use crate::common::org::{Org, ids};
use crate::{FROM, NOW, TO, faulty, in_pages, refuses, refuses_as, sound, survives};

/// A fault on the page protocol.
fn on(which: &str, action: &str) -> String {
    format!(r#"{{"endpoint": "page", {which}, "action": {action}}}"#)
}

/// Numbers of the pages that were asked for, in order.
fn numbers(org: &Org) -> Vec<u64> {
    org.sent().iter().filter_map(|sent| sent.body["pageNumber"].as_u64()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_count_of_zero_without_records_is_an_empty_window_for_one_call() {
    // Before the world began.
    let org = Org::new(sound(12), NOW);
    let report = org.export("page", "2019-11-01", "2019-12-01").await;
    org.assert_complete(&report, "2019-11-01", "2019-12-01");
    assert_eq!((report.totals.conversations, report.totals.calls), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_count_of_zero_with_records_keeps_them() {
    let (org, _) = survives("page", &on(r#""page": 1"#, r#"{"page_count": {"value": 0}}"#)).await;
    assert_eq!(numbers(&org), [1, 2, 3, 4, 5, 6, 7]);
    survives("page", &on(r#""after": 0"#, r#"{"page_count": {"value": 0}}"#)).await;
}

#[tokio::test(start_paused = true)]
async fn a_count_of_one_takes_one_call() {
    let org = Org::new(sound(12), NOW);
    let report = org.export("page", FROM, TO).await;
    org.assert_complete(&report, FROM, TO);
    assert_eq!(numbers(&org), [1]);
}

#[tokio::test(start_paused = true)]
async fn the_pages_behind_the_first_are_fetched_at_once() {
    let org = Org::new(sound(12), NOW);
    let report = org.run(in_pages(&org, "page")).await;
    org.assert_complete(&report, FROM, TO);
    let pages: Vec<_> = org.sent().into_iter().filter(|sent| sent.body["pageNumber"].is_u64()).collect();
    assert!(pages[1..7].iter().all(|page| page.at == pages[1].at), "one after another");
    assert!(pages[1].at >= pages[0].answered.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_count_that_grows_while_paging_is_followed() {
    let (org, _) = survives("page", &on(r#""page": 1"#, r#"{"page_count_off": {"by": -3}}"#)).await;
    assert!(numbers(&org).contains(&7));
    // One more with every page: the last is only known when the last but one is there.
    let script: Vec<_> = (1..7u64)
        .map(|page| on(&format!(r#""page": {page}"#), &format!(r#"{{"page_count": {{"value": {}}}}}"#, page + 1)))
        .collect();
    survives("page", &script.join(",")).await;
}

#[tokio::test(start_paused = true)]
async fn a_count_that_is_too_high_costs_a_few_calls_and_nothing_else() {
    for by in [1, 2, 1_000_000] {
        let off = format!(r#"{{"page_count_off": {{"by": {by}}}}}"#);
        let (org, _) = survives("page", &on(r#""after": 0"#, &off)).await;
        // Up to 16 at a time are under way when the first empty one is seen, and each is asked for twice; all of it is
        // done a second time, because pages are missing.
        assert!(numbers(&org).len() <= 2 * (7 + 2 * 16), "{by}: {:?}", numbers(&org));
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_that_is_too_low_on_every_page_loses_nothing_behind_full_pages() {
    for value in [1, 2, 6] {
        let low = format!(r#"{{"page_count": {{"value": {value}}}}}"#);
        let (org, _) = survives("page", &on(r#""after": 0"#, &low)).await;
        assert_eq!(numbers(&org).into_iter().max(), Some(7));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_last_page_costs_one_call_more() {
    let org = Org::new(sound(12), NOW);
    let mut ask = in_pages(&org, "page");
    // The two days and the first conversation of the next: the end is inclusive over there.
    ask.api.wanted.page_size = Some(25);
    let report = org.run(ask).await;
    org.assert_complete(&report, FROM, TO);
    assert_eq!((report.totals.out_of_window, numbers(&org)), (1, vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn answers_without_paging_are_followed_until_one_is_not_full() {
    let (org, _) = survives("page", &on(r#""after": 0"#, r#""no_paging""#)).await;
    assert_eq!(numbers(&org), [1, 2, 3, 4, 5, 6, 7]);
    survives("page", &on(r#""page": 1"#, r#""no_paging""#)).await;
    survives("page", &on(r#""page": 4"#, r#""no_paging""#)).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_page_without_the_records_that_it_counts_is_an_error_after_three_tries() {
    for action in [r#""no_records""#, r#""null_records""#, r#""empty_records""#] {
        survives("page", &on(r#""first": 2"#, action)).await;
        let (org, error) = refuses("page", &on(r#""after": 0"#, action), 65).await;
        assert_eq!(numbers(&org), [1, 1, 1], "{action}");
        assert!(error.message.contains("the first page is empty"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_page_that_is_empty_once_is_asked_for_again() {
    for action in [r#""no_records""#, r#""null_records""#, r#""empty_records""#, r#""bare""#] {
        for page in [3, 7] {
            let script = on(&format!(r#""page": {page}, "nth": 1"#), action);
            let (org, _) = survives("page", &script).await;
            assert_eq!(numbers(&org).iter().filter(|number| **number == page).count(), 2, "{action}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_page_that_stays_empty_while_others_follow_fails_the_slice() {
    let (_, error) = refuses("page", &on(r#""page": 3"#, r#""empty_records""#), 65).await;
    assert!(error.message.contains("page 3 is empty, and page"), "{error:?}");
    for action in [r#""no_records""#, r#""null_records""#, r#""bare""#] {
        let (_, error) = refuses("page", &on(r#""page": 3"#, action), 65).await;
        assert!(error.message.contains("page 3: there are no records"), "{action}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_another_page_is_not_taken() {
    // A cache that answers every request with page 1.
    let body = r#"{"entities": [], "paging": {"pageNumber": 1, "pageCount": 6}}"#;
    let wrong = format!(r#"{{"status": {{"code": 200, "body": {}}}}}"#, serde_json::Value::from(body));
    survives("page", &on(r#""page": 4, "first": 2"#, &wrong)).await;
    let (_, error) = refuses("page", &on(r#""page": 4"#, &wrong), 65).await;
    assert!(error.message.contains("asked for page 4"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn pages_that_come_half_empty_never_shrink_days_that_the_lake_holds() {
    let hidden = r#"{"endpoint": "page", "page": 1, "action": {"drop_every": {"nth": 2}}},
                    {"endpoint": "page", "action": "empty_records"}"#;
    // So many a day that what is missing is more than may vanish.
    let org = Org::new(SimulatorSettings { faults: faulty(hidden).faults, ..sound(30) }, NOW);
    let (org, error) = refuses_as(org, 65, |org| in_pages(org, "page")).await;
    assert!(error.message.contains("2025-01-0"), "{error:?}");
    assert_eq!(ids(&org.lake()), org.world(FROM, TO));
    assert!(org.simulator.counts().of(Endpoint::Page) > 2, "a second look was taken");
}
