//! What a lake is, written once into `_convlake/lake.json` (when, `binding` tells), and the check that a run belongs to
//! it. Pure.
//!
//! Runs with another source or another selection would mix rows that cannot be told apart later, so they are refused
//! before the first call. The organization is compared when both sides know it: not every credential may read it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::flatten::schema::Columns;

/// The format that this version writes; a lake of a later one is refused. Format 2 knows the generations of observations
/// (see [`super::order`]): an earlier version would take them for older ones. A lake of format 1 becomes one of format 2
/// with the first day that is published to it.
pub const FORMAT: u32 = 2;

/// The shape of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Conversation details as query and jobs return them.
    Genesys,
    /// The records of the cursor protocol.
    Cursor,
    /// The records of the page protocol.
    Page,
}

/// Which records and columns a lake holds. Lists that are sets are kept sorted; build it with [`Selection::sorted`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// The filters as they are sent, null without any.
    #[serde(default)]
    pub filters: Value,
    /// The tables, when not all of them.
    #[serde(default)]
    pub tables: Option<Vec<String>>,
    /// Columns left out, as `table.column`.
    #[serde(default)]
    pub excluded: Vec<String>,
    /// Metrics asked for by name.
    #[serde(default)]
    pub metrics: Vec<String>,
    /// Grouping asked for.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// Granularity asked for.
    #[serde(default)]
    pub granularity: Option<String>,
}

impl Selection {
    /// The same selection, its sets sorted and without repetitions, so that the order of flags does not matter.
    #[must_use]
    pub fn sorted(mut self) -> Selection {
        for set in [&mut self.excluded, &mut self.metrics, &mut self.group_by].into_iter().chain(&mut self.tables) {
            set.sort_unstable();
            set.dedup();
        }
        self
    }
}

/// What every run on a lake has in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The shape of the records.
    pub family: Family,
    /// Where they come from: a host without port, `files`, `demo`.
    pub source: String,
    /// The organization, where it can be read.
    #[serde(default)]
    pub organization: Option<String>,
    /// Which of them.
    #[serde(default)]
    pub selection: Selection,
}

impl Identity {
    /// Whether a run with the identity `self` may write to a lake with `lake`'s.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`], naming the first field that differs and both values.
    pub fn check(&self, lake: &Identity) -> Result<()> {
        let (mine, theirs) = (&self.selection, &lake.selection);
        differ("family", &self.family, &lake.family)?;
        differ("source", &self.source, &lake.source)?;
        if self.organization.is_some() && lake.organization.is_some() {
            differ("organization", &self.organization, &lake.organization)?;
        }
        differ("filters", &mine.filters, &theirs.filters)?;
        differ("tables", &mine.tables, &theirs.tables)?;
        differ("excluded columns", &mine.excluded, &theirs.excluded)?;
        differ("metrics", &mine.metrics, &theirs.metrics)?;
        differ("grouping", &mine.group_by, &theirs.group_by)?;
        differ("granularity", &mine.granularity, &theirs.granularity)
    }
}

fn differ<T: PartialEq + Serialize>(field: &str, run: &T, lake: &T) -> Result<()> {
    if run == lake {
        return Ok(());
    }
    let text = |value: &T| serde_json::to_string(value).unwrap_or_else(|_| "?".to_owned());
    Err(Error::config(format!(
        "this lake has another {field}: it holds `{}`, this run has `{}`",
        text(lake),
        text(run)
    ))
    .hint("a lake has one source and one selection: give a subset, or another organization, a lake of its own"))
}

/// The content of `lake.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LakeFile {
    /// The format of the lake, [`FORMAT`] when this version made it.
    pub format: u32,
    /// The lake's own id; it stays when the folder is moved.
    pub lake: Uuid,
    /// The tool that made it.
    #[serde(default)]
    pub tool: String,
    /// What it holds.
    pub identity: Identity,
    /// Its set of columns. Lakes that were made before it was kept have none: see [`LakeFile::columns`].
    #[serde(default)]
    pub columns: Option<Columns>,
}

impl LakeFile {
    /// A new lake for `identity`.
    pub fn new(identity: Identity) -> LakeFile {
        let columns = Some(match identity.family {
            Family::Genesys => Columns::Details,
            Family::Cursor | Family::Page => Columns::Tutorials,
        });
        LakeFile { format: FORMAT, lake: Uuid::new_v4(), tool: super::TOOL.to_owned(), identity, columns }
    }

    /// The columns of its files. An early lake keeps those that it began with; one of a tutorial's gets the new ones,
    /// which its older files lack.
    pub fn columns(&self) -> Columns {
        match (self.columns, self.identity.family) {
            (Some(columns), _) => columns,
            (None, Family::Genesys) => Columns::Early,
            (None, Family::Cursor | Family::Page) => Columns::Tutorials,
        }
    }

    /// The JSON text.
    ///
    /// # Errors
    /// [`crate::error::Kind::Bug`] when it cannot be written, which no value of these types causes.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| Error::bug("cannot write `lake.json`").source(e))?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the JSON text; fields that this version does not know are ignored.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] for a later format or for what is not a `lake.json`.
    pub fn from_json(text: &[u8]) -> Result<LakeFile> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let unreadable = |e: serde_json::Error| {
            Error::config("`_convlake/lake.json` is not a lake's identity")
                .source(e)
                .hint("restore the file from a backup, or export to another folder")
        };
        // The format comes first: a later one may have changed everything else.
        let head: Head = serde_json::from_slice(text).map_err(unreadable)?;
        if head.format > FORMAT {
            return Err(Error::config(format!("this lake has format {}, this version knows {FORMAT}", head.format))
                .hint("use the version that wrote the lake, or a later one"));
        }
        serde_json::from_slice(text).map_err(unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use serde_json::json;

    fn identity() -> Identity {
        Identity {
            family: Family::Genesys,
            source: "api.mypurecloud.com".to_owned(),
            organization: None,
            selection: Selection {
                filters: json!({"b": [1, 2.50], "a": "x"}),
                excluded: vec!["sessions.ani".to_owned()],
                ..Selection::default()
            },
        }
    }

    #[test]
    fn an_identity_survives_its_file_and_later_fields() {
        let file = LakeFile::new(identity());
        assert_eq!(LakeFile::from_json(&file.to_json().unwrap()).unwrap(), file);
        let mut value: Value = serde_json::from_slice(&file.to_json().unwrap()).unwrap();
        value["later"] = json!({"x": 1});
        value["identity"]["later"] = json!(1);
        assert_eq!(LakeFile::from_json(value.to_string().as_bytes()).unwrap(), file);
    }

    #[test]
    fn the_columns_are_those_of_the_family_and_an_early_lake_keeps_its_own() {
        for (family, new, early) in [
            (Family::Genesys, Columns::Details, Columns::Early),
            (Family::Cursor, Columns::Tutorials, Columns::Tutorials),
            (Family::Page, Columns::Tutorials, Columns::Tutorials),
        ] {
            let file = LakeFile::new(Identity { family, ..identity() });
            assert_eq!(LakeFile::from_json(&file.to_json().unwrap()).unwrap().columns(), new);
            let mut value: Value = serde_json::from_slice(&file.to_json().unwrap()).unwrap();
            value.as_object_mut().unwrap().remove("columns");
            assert_eq!(LakeFile::from_json(value.to_string().as_bytes()).unwrap().columns(), early);
        }
    }

    #[test]
    fn a_later_format_and_garbage_are_refused() {
        let later = LakeFile::from_json(br#"{"format": 3, "everything": "else"}"#).unwrap_err();
        assert_eq!(later.kind(), Kind::Config);
        assert!(later.to_string().contains("format 3"), "{later}");
        assert_eq!(LakeFile::from_json(b"{}").unwrap_err().kind(), Kind::Config);
        assert_eq!(LakeFile::from_json(b"").unwrap_err().kind(), Kind::Config);
    }

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        type Change = (&'static str, fn(&mut Identity));
        let changes: [Change; 8] = [
            ("family", |i| i.family = Family::Cursor),
            ("source", |i| i.source = "api.mypurecloud.ie".to_owned()),
            ("filters", |i| i.selection.filters = json!({"b": [1, 2.5], "a": "y"})),
            ("tables", |i| i.selection.tables = Some(vec!["sessions".to_owned()])),
            ("excluded columns", |i| i.selection.excluded.clear()),
            ("metrics", |i| i.selection.metrics.push("talkRate".to_owned())),
            ("grouping", |i| i.selection.group_by.push("queueId".to_owned())),
            ("granularity", |i| i.selection.granularity = Some("hour".to_owned())),
        ];
        for (field, change) in changes {
            let mut run = identity();
            change(&mut run);
            let refused = run.check(&identity()).unwrap_err();
            assert_eq!(refused.kind(), Kind::Config);
            assert!(refused.to_string().contains(&format!("another {field}: it holds ")), "{refused}");
            assert!(refused.hint_text().is_some_and(|h| h.contains("a lake of its own")));
        }
    }

    #[test]
    fn the_organization_counts_when_both_know_it() {
        let (a, b) = (
            Identity { organization: Some("a".to_owned()), ..identity() },
            Identity { organization: Some("b".to_owned()), ..identity() },
        );
        assert!(a.check(&identity()).is_ok() && identity().check(&b).is_ok());
        assert!(a.check(&b).unwrap_err().to_string().contains("it holds `\"b\"`, this run has `\"a\"`"));
    }

    #[test]
    fn the_order_of_flags_and_of_json_keys_does_not_matter() {
        let mut other = identity();
        other.selection.filters = json!({"a": "x", "b": [1, 2.50]});
        other.selection.excluded = vec!["sessions.ani".to_owned(), "sessions.ani".to_owned()];
        other.selection = other.selection.sorted();
        assert!(other.check(&identity()).is_ok());
    }
}
