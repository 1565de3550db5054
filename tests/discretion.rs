//! A server that sends back what it was sent, in every encoding, with commands for the terminal around it: none of it is
//! in what a run says, in its report or in the lake.

#![cfg(test)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use common::convlake::{Convlake, Run};
use common::org::files;
use common::simulate::{BASE_URL, CLIENT_ID, CLIENT_SECRET};
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

const SECRET: &str = "s3cr3t/of+the=client&that~must_not.show-0123456789";
const ID: &str = "the-client";

/// One request.
struct Asked {
    path: String,
    authorization: String,
    body: String,
}

/// Status, headers and body.
type Answer = (u16, String, String);

/// Answers every request as `answer` says, as long as the test runs.
fn serve(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || exchange(stream, answer.as_ref()));
        }
    });
    url
}

/// A client that goes away ends it.
fn exchange(mut stream: TcpStream, answer: &dyn Fn(&Asked) -> Answer) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let is = |line: &&String| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
        Some(lines.iter().find(is)?.split_once(':')?.1.trim().to_owned())
    };
    let mut body = vec![0; header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    let asked = Asked {
        path: lines.first()?.split(' ').nth(1)?.to_owned(),
        authorization: header("authorization").unwrap_or_default(),
        body: String::from_utf8(body).ok()?,
    };
    let (status, headers, body) = answer(&asked);
    let head =
        format!("HTTP/1.1 {status} said\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()
}

/// What a hostile server makes of a secret: as it is, percent-encoded, in base64, in capitals.
fn encoded(secret: &str) -> Vec<String> {
    let percent: String = byte_serialize(secret.as_bytes()).collect();
    vec![
        secret.to_owned(),
        percent.to_lowercase(),
        percent,
        BASE64_STANDARD.encode(secret),
        BASE64_URL_SAFE_NO_PAD.encode(format!("x{secret}")),
        secret.to_uppercase(),
    ]
}

/// What was sent, among commands for the terminal and a line that looks like ours.
fn echo(asked: &Asked) -> String {
    let credentials = asked.authorization.split_once(' ').map_or("none", |(_, value)| value);
    let mut said = vec![asked.authorization.clone(), asked.body.clone()];
    said.extend(encoded(credentials));
    said.extend(encoded(SECRET));
    said.iter().map(|text| format!("\u{1b}]0;pwned\u{7}\u{202e}\nerror: forged {text} ")).collect()
}

fn error(status: u16, asked: &Asked) -> Answer {
    let body =
        json!({"status": status, "code": "bad.request", "message": echo(asked), "error_description": echo(asked)});
    let credentials = asked.authorization.replace(' ', "");
    (status, format!("inin-correlation-id: {credentials}\r\n"), body.to_string())
}

fn ok(body: &Value) -> Answer {
    (200, String::new(), body.to_string())
}

/// Gives a new token to everybody, and is hostile to other calls.
fn behind_login(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> String {
    let tokens = AtomicUsize::new(0);
    serve(move |asked| match asked.path.as_str() {
        "/oauth/token" => {
            let number = tokens.fetch_add(1, Ordering::SeqCst);
            ok(&json!({"access_token": format!("token/{number}+of=the~source/0123456789"), "expires_in": 3600}))
        }
        _ => answer(asked),
    })
}

/// Runs an export against `url` and looks for secrets and commands wherever it may have left them.
fn discreet(url: String, flags: &[&str]) -> (Run, Value) {
    let env = [(BASE_URL, url), (CLIENT_ID, ID.to_owned()), (CLIENT_SECRET, SECRET.to_owned())];
    let convlake = Convlake::new().with(env.into());
    let export = ["export", "-vv", "--from", "2025-03-01", "--to", "2025-03-02", "--retry-for", "1s", "--out", "lake"];
    let run = convlake.run([&export[..], &["--report", "report.json"], flags].concat());

    let mut secrets = encoded(SECRET);
    secrets.extend(encoded(&BASE64_STANDARD.encode(format!("{ID}:{SECRET}"))));
    for number in 0..4 {
        secrets.extend(encoded(&format!("token/{number}+of=the~source/0123456789")));
    }
    let report = common::read(&convlake.path("report.json"));
    let mut texts = vec![("stdout".to_owned(), run.stdout.clone()), ("stderr".to_owned(), run.stderr.clone())];
    texts.push(("report".to_owned(), report.clone()));
    let kept = files(&convlake.lake()).into_iter();
    texts.extend(
        kept.map(|(path, content)| (path.display().to_string(), String::from_utf8_lossy(&content).into_owned())),
    );
    for (place, text) in &texts {
        let folded = text.to_ascii_lowercase();
        for secret in &secrets {
            assert!(!folded.contains(&secret.to_ascii_lowercase()), "{secret} is in {place}: {text}");
            // Nor most of it.
            let most = &secret.to_ascii_lowercase()[8..24];
            assert!(!folded.contains(most), "{most} is in {place}: {text}");
        }
    }
    for (place, text) in &texts[..3] {
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "a command is in {place}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{place} lies: {text}");
    }
    (run, serde_json::from_str(&report).unwrap())
}

#[test]
fn the_login_may_say_what_it_was_told() {
    for (status, auth, code) in [(401, "basic", 77), (400, "body", 77), (404, "basic", 78), (503, "body", 69)] {
        let (run, report) = discreet(serve(move |asked| error(status, asked)), &["--auth", auth]);
        assert_eq!(run.code, Some(code), "{status}: {}", run.stderr);
        assert!(run.stderr.contains("[secret]"), "{}", run.stderr);
        // What is to be corrected is named.
        assert!(code != 77 || run.stderr.contains(CLIENT_SECRET), "{}", run.stderr);
        assert_eq!(report["totals"]["exit"], code, "{report}");
    }
}

#[test]
fn the_api_may_say_what_it_was_told() {
    let refusals = ["query", "jobs", "cursor", "page"].map(|protocol| [(protocol, 400, 65), (protocol, 403, 77)]);
    let others = [("query", 401, 77), ("cursor", 413, 65), ("query", 429, 75), ("page", 500, 69)];
    for (protocol, status, code) in refusals.into_iter().flatten().chain(others) {
        let url = behind_login(move |asked| error(status, asked));
        let (run, _) = discreet(url, &["--protocol", protocol]);
        assert_eq!(run.code, Some(code), "{protocol} {status}: {}", run.stderr);
        assert!(run.stderr.contains("[secret]"), "{}", run.stderr);
    }
}

#[test]
fn an_answer_that_claims_success_may_say_what_it_was_told() {
    for protocol in ["query", "cursor", "page"] {
        for disguise in [
            |asked: &Asked| json!({"status": 400, "code": "no", "message": echo(asked)}),
            |asked: &Asked| json!({"message": echo(asked)}),
            |asked: &Asked| json!({"conversations": echo(asked), "entities": 1, (echo(asked)): 1}),
        ] {
            let (run, _) = discreet(behind_login(move |asked| ok(&disguise(asked))), &["--protocol", protocol]);
            assert_eq!(run.code, Some(65), "{protocol}: {}", run.stderr);
        }
    }
}

#[test]
fn a_job_may_say_what_the_api_was_told() {
    let url = behind_login(move |asked| match asked.path.rsplit('/').next() {
        Some("me") => ok(&json!({"id": SECRET})),
        Some("jobs") => ok(&json!({"jobId": "j"})),
        _ => ok(&json!({"state": "FAILED", "errorMessage": echo(asked)})),
    });
    let (run, _) = discreet(url, &["--protocol", "jobs"]);
    assert_eq!(run.code, Some(65), "{}", run.stderr);
    assert!(run.stderr.contains("the job is FAILED: ") && run.stderr.contains("[secret]"), "{}", run.stderr);
}

#[test]
fn records_are_data_and_no_commands() {
    let record = json!({"conversationId": "c\u{1b}[31m\u{202e}", "conversationStart": "2025-03-01T10:00:00Z"});
    let url = behind_login(move |asked| match asked.body.contains(r#""pageNumber":1"#) {
        true => ok(&json!({"conversations": [record], "totalHits": 1})),
        false if asked.path.ends_with("/me") => ok(&json!({"id": "o"})),
        false => ok(&json!({})),
    });
    let env = [(BASE_URL, url), (CLIENT_ID, ID.to_owned()), (CLIENT_SECRET, SECRET.to_owned())];
    let convlake = Convlake::new().with(env.into());
    let range = ["--from", "2025-03-01", "--to", "2025-03-02"];
    let run = convlake.succeed([&["export", "--protocol", "query", "--out", "lake"][..], &range].concat());
    assert!(!run.stderr.contains(['\u{1b}', '\u{202e}']), "{:?}", run.stderr);
}
