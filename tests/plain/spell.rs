//! What a record says, whatever its spelling: names in snake case are the API's, times may have a space in them, and
//! half a character is U+FFFD, counted by the column that it comes into.

use convlake::flatten::schema::ColumnType;
use convlake::flatten::{Catalog, Oddities};
use convlake::time;
use serde_json::Value;

use super::record::{HALF, Object};
use super::tree::{Field, Leaf, Lookup, Node, Tree};

/// Spells `record` as the API would.
pub(crate) fn record(tree: &Tree, catalog: &Catalog, record: Object, odd: &mut Oddities) -> Object {
    let signals: Vec<String> = [Some(&tree.id), tree.start.as_ref()].into_iter().flatten().flat_map(signals).collect();
    let snake = record.keys().any(|name| signals.contains(name));
    Speller { tree, catalog, snake, odd }.object(&tree.tables[0].node, 0, record)
}

fn signals(lookup: &Lookup) -> impl Iterator<Item = String> {
    let names = lookup.paths.iter().filter_map(|path| path.first());
    names.map(|name| (name, snake_case(name))).filter(|(name, snake)| ***name != **snake).map(|(_, snake)| snake)
}

struct Speller<'t> {
    tree: &'t Tree,
    catalog: &'t Catalog,
    snake: bool,
    odd: &'t mut Oddities,
}

impl Speller<'_> {
    fn object(&mut self, node: &Node, table: usize, object: Object) -> Object {
        let extra = self.named(table, self.tree.tables[table].extra);
        let texts = self.tree.tables[table].metrics.as_ref().and_then(|metrics| metrics.texts);
        let snake = self.snake;
        let known = |name: &str| node.fields.get_key_value(name);
        let meant = |name: &str| {
            let found = node.fields.iter().find(|(known, _)| snake_case(known) == name);
            found.filter(|_| snake && known(name).is_none())
        };
        let is_free = |name: &str| object.get(name).is_none_or(Value::is_null);
        let renamed = |name: &str| meant(name).filter(|(known, _)| is_free(known));
        let given: Vec<String> = object.keys().filter_map(|name| Some(renamed(name)?.0.to_string())).collect();
        let fields: Vec<(String, Option<String>)> = object
            .keys()
            .filter(|name| !given.contains(name))
            .map(|name| {
                let to = known(name).or_else(|| renamed(name)).map(|(known, _)| known.to_string());
                (name.clone(), to)
            })
            .collect();
        let mut spelled = Object::new();
        for (name, to) in fields {
            let value = object[&name].clone();
            // What is there in the API's spelling too is unknown, but is what it is.
            let field = to.as_deref().or_else(|| meant(&name).map(|(known, _)| &**known));
            let field = field.and_then(|name| node.fields.get(name));
            let is_dimension = field.is_none() && node.other_texts && value.is_string();
            let rest = if is_dimension { self.named(table, texts) } else { extra.clone() };
            let name = to.unwrap_or_else(|| self.whole(name.clone(), rest.as_deref()));
            let value = match field {
                Some(field) => self.field(field, table, value),
                None => self.loose(value, rest.as_deref()),
            };
            spelled.insert(name, value);
        }
        spelled
    }

    fn field(&mut self, field: &Field, table: usize, value: Value) -> Value {
        let is_metrics = field.object.as_ref().is_some_and(|node| node.other_metrics);
        let value = if is_metrics { by_metric(&value).unwrap_or(value) } else { value };
        let extra = self.named(table, self.tree.tables[table].extra);
        let extra = extra.filter(|_| field.rows.is_none_or(|rows| rows.selected));
        match (value, field) {
            (Value::Object(object), Field { object: Some(node), .. }) => self.object(node, table, object).into(),
            (Value::Object(object), Field { rows: Some(rows), .. }) if rows.is_map => {
                self.entries(rows.table, object).into()
            }
            (Value::Array(items), Field { rows: Some(rows), .. }) if !rows.is_map => {
                let node = &self.tree.tables[rows.table].node;
                let item = |item| match item {
                    Value::Object(object) => self.object(node, rows.table, object).into(),
                    other => self.loose(other, extra.as_deref()),
                };
                items.into_iter().map(item).collect()
            }
            (value, Field { leaf: Some(leaf), .. }) => self.leaf(*leaf, table, value),
            (value, _) => self.loose(value, extra.as_deref()),
        }
    }

    fn leaf(&mut self, leaf: Leaf, table: usize, value: Value) -> Value {
        let own = self.named(table, leaf.column);
        let extra = self.named(table, self.tree.tables[table].extra).filter(|_| own.is_some());
        let of = |kind| if leaf.kind == kind { own.clone() } else { extra.clone() };
        match value {
            Value::String(text) => {
                let spaced = text.get(10..11) == Some(" ") && self.snake && leaf.kind == ColumnType::Timestamp;
                let with_t = spaced.then(|| format!("{}T{}", &text[..10], &text[11..]));
                match with_t.filter(|text| time::parse_micros(text).is_some()) {
                    Some(time) => time.into(),
                    None => self.whole(text, of(ColumnType::String).as_deref()).into(),
                }
            }
            Value::Array(items) => {
                let column = of(ColumnType::StringList);
                let item = |item| match item {
                    Value::String(text) => self.whole(text, column.as_deref()).into(),
                    other => self.loose(other, extra.as_deref()),
                };
                items.into_iter().map(item).collect()
            }
            other => self.loose(other, extra.as_deref()),
        }
    }

    fn entries(&mut self, table: usize, object: Object) -> Object {
        let plan = &self.tree.tables[table];
        let column = self.named(table, plan.value.and_then(|value| value.column));
        let (key, extra) = (self.named(table, plan.key), self.named(table, plan.extra).filter(|_| column.is_some()));
        let mut spelled = Object::new();
        for (name, value) in object {
            let name = self.whole(name, key.as_deref());
            let value = match value {
                Value::String(text) => self.whole(text, column.as_deref()).into(),
                other => self.loose(other, extra.as_deref()),
            };
            spelled.insert(name, value);
        }
        spelled
    }

    /// A value of which the schema knows nothing.
    fn loose(&mut self, value: Value, column: Option<&str>) -> Value {
        match value {
            Value::String(text) => self.whole(text, column).into(),
            Value::Array(items) => items.into_iter().map(|item| self.loose(item, column)).collect(),
            Value::Object(fields) => {
                let mut spelled = Object::new();
                for (name, value) in fields {
                    let name = self.whole(name, column);
                    spelled.insert(name, self.loose(value, column));
                }
                spelled.into()
            }
            plain => plain,
        }
    }

    fn whole(&mut self, text: String, column: Option<&str>) -> String {
        if !text.contains(HALF) {
            return text;
        }
        if let Some(column) = column {
            *self.odd.replaced.entry(column.to_owned()).or_default() += 1;
        }
        text.replace(HALF, "\u{FFFD}")
    }

    /// `table.column` of a column, if it is selected.
    fn named(&self, table: usize, column: Option<usize>) -> Option<String> {
        let table = &self.catalog.tables()[self.tree.tables[table].output?];
        Some(format!("{}.{}", table.name, table.columns[column?].name))
    }
}

/// A list of statistics, `[{"metric": …, "stats": {…}}]`, as an object, if it is one and has nothing else in it.
fn by_metric(list: &Value) -> Option<Value> {
    let mut object = Object::new();
    for item in list.as_array()? {
        let item = item.as_object()?;
        let (metric, stats) = (item.get("metric")?.as_str()?, item.get("stats")?);
        let other = item.iter().any(|(name, value)| !["metric", "stats"].contains(&name.as_str()) && !value.is_null());
        if other || !stats.is_object() || object.insert(metric.to_owned(), stats.clone()).is_some() {
            return None;
        }
    }
    Some(object.into())
}

/// `conversationStart` → `conversation_start`.
fn snake_case(name: &str) -> String {
    let lower = name.chars().enumerate().map(|(place, char)| match char {
        'A'..='Z' if place > 0 => format!("_{}", char.to_ascii_lowercase()),
        char => char.to_ascii_lowercase().to_string(),
    });
    lower.collect()
}
