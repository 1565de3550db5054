//! Each stage of the way from pages to a lake, and the whole of it, in bytes of JSON and conversations a second:
//! `cargo bench`, or `cargo bench -- flatten`.
//!
//! Criterion, because it tells both at once and compares with the run before.

#![expect(clippy::expect_used, reason = "a benchmark that cannot begin has nothing to measure")]
#![allow(missing_docs, reason = "criterion's macros make public functions")]

mod data;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use convlake::api::envelope::Envelope;
use convlake::api::{Api, ApiSettings, Credentials, Endpoint, Page};
use convlake::export::{self, Input, Means, Onto, Report, Request, Settings};
use convlake::flatten::batch::DayBatch;
use convlake::flatten::schema::Columns;
use convlake::flatten::{Catalog, Flattener};
use convlake::lake::assemble::assemble;
use convlake::lake::day_rows::DayRows;
use convlake::lake::encode::{Known, Label, encode};
use convlake::lake::forgotten::Forgotten;
use convlake::lake::versions::Rule;
use convlake::lake::{Dataset, Family, Identity, Lake, Observation, Outcome, RunId, Selection, TableSpec};
use convlake::plan::{Protocol, ProtocolChoice, Source};
use convlake::simulator::{Rules, Simulator, SimulatorSettings, WorldSettings};
use convlake::time::{Clock, Day, Interval, Timestamp, parse_timestamp};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use data::{Conversations, Order, PAGE, Shape};
use tempfile::TempDir;

/// A day of 2,000 conversations, 26 MB.
const DAY: Shape = Shape { conversations: 2_000, days: 1, order: Order::Time, seed: 1 };
/// A week of them.
const WEEK: Shape = Shape { conversations: 14_000, days: 7, ..DAY };
const FIVE: [&str; 5] = ["conversations", "participants", "sessions", "segments", "metrics"];
const MEMORY: usize = 160 << 20;

fn at(text: &str) -> Timestamp {
    parse_timestamp(text).expect("a timestamp")
}

fn pages(shape: Shape) -> Vec<Page> {
    let (mut conversations, mut pages, mut body) = (Conversations::new(shape), Vec::new(), Vec::new());
    while conversations.append_page(&mut body) {
        let records = Envelope::read(&body).expect("a page").records;
        pages.push(Page {
            chain: 0,
            number: pages.len() as u32 + 1,
            body: std::mem::take(&mut body).into(),
            records,
            list: None,
        });
    }
    pages
}

fn throughput(shape: Shape, pages: &[Page]) -> Throughput {
    let bytes = pages.iter().map(|page| page.body.len() as u64).sum();
    Throughput::ElementsAndBytes { elements: shape.conversations as u64, bytes }
}

fn flattener(tables: Option<&[&str]>) -> Flattener {
    let tables: Option<Vec<String>> = tables.map(|names| names.iter().map(|&name| name.to_owned()).collect());
    let catalog = Catalog::builtin().and_then(|catalog| catalog.select(tables.as_deref(), &[]));
    Flattener::new(Arc::new(catalog.expect("tables").with(Columns::Details))).expect("the schemas")
}

fn day(flattener: &Flattener) -> DayRows {
    let flat = |page: &Page| flattener.flatten(page.chain, page.number, page.records()).expect("rows").days;
    pages(DAY).iter().flat_map(flat).collect::<Vec<DayBatch>>().into()
}

fn lake(folder: &TempDir) -> Arc<Lake> {
    let (family, source, selection) = (Family::Genesys, "benches".to_owned(), Selection::default());
    Lake::open(folder.path(), &Identity { family, source, organization: None, selection }).expect("a lake")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Where the records of a page stand.
fn scan(c: &mut Criterion) {
    let page = pages(Shape { conversations: PAGE, ..DAY }).remove(0);
    let mut group = c.benchmark_group("scan");
    group.throughput(throughput(Shape { conversations: PAGE, ..DAY }, std::slice::from_ref(&page)));
    group.bench_function("a page", |b| b.iter(|| Envelope::read(black_box(&page.body))));
}

/// A page becomes rows.
fn flatten(c: &mut Criterion) {
    let shape = Shape { conversations: PAGE, ..DAY };
    let page = pages(shape).remove(0);
    let mut group = c.benchmark_group("flatten");
    group.throughput(throughput(shape, std::slice::from_ref(&page)));
    for (name, tables) in [("a page to 5 tables", Some(&FIVE[..])), ("a page to 15 tables", None)] {
        let flattener = flattener(tables);
        group.bench_function(name, |b| b.iter(|| flattener.flatten(0, 1, black_box(&page).records())));
    }
}

/// The rows of a day become files, in memory and one after the other.
fn encoding(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    group.throughput(throughput(DAY, &pages(DAY))).sample_size(20);
    for (name, tables) in [("a day of 5 tables", Some(&FIVE[..])), ("a day of 15 tables", None)] {
        let flattener = flattener(tables);
        let (specs, rows) = (TableSpec::of(flattener.catalog()).expect("tables"), day(&flattener));
        group.bench_function(name, |b| b.iter(|| encoded(&specs, black_box(&rows))));
    }
}

fn encoded(specs: &[TableSpec], rows: &DayRows) -> u64 {
    let (day, observed_at) = (rows.batches[0].day, at("2026-06-01T00:00:00Z"));
    let assembled = assemble(specs, rows, &day.interval(), &Forgotten::default(), Rule::Position).expect("a day");
    let known = Known::default();
    let files = assembled.tables.iter().map(|table| {
        let label = Label {
            uuid: Default::default(),
            day,
            order: convlake::lake::Order::observed(1, observed_at, RunId::at(observed_at)),
            observed_at,
            of: None,
        };
        encode(Vec::new(), table.spec, table.pieces(), &label, &known).expect("a file").0.bytes
    });
    files.sum()
}

/// A day is put into an empty lake on disk: encoded on all processors, synced, read back, recorded.
fn publish(c: &mut Criterion) {
    let flattener = flattener(None);
    let (specs, rows) = (TableSpec::of(flattener.catalog()).expect("tables"), day(&flattener));
    let clock = Clock::starting_at(at("2026-06-01T00:00:00Z"));
    let observation = observation(rows.batches[0].day, rows, clock);
    let mut group = c.benchmark_group("publish");
    group.throughput(throughput(DAY, &pages(DAY))).sample_size(20).measurement_time(Duration::from_secs(10));
    group.bench_function("a day of 15 tables", |b| {
        let empty = || {
            let folder = folder();
            let begun = lake(&folder).begin(RunId::at(clock.now()), Dataset::Conversations, Arc::clone(&specs), clock);
            (begun.expect("a run"), folder)
        };
        let publish = |(run, folder)| {
            let outcome = convlake::lake::Run::publish(&run, &observation).expect("published");
            assert!(matches!(outcome, Outcome::Published(_)));
            (run, folder)
        };
        b.iter_batched(empty, publish, BatchSize::PerIteration);
    });
}

fn observation(day: Day, rows: DayRows, clock: Clock) -> Observation {
    Observation {
        generation: 1,
        clock_skew: None,
        day,
        rows,
        drafted: None,
        asked: day.interval(),
        fetched: day.interval(),
        source: Source::Files,
        availability: None,
        observed_at: clock.now(),
        settled_before: day.start(),
        out_of_window: 0,
        quarantined: 0,
        shortage: None,
        refetched: 0,
        moved: Arc::default(),
        confirmed: false,
        force_protocol: false,
        allow_vanished: false,
    }
}

fn settings() -> Settings {
    Settings {
        command: "bench",
        lake: "temporary".to_owned(),
        notes: Vec::new(),
        memory: MEMORY,
        max_bad: 0,
        strict_totals: false,
        allow_vanished: false,
    }
}

fn means(folder: &TempDir, clock: Clock) -> Means {
    Means { lake: lake(folder), flattener: flattener(None), clock, watch: Arc::new(|_| ()) }
}

fn finished(report: &Report, conversations: usize) {
    assert_eq!((report.totals.exit, report.totals.conversations), (0, conversations as u64));
}

/// A file of pages becomes a lake.
fn convert(c: &mut Criterion) {
    let (pages, source) = (pages(WEEK), folder());
    let path = source.path().join("pages.jsonl");
    let lines: Vec<u8> = pages.iter().flat_map(|page| [&page.body[..], b"\n"].concat()).collect();
    std::fs::write(&path, lines).expect("room for a week");
    let runtime = runtime();
    let mut group = c.benchmark_group("convert");
    group.throughput(throughput(WEEK, &pages)).sample_size(10).measurement_time(Duration::from_secs(20));
    group.bench_function("a week to 15 tables", |b| {
        b.to_async(&runtime).iter(async || {
            let (folder, clock) = (folder(), Clock::starting_at(at("2026-06-01T00:00:00Z")));
            let inputs = vec![Input::File(path.clone())];
            let report =
                export::convert(settings(), inputs, Onto::Replace, means(&folder, clock), std::future::pending()).await;
            finished(&report, WEEK.conversations);
        });
    });
}

/// An organization is exported from a simulator in the same process, which is in the figure: it tells each day once.
fn whole_export(c: &mut Criterion) {
    const A_DAY: u32 = 200;
    let clock = Clock::starting_at(at("2026-06-01T00:00:00Z"));
    let asked = Interval::new(at("2026-05-01T00:00:00Z"), at("2026-05-11T00:00:00Z")).expect("ten days");
    let world = WorldSettings { conversations_per_day: A_DAY, ..WorldSettings::default() };
    let rules = Rules { latency: Duration::ZERO, rate_limit: None, tokens_max: usize::MAX, ..Rules::default() };
    let simulator = Simulator::new(SimulatorSettings { world, rules, ..Default::default() }, clock);
    let conversations = asked.days().count() * A_DAY as usize;
    let runtime = runtime();
    let mut group = c.benchmark_group("export");
    group.throughput(Throughput::Elements(conversations as u64)).sample_size(10);
    group.bench_function("ten days of the simulator", |b| {
        b.to_async(&runtime).iter(async || {
            let folder = folder();
            let request = Request {
                asked: asked.into(),
                protocol: ProtocolChoice::One(Protocol::Query),
                filtered: false,
                concurrency: 6,
                missing_only: false,
            };
            let (api, means) = (api(&simulator, clock), means(&folder, clock));
            let report = export::export(settings(), request, api, means, std::future::pending()).await;
            finished(&report, conversations);
        });
    });
}

fn api(simulator: &Simulator, clock: Clock) -> Api {
    let endpoint = Endpoint::base_url("http://localhost", false).expect("a URL");
    let credentials = Credentials::new(simulator.client_id(), simulator.client_secret()).expect("credentials");
    let mut settings = ApiSettings::new(endpoint, credentials);
    settings.rate_limit = Some(u32::MAX);
    Api::new(settings, simulator.transport(), clock)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads")
}

criterion_group!(stages, scan, flatten, encoding, publish, convert, whole_export);
criterion_main!(stages);
