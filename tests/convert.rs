//! Saved pages make the same lake, however they were saved; what is no page makes none.

#![cfg(test)]

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::convlake::{Convlake, Run};
use common::org::{Ids, Org, at, files, ids};
use common::receipts::{Contents, contents, ledger, written};
use common::{duckdb, table};
use convlake::simulator::{SimulatorSettings, World, WorldSettings};
use convlake::time::Day;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

const DAYS: [&str; 3] = ["2025-03-01", "2025-03-02", "2025-03-03"];

/// Raw conversations of three days as they were at `as_of`.
fn conversations(as_of: &str) -> Vec<Value> {
    let world = World::new(WorldSettings { conversations_per_day: 12, ..WorldSettings::default() });
    let days = DAYS.iter().map(|day| day.parse::<Day>().unwrap());
    let records = days.flat_map(|day| world.conversations(day, at(as_of)));
    records.map(|record| serde_json::from_slice(&record.json).unwrap()).collect()
}

fn ids_of(conversations: &[Value]) -> Ids {
    let mut ids = Ids::new();
    for conversation in conversations {
        let day = conversation["conversationStart"].as_str().unwrap()[..10].parse().unwrap();
        ids.entry(day).or_default().push(conversation["conversationId"].as_str().unwrap().to_owned());
    }
    ids.values_mut().for_each(|day| day.sort());
    ids
}

fn page(conversations: &[Value]) -> String {
    json!({"conversations": conversations, "totalHits": conversations.len()}).to_string()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn save(convlake: &Convlake, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = convlake.path(name);
    fs::write(&path, content).unwrap();
    path
}

fn convert(convlake: &Convlake, lake: &str, args: &[&str]) -> Run {
    convlake.run([&["convert", "--out", lake], args].concat())
}

/// The same of what comes through standard input.
fn convert_stdin(convlake: &Convlake, lake: &str, input: &[u8]) -> Run {
    let mut command = convlake.command(["convert", "-", "--out", lake]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Lines of quarantine.
fn quarantined(lake: &Path) -> Vec<Value> {
    let kept = files(&lake.join("_convlake/quarantine"));
    let lines = kept.values().flat_map(|text| text.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// A lake made of one file with this content.
fn made_of(content: impl AsRef<[u8]>) -> Contents {
    let convlake = Convlake::new();
    let file = save(&convlake, "pages", content);
    convlake.convert(&[file]);
    contents(&convlake.lake())
}

fn assert_refused(run: &Run, lake: &Path, because: &str) {
    assert_eq!(run.code, Some(65), "{}", run.stderr);
    assert!(run.stderr.contains(because), "{}", run.stderr);
    assert_eq!((ledger(lake).days().count(), written(lake).len()), (0, 0), "something was published");
}

#[test]
fn a_day_that_was_left_behind_and_comes_back_is_whole() {
    // Rows are handed to their days some pages after they were read: a day that is to be left behind early has many.
    const A_DAY: usize = 3000;
    let conversation = |day: &str, n: usize| json!({"conversationId": format!("{day}-{n:04}"), "conversationStart": format!("{day}T{:02}:00:00.000Z", n * 24 / A_DAY)});
    let mut all: Vec<Value> = DAYS.iter().flat_map(|day| (0..A_DAY).map(|n| conversation(day, n))).collect();
    let late = all.remove(3);
    let mut newer = all[5].clone();
    newer["externalTag"] = json!("came later");
    all.insert(1, all[0].clone());
    all.extend([late, newer]);

    let want = made_of(page(&all));
    let pages: Vec<String> = all.chunks(50).map(page).collect();
    // Documents that are read together leave gaps in the numbers of pages.
    let (first, rest) = all.split_at(100);
    let mixed: Vec<String> = first.iter().map(Value::to_string).chain(rest.chunks(50).map(page)).collect();
    for documents in [pages, mixed] {
        let convlake = Convlake::new();
        let file = save(&convlake, "pages", documents.join("\n"));
        let lake = convlake.lake();
        let run = convert(&convlake, lake.to_str().unwrap(), &["-vv", file.to_str().unwrap()]);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert!(run.stderr.contains("left behind"), "no day was left behind: {}", run.stderr);
        assert_eq!(contents(&lake), want);
        let ledger = ledger(&lake);
        let counts = &ledger.day(DAYS[0].parse().unwrap()).unwrap().receipt.as_ref().unwrap().counts;
        assert_eq!((counts.records, counts.conversations, counts.duplicates), (A_DAY as u64 + 2, A_DAY as u64, 2));
    }
}

#[test]
fn a_day_may_be_left_behind_more_than_once() {
    let all = conversations("2025-06-01");
    // Two files of the same days, each in order.
    let [even, odd] = [0, 1].map(|n| all.iter().skip(n).step_by(2).cloned().collect::<Vec<_>>());
    let others = vec![page(&[]); 20];
    let in_order = |half: &[Value]| [half.chunks(1).map(page).collect(), others.clone()].concat().join("\n");

    let convlake = Convlake::new();
    let files = [save(&convlake, "even", in_order(&even)), save(&convlake, "odd", in_order(&odd))];
    convlake.convert(&files);
    assert_eq!(contents(&convlake.lake()), made_of(page(&all)));
}

#[test]
fn a_conversation_is_one_whatever_stands_beside_its_id_and_start() {
    let all = conversations("2025-06-01");
    let want = Ids::from_iter(ids_of(&all));
    for (name, value) in [
        ("status", json!("closed")),
        ("cursor", json!("c")),
        ("totalHits", json!(0)),
        ("error", json!("e")),
        ("message", json!("m")),
        ("code", json!("bad.request")),
        ("entities", json!([])),
        ("conversations", json!([{"id": "inner"}, {"id": "other"}])),
        ("paging", json!({"pageCount": 9})),
    ] {
        let mut all = all.clone();
        // The members before and behind those that make it a conversation.
        for (n, conversation) in all.iter_mut().enumerate().step_by(2) {
            let conversation = conversation.as_object_mut().unwrap();
            conversation.shift_insert(if n % 4 == 0 { 0 } else { conversation.len() }, name.to_owned(), value.clone());
        }
        let convlake = Convlake::new();
        let lines: Vec<String> = all.iter().map(Value::to_string).collect();
        let file = save(&convlake, "conversations.ndjson", lines.join("\n"));
        let lake = convlake.lake();
        let run = convert(&convlake, lake.to_str().unwrap(), &[file.to_str().unwrap()]);
        assert_eq!(run.code, Some(0), "{name}: {}", run.stderr);
        assert_eq!(ids(&lake), want, "{name}");
        assert!(quarantined(&lake).is_empty(), "{name}");
    }
}

#[test]
fn every_way_of_saving_makes_the_same_lake() {
    let all = conversations("2025-06-01");
    let lines = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join("\n");
    let one_page = page(&all);
    let pretty = serde_json::to_string_pretty(&json!({"conversations": all})).unwrap();
    let ndjson = lines(&mut all.iter().map(Value::to_string));
    let pages = lines(&mut all.chunks(7).map(page));
    let concatenated: String = all.chunks(5).map(page).collect();
    let list = json!(all).to_string();
    let query = lines(&mut all.chunks(10).map(page).chain([json!({"totalHits": all.len()}).to_string(), "{}".into()]));
    let availability = "2025-05-31T18:00:00Z";
    let jobs = lines(&mut all.chunks(10).map(|some| {
        json!({"conversations": some, "cursor": "Y3Vyc29y+w==", "dataAvailabilityDate": availability}).to_string()
    }));
    let cursor =
        lines(&mut all.chunks(10).map(|some| {
            json!({"nextPageCursor": "abc", "totalRecords": all.len(), "conversations": some}).to_string()
        }));
    let counted = lines(&mut (1..).zip(all.chunks(10)).map(|(n, some)| {
        json!({"entities": some, "paging": {"pageNumber": n, "pageSize": 10, "pageCount": 4}}).to_string()
    }));

    let want = made_of(&one_page);
    assert_eq!(want.len(), DAYS.len());
    for (name, form) in [
        ("an indented document", &pretty),
        ("conversations, one a line", &ndjson),
        ("pages, one a line", &pages),
        ("pages one after another", &concatenated),
        ("a list of conversations", &list),
        ("answers of the query", &query),
        ("results of a job", &jobs),
        ("pages with cursors", &cursor),
        ("pages with a count", &counted),
    ] {
        assert_eq!(made_of(form), want, "{name}");
        assert_eq!(made_of(gzip(form)), want, "{name}, gzip");
    }
}

#[test]
fn many_files_and_standard_input_make_what_one_file_makes() {
    let all = conversations("2025-06-01");
    let want = made_of(page(&all));

    let convlake = Convlake::new();
    let (first, rest) = all.split_at(20);
    save(&convlake, "first.json.gz", gzip(&page(first)));
    save(&convlake, "rest.ndjson", rest.iter().map(|c| format!("{c}\n")).collect::<String>());
    assert_eq!(convert(&convlake, "files", &["first.json.gz", "rest.ndjson"]).code, Some(0));
    assert_eq!(contents(&convlake.path("files")), want);

    for (lake, input) in [("plain", page(&all).into_bytes()), ("packed", gzip(&page(&all)))] {
        let run = convert_stdin(&convlake, lake, &input);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(contents(&convlake.path(lake)), want, "{lake}");
    }
}

/// Answers saved by hand, and an export of the same days by the same protocol.
#[tokio::test(start_paused = true)]
async fn saved_answers_make_what_an_export_makes() {
    let world = WorldSettings { conversations_per_day: 12, ..WorldSettings::default() };
    let org = Org::new(SimulatorSettings { world, ..Default::default() }, "2025-06-01");
    let (from, to) = ("2025-03-01", "2025-03-04");
    let query = |n: u64| {
        json!({"interval": format!("{from}T00:00:00.000Z/{to}T00:00:00.000Z"), "order": "asc",
            "orderBy": "conversationStart", "paging": {"pageSize": 10, "pageNumber": n}})
    };
    // The tutorials' ends are inclusive.
    let last = "2025-03-03T23:59:59.999Z";
    let counted = |n: u64| {
        json!({"dateFrom": format!("{from}T00:00:00.000Z"), "dateTo": last, "size": 10, "pageNumber": n,
            "groupBy": ["queueId"], "metrics": ["offerRate", "offerAnswerRate", "talkRate"]})
    };
    let cursor = json!({"startTime": format!("{from}T00:00:00.000Z"), "endTime": last, "granularity": "day",
            "metrics": ["handleDuration", "talkDuration", "waitDuration", "holdDuration", "wrapupDuration"]});
    let requests: [(&str, Vec<Value>); 3] =
        [("query", (1..=5).map(query).collect()), ("page", (1..=4).map(counted).collect()), ("cursor", vec![cursor])];
    for (protocol, bodies) in requests {
        let mut saved = String::new();
        for body in bodies {
            let (status, answer) = org.post("/api/v2/analytics/conversations/details/query", &body).await;
            assert_eq!(status, 200, "{answer}");
            saved += &format!("{answer}\n");
        }
        let mut ask = org.ask(protocol, from, to);
        ask.lake = org.path(protocol);
        ask.tables = None;
        assert_eq!(org.run(ask).await.totals.exit, 0);
        assert_eq!(ids(&org.path(protocol)), org.world(from, to));
        if protocol == "query" {
            assert_eq!(made_of(saved), contents(&org.path(protocol)));
            continue;
        }
        // A lake of files has no columns for the tutorials' figures: they are in `extra`, none of them lost.
        let convlake = Convlake::new();
        save(&convlake, "saved.ndjson", saved);
        assert_eq!(convert(&convlake, "lake", &["saved.ndjson"]).code, Some(0));
        let columns = "handle_duration_ms, wait_duration_ms, offer_rate, talk_rate, queue_id";
        let figures = "(extra->>'$.metrics.handleDuration.total')::BIGINT AS handle_duration_ms, \
            (extra->>'$.metrics.waitDuration.total')::BIGINT AS wait_duration_ms, \
            (extra->>'$.metrics.offerRate')::DOUBLE AS offer_rate, \
            (extra->>'$.metrics.talkRate')::DOUBLE AS talk_rate, extra->>'$.queueId' AS queue_id";
        let rows = |columns: &str, lake: &Path| {
            let lake = table(lake, "conversations");
            duckdb(&format!("SELECT conversation_id, {columns} FROM {lake} ORDER BY ALL"))
        };
        assert_eq!(rows(figures, &convlake.lake()), rows(columns, &org.path(protocol)), "{protocol}");
    }
}

#[test]
fn of_two_versions_the_one_read_later_wins() {
    let (old, new) = (conversations("2025-03-04"), conversations("2025-06-01"));
    let (of_old, of_new) = (made_of(page(&old)), made_of(page(&new)));
    assert_ne!(of_old, of_new, "a world without late changes");
    assert_eq!(ids_of(&old), ids_of(&new));

    let convlake = Convlake::new();
    save(&convlake, "old.json", page(&old));
    // Alone in their lines, while the other file is a page: they must not overtake each other either.
    save(&convlake, "new.ndjson", new.iter().map(|c| format!("{c}\n")).collect::<String>());
    for (lake, files, want) in [("a", ["old.json", "new.ndjson"], &of_new), ("b", ["new.ndjson", "old.json"], &of_old)]
    {
        let run = convert(&convlake, lake, &files);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        assert_eq!(contents(&convlake.path(lake)), *want, "{files:?}");
        let said = format!("{} conversations delivered again", old.len());
        assert!(run.stderr.contains(&said), "{}", run.stderr);
    }
    // And across runs: the later conversion is the later observation.
    assert_eq!(convert(&convlake, "b", &["new.ndjson"]).code, Some(0));
    assert_eq!(contents(&convlake.path("b")), of_new);

    // Within one file, a page and lone conversations in turn.
    let mixed = format!("{}\n{}\n{}\n{}", new[0], page(&old), new[0], page(&old[1..2]));
    let mut latest = old.clone();
    latest[0] = new[0].clone();
    assert_eq!(made_of(mixed), made_of(page(&latest)));
}

#[test]
fn an_error_answer_among_the_pages_is_refused_and_nothing_is_published() {
    let all = conversations("2025-06-01");
    let error =
        json!({"message": "Invalid login credentials.", "code": "bad.credentials", "status": 401, "contextId": "c-1"});
    let convlake = Convlake::new();
    save(&convlake, "good.json", page(&all));
    save(&convlake, "error.json", error.to_string());
    save(&convlake, "mixed.ndjson", format!("{}\n{error}\n{}\n", page(&all[..10]), page(&all[10..])));
    for files in [&["error.json"][..], &["good.json", "error.json"], &["mixed.ndjson"]] {
        let run = convert(&convlake, "lake", files);
        assert_refused(&run, &convlake.lake(), "bad.credentials: Invalid login credentials.");
        assert!(run.stderr.contains(files.last().unwrap()), "it says where: {}", run.stderr);
    }
}

#[test]
fn what_is_cut_off_or_no_json_is_refused_and_nothing_is_published() {
    let all = conversations("2025-06-01");
    let (whole, packed) = (page(&all), gzip(&page(&all)));
    let lines = all.iter().map(|c| format!("{c}\n")).collect::<String>();
    let html = "<!DOCTYPE html><html>please log in</html>";
    for (name, content, because) in [
        ("document", &whole.as_bytes()[..whole.len() / 2], "has no end"),
        ("last-bracket", &whole.as_bytes()[..whole.len() - 1], "has no end"),
        ("lines", &lines.as_bytes()[..lines.len() - 40], "has no end"),
        ("gzip", &packed[..packed.len() / 2], "ends too early"),
        ("gzip-checksum", &packed[..packed.len() - 4], "ends too early"),
        ("portal", html.as_bytes(), "begins no JSON"),
    ] {
        let convlake = Convlake::new();
        save(&convlake, name, content);
        let run = convert(&convlake, "lake", &[name]);
        assert_refused(&run, &convlake.lake(), because);
        assert!(run.stderr.contains(name), "it says where: {}", run.stderr);
    }
}

#[test]
fn a_page_that_is_broken_in_its_middle_is_named() {
    let all = conversations("2025-06-01");
    // Only a bracket too many keeps its records from being told apart.
    let broken = page(&all).replacen("\"participants\":[", "\"participants\":[}", 1);
    let convlake = Convlake::new();
    save(&convlake, "good", page(&all));
    save(&convlake, "broken", format!("{}\n{broken}\n", page(&all[..3])));
    let run = convert(&convlake, "lake", &["good", "broken"]);
    assert_refused(&run, &convlake.lake(), "`broken`: document 2: ");
    assert!(run.stderr.contains("hint: nothing was published"), "{}", run.stderr);

    // Conversations alone in their lines are read together; the page behind them is still the document that it is.
    let lone = all.iter().map(|c| format!("{c}\n")).collect::<String>();
    save(&convlake, "mixed", format!("{lone}{broken}\n"));
    let run = convert(&convlake, "mixed-lake", &["good", "mixed"]);
    assert_refused(&run, &convlake.path("mixed-lake"), &format!("`mixed`: document {}: ", all.len() + 1));

    let run = convert_stdin(&convlake, "piped-lake", format!("{}\n{{}}\n{broken}\n", page(&all)).as_bytes());
    assert_refused(&run, &convlake.path("piped-lake"), "stdin: document 3: ");
}

/// Lines in which the text of one record has a line break that is none of JSON, where both sides of it look like ends of
/// pages. Returns them, and that record.
fn broken_by_a_line_break(all: &[Value], is_list: bool) -> (String, String) {
    let (ends, goes_on) = if is_list { ("}]", "[{") } else { ("}]}", "{") };
    let mut marked = all.to_vec();
    marked[1]["externalTag"] = json!("MARK");
    let broken = |text: String| text.replace("MARK", &format!("see {ends}\n{goes_on} above"));
    let of = |some: &[Value]| if is_list { json!(some).to_string() } else { page(some) };
    let lines = [&marked[..4], &marked[4..]].map(|some| broken(of(some))).join("\n");
    (lines + "\n", broken(marked[1].to_string()))
}

#[test]
fn a_record_that_is_broken_by_a_line_break_is_alone_set_aside() {
    let all = conversations("2025-06-01");
    let others = [&all[..1], &all[2..]].concat();
    for is_list in [false, true] {
        let (lines, broken) = broken_by_a_line_break(&all, is_list);
        let convlake = Convlake::new();
        convlake.convert(&[save(&convlake, "pages", lines)]);
        assert_eq!(contents(&convlake.lake()), made_of(page(&others)), "bare lists: {is_list}");
        let kept = quarantined(&convlake.lake());
        assert_eq!(kept.len(), 1);
        assert_eq!((kept[0]["reason"].as_str(), kept[0]["raw"].as_str()), (Some("not_json"), Some(broken.as_str())));
    }
}

#[test]
fn a_page_that_is_cut_by_text_like_another_page_is_refused_with_its_place() {
    let all = conversations("2025-06-01");
    // Doubly broken: neither the line break nor the quotes could stand in a text.
    let text = "}]}\n{\"conversations\":[{";
    // Both halves of it are refused, in any order.
    let mut marked = all.clone();
    marked[5]["externalTag"] = json!("MARK");
    let convlake = Convlake::new();
    save(&convlake, "good", page(&all));
    save(&convlake, "cut", format!("{}\n{}\n", page(&marked[..4]), page(&marked[4..]).replace("MARK", text)));
    let run = convert(&convlake, "lake", &["good", "cut"]);
    assert_refused(&run, &convlake.lake(), "`cut`: document 2: ");
    assert!(run.stderr.contains("hint: nothing was published"), "{}", run.stderr);
}

#[test]
fn a_record_that_is_set_aside_says_from_which_document_it_came() {
    let all = conversations("2025-06-01");
    let convlake = Convlake::new();
    let bad = json!({"conversationStart": "2025-03-01T01:00:00Z"});
    let lines =
        [page(&all[..3]), bad.to_string(), all[3].to_string(), bad.to_string(), page(std::slice::from_ref(&bad))];
    save(&convlake, "good", page(&all));
    save(&convlake, "bad", lines.join("\n"));
    assert_eq!(convert(&convlake, "lake", &["good", "bad"]).code, Some(0));
    let kept = quarantined(&convlake.lake());
    let said: Vec<Value> = kept.iter().map(|line| json!([line["place"], line["page"], line["index"]])).collect();
    assert_eq!(said, [json!(["bad", 2, 0]), json!(["bad", 4, 0]), json!(["bad", 5, 0])]);

    let name = format!("{}-0:2", kept[0]["run"].as_str().unwrap());
    let shown = convlake.succeed(["quarantine", "lake", "show", &name]);
    assert!(shown.stderr.contains("no_id: bad, chain 1, page 4, record 0"), "{}", shown.stderr);

    let run = convert_stdin(&convlake, "piped-lake", bad.to_string().as_bytes());
    assert_refused(&run, &convlake.path("piped-lake"), "stdin: its only record cannot be read (no_id 1)");
    assert_eq!(quarantined(&convlake.path("piped-lake"))[0]["place"], "stdin");
}

#[test]
fn fewer_conversations_than_the_lake_holds_are_refused_unless_it_is_meant() {
    let all = conversations("2025-06-01");
    let convlake = Convlake::new();
    save(&convlake, "all.json", page(&all));
    save(&convlake, "fewer.json", page(&all[1..]));
    assert_eq!(convert(&convlake, "lake", &["all.json"]).code, Some(0));
    let (held, files) = (ids(&convlake.lake()), written(&convlake.lake()));
    assert_eq!(held, ids_of(&all));

    // Of the first day one is missing; the others are as they were.
    let run = convert(&convlake, "lake", &["fewer.json"]);
    assert_eq!(run.code, Some(3), "{}", run.stderr);
    assert!(run.stderr.contains("--merge") && !run.stderr.contains("--allow-vanished"), "{}", run.stderr);
    assert_eq!(written(&convlake.lake()), files);

    save(&convlake, "day.json", page(&all[1..12]));
    let run = convert(&convlake, "lake", &["day.json"]);
    assert_eq!(run.code, Some(65), "{}", run.stderr);
    assert_eq!(written(&convlake.lake()), files);

    assert_eq!(convert(&convlake, "lake", &["fewer.json", "--allow-vanished"]).code, Some(0));
    assert_eq!(ids(&convlake.lake()), ids_of(&all[1..]));
    // More than before is no question.
    assert_eq!(convert(&convlake, "lake", &["all.json"]).code, Some(0));
    assert_eq!(ids(&convlake.lake()), held);
}

#[test]
fn inputs_without_conversations_are_said_to_be_so() {
    let convlake = Convlake::new();
    save(&convlake, "nothing.json", "");
    save(&convlake, "end.json", r#"{"totalHits": 0}"#);
    let run = convert(&convlake, "lake", &["nothing.json", "end.json"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("no conversations in the inputs"), "{}", run.stderr);
}
