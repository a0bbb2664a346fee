//! The ways of messages that entered together, from their passages.
//!
//! Invariant: all passages belong to a way, or there is none.

use crate::base::limits::SAMPLE_STOPS_MAX;
use crate::budget::evidence::Passage;
use crate::budget::ways::{Before, Log, Shape};

use super::{Stop, Way};

/// The slowest of the messages with these passages, all due at `due_ns`: of those that left, if one did. None if they cannot be
/// told apart.
pub(super) fn slowest(
    shape: &Shape,
    due_ns: u64,
    mut passages: Vec<(usize, Passage)>,
) -> Option<Way> {
    // Those of a hop come in the order in which they were done with.
    passages.sort_by_key(|(hop, _)| *hop);
    let all: Vec<Passage> = passages.iter().map(|(_, passage)| *passage).collect();
    let first_of = |hop: usize| passages.partition_point(|(at, _)| *at < hop);
    let logs: Vec<Log<'_>> = (0..shape.hops())
        .map(|hop| Log {
            passages: &all[first_of(hop)..first_of(hop + 1)],
            is_cut: false,
        })
        .collect();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(all.len());
    for (hop, passage) in &passages {
        before.push(match shape.find(&logs, *hop, passage) {
            Before::Passage { hop, place } => Some(first_of(hop) + place),
            Before::Nothing => held(shape, &passages, *hop, passage)?,
            Before::Unknown => return None,
        });
    }
    // A line has no circles, and what comes before a passage lies on a hop before its own.
    let root = |mut at: usize| {
        for _ in 0..all.len() {
            match before[at] {
                Some(earlier) => at = earlier,
                None => break,
            }
        }
        at
    };
    let roots: Vec<usize> = (0..all.len()).map(root).collect();
    let ended = |of: usize| {
        let its = || all.iter().zip(&roots).filter(|(_, root)| **root == of);
        let left = its().filter(|(one, _)| one.has_left());
        let left_ns = left.map(|(one, _)| one.done_ns()).max();
        let done_ns = its().map(|(one, _)| one.done_ns()).max().unwrap_or(0);
        (left_ns.is_some(), left_ns.unwrap_or(done_ns))
    };
    let first = |at: &usize| before[*at].is_none();
    let together: Vec<usize> = (0..all.len()).filter(first).collect();
    let of = *together.iter().max_by_key(|of| ended(**of))?;
    let (has_left, ended_ns) = ended(of);
    let stops = stops(due_ns, of, &passages, &before, &roots);
    (stops.len() <= SAMPLE_STOPS_MAX).then(|| Way {
        due_ns,
        total_ns: ended_ns.saturating_sub(due_ns),
        has_left,
        together: together.len(),
        stops,
        ..Way::default()
    })
}

/// What lies before a passage that was offered in no handler of its message: nothing for a source's, the one that came to its
/// stage, which held it, or nothing if none did; none at all if there are several.
#[expect(
    clippy::option_option,
    reason = "the outer one says that it cannot be told"
)]
fn held(
    shape: &Shape,
    passages: &[(usize, Passage)],
    hop: usize,
    passage: &Passage,
) -> Option<Option<usize>> {
    let into = shape.before(hop);
    let came =
        |(at, one): &(usize, Passage)| into.contains(at) && one.done_ns() <= passage.t_offer_ns;
    let mut came = (0..passages.len()).filter(|at| came(&passages[*at]));
    let before = came.next();
    came.next().is_none().then_some(before)
}

/// The stops of the tree with that root, in the order in which they were offered, each behind the one that it came from.
fn stops(
    due_ns: u64,
    root: usize,
    passages: &[(usize, Passage)],
    before: &[Option<usize>],
    roots: &[usize],
) -> Vec<Stop> {
    let depth = |mut at: usize| {
        let mut depth = 0;
        while let Some(earlier) = before[at].filter(|_| depth < passages.len()) {
            (at, depth) = (earlier, depth + 1);
        }
        depth
    };
    let mut order: Vec<usize> = (0..passages.len())
        .filter(|at| roots[*at] == root)
        .collect();
    // A copy may be offered at the very stamp at which what it is a copy of was.
    order.sort_by_key(|at| (passages[*at].1.t_offer_ns, depth(*at), *at));
    let place = |of: usize| order.iter().position(|at| *at == of);
    let stop = |at: &usize| {
        let (hop, passage) = &passages[*at];
        Stop {
            hop: *hop,
            after: before[*at].and_then(place),
            at_ns: passage.t_offer_ns.saturating_sub(due_ns),
            wait_ns: u64::from(passage.wait_ns),
            service_ns: u64::from(passage.service_ns),
            gap_ns: None,
        }
    };
    order.iter().map(stop).collect()
}
