//! What is attached to a conversation afterwards: evaluations, surveys, resolutions, late wrap-ups, replies.

use super::birth::{Change, MINUTE, SECOND};
use super::dice::Dice;
use super::model::{Conversation, Evaluation, Millis, Participant, Resolution, Segment, Session, Survey, Text};
use super::org::Organisation;
use super::scene::{said, segment};

/// Makes a change that became known at `at`.
pub(crate) fn apply(conversation: &mut Conversation, change: Change, at: Millis, org: &Organisation, dice: &mut Dice) {
    match change {
        Change::WrapUp => wrap_up(conversation, org, dice),
        Change::Evaluation => evaluation(conversation, at, org, dice),
        Change::Survey => survey(conversation, at, org, dice),
        Change::Resolution => resolution(conversation, at, org, dice),
        Change::Reopened => reopen(conversation, at, org, dice),
    }
}

/// Quality management has listened.
pub(crate) fn evaluation(conversation: &mut Conversation, at: Millis, org: &Organisation, dice: &mut Dice) {
    let form = dice.pick(&org.evaluation_forms);
    let score = dice.between(20, 100);
    let evaluation = Evaluation {
        assignee_applicable: Some(dice.chance(0.5)),
        assignee_id: Some(dice.pick(&org.users).id),
        calibration_id: dice.chance(0.3).then(|| dice.uuid()),
        context_id: Some(dice.uuid()),
        deleted: Some(dice.chance(0.05)),
        evaluation_id: Some(dice.uuid()),
        evaluation_status: Some(dice.word(&["Finished", "InProgress", "Pending"])),
        evaluator_id: Some(dice.pick(&org.users).id),
        event_time: Some(at),
        form_id: Some(form.id),
        form_name: Some(form.name),
        queue_id: conversation.last_queue().cloned(),
        released: Some(dice.chance(0.8)),
        rescored: Some(dice.chance(0.1)),
        system_submitted: Some(dice.chance(0.1)),
        user_id: last_user(conversation),
        o_total_critical_score: Some(dice.between(0, score)),
        o_total_score: Some(score),
    };
    conversation.evaluations.push(evaluation);
}

/// The customer has answered.
pub(crate) fn survey(conversation: &mut Conversation, at: Millis, org: &Organisation, dice: &mut Dice) {
    let form = dice.pick(&org.survey_forms);
    let survey = Survey {
        event_time: Some(at),
        queue_id: conversation.last_queue().cloned(),
        survey_completed_date: Some(at),
        survey_form_context_id: Some(dice.uuid()),
        survey_form_id: Some(form.id),
        survey_form_name: Some(form.name),
        survey_id: Some(dice.uuid()),
        survey_partial_response: Some(dice.chance(0.2)),
        survey_promoter_score: Some(dice.between(0, 10)),
        survey_status: Some(dice.word(&["Finished", "OptOut", "Expired"])),
        survey_type: Some(dice.word(&["Web", "Voice"])),
        user_id: last_user(conversation),
        o_survey_total_score: Some(dice.between(0, 100)),
    };
    conversation.surveys.push(survey);
}

/// Nobody called again in time.
pub(crate) fn resolution(conversation: &mut Conversation, at: Millis, _: &Organisation, dice: &mut Dice) {
    let resolution = Resolution {
        event_time: Some(at),
        queue_id: conversation.last_queue().cloned(),
        user_id: last_user(conversation),
        n_next_contact_avoided: dice.chance(0.7).then_some(1),
    };
    conversation.resolutions.push(resolution);
}

/// A wrap-up that appears days later, with the times of the call: an overlap with the change is not to be seen.
fn wrap_up(conversation: &mut Conversation, org: &Organisation, dice: &mut Dice) {
    let agents = conversation.participants.iter_mut().rev().filter(|p| p.user_id.is_some());
    let Some(session) = agents.flat_map(|p| &mut p.sessions).next() else {
        return conversation.external_tag = Some(Text::Borrowed("no agent: tagged later"));
    };
    let Some(from) = session.end() else { return };
    session.segments.push(Segment {
        queue_id: session.segments.iter().rev().find_map(|s| s.queue_id.clone()),
        wrap_up_code: Some(dice.pick(&org.wrap_up_codes)),
        ..segment("wrapup", from, from.plus(dice.span(30 * SECOND)))
    });
}

/// The customer replies and an agent answers: the end moves.
fn reopen(conversation: &mut Conversation, at: Millis, org: &Organisation, dice: &mut Dice) {
    let template = conversation.sessions().next().map(|(_, session)| Session {
        address_from: session.address_from.clone(),
        address_to: session.address_to.clone(),
        direction: session.direction.clone(),
        media_type: session.media_type.clone(),
        provider: session.provider.clone(),
        ..Default::default()
    });
    let queue = conversation.last_queue().cloned();
    let talk = dice.span(6 * MINUTE);
    let end = at.plus(talk);
    let mut sides = [("customer", None), ("agent", Some(dice.pick(&org.users)))].into_iter();
    for (purpose, user) in &mut sides {
        let mut session = Session { session_id: Some(dice.uuid()), ..template.clone().unwrap_or_default() };
        if user.is_some() {
            session.emit(end, "tTalk", talk);
            session.emit(end, "tTalkComplete", talk);
            session.emit(end, "tHandle", talk);
        } else {
            session.emit(at, "nConnected", 1);
            session.emit(end, "tConnected", talk);
        }
        session.segments.push(Segment {
            queue_id: queue.clone(),
            disconnect_type: said("peer"),
            ..segment("interact", at, end)
        });
        conversation.participants.push(Participant {
            participant_id: Some(dice.uuid()),
            purpose: said(purpose),
            team_id: user.as_ref().map(|u| u.team.clone()),
            user_id: user.map(|u| u.id),
            sessions: vec![session],
            ..Default::default()
        });
    }
    conversation.conversation_end = Some(end);
}

fn last_user(conversation: &Conversation) -> Option<Text> {
    conversation.participants.iter().rev().find_map(|p| p.user_id.clone())
}
