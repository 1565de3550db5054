//! The real API's jobs: submitted, waited for, and read by cursor.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use url::form_urlencoded::byte_serialize;

use super::chain::Stop;
use super::trail::{Step, Trail};
use super::walk::Walk;
use super::{JOBS_PATH, body};
use crate::api::client::{Answer, Call, Failure, Misread};
use crate::api::complaint::quote;
use crate::error::{Error, Result};
use crate::plan::{Matching, Protocol};

/// The first wait for a job; each further one is twice as long.
const POLL_FIRST: Duration = Duration::from_secs(1);
/// The longest wait between two looks at a job.
const POLL_MAX: Duration = Duration::from_secs(30);
/// Looks at the results of a job that is fulfilled and has none yet, the waits doubling from [`POLL_FIRST`].
const RESULTS_LOOKS_MAX: u32 = 4;

/// How a job went.
enum Outcome {
    /// Its results are read.
    Complete,
    /// The API gave it up, and why.
    Failed(String),
}

pub(super) async fn chain(walk: &mut Walk<'_>) -> Result<(), Stop> {
    let source = walk.chain.source;
    let mut resubmitted = false;
    loop {
        let slot = source.jobs.acquire().await.map_err(|_| Error::bug("the job slots were closed"))?;
        let id = submit(walk).await?;
        let mut outcome = wait(walk, &id).await;
        // It runs no longer: while its results are read, the next one is prepared.
        drop(slot);
        if matches!(outcome, Ok(Outcome::Complete)) {
            outcome = read(walk, &id).await.map(|()| Outcome::Complete);
        }
        // Best effort: a job that stays behind expires by itself.
        if let Err(failure) = source.client.call(&Call::delete(path(&id)), |_| Ok(())).await {
            tracing::debug!("the job was not deleted: {}", failure.into_error());
        }
        match outcome? {
            Outcome::Complete => return Ok(()),
            Outcome::Failed(why) if resubmitted => return Err(Stop::Fail(Error::data(why))),
            Outcome::Failed(why) => {
                tracing::warn!("the job is submitted again: {why}");
                resubmitted = true;
                walk.abandon().await?;
            }
        }
    }
}

fn path(id: &str) -> String {
    format!("{JOBS_PATH}/{}", byte_serialize(id.as_bytes()).collect::<String>())
}

fn read_object(answer: &Answer) -> Result<Value, Misread> {
    match serde_json::from_slice(&answer.body) {
        Ok(object @ Value::Object(_)) => Ok(object),
        _ => Err(Misread::Odd("the answer is not a JSON object".to_owned())),
    }
}

async fn submit(walk: &mut Walk<'_>) -> Result<String, Stop> {
    let chain = walk.chain;
    let settings = &chain.source.settings;
    let own = json!({
        "interval": chain.part.to_string(),
        "order": "asc",
        "orderBy": "conversationStart",
        "startOfDayIntervalMatching": chain.matching == Matching::Start,
    });
    // Too many jobs at a time is a 429 here, and may last as long as the other jobs do.
    let call = Call::post(JOBS_PATH, &body(own, settings.wanted.filters.wire(Protocol::Jobs)?))
        .throttled_for(settings.job_ceiling);
    let read = |answer: &Answer| {
        let object = read_object(answer)?;
        let id = object.get("jobId").and_then(Value::as_str).filter(|id| !id.is_empty());
        let id = id.map(str::to_owned).ok_or_else(|| Misread::Odd("the answer names no job".to_owned()))?;
        Ok((id, answer.heard))
    };
    match chain.source.client.call(&call, read).await {
        Ok((id, heard)) => {
            // The results are as old as the job.
            walk.observed(heard).await?;
            Ok(id)
        }
        Err(Failure::Rejected(rejection)) => Err(Stop::rejected(rejection)),
        Err(failure) => Err(Stop::Fail(failure.into_error())),
    }
    .map_err(|stop| stop.context(|| "job submission".to_owned()))
}

/// Polls until the job has ended, one way or the other.
async fn wait(walk: &Walk<'_>, id: &str) -> Result<Outcome, Stop> {
    let source = walk.chain.source;
    let ceiling = Instant::now() + source.settings.job_ceiling;
    let (mut pause, mut known) = (POLL_FIRST, true);
    loop {
        source.client.policy.sleep(pause).await?;
        pause = POLL_MAX.min(pause * 2);
        let status = match source.client.call(&Call::get(path(id)), read_object).await {
            Ok(status) => status,
            Err(Failure::Rejected(rejection)) if matches!(rejection.status.as_u16(), 404 | 410) => {
                return Err(Stop::Restart(rejection.into_error().context("the job is lost")));
            }
            Err(failure) => return Err(Stop::Fail(failure.into_error().context("job status"))),
        };
        match status.get("state").and_then(Value::as_str).unwrap_or_default() {
            "FULFILLED" => return Ok(Outcome::Complete),
            state @ ("FAILED" | "CANCELLED") => {
                let why = status.get("errorMessage").and_then(Value::as_str);
                let why = why.map(|text| format!(": {}", source.client.secrets.tell(&quote(text))));
                return Ok(Outcome::Failed(format!("the job is {state}{}", why.unwrap_or_default())));
            }
            "EXPIRED" => return Err(Stop::Restart(Error::data("the job has expired"))),
            "QUEUED" | "PENDING" => {}
            other => {
                if std::mem::take(&mut known) {
                    let other = source.client.secrets.tell(&quote(other));
                    tracing::warn!("job state `{other}` is not known; taken as running");
                }
            }
        }
        if Instant::now() >= ceiling {
            let minutes = source.settings.job_ceiling.as_secs() / 60;
            return Err(Stop::Fail(
                Error::later(format!("the job is still not done after {minutes} minutes"))
                    .hint("run again later; progress is kept"),
            ));
        }
    }
}

/// Reads the results. The job keeps them, and a cursor says where to go on, not how far: smaller pages take over where
/// a larger one did not come.
async fn read(walk: &mut Walk<'_>, id: &str) -> Result<(), Stop> {
    let mut trail = Trail::default();
    let (mut number, mut looks) = (1, 1);
    // Records of a page while none is too large.
    let mut size = walk.chain.size;
    loop {
        let chain = walk.chain;
        let mut query = format!("{}/results?pageSize={}", path(id), chain.size);
        if let Some(cursor) = trail.current() {
            query.push_str("&cursor=");
            query.extend(byte_serialize(cursor.as_bytes()));
        }
        let mut received = match chain.ask(Call::get(query).outlined(chain.size == 1), number).await {
            Err(Stop::Restart(_)) if number == 1 && looks < RESULTS_LOOKS_MAX => {
                chain.source.client.policy.sleep(POLL_FIRST * (1 << looks)).await?;
                looks += 1;
                continue;
            }
            Err(Stop::Smaller(error)) => {
                walk.slow_down(error)?;
                size = walk.chain.size;
                continue;
            }
            Err(Stop::TooLarge { error, .. }) => {
                walk.shrink(error)?;
                continue;
            }
            other => other?,
        };
        let step = trail
            .follow(std::mem::take(&mut received.envelope.cursor))
            .map_err(|s| s.context(|| format!("page {number}")))?;
        if step == Step::Again {
            continue;
        }
        if received.too_large.is_some() {
            // What did not fit is behind.
            walk.chain.size = size;
        }
        walk.note(&received.said()).await?;
        walk.deliver(number, received).await?;
        if step == Step::End {
            return Ok(());
        }
        number += 1;
    }
}
