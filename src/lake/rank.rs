//! What a version of a conversation says, as something that can be compared: the same for rows that have just been read
//! from a page and for rows that are read back from a lake.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type};
use xxhash_rust::xxh3::Xxh3;

use super::day_rows::{DayRows, Place};
use super::encode::row_group::Piece;
use crate::error::{Error, Result};

/// The order of versions by their content: the latest timestamp, then the hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// The latest value of any column of timestamps in any of its rows, in microseconds since the Unix epoch. There is
    /// always one: the conversation's start.
    latest: Option<i64>,
    /// The hash of all its rows.
    hash: u128,
}

/// The ranks of the records at `places`, which are in order.
///
/// # Errors
/// [`crate::error::Kind::Storage`] when spilled rows cannot be read.
pub(super) fn ranks(rows: &DayRows, places: &[Place]) -> Result<Vec<Rank>> {
    let mut ranks = vec![Rank::default(); places.len()];
    if places.is_empty() {
        return Ok(ranks);
    }
    for table in 0..rows.schemas().len() {
        let mut finder = rows.finder(table);
        for (place, rank) in places.iter().zip(&mut ranks) {
            if let Some(piece) = finder.find(*place)? {
                rank.add(table, &piece)?;
            }
        }
    }
    Ok(ranks)
}

impl Rank {
    /// Latest timestamp and hash.
    pub(super) fn to_parts(self) -> (i64, u128) {
        (self.latest.unwrap_or(i64::MIN + 1), self.hash)
    }

    pub(super) fn from_parts(latest: i64, hash: u128) -> Rank {
        Rank { latest: Some(latest), hash }
    }

    /// Takes in the record's rows of table number `table`.
    fn add(&mut self, table: usize, Piece { rows, range }: &Piece) -> Result<()> {
        let mut content = Content { latest: self.latest, hash: Xxh3::new() };
        content.hash.update(&self.hash.to_le_bytes());
        content.number(table);
        for row in range.clone() {
            for column in rows.columns() {
                content.column(column.as_ref(), row)?;
            }
        }
        *self = Rank { latest: content.latest, hash: content.hash.digest128() };
        Ok(())
    }
}

/// Values as they are read.
struct Content {
    latest: Option<i64>,
    hash: Xxh3,
}

impl Content {
    fn number(&mut self, number: usize) {
        self.hash.update(&(number as u64).to_le_bytes());
    }

    /// A column without any value is null, like a value that is.
    fn column(&mut self, column: Option<&ArrayRef>, row: usize) -> Result<()> {
        match column {
            None => self.null(),
            Some(array) => return self.value(array.as_ref(), row),
        }
        Ok(())
    }

    fn null(&mut self) {
        self.hash.update(&[0]);
    }

    fn value(&mut self, array: &dyn Array, row: usize) -> Result<()> {
        if array.is_null(row) {
            self.null();
            return Ok(());
        }
        // A text that stands once is the text.
        if let Some(texts) = array.as_dictionary_opt::<UInt32Type>() {
            return self.value(texts.values().as_ref(), texts.keys().value(row) as usize);
        }
        self.hash.update(&[1]);
        self.present(array, row).ok_or_else(|| Error::bug("a column of a type that has no order"))?
    }

    /// A value that is not null; `None` when its type is none of the lake's.
    fn present(&mut self, array: &dyn Array, row: usize) -> Option<Result<()>> {
        match array.data_type() {
            DataType::Timestamp(..) => {
                let at = array.as_primitive_opt::<TimestampMicrosecondType>()?.value(row);
                self.latest = self.latest.max(Some(at));
                self.hash.update(&at.to_le_bytes());
            }
            DataType::Int64 => self.hash.update(&array.as_primitive_opt::<Int64Type>()?.value(row).to_le_bytes()),
            DataType::Float64 => {
                self.hash.update(&array.as_primitive_opt::<Float64Type>()?.value(row).to_bits().to_le_bytes());
            }
            DataType::Boolean => self.hash.update(&[u8::from(array.as_boolean_opt()?.value(row))]),
            DataType::Utf8 => {
                let text = array.as_string_opt::<i32>()?.value(row);
                self.number(text.len());
                self.hash.update(text.as_bytes());
            }
            DataType::List(_) => {
                let list = array.as_list_opt::<i32>()?;
                return Some(self.items(&[list.values()], list.value_offsets(), row));
            }
            DataType::Map(..) => {
                let map = array.as_map_opt()?;
                return Some(self.items(&[map.keys(), map.values()], map.value_offsets(), row));
            }
            _ => return None,
        }
        Some(Ok(()))
    }

    /// The items of row number `row`, which end at the offset behind its own.
    fn items(&mut self, columns: &[&ArrayRef], offsets: &[i32], row: usize) -> Result<()> {
        let items = offsets[row] as usize..offsets[row + 1] as usize;
        self.number(items.len());
        for item in items {
            columns.iter().try_for_each(|column| self.value(column.as_ref(), item))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::spill::Spill;
    use crate::lake::testing::{Rec, batch, day, specs};
    use crate::memory::Memory;

    /// The ranks of all records, by their ids.
    fn all(rows: &DayRows) -> Vec<(String, Rank)> {
        let mut found = Vec::new();
        rows.visit(|key, place| found.push((place, key.id.to_owned()))).unwrap();
        found.sort();
        let (places, ids): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let mut ranks: Vec<_> = ids.into_iter().zip(ranks(rows, &places).unwrap()).collect();
        ranks.sort();
        ranks
    }

    #[test]
    fn the_same_rows_have_the_same_rank_wherever_they_wait_and_others_have_another() {
        let (specs, day) = (specs(2), day("2025-01-01"));
        let rec = |n: usize, place| Rec::new(day, &format!("id-{n}"), n as i64, place, n % 4);
        let recs: Vec<Rec> = (0..40).map(|n| rec(n, (0, 1, n as u32))).collect();
        let in_memory = DayRows::from(vec![batch(day, &specs, &recs[..7]), batch(day, &specs, &recs[7..])]);
        let ranks = all(&in_memory);
        let temp = tempfile::tempdir().unwrap();
        let mut on_disk = in_memory.clone();
        Spill::new(temp.path(), &Memory::new(1 << 20)).unwrap().spill(&mut on_disk).unwrap();
        assert_eq!(all(&on_disk), ranks);
        assert!(ranks.iter().all(|(_, rank)| rank.latest >= Some(day.start().timestamp_micros())));

        let distinct: std::collections::BTreeSet<u128> = ranks.iter().map(|(_, rank)| rank.hash).collect();
        assert_eq!(distinct.len(), recs.len());
        // One child more, and nothing else.
        let more: Vec<Rec> = recs.iter().map(|rec| Rec { children: rec.children + 1, ..rec.clone() }).collect();
        let changed = all(&vec![batch(day, &specs, &more)].into());
        assert!(changed.iter().zip(&ranks).all(|(one, other)| one.0 == other.0 && one.1 != other.1));
    }
}
