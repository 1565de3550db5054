//! Writes made-up conversations. It needs no crate, so the compiler alone makes it, in seconds:
//! `rustc --edition 2024 -O benches/peers/generate.rs`.

#[path = "../data/mod.rs"]
mod data;

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use data::{Conversations, Order, Shape};

const USAGE: &str = "\
Writes made-up conversation details, the same for the same arguments.

  generate pages|ndjson [--mb 100] [--days 30] [--order time|random] [--seed 1] [--out FILE]

pages are 100 conversations and a line each, as the API answers them; ndjson is a conversation a line. --out is stdout
when it is not said. Days begin with 2026-05-01, in UTC.";

/// Mean size of a conversation's JSON.
const CONVERSATION_BYTES: f64 = 12_906.0;

/// How one line is appended.
type Next = fn(&mut Conversations, &mut Vec<u8>) -> bool;

#[expect(clippy::print_stderr, reason = "a program of its own")]
fn main() -> ExitCode {
    match run(std::env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate: {error}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<(), Box<dyn Error>> {
    let next: Next = match args.next().as_deref() {
        Some("pages") => Conversations::append_page,
        Some("ndjson") => Conversations::append,
        _ => return Err("pages or ndjson?".into()),
    };
    let (mut megabytes, mut days, mut order, mut seed) = (100.0, 30, Order::Time, 1);
    let mut to: Box<dyn Write> = Box::new(io::stdout());
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} of what?"))?;
        match name.as_str() {
            "--mb" => megabytes = value.parse()?,
            "--days" => days = value.parse::<usize>()?.max(1),
            "--order" if value == "time" => order = Order::Time,
            "--order" if value == "random" => order = Order::Random,
            "--seed" => seed = value.parse()?,
            "--out" => to = Box::new(File::create(value)?),
            _ => return Err(format!("{name} {value}?").into()),
        }
    }
    // The same number on each day.
    let a_day = (megabytes * 1e6 / CONVERSATION_BYTES / days as f64).round().max(1.0);
    let shape = Shape { conversations: a_day as usize * days, days, order, seed };
    write(&mut to, Conversations::new(shape), next)?;
    Ok(())
}

fn write(to: &mut dyn Write, mut conversations: Conversations, next: Next) -> io::Result<()> {
    let mut lines = Vec::new();
    while next(&mut conversations, &mut lines) {
        lines.push(b'\n');
        // Few large writes: a page at least.
        if lines.len() > 1 << 20 {
            to.write_all(&lines)?;
            lines.clear();
        }
    }
    to.write_all(&lines)?;
    to.flush()
}
