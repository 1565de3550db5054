//! The schemas compiled for reading: what each field of each object is, and what a row takes from elsewhere.
//! Built once; the walk over a record is then one look-up a field.

use std::collections::HashMap;

use convlake::error::{Context, Error, Result};
use convlake::flatten::Catalog;
use convlake::flatten::schema::{
    Column, ColumnType, DIMENSION_ID_COLUMN, Fold, ID_COLUMN, START_COLUMN, Source, Table,
};

/// All defined tables, selected or not, parents before children; the first is the record itself.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) tables: Vec<TablePlan>,
    /// Where a record's identity stands.
    pub(crate) id: Lookup,
    /// Where its start stands; a dimension has none.
    pub(crate) start: Option<Lookup>,
}

/// How one object, or one entry of a map, becomes a row.
#[derive(Debug)]
pub(crate) struct TablePlan {
    /// The selected table that takes the rows, if any; without one its columns below are `None` too.
    pub(crate) output: Option<usize>,
    /// What the object's fields are.
    pub(crate) node: Node,
    /// Ordinals: the column, and the level whose place it holds.
    pub(crate) ordinals: Vec<(usize, usize)>,
    /// Copies: the column, the level above and the slot of that level's `shared`.
    pub(crate) inherited: Vec<(usize, usize, usize)>,
    /// Values that tables below copy.
    pub(crate) shared: Vec<Lookup>,
    /// Columns with several paths.
    pub(crate) choices: Vec<(Option<usize>, Lookup)>,
    /// Columns that repeat a value of the last child that has one: the array's path, and where in the child.
    pub(crate) last: Vec<(usize, Vec<Box<str>>, Lookup)>,
    /// Metrics that are folded into each row.
    pub(crate) metrics: Option<MetricPlan>,
    /// Set where each row is an emission of a metric.
    pub(crate) emission: Option<EmissionPlan>,
    /// Where each row is an entry of a map: the column of its name, and that of its value.
    pub(crate) key: Option<usize>,
    pub(crate) value: Option<Leaf>,
    /// The column for everything else.
    pub(crate) extra: Option<usize>,
}

/// What the fields of an object are.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// Table and path, for reports: `sessions.flow`.
    pub(crate) place: String,
    pub(crate) fields: HashMap<Box<str>, Field>,
    /// Whether unknown fields are metrics, and whether those may have a fraction.
    pub(crate) other_metrics: bool,
    pub(crate) other_decimals: bool,
    /// Whether unknown texts have a column.
    pub(crate) other_texts: bool,
}

/// What a field is; the type of its value decides between the readings.
#[derive(Debug, Default)]
pub(crate) struct Field {
    pub(crate) leaf: Option<Leaf>,
    pub(crate) object: Option<Node>,
    pub(crate) rows: Option<Rows>,
}

/// A field that fills a column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    /// `None`: recognised, and dropped.
    pub(crate) column: Option<usize>,
    pub(crate) kind: ColumnType,
    /// Of a column with several paths: which of `choices`, and the place in its order of preference.
    pub(crate) choice: Option<(usize, usize)>,
}

/// A field whose elements, or entries, are rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) table: usize,
    pub(crate) is_map: bool,
    /// Whether the table itself is selected; a misfit is kept in the parent's `extra` only then.
    pub(crate) selected: bool,
    /// Whether anything below is wanted at all.
    pub(crate) wanted: bool,
}

/// A value that is needed before, or apart from, the walk: the first path that holds a fitting one.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) kind: ColumnType,
    pub(crate) paths: Vec<Vec<Box<str>>>,
}

/// The metric columns of a table.
#[derive(Debug, Default)]
pub(crate) struct MetricPlan {
    /// Name of the metric to its place in `columns`.
    pub(crate) by_name: HashMap<Box<str>, usize>,
    pub(crate) columns: Vec<(Option<usize>, Fold)>,
    /// The column for all other metrics.
    pub(crate) other: Option<usize>,
    /// The column for those that are no integers.
    pub(crate) decimals: Option<usize>,
    /// The column for texts.
    pub(crate) texts: Option<usize>,
}

/// Where a row has the name and the value of its emission.
#[derive(Debug)]
pub(crate) struct EmissionPlan {
    pub(crate) name: Lookup,
    pub(crate) value: Lookup,
    /// Parent table and path, for reports: `sessions.metrics`.
    pub(crate) place: String,
}

impl Tree {
    /// Compiles everything that `catalog` defines, with columns where they are selected.
    pub(crate) fn compile(all: &Catalog, catalog: &Catalog) -> Result<Tree> {
        let defined = all.tables();
        let root = defined.first().ok_or_else(|| Error::bug("the catalog is empty"))?;
        let start = root.column(START_COLUMN).map(lookup).transpose()?;
        let id = lookup(known(root, if start.is_some() { ID_COLUMN } else { DIMENSION_ID_COLUMN })?)?;
        let mut compiler = Compiler { defined, catalog, plans: Vec::with_capacity(defined.len()), parents: Vec::new() };
        for (index, table) in defined.iter().enumerate() {
            compiler.table(index, table).context(|| format!("schema of table `{}`", table.name))?;
        }
        compiler.link()?;
        Ok(Tree { tables: compiler.plans, id, start })
    }
}

struct Compiler<'c> {
    defined: &'c [Table],
    catalog: &'c Catalog,
    plans: Vec<TablePlan>,
    /// The table above each table.
    parents: Vec<Option<usize>>,
}

impl Compiler<'_> {
    fn table(&mut self, index: usize, table: &Table) -> Result<()> {
        let parent = self.parent(index, table)?;
        self.parents.push(parent);
        let levels = self.levels(index);
        let output = self.catalog.tables().iter().position(|selected| selected.name == table.name);
        self.plans.push(TablePlan {
            output,
            node: Node { place: table.name.clone(), ..Node::default() },
            ordinals: Vec::new(),
            inherited: Vec::new(),
            shared: Vec::new(),
            choices: Vec::new(),
            last: Vec::new(),
            metrics: None,
            emission: None,
            key: None,
            value: None,
            extra: None,
        });
        if let Some(emission) = &table.emission {
            let place = match parent {
                Some(above) => format!("{}.{}", self.defined(above).name, self.below(above, table)?.join(".")),
                None => table.name.clone(),
            };
            let (name, value) = (lookup(known(table, &emission.name)?)?, lookup(known(table, &emission.value)?)?);
            self.plans[index].emission = Some(EmissionPlan { name, value, place });
        }
        for column in &table.columns {
            let selected = output.and_then(|output| {
                self.catalog.tables()[output].columns.iter().position(|selected| selected.name == column.name)
            });
            self.column(index, &levels, column, selected).context(|| format!("column `{}`", column.name))?;
        }
        for path in &table.ignored {
            let leaf = Leaf { column: None, kind: ColumnType::String, choice: None };
            if self.plans[index].node.field(path.split('.'))?.leaf.replace(leaf).is_some() {
                return Err(Error::bug(format!("field `{path}` has a column and is ignored")));
            }
        }
        Ok(())
    }

    /// Compiles one column of table `index`; `selected` is its place among the selected columns.
    fn column(&mut self, index: usize, levels: &[usize], column: &Column, selected: Option<usize>) -> Result<()> {
        match &column.source {
            Source::Field(paths) => {
                let several = paths.as_slice().len() > 1;
                for (rank, path) in paths.as_slice().iter().enumerate() {
                    let choice = several.then_some((self.plans[index].choices.len(), rank));
                    let field = self.plans[index].node.field(path.split('.'))?;
                    if field.leaf.replace(Leaf { column: selected, kind: column.kind, choice }).is_some() {
                        return Err(Error::bug(format!("field `{path}` has two columns")));
                    }
                }
                if several {
                    self.plans[index].choices.push((selected, lookup(column)?));
                }
            }
            Source::Ancestor(name) => {
                let (above, source) = self.column_of(name)?;
                let level = level(levels, above)?;
                let wanted = lookup(source)?;
                let shared = &mut self.plans[above].shared;
                let slot = shared.iter().position(|known| known.paths == wanted.paths).unwrap_or_else(|| {
                    shared.push(wanted);
                    shared.len() - 1
                });
                self.plans[index].inherited.extend(selected.map(|column| (column, level, slot)));
            }
            Source::Index(name) => {
                let level = level(levels, self.table_named(name)?)?;
                self.plans[index].ordinals.extend(selected.map(|column| (column, level)));
            }
            Source::Last(name) => {
                let (child, source) = self.column_of(name)?;
                let path = self.below(index, self.defined(child))?;
                let lookup = lookup(source)?;
                self.plans[index].last.extend(selected.map(|column| (column, path, lookup)));
            }
            Source::Metric(name) => {
                let fold = column.fold.ok_or_else(|| Error::bug("a metric column needs a fold"))?;
                let metrics = self.plans[index].metrics.get_or_insert_default();
                metrics.by_name.insert(name.as_str().into(), metrics.columns.len());
                metrics.columns.push((selected, fold));
            }
            Source::OtherMetrics { field } => {
                self.plans[index].metrics.get_or_insert_default().other = selected;
                if let Some(path) = field {
                    self.plans[index].node.object(path.split('.'))?.other_metrics = true;
                }
            }
            Source::OtherDecimals { field } => {
                self.plans[index].metrics.get_or_insert_default().decimals = selected;
                self.plans[index].node.object(field.split('.'))?.other_decimals = true;
            }
            Source::OtherTexts => {
                self.plans[index].metrics.get_or_insert_default().texts = selected;
                self.plans[index].node.other_texts = true;
            }
            Source::Key => self.plans[index].key = selected,
            Source::Value => {
                self.plans[index].value = Some(Leaf { column: selected, kind: column.kind, choice: None });
            }
            Source::Extra => self.plans[index].extra = selected,
        }
        Ok(())
    }

    /// Hangs every table into its parent, children first known to be wanted or not.
    fn link(&mut self) -> Result<()> {
        let folds = self.plans.iter().any(|plan| plan.output.is_some() && plan.metrics.is_some());
        let mut wanted: Vec<bool> =
            self.plans.iter().map(|plan| plan.output.is_some() || (folds && plan.emission.is_some())).collect();
        for index in (1..self.plans.len()).rev() {
            let table = self.defined(index);
            let parent = self.parents[index].ok_or_else(|| Error::bug("a table has no parent"))?;
            wanted[parent] |= wanted[index];
            let path = self.below(parent, table)?;
            let rows = Rows {
                table: index,
                is_map: table.is_map(),
                selected: self.plans[index].output.is_some(),
                wanted: wanted[index],
            };
            self.plans[parent].node.field(path.iter().map(AsRef::as_ref))?.rows = Some(rows);
        }
        Ok(())
    }

    fn defined(&self, index: usize) -> &Table {
        &self.defined[index]
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
    fn below(&self, above: usize, table: &Table) -> Result<Vec<Box<str>>> {
        let above = &self.defined(above).place;
        let rest = match above.is_empty() {
            true => Some(table.place.as_str()),
            false => table.place.strip_prefix(above.as_str()).and_then(|rest| rest.strip_prefix('.')),
        };
        match rest {
            Some(rest) if !rest.is_empty() => Ok(path(rest)),
            _ => Err(Error::bug(format!("`{}` does not lie below `{above}`", table.place))),
        }
    }

    /// The tables from the record down to `index`.
    fn levels(&self, index: usize) -> Vec<usize> {
        let mut levels: Vec<usize> = std::iter::successors(Some(index), |&at| self.parents[at]).collect();
        levels.reverse();
        levels
    }

    fn table_named(&self, name: &str) -> Result<usize> {
        let found = self.defined.iter().position(|table| table.name == name);
        found.ok_or_else(|| Error::bug(format!("there is no table `{name}`")))
    }

    /// The table and column that `TABLE.COLUMN` names.
    fn column_of(&self, name: &str) -> Result<(usize, &Column)> {
        let (table, column) =
            name.split_once('.').ok_or_else(|| Error::bug(format!("`{name}` is not TABLE.COLUMN")))?;
        let index = self.table_named(table)?;
        Ok((index, known(self.defined(index), column)?))
    }
}

impl Node {
    /// The field at `path`, made if need be.
    fn field<'p>(&mut self, mut path: impl Iterator<Item = &'p str>) -> Result<&mut Field> {
        let mut node = self;
        let mut name = path.next().ok_or_else(|| Error::bug("an empty path"))?;
        for next in path {
            node = node.child(name);
            name = next;
        }
        Ok(node.fields.entry(name.into()).or_default())
    }

    /// The embedded object at `path`, made if need be.
    fn object<'p>(&mut self, path: impl Iterator<Item = &'p str>) -> Result<&mut Node> {
        Ok(path.fold(self, Node::child))
    }

    fn child(&mut self, name: &str) -> &mut Node {
        let place = format!("{}.{name}", self.place);
        let object = &mut self.fields.entry(name.into()).or_default().object;
        object.get_or_insert_with(|| Node { place, ..Node::default() })
    }
}

fn known<'t>(table: &'t Table, column: &str) -> Result<&'t Column> {
    table.column(column).ok_or_else(|| Error::bug(format!("table `{}` has no column `{column}`", table.name)))
}

fn level(levels: &[usize], table: usize) -> Result<usize> {
    levels.iter().position(|&at| at == table).ok_or_else(|| Error::bug("the source lies in a table that is not above"))
}

fn lookup(column: &Column) -> Result<Lookup> {
    match &column.source {
        Source::Field(paths) => {
            Ok(Lookup { kind: column.kind, paths: paths.as_slice().iter().map(|whole| path(whole)).collect() })
        }
        _ => Err(Error::bug(format!("column `{}` is not a field", column.name))),
    }
}

fn path(dotted: &str) -> Vec<Box<str>> {
    dotted.split('.').map(Into::into).collect()
}
