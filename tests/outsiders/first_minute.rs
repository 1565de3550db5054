//! The first minute of a new user: everything that can be wrong at the start is said with what to do about it, and the
//! right call then works in the same folder as it is.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::common::convlake::{Convlake, Run};
use crate::source::{Script, Source};
use crate::world::{DAY, Protocol, World, ids_in};

const CLIENT: &str = "a-client-of-ours";
const SECRET: &str = "the secret";
const WRONG: &str = "a-secret-that-is-wrong";

fn source() -> Source {
    let world = World::new(Protocol::Query, &[100, 50]);
    let nothing = Script::default().then("*", 200, json!({ "conversations": [], "totalHits": 0 }));
    let down = Script::default().then("*", 500, json!({ "message": "out of order for token-of-down" }));
    Source::of(&BTreeMap::from([
        (CLIENT.to_owned(), world.script()),
        ("nothing".to_owned(), nothing),
        ("down".to_owned(), down),
    ]))
}

fn args(more: &[&'static str]) -> Vec<&'static str> {
    let mut args = vec!["export", "--from", DAY[0], "--to", DAY[1], "--protocol", "query", "--out", "lake"];
    args.extend(more);
    args
}

/// The same convlake, in the same folder, with other variables.
struct Newcomer {
    convlake: Convlake,
    variables: BTreeMap<&'static str, String>,
}

impl Newcomer {
    fn new() -> Newcomer {
        Newcomer { convlake: Convlake::new(), variables: BTreeMap::new() }
    }

    fn set(&mut self, name: &'static str, value: impl ToString) -> &mut Newcomer {
        self.variables.insert(name, value.to_string());
        self
    }

    fn unset(&mut self, name: &str) -> &mut Newcomer {
        self.variables.remove(name);
        self
    }

    fn right(&mut self, source: &Source) -> &mut Newcomer {
        self.unset("GENESYSCLOUD_REGION").set("CONVLAKE_BASE_URL", source.url());
        self.set("GENESYSCLOUD_OAUTHCLIENT_ID", CLIENT).set("GENESYSCLOUD_OAUTHCLIENT_SECRET", SECRET)
    }

    fn run(&self, more: &[&'static str]) -> Run {
        let mut command = self.convlake.command(args(more));
        let output = command.envs(&self.variables).output().expect("convlake starts");
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A run that fails, says what to do, and binds nothing.
    fn fails(&self, more: &[&'static str], code: i32, says: &[&str]) -> Run {
        let run = self.run(more);
        assert_eq!(run.code, Some(code), "{}", run.stderr);
        // A usage error has its own form of advice.
        assert!(run.stderr.contains("hint: ") || run.stderr.contains("tip: "), "no hint: {}", run.stderr);
        for part in says {
            assert!(run.stderr.contains(part), "no {part:?} in: {}", run.stderr);
        }
        let mut secrets = vec![SECRET.to_owned(), WRONG.to_owned(), "token-of-".to_owned()];
        secrets.extend([SECRET, WRONG].map(|secret| STANDARD.encode(format!("{CLIENT}:{secret}"))));
        for secret in secrets {
            assert!(!run.stderr.contains(&secret) && !run.stdout.contains(&secret), "a secret: {}", run.stderr);
        }
        assert!(!self.convlake.path("lake/_convlake/lake.json").exists(), "a failed run binds the folder");
        run
    }

    fn works(&self, more: &[&'static str]) -> Run {
        let run = self.run(more);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(ids_in(&self.convlake.lake()).len(), 150, "{}", run.stderr);
        run
    }
}

/// No line with what a run did, where it could do nothing.
fn has_no_statistics(run: &Run) {
    for word in ["published", "MiB", "0 conversations", "for example"] {
        assert!(!run.stderr.contains(word), "statistics of nothing ({word}): {}", run.stderr);
    }
    assert!(run.stdout.is_empty(), "statistics of nothing: {}", run.stdout);
}

#[test]
fn the_first_minute() {
    let source = source();
    let mut user = Newcomer::new();
    // Nothing is set: all three families are named.
    user.fails(&[], 78, &["GENESYSCLOUD_OAUTHCLIENT_ID", "GENESYS_CLOUD_CLIENT_ID", "GENESYS_CLIENT_ID"]);
    // A region that is none.
    user.set("GENESYSCLOUD_REGION", "eu-centrall-1");
    user.set("GENESYSCLOUD_OAUTHCLIENT_ID", CLIENT).set("GENESYSCLOUD_OAUTHCLIENT_SECRET", SECRET);
    user.fails(&[], 2, &["eu-centrall-1", "eu-central-1"]);
    // One of the variables is missing: it is the one that is named.
    user.right(&source).unset("GENESYSCLOUD_OAUTHCLIENT_SECRET");
    user.fails(&[], 78, &["GENESYSCLOUD_OAUTHCLIENT_SECRET"]);
    // The client is not known where it is asked for, as in another region.
    let elsewhere = Source::of(&BTreeMap::new());
    user.right(&source).set("CONVLAKE_BASE_URL", elsewhere.url());
    has_no_statistics(&user.fails(&[], 77, &["127.0.0.1"]));
    // The secret is not the client's.
    user.right(&source).set("GENESYSCLOUD_OAUTHCLIENT_SECRET", WRONG);
    has_no_statistics(&user.fails(&[], 77, &["GENESYSCLOUD_OAUTHCLIENT_SECRET"]));
    // Typing errors in filters.
    user.right(&source);
    user.fails(&["--media-type", "vioce"], 2, &["vioce", "did you mean", "voice"]);
    user.fails(&["--direction", "inbond"], 2, &["inbond", "did you mean", "inbound"]);
    user.works(&[]);
}

/// A source that is down, or a selection that was not meant, binds nothing either.
#[test]
fn what_failed_can_be_asked_otherwise() {
    let source = source();
    let mut user = Newcomer::new();
    user.right(&source).set("GENESYSCLOUD_OAUTHCLIENT_ID", "down");
    let queue = "00000000-0000-4000-8000-00000000aaaa";
    user.fails(&["--queue", queue, "--tables", "conversations", "--retry-for", "1s"], 69, &["out of order"]);
    user.right(&source);
    user.works(&[]);
}

/// A lake that has a day is bound: other filters are refused with both named, and what is in it stays.
#[test]
fn what_worked_is_bound() {
    let source = source();
    let mut user = Newcomer::new();
    user.right(&source);
    user.works(&[]);
    let run = user.run(&["--media-type", "voice"]);
    assert_eq!(run.code, Some(78), "{}", run.stderr);
    assert!(run.stderr.contains("hint: ") && run.stderr.contains("voice"), "{}", run.stderr);
    user.works(&[]);
}

#[test]
fn a_typing_error_in_a_variable_is_one_too() {
    let source = source();
    let mut user = Newcomer::new();
    user.right(&source).set("CONVLAKE_MEDIA_TYPE", "vioce");
    user.fails(&[], 2, &["vioce", "voice"]);
}

#[test]
fn every_known_value_is_taken_and_others_where_allowed() {
    let source = source();
    let kinds = [
        "callback",
        "chat",
        "cobrowse",
        "email",
        "internalmessage",
        "message",
        "screenmonitoring",
        "screenshare",
        "unknown",
        "video",
        "voice",
    ];
    for kind in kinds {
        let mut user = Newcomer::new();
        user.right(&source);
        user.works(&["--media-type", kind]);
    }
    for direction in ["inbound", "outbound"] {
        let mut user = Newcomer::new();
        user.right(&source);
        user.works(&["--direction", direction]);
    }
    let mut user = Newcomer::new();
    user.right(&source);
    user.works(&["--media-type", "hologram", "--allow-unknown"]);
}

#[test]
fn a_filter_that_finds_nothing_is_named() {
    let source = source();
    let mut user = Newcomer::new();
    user.right(&source).set("GENESYSCLOUD_OAUTHCLIENT_ID", "nothing");
    let queue = "00000000-0000-4000-8000-00000000aaaa";
    let run = user.run(&["--queue", queue, "--quiet"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.to_lowercase().contains("warn") && run.stderr.contains(queue), "{}", run.stderr);
}

/// What the sample, the summary and the next step say is so.
#[test]
fn what_the_first_run_says_is_true() {
    let source = source();
    let mut user = Newcomer::new();
    user.right(&source);
    let run = user.works(&[]);
    assert!(!run.stderr.contains("memory"), "nobody asked for it: {}", run.stderr);
    assert!(run.stderr.contains("lake"), "the summary names the lake: {}", run.stderr);
    for id in ids_in(&user.convlake.lake()) {
        assert!(!run.stderr.contains(&id), "an id that nobody asked for: {}", run.stderr);
    }
    assert!(Path::new(&user.convlake.lake()).join("_convlake/lake.json").exists());
    let mut shown = Newcomer::new();
    shown.right(&source);
    let run = shown.works(&["--sample"]);
    let ids = ids_in(&shown.convlake.lake());
    assert!(ids.iter().any(|id| run.stderr.contains(id) || run.stdout.contains(id)), "{}", run.stderr);
}
