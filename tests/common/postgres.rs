//! A PostgreSQL server of Debian's packages, in a directory of its own and on a socket in it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::kept::Kept;
use super::{isolate, succeed};

/// Whom the packages make for it: the server refuses to run as root.
const USER: &str = "postgres";
const PACKAGE: &str = "postgresql";

/// A running server with an empty database.
pub(crate) struct Postgres {
    kept: Kept,
    programs: PathBuf,
}

impl Postgres {
    /// Starts one and waits until it takes connections.
    pub(crate) fn start() -> Postgres {
        let programs = programs();
        let mut kept = Kept::start(|dir| {
            let data = dir.join("data");
            if is_root() {
                let id =
                    |flag| String::from_utf8(succeed(Command::new("id").args([flag, USER])).stdout).expect("a number");
                let [uid, gid] = ["-u", "-g"].map(|flag| id(flag).trim().parse().expect("a number"));
                chown(dir, Some(uid), Some(gid)).expect("a directory of the server's user");
            }
            let mut make = as_user(&programs.join("initdb"));
            make.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username", USER, "-D"]);
            succeed(make.arg(&data).current_dir("/"));
            let mut server = Command::new("sh");
            let run = as_user(&programs.join("postgres"));
            // It tells on stderr that it is ready.
            server.args(["-c", "cd / && exec \"$@\" 2>&1", "sh"]).arg(run.get_program()).args(run.get_args());
            server.args(["-c", "listen_addresses=", "-c", "fsync=off", "-D"]).arg(&data).arg("-k").arg(dir);
            server
        });
        let mut lines = BufReader::new(kept.stdout()).lines().map_while(Result::ok);
        let mut said = Vec::new();
        let ready =
            lines.by_ref().inspect(|line| said.push(line.clone())).any(|line| line.contains("is ready to accept"));
        assert!(ready, "PostgreSQL does not start:\n{}", said.join("\n"));
        // What it says later is read and forgotten: a full pipe would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Postgres { kept, programs }
    }

    /// How a client finds it, in libpq's words.
    pub(crate) fn connection(&self) -> String {
        format!("host={} user={USER}", self.kept.path("").display())
    }

    /// What a query gives, as unadorned text.
    pub(crate) fn query(&self, sql: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", "-c", sql, &self.connection()]);
        String::from_utf8(succeed(isolate(&mut psql)).stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its helpers and its shared memory go with it only if it ends by itself; what is killed leaves them.
        let mut stop = as_user(&self.programs.join("pg_ctl"));
        let _ = stop.args(["stop", "-m", "immediate", "-D"]).arg(self.kept.path("data")).current_dir("/").output();
    }
}

/// The newest installed version; where there is none and it may, it is installed.
fn programs() -> PathBuf {
    find().unwrap_or_else(|| {
        assert!(is_root(), "PostgreSQL is not installed: apt-get install {PACKAGE}");
        succeed(Command::new("apt-get").args(["update", "-q"]));
        let install = ["install", "-q", "-y", "--no-install-recommends", PACKAGE];
        succeed(Command::new("apt-get").args(install).env("DEBIAN_FRONTEND", "noninteractive"));
        find().expect("the package has a server")
    })
}

fn find() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let versions = versions.filter_map(|v| Some((v.file_name().to_str()?.parse::<u32>().ok()?, v.path().join("bin"))));
    versions.filter(|(_, bin)| bin.join("postgres").exists()).max().map(|(_, bin)| bin)
}

/// `program`, about to run as a user that may.
fn as_user(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid", USER, "--regid", USER, "--clear-groups"]).arg(program);
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
