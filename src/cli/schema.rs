//! `convlake schema`: the tables and their columns, as the lake has them.

use clap::{Args, ValueEnum};

use super::Console;
use crate::error::Result;
use crate::flatten::{Catalog, describe};

/// Show the tables and columns
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Only this table
    table: Option<String>,
    /// How to write it
    #[arg(long, env = "CONVLAKE_FORMAT", value_enum, default_value = "table")]
    format: Format,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For reading in a terminal
    #[value(alias = "text")]
    Table,
    /// The definitions as data
    Json,
    /// CREATE TABLE statements
    Sql,
    /// For documents
    Markdown,
}

pub(super) fn run(args: &SchemaArgs, console: &Console) -> Result<()> {
    let format = match args.format {
        Format::Table => describe::Format::Table,
        Format::Json => describe::Format::Json,
        Format::Sql => describe::Format::Sql,
        Format::Markdown => describe::Format::Markdown,
    };
    console.data(&describe::describe(&Catalog::everything()?, args.table.as_deref(), format)?)
}
