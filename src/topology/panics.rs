//! The quarantine: what is kept of the panics of stages that do not stop their line, for those who look later.
//!
//! ```text
//!   a stage's loop ─ ring of 64 entries, written without allocating ─→ [observe] ─→ the line's first 256, with names ─→ report
//! ```
//!
//! Invariant: the first panics stay where there is no room for more, and those without room are counted.

use serde::Serialize;

use crate::base::Flags;
use crate::base::limits::QUARANTINE_KEPT;
use crate::ring::spsc;
use crate::stage::hop::kind_name;
use crate::stage::quarantine::{FrameCopy, Panicked};

use super::run::Running;
use super::wire::{HopView, NodeView};

/// A panic of a stage whose policy is to skip or to restart. Times are in nanoseconds from the start of the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// The stage.
    pub node: String,
    /// When the panic was caught.
    pub at_ns: u64,
    /// Which handler it came in: `frame`, `timer`, `drain`, or `start` for the factory and `on_start` of a new instance.
    pub during: &'static str,
    /// What it said, cut to [`PANIC_WORDS_BYTES`](crate::base::limits::PANIC_WORDS_BYTES).
    pub words: String,
    /// The frame in hand, if there was one.
    pub frame: Option<PanickedFrame>,
}

/// The frame that a stage had in hand when it panicked. Of a message of several frames it is the one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PanickedFrame {
    /// The hop that it came by.
    pub hop: String,
    /// Its kind, by name; `other` where the hop has no name for it.
    pub kind: &'static str,
    /// The same as the number of its schema.
    pub schema: u16,
    /// `whole`, or which fragment of its message: `first`, `middle`, `last`.
    pub fragment: &'static str,
    /// Index of the source at which its message entered the line.
    pub source: u16,
    /// Its priority class.
    pub class: u8,
    /// When it was offered to the hop, in nanoseconds from the start of the line.
    pub t_offer_ns: u64,
    /// Its intended time, likewise; 0 where that lies before the start.
    pub t_intended_ns: u64,
    /// Its payload, as hexadecimal digits.
    pub payload: String,
}

impl PanickedFrame {
    fn new(frame: &FrameCopy, hop: &HopView, began_ns: u64) -> PanickedFrame {
        let envelope = &frame.envelope;
        let at = hop
            .kinds
            .iter()
            .position(|kind| kind.schema == envelope.kind);
        let is = |flags: Flags| (flags.is_first(), flags.is_last());
        PanickedFrame {
            hop: hop.name.clone(),
            kind: kind_name(hop.kinds, at.unwrap_or(usize::MAX)),
            schema: envelope.kind,
            fragment: match is(envelope.flags) {
                (true, true) => "whole",
                (true, false) => "first",
                (false, false) => "middle",
                (false, true) => "last",
            },
            source: envelope.source,
            class: envelope.class,
            t_offer_ns: envelope.t_offer_ns.saturating_sub(began_ns),
            t_intended_ns: envelope.t_intended_ns().saturating_sub(began_ns),
            payload: hex(frame.payload()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('?');
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(digit).collect()
}

/// The reading end of a stage's quarantine.
pub(crate) struct Panics {
    ring: spsc::Consumer<Panicked>,
    /// Those that were taken and for which the line's list had no room.
    unkept: u64,
}

impl Panics {
    pub(crate) fn new(ring: spsc::Consumer<Panicked>) -> Panics {
        Panics { ring, unkept: 0 }
    }

    /// Panics of this stage that are in the list, and those that are in none.
    pub(crate) fn counts(&self, quarantined: u64, lost: u64) -> (u64, u64) {
        let kept = quarantined.saturating_sub(self.unkept);
        (kept, lost + self.unkept)
    }
}

/// Takes what the stages' loops have put into their quarantines, oldest first by stage.
pub(crate) fn collect(
    into: &mut Vec<Quarantined>,
    nodes: &mut [NodeView],
    hops: &[HopView],
    began_ns: u64,
) {
    for node in nodes {
        let Some(panics) = &mut node.panics else {
            continue;
        };
        while let Some(panicked) = panics.ring.pop() {
            if into.len() >= QUARANTINE_KEPT {
                panics.unkept += 1;
                continue;
            }
            let frame = panicked.frame.as_ref().and_then(|frame| {
                let hop = node.inputs.get(frame.input)?;
                Some(PanickedFrame::new(frame, &hops[*hop], began_ns))
            });
            into.push(Quarantined {
                node: node.name.clone(),
                at_ns: panicked.at_ns.saturating_sub(began_ns),
                during: panicked.during.name(),
                words: panicked.words().to_owned(),
                frame,
            });
        }
    }
}

impl Running {
    /// What is kept so far of the panics of stages that skip or restart: the first
    /// [`QUARANTINE_KEPT`] of the line, as far as they were looked for in time. The last report has them as well.
    pub fn quarantine(&mut self) -> &[Quarantined] {
        self.collect_panics();
        &self.quarantine
    }

    pub(super) fn collect_panics(&mut self) {
        collect(
            &mut self.quarantine,
            &mut self.nodes,
            &self.hops,
            self.began_ns,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::hex;

    #[test]
    fn bytes_become_two_digits_each() {
        assert_eq!(hex(&[0, 7, 0xa0, 0xff]), "0007a0ff");
        assert_eq!(hex(&[]), "");
    }
}
