//! Fields that did not find their column, counted.

use std::collections::BTreeMap;

/// Counts by table and path. Those of a record count only once the record is known to be good.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    counts: BTreeMap<String, u64>,
    /// Of the record that is being read.
    fresh: Vec<String>,
}

impl Unknown {
    /// Counts field `name` at `place`. A name that does not look like one may be data, and is not repeated.
    pub(super) fn note(&mut self, place: &str, name: &[u8]) {
        let name = std::str::from_utf8(name).ok().filter(|name| is_name(name)).unwrap_or("?");
        self.fresh.push(format!("{place}.{name}"));
    }

    /// The record is good.
    pub(super) fn keep(&mut self) {
        for path in self.fresh.drain(..) {
            *self.counts.entry(path).or_default() += 1;
        }
    }

    /// The record is not.
    pub(super) fn forget(&mut self) {
        self.fresh.clear();
    }

    /// All counts so far, which begin anew.
    pub(super) fn take(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.counts)
    }
}

/// Whether the name of a field looks like one of the API's, and not like data.
pub fn is_name(name: &str) -> bool {
    const NAME_MAX: usize = 64;
    name.len() <= NAME_MAX
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
