//! A good lake, ways of damaging it, and what `verify` says of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, TimestampMicrosecondArray, UInt64Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::common::convlake::Convlake;
use crate::common::org::files;
use crate::common::simulate::Simulate;
use crate::common::{isolate, read, succeed, write};

pub(crate) const FROM: &str = "2025-03-01";
pub(crate) const TO: &str = "2025-03-05";
/// The day that is damaged.
pub(crate) const DAY: &str = "2025-03-02";
pub(crate) const NEXT: &str = "2025-03-03";
pub(crate) const DAY_MICROS: i64 = 86_400_000_000;

/// A good lake of four days, and the source that it is of.
pub(crate) struct Lab {
    pub(crate) convlake: Convlake,
    pub(crate) simulate: Simulate,
}

/// What `verify` said.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) code: Option<i32>,
    pub(crate) said: Value,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        Lab::at("2025-06-01T00:00:00Z", "query")
    }

    pub(crate) fn at(now: &str, protocol: &str) -> Lab {
        let simulate = simulate(now, 8);
        let convlake = Convlake::of(&simulate);
        convlake.export(protocol, FROM, TO, &["--rate-limit", "100000"]);
        let lab = Lab { convlake, simulate };
        let good = lab.verify(&[]);
        assert_eq!((good.code, &good.said["ok"], &good.said["days"]), (Some(0), &json!(true), &json!(4)), "{good:?}");
        lab
    }

    pub(crate) fn lake(&self) -> PathBuf {
        self.convlake.lake()
    }

    pub(crate) fn part(&self, table: &str, day: &str) -> PathBuf {
        self.lake().join(part(table, day))
    }

    pub(crate) fn verify(&self, more: &[&str]) -> Verdict {
        let lake = self.lake();
        let mut args = vec!["verify", lake.to_str().unwrap(), "--format", "json"];
        args.extend(more);
        let run = self.convlake.run(args);
        Verdict { code: run.code, said: serde_json::from_str(&run.stdout).expect(&run.stderr) }
    }

    /// Exactly these things are wrong; what `verify` prints makes them right.
    pub(crate) fn assert_named_and_repaired(&self, wanted: &[(&str, Option<&str>, Option<&str>)]) {
        let found = self.verify(&[]);
        assert_eq!(found.code, Some(65), "{found:#?}");
        assert_eq!(found.named(), wanted, "{found:#?}");
        self.repair();
        let after = self.verify(&[]);
        assert_eq!(after.code, Some(0), "{after:#?}");
    }

    /// Runs the commands as they are printed, in a shell that has the source's address in its environment.
    pub(crate) fn repair(&self) {
        let lake = self.lake();
        let printed = self.convlake.run(["verify", lake.to_str().unwrap()]);
        let commands = printed.stdout.split_once("To repair:\n").expect("commands").1;
        assert!(!commands.trim().is_empty(), "{}", printed.stdout);
        let mut shell = Command::new("sh");
        let binary = Path::new(env!("CARGO_BIN_EXE_convlake")).parent().unwrap();
        let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
        let home = self.convlake.path("home");
        fs::create_dir_all(&home).unwrap();
        isolate(&mut shell).args(["-e", "-c", commands]).envs(self.simulate.env()).env("PATH", path).env("HOME", home);
        shell.env("CONVLAKE_PROTOCOL", "query").env("CONVLAKE_RATE_LIMIT", "100000");
        succeed(&mut shell);
    }

    /// Changes the day's receipt.
    pub(crate) fn receipt(&self, day: &str, change: impl Fn(&mut Value)) {
        let path = self.record(day);
        let mut record: Value = serde_json::from_str(&read(&path)).unwrap();
        let receipts = record["receipts"].as_array_mut().unwrap();
        change(receipts.iter_mut().find(|receipt| receipt["day"] == day).unwrap());
        write(&path, &record.to_string());
    }

    /// The ledger's record of a day, and of those that were published together with it.
    pub(crate) fn record(&self, day: &str) -> PathBuf {
        let records = files(&self.lake().join("_convlake/ledger")).into_keys();
        let of_day = |path: &PathBuf| {
            let record: Value = serde_json::from_str(&read(path)).unwrap();
            record["receipts"].as_array().is_some_and(|receipts| receipts.iter().any(|receipt| receipt["day"] == day))
        };
        records.into_iter().find(of_day).expect("a record")
    }

    /// Puts other rows into a file, and lets the receipt agree with it: damage that no checksum tells.
    pub(crate) fn forge(&self, table: &str, day: &str, change: impl Fn(RecordBatch) -> RecordBatch) {
        let path = self.part(table, day);
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(&path).unwrap()).unwrap();
        let labels = reader.metadata().file_metadata().key_value_metadata().cloned();
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        let rows = change(concat_batches(&batches[0].schema(), &batches).unwrap());
        let properties = WriterProperties::builder().set_key_value_metadata(labels).set_coerce_types(true).build();
        let mut writer = ArrowWriter::try_new_with_options(
            Vec::new(),
            rows.schema(),
            ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true),
        )
        .unwrap();
        writer.write(&rows).unwrap();
        let bytes = writer.into_inner().unwrap();
        fs::write(&path, &bytes).unwrap();
        self.receipt(day, |receipt| {
            if table == "conversations" {
                receipt["counts"]["records"] = rows.num_rows().into();
                receipt["counts"]["conversations"] = rows.num_rows().into();
            }
            let files = receipt["files"].as_array_mut().unwrap();
            let entry = files.iter_mut().find(|file| file["table"] == table).unwrap();
            entry["rows"] = rows.num_rows().into();
            entry["bytes"] = bytes.len().into();
            entry["hash"] = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(&bytes)).into();
            entry["content"] = entry["hash"].clone();
        });
    }
}

impl Verdict {
    /// Kind, day and file of each finding.
    pub(crate) fn named(&self) -> Vec<(&str, Option<&str>, Option<&str>)> {
        let findings = self.said["findings"].as_array().unwrap().iter();
        findings.map(|f| (f["kind"].as_str().unwrap(), f["day"].as_str(), f["file"].as_str())).collect()
    }
}

pub(crate) fn simulate(now: &str, conversations_per_day: u32) -> Simulate {
    Simulate::with(conversations_per_day, &["--now", now, "--rate-limit", "0", "--latency", "0", "--late-changes"])
}

pub(crate) fn part(table: &str, day: &str) -> String {
    format!("{table}/date={day}/{table}.parquet")
}

pub(crate) fn rows(batch: &RecordBatch, rows: impl IntoIterator<Item = usize>) -> RecordBatch {
    let rows = UInt64Array::from_iter_values(rows.into_iter().map(|row| row as u64));
    take_record_batch(batch, &rows).unwrap()
}

pub(crate) fn with_starts(batch: &RecordBatch, start: impl Fn(i64) -> i64) -> RecordBatch {
    let index = batch.schema().index_of("conversation_start").unwrap();
    let starts = batch.column(index).as_primitive::<TimestampMicrosecondType>();
    let starts: TimestampMicrosecondArray = starts.iter().map(|at| at.map(&start)).collect();
    let mut columns = batch.columns().to_vec();
    columns[index] = Arc::new(starts.with_data_type(batch.column(index).data_type().clone()));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}
