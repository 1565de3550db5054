//! Answers that are none, and connections that break.

use std::time::Duration;

use convlake::simulator::Endpoint;
use tokio::time::Instant;

use crate::common::org::{Org, ids, range};
use crate::{FROM, NOW, PROTOCOLS, TO, faulty, in_pages, pages_of, refuses, sound, survives};

/// The action for the calls that `which` selects among those for pages.
fn on_pages(protocol: &str, which: &str, action: &str) -> String {
    let (_, endpoint) = pages_of(protocol);
    format!(r#"{{"endpoint": "{endpoint}", {which}, "action": {action}}}"#)
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_out_and_nothing_is_lost() {
    for action in [
        r#""truncate""#,
        r#"{"html": {"code": 200}}"#,
        r#"{"html": {"code": 502}}"#,
        r#""error_object""#,
        r#"{"status": {"code": 200, "body": ""}}"#,
        r#"{"status": {"code": 204, "body": ""}}"#,
        r#"{"status": {"code": 200, "body": "[1, 2"}}"#,
        r#"{"status": {"code": 408}}"#,
        r#"{"status": {"code": 500}}"#,
        r#"{"status": {"code": 503}}"#,
        r#"{"status": {"code": 504}}"#,
        r#"{"status": {"code": 520, "body": "<html>"}}"#,
        r#""reset""#,
        r#""reset_in_body""#,
        r#""hang""#,
        r#"{"slow": {"ms": 59000}}"#,
        r#"{"slow": {"ms": 61000}}"#,
        r#"{"content_encoding": {"value": "gzip"}}"#,
    ] {
        for protocol in PROTOCOLS {
            let (org, report) = survives(protocol, &on_pages(protocol, r#""nth": 3"#, action)).await;
            let again = u64::from(!action.contains("59000"));
            assert_eq!(report.totals.retries, again, "{protocol}: {action}");
            assert!(again == 0 || report.totals.calls > again, "{:?}", org.simulator.counts());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn three_outages_in_a_row_are_waited_out() {
    for action in [r#"{"status": {"code": 500}}"#, r#""reset""#, r#""reset_in_body""#, r#"{"status": {"code": 429}}"#] {
        for protocol in PROTOCOLS {
            let (_, report) = survives(protocol, &on_pages(protocol, r#""after": 1, "first": 4"#, action)).await;
            assert_eq!(report.totals.retries, 3, "{protocol}: {action}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_answers_that_cannot_be_read_are_asked_for_again_and_the_third_counts() {
    for action in [r#"{"html": {"code": 200}}"#, r#""truncate""#, r#"{"status": {"code": 200, "body": "null"}}"#] {
        for protocol in PROTOCOLS {
            let (_, report) = survives(protocol, &on_pages(protocol, r#""after": 1, "first": 3"#, action)).await;
            assert_eq!(report.totals.retries, 2, "{protocol}: {action}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_silences_halve_the_page() {
    for protocol in PROTOCOLS {
        let org = Org::new(faulty(&on_pages(protocol, r#""first": 2"#, r#""hang""#)), NOW);
        let mut ask = org.ask(protocol, FROM, TO);
        ask.api.wanted.page_size = Some(40);
        let report = org.run(ask).await;
        org.assert_complete(&report, FROM, TO);
        let pages = |path: &str| path.ends_with("/query") || path.contains("/results");
        let sizes: Vec<String> = org.sent().iter().filter(|sent| pages(&sent.path)).map(page_size).collect();
        assert_eq!(sizes[..3], ["40", "40", "20"], "{protocol}: {sizes:?}");
    }
}

/// The page size that a request asks for, wherever its protocol says it.
fn page_size(sent: &crate::common::org::Sent) -> String {
    let body = &sent.body;
    let said = [&body["size"], &body["pageSize"], &body["paging"]["pageSize"]].into_iter().find(|v| v.is_u64());
    said.map(ToString::to_string).unwrap_or_else(|| {
        let after = sent.path.split("pageSize=").nth(1).unwrap();
        after.split('&').next().unwrap().to_owned()
    })
}

#[tokio::test(start_paused = true)]
async fn a_portal_for_ever_is_unavailable_and_named() {
    for protocol in PROTOCOLS {
        let (org, error) =
            refuses(protocol, &on_pages(protocol, r#""after": 2"#, r#"{"html": {"code": 200}}"#), 69).await;
        assert!(error.message.contains("a proxy or portal answered"), "{error:?}");
        // Two good pages, three tries; where pages have numbers several are asked for at once.
        let tries = org.simulator.counts().of(pages_of(protocol).0) - 2;
        assert!(if ["page", "query"].contains(&protocol) { tries <= 3 * 6 } else { tries == 3 }, "{protocol}: {tries}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_stay_broken_fail_the_data_and_are_kept_as_evidence() {
    for protocol in PROTOCOLS {
        let (org, error) = refuses(protocol, &on_pages(protocol, r#""after": 2"#, r#""truncate""#), 65).await;
        assert!(error.message.contains("the answer is not a page"), "{error:?}");
        let kept = crate::common::org::files(&org.lake().join("_convlake/quarantine"));
        assert!(!kept.is_empty(), "{protocol}: nothing is kept");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_down_is_unavailable_within_the_bound_of_a_call() {
    for action in
        [r#"{"status": {"code": 503}}"#, r#""reset""#, r#""reset_in_body""#, r#"{"content_encoding": {"value": "br"}}"#]
    {
        for protocol in PROTOCOLS {
            let start = Instant::now();
            let (org, error) = refuses(protocol, &on_pages(protocol, r#""after": 2"#, action), 69).await;
            assert!(start.elapsed() < Duration::from_secs(320), "{protocol}: {:?}", start.elapsed());
            assert!(error.hint.unwrap().contains("progress is kept"));
            assert!(org.simulator.counts().of(pages_of(protocol).0) >= 2 + 5, "{protocol}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silence_for_ever_is_unavailable() {
    for protocol in PROTOCOLS {
        let (_, error) = refuses(protocol, &on_pages(protocol, r#""after": 2"#, r#""hang""#), 69).await;
        assert!(error.message.contains("no answer in time"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn slices_before_an_outage_stay_published() {
    for protocol in PROTOCOLS {
        // The first week by query has one page and the empty one, a job one, and the first window by cursor four.
        let (served, first_end, to) = match protocol {
            "query" => (2, "2025-01-08", "2025-01-15"),
            "jobs" => (1, "2025-01-08", "2025-01-15"),
            "cursor" => (4, "2025-01-31", "2025-02-02"),
            _ => (1, "2025-01-31", "2025-02-02"),
        };
        let script = on_pages(protocol, &format!(r#""after": {served}"#), r#"{"status": {"code": 503}}"#);
        let org = Org::new(faulty(&script), NOW);
        let mut ask = org.ask(protocol, "2025-01-01", to);
        ask.request.concurrency = 1;
        let report = org.run(ask).await;
        assert_eq!(report.totals.exit, 3, "{protocol}: {:?}", report.errors);
        assert!(report.errors.iter().all(|error| error.exit == 69), "{:?}", report.errors);
        assert_eq!(ids(&org.lake()), org.world("2025-01-01", first_end), "{protocol}");

        let later = org.turned_into(sound(12));
        let report = later.export(protocol, "2025-01-01", to).await;
        later.assert_complete(&report, "2025-01-01", to);
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirect_is_never_followed_and_names_the_host_alone() {
    for protocol in PROTOCOLS {
        let to = r#"{"redirect": {"location": "https://portal.example/login?session=hunter2"}}"#;
        let (org, error) = refuses(protocol, &on_pages(protocol, r#""after": 1"#, to), 78).await;
        assert!(error.message.contains("`portal.example`") && !error.message.contains("hunter2"), "{error:?}");
        assert!(org.sent().iter().all(|sent| sent.host == "localhost"));
        assert!(org.simulator.counts().with(302) <= 6);
    }
    // Nor by the login, which would hand over the secret.
    let to = r#"{"endpoint": "token", "action": {"redirect": {"location": "https://portal.example/"}}}"#;
    let (org, _) = refuses("page", to, 78).await;
    assert_eq!((org.simulator.counts().of(Endpoint::Token), org.sent().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_silence() {
    let org = Org::new(faulty(r#"{"endpoint": "query", "action": "hang"}"#), NOW);
    let mut ask = in_pages(&org, "query");
    ask.request.asked = range("2025-01-01", "2025-01-02").into();
    let start = Instant::now();
    ask.api.deadline = Some(start + Duration::from_secs(30));
    let report = org.run(ask).await;
    assert_eq!((report.totals.exit, start.elapsed().as_secs()), (75, 30), "{:?}", report.errors);
}
