//! Filters: the real API's predicates, and the two tutorials' lists, which become the same predicates.

use serde_json::Value;

use super::world::{Conversation, Participant, Segment, Session};

/// What a conversation has to satisfy: every group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    groups: Vec<(Level, Group)>,
    /// The text it was read from; equal filters of one client have equal keys.
    pub(crate) key: String,
}

/// What a group looks at. All predicates of a segment group must hold for one and the same segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Conversation,
    Segment,
}

#[derive(Clone, Debug, Default)]
struct Group {
    any: bool,
    predicates: Vec<Predicate>,
    clauses: Vec<Group>,
}

#[derive(Clone, Debug)]
struct Predicate {
    /// A dimension's or a metric's name.
    name: String,
    metric: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Equals(String),
    Exists,
    NotExists,
    Range { gt: Option<f64>, gte: Option<f64>, lt: Option<f64>, lte: Option<f64> },
}

/// The filter arrays of a real query, and what they look at where the simulator evaluates them.
const FILTERS: [(&str, Option<Level>); 5] = [
    ("conversationFilters", Some(Level::Conversation)),
    ("segmentFilters", Some(Level::Segment)),
    ("evaluationFilters", None),
    ("surveyFilters", None),
    ("resolutionFilters", None),
];

const CONVERSATION_DIMENSIONS: [&str; 9] = [
    "accessAttribute",
    "conversationEnd",
    "conversationId",
    "conversationInitiator",
    "conversationStart",
    "customerParticipation",
    "divisionId",
    "externalTag",
    "originatingDirection",
];

const SEGMENT_DIMENSIONS: [&str; 30] = [
    "addressFrom",
    "addressTo",
    "ani",
    "conference",
    "direction",
    "disconnectType",
    "dnis",
    "edgeId",
    "errorCode",
    "externalContactId",
    "flowId",
    "flowName",
    "groupId",
    "mediaType",
    "messageType",
    "outboundCampaignId",
    "participantName",
    "provider",
    "purpose",
    "queueId",
    "recording",
    "requestedLanguageId",
    "requestedRouting",
    "requestedRoutingSkillId",
    "segmentEnd",
    "segmentType",
    "teamId",
    "usedRouting",
    "userId",
    "wrapUpCode",
];

impl Filter {
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Reads the filters of a real query or job; the error is the API's message.
    pub(crate) fn of_query(body: &Value) -> Result<Filter, String> {
        let mut filter = Filter::default();
        for (name, level) in FILTERS {
            for item in list(body, name)? {
                let Some(level) = level else {
                    return Err(format!("The simulator does not evaluate {name}"));
                };
                filter.groups.push((level, group(item, level)?));
                filter.key += &format!("{name}{item}");
            }
        }
        Ok(filter)
    }

    /// Reads `entities` of the first tutorial: any of the ids of each type, and all of the types.
    pub(crate) fn of_entities(body: &Value) -> Result<Filter, String> {
        let mut filter = Filter::default();
        for (kind, dimension) in [("user", "userId"), ("queue", "queueId"), ("skill", "requestedRoutingSkillId")] {
            let items = list(body, "entities")?;
            let ids: Vec<_> = items.iter().filter(|e| e["type"] == kind).map(|e| &e["id"]).collect();
            filter.push_any(dimension, &ids)?;
        }
        match list(body, "entities")?.iter().find(|e| !matches!(e["type"].as_str(), Some("user" | "queue" | "skill"))) {
            Some(_) => Err("entities: type must be one of user, queue, skill".to_owned()),
            None => Ok(filter),
        }
    }

    /// Reads `filters.and` of the second tutorial.
    pub(crate) fn of_paths(body: &Value) -> Result<Filter, String> {
        let mut filter = Filter::default();
        let Some(filters) = body.get("filters") else { return Ok(filter) };
        for item in list(filters, "and")? {
            let dimension = match item["path"].as_str() {
                Some("queue.id") => "queueId",
                Some("user.id") => "userId",
                _ => return Err("filters: path must be one of queue.id, user.id".to_owned()),
            };
            if item["operator"] != "in" {
                return Err("filters: operator must be in".to_owned());
            }
            filter.push_any(dimension, &list(item, "values")?.iter().collect::<Vec<_>>())?;
        }
        Ok(filter)
    }

    fn push_any(&mut self, dimension: &str, values: &[&Value]) -> Result<(), String> {
        if values.is_empty() {
            return Ok(());
        }
        let mut predicates = Vec::new();
        for value in values {
            let Some(value) = value.as_str() else { return Err("ids must be strings".to_owned()) };
            self.key += &format!("{dimension}={value};");
            predicates.push(Predicate {
                name: dimension.to_owned(),
                metric: false,
                test: Test::Equals(value.to_owned()),
            });
        }
        self.groups.push((Level::Segment, Group { any: true, predicates, clauses: Vec::new() }));
        Ok(())
    }

    /// Whether the conversation satisfies it.
    pub(crate) fn matches(&self, conversation: &Conversation) -> bool {
        self.groups.iter().all(|(level, group)| match level {
            Level::Conversation => group.holds(&|p| p.of_conversation(conversation)),
            Level::Segment => conversation
                .sessions()
                .flat_map(|(participant, session)| session.segments.iter().map(move |s| (participant, session, s)))
                .any(|place| group.holds(&|p| p.of_segment(place))),
        })
    }
}

impl Group {
    fn holds(&self, test: &dyn Fn(&Predicate) -> bool) -> bool {
        if self.any {
            self.predicates.iter().any(test) || self.clauses.iter().any(|clause| clause.holds(test))
        } else {
            self.predicates.iter().all(test) && self.clauses.iter().all(|clause| clause.holds(test))
        }
    }
}

impl Predicate {
    fn of_conversation(&self, c: &Conversation) -> bool {
        if self.metric {
            return self.number(c.total(&self.name));
        }
        let truth = |flag: Option<bool>| flag.map(|flag| if flag { "true" } else { "false" });
        let (start, end) = (c.conversation_start, c.conversation_end);
        let time = |at: Option<super::world::Millis>| at.map(|at| crate::time::wire_time(at.timestamp()));
        match self.name.as_str() {
            "accessAttribute" => self.text(c.access_attributes.iter().map(AsRef::as_ref)),
            "conversationEnd" => self.text(time(end).as_deref()),
            "conversationStart" => self.text(time(start).as_deref()),
            "conversationId" => self.text(c.conversation_id.as_deref()),
            "conversationInitiator" => self.text(c.conversation_initiator.as_deref()),
            "customerParticipation" => self.text(truth(c.customer_participation)),
            "divisionId" => self.text(c.division_ids.iter().map(AsRef::as_ref)),
            "externalTag" => self.text(c.external_tag.as_deref()),
            _ => self.text(c.originating_direction.as_deref()),
        }
    }

    fn of_segment(&self, (participant, session, segment): (&Participant, &Session, &Segment)) -> bool {
        let truth = |flag: Option<bool>| flag.map(|flag| if flag { "true" } else { "false" });
        let flow = session.flow.as_ref();
        match self.name.as_str() {
            "addressFrom" => self.text(session.address_from.as_deref()),
            "addressTo" => self.text(session.address_to.as_deref()),
            "ani" => self.text(session.ani.as_deref()),
            "conference" => self.text(truth(segment.conference)),
            "direction" => self.text(session.direction.as_deref()),
            "disconnectType" => self.text(segment.disconnect_type.as_deref()),
            "dnis" => self.text(session.dnis.as_deref()),
            "edgeId" => self.text(session.edge_id.as_deref()),
            "errorCode" => self.text(segment.error_code.as_deref()),
            "externalContactId" => self.text(participant.external_contact_id.as_deref()),
            "flowId" => self.text(flow.and_then(|flow| flow.flow_id.as_deref())),
            "flowName" => self.text(flow.and_then(|flow| flow.flow_name.as_deref())),
            "groupId" => self.text(segment.group_id.as_deref()),
            "mediaType" => self.text(session.media_type.as_deref()),
            "messageType" => self.text(session.message_type.as_deref()),
            "outboundCampaignId" => self.text(session.outbound_campaign_id.as_deref()),
            "participantName" => self.text(participant.participant_name.as_deref()),
            "provider" => self.text(session.provider.as_deref()),
            "purpose" => self.text(participant.purpose.as_deref()),
            "queueId" => self.text(segment.queue_id.as_deref()),
            "recording" => self.text(truth(session.recording)),
            "requestedLanguageId" => self.text(segment.requested_language_id.as_deref()),
            "requestedRouting" => self.text(session.requested_routings.iter().map(AsRef::as_ref)),
            "requestedRoutingSkillId" => self.text(segment.requested_routing_skill_ids.iter().map(AsRef::as_ref)),
            "segmentEnd" => self.text(segment.segment_end.map(|_| "")),
            "segmentType" => self.text(segment.segment_type.as_deref()),
            "teamId" => self.text(participant.team_id.as_deref()),
            "usedRouting" => self.text(session.used_routing.as_deref()),
            "userId" => self.text(participant.user_id.as_deref()),
            _ => self.text(segment.wrap_up_code.as_deref()),
        }
    }

    fn text<'a>(&self, values: impl IntoIterator<Item = &'a str>) -> bool {
        let mut values = values.into_iter();
        match &self.test {
            Test::Equals(wanted) => values.any(|value| value == wanted),
            Test::Exists => values.next().is_some(),
            Test::NotExists => values.next().is_none(),
            Test::Range { .. } => false,
        }
    }

    fn number(&self, value: Option<i64>) -> bool {
        match (&self.test, value) {
            (Test::Exists, value) => value.is_some(),
            (Test::NotExists, value) => value.is_none(),
            (Test::Equals(wanted), Some(value)) => value.to_string() == *wanted,
            (Test::Range { gt, gte, lt, lte }, Some(value)) => {
                let value = value as f64;
                gt.is_none_or(|bound| value > bound)
                    && gte.is_none_or(|bound| value >= bound)
                    && lt.is_none_or(|bound| value < bound)
                    && lte.is_none_or(|bound| value <= bound)
            }
            _ => false,
        }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a [Value], String> {
    match value.get(name) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{name} must be an array")),
    }
}

fn group(value: &Value, level: Level) -> Result<Group, String> {
    let any = match value["type"].as_str() {
        Some("or") => true,
        Some("and") => false,
        _ => return Err("filter type must be one of and, or".to_owned()),
    };
    let predicates = list(value, "predicates")?.iter().map(|p| predicate(p, level)).collect::<Result<_, _>>()?;
    let clauses = list(value, "clauses")?.iter().map(|c| group(c, level)).collect::<Result<_, _>>()?;
    Ok(Group { any, predicates, clauses })
}

fn predicate(value: &Value, level: Level) -> Result<Predicate, String> {
    let (name, metric) = match (value["dimension"].as_str(), value["metric"].as_str()) {
        (Some(name), None) => (name, false),
        (None, Some(name)) if level == Level::Conversation => (name, true),
        _ => return Err("a predicate needs a dimension or a metric of its level".to_owned()),
    };
    let known: &[&str] = match level {
        Level::Conversation => &CONVERSATION_DIMENSIONS,
        Level::Segment => &SEGMENT_DIMENSIONS,
    };
    if !metric && !known.contains(&name) {
        return Err(format!("The simulator does not know the dimension {name} here"));
    }
    let bound = |name: &str| value["range"][name].as_f64();
    let test = match (value["operator"].as_str().unwrap_or("matches"), value["value"].as_str()) {
        ("exists", _) => Test::Exists,
        ("notExists", _) => Test::NotExists,
        ("matches", Some(text)) => Test::Equals(text.to_owned()),
        ("matches", None) if metric && value["range"].is_object() => {
            Test::Range { gt: bound("gt"), gte: bound("gte"), lt: bound("lt"), lte: bound("lte") }
        }
        _ => return Err("a predicate needs an operator of matches, exists, notExists, and a value".to_owned()),
    };
    Ok(Predicate { name: name.to_owned(), metric, test })
}
