//! What is kept of a panic: its words, when and in what it came, and the frame that was in hand.
//!
//! An entry has a fixed size, so that a loop writes it without allocating, into a ring with one reader outside.
//! Of a message of several frames it holds the one that was in hand.
//!
//! Invariant: the words are cut between two characters, so that they are text in whatever language they are.

use std::any::Any;

use crate::base::Envelope;
use crate::base::limits::{PANIC_WORDS_BYTES, PAYLOAD_BYTES};

/// Which of a stage's handlers panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum During {
    /// `on_frame`, with that frame.
    Frame,
    /// `on_timer`.
    Timer,
    /// `on_drain`.
    Drain,
    /// The factory, or `on_start` of a new instance.
    Start,
}

impl During {
    /// The word that reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            During::Frame => "frame",
            During::Timer => "timer",
            During::Drain => "drain",
            During::Start => "start",
        }
    }
}

/// A panic's words, cut to a bound.
#[derive(Clone, Copy, Debug)]
struct Words {
    len: u8,
    bytes: [u8; PANIC_WORDS_BYTES],
}

impl Words {
    fn of(said: &str) -> Words {
        let mut len = said.len().min(PANIC_WORDS_BYTES);
        while !said.is_char_boundary(len) {
            len -= 1;
        }
        let mut bytes = [0; PANIC_WORDS_BYTES];
        bytes[..len].copy_from_slice(&said.as_bytes()[..len]);
        Words {
            len: len as u8,
            bytes,
        }
    }

    fn text(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

/// A frame as it was in hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameCopy {
    /// The input that it came by, by its place among the stage's inputs.
    pub(crate) input: usize,
    pub(crate) envelope: Envelope,
    payload: [u8; PAYLOAD_BYTES],
}

impl FrameCopy {
    pub(crate) fn of(input: usize, envelope: Envelope, payload: &[u8]) -> FrameCopy {
        let mut copy = FrameCopy {
            input,
            envelope: Envelope {
                len: payload.len().min(PAYLOAD_BYTES) as u16,
                ..envelope
            },
            payload: [0; PAYLOAD_BYTES],
        };
        let len = usize::from(copy.envelope.len);
        copy.payload[..len].copy_from_slice(&payload[..len]);
        copy
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload[..usize::from(self.envelope.len)]
    }
}

/// A panic as it is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Panicked {
    /// When it was caught, in nanoseconds of the line's clock.
    pub(crate) at_ns: u64,
    pub(crate) during: During,
    /// The frame in hand, if there was one.
    pub(crate) frame: Option<FrameCopy>,
    words: Words,
}

impl Panicked {
    pub(crate) fn new(
        at_ns: u64,
        during: During,
        frame: Option<FrameCopy>,
        said: &str,
    ) -> Panicked {
        Panicked {
            at_ns,
            during,
            frame,
            words: Words::of(said),
        }
    }

    /// What it said.
    pub(crate) fn words(&self) -> &str {
        self.words.text()
    }
}

/// What a panic said, where it was raised with words.
pub(crate) fn said(what: &(dyn Any + Send)) -> &str {
    what.downcast_ref::<&str>()
        .copied()
        .or_else(|| what.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words")
}

/// A panic's message, as a fault.
pub(crate) fn panic_words(what: &(dyn Any + Send)) -> String {
    format!("panicked: {}", said(what))
}

const _: () = assert!(PANIC_WORDS_BYTES <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_between_two_characters() {
        let of = |said: &str| {
            Panicked::new(0, During::Timer, None, said)
                .words()
                .to_owned()
        };
        assert_eq!(of("short"), "short");
        assert_eq!(of(""), "");
        let exact = "x".repeat(PANIC_WORDS_BYTES);
        assert_eq!(of(&exact), exact);
        // A character of two bytes lies across the bound.
        let across = "x".repeat(PANIC_WORDS_BYTES - 1) + "é and more";
        assert_eq!(of(&across), "x".repeat(PANIC_WORDS_BYTES - 1));
        assert_eq!(
            of(&"€".repeat(PANIC_WORDS_BYTES)),
            "€".repeat(PANIC_WORDS_BYTES / 3)
        );
    }

    #[test]
    fn a_panic_says_what_it_was_raised_with() {
        let said_by = |what: Box<dyn Any + Send>| said(what.as_ref()).to_owned();
        assert_eq!(said_by(Box::new("a literal")), "a literal");
        assert_eq!(said_by(Box::new("owned".to_owned())), "owned");
        assert_eq!(said_by(Box::new(17u8)), "without words");
    }

    #[test]
    fn a_frame_is_copied_with_its_envelope() {
        let envelope = Envelope {
            t_offer_ns: 5,
            kind: 900,
            len: 3,
            ..Envelope::default()
        };
        let copy = FrameCopy::of(1, envelope, &[7, 8, 9]);
        assert_eq!((copy.input, copy.payload()), (1, &[7u8, 8, 9][..]));
        assert_eq!(copy.envelope, envelope);
    }
}
