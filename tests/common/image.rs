//! A lake as its bytes, and what a reader who knows nothing but Parquet and folders finds in them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::Schema;
use bytes::Bytes;
use convlake::lake::{Ledger, slot};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use uuid::Uuid;

/// Every file by its path below the root.
pub(crate) type Image = BTreeMap<String, Bytes>;

/// Every row of every Parquet file, by its path.
pub(crate) type Rows = BTreeMap<String, RecordBatch>;

/// The files of a folder.
pub(crate) fn of_folder(root: &Path) -> Image {
    let name = |path: &Path| path.strip_prefix(root).expect("below the root").to_str().expect("UTF-8").to_owned();
    super::org::files(root).into_iter().map(|(path, bytes)| (name(&path), Bytes::from(bytes))).collect()
}

/// Reads every Parquet file. Fails when one is not whole, when a folder holds two, or a conversation is there twice.
pub(crate) fn rows(image: &Image) -> Rows {
    let mut rows = Rows::new();
    let (mut partitions, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for (path, bytes) in image.iter().filter(|(path, _)| path.ends_with(".parquet")) {
        assert!(partitions.insert(path.rsplit_once('/').expect("a folder").0), "two files beside {path}");
        let batch = read(bytes).unwrap_or_else(|e| panic!("{path} cannot be read: {e}"));
        if path.starts_with("conversations/") {
            let column = batch.column_by_name("conversation_id").expect("a column").as_string::<i32>();
            for id in column.iter().map(|id| id.expect("an id").to_owned()) {
                assert!(ids.insert(id), "{path} repeats a conversation");
            }
        }
        rows.insert(path.clone(), batch);
    }
    rows
}

/// Asserts that two lakes hold the same rows in the same files.
pub(crate) fn assert_same(found: &Rows, wanted: &Rows, when: &str) {
    let differs = |path: &&String| found.get(*path) != wanted.get(*path);
    let different: BTreeSet<&String> = found.keys().chain(wanted.keys()).filter(differs).collect();
    assert!(different.is_empty(), "{when}: other rows in {different:?}");
}

fn read(bytes: &Bytes) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone())?;
    // Without the footer's own words, which say what run wrote the file: here only rows count.
    let schema = Arc::new(Schema::new(reader.schema().fields().clone()));
    let batches = reader.build()?.collect::<Result<Vec<_>, _>>()?;
    let columns = concat_batches(&schema, &batches)?.columns().to_vec();
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// Slots that do not hold the file that the ledger says, or that it says nothing of.
pub(crate) fn uncommitted(image: &Image, ledger: &Ledger) -> BTreeSet<String> {
    let receipts = ledger.days().filter_map(|(_, entry)| entry.receipt.as_ref());
    let named: BTreeMap<&str, Uuid> =
        receipts.flat_map(|receipt| &receipt.files).map(|file| (file.path.as_str(), file.uuid)).collect();
    let label = |bytes| slot::read_label(bytes).expect("Parquet").expect("a label").uuid;
    let parts = image.iter().filter(|(path, _)| path.ends_with(".parquet"));
    let found: BTreeMap<&str, Uuid> = parts.map(|(path, bytes)| (path.as_str(), label(bytes))).collect();
    let differs = |path: &&&str| found.get(**path) != named.get(**path);
    found.keys().chain(named.keys()).filter(differs).map(ToString::to_string).collect()
}

/// Asserts that the slots hold what the ledger says, all of it and nothing else.
pub(crate) fn assert_committed(image: &Image, ledger: &Ledger) {
    assert_eq!(uncommitted(image, ledger), BTreeSet::new(), "slots and receipts differ");
}

/// What is neither data nor has to stay: anything but the identity, the ledger and the history of runs. Probes of dead
/// runs do no harm.
pub(crate) fn remains(image: &Image) -> Vec<&str> {
    let stays = |path: &str| {
        path.ends_with(".parquet")
            || ["_convlake/lake.json", "_convlake/lock"].contains(&path)
            || ["_convlake/ledger/", "_convlake/runs/", "_convlake/probes/"]
                .iter()
                .any(|folder| path.starts_with(folder))
    };
    image.keys().map(String::as_str).filter(|path| !stays(path)).collect()
}
