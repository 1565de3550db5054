//! The world behind the API: an organisation and its conversations, a pure function of a seed, a UTC day and the
//! moment of looking. No clock, no state.
//!
//! What recordings show holds here: nothing is null, keys stand in the recorded order, metrics live on the
//! participant they describe and are ordered by emission, `Σ tTalk = tTalkComplete`, callbacks last for weeks and
//! their milliseconds exceed 32 bits, a queue's waiting is an `interact` segment, and a conversation shows at any
//! moment only what had been emitted by then.

mod agent;
mod birth;
mod decorate;
mod dice;
mod digital;
mod directory;
mod model;
mod org;
mod quality;
mod scene;
#[cfg(test)]
mod tests;
mod tutorial;
mod ugly;
mod view;
mod voice;

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

pub(crate) use birth::{Birth, DAY, LIFE_DAYS_MAX};
pub(crate) use dice::{Dice, Stream};
pub(crate) use model::{Conversation, Millis, Participant, Segment, Session};
pub(crate) use tutorial::{cursor_record, knows_duration, knows_rate, page_record};
pub use ugly::Ugly;

use crate::time::{Day, Timestamp};
use birth::{Scenario, births, day_number};
use org::Organisation;

/// 2020-01-01, the world's first day.
pub(crate) const BEGINNING: Millis = Millis(18_262 * DAY);

/// What the world is like. The same settings give the same world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorldSettings {
    /// What everything is derived from.
    pub seed: u64,
    /// Conversations that start on each UTC day from 2020-01-01.
    pub conversations_per_day: u32,
    /// Some callbacks, e-mails and messages stay open for days and weeks (at most 60 days), a few for ever.
    pub long_lived: bool,
    /// 6 % of the conversations change 1 to 3 days after their start, some after 10 to 20: a wrap-up, an
    /// evaluation, a survey or a resolution is added, or the conversation is opened again, some of them after 25 to 55.
    pub late_changes: bool,
    /// 0.5 % of the conversations vanish 2 to 12 days after their start.
    pub deletions: bool,
    /// One record in 40 is [`Ugly`].
    pub ugly: bool,
    /// Conversations are nothing but ids, start and end, at a fraction of the cost: a world for large numbers.
    pub brief: bool,
}

impl Default for WorldSettings {
    fn default() -> Self {
        WorldSettings {
            seed: 1,
            conversations_per_day: 1_000,
            long_lived: true,
            late_changes: true,
            deletions: false,
            ugly: false,
            brief: false,
        }
    }
}

/// An organisation with its conversations.
#[derive(Clone, Debug)]
pub struct World {
    settings: WorldSettings,
    org: Organisation,
}

/// One conversation as the API would send it.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its true id, whatever the record says.
    pub id: String,
    /// Its true start, whatever the record says.
    pub start: Timestamp,
    /// What is wrong with it.
    pub ugly: Option<Ugly>,
    /// Its bytes, with participant attributes; JSON unless [`Self::ugly`] says otherwise.
    pub json: Bytes,
}

impl World {
    /// The world of these settings.
    pub fn new(settings: WorldSettings) -> World {
        World { org: Organisation::new(settings.seed), settings }
    }

    /// What it was made of.
    pub fn settings(&self) -> &WorldSettings {
        &self.settings
    }

    /// The organisation's id.
    pub fn organization_id(&self) -> &str {
        &self.org.id
    }

    /// The organisation's name.
    pub fn organization_name(&self) -> &str {
        &self.org.name
    }

    /// The ids of its queues.
    pub fn queue_ids(&self) -> impl Iterator<Item = &str> {
        self.org.queues.iter().map(|queue| queue.id.as_ref())
    }

    /// The ids of its users.
    pub fn user_ids(&self) -> impl Iterator<Item = &str> {
        self.org.users.iter().map(|user| user.id.as_ref())
    }

    /// The ids of its skills.
    pub fn skill_ids(&self) -> impl Iterator<Item = &str> {
        self.org.skills.iter().map(|skill| skill.as_ref())
    }

    /// Every conversation that started on `day`, as it looked at `as_of`, by start and id. This is the truth that an
    /// export by jobs is compared with.
    pub fn conversations(&self, day: Day, as_of: Timestamp) -> Vec<Record> {
        let as_of = Millis::of(as_of);
        let visible = self.births(day).into_iter().filter(|birth| birth.visible(as_of));
        visible
            .map(|birth| Record {
                id: birth.id.to_string(),
                start: birth.start.timestamp(),
                ugly: birth.ugly,
                json: self.version(&birth, as_of).full().clone(),
            })
            .collect()
    }

    /// The beginnings of a day's conversations, in the API's order; none before 2020.
    pub(crate) fn births(&self, day: Day) -> Vec<Birth> {
        if Millis::of(day.start()) < BEGINNING { Vec::new() } else { births(&self.settings, day) }
    }

    /// How the conversation looks at `as_of`.
    pub(crate) fn version(&self, birth: &Birth, as_of: Millis) -> Version {
        let mut story = self.tell(birth);
        // An orphan is one that stays for ever in the moment before somebody would have dealt with it.
        let frozen = birth.orphan.then(|| birth.start.plus(birth.linger - 1));
        let seen = frozen.map_or(as_of, |frozen| frozen.min(as_of));
        let mut valid = i64::MIN..i64::MAX;
        if let Some((at, change)) = birth.late {
            if at <= as_of {
                let mut dice =
                    Dice::new(self.settings.seed, Stream::Change, day_number(birth.day), birth.number.into());
                quality::apply(&mut story, change, at, &self.org, &mut dice);
                valid.start = at.0;
            } else {
                valid.end = at.0;
            }
        }
        let still = view::unchanged(&story, seen);
        valid.start = valid.start.max(still.start);
        // What lies behind the freezing never comes.
        if frozen.is_none_or(|frozen| still.end <= frozen.0) {
            valid.end = valid.end.min(still.end);
        }
        Version {
            conversation: view::at(story, seen),
            valid,
            ugly: birth.ugly,
            full: OnceLock::new(),
            plain: OnceLock::new(),
        }
    }

    /// The whole story, without late changes.
    fn tell(&self, birth: &Birth) -> Conversation {
        if self.settings.brief {
            let (start, id) = (Some(birth.start), Some(birth.id.clone()));
            let conversation_end = Some(birth.start.plus(birth.linger));
            return Conversation {
                conversation_id: id,
                conversation_start: start,
                conversation_end,
                ..Default::default()
            };
        }
        let mut scene = scene::Scene::new(self.settings.seed, &self.org, birth);
        match birth.scenario {
            Scenario::InboundCall => scene.inbound_call(),
            Scenario::OutboundCall => scene.outbound_call(),
            Scenario::Campaign => scene.campaign(),
            Scenario::Callback => scene.callback(),
            Scenario::Message => scene.message(),
            Scenario::Chat => scene.chat(),
            Scenario::Email => scene.email(),
            Scenario::Internal => scene.internal(),
        }
        let (mut conversation, mut dice) = (scene.conversation, scene.dice);
        conversation.conversation_end = ended(&conversation);
        decorate::decorate(&mut conversation, &self.org, &mut dice);
        let mut dice = Dice::new(self.settings.seed, Stream::Attributes, day_number(birth.day), birth.number.into());
        decorate::attributes(&mut conversation, &mut dice);
        conversation
    }
}

/// A conversation ends when the last party leaves; the wrap-up goes on behind it.
fn ended(conversation: &Conversation) -> Option<Millis> {
    let segments = conversation.sessions().flat_map(|(_, session)| &session.segments);
    segments.filter(|s| s.segment_type.as_deref() != Some("wrapup")).filter_map(|s| s.segment_end).max()
}

/// A conversation as it looked for a while.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) conversation: Conversation,
    /// When it looked like that, in milliseconds.
    pub(crate) valid: Range<i64>,
    ugly: Option<Ugly>,
    full: OnceLock<Bytes>,
    plain: OnceLock<Bytes>,
}

impl Version {
    /// Its JSON as jobs return it.
    pub(crate) fn full(&self) -> &Bytes {
        self.full.get_or_init(|| self.rendered(&self.conversation))
    }

    /// Its JSON as the query returns it: without participant attributes.
    pub(crate) fn plain(&self) -> &Bytes {
        self.plain.get_or_init(|| {
            let mut conversation = self.conversation.clone();
            conversation.participants.iter_mut().for_each(|participant| participant.attributes.0.clear());
            self.rendered(&conversation)
        })
    }

    /// Another record of this conversation, as ugly as the conversation is.
    pub(crate) fn rendered(&self, record: &impl serde::Serialize) -> Bytes {
        // Strings, integers and finite numbers: writing them does not fail.
        let json = serde_json::to_vec(record).unwrap_or_default();
        Bytes::from(match self.ugly {
            Some(ugly) => ugly.spoil(json),
            None => json,
        })
    }
}
