//! What a handler sees of the line: its outputs, the time of its turn, and the frame's own times.

use core::net::SocketAddr;

use crate::base::{Cause, Envelope, Flags, Shed};
use crate::clock::Clock;
use crate::frame::{Carries, Frame};

use super::hop::Parent;
use super::node::NodeCounters;
use super::outcome::Disposal;
pub use super::outputs::Outputs;
use super::outputs::Tried;
use super::port::Out;

/// What became of an emission on the hops of its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// At least one hop has it.
    Sent,
    /// Every hop shed it; the last one's reason.
    Shed(Shed),
    /// Every hop shed it, the last one because its consumer takes nothing more, and why that is so: there is no use in
    /// trying again.
    Closed(Cause),
    /// No hop leaves by that port, or there was nothing to send.
    Unconnected,
}

impl Emit {
    /// Whether at least one hop has it.
    #[must_use]
    pub const fn is_sent(self) -> bool {
        matches!(self, Emit::Sent)
    }
}

/// Where and when a message entered the line and until when it is worth something: what is left of it once its
/// frame has gone. See [`Context::origin`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin(Parent);

impl Origin {
    #[cfg(test)]
    pub(crate) fn of(envelope: &Envelope) -> Origin {
        Origin(Parent::of(envelope))
    }

    /// Its intended time, in nanoseconds of the line's clock.
    #[inline]
    #[must_use]
    pub const fn t_intended_ns(&self) -> u64 {
        self.0.t_intended_ns
    }

    /// Its deadline, in nanoseconds of the line's clock, if it has one.
    #[inline]
    #[must_use]
    pub const fn deadline_at_ns(&self) -> Option<u64> {
        match self.0.deadline_at_ns {
            0 => None,
            at_ns => Some(at_ns),
        }
    }
}

/// What a handler may do, beside looking at its frame. Lives one call.
#[derive(Debug)]
pub struct Context<'a> {
    outputs: &'a mut Outputs,
    clock: &'a Clock,
    counters: &'a NodeCounters,
    timer: &'a mut Option<u64>,
    parent: Parent,
    flags: Flags,
    now_ns: u64,
    emitted: u32,
    offered: u32,
    /// When what is emitted was ready, if not now: a source that was held back dates its frames from
    /// when they were due, and what only copies from when it took what it copies.
    offer_at_ns: Option<u64>,
    peer: Option<SocketAddr>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(
        outputs: &'a mut Outputs,
        clock: &'a Clock,
        counters: &'a NodeCounters,
        timer: &'a mut Option<u64>,
        now_ns: u64,
    ) -> Context<'a> {
        let parent = Parent {
            t_intended_ns: now_ns,
            ..Parent::default()
        };
        Context {
            outputs,
            clock,
            counters,
            timer,
            parent,
            flags: Flags::WHOLE,
            now_ns,
            emitted: 0,
            offered: 0,
            offer_at_ns: None,
            peer: None,
        }
    }

    #[inline]
    pub(crate) fn begin_input(&mut self, envelope: &Envelope, now_ns: u64, only_copies: bool) {
        self.parent = Parent::of(envelope);
        self.flags = envelope.flags;
        self.now_ns = now_ns;
        self.offer_at_ns = only_copies.then_some(now_ns);
    }

    #[inline]
    pub(crate) fn begin_source(
        &mut self,
        source: u16,
        t_intended_ns: u64,
        now_ns: u64,
        offer_at_ns: Option<u64>,
        peer: Option<SocketAddr>,
    ) {
        self.parent = Parent {
            t_intended_ns,
            source,
            ..Parent::default()
        };
        self.now_ns = now_ns;
        self.offer_at_ns = offer_at_ns;
        self.peer = peer;
        self.emitted = 0;
        self.offered = 0;
    }

    /// Emissions that at least one hop took since the last call, and those that were tried.
    #[inline]
    pub(crate) fn take_emitted(&mut self) -> (u32, u32) {
        (
            core::mem::take(&mut self.emitted),
            core::mem::take(&mut self.offered),
        )
    }

    pub(crate) fn outputs(&mut self) -> &mut Outputs {
        self.outputs
    }

    /// The time at which this turn took the frame, in nanoseconds of the line's clock.
    #[inline]
    #[must_use]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    pub(crate) fn clock(&self) -> &Clock {
        self.clock
    }

    /// A fresh stamp of the line's clock, in nanoseconds.
    #[inline]
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.clock.stamp()
    }

    /// The intended time of the message in hand, in nanoseconds of the line's clock.
    #[inline]
    #[must_use]
    pub fn t_intended_ns(&self) -> u64 {
        self.parent.t_intended_ns
    }

    /// Index of the source at which the message in hand entered the line.
    #[inline]
    #[must_use]
    pub fn source(&self) -> u16 {
        self.parent.source
    }

    /// Who sent the message that a decoder has in hand, where that is known.
    #[inline]
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whose message is in hand: what a stage that holds it keeps, for what it emits later.
    #[inline]
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin(self.parent)
    }

    /// What is emitted from now on in this call is for the message of that origin: its age and its deadline
    /// go on with it, however long the stage held it.
    #[inline]
    pub fn resume(&mut self, origin: Origin) {
        self.parent = origin.0;
    }

    /// The marks of the frame in hand: whether it begins its message and whether it ends it.
    #[inline]
    #[must_use]
    pub fn flags(&self) -> Flags {
        self.flags
    }

    #[inline]
    fn t_offer_ns(&self) -> u64 {
        match self.offer_at_ns {
            Some(at) => at,
            None => self.clock.stamp(),
        }
    }

    /// Writes a frame in place on every hop of a port.
    ///
    /// A frame that no hop takes is counted by each of them with its reason; under `block` there
    /// is room, because it was secured before the turn.
    #[inline]
    pub fn emit<I: Carries<F>, F: Frame>(&mut self, out: Out<I>, frame: &F) -> Emit {
        // An optional port that leads nowhere costs no stamp.
        if !self.outputs.is_connected(out.at) {
            return Emit::Unconnected;
        }
        let t_offer_ns = self.t_offer_ns();
        let port = &mut self.outputs.ports[out.at];
        let mut tried = Tried::default();
        for (at, hop) in port.hops.iter_mut().enumerate() {
            if hop.takes(F::SCHEMA) {
                tried.note(at, hop.emit(frame, &self.parent, t_offer_ns));
            }
        }
        if port.is_divided() {
            port.emit_to_one(frame, &self.parent, t_offer_ns, &mut tried);
        }
        if tried.overflowed != 0 {
            let overflowed = tried.overflowed;
            for hop in port
                .hops
                .iter_mut()
                .filter(|hop| hop.spills(overflowed, F::SCHEMA))
            {
                tried.note(0, hop.emit(frame, &self.parent, t_offer_ns));
            }
        }
        let Tried { sent, shed, .. } = tried;
        self.note(out.at, sent, shed)
    }

    #[inline]
    fn note(&mut self, port: usize, sent: bool, shed: Option<Shed>) -> Emit {
        // What no hop takes, as of a kind that no class carries, was offered to none.
        self.offered += u32::from(sent || shed.is_some());
        if sent {
            self.emitted += 1;
            self.counters.stage.emitted.add(1);
            return Emit::Sent;
        }
        match shed {
            None => Emit::Unconnected,
            Some(Shed::Closed) => {
                let cause = self.outputs.closed(port);
                cause.map_or(Emit::Shed(Shed::Closed), Emit::Closed)
            }
            Some(why) => Emit::Shed(why),
        }
    }

    /// Begins a message of `frames` fragments of which the first is of kind `kind`. Each hop of
    /// the port takes all of them or none, and counts one message. Where the port's messages are divided by key, it is the key of
    /// the first fragment that counts.
    ///
    /// The message becomes visible with [`Message::send`]; dropping it before takes it back.
    pub fn message<I>(&mut self, out: Out<I>, kind: u16, frames: usize) -> Message<'_, 'a, I> {
        let t_offer_ns = self.t_offer_ns();
        if let Some(port) = self.outputs.ports.get_mut(out.at) {
            let hops = &mut port.hops;
            let mut overflowed = 0_u32;
            for (at, hop) in hops.iter_mut().enumerate() {
                if hop.takes(kind) {
                    let refused = hop.begin(kind, frames, &self.parent, t_offer_ns);
                    overflowed |= u32::from(refused == Some(Shed::Overflowed)) << at;
                }
            }
            for hop in hops.iter_mut().filter(|hop| hop.spills(overflowed, kind)) {
                hop.begin(kind, frames, &self.parent, t_offer_ns);
            }
        }
        Message {
            cx: self,
            out,
            kind,
            frames,
            at: 0,
            t_offer_ns,
            ended: false,
        }
    }

    /// Writes a message of a head and what follows it: one frame if nothing does, else fragments.
    /// Each hop of the port takes all of it or none.
    #[inline]
    pub fn emit_with<I, H, P>(
        &mut self,
        out: Out<I>,
        head: &H,
        rest: impl ExactSizeIterator<Item = P>,
    ) -> Emit
    where
        I: Carries<H> + Carries<P>,
        H: Frame,
        P: Frame,
    {
        if rest.len() == 0 {
            return self.emit(out, head);
        }
        let mut message = self.message(out, H::SCHEMA, 1 + rest.len());
        message.push(head);
        for part in rest {
            message.push(&part);
        }
        message.send()
    }

    /// Asks for [`Stage::on_timer`](super::Stage::on_timer) at that time of the line's clock; a
    /// node has one timer, and the last call sets it.
    pub fn wake_at(&mut self, at_ns: u64) {
        *self.timer = Some(at_ns);
    }

    /// Says what became of one message that the stage had held.
    pub fn settle<W: Copy>(&mut self, outcome: super::Outcome<W>) {
        let held = self.counters.stage.held.get();
        self.counters.stage.held.set(held.saturating_sub(1));
        let (_, offered) = self.take_emitted();
        self.counters.dispose(outcome.disposal(), offered > 0);
    }
}

/// A message of several fragments in the making.
#[derive(Debug)]
#[must_use = "a message that is not sent is taken back"]
pub struct Message<'c, 'a, I> {
    cx: &'c mut Context<'a>,
    out: Out<I>,
    kind: u16,
    frames: usize,
    at: usize,
    t_offer_ns: u64,
    ended: bool,
}

impl<I> Message<'_, '_, I> {
    /// Writes the next fragment in place.
    #[inline]
    pub fn push<F: Frame>(&mut self, frame: &F)
    where
        I: Carries<F>,
    {
        if let Some(port) = self.cx.outputs.ports.get_mut(self.out.at) {
            if self.at == 0 && port.is_divided() {
                let key = F::KEYED.then(|| frame.key());
                let parent = &self.cx.parent;
                port.begin_on_one(self.kind, self.frames, key, parent, self.t_offer_ns);
            }
            for hop in &mut port.hops {
                hop.write(self.at, frame, &self.cx.parent, self.t_offer_ns);
            }
            if self.at == 0 {
                let parent = &self.cx.parent;
                port.pass_on_late(self.kind, self.frames, frame, parent, self.t_offer_ns);
            }
        }
        self.at += 1;
    }

    /// Makes the message visible on every hop that had room for all of it.
    pub fn send(mut self) -> Emit {
        self.end(self.at)
    }

    fn end(&mut self, written: usize) -> Emit {
        self.ended = true;
        if !self.cx.outputs.is_connected(self.out.at) {
            return Emit::Unconnected;
        }
        let (mut sent, mut shed) = (false, None);
        if let Some(port) = self.cx.outputs.ports.get_mut(self.out.at) {
            for hop in &mut port.hops {
                let open = hop.is_open() && written > 0;
                match hop.end(self.kind, written) {
                    Ok(()) => sent |= open,
                    Err(why) => shed = Some(why),
                }
            }
        }
        if written == 0 {
            return Emit::Unconnected;
        }
        self.cx.note(self.out.at, sent, shed)
    }
}

impl<I> Drop for Message<'_, '_, I> {
    fn drop(&mut self) {
        if !self.ended {
            self.end(0);
        }
    }
}

impl NodeCounters {
    /// Counts what became of one message. `emitted` says whether something was offered to a hop
    /// for it: what the hop then shed is in the hop's ledger, not in the stage's.
    #[inline]
    pub(crate) fn dispose(&self, disposal: Disposal, emitted: bool) {
        let stage = &self.stage;
        match disposal {
            Disposal::Held => stage.held.add(1),
            // A reason beyond the closed enum is no reason.
            Disposal::Rejected(why) => {
                let rejected = stage.rejected.get(usize::from(why));
                rejected.unwrap_or(&stage.undeclared).add(1);
            }
            _ if emitted => stage.forwarded.add(1),
            Disposal::Absorbed(why) => {
                let absorbed = stage.absorbed.get(usize::from(why));
                absorbed.unwrap_or(&stage.undeclared).add(1);
            }
            Disposal::Done => stage.undeclared.add(1),
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::Reason;
    use crate::budget::HopCounters;
    use crate::frame::KindInfo;
    use crate::overload::{Policy, WhenFull};
    use crate::ring::hop::{FrameConsumer, frames};
    use crate::stage::hop::HopTx;

    #[hopline::frame(schema = 7, version = 1, key = "of")]
    struct Latest {
        of: u64,
        value: u64,
    }

    #[test]
    fn a_message_of_which_only_its_key_tells_that_it_overflows_is_passed_on() {
        static KINDS: [KindInfo; 1] = [KindInfo::of::<Latest>()];
        let hop = |depth: usize, policy: Policy| {
            let (ring, rx) = frames(depth).unwrap();
            let counters = Arc::new(HopCounters::default());
            let tx = HopTx::new(
                "hop".into(),
                ring,
                policy,
                counters.clone(),
                &KINDS,
                Vec::new(),
            );
            (tx, rx, counters)
        };
        let (tx, _rx, counters) = hop(2, Policy::of(WhenFull::Conflate));
        let mut tx = tx.conflating(4);
        let parent = Parent::default();
        for value in 0..3 {
            tx.emit(&Latest { of: 1, value }, &parent, value).unwrap();
        }
        // One waits for room, so what has a key is not judged before that is known.
        assert_eq!(counters.tx.waiting.get(), 1);
        tx.set_policy(Policy::of(WhenFull::Overflow));
        let (spill, mut spilled, of_spill) = hop(8, Policy::of(WhenFull::DropNewest));
        let hops = vec![tx, spill.spilling(1)];
        let mut outputs = Outputs::new(vec![hops]);
        let (clock, _time) = Clock::virtual_at(1_000);
        let counters_of_node = NodeCounters::default();
        let mut timer = None;
        let mut cx = Context::new(&mut outputs, &clock, &counters_of_node, &mut timer, 1_000);
        let mut message = cx.message(Out::<Latest>::at(0), Latest::SCHEMA, 2);
        for value in 3..5 {
            message.push(&Latest { of: 2, value });
        }
        assert_eq!(message.send(), Emit::Sent);
        let overflowed = &counters.tx.shed[Shed::Overflowed.index()];
        let passed_on = (of_spill.tx.offered.get(), of_spill.tx.accepted.get());
        assert_eq!((overflowed.get(), passed_on), (1, (1, 1)));
        let mut marks = Vec::new();
        let next = |rx: &mut FrameConsumer| rx.peek().map(|frame| frame.envelope().flags);
        while let Some(flags) = next(&mut spilled) {
            marks.push(flags);
            spilled.advance();
        }
        assert_eq!(marks, [Flags::fragment(0, 2), Flags::fragment(1, 2)]);
    }
}
