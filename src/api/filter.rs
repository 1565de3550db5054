//! Which conversations: one selection, and the form it takes on each protocol's wire.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::plan::Protocol;

/// The real API's five lists of filters.
const FILTER_LISTS: [&str; 5] =
    ["conversationFilters", "segmentFilters", "evaluationFilters", "surveyFilters", "resolutionFilters"];

/// A selection of conversations: any of the values within a dimension, all of the dimensions together. Part of a
/// lake's identity, so its serialized form is stable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// Queue ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub queues: Vec<String>,
    /// User (agent) ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Requested skill ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
    /// Media types, such as `voice`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub media_types: Vec<String>,
    /// `inbound` or `outbound`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directions: Vec<String>,
    /// Division ids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub divisions: Vec<String>,
    /// Anything else the protocol can say, in its own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<Value>,
}

/// One dimension of the selection: its flag, its names on the wires (where a wire has one) and its values.
struct Dimension<'a> {
    flag: &'static str,
    list: &'static str,
    api: &'static str,
    cursor: Option<&'static str>,
    page: Option<&'static str>,
    values: &'a [String],
}

impl Filters {
    /// Whether everything is asked for.
    pub fn is_empty(&self) -> bool {
        self.raw.is_none() && self.dimensions().all(|d| d.values.is_empty())
    }

    /// The same selection in the form in which equal selections are equal: values sorted, each once.
    #[must_use]
    pub fn normalized(mut self) -> Filters {
        let dimensions = [
            &mut self.queues,
            &mut self.users,
            &mut self.skills,
            &mut self.media_types,
            &mut self.directions,
            &mut self.divisions,
        ];
        for values in dimensions {
            values.sort_unstable();
            values.dedup();
        }
        self
    }

    /// The selection as flags of the command line say it.
    pub fn flags(&self) -> Vec<String> {
        let selected = self.selected().map(|d| format!("{} {}", d.flag, d.values.join(",")));
        selected.chain(self.raw.is_some().then(|| "--filter FILE".to_owned())).collect()
    }

    /// The members that a request of `protocol` carries for this selection; none when there is none.
    ///
    /// # Errors
    /// [`crate::error::Kind::Usage`] when the protocol cannot express it, naming flag and protocol.
    pub fn wire(&self, protocol: Protocol) -> Result<Map<String, Value>> {
        match protocol {
            Protocol::Query | Protocol::Jobs => self.predicates(protocol),
            Protocol::Cursor => self.entities(),
            Protocol::Page => self.paths(),
        }
    }

    fn dimensions(&self) -> impl Iterator<Item = Dimension<'_>> {
        let segment = "segmentFilters";
        [
            ("--queue", segment, "queueId", Some("queue"), Some("queue.id"), &self.queues),
            ("--user", segment, "userId", Some("user"), Some("user.id"), &self.users),
            ("--skill", segment, "requestedRoutingSkillId", Some("skill"), None, &self.skills),
            ("--media-type", segment, "mediaType", None, None, &self.media_types),
            ("--direction", segment, "direction", None, None, &self.directions),
            ("--division", "conversationFilters", "divisionId", None, None, &self.divisions),
        ]
        .into_iter()
        .map(|(flag, list, api, cursor, page, values)| Dimension { flag, list, api, cursor, page, values })
    }

    /// Only the dimensions that select something.
    fn selected(&self) -> impl Iterator<Item = Dimension<'_>> {
        self.dimensions().filter(|d| !d.values.is_empty())
    }

    fn predicates(&self, protocol: Protocol) -> Result<Map<String, Value>> {
        let mut body = Map::new();
        for dimension in self.selected() {
            let predicates: Vec<_> = dimension
                .values
                .iter()
                .map(|value| json!({"type": "dimension", "dimension": dimension.api, "operator": "matches", "value": value}))
                .collect();
            append(&mut body, dimension.list, vec![json!({"type": "or", "predicates": predicates})]);
        }
        for (key, value) in raw_members(self.raw.as_ref(), protocol, &FILTER_LISTS)? {
            append(&mut body, key, raw_list(value, protocol, key)?);
        }
        Ok(body)
    }

    fn entities(&self) -> Result<Map<String, Value>> {
        let protocol = Protocol::Cursor;
        let mut body = Map::new();
        for dimension in self.selected() {
            let kind = dimension.cursor.ok_or_else(|| inexpressible(dimension.flag, protocol))?;
            let entities = dimension.values.iter().map(|id| json!({"type": kind, "id": id})).collect();
            append(&mut body, "entities", entities);
        }
        for (key, value) in raw_members(self.raw.as_ref(), protocol, &["entities"])? {
            append(&mut body, key, raw_list(value, protocol, key)?);
        }
        Ok(body)
    }

    fn paths(&self) -> Result<Map<String, Value>> {
        let protocol = Protocol::Page;
        let mut filters = Map::new();
        for dimension in self.selected() {
            let path = dimension.page.ok_or_else(|| inexpressible(dimension.flag, protocol))?;
            append(&mut filters, "and", vec![json!({"path": path, "operator": "in", "values": dimension.values})]);
        }
        for (_, value) in raw_members(self.raw.as_ref(), protocol, &["filters"])? {
            let members = value.as_object().ok_or_else(|| misshapen(protocol, "`filters` must be an object"))?;
            for (key, value) in members {
                append(&mut filters, key, raw_list(value, protocol, key)?);
            }
        }
        let filters = (!filters.is_empty()).then_some(("filters".to_owned(), Value::Object(filters)));
        Ok(filters.into_iter().collect())
    }
}

fn append(body: &mut Map<String, Value>, key: &str, mut more: Vec<Value>) {
    if let Value::Array(list) = body.entry(key).or_insert_with(|| Value::Array(Vec::new())) {
        list.append(&mut more);
    }
}

fn raw_members<'a>(raw: Option<&'a Value>, protocol: Protocol, known: &[&str]) -> Result<Vec<(&'a str, &'a Value)>> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let members = raw.as_object().ok_or_else(|| misshapen(protocol, "it must be a JSON object"))?;
    if let Some(odd) = members.keys().find(|key| !known.contains(&key.as_str())) {
        let known: Vec<_> = known.iter().map(|k| format!("`{k}`")).collect();
        return Err(misshapen(protocol, &format!("it may hold {}, not `{odd}`", known.join(", "))));
    }
    Ok(members.iter().map(|(key, value)| (key.as_str(), value)).collect())
}

fn raw_list(value: &Value, protocol: Protocol, key: &str) -> Result<Vec<Value>> {
    value.as_array().cloned().ok_or_else(|| misshapen(protocol, &format!("`{key}` must be an array")))
}

fn misshapen(protocol: Protocol, why: &str) -> Error {
    Error::usage(format!("--filter does not fit --protocol {protocol}: {why}"))
}

fn inexpressible(flag: &str, protocol: Protocol) -> Error {
    Error::usage(format!("--protocol {protocol} cannot filter by {flag}"))
        .hint("leave the filter out, or use --protocol query or jobs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn ids(values: &[&str]) -> Vec<String> {
        values.iter().map(|v| (*v).to_owned()).collect()
    }

    #[test]
    fn the_real_api_gets_a_predicate_list_for_each_dimension() {
        let filters = Filters {
            queues: ids(&["q1", "q2"]),
            divisions: ids(&["d"]),
            raw: Some(json!({"segmentFilters": [{"type": "and", "predicates": []}], "surveyFilters": []})),
            ..Filters::default()
        };
        let queue = |id| json!({"type": "dimension", "dimension": "queueId", "operator": "matches", "value": id});
        let division = json!({"type": "dimension", "dimension": "divisionId", "operator": "matches", "value": "d"});
        let expected = json!({
            "segmentFilters": [{"type": "or", "predicates": [queue("q1"), queue("q2")]}, {"type": "and", "predicates": []}],
            "conversationFilters": [{"type": "or", "predicates": [division]}],
            "surveyFilters": [],
        });
        assert_eq!(Value::Object(filters.wire(Protocol::Query).unwrap()), expected);
        assert_eq!(filters.wire(Protocol::Jobs).unwrap(), filters.wire(Protocol::Query).unwrap());
    }

    #[test]
    fn the_tutorials_get_their_own_shapes() {
        let filters = Filters { queues: ids(&["q"]), users: ids(&["u1", "u2"]), ..Filters::default() };
        let cursor = json!({"entities": [{"type": "queue", "id": "q"}, {"type": "user", "id": "u1"}, {"type": "user", "id": "u2"}]});
        assert_eq!(Value::Object(filters.wire(Protocol::Cursor).unwrap()), cursor);
        let page = json!({"filters": {"and": [
            {"path": "queue.id", "operator": "in", "values": ["q"]},
            {"path": "user.id", "operator": "in", "values": ["u1", "u2"]},
        ]}});
        assert_eq!(Value::Object(filters.wire(Protocol::Page).unwrap()), page);
    }

    #[test]
    fn no_filter_is_no_member() {
        for protocol in [Protocol::Query, Protocol::Jobs, Protocol::Cursor, Protocol::Page] {
            assert!(Filters::default().wire(protocol).unwrap().is_empty());
        }
        assert!(Filters::default().is_empty());
    }

    #[test]
    fn what_a_protocol_cannot_say_is_refused_by_flag_and_protocol() {
        let skills = Filters { skills: ids(&["s"]), ..Filters::default() };
        let error = skills.wire(Protocol::Page).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (Kind::Usage, "--protocol page cannot filter by --skill")
        );
        assert!(skills.wire(Protocol::Cursor).is_ok());
        for raw in [json!([]), json!({"filters": {}}), json!({"segmentFilters": {}})] {
            let filters = Filters { raw: Some(raw), ..Filters::default() };
            assert_eq!(filters.wire(Protocol::Query).unwrap_err().kind(), Kind::Usage);
        }
    }

    #[test]
    fn equal_selections_are_equal_when_normalized_and_survive_serde() {
        let a = Filters { users: ids(&["b", "a", "b"]), ..Filters::default() }.normalized();
        let text = serde_json::to_string(&a).unwrap();
        assert_eq!(text, r#"{"users":["a","b"]}"#);
        assert_eq!(serde_json::from_str::<Filters>(&text).unwrap(), a);
    }
}
