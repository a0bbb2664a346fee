//! The stage `debounce`: of what keeps changing the latest state leaves, as late as it may.
//!
//! By that name in a registry it takes tops and keeps the latest of each symbol; in code any frame, by any key.
//!
//! | setting | default | means |
//! |---|---|---|
//! | `budget` | needed | when a frame is due, after its intended time (`"500us"`), unless it has a deadline of its own |
//! | `rest` | `"5us"` | what the rest of the way takes: what is kept leaves so much before the first of it is due |
//! | `keys` | 64 | keys that are kept at once; one more lets all go at once; 1 to 255 |
//!
//! A frame takes the place of the one before it with the same key, which ends here as `superseded`, and never
//! puts off when the place is emptied: what changes all the time is sent all the same, each budget once. What leaves
//! carries the age of the frame that it is.
//!
//! Invariant: of each key the latest frame leaves, after the frames that it superseded were due at the soonest; the
//! store is bounded by its keys.

use crate::base::limits::DEPTH_MAX;
use crate::frame::{Frame, Input, View};
use crate::overload::Flush;
use crate::stage::{Context, Origin, Out, Outcome, Port, Stage};
use crate::topology::{Params, Problem};

use super::slack::{SlackSpec, wake_for};

/// Most keys that are kept at once: they are looked through one by one, which takes 0.1 us for so many. With the
/// frame in hand as many leave in one call as the shallower hops have slots.
pub const DEBOUNCE_KEYS_MAX: usize = 255;

/// Keys where nothing is said.
const KEYS_DEFAULT: u64 = 64;

crate::reasons! {
    /// Why a frame ends in a debounce stage.
    pub enum Why {
        /// A later one of the same key came before it had to leave.
        Superseded = "superseded",
        /// It is a part of a longer message, which has no key.
        Fragment = "fragment",
    }
}

/// What a debounce stage goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebounceSpec {
    /// How long its frames may be held.
    pub slack: SlackSpec,
    /// Keys that are kept at once, 1 to [`DEBOUNCE_KEYS_MAX`].
    pub keys: usize,
}

impl DebounceSpec {
    /// From a node's settings; this file's head lists them.
    ///
    /// # Errors
    /// A setting of the wrong type or out of bounds, and no budget.
    pub fn from_params(params: &mut Params) -> Result<DebounceSpec, Problem> {
        // All are asked for before one of them fails, or the others would be called unknown.
        let keys = params.count("keys", KEYS_DEFAULT, 1..=DEBOUNCE_KEYS_MAX as u64);
        let slack = SlackSpec::from_params(params)?;
        let keys = keys? as usize;
        Ok(DebounceSpec { slack, keys })
    }
}

/// Keeps the latest frame of each key; see this file's head.
///
/// ```
/// use hopline::stages::{Debounce, DebounceSpec, SlackSpec, Top};
/// let spec = DebounceSpec {
///     slack: SlackSpec { budget_ns: 500_000, rest_ns: 50_000 },
///     keys: 16,
/// };
/// let stage = Debounce::<Top>::new(spec, |top| u64::from(top.symbol));
/// ```
#[derive(Debug)]
pub struct Debounce<F: Frame> {
    spec: DebounceSpec,
    key: fn(&F) -> u64,
    /// Side by side, so that the look for a key reads nothing else.
    keys: Vec<u64>,
    kept: Vec<(F, Origin)>,
    flush: Flush,
}

impl<F: Frame + Send> Debounce<F> {
    /// A stage that keeps nothing yet; `key` tells what replaces what. Allocates room for its keys.
    #[must_use]
    pub fn new(spec: DebounceSpec, key: fn(&F) -> u64) -> Debounce<F> {
        let most = spec.keys.clamp(1, DEBOUNCE_KEYS_MAX);
        Debounce {
            spec,
            key,
            keys: Vec::with_capacity(most),
            kept: Vec::with_capacity(most),
            // Its own store says when it is full, for a frame that supersedes another takes no room.
            flush: spec.slack.nothing_held(DEPTH_MAX),
        }
    }

    /// Lets all that is kept go, but for the frame in hand, which is the one at `in_hand`: it goes last and the
    /// caller disposes of it.
    fn let_go(&mut self, in_hand: Option<usize>, cx: &mut Context<'_>) {
        if self.kept.is_empty() {
            return;
        }
        let began_ns = cx.stamp();
        let current = cx.origin();
        for (at, (frame, origin)) in self.kept.iter().enumerate() {
            if in_hand != Some(at) {
                cx.resume(*origin);
                cx.emit(Out::<F>::at(0), frame);
                cx.settle(Outcome::<Why>::done());
            }
        }
        cx.resume(current);
        if let Some((frame, _)) = in_hand.and_then(|at| self.kept.get(at)) {
            cx.emit(Out::<F>::at(0), frame);
        }
        self.keys.clear();
        self.kept.clear();
        self.flush.flushed(cx.stamp().saturating_sub(began_ns));
    }
}

impl<F: Frame + Send> Stage for Debounce<F> {
    type In = F;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<F>("out")];
    const MAX_EMIT: usize = DEBOUNCE_KEYS_MAX + 1;

    fn memory_bytes(&self) -> usize {
        self.keys.capacity() * size_of::<u64>() + self.kept.capacity() * size_of::<(F, Origin)>()
    }

    fn on_frame(&mut self, frame: <F as Input>::View<'_>, cx: &mut Context<'_>) -> Outcome<Why> {
        if !cx.flags().is_whole() {
            // For a fragment that is not the last this only says "go on".
            return Outcome::rejected(Why::Fragment);
        }
        let frame = View::<F>::to_owned(frame);
        let (key, origin) = ((self.key)(&frame), cx.origin());
        let at = match self.keys.iter().position(|kept| *kept == key) {
            Some(at) => {
                cx.settle(Outcome::absorbed(Why::Superseded));
                self.kept[at] = (frame, origin);
                at
            }
            None => {
                if self.keys.len() >= self.spec.keys.clamp(1, DEBOUNCE_KEYS_MAX) {
                    self.let_go(None, cx);
                }
                self.keys.push(key);
                self.kept.push((frame, origin));
                self.keys.len() - 1
            }
        };
        if self.flush.add(cx.now_ns(), self.spec.slack.due_ns(origin)) {
            self.let_go(Some(at), cx);
            return Outcome::done();
        }
        wake_for(&self.flush, cx);
        Outcome::held()
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        if self.flush.is_due(cx.now_ns()) {
            self.let_go(None, cx);
        }
        wake_for(&self.flush, cx);
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) {
        self.let_go(None, cx);
    }
}
