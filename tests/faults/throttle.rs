//! 429: obeyed however it says when to come back, and the end of the run when it does not end.

use std::time::Duration;

use convlake::simulator::{RetryHint, Rules, SimulatorSettings};
use tokio::time::Instant;

use crate::common::org::{Org, ids};
use crate::{FROM, NOW, PROTOCOLS, TO, faulty, pages_of, sound, survives};

#[tokio::test(start_paused = true)]
async fn a_429_is_obeyed_in_seconds_as_a_date_and_without_a_word() {
    for (retry_after, wait) in [(r#"{"seconds": 37}"#, 37), (r#"{"date": 90}"#, 90), (r#""absent""#, 5)] {
        for protocol in PROTOCOLS {
            let (_, endpoint) = pages_of(protocol);
            let script = format!(
                r#"{{"endpoint": "{endpoint}", "nth": 2, "action": {{"rate_limited": {{"retry_after": {retry_after}}}}}}}"#
            );
            let (org, report) = survives(protocol, &script).await;
            let sent = org.sent();
            let refused = sent.iter().find(|sent| sent.status == Some(429)).unwrap().answered.unwrap();
            // Nobody calls meanwhile.
            let next = sent.iter().map(|sent| sent.at).find(|at| *at > refused).unwrap();
            assert!(next - refused >= Duration::from_secs(wait), "{protocol}: {:?}", next - refused);
            assert!(next - refused <= Duration::from_secs(wait + 2), "{protocol}: {:?}", next - refused);
            assert_eq!((org.simulator.counts().with(429), report.totals.retries), (1, 1), "{protocol}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_below_the_known_one_is_learnt_from_headers_and_429s() {
    for retry_hint in [RetryHint::Seconds, RetryHint::Date, RetryHint::Absent] {
        let rules = Rules { rate_limit: Some(12), retry_hint, ..Rules::default() };
        let org = Org::new(SimulatorSettings { rules, ..sound(20) }, NOW);
        let mut ask = org.ask("page", FROM, TO);
        ask.api.wanted.page_size = Some(1);
        let start = Instant::now();
        let report = org.run(ask).await;
        org.assert_complete(&report, FROM, TO);
        // 40 pages, 12 a minute: three minutes must pass. No more than a few of them meet the limit.
        assert!(start.elapsed() >= Duration::from_secs(180), "{retry_hint:?}");
        assert!(org.simulator.counts().with(429) <= 8, "{retry_hint:?}: {:?}", org.simulator.counts());
    }
}

/// A source that never says what its limit is: few refusals until the pace fits, and none after that but where a faster one
/// is tried. Refusals of calls that were under way together count as one.
#[tokio::test(start_paused = true)]
async fn a_limit_below_the_known_one_is_learnt_from_429s_alone() {
    for protocol in ["cursor", "page", "query"] {
        for limit in [12, 60, 120] {
            let rules = Rules { rate_limit: Some(limit), retry_hint: RetryHint::Silent, ..Rules::default() };
            let org = Org::new(SimulatorSettings { rules, ..sound(limit * 5) }, NOW);
            let mut ask = org.ask(protocol, FROM, TO);
            ask.api.wanted.page_size = Some(1);
            let start = Instant::now();
            let report = org.run(ask).await;
            org.assert_complete(&report, FROM, TO);
            // Ten minutes at the limit. What a failed attempt at a faster pace costs is less than a quarter of it.
            assert!(start.elapsed() <= Duration::from_secs(14 * 60), "{protocol}, {limit}: {:?}", start.elapsed());
            let sent = org.sent();
            let mut events: Vec<Instant> = Vec::new();
            for refused in sent.iter().filter(|sent| sent.status == Some(429)) {
                if events.last().is_none_or(|last| *last < refused.at) {
                    events.extend(refused.answered);
                }
            }
            let fits = events.iter().filter(|at| **at < start + Duration::from_secs(150)).count();
            assert!(fits <= 5 && events.len() <= 8, "{protocol}, {limit}: {fits} of {}", events.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_for_ever_ends_at_the_deadline_and_keeps_what_was_published() {
    for retry_after in [r#""absent""#, r#"{"seconds": 20}"#] {
        // One page and the empty one behind it: the first week of two is published.
        let script = format!(
            r#"{{"endpoint": "query", "after": 2, "action": {{"rate_limited": {{"retry_after": {retry_after}}}}}}}"#
        );
        let org = Org::new(faulty(&script), NOW);
        let mut ask = org.ask("query", "2025-01-01", "2025-01-15");
        ask.request.concurrency = 1;
        let start = Instant::now();
        ask.api.deadline = Some(start + Duration::from_secs(200));
        let report = org.run(ask).await;
        assert_eq!(report.totals.exit, 75, "{:?}", report.errors);
        assert!(start.elapsed() <= Duration::from_secs(200));
        assert_eq!(ids(&org.lake()), org.world("2025-01-01", "2025-01-08"));
        let error = report.errors.last().unwrap();
        assert!(error.hint.as_deref().unwrap().contains("progress is kept"), "{error:?}");
        assert!(org.simulator.counts().with(429) <= 20, "a hot loop");

        // The next run goes on where this one ended.
        let later = org.turned_into(sound(12));
        let report = later.export("query", "2025-01-01", "2025-01-15").await;
        later.assert_complete(&report, "2025-01-01", "2025-01-15");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_longer_than_a_call_is_retried_ends_at_once() {
    let script = r#"{"endpoint": "cursor", "nth": 3, "action": {"rate_limited": {"retry_after": {"seconds": 86400}}}}"#;
    let start = Instant::now();
    let (org, error) = crate::refuses("cursor", script, 75).await;
    assert!(start.elapsed() < Duration::from_secs(60));
    assert!(error.message.contains("86400 s"), "{error:?}");
    assert_eq!(org.simulator.counts().with(429), 1);
}
