//! Bounded queues between threads, at the speed of the cache line: one producer or many, one consumer.
//!
//! A ring is pleasant alone: [`spsc::ring`] for values of any `Send` type, [`hop::frames`] for
//! frames that are written and read in place; [`mpsc`] for producers that come and go; [`fan_in`] for
//! several rings read as one. It never waits, sleeps or wakes; the caller polls.
//!
//! ```
//! use hopline::ring::{PushError, spsc};
//! use std::thread;
//!
//! let (mut producer, mut consumer) = spsc::ring::<u64>(64)?;
//! let reader = thread::spawn(move || {
//!     let mut sum = 0;
//!     while !consumer.is_finished() {
//!         match consumer.pop() {
//!             Some(value) => sum += value,
//!             None => thread::yield_now(), // or spin, or do something else: nobody waits in here
//!         }
//!     }
//!     sum
//! });
//! for mut value in 0..1_000 {
//!     while let Err(refused) = producer.push(value) {
//!         match refused {
//!             PushError::Full(back) => value = back, // yours again, to try later or to give up
//!             PushError::Closed(_, cause) => panic!("the reader is gone: {cause:?}"),
//!         }
//!         thread::yield_now();
//!     }
//! }
//! drop(producer); // ends the ring; what was pushed still arrives
//! assert_eq!(reader.join().unwrap(), 499_500);
//! # Ok::<(), hopline::ring::DepthError>(())
//! ```
//!
//! # Concepts
//!
//! - **Sequence**: a 64-bit count of items, never reused. A *position* is half-open: everything
//!   strictly before it is done. Positions may start anywhere and wrap past 2^64.
//! - **Slot**: the place of one item. It begins with a 64-bit *commit word*; the item of position
//!   `p` is ready when the word of its slot (`p mod depth`, or one of the short lap) equals `p + 1`
//!   (wrapping). Of an
//!   item of up to 56 B word and item travel in the same cache line, so handing it over costs one transfer instead of two.
//! - **Depth**: the number of slots, a power of two within
//!   [`DEPTH_MIN`](crate::base::limits::DEPTH_MIN)`..=`[`DEPTH_MAX`](crate::base::limits::DEPTH_MAX).
//! - **Lap**: one turn around the slots. A word left by an earlier lap, or by the construction, belongs
//!   to a lower position, hence never looks ready. The rings of two ends have a *short lap* beside the
//!   long one, of 8 to 32 slots by their size, in use while the backlog is short.
//! - **Credit**: a slot that the producer may still fill. It has `depth - (position - head)` of them.
//! - **Claim, commit, abort**: slots reserved; made ready; given back unseen. A claim is a guard of
//!   the producer's own: one that is dropped or forgotten has published nothing (at most it has told the
//!   consumer to look in the other lap), so it cannot stall the line.
//!   Where producers share a ring, a position once claimed is nobody else's, so there a claim lasts as
//!   long as a closure, and an aborted one leaves a slot that the consumer steps over and counts.
//! - **Published**: ready for the consumer. A batch is published all or none: the stamp of its
//!   first slot is stored last, and the consumer looks at no slot before that one.
//! - **Blob**: a payload in the arena, a bounded ring of bytes beside the slots. Its *descriptor*, in a slot, says
//!   where it lies; its bytes are given back in order, by a position of their own that is published as the head is.
//! - **Head**: the consumer's position, 64 bits, the only word that the producer reads of the
//!   consumer's progress. It is *published lazily*: every `depth / 8` items (at least every one) and
//!   whenever the consumer finds the ring empty. The producer keeps a cached copy and looks at the
//!   shared one only when it runs out of credits and, right after a publish, once in half a short lap; on the
//!   long lap once in as many items as wait, at least 64. So the producer stays off the consumer's cache
//!   line, and backpressure is exact: from an
//!   empty ring exactly `depth` items fit, and a consumer that keeps looking gives every credit back.
//! - **Close with a cause**: each side says once that it has ended, and why; the first cause stays.
//!   A handle that is dropped closes with [`Cause::Dropped`](crate::base::Cause::Dropped). What was
//!   published before the close still arrives.
//!
//! # Guarantees
//!
//! Items arrive in order, each exactly once, or are dropped exactly once with the ring. Every
//! operation is wait-free: a bounded number of steps, whatever the other side does; those that take many items
//! take no more than there are slots, whatever their limit. With many producers
//! the order is each producer's, and a push is lock-free: it repeats its claim only when another's
//! succeeded. Nothing allocates after construction. If a value's own drop panics while its ring is dropped, those behind
//! it are leaked. The consumer never writes to a slot's commit word.
//!
//! What the two sides share is plain words and values in `repr(C)`, found by index: no pointers in them, so
//! that a ring in shared memory stays possible. The words and the slots are allocations of their own.
//!
//! # Which one to take
//!
//! | for | take |
//! |---|---|
//! | values of a few words: latency and throughput | [`spsc::ring`]: packed slots, several to a cache line |
//! | values up to 56 B | [`spsc::ring_lined`]: a slot is one cache line, never two halves |
//! | values up to 120 B | [`spsc::ring_lined`] as well: a slot is two cache lines, written in one go |
//! | larger values of one size | [`spsc::ring_apart`]: the commit word has a cache line for itself |
//! | frames with an envelope, 96 B of payload | [`hop::frames`]: a slot is two cache lines |
//! | producers that come and go | [`mpsc::ring`], [`mpsc::frames`]: the same slots, claimed in turn |
//! | several producers known from the start | a ring each, read by [`fan_in::FanIn`] |
//! | several readers that each see everything | [`multicast::Graph`]: one copy, read in place |
//! | opaque bytes of any size beyond a slot | [`blob::ring`]: a descriptor in a slot, the bytes in an arena |
//! | many items at once | the batch forms: one publish for all of them; where nearly all come so, [`bulk::ring`] |
//!
//! The bulk mode has no commit words. In batches of 32 it moves values of 8 B in a quarter of the time that packed
//! slots take, those of 56 and 64 B in three quarters; one by one it gains little. A hop costs it a cache
//! line more, and values of 56 B one by one are quicker in [`spsc::ring_lined`], by a fifth.
//!
//! A slot of its own cache line costs unit throughput: it moves a line for each item where packed
//! slots share one. Depth is nearly free in [`spsc`] and [`hop`]: while the backlog is short both sides go
//! round a few slots that stay in the first-level cache. In the other rings a lap that outgrows that cache
//! makes a hop a fifth to a half dearer, so there take no more depth than you need.
//! `benches/ring_spsc.rs` measures them beside two bare cache lines.
//!
//! Invariant: a ring knows no time, no operating system and no policy.

mod arena;
pub mod blob;
pub mod bulk;
mod error;
pub mod fan_in;
pub mod hop;
mod many;
pub mod mpsc;
pub mod multicast;
mod prefetch;
pub mod spsc;
mod stamped;
mod word;

pub use error::{ClaimError, DepthError, PushError};
pub use stamped::{Apart, Layout, Lined, Packed};
