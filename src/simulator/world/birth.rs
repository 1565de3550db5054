//! What is decided about a conversation before its story is told: enough to count a day, to order it and to
//! know whether a conversation can still be alive weeks later, at a hundredth of the cost.

use super::WorldSettings;
use super::dice::{Dice, Stream};
use super::model::{Millis, Text};
use super::ugly::Ugly;
use crate::time::Day;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Longest life of a conversation in days; what overlaps an interval began no earlier than this before it.
pub(crate) const LIFE_DAYS_MAX: i64 = 62;

/// How likely each hour of the UTC day is: two continents' business hours.
const HOURS: [u32; 24] = [4, 3, 2, 2, 3, 6, 14, 28, 52, 70, 80, 82, 74, 78, 84, 86, 80, 66, 48, 36, 26, 16, 10, 6];

/// Share of the callbacks, e-mails and messages that stay open for days or weeks.
const LINGERING: f64 = 0.04;
/// Share of the lingering ones that nobody ever closes.
const ORPHANED: f64 = 0.15;
/// Share of the conversations that change days after their start.
const LATE: f64 = 0.06;
/// Share of the late changes that come after 10 to 20 days instead of 1 to 3; replies among them after 25 to 55.
const VERY_LATE: f64 = 0.15;
/// Share of the conversations that are deleted days after their start.
const DELETED: f64 = 0.005;
/// Share of the records that are ugly.
pub(crate) const UGLY: f64 = 1.0 / 40.0;

/// What kind of story it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    InboundCall,
    OutboundCall,
    Campaign,
    Callback,
    Message,
    Chat,
    Email,
    Internal,
}

const SCENARIOS: [(Scenario, u32); 8] = [
    (Scenario::InboundCall, 44),
    (Scenario::OutboundCall, 8),
    (Scenario::Campaign, 8),
    (Scenario::Callback, 8),
    (Scenario::Message, 15),
    (Scenario::Chat, 5),
    (Scenario::Email, 9),
    (Scenario::Internal, 3),
];

/// What is added to a conversation that everybody thought was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    WrapUp,
    Evaluation,
    Survey,
    Resolution,
    /// The customer replies; the conversation goes on and ends again.
    Reopened,
}

const CHANGES: [(Change, u32); 5] = [
    (Change::WrapUp, 35),
    (Change::Evaluation, 25),
    (Change::Survey, 20),
    (Change::Resolution, 10),
    (Change::Reopened, 10),
];

/// A conversation before its story.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    pub(crate) day: Day,
    /// Ordinal of its making within the day; names its random streams.
    pub(crate) number: u32,
    pub(crate) id: Text,
    pub(crate) start: Millis,
    pub(crate) scenario: Scenario,
    /// How long it waits before anybody deals with it, beyond what is usual.
    pub(crate) linger: i64,
    /// Whether it never ends.
    pub(crate) orphan: bool,
    pub(crate) late: Option<(Millis, Change)>,
    pub(crate) deleted: Option<Millis>,
    pub(crate) ugly: Option<Ugly>,
}

impl Birth {
    /// Whether it can be seen at `as_of`.
    pub(crate) fn visible(&self, as_of: Millis) -> bool {
        self.start <= as_of && self.deleted.is_none_or(|deleted| as_of < deleted)
    }

    /// Whether it may live longer than a day.
    pub(crate) fn long(&self) -> bool {
        self.linger > 0 || matches!(self.late, Some((_, Change::Reopened)))
    }
}

/// The conversations of a day in the order of the API: by start, then by id.
pub(crate) fn births(settings: &WorldSettings, day: Day) -> Vec<Birth> {
    let mut births: Vec<_> = (0..settings.conversations_per_day).map(|number| birth(settings, day, number)).collect();
    births.sort_by(|a, b| (a.start, &a.id).cmp(&(b.start, &b.id)));
    for second in 1..births.len() {
        if births[second].ugly == Some(Ugly::Twin) {
            births[second].id = births[second - 1].id.clone();
        }
    }
    births
}

fn birth(settings: &WorldSettings, day: Day, number: u32) -> Birth {
    let ordinal = day_number(day);
    let mut dice = Dice::new(settings.seed, Stream::Births, ordinal, number.into());
    let id = dice.uuid();
    let hour = dice.weighted(HOURS.iter().copied()) as i64;
    let within = dice.between(0, HOUR - 1);
    // The bounds of a day are where half-open and inclusive intervals part.
    let offset = match number {
        0 if ordinal % 3 == 0 => 0,
        1 if ordinal % 5 == 0 => DAY - 1,
        _ => hour * HOUR + within,
    };
    let start = Millis::of(day.start()).plus(offset);
    let scenario = SCENARIOS[dice.weighted(SCENARIOS.iter().map(|s| s.1))].0;
    let patient = matches!(scenario, Scenario::Callback | Scenario::Email | Scenario::Message);
    let (lingers, days, orphaned) = (dice.chance(LINGERING), dice.between(1, 59), dice.chance(ORPHANED));
    let linger = if settings.long_lived && patient && lingers { days * DAY + within } else { 0 };
    Birth {
        day,
        number,
        id,
        start,
        scenario,
        linger,
        orphan: linger > 0 && orphaned,
        late: if settings.late_changes { late(settings, start, ordinal, number, linger > 0) } else { None },
        deleted: if settings.deletions { deleted(settings, start, ordinal, number) } else { None },
        ugly: if settings.ugly { Ugly::draw(settings.seed, ordinal, number) } else { None },
    }
}

fn late(settings: &WorldSettings, start: Millis, day: i64, number: u32, lingers: bool) -> Option<(Millis, Change)> {
    let mut dice = Dice::new(settings.seed, Stream::Late, day, number.into());
    if !dice.chance(LATE) {
        return None;
    }
    let very_late = dice.chance(VERY_LATE);
    let after = if very_late { dice.between(10 * DAY, 20 * DAY) } else { dice.between(DAY, 3 * DAY) };
    match CHANGES[dice.weighted(CHANGES.iter().map(|c| c.1))].0 {
        // What has not ended cannot be opened again.
        Change::Reopened if lingers => Some((start.plus(after), Change::WrapUp)),
        Change::Reopened if very_late => Some((start.plus(dice.between(25 * DAY, 55 * DAY)), Change::Reopened)),
        change => Some((start.plus(after), change)),
    }
}

fn deleted(settings: &WorldSettings, start: Millis, day: i64, number: u32) -> Option<Millis> {
    let mut dice = Dice::new(settings.seed, Stream::Deletion, day, number.into());
    dice.chance(DELETED).then(|| start.plus(dice.between(2 * DAY, 12 * DAY)))
}

/// Days since the Unix epoch.
pub(crate) fn day_number(day: Day) -> i64 {
    Millis::of(day.start()).0.div_euclid(DAY)
}
