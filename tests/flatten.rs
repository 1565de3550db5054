//! Flattening on recorded pages, and its promises on generated records: every record is in one place, every value is
//! in a column or in an `extra`, and the folded metrics are the sums of their emissions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use convlake::flatten::batch::{DayBatch, FlatPage};
use convlake::flatten::schema::{ColumnType, Fold, Source, Table};
use convlake::flatten::{Catalog, Flattener, Oddities};
use convlake::time::{Day, parse_micros};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| Arc::new(Catalog::builtin().unwrap()));
static FLATTENER: LazyLock<Flattener> = LazyLock::new(|| Flattener::new(Arc::clone(&CATALOG)).unwrap());

fn flatten(records: impl IntoIterator<Item = Bytes>) -> FlatPage {
    FLATTENER.flatten(0, 1, records.into_iter()).unwrap()
}

fn flatten_values<'v>(records: impl IntoIterator<Item = &'v Value>) -> FlatPage {
    flatten(records.into_iter().map(|record| Bytes::from(record.to_string())))
}

fn table(day: &DayBatch, name: &str) -> RecordBatch {
    day.tables[CATALOG.tables().iter().position(|table| table.name == name).unwrap()].rows.to_batch().unwrap()
}

fn ints(rows: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    rows.column_by_name(column).unwrap().as_primitive::<Int64Type>().iter().collect()
}

fn texts<'r>(rows: &'r RecordBatch, column: &str) -> Vec<Option<&'r str>> {
    rows.column_by_name(column).unwrap().as_string::<i32>().iter().collect()
}

/// The sample's records: a page's, or the one that it is.
fn sample(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/fixtures/samples/{name}", env!("CARGO_MANIFEST_DIR"));
    let page: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    match page.get("conversations") {
        Some(Value::Array(records)) => records.clone(),
        _ => vec![page],
    }
}

#[test]
fn recorded_pages_flatten_without_a_bad_record_and_without_a_rest() {
    for (name, expected) in [
        ("jobs_results_page_2024.json", [10, 53, 440, 55, 208, 135]),
        ("voice_inbound_2024.json", [1, 5, 0, 5, 19, 11]),
        ("webmessaging_excerpt_2024.json", [1, 4, 2, 5, 63, 6]),
    ] {
        let page = flatten_values(&sample(name));
        assert_eq!((page.bad.len(), &page.oddities), (0, &Oddities::default()), "{name}");
        let rows = |of: &str| page.days.iter().map(|day| table(day, of).num_rows()).sum::<usize>();
        let tables = ["conversations", "participants", "participant_attributes", "sessions", "metrics", "segments"];
        assert_eq!(tables.map(rows), expected, "{name}");
        for day in &page.days {
            for (definition, rows) in CATALOG.tables().iter().zip(&day.tables) {
                let batch = rows.rows.to_batch().unwrap();
                let extra = batch.column_by_name("extra").unwrap();
                assert_eq!(extra.null_count(), extra.len(), "{name}: {}", definition.name);
            }
        }
    }
}

#[test]
fn reduced_examples_keep_what_does_not_fit() {
    for name in ["blueprint_sql_conversation1.json", "blueprint_sql_conversation2.json"] {
        let records = sample(name);
        let page = flatten_values(&records);
        assert_eq!((page.days.len(), page.bad.len()), (1, 0), "{name}");
        // Their authors shifted dates by hand: `2021-04-2T15:30:51.418Z` is no timestamp.
        let text = records[0].to_string();
        let unpadded = text.matches("-04-2T").count() as u64;
        let refused: u64 = page.oddities.wrong_type.values().sum();
        assert!(refused >= unpadded, "{name}: {:?}", page.oddities);
        let extras: usize = page.days[0]
            .tables
            .iter()
            .map(|t| {
                texts(&t.rows.to_batch().unwrap(), "extra")
                    .iter()
                    .flatten()
                    .map(|e| e.matches("-04-2T").count())
                    .sum::<usize>()
            })
            .sum();
        assert_eq!(extras as u64, unpadded, "{name}");
    }
}

#[test]
fn a_recorded_call_reads_as_it_was() {
    let page = flatten_values(&sample("voice_inbound_2024.json"));
    let sessions = table(&page.days[0], "sessions");
    let (handle, talk, held, acw) = (
        ints(&sessions, "t_handle_ms"),
        ints(&sessions, "t_talk_complete_ms"),
        ints(&sessions, "t_held_complete_ms"),
        ints(&sessions, "t_acw_ms"),
    );
    let answered: Vec<usize> = (0..handle.len()).filter(|&row| handle[row].is_some()).collect();
    assert!(!answered.is_empty());
    for row in answered {
        let parts: i64 = [&talk, &held, &acw].iter().filter_map(|column| column[row]).sum();
        assert_eq!(handle[row], Some(parts));
        assert_eq!(texts(&sessions, "purpose")[row], Some("agent"));
        assert!(texts(&sessions, "user_id")[row].is_some() && texts(&sessions, "queue_id")[row].is_some());
    }
}

// ---- generated records -------------------------------------------------------------------------------------------

/// Any JSON value, small.
fn any_json() -> impl Strategy<Value = Value> {
    let name = prop_oneof![
        3 => prop::sample::select(vec!["conversationId", "conversationStart", "participants", "sessions", "metrics", "flow", "total", "attributes", "name", "value"]).prop_map(str::to_owned),
        1 => ".{0,6}",
    ];
    scalar().prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::vec((name.clone(), inner), 0..6)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Scalars that are mostly distinct, so that a lost one is noticed.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => "[a-z]{8}".prop_map(Value::from),
        3 => any::<i64>().prop_map(Value::from),
        1 => any::<i32>().prop_map(|n| number(&format!("{n}.5"))),
        1 => any::<u64>().prop_map(|n| number(&format!("{n}00000000000000000000"))),
        1 => any::<u32>().prop_map(|n| number(&format!("{n}e+999"))),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        2 => (0u32..28, 0u32..1_000_000).prop_map(|(day, micros)| format!("2024-02-{:02}T03:04:05.{micros:06}Z", day + 1).into()),
        1 => ".{0,4}".prop_map(|text| format!("2024-{text}").into()),
    ]
}

/// A value that may or may not fit any column.
fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => scalar(),
        1 => prop::collection::vec("[a-z]{8}", 0..4).prop_map(Value::from),
        1 => prop::collection::vec(any::<i64>(), 0..4).prop_map(Value::from),
        1 => prop::collection::vec(scalar(), 0..4).prop_map(Value::Array),
        1 => ("[a-z]{8}", scalar()).prop_map(|(name, value)| json!({ name: value })),
    ]
}

/// Puts `value` at a dotted path, unless something that is no object is in the way.
fn put(object: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            object.entry(path).or_insert(value);
        }
        Some((name, rest)) => {
            if let Value::Object(inner) = object.entry(name).or_insert_with(|| json!({})) {
                put(inner, rest, value);
            }
        }
    }
}

/// Objects of `table` with some of its fields, unknown ones, and rows of the tables below.
fn object(table: &'static Table) -> BoxedStrategy<Value> {
    let paths: Vec<String> = table
        .columns
        .iter()
        .filter_map(
            |column| if let Source::Field(paths) = &column.source { Some(paths.as_slice().to_vec()) } else { None },
        )
        .flatten()
        .filter(|path| !["conversationId", "conversationStart"].contains(&path.as_str()))
        .collect();
    let path = prop_oneof![8 => prop::sample::select(paths), 1 => "new[A-Z][a-z]{6}", 1 => "flow\\.new[a-z]{4}", 1 => "metrics\\.new[a-z]{4}"];
    let fields = prop::collection::vec((path, leaf()), 0..8);
    let emission = table.emission.is_some().then(|| {
        let name = prop_oneof![4 => prop::sample::select(metric_names()), 1 => Just("xNewMetric".to_owned())];
        (name, any::<i64>())
            .prop_map(|(name, value)| vec![("name".to_owned(), json!(name)), ("value".to_owned(), json!(value))])
    });
    let emission = emission.map_or(Just(Vec::new()).boxed(), Strategy::boxed);
    let children: Vec<_> = below(table)
        .map(|(path, child)| {
            let rows = if child.is_map() {
                prop::collection::hash_map("[a-z]{3}", leaf(), 0..3)
                    .prop_map(|map| map.into_iter().collect::<Map<_, _>>().into())
                    .boxed()
            } else {
                let element = prop_oneof![9 => object(child), 1 => leaf()];
                prop::collection::vec(element, 0..3).prop_map(Value::Array).boxed()
            };
            prop_oneof![6 => rows, 1 => leaf()].prop_map(move |rows| (path.clone(), rows)).boxed()
        })
        .collect();
    (emission, children, fields)
        .prop_map(|(emission, children, fields)| {
            let mut object = Map::new();
            for (path, value) in emission.into_iter().chain(children).chain(fields) {
                put(&mut object, &path, value);
            }
            Value::Object(object)
        })
        .boxed()
}

/// The tables right below `table`, with the paths of their arrays.
fn below(table: &'static Table) -> impl Iterator<Item = (String, &'static Table)> {
    let tables = LazyLock::force(&CATALOG).tables();
    let path = |from: &Table, to: &Table| match from.place.as_str() {
        "" => Some(to.place.clone()).filter(|place| !place.is_empty()),
        place => to.place.strip_prefix(place).and_then(|rest| rest.strip_prefix('.')).map(str::to_owned),
    };
    tables.iter().filter_map(move |child| {
        let between = tables.iter().any(|other| path(table, other).is_some() && path(other, child).is_some());
        path(table, child).filter(|_| !between).map(|path| (path, child))
    })
}

fn metric_names() -> Vec<String> {
    let root = &LazyLock::force(&CATALOG).tables()[0];
    root.columns
        .iter()
        .filter_map(|c| if let Source::Metric(name) = &c.source { Some(name.clone()) } else { None })
        .collect()
}

fn conversations() -> impl Strategy<Value = Vec<Value>> {
    let start = (1u32..4, 0u32..86_400).prop_map(|(day, second)| {
        format!("2025-01-{day:02}T{:02}:{:02}:{:02}.000Z", second / 3600, second / 60 % 60, second % 60)
    });
    let record =
        (start, "[a-z]{3}", object(&LazyLock::force(&CATALOG).tables()[0])).prop_map(|(start, id, mut record)| {
            put(record.as_object_mut().unwrap(), "conversationId", id.into());
            put(record.as_object_mut().unwrap(), "conversationStart", start.into());
            record
        });
    prop::collection::vec(record, 1..5)
}

// ---- what is looked for, and what is found -------------------------------------------------------------------------

/// Scalars, each as the texts it may be found under, with their number.
#[derive(Default)]
struct Scalars(HashMap<String, usize>);

impl Scalars {
    fn add(&mut self, key: String) {
        *self.0.entry(key).or_default() += 1;
    }

    /// Adds every scalar in `value`; a timestamp or an integer counts as its number, as that is how columns hold them.
    fn add_json(&mut self, value: &Value) {
        match value {
            Value::Null => {}
            Value::Bool(boolean) => self.add(boolean.to_string()),
            Value::Number(digits) => self.add_number(digits.as_str()),
            Value::String(text) => match parse_micros(text) {
                Some(micros) => self.add(format!("at {micros}")),
                None => self.add(format!("text {text}")),
            },
            Value::Array(items) => items.iter().for_each(|item| self.add_json(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.add_json(field)),
        }
    }

    /// Doubles hold integers too, rounded: all numbers are compared as doubles, those that overflow by their digits.
    fn add_number(&mut self, digits: &str) {
        let double: f64 = digits.parse().unwrap();
        self.add(if double.is_finite() { format!("number {double:e}") } else { digits.to_owned() });
    }

    fn add_column(&mut self, name: &str, array: &ArrayRef) {
        match array.data_type() {
            DataType::Boolean => array.as_boolean().iter().flatten().for_each(|boolean| self.add(boolean.to_string())),
            DataType::Int64 => {
                array.as_primitive::<Int64Type>().iter().flatten().for_each(|int| self.add_number(&int.to_string()));
            }
            DataType::Float64 => {
                array
                    .as_primitive::<Float64Type>()
                    .iter()
                    .flatten()
                    .for_each(|double| self.add_number(&double.to_string()));
            }
            DataType::Timestamp(..) => {
                let at = array.as_primitive::<TimestampMicrosecondType>();
                at.iter().flatten().for_each(|micros| self.add(format!("at {micros}")));
            }
            DataType::Utf8 if name == "extra" => {
                array
                    .as_string::<i32>()
                    .iter()
                    .flatten()
                    .for_each(|json| self.add_json(&serde_json::from_str(json).unwrap()));
            }
            DataType::Utf8 => array.as_string::<i32>().iter().flatten().for_each(|text| self.add_json(&text.into())),
            DataType::List(_) => self.add_column(name, array.as_list::<i32>().values()),
            DataType::Map(..) => self.add_column(name, array.as_map().values()),
            other => panic!("a column of type {other}"),
        }
    }
}

proptest! {
    #[test]
    fn any_json_is_a_row_or_a_bad_record(records in prop::collection::vec(any_json(), 0..8)) {
        let page = flatten_values(&records);
        prop_assert_eq!(page.days.iter().map(|day| day.keys.len()).sum::<usize>() + page.bad.len(), records.len());
    }

    #[test]
    fn any_bytes_are_a_row_or_a_bad_record(records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let page = flatten(records.iter().map(|record| Bytes::copy_from_slice(record)));
        prop_assert_eq!(page.days.iter().map(|day| day.keys.len()).sum::<usize>() + page.bad.len(), records.len());
    }

    #[test]
    fn batches_are_consistent(records in conversations()) {
        let page = flatten_values(&records);
        prop_assert!(page.bad.is_empty());
        prop_assert_eq!(page.days.iter().map(|day| day.keys.len()).sum::<usize>(), records.len());
        prop_assert!(page.days.is_sorted_by_key(|day| day.day));
        for day in &page.days {
            prop_assert!(day.keys.is_sorted_by_key(|key| key.position));
            prop_assert_eq!(table(day, "conversations").num_rows(), day.keys.len());
            for (rows, schema) in day.tables.iter().zip(CATALOG.schemas()) {
                prop_assert_eq!(rows.rows.schema(), schema);
                prop_assert_eq!((rows.offsets.len(), rows.offsets[0]), (day.keys.len() + 1, 0));
                prop_assert_eq!(rows.offsets[day.keys.len()] as usize, rows.rows.len());
                let batch = rows.rows.to_batch().unwrap();
                let ids = texts(&batch, "conversation_id");
                let starts = batch.column_by_name("conversation_start").unwrap().as_primitive::<TimestampMicrosecondType>();
                for (key, range) in day.keys.iter().zip(rows.offsets.windows(2)) {
                    prop_assert_eq!(Day::of_micros(key.start), Some(day.day));
                    let range = range[0] as usize..range[1] as usize;
                    prop_assert!(ids[range.clone()].iter().all(|id| *id == Some(&*key.id)));
                    prop_assert!(starts.values()[range].iter().all(|start| *start == key.start));
                }
            }
        }
    }

    #[test]
    fn every_scalar_is_in_a_column_or_in_an_extra(records in conversations()) {
        let (mut sent, mut kept) = (Scalars::default(), Scalars::default());
        records.iter().for_each(|record| sent.add_json(record));
        for day in &flatten_values(&records).days {
            for (definition, rows) in CATALOG.tables().iter().zip(&day.tables) {
                // Copies and sums would hide a loss.
                let batch = rows.rows.to_batch().unwrap();
                let own = definition.columns.iter().zip(batch.columns()).filter(|(column, _)| match column.source {
                    Source::Field(_) | Source::Value | Source::Extra => true,
                    Source::OtherMetrics { .. } | Source::OtherDecimals { .. } | Source::OtherTexts => {
                        definition.name == "conversations"
                    }
                    _ => false,
                });
                own.for_each(|(column, array)| kept.add_column(&column.name, array));
            }
        }
        for (scalar, &times) in &sent.0 {
            prop_assert!(kept.0.get(scalar).is_some_and(|&found| found >= times), "{} is lost", scalar);
        }
    }

    #[test]
    fn folded_columns_are_the_folds_of_the_emissions(records in conversations()) {
        for day in &flatten_values(&records).days {
            let emissions = table(day, "metrics");
            let (names, values) = (texts(&emissions, "name"), ints(&emissions, "value"));
            let offsets = &day.tables[CATALOG.tables().iter().position(|t| t.name == "metrics").unwrap()].offsets;
            for column in &CATALOG.tables()[0].columns {
                let Source::Metric(metric) = &column.source else { continue };
                let folded = ints(&table(day, "conversations"), &column.name);
                for (row, range) in offsets.windows(2).enumerate() {
                    let of_metric = (range[0] as usize..range[1] as usize).filter(|&at| names[at] == Some(metric)).filter_map(|at| values[at]);
                    let expected = match column.fold.unwrap() {
                        Fold::Max => of_metric.max(),
                        Fold::Sum => of_metric.map(i128::from).reduce(|a, b| a + b).and_then(|sum| i64::try_from(sum).ok()),
                    };
                    prop_assert_eq!(folded[row], expected, "{}", metric);
                }
            }
        }
    }
}

#[test]
fn the_generator_reaches_every_table_and_every_kind_of_column() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut rows: HashMap<&str, usize> = HashMap::new();
    let mut kinds: HashMap<ColumnType, usize> = HashMap::new();
    for _ in 0..64 {
        let records = conversations().new_tree(&mut runner).unwrap().current();
        for day in &flatten_values(&records).days {
            for (definition, table) in CATALOG.tables().iter().zip(&day.tables) {
                *rows.entry(&definition.name).or_default() += table.rows.len();
                for (column, array) in definition.columns.iter().zip(table.rows.to_batch().unwrap().columns()) {
                    *kinds.entry(column.kind).or_default() += array.len() - array.null_count();
                }
            }
        }
    }
    assert_eq!(rows.values().filter(|&&count| count > 0).count(), CATALOG.tables().len(), "{rows:?}");
    assert_eq!(kinds.values().filter(|&&count| count > 0).count(), 10, "{kinds:?}");
}
