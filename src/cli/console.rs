//! Where words go: data to stdout, talk to stderr, and a progress line that neither tears.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::LogFormat;
use super::text::escaped;
use crate::error::{Error, Result};

/// The terminal of one command.
#[derive(Clone, Debug)]
pub struct Console {
    quiet: bool,
    bars: MultiProgress,
    /// Whether a person reads stdout.
    pub stdout_is_terminal: bool,
}

impl Console {
    /// The process's own streams.
    pub fn new(quiet: bool) -> Console {
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Console { quiet, bars: MultiProgress::with_draw_target(target), stdout_is_terminal: io::stdout().is_terminal() }
    }

    /// Writes data to stdout.
    ///
    /// # Errors
    /// Storage, when stdout cannot be written; a reader that went away is not an error.
    pub fn data(&self, text: &str) -> Result<()> {
        let written = self.bars.suspend(|| {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            if !text.ends_with('\n') {
                out.write_all(b"\n")?;
            }
            out.flush()
        });
        match written {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(e) => Err(Error::storage("cannot write to stdout").source(e)),
            Ok(()) => Ok(()),
        }
    }

    /// Says something to the person at stderr, unless they asked for quiet.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.talk(line);
        }
    }

    /// Says something that must be heard.
    pub fn warn(&self, line: &str) {
        self.talk(&format!("warning: {line}"));
    }

    /// Whether a person can be asked something and answer it.
    pub(super) fn is_conversation(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Asks something; the answer stands on the same line.
    pub(super) fn ask(&self, question: &str) {
        // Nobody is left to ask when stderr is gone, and then no answer comes.
        let _ = self.bars.suspend(|| {
            let mut err = io::stderr().lock();
            err.write_all(question.as_bytes())?;
            err.flush()
        });
    }

    /// Says how it ended badly: the error and its hint.
    pub fn error(&self, error: &Error) {
        self.error_text(&error.to_string(), error.hint_text());
    }

    /// The same for an error that was written down.
    pub(super) fn error_text(&self, message: &str, hint: Option<&str>) {
        self.talk(&format!("error: {message}"));
        if let Some(hint) = hint {
            self.talk(&format!("hint: {hint}"));
        }
    }

    /// A progress line over days, as many as there will be if that is known; invisible without a terminal.
    pub fn progress(&self, total: Option<u64>) -> ProgressBar {
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), "{bar:30} {pos}/{len} days  {msg}  {elapsed}"),
            None => (ProgressBar::no_length(), "{spinner} {pos} days  {msg}  {elapsed}"),
        };
        let bar = self.bars.add(bar);
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    /// Sends log events of this process to stderr: warnings, with `verbose` 1 what is done, with 2 every call and every file.
    pub fn start_logging(&self, verbose: u8, format: LogFormat) {
        let level = match (self.quiet, verbose) {
            (true, _) => "error",
            (false, 0) => "convlake=warn",
            (false, 1) => "convlake=info",
            (false, _) => "convlake=debug",
        };
        let console = self.clone();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(level))
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_writer(move || LogLine { console: console.clone(), line: Vec::new() });
        // A second subscriber in one process (tests) is refused by tracing; the first one stays.
        let _ = match format {
            LogFormat::Text => builder.with_target(false).try_init(),
            LogFormat::Json => builder.json().try_init(),
        };
    }

    /// What is said may quote others, down to the id of a conversation: none of it reaches the terminal as a command.
    fn talk(&self, line: &str) {
        self.stderr(&escaped(line.as_bytes()));
    }

    fn stderr(&self, line: &str) {
        // Nobody is left to tell when stderr is gone.
        let _ = self.bars.suspend(|| writeln!(io::stderr().lock(), "{line}"));
    }
}

/// One log event, written whole between two redraws of the progress line.
struct LogLine {
    console: Console,
    line: Vec<u8>,
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        self.console.stderr(String::from_utf8_lossy(&self.line).trim_end());
    }
}
