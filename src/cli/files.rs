//! `convlake files`: every file of a lake with its version, for loaders that keep the versions they loaded.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde::Serialize;
use uuid::Uuid;

use super::lakes::{self, Opened};
use super::place::LakeArg;
use super::{Console, Environment};
use crate::error::{Error, Result};
use crate::lake::layout::Dataset;
use crate::lake::{Ledger, Location, State, TableName};
use crate::plan::Source;
use crate::time::{Day, Timestamp};

/// List every file of a lake with its version, for warehouse loaders
#[derive(Debug, Args)]
pub(super) struct FilesArgs {
    #[command(flatten)]
    lake: LakeArg,
    /// Only this table
    #[arg(long, env = "CONVLAKE_TABLE", value_name = "TABLE")]
    table: Option<String>,
    /// How to write it
    #[arg(long, env = "CONVLAKE_FORMAT", value_enum, default_value = "json")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line
    Json,
    /// With a header
    Csv,
}

/// One file. The order of the fields is the order of the columns.
#[derive(Debug, Serialize)]
struct Line {
    table: TableName,
    date: Day,
    /// As another tool would open it.
    path: String,
    rows: u64,
    bytes: u64,
    /// The id in its footer: another one is another file.
    version: Uuid,
    state: State,
    source: Source,
    covers_from: Timestamp,
    covers_to: Timestamp,
    /// When the source was asked last.
    fetched_at: Timestamp,
}

pub(super) async fn run(args: &FilesArgs, console: &Console, env: &Environment) -> Result<()> {
    let Opened { lake, location } = lakes::existing_lake(&args.lake, env).await?;
    let location = absolute(location)?;
    let mut lines = lakes::blocking(move || {
        let mut lines = Vec::new();
        for dataset in Dataset::ALL {
            lines.extend(of(&lake.ledger_of(dataset)?, &location));
        }
        Ok(lines)
    })
    .await?;
    if let Some(table) = &args.table {
        let tables: BTreeSet<TableName> = lines.iter().map(|line| line.table.clone()).collect();
        lines.retain(|line| line.table.as_str() == table);
        if lines.is_empty() && !tables.is_empty() {
            let tables: Vec<&str> = tables.iter().map(TableName::as_str).collect();
            return Err(
                Error::usage(format!("the lake has no table `{table}`")).hint(format!("it has {}", tables.join(", ")))
            );
        }
    }
    lines.sort_by(|a, b| (&a.table, a.date).cmp(&(&b.table, b.date)));
    console.data(&match args.format {
        Format::Json => json(&lines)?,
        Format::Csv => csv(&lines)?,
    })
}

/// A lake in a folder is opened by others from another place.
fn absolute(location: Location) -> Result<Location> {
    let Location::Folder(path) = &location else { return Ok(location) };
    let path = std::path::absolute(path)
        .map_err(|e| Error::storage(format!("cannot tell where `{}` is", path.display())).source(e))?;
    Ok(Location::Folder(path))
}

fn of<'a>(ledger: &'a Ledger, location: &'a Location) -> impl Iterator<Item = Line> + 'a {
    let days = ledger.days().filter_map(|(_, entry)| Some((entry.receipt.as_ref()?, entry.state()?)));
    days.flat_map(move |(receipt, state)| {
        receipt.files.iter().map(move |file| Line {
            table: file.table.clone(),
            date: receipt.day,
            path: location.join(&file.path),
            rows: file.rows,
            bytes: file.bytes,
            version: file.uuid,
            state,
            source: receipt.source,
            covers_from: receipt.covers.from(),
            covers_to: receipt.covers.to(),
            fetched_at: receipt.observed_at,
        })
    })
}

fn json(lines: &[Line]) -> Result<String> {
    lines.iter().map(|line| serde_json::to_string(line).map(|text| text + "\n").map_err(unwritten)).collect()
}

/// The same fields under a header; a value with a comma, a quote or a line break is quoted.
fn csv(lines: &[Line]) -> Result<String> {
    let mut text = String::from(HEADER);
    for line in lines {
        let value = serde_json::to_value(line).map_err(unwritten)?;
        let cells = value.as_object().into_iter().flat_map(|fields| fields.values()).map(|cell| {
            let cell = cell.as_str().map_or_else(|| cell.to_string(), str::to_owned);
            let plain = !cell.contains([',', '"', '\n', '\r']);
            if plain { cell } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
        });
        text += &cells.collect::<Vec<_>>().join(",");
        text.push('\n');
    }
    Ok(text)
}

const HEADER: &str = "table,date,path,rows,bytes,version,state,source,covers_from,covers_to,fetched_at\n";

fn unwritten(e: serde_json::Error) -> Error {
    Error::bug("the list of files cannot be written").source(e)
}
