//! Where pages become rows: tokio waits for pages, rayon flattens them, and both are bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use rayon::iter::{ParallelBridge, ParallelIterator};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};

use super::documents;
use super::feed::Feed;
use super::frontier::Frontier;
use super::harvest::{Foreign, Harvest};
use crate::api::page::{Delivery, Page};
use crate::error::{Context, Error, Result};
use crate::flatten::batch::{DayBatch, PageRead};
use crate::flatten::{Flattener, List, Sheet, last_activity};
use crate::lake::day_rows::DayRows;
use crate::memory::{Held, Leaving, Memory};
use crate::time::{Day, Timestamp};

/// Pages of one slice that may wait for the workshop.
pub(super) const PAGES_WAITING_MAX: usize = 2;

/// A sheet is handed out when its days have so many records on average: fewer make many small arrays, more only take
/// memory. Records in order have them with every page.
const RECORDS_A_DAY: usize = 64;
/// The memory that open sheets may take before they are handed out whatever they have, those of all slices together
/// on each bench.
const SHEETS_BYTES: usize = 8 << 20;

/// A sheet of one slice.
struct Open {
    sheet: Sheet,
    /// The pages that are in it, by their number among all pages of the input.
    pages: Vec<u64>,
    /// The days of its records.
    days: BTreeSet<Day>,
    held: Held,
}

/// What a sheet became.
struct Cut {
    pages: Vec<u64>,
    days: Vec<DayBatch>,
}

impl Open {
    /// Whether it holds what makes batches worth having, or more than `most` bytes.
    fn is_full(&self, most: usize) -> bool {
        self.sheet.records() >= self.days.len() * RECORDS_A_DAY || self.held.bytes() >= most
    }

    fn cut(self, flattener: &Flattener) -> Result<Cut> {
        Ok(Cut { pages: self.pages, days: flattener.cut(self.sheet)? })
    }
}

/// Where the rows of a page are.
enum Rows {
    Open(Box<Open>),
    Cut(Cut),
}

/// What a page became.
struct Flattened {
    /// Its number among all pages of the input.
    number: u64,
    chain: u32,
    read: PageRead,
    rows: Rows,
    /// What it brought of other days.
    foreign: Foreign,
    /// Whether it was known before how many records it has.
    counted: bool,
}

/// What came of a page, by its number among all pages of the input.
type Worked = (u64, Result<Flattened>);

/// Where pages come from, which decides which days' rows are wanted, and when they were asked for.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) feed: Feed,
    /// The generation of what it brings.
    pub(super) generation: u64,
    /// The moment of asking.
    pub(super) now: Timestamp,
}

impl Owner {
    /// What is left of the records of other days: when they were active.
    fn foreign(&self, read: &PageRead, page: &Page) -> Foreign {
        let mut foreign = Foreign { records: read.unwanted.len() as u64, ..Foreign::default() };
        let now = self.now.timestamp_micros();
        for &(day, index) in &read.unwanted {
            let raw = page.records.get(index as usize).and_then(|range| page.body.get(range.clone()));
            let latest = raw.and_then(|raw| last_activity(raw, now)).and_then(DateTime::from_timestamp_micros);
            if let Some(at) = latest {
                foreign.active.entry(day).and_modify(|latest| *latest = at.max(*latest)).or_insert(at);
            }
        }
        foreign
    }
}

/// A day that its input has left behind.
pub(super) struct LeftBehind {
    pub(super) day: Day,
    pub(super) rows: DayRows,
    /// The generation of what they are.
    pub(super) generation: u64,
    /// When the source was asked.
    pub(super) observed_at: Timestamp,
    pub(super) leaving: Leaving,
}

/// Where days go that are left behind. Records of such a day that still come stand behind those.
pub(super) struct Early<'a> {
    pub(super) to: mpsc::Sender<LeftBehind>,
    /// Which days are wanted early.
    pub(super) wants: &'a (dyn Fn(Day) -> bool + Sync),
    /// Whether days are that have rows on disk: what still comes of such a day takes all of it into memory.
    pub(super) spilled: bool,
}

/// What became of the pages of one input.
pub(super) struct Gathered {
    pub(super) harvest: Harvest,
    /// Days that were left behind, and of which everything has come again since: what was left behind is void.
    pub(super) void: BTreeSet<Day>,
}

/// Reads the records of `page` into `sheet`. If nobody has looked for them yet, that is done as well: then they are
/// known.
fn read(flattener: &Flattener, sheet: &mut Sheet, page: &mut Page, wants: impl Fn(Day) -> bool) -> Result<PageRead> {
    let Some(range) = page.list.take() else {
        return flattener.read(sheet, page.chain, page.number, page.records(), wants);
    };
    let list = List { body: &page.body, range };
    let (read, records) = flattener.read_list(sheet, (page.chain, page.number), list, documents::records, wants)?;
    page.records = records;
    Ok(read)
}

/// Whether the records of `page` are documents of their own, which are numbered from the page's number on: what is a page
/// by itself begins with a bracket of its own.
fn stand_alone(page: &Page) -> bool {
    page.records.first().is_some_and(|first| first.start == 0)
}

/// What the pages of one input became so far.
struct Gathering<'a> {
    harvest: Harvest,
    frontier: Frontier,
    generation: u64,
    observed_at: Option<Timestamp>,
    void: BTreeSet<Day>,
    /// Sheets that are not in work, by the first page that is in them. The oldest one takes the next page: days whose
    /// rows are in it wait for it.
    open: BTreeMap<u64, Box<Open>>,
    early: Option<Early<'a>>,
}

impl Gathering<'_> {
    fn must_spill(&self) -> bool {
        self.harvest.must_spill(self.open.values().map(|open| open.held.bytes()).sum())
    }

    /// Takes in the rows of a sheet.
    fn add(&mut self, cut: Cut) -> Result<()> {
        self.frontier.done(cut.pages);
        self.harvest.add(cut.days)
    }
}

/// The run's processors and memory.
pub(super) struct Workshop {
    flattener: Arc<Flattener>,
    pool: Arc<rayon::ThreadPool>,
    memory: Memory,
    /// Pages in work, all slices together.
    benches: Arc<Semaphore>,
    spill_directory: PathBuf,
}

impl Workshop {
    /// A workshop for pages of `flattener`'s tables. Rows beyond `memory` go to files in `spill_directory`.
    pub(super) fn new(flattener: Flattener, memory: Memory, spill_directory: PathBuf) -> Result<Workshop> {
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("flatten-{i}"))
            .build()
            .map_err(|e| Error::bug("cannot start the worker threads").source(e))?;
        let benches = pool.current_num_threads() + 1;
        Ok(Workshop {
            flattener: Arc::new(flattener),
            pool: Arc::new(pool),
            memory,
            benches: Arc::new(Semaphore::new(benches)),
            spill_directory,
        })
    }

    /// Where pages and rows count.
    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Flattens everything that `pages` delivers until it is closed. Days that they leave behind go their way `early`, if
    /// anyone wants them.
    pub(super) async fn gather(
        &self,
        mut pages: mpsc::Receiver<Delivery>,
        owner: Owner,
        seen: impl Fn(u64),
        early: Option<Early<'_>>,
    ) -> Result<Gathered> {
        let mut gathering = Gathering {
            harvest: Harvest::new(&self.memory),
            frontier: Frontier::new(!owner.feed.is_saved()),
            generation: owner.generation,
            // Files are as they are; of a source, it says.
            observed_at: owner.feed.is_saved().then_some(owner.now),
            void: BTreeSet::new(),
            open: BTreeMap::new(),
            early,
        };
        let mut working: JoinSet<Worked> = JoinSet::new();
        loop {
            tokio::select! {
                Some(done) = working.join_next() => self.collect(&mut gathering, done, &mut working, &seen).await?,
                // Every page in work has a sheet: there shall be no more of them than benches.
                delivery = pages.recv(), if working.len() <= self.pool.current_num_threads() => match delivery {
                    Some(Delivery::Asked { at }) => gathering.observed_at = Some(at),
                    Some(Delivery::Page(page)) => {
                        if page.list.is_none() {
                            seen(page.records.len() as u64);
                        }
                        self.start(&mut working, &mut gathering, page, owner.clone()).await?;
                    }
                    Some(Delivery::Restart { chain }) => {
                        while let Some(done) = working.join_next().await {
                            self.collect(&mut gathering, done, &mut working, &seen).await?;
                        }
                        self.spill(&mut gathering).await?;
                        gathering.harvest.forget(chain);
                        gathering.void.extend(gathering.frontier.restart(chain));
                    }
                    Some(Delivery::TooLarge { chain, number, id }) => gathering.harvest.set_aside(chain, number, id),
                    Some(Delivery::Refused { body, reason, .. }) => gathering.harvest.refused.push((body, reason)),
                    None => break,
                },
            }
        }
        while let Some(done) = working.join_next().await {
            self.collect(&mut gathering, done, &mut working, &seen).await?;
        }
        // What is left is published at once.
        gathering.early = None;
        if gathering.harvest.has_spilled() {
            // The days are read back a block at a time: the memory is for that, and for others.
            self.spill(&mut gathering).await?;
        } else {
            self.cut(&mut gathering).await?;
        }
        Ok(Gathered { harvest: gathering.harvest, void: gathering.void })
    }

    /// Begins to flatten a page as soon as a bench is free; until then the slice's channel fills and its fetching
    /// stops.
    async fn start(
        &self,
        working: &mut JoinSet<Worked>,
        gathering: &mut Gathering<'_>,
        mut page: Page,
        owner: Owner,
    ) -> Result<()> {
        let bench = Arc::clone(&self.benches).acquire_owned().await.map_err(closed)?;
        let (flattener, pool) = (Arc::clone(&self.flattener), Arc::clone(&self.pool));
        let number = if owner.feed.is_saved() {
            gathering.frontier.begin_next(page.chain)
        } else {
            gathering.frontier.begin(page.chain, page.number)
        };
        let open = gathering.open.pop_first().map(|(_, open)| open);
        let mut open = open.unwrap_or_else(|| {
            let sheet = flattener.sheet();
            Box::new(Open { sheet, pages: Vec::new(), days: BTreeSet::new(), held: self.memory.rows(0) })
        });
        let most = self.memory.share(SHEETS_BYTES);
        // spawn_blocking around the pool: tokio's paused clock stands still while a blocking task runs.
        working.spawn_blocking(move || {
            let flattened = pool.install(move || {
                let counted = page.list.is_none();
                let read = read(&flattener, &mut open.sheet, &mut page, |day| owner.feed.owns(day));
                if let (Ok(read), true) = (&read, owner.feed.is_saved()) {
                    let carries = documents::check_set_aside(&read.bad);
                    carries.context(|| owner.feed.page(page.chain, page.number))?;
                }
                let mut read = read.context(|| owner.feed.page(page.chain, page.number))?;
                let alone = stand_alone(&page);
                for bad in &mut read.bad {
                    // What stays of a page must not keep all of it.
                    bad.raw = Bytes::copy_from_slice(&bad.raw);
                    if alone {
                        bad.position.page += std::mem::take(&mut bad.position.index);
                    }
                }
                let foreign = owner.foreign(&read, &page);
                open.pages.push(number);
                open.days.extend(&read.days);
                open.held.set(open.sheet.bytes());
                let rows = if open.is_full(most) { Rows::Cut(open.cut(&flattener)?) } else { Rows::Open(open) };
                Ok(Flattened { number, chain: page.chain, read, rows, foreign, counted })
            });
            drop(bench);
            (number, flattened)
        });
        Ok(())
    }

    async fn collect(
        &self,
        gathering: &mut Gathering<'_>,
        done: std::result::Result<Worked, JoinError>,
        working: &mut JoinSet<Worked>,
        seen: &impl Fn(u64),
    ) -> Result<()> {
        let done = match done.map_err(died)? {
            (_, Ok(done)) => done,
            (number, Err(error)) => return Err(first_error(number, error, working).await?),
        };
        if !done.counted {
            seen(done.read.records);
        }
        gathering.frontier.touched(done.chain, done.number, &done.read.days);
        gathering.harvest.saw(done.chain, done.read, done.foreign);
        match done.rows {
            Rows::Open(open) => drop(gathering.open.insert(open.pages.first().copied().unwrap_or(done.number), open)),
            Rows::Cut(cut) => gathering.add(cut)?,
        }
        self.leave(gathering).await?;
        // A day that waits to be encoded will free what it holds, without a detour over the disk.
        self.memory.relief().await;
        if gathering.must_spill() { self.spill(gathering).await } else { Ok(()) }
    }

    /// Hands out the rows of all open sheets.
    async fn cut(&self, gathering: &mut Gathering<'_>) -> Result<()> {
        let open = std::mem::take(&mut gathering.open);
        if open.is_empty() {
            return Ok(());
        }
        let (flattener, pool) = (Arc::clone(&self.flattener), Arc::clone(&self.pool));
        let cut = move || {
            let cut = || open.into_values().par_bridge().map(|open| open.cut(&flattener)).collect::<Result<Vec<_>>>();
            pool.install(cut)
        };
        let cut = tokio::task::spawn_blocking(cut).await;
        for cut in cut.map_err(|e| Error::bug("rows could not be handed out").source(e))?? {
            gathering.add(cut)?;
        }
        Ok(())
    }

    /// Sends the days on their way that the input has left behind.
    async fn leave(&self, gathering: &mut Gathering<'_>) -> Result<()> {
        let (Some(early), Some(observed_at)) = (&gathering.early, gathering.observed_at) else { return Ok(()) };
        let to = early.to.clone();
        let wants = |day| (early.wants)(day) && (early.spilled || !gathering.harvest.has_runs(day));
        let days = gathering.frontier.left_behind(wants);
        if days.iter().any(|day| gathering.harvest.has_runs(*day)) {
            // To encode such a day its runs are read back: the rest of it must not be in memory as well.
            self.spill(gathering).await?;
        }
        for day in days {
            tracing::debug!(%day, "left behind");
            let rows = gathering.harvest.take(day);
            let (generation, leaving) = (gathering.generation, self.memory.leaving());
            let left = LeftBehind { day, rows, generation, observed_at, leaving };
            to.send(left).await.map_err(|_| Error::bug("nobody takes a day"))?;
        }
        Ok(())
    }

    async fn spill(&self, gathering: &mut Gathering<'_>) -> Result<()> {
        self.cut(gathering).await?;
        let mut full = std::mem::replace(&mut gathering.harvest, Harvest::new(&self.memory));
        let directory = self.spill_directory.clone();
        let spilled = tokio::task::spawn_blocking(move || full.spill(&directory).map(|()| full)).await;
        gathering.harvest = spilled.map_err(|e| Error::bug("rows could not be spilled").source(e))??;
        Ok(())
    }
}

/// Of what is the matter with page `number` and with those that are still `working`, what stands first: the others may
/// come of it.
async fn first_error(number: u64, error: Error, working: &mut JoinSet<Worked>) -> Result<Error> {
    let mut first = (number, error);
    while let Some(done) = working.join_next().await {
        if let (number, Err(error)) = done.map_err(died)?
            && number < first.0
        {
            first = (number, error);
        }
    }
    Ok(first.1)
}

fn died(e: JoinError) -> Error {
    Error::bug("a page could not be flattened").source(e)
}

fn closed(e: tokio::sync::AcquireError) -> Error {
    Error::bug("the workshop is closed").source(e)
}
