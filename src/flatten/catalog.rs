//! The tables of the lake: all that the schema files define, or those that a run selected.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;

use super::schema::{Column, Columns, ROOT_TABLE, Source, Table};
use crate::error::{Error, Result};

/// The schema files, in the order of the tables; a table comes after the tables it is part of.
const FILES: [&str; 15] = [
    include_str!("../../schemas/conversations.json"),
    include_str!("../../schemas/evaluations.json"),
    include_str!("../../schemas/surveys.json"),
    include_str!("../../schemas/resolutions.json"),
    include_str!("../../schemas/participants.json"),
    include_str!("../../schemas/participant_attributes.json"),
    include_str!("../../schemas/sessions.json"),
    include_str!("../../schemas/agent_groups.json"),
    include_str!("../../schemas/proposed_agents.json"),
    include_str!("../../schemas/media_endpoint_stats.json"),
    include_str!("../../schemas/flow_outcomes.json"),
    include_str!("../../schemas/metrics.json"),
    include_str!("../../schemas/segments.json"),
    include_str!("../../schemas/scored_agents.json"),
    include_str!("../../schemas/segment_properties.json"),
];

/// The schema files of dimensions, each a table by itself.
const DIMENSION_FILES: [&str; 7] = [
    include_str!("../../schemas/queues.json"),
    include_str!("../../schemas/users.json"),
    include_str!("../../schemas/wrap_up_codes.json"),
    include_str!("../../schemas/skills.json"),
    include_str!("../../schemas/divisions.json"),
    include_str!("../../schemas/flows.json"),
    include_str!("../../schemas/teams.json"),
];

/// The selected tables with their selected columns, over the whole definition.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Everything that is defined: what is not selected must still be recognised, or it would end in `extra`.
    defined: Arc<[Table]>,
    tables: Arc<[Table]>,
    schemas: Arc<[SchemaRef]>,
}

impl Catalog {
    /// All tables and columns of conversations that convlake is built with. They are parsed once.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when a schema file is broken.
    pub fn builtin() -> Result<Catalog> {
        static PARSED: OnceLock<Result<Catalog>> = OnceLock::new();
        PARSED.get_or_init(|| Catalog::parse(FILES)).clone()
    }

    /// The dimensions: what conversations name by id only. To be flattened one by one, see [`Catalog::alone`].
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when a schema file is broken.
    pub fn dimensions() -> Result<Catalog> {
        static PARSED: OnceLock<Result<Catalog>> = OnceLock::new();
        PARSED.get_or_init(|| Catalog::parse(DIMENSION_FILES)).clone()
    }

    /// Every table of a lake, to be shown.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when a schema file is broken.
    pub fn everything() -> Result<Catalog> {
        Catalog::parse(FILES.into_iter().chain(DIMENSION_FILES))
    }

    /// The catalog that `files` define, one table each, parents before children.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when a file is not a schema.
    pub fn parse<'a>(files: impl IntoIterator<Item = &'a str>) -> Result<Catalog> {
        let tables: Result<Arc<[Table]>> = files
            .into_iter()
            .map(|file| serde_json::from_str(file).map_err(|e| Error::bug("a schema file is broken").source(e)))
            .collect();
        let tables = tables?;
        Ok(Catalog::of(Arc::clone(&tables), tables))
    }

    fn of(defined: Arc<[Table]>, tables: Arc<[Table]>) -> Catalog {
        let schemas = tables.iter().map(|table| Arc::new(table.schema())).collect();
        Catalog { defined, tables, schemas }
    }

    /// The selected tables, in the order of every [`super::batch::DayBatch`].
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Their Arrow schemas, in the same order.
    pub fn schemas(&self) -> &[SchemaRef] {
        &self.schemas
    }

    /// The selected table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }

    /// Only this table, as if there were no other.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when it is not selected.
    pub fn alone(&self, name: &str) -> Result<Catalog> {
        let selected = self.known_table(name)?.clone();
        let defined = self.defined.iter().filter(|table| table.name == name).cloned().collect();
        Ok(Catalog::of(defined, Arc::new([selected])))
    }

    /// This catalog with only the columns that lakes of this kind have. Fields of the others are unknown, and so are the
    /// tutorials' objects of metrics in a lake of conversation details: a name would be in two columns, by its values.
    #[must_use]
    pub fn with(&self, columns: Columns) -> Catalog {
        let kept = |tables: &[Table]| {
            let own = |column: &Column| match &column.source {
                Source::OtherMetrics { .. } if columns == Columns::Details => {
                    Column { source: Source::OtherMetrics { field: None }, ..column.clone() }
                }
                _ => column.clone(),
            };
            let with = |table: &Table| {
                let kept = table.columns.iter().filter(|column| columns.have(column)).map(own).collect();
                Table { columns: kept, ..table.clone() }
            };
            tables.iter().map(with).collect()
        };
        Catalog::of(kept(&self.defined), kept(&self.tables))
    }

    /// Whether `column` (`TABLE.COLUMN`) is said of one of these tables.
    pub fn has_table_of(&self, column: &str) -> bool {
        column.split_once('.').is_some_and(|(table, _)| self.table(table).is_some())
    }

    /// All tables with all columns, selected or not.
    pub(super) fn defined(&self) -> &[Table] {
        &self.defined
    }

    /// This catalog with only `tables` (all when `None`) and without the columns `excluded` (`TABLE.COLUMN` each).
    /// `conversations` is always kept. What is not selected is not kept anywhere, not even in `extra`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for an unknown table or column, and for a key column, which places the rows.
    pub fn select(&self, tables: Option<&[String]>, excluded: &[String]) -> Result<Catalog> {
        let wanted: Option<BTreeSet<&str>> = match tables {
            None => None,
            Some(names) => {
                Some(names.iter().map(|name| Ok(self.known_table(name)?.name.as_str())).collect::<Result<_>>()?)
            }
        };
        let dropped: BTreeSet<(&str, &str)> =
            excluded.iter().map(|name| self.excludable(name)).collect::<Result<_>>()?;
        let selected = self
            .tables
            .iter()
            .filter(|table| table.name == ROOT_TABLE || wanted.as_ref().is_none_or(|w| w.contains(table.name.as_str())))
            .map(|table| {
                let mut table = table.clone();
                let Table { name, columns, .. } = &mut table;
                columns.retain(|column| !dropped.contains(&(name.as_str(), column.name.as_str())));
                table
            })
            .collect();
        Ok(Catalog::of(Arc::clone(&self.defined), selected))
    }

    /// The selected table of this name, or a usage error that lists the names.
    pub(super) fn known_table(&self, name: &str) -> Result<&Table> {
        self.table(name).ok_or_else(|| {
            let names = self.tables.iter().map(|table| table.name.as_str());
            Error::usage(format!("there is no table `{name}`")).hint(format!("the tables are {}", listed(names)))
        })
    }

    /// The table and column that `TABLE.COLUMN` names, if it may be left out.
    fn excludable(&self, name: &str) -> Result<(&str, &str)> {
        let (table, column) = name.split_once('.').ok_or_else(|| {
            Error::usage(format!("`{name}` is not a column"))
                .hint("write it as TABLE.COLUMN, for example `participants.participant_name`")
        })?;
        let table = self.known_table(table)?;
        let column = table.column(column).ok_or_else(|| {
            let near = near(column, table.columns.iter().map(|c| c.name.as_str()));
            let hint = match near.is_empty() {
                true => format!("`convlake schema {}` lists the columns", table.name),
                false => format!("did you mean {}?", listed(near)),
            };
            Error::usage(format!("table `{}` has no column `{column}`", table.name)).hint(hint)
        })?;
        if column.key {
            return Err(Error::usage(format!("column `{name}` cannot be excluded"))
                .hint("it is part of the key that places and joins the rows; ids and ordinals are always exported"));
        }
        Ok((&table.name, &column.name))
    }
}

/// `` `a`, `b` ``.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The up to three names that `name` may have been meant as, nearest first.
fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(1);
    let part = |known: &str| name.len() >= 3 && (known.contains(name.as_str()) || name.contains(known));
    let mut near: Vec<(usize, &str)> = names
        .map(|known| (edits(&name, known), known))
        .filter(|&(distance, known)| distance <= allowed || part(known))
        .collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, known)| known).collect()
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn builtin() -> Catalog {
        Catalog::builtin().unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_root_table_is_always_kept_and_the_order_is_the_catalogs() {
        let some = builtin().select(Some(&names(&["segments", "sessions"])), &[]).unwrap();
        let kept: Vec<_> = some.tables().iter().map(|t| t.name.as_str()).collect();
        assert_eq!(kept, [ROOT_TABLE, "sessions", "segments"]);
        assert_eq!(some.schemas().len(), 3);
        assert_eq!(some.schemas()[1].fields().len(), builtin().table("sessions").unwrap().columns.len());
    }

    #[test]
    fn excluded_columns_are_gone_from_the_schema() {
        let without = builtin().select(None, &names(&["participants.participant_name"])).unwrap();
        assert!(without.table("participants").unwrap().column("participant_name").is_none());
        let index = without.tables().iter().position(|t| t.name == "participants").unwrap();
        assert!(without.schemas()[index].field_with_name("participant_name").is_err());
    }

    #[test]
    fn names_that_do_not_exist_or_cannot_go_are_usage_errors_with_a_hint() {
        let tables = |name| builtin().select(Some(&names(&[name])), &[]).unwrap_err();
        let columns = |name| builtin().select(None, &names(&[name])).unwrap_err();
        for (error, hint) in [
            (tables("session"), "`sessions`"),
            (columns("participants"), "TABLE.COLUMN"),
            (columns("nowhere.value"), "`participants`"),
            (columns("participants.participant_nam"), "`participant_name`"),
            (columns("participants.zzzzzz"), "convlake schema participants"),
            (columns("participants.participant_id"), "key"),
            (columns("segments.conversation_start"), "key"),
            (columns("segments.segment_index"), "key"),
        ] {
            assert_eq!(error.kind(), Kind::Usage, "{error}");
            assert!(error.hint_text().unwrap().contains(hint), "{error}: {:?}", error.hint_text());
        }
    }

    #[test]
    fn a_broken_file_is_an_error() {
        assert_eq!(Catalog::parse(["{}"]).unwrap_err().kind(), Kind::Bug);
    }

    #[test]
    fn distances() {
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
