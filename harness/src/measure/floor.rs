//! What no link can do without: the cost of measuring, and bare cache lines that move between two cores.
//!
//! Invariant: nothing here is a ring: no room is checked, nothing waits for a slow receiver.

use std::sync::Arc;

use crossbeam_utils::CachePadded;
use hopline::base::primitive::{AtomicU64, Ordering};

use super::link::{Link, Rx, Tx};

/// No link at all: every receiver finds the next number at once. Under it a loop measures itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Null;

/// The sender that sends nothing.
#[derive(Debug)]
pub struct NullTx;

/// The receiver that counts by itself.
#[derive(Debug, Default)]
pub struct NullRx {
    next: u64,
}

impl Link for Null {
    type Tx = NullTx;
    type Rx = NullRx;

    fn words(&self) -> u64 {
        1
    }

    fn open(&self, _round: usize) -> (NullTx, NullRx) {
        (NullTx, NullRx::default())
    }
}

impl Tx for NullTx {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        std::hint::black_box(number);
        true
    }
}

impl Rx for NullRx {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        let number = self.next;
        self.next += 1;
        Some(std::hint::black_box(number))
    }
}

/// Lines of [`Floor`] from which each round takes another, for where they lie matters.
const LINES: usize = 64;

/// The physical floor: one bare cache line that the sender writes and the receiver polls. Two of
/// them, one each way, are the two-line floor of a round trip.
///
/// For [`ping_pong`](super::ping_pong) and [`open_loop`](super::open_loop): a later item overwrites
/// an earlier one that nobody took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Floor;

type Lines = Arc<[CachePadded<AtomicU64>]>;

fn lines(count: usize) -> Lines {
    (0..count)
        .map(|_| CachePadded::new(AtomicU64::new(0)))
        .collect()
}

/// The writing end of a bare cache line.
#[derive(Debug)]
pub struct FloorTx {
    lines: Lines,
    at: usize,
}

/// The polling end of a bare cache line.
#[derive(Debug)]
pub struct FloorRx {
    lines: Lines,
    at: usize,
    last: u64,
}

impl Link for Floor {
    type Tx = FloorTx;
    type Rx = FloorRx;

    fn words(&self) -> u64 {
        1
    }

    fn open(&self, round: usize) -> (FloorTx, FloorRx) {
        let (lines, at) = (lines(LINES), round % LINES);
        let tx = FloorTx {
            lines: lines.clone(),
            at,
        };
        (tx, FloorRx { lines, at, last: 0 })
    }
}

impl Tx for FloorTx {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.lines[self.at].store(number + 1, Ordering::Release); // pairs with Acquire in FloorRx::take
        true
    }
}

impl Rx for FloorRx {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        let word = self.lines[self.at].load(Ordering::Acquire); // pairs with Release in FloorTx::send
        if word == self.last {
            return None;
        }
        self.last = word;
        Some(word - 1)
    }
}

/// Bare cache lines, `depth` of them one after the other as a ring uses its slots: what the walk
/// through memory costs without any ring. For [`ping_pong`](super::ping_pong) only.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// Lines in the walk; a power of two.
    pub depth: usize,
}

/// The writing end of a walk.
#[derive(Debug)]
pub struct WalkTx {
    lines: Lines,
    next: usize,
}

/// The polling end of a walk.
#[derive(Debug)]
pub struct WalkRx {
    lines: Lines,
    next: u64,
}

impl Link for Walk {
    type Tx = WalkTx;
    type Rx = WalkRx;

    fn words(&self) -> u64 {
        1
    }

    fn open(&self, _round: usize) -> (WalkTx, WalkRx) {
        let lines = lines(self.depth.next_power_of_two());
        let tx = WalkTx {
            lines: lines.clone(),
            next: 0,
        };
        (tx, WalkRx { lines, next: 0 })
    }
}

impl Tx for WalkTx {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        let at = self.next & (self.lines.len() - 1);
        self.next += 1;
        self.lines[at].store(number + 1, Ordering::Release); // pairs with Acquire in WalkRx::take
        true
    }
}

impl Rx for WalkRx {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        let at = self.next as usize & (self.lines.len() - 1);
        if self.lines[at].load(Ordering::Acquire) != self.next + 1 {
            // pairs with Release in WalkTx::send
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }
}
