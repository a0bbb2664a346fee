//! What a hop has no room for, on its way to a file: the producing end of the ring that leads to the line's writer.
//!
//! ```text
//!   no room on the hop ─→ room on this ring, and in the file?
//!                           ├ yes ─→ ring ─→ writer, on a thread of its own ─→ file     shed{overflowed} of the hop
//!                           └ no ──────────────────────────────────────────────────→    shed{full} of the hop
//! ```
//!
//! Bytes of the file are promised here, before a message is handed over, so that the writer never has one for which there is no
//! room.
//!
//! Invariant: a message is handed over whole or not at all, and nothing here waits, allocates or does I/O.

use std::sync::Arc;

use crate::base::limits::{OVERFLOW_DEPTH, PAYLOAD_BYTES};
use crate::base::{Cause, Envelope, Flags, Reason, Shed};
use crate::frame::capture::BLOCK_HEAD_BYTES;
use crate::frame::{Frame, HEADER_BYTES, PAYLOAD_ALIGN, RECORD_BYTES_MAX};
use crate::ring::hop::{self, FrameConsumer};
use crate::stage::ring::TxRing;
use crate::stage::spill::{SpillCounters, Unspilled};

use super::{Doorbell, HopTx, Parent, write_frame};

/// Bytes of a record with a payload of so many.
const fn record_bytes(payload_bytes: usize) -> u64 {
    (HEADER_BYTES + payload_bytes.next_multiple_of(PAYLOAD_ALIGN)) as u64
}

const _: () = assert!(record_bytes(PAYLOAD_BYTES) == RECORD_BYTES_MAX as u64);

/// The producing end.
#[derive(Debug)]
pub(crate) struct SpillTx {
    ring: TxRing,
    /// Of the writer, if it sleeps.
    bell: Option<Doorbell>,
    counters: Arc<SpillCounters>,
    /// Bytes of the file that are not promised to a message yet.
    left_bytes: u64,
    /// Fragments of the message in the making; 0 where there is none, or it has no room.
    open: usize,
    /// Bytes that its block takes so far.
    open_bytes: u64,
}

impl SpillTx {
    /// A ring to the one who writes a file in which messages may have so many bytes, and its reading end.
    pub(crate) fn new(
        messages_bytes: u64,
        counters: Arc<SpillCounters>,
        bell: Option<Doorbell>,
    ) -> (SpillTx, FrameConsumer) {
        let (ring, rx) = hop::frames(OVERFLOW_DEPTH).expect("the depth is a power of two");
        let tx = SpillTx {
            ring: ring.into(),
            bell,
            counters,
            left_bytes: messages_bytes,
            open: 0,
            open_bytes: 0,
        };
        (tx, rx)
    }

    /// Whether a message of `frames` that takes so many bytes can be handed over. One that cannot is counted.
    fn has_room(&mut self, frames: usize, bytes: u64) -> bool {
        let why = if self.counters.is_broken() || self.ring.is_closed() {
            Unspilled::Broken
        } else if bytes > self.left_bytes {
            Unspilled::Bound
        } else if !self.ring.has_room(frames) {
            Unspilled::Behind
        } else {
            return true;
        };
        self.refuse(why, frames);
        false
    }

    fn refuse(&self, why: Unspilled, frames: usize) {
        self.counters.refused[why.index()].add(1);
        self.counters.refused_frames.add(frames as u64);
    }

    fn handed(&mut self, bytes: u64) {
        self.left_bytes = self.left_bytes.saturating_sub(bytes);
        self.counters.handed.add(1);
    }

    /// Hands over one whole message, written in place: whether it is.
    fn put<F: Frame>(&mut self, frame: &F, parent: &Parent, t_offer_ns: u64) -> bool {
        let bytes = BLOCK_HEAD_BYTES as u64 + record_bytes(F::BYTES);
        if !self.has_room(1, bytes) {
            return false;
        }
        let put = self.ring.put(|payload| {
            let len = write_frame(frame, payload);
            parent.envelope(F::SCHEMA, len, Flags::WHOLE, t_offer_ns)
        });
        match put {
            Ok(()) => self.handed(bytes),
            // The writer has gone since it was asked for room.
            Err(_) => self.refuse(Unspilled::Broken, 1),
        }
        put.is_ok()
    }

    /// Begins a message of `frames` fragments: whether there is room for all of them, whatever they are.
    fn begin(&mut self, frames: usize) -> bool {
        self.open_bytes = BLOCK_HEAD_BYTES as u64;
        let most = self.open_bytes + (frames * RECORD_BYTES_MAX) as u64;
        let has_room = self.has_room(frames, most);
        self.open = if has_room { frames } else { 0 };
        has_room
    }

    /// Writes fragment `at` of the message in the making, if there is one; it is not handed over before [`SpillTx::end`].
    fn write<F: Frame>(&mut self, at: usize, frame: &F, parent: &Parent, t_offer_ns: u64) {
        let frames = self.open;
        if at >= frames {
            return;
        }
        self.open_bytes += record_bytes(F::BYTES);
        self.ring.write_ahead(at, frames, |payload| -> Envelope {
            let len = write_frame(frame, payload);
            parent.envelope(F::SCHEMA, len, Flags::fragment(at, frames), t_offer_ns)
        });
    }

    /// Hands over the message in the making, which had room and of which so many fragments were written: what it counts as on
    /// its hop.
    fn end(&mut self, written: usize) -> Shed {
        let frames = core::mem::take(&mut self.open);
        if frames == 0 {
            return Shed::Full;
        }
        if written != frames {
            // Whatever the policy, another number of fragments than was said is no matter of room.
            return Shed::Undeclared;
        }
        if self.ring.publish(frames).is_err() {
            self.refuse(Unspilled::Broken, frames);
            return Shed::Full;
        }
        self.handed(self.open_bytes);
        Shed::Overflowed
    }

    pub(super) fn ring_bell(&self) {
        if let Some(bell) = &self.bell {
            bell.ring();
        }
    }

    /// Says that nothing more comes, and why.
    pub(super) fn close(&mut self, cause: Cause) {
        self.ring.close(cause);
    }
}

impl HopTx {
    /// The same with a way to a file for what it has no room for.
    pub(crate) fn spilling_into(mut self, spill: SpillTx) -> HopTx {
        self.spill = Some(Box::new(spill));
        self
    }

    /// What a message counts as that has no room for this reason: where the hop overflows into a file, after it was handed over
    /// to that, or not.
    #[inline]
    pub(super) fn overflow<F: Frame>(
        &mut self,
        why: Shed,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
    ) -> Shed {
        match &mut self.spill {
            Some(spill) if why == Shed::Overflowed => {
                if !spill.put(frame, parent, t_offer_ns) {
                    return Shed::Full;
                }
                self.rang = false;
                why
            }
            _ => why,
        }
    }

    /// The same of a message in the making, of which no fragment is written yet.
    #[inline]
    pub(super) fn begin_overflow(&mut self, why: Option<Shed>, frames: usize) -> Option<Shed> {
        match &mut self.spill {
            Some(spill) if why == Some(Shed::Overflowed) => {
                let has_room = spill.begin(frames);
                Some(if has_room {
                    Shed::Overflowed
                } else {
                    Shed::Full
                })
            }
            _ => why,
        }
    }

    /// Writes fragment `at` of a message that has no room on the hop, if its file has some.
    #[cold]
    pub(super) fn write_overflow<F: Frame>(
        &mut self,
        at: usize,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
    ) {
        if let Some(spill) = &mut self.spill {
            spill.write(at, frame, parent, t_offer_ns);
        }
    }

    /// What a message counts as that had no room for this reason, and of which so many fragments are written.
    #[cold]
    pub(super) fn end_overflow(&mut self, why: Shed, written: usize) -> Shed {
        match &mut self.spill {
            Some(spill) if why == Shed::Overflowed => {
                self.rang = false;
                spill.end(written)
            }
            _ => why,
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::budget::HopCounters;
    use crate::overload::{Policy, WhenFull};

    #[hopline::frame(schema = 7, version = 1)]
    struct Tick {
        at_ns: u64,
    }

    /// Bytes of a message of so many ticks.
    fn ticks_bytes(frames: u64) -> u64 {
        BLOCK_HEAD_BYTES as u64 + frames * record_bytes(8)
    }

    struct Ends {
        tx: HopTx,
        hop: Arc<HopCounters>,
        file: Arc<SpillCounters>,
        rx: FrameConsumer,
        _of_hop: FrameConsumer,
    }

    /// A hop of four slots that overflows into a file with room for so many bytes of messages, and is full.
    fn full(messages_bytes: u64) -> Ends {
        let (ring, of_hop) = hop::frames(4).unwrap();
        let counters = Arc::new(HopCounters::default());
        let file = Arc::new(SpillCounters::default());
        let (spill, rx) = SpillTx::new(messages_bytes, file.clone(), None);
        let policy = Policy::of(WhenFull::Overflow);
        let mut tx = HopTx::new(
            "hop".into(),
            ring,
            policy,
            counters.clone(),
            &[],
            Vec::new(),
        )
        .spilling_into(spill);
        for at_ns in 0..4 {
            assert_eq!(tx.emit(&Tick { at_ns }, &Parent::default(), at_ns), Ok(()));
        }
        Ends {
            tx,
            hop: counters,
            file,
            rx,
            _of_hop: of_hop,
        }
    }

    impl Ends {
        fn emit(&mut self, at_ns: u64) -> Result<(), Shed> {
            self.tx.emit(&Tick { at_ns }, &Parent::default(), at_ns)
        }

        fn message(&mut self, frames: usize, written: usize) -> Result<(), Shed> {
            let parent = Parent::default();
            self.tx.begin(Tick::SCHEMA, frames, &parent, 1);
            for at in 0..written {
                self.tx.write(at, &Tick { at_ns: at as u64 }, &parent, 1);
            }
            self.tx.end(Tick::SCHEMA, written)
        }

        /// Marks of the frames that the writer has to take.
        fn marks(&mut self) -> Vec<Flags> {
            let mut marks = Vec::new();
            while let Some(frame) = self.rx.peek() {
                marks.push(frame.envelope().flags);
                self.rx.advance();
            }
            self.rx.return_credits();
            marks
        }

        /// Messages of the hop that count as overflowed, as full and as undeclared.
        fn shed(&self) -> [u64; 3] {
            let shed = |why: Shed| self.hop.tx.shed[why.index()].get();
            [Shed::Overflowed, Shed::Full, Shed::Undeclared].map(shed)
        }

        /// Messages that were handed over, and those that were not, by their reasons.
        fn file(&self) -> (u64, [u64; 3]) {
            let refused = |at: usize| self.file.refused[at].get();
            (self.file.handed.get(), [0, 1, 2].map(refused))
        }
    }

    #[test]
    fn what_has_no_room_is_handed_over_whole_until_the_file_has_none_either() {
        // For one of one frame and one of three, and not for one more of one frame.
        let room =
            ticks_bytes(1) + ticks_bytes(3) + 3 * (RECORD_BYTES_MAX as u64 - record_bytes(8));
        let mut ends = full(room);
        assert_eq!(ends.emit(2), Err(Shed::Overflowed));
        assert_eq!(ends.message(3, 3), Err(Shed::Overflowed));
        let three = [0, 1, 2].map(|at| Flags::fragment(at, 3));
        assert_eq!(ends.marks(), [&[Flags::WHOLE][..], &three].concat());
        // By what its frames may have at the most, there is no room for as many once more.
        assert_eq!(ends.message(3, 3), Err(Shed::Full));
        assert_eq!(ends.emit(3), Err(Shed::Overflowed));
        assert_eq!(ends.emit(4), Err(Shed::Overflowed));
        assert_eq!(ends.emit(5), Err(Shed::Full));
        assert_eq!(ends.marks().len(), 2);
        assert_eq!((ends.shed(), ends.file()), ([4, 2, 0], (4, [0, 2, 0])));
        assert_eq!(ends.file.refused_frames.get(), 4);
    }

    #[test]
    fn a_message_in_the_making_is_taken_back_or_wrong_as_on_any_hop() {
        let mut ends = full(1 << 20);
        assert_eq!(ends.message(2, 0), Ok(()));
        assert_eq!(ends.message(2, 1), Err(Shed::Undeclared));
        assert_eq!(ends.message(1, 2), Err(Shed::Undeclared));
        assert!(ends.marks().is_empty());
        assert_eq!(ends.message(1, 1), Err(Shed::Overflowed));
        assert_eq!(ends.marks(), [Flags::WHOLE]);
        assert_eq!((ends.shed(), ends.file()), ([1, 0, 2], (1, [0; 3])));
    }

    #[test]
    fn a_writer_that_is_behind_or_gone_costs_messages_and_holds_nobody_back() {
        let mut ends = full(1 << 30);
        for at in 0..OVERFLOW_DEPTH as u64 {
            assert_eq!(ends.emit(at), Err(Shed::Overflowed));
        }
        assert_eq!(ends.emit(0), Err(Shed::Full));
        assert_eq!(ends.message(2, 2), Err(Shed::Full));
        assert!(ends.tx.has_room(512), "it holds nobody back");
        assert_eq!(ends.marks().len(), OVERFLOW_DEPTH);
        assert_eq!(ends.emit(1), Err(Shed::Overflowed));
        ends.file.set_broken("no space left on the device");
        assert_eq!(ends.emit(2), Err(Shed::Full));
        assert_eq!(ends.file().1, [2, 0, 1]);
        let mut ends = full(1 << 30);
        ends.rx.close(Cause::Failed);
        assert_eq!([ends.emit(1), ends.message(2, 2)], [Err(Shed::Full); 2]);
        assert_eq!((ends.shed(), ends.file()), ([0, 2, 0], (0, [0, 0, 2])));
    }
}
