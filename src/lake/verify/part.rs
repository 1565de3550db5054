//! One file of a day: the file that its receipt names, with the bytes that were written, and rows that belong there.

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowSchemaConverter, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;
use parquet::schema::types::SchemaDescriptor;

use super::finding::{Damage, Finding};
use super::rows::Scan;
use crate::error::{Error, Result};
use crate::lake::TOOL;
use crate::lake::assemble::TableSpec;
use crate::lake::encode::{CONVERSATIONS, ID, START, key};
use crate::lake::layout::Dataset;
use crate::lake::receipt::FileEntry;
use crate::lake::slot::{self, label_of, metadata_value};
use crate::time::Day;

/// What is checked of a file.
pub(super) struct Part<'a> {
    pub(super) dataset: Dataset,
    pub(super) day: Day,
    pub(super) entry: &'a FileEntry,
    /// Its table, when this version knows it.
    pub(super) spec: Option<&'a TableSpec>,
    /// Hashes of the ids of the day's conversations, sorted; `None` while they are not known.
    pub(super) parents: Option<&'a [u128]>,
    /// Only its size and its footer.
    pub(super) quick: bool,
}

/// What was found.
#[derive(Default)]
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// Of `conversations`: the hashes of their ids, sorted, each once.
    pub(super) ids: Option<Vec<u128>>,
}

/// Why a file is not read to its end.
enum Stop {
    /// It is broken.
    Broken(Damage, String),
    /// It could not be read, which says nothing about it.
    Failed(Error),
}

impl From<ParquetError> for Stop {
    fn from(error: ParquetError) -> Stop {
        // What the disk or the store said says nothing about the file; everything else is what its bytes said.
        if let ParquetError::External(cause) = &error {
            if let Some(store) = cause.downcast_ref::<Error>() {
                return Stop::Failed(store.clone());
            }
            if cause.is::<std::io::Error>() {
                return Stop::Failed(Error::storage("it cannot be read").source(error));
            }
        }
        Stop::Broken(Damage::Bytes, format!("it is not readable as Parquet: {error}"))
    }
}

impl Part<'_> {
    /// Checks `file`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be read.
    pub(super) fn check<R: ChunkReader + 'static>(&self, file: R) -> Result<Checked> {
        match self.read(file) {
            Ok(checked) => Ok(checked),
            Err(Stop::Broken(damage, what)) => Ok(Checked { findings: vec![self.finding(damage, what)], ids: None }),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    pub(super) fn finding(&self, damage: Damage, what: String) -> Finding {
        Finding::of_part(self.dataset, &self.entry.table, self.day, damage, what)
    }

    fn read<R: ChunkReader + 'static>(&self, file: R) -> Result<Checked, Stop> {
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
        self.footer(&metadata, file.len())?;
        if self.quick {
            return Ok(Checked::default());
        }
        if slot::hash(&file)? != self.entry.hash {
            return Err(Stop::Broken(Damage::Bytes, "its bytes are not those that were written".to_owned()));
        }
        let schema = metadata.parquet_schema();
        let Some(keys) = keys(schema) else { return Ok(Checked::default()) };
        let rows = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).with_projection(keys).build()?;
        let mut scan = Scan::new(self.day, self.parents, self.entry.table.as_str() == CONVERSATIONS);
        for batch in rows {
            if !scan.batch(&batch.map_err(ParquetError::from)?) {
                return Err(Stop::Broken(Damage::Columns, format!("`{START}` or `{ID}` is of another type")));
            }
        }
        let (wrong, ids) = scan.finish();
        Ok(Checked { findings: wrong.into_iter().map(|(damage, what)| self.finding(damage, what)).collect(), ids })
    }

    /// The footer and the size: enough to know the file from every other, and not enough to know that it is whole.
    fn footer(&self, metadata: &ArrowReaderMetadata, bytes: u64) -> Result<(), Stop> {
        let broken = |damage, what| Err(Stop::Broken(damage, what));
        let (entry, footer) = (self.entry, metadata.metadata());
        let Some(label) = label_of(footer) else {
            return broken(Damage::Bytes, "its footer has no label of convlake's".to_owned());
        };
        if label.uuid != entry.uuid {
            let what = format!(
                "it is the file of run {}, which asked the source at {:?}; the receipt names another",
                label.order.writer(),
                label.observed_at
            );
            return broken(Damage::Uncommitted, what);
        }
        if label.day != self.day {
            return broken(Damage::OtherDay, format!("its footer says that it is of {}", label.day));
        }
        if bytes != entry.bytes {
            return broken(Damage::Bytes, format!("it has {bytes} bytes, its receipt says {}", entry.bytes));
        }
        let rows = footer.file_metadata().num_rows();
        if u64::try_from(rows) != Ok(entry.rows) {
            return broken(Damage::Rows, format!("it has {rows} rows, its receipt says {}", entry.rows));
        }
        let tool = metadata_value(footer, key::TOOL);
        match self.spec.filter(|spec| spec.version == entry.schema) {
            Some(spec) if !fits(metadata.parquet_schema(), spec, tool.as_deref() == Some(TOOL))? => {
                broken(Damage::Columns, "its columns are not those of the table".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a file's columns are those of its table. Another version of convlake may have known fewer of them; those
/// that it knew are the same and in the same order.
fn fits(file: &SchemaDescriptor, spec: &TableSpec, same_tool: bool) -> Result<bool, ParquetError> {
    let table = ArrowSchemaConverter::new().with_coerce_types(true).convert(&spec.schema)?;
    let (file, table) = (file.root_schema().get_fields(), table.root_schema().get_fields());
    let mut rest = table.iter();
    let in_order = file.iter().all(|column| rest.any(|known| known == column));
    Ok(in_order && (!same_tool || file.len() == table.len()))
}

/// The columns that place a row; none in a table of another kind.
fn keys(schema: &SchemaDescriptor) -> Option<ProjectionMask> {
    let names = [START, ID];
    let has = |name: &str| schema.columns().iter().any(|column| column.path().string() == name);
    names.iter().all(|name| has(name)).then(|| ProjectionMask::columns(schema, names))
}
