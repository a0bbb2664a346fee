//! Hops with several consumers: one ring, and who of them waits for whom, or a ring for each.
//!
//! Invariant: a ring's consumers differ in nothing but their node and those that they follow.

use crate::base::limits::READERS_MAX;
use crate::overload::{Slow, Split, WhenFull};

use super::draft::{DraftHop, HopPlaces};
use super::hop::Hop;
use super::line::LineHop;
use super::problem::{Problem, all, closest};

impl LineHop {
    /// Whether its consumer is one of several for which nobody waits.
    pub(crate) fn is_tap(&self) -> bool {
        let mut slow = self.hop.slow.iter();
        self.together.is_some()
            && self.hop.split.is_none()
            && slow.any(|(name, slow)| *name == self.to_name && *slow == Slow::Tap)
    }
}

/// The hops from one node to several, of which the first one gets the place `first` in the line: those that share a ring, and
/// those that have one of their own.
pub(crate) fn spread(
    from: &str,
    to: &[String],
    hop: &Hop,
    places: &HopPlaces,
    first: usize,
) -> Vec<DraftHop> {
    let slow_of = |to: &String| {
        let given = hop.slow.iter().find(|(name, _)| name == to);
        given.map_or(Slow::Hold, |(_, slow)| *slow)
    };
    let shares = |to: &&String| hop.split.is_none() && slow_of(to) == Slow::Hold;
    // No two lists begin at the same hop, so its place is their number.
    let together = (to.len() > 1).then_some(first);
    let ring = together.filter(|_| to.iter().filter(shares).count() > 1);
    let times_out = to.iter().any(|to| slow_of(to) == Slow::Disconnect);
    let all_tapped = to.iter().all(|to| slow_of(to) == Slow::Tap);
    let one = |to: &String| {
        let mut hop = hop.clone();
        let policy = &mut hop.policy;
        match slow_of(to) {
            // Those that are cut off have it.
            Slow::Hold if times_out => policy.block_timeout_ns = 0,
            Slow::Hold => {}
            Slow::Tap => {
                // What is said for those that hold the producer back is not meant for it.
                policy.when_full = WhenFull::DropNewest;
                // Those that hold the producer back have these; where there are none, they are told to be without effect.
                if !all_tapped {
                    policy.block_timeout_ns = 0;
                    (policy.high, policy.low) = (0, 0);
                }
            }
            Slow::Disconnect => hop.disconnects = true,
        }
        DraftHop {
            from: from.to_owned(),
            to: to.clone(),
            hop,
            ring: ring.filter(|_| shares(&to)),
            together,
            places: places.clone(),
        }
    };
    to.iter().map(one).collect()
}

/// What is wrong with how messages are divided among several consumers, and with what is said of slow ones.
pub(super) fn wrong_spread(hops: &[DraftHop]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, hop) in hops.iter().enumerate() {
        let is_first = hops[..at]
            .iter()
            .all(|other| other.together.is_none() || other.together != hop.together);
        if !is_first {
            continue;
        }
        let same = |other: &&DraftHop| hop.together.is_some() && other.together == hop.together;
        let consumers: Vec<&str> = match hop.together {
            None => vec![&hop.to],
            Some(_) => hops
                .iter()
                .filter(same)
                .map(|one| one.to.as_str())
                .collect(),
        };
        let place = hop.places.hop.as_ref();
        let mut wrong = |what: String, help: &str| {
            let problem = Problem::new(what, help).at(place);
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        };
        let given = &hop.hop;
        let several = consumers.len() > 1;
        if let Some(split) = given.split {
            if !several {
                let what = format!("\"split\" is \"{split}\", and there is one consumer");
                wrong(what, "write to = [\"a\", \"b\"], or remove split");
            }
            if !given.after.is_empty() {
                let what = "\"after\" has no meaning where each message goes to one consumer";
                wrong(what.to_owned(), "remove after, or split");
            }
            if !given.slow.is_empty() {
                let what = "\"slow\" has no meaning where each message goes to one consumer";
                let help = "remove slow: each has a ring of its own, and when_full says what happens on it";
                wrong(what.to_owned(), help);
            }
            if split == Split::AnyOf && given.policy.conflates() {
                let what =
                    "\"conflate\" keeps the latest of each key, and \"any\" sends a key anywhere";
                wrong(
                    what.to_owned(),
                    "write split = \"key\", or another when_full",
                );
            }
        }
        if given.isolate && given.split != Some(Split::ByKey) {
            let what = "\"isolate\" moves hot keys, and these messages are not divided by key";
            wrong(what.to_owned(), "write split = \"key\", or remove isolate");
        }
        if given.isolate
            && let Some(other) = hops[..at].iter().find(|other| {
                let leads_there = consumers.contains(&other.to.as_str());
                other.hop.isolate && other.from != hop.from && leads_there
            })
        {
            // Each producer knows its own hot keys.
            let what = format!(
                "\"{}\" and \"{}\" both isolate hot keys among the same consumers, and a key that is hot at one of them alone \
                 would be with two consumers at a time",
                other.from, hop.from
            );
            let help = "lead both to one stage and divide what leaves it, or remove isolate";
            wrong(what, help);
        }
        if given.split.is_some() {
            continue;
        }
        for (nth, (name, slow)) in given.slow.iter().enumerate() {
            let names = || consumers.iter().copied();
            if !consumers.contains(&name.as_str()) {
                let what = format!("\"slow\" names \"{name}\", which this hop does not lead to");
                let help = match closest(name, names()) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => all("consumers", names()),
                };
                wrong(what, &help);
            } else if given.slow[..nth].iter().any(|(other, _)| other == name) {
                let what = format!("\"slow\" names \"{name}\" twice");
                wrong(what, "name each of them once");
            } else if !several {
                let what = format!("\"slow\" names \"{name}\", the only consumer of this hop");
                wrong(what, "remove it: when_full says what happens there");
            }
            let own = |(consumer, others): &(String, Vec<String>)| {
                *slow != Slow::Hold && (consumer == name || others.contains(name))
            };
            if given.after.iter().any(own) {
                let what = format!(
                    "\"after\" names \"{name}\", which has a ring of its own: it is {slow}"
                );
                wrong(
                    what,
                    "only those that share the ring can wait for each other",
                );
            }
        }
        let cuts = given.slow.iter().any(|(_, slow)| *slow == Slow::Disconnect);
        let policy = hops.iter().filter(same).map(|one| &one.hop);
        let times_out = policy
            .filter(|one| one.disconnects)
            .all(|one| one.policy.block_timeout_ns > 0 && one.policy.when_full == WhenFull::Block);
        if cuts && several && !times_out {
            let what = "\"disconnect\" needs a time for which a consumer may hold the others back";
            wrong(
                what.to_owned(),
                "write when_full = \"block\" and block_timeout = \"10ms\"",
            );
        }
        let then = given.policy.then;
        if cuts
            && several
            && times_out
            && !matches!(
                then,
                WhenFull::DropNewest | WhenFull::Block | WhenFull::DropOldest
            )
        {
            let what = format!(
                "\"then\" is \"{then}\", and who held the others back for block_timeout is disconnected"
            );
            wrong(what, "remove then, or write slow = \"tap\" for it");
        }
    }
    problems
}

/// What is wrong with messages that are divided by a key which none of them has.
pub(super) fn wrong_keys(hops: &[LineHop], places: &[HopPlaces]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, hop) in hops.iter().enumerate() {
        let carried = || hop.only.as_deref().unwrap_or(hop.kinds).iter();
        let is_told = hops[..at]
            .iter()
            .any(|other| other.together.is_some() && other.together == hop.together);
        if hop.hop.split == Some(Split::ByKey) && !is_told && !carried().any(|kind| kind.keyed) {
            let what = format!(
                "{} and those beside it are divided by key, and none of their kinds has one",
                hop.name
            );
            let help = "write split = \"any\", or give the frame a key: #[hopline::frame(…, key = \"field\")]";
            let place = places.get(at).and_then(|one| one.hop.as_ref());
            problems.push(Problem::new(what, help).at(place));
        }
    }
    problems
}

/// What is wrong with the orders of these hops, and with how many share a ring.
pub(super) fn wrong(hops: &[DraftHop]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (at, hop) in hops.iter().enumerate() {
        // The hops of a list have the same orders: they are looked at with its first one.
        let is_first = |list| hops[..at].iter().all(|other| other.together != Some(list));
        let consumers: Vec<&str> = match hop.together {
            Some(list) if is_first(list) => {
                let same = hops.iter().filter(|other| other.together == Some(list));
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
