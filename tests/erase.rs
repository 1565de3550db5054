//! What a lake is told to forget is nowhere in it, does not come back, and takes nothing else along.

#![cfg(test)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use common::convlake::{Convlake, Run};
use common::org::{files, ids};
use common::receipts::{contents, ledger, unfinished};
use common::simulate::Simulate;
use common::{TABLES, duckdb, table, write};
use serde_json::{Value, json};

const NOW: [&str; 2] = ["--now", "2025-06-01T00:00:00Z"];
const RANGE: (&str, &str) = ("2025-03-01", "2025-03-05");

fn export(convlake: &Convlake) -> Value {
    convlake.export("jobs", RANGE.0, RANGE.1, &[])
}

/// Number and hash of the rows of every table, but for some conversations.
fn rows_without(lake: &Path, ids: &[String]) -> BTreeMap<String, Value> {
    let list = ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    let rows = |name: &str| {
        let from = table(lake, name);
        let sql = format!(
            "SELECT count(*) AS rows, sum(hash(t))::VARCHAR AS content FROM {from} AS t WHERE conversation_id NOT IN ({list})"
        );
        (name.to_owned(), duckdb(&sql).remove(0))
    };
    TABLES.map(rows).into()
}

/// Neither a row of any table, whatever the column, nor any other file of the lake holds one of `ids`.
fn assert_nowhere(lake: &Path, ids: &[String]) {
    for name in TABLES {
        let words = ids.iter().map(|id| format!("text LIKE '%{id}%'")).collect::<Vec<_>>().join(" OR ");
        let from = table(lake, name);
        let found =
            duckdb(&format!("SELECT count(*) AS n FROM (SELECT t::VARCHAR AS text FROM {from} AS t) WHERE {words}"));
        assert_eq!(found, [json!({"n": 0})], "{name}");
    }
    for (path, content) in files(lake) {
        let text = String::from_utf8_lossy(&content);
        assert!(ids.iter().all(|id| !text.contains(id.as_str())), "an id is in {}", path.display());
    }
}

fn assert_unsaid(run: &Run, ids: &[String]) {
    let said = format!("{}{}", run.stdout, run.stderr);
    assert!(ids.iter().all(|id| !said.contains(id.as_str())), "{said}");
}

fn line(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
}

/// Every receipt agrees with itself and with its files.
fn assert_consistent(lake: &Path) {
    for receipt in ledger(lake).into_record().receipts {
        let counts = receipt.counts;
        assert_eq!(counts.records, counts.conversations + counts.duplicates + counts.outside, "{counts:?}");
        assert_eq!(counts.vanished as usize, receipt.vanished.len());
        for file in &receipt.files {
            let bytes = std::fs::read(lake.join(&file.path)).unwrap();
            let hash = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes));
            assert_eq!((bytes.len() as u64, hash), (file.bytes, file.hash.clone()), "{}", file.path);
            let conversations = file.table.as_str() == "conversations";
            assert!(!conversations || file.rows == counts.conversations, "{}", file.path);
        }
    }
}

#[test]
fn forgotten_conversations_are_nowhere_and_a_reexport_does_not_bring_them_back() {
    let simulate = Simulate::with(40, &NOW);
    let convlake = Convlake::of(&simulate);
    let lake = convlake.lake();
    export(&convlake);
    // The first of two days (the sample of a report would be one of them), and the one with the most rows of all.
    let mut gone: Vec<String> = ids(&lake).into_values().skip(1).take(2).map(|mut ids| ids.remove(0)).collect();
    let first = duckdb(&format!(
        "SELECT conversation_id AS id FROM {} ORDER BY conversation_start LIMIT 1",
        table(&lake, "conversations")
    ));
    let most = format!(
        "SELECT conversation_id AS id FROM {} GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
        table(&lake, "metrics")
    );
    gone.extend([first, duckdb(&most)].map(|rows| rows[0]["id"].as_str().unwrap().to_owned()));
    let gone: Vec<String> = BTreeSet::from_iter(gone).into_iter().collect();
    let days: BTreeSet<_> = ids(&lake).into_iter().filter(|(_, ids)| ids.iter().any(|id| gone.contains(id))).collect();
    let before = (rows_without(&lake, &gone), contents(&lake), files(&lake));

    let list = convlake.path("ids.txt");
    write(&list, &format!("{}\n\nnot-in-the-lake\n", gone.join("\n")));
    let dry = convlake.succeed(["forget", "lake", "--dry-run", "--file", "ids.txt"]);
    assert_eq!((&line(&dry)["conversations"], &line(&dry)["days"]), (&json!(gone.len()), &json!(days.len())));
    assert!(files(&lake) == before.2, "a dry run changes nothing");

    let unasked = convlake.run(["forget", "lake", "--file", "ids.txt"]);
    assert_eq!(unasked.code, Some(2), "{}", unasked.stderr);
    assert!(unasked.stderr.contains("--yes") && files(&lake) == before.2, "{}", unasked.stderr);

    let forgot = convlake.succeed(["forget", "lake", "--yes", "--file", "ids.txt"]);
    let told = line(&forgot);
    assert_eq!(told["conversations"], json!(gone.len()), "{told}");
    assert_eq!((&told["asked"], &told["new"]), (&json!(gone.len() + 1), &json!(gone.len() + 1)));
    assert!(
        forgot.stderr.contains("not reached: what other conversations say of them, earlier versions"),
        "{}",
        forgot.stderr
    );
    assert_unsaid(&dry, &gone);
    assert_unsaid(&forgot, &gone);
    assert_nowhere(&lake, &gone);
    assert_eq!(rows_without(&lake, &gone), before.0, "all other rows are as they were");
    assert_consistent(&lake);
    assert_eq!(unfinished(&lake), Vec::<String>::new());

    let after = contents(&lake);
    let changed = after.iter().filter(|(day, tables)| before.1[*day] != **tables).count();
    assert_eq!(changed, days.len(), "and only the days that held one were written");

    let report = export(&convlake);
    assert_eq!(report["totals"]["forgotten"], json!(gone.len()));
    assert_eq!((&report["totals"]["vanished"], &report["totals"]["exit"]), (&json!(0), &json!(0)));
    let outcomes: BTreeSet<_> =
        report["days"].as_array().unwrap().iter().map(|day| day["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["unchanged"].into(), "a day without them is the same, whoever took them out");
    assert!(gone.iter().all(|id| !report.to_string().contains(id.as_str())));
    assert_nowhere(&lake, &gone);
    assert_eq!(contents(&lake), after);
    assert_consistent(&lake);

    let again = convlake.succeed(["forget", "--lake", "lake", "--yes", "--file", "ids.txt"]);
    assert_eq!(
        (&line(&again)["new"], &line(&again)["conversations"], &line(&again)["days"]),
        (&json!(0), &json!(0), &json!(0))
    );
}

/// A page with a readable record, one without a start, and one that is no JSON; each names its conversation.
fn page() -> String {
    let good = json!({"conversationId": "good-1", "conversationStart": "2025-03-01T01:00:00Z"});
    let startless = |id: &str| json!({"conversationId": id, "participants": [{"participantName": "Ada"}]});
    let broken = r#"{"conversationId":"broken-1","conversationStart":"2025-03-01T01:00:00Z","a":NaN}"#;
    format!(r#"{{"conversations":[{good},{},{broken},{}]}}"#, startless("bad-1"), startless("bad-2"))
}

fn quarantine(lake: &Path) -> String {
    let kept = files(&lake.join("_convlake/quarantine"));
    kept.values().map(|content| String::from_utf8_lossy(content).into_owned()).collect()
}

#[test]
fn quarantine_forgets_too_and_takes_nothing_of_it_in_again() {
    let convlake = Convlake::new();
    let (lake, pages) = (convlake.lake(), convlake.path("pages.json"));
    write(&pages, &page());
    convlake.convert(std::slice::from_ref(&pages));
    let run = std::fs::read_dir(lake.join("_convlake/quarantine")).unwrap().next().unwrap().unwrap().file_name();
    let run = run.to_str().unwrap().strip_suffix("-0.jsonl").unwrap().to_owned();
    let refused = |n| lake.join(format!("_convlake/quarantine/refused-{run}-{n}.json"));
    write(&refused(0), r#"{"conversations": "bad-1 and others""#);
    write(&refused(1), r#"{"conversations": "others""#);

    let ids = ["bad-1", "broken-1", "good-1"].map(str::to_owned);
    let mut forget = convlake.command(["forget", "lake", "--yes", "--conversation", "bad-1", "--file", "-"]);
    let mut forget = forget.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    forget.stdin.take().unwrap().write_all(b"broken-1\r\ngood-1").unwrap();
    let output = forget.wait_with_output().unwrap();
    assert!(output.status.success());
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["quarantine"], json!({"records": 2, "responses": 1}));
    assert_eq!(told["conversations"], json!(1));
    for (path, content) in files(&lake) {
        let text = String::from_utf8_lossy(&content);
        assert!(ids.iter().all(|id| !text.contains(id.as_str())), "an id is in {}", path.display());
    }
    assert!(quarantine(&lake).contains("bad-2"), "the others stay");
    assert!(!refused(0).exists() && refused(1).exists());

    convlake.convert(std::slice::from_ref(&pages));
    let kept = quarantine(&lake);
    assert_eq!(
        (kept.matches("bad-1").count(), kept.matches("bad-2").count(), kept.matches("broken-1").count()),
        (0, 2, 0)
    );
    assert_eq!(common::org::ids(&lake).values().flatten().count(), 0);

    // What is set aside says from which file it came.
    let named = ["bad-1.json", "other.json"].map(|name| convlake.path(name));
    let page =
        r#"{"conversations":[{"participants":[]},{"conversationId":"c","conversationStart":"2025-03-01T00:00:00Z"}]}"#;
    named.iter().for_each(|path| write(path, page));
    convlake.convert(&named);
    let kept = quarantine(&lake);
    assert_eq!((kept.matches("bad-1").count(), kept.matches("other.json").count()), (0, 1));
}

#[test]
fn without_an_id_or_a_lake_nothing_is_done() {
    let convlake = Convlake::new();
    write(&convlake.path("empty.txt"), "\n  \n");
    for (args, code, said) in [
        (&["forget", "lake"][..], 2, "--conversation"),
        (&["forget", "lake", "--yes", "--file", "empty.txt"], 2, "no conversation is named"),
        (&["forget", "lake", "--yes", "--file", "missing.txt"], 2, "`missing.txt` cannot be read"),
        (&["forget", "lake", "--yes", "--conversation", "x"], 78, "is not a lake"),
        (&["forget", "--yes", "--conversation", "x"], 2, "no lake is named"),
    ] {
        let run = convlake.run(args);
        assert_eq!(run.code, Some(code), "{args:?}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{args:?}: {}", run.stderr);
        assert!(!convlake.lake().exists());
    }
}
