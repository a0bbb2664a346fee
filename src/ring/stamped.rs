//! The one algorithm behind every point-to-point ring: slots that carry their own commit word.
//!
//! The faces ([`crate::ring::spsc`] for values, [`crate::ring::hop`] for frames) differ only in what
//! a slot holds. Here a slot's content `V` is always a valid `V`, so that this file's interface is
//! safe: a claim lends the producer `&mut V`, a front lends the consumer `&V`, and neither can be had for a
//! slot that the other side may touch.
//!
//! # Two laps
//!
//! What both sides touch has to stay in the first-level cache: a hop over 1,024 cache lines, walked one
//! after the other, costs half as much again as one over a few (`benches/ring_spsc.rs`, *walk*). So a
//! deep ring has a few slots more ([`short`]), and while the backlog is short both sides go round those: the
//! *short lap*. When the backlog outgrows it the producer *changes laps*: from the position
//! that it announces, items lie in the *long lap* of `depth` slots; it changes back once
//! the consumer has nearly caught up. So depth costs cache only while it is used.
//!
//! - A position lies in one lap, and its commit word says so: the other lap's slot never holds it.
//! - In the short lap the producer is less than [`short`] ahead of the head, in the long lap
//!   less than `depth`, so a slot is free whenever its turn comes, whatever happened before.
//! - A change is announced before the first item behind it is published. The consumer that finds
//!   its slot not ready looks whether there is one at its position.
//! - The producer announces a change to the short lap only when the head has passed the last change
//!   to the long one; so each of the two words is free when it is written anew.
//!
//! After Firedancer's mcache and Aeron's frame-length commit (a stamp beside the payload), with the
//! cached position of Lee, Bui and Venkataramani, "A Lock-Free, Cache-Efficient Shared Ring Buffer
//! for Multi-Core Architectures" (ANCS 2009).
//!
//! Invariant: the producer touches a slot's content only while it holds the credit for it and before
//! it stamps it; the consumer only after it saw the stamp and before it publishes a head beyond it.

#![allow(
    unsafe_code,
    reason = "hands slots from one thread to the other by their commit words"
)]

use core::fmt;
use core::ptr::NonNull;

use crossbeam_utils::CachePadded;

use crate::base::limits::CACHE_LINE_BYTES;
use crate::base::primitive::{Arc, AtomicU32, AtomicU64, Cell, Ordering};
use crate::base::{Cause, Reason, Sequence};
use crate::ring::DepthError;

mod consumer;
mod producer;

pub(crate) use consumer::Consumer;
pub(crate) use producer::{Claim, Producer};

/// The ordering of the store that publishes a slot; pairs with Acquire in [`Side::is_ready`].
///
/// `--cfg planted_ordering` weakens it. That exists to prove the models: each `tests/loom_ring*.rs` has
/// to fail with it, and with the ones below where it uses them.
pub(crate) const PUBLISH: Ordering = if cfg!(planted_ordering) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// The ordering of the store of a head, which gives slots back; pairs with Acquire where the producer looks at it.
/// `--cfg planted_return` weakens it.
pub(crate) const RETURN: Ordering = if cfg!(planted_return) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// The ordering of the store that says where a batch begins; pairs with Acquire in `ready_ahead`.
/// `--cfg planted_batch` weakens it.
pub(crate) const BATCH: Ordering = if cfg!(planted_batch) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// The ordering by which a side says that it has ended; pairs with Acquire in [`Mark::get`].
/// `--cfg planted_close` weakens it.
pub(crate) const CLOSE: Ordering = if cfg!(planted_close) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// Credits beyond the depth: none, but for `--cfg planted_bound`, which exists to prove the checkers:
/// every story of `tests/shuttle_rings.rs` has to fail with it.
pub(crate) const PLANTED_CREDIT: u64 = cfg!(planted_bound) as u64;

/// Whether a change back may be announced although the consumer has yet to find the last one: never, but
/// for `--cfg planted_laps`, with which `tests/loom_ring.rs` and `tests/shuttle_rings.rs` have to fail.
const PLANTED_LAPS: bool = cfg!(planted_laps);

/// The head is published every `depth / LAZY` items: seldom enough to cost nothing, often enough
/// that a producer at the limit of a deep ring gets its credits in time.
pub(crate) const LAZY: u64 = 8;

/// Bytes of a short lap, but for slots so large that the fewest take more. Two rings, there and back, and what a handler
/// touches share a first-level
/// cache of 32 KiB; at 384 B a slot, 32 of them cost a hop a quarter more than 16 (`benches/peers`, *apart*).
const SHORT_BYTES: u64 = 8 * 1024;

/// Fewest slots of a short lap: with fewer the producer would look at the head with every second item.
const SHORT_MIN: u64 = 8;

/// Slots of the short lap: a producer looks at the head once in half a lap, so more than these gain nothing, and fewer
/// cost it more.
const fn short<V, L: Layout>() -> u64 {
    if cfg!(any(loom, shuttle)) {
        return 2;
    }
    let slot_bytes = (size_of::<Slot<V, L>>() as u64) << is_spread::<V, L>() as u32;
    let mut slots = 32;
    while slots > SHORT_MIN && slots * slot_bytes > SHORT_BYTES {
        slots /= 2;
    }
    slots
}

/// Whether a ring of `depth` has a short lap: not where it would save nothing, or not fit a first-level cache either.
const fn has_short_lap<V, L: Layout>(depth: usize) -> bool {
    let fits = short::<V, L>() * size_of::<Slot<V, L>>() as u64 <= 2 * SHORT_BYTES;
    depth as u64 >= 2 * short::<V, L>() && fits
}

/// Whether the short lap uses only every second of its slots: where a slot is whole cache lines, few of
/// them. Processors fetch a line's neighbour with it; a neighbour that is the next slot is
/// then taken from the side that is about to write it, and a hop of 56 B costs 75 ns instead of 52.
const fn is_spread<V, L: Layout>() -> bool {
    align_of::<Slot<V, L>>() == CACHE_LINE_BYTES && size_of::<Slot<V, L>>() <= 2 * CACHE_LINE_BYTES
}

/// [`is_spread`] as a word: all ones if so.
const fn every_second<V, L: Layout>() -> u64 {
    if is_spread::<V, L>() { u64::MAX } else { 0 }
}

/// Slots that the short lap of a ring of `depth` takes, the unused ones between them included.
const fn short_slots<V, L: Layout>(depth: usize) -> usize {
    if has_short_lap::<V, L>(depth) {
        (short::<V, L>() as usize) << is_spread::<V, L>() as u32
    } else {
        0
    }
}

/// How slots lie in memory: [`Packed`], [`Lined`] or [`Apart`].
pub trait Layout: sealed::Sealed + fmt::Debug + Send + Sync + 'static {}

/// Slots follow each other without gaps; several small ones share a cache line.
#[derive(Clone, Copy, Debug)]
pub struct Packed;

/// Each slot begins a cache line of its own.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Lined;

/// Each slot begins a pair of cache lines; the commit word has the first line for itself, and the content the others.
///
/// For contents of more than two lines: their writing takes so long that the consumer, which waits on the commit word,
/// would take the line that it shares with them away in the middle.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
pub struct Apart;

impl Layout for Packed {}
impl Layout for Lined {}
impl Layout for Apart {}

mod sealed {
    pub trait Sealed {
        /// What the content is aligned to, and so what it keeps away from.
        type Edge;
    }
    impl Sealed for super::Packed {
        type Edge = ();
    }
    impl Sealed for super::Lined {
        type Edge = ();
    }
    impl Sealed for super::Apart {
        type Edge = super::Lined;
    }
}

/// What a slot holds.
pub(crate) trait Content: Sized {
    /// Whether [`Content::discard`] does anything.
    const DISCARDS: bool = false;

    /// Ends a content that was published and never consumed.
    ///
    /// # Safety
    /// The content was published, was not consumed, and is not used afterwards.
    unsafe fn discard(&mut self) {}
}

/// One slot: commit word first, the content behind it; in the same cache line but for [`Apart`].
#[repr(C)]
pub(crate) struct Slot<V, L: Layout> {
    pub(crate) layout: [L; 0],
    /// `position + 1` of the content that was published last.
    pub(crate) seq: AtomicU64,
    edge: [L::Edge; 0],
    pub(crate) value: Cell<V>,
}

impl<V, L: Layout> Slot<V, L> {
    /// A slot with that commit word and content.
    pub(crate) fn new(word: u64, content: V) -> Slot<V, L> {
        Slot {
            layout: [],
            seq: AtomicU64::new(word),
            edge: [],
            value: Cell::new(content),
        }
    }
}

#[cfg(not(any(loom, shuttle)))]
impl<V, L: Layout> Slot<V, L> {
    /// Bytes from the start of the slot to its content.
    pub(crate) const VALUE_AT_BYTES: usize = core::mem::offset_of!(Slot<V, L>, value);
}

/// The words that both sides share beside the slots, each on a cache line of its writer.
#[repr(C)]
struct Control {
    /// The consumer has done with everything before it. Written by the consumer.
    head: CachePadded<AtomicU64>,
    /// Where the batch that was published last begins. Written by the producer, read only by [`Consumer::ready_ahead`].
    batch_at: CachePadded<AtomicU64>,
    /// Written by the producer, seldom; the consumer looks at it whenever it finds nothing.
    changes: CachePadded<Changes>,
    /// Written once by each side, so both can afford to look at it every time.
    closed: CachePadded<Closed>,
}

/// The positions from which items lie in the other lap. Relaxed throughout: a change carries no
/// item, only where to look for it; and who has seen the producer's close has seen all changes.
#[repr(C)]
struct Changes {
    to_long_at: AtomicU64,
    to_short_at: AtomicU64,
}

#[repr(C)]
struct Closed {
    by_producer: Mark,
    by_consumer: Mark,
}

/// A cause, or 0 while there is none.
#[repr(transparent)]
pub(crate) struct Mark(AtomicU32);

impl Mark {
    pub(crate) fn new() -> Mark {
        Mark(AtomicU32::new(0))
    }

    /// Sets the cause if there is none yet: the first one's stays, of several sides too.
    pub(crate) fn set(&self, cause: Cause) {
        let word = cause.index() as u32 + 1;
        // CLOSE pairs with Acquire in Mark::get. A failure leaves the first cause, which nobody here reads: Relaxed.
        let _ = self.0.compare_exchange(0, word, CLOSE, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> Option<Cause> {
        match self.0.load(Ordering::Acquire) {
            // pairs with CLOSE in Mark::set
            0 => None,
            word => Cause::ALL.get(word as usize - 1).copied(),
        }
    }
}

/// The memory of a ring. Control and slots hold no pointers.
struct Ring<V: Content, L: Layout> {
    control: Control,
    /// The long lap, and behind it the short one.
    slots: Box<[Slot<V, L>]>,
    depth: usize,
}

impl<V: Content, L: Layout> Drop for Ring<V, L> {
    /// Ends what was published and never consumed. Both handles are gone, and the consumer's has
    /// published its exact head.
    fn drop(&mut self) {
        if !V::DISCARDS {
            return;
        }
        let (long, short) = self.slots.split_at(self.depth);
        let laps = [(long, 0), (short, every_second::<V, L>())];
        // Acquire here and below, as the last handle's drop may be the other side's: pairs with the stores of both.
        let mut position = Sequence(self.control.head.load(Ordering::Acquire));
        for _ in 0..self.depth {
            let mut laps = laps.iter().filter(|(slots, _)| !slots.is_empty());
            let Some(slot) = laps.find_map(|(slots, every_second)| {
                let slot = &slots[position.spread_slot(*every_second, slots.len() as u64 - 1)];
                (slot.seq.load(Ordering::Acquire) == stamp(position)).then_some(slot)
            }) else {
                break;
            };
            slot.value.with_mut(|value| {
                // SAFETY: nobody else has the ring any more, so the pointer is unique.
                let value = unsafe { &mut *value };
                // SAFETY: its stamp says published; it lies at or behind the exact head, so it was
                // not consumed; the memory is freed after this.
                unsafe { value.discard() };
            });
            position = position.next();
        }
    }
}

/// The commit word that says that `position` is ready.
#[inline(always)]
pub(crate) fn stamp(position: Sequence) -> u64 {
    position.next().0
}

/// How many places are ready from the first one on, which is, up to `limit`, by doubling and then halving steps.
pub(crate) fn ready_run(limit: u64, is_ready: impl Fn(u64) -> bool) -> u64 {
    // `ready` is an index seen ready; `end` is one seen not ready, or the limit.
    let (mut ready, mut end) = (0, 1);
    while end < limit && is_ready(end) {
        ready = end;
        end *= 2;
    }
    end = end.min(limit);
    while end - ready > 1 {
        let middle = ready + (end - ready) / 2;
        if is_ready(middle) {
            ready = middle;
        } else {
            end = middle;
        }
    }
    end
}

/// Bytes that a ring of `depth` slots takes on the heap, counters of the shared ownership included.
pub(crate) const fn memory_bytes<V: Content, L: Layout>(depth: usize) -> usize {
    let counts = (2 * size_of::<usize>()).next_multiple_of(align_of::<Ring<V, L>>());
    let slots = depth + short_slots::<V, L>(depth);
    counts + size_of::<Ring<V, L>>() + slots * size_of::<Slot<V, L>>()
}

/// Both handles of a ring.
pub(crate) type Pair<V, L> = (Producer<V, L>, Consumer<V, L>);

/// A ring of `depth` slots that starts at `start`, each filled with what `fill` gives.
pub(crate) fn ring<V: Content, L: Layout>(
    depth: usize,
    start: Sequence,
    mut fill: impl FnMut() -> V,
) -> Result<Pair<V, L>, DepthError> {
    DepthError::check(depth)?;
    // Each word is what the lap before `start` would have left, so that none looks ready.
    let stale = |index: usize, depth: usize| {
        let first = start.plus((index as u64).wrapping_sub(start.0) & (depth as u64 - 1));
        stamp(first).wrapping_sub(depth as u64)
    };
    let mut slots = Vec::with_capacity(depth + short_slots::<V, L>(depth));
    for index in 0..depth {
        slots.push(Slot::new(stale(index, depth), fill()));
    }
    for index in 0..short_slots::<V, L>(depth) {
        let word = stale(
            index >> is_spread::<V, L>() as u32,
            short::<V, L>() as usize,
        );
        slots.push(Slot::new(word, fill()));
    }
    let before = start.0.wrapping_sub(1);
    let ring = Arc::new(Ring {
        control: Control {
            head: CachePadded::new(AtomicU64::new(start.0)),
            batch_at: CachePadded::new(AtomicU64::new(start.0)),
            changes: CachePadded::new(Changes {
                to_long_at: AtomicU64::new(before),
                to_short_at: AtomicU64::new(before),
            }),
            closed: CachePadded::new(Closed {
                by_producer: Mark::new(),
                by_consumer: Mark::new(),
            }),
        },
        slots: slots.into_boxed_slice(),
        depth,
    });
    Ok((
        Producer::new(Side::of(&ring), start),
        Consumer::new(Side::of(&ring), start),
    ))
}

/// One side's way into the memory.
struct Side<V: Content, L: Layout> {
    ring: Arc<Ring<V, L>>,
    /// The lap that this side is on; here, because it saves the hot path loads through `ring`.
    here: Lap<V, L>,
    /// The other one.
    there: Lap<V, L>,
    on_short: bool,
    depth: u64,
}

/// Slots that positions go round.
struct Lap<V: Content, L: Layout> {
    first: NonNull<Slot<V, L>>,
    mask: u64,
    every_second: u64,
}

impl<V: Content, L: Layout> Lap<V, L> {
    fn of(slots: &[Slot<V, L>], every_second: u64) -> Lap<V, L> {
        Lap {
            first: NonNull::from(slots).cast(),
            mask: slots.len() as u64 - 1,
            every_second,
        }
    }
}

// SAFETY: a side is the only one of its kind, and contents go from thread to thread by Release and
// Acquire on the commit word (and on the head, on the way back); so it may move wherever `V` may.
unsafe impl<V: Content + Send, L: Layout> Send for Side<V, L> {}

impl<V: Content, L: Layout> Side<V, L> {
    /// A side that is on the short lap, if there is one.
    fn of(ring: &Arc<Ring<V, L>>) -> Side<V, L> {
        let (long, short) = ring.slots.split_at(ring.depth);
        let on_short = !short.is_empty();
        Side {
            ring: Arc::clone(ring),
            here: if on_short {
                Lap::of(short, every_second::<V, L>())
            } else {
                Lap::of(long, 0)
            },
            there: Lap::of(long, 0),
            on_short,
            depth: ring.depth as u64,
        }
    }

    #[inline(always)]
    fn depth(&self) -> u64 {
        self.depth
    }

    #[inline(always)]
    fn control(&self) -> &Control {
        &self.ring.control
    }

    /// Goes over to the other lap. Without a short lap nobody ever announces a change.
    fn change_laps(&mut self) {
        core::mem::swap(&mut self.here, &mut self.there);
        self.on_short = !self.on_short;
    }

    /// Where a change from the lap of this side is announced.
    #[inline(always)]
    fn change_word(&self) -> &AtomicU64 {
        let changes = &self.control().changes;
        if self.on_short {
            &changes.to_long_at
        } else {
            &changes.to_short_at
        }
    }

    /// The slot of a position on the lap of this side.
    #[inline(always)]
    fn slot(&self, position: Sequence) -> &Slot<V, L> {
        let index = if is_spread::<V, L>() {
            position.spread_slot(self.here.every_second, self.here.mask)
        } else {
            position.slot(self.here.mask)
        };
        // SAFETY: the masked index is below the number of slots of the lap.
        let slot = unsafe { self.here.first.add(index) };
        // SAFETY: `ring` keeps the slots alive and in place, and a slot is shared only by reference.
        unsafe { slot.as_ref() }
    }

    #[inline(always)]
    fn is_ready(&self, position: Sequence) -> bool {
        // Acquire: pairs with PUBLISH in Claim::publish; the content is seen with its stamp.
        self.slot(position).seq.load(Ordering::Acquire) == stamp(position)
    }
}

const _: () = assert!(align_of::<Lined>() == CACHE_LINE_BYTES);
// The model checker's atomics and cells are wider.
#[cfg(not(any(loom, shuttle)))]
const _: () = {
    assert!(size_of::<Slot<u64, Packed>>() == 16);
    assert!(size_of::<Slot<[u8; 56], Lined>>() == CACHE_LINE_BYTES);
    assert!(core::mem::offset_of!(Slot<u64, Lined>, seq) == 0);
    assert!(Slot::<[u64; 32], Apart>::VALUE_AT_BYTES == CACHE_LINE_BYTES);
    assert!(size_of::<Slot<[u64; 32], Apart>>() == 6 * CACHE_LINE_BYTES);
};
