//! Where the messages of the lines leave them: a sink that does what its plan says, and writes down what it saw.
//!
//! Invariant: what is drawn here depends on the plan's seed and on what came, never on the time of the machine.

use hopline::base::{Flags, Prng};
use hopline::frame::Input;
use hopline::io::{Driver, IoError, IoErrorKind, Sent, UdpId, UdpSpec};
use hopline::stage::{Delivery, Egress, Leaving};

use crate::account::{Said, Shared};
use crate::parts::{Alien, All, AllView, Mark, Token, hit, lock, panics};
use crate::plan::SinkPlan;

/// Where the sinks send that send: nobody is there.
const PEER: &str = "127.0.0.1:9";

/// Why a sink refuses a message.
const SINK_REASONS: [&str; 3] = ["unwanted", "refused", "lost"];
const UNWANTED: usize = 0;
const REFUSED: usize = 1;
const LOST: usize = 2;

/// A sink.
pub(crate) struct Outlet {
    me: usize,
    plan: SinkPlan,
    prng: Prng,
    shared: Shared,
    socket: Option<UdpId>,
    messages: u64,
    queued: usize,
    /// Messages sent since the last flush, and those that are to be lost.
    buffered: u64,
    lost: u64,
    pending: u64,
}

impl Outlet {
    pub(crate) fn new(me: usize, seed: u64, plan: &SinkPlan, shared: &Shared) -> Outlet {
        Outlet {
            me,
            plan: plan.clone(),
            prng: Prng::new(seed ^ Prng::new(me as u64).next_u64()),
            shared: shared.clone(),
            socket: None,
            messages: 0,
            queued: 0,
            buffered: 0,
            lost: 0,
            pending: 0,
        }
    }

    fn is_stuck(&self) -> bool {
        let after = self.plan.stuck_after;
        after.is_some_and(|after| self.messages >= after) && !lock(&self.shared).hurries
    }

    fn rejected(why: usize) -> (Said, Delivery) {
        (
            Said::Rejected(SINK_REASONS[why]),
            Delivery::Rejected(why as u8),
        )
    }

    /// What becomes of a message; none if it is not now.
    fn fate(&mut self, io: &mut Driver) -> Option<(Said, Delivery)> {
        if hit(&mut self.prng, self.plan.reject) {
            return Some(Outlet::rejected(UNWANTED));
        }
        if let Some(socket) = self.socket {
            match io.udp_send(socket, None, &self.messages.to_le_bytes()) {
                Ok(Sent::Yes) => lock(&self.shared).nodes[self.me].datagrams += 1,
                Ok(Sent::Refused) => return Some(Outlet::rejected(REFUSED)),
                Ok(Sent::WouldBlock) => return None,
                Err(error) => panic!("no such fault is planted: {error}"),
            }
        }
        Some((Said::Done, Delivery::Sent))
    }

    fn panics_here(&self, in_queue: bool) -> bool {
        let is_queue = self.plan.queue > 0 && self.plan.panic_in_queue;
        is_queue == in_queue && self.plan.panic_at.is_some_and(|at| self.messages >= at)
    }
}

impl Egress for Outlet {
    fn reasons(&self) -> &'static [&'static str] {
        &SINK_REASONS
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        if self.plan.sends {
            let peer = PEER.parse().expect("an address");
            self.socket = Some(io.udp_open(&UdpSpec::connected(peer))?);
        }
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, io: &mut Driver) -> Delivery {
        lock(&self.shared).called();
        let seen =
            match All::view(frame.envelope.kind, frame.payload).expect("a kind of these lines") {
                AllView::Token(view) => Token::seen(view),
                AllView::Mark(view) => Mark::seen(view),
                AllView::Alien(view) => Alien::seen(view),
            };
        assert_eq!(frame.envelope.flags, Flags::fragment(seen.part, seen.parts));
        let is_full = self.plan.queue > 0 && self.queued == self.plan.queue;
        if self.is_stuck() || (is_full && seen.is_last()) || hit(&mut self.prng, self.plan.not_now)
        {
            return Delivery::NotNow;
        }
        if self.panics_here(false) {
            let mut account = lock(&self.shared);
            let hop = account.took(self.me, seen);
            account.fails(self.me, Some((seen, hop)), false);
            drop(account);
            panics();
        }
        if !seen.is_last() {
            lock(&self.shared).took(self.me, seen);
            return Delivery::Part;
        }
        if self.plan.queue > 0 {
            let mut account = lock(&self.shared);
            let hop = account.took(self.me, seen);
            account.queued(self.me, hop);
            self.queued += 1;
            self.messages += 1;
            return Delivery::Queued;
        }
        let Some((said, delivery)) = self.fate(io) else {
            return Delivery::NotNow;
        };
        let mut account = lock(&self.shared);
        let hop = account.took(self.me, seen);
        account.left(self.me, hop, said);
        self.messages += 1;
        self.buffered += u64::from(said == Said::Done);
        delivery
    }

    fn queue_max(&self) -> usize {
        self.plan.queue
    }

    fn send_queued(&mut self, io: &mut Driver) -> Option<(Delivery, usize)> {
        if self.queued == 0 {
            return None;
        }
        if self.is_stuck() || hit(&mut self.prng, self.plan.not_now) {
            return Some((Delivery::NotNow, 0));
        }
        if self.panics_here(true) {
            lock(&self.shared).fails(self.me, None, false);
            panics();
        }
        let Some((said, delivery)) = self.fate(io) else {
            return Some((Delivery::NotNow, 0));
        };
        // One datagram is one message.
        let most = if self.socket.is_some() {
            1
        } else {
            self.queued as u64
        };
        let count = 1 + self.prng.below(most) as usize;
        self.queued -= count;
        self.buffered += if said == Said::Done { count as u64 } else { 0 };
        lock(&self.shared).sent_queued(self.me, said, count);
        Some((delivery, count))
    }

    fn flush(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        lock(&self.shared).called();
        self.pending = match self.pending {
            0 if hit(&mut self.prng, self.plan.pending) => 1 + self.prng.below(4),
            left => left.saturating_sub(1),
        };
        if self.buffered > 0 && hit(&mut self.prng, self.plan.lose) {
            self.lost = 1 + self.prng.below(self.buffered);
        }
        self.buffered = 0;
        if hit(&mut self.prng, self.plan.flush_fails) {
            lock(&self.shared).nodes[self.me].flush_failed = true;
            return Err(IoError::new(IoErrorKind::Other, "flush"));
        }
        Ok(())
    }

    fn pending(&self) -> bool {
        self.pending > 0
    }

    fn lost(&mut self) -> Option<(u8, u64)> {
        let lost = core::mem::take(&mut self.lost);
        if lost == 0 {
            return None;
        }
        lock(&self.shared).lost(self.me, SINK_REASONS[LOST], lost);
        Some((LOST as u8, lost))
    }
}
