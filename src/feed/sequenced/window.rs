//! Messages that came before their turn, copied until those before them have come.
//!
//! Invariant: memory is fixed when it is made; each message has its own place by its sequence, so
//! that holding, finding and taking one are short, whatever the order.

/// A held message's place.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    sequence: u64,
    received_ns: u64,
    len: u16,
    line: u8,
}

/// A held message.
pub(super) struct Held<'w> {
    pub(super) bytes: &'w [u8],
    pub(super) line: u8,
    pub(super) received_ns: u64,
}

/// The messages held, all within one span of its size from the position of the feed.
#[derive(Debug)]
pub(super) struct Window {
    slots: Box<[Slot]>,
    bytes: Box<[u8]>,
    message_bytes_max: usize,
    /// A bit a slot.
    taken: Box<[u64]>,
    count: usize,
    /// Sequences in the order in which they came, as a ring of twice the span: those that are held no
    /// more are taken out when they are first, or all at once when it is full.
    order: Box<[u64]>,
    order_head: usize,
    order_len: usize,
}

impl Window {
    /// Room for `messages`, a power of two from 64, of `message_bytes_max` bytes each.
    pub(super) fn new(messages: usize, message_bytes_max: usize) -> Window {
        Window {
            slots: vec![Slot::default(); messages].into_boxed_slice(),
            bytes: vec![0; messages * message_bytes_max].into_boxed_slice(),
            message_bytes_max,
            taken: vec![0; messages / 64].into_boxed_slice(),
            count: 0,
            order: vec![0; messages * 2].into_boxed_slice(),
            order_head: 0,
            order_len: 0,
        }
    }

    /// How far ahead a message may be, in sequences.
    #[inline]
    pub(super) fn span(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Messages held.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    fn place(&self, sequence: u64) -> usize {
        (sequence & (self.span() - 1)) as usize
    }

    /// Whether the message of that sequence, within the span, is held.
    #[inline]
    pub(super) fn has(&self, sequence: u64) -> bool {
        let at = self.place(sequence);
        self.count > 0 && self.taken[at / 64] >> (at % 64) & 1 == 1
    }

    /// Holds a message that is not held yet; `false` if it is longer than a place.
    pub(super) fn hold(&mut self, sequence: u64, line: u8, message: &[u8], now_ns: u64) -> bool {
        if message.len() > self.message_bytes_max {
            return false;
        }
        let at = self.place(sequence);
        let start = at * self.message_bytes_max;
        self.bytes[start..start + message.len()].copy_from_slice(message);
        self.slots[at] = Slot {
            sequence,
            received_ns: now_ns,
            len: message.len() as u16,
            line,
        };
        self.taken[at / 64] |= 1 << (at % 64);
        self.count += 1;
        if self.order_len == self.order.len() {
            self.tidy();
        }
        let tail = self.ring(self.order_len);
        self.order[tail] = sequence;
        self.order_len += 1;
        true
    }

    /// Place of the nth in the order.
    #[inline]
    fn ring(&self, nth: usize) -> usize {
        (self.order_head + nth) & (self.order.len() - 1)
    }

    /// Whether that very sequence is held, not another of the same place.
    #[inline]
    fn holds(&self, sequence: u64) -> bool {
        self.has(sequence) && self.slots[self.place(sequence)].sequence == sequence
    }

    /// Takes out of the order what is held no more. At least half of it is, so that it costs each
    /// message a constant.
    fn tidy(&mut self) {
        let mut kept = 0;
        for nth in 0..self.order_len {
            let sequence = self.order[self.ring(nth)];
            // The one that was just put into its place is not in the order yet.
            if self.holds(sequence) {
                let to = self.ring(kept);
                self.order[to] = sequence;
                kept += 1;
            }
        }
        self.order_len = kept;
    }

    /// Takes the message of that sequence out, if it is held.
    #[inline]
    pub(super) fn take(&mut self, sequence: u64) -> Option<Held<'_>> {
        if !self.has(sequence) {
            return None;
        }
        let at = self.place(sequence);
        self.taken[at / 64] &= !(1 << (at % 64));
        self.count -= 1;
        let slot = self.slots[at];
        let start = at * self.message_bytes_max;
        Some(Held {
            bytes: &self.bytes[start..start + usize::from(slot.len)],
            line: slot.line,
            received_ns: slot.received_ns,
        })
    }

    /// The message that has been held for longest, and since when.
    pub(super) fn oldest(&mut self) -> Option<(u64, u64)> {
        while self.order_len > 0 {
            let sequence = self.order[self.order_head];
            if self.holds(sequence) {
                return Some((sequence, self.slots[self.place(sequence)].received_ns));
            }
            self.order_head = self.ring(1);
            self.order_len -= 1;
        }
        None
    }

    /// Forgets the order in which messages came, when none is held: another era has the same sequences.
    pub(super) fn begin(&mut self) {
        debug_assert_eq!(self.count, 0);
        self.order_len = 0;
    }

    /// The first sequence from `next` on whose message is held. Looks at a word for 64 of them.
    pub(super) fn first(&self, next: u64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let (mut sequence, end) = (next, next.saturating_add(self.span()));
        while sequence < end {
            let at = self.place(sequence);
            let ahead = self.taken[at / 64] >> (at % 64);
            if ahead != 0 {
                return Some(sequence + u64::from(ahead.trailing_zeros()));
            }
            sequence = sequence.saturating_add(64 - (at % 64) as u64);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_by_sequence_and_by_age() {
        let mut window = Window::new(64, 4);
        let base = 1_000;
        assert_eq!((window.first(base), window.oldest()), (None, None));
        for (ns, ahead) in [(5, 63), (6, 1), (7, 40)] {
            assert!(window.hold(base + ahead, 1, &[ahead as u8], ns));
        }
        assert!(!window.hold(base + 2, 1, b"12345", 8), "too long");
        assert_eq!((window.count(), window.has(base + 2)), (3, false));
        assert_eq!(window.first(base), Some(base + 1));
        assert_eq!(window.first(base + 2), Some(base + 40));
        assert_eq!(window.oldest(), Some((base + 63, 5)));
        let held = window.take(base + 63).unwrap();
        assert_eq!((held.bytes, held.line, held.received_ns), (&[63][..], 1, 5));
        assert!(window.take(base + 63).is_none());
        assert_eq!(window.oldest(), Some((base + 1, 6)));
        assert!(window.take(base + 1).is_some());
        assert_eq!(window.oldest(), Some((base + 40, 7)));
        assert!(window.take(base + 40).is_some());
        assert_eq!((window.first(base), window.oldest()), (None, None));
    }

    #[test]
    fn the_order_is_bounded_though_nobody_asks_for_it() {
        let mut window = Window::new(64, 4);
        for base in (1_000..20_000).step_by(64) {
            for sequence in base..base + 64 {
                assert!(window.hold(sequence, 0, b"", sequence));
            }
            for sequence in base + 1..base + 64 {
                assert!(window.take(sequence).is_some());
            }
            assert!(window.hold(base + 65, 0, b"", 7));
            if base % 256 == 0 {
                assert_eq!(window.oldest(), Some((base, base)));
            }
            assert!(window.take(base).is_some() && window.take(base + 65).is_some());
            assert!(window.order_len <= window.order.len());
        }
    }

    #[test]
    fn the_last_sequences_of_all_are_no_special_case() {
        let mut window = Window::new(64, 4);
        assert!(window.hold(u64::MAX - 1, 0, b"", 1));
        assert_eq!(window.first(u64::MAX - 40), Some(u64::MAX - 1));
        assert_eq!(window.first(u64::MAX), None);
    }
}
