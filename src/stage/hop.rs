//! The two ends of a hop: a ring's handle with its policy, its counters and its recorders.

use std::sync::Arc;

use crate::base::{Cause, Envelope, Flags, Reason, Shed};
use crate::budget::HopCounters;
use crate::frame::{Frame, KindInfo};
use crate::io::Waker;
use crate::overload::{Policy, WhenFull};
use crate::wait::Alarm;

use super::admission::Admission;
use super::conflate::Conflation;
use super::orders::Orders;
use super::ring::TxRing;

#[cfg(all(test, not(any(loom, shuttle))))]
mod bursts;
mod divided;
mod judged;
mod rx;
mod spill;

pub(crate) use divided::Mark;
pub use rx::HopRx;
pub(crate) use spill::SpillTx;

/// Index of the wait histogram in a hop's recorder.
pub const WAIT: usize = 0;
/// Index of the service histogram.
pub const SERVICE: usize = 1;
/// Index of the sojourn histogram.
pub const SOJOURN: usize = 2;

/// The words of an emission's envelope that come from its parent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parent {
    pub(crate) t_intended_ns: u64,
    pub(crate) deadline_at_ns: u64,
    pub(crate) source: u16,
    pub(crate) class: u8,
}

impl Parent {
    pub(crate) fn of(envelope: &Envelope) -> Parent {
        let deadline = u64::from(envelope.deadline_ns);
        Parent {
            t_intended_ns: envelope.t_intended_ns(),
            deadline_at_ns: if deadline == 0 {
                0
            } else {
                envelope.t_offer_ns + deadline
            },
            source: envelope.source,
            class: envelope.class,
        }
    }

    #[inline]
    fn envelope(&self, kind: u16, len: u16, flags: Flags, t_offer_ns: u64) -> Envelope {
        use crate::base::envelope::saturate_ns;
        let (origin_ns, _) = saturate_ns(t_offer_ns.saturating_sub(self.t_intended_ns));
        let deadline_ns = match self.deadline_at_ns {
            0 => 0,
            // A deadline that has passed stays one: 0 would mean that there is none.
            at => saturate_ns(at.saturating_sub(t_offer_ns)).0.max(1),
        };
        Envelope {
            t_offer_ns,
            origin_ns,
            deadline_ns,
            kind,
            len,
            source: self.source,
            class: self.class,
            flags,
        }
    }
}

/// Wakes the consumer's loop out of its park, if it announced one.
#[derive(Clone, Debug)]
pub struct Doorbell {
    alarm: Alarm,
    waker: Waker,
}

impl Doorbell {
    /// A bell for the loop that announces its sleep to `alarm` and sleeps in the poll of `waker`.
    #[must_use]
    pub fn new(alarm: Alarm, waker: Waker) -> Doorbell {
        Doorbell { alarm, waker }
    }

    /// Wakes the loop if it sleeps, and says so; a fence and a load if it does not.
    #[inline]
    pub fn ring(&self) -> bool {
        let sleeps = self.alarm.should_wake();
        if sleeps {
            // A waker that fails leaves the sleeper to its own timeout, which is bounded.
            let _ = self.waker.wake();
        }
        sleeps
    }
}

/// The producing end of a hop.
#[derive(Debug)]
pub struct HopTx {
    pub(crate) ring: TxRing,
    when_full: WhenFull,
    counters: Arc<HopCounters>,
    /// Those of all consumers of its ring.
    consumers: Box<[Arc<HopCounters>]>,
    kinds: &'static [KindInfo],
    bells: Vec<Doorbell>,
    name: Arc<str>,
    /// Fragments of the message in the making; 0 where there is none, or it has no room.
    open: usize,
    /// Why it has none.
    refused: Option<Shed>,
    /// Whether that is only known with its first fragment, by its key.
    defers: bool,
    /// Whether it is to wait, and lies in the table's spare place until it ends.
    stashed: bool,
    /// Whether it was known only with its first fragment that it overflows, and nobody was told yet.
    late: bool,
    rang: bool,
    /// What it carries of the port's kinds, by their schemas; all without.
    only: Option<Box<[u16]>>,
    /// The hops of the same port, by their places, of which it takes what they have no room for; then it gets nothing else.
    spill_of: u32,
    /// Its way to a file for what it has no room for itself, if it has one.
    spill: Option<Box<SpillTx>>,
    /// Whether its policy asks for more than room.
    judged: bool,
    /// What it asks for. Made at the start whether it does or not, since a policy may change while the line runs.
    admission: Box<Admission>,
    /// What waits for room, the latest of each key.
    table: Option<Box<Conflation>>,
    /// Where other policies come.
    orders: Option<Orders>,
    /// Whether its consumer is cut off once it has held the producer back for too long, and whether it was.
    disconnects: bool,
    cut: bool,
    /// When the last message was offered, in nanoseconds of the line's clock; 0 before the first.
    offered_at_ns: u64,
    /// When the message in the making was offered.
    open_at_ns: u64,
}

impl HopTx {
    /// Joins a ring's producer with a policy and counters, of which it writes the offering side. `bells` wake
    /// the consumers' loops that park.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        ring: impl Into<TxRing>,
        policy: impl Into<Policy>,
        counters: Arc<HopCounters>,
        kinds: &'static [KindInfo],
        bells: Vec<Doorbell>,
    ) -> HopTx {
        let (ring, policy) = (ring.into(), policy.into());
        let depth = ring.depth();
        HopTx {
            ring,
            when_full: policy.when_full,
            consumers: Box::new([counters.clone()]),
            counters,
            kinds,
            bells,
            name,
            open: 0,
            refused: None,
            defers: false,
            stashed: false,
            late: false,
            rang: true,
            only: None,
            spill_of: 0,
            spill: None,
            orders: None,
            disconnects: false,
            cut: false,
            judged: policy.is_judged_at_offer(),
            admission: Box::new(Admission::new(policy, depth)),
            table: None,
            offered_at_ns: 0,
            open_at_ns: 0,
        }
    }

    /// The hop's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether `frames` could be emitted without breaking the policy: always true where the hop
    /// sheds, or where nobody reads any more.
    #[inline]
    pub fn has_room(&mut self, frames: usize) -> bool {
        if self.when_full != WhenFull::Block {
            return true;
        }
        if self.judged {
            // What waits goes before it.
            let waiting = self.table.as_ref().map_or(0, |table| table.waiting());
            return self.admission.has_room(&mut self.ring, frames, waiting)
                || self.ring.is_closed();
        }
        self.ring.has_room(frames) || self.ring.is_closed()
    }

    /// Its producer waits for room on it.
    #[cold]
    pub(crate) fn held_back(&mut self, now_ns: u64) {
        if self.judged {
            self.admission.held_back(now_ns);
        }
    }

    /// Its producer waits for room for `frames` on another hop: if there is none on this one either, it waits for both.
    #[cold]
    pub(crate) fn held_back_beside(&mut self, frames: usize, now_ns: u64) {
        if self.judged && !self.has_room(frames) {
            self.admission.held_back(now_ns);
        }
    }

    /// Why nobody reads any more, if so.
    pub(crate) fn closed(&self) -> Option<Cause> {
        self.ring.closed()
    }

    /// How many consumers it has: each is a hop of its own in the plan and in the report.
    #[inline]
    pub(crate) fn consumers(&self) -> usize {
        self.ring.consumers()
    }

    /// The consumer that holds this end back, by its place.
    pub(crate) fn held_by(&self) -> usize {
        self.ring.slowest()
    }

    /// Why a message of `frames` cannot be put on the ring now, if so.
    #[inline]
    fn refusal(&mut self, frames: usize) -> Option<Shed> {
        if self.ring.has_room(frames) && !self.ring.is_closed() {
            return None;
        }
        Some(self.why_refused(frames))
    }

    #[cold]
    fn why_refused(&self, frames: usize) -> Shed {
        if self.ring.is_closed() {
            return Shed::Closed;
        }
        if frames > self.ring.depth() {
            return Shed::Oversize;
        }
        let expired = self.admission.is_expired();
        match self.admission.policy().when_full_now(expired) {
            _ if expired && self.disconnects => Shed::Disconnected,
            WhenFull::Block => Shed::Undeclared,
            WhenFull::Reject => Shed::Rejected,
            WhenFull::Overflow => Shed::Overflowed,
            WhenFull::DropNewest if expired => Shed::BlockTimeout,
            WhenFull::DropNewest | WhenFull::DropOldest | WhenFull::Conflate => Shed::Full,
        }
    }

    /// Counts a message that was offered at `t_offer_ns` and is shed.
    #[cold]
    fn shed(&mut self, kind: u16, why: Shed, t_offer_ns: u64) {
        self.counters.shed(kind_at(self.kinds, kind), why);
        if why == Shed::Disconnected {
            self.disconnect();
        }
        if matches!(
            why,
            Shed::Full | Shed::Rejected | Shed::Overflowed | Shed::BlockTimeout
        ) && self.offered_at_ns > 0
        {
            let span_ns = t_offer_ns.saturating_sub(self.offered_at_ns);
            self.was_full(self.held_by(), span_ns);
        }
        self.offered_at_ns = self.offered_at_ns.max(t_offer_ns);
    }

    /// Counts time in which there was no room, because of the consumer at that place.
    pub(crate) fn was_full(&self, consumer: usize, span_ns: u64) {
        if let Some(full_ns) = self.counters.tx.full_ns.get(consumer) {
            full_ns.add(span_ns);
        }
    }

    /// Puts one whole message on the hop, written in place.
    #[inline(always)]
    pub(crate) fn emit<F: Frame>(
        &mut self,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
    ) -> Result<(), Shed> {
        self.counters.tx.offered.add(1);
        if self.judged && !self.is_calm(parent, t_offer_ns) {
            return self.emit_judged(frame, parent, t_offer_ns);
        }
        self.put(frame, parent, t_offer_ns)
    }

    /// Whether a message of one frame is taken without a question.
    #[inline(always)]
    fn is_calm(&mut self, parent: &Parent, t_offer_ns: u64) -> bool {
        self.admission
            .is_calm(parent.t_intended_ns, parent.deadline_at_ns, t_offer_ns)
    }

    /// Puts one whole message on the ring, if there is room.
    #[inline(always)]
    fn put<F: Frame>(&mut self, frame: &F, parent: &Parent, t_offer_ns: u64) -> Result<(), Shed> {
        if let Some(why) = self.refusal(1) {
            return Err(self.turn_away(why, frame, parent, t_offer_ns));
        }
        let put = self.ring.put(|payload| {
            let len = write_frame(frame, payload);
            parent.envelope(F::SCHEMA, len, Flags::WHOLE, t_offer_ns)
        });
        if put.is_err() {
            self.shed(F::SCHEMA, Shed::Closed, t_offer_ns);
            return Err(Shed::Closed);
        }
        self.counters.tx.accepted.add(1);
        self.rang = false;
        self.offered_at_ns = t_offer_ns;
        Ok(())
    }

    /// Disposes of a message that there is no room for; what it counts as.
    #[cold]
    #[inline(never)]
    fn turn_away<F: Frame>(
        &mut self,
        why: Shed,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
    ) -> Shed {
        let why = self.overflow(why, frame, parent, t_offer_ns);
        self.shed(F::SCHEMA, why, t_offer_ns);
        why
    }

    /// Begins a message of `frames` fragments of which the first is of that kind: all of them get on the ring, or none. It counts
    /// once it ends. Says why it has no room, if it has none and that is known without its key.
    pub(crate) fn begin(
        &mut self,
        kind: u16,
        frames: usize,
        parent: &Parent,
        t_offer_ns: u64,
    ) -> Option<Shed> {
        self.open_at_ns = t_offer_ns;
        (self.defers, self.stashed, self.late) = (false, false, false);
        self.refused = if frames == 0 {
            // A message of nothing is nothing, and one that was to be nothing and is something has no room.
            Some(Shed::Undeclared)
        } else {
            let judged = if !self.judged || (frames == 1 && self.is_calm(parent, t_offer_ns)) {
                None
            } else if self.cut {
                Some(Shed::Disconnected)
            } else {
                self.judge(frames, parent, t_offer_ns)
            };
            self.defers = self.judged && judged.is_none() && self.asks_for_key(kind, frames);
            judged.or_else(|| {
                if self.defers {
                    None
                } else {
                    self.refusal(frames)
                }
            })
        };
        self.refused = self.begin_overflow(self.refused, frames);
        self.open = if self.refused.is_none() { frames } else { 0 };
        self.refused
    }

    /// Writes fragment `at` of the message in the making; it is not visible before [`HopTx::end`].
    #[inline]
    pub(crate) fn write<F: Frame>(
        &mut self,
        at: usize,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
    ) {
        let goes_on = !self.defers || self.goes_on_ring(frame, parent, t_offer_ns);
        let frames = self.open;
        if !goes_on || at >= frames {
            return self.write_overflow(at, frame, parent, t_offer_ns);
        }
        self.ring.write_ahead(at, frames, |payload| {
            let len = write_frame(frame, payload);
            parent.envelope(F::SCHEMA, len, Flags::fragment(at, frames), t_offer_ns)
        });
    }

    /// Whether a message is in the making that has room.
    pub(crate) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Publishes the message in the making, or takes it back.
    pub(crate) fn end(&mut self, kind: u16, written: usize) -> Result<(), Shed> {
        let frames = core::mem::take(&mut self.open);
        let refused = self.refused.take();
        // Taken back, whether it had room or not: as if it had never been offered.
        if written == 0 || (frames == 0 && refused.is_none()) {
            return Ok(());
        }
        self.counters.tx.offered.add(1);
        if let Some(why) = refused {
            let why = self.end_overflow(why, written);
            self.shed(kind, why, self.open_at_ns);
            return Err(why);
        }
        if core::mem::take(&mut self.stashed) && written == frames {
            return self.wait_stashed(kind);
        }
        if written == frames && self.ring.publish(frames).is_ok() {
            self.counters.tx.accepted.add(1);
            self.offered_at_ns = self.open_at_ns;
            self.counters.tx.parts.add(frames as u64 - 1);
            self.rang = false;
            return Ok(());
        }
        // Whatever the policy, another number of fragments than was said is no matter of room.
        let why = if written == frames {
            self.why_refused(frames)
        } else {
            Shed::Undeclared
        };
        self.shed(kind, why, self.open_at_ns);
        Err(why)
    }

    /// Wakes the consumers' loops that announced that they sleep, if something was published since
    /// the last call. Costs nothing where no consumer ever parks.
    #[inline]
    pub fn ring_bell(&mut self) {
        if !self.rang {
            self.rang = true;
            self.wake_consumers();
        }
    }

    #[inline]
    fn wake_consumers(&self) {
        for bell in &self.bells {
            if bell.ring() {
                self.counters.tx.wakes.add(1);
            }
        }
        if let Some(spill) = &self.spill {
            spill.ring_bell();
        }
    }

    /// Says that nothing more comes, and why. What waits for room until now does not get it any more.
    pub fn close(&mut self, cause: Cause) {
        self.settle_last();
        self.forget_waiting(Shed::Closed);
        self.ring.close(cause);
        if let Some(spill) = &mut self.spill {
            spill.close(cause);
        }
        self.wake_consumers();
    }

    /// What waits for room does not get it any more.
    fn forget_waiting(&mut self, why: Shed) {
        if let Some(table) = &mut self.table {
            while let Some((envelope, _)) = table.oldest() {
                let kind = envelope.kind;
                table.pop();
                self.counters.shed(kind_at(self.kinds, kind), why);
            }
            self.counters.tx.waiting.set(0);
        }
    }
}

/// The place of a kind in a hop's list of them, or behind it.
fn kind_at(kinds: &[KindInfo], kind: u16) -> usize {
    let at = kinds.iter().position(|info| info.schema == kind);
    at.unwrap_or(kinds.len())
}

/// Writes a frame into a slot's payload; the macro has checked at compile time that it fits.
#[inline(always)]
fn write_frame<F: Frame>(frame: &F, payload: &mut [u8]) -> u16 {
    let written = frame.write(payload);
    debug_assert!(
        written.is_ok(),
        "the frame attribute bounds the size of a frame"
    );
    written.unwrap_or(0) as u16
}

/// A hop's list of kinds as names, and one more for any other: the rows of `shed_by_kind`.
#[must_use]
pub fn kind_name(kinds: &[KindInfo], at: usize) -> &'static str {
    kinds.get(at).map_or("other", |info| info.name)
}

const _: () = assert!(Shed::NAMES.len() <= crate::base::limits::REASONS_MAX);

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::io::{Driver, Virtual};
    use crate::ring::hop;
    use crate::wait::announce;

    #[hopline::frame(schema = 7, version = 1)]
    struct Tick {
        at_ns: u64,
    }

    #[test]
    fn only_an_announced_sleep_costs_a_wake() {
        let (sleeper, alarm) = announce::pair();
        let mut driver = Driver::from(Virtual::new());
        let counters = Arc::new(HopCounters::default());
        let (ring, mut rx) = hop::frames(64).unwrap();
        let bell = Some(Doorbell::new(alarm, driver.waker()));
        let when_full = WhenFull::Block;
        let mut tx = HopTx::new(
            "hop".into(),
            ring,
            when_full,
            counters.clone(),
            &[],
            bell.into_iter().collect(),
        );
        let mut emit = || {
            let parent = Parent::default();
            assert_eq!(tx.emit(&Tick { at_ns: 1 }, &parent, 1), Ok(()));
            tx.ring_bell();
            // Nothing was published since: nothing to ring for.
            tx.ring_bell();
            rx.advance();
            let woken = driver.poll(0, Some(0)).unwrap().woken;
            (counters.tx.wakes.get(), woken)
        };
        for _ in 0..10_000 {
            assert_eq!(emit(), (0, false), "awake: no system call");
        }
        sleeper.announce();
        assert_eq!(emit(), (1, true));
        assert_eq!(emit(), (1, false), "the wake is on its way already");
        sleeper.announce();
        sleeper.retract();
        assert_eq!(emit(), (1, false));
    }

    #[hopline::frame(schema = 8, version = 1, key = "of")]
    struct Latest {
        of: u64,
        value: u64,
    }

    #[test]
    fn what_waits_for_room_is_passed_by_no_newer_one_of_its_key_under_another_policy() {
        let counters = Arc::new(HopCounters::default());
        let (ring, mut rx) = hop::frames(2).unwrap();
        let policy = Policy::of(WhenFull::Conflate);
        let (name, bells) = (Arc::from("hop"), Vec::new());
        let mut tx = HopTx::new(name, ring, policy, counters.clone(), &[], bells).conflating(4);
        let emit = |tx: &mut HopTx, value| {
            let parent = Parent::default();
            assert_eq!(tx.emit(&Latest { of: 1, value }, &parent, value), Ok(()));
        };
        (1..=3).for_each(|value| emit(&mut tx, value));
        assert_eq!(counters.tx.waiting.get(), 1);
        tx.set_policy(Policy::of(WhenFull::DropNewest));
        // Room for two, of which the one that waits gets the first.
        let mut came = Vec::new();
        let mut take = |rx: &mut crate::ring::hop::FrameConsumer| {
            while let Some(frame) = rx.peek() {
                came.push(frame.envelope().t_offer_ns);
                rx.advance();
            }
            rx.return_credits();
        };
        take(&mut rx);
        emit(&mut tx, 4);
        take(&mut rx);
        assert_eq!((came, counters.tx.waiting.get()), (vec![1, 2, 3, 4], 0));
    }

    #[test]
    fn a_message_in_the_making_waits_behind_an_older_one_of_its_key() {
        static KINDS: [KindInfo; 1] = [KindInfo::of::<Latest>()];
        let counters = Arc::new(HopCounters::default());
        let (ring, mut rx) = hop::frames(2).unwrap();
        let policy = Policy::of(WhenFull::Conflate);
        let (name, bells) = (Arc::from("hop"), Vec::new());
        let mut tx = HopTx::new(name, ring, policy, counters.clone(), &KINDS, bells).conflating(4);
        let parent = Parent::default();
        let made = |tx: &mut HopTx, value, frames, written| {
            tx.begin(Latest::SCHEMA, frames, &parent, value);
            for at in 0..written {
                tx.write(at, &Latest { of: 1, value }, &parent, value);
            }
            tx.end(Latest::SCHEMA, written)
        };
        for value in 1..=4 {
            assert_eq!(made(&mut tx, value, 1, 1), Ok(()));
        }
        assert_eq!(counters.tx.shed[Shed::Conflated.index()].get(), 1);
        // Taken back: what waits still does.
        assert_eq!(made(&mut tx, 5, 1, 0), Ok(()));
        // The first fragment says that it has to wait, and there is no place for two.
        assert_eq!(made(&mut tx, 6, 2, 2), Err(Shed::Full));
        let mut came = Vec::new();
        for _ in 0..2 {
            while let Some(frame) = rx.peek() {
                came.push(frame.envelope().t_offer_ns);
                rx.advance();
            }
            rx.return_credits();
            tx.settle();
        }
        assert_eq!(came, [1, 2, 4]);
        let tx = &counters.tx;
        assert_eq!(
            (tx.offered.get(), tx.accepted.get(), tx.waiting.get()),
            (5, 3, 0)
        );
    }

    #[test]
    fn a_message_of_another_number_of_fragments_than_was_said_is_undeclared_whatever_the_policy() {
        static KINDS: [KindInfo; 1] = [KindInfo::of::<Latest>()];
        let parent = Parent::default();
        for when_full in WhenFull::ALL {
            let counters = Arc::new(HopCounters::default());
            let (ring, mut rx) = hop::frames(4).unwrap();
            let (name, bells) = (Arc::from("hop"), Vec::new());
            let mut tx = HopTx::new(name, ring, when_full, counters.clone(), &KINDS, bells);
            if when_full == WhenFull::Conflate {
                tx = tx.conflating(4);
            }
            let mut made = |frames, written| {
                tx.begin(Latest::SCHEMA, frames, &parent, 1);
                for at in 0..written {
                    tx.write(at, &Latest { of: 1, value: 1 }, &parent, 1);
                }
                tx.end(Latest::SCHEMA, written)
            };
            for (frames, written) in [(3, 2), (2, 3), (1, 2), (0, 1)] {
                let ended = made(frames, written);
                assert_eq!(ended, Err(Shed::Undeclared), "{when_full}");
            }
            assert!(rx.peek().is_none(), "{when_full}: nothing of them is there");
            // One of nothing, and one that is taken back.
            assert_eq!([made(0, 0), made(2, 0)], [Ok(()); 2]);
            // What has no room is refused for that, be it as long as was said or not.
            assert_eq!(made(4, 4), Ok(()));
            let why = made(2, 1).unwrap_err();
            assert_eq!(why == Shed::Undeclared, when_full == WhenFull::Block);
            let undeclared = counters.tx.shed[Shed::Undeclared.index()].get();
            let offered = counters.tx.offered.get();
            assert_eq!((offered, undeclared >= 4), (6, true), "{when_full}");
        }
    }
}
