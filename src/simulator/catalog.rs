//! Finding conversations: which of them an interval brings under the API's rules, in order, by page. Days are told
//! once and kept while they are in use; a version is told again only when it has changed since.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cache::Cache;
use super::filter::Filter;
use super::world::{BEGINNING, Birth, DAY, LIFE_DAYS_MAX, Millis, Version, World};
use crate::time::Day;

/// Most births kept in memory; about 150 bytes each.
const BIRTHS_MAX: usize = 400_000;
/// Most told conversations kept in memory; about 30 kB each with their JSON.
const VERSIONS_MAX: usize = 8_000;
/// Conversations that are kept and forgotten together.
const CHUNK: usize = 500;
/// Most places of hits kept in memory; 4 bytes each.
const HITS_MAX: usize = 2_000_000;

/// Which conversations an interval brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Matching {
    /// Those that started on a UTC day that the interval touches: the query, and jobs on demand.
    StartDay,
    /// Those that started in the interval: the tutorials.
    Start,
    /// Those that were alive in the interval: jobs by default.
    Activity,
}

/// What a request asks for.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// First instant.
    pub(crate) from: Millis,
    /// First instant behind.
    pub(crate) to: Millis,
    pub(crate) matching: Matching,
    pub(crate) filter: Arc<Filter>,
    /// Conversations that start here or later are not there yet: the lake's availability.
    pub(crate) available: Millis,
    /// The moment of looking.
    pub(crate) as_of: Millis,
    pub(crate) descending: bool,
}

/// Where a day's hits are.
#[derive(Debug)]
struct Hits {
    /// While the day looks like that, in milliseconds.
    valid: Range<i64>,
    /// Places in the day; none stands for all of `total`.
    places: Option<Vec<u32>>,
    total: usize,
}

/// What decides about the hits of a day, apart from the moment of looking.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HitsKey {
    day: Day,
    starts: (i64, i64),
    alive_from: Option<i64>,
    filter: String,
}

/// A chunk of a day's conversations, told so far.
type Told = Arc<Vec<Mutex<Option<Arc<Version>>>>>;

/// The world with what has been told of it lately.
#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) world: World,
    births: Mutex<Cache<Day, Arc<Vec<Birth>>>>,
    told: Mutex<Cache<(Day, usize), Told>>,
    hits: Mutex<Cache<HitsKey, Arc<Hits>>>,
}

impl Catalog {
    pub(crate) fn new(world: World) -> Catalog {
        Catalog {
            world,
            births: Mutex::new(Cache::new(BIRTHS_MAX)),
            told: Mutex::new(Cache::new(VERSIONS_MAX)),
            hits: Mutex::new(Cache::new(HITS_MAX)),
        }
    }

    /// How many conversations `selection` brings.
    pub(crate) fn total(&self, selection: &Selection) -> usize {
        selection.days().map(|day| self.hits(selection, day).total).sum()
    }

    /// The conversations of `selection` from the one at `offset` on, at most `count`.
    pub(crate) fn page(&self, selection: &Selection, offset: usize, count: usize) -> Vec<Arc<Version>> {
        let mut days: Vec<_> = selection.days().collect();
        if selection.descending {
            days.reverse();
        }
        let (mut skip, mut page) = (offset, Vec::new());
        for day in days {
            let hits = self.hits(selection, day);
            if skip >= hits.total {
                skip -= hits.total;
                continue;
            }
            for at in skip..hits.total.min(skip.saturating_add(count - page.len())) {
                let at = if selection.descending { hits.total - 1 - at } else { at };
                let place = hits.places.as_ref().map_or(Some(at), |places| places.get(at).map(|place| *place as usize));
                page.extend(place.and_then(|place| self.version(day, place, selection.as_of)));
            }
            skip = 0;
            if page.len() >= count {
                break;
            }
        }
        page
    }

    fn births(&self, day: Day) -> Arc<Vec<Birth>> {
        if let Some(births) = lock(&self.births).get(&day) {
            return births;
        }
        let births = Arc::new(self.world.births(day));
        lock(&self.births).put(day, Arc::clone(&births), births.len());
        births
    }

    fn version(&self, day: Day, place: usize, as_of: Millis) -> Option<Arc<Version>> {
        let births = self.births(day);
        let birth = births.get(place)?;
        let chunk = (day, place / CHUNK);
        let told = lock(&self.told).get(&chunk);
        let told = told.unwrap_or_else(|| {
            let told: Told = Arc::new((0..CHUNK).map(|_| Mutex::new(None)).collect());
            lock(&self.told).put(chunk, Arc::clone(&told), CHUNK);
            told
        });
        let mut slot = lock(told.get(place % CHUNK)?);
        if let Some(version) = slot.as_ref().filter(|version| version.valid.contains(&as_of.0)) {
            return Some(Arc::clone(version));
        }
        let version = Arc::new(self.world.version(birth, as_of));
        *slot = Some(Arc::clone(&version));
        Some(version)
    }

    fn hits(&self, selection: &Selection, day: Day) -> Arc<Hits> {
        let key = selection.key(day);
        if let Some(hits) = lock(&self.hits).get(&key).filter(|hits| hits.valid.contains(&selection.as_of.0)) {
            return hits;
        }
        let hits = Arc::new(self.find(selection, &key));
        let cost = hits.places.as_ref().map_or(0, Vec::len) + 1;
        lock(&self.hits).put(key, Arc::clone(&hits), cost);
        hits
    }

    fn find(&self, selection: &Selection, key: &HitsKey) -> Hits {
        let (as_of, births) = (selection.as_of, self.births(key.day));
        let mut valid = i64::MIN..i64::MAX;
        let mut places = Vec::new();
        for (place, birth) in births.iter().enumerate() {
            for at in [Some(birth.start), birth.deleted].into_iter().flatten() {
                if at <= as_of { valid.start = valid.start.max(at.0) } else { valid.end = valid.end.min(at.0) }
            }
            let candidate = birth.visible(as_of) && (key.starts.0..key.starts.1).contains(&birth.start.0);
            let looks = !key.filter.is_empty() || key.alive_from.is_some_and(|from| birth.start.0 < from);
            if !candidate || key.alive_from.is_some_and(|from| birth.start.0 < from - DAY && !birth.long()) {
                continue;
            }
            if looks {
                let Some(version) = self.version(key.day, place, as_of) else { continue };
                valid.start = valid.start.max(version.valid.start);
                valid.end = valid.end.min(version.valid.end);
                let alive = key.alive_from.is_none_or(|from| lived_until(birth, &version) >= from);
                if !alive || !selection.filter.matches(&version.conversation) {
                    continue;
                }
            }
            places.push(place as u32);
        }
        let total = places.len();
        Hits { valid, places: (total < births.len()).then_some(places), total }
    }
}

/// The end of its activity: an orphan is dormant from when somebody should have dealt with it.
fn lived_until(birth: &Birth, version: &Version) -> i64 {
    match version.conversation.conversation_end {
        Some(end) => end.0,
        None if birth.orphan => birth.start.plus(birth.linger).0,
        None => i64::MAX,
    }
}

impl Selection {
    /// The days that can hold hits, ascending.
    fn days(&self) -> impl Iterator<Item = Day> + use<> {
        let back = if self.matching == Matching::Activity { LIFE_DAYS_MAX } else { 0 };
        let mut day = Day::of(self.from.max(BEGINNING).timestamp()).plus(-back);
        let to = self.to.min(self.as_of.plus(1)).timestamp();
        std::iter::from_fn(move || {
            let current = day;
            day = day.next();
            (current.start() < to).then_some(current)
        })
    }

    fn key(&self, day: Day) -> HitsKey {
        let (from, to) = (Millis::of(day.start()).0, Millis::of(day.next().start()).0);
        let starts = match self.matching {
            Matching::StartDay => (from, to.min(self.available.0)),
            Matching::Start => (from.max(self.from.0), to.min(self.to.0)),
            Matching::Activity => (from, to.min(self.to.0).min(self.available.0)),
        };
        let alive_from = (self.matching == Matching::Activity && from < self.from.0).then_some(self.from.0);
        HitsKey { day, starts, alive_from, filter: self.filter.key.clone() }
    }
}

/// A poisoned lock holds a cache, which is right or absent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simulator::world::WorldSettings;
    use crate::time::parse_timestamp;

    fn selection(from: i64, hours: i64, matching: Matching, descending: bool) -> Selection {
        let at = |text: &str| Millis::of(parse_timestamp(text).unwrap());
        let from = at("2025-03-01T00:00:00Z").plus(from * 3_600_000);
        Selection {
            from,
            to: from.plus(hours * 3_600_000),
            matching,
            filter: Arc::default(),
            available: Millis(i64::MAX),
            as_of: at("2025-03-08T12:00:00Z"),
            descending,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn pages_of_any_size_are_the_whole_in_order(
            from in 0i64..200,
            hours in 1i64..100,
            size in 1usize..40,
            kind in 0usize..3,
            descending: bool,
        ) {
            let settings = WorldSettings { conversations_per_day: 9, deletions: true, ..Default::default() };
            let catalog = Catalog::new(World::new(settings));
            let matching = [Matching::StartDay, Matching::Start, Matching::Activity][kind];
            let selection = selection(from, hours, matching, descending);
            let total = catalog.total(&selection);
            let id = |version: &Arc<Version>| version.conversation.conversation_id.clone();
            let whole: Vec<_> = catalog.page(&selection, 0, usize::MAX).iter().map(id).collect();
            let pages = (0..=total / size).flat_map(|page| catalog.page(&selection, page * size, size));
            prop_assert_eq!(whole.len(), total);
            prop_assert_eq!(&pages.map(|version| id(&version)).collect::<Vec<_>>(), &whole);
            let reversed = Selection { descending: !descending, ..selection };
            let mut back: Vec<_> = catalog.page(&reversed, 0, usize::MAX).iter().map(id).collect();
            back.reverse();
            prop_assert_eq!(back, whole);
        }
    }
}
