//! How object stores are reached: by the variables of their own tools, and for S3 also by the shared files of the AWS
//! tools, as far as they hold keys.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::credentials::Environment;
use crate::lake::StoreOptions;

/// The prefixes of the stores' variables.
const PREFIXES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];
/// Any of these says where S3 keys come from, and the shared files are left alone.
const OTHER_SOURCES: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
];
/// What is taken from the shared files, and the variable that it stands for.
const SHARED: [(&str, &str); 4] = [
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
    ("aws_session_token", "AWS_SESSION_TOKEN"),
    ("region", "AWS_REGION"),
];

/// What `env` says about stores.
pub(super) fn options(env: &Environment, single_writer: bool) -> StoreOptions {
    let mut variables = env.beginning_with(&PREFIXES);
    if OTHER_SOURCES.iter().all(|name| env.get(name).is_none()) {
        variables.extend(shared(env));
    }
    if env.get("AWS_REGION").is_none()
        && let Some(region) = env.get("AWS_DEFAULT_REGION")
    {
        variables.push(("AWS_REGION".to_owned(), region.to_owned()));
    }
    StoreOptions { variables, single_writer }
}

/// The keys of the profile in the shared files; nothing when there are no such files.
fn shared(env: &Environment) -> Vec<(String, String)> {
    let profile = env.get("AWS_PROFILE").unwrap_or("default");
    let file = |variable: &str, name: &str| match env.get(variable) {
        Some(path) => Some(PathBuf::from(path)),
        None => Some(PathBuf::from(env.get("HOME")?).join(".aws").join(name)),
    };
    let section_of_config = if profile == "default" { profile.to_owned() } else { format!("profile {profile}") };
    let places = [
        (file("AWS_CONFIG_FILE", "config"), section_of_config),
        (file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), profile.to_owned()),
    ];
    let mut values = BTreeMap::new();
    for (file, wanted) in places {
        let text = file.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        values.extend(section(&text, &wanted));
    }
    let set = |(key, variable): (&str, &str)| Some((variable.to_owned(), values.get(key)?.clone()));
    SHARED.into_iter().filter(|(_, variable)| env.get(variable).is_none()).filter_map(set).collect()
}

/// The settings in one section of a shared file.
fn section(text: &str, wanted: &str) -> BTreeMap<String, String> {
    let mut inside = false;
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.split_whitespace().eq(wanted.split_whitespace());
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside && !line.starts_with(['#', ';'])) {
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        let env = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        options(&Environment::of(env), false).variables.into_iter().collect()
    }

    #[test]
    fn the_variables_of_stores_are_passed_on_and_no_others() {
        let told =
            told(&[("AWS_ACCESS_KEY_ID", "a"), ("GENESYS_CLIENT_SECRET", "s"), ("AWS_DEFAULT_REGION", "eu-west-1")]);
        assert_eq!(told.get("AWS_REGION").map(String::as_str), Some("eu-west-1"));
        assert!(told.contains_key("AWS_ACCESS_KEY_ID") && !told.contains_key("GENESYS_CLIENT_SECRET"));
    }

    #[test]
    fn a_profile_brings_its_keys_unless_keys_are_set() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        let credentials = "[default]\naws_access_key_id = d\n# aws_session_token = no\n[etl]\naws_access_key_id=e\naws_secret_access_key = f=g\n";
        fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
        fs::write(home.path().join(".aws/config"), "[profile etl]\nregion = eu-central-1\n").unwrap();
        let home = home.path().to_str().unwrap();

        let etl = told(&[("HOME", home), ("AWS_PROFILE", "etl")]);
        let value = |name: &str| etl.get(name).map(String::as_str);
        assert_eq!((value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY")), (Some("e"), Some("f=g")));
        assert_eq!((value("AWS_REGION"), value("AWS_SESSION_TOKEN")), (Some("eu-central-1"), None));
        assert_eq!(told(&[("HOME", home)]).get("AWS_ACCESS_KEY_ID").map(String::as_str), Some("d"));
        let set = told(&[("HOME", home), ("AWS_ACCESS_KEY_ID", "x")]);
        assert_eq!(set.get("AWS_SECRET_ACCESS_KEY"), None, "keys are never mixed from two places");
    }
}
