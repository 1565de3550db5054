//! The lake: one Parquet file a (table, day) under a fixed name, and a ledger that says what was published.
//!
//! In reading order: [`layout`] (every path), [`assemble`] and [`encode`] (batches become a file), [`receipt`] and
//! [`ledger`] (what is said about a day, and how it is merged), [`identity`] (what belongs into a lake): all pure.
//! Then [`local`] (every file operation), [`records`] (the ledger's files), [`store`] (a lake and a run on it),
//! [`publish`] (a day, whole or not at all), and what does not fit: [`spill`] (memory), [`quarantine`] (the schema).
//!
//! Invariant: a file under a table's name is complete and was verified before it got that name, there is one a
//! (table, day), and it is replaced whole. A reader needs no more than a glob.

pub mod assemble;
mod decide;
pub mod encode;
pub mod identity;
pub mod layout;
pub mod ledger;
pub mod local;
mod present;
pub mod publish;
pub mod quarantine;
pub mod receipt;
pub mod records;
pub mod slot;
pub mod spill;
pub mod store;

#[cfg(test)]
mod testing;

pub use assemble::TableSpec;
pub use identity::{Family, Identity, Selection};
pub use layout::{LakePath, RunId, TableName};
pub use ledger::Ledger;
pub use publish::{Observation, Outcome};
pub use quarantine::{Origin, Quarantine};
pub use receipt::{Receipt, State};
pub use spill::Spill;
pub use store::{Lake, Run};

/// The name and version under which this build signs its files.
pub const TOOL: &str = concat!("convlake ", env!("CARGO_PKG_VERSION"));
