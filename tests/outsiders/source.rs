//! Servers on loopback that are written in Python from the API's description and share no line with the simulator.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ChildStdout, Command};

use serde_json::{Value, json};

use crate::common::convlake::Convlake;
use crate::common::kept::Kept;
use crate::common::{isolate, read, tests_dir, write};

/// A running server.
pub(crate) struct Source {
    kept: Kept,
    // Held open: a closed pipe would be an error to the server.
    _stdout: BufReader<ChildStdout>,
    port: u16,
}

/// One answer: status, body, headers.
pub(crate) type Answer = (u16, String, Value);

/// What one client is answered: for each page, its answers one after the other, the last of them for ever.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) answers: BTreeMap<String, Vec<Answer>>,
    pub(crate) form_login_only: bool,
    /// The only day that has anything, if others may be asked for.
    pub(crate) day: Option<&'static str>,
}

impl Script {
    /// The same with one more answer to the question for a page.
    pub(crate) fn then(mut self, page: impl ToString, status: u16, body: impl ToString) -> Script {
        self.answers.entry(page.to_string()).or_default().push((status, body.to_string(), json!({})));
        self
    }

    fn json(&self) -> Value {
        json!({ "answers": self.answers, "form": self.form_login_only, "day": self.day })
    }
}

impl Source {
    /// Starts the server that answers from scripts, which are given by client id.
    pub(crate) fn of(scripts: &BTreeMap<String, Script>) -> Source {
        let scripts: BTreeMap<_, _> = scripts.iter().map(|(client, script)| (client, script.json())).collect();
        Source::start("outsiders/source.py", &json!(scripts))
    }

    /// Starts a Python script that takes a file of settings and a file for its calls, and prints its port.
    pub(crate) fn start(script: &str, settings: &Value) -> Source {
        let mut kept = Kept::start(|dir| {
            write(&dir.join("settings.json"), &settings.to_string());
            let mut command = Command::new("python3");
            isolate(&mut command).arg("-B").arg(tests_dir(script));
            command.args([dir.join("settings.json"), dir.join("calls.jsonl")]);
            command
        });
        let mut stdout = BufReader::new(kept.stdout());
        let mut line = String::new();
        stdout.read_line(&mut line).expect("text");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no port but {line:?}\n{}", kept.log()));
        Source { kept, _stdout: stdout, port }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// convlake with this source and a client id.
    pub(crate) fn client(&self, id: &str) -> Convlake {
        Convlake::new().with(BTreeMap::from([
            ("CONVLAKE_BASE_URL", self.url()),
            ("CONVLAKE_RATE_LIMIT", "100000".to_owned()),
            ("GENESYSCLOUD_OAUTHCLIENT_ID", id.to_owned()),
            ("GENESYSCLOUD_OAUTHCLIENT_SECRET", "the secret".to_owned()),
        ]))
    }

    /// The calls that a client made so far, logins included.
    pub(crate) fn calls(&self, client: &str) -> Vec<Value> {
        let lines = read(&self.path());
        let calls = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        calls.filter(|call| call["client"] == client).collect()
    }

    fn path(&self) -> PathBuf {
        self.kept.path("calls.jsonl")
    }
}
