//! Tokens that end, clients that are unknown, permissions that are missing.

use std::time::Duration;

use convlake::api::{AuthStyle, Credentials};
use convlake::simulator::{Endpoint, Rules, SimulatorSettings};
use tokio::time::Instant;

use crate::common::org::{Org, ids};
use crate::{FROM, NOW, PROTOCOLS, TO, faulty, in_pages, pages_of, refuses, refuses_as, sound};

#[tokio::test(start_paused = true)]
async fn a_token_revoked_under_concurrency_is_renewed_once() {
    for protocol in PROTOCOLS {
        let (_, endpoint) = pages_of(protocol);
        let script = format!(r#"{{"endpoint": "{endpoint}", "nth": 4, "action": "revoke_tokens"}}"#);
        let org = Org::new(SimulatorSettings { faults: faulty(&script).faults, ..sound(10) }, NOW);
        let mut ask = org.ask(protocol, "2025-01-01", "2025-02-10");
        ask.api.wanted.page_size = Some(20);
        let report = org.run(ask).await;
        org.assert_complete(&report, "2025-01-01", "2025-02-10");
        let counts = org.simulator.counts();
        assert!(counts.with(401) >= 1, "{protocol}: {counts:?}");
        assert_eq!(counts.of(Endpoint::Token), 2, "{protocol}: {counts:?}");
        let in_flight = |at: Instant| org.sent().iter().filter(|s| s.at <= at && s.answered > Some(at)).count();
        assert!(org.sent().iter().any(|sent| in_flight(sent.at) > 1), "{protocol}: no concurrency");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_one_hour_is_renewed_in_time_over_many_hours() {
    let rules =
        Rules { latency: Duration::from_secs(50), token_lifetime: Duration::from_secs(3_600), ..Rules::default() };
    let org = Org::new(SimulatorSettings { rules, ..sound(140) }, NOW);
    // One call at a time.
    let mut ask = org.ask("cursor", FROM, TO);
    ask.api.wanted.page_size = Some(1);
    ask.request.concurrency = 1;
    let start = Instant::now();
    let report = org.run(ask).await;
    org.assert_complete(&report, FROM, TO);
    let hours = start.elapsed().as_secs() / 3_600;
    assert_eq!(hours, 3);
    let counts = org.simulator.counts();
    assert_eq!((counts.with(401), counts.of(Endpoint::Token)), (0, 4), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_secret_ends_the_run_without_a_retry() {
    let wrong = "wrong-secret-wrong-secret-wrong-secret-wrong";
    for protocol in PROTOCOLS {
        let org = Org::new(sound(20), NOW);
        let mut ask = in_pages(&org, protocol);
        ask.api.credentials = Credentials::new(org.simulator.client_id(), wrong).unwrap();
        let report = org.run(ask).await;
        assert_eq!(report.totals.exit, 77, "{:?}", report.errors);
        assert_eq!(org.sent().len(), 1, "{protocol}");
        assert!(ids(&org.lake()).is_empty());
        let error = &report.errors[0];
        assert!(error.message.contains("invalid_client") && error.message.contains("localhost"), "{error:?}");
        assert!(error.hint.as_deref().unwrap().contains("check id and secret"), "{error:?}");
        assert!(!format!("{report:?}").contains(wrong));
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_by_form_alone_is_found() {
    let rules = Rules { login: AuthStyle::Body, ..Rules::default() };
    for (auth, exit) in [(AuthStyle::Either, 0), (AuthStyle::Body, 0), (AuthStyle::Basic, 77)] {
        let org = Org::new(SimulatorSettings { rules: rules.clone(), ..sound(20) }, NOW);
        let mut ask = in_pages(&org, "page");
        ask.api.auth = auth;
        let report = org.run(ask).await;
        assert_eq!(report.totals.exit, exit, "{auth:?}: {:?}", report.errors);
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_ends_the_run_and_names_where_to_grant_it() {
    for (protocol, endpoint) in [("query", "query"), ("jobs", "submit"), ("cursor", "cursor"), ("page", "page")] {
        let script = format!(r#"{{"endpoint": "{endpoint}", "action": "forbidden"}}"#);
        let (org, error) = refuses(protocol, &script, 77).await;
        assert_eq!(org.simulator.counts().with(403), 1, "{protocol}");
        let hint = error.hint.unwrap();
        assert!(error.message.contains("analytics:conversationDetail:view"), "{}", error.message);
        assert!(hint.contains("Admin > Integrations > OAuth"), "{hint}");
        assert!(hint.contains("analytics > conversationDetail > view"), "{hint}");
        for scope in ["conversation:details:view", "conversation:summary:view", "conversation:view", "report:view"] {
            assert!(hint.contains(&format!("analytics:{scope}")), "{hint}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_organization_may_be_hidden() {
    let (org, _) = crate::survives("query", r#"{"endpoint": "organization", "action": "forbidden"}"#).await;
    assert_eq!(org.simulator.counts().with(403), 1);
}

#[tokio::test(start_paused = true)]
async fn fresh_tokens_that_are_refused_end_the_run() {
    for protocol in PROTOCOLS {
        let (_, endpoint) = pages_of(protocol);
        let script = format!(r#"{{"endpoint": "{endpoint}", "action": "unauthorized"}}"#);
        let (org, error) = refuses(protocol, &script, 77).await;
        assert!(error.message.contains("refuses a fresh access token"), "{error:?}");
        assert!(org.simulator.counts().with(401) <= 3, "{protocol}: {:?}", org.simulator.counts());
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_in_trouble_is_waited_for_and_one_that_is_down_is_unavailable() {
    let trouble = r#"{"endpoint": "token", "first": 2, "action": {"html": {"code": 503}}},
                     {"endpoint": "token", "nth": 3, "action": "reset"},
                     {"endpoint": "token", "nth": 4, "action": {"rate_limited": {"retry_after": {"seconds": 9}}}}"#;
    let (org, _) = crate::survives("page", trouble).await;
    assert_eq!(org.simulator.counts().of(Endpoint::Token), 5);

    let down = r#"{"endpoint": "token", "action": {"status": {"code": 503}}}"#;
    let org = Org::new(faulty(down), NOW);
    refuses_as(org, 69, |org| in_pages(org, "page")).await;
}
