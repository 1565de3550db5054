//! Intervals that are too long, results that are too many, sizes and dates that cannot be.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::TimeDelta;
use convlake::api::Filters;
use convlake::api::transport::{Excerpt, Fault, Outlined, Request as HttpRequest, Response, Transport, TransportError};
use convlake::export::Report;
use convlake::plan::Protocol;
use convlake::simulator::{Endpoint, Rules, Simulator, SimulatorSettings};
use convlake::time::{Clock, Interval, Timestamp, parse_timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use crate::common::convlake::Convlake;
use crate::common::org::{Ids, Org, Sent, directory, files, ids, range};
use crate::common::through;
use crate::{FROM, NOW, PROTOCOLS, TO, faulty, sound};

/// The end of a week that begins with [`FROM`]: one slice of a query.
const WEEK_END: &str = "2025-01-08";

/// What a request for data asks for; the tutorials' ends are inclusive in writing only.
fn asked(sent: &Sent) -> Option<Interval> {
    asked_for(&sent.body)
}

fn asked_for(body: &Value) -> Option<Interval> {
    let text = |name: &str| body[name].as_str();
    let (from, to) = text("interval")
        .and_then(|interval| interval.split_once('/'))
        .or_else(|| text("startTime").zip(text("endTime")))
        .or_else(|| text("dateFrom").zip(text("dateTo")))?;
    let at = |text: &str| -> Timestamp { parse_timestamp(text).unwrap() };
    Some(Interval::new(at(from), at(to)).unwrap())
}

/// The lengths of everything that was asked for, in order.
fn lengths(org: &Org) -> Vec<TimeDelta> {
    org.sent().iter().filter_map(asked).map(|interval| interval.length()).collect()
}

fn with_rules(rules: Rules, conversations_per_day: u32) -> SimulatorSettings {
    SimulatorSettings { rules, ..sound(conversations_per_day) }
}

/// 400 in the words of `message`, on the calls that `which` selects.
fn bad_request(which: &str, message: &str) -> String {
    let body = json!({"message": message, "code": "bad.request", "status": 400}).to_string();
    format!(r#"{{{which}, "action": {{"status": {{"code": 400, "body": {}}}}}}}"#, Value::from(body))
}

#[tokio::test(start_paused = true)]
async fn sixty_days_never_meet_a_limit_that_is_known() {
    for protocol in PROTOCOLS {
        let org = Org::new(sound(10), NOW);
        let report = org.export(protocol, "2025-01-01", "2025-03-02").await;
        org.assert_complete(&report, "2025-01-01", "2025-03-02");
        assert_eq!((org.simulator.counts().with(400), report.windows.len()), (0, 2), "{protocol}");
        // Slices are as long as they may be, so this is worth something. Jobs go by volume.
        let longest = lengths(&org).into_iter().max().unwrap().num_days();
        let expected = match protocol {
            "query" => 7..=7,
            "jobs" => 7..=30,
            _ => 30..=30,
        };
        assert!(expected.contains(&longest), "{protocol}: {longest}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_query_with_a_filter_takes_whole_windows_and_never_meets_its_limit() {
    let org = Org::new(sound(10), NOW);
    of_one_queue(&org).await;
    assert_eq!(org.simulator.counts().with(400), 0);
    assert!(lengths(&org).iter().all(|length| length.num_days() == 30), "{:?}", lengths(&org));
}

#[tokio::test(start_paused = true)]
async fn a_smaller_limit_of_queries_with_a_filter_is_learnt() {
    let org = Org::new(with_rules(Rules { query_filtered_days_max: 12, ..Rules::default() }, 10), NOW);
    of_one_queue(&org).await;
    assert_eq!(org.simulator.counts().with(400), 1);
    assert!(lengths(&org)[1..].iter().all(|length| length.num_days() <= 12), "{:?}", lengths(&org));
}

/// Exports the conversations of one queue, one slice at a time, and compares them with the world's.
async fn of_one_queue(org: &Org) {
    let queue = org.simulator.world().queue_ids().next().unwrap().to_owned();
    let mut ask = org.ask("query", "2025-01-01", "2025-03-02");
    ask.request.filtered = true;
    ask.request.concurrency = 1;
    ask.api.wanted.filters = Filters { queues: vec![queue.clone()], ..Filters::default() };
    let report = org.run(ask).await;
    assert_eq!(report.totals.exit, 0, "{:?}", report.errors);
    // The truth without a look at any filter: a conversation is of the queue when one of its segments names it.
    let segment = format!("\"queueId\":\"{queue}\"");
    let mut truth = Ids::new();
    for day in range("2025-01-01", "2025-03-02").days() {
        let records = org.simulator.world().conversations(day, org.clock.now()).into_iter();
        let of_queue = records.filter(|record| String::from_utf8_lossy(&record.json).contains(&segment));
        let mut of_queue: Vec<_> = of_queue.map(|record| record.id).collect();
        of_queue.sort();
        truth.extend((!of_queue.is_empty()).then_some((day, of_queue)));
    }
    assert!(truth.len() > 10, "the queue says nothing");
    assert_eq!(ids(&org.lake()), truth);
}

#[tokio::test(start_paused = true)]
async fn limits_that_are_smaller_than_known_are_learnt_from_the_first_400() {
    for (protocol, days) in [("query", 3), ("jobs", 2), ("cursor", 7)] {
        let rules = Rules { query_days_max: 3, job_days_max: 2, cursor_days_max: 7, ..Rules::default() };
        let org = Org::new(with_rules(rules, 10), NOW);
        let mut ask = org.ask(protocol, "2025-01-01", "2025-01-31");
        ask.request.concurrency = 1;
        let report = org.run(ask).await;
        org.assert_complete(&report, "2025-01-01", "2025-01-31");
        assert_eq!(org.simulator.counts().with(400), 1, "{protocol}");
        assert!(lengths(&org)[1..].iter().all(|length| *length <= TimeDelta::days(days)), "{protocol}");
    }
}

#[tokio::test(start_paused = true)]
async fn slices_that_meet_a_smaller_limit_at_the_same_time_are_all_cut() {
    let rules = Rules { query_days_max: 3, cursor_days_max: 7, ..Rules::default() };
    for protocol in ["query", "cursor"] {
        let org = Org::new(with_rules(rules.clone(), 10), NOW);
        let report = org.export(protocol, "2025-01-01", "2025-01-31").await;
        org.assert_complete(&report, "2025-01-01", "2025-01-31");
        assert!((1..=8).contains(&org.simulator.counts().with(400)), "{protocol}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_in_hours_cuts_days_and_a_400_without_a_number_halves() {
    for (protocol, endpoint) in [("query", "query"), ("jobs", "submit"), ("cursor", "cursor"), ("page", "page")] {
        let which = format!(r#""endpoint": "{endpoint}", "first": 1"#);
        let org = Org::new(faulty(&bad_request(&which, "the time range cannot exceed 12 hours")), NOW);
        let report = org.export(protocol, FROM, WEEK_END).await;
        org.assert_complete(&report, FROM, WEEK_END);
        assert!(lengths(&org)[1..].iter().all(|length| *length == TimeDelta::hours(12)), "{protocol}");

        let which = format!(r#""endpoint": "{endpoint}", "first": 4"#);
        let org = Org::new(faulty(&bad_request(&which, "The interval is too long")), NOW);
        let report = org.export(protocol, FROM, WEEK_END).await;
        org.assert_complete(&report, FROM, WEEK_END);
        let hours: Vec<_> = lengths(&org).iter().take(5).map(TimeDelta::num_hours).collect();
        assert_eq!(hours, [7 * 24, 3 * 24, 24, 12, 6], "{protocol}");
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_results_are_split_by_the_400_once_and_ahead_from_then_on() {
    let rules = Rules { query_results_max: 300, ..Rules::default() };
    let org = Org::new(with_rules(rules, 50), NOW);
    let mut ask = org.ask("query", "2025-01-01", "2025-01-22");
    ask.request.concurrency = 1;
    let report = org.run(ask).await;
    org.assert_complete(&report, "2025-01-01", "2025-01-22");
    // Three slices of 350; only the first is paged to the limit before it is split. Two pages behind the limit were under
    // way at once.
    assert_eq!(org.simulator.counts().with(400), 2);
    let days: Vec<_> = lengths(&org).iter().map(TimeDelta::num_days).collect();
    assert_eq!(days.iter().filter(|days| **days == 7).count(), 5 + 1 + 1, "{days:?}");
}

#[tokio::test(start_paused = true)]
async fn totals_above_the_known_limit_split_ahead_and_cost_nothing_else() {
    let script = r#"{"endpoint": "query", "first": 2, "action": {"total": {"value": 100001}}}"#;
    let org = Org::new(faulty(script), NOW);
    let report = org.export("query", FROM, WEEK_END).await;
    org.assert_complete(&report, FROM, WEEK_END);
    assert_eq!(org.simulator.counts().with(400), 0);
    let days: Vec<_> = lengths(&org).iter().map(TimeDelta::num_days).take(3).collect();
    assert_eq!(days, [7, 3, 1]);
}

#[tokio::test(start_paused = true)]
async fn totals_that_lie_lose_nothing() {
    for total in [0, 299] {
        let rules = Rules { query_results_max: 300, ..Rules::default() };
        let lie = faulty(&format!(r#"{{"endpoint": "query", "action": {{"total": {{"value": {total}}}}}}}"#));
        let org = Org::new(SimulatorSettings { rules, faults: lie.faults, ..sound(50) }, NOW);
        let report = org.export("query", FROM, WEEK_END).await;
        org.assert_complete(&report, FROM, WEEK_END);
    }
}

/// A query returns a conversation for any part of its day, so a day with too many cannot be asked for.
#[tokio::test(start_paused = true)]
async fn below_a_minute_the_slice_fails_and_the_others_are_published() {
    // The first week has one page and the empty one behind it; from then on every part has too many.
    let too_many = bad_request(r#""endpoint": "query", "after": 2"#, "Pagination may not exceed 100000 results");
    let org = Org::new(faulty(&too_many), NOW);
    let mut ask = org.ask("query", "2025-01-01", "2025-01-15");
    ask.request.concurrency = 1;
    let report = org.run(ask).await;
    assert_eq!(report.totals.exit, 3, "{:?}", report.errors);
    assert_eq!(ids(&org.lake()), org.world("2025-01-01", "2025-01-08"));
    let error = &report.errors[0];
    assert_eq!((report.errors.len(), error.exit), (1, 65), "{error:?}");
    assert!(error.message.contains("cannot split below 1 minute") && error.message.contains("100000"), "{error:?}");
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("--protocol jobs")), "{error:?}");
    assert!(org.simulator.counts().of(Endpoint::Query) < 40, "{:?}", org.simulator.counts());

    // With nothing else to show the run fails with the day's own code.
    let rules = Rules { query_results_max: 100, ..Rules::default() };
    let org = Org::new(with_rules(rules, 150), NOW);
    let report = org.export("query", "2025-01-01", "2025-01-02").await;
    assert_eq!(report.totals.exit, 65, "{:?}", report.errors);
    assert!(report.errors[0].message.contains("cannot split below 1 minute"), "{:?}", report.errors);
    assert_eq!(ids(&org.lake()), Ids::new());
}

#[test]
fn sizes_and_starts_that_cannot_be_end_before_any_call() {
    // Without credentials and with nobody listening: anything later than the arguments has another code.
    let convlake = Convlake::new();
    for command in ["plan", "export"] {
        for (args, named) in [
            (["--protocol", "page", "--page-size", "0", "--from", FROM], "from 1 to 1000"),
            (["--protocol", "page", "--page-size", "1001", "--from", FROM], "from 1 to 1000"),
            (["--protocol", "page", "--page-size", "1", "--from", "2999-01-01"], "starts in the future"),
        ] {
            let mut args = [&[command], args.as_slice(), &["--to", "2999-01-02"]].concat();
            args.extend((command == "export").then_some(["--out", "lake"]).into_iter().flatten());
            let run = convlake.run(args);
            assert_eq!(run.code, Some(2), "{run:?}");
            assert!(run.stderr.contains(named) && run.stdout.is_empty(), "{run:?}");
        }
    }
    assert!(!convlake.lake().exists());
}

/// The tests above are worth something: the simulator would have complained.
#[tokio::test(start_paused = true)]
async fn the_simulated_api_refuses_what_convlake_never_asks_for() {
    let org = Org::new(sound(5), NOW);
    let days = |from: &str, to: &str| json!({"startTime": from, "endTime": to});
    let page = |size: u64| json!({"dateFrom": "2025-01-01T00:00:00Z", "dateTo": "2025-01-02T00:00:00Z", "size": size});
    let query = |interval: &str| json!({"interval": interval});
    let mut filtered = query("2025-01-01T00:00:00Z/2025-02-02T00:00:00Z");
    filtered["segmentFilters"] = json!([{"type": "and", "predicates": [{"dimension": "mediaType", "value": "voice"}]}]);
    for (body, said) in [
        (query("2025-01-01T00:00:00Z/2025-01-09T00:00:00Z"), "7 days"),
        (filtered, "31 days"),
        (days("2025-01-01T00:00:00Z", "2025-02-01T00:00:01Z"), "30 days"),
        (days("2025-09-02T00:00:00Z", "2025-09-03T00:00:00Z"), "future"),
        (page(0), "between 1 and 1000"),
        (page(1001), "between 1 and 1000"),
    ] {
        let (status, answer) = org.post("/api/v2/analytics/conversations/details/query", &body).await;
        assert_eq!(status, 400, "{body}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(said), "{answer}");
    }
    let (status, _) = org.post("/api/v2/analytics/conversations/details/query", &page(1000)).await;
    assert_eq!(status, 200);
}

/// A network over which one conversation does not fit into an answer, alone or among others.
struct Narrow {
    simulator: Simulator,
    id: String,
}

impl Transport for Narrow {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<Response, TransportError>> {
        let outlined = request.extensions().get::<Outlined>().is_some();
        async move {
            let answer = self.simulator.send(request).await?;
            let text = String::from_utf8_lossy(answer.body());
            if !text.contains(&self.id) {
                return Ok(answer);
            }
            let head = answer.body().slice(..answer.body().len().min(4_096));
            let mut page: Value = serde_json::from_str(&text).unwrap();
            let records = ["conversations", "entities"].into_iter().find(|key| page[*key].is_array()).unwrap();
            let found = page[records].as_array_mut().unwrap().drain(..).count();
            let outline = if outlined && found == 1 { page.to_string().into() } else { Bytes::new() };
            let excerpt = Excerpt { head, outline };
            Err(TransportError { fault: Fault::TooLarge, excerpt, message: "too large".to_owned() })
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_fits_into_no_answer_is_set_aside_by_reference_and_the_others_are_published() {
    for protocol in [Protocol::Query, Protocol::Page, Protocol::Cursor, Protocol::Jobs] {
        let org = Org::new(sound(30), NOW);
        let mut world = org.world(FROM, TO);
        let ids_of_day = world.values_mut().next().unwrap();
        let id = ids_of_day.remove(17);
        let narrow = Narrow { simulator: org.simulator.clone(), id: id.clone() };
        let source = (through::settings(&org.simulator), Arc::new(narrow) as Arc<dyn Transport>);
        let tables = ["conversations".to_owned()];
        let report = through::export(source, protocol, range(FROM, TO), &org.lake(), Some(&tables), org.clock).await;
        assert_eq!((report.totals.exit, report.totals.quarantined), (0, 1), "{:?}", report.errors);
        assert_eq!(ids(&org.lake()), world, "{protocol}");
        let kept = files(&org.lake().join("_convlake/quarantine"));
        let lines: Vec<Value> = kept.values().map(|line| serde_json::from_slice(line).unwrap()).collect();
        assert_eq!((lines.len(), lines[0]["reason"].as_str()), (1, Some("too_large")), "{lines:?}");
        assert_eq!(lines[0]["raw"].as_str().unwrap(), json!({"conversationId": id}).to_string());
    }
}

/// A source whose refusals have a title and nothing else.
struct Terse {
    simulator: Simulator,
    /// The body of a refusal with this title.
    body: fn(title: &str) -> Value,
    lengths: Mutex<Vec<TimeDelta>>,
}

impl Terse {
    fn new(rules: Rules, body: fn(&str) -> Value) -> (Arc<Terse>, Clock) {
        let clock = Clock::starting_at(parse_timestamp(NOW).unwrap());
        (
            Arc::new(Terse {
                simulator: Simulator::new(with_rules(rules, 10), clock),
                body,
                lengths: Mutex::default(),
            }),
            clock,
        )
    }
}

impl Transport for Terse {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<Response, TransportError>> {
        let asked: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        self.lengths.lock().unwrap().extend(asked_for(&asked).map(|interval| interval.length()));
        async move {
            let mut answer = self.simulator.send(request).await?;
            if answer.status() == 400 {
                let title = if String::from_utf8_lossy(answer.body()).contains("PageSize") {
                    "Invalid PageSize"
                } else {
                    "Invalid Time Range"
                };
                *answer.body_mut() = (self.body)(title).to_string().into();
            }
            Ok(answer)
        }
        .boxed()
    }
}

const TITLES: [fn(&str) -> Value; 4] = [
    |title| json!({"message": title, "code": "bad.request", "status": 400}),
    |title| json!({"error": title}),
    |title| json!({"code": title.to_lowercase().replace(' ', ".")}),
    |title| json!({"error": "Bad Request", "message": format!("400 Bad Request - {title}")}),
];

/// Sixty days by `protocol` from a terse source, one slice at a time.
async fn from_terse(protocol: Protocol, terse: &Arc<Terse>, clock: Clock) -> Report {
    let (lake, transport) = (directory(), Arc::<Terse>::clone(terse) as Arc<dyn Transport>);
    let (asked, tables) = (range("2025-01-01", "2025-03-02"), ["conversations".to_owned()]);
    let source = (through::settings(&terse.simulator), transport);
    let report = through::export(source, protocol, asked, lake.path(), Some(&tables), clock).await;
    if report.totals.exit == 0 {
        assert_eq!(report.totals.conversations, 60 * 10, "{protocol}");
    }
    report
}

#[tokio::test(start_paused = true)]
async fn an_invalid_time_range_is_halved_until_it_is_served_and_what_was_served_is_remembered() {
    for body in TITLES {
        for (protocol, days) in [(Protocol::Query, 3), (Protocol::Jobs, 3), (Protocol::Cursor, 7)] {
            let rules = Rules { query_days_max: 3, job_days_max: 3, cursor_days_max: 7, ..Rules::default() };
            let (terse, clock) = Terse::new(rules, body);
            let report = from_terse(protocol, &terse, clock).await;
            assert_eq!(report.totals.exit, 0, "{protocol}: {:?}", report.errors);
            // Slices that begin at the same time each find out.
            let refused = terse.simulator.counts().with(400);
            assert!((1..=12).contains(&refused), "{protocol}: {refused}");
            let lengths = terse.lengths.lock().unwrap();
            let last = lengths.last().unwrap();
            assert!(*last <= TimeDelta::days(days) && *last >= TimeDelta::days(1), "{protocol}: {last}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_page_size_is_halved_until_it_is_served_and_remembered() {
    for body in TITLES {
        for protocol in [Protocol::Cursor, Protocol::Page] {
            let rules = Rules { page_size_max: 100, cursor_page_size: 100, ..Rules::default() };
            let (terse, clock) = Terse::new(rules, body);
            let mut source = through::settings(&terse.simulator);
            source.wanted.page_size = Some(1000);
            let (lake, tables) = (directory(), ["conversations".to_owned()]);
            let transport = Arc::<Terse>::clone(&terse) as Arc<dyn Transport>;
            let asked = range("2025-01-01", "2025-05-01");
            let report = through::export((source, transport), protocol, asked, lake.path(), Some(&tables), clock).await;
            assert_eq!((report.totals.exit, report.totals.conversations), (0, 1200), "{protocol}: {:?}", report.errors);
            // 1000, 500, 250 and 125, by each of four windows at most.
            let refused = terse.simulator.counts().with(400);
            assert!((4..=16).contains(&refused), "{protocol}: {refused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn halving_ends_at_a_minute_and_at_one_record() {
    for (title, said) in
        [("Invalid Time Range", "cannot split below 1 minute"), ("Invalid PageSize", "Invalid PageSize")]
    {
        for (protocol, endpoint) in [("cursor", "cursor"), ("page", "page")] {
            let org = Org::new(faulty(&bad_request(&format!(r#""endpoint": "{endpoint}""#), title)), NOW);
            let report = org.export(protocol, FROM, "2025-02-15").await;
            assert_eq!(report.totals.exit, 65, "{protocol}: {:?}", report.errors);
            assert!(report.errors.iter().all(|error| error.message.contains(said)), "{:?}", report.errors);
            assert!(org.simulator.counts().with(400) <= 2 * 20, "{protocol}: {:?}", org.simulator.counts());
            assert_eq!(ids(&org.lake()), Ids::new());
        }
    }
}
