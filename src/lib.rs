//! hopline: low-latency pipelines in one process.
//!
//! Threads pinned to cores run event loops that are joined by bounded lock-free rings; frames are
//! written in place and read in place; every hop has a latency budget and a ledger that adds up.
//!
//! The rooms, from the lowest floor up (`docs/ARCHITECTURE.md` draws the house):
//!
//! | floor | rooms |
//! |---|---|
//! | 0 | [`base`] |
//! | 1 | [`clock`], [`ring`], [`frame`](mod@frame), [`hist`], [`wait`] |
//! | 2 | [`budget`], [`control`], [`feed`], [`host`], [`io`], [`overload`], [`wire`] |
//! | 3 | [`stage`] |
//! | 4 | [`reactor`] |
//! | 5 | [`topology`] |
//! | 6 | [`adapter`], [`edge`], [`stages`] |
//! | 7 | [`dashboard`], [`metrics`] |
//! | 8 | [`config`] |

// The frame attribute writes `::hopline::…`, inside this crate as well as outside.
extern crate self as hopline;

pub mod adapter;
pub mod base;
pub mod budget;
pub mod clock;
pub mod config;
pub mod control;
pub mod dashboard;
pub mod edge;
pub mod feed;
pub mod frame;
pub mod hist;
pub mod host;
pub mod io;
pub mod metrics;
pub mod overload;
pub mod reactor;
pub mod ring;
pub mod stage;
pub mod stages;
pub mod topology;
pub mod wait;
pub mod wire;

pub use hopline_macros::{frame, frame_part, frame_set};
