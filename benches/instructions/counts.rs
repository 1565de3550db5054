//! The hot functions, one a call, on the same small day of conversations: `counts scan|flatten|encode`.
//!
//! `.ci/instructions` compiles it against the released library and runs it under callgrind, which counts what is
//! executed in the function of that name and below, and nothing else.

#[path = "../data/mod.rs"]
mod data;

use std::hint::black_box;
use std::sync::Arc;

use convlake::api::Page;
use convlake::api::envelope::Envelope;
use convlake::error::{Error, Result};
use convlake::flatten::batch::FlatPage;
use convlake::flatten::schema::Columns;
use convlake::flatten::{Catalog, Flattener};
use convlake::lake::assemble::assemble;
use convlake::lake::day_rows::DayRows;
use convlake::lake::encode::{Known, Label, encode};
use convlake::lake::forgotten::Forgotten;
use convlake::lake::versions::Rule;
use convlake::lake::{self, RunId, TableSpec};
use convlake::time::parse_timestamp;
use data::{Conversations, Order, Shape};

/// Three pages: small enough for callgrind, large enough for more than one value a column.
const DAY: Shape = Shape { conversations: 300, days: 1, order: Order::Time, seed: 1 };

fn main() -> Result<()> {
    let what = std::env::args().nth(1).unwrap_or_default();
    let pages = pages()?;
    let flattener = Flattener::new(Arc::new(Catalog::builtin()?.with(Columns::Details)))?;
    match what.as_str() {
        "scan" => pages.iter().try_for_each(|page| black_box(scan(&page.body)).map(drop)),
        "flatten" => pages.iter().try_for_each(|page| black_box(flatten(&flattener, page)).map(drop)),
        "encode" => {
            let days: Result<Vec<_>> = pages.iter().map(|page| Ok(flatten(&flattener, page)?.days)).collect();
            let specs = TableSpec::of(flattener.catalog())?;
            black_box(encoded(&specs, &days?.concat().into())).map(drop)
        }
        _ => Err(Error::usage("counts scan|flatten|encode")),
    }
}

fn pages() -> Result<Vec<Page>> {
    let (mut conversations, mut pages, mut body) = (Conversations::new(DAY), Vec::new(), Vec::new());
    while conversations.append_page(&mut body) {
        let records = scan(&body)?.records;
        pages.push(Page {
            chain: 0,
            number: pages.len() as u32 + 1,
            body: std::mem::take(&mut body).into(),
            records,
            list: None,
        });
    }
    Ok(pages)
}

#[inline(never)]
fn scan(body: &[u8]) -> Result<Envelope> {
    Envelope::read(body)
}

#[inline(never)]
fn flatten(flattener: &Flattener, page: &Page) -> Result<FlatPage> {
    flattener.flatten(page.chain, page.number, page.records())
}

/// All tables of the day.
#[inline(never)]
fn encoded(specs: &[TableSpec], rows: &DayRows) -> Result<u64> {
    let day = rows.batches.first().ok_or_else(|| Error::bug("no day"))?.day;
    let at = parse_timestamp("2026-06-01T00:00:00Z").ok_or_else(|| Error::bug("no time"))?;
    let assembled = assemble(specs, rows, &day.interval(), &Forgotten::default(), Rule::Position)?;
    let (mut bytes, known) = (0, Known::default());
    for table in &assembled.tables {
        let label = Label {
            uuid: Default::default(),
            day,
            order: lake::Order::observed(1, at, RunId::at(at)),
            observed_at: at,
            of: None,
        };
        bytes += encode(Vec::new(), table.spec, table.pieces(), &label, &known)?.0.bytes;
    }
    Ok(bytes)
}
