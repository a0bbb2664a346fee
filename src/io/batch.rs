//! Many datagrams in one call: where they are kept, and how a burst becomes trains.
//!
//! Invariant: memory is taken when a batch is made and never afterwards; what a batch holds leaves
//! it in the order in which it came.

use core::net::SocketAddr;

use crate::base::limits::{BURST_MESSAGES, MESSAGE_BYTES_MAX};
use crate::io::mmsg::{Control, Name, Train};
use crate::io::{Datagram, IoError, Sent};

/// Most calls' worth of datagrams that one batch receives: as many as a source takes in a turn.
pub const BATCH_SLOTS_MAX: usize = BURST_MESSAGES;

/// Most messages of one `sendmmsg`: what a sink takes from a hop in a turn.
pub const SEND_CALLS_MAX: usize = crate::base::limits::BATCH_FRAMES;

/// Most segments of a train that is sent: the least of all kernels' limits (64 up to Linux 6.9, 128
/// since).
pub const TRAIN_SEGMENTS_MAX: usize = 64;

/// Datagrams that one call has to bring before [`Trains::Backlog`](crate::io::Trains) takes trains:
/// more than a burst of a few that a turn takes in its stride.
pub const TRAINS_FROM: usize = BATCH_SLOTS_MAX / 2;

/// Longest train that is received, in bytes: the length of an IP packet has 16 bits.
pub const TRAIN_BYTES_MAX: usize = 1 << 16;

/// What the start of a slot's buffer is moved by against the one before, in bytes. Buffers a power
/// of two apart would fight for the same few sets of the first-level cache.
const STAGGER_BYTES: usize = 192;

/// What is known of one received datagram or train.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) len: usize,
    /// Bytes of each datagram in it, at least 1.
    pub(crate) segment: usize,
    pub(crate) from: Option<SocketAddr>,
    pub(crate) stamp_wall_ns: Option<u64>,
    pub(crate) truncated: bool,
}

impl Head {
    const EMPTY: Head = Head {
        len: 0,
        segment: 1,
        from: None,
        stamp_wall_ns: None,
        truncated: false,
    };

    /// Datagrams in it: one without bytes is one.
    fn datagrams(&self) -> usize {
        self.len.div_ceil(self.segment).max(1)
    }
}

/// The memory of a receiving batch, a row for each datagram or train.
#[derive(Debug)]
pub(crate) struct RecvSlots {
    pub(crate) bytes: Box<[u8]>,
    /// Bytes of each buffer, and from the start of one to that of the next.
    pub(crate) bytes_each: usize,
    pub(crate) stride: usize,
    pub(crate) names: Box<[Name]>,
    pub(crate) controls: Box<[Control]>,
    pub(crate) heads: Box<[Head]>,
}

impl RecvSlots {
    pub(crate) fn len(&self) -> usize {
        self.heads.len()
    }

    fn buffer(&self, at: usize) -> &[u8] {
        &self.bytes[at * self.stride..][..self.bytes_each]
    }
}

/// A received datagram where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'b> {
    /// Its bytes.
    pub bytes: &'b [u8],
    /// Who sent it.
    pub from: Option<SocketAddr>,
    /// When the kernel, or the device where that was granted, received it, in nanoseconds of the wall
    /// clock, if that was asked for. The
    /// datagrams of a train share the stamp of their train.
    pub stamp_wall_ns: Option<u64>,
    /// It was longer than the buffer; the rest is lost.
    pub truncated: bool,
}

/// Room for what one call receives: datagrams, or trains of them.
///
/// ```
/// use hopline::io::{Driver, RecvBatch, UdpSpec, Virtual};
/// let mut driver = Driver::from(Virtual::new());
/// let inbox = driver.udp_open(&UdpSpec::bound("127.0.0.1:26400".parse().unwrap()))?;
/// let out = driver.udp_open(&UdpSpec::connected("127.0.0.1:26400".parse().unwrap()))?;
/// for text in ["one", "two"] {
///     let _ = driver.udp_send(out, None, text.as_bytes())?;
/// }
/// let mut batch = RecvBatch::new(8, 1_500);
/// let mut seen = Vec::new();
/// while driver.udp_recv_batch(inbox, &mut batch)? > 0 {
///     while let Some(datagram) = batch.next() {
///         seen.push(datagram.bytes.to_vec());
///     }
/// }
/// assert_eq!(seen, [b"one", b"two"]);
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Debug)]
pub struct RecvBatch {
    pub(crate) slots: RecvSlots,
    /// How many datagrams or trains the next call asks for.
    want: usize,
    /// Rows that hold something, and the one that is being handed out.
    filled: usize,
    at: usize,
    /// Bytes of that row that were handed out.
    offset: usize,
    /// Datagrams that were not handed out yet.
    left: usize,
}

impl RecvBatch {
    /// Room for `slots` datagrams (1 to [`BATCH_SLOTS_MAX`]) of at most `bytes_each` bytes (1 to
    /// [`TRAIN_BYTES_MAX`]). Allocates; pages that are never written to take no memory.
    #[must_use]
    pub fn new(slots: usize, bytes_each: usize) -> RecvBatch {
        let slots = slots.clamp(1, BATCH_SLOTS_MAX);
        let bytes_each = bytes_each.clamp(1, TRAIN_BYTES_MAX);
        let stride = stride(bytes_each);
        RecvBatch {
            slots: RecvSlots {
                bytes: vec![0; slots * stride].into_boxed_slice(),
                bytes_each,
                stride,
                names: vec![Name::EMPTY; slots].into_boxed_slice(),
                controls: vec![Control::EMPTY; slots].into_boxed_slice(),
                heads: vec![Head::EMPTY; slots].into_boxed_slice(),
            },
            want: 1,
            filled: 0,
            at: 0,
            offset: 0,
            left: 0,
        }
    }

    /// Room for [`BATCH_SLOTS_MAX`] trains of any length.
    #[must_use]
    pub fn of_trains() -> RecvBatch {
        RecvBatch::new(BATCH_SLOTS_MAX, TRAIN_BYTES_MAX)
    }

    /// Bytes that a batch made of `slots` and `bytes_each` allocates.
    #[must_use]
    pub const fn memory_bytes(slots: usize, bytes_each: usize) -> usize {
        let row = size_of::<Name>() + size_of::<Control>() + size_of::<Head>();
        slots * (stride(bytes_each) + row)
    }

    /// Datagrams that were received and not handed out yet.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether all that was received has been handed out.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The next datagram, which stays the next one.
    #[inline]
    #[must_use]
    pub fn peek(&self) -> Option<Received<'_>> {
        (self.left > 0).then(|| self.received(self.at, self.offset))
    }

    /// Each datagram that was not handed out yet, oldest first; they stay.
    pub fn iter(&self) -> impl Iterator<Item = Received<'_>> {
        let (mut at, mut offset) = (self.at, self.offset);
        (0..self.left).map(move |_| {
            let received = self.received(at, offset);
            offset += self.slots.heads[at].segment;
            if offset >= self.slots.heads[at].len {
                (at, offset) = (at + 1, 0);
            }
            received
        })
    }

    #[inline]
    fn received(&self, at: usize, offset: usize) -> Received<'_> {
        let head = &self.slots.heads[at];
        let end = (offset + head.segment).min(head.len);
        Received {
            bytes: &self.slots.buffer(at)[offset..end],
            from: head.from,
            stamp_wall_ns: head.stamp_wall_ns,
            truncated: head.truncated && end >= head.len,
        }
    }

    /// The next datagram, oldest first.
    #[allow(
        clippy::should_implement_trait,
        reason = "what it hands out borrows the batch, which no iterator can"
    )]
    #[inline]
    pub fn next(&mut self) -> Option<Received<'_>> {
        if self.left == 0 {
            return None;
        }
        let (at, offset) = (self.at, self.offset);
        let head = &self.slots.heads[at];
        let end = (offset + head.segment).min(head.len);
        let last = end >= head.len;
        self.left -= 1;
        if last {
            self.at += 1;
            self.offset = 0;
        } else {
            self.offset = end;
        }
        Some(self.received(at, offset))
    }

    /// Forgets what was not handed out.
    pub fn clear(&mut self) {
        self.left = 0;
    }

    /// How many datagrams or trains the next call should ask for: one while it is quiet, so that a
    /// lone datagram costs no second look; four times as many after each call that got all it asked for.
    pub(crate) fn want(&self) -> usize {
        self.want
    }

    /// A call brought `got` rows.
    #[inline]
    pub(crate) fn filled(&mut self, got: usize) -> usize {
        let slots = self.slots.len();
        self.want = if got < self.want {
            1
        } else {
            (self.want * 4).min(slots)
        };
        self.filled = got;
        self.at = 0;
        self.offset = 0;
        self.left = self.slots.heads[..got].iter().map(Head::datagrams).sum();
        self.left
    }

    /// Fills the first row by `recv`.
    #[inline]
    pub(crate) fn fill_one<E>(
        &mut self,
        recv: impl FnOnce(&mut [u8]) -> Result<(usize, SocketAddr), E>,
    ) -> Result<usize, E> {
        let bytes_each = self.slots.bytes_each;
        let (len, from) = recv(&mut self.slots.bytes[..bytes_each])?;
        self.slots.heads[0] = Head {
            len: len.min(bytes_each),
            segment: len.clamp(1, bytes_each),
            from: Some(from),
            stamp_wall_ns: None,
            truncated: len > bytes_each,
        };
        Ok(self.filled(1))
    }

    /// Fills the batch one by one by `recv`, as long as it has something. What came before an error
    /// is kept, and the error comes again or not at all.
    pub(crate) fn fill_with(
        &mut self,
        mut recv: impl FnMut(&mut [u8]) -> Result<Option<Datagram>, IoError>,
    ) -> Result<usize, IoError> {
        let mut got = 0;
        while got < self.slots.len() {
            let slots = &mut self.slots;
            let buffer = &mut slots.bytes[got * slots.stride..][..slots.bytes_each];
            match recv(buffer) {
                Ok(Some(datagram)) => {
                    slots.heads[got] = Head {
                        len: datagram.len,
                        segment: datagram.len.max(1),
                        from: Some(datagram.from),
                        stamp_wall_ns: datagram.stamp_wall_ns,
                        truncated: datagram.truncated,
                    };
                    got += 1;
                }
                Err(error) if got == 0 => return Err(error),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(self.filled(got))
    }
}

const fn stride(bytes_each: usize) -> usize {
    bytes_each.next_multiple_of(64) + STAGGER_BYTES
}

/// A datagram that waits to be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) len: usize,
    pub(crate) to: Option<SocketAddr>,
}

/// Datagrams that are to leave in as few calls as the system allows.
///
/// ```
/// use hopline::io::{BatchSent, Driver, SendBatch, Sent, UdpSpec, Virtual};
/// let mut driver = Driver::from(Virtual::new());
/// let out = driver.udp_open(&UdpSpec::connected("127.0.0.1:9".parse().unwrap()))?;
/// let mut batch = SendBatch::new(64, 4_096);
/// assert!(batch.push(None, b"one") && batch.push(None, b"two"));
/// while !batch.is_empty() {
///     // The virtual driver sends one at a time, the real one many.
///     let sent = driver.udp_send_batch(out, &mut batch)?;
///     assert_eq!(sent, BatchSent { count: 1, what: Sent::Yes });
/// }
/// # Ok::<(), hopline::io::IoError>(())
/// ```
#[derive(Debug)]
pub struct SendBatch {
    bytes: Box<[u8]>,
    used: usize,
    /// Bytes and entries at the front that are gone.
    gone_bytes: usize,
    gone: usize,
    entries: Box<[Entry]>,
    count: usize,
}

/// What became of the oldest datagrams of a batch.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSent {
    /// How many left the batch; 0 where there was no room, or nothing to send.
    pub count: usize,
    /// What became of each of them.
    pub what: Sent,
}

impl BatchSent {
    /// There was nothing to send.
    pub(crate) const NONE: BatchSent = BatchSent {
        count: 0,
        what: Sent::Yes,
    };
}

impl SendBatch {
    /// Room for `datagrams` of `bytes` together. Allocates.
    #[must_use]
    pub fn new(datagrams: usize, bytes: usize) -> SendBatch {
        SendBatch {
            bytes: vec![0; bytes].into_boxed_slice(),
            used: 0,
            gone_bytes: 0,
            gone: 0,
            entries: vec![Entry { len: 0, to: None }; datagrams].into_boxed_slice(),
            count: 0,
        }
    }

    /// Bytes that the rows of a batch of so many datagrams take, beside their bytes.
    #[must_use]
    pub const fn rows_bytes(datagrams: usize) -> usize {
        datagrams * size_of::<Entry>()
    }

    /// Adds a datagram to `to`, or to the connected peer; false, and nothing done, without room.
    #[inline]
    pub fn push(&mut self, to: Option<SocketAddr>, bytes: &[u8]) -> bool {
        let end = self.used + bytes.len();
        if self.count == self.entries.len() || end > self.bytes.len() {
            return false;
        }
        self.bytes[self.used..end].copy_from_slice(bytes);
        self.used = end;
        self.entries[self.count] = Entry {
            len: bytes.len(),
            to,
        };
        self.count += 1;
        true
    }

    /// Whether one more datagram of `len` bytes has room.
    #[inline]
    #[must_use]
    pub fn has_room(&self, len: usize) -> bool {
        self.count < self.entries.len() && self.used + len <= self.bytes.len()
    }

    /// Datagrams in it.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.count - self.gone
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == self.gone
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        (self.used, self.gone_bytes, self.gone, self.count) = (0, 0, 0, 0);
    }

    /// The oldest datagram.
    pub(crate) fn first(&self) -> Option<(Option<SocketAddr>, &[u8])> {
        let entry = self.entries().first()?;
        Some((entry.to, &self.bytes()[..entry.len]))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries[self.gone..self.count]
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.gone_bytes..self.used]
    }

    /// Sends the oldest datagram by `send`, for a driver that sends one by one.
    pub(crate) fn send_with(
        &mut self,
        send: impl FnOnce(Option<SocketAddr>, &[u8]) -> Result<Sent, IoError>,
    ) -> Result<BatchSent, IoError> {
        let Some((to, bytes)) = self.first() else {
            return Ok(BatchSent::NONE);
        };
        let sent = send(to, bytes);
        let count = usize::from(sent != Ok(Sent::WouldBlock));
        self.take_out(count);
        sent.map(|what| BatchSent { count, what })
    }

    /// Takes out the oldest `count`.
    pub(crate) fn take_out(&mut self, count: usize) {
        let gone = self.entries()[..count].iter().map(|entry| entry.len);
        self.gone_bytes += gone.sum::<usize>();
        self.gone += count;
        if self.is_empty() {
            self.clear();
        }
    }
}

/// How entries leave: runs of the same receiver and length become trains, of which the last datagram
/// may be shorter, as long as each segment fits in `segment_max` bytes (0: no trains at all) and the
/// train in one packet. Fills `trains` from the front; answers how many it filled.
pub(crate) fn plan_trains(entries: &[Entry], segment_max: usize, trains: &mut [Train]) -> usize {
    let (mut at, mut filled) = (0, 0);
    while let (Some(first), Some(train)) = (entries.get(at), trains.get_mut(filled)) {
        *train = Train {
            count: 1,
            len: first.len,
            segment: first.len,
        };
        let may_grow = first.len > 0 && first.len <= segment_max;
        let mut open = may_grow;
        while open
            && train.count < TRAIN_SEGMENTS_MAX
            && let Some(next) = entries.get(at + train.count)
            && next.to == first.to
            && (1..=first.len).contains(&next.len)
            && train.len + next.len <= MESSAGE_BYTES_MAX
        {
            train.count += 1;
            train.len += next.len;
            open = next.len == first.len;
        }
        at += train.count;
        filled += 1;
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    fn entry(len: usize, port: u16) -> Entry {
        let to = (port > 0).then(|| SocketAddr::from(([127, 0, 0, 1], port)));
        Entry { len, to }
    }

    fn planned(entries: &[Entry], segment_max: usize) -> Vec<(usize, usize)> {
        let mut trains = [Train::EMPTY; SEND_CALLS_MAX];
        let filled = plan_trains(entries, segment_max, &mut trains);
        let trains = trains[..filled].iter();
        trains.map(|train| (train.count, train.segment)).collect()
    }

    #[test]
    fn runs_of_equal_datagrams_become_trains() {
        let of = |lens: &[usize]| lens.iter().map(|&len| entry(len, 0)).collect::<Vec<_>>();
        assert_eq!(planned(&of(&[64; 3]), 1472), [(3, 64)]);
        assert_eq!(planned(&of(&[64, 64, 10, 64]), 1472), [(3, 64), (1, 64)]);
        assert_eq!(planned(&of(&[10, 64, 64]), 1472), [(1, 10), (2, 64)]);
        assert_eq!(
            planned(&of(&[0, 64, 0, 64]), 1472),
            [(1, 0), (1, 64), (1, 0), (1, 64)]
        );
        assert_eq!(planned(&of(&[64; 65]), 1472), [(64, 64), (1, 64)]);
        // Longer than the path carries whole, or no trains at all: each by itself.
        assert_eq!(planned(&of(&[1473; 2]), 1472), [(1, 1473); 2]);
        assert_eq!(planned(&of(&[64; 2]), 0), [(1, 64); 2]);
        // 45 x 1,472 B fit in a packet, 44 of them below the limit.
        assert_eq!(planned(&of(&[1472; 45]), 1472), [(44, 1472), (1, 1472)]);
        let mixed = [entry(64, 1), entry(64, 1), entry(64, 2)];
        assert_eq!(planned(&mixed, 1472), [(2, 64), (1, 64)]);
    }

    proptest! {
        #[test]
        fn a_train_never_breaks_a_limit_and_loses_no_datagram(
            lens in prop::collection::vec((0usize..2_000, 0u16..3), 0..200),
            segment_max in 0usize..2_000,
        ) {
            let entries: Vec<Entry> = lens.iter().map(|&(len, port)| entry(len, port)).collect();
            let mut trains = vec![Train::EMPTY; entries.len()];
            let filled = plan_trains(&entries, segment_max, &mut trains);
            let mut rest = entries.as_slice();
            for train in &trains[..filled] {
                let (now, after) = rest.split_at(train.count);
                rest = after;
                prop_assert_eq!(train.len, now.iter().map(|entry| entry.len).sum::<usize>());
                prop_assert!(now.iter().all(|entry| entry.to == now[0].to));
                if train.count > 1 {
                    prop_assert!(train.count <= TRAIN_SEGMENTS_MAX);
                    prop_assert!(train.len <= MESSAGE_BYTES_MAX && train.segment <= segment_max);
                    let (last, others) = now.split_last().unwrap();
                    prop_assert!(others.iter().all(|entry| entry.len == train.segment));
                    prop_assert!(last.len >= 1 && last.len <= train.segment);
                }
            }
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn a_train_is_handed_out_segment_by_segment() {
        let mut batch = RecvBatch::new(3, 1_000);
        batch.slots.bytes[..5].copy_from_slice(b"aabbc");
        let head = |len, segment, truncated| Head {
            len,
            segment,
            truncated,
            ..Head::EMPTY
        };
        batch.slots.heads.copy_from_slice(&[
            head(5, 2, true),
            head(0, 1, false),
            head(4, 2, false),
        ]);
        assert_eq!(batch.filled(3), 6);
        let mut seen = Vec::new();
        while let Some(now) = batch.next() {
            seen.push((now.bytes.to_vec(), now.truncated));
        }
        let of = |text: &str| text.as_bytes().to_vec();
        assert_eq!(seen[..2], [(of("aa"), false), (of("bb"), false)]);
        assert_eq!(seen[2..4], [(of("c"), true), (of(""), false)]);
        assert_eq!((seen.len(), batch.len()), (6, 0));
    }

    #[test]
    fn asking_grows_with_what_comes_and_falls_back_to_one() {
        let mut batch = RecvBatch::new(32, 100);
        let mut asked = Vec::new();
        for got in [1, 4, 16, 32, 31, 0, 1] {
            asked.push(batch.want());
            batch.filled(got);
        }
        assert_eq!(asked, [1, 4, 16, 32, 32, 1, 1]);
    }

    #[test]
    fn a_full_sending_batch_says_so_and_empties_from_the_front() {
        let mut batch = SendBatch::new(3, 10);
        assert!(batch.push(None, b"1234") && batch.push(None, b"5678"));
        assert!(!batch.push(None, b"9ab") && !batch.has_room(3));
        assert!(batch.push(None, b"9a") && !batch.push(None, b""));
        batch.take_out(1);
        assert_eq!((batch.len(), batch.bytes()), (2, &b"56789a"[..]));
        assert_eq!(batch.first(), Some((None, &b"5678"[..])));
        batch.take_out(2);
        assert!(batch.is_empty() && batch.push(None, b"1234567890"));
    }
}
