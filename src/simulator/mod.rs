//! The Genesys Cloud API as a state machine over a seeded world: in process for tests in virtual time, on loopback
//! for `convlake simulate` and `convlake demo`.
//!
//! ```text
//! request ─▶ Call ─▶ fault? ─▶ token, rate limit ─▶ endpoint ─▶ Answer ─▶ falsified? ─▶ Reply
//!                                                     └ Catalog ◀─ World(seed, day, moment)
//! ```
//!
//! # What is simulated
//! - **The model**: every field of the official SDK's conversation detail occurs; order of keys, sums of metrics and
//!   lives of weeks are those of public recordings. See [`world`].
//! - **The query**: conversations that started on a UTC day that the interval touches, by start and id, without
//!   participant attributes; no `conversations` on an empty page; current data on every call, so pages shift.
//!   7 days without a filter, 31 with one, 100 a page, 100,000 deep: with the messages that users have published.
//! - **Jobs**: with attributes, a snapshot of the moment of submission; what was alive in the interval, or what
//!   started on its days with `startOfDayIntervalMatching`; an interval beyond the availability date is cut
//!   silently, as users found out; cursors need URL-encoding, the availability date has no milliseconds.
//! - **The tutorials' dialects**, told apart by `startTime` and `dateFrom`: their ends are inclusive, as their
//!   examples (`23:59:59Z`) have it.
//! - **The organisation's lists**: queues, users, wrap-up codes, skills, divisions, flows and teams, page by page; every
//!   id of these kinds in a conversation is in its list.
//! - **Saved pages** in the place of the world, for measuring a client: see [`SavedPages`].
//! - **OAuth** with client credentials, ten tokens at a time; **the rate limit** as a fixed window of 60 s a token,
//!   with its headers and the 429 of the API.
//!
//! # What is assumed
//! The API's documents leave open how many jobs may run at once, how long results are kept, how long a job may be,
//! and whether an end at midnight touches that day: [`Rules`] has a value for each. Aggregations, and filters on
//! evaluations, surveys and resolutions are not there; the latter are refused.
//!
//! Invariant: nothing here uses the flattening or the schemas. Its numbers are an independent truth.

mod answer;
mod cache;
mod call;
mod catalog;
mod faults;
mod filter;
mod jobs;
mod listener;
mod listing;
mod query;
mod rules;
mod saved;
mod service;
mod state;
#[cfg(test)]
mod tests;
mod token;
mod transport;
mod tutorials;
pub mod world;

pub use answer::{Broken, Reply};
pub use call::Endpoint;
pub use faults::{Action, Fate, Faults, RandomFaults, RetryAfter, Scripted};
pub use listener::{serve, startup_lines};
pub use rules::{RetryHint, Rules};
pub use saved::SavedPages;
pub use service::{Simulator, SimulatorSettings};
pub use state::Counts;
pub use world::{Record, Ugly, World, WorldSettings};
