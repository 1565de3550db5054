//! Nothing goes by accident: what is asked at a terminal, how a variable says yes or no, and how the lake is named.

#![cfg(test)]

mod common;

use common::convlake::Convlake;
use common::org::files;
use common::{isolate, parts, write};
use serde_json::Value;

/// A lake of 2025-03-01 with two conversations, and one record in quarantine.
fn lake() -> Convlake {
    let convlake = Convlake::new();
    let record = |id: &str| format!(r#"{{"conversationId":"{id}","conversationStart":"2025-03-01T01:00:00Z"}}"#);
    write(&convlake.path("pages.json"), &format!("[{},{},7]", record("id-a"), record("id-b")));
    convlake.convert(&[convlake.path("pages.json")]);
    convlake
}

/// What a command says, and how it ends, when a person at a terminal gives `answer`.
#[cfg(unix)]
fn at_a_terminal(convlake: &Convlake, args: &[&str], answer: &str) -> (i32, String) {
    // The terminal's other end: it answers as soon as it is asked.
    const TALK: &str = r#"
import os, pty, sys
answer, command = sys.argv[1], sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(command[0], command)
said = b''
while True:
    try:
        chunk = os.read(terminal, 4096)
    except OSError:
        break
    if not chunk:
        break
    asked = said.count(b'to go on: ')
    said += chunk
    if said.count(b'to go on: ') > asked:
        os.write(terminal, answer.encode() + b'\n')
_, status = os.waitpid(pid, 0)
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(status))
"#;
    let mut command = std::process::Command::new(parts::python());
    let command = isolate(&mut command).current_dir(convlake.path("")).args(["-c", TALK, answer]);
    let output = command.arg(env!("CARGO_BIN_EXE_convlake")).args(args).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(unix)]
#[test]
fn at_a_terminal_what_takes_away_says_how_much_and_waits_for_yes() {
    let convlake = lake();
    let before = files(&convlake.lake());
    let data = || -> Vec<_> {
        let all = files(&convlake.lake()).into_iter();
        all.filter(|(path, _)| !path.to_string_lossy().contains("/staging")).collect()
    };
    let cases: [(&[&str], &str); 3] = [
        (&["quarantine", "lake", "purge", "--older-than", "0s"], "1 record and 0 responses would be removed"),
        (&["forget", "lake", "--conversation", "id-a"], "1 conversation would be forgotten of 1 id asked for"),
        (&["expire", "lake", "--before", "2025-03-02"], "1 day would expire"),
    ];
    for (args, would) in cases {
        for answer in ["no", "", "y"] {
            let (code, said) = at_a_terminal(&convlake, args, answer);
            assert_eq!(code, 130, "{args:?}: {said}");
            assert!(said.contains(would) && said.contains("nothing was changed"), "{args:?}: {said}");
            assert_eq!(data(), before.clone().into_iter().collect::<Vec<_>>(), "{args:?}");
        }
    }
    for (args, would) in cases {
        let (code, said) = at_a_terminal(&convlake, args, "yes");
        assert_eq!(code, 0, "{args:?}: {said}");
        assert!(said.contains(would), "{args:?}: {said}");
    }
    assert!(!convlake.lake().join("conversations/date=2025-03-01").exists());
    assert_eq!(files(&convlake.lake().join("_convlake/quarantine")).len(), 0);
    // What is read from stdin is not the answer; --yes and a dry run are not asked, nor is a range without days.
    let cases: [(&[&str], i32); 4] = [
        (&["forget", "lake", "--file", "-"], 2),
        (&["forget", "lake", "--conversation", "id-b", "--yes"], 0),
        (&["expire", "lake", "--before", "2025-03-02", "--dry-run"], 0),
        (&["expire", "lake", "--before", "2025-03-02"], 0),
    ];
    for (args, wanted) in cases {
        let (code, said) = at_a_terminal(&convlake, args, "no");
        assert_eq!(code, wanted, "{args:?}: {said}");
        assert!(!said.contains("to go on"), "{args:?}: {said}");
    }
}

#[test]
fn a_variable_says_yes_or_no_and_anything_else_is_refused() {
    let convlake = lake();
    let before = files(&convlake.lake());
    let expire = |value: &str| {
        let args = ["expire", "lake", "--yes", "--before", "2025-03-02"];
        convlake.command(args).env("CONVLAKE_DRY_RUN", value).output().unwrap()
    };
    for yes in ["true", "1", "yes", "YES"] {
        let output = expire(yes);
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &line["dry_run"]), (Some(0), &Value::Bool(true)), "{yes}");
    }
    for odd in ["maybe", "2", "nope", " true"] {
        let output = expire(odd);
        assert_eq!(output.status.code(), Some(2), "{odd}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("--dry-run") && said.contains(odd), "{said}");
    }
    assert_eq!(files(&convlake.lake()), before);
    for no in ["false", "0", "no"] {
        let args = ["forget", "lake", "--yes", "--conversation", "elsewhere"];
        let output = convlake.command(args).env("CONVLAKE_DRY_RUN", no).output().unwrap();
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(line["dry_run"], false, "{no}");
    }
}

#[test]
fn a_dry_run_by_variable_holds_for_every_command_or_is_refused() {
    let convlake = lake();
    let before = files(&convlake.lake());
    let credentials = [("GENESYS_CLIENT_ID", "i"), ("GENESYS_CLIENT_SECRET", "s")];
    let run = |args: &[&str]| {
        let mut command = convlake.command(args);
        command.env("CONVLAKE_DRY_RUN", "true").env("CONVLAKE_BASE_URL", "http://127.0.0.1:9").envs(credentials);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let range = ["--from", "2025-03-01", "--to", "2025-03-05"];
    let cases: [(&[&str], i32, &str); 8] = [
        (&["expire", "lake", "--yes", "--before", "2025-03-02"], 0, "would expire"),
        (&["forget", "lake", "--yes", "--conversation", "id-a"], 0, "would be forgotten"),
        (&["quarantine", "lake", "purge", "--yes", "--older-than", "0s"], 0, "would be removed"),
        (&[&["export", "new"], &range[..]].concat(), 0, ""),
        (&[&["export", "lake"], &range[..]].concat(), 78, "another source"),
        (&["convert", "pages.json", "--out", "lake"], 2, "`convert` has no dry run"),
        (&["quarantine", "lake", "retry"], 2, "`quarantine retry` has no dry run"),
        (&["demo", "new"], 2, "`demo` has no dry run"),
    ];
    for (args, code, said) in cases {
        let (found, stderr) = run(args);
        assert_eq!(found, Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(said), "{args:?}: {stderr}");
        assert!(files(&convlake.lake()) == before && !convlake.path("new").exists(), "{args:?}");
    }
}

#[test]
fn the_lake_is_named_by_position_or_by_flag_and_never_twice() {
    let convlake = lake();
    let commands: [&[&str]; 7] = [
        &["status"],
        &["verify", "--quick"],
        &["files"],
        &["quarantine", "list", "--format", "json"],
        &["expire", "--dry-run", "--before", "2025-03-02"],
        &["forget", "--dry-run", "--conversation", "x"],
        &["plan", "--from", "2025-03-01", "--to", "2025-03-05"],
    ];
    for args in commands {
        let (first, rest) = args.split_first().unwrap();
        let outputs =
            [vec!["lake"], vec!["--out", "lake"], vec!["--lake", "lake"], vec!["lake", "--out", "lake"]].map(|named| {
                let args: Vec<&str> = [*first].into_iter().chain(named).chain(rest.iter().copied()).collect();
                let mut out: String = convlake.succeed(&args).stdout;
                // What differs from run to run.
                if let Ok(Value::Object(mut line)) = serde_json::from_str(&out) {
                    line.remove("run");
                    out = Value::Object(line).to_string();
                }
                out
            });
        assert!(outputs.iter().all(|out| *out == outputs[0]), "{args:?}: {outputs:?}");
        for two in [["lake", "--out", "other"], ["--out=lake", "--lake", "other"]] {
            let refused = convlake.run([first].into_iter().chain(&two).chain(rest));
            assert_eq!(refused.code, Some(2), "{args:?} {two:?}: {}", refused.stderr);
            assert!(refused.stderr.contains("two different lakes are named"), "{}", refused.stderr);
        }
        // The command line counts before the variable.
        for (named, variable) in [("lake", "nowhere"), ("", "lake")] {
            let named = (!named.is_empty()).then_some(named);
            let args = [*first].into_iter().chain(named).chain(rest.iter().copied());
            let output = convlake.command(args).env("CONVLAKE_LAKE", variable).output().unwrap();
            assert!(output.status.success(), "{named:?} {variable}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    let behind = convlake.succeed(["quarantine", "list", "--out", "lake", "--format", "json"]);
    assert!(behind.stdout.contains("not_object"), "{behind:?}");
    // Of `convert` the positions are pages.
    let pages = convlake.run(["convert", "pages.json", "lake"]);
    assert_eq!(pages.code, Some(2), "{}", pages.stderr);
    convlake.succeed(["convert", "pages.json", "--lake", "another"]);
}

#[test]
fn a_variable_that_changes_nothing_is_said() {
    let convlake = lake();
    let mut status = convlake.command(["status", "lake"]);
    status.env("CONVLAKE_DRYRUN", "1").env("CONVLAKE_YES", "1").env("CONVLAKE_ALLOW_HTTP", "1");
    let output = status.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for wanted in [
        "warning: CONVLAKE_DRYRUN changes nothing: there is no such variable",
        "warning: CONVLAKE_YES changes nothing: --yes has no variable, because consent is given to one call",
        "warning: CONVLAKE_ALLOW_HTTP changes nothing: --allow-http has no variable",
    ] {
        assert!(said.contains(wanted), "{said}");
    }
}
