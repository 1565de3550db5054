//! Records by the schemas: mostly of the right shape, in any order of fields, with every kind of odd value in between.

use std::path::Path;

use convlake::flatten::Catalog;
use convlake::flatten::schema::{ColumnType, Source, Table};

use super::dice::Dice;

/// A JSON value as it is to be written: fields may come twice, scalars are any text.
enum Json {
    Text(String),
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
}

const ODD: [&str; 61] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "7",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "123456789012345678",
    "1234567890123456789",
    "12345678901234567890123",
    "1.0",
    "1200.0",
    "-1.2e3",
    "9223372036854775807.0",
    "92233720368547758.08e2",
    "120000000000000000000e-2",
    "0.0e-7",
    "\"cut \\ud83d\"",
    "\"\\ude00\\ud83d\\ud83d\\ude00\"",
    "[\"a\",\"\\udbff\"]",
    "{\"a\\ud83d\":\"\\udfff\",\"b\":[\"\\ud83d\",{}]}",
    "\"2025-01-02 03:04:05.678000+00:00\"",
    "0.5",
    "1e5",
    "1E5",
    "1E+05",
    "2.50e-3",
    "1e400",
    "-1e400",
    "1e-400",
    "[]",
    "{}",
    "[null]",
    "[1,null,2]",
    "[\"a\",null]",
    "[\"a\",7]",
    "[[{}]]",
    "{\"total\":5}",
    "{\"count\":2,\"min\":1,\"max\":4,\"sum\":5.0,\"total\":null}",
    "{\"total\":0.25,\"sum\":7}",
    "[{\"metric\":\"handleDuration\",\"stats\":{\"sum\":7,\"count\":1}},{\"metric\":\"x\\ud83d\",\"qualifier\":null,\"stats\":{\"sum\":0.5}}]",
    "[{\"metric\":\"x\",\"stats\":{}},{\"metric\":\"x\",\"stats\":{\"sum\":1}}]",
    "[{\"metric\":\"x\",\"stats\":{\"total\":1e300},\"more\":1}]",
    "{\"total\":\"5\",\"a\":1}",
    "{\"a\":1,\"a\":{\"b\":[1,{}],\"b\":2}}",
    "{\"total\":1,\"to\\u0074al\":2,\"z\":null}",
    "{\"$serde\":\"5\"}",
    "\"\"",
    "\"a\\u0000b\\/\\\"\"",
    "\"\\ud83d\\ude00 \u{1F600} \u{e9}\\u00e9\"",
    "\"2025-01-02T03:04:05Z\"",
    "\"2025-01-02T03:04:05.1234567Z\"",
    "\"2025-01-02t03:04:05.123+01:30\"",
    "\"2024-02-30T00:00:00.000Z\"",
    "\"2016-12-31T23:59:60.000Z\"",
    "\"2021-04-2T15:30:51.418Z\"",
    "\"0001-01-01T00:00:00.000Z\"",
];

/// The records in the recorded pages.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/samples");
    let mut records = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let text = std::fs::read_to_string(path).unwrap();
        let page: serde_json::Value = serde_json::from_str(&text).unwrap();
        match page.get("conversations").and_then(|records| records.as_array()) {
            Some(page) => records.extend(page.iter().map(|record| record.to_string().into_bytes())),
            None => records.push(text.into_bytes()),
        }
    }
    records
}

/// A record of the first of these tables.
pub(crate) fn record(catalog: &Catalog, dice: &mut Dice) -> Vec<u8> {
    static ALL: std::sync::LazyLock<Catalog> = std::sync::LazyLock::new(|| Catalog::builtin().unwrap());
    let root = &catalog.tables()[0];
    let tables = if root.name == "conversations" { ALL.tables() } else { catalog.tables() };
    let mut fields = fields(tables, &tables[0], dice);
    let own = |fields: &mut Vec<(String, Json)>, name: &str, value: String| {
        fields.retain(|(known, _)| known != name);
        fields.push((name.to_owned(), Json::Text(value)));
    };
    if !dice.one_in(20) {
        let id = format!("\"c{}\"", dice.below(50));
        own(&mut fields, if root.name == "conversations" { "conversationId" } else { "id" }, id);
    }
    if !dice.one_in(20) {
        let start = timestamp(dice);
        own(&mut fields, "conversationStart", start);
    }
    finish(&mut fields, dice);
    if dice.one_in(4) {
        fields.iter_mut().for_each(|field| python(field, dice));
    }
    let mut text = String::new();
    let spaced = dice.one_in(4);
    write(&Json::Object(fields), spaced, dice, &mut text);
    text.into_bytes()
}

/// Writes a field as Python's SDK would, mostly.
fn python((name, value): &mut (String, Json), dice: &mut Dice) {
    if !dice.one_in(20) {
        let capital = |char: char| match char {
            'A'..='Z' => format!("_{}", char.to_ascii_lowercase()),
            char => char.to_string(),
        };
        *name = name.chars().map(capital).collect();
    }
    match value {
        Json::Object(fields) => fields.iter_mut().for_each(|field| python(field, dice)),
        Json::Array(items) => {
            for item in items {
                if let Json::Object(fields) = item {
                    fields.iter_mut().for_each(|field| python(field, dice));
                }
            }
        }
        Json::Text(text) if text.starts_with("\"2025-01-0") && text.ends_with("Z\"") && !dice.one_in(6) => {
            *text = text.replace('T', " ").replace('Z', "000+00:00");
        }
        Json::Text(_) => {}
    }
}

fn timestamp(dice: &mut Dice) -> String {
    let (day, hour, second) = (1 + dice.below(4), dice.below(24), dice.below(60));
    format!("\"2025-01-{day:02}T{hour:02}:30:{second:02}.{:03}Z\"", dice.below(1000))
}

/// The fields of an object of `table`, and the rows below it.
fn fields(tables: &[Table], table: &Table, dice: &mut Dice) -> Vec<(String, Json)> {
    let mut fields = Vec::new();
    let density = 1 + dice.below(30);
    for column in &table.columns {
        let Source::Field(paths) = &column.source else { continue };
        for path in paths.as_slice() {
            if dice.one_in(density) {
                let value = if dice.one_in(12) { odd(dice) } else { Json::Text(fitting(column.kind, dice)) };
                put(&mut fields, path, value);
            }
        }
    }
    for path in &table.ignored {
        if dice.one_in(2) {
            put(&mut fields, path, odd(dice));
        }
    }
    if table.emission.is_some() {
        let metrics: Vec<&str> = tables[0]
            .columns
            .iter()
            .filter_map(|c| if let Source::Metric(name) = &c.source { Some(name.as_str()) } else { None })
            .collect();
        // Few names often, so that sums overflow.
        let likely = if dice.one_in(16) { &metrics[..2] } else { &metrics };
        let name = if dice.one_in(8) { "xNew" } else { dice.pick(likely) };
        put(&mut fields, "name", Json::Text(format!("\"{name}\"")));
        let value = if dice.one_in(3) { i64::MAX } else { dice.below(9) as i64 };
        put(&mut fields, "value", Json::Text(value.to_string()));
    }
    if dice.one_in(6) {
        let name = *dice.pick(&[
            "brandNew",
            "flow.brandNew",
            "metrics.fooDuration",
            "metrics.bar",
            "metrics",
            "mediaType",
            "9d7f",
            "a.b.c",
            "flow",
            "division.new",
        ]);
        put(&mut fields, name, odd(dice));
    }
    for child in tables.iter().filter(|child| is_right_below(tables, table, child)) {
        let path = child.place.strip_prefix(table.place.as_str()).unwrap().trim_start_matches('.');
        let rows = match dice.below(12) {
            0 => odd(dice),
            1..4 => continue,
            _ if child.is_map() => Json::Object((0..dice.below(4)).map(|n| (format!("k{n}"), entry(dice))).collect()),
            _ => Json::Array((0..dice.below(4)).map(|_| element(tables, child, dice)).collect()),
        };
        put(&mut fields, path, rows);
    }
    finish(&mut fields, dice);
    fields
}

fn element(tables: &[Table], table: &Table, dice: &mut Dice) -> Json {
    if dice.one_in(12) { odd(dice) } else { Json::Object(fields(tables, table, dice)) }
}

fn entry(dice: &mut Dice) -> Json {
    if dice.one_in(4) { odd(dice) } else { Json::Text(fitting(ColumnType::String, dice)) }
}

fn is_right_below(tables: &[Table], above: &Table, table: &Table) -> bool {
    let holds = |above: &Table, table: &Table| match above.place.as_str() {
        "" => !table.place.is_empty(),
        place => table.place.strip_prefix(place).is_some_and(|rest| rest.starts_with('.')),
    };
    holds(above, table) && !tables.iter().any(|between| holds(above, between) && holds(between, table))
}

/// Shuffles fields, and may repeat one with another value.
fn finish(fields: &mut Vec<(String, Json)>, dice: &mut Dice) {
    if !fields.is_empty() && dice.one_in(16) {
        let name = fields[dice.below(fields.len())].0.clone();
        fields.push((name, odd(dice)));
    }
    if dice.one_in(2) {
        for last in (1..fields.len()).rev() {
            fields.swap(last, dice.below(last + 1));
        }
    }
}

fn odd(dice: &mut Dice) -> Json {
    Json::Text((*dice.pick(&ODD)).to_owned())
}

fn fitting(kind: ColumnType, dice: &mut Dice) -> String {
    match kind {
        ColumnType::Timestamp => timestamp(dice),
        ColumnType::Int64 if dice.one_in(12) => format!("{}.0", dice.below(1000)),
        ColumnType::Int64 => (dice.any() as i64 >> dice.below(64)).to_string(),
        ColumnType::Double => format!("{}.{}", dice.below(100), dice.below(100)),
        ColumnType::Boolean => dice.one_in(2).to_string(),
        ColumnType::String if dice.one_in(40) => "\"\\ud83d cut \\ud83d\"".to_owned(),
        ColumnType::String if dice.one_in(6) => "\"caf\u{e9} \\n \\\"q\\\" \\u00e4\"".to_owned(),
        ColumnType::String => format!("\"{:0width$x}\"", dice.any(), width = dice.below(40)),
        ColumnType::StringList => format!("[\"a\",null,\"{}\"]", dice.below(9)),
        ColumnType::Int64List => format!("[{},{}]", dice.below(9), dice.below(99)),
        ColumnType::Int64Map | ColumnType::DoubleMap | ColumnType::StringMap => "{}".to_owned(),
    }
}

/// Puts `value` at a dotted path, unless something that is no object is in the way.
fn put(fields: &mut Vec<(String, Json)>, path: &str, value: Json) {
    let Some((name, rest)) = path.split_once('.') else {
        if !fields.iter().any(|(known, _)| known == path) {
            fields.push((path.to_owned(), value));
        }
        return;
    };
    if !fields.iter().any(|(known, _)| known == name) {
        fields.push((name.to_owned(), Json::Object(Vec::new())));
    }
    if let Some((_, Json::Object(inner))) = fields.iter_mut().find(|(known, _)| known == name) {
        put(inner, rest, value);
    }
}

fn write(json: &Json, spaced: bool, dice: &mut Dice, out: &mut String) {
    let space = |dice: &mut Dice, out: &mut String| {
        if spaced && dice.one_in(3) {
            out.push_str(dice.pick::<&str>(&[" ", "\n", "\t ", "\r\n  "]));
        }
    };
    space(dice, out);
    match json {
        Json::Text(text) => out.push_str(text),
        Json::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                write(item, spaced, dice, out);
            }
            space(dice, out);
            out.push(']');
        }
        Json::Object(fields) => {
            out.push('{');
            for (place, (name, value)) in fields.iter().enumerate() {
                if place > 0 {
                    out.push(',');
                }
                space(dice, out);
                match name.chars().next() {
                    Some(first) if dice.one_in(50) => {
                        out.push_str(&format!("\"\\u{:04x}{}\"", u32::from(first), &name[first.len_utf8()..]));
                    }
                    _ => out.push_str(&format!("\"{name}\"")),
                }
                space(dice, out);
                out.push(':');
                write(value, spaced, dice, out);
            }
            space(dice, out);
            out.push('}');
        }
    }
    space(dice, out);
}
