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
//! assert_eq!(page.days[0].tables[0].rows.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! In reading order: [`schema`] has the words of the schema files, [`catalog`] the tables of a run; `compile` makes
//! the `plan` of them, in which fields are found by their `keys`. `cursor` moves over the text of a record, `reader`
//! carries each value to its place in the `scratch`: its column in `buffers` (`values` says which it takes, `dates`
//! how timestamps are read), the `folds` of the metrics (at the `row_end`), or the `leftovers`, which `rewrite` writes
//! into `extra`; `oddities` counts them, and `cut` knows the texts that a tool wrote for objects that lay too deep. Of
//! what has grown there `day` hands out the rows that a day owns, as the
//! `arrays` of a [`batch`] of [`rows`]. `flattener` does this with the records of one page (their `intake`), or of
//! several that share a `sheet`. [`describe`] shows the schemas to people and machines. `activity` says when something
//! last happened in a record that is not kept.
//!
//! A text is read once and nothing is built that is not kept. What makes it fast: the next field is guessed from the
//! last time and compared whole; strings are passed sixteen bytes at a time; a column takes a value and its row, so that
//! absent ones cost nothing; ids that rows repeat from the rows above stand once; buffers are used again.
//! A record that turns out bad is taken back by cutting the columns off where it began. What is not as plain as the
//! reader needs it (fields of the same name, `halves` of characters, the Python SDK's snake case) is written anew by
//! `mend`, and read again. The tests have a second reader,
//! slow and plain, that must make the same of everything (`tests/differential`).
//!
//! Records nested more than 127 levels deep are not read.

pub mod batch;
pub mod catalog;
pub mod describe;
pub mod rows;
pub mod schema;

mod activity;
mod arrays;
mod buffers;
mod compile;
mod cursor;
mod cut;
mod dates;
mod day;
mod flattener;
mod folds;
mod halves;
mod intake;
mod keys;
mod leftovers;
mod mend;
mod oddities;
mod plan;
mod reader;
mod rewrite;
mod row_end;
mod scratch;
mod sheet;
mod values;

pub use activity::last_activity;
pub use catalog::Catalog;
pub use cut::is_cut;
pub use flattener::Flattener;
pub use intake::List;
pub use oddities::{Oddities, is_name};
pub use sheet::Sheet;
