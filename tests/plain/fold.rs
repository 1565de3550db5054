//! Many emissions of a metric become one value of a row.

use std::collections::BTreeMap;

use super::cell::Cell;
use super::tree::MetricPlan;
use convlake::flatten::schema::Fold;

/// The entries of a map, by name.
type Entries<'r> = Vec<(&'r str, Option<Cell<'r>>)>;

/// The emissions at or below one open row.
#[derive(Debug)]
pub(crate) struct Folds<'t, 'r> {
    plan: &'t MetricPlan,
    /// Place among the plan's columns, and the value so far. A row sees few of the many names, so a scan is quick.
    /// 128 bits: whether the result fits does not depend on the order.
    values: Vec<(usize, i128)>,
    other: BTreeMap<&'r str, i128>,
    decimals: BTreeMap<&'r str, f64>,
    texts: BTreeMap<&'r str, &'r str>,
}

impl<'t, 'r> Folds<'t, 'r> {
    pub(crate) fn new(plan: &'t MetricPlan) -> Folds<'t, 'r> {
        Folds { plan, values: Vec::new(), other: BTreeMap::new(), decimals: BTreeMap::new(), texts: BTreeMap::new() }
    }

    /// Takes one emission; says whether the metric has a column.
    pub(crate) fn add(&mut self, name: &'r str, value: i64) -> bool {
        let Some(&place) = self.plan.by_name.get(name) else {
            self.add_other(name, value);
            return false;
        };
        let value = i128::from(value);
        match self.values.iter_mut().find(|(known, _)| *known == place) {
            None => self.values.push((place, value)),
            Some((_, so_far)) => match self.plan.columns[place].1 {
                Fold::Sum => *so_far += value,
                Fold::Max => *so_far = value.max(*so_far),
            },
        }
        true
    }

    /// Takes one value of a metric without a column.
    pub(crate) fn add_other(&mut self, name: &'r str, value: i64) {
        *self.other.entry(name).or_default() += i128::from(value);
    }

    /// Takes the value of a metric without a column that is no integer.
    pub(crate) fn add_decimal(&mut self, name: &'r str, value: f64) {
        self.decimals.insert(name, value);
    }

    /// Takes a text without a column.
    pub(crate) fn add_text(&mut self, name: &'r str, text: &'r str) {
        self.texts.insert(name, text);
    }

    /// The columns that have a value, and the value. A sum beyond 64 bits is none: its emissions are rows of their own.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (usize, i64)> {
        self.values.iter().filter_map(|&(place, value)| Some((self.plan.columns[place].0?, fitting(value)?)))
    }

    /// The columns whose value has more than 64 bits, as often as they have one.
    pub(crate) fn overflowed(&self) -> impl Iterator<Item = usize> {
        let own = self.values.iter().filter(|(_, value)| fitting(*value).is_none());
        let other = self.other.values().filter(|value| fitting(**value).is_none());
        own.filter_map(|&(place, _)| self.plan.columns[place].0).chain(other.filter_map(|_| self.plan.other))
    }

    /// The selected columns for what has no column of its own, each with its entries by name; none where there are none.
    pub(crate) fn maps(&self) -> Vec<(usize, Entries<'r>)> {
        let other = self.other.iter().map(|(&name, &value)| (name, fitting(value).map(Cell::Int))).collect();
        let decimals = self.decimals.iter().map(|(&name, &value)| (name, Some(Cell::Double(value)))).collect();
        let texts = self.texts.iter().map(|(&name, &text)| (name, Some(Cell::Text(text)))).collect();
        let columns = [(self.plan.other, other), (self.plan.decimals, decimals), (self.plan.texts, texts)];
        let filled = columns.into_iter().filter(|(_, entries): &(_, Vec<_>)| !entries.is_empty());
        filled.filter_map(|(column, entries)| Some((column?, entries))).collect()
    }
}

fn fitting(value: i128) -> Option<i64> {
    i64::try_from(value).ok()
}
