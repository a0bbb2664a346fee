//! What runs on a line: stages, sources and sinks, one turn of their duty cycle, and the disposal
//! of every frame.
//!
//! A stage gets frames in its turn and says of each what became of it: *forwarded* (it emitted
//! something), *absorbed* or *rejected* with a reason of its own closed enum, or *held*. One that
//! says nothing is counted as absorbed{undeclared}, which fails the run. A reference to a frame
//! lives one turn; what must outlive it is copied into the stage's own bounded store.
//!
//! ```text
//!             ┌─ has every blocking output room for one input's emissions? ── no ─→ held back
//!   turn ─────┤
//!             └─ yes ─→ peek input ─→ handler ─→ emit in place ─→ dispose ─→ record ─→ advance
//! ```
//!
//! Lifecycle of a node (who moves the arrow in brackets):
//! `boot` →[reactor: all opened]→ `run` →[inputs closed and empty, or a drain]→ `drain` →[all flushed]→ `done`;
//! from any of them →[panic or I/O failure]→ `failed`. A stage may have another policy for its panics ([`OnPanic`]): then it
//! stays in `run`, or is `restarting` →[its back-off is over, or the line drains]→ `run`.
//!
//! Invariant: knows frames, hops and the driver, but neither threads nor the topology.

mod admission;
mod aging;
mod classes;
pub(crate) mod conflate;
mod consumer;
pub mod context;
pub mod counts;
pub mod decode;
pub mod egress;
mod handler;
mod hold;
pub mod hop;
pub mod ingress;
pub mod life;
pub mod log;
pub mod node;
mod order;
pub mod orders;
pub mod outcome;
pub(crate) mod outputs;
mod paces;
pub mod port;
pub mod quarantine;
#[cfg(all(test, not(any(loom, shuttle))))]
mod rig;
pub mod ring;
mod sheds;
mod short;
mod source;
mod source_context;
pub mod spill;
pub mod split;
pub mod tap;
mod typed;

pub use consumer::{describe, describe_egress, sink_node, stage_node};
pub use context::{Context, Emit, Message, Origin};
pub use counts::{Count, OwnCounts};
pub use decode::{Decode, Decoded, LineEnds, Taken};
pub use egress::{Delivery, Egress, IO_FAULT, Leaving};
pub use handler::Make;
pub use ingress::{Arrival, Feed, Ingress};
pub use life::{OnPanic, OutOfBounds};
pub use node::{Descriptor, Node, NodeCounters, Progress, Role, Standing, State, Turn, Wiring};
pub use outcome::{Disposal, Outcome};
pub use port::{Out, Port};
pub(crate) use quarantine::panic_words;
pub use source::{describe_ingress, source_node};
pub use source_context::{InHand, SourceContext};
pub use typed::{TypedEnds, TypedRx, TypedTx, typed, typed_under};

use crate::base::Reason;
use crate::frame::Input;

/// A unit of work with inputs and outputs.
///
/// Handlers run on the line's loop: they must not block, sleep, lock or allocate. A handler that
/// panics is caught at the stage's border; the line then stops and the report names the stage, unless the
/// stage has another policy ([`OnPanic`]).
///
/// ```
/// use hopline::stage::{Context, Out, Outcome, Port, Stage};
/// use hopline::frame::View;
///
/// #[hopline::frame(schema = 900, version = 1, name = "tick")]
/// #[derive(Clone, Debug)]
/// pub struct Tick { price: i64 }
///
/// hopline::reasons! {
///     /// Why the filter ends a tick.
///     pub enum Why {
///         /// Not a positive price.
///         NotPositive = "not_positive",
///     }
/// }
///
/// struct Positive;
/// const OUT: Out<Tick> = Out::at(0);
///
/// impl Stage for Positive {
///     type In = Tick;
///     type Why = Why;
///     const PORTS: &'static [Port] = &[Port::new::<Tick>("out")];
///
///     fn on_frame(&mut self, tick: View<'_, Tick>, cx: &mut Context<'_>) -> Outcome<Why> {
///         if tick.price() <= 0 {
///             return Outcome::absorbed(Why::NotPositive);
///         }
///         cx.emit(OUT, &Tick { price: tick.price() });
///         Outcome::done()
///     }
/// }
/// ```
pub trait Stage: Send + Sized + 'static {
    /// What it takes: one kind of frame, or a set of kinds.
    type In: Input;
    /// Why it absorbs or rejects; [`NoWhy`](crate::base::NoWhy) where it never does.
    type Why: Reason;
    /// Its output ports, in the order of their indices.
    const PORTS: &'static [Port] = &[];
    /// Most frames that it emits on one port for one frame taken. Room for them is secured on
    /// every blocking hop before the stage gets the frame.
    const MAX_EMIT: usize = 1;

    /// Whether it only copies, in some nanoseconds: what it emits for a frame is then ready for the next
    /// hop as soon as it has taken the frame, and one stamp serves both. The copying is part of the next
    /// hop's wait, which is never shorter than it was.
    const ONLY_COPIES: bool = false;

    /// What it counts beside what becomes of its messages: reports and the page of metrics show each under its name, those that
    /// are 0 as well. Each only rises, from 0 in a new instance. Asked with the loop's housekeeping and at the end, so it must be
    /// no more than a load or two.
    ///
    /// ```
    /// # use hopline::base::NoWhy;
    /// # use hopline::frame::View;
    /// # use hopline::stage::{Context, Count, Outcome, Stage};
    /// # #[hopline::frame(schema = 901, version = 1, name = "tick")]
    /// # #[derive(Clone, Debug)]
    /// # pub struct Tick { price: i64 }
    /// struct Highs { highest: i64, new_highs: u64 }
    ///
    /// impl Stage for Highs {
    ///     type In = Tick;
    ///     type Why = NoWhy;
    ///     const COUNTS: &'static [Count<Highs>] = &[("new_highs", |highs| highs.new_highs)];
    /// #    fn on_frame(&mut self, _: View<'_, Tick>, _: &mut Context<'_>) -> Outcome<NoWhy> { Outcome::held() }
    /// }
    /// ```
    const COUNTS: &'static [Count<Self>] = &[];

    /// Runs once on the stage's own thread, before the first frame. May allocate.
    ///
    /// Where a stage is made anew after a panic, its factory and this run on the loop's thread in the
    /// stage's turn. That is the one moment at which a turn may allocate; reports count it (`restarts`), and
    /// what shares the loop waits for it.
    fn on_start(&mut self) {}

    /// Bytes that it has allocated for itself, for the plan.
    fn memory_bytes(&self) -> usize {
        0
    }

    /// A number of what it has come to, for the report at the end of a run: the same for the same state,
    /// whatever came when and however fast, so that two replays of one capture can be compared. It is asked
    /// once, after [`Stage::on_drain`], and may look at all that the stage keeps, but at no
    /// time. [`chain_hash`](crate::frame::capture::chain_hash) makes one. `None` where there is nothing to compare.
    fn state_hash(&self) -> Option<u64> {
        None
    }

    /// Takes one frame. Must say what became of it.
    ///
    /// The fragments of a message come one after the other, with no other frame between them, from
    /// whatever input; [`Context::flags`] tells the first and the last.
    fn on_frame(
        &mut self,
        frame: <Self::In as Input>::View<'_>,
        cx: &mut Context<'_>,
    ) -> Outcome<Self::Why>;

    /// Runs when the time set with [`Context::wake_at`] has come.
    fn on_timer(&mut self, _cx: &mut Context<'_>) {}

    /// Runs after the last frame, while the outputs are still open and have room for
    /// [`Stage::MAX_EMIT`] frames: once, or in turn after turn until [`Stage::is_drained`] says that this was all.
    fn on_drain(&mut self, _cx: &mut Context<'_>) {}

    /// Whether [`Stage::on_drain`] has passed on all that there was. A stage whose last words are more than what it
    /// may emit at once says no, and gets another turn when there is room.
    fn is_drained(&self) -> bool {
        true
    }
}
