//! What a hop does beside carrying, where its policy asks for more than room.
//!
//! ```text
//!   offer ─→ judge: rate, age, sample ─ no ──────────────────→ shed{rate_limited, hopeless, sampled}
//!              └ yes ─→ has a key and conflates, and no room ─→ waits in the table ─ a newer one comes ─→ shed{conflated}
//!                └─→ room ─→ ring ─→ judge: deadline, codel ─ no ─→ discarded{late, stale}
//!                      └ no ─→ as `when_full` says              └ yes ─→ handler
//! ```
//!
//! Invariant: a hop without a soft limit comes here only when it is built and when its policy changes.

use std::sync::Arc;

use crate::base::{Discard, Flags, Shed};
use crate::budget::HopCounters;
use crate::frame::{Frame, KindInfo};
use crate::overload::Policy;
use crate::stage::admission::{Ends, Offered};
use crate::stage::conflate::{Conflation, Key, Put};
use crate::stage::orders::{Orders, PolicyCell};

use super::{HopRx, HopTx, Parent, kind_at, write_frame};

impl HopTx {
    /// The same for these kinds of frames alone, by their schemas.
    pub(crate) fn carrying(mut self, only: &[KindInfo]) -> HopTx {
        self.only = Some(only.iter().map(|kind| kind.schema).collect());
        self
    }

    /// The same for what the hops at these places of its port, a bit each, have no room for.
    pub(crate) fn spilling(mut self, of: u32) -> HopTx {
        self.spill_of = of;
        self
    }

    /// The same with a cell in which other policies come.
    pub(crate) fn ordered(mut self, cell: Arc<PolicyCell>) -> HopTx {
        self.orders = Some(Orders::new(cell));
        self
    }

    /// The same with a table of so many keys, for a policy that conflates.
    pub(crate) fn conflating(mut self, most_keys: usize) -> HopTx {
        self.table = Some(Box::new(Conflation::new(most_keys)));
        self
    }

    /// Does as `policy` says from now on. What conflates has its [table](HopTx::conflating) since the start.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        self.when_full = policy.when_full;
        // What waits still does, and is not to be passed by a newer one of its key.
        let waits = self.table.as_ref().is_some_and(|one| one.waiting() > 0);
        self.judged = waits || policy.is_judged_at_offer();
        self.admission.set_policy(policy);
        self.note_rung(self.offered_at_ns);
        if self.table.is_some() {
            // What waits there from before goes first.
            self.admission.look_at_each();
        }
        self.keep_cut();
    }

    /// The same of a ring with several consumers, whose counters these are.
    pub(crate) fn serving(mut self, consumers: Vec<Arc<HopCounters>>) -> HopTx {
        self.consumers = consumers.into();
        self
    }

    /// The same of a producer that emits no more than so many frames at once.
    pub(crate) fn emitting(mut self, frames: usize) -> HopTx {
        self.admission.set_emits(frames);
        self
    }

    /// Time passes: a ladder comes down though nothing is offered.
    pub(crate) fn housekeep(&mut self, now_ns: u64) {
        if self.judged
            && let Some(rung) = self.admission.turn(now_ns)
        {
            self.counters.reached(rung.index(), now_ns);
        }
    }

    /// Whether messages that begin with a frame of that kind are offered to it.
    #[inline]
    pub(crate) fn takes(&self, kind: u16) -> bool {
        self.spill_of == 0 && self.carries(kind)
    }

    #[inline]
    fn carries(&self, kind: u16) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&kind))
    }

    /// Whether it takes what one of these hops of its port, a bit each by place, had no room for, if it begins with a frame of
    /// that kind.
    #[inline]
    pub(crate) fn spills(&self, overflowed: u32, kind: u16) -> bool {
        self.spill_of & overflowed != 0 && self.carries(kind)
    }

    /// Whether the message in the making has turned out with its first fragment to overflow, the first time that this is asked.
    #[inline]
    pub(crate) fn take_late(&mut self) -> bool {
        core::mem::take(&mut self.late)
    }

    /// Whether a message is in the making, with room or without.
    pub(crate) fn is_in_the_making(&self) -> bool {
        self.open > 0 || self.refused.is_some()
    }

    /// Whether messages may wait in it for room.
    pub(crate) fn has_table(&self) -> bool {
        self.table.is_some()
    }

    /// Does as its policy says now, if that has changed.
    pub(crate) fn refresh(&mut self) {
        if let Some(policy) = self.orders.as_mut().and_then(Orders::changed) {
            self.set_policy(policy);
        }
    }

    /// As [`HopTx::emit`], for a hop that asks for more than room.
    #[inline(never)]
    pub(super) fn emit_judged<F: Frame>(
        &mut self,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
    ) -> Result<(), Shed> {
        if self.cut {
            self.shed(F::SCHEMA, Shed::Disconnected, t_offer_ns);
            return Err(Shed::Disconnected);
        }
        if let Some(why) = self.judge(1, parent, t_offer_ns) {
            self.shed(F::SCHEMA, why, t_offer_ns);
            return Err(why);
        }
        if F::KEYED && self.must_wait() {
            return self.wait(frame, parent, t_offer_ns);
        }
        self.put(frame, parent, t_offer_ns)
    }

    /// Why the policy refuses a message that is offered at that time, if it does.
    pub(super) fn judge(
        &mut self,
        frames: usize,
        parent: &Parent,
        t_offer_ns: u64,
    ) -> Option<Shed> {
        let message = Offered {
            frames,
            t_intended_ns: parent.t_intended_ns,
            own_at_ns: parent.deadline_at_ns,
            now_ns: t_offer_ns,
        };
        let ends = Ends {
            ring: &mut self.ring,
            offers: &self.counters,
            consumers: &self.consumers,
        };
        let refused = self.admission.refusal(&message, ends);
        self.note_rung(t_offer_ns);
        refused
    }

    /// Counts the rung of the ladder that was reached by then, if one was.
    #[inline]
    fn note_rung(&mut self, now_ns: u64) {
        if let Some(rung) = self.admission.take_reached() {
            self.counters.reached(rung.index(), now_ns);
        }
    }

    /// Whether a message with a key is to wait in the table: what waits there already is older, and goes first.
    fn must_wait(&mut self) -> bool {
        let waiting = self.table.as_ref().map(|table| table.waiting());
        let Some(waiting) = waiting.filter(|_| !self.ring.is_closed()) else {
            return false;
        };
        let conflates = self.admission.conflates();
        if waiting == 0 && !conflates {
            return false;
        }
        !self.settle() || (conflates && (!self.ring.has_room(1) || self.keeps_waiting()))
    }

    /// Whether what waits is to wait on though there is room.
    fn keeps_waiting(&mut self) -> bool {
        self.admission.keeps_waiting(Ends {
            ring: &mut self.ring,
            offers: &self.counters,
            consumers: &self.consumers,
        })
    }

    /// As [`HopTx::settle`], by a producer that has ended: nothing newer will take the place of what waits, so it goes as soon as
    /// there is room.
    pub(crate) fn settle_last(&mut self) -> bool {
        self.admission.nothing_more_comes();
        self.settle()
    }

    /// Has a message wait for room.
    fn wait<F: Frame>(&mut self, frame: &F, parent: &Parent, t_offer_ns: u64) -> Result<(), Shed> {
        let Some(table) = &mut self.table else {
            return Err(Shed::Full);
        };
        let put = table.put(Key::of(frame), |payload| {
            let len = write_frame(frame, payload);
            parent.envelope(F::SCHEMA, len, Flags::WHOLE, t_offer_ns)
        });
        self.note_put(put, F::SCHEMA, t_offer_ns)
    }

    /// Counts what became of a message that was to wait.
    fn note_put(&mut self, put: Put, kind: u16, t_offer_ns: u64) -> Result<(), Shed> {
        match put {
            Put::Waits => {
                let waiting = self.table.as_ref().map_or(0, |table| table.waiting());
                self.counters.tx.waiting.set(waiting as u64);
            }
            Put::Replaced => self.shed(kind, Shed::Conflated, t_offer_ns),
            Put::Full => {
                self.shed(kind, Shed::Full, t_offer_ns);
                return Err(Shed::Full);
            }
        }
        Ok(())
    }

    /// Whether it takes the key of a message in the making to know what becomes of it: one fragment may have to wait, and
    /// several are not to pass an older one that does.
    pub(super) fn asks_for_key(&self, kind: u16, frames: usize) -> bool {
        let Some(table) = &self.table else {
            return false;
        };
        (table.waiting() > 0 || (frames == 1 && self.admission.conflates()))
            && self.kinds.iter().any(|one| one.schema == kind && one.keyed)
    }

    /// Whether a message in the making goes on the ring, by the key of its first fragment. What is to wait is kept until it ends.
    #[cold]
    pub(super) fn goes_on_ring<F: Frame>(
        &mut self,
        frame: &F,
        parent: &Parent,
        t_offer_ns: u64,
    ) -> bool {
        self.defers = false;
        let frames = self.open;
        let is_one = frames == 1;
        let waits = F::KEYED
            && if is_one {
                self.must_wait()
            } else {
                !self.settle()
            };
        let why = match &mut self.table {
            Some(table) if waits && is_one => {
                table.stash(Key::of(frame), |payload| {
                    let len = write_frame(frame, payload);
                    parent.envelope(F::SCHEMA, len, Flags::WHOLE, t_offer_ns)
                });
                self.stashed = true;
                return false;
            }
            // A message of several fragments has no place in the table.
            Some(table) if waits && table.has(Key::of(frame)) => Some(Shed::Full),
            // What waited may have taken its room.
            _ => self.refusal(frames),
        };
        if why.is_some() {
            self.open = 0;
            self.late = why == Some(Shed::Overflowed);
            self.refused = self.begin_overflow(why, frames);
        }
        why.is_none()
    }

    /// Has the message that was kept wait for room.
    #[cold]
    pub(super) fn wait_stashed(&mut self, kind: u16) -> Result<(), Shed> {
        let Some(table) = &mut self.table else {
            return Err(Shed::Full);
        };
        let put = table.put_stashed();
        self.note_put(put, kind, self.open_at_ns)
    }

    /// Puts what waits for room on the ring, as far as there is room: whether nothing waits any more.
    pub(crate) fn settle(&mut self) -> bool {
        let Some(table) = &mut self.table else {
            return true;
        };
        if table.waiting() == 0 {
            return true;
        }
        while let Some((envelope, payload)) = table.oldest() {
            if self.ring.is_closed() {
                let kind = envelope.kind;
                table.pop();
                self.counters.shed(kind_at(self.kinds, kind), Shed::Closed);
                continue;
            }
            let keeps = self.admission.keeps_waiting(Ends {
                ring: &mut self.ring,
                offers: &self.counters,
                consumers: &self.consumers,
            });
            if keeps || !self.ring.has_room(1) {
                break;
            }
            let put = self.ring.put(|slot| {
                *slot = *payload;
                *envelope
            });
            if put.is_err() {
                break;
            }
            self.counters.tx.accepted.add(1);
            self.rang = false;
            table.pop();
        }
        let waiting = table.waiting();
        self.counters.tx.waiting.set(waiting as u64);
        // A node that does nothing else in this turn does not ring.
        self.ring_bell();
        waiting == 0
    }
}

impl HopRx {
    /// The same with what its policy asks for.
    pub(crate) fn aging(mut self, policy: Policy) -> HopRx {
        self.set_policy(policy);
        self
    }

    /// Does as `policy` says from now on.
    pub(crate) fn set_policy(&mut self, policy: Policy) {
        let was_judged = core::mem::replace(&mut self.judged, policy.is_judged_at_take());
        if !was_judged {
            // Those that went by while nobody measured are of no run.
            self.fragments = 0;
        }
        self.aging.set_policy(policy);
    }

    /// The same with a cell in which other policies come.
    pub(crate) fn ordered(mut self, cell: Arc<PolicyCell>) -> HopRx {
        self.orders = Some(Orders::new(cell));
        self
    }

    /// Does as its policy says now, if that has changed.
    pub(crate) fn refresh(&mut self) {
        if let Some(policy) = self.orders.as_mut().and_then(Orders::changed) {
            self.set_policy(policy);
        }
    }

    /// The same of another class.
    pub(crate) fn ranked(mut self, rank: u8) -> HopRx {
        self.rank = rank;
        self
    }

    /// Its class: inputs of a lower one come first.
    #[inline]
    pub(crate) fn rank(&self) -> u8 {
        self.rank
    }

    /// Steps over the oldest messages of a ring that is nearly full, where the policy says so: over a quarter of it, in as many
    /// turns as that takes at [`DROPS_PER_TURN_MAX`](crate::base::limits::DROPS_PER_TURN_MAX) frames and the rest of a message.
    pub(crate) fn skip_oldest(&mut self) {
        if !self.aging.skips_oldest() {
            return;
        }
        let depth = self.ring.depth();
        let waiting = self.ring.ready_ahead(depth);
        let most = self.aging.too_many(waiting, depth);
        let (mut over, mut mid_message) = (0, false);
        while over < most || mid_message {
            let Some(frame) = self.ring.peek() else { break };
            let envelope = *frame.envelope();
            mid_message = !envelope.flags.is_last();
            self.discard(&envelope, Discard::Oldest);
            over += 1;
        }
        self.aging.stepped_over(over);
    }
}
