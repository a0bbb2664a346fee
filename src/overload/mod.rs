//! Pure decisions about what happens when there is too much.
//!
//! Invariant: nothing here holds a ring, a clock or a counter; a policy is a value.

pub mod bounds;
pub mod bucket;
pub mod codel;
pub mod fan;
pub mod flush;
pub mod hot;
pub mod ladder;
pub mod late;
pub mod pace;
mod policy;
pub mod sample;
pub mod service;
#[cfg(test)]
mod sim;
pub mod watermark;

pub use bounds::{Amount, BoundError};
pub use bucket::{Bucket, BucketParams};
pub use codel::{Codel, CodelParams};
pub use fan::{Slow, Split};
pub use flush::{Flush, FlushParams};
pub use hot::{Hot, HotKey, HotParams};
pub use ladder::{Ladder, LadderParams, Rung, RungChange};
pub use pace::{Pace, PaceMeter};
pub use policy::{CODEL_INTERVAL_NS, Policy, SAMPLE_ABOVE, WhenFull};
pub use sample::{Sample, SampleParams};
pub use service::ServiceTime;
pub use watermark::{Watermark, WatermarkParams};
