//! Conversation history of a Genesys Cloud contact centre as a columnar data lake.

#![forbid(unsafe_code)]

pub mod error;

pub mod time;

pub mod plan;

pub mod api;

pub mod flatten;

pub mod lake;

pub mod simulator;

pub mod export;
