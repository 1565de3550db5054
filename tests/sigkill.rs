//! `kill -9` at 200 moments of exports that replace days, most of them random, some when a new file has just come: after
//! each of them every file is whole and is one that an undisturbed export wrote, no conversation is there twice, and an
//! export that is left alone completes the lake.

#![cfg(test)]
#![cfg(unix)]

mod common;

use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use common::convlake::Convlake;
use common::image::{Image, Rows, assert_committed, assert_same, of_folder, remains, rows, uncommitted};
use common::oracle::Oracle;
use common::receipts::ledger;
use common::simulate::Simulate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use tokio::time::Instant;

const SEED: u64 = 9_000;
const KILLS: usize = 200;
/// Lakes that are exported to at the same time.
const LAKES: usize = 2;
const FROM: &str = "2025-01-01";
const TO: &str = "2025-01-07";
const DAYS: usize = 6;
/// How often a file is looked at that a run is to replace.
const GLANCE: Duration = Duration::from_micros(200);

/// How long a run lives.
enum Life {
    Whole,
    UpTo(Duration),
    /// Until this file is another one: days are swapped in within moments that chance seldom meets.
    UntilReplaced(PathBuf),
}

/// The source after it changed, the lake before, and what an undisturbed export makes of it.
struct Scene {
    source: Simulate,
    before: Image,
    old: Rows,
    new: Rows,
    /// The files that both have, each with other rows.
    replaced: Vec<String>,
}

/// What was seen beside the dead.
#[derive(Debug, Default)]
struct Seen {
    /// Runs that ended before they were killed.
    ended: usize,
    /// Deaths that left a day between its first new file and its receipt.
    between: usize,
}

impl Scene {
    fn new() -> Scene {
        let world = |now| Simulate::with(6, &["--now", now, "--rate-limit", "0", "--late-changes"]);
        // One day is not over yet, so it grows; others are to come.
        let (early, source) = (world("2025-01-03T15:00:00Z"), world("2025-06-01T00:00:00Z"));
        let lake = TempDir::new().unwrap();
        assert!(export(&Convlake::of(&early), lake.path(), Life::Whole));
        let before = of_folder(lake.path());
        assert!(export(&Convlake::of(&source), lake.path(), Life::Whole));
        let (old, new) = (rows(&before), rows(&of_folder(lake.path())));
        let replaced = new.iter().filter(|(path, rows)| old.get(*path).is_some_and(|before| before != *rows));
        let replaced: Vec<String> = replaced.map(|(path, _)| path.clone()).collect();
        assert!(replaced.len() > 5, "only {} files are replaced", replaced.len());
        Oracle::expand(&source.fetch("query", FROM, TO), FROM, TO).assert_equal(lake.path());
        Scene { source, before, old, new, replaced }
    }

    /// Kills exports to one lake at random moments, and lets the last one end.
    fn kill(&self, kills: usize, seed: u64) -> Seen {
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let (convlake, mut lake, mut seen) = (Convlake::of(&self.source), self.lake(), Seen::default());
        // How long an export takes that is left alone; how busy the machine is changes all the time.
        let mut length = Duration::from_secs(3_600);
        let mut killed = 0;
        while killed < kills {
            let started = Instant::now();
            let life = if dice.random_bool(0.2) {
                Life::UntilReplaced(lake.path().join(self.replaced[dice.random_range(0..self.replaced.len())].as_str()))
            } else {
                Life::UpTo(length.mul_f64(dice.random_range(0.0..1.0)))
            };
            if export(&convlake, lake.path(), life) {
                length = started.elapsed();
                self.assert_complete(lake.path());
                lake = self.lake();
                seen.ended += 1;
                continue;
            }
            killed += 1;
            let image = of_folder(lake.path());
            self.assert_readable(&image, &format!("kill {killed} of seed {seed}"));
            seen.between += usize::from(!uncommitted(&image, &ledger(lake.path())).is_empty());
            // Not always from where the dead got to: days that are committed are not written again.
            if dice.random_bool(0.3) {
                lake = self.complete(&convlake, &lake);
            }
        }
        self.complete(&convlake, &lake);
        seen
    }

    /// Lets an export come to its end, and begins anew.
    fn complete(&self, convlake: &Convlake, lake: &TempDir) -> TempDir {
        assert!(export(convlake, lake.path(), Life::Whole));
        self.assert_complete(lake.path());
        self.lake()
    }

    /// The lake as it was before the source changed.
    fn lake(&self) -> TempDir {
        let lake = TempDir::new().unwrap();
        for (path, bytes) in &self.before {
            let path = lake.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        lake
    }

    fn assert_readable(&self, image: &Image, when: &str) {
        let found = rows(image);
        assert!(self.old.keys().all(|path| found.contains_key(path)), "{when}: a file is gone");
        for (path, batch) in &found {
            let known = [&self.old, &self.new].iter().any(|rows| rows.get(path) == Some(batch));
            assert!(known, "{when}: {path} is of no export");
        }
    }

    fn assert_complete(&self, lake: &Path) {
        let image = of_folder(lake);
        assert_same(&rows(&image), &self.new, "after an export that was left alone");
        assert_committed(&image, &ledger(lake));
        assert_eq!(ledger(lake).days().count(), DAYS);
        assert_eq!(remains(&image), [""; 0]);
    }
}

/// Exports until the end, or until it is killed; whether it came to its end.
fn export(convlake: &Convlake, lake: &Path, life: Life) -> bool {
    let mut command = convlake.command(["export", "--from", FROM, "--to", TO, "--protocol", "query"]);
    command.args(["--rate-limit", "100000", "--out"]).arg(lake).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    // Whoever ends closes its output.
    let (send, ended) = mpsc::channel();
    let listener = std::thread::spawn(move || {
        let read = stdout.read_to_end(&mut Vec::new());
        // When it was killed nobody listens any more.
        let _ = send.send(());
        read
    });
    let is_alive = |during| ended.recv_timeout(during) == Err(RecvTimeoutError::Timeout);
    let must_die = match life {
        Life::Whole => is_alive(Duration::MAX),
        Life::UpTo(moment) => is_alive(moment),
        Life::UntilReplaced(path) => {
            let file = || path.metadata().map(|found| found.ino()).ok();
            let before = file();
            std::iter::repeat_with(|| is_alive(GLANCE)).find(|alive| !alive || file() != before).unwrap_or_default()
        }
    };
    if must_die {
        child.kill().unwrap();
    }
    listener.join().unwrap().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || status.code().is_none(), "{status}");
    status.success()
}

#[test]
fn exports_killed_at_200_moments_leave_readable_lakes_that_the_next_one_completes() {
    let scene = Scene::new();
    println!("seeds from {SEED}");
    let seen: Vec<Seen> = std::thread::scope(|scope| {
        let series = |n| {
            scope.spawn({
                let scene = &scene;
                move || scene.kill(KILLS / LAKES, SEED + n)
            })
        };
        let threads: Vec<_> = (0..LAKES as u64).map(series).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (ended, between) = seen.iter().fold((0, 0), |(e, b), seen| (e + seen.ended, b + seen.between));
    println!("{KILLS} runs killed, {between} of them while a day was being replaced; {ended} ended before");
    assert!(between > 0, "no run died while it published");
}
