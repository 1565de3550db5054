//! What the summary says about values that are not where they were meant to be, or not as they came.

use std::collections::BTreeMap;

use super::text::count;
use crate::flatten::Oddities;

/// Names that a line lists; the report has all.
const NAMED_MAX: usize = 8;

/// One line for each kind.
pub(super) fn lines(oddities: &Oddities) -> Vec<String> {
    [
        (&oddities.unknown, "field", "unknown to the schema, kept in `extra` or `metrics_other`"),
        (&oddities.wrong_type, "field", "with a value of another type than the schema says, kept in `extra`"),
        (&oddities.overflowed, "column", "NULL where a sum has more than 64 bits; the emissions are in `metrics`"),
        (&oddities.replaced, "column", "with texts in which half a character became U+FFFD"),
    ]
    .into_iter()
    .filter(|(names, ..)| !names.is_empty())
    .map(|(names, noun, what)| format!("{} {what}: {}", count(names.len() as u64, noun), listed(names)))
    .collect()
}

fn listed(names: &BTreeMap<String, u64>) -> String {
    let named: Vec<&str> = names.keys().take(NAMED_MAX).map(String::as_str).collect();
    let more = if names.len() > NAMED_MAX { ", …" } else { "" };
    named.join(", ") + more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_line_and_nothing_has_none() {
        let names = |n: u64| (0..n).map(|n| (format!("sessions.f{n}"), 1)).collect::<BTreeMap<_, _>>();
        assert!(lines(&Oddities::default()).is_empty());
        let found = Oddities { unknown: names(9), wrong_type: names(1), overflowed: names(1), replaced: names(2) };
        let said = lines(&found);
        assert!(
            said[0].starts_with("9 fields unknown to the schema") && said[0].ends_with("sessions.f7, …"),
            "{said:?}"
        );
        assert!(said[1].starts_with("1 field with a value of another type") && said[1].ends_with(": sessions.f0"));
        assert!(said[2].starts_with("1 column NULL where a sum"), "{said:?}");
        assert!(said[3].starts_with("2 columns with texts"), "{said:?}");
    }
}
