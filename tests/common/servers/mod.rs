//! Places for lakes: a folder, and buckets of real object stores on loopback. A server is started when the first test
//! asks for it, serves all tests of the binary, and ends with it.
//!
//! Not a part of `common`: a test binary that needs it says `#[path = "common/servers/mod.rs"] mod servers;`.

#![allow(dead_code, reason = "a test binary uses its part")]

mod gcs_bridge;
mod start;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::common::org::files;
use start::{ACCESS_KEY, ACCOUNT, ACCOUNT_KEY, SECRET_KEY, Server};

/// The bucket that every server has.
pub(crate) const BUCKET: &str = "lakes";
/// Where the lake is, below what a test has for itself: a lake need not be the whole of it.
const LAKE: &str = "a b/lake";

/// What keeps a lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Disk,
    /// The S3 server of the s3s crates, in this process. It keeps to conditions, but not between two at once: of those
    /// that create an object or replace a version at the same moment, several win.
    S3s,
    SeaweedFs,
    FakeGcs,
    /// The same without conditions: what is told to create or to replace a version writes.
    CarelessGcs,
    Azurite,
}

/// Where servers of this process run, and all that is asked of stores beside convlake.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        // The crate leaves the choice of cryptography to whoever has a `main`; another test may have made it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
    });
    &RUNTIME
}

/// A bucket of a server that runs.
pub(crate) struct Bucket {
    /// Its URL, as `--out` begins.
    pub(crate) url: String,
    /// What convlake finds in its environment.
    pub(crate) env: BTreeMap<&'static str, String>,
    /// Where the server answers, as one of these says.
    pub(crate) endpoint: String,
    /// The variable that holds the secret, when the server looks at it.
    pub(crate) secret: Option<&'static str>,
    pub(crate) client: Arc<dyn ObjectStore>,
    _server: Server,
}

impl Bucket {
    /// A bucket of `kind`; none of a disk's.
    pub(crate) fn of(kind: Kind) -> Option<Arc<Bucket>> {
        static SEAWEEDFS: LazyLock<Arc<Bucket>> = LazyLock::new(|| Bucket::s3(start::seaweedfs()));
        static FAKE_GCS: LazyLock<Arc<Bucket>> = LazyLock::new(|| Bucket::gcs(start::fake_gcs(true)));
        static AZURITE: LazyLock<Arc<Bucket>> = LazyLock::new(|| Bucket::azure(start::azurite()));
        match kind {
            Kind::Disk => None,
            // These cost nothing, or have a single test.
            Kind::S3s => Some(Bucket::s3(start::s3s())),
            Kind::CarelessGcs => Some(Bucket::gcs(start::fake_gcs(false))),
            Kind::SeaweedFs => Some(Arc::clone(&SEAWEEDFS)),
            Kind::FakeGcs => Some(Arc::clone(&FAKE_GCS)),
            Kind::Azurite => Some(Arc::clone(&AZURITE)),
        }
    }

    fn s3(server: impl Future<Output = Server>) -> Arc<Bucket> {
        let server = runtime().block_on(server);
        let env = [
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ENDPOINT_URL", &server.url),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        Arc::new(Bucket {
            url: format!("s3://{BUCKET}"),
            env: env.map(|(name, value)| (name, value.to_owned())).into(),
            secret: Some("AWS_SECRET_ACCESS_KEY"),
            client: s3(&server.url),
            endpoint: server.url.clone(),
            _server: server,
        })
    }

    fn gcs(server: impl Future<Output = Server>) -> Arc<Bucket> {
        let server = runtime().block_on(server);
        let account = serde_json::json!({
            "gcs_base_url": server.url,
            "disable_oauth": true,
            "client_email": "",
            "private_key": "",
            "private_key_id": "",
        });
        let builder = GoogleCloudStorageBuilder::new().with_service_account_key(account.to_string());
        let client = builder.with_bucket_name(BUCKET).with_client_options(options()).with_retry(retries()).build();
        let env = [("GOOGLE_SERVICE_ACCOUNT_KEY", account.to_string()), ("GOOGLE_ALLOW_HTTP", "true".to_owned())];
        Arc::new(Bucket {
            url: format!("gs://{BUCKET}"),
            env: env.into(),
            secret: None,
            client: Arc::new(client.expect("a client")),
            endpoint: server.url.clone(),
            _server: server,
        })
    }

    fn azure(server: impl Future<Output = Server>) -> Arc<Bucket> {
        let server = runtime().block_on(server);
        let builder = MicrosoftAzureBuilder::new().with_account(ACCOUNT).with_access_key(ACCOUNT_KEY);
        let builder = builder.with_endpoint(server.url.clone()).with_container_name(BUCKET);
        let client = builder.with_client_options(options()).with_retry(retries()).build();
        let env = [
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
            ("AZURE_STORAGE_ENDPOINT", &server.url),
            ("AZURE_ALLOW_HTTP", "true"),
        ];
        Arc::new(Bucket {
            url: format!("az://{BUCKET}"),
            env: env.map(|(name, value)| (name, value.to_owned())).into(),
            secret: Some("AZURE_STORAGE_ACCOUNT_KEY"),
            client: Arc::new(client.expect("a client")),
            endpoint: server.url.clone(),
            _server: server,
        })
    }
}

/// A client of an S3 server.
fn s3(url: &str) -> Arc<dyn ObjectStore> {
    let builder = AmazonS3Builder::new().with_access_key_id(ACCESS_KEY).with_secret_access_key(SECRET_KEY);
    let builder = builder.with_region("us-east-1").with_endpoint(url).with_bucket_name(BUCKET);
    let client = builder.with_client_options(options()).with_retry(retries()).build();
    Arc::new(client.expect("a client"))
}

fn options() -> ClientOptions {
    ClientOptions::new().with_allow_http(true)
}

/// A server on loopback that does not answer will not do so after minutes.
fn retries() -> RetryConfig {
    RetryConfig { max_retries: 2, retry_timeout: Duration::from_secs(10), ..RetryConfig::default() }
}

/// A place for one lake, without any at first: what convlake is told of it, and a way in beside convlake.
pub(crate) struct Place {
    /// What `--out` says.
    pub(crate) out: String,
    content: Content,
}

enum Content {
    Folder(TempDir),
    Prefix(Arc<Bucket>, String),
}

impl Place {
    /// A place of its own on `kind`.
    pub(crate) fn new(kind: Kind) -> Place {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        match Bucket::of(kind) {
            None => {
                let dir = TempDir::new().expect("a temporary directory");
                let out = dir.path().join(LAKE).to_str().expect("a name in UTF-8").to_owned();
                Place { out, content: Content::Folder(dir) }
            }
            Some(bucket) => {
                let prefix = format!("{}/{LAKE}", COUNT.fetch_add(1, Ordering::Relaxed));
                Place { out: format!("{}/{prefix}", bucket.url), content: Content::Prefix(bucket, prefix) }
            }
        }
    }

    /// The bucket that it is in.
    pub(crate) fn bucket(&self) -> Option<&Bucket> {
        match &self.content {
            Content::Folder(_) => None,
            Content::Prefix(bucket, _) => Some(bucket),
        }
    }

    /// What convlake finds in its environment.
    pub(crate) fn env(&self) -> BTreeMap<&'static str, String> {
        self.bucket().map(|bucket| bucket.env.clone()).unwrap_or_default()
    }

    /// Every object of the lake: its key in the lake, and something that is another when it is written again.
    pub(crate) fn objects(&self) -> BTreeMap<String, String> {
        match &self.content {
            Content::Folder(dir) => {
                let lake = dir.path().join(LAKE);
                let stamp = |path: &Path| {
                    let modified = fs::metadata(path).and_then(|file| file.modified()).expect("a file");
                    format!("{:?}", modified.duration_since(UNIX_EPOCH).expect("a file of our days"))
                };
                let key = |path: &Path| path.strip_prefix(&lake).expect("a file of the lake").display().to_string();
                files(&lake).into_keys().map(|path| (key(&path), stamp(&path))).collect()
            }
            Content::Prefix(bucket, prefix) => {
                let listed = bucket.client.list(Some(&prefix.as_str().into())).map_ok(|object| {
                    let key = object.location.as_ref()[prefix.len() + 1..].to_owned();
                    (key, format!("{:?} {:?} {}", object.e_tag, object.version, object.last_modified))
                });
                runtime().block_on(listed.try_collect()).expect("a listing")
            }
        }
    }

    /// The content of an object.
    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        match &self.content {
            Content::Folder(_) => fs::read(self.file(key)).expect("a file"),
            Content::Prefix(bucket, prefix) => {
                let content = async { bucket.client.get(&at(prefix, key)).await?.bytes().await };
                runtime().block_on(content).expect("an object").into()
            }
        }
    }

    /// Writes an object, whatever is there.
    pub(crate) fn put(&self, key: &str, content: &[u8]) {
        match &self.content {
            Content::Folder(_) => {
                fs::create_dir_all(self.file(key).parent().expect("a folder")).expect("a folder");
                fs::write(self.file(key), content).expect("a file");
            }
            Content::Prefix(bucket, prefix) => {
                let put = async { bucket.client.put(&at(prefix, key), content.to_vec().into()).await };
                runtime().block_on(put).expect("an object is written");
            }
        }
    }

    /// Removes an object that is there.
    pub(crate) fn delete(&self, key: &str) {
        match &self.content {
            Content::Folder(_) => fs::remove_file(self.file(key)).expect("a file"),
            Content::Prefix(bucket, prefix) => {
                runtime().block_on(async { bucket.client.delete(&at(prefix, key)).await }).expect("an object");
            }
        }
    }

    /// The lake as it is now, in a folder.
    pub(crate) fn download(&self) -> TempDir {
        let copy = TempDir::new().expect("a temporary directory");
        for key in self.objects().into_keys() {
            let file = copy.path().join(&key);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, self.get(&key)).expect("a file");
        }
        copy
    }

    fn file(&self, key: &str) -> PathBuf {
        Path::new(&self.out).join(key)
    }
}

fn at(prefix: &str, key: &str) -> object_store::path::Path {
    format!("{prefix}/{key}").into()
}
