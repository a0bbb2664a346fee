//! The end of a line that nobody listens to.
//!
//! Invariant: no I/O; what comes is counted and gone.

use crate::io::{Driver, IoError};
use crate::stage::{Delivery, Egress, Leaving};

/// Takes every frame and does nothing with it.
#[derive(Clone, Copy, Debug)]
pub struct Blackhole;

/// A sink that only counts.
#[must_use]
pub const fn blackhole() -> Blackhole {
    Blackhole
}

impl Egress for Blackhole {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    #[inline]
    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        Delivery::Sent
    }
}
