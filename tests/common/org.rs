//! A simulated organisation, an export of it and the lake, all in process and in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::AsArray;
use chrono::TimeDelta;
use convlake::api::transport::{Request as HttpRequest, Response, Transport, TransportError};
use convlake::api::{Api, ApiSettings, Credentials, Endpoint};
use convlake::error::Error;
use convlake::export::{self, Means, Outlook, Report, Request, Settings, SyncRequest};
use convlake::flatten::Flattener;
use convlake::flatten::catalog::Catalog;
use convlake::flatten::schema::Columns;
use convlake::lake::Lake;
use convlake::lake::identity::{Family, Identity, Selection};
use convlake::plan::due::LOOKBACK;
use convlake::plan::{Protocol, ProtocolChoice};
use convlake::simulator::{Simulator, SimulatorSettings};
use convlake::time::{Clock, Day, Interval, Timestamp, parse_timestamp};
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;
use tracing::subscriber::NoSubscriber;

/// An organisation, and a directory for lakes of it.
pub(crate) struct Org {
    pub(crate) simulator: Simulator,
    pub(crate) clock: Clock,
    dir: Arc<TempDir>,
    wire: Arc<Wire>,
    log: Log,
    _logging: Rc<tracing::subscriber::DefaultGuard>,
}

/// An export about to run; change what differs.
pub(crate) struct Ask {
    pub(crate) request: Request,
    pub(crate) api: ApiSettings,
    pub(crate) settings: Settings,
    pub(crate) lake: PathBuf,
    /// All of them when absent. By default `conversations` alone: the others take most of the time and follow it.
    pub(crate) tables: Option<&'static [&'static str]>,
}

/// A sync about to run; change what differs.
pub(crate) struct Keep {
    pub(crate) request: SyncRequest,
    pub(crate) api: ApiSettings,
    pub(crate) settings: Settings,
    pub(crate) lake: PathBuf,
    pub(crate) tables: Option<&'static [&'static str]>,
}

/// A day's conversation ids, sorted; one that is there twice is here twice.
pub(crate) type Ids = BTreeMap<Day, Vec<String>>;

impl Org {
    /// An organisation at the moment `now`. Time goes on with tokio's.
    pub(crate) fn new(settings: SimulatorSettings, now: &str) -> Org {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let logging = Rc::new(tracing::subscriber::set_default(subscriber));
        let clock = Clock::starting_at(at(now));
        let (simulator, wire) = Org::source(settings, clock);
        Org { simulator, clock, dir: Arc::new(directory()), wire, log, _logging: logging }
    }

    /// The same moment and lakes, and another simulator: the source after a change.
    pub(crate) fn turned_into(&self, settings: SimulatorSettings) -> Org {
        let (simulator, wire) = Org::source(settings, self.clock);
        let (dir, log, logging) = (Arc::clone(&self.dir), self.log.clone(), Rc::clone(&self._logging));
        Org { simulator, clock: self.clock, dir, wire, log, _logging: logging }
    }

    /// The same source and lakes, where the source's `Date` is `dates` ahead and this machine's own clock is `own` ahead.
    pub(crate) fn by_clocks(&self, dates: TimeDelta, own: TimeDelta) -> Org {
        let wire = Wire { simulator: self.simulator.clone(), sent: Mutex::default(), dates };
        Org {
            simulator: self.simulator.clone(),
            clock: Clock::starting_at(self.clock.now() + own),
            dir: Arc::clone(&self.dir),
            wire: Arc::new(wire),
            log: self.log.clone(),
            _logging: Rc::clone(&self._logging),
        }
    }

    /// The same lakes, and a source that is as it was `ago`.
    pub(crate) fn of_yore(&self, settings: SimulatorSettings, ago: TimeDelta) -> Org {
        let (simulator, wire) = Org::source(settings, Clock::starting_at(self.clock.now() - ago));
        let (dir, log, logging) = (Arc::clone(&self.dir), self.log.clone(), Rc::clone(&self._logging));
        Org { simulator, clock: self.clock, dir, wire, log, _logging: logging }
    }

    fn source(settings: SimulatorSettings, clock: Clock) -> (Simulator, Arc<Wire>) {
        let simulator = Simulator::new(settings, clock);
        let wire = Arc::new(Wire { simulator: simulator.clone(), sent: Mutex::default(), dates: TimeDelta::zero() });
        (simulator, wire)
    }

    /// Where the lake is unless an [`Ask`] says otherwise.
    pub(crate) fn lake(&self) -> PathBuf {
        self.path("lake")
    }

    /// How often the log of all runs says `text`.
    pub(crate) fn said(&self, text: &str) -> usize {
        String::from_utf8_lossy(&self.log.text()).matches(text).count()
    }

    /// A path in the directory for lakes.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// An export of `[from, to)`, dates or timestamps, by `auto` or one of the protocols.
    pub(crate) fn ask(&self, protocol: &str, from: &str, to: &str) -> Ask {
        let endpoint = Endpoint::base_url("http://localhost", false).expect("an endpoint");
        let credentials =
            Credentials::new(self.simulator.client_id(), self.simulator.client_secret()).expect("credentials");
        Ask {
            request: Request {
                asked: range(from, to).into(),
                protocol: choice(protocol),
                filtered: false,
                concurrency: 6,
                missing_only: false,
            },
            api: ApiSettings { seed: Some(1), ..ApiSettings::new(endpoint, credentials) },
            settings: Settings {
                command: "export",
                lake: "lake".to_owned(),
                notes: Vec::new(),
                memory: 64 << 20,
                max_bad: 50,
                strict_totals: false,
                allow_vanished: false,
            },
            lake: self.lake(),
            tables: Some(&["conversations"]),
        }
    }

    /// Runs an export with everything at its default.
    pub(crate) async fn export(&self, protocol: &str, from: &str, to: &str) -> Report {
        self.run(self.ask(protocol, from, to)).await
    }

    /// Runs an export to its end.
    pub(crate) async fn run(&self, ask: Ask) -> Report {
        self.run_until(ask, std::future::pending()).await
    }

    /// Runs an export until its end or until `stop`. Nothing that it says or leaves behind holds a secret.
    pub(crate) async fn run_until(&self, ask: Ask, stop: impl Future<Output = Error>) -> Report {
        let means = self.means(&ask.lake, ask.request.protocol, ask.tables);
        let report = export::export(ask.settings, ask.request, self.api(ask.api), means, stop).await;
        self.assert_no_secret(&report, &ask.lake);
        report
    }

    /// A sync with everything at its default, by `auto` or one of the protocols.
    pub(crate) fn keep(&self, protocol: &str) -> Keep {
        let Ask { request, api, settings, lake, tables } = self.ask(protocol, "2025-01-01", "2025-01-02");
        let request = SyncRequest {
            protocol: request.protocol,
            filtered: false,
            concurrency: request.concurrency,
            from: None,
            lookback: LOOKBACK,
            recheck_every: TimeDelta::days(1),
            settled_only: false,
            dirty_max: 62,
        };
        Keep { request, api, settings: Settings { command: "sync", ..settings }, lake, tables }
    }

    /// Runs a sync to its end, as [`Org::run_until`] does with an export.
    pub(crate) async fn sync(&self, keep: Keep) -> Report {
        let lake = keep.lake.clone();
        let report = self.sync_only(keep).await;
        self.assert_no_secret(&report, &lake);
        report
    }

    /// The same without a log and without looking for secrets, which takes longer the longer the lake has been kept.
    pub(crate) async fn sync_quietly(&self, keep: Keep) -> Report {
        let _silence = tracing::subscriber::set_default(NoSubscriber::default());
        self.sync_only(keep).await
    }

    async fn sync_only(&self, keep: Keep) -> Report {
        let means = self.means(&keep.lake, keep.request.protocol, keep.tables);
        export::sync(keep.settings, keep.request, self.api(keep.api), means, std::future::pending()).await
    }

    /// What a sync would do.
    pub(crate) async fn outlook(&self, keep: Keep) -> Outlook {
        let lake = Lake::find(&keep.lake).expect("a lake or none");
        let outlook = export::outlook(&keep.request, lake, &self.api(keep.api), self.clock.now()).await;
        outlook.expect("an outlook")
    }

    fn api(&self, settings: ApiSettings) -> Api {
        let transport: Arc<dyn Transport> = Arc::<Wire>::clone(&self.wire);
        Api::new(settings, transport, self.clock)
    }

    fn means(&self, lake: &Path, protocol: ProtocolChoice, tables: Option<&[&str]>) -> Means {
        let family = match protocol {
            ProtocolChoice::One(Protocol::Cursor) => Family::Cursor,
            ProtocolChoice::One(Protocol::Page) => Family::Page,
            _ => Family::Genesys,
        };
        let identity =
            Identity { family, source: "localhost".to_owned(), organization: None, selection: Selection::default() };
        let lake = Lake::open(lake, &identity).expect("a lake");
        Means { flattener: flattener(tables, lake.columns()), lake, clock: self.clock, watch: Arc::new(|_| ()) }
    }

    /// Calls the source by hand, with a token of its own.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let login = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}",
            self.simulator.client_id(),
            self.simulator.client_secret()
        );
        let (_, token) = self.call("/oauth/token", "", login).await;
        let bearer = format!("Bearer {}", token["access_token"].as_str().expect("a token"));
        self.call(path, &bearer, body.to_string()).await
    }

    async fn call(&self, path: &str, authorization: &str, body: String) -> (u16, Value) {
        let mut request = HttpRequest::new(body.into());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = format!("http://localhost{path}").parse().expect("a URI");
        request.headers_mut().insert("authorization", authorization.parse().expect("a header"));
        let answer = self.simulator.send(request).await.expect("an answer");
        (answer.status().as_u16(), serde_json::from_slice(answer.body()).expect("JSON"))
    }

    /// What was sent to the source so far, by all runs.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.wire.sent().clone()
    }

    /// The ids that the world holds in `[from, to)` at this moment.
    pub(crate) fn world(&self, from: &str, to: &str) -> Ids {
        let range = range(from, to);
        let now = self.clock.now();
        let of_day = |day: Day| {
            let records = self.simulator.world().conversations(day, now).into_iter();
            let mut ids: Vec<_> = records.filter(|r| range.contains(r.start)).map(|record| record.id).collect();
            ids.sort();
            (day, ids)
        };
        range.days().map(of_day).filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// Asserts that the run is complete and that the lake holds exactly what the world does.
    pub(crate) fn assert_complete(&self, report: &Report, from: &str, to: &str) {
        assert_eq!(report.totals.exit, 0, "{report:#?}");
        assert_eq!(ids(&self.lake()), self.world(from, to), "lake and world differ");
    }

    /// Neither the client's secret nor a token is in the report, in the log or in the lake's own files.
    fn assert_no_secret(&self, report: &Report, lake: &Path) {
        let mut secrets: BTreeSet<String> = [self.simulator.client_secret().to_owned()].into();
        for sent in self.sent() {
            secrets.extend(sent.authorization.split_once(' ').map(|(_, secret)| secret.to_owned()));
        }
        assert!(secrets.iter().all(|secret| secret.len() >= 32), "too short to be looked for");
        assert!(self.sent().is_empty() || !self.log.text().is_empty(), "the log is not heard");
        let mut texts = vec![
            ("the report".to_owned(), serde_json::to_string(report).expect("JSON").into_bytes()),
            ("the report".to_owned(), format!("{report:?}").into_bytes()),
            ("the log".to_owned(), self.log.text()),
        ];
        let own = files(&lake.join("_convlake"));
        texts.extend(own.into_iter().map(|(path, content)| (path.display().to_string(), content)));
        for (place, text) in texts {
            let text = String::from_utf8_lossy(&text);
            assert!(secrets.iter().all(|secret| !text.contains(secret.as_str())), "a secret is in {place}");
        }
    }
}

/// One request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    /// When its answer was there.
    pub(crate) answered: Option<Instant>,
    pub(crate) status: Option<u16>,
    pub(crate) host: String,
    /// Path and query.
    pub(crate) path: String,
    authorization: String,
    pub(crate) body: Value,
}

/// The simulator as the network, with a record of what was sent.
struct Wire {
    simulator: Simulator,
    sent: Mutex<Vec<Sent>>,
    /// How far its `Date` is ahead.
    dates: TimeDelta,
}

impl Wire {
    fn redate(&self, response: &mut Response) {
        let Some(date) = response.headers_mut().get_mut("date") else { return };
        let right = httpdate::parse_http_date(date.to_str().expect("text")).expect("a date");
        let shown = Timestamp::from(right) + self.dates;
        *date = httpdate::fmt_http_date(shown.into()).parse().expect("a header");
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.sent.lock().expect("no panic while it is held")
    }
}

impl Transport for Wire {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<Response, TransportError>> {
        let header = request.headers().get("authorization").map(|v| v.to_str().expect("text").to_owned());
        let sent = Sent {
            at: Instant::now(),
            answered: None,
            status: None,
            host: request.uri().host().unwrap_or_default().to_owned(),
            path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
            authorization: header.unwrap_or_default(),
            body: serde_json::from_slice(request.body()).unwrap_or_default(),
        };
        let number = {
            let mut all = self.sent();
            all.push(sent);
            all.len() - 1
        };
        let answer = self.simulator.send(request);
        async move {
            let mut answer = answer.await;
            if let Ok(response) = &mut answer {
                self.redate(response);
            }
            let sent = &mut self.sent()[number];
            sent.answered = Some(Instant::now());
            sent.status = answer.as_ref().ok().map(|response| response.status().as_u16());
            answer
        }
        .boxed()
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> Vec<u8> {
        self.0.lock().expect("no panic while it is held").clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while it is held").extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// In memory where the system offers it: nothing here asks what a power cut would leave, and waiting for the disk
/// takes longer than all the rest.
pub(crate) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let directory = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    directory.expect("a temporary directory")
}

/// The ids that a lake holds, read as a stranger does: every Parquet file of `conversations`, by its folder.
pub(crate) fn ids(lake: &Path) -> Ids {
    let mut days = Ids::new();
    for path in files(&lake.join("conversations")).into_keys() {
        let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
        let day: Day = folder.strip_prefix("date=").expect("a partition").parse().expect("a date");
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).expect("a file")).expect("Parquet");
        let mask = ProjectionMask::columns(reader.parquet_schema(), ["conversation_id"]);
        let ids = days.entry(day).or_default();
        for batch in reader.with_projection(mask).build().expect("a reader") {
            let batch = batch.expect("a batch");
            let column = batch.column(0);
            ids.extend(column.as_string::<i32>().iter().map(|id| id.expect("an id").to_owned()));
        }
        ids.sort();
    }
    days.retain(|_, ids| !ids.is_empty());
    days
}

/// Every file below a directory with its content; none when there is no directory.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).expect("a file"));
        }
    }
    found
}

fn flattener(tables: Option<&[&str]>, columns: Columns) -> Flattener {
    let tables: Option<Vec<String>> = tables.map(|names| names.iter().map(ToString::to_string).collect());
    let catalog = Catalog::builtin().expect("schemas").select(tables.as_deref(), &[]).expect("tables");
    Flattener::new(Arc::new(catalog.with(columns))).expect("a flattener")
}

/// A timestamp; a date is its midnight.
pub(crate) fn at(text: &str) -> Timestamp {
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    parse_timestamp(&whole).expect("a timestamp")
}

/// `[from, to)`.
pub(crate) fn range(from: &str, to: &str) -> Interval {
    Interval::new(at(from), at(to)).expect("an interval")
}

fn choice(protocol: &str) -> ProtocolChoice {
    ProtocolChoice::One(match protocol {
        "auto" => return ProtocolChoice::Auto,
        "query" => Protocol::Query,
        "jobs" => Protocol::Jobs,
        "cursor" => Protocol::Cursor,
        "page" => Protocol::Page,
        other => panic!("{other} is no protocol"),
    })
}
