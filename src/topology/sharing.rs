//! How nodes share a thread: what is wished for, what is wrong with it, and what comes of it.
//!
//! Invariant: what a thread does not say, the line says for it, and what that does not say is a default.

use crate::base::limits::{
    BATCH_FRAMES, BATCH_FRAMES_MAX, GUARD_TURNS, GUARD_TURNS_MAX, PRIORITY_MAX,
};
use crate::reactor::{Order, Schedule};
use crate::stage::Role;

use super::draft::{Placement, ThreadSpec};
use super::line::{Line, LineNode};
use super::plan::PlannedThread;
use super::problem::{Place, Problem, closest};

/// How the nodes of a thread share its turns. What is not given is as the line says, else as by default.
///
/// ```
/// use hopline::reactor::Schedule;
/// use hopline::topology::{Placement, Sharing};
/// let sharing = Sharing { schedule: Some(Schedule::Priority), batch: Some(8), ..Sharing::default() };
/// let placement = Placement { sharing, ..Placement::default() }.priority("book", 0);
/// assert_eq!(placement.priorities[0].node, "book");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sharing {
    /// Who has the next turn; by default [`Schedule::RoundRobin`].
    pub schedule: Option<Schedule>,
    /// Most frames that a node takes from one input in a turn, 1 to [`BATCH_FRAMES_MAX`]; by default
    /// [`BATCH_FRAMES`].
    pub batch: Option<usize>,
    /// Turns of others after which a node that has input gets one all the same, 1 to
    /// [`GUARD_TURNS_MAX`]; by default [`GUARD_TURNS`].
    pub guard_turns: Option<u32>,
}

impl Sharing {
    /// This, and the other where this says nothing.
    #[must_use]
    pub fn or(self, other: Sharing) -> Sharing {
        Sharing {
            schedule: self.schedule.or(other.schedule),
            batch: self.batch.or(other.batch),
            guard_turns: self.guard_turns.or(other.guard_turns),
        }
    }

    /// Who has the next turn.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        self.schedule.unwrap_or_default()
    }

    /// Most frames of an input in a turn.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.batch.unwrap_or(BATCH_FRAMES)
    }

    /// What is out of bounds, and what to write instead.
    fn wrong(&self) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        if let Some(batch) = self.batch
            && !(1..=BATCH_FRAMES_MAX).contains(&batch)
        {
            wrong.push((
                format!("a batch of {batch} frames is out of bounds"),
                format!("write a number from 1 to {BATCH_FRAMES_MAX}"),
            ));
        }
        if let Some(turns) = self.guard_turns
            && !(1..=GUARD_TURNS_MAX).contains(&turns)
        {
            wrong.push((
                format!("a guard of {turns} turns is out of bounds"),
                format!("write a number from 1 to {GUARD_TURNS_MAX}"),
            ));
        }
        wrong
    }
}

/// How important a node is among those on its thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priority {
    /// The node, by name.
    pub node: String,
    /// 0 is the first; up to [`PRIORITY_MAX`], which is that of a node that names none.
    pub priority: u8,
    /// Where it stands.
    pub place: Option<Place>,
}

impl Placement {
    /// The same with the priority of a node, for [`Schedule::Priority`]; 0 is the first.
    #[must_use]
    pub fn priority(mut self, node: &str, priority: u8) -> Placement {
        self.priorities.push(Priority {
            node: node.to_owned(),
            priority,
            place: None,
        });
        self
    }

    /// The thread that a node is put on by hand.
    fn thread_of(&self, node: &str) -> Option<&ThreadSpec> {
        let mut threads = self.threads.iter();
        threads.find(|thread| thread.nodes.iter().any(|name| name == node))
    }

    /// How a node's thread is shared.
    pub(super) fn sharing_of(&self, node: &str) -> Sharing {
        let own = self.thread_of(node).map(|thread| thread.sharing);
        own.unwrap_or_default().or(self.sharing)
    }

    /// The order of the turns of a loop with these nodes.
    pub(super) fn order(&self, sharing: Sharing, nodes: &[&str]) -> Order {
        let priority = |node: &&str| {
            let given = self.priorities.iter().find(|given| given.node == **node);
            given.map_or(PRIORITY_MAX, |given| given.priority)
        };
        Order {
            schedule: sharing.schedule(),
            guard_turns: sharing.guard_turns.unwrap_or(GUARD_TURNS),
            priorities: nodes.iter().map(priority).collect(),
        }
    }

    /// How one loop for all nodes is shared: as the only thread that is given says, if it has all of
    /// them, else as the line says.
    pub(super) fn inline_sharing(&self, line: &Line) -> Sharing {
        match self.threads.as_slice() {
            [one] if one.nodes.len() == line.nodes.len() => one.sharing.or(self.sharing),
            _ => self.sharing,
        }
    }
}

/// Hops on which nothing is owed, of threads that go by what is: their frames are due as soon as they are there.
pub(super) fn unowed(line: &Line, threads: &[PlannedThread]) -> Vec<String> {
    let by_due = threads
        .iter()
        .filter(|thread| thread.order.schedule == Schedule::Edf);
    let notes = by_due.filter_map(|thread| {
        let hops = line.hops.iter().filter(|hop| thread.at.contains(&hop.to));
        let (owed, unowed): (Vec<_>, Vec<_>) = hops.partition(|hop| hop.hop.budget.is_some());
        let name = &unowed.first().filter(|_| !owed.is_empty())?.name;
        let others = match unowed.len() {
            1 => String::new(),
            2 => " and on 1 other hop".to_owned(),
            more => format!(" and on {} other hops", more - 1),
        };
        let thread = &thread.name;
        Some(format!(
            "thread \"{thread}\" goes by what is due first, and nothing is owed on {name}{others}: frames \
             without a deadline are due there as soon as they are offered"
        ))
    });
    notes.collect()
}

/// All that is wrong with how nodes share threads.
pub(super) fn wrong(placement: &Placement, nodes: &[LineNode]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (what, help) in placement.sharing.wrong() {
        problems.push(Problem::new(what, help));
    }
    for thread in &placement.threads {
        for (what, help) in thread.sharing.wrong() {
            let what = format!("thread \"{}\": {what}", thread.name);
            problems.push(Problem::new(what, help).at(thread.place.as_ref()));
        }
    }
    for (at, given) in placement.priorities.iter().enumerate() {
        let earlier = &placement.priorities[..at];
        if let Some((what, help)) = wrong_priority(given, earlier, placement, nodes) {
            problems.push(Problem::new(what, help).at(given.place.as_ref()));
        }
    }
    problems
}

fn wrong_priority(
    given: &Priority,
    earlier: &[Priority],
    placement: &Placement,
    nodes: &[LineNode],
) -> Option<(String, String)> {
    let Priority { node, priority, .. } = given;
    let Some(found) = nodes.iter().find(|candidate| candidate.name == *node) else {
        // One from a file stands at its node, which then is told of by itself.
        let what = format!("a priority for \"{node}\", which is no node");
        let help = match closest(node, nodes.iter().map(|node| node.name.as_str())) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => "name a node of the line".to_owned(),
        };
        return given.place.is_none().then_some((what, help));
    };
    if *priority > PRIORITY_MAX {
        let what = format!("a priority of {priority} is out of bounds");
        return Some((what, format!("write a number from 0 to {PRIORITY_MAX}")));
    }
    if earlier.iter().any(|other| other.node == *node) {
        let what = format!("two priorities for \"{node}\"");
        return Some((what, "keep one of them".to_owned()));
    }
    if found.descriptor.role == Role::Source {
        let what = format!("\"{node}\" is a source, of which \"priority\" says nothing");
        let help = "remove it: a source has a turn in each round of its thread".to_owned();
        return Some((what, help));
    }
    let schedule = placement.sharing_of(node).schedule();
    if schedule == Schedule::Priority {
        return None;
    }
    let thread = match placement.thread_of(node) {
        Some(thread) => format!("thread \"{}\"", thread.name),
        None => "[line]".to_owned(),
    };
    let what = format!("\"priority\" has no effect where schedule = \"{schedule}\"");
    let help = format!("write schedule = \"priority\" at {thread}, or remove it");
    Some((what, help))
}
