//! The agent's leg: alerting, talking, holding, wrapping up, and the sums that recordings obey.
//!
//! `Σ tTalk = tTalkComplete`, `Σ tHeld = tHeldComplete`, and
//! `tHandle = tTalkComplete + tHeldComplete + tAcw + tContacting + tDialing`.

use super::birth::{MINUTE, SECOND};
use super::model::{Millis, ScoredAgent, Segment, Session, Text};
use super::org::User;
use super::scene::{Scene, said, segment};

/// How a leg ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The customer or the agent hangs up.
    HangUp,
    /// Blind transfer to another queue.
    Blind,
    /// Transfer after a consultation.
    Consult,
}

/// How an agent handles a conversation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Handling {
    pub(crate) purpose: &'static str,
    /// What the customer waited; nothing on an outbound leg, which contacts and dials instead.
    pub(crate) answered_after: Option<i64>,
    /// Mean of one stretch of talk, in milliseconds.
    pub(crate) talk: i64,
    /// Most holds between two stretches of talk.
    pub(crate) holds: i64,
    /// Mean of one hold.
    pub(crate) hold: i64,
    /// Mean of the work afterwards.
    pub(crate) wrap_up: i64,
    pub(crate) leaving: Leaving,
}

impl Handling {
    /// An ordinary inbound call.
    pub(crate) fn call(answered_after: i64, leaving: Leaving) -> Handling {
        Handling {
            purpose: "agent",
            answered_after: Some(answered_after),
            talk: 2 * MINUTE,
            holds: 3,
            hold: 40 * SECOND,
            wrap_up: 35 * SECOND,
            leaving,
        }
    }
}

impl Scene<'_> {
    /// Tells a leg; afterwards it is the end of the talk, while the wrap-up goes on behind.
    pub(crate) fn agent(&mut self, how: Handling) {
        let user = self.dice.pick(&self.org.users);
        let mut session = self.session();
        session.requested_routings = vec![Text::Borrowed("Standard")];
        session.used_routing = said("Standard");
        session.selected_agent_id = Some(user.id.clone());
        let mut handled = match how.answered_after {
            Some(wait) => {
                self.alert(&mut session, wait);
                0
            }
            None => self.dial(&mut session),
        };
        handled += self.talk(&mut session, how);
        handled += self.wrap_up(&mut session, how);
        let done = session.end().unwrap_or(self.at);
        session.emit(done, "tHandle", handled);
        if matches!(session.media_type.as_deref(), Some("message" | "chat")) {
            session.emit(self.at, "tAgentResponseTime", handled.max(1));
            session.emit(self.at, "oMessageTurn", self.dice.between(1, 30));
        }
        self.hear(&mut session);
        self.join_user(how.purpose, user, session);
    }

    /// An agent who is offered the conversation and does not answer.
    pub(crate) fn no_answer(&mut self) {
        let user = self.dice.pick(&self.org.users);
        let mut session = self.session();
        let (from, rang) = (self.at, self.pass(9 * SECOND));
        session.emit(self.at, "nError", 1);
        session.emit(self.at, "tAlert", rang);
        session.emit(self.at, "tNotResponding", rang);
        let alert = Segment {
            disconnect_type: said("system"),
            error_code: said("error.ininedgecontrol.connection.endpoint.notAnswering"),
            sip_response_codes: vec![480],
            ..self.queued("alert", from, self.at)
        };
        session.segments.push(alert);
        self.join_user("agent", user, session);
    }

    /// A supervisor who listens in on the talk that has just ended.
    pub(crate) fn supervise(&mut self, began: Millis) {
        let user = self.dice.pick(&self.org.users);
        let watched = self.conversation.participants.last().and_then(|p| p.participant_id.clone());
        let agent = self.conversation.participants.last().and_then(|p| p.user_id.clone());
        let mut session = self.session();
        let from = Millis(self.dice.between(began.0, self.at.0 - 1));
        let length = self.at.0 - from.0;
        let (activity, metrics): (_, &[&'static str]) = match self.dice.between(0, 3) {
            0 => {
                session.coached_participant_id = watched;
                ("coaching", &["tCoaching", "tCoachingComplete"])
            }
            1 => {
                session.barged_participant_id = watched;
                ("barging", &["tBarging"])
            }
            2 => {
                session.screen_monitored_user_id = agent;
                session.media_type = said("screenmonitoring");
                ("screenmonitoring", &["tScreenMonitoring"])
            }
            _ => {
                session.monitored_participant_id = watched;
                ("monitoring", &["tMonitoring", "tMonitoringComplete"])
            }
        };
        for name in metrics {
            session.emit(self.at, name, length);
        }
        session.segments.push(Segment { disconnect_type: said("client"), ..segment(activity, from, self.at) });
        self.join_user("user", user, session);
    }

    fn join_user(&mut self, purpose: &'static str, user: User, session: Session) {
        let name = self.dice.chance(0.3).then(|| user.name.clone());
        self.join(purpose, name, vec![session]);
        if let Some(participant) = self.conversation.participants.last_mut() {
            participant.user_id = Some(user.id);
            participant.team_id = Some(user.team);
        }
    }

    fn alert(&mut self, session: &mut Session, waited: i64) {
        let (from, rang) = (self.at, self.pass(3 * SECOND));
        session.emit(self.at, "tAlert", rang);
        // A callback is offered, not answered: recordings have no tAnswered on it.
        if session.media_type.as_deref() != Some("callback") {
            session.emit(self.at, "tAnswered", waited);
        }
        session.segments.push(self.queued("alert", from, self.at));
    }

    fn dial(&mut self, session: &mut Session) -> i64 {
        let (from, contacting) = (self.at, self.pass(SECOND));
        session.emit(self.at, "tContacting", contacting);
        session.segments.push(segment("contacting", from, self.at));
        let (from, dialing) = (self.at, self.pass(6 * SECOND));
        session.emit(self.at, "tDialing", dialing);
        session.segments.push(segment("dialing", from, self.at));
        contacting + dialing
    }

    fn talk(&mut self, session: &mut Session, how: Handling) -> i64 {
        let holds = self.dice.between(0, how.holds);
        let (mut talked, mut held) = (0, 0);
        for stretch in 0..=holds {
            let (from, span) = (self.at, self.pass(how.talk));
            talked += span;
            session.emit(self.at, "tTalk", span);
            let mut talk = self.queued("interact", from, self.at);
            if stretch < holds {
                session.segments.push(talk);
                let (from, span) = (self.at, self.pass(how.hold));
                held += span;
                session.emit(self.at, "tHeld", span);
                session.segments.push(self.queued("hold", from, self.at));
            } else {
                talk.disconnect_type = self.leave(session, how.leaving);
                session.segments.push(talk);
            }
        }
        session.emit(self.at, "tTalkComplete", talked);
        if held > 0 {
            session.emit(self.at, "tHeldComplete", held);
        }
        talked + held
    }

    fn leave(&mut self, session: &mut Session, leaving: Leaving) -> Option<Text> {
        let names: &[&'static str] = match leaving {
            Leaving::HangUp => return Some(self.dice.word(&["client", "peer", "endpoint"])),
            Leaving::Blind => &["nBlindTransferred", "nTransferred"],
            Leaving::Consult => &["nConsult", "nConsultTransferred", "nTransferred"],
        };
        for name in names {
            session.emit(self.at, name, 1);
        }
        said(if leaving == Leaving::Consult { "consultTransfer" } else { "transfer" })
    }

    fn wrap_up(&mut self, session: &mut Session, how: Handling) -> i64 {
        let disconnect_type = session.segments.last().and_then(|s| s.disconnect_type.clone());
        if self.dice.chance(0.1) {
            session.acw_skipped = Some(true);
            return 0;
        }
        let acw = self.dice.span(how.wrap_up);
        let end = self.at.plus(acw);
        session.emit(end, "tAcw", acw);
        let forgotten = self.dice.chance(0.04);
        let code =
            if forgotten { Text::Borrowed("ININ-WRAP-UP-TIMEOUT") } else { self.dice.pick(&self.org.wrap_up_codes) };
        let wrap_up = Segment {
            disconnect_type,
            wrap_up_code: Some(code),
            wrap_up_note: self
                .dice
                .chance(0.15)
                .then(|| self.dice.word(&["Called back as agreed.", "Kunde zufrieden ✔", "Ver ticket"])),
            wrap_up_tags: if self.dice.chance(0.03) { vec![self.dice.word(&["vip", "follow-up"])] } else { Vec::new() },
            scored_agents: if self.dice.chance(0.05) { self.scored() } else { Vec::new() },
            ..self.queued("wrapup", self.at, end)
        };
        session.segments.push(wrap_up);
        acw
    }

    fn scored(&mut self) -> Vec<ScoredAgent> {
        (0..self.dice.between(1, 4))
            .map(|_| ScoredAgent {
                agent_score: Some(self.dice.between(0, 100)),
                scored_agent_id: Some(self.dice.pick(&self.org.users).id),
            })
            .collect()
    }
}
