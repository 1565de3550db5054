//! What a lake's ledger says, and what its files are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use convlake::lake::ledger::Ledger;
use convlake::lake::{Lake, State};
use convlake::time::Day;
use serde_json::{Value, json};

/// Content hashes by day and table: equal for equal rows, whichever run wrote them.
pub(crate) type Contents = BTreeMap<Day, BTreeMap<String, String>>;

/// All that is recorded: nothing where nothing was published yet.
pub(crate) fn ledger(lake: &Path) -> Ledger {
    let found = Lake::find(lake).expect("a lake or none");
    found.map_or_else(Ledger::default, |lake| lake.ledger().expect("a ledger"))
}

/// The content of every file that a receipt names.
pub(crate) fn contents(lake: &Path) -> Contents {
    let of_files = |files: &[convlake::lake::receipt::FileEntry]| {
        files.iter().map(|file| (file.table.to_string(), file.content.clone())).collect()
    };
    let receipts = ledger(lake).into_record().receipts;
    receipts.into_iter().map(|receipt| (receipt.day, of_files(&receipt.files))).collect()
}

/// The state of every day.
pub(crate) fn states(lake: &Path) -> BTreeMap<Day, State> {
    ledger(lake).days().filter_map(|(day, entry)| Some((*day, entry.state()?))).collect()
}

/// What is recorded, each entry by its ledger file and its place there: a new receipt is a new entry.
pub(crate) fn records(lake: &Path) -> BTreeSet<(PathBuf, usize)> {
    let files = super::org::files(&lake.join("_convlake/ledger")).into_keys();
    let entries = |path: PathBuf| {
        let record: BTreeMap<String, Value> =
            serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("a record");
        let count = record.values().filter_map(Value::as_array).map(Vec::len).sum();
        (0..count).map(move |entry| (path.clone(), entry))
    };
    files.flat_map(entries).collect()
}

/// Every Parquet file outside of `_convlake` with the time of its last change.
pub(crate) fn written(lake: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let found = super::org::files(lake).into_keys().filter(|path| !path.starts_with(lake.join("_convlake")));
    let modified = |path: &Path| std::fs::metadata(path).and_then(|file| file.modified()).expect("a file");
    found.map(|path| (path.clone(), modified(&path))).collect()
}

/// What runs that ended or died left behind in the place for unfinished files.
pub(crate) fn unfinished(lake: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(lake.join("_convlake/staging")).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// The simulator's clock is years behind, so nothing has settled. Makes of the receipts what a run would have written
/// whose own clock agrees.
pub(crate) fn trust_the_clock(lake: &Path) {
    for (path, content) in super::org::files(&lake.join("_convlake/ledger")) {
        let mut record: Value = serde_json::from_slice(&content).expect("a record");
        for receipt in record.get_mut("receipts").and_then(Value::as_array_mut).into_iter().flatten() {
            let receipt = receipt.as_object_mut().expect("a record");
            receipt.remove("clock_skew").expect("a skew of years");
            if (&receipt["source"], &receipt["state"]) == (&json!("jobs"), &json!("provisional")) {
                receipt["state"] = json!("settled");
            }
        }
        super::write(&path, &record.to_string());
    }
}
