//! What to ask for: a request becomes windows, a window becomes slices. Pure: no call, no clock.
//!
//! Windows of a plan are disjoint and cover the request; slices of a window are disjoint and cover it. Both
//! begin and end at UTC midnights, so a day belongs to exactly one slice and is complete when its slice is.

mod policy;
mod protocol;
mod window;

pub use policy::{SlicePolicy, WINDOW_DAYS_MAX};
pub use protocol::{Protocol, ProtocolChoice, Source};
pub use window::{Slice, Window, windows};
