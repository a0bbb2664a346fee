//! Hops that carry some of the kinds of a port, and those that carry what others had no room for.
//!
//! Invariant: every kind of a port goes to one class of each consumer, and what overflows leads to a hop that carries nothing else.

use crate::base::limits::{
    CLASSES_MAX, DEPTH_MAX, OVERFLOW_FILE_BYTES_MAX, OVERFLOW_FILE_BYTES_MIN,
};
use crate::frame::KindInfo;
use crate::overload::WhenFull;

use super::draft::{DraftHop, HopPlaces};
use super::line::LineHop;
use super::problem::{Place, Problem, all, closest};
use super::words::{depth_is_right, name_is_right};

/// What is wrong with a hop's policy by itself.
pub(super) fn wrong_policy(draft: &DraftHop) -> Option<Problem> {
    // A depth that is none is told of by itself.
    let depth = depth_is_right(draft.hop.depth).map_or(DEPTH_MAX, |()| draft.hop.depth);
    let (what, help) = draft.hop.policy.check(depth).err()?;
    let what = format!("hop {}: {what}", draft.name());
    Some(match &draft.places.changed_by {
        Some(change) => Problem::new(format!("{change}: {what}"), help),
        None => Problem::new(what, help).at(draft.places.hop.as_ref()),
    })
}

/// What is wrong with a hop's policy beside others: at that place, or with what gave it the policy for a run.
fn told(
    places: Option<&HopPlaces>,
    place: Option<&Place>,
    what: String,
    help: impl Into<String>,
) -> Problem {
    match places.and_then(|one| one.policy_by.as_ref()) {
        Some(change) => Problem::new(format!("{change}: {what}"), help),
        None => Problem::new(what, help).at(place),
    }
}

/// A hop that was taken, with where it stands.
struct Placed<'a> {
    hop: &'a LineHop,
    place: Option<&'a Place>,
}

/// Gives each hop of a class the kinds that it carries, and each that takes what overflows the hops that it takes it of. Gives
/// back what is wrong.
pub(super) fn divide(hops: &mut [LineHop], places: &[HopPlaces]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut only: Vec<Option<Vec<KindInfo>>> = vec![None; hops.len()];
    let mut ranks: Vec<u8> = hops.iter().map(|hop| hop.hop.rank).collect();
    for at in 0..hops.len() {
        let group = group_of(hops, at);
        if group[0] == at && hops[at].hop.class.is_some() {
            let place = |at: usize| places.get(at).and_then(|one| one.hop.as_ref());
            let members: Vec<Placed<'_>> = group
                .iter()
                .map(|at| Placed {
                    hop: &hops[*at],
                    place: place(*at),
                })
                .collect();
            let kinds = kinds_of_classes(&members, &mut problems);
            for ((class, at), kinds) in group.iter().enumerate().zip(kinds) {
                only[*at] = Some(kinds);
                ranks[*at] = ranks[*at].saturating_add(class as u8);
            }
        }
    }
    for ((hop, only), rank) in hops.iter_mut().zip(only).zip(ranks) {
        hop.only = only;
        hop.hop.rank = rank;
    }
    for at in 0..hops.len() {
        spill(hops, at, places.get(at), &mut problems);
        spill_into_file(hops, at, places.get(at), &mut problems);
    }
    conflate(hops, places, &mut problems);
    problems
}

/// The hops of the same port to the same consumer, in the order in which they are given.
fn group_of(hops: &[LineHop], at: usize) -> Vec<usize> {
    let ends = |hop: &LineHop| (hop.from, hop.port, hop.to);
    let same = (0..hops.len()).filter(|other| ends(&hops[*other]) == ends(&hops[at]));
    same.collect()
}

/// The kinds that each class carries.
fn kinds_of_classes(classes: &[Placed<'_>], problems: &mut Vec<Problem>) -> Vec<Vec<KindInfo>> {
    let port = classes[0].hop.kinds;
    let mut wrong = |at: &Placed<'_>, what: String, help: String| {
        let problem = Problem::new(what, help).at(at.place);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    if classes.len() > CLASSES_MAX {
        let what = format!("{} classes on one way", classes.len());
        wrong(&classes[0], what, format!("at most {CLASSES_MAX}"));
    }
    if port.is_empty() {
        let what = format!("{} carries frames of any kind", classes[0].hop.name);
        let help = "only a port that says its kinds can be divided into classes";
        wrong(&classes[0], what, help.to_owned());
    }
    let mut taken: Vec<KindInfo> = Vec::new();
    let mut lists: Vec<Vec<KindInfo>> = Vec::new();
    for (at, one) in classes.iter().enumerate() {
        let Some(class) = &one.hop.hop.class else {
            let what = format!("{} is there beside hops of classes", one.hop.name);
            wrong(one, what, "give it a class, or remove it".to_owned());
            lists.push(Vec::new());
            continue;
        };
        if let Err(help) = name_is_right(&class.name) {
            let what = format!("\"{}\" is no name for a class", class.name);
            wrong(one, what, help);
        }
        let mut list = Vec::new();
        for name in &class.kinds {
            let names = || port.iter().map(|kind| kind.name);
            match port.iter().find(|kind| kind.name == name) {
                None => {
                    let help = match closest(name, names()) {
                        Some(meant) => format!("did you mean \"{meant}\"?"),
                        None => all("kinds", names()),
                    };
                    let what = format!("{}: there is no kind named \"{name}\"", one.hop.name);
                    wrong(one, what, help);
                }
                Some(kind) if taken.contains(kind) => {
                    let what = format!("{}: \"{name}\" is in another class", one.hop.name);
                    wrong(one, what, "name each kind once".to_owned());
                }
                Some(kind) => {
                    taken.push(*kind);
                    list.push(*kind);
                }
            }
        }
        let is_last = at + 1 == classes.len();
        if class.kinds.is_empty() && !is_last {
            let what = format!("{} names no kinds", one.hop.name);
            wrong(one, what, "only the last class may".to_owned());
        }
        lists.push(list);
    }
    if let Some(last) = lists.last_mut() {
        last.extend(port.iter().filter(|kind| !taken.contains(kind)));
    }
    lists
}

/// Finds the hop to which one overflows.
fn spill(hops: &mut [LineHop], at: usize, places: Option<&HopPlaces>, problems: &mut Vec<Problem>) {
    let hop = &hops[at];
    let place = places.and_then(|one| one.overflow_to.as_ref().or(one.hop.as_ref()));
    let mut wrong = |what: String, help: String| {
        let problem = told(places, place, what, help);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    let from = hop.name.split_once("->").map_or("", |(from, _)| from);
    let Some(to) = hop.hop.overflow_to.clone() else {
        if hop.hop.policy.spills() && hop.hop.overflow_file.is_none() {
            let what = format!("{} overflows, and nothing says where to", hop.name);
            let help = match places.and_then(|one| one.policy_by.as_ref()) {
                Some(_) => {
                    format!(
                        "add overflow_to=node, with a node that a hop from \"{from}\" leads to, or overflow_file=PATH"
                    )
                }
                None => "write overflow_to = \"node\", and a [[hop]] that leads there, or overflow_file = \"PATH\"".to_owned(),
            };
            wrong(what, help);
        }
        return;
    };
    // In a case it is said where the settings are read; what a run changes may leave it without effect.
    let is_of_case = places.is_some_and(|one| one.hop.is_some() || one.changed_by.is_some());
    if !hop.hop.policy.spills() && !is_of_case {
        let what = format!(
            "{} does not overflow, and \"{to}\" would get nothing",
            hop.name
        );
        let help = "write when_full = \"overflow\", or remove overflow_to";
        return wrong(what, help.to_owned());
    }
    let same_port = |other: &LineHop| other.from == hop.from && other.port == hop.port;
    // A class of them takes what is of its kinds.
    let found: Vec<usize> = (0..hops.len())
        .filter(|other| same_port(&hops[*other]) && hops[*other].to_name == to)
        .collect();
    let is_free = |other: &usize| {
        *other != at && hops[*other].together.is_none() && hops[*other].hop.overflow_to.is_none()
    };
    if found.is_empty() || !found.iter().all(is_free) {
        if !hop.hop.policy.spills() {
            return;
        }
        let why = match found.iter().find(|other| !is_free(other)) {
            Some(other) if *other == at => "which is where it leads itself".to_owned(),
            Some(other) if hops[*other].hop.overflow_to.is_some() => {
                format!("and {} overflows itself", hops[*other].name)
            }
            Some(_) => "and the hop there is one of a list".to_owned(),
            None => format!("and no hop leads there from \"{from}\""),
        };
        let what = format!("overflow_to of {} is \"{to}\", {why}", hop.name);
        let own =
            format!("a [[hop]] of its own from \"{from}\" to \"{to}\" that does not overflow");
        let help = format!("add {own}, or name another node");
        return wrong(what, help);
    }
    let ring = hop.ring;
    let hops_of_port = hops.iter().enumerate();
    let before = hops_of_port.filter(|(_, other)| same_port(other));
    // Those that share a ring are one place.
    let is_first = |other: usize| {
        let ring = hops[other].ring;
        ring.is_none() || hops[..other].iter().all(|earlier| earlier.ring != ring)
    };
    let own = (0..=at).find(|other| hops[*other].ring == ring && ring.is_some());
    let before = before.take_while(|(other, _)| *other < own.unwrap_or(at));
    let bit = before.filter(|(other, _)| is_first(*other)).count();
    let bit = u32::try_from(bit).unwrap_or(u32::BITS);
    let of = 1_u32.checked_shl(bit).unwrap_or(0);
    for spill in found {
        hops[spill].spill_of |= of;
    }
}

/// Judges the file into which a hop overflows.
fn spill_into_file(
    hops: &[LineHop],
    at: usize,
    places: Option<&HopPlaces>,
    problems: &mut Vec<Problem>,
) {
    let hop = &hops[at];
    let Some(file) = &hop.hop.overflow_file else {
        return;
    };
    let place = places.and_then(|one| one.overflow_file.as_ref().or(one.hop.as_ref()));
    let mut wrong = |what: String, help: String| {
        let problem = told(places, place, what, help);
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    };
    let (name, path) = (&hop.name, file.path.display());
    let bounds = OVERFLOW_FILE_BYTES_MIN..=OVERFLOW_FILE_BYTES_MAX;
    if file.path.as_os_str().is_empty() {
        let what = format!("the overflow file of {name} has no name");
        wrong(what, "write overflow_file = \"overflow.cap\"".to_owned());
    }
    if !bounds.contains(&file.bytes_max) {
        let what = format!(
            "the overflow file of {name} may have {} bytes, which is out of bounds",
            file.bytes_max
        );
        wrong(what, "write \"1MiB\" to \"1TiB\"".to_owned());
    }
    // In a case it is said where the settings are read; what a run changes may leave it without effect, and what is said of a
    // list is not meant for its taps.
    let is_of_case = places.is_some_and(|one| one.hop.is_some() || one.changed_by.is_some());
    if !hop.hop.policy.spills() {
        if !is_of_case && !hop.is_tap() {
            let what = format!("{name} does not overflow, and \"{path}\" would get nothing");
            let help = "write when_full = \"overflow\", or remove overflow_file";
            wrong(what, help.to_owned());
        }
        return;
    }
    if let Some(to) = &hop.hop.overflow_to {
        let what = format!("{name} is to overflow to \"{to}\" and into \"{path}\"");
        let help = "write overflow_to or overflow_file, not both";
        return wrong(what, help.to_owned());
    }
    if hop.kinds.is_empty() {
        let what =
            format!("{name} carries frames of any kind, and an overflow file names its kinds");
        let help = "write overflow_to = \"node\", or another when_full";
        return wrong(what, help.to_owned());
    }
    let shares = |other: &LineHop| hop.ring.is_some() && other.ring == hop.ring;
    let same_file = |other: &&LineHop| {
        let others = other.hop.overflow_file.as_ref();
        other.hop.policy.spills() && others.is_some_and(|one| one.path == file.path)
    };
    let mut before = hops[..at].iter().filter(|other| !shares(other));
    if let Some(other) = before.find(same_file) {
        let what = format!(
            "{} and {name} overflow into one file, \"{path}\"",
            other.name
        );
        let help = "give each a [[hop]] or a class with a file of its own: one writes a file, in its order";
        wrong(what, help.to_owned());
    }
}

/// What conflates needs a kind that has a key.
fn conflate(hops: &[LineHop], places: &[HopPlaces], problems: &mut Vec<Problem>) {
    for (at, hop) in hops.iter().enumerate() {
        let carried = || hop.only.as_deref().unwrap_or(hop.kinds).iter();
        if hop.hop.policy.conflates() && !carried().any(|kind| kind.keyed) {
            let what = format!("{} conflates, and none of its kinds has a key", hop.name);
            let when_full = WhenFull::DropOldest.name();
            let help = format!(
                "write when_full = \"{when_full}\", or give the frame a key: #[hopline::frame(…, key = \"field\")]"
            );
            let places = places.get(at);
            let place = places.and_then(|one| one.hop.as_ref());
            problems.push(told(places, place, what, help));
        }
    }
}
