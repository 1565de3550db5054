//! Where pages become rows: tokio waits for pages, rayon flattens them, and both are bounded.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::DateTime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::harvest::{Foreign, Harvest, RowBudget};
use crate::api::page::{Delivery, Page};
use crate::error::{Context, Error, Result};
use crate::flatten::batch::FlatPage;
use crate::flatten::{Flattener, last_activity};
use crate::plan::Slice;
use crate::time::Timestamp;

/// Pages of one slice that may wait for the workshop.
pub(super) const PAGES_WAITING_MAX: usize = 2;

/// A page's rows, the chain it is of, and what it brought of other days.
type Flattened = (u32, FlatPage, Foreign);

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

/// The run's processors and memory.
pub(super) struct Workshop {
    flattener: Arc<Flattener>,
    pool: Arc<rayon::ThreadPool>,
    rows: Arc<RowBudget>,
    /// Pages in work, all slices together.
    benches: Arc<Semaphore>,
    spill_directory: PathBuf,
}

impl Workshop {
    /// A workshop for pages of `flattener`'s tables with `memory` bytes for rows. Rows beyond it go to files in
    /// `spill_directory`.
    pub(super) fn new(flattener: Flattener, memory: usize, spill_directory: PathBuf) -> Result<Workshop> {
        let pool = rayon::ThreadPoolBuilder::new()
            .thread_name(|i| format!("flatten-{i}"))
            .build()
            .map_err(|e| Error::bug("cannot start the worker threads").source(e))?;
        let benches = pool.current_num_threads() + 1;
        Ok(Workshop {
            flattener: Arc::new(flattener),
            pool: Arc::new(pool),
            rows: RowBudget::new(memory),
            benches: Arc::new(Semaphore::new(benches)),
            spill_directory,
        })
    }

    /// Flattens everything that `pages` delivers until it is closed.
    pub(super) async fn gather(
        &self,
        mut pages: mpsc::Receiver<Delivery>,
        owner: Owner,
        seen: impl Fn(u64),
    ) -> Result<Harvest> {
        let mut harvest = Harvest::new(&self.rows);
        let mut working: JoinSet<Result<Flattened>> = JoinSet::new();
        loop {
            tokio::select! {
                Some(done) = working.join_next() => self.collect(&mut harvest, done).await?,
                delivery = pages.recv() => match delivery {
                    Some(Delivery::Page(page)) => {
                        seen(page.records.len() as u64);
                        self.start(&mut working, page, owner).await?;
                    }
                    Some(Delivery::Restart { chain }) => {
                        while let Some(done) = working.join_next().await {
                            self.collect(&mut harvest, done).await?;
                        }
                        harvest.forget(chain);
                    }
                    Some(Delivery::Refused { body, reason, .. }) => harvest.refused.push((body, reason)),
                    None => break,
                },
            }
        }
        while let Some(done) = working.join_next().await {
            self.collect(&mut harvest, done).await?;
        }
        Ok(harvest)
    }

    /// Begins to flatten a page as soon as a bench is free; until then the slice's channel fills and its fetching
    /// stops.
    async fn start(&self, working: &mut JoinSet<Result<Flattened>>, page: Page, owner: Owner) -> Result<()> {
        let bench = Arc::clone(&self.benches).acquire_owned().await.map_err(closed)?;
        let (flattener, pool) = (Arc::clone(&self.flattener), Arc::clone(&self.pool));
        // spawn_blocking around the pool: tokio's paused clock stands still while a blocking task runs.
        working.spawn_blocking(move || {
            let flat = pool.install(|| flattener.flatten(page.chain, page.number, page.records()));
            drop(bench);
            let mut flat = flat.context(|| format!("page {}", page.number))?;
            let foreign = owner.disown(&mut flat, &page);
            Ok((page.chain, flat, foreign))
        });
        Ok(())
    }

    async fn collect(
        &self,
        harvest: &mut Harvest,
        done: std::result::Result<Result<Flattened>, tokio::task::JoinError>,
    ) -> Result<()> {
        let (chain, page, foreign) = done.map_err(|e| Error::bug("a page could not be flattened").source(e))??;
        if !harvest.add(chain, page, foreign) {
            return Ok(());
        }
        let mut full = std::mem::replace(harvest, Harvest::new(&self.rows));
        let directory = self.spill_directory.clone();
        let spilled = tokio::task::spawn_blocking(move || full.spill(&directory).map(|()| full)).await;
        *harvest = spilled.map_err(|e| Error::bug("rows could not be spilled").source(e))??;
        Ok(())
    }
}

fn closed(e: tokio::sync::AcquireError) -> Error {
    Error::bug("the workshop is closed").source(e)
}
