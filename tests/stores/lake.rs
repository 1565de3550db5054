//! Lakes made by the command, read back beside it and compared with the oracle's truth.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::common::convlake::{Convlake, Run};
use crate::common::oracle::Oracle;
use crate::common::receipts::ledger;
use crate::common::running::Running;
use crate::common::simulate::Simulate;
use crate::common::{TABLES, duckdb, succeed, table};
use crate::servers::{Bucket, Kind, Place};

const FROM: &str = "2025-01-01";
const TO: &str = "2025-01-04";
const DAYS: usize = 3;
const A_DAY: u32 = 24;
/// How soon a run that is told to stop has ended, on a machine with other things to do.
const STOPS_WITHIN: Duration = Duration::from_secs(10);
/// The day in the middle.
const SECOND: &str = "2025-01-02";
/// Files of a day that is in the lake.
const FILES: usize = DAYS * TABLES.len();

/// One organisation at two moments, and what a lake of each of them holds.
struct World {
    early: Simulate,
    late: Simulate,
    before: Oracle,
    after: Oracle,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let [early, late] = ["2025-01-05T00:00:00Z", "2025-06-01T00:00:00Z"].map(|now| simulate(now, A_DAY));
    let [before, after] = [&early, &late].map(|source| Oracle::expand(&source.fetch("query", FROM, TO), FROM, TO));
    World { early, late, before, after }
});

fn simulate(now: &str, conversations_per_day: u32) -> Simulate {
    Simulate::with(conversations_per_day, &["--now", now, "--rate-limit", "0", "--late-changes"])
}

/// A lake in a place of its own, and the command that writes it.
struct Subject {
    place: Place,
    convlake: Convlake,
}

impl Subject {
    fn new(kind: Kind) -> Subject {
        let place = Place::new(kind);
        let convlake = Convlake::new().with(place.env());
        Subject { place, convlake }
    }

    /// An export of `[from, to)` about to run.
    fn command_of(&self, source: &Simulate, (from, to): (&str, &str), out: &str) -> Command {
        let ask = ["export", "-vv", "--from", from, "--to", to, "--protocol", "query", "--rate-limit", "100000"];
        let mut command = self.convlake.command(ask);
        command.args(["--out", out, "--report", "report.json"]).envs(source.env());
        command
    }

    /// An export of all days about to run.
    fn command(&self, source: &Simulate, more: &[&str]) -> Command {
        let mut command = self.command_of(source, (FROM, TO), &self.place.out);
        command.args(more);
        command
    }

    fn run(&self, source: &Simulate, more: &[&str]) -> Run {
        let output = self.command(source, more).output().expect("convlake starts");
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        self.assert_no_secret(&[&stdout, &stderr]);
        Run { code: output.status.code(), stdout, stderr }
    }

    /// Exports to an end that has to be exit code 0; the report.
    fn export(&self, source: &Simulate, more: &[&str]) -> Value {
        let run = self.run(source, more);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        self.report()
    }

    fn report(&self) -> Value {
        let text = crate::common::read(&self.convlake.path("report.json"));
        self.assert_no_secret(&[&text]);
        serde_json::from_str(&text).expect("JSON")
    }

    /// Nothing that is said to people or left in a file has the store's secret in it.
    fn assert_no_secret(&self, texts: &[&str]) {
        let Some(bucket) = self.place.bucket() else { return };
        let secrets: Vec<&String> = bucket.secret.iter().filter_map(|name| bucket.env.get(name)).collect();
        assert!(texts.iter().all(|text| secrets.iter().all(|secret| !text.contains(secret.as_str()))));
    }

    /// The files of tables.
    fn parts(&self) -> BTreeMap<String, String> {
        let mut objects = self.place.objects();
        objects.retain(|key, _| key.ends_with(".parquet"));
        objects
    }

    /// Everything else.
    fn control(&self) -> BTreeSet<String> {
        let objects = self.place.objects().into_keys();
        objects.filter(|key| !key.ends_with(".parquet")).collect()
    }

    /// The lake is what the oracle says, and nothing else is there.
    fn assert_equal(&self, oracle: &Oracle) {
        let copy = self.place.download();
        oracle.assert_equal(copy.path());
        assert_eq!(self.parts().len(), FILES);
        let known = |key: &String| {
            let own = key.strip_prefix("_convlake/").unwrap_or_default();
            ["lake.json", "lock"].contains(&own)
                || ["ledger/2025-01/", "runs/"].iter().any(|folder| own.starts_with(folder))
        };
        let strays: Vec<_> = self.control().into_iter().filter(|key| !known(key)).collect();
        assert!(strays.is_empty(), "{strays:?}");
    }
}

fn outcomes(report: &Value) -> Vec<&str> {
    let days = report["days"].as_array().expect("days").iter();
    days.map(|day| day["outcome"].as_str().expect("an outcome")).collect()
}

pub(crate) fn an_export_is_the_truth_also_after_changes(kind: Kind) {
    let subject = Subject::new(kind);
    assert_eq!(outcomes(&subject.export(&WORLD.early, &[])), ["published"; DAYS]);
    subject.assert_equal(&WORLD.before);
    let first = subject.parts();

    assert_eq!(outcomes(&subject.export(&WORLD.early, &[])), ["unchanged"; DAYS]);
    assert_eq!(subject.parts(), first, "what has not changed is not written again");

    subject.export(&WORLD.late, &[]);
    subject.assert_equal(&WORLD.after);
    let later = subject.parts();
    let kept = first.iter().filter(|(key, version)| later.get(*key) == Some(version)).count();
    assert!(0 < kept && kept < FILES, "{kept} of {FILES} files were not written again");
}

pub(crate) fn a_day_that_is_empty_at_the_source_becomes_empty(kind: Kind) {
    let subject = Subject::new(kind);
    subject.export(&WORLD.late, &[]);
    let before = subject.parts();
    let nothing = simulate("2025-06-02T00:00:00Z", 0);
    succeed(subject.command_of(&nothing, (SECOND, "2025-01-03"), &subject.place.out).arg("--allow-vanished"));

    let copy = subject.place.download();
    for name in ["conversations", "segments"] {
        let counts = duckdb(&format!(
            "SELECT date::VARCHAR AS date, count(*) AS n FROM {} GROUP BY ALL ORDER BY ALL",
            table(copy.path(), name)
        ));
        let dates: Vec<_> = counts.iter().map(|row| row["date"].as_str().expect("a date")).collect();
        assert_eq!(dates, [FROM, "2025-01-03"]);
    }
    let receipts = ledger(copy.path());
    let emptied = receipts.receipt(SECOND.parse().expect("a date")).expect("a receipt");
    assert_eq!((emptied.counts.conversations, emptied.counts.vanished), (0, A_DAY.into()));
    let of_the_day = |key: &&String| key.contains(SECOND);
    assert!(subject.parts().iter().all(|(key, version)| of_the_day(&key) || before[key] == *version));
}

/// Two runs at the same time on the same days. Nobody knows which of them the source answered last: one stays, and a day on
/// which they differ is dirty, or the run that gave way says that nothing was published yet. The next run mends it.
pub(crate) fn of_two_runs_at_once_one_stays_and_the_next_run_makes_it_right(kind: Kind) {
    let both = |subject: &Subject, older: &Simulate| {
        let others = Convlake::new();
        let mut commands = [subject.command(older, &[]), subject.command(&WORLD.late, &[])];
        commands[0].current_dir(others.path(""));
        std::thread::scope(|scope| {
            for mut command in commands {
                scope.spawn(move || {
                    let ended = command.output().expect("convlake starts");
                    let code = ended.status.code();
                    let said = String::from_utf8_lossy(&ended.stderr);
                    assert!(
                        code == Some(0) || matches!(code, Some(3 | 75)) && said.contains("about to publish"),
                        "{said}"
                    );
                });
            }
        });
        let held = ledger(subject.place.download().path());
        assert_eq!(held.days().filter(|(_, entry)| entry.receipt.is_some()).count(), DAYS);
        subject.export(&WORLD.late, &[]);
        let held = ledger(subject.place.download().path());
        assert!(held.days().all(|(_, entry)| !entry.is_dirty()));
        subject.assert_equal(&WORLD.after);
    };
    // Where a replacement is not atomic, only runs that saw the same end in the same.
    let older = if kind == Kind::S3s { &WORLD.late } else { &WORLD.early };
    let subject = Subject::new(kind);
    both(&subject, older);
    let subject = Subject::new(kind);
    subject.export(&WORLD.early, &[]);
    both(&subject, older);
}

pub(crate) fn a_run_of_another_selection_is_refused(kind: Kind) {
    let subject = Subject::new(kind);
    subject.export(&WORLD.early, &[]);
    let before = subject.place.objects();
    let refused = subject.run(&WORLD.early, &["--tables", "sessions"]);
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(refused.stderr.contains("tables") && refused.stderr.contains("sessions"), "{}", refused.stderr);
    assert_eq!(subject.place.objects(), before);
}

pub(crate) fn a_strangers_file_is_refused_and_left_alone(kind: Kind) {
    let subject = Subject::new(kind);
    let stranger = format!("segments/date={SECOND}/part-0.parquet");
    succeed(&mut subject.command_of(&WORLD.early, (FROM, SECOND), &subject.place.out));
    subject.place.put(&stranger, b"PAR1");
    let refused = subject.run(&WORLD.early, &[]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("part-0.parquet") && refused.stderr.contains(SECOND), "{}", refused.stderr);
    assert_eq!(subject.place.get(&stranger), b"PAR1");
    assert_eq!(subject.parts().len(), (DAYS - 1) * TABLES.len() + 1);

    subject.place.delete(&stranger);
    subject.export(&WORLD.early, &[]);
    subject.assert_equal(&WORLD.before);
}

/// Killed at some moments of its work, again and again in the same lake. What is heard is past: a run that was quick has
/// ended by then, or has left too little to the next one to come that far.
pub(crate) fn a_killed_run_is_completed_by_the_next(kind: Kind) {
    let subject = Subject::new(kind);
    let mut killed = Vec::new();
    for (what, times) in [("begun", 1), ("swapped in", 1), ("swapped in", 20), ("recorded", 1)] {
        let mut running = Running::start(&mut subject.command(&WORLD.early, &[]));
        if running.reaches(what, times) && running.signal("KILL").code().is_none() {
            killed.push((what, times));
        }
    }
    assert!(killed.contains(&("begun", 1)), "{killed:?}");
    subject.export(&WORLD.early, &[]);
    WORLD.before.assert_equal(subject.place.download().path());
    // That run was complete, so the next one asks for everything again, and clears away what the dead had claimed.
    subject.export(&WORLD.late, &[]);
    subject.assert_equal(&WORLD.after);
}

/// Told to stop while it publishes: what has begun is finished and told, and the same again makes the lake complete. A
/// run may have ended before it hears.
pub(crate) fn a_run_that_is_told_to_stop_ends_soon(kind: Kind) {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let subject = Subject::new(kind);
        let mut running = Running::start(&mut subject.command(&WORLD.early, &[]));
        running.wait_for("swapped in", 1);
        let told = Instant::now();
        let ended = running.signal(signal).code().expect("an exit code");
        assert!(told.elapsed() < STOPS_WITHIN, "{:?}", told.elapsed());
        assert!([code, 0].contains(&ended), "{ended}");
        let report = subject.report();
        assert_eq!(report["totals"]["exit"], ended, "{report}");
        let days = outcomes(&report).len();
        assert!((1..=DAYS).contains(&days), "{report}");
        assert!(subject.control().iter().all(|key| !key.contains("/claims/")), "{:?}", subject.control());
        subject.export(&WORLD.early, &[]);
        subject.assert_equal(&WORLD.before);
    }
}

pub(crate) fn what_cannot_be_read_is_in_quarantine(kind: Kind) {
    let subject = Subject::new(kind);
    let ugly = Simulate::with(120, &["--now", "2025-06-01T00:00:00Z", "--rate-limit", "0", "--ugly"]);
    let report = subject.export(&ugly, &[]);
    let files = subject.control().into_iter().filter(|key| key.starts_with("_convlake/quarantine/"));
    let text: Vec<u8> = files.flat_map(|key| subject.place.get(&key)).collect();
    let lines: Vec<Value> =
        serde_json::Deserializer::from_slice(&text).into_iter().collect::<Result<_, _>>().expect("JSON lines");
    assert!(!lines.is_empty(), "a world without ugliness");
    assert_eq!(report["totals"]["quarantined"], lines.len());
    assert!(lines.iter().all(|line| line["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
}

/// More records than a month keeps apart: they are merged into one that says the same.
pub(crate) fn a_long_ledger_is_merged(kind: Kind) {
    let subject = Subject::new(kind);
    subject.export(&WORLD.early, &[]);
    let before = ledger(subject.place.download().path()).into_record();
    let record = subject.control().into_iter().find(|key| key.contains("/ledger/")).expect("a record");
    let content = subject.place.get(&record);
    for n in 0..200 {
        // Saying a thing twice changes nothing.
        subject.place.put(&record.replace(".json", &format!("-again-{n}.json")), &content);
    }
    subject.export(&WORLD.late, &[]);
    let records: Vec<_> = subject.control().into_iter().filter(|key| key.contains("/ledger/")).collect();
    // On a disk the days of a slice are recorded together, in a bucket each alone.
    let last_run = if kind == Kind::Disk { 1 } else { DAYS };
    assert_eq!(records.len(), 1 + last_run, "one merged, and those of the last run: {records:?}");
    subject.assert_equal(&WORLD.after);

    let merged = records.iter().find(|key| key.contains("merged-")).expect("a merged record");
    let merged: Value = serde_json::from_slice(&subject.place.get(merged)).expect("JSON");
    let days: Vec<_> = merged["receipts"].as_array().expect("receipts").iter().map(|r| &r["files"]).collect();
    assert_eq!(
        serde_json::json!(days),
        serde_json::json!(before.receipts.iter().map(|r| &r.files).collect::<Vec<_>>())
    );
}

/// What is wrong with the way in is said before the source is asked for a conversation.
pub(crate) fn a_wrong_way_in_is_told(kind: Kind) {
    let bucket = Bucket::of(kind).expect("a store with buckets");
    let subject = Subject::new(kind);
    let elsewhere = subject.place.out.replacen(crate::servers::BUCKET, "no-such-bucket", 1);
    // Nobody listens on the first of all ports.
    let nowhere =
        |(name, value): (&&'static str, &String)| (*name, value.replace(&bucket.endpoint, "http://127.0.0.1:1"));
    let mut ways =
        vec![(elsewhere, bucket.env.clone()), (subject.place.out.clone(), bucket.env.iter().map(nowhere).collect())];
    if let Some(name) = bucket.secret {
        let mut env = bucket.env.clone();
        // Of the same form, so that only the server can tell.
        env.insert(name, "d3Jvbmctc2VjcmV0LW9mLXRoZS1zYW1lLWxlbmd0aC1hcy1hLXJpZ2h0LW9uZQ==".to_owned());
        ways.push((subject.place.out.clone(), env));
    }
    for (out, env) in ways {
        let mut command = subject.command_of(&WORLD.early, (FROM, TO), &out);
        let output = command.envs(&env).output().expect("convlake starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!([Some(74), Some(78)].contains(&output.status.code()), "{said}");
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        assert!(last.iter().any(|line| line.contains(&out.replace(' ', "%20"))), "{said}");
        assert!(env.values().filter(|value| value.len() > 40).all(|secret| !said.contains(secret)), "{said}");
        assert!(!said.contains("details/query"), "the source was asked: {said}");
        assert_eq!(subject.report()["totals"]["exit"], output.status.code().unwrap_or_default());
    }
    assert!(subject.place.objects().is_empty());
}

pub(crate) fn a_store_without_conditions_needs_the_operators_word(kind: Kind) {
    let subject = Subject::new(kind);
    let refused = subject.run(&WORLD.early, &[]);
    assert_eq!(refused.code, Some(78), "{}", refused.stderr);
    assert!(refused.stderr.contains("--single-writer"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("details/query"), "the source was asked: {}", refused.stderr);
    assert!(subject.place.objects().is_empty(), "the probe is gone");

    subject.export(&WORLD.early, &["--single-writer"]);
    subject.export(&WORLD.late, &["--single-writer"]);
    subject.assert_equal(&WORLD.after);
}

/// Objects are inputs like files: one of them, a prefix, a pattern.
pub(crate) fn saved_pages_are_read_where_they_are(kind: Kind) {
    let subject = Subject::new(kind);
    let (inputs, lake) = (&subject.place.out, subject.convlake.lake());
    let conversation = |n: usize| format!(r#"{{"conversationId":"c{n}","conversationStart":"2025-01-01T00:00:00Z"}}"#);
    let page = |from: usize, to: usize| {
        let all: Vec<String> = (from..to).map(conversation).collect();
        format!(r#"{{"conversations":[{}]}}"#, all.join(","))
    };
    // More than is read at a time.
    let long = format!("{}{}", page(0, 4), " ".repeat(9 << 20)) + &page(4, 7);
    subject.place.put("in/a.json", long.as_bytes());
    subject.place.put("in/deep/b c.json.zst", &zstd::stream::encode_all(page(7, 9).as_bytes(), 1).expect("packed"));
    subject.place.put("in/notes.txt", b"not a page");
    subject.place.put("whatever", page(7, 8).as_bytes());
    subject.place.put("in/lake/_convlake/lake.json", b"{}");
    let convert = |given: &[&str]| {
        let given: Vec<String> = given.iter().map(|given| format!("{inputs}/{given}")).collect();
        let args =
            [&["convert", "--allow-vanished", "--out"].map(str::to_owned)[..], &[lake.display().to_string()], &given];
        let run = subject.convlake.run(args.concat());
        subject.assert_no_secret(&[&run.stdout, &run.stderr]);
        run
    };
    let ids = || {
        let rows = duckdb(&format!("SELECT conversation_id AS id FROM {} ORDER BY id", table(&lake, "conversations")));
        rows.into_iter().map(|row| row["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    let numbered = |from: usize, to: usize| (from..to).map(|n| format!("c{n}")).collect::<Vec<_>>();
    for (given, from, to) in [
        (&["in/a.json"][..], 0, 7),
        (&["in"], 0, 9),
        (&["in/"], 0, 9),
        (&["in/*.json"], 0, 7),
        (&["in/a.json", "whatever"], 0, 8),
        (&["in/deep/b%20c.json.zst", "in/a.json"], 0, 9),
    ] {
        let run = convert(given);
        assert_eq!(run.code, Some(0), "{given:?}: {}", run.stderr);
        assert_eq!(ids(), numbered(from, to), "{given:?}");
        let whole = given[0].trim_end_matches('/') == "in";
        assert_eq!(run.stderr.contains("1 file is left out by name: notes.txt"), whole, "{}", run.stderr);
        assert_eq!(run.stderr.contains("is a lake and left out"), whole, "{}", run.stderr);
    }
    for (given, named) in
        [("in/none.json", "holds no file"), ("none/", "holds no file"), ("in/*.csv", "nothing matches")]
    {
        let run = convert(&[given]);
        assert_eq!(run.code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains(named), "{}", run.stderr);
    }
}
