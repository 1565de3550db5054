//! Where the OAuth client's id and secret come from: the environment, or a file of the same names.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::api::{AuthStyle, Credentials};
use crate::error::{Error, Result};

/// The names of one family, read together or not at all.
struct Family {
    region: Option<&'static str>,
    id: &'static str,
    secret: &'static str,
    /// Whose conversations are wanted.
    user: Option<&'static str>,
    /// Whether its document logs in by form: then that is tried where the header is refused.
    by_form: bool,
}

/// Belongs to one family, and counts with no other.
const USER: &str = "GENESYS_CLOUD_USER_ID";

/// In the order in which they are looked for: Genesys' own names, then those of its two tutorials.
const FAMILIES: [Family; 3] = [
    Family {
        region: Some("GENESYSCLOUD_REGION"),
        id: "GENESYSCLOUD_OAUTHCLIENT_ID",
        secret: "GENESYSCLOUD_OAUTHCLIENT_SECRET",
        user: None,
        by_form: false,
    },
    Family {
        region: Some("GENESYS_CLOUD_ENV"),
        id: "GENESYS_CLOUD_CLIENT_ID",
        secret: "GENESYS_CLOUD_CLIENT_SECRET",
        user: Some(USER),
        by_form: false,
    },
    Family { region: None, id: "GENESYS_CLIENT_ID", secret: "GENESYS_CLIENT_SECRET", user: None, by_form: true },
];

/// What was found, and the region that stood beside it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) credentials: Credentials,
    pub(super) region: Option<String>,
    /// How the credentials are shown unless the operator says it.
    pub(super) auth: AuthStyle,
}

/// `NAME=value` settings: the process environment, or a credentials file laid over it.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Environment {
        Environment(
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect(),
        )
    }

    /// These settings and no others.
    #[cfg(test)]
    pub(super) fn of(values: BTreeMap<String, String>) -> Environment {
        Environment(values)
    }

    /// The value of `name`; empty is the same as unset.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The settings whose names begin with one of `prefixes`.
    pub(super) fn beginning_with(&self, prefixes: &[&str]) -> Vec<(String, String)> {
        let wanted = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        let set = self.0.iter().filter(|(name, value)| wanted(name) && !value.is_empty());
        set.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The user whose conversations are wanted: a setting of one family, and only read with it.
    pub(super) fn user(&self) -> Option<&str> {
        self.get(self.family()?.user?)
    }

    /// What is to be said when a user is named beside credentials of another family, or without any.
    pub(super) fn unused_user(&self) -> Option<String> {
        self.get(USER).filter(|_| self.user().is_none())?;
        let family = FAMILIES.iter().find(|family| family.user == Some(USER))?;
        Some(format!("{USER} is set and not used: it counts beside {} only; --user says the same", family.id))
    }

    /// The first family of which anything is set.
    fn family(&self) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| self.get(family.id).or(self.get(family.secret)).is_some())
    }

    /// Only what `file` says.
    ///
    /// # Errors
    /// Config: it cannot be read, others may read it, or a line is not `NAME=value`.
    pub(super) fn of_file(file: &Path) -> Result<Environment> {
        let name = file.display();
        let fail = |what: String| Error::config(format!("credentials file `{name}`: {what}"));
        let text = fs::read_to_string(file).map_err(|e| fail("cannot be read".into()).source(e))?;
        refuse_open_modes(file, &fail)?;
        let mut values = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some((key, value)) = line.split_once('=') else {
                return Err(fail(format!("line {} is not NAME=value", number + 1)));
            };
            values.insert(key.trim().to_owned(), value.trim().trim_matches(['"', '\'']).to_owned());
        }
        Ok(Environment(values))
    }

    /// The first family of which anything is set.
    ///
    /// # Errors
    /// Config: nothing is set, or a family is set by half.
    pub(super) fn credentials(&self) -> Result<Found> {
        if let Some(Family { region, id, secret, by_form, .. }) = self.family() {
            let credentials = match (self.get(id), self.get(secret)) {
                (Some(own), Some(hidden)) => Credentials::new(own, hidden)?.set_by(format!("{id} and {secret}")),
                (Some(_), None) => return Err(half(secret, id)),
                (None, _) => return Err(half(id, secret)),
            };
            let region = region.and_then(|r| self.get(r)).map(str::to_owned);
            let auth = if *by_form { AuthStyle::Either } else { AuthStyle::Basic };
            return Ok(Found { credentials, region, auth });
        }
        let names: Vec<String> = FAMILIES.iter().map(|f| format!("{} and {}", f.id, f.secret)).collect();
        Err(Error::config("no credentials: the OAuth client's id and secret are not set")
            .hint(format!("set {}; or name a file of such lines with --credentials-file", names.join(", or "))))
    }
}

fn half(missing: &str, present: &str) -> Error {
    Error::config(format!("{present} is set but {missing} is not")).hint("a family of names is read as a whole")
}

#[cfg(unix)]
fn refuse_open_modes(file: &Path, fail: &dyn Fn(String) -> Error) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(file).map_err(|e| fail("cannot be read".into()).source(e))?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(fail(format!("mode {:o} lets others read it", mode & 0o777)).hint(format!("chmod 600 {}", file.display())))
}

#[cfg(not(unix))]
fn refuse_open_modes(_: &Path, _: &dyn Fn(String) -> Error) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        Environment(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn families_are_read_whole_and_in_order() {
        let env = environment(&[
            ("GENESYS_CLIENT_ID", "c"),
            ("GENESYS_CLIENT_SECRET", "c"),
            ("GENESYS_CLOUD_CLIENT_ID", "b"),
            ("GENESYS_CLOUD_CLIENT_SECRET", "b"),
            ("GENESYS_CLOUD_ENV", "eu-west-1"),
            ("GENESYSCLOUD_REGION", "us-west-2"),
        ]);
        let found = env.credentials().unwrap();
        assert_eq!(env.user(), None);
        assert_eq!((found.credentials.id(), found.region.as_deref()), ("b", Some("eu-west-1")));
        assert_eq!(found.auth, AuthStyle::Basic);
        let found = environment(&[("GENESYS_CLIENT_ID", "c"), ("GENESYS_CLIENT_SECRET", "c")]).credentials().unwrap();
        assert_eq!(found.auth, AuthStyle::Either);
    }

    #[test]
    fn the_user_belongs_to_its_family() {
        let user = ("GENESYS_CLOUD_USER_ID", "u");
        assert_eq!(environment(&[user, ("GENESYS_CLOUD_CLIENT_ID", "b")]).user(), Some("u"));
        assert_eq!(environment(&[user, ("GENESYS_CLOUD_CLIENT_ID", "b")]).unused_user(), None);
        for other in [
            &[("GENESYSCLOUD_OAUTHCLIENT_ID", "a"), ("GENESYS_CLOUD_CLIENT_ID", "b")][..],
            &[("GENESYS_CLIENT_SECRET", "c")],
            &[("GENESYS_CLOUD_ENV", "us-east-1")],
        ] {
            let environment = environment(&[&[user], other].concat());
            assert_eq!(environment.user(), None);
            assert!(environment.unused_user().unwrap().contains("GENESYS_CLOUD_USER_ID"), "{other:?}");
        }
    }

    #[test]
    fn half_a_family_and_none_at_all_are_configuration_errors_that_name_the_variables() {
        let e = environment(&[("GENESYS_CLIENT_ID", "c")]).credentials().unwrap_err();
        assert_eq!(e.kind(), Kind::Config);
        assert!(e.to_string().contains("GENESYS_CLIENT_SECRET"), "{e}");
        let e = environment(&[("GENESYS_CLIENT_ID", "")]).credentials().unwrap_err();
        assert!(FAMILIES.iter().all(|f| e.hint_text().unwrap().contains(f.secret)), "{:?}", e.hint_text());
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        fs::write(&file, "# mine\nexport GENESYS_CLIENT_ID=\"i\"\nGENESYS_CLIENT_SECRET=s=s\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(Environment::of_file(&file).err().unwrap().kind(), Kind::Config);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(Environment::of_file(&file).unwrap().credentials().unwrap().credentials.id(), "i");
    }
}
