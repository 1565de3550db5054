//! [`Api`]: the source as the rest of convlake sees it.

use std::sync::Arc;

use chrono::TimeDelta;
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use super::client::{Answer, Call, Client, Failure, Misread};
use super::complaint::{quote, text};
use super::dimension::{self, Dimension, Listing};
use super::pace::CALLS_PER_MINUTE_PAGE;
use super::page::Delivery;
use super::protocol::{self, Fetched, JOBS_MAX, JOBS_PATH, Source};
use super::settings::{ApiSettings, Wanted, calls_per_minute};
use super::stats::Stats;
use super::transport::Transport;
use crate::error::{Context, Result};
use crate::memory::Memory;
use crate::plan::{Protocol, ProtocolChoice, Slice};
use crate::time::{Clock, Timestamp, parse_timestamp};

const ORGANIZATION_PATH: &str = "/api/v2/organizations/me";
/// How far behind the present jobs are taken to be complete when the API does not say.
pub const AVAILABILITY_LAG: TimeDelta = TimeDelta::hours(24);
/// Calls that a job costs beside its results: its submission and a few looks at its state. Its deletion is not counted.
const JOB_CALLS: u64 = 4;

/// What the API says about a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// How many conversations it has; page protocol: about how many.
    pub records: u64,
    /// Conversations on a page where the source chooses that, once it is known.
    pub page_size: Option<u32>,
}

/// A source of conversations. Clones share the token, the pace and everything learnt.
#[derive(Clone)]
pub struct Api {
    source: Arc<Source>,
}

impl Api {
    /// A source that calls through `transport`. Makes no call.
    pub fn new(settings: ApiSettings, transport: Arc<dyn Transport>, clock: Clock) -> Api {
        let settings = Arc::new(settings);
        let client = Arc::new(Client::new(Arc::clone(&settings), transport, clock));
        Api { source: Arc::new(Source::new(client, settings)) }
    }

    /// The same source, asked for something else: token, pace and counts are shared.
    #[must_use]
    pub fn asking(&self, wanted: Wanted) -> Api {
        let Source { client, settings, .. } = self.source.as_ref();
        let settings = Arc::new(ApiSettings { wanted, ..settings.as_ref().clone() });
        Api { source: Arc::new(Source::new(Arc::clone(client), settings)) }
    }

    /// Pages `slice` to its end and delivers into `tx` as pages arrive; the chains of the slice are numbered from
    /// `chain_base`. A page is asked for when `memory` has room for it. After an error everything delivered is void.
    ///
    /// # Errors
    /// Those that stop the run (`Usage`, `Access`, `Later`, `Config`), [`crate::error::Kind::Data`] when the API refuses the
    /// slice or answers what cannot be trusted, and [`crate::error::Kind::Unavailable`] when it stays down.
    pub async fn fetch(
        &self,
        slice: &Slice,
        chain_base: u32,
        memory: &Memory,
        tx: &Sender<Delivery>,
    ) -> Result<Fetched> {
        self.prepare(slice.protocol)?;
        protocol::fetch(&self.source, slice, chain_base, memory, tx).await
    }

    /// What the API says about the slice, for one call.
    ///
    /// # Errors
    /// Like [`Api::fetch`]; [`crate::error::Kind::Usage`] for jobs, which cannot be counted without being run.
    pub async fn probe(&self, slice: &Slice) -> Result<Probed> {
        self.prepare(slice.protocol)?;
        let Some(call) = protocol::probe(&self.source, slice)? else { return Ok(Probed::default()) };
        let read = |answer: &Answer| {
            let envelope = protocol::read_page(answer)?;
            let stated = match slice.protocol {
                Protocol::Page => envelope.paging.and_then(|paging| paging.page_count),
                _ => envelope.total_hits.or(envelope.total_records),
            };
            let on_page = envelope.records.len();
            let is_full = slice.protocol == Protocol::Cursor && envelope.members.lead_on();
            let page_size = u32::try_from(on_page).ok().filter(|size| is_full && *size > 0);
            Ok(Probed { records: stated.unwrap_or(on_page as u64), page_size })
        };
        let probed = self.source.client.call(&call, read).await.map_err(Failure::into_error);
        probed.context(|| slice.to_string())
    }

    /// Calls that `records` in one chain of `protocol` take.
    pub fn expected_calls(protocol: Protocol, records: u64, page_size: u32) -> u64 {
        let size = u64::from(page_size.max(1));
        let pages = records.div_ceil(size);
        match protocol {
            // The end is an empty page.
            Protocol::Query => pages + 1,
            // Behind a full last page one more is looked for: the count may be too low.
            Protocol::Page => records / size + 1,
            Protocol::Cursor => pages.max(1),
            Protocol::Jobs => pages.max(1) + JOB_CALLS,
        }
    }

    /// Slices of `protocol` that have to be under way at the same time for the permitted calls to be used up. Where
    /// pages have numbers one slice is enough: they are asked for at the same time. Nor more than `memory` has room for
    /// pages.
    pub fn slices_needed(&self, protocol: Protocol, memory: &Memory) -> usize {
        let needed = self.source.client.pace.calls_needed().min(memory.pages());
        match protocol {
            Protocol::Query | Protocol::Page => 1,
            // While some are read, others are prepared.
            Protocol::Jobs if needed > 1 => needed + JOBS_MAX,
            Protocol::Cursor | Protocol::Jobs => needed,
        }
    }

    /// Up to when jobs are complete; a day ago when the API does not say.
    ///
    /// # Errors
    /// Like [`Api::fetch`].
    pub async fn availability(&self) -> Result<Timestamp> {
        let read =
            |answer: &Answer| Ok(object_text(answer, "dataAvailabilityDate")?.as_deref().and_then(parse_timestamp));
        let call = Call::get(format!("{JOBS_PATH}/availability"));
        let stated = self.source.client.call(&call, read).await.map_err(Failure::into_error);
        match stated.context(|| "availability of jobs".to_owned())? {
            Some(at) => Ok(at),
            None => {
                tracing::warn!("the API does not say up to when jobs are complete; taken as a day ago");
                Ok(self.source.client.now() - AVAILABILITY_LAG)
            }
        }
    }

    /// The organization's id, where the API tells it to this client.
    ///
    /// # Errors
    /// Like [`Api::fetch`]; that it may not be read is none.
    pub async fn organization(&self) -> Result<Option<String>> {
        let call = Call::get(ORGANIZATION_PATH).aside().permission_optional();
        match self.source.client.call(&call, |answer| object_text(answer, "id")).await {
            // It is kept in the lake, and named when another one comes.
            Ok(id) => Ok(id.map(|id| self.source.client.secrets.tell(&quote(&id)).into())),
            Err(Failure::Rejected(rejection)) => {
                tracing::debug!("the organization is not told: {rejection}");
                Ok(None)
            }
            Err(failure) => Err(failure.into_error().context("organization")),
        }
    }

    /// All of `dimension`, as the source has it now.
    ///
    /// # Errors
    /// Like [`Api::fetch`]; [`crate::error::Kind::Access`] when this list is not for the client, which says nothing
    /// about the others.
    pub async fn list(&self, dimension: &Dimension) -> Result<Listing> {
        dimension::list(&self.source.client, dimension).await
    }

    /// Which conversations are asked for, and how many at a time.
    pub fn wanted(&self) -> &Wanted {
        &self.source.settings.wanted
    }

    /// Calls that may be made in a minute, as far as the settings say.
    pub fn calls_per_minute(&self, choice: ProtocolChoice) -> u32 {
        self.source.settings.rate_limit.unwrap_or(calls_per_minute(choice))
    }

    /// What was asked of the source so far.
    pub fn stats(&self) -> Stats {
        self.source.client.stats()
    }

    fn prepare(&self, protocol: Protocol) -> Result<()> {
        let settings = &self.source.settings;
        settings.wanted.check(protocol)?;
        if protocol == Protocol::Page && settings.rate_limit.is_none() {
            self.source.client.pace.cap(CALLS_PER_MINUTE_PAGE);
        }
        Ok(())
    }
}

/// A member of the answer's object, as text.
fn object_text(answer: &Answer, name: &str) -> Result<Option<String>, Misread> {
    match serde_json::from_slice(&answer.body) {
        Ok(Value::Object(object)) => Ok(object.get(name).and_then(text)),
        _ => Err(Misread::Odd("the answer is not a JSON object".to_owned())),
    }
}
