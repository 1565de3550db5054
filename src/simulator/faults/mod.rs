//! Faults as data: an ordered script, and a seeded mode for the transient ones.
//!
//! As JSON, for `convlake simulate --faults FILE`:
//!
//! ```
//! # use convlake::simulator::Faults;
//! let faults = Faults::parse(r#"{
//!     "script": [
//!         {"endpoint": "query", "page": 3, "first": 2, "action": {"status": {"code": 503}}},
//!         {"endpoint": "results", "job": 1, "nth": 2, "action": {"job": {"fate": "expired"}}},
//!         {"every": 10, "action": {"rate_limited": {"retry_after": {"seconds": 7}}}}
//!     ],
//!     "random": {"seed": 7, "probability": 0.02}
//! }"#)?;
//! assert_eq!(faults.script.len(), 3);
//! # Ok::<(), convlake::error::Error>(())
//! ```

mod act;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::call::Endpoint;
use super::world::{Dice, Stream};
use crate::error::{Error, Result};

/// What goes wrong.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// The first entry that fires on a call decides; each call has at most one fault.
    pub script: Vec<Scripted>,
    /// What happens to calls that no entry fires on.
    pub random: Option<RandomFaults>,
}

/// One entry of the script. It looks at the calls that `endpoint`, `page` and `job` select, counts them from 1,
/// and fires when `nth`, `first`, `after` and `every` hold for the count; what is absent holds always.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scripted {
    /// Only calls of this endpoint.
    pub endpoint: Option<Endpoint>,
    /// Only calls for this page of a chain, from 1.
    pub page: Option<u64>,
    /// Only calls for this job (its submission included), from 1 in the order of submission.
    pub job: Option<u64>,
    /// Only on the call with this count.
    pub nth: Option<u64>,
    /// Only on the first so many.
    pub first: Option<u64>,
    /// Only after so many.
    pub after: Option<u64>,
    /// Only when the count is a multiple of it.
    pub every: Option<u64>,
    /// What happens.
    pub action: Action,
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// This status instead of an answer; the API's error body unless `body` says otherwise.
    Status {
        /// The status.
        code: u16,
        /// The whole body.
        #[serde(default)]
        body: Option<String>,
        /// Headers to add.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// 429 with the API's body.
    RateLimited {
        /// When to come back.
        retry_after: RetryAfter,
    },
    /// 401 `bad.credentials`.
    Unauthorized,
    /// 403 `missing.any.permissions`.
    Forbidden,
    /// A page of a proxy or portal.
    Html {
        /// The status; 200 for a login page.
        code: u16,
    },
    /// The API's error object with status 200.
    ErrorObject,
    /// 302 to somewhere else.
    Redirect {
        /// Where to.
        location: String,
    },
    /// Every token issued so far stops working; the call itself goes on and meets that.
    RevokeTokens,
    /// The connection is reset before the call is served.
    Reset,
    /// The call is served, and the connection is reset in the middle of the body.
    ResetInBody,
    /// No answer ever.
    Hang,
    /// The answer takes longer.
    Slow {
        /// By so many milliseconds.
        ms: u64,
    },
    /// The body is cut in the middle, properly delivered.
    Truncate,
    /// The answer claims an encoding that its body does not have.
    ContentEncoding {
        /// The header's value.
        value: String,
    },
    /// `paging.pageCount` is this.
    PageCount {
        /// The value.
        value: u64,
    },
    /// `paging.pageCount` is larger or smaller than it should be.
    PageCountOff {
        /// By so much.
        by: i64,
    },
    /// No `paging`.
    NoPaging,
    /// `totalHits` or `totalRecords` is this.
    Total {
        /// The value.
        value: u64,
    },
    /// `totalHits` or `totalRecords` is larger or smaller than it should be; where there is nothing it says so.
    TotalOff {
        /// By so much.
        by: i64,
    },
    /// No `conversations` or `entities`.
    NoRecords,
    /// Null instead of the records.
    NullRecords,
    /// An empty array of records, everything else as it was.
    EmptyRecords,
    /// `{}`.
    Bare,
    /// The cursor leads to this page again.
    RepeatCursor,
    /// The cursor leads to another page: an earlier one makes a loop.
    CursorToPage {
        /// Its number.
        page: u64,
    },
    /// Records are missing from the page.
    DropEvery {
        /// Each so-manieth of them; 2 is half.
        nth: u64,
    },
    /// The job that the call names ends otherwise than well, from now on.
    Job {
        /// How.
        fate: Fate,
    },
    /// The data lake lags further behind, for this call.
    Availability {
        /// By so many seconds.
        earlier_s: u64,
    },
}

/// What a `Retry-After` says.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryAfter {
    /// So many seconds.
    Seconds(u64),
    /// The HTTP date so many seconds ahead.
    Date(u64),
    /// Anything.
    Text(String),
    /// The header is absent.
    Absent,
}

/// How a job ends otherwise than well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fate {
    /// `FAILED`, with an `errorMessage`.
    Failed,
    /// `EXPIRED`, and no results.
    Expired,
    /// 404: nobody remembers it.
    Lost,
    /// `PENDING` for ever.
    Stuck,
}

/// Transient faults by chance, the same ones for the same seed and order of calls.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFaults {
    /// What they are derived from.
    pub seed: u64,
    /// Share of the calls that go wrong, 0 to 1.
    pub probability: f64,
}

impl Faults {
    /// Reads the JSON of a fault file.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] with the place of the first thing that is not understood.
    pub fn parse(text: &str) -> Result<Faults> {
        serde_json::from_str(text).map_err(|e| Error::usage("cannot read the faults").source(e))
    }

    /// What happens to a call. `counts` has one counter an entry of the script.
    pub(super) fn pick(&self, counts: &mut [u64], subject: Subject) -> Option<Action> {
        let mut action = None;
        for (scripted, count) in self.script.iter().zip(counts) {
            if scripted.selects(subject) {
                *count += 1;
                if action.is_none() && scripted.fires(*count) {
                    action = Some(scripted.action.clone());
                }
            }
        }
        action.or_else(|| self.random.as_ref()?.pick(subject.ordinal))
    }
}

/// What a fault can depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject {
    pub(super) endpoint: Endpoint,
    pub(super) page: Option<u64>,
    pub(super) job: Option<u64>,
    /// Its place among all calls.
    pub(super) ordinal: u64,
}

impl Scripted {
    /// Fires on every call; narrow it with struct update syntax.
    pub fn always(action: Action) -> Scripted {
        Scripted { endpoint: None, page: None, job: None, nth: None, first: None, after: None, every: None, action }
    }

    fn selects(&self, subject: Subject) -> bool {
        self.endpoint.is_none_or(|endpoint| endpoint == subject.endpoint)
            && self.page.is_none_or(|page| subject.page == Some(page))
            && self.job.is_none_or(|job| subject.job == Some(job))
    }

    fn fires(&self, count: u64) -> bool {
        self.nth.is_none_or(|nth| count == nth)
            && self.first.is_none_or(|first| count <= first)
            && self.after.is_none_or(|after| count > after)
            && self.every.is_none_or(|every| every > 0 && count.is_multiple_of(every))
    }
}

impl RandomFaults {
    fn pick(&self, ordinal: u64) -> Option<Action> {
        let mut dice = Dice::new(self.seed, Stream::Faults, 0, ordinal);
        if !dice.chance(self.probability) {
            return None;
        }
        let status = |code| Action::Status { code, body: None, headers: BTreeMap::new() };
        Some(match dice.between(0, 9) {
            0 => Action::RateLimited { retry_after: RetryAfter::Seconds(1) },
            1 => Action::RateLimited { retry_after: RetryAfter::Absent },
            2 => status(500),
            3 => Action::Html { code: 502 },
            4 => status(503),
            5 => Action::Html { code: 504 },
            6 => Action::Reset,
            7 => Action::ResetInBody,
            8 => Action::Truncate,
            _ => Action::Slow { ms: 4_000 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(endpoint: Endpoint, page: u64, ordinal: u64) -> Subject {
        Subject { endpoint, page: Some(page), job: None, ordinal }
    }

    #[test]
    fn an_entry_counts_the_calls_it_selects_and_the_first_that_fires_decides() {
        let faults = Faults::parse(
            r#"{"script": [
                {"endpoint": "query", "nth": 2, "action": "reset"},
                {"endpoint": "query", "page": 7, "first": 1, "action": "bare"},
                {"after": 2, "every": 2, "action": "hang"}
            ]}"#,
        )
        .unwrap();
        let mut counts = vec![0; 3];
        let mut call = |endpoint, page| faults.pick(&mut counts, subject(endpoint, page, 0));
        assert_eq!(call(Endpoint::Query, 1), None);
        assert_eq!(call(Endpoint::Query, 7), Some(Action::Reset));
        assert_eq!(call(Endpoint::Query, 7), None);
        assert_eq!(call(Endpoint::Page, 1), Some(Action::Hang));
        assert_eq!(call(Endpoint::Page, 1), None);
    }

    #[test]
    fn mistakes_in_a_fault_file_are_named() {
        for bad in [r#"{"scripts": []}"#, r#"{"script": [{"action": "explode"}]}"#, r#"{"script": [{"nht": 1}]}"#] {
            let error = Faults::parse(bad).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(error.to_string().contains("unknown"), "{error}");
        }
    }

    #[test]
    fn random_faults_follow_their_seed_and_probability() {
        let pick = |seed| {
            let faults = Faults { random: Some(RandomFaults { seed, probability: 0.1 }), ..Default::default() };
            (0..2_000).map(|n| faults.pick(&mut [], subject(Endpoint::Query, 1, n))).collect::<Vec<_>>()
        };
        assert_eq!(pick(1), pick(1));
        assert_ne!(pick(1), pick(2));
        let hit = pick(1).iter().flatten().count();
        assert!((140..260).contains(&hit), "{hit} of 2000");
    }
}
