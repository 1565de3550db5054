//! A record that is JSON, but not as plain as the reader needs it, is written anew, once, so that it can be read:
//!
//! - of fields with the same name the last one is kept, in the place of the first;
//! - half a character becomes U+FFFD, and the column that it comes into is noted;
//! - a record in snake case, as the Python SDK's `to_dict()` makes it, gets the API's names wherever the schema knows the
//!   field, and times with a `T`. What the schema does not know stays as it came, and so do names that are values: those
//!   of attributes and of metrics. Where a field is there in both spellings, the API's counts and the other one is
//!   unknown;
//! - a list of statistics, `[{"metric": "a", "stats": {"sum": 1}}]`, becomes an object of them, `{"a": {"sum": 1}}`,
//!   where metrics without a column are read, if nothing else is in it and no metric comes twice.

use super::cursor::{Broken, Cursor, Text};
use super::plan::{Field, Leaf, Node, Plan, Rows};
use super::rewrite::{self, Member, has_twins, last_ones, object_of};
use super::schema::ColumnType;
use super::values::with_t;

/// A record that has been written anew.
pub(super) struct Mended {
    pub(super) text: Vec<u8>,
    /// The columns in which half a character was, one for each text.
    pub(super) halves: Vec<usize>,
}

/// Mends the object at `cursor`, and passes it.
///
/// # Errors
/// It is not JSON, or nested too deeply.
pub(super) fn record(plan: &Plan, cursor: &mut Cursor<'_>) -> Result<Mended, Broken> {
    let root = &plan.tables[0];
    let mut mender = Mender { plan, cursor: cursor.with_halves(), text: Vec::new(), halves: Vec::new(), snake: false };
    mender.snake = mender.is_snake(&plan.nodes[root.node])?;
    mender.value(Place { node: Some(root.node), row: root.extra, ..Place::default() })?;
    *cursor = cursor.from(mender.cursor.at());
    Ok(Mended { text: mender.text, halves: mender.halves })
}

struct Mender<'p, 'a> {
    plan: &'p Plan,
    cursor: Cursor<'a>,
    text: Vec<u8>,
    halves: Vec<usize>,
    /// Whether the record is in snake case.
    snake: bool,
}

/// What a value is, and which column notes half a character in it: `None` where nothing of it is kept.
#[derive(Clone, Copy, Default)]
struct Place {
    /// What the fields of an object are.
    node: Option<usize>,
    /// What the elements of an array, or the entries of an object, are.
    rows: Option<Rows>,
    is_time: bool,
    /// The column of a text, and of the texts in an array.
    text: Option<usize>,
    items: Option<usize>,
    /// The column of everything else that may be here.
    rest: Option<usize>,
    /// The column of what the row does not know.
    row: Option<usize>,
}

impl Place {
    /// All of it goes into `column`.
    fn all(column: Option<usize>) -> Place {
        Place { text: column, items: column, rest: column, ..Place::default() }
    }
}

impl<'p, 'a> Mender<'p, 'a> {
    /// Whether the record here has a field that only records in snake case have.
    fn is_snake(&self, node: &Node) -> Result<bool, Broken> {
        let mut ahead = self.cursor;
        let mut more = ahead.open(b'}')?;
        while more {
            let name = ahead.key()?;
            if node.signals.iter().any(|signal| **signal == *name.decoded()) {
                return Ok(true);
            }
            ahead.skip()?;
            more = ahead.more(b'}')?;
        }
        Ok(false)
    }

    fn value(&mut self, place: Place) -> Result<(), Broken> {
        match self.cursor.space() {
            b'"' => {
                let text = self.cursor.string()?;
                self.string(text, place);
            }
            b'{' => self.object(place)?,
            b'[' => self.array(place)?,
            _ => {
                let span = self.cursor.skip()?;
                self.text.extend_from_slice(self.cursor.text(span));
            }
        }
        Ok(())
    }

    fn string(&mut self, text: Text<'_>, place: Place) {
        if text.has_halves() {
            self.halves.extend(place.text);
        }
        match with_t(&text.decoded()).filter(|_| self.snake && place.is_time) {
            Some(time) => rewrite::string(Text { raw: &time, escaped: false }, &mut self.text),
            None => rewrite::string(text, &mut self.text),
        }
    }

    fn array(&mut self, place: Place) -> Result<(), Broken> {
        if let Some(node) = place.node.filter(|node| self.plan.nodes[*node].other_metrics)
            && let Some(statistics) = self.statistics()?
        {
            return self
                .object_of_statistics(statistics, Place { node: Some(node), row: place.row, ..Place::default() });
        }
        let rows = place.rows.filter(|rows| !rows.is_map).map(|rows| &self.plan.tables[rows.table]);
        let row = rows.map(|table| Place { node: Some(table.node), row: table.extra, ..Place::default() });
        let item = match row {
            Some(_) => Place::all(place.rest),
            None => Place { text: place.items, ..Place::all(place.rest) },
        };
        self.text.push(b'[');
        let mut more = self.cursor.open(b']')?;
        while more {
            self.value(row.filter(|_| self.cursor.peek() == b'{').unwrap_or(item))?;
            more = self.cursor.more(b']')?;
            if more {
                self.text.push(b',');
            }
        }
        self.text.push(b']');
        Ok(())
    }

    /// The metrics of the list of statistics here, each with where its statistics stand; `None` if it is something else.
    fn statistics(&self) -> Result<Option<Vec<(Text<'a>, Cursor<'a>)>>, Broken> {
        let (mut ahead, mut found) = (self.cursor, Vec::new());
        let mut more = ahead.open(b']')?;
        while more {
            if ahead.peek() != b'{' {
                return Ok(None);
            }
            let (mut metric, mut stats, mut is_one) = (None, None, true);
            let mut fields = ahead.open(b'}')?;
            while fields {
                let name = ahead.key()?;
                let value = ahead;
                ahead.skip()?;
                match (&*name.decoded(), value.peek()) {
                    (b"metric", b'"') => metric = Some({ value }.string()?),
                    (b"stats", b'{') => stats = Some(value),
                    (_, next) => is_one &= next == b'n',
                }
                fields = ahead.more(b'}')?;
            }
            match metric.zip(stats).filter(|_| is_one) {
                Some(one) => found.push(one),
                None => return Ok(None),
            }
            more = ahead.more(b']')?;
        }
        let is_twice = has_twins(found.iter().map(|(metric, _)| metric.decoded()));
        Ok(Some(found).filter(|_| !is_twice))
    }

    fn object_of_statistics(&mut self, statistics: Vec<(Text<'a>, Cursor<'a>)>, place: Place) -> Result<(), Broken> {
        let mut behind = self.cursor;
        behind.skip()?;
        let (start, halves) = (self.text.len(), self.halves.len());
        let mut members = Vec::new();
        self.text.push(b'{');
        for (metric, stats) in statistics {
            if !members.is_empty() {
                self.text.push(b',');
            }
            self.cursor = stats;
            self.member(metric, place, &mut members)?;
        }
        self.text.push(b'}');
        self.once(start, halves, members);
        self.cursor = behind;
        Ok(())
    }

    fn object(&mut self, place: Place) -> Result<(), Broken> {
        let (start, halves) = (self.text.len(), self.halves.len());
        let mut members = Vec::new();
        self.text.push(b'{');
        let mut more = self.cursor.open(b'}')?;
        while more {
            let name = self.cursor.key()?;
            self.member(name, place, &mut members)?;
            more = self.cursor.more(b'}')?;
            if more {
                self.text.push(b',');
            }
        }
        self.text.push(b'}');
        self.once(start, halves, members);
        Ok(())
    }

    /// Writes a field of the object at `place`, whose value is here.
    fn member(&mut self, name: Text<'a>, place: Place, members: &mut Vec<Named<'a>>) -> Result<(), Broken> {
        let (begin, halves) = (self.text.len(), self.halves.len());
        let decoded = name.decoded();
        let node = place.node.map(|node| &self.plan.nodes[node]);
        let known = node.and_then(|node| node.keys.find(&decoded));
        let snake = node.filter(|_| self.snake && known.is_none()).and_then(|node| node.snake.find(&decoded));
        let field = node.zip(known.or(snake)).map(|(node, field)| &node.fields[field]);
        let (of_name, of_value) = match (field, place.rows.filter(|rows| rows.is_map)) {
            (Some(field), _) => (None, self.of(field, place.row)),
            (None, _) if node.is_some() => {
                let texts = node.and_then(|node| node.other_texts).filter(|_| self.cursor.peek() == b'"');
                let column = texts.unwrap_or(place.row);
                (column, Place::all(column))
            }
            (None, Some(rows)) => self.of_entry(rows),
            (None, None) => (place.rest, Place::all(place.rest)),
        };
        if name.has_halves() {
            self.halves.extend(of_name);
        }
        let known_as = field.filter(|_| snake.is_some());
        match known_as {
            Some(field) => rewrite::string(Text { raw: field.name.as_bytes(), escaped: false }, &mut self.text),
            None => rewrite::string(name, &mut self.text),
        }
        let colon = self.text.len();
        self.text.push(b':');
        self.value(of_value)?;
        let written = Member { name: begin..colon, value: colon..self.text.len() };
        members.push(Named { written, halves: halves..self.halves.len(), came_as: known_as.map(|_| name) });
        Ok(())
    }

    /// What the value of `field` is, in a row with this column for the rest.
    fn of(&self, field: &Field, row: Option<usize>) -> Place {
        let place = match field.leaf {
            Some(Leaf { column: Some(column), kept, .. }) => {
                let (kind, own, rest) =
                    (self.plan.columns[column], Some(column).filter(|_| kept), row.filter(|_| kept));
                let is = |wanted| if kind == wanted { own } else { rest };
                let (text, items) = (is(ColumnType::String), is(ColumnType::StringList));
                Place { text, items, rest, is_time: kind == ColumnType::Timestamp, ..Place::default() }
            }
            Some(_) => Place::default(),
            None => Place::all(row.filter(|_| field.rows.is_none_or(|rows| rows.selected))),
        };
        Place { node: field.object, rows: field.rows, row, ..place }
    }

    /// The column of the name of an entry, and what its value is.
    fn of_entry(&self, rows: Rows) -> (Option<usize>, Place) {
        let table = &self.plan.tables[rows.table];
        let value = table.value.flatten();
        let rest = table.extra.filter(|_| value.is_some());
        (table.key, Place { text: value, ..Place::all(rest) })
    }

    /// Leaves each field of the object that begins at `start` once, with what was noted since `halves`.
    fn once(&mut self, start: usize, halves: usize, mut members: Vec<Named<'_>>) {
        let name = |member: &Named<'_>, text: &[u8]| text[member.written.name.clone()].to_vec();
        if !has_twins(members.iter().map(|member| name(member, &self.text))) {
            return;
        }
        let api: Vec<Vec<u8>> = members
            .iter()
            .filter(|member| member.came_as.is_none() && self.text[member.written.value.clone()] != *b":null")
            .map(|member| name(member, &self.text))
            .collect();
        let renamed: Vec<Vec<u8>> =
            members.iter().filter(|member| member.came_as.is_some()).map(|member| name(member, &self.text)).collect();
        for member in &mut members {
            let known_as = name(member, &self.text);
            if let Some(came_as) = member.came_as.filter(|_| api.contains(&known_as)) {
                let begin = self.text.len();
                rewrite::string(came_as, &mut self.text);
                member.written.name = begin..self.text.len();
            }
        }
        // A null in the API's spelling is nothing beside a value in the other.
        members.retain(|member| {
            let known_as = name(member, &self.text);
            member.came_as.is_some() || api.contains(&known_as) || !renamed.contains(&known_as)
        });
        let (written, noted): (Vec<Member>, Vec<_>) =
            members.into_iter().map(|member| (member.written, member.halves)).unzip();
        let kept = last_ones(&written, &self.text);
        let object = object_of(&kept, &written, &self.text);
        self.text.truncate(start);
        self.text.extend_from_slice(&object);
        let noted: Vec<usize> = kept.iter().flat_map(|&(_, last)| self.halves[noted[last].clone()].to_vec()).collect();
        self.halves.truncate(halves);
        self.halves.extend(noted);
    }
}

/// A field that has been written.
struct Named<'a> {
    written: Member,
    /// What was noted of it.
    halves: std::ops::Range<usize>,
    /// Its name as it came, if it got another one.
    came_as: Option<Text<'a>>,
}
