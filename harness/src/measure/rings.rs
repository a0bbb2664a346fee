//! hopline's own rings as links.
//!
//! Invariant: each is used as a user would use it, by its public interface.

use std::marker::PhantomData;

use hopline::base::Sequence;
use hopline::base::limits::PAYLOAD_BYTES;
use hopline::ring::blob::{self, BlobConsumer, BlobProducer};
use hopline::ring::fan_in::FanIn;
use hopline::ring::hop::{self, FrameConsumer, FrameProducer};
use hopline::ring::multicast::{self, Graph};
use hopline::ring::{Apart, Layout, Lined, Packed, bulk, mpsc, spsc};

use super::link::{Link, Rx, Tx, fill, fill_bytes, sum, sum_bytes};

/// The words of a depth that a ring refuses: a mistake of the bench's author, not of its user.
const DEPTH: &str = "the depth is a power of two within the limits";

/// A ring of values of `W` words whose slots lie as `L` says.
#[derive(Clone, Copy, Debug)]
pub struct RingLink<const W: usize, L> {
    depth: usize,
    layout: PhantomData<L>,
}

/// A packed ring of values of `W` words.
pub type PackedLink<const W: usize> = RingLink<W, Packed>;

/// A ring of values of `W` words whose slots begin a cache line each.
pub type LinedLink<const W: usize> = RingLink<W, Lined>;

/// A ring of values of `W` words whose commit words have a cache line each for themselves.
pub type ApartLink<const W: usize> = RingLink<W, Apart>;

impl<const W: usize, L> RingLink<W, L> {
    /// With `depth` slots, a power of two.
    #[must_use]
    pub const fn of(depth: usize) -> Self {
        RingLink {
            depth,
            layout: PhantomData,
        }
    }
}

impl<const W: usize, L: Layout> Link for RingLink<W, L> {
    type Tx = spsc::Producer<[u64; W], L>;
    type Rx = spsc::Consumer<[u64; W], L>;

    fn words(&self) -> u64 {
        W as u64
    }

    fn open(&self, _round: usize) -> (Self::Tx, Self::Rx) {
        spsc::ring_at(self.depth, Sequence(0)).expect(DEPTH)
    }
}

impl<const W: usize, L: Layout> Tx for spsc::Producer<[u64; W], L> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.push(fill(number)).is_ok()
    }

    #[inline(always)]
    fn send_batch(&mut self, first: u64, count: usize) -> usize {
        let values = (0..count).map(|at| fill(first + at as u64));
        self.push_batch(values).unwrap_or(0)
    }
}

impl<const W: usize, L: Layout> Rx for spsc::Consumer<[u64; W], L> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        let total = sum(self.peek()?);
        self.advance();
        Some(total)
    }

    #[inline(always)]
    fn take_batch(&mut self, most: usize) -> (usize, u64) {
        let mut total = 0u64;
        let count = self.drain(most, |value| total = total.wrapping_add(sum(&value)));
        (count, total)
    }
}

/// A hop's ring of frames with envelopes, of which `bytes` of the payload are written and read.
#[derive(Clone, Copy, Debug)]
pub struct HopLink {
    depth: usize,
    bytes: usize,
}

impl HopLink {
    /// With `depth` slots (a power of two) and payloads of `bytes`, which is cut to whole words and
    /// to what a slot holds.
    #[must_use]
    pub const fn of(depth: usize, bytes: usize) -> HopLink {
        let bytes = if bytes < PAYLOAD_BYTES {
            bytes
        } else {
            PAYLOAD_BYTES
        };
        let words = if bytes < 8 { 1 } else { bytes / 8 };
        HopLink {
            depth,
            bytes: words * 8,
        }
    }
}

/// The producer of a [`HopLink`].
#[derive(Debug)]
pub struct HopTx {
    ring: FrameProducer,
    bytes: usize,
}

impl Link for HopLink {
    type Tx = HopTx;
    type Rx = FrameConsumer;

    fn words(&self) -> u64 {
        self.bytes as u64 / 8
    }

    fn open(&self, _round: usize) -> (HopTx, FrameConsumer) {
        let (ring, rx) = hop::frames(self.depth).expect(DEPTH);
        let bytes = self.bytes;
        (HopTx { ring, bytes }, rx)
    }
}

impl Tx for HopTx {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        let Ok(mut claim) = self.ring.claim() else {
            return false;
        };
        fill_bytes(&mut claim.payload_mut()[..self.bytes], number);
        let envelope = claim.envelope_mut();
        envelope.t_offer_ns = number;
        envelope.len = self.bytes as u16;
        claim.commit();
        true
    }

    #[inline(always)]
    fn send_batch(&mut self, first: u64, count: usize) -> usize {
        let Ok(mut batch) = self.ring.claim_batch(count) else {
            return 0;
        };
        for at in 0..count {
            let (envelope, payload) = batch.frame_mut(at);
            fill_bytes(&mut payload[..self.bytes], first + at as u64);
            envelope.t_offer_ns = first + at as u64;
            envelope.len = self.bytes as u16;
        }
        batch.commit(count);
        count
    }
}

impl Rx for FrameConsumer {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        self.take_with(|sum| sum)
    }

    #[inline(always)]
    fn take_with<T>(&mut self, then: impl FnOnce(u64) -> T) -> Option<T> {
        let result = then(sum_bytes(self.peek()?.payload()));
        self.advance();
        Some(result)
    }
}

/// A ring from many threads to one, with one producer: what its claim costs where nobody contends.
#[derive(Clone, Copy, Debug)]
pub struct MpscLink<const W: usize> {
    depth: usize,
}

impl<const W: usize> MpscLink<W> {
    /// With `depth` slots of a cache line each, a power of two.
    #[must_use]
    pub const fn of(depth: usize) -> Self {
        MpscLink { depth }
    }
}

impl<const W: usize> Link for MpscLink<W> {
    type Tx = mpsc::Producer<[u64; W], Lined>;
    type Rx = mpsc::Consumer<[u64; W], Lined>;

    fn words(&self) -> u64 {
        W as u64
    }

    fn open(&self, _round: usize) -> (Self::Tx, Self::Rx) {
        mpsc::ring_lined(self.depth).expect(DEPTH)
    }
}

impl<const W: usize, L: Layout> Tx for mpsc::Producer<[u64; W], L> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.push(fill(number)).is_ok()
    }
}

impl<const W: usize, L: Layout> Rx for mpsc::Consumer<[u64; W], L> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        let total = sum(self.peek()?);
        self.advance();
        Some(total)
    }
}

/// A ring of values of `W` words without commit words: the bulk mode.
#[derive(Clone, Copy, Debug)]
pub struct BulkLink<const W: usize> {
    depth: usize,
}

impl<const W: usize> BulkLink<W> {
    /// With `depth` slots, a power of two.
    #[must_use]
    pub const fn of(depth: usize) -> Self {
        BulkLink { depth }
    }
}

impl<const W: usize> Link for BulkLink<W> {
    type Tx = bulk::Producer<[u64; W]>;
    type Rx = bulk::Consumer<[u64; W]>;

    fn words(&self) -> u64 {
        W as u64
    }

    fn open(&self, _round: usize) -> (Self::Tx, Self::Rx) {
        bulk::ring(self.depth).expect(DEPTH)
    }
}

impl<const W: usize> Tx for bulk::Producer<[u64; W]> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.push(fill(number)).is_ok()
    }

    #[inline(always)]
    fn send_batch(&mut self, first: u64, count: usize) -> usize {
        let values = (0..count).map(|at| fill(first + at as u64));
        self.push_batch(values).unwrap_or(0)
    }
}

impl<const W: usize> Rx for bulk::Consumer<[u64; W]> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        Some(sum(&self.pop()?))
    }

    #[inline(always)]
    fn take_batch(&mut self, most: usize) -> (usize, u64) {
        let mut total = 0u64;
        let count = self.drain(most, |value| total = total.wrapping_add(sum(&value)));
        (count, total)
    }
}

/// A ring of blobs: a descriptor in a slot, `bytes` in the arena, written and read in place.
#[derive(Clone, Copy, Debug)]
pub struct BlobLink {
    depth: usize,
    bytes: usize,
}

impl BlobLink {
    /// With `depth` slots (a power of two), payloads of `bytes`, which is cut to whole words, and an arena for as many of them.
    #[must_use]
    pub const fn of(depth: usize, bytes: usize) -> BlobLink {
        let words = if bytes < 8 { 1 } else { bytes / 8 };
        BlobLink {
            depth,
            bytes: words * 8,
        }
    }
}

/// The producer of a [`BlobLink`].
#[derive(Debug)]
pub struct BlobTx {
    ring: BlobProducer,
    bytes: usize,
}

impl Link for BlobLink {
    type Tx = BlobTx;
    type Rx = BlobConsumer;

    fn words(&self) -> u64 {
        self.bytes as u64 / 8
    }

    fn open(&self, _round: usize) -> (BlobTx, BlobConsumer) {
        let bytes = self.bytes;
        let arena = (self.depth * bytes.next_multiple_of(64)).next_power_of_two();
        let (ring, rx) =
            blob::ring(self.depth, arena).expect("depth and arena are within the limits");
        (BlobTx { ring, bytes }, rx)
    }
}

impl Tx for BlobTx {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        let Ok(mut claim) = self.ring.claim(self.bytes) else {
            return false;
        };
        fill_bytes(claim.bytes_mut(), number);
        claim.commit(self.bytes);
        true
    }
}

impl Rx for BlobConsumer {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        self.take_with(|sum| sum)
    }

    #[inline(always)]
    fn take_with<T>(&mut self, then: impl FnOnce(u64) -> T) -> Option<T> {
        let result = then(sum_bytes(self.peek()?.bytes()));
        self.advance();
        Some(result)
    }
}

/// Readers of a [`MulticastLink`].
const READERS: usize = 2;

/// Which of the readers of a [`MulticastLink`] gives the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// The first that has the value: the hop to each of them, were it alone on its core.
    First,
    /// The last one, when all have it: the hop to the slowest.
    Last,
}

/// A ring of values of `W` words that two reliable readers read in place, polled one after the other
/// on the receiver's thread.
#[derive(Clone, Copy, Debug)]
pub struct MulticastLink<const W: usize> {
    depth: usize,
    answers: Answers,
}

impl<const W: usize> MulticastLink<W> {
    /// With `depth` slots of a cache line each, a power of two.
    #[must_use]
    pub const fn of(depth: usize, answers: Answers) -> Self {
        MulticastLink { depth, answers }
    }
}

/// The readers of a [`MulticastLink`].
#[derive(Debug)]
pub struct MulticastRx<const W: usize> {
    readers: [multicast::Reader<[u64; W], Lined>; READERS],
    answers: Answers,
    /// Whether the readers ever read different things: from then on every answer is wrong.
    differed: bool,
}

impl<const W: usize> Link for MulticastLink<W> {
    type Tx = multicast::Producer<[u64; W], Lined>;
    type Rx = MulticastRx<W>;

    fn words(&self) -> u64 {
        W as u64
    }

    fn open(&self, _round: usize) -> (Self::Tx, Self::Rx) {
        let mut graph = Graph::new(self.depth);
        for _ in 0..READERS {
            graph.reader();
        }
        let (tx, readers) = graph.values_lined().expect(DEPTH);
        let readers = readers.try_into().expect("as many as were asked for");
        let answers = self.answers;
        let differed = false;
        (
            tx,
            MulticastRx {
                readers,
                answers,
                differed,
            },
        )
    }
}

impl<const W: usize> Tx for multicast::Producer<[u64; W], Lined> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        self.push(fill(number)).is_ok()
    }
}

impl<const W: usize> Rx for MulticastRx<W> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        self.take_with(|sum| sum)
    }

    #[inline(always)]
    fn take_with<T>(&mut self, then: impl FnOnce(u64) -> T) -> Option<T> {
        let [first, second] = &mut self.readers;
        let total = sum(first.peek()?);
        if self.answers == Answers::First {
            let result = then(total.wrapping_add(u64::from(self.differed)));
            first.advance();
            // What one reader has seen, the other sees as well: neither follows the other.
            self.differed |= second.peek().map(|words| sum(words)) != Some(total);
            second.advance();
            return Some(result);
        }
        first.advance();
        self.differed |= second.peek().map(|words| sum(words)) != Some(total);
        let result = then(total.wrapping_add(u64::from(self.differed)));
        second.advance();
        Some(result)
    }
}

/// `N` rings with a producer each, read as one: the fan-in of producers that are known from the start.
///
/// One thread has all the producers and takes them in an order that the reader's turns do not follow.
/// Between inputs there is no order, so this is for [`ping_pong`](super::ping_pong) only.
#[derive(Clone, Copy, Debug)]
pub struct FanInLink<const N: usize, const W: usize> {
    depth: usize,
}

impl<const N: usize, const W: usize> FanInLink<N, W> {
    /// With `depth` slots of a cache line each in every ring, a power of two.
    #[must_use]
    pub const fn of(depth: usize) -> Self {
        const { assert!(N > 0) };
        FanInLink { depth }
    }
}

/// The producers of a [`FanInLink`].
#[derive(Debug)]
pub struct FanInTx<const N: usize, const W: usize> {
    rings: [spsc::Producer<[u64; W], Lined>; N],
    sent: u64,
}

impl<const N: usize, const W: usize> Link for FanInLink<N, W> {
    type Tx = FanInTx<N, W>;
    type Rx = FanIn<spsc::Consumer<[u64; W], Lined>>;

    fn words(&self) -> u64 {
        W as u64
    }

    fn open(&self, _round: usize) -> (Self::Tx, Self::Rx) {
        let mut consumers = Vec::with_capacity(N);
        let rings = core::array::from_fn(|_| {
            let (tx, rx) = spsc::ring_lined(self.depth).expect(DEPTH);
            consumers.push(rx);
            tx
        });
        (FanInTx { rings, sent: 0 }, FanIn::new(consumers))
    }
}

impl<const N: usize, const W: usize> Tx for FanInTx<N, W> {
    #[inline(always)]
    fn send(&mut self, number: u64) -> bool {
        // The high half of a multiple of the golden ratio, after Knuth, The Art of Computer
        // Programming 3, 6.4: spread evenly, and not in turn.
        let spread = self.sent.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let sent = self.rings[spread as usize % N].push(fill(number)).is_ok();
        self.sent += u64::from(sent);
        sent
    }
}

impl<const W: usize> Rx for FanIn<spsc::Consumer<[u64; W], Lined>> {
    #[inline(always)]
    fn take(&mut self) -> Option<u64> {
        let mut total = None;
        self.poll(1, |_, words| total = Some(sum(&words)));
        total
    }
}
