//! How a run ended: in time, or given up, and then what was left and who held it.
//!
//! Invariant: what a drain that was given up lost is listed once, on its hop or in its stage.

use serde::Serialize;

use crate::base::units::Span;
use crate::base::{Discard, Reason};

use super::report::is_over;
use super::wire::{HopView, NodeView};

/// The cause of an end that nobody asked for: nothing went on.
pub(super) const STALLED: &str = "stalled";

/// How a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DrainReport {
    /// Why: `finished`, `duration`, `signal`, `fault`, `stalled`.
    pub cause: &'static str,
    /// Whether everything was finished before the deadline.
    pub complete: bool,
    /// How long it took, in nanoseconds.
    pub elapsed_ns: u64,
    /// How long it could take, in nanoseconds.
    pub deadline_ns: u64,
    /// What was still queued at the deadline, and who held it.
    pub left: Vec<Left>,
    /// Nodes that did not return from their handler.
    pub stuck: Vec<String>,
    /// Nodes whose handler had not returned for five seconds when the run was ended for it; they may have returned since.
    pub stalled_in: Vec<String>,
}

/// What a drain found on a hop, or held by a stage, at its deadline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The hop; or the stage, of what it held itself.
    pub hop: String,
    /// Messages on it, or that it held.
    pub messages: u64,
    /// Who held them up: the node furthest down that had input itself.
    pub held_by: String,
}

impl DrainReport {
    /// What a run that stalled has to say of it, a line for each fault.
    pub(super) fn faults(&self) -> impl Iterator<Item = String> {
        let returned = self.stalled_in.iter();
        let returned = returned.filter(|node| !self.stuck.contains(node));
        returned.map(|node| {
            format!("{node}: it returned from its handler only after the run was ended for it")
        })
    }

    /// What a drain that gave up has to say, in words.
    pub(super) fn words(&self) -> String {
        let left: u64 = self.left.iter().map(|left| left.messages).sum();
        let holder = match (self.stuck.first(), self.left.first()) {
            (Some(stuck), _) => format!(": {stuck} did not return"),
            (None, Some(left)) => format!(": {} held it up", left.held_by),
            (None, None) => String::new(),
        };
        format!(
            "the drain was given up after {} with {left} messages queued or held{holder}",
            Span(self.deadline_ns)
        )
    }
}

/// What a drain that was given up found: discarded by then, or still on a ring that nobody emptied.
/// Holder is the node furthest down that had input and passed nothing on, or the one that `stuck_with`
/// says its loop hangs in.
pub(crate) fn left(
    hops: &[HopView],
    nodes: &[NodeView],
    stuck_with: impl Fn(&str) -> Option<String>,
) -> Vec<Left> {
    let on = |hop: &HopView| {
        let arrivals = hop.arrivals();
        arrivals.in_flight + arrivals.discarded[Discard::DrainDeadline.index()]
    };
    let furthest = |mut at: usize| {
        // A line is a DAG, so this comes to an end.
        while let Some(next) = nodes[at].outputs.iter().find(|out| on(&hops[**out]) > 0) {
            at = hops[*next].to;
        }
        let name = &nodes[at].name;
        stuck_with(name).unwrap_or_else(|| name.clone())
    };
    let holder = |first: &HopView| {
        // One that has come as far as a consumer that it follows waits for that one.
        let mut at = first.to;
        let mut after = &first.after;
        while let Some(next) = after.iter().find(|next| on(&hops[**next]) >= on(first)) {
            (at, after) = (hops[*next].to, &hops[*next].after);
        }
        furthest(at)
    };
    // What waits for room at the end of a producer that hangs; another one has told already what became of it.
    let waits = |at: usize| {
        let from = nodes.iter().find(|node| node.outputs.contains(&at))?;
        let hangs_in = stuck_with(&from.name)?;
        Some((hops[at].offers.tx.waiting.get(), hangs_in)).filter(|(waiting, _)| *waiting > 0)
    };
    let queued = hops.iter().enumerate().filter_map(|(at, hop)| {
        let (waiting, hangs_in) = waits(at).unzip();
        let messages = on(hop) + waiting.unwrap_or(0);
        (messages > 0).then(|| Left {
            hop: hop.name.clone(),
            messages,
            held_by: match hangs_in.filter(|_| on(hop) == 0) {
                Some(hangs_in) => hangs_in,
                None => holder(hop),
            },
        })
    });
    let held = |node: &NodeView| {
        let stage = &node.counters.stage;
        // One that has ended in good order and still holds something has not said what became of it: that is a breach.
        let held = stage.held.get() * u64::from(!is_over(node));
        stage.ended.get() + held
    };
    let nodes = nodes.iter().enumerate();
    let kept = nodes.map(|(at, node)| (at, node, held(node)));
    let kept = kept.filter(|(_, _, messages)| *messages > 0);
    let kept = kept.map(|(at, node, messages)| Left {
        hop: node.name.clone(),
        messages,
        held_by: furthest(at),
    });
    queued.chain(kept).collect()
}
