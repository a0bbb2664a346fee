//! A bounded ring of bytes: room for payloads of any size, taken and given back in order.
//!
//! The writer takes a contiguous range, fills it, keeps as much as it used; where the range of a payload is says its
//! descriptor, which travels in a ring of slots ([`crate::ring::blob`]). The reader gives bytes back in the same
//! order by publishing one position, lazily, as a ring publishes its head.
//!
//! Positions count bytes, are 64 bits wide, always multiples of a cache line, and wrap past 2^64. What does not fit
//! before the end of the memory begins at its start; the lines passed over belong to that payload and are given
//! back with it.
//!
//! Invariant: the writer touches a byte only from the position that the reader has published on, the reader only
//! bytes whose descriptor it was given.

#![allow(
    unsafe_code,
    reason = "lends ranges of one memory to two threads by position"
)]

use crossbeam_utils::CachePadded;

use crate::base::limits::{AHEAD_BYTES_MAX, ARENA_BYTES_MAX, ARENA_BYTES_MIN, CACHE_LINE_BYTES};
use crate::base::primitive::{Arc, AtomicU64, Memory, Ordering};
use crate::ring::stamped::LAZY;

/// The ordering of the store that gives bytes back; pairs with Acquire in [`Writer::look`].
/// `--cfg planted_return` weakens it, and `tests/loom_ring_blob.rs` has to fail with it.
const FREE: Ordering = if cfg!(planted_return) {
    Ordering::Relaxed
} else {
    Ordering::Release
};

/// Where a payload lies: what the descriptor says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Extent {
    /// Bytes from the start of the memory.
    pub(crate) offset: u32,
    /// Bytes of the payload.
    pub(crate) len: u32,
}

/// Whole lines for `len` bytes, in bytes.
#[inline(always)]
const fn lines_for(len: u64) -> u64 {
    len.next_multiple_of(CACHE_LINE_BYTES as u64)
}

/// The position, at or after `at`, from which `len` bytes lie unbroken in a memory of `mask + 1` bytes.
#[inline(always)]
const fn unbroken(at: u64, len: u64, mask: u64) -> u64 {
    let rest = mask + 1 - (at & mask);
    if len <= rest {
        at
    } else {
        at.wrapping_add(rest)
    }
}

#[derive(Debug)]
#[repr(C)]
struct Shared {
    /// The reader has done with all bytes before it. Written by the reader.
    freed: CachePadded<AtomicU64>,
    memory: Memory,
}

// SAFETY: there is one writer and one reader, and a range of bytes goes from one to the other by its descriptor
// (Release and Acquire on the slot's commit word) and back by `freed` (Release and Acquire).
unsafe impl Sync for Shared {}

/// One side's way to the memory.
#[derive(Debug)]
struct Side {
    shared: Arc<Shared>,
    mask: u64,
}

/// Both handles of an arena of `bytes`, whose first position is `start`.
///
/// # Panics
/// If `bytes` is no power of two within the limits, or `start` no multiple of a cache line: [`crate::ring::blob`] checks.
pub(crate) fn arena(bytes: usize, start: u64) -> (Writer, Reader) {
    assert!(bytes.is_power_of_two() && (ARENA_BYTES_MIN..=ARENA_BYTES_MAX).contains(&bytes));
    assert!(start.is_multiple_of(CACHE_LINE_BYTES as u64));
    let shared = Arc::new(Shared {
        freed: CachePadded::new(AtomicU64::new(start)),
        memory: Memory::zeroed(bytes / CACHE_LINE_BYTES),
    });
    let side = || Side {
        shared: Arc::clone(&shared),
        mask: bytes as u64 - 1,
    };
    let writer = Writer {
        side: side(),
        at: start,
        freed: start,
        passed_over: 0,
    };
    let reader = Reader {
        side: side(),
        at: start,
        freed: start,
        lazy: bytes as u64 / LAZY,
    };
    (writer, reader)
}

/// Bytes that an arena of `bytes` takes on the heap.
pub(crate) const fn memory_bytes(bytes: usize) -> usize {
    let counts = (2 * size_of::<usize>()).next_multiple_of(align_of::<Shared>());
    counts + size_of::<Shared>() + bytes
}

/// The side that takes bytes.
#[derive(Debug)]
pub(crate) struct Writer {
    side: Side,
    /// Everything before it is taken.
    at: u64,
    /// The reader's position as last seen.
    freed: u64,
    /// Bytes passed over at the end of the memory so far.
    passed_over: u64,
}

/// Unbroken bytes set aside for one payload. Dropping or forgetting it changes nothing.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    writer: &'a mut Writer,
    start: u64,
    len: u32,
}

impl<'a> Room<'a> {
    /// The bytes: what an earlier lap left in them, or zeros.
    #[inline(always)]
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let side = &self.writer.side;
        let (offset, len) = ((self.start & side.mask) as usize, self.len as usize);
        let first = side.shared.memory.write(offset, len);
        // SAFETY: the room lies inside the memory, unbroken and initialised. It begins at or behind what is taken and
        // ends before what the reader may still read, so that only this side touches it; the room holds the only way
        // to the writer, and `&mut self` keeps it to one reference.
        unsafe { core::slice::from_raw_parts_mut(first, len) }
    }

    /// Takes the first `len` bytes (at most all) for good, and says where they lie.
    #[inline(always)]
    pub(crate) fn keep(self, len: usize) -> (Extent, &'a mut Writer) {
        let writer = self.writer;
        let len = len.min(self.len as usize) as u32;
        let passed_over = self.start.wrapping_sub(writer.at);
        writer.passed_over = writer.passed_over.wrapping_add(passed_over);
        writer.at = self.start.wrapping_add(lines_for(u64::from(len)));
        let offset = (self.start & writer.side.mask) as u32;
        (Extent { offset, len }, writer)
    }
}

impl Writer {
    pub(crate) fn bytes(&self) -> usize {
        self.side.mask as usize + 1
    }

    /// Largest payload: half of the memory, because that much fits unbroken wherever an empty arena stands.
    pub(crate) fn len_max(&self) -> usize {
        self.bytes() / 2
    }

    pub(crate) fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Bytes free, by the reader's position as it is now.
    pub(crate) fn free_bytes(&mut self) -> usize {
        self.look();
        self.bytes() - self.at.wrapping_sub(self.freed) as usize
    }

    #[inline]
    fn look(&mut self) {
        // Acquire: pairs with FREE in Reader::publish; the reader has done with what lies before.
        self.freed = self.side.shared.freed.load(Ordering::Acquire);
    }

    #[inline(always)]
    fn is_free(&self, end: u64) -> bool {
        end.wrapping_sub(self.freed) <= self.side.mask + 1
    }

    /// Unbroken room for `len` bytes (at most [`Writer::len_max`]), if there is.
    #[inline(always)]
    pub(crate) fn room(&mut self, len: usize) -> Option<Room<'_>> {
        debug_assert!(len <= self.len_max());
        let start = unbroken(self.at, len as u64, self.side.mask);
        let end = start.wrapping_add(lines_for(len as u64));
        if !self.is_free(end) {
            self.look();
            if !self.is_free(end) {
                return None;
            }
        }
        let len = len as u32;
        Some(Room {
            writer: self,
            start,
            len,
        })
    }

    /// Takes the cache lines of the next `len` bytes out of the reader's cache, by writing to each: it read them a lap
    /// ago, and a producer that waits for that with a payload in hand pays a second transfer. At most
    /// [`AHEAD_BYTES_MAX`], and only what is known to be free. `prefetchw` does not do it here: a line that both sides
    /// may read stays so. At 1 KiB it takes a quarter off a hop, at 4 KiB a third (`benches/peers`).
    #[inline(always)]
    pub(crate) fn take_ahead(&mut self, len: usize) {
        let len = len.min(AHEAD_BYTES_MAX);
        let start = unbroken(self.at, len as u64, self.side.mask);
        if !self.is_free(start.wrapping_add(lines_for(len as u64))) {
            return;
        }
        let offset = (start & self.side.mask) as usize;
        for line in (0..len).step_by(CACHE_LINE_BYTES) {
            let byte = self.side.shared.memory.write(offset + line, 1);
            // SAFETY: inside the memory, and free, so that only this side touches it; volatile, because nobody reads it.
            unsafe { byte.write_volatile(0) };
        }
    }
}

/// The side that gives bytes back.
#[derive(Debug)]
pub(crate) struct Reader {
    side: Side,
    /// Everything before it is done with.
    at: u64,
    /// The position as last published.
    freed: u64,
    /// Most bytes done with before the position is published.
    lazy: u64,
}

impl Reader {
    /// The bytes of a payload.
    ///
    /// # Safety
    /// `extent` is what [`Room::keep`] of this arena gave for the payload that [`Reader::step_over`] passes next, and it
    /// came over an Acquire load that saw what the writer stored with Release after it wrote the bytes.
    #[inline(always)]
    pub(crate) unsafe fn bytes(&self, extent: Extent) -> &[u8] {
        let (offset, len) = (extent.offset as usize, extent.len as usize);
        let first = self.side.shared.memory.read(offset, len);
        // SAFETY: the writer had this range unbroken inside the memory, wrote it before it handed over the extent (the
        // caller says so), and does not touch it before a position behind it is published, which needs `&mut self`.
        unsafe { core::slice::from_raw_parts(first, len) }
    }

    /// Has done with the payload at `extent`, the oldest one.
    #[inline(always)]
    pub(crate) fn step_over(&mut self, extent: Extent) {
        let in_lap = self.at & self.side.mask;
        // It lies where the last one ended or, past the lines that were too few for it, at the start of the memory.
        let passed_over = u64::from(extent.offset).wrapping_sub(in_lap) & self.side.mask;
        let taken = passed_over.wrapping_add(lines_for(u64::from(extent.len)));
        self.at = self.at.wrapping_add(taken);
        if self.at.wrapping_sub(self.freed) >= self.lazy {
            self.publish();
        }
    }

    /// Gives back every byte that is due.
    #[inline(always)]
    pub(crate) fn publish(&mut self) {
        if self.freed != self.at {
            self.freed = self.at;
            self.side.shared.freed.store(self.at, FREE); // pairs with Acquire in Writer::look
        }
    }
}

const _: () = assert!(Memory::LINE_BYTES == CACHE_LINE_BYTES);

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_never_broken_and_ends_at_the_end() {
        let mask = 255;
        for (at, len, start) in [(0, 256, 0), (64, 128, 64), (192, 64, 192), (192, 65, 256)] {
            assert_eq!(unbroken(at, len, mask), start);
        }
        let near_the_end = 0u64.wrapping_sub(64);
        assert_eq!(unbroken(near_the_end, 64, mask), near_the_end);
        assert_eq!(unbroken(near_the_end, 65, mask), 0);
    }

    #[test]
    fn taking_ahead_stays_inside_what_is_free() {
        let (mut writer, mut reader) = arena(512, 0);
        let mut room = writer.room(256).unwrap();
        room.bytes_mut().fill(7);
        let (first, writer) = room.keep(256);
        writer.take_ahead(256);
        let (second, writer) = writer.room(256).unwrap().keep(256);
        // Nothing is free: this would write over the first payload.
        writer.take_ahead(64);
        assert!(writer.room(1).is_none());
        // SAFETY: written above, on this thread, and the oldest.
        let seen = unsafe { reader.bytes(first) };
        assert!(seen.iter().all(|&byte| byte == 7));
        reader.step_over(first);
        reader.step_over(second);
        reader.publish();
        assert_eq!(writer.free_bytes(), 512);
    }
}
