use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::time::parse_timestamp;

fn world(settings: WorldSettings) -> World {
    World::new(settings)
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn at(text: &str) -> Timestamp {
    parse_timestamp(text).unwrap()
}

/// Enough days of 500 conversations, seen when everything is over.
fn sample(days: i64) -> Vec<Value> {
    let world = world(WorldSettings { conversations_per_day: 500, ..Default::default() });
    let first = day("2025-03-03");
    let records = (0..days).flat_map(|n| world.conversations(first.plus(n), at("2026-01-01T00:00:00Z")));
    records.map(|record| serde_json::from_slice(&record.json).unwrap()).collect()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn sessions(conversations: &[Value]) -> impl Iterator<Item = (&Value, &Value)> {
    let participants = conversations.iter().flat_map(|c| list(c, "participants"));
    participants.flat_map(|p| list(p, "sessions").iter().map(move |s| (p, s)))
}

/// The fields that occur in each object, by the object's name in the model.
fn fields(value: &Value, object: &'static str, seen: &mut BTreeMap<&'static str, BTreeSet<String>>) {
    const INSIDE: [(&str, &str); 14] = [
        ("evaluations", "Evaluation"),
        ("surveys", "Survey"),
        ("resolutions", "Resolution"),
        ("participants", "Participant"),
        ("sessions", "Session"),
        ("agentGroups", "AgentGroup"),
        ("proposedAgents", "ProposedAgent"),
        ("mediaEndpointStats", "MediaEndpointStat"),
        ("flow", "Flow"),
        ("outcomes", "FlowOutcome"),
        ("metrics", "Metric"),
        ("segments", "Segment"),
        ("scoredAgents", "ScoredAgent"),
        ("properties", "Property"),
    ];
    for (key, inner) in value.as_object().unwrap() {
        assert!(!inner.is_null(), "{object}.{key} is null");
        seen.entry(object).or_default().insert(key.clone());
        if let Some((_, name)) = INSIDE.iter().find(|(field, _)| field == key) {
            let many = inner.as_array().map_or(std::slice::from_ref(inner), Vec::as_slice);
            many.iter().for_each(|one| fields(one, name, seen));
        }
    }
}

fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn every_field_of_the_model_occurs_and_none_is_null() {
    let mut seen = BTreeMap::new();
    sample(4).iter().for_each(|conversation| fields(conversation, "Conversation", &mut seen));
    for (object, names) in model::OBJECTS {
        let expected: BTreeSet<_> = names.iter().map(|name| camel(name)).collect();
        let missing: Vec<_> = expected.difference(&seen[object]).collect();
        assert!(missing.is_empty(), "{object}: {missing:?} do not occur");
        assert!(seen[object].is_subset(&expected), "{object} has fields that the model does not know");
    }
}

#[test]
fn recorded_rules_hold() {
    let conversations = sample(2);
    let (mut handled, mut repeated, mut beyond_i32) = (0, 0, 0);
    for (participant, session) in sessions(&conversations) {
        let metrics = list(session, "metrics");
        let sum = |name: &str| -> Option<i64> {
            let values = metrics.iter().filter(|m| m["name"] == name).map(|m| m["value"].as_i64().unwrap());
            values.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
        };
        assert_eq!(sum("tTalk"), sum("tTalkComplete"));
        assert_eq!(sum("tHeld"), sum("tHeldComplete"));
        if let Some(handle) = sum("tHandle") {
            let parts = ["tTalkComplete", "tHeldComplete", "tAcw", "tContacting", "tDialing"];
            assert_eq!(handle, parts.iter().filter_map(|part| sum(part)).sum::<i64>());
            assert!(matches!(participant["purpose"].as_str(), Some("agent" | "user")));
            handled += 1;
        }
        let emitted: Vec<_> = metrics.iter().map(|m| m["emitDate"].as_str().unwrap()).collect();
        assert!(emitted.is_sorted());
        repeated += i32::from(metrics.iter().filter(|m| m["name"] == "tTalk").count() > 1);
        beyond_i32 += metrics.iter().filter(|m| m["value"].as_i64().unwrap() > i32::MAX.into()).count();
        assert!(list(session, "segments").iter().all(|s| s["segmentType"] != "wait"));
    }
    assert!(handled > 300 && repeated > 100 && beyond_i32 > 0, "{handled} {repeated} {beyond_i32}");
}

#[test]
fn a_day_has_exactly_as_many_conversations_as_were_asked_for_in_order() {
    let world = world(WorldSettings { conversations_per_day: 250, ..Default::default() });
    for date in ["2020-01-01", "2024-02-29", "2025-12-31"] {
        let records = world.conversations(day(date), at("2026-06-01T00:00:00Z"));
        assert_eq!(records.len(), 250);
        assert!(records.iter().all(|r| Day::of(r.start) == day(date)));
        assert!(records.is_sorted_by_key(|r| (r.start, r.id.clone())));
        let ids: BTreeSet<_> = records.iter().map(|r| &r.id).collect();
        assert_eq!(ids.len(), 250);
    }
    assert!(world.conversations(day("2019-12-31"), at("2026-06-01T00:00:00Z")).is_empty());
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let render = |seed| {
        let world = world(WorldSettings { seed, conversations_per_day: 50, ugly: true, ..Default::default() });
        let records = world.conversations(day("2025-05-05"), at("2025-06-01T00:00:00Z"));
        records.into_iter().map(|r| r.json).collect::<Vec<_>>()
    };
    assert_eq!(render(7), render(7));
    assert_ne!(render(7), render(8));
}

#[test]
fn switching_one_feature_on_leaves_the_other_conversations_alone() {
    let plain = WorldSettings { conversations_per_day: 400, late_changes: false, ..Default::default() };
    let records = |settings| world(settings).conversations(day("2025-05-05"), at("2026-01-01T00:00:00Z"));
    let before = records(plain.clone());
    let after = records(WorldSettings { late_changes: true, ..plain.clone() });
    let changed = before.iter().zip(&after).filter(|(a, b)| a.json != b.json).count();
    assert!((5..80).contains(&changed), "{changed} of 400 changed late");
    let remaining = records(WorldSettings { deletions: true, ..plain });
    assert!((380..400).contains(&remaining.len()));
    assert!(remaining.iter().all(|r| before.iter().any(|b| b.id == r.id && b.json == r.json)));
}

#[test]
fn nothing_is_known_before_it_happened() {
    let world = world(WorldSettings { conversations_per_day: 300, ..Default::default() });
    let noon = at("2025-05-05T12:00:00Z");
    let records = world.conversations(day("2025-05-05"), noon);
    assert!(records.len() < 300 && records.len() > 50);
    let mut open = 0;
    for record in &records {
        let value: Value = serde_json::from_slice(&record.json).unwrap();
        open += usize::from(value.get("conversationEnd").is_none());
        latest(&value, &mut |text| assert!(parse_timestamp(text).is_none_or(|t| t <= noon), "{text}"));
    }
    assert!(open > 0, "somebody is talking at noon");
}

/// Calls `visit` with every string that is not about the future by its nature.
fn latest(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(items) => items.iter().for_each(|item| latest(item, visit)),
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "callbackScheduledTime" | "inactivityTimeout" | "attributes"))
            .for_each(|(_, inner)| latest(inner, visit)),
        _ => {}
    }
}

#[test]
fn a_version_is_valid_exactly_as_long_as_it_says() {
    let world = world(WorldSettings { conversations_per_day: 25, ..Default::default() });
    let mut boundaries = 0;
    for birth in world.births(day("2025-05-05")) {
        let mut now = birth.start;
        for _ in 0..60 {
            let version = world.version(&birth, now);
            assert!(version.valid.contains(&now.0));
            let (first, last) = (version.valid.start.max(birth.start.0), version.valid.end - 1);
            assert_eq!(world.version(&birth, Millis(first)).conversation, version.conversation);
            if last == i64::MAX - 1 {
                break;
            }
            assert_eq!(world.version(&birth, Millis(last)).conversation, version.conversation);
            now = Millis(version.valid.end);
            boundaries += 1;
        }
    }
    assert!(boundaries > 300, "{boundaries}");
}

#[test]
fn orphans_never_end_and_long_ones_end_weeks_later() {
    let world = world(WorldSettings { conversations_per_day: 500, ..Default::default() });
    let (mut orphans, mut long) = (0, 0);
    for n in 0..4 {
        for birth in world.births(day("2025-01-01").plus(n)) {
            let end = world.version(&birth, Millis(i64::MAX)).conversation.conversation_end;
            assert_eq!(end.is_none(), birth.orphan);
            orphans += usize::from(birth.orphan);
            long += usize::from(end.is_some_and(|end| end.0 - birth.start.0 > 7 * DAY));
            assert!(end.is_none_or(|end| end.0 - birth.start.0 < LIFE_DAYS_MAX * DAY));
        }
    }
    assert!(orphans > 0 && long > 5, "{orphans} {long}");
}

#[test]
fn every_ugliness_occurs_at_the_documented_rate_and_only_the_readable_ones_can_be_read() {
    let world = world(WorldSettings { conversations_per_day: 2_000, ugly: true, ..Default::default() });
    let births: Vec<_> = (0..2).flat_map(|n| world.births(day("2025-01-01").plus(n))).collect();
    let mut seen = BTreeSet::new();
    let ugly: Vec<_> = births.iter().filter(|birth| birth.ugly.is_some()).collect();
    for birth in &ugly {
        let version = world.version(birth, Millis(i64::MAX));
        for (json, start) in [(version.full().clone(), "conversationStart"), tutorial(&version)] {
            let value: Option<Value> = serde_json::from_slice(&json).ok();
            let text = |key| value.as_ref()?.get(key)?.as_str().map(str::to_owned);
            let readable = text("conversationId").is_some_and(|id| !id.is_empty())
                && text(start).is_some_and(|start| parse_timestamp(&start).is_some());
            // This one is read with U+FFFD for half a character, which a strict reader does not do.
            let strictly = |ugly: Ugly| ugly.readable() && ugly != Ugly::LoneSurrogate;
            assert_eq!(readable, birth.ugly.is_none_or(strictly), "{:?}", birth.ugly);
        }
        seen.extend(birth.ugly);
    }
    assert!((60..150).contains(&ugly.len()), "{} of 4000", ugly.len());
    assert!(seen.len() >= Ugly::ALL.len() - 2, "{seen:?}");
}

fn tutorial(version: &Version) -> (Bytes, &'static str) {
    let metrics = ["handleDuration".to_owned()];
    (version.rendered(&cursor_record(&version.conversation, &metrics)), "startTime")
}
