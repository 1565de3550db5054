//! Nothing goes by accident: who takes something out of a lake for good says so, on the command line or when asked.

use std::io;

use clap::Args;

use super::{Console, lakes};
use crate::error::{Error, Kind, Result};

/// Whether something may go.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ConsentArgs {
    /// Do it without asking; has to be said where no one can be asked
    #[arg(long)]
    yes: bool,
    /// Only say how much would go
    #[arg(long, env = "CONVLAKE_DRY_RUN")]
    dry_run: bool,
}

/// What was consented to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consent {
    /// To nothing: it is only to be said how much would go.
    DryRun,
    /// To all of it.
    Given,
    /// The person at the terminal is to be asked, when it is known how much would go.
    Asked,
}

impl ConsentArgs {
    /// Whether nothing is to be changed.
    pub(super) fn is_dry_run(self) -> bool {
        self.dry_run
    }

    /// What is consented to when stdin is no answer to a question.
    ///
    /// # Errors
    /// Usage: `--yes` is missing.
    pub(super) fn unasked(self) -> Result<Consent> {
        match self {
            ConsentArgs { dry_run: true, .. } => Ok(Consent::DryRun),
            ConsentArgs { yes: true, .. } => Ok(Consent::Given),
            _ => Err(Error::usage("this takes something out of the lake for good, and no one can be asked")
                .hint("`--yes` does it without asking; `--dry-run` only says how much would go")),
        }
    }

    /// What is consented to.
    ///
    /// # Errors
    /// Usage: no terminal is there to ask, and `--yes` is missing.
    pub(super) fn resolve(self, console: &Console) -> Result<Consent> {
        match self.unasked() {
            Err(_) if console.is_conversation() => Ok(Consent::Asked),
            consent => consent,
        }
    }
}

/// Says what `would` be done, and waits for the word that lets it happen.
///
/// # Errors
/// Interrupted: it was not given; or that of `stop`.
pub(super) async fn ask(would: &str, console: &Console, stop: impl Future<Output = Error>) -> Result<()> {
    console.ask(&format!("{would}\nThis cannot be undone. Type `yes` to go on: "));
    let read = || {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(|e| Error::usage("the answer cannot be read").source(e))?;
        Ok(answer)
    };
    let answer = tokio::select! {
        answer = lakes::blocking(read) => answer?,
        error = stop => return Err(error),
    };
    if answer.trim() == "yes" {
        return Ok(());
    }
    Err(Error::new(Kind::Interrupted, "not confirmed: nothing was changed"))
}
