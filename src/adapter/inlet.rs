//! Frames from any threads of the embedding program.
//!
//! An [`Inlet`] is cloned into each thread that has frames; all clones push into one bounded ring that
//! the source reads. The intended time of a frame is that of its push, so what it waits in the
//! inlet counts from end to end.
//!
//! ```
//! use hopline::adapter::{blackhole, inlet};
//! use hopline::io::{Driver, VirtualNet};
//! use hopline::topology::{Hop, Inline, Line};
//!
//! #[hopline::frame(schema = 901, version = 1, name = "tick")]
//! #[derive(Clone, Copy, Debug)]
//! struct Tick { price: i64 }
//!
//! let (mut inlet, source) = inlet::<Tick>(1024)?;
//! let mut line = Line::builder("ticks");
//! line.source("ticks", source);
//! line.sink("end", blackhole());
//! line.connect("ticks", "end", Hop::depth(1024));
//!
//! inlet.push(Tick { price: 7 })?;
//! inlet.clone().push_with(|| Tick { price: 8 })?;
//! drop(inlet); // with the last one the source ends
//! let driver = Driver::from(VirtualNet::new().driver());
//! let (report, _) = line.build()?.run_inline(Inline::new(driver), None)?;
//! assert_eq!(report.ledger.sources["ticks"].ingested, 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Every push that is accepted is in the source's counts: received = ingested + shed + rejected. One
//! whose closure panics is received and rejected{panicked}; one that still waits when the line is
//! ended at once is rejected{line_ended}. Pushes that are refused are the pusher's to deal with, and
//! counted beside them as `refused`.
//!
//! A closure that does not return holds back everybody behind it. The source measures for how long
//! (`claim_open_ns_max`), and beyond [`CLAIM_OPEN_NS`] the node has a fault that names the producer by
//! its [`Inlet::id`].
//!
//! Invariant: a push never waits and never allocates; it makes a system call only to wake a loop
//! that has announced that it sleeps.

use core::fmt;
use std::sync::OnceLock;

use crate::base::limits::{BURST_MESSAGES, CLAIM_OPEN_NS};
use crate::base::primitive::{Arc, AtomicU64, Ordering};
use crate::base::units::Span;
use crate::base::{Cause, Reason, Reject, Sequence};
use crate::budget::IngressCounters;
use crate::clock::Clock;
use crate::frame::Frame;
use crate::io::{Driver, IoError};
use crate::ring::mpsc::{self, OpenClaim, ProducerId};
use crate::ring::{ClaimError, DepthError, Lined, PushError};
use crate::stage::hop::Doorbell;
use crate::stage::{Arrival, Context, Decode, Decoded, Feed, Ingress, Out, Port, SourceContext};

/// A frame on its way in, and when it was pushed, where the line's clock was known by then.
struct Pushed<F> {
    t_push_ns: Option<u64>,
    frame: F,
}

/// What all inlets share with their source, beside the ring.
#[derive(Default)]
struct Shared {
    /// Known once the line is built.
    clock: OnceLock<Clock>,
    /// Wakes the source's loop; empty while there is none, or where it never parks.
    bell: OnceLock<Doorbell>,
    full: AtomicU64,
    closed: AtomicU64,
}

impl Shared {
    #[inline]
    fn stamp(&self) -> Option<u64> {
        self.clock.get().map(Clock::stamp)
    }

    #[inline]
    fn ring(&self) {
        if let Some(bell) = self.bell.get() {
            bell.ring();
        }
    }

    #[cold]
    fn refused(&self, why: ClaimError) {
        let counter = match why {
            ClaimError::Full => &self.full,
            ClaimError::Closed(_) => &self.closed,
        };
        // Relaxed: a count publishes nothing but itself.
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn counts(&self) -> Refused {
        Refused {
            full: self.full.load(Ordering::Relaxed),
            closed: self.closed.load(Ordering::Relaxed),
        }
    }
}

/// Pushes that were refused, by all inlets of a source together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Because the ring was full.
    pub full: u64,
    /// Because the source takes nothing any more.
    pub closed: u64,
}

/// A source that is fed by threads of the program, and the first of its inlets.
///
/// `depth` is how many frames may wait between two turns of the source's loop; a power of two.
///
/// # Errors
/// If `depth` is no power of two within the limits.
pub fn inlet<F: Frame + Send>(depth: usize) -> Result<(Inlet<F>, InletSource<F>), DepthError> {
    let (ring, frames) = mpsc::ring_lined(depth)?;
    let shared = Arc::new(Shared::default());
    let inlet = Inlet {
        ring,
        shared: Arc::clone(&shared),
    };
    let source = InletSource {
        frames,
        shared,
        decoder: InHand { frame: None },
        aborted: 0,
        open: None,
        stalled: None,
        told: false,
    };
    Ok((inlet, source))
}

/// Feeds a source from any thread. A clone is another producer, with a number of its own; the source
/// ends when the last one is dropped or closed and everything is taken.
pub struct Inlet<F: Frame + Send> {
    ring: mpsc::Producer<Pushed<F>, Lined>,
    shared: Arc<Shared>,
}

impl<F: Frame + Send> Inlet<F> {
    /// Pushes a frame.
    ///
    /// # Errors
    /// The frame comes back if there is no room, or if the source takes nothing any more, with the cause: the line
    /// drains (`finished`), the source panicked or its drain was given up (`failed`), or the line was ended at
    /// once (`aborted`).
    #[inline]
    pub fn push(&mut self, frame: F) -> Result<(), PushError<F>> {
        let t_push_ns = self.shared.stamp();
        match self.ring.push(Pushed { t_push_ns, frame }) {
            Ok(()) => {
                self.shared.ring();
                Ok(())
            }
            Err(refused) => {
                let why = refused.reason();
                self.shared.refused(why);
                Err(PushError::of(why, refused.into_inner().frame))
            }
        }
    }

    /// Pushes the frame that `make` gives; it is asked only once there is room, and should be quick:
    /// what others push meanwhile waits for it.
    ///
    /// # Errors
    /// As [`Inlet::push`]; `make` is not called then.
    #[inline]
    pub fn push_with(&mut self, make: impl FnOnce() -> F) -> Result<(), ClaimError> {
        let shared = &*self.shared;
        // An aborted slot is news for the source as well: rings on the way out of a panic, too.
        let _rings = Rings(shared);
        let t_push_ns = shared.stamp();
        let pushed = self.ring.push_with(|_| Pushed {
            t_push_ns,
            frame: make(),
        });
        if let Err(why) = pushed {
            shared.refused(why);
        }
        pushed
    }

    /// The number by which a fault of the source names this inlet.
    #[must_use]
    pub fn id(&self) -> ProducerId {
        self.ring.id()
    }

    /// Pushes that were refused so far, by all inlets of this source together.
    #[must_use]
    pub fn refused(&self) -> Refused {
        self.shared.counts()
    }

    /// Why the source takes nothing any more. `None` may be stale; a cause is final.
    #[must_use]
    pub fn source_closed(&self) -> Option<Cause> {
        self.ring.consumer_closed()
    }
}

impl<F: Frame + Send> Clone for Inlet<F> {
    fn clone(&self) -> Inlet<F> {
        Inlet {
            ring: self.ring.clone(),
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<F: Frame + Send> Drop for Inlet<F> {
    fn drop(&mut self) {
        // The last one's end is the source's end, so its loop has to look.
        self.ring.close(Cause::Dropped);
        self.shared.ring();
    }
}

impl<F: Frame + Send> fmt::Debug for Inlet<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet")
            .field("id", &self.id())
            .field("refused", &self.refused())
            .finish_non_exhaustive()
    }
}

/// Rings the source's bell when it goes out of scope.
struct Rings<'a>(&'a Shared);

impl Drop for Rings<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.ring();
    }
}

/// Emits the frame that it was handed: a decoder of messages that need none.
struct InHand<F> {
    frame: Option<F>,
}

impl<F: Frame + Send> Decode for InHand<F> {
    fn ports(&self) -> &'static [Port] {
        const { &[Port::new::<F>("out")] }
    }

    #[inline]
    fn decode(&mut self, _message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let frame = self.frame.take().ok_or(Reject::Empty)?;
        cx.emit(Out::<F>::at(0), &frame);
        Ok(Decoded::default())
    }
}

/// Takes what is pushed into its inlets.
pub struct InletSource<F: Frame + Send> {
    frames: mpsc::Consumer<Pushed<F>, Lined>,
    shared: Arc<Shared>,
    decoder: InHand<F>,
    /// Aborted slots that are counted already.
    aborted: u64,
    /// The claim that is in the way, and since when it has been seen there.
    open: Option<(Sequence, u64)>,
    /// The first claim that was open for too long, and for how long by then.
    stalled: Option<(OpenClaim, u64)>,
    told: bool,
}

impl<F: Frame + Send> InletSource<F> {
    fn take(&mut self, cx: &mut SourceContext<'_, '_>) {
        for nth in 0..BURST_MESSAGES {
            if self.frames.peek().is_none() {
                self.look_for_open_claim(cx);
                break;
            }
            self.open = None;
            // Held back is told from idle before the mark is set.
            if !cx.has_room() {
                break;
            }
            if nth == 0 {
                cx.begin_io();
            }
            let Some(Pushed { t_push_ns, frame }) = self.frames.pop() else {
                break;
            };
            let arrival = Arrival {
                bytes: &[],
                t_intended_ns: t_push_ns.unwrap_or_else(|| cx.stamp()),
                scheduled: true,
                received_wall_ns: None,
                peer: None,
            };
            self.decoder.frame = Some(frame);
            cx.message(arrival, &mut self.decoder);
        }
        let aborted = self.frames.aborted() - self.aborted;
        if aborted > 0 {
            self.aborted += aborted;
            cx.note_panicked(aborted);
        }
    }

    /// Nothing could be taken: whether that is somebody's open claim, and for how long already.
    fn look_for_open_claim(&mut self, cx: &mut SourceContext<'_, '_>) {
        let Some(claim) = self.frames.open_claim() else {
            self.open = None;
            return;
        };
        let now_ns = cx.stamp();
        let since_ns = match self.open {
            Some((sequence, since_ns)) if sequence == claim.sequence => since_ns,
            _ => now_ns,
        };
        self.open = Some((claim.sequence, since_ns));
        let span_ns = now_ns.saturating_sub(since_ns);
        cx.note_claim_open(span_ns);
        if span_ns > CLAIM_OPEN_NS && self.stalled.is_none() {
            self.stalled = Some((claim, span_ns));
        }
    }
}

impl<F: Frame + Send> Ingress for InletSource<F> {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        size_of::<InletSource<F>>() + mpsc::memory_bytes::<Pushed<F>, Lined>(self.frames.depth())
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn join(&mut self, clock: &Clock, bell: Option<Doorbell>) {
        // A source is joined once, so neither is set yet.
        let _ = self.shared.clock.set(clock.clone());
        if let Some(bell) = bell {
            let _ = self.shared.bell.set(bell);
        }
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        // Asked first: what was pushed before the last end is taken after this.
        let closed = self.frames.producer_closed().is_some();
        self.take(cx);
        if closed && self.frames.is_finished() {
            Feed::Ended
        } else {
            Feed::Live
        }
    }

    fn has_input(&mut self) -> bool {
        self.frames.peek().is_some()
            || self.frames.aborted() > self.aborted
            || self.frames.is_finished()
    }

    fn drain(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        self.frames.close(Cause::Finished);
        self.take(cx);
        if self.frames.claimed() == 0 {
            Feed::Ended
        } else {
            Feed::Live
        }
    }

    fn abandon(&mut self, counters: &IngressCounters, cause: Cause) {
        self.frames.close(cause);
        // A claim that is still open is among them: its pusher will be told that it was accepted.
        let (left, stepped_over) = (self.frames.claimed(), self.frames.aborted());
        while self.frames.advance() {}
        let ended = left - (self.frames.aborted() - stepped_over);
        let aborted = self.frames.aborted() - self.aborted;
        self.aborted += aborted;
        counters.received.add(ended + aborted);
        counters.panicked.add(aborted);
        counters.rejected[Reject::LineEnded.index()].add(ended);
    }

    fn housekeep(&mut self, _io: &mut Driver, counters: &IngressCounters) {
        let Refused { full, closed } = self.shared.counts();
        counters.refused.set(full + closed);
    }

    fn fault(&mut self) -> Option<String> {
        let (claim, span_ns) = self.stalled.filter(|_| !self.told)?;
        self.told = true;
        let by = match claim.producer {
            Some(ProducerId::OTHER) => "a producer without a number of its own".to_owned(),
            Some(ProducerId(id)) => format!("producer {id}"),
            None => "a producer that was stopped before it could sign".to_owned(),
        };
        let (behind, span) = (claim.behind, Span(span_ns));
        Some(format!(
            "stalled claim: {by} has neither filled nor given up its slot of the inlet for {span}; {behind} slots wait behind it"
        ))
    }
}

impl<F: Frame + Send> fmt::Debug for InletSource<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InletSource")
            .field("frames", &self.frames)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}
