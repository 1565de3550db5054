//! Google's XML API, as far as object stores are written through it, in front of fake-gcs-server, which answers reads
//! in that API but takes writes only in the JSON one. Generations and their preconditions are the server's own.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::sync::Mutex;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use reqwest::{Client, Url};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::net::TcpListener;
use url::form_urlencoded::parse;
use uuid::Uuid;

const GENERATION: HeaderName = HeaderName::from_static("x-goog-generation");
const CONDITION: &str = "x-goog-if-generation-match";
/// What all but the last part of an upload must have.
const LEAST_PART: usize = 5 << 20;

/// Serves the bridge on a free port and returns its URL. Without `conditions` it does what old stores do with a header
/// that they do not know: nothing.
pub(super) async fn serve(upstream: String, conditions: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let client = Client::builder().no_proxy().no_gzip().build().expect("a client");
    let bridge = Arc::new(Bridge { upstream, conditions, client, uploads: Mutex::default() });
    let router = axum::Router::new().fallback(answer).with_state(bridge);
    tokio::spawn(async { axum::serve(listener, router).await });
    format!("http://{address}")
}

struct Bridge {
    upstream: String,
    conditions: bool,
    client: Client,
    uploads: Mutex<HashMap<String, Upload>>,
}

/// An upload in parts that has begun: the headers it began with, and the parts with their tags.
#[derive(Clone)]
struct Upload {
    headers: HeaderMap,
    parts: BTreeMap<usize, (String, Bytes)>,
}

/// One request, taken apart.
struct Call {
    method: Method,
    uri: Uri,
    bucket: String,
    key: String,
    query: HashMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

type Answer = Result<Response, Box<dyn std::error::Error + Send + Sync>>;

async fn answer(State(bridge): State<Arc<Bridge>>, request: Request) -> Response {
    let answered = async {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await?;
        let (bucket, key) = parts.uri.path().trim_start_matches('/').split_once('/').unwrap_or_else(|| {
            // The bucket itself.
            (parts.uri.path().trim_start_matches('/'), "")
        });
        let call = Call {
            method: parts.method,
            bucket: bucket.to_owned(),
            key: decoded(key),
            query: parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect(),
            headers: parts.headers,
            uri: parts.uri,
            body,
        };
        bridge.answer(call).await
    };
    answered.await.unwrap_or_else(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response())
}

/// Without the percent signs: a form knows one more escape, for the space.
fn decoded(key: &str) -> String {
    let escaped = format!("key={}", key.replace('+', "%2B"));
    parse(escaped.as_bytes()).next().map(|(_, key)| key.into_owned()).unwrap_or_default()
}

impl Bridge {
    async fn answer(&self, call: Call) -> Answer {
        let upload = call.query.get("uploadId").cloned();
        match (call.method.as_str(), upload) {
            ("PUT", Some(id)) => Ok(self.part(&id, &call)),
            ("PUT", None) => self.insert(&call, &call.headers, call.body.to_vec()).await,
            ("POST", Some(id)) => self.complete(&id, &call).await,
            ("POST", None) if call.query.contains_key("uploads") => Ok(self.begin(&call)),
            ("DELETE", Some(id)) => Ok(self.abort(&id)),
            ("GET", None) if call.key.is_empty() => self.list(&call).await,
            _ => self.pass_on(call).await,
        }
    }

    async fn pass_on(&self, mut call: Call) -> Answer {
        // The server goes by it: another host's name could be a bucket's.
        call.headers.remove(header::HOST);
        let target = format!("{}{}", self.upstream, call.uri);
        let sent = self.client.request(call.method, target).headers(call.headers).body(call.body).send().await?;
        let mut response = Response::builder().status(sent.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(sent.headers());
        }
        Ok(response.body(Body::from(sent.bytes().await?))?)
    }

    /// One object in one request: metadata and content in the two parts of a MIME message.
    async fn insert(&self, call: &Call, headers: &HeaderMap, content: Vec<u8>) -> Answer {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let own =
            headers.keys().filter_map(|name| Some((name.as_str().strip_prefix("x-goog-meta-")?, text(name.as_str())?)));
        let kind = text("content-type").unwrap_or("application/octet-stream");
        let metadata: BTreeMap<&str, &str> = own.collect();
        let metadata = json!({"name": call.key, "contentType": kind, "metadata": metadata});
        let boundary = Uuid::new_v4().simple().to_string();
        let mut body = format!(
            "--{boundary}\r\ncontent-type: application/json\r\n\r\n{metadata}\r\n--{boundary}\r\ncontent-type: {kind}\r\n\r\n"
        )
        .into_bytes();
        body.extend(content);
        body.extend(format!("\r\n--{boundary}--").bytes());

        let mut url = Url::parse(&format!("{}/upload/storage/v1/b/{}/o", self.upstream, call.bucket))?;
        url.query_pairs_mut().append_pair("uploadType", "multipart").append_pair("name", &call.key);
        if let Some(generation) = call.headers.get(CONDITION).filter(|_| self.conditions) {
            url.query_pairs_mut().append_pair("ifGenerationMatch", generation.to_str()?);
        }
        let related = format!("multipart/related; boundary={boundary}");
        let sent = self.client.post(url).header(header::CONTENT_TYPE, related).body(body).send().await?;
        let (status, answer) = (sent.status(), sent.bytes().await?);
        if !status.is_success() {
            return Ok((status, answer).into_response());
        }
        let object: Value = serde_json::from_slice(&answer)?;
        let headers = [(header::ETAG, tag(&object)), (GENERATION, field(&object, "generation").to_owned())];
        Ok(headers.into_response())
    }

    fn begin(&self, call: &Call) -> Response {
        let id = Uuid::new_v4().simple().to_string();
        let upload = Upload { headers: call.headers.clone(), parts: BTreeMap::new() };
        self.uploads.lock().expect("no panic while it is held").insert(id.clone(), upload);
        xml(&format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"))
    }

    fn part(&self, id: &str, call: &Call) -> Response {
        let number = call.query.get("partNumber").and_then(|number| number.parse().ok());
        let mut uploads = self.uploads.lock().expect("no panic while it is held");
        let (Some(upload), Some(number)) = (uploads.get_mut(id), number) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let tag = format!("\"{:032x}\"", xxhash_rust::xxh3::xxh3_128(&call.body));
        upload.parts.insert(number, (tag.clone(), call.body.clone()));
        [(header::ETAG, tag)].into_response()
    }

    /// Puts the parts together that the request names, if they are those that were sent.
    async fn complete(&self, id: &str, call: &Call) -> Answer {
        let upload = self.uploads.lock().expect("no panic while it is held").get(id).cloned();
        let Some(upload) = upload else { return Ok(StatusCode::NOT_FOUND.into_response()) };
        let (mut content, mut short) = (Vec::new(), false);
        for named in std::str::from_utf8(&call.body)?.split("<Part>").skip(1) {
            let part = element(named, "PartNumber").parse().ok().and_then(|number: usize| upload.parts.get(&number));
            match part {
                Some((tag, bytes)) if !short && *tag == element(named, "ETag").replace("&quot;", "\"") => {
                    short = bytes.len() < LEAST_PART;
                    content.extend_from_slice(bytes);
                }
                _ => return Ok((StatusCode::BAD_REQUEST, "InvalidPart").into_response()),
            }
        }
        let inserted = self.insert(call, &upload.headers, content).await?;
        if !inserted.status().is_success() {
            return Ok(inserted);
        }
        self.abort(id);
        let mut headers = inserted.headers().clone();
        let tag = headers.remove(header::ETAG).ok_or("an object without a tag")?;
        headers.remove(header::CONTENT_LENGTH);
        let body =
            format!("<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>", tag.to_str()?);
        Ok((headers, xml(&body)).into_response())
    }

    fn abort(&self, id: &str) -> Response {
        let known = self.uploads.lock().expect("no panic while it is held").remove(id);
        if known.is_some() { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }.into_response()
    }

    /// One page of a listing. The server has its own in XML, but without pages and with other tags.
    async fn list(&self, call: &Call) -> Answer {
        let mut url = Url::parse(&format!("{}/storage/v1/b/{}/o", self.upstream, call.bucket))?;
        let names = [("prefix", "prefix"), ("delimiter", "delimiter"), ("continuation-token", "pageToken")];
        for (here, there) in names.into_iter().chain([("max-keys", "maxResults"), ("start-after", "startOffset")]) {
            if let Some(value) = call.query.get(here) {
                url.query_pairs_mut().append_pair(there, value);
            }
        }
        if !call.query.contains_key("max-keys") {
            url.query_pairs_mut().append_pair("maxResults", "1000");
        }
        let sent = self.client.get(url).send().await?;
        let (status, answer) = (sent.status(), sent.bytes().await?);
        if !status.is_success() {
            return Ok((status, answer).into_response());
        }
        let listing: Value = serde_json::from_slice(&answer)?;
        let mut body = String::from("<ListBucketResult>");
        let list = |name: &str| listing[name].as_array().map(Vec::as_slice).unwrap_or_default();
        // An offset of the JSON API is the first key of the answer, of the XML API the last before it.
        let after = call.query.get("start-after").map(String::as_str);
        for object in list("items").iter().filter(|object| object["name"].as_str() != after) {
            let [name, at, size] = ["name", "updated", "size"].map(|name| escaped(field(object, name)));
            let tag = tag(object);
            write!(
                body,
                "<Contents><Key>{name}</Key><LastModified>{at}</LastModified><ETag>{tag}</ETag><Size>{size}</Size></Contents>"
            )?;
        }
        for prefix in list("prefixes").iter().filter_map(Value::as_str) {
            write!(body, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(prefix))?;
        }
        if let Some(token) = listing["nextPageToken"].as_str() {
            write!(body, "<NextContinuationToken>{}</NextContinuationToken>", escaped(token))?;
        }
        Ok(xml(&(body + "</ListBucketResult>")))
    }
}

/// The tag of an object as a header has it.
fn tag(object: &Value) -> String {
    format!("\"{}\"", field(object, "etag").trim_matches('"'))
}

fn field<'a>(object: &'a Value, name: &str) -> &'a str {
    object[name].as_str().unwrap_or_default()
}

/// The text of an element that has no children.
fn element<'a>(xml: &'a str, name: &str) -> &'a str {
    let inner = xml.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
    inner.map(|(text, _)| text).unwrap_or_default()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn xml(body: &str) -> Response {
    ([(header::CONTENT_TYPE, "application/xml")], format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>{body}"))
        .into_response()
}
