//! Records become rows: `schemas/*.json` → column builders → Arrow batches. Pure, and the hot path.
//!
//! One rule makes the tables (every array of objects is a table, an embedded object becomes prefixed columns,
//! an array of scalars is a list column) and one definition makes the columns (`schemas/`). A record that
//! cannot be read is set aside whole with its reason; a value that does not fit its column is kept in `extra`.
//! Nothing is coerced and nothing is lost, except what the selection leaves out and the addresses that dimensions
//! ignore.
//!
//! ```
//! use std::sync::Arc;
//! use convlake::flatten::{Catalog, Flattener};
//!
//! # fn main() -> convlake::error::Result<()> {
//! let flattener = Flattener::new(Arc::new(Catalog::builtin()?))?;
//! let record = r#"{"conversationId": "c1", "conversationStart": "2025-01-01T08:00:00.000Z", "selfServed": true}"#;
//! let page = flattener.flatten(0, 1, [record.into()].into_iter())?;
//! assert_eq!(page.days[0].day.to_string(), "2025-01-01");
//! assert_eq!(page.days[0].tables[0].rows.num_rows(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: [`schema`] has the words of the schema files, [`catalog`] the tables of a run; `tree` compiles
//! them, `record` parses, `walk` carries each value to its place, `cell` types it, `columns` and `tables` grow, `fold`
//! adds up the metrics; [`batch`] is what comes out. [`describe`] shows the schemas to people and machines.
//! `activity` says when something last happened in a record that is not kept.
//!
//! Records nested more than 127 levels deep are not read.

pub mod batch;
pub mod catalog;
pub mod describe;
pub mod schema;

mod activity;
mod cell;
mod columns;
mod flattener;
mod fold;
mod record;
mod tables;
mod tree;
mod walk;

pub use activity::last_activity;
pub use catalog::Catalog;
pub use flattener::Flattener;
pub use walk::is_name;
