//! A node alone, for the tests of this room: between hops that they hold themselves, turned by hand in virtual time.
//!
//! Invariant: nothing happens between two turns.

use std::sync::Arc;

use crate::budget::{HopCounters, Regimes};
use crate::clock::Clock;
use crate::hist;
use crate::io::{Driver, Virtual};
use crate::overload::WhenFull;
use crate::ring::hop::{FrameConsumer, frames};
use crate::stage::context::Outputs;
use crate::stage::hop::{HopRx, HopTx};
use crate::stage::log::LoopLog;
use crate::stage::{Node, NodeCounters, Progress, Turn, Wiring};

/// The writing end of a hop, the ring that it fills, and what is counted there.
pub(super) fn out(
    name: &str,
    depth: usize,
    when_full: WhenFull,
) -> (HopTx, FrameConsumer, Arc<HopCounters>) {
    let (producer, consumer) = frames(depth).unwrap();
    let counters = Arc::new(HopCounters::default());
    let (name, bells) = (Arc::from(name), Vec::new());
    let tx = HopTx::new(name, producer, when_full, counters.clone(), &[], bells);
    (tx, consumer, counters)
}

/// Both ends of a hop of eight frames that refuses what has no room.
pub(super) fn hop(name: &str) -> (HopTx, HopRx) {
    let (tx, consumer, counters) = out(name, 8, WhenFull::Reject);
    let (recorder, _observer) = hist::pair([&[][..], &[], &[]]).unwrap();
    let rx = HopRx::new(Arc::from(name), consumer, counters, recorder, Vec::new());
    (tx, rx)
}

/// What a node is given that stands alone: no hop, no policy for panics.
pub(super) fn wiring(name: &str, counters: &Arc<NodeCounters>, clock: &Clock) -> Wiring {
    Wiring {
        name: name.into(),
        inputs: Vec::new(),
        outputs: Outputs::default(),
        counters: counters.clone(),
        clock: clock.clone(),
        bell: None,
        end_to_end: None,
        wire: None,
        source: 0,
        batch: 32,
        life: None,
    }
}

/// A node that is open, with what its turns take.
pub(super) struct Alone {
    pub(super) node: Box<dyn Node>,
    io: Driver,
    clock: Clock,
    regimes: Regimes,
    log: LoopLog,
}

impl Alone {
    pub(super) fn open(mut node: Box<dyn Node>, clock: Clock) -> Alone {
        let mut io = Driver::from(Virtual::new());
        node.open(&mut io).unwrap();
        Alone {
            node,
            io,
            clock,
            regimes: Regimes::default(),
            log: LoopLog::off(),
        }
    }

    pub(super) fn turn(&mut self) -> Progress {
        self.node.turn(&mut Turn {
            io: &mut self.io,
            mark_ns: self.clock.now_ns(),
            idle: &self.regimes,
            rest_ns: 0,
            clock: &self.clock,
            log: &mut self.log,
        })
    }
}
