//! How a conversation looks at a moment: only what had been emitted by then, and until when it looks like that.

use std::ops::Range;

use super::model::{Conversation, Flow, Millis, Session};

/// Reduces a whole story to what was known at `as_of`.
pub(crate) fn at(mut conversation: Conversation, as_of: Millis) -> Conversation {
    let future = |at: &Millis| *at > as_of;
    let past = |at: Option<Millis>| at.is_some_and(|at| at <= as_of);
    let c = &mut conversation;
    c.conference_start.take_if(|at| future(at));
    c.evaluations.retain(|e| past(e.event_time));
    c.surveys.retain(|s| past(s.event_time));
    c.resolutions.retain(|r| past(r.event_time));
    if c.conversation_end.take_if(|at| future(at)).is_some() {
        c.self_served = None;
    }
    for participant in &mut c.participants {
        participant.sessions.retain(|session| past(session.start()));
        for session in &mut participant.sessions {
            reduce(session, as_of);
        }
    }
    c.participants.retain(|participant| !participant.sessions.is_empty());
    let heard = || c.participants.iter().flat_map(|p| &p.sessions).flat_map(|s| &s.media_endpoint_stats);
    let score = heard().filter_map(|stat| stat.min_mos).reduce(f64::min);
    let factor = heard().filter_map(|stat| stat.min_r_factor).reduce(f64::min);
    (c.media_stats_min_conversation_mos, c.media_stats_min_conversation_r_factor) = (score, factor);
    conversation
}

fn reduce(session: &mut Session, as_of: Millis) {
    let future = |at: &Millis| *at > as_of;
    let past = |at: Option<Millis>| at.is_some_and(|at| at <= as_of);
    session.metrics.retain(|metric| past(metric.emit_date));
    session.media_endpoint_stats.retain(|stat| past(stat.event_time));
    session.segments.retain(|segment| past(segment.segment_start));
    session.detected_speech_start.take_if(|at| future(at));
    session.detected_speech_end.take_if(|at| future(at));
    if session.delivery_status_change_date.take_if(|at| future(at)).is_some() {
        session.delivery_status = None;
    }
    let mut running = false;
    for segment in &mut session.segments {
        if segment.segment_end.take_if(|at| future(at)).is_some() {
            running = true;
            segment.disconnect_type = None;
            segment.wrap_up_code = None;
            segment.wrap_up_note = None;
            segment.wrap_up_tags.clear();
        }
    }
    if let Some(flow) = &mut session.flow {
        flow.outcomes.retain(|outcome| past(outcome.flow_outcome_start_timestamp));
        for outcome in &mut flow.outcomes {
            if outcome.flow_outcome_end_timestamp.take_if(|at| future(at)).is_some() {
                outcome.flow_outcome = None;
                outcome.flow_outcome_value = None;
            }
        }
        if running {
            leave_open(flow);
        }
    }
}

fn leave_open(flow: &mut Flow) {
    flow.ending_language = None;
    flow.exit_reason = None;
    flow.transfer_target_address = None;
    flow.transfer_target_name = None;
    flow.transfer_type = None;
}

/// The moments around `as_of` at which the whole story `conversation` changes its looks; milliseconds.
pub(crate) fn unchanged(conversation: &Conversation, as_of: Millis) -> Range<i64> {
    let mut range = i64::MIN..i64::MAX;
    let mut moment = |at: Option<Millis>| match at {
        Some(Millis(at)) if at <= as_of.0 => range.start = range.start.max(at),
        Some(Millis(at)) => range.end = range.end.min(at),
        None => {}
    };
    moment(conversation.conversation_end);
    moment(conversation.conference_start);
    conversation.evaluations.iter().for_each(|e| moment(e.event_time));
    conversation.surveys.iter().for_each(|s| moment(s.event_time));
    conversation.resolutions.iter().for_each(|r| moment(r.event_time));
    for (_, session) in conversation.sessions() {
        moment(session.detected_speech_start);
        moment(session.detected_speech_end);
        moment(session.delivery_status_change_date);
        session.metrics.iter().for_each(|metric| moment(metric.emit_date));
        session.media_endpoint_stats.iter().for_each(|stat| moment(stat.event_time));
        for segment in &session.segments {
            moment(segment.segment_start);
            moment(segment.segment_end);
        }
        for outcome in session.flow.iter().flat_map(|flow| &flow.outcomes) {
            moment(outcome.flow_outcome_start_timestamp);
            moment(outcome.flow_outcome_end_timestamp);
        }
    }
    range
}
