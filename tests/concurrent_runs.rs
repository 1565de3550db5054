//! Runs that publish the same day of a bucket at the same time, call by call in an order that a seed decides, some of
//! them killed on the way and most of them by clocks that are wrong: the newest observation is everywhere, nothing is mixed, and the ledger says what is there.

#![cfg(test)]

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chrono::TimeDelta;
use common::days::Tables;
use common::each;
use common::flaky::{Call, Fate, Fates, Objects, Sitting, Verb};
use common::image::{Rows, assert_committed, assert_same, remains, rows};
use common::turns::{Choose, Turns};
use convlake::error::{Kind, Result};
use convlake::lake::{Lake, Observation, Outcome, Run, RunId};
use convlake::plan::Source;
use convlake::time::Day;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use uuid::Uuid;

const DATE: &str = "2025-01-01";

/// What the source said of the day at some time: how many conversations, and one field of each table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    conversations: usize,
    initiator: u8,
    name: u8,
    media: u8,
}

const EMPTY: Version = Version { conversations: 0, ..BASE };
const BASE: Version = Version { conversations: 3, initiator: 0, name: 0, media: 0 };

impl Version {
    /// Any: often a table is the same in two of them.
    fn any(dice: &mut impl Rng) -> Version {
        let mut field = || dice.random_range(0..2);
        let (initiator, name, media) = (field(), field(), field());
        let conversations = *[0, 3, 3, 3, 3, 4].choose(dice).unwrap();
        Version { conversations, initiator, name, media }
    }

    fn records(self) -> impl Iterator<Item = Bytes> {
        (0..self.conversations).map(move |n| {
            let record = json!({
                "conversationId": format!("conversation-{n}"),
                "conversationStart": format!("{DATE}T08:00:{n:02}.000Z"),
                "conversationInitiator": format!("initiator-{}", self.initiator),
                "participants": [{
                    "participantId": format!("participant-{n}"),
                    "participantName": format!("name-{}", self.name),
                    "sessions": [{ "sessionId": format!("session-{n}"), "mediaType": format!("media-{}", self.media) }],
                }],
            });
            record.to_string().into()
        })
    }
}

/// A run that has asked the source and is about to publish.
struct Actor {
    source: &'static str,
    run: u128,
    seen: Observation,
    fates: Fates,
}

struct Stage {
    tables: Tables,
    rows: Mutex<BTreeMap<Version, Rows>>,
}

impl Stage {
    fn new(tables: &[&str]) -> Stage {
        Stage { tables: Tables::new(Some(tables)), rows: Mutex::default() }
    }

    /// What the source said in some hour of the next day.
    fn seen(&self, hour: i64, version: Version) -> Observation {
        let day: Day = DATE.parse().unwrap();
        self.tables.seen(day, hour as u64 + 1, day.next().start() + TimeDelta::hours(hour), version.records())
    }

    /// A run that nothing happens to.
    fn actor(&self, run: u128, hour: i64, version: Version) -> Actor {
        Actor { source: "localhost", run, seen: self.seen(hour, version), fates: Box::new(|_| Fate::Done) }
    }

    fn publish(&self, objects: &Arc<Objects>, run: u128, hour: i64, version: Version) -> Outcome {
        let outcomes = self.tables.export(objects.line().bucket(), run, &[self.seen(hour, version)]);
        outcomes.unwrap().pop().unwrap()
    }

    /// All publish at once; who calls next is chosen by `choose`. Returns how each ended, and who called when.
    fn play(&self, objects: &Arc<Objects>, actors: Vec<Actor>, choose: Choose) -> (Vec<Result<Outcome>>, Vec<usize>) {
        let (turns, seats) = Turns::seats(actors.len(), choose);
        let begun = actors.into_iter().zip(seats).map(|(actor, seat)| {
            let line = objects.line();
            let run = self.tables.begin_of(actor.source, line.bucket(), actor.run, actor.seen.observed_at).unwrap();
            (run, actor.seen, line.sit(seat, actor.fates))
        });
        let begun: Vec<_> = begun.collect();
        let ended = std::thread::scope(|scope| {
            let publish = |(run, seen, sitting): (Run, Observation, Sitting)| {
                scope.spawn(move || {
                    let _until_published = sitting;
                    run.publish(&seen)
                })
            };
            let threads: Vec<_> = begun.into_iter().map(publish).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        (ended, turns.order())
    }

    /// What a lake of only this version holds.
    fn rows(&self, version: Version) -> Rows {
        let mut known = self.rows.lock().unwrap();
        let made = || {
            let objects = Arc::new(Objects::default());
            self.publish(&objects, 1, 0, version);
            filled(rows(&objects.image()))
        };
        known.entry(version).or_insert_with(made).clone()
    }

    /// The day holds `version`, all of it and nothing else, and the ledger says so.
    fn assert_holds(&self, objects: &Arc<Objects>, version: Version, when: &str) {
        let image = objects.image();
        assert_same(&filled(rows(&image)), &self.rows(version), when);
        let ledger = Lake::open_existing(objects.line().bucket()).unwrap().ledger().unwrap();
        assert_committed(&image, &ledger);
        let counts = ledger.receipt(DATE.parse().unwrap()).map(|receipt| receipt.counts.conversations);
        assert_eq!(counts, Some(version.conversations as u64), "{when}");
    }
}

/// A file without rows is as good as none.
fn filled(mut rows: Rows) -> Rows {
    rows.retain(|_, batch| batch.num_rows() > 0);
    rows
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

/// How wrong a run's clock is: not at all, a year behind or ahead, in another century, or by any number of minutes.
fn lie(dice: &mut ChaCha8Rng) -> TimeDelta {
    match dice.random_range(0..5) {
        0 => TimeDelta::zero(),
        1 => TimeDelta::days(-365),
        2 => TimeDelta::days(365),
        3 => TimeDelta::days(74 * 365),
        _ => TimeDelta::minutes(dice.random_range(-10_000..10_000)),
    }
}

/// Whoever gives way on a day of which nothing is published yet says so.
fn ended_well(ended: &Result<Outcome>, published: bool) -> bool {
    match ended {
        Ok(_) => true,
        Err(error) => !published && error.kind() == Kind::Later,
    }
}

/// Something happens to the run at one of its calls, and mostly it dies of it.
fn misfortune(dice: &mut ChaCha8Rng) -> Fates {
    let (at, dies) = (dice.random_range(0..22), dice.random_bool(0.7));
    let fate = match dice.random_range(0..3) {
        0 => Fate::Lost,
        1 => Fate::Unanswered,
        _ => Fate::Late(dice.random_range(0..40)),
    };
    Box::new(move |call: &Call| match call.number.cmp(&at) {
        std::cmp::Ordering::Equal => fate,
        std::cmp::Ordering::Greater if dies => Fate::Lost,
        _ => Fate::Done,
    })
}

/// The first run for `blocks[0]` calls, the second for `blocks[1]`, and so on; then `first` to its end, and the other.
fn blocks(first: usize, blocks: Vec<usize>) -> Choose {
    let mut turns = blocks.into_iter().enumerate().flat_map(move |(n, calls)| vec![(first + n) % 2; calls]);
    Box::new(move |left| {
        let next = turns.by_ref().find(|run| left.contains(run));
        next.unwrap_or(if left.contains(&first) { first } else { 1 - first })
    })
}

/// Two tables, two runs, every order of their calls with up to two interruptions: what was there, what the older run
/// brings, what the newer one does.
#[test]
fn every_order_with_two_interruptions_leaves_the_newest_observation() {
    let changed = Version { initiator: 1, name: 1, ..BASE };
    let stories = [
        ("the newer keeps both files", Some(BASE), changed, BASE),
        ("the newer keeps one file", Some(BASE), changed, Version { name: 1, ..BASE }),
        ("each changes its own", Some(BASE), Version { initiator: 1, ..BASE }, Version { name: 1, ..BASE }),
        ("a new day, which the newer finds empty", None, BASE, EMPTY),
    ];
    let stage = Stage::new(&["conversations", "participants"]);
    let mut orders = 0;
    for (story, before, older, newer) in stories {
        let objects = Arc::new(Objects::default());
        if let Some(before) = before {
            stage.publish(&objects, 1, 0, before);
        }
        let play = |first: usize, lengths: Vec<usize>| {
            let objects = objects.fork();
            let actors = vec![stage.actor(2, 1, older), stage.actor(3, 2, newer)];
            let (ended, order) = stage.play(&objects, actors, blocks(first, lengths));
            let when = format!("{story}: {order:?} ended {ended:?}");
            assert!(ended.iter().all(|ended| ended_well(ended, before.is_some())), "{when}");
            stage.assert_holds(&objects, newer, &when);
            assert_eq!(remains(&objects.image()), [""; 0], "{when}");
            order
        };
        // As many calls as either makes when it goes first.
        let calls = [0, 1].map(|first| play(first, Vec::new()).into_iter().filter(|run| *run == first).count());
        for (first, other) in [(0, 1), (1, 0)] {
            each(calls[first] * calls[other], |n| drop(play(first, vec![n / calls[other], n % calls[other] + 1])));
            orders += calls[first] * calls[other];
        }
    }
    println!("{orders} orders of two runs' calls: the newest observation everywhere");
}

#[test]
fn concurrent_runs_leave_the_newest_observation_in_any_order_of_their_calls() {
    const SEED: u64 = 77_000;
    const SCENES: usize = 150;
    let stage = Stage::new(&["conversations", "participants", "sessions"]);
    let lost = AtomicUsize::new(0);
    let (pairs, three, unlucky_runs, gave_way, calls) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    each(SCENES, |scene| {
        let seed = SEED + scene as u64;
        let mut dice = ChaCha8Rng::seed_from_u64(seed);
        let objects = Arc::new(Objects::default());
        let mut versions = Vec::new();
        let published = dice.random_bool(0.8);
        if published {
            stage.publish(&objects, 1_000, 0, BASE);
            versions.push(BASE);
        }
        if dice.random_bool(0.3) {
            // Somebody died here before, and left a claim and perhaps some files.
            let version = Version::any(&mut dice);
            let dead = Actor { fates: misfortune(&mut dice), ..stage.actor(2_000, 1, version) };
            stage.play(&objects, vec![dead], seeded(dice.clone()));
            versions.push(version);
        }
        let count = if dice.random_bool(0.25) { 3 } else { 2 };
        let with_misfortune = dice.random_bool(0.4);
        let mut cast = Vec::new();
        for n in 0..count {
            // Mostly at different times, sometimes at once; a later run need not have asked later.
            let (hour, run) = (dice.random_range(2..6), dice.random_range(0..1_000) * 10 + n);
            let version = if dice.random_bool(0.25) { BASE } else { Version::any(&mut dice) };
            let unlucky = with_misfortune && dice.random_bool(0.5);
            cast.push((hour, run, version, unlucky));
        }
        let newest = *cast.iter().max_by_key(|(hour, run, ..)| (*hour, *run)).unwrap();
        versions.extend(cast.iter().map(|(_, _, version, _)| *version));
        let clocks: Vec<TimeDelta> = cast.iter().map(|_| lie(&mut dice)).collect();
        let actors = cast.iter().zip(&clocks).map(|((hour, run, version, unlucky), clock)| {
            let fates = if *unlucky { misfortune(&mut dice) } else { Box::new(|_: &Call| Fate::Done) };
            let mut actor = Actor { fates, ..stage.actor(*run, *hour, *version) };
            actor.seen.observed_at += *clock;
            actor
        });
        let actors: Vec<Actor> = actors.collect();
        let (ended, order) = stage.play(&objects, actors, seeded(dice.clone()));
        let when = format!("seed {seed}: {cast:?} by clocks {clocks:?} in the order {order:?} ended {ended:?}");

        for ((.., unlucky), ended) in cast.iter().zip(&ended) {
            assert!(*unlucky || ended_well(ended, published), "{when}");
        }
        let known: Vec<Rows> = versions.iter().map(|version| stage.rows(*version)).collect();
        for (path, batch) in filled(rows(&objects.image())) {
            assert!(known.iter().any(|rows| rows.get(&path) == Some(&batch)), "{when}: {path} is of no run");
        }
        if !newest.3 {
            stage.assert_holds(&objects, newest.2, &when);
            let gave_way = |ended: &Result<Outcome>| match ended {
                Ok(Outcome::Superseded { by }) => by.writer() == RunId::from(Uuid::from_u128(newest.1)),
                _ => false,
            };
            let other =
                cast.iter().zip(&ended).any(|((.., version, _), ended)| gave_way(ended) && *version != newest.2);
            let ledger = Lake::open_existing(objects.line().bucket()).unwrap().ledger().unwrap();
            assert!(!other || ledger.day(DATE.parse().unwrap()).unwrap().is_dirty(), "{when}: nobody looks again");
            lost.fetch_add(usize::from(other), Ordering::SeqCst);
            objects.deliver_all();
            stage.assert_holds(&objects, newest.2, &when);
        }
        objects.deliver_all();
        let last = Version::any(&mut dice);
        stage.publish(&objects, 1, 10, last);
        stage.assert_holds(&objects, last, &when);
        assert_eq!(remains(&objects.image()), [""; 0], "{when}");

        [&pairs, &three][count as usize - 2].fetch_add(1, Ordering::SeqCst);
        unlucky_runs.fetch_add(cast.iter().filter(|(.., unlucky)| *unlucky).count(), Ordering::SeqCst);
        let superseded = |ended: &&Result<Outcome>| matches!(ended, Ok(Outcome::Superseded { .. }));
        gave_way.fetch_add(ended.iter().filter(superseded).count(), Ordering::SeqCst);
        calls.fetch_add(order.len(), Ordering::SeqCst);
    });
    println!(
        "{pairs:?} pairs and {three:?} threes of runs (seed {SEED}), {unlucky_runs:?} of them killed or cut off, {gave_way:?} gave way, \
         {calls:?} calls in order: the newest observation everywhere"
    );
    assert!(lost.into_inner() >= 20, "days that lost a race");
    assert!(pairs.into_inner() >= 100 && gave_way.into_inner() >= 50 && unlucky_runs.into_inner() >= 50);
}

/// Neither is a lake yet when both begin, and each takes it for one of its own source.
#[test]
fn of_two_first_runs_of_different_sources_one_makes_the_lake_and_the_other_publishes_nothing() {
    const SEED: u64 = 5_000;
    const SCENES: usize = 60;
    let stage = Stage::new(&["conversations", "participants"]);
    let versions = [BASE, Version { initiator: 1, name: 1, ..BASE }];
    let wins = [(); 2].map(|()| AtomicUsize::new(0));
    each(SCENES, |scene| {
        let objects = Arc::new(Objects::default());
        let actors =
            vec![stage.actor(2, 1, versions[0]), Actor { source: "elsewhere", ..stage.actor(3, 2, versions[1]) }];
        let (ended, order) = stage.play(&objects, actors, seeded(ChaCha8Rng::seed_from_u64(SEED + scene as u64)));
        let when = format!("{order:?} ended {ended:?}");
        let winner = ended.iter().position(|ended| matches!(ended, Ok(Outcome::Published(_)))).expect(&when);
        assert_eq!(ended[1 - winner].as_ref().map_err(|error| error.kind()), Err(Kind::Config), "{when}");
        stage.assert_holds(&objects, versions[winner], &when);
        assert_eq!(remains(&objects.image()), [""; 0], "{when}");
        let lake = Lake::open_existing(objects.line().bucket()).unwrap();
        assert_eq!(lake.identity().source, ["localhost", "elsewhere"][winner], "{when}");
        wins[winner].fetch_add(1, Ordering::SeqCst);
    });
    println!("{SCENES} pairs of first runs (seed {SEED}), won by {wins:?}");
    assert!(wins.into_iter().all(|wins| wins.into_inner() >= 10));
}

/// The run dies when it is about to write below `folder`.
fn dies_before(folder: &'static str) -> Fates {
    let dead = AtomicBool::new(false);
    Box::new(move |call: &Call| {
        let fatal = call.verb == Verb::Write && call.path.as_ref().starts_with(folder);
        if dead.fetch_or(fatal, Ordering::SeqCst) || fatal { Fate::Lost } else { Fate::Done }
    })
}

#[test]
fn what_a_dead_run_left_does_not_let_query_replace_jobs() {
    let stage = Stage::new(&["conversations", "participants"]);
    let objects = Arc::new(Objects::default());
    let by = |source, seen| Observation { source, ..seen };
    let first = by(Source::Jobs, stage.seen(0, BASE));
    stage.tables.export(objects.line().bucket(), 1, &[first]).unwrap();
    let changed = Version { name: 1, ..BASE };
    let claims_and_dies = Box::new(|call: &Call| if call.number == 0 { Fate::Unanswered } else { Fate::Lost });
    let dead = Actor { fates: claims_and_dies, ..stage.actor(2, 1, changed) };
    assert!(stage.play(&objects, vec![dead], blocks(0, Vec::new())).0[0].is_err());
    assert_eq!(remains(&objects.image()).len(), 1, "a claim");
    let query = by(Source::Query, stage.seen(2, changed));
    let kept = stage.tables.export(objects.line().bucket(), 3, &[query]).unwrap();
    assert!(matches!(kept[..], [Outcome::Kept { .. }]), "{kept:?}");
    stage.assert_holds(&objects, BASE, "after a query");
}

#[test]
fn a_write_that_arrives_after_its_run_gave_up_replaces_no_file_that_stayed() {
    let stage = Stage::new(&["conversations", "participants"]);
    let objects = Arc::new(Objects::default());
    stage.publish(&objects, 1, 0, BASE);
    let late = Box::new(|call: &Call| match call.path.as_ref().starts_with("conversations/") {
        true if call.verb == Verb::WriteIf => Fate::Late(1_000),
        _ => Fate::Done,
    });
    let slow = Actor { fates: late, ..stage.actor(2, 1, Version { initiator: 1, name: 1, ..BASE }) };
    assert!(stage.play(&objects, vec![slow], blocks(0, Vec::new())).0[0].is_err());
    stage.publish(&objects, 3, 2, BASE);
    objects.deliver_all();
    stage.assert_holds(&objects, BASE, "after the late write");
}

#[test]
fn conversations_do_not_vanish_because_a_run_died_before_its_receipt() {
    let stage = Stage::new(&["conversations", "participants"]);
    let objects = Arc::new(Objects::default());
    let many = Version { conversations: 50, ..BASE };
    let changed = Version { initiator: 1, ..many };
    stage.publish(&objects, 1, 0, many);
    let dead = Actor { fates: dies_before("_convlake/ledger/"), ..stage.actor(2, 1, changed) };
    assert!(stage.play(&objects, vec![dead], blocks(0, Vec::new())).0[0].is_err());
    assert_same(&rows(&objects.image()), &stage.rows(changed), "all is there but the receipt");
    // A source that answers in part: twice it says the same.
    let partial = |confirmed| Observation { confirmed, ..stage.seen(2, Version { conversations: 5, ..changed }) };
    let export = |seen| stage.tables.export(objects.line().bucket(), 3, &[seen]);
    assert_eq!(export(partial(false)).unwrap(), [Outcome::NeedsConfirmation { vanished: 45 }]);
    assert_eq!(export(partial(true)).unwrap_err().kind(), Kind::Data);
    stage.publish(&objects, 4, 3, changed);
    stage.assert_holds(&objects, changed, "after a whole answer");
}
