//! One pass over the text of a record: each value goes to its column, its table or what is left.

use super::buffers::Column;
use super::compile::FIELDS_MAX;
use super::cursor::{Broken, Cursor, Span};
use super::cut::is_cut;
use super::leftovers::Left;
use super::oddities::Oddity;
use super::plan::{Leaf, Node, Plan, Rows, TablePlan};
use super::rewrite::has_twins;
use super::scratch::{Candidate, Scratch};
use super::values::{decimal, int};

/// Where the statistics of a metric keep its value, best first.
const TOTALS: [&[u8]; 2] = [b"total", b"sum"];

pub(super) type Result<T> = std::result::Result<T, Broken>;

/// See the module's words.
pub(super) struct Reader<'p, 'a, 's> {
    pub(super) plan: &'p Plan,
    pub(super) cursor: Cursor<'a>,
    pub(super) to: &'s mut Scratch,
    /// Whether the text has been mended: then it is read as it is.
    mended: bool,
}

/// An open row. It is passed by reference: of a copy that was written in parts and is read whole, every reading waits
/// for the writing.
pub(super) struct Row<'p> {
    pub(super) plan: &'p TablePlan,
    pub(super) table: usize,
    pub(super) at: u32,
}

impl<'p, 'a> Reader<'p, 'a, '_> {
    /// Writes all rows of the object at `cursor`, and passes it. What has been written when it stops is to be taken
    /// back; unless the record is `mended`, [`super::mend`] may make one of it that does not stop.
    pub(super) fn record(plan: &'p Plan, cursor: &mut Cursor<'a>, to: &mut Scratch, mended: bool) -> Result<()> {
        let mut reader = Reader { plan, cursor: *cursor, to, mended };
        reader.row(0, 0, 0)?;
        *cursor = reader.cursor;
        Ok(())
    }

    /// Writes the row of the object here and all rows below it.
    fn row(&mut self, table: usize, parent: u32, ordinal: u32) -> Result<()> {
        let row = self.open(table, parent, ordinal);
        let (left, candidates) = (self.to.left.len(), self.to.candidates.len());
        self.object(row.plan.node, &row)?;
        if self.to.candidates.len() > candidates {
            self.choose(&row, candidates)?;
        }
        self.close(&row);
        if self.to.left.len() > left {
            self.write_left(&row, left)?;
        }
        Ok(())
    }

    fn open(&mut self, table: usize, parent: u32, ordinal: u32) -> Row<'p> {
        let grown = &mut self.to.tables[table];
        let at = grown.rows;
        grown.rows += 1;
        grown.parents.push(parent);
        grown.ordinals.push(ordinal);
        Row { plan: &self.plan.tables[table], table, at }
    }

    /// Sends each field of the object here to its place.
    fn object(&mut self, index: usize, row: &Row<'p>) -> Result<()> {
        let node = &self.plan.nodes[index];
        let mut seen = [0_u64; FIELDS_MAX / 64];
        let names = self.to.names.len();
        let mut before = node.guesses;
        let mut more = self.cursor.open(b'}')?;
        while more {
            let name = self.cursor.at();
            match self.name(node, before)? {
                Some(place) => {
                    let (word, bit) = (&mut seen[place / 64], 1 << (place % 64));
                    if *word & bit != 0 {
                        return Err(Broken);
                    }
                    *word |= bit;
                    before = node.guesses + 1 + place;
                    self.field(index, node, place, name, row)?;
                }
                None => self.unknown_field(node, name, row)?,
            }
            more = self.cursor.more(b'}')?;
        }
        self.distinct(names)
    }

    /// Passes a field's name; which of the node's fields it is.
    #[inline(always)]
    fn name(&mut self, node: &Node, before: usize) -> Result<Option<usize>> {
        let [last, other] = self.to.guesses[before];
        if self.is(node, last) {
            return Ok(Some(last.into()));
        }
        if self.is(node, other) {
            self.to.guesses[before] = [other, last];
            return Ok(Some(other.into()));
        }
        self.search(node, before)
    }

    /// Passes a field's name if it is that of the field at `place`.
    #[inline(always)]
    fn is(&mut self, node: &Node, place: u16) -> bool {
        let field = node.fields.get(usize::from(place));
        let length = field.and_then(|field| field.literal.begins(self.cursor.rest()));
        if let Some(length) = length {
            self.cursor.pass(length);
            self.cursor.space();
        }
        length.is_some()
    }

    fn search(&mut self, node: &Node, before: usize) -> Result<Option<usize>> {
        let name = self.cursor.key()?;
        let found = if name.escaped { node.keys.find(&name.decoded()) } else { node.keys.find(name.raw) };
        if let Some(place) = found {
            self.to.guesses[before] = [place as u16, self.to.guesses[before][0]];
        }
        Ok(found)
    }

    #[inline]
    fn field(&mut self, index: usize, node: &'p Node, place: usize, name: usize, row: &Row<'p>) -> Result<()> {
        let field = &node.fields[place];
        match (self.cursor.peek(), field.object, field.rows) {
            (b'n', ..) => return self.cursor.word(b"null"),
            (b'{', Some(object), _) => return self.embedded(object, name, row),
            (b'{', None, Some(rows)) if rows.is_map => return self.entries(rows, row),
            (b'[', _, Some(rows)) if !rows.is_map => return self.rows(node, name, rows, row),
            _ => {}
        }
        let start = self.cursor.at();
        let value = match field.leaf {
            Some(Leaf { column: Some(column), choice: None, kept }) => {
                if self.to.columns[column].read(row.at, &mut self.cursor, &mut self.to.dates)? {
                    return Ok(());
                }
                self.cursor = self.cursor.from(start);
                let value = self.cursor.skip()?;
                if !kept {
                    return Ok(());
                }
                value
            }
            Some(Leaf { column: Some(_), choice: Some((choice, rank)), kept }) => {
                let value = self.cursor.skip()?;
                let left = kept.then(|| self.leave(row, Left::Field { name, value })).flatten();
                let candidate = Candidate { choice, rank, node: index, field: place, value, left, noted: kept };
                self.to.candidates.push(candidate);
                return Ok(());
            }
            Some(Leaf { column: None, .. }) => return self.skip(),
            None => {
                self.look_for_a_cut();
                if field.rows.is_some_and(|rows| !rows.selected) {
                    return self.skip();
                }
                // A list of statistics can be read as an object of them.
                if !self.mended && self.cursor.peek() == b'[' && self.is_other_metrics(field.object) {
                    return Err(Broken);
                }
                self.cursor.skip()?
            }
        };
        self.note(row, Oddity::WrongType, &node.place, field.name.as_bytes());
        self.leave(row, Left::Field { name, value });
        Ok(())
    }

    fn is_other_metrics(&self, object: Option<usize>) -> bool {
        object.is_some_and(|object| self.plan.nodes[object].other_metrics)
    }

    fn skip(&mut self) -> Result<()> {
        self.cursor.skip()?;
        Ok(())
    }

    /// Notes whether the value here, in the place of an object or a list, is a text that was written for one.
    fn look_for_a_cut(&mut self) {
        self.to.cut |= self.cursor.rest().strip_prefix(b"\"").is_some_and(is_cut);
    }

    /// The object here is part of the row.
    fn embedded(&mut self, object: usize, name: usize, row: &Row<'p>) -> Result<()> {
        let begin = self.leave(row, Left::Object { name });
        self.object(object, row)?;
        if let Some(begin) = begin {
            if self.to.left.len() == begin + 1 {
                self.to.left.truncate(begin);
            } else {
                self.to.left.push(Left::End);
            }
        }
        Ok(())
    }

    /// Writes the rows of the array here. Elements that are no objects are left, each at its place.
    fn rows(&mut self, node: &Node, name: usize, rows: Rows, parent: &Row<'p>) -> Result<()> {
        if !rows.wanted {
            return self.skip();
        }
        let begin = self.to.left.len();
        let mut place = 0;
        let mut more = self.cursor.open(b']')?;
        while more {
            match self.cursor.peek() {
                b'{' => self.row(rows.table, parent.at, place)?,
                b'n' => self.cursor.word(b"null")?,
                _ => {
                    self.look_for_a_cut();
                    let value = self.cursor.skip()?;
                    if rows.selected {
                        let field = self.cursor.from(name).string()?;
                        self.note(parent, Oddity::WrongType, &node.place, &field.decoded());
                        if self.to.left.len() == begin {
                            self.leave(parent, Left::Array { name });
                        }
                        self.leave(parent, Left::Item { place, value });
                    }
                }
            }
            place += 1;
            more = self.cursor.more(b']')?;
        }
        if self.to.left.len() > begin {
            self.to.left.push(Left::End);
        }
        Ok(())
    }

    /// Writes a row for each entry of the map here.
    fn entries(&mut self, rows: Rows, parent: &Row<'p>) -> Result<()> {
        let plan = &self.plan.tables[rows.table];
        let Some(value) = plan.value.filter(|_| rows.wanted) else { return self.skip() };
        let names = self.to.names.len();
        let mut ordinal = 0;
        let mut more = self.cursor.open(b'}')?;
        while more {
            self.to.names.push(self.cursor.at());
            let name = self.cursor.key()?;
            let row = self.open(rows.table, parent.at, ordinal);
            if let Some(Column::String(texts)) = plan.key.map(|key| &mut self.to.columns[key]) {
                texts.put(row.at, name);
            }
            match value {
                _ if self.cursor.peek() == b'n' => self.cursor.word(b"null")?,
                Some(column) => self.entry(column, &row)?,
                None => self.skip()?,
            }
            self.close(&row);
            ordinal += 1;
            more = self.cursor.more(b'}')?;
        }
        self.distinct(names)
    }

    fn entry(&mut self, column: usize, row: &Row<'p>) -> Result<()> {
        let start = self.cursor.at();
        if self.to.columns[column].read(row.at, &mut self.cursor, &mut self.to.dates)? {
            return Ok(());
        }
        self.cursor = self.cursor.from(start);
        self.note(row, Oddity::WrongType, &self.plan.nodes[row.plan.node].place, b"value");
        match row.plan.extra.map(|extra| &mut self.to.columns[extra]) {
            Some(Column::String(extra)) => {
                extra.bytes.extend_from_slice(b"{\"value\":");
                super::rewrite::value(&mut self.cursor, &mut extra.bytes)?;
                extra.bytes.push(b'}');
                extra.end(row.at);
                Ok(())
            }
            _ => self.skip(),
        }
    }

    /// A field that the schema does not know; its name has been passed.
    fn unknown_field(&mut self, node: &Node, name: usize, row: &Row<'p>) -> Result<()> {
        self.to.names.push(name);
        let text = self.cursor.from(name).string()?;
        let text = text.decoded();
        if !self.mended && node.signals.iter().any(|signal| **signal == *text) {
            return Err(Broken);
        }
        if node.other_texts.is_some() && self.cursor.peek() == b'"' {
            let value = self.cursor.string()?;
            self.to.folds[row.table].add_text(&text, &value.decoded());
            return Ok(());
        }
        self.note(row, Oddity::Unknown, &node.place, &text);
        let start = self.cursor;
        let value = self.cursor.skip()?;
        if !(node.other_metrics && row.plan.metrics.is_some() && self.other_metric(node, start, name, row)?) {
            self.leave(row, Left::Field { name, value });
        }
        Ok(())
    }

    /// Takes a metric of an embedded object: a number, or an object of statistics whose other fields are left.
    fn other_metric(&mut self, node: &Node, mut value: Cursor<'a>, name: usize, row: &Row<'p>) -> Result<bool> {
        let metric = self.cursor.from(name).string()?;
        let metric = metric.decoded();
        if value.peek() != b'{' {
            return self.other_number(node, value, &metric, row);
        }
        let (begin, names) = (self.to.left.len(), self.to.names.len());
        let mut totals = [None; TOTALS.len()];
        self.leave(row, Left::Object { name });
        let mut more = value.open(b'}')?;
        while more {
            let name = value.at();
            self.to.names.push(name);
            let key = value.key()?;
            let number = value;
            let left = Left::Field { name, value: value.skip()? };
            let left = self.leave(row, left);
            if let Some(rank) = TOTALS.iter().position(|total| **total == *key.decoded()) {
                totals[rank] = Some((number, left));
            }
            more = value.more(b'}')?;
        }
        self.distinct(names)?;
        self.leave(row, Left::End);
        for (number, left) in totals.into_iter().flatten() {
            if self.other_number(node, number, &metric, row)? {
                if let Some(left) = left {
                    self.to.left[left] = Left::Settled;
                }
                return Ok(true);
            }
        }
        self.to.left.truncate(begin);
        Ok(false)
    }

    /// Takes the value of a metric without a column, if it is a number that fits.
    fn other_number(&mut self, node: &Node, value: Cursor<'a>, metric: &[u8], row: &Row<'p>) -> Result<bool> {
        if !matches!(value.peek(), b'-' | b'0'..=b'9') {
            return Ok(false);
        }
        let (folds, mut digits) = (&mut self.to.folds[row.table], value);
        if let Some(int) = int(&mut digits)? {
            folds.add_other(metric, int);
            return Ok(true);
        }
        digits = value;
        let number = digits.number()?;
        let double = decimal(number).filter(|_| node.other_decimals);
        double.into_iter().for_each(|double| folds.add_decimal(metric, double));
        Ok(double.is_some())
    }

    /// Of the names since `begin`, no two may be the same.
    #[inline]
    fn distinct(&mut self, begin: usize) -> Result<()> {
        let names = &self.to.names[begin..];
        if names.len() > 1 {
            let text = |&name: &usize| self.cursor.from(name).string().map(|text| (text.raw, text.escaped));
            let texts = names.iter().map(text).collect::<Result<Vec<_>>>()?;
            let decoded = |&(raw, escaped): &(&'a [u8], bool)| super::cursor::Text { raw, escaped };
            let twins = match texts.iter().any(|&(_, escaped)| escaped) {
                false => has_twins(texts.iter().map(|&(raw, _)| raw)),
                true => has_twins(texts.iter().map(|text| decoded(text).decoded().into_owned())),
            };
            if twins {
                return Err(Broken);
            }
        }
        self.to.names.truncate(begin);
        Ok(())
    }

    /// Oddities something that is left, if the row keeps it; where.
    fn leave(&mut self, row: &Row<'p>, left: Left) -> Option<usize> {
        row.plan.extra?;
        self.to.left.push(left);
        Some(self.to.left.len() - 1)
    }

    pub(super) fn note(&mut self, row: &Row<'p>, note: Oddity, place: &str, name: &[u8]) {
        if !row.plan.quiet {
            self.to.noted.field(note, place, name);
        }
    }
}

/// Where a record's bytes begin to be JSON: a byte order mark and white space before it are tolerated.
pub(super) fn start(raw: &[u8]) -> &[u8] {
    let text = raw.trim_ascii_start();
    text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text)
}

/// Whether all of `text` is one JSON value.
pub(super) fn is_value(text: &[u8]) -> bool {
    let mut cursor = Cursor::new(text).with_halves();
    cursor.skip().is_ok_and(|_: Span| cursor.end().is_ok())
}
