//! Many faults by chance: whatever passes, the lake is the world in the end.

use std::time::Duration;

use convlake::simulator::{Faults, RandomFaults, Rules, SimulatorSettings};

use crate::common::org::{Org, ids};
use crate::{NOW, sound};

const FROM: &str = "2025-01-29";
const TO: &str = "2025-02-10";
/// So many days before [`NOW`] the jobs end in the middle of the range.
const LAG: Duration = Duration::from_secs(209 * 24 * 3_600);

/// Ten seeds, a fault on every twentieth to every fifth call. The seed is in the message of a failure.
async fn by_chance(protocol: &str) {
    let (mut faults, mut calls) = (0, 0);
    for seed in 1..=10u32 {
        let probability = 0.05 + 0.15 * f64::from(seed - 1) / 9.0;
        let random = Some(RandomFaults { seed: seed.into(), probability });
        let rules =
            Rules { availability_lag: if protocol == "auto" { LAG } else { Duration::ZERO }, ..Rules::default() };
        let settings = SimulatorSettings { rules, faults: Faults { random, ..Faults::default() }, ..sound(10) };
        let org = Org::new(settings, NOW);
        // Two slices by query and by jobs, and small pages: many calls.
        let mut ask = org.ask(protocol, FROM, TO);
        ask.api.wanted.page_size = Some(4);
        let report = org.run(ask).await;
        let named = format!("{protocol}, seed {seed}, probability {probability:.2}");
        assert_eq!(report.totals.exit, 0, "{named}: {:?}", report.errors);
        assert!(ids(&org.lake()) == org.world(FROM, TO), "{named}: lake and world differ");
        assert_eq!(report.totals.conversations, 12 * 10, "{named}");
        faults += report.totals.retries;
        calls += report.totals.calls;
    }
    assert!(faults * 20 > calls, "{protocol}: {faults} repeats of {calls} calls are no test");
}

#[tokio::test(start_paused = true)]
async fn the_query_survives_ten_seeds() {
    by_chance("query").await;
}

#[tokio::test(start_paused = true)]
async fn jobs_survive_ten_seeds() {
    by_chance("jobs").await;
}

#[tokio::test(start_paused = true)]
async fn the_cursor_survives_ten_seeds() {
    by_chance("cursor").await;
}

#[tokio::test(start_paused = true)]
async fn the_pages_survive_ten_seeds() {
    by_chance("page").await;
}

#[tokio::test(start_paused = true)]
async fn auto_survives_ten_seeds() {
    by_chance("auto").await;
}
