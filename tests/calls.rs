//! Every permitted call is used and none is wasted: by every protocol, however long the answers take.

#![cfg(test)]

mod common;

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::org::{Org, at, directory, range};
use common::through;
use convlake::api::http::HttpTransport;
use convlake::api::transport::{Request as HttpRequest, Response, Transport, TransportError};
use convlake::api::{ApiSettings, CALLS_PER_MINUTE, Credentials, Endpoint as Address, Wanted};
use convlake::export::Report;
use convlake::plan::{Protocol, ProtocolChoice};
use convlake::simulator::{Counts, Endpoint, Rules, Simulator, SimulatorSettings, WorldSettings, serve};
use convlake::time::Clock;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

const A_DAY: u64 = 200;
const ON_A_PAGE: u64 = 20;
const FIRST: &str = "2025-01-01";
/// Behind the last day: windows of 30, 30, 30 and 22 days.
const BEHIND: &str = "2025-04-23";
const DAYS: [u64; 4] = [30, 30, 30, 22];
/// A window is queried in slices of a week.
const WEEK: u64 = 7;

const FAR: Range<u64> = 280..320;
const VERY_FAR: Range<u64> = 2_000..3_000;

/// A network whose answers take a while: up to a fifth of it on the way there, the rest on the way back.
struct Line {
    simulator: Simulator,
    /// In milliseconds.
    latency: Range<u64>,
    random: Mutex<u64>,
    /// When the calls that are paced arrived.
    arrived: Mutex<Vec<Instant>>,
}

impl Line {
    fn random(&self, range: Range<u64>) -> Duration {
        let mut random = self.random.lock().unwrap();
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(range.start + (*random >> 33) % (range.end - range.start))
    }
}

impl Transport for Line {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<Response, TransportError>> {
        async move {
            let latency = self.random(self.latency.clone());
            let there = latency.mul_f64(0.2);
            sleep(there).await;
            if request.uri().path() != "/oauth/token" {
                self.arrived.lock().unwrap().push(Instant::now());
            }
            let answer = self.simulator.send(request).await;
            sleep(latency - there).await;
            answer
        }
        .boxed()
    }
}

/// What an export did.
struct Done {
    report: Report,
    counts: Counts,
    /// Calls that arrived in each full minute from the first on.
    minutes: Vec<u64>,
}

async fn export(choice: ProtocolChoice, latency: Range<u64>, behind: &str) -> Done {
    let clock = Clock::starting_at(at(behind));
    let world = WorldSettings { conversations_per_day: A_DAY as u32, brief: true, ..Default::default() };
    // Two weeks at the end are not for jobs yet.
    let rules = Rules {
        latency: Duration::ZERO,
        availability_lag: if choice == ProtocolChoice::Auto { 14 * Duration::from_hours(24) } else { Duration::ZERO },
        ..Rules::default()
    };
    let simulator = Simulator::new(SimulatorSettings { world, rules, ..Default::default() }, clock);
    let line =
        Arc::new(Line { simulator: simulator.clone(), latency, random: Mutex::new(7), arrived: Mutex::default() });
    let settings = ApiSettings {
        wanted: Wanted { page_size: Some(ON_A_PAGE as u32), ..Wanted::default() },
        // Also by page, whose document permits fewer.
        rate_limit: Some(CALLS_PER_MINUTE),
        ..through::settings(&simulator)
    };
    let lake = directory();
    let transport: Arc<dyn Transport> = Arc::<Line>::clone(&line);
    let tables = ["conversations".to_owned()];
    let asked = range(FIRST, behind);
    let report = through::export_by(choice, (settings, transport), asked, lake.path(), Some(&tables), clock).await;

    assert_eq!(report.totals.exit, 0, "{:?}", report.errors);
    assert_eq!(report.totals.conversations, asked.days().count() as u64 * A_DAY);
    let counts = simulator.counts();
    assert_eq!(counts.with(429), 0, "{counts:?}");
    assert_eq!(report.totals.retries, 0);
    let arrived = line.arrived.lock().unwrap();
    // However many are wanted at once, they are spread over the minute.
    let first = arrived.iter().filter(|at| **at - arrived[0] < Duration::from_secs(1)).count();
    assert!(first <= CALLS_PER_MINUTE as usize / 10, "{first} calls in the first second");
    let last = (arrived[arrived.len() - 1] - arrived[0]).as_secs() / 60;
    let in_minute = |minute| arrived.iter().filter(|at| (**at - arrived[0]).as_secs() / 60 == minute).count() as u64;
    Done { report, counts, minutes: (0..last).map(in_minute).collect() }
}

impl Done {
    fn assert_used(&self, minutes: Range<usize>) {
        let used = self.minutes.get(minutes.clone()).unwrap_or_else(|| panic!("too little work: {:?}", self.minutes));
        assert!(used.len() >= 3, "too little work: {:?}", self.minutes);
        let least = u64::from(CALLS_PER_MINUTE) * 98 / 100;
        assert!(used.iter().all(|calls| *calls >= least), "{:?}", self.minutes);
    }

    /// The same over all of these minutes together: where every call waits for the one before it, they vary.
    fn assert_used_together(&self, minutes: Range<usize>) {
        let used = self.minutes.get(minutes.clone()).unwrap_or_else(|| panic!("too little work: {:?}", self.minutes));
        let permitted = u64::from(CALLS_PER_MINUTE) * used.len() as u64;
        assert!(used.iter().sum::<u64>() * 100 >= permitted * 98, "{:?}", self.minutes);
    }

    fn assert_calls(&self, necessary: u64) {
        assert_eq!(self.report.totals.calls, necessary, "{:?}", self.counts);
    }
}

/// Every page is asked for once, and behind the last of a slice the empty one that is its end.
fn necessary_by_query(days: impl IntoIterator<Item = u64>) -> u64 {
    let weeks =
        days.into_iter().flat_map(|days| (0..days.div_ceil(WEEK)).map(move |week| WEEK.min(days - week * WEEK)));
    weeks.map(|days| (days * A_DAY).div_ceil(ON_A_PAGE) + 1).sum()
}

/// Windows fill whole pages.
fn pages_of_windows() -> u64 {
    DAYS.iter().map(|days| days * A_DAY / ON_A_PAGE).sum()
}

#[tokio::test(start_paused = true)]
async fn by_query() {
    for latency in [FAR, VERY_FAR] {
        let done = export(ProtocolChoice::One(Protocol::Query), latency, BEHIND).await;
        done.assert_calls(necessary_by_query(DAYS));
        done.assert_used(0..done.minutes.len());
    }
}

#[tokio::test(start_paused = true)]
async fn by_page() {
    for latency in [FAR, VERY_FAR] {
        let done = export(ProtocolChoice::One(Protocol::Page), latency, BEHIND).await;
        // Behind a full last page one more is looked for.
        done.assert_calls(pages_of_windows() + DAYS.len() as u64);
        done.assert_used(0..done.minutes.len());
    }
}

#[tokio::test(start_paused = true)]
async fn by_cursor() {
    let done = export(ProtocolChoice::One(Protocol::Cursor), FAR, BEHIND).await;
    done.assert_calls(pages_of_windows());
    done.assert_used(0..done.minutes.len());
}

#[tokio::test(start_paused = true)]
async fn by_jobs() {
    let done = export(ProtocolChoice::One(Protocol::Jobs), FAR, BEHIND).await;
    done.assert_jobs(DAYS.iter().sum());
    done.assert_used(0..done.minutes.len());
}

#[tokio::test(start_paused = true)]
async fn by_jobs_and_query() {
    let done = export(ProtocolChoice::Auto, FAR, BEHIND).await;
    done.assert_jobs(DAYS.iter().sum::<u64>() - 14);
    assert_eq!(done.counts.of(Endpoint::Query), necessary_by_query([14]));
    // At the end the longest job is read alone.
    done.assert_used(0..3);
}

/// A chain of cursors has one call under way at a time: as many windows are read at the same time as it takes, while
/// there are as many: in the last minutes 95 % of the calls are used.
#[tokio::test(start_paused = true)]
async fn cursors_that_are_slow_are_followed_in_more_windows() {
    let done = export(ProtocolChoice::One(Protocol::Cursor), VERY_FAR, "2026-06-25").await;
    done.assert_used_together(0..10);
}

/// The same with jobs, three of which are prepared at a time: in the first two minutes there is not enough to be read, and
/// in the last two not any more.
#[tokio::test(start_paused = true)]
async fn jobs_that_are_slow_are_read_in_greater_number() {
    let done = export(ProtocolChoice::One(Protocol::Jobs), VERY_FAR, "2026-06-25").await;
    done.assert_used_together(2..17);
    assert!(done.counts.jobs_concurrent_max <= 3, "{:?}", done.counts);
}

impl Done {
    /// Every page of results once; a job is submitted, looked at three times at most, and deleted.
    fn assert_jobs(&self, days: u64) {
        let of = |endpoint| self.counts.of(endpoint);
        // Days fill whole pages, however they are cut into jobs.
        assert_eq!(of(Endpoint::Results), days * A_DAY / ON_A_PAGE);
        let jobs = of(Endpoint::Submit);
        assert_eq!((of(Endpoint::Delete), self.counts.jobs_concurrent_max), (jobs, 3));
        assert!(of(Endpoint::Job) <= 3 * jobs, "{:?}", self.counts);
    }
}

/// One slice is one slice, however slow the answers are.
#[tokio::test(start_paused = true)]
async fn one_slice_at_a_time_when_told_so() {
    for protocol in ["cursor", "jobs"] {
        let rules = Rules { latency: Duration::from_secs(3), ..Rules::default() };
        let world = WorldSettings { conversations_per_day: 2, brief: true, ..Default::default() };
        let org = Org::new(SimulatorSettings { world, rules, ..Default::default() }, "2025-09-01T00:00:00Z");
        let mut ask = org.ask(protocol, "2025-01-01", "2025-06-01");
        ask.api.wanted.page_size = Some(10);
        ask.request.concurrency = 1;
        let report = org.run(ask).await;
        org.assert_complete(&report, "2025-01-01", "2025-06-01");
        let sent = org.sent();
        for pair in sent.windows(2) {
            assert!(pair[0].answered.unwrap() <= pair[1].at, "{protocol}: two calls at a time");
        }
    }
}

/// Real sockets: a connection that is there is used again.
#[tokio::test]
async fn connections_are_kept() {
    let clock = Clock::starting_at(at(BEHIND));
    let world = WorldSettings { conversations_per_day: 40, brief: true, ..Default::default() };
    let rules = Rules { latency: Duration::ZERO, ..Rules::default() };
    let simulator = Simulator::new(SimulatorSettings { world, rules, ..Default::default() }, clock);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::base_url(&format!("http://{}", listener.local_addr().unwrap()), false).unwrap();
    let serving = tokio::spawn(serve(simulator.clone(), listener, std::future::pending()));

    let credentials = Credentials::new(simulator.client_id(), simulator.client_secret()).unwrap();
    let settings = ApiSettings {
        wanted: Wanted { page_size: Some(ON_A_PAGE as u32), ..Wanted::default() },
        ..ApiSettings::new(address.clone(), credentials)
    };
    let (lake, transport) = (directory(), HttpTransport::shared(&address).unwrap());
    let asked = range("2025-01-01", "2025-01-31");
    // One call after the other.
    let choice = ProtocolChoice::One(Protocol::Cursor);
    let report = through::export_by(choice, (settings, transport), asked, lake.path(), None, clock).await;
    serving.abort();

    assert_eq!((report.totals.exit, report.totals.conversations), (0, 30 * 40), "{:?}", report.errors);
    // A connection may be on its way back when the next call goes out.
    assert!((1..=3).contains(&simulator.counts().connections), "{:?}", simulator.counts());
    assert_eq!(report.totals.calls, 30 * 40 / ON_A_PAGE);
}
