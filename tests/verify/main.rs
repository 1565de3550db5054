//! Every kind of damage to a good lake is named with its day and file, and the printed commands repair it.

#![cfg(test)]
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/servers/mod.rs"]
mod servers;

mod lab;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMicrosecondType;
use common::convlake::Convlake;
use common::org::files;
use common::receipts::trust_the_clock;
use common::{TABLES, write};
use lab::{DAY, DAY_MICROS, FROM, Lab, NEXT, TO, Verdict, part, rows, simulate, with_starts};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use servers::{Kind, Place};

#[test]
fn a_flipped_bit() {
    let lab = Lab::new();
    let path = lab.part("sessions", DAY);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(lab.verify(&["--quick"]).code, Some(0), "the footer is whole");
    lab.assert_named_and_repaired(&[("bytes", Some(DAY), Some(&part("sessions", DAY)))]);
}

#[test]
fn a_truncated_file_and_a_missing_one() {
    let lab = Lab::new();
    let path = lab.part("segments", DAY);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    fs::remove_file(lab.part("surveys", NEXT)).unwrap();
    let wanted = [("bytes", Some(DAY), part("segments", DAY)), ("missing", Some(NEXT), part("surveys", NEXT))];
    let wanted: Vec<_> = wanted.iter().map(|(kind, day, file)| (*kind, *day, Some(file.as_str()))).collect();
    assert_eq!(lab.verify(&["--quick"]).named(), wanted);
    assert_eq!(lab.verify(&["--to", DAY]).code, Some(0), "the days before are whole");
    assert_eq!(lab.verify(&["--from", NEXT]).named(), wanted[1..]);
    lab.assert_named_and_repaired(&wanted);
}

#[test]
fn files_that_are_not_convlakes() {
    let lab = Lab::new();
    let strangers = [
        format!("conversations/date={DAY}/part-0.parquet"),
        format!("conversations/date={DAY}/.part-1.parquet"),
        "sessions/notes.txt".to_owned(),
        "unknown/date=2025-03-02/unknown.parquet".to_owned(),
    ];
    let copy = |file: &String| {
        let path = lab.lake().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(tests_file(), path).unwrap();
    };
    strangers.iter().for_each(copy);
    copy(&"sessions/.DS_Store".to_owned());
    let found = lab.verify(&[]);
    let mut named = found.named();
    named.sort_unstable_by_key(|(_, _, file)| file.map(|f| strangers.iter().position(|s| s == f)));
    let days = [Some(DAY), Some(DAY), None, Some(DAY)];
    let wanted: Vec<_> = strangers.iter().zip(days).map(|(file, day)| ("foreign", day, Some(file.as_str()))).collect();
    assert_eq!((found.code, named), (Some(65), wanted));
    lab.repair();
    assert_eq!(lab.verify(&[]).code, Some(0));
    let moved = files(&lab.convlake.path("home"));
    assert_eq!(moved.len(), strangers.len(), "nothing is removed: {moved:?}");
}

/// Any file.
fn tests_file() -> PathBuf {
    common::tests_dir("requirements.txt")
}

#[test]
fn a_conversation_twice_in_a_day() {
    let lab = Lab::new();
    lab.forge("conversations", DAY, |all| rows(&all, [0].into_iter().chain(0..all.num_rows())));
    lab.assert_named_and_repaired(&[("duplicate", Some(DAY), Some(&part("conversations", DAY)))]);
}

#[test]
fn a_conversation_in_two_days() {
    let lab = Lab::new();
    let next = lab.part("conversations", NEXT);
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(next).unwrap()).unwrap().build().unwrap();
    let last = reader.next().unwrap().unwrap();
    let other = with_starts(&rows(&last, [last.num_rows() - 1]), |at| at - DAY_MICROS);
    lab.forge("conversations", DAY, |all| {
        let both = concat_batches(&all.schema(), [&all, &other]).unwrap();
        let starts = both.column_by_name("conversation_start").unwrap();
        let starts = starts.as_primitive::<TimestampMicrosecondType>();
        let mut order: Vec<usize> = (0..both.num_rows()).collect();
        order.sort_by_key(|row| starts.value(*row));
        rows(&both, order)
    });
    lab.assert_named_and_repaired(&[("duplicate", Some(DAY), None), ("duplicate", Some(NEXT), None)]);
}

#[test]
fn children_without_their_conversation() {
    let lab = Lab::new();
    lab.forge("conversations", DAY, |all| rows(&all, 1..all.num_rows()));
    let found = lab.verify(&[]);
    let named = found.named();
    assert!(named.iter().all(|(kind, day, _)| (*kind, *day) == ("orphan", Some(DAY))), "{named:?}");
    let participants = part("participants", DAY);
    assert!(named.iter().any(|(_, _, file)| *file == Some(&participants)), "{named:?}");
    lab.assert_named_and_repaired(&named);
}

#[test]
fn rows_of_another_day_and_rows_out_of_order() {
    let lab = Lab::new();
    lab.forge("segments", DAY, |all| with_starts(&all, |at| at + DAY_MICROS));
    lab.forge("sessions", DAY, |all| rows(&all, (0..all.num_rows()).rev()));
    lab.assert_named_and_repaired(&[
        ("other_day", Some(DAY), Some(&part("segments", DAY))),
        ("order", Some(DAY), Some(&part("sessions", DAY))),
    ]);
}

#[test]
fn a_column_that_is_not_there() {
    let lab = Lab::new();
    lab.forge("sessions", DAY, |all| {
        let kept: Vec<usize> = (0..all.num_columns() - 1).collect();
        all.project(&kept).unwrap()
    });
    lab.assert_named_and_repaired(&[("columns", Some(DAY), Some(&part("sessions", DAY)))]);
}

#[test]
fn a_flipped_bit_in_a_file_too_large_to_be_read_at_once() {
    let lab = Lab::new();
    let size = 17 << 20;
    lab.forge("sessions", DAY, |all| {
        let index = all.schema().index_of("extra").unwrap();
        let long = (0..all.num_rows()).map(|row| (row == 0).then(|| "x".repeat(size)));
        let mut columns = all.columns().to_vec();
        columns[index] = Arc::new(StringArray::from_iter(long));
        RecordBatch::try_new(all.schema(), columns).unwrap()
    });
    let path = lab.part("sessions", DAY);
    let mut bytes = fs::read(&path).unwrap();
    assert!(bytes.len() > size);
    assert_eq!(lab.verify(&[]).code, Some(0));
    let last = bytes.len() - size / 2;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    lab.assert_named_and_repaired(&[("bytes", Some(DAY), Some(&part("sessions", DAY)))]);
}

#[test]
fn a_receipt_with_another_row_count() {
    let lab = Lab::new();
    lab.receipt(DAY, |receipt| {
        let files = receipt["files"].as_array_mut().unwrap();
        let sessions = files.iter_mut().find(|file| file["table"] == "sessions").unwrap();
        sessions["rows"] = json!(sessions["rows"].as_u64().unwrap() + 1);
    });
    lab.assert_named_and_repaired(&[("rows", Some(DAY), Some(&part("sessions", DAY)))]);
}

#[test]
fn a_receipt_that_calls_settled_what_was_never_promised() {
    let lab = Lab::new();
    lab.receipt(DAY, |receipt| receipt["state"] = json!("settled"));
    lab.assert_named_and_repaired(&[("receipt", Some(DAY), None)]);
}

#[test]
fn a_ledger_record_that_is_garbage() {
    let lab = Lab::new();
    let record = lab.record(DAY);
    write(&record, "{\"receipts\": [{");
    let name = record.strip_prefix(lab.lake()).unwrap().to_str().unwrap();
    // The days of the export were published together.
    let days = ["2025-03-01", DAY, NEXT, "2025-03-04"];
    let mut parts: Vec<(&str, String)> =
        days.iter().flat_map(|day| TABLES.iter().map(|table| (*day, part(table, day)))).collect();
    parts.sort_unstable();
    let unrecorded = parts.iter().map(|(day, file)| ("unrecorded", Some(*day), Some(file.as_str())));
    let wanted: Vec<_> = std::iter::once(("record", None, Some(name))).chain(unrecorded).collect();
    lab.assert_named_and_repaired(&wanted);
}

#[test]
fn a_file_of_an_older_observation_put_back() {
    let lab = Lab::at("2025-03-05T00:00:00Z", "query");
    let before: Vec<Vec<u8>> = TABLES.map(|table| fs::read(lab.part(table, DAY)).unwrap()).into();
    // The source as it is weeks later.
    let lab = Lab { simulate: simulate("2025-06-01T00:00:00Z", 8), convlake: lab.convlake };
    let later = Convlake::of(&lab.simulate);
    let out = lab.lake();
    let range = ["export", "--from", FROM, "--to", TO, "--protocol", "query", "--rate-limit", "100000", "--out"];
    later.succeed(range.iter().copied().chain([out.to_str().unwrap()]));
    let changed = TABLES.iter().zip(&before).find(|(table, old)| fs::read(lab.part(table, DAY)).unwrap() != **old);
    let (table, old) = changed.expect("something changed in three months");
    fs::write(lab.part(table, DAY), old).unwrap();
    lab.assert_named_and_repaired(&[("uncommitted", Some(DAY), Some(&part(table, DAY)))]);
}

#[test]
fn a_snapshot_that_is_damaged() {
    let lab = Lab::new();
    let taken = ["dimensions", "--date", DAY, "--only", "queues,users", "--rate-limit", "100000", "--out", "lake"];
    lab.convlake.succeed(taken);
    assert_eq!(lab.verify(&[]).code, Some(0));
    let path = lab.part("queues", DAY);
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    fs::remove_file(lab.part("users", DAY)).unwrap();
    lab.assert_named_and_repaired(&[
        ("bytes", Some(DAY), Some(&part("queues", DAY))),
        ("missing", Some(DAY), Some(&part("users", DAY))),
    ]);
}

#[test]
fn what_is_gone_on_purpose_is_no_damage() {
    let lab = Lab::at("2025-06-01T00:00:00Z", "jobs");
    trust_the_clock(&lab.lake());
    let ids = common::org::ids(&lab.lake());
    let id = &ids[&NEXT.parse().unwrap()][0];
    lab.convlake.succeed(["forget", "lake", "--yes", "--conversation", id]);
    lab.convlake.succeed(["expire", "lake", "--yes", "--before", DAY]);
    let found = lab.verify(&["--source", "--rate-limit", "100000"]);
    assert_eq!(found.code, Some(0), "{found:#?}");
    let counts = found.said["source"].as_array().unwrap();
    let of = |day: &str| counts.iter().find(|count| count["day"] == day);
    assert!(of(FROM).is_none(), "what expired is not asked for: {counts:?}");
    let forgotten = of(NEXT).unwrap();
    assert_eq!((&forgotten["lake"], &forgotten["source"], &forgotten["forgotten"]), (&json!(7), &json!(8), &json!(1)));
    let status: Value =
        serde_json::from_str(&lab.convlake.succeed(["status", "lake", "--format", "json"]).stdout).unwrap();
    assert_eq!(status["states"], json!({"expired": 1, "settled": 3, "missing": 0}));
    let listed = lab.convlake.succeed(["files", "lake", "--format", "csv"]).stdout;
    assert!(!listed.contains(FROM) && listed.contains(DAY), "a loader finds nothing of what expired");
}

#[test]
fn damage_in_a_bucket() {
    let place = Place::new(Kind::S3s);
    let simulate = simulate("2025-06-01T00:00:00Z", 8);
    let convlake = Convlake::of(&simulate).with(place.env());
    let export = |from: &str, to: &str| {
        let ask = ["export", "--from", from, "--to", to, "--protocol", "query", "--rate-limit", "100000"];
        convlake.succeed(ask.into_iter().chain(["--out", &place.out]));
    };
    export(FROM, TO);
    let verify = || {
        let run = convlake.run(["verify", &place.out, "--format", "json"]);
        Verdict { code: run.code, said: serde_json::from_str(&run.stdout).expect(&run.stderr) }
    };
    assert_eq!(verify().code, Some(0));

    let [flipped, cut, gone, stranger] =
        [part("metrics", DAY), part("segments", DAY), part("sessions", DAY), format!("surveys/date={NEXT}/x.parquet")];
    let mut bytes = place.get(&flipped);
    bytes[100] ^= 1;
    place.put(&flipped, &bytes);
    let bytes = place.get(&cut);
    place.put(&cut, &bytes[..bytes.len() / 2]);
    place.delete(&gone);
    place.put(&stranger, b"PAR1");
    let found = verify();
    let wanted = [
        ("bytes", Some(DAY), Some(flipped.as_str())),
        ("bytes", Some(DAY), Some(&cut)),
        ("missing", Some(DAY), Some(&gone)),
        ("foreign", Some(NEXT), Some(&stranger)),
    ];
    assert_eq!((found.code, found.named()), (Some(65), wanted.to_vec()), "{found:#?}");
    let repairs = [
        format!("# move {}/{stranger} out of the bucket", place.out),
        format!("convlake export --from {DAY} --to {NEXT} --out {}", place.out.replace(' ', "%20")),
    ];
    assert_eq!(found.said["repairs"], json!(repairs));

    place.delete(&stranger);
    export(DAY, NEXT);
    assert_eq!(verify().code, Some(0));
    let files = convlake.succeed(["files", &place.out, "--table", "metrics", "--format", "csv"]).stdout;
    assert!(files.contains(&format!(",{}/{flipped},", place.out)), "{files}");
}

#[test]
fn the_source_is_asked_for_its_counts() {
    let lab = Lab::at("2025-06-01T00:00:00Z", "jobs");
    trust_the_clock(&lab.lake());
    let source = ["--source", "--rate-limit", "100000"];
    let same = lab.verify(&source);
    assert_eq!(same.code, Some(0), "{same:#?}");
    let counts = same.said["source"].as_array().unwrap();
    assert_eq!(counts.len(), 4);
    assert!(counts.iter().all(|day| day["lake"] == 8 && day["source"] == 8 && day["final"] == true), "{counts:?}");

    let more = simulate("2025-06-01T00:00:00Z", 9);
    let lab = Lab { convlake: lab.convlake, simulate: more };
    let other = Convlake::of(&lab.simulate);
    let lake = lab.lake();
    let args = |format| [&["verify", lake.to_str().unwrap(), "--format", format][..], &source].concat();
    let run = other.run(args("json"));
    assert_eq!(run.code, Some(65), "{run:?}");
    let verdict = Verdict { code: run.code, said: serde_json::from_str(&run.stdout).unwrap() };
    let days = ["2025-03-01", DAY, NEXT, "2025-03-04"];
    assert_eq!(verdict.named(), days.map(|day| ("source", Some(day), None)));

    // A day that may still change is different by right.
    lab.receipt(DAY, |receipt| receipt["state"] = json!("provisional"));
    let run = other.run(args("text"));
    assert_eq!(run.code, Some(65), "{run:?}");
    let note = format!("note: {DAY}: the source counts 9 conversations, the lake has 8; it may still change");
    assert!(run.stdout.contains(&note), "{}", run.stdout);
    assert_eq!(run.stdout.matches("source: the source counts 9").count(), 3, "{}", run.stdout);
}
