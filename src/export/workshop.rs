//! Where pages become rows: tokio waits for pages, rayon flattens them, and both are bounded.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::frontier::Frontier;
use super::harvest::{Foreign, Harvest};
use crate::api::page::{Delivery, Page};
use crate::error::{Context, Error, Result};
use crate::flatten::batch::FlatPage;
use crate::flatten::{Flattener, last_activity};
use crate::lake::day_rows::DayRows;
use crate::memory::Memory;
use crate::plan::Slice;
use crate::time::{Day, Timestamp};

/// Pages of one slice that may wait for the workshop.
pub(super) const PAGES_WAITING_MAX: usize = 2;

/// What a page became.
struct Flattened {
    /// Its number among all pages of the input.
    page: u64,
    chain: u32,
    rows: FlatPage,
    /// What it brought of other days.
    foreign: Foreign,
}

/// Which days' rows are wanted, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    /// The slice that owns them; everything is wanted without one.
    pub(super) slice: Option<Slice>,
    /// The moment of asking.
    pub(super) now: Timestamp,
}

impl Owner {
    /// Takes the rows of other days out of a flattened page; what is left of them is when they were active.
    fn disown(&self, flat: &mut FlatPage, page: &Page) -> Foreign {
        let mut foreign = Foreign::default();
        let Some(slice) = self.slice else { return foreign };
        let raw = |index: u32| page.body.get(page.records.get(index as usize)?.clone());
        let now = self.now.timestamp_micros();
        for batch in flat.days.extract_if(.., |batch| !slice.owns(batch.day)) {
            foreign.records += batch.keys.len() as u64;
            let records = batch.keys.iter().filter_map(|key| raw(key.position.index));
            let latest = records.filter_map(|raw| last_activity(raw, now)).max();
            let latest = latest.and_then(DateTime::from_timestamp_micros);
            foreign.active.extend(latest.map(|at| (batch.day, at)));
        }
        foreign
    }
}

/// What the pages of one input became so far.
struct Gathering {
    harvest: Harvest,
    frontier: Frontier,
    behind: Option<mpsc::Sender<(Day, DayRows)>>,
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

    /// Flattens everything that `pages` delivers until it is closed. Days that they leave behind go to `behind`, if
    /// anyone wants them early; records of such a day that still come stand behind those.
    pub(super) async fn gather(
        &self,
        mut pages: mpsc::Receiver<Delivery>,
        owner: Owner,
        seen: impl Fn(u64),
        behind: Option<mpsc::Sender<(Day, DayRows)>>,
    ) -> Result<Harvest> {
        let mut gathering = Gathering { harvest: Harvest::new(&self.memory), frontier: Frontier::default(), behind };
        let mut working: JoinSet<Result<Flattened>> = JoinSet::new();
        loop {
            tokio::select! {
                Some(done) = working.join_next() => self.collect(&mut gathering, done).await?,
                delivery = pages.recv() => match delivery {
                    Some(Delivery::Page(page)) => {
                        seen(page.records.len() as u64);
                        self.start(&mut working, gathering.frontier.begin(), page, owner).await?;
                    }
                    Some(Delivery::Restart { chain }) => {
                        while let Some(done) = working.join_next().await {
                            self.collect(&mut gathering, done).await?;
                        }
                        self.spill(&mut gathering.harvest).await?;
                        gathering.harvest.forget(chain);
                    }
                    Some(Delivery::TooLarge { chain, number, id }) => gathering.harvest.set_aside(chain, number, id),
                    Some(Delivery::Refused { body, reason, .. }) => gathering.harvest.refused.push((body, reason)),
                    None => break,
                },
            }
        }
        while let Some(done) = working.join_next().await {
            self.collect(&mut gathering, done).await?;
        }
        let mut harvest = gathering.harvest;
        if harvest.has_spilled() {
            // The days are read back a block at a time: the memory is for that, and for others.
            self.spill(&mut harvest).await?;
        }
        Ok(harvest)
    }

    /// Begins to flatten a page as soon as a bench is free; until then the slice's channel fills and its fetching
    /// stops.
    async fn start(
        &self,
        working: &mut JoinSet<Result<Flattened>>,
        number: u64,
        page: Page,
        owner: Owner,
    ) -> Result<()> {
        let bench = Arc::clone(&self.benches).acquire_owned().await.map_err(closed)?;
        let (flattener, pool) = (Arc::clone(&self.flattener), Arc::clone(&self.pool));
        // spawn_blocking around the pool: tokio's paused clock stands still while a blocking task runs.
        working.spawn_blocking(move || {
            let flat = pool.install(|| flattener.flatten(page.chain, page.number, page.records()));
            drop(bench);
            let mut flat = flat.context(|| format!("page {}", page.number))?;
            // What stays of a page must not keep all of it.
            flat.bad.iter_mut().for_each(|bad| bad.raw = Bytes::copy_from_slice(&bad.raw));
            let foreign = owner.disown(&mut flat, &page);
            Ok(Flattened { page: number, chain: page.chain, rows: flat, foreign })
        });
        Ok(())
    }

    async fn collect(
        &self,
        Gathering { harvest, frontier, behind }: &mut Gathering,
        done: std::result::Result<Result<Flattened>, tokio::task::JoinError>,
    ) -> Result<()> {
        let done = done.map_err(|e| Error::bug("a page could not be flattened").source(e))??;
        frontier.done(done.page, done.rows.days.iter().map(|batch| batch.day));
        harvest.add(done.chain, done.rows, done.foreign)?;
        if let Some(behind) = behind {
            let days = frontier.left_behind();
            if days.iter().any(|day| harvest.has_runs(*day)) {
                // To encode such a day its runs are read back: the rest of it must not be in memory as well.
                self.spill(harvest).await?;
            }
            for day in days {
                behind.send((day, harvest.take(day))).await.map_err(|e| Error::bug("nobody takes a day").source(e))?;
            }
        }
        if harvest.must_spill() { self.spill(harvest).await } else { Ok(()) }
    }

    async fn spill(&self, harvest: &mut Harvest) -> Result<()> {
        let mut full = std::mem::replace(harvest, Harvest::new(&self.memory));
        let directory = self.spill_directory.clone();
        let spilled = tokio::task::spawn_blocking(move || full.spill(&directory).map(|()| full)).await;
        *harvest = spilled.map_err(|e| Error::bug("rows could not be spilled").source(e))??;
        Ok(())
    }
}

fn closed(e: tokio::sync::AcquireError) -> Error {
    Error::bug("the workshop is closed").source(e)
}
