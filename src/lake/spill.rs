//! Batches that do not fit the memory budget wait in a temporary file, exactly as they were.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{Int64Type, UInt32Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use super::local::failed;
use crate::error::{Error, Result};
use crate::flatten::batch::{DayBatch, Position, RecordKey, TableRows};
use crate::time::Day;

/// Batches on disk, by day. The file has no name in its folder, so it is gone when this is dropped or the process ends.
#[derive(Debug)]
pub struct Spill {
    folder: PathBuf,
    file: Mutex<File>,
    /// Where the next frame begins.
    end: u64,
    frames: BTreeMap<Day, Vec<Frame>>,
}

/// One batch in the file: its keys, then for each table its offsets and its rows, each as one Arrow IPC stream.
#[derive(Clone, Copy, Debug)]
struct Frame {
    from: u64,
    bytes: u64,
    tables: usize,
    chain: u32,
}

impl Spill {
    /// An empty file in `folder`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when it cannot be made.
    pub fn new(folder: &Path) -> Result<Spill> {
        let file = tempfile::tempfile_in(folder).map_err(|e| failed("create a temporary file in", folder, e))?;
        Ok(Spill { folder: folder.to_owned(), file: Mutex::new(file), end: 0, frames: BTreeMap::new() })
    }

    /// Adds batches.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when they cannot be written; what was there before stays readable.
    pub fn write(&mut self, batches: Vec<DayBatch>) -> Result<()> {
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        for batch in batches {
            // A batch without records is nothing to keep; the others are of one page, so of one chain.
            let Some(chain) = batch.keys.first().map(|k| k.position.chain) else { continue };
            let bytes = write_frame(file, self.end, &batch).map_err(|e| spill_failed("write", &self.folder, e))?;
            let frame = Frame { from: self.end, bytes, tables: batch.tables.len(), chain };
            self.frames.entry(batch.day).or_default().push(frame);
            self.end += bytes;
        }
        Ok(())
    }

    /// The days that have batches here.
    pub fn days(&self) -> impl Iterator<Item = Day> + '_ {
        self.frames.keys().copied()
    }

    /// All batches of `day`, in the order in which they were written.
    ///
    /// # Errors
    /// [`crate::error::Kind::Storage`] when they cannot be read.
    pub fn read_day(&self, day: Day) -> Result<Vec<DayBatch>> {
        let frames = self.frames.get(&day).map(Vec::as_slice).unwrap_or_default();
        frames.iter().map(|frame| self.read_frame(day, frame)).collect()
    }

    /// Forgets the batches of `day`.
    pub fn drop_day(&mut self, day: Day) {
        self.frames.remove(&day);
        self.reclaim();
    }

    /// Forgets every batch of the chain `first` and of later ones.
    pub fn drop_chains(&mut self, first: u32) {
        for frames in self.frames.values_mut() {
            frames.retain(|frame| frame.chain < first);
        }
        self.frames.retain(|_, frames| !frames.is_empty());
        self.reclaim();
    }

    /// Gives the space back when nothing is left; a failure costs nothing but the space.
    fn reclaim(&mut self) {
        if self.frames.is_empty() {
            self.end = 0;
            drop(self.file.get_mut().unwrap_or_else(PoisonError::into_inner).set_len(0));
        }
    }

    fn read_frame(&self, day: Day, frame: &Frame) -> Result<DayBatch> {
        let mut bytes = Vec::new();
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(frame.from))
                .and_then(|_| (&mut *file).take(frame.bytes).read_to_end(&mut bytes))
                .map_err(|e| failed("read the temporary file in", &self.folder, e))?;
        }
        decode_frame(day, frame, &bytes).map_err(|e| spill_failed("read", &self.folder, e))
    }
}

fn spill_failed(verb: &str, folder: &Path, cause: ArrowError) -> Error {
    let what = format!("{verb} the temporary file in");
    match cause {
        ArrowError::IoError(_, cause) => failed(&what, folder, cause),
        other => failed(&what, folder, std::io::Error::other(other)),
    }
}

fn write_frame(file: &mut File, from: u64, batch: &DayBatch) -> Result<u64, ArrowError> {
    file.seek(SeekFrom::Start(from))?;
    let mut out = BufWriter::new(file);
    write_stream(&mut out, &keys_to_batch(&batch.keys)?)?;
    for table in &batch.tables {
        let offsets: ArrayRef = Arc::new(UInt32Array::from(table.offsets.clone()));
        write_stream(&mut out, &RecordBatch::try_from_iter([("offset", offsets)])?)?;
        write_stream(&mut out, &table.rows)?;
    }
    out.flush()?;
    Ok(out.get_mut().stream_position()? - from)
}

fn write_stream(out: &mut impl Write, batch: &RecordBatch) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(out, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()
}

fn decode_frame(day: Day, frame: &Frame, bytes: &[u8]) -> Result<DayBatch, ArrowError> {
    let mut bytes = Cursor::new(bytes);
    let keys = batch_to_keys(&read_stream(&mut bytes)?);
    let tables = (0..frame.tables).map(|_| {
        let offsets = read_stream(&mut bytes)?;
        let offsets = offsets.column(0).as_primitive::<UInt32Type>().values().to_vec();
        Ok(TableRows { rows: read_stream(&mut bytes)?, offsets })
    });
    Ok(DayBatch { day, keys, tables: tables.collect::<Result<_, ArrowError>>()? })
}

/// Reads one stream to its end mark, so that the next one follows.
fn read_stream(bytes: &mut Cursor<&[u8]>) -> Result<RecordBatch, ArrowError> {
    let mut reader = StreamReader::try_new(bytes, None)?;
    let batch = reader.next().ok_or_else(|| ArrowError::IpcError("a stream without a batch".to_owned()))??;
    reader.next().map_or(Ok(batch), |_| Err(ArrowError::IpcError("a stream with two batches".to_owned())))
}

fn keys_to_batch(keys: &[RecordKey]) -> Result<RecordBatch, ArrowError> {
    let number = |of: fn(&Position) -> u32| -> ArrayRef {
        Arc::new(keys.iter().map(|k| of(&k.position)).collect::<UInt32Array>())
    };
    RecordBatch::try_from_iter([
        ("start", Arc::new(keys.iter().map(|k| k.start).collect::<Int64Array>()) as ArrayRef),
        ("id", Arc::new(StringArray::from_iter_values(keys.iter().map(|k| &k.id)))),
        ("chain", number(|p| p.chain)),
        ("page", number(|p| p.page)),
        ("index", number(|p| p.index)),
    ])
}

fn batch_to_keys(batch: &RecordBatch) -> Vec<RecordKey> {
    let (start, id) = (batch.column(0).as_primitive::<Int64Type>(), batch.column(1).as_string::<i32>());
    let number = |column: usize| batch.column(column).as_primitive::<UInt32Type>();
    let (chain, page, index) = (number(2), number(3), number(4));
    let key = |row| RecordKey {
        start: start.value(row),
        id: id.value(row).into(),
        position: Position { chain: chain.value(row), page: page.value(row), index: index.value(row) },
    };
    (0..start.len()).map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::testing::{Rec, batch, day, recs, specs};
    use proptest::prelude::*;

    fn same(a: &[DayBatch], b: &[DayBatch]) -> bool {
        let parts = |batches: &[DayBatch]| {
            let one = |b: &DayBatch| {
                (
                    b.day,
                    b.keys.clone(),
                    b.tables.iter().map(|t| (t.rows.clone(), t.offsets.clone())).collect::<Vec<_>>(),
                )
            };
            batches.iter().map(one).collect::<Vec<_>>()
        };
        parts(a) == parts(b)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_read_is_what_was_written(days in proptest::collection::vec(recs(day("2025-01-01"), 20), 1..6)) {
            let temp = tempfile::tempdir().unwrap();
            let mut spill = Spill::new(temp.path()).unwrap();
            let specs = specs(2);
            let batches: Vec<DayBatch> = days.iter().filter(|r| !r.is_empty()).map(|r| batch(day("2025-01-01"), &specs, r)).collect();
            for batch in &batches {
                spill.write(vec![batch.clone()]).unwrap();
            }
            prop_assert!(same(&spill.read_day(day("2025-01-01")).unwrap(), &batches));
            prop_assert!(spill.read_day(day("2025-01-02")).unwrap().is_empty());
        }
    }

    #[test]
    fn what_was_dropped_is_gone_and_its_space_is_used_again() {
        let temp = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(temp.path()).unwrap();
        let specs = specs(1);
        let (first, second) = (day("2025-01-01"), day("2025-01-02"));
        let of = |day, chain| batch(day, &specs, &[Rec::new(day, "a", 5, (chain, 1, 0), 2)]);
        spill.write(vec![of(first, 0), of(second, 0), of(first, 1), of(second, 2)]).unwrap();
        spill.drop_chains(1);
        assert!(same(&spill.read_day(first).unwrap(), &[of(first, 0)]));
        assert!(same(&spill.read_day(second).unwrap(), &[of(second, 0)]));
        spill.drop_day(first);
        assert_eq!(spill.days().collect::<Vec<_>>(), [second]);
        spill.drop_day(second);
        assert_eq!(spill.file.lock().unwrap().metadata().unwrap().len(), 0);
        spill.write(vec![of(first, 3)]).unwrap();
        assert!(same(&spill.read_day(first).unwrap(), &[of(first, 3)]));
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "the file has no name");
    }
}
