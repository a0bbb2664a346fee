//! What became of a frame.

use core::marker::PhantomData;

use crate::base::Reason;

/// What a handler says of the frame it was given; `W` is the stage's closed enum of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a frame that nobody disposes of breaks the ledger"]
pub struct Outcome<W> {
    disposal: Disposal,
    why: PhantomData<W>,
}

/// The same without the type of the reason: its place in the enum's list of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposal {
    /// Done: forwarded if anything was emitted for it, else absorbed{undeclared}.
    Done,
    /// Ended here on purpose.
    Absorbed(u8),
    /// Refused.
    Rejected(u8),
    /// Kept in the stage's own store, to be settled later.
    Held,
}

impl<W> Outcome<W> {
    const fn of(disposal: Disposal) -> Outcome<W> {
        Outcome {
            disposal,
            why: PhantomData,
        }
    }

    /// Done. Counts as forwarded if something was emitted for this message, else as
    /// absorbed{undeclared}, which fails the run.
    pub const fn done() -> Outcome<W> {
        Outcome::of(Disposal::Done)
    }

    /// Kept in the stage's own bounded store; [`Context::settle`](crate::stage::Context::settle)
    /// says later what became of it. For a fragment in the middle of a message this says only
    /// "go on": the message is disposed of with its last fragment.
    pub const fn held() -> Outcome<W> {
        Outcome::of(Disposal::Held)
    }

    /// Without the type of the reason.
    #[must_use]
    pub const fn disposal(self) -> Disposal
    where
        W: Copy,
    {
        self.disposal
    }
}

impl<W: Reason> Outcome<W> {
    /// Ended here on purpose, for this reason. If something was emitted for the message all the
    /// same, it counts as forwarded.
    pub fn absorbed(why: W) -> Outcome<W> {
        Outcome::of(Disposal::Absorbed(why.index() as u8))
    }

    /// Refused, for this reason.
    pub fn rejected(why: W) -> Outcome<W> {
        Outcome::of(Disposal::Rejected(why.index() as u8))
    }
}
