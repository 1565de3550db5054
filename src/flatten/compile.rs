//! The schemas become a [`Plan`]: what each field of each object is, and what a row takes from elsewhere. Done once.

use std::collections::HashMap;

use super::catalog::Catalog;
use super::keys::{Keys, Literal};
use super::plan::{EmissionPlan, Field, Leaf, Metric, MetricPlan, Node, Output, Plan, Rows, TablePlan};
use super::schema::{Column, ColumnType, DIMENSION_ID_COLUMN, ID_COLUMN, START_COLUMN, Source, Table};
use crate::error::{Context, Error, Result};

/// So many fields an object may have: their being there is noted in as many bits.
pub(super) const FIELDS_MAX: usize = 256;

/// Compiles everything that `catalog` defines, with columns where they are selected.
pub(super) fn compile(catalog: &Catalog) -> Result<Plan> {
    let defined = catalog.defined();
    let root = defined.first().ok_or_else(|| Error::bug("the catalog is empty"))?;
    let names = defined.iter().flat_map(|table| &table.columns).filter_map(|column| match &column.source {
        Source::Metric(name) => Some(name.as_str()),
        _ => None,
    });
    let mut metrics: Vec<&str> = names.collect();
    metrics.sort_unstable();
    metrics.dedup();
    let mut compiler = Compiler {
        catalog,
        metrics,
        tables: Vec::new(),
        nodes: Vec::new(),
        columns: Vec::new(),
        names: Vec::new(),
        known: HashMap::new(),
    };
    for (index, table) in defined.iter().enumerate() {
        compiler.table(index, table).context(|| format!("schema of table `{}`", table.name))?;
    }
    for (index, table) in defined.iter().enumerate() {
        compiler.wire(index, table).context(|| format!("schema of table `{}`", table.name))?;
    }
    compiler.hang()?;
    let start = root.column(START_COLUMN).map(|_| compiler.wanted(0, START_COLUMN)).transpose()?;
    let id = compiler.wanted(0, if start.is_some() { ID_COLUMN } else { DIMENSION_ID_COLUMN })?;
    compiler.finish(id, start)
}

struct Compiler<'c> {
    catalog: &'c Catalog,
    metrics: Vec<&'c str>,
    tables: Vec<TablePlan>,
    nodes: Vec<Node>,
    columns: Vec<ColumnType>,
    names: Vec<String>,
    /// The columns that exist, by table and name.
    known: HashMap<(usize, &'c str), usize>,
}

impl<'c> Compiler<'c> {
    /// Compiles the fields of table `index`.
    fn table(&mut self, index: usize, table: &'c Table) -> Result<()> {
        let parent = self.parent(index, table)?;
        let output = self.catalog.table(&table.name).map(|selected| Vec::with_capacity(selected.columns.len()));
        let node = self.nodes.len();
        self.nodes.push(Node { place: table.name.clone(), ..Node::default() });
        self.tables.push(TablePlan {
            parent: parent.unwrap_or(index),
            output,
            node,
            columns: Vec::new(),
            choices: Vec::new(),
            last: Vec::new(),
            metrics: None,
            emission: None,
            key: None,
            value: None,
            extra: None,
            quiet: false,
        });
        for column in &table.columns {
            self.column(index, table, column).context(|| format!("column `{}`", column.name))?;
        }
        for path in &table.ignored {
            if self.field(node, path)?.leaf.replace(Leaf::default()).is_some() {
                return Err(Error::bug(format!("field `{path}` has a column and is ignored")));
            }
        }
        Ok(())
    }

    /// Compiles what a column takes from the object itself.
    fn column(&mut self, index: usize, table: &'c Table, column: &'c Column) -> Result<()> {
        let selected = self.selected(table, column);
        let own = !matches!(column.source, Source::Ancestor(_) | Source::Index(_));
        let place = (selected && own).then(|| self.new_column(index, column));
        let node = self.tables[index].node;
        match &column.source {
            Source::Field(paths) => {
                let several = paths.as_slice().len() > 1;
                for (rank, path) in paths.as_slice().iter().enumerate() {
                    let choice = several.then_some((self.tables[index].choices.len(), rank));
                    let leaf = Leaf { column: place, kept: selected, choice };
                    if self.field(node, path)?.leaf.replace(leaf).is_some() {
                        return Err(Error::bug(format!("field `{path}` has two columns")));
                    }
                }
                if several {
                    self.tables[index].choices.push(place);
                }
            }
            Source::Metric(name) => {
                let fold = column.fold.ok_or_else(|| Error::bug("a metric column needs a fold"))?;
                let metric = self.metrics.binary_search(&name.as_str()).map_err(|_| Error::bug("a metric got lost"))?;
                self.metric_plan(index).metrics[metric] = Some(Metric { column: place, fold });
            }
            Source::OtherMetrics { field } => {
                self.metric_plan(index).other = place;
                if let Some(path) = field {
                    let node = self.object(node, path.split('.'));
                    self.nodes[node].other_metrics = true;
                }
            }
            Source::OtherDecimals { field } => {
                self.metric_plan(index).decimals = place;
                let node = self.object(node, field.split('.'));
                self.nodes[node].other_decimals = true;
            }
            Source::OtherTexts => {
                self.metric_plan(index).texts = place;
                self.nodes[node].other_texts = Some(place);
            }
            Source::Key => self.tables[index].key = place,
            Source::Value => self.tables[index].value = Some(place),
            Source::Extra => self.tables[index].extra = place,
            Source::Ancestor(_) | Source::Index(_) | Source::Last(_) => {}
        }
        Ok(())
    }

    /// Compiles what the selected columns of table `index` take from other tables, and what is handed out of it.
    fn wire(&mut self, index: usize, table: &'c Table) -> Result<()> {
        let catalog = self.catalog;
        for column in catalog.table(&table.name).map(|selected| selected.columns.as_slice()).unwrap_or_default() {
            let output = match &column.source {
                Source::Ancestor(name) => {
                    let (above, source) = self.column_of(name)?;
                    Output::Above(self.above(index, above)?, self.wanted(above, source)?)
                }
                Source::Index(name) => {
                    let above = self.table_named(name)?;
                    Output::Ordinal(self.above(index, above)?)
                }
                _ => Output::Own(self.wanted(index, &column.name)?),
            };
            if let (Source::Last(name), Output::Own(own)) = (&column.source, output) {
                let (child, source) = self.column_of(name)?;
                if self.tables[child].parent != index {
                    return Err(Error::bug(format!("`{name}` is not right below `{}`", table.name)));
                }
                let source = self.wanted(child, source)?;
                self.tables[index].last.push((own, child, source));
            }
            self.tables[index].output.get_or_insert_default().push(output);
        }
        if let Some(emission) = &table.emission {
            let parent = self.tables[index].parent;
            let below = self.below(parent, table)?;
            let levels = self.levels(index);
            self.tables[index].emission = Some(EmissionPlan {
                name: self.wanted(index, known(table, &emission.name)?)?,
                value: self.wanted(index, known(table, &emission.value)?)?,
                place: format!("{}.{below}", self.defined(parent).name),
                into: levels.into_iter().filter(|&level| self.tables[level].metrics.is_some()).collect(),
            });
        }
        Ok(())
    }

    /// Hangs every table into its parent, children first known to be wanted or not.
    fn hang(&mut self) -> Result<()> {
        let folds = self.tables.iter().any(|plan| plan.output.is_some() && plan.metrics.is_some());
        let mut wanted: Vec<bool> =
            self.tables.iter().map(|plan| plan.output.is_some() || (folds && plan.emission.is_some())).collect();
        for index in (1..self.tables.len()).rev() {
            let parent = self.tables[index].parent;
            wanted[parent] |= wanted[index];
            if !wanted[index] && self.tables[parent].last.iter().any(|&(_, child, _)| child == index) {
                wanted[index] = true;
                self.tables[index].quiet = true;
            }
            let table = self.defined(index);
            let path = self.below(parent, table)?;
            let rows = Rows {
                table: index,
                is_map: table.is_map(),
                selected: self.tables[index].output.is_some(),
                wanted: wanted[index],
            };
            let node = self.tables[parent].node;
            self.field(node, path)?.rows = Some(rows);
        }
        Ok(())
    }

    fn finish(self, id: usize, start: Option<usize>) -> Result<Plan> {
        let too_many = || Error::bug("too many names");
        let signals = self.signals();
        let Compiler { mut nodes, tables, columns, names, metrics, .. } = self;
        let mut guesses = 0;
        for node in &mut nodes {
            let fields = node.fields.iter().map(|field| &*field.name);
            let snake: Vec<String> = fields.clone().map(snake_case).collect();
            node.snake = Keys::new(snake.iter().map(String::as_str)).ok_or_else(too_many)?;
            node.keys = Keys::new(fields).filter(|keys| keys.len() <= FIELDS_MAX).ok_or_else(too_many)?;
            node.guesses = guesses;
            guesses += 1 + node.fields.len();
        }
        nodes[tables[0].node].signals = signals;
        let metrics = Keys::new(metrics.into_iter()).ok_or_else(too_many)?;
        Ok(Plan { tables, nodes, columns, names, metrics, id, start })
    }

    /// The fields of a record's identity and start in snake case, where that is another name.
    fn signals(&self) -> Vec<Box<[u8]>> {
        let columns = [ID_COLUMN, START_COLUMN].into_iter().filter_map(|name| self.defined(0).column(name));
        let paths = columns.flat_map(|column| match &column.source {
            Source::Field(paths) => paths.as_slice(),
            _ => &[],
        });
        let signals = paths.map(|path| (path, snake_case(path))).filter(|(path, snake)| *path != snake);
        signals.map(|(_, snake)| snake.into_bytes().into()).collect()
    }

    fn metric_plan(&mut self, index: usize) -> &mut MetricPlan {
        let metrics = vec![None; self.metrics.len()];
        self.tables[index].metrics.get_or_insert(MetricPlan { metrics, ..MetricPlan::default() })
    }

    fn new_column(&mut self, index: usize, column: &'c Column) -> usize {
        let place = self.columns.len();
        self.columns.push(column.kind);
        self.names.push(format!("{}.{}", self.defined(index).name, column.name));
        self.tables[index].columns.push(place);
        self.known.insert((index, &column.name), place);
        place
    }

    /// The place of a column that somebody needs. It is hidden when it is not selected.
    fn wanted(&mut self, index: usize, name: &'c str) -> Result<usize> {
        if let Some(&place) = self.known.get(&(index, name)) {
            return Ok(place);
        }
        let column =
            self.defined(index).column(name).ok_or_else(|| Error::bug(format!("there is no column `{name}`")))?;
        let Source::Field(paths) = &column.source else {
            return Err(Error::bug(format!("column `{name}` is not a field")));
        };
        let place = self.new_column(index, column);
        let node = self.tables[index].node;
        for path in paths.as_slice() {
            let leaf = self.field(node, path)?.leaf.get_or_insert_default();
            leaf.column = Some(place);
            if let Some((choice, _)) = leaf.choice {
                self.tables[index].choices[choice] = Some(place);
            }
        }
        Ok(place)
    }

    fn selected(&self, table: &Table, column: &Column) -> bool {
        self.catalog.table(&table.name).is_some_and(|selected| selected.column(&column.name).is_some())
    }

    fn defined(&self, index: usize) -> &'c Table {
        let catalog = self.catalog;
        &catalog.defined()[index]
    }

    /// The nearest table before `index` whose place holds this one's; the record itself has none.
    fn parent(&self, index: usize, table: &Table) -> Result<Option<usize>> {
        let holds = |&above: &usize| self.below(above, table).is_ok();
        let parent = (0..index).filter(holds).max_by_key(|&above| self.defined(above).place.len());
        match (parent, index, table.place.is_empty()) {
            (None, 0, true) => Ok(None),
            (Some(parent), _, false) => Ok(Some(parent)),
            _ => Err(Error::bug("the first table is the record itself and the others lie below it")),
        }
    }

    /// The path from an object of table `above` to the array of `table`.
    fn below<'t>(&self, above: usize, table: &'t Table) -> Result<&'t str> {
        let above = &self.defined(above).place;
        let rest = match above.is_empty() {
            true => Some(table.place.as_str()),
            false => table.place.strip_prefix(above.as_str()).and_then(|rest| rest.strip_prefix('.')),
        };
        rest.filter(|rest| !rest.is_empty())
            .ok_or_else(|| Error::bug(format!("`{}` does not lie below `{above}`", table.place)))
    }

    /// The tables from the record down to `index`.
    fn levels(&self, index: usize) -> Vec<usize> {
        let above = |&at: &usize| Some(self.tables[at].parent).filter(|&parent| parent != at);
        let mut levels: Vec<usize> = std::iter::successors(Some(index), above).collect();
        levels.reverse();
        levels
    }

    /// `above`, which must be `index` or lie above it.
    fn above(&self, index: usize, above: usize) -> Result<usize> {
        let found = self.levels(index).contains(&above);
        found.then_some(above).ok_or_else(|| Error::bug("the source lies in a table that is not above"))
    }

    fn table_named(&self, name: &str) -> Result<usize> {
        let found = self.catalog.defined().iter().position(|table| table.name == name);
        found.ok_or_else(|| Error::bug(format!("there is no table `{name}`")))
    }

    /// The table and column that `TABLE.COLUMN` names.
    fn column_of(&self, name: &'c str) -> Result<(usize, &'c str)> {
        let (table, column) =
            name.split_once('.').ok_or_else(|| Error::bug(format!("`{name}` is not TABLE.COLUMN")))?;
        let index = self.table_named(table)?;
        Ok((index, known(self.defined(index), column)?))
    }

    /// The field at the dotted `path` below a node, made if need be.
    fn field(&mut self, node: usize, path: &str) -> Result<&mut Field> {
        let (above, name) = match path.rsplit_once('.') {
            Some((above, name)) => (self.object(node, above.split('.')), name),
            None => (node, path),
        };
        if name.is_empty() {
            return Err(Error::bug("an empty path"));
        }
        Ok(self.named(above, name))
    }

    /// The embedded object at `path` below a node, made if need be.
    fn object<'p>(&mut self, node: usize, path: impl Iterator<Item = &'p str>) -> usize {
        path.fold(node, |node, name| {
            if let Some(object) = self.named(node, name).object {
                return object;
            }
            let object = self.nodes.len();
            self.named(node, name).object = Some(object);
            let place = format!("{}.{name}", self.nodes[node].place);
            self.nodes.push(Node { place, ..Node::default() });
            object
        })
    }

    fn named(&mut self, node: usize, name: &str) -> &mut Field {
        let fields = &mut self.nodes[node].fields;
        let place = fields.iter().position(|field| *field.name == *name).unwrap_or_else(|| {
            let literal = Literal::new(name);
            fields.push(Field { name: name.into(), literal, leaf: None, object: None, rows: None });
            fields.len() - 1
        });
        &mut fields[place]
    }
}

/// `conversationStart` is `conversation_start`.
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for char in name.chars() {
        if char.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(char.to_ascii_lowercase());
    }
    snake
}

fn known<'t>(table: &Table, column: &'t str) -> Result<&'t str> {
    match table.column(column) {
        Some(_) => Ok(column),
        None => Err(Error::bug(format!("table `{}` has no column `{column}`", table.name))),
    }
}
