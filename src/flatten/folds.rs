//! Many emissions of a metric become one value of a row.

use std::collections::BTreeMap;

use super::buffers::Column;
use super::plan::MetricPlan;
use super::schema::Fold;

/// The emissions at or below the open row of a table. Reused row after row.
#[derive(Debug, Default)]
pub(super) struct Folds {
    /// Of each metric of the plan, the value so far. 128 bits: whether the result fits does not depend on the order.
    values: Vec<i128>,
    seen: Vec<bool>,
    /// Which have one.
    touched: Vec<usize>,
    other: BTreeMap<Vec<u8>, i128>,
    decimals: BTreeMap<Vec<u8>, f64>,
    texts: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Folds {
    pub(super) fn new(plan: Option<&MetricPlan>) -> Folds {
        let metrics = plan.map_or(0, |plan| plan.metrics.len());
        Folds { values: vec![0; metrics], seen: vec![false; metrics], ..Folds::default() }
    }

    /// Takes one emission of the metric at this place in the plan; says whether it has a column here.
    #[inline]
    pub(super) fn add(&mut self, plan: &MetricPlan, metric: Option<usize>, name: &[u8], value: i64) -> bool {
        let Some((metric, found)) = metric.and_then(|metric| Some((metric, plan.metrics[metric]?))) else {
            self.add_other(name, value);
            return false;
        };
        let (value, so_far) = (i128::from(value), &mut self.values[metric]);
        if !self.seen[metric] {
            self.seen[metric] = true;
            self.touched.push(metric);
            *so_far = value;
        } else {
            match found.fold {
                Fold::Sum => *so_far += value,
                Fold::Max => *so_far = value.max(*so_far),
            }
        }
        true
    }

    /// Takes one value of a metric without a column.
    pub(super) fn add_other(&mut self, name: &[u8], value: i64) {
        match self.other.get_mut(name) {
            Some(so_far) => *so_far += i128::from(value),
            None => drop(self.other.insert(name.to_vec(), value.into())),
        }
    }

    /// Takes the value of a metric without a column that is no integer.
    pub(super) fn add_decimal(&mut self, name: &[u8], value: f64) {
        self.decimals.insert(name.to_vec(), value);
    }

    /// Takes a text without a column.
    pub(super) fn add_text(&mut self, name: &[u8], text: &[u8]) {
        self.texts.insert(name.to_vec(), text.to_vec());
    }

    /// Writes the values of `row`, which is complete. A sum beyond 64 bits is none: its emissions are rows themselves, and
    /// `overflowed` is told the column.
    pub(super) fn close(
        &mut self,
        plan: &MetricPlan,
        columns: &mut [Column],
        row: u32,
        mut overflowed: impl FnMut(usize),
    ) {
        for metric in self.touched.drain(..) {
            self.seen[metric] = false;
            let column = plan.metrics[metric].and_then(|metric| metric.column);
            let Some(column) = column else { continue };
            match (fitting(self.values[metric]), &mut columns[column]) {
                (Some(value), Column::Int64(column)) => column.put(row, value),
                (Some(_), _) => {}
                (None, _) => overflowed(column),
            }
        }
        if !self.other.is_empty() {
            if let Some(other) = plan.other
                && let Column::Int64Map(column) = &mut columns[other]
            {
                column.put(row, self.other.iter(), |values, item, value| {
                    fitting(*value).into_iter().for_each(|value| values.put(item, value));
                });
                self.other.values().filter(|&&value| fitting(value).is_none()).for_each(|_| overflowed(other));
            }
            self.other.clear();
        }
        if !(self.decimals.is_empty() && self.texts.is_empty()) {
            self.close_rare(plan, columns, row);
        }
    }

    #[cold]
    fn close_rare(&mut self, plan: &MetricPlan, columns: &mut [Column], row: u32) {
        if let Some(Column::DoubleMap(column)) =
            plan.decimals.filter(|_| !self.decimals.is_empty()).map(|c| &mut columns[c])
        {
            column.put(row, self.decimals.iter(), |values, item, value| values.put(item, *value));
        }
        if let Some(Column::StringMap(column)) = plan.texts.filter(|_| !self.texts.is_empty()).map(|c| &mut columns[c])
        {
            column.put(row, self.texts.iter(), |values, item, text| {
                values.bytes.extend_from_slice(text);
                values.end(item);
            });
        }
        self.decimals.clear();
        self.texts.clear();
    }

    /// Forgets the open row.
    pub(super) fn clear(&mut self) {
        for metric in self.touched.drain(..) {
            self.seen[metric] = false;
        }
        self.other.clear();
        self.decimals.clear();
        self.texts.clear();
    }
}

fn fitting(value: i128) -> Option<i64> {
    i64::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::super::plan::Metric;
    use super::super::schema::ColumnType;
    use super::*;

    #[test]
    fn sums_add_up_maxima_do_not_and_overflow_is_nothing() {
        let metric = |column, fold| Some(Metric { column, fold });
        let plan = MetricPlan {
            metrics: vec![
                metric(Some(0), Fold::Sum),
                metric(Some(1), Fold::Max),
                metric(None, Fold::Sum),
                metric(Some(2), Fold::Sum),
                None,
            ],
            other: Some(3),
            ..MetricPlan::default()
        };
        let mut columns = vec![
            Column::new(ColumnType::Int64),
            Column::new(ColumnType::Int64),
            Column::new(ColumnType::Int64),
            Column::new(ColumnType::Int64Map),
        ];
        let ints = |columns: &[Column]| -> Vec<Vec<(u32, i64)>> {
            let of = |column: &Column| match column {
                Column::Int64(column) => column.rows.iter().copied().zip(column.values.iter().copied()).collect(),
                _ => Vec::new(),
            };
            columns.iter().take(3).map(of).collect()
        };
        let mut folds = Folds::new(Some(&plan));
        let emissions = [(0, 1), (1, -5), (3, i64::MAX), (0, 2), (1, -7), (3, 1), (2, 9)];
        for (metric, value) in emissions {
            assert!(folds.add(&plan, Some(metric), b"", value));
        }
        let mut overflowed = Vec::new();
        folds.close(&plan, &mut columns, 4, |column| overflowed.push(column));
        assert_eq!(ints(&columns), [vec![(4, 3)], vec![(4, -5)], vec![]]);
        assert_eq!(overflowed, [2]);
        for (metric, value) in emissions.into_iter().chain([(3, -1)]) {
            folds.add(&plan, Some(metric), b"", value);
        }
        assert!(!folds.add(&plan, None, b"xNew", 4) && !folds.add(&plan, Some(4), b"xNew", 5));
        folds.close(&plan, &mut columns, 6, |column| panic!("{column} overflows"));
        assert_eq!(ints(&columns)[2], [(6, i64::MAX)], "the order of emissions does not matter");
        let Column::Int64Map(other) = &columns[3] else { unreachable!() };
        assert_eq!(
            (&*other.rows, &*other.items.names.bytes, &*other.items.values.values),
            (&[6][..], &b"xNew"[..], &[9][..])
        );
        for _ in 0..2 {
            folds.add(&plan, None, b"xNew", i64::MIN);
        }
        folds.close(&plan, &mut columns, 7, |column| overflowed.push(column));
        assert_eq!(overflowed, [2, 3]);
    }
}
