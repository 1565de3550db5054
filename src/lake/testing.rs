//! Small days for the tests of the lake.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, Int64Builder, ListBuilder, MapBuilder, MapFieldNames, RecordBatch, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use proptest::prelude::*;
use serde_json::Map;
use uuid::Uuid;

use super::assemble::{Assembled, SortedTable, TableSpec};
use super::day_rows::DayRows;
use super::forgotten::Forgotten;
use super::layout::TableName;
use super::open::Lake;
use super::receipt::{Counts, FileEntry, Receipt, State, VERSION};
use super::versions::Rule;
use crate::error::Result;
use crate::flatten::batch::{DayBatch, Position, RecordKey, TableRows};
use crate::flatten::rows::Rows;
use crate::plan::Source;
use crate::time::{Day, Interval, Timestamp, parse_timestamp};

pub(crate) fn day(text: &str) -> Day {
    text.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    parse_timestamp(text).unwrap()
}

/// Makes the lake, as the first thing does that stays in it.
pub(crate) fn bind(lake: &Lake) -> Result<()> {
    lake.bind(&lake.committing()?)
}

/// The rows of an encoded file.
pub(crate) fn read(file: &Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
    let batches: Vec<_> = reader.map(|batch| batch.unwrap()).collect();
    concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// What its footer and its page index say.
pub(crate) fn metadata(file: &Bytes) -> ParquetMetaData {
    ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Optional).parse_and_finish(file).unwrap()
}

/// A receipt of a whole day with one file.
pub(crate) fn receipt(date: &str, observed_at: &str, run: u128) -> Receipt {
    let file = FileEntry {
        table: TableName::new("conversations").unwrap(),
        path: format!("conversations/date={date}/conversations.parquet"),
        uuid: Uuid::from_u128(7),
        rows: 3,
        bytes: 1000,
        schema: 1,
        content: "00".to_owned(),
        hash: "01".to_owned(),
        other: Map::new(),
    };
    Receipt {
        version: VERSION,
        day: day(date),
        era: 0,
        run: Uuid::from_u128(run).into(),
        generation: 0,
        observer: None,
        revision: 0,
        clock_skew: None,
        observed_at: at(observed_at),
        recorded_at: at(observed_at),
        covers: day(date).interval(),
        state: State::Provisional,
        source: Source::Jobs,
        availability: None,
        counts: Counts { records: 3, conversations: 3, ..Counts::default() },
        vanished: Vec::new(),
        files: vec![file],
        merged: false,
        other: Map::new(),
    }
}

/// One conversation: `children` rows in every child table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rec {
    pub(crate) id: String,
    pub(crate) start: i64,
    pub(crate) position: Position,
    pub(crate) children: usize,
}

impl Rec {
    /// It starts `second` seconds into `day`.
    pub(crate) fn new(day: Day, id: &str, second: i64, place: (u32, u32, u32), children: usize) -> Rec {
        let position = Position { chain: place.0, page: place.1, index: place.2 };
        Rec { id: id.to_owned(), start: day.start().timestamp_micros() + second * 1_000_000, position, children }
    }
}

/// Up to `max` records of `day` in any order of arrival, with repeated ids and distinct positions.
pub(crate) fn recs(day: Day, max: usize) -> impl Strategy<Value = Vec<Rec>> {
    let one = (0u32..20, 0i64..86_400, 0usize..4);
    (proptest::collection::vec(one, 0..max), any::<u64>()).prop_map(move |(records, seed)| {
        let mut records: Vec<Rec> = records
            .into_iter()
            .enumerate()
            .map(|(n, (id, second, children))| {
                let n = n as u32;
                Rec::new(day, &format!("id-{id}"), second, (n / 16, n / 4 % 4 + 1, n % 4), children)
            })
            .collect();
        let turn = if records.is_empty() { 0 } else { seed as usize % records.len() };
        records.rotate_left(turn);
        records
    })
}

/// `conversations` and `children` child tables; together they have every type that the lake writes.
pub(crate) fn specs(children: usize) -> Vec<TableSpec> {
    let spec = |name: &str, schema| TableSpec { name: TableName::new(name).unwrap(), schema, version: 1 };
    let child = |n: usize| spec(&format!("child_{n}"), child_schema());
    [spec("conversations", conversation_schema())].into_iter().chain((0..children).map(child)).collect()
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn conversation_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("conversation_id", DataType::Utf8, false),
        Field::new("conversation_start", time_type(), false),
        Field::new("t_talk_ms", DataType::Int64, true).with_metadata([("unit".to_owned(), "ms".to_owned())]),
        Field::new("origin", DataType::Utf8, true),
        Field::new("never", DataType::Utf8, true),
    ]))
}

fn child_schema() -> SchemaRef {
    let item = Field::new("element", DataType::Utf8, true);
    let entries =
        Fields::from(vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Int64, true)]);
    let map = DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(entries), false)), false);
    Arc::new(Schema::new(vec![
        Field::new("conversation_id", DataType::Utf8, false),
        Field::new("conversation_start", time_type(), false),
        Field::new("child_index", DataType::Int64, false),
        Field::new("codes", DataType::List(Arc::new(item)), true),
        Field::new("metrics_other", map, true),
    ]))
}

fn ids(recs: &[&Rec]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(recs.iter().map(|r| &r.id)))
}

fn starts(recs: &[&Rec]) -> ArrayRef {
    let starts = TimestampMicrosecondArray::from_iter_values(recs.iter().map(|r| r.start));
    Arc::new(starts.with_timezone("UTC"))
}

fn conversation_rows(recs: &[Rec]) -> TableRows {
    let all: Vec<&Rec> = recs.iter().collect();
    let talk: Int64Array = recs.iter().map(|r| (r.children > 0).then_some(i64::from(r.position.index))).collect();
    let origin: StringArray = recs.iter().map(|r| (r.children != 1).then_some("inbound")).collect();
    let never: StringArray = recs.iter().map(|_| None::<&str>).collect();
    let columns = vec![ids(&all), starts(&all), Arc::new(talk), Arc::new(origin), Arc::new(never)];
    let rows = RecordBatch::try_new(conversation_schema(), columns).unwrap();
    TableRows { rows: Arc::new(rows.into()), offsets: (0..=recs.len() as u32).collect() }
}

fn child_rows(recs: &[Rec]) -> TableRows {
    let all: Vec<&Rec> = recs.iter().flat_map(|r| std::iter::repeat_n(r, r.children)).collect();
    let index: Int64Array = recs.iter().flat_map(|r| 0..r.children as i64).collect();
    let mut codes = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut other = MapBuilder::new(Some(names), StringBuilder::new(), Int64Builder::new());
    for (rec, index) in all.iter().zip(index.values()) {
        for code in 0..*index {
            codes.values().append_value(format!("{}-{code}", rec.id));
            other.keys().append_value(format!("m{code}"));
            other.values().append_value(rec.start);
        }
        codes.append(*index != 1);
        other.append(*index != 2).unwrap();
    }
    // As they come from flattening: what rows repeat from the object above stands once.
    let once = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
    let ids = cast(&ids(&all), &once).unwrap();
    let columns: [ArrayRef; 5] =
        [ids, starts(&all), Arc::new(index), Arc::new(codes.finish()), Arc::new(other.finish())];
    let columns = columns.into_iter().map(|array| (array.null_count() < array.len()).then_some(array)).collect();
    let rows = Rows::new(child_schema(), all.len(), columns).unwrap();
    let mut end = 0;
    let ends = recs.iter().map(|r| {
        end += r.children as u32;
        end
    });
    TableRows { rows: Arc::new(rows), offsets: std::iter::once(0).chain(ends).collect() }
}

/// The batch of `recs`, all of `day`, for tables made by [`specs`].
pub(crate) fn batch(day: Day, specs: &[TableSpec], recs: &[Rec]) -> DayBatch {
    let keys = recs.iter().map(|r| RecordKey { start: r.start, id: r.id.as_str().into(), position: r.position });
    let children = specs[1..].iter().map(|_| child_rows(recs));
    DayBatch { day, keys: keys.collect(), tables: std::iter::once(conversation_rows(recs)).chain(children).collect() }
}

/// All rows of `table`.
pub(crate) fn whole(table: &SortedTable<'_>) -> RecordBatch {
    let batches: Vec<RecordBatch> = table
        .pieces()
        .map(|p| p.map(|p| p.rows.to_batch().unwrap().slice(p.range.start, p.range.len())).unwrap())
        .collect();
    arrow::compute::concat_batches(&table.spec.schema, &batches).unwrap()
}

/// The day of `rows`, with nothing to forget.
pub(crate) fn assemble<'a>(
    specs: &'a [TableSpec],
    rows: &'a DayRows,
    covers: &Interval,
) -> crate::error::Result<Assembled<'a>> {
    super::assemble::assemble(specs, rows, covers, &Forgotten::default(), Rule::Position)
}

/// The generation of what is observed in that hour of a test.
pub(crate) fn generation(hour: i64) -> u64 {
    u64::try_from(hour + 1).unwrap()
}

pub(crate) fn run_id(n: u128) -> super::layout::RunId {
    Uuid::from_u128(n).into()
}

pub(crate) fn identity() -> super::identity::Identity {
    super::identity::Identity {
        family: super::identity::Family::Genesys,
        source: "demo".to_owned(),
        organization: None,
        selection: super::identity::Selection::default(),
    }
}
