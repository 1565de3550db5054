//! What the source refuses for good: the run says so with the source's words, and what to do.

use crate::{PROTOCOLS, pages_of, refuses};

/// What to say to every call for pages: this status and body.
fn answered(protocol: &str, code: u16, body: &str) -> String {
    let body = serde_json::to_string(body).unwrap();
    let (_, pages) = pages_of(protocol);
    let endpoint = if protocol == "jobs" { "submit" } else { pages };
    format!(r#"{{"endpoint": "{endpoint}", "action": {{"status": {{"code": {code}, "body": {body}}}}}}}"#)
}

#[tokio::test(start_paused = true)]
async fn every_refusal_says_what_to_do() {
    let say = |text: &str| format!(r#"{{"status": 400, "code": "bad.request", "message": "{text}"}}"#);
    for (code, body, hint) in [
        (400, say("interval is required"), "--protocol"),
        (400, say("Unrecognized field startTime"), "--protocol"),
        (400, String::new(), "--protocol"),
        (422, "<html>".to_owned(), "--protocol"),
        (400, say("no such dimension in segmentFilters"), "--filter"),
        (400, say("unknown metric tTalk"), "--metrics"),
        (404, String::new(), "--base-url"),
        (405, String::new(), "--base-url"),
    ] {
        for protocol in PROTOCOLS {
            let (_, error) = refuses(protocol, &answered(protocol, code, &body), 65).await;
            let told = error.hint.unwrap_or_default();
            assert!(told.contains(hint), "{protocol}: {code} {body}: {}: {told}", error.message);
            assert!(error.message.contains(&format!("the API answered {code}")), "{}", error.message);
        }
    }
}
