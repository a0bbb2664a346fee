//! Bounds of what is told of single messages while a line runs: to a view of clean figures, and of those that are followed.

use super::{DEPTH_MAX, HOUSEKEEPING_NS, NODES_MAX, PARK_MAX_NS};

/// How long a live view holds a message before it says whether the host touched it, in nanoseconds. What takes longer than
/// that may keep the line busy unseen, so it is more than a host takes a core away for (100 ms, where a group's quota is
/// spent) and than a parked loop sleeps.
pub const DELAY_NS: u64 = 250_000_000;

/// Messages that a live view holds at once, over all hops: 8 hops at 100,000 a second for [`DELAY_NS`] and what is on its
/// way, 6 MiB. Beyond it they are let go and counted as not judged.
pub const DELAY_HELD_MAX: usize = 1 << 18;

/// Gaps that a live view holds at once: twice [`DELAY_NS`] of the most that were seen on a shared machine, 17,000 a second,
/// seven times over.
pub const DELAY_GAPS_MAX: usize = 1 << 16;

/// Messages that a hop has told a live view and that it has not yet taken: the view looks fifty times a second, so 100,000 a
/// second need 2,000, and a view that is late by a quarter of a second 25,000; 1 MiB a hop.
pub const PASSAGES_TOLD: usize = 1 << 15;

/// Long segments likewise, 900 KiB a loop: the most that was seen is 340 between two looks, but until a loop knows what its
/// turns take it may note each of the first ten thousand.
pub const SEGMENTS_TOLD: usize = 1 << 14;

/// Messages whose ways are followed, a second: of 128 in a quarter second the slowest is beyond the P99, and for 8 hops they
/// are 4,096 passages to join, some ten microseconds a look.
pub const SAMPLES_PER_S: u64 = 512;

/// Passages of followed messages that a hop has told and that were not yet taken: those of four seconds, so that a batch of
/// which all have one due time fits as well; 48 KiB a hop.
pub const SAMPLES_TOLD: usize = 1 << 11;

/// Passages of followed messages that wait for the others of theirs, over all hops: [`SAMPLES_PER_S`] over 8 hops for four
/// times as long as one is waited for that does not leave the line; 1 MiB.
pub const SAMPLES_HELD_MAX: usize = 1 << 14;

/// Passages of messages that entered together, with one due time: some batches of datagrams over a line of many hops. Beyond
/// it they are not told apart.
pub const SAMPLE_PASSAGES_MAX: usize = 1_024;

/// Hops of a way that is told: a line without circles of [`NODES_MAX`] nodes has no longer one, and one that branches into more
/// fills no screen.
pub const SAMPLE_STOPS_MAX: usize = NODES_MAX;

/// How long a followed message may be on its way without leaving the line, since it was last seen, in nanoseconds: it may have
/// been absorbed, which nobody tells. Four times what is waited for after one has left ([`DELAY_NS`]).
pub const SAMPLE_PATIENCE_NS: u64 = 1_000_000_000;

/// Changes of the rule by which messages are followed that are remembered: one in each [`SAMPLE_PACE_NS`] for longer than a
/// due time may lie back, 4.29 s, and than a message is waited for.
pub const SAMPLE_RULES_KEPT: usize = 64;

/// Time between two looks at how many messages are followed, in nanoseconds: fifty of them are seen meanwhile, enough to tell a
/// half from a double.
pub const SAMPLE_PACE_NS: u64 = 100_000_000;

/// Ways that are told to those who follow a line, at each look at its figures: twenty a second, more than anybody reads, and a
/// hundred in five seconds for the tail.
pub const EDGE_SAMPLES_TOLD: usize = 5;

const _: () = assert!(DELAY_NS > 2 * (PARK_MAX_NS + HOUSEKEEPING_NS));
const _: () = assert!(PASSAGES_TOLD <= DEPTH_MAX && SEGMENTS_TOLD <= DEPTH_MAX);
const _: () = assert!(SAMPLES_TOLD <= DEPTH_MAX && SAMPLES_TOLD.is_power_of_two());
const _: () = assert!(SAMPLE_PATIENCE_NS > DELAY_NS && SAMPLE_PASSAGES_MAX < SAMPLES_HELD_MAX);
// Beyond the span of an envelope nothing is followed.
const _: () =
    assert!(SAMPLE_RULES_KEPT as u64 * SAMPLE_PACE_NS > u32::MAX as u64 + SAMPLE_PATIENCE_NS);
