//! What to ask for: a request becomes windows, a window becomes slices. Pure: no call, no clock.
//!
//! A request is a part of each of some days: the operator's range, or what [`due`] finds in a lake's ledger.
//! Windows of a plan are disjoint and cover the request; slices of a window are disjoint and cover it. Both
//! begin and end at UTC midnights, so a day belongs to exactly one slice and is complete when its slice is.

mod asked;
pub mod due;
mod policy;
mod protocol;
mod window;

pub use asked::Asked;
pub use policy::{SlicePolicy, WINDOW_DAYS_MAX};
pub use protocol::{Protocol, ProtocolChoice, Source};
pub use window::{Matching, Slice, Window, windows};
