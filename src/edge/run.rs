//! Events that leave together, put together once for all clients that have come as far.
//!
//! ```text
//!   client ─ nothing else waits for it ─→ how far it is in each channel ─→ as another before it? ─ yes ─→ the same bytes
//!                                                                              └─ no ─→ written, and kept for the next
//! ```
//!
//! Most clients of a line have everything up to the last turn, and to all of them the same is due. Writing it from one place
//! costs each of them no copy and touches none of its memory.
//!
//! Invariant: what is kept for a form and its stretches is what [`Client::fill`](super::Client::fill) would have put into the
//! output of such a client, byte for byte, and no longer than an output.

use super::channel::Next;
use super::client::{Form, Piece, Text, write};
use super::hub::Hub;
use super::lanes::{ChannelId, Lanes, Stretch};
use crate::base::Reason as _;
use crate::base::limits::{EDGE_OUTPUT_BYTES, EDGE_SAMPLE_EVERY};
use crate::wire::Output;

/// An event in a run that may be a sample of the way to a client's screen.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunSample {
    pub(super) channel: ChannelId,
    pub(super) offset: u64,
    pub(super) born_ns: u64,
    /// Where it ends in the run.
    pub(super) end: usize,
}

/// Events of some channels, as a client gets them.
#[derive(Debug)]
pub(super) struct Run {
    stretches: Vec<Stretch>,
    output: Output,
    samples: Vec<RunSample>,
    /// Whether all of it is here; false where it was too much.
    is_whole: bool,
}

impl Run {
    fn new() -> Run {
        Run {
            stretches: Vec::new(),
            output: Output::new(EDGE_OUTPUT_BYTES),
            samples: Vec::new(),
            is_whole: false,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.output.pending()
    }

    pub(super) fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    pub(super) fn samples(&self) -> &[RunSample] {
        &self.samples
    }

    /// Puts all of these stretches together, if they are not too much.
    fn put(&mut self, form: Form, stretches: &[Stretch], hub: &Hub) {
        self.stretches.clear();
        self.stretches.extend_from_slice(stretches);
        self.samples.clear();
        self.output.clear();
        self.is_whole = stretches.iter().all(|one| self.add(form, *one, hub));
    }

    fn add(&mut self, form: Form, stretch: Stretch, hub: &Hub) -> bool {
        let Some(channel) = hub.channel(stretch.channel) else {
            return false;
        };
        for behind in stretch.from..stretch.to {
            let Some(Next::Event { event, at, .. }) = channel.next(behind, u64::MAX) else {
                return false;
            };
            let piece = Piece {
                kind: event.kind().name(),
                offset: event.offset(),
                text: Text::Shared(event),
            };
            if write(form, &mut self.output, &piece, hub.epoch()).is_err() {
                return false;
            }
            if event.offset().is_some() && at.is_multiple_of(EDGE_SAMPLE_EVERY) {
                self.samples.push(RunSample {
                    channel: stretch.channel,
                    offset: at,
                    born_ns: event.born_ns(),
                    end: self.output.len(),
                });
            }
        }
        true
    }
}

/// The last run of each form.
#[derive(Debug)]
pub(super) struct Runs {
    asked: Vec<Stretch>,
    kept: [Run; Form::COUNT],
}

impl Runs {
    pub(super) fn new() -> Runs {
        Runs {
            asked: Vec::new(),
            kept: core::array::from_fn(|_| Run::new()),
        }
    }

    /// All that is due to a client with these lanes, if it is what others get as well; `None` if some of it is its own, or is to be
    /// thought about.
    pub(super) fn of(&mut self, lanes: &Lanes, form: Form, hub: &Hub) -> Option<&Run> {
        if !lanes.stretches(hub.channels(), &mut self.asked) {
            return None;
        }
        let kept = &mut self.kept[form.index()];
        if kept.stretches != self.asked {
            kept.put(form, &self.asked, hub);
        }
        kept.is_whole.then_some(kept)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
