//! The source: Genesys Cloud's analytics API, four ways of paging it behind one transport.
//!
//! From the outside in: [`Api`] pages a slice into a channel; a protocol says what to ask next; the client makes
//! one call succeed or explains why not, with the token, the pace and the retries that all calls share; the
//! [`transport::Transport`] carries one request. Only [`http`] knows the network.

pub mod complaint;
pub mod dimension;
pub mod envelope;
pub mod filter;
pub mod http;
pub mod page;
pub mod region;
pub mod shape;
pub mod transport;
pub mod vocabulary;

mod client;
mod heard;
mod limits;
pub(crate) mod nesting;
mod outline;
mod pace;
mod protocol;
mod retry;
pub(crate) mod scan;
mod settings;
mod source;
mod stats;
mod token;
mod verdict;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use dimension::{DIMENSIONS, Dimension, Listing};
pub use filter::Filters;
pub use heard::SKEW_MAX;
pub use limits::QUERY_RESULTS_MAX;
pub use pace::{CALLS_IN_FLIGHT_MAX, CALLS_PER_MINUTE, CALLS_PER_MINUTE_PAGE, UNPACED};
pub use page::{Delivery, Page};
pub use protocol::Fetched;
pub use region::{DEFAULT_REGION, Endpoint};
pub use settings::{ApiSettings, CursorIn, JOB_CEILING, RETRY_FOR, RangeEnd, Wanted, calls_per_minute};
pub use source::{AVAILABILITY_LAG, Api, Probed};
pub use stats::Stats;
pub use token::{AuthStyle, Credentials};
