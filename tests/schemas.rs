//! Lints `schemas/*.json` against the API's model and the project's rules. `fixtures/model.txt` lists every field of
//! the conversation model of the official SDK, `fixtures/metrics.txt` every metric that is documented; a new field of
//! the API is a new line there and, until it is mapped, a failing test here.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

use std::collections::{BTreeMap, BTreeSet};

use convlake::flatten::schema::{Column, ColumnType, Fold, Pii, Source, Table, Unit};
use convlake::flatten::{Catalog, Flattener};

const MODEL: &str = include_str!("fixtures/model.txt");
const DIMENSIONS: &str = include_str!("fixtures/dimensions.txt");
const METRICS: &str = include_str!("fixtures/metrics.txt");

/// Which objects of the model lie where in a record.
const PLACES: [(&str, &str); 15] = [
    ("AnalyticsConversation", ""),
    ("AnalyticsEvaluation", "evaluations"),
    ("AnalyticsSurvey", "surveys"),
    ("AnalyticsResolution", "resolutions"),
    ("AnalyticsParticipant", "participants"),
    ("AnalyticsSession", "participants.sessions"),
    ("AnalyticsAgentGroup", "participants.sessions.agentGroups"),
    ("AnalyticsProposedAgent", "participants.sessions.proposedAgents"),
    ("AnalyticsMediaEndpointStat", "participants.sessions.mediaEndpointStats"),
    ("AnalyticsFlow", "participants.sessions.flow"),
    ("AnalyticsFlowOutcome", "participants.sessions.flow.outcomes"),
    ("AnalyticsSessionMetric", "participants.sessions.metrics"),
    ("AnalyticsConversationSegment", "participants.sessions.segments"),
    ("AnalyticsScoredAgent", "participants.sessions.segments.scoredAgents"),
    ("AnalyticsProperty", "participants.sessions.segments.properties"),
];

fn tables() -> Vec<Table> {
    Catalog::builtin().unwrap().tables().to_vec()
}

/// Conversations and dimensions.
fn every_table() -> Vec<Table> {
    Catalog::everything().unwrap().tables().to_vec()
}

fn columns(tables: &[Table]) -> impl Iterator<Item = (&Table, &Column)> {
    tables.iter().flat_map(|table| table.columns.iter().map(move |column| (table, column)))
}

/// `a.b` below `place`, which may be the record itself.
fn joined(place: &str, path: &str) -> String {
    if place.is_empty() { path.to_owned() } else { format!("{place}.{path}") }
}

/// The last word of a dotted path.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// The fields of `model` that no table takes as they are.
fn unmapped(model: &str, tables: &[Table]) -> Vec<String> {
    let places: BTreeMap<&str, &str> = PLACES.into();
    let mut mapped = BTreeMap::new();
    for (table, column) in columns(tables) {
        if let Source::Field(paths) = &column.source {
            mapped.extend(paths.as_slice().iter().map(|path| (joined(&table.place, path), column.kind)));
        }
    }
    let is_mapped = |line: &&str| {
        let (field, kind) = line.split_once(": ").unwrap();
        let (model, field) = field.split_once('.').unwrap();
        let Some(place) = places.get(model) else { return false };
        let path = joined(place, field);
        match (plain(kind), kind) {
            (Some(expected), _) => mapped.get(&path) == Some(&expected),
            (None, "dict(str, str)") => tables.iter().any(|table| table.place == path && table.is_map()),
            (None, nested) => match nested.strip_prefix("list[") {
                Some(_) => tables.iter().any(|table| table.place == path && !table.is_map()),
                None => places.get(nested) == Some(&path.as_str()),
            },
        }
    };
    model.lines().filter(|line| !is_mapped(line)).map(str::to_owned).collect()
}

/// The column type of the SDK's plain types.
fn plain(kind: &str) -> Option<ColumnType> {
    Some(match kind {
        "str" => ColumnType::String,
        "int" => ColumnType::Int64,
        "float" => ColumnType::Double,
        "bool" => ColumnType::Boolean,
        "datetime" => ColumnType::Timestamp,
        "list[str]" => ColumnType::StringList,
        "list[int]" => ColumnType::Int64List,
        _ => return None,
    })
}

/// The metrics that lack a column, by table.
fn metrics_without_column(metrics: &str, tables: &[Table]) -> Vec<String> {
    let of = |name: &str| -> BTreeSet<&str> {
        let table = tables.iter().find(|table| table.name == name).unwrap();
        table
            .columns
            .iter()
            .filter_map(|c| if let Source::Metric(name) = &c.source { Some(name.as_str()) } else { None })
            .collect()
    };
    ["conversations", "sessions"]
        .iter()
        .flat_map(|table| {
            let known = of(table);
            metrics
                .lines()
                .filter(move |metric| !known.contains(metric))
                .map(move |metric| format!("{table}: {metric}"))
        })
        .collect()
}

/// `q850ResponseCodes` → `q850_response_codes`, `minRFactor` → `min_r_factor`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn is_sentence(doc: &str) -> bool {
    doc.starts_with(|c: char| c.is_ascii_uppercase()) && doc.ends_with('.') && doc.contains(' ') && !doc.contains("  ")
}

#[test]
fn every_field_of_the_model_is_mapped_with_its_type() {
    assert!(MODEL.lines().count() > 200);
    assert_eq!(unmapped(MODEL, &tables()), [""; 0]);
}

#[test]
fn the_lint_notices_a_field_that_is_not_mapped_or_has_another_type() {
    let drifted = "AnalyticsSession.brandNew: str\nAnalyticsSession.mediaCount: str\nAnalyticsSession.mediaCount: int\n\
                   AnalyticsFlow.brandNew: bool\nAnalyticsSession.brandNew: list[AnalyticsBrandNew]\nAnalyticsBrandNew.a: str";
    let found = unmapped(drifted, &tables());
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(!found.contains(&"AnalyticsSession.mediaCount: int".to_owned()));
}

#[test]
fn every_metric_has_a_column_on_conversations_and_sessions() {
    assert!(METRICS.lines().count() > 90);
    assert_eq!(metrics_without_column(METRICS, &tables()), [""; 0]);
    assert_eq!(metrics_without_column("tBrandNew", &tables()).len(), 2);
}

#[test]
fn metric_columns_are_named_typed_and_folded_by_their_metric() {
    for (table, column) in columns(&tables()) {
        let Source::Metric(metric) = &column.source else {
            assert_eq!(column.fold, None, "{}.{}", table.name, column.name);
            continue;
        };
        let timer = metric.starts_with('t');
        let name = snake_case(metric) + if timer { "_ms" } else { "" };
        let maximum =
            metric.starts_with("tAverage") || metric.starts_with("tFirst") || metric == "tConversationDuration";
        let fold = if maximum { Fold::Max } else { Fold::Sum };
        assert_eq!((&column.name, column.kind, column.fold), (&name, ColumnType::Int64, Some(fold)));
        assert_eq!(column.unit == Some(Unit::Milliseconds), timer, "{name}");
        assert!(column.doc.contains(if maximum { "the largest" } else { "the sum" }), "{name}");
    }
}

#[test]
fn columns_are_named_after_their_fields() {
    for (table, column) in columns(&every_table()) {
        if let Source::Field(paths) = &column.source {
            // The first path is the name-giver, unless the field is an object around one number.
            let path = paths.as_slice()[0].trim_end_matches(".total");
            let plain = snake_case(last(path));
            let prefixed = path.split_once('.').map(|(prefix, _)| format!("{}_{plain}", snake_case(prefix)));
            let expected = [plain.clone(), format!("{plain}_ms"), prefixed.unwrap_or_default()];
            assert!(expected.contains(&column.name), "{}.{} is {path}", table.name, column.name);
        }
    }
    assert_eq!(snake_case("q850ResponseCodes"), "q850_response_codes");
}

#[test]
fn an_embedded_object_is_a_prefix_that_is_not_doubled() {
    let tables = tables();
    let sessions = tables.iter().find(|table| table.name == "sessions").unwrap();
    for column in &sessions.columns {
        if let Source::Field(paths) = &column.source
            && let Some(field) = paths.as_slice()[0].strip_prefix("flow.")
        {
            let plain = snake_case(field);
            let expected = if plain.starts_with("flow_") { plain } else { format!("flow_{plain}") };
            assert_eq!(column.name, expected);
        }
    }
}

#[test]
fn docs_are_sentences() {
    for (table, column) in columns(&every_table()) {
        assert!(is_sentence(&table.doc), "{}: {}", table.name, table.doc);
        assert!(is_sentence(&column.doc), "{}.{}: {}", table.name, column.name, column.doc);
    }
    assert!(!is_sentence("no sentence") && !is_sentence("Word."));
}

#[test]
fn units_and_suffixes_agree_and_only_numbers_have_units() {
    for (table, column) in columns(&every_table()) {
        let place = format!("{}.{}", table.name, column.name);
        assert_eq!(column.name.ends_with("_ms"), column.unit == Some(Unit::Milliseconds), "{place}");
        assert_eq!(column.name.ends_with("_seconds"), column.unit == Some(Unit::Seconds), "{place}");
        let number = matches!(column.kind, ColumnType::Int64 | ColumnType::Int64List | ColumnType::Double);
        assert!(number || column.unit.is_none(), "{place}");
    }
}

#[test]
fn columns_that_say_who_or_what_was_said_are_classified() {
    let tables = tables();
    for (table, column) in columns(&tables) {
        let place = format!("{}.{}", table.name, column.name);
        let is = |pii| assert_eq!(column.pii, pii, "{place}");
        match column.name.as_str() {
            "user_id" | "external_contact_id" | "scored_agent_id" | "proposed_agent_id" => is(Pii::Id),
            "participant_name" | "callback_user_name" | "remote_name_displayable" => is(Pii::Name),
            "ani" | "dnis" | "session_dnis" | "remote" | "callback_numbers" | "cc" | "bcc" => is(Pii::Contact),
            "extra" | "subject" | "wrap_up_note" | "external_tag" => is(Pii::Content),
            name if name.starts_with("address_") || name.contains("_address") || name.ends_with("_addresses") => {
                is(Pii::Contact)
            }
            _ if column.key || matches!(column.source, Source::Metric(_)) => is(Pii::None),
            _ => {}
        }
    }
    for content in ["participant_attributes", "segment_properties"] {
        let table = tables.iter().find(|table| table.name == content).unwrap();
        assert_eq!(table.column("value").unwrap().pii, Pii::Content);
    }
}

#[test]
fn dimensions_have_the_fields_of_their_models_and_say_who_is_who() {
    let model: BTreeMap<&str, &str> = DIMENSIONS.lines().map(|line| line.split_once(": ").unwrap()).collect();
    let models = ["Queue", "User", "WrapupCode", "RoutingSkill", "AuthzDivision", "Flow", "Team"];
    let tables = Catalog::dimensions().unwrap().tables().to_vec();
    assert_eq!(tables.len(), models.len());
    for (table, root) in tables.iter().zip(models) {
        // A path is followed from model to model, to the type of its last field.
        let kind = |path: &str| {
            path.split('.').try_fold(root, |at, field| model.get(format!("{at}.{field}").as_str()).copied())
        };
        for column in &table.columns {
            let place = format!("{}.{}", table.name, column.name);
            if let Source::Field(paths) = &column.source {
                let path = &paths.as_slice()[0];
                assert_eq!(kind(path).and_then(plain), Some(column.kind), "{place}");
                let person = table.name == "users" && path == "id"
                    || ["createdBy", "modifiedBy", "publishedBy.id", "manager.id"].contains(&path.as_str());
                assert_eq!(column.pii == Pii::Id, person, "{place}");
            }
        }
        assert!(table.ignored.iter().all(|path| kind(path) == Some("str")), "{}", table.name);
        assert_eq!(table.primary_key, ["id"]);
        assert_eq!(table.columns.iter().map(|c| c.name.as_str()).take(2).collect::<Vec<_>>(), ["id", "name"]);
        assert_eq!(
            table.columns.last().map(|column| (column.name.as_str(), column.pii)),
            Some(("extra", Pii::Content))
        );
        assert!(
            Flattener::new(std::sync::Arc::new(Catalog::dimensions().unwrap().alone(&table.name).unwrap())).is_ok()
        );
    }
    let users = tables.iter().find(|table| table.name == "users").unwrap();
    let class = |name| users.column(name).unwrap().pii;
    assert_eq!(["name", "preferred_name"].map(class), [Pii::Name; 2]);
    assert_eq!(["email", "username"].map(class), [Pii::Contact; 2]);
}

#[test]
fn keys_come_first_then_fields_derived_metrics_and_the_rest() {
    for table in tables() {
        let rank = |column: &Column| match column.source {
            _ if column.key && matches!(column.source, Source::Index(_)) => 1,
            _ if column.key && column.source == Source::Key => 2,
            _ if column.key => 0,
            Source::Field(_) | Source::Value => 3,
            Source::Ancestor(_) | Source::Last(_) => 4,
            Source::Metric(_) => 5,
            Source::OtherMetrics { .. } | Source::OtherDecimals { .. } | Source::OtherTexts => 6,
            Source::Extra => 7,
            Source::Index(_) | Source::Key => panic!("{}.{} must be a key", table.name, column.name),
        };
        let ranks: Vec<_> = table.columns.iter().map(rank).collect();
        assert!(ranks.is_sorted(), "{}: {ranks:?}", table.name);
        assert_eq!(table.columns[0].name, "conversation_id");
        assert_eq!(table.columns[1].name, "conversation_start");
        assert_eq!(table.columns.last().map(|column| column.name.as_str()), Some("extra"));
    }
}

#[test]
fn ordinals_are_singulars_and_one_for_each_array_above() {
    let tables = tables();
    let by_name = |name: &str| tables.iter().find(|table| table.name == name).unwrap();
    for table in &tables {
        let levels: Vec<&str> = table
            .columns
            .iter()
            .filter_map(|c| if let Source::Index(of) = &c.source { Some(of.as_str()) } else { None })
            .collect();
        let arrays: Vec<&str> = tables
            .iter()
            .filter(|above| !above.place.is_empty() && !above.is_map())
            .filter(|above| table.place == above.place || table.place.starts_with(&format!("{}.", above.place)))
            .map(|above| above.name.as_str())
            .collect();
        assert_eq!(levels, arrays, "{}", table.name);
        for (column, of) in table.columns.iter().filter(|c| matches!(c.source, Source::Index(_))).zip(levels) {
            let singular = match by_name(of).name.strip_suffix("ies") {
                Some(stem) => format!("{stem}y"),
                None => of.trim_end_matches('s').to_owned(),
            };
            assert_eq!(column.name, format!("{singular}_index"));
        }
    }
}

#[test]
fn names_are_distinct_and_primary_keys_are_key_columns() {
    let tables = every_table();
    let names: BTreeSet<_> = tables.iter().map(|table| &table.name).collect();
    assert_eq!(names.len(), tables.len());
    for table in &tables {
        let names: BTreeSet<_> = table.columns.iter().map(|column| &column.name).collect();
        assert_eq!(names.len(), table.columns.len(), "{}", table.name);
        for key in &table.primary_key {
            assert!(table.column(key).is_some_and(|column| column.key), "{}.{key}", table.name);
        }
    }
}

#[test]
fn each_file_is_named_after_its_table_and_none_is_forgotten() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let files: BTreeSet<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let tables: BTreeSet<String> = every_table().iter().map(|table| format!("{}.json", table.name)).collect();
    assert_eq!(files, tables);
}

#[test]
fn one_column_is_one_line_of_its_file() {
    for table in every_table() {
        let path = format!("{}/schemas/{}.json", env!("CARGO_MANIFEST_DIR"), table.name);
        let text = std::fs::read_to_string(path).unwrap();
        for column in &table.columns {
            let start = format!("    {{\"name\": \"{}\", ", column.name);
            assert_eq!(
                text.lines().filter(|line| line.starts_with(&start)).count(),
                1,
                "{}.{}",
                table.name,
                column.name
            );
        }
    }
}

#[test]
fn contradicting_schemas_are_refused() {
    let file = |place: &str, columns: &str| {
        format!(
            r#"{{"table": "t", "version": 1, "doc": "One row for each.", "place": "{place}", "primary_key": [], "columns": [
            {{"name": "conversation_id", "type": "string", "source": {{"field": "id"}}, "key": true, "pii": "none", "doc": "The id."}},
            {{"name": "conversation_start", "type": "timestamp", "source": {{"field": "start"}}, "key": true, "pii": "none", "doc": "The start."}}
            {columns}]}}"#
        )
    };
    let column = |source: &str| {
        format!(r#", {{"name": "x", "type": "int64", "source": {source}, "pii": "none", "doc": "The x."}}"#)
    };
    let compiled = |file: &str| Flattener::new(std::sync::Arc::new(Catalog::parse([file]).unwrap()));
    assert!(compiled(&file("", &column(r#"{"field": "x"}"#))).is_ok());
    for broken in [
        file("below", ""),
        file("", &column(r#"{"field": "id"}"#)),
        file("", &column(r#"{"metric": "tNoFold"}"#)),
        file("", &column(r#"{"ancestor": "nowhere.x"}"#)),
        file("", &column(r#"{"index": "nowhere"}"#)),
        file("", &column(r#"{"last": "t.y"}"#)),
    ] {
        assert!(compiled(&broken).is_err(), "{broken}");
    }
}
