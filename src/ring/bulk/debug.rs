//! How the handles of the bulk ring look when they are printed.
//!
//! Invariant: no value is looked at.

use core::fmt;

use super::{Claim, Consumer, Filled, Producer};

// By hand: values need not be printable for their handles to be.
impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("position", &self.position)
            .field("depth", &self.depth())
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Claim<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Claim").field(&self.0.position).finish()
    }
}

impl<T> fmt::Debug for Filled<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let position = &self.0.producer.position;
        f.debug_tuple("Filled").field(position).finish()
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("position", &self.position)
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}
