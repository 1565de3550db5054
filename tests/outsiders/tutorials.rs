//! Every row of `docs/tutorials.md` is run, against a server written from the tutorials' text, beside their scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::convlake::{Convlake, Run};
use crate::common::{duckdb, isolate, parts, read, succeed, table, tests_dir};
use crate::source::Source;

const SECRET: &str = "the secret";
const WEEK: [&str; 2] = ["2025-03-02", "2025-03-09"];

/// A tutorial: the variables its script reads, and what every command of it has.
#[derive(Clone, Copy)]
struct Tutorial {
    id: &'static str,
    secret: &'static str,
    protocol: &'static str,
}

const FIRST: Tutorial =
    Tutorial { id: "GENESYS_CLOUD_CLIENT_ID", secret: "GENESYS_CLOUD_CLIENT_SECRET", protocol: "cursor" };
const SECOND: Tutorial = Tutorial { id: "GENESYS_CLIENT_ID", secret: "GENESYS_CLIENT_SECRET", protocol: "page" };

/// A row that is run: the server, and the row's text.
struct Row<'a> {
    source: &'a Source,
    text: &'a str,
    tutorial: Tutorial,
}

/// A convlake that has run.
struct Ran {
    convlake: Convlake,
    run: Run,
}

impl Row<'_> {
    /// The command that the row shows.
    fn shown(&self) -> Vec<String> {
        let start = self.text.find("`convlake ").expect("the row shows a command") + 1;
        let command = self.text[start..].split('`').next().expect("a command");
        command.split_whitespace().skip(1).map(str::to_owned).collect()
    }

    fn range(&self) -> Vec<String> {
        let [from, to] = if self.tutorial.protocol == "cursor" { WEEK } else { ["2025-03-01", "2025-03-21"] };
        let args = ["export", "--protocol", self.tutorial.protocol, "--from", from, "--to", to, "--out", "lake"];
        args.map(str::to_owned).to_vec()
    }

    fn with(&self, more: &[&str]) -> Vec<String> {
        self.range().into_iter().chain(more.iter().map(|arg| (*arg).to_owned())).collect()
    }

    /// Runs a command as a client.
    fn run(&self, client: &str, args: &[String]) -> Ran {
        self.run_in(client, args, &[])
    }

    fn run_in(&self, client: &str, args: &[String], more: &[(&'static str, &str)]) -> Ran {
        let mut env = BTreeMap::from([
            ("CONVLAKE_BASE_URL", self.source.url()),
            ("CONVLAKE_RATE_LIMIT", "100000".to_owned()),
            ("CONVLAKE_REPORT", "report.json".to_owned()),
            (self.tutorial.id, client.to_owned()),
            (self.tutorial.secret, SECRET.to_owned()),
        ]);
        env.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        env.retain(|_, value| !value.is_empty());
        let convlake = Convlake::new().with(env);
        let run = convlake.run(args);
        Ran { convlake, run }
    }

    /// Runs the command that the row shows.
    fn run_shown(&self, client: &str) -> Ran {
        self.run(client, &self.shown())
    }

    /// The queries of a client so far, as the server got them.
    fn queries(&self, client: &str) -> Vec<Value> {
        let calls = self.source.calls(client).into_iter();
        let mut queries = Vec::new();
        for call in calls.filter(|call| call["path"].as_str().is_some_and(|path| path.ends_with("/query"))) {
            let mut body: Value = serde_json::from_str(call["body"].as_str().expect("a text")).expect("JSON");
            body["in the address"] = call["query"].clone();
            queries.push(body);
        }
        queries
    }

    fn logins(&self, client: &str) -> Vec<String> {
        let calls = self.source.calls(client).into_iter();
        let logins = calls.filter(|call| call["path"].as_str().is_some_and(|path| path.ends_with("/oauth/token")));
        logins.map(|call| call["body"].as_str().expect("a text").to_owned()).collect()
    }

    /// What the first tutorial's script gets of the week, and prints.
    fn first_script(&self, client: &str, user: &str) -> Value {
        let now = format!("{}T00:00:00+00:00", WEEK[1]);
        self.script(client, &["first", &now], &[("GENESYS_CLOUD_USER_ID", user)])
    }

    /// What the second tutorial's script gets of the twenty days, and prints.
    fn second_script(&self, client: &str, queue: &str, size: usize) -> Value {
        let args = ["second", "2025-03-01T00:00:00Z", "2025-03-20T23:59:59Z", queue, &size.to_string()];
        self.script(client, &args, &[])
    }

    fn script(&self, client: &str, args: &[&str], env: &[(&str, &str)]) -> Value {
        let mut command = Command::new(parts::python());
        isolate(&mut command).arg("-B").arg(tests_dir("outsiders/tutorials/run.py")).args(args);
        command.env("TUTORIAL_BASE_URL", self.source.url());
        command.env(self.tutorial.id, client).env(self.tutorial.secret, SECRET);
        command.envs(env.iter().filter(|(_, value)| !value.is_empty()).copied());
        serde_json::from_slice(&succeed(&mut command).stdout).expect("JSON")
    }
}

impl Ran {
    fn ended(&self, code: i32) -> &Ran {
        assert_eq!(self.run.code, Some(code), "{}", self.run.stderr);
        self
    }

    fn says(&self, part: &str) -> &Ran {
        assert!(self.run.stderr.contains(part), "no {part:?} in: {}", self.run.stderr);
        self
    }

    fn hints(&self) -> &Ran {
        self.says("hint: ")
    }

    fn report(&self) -> Value {
        serde_json::from_str(&read(&self.convlake.path("report.json"))).expect("JSON")
    }

    /// Columns of its conversations, as text.
    fn select(&self, columns: &str) -> BTreeSet<String> {
        let lake = self.convlake.lake();
        let sql = format!("SELECT {columns} FROM {}", table(&lake, "conversations"));
        duckdb(&sql).iter().map(Value::to_string).collect()
    }

    fn ids(&self) -> BTreeSet<String> {
        if !Path::new(&self.convlake.lake()).join("conversations").exists() {
            return BTreeSet::new();
        }
        self.select("conversation_id AS id")
    }
}

/// Members of a script's records, as rows of the lake would have them.
fn rows(script: &Value, row: impl Fn(&Value) -> Value) -> BTreeSet<String> {
    let records = script["records"].as_array().expect("records");
    assert!(!records.is_empty(), "the script got nothing");
    records.iter().map(|record| row(record).to_string()).collect()
}

fn script_ids(script: &Value) -> BTreeSet<String> {
    rows(script, |record| json!({ "id": record["conversationId"] }))
}

/// What a row promises, by its number.
type Promise = (&'static str, fn(&Row<'_>));

const FIRST_ROWS: [Promise; 24] = [
    ("1.1", |row| {
        row.run_shown("c-1-1").ended(0);
    }),
    ("1.2", |row| {
        let elsewhere = [("CONVLAKE_BASE_URL", ""), ("GENESYS_CLOUD_ENV", "nowhere-1")];
        row.run_in("c-1-2", &row.range(), &elsewhere).ended(2).says("nowhere-1").hints();
        // A proxy where nobody listens keeps the call on this machine.
        let offline = [elsewhere[0], ("HTTPS_PROXY", "http://127.0.0.1:9")];
        row.run_in("c-1-2", &row.with(&["--retry-for", "1s"]), &offline).ended(69).says("us-east-1");
    }),
    ("1.3", |row| {
        let ran = row.run_in("c-1-3", &row.range(), &[("GENESYS_CLOUD_CLIENT_SECRET", "")]);
        ran.ended(78).says("GENESYS_CLOUD_CLIENT_SECRET").hints();
    }),
    ("1.4", |row| {
        row.run("c-1-4", &row.range()).ended(0);
        assert_eq!(row.logins("c-1-4"), ["header"]);
        assert_eq!(row.queries("c-1-4").len(), 4);
        row.run("expiring", &row.range()).ended(0);
        assert_eq!(row.logins("expiring").len(), 2, "a token of two queries");
    }),
    ("1.5", |row| {
        let ran = row.run_shown("c-1-5");
        assert_eq!(ran.ended(0).ids(), script_ids(&row.first_script("plain", "")));
        let last = ["export", "--protocol", "cursor", "--last", "7d", "--out", "lake"].map(str::to_owned);
        row.run("c-1-5-last", &last).ended(0);
        assert!(!row.queries("c-1-5-last").is_empty());
    }),
    ("1.6", |row| {
        row.run("c-1-6", &row.range()).ended(0);
        for query in row.queries("c-1-6") {
            assert_eq!(query["startTime"], "2025-03-02T00:00:00.000Z");
            let end = query["endTime"].as_str().expect("a time").to_owned();
            assert!(["2025-03-09T00:00:00.000Z", "2025-03-08T23:59:59.999Z"].contains(&end.as_str()), "{end}");
        }
    }),
    ("1.7", |row| {
        row.run_shown("c-1-7").ended(0);
        assert!(row.queries("c-1-7").iter().all(|query| query["granularity"] == "hour"));
        row.run("c-1-7-default", &row.range()).ended(0);
        assert!(row.queries("c-1-7-default").iter().all(|query| query["granularity"] == "day"));
        row.run("c-1-7-wrong", &row.with(&["--granularity", "fortnight"])).ended(2);
    }),
    ("1.8", |row| {
        let user = "30000000-0000-4000-8000-000000000001";
        let script = script_ids(&row.first_script("plain", user));
        assert_eq!(row.run_shown("c-1-8").ended(0).ids(), script);
        let by_variable = row.run_in("c-1-8-variable", &row.range(), &[("GENESYS_CLOUD_USER_ID", user)]);
        assert_eq!(by_variable.ended(0).ids(), script);
        for client in ["c-1-8", "c-1-8-variable"] {
            let entities = json!([{ "type": "user", "id": user }]);
            assert!(row.queries(client).iter().all(|query| query["entities"] == entities));
        }
        for (flag, kind) in [("--queue", "2"), ("--skill", "4")] {
            let id = format!("{kind}0000000-0000-4000-8000-000000000001");
            let ran = row.run("c-1-8-other", &row.with(&[flag, &id]));
            assert!(!ran.ended(0).ids().is_empty());
        }
    }),
    ("1.9", |row| {
        row.run("c-1-9", &row.range()).ended(0).says("no user filter: the whole organisation");
    }),
    ("1.10", |row| {
        row.run("c-1-10-default", &row.range()).ended(0);
        let five = ["handleDuration", "talkDuration", "waitDuration", "holdDuration", "wrapupDuration"];
        assert!(row.queries("c-1-10-default").iter().all(|query| query["metrics"] == json!(five)));
        let ran = row.run_shown("c-1-10");
        let counts = ran.ended(0).select("metrics_other['transferCount'] AS it, talk_duration_ms AS talk");
        assert_eq!(counts.len(), 84, "{counts:?}");
        assert!(counts.contains(&json!({ "it": 12, "talk": null }).to_string()), "{counts:?}");
    }),
    ("1.11", |row| {
        let all = script_ids(&row.first_script("plain", ""));
        let in_body = row.run("cursor-in-body", &row.range());
        assert_eq!(in_body.ended(0).ids(), all);
        let in_query = row.run_shown("cursor-in-query");
        assert_eq!(in_query.ended(0).ids(), all);
        assert!(row.queries("cursor-in-query").iter().all(|query| query.get("pageCursor").is_none()));
        let both = row.run("c-1-11", &row.with(&["--cursor-in", "both"]));
        assert_eq!(both.ended(0).ids(), all);
        let queries = row.queries("c-1-11");
        assert!(queries[1].get("pageCursor").is_some() && queries[1]["in the address"] != "", "{queries:?}");
        // A source that does not see the cursor sends the first page for ever, which is not taken for data.
        let wrong = row.run("cursor-in-query", &row.with(&["--cursor-in", "body"]));
        assert_ne!(wrong.run.code, Some(0), "{}", wrong.run.stderr);
        wrong.hints();
    }),
    ("1.12", |row| {
        let script = row.first_script("plain", "");
        let columns = "conversation_id AS id, epoch_ms(conversation_start) AS start, \
                       epoch_ms(conversation_end) AS end, queue_id AS queue, user_id AS user";
        let expected = rows(&script, |record| {
            json!({ "id": record["conversationId"], "start": millis(&record["startTime"]),
                "end": millis(&record["endTime"]), "queue": record["queueId"], "user": record["userId"] })
        });
        assert_eq!(row.run("c-1-12", &row.range()).ended(0).select(columns), expected);
    }),
    ("1.13", |row| {
        row.run("c-1-13", &row.range()).ended(0);
        let queries = row.queries("c-1-13");
        assert_eq!(queries.len(), 4, "84 records in pages of 25");
        assert!(queries[0].get("pageCursor").is_none_or(Value::is_null));
    }),
    ("1.14", |row| {
        let script = row.first_script("plain", "");
        assert_eq!(row.run("limited", &row.range()).ended(0).ids(), script_ids(&script));
    }),
    ("1.15", |row| {
        let ran = row.run("denied", &row.range());
        assert_eq!(ran.ended(77).ids(), BTreeSet::new());
    }),
    ("1.16", |row| {
        let ran = row.run("c-1-16", &row.range());
        let windows = ran.ended(0).report()["windows"].clone();
        assert_eq!((&windows[0]["pages"], &windows[0]["records"]), (&json!(4), &json!(84)), "{windows}");
    }),
    ("1.17", |row| {
        let ran = row.run("c-1-17", &row.range());
        ran.ended(0).says("84 conversations");
        let line: Value = serde_json::from_str(&ran.run.stdout).expect("one line of JSON");
        assert_eq!(line["totals"]["conversations"], 84);
        let printed = row.first_script("plain", "")["printed"].to_string();
        assert!(printed.contains("Total records retrieved: 84"), "{printed}");
    }),
    ("1.18", |row| {
        let script = row.first_script("plain", "");
        let ran = row.run("c-1-18", &row.with(&["--sample"]));
        ran.ended(0).says("10000000-0000-4000-8000-0000000000");
        let mut columns = "conversation_id AS id".to_owned();
        for name in ["handle", "talk", "wait", "hold", "wrapup"] {
            columns += &format!(", {name}_duration_ms AS {name}");
        }
        let expected = rows(&script, |record| {
            let total = |name: &str| record["metrics"][name]["total"].clone();
            json!({ "id": record["conversationId"], "handle": total("handleDuration"), "talk": total("talkDuration"),
                "wait": total("waitDuration"), "hold": total("holdDuration"), "wrapup": total("wrapupDuration") })
        });
        assert_eq!(ran.select(&columns), expected);
        // The same numbers in the other shapes that sources have for them.
        for client in ["statistics", "listed"] {
            assert_eq!(row.run(client, &row.range()).ended(0).select(&columns), expected, "{client}");
        }
    }),
    ("1.19", |row| {
        let ran = row.run_shown("c-1-19");
        assert_eq!(ran.ended(0).ids().len(), 540);
        assert!(ran.report()["windows"].as_array().expect("windows").len() >= 2);
    }),
    ("1.20", |row| {
        let args = ["export", "--protocol", "cursor", "--from", "2025-03-01", "--to", "2025-03-29", "--out", "lake"];
        let ran = row.run("short", &args.map(str::to_owned));
        assert_eq!(ran.ended(0).ids().len(), 28 * 12);
    }),
    ("1.21", |row| {
        row.run("denied", &row.range()).ended(77).hints().says("view");
        let ran = row.run_in("c-1-21", &row.range(), &[("GENESYS_CLOUD_CLIENT_SECRET", "wrong")]);
        ran.ended(77).hints().says("GENESYS_CLOUD_CLIENT_SECRET");
    }),
    ("1.22", |row| {
        let ran = row.run("limited", &row.with(&["--retry-for", "5m"]));
        assert!(ran.ended(0).report()["totals"]["retries"].as_u64() > Some(0));
    }),
    ("1.23", |row| {
        let nobody = "30000000-0000-4000-8000-00000000ffff";
        let ran = row.run("c-1-23", &row.with(&["--user", nobody]));
        assert_eq!(ran.ended(0).says("no conversations between").says(nobody).ids().len(), 0);
    }),
    ("1.24", |row| {
        let ran = row.run("c-1-24", &row.range());
        let windows = ran.ended(0).report()["windows"].clone();
        assert_eq!((&windows[0]["told"], &windows[0]["read"]), (&json!(84), &json!(84)), "{windows}");
    }),
];

const SECOND_ROWS: [Promise; 19] = [
    ("2.1", |row| {
        row.run_shown("c-2-1").ended(0);
        row.run_in("c-2-1", &row.range(), &[("GENESYS_CLIENT_ID", "")]).ended(78).says("GENESYS_CLIENT_ID").hints();
    }),
    ("2.2", |row| {
        row.run("form-only", &row.range()).ended(0);
        let logins = row.logins("form-only");
        assert_eq!(logins.last().map(String::as_str), Some("form"), "{logins:?}");
        row.run("c-2-2", &row.with(&["--auth", "body"])).ended(0);
        assert_eq!(row.logins("c-2-2"), ["form"]);
        // Only with these variables.
        let other = Row { tutorial: Tutorial { protocol: "page", ..FIRST }, ..*row };
        other.run("form-only", &other.range()).ended(77).hints();
    }),
    ("2.3", |row| {
        let url = row.source.url();
        let flag = row.with(&["--base-url", &url]);
        row.run_in("c-2-3", &flag, &[("CONVLAKE_BASE_URL", "")]).ended(0);
        let login = format!("{url}/oauth/token");
        row.run("c-2-3", &row.with(&["--login-url", &login])).ended(0);
    }),
    ("2.4", |row| {
        let args = [
            "export",
            "--protocol",
            "page",
            "--from",
            "2025-03-01",
            "--to",
            "2025-03-02",
            "--out",
            "lake",
            "--end",
            "inclusive",
        ];
        let ran = row.run("c-2-4", &args.map(str::to_owned));
        let day = ["second", "2025-03-01T00:00:00Z", "2025-03-01T23:59:59Z", "20000000-0000-4000-8000-000000000001"];
        let script = row.script("plain", &[&day[..], &["100"]].concat(), &[]);
        assert!(script_ids(&script).is_subset(&ran.ended(0).ids()));
        assert_eq!(ran.ids().len(), 12);
        let query = row.queries("c-2-4").remove(0);
        assert_eq!(query["dateFrom"], "2025-03-01T00:00:00.000Z");
        assert_eq!(query["dateTo"], "2025-03-01T23:59:59.999Z");
    }),
    ("2.5", |row| {
        assert_eq!(row.run_shown("c-2-5").ended(0).ids().len(), 240);
        assert!(row.queries("c-2-5").iter().all(|query| query["size"] == 100));
        row.run("c-2-5-default", &row.range()).ended(0);
        assert!(row.queries("c-2-5-default").iter().all(|query| query["size"] == 1000));
    }),
    ("2.6", |row| {
        for size in ["0", "1001", "5000", "ten", "1.5"] {
            row.run("c-2-6", &row.with(&["--page-size", size])).ended(2);
        }
        assert_eq!(row.queries("c-2-6").len(), 0);
        assert_eq!(row.run("small", &row.range()).ended(0).ids().len(), 240);
    }),
    ("2.7", |row| {
        let ran = row.run("c-2-7-default", &row.range());
        assert_eq!(ran.ended(0).select("queue_id AS queue").len(), 3);
        assert!(row.queries("c-2-7-default").iter().all(|query| query["groupBy"] == json!(["queueId"])));
        let ran = row.run_shown("c-2-7");
        let dimensions = ran.ended(0).select("queue_id AS queue, user_id AS user");
        assert_eq!(dimensions.len(), 12, "3 queues and 4 users: {dimensions:?}");
        let maps = format!(
            "SELECT column_name AS name FROM (DESCRIBE SELECT * FROM {}) WHERE column_type = 'MAP(VARCHAR, VARCHAR)'",
            table(&ran.convlake.lake(), "conversations")
        );
        let map = duckdb(&maps).first().map(|row| row["name"].as_str().expect("a name").to_owned());
        let skills = ran.select(&format!("{}['skillId'] AS skill", map.expect("a map of dimensions")));
        assert_eq!(skills.len(), 5, "{skills:?}");
    }),
    ("2.8", |row| {
        let ran = row.run("c-2-8", &row.with(&["--queue", "20000000-0000-4000-8000-000000000001"]));
        let script = row.second_script("plain", "20000000-0000-4000-8000-000000000001", 100);
        let columns = "conversation_id AS id, offer_rate AS offer, offer_answer_rate AS answer, talk_rate AS talk, \
                       queue_id AS queue";
        let expected = rows(&script, |record| {
            let metrics = &record["metrics"];
            json!({ "id": record["conversationId"], "offer": metrics["offerRate"],
                "answer": metrics["offerAnswerRate"], "talk": metrics["talkRate"], "queue": record["queueId"] })
        });
        assert_eq!(ran.ended(0).select(columns), expected);
        for client in ["statistics", "listed"] {
            let ran = row.run(client, &row.with(&["--queue", "20000000-0000-4000-8000-000000000001"]));
            assert_eq!(ran.ended(0).select(columns), expected, "{client}");
        }
        let ran = row.run("c-2-8-others", &row.with(&["--metrics", "offerRate,transferCount"]));
        let counts = ran.ended(0).select("metrics_other['transferCount'] AS it");
        assert_eq!(counts.len(), 240, "{counts:?}");
    }),
    ("2.9", |row| {
        let queue = "20000000-0000-4000-8000-000000000001";
        let script = row.second_script("plain", queue, 30);
        assert_eq!(row.run_shown("c-2-9").ended(0).ids(), script_ids(&script));
        let filters = json!({ "and": [{ "path": "queue.id", "operator": "in", "values": [queue] }] });
        assert!(row.queries("c-2-9").iter().all(|query| query["filters"] == filters));
        let user = row.run("c-2-9-user", &row.with(&["--user", "30000000-0000-4000-8000-000000000001"]));
        assert_eq!(user.ended(0).ids().len(), 60);
    }),
    ("2.10", |row| {
        assert_eq!(row.run("c-2-10", &row.with(&["--page-size", "30"])).ended(0).ids().len(), 240);
        let pages: Vec<u64> =
            row.queries("c-2-10").iter().map(|query| query["pageNumber"].as_u64().expect("a number")).collect();
        let once: BTreeSet<u64> = pages.iter().copied().collect();
        // The last of 8 pages is full.
        assert_eq!((pages.len(), once), (9, (1..=9).collect()));
    }),
    ("2.11", |row| {
        let ran = row.run("c-2-11", &row.with(&["--queue", "20000000-0000-4000-8000-00000000ffff"]));
        assert_eq!(ran.ended(0).ids().len(), 0);
    }),
    ("2.12", |row| {
        row.run("c-2-12", &row.range()).ended(0);
        assert_eq!(row.queries("c-2-12").len(), 1);
    }),
    ("2.13", |row| {
        let ran = row.run("limited", &row.with(&["--page-size", "30"]));
        assert_eq!(ran.ended(0).ids().len(), 240);
        assert!(ran.report()["totals"]["retries"].as_u64() > Some(0));
    }),
    ("2.14", |row| {
        let help = row.run("c-2-14", &["export".to_owned(), "--help".to_owned()]).run.stdout;
        assert!(help.contains("200 for page"), "{help}");
        row.run("c-2-14", &row.with(&["--rate-limit", "1000"])).ended(0);
    }),
    ("2.15", |row| {
        // Three pages, with a token that serves two.
        assert_eq!(row.run("expiring", &row.with(&["--page-size", "100"])).ended(0).ids().len(), 240);
        assert_eq!(row.logins("expiring").len(), 2);
    }),
    ("2.16", |row| {
        let ran = row.run("broken", &row.with(&["--page-size", "100"]));
        assert_eq!(ran.ended(65).hints().says("paging").ids().len(), 0);
        assert!(ran.convlake.path("lake/_convlake/quarantine").is_dir());
    }),
    ("2.17", |row| {
        let ran = row.run("hollow", &row.range());
        assert_eq!(ran.ended(65).hints().ids().len(), 0);
    }),
    ("2.18", |row| {
        let ran = row.run("c-2-18", &row.with(&["--sample"]));
        ran.ended(0).says("240 conversations").says("10000000-0000-4000-8000-0000000000");
        let line: Value = serde_json::from_str(&ran.run.stdout).expect("one line of JSON");
        assert_eq!(line["totals"]["conversations"], 240);
    }),
    ("2.19", |row| {
        row.run("denied", &row.range()).ended(77).hints();
        row.run("c-2-19", &row.with(&["--filter", "no-such-file.json"])).hints();
    }),
];

/// Milliseconds of a time.
fn millis(time: &Value) -> Value {
    let time = chrono::DateTime::parse_from_rfc3339(time.as_str().expect("a time")).expect("a time");
    json!(time.timestamp_millis())
}

#[test]
fn every_row_of_the_first_tutorial() {
    check(FIRST, "1.", &FIRST_ROWS);
}

#[test]
fn every_row_of_the_second_tutorial() {
    check(SECOND, "2.", &SECOND_ROWS);
}

fn check(tutorial: Tutorial, prefix: &str, rows: &[Promise]) {
    let page = read(&tests_dir("../docs/tutorials.md"));
    let numbered = page.lines().filter(|line| line.starts_with(&format!("| {prefix}")));
    let texts: BTreeMap<&str, &str> =
        numbered.map(|line| (line[2..].split(' ').next().expect("a number"), line)).collect();
    let written: BTreeSet<&str> = texts.keys().copied().collect();
    assert_eq!(written, rows.iter().map(|(number, _)| *number).collect(), "rows that are written, and that are run");
    let source = Source::start("outsiders/tutorials/server.py", &json!({}));
    let mut wrong = Vec::new();
    for (number, run) in rows {
        let row = Row { source: &source, text: texts[number], tutorial };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&row))) {
            let said = panic.downcast_ref::<String>().cloned();
            wrong.push(format!("{number}: {}", said.unwrap_or_else(|| "see above".to_owned())));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}
