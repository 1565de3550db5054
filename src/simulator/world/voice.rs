//! Calls: inbound through a menu and a queue, outbound by hand, outbound by a campaign.

use super::agent::{Handling, Leaving};
use super::birth::{MINUTE, SECOND};
use super::model::{Millis, Segment, Session, Text};
use super::scene::{Scene, said, segment};

impl Scene<'_> {
    /// The channel of a call.
    pub(crate) fn phone(&mut self, direction: &'static str) {
        let (customer, ours) = (self.dice.phone(), self.dice.phone());
        let (ani, dnis) = if direction == "inbound" { (customer, ours) } else { (ours, customer) };
        self.channel = Session {
            ani: Some(ani),
            direction: said(direction),
            media_type: said("voice"),
            provider: said("Edge"),
            remote_name_displayable: Some(Text::Owned(self.dice.digits(11))),
            session_dnis: Some(dnis.clone()),
            dnis: Some(dnis),
            ..Default::default()
        };
        self.conversation.originating_direction = said(direction);
    }

    /// Menu, queue, agents; the caller may leave at each of them.
    pub(crate) fn inbound_call(&mut self) {
        self.phone("inbound");
        self.at = self.at.plus(230);
        let ending = self.dice.real(0.0, 1.0);
        let self_served = ending < 0.08;
        self.automaton("ivr", "INBOUNDCALL", 45 * SECOND, !self_served);
        self.conversation.self_served = Some(self_served);
        let disconnect = if self_served {
            "client"
        } else if ending < 0.12 {
            self.voicemail();
            "client"
        } else {
            self.through_queue(40 * SECOND, "ivr", 0.07)
        };
        let mut customer = self.customer_session(self.birth.start, disconnect);
        if let Some(last) = customer.segments.last_mut() {
            last.q850_response_codes = vec![16];
        }
        self.open_with_customer("customer", vec![customer]);
    }

    /// A queue and the agents after it; says how the customer's side was disconnected.
    pub(crate) fn through_queue(&mut self, wait: i64, came_from: &'static str, abandon: f64) -> &'static str {
        let Some(waited) = self.acd(wait, came_from, abandon) else { return "client" };
        if self.dice.chance(0.06) {
            self.no_answer();
        }
        let transfer = match self.dice.between(0, 99) {
            0..=8 => Leaving::Blind,
            9..=14 => Leaving::Consult,
            _ => Leaving::HangUp,
        };
        let began = self.at;
        self.agent(Handling::call(waited, transfer));
        if self.dice.chance(0.03) {
            self.supervise(began);
        }
        if transfer != Leaving::HangUp {
            self.queue = self.dice.pick(&self.org.queues);
            if let Some(waited) = self.acd(25 * SECOND, "agent", 0.05) {
                self.agent(Handling::call(waited, Leaving::HangUp));
            }
        } else if self.dice.chance(0.04) {
            self.conference(began);
        } else if self.dice.chance(0.05) {
            self.automaton("voicesurveyflow", "VOICESURVEY", 30 * SECOND, false);
        }
        self.dice.pick(&["client", "peer", "endpoint"])
    }

    /// A message is left instead of waiting.
    pub(crate) fn voicemail(&mut self) {
        let from = self.at;
        let mut session = self.session();
        let length = self.pass(25 * SECOND);
        session.emit(self.at, "tVoicemail", length);
        session.segments.push(Segment { disconnect_type: said("peer"), ..self.queued("voicemail", from, self.at) });
        self.hear(&mut session);
        let queue = Some(self.queue.id.clone());
        self.join("voicemail", queue, vec![session]);
    }

    /// Somebody outside is brought in while the talk goes on.
    fn conference(&mut self, began: Millis) {
        let from = Millis(self.dice.between(began.0, self.at.0 - 1));
        self.conversation.conference_start = Some(from);
        let mut session = self.session();
        session.direction = said("outbound");
        session.media_bridge_id = Some(self.dice.uuid());
        session.destination_addresses = vec![self.dice.phone()];
        session.emit(from, "nConnected", 1);
        session.emit(self.at, "tConnected", self.at.0 - from.0);
        session.segments.push(Segment {
            conference: Some(true),
            destination_conversation_id: Some(self.dice.uuid()),
            destination_session_id: Some(self.dice.uuid()),
            disconnect_type: said("conferenceTransfer"),
            source_conversation_id: Some(self.birth.id.clone()),
            source_session_id: Some(self.origin.clone()),
            ..segment("interact", from, self.at)
        });
        self.join("external", Some(Text::Borrowed("Translation Service")), vec![session]);
    }

    /// An agent dials by hand.
    pub(crate) fn outbound_call(&mut self) {
        self.phone("outbound");
        let purpose = if self.dice.chance(0.5) { "user" } else { "agent" };
        self.agent(Handling { purpose, answered_after: None, ..Handling::call(0, Leaving::HangUp) });
        let customer = self.customer_session(self.birth.start, "peer");
        let purpose = if self.dice.chance(0.2) { "external" } else { "customer" };
        self.open_with_customer(purpose, vec![customer]);
        // Here the agent was first.
        self.conversation.participants.rotate_left(1);
    }

    /// A dialer reaches somebody, or an answering machine.
    pub(crate) fn campaign(&mut self) {
        self.phone("outbound");
        let campaign = self.dice.pick(&self.org.campaigns);
        self.channel.outbound_campaign_id = Some(campaign.id);
        self.channel.outbound_contact_id = Some(self.dice.uuid());
        self.channel.outbound_contact_list_id = Some(self.dice.uuid());
        let machine = self.dice.chance(0.35);
        self.channel.disposition_analyzer = said(if machine { "speech.machine" } else { "speech.person" });
        self.channel.disposition_name = said(if machine {
            "disposition.classification.callable.machine"
        } else {
            "disposition.classification.callable.person"
        });
        let from = self.at;
        self.pass(12 * SECOND);
        let mut dialer = self.session();
        dialer.emit(from, "nOutboundAttempted", 1);
        if !machine {
            dialer.emit(self.at, "nOutboundConnected", 1);
        }
        dialer.segments.push(Segment { disconnect_type: said("transfer"), ..segment("dialing", from, self.at) });
        let purpose = self.dice.pick(&["dialer", "outbound", "campaign"]);
        self.join(purpose, Some(campaign.name), vec![dialer]);
        if machine {
            self.automaton("ivr", "OUTBOUNDCALL", 20 * SECOND, false);
        } else if let Some(waited) = self.acd(4 * SECOND, "dialer", 0.05) {
            self.agent(Handling { talk: 3 * MINUTE, ..Handling::call(waited, Leaving::HangUp) });
        }
        let customer = self.customer_session(self.birth.start, "peer");
        self.open_with_customer("customer", vec![customer]);
        self.conversation.conversation_initiator = said("dialer");
    }
}
