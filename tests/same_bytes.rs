//! The same records make the same bytes, however they arrive.

#![cfg(test)]

mod common;

use std::time::Duration;

use common::TABLES;
use common::org::{Ask, Org};
use common::receipts::{Contents, contents, unfinished};
use convlake::simulator::{Action, Faults, Scripted, SimulatorSettings, WorldSettings};

const FROM: &str = "2025-03-01";
const TO: &str = "2025-03-11";

fn org(faults: Faults) -> Org {
    let world = WorldSettings { conversations_per_day: 25, ..WorldSettings::default() };
    Org::new(SimulatorSettings { world, faults, ..SimulatorSettings::default() }, "2025-06-01")
}

async fn made(org: &Org, name: &str, protocol: &str, change: impl FnOnce(&mut Ask)) -> Contents {
    let mut ask = org.ask(protocol, FROM, TO);
    ask.lake = org.path(name);
    ask.tables = None;
    change(&mut ask);
    let report = org.run(ask).await;
    assert_eq!(report.totals.exit, 0, "{report:#?}");
    assert_eq!(unfinished(&org.path(name)), [""; 0]);
    let contents = contents(&org.path(name));
    assert_eq!(contents.len(), 10);
    assert!(contents.values().all(|day| day.len() == TABLES.len()));
    contents
}

#[tokio::test(start_paused = true)]
async fn rows_that_wait_on_disk_are_written_as_rows_in_memory_are() {
    let org = org(Faults::default());
    for protocol in ["jobs", "query"] {
        let roomy = made(&org, &format!("{protocol}-roomy"), protocol, |ask| ask.settings.memory = 1 << 30).await;
        let tight = made(&org, &format!("{protocol}-tight"), protocol, |ask| ask.settings.memory = 1).await;
        assert_eq!(roomy, tight);
    }
}

#[tokio::test(start_paused = true)]
async fn one_slice_at_a_time_makes_what_eight_at_a_time_make() {
    let org = org(Faults::default());
    let one = made(&org, "one", "query", |ask| ask.request.concurrency = 1).await;
    let eight = made(&org, "eight", "query", |ask| ask.request.concurrency = 8).await;
    assert_eq!(one, eight);
}

/// Every third page takes seconds, so that its successors overtake it.
#[tokio::test(start_paused = true)]
async fn pages_that_overtake_each_other_make_what_pages_in_order_make() {
    let small = |ask: &mut Ask| ask.api.wanted.page_size = Some(7);
    let calm = org(Faults::default());
    let in_order = made(&calm, "lake", "page", |ask| {
        small(ask);
        ask.request.concurrency = 1;
    });
    let in_order = in_order.await;

    let slow = Scripted { every: Some(3), ..Scripted::always(Action::Slow { ms: 4_000 }) };
    let shuffled = org(Faults { script: vec![slow], random: None });
    let overtaken = made(&shuffled, "lake", "page", small).await;
    let answers: Vec<_> = shuffled.sent().into_iter().filter(|sent| sent.body.get("dateFrom").is_some()).collect();
    let overtakes = answers.windows(2).filter(|pair| pair[0].answered > pair[1].answered).count();
    assert!(overtakes > 5, "{overtakes} of {} pages were overtaken", answers.len());
    assert!(answers.iter().all(|sent| sent.answered.unwrap() - sent.at < Duration::from_secs(10)));
    assert_eq!(in_order, overtaken);
}
