//! Saved files converted one by one with `--merge`, in any order and in any company, make the lake that one call makes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::convlake::Convlake;
use crate::common::{duckdb, each, table, write};

const ORDERS: usize = 200;
const FILES: usize = 5;
const TABLES: &str = "conversations,segments,metrics";

/// Numbers that a seed decides.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// The seed: the same in every run unless `MERGE_SEED` names another.
fn seed() -> u64 {
    std::env::var("MERGE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_250_304)
}

/// A version of a conversation, with the latest time that is anywhere in it.
#[derive(Clone)]
struct Version {
    id: String,
    day: usize,
    latest: String,
    record: Value,
}

fn version(random: &mut Random, number: usize, age: usize) -> Version {
    let id = format!("00000000-0000-4000-8000-{number:012}");
    // Every fifth conversation moves to another day with its versions.
    let day = if number.is_multiple_of(5) { 4 + (number + age) % 2 } else { 4 + number % 2 };
    let start = format!("2025-03-{day:02}T10:{:02}:00.000Z", number % 60);
    // Where the latest time stands differs from version to version; every seventh conversation has versions as old as
    // each other.
    let minute = if number.is_multiple_of(7) { 0 } else { age };
    let latest = format!("2025-03-{:02}T12:{minute:02}:00.000Z", 8 + number % 2);
    let end = format!("2025-03-{day:02}T11:00:00.000Z");
    let mut record = json!({
        "conversationId": id,
        "conversationStart": start,
        "externalTag": format!("version {age}"),
        "participants": [{
            "participantId": format!("p{number}"),
            "purpose": "agent",
            "attributes": { "age": age.to_string(), "chance": random.below(1000).to_string() },
            "sessions": [{
                "sessionId": format!("s{number}"),
                "mediaType": "voice",
                "metrics": [{ "name": "tHandle", "value": 1000 + age, "emitDate": end }],
            }],
        }],
    });
    match random.below(3) {
        0 => record["conversationEnd"] = json!(latest),
        1 => {
            record["conversationEnd"] = json!(end);
            record["participants"][0]["sessions"][0]["metrics"][0]["emitDate"] = json!(latest);
        }
        _ => {
            let segment = json!({ "segmentStart": start, "segmentEnd": latest, "segmentType": "interact" });
            record["participants"][0]["sessions"][0]["segments"] = json!([segment]);
        }
    }
    Version { id, day, latest, record }
}

/// Files of versions, in no order; one is without any, and a version may be in two.
fn versions(random: &mut Random) -> Vec<Vec<Version>> {
    let mut files = vec![Vec::new(); FILES];
    for number in 0..24 {
        for age in 0..=random.below(4) {
            let version = version(random, number, age);
            files[random.below(FILES - 1)].push(version.clone());
            if random.below(6) == 0 {
                files[random.below(FILES - 1)].push(version);
            }
        }
    }
    files.iter_mut().for_each(|file| random.shuffle(file));
    files
}

fn saved(folder: &Path, files: &[Vec<Version>]) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for (number, versions) in files.iter().enumerate() {
        let records: Vec<&Value> = versions.iter().map(|version| &version.record).collect();
        let path = folder.join(format!("{number}.json"));
        write(&path, &json!({ "conversations": records }).to_string());
        paths.push(path);
    }
    paths
}

/// Converts files into a lake by one call.
fn merge(convlake: &Convlake, files: &[&PathBuf], lake: &Path) -> Result<(), String> {
    let mut args = vec!["convert".to_owned(), "--merge".to_owned(), "--tables".to_owned(), TABLES.to_owned()];
    args.extend(files.iter().map(|file| file.display().to_string()));
    args.extend(["--out".to_owned(), lake.display().to_string()]);
    let run = convlake.run(args);
    if run.code == Some(0) { Ok(()) } else { Err(format!("exit {:?}: {}", run.code, run.stderr)) }
}

/// The bytes of every data file before its footer, which alone says what run wrote it.
fn content(lake: &Path) -> BTreeMap<String, u64> {
    let mut content = BTreeMap::new();
    for table in TABLES.split(',') {
        let Ok(days) = fs::read_dir(lake.join(table)) else { continue };
        for day in days {
            let day = day.expect("a folder").path();
            let bytes = fs::read(day.join(format!("{table}.parquet"))).expect("a file");
            let length = bytes[bytes.len() - 8..bytes.len() - 4].try_into().expect("four bytes");
            let data = &bytes[..bytes.len() - 8 - u32::from_le_bytes(length) as usize];
            let name = format!("{table}/{}", day.file_name().expect("a name").to_string_lossy());
            content.insert(name, xxhash_rust::xxh3::xxh3_64(data));
        }
    }
    content
}

/// What a lake's days are called, and how many rows each file has: what loaders see.
fn listed(convlake: &Convlake, lake: &Path) -> BTreeSet<String> {
    let run = convlake.succeed(["files".as_ref(), lake.as_os_str()]);
    let lines = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.map(|line| format!("{} {} {}", line["table"], line["date"], line["rows"])).collect()
}

#[test]
fn two_hundred_orders_make_the_same_lake() {
    let seed = seed();
    let mut random = Random(seed);
    let folder = TempDir::new().expect("a temporary directory");
    let files = versions(&mut random);
    let paths = saved(folder.path(), &files);
    let convlake = Convlake::new();
    let whole = folder.path().join("whole");
    let all: Vec<&PathBuf> = paths.iter().collect();
    merge(&convlake, &all, &whole).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    is_the_latest(&files, &whole, seed);
    let (expected, names) = (content(&whole), listed(&convlake, &whole));

    let orders: Vec<Vec<Vec<&PathBuf>>> = (0..ORDERS).map(|_| calls(&mut random, &paths)).collect();
    let wrong = Mutex::new(Vec::new());
    each(ORDERS, |number| {
        let lake = folder.path().join(format!("lake-{number}"));
        let calls = &orders[number];
        let ended: Result<Vec<()>, String> = calls.iter().map(|files| merge(&convlake, files, &lake)).collect();
        let fault = match ended {
            Err(error) => Some(error),
            Ok(_) if content(&lake) != expected => {
                let differ = |name: &&String| content(&lake).get(*name) != expected.get(*name);
                Some(format!("other content: {:?}", expected.keys().filter(differ).collect::<Vec<_>>()))
            }
            Ok(_) if listed(&convlake, &lake) != names => Some("other files are listed".to_owned()),
            Ok(_) => None,
        };
        if let Some(fault) = fault {
            wrong.lock().expect("no panic").push(format!("{:?}\n    {fault}", order(calls)));
        }
        fs::remove_dir_all(&lake).expect("a lake");
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "seed {seed}: {} of {ORDERS} orders: {}", wrong.len(), wrong.join("\n"));
}

/// All files, in some order, by some number of calls.
fn calls<'a>(random: &mut Random, paths: &'a [PathBuf]) -> Vec<Vec<&'a PathBuf>> {
    let mut order: Vec<&PathBuf> = paths.iter().collect();
    random.shuffle(&mut order);
    let mut calls: Vec<Vec<&PathBuf>> = Vec::new();
    for path in order {
        match calls.last_mut() {
            Some(call) if random.below(3) == 0 => call.push(path),
            _ => calls.push(vec![path]),
        }
    }
    // A file may come again.
    if random.below(4) == 0 {
        calls.push(vec![&paths[random.below(paths.len())]]);
    }
    calls
}

fn order(calls: &[Vec<&PathBuf>]) -> Vec<Vec<String>> {
    let name = |path: &&PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    calls.iter().map(|call| call.iter().map(name).collect()).collect()
}

/// Of each conversation a lake has the version with the latest time in it, whole, on the day of that version.
fn is_the_latest(files: &[Vec<Version>], lake: &Path, seed: u64) {
    let mut latest: BTreeMap<&str, Vec<&Version>> = BTreeMap::new();
    for version in files.iter().flatten() {
        let best = latest.entry(&version.id).or_default();
        if best.first().is_some_and(|other| other.latest < version.latest) {
            best.clear();
        }
        if best.first().is_none_or(|other| other.latest == version.latest) {
            best.push(version);
        }
    }
    let rows = duckdb(&format!(
        "SELECT conversation_id AS id, external_tag AS tag, day(date) AS day, t_handle_ms AS handle FROM {} ORDER BY 1",
        table(lake, "conversations")
    ));
    assert_eq!(rows.len(), latest.len(), "seed {seed}");
    for row in rows {
        let best = &latest[row["id"].as_str().expect("an id")];
        let is = |version: &&Version| {
            row["tag"] == version.record["externalTag"]
                && row["day"] == json!(version.day)
                && row["handle"] == version.record["participants"][0]["sessions"][0]["metrics"][0]["value"]
        };
        assert!(best.iter().any(is), "seed {seed}: {row} is not the latest version");
    }
}

/// Against the lake as within a call: an older version that comes later changes nothing, on any day.
#[test]
fn an_older_version_that_comes_later_changes_nothing() {
    let convlake = Convlake::new();
    let lake = convlake.lake();
    let page = |name: &str, start: &str, end: &str| {
        let path = convlake.path(name);
        let record = json!({ "conversationId": "c", "conversationStart": start, "conversationEnd": end });
        write(&path, &json!({ "conversations": [record] }).to_string());
        path
    };
    let new = page("new.json", "2025-03-05T10:00:00.000Z", "2025-03-05T12:00:00.000Z");
    let old = page("old.json", "2025-03-04T10:00:00.000Z", "2025-03-04T11:00:00.000Z");
    for file in [&new, &old, &new] {
        merge(&convlake, &[file], &lake).expect("a merge");
        let rows = duckdb(&format!("SELECT day(date) AS day FROM {}", table(&lake, "conversations")));
        assert_eq!(rows, [json!({ "day": 5 })]);
    }
}

/// What the inputs do not mention stays, and a day that was merged does not count as whole.
#[test]
fn a_merge_adds() {
    let convlake = Convlake::new();
    let lake = convlake.lake();
    let page = |number: usize| {
        let path = convlake.path(&format!("{number}.json"));
        let record = json!({ "conversationId": format!("c{number}"),
            "conversationStart": "2025-03-04T10:00:00.000Z" });
        write(&path, &json!({ "conversations": [record] }).to_string());
        path
    };
    for number in 0..5 {
        merge(&convlake, &[&page(number)], &lake).expect("a merge");
        let rows = duckdb(&format!("SELECT count(*) AS count FROM {}", table(&lake, "conversations")));
        assert_eq!(rows, [json!({ "count": number + 1 })]);
    }
    let status = convlake.succeed(["status", "lake", "--format", "json"]).stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["days"][0]["state"], "partial", "{status}");
    assert_eq!(status["watermark"], Value::Null, "{status}");
}

/// What was forgotten stays out.
#[test]
fn a_merge_brings_nothing_back() {
    let convlake = Convlake::new();
    let record = |id: &str| json!({ "conversationId": id, "conversationStart": "2025-03-04T10:00:00.000Z" });
    let file = convlake.path("page.json");
    write(&file, &json!({ "conversations": [record("kept"), record("gone")] }).to_string());
    write(&convlake.path("ids"), "gone\n");
    merge(&convlake, &[&file], &convlake.lake()).expect("a merge");
    convlake.succeed(["forget", "lake", "--file", "ids", "--yes"]);
    merge(&convlake, &[&file], &convlake.lake()).expect("a merge");
    let rows = duckdb(&format!("SELECT conversation_id AS id FROM {}", table(&convlake.lake(), "conversations")));
    assert_eq!(rows, [json!({ "id": "kept" })]);
}
