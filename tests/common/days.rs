//! Days as they are published, without the asking: records become observations, and observations lakes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use convlake::error::Result;
use convlake::flatten::batch::DayBatch;
use convlake::flatten::schema::Columns;
use convlake::flatten::{Catalog, Flattener};
use convlake::lake::{
    Dataset, Family, Identity, Lake, Observation, Outcome, Run, RunId, Selection, Store, TableName, TableSpec,
};
use convlake::plan::Source;
use convlake::time::{Clock, Day, Timestamp};
use uuid::Uuid;

/// Where Linux keeps files in memory.
const MEMORY: &str = "/dev/shm";

/// Some tables, and how records become rows of them.
pub(crate) struct Tables {
    flattener: Flattener,
    specs: Arc<[TableSpec]>,
}

impl Tables {
    /// All of them, or only `names`.
    pub(crate) fn new(names: Option<&[&str]>) -> Tables {
        // What a run for a bucket has not finished waits on this machine: in memory where that is offered, because
        // here a disk would be waited for thousands of times. It may be overridden once.
        if Path::new(MEMORY).is_dir() {
            let _ = tempfile::env::override_temp_dir(Path::new(MEMORY));
        }
        let names: Option<Vec<String>> = names.map(|names| names.iter().map(ToString::to_string).collect());
        let catalog = Catalog::builtin().expect("schemas").select(names.as_deref(), &[]).expect("tables");
        let catalog = catalog.with(Columns::Details);
        let specs = catalog.tables().iter().zip(catalog.schemas()).map(|(table, schema)| TableSpec {
            name: TableName::new(&table.name).expect("a name"),
            schema: Arc::clone(schema),
            version: table.version,
        });
        Tables { specs: specs.collect(), flattener: Flattener::new(Arc::new(catalog)).expect("a flattener") }
    }

    /// The whole of `day` in a generation, seen twice; `observed_at` is what a clock said, right or wrong.
    pub(crate) fn seen(
        &self,
        day: Day,
        generation: u64,
        observed_at: Timestamp,
        records: impl IntoIterator<Item = Bytes>,
    ) -> Observation {
        let page = self.flattener.flatten(0, 1, records.into_iter()).expect("records");
        assert!(page.bad.is_empty() && page.days.iter().all(|batch: &DayBatch| batch.day == day));
        Observation {
            day,
            rows: page.days.into(),
            drafted: None,
            asked: day.interval(),
            fetched: day.interval(),
            source: Source::Query,
            availability: None,
            generation,
            observed_at,
            clock_skew: None,
            settled_before: day.start(),
            out_of_window: 0,
            quarantined: 0,
            shortage: None,
            refetched: 0,
            moved: Arc::default(),
            confirmed: true,
            force_protocol: false,
            allow_vanished: false,
        }
    }

    /// A run that is about to write to the lake in `store`, which is made if there is none.
    pub(crate) fn begin(&self, store: impl Into<Store>, run: u128, now: Timestamp) -> Result<Run> {
        self.begin_of("localhost", store, run, now)
    }

    /// The same of another source.
    pub(crate) fn begin_of(&self, source: &str, store: impl Into<Store>, run: u128, now: Timestamp) -> Result<Run> {
        let identity = Identity {
            family: Family::Genesys,
            source: source.to_owned(),
            organization: None,
            selection: Selection::default(),
        };
        let id = RunId::from(Uuid::from_u128(run));
        Lake::open(store, &identity)?.begin(
            id,
            Dataset::Conversations,
            Arc::clone(&self.specs),
            Clock::starting_at(now),
        )
    }

    /// One run from its beginning to its end, or to its first error.
    pub(crate) fn export(
        &self,
        store: impl Into<Store>,
        run: u128,
        observations: &[Observation],
    ) -> Result<Vec<Outcome>> {
        let now = observations.iter().map(|seen| seen.observed_at).max().expect("something to publish");
        let run = self.begin(store, run, now)?;
        observations.iter().map(|seen| run.publish(seen)).collect()
    }
}
