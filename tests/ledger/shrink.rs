//! Makes a failing plan small: fewer messages, nodes, hops and habits, as long as it still fails.
//!
//! Invariant: every plan that is tried is a line that may be built, so that a failure is the same kind of failure.

use hopline::overload::Policy;
use hopline::stage::OnPanic;
use hopline::topology::Sharing;

use crate::plan::{DriverFaults, End, Habits, NodePlan, Plan, RingPlan, SinkPlan};

/// Most plans that are tried: a second or two.
const TRIES_MAX: usize = 2_000;

/// The smallest plan found that still fails.
pub(crate) fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut small = plan.clone();
    let mut tries = 0;
    loop {
        let mut shrunk = false;
        let mut at = 0;
        // What was tried at a place may be tried there again: the plan has changed under it.
        while let Some(smaller) = smaller(&small, at) {
            at += 1;
            let Some(mut smaller) = smaller else { continue };
            smaller.plug();
            tries += 1;
            if tries > TRIES_MAX {
                return small;
            }
            if !smaller.nodes.is_empty() && smaller.loose().is_none() && fails(&smaller) {
                small = smaller;
                shrunk = true;
            }
        }
        if !shrunk {
            return small;
        }
    }
}

/// The plan with its `at`-th simplification; nothing inside where that one changes nothing, nothing at all behind the last.
fn smaller(plan: &Plan, at: usize) -> Option<Option<Plan>> {
    let mut new = plan.clone();
    let (nodes, rings) = (plan.nodes.len(), plan.rings.len());
    // Each node: taken out, without habits, with half of its messages; each ring: taken out, with fewer consumers, plain.
    let done = if at < nodes {
        without_node(&mut new, at);
        true
    } else if at < nodes + rings {
        new.rings.remove(at - nodes);
        prune(&mut new);
        true
    } else if at < 2 * nodes + rings {
        tame(&mut new.nodes[at - nodes - rings])
    } else if at < 3 * nodes + rings {
        halve(&mut new.nodes[at - 2 * nodes - rings])
    } else if at < 3 * nodes + 2 * rings {
        narrow(&mut new.rings[at - 3 * nodes - rings])
    } else if at < 4 * nodes + 2 * rings {
        one_habit_less(&mut new.nodes[at - 3 * nodes - 2 * rings])
    } else if at < 4 * nodes + 3 * rings {
        plainer(&mut new.rings[at - 4 * nodes - 2 * rings])
    } else {
        match at - 4 * nodes - 3 * rings {
            0 => {
                new.faults = DriverFaults::default();
                true
            }
            1 if !plan.is_stuck() => {
                let before = core::mem::replace(&mut new.end, End::Finish);
                before != End::Finish
            }
            1 => false,
            2 => core::mem::take(&mut new.sharing) != Sharing::default(),
            _ => return None,
        }
    };
    Some(done.then_some(new))
}

/// Without a node; what led to a stage leads to the first that it led to.
fn without_node(plan: &mut Plan, node: usize) {
    let mut out = plan.rings.iter();
    let out = out.find(|ring| ring.from == node && ring.port == 0);
    let heir = out.and_then(|ring| ring.to.first().copied());
    for at in 0..plan.rings.len() {
        let ring = &plan.rings[at];
        if !ring.to.contains(&node) {
            continue;
        }
        let (from, port) = (ring.from, ring.port);
        let same = |other: &RingPlan| other.from == from && other.port == port;
        let mut others = plan.rings.iter().filter(|other| same(other));
        let heir = heir.filter(|heir| others.all(|other| !other.to.contains(heir)));
        let to = &mut plan.rings[at].to;
        to.retain(|to| *to != node);
        to.extend(heir);
        to.sort_unstable();
    }
    remove(plan, node);
    prune(plan);
}

/// Takes out all that nothing leads to, or that leads nowhere.
fn prune(plan: &mut Plan) {
    plan.rings.retain(|ring| !ring.to.is_empty());
    while let Some(node) = plan.loose() {
        remove(plan, node);
    }
}

/// Takes out a node and all that leads to it and from it.
fn remove(plan: &mut Plan, node: usize) {
    plan.nodes.remove(node);
    plan.rings.retain(|ring| ring.from != node);
    let moved = |at: usize| if at > node { at - 1 } else { at };
    for ring in &mut plan.rings {
        ring.to.retain(|to| *to != node);
        ring.after
            .retain(|(to, others)| *to != node && !others.contains(&node));
        ring.from = moved(ring.from);
        ring.to.iter_mut().for_each(|to| *to = moved(*to));
        for (to, others) in &mut ring.after {
            *to = moved(*to);
            others.iter_mut().for_each(|other| *other = moved(*other));
        }
        // Where that is gone, nothing leads there either.
        ring.overflow_to = ring
            .overflow_to
            .map(|to| if to == node { usize::MAX } else { moved(to) });
    }
    plan.rings.retain(|ring| !ring.to.is_empty());
}

/// A node that only passes on.
fn tame(node: &mut NodePlan) -> bool {
    match node {
        NodePlan::Sink(sink) => *sink = SinkPlan::default(),
        NodePlan::Source(source) => plain(&mut source.habits),
        NodePlan::Stage(stage) => {
            stage.work = 0;
            stage.on_panic = OnPanic::Stop;
            plain(&mut stage.habits);
        }
    }
    true
}

fn plain(habits: &mut Habits) {
    *habits = Habits {
        emit_max: habits.emit_max,
        ..Habits::default()
    };
}

fn halve(node: &mut NodePlan) -> bool {
    match node {
        NodePlan::Source(source) if source.messages > 0 => {
            source.messages -= source.messages.div_ceil(2).min(source.messages / 8 + 1);
            source.batch = 1;
            true
        }
        _ => false,
    }
}

/// A shared ring with one consumer less.
fn narrow(ring: &mut RingPlan) -> bool {
    if ring.to.len() < 2 {
        return false;
    }
    ring.after.clear();
    ring.to.pop();
    true
}

/// A ring without soft limits, and of one class.
fn plainer(ring: &mut RingPlan) -> bool {
    if ring.fan.is_some() {
        // Those of a list have one policy.
        return false;
    }
    let plain = Policy::of(ring.policy.when_full);
    let is_plain = ring.policy == plain && ring.rank == 0;
    ring.policy = plain;
    ring.rank = 0;
    if !plain.spills() {
        ring.overflow_to = None;
        ring.into_file = false;
    }
    !is_plain
}

/// The first habit that is left is given up.
fn one_habit_less(node: &mut NodePlan) -> bool {
    let Some(habits) = node.habits() else {
        return false;
    };
    let all = [
        &mut habits.several,
        &mut habits.on_extra,
        &mut habits.reject,
        &mut habits.absorb,
        &mut habits.both,
        &mut habits.hold,
        &mut habits.take_back,
        &mut habits.empty,
        &mut habits.eager,
        &mut habits.silent,
        &mut habits.alien,
        &mut habits.chatty,
    ];
    for habit in all {
        if core::mem::take(habit) > 0 {
            return true;
        }
    }
    habits.panic_at.take().is_some()
}
