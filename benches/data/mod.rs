//! Made-up conversation details with the statistics of a busy contact centre: 13 kB of JSON a conversation, 3.7
//! participants, 5.9 sessions, 26 segments, 34 metrics; most of them during the day. The same seed and size are the same bytes.
//!
//! Unlike the simulator's world, which is as varied as the API, this is as *fast* as can be: gigabytes of it are made
//! while they are read.

mod dice;
mod json;
mod session;
mod words;

use dice::Dice;
use json::Json;
use words::{DIRECTIONS, JOURNEYS, MEDIA, NAMES, Pools, some_of};

/// 2026-05-01T00:00:00Z in milliseconds since the Unix epoch: the first day.
pub(crate) const FIRST_DAY_MS: i64 = 1_777_593_600_000;
const DAY_MS: i64 = 86_400_000;
/// Conversations on a page, as the API's query has them at most.
pub(crate) const PAGE: usize = 100;

/// In which order conversations come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they started.
    Time,
    /// The same conversations, anyhow.
    Random,
}

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) conversations: usize,
    pub(crate) days: usize,
    pub(crate) order: Order,
    pub(crate) seed: u64,
}

/// Makes conversations one after the other.
pub(crate) struct Conversations {
    dice: Dice,
    pools: Pools,
    starts: std::vec::IntoIter<(u64, i64)>,
    total: usize,
    json: Json,
    /// Of the participants, sessions and segments that are being made, because what follows from them stands before.
    drafts: [Json; 3],
}

impl Conversations {
    pub(crate) fn new(shape: Shape) -> Conversations {
        let mut dice = Dice::new(shape.seed);
        let mut starts = Vec::with_capacity(shape.conversations);
        for day in 0..shape.days {
            let from = shape.conversations * day / shape.days;
            let to = shape.conversations * (day + 1) / shape.days;
            let hour = |_| (dice.normal(0.58, 0.14).clamp(0.0, 0.999_9) * DAY_MS as f64) as i64;
            starts.extend((from..to).map(hour).map(|ms| FIRST_DAY_MS + day as i64 * DAY_MS + ms));
        }
        starts.sort_unstable();
        let mut starts: Vec<(u64, i64)> = (0..).zip(starts).collect();
        if shape.order == Order::Random {
            dice.shuffle(&mut starts);
        }
        let pools = Pools::new(&mut Dice::new(0));
        let total = starts.len();
        Conversations {
            dice,
            pools,
            starts: starts.into_iter(),
            total,
            json: Json::default(),
            drafts: Default::default(),
        }
    }

    /// How many there are.
    /// Appends the next one.
    pub(crate) fn append(&mut self, to: &mut Vec<u8>) -> bool {
        let Some((ordinal, start)) = self.starts.next() else { return false };
        self.dice.turn_to(ordinal);
        self.json.bytes.clear();
        self.conversation(start);
        to.extend_from_slice(&self.json.bytes[..self.json.bytes.len() - 1]);
        true
    }

    /// Appends the next page, as the API's query answers.
    pub(crate) fn append_page(&mut self, to: &mut Vec<u8>) -> bool {
        if self.starts.len() == 0 {
            return false;
        }
        to.extend_from_slice(b"{\"conversations\":[");
        for place in 0..PAGE.min(self.starts.len()) {
            if place > 0 {
                to.push(b',');
            }
            self.append(to);
        }
        to.extend_from_slice(format!("],\"totalHits\":{}}}", self.total).as_bytes());
        true
    }

    fn conversation(&mut self, start: i64) {
        let Conversations { dice, pools, json, drafts: [people, calls, segments], .. } = self;
        let media = dice.pick(&MEDIA);
        let direction = DIRECTIONS[usize::from(dice.chance(20))];
        let ani = format!("tel:+1{}", dice.between(2_010_000_000, 9_899_999_999));
        let dnis = format!("tel:+1800555{:04}", dice.between(100, 160));
        let mut now = start;
        people.bytes.clear();
        for purpose in std::iter::once(&"customer").chain(JOURNEYS[dice.place(&JOURNEYS)]) {
            calls.bytes.clear();
            let mut end = now;
            for _ in 0..[1, 1, 1, 2, 3][dice.between(0, 4) as usize] {
                let call = session::Call { purpose, media, direction, ani: &ani, dnis: &dnis, start: now };
                end = session::write(calls, segments, dice, pools, call);
            }
            now = end;
            participant(people, dice, pools, purpose, &calls.bytes);
        }
        json.open(b'{');
        json.keyed_time("conversationEnd", now);
        json.keyed_id("conversationId", dice);
        json.keyed_time("conversationStart", start);
        let divisions = some_of(&pools.divisions, dice);
        json.keyed_list("divisionIds", divisions);
        json.keyed("originatingDirection", direction);
        json.keyed_items("participants", &people.bytes);
        if media == "voice" {
            json.keyed_double("mediaStatsMinConversationMos", 3.0 + dice.fraction() * 1.88, 14);
            json.keyed_double("mediaStatsMinConversationRFactor", 70.0 + dice.fraction() * 22.0, 12);
        }
        if dice.chance(10) {
            json.keyed("externalTag", &format!("case-{}", dice.between(1, 531_441)));
        }
        if dice.chance(8) {
            evaluation(json, dice, pools, now);
        }
        json.close(b'}');
    }
}

fn participant(json: &mut Json, dice: &mut Dice, pools: &Pools, purpose: &str, sessions: &[u8]) {
    json.open(b'{');
    json.keyed_id("participantId", dice);
    json.keyed("participantName", dice.pick(&NAMES));
    json.keyed("purpose", purpose);
    if purpose == "agent" {
        json.keyed("userId", dice.pick(&pools.users));
        json.keyed("teamId", dice.pick(&pools.teams));
    }
    if purpose == "customer" {
        if dice.chance(50) {
            json.keyed_id("externalContactId", dice);
        }
        json.key("attributes");
        json.open(b'{');
        json.keyed("context.customerTier", dice.pick(&["gold", "silver", "bronze"]));
        json.keyed("ivr.Choice", &dice.between(0, 9).to_string());
        json.keyed("crm.caseId", &dice.between(1_000_000, 10_000_000).to_string());
        json.keyed("survey_opt", "true");
        json.close(b'}');
    }
    json.keyed_items("sessions", sessions);
    json.close(b'}');
}

fn evaluation(json: &mut Json, dice: &mut Dice, pools: &Pools, at: i64) {
    json.key("evaluations");
    json.open(b'[');
    json.open(b'{');
    json.keyed_id("evaluationId", dice);
    json.keyed("evaluatorId", dice.pick(&pools.users));
    json.keyed("userId", dice.pick(&pools.users));
    json.keyed("formId", dice.pick(&pools.forms));
    json.keyed("formName", "QA form");
    json.keyed("queueId", dice.pick(&pools.queues));
    json.keyed_bool("released", true);
    json.keyed_number("oTotalScore", dice.between(0, 100));
    json.keyed_number("oTotalCriticalScore", dice.between(0, 100));
    json.keyed_time("eventTime", at);
    json.close(b'}');
    json.close(b']');
}
