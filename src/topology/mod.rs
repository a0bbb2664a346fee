//! The line as data, and the line running.
//!
//! ```text
//! code (Line::builder) ─┐
//!                       ├─→ Draft ─ check ─→ Line ─ plan ─→ Plan ─ start ─→ Running ─ drain ─→ Report
//! TOML (room config) ───┘     names,           kinds,        threads,         pinned loops
//!                             hops, parts      DAG, depths   bytes
//! ```
//!
//! Invariant: never names a concrete stage or adapter; those come in through the [`Registry`] or
//! as parts.

pub mod check;
mod classes;
pub mod clean;
pub mod draft;
pub mod drain;
pub(crate) mod fan;
pub mod health;
pub mod hop;
pub mod inline;
mod latencies;
pub mod line;
mod orders;
pub mod panics;
pub mod params;
pub mod part;
pub mod plan;
pub mod problem;
pub mod record;
pub mod registry;
pub mod report;
pub mod run;
pub mod samples;
mod sharing;
pub mod spill;
pub mod split;
pub mod start;
pub mod steer;
mod tap;
mod window;
mod wire;
pub(crate) mod words;

pub use clean::CleanReport;
pub use draft::{Builder, Draft, Names, Placement, ThreadSpec};
pub use drain::{DrainReport, Left};
pub use health::Health;
pub use hop::{Class, Hop, OverflowFile, p50, p90, p99, p99_9};
pub use inline::Inline;
pub use latencies::{Latency, SpanOf};
pub use line::Line;
pub use panics::{PanickedFrame, Quarantined};
pub use params::{Params, Value};
pub use part::{IntoSink, IntoSource, Part};
pub use plan::{Plan, PlannedHop, PlannedThread};
pub use problem::{Place, Problem, Problems};
pub use record::{Record, RecordReport};
pub use registry::Registry;
pub use report::{LoopReport, Report};
pub use run::{Running, Stop};
pub use samples::{Rate, Samples};
pub use sharing::{Priority, Sharing};
pub use spill::OverflowReport;
pub use split::{HotKeyReport, SplitReport};
pub use start::StartError;
pub use steer::{Heard, SteerError};
pub use window::Window;
