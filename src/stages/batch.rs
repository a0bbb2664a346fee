//! The stage `batch`: gathers messages while they have time, and lets them go together.
//!
//! For what is cheaper for many than for one, such as sends of datagrams that then leave as one train.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `budget` | needed | when a message is due, after its intended time (`"500us"`), unless it has a deadline of its own |
//! | `rest` | `"5us"` | what the rest of the way takes: the batch leaves so much before the first of it is due |
//! | `most` | 64 | messages of a full batch, which leaves at once; 1 to 512 |
//!
//! A message that has no time left leaves at once with all before it; so does everything at a drain. There is
//! no delay to set: a busy line fills its batches, and a lone message waits for as long as it can spare.
//!
//! Invariant: messages leave whole, in the order in which they came, each with its own age; the store is
//! bounded by one batch and the message in hand.

use crate::base::NoWhy;
use crate::base::limits::FRAGMENTS_MAX;
use crate::overload::Flush;
use crate::stage::{Context, Origin, Out, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

use super::forward::Pass;
use super::slack::{SlackSpec, wake_for};

/// Most messages of a batch: none has less than a frame, and a turn emits no more than the largest message has.
pub const BATCH_MESSAGES_MAX: usize = FRAGMENTS_MAX;

/// Messages of a batch that names no number: what Linux sends as one train of datagrams.
const MOST_DEFAULT: u64 = 64;

/// What a batch stage goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSpec {
    /// How long its messages may be held.
    pub slack: SlackSpec,
    /// Messages of a full batch, 1 to [`BATCH_MESSAGES_MAX`].
    pub most: usize,
}

impl BatchSpec {
    /// From a node's settings; this file's head lists them.
    ///
    /// # Errors
    /// A setting of the wrong type or out of bounds, and no budget.
    pub fn from_params(params: &mut Params) -> Result<BatchSpec, Problem> {
        // All are asked for before one of them fails, or the others would be called unknown.
        let most = params.count("most", MOST_DEFAULT, 1..=BATCH_MESSAGES_MAX as u64);
        let slack = SlackSpec::from_params(params)?;
        let most = most? as usize;
        Ok(BatchSpec { slack, most })
    }
}

/// A message that is held.
#[derive(Debug)]
struct Held {
    origin: Origin,
    frames: usize,
}

/// Gathers messages; see this file's head.
#[derive(Debug)]
pub struct Batch<I: Pass> {
    spec: BatchSpec,
    /// The frames of the held messages, and behind them those of the message in hand.
    frames: Vec<I::Owned>,
    held: Vec<Held>,
    /// How many of the frames are of held messages.
    whole: usize,
    flush: Flush,
}

impl<I: Pass> Batch<I> {
    /// A stage that holds nothing. Allocates room for a batch.
    #[must_use]
    pub fn new(spec: BatchSpec) -> Batch<I> {
        let most = spec.most.clamp(1, BATCH_MESSAGES_MAX);
        Batch {
            spec,
            // No message has more frames, whether it is held or in hand.
            frames: Vec::with_capacity(2 * FRAGMENTS_MAX),
            held: Vec::with_capacity(most),
            whole: 0,
            flush: spec.slack.nothing_held(most),
        }
    }

    /// Lets all that is held go. The last of it is the message in hand where `in_hand` says so, which the
    /// caller disposes of.
    fn let_go(&mut self, in_hand: bool, cx: &mut Context<'_>) {
        if self.held.is_empty() {
            return;
        }
        let began_ns = cx.stamp();
        let current = cx.origin();
        let settled = self.held.len() - usize::from(in_hand);
        let mut from = 0;
        for (at, held) in self.held.iter().enumerate() {
            cx.resume(held.origin);
            match &self.frames[from..from + held.frames] {
                [whole] => {
                    I::emit(whole, Out::at(0), cx);
                }
                fragments => {
                    let kind = fragments.first().map_or(0, I::kind);
                    let mut message = cx.message(Out::<I>::at(0), kind, fragments.len());
                    for fragment in fragments {
                        I::push(fragment, &mut message);
                    }
                    message.send();
                }
            }
            from += held.frames;
            if at < settled {
                cx.settle(Outcome::<NoWhy>::done());
            }
        }
        cx.resume(current);
        self.held.clear();
        self.frames.drain(..from);
        self.whole = 0;
        self.flush.flushed(cx.stamp().saturating_sub(began_ns));
    }
}

impl<I: Pass> Stage for Batch<I> {
    type In = I;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<I>("out")];
    const MAX_EMIT: usize = FRAGMENTS_MAX;

    fn memory_bytes(&self) -> usize {
        self.frames.capacity() * size_of::<I::Owned>() + self.held.capacity() * size_of::<Held>()
    }

    fn on_frame(&mut self, frame: I::View<'_>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let flags = cx.flags();
        if flags.is_first() {
            // Of a message whose end never came.
            self.frames.truncate(self.whole);
        }
        if self.frames.len() < self.whole + FRAGMENTS_MAX {
            self.frames.push(I::keep(frame));
        }
        if !flags.is_last() {
            return Outcome::held();
        }
        let frames = self.frames.len() - self.whole;
        // Both together would be more than there is room for: the message in hand begins another batch, and
        // leaves in its own call, whatever time it has.
        let overflows = self.frames.len() > FRAGMENTS_MAX;
        if overflows {
            self.let_go(false, cx);
        }
        let origin = cx.origin();
        self.held.push(Held { origin, frames });
        self.whole = self.frames.len();
        let goes = self.flush.add(cx.now_ns(), self.spec.slack.due_ns(origin));
        if goes && !overflows {
            self.let_go(true, cx);
            return Outcome::done();
        }
        if goes {
            cx.wake_at(cx.now_ns());
        } else {
            wake_for(&self.flush, cx);
        }
        Outcome::held()
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        if self.flush.is_due(cx.now_ns()) {
            self.let_go(false, cx);
        }
        wake_for(&self.flush, cx);
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) {
        self.let_go(false, cx);
    }
}
