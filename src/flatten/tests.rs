use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use serde_json::{Value, json};

use super::super::Oddities;
use super::super::schema::Columns;
use super::*;

fn flattener(tables: Option<&[&str]>, excluded: &[&str]) -> Flattener {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let catalog = Catalog::builtin().unwrap().select(tables.map(owned).as_deref(), &owned(excluded)).unwrap();
    Flattener::new(Arc::new(catalog)).unwrap()
}

/// One page of one day, and a way to ask for its values.
struct Flat {
    flattener: Flattener,
    page: FlatPage,
}

impl Flat {
    fn new(flattener: Flattener, records: &[Value]) -> Flat {
        let records = records.iter().map(|record| Bytes::from(record.to_string()));
        let page = flattener.flatten(0, 1, records).unwrap();
        Flat { flattener, page }
    }

    /// The flattened conversation with these fields added.
    fn of(fields: Value) -> Flat {
        Flat::new(flattener(None, &[]), &[conversation(fields)])
    }

    fn rows(&self, table: &str) -> RecordBatch {
        let index = self.flattener.catalog().tables().iter().position(|t| t.name == table).unwrap();
        self.page.days[0].tables[index].rows.to_batch().unwrap()
    }

    fn column(&self, table: &str, column: &str) -> ArrayRef {
        Arc::clone(self.rows(table).column_by_name(column).unwrap_or_else(|| panic!("{table}.{column}")))
    }

    fn texts(&self, table: &str, column: &str) -> Vec<Option<String>> {
        self.column(table, column).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn ints(&self, table: &str, column: &str) -> Vec<Option<i64>> {
        self.column(table, column).as_primitive::<Int64Type>().iter().collect()
    }

    fn extras(&self, table: &str) -> Vec<Option<Value>> {
        self.texts(table, "extra").iter().map(|text| text.as_ref().map(|t| serde_json::from_str(t).unwrap())).collect()
    }

    fn other(&self, table: &str, row: usize) -> BTreeMap<String, Option<i64>> {
        let entries = self.column(table, "metrics_other").as_map().value(row);
        let values = entries.column(1).as_primitive::<Int64Type>();
        entries.column(0).as_string::<i32>().iter().map(|key| key.unwrap().to_owned()).zip(values).collect()
    }
}

fn conversation(fields: Value) -> Value {
    let mut record = json!({"conversationId": "c1", "conversationStart": "2025-01-02T03:04:05.678Z"});
    record.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    record
}

fn session(fields: Value) -> Value {
    json!({"participants": [{"participantId": "p1", "purpose": "agent", "userId": "u1", "sessions": [fields]}]})
}

fn some(texts: &[&str]) -> Vec<Option<String>> {
    texts.iter().map(|&text| Some(text.to_owned())).collect()
}

#[test]
fn children_carry_the_keys_of_their_ancestors_and_their_ordinals() {
    let flat = Flat::of(json!({"participants": [
        {"participantId": "p0"},
        {"participantId": "p1", "sessions": [
            {"sessionId": "s0", "segments": [{}, {"properties": [{"property": "a"}, {"property": "b"}]}]},
            {"sessionId": "s1", "flow": {"outcomes": [{"flowOutcomeId": "o"}]}},
        ]},
    ]}));
    assert_eq!(flat.ints("participants", "participant_index"), [Some(0), Some(1)]);
    assert_eq!(flat.texts("sessions", "participant_id"), some(&["p1", "p1"]));
    assert_eq!(flat.ints("segments", "segment_index"), [Some(0), Some(1)]);
    assert_eq!(flat.texts("segment_properties", "session_id"), some(&["s0", "s0"]));
    for (column, ordinals) in [
        ("participant_index", [1, 1]),
        ("session_index", [0, 0]),
        ("segment_index", [1, 1]),
        ("segment_property_index", [0, 1]),
    ] {
        assert_eq!(flat.ints("segment_properties", column), ordinals.map(Some), "{column}");
    }
    assert_eq!(flat.texts("flow_outcomes", "session_id"), some(&["s1"]));
    assert_eq!(flat.ints("flow_outcomes", "flow_outcome_index"), [Some(0)]);
    for table in flat.flattener.catalog().tables() {
        assert!(flat.texts(&table.name, "conversation_id").iter().all(|id| id.as_deref() == Some("c1")));
        let starts = flat.column(&table.name, "conversation_start");
        assert!(
            starts.as_primitive::<TimestampMicrosecondType>().values().iter().all(|&at| at == 1_735_787_045_678_000)
        );
    }
}

#[test]
fn a_session_repeats_what_joins_would_be_needed_for() {
    let flat = Flat::of(session(json!({"segments": [{"queueId": "q0"}, {"queueId": "q1"}, {}, {"queueId": 7}]})));
    assert_eq!(flat.texts("sessions", "purpose"), some(&["agent"]));
    assert_eq!(flat.texts("sessions", "user_id"), some(&["u1"]));
    assert_eq!(flat.texts("sessions", "queue_id"), some(&["q1"]));
    assert_eq!(flat.extras("segments"), [None, None, None, Some(json!({"queueId": 7}))]);
}

#[test]
fn a_value_of_another_type_is_null_and_kept_as_it_came() {
    let big: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
    let huge: Value = serde_json::from_str("1e+400").unwrap();
    for (fields, table, column, extra) in [
        (json!({"externalTag": 7}), "conversations", "external_tag", json!({"externalTag": 7})),
        (json!({"selfServed": "true"}), "conversations", "self_served", json!({"selfServed": "true"})),
        (
            json!({"conferenceStart": "2021-04-2T15:30:51.418Z"}),
            "conversations",
            "conference_start",
            json!({"conferenceStart": "2021-04-2T15:30:51.418Z"}),
        ),
        (
            json!({"mediaStatsMinConversationMos": huge}),
            "conversations",
            "media_stats_min_conversation_mos",
            json!({"mediaStatsMinConversationMos": huge}),
        ),
        (json!({"divisionIds": ["a", 1]}), "conversations", "division_ids", json!({"divisionIds": ["a", 1]})),
        (json!({"divisionIds": "a"}), "conversations", "division_ids", json!({"divisionIds": "a"})),
        (session(json!({"mediaCount": 1.5})), "sessions", "media_count", json!({"mediaCount": 1.5})),
        (session(json!({"mediaCount": big})), "sessions", "media_count", json!({"mediaCount": big})),
        (session(json!({"mediaCount": true})), "sessions", "media_count", json!({"mediaCount": true})),
        (
            session(json!({"flow": {"flowName": 7, "flowId": "f"}})),
            "sessions",
            "flow_name",
            json!({"flow": {"flowName": 7}}),
        ),
        (session(json!({"flow": {"new": {"a": [1]}}})), "sessions", "flow_name", json!({"flow": {"new": {"a": [1]}}})),
        (session(json!({"flow": "f"})), "sessions", "flow_id", json!({"flow": "f"})),
        (session(json!({"segments": {"a": 1}})), "sessions", "flow_id", json!({"segments": {"a": 1}})),
        (json!({"participants": 7}), "conversations", "external_tag", json!({"participants": 7})),
        (
            json!({"brandNew": null, "b": {"c": 1}}),
            "conversations",
            "external_tag",
            json!({"brandNew": null, "b": {"c": 1}}),
        ),
    ] {
        let flat = Flat::of(fields);
        assert!(flat.column(table, column).is_null(0), "{column}");
        let is_new = extra.to_string().to_lowercase().contains("new\"");
        assert_eq!(flat.extras(table), [Some(extra)], "{column}");
        let Oddities { unknown, wrong_type, .. } = &flat.page.oddities;
        assert_eq!((unknown.is_empty(), wrong_type.is_empty()), (!is_new, is_new), "{column}");
    }
}

#[test]
fn what_fits_is_in_its_column_and_null_is_nothing() {
    let flat = Flat::of(json!({
        "divisionIds": ["a", null], "mediaStatsMinConversationMos": 4, "externalTag": null, "participants": null, "evaluations": [null, {}],
    }));
    assert_eq!(flat.column("conversations", "division_ids").as_list::<i32>().value(0).len(), 2);
    let mos = flat.column("conversations", "media_stats_min_conversation_mos");
    assert_eq!(mos.as_primitive::<arrow::datatypes::Float64Type>().value(0), 4.0);
    assert_eq!(flat.extras("conversations"), [None]);
    assert_eq!(flat.ints("evaluations", "evaluation_index"), [Some(1)]);
    assert!(flat.page.oddities.unknown.is_empty());
}

#[test]
fn elements_that_are_no_objects_keep_their_place_in_the_extra_of_the_parent() {
    let flat = Flat::of(json!({"participants": [{"participantId": "a"}, 7, {"participantId": "b"}, [{}]]}));
    assert_eq!(flat.ints("participants", "participant_index"), [Some(0), Some(2)]);
    assert_eq!(flat.extras("conversations"), [Some(json!({"participants": [null, 7, null, [{}]]}))]);
    assert_eq!(flat.page.oddities.wrong_type, BTreeMap::from([("conversations.participants".to_owned(), 2)]));
}

#[test]
fn attributes_are_rows_and_their_names_stay_out_of_reports() {
    let flat = Flat::of(json!({"participants": [{"attributes": {"k": "v", "": null, "n": 7, "o": {"secret": [1]}}}]}));
    assert_eq!(flat.texts("participant_attributes", "key"), some(&["k", "", "n", "o"]));
    assert_eq!(flat.texts("participant_attributes", "value"), [Some("v".to_owned()), None, None, None]);
    assert_eq!(
        flat.extras("participant_attributes"),
        [None, None, Some(json!({"value": 7})), Some(json!({"value": {"secret": [1]}}))]
    );
    assert_eq!(flat.page.oddities.wrong_type, BTreeMap::from([("participant_attributes.value".to_owned(), 2)]));
    let flat = Flat::of(json!({"participants": [{"attributes": [["k", "v"]]}]}));
    assert_eq!(flat.extras("participants"), [Some(json!({"attributes": [["k", "v"]]}))]);
}

#[test]
fn metrics_fold_into_sessions_and_conversations() {
    let metric = |name: &str, value: Value| json!({"name": name, "value": value});
    let sessions = [
        vec![
            metric("tTalk", json!(5)),
            metric("tTalk", json!(7)),
            metric("tFirstConnect", json!(9)),
            metric("xNew", json!(1)),
        ],
        vec![
            metric("tTalk", json!(1)),
            metric("tFirstConnect", json!(4)),
            metric("tTalk", json!(1.5)),
            metric("xNew", json!("?")),
        ],
        vec![metric("tTalk", json!(i64::MAX)), metric("xNew", json!(2)), json!({"value": 3})],
        vec![],
    ];
    let sessions: Vec<_> = sessions.iter().map(|metrics| json!({ "metrics": metrics })).collect();
    let flat = Flat::of(json!({"participants": [{ "sessions": sessions }]}));
    assert_eq!(flat.ints("sessions", "t_talk_ms"), [Some(12), Some(1), Some(i64::MAX), None]);
    assert_eq!(flat.ints("sessions", "t_first_connect_ms"), [Some(9), Some(4), None, None]);
    assert_eq!(flat.ints("conversations", "t_talk_ms"), [None], "the sum is beyond 64 bits");
    assert_eq!(flat.ints("conversations", "t_first_connect_ms"), [Some(9)]);
    assert_eq!(flat.ints("conversations", "n_offered"), [None], "absent is not 0");
    assert_eq!(flat.other("conversations", 0), BTreeMap::from([("xNew".to_owned(), Some(3))]));
    assert_eq!(flat.other("sessions", 2), BTreeMap::from([("xNew".to_owned(), Some(2))]));
    assert!(flat.column("sessions", "metrics_other").is_null(1) && flat.column("sessions", "metrics_other").is_null(3));
    assert_eq!(flat.rows("metrics").num_rows(), 11);
    let extras = flat.extras("metrics");
    assert_eq!((&extras[6], &extras[7]), (&Some(json!({"value": 1.5})), &Some(json!({"value": "?"}))));
    let counted = |name: &str, times| BTreeMap::from([(name.to_owned(), times)]);
    let Oddities { unknown, wrong_type, overflowed, .. } = &flat.page.oddities;
    assert_eq!((unknown, wrong_type), (&counted("sessions.metrics.xNew", 2), &counted("metrics.value", 2)));
    assert_eq!(overflowed, &counted("conversations.t_talk_ms", 1));
}

#[test]
fn tutorial_records_are_conversations() {
    let flat = Flat::new(
        flattener(None, &[]),
        &[json!({
            "conversationId": "c1", "startTime": "2025-01-02T00:00:00.000Z", "endTime": "2025-01-02T00:01:00.000Z", "queueId": "q",
            "metrics": {
                "handleDuration": {"total": 60000, "count": 2}, "talkDuration": 50000, "holdDuration": {"total": 1.5},
                "offerRate": 1, "fooDuration": {"total": 3, "max": 2}, "bar": 4, "odd": "x", "none": null,
            },
            "talkRate": 0.5,
        })],
    );
    for (column, value) in [
        ("handle_duration_ms", Some(60_000)),
        ("talk_duration_ms", Some(50_000)),
        ("hold_duration_ms", None),
        ("wait_duration_ms", None),
    ] {
        assert_eq!(flat.ints("conversations", column), [value], "{column}");
    }
    for (column, value) in [("offer_rate", Some(1.0)), ("offer_answer_rate", None), ("talk_rate", Some(0.5))] {
        let rates = flat.column("conversations", column);
        assert_eq!(
            rates.as_primitive::<arrow::datatypes::Float64Type>().iter().collect::<Vec<_>>(),
            [value],
            "{column}"
        );
    }
    assert!(flat.column("conversations", "conversation_end").is_valid(0));
    assert_eq!(
        flat.other("conversations", 0),
        BTreeMap::from([("bar".into(), Some(4)), ("fooDuration".into(), Some(3))])
    );
    let extra = json!({
        "metrics": {"handleDuration": {"count": 2}, "holdDuration": {"total": 1.5}, "fooDuration": {"max": 2}, "odd": "x", "none": null},
    });
    assert_eq!(flat.extras("conversations"), [Some(extra)]);
    assert_eq!(flat.texts("conversations", "queue_id"), some(&["q"]));
}

/// A record of a tutorial with these fields, and the entries of a map column.
fn tutorial(columns: Columns, fields: Value) -> Flat {
    let catalog = Catalog::builtin().unwrap().with(columns);
    Flat::new(Flattener::new(Arc::new(catalog)).unwrap(), &[conversation(fields)])
}

#[test]
fn what_a_tutorial_s_answer_is_grouped_by_has_a_column() {
    let fields = json!({"queueId": "q", "userId": "u", "mediaType": "voice", "direction": "inbound", "wrapUps": 3});
    let flat = tutorial(Columns::Tutorials, fields.clone());
    assert_eq!(
        (flat.texts("conversations", "queue_id"), flat.texts("conversations", "user_id")),
        (some(&["q"]), some(&["u"]))
    );
    let dimensions = flat.column("conversations", "dimensions").as_map().value(0);
    let names = dimensions.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>();
    let values = dimensions.column(1).as_string::<i32>().iter().flatten().collect::<Vec<_>>();
    assert_eq!((names, values), (vec!["direction", "mediaType"], vec!["inbound", "voice"]));
    assert_eq!(flat.extras("conversations"), [Some(json!({"wrapUps": 3}))]);
    assert_eq!(flat.page.oddities.unknown.keys().collect::<Vec<_>>(), ["conversations.wrapUps"]);
    // A lake of the real API's has no such columns: nothing is lost all the same.
    for columns in [Columns::Details, Columns::Early] {
        let flat = tutorial(columns, fields.clone());
        assert!(flat.rows("conversations").column_by_name("dimensions").is_none());
        assert_eq!(flat.extras("conversations"), [Some(fields.clone())]);
        assert_eq!(flat.page.oddities.unknown.len(), 5);
    }
}

#[test]
fn the_columns_of_lakes_are_told_apart() {
    let has = |columns, name| {
        Catalog::builtin().unwrap().with(columns).table("conversations").unwrap().column(name).is_some()
    };
    use Columns::*;
    for (name, details, early) in [
        ("handle_duration_ms", false, true),
        ("offer_rate", false, true),
        ("queue_id", false, false),
        ("t_handle_ms", true, true),
    ] {
        assert_eq!([Details, Early, Tutorials].map(|columns| has(columns, name)), [details, early, true], "{name}");
    }
    for metrics in
        [json!({"handleDuration": {"total": 5, "count": 1}, "foo": 7}), json!([{"metric": "a", "stats": {}}])]
    {
        let fields = json!({"metrics": metrics, "talkRate": 1});
        let flat = tutorial(Details, fields.clone());
        assert!(flat.column("conversations", "metrics_other").is_null(0));
        assert_eq!(flat.extras("conversations"), [Some(fields)], "a name is never in two columns, by its values");
    }
    let flat = tutorial(Early, json!({"metrics": {"handleDuration": {"total": 5, "count": 1}, "foo": 7}}));
    assert_eq!(flat.ints("conversations", "handle_duration_ms"), [Some(5)]);
    assert_eq!(flat.other("conversations", 0), BTreeMap::from([("foo".into(), Some(7))]));
}

#[test]
fn statistics_are_read_as_objects_and_as_lists() {
    let of = |metrics: Value| tutorial(Columns::Tutorials, json!({ "metrics": metrics }));
    let stats = |sum: &str| json!({"count": 2, "min": 1, "max": 4, "sum": serde_json::from_str::<Value>(sum).unwrap()});
    let object = json!({
        "handleDuration": stats("5.0"), "talkDuration": {"sum": 6, "total": 7}, "waitDuration": {"count": 1},
        "fooDuration": stats("8"), "fooRate": stats("0.25"), "bar": 0.5, "odd": {"sum": "x"}, "huge": 1e30,
    });
    let list: Vec<Value> = object
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, stats)| stats.is_object())
        .map(|(metric, stats)| json!({"metric": metric, "qualifier": null, "stats": stats}))
        .collect();
    for (flat, is_object) in [(of(object), true), (of(list.clone().into()), false)] {
        let ints = |column: &str| flat.ints("conversations", column)[0];
        assert_eq!(
            (ints("handle_duration_ms"), ints("talk_duration_ms"), ints("wait_duration_ms")),
            (Some(5), Some(7), None)
        );
        assert_eq!(flat.other("conversations", 0), BTreeMap::from([("fooDuration".into(), Some(8))]));
        let decimals = flat.column("conversations", "metrics_other_decimal").as_map().value(0);
        let names = decimals.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>();
        let values = decimals.column(1).as_primitive::<arrow::datatypes::Float64Type>().values().to_vec();
        let expected = [("bar", 0.5), ("fooRate", 0.25)];
        let expected = expected.into_iter().filter(|(name, _)| is_object || *name != "bar");
        assert_eq!(names.into_iter().zip(values).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let rest = json!({"count": 2, "min": 1, "max": 4});
        let mut kept = json!({
            "handleDuration": rest, "talkDuration": {"sum": 6}, "waitDuration": {"count": 1}, "fooDuration": rest,
            "fooRate": rest, "odd": {"sum": "x"},
        });
        if is_object {
            kept["huge"] = json!(1e30);
        }
        assert_eq!(flat.extras("conversations"), [Some(json!({ "metrics": kept }))]);
    }
    // A list that is not one of statistics, or has a metric twice, is kept whole.
    let twice = [list[0].clone(), list[0].clone()];
    for odd in [json!([7]), json!([{"metric": "a", "stats": {"sum": 1}, "interval": "x"}]), json!(twice)] {
        let flat = of(odd.clone());
        assert_eq!(flat.extras("conversations"), [Some(json!({ "metrics": odd }))]);
        assert_eq!(flat.page.oddities.wrong_type.keys().collect::<Vec<_>>(), ["conversations.metrics"]);
    }
}

#[test]
fn of_several_fields_for_a_column_the_first_that_fits_wins_and_none_is_lost() {
    let flat =
        Flat::of(json!({"startTime": "2025-01-02T09:00:00Z", "endTime": "2025-01-02T10:00:00Z", "conversationEnd": 7}));
    assert_eq!(flat.page.days[0].keys[0].start, 1_735_787_045_678_000);
    assert_eq!(
        flat.column("conversations", "conversation_end").as_primitive::<TimestampMicrosecondType>().value(0),
        1_735_812_000_000_000
    );
    assert_eq!(
        flat.extras("conversations"),
        [Some(json!({"startTime": "2025-01-02T09:00:00Z", "conversationEnd": 7}))]
    );
}

#[test]
fn a_value_that_comes_second_is_told_from_one_of_another_type() {
    let flat = Flat::of(json!({"startTime": "2025-01-02T09:00:00Z", "endTime": "x", "conversationEnd": 7}));
    let counted = |names: &[&str]| names.iter().map(|&name| (name.to_owned(), 1)).collect::<BTreeMap<_, _>>();
    assert_eq!(flat.page.oddities.unknown, counted(&["conversations.startTime"]));
    assert_eq!(flat.page.oddities.wrong_type, counted(&["conversations.conversationEnd", "conversations.endTime"]));
}

#[test]
fn an_integer_is_one_in_whatever_spelling() {
    let number = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let metrics = ["1200.0", "1.2e3", "9007199254740993.0", "1200.5", "1e19"]
        .map(|value| json!({"name": "tHandle", "value": number(value)}));
    let flat = Flat::of(session(json!({"metrics": metrics})));
    let values = [Some(1200), Some(1200), Some(9_007_199_254_740_993), None, None];
    assert_eq!(flat.ints("metrics", "value"), values);
    assert_eq!(flat.ints("sessions", "t_handle_ms"), [Some(9_007_199_254_743_393)]);
    let kept = |text: &str| Some(json!({"value": number(text)}));
    assert_eq!(flat.extras("metrics"), [None, None, None, kept("1200.5"), kept("1e19")]);
}

/// The texts of one record, whatever its bytes are.
fn of_bytes(raw: &[u8]) -> Flat {
    let flattener = flattener(None, &[]);
    let page = flattener.flatten(0, 1, std::iter::once(Bytes::copy_from_slice(raw))).unwrap();
    Flat { flattener, page }
}

#[test]
fn half_a_character_costs_no_more_than_itself() {
    let cut =
        br#"{"conversationId": "c1", "conversationStart": "2025-01-02T03:04:05.678Z", "externalTag": "cut \ud83d",
        "divisionIds": ["a", "\ude00"], "new \ud83d": {"\udfff": 1}, "participants": [
        {"participantName": "\ud83d\ude00 \ud83d\u0041", "attributes": {"k\ud83d": "v\ud83d", "n": 1}}]}"#;
    let cesu = b"{\"conversationId\": \"c1\", \"conversationStart\": \"2025-01-02T03:04:05.678Z\", \"externalTag\": \"cut \xed\xa0\xbd\",
        \"divisionIds\": [\"a\", \"\xed\xb8\x80\"], \"new \xed\xa0\xbd\": {\"\xed\xbf\xbf\": 1}, \"participants\": [
        {\"participantName\": \"\xed\xa0\xbd\xed\xb8\x80 \xed\xa0\xbdA\", \"attributes\": {\"k\xed\xa0\xbd\": \"v\xed\xa0\xbd\", \"n\": 1}}]}";
    for raw in [&cut[..], cesu] {
        let flat = of_bytes(raw);
        assert!(flat.page.bad.is_empty(), "{:?}", flat.page.bad);
        assert_eq!(flat.texts("conversations", "external_tag"), some(&["cut \u{fffd}"]));
        assert_eq!(flat.texts("participants", "participant_name"), some(&["\u{1F600} \u{fffd}A"]));
        assert_eq!(flat.texts("participant_attributes", "key"), some(&["k\u{fffd}", "n"]));
        assert_eq!(flat.texts("participant_attributes", "value"), [Some("v\u{fffd}".to_owned()), None]);
        assert_eq!(flat.extras("conversations"), [Some(json!({"new \u{fffd}": {"\u{fffd}": 1}}))]);
        let counted = [
            ("conversations.division_ids", 1),
            ("conversations.external_tag", 1),
            ("conversations.extra", 2),
            ("participant_attributes.key", 1),
            ("participant_attributes.value", 1),
            ("participants.participant_name", 1),
        ];
        let counted = counted.map(|(name, times)| (name.to_owned(), times));
        assert_eq!(flat.page.oddities.replaced, BTreeMap::from(counted));
    }
    let broken = of_bytes(b"{\"conversationId\": \"c1\", \"conversationStart\": \"2025-01-02T03:04:05.678Z\", \"a\": \"\xed\xa0\xbd\xff\"}");
    assert_eq!(broken.page.bad.iter().map(|bad| bad.reason).collect::<Vec<_>>(), [BadReason::NotJson]);
}

#[test]
fn what_python_spelled_is_what_the_api_spelled() {
    let api = json!({
        "conversationId": "c1", "conversationStart": "2025-03-04T10:00:00.000Z",
        "conversationEnd": "2025-03-04T10:05:00.123Z", "divisionIds": ["d"], "some_new": {"inner_new": "2025-03-04 10:00:00+00:00"},
        "mediaStatsMinConversationRFactor": 4.5,
        "participants": [{"participantId": "p", "attributes": {"some_key": "2025-03-04 10:00:00+00:00", "aB": "c"}, "sessions": [{
            "sessionId": "s", "mediaType": "voice", "flow": {"flowName": "f", "exitReason": "x", "new_one": 1},
            "metrics": [{"emitDate": "2025-03-04T10:05:00.000Z", "name": "tHandle", "value": 5}],
            "segments": [{"segmentStart": "2025-03-04T10:00:00.000Z", "q850ResponseCodes": [16], "wrapUpCode": "w"}]}]}],
    });
    let python = json!({
        "conversation_id": "c1", "conversation_start": "2025-03-04 10:00:00+00:00", "conference_start": null,
        "conversation_end": "2025-03-04 10:05:00.123000+00:00", "division_ids": ["d"], "some_new": {"inner_new": "2025-03-04 10:00:00+00:00"},
        "media_stats_min_conversation_r_factor": 4.5, "surveys": null,
        "participants": [{"participant_id": "p", "attributes": {"some_key": "2025-03-04 10:00:00+00:00", "aB": "c"}, "sessions": [{
            "session_id": "s", "media_type": "voice", "flow": {"flow_name": "f", "exit_reason": "x", "new_one": 1},
            "metrics": [{"emit_date": "2025-03-04 10:05:00+00:00", "name": "tHandle", "value": 5}],
            "segments": [{"segment_start": "2025-03-04 10:00:00+00:00", "q850_response_codes": [16], "wrap_up_code": "w", "queue_id": null}]}]}],
    });
    let flats = [api, python].map(|record| Flat::new(flattener(None, &[]), &[record]));
    for table in flats[0].flattener.catalog().tables() {
        assert_eq!(flats[0].rows(&table.name), flats[1].rows(&table.name), "{}", table.name);
    }
    assert_eq!(flats[0].page.oddities, flats[1].page.oddities);
    assert_eq!(flats[0].page.oddities.unknown.len(), 2, "{:?}", flats[0].page.oddities);
}

#[test]
fn of_two_spellings_the_api_s_counts_and_none_is_lost() {
    let details = Catalog::builtin().unwrap().with(Columns::Details);
    let flat = Flat::new(
        Flattener::new(Arc::new(details)).unwrap(),
        &[json!({
            "conversation_id": "other", "conversationId": "c1", "conversation_start": "2025-01-02T00:00:00Z",
            "external_tag": "mine", "externalTag": null, "selfServed": true, "self_served": false,
        })],
    );
    assert_eq!(flat.texts("conversations", "conversation_id"), some(&["c1"]));
    assert_eq!(flat.texts("conversations", "external_tag"), some(&["mine"]));
    assert_eq!(flat.extras("conversations"), [Some(json!({"conversation_id": "other", "self_served": false}))]);
    assert_eq!(flat.page.oddities.unknown.len(), 2, "{:?}", flat.page.oddities);
}

#[test]
fn what_is_not_selected_is_nowhere() {
    let record = conversation(json!({"participants": [
        {"participantName": "Ada", "userId": "u", "attributes": {"k": "secret"}, "sessions": [{"metrics": [{"name": "tTalk", "value": 5}]}]},
        {"participantName": 7, "attributes": "secret"},
    ]}));
    let excluded = ["participants.participant_name", "conversations.n_offered"];
    let flat = Flat::new(flattener(Some(&["participants"]), &excluded), std::slice::from_ref(&record));
    assert_eq!(flat.page.days[0].tables.len(), 2);
    assert!(flat.rows("participants").column_by_name("participant_name").is_none());
    assert_eq!(flat.extras("participants"), [None, None]);
    assert_eq!(flat.texts("participants", "user_id"), [Some("u".to_owned()), None]);
    assert_eq!(flat.ints("conversations", "t_talk_ms"), [Some(5)], "metrics fold without their own tables");

    let flat = Flat::new(flattener(Some(&[]), &[]), std::slice::from_ref(&record));
    assert_eq!((flat.page.days[0].tables.len(), flat.extras("conversations")), (1, vec![None]));
}

#[test]
fn bad_records_are_set_aside_whole_with_their_reason() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
    let good = conversation(json!({})).to_string();
    let raws = [
        "{\"conversationId\":",
        &deep,
        "[1]",
        r#"{"conversationStart":"2025-01-01T00:00:00Z"}"#,
        r#"{"conversationId":7,"conversationStart":"2025-01-01T00:00:00Z"}"#,
        r#"{"conversationId":"","conversationStart":"2025-01-01T00:00:00Z"}"#,
        &good,
        r#"{"conversationId":"c"}"#,
        r#"{"conversationId":"c","conversationStart":"2025-01-01"}"#,
        r#"{"conversationId":"c","conversationStart":1735689600000}"#,
    ];
    let page =
        flattener(None, &[]).flatten(3, 4, raws.iter().map(|raw| Bytes::copy_from_slice(raw.as_bytes()))).unwrap();
    use BadReason::*;
    let reasons: Vec<_> = page.bad.iter().map(|bad| (bad.position.index, bad.reason)).collect();
    let expected = [NotJson, TooDeep, NotObject, NoId, NoId, NoId, NoStart, NoStart, NoStart];
    assert_eq!(reasons, [0, 1, 2, 3, 4, 5, 7, 8, 9].into_iter().zip(expected).collect::<Vec<_>>());
    for bad in &page.bad {
        assert_eq!(bad.raw, raws[bad.position.index as usize].as_bytes());
    }
    assert_eq!(page.days[0].keys[0].position, Position { chain: 3, page: 4, index: 6 });
}

#[test]
fn records_go_to_their_own_day_in_page_order() {
    let at = |id: &str, start: &str, participants: usize| json!({"conversationId": id, "conversationStart": start, "participants": vec![json!({}); participants]});
    let flat = Flat::new(
        flattener(None, &[]),
        &[
            at("b", "2025-01-02T00:00:00.000Z", 2),
            at("a", "2025-01-01T23:59:59.999Z", 1),
            at("c", "2025-01-02T23:00:00.000Z", 0),
            at("b", "2025-01-02T00:00:00.000Z", 3),
        ],
    );
    let days: Vec<_> = flat.page.days.iter().map(|day| day.day.to_string()).collect();
    assert_eq!(days, ["2025-01-01", "2025-01-02"]);
    let second = &flat.page.days[1];
    let keys: Vec<_> = second.keys.iter().map(|key| (&*key.id, key.position.index)).collect();
    assert_eq!(keys, [("b", 0), ("c", 2), ("b", 3)]);
    let participants = flat.flattener.catalog().tables().iter().position(|t| t.name == "participants").unwrap();
    assert_eq!(second.tables[participants].offsets, [0, 2, 2, 5]);
    assert_eq!(second.tables[0].offsets, [0, 1, 2, 3]);
}

#[test]
fn pages_in_one_sheet_are_handed_out_together_without_the_records_that_are_not_wanted() {
    let at = |id: &str, day: &str, participants: usize| {
        let record = json!({"conversationId": id, "conversationStart": format!("{day}T01:00:00Z"), "new": 1, "participants": vec![json!({"purpose": id}); participants]});
        Bytes::from(record.to_string())
    };
    let flattener = flattener(None, &[]);
    let (first, second): (Day, Day) = ("2025-01-01".parse().unwrap(), "2025-01-02".parse().unwrap());
    let mut sheet = flattener.sheet();
    let pages = [
        [at("a", "2025-01-01", 2), at("x", "2025-01-03", 3), at("b", "2025-01-02", 1)],
        [at("y", "2025-01-04", 1), Bytes::from("{"), at("c", "2025-01-01", 1)],
    ];
    let read = (1..).zip(pages).map(|(page, records)| {
        let before = sheet.bytes();
        let read = flattener.read(&mut sheet, 5, page, records.into_iter(), |day| day <= second).unwrap();
        assert!(sheet.bytes() > before);
        read
    });
    let [one, two] = <[_; 2]>::try_from(read.collect::<Vec<_>>()).unwrap();
    assert_eq!((one.records, one.days, one.bad.len()), (3, [first, second].into(), 0));
    assert_eq!((two.records, two.days, two.bad.len()), (3, [first].into(), 1));
    assert_eq!(
        (one.unwanted, two.unwanted),
        (vec![("2025-01-03".parse().unwrap(), 1)], vec![("2025-01-04".parse().unwrap(), 0)])
    );
    let unknown = |times| BTreeMap::from([("conversations.new".to_owned(), times)]);
    assert_eq!(
        (one.oddities.unknown, two.oddities.unknown),
        (unknown(3), unknown(2)),
        "also of those that are not wanted"
    );

    assert_eq!(sheet.records(), 3);
    let days = flattener.cut(sheet).unwrap();
    assert_eq!(days.iter().map(|day| day.day).collect::<Vec<_>>(), [first, second]);
    let keys: Vec<_> = days[0].keys.iter().map(|key| (&*key.id, key.position)).collect();
    let position = |page, index| Position { chain: 5, page, index };
    assert_eq!(keys, [("a", position(1, 0)), ("c", position(2, 2))]);
    let participants = flattener.catalog().tables().iter().position(|table| table.name == "participants").unwrap();
    let participants = &days[0].tables[participants];
    assert_eq!(participants.offsets, [0, 2, 3]);
    let rows = participants.rows.to_batch().unwrap();
    let texts = |column: &str| {
        rows.column_by_name(column).unwrap().as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(
        (texts("purpose"), texts("conversation_id")),
        (["a", "a", "c"].map(str::to_owned).into(), ["a", "a", "c"].map(str::to_owned).into())
    );
    assert!(flattener.sheet().records() == 0 && flattener.sheet().bytes() == 0, "it is used again, empty");
}

#[test]
fn names_that_may_be_data_are_not_repeated() {
    let flat = Flat::of(json!({"someNewField": 1, "ada@example.org": 2, "9d7f": 3, "ünïcode": 4}));
    let expected = [("conversations.?".to_owned(), 3), ("conversations.someNewField".to_owned(), 1)];
    assert_eq!(flat.page.oddities.unknown, BTreeMap::from(expected));
}

#[test]
fn a_dimension_is_rows_of_the_day_it_is_a_snapshot_of() {
    let day: Day = "2025-01-31".parse().unwrap();
    let flattener = Flattener::new(Arc::new(Catalog::dimensions().unwrap().alone("queues").unwrap())).unwrap();
    let records = [
        json!({"id": "q2", "name": "Sales", "division": {"id": "d1", "name": "Home", "selfUri": "/d1", "new": 1}, "selfUri": "/q2"}),
        json!({"id": "q1", "name": 7, "memberCount": 3, "conversationStart": "2020-01-01T00:00:00Z"}),
        json!({"name": "no id"}),
    ];
    let records = records.iter().map(|record| Bytes::from(record.to_string()));
    let page = flattener.snapshot(day, 0, 2, records).unwrap();
    assert_eq!(page.bad.iter().map(|bad| (bad.reason, bad.position.index)).collect::<Vec<_>>(), [(BadReason::NoId, 2)]);
    assert_eq!(page.days.len(), 1);
    assert_eq!(page.days[0].day, day);
    let starts: Vec<_> = page.days[0].keys.iter().map(|key| key.start).collect();
    assert_eq!(starts, [day.start().timestamp_micros(); 2]);

    let flat = Flat { flattener, page };
    assert_eq!(flat.texts("queues", "id"), [Some("q2".to_owned()), Some("q1".to_owned())]);
    assert_eq!(flat.texts("queues", "division_id"), [Some("d1".to_owned()), None]);
    assert_eq!(flat.ints("queues", "member_count"), [None, Some(3)]);
    // Addresses are dropped; what is unknown, or of another type, is kept.
    let kept = json!({"name": 7, "conversationStart": "2020-01-01T00:00:00Z"});
    assert_eq!(flat.extras("queues"), [Some(json!({"division": {"new": 1}})), Some(kept)]);
    assert_eq!(
        flat.page.oddities.unknown.keys().collect::<Vec<_>>(),
        ["queues.conversationStart", "queues.division.new"]
    );
    assert_eq!(flat.page.oddities.wrong_type.keys().collect::<Vec<_>>(), ["queues.name"]);
}
