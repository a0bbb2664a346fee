//! The stage `forward`, which does nothing: what comes in goes out, message by message.
//!
//! It shows what a hop costs by itself, and stands in the middle of an echo. By that name in a
//! registry it passes datagrams on; in code any frame, and any set that implements [`Pass`].
//!
//! Invariant: a message of several fragments leaves whole or not at all; the store is bounded by
//! the largest message.

use crate::base::NoWhy;
use crate::base::limits::FRAGMENTS_MAX;
use crate::feed::Datagrams;
use crate::feed::market::Market;
use crate::frame::{Frame, Input, View};
use crate::stage::{Context, Emit, Message, Out, Outcome, Port, Stage};

/// Frames that can be kept and sent on as they are: every [`Frame`], and sets of them.
pub trait Pass: Input + Sized {
    /// A copy of a frame that outlives its turn.
    type Owned: Send;

    /// A copy.
    fn keep(view: Self::View<'_>) -> Self::Owned;

    /// The frame's kind: its schema id.
    fn kind(frame: &Self::Owned) -> u16;

    /// Emits a whole message.
    fn emit(frame: &Self::Owned, out: Out<Self>, cx: &mut Context<'_>) -> Emit;

    /// Writes a fragment.
    fn push(frame: &Self::Owned, message: &mut Message<'_, '_, Self>);
}

impl<F: Frame + Send> Pass for F {
    type Owned = F;

    #[inline]
    fn keep(view: View<'_, F>) -> F {
        view.to_owned()
    }

    fn kind(_frame: &F) -> u16 {
        F::SCHEMA
    }

    #[inline]
    fn emit(frame: &F, out: Out<F>, cx: &mut Context<'_>) -> Emit {
        cx.emit(out, frame)
    }

    fn push(frame: &F, message: &mut Message<'_, '_, F>) {
        message.push(frame);
    }
}

macro_rules! pass_set {
    ($set:ident: $($kind:ident),+) => {
        impl Pass for $set {
            type Owned = $set;

            #[inline]
            fn keep(view: Self::View<'_>) -> $set {
                view.to_owned()
            }

            fn kind(frame: &$set) -> u16 {
                fn of<F: Frame>(_: &F) -> u16 {
                    F::SCHEMA
                }
                match frame { $($set::$kind(frame) => of(frame)),+ }
            }

            #[inline]
            fn emit(frame: &$set, out: Out<$set>, cx: &mut Context<'_>) -> Emit {
                match frame { $($set::$kind(frame) => cx.emit(out, frame)),+ }
            }

            fn push(frame: &$set, message: &mut Message<'_, '_, $set>) {
                match frame { $($set::$kind(frame) => message.push(frame)),+ }
            }
        }
    };
}

pass_set!(Datagrams: Head, Part);
pass_set!(Market: Ticker, Trade, Depth, Snapshot, Levels);

/// Passes frames on.
///
/// ```
/// use hopline::stages::{Forward, Top};
/// use hopline::topology::Registry;
/// let registry = Registry::new().stage("pass_top", |_| Ok(Forward::<Top>::new()));
/// ```
#[derive(Debug)]
pub struct Forward<I: Pass> {
    /// The fragments of the message in hand; empty for one that is a whole message by itself.
    fragments: Vec<I::Owned>,
}

impl<I: Pass> Default for Forward<I> {
    fn default() -> Forward<I> {
        Forward::new()
    }
}

impl<I: Pass> Forward<I> {
    /// A stage with an empty store. Allocates room for the largest message.
    #[must_use]
    pub fn new() -> Forward<I> {
        Forward {
            fragments: Vec::with_capacity(FRAGMENTS_MAX),
        }
    }

    /// Keeps a fragment, and sends the message on when it is whole.
    fn collect(&mut self, frame: I::Owned, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let flags = cx.flags();
        if flags.is_first() {
            self.fragments.clear();
        }
        // No hop carries a longer message, so the store never grows.
        if self.fragments.len() < FRAGMENTS_MAX {
            self.fragments.push(frame);
        }
        if !flags.is_last() {
            return Outcome::held();
        }
        // What was just pushed is the last; the message is of its first fragment's kind.
        let kind = self.fragments.first().map_or(0, I::kind);
        let mut message = cx.message(Out::<I>::at(0), kind, self.fragments.len());
        for fragment in &self.fragments {
            I::push(fragment, &mut message);
        }
        message.send();
        self.fragments.clear();
        Outcome::done()
    }
}

impl<I: Pass> Stage for Forward<I> {
    type In = I;
    type Why = NoWhy;
    const ONLY_COPIES: bool = true;
    const PORTS: &'static [Port] = &[Port::new::<I>("out")];
    const MAX_EMIT: usize = FRAGMENTS_MAX;

    fn memory_bytes(&self) -> usize {
        self.fragments.capacity() * size_of::<I::Owned>()
    }

    #[inline]
    fn on_frame(&mut self, frame: I::View<'_>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let frame = I::keep(frame);
        if cx.flags().is_whole() {
            I::emit(&frame, Out::at(0), cx);
            return Outcome::done();
        }
        self.collect(frame, cx)
    }
}
