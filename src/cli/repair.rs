//! The commands that repair what `verify` found, ready to be pasted into a shell.

use std::collections::BTreeSet;

use crate::api::{Endpoint, Filters};
use crate::export::first_name;
use crate::lake::identity::{Family, Identity};
use crate::lake::verify::{Finding, Repair};
use crate::lake::{Location, TableName};
use crate::time::Day;

/// The commands for one lake.
pub(super) struct Repairs<'a> {
    pub(super) location: &'a Location,
    pub(super) identity: &'a Identity,
}

impl Repairs<'_> {
    /// What repairs one finding.
    pub(super) fn of(&self, finding: &Finding) -> Option<String> {
        Some(match finding.repair()? {
            Repair::MoveAway(file) => self.move_away(file),
            Repair::Export(day) => self.export(day, day.next()),
            Repair::Snapshot(table, day) => self.snapshot(table, day),
        })
    }

    /// What repairs all of them: files that are in the way first, then each run of days at once.
    pub(super) fn all(&self, findings: &[Finding]) -> Vec<String> {
        let repairs: BTreeSet<Repair<'_>> = findings.iter().filter_map(Finding::repair).collect();
        let (mut commands, mut snapshots) = (Vec::new(), Vec::new());
        let mut runs: Vec<(Day, Day)> = Vec::new();
        for repair in repairs {
            match repair {
                Repair::MoveAway(file) => commands.push(self.move_away(file)),
                Repair::Export(day) => match runs.last_mut() {
                    Some((_, to)) if *to == day => *to = day.next(),
                    _ => runs.push((day, day.next())),
                },
                Repair::Snapshot(table, day) => snapshots.push(self.snapshot(table, day)),
            }
        }
        commands.extend(runs.into_iter().map(|(from, to)| self.export(from, to)));
        commands.extend(snapshots);
        commands
    }

    fn move_away(&self, file: &str) -> String {
        let path = self.location.join(file);
        match self.location {
            Location::Folder(_) => format!("mv -n -- {} ~/", quoted(&path)),
            // Every store has a tool of its own for that.
            Location::Bucket(_) => format!("# move {path} out of the bucket"),
        }
    }

    /// What is listed is the present, which may have fewer names than the day had.
    fn snapshot(&self, table: &TableName, day: Day) -> String {
        format!("convlake dimensions --only {table} --date {day} --out {}", quoted(&self.location.to_string()))
    }

    /// With all that the lake's identity asks for, so that the run is one of this lake.
    fn export(&self, from: Day, to: Day) -> String {
        let out = quoted(&self.location.to_string());
        match self.identity.source.as_str() {
            "files" => return format!("convlake convert PAGES --out {out}   # the saved pages of {from} to {to}"),
            "demo" => return format!("convlake demo --out {out}"),
            _ => {}
        }
        let mut words = vec![format!("convlake export --from {from} --to {to}")];
        let mut flag = |name: &str, values: &[String]| {
            if !values.is_empty() {
                words.push(format!("--{name} {}", quoted(&values.join(","))));
            }
        };
        let selection = &self.identity.selection;
        match self.identity.family {
            Family::Genesys => {}
            Family::Cursor => flag("protocol", &["cursor".to_owned()]),
            Family::Page => flag("protocol", &["page".to_owned()]),
        }
        // Filters of a later version are not known here; the run that lacks them is refused, and says which they are.
        let filters: Filters = serde_json::from_value(selection.filters.clone()).unwrap_or_default();
        flag("queue", &filters.queues);
        flag("user", &filters.users);
        flag("skill", &filters.skills);
        flag("media-type", &filters.media_types);
        flag("direction", &filters.directions);
        flag("division", &filters.divisions);
        if filters.raw.is_some() {
            flag("filter", &["FILE".to_owned()]);
        }
        let genesys = Endpoint::base_url(&format!("https://{}", self.identity.source), false);
        let is_id = first_name(&filters).is_none() || !genesys.is_ok_and(|endpoint| endpoint.is_genesys());
        let is_known = is_id && filters.spelled().is_ok();
        flag("metrics", &selection.metrics);
        flag("group-by", &selection.group_by);
        flag("granularity", selection.granularity.as_slice());
        flag("tables", selection.tables.as_deref().unwrap_or_default());
        flag("exclude-column", &selection.excluded);
        if !is_known {
            words.push("--allow-unknown".to_owned());
        }
        words.push(format!("--out {out}"));
        words.join(" ")
    }
}

/// As one word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./:=,@%+-".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lake::identity::Selection;
    use crate::lake::layout::Dataset;
    use crate::lake::verify::Damage;
    use serde_json::json;

    #[test]
    fn days_that_follow_each_other_are_exported_at_once_after_files_are_moved() {
        let (location, table) = (Location::Folder("my lake".into()), TableName::new("sessions").unwrap());
        let identity = Identity {
            family: Family::Page,
            source: "localhost".to_owned(),
            organization: None,
            selection: Selection {
                filters: json!({"queues": ["a", "b"]}),
                tables: Some(vec!["sessions".to_owned()]),
                ..Selection::default()
            },
        };
        let day = |text: &str| text.parse::<Day>().unwrap();
        let of = |dataset, damage, date| Finding::of_part(dataset, &table, day(date), damage, String::new());
        let part = |damage, date| of(Dataset::Conversations, damage, date);
        let findings = [
            part(Damage::Missing, "2025-01-31"),
            part(Damage::Bytes, "2025-02-01"),
            part(Damage::Rows, "2025-02-01"),
            part(Damage::Foreign, "2025-02-02"),
            part(Damage::Orphan, "2025-02-03"),
            of(Dataset::ALL[1], Damage::Missing, "2025-02-04"),
        ];
        let flags = "--protocol page --queue a,b --tables sessions --out 'my lake'";
        let repairs = Repairs { location: &location, identity: &identity };
        assert_eq!(
            repairs.all(&findings),
            [
                "mv -n -- 'my lake/sessions/date=2025-02-02/sessions.parquet' ~/".to_owned(),
                format!("convlake export --from 2025-01-31 --to 2025-02-02 {flags}"),
                format!("convlake export --from 2025-02-03 --to 2025-02-04 {flags}"),
                "convlake dimensions --only sessions --date 2025-02-04 --out 'my lake'".to_owned(),
            ]
        );
    }

    #[test]
    fn what_a_shell_would_read_is_quoted() {
        assert_eq!([quoted("s3://a/b-c"), quoted("it's"), quoted("")], ["s3://a/b-c", r"'it'\''s'", "''"]);
    }
}
