//! The four protocols against a scripted API, in virtual time.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::testing::{Asked, Delivered, Reply, Scripted, api, fetch, records, settings, slice};
use crate::api::transport::Fault;
use crate::api::{ApiSettings, Fetched, Filters, Wanted};
use crate::error::{Kind, Result};
use crate::plan::Protocol;
use crate::plan::Protocol::{Cursor, Jobs, Page, Query};
use crate::time::parse_timestamp;

fn conversations(from: usize, count: usize) -> Value {
    json!({"conversations": records(from, count), "totalHits": 1})
}

/// The page number that a query or page request asks for.
fn number(asked: &Asked) -> u64 {
    let body = &asked.body;
    body["pageNumber"].as_u64().or_else(|| body["paging"]["pageNumber"].as_u64()).unwrap()
}

/// Whatever stands where a page should be.
mod answers {
    use super::super::QUERY_PATH;
    use super::*;
    use std::sync::Arc;

    /// Pages of 2 records in the sound source.
    const PAGES: usize = 3;

    /// The page that a request asks for, by the cursors of [`sound`].
    fn page_of(asked: &Asked) -> usize {
        let by_cursor = asked.body["pageCursor"].as_str().or_else(|| Some(asked.path.split_once("cursor=")?.1));
        match by_cursor {
            Some(cursor) => cursor.trim_start_matches("to-").parse().unwrap(),
            None if asked.body.get("pageNumber").or_else(|| asked.body.get("paging")).is_some() => {
                number(asked) as usize
            }
            None => 1,
        }
    }

    /// Page `n` of a sound source.
    fn sound(protocol: Protocol, n: usize) -> Value {
        let records = if n <= PAGES { records(2 * n, 2) } else { Vec::new() };
        let next = if n < PAGES { json!(format!("to-{}", n + 1)) } else { Value::Null };
        match protocol {
            Query if n > PAGES => json!({"totalHits": 2 * PAGES}),
            Query => json!({"conversations": records, "totalHits": 2 * PAGES}),
            Jobs if n == PAGES => json!({"conversations": records, "dataAvailabilityDate": "2025-06-14T00:00:00Z"}),
            Jobs => json!({"conversations": records, "cursor": next}),
            Cursor => json!({"entities": records, "nextPageCursor": next, "totalRecords": 2 * PAGES}),
            Page => json!({"entities": records, "paging": {"pageNumber": n, "pageSize": 2, "pageCount": PAGES}}),
        }
    }

    /// Fetches from a source that answers `form` of the page in place of page `at`, every time. Returns how often that
    /// page was asked for as well.
    async fn with(
        protocol: Protocol,
        at: usize,
        form: impl Fn(Value) -> Value + Send + 'static,
    ) -> (Result<Fetched>, Delivered, usize) {
        let scripted = Scripted::new(move |asked| match (asked.method.as_str(), asked.path.contains("/jobs")) {
            ("DELETE", _) => Reply::status(204, Value::Null),
            ("POST", true) => Reply::json(json!({"jobId": "j"})),
            (_, true) if !asked.path.contains("/results") => Reply::json(json!({"state": "FULFILLED"})),
            _ => {
                let n = page_of(asked);
                Reply::json(if n == at { form(sound(protocol, n)) } else { sound(protocol, n) })
            }
        });
        let settings = ApiSettings { wanted: Wanted { page_size: Some(2), ..Wanted::default() }, ..settings() };
        let (fetched, delivered) = fetch(&api(&scripted, settings), slice(protocol, 2)).await;
        let is_page = |asked: &Asked| {
            asked.method == "POST" && asked.path.split('?').next() == Some(QUERY_PATH)
                || asked.path.contains("/results")
        };
        let tries = scripted.asked().iter().filter(|asked| is_page(asked) && page_of(asked) == at).count();
        (fetched, delivered, tries)
    }

    fn key(protocol: Protocol) -> &'static str {
        if matches!(protocol, Query | Jobs) { "conversations" } else { "entities" }
    }

    type Form = (&'static str, Arc<dyn Fn(Value) -> Value + Send + Sync>);

    fn form(name: &'static str, form: impl Fn(Value) -> Value + Send + Sync + 'static) -> Form {
        (name, Arc::new(form))
    }

    fn without(mut page: Value, key: &str) -> Value {
        page.as_object_mut().unwrap().shift_remove(key);
        page
    }

    fn put(mut page: Value, key: &str, value: Value) -> Value {
        page[key] = value;
        page
    }

    /// What no source sends in place of a page, wherever.
    fn never(protocol: Protocol) -> Vec<Form> {
        let key = key(protocol);
        let cursor = if protocol == Cursor { "nextPageCursor" } else { "cursor" };
        let mut forms = vec![
            form("in an envelope", |page| json!({"result": page})),
            form("as data", |_| json!({"data": records(0, 2)})),
            form("as text", |page| json!({"body": page.to_string()})),
            form("a status", |_| json!({"status": "maintenance"})),
            form("a record", |_| json!({"conversationId": "c", "conversationStart": "2025-01-01T00:00:00Z"})),
            form("an object for the list", move |page| put(page, key, json!({}))),
            form("a text for the list", move |page| put(page, key, json!("none"))),
            form("absent beside a cursor", move |page| put(without(page, key), cursor, json!("to-3"))),
            form("null beside a cursor", move |page| put(put(page, key, Value::Null), cursor, json!("to-3"))),
            form("null beside the unknown", move |_| json!({key: null, "state": "degraded"})),
            form("absent beside the unknown", |_| json!({"totalHits": 0, "notice": "degraded"})),
            form("empty beside the unknown", move |_| json!({key: [], "notice": "degraded"})),
            form("an unreadable total", move |_| json!({key: [], "totalHits": "many", "totalRecords": []})),
            form(
                "another count",
                move |page| json!({key: null, "paging": {"pageCount": 7, "pageNumber": page["paging"]["pageNumber"]}}),
            ),
        ];
        if matches!(protocol, Jobs | Cursor) {
            for odd in [json!(true), json!({"at": "to-3"}), json!(["to-3"])] {
                forms.push(form("an odd cursor", move |page| put(page, cursor, odd.clone())));
            }
            forms.push(form("null", move |_| json!({key: null})));
            forms.push(form("absent beside a total", move |page| put(without(page, key), "totalRecords", json!(6))));
        }
        if matches!(protocol, Cursor | Page) {
            forms.push(form("bare", |_| json!({})));
            forms.push(form("null", move |page| put(page, key, Value::Null)));
            forms.push(form("absent", move |page| without(page, key)));
        }
        forms
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_neither_a_page_nor_a_known_end_is_asked_for_three_times_and_fails_the_slice() {
        for protocol in [Query, Jobs, Cursor, Page] {
            // Behind its last page with records a query still asks for one.
            let last = if protocol == Query { PAGES + 1 } else { PAGES };
            for at in 1..=last {
                let mut forms = never(protocol);
                if at == 1 && protocol == Query {
                    forms.extend([
                        form("empty", |page| put(page, "conversations", json!([]))),
                        form("absent", |page| without(page, "conversations")),
                        form("null", |page| put(page, "conversations", Value::Null)),
                    ]);
                }
                if at == 1 && protocol == Page {
                    forms.extend([
                        form("empty", |page| put(page, "entities", json!([]))),
                        form("empty and uncounted", |_| json!({"entities": [], "paging": {"pageNumber": 1}})),
                    ]);
                }
                for (name, form) in forms {
                    let form = Arc::clone(&form);
                    let (fetched, delivered, tries) = with(protocol, at, move |page| form(page)).await;
                    let place = format!("{protocol:?}, page {at}, {name}");
                    let error = fetched.expect_err(&place);
                    assert_eq!((error.kind(), tries), (Kind::Data, 3), "{place}: {error}");
                    let named = if name == "bare" { "; it has no keys" } else { "; its keys: `" };
                    assert!(error.to_string().contains(named), "{place}: {error}");
                    assert_eq!(delivered.refused.len(), 1, "{place}: {error}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_ends_that_are_known_are_taken() {
        let ends = [
            (
                Query,
                vec![
                    json!({}),
                    json!({"totalHits": 0}),
                    json!({"aggregations": [{}]}),
                    json!({"conversations": null}),
                    json!({"conversations": [], "totalHits": 0}),
                ],
            ),
            (
                Jobs,
                vec![
                    json!({}),
                    json!({"dataAvailabilityDate": "2025-06-14T00:00:00Z"}),
                    json!({"conversations": [], "cursor": null}),
                    json!({"conversations": [], "cursor": ""}),
                ],
            ),
            (
                Cursor,
                vec![
                    json!({"entities": []}),
                    json!({"entities": [], "nextPageCursor": null, "pageSize": 0}),
                    json!({"totalRecords": 0}),
                    json!({"entities": null, "totalRecords": 0}),
                ],
            ),
            (
                Page,
                vec![
                    json!({"entities": []}),
                    json!({"paging": {"pageCount": 0}}),
                    json!({"entities": null, "paging": {"pageCount": 0}}),
                    json!({"entities": [], "paging": {"pageCount": 0}}),
                ],
            ),
        ];
        for (protocol, ends) in ends {
            for end in ends {
                // The only page, and the last of several; the query's is behind those.
                for at in [1, if protocol == Query { PAGES + 1 } else { PAGES }] {
                    let page = end.clone();
                    let (fetched, delivered, tries) = with(protocol, at, move |_| page.clone()).await;
                    let want = if at == 1 { 0 } else { 2 * (at as u64 - 1) };
                    let found = fetched.map(|fetched| fetched.records);
                    // A page that was counted and is empty is looked at twice.
                    let twice = protocol == Page && at > 1;
                    assert_eq!(
                        (found.ok(), tries),
                        (Some(want), 1 + usize::from(twice)),
                        "{protocol:?}, page {at}: {end}"
                    );
                    assert!(delivered.refused.is_empty(), "{end}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_in_the_middle_of_numbered_pages_fails_the_slice() {
        for (protocol, end) in [
            (Query, json!({})),
            (Query, json!({"totalHits": 6})),
            (Page, json!({"entities": []})),
            (Page, json!({"paging": {"pageCount": 0}})),
        ] {
            let (fetched, ..) = with(protocol, 2, move |_| end.clone()).await;
            let error = fetched.unwrap_err();
            assert_eq!(error.kind(), Kind::Data);
            assert!(error.to_string().contains("page 2 is empty, and page 3 behind it is not"), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_list_beside_a_cursor_goes_on_and_not_for_ever() {
        for protocol in [Jobs, Cursor] {
            for at in [1, 2] {
                let (fetched, ..) = with(protocol, at, move |page| put(page, key(protocol), json!([]))).await;
                assert_eq!(fetched.unwrap().records, 4, "{protocol:?}, page {at}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_number_is_a_cursor() {
        for protocol in [Jobs, Cursor] {
            let cursor = if protocol == Cursor { "nextPageCursor" } else { "cursor" };
            let (fetched, ..) = with(protocol, 1, move |page| put(page, cursor, json!(2))).await;
            assert_eq!(fetched.unwrap().records, 6, "{protocol:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_behind_the_end_is_moot() {
        for protocol in [Query, Page] {
            for kind in 0..4 {
                // More are counted than there are: those behind are asked for ahead.
                let scripted = Scripted::new(move |asked| match (number(asked), protocol) {
                    (n @ 1..=2, Query) => {
                        Reply::json(json!({"conversations": records(2 * n as usize, 2), "totalHits": 12}))
                    }
                    (n @ 1..=2, _) => {
                        Reply::json(json!({"entities": records(2 * n as usize, 2), "paging": {"pageCount": 6}}))
                    }
                    (3, Query) => Reply::json(json!({"totalHits": 12})).after(Duration::from_secs(9)),
                    (3, _) => {
                        Reply::json(json!({"entities": [], "paging": {"pageCount": 6}})).after(Duration::from_secs(9))
                    }
                    _ => match kind {
                        0 => Reply::status(400, json!({"message": "no such page"})),
                        1 => Reply::status(500, Value::Null),
                        2 => Reply::json(json!({"status": "maintenance"})),
                        _ => Reply::fault(Fault::Body),
                    },
                });
                let settings = ApiSettings { wanted: Wanted { page_size: Some(2), ..Wanted::default() }, ..settings() };
                let (fetched, delivered) = fetch(&api(&scripted, settings), slice(protocol, 2)).await;
                let fetched = fetched.unwrap_or_else(|error| panic!("{protocol:?}, {kind}: {error}"));
                assert_eq!((fetched.records, delivered.restarts), (4, 0), "{protocol:?}, {kind}");
                assert!(fetched.missing > 0 && delivered.refused.is_empty(), "{protocol:?}, {kind}: {fetched:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_before_the_end_fails_the_slice() {
        for protocol in [Query, Page] {
            for at in 1..=PAGES {
                let (fetched, ..) = with(protocol, at, |_| json!({"message": "no", "status": 400})).await;
                assert!(fetched.unwrap_err().to_string().contains(&format!("page {at}: ")), "{protocol:?}");
            }
        }
    }
}

/// What was told against what was read.
mod totals {
    use super::*;

    /// A query of pages of 2: as many records as `sizes` say, and this total on each.
    async fn query(sizes: &'static [usize], total: u64) -> (Result<Fetched>, Vec<u64>) {
        let scripted = Scripted::new(move |asked| {
            let n = number(asked) as usize;
            let records = records(2 * n, sizes.get(n - 1).copied().unwrap_or(0));
            Reply::json(if records.is_empty() {
                json!({})
            } else {
                json!({"conversations": records, "totalHits": total})
            })
        });
        let settings = ApiSettings { wanted: Wanted { page_size: Some(2), ..Wanted::default() }, ..settings() };
        let fetched = fetch(&api(&scripted, settings), slice(Query, 2)).await.0;
        (fetched, scripted.asked().iter().map(number).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_told_and_what_is_read_are_compared() {
        for (total, told, missing, surplus) in [(4, 4, 0, 0), (5, 5, 1, 0), (3, 3, 0, 1), (0, 0, 0, 4)] {
            let fetched = query(&[2, 2], total).await.0.unwrap();
            assert_eq!((fetched.records, fetched.told), (4, Some(told)));
            assert_eq!((fetched.missing, fetched.surplus), (missing, surplus), "{total}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_whole_page_is_missing_the_end_is_looked_at_again() {
        let mut numbers = query(&[2, 2], 5).await.1;
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4], "less than a page");
        let (fetched, mut numbers) = query(&[2, 2], 6).await;
        numbers.sort_unstable();
        assert_eq!((fetched.unwrap().missing, numbers), (2, vec![1, 2, 3, 3, 4, 4]));
    }

    #[tokio::test(start_paused = true)]
    async fn records_behind_the_end_begin_the_slice_anew_and_fail_it_when_they_stay() {
        for behind in [3, 4] {
            // Page 3 is empty when it is asked for first; later there is something.
            let mut looks = HashMap::new();
            let scripted = Scripted::new(move |asked| {
                let n = number(asked);
                let look = looks.entry(n).and_modify(|look| *look += 1).or_insert(1);
                let empty = n > 2 && !(n == behind && *look % 2 == 0);
                let found = records(2 * n as usize, 2);
                Reply::json(if empty { json!({}) } else { json!({"conversations": found, "totalHits": 6}) })
            });
            let settings = ApiSettings { wanted: Wanted { page_size: Some(2), ..Wanted::default() }, ..settings() };
            let (fetched, delivered) = fetch(&api(&scripted, settings), slice(Query, 2)).await;
            let error = fetched.unwrap_err();
            assert_eq!((error.kind(), delivered.restarts), (Kind::Data, 3), "{error}");
            let why = if behind == 3 {
                "page 3 was empty, and has records now"
            } else {
                "page 3 is empty, and page 4 behind it is not"
            };
            assert!(error.to_string().contains(why), "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_of_pages_bounds_the_records() {
        for (sizes, count, told, missing, surplus) in [
            (&[2, 2, 1][..], 3, 5, 0, 0),
            (&[2, 2][..], 4, 6, 2, 0),
            (&[2, 2, 1][..], 1, 2, 0, 3),
            (&[1][..], 1, 1, 0, 0),
        ] {
            let scripted = Scripted::new(move |asked| {
                let n = number(asked) as usize;
                let records = records(2 * n, sizes.get(n - 1).copied().unwrap_or(0));
                Reply::json(json!({"entities": records, "paging": {"pageCount": count}}))
            });
            let settings = ApiSettings { wanted: Wanted { page_size: Some(2), ..Wanted::default() }, ..settings() };
            let fetched = fetch(&api(&scripted, settings), slice(Page, 2)).await.0.unwrap();
            assert_eq!(
                (fetched.told, fetched.missing, fetched.surplus),
                (Some(told), missing, surplus),
                "{sizes:?} of {count}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_chain_that_is_told_nothing_lacks_nothing() {
        let scripted = Scripted::in_turn(vec![Reply::json(json!({"entities": records(0, 3)}))]);
        let fetched = fetch(&api(&scripted, settings()), slice(Cursor, 2)).await.0.unwrap();
        assert_eq!((fetched.told, fetched.missing, fetched.surplus), (None, 0, 0));
    }
}

mod query {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pages_until_one_is_empty() {
        let scripted = Scripted::in_turn(vec![
            Reply::json(conversations(0, 100)).header("date", "Sun, 15 Jun 2025 12:34:56 GMT"),
            Reply::json(conversations(100, 7)),
            Reply::json(json!({"totalHits": 3})),
        ]);
        let filters = Filters { queues: vec!["q".to_owned()], ..Filters::default() };
        let (fetched, delivered) = fetch(
            &api(&scripted, ApiSettings { wanted: Wanted { filters, ..Wanted::default() }, ..settings() }),
            slice(Query, 7),
        )
        .await;
        let fetched = fetched.unwrap();
        assert_eq!((fetched.pages, fetched.records, fetched.hits, fetched.chains), (2, 107, Some(1), 1));
        assert_eq!(fetched.observed_at, parse_timestamp("2025-06-15T12:34:56Z").unwrap());
        assert_eq!(delivered.pages, [(0, 1, 100), (0, 2, 7)]);
        let asked = scripted.asked();
        assert_eq!(asked[0].path, "/api/v2/analytics/conversations/details/query");
        assert_eq!(
            asked[1].body,
            json!({
                "interval": "2025-01-01T00:00:00.000Z/2025-01-08T00:00:00.000Z", "order": "asc", "orderBy": "conversationStart",
                "paging": {"pageSize": 100, "pageNumber": 2},
                "segmentFilters": [{"type": "or", "predicates":
                    [{"type": "dimension", "dimension": "queueId", "operator": "matches", "value": "q"}]}],
            })
        );
        assert_eq!(asked[0].authorization, "Bearer t1");
    }

    #[tokio::test(start_paused = true)]
    async fn an_interval_that_is_too_long_is_cut_as_the_refusal_says() {
        let scripted = Scripted::new(|asked| {
            let interval = asked.body["interval"].as_str().unwrap();
            let days: Vec<u32> = interval.split('/').map(|t| t[8..10].parse().unwrap()).collect();
            match (days[1] - days[0] > 2, number(asked)) {
                (true, _) => Reply::status(400, json!({"message": "a search interval that does not exceed 2 days"})),
                (_, 1) => Reply::json(conversations(days[0] as usize, 1)),
                _ => Reply::json(json!({})),
            }
        });
        let api = api(&scripted, settings());
        let (fetched, delivered) = fetch(&api, slice(Query, 7)).await;
        assert_eq!(fetched.unwrap().chains, 4);
        assert_eq!(delivered.ids, ["c1", "c3", "c5", "c7"]);
        assert_eq!(delivered.pages.iter().map(|p| p.0).collect::<Vec<_>>(), [0, 1, 2, 3]);
        // The limit is remembered: the next slice is cut before it is asked for.
        let before = scripted.asked().len();
        fetch(&api, slice(Query, 4)).await.0.unwrap();
        assert_eq!(scripted.asked().len() - before, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_results_are_split_ahead_and_when_the_api_says_so() {
        // Ahead: the total is beyond what can be paged.
        let scripted = Scripted::new(|asked| {
            let whole = asked.body["interval"] == "2025-01-01T00:00:00.000Z/2025-01-03T00:00:00.000Z";
            match number(asked) {
                1 => Reply::json(json!({"conversations": records(0, 1), "totalHits": if whole { 100_001 } else { 9 }})),
                _ => Reply::json(json!({})),
            }
        });
        let (fetched, _) = fetch(&api(&scripted, settings()), slice(Query, 2)).await;
        assert_eq!((fetched.unwrap().chains, scripted.asked().len()), (2, 5));
        // Afterwards: the total lied, and delivered pages are taken back.
        let scripted = Scripted::new(|asked| {
            let whole = asked.body["interval"] == "2025-01-01T00:00:00.000Z/2025-01-03T00:00:00.000Z";
            match number(asked) {
                3 if whole => Reply::status(
                    400,
                    json!({"message": "Pagination may not exceed 200 results. Tip: smaller intervals"}),
                ),
                1 => Reply::json(conversations(0, if whole { 100 } else { 60 })),
                2 if whole => Reply::json(conversations(100, 100)),
                _ => Reply::json(json!({})),
            }
        });
        let api = api(&scripted, settings());
        let (fetched, delivered) = fetch(&api, slice(Query, 2)).await;
        assert_eq!((fetched.unwrap().records, delivered.restarts), (120, 1));
        assert_eq!(delivered.pages, [(0, 1, 60), (1, 1, 60)]);
        // The limit is remembered: a third full page is not asked for again.
        let before = scripted.asked().len();
        fetch(&api, slice(Query, 2)).await.0.unwrap();
        assert_eq!(scripted.asked().len() - before, 2 + 4);
    }

    #[tokio::test(start_paused = true)]
    async fn below_a_minute_nothing_is_split_and_nothing_is_dropped_silently() {
        let scripted =
            Scripted::new(|_| Reply::status(400, json!({"message": "Pagination may not exceed 100000 results."})));
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Query, 1)).await;
        let error = fetched.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("cannot split below 1 minute"), "{error}");
        assert!(
            error.to_string().starts_with("window 4, slice 2025-01-01T00:00:00.000Z/2025-01-02T00:00:00.000Z: "),
            "{error}"
        );
        assert!(delivered.ids.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn no_page_beyond_the_limit_is_ever_asked_for() {
        let scripted = Scripted::new(|asked| {
            assert!(number(asked) <= 1000);
            Reply::json(conversations(0, 100))
        });
        let mut one_minute = slice(Query, 1);
        one_minute.interval = crate::time::Interval::new(
            one_minute.interval.from(),
            one_minute.interval.from() + chrono::TimeDelta::seconds(90),
        )
        .unwrap();
        let (fetched, _) =
            fetch(&api(&scripted, ApiSettings { rate_limit: Some(100_000), ..settings() }), one_minute).await;
        assert!(fetched.unwrap_err().to_string().contains("cannot split"));
        assert_eq!(scripted.asked().len(), 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn two_slow_answers_halve_the_page_and_one_does_not() {
        let mut asked_before = 0;
        let scripted = Scripted::new(move |asked| {
            asked_before += 1;
            match asked_before {
                1 | 3 | 4 => Reply::status(504, Value::Null),
                n => {
                    assert_eq!(asked.body["paging"]["pageSize"], if n == 2 { 100 } else { 50 });
                    Reply::json(if number(asked) == 1 { conversations(0, 50) } else { json!({}) })
                }
            }
        });
        let api = api(&scripted, settings());
        assert_eq!(fetch(&api, slice(Query, 7)).await.0.unwrap().records, 50);
        // The size is remembered: the next slice begins with it.
        assert_eq!(fetch(&api, slice(Query, 7)).await.0.unwrap().records, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_slow_for_another_reason_is_not_asked_for_one_by_one() {
        let scripted = Scripted::new(|_| Reply::fault(Fault::Timeout));
        assert_eq!(fetch(&api(&scripted, settings()), slice(Query, 7)).await.0.unwrap_err().kind(), Kind::Unavailable);
        let size = |asked: &Asked| asked.body["paging"]["pageSize"].as_u64().unwrap();
        assert_eq!(scripted.asked().iter().map(size).min(), Some(6));
    }

    #[tokio::test(start_paused = true)]
    async fn pages_behind_the_first_are_asked_for_at_the_same_time_and_the_end_is_an_empty_one() {
        let scripted = Scripted::new(|asked| match number(asked) {
            n @ 1..=5 => Reply::json(json!({"conversations": records(n as usize * 100, 100), "totalHits": 500}))
                .after(Duration::from_millis(700 - 100 * n)),
            _ => Reply::json(json!({"totalHits": 500})),
        });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Query, 7)).await;
        assert_eq!((fetched.unwrap().records, delivered.ids.len()), (500, 500));
        let asked = scripted.asked();
        assert_eq!(asked.iter().map(number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        assert!(asked[1..].iter().all(|asked| asked.at == scripted.asked()[1].at));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_is_empty_before_one_that_is_not_begins_the_slice_anew() {
        let mut looks = 0;
        let scripted = Scripted::new(move |asked| {
            looks += u32::from(number(asked) == 2);
            match number(asked) {
                2 if looks == 1 => Reply::json(json!({"totalHits": 300})),
                n @ 1..=3 => Reply::json(json!({"conversations": records(n as usize * 100, 100), "totalHits": 300})),
                _ => Reply::json(json!({})),
            }
        });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Query, 7)).await;
        assert_eq!((fetched.unwrap().records, delivered.ids.len(), delivered.restarts), (300, 300, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slice_that_has_not_begun_takes_no_call() {
        let scripted = Scripted::in_turn(vec![]);
        let mut future = slice(Query, 1);
        let from = parse_timestamp("2025-06-16T00:00:00Z").unwrap();
        future.interval = crate::time::Interval::new(from, from + chrono::TimeDelta::days(1)).unwrap();
        let (fetched, delivered) = fetch(&api(&scripted, settings()), future).await;
        assert_eq!((fetched.unwrap().chains, delivered.pages.len()), (0, 0));
        assert_eq!(api(&scripted, settings()).probe(&future).await.unwrap().records, 0);
    }

    /// Pages 10 of the conversations that began in the interval, refuses intervals and depths beyond its limits
    /// and gives totals that are off.
    fn limited(minutes: Vec<i64>, days_max: i64, results_max: u64, total_percent: usize) -> std::sync::Arc<Scripted> {
        Scripted::new(move |asked| {
            let ends: Vec<_> =
                asked.body["interval"].as_str().unwrap().split('/').map(|t| parse_timestamp(t).unwrap()).collect();
            if ends[1] - ends[0] > chrono::TimeDelta::days(days_max) {
                let message = format!("the interval may not exceed {days_max} days");
                return Reply::status(400, json!({"message": message}));
            }
            if number(asked) * 10 > results_max {
                let message = format!("Pagination may not exceed {results_max} results.");
                return Reply::status(400, json!({"message": message}));
            }
            let epoch = slice(Query, 1).interval.from();
            let began = |minute: &i64| epoch + chrono::TimeDelta::minutes(*minute);
            let inside = minutes.iter().enumerate().filter(|(_, m)| (ends[0]..ends[1]).contains(&began(m)));
            let total = inside.clone().count() * total_percent / 100;
            let page = inside.skip((number(asked) as usize - 1) * 10).take(10);
            let records: Vec<_> = page.map(|(n, _)| json!({"conversationId": format!("c{n}")})).collect();
            Reply::json(json!({"conversations": records, "totalHits": total}))
        })
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

        #[test]
        fn whatever_the_limits_every_conversation_is_delivered_once_and_in_order(
            mut minutes in proptest::collection::vec(0i64..5 * 24 * 60, 0..120),
            days_max in 1i64..7,
            results_max in 20u64..80,
            total_percent in 0usize..200,
        ) {
            minutes.sort_unstable();
            minutes.dedup();
            let expected: Vec<_> = (0..minutes.len()).map(|n| format!("c{n}")).collect();
            let scripted = limited(minutes, days_max, results_max, total_percent);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let settings = ApiSettings { wanted: Wanted { page_size: Some(10), ..Wanted::default() }, rate_limit: Some(1_000_000), ..settings() };
            let run = async { fetch(&api(&scripted, settings), slice(Query, 5)).await };
            let (fetched, delivered) = runtime.block_on(run);
            proptest::prop_assert!(fetched.is_ok(), "{:?}", fetched);
            proptest::prop_assert_eq!(delivered.ids, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_future_is_not_asked_for() {
        let scripted = Scripted::in_turn(vec![Reply::json(json!({}))]);
        let mut now = slice(Query, 1);
        let from = parse_timestamp("2025-06-15T00:00:00Z").unwrap();
        now.interval = crate::time::Interval::new(from, from + chrono::TimeDelta::days(7)).unwrap();
        fetch(&api(&scripted, settings()), now).await.0.unwrap();
        assert_eq!(scripted.asked()[0].body["interval"], "2025-06-15T00:00:00.000Z/2025-06-15T12:00:00.000Z");
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_refused_whole_and_handed_over() {
        let scripted = Scripted::new(|_| Reply::raw(200, r#"{"conversations":"hunter2","totalHits":1}"#));
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Query, 1)).await;
        let error = fetched.unwrap_err();
        assert_eq!((error.kind(), scripted.asked().len()), (Kind::Data, 3));
        assert_eq!(
            delivered.refused,
            ["page 1: the answer is not a page of conversations; its keys: `conversations`, `totalHits`"]
        );
        assert!(!error.to_string().contains("hunter2"));
    }

    #[tokio::test(start_paused = true)]
    async fn broken_bodies_and_error_objects_are_asked_again() {
        let scripted = Scripted::in_turn(vec![
            Reply::raw(200, r#"{"conversations":[{"conversationId":"#),
            Reply::raw(200, ""),
            Reply::json(json!({"conversations": records(0, 1)})),
            Reply::json(json!({"message": "busy", "code": "too.many.requests", "status": 429})),
            Reply::json(json!({"message": "oh", "code": "internal.server.error"})),
            Reply::json(json!({})),
        ]);
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Query, 1)).await;
        assert_eq!((fetched.unwrap().records, delivered.restarts), (1, 0));
        assert!(scripted.waits()[3] >= 5.0);
    }
}

mod large {
    use super::*;

    /// Bytes that fit into an answer.
    const FIT: usize = 100;

    /// A source with records of these sizes, whose answers are too large when they do not fit.
    fn of_sizes(protocol: Protocol, sizes: Vec<usize>) -> std::sync::Arc<Scripted> {
        Scripted::new(move |asked| {
            let size =
                asked.body["size"].as_u64().or_else(|| asked.body["paging"]["pageSize"].as_u64()).unwrap() as usize;
            let number = number(asked) as usize;
            let first = (number - 1) * size;
            let page = sizes.iter().enumerate().skip(first).take(size);
            let records = records(first, page.clone().count());
            if page.map(|(_, bytes)| *bytes).sum::<usize>() > FIT {
                let head = json!({"conversations": records}).to_string();
                return Reply::too_large(head[..head.len() - 2].to_owned());
            }
            let count = sizes.len().div_ceil(size);
            Reply::json(match protocol {
                Query => json!({"conversations": records, "totalHits": sizes.len()}),
                _ => json!({"entities": records, "paging": {"pageNumber": number, "pageCount": count}}),
            })
        })
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn every_record_that_fits_arrives_once_and_every_other_is_named(
            sizes in proptest::collection::vec(proptest::prop_oneof![8 => 1usize..20, 1 => 90usize..130], 0..120),
            page_size in 1u32..70,
            by_query: bool,
        ) {
            let protocol = if by_query { Query } else { Page };
            let named = |fits: bool| -> Vec<String> {
                sizes.iter().enumerate().filter(|(_, size)| (**size <= FIT) == fits).map(|(n, _)| format!("c{n}")).collect()
            };
            let (mut fit, other) = (named(true), named(false));
            fit.sort();
            let scripted = of_sizes(protocol, sizes.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let settings = ApiSettings { wanted: Wanted { page_size: Some(page_size), ..Wanted::default() }, rate_limit: Some(1_000_000), ..settings() };
            let run = async { fetch(&api(&scripted, settings), slice(protocol, 5)).await };
            let (fetched, mut delivered) = runtime.block_on(run);
            proptest::prop_assert!(fetched.is_ok(), "{:?}", fetched);
            delivered.ids.sort();
            proptest::prop_assert_eq!(delivered.ids, fit);
            proptest::prop_assert_eq!(delivered.set_aside, other.into_iter().map(Some).collect::<Vec<_>>());
            proptest::prop_assert_eq!(delivered.restarts, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_page_that_is_too_large_is_asked_for_in_parts() {
        let mut sizes = vec![1; 300];
        sizes[142] = FIT;
        let scripted = of_sizes(Query, sizes);
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Query, 7)).await;
        assert_eq!((fetched.unwrap().records, delivered.ids.len()), (300, 300));
        // 4 pages; the second in halves, the second of which in halves, and so on down to the record.
        assert_eq!(scripted.asked().len(), 4 + 2 + 2 + 5 + 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_answer_that_is_heard_tells_when_it_was() {
        let wanted = Wanted { page_size: Some(1), ..Wanted::default() };
        let scripted = of_sizes(Query, vec![FIT + 1, 1]);
        let api = api(&scripted, ApiSettings { wanted, ..settings() });
        let (fetched, delivered) = fetch(&api, slice(Query, 5)).await;
        assert_eq!((fetched.unwrap().hits, delivered.pages), (Some(2), vec![(0, 2, 1)]));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_large_without_a_beginning_is_named_by_its_place() {
        let scripted =
            Scripted::new(|asked| match (asked.body["paging"]["pageSize"].as_u64().unwrap(), number(asked)) {
                (100, 1) | (50, 1) | (25, 2) | (5, 6) | (1, 27) => Reply::status(413, Value::Null),
                (100, _) => Reply::json(json!({})),
                (size, _) => Reply::json(json!({"conversations": records(0, size as usize), "totalHits": 100})),
            });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Query, 7)).await;
        assert_eq!((fetched.unwrap().records, delivered.set_aside), (100, vec![None]));
    }
}

mod cursor {
    use super::*;

    /// Answers by the request's cursor (empty: none): count of records and the next cursor.
    fn by_cursor(pages: &[(&'static str, usize, &'static str)]) -> std::sync::Arc<Scripted> {
        let pages: HashMap<_, _> = pages.iter().map(|(at, count, next)| (*at, (*count, *next))).collect();
        Scripted::new(move |asked| {
            let (count, next) = pages[asked.body["pageCursor"].as_str().unwrap_or_default()];
            let next = if next.is_empty() { Value::Null } else { json!(next) };
            Reply::json(
                json!({"entities": records(0, count), "nextPageCursor": next, "totalRecords": 1, "pageSize": count}),
            )
        })
    }

    #[tokio::test(start_paused = true)]
    async fn follows_cursors_through_empty_pages_to_the_end() {
        let scripted = by_cursor(&[("", 2, "a"), ("a", 0, "b"), ("b", 1, "")]);
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Cursor, 30)).await;
        assert_eq!((fetched.unwrap().records, delivered.pages), (3, vec![(0, 1, 2), (0, 3, 1)]));
        let asked = scripted.asked();
        let mut first = json!({
            "startTime": "2025-01-01T00:00:00.000Z", "endTime": "2025-01-31T00:00:00.000Z", "granularity": "day",
            "metrics": ["handleDuration", "talkDuration", "waitDuration", "holdDuration", "wrapupDuration"],
        });
        assert_eq!(asked[0].body, first);
        first["pageCursor"] = "b".into();
        assert_eq!(asked[2].body, first);
    }

    #[tokio::test(start_paused = true)]
    async fn a_cursor_seen_before_is_asked_again_once() {
        let mut answers = 0;
        let scripted = Scripted::new(move |_| {
            answers += 1;
            let next = match answers {
                1 | 2 => json!("a"),
                _ => Value::Null,
            };
            Reply::json(json!({"entities": records(answers, 1), "nextPageCursor": next}))
        });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Cursor, 30)).await;
        assert_eq!((fetched.unwrap().records, delivered.restarts), (2, 0));
        assert_eq!(delivered.ids, ["c1", "c3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_circle_of_cursors_ends_after_three_restarts() {
        let scripted = by_cursor(&[("", 1, "a"), ("a", 1, "b"), ("b", 1, "a")]);
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Cursor, 30)).await;
        let error = fetched.unwrap_err();
        assert_eq!((error.kind(), delivered.restarts), (Kind::Data, 3));
        assert_eq!(scripted.asked().len(), 4 * 4);
        assert!(error.to_string().contains("page 3: "), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_cursor_restarts_the_slice() {
        for status in [400, 404, 410] {
            let mut died = false;
            let scripted = Scripted::new(move |asked| match asked.body["pageCursor"].as_str() {
                None => Reply::json(json!({"entities": records(0, 1), "nextPageCursor": "a"})),
                Some(_) if std::mem::replace(&mut died, true) => Reply::json(json!({"entities": records(1, 1)})),
                Some(_) => Reply::status(status, json!({"message": "cursor expired", "code": "bad.request"})),
            });
            let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Cursor, 30)).await;
            assert_eq!((fetched.unwrap().records, delivered.restarts, delivered.ids.len()), (2, 1, 2));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_row_of_empty_pages_ends() {
        let mut n = 0;
        let scripted = Scripted::new(move |_| {
            n += 1;
            Reply::json(json!({"entities": [], "nextPageCursor": format!("c{n}")}))
        });
        assert_eq!(fetch(&api(&scripted, settings()), slice(Cursor, 30)).await.0.unwrap_err().kind(), Kind::Data);
    }
}

mod page {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    fn answer(count: usize, page_count: u64) -> Reply {
        Reply::json(json!({"entities": records(0, count), "paging": {"pageSize": count, "pageCount": page_count}}))
    }

    #[tokio::test(start_paused = true)]
    async fn the_pages_behind_the_first_are_asked_for_at_once() {
        let scripted = Scripted::new(|asked| {
            let n = number(asked);
            let entities = records(n as usize * 10, 2);
            let paging = json!({"pageNumber": n, "pageSize": 2, "pageCount": 5});
            Reply::json(json!({"entities": entities, "paging": paging})).after(Duration::from_millis(900 - 100 * n))
        });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Page, 30)).await;
        assert_eq!((fetched.unwrap().records, delivered.pages.len()), (10, 5));
        assert_eq!(delivered.ids[..3], ["c10", "c11", "c20"]);
        assert_eq!(scripted.waits()[1..], [0.0, 0.0, 0.0]);
        assert_eq!(
            scripted.asked()[0].body,
            json!({
                "dateFrom": "2025-01-01T00:00:00.000Z", "dateTo": "2025-01-31T00:00:00.000Z", "size": 1000, "pageNumber": 1,
                "groupBy": ["queueId"], "metrics": ["offerRate", "offerAnswerRate", "talkRate"],
            })
        );
    }

    #[tokio::test(start_paused = true)]
    async fn counts_of_nothing_and_one_take_one_call() {
        for (reply, expected) in [
            (answer(0, 0), 0),
            (answer(3, 0), 3),
            (answer(3, 1), 3),
            (Reply::json(json!({"entities": records(0, 4)})), 4),
            (Reply::json(json!({"entities": []})), 0),
            (Reply::json(json!({"paging": {"pageCount": 0}})), 0),
        ] {
            let scripted = Scripted::in_turn(vec![reply]);
            let (fetched, _) = fetch(&api(&scripted, settings()), slice(Page, 30)).await;
            assert_eq!(fetched.unwrap().records, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_page_without_the_counted_records_fails_after_three_tries() {
        let scripted = Scripted::new(|_| answer(0, 4));
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Page, 30)).await;
        assert_eq!((fetched.unwrap_err().kind(), scripted.asked().len()), (Kind::Data, 3));
        assert_eq!(delivered.refused.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_largest_count_seen_counts() {
        let scripted = Scripted::new(|asked| match number(asked) {
            1 => answer(1, 2),
            2 => answer(1, 4),
            3 | 4 => answer(1, 3),
            n => panic!("page {n}"),
        });
        let (fetched, _) = fetch(&api(&scripted, settings()), slice(Page, 30)).await;
        assert_eq!(fetched.unwrap().records, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_empty_page_is_the_end_only_if_nothing_follows() {
        // A hole of a moment: filled when asked once more.
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let scripted = Scripted::new(move |asked| match number(asked) {
            2 if counted.fetch_add(1, SeqCst) == 0 => answer(0, 3),
            _ => answer(1, 3),
        });
        assert_eq!(fetch(&api(&scripted, settings()), slice(Page, 30)).await.0.unwrap().records, 3);
        assert_eq!(looks.load(SeqCst), 2);
        // The end, although more were counted; few calls are wasted on what is not there.
        let scripted = Scripted::new(|asked| answer(usize::from(number(asked) < 3), 1_000_000));
        assert_eq!(fetch(&api(&scripted, settings()), slice(Page, 30)).await.0.unwrap().records, 2);
        assert!(scripted.asked().len() <= 2 + 2 * 16, "{}", scripted.asked().len());
        // A hole that stays.
        let scripted = Scripted::new(|asked| answer(usize::from(number(asked) != 3), 4));
        let error = fetch(&api(&scripted, settings()), slice(Page, 30)).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().contains("page 3 is empty"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_to_another_request_is_not_taken() {
        let scripted = Scripted::in_turn(vec![
            Reply::json(json!({"entities": records(5, 1), "paging": {"pageNumber": 9, "pageCount": 1}})),
            answer(1, 1),
        ]);
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Page, 30)).await;
        assert_eq!((fetched.unwrap().records, delivered.ids), (1, vec!["c0".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_count_full_pages_go_on() {
        let scripted = Scripted::new(|asked| {
            let n = number(asked) as usize;
            Reply::json(json!({"entities": records(n * 10, if n < 3 { 2 } else { 1 })}))
        });
        let settings = ApiSettings { wanted: Wanted { page_size: Some(2), ..Wanted::default() }, ..settings() };
        assert_eq!(fetch(&api(&scripted, settings), slice(Page, 30)).await.0.unwrap().records, 5);
        assert_eq!(scripted.asked()[0].body["size"], 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_size_that_the_api_refuses_is_learnt() {
        let scripted = Scripted::new(|asked| match asked.body["size"].as_u64().unwrap() {
            501.. => Reply::status(400, json!({"message": "size must be between 1 and 500"})),
            _ => answer(1, 1),
        });
        assert_eq!(fetch(&api(&scripted, settings()), slice(Page, 30)).await.0.unwrap().records, 1);
        assert_eq!(scripted.asked()[1].body["size"], 500);
    }
}

mod jobs {
    use super::*;
    use std::sync::Arc;

    const JOBS: &str = "/api/v2/analytics/conversations/details/jobs";

    /// A source whose jobs run through `states`, one a look, and whose results `results` answers.
    fn source(
        states: &'static [&'static str],
        mut results: impl FnMut(&Asked) -> Reply + Send + 'static,
    ) -> Arc<Scripted> {
        let (mut looks, mut jobs) = (0, 0);
        Scripted::new(move |asked| {
            if asked.method == "DELETE" {
                return Reply::status(204, Value::Null);
            }
            if asked.path == JOBS {
                jobs += 1;
                return Reply::status(202, json!({"jobId": format!("j{jobs}")}));
            }
            if asked.path.contains("/results") {
                return results(asked);
            }
            looks += 1;
            Reply::json(json!({"state": states[(looks - 1) % states.len()], "errorMessage": "too\nbig"}))
        })
    }

    #[tokio::test(start_paused = true)]
    async fn submits_waits_and_reads_by_cursor() {
        let scripted = source(&["QUEUED", "PENDING", "ARCHIVED", "FULFILLED"], |asked| {
            if asked.path.ends_with("?pageSize=1000") {
                let page = json!({"conversations": records(0, 2), "cursor": "a+/=", "dataAvailabilityDate": "2025-06-14T00:00:00Z"});
                return Reply::json(page);
            }
            assert!(asked.path.ends_with("?pageSize=1000&cursor=a%2B%2F%3D"), "{}", asked.path);
            Reply::json(json!({"conversations": records(2, 1), "dataAvailabilityDate": "2025-06-13T00:00:00Z"}))
        });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Jobs, 7)).await;
        let fetched = fetched.unwrap();
        assert_eq!((fetched.records, fetched.hits, delivered.ids.len()), (3, None, 3));
        assert_eq!(fetched.availability, parse_timestamp("2025-06-13T00:00:00Z"));
        let asked = scripted.asked();
        assert_eq!(
            asked[0].body,
            json!({
                "interval": "2025-01-01T00:00:00.000Z/2025-01-08T00:00:00.000Z", "order": "asc", "orderBy": "conversationStart",
                "startOfDayIntervalMatching": true,
            })
        );
        assert_eq!(scripted.waits()[..4], [1.0, 2.0, 4.0, 8.0]);
        assert_eq!(
            (asked.last().unwrap().method.as_str(), asked.last().unwrap().path.as_str()),
            ("DELETE", &*format!("{JOBS}/j1"))
        );
    }

    /// A job of 100 records, of which the 31st fits into no answer; `said`: whether such an answer says how to go on.
    async fn with_a_large_record(said: bool) -> (Result<Fetched>, Delivered, Vec<u32>) {
        let scripted = source(&["FULFILLED"], move |asked| {
            let number = |key| Some(asked.path.split_once(key)?.1.split('&').next()?.parse::<usize>().unwrap());
            let first = number("cursor=").unwrap_or(0);
            let end = 100.min(first + number("pageSize=").unwrap());
            let mut page = json!({"conversations": records(first, end - first)});
            if end < 100 {
                page["cursor"] = end.to_string().into();
            }
            if !(first..end).contains(&30) {
                return Reply::json(page);
            }
            let head = page.to_string();
            page["conversations"] = json!([]);
            let reply = Reply::too_large(head);
            if said { reply.outlined(asked, &page) } else { reply }
        });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Jobs, 7)).await;
        let size = |asked: &Asked| asked.path.split_once("pageSize=")?.1.split('&').next()?.parse().ok();
        (fetched, delivered, scripted.asked().iter().filter_map(size).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_that_fits_into_no_answer_is_passed_and_pages_are_as_large_as_before() {
        let (fetched, delivered, sizes) = with_a_large_record(true).await;
        assert_eq!((fetched.unwrap().records, delivered.ids.len(), delivered.restarts), (100, 99, 0));
        assert_eq!(delivered.set_aside, [Some("c30".to_owned())]);
        assert_eq!(sizes, [1000, 500, 250, 125, 62, 31, 15, 15, 15, 7, 3, 1, 1000]);
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_no_way_around_a_record_whose_answer_does_not_say_how_to_go_on() {
        let (fetched, _, sizes) = with_a_large_record(false).await;
        assert_eq!((fetched.unwrap_err().kind(), sizes.last()), (Kind::Data, Some(&1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_job_is_submitted_once_more() {
        let once = source(&["FAILED", "FULFILLED"], |_| Reply::json(conversations(0, 1)));
        assert_eq!(fetch(&api(&once, settings()), slice(Jobs, 7)).await.0.unwrap().records, 1);
        let twice = source(&["FAILED", "CANCELLED"], |_| panic!("no results of a failed job"));
        let error = fetch(&api(&twice, settings()), slice(Jobs, 7)).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Data);
        assert!(error.to_string().ends_with("the job is CANCELLED: too big"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_job_or_cursor_restarts_the_slice() {
        let expired = source(&["EXPIRED", "FULFILLED"], |_| Reply::json(conversations(0, 1)));
        assert_eq!(fetch(&api(&expired, settings()), slice(Jobs, 7)).await.1.restarts, 1);
        for status in [400, 404, 410] {
            let scripted = source(&["FULFILLED"], move |asked| {
                match (asked.path.contains("cursor"), asked.path.contains("/j2/")) {
                    (false, _) => Reply::json(json!({"conversations": records(0, 1), "cursor": "c"})),
                    (true, false) => Reply::status(status, Value::Null),
                    (true, true) => Reply::json(conversations(1, 1)),
                }
            });
            let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Jobs, 7)).await;
            assert_eq!((fetched.unwrap().records, delivered.restarts, delivered.ids.len()), (2, 1, 2));
        }
        let never = source(&["EXPIRED"], |_| panic!("no results of an expired job"));
        let (fetched, delivered) = fetch(&api(&never, settings()), slice(Jobs, 7)).await;
        assert_eq!((fetched.unwrap_err().kind(), delivered.restarts), (Kind::Data, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn results_that_are_late_are_waited_for() {
        let mut looks = 0;
        let scripted = source(&["FULFILLED"], move |_| {
            looks += 1;
            if looks < 3 { Reply::status(404, Value::Null) } else { Reply::json(conversations(0, 1)) }
        });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Jobs, 7)).await;
        assert_eq!((fetched.unwrap().records, delivered.restarts), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_never_ends_is_deleted_and_left_for_later() {
        let scripted = source(&["QUEUED"], |_| panic!("no results of a queued job"));
        let settings = ApiSettings { job_ceiling: Duration::from_secs(120), ..settings() };
        let error = fetch(&api(&scripted, settings), slice(Jobs, 7)).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Later);
        assert_eq!(scripted.asked().last().unwrap().method, "DELETE");
        assert!(scripted.waits().iter().all(|wait| *wait <= 30.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_page_is_read_again_from_the_same_job() {
        let scripted = source(&["FULFILLED"], |asked| match asked.path.split('?').nth(1).unwrap() {
            "pageSize=1000" => Reply::json(json!({"conversations": records(0, 2), "cursor": "c"})),
            "pageSize=1000&cursor=c" => Reply::fault(Fault::TooLarge),
            "pageSize=500&cursor=c" => Reply::json(conversations(2, 3)),
            other => panic!("{other}"),
        });
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Jobs, 7)).await;
        // Nothing that came before is asked for again.
        assert_eq!((fetched.unwrap().records, delivered.restarts), (2 + 3, 0));
        assert_eq!(scripted.asked().iter().filter(|a| a.path == JOBS && a.method == "POST").count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_waits_for_others_to_end_but_not_for_an_outage() {
        let start = tokio::time::Instant::now();
        let scripted = Scripted::new(move |asked| match asked.path.as_str() {
            JOBS if asked.at < start + Duration::from_secs(900) => Reply::status(429, Value::Null),
            JOBS => Reply::json(json!({"jobId": "j"})),
            path if path.contains("results") => Reply::json(conversations(0, 1)),
            _ => Reply::json(json!({"state": "FULFILLED"})),
        });
        assert_eq!(fetch(&api(&scripted, settings()), slice(Jobs, 7)).await.0.unwrap().records, 1);
        let down = Scripted::new(|_| Reply::status(503, Value::Null));
        let start = tokio::time::Instant::now();
        let error = fetch(&api(&down, settings()), slice(Jobs, 7)).await.0.unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(start.elapsed() <= Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn at_most_three_jobs_run_at_a_time() {
        let (mut running, mut most) = (0i32, 0i32);
        let peak = Arc::new(std::sync::Mutex::new(0));
        let seen = Arc::clone(&peak);
        let scripted = Scripted::new(move |asked| match asked.method.as_str() {
            "DELETE" => Reply::status(500, Value::Null),
            "POST" => {
                running += 1;
                most = most.max(running);
                *seen.lock().unwrap() = most;
                Reply::json(json!({"jobId": "j"}))
            }
            _ if asked.path.contains("results") => Reply::json(json!({"conversations": []})),
            _ => {
                running -= 1;
                Reply::json(json!({"state": "FULFILLED"}))
            }
        });
        let api = api(&scripted, settings());
        let runs = (0..8).map(|_| fetch(&api, slice(Jobs, 7)));
        for (fetched, _) in futures::future::join_all(runs).await {
            fetched.unwrap();
        }
        assert_eq!(*peak.lock().unwrap(), 3);
        // Deletions are no calls for data.
        assert_eq!(api.stats().calls, 8 * 3);
    }
}
