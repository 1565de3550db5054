//! Starting servers: on ports that are free, in a directory of their own, until they answer.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use object_store::ObjectStoreExt;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use reqwest::{Client, Response};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{BUCKET, gcs_bridge};
use crate::common::kept::Kept;
use crate::common::{isolate, parts};

/// Servers in Go and JavaScript take their time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often a server is asked whether it is ready.
const EVERY: Duration = Duration::from_millis(50);
/// How often another set of ports is tried: between being found free and being taken, another process may have one.
const ATTEMPTS: usize = 3;

pub(super) const ACCESS_KEY: &str = "convlake-tests";
pub(super) const SECRET_KEY: &str = "a-secret-of-the-s3-servers-that-nothing-may-tell";
pub(super) const ACCOUNT: &str = "convlaketests";
pub(super) const ACCOUNT_KEY: &str = "YS1zZWNyZXQtb2YtdGhlLWF6dXJlLXNlcnZlci10aGF0LW5vdGhpbmctbWF5LXRlbGw=";

/// Where a server answers, for as long as this is held.
pub(super) struct Server {
    pub(super) url: String,
    _held: Box<dyn Send + Sync>,
}

/// The S3 server of the s3s crates, in this process; its keys are files of a directory.
pub(super) async fn s3s() -> Server {
    let dir = TempDir::new().expect("a temporary directory");
    fs::create_dir(dir.path().join(BUCKET)).expect("a bucket");
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).expect("a file system"));
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let server = Builder::new(TokioExecutor::new());
                // A client that goes away is its own affair.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Server { url, _held: Box::new((tasks, dir)) }
}

/// SeaweedFS: master, volume, filer and S3 gateway in one process.
pub(super) async fn seaweedfs() -> Server {
    let identities = serde_json::json!({"identities": [{
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }]});
    let program = |dir: &Path, ports: &[u16]| {
        fs::write(dir.join("s3.json"), identities.to_string()).expect("a configuration");
        let mut weed = Command::new(parts::servers().join("bin/weed"));
        weed.args(["-logtostderr", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
        weed.args(["-volume.max=50", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"]);
        weed.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"]);
        let names = ["master", "volume", "filer", "s3"]
            .into_iter()
            .flat_map(|name| [format!("{name}.port"), format!("{name}.port.grpc")]);
        weed.args(names.zip(ports).map(|(name, port)| format!("-{name}={port}")));
        let files = [("dir", ""), ("s3.config", "s3.json"), ("filer.localSocket", "filer"), ("s3.localSocket", "s3")];
        weed.args(files.map(|(name, file)| format!("-{name}={}", dir.join(file).display())));
        weed
    };
    let ready = async |ports: &[u16]| {
        let [filer, s3] = [ports[4], ports[6]].map(at);
        // The gateway takes a folder of the filer for a bucket. There is one after the first of these calls, but
        // only later can it be written.
        let _ = client().post(format!("{filer}/buckets/{BUCKET}/")).send().await;
        let bucket = super::s3(&s3);
        bucket.put(&"ready".into(), "".into()).await.map_err(|e| e.to_string())?;
        bucket.delete(&"ready".into()).await.map_err(|e| e.to_string())?;
        Ok(s3)
    };
    start(8, program, ready).await
}

/// fake-gcs-server with a bridge before it that keeps to conditions or ignores them.
pub(super) async fn fake_gcs(conditions: bool) -> Server {
    let binary = parts::find(parts::servers(), "fake-gcs-server-linux-amd64");
    let program = |_: &Path, ports: &[u16]| {
        let mut server = Command::new(&binary);
        let (port, url) = (ports[0].to_string(), at(ports[0]));
        server.args(["-scheme", "http", "-host", "127.0.0.1", "-backend", "memory", "-log-level", "warn"]);
        server.args(["-port", &port, "-external-url", &url, "-public-host", url.trim_start_matches("http://")]);
        server
    };
    let ready = async |ports: &[u16]| {
        let url = at(ports[0]);
        let bucket = serde_json::json!({"name": BUCKET}).to_string();
        success(client().post(format!("{url}/storage/v1/b")).body(bucket).send().await).await?;
        Ok(gcs_bridge::serve(url, conditions).await)
    };
    start(1, program, ready).await
}

/// Azurite's blob service, with an account of our own.
pub(super) async fn azurite() -> Server {
    let main = parts::azurite().join("dist/src/blob/main.js");
    let program = |_: &Path, ports: &[u16]| {
        let mut node = Command::new("node");
        node.arg(&main).args(["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]);
        node.args(["--blobHost", "127.0.0.1", "--blobPort", &ports[0].to_string()]);
        node.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"));
        node
    };
    let ready = async |ports: &[u16]| {
        let url = format!("{}/{ACCOUNT}", at(ports[0]));
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = http::Method::PUT;
        *request.uri_mut() = format!("{url}/{BUCKET}?restype=container").parse().expect("a URI");
        request.headers_mut().insert("content-length", 0.into());
        let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY).expect("a key"));
        AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request).expect("a signature");
        let put = client().put(request.uri().to_string()).headers(request.headers().clone());
        success(put.send().await).await?;
        Ok(url)
    };
    start(1, program, ready).await
}

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Starts a program on so many free ports and asks it until it is ready, which tells its URL.
async fn start(
    ports: usize,
    program: impl Fn(&Path, &[u16]) -> Command,
    ready: impl AsyncFn(&[u16]) -> Result<String, String>,
) -> Server {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let ports = free_ports(ports);
        let mut kept = Kept::start(|dir| {
            let mut command = program(dir, &ports);
            isolate(&mut command);
            command
        });
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && !kept.has_ended() {
            match timeout(until - Instant::now(), ready(&ports)).await {
                Ok(Ok(url)) => return Server { url, _held: Box::new(kept) },
                Ok(Err(said)) => last = said,
                Err(_) => break,
            }
            sleep(EVERY).await;
        }
        last = format!("{last}\n{}", kept.log());
        assert!(kept.has_ended(), "a server does not get ready: {last}");
    }
    panic!("a server ends before it is ready: {last}");
}

/// Ports that were free at once.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("an address").port()).collect()
}

fn client() -> Client {
    Client::builder().no_proxy().build().expect("a client")
}

async fn success(answer: reqwest::Result<Response>) -> Result<(), String> {
    let answer = answer.map_err(|e| format!("{e:?}"))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("{status} {}", answer.text().await.unwrap_or_default())) }
}
