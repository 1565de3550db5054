//! The first tutorial's shape: each answer names the cursor of the next.

use serde_json::json;

use super::chain::Stop;
use super::trail::{Step, Trail};
use super::walk::Walk;
use super::{QUERY_PATH, Source, body};
use crate::api::client::Call;
use crate::error::{Error, Result};
use crate::plan::Protocol;
use crate::time::{Interval, wire_time};

/// Empty pages in a row that still lead on; a source that never ends is told from a sparse one here.
const EMPTY_PAGES_MAX: u32 = 100;

/// The request for one page; `size` only when it is not the server's to choose.
pub(super) fn request(source: &Source, part: Interval, size: Option<u32>, cursor: Option<&str>) -> Result<Call> {
    let settings = &source.settings;
    let mut own = json!({
        "startTime": wire_time(part.from()),
        "endTime": wire_time(part.to()),
        "granularity": settings.wanted.granularity(),
        "metrics": settings.wanted.metrics(Protocol::Cursor),
    });
    if let Some(size) = size {
        own["pageSize"] = size.into();
    }
    if let Some(cursor) = cursor {
        own["pageCursor"] = cursor.into();
    }
    Ok(Call::post(QUERY_PATH, &body(own, settings.wanted.filters.wire(Protocol::Cursor)?)))
}

pub(super) async fn chain(walk: &mut Walk<'_>) -> Result<(), Stop> {
    let chain = walk.chain;
    let settings = &chain.source.settings;
    let size =
        (settings.wanted.page_size.is_some() || chain.size != Protocol::Cursor.page_size()).then_some(chain.size);
    let mut trail = Trail::default();
    let (mut number, mut empty) = (1, 0);
    loop {
        let call = request(chain.source, chain.part, size, trail.current())?.outlined(chain.size == 1);
        let mut received = chain.ask(call, number).await?;
        let step = trail
            .follow(std::mem::take(&mut received.envelope.next_page_cursor))
            .map_err(|s| s.context(|| format!("page {number}")))?;
        if step == Step::Again {
            continue;
        }
        walk.note(&received.said()).await?;
        empty = if received.is_empty() { empty + 1 } else { 0 };
        walk.deliver(number, received).await?;
        if step == Step::End {
            return Ok(());
        }
        if empty > EMPTY_PAGES_MAX {
            return Err(Stop::Fail(Error::data(format!(
                "page {number}: {empty} empty pages in a row, each with a cursor"
            ))));
        }
        number += 1;
    }
}
