//! Where a lake is, as the operator writes it, and how its store is reached.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore};
use url::{Host, Position, Url};

use super::patience::Patient;
use super::{Bucket, cause};
use crate::error::{Error, Result};
use crate::secrets::Secrets;

/// How long one request may take: a file of 256 MiB over a slow line.
const REQUEST_MAX: Duration = Duration::from_secs(600);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How the names of variables end whose values are secret.
const SECRET_NAMES: [&str; 5] = ["_KEY", "_KEY_BASE64", "_SECRET", "_TOKEN", "_PASSWORD"];

/// Where a lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A folder.
    Folder(PathBuf),
    /// A bucket or container, and a prefix in it.
    Bucket(Url),
}

impl Location {
    /// Reads a path, `file://…`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] for another scheme, or a URL that holds more than a bucket and a prefix.
    pub fn parse(text: &str) -> Result<Location> {
        if let Some(path) = text.strip_prefix("file://") {
            return Ok(Location::Folder(PathBuf::from(path)));
        }
        if !text.contains("://") {
            return Ok(Location::Folder(PathBuf::from(text)));
        }
        // A URL that is refused is not repeated: it may hold a secret.
        let refused = |what: &str| {
            Error::usage(format!("the URL {what}"))
                .hint("a path, s3://bucket/prefix, gs://bucket/prefix or az://container/prefix; credentials come from the environment")
        };
        let url = Url::parse(text).map_err(|e| refused("cannot be read").source(e))?;
        if !matches!(url.scheme(), "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss") {
            return Err(refused(&format!("has an unknown scheme `{}`", url.scheme())));
        }
        if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
            return Err(refused("holds more than a bucket and a prefix"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("names no bucket"));
        }
        Ok(Location::Bucket(url))
    }

    /// The path or URL of something in the lake, as another tool would open it.
    pub fn join(&self, place: &str) -> String {
        match self {
            Location::Folder(path) => path.join(place).display().to_string(),
            Location::Bucket(url) => {
                // In a URL a key is escaped; others take it as it is.
                let prefix = Path::from_url_path(url.path()).map_or_else(|_| url.path().to_owned(), String::from);
                let parts = [&url[..Position::BeforePath], prefix.trim_matches('/'), place];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Folder(path) => write!(f, "{}", path.display()),
            Location::Bucket(url) => f.write_str(url.as_str().trim_end_matches('/')),
        }
    }
}

/// How stores are reached: the variables of their own tools, and whether this is the only run.
#[derive(Clone, Default)]
pub struct StoreOptions {
    /// `AWS_*`, `GOOGLE_*` and `AZURE_*`, as in the environment.
    pub variables: Vec<(String, String)>,
    /// Whether the operator says that no other run writes to the lake.
    pub single_writer: bool,
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values are secrets.
        f.debug_struct("StoreOptions").field("single_writer", &self.single_writer).finish_non_exhaustive()
    }
}

impl StoreOptions {
    /// The settings under `prefix` that the store knows.
    fn settings<K: FromStr>(&self, prefix: &'static str) -> impl Iterator<Item = (K, &String)> {
        let own = self.variables.iter().filter(move |(name, _)| name.starts_with(prefix));
        own.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
    }

    /// The values that must not be shown.
    fn secrets(&self) -> impl Iterator<Item = &str> {
        let is_secret = |name: &str| SECRET_NAMES.iter().any(|end| name.ends_with(end));
        self.variables.iter().filter(move |(name, _)| is_secret(name)).map(|(_, value)| value.as_str())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Bucket {
    /// The bucket at `url`; no call yet.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] when the settings make no store.
    pub(in crate::lake) fn connect(url: &Url, options: &StoreOptions) -> Result<Bucket> {
        // Several providers are compiled in, so the process has to name one; a second naming changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (objects, names) = match url.scheme() {
            "s3" | "s3a" => {
                (s3(url, options), "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL")
            }
            "gs" => (gcs(url, options), "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT"),
            _ => {
                (azure(url, options), "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_CLIENT_ID …")
            }
        };
        let secrets = Secrets::default();
        options.secrets().for_each(|secret| secrets.keep(secret));
        let objects = objects.map_err(|e| {
            Error::config(format!("the store of `{url}` cannot be set up"))
                .source(cause(&e, &secrets))
                .hint(format!("set {names}"))
        })?;
        let prefix = Path::from_url_path(url.path().trim_matches('/'))
            .map_err(|e| Error::usage(format!("the prefix of `{url}` cannot be used")).source(e))?;
        let bucket = Bucket::new(objects, prefix, url.as_str().trim_end_matches('/').to_owned())?;
        let bucket = bucket.hiding(options.secrets());
        Ok(if options.single_writer { bucket.for_a_single_writer() } else { bucket })
    }
}

fn s3(url: &Url, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().find_map(|n| options.value(n));
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client(endpoint))
        .with_http_connector(Patient::default())
        .with_checksum_algorithm(Checksum::SHA256);
    for (key, value) in options.settings::<AmazonS3ConfigKey>("AWS_") {
        builder = builder.with_config(key, value);
    }
    // Also when a more general variable was met later.
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    Ok(Arc::new(builder.with_url(url.as_str()).build()?))
}

fn gcs(url: &Url, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_client_options(client(options.value("GOOGLE_BASE_URL")))
        .with_http_connector(Patient::default());
    for (key, value) in options.settings::<GoogleConfigKey>("GOOGLE_") {
        builder = builder.with_config(key, value);
    }
    Ok(Arc::new(builder.with_url(url.as_str()).build()?))
}

fn azure(url: &Url, options: &StoreOptions) -> object_store::Result<Arc<dyn ObjectStore>> {
    let endpoint = options.value("AZURE_STORAGE_ENDPOINT").or(options.value("AZURE_ENDPOINT"));
    let mut builder =
        MicrosoftAzureBuilder::new().with_client_options(client(endpoint)).with_http_connector(Patient::default());
    for (key, value) in options.settings::<AzureConfigKey>("AZURE_") {
        builder = builder.with_config(key, value);
    }
    Ok(Arc::new(builder.with_url(url.as_str()).build()?))
}

/// Unencrypted only to this machine, unless the store's own `…_ALLOW_HTTP` says otherwise.
fn client(endpoint: Option<&str>) -> ClientOptions {
    let local = endpoint.and_then(|text| Url::parse(text).ok()).is_some_and(|url| match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    });
    ClientOptions::new().with_timeout(REQUEST_MAX).with_connect_timeout(CONNECT_MAX).with_allow_http(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_a_path_or_a_bucket() {
        let folder = |path: &str| Location::Folder(PathBuf::from(path));
        assert_eq!(Location::parse("lake").unwrap(), folder("lake"));
        assert_eq!(Location::parse("file:///data/lake").unwrap(), folder("/data/lake"));
        for url in ["s3://bucket/a/b", "gs://bucket", "az://container/a", "abfss://c@account.dfs.core.windows.net/a"] {
            assert_eq!(Location::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(Location::parse("s3://bucket/lake/").unwrap().join("a/b"), "s3://bucket/lake/a/b");
        assert_eq!(Location::parse("s3://bucket/a%20b").unwrap().join("c"), "s3://bucket/a b/c");
        assert_eq!(Location::parse("gs://bucket").unwrap().join("c"), "gs://bucket/c");
        assert_eq!(Location::parse("lake").unwrap().join("a/b"), "lake/a/b");
    }

    #[test]
    fn a_url_with_more_than_a_bucket_is_refused_and_not_repeated() {
        for bad in ["ftp://host/lake", "s3://key:hunter2@bucket/lake", "az://c/lake?sig=hunter2", "s3:///lake", "s3://"]
        {
            let refused = Location::parse(bad).unwrap_err();
            assert_eq!(refused.kind(), crate::error::Kind::Usage, "{bad}");
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn what_a_store_is_told_never_shows() {
        let options = StoreOptions {
            variables: vec![("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned())],
            single_writer: false,
        };
        assert!(!format!("{options:?}").contains("hunter2"));
        let url = Url::parse("s3://bucket/lake").unwrap();
        assert!(!format!("{:?}", Bucket::connect(&url, &options)).contains("hunter2"));
    }
}
