//! Which loops a span of a hop depends on: those that see what the host does to it, and whose own doing may be in it.
//!
//! ```text
//!   in ─→ a ─→ b ─→ out        a->b: whoever feeds a or b, both, and whoever can hold them back
//!          └ drop_newest ─→ log     log is no part of it: it holds nobody up
//! ```
//!
//! A gap upstream makes a burst, one downstream of a hop that blocks holds back, and of consumers of one ring each waits for the
//! others. What only takes what it can get touches nobody.
//!
//! Invariant: a loop that is left out can neither delay nor hurry a message on that hop.

use std::collections::BTreeSet;

use hopline::budget::{Evidence, Of};
use hopline::overload::WhenFull;
use hopline::topology::Report;

use hopline::budget::report::ends;

/// A hop as far as it passes delay on.
struct Link<'a> {
    from: &'a str,
    to: &'a str,
    /// The name of its ring's first hop.
    ring: &'a str,
    blocks: bool,
}

/// What depends on what in a line.
pub(super) struct Paths<'a> {
    links: Vec<Link<'a>>,
    /// The name of each loop, and its nodes.
    loops: Vec<(&'a str, &'a [String])>,
}

impl<'a> Paths<'a> {
    pub(super) fn new(report: &'a Report, evidence: &'a Evidence) -> Paths<'a> {
        let links = report.hops.iter().map(|hop| {
            let (from, to) = ends(&hop.name);
            Link {
                from,
                to,
                ring: hop.shares.as_deref().unwrap_or(&hop.name),
                blocks: hop.when_full == WhenFull::Block.name(),
            }
        });
        let loops = evidence.loops.iter().zip(&report.placement);
        Paths {
            links: links.collect(),
            loops: loops
                .map(|(noted, placed)| (&*placed.planned.name, &*noted.nodes))
                .collect(),
        }
    }

    /// The names of all loops of the line.
    pub(super) fn all(&self) -> Vec<String> {
        self.loops
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect()
    }

    /// The names of the loops that such a span of the hop at that place depends on. A handler only waits for what it emits
    /// into.
    pub(super) fn of(&self, hop: usize, of: Of) -> Vec<String> {
        let Some(Link { from, to, .. }) = self.links.get(hop) else {
            return self.all();
        };
        let nodes = match of {
            Of::Service => self.reached(&[to], false),
            Of::Wait | Of::Sojourn => self.reached(&[from, to], true),
        };
        let on_it = self.loops.iter().filter(|(_, of_loop)| {
            let mut of_loop = of_loop.iter();
            of_loop.any(|node| nodes.contains(node.as_str()))
        });
        on_it.map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Those nodes, all that can hold them back, and, if asked for, all that feeds any of them.
    fn reached(&self, first: &[&'a str], is_fed: bool) -> BTreeSet<&'a str> {
        let mut nodes: BTreeSet<&str> = first.iter().copied().collect();
        loop {
            let before = nodes.len();
            for link in &self.links {
                if link.blocks && nodes.contains(link.from) {
                    nodes.insert(link.to);
                }
                if is_fed && nodes.contains(link.to) {
                    nodes.insert(link.from);
                    let same = self.links.iter().filter(|other| other.ring == link.ring);
                    nodes.extend(same.map(|other| other.to));
                }
            }
            if nodes.len() == before {
                return nodes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hopline::budget::LoopEvidence;

    use super::*;
    use crate::view::summary::tests::a_run;

    /// The loops, each named by its nodes, that a span depends on in a line of those hops (name, ring, whether it blocks).
    fn paths(hops: &[(&str, &str, bool)], loops: &[&str], hop: usize) -> [Vec<String>; 2] {
        let mut report = a_run().report;
        let (like, placed) = (report.hops[0].clone(), report.placement[0].clone());
        report.hops.clear();
        for (name, ring, blocks) in hops {
            let mut one = like.clone();
            one.name = (*name).to_owned();
            one.shares = (ring != name).then(|| (*ring).to_owned());
            let policy = if *blocks {
                WhenFull::Block
            } else {
                WhenFull::DropNewest
            };
            one.when_full = policy.name();
            report.hops.push(one);
        }
        report.placement = vec![placed; loops.len()];
        let mut evidence = Evidence::default();
        for (placed, nodes) in report.placement.iter_mut().zip(loops) {
            placed.planned.name = (*nodes).to_owned();
            evidence.loops.push(LoopEvidence {
                nodes: nodes.split(' ').map(str::to_owned).collect(),
                ..LoopEvidence::default()
            });
        }
        let paths = Paths::new(&report, &evidence);
        assert_eq!(paths.all(), loops);
        assert_eq!(paths.of(hop, Of::Wait), paths.of(hop, Of::Sojourn));
        [Of::Service, Of::Sojourn].map(|of| paths.of(hop, of))
    }

    #[test]
    fn who_takes_what_it_can_get_is_on_no_other_hops_path() {
        let hops = [
            ("in->a", "in->a", true),
            ("a->out", "a->out", true),
            ("a.copy->log", "a.copy->log", false),
        ];
        let loops = ["in", "a", "out", "log"];
        let [service, sojourn] = paths(&hops, &loops, 0);
        assert_eq!(service, ["a", "out"]);
        assert_eq!(sojourn, ["in", "a", "out"]);
        assert_eq!(paths(&hops, &loops, 1)[0], ["out"]);
        // The log itself has those that feed it before it, and all that can hold those back.
        assert_eq!(paths(&hops, &loops, 2), [vec!["log"], loops.to_vec()]);
        // Where its hop blocks, it may hold up all.
        let mut blocks = hops;
        blocks[2].2 = true;
        assert_eq!(paths(&blocks, &loops, 1), [vec!["out"], loops.to_vec()]);
        assert_eq!(paths(&hops, &["in log", "a out"], 0)[1].len(), 2);
    }

    #[test]
    fn consumers_of_one_ring_are_on_each_others_path() {
        let hops = [("in->a", "in->a", false), ("in->b", "in->a", false)];
        let [service, sojourn] = paths(&hops, &["in", "a", "b"], 0);
        assert_eq!(service, ["a"]);
        assert_eq!(sojourn, ["in", "a", "b"]);
    }
}
