//! Which of two states of a day is newer: the one place where that is decided. Pure.
//!
//! No clock decides it. Every observation has a generation: one more than the highest that the lake knew of its days
//! just before the source was asked. So an observation that was made after another one had been seen has the higher
//! generation, whatever any clock said. Two that were made at the same time may have the same generation; then the run
//! id decides, and the day is marked, because nobody knows which of them is newer at the source.
//!
//! What is made of a published state without asking the source (conversations are forgotten, pages are merged) is the
//! same observation in a higher revision.
//!
//! Receipts, files and claims of lakes that know no generations have generation 0. Among those the time at which the
//! source was asked decides, as it did when they were written; every later observation is newer than all of them.

use std::fmt;

use super::layout::RunId;
use crate::time::Timestamp;

/// The form of a time in a name: an instant without characters that a file system may refuse.
const COMPACT: &str = "%Y%m%dT%H%M%S%.6fZ";

/// The place of a state of a day among all states of that day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Order {
    asked: Asked,
    observer: RunId,
    revision: u32,
    writer: RunId,
}

/// When the source was asked, as far as that can be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Asked {
    /// Generation 0: nobody counted, or nobody was asked.
    Dated(Timestamp),
    /// The generation, from 1 on.
    Counted(u64),
}

impl Order {
    /// Of what `run` observed. The time counts in generation 0 only.
    pub fn observed(generation: u64, observed_at: Timestamp, run: RunId) -> Order {
        let asked = if generation == 0 { Asked::Dated(observed_at) } else { Asked::Counted(generation) };
        Order { asked, observer: run, revision: 0, writer: run }
    }

    /// The same observation as revision `revision`, written by `writer`.
    #[must_use]
    pub fn as_revision(self, revision: u32, writer: RunId) -> Order {
        Order { revision, writer, ..self }
    }

    /// What `writer` makes of this state without asking the source: newer than it, and not newer than what a later
    /// observation found.
    #[must_use]
    pub fn revised(self, writer: RunId) -> Order {
        self.as_revision(self.revision.saturating_add(1), writer)
    }

    /// The generation.
    pub fn generation(&self) -> u64 {
        match self.asked {
            Asked::Dated(_) => 0,
            Asked::Counted(generation) => generation,
        }
    }

    /// The run that asked the source.
    pub fn observer(&self) -> RunId {
        self.observer
    }

    /// How often the observation was written anew.
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// The run that wrote this state.
    pub fn writer(&self) -> RunId {
        self.writer
    }

    /// Whether both are states of the same observation.
    pub fn is_of_same_observation(&self, other: &Order) -> bool {
        (self.asked, self.observer) == (other.asked, other.observer)
    }

    /// Reads a name back.
    pub(super) fn parse(name: &str) -> Option<Order> {
        let (asked, rest) = name.split_once('-')?;
        let at = chrono::NaiveDateTime::parse_from_str(asked, COMPACT);
        let asked =
            at.map_or_else(|_| asked.parse().ok().map(Asked::Counted), |at| Some(Asked::Dated(at.and_utc())))?;
        // A run id has 36 characters.
        let observer = RunId::parse(rest.get(..36)?)?;
        let (revision, writer) = match rest.get(36..)? {
            "" => (0, observer),
            more => {
                let (revision, writer) = more.strip_prefix('-')?.split_once('-')?;
                (revision.parse().ok()?, RunId::parse(writer)?)
            }
        };
        let order = Order { asked, observer, revision, writer };
        (order.to_string() == name).then_some(order)
    }
}

/// The name of a claim: the generation and the run; behind them the revision and its writer, where there is one.
impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.asked {
            Asked::Dated(at) => f.write_str(&compact(at))?,
            Asked::Counted(generation) => write!(f, "{generation:020}")?,
        }
        write!(f, "-{}", self.observer)?;
        if (self.revision, self.writer) == (0, self.observer) {
            return Ok(());
        }
        write!(f, "-{}-{}", self.revision, self.writer)
    }
}

/// `20250131T020304.000005Z`.
pub(super) fn compact(at: Timestamp) -> String {
    at.format(COMPACT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::testing::{at, run_id};
    use proptest::prelude::*;

    fn orders() -> impl Strategy<Value = Order> {
        (0u64..4, 0i64..3, 0u128..3, 0u32..3, 0u128..3).prop_map(|(generation, hour, run, revision, writer)| {
            let asked = at("2025-02-01T00:00:00Z") + chrono::TimeDelta::hours(hour);
            let order = Order::observed(generation, asked, run_id(run));
            if revision == 0 { order } else { order.as_revision(revision, run_id(writer)) }
        })
    }

    proptest! {
        #[test]
        fn a_higher_generation_is_newer_whatever_the_clocks_say(
            lower in 0u64..1_000, more in 1u64..1_000, hours in -100_000i64..100_000, runs in (0u128..9, 0u128..9),
        ) {
            let (early, late) = (at("2025-02-01T00:00:00Z"), at("2025-02-01T00:00:00Z") + chrono::TimeDelta::hours(hours));
            let before = Order::observed(lower, late, run_id(runs.0));
            let after = Order::observed(lower + more, early, run_id(runs.1));
            prop_assert!(after > before && after > before.revised(run_id(8)));
        }

        #[test]
        fn a_revision_is_newer_than_what_it_is_made_of_and_than_nothing_else(a in orders(), b in orders(), run in 0u128..9) {
            let revised = a.revised(run_id(run));
            prop_assert!(revised > a && revised.is_of_same_observation(&a));
            prop_assert!(b < a || a.is_of_same_observation(&b) || revised < b);
            prop_assert_eq!((revised.generation(), revised.observer()), (a.generation(), a.observer()));
        }

        #[test]
        fn a_name_reads_back(order in orders()) {
            prop_assert_eq!(Order::parse(&order.to_string()), Some(order));
        }
    }

    #[test]
    fn the_names_of_early_lakes_are_still_read() {
        let run = run_id(5);
        let order = Order::parse(&format!("20250131T020304.000005Z-{run}")).unwrap();
        assert_eq!(order, Order::observed(0, at("2025-01-31T02:03:04.000005Z"), run));
        for strange in ["", "7", &format!("7-{run}"), &format!("{:020}-{run}-", 7), &format!("{:020}-{run}-1", 7)] {
            assert_eq!(Order::parse(strange), None, "{strange}");
        }
    }
}
