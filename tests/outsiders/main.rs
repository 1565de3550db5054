//! What convlake promises, checked from outside: sources, inputs and expectations here are made from the description
//! of the API, of the tutorials and of the promises alone, without a look at how convlake or its simulator work.

#![cfg(test)]
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod first_minute;
mod forms;
mod inputs;
mod merge;
mod rules;
mod source;
mod totals;
mod tutorials;
mod world;
