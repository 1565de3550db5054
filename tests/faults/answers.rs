//! What comes in place of a page and is none: on whatever page, the slice fails, the body is kept and its keys are named.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::common::org::{Org, files};
use crate::{FROM, NOW, PROTOCOLS, TO, faulty, in_pages, pages_of, refuses};

/// Bodies that no source is known to send, and how a message names their keys.
const BODIES: [(&str, &str); 4] = [
    (r#"{"result":{"conversations":[]}}"#, "its keys: `result`"),
    (r#"{"status":"maintenance","until":"noon"}"#, "its keys: `status`, `until`"),
    (r#"{"data":[{"conversationId":"c"}]}"#, "its keys: `data`"),
    (
        r#"{"conversationId":"c","conversationStart":"2025-01-01T00:00:00Z"}"#,
        "its keys: `conversationId`, `conversation",
    ),
];

/// Page `page` of `protocol` is always `body`.
fn instead(protocol: &str, page: u64, body: &str) -> String {
    let (name, body) = (pages_of(protocol).1, Value::from(body));
    format!(r#"{{"endpoint": "{name}", "page": {page}, "action": {{"status": {{"code": 200, "body": {body}}}}}}}"#)
}

/// What is in quarantine, readable for its owner alone.
fn kept(lake: &Path) -> Vec<String> {
    let folder = lake.join("_convlake/quarantine");
    let kept = files(&folder);
    for path in kept.keys() {
        let mode = std::fs::metadata(folder.join(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    kept.into_values().map(|text| String::from_utf8(text).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_no_page_fails_the_slice_on_whatever_page_and_is_kept() {
    for protocol in PROTOCOLS {
        // Records end on page 6 or 7.
        for page in [1, 3, 6] {
            for (body, keys) in BODIES {
                let (org, error) = refuses(protocol, &instead(protocol, page, body), 65).await;
                let place = format!("{protocol}, page {page}, {body}: {error:?}");
                assert!(error.message.contains(&format!("page {page}: ")) && error.message.contains(keys), "{place}");
                assert!(kept(&org.lake()).iter().any(|text| text.contains(body)), "{place}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_page_is_kept_in_a_first_run_as_well() {
    for protocol in PROTOCOLS {
        let (body, keys) = BODIES[1];
        let org = Org::new(faulty(&instead(protocol, 1, body)), NOW);
        let report = org.run(in_pages(&org, protocol)).await;
        assert_eq!(report.totals.exit, 65, "{protocol}: {:?}", report.errors);
        assert!(report.errors[0].message.contains(keys), "{protocol}: {:?}", report.errors);
        assert_eq!(kept(&org.lake()), [body], "{protocol}");
        assert_eq!(report.days.len(), 2, "{FROM} to {TO} failed");
    }
}
