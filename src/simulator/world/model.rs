//! The wire model: every field of the API's conversation detail, in the order in which the API writes them
//! (scalars by name, then embedded objects). An absent field is absent, never null.

use std::borrow::Cow;

use chrono::DateTime;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::time::{Timestamp, wire_time};

/// A string on the wire: constants cost nothing.
pub(crate) type Text = Cow<'static, str>;

/// An instant in milliseconds since the Unix epoch, which is the precision of the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Millis(pub(crate) i64);

impl Millis {
    pub(crate) fn of(at: Timestamp) -> Millis {
        Millis(at.timestamp_millis())
    }

    pub(crate) fn timestamp(self) -> Timestamp {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    pub(crate) fn plus(self, millis: i64) -> Millis {
        Millis(self.0.saturating_add(millis))
    }
}

impl Serialize for Millis {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&wire_time(self.timestamp()))
    }
}

/// `participant.attributes`: an object of strings in the order of its writing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attributes(pub(crate) Vec<(Text, Text)>);

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// What is left out of the JSON.
trait Absent {
    fn absent(&self) -> bool;
}

impl<T> Absent for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Absent for Vec<T> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

impl Absent for Attributes {
    fn absent(&self) -> bool {
        self.0.is_empty()
    }
}

macro_rules! objects {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty,)* })*) => {
        $($(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name {
            $(#[serde(skip_serializing_if = "Absent::absent")] pub(crate) $field: $kind,)*
        })*

        /// Every object with its fields, for the test that each of them occurs.
        #[cfg(test)]
        pub(super) const OBJECTS: &[(&str, &[&str])] = &[$((stringify!($name), &[$(stringify!($field)),*])),*];
    };
}

objects! {
    /// The root.
    Conversation {
        access_attributes: Vec<Text>,
        associated_conversation_id: Option<Text>,
        conference_start: Option<Millis>,
        consultation_conversation_ids: Vec<Text>,
        conversation_end: Option<Millis>,
        conversation_id: Option<Text>,
        conversation_initiator: Option<Text>,
        conversation_start: Option<Millis>,
        customer_participation: Option<bool>,
        division_ids: Vec<Text>,
        external_tag: Option<Text>,
        inactivity_timeout: Option<Millis>,
        knowledge_base_ids: Vec<Text>,
        media_stats_min_conversation_mos: Option<f64>,
        media_stats_min_conversation_r_factor: Option<f64>,
        originating_direction: Option<Text>,
        originating_social_media_public: Option<bool>,
        self_served: Option<bool>,
        evaluations: Vec<Evaluation>,
        surveys: Vec<Survey>,
        resolutions: Vec<Resolution>,
        participants: Vec<Participant>,
    }
    /// One party; agents appear once per leg.
    Participant {
        external_contact_id: Option<Text>,
        external_organization_id: Option<Text>,
        flagged_reason: Option<Text>,
        participant_id: Option<Text>,
        participant_name: Option<Text>,
        purpose: Option<Text>,
        screen_recording: Option<bool>,
        team_id: Option<Text>,
        user_id: Option<Text>,
        sessions: Vec<Session>,
        attributes: Attributes,
    }
    /// One medium of one party.
    Session {
        active_skill_ids: Vec<Text>,
        acw_skipped: Option<bool>,
        address_from: Option<Text>,
        address_other: Option<Text>,
        address_self: Option<Text>,
        address_to: Option<Text>,
        agent_assistant_id: Option<Text>,
        agent_bullseye_ring: Option<i64>,
        agent_owned: Option<bool>,
        ani: Option<Text>,
        assigner_id: Option<Text>,
        authenticated: Option<bool>,
        barged_participant_id: Option<Text>,
        bcc: Vec<Text>,
        callback_numbers: Vec<Text>,
        callback_scheduled_time: Option<Millis>,
        callback_user_name: Option<Text>,
        cc: Vec<Text>,
        cleared: Option<bool>,
        coached_participant_id: Option<Text>,
        cobrowse_role: Option<Text>,
        cobrowse_room_id: Option<Text>,
        delivery_pushed: Option<bool>,
        delivery_status: Option<Text>,
        delivery_status_change_date: Option<Millis>,
        destination_addresses: Vec<Text>,
        detected_speech_end: Option<Millis>,
        detected_speech_start: Option<Millis>,
        direction: Option<Text>,
        disposition_analyzer: Option<Text>,
        disposition_name: Option<Text>,
        dnis: Option<Text>,
        edge_id: Option<Text>,
        eligible_agent_counts: Vec<i64>,
        engagement_source: Option<Text>,
        error_code_description: Option<Text>,
        extended_delivery_status: Option<Text>,
        flow_in_type: Option<Text>,
        flow_out_type: Option<Text>,
        journey_action_id: Option<Text>,
        journey_action_map_id: Option<Text>,
        journey_action_map_version: Option<i64>,
        journey_customer_id: Option<Text>,
        journey_customer_id_type: Option<Text>,
        journey_customer_session_id: Option<Text>,
        journey_customer_session_id_type: Option<Text>,
        media_bridge_id: Option<Text>,
        media_count: Option<i64>,
        media_type: Option<Text>,
        message_type: Option<Text>,
        monitored_participant_id: Option<Text>,
        outbound_campaign_id: Option<Text>,
        outbound_contact_id: Option<Text>,
        outbound_contact_list_id: Option<Text>,
        peer_id: Option<Text>,
        protocol_call_id: Option<Text>,
        provider: Option<Text>,
        recording: Option<bool>,
        remote: Option<Text>,
        remote_name_displayable: Option<Text>,
        removed_skill_ids: Vec<Text>,
        requested_routings: Vec<Text>,
        room_id: Option<Text>,
        routing_ring: Option<i64>,
        routing_rule: Option<Text>,
        routing_rule_type: Option<Text>,
        screen_monitored_user_id: Option<Text>,
        screen_share_address_self: Option<Text>,
        screen_share_room_id: Option<Text>,
        script_id: Option<Text>,
        selected_agent_id: Option<Text>,
        selected_agent_rank: Option<i64>,
        session_dnis: Option<Text>,
        session_id: Option<Text>,
        sharing_screen: Option<bool>,
        skill_expression_id: Option<Text>,
        skip_enabled: Option<bool>,
        snippet_recording: Option<bool>,
        timeout_seconds: Option<i64>,
        used_routing: Option<Text>,
        video_address_self: Option<Text>,
        video_room_id: Option<Text>,
        waiting_interaction_counts: Vec<i64>,
        agent_groups: Vec<AgentGroup>,
        proposed_agents: Vec<ProposedAgent>,
        media_endpoint_stats: Vec<MediaEndpointStat>,
        flow: Option<Flow>,
        metrics: Vec<Metric>,
        segments: Vec<Segment>,
    }
    /// One emission; a name can occur many times in a session.
    Metric {
        emit_date: Option<Millis>,
        name: Option<Text>,
        value: Option<i64>,
    }
    /// One activity of a session.
    Segment {
        audio_muted: Option<bool>,
        conference: Option<bool>,
        destination_conversation_id: Option<Text>,
        destination_session_id: Option<Text>,
        disconnect_type: Option<Text>,
        error_code: Option<Text>,
        group_id: Option<Text>,
        q850_response_codes: Vec<i64>,
        queue_id: Option<Text>,
        requested_language_id: Option<Text>,
        requested_routing_skill_ids: Vec<Text>,
        requested_routing_user_ids: Vec<Text>,
        segment_end: Option<Millis>,
        segment_start: Option<Millis>,
        segment_type: Option<Text>,
        sip_response_codes: Vec<i64>,
        source_conversation_id: Option<Text>,
        source_session_id: Option<Text>,
        subject: Option<Text>,
        video_muted: Option<bool>,
        wrap_up_code: Option<Text>,
        wrap_up_note: Option<Text>,
        wrap_up_tags: Vec<Text>,
        scored_agents: Vec<ScoredAgent>,
        properties: Vec<Property>,
    }
    /// What an audio endpoint measured.
    MediaEndpointStat {
        codecs: Vec<Text>,
        discarded_packets: Option<i64>,
        duplicate_packets: Option<i64>,
        event_time: Option<Millis>,
        invalid_packets: Option<i64>,
        max_latency_ms: Option<i64>,
        min_mos: Option<f64>,
        min_r_factor: Option<f64>,
        overrun_packets: Option<i64>,
        received_packets: Option<i64>,
        underrun_packets: Option<i64>,
    }
    /// The execution of an Architect flow.
    Flow {
        ending_language: Option<Text>,
        entry_reason: Option<Text>,
        entry_type: Option<Text>,
        exit_reason: Option<Text>,
        flow_id: Option<Text>,
        flow_name: Option<Text>,
        flow_type: Option<Text>,
        flow_version: Option<Text>,
        issued_callback: Option<bool>,
        recognition_failure_reason: Option<Text>,
        starting_language: Option<Text>,
        transfer_target_address: Option<Text>,
        transfer_target_name: Option<Text>,
        transfer_type: Option<Text>,
        outcomes: Vec<FlowOutcome>,
    }
    /// A milestone of a flow with its result.
    FlowOutcome {
        flow_outcome: Option<Text>,
        flow_outcome_end_timestamp: Option<Millis>,
        flow_outcome_id: Option<Text>,
        flow_outcome_start_timestamp: Option<Millis>,
        flow_outcome_value: Option<Text>,
    }
    /// Conditional group routing.
    AgentGroup {
        agent_group_id: Option<Text>,
        agent_group_type: Option<Text>,
    }
    /// Predictive routing, offered.
    ProposedAgent {
        agent_rank: Option<i64>,
        proposed_agent_id: Option<Text>,
    }
    /// Predictive routing, scored.
    ScoredAgent {
        agent_score: Option<i64>,
        scored_agent_id: Option<Text>,
    }
    /// A user-defined property of a segment.
    Property {
        property: Option<Text>,
        property_type: Option<Text>,
        value: Option<Text>,
    }
    /// A quality evaluation.
    Evaluation {
        assignee_applicable: Option<bool>,
        assignee_id: Option<Text>,
        calibration_id: Option<Text>,
        context_id: Option<Text>,
        deleted: Option<bool>,
        evaluation_id: Option<Text>,
        evaluation_status: Option<Text>,
        evaluator_id: Option<Text>,
        event_time: Option<Millis>,
        form_id: Option<Text>,
        form_name: Option<Text>,
        queue_id: Option<Text>,
        released: Option<bool>,
        rescored: Option<bool>,
        system_submitted: Option<bool>,
        user_id: Option<Text>,
        o_total_critical_score: Option<i64>,
        o_total_score: Option<i64>,
    }
    /// A customer's survey.
    Survey {
        event_time: Option<Millis>,
        queue_id: Option<Text>,
        survey_completed_date: Option<Millis>,
        survey_form_context_id: Option<Text>,
        survey_form_id: Option<Text>,
        survey_form_name: Option<Text>,
        survey_id: Option<Text>,
        survey_partial_response: Option<bool>,
        survey_promoter_score: Option<i64>,
        survey_status: Option<Text>,
        survey_type: Option<Text>,
        user_id: Option<Text>,
        o_survey_total_score: Option<i64>,
    }
    /// Whether the next contact was avoided.
    Resolution {
        event_time: Option<Millis>,
        queue_id: Option<Text>,
        user_id: Option<Text>,
        n_next_contact_avoided: Option<i64>,
    }
}

impl Conversation {
    /// Every session with the participant that holds it.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&Participant, &Session)> {
        self.participants.iter().flat_map(|p| p.sessions.iter().map(move |s| (p, s)))
    }

    /// The sum of a metric over all sessions, if it was emitted at all.
    pub(crate) fn total(&self, metric: &str) -> Option<i64> {
        let emissions = self.sessions().flat_map(|(_, s)| &s.metrics);
        let values = emissions.filter(|m| m.name.as_deref() == Some(metric)).filter_map(|m| m.value);
        values.fold(None, |sum, value| Some(sum.unwrap_or(0i64).saturating_add(value)))
    }

    /// The queue that handled it last.
    pub(crate) fn last_queue(&self) -> Option<&Text> {
        self.sessions().flat_map(|(_, s)| &s.segments).filter_map(|g| g.queue_id.as_ref()).last()
    }
}
