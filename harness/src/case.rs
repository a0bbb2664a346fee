//! From the words of a command line to a line that can start.
//!
//! Invariant: opens the case's files and nothing else; a line that comes out of here was checked.

use std::path::PathBuf;
use std::time::Duration;

use hopline::topology::{Line, Registry};

use crate::cli::Shape;
use crate::exit::Failure;
use crate::sender::LaneSpec;

/// A line that was checked, and how it is to be fed.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) line: Line,
    /// Its nodes, sources and sinks included.
    pub(crate) nodes: usize,
    /// What senders send; empty where the line feeds itself or the world feeds it.
    pub(crate) lanes: Vec<LaneSpec>,
    /// The captures it replays itself.
    pub(crate) inputs: Vec<PathBuf>,
    pub(crate) sink_log: Option<PathBuf>,
    pub(crate) warmup_ns: u64,
    /// How long it runs unless the user says how long.
    pub(crate) most: Option<Duration>,
    /// Whether its messages are made up, so that a capture would be worth trying.
    pub(crate) is_fed: bool,
    pub(crate) notes: Vec<String>,
}

pub(crate) fn load(_registry: &Registry, shape: &Shape, _inline: bool) -> Result<Ready, Failure> {
    Err(Failure::usage(
        format!("there is no case \"{}\"", shape.case),
        "",
    ))
}

/// The case that runs when none is named.
pub(crate) const DEMONSTRATION: &str = "tick-to-trade";

pub(crate) fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
    std::iter::empty()
}
