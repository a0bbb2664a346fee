//! The stage `fault`: passes tops on and misbehaves when told to, to see what the line makes of it.
//!
//! A tool for chaos and drills; put it between `book` and `signal`. Without settings it does nothing
//! but pass on.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `undeclared_every` | 0, never | every n-th frame is neither passed on nor accounted for |
//! | `panic_at` | 0, never | the n-th frame panics |
//! | `hang_at` | 0, never | the handler never returns from the n-th frame |
//! | `work` | none | each frame takes that long (`"20us"`) |
//!
//! What the line should show, in that order:
//! - `absorbed{undeclared}` at this stage, and a ledger that does not close;
//! - this stage `failed`, a drain with the cause `fault`, the panic's words among the faults;
//! - a loop without a heartbeat, a drain with the cause `stalled`, and this stage as stuck. Its
//!   thread spins until the process ends; inline, so does the caller;
//! - a longer service on this stage's hop, and from some load on a hop that fills.
//!
//! Frames are counted from 1.
//!
//! Invariant: every misbehaviour is one that a setting asked for.

use crate::base::NoWhy;
use crate::base::primitive::spin_hint;
use crate::frame::View;
use crate::stage::{Context, Out, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

use super::frames::Top;

const OUT: Out<Top> = Out::at(0);

/// What a fault stage does wrong; 0 is never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSpec {
    /// Every n-th frame ends without a word.
    pub undeclared_every: u64,
    /// The n-th frame panics.
    pub panic_at: u64,
    /// The handler never returns from the n-th frame.
    pub hang_at: u64,
    /// How long each frame takes, in nanoseconds.
    pub work_ns: u64,
}

impl FaultSpec {
    /// From a node's settings; this file's head lists them.
    ///
    /// # Errors
    /// A setting of the wrong type.
    pub fn from_params(params: &mut Params) -> Result<FaultSpec, Problem> {
        let mut nth = |key| params.count(key, 0, 0..=u64::MAX);
        Ok(FaultSpec {
            undeclared_every: nth("undeclared_every")?,
            panic_at: nth("panic_at")?,
            hang_at: nth("hang_at")?,
            work_ns: params.span_ns("work")?.unwrap_or(0),
        })
    }
}

/// Misbehaves when told to; see this file's head.
#[derive(Debug)]
pub struct Fault {
    spec: FaultSpec,
    frames: u64,
}

impl Fault {
    /// A stage that has seen no frame yet.
    #[must_use]
    pub fn new(spec: FaultSpec) -> Fault {
        Fault { spec, frames: 0 }
    }
}

impl Stage for Fault {
    type In = Top;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Top>("out")];

    fn on_frame(&mut self, top: View<'_, Top>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        self.frames += 1;
        let until_ns = cx.now_ns().saturating_add(self.spec.work_ns);
        while self.spec.work_ns > 0 && cx.stamp() < until_ns {
            spin_hint();
        }
        if self.frames == self.spec.panic_at {
            panic!("planted at frame {}", self.frames);
        }
        if self.frames == self.spec.hang_at {
            loop {
                spin_hint();
            }
        }
        let every = self.spec.undeclared_every;
        if every == 0 || !self.frames.is_multiple_of(every) {
            cx.emit(OUT, &top.to_owned());
        }
        Outcome::done()
    }
}
