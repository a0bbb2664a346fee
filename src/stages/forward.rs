//! The stage that does nothing: what comes in goes out, message by message.
//!
//! It shows what a hop costs by itself, and stands in the middle of an echo.
//!
//! Invariant: a message of several fragments leaves whole or not at all; the store is bounded by
//! the largest message.

use crate::base::NoWhy;
use crate::base::limits::FRAGMENTS_MAX;
use crate::feed::datagram::{Datagram, DatagramPart, Datagrams, DatagramsView};
use crate::stage::{Context, Out, Outcome, Port, Stage};

const OUT: Out<Datagrams> = Out::at(0);

/// Passes datagrams on.
#[derive(Debug)]
pub struct Forward {
    /// The head of the message in hand, if it has parts.
    head: Option<Datagram>,
    parts: Vec<DatagramPart>,
}

impl Default for Forward {
    fn default() -> Forward {
        Forward::new()
    }
}

impl Forward {
    /// A stage with an empty store. Allocates room for the largest message.
    #[must_use]
    pub fn new() -> Forward {
        Forward {
            head: None,
            parts: Vec::with_capacity(FRAGMENTS_MAX),
        }
    }
}

impl Stage for Forward {
    type In = Datagrams;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Datagrams>("out")];
    const MAX_EMIT: usize = FRAGMENTS_MAX;

    fn memory_bytes(&self) -> usize {
        self.parts.capacity() * size_of::<DatagramPart>()
    }

    fn on_frame(&mut self, frame: DatagramsView<'_>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let flags = cx.flags();
        match frame {
            DatagramsView::Head(head) if flags.is_whole() => {
                cx.emit(OUT, &head.to_owned());
                return Outcome::done();
            }
            DatagramsView::Head(head) => {
                self.parts.clear();
                self.head = Some(head.to_owned());
            }
            // No hop carries a longer message, so the store never grows.
            DatagramsView::Part(part) if self.parts.len() < FRAGMENTS_MAX => {
                self.parts.push(part.to_owned());
            }
            DatagramsView::Part(_) => {}
        }
        if !flags.is_last() {
            return Outcome::held();
        }
        if let Some(head) = self.head.take() {
            cx.emit_with(OUT, &head, self.parts.drain(..));
        }
        Outcome::done()
    }
}
