use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::api::transport::{Fault, Request, Response, SILENCE_MAX, Transport};
use crate::time::{Clock, Day, Timestamp, parse_timestamp};

const QUERY: &str = "/api/v2/analytics/conversations/details/query";
const JOBS: &str = "/api/v2/analytics/conversations/details/jobs";
const NOW: &str = "2025-03-20T12:00:00.500Z";

/// A simulator with a token: what a client sees of it.
struct Client {
    simulator: Simulator,
    token: String,
}

impl Client {
    fn new(settings: SimulatorSettings) -> Client {
        let simulator = Simulator::new(settings, Clock::starting_at(at(NOW)));
        let mut client = Client { simulator, token: String::new() };
        let (_, body) = client.log_in();
        client.token = body["access_token"].as_str().unwrap().to_owned();
        client
    }

    fn with_faults(script: &str) -> Client {
        Client::new(SimulatorSettings { faults: Faults::parse(script).unwrap(), ..small() })
    }

    fn log_in(&self) -> (u16, Value) {
        let pair = format!("{}:{}", self.simulator.client_id(), self.simulator.client_secret());
        let basic = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
        read(&self.send("POST", "/oauth/token", &basic, "grant_type=client_credentials").response)
    }

    fn send(&self, method: &str, path: &str, authorization: &str, body: &str) -> Reply {
        self.simulator.handle(&request(method, path, authorization, body))
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        read(&self.send(method, path, &format!("Bearer {}", self.token), &body).response)
    }

    fn query(&self, body: &Value) -> (u16, Value) {
        self.call("POST", QUERY, body)
    }

    /// Every page of a job, read as a client should.
    async fn job(&self, body: &Value) -> Vec<Value> {
        let (status, submitted) = self.call("POST", JOBS, body);
        assert_eq!(status, 202, "{submitted}");
        let job = format!("{JOBS}/{}", submitted["jobId"].as_str().unwrap());
        while self.call("GET", &job, &Value::Null).1["state"] != "FULFILLED" {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let (mut records, mut path) = (Vec::new(), format!("{job}/results?pageSize=40"));
        loop {
            let (status, page) = self.call("GET", &path, &Value::Null);
            assert_eq!(status, 200, "{page}");
            records.extend(page["conversations"].as_array().unwrap().clone());
            let Some(cursor) = page["cursor"].as_str() else { return records };
            assert!(cursor.contains('=') && cursor.contains('+'));
            let cursor: String = url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
            path = format!("{job}/results?pageSize=40&cursor={cursor}");
        }
    }
}

fn small() -> SimulatorSettings {
    let world = WorldSettings { conversations_per_day: 90, ..Default::default() };
    SimulatorSettings { world, ..Default::default() }
}

fn request(method: &str, path: &str, authorization: &str, body: &str) -> Request {
    let request = http::Request::builder().method(method).uri(format!("https://api.example.com{path}"));
    let request = if authorization.is_empty() { request } else { request.header("Authorization", authorization) };
    request.body(Bytes::from(body.to_owned())).unwrap()
}

fn read(response: &Response) -> (u16, Value) {
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap_or(Value::Null))
}

fn at(text: &str) -> Timestamp {
    parse_timestamp(text).unwrap()
}

fn ids(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["conversationId"].as_str().unwrap()).collect()
}

fn days(from: &str, to: &str) -> Value {
    json!(format!("{from}T00:00:00.000Z/{to}T00:00:00.000Z"))
}

/// What the world holds, as seen now.
fn truth(client: &Client, from: &str, to: &str) -> Vec<Value> {
    let interval =
        crate::time::Interval::new(at(&format!("{from}T00:00:00Z")), at(&format!("{to}T00:00:00Z"))).unwrap();
    let records = interval.days().flat_map(|day: Day| client.simulator.world().conversations(day, at(NOW)));
    records.map(|record| serde_json::from_slice(&record.json).unwrap()).collect()
}

fn all_pages(client: &Client, body: &Value) -> Vec<Value> {
    let (mut records, mut number) = (Vec::new(), 1);
    loop {
        let mut body = body.clone();
        body["paging"] = json!({"pageSize": 100, "pageNumber": number});
        let (status, page) = client.query(&body);
        assert_eq!(status, 200, "{page}");
        let Some(list) = page.get("conversations") else { return records };
        records.extend(list.as_array().unwrap().clone());
        number += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn the_query_brings_every_conversation_of_the_days_it_touches_without_attributes() {
    let client = Client::new(small());
    let records = all_pages(&client, &json!({"interval": "2025-03-01T22:00:00.000Z/2025-03-03T02:00:00Z"}));
    let truth = truth(&client, "2025-03-01", "2025-03-04");
    assert_eq!(ids(&records), ids(&truth));
    let attributes = |records: &[Value]| {
        let participants = records.iter().flat_map(|r| r["participants"].as_array().unwrap());
        participants.filter(|p| p.get("attributes").is_some()).count()
    };
    assert_eq!(attributes(&records), 0);
    assert!(attributes(&truth) > 100);
    let descending = json!({"interval": days("2025-03-01", "2025-03-02"), "order": "desc"});
    assert_eq!(all_pages(&client, &descending)[0]["conversationId"], truth[89]["conversationId"]);
}

#[tokio::test(start_paused = true)]
async fn limits_answer_in_the_words_of_the_api() {
    let client = Client::new(small());
    let filter = json!([{"type": "and", "predicates": [{"dimension": "conversationEnd", "operator": "exists"}]}]);
    let paged = |size: u64, number: u64| json!({"interval": days("2025-03-01", "2025-03-02"), "paging": {"pageSize": size, "pageNumber": number}});
    for (body, text) in [
        (json!({"interval": days("2025-03-01", "2025-03-09")}), "does not exceed 7 days"),
        (
            json!({"interval": days("2025-01-01", "2025-02-02"), "conversationFilters": filter}),
            "does not exceed 31 days",
        ),
        (paged(101, 1), "pageSize"),
        (paged(100, 1_001), "Pagination may not exceed 100000 results."),
        (json!({"interval": "2025-03-01"}), "interval"),
        (json!({}), "interval"),
        (json!({"startTime": "2025-01-01T00:00:00Z", "endTime": "2025-02-15T00:00:00Z"}), "Invalid Time Range"),
        (json!({"startTime": "2025-03-21T00:00:00Z", "endTime": "2025-03-22T00:00:00Z"}), "future"),
        (json!({"dateFrom": "2025-01-01T00:00:00Z", "dateTo": "2025-01-01T23:59:59Z", "size": 0}), "size"),
        (json!({"dateFrom": "2025-01-01T00:00:00Z", "dateTo": "2025-01-01T23:59:59Z", "size": 1_001}), "size"),
        (json!({"dateFrom": "2025-01-01T00:00:00Z", "dateTo": "2025-01-01T23:59:59Z", "size": "many"}), "size"),
    ] {
        let (status, answer) = client.query(&body);
        assert_eq!(status, 400, "{body}");
        assert!(answer["message"].as_str().unwrap().contains(text), "{answer}");
        assert!(answer["contextId"].is_string() && answer["code"].is_string() && answer["status"] == 400);
    }
    let limits = [
        json!({"interval": days("2025-03-01", "2025-03-08")}),
        json!({"interval": days("2025-01-01", "2025-02-01"), "conversationFilters": filter}),
        paged(100, 1_000),
    ];
    assert!(limits.iter().all(|body| client.query(body).0 == 200));
    let long = json!({"interval": "x".repeat(512_000)});
    assert_eq!(client.query(&long).0, 413);
    assert_eq!(client.call("GET", "/api/v2/stations", &Value::Null).0, 404);
}

#[tokio::test(start_paused = true)]
async fn jobs_bring_attributes_and_what_was_alive() {
    let world = WorldSettings { conversations_per_day: 40, ..Default::default() };
    let client = Client::new(SimulatorSettings { world, ..Default::default() });
    let interval = days("2025-03-10", "2025-03-12");
    let truth = truth(&client, "2025-03-10", "2025-03-12");
    let matching = client.job(&json!({"interval": interval, "startOfDayIntervalMatching": true})).await;
    assert_eq!(matching, truth);
    let alive = client.job(&json!({"interval": interval})).await;
    let older = alive.len() - truth.len();
    assert_eq!(alive[older..], truth[..]);
    let before = self::truth(&client, "2025-01-05", "2025-03-10");
    let ended = |r: &&Value| r.get("conversationEnd").is_some();
    let alive_then = |r: &&Value| r["conversationEnd"].as_str().unwrap() >= "2025-03-10";
    let expected: Vec<_> = before.iter().filter(ended).filter(alive_then).collect();
    assert_eq!(alive[..older].iter().filter(ended).collect::<Vec<_>>(), expected);
    assert!(!expected.is_empty() && expected[0]["conversationStart"].as_str().unwrap() < "2025-03-01");
}

#[tokio::test(start_paused = true)]
async fn a_job_is_a_snapshot_and_is_cut_at_the_availability_date_without_a_word() {
    let client = Client::new(small());
    let (_, availability) = client.call("GET", &format!("{JOBS}/availability"), &Value::Null);
    assert_eq!(availability["dataAvailabilityDate"], "2025-03-20T06:00:00Z");
    let today =
        client.job(&json!({"interval": days("2025-03-20", "2025-03-21"), "startOfDayIntervalMatching": true})).await;
    let truth = truth(&client, "2025-03-20", "2025-03-21");
    let available: Vec<_> =
        truth.into_iter().filter(|r| r["conversationStart"].as_str().unwrap() < "2025-03-20T06").collect();
    assert!(!available.is_empty());
    assert_eq!(today, available);
}

#[tokio::test(start_paused = true)]
async fn a_job_goes_through_its_states_and_its_results_expire() {
    let client = Client::new(small());
    let (_, submitted) = client.call("POST", JOBS, &json!({"interval": days("2025-03-01", "2025-03-02")}));
    let job = format!("{JOBS}/{}", submitted["jobId"].as_str().unwrap());
    let state = || client.call("GET", &job, &Value::Null).1["state"].clone();
    assert_eq!(state(), "QUEUED");
    let (status, early) = client.call("GET", &format!("{job}/results"), &Value::Null);
    assert_eq!((status, early["conversations"].as_array().map(Vec::len)), (200, Some(0)));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(state(), "PENDING");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(state(), "FULFILLED");
    tokio::time::advance(Duration::from_secs(23 * 3_600)).await;
    assert_eq!(state(), "FULFILLED");
    let client = Client { token: client.log_in().1["access_token"].as_str().unwrap().to_owned(), ..client };
    tokio::time::advance(Duration::from_secs(2 * 3_600)).await;
    assert_eq!(client.call("GET", &job, &Value::Null).1["state"], "EXPIRED");
    assert_eq!(client.call("GET", &format!("{job}/results"), &Value::Null).0, 404);
    assert_eq!(client.call("DELETE", &job, &Value::Null).0, 204);
    assert_eq!(client.call("GET", &job, &Value::Null).0, 404);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_jobs_run_at_once() {
    let rules = Rules { jobs_concurrent_max: 2, ..Default::default() };
    let client = Client::new(SimulatorSettings { rules, ..small() });
    let submit = || client.call("POST", JOBS, &json!({"interval": days("2025-03-01", "2025-03-02")})).0;
    assert_eq!([submit(), submit(), submit()], [202, 202, 429]);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(submit(), 202);
    assert_eq!(client.simulator.counts().jobs_concurrent_max, 2);
}

#[tokio::test(start_paused = true)]
async fn the_cursor_dialect_walks_the_window_and_includes_its_end() {
    let client = Client::new(small());
    // Every third day begins with a conversation at midnight; the end of the range is inclusive.
    let body = json!({
        "startTime": "2025-03-01T00:00:00.000Z", "endTime": "2025-03-05T00:00:00.000Z",
        "granularity": "day", "metrics": ["handleDuration", "talkDuration"],
    });
    let (mut records, mut cursor): (Vec<Value>, Option<String>) = (Vec::new(), None);
    loop {
        let mut body = body.clone();
        let path = match (&cursor, records.len() < 200) {
            (Some(cursor), true) => format!(
                "{QUERY}?pageCursor={}",
                url::form_urlencoded::byte_serialize(cursor.as_bytes()).collect::<String>()
            ),
            (Some(cursor), false) => {
                body["pageCursor"] = json!(cursor);
                QUERY.to_owned()
            }
            (None, _) => QUERY.to_owned(),
        };
        let (status, page) = client.call("POST", &path, &body);
        assert_eq!(status, 200, "{page}");
        let entities = page["entities"].as_array().unwrap();
        assert_eq!(page["pageSize"], entities.len());
        records.extend(entities.clone());
        cursor = page["nextPageCursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            assert_eq!(page["totalRecords"], records.len());
            break;
        }
    }
    let mut truth = truth(&client, "2025-03-01", "2025-03-06");
    truth.retain(|r| r["conversationStart"].as_str().unwrap() <= "2025-03-05T00:00:00.000Z");
    assert!(truth.len() >= 360);
    assert_eq!(ids(&records), ids(&truth));
    for (record, whole) in records.iter().zip(&truth) {
        let sessions = whole["participants"].as_array().unwrap().iter().flat_map(|p| p["sessions"].as_array().unwrap());
        let metrics = sessions.filter_map(|s| s["metrics"].as_array()).flatten();
        let handled: Vec<_> =
            metrics.filter(|m| m["name"] == "tHandle").map(|m| m["value"].as_i64().unwrap()).collect();
        let total = record["metrics"]["handleDuration"]["total"].as_i64();
        assert_eq!(total, (!handled.is_empty()).then(|| handled.iter().sum()));
        assert!(record["metrics"].get("waitDuration").is_none());
        assert_eq!(record.get("endTime"), whole.get("conversationEnd"));
    }
    let mut other = body.clone();
    other["pageCursor"] = json!("bm90IG91cnM=");
    assert_eq!(client.query(&other).0, 400);
}

#[tokio::test(start_paused = true)]
async fn the_page_dialect_counts_its_pages_and_takes_an_inclusive_end() {
    let client = Client::new(small());
    let body = |number: u64| {
        json!({
            "dateFrom": "2025-03-01T00:00:00Z", "dateTo": "2025-03-02T23:59:59Z", "size": 70, "pageNumber": number,
            "groupBy": ["queueId"], "metrics": ["offerRate", "offerAnswerRate", "talkRate"],
        })
    };
    let pages: Vec<_> = (1..=4).map(|number| client.query(&body(number)).1).collect();
    let counts: Vec<_> = pages.iter().map(|page| page["paging"]["pageSize"].as_u64().unwrap()).collect();
    assert_eq!(counts, [70, 70, 40, 0]);
    assert!(pages.iter().all(|page| page["paging"]["pageCount"] == 3 && page["paging"]["total"] == 180));
    let records: Vec<_> = pages.iter().flat_map(|page| page["entities"].as_array().unwrap().clone()).collect();
    assert_eq!(ids(&records), ids(&truth(&client, "2025-03-01", "2025-03-03")));
    let rates: Vec<_> = records.iter().filter_map(|r| r["metrics"]["offerRate"].as_f64()).collect();
    assert!(rates.len() == 180 && rates.contains(&1.0) && rates.contains(&0.0));
    assert!(records.iter().any(|r| r["queueId"].is_string()));
}

#[tokio::test(start_paused = true)]
async fn filters_of_all_dialects_agree() {
    let client = Client::new(small());
    let queue = client.simulator.world().queue_ids().next().unwrap();
    let real = json!({
        "interval": days("2025-03-01", "2025-03-08"),
        "segmentFilters": [{"type": "or", "predicates": [{"type": "dimension", "dimension": "queueId", "operator": "matches", "value": queue}]}],
    });
    let records = all_pages(&client, &real);
    let wanted = |r: &&Value| r.to_string().contains(&format!("\"queueId\":\"{queue}\""));
    let truth = truth(&client, "2025-03-01", "2025-03-08");
    let truth: Vec<_> = truth.iter().filter(wanted).cloned().collect();
    assert!(truth.len() > 20);
    assert!(ids(&records).iter().all(|id| ids(&truth).contains(id)));
    let page = json!({
        "dateFrom": "2025-03-01T00:00:00Z", "dateTo": "2025-03-07T23:59:59Z", "size": 1_000,
        "filters": {"and": [{"path": "queue.id", "operator": "in", "values": [queue]}]},
    });
    let cursor = json!({
        "startTime": "2025-03-01T00:00:00Z", "endTime": "2025-03-07T23:59:59.999Z", "pageSize": 1_000,
        "entities": [{"type": "queue", "id": queue}],
    });
    for body in [page, cursor] {
        let (_, answer) = client.query(&body);
        assert_eq!(ids(answer["entities"].as_array().unwrap()), ids(&records));
    }
    let nested = json!({
        "interval": days("2025-03-01", "2025-03-08"),
        "conversationFilters": [{"type": "and", "predicates": [{"metric": "tHandle", "range": {"gt": 600_000}}]}],
        "segmentFilters": [{"type": "and", "clauses": [
            {"type": "or", "predicates": [{"dimension": "mediaType", "value": "voice"}, {"dimension": "mediaType", "value": "email"}]},
            {"type": "and", "predicates": [{"dimension": "purpose", "value": "agent"}, {"dimension": "wrapUpCode", "operator": "exists"}]},
        ]}],
    });
    assert!((1..400).contains(&all_pages(&client, &nested).len()));
    let unknown = json!({"interval": days("2025-03-01", "2025-03-02"), "segmentFilters": [{"type": "and", "predicates": [{"dimension": "shoeSize", "value": "9"}]}]});
    assert_eq!(client.query(&unknown).0, 400);
}

#[tokio::test(start_paused = true)]
async fn tokens_expire_are_capped_and_are_refused_in_the_words_of_oauth() {
    let rules = Rules { token_lifetime: Duration::from_secs(3_600), tokens_max: 2, ..Default::default() };
    let client = Client::new(SimulatorSettings { rules, ..small() });
    let me = || client.call("GET", "/api/v2/organizations/me", &Value::Null);
    assert_eq!(me().1["id"], client.simulator.world().organization_id());
    client.log_in();
    assert_eq!(me().0, 200);
    client.log_in();
    assert_eq!((me().0, &me().1["code"]), (401, &json!("bad.credentials")), "the third token ends the first");
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        client.simulator.client_id(),
        client.simulator.client_secret()
    );
    let (status, token) = read(&client.send("POST", "/oauth/token", "", &form).response);
    assert_eq!((status, token["expires_in"].as_u64()), (200, Some(3_600)));
    let client = Client { token: token["access_token"].as_str().unwrap().to_owned(), ..client };
    let me = || client.call("GET", "/api/v2/organizations/me", &Value::Null).0;
    assert_eq!(me(), 200);
    tokio::time::advance(Duration::from_secs(3_600)).await;
    assert_eq!(me(), 401);
    let (status, refusal) =
        read(&client.send("POST", "/oauth/token", "Basic aWQ6YmFk", "grant_type=client_credentials").response);
    assert_eq!((status, &refusal["error"]), (400, &json!("invalid_client")));
    let anonymous = read(&client.send("GET", "/api/v2/organizations/me", "", "").response);
    assert_eq!((anonymous.0, &anonymous.1["code"]), (401, &json!("authentication.required")));
}

#[tokio::test(start_paused = true)]
async fn the_rate_limit_is_a_fixed_window_of_a_minute() {
    let rules = Rules { rate_limit: Some(3), ..Default::default() };
    let client = Client::new(SimulatorSettings { rules, ..small() });
    let call = || client.send("GET", "/api/v2/organizations/me", &format!("Bearer {}", client.token), "").response;
    let header = |response: &Response, name: &str| response.headers()[name].to_str().unwrap().to_owned();
    for count in ["1", "2", "3"] {
        let response = call();
        assert_eq!((response.status().as_u16(), header(&response, "inin-ratelimit-count").as_str()), (200, count));
        tokio::time::advance(Duration::from_secs(10)).await;
    }
    let refused = call();
    assert_eq!(refused.status(), 429);
    assert_eq!((header(&refused, "retry-after"), header(&refused, "inin-ratelimit-reset")), ("30".into(), "30".into()));
    assert!(read(&refused).1["message"].as_str().unwrap().ends_with("Retry the request in [30] seconds"));
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(call().status(), 200);
    assert_eq!(client.simulator.counts().with(429), 1);
}

#[tokio::test(start_paused = true)]
async fn faults_falsify_pages_and_end_jobs() {
    let client = Client::with_faults(
        r#"{"script": [
            {"endpoint": "page", "nth": 1, "action": {"page_count": {"value": 0}}},
            {"endpoint": "page", "nth": 2, "action": "no_paging"},
            {"endpoint": "page", "nth": 3, "action": "null_records"},
            {"endpoint": "page", "nth": 4, "action": "bare"},
            {"endpoint": "page", "nth": 5, "action": {"drop_every": {"nth": 2}}},
            {"endpoint": "page", "nth": 6, "action": "empty_records"},
            {"endpoint": "page", "nth": 7, "action": {"status": {"code": 503, "headers": {"retry-after": "2"}}}},
            {"endpoint": "page", "nth": 8, "action": {"html": {"code": 200}}},
            {"endpoint": "page", "nth": 9, "action": "error_object"},
            {"endpoint": "page", "nth": 10, "action": "truncate"},
            {"endpoint": "page", "nth": 11, "action": {"redirect": {"location": "https://elsewhere.example/"}}},
            {"endpoint": "cursor", "page": 2, "action": {"cursor_to_page": {"page": 1}}},
            {"endpoint": "submit", "job": 1, "action": {"job": {"fate": "failed"}}},
            {"endpoint": "results", "job": 2, "nth": 2, "action": {"job": {"fate": "expired"}}}
        ]}"#,
    );
    let page = json!({"dateFrom": "2025-03-01T00:00:00Z", "dateTo": "2025-03-01T23:59:59Z", "size": 50});
    let pages: Vec<_> = (0..11).map(|_| client.query(&page)).collect();
    assert_eq!((&pages[0].1["paging"]["pageCount"], pages[0].1["entities"].as_array().unwrap().len()), (&json!(0), 50));
    assert!(pages[1].1.get("paging").is_none());
    assert!(pages[2].1["entities"].is_null() && pages[2].1.get("entities").is_some());
    assert_eq!(pages[3].1, json!({}));
    assert_eq!(pages[4].1["entities"].as_array().unwrap().len(), 25);
    assert_eq!((&pages[5].1["paging"]["pageCount"], &pages[5].1["entities"]), (&json!(2), &json!([])));
    assert_eq!(pages[6].0, 503);
    assert_eq!(pages[7], (200, Value::Null));
    assert_eq!((pages[8].0, &pages[8].1["code"]), (200, &json!("internal.server.error")));
    assert_eq!((pages[9].0, &pages[9].1), (200, &Value::Null));
    assert_eq!(pages[10].0, 302);

    let mut body = json!({"startTime": "2025-03-01T00:00:00Z", "endTime": "2025-03-08T00:00:00Z"});
    let first = client.query(&body).1["nextPageCursor"].clone();
    body["pageCursor"] = first.clone();
    let back = client.query(&body).1["nextPageCursor"].clone();
    body["pageCursor"] = back;
    assert_eq!(client.query(&body).1["nextPageCursor"], first, "page 2 leads back to page 1");

    let submit = || client.call("POST", JOBS, &json!({"interval": days("2025-03-01", "2025-03-02")})).1;
    let jobs = [submit(), submit()].map(|job| format!("{JOBS}/{}", job["jobId"].as_str().unwrap()));
    tokio::time::advance(Duration::from_secs(5)).await;
    let failed = client.call("GET", &jobs[0], &Value::Null).1;
    assert!(failed["state"] == "FAILED" && failed["errorMessage"].is_string());
    let results = || client.call("GET", &format!("{}/results?pageSize=10", jobs[1]), &Value::Null).0;
    assert_eq!([results(), results()], [200, 404]);
    assert_eq!(client.call("GET", &jobs[1], &Value::Null).1["state"], "EXPIRED");
}

#[tokio::test(start_paused = true)]
async fn the_transport_breaks_where_a_network_breaks_and_takes_virtual_time() {
    let client = Client::with_faults(
        r#"{"script": [
            {"endpoint": "organization", "nth": 1, "action": "reset"},
            {"endpoint": "organization", "nth": 2, "action": "reset_in_body"},
            {"endpoint": "organization", "nth": 3, "action": {"content_encoding": {"value": "gzip"}}},
            {"endpoint": "organization", "nth": 4, "action": "hang"},
            {"endpoint": "organization", "nth": 5, "action": {"slow": {"ms": 60000}}},
            {"endpoint": "organization", "nth": 6, "action": {"slow": {"ms": 9000}}},
            {"endpoint": "organization", "nth": 7, "action": "revoke_tokens"}
        ]}"#,
    );
    let transport: std::sync::Arc<dyn Transport> = client.simulator.transport();
    let send = || transport.send(request("GET", "/api/v2/organizations/me", &format!("Bearer {}", client.token), ""));
    for expected in [Fault::Connect, Fault::Body, Fault::Body] {
        assert_eq!(send().await.unwrap_err().fault, expected);
    }
    for _ in ["hanging", "too slow"] {
        let before = tokio::time::Instant::now();
        assert_eq!(send().await.unwrap_err().fault, Fault::Timeout);
        assert_eq!(before.elapsed(), SILENCE_MAX);
    }
    let before = tokio::time::Instant::now();
    assert_eq!(send().await.unwrap().status(), 200);
    assert_eq!(before.elapsed(), Duration::from_secs(9) + Rules::default().latency);
    assert_eq!(send().await.unwrap().status(), 401);
    assert_eq!((client.simulator.counts().broken, client.simulator.counts().of(Endpoint::Organization)), (3, 7));
}

#[tokio::test(start_paused = true)]
async fn current_data_changes_under_a_query() {
    let client = Client::new(small());
    let today = json!({"interval": days("2025-03-20", "2025-03-21")});
    let before = all_pages(&client, &today);
    tokio::time::advance(Duration::from_secs(4 * 3_600)).await;
    let after = all_pages(&client, &today);
    let (earlier, later): (BTreeSet<_>, BTreeSet<_>) =
        (ids(&before).into_iter().collect(), ids(&after).into_iter().collect());
    assert!(earlier.is_subset(&later) && later.len() > earlier.len());
    let open = |records: &[Value]| records.iter().filter(|r| r.get("conversationEnd").is_none()).count();
    let ended = before.iter().filter(|r| r.get("conversationEnd").is_none());
    let ended = ended.filter(|r| {
        after.iter().any(|a| a["conversationId"] == r["conversationId"] && a.get("conversationEnd").is_some())
    });
    assert!(open(&before) > 0 && ended.count() > 0);
}

/// A client of another kind over a real socket, in real time.
#[tokio::test]
async fn the_listener_speaks_http() {
    let faults = Faults::parse(
        r#"{"script": [
            {"endpoint": "organization", "nth": 2, "action": "reset"},
            {"endpoint": "organization", "nth": 3, "action": "reset_in_body"},
            {"endpoint": "organization", "nth": 4, "action": "hang"}
        ]}"#,
    );
    let rules = Rules { latency: Duration::ZERO, ..Default::default() };
    let settings = SimulatorSettings { faults: faults.unwrap(), rules, ..small() };
    let simulator = Simulator::new(settings, Clock::starting_at(at(NOW)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(serve(simulator.clone(), listener, async move { drop(stopped.await) }));

    // Without a provider reqwest cannot be built, and another test may have installed one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let token =
        client.post(format!("{base}/oauth/token")).basic_auth(simulator.client_id(), Some(simulator.client_secret()));
    let token = token.body("grant_type=client_credentials").send().await.unwrap().bytes().await.unwrap();
    let token: Value = serde_json::from_slice(&token).unwrap();
    let token = token["access_token"].as_str().unwrap();
    let query = json!({"interval": days("2025-03-01", "2025-03-02"), "paging": {"pageSize": 100, "pageNumber": 1}});
    let page = client.post(format!("{base}{QUERY}")).bearer_auth(token).body(query.to_string()).send().await.unwrap();
    assert!(page.headers().contains_key("inin-correlation-id") && page.headers().contains_key("inin-ratelimit-count"));
    // The length header is gone when the client has decompressed the body.
    assert!(page.content_length().is_none());
    let page: Value = serde_json::from_slice(&page.bytes().await.unwrap()).unwrap();
    assert_eq!(page["totalHits"], 90);

    let me = || client.get(format!("{base}/api/v2/organizations/me")).bearer_auth(token).send();
    assert_eq!(me().await.unwrap().status(), 200);
    assert!(me().await.is_err(), "reset");
    assert!(me().await.unwrap().bytes().await.is_err(), "reset in the body");
    let hanging = tokio::spawn(me());
    while simulator.counts().of(Endpoint::Organization) < 4 {
        tokio::task::yield_now().await;
    }
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(hanging.await.unwrap().is_err(), "the server goes, and the hanging call with it");
    let lines = startup_lines(&base, "id", "secret");
    assert_eq!(lines[0], format!("CONVLAKE_BASE_URL={base}"));
}
