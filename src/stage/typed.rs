//! A hop by itself: typed frames between two threads of one's own, with all that a line does for a hop.
//!
//! [`TypedTx`] and [`TypedRx`] emit and take as the nodes of a line do, by the same code: the frame is
//! written and read in place, with its envelope; both ends are stamped; wait, service and sojourn are
//! recorded; the ledger's counters are exact. There is no loop, so the caller polls.
//!
//! ```
//! use hopline::clock::Clock;
//! use hopline::stage::{TypedRx, TypedTx, typed};
//!
//! #[hopline::frame(schema = 901, version = 1, name = "quote")]
//! pub struct Quote { bid: i64, ask: i64 }
//!
//! let clock = Clock::calibrated();
//! let (mut tx, mut rx, ends): (TypedTx<Quote>, TypedRx<Quote>, _) = typed("quotes", 64, &clock)?;
//! let intended_ns = clock.stamp();
//! tx.emit(&Quote { bid: 7, ask: 9 }, intended_ns).unwrap();
//! assert_eq!(rx.take(|quote| quote.ask() - quote.bid()), Some(Ok(2)));
//! assert_eq!(rx.take(|_| ()), None);
//! assert_eq!(ends.counters.rx.delivered.get(), 1);
//! # Ok::<(), hopline::ring::DepthError>(())
//! ```
//!
//! Invariant: what is done for a frame here is what is done for it on a line, no less.

use core::marker::PhantomData;
use std::sync::Arc;

use crate::base::{Cause, Discard, Shed};
use crate::budget::HopCounters;
use crate::clock::Clock;
use crate::frame::{Frame, FrameError, Input, View};
use crate::hist::{self, Observer};
use crate::overload::{Policy, WhenFull};
use crate::ring::{DepthError, hop};

use super::hop::{HopRx, HopTx, Parent};

/// What looks on at a hop from outside.
#[derive(Debug)]
pub struct TypedEnds {
    /// The hop's ledger: offered, accepted and shed; delivered and discarded.
    pub counters: Arc<HopCounters>,
    /// Collects wait, service and sojourn, in this order; asked and answered as [`hist`](crate::hist) says.
    pub observer: Observer<3>,
}

/// A hop of `depth` frames of kind `F` by that name, which refuses what does not fit.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn typed<F: Frame>(
    name: &str,
    depth: usize,
    clock: &Clock,
) -> Result<(TypedTx<F>, TypedRx<F>, TypedEnds), DepthError> {
    typed_under(name, depth, Policy::of(WhenFull::Reject), clock)
}

/// The same under a policy. One that blocks holds nobody back here: ask [`TypedTx::has_room`]. What conflates or overflows has
/// neither table nor other hop here, and drops.
///
/// ```
/// use hopline::clock::Clock;
/// use hopline::overload::{Policy, WhenFull};
/// use hopline::stage::typed_under;
/// # #[hopline::frame(schema = 904, version = 1, name = "quote")]
/// # pub struct Quote { bid: i64 }
/// let (clock, time) = Clock::virtual_at(1_000_000);
/// let policy = Policy { deadline_ns: 500_000, ..Policy::of(WhenFull::DropNewest) };
/// let (mut tx, mut rx, ends) = typed_under::<Quote>("quotes", 64, policy, &clock)?;
/// tx.emit(&Quote { bid: 7 }, clock.stamp()).unwrap();
/// time.advance_by(600_000);
/// assert!(rx.take(|_| ()).is_none());
/// assert_eq!(ends.counters.rx.discarded.iter().map(|count| count.get()).sum::<u64>(), 1);
/// # Ok::<(), hopline::ring::DepthError>(())
/// ```
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn typed_under<F: Frame>(
    name: &str,
    depth: usize,
    policy: Policy,
    clock: &Clock,
) -> Result<(TypedTx<F>, TypedRx<F>, TypedEnds), DepthError> {
    let (producer, consumer) = hop::frames(depth)?;
    let counters = Arc::new(HopCounters::default());
    let (recorder, observer) =
        hist::pair([&[][..], &[], &[]]).expect("no limits are within the limit");
    let name: Arc<str> = name.into();
    let tx = TypedTx {
        hop: HopTx::new(
            name.clone(),
            producer,
            policy,
            counters.clone(),
            F::KINDS,
            Vec::new(),
        ),
        clock: clock.clone(),
        kind: PhantomData,
    };
    let rx = TypedRx {
        hop: HopRx::new(name, consumer, counters.clone(), recorder, Vec::new())
            .of_kinds(F::KINDS)
            .aging(policy),
        clock: clock.clone(),
        spoilt: None,
        kind: PhantomData,
    };
    Ok((tx, rx, TypedEnds { counters, observer }))
}

/// The emitting end. Dropping it closes the hop.
#[derive(Debug)]
pub struct TypedTx<F> {
    hop: HopTx,
    clock: Clock,
    kind: PhantomData<fn(F)>,
}

impl<F: Frame> TypedTx<F> {
    /// Writes a frame in place, stamped with the time of its offer and with `t_intended_ns`, the time
    /// from which its latency end to end counts (nanoseconds of the hop's clock).
    ///
    /// # Errors
    /// Why the frame was shed: [`Shed::Rejected`] where there is no room, [`Shed::Closed`] where nobody
    /// reads any more, of which [`TypedTx::consumer_closed`] says why. It is counted.
    #[inline]
    pub fn emit(&mut self, frame: &F, t_intended_ns: u64) -> Result<(), Shed> {
        let parent = Parent {
            t_intended_ns,
            ..Parent::default()
        };
        self.hop.emit(frame, &parent, self.clock.stamp())
    }

    /// Whether a frame has room now; if it is `true`, that room is yours until you emit. Asking counts nothing.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        self.hop.ring.has_room(1)
    }

    /// Why nobody reads any more, once that is so. `None` may be stale; a cause is final.
    #[must_use]
    pub fn consumer_closed(&self) -> Option<Cause> {
        self.hop.closed()
    }

    /// Says that nothing more comes, and why.
    pub fn close(&mut self, cause: Cause) {
        self.hop.close(cause);
    }
}

/// The taking end. Dropping it closes the hop.
#[derive(Debug)]
pub struct TypedRx<F> {
    hop: HopRx,
    clock: Clock,
    /// Why the rest of the message in front goes no further, if its first part was too old.
    spoilt: Option<Discard>,
    kind: PhantomData<fn() -> F>,
}

impl<F: Frame> TypedRx<F> {
    /// Hands the oldest frame to `handler` where it lies, then records its times and counts it.
    /// `None` if there is none now.
    ///
    /// A frame that fails its check is counted as discarded{malformed} and handed to nobody; that
    /// takes another kind or version of frame on the same ring, which this hop's own end never puts there.
    #[inline]
    pub fn take<T>(
        &mut self,
        handler: impl FnOnce(View<'_, F>) -> T,
    ) -> Option<Result<T, FrameError>> {
        // One that is worked on though it may become too late.
        let mut spared = false;
        loop {
            let frame = self.hop.ring.peek()?;
            let envelope = *frame.envelope();
            // After the pop: a plain read of the counter could be speculated to before it.
            let t_dequeue_ns = self.clock.stamp_after();
            // A message is asked once, with its first part, and the others go with it.
            if envelope.flags.is_first() {
                self.spoilt = None;
            }
            if let Some(why) = self.spoilt {
                self.hop.discard(&envelope, why);
                continue;
            }
            if self.hop.judged
                && envelope.flags.is_first()
                && !spared
                && let Some(old) = self.hop.aging.too_late(&envelope, t_dequeue_ns)
            {
                spared = self.hop.spares(old, envelope.t_offer_ns);
                if !spared {
                    self.spoilt = Some(old.why);
                    self.hop.discard(&envelope, old.why);
                }
                continue;
            }
            return match F::view(envelope.kind, frame.payload()) {
                Ok(view) => {
                    let result = handler(view);
                    let t_done_ns = self.clock.stamp();
                    self.hop.finish(&envelope, t_dequeue_ns, t_done_ns);
                    self.hop.step_over(&envelope);
                    Some(Ok(result))
                }
                Err(error) => {
                    self.hop.discard(&envelope, Discard::Malformed);
                    Some(Err(error))
                }
            };
        }
    }

    /// Hands the recorded spans to the observer if it has asked. Call it now and then.
    pub fn housekeep(&mut self) {
        self.hop.housekeep();
    }

    /// Whether the other end has closed and everything is taken.
    #[must_use]
    pub fn is_finished(&mut self) -> bool {
        self.hop.is_finished()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Reason;

    #[hopline::frame(schema = 902, version = 1, name = "word")]
    struct Word {
        word: u64,
    }

    #[hopline::frame(schema = 903, version = 1, name = "other")]
    struct Other {
        word: u64,
    }

    #[test]
    fn every_frame_is_in_the_ledger_and_in_three_histograms() {
        let (clock, time) = Clock::virtual_at(1_000);
        time.set_tick_ns(10);
        let (mut tx, mut rx, mut ends) = typed::<Word>("words", 4, &clock).unwrap();
        for word in 0..4 {
            assert!(tx.has_room());
            assert_eq!(tx.emit(&Word { word }, 1_000), Ok(()));
        }
        assert!(!tx.has_room());
        assert_eq!(tx.emit(&Word { word: 4 }, 1_000), Err(Shed::Rejected));
        for word in 0..4 {
            assert_eq!(rx.take(|view| view.word()), Some(Ok(word)));
        }
        assert_eq!(rx.take(|_| ()), None);
        let (offered, accepted) = (&ends.counters.tx.offered, &ends.counters.tx.accepted);
        assert_eq!((offered.get(), accepted.get()), (5, 4));
        assert_eq!(ends.counters.tx.shed[Shed::Rejected.index()].get(), 1);
        assert_eq!(ends.counters.rx.delivered.get(), 4);
        assert_eq!(ends.counters.arrivals(&ends.counters).in_flight, 0);
        tx.close(Cause::Finished);
        assert!(rx.is_finished());
        drop(rx);
        let mut totals = ends.observer.totals();
        assert!(ends.observer.collect(&mut totals) && ends.observer.finished());
        // One tick between taking and done, so each service is 10 ns; sojourn is wait and service.
        assert_eq!([0, 1, 2].map(|at| totals[at].count()), [4, 4, 4]);
        assert_eq!(totals[1].max_ns(), 10);
        assert_eq!(totals[2].max_ns(), totals[0].max_ns() + 10);
    }

    #[test]
    fn a_message_of_several_parts_is_asked_once_whether_it_is_too_old() {
        let (clock, time) = Clock::virtual_at(1_000_000);
        let policy = Policy {
            deadline_ns: 500_000,
            ..Policy::of(WhenFull::DropNewest)
        };
        let (mut tx, mut rx, ends) = typed_under::<Word>("words", 16, policy, &clock).unwrap();
        let message = |tx: &mut TypedTx<Word>, words: core::ops::Range<u64>| {
            let now_ns = clock.now_ns();
            let parent = Parent {
                t_intended_ns: now_ns,
                ..Parent::default()
            };
            let frames = (words.end - words.start) as usize;
            assert_eq!(tx.hop.begin(Word::SCHEMA, frames, &parent, now_ns), None);
            for (at, word) in words.enumerate() {
                tx.hop.write(at, &Word { word }, &parent, now_ns);
            }
            tx.hop.end(Word::SCHEMA, frames).unwrap();
        };
        message(&mut tx, 0..3);
        message(&mut tx, 3..5);
        assert_eq!(rx.take(|word| word.word()), Some(Ok(0)));
        // Its other parts come too late, and go with the first one; so does all of the second message, which had none in time.
        time.advance_by(600_000);
        message(&mut tx, 5..7);
        let rest = core::iter::from_fn(|| rx.take(|word| word.word()).map(Result::unwrap));
        assert_eq!(rest.collect::<Vec<u64>>(), [1, 2, 5, 6]);
        let counters = &ends.counters;
        let late = &counters.rx.discarded[Discard::Late.index()];
        assert_eq!((counters.rx.delivered.get(), late.get()), (2, 1));
        assert_eq!(counters.arrivals(counters).in_flight, 0);
    }

    #[test]
    fn a_frame_of_another_kind_is_discarded_and_counted() {
        let (clock, _time) = Clock::virtual_at(1_000);
        let (mut tx, rx, ends) = typed::<Other>("others", 2, &clock).unwrap();
        let mut rx = TypedRx::<Word> {
            hop: rx.hop,
            clock: rx.clock,
            spoilt: None,
            kind: PhantomData,
        };
        tx.emit(&Other { word: 1 }, 1_000).unwrap();
        let error = rx.take(|_| ()).unwrap().unwrap_err();
        assert_eq!(error, FrameError::UnknownKind(903));
        assert_eq!(
            ends.counters.rx.discarded[Discard::Malformed.index()].get(),
            1
        );
        assert_eq!(ends.counters.arrivals(&ends.counters).in_flight, 0);
    }
}
