//! The stage to blame where something was held back, full or shed: one decision on the figures of a report.
//!
//! ```text
//!   most time lost: the hop that was longest at full, else the one that lost the most messages
//!      └─→ its consumer ─ held back itself? ─→ the consumer that held it back ─ … ─→ the last one
//!            of these, and of those they share a thread with: the one that took the most of its thread's time
//! ```
//!
//! The busiest one on the way is to blame and not simply the last: a stage that works 60 % of its time may wait for one that
//! works all of it, and one that works 95 % is held back now and then by bursts behind it. A node that hangs, or that held up a
//! drain which was given up, is to blame before all others; one that is held back by the outside counts that as its own time.
//!
//! Invariant: a pure function of figures; `None` where nothing was lost.

use serde::Serialize;

use super::losses::{Losses, LostTo};
use super::report::{HopReport, RegimeReport, StageReport};

/// A hop that was at full for less than one part in so many of the time has lost nothing worth a name: 1 % of a budget that is
/// kept by a factor is in its noise, and a loop that is taken off its core for a slice now and then costs about that.
const LOST_PART: u64 = 100;

/// A node in one turn for that long hangs, in nanoseconds: handlers of a low-latency line take microseconds, and hosts take a
/// core away for tens of milliseconds.
const HANG_NS: u64 = 100_000_000;

/// From there on a node is busy for most of the time, in millionths.
const MOST: u64 = 500_000;

/// States of a node that takes nothing for the time being, or never again.
const STOPPED: &[&str] = &["paused", "restarting", "failed"];

/// What makes a stage the one to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It is busy: the line is as fast as it is.
    Busy,
    /// It has time left, but not when bursts come.
    Bursts,
    /// It takes the time of the thread on which others wait for their turn.
    Neighbour,
    /// The outside takes nothing from it, or not fast enough.
    Outside,
    /// It does not return from a turn.
    Hangs,
    /// It is paused, restarting or has failed.
    Stopped,
    /// It held up a drain that was given up.
    Drain,
}

/// The stage to blame, and the figures that say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Culprit {
    /// The node.
    pub node: String,
    /// The hop at which its producers lost time or messages; that into the node, unless a neighbour on its thread waits there.
    pub hop: Option<String>,
    /// What makes it the one.
    pub cause: Cause,
    /// The same in words.
    pub why: String,
    /// The time that these figures are of, in nanoseconds.
    pub span_ns: u64,
    /// How much of it the hop was at full.
    pub full_ns: u64,
    /// Messages that the hop lost meanwhile because nobody took them in time.
    pub lost: u64,
    /// Messages or frames that wait there now.
    pub waiting: u64,
    /// How much of its thread's time the node was at work or in I/O, in nanoseconds.
    pub busy_ns: u64,
    /// How much of it the outside held it back.
    pub outside_ns: u64,
    /// Its thread's time.
    pub thread_ns: u64,
}

/// What the decision is made of: counters of a line, or their difference since an earlier look.
///
/// ```
/// use hopline::budget::culprit::Figures;
/// let figures = Figures::new(1_000_000_000, &[], &[], []);
/// assert_eq!(figures.culprit(), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    span_ns: u64,
    hops: Vec<HopFigures>,
    nodes: Vec<NodeFigures>,
    loops: Vec<LoopFigures>,
    /// The hop, the messages left on it, and who held them up.
    left: Vec<(usize, u64, usize)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct HopFigures {
    name: String,
    from: usize,
    to: usize,
    full_ns: u64,
    /// Messages lost.
    losses: Losses,
    waiting: u64,
    /// Whether its producer waits while it is at full.
    holds: bool,
}

impl HopFigures {
    /// Messages lost because nobody took them in time.
    fn lost(&self) -> u64 {
        self.losses.to_slowness()
    }

    /// What most of them were lost to, in words; nothing where the time at full says it.
    fn lost_to(&self) -> String {
        let Some(worst) = self.losses.worst() else {
            return String::new();
        };
        let words = match worst {
            LostTo::Room => "for want of room",
            LostTo::Newer => "to newer ones of their keys",
            LostTo::Age => "for their age",
            LostTo::Ladder => "on the degrade ladder",
            LostTo::Sample => "as not the ones in so many that are taken",
            LostTo::Rate | LostTo::Other => "for another reason",
        };
        match self.losses.to(worst) < self.lost() {
            true => format!(", most {words}"),
            false if worst == LostTo::Room && self.full_ns > 0 => String::new(),
            false => format!(" {words}"),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NodeFigures {
    name: String,
    state: &'static str,
    busy_ns: u64,
    io_ns: u64,
    chores_ns: u64,
    all_ns: u64,
    /// Held back by the outside.
    outside_ns: u64,
    /// Messages that never came in, because it did not take them in time.
    dropped: u64,
}

/// A loop as a report shows it.
#[derive(Clone, Copy, Debug)]
pub struct LoopTimes<'a> {
    /// The nodes on it.
    pub nodes: &'a [String],
    /// Nanoseconds for which it has made no turn.
    pub silent_ns: u64,
    /// The node that has the turn; none while it sleeps.
    pub current: Option<&'a str>,
    /// Where the loop's own time went.
    pub own: RegimeReport,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct LoopFigures {
    nodes: Vec<usize>,
    silent_ns: u64,
    current: Option<usize>,
    own_ns: u64,
    idle_ns: u64,
    chores_ns: u64,
}

fn total(regimes: &RegimeReport) -> u64 {
    regimes.work + regimes.io + regimes.held_back + regimes.housekeeping + regimes.idle
}

impl Figures {
    /// The figures of these hops, nodes and loops over `span_ns` nanoseconds.
    #[must_use]
    pub fn new<'a>(
        span_ns: u64,
        hops: &[HopReport],
        stages: &[StageReport],
        loops: impl IntoIterator<Item = LoopTimes<'a>>,
    ) -> Figures {
        let node = |name: &str| stages.iter().position(|stage| stage.name == name);
        let of_hop = |hop: &HopReport| {
            let (from, to) = hop.ends();
            HopFigures {
                name: hop.name.clone(),
                from: node(from).unwrap_or(usize::MAX),
                to: node(to).unwrap_or(usize::MAX),
                full_ns: hop.full_ns,
                losses: hop.losses(),
                waiting: hop.depth_now,
                holds: hop.when_full.starts_with("block"),
            }
        };
        let of_node = |stage: &StageReport| NodeFigures {
            name: stage.name.clone(),
            state: stage.state,
            busy_ns: stage.regimes_ns.work + stage.regimes_ns.io,
            io_ns: stage.regimes_ns.io,
            chores_ns: stage.regimes_ns.housekeeping,
            all_ns: total(&stage.regimes_ns),
            outside_ns: stage
                .held_back_by_ns
                .get(super::report::OUTSIDE)
                .copied()
                .unwrap_or(0),
            dropped: 0,
        };
        let of_loop = |one: LoopTimes<'_>| LoopFigures {
            nodes: one.nodes.iter().filter_map(|name| node(name)).collect(),
            silent_ns: one.silent_ns,
            current: one.current.and_then(node),
            own_ns: total(&one.own),
            idle_ns: one.own.idle,
            chores_ns: one.own.housekeeping,
        };
        Figures {
            span_ns,
            hops: hops.iter().map(of_hop).collect(),
            nodes: stages.iter().map(of_node).collect(),
            loops: loops.into_iter().map(of_loop).collect(),
            left: Vec::new(),
        }
    }

    /// The same with what never came into a source, because it did not take it in time.
    #[must_use]
    pub fn dropped(mut self, source: &str, messages: u64) -> Figures {
        if let Some(node) = self.nodes.iter_mut().find(|node| node.name == source) {
            node.dropped += messages;
        }
        self
    }

    /// The same with what a drain that was given up has left on a hop, and who held it up.
    #[must_use]
    pub fn left(mut self, hop: &str, messages: u64, holder: &str) -> Figures {
        let hop = self.hops.iter().position(|one| one.name == hop);
        let holder = self.nodes.iter().position(|node| node.name == holder);
        if let (Some(hop), Some(holder)) = (hop, holder) {
            self.left.push((hop, messages, holder));
        }
        self
    }

    /// What came since `before`, which is of the same line; `span_ns` nanoseconds lie between the two. Nothing is before the
    /// default.
    #[must_use]
    pub fn since(&self, before: &Figures, span_ns: u64) -> Figures {
        let mut now = Figures {
            span_ns,
            ..self.clone()
        };
        for (hop, then) in now.hops.iter_mut().zip(&before.hops) {
            hop.full_ns = hop.full_ns.saturating_sub(then.full_ns);
            hop.losses = hop.losses.since(&then.losses);
        }
        for (node, then) in now.nodes.iter_mut().zip(&before.nodes) {
            node.busy_ns = node.busy_ns.saturating_sub(then.busy_ns);
            node.io_ns = node.io_ns.saturating_sub(then.io_ns);
            node.chores_ns = node.chores_ns.saturating_sub(then.chores_ns);
            node.all_ns = node.all_ns.saturating_sub(then.all_ns);
            node.outside_ns = node.outside_ns.saturating_sub(then.outside_ns);
            node.dropped = node.dropped.saturating_sub(then.dropped);
        }
        for (one, then) in now.loops.iter_mut().zip(&before.loops) {
            one.own_ns = one.own_ns.saturating_sub(then.own_ns);
            one.idle_ns = one.idle_ns.saturating_sub(then.idle_ns);
            one.chores_ns = one.chores_ns.saturating_sub(then.chores_ns);
        }
        now
    }

    /// The stage to blame; `None` where nothing was held back, full or shed for as long as matters.
    #[must_use]
    pub fn culprit(&self) -> Option<Culprit> {
        self.hanging()
            .or_else(|| self.held_up())
            .or_else(|| self.slowest())
    }

    /// The loop of a node.
    fn loop_of(&self, node: usize) -> Option<&LoopFigures> {
        self.loops.iter().find(|one| one.nodes.contains(&node))
    }

    fn thread_ns(&self, node: usize) -> u64 {
        let of = |at: &usize| self.nodes[*at].all_ns;
        match self.loop_of(node) {
            Some(one) => one.own_ns + one.nodes.iter().map(of).sum::<u64>(),
            None => of(&node),
        }
    }

    /// The hop into any of these nodes on which the most frames wait.
    fn fullest(&self, nodes: &[usize]) -> Option<usize> {
        let into = (0..self.hops.len()).filter(|hop| nodes.contains(&self.hops[*hop].to));
        into.filter(|hop| self.hops[*hop].waiting > 0)
            .max_by_key(|hop| self.hops[*hop].waiting)
    }

    /// The node that does not return, and for which frames wait.
    fn hanging(&self) -> Option<Culprit> {
        let stuck = |node: &usize| self.nodes[*node].state == "stuck";
        let hangs = |one: &LoopFigures| {
            let stuck = one.nodes.iter().copied().find(stuck);
            let silent = one.silent_ns >= HANG_NS;
            let node = stuck.or(one.current.filter(|_| silent))?;
            Some((node, self.fullest(&one.nodes)?))
        };
        let hanging = self.loops.iter().filter_map(hangs);
        let (node, hop) = hanging.max_by_key(|(_, hop)| self.hops[*hop].waiting)?;
        let waiting = self.hops[hop].waiting;
        let why = format!(
            "{} does not return from its turn; {} frames wait on {}",
            self.nodes[node].name,
            grouped(waiting),
            self.hops[hop].name
        );
        Some(self.blame(node, Some(hop), Cause::Hangs, why))
    }

    /// The node that held up a drain.
    fn held_up(&self) -> Option<Culprit> {
        let (hop, messages, node) = *self.left.iter().max_by_key(|(_, messages, _)| messages)?;
        let why = format!(
            "the drain was given up: {} held up {} messages on {}",
            self.nodes[node].name,
            grouped(messages),
            self.hops[hop].name
        );
        Some(self.blame(node, Some(hop), Cause::Drain, why))
    }

    /// Whether so much of the time is worth a name.
    fn matters(&self, span_ns: u64) -> bool {
        span_ns > 0 && span_ns >= self.span_ns / LOST_PART
    }

    /// The hop that holds this node back for the longest, as long as that matters.
    fn holder(&self, node: usize) -> Option<usize> {
        let holds = |hop: &usize| {
            let hop = &self.hops[*hop];
            hop.from == node && hop.holds && self.matters(hop.full_ns)
        };
        let holders = (0..self.hops.len()).filter(holds);
        holders.max_by_key(|hop| self.hops[*hop].full_ns)
    }

    /// From where the most was lost, down to the busiest that it may be for.
    fn slowest(&self) -> Option<Culprit> {
        let lost = |hop: &usize| {
            let hop = &self.hops[*hop];
            hop.to < self.nodes.len() && (hop.lost() > 0 || self.matters(hop.full_ns))
        };
        let first = (0..self.hops.len()).filter(lost).max_by_key(|hop| {
            // A moment at full says less than what was lost.
            let full_ns = self.hops[*hop].full_ns;
            let full_ns = if self.matters(full_ns) { full_ns } else { 0 };
            (full_ns, self.hops[*hop].lost())
        });
        let mut way = Vec::new();
        let mut next = match first {
            Some(hop) => Some(hop),
            None => {
                // Nothing was lost in the line, but in front of it.
                let source = (0..self.nodes.len()).max_by_key(|node| self.nodes[*node].dropped)?;
                if self.nodes[source].dropped == 0 {
                    return None;
                }
                way.push((source, None));
                self.holder(source)
            }
        };
        // A line is a DAG, so this ends; bounded all the same, for figures that are not of one.
        while let Some(hop) = next
            && self.hops[hop].to < self.nodes.len()
            && way.len() <= self.hops.len()
        {
            way.push((self.hops[hop].to, Some(hop)));
            next = self.holder(self.hops[hop].to);
        }
        let stopped =
            |(node, _): &&(usize, Option<usize>)| STOPPED.contains(&self.nodes[*node].state);
        if let Some((node, hop)) = way.iter().rev().find(stopped) {
            let why = format!(
                "{}; its state is {}",
                self.lead(*node, *hop),
                self.nodes[*node].state
            );
            return Some(self.blame(*node, *hop, Cause::Stopped, why));
        }
        // Of equals the last: the others wait for it.
        let (mut node, mut hop) = *way.first()?;
        for (other, by) in &way[1..] {
            if self.own(*other) >= self.own(node) {
                (node, hop) = (*other, *by);
            }
        }
        if let Some(neighbour) = self.neighbour(&way, node) {
            let (waits, hop) = neighbour.1;
            return Some(self.blame_neighbour(neighbour.0, waits, hop));
        }
        Some(self.blame_busy(node, hop))
    }

    /// How much of its thread's time a node needs for itself, in millionths: work, I/O, what the outside held it back, and its
    /// part of the chores, which a loop that looks for gaps of the host has a lot of.
    fn own(&self, node: usize) -> u64 {
        let of = |at: &usize| self.nodes[*at].busy_ns + self.nodes[*at].outside_ns;
        let own_ns = u128::from(of(&node));
        let mut chores_ns = 0;
        if let Some(one) = self.loop_of(node) {
            let chores = |at: &usize| self.nodes[*at].chores_ns;
            let all_ns: u64 = one.chores_ns + one.nodes.iter().map(chores).sum::<u64>();
            let busy_ns: u64 = one.nodes.iter().map(of).sum();
            chores_ns = u128::from(all_ns) * own_ns / u128::from(busy_ns.max(1));
        }
        ((own_ns + chores_ns) * 1_000_000 / u128::from(self.thread_ns(node).max(1))) as u64
    }

    /// The node off this way that takes more of a thread than `busiest` does of its own, with who waits for it and where.
    fn neighbour(
        &self,
        way: &[(usize, Option<usize>)],
        busiest: usize,
    ) -> Option<(usize, (usize, Option<usize>))> {
        let mut found = None;
        let mut most = self.own(busiest);
        for waits in way {
            let Some(one) = self.loop_of(waits.0) else {
                continue;
            };
            // Nobody waits for a turn on a thread that has time left.
            if one.idle_ns * 2 > self.thread_ns(waits.0) {
                continue;
            }
            for node in &one.nodes {
                let on_the_way = way.iter().any(|(on, _)| on == node);
                if !on_the_way && self.own(*node) > most {
                    most = self.own(*node);
                    found = Some((*node, *waits));
                }
            }
        }
        found
    }

    fn blame_neighbour(&self, node: usize, waits: usize, hop: Option<usize>) -> Culprit {
        let why = format!(
            "{} takes {} of the thread on which {} waits for its turn; {}",
            self.nodes[node].name,
            share(self.nodes[node].busy_ns, self.thread_ns(node)),
            self.nodes[waits].name,
            self.lead(waits, hop),
        );
        self.blame(node, hop, Cause::Neighbour, why)
    }

    fn blame_busy(&self, node: usize, hop: Option<usize>) -> Culprit {
        let figures = &self.nodes[node];
        let thread_ns = self.thread_ns(node);
        let lead = self.lead(node, hop);
        if figures.outside_ns > figures.busy_ns {
            let outside = share(figures.outside_ns, thread_ns);
            let why =
                format!("{lead}; the outside takes nothing from it for {outside} of its own time");
            return self.blame(node, hop, Cause::Outside, why);
        }
        let does = if figures.io_ns * 2 > figures.busy_ns {
            "is in I/O"
        } else {
            "works"
        };
        let shares_thread = self.loop_of(node).is_some_and(|one| one.nodes.len() > 1);
        let of = if shares_thread {
            "of its thread's time"
        } else {
            "of its own time"
        };
        let mut why = format!(
            "{lead}; it {does} {} {of}",
            share(figures.busy_ns, thread_ns)
        );
        let idle_ns = self.loop_of(node).map_or(0, |one| one.idle_ns);
        if self.own(node) >= MOST || idle_ns * 2 < thread_ns {
            if figures.busy_ns * 2 < thread_ns {
                why += &format!(" and rests for {}", share(idle_ns, thread_ns));
            }
            return self.blame(node, hop, Cause::Busy, why);
        }
        why += match hop.map(|hop| self.hops[hop].losses.worst()) {
            Some(None | Some(LostTo::Room | LostTo::Newer)) => {
                ", so bursts were more than the hop holds"
            }
            Some(Some(LostTo::Ladder)) => ", so the ladder let less through than it can do",
            Some(Some(LostTo::Sample)) => ", so what was sampled is less than it can do",
            Some(Some(LostTo::Age | LostTo::Rate | LostTo::Other)) => {
                ", so in bursts they waited for longer than they may"
            }
            None => ", so bursts were more than its socket holds",
        };
        self.blame(node, hop, Cause::Bursts, why)
    }

    /// What the node does to those in front of it.
    fn lead(&self, node: usize, hop: Option<usize>) -> String {
        let name = &self.nodes[node].name;
        let Some(hop) = hop.map(|hop| &self.hops[hop]) else {
            let dropped = self.nodes[node].dropped;
            let dropped = grouped(dropped);
            return format!(
                "{name} came too late for {dropped} messages, which the kernel dropped"
            );
        };
        let full = share(hop.full_ns, self.span_ns);
        match (hop.lost(), self.nodes.get(hop.from)) {
            (0, Some(from)) => format!("{name} holds back {} for {full} of the time", from.name),
            (0, None) => format!("{} was full for {full} of the time", hop.name),
            (lost, _) => {
                let to = hop.lost_to();
                let lost = grouped(lost);
                let mut lead = format!(
                    "{name} was too slow for {lost} messages that {} lost{to}",
                    hop.name
                );
                if hop.full_ns > 0 && hop.losses.to(LostTo::Room) > 0 {
                    lead += &format!(", full for {full} of the time");
                }
                lead
            }
        }
    }

    fn blame(&self, node: usize, hop: Option<usize>, cause: Cause, why: String) -> Culprit {
        let figures = &self.nodes[node];
        let at = hop.map(|hop| &self.hops[hop]);
        Culprit {
            node: figures.name.clone(),
            hop: at.map(|hop| hop.name.clone()),
            cause,
            why,
            span_ns: self.span_ns,
            full_ns: at.map_or(0, |hop| hop.full_ns),
            lost: at.map_or(figures.dropped, |hop| hop.lost()),
            waiting: at.map_or(0, |hop| hop.waiting),
            busy_ns: figures.busy_ns,
            outside_ns: figures.outside_ns,
            thread_ns: self.thread_ns(node),
        }
    }
}

/// A whole number in groups of three: `1,234,567`.
fn grouped(number: u64) -> String {
    let (rest, last) = (number / 1_000, number % 1_000);
    match rest {
        0 => last.to_string(),
        _ => format!("{},{last:03}", grouped(rest)),
    }
}

/// A share in percent: `73 %`.
fn share(part_ns: u64, whole_ns: u64) -> String {
    let percent = part_ns as f64 * 100.0 / whole_ns.max(1) as f64;
    match percent {
        percent if percent > 0.0 && percent < 0.5 => "under 1 %".to_owned(),
        percent => format!("{:.0} %", percent.min(100.0)),
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests;
