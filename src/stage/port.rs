//! Where a stage emits: named ports, each with the kinds of frames it carries.

use core::marker::PhantomData;

use crate::frame::{Input, KindInfo};

/// An output port of a stage: a name, and the kinds that leave by it.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// The name that a hop's `from` uses: `stage.port`. The first port is also meant by `stage` alone.
    pub name: &'static str,
    /// The kinds of frames that leave by it; empty means any.
    pub kinds: &'static [KindInfo],
    /// Whether a line may leave it unconnected. What is emitted there then goes nowhere and
    /// counts as no emission.
    pub optional: bool,
}

impl Port {
    /// A port for the frames of `I` that must be connected.
    #[must_use]
    pub const fn new<I: Input>(name: &'static str) -> Port {
        Port {
            name,
            kinds: I::KINDS,
            optional: false,
        }
    }

    /// A port for the frames of `I` that may stay unconnected.
    #[must_use]
    pub const fn optional<I: Input>(name: &'static str) -> Port {
        Port {
            name,
            kinds: I::KINDS,
            optional: true,
        }
    }
}

/// A typed name for a port, so that the compiler checks what is emitted where.
#[derive(Debug)]
pub struct Out<I> {
    pub(crate) at: usize,
    kinds: PhantomData<fn() -> I>,
}

impl<I> Out<I> {
    /// The port at this place in the stage's list.
    #[must_use]
    pub const fn at(at: usize) -> Out<I> {
        Out {
            at,
            kinds: PhantomData,
        }
    }
}

impl<I> Clone for Out<I> {
    fn clone(&self) -> Out<I> {
        *self
    }
}

impl<I> Copy for Out<I> {}
