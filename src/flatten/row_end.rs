//! The end of a row: what is known only when all of its object, and all rows below it, have been read.

use super::buffers::{Column, repeat_last};
use super::leftovers::{self, Left};
use super::oddities::Oddity;
use super::reader::{Reader, Result, Row};
use super::scratch::{Candidate, Scratch};

impl<'p> Reader<'p, '_, '_> {
    /// Gives the columns with several paths their values, which are known only now.
    pub(super) fn choose(&mut self, row: &Row<'p>, begin: usize) -> Result<()> {
        self.to.candidates[begin..].sort_unstable_by_key(|candidate| (candidate.choice, candidate.rank));
        let mut chosen = None;
        for at in begin..self.to.candidates.len() {
            let candidate = self.to.candidates[at];
            if chosen != Some(candidate.choice)
                && let Some(column) = row.plan.choices[candidate.choice]
                && self.to.columns[column].read(
                    row.at,
                    &mut self.cursor.from(candidate.value.start),
                    &mut self.to.dates,
                )?
            {
                chosen = Some(candidate.choice);
                if let Some(left) = candidate.left {
                    self.to.left[left] = Left::Settled;
                }
            } else if candidate.noted {
                let fits =
                    chosen == Some(candidate.choice) && self.fits(row.plan.choices[candidate.choice], candidate)?;
                let note = if fits { Oddity::Unknown } else { Oddity::WrongType };
                let node = &self.plan.nodes[candidate.node];
                self.note(row, note, &node.place, node.fields[candidate.field].name.as_bytes());
            }
        }
        self.to.candidates.truncate(begin);
        Ok(())
    }

    /// Whether a value that comes too late would have been one of the column's type.
    fn fits(&mut self, column: Option<usize>, candidate: Candidate) -> Result<bool> {
        let Some(column) = column else { return Ok(false) };
        let mut alone = Column::new(self.plan.columns[column]);
        alone.read(0, &mut self.cursor.from(candidate.value.start), &mut self.to.dates)
    }

    /// Fills what other columns and the rows below say.
    #[inline]
    pub(super) fn close(&mut self, row: &Row<'p>) {
        let Scratch { columns, tables, folds, noted, .. } = &mut *self.to;
        for &(own, child, source) in &row.plan.last {
            repeat_last(columns, source, own, row.at, |at| tables[child].parents[at as usize] == row.at);
        }
        if let Some(emission) = &row.plan.emission
            && let Column::String(names) = &columns[emission.name]
            && let Column::Int64(values) = &columns[emission.value]
            && let Some((_, name)) = names.last().filter(|(at, _)| *at == row.at)
            && let Some(value) = values.last(row.at)
        {
            let metric = self.plan.metrics.find(name);
            let mut known = false;
            for &table in &emission.into {
                if let Some(plan) = &self.plan.tables[table].metrics {
                    known |= folds[table].add(plan, metric, name, value);
                }
            }
            if !known {
                noted.field(Oddity::Unknown, &emission.place, name);
            }
        }
        if let Some(metrics) = &row.plan.metrics {
            let names = &self.plan.names;
            folds[row.table].close(metrics, columns, row.at, |column| noted.column(Oddity::Overflowed, &names[column]));
        }
    }

    /// Writes what is left into the row's `extra`.
    pub(super) fn write_left(&mut self, row: &Row<'p>, begin: usize) -> Result<()> {
        if let Some(Column::String(extra)) = row.plan.extra.map(|extra| &mut self.to.columns[extra])
            && leftovers::write(&self.to.left[begin..], &self.cursor, &mut extra.bytes)?
        {
            extra.end(row.at);
        }
        self.to.left.truncate(begin);
        Ok(())
    }
}
