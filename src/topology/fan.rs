//! Hops with several consumers: one ring, and who of them waits for whom.
//!
//! Invariant: a ring's consumers differ in nothing but their node and those that they follow.

use crate::base::limits::READERS_MAX;

use super::check::LineHop;
use super::draft::DraftHop;
use super::problem::{Problem, all, closest};

/// What is wrong with the orders of these hops, and with how many share a ring.
pub(super) fn wrong(hops: &[DraftHop]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, hop) in hops.iter().enumerate() {
        // A ring's hops have the same orders: they are looked at with its first one.
        let is_first = |ring| hops[..at].iter().all(|other| other.ring != Some(ring));
        let consumers: Vec<&str> = match hop.ring {
            Some(ring) if is_first(ring) => {
                let same = hops.iter().filter(|other| other.ring == Some(ring));
                same.map(|other| other.to.as_str()).collect()
            }
            Some(_) => continue,
            None => vec![&hop.to],
        };
        let place = hop.places.to.as_ref().or(hop.places.hop.as_ref());
        if consumers.len() > READERS_MAX {
            let what = format!("a hop from {} to {} nodes", hop.from, consumers.len());
            let help = format!("at most {READERS_MAX} share a ring: make it two hops");
            problems.push(Problem::new(what, help).at(place));
        }
        let place = hop.places.after.as_ref().or(place);
        let mut wrong = |what: String, help: String| {
            let problem = Problem::new(what, help).at(place);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        for (consumer, others) in &hop.hop.after {
            for name in core::iter::once(consumer).chain(others) {
                if consumers.contains(&name.as_str()) {
                    continue;
                }
                let what = format!("\"after\" names \"{name}\", which this hop does not lead to");
                let names = || consumers.iter().copied();
                let help = match closest(name, names()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => all("consumers", names()),
                };
                wrong(what, help);
            }
            if others.contains(consumer) {
                let what = format!("\"{consumer}\" is to wait for itself");
                wrong(what, "name those that it comes after".to_owned());
            }
            if others.is_empty() {
                let what = format!("\"{consumer}\" is to wait for nobody");
                wrong(
                    what,
                    "name those that it comes after, or remove it".to_owned(),
                );
            }
            let mut rest = others.as_slice();
            while let [name, behind @ ..] = rest {
                if behind.contains(name) {
                    let what = format!("\"{consumer}\" is to wait for \"{name}\" twice");
                    wrong(what, "name each of them once".to_owned());
                }
                rest = behind;
            }
        }
    }
    problems
}

/// The hops of each ring, by their places: in the order of the nodes, so that nobody comes before one
/// that it follows.
pub(crate) fn rings(hops: &[LineHop]) -> Vec<Vec<usize>> {
    let mut rings: Vec<Vec<usize>> = Vec::new();
    for (at, hop) in hops.iter().enumerate() {
        let same = |first: &usize| hop.ring.is_some() && hops[*first].ring == hop.ring;
        match rings.iter_mut().find(|ring| ring.first().is_some_and(same)) {
            Some(ring) => ring.push(at),
            None => rings.push(vec![at]),
        }
    }
    for ring in &mut rings {
        ring.sort_by_key(|at| hops[*at].to);
    }
    rings
}
