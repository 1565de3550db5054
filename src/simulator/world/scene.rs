//! The means of telling a story: a conversation under construction and the parties that recordings show.

use super::birth::{Birth, SECOND};
use super::dice::{Dice, Stream};
use super::model::{Conversation, Flow, MediaEndpointStat, Metric, Millis, Participant, Segment, Session, Text};
use super::org::{Organisation, Queue};

/// A conversation while it is told.
pub(crate) struct Scene<'a> {
    pub(crate) dice: Dice,
    pub(crate) org: &'a Organisation,
    pub(crate) birth: &'a Birth,
    /// How far the story has come.
    pub(crate) at: Millis,
    /// The queue that handles it.
    pub(crate) queue: Queue,
    /// What all sessions of the conversation have in common: medium, addresses, provider.
    pub(crate) channel: Session,
    /// The customer's session, which the others name as their peer.
    pub(crate) origin: Text,
    pub(crate) conversation: Conversation,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(seed: u64, org: &'a Organisation, birth: &'a Birth) -> Scene<'a> {
        let day = super::birth::day_number(birth.day);
        let mut dice = Dice::new(seed, Stream::Body, day, birth.number.into());
        let queue = dice.pick(&org.queues);
        let conversation = Conversation {
            conversation_id: Some(birth.id.clone()),
            conversation_start: Some(birth.start),
            division_ids: vec![queue.division.clone()],
            ..Default::default()
        };
        let origin = dice.uuid();
        Scene { dice, org, birth, at: birth.start, queue, channel: Session::default(), origin, conversation }
    }

    /// Lets time pass: exponential around `mean`; returns what passed.
    pub(crate) fn pass(&mut self, mean: i64) -> i64 {
        let span = self.dice.span(mean);
        self.at = self.at.plus(span);
        span
    }

    /// A session of the channel for anyone but the customer.
    pub(crate) fn session(&mut self) -> Session {
        Session {
            session_id: Some(self.dice.uuid()),
            peer_id: Some(self.origin.clone()),
            edge_id: self.voice().then(|| self.dice.pick(&self.org.edges)),
            protocol_call_id: self.voice().then(|| self.dice.uuid()),
            ..self.channel.clone()
        }
    }

    pub(crate) fn voice(&self) -> bool {
        self.channel.media_type.as_deref() == Some("voice")
    }

    /// Adds a participant that holds `sessions`.
    pub(crate) fn join(&mut self, purpose: &'static str, name: Option<Text>, sessions: Vec<Session>) {
        let participant = Participant {
            participant_id: Some(self.dice.uuid()),
            participant_name: name,
            purpose: Some(Text::Borrowed(purpose)),
            sessions,
            ..Default::default()
        };
        self.conversation.participants.push(participant);
    }

    /// A flow that began at `from` and is left now; `transfer` says whether into the queue.
    pub(crate) fn flow(&mut self, kind: &'static str, transfer: bool) -> Flow {
        let flow = self.dice.pick(&self.org.flows);
        let language = self.dice.word(&["en-us", "es-us", "pt-br", "de-de"]);
        let queue = transfer.then(|| self.queue.clone());
        Flow {
            ending_language: Some(language.clone()),
            entry_reason: self.channel.dnis.clone().or_else(|| self.channel.address_to.clone()),
            entry_type: Some(Text::Borrowed(if self.voice() { "dnis" } else { "direct" })),
            exit_reason: Some(Text::Borrowed(if transfer { "TRANSFER" } else { "DISCONNECT" })),
            flow_id: Some(flow.id),
            flow_name: Some(flow.name),
            flow_type: Some(Text::Borrowed(kind)),
            flow_version: Some(Text::Owned(format!("{}.0", self.dice.between(1, 180)))),
            starting_language: Some(language),
            transfer_target_address: queue.as_ref().map(|q| q.id.clone()),
            transfer_target_name: queue.map(|q| q.name),
            transfer_type: transfer.then_some(Text::Borrowed("ACD")),
            ..Default::default()
        }
    }

    /// A participant that runs a flow from now on for about `mean`; afterwards the queue takes over, or nobody.
    pub(crate) fn automaton(&mut self, purpose: &'static str, kind: &'static str, mean: i64, transfer: bool) {
        let from = self.at;
        let mut session = self.session();
        let entered = if self.voice() {
            session.segments.push(segment("system", from, from.plus(44)));
            from.plus(44)
        } else {
            from
        };
        self.pass(mean);
        let (to, length) = (self.at, self.at.0 - entered.0);
        session.flow = Some(self.flow(kind, transfer));
        session.emit(from.plus(5), "nFlow", 1);
        if purpose == "ivr" {
            session.emit(to, "tIvr", length);
        }
        session.emit(to, "tFlow", length);
        session.emit(to, if transfer { "tFlowExit" } else { "tFlowDisconnect" }, length);
        let activity = if self.voice() { "ivr" } else { "interact" };
        let left = if transfer { "transfer" } else { "peer" };
        session.segments.push(Segment { disconnect_type: said(left), ..segment(activity, entered, to) });
        self.hear(&mut session);
        let name = session.flow.as_ref().and_then(|f| f.flow_name.clone());
        self.join(purpose, name, vec![session]);
    }

    /// The queue: waits about `mean` and whatever the conversation lingers. Returns the wait, or nothing when the
    /// customer gave up.
    pub(crate) fn acd(&mut self, mean: i64, came_from: &'static str, abandon: f64) -> Option<i64> {
        let (entered, from) = (self.at, self.at.plus(30));
        let mut session = self.session();
        if self.voice() {
            session.segments.push(self.queued("delay", entered, from));
        }
        session.flow_in_type = Some(Text::Borrowed(came_from));
        session.requested_routings = vec![Text::Borrowed("Standard")];
        session.emit(from, "nOffered", 1);
        let wait = self.dice.span(mean) + self.birth.linger;
        let abandoned = self.birth.linger == 0 && self.dice.chance(abandon);
        self.at = from.plus(wait);
        session.emit(self.at, if abandoned { "tAbandon" } else { "tAcd" }, wait);
        if abandoned && wait < 10 * SECOND {
            session.emit(self.at, "tShortAbandon", wait);
        }
        let waiting = Segment {
            disconnect_type: said(if abandoned { "peer" } else { "transfer" }),
            requested_routing_skill_ids: vec![self.queue.skill.clone()],
            ..self.queued("interact", from, self.at)
        };
        session.segments.push(waiting);
        if !self.voice() && self.dice.chance(0.5) {
            let kind = if self.channel.media_type.as_deref() == Some("email") {
                "INQUEUEEMAIL"
            } else {
                "INQUEUESHORTMESSAGE"
            };
            session.flow = Some(Flow { exit_reason: None, ..self.flow(kind, false) });
        }
        self.hear(&mut session);
        let name = Some(self.queue.name.clone());
        self.join("acd", name, vec![session]);
        (!abandoned).then_some(wait)
    }

    /// A segment that belongs to the queue.
    pub(crate) fn queued(&self, kind: &'static str, from: Millis, to: Millis) -> Segment {
        Segment { queue_id: Some(self.queue.id.clone()), ..segment(kind, from, to) }
    }

    /// The customer's session from `from` to now, with `nConnected` and `tConnected` as recorded.
    pub(crate) fn customer_session(&mut self, from: Millis, disconnect: &'static str) -> Session {
        let mut session = self.session();
        session.session_id = Some(self.origin.clone());
        if self.voice() {
            // The recordings show this segment begin some milliseconds before the conversation does.
            session.segments.push(segment("system", from.plus(-13), from.plus(230)));
            session.peer_id = None;
            session.recording = Some(true);
        }
        let connected = if self.voice() { from.plus(230) } else { from };
        let to = self.at.max(connected.plus(1));
        session.emit(connected, "nConnected", 1);
        session.emit(to, "tConnected", to.0 - connected.0);
        session.segments.push(Segment { disconnect_type: said(disconnect), ..self.queued("interact", connected, to) });
        self.hear(&mut session);
        session
    }

    /// Puts the customer, who was there from the start, in front.
    pub(crate) fn open_with_customer(&mut self, purpose: &'static str, sessions: Vec<Session>) {
        let name = self.voice().then(|| Text::Owned(self.dice.digits(11)));
        self.join(purpose, name, sessions);
        if let Some(customer) = self.conversation.participants.last_mut() {
            customer.external_contact_id = Some(self.dice.uuid());
        }
        self.conversation.participants.rotate_right(1);
    }

    /// Audio quality, measured when a session ends.
    pub(crate) fn hear(&mut self, session: &mut Session) {
        let Some(end) = session.segments.iter().filter_map(|s| s.segment_end).max() else { return };
        if !self.voice() || self.dice.chance(0.25) {
            return;
        }
        let score = self.dice.real(3.4, 4.9);
        session.media_endpoint_stats.push(MediaEndpointStat {
            codecs: vec![self.dice.word(&["audio/opus", "audio/PCMU", "audio/PCMA"])],
            discarded_packets: self.dice.chance(0.2).then(|| self.dice.between(1, 90)),
            duplicate_packets: self.dice.chance(0.05).then(|| self.dice.between(1, 9)),
            event_time: Some(end.plus(self.dice.between(5, 120))),
            invalid_packets: self.dice.chance(0.05).then(|| self.dice.between(1, 9)),
            max_latency_ms: Some(self.dice.between(20, 400)),
            min_mos: Some(score),
            min_r_factor: Some(score * 18.8),
            overrun_packets: self.dice.chance(0.05).then(|| self.dice.between(1, 9)),
            received_packets: Some(self.dice.between(50, 40_000)),
            underrun_packets: self.dice.chance(0.05).then(|| self.dice.between(1, 9)),
        });
    }
}

impl Session {
    /// Emits a metric.
    pub(crate) fn emit(&mut self, at: Millis, name: &'static str, value: i64) {
        self.metrics.push(Metric { emit_date: Some(at), name: Some(Text::Borrowed(name)), value: Some(value) });
    }

    /// When its first segment begins.
    pub(crate) fn start(&self) -> Option<Millis> {
        self.segments.iter().filter_map(|s| s.segment_start).min()
    }

    /// When its last segment ends.
    pub(crate) fn end(&self) -> Option<Millis> {
        self.segments.iter().filter_map(|s| s.segment_end).max()
    }
}

/// A segment of one activity.
pub(crate) fn segment(kind: &'static str, from: Millis, to: Millis) -> Segment {
    Segment {
        conference: Some(false),
        segment_start: Some(from),
        segment_end: Some(to),
        segment_type: said(kind),
        ..Default::default()
    }
}

/// A constant on the wire.
pub(crate) fn said(word: &'static str) -> Option<Text> {
    Some(Text::Borrowed(word))
}
