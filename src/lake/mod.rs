//! The lake: one Parquet file a (table, day) under a fixed name, and a ledger that says what was published.
//!
//! In reading order: [`layout`] (every path), [`order`] (which state of a day is newer), [`day_rows`], [`versions`] with `rank`, [`assemble`] and [`encode`] (a
//! day's rows, wherever they wait, become files: one version of each conversation, in order), [`receipt`] and [`ledger`]
//! (what is said about a day, and how that is put together), [`identity`] (what belongs into a lake): all pure but for
//! rows on disk.
//! Then where the bytes are: [`local`] (every file operation on disk), [`bucket`] (every call to a store), [`store`]
//! (what both can do). On it [`records`] (the ledger's files), [`history`] (what runs did), [`open`] and [`run`] (a
//! lake, and a run that writes to it), `binding` (when it becomes one), [`draft`] (a day encoded), [`publish`] and
//! [`snapshot`] (what it becomes), [`merge`] with `reread` (what is added to it), `build` and `transaction` (its files,
//! all of them or none), and what does not fit: [`spill`] (memory, with `compact`), [`quarantine`] (the schema). What a
//! lake shows that it holds: [`coverage`] and [`verify`]. Last, what goes: [`forgotten`] and [`forget`] (conversations),
//! [`expire`] (days).
//!
//! Invariant: a file under a table's name is complete and was verified before it got that name, there is one a
//! (table, day), and it is replaced whole. A reader needs no more than a glob.

pub mod assemble;
mod binding;
pub mod bucket;
mod build;
mod claims;
mod compact;
pub mod coverage;
pub mod day_rows;
mod decide;
pub mod draft;
pub mod encode;
pub mod expire;
pub mod forget;
pub mod forgotten;
pub mod history;
pub mod identity;
mod ids;
pub mod layout;
pub mod ledger;
pub mod local;
pub mod merge;
pub mod names;
pub mod open;
pub mod order;
mod present;
pub mod publish;
pub mod quarantine;
mod rank;
pub mod receipt;
pub mod records;
mod reread;
pub mod run;
pub mod sample;
pub mod slot;
pub mod snapshot;
pub mod spill;
pub mod store;
mod stored;
mod together;
mod transaction;
pub mod verify;
pub mod versions;

#[cfg(test)]
mod hooked;
#[cfg(test)]
mod testing;

pub use assemble::TableSpec;
pub use bucket::{Bucket, Location, StoreOptions};
pub use day_rows::DayRows;
pub use history::{History, PastRun};
pub use identity::{Family, Identity, Selection};
pub use layout::{Dataset, LakePath, RunId, TableName};
pub use ledger::Ledger;
pub use open::Lake;
pub use order::Order;
pub use publish::{Observation, Outcome};
pub use quarantine::{Origin, Quarantine};
pub use receipt::{Receipt, State};
pub use run::Run;
pub use snapshot::Snapshot;
pub use spill::Spill;
pub use store::Store;
pub use verify::Verification;

/// The name and version under which this build signs its files.
pub const TOOL: &str = concat!("convlake ", env!("CARGO_PKG_VERSION"));
