//! Jobs that fail, expire, get lost, never end or are too many, and an availability in the middle of the range.

use std::time::Duration;

use convlake::export::DayOutcome;
use convlake::simulator::{Endpoint, Rules, SimulatorSettings};
use tokio::time::Instant;

use crate::common::org::{Ids, Org, files, ids};
use crate::{FROM, NOW, TO, faulty, in_pages, refuses, sound, survives};

/// The fate of the jobs whose submissions `which` selects.
fn submitted(which: &str, fate: &str) -> String {
    format!(r#"{{"endpoint": "submit", {which}, "action": {{"job": {{"fate": "{fate}"}}}}}}"#)
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_once_is_submitted_again_and_one_that_fails_twice_fails_the_slice() {
    let (org, _) = survives("jobs", &submitted(r#""nth": 1"#, "failed")).await;
    let counts = org.simulator.counts();
    assert_eq!((counts.of(Endpoint::Submit), counts.of(Endpoint::Delete)), (2, 2));

    let (org, error) = refuses("jobs", &submitted(r#""after": 0"#, "failed"), 65).await;
    assert_eq!(org.simulator.counts().of(Endpoint::Submit), 2);
    assert!(error.message.contains("the job is FAILED: The query could not be completed"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn one_failed_job_leaves_the_others_published() {
    // The second and third submission are the second week's.
    let script = [2, 3].map(|nth| submitted(&format!(r#""nth": {nth}"#), "failed")).join(",");
    let faults = crate::faulty(&script).faults;
    let org = Org::new(SimulatorSettings { faults, ..sound(10) }, NOW);
    let mut ask = org.ask("jobs", "2025-01-01", "2025-01-31");
    ask.request.concurrency = 1;
    let report = org.run(ask).await;
    assert_eq!((report.totals.exit, report.errors.len()), (3, 1), "{:?}", report.errors);
    assert_eq!(report.errors[0].exit, 65);
    assert_eq!(ids(&org.lake()), org.world("2025-01-01", "2025-01-08"));
}

#[tokio::test(start_paused = true)]
async fn results_that_expire_or_get_lost_in_the_middle_start_again() {
    for fate in ["expired", "lost"] {
        for page in [1, 3, 6] {
            let script = format!(
                r#"{{"endpoint": "results", "page": {page}, "nth": 1, "action": {{"job": {{"fate": "{fate}"}}}}}}"#
            );
            let (org, report) = survives("jobs", &script).await;
            assert_eq!(org.simulator.counts().of(Endpoint::Submit), 2, "{fate} on page {page}");
            assert_eq!((report.totals.duplicates, report.windows[0].records), (0, 24), "what was read before is void");
        }
        let script = format!(r#"{{"endpoint": "results", "page": 3, "action": {{"job": {{"fate": "{fate}"}}}}}}"#);
        let (org, error) = refuses("jobs", &script, 65).await;
        assert_eq!(org.simulator.counts().of(Endpoint::Submit), 4);
        assert!(error.message.contains("after 3 restarts"), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn days_that_were_encoded_before_their_job_was_lost_are_void() {
    // Ten pages a day, each of which is handed out at once: the first days are left behind long before page 45.
    let script = r#"{"endpoint": "results", "page": 45, "nth": 1, "action": {"job": {"fate": "lost"}}}"#;
    let (from, to) = ("2025-01-01", "2025-01-06");
    for lost in [false, true] {
        let faults = faulty(if lost { script } else { "" }).faults;
        let org = Org::new(SimulatorSettings { faults, ..sound(640) }, NOW);
        let mut ask = org.ask("jobs", from, to);
        ask.api.wanted.page_size = Some(64);
        let report = org.run(ask).await;
        assert_eq!(org.simulator.counts().of(Endpoint::Submit), if lost { 2 } else { 1 });
        assert_eq!(org.said("the slice starts again"), usize::from(lost));
        assert_eq!(org.said("encoded ahead") > 5, lost, "five days, and some of them twice");
        org.assert_complete(&report, from, to);
        assert_eq!((report.totals.duplicates, report.totals.conversations), (0, 3200));
        let staged = files(&org.lake().join("_convlake/staging")).into_keys().filter(|file| file.ends_with(".part"));
        assert_eq!(staged.count(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_lost_or_expires_while_it_is_waited_for_is_submitted_again() {
    for fate in ["lost", "expired"] {
        let script = format!(r#"{{"endpoint": "job", "nth": 2, "action": {{"job": {{"fate": "{fate}"}}}}}}"#);
        let (org, _) = survives("jobs", &script).await;
        assert_eq!(org.simulator.counts().of(Endpoint::Submit), 2, "{fate}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_that_cannot_be_had_is_asked_for_again() {
    for action in [r#"{"status": {"code": 503}}"#, r#""reset""#, r#""truncate""#, r#"{"html": {"code": 200}}"#] {
        for endpoint in ["submit", "job", "delete"] {
            let script = format!(r#"{{"endpoint": "{endpoint}", "nth": 1, "action": {action}}}"#);
            let (org, _) = survives("jobs", &script).await;
            assert!(org.simulator.counts().of(Endpoint::Submit) <= 2, "{endpoint}: {action}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stuck_job_is_given_up_at_the_ceiling_deleted_and_left_for_later() {
    let start = Instant::now();
    let (org, error) = refuses("jobs", &submitted(r#""after": 0"#, "stuck"), 75).await;
    assert!(start.elapsed() >= Duration::from_secs(30 * 60) && start.elapsed() < Duration::from_secs(32 * 60));
    assert!(error.message.contains("not done after 30 minutes") && error.hint.unwrap().contains("progress is kept"));
    let counts = org.simulator.counts();
    assert_eq!((counts.of(Endpoint::Submit), counts.of(Endpoint::Delete)), (1, 1));
    assert!(counts.of(Endpoint::Job) < 80, "a hot loop");
}

#[tokio::test(start_paused = true)]
async fn submissions_refused_with_429_wait_their_turn() {
    for retry_after in [r#"{"seconds": 40}"#, r#"{"date": 40}"#, r#""absent""#] {
        let script = format!(
            r#"{{"endpoint": "submit", "first": 3, "action": {{"rate_limited": {{"retry_after": {retry_after}}}}}}}"#
        );
        let (org, _) = survives("jobs", &script).await;
        assert_eq!(org.simulator.counts().with(429), 3, "{retry_after}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_jobs_than_the_api_allows_at_once_wait_for_each_other() {
    // Ten minutes a job: longer than a call is retried for anything else.
    for jobs_concurrent_max in [1, 2] {
        let rules = Rules { jobs_concurrent_max, job_running: Duration::from_secs(600), ..Rules::default() };
        let org = Org::new(SimulatorSettings { rules, ..sound(5) }, NOW);
        let report = org.export("jobs", "2025-01-01", "2025-01-22").await;
        org.assert_complete(&report, "2025-01-01", "2025-01-22");
        let counts = org.simulator.counts();
        assert_eq!(counts.jobs_concurrent_max, jobs_concurrent_max);
        assert!(counts.with(429) >= 1, "{counts:?}");
    }
}

/// A data lake behind the jobs that ends at 2025-08-29T06:00:00Z.
fn lagging(hours: u64) -> SimulatorSettings {
    let rules = Rules { availability_lag: Duration::from_secs(hours * 3_600), ..Rules::default() };
    SimulatorSettings { rules, ..sound(30) }
}

#[tokio::test(start_paused = true)]
async fn jobs_leave_days_behind_the_availability_for_later_and_mark_the_day_that_it_cuts() {
    let org = Org::new(lagging(78), NOW);
    let report = org.export("jobs", "2025-08-26", "2025-09-01").await;
    assert_eq!((report.totals.exit, report.errors.len()), (75, 0), "{:?}", report.errors);
    let days: Vec<_> = report.days.iter().map(|day| (day.date.to_string(), day.outcome, day.state)).collect();
    let is = |date: &str, outcome, state| (date.to_owned(), outcome, state);
    assert_eq!(
        days,
        [
            is("2025-08-26", DayOutcome::Published, Some("provisional")),
            is("2025-08-27", DayOutcome::Published, Some("provisional")),
            is("2025-08-28", DayOutcome::Published, Some("provisional")),
            is("2025-08-29", DayOutcome::Published, Some("partial")),
            is("2025-08-30", DayOutcome::NotAvailable, None),
            is("2025-08-31", DayOutcome::NotAvailable, None),
        ]
    );
    assert_eq!(report.totals.availability_date, Some(crate::common::org::at("2025-08-29T06:00:00Z")));
    let cut = org.world("2025-08-29", "2025-08-29T06:00:00Z");
    assert!(cut.values().next().is_some_and(|ids| !ids.is_empty() && ids.len() < 30), "the cut cuts nothing");
    assert_eq!(ids(&org.lake()), org.world("2025-08-26", "2025-08-29T06:00:00Z"));
    assert_eq!(org.simulator.counts().of(Endpoint::Query), 0, "the protocol is never switched by itself");

    // Four days later all of it is promised.
    tokio::time::advance(Duration::from_secs(4 * 24 * 3_600)).await;
    let report = org.export("jobs", "2025-08-26", "2025-09-01").await;
    org.assert_complete(&report, "2025-08-26", "2025-09-01");
    assert!(report.days.iter().all(|day| day.state != Some("partial")), "{:?}", report.days);
}

#[tokio::test(start_paused = true)]
async fn auto_completes_what_jobs_do_not_promise_by_query() {
    let org = Org::new(lagging(78), NOW);
    let report = org.export("auto", "2025-08-26", "2025-09-01").await;
    org.assert_complete(&report, "2025-08-26", "2025-09-01");
    let sources: Vec<_> = report.days.iter().map(|day| format!("{:?}", day.source)).collect();
    assert_eq!(sources, ["Jobs", "Jobs", "Jobs", "Query", "Query", "Query"]);
}

/// What one answer takes back of the promise counts, whatever others said.
#[tokio::test(start_paused = true)]
async fn an_availability_that_goes_backwards_between_pages_takes_its_promise_back() {
    let earlier = 36 * 3_600;
    let script =
        format!(r#"{{"endpoint": "results", "page": 3, "action": {{"availability": {{"earlier_s": {earlier}}}}}}}"#);
    let faults = crate::faulty(&script).faults;
    let org = Org::new(SimulatorSettings { faults, ..lagging(12) }, NOW);
    let mut ask = org.ask("jobs", "2025-08-29", "2025-09-01");
    ask.api.wanted.page_size = Some(20);
    let report = org.run(ask).await;
    assert_eq!(report.totals.exit, 75, "{:?}", report.errors);
    // Promised up to midnight of 09-01, then up to noon of 08-30.
    assert_eq!(ids(&org.lake()), org.world("2025-08-29", "2025-08-30T12:00:00Z"));
}

#[tokio::test(start_paused = true)]
async fn auto_with_an_availability_before_the_range_is_all_query() {
    let org = Org::new(lagging(24 * 400), NOW);
    let report = org.run(in_pages(&org, "auto")).await;
    org.assert_complete(&report, FROM, TO);
    assert_eq!(org.simulator.counts().of(Endpoint::Submit), 0);
    // And jobs alone have nothing to promise.
    let org = Org::new(lagging(24 * 400), NOW);
    let report = org.export("jobs", FROM, TO).await;
    assert_eq!((report.totals.exit, ids(&org.lake())), (75, Ids::new()), "{:?}", report.errors);
}
