//! Errors by what the operator does next.
//!
//! A [`Kind`] is an exit code and nothing else decides it; the text says what happened, where, and after
//! `hint:` what to do. Messages are lowercase fragments; they never carry secrets or personal data.

use std::fmt;
use std::sync::Arc;

/// Convlake's result: every fallible function of this crate returns it.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the operator does next; each kind is one exit code and the codes are API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Report it: a broken invariant of convlake itself.
    Bug,
    /// Correct the command line.
    Usage,
    /// Look at the report: some days were published, others failed. Run again.
    Partial,
    /// Look at the data: it was refused and the lake was left as it was.
    Data,
    /// Wait for the API: it is down or cannot be reached.
    Unavailable,
    /// Repair the storage: disk full, no permission, I/O error.
    Storage,
    /// Run again later: rate limit, deadline or call budget. Progress is kept.
    Later,
    /// Repair the credentials, the role or its permissions.
    Access,
    /// Repair the configuration, or choose another lake.
    Config,
    /// Nothing is wrong: Ctrl-C. The run can be resumed.
    Interrupted,
    /// Nothing is wrong: SIGTERM. The run can be resumed.
    Terminated,
}

impl Kind {
    /// The process exit code of this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Kind::Bug => 1,
            Kind::Usage => 2,
            Kind::Partial => 3,
            Kind::Data => 65,
            Kind::Unavailable => 69,
            Kind::Storage => 74,
            Kind::Later => 75,
            Kind::Access => 77,
            Kind::Config => 78,
            Kind::Interrupted => 130,
            Kind::Terminated => 143,
        }
    }

    /// Whether this kind ends the whole run rather than the day or slice it happened in.
    pub const fn stops_the_run(self) -> bool {
        match self {
            Kind::Data | Kind::Unavailable | Kind::Partial => false,
            Kind::Bug
            | Kind::Usage
            | Kind::Storage
            | Kind::Later
            | Kind::Access
            | Kind::Config
            | Kind::Interrupted
            | Kind::Terminated => true,
        }
    }
}

/// What happened, where, what to do, and the cause underneath.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    /// Outermost last; printed outermost first, joined by `: `.
    context: Vec<String>,
    hint: Option<String>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` saying what happened.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), context: Vec::new(), hint: None, source: None }
    }

    /// Adds where it happened; the latest call is printed first: `window 3: page 12: …`.
    #[must_use]
    pub fn context(mut self, place: impl Into<String>) -> Self {
        self.context.push(place.into());
        self
    }

    /// Adds what to do about it; an earlier hint is closer to the cause and stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// What the operator does next.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do about it, when the error knows.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Error {
    /// One line, `where: what: cause`, without the hint.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.context.iter().rev() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)?;
        let mut cause = self.source.as_ref().map(|s| s.as_ref() as &dyn std::error::Error);
        while let Some(c) = cause {
            write!(f, ": {c}")?;
            cause = c.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Shorthand for the kinds that are raised in many places.
macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        impl Error {
            $(#[doc = concat!("An error of [`Kind::", stringify!($kind), "`].")]
            pub fn $name(message: impl Into<String>) -> Self {
                Error::new(Kind::$kind, message)
            })*
        }
    };
}

constructors! {
    bug => Bug,
    usage => Usage,
    data => Data,
    unavailable => Unavailable,
    storage => Storage,
    later => Later,
    access => Access,
    config => Config,
}

/// Adds a place to the error of a result.
pub trait Context<T> {
    /// See [`Error::context`].
    fn context(self, place: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, place: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| e.context(place()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_reads_from_the_outside_in_and_the_first_hint_stays() {
        let cause = std::io::Error::other("disk on fire");
        let e = Error::storage("cannot write `a`")
            .source(cause)
            .hint("free some space")
            .context("day 2025-01-01")
            .hint("something vaguer");
        assert_eq!(e.to_string(), "day 2025-01-01: cannot write `a`: disk on fire");
        assert_eq!(e.hint_text(), Some("free some space"));
        assert_eq!(e.kind().exit_code(), 74);
    }

    #[test]
    fn exit_codes_are_distinct() {
        use Kind::*;
        let all = [Bug, Usage, Partial, Data, Unavailable, Storage, Later, Access, Config, Interrupted, Terminated];
        let codes: std::collections::BTreeSet<u8> = all.iter().map(|k| k.exit_code()).collect();
        assert_eq!(codes.len(), all.len());
        assert!(!codes.contains(&0));
    }
}
