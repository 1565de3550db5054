//! A run of convlake that is watched by what it logs, and told to stop or killed at the moment that matters.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use super::succeed;

/// A run that tells every call and every file.
pub(crate) struct Running {
    pub(crate) child: Child,
    log: BufReader<ChildStderr>,
    heard: String,
}

impl Running {
    /// Starts it.
    pub(crate) fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a child process");
        let log = BufReader::new(child.stderr.take().expect("a child process"));
        Running { child, log, heard: String::new() }
    }

    /// Waits until a line with `needle` was written `times` times; `false` when it ended before.
    pub(crate) fn reaches(&mut self, needle: &str, times: usize) -> bool {
        while self.heard.lines().filter(|line| line.contains(needle)).count() < times {
            if self.log.read_line(&mut self.heard).expect("a child process") == 0 {
                return false;
            }
        }
        true
    }

    /// Waits until a line with `needle` was written `times` times.
    pub(crate) fn wait_for(&mut self, needle: &str, times: usize) {
        assert!(self.reaches(needle, times), "it ended before `{needle}` was said {times} times:\n{}", self.heard);
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn signal(mut self, name: &str) -> ExitStatus {
        if name == "KILL" {
            // Without a process of its own, which comes later.
            self.child.kill().expect("a child process");
        } else {
            succeed(Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]));
        }
        self.child.wait().expect("a child process")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
