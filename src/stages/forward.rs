//! The stage that does nothing: what comes in goes out, message by message.
//!
//! It shows what a hop costs by itself, and stands in the middle of an echo.
//!
//! Invariant: a message of several fragments leaves whole or not at all; the store is bounded by
//! the largest message.

use crate::base::NoWhy;
use crate::base::limits::FRAGMENTS_MAX;
use crate::frame::{Frame, View};
use crate::stage::{Context, Out, Outcome, Port, Stage};

/// Passes frames of one kind on.
///
/// ```
/// use hopline::stages::{Forward, Top};
/// use hopline::topology::Registry;
/// let registry = Registry::new().stage("forward", |_| Ok(Forward::<Top>::new()));
/// ```
#[derive(Debug)]
pub struct Forward<F> {
    /// The fragments of the message in hand; empty for one that is a whole message by itself.
    fragments: Vec<F>,
}

impl<F> Default for Forward<F> {
    fn default() -> Forward<F> {
        Forward::new()
    }
}

impl<F> Forward<F> {
    /// A stage with an empty store. Allocates room for the largest message.
    #[must_use]
    pub fn new() -> Forward<F> {
        Forward {
            fragments: Vec::with_capacity(FRAGMENTS_MAX),
        }
    }
}

impl<F: Frame + Send> Stage for Forward<F> {
    type In = F;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<F>("out")];
    const MAX_EMIT: usize = FRAGMENTS_MAX;

    fn memory_bytes(&self) -> usize {
        self.fragments.capacity() * size_of::<F>()
    }

    fn on_frame(&mut self, frame: View<'_, F>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let out = Out::<F>::at(0);
        let flags = cx.flags();
        if flags.is_whole() {
            cx.emit(out, &frame.to_owned());
            return Outcome::done();
        }
        if flags.is_first() {
            self.fragments.clear();
        }
        // No hop carries a longer message, so the store never grows.
        if self.fragments.len() < FRAGMENTS_MAX {
            self.fragments.push(frame.to_owned());
        }
        if !flags.is_last() {
            return Outcome::held();
        }
        let mut message = cx.message(out, F::SCHEMA, self.fragments.len());
        for fragment in &self.fragments {
            message.push(fragment);
        }
        message.send();
        self.fragments.clear();
        Outcome::done()
    }
}
