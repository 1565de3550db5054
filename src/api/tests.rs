//! Calls: tokens, refusals, outages and limits, against a scripted API in virtual time.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::testing::{Asked, CANARY, Reply, Scripted, api, fetch, records, settings, slice, today};
use super::transport::Fault;
use super::{Api, ApiSettings, AuthStyle, CALLS_IN_FLIGHT_MAX, Endpoint, Probed, RangeEnd, UNPACED, Wanted};
use crate::error::{Error, Kind};
use crate::plan::Protocol::{Cursor, Jobs, Page, Query};
use crate::plan::Slice;
use crate::time::{Interval, parse_timestamp};

fn nothing() -> Reply {
    Reply::json(json!({}))
}

/// The error of a fetch; the secret is in none.
async fn failure(scripted: &Arc<Scripted>, settings: ApiSettings) -> Error {
    let error = fetch(&api(scripted, settings), slice(Query, 1)).await.0.unwrap_err();
    let text = format!("{error} {error:?} {:?}", error.hint_text());
    assert!(!text.contains(CANARY) && !text.contains("Y2xpZW50"), "{text}");
    error
}

mod tokens {
    use super::*;

    fn token(life: Value) -> Reply {
        Reply::json(json!({"access_token": "t", "expires_in": life}))
    }

    #[tokio::test(start_paused = true)]
    async fn the_credentials_are_shown_in_either_style() {
        let scripted = Scripted::in_turn(vec![nothing()]);
        fetch(&api(&scripted, settings()), slice(Query, 1)).await.0.unwrap();
        let asked = &scripted.tokens()[0];
        assert_eq!((asked.method.as_str(), asked.text.as_str()), ("POST", "grant_type=client_credentials"));
        assert_eq!(asked.authorization, "Basic Y2xpZW50OmNhbmFyeS1zZWNyZXQ=");
        let scripted = Scripted::in_turn(vec![nothing()]);
        fetch(&api(&scripted, ApiSettings { auth: AuthStyle::Body, ..settings() }), slice(Query, 1)).await.0.unwrap();
        let asked = &scripted.tokens()[0];
        assert_eq!(asked.text, format!("grant_type=client_credentials&client_id=client&client_secret={CANARY}"));
        assert_eq!(asked.authorization, "");
    }

    /// The login of the second tutorial may know the client by its form only; once that is known the header is left out.
    #[tokio::test(start_paused = true)]
    async fn the_form_is_tried_when_the_header_is_refused_and_kept() {
        let either = || ApiSettings { auth: AuthStyle::Either, ..settings() };
        let unknown = || Reply::status(401, json!({"error": "invalid_client"}));
        let scripted = Scripted::bare(move |asked| match asked.path.as_str() {
            "/oauth/token" if asked.authorization.is_empty() => token(json!(100)),
            "/oauth/token" => unknown(),
            _ => nothing(),
        });
        let source = api(&scripted, either());
        fetch(&source, slice(Query, 1)).await.0.unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        fetch(&source, slice(Query, 1)).await.0.unwrap();
        let by_header: Vec<bool> = scripted.tokens().iter().map(|asked| !asked.authorization.is_empty()).collect();
        assert_eq!(by_header, [true, false, false]);

        // What both refuse is wrong, and what is refused for another reason is not tried again.
        for (answer, tries) in [("invalid_client", 2), ("unauthorized_client", 1)] {
            let scripted = Scripted::bare(move |_| Reply::status(400, json!({"error": answer})));
            let error = failure(&scripted, either()).await;
            assert_eq!((error.kind(), scripted.tokens().len()), (Kind::Access, tries));
            assert_eq!(error.to_string().contains("by header and by form"), tries == 2, "{error}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_of_401_makes_one_token_request() {
        let scripted = Scripted::new(|asked| {
            let reply = if asked.authorization == "Bearer t1" { Reply::status(401, Value::Null) } else { nothing() };
            reply.after(Duration::from_millis(100))
        });
        let api = api(&scripted, settings());
        for (fetched, _) in join_all((0..32).map(|_| fetch(&api, slice(Query, 1)))).await {
            fetched.unwrap();
        }
        assert_eq!(scripted.tokens().len(), 2);
        assert_eq!(api.stats().token_requests, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn fresh_tokens_that_are_refused_end_the_run() {
        let scripted = Scripted::new(|_| {
            Reply::status(401, json!({"message": "Invalid login credentials.", "code": "bad.credentials"}))
        });
        let error = failure(&scripted, settings()).await;
        assert_eq!((error.kind(), scripted.tokens().len(), scripted.asked().len()), (Kind::Access, 2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_served_is_renewed_however_often_it_is_revoked() {
        let mut calls = 0;
        let scripted = Scripted::new(move |_| {
            calls += 1;
            if calls % 2 == 0 {
                Reply::status(401, Value::Null)
            } else {
                Reply::json(json!({"conversations": records(0, usize::from(calls < 20))}))
            }
        });
        fetch(&api(&scripted, settings()), slice(Query, 1)).await.0.unwrap();
        assert_eq!(scripted.tokens().len(), 11);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_refuses_what_others_accept_ends() {
        let scripted =
            Scripted::new(
                |asked| if asked.path.ends_with("/me") { Reply::status(401, Value::Null) } else { nothing() },
            );
        let api = api(&scripted, settings());
        fetch(&api, slice(Query, 1)).await.0.unwrap();
        assert_eq!(api.organization().await.unwrap_err().kind(), Kind::Access);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_client_is_not_asked_about_again() {
        for status in [400, 401, 403] {
            let answer = json!({"error": "invalid_client", "description": "client not found: invalid_client"});
            let scripted = Scripted::bare(move |_| Reply::status(status, answer.clone()));
            let error = failure(&scripted, settings()).await;
            assert_eq!((error.kind(), scripted.tokens().len()), (Kind::Access, 1));
            assert!(error.to_string().contains("invalid_client"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn auth_errors_name_the_region() {
        let scripted = Scripted::bare(|_| Reply::status(401, Value::Null));
        let settings = ApiSettings { endpoint: Endpoint::region("eu-west-1").unwrap(), ..settings() };
        assert!(failure(&scripted, settings).await.to_string().contains("eu-west-1 (api.mypurecloud.ie)"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_in_trouble_is_asked_again() {
        let mut replies = vec![
            Reply::status(503, Value::Null),
            Reply::status(429, Value::Null),
            Reply::fault(Fault::Connect),
            Reply::raw(200, "<html>"),
            token(json!(100)),
        ]
        .into_iter();
        let scripted =
            Scripted::bare(move |asked| if asked.path == "/oauth/token" { replies.next().unwrap() } else { nothing() });
        fetch(&api(&scripted, settings()), slice(Query, 1)).await.0.unwrap();
        assert_eq!(scripted.tokens().len(), 5);
        let portal = Scripted::bare(|_| Reply::raw(200, "<html>"));
        let error = failure(&portal, settings()).await;
        assert_eq!((error.kind(), portal.tokens().len()), (Kind::Unavailable, 3));
        let elsewhere = Scripted::bare(|_| Reply::status(404, Value::Null));
        assert_eq!(failure(&elsewhere, settings()).await.kind(), Kind::Config);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_is_down_fails_all_who_wait_at_once() {
        let start = Instant::now();
        let scripted = Scripted::bare(|_| Reply::status(503, Value::Null));
        let api = api(&scripted, settings());
        for (fetched, _) in join_all((0..16).map(|_| fetch(&api, slice(Query, 1)))).await {
            assert_eq!(fetched.unwrap_err().kind(), Kind::Unavailable);
        }
        assert!(start.elapsed() <= Duration::from_secs(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_renewed_before_its_end_whatever_it_says() {
        let cases = [
            (json!(1000), 940),
            (json!("1000"), 940),
            (json!(100), 90),
            (Value::Null, 270),
            (json!(0), 270),
            (json!(-1), 270),
            (json!("soon"), 270),
            (json!(1_000_000_000_000u64), 86_340),
        ];
        for (life, renewed_after) in cases {
            let stated = life.clone();
            let scripted = Scripted::bare(
                move |asked| if asked.path == "/oauth/token" { token(stated.clone()) } else { nothing() },
            );
            let api = api(&scripted, settings());
            for (wait, tokens) in [(0, 1), (renewed_after - 1, 1), (2, 2)] {
                tokio::time::sleep(Duration::from_secs(wait)).await;
                fetch(&api, slice(Query, 1)).await.0.unwrap();
                assert_eq!(scripted.tokens().len(), tokens, "expires_in {life}");
            }
        }
    }
}

mod refusals {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_missing_permission_names_where_to_grant_it() {
        let scripted = Scripted::new(|_| Reply::status(403, json!({"code": "missing.permissions", "message": "no"})));
        let error = failure(&scripted, settings()).await;
        assert_eq!((error.kind(), scripted.asked().len()), (Kind::Access, 1));
        assert!(error.to_string().contains("missing.permissions"));
        let hint = error.hint_text().unwrap();
        assert!(
            hint.contains("analytics > conversationDetail > view")
                && hint.contains("analytics:conversation:details:view")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn other_refusals_fail_the_slice_with_the_apis_words() {
        let scripted = Scripted::new(|_| {
            Reply::status(400, json!({"message": "no such\u{7} dimension", "code": "bad.request", "contextId": "x-1"}))
                .header("inin-correlation-id", "corr-1")
        });
        let error = failure(&scripted, settings()).await;
        assert_eq!((error.kind(), scripted.asked().len()), (Kind::Data, 1));
        let text = error.to_string();
        assert!(
            text.ends_with(
                "page 1: the API answered 400: bad.request: no such dimension (context x-1) [correlation corr-1]"
            ),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_helps_is_tried_once() {
        for (reply, kind) in [
            (Reply::fault as fn(Fault) -> Reply, Kind::Unavailable),
            (|_| Reply::status(302, Value::Null).header("location", "https://portal.example/"), Kind::Config),
            (|_| Reply::status(407, Value::Null), Kind::Config),
        ] {
            let scripted = Scripted::new(move |_| reply(Fault::Tls));
            assert_eq!((failure(&scripted, settings()).await.kind(), scripted.asked().len()), (kind, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_portal_is_recognised_after_three_tries() {
        let scripted = Scripted::new(|_| Reply::raw(200, "\n<!doctype html>"));
        let (fetched, delivered) = fetch(&api(&scripted, settings()), slice(Query, 1)).await;
        let error = fetched.unwrap_err();
        assert_eq!((error.kind(), scripted.asked().len(), delivered.refused.len()), (Kind::Unavailable, 3, 0));
        assert!(error.to_string().contains("a proxy or portal answered"));
    }
}

mod trouble {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn passing_trouble_is_waited_out() {
        for status in [425, 500, 502, 503, 520] {
            let scripted = Scripted::in_turn(vec![
                Reply::status(status, Value::Null),
                Reply::raw(status, "<html>"),
                Reply::fault(Fault::Connect),
                Reply::fault(Fault::Body),
                nothing(),
            ]);
            let api = api(&scripted, settings());
            fetch(&api, slice(Query, 1)).await.0.unwrap();
            assert_eq!((api.stats().calls, api.stats().retries), (5, 4));
            let waits = scripted.waits();
            let bounds = [(2.0, 2.5), (4.0, 5.0), (8.0, 10.0), (16.0, 20.0)];
            assert!(waits.iter().zip(bounds).all(|(wait, (low, high))| (low..=high).contains(wait)), "{waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_stays_down_is_unavailable() {
        for reply in
            [|| Reply::status(503, Value::Null), || Reply::fault(Fault::Connect), || Reply::fault(Fault::Timeout)]
        {
            let start = Instant::now();
            let scripted = Scripted::new(move |_| reply());
            let settings = ApiSettings { wanted: Wanted { page_size: Some(1), ..Wanted::default() }, ..settings() };
            assert_eq!(failure(&scripted, settings).await.kind(), Kind::Unavailable);
            assert!(start.elapsed() <= Duration::from_secs(300) && scripted.asked().len() >= 5);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_was_given_up_is_not_waited_for_again_until_it_serves() {
        let up = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&up);
        let scripted = Scripted::new(move |asked| match seen.load(SeqCst) {
            0 => Reply::status(503, Value::Null),
            1 => nothing(),
            // Up, with one bad endpoint.
            _ if asked.path.ends_with("availability") => Reply::status(503, Value::Null),
            _ => nothing(),
        });
        let api = api(&scripted, settings());
        assert_eq!(fetch(&api, slice(Query, 1)).await.0.unwrap_err().kind(), Kind::Unavailable);
        let before = scripted.asked().len();
        assert_eq!(fetch(&api, slice(Query, 1)).await.0.unwrap_err().kind(), Kind::Unavailable);
        assert_eq!(scripted.asked().len() - before, 1);
        up.store(1, SeqCst);
        fetch(&api, slice(Query, 1)).await.0.unwrap();
        up.store(2, SeqCst);
        let others = async {
            for _ in 0..400 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                fetch(&api, slice(Query, 1)).await.0.unwrap();
            }
        };
        let (_, bad) = futures::join!(others, api.availability());
        assert_eq!(bad.unwrap_err().kind(), Kind::Unavailable);
        let before = scripted.asked().len();
        api.availability().await.unwrap_err();
        assert!(scripted.asked().len() - before >= 5, "the source as a whole was never down");
    }

    #[tokio::test(start_paused = true)]
    async fn the_deadline_bounds_waits_and_calls() {
        for scripted in [
            Scripted::new(|_| Reply::status(503, Value::Null)),
            Scripted::new(|_| nothing().after(Duration::from_secs(900))),
        ] {
            let start = Instant::now();
            let settings = ApiSettings { deadline: Some(start + Duration::from_secs(20)), ..settings() };
            assert_eq!(failure(&scripted, settings).await.kind(), Kind::Later);
            assert!(start.elapsed() <= Duration::from_secs(20));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_429_silences_everybody_for_as_long_as_it_says() {
        let start = Instant::now();
        let first = AtomicUsize::new(0);
        let scripted = Scripted::new(move |asked| {
            if asked.at < start + Duration::from_secs(7) && first.fetch_add(1, SeqCst) == 0 {
                return Reply::status(429, Value::Null).header("retry-after", "7");
            }
            nothing().after(Duration::from_millis(10))
        });
        let api = api(&scripted, settings());
        fetch(&api, slice(Query, 1)).await.0.unwrap();
        let late: Vec<Asked> = scripted.asked()[1..].to_vec();
        assert!(late.iter().all(|asked| asked.at >= start + Duration::from_secs(7)));
        assert_eq!(api.stats().throttled, 1);
    }

    /// Too many jobs at a time says nothing about calls: the other calls neither wait nor slow down.
    #[tokio::test(start_paused = true)]
    async fn a_429_of_a_job_submission_holds_nobody_else_up() {
        let start = Instant::now();
        let scripted = Scripted::new(move |asked| match asked.method.as_str() {
            "POST" if asked.path.ends_with("/jobs") && asked.at < start + Duration::from_secs(60) => {
                Reply::status(429, Value::Null)
            }
            "POST" if asked.path.ends_with("/jobs") => Reply::json(json!({"jobId": "j"})),
            "GET" if asked.path.ends_with("/j") => Reply::json(json!({"state": "FULFILLED"})),
            _ => Reply::json(json!({"conversations": []})).after(Duration::from_millis(100)),
        });
        let api = api(&scripted, settings());
        let queries = async {
            while start.elapsed() < Duration::from_secs(45) {
                fetch(&api, slice(Query, 1)).await.0.unwrap();
            }
        };
        let (job, ()) = futures::join!(fetch(&api, slice(Jobs, 1)), queries);
        job.0.unwrap();
        let asked = scripted.asked();
        let of = |path: &str| -> Vec<Instant> {
            asked.iter().filter(|asked| asked.path.ends_with(path)).map(|asked| asked.at).collect()
        };
        assert!(of("/jobs").len() >= 5, "{:?}", of("/jobs"));
        let queries = of("/query");
        let longest = queries.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(queries.len() >= 225 && longest < Duration::from_secs(1), "{} calls, {longest:?}", queries.len());
    }

    #[tokio::test(start_paused = true)]
    async fn throttled_for_ever_ends_later_and_without_a_hot_loop() {
        let start = Instant::now();
        let scripted = Scripted::new(|_| {
            Reply::status(429, Value::Null).header("retry-after", "30").after(Duration::from_millis(50))
        });
        let api = api(&scripted, settings());
        for (fetched, _) in join_all((0..8).map(|_| fetch(&api, slice(Query, 1)))).await {
            assert_eq!(fetched.unwrap_err().kind(), Kind::Later);
        }
        // Eight callers at first, then one after each pause: not eight.
        let minutes = start.elapsed().as_secs() / 60 + 1;
        assert!(
            scripted.asked().len() <= 8 + 3 * minutes as usize,
            "{} calls in {minutes} minutes",
            scripted.asked().len()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_hours_is_left_for_later_at_once_by_all() {
        let start = Instant::now();
        let scripted = Scripted::new(|_| Reply::status(429, Value::Null).header("retry-after", "7200"));
        let api = api(&scripted, settings());
        for (fetched, _) in join_all((0..2 * CALLS_IN_FLIGHT_MAX).map(|_| fetch(&api, slice(Query, 1)))).await {
            assert_eq!(fetched.unwrap_err().kind(), Kind::Later);
        }
        assert!(start.elapsed() < Duration::from_secs(1) && scripted.asked().len() <= CALLS_IN_FLIGHT_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn the_budget_of_calls_is_kept() {
        let scripted = Scripted::new(|_| Reply::json(json!({"conversations": records(0, 1)})));
        let error = failure(&scripted, ApiSettings { max_calls: Some(4), ..settings() }).await;
        assert_eq!((error.kind(), scripted.asked().len()), (Kind::Later, 4));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_are_limited() {
        let open = Arc::new(Mutex::new(Vec::<Instant>::new()));
        let peak = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&peak);
        let scripted = Scripted::new(move |asked| {
            let mut open = open.lock().unwrap();
            open.retain(|end| *end > asked.at);
            open.push(asked.at + Duration::from_secs(1));
            seen.fetch_max(open.len(), SeqCst);
            nothing().after(Duration::from_secs(1))
        });
        let api = api(&scripted, ApiSettings { rate_limit: Some(UNPACED), ..settings() });
        join_all((0..2 * CALLS_IN_FLIGHT_MAX).map(|_| fetch(&api, slice(Query, 1)))).await;
        assert_eq!(peak.load(SeqCst), CALLS_IN_FLIGHT_MAX);
    }
}

mod asides {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn availability_is_read_or_assumed() {
        let scripted =
            Scripted::in_turn(vec![Reply::json(json!({"dataAvailabilityDate": "2025-06-15T04:10:03Z"})), nothing()]);
        let api = api(&scripted, settings());
        assert_eq!(api.availability().await.unwrap().to_rfc3339(), "2025-06-15T04:10:03+00:00");
        let assumed = api.availability().await.unwrap();
        assert!((today() - assumed - chrono::TimeDelta::hours(24)).num_seconds().abs() <= 1);
        assert!(scripted.asked()[0].path.ends_with("/details/jobs/availability"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_organization_is_optional() {
        let scripted = Scripted::in_turn(vec![
            Reply::json(json!({"id": "org"})),
            Reply::status(403, Value::Null),
            Reply::status(404, Value::Null),
        ]);
        let api = api(&scripted, settings());
        assert_eq!(api.organization().await.unwrap().as_deref(), Some("org"));
        assert_eq!(api.organization().await.unwrap(), None);
        assert_eq!(api.organization().await.unwrap(), None);
        assert_eq!(api.stats().calls, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn probes_ask_for_one_record_where_the_size_of_a_page_is_ours_to_choose() {
        let scripted = Scripted::in_turn(vec![
            Reply::json(json!({"conversations": [{}], "totalHits": 70})),
            Reply::json(json!({"entities": [{}, {}], "totalRecords": 80, "nextPageCursor": "c"})),
            Reply::json(json!({"entities": [{}], "paging": {"pageCount": 90}})),
        ]);
        let api = api(&scripted, settings());
        for (protocol, records, page_size) in [(Query, 70, None), (Cursor, 80, Some(2)), (Page, 90, None)] {
            assert_eq!(api.probe(&slice(protocol, 7)).await.unwrap(), Probed { records, page_size });
        }
        assert_eq!(api.probe(&slice(Jobs, 7)).await.unwrap_err().kind(), Kind::Usage);
        let asked = scripted.asked();
        assert_eq!(asked[0].body["paging"], json!({"pageSize": 1, "pageNumber": 1}));
        assert_eq!((asked[1].body.get("pageSize"), &asked[2].body["size"]), (None, &json!(1)));
    }

    /// Bounds that are finer than the wire are widened: two parts that meet within a millisecond overlap in it.
    #[tokio::test(start_paused = true)]
    async fn bounds_within_a_millisecond_leave_no_gap() {
        let at = |text: &str| parse_timestamp(text).unwrap();
        let parts = [
            ("2025-01-01T10:00:00.0000Z", "2025-01-01T10:00:00.0015Z"),
            ("2025-01-01T10:00:00.0015Z", "2025-01-01T11:00:00Z"),
        ];
        for (end, ends) in [
            (RangeEnd::Inclusive, ["10:00:00.001", "10:59:59.999"]),
            (RangeEnd::Exclusive, ["10:00:00.002", "11:00:00.000"]),
        ] {
            for (protocol, names) in [(Cursor, ["startTime", "endTime"]), (Page, ["dateFrom", "dateTo"])] {
                let scripted = Scripted::new(|_| Reply::json(json!({"entities": []})));
                let api = api(
                    &scripted,
                    ApiSettings { wanted: Wanted { end: Some(end), ..Wanted::default() }, ..settings() },
                );
                for (from, to) in parts {
                    let interval = Interval::new(at(from), at(to)).unwrap();
                    fetch(&api, Slice { interval, ..slice(protocol, 1) }).await.0.unwrap();
                }
                let sent: Vec<_> = scripted
                    .asked()
                    .iter()
                    .map(|asked| names.map(|name| asked.body[name].as_str().unwrap()[11..23].to_owned()))
                    .collect();
                assert_eq!(sent, [["10:00:00.000", ends[0]], ["10:00:00.001", ends[1]]], "{protocol}");
            }
        }
    }

    #[test]
    fn calls_are_foreseen() {
        let calls = |protocol, records| Api::expected_calls(protocol, records, 100);
        assert_eq!([calls(Query, 0), calls(Query, 250), calls(Page, 0), calls(Cursor, 250)], [1, 4, 1, 3]);
        assert!(calls(Jobs, 250) > 3);
    }

    #[test]
    fn settings_that_do_not_fit_the_protocol_are_usage_errors() {
        let usage = |wanted: Wanted, protocol| {
            assert_eq!(wanted.check(protocol).unwrap_err().kind(), Kind::Usage);
        };
        let size = |size| Wanted { page_size: Some(size), ..Wanted::default() };
        let grain = |grain: &str| Wanted { granularity: Some(grain.to_owned()), ..Wanted::default() };
        let metrics = Wanted { metrics: Some(vec!["talkRate".to_owned()]), ..Wanted::default() };
        usage(size(0), Page);
        usage(size(1001), Page);
        usage(size(101), Query);
        usage(grain("minute"), Cursor);
        usage(grain("day"), Page);
        usage(metrics.clone(), Jobs);
        assert!(size(1000).check(Page).is_ok());
        assert!(grain("hour").check(Cursor).is_ok());
        assert!(metrics.check(Page).is_ok());
    }
}
