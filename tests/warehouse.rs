//! Warehouses that are loaded by the versions of `convlake files` equal the lake after every load, and what did not
//! change is not loaded again: ten syncs over conversations that change late and vanish.

#![cfg(test)]
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::convlake::Convlake;
use common::org::{Keep, Org};
use common::postgres::Postgres;
use common::{duckdb, isolate, parts, succeed, table};
use convlake::simulator::{SimulatorSettings, WorldSettings};
use convlake::time::wire_time;
use serde_json::Value;

const RUNS: usize = 10;
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Enough to have lists, maps, doubles and late children.
const TABLES: [&str; 3] = ["conversations", "sessions", "evaluations"];
/// Those with a map, which warehouses have as JSON.
const WITH_MAP: [&str; 2] = ["conversations", "sessions"];

/// The run of the day.
async fn run_of_the_day(org: &Org) {
    let report = org.sync(Keep { tables: Some(&TABLES), ..org.keep("auto") }).await;
    assert_eq!(report.totals.exit, 0, "{report:#?}");
}

/// The script that users copy, with the programs that it needs.
struct Loader {
    convlake: Convlake,
}

impl Loader {
    fn new() -> Loader {
        let convlake = Convlake::new();
        // Where `INSTALL postgres` would put it.
        let release = &duckdb("SELECT library_version FROM pragma_version()")[0]["library_version"];
        let platform = &duckdb("FROM pragma_platform()")[0]["platform"];
        let (release, platform) = (release.as_str().unwrap(), platform.as_str().unwrap());
        let extensions = convlake.path(&format!(".duckdb/extensions/{release}/{platform}"));
        std::fs::create_dir_all(&extensions).unwrap();
        let name = "postgres_scanner.duckdb_extension";
        std::os::unix::fs::symlink(parts::find(parts::warehouse(), name), extensions.join(name)).unwrap();
        Loader { convlake }
    }

    /// About to run with DuckDB and convlake in its path.
    fn command(&self, program: &Path) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_convlake")).parent().unwrap().to_owned();
        let duckdb = parts::bin("duckdb").parent().unwrap().to_owned();
        let own = std::env::var_os("PATH").unwrap();
        let path = [binary, duckdb].into_iter().chain(std::env::split_paths(&own));
        let mut command = Command::new(program);
        isolate(&mut command).env("PATH", std::env::join_paths(path).unwrap()).env("HOME", self.convlake.path(""));
        command
    }

    /// Loads; returns how many files were loaded and how many dates removed.
    fn load(&self, lake: &Path, warehouse: &str) -> (usize, usize) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/warehouse/load.sh");
        let said = succeed(self.command(&script).arg(lake).arg(warehouse)).stdout;
        let said = String::from_utf8(said).unwrap();
        let figure = |name: &str| {
            let line = said.lines().find_map(|line| line.trim().strip_prefix(name)?.trim().strip_prefix('='));
            line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("no {name} in:\n{said}"))
        };
        (figure("loaded"), figure("removed"))
    }

    /// Every row of every table is in the warehouse as often as in the lake.
    fn assert_equal(&self, lake: &Path, warehouse: &str) {
        let differences: Vec<String> = TABLES.iter().map(|name| different_rows(lake, name)).collect();
        let sql = format!("ATTACH '{warehouse}' AS warehouse (READ_ONLY); {}", differences.join(" UNION ALL "));
        let mut command = self.command(&parts::bin("duckdb"));
        let output = succeed(command.args(["-init", "/dev/null", "-bail", "-json", "-c", &sql]));
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(rows.len(), TABLES.len());
        for row in rows {
            assert_eq!((&row["missing"], &row["extra"]), (&Value::from(0), &Value::from(0)), "{row} in {warehouse}");
        }
    }

    /// The version of every file.
    fn versions(&self, lake: &Path) -> BTreeMap<(String, String), String> {
        let listed = self.convlake.succeed(["files", lake.to_str().unwrap()]).stdout;
        let lines = listed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        lines.map(|line| ((text(&line, "table"), text(&line, "date")), text(&line, "version"))).collect()
    }
}

fn different_rows(lake: &Path, name: &str) -> String {
    let columns = if WITH_MAP.contains(&name) { "* REPLACE (metrics_other::JSON AS metrics_other)" } else { "*" };
    let lake = format!("SELECT {columns} FROM {}", table(lake, name));
    let warehouse = format!("SELECT * FROM warehouse.{name}");
    format!(
        "SELECT '{name}' AS name, (SELECT count(*) FROM ({lake} EXCEPT ALL {warehouse})) AS missing, \
         (SELECT count(*) FROM ({warehouse} EXCEPT ALL {lake})) AS extra"
    )
}

#[tokio::test(start_paused = true)]
async fn warehouses_follow_the_lake_through_ten_runs_with_late_changes() {
    let world = WorldSettings { conversations_per_day: 20, deletions: true, ..WorldSettings::default() };
    let org = Org::new(SimulatorSettings { world, ..SimulatorSettings::default() }, "2025-03-10T05:00:00Z");
    let (lake, loader, postgres) = (org.lake(), Loader::new(), Postgres::start());
    let file: PathBuf = loader.convlake.path("warehouse.duckdb");
    let warehouses = [file.to_str().unwrap().to_owned(), format!("postgres:{}", postgres.connection())];

    let mut known = BTreeMap::new();
    let (mut loaded, mut listed, mut late) = (0, 0, 0);
    for run in 0..RUNS {
        run_of_the_day(&org).await;
        let now = loader.versions(&lake);
        let changed: Vec<&str> = now
            .iter()
            .filter(|(slot, version)| known.get(*slot) != Some(*version))
            .map(|((_, date), _)| date.as_str())
            .collect();
        let two_days_ago = wire_time(org.clock.now() - chrono::TimeDelta::days(2));
        late += if run == 0 { 0 } else { changed.iter().filter(|date| **date <= &two_days_ago[..10]).count() };
        for warehouse in &warehouses {
            assert_eq!(loader.load(&lake, warehouse), (changed.len(), 0), "run {run}");
            loader.assert_equal(&lake, warehouse);
        }
        loaded += changed.len();
        listed += now.len();
        known = now;
        tokio::time::sleep(DAY).await;
    }
    assert_eq!(loader.load(&lake, &warehouses[0]), (0, 0), "nothing has changed since");
    eprintln!("{RUNS} runs: {loaded} files loaded of {listed} listed, {late} of them because their day changed late");
    assert!(late > 0, "no day changed late");
    assert!(loaded * 2 < listed, "{loaded} of {listed} files were loaded: most days of a lookback do not change");
    assert!(postgres.query("SELECT count(*) FROM conversations").parse::<usize>().unwrap() > 100);

    // What the lake does not list any more goes from the warehouse.
    let first = known.keys().map(|(_, date)| date.clone()).min().unwrap();
    let gone = known.keys().filter(|(_, date)| *date == first).count();
    forget(&lake, &first);
    for warehouse in &warehouses {
        assert_eq!(loader.load(&lake, warehouse), (0, gone));
        loader.assert_equal(&lake, warehouse);
    }
}

/// Takes a day out of the lake, files and receipts.
fn forget(lake: &Path, date: &str) {
    for (path, _) in common::org::files(lake) {
        let text = path.to_string_lossy();
        let name = path.file_name().unwrap().to_string_lossy();
        if text.contains(&format!("/date={date}/")) || text.contains("/ledger/") && name.starts_with(date) {
            std::fs::remove_file(path).unwrap();
        }
    }
}
