//! What stands in the tables' folders and is not there by a receipt: readers would count it with the rest.

use rayon::prelude::*;

use super::finding::{Damage, Finding};
use crate::error::Result;
use crate::lake::layout::{Dataset, LakePath, TableName};
use crate::lake::ledger::Ledger;
use crate::lake::open::Lake;
use crate::lake::receipt::Receipt;
use crate::lake::slot::read_label;
use crate::time::{Day, Days};

/// The lake's folders beside its ledgers.
pub(super) struct Folders<'a> {
    pub(super) lake: &'a Lake,
    pub(super) ledgers: &'a [(Dataset, Ledger)],
}

impl Folders<'_> {
    /// Every file and folder in the tables' folders that no receipt names.
    pub(super) fn strangers(&self, days: &Days) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mut partitions = Vec::new();
        for table in self.lake.store.list_root()?.iter().filter_map(|name| TableName::new(name).ok()) {
            for name in self.lake.store.list(&LakePath::Table(table.clone()))? {
                match LakePath::parse(&format!("{table}/{name}")) {
                    Some(LakePath::Partition(_, day)) if days.contains(day) => partitions.push((table.clone(), day)),
                    Some(LakePath::Partition(..)) => {}
                    _ if is_hidden(&name) => {}
                    _ => findings.push(self.foreign(&table, None, format!("{table}/{name}"))),
                }
            }
        }
        let inside: Vec<Vec<Finding>> =
            partitions.par_iter().map(|(table, day)| self.in_partition(table, *day)).collect::<Result<_>>()?;
        findings.extend(inside.into_iter().flatten());
        Ok(findings)
    }

    fn in_partition(&self, table: &TableName, day: Day) -> Result<Vec<Finding>> {
        let (partition, part) = (LakePath::Partition(table.clone(), day), LakePath::Part(table.clone(), day));
        let mut findings = Vec::new();
        for name in self.lake.store.list(&partition)? {
            let path = format!("{partition}/{name}");
            if path == part.to_string() {
                findings.extend(self.unnamed(table, day, &part)?);
            } else if !is_hidden(&name) {
                findings.push(self.foreign(table, Some(day), path));
            }
        }
        Ok(findings)
    }

    /// A file that has the name of the table's own.
    fn unnamed(&self, table: &TableName, day: Day, part: &LakePath) -> Result<Option<Finding>> {
        let named = |receipt: Option<&Receipt>| receipt.is_some_and(|receipt| receipt.file(table).is_some());
        if self.ledgers.iter().any(|(_, ledger)| named(ledger.receipt(day))) {
            return Ok(None);
        }
        let label = self.lake.store.open(part)?.and_then(|file| read_label(&file).ok().flatten());
        // A day that was published since the ledgers were read is no stranger.
        for (dataset, _) in self.ledgers {
            if named(self.lake.records(*dataset).day(day)?.receipt.as_ref()) {
                return Ok(None);
            }
        }
        Ok(Some(match label {
            Some(label) => {
                let what = format!("no receipt names it; run {} wrote it", label.order.writer());
                Finding::of_part(self.dataset(table), table, day, Damage::Unrecorded, what)
            }
            None => self.foreign(table, Some(day), part.to_string()),
        }))
    }

    fn foreign(&self, table: &TableName, day: Option<Day>, path: String) -> Finding {
        let what = "it is not convlake's".to_owned();
        let (dataset, table) = (self.dataset(table), Some(table.clone()));
        Finding { day, dataset, table, file: Some(path), damage: Damage::Foreign, what }
    }

    /// Whose table it is.
    fn dataset(&self, table: &TableName) -> Dataset {
        let names = |ledger: &Ledger| {
            ledger.days().any(|(day, _)| ledger.receipt(*day).is_some_and(|r| r.file(table).is_some()))
        };
        let found = self.ledgers.iter().find(|(_, ledger)| names(ledger));
        found.map_or(Dataset::Conversations, |(dataset, _)| *dataset)
    }
}

/// File systems and desktops leave such names in every folder. Some readers take them when they end in `.parquet`.
fn is_hidden(name: &str) -> bool {
    name.starts_with('.') && !name.ends_with(".parquet")
}
