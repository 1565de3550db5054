//! What is rare: optional fields and metrics that a story does not need but that real data has. Tables and
//! chances, no plot.

use super::birth::{DAY, HOUR, SECOND};
use super::dice::Dice;
use super::model::{AgentGroup, Conversation, FlowOutcome, Millis, Participant, Property, ProposedAgent, Segment};
use super::model::{Session, Text};
use super::org::Organisation;
use super::quality;
use super::scene::said;

/// Metrics that a session of some purpose emits now and then; those of one entry together and with one value.
struct Extra(&'static str, &'static [&'static str], f64, i64, i64);

/// Purpose, metrics, chance, least and greatest value. Only metrics that no rule of the recordings binds.
const EXTRAS: [Extra; 46] = [
    Extra("acd", &["nOverSla"], 0.15, 1, 1),
    Extra("acd", &["tFlowOut"], 0.02, 500, 90_000),
    Extra("acd", &["nCfcOffered"], 0.02, 1, 1),
    Extra("acd", &["tCfcAcd"], 0.02, 100, 60_000),
    Extra("acd", &["tCfcAbandon"], 0.02, 100, 60_000),
    Extra("acd", &["tCfcAnswered"], 0.02, 100, 60_000),
    Extra("acd", &["tCfcFlowOut"], 0.02, 100, 60_000),
    Extra("acd", &["oSkillExpressionApplications"], 0.02, 1, 3),
    Extra("acd", &["nCallbackOverSla"], 0.02, 1, 1),
    Extra("acd", &["tCallbackAbandon"], 0.02, 1_000, 900_000),
    Extra("acd", &["tCallbackVirtualWait"], 0.02, 1_000, 900_000),
    Extra("acd", &["tCallbackConnect"], 0.02, 1_000, 900_000),
    Extra("acd", &["tCallbackNotReached"], 0.02, 1_000, 900_000),
    Extra("agent", &["nAgentDeclined"], 0.02, 1, 1),
    Extra("agent", &["nAlertExpired"], 0.02, 1, 1),
    Extra("agent", &["nStateTransitionError"], 0.01, 1, 1),
    Extra("agent", &["nTakeover"], 0.01, 1, 1),
    Extra("agent", &["tPark", "tParkComplete"], 0.02, 60_000, 7_200_000),
    Extra("agent", &["tSnippetRecord"], 0.02, 1_000, 60_000),
    Extra("agent", &["tTransmitting"], 0.02, 100, 9_000),
    Extra("agent", &["oAudioMessageCount"], 0.02, 1, 4),
    Extra("agent", &["oMediaCount"], 0.02, 1, 9),
    Extra("agent", &["oMessageCount"], 0.05, 1, 60),
    Extra("agent", &["oMessageSegmentCount"], 0.02, 1, 70),
    Extra("agent", &["tAverageAgentResponseTime"], 0.05, 900, 240_000),
    Extra("agent", &["tFirstEngagement"], 0.04, 900, 240_000),
    Extra("agent", &["tFirstResponse"], 0.04, 900, 240_000),
    Extra("agent", &["tFirstConnect"], 0.03, 900, 90_000),
    Extra("agent", &["tFirstDial"], 0.03, 900, 90_000),
    Extra("agent", &["tActiveCallback", "tActiveCallbackComplete"], 0.02, 900, 240_000),
    Extra("agent", &["nCallbackAttempts"], 0.02, 1, 1),
    Extra("agent", &["nOutbound"], 0.05, 1, 1),
    Extra("customer", &["tUserResponseTime"], 0.03, 900, 600_000),
    Extra("customer", &["tAverageCustomerResponseTime"], 0.05, 900, 600_000),
    Extra("customer", &["oExternalMediaCount"], 0.02, 1, 4),
    Extra("customer", &["oExternalAudioMessageCount"], 0.02, 1, 4),
    Extra("customer", &["nConversations"], 0.02, 1, 1),
    Extra("customer", &["nCallbackScheduled"], 0.02, 1, 1),
    Extra("customer", &["tConversationDuration"], 0.05, 1_000, 9_000_000),
    Extra("ivr", &["nFlowMilestone"], 0.03, 1, 1),
    Extra("ivr", &["oFlowMilestone"], 0.03, 1, 5),
    Extra("botflow", &["nBotInteractions"], 0.6, 1, 1),
    Extra("ivr", &["nBotInteractions"], 0.02, 1, 1),
    Extra("dialer", &["nOutboundAbandoned"], 0.1, 1, 1),
    Extra("outbound", &["nOutboundAbandoned"], 0.1, 1, 1),
    Extra("workflow", &["nFlowMilestone"], 0.02, 1, 1),
];

/// Adds what is rare to a story that has been told.
pub(crate) fn decorate(conversation: &mut Conversation, org: &Organisation, dice: &mut Dice) {
    for participant in &mut conversation.participants {
        party(participant, org, dice);
    }
    let start = conversation.conversation_start.unwrap_or_default();
    let end = conversation.conversation_end.unwrap_or(start);
    if dice.chance(0.02) {
        conversation.access_attributes = vec![said("restricted").unwrap_or_default()];
    }
    conversation.associated_conversation_id = dice.chance(0.01).then(|| dice.uuid());
    if dice.chance(0.01) {
        conversation.consultation_conversation_ids = vec![dice.uuid(), dice.uuid()];
    }
    conversation.external_tag = dice.chance(0.03).then(|| Text::Owned(format!("CRM-{}", dice.digits(8))));
    if conversation.customer_participation.is_some() && dice.chance(0.4) {
        conversation.inactivity_timeout = Some(end.plus(3 * DAY));
    }
    if dice.chance(0.03) {
        conversation.knowledge_base_ids = vec![dice.pick(&org.knowledge_bases)];
    }
    // Quality management is usually late; some of it comes with the end of the conversation.
    for add in [quality::evaluation, quality::survey, quality::resolution] {
        if dice.chance(0.03) {
            add(conversation, end.plus(dice.between(SECOND, HOUR)), org, dice);
        }
    }
}

fn party(participant: &mut Participant, org: &Organisation, dice: &mut Dice) {
    let purpose = participant.purpose.clone().unwrap_or_default();
    if purpose == "customer" {
        participant.external_organization_id = dice.chance(0.05).then(|| dice.uuid());
        participant.flagged_reason = dice.chance(0.01).then_some(Text::Borrowed("general"));
    }
    if purpose == "agent" {
        participant.screen_recording = dice.chance(0.1).then_some(true);
    }
    for session in &mut participant.sessions {
        let (Some(start), Some(end)) = (session.start(), session.end()) else { continue };
        for Extra(_, names, chance, low, high) in EXTRAS.iter().filter(|extra| extra.0 == purpose) {
            if dice.chance(*chance) {
                let (at, value) = (Millis(dice.between(start.0, end.0)), dice.between(*low, *high));
                names.iter().for_each(|name| session.emit(at, name, value));
            }
        }
        match purpose.as_ref() {
            "acd" | "agent" => routing(session, org, dice),
            "customer" => asking(session, start, end, dice),
            _ => flow(session, org, start, end, dice),
        }
        for segment in &mut session.segments {
            activity(segment, org, dice);
        }
        // As in the recordings; emissions of one instant keep their order.
        session.metrics.sort_by_key(|metric| metric.emit_date);
    }
}

fn routing(session: &mut Session, org: &Organisation, dice: &mut Dice) {
    if dice.chance(0.3) {
        session.active_skill_ids = vec![dice.pick(&org.skills)];
    }
    session.agent_assistant_id = dice.chance(0.05).then(|| dice.uuid());
    session.agent_owned = dice.chance(0.01).then_some(true);
    session.assigner_id = dice.chance(0.01).then(|| dice.pick(&org.users).id);
    session.error_code_description = dice.chance(0.01).then_some(Text::Borrowed("The station did not answer"));
    session.flow_out_type = dice.chance(0.02).then_some(Text::Borrowed("voicemail"));
    session.script_id = dice.chance(0.05).then(|| dice.uuid());
    session.selected_agent_rank = dice.chance(0.03).then(|| dice.between(1, 20));
    session.skill_expression_id = dice.chance(0.01).then(|| dice.uuid());
    session.snippet_recording = dice.chance(0.02).then_some(true);
    match dice.between(0, 19) {
        0 => {
            session.requested_routings = ["Predictive", "Standard"].map(Text::Borrowed).to_vec();
            session.eligible_agent_counts = vec![dice.between(0, 30), dice.between(0, 30)];
            session.waiting_interaction_counts = vec![dice.between(0, 9), dice.between(0, 9)];
            session.proposed_agents = (1..=3)
                .map(|rank| ProposedAgent { agent_rank: Some(rank), proposed_agent_id: Some(dice.pick(&org.users).id) })
                .collect();
        }
        1 => {
            session.requested_routings = vec![Text::Borrowed("Bullseye")];
            session.agent_bullseye_ring = Some(dice.between(1, 6));
            session.routing_ring = Some(dice.between(1, 6));
            session.removed_skill_ids = vec![dice.pick(&org.skills)];
            session.routing_rule_type = said("Bullseye");
        }
        2 => {
            session.requested_routings = vec![Text::Borrowed("Conditional")];
            session.routing_rule = Some(Text::Owned(format!("{}", dice.between(1, 5))));
            session.routing_rule_type = said("Conditional");
            session.agent_groups = vec![AgentGroup {
                agent_group_id: Some(dice.pick(&org.groups)),
                agent_group_type: Some(dice.word(&["Group", "SkillGroup", "Team"])),
            }];
        }
        _ => {}
    }
}

fn asking(session: &mut Session, start: Millis, end: Millis, dice: &mut Dice) {
    session.authenticated = dice.chance(0.05).then_some(dice.chance(0.8));
    session.cleared = dice.chance(0.01).then_some(true);
    session.media_count = dice.chance(0.05).then(|| dice.between(1, 5));
    if !session.cc.is_empty() && dice.chance(0.5) {
        session.bcc = vec![Text::Borrowed("archive@example.org")];
    }
    if session.message_type.is_some() {
        session.delivery_status = Some(dice.word(&["DeliverySuccess", "Read", "Received", "DeliveryFailed"]));
        session.delivery_status_change_date = Some(Millis(dice.between(start.0, end.0)));
        session.delivery_pushed = dice.chance(0.1).then_some(true);
        session.extended_delivery_status = dice.chance(0.1).then_some(Text::Borrowed("30003"));
    }
    if session.journey_customer_id.is_some() && dice.chance(0.3) {
        session.journey_action_id = Some(dice.uuid());
        session.journey_action_map_id = Some(dice.uuid());
        session.journey_action_map_version = Some(dice.between(1, 40));
    }
}

fn flow(session: &mut Session, org: &Organisation, start: Millis, end: Millis, dice: &mut Dice) {
    let Some(flow) = &mut session.flow else { return };
    flow.recognition_failure_reason = dice.chance(0.02).then_some(Text::Borrowed("MAX_NO_INPUT"));
    if dice.chance(0.05) {
        let spoken = Millis(dice.between(start.0, end.0));
        session.detected_speech_start = Some(spoken);
        session.detected_speech_end = Some(Millis(dice.between(spoken.0, end.0)));
    }
    for _ in 0..dice.between(-4, 2) {
        let id = dice.pick(&org.outcomes);
        let failed = dice.chance(0.2);
        let began = Millis(dice.between(start.0, end.0));
        let ended = Millis(dice.between(began.0, end.0));
        flow.outcomes.push(FlowOutcome {
            flow_outcome: Some(Text::Owned(format!("{id}:{}", if failed { "FAILURE" } else { "SUCCESS" }))),
            flow_outcome_end_timestamp: (!failed).then_some(ended),
            flow_outcome_id: Some(id),
            flow_outcome_start_timestamp: Some(began),
            flow_outcome_value: said(if failed { "FAILURE" } else { "SUCCESS" }),
        });
        session.metrics.push(emission(ended, "nFlowOutcome", 1));
        session.metrics.push(emission(ended, "tFlowOutcome", ended.0 - began.0));
        if failed {
            session.metrics.push(emission(ended, "nFlowOutcomeFailed", 1));
        }
    }
}

fn emission(at: Millis, name: &'static str, value: i64) -> super::model::Metric {
    super::model::Metric { emit_date: Some(at), name: said(name), value: Some(value) }
}

fn activity(segment: &mut Segment, org: &Organisation, dice: &mut Dice) {
    if segment.queue_id.is_none() {
        return;
    }
    segment.requested_language_id = dice.chance(0.05).then(|| dice.pick(&org.languages));
    if dice.chance(0.01) {
        segment.requested_routing_user_ids = vec![dice.pick(&org.users).id];
    }
    if dice.chance(0.02) {
        segment.properties.push(Property {
            property: said("priority"),
            property_type: said("integer"),
            value: Some(Text::Owned(dice.between(0, 9).to_string())),
        });
    }
}

/// What flows and scripts write onto participants: the organisation's own keys, some of them personal.
pub(crate) fn attributes(conversation: &mut Conversation, dice: &mut Dice) {
    for participant in &mut conversation.participants {
        let likely = match participant.purpose.as_deref() {
            Some("customer") => 0.85,
            Some("acd") => 0.2,
            _ => 0.05,
        };
        if !dice.chance(likely) {
            continue;
        }
        let pairs = &mut participant.attributes.0;
        pairs.push((Text::Borrowed("CallerType"), dice.word(&["member", "provider", "broker", ""])));
        pairs.push((Text::Borrowed("Customer ANI"), dice.phone()));
        if dice.chance(0.3) {
            pairs.push((Text::Borrowed("MEMBER_DOB"), Text::Owned(format!("{}-01-02", dice.between(1930, 2005)))));
        }
        for key in 0..dice.between(0, 12) {
            pairs.push((
                Text::Owned(format!("Flow_Step_{key:02}")),
                dice.word(&["", "F", "T", "Ok — weiter", "\"quoted\""]),
            ));
        }
    }
}
