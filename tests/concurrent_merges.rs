//! Runs that merge pages into the same day of a bucket at the same time, call by call in an order that a seed decides,
//! some of them killed on the way: what ended well is there, and the same commands again bring the rest.

#![cfg(test)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::days::Tables;
use common::each;
use common::flaky::{Call, Fate, Fates, Objects, Sitting};
use common::image::{Rows, assert_committed, assert_same, rows};
use common::turns::{Choose, Turns};
use convlake::error::{Kind, Result};
use convlake::lake::merge::Addition;
use convlake::lake::{Lake, Run};
use convlake::time::{Day, Timestamp};
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const DATE: &str = "2025-01-01";
const SEED: u64 = 99_000;
const SCENES: usize = 120;

/// Versions of conversations: the number of each, and how late something happened in it.
type Pages = Vec<(usize, u32)>;

fn any_pages(dice: &mut impl Rng) -> Pages {
    (0..dice.random_range(1..6)).map(|_| (dice.random_range(0..8), dice.random_range(0..4))).collect()
}

fn record(&(number, version): &(usize, u32)) -> Bytes {
    let record = json!({
        "conversationId": format!("conversation-{number}"),
        "conversationStart": format!("{DATE}T08:00:{number:02}.000Z"),
        "conversationEnd": format!("{DATE}T09:00:{version:02}.000Z"),
        "participants": (0..=version).map(|n| json!({
            "participantId": format!("participant-{number}-{version}-{n}"),
            "sessions": [{"sessionId": format!("session-{number}-{version}-{n}")}],
        })).collect::<Vec<_>>(),
    });
    record.to_string().into()
}

fn day() -> Day {
    DATE.parse().unwrap()
}

fn now() -> Timestamp {
    day().plus(60).start()
}

struct Stage(Tables);

impl Stage {
    fn addition(&self, pages: &Pages) -> Addition {
        let rows = self.0.seen(day(), 1, now(), pages.iter().map(record)).rows;
        Addition { day: day(), rows, quarantined: 0, leaving: Arc::default() }
    }

    fn merge(&self, objects: &Arc<Objects>, run: u128, pages: &Pages) -> Result<()> {
        merge(&self.0.begin(objects.line().bucket(), run, now())?, &self.addition(pages))
    }

    /// All merge at once; who calls next is chosen by `choose`.
    fn play(&self, objects: &Arc<Objects>, cast: Vec<(u128, &Pages, Fates)>, choose: Choose) -> Vec<Result<()>> {
        let (_turns, seats) = Turns::seats(cast.len(), choose);
        let begun = cast.into_iter().zip(seats).map(|((run, pages, fates), seat)| {
            let line = objects.line();
            let run = self.0.begin(line.bucket(), run, now()).unwrap();
            (run, self.addition(pages), line.sit(seat, fates))
        });
        let begun: Vec<(Run, Addition, Sitting)> = begun.collect();
        std::thread::scope(|scope| {
            let start = |(run, addition, sitting)| {
                scope.spawn(move || {
                    let _until_merged = sitting;
                    merge(&run, &addition)
                })
            };
            let threads: Vec<_> = begun.into_iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    /// What a lake holds into which all of it was merged at once.
    fn at_once(&self, pages: &Pages) -> Rows {
        let objects = Arc::new(Objects::default());
        self.merge(&objects, 1, pages).unwrap();
        rows(&objects.image())
    }
}

fn merge(run: &Run, addition: &Addition) -> Result<()> {
    run.merge_all(std::slice::from_ref(addition)).pop().unwrap().map(drop)
}

/// Mostly the same run goes on for some calls.
fn seeded(mut dice: ChaCha8Rng) -> Choose {
    let (mut last, stay) = (0, dice.random_range(0.0..0.9));
    Box::new(move |left| {
        if !left.contains(&last) || !dice.random_bool(stay) {
            last = *left.choose(&mut dice).expect("somebody is left");
        }
        last
    })
}

/// The run dies at one of its calls, which may still arrive.
fn death(dice: &mut ChaCha8Rng) -> Fates {
    let at = dice.random_range(0..40);
    let fate = match dice.random_range(0..3) {
        0 => Fate::Lost,
        1 => Fate::Unanswered,
        _ => Fate::Late(dice.random_range(0..40)),
    };
    Box::new(move |call: &Call| match call.number.cmp(&at) {
        std::cmp::Ordering::Less => Fate::Done,
        std::cmp::Ordering::Equal => fate,
        std::cmp::Ordering::Greater => Fate::Lost,
    })
}

#[test]
fn what_is_merged_at_the_same_time_is_there_or_said_not_to_be_in_any_order_of_the_calls() {
    let stage = Stage(Tables::new(Some(&["conversations", "participants", "sessions"])));
    let (well, waited, died, again) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    each(SCENES, |scene| {
        let seed = SEED + scene as u64;
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let objects = Arc::new(Objects::default());
        let mut all = Pages::new();
        if dice.random_bool(0.7) {
            all = any_pages(&mut dice);
            stage.merge(&objects, 1, &all).unwrap();
        } else {
            // The lake is there, the day is not.
            drop(stage.0.begin(objects.line().bucket(), 1, now()).unwrap());
        }
        let with_deaths = dice.random_bool(0.5);
        let cast: Vec<(u128, Pages, bool)> = (0..dice.random_range(2..4))
            .map(|n| {
                let run = dice.random_range(1..1_000) * 10 + n;
                (run, any_pages(&mut dice), with_deaths && dice.random_bool(0.5))
            })
            .collect();
        all.extend(cast.iter().flat_map(|(_, pages, _)| pages));
        let actors = cast.iter().map(|(run, pages, dies)| {
            let fates: Fates = if *dies { death(&mut dice) } else { Box::new(|_: &Call| Fate::Done) };
            (*run, pages, fates)
        });
        let actors = actors.collect();
        let ended = stage.play(&objects, actors, seeded(dice.clone()));
        let when = format!("seed {seed}: {cast:?} ended {ended:?}");

        let mut left = Vec::new();
        for ((_, pages, dies), ended) in cast.iter().zip(&ended) {
            match ended {
                Ok(()) => drop(well.fetch_add(1, Ordering::SeqCst)),
                Err(error) => {
                    assert!(*dies || error.kind() == Kind::Later, "{when}");
                    [&waited, &died][usize::from(*dies)].fetch_add(1, Ordering::SeqCst);
                    left.push(pages);
                }
            }
        }
        if dice.random_bool(0.5) {
            objects.deliver_all();
        }
        // The same commands again, those that have to wait once more: one that died in the middle goes first. What
        // arrives late makes somebody wait once.
        let mut run = 100_000;
        while !left.is_empty() {
            left.retain(|pages| {
                run += 1;
                again.fetch_add(1, Ordering::SeqCst);
                let merged = stage.merge(&objects, run, pages);
                let waits = merged.as_ref().is_err_and(|error| error.kind() == Kind::Later);
                assert!(waits || merged.is_ok(), "{when}: {merged:?}");
                waits
            });
            assert!(run < 100_020, "{when}: nobody can go on");
        }
        objects.deliver_all();
        let image = objects.image();
        assert_same(&rows(&image), &stage.at_once(&all), &when);
        assert_committed(&image, &Lake::open_existing(objects.line().bucket()).unwrap().ledger().unwrap());
    });
    println!(
        "{SCENES} scenes (seed {SEED}): {well:?} merges ended well, {waited:?} had to wait, {died:?} died; \
         {again:?} more made all of it"
    );
    assert!(well.into_inner() > 50 && waited.into_inner() > 20 && died.into_inner() > 20);
}
