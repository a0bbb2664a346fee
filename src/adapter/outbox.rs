//! What is to be written to one connection: whole messages behind their lengths, in a bounded buffer.
//!
//! Invariant: bytes leave in order and once; how many messages have not left whole is always known.

use crate::io::{Driver, IoError, StreamId, StreamWrite};
use crate::wire::Framing;

/// Why a message cannot be begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoBegin {
    /// There is no room now.
    Full,
    /// It is longer than the longest.
    TooLong,
}

/// What writing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Nothing is left.
    Empty,
    /// The connection takes no more now.
    Pending,
    /// The connection is over.
    Broken,
}

/// A message that is being put in.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where its bytes begin, behind the prefix.
    at: usize,
    len: usize,
    filled: usize,
}

/// A bounded buffer of messages on their way to a connection.
#[derive(Debug)]
pub(super) struct Outbox {
    framing: Framing,
    buffer: Box<[u8]>,
    /// What is to be written lies in `start..end`.
    start: usize,
    end: usize,
    /// Where the first message that has not left whole ends.
    first_end: usize,
    /// Messages that have not left whole.
    messages: u64,
    open: Option<Open>,
}

impl Outbox {
    /// An empty one of [`Outbox::bytes`]. Allocates.
    pub(super) fn new(framing: Framing, bytes_min: usize) -> Outbox {
        Outbox {
            framing,
            buffer: vec![0; Outbox::bytes(framing, bytes_min)].into_boxed_slice(),
            start: 0,
            end: 0,
            first_end: 0,
            messages: 0,
            open: None,
        }
    }

    /// Bytes of the buffer: `bytes_min`, or room for the longest message.
    pub(super) const fn bytes(framing: Framing, bytes_min: usize) -> usize {
        let most = framing.frame_bytes_max();
        if most > bytes_min { most } else { bytes_min }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that are complete and have not left.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.end - self.start
    }

    /// Forgets everything, and says how many messages that were.
    pub(super) fn clear(&mut self) -> u64 {
        (self.start, self.end, self.open) = (0, 0, None);
        core::mem::take(&mut self.messages)
    }

    /// Begins a message of `len` bytes; it is not written before it is complete.
    #[inline]
    pub(super) fn begin(&mut self, len: usize) -> Result<(), NoBegin> {
        if len > self.framing.message_bytes_max() {
            return Err(NoBegin::TooLong);
        }
        self.open = None;
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
        let need = self.framing.prefix().bytes() + len;
        if self.buffer.len() - self.end < need {
            if self.buffer.len() - (self.end - self.start) < need {
                return Err(NoBegin::Full);
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.first_end -= self.start;
            (self.start, self.end) = (0, self.end - self.start);
        }
        let prefix = self
            .framing
            .prefix()
            .write(len, &mut self.buffer[self.end..]);
        let at = self.end + prefix.ok_or(NoBegin::TooLong)?;
        self.open = Some(Open { at, len, filled: 0 });
        Ok(())
    }

    /// Puts `bytes` at place `at` of the message. Only the next bytes fit; the same ones a second
    /// time change nothing.
    #[inline]
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(open) = &mut self.open
            && (at == open.filled || at + bytes.len() == open.filled)
            && at + bytes.len() <= open.len
        {
            let to = open.at + at;
            self.buffer[to..to + bytes.len()].copy_from_slice(bytes);
            open.filled = at + bytes.len();
        }
    }

    /// The message is complete; false, and it is gone, if it is not.
    #[inline]
    pub(super) fn commit(&mut self) -> bool {
        let Some(open) = self.open.take() else {
            return false;
        };
        if open.filled != open.len {
            return false;
        }
        self.end = open.at + open.len;
        if self.messages == 0 {
            self.first_end = self.end;
        }
        self.messages += 1;
        true
    }

    /// Writes all that is complete, as far as the connection takes it.
    #[inline]
    pub(super) fn push(&mut self, id: StreamId, io: &mut Driver) -> Result<Pushed, IoError> {
        while self.start < self.end {
            match io.stream_write(id, &self.buffer[self.start..self.end])? {
                StreamWrite::Bytes(count) => self.written(count),
                StreamWrite::WouldBlock => return Ok(Pushed::Pending),
                StreamWrite::Broken => return Ok(Pushed::Broken),
            }
        }
        Ok(Pushed::Empty)
    }

    /// The first `count` bytes have left.
    #[inline]
    fn written(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.messages = 0;
            return;
        }
        let prefix = self.framing.prefix();
        while self.start >= self.first_end && self.messages > 0 {
            self.messages -= 1;
            let len = prefix.read(&self.buffer[self.first_end..self.end]);
            self.first_end += prefix.bytes() + len.unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Endpoint, StreamRead, StreamSpec, VirtualNet};
    use crate::wire::{Decoder, Prefix};

    fn message(outbox: &mut Outbox, bytes: &[u8]) -> Result<(), NoBegin> {
        outbox.begin(bytes.len())?;
        let (front, back) = bytes.split_at(bytes.len() / 2);
        outbox.put(0, front);
        outbox.put(front.len(), back);
        outbox.put(front.len(), back);
        assert!(outbox.commit());
        Ok(())
    }

    #[test]
    fn what_was_not_complete_never_leaves_and_what_did_not_fit_is_told() {
        let framing = Framing::new(Prefix::U16Be, 16);
        let mut outbox = Outbox::new(framing, 40);
        message(&mut outbox, &[1; 16]).unwrap();
        outbox.begin(4).unwrap();
        outbox.put(1, b"hole");
        assert!(!outbox.commit());
        message(&mut outbox, &[2; 16]).unwrap();
        assert_eq!(outbox.begin(17), Err(NoBegin::TooLong));
        assert_eq!(outbox.begin(16), Err(NoBegin::Full));
        assert!(!outbox.commit());
        assert_eq!(outbox.clear(), 2);
        assert!(outbox.is_empty());
    }

    #[test]
    fn messages_that_left_in_part_are_counted_at_every_cut() {
        let framing = Framing::new(Prefix::U32Be, 64);
        let messages: Vec<Vec<u8>> = (0..5).map(|n| vec![n; 3 * usize::from(n)]).collect();
        let bytes: usize = messages.iter().map(|m| m.len() + 4).sum();
        for cut in 1..=bytes {
            let net = VirtualNet::new();
            net.set_stream_cuts(usize::MAX, cut);
            let mut io = Driver::from(net.driver());
            let spec = StreamSpec::at(Endpoint::Abstract("out".into()));
            let listener = io.listen(&spec).unwrap();
            let id = io.stream_connect(&spec).unwrap();
            let peer = io.accept(listener).unwrap().unwrap();
            let mut outbox = Outbox::new(framing, 64);
            for message in &messages {
                self::message(&mut outbox, message).unwrap();
            }
            // One write only, then the count of what has not left whole.
            let first = &outbox.buffer[outbox.start..outbox.end];
            let StreamWrite::Bytes(count) = io.stream_write(id, first).unwrap() else {
                panic!("there is room");
            };
            outbox.written(count);
            let mut ends = messages.iter().scan(0, |at, message| {
                *at += 4 + message.len();
                Some(*at)
            });
            let left = ends.by_ref().filter(|end| *end > count).count();
            assert_eq!(outbox.messages, left as u64, "cut after {cut}");
            assert_eq!(outbox.push(id, &mut io), Ok(Pushed::Empty));
            assert_eq!(outbox.clear(), 0);
            let mut decoder = Decoder::new(framing);
            let StreamRead::Bytes(count) = io.stream_read(peer, decoder.space()).unwrap() else {
                panic!("it arrived");
            };
            decoder.filled(count);
            for message in &messages {
                assert_eq!(decoder.next_message(), Ok(Some(&message[..])));
            }
        }
    }
}
