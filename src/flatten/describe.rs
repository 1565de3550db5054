//! The schemas as text: for people, for machines, as SQL and as Markdown.

use std::fmt::Write as _;

use super::catalog::Catalog;
use super::schema::{Column, ColumnType, Table};
use crate::error::{Error, Result};

/// How to write the schemas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Aligned text for a terminal.
    #[default]
    Table,
    /// The schema files: an array of tables, or one table.
    Json,
    /// `CREATE TABLE` statements with comments, understood by DuckDB and Spark.
    Sql,
    /// A Markdown table for each table.
    Markdown,
}

/// Describes the selected tables of `catalog`, or only `table`.
///
/// # Errors
/// [`crate::error::Kind::Usage`] for a table that is not in the catalog.
pub fn describe(catalog: &Catalog, table: Option<&str>, format: Format) -> Result<String> {
    let tables = match table {
        Some(name) => std::slice::from_ref(catalog.known_table(name)?),
        None => catalog.tables(),
    };
    let each = |write: fn(&Table) -> String| tables.iter().map(write).collect::<Vec<_>>().join("\n");
    match format {
        Format::Table => Ok(each(text)),
        Format::Sql => Ok(each(sql)),
        Format::Markdown => Ok(each(markdown)),
        Format::Json => json(tables, table.is_some()),
    }
}

fn text(table: &Table) -> String {
    let widest = |width: fn(&Column) -> usize| table.columns.iter().map(width).max().unwrap_or_default();
    let name_width = widest(|column| column.name.len());
    let kind_width = widest(|column| column.kind.name().len());
    let mut out = format!("{} (version {}): {}\n", table.name, table.version, table.doc);
    for Column { name, kind, unit, pii, doc, .. } in &table.columns {
        let unit = unit.map_or("", |unit| unit.name());
        _ = writeln!(out, "  {name:name_width$}  {kind:kind_width$}  {unit:5}  {pii:7}  {doc}");
    }
    out
}

fn json(tables: &[Table], single: bool) -> Result<String> {
    let written = match tables {
        [table] if single => serde_json::to_string_pretty(table),
        tables => serde_json::to_string_pretty(tables),
    };
    written.map(|json| json + "\n").map_err(|e| Error::bug("cannot write the schemas as JSON").source(e))
}

/// What holds for both engines: names need no quotes, comments are `--`, and of the types only lists and maps are
/// spelled differently; those come in DuckDB's words, with Spark's beside them.
fn sql(table: &Table) -> String {
    let mut out = format!("-- {} Timestamps are UTC.\nCREATE TABLE {} (\n", table.doc, table.name);
    let last = table.columns.len().saturating_sub(1);
    for (index, column) in table.columns.iter().enumerate() {
        let not_null = if column.nullable() { "" } else { " NOT NULL" };
        let comma = if index == last { "" } else { "," };
        let (kind, in_spark) = sql_type(column.kind);
        let unit = column.unit.map(|unit| format!(" Unit: {unit}.")).unwrap_or_default();
        let in_spark = in_spark.map(|kind| format!(" Spark: {kind}.")).unwrap_or_default();
        _ = writeln!(out, "  {} {kind}{not_null}{comma} -- {}{unit}{in_spark}", column.name, column.doc);
    }
    out + ");\n"
}

/// The type in DuckDB, and in Spark where that differs.
const fn sql_type(kind: ColumnType) -> (&'static str, Option<&'static str>) {
    match kind {
        ColumnType::Timestamp => ("TIMESTAMP", None),
        ColumnType::Int64 => ("BIGINT", None),
        ColumnType::Double => ("DOUBLE", None),
        ColumnType::Boolean => ("BOOLEAN", None),
        ColumnType::String => ("STRING", None),
        ColumnType::StringList => ("STRING[]", Some("ARRAY<STRING>")),
        ColumnType::Int64List => ("BIGINT[]", Some("ARRAY<BIGINT>")),
        ColumnType::Int64Map => ("MAP(STRING, BIGINT)", Some("MAP<STRING, BIGINT>")),
        ColumnType::DoubleMap => ("MAP(STRING, DOUBLE)", Some("MAP<STRING, DOUBLE>")),
        ColumnType::StringMap => ("MAP(STRING, STRING)", Some("MAP<STRING, STRING>")),
    }
}

fn markdown(table: &Table) -> String {
    let mut out = format!(
        "### `{}`\n\n{} Key: {}.\n\n| column | type | unit | PII | source | |\n| --- | --- | --- | --- | --- | --- |\n",
        table.name,
        table.doc,
        table.primary_key.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    );
    for Column { name, kind, unit, pii, source, doc, .. } in &table.columns {
        let unit = unit.map_or("", |unit| unit.name());
        let source = source.to_string();
        for cell in [&format!("`{name}`"), &format!("`{kind}`"), unit, pii.name(), &source, doc] {
            _ = write!(out, "| {} ", cell.replace('|', "\\|"));
        }
        out.push_str("|\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn described(table: Option<&str>, format: Format) -> String {
        describe(&Catalog::builtin().unwrap(), table, format).unwrap()
    }

    #[test]
    fn one_table_in_every_format() {
        let of = |format| described(Some("resolutions"), format);
        let user = "Last user who handled the conversation.";
        assert!(of(Format::Table).contains(&format!("  user_id                 string            id       {user}\n")));
        assert!(of(Format::Sql).contains(&format!("\n  user_id STRING, -- {user}\n")));
        assert!(of(Format::Sql).contains("\n  conversation_start TIMESTAMP NOT NULL, -- "));
        assert!(of(Format::Sql).trim_end().ends_with("\n);"));
        assert!(of(Format::Markdown).contains(&format!("| `user_id` | `string` |  | id | userId | {user} |\n")));
        assert!(of(Format::Json).starts_with("{\n  \"table\": \"resolutions\""));
    }

    #[test]
    fn lists_and_maps_tell_both_spellings() {
        let sql = described(Some("sessions"), Format::Sql);
        assert!(sql.contains("  cc STRING[], -- ") && sql.contains("Spark: ARRAY<STRING>."));
        assert!(sql.contains("  metrics_other MAP(STRING, BIGINT), -- "));
    }

    #[test]
    fn all_tables_as_json_are_the_catalog_again() {
        let json = described(None, Format::Json);
        let files: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        let files: Vec<String> = files.iter().map(ToString::to_string).collect();
        let again = Catalog::parse(files.iter().map(String::as_str)).unwrap();
        assert_eq!(describe(&again, None, Format::Json).unwrap(), json);
    }

    #[test]
    fn an_unknown_table_is_a_usage_error() {
        let error = describe(&Catalog::builtin().unwrap(), Some("nothing"), Format::Sql).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
    }
}
