//! Everything that is not a call: messages, chats, e-mails, callbacks and what agents do among themselves.

use super::agent::{Handling, Leaving};
use super::birth::{HOUR, MINUTE, SECOND};
use super::model::{Segment, Session, Text};
use super::scene::{Scene, said, segment};

impl Scene<'_> {
    fn digital(&mut self, media: &'static str, provider: &'static str) {
        let (from, to) = (self.dice.uuid(), self.dice.uuid());
        self.channel = Session {
            address_from: Some(from),
            address_to: Some(to),
            direction: said("inbound"),
            media_type: said(media),
            provider: said(provider),
            remote: Some(Text::Owned(format!("guest {}", self.dice.digits(5)))),
            ..Default::default()
        };
        self.conversation.originating_direction = said("inbound");
    }

    /// Messaging: a bot or a workflow, a queue, an agent who talks and waits in turns.
    pub(crate) fn message(&mut self) {
        self.digital("message", "PureCloud Messaging");
        let kind = self.dice.word(&["webmessaging", "sms", "whatsapp", "facebook", "open"]);
        self.channel.message_type = Some(kind.clone());
        if kind == "open" {
            self.channel.engagement_source = Some(self.dice.word(&["Discord", "WeChat", "KakaoTalk"]));
        }
        self.conversation.conversation_initiator = said("customer");
        self.conversation.customer_participation = Some(true);
        self.conversation.originating_social_media_public = (kind == "facebook").then_some(self.dice.chance(0.5));
        let bot = self.dice.chance(0.5);
        let served = bot && self.birth.linger == 0 && self.dice.chance(0.3);
        if bot {
            self.automaton("botflow", "DIGITALBOT", MINUTE, !served);
        } else {
            self.automaton("workflow", "INBOUNDSHORTMESSAGE", 500, true);
        }
        self.conversation.self_served = Some(served);
        if !served && let Some(waited) = self.acd(20 * SECOND, if bot { "botflow" } else { "workflow" }, 0.06) {
            let turns =
                Handling { holds: 14, talk: 90 * SECOND, hold: 2 * MINUTE, ..Handling::call(waited, Leaving::HangUp) };
            self.agent(turns);
        }
        let mut customer = self.customer_session(self.birth.start, "peer");
        if kind == "webmessaging" {
            customer.journey_customer_id = Some(self.dice.uuid());
            customer.journey_customer_id_type = said("cookie");
            customer.journey_customer_session_id = Some(self.dice.uuid());
            customer.journey_customer_session_id_type = said("web");
        }
        self.open_with_customer("customer", vec![customer]);
    }

    /// The older web chat.
    pub(crate) fn chat(&mut self) {
        self.digital("chat", "Webchat Provider");
        self.channel.room_id = Some(self.dice.uuid());
        let disconnect = self.written(30 * SECOND, 2, 3 * MINUTE, 0.1);
        let customer = self.customer_session(self.birth.start, disconnect);
        self.open_with_customer("customer", vec![customer]);
    }

    /// E-mail: hours in a queue, minutes of work, sometimes parked in between.
    pub(crate) fn email(&mut self) {
        self.digital("email", "PureCloud Email");
        self.channel.address_self = said("service@example.com");
        self.channel.address_other = Some(Text::Owned(format!("customer{}@example.org", self.dice.digits(6))));
        let subject =
            self.dice.word(&["Invoice 4711", "Re: Re: contract", "Änderung der Anschrift", "urgent!!! \"help\""]);
        if self.dice.chance(0.3) {
            self.channel.cc = vec![said("copy@example.org").unwrap_or_default()];
        }
        self.automaton("workflow", "INBOUNDEMAIL", 800, true);
        let disconnect = self.written(HOUR, 1, 4 * MINUTE, 0.0);
        let mut customer = self.customer_session(self.birth.start, disconnect);
        for segment in &mut customer.segments {
            segment.subject = Some(subject.clone());
        }
        self.open_with_customer("customer", vec![customer]);
    }

    fn written(&mut self, wait: i64, holds: i64, talk: i64, abandon: f64) -> &'static str {
        let Some(waited) = self.acd(wait, "workflow", abandon) else { return "client" };
        self.agent(Handling { holds, talk, hold: MINUTE, ..Handling::call(waited, Leaving::HangUp) });
        self.dice.pick(&["peer", "client", "timeout"])
    }

    /// The caller asks to be called back; the conversation then waits as a callback, for minutes or for weeks.
    pub(crate) fn callback(&mut self) {
        self.phone("inbound");
        self.automaton("ivr", "INBOUNDCALL", 40 * SECOND, true);
        if let Some(flow) = self.last_flow() {
            flow.issued_callback = Some(true);
            flow.transfer_type = said("ACD_VOICEMAIL");
        }
        self.voicemail();
        let call = self.customer_session(self.birth.start, "endpoint");
        let (from, number) = (self.at, self.dice.phone());
        self.channel = Session {
            callback_numbers: vec![number],
            callback_user_name: Some(Text::Owned(format!("Caller {}", self.dice.digits(4)))),
            direction: said("outbound"),
            media_type: said("callback"),
            provider: said("PureCloud Callback"),
            skip_enabled: Some(true),
            timeout_seconds: Some(0),
            ..Default::default()
        };
        if self.dice.chance(0.3) {
            self.channel.callback_scheduled_time = Some(from.plus(self.birth.linger.max(HOUR)));
        }
        self.pass(SECOND);
        let uploaded = self.at;
        if let Some(waited) = self.acd(20 * MINUTE, "voicemail", 0.05) {
            self.agent(Handling { holds: 0, ..Handling::call(waited, Leaving::HangUp) });
        }
        let mut waiting = self.session();
        waiting.emit(uploaded, "nConnected", 1);
        waiting.emit(self.at, "tConnected", self.at.0 - uploaded.0);
        waiting.segments.push(self.queued("uploading", from, uploaded));
        waiting
            .segments
            .push(Segment { disconnect_type: said("client"), ..self.queued("interact", uploaded, self.at) });
        self.open_with_customer("customer", vec![call, waiting]);
    }

    /// Between colleagues: video with a shared screen, co-browsing, internal messages.
    pub(crate) fn internal(&mut self) {
        let kind = self.dice.pick(&["video", "screenshare", "cobrowse", "internalmessage"]);
        self.digital(kind, "PureCloud");
        self.conversation.originating_direction = said("outbound");
        let room = self.dice.uuid();
        self.pass(8 * MINUTE);
        for purpose in ["user", "agent"] {
            let user = self.dice.pick(&self.org.users);
            let mut session = self.session();
            match kind {
                "video" => {
                    session.video_room_id = Some(room.clone());
                    session.video_address_self = Some(self.dice.uuid());
                    session.emit(self.at, "tAgentVideoConnected", self.at.0 - self.birth.start.0);
                }
                "screenshare" => {
                    session.screen_share_room_id = Some(room.clone());
                    session.screen_share_address_self = Some(self.dice.uuid());
                    session.sharing_screen = Some(purpose == "user");
                }
                "cobrowse" => {
                    session.cobrowse_room_id = Some(room.clone());
                    session.cobrowse_role = said(if purpose == "user" { "sharer" } else { "viewer" });
                    session.emit(self.birth.start, "nCobrowseSessions", 1);
                }
                _ => session.room_id = Some(room.clone()),
            }
            let activity = if kind == "screenshare" { "sharing" } else { "interact" };
            session.segments.push(Segment {
                audio_muted: (kind == "video").then_some(false),
                disconnect_type: said("peer"),
                group_id: Some(self.dice.pick(&self.org.groups)),
                video_muted: (kind == "video").then_some(self.dice.chance(0.5)),
                ..segment(activity, self.birth.start, self.at)
            });
            self.join(purpose, None, vec![session]);
            if let Some(participant) = self.conversation.participants.last_mut() {
                participant.user_id = Some(user.id);
            }
        }
    }

    fn last_flow(&mut self) -> Option<&mut super::model::Flow> {
        self.conversation.participants.last_mut()?.sessions.last_mut()?.flow.as_mut()
    }
}
