//! The same line without threads: one loop on the caller's thread, on virtual time.
//!
//! Nothing waits: when a turn finds nothing to do, virtual time moves to the next thing that is
//! due. The same line with the same input gives the same report, every time.

use std::sync::{Arc, OnceLock};

use crate::base::primitive::{AtomicBool, Ordering};
use crate::clock::{Clock, VirtualTime};
use crate::control::{Command, Control};
use crate::host::{Host, MemoryReport};
use crate::io::Driver;
use crate::reactor::{LoopCounters, Reactor, Step};
use crate::stage::Role;
use crate::wait::Strategy;

use super::drain::{DrainReport, STALLED, left};
use super::line::Line;
use super::panics;
use super::plan::Plan;
use super::record::Recorders;
use super::report::{LineReport, LoopReport, Parts, Report, is_over};
use super::start::StartError;
use super::window::{RUN, Windows};
use super::wire::{NodeView, Wired, wire};

/// How far time moves while a node waits for room, in nanoseconds.
const HELD_BACK_STEP_NS: u64 = 100_000;

/// How a line runs inline.
#[derive(Debug)]
pub struct Inline {
    /// The driver: virtual for a closed world, faulty around it, or real for files.
    pub driver: Driver,
    /// A virtual clock and the hand that moves it.
    pub clock: (Clock, VirtualTime),
    /// Virtual time after which the sources stop, in nanoseconds.
    pub stop_after_ns: Option<u64>,
}

impl Inline {
    /// On virtual time that starts at one second, with that driver.
    #[must_use]
    pub fn new(driver: Driver) -> Inline {
        Inline {
            driver,
            clock: Clock::virtual_at(1_000_000_000),
            stop_after_ns: None,
        }
    }

    /// The same, with sources that stop after that much virtual time.
    #[must_use]
    pub fn stop_after_ns(mut self, span_ns: u64) -> Inline {
        self.stop_after_ns = Some(span_ns);
        self
    }
}

impl Line {
    /// Runs the line to its end on the caller's thread and on virtual time. `interrupted` is asked
    /// now and then and begins a drain.
    ///
    /// # Errors
    /// What could not be opened.
    pub fn run_inline(
        self,
        inline: Inline,
        interrupted: Option<&Arc<AtomicBool>>,
    ) -> Result<(Report, Driver), StartError> {
        let Inline {
            mut driver,
            clock: (clock, time),
            stop_after_ns,
        } = inline;
        // Virtual time does not depend on it, and reading it takes longer than a short run.
        static HOST: OnceLock<Host> = OnceLock::new();
        let host = HOST.get_or_init(Host::read);
        let plan = Plan::inline(&self);
        let mut recorders = Recorders::open(&self, &clock, &mut driver)?;
        let planned_bytes = plan.memory_bytes;
        let (name, objective, drain_ns) =
            (self.name.clone(), self.objective.clone(), self.drain_ns);
        let Wired {
            nodes,
            mut hop_views,
            splits,
            mut node_views,
            mut writer,
            spills,
            ..
        } = wire(self, &clock, |_, _| None, None)?;
        let control = Arc::new(Control::default());
        let counters = Arc::new(LoopCounters::default());
        // In the order that the plan has them in.
        let mut slots: Vec<_> = nodes.into_iter().map(Some).collect();
        let places = plan.threads[0].at.iter();
        let nodes = places.filter_map(|at| slots[*at].take()).collect();
        let mut reactor = Reactor::new(
            nodes,
            driver,
            clock.clone(),
            Strategy::Spin,
            None,
            control.clone(),
            counters.clone(),
        )
        .ordered(plan.threads[0].order.clone());
        reactor
            .open()
            .map_err(|(node, error)| StartError::open(node, error))?;
        // What would run beside the loops has its turn between those of the one.
        writer.open(reactor.driver())?;
        let began_ns = clock.now_ns();
        let stop_at_ns = stop_after_ns.map(|span| began_ns.saturating_add(span));
        control.run(began_ns);
        let mut cause = "finished";
        let mut drain_began_ns = None;
        let mut worked_ns = began_ns;
        loop {
            let step = reactor.step();
            writer.work(reactor.driver());
            if !recorders.is_empty() {
                recorders.pump(&clock, reactor.driver(), false);
            }
            let now_ns = clock.now_ns();
            if drain_began_ns.is_none() {
                if stop_at_ns.is_some_and(|at| now_ns >= at) {
                    cause = "duration";
                } else if interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                    cause = "signal";
                } else if node_views
                    .iter()
                    .any(|node| node.counters.state() == crate::stage::State::Failed)
                {
                    cause = "fault";
                }
                if cause != "finished" {
                    drain_began_ns = Some(now_ns);
                    control.tell(Command::Drain);
                }
            }
            match step {
                Step::Worked => worked_ns = now_ns,
                Step::Over => break,
                Step::Idle {
                    next_due_ns,
                    held_back,
                } => {
                    // A sink that takes nothing would keep a line without sources for ever.
                    let stuck = drain_began_ns.is_none()
                        && now_ns.saturating_sub(worked_ns) > drain_ns
                        && !node_views.iter().any(NodeView::is_away)
                        && sources(&node_views).all(is_over);
                    if stuck {
                        cause = STALLED;
                        drain_began_ns = Some(worked_ns);
                    }
                    if drain_began_ns.is_some_and(|at| now_ns.saturating_sub(at) > drain_ns) {
                        control.tell(Command::GiveUp);
                    }
                    // Who waits for room looks again soon, as a parked loop does.
                    let again_ns = held_back.then(|| now_ns + HELD_BACK_STEP_NS);
                    let stop_ns = stop_at_ns.filter(|_| drain_began_ns.is_none());
                    let due = [next_due_ns, stop_ns, again_ns];
                    advance(&mut reactor, &time, due, now_ns);
                }
            }
        }
        // The loop has ended: dropping it hands over the rest of what was recorded.
        let mut driver = reactor.into_driver();
        writer.close(&mut driver);
        while !recorders.are_done() {
            recorders.pump(&clock, &mut driver, true);
        }
        let ended_ns = clock.now_ns();
        let mut windows = Windows::new(hop_views.len(), began_ns);
        for (at, hop) in hop_views.iter_mut().enumerate() {
            hop.spans.observe();
            windows.show(at, hop.look(ended_ns));
        }
        for spans in node_views.iter_mut().flat_map(NodeView::spans_mut) {
            spans.observe();
        }
        let mut quarantine = Vec::new();
        panics::collect(&mut quarantine, &mut node_views, &hop_views, began_ns);
        if cause == "finished"
            && node_views
                .iter()
                .any(|node| node.counters.fault().is_some())
        {
            cause = "fault";
        }
        let drain = DrainReport {
            cause,
            complete: control.command() < Command::GiveUp,
            elapsed_ns: drain_began_ns.map_or(0, |at| ended_ns - at),
            deadline_ns: drain_ns,
            left: left(&hop_views, &node_views, |_| None),
            stuck: Vec::new(),
            stalled_in: Vec::new(),
        };
        let report = Parts {
            line: LineReport {
                name,
                mode: "inline",
                clock: clock.kind().name(),
                elapsed_ns: ended_ns - began_ns,
                window_ns: 0,
                planned_bytes,
                resident_bytes: None,
                memory: MemoryReport::default(),
            },
            host,
            placement: plan
                .threads
                .into_iter()
                .map(|planned| LoopReport::new(planned, None, &counters, began_ns))
                .collect(),
            hops: &hop_views,
            nodes: &node_views,
            splits: &splits,
            spills: &spills,
            writer_is_left: false,
            objective: objective.as_ref(),
            quarantine: &quarantine,
            drain: Some(drain),
            at_rest: true,
            hung: &[],
            windows: &mut windows,
            window: RUN,
            records: recorders.reports(),
            now_ns: ended_ns,
        }
        .report();
        Ok((report, driver))
    }
}

fn sources(nodes: &[NodeView]) -> impl Iterator<Item = &NodeView> {
    nodes.iter().filter(|node| node.role == Role::Source)
}

/// Moves virtual time to the next thing that is due, one of these or the driver's.
fn advance(reactor: &mut Reactor, time: &VirtualTime, due: [Option<u64>; 3], now_ns: u64) {
    /// Where nothing is known to be due, time moves in steps of this.
    const STEP_NS: u64 = 1_000_000;
    // What became due within the turn, after its node had looked, is next: time barely moves.
    let due_ns = due.into_iter().flatten().min();
    let timeout_ns = due_ns.map_or(STEP_NS, |due| due.saturating_sub(now_ns).max(1));
    let polled = reactor.driver().poll(now_ns, Some(timeout_ns));
    let to_ns = match polled {
        // What became due since its node had looked is there already: no time is to pass over it.
        Ok(polled) if polled.ready && polled.advance_to_ns.is_none() => now_ns + 1,
        Ok(polled) => polled.advance_to_ns.unwrap_or(now_ns + timeout_ns),
        Err(_) => now_ns + timeout_ns,
    };
    time.advance_to(to_ns.min(now_ns + timeout_ns));
}
