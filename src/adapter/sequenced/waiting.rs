//! Messages that are due and have no room on the line yet, copied in their order.
//!
//! Invariant: memory is fixed when it is made. While anything waits here no packet is taken, so what can come at
//! once is what a feed's window holds and the messages of one datagram.

use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::feed::packets::Session;
use crate::feed::sequenced::{Delivery, Params, State};

/// Most messages of one datagram: each has a length in two bytes, and may be empty.
const DATAGRAM_MESSAGES_MAX: usize = MESSAGE_BYTES_MAX / 2;

/// A message's place, and where its bytes are.
#[derive(Clone, Copy, Debug)]
struct Entry {
    session: Session,
    era: u64,
    sequence: u64,
    lost: u64,
    lost_earlier: u64,
    received_ns: u64,
    t_intended_ns: u64,
    start: usize,
    len: u32,
    line: u8,
    state: State,
    begins: bool,
}

const NONE: Entry = Entry {
    session: Session::Number(0),
    era: 0,
    sequence: 0,
    lost: 0,
    lost_earlier: 0,
    received_ns: 0,
    t_intended_ns: 0,
    start: 0,
    len: 0,
    line: 0,
    state: State::Live,
    begins: false,
};

/// The messages that wait, oldest first.
#[derive(Debug)]
pub(super) struct Waiting {
    entries: Box<[Entry]>,
    bytes: Box<[u8]>,
    /// Entries that were handed out, and all.
    taken: usize,
    len: usize,
    bytes_len: usize,
}

impl Waiting {
    /// Room for all that a feed of these parameters hands out at once.
    pub(super) fn new(params: &Params) -> Waiting {
        let (entries, bytes) = Waiting::room(params);
        Waiting {
            entries: vec![NONE; entries].into_boxed_slice(),
            bytes: vec![0; bytes].into_boxed_slice(),
            taken: 0,
            len: 0,
            bytes_len: 0,
        }
    }

    fn room(params: &Params) -> (usize, usize) {
        let held_bytes = params.window_messages * params.window_message_bytes;
        (
            params.window_messages + DATAGRAM_MESSAGES_MAX,
            held_bytes + MESSAGE_BYTES_MAX,
        )
    }

    /// What it allocates, in bytes.
    pub(super) fn memory_bytes(params: &Params) -> usize {
        let (entries, bytes) = Waiting::room(params);
        entries * size_of::<Entry>() + bytes
    }

    /// Messages that wait.
    #[inline]
    pub(super) fn count(&self) -> usize {
        self.len - self.taken
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.taken == self.len
    }

    /// Puts a message behind the others; `false` if there is no room, which cannot be.
    #[cold]
    pub(super) fn push(&mut self, delivery: &Delivery<'_>, t_intended_ns: u64) -> bool {
        if self.is_empty() {
            (self.taken, self.len, self.bytes_len) = (0, 0, 0);
        }
        let (start, len) = (self.bytes_len, delivery.bytes.len());
        let Some(place) = self.bytes.get_mut(start..start + len) else {
            return false;
        };
        let Some(entry) = self.entries.get_mut(self.len) else {
            return false;
        };
        place.copy_from_slice(delivery.bytes);
        *entry = Entry {
            session: delivery.session,
            era: delivery.era,
            sequence: delivery.sequence,
            lost: delivery.lost,
            lost_earlier: delivery.lost_earlier,
            received_ns: delivery.received_ns,
            t_intended_ns,
            start,
            len: len as u32,
            line: delivery.line,
            state: delivery.state,
            begins: delivery.begins,
        };
        self.len += 1;
        self.bytes_len += len;
        true
    }

    /// Takes the oldest, with its intended time.
    pub(super) fn next(&mut self) -> Option<(Delivery<'_>, u64)> {
        if self.is_empty() {
            return None;
        }
        let entry = self.entries[self.taken];
        self.taken += 1;
        let delivery = Delivery {
            session: entry.session,
            era: entry.era,
            sequence: entry.sequence,
            line: entry.line,
            state: entry.state,
            begins: entry.begins,
            lost: entry.lost,
            lost_earlier: entry.lost_earlier,
            received_ns: entry.received_ns,
            bytes: &self.bytes[entry.start..entry.start + entry.len as usize],
        };
        Some((delivery, entry.t_intended_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::packets::Transport;

    #[test]
    fn all_that_comes_at_once_has_room_and_leaves_in_order() {
        let params = Params {
            window_messages: 64,
            window_message_bytes: 32,
            ..Params::of(Transport::MoldUdp64)
        };
        let mut waiting = Waiting::new(&params);
        for round in 0..3 {
            assert!(waiting.next().is_none() && waiting.is_empty());
            let held = (0..64).map(|at| (at, 32));
            // A datagram's worth of messages of no bytes, and one of all bytes.
            let packet = (64..64 + DATAGRAM_MESSAGES_MAX as u64 - 1).map(|at| (at, 0));
            let messages: Vec<(u64, usize)> = held
                .chain(packet)
                .chain([(u64::MAX, MESSAGE_BYTES_MAX)])
                .collect();
            let bytes = vec![round; MESSAGE_BYTES_MAX];
            for (sequence, len) in &messages {
                let delivery = Delivery {
                    session: Session::Number(7),
                    era: 1,
                    sequence: *sequence,
                    line: 1,
                    state: State::Gap,
                    begins: *sequence == 0,
                    lost: 2,
                    lost_earlier: 3,
                    received_ns: 4,
                    bytes: &bytes[..*len],
                };
                assert!(waiting.push(&delivery, 5));
            }
            assert_eq!(waiting.count(), messages.len());
            for (sequence, len) in &messages {
                let (delivery, t_intended_ns) = waiting.next().unwrap();
                assert_eq!((delivery.sequence, t_intended_ns), (*sequence, 5));
                assert_eq!(delivery.bytes, &bytes[..*len]);
                assert_eq!(delivery.begins, *sequence == 0);
            }
        }
    }
}
