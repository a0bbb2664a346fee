//! A line that is offered more than it can do: runs of it under each policy, and figures of what it let through.
//!
//! ```text
//!   case's line.toml ─→ with a policy's settings in the hop's table ─→ a run on threads ─→ report and passages
//!     saturated ─→ capacity             ┌─ offered, admitted, goodput, spans from the due time, share over the budget
//!     the same load into a black hole ──┤  what the host did to the load itself
//!     a load that falls ────────────────┘  time until the P99 is back
//! ```
//!
//! A policy is a name with settings for the hop's table, so what is measured is what a user writes. Spans come from the
//! passages that the hop notes, each with the time at which its message was *due*: neither a sender that is late nor a
//! queue before the line hides anything.
//!
//! Invariant: measures through the library's public interface; judges a run by its control of the same minute, never by
//! another machine's figures.

pub mod attainable;
pub mod figures;
pub mod line;
pub mod plot;
pub mod recovery;
pub mod table;

pub use attainable::Server;
pub use figures::{Figures, Window};
pub use line::{Bench, Load, OverloadError, Policy, Ran};
pub use recovery::{Course, Recovery};

/// The span that admitted messages may take from their due time, in nanoseconds: a queue of some fifty messages of 10 us.
pub const BUDGET_NS: u64 = 500_000;

/// Share of the messages that may take longer, beyond what the control run's did.
pub const OVER_SHARE: f64 = 0.01;

/// Most that the control's share may be for a run to be judged: beyond it the host, not the line, decides what is late.
pub const CONTROL_SHARE_MAX: f64 = 0.05;

/// Least goodput, as a share of what the load allows of the capacity.
pub const GOODPUT: f64 = 0.9;

/// Longest time from the fall of the load until the P99 is as without overload, in nanoseconds.
pub const RECOVERY_NS: u64 = 100_000_000;
