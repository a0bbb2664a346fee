//! Captures: recorded, read, replayed; packets of the network as a source; how faithful all that is.
//!
//! `HOPLINE_FUZZ_INPUTS` says how many mutated files each parser gets.

mod common;
#[path = "captures/file.rs"]
mod file;
#[path = "captures/fuzz.rs"]
mod fuzz;
#[path = "captures/hops.rs"]
mod hops;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "captures/packets.rs"]
mod packets;
#[path = "captures/skew.rs"]
mod skew;
#[path = "captures/upgrades.rs"]
mod upgrades;
