//! What is computed from a line and a machine: threads, cores and bytes, before anything runs.

use std::fmt;

use serde::Serialize;

use crate::base::limits::{HOPS_MAX, SLOT_BYTES};
use crate::host::memory::{self, HUGE_PAGE_BYTES, MemoryError};
use crate::host::{Host, MemoryWish, Pin, Wish, usable_threads};
use crate::reactor::{Order, Schedule};
use crate::ring::{hop, multicast};
use crate::stage::{Role, conflate};
use crate::wait::Strategy;

use super::fan;
use super::line::{Line, LineHop};
use super::problem::{Problem, Problems, list};
use super::sharing::{self, Sharing};

/// Bytes that a thread maps when it starts, used or not: its stack, which is 2 MiB in Rust, and its
/// heap, for which glibc reserves 64 MiB on 64 bits.
const THREAD_MAPPED_BYTES: u64 = 66 << 20;

/// Bytes that a thread's stack takes up once it runs: what is touched, not what is reserved.
const STACK_TOUCHED_BYTES: usize = 64 << 10;

/// A loop of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedThread {
    /// The thread's name.
    pub name: String,
    /// The core it is to be pinned to; none where pinning is off, or threads outnumber the cores.
    pub core: Option<usize>,
    /// `spin`, `yield` or `park`.
    pub wait: String,
    /// What that is, step by step.
    pub ladder: String,
    /// `dedicated` for one node, `fused` for several, `inline` without a thread; `shared` and
    /// `fused, shared` where other threads of the line run on its core as well.
    pub placement: &'static str,
    /// Who has the next turn: `round_robin`, `priority` or `edf`.
    pub schedule: &'static str,
    /// Most frames that a node takes from one input in a turn.
    pub batch: usize,
    /// The nodes on it, in the order of their turns; under `priority` sources first, then by importance.
    pub nodes: Vec<String>,
    #[serde(skip)]
    pub(crate) at: Vec<usize>,
    #[serde(skip)]
    pub(crate) strategy: Strategy,
    #[serde(skip)]
    pub(crate) order: Order,
}

/// A hop of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedHop {
    /// `from->to`.
    pub name: String,
    /// Slots.
    pub depth: usize,
    /// What happens when it is full.
    pub when_full: &'static str,
    /// The same with its soft limits, in words.
    pub policy: String,
    /// The hop that this one shares its ring with, where a ring has several consumers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<String>,
    /// Bytes of the ring, of the table of what conflates, and of what divides a list of hops, which lies with its first; 0 where
    /// it is another hop's.
    pub ring_bytes: usize,
    /// Bytes of its histograms: the loop's two sets and the observer's totals.
    pub hist_bytes: usize,
    /// Whether producer and consumer share a thread.
    pub same_thread: bool,
    /// Where frames go: `same thread`, `same core`, `between cores`, or `between threads` where the
    /// system chooses a thread's core as it goes.
    pub path: &'static str,
}

/// Threads, cores and bytes of a line on a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The line's name.
    pub line: String,
    /// Its loops.
    pub threads: Vec<PlannedThread>,
    /// Its hops.
    pub hops: Vec<PlannedHop>,
    /// Bytes that the nodes allocate for themselves, as far as they say.
    pub node_bytes: usize,
    /// Bytes of everything: rings, histograms, nodes, stacks.
    pub memory_bytes: usize,
    /// What the line asks of its memory when it starts.
    pub memory: MemoryWish,
    /// What a person should know of how it came about.
    pub notes: Vec<String>,
    /// What would not be granted of what the line asks of its memory, as far as that is known before
    /// anything is allocated. The report of a run has it as it came.
    pub foreseen: Vec<String>,
    /// What of that the line requires: a run would end before its start.
    pub refused: Vec<MemoryError>,
}

/// Threads that write overflow files: one for all of a line, or none.
fn writers(line: &Line) -> usize {
    usize::from(line.hops.iter().any(|hop| hop.overflow_file().is_some()))
}

impl Plan {
    /// One loop for everything, without a thread.
    #[must_use]
    pub fn inline(line: &Line) -> Plan {
        let all: Vec<usize> = (0..line.nodes.len()).collect();
        let sharing = line.placement.inline_sharing(line);
        let mut plan = Plan::with(
            line,
            vec![thread(line, "inline", None, Strategy::Spin, sharing, all)],
        );
        plan.threads[0].placement = "inline";
        // Neither a loop nor a writer of overflow files has a thread.
        plan.memory_bytes -= (1 + writers(line)) * STACK_TOUCHED_BYTES;
        plan
    }

    fn with(line: &Line, threads: Vec<PlannedThread>) -> Plan {
        let thread_of = |node: usize| threads.iter().position(|thread| thread.at.contains(&node));
        let per_hop_bytes = hist_bytes(3);
        let rings = fan::rings(&line.hops);
        let ring_bytes = |at: usize, depth| match rings.iter().find(|ring| ring[0] == at) {
            None => 0,
            Some(ring) if ring.len() == 1 => hop::memory_bytes(depth),
            Some(ring) => multicast::memory_bytes(depth, ring.len()),
        };
        let shares = |at: usize| {
            let ring = rings.iter().find(|ring| ring[1..].contains(&at))?;
            Some(line.hops[ring[0]].name.clone())
        };
        let table_bytes = |hop: &LineHop| match hop.has_table() {
            true => conflate::memory_bytes(hop.hop.most_keys),
            false => 0,
        };
        let file_bytes = |at: usize, hop: &LineHop| {
            let is_first = rings.iter().any(|ring| ring[0] == at);
            let file = hop.overflow_file().filter(|_| is_first);
            file.map_or(0, |_| super::spill::memory_bytes())
        };
        // What divides a list of hops lies with the first of them.
        let split_bytes = |at: usize, hop: &LineHop| {
            let is_first = line.hops[..at]
                .iter()
                .all(|one| one.together != hop.together);
            let split = hop.hop.split.filter(|_| is_first);
            split.map_or(0, crate::stage::split::memory_bytes)
        };
        let hops: Vec<PlannedHop> = line
            .hops
            .iter()
            .enumerate()
            .map(|(at, line_hop)| PlannedHop {
                name: line_hop.name.clone(),
                depth: line_hop.hop.depth,
                when_full: line_hop.hop.policy.when_full.name(),
                policy: line_hop.hop.policy.to_string(),
                shares: shares(at),
                ring_bytes: ring_bytes(at, line_hop.hop.depth)
                    + table_bytes(line_hop)
                    + file_bytes(at, line_hop)
                    + split_bytes(at, line_hop),
                hist_bytes: per_hop_bytes,
                same_thread: thread_of(line_hop.from) == thread_of(line_hop.to),
                path: path(&threads, thread_of(line_hop.from), thread_of(line_hop.to)),
            })
            .collect();
        let node_bytes: usize = line
            .nodes
            .iter()
            .map(|node| node.descriptor.memory_bytes)
            .sum();
        let sinks = line
            .nodes
            .iter()
            .filter(|node| node.descriptor.role == Role::Sink)
            .count();
        let hop_bytes: usize = hops.iter().map(|hop| hop.ring_bytes + hop.hist_bytes).sum();
        let stacks = threads.len() + writers(line);
        let memory_bytes =
            hop_bytes + node_bytes + sinks * hist_bytes(1) + stacks * STACK_TOUCHED_BYTES;
        Plan {
            line: line.name.clone(),
            memory: line.placement.memory,
            threads,
            hops,
            node_bytes,
            memory_bytes,
            notes: Vec::new(),
            foreseen: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Notes what the system would not grant of what the line asks of its memory.
    fn foresee(&mut self, line: &Line) {
        let rings = fan::rings(&line.hops);
        let slots = rings
            .iter()
            .map(|ring| line.hops[ring[0]].hop.depth * SLOT_BYTES);
        let threads = self.threads.len() as u64 * THREAD_MAPPED_BYTES;
        let more_bytes = self.memory_bytes as u64 + threads;
        let slots: Vec<usize> = slots.collect();
        let open = |bytes: &&usize| (HUGE_PAGE_BYTES..2 * HUGE_PAGE_BYTES).contains(*bytes);
        let open = slots.iter().filter(open).count();
        if self.memory.huge_pages != Wish::Off && open > 0 {
            self.foreseen.push(format!(
                "huge_pages: {open} of {} rings may fill no huge page, by where they come to lie; depth = {} is sure to",
                slots.len(),
                2 * HUGE_PAGE_BYTES / SLOT_BYTES
            ));
        }
        for (wish, refusal) in memory::foresee(self.memory, &slots, more_bytes) {
            let MemoryError { wish: name, why } = &refusal;
            if wish == Wish::Require {
                self.foreseen
                    .push(format!("a run would be refused: {refusal}"));
                self.refused.push(refusal);
            } else {
                self.foreseen
                    .push(format!("{name} would not be granted in full: {why}"));
            }
        }
    }
}

/// Where frames go from one thread to another.
fn path(threads: &[PlannedThread], from: Option<usize>, to: Option<usize>) -> &'static str {
    let core = |thread: Option<usize>| threads.get(thread?)?.core;
    match (core(from), core(to)) {
        _ if from == to => "same thread",
        (Some(from), Some(to)) if from == to => "same core",
        (Some(_), Some(_)) => "between cores",
        _ => "between threads",
    }
}

/// Bytes of a recorder's two sets of histograms and of the observer's totals.
const fn hist_bytes(histograms: usize) -> usize {
    crate::hist::recorder_bytes(histograms) + histograms * crate::hist::totals_bytes()
}

fn thread(
    line: &Line,
    name: &str,
    core: Option<usize>,
    strategy: Strategy,
    sharing: Sharing,
    mut at: Vec<usize>,
) -> PlannedThread {
    let named = |at: &[usize]| {
        let names = at.iter().map(|node| line.nodes[*node].name.as_str());
        names.collect::<Vec<_>>()
    };
    let order_of = |at: &[usize]| line.placement.order(sharing, &named(at));
    if sharing.schedule() == Schedule::Priority {
        let ranks = order_of(&at).priorities;
        let mut ranked: Vec<(usize, u8)> = at.into_iter().zip(ranks).collect();
        let is_source = |node: usize| line.nodes[node].descriptor.role == Role::Source;
        ranked.sort_by_key(|(node, priority)| (!is_source(*node), *priority));
        at = ranked.into_iter().map(|(node, _)| node).collect();
    }
    let order = order_of(&at);
    PlannedThread {
        name: name.to_owned(),
        core,
        wait: strategy.to_string(),
        ladder: strategy.ladder(),
        placement: if at.len() == 1 { "dedicated" } else { "fused" },
        schedule: sharing.schedule().name(),
        batch: sharing.batch(),
        nodes: named(&at).into_iter().map(str::to_owned).collect(),
        at,
        strategy,
        order,
    }
}

impl Line {
    /// Places the nodes on this machine: as many threads as there are cores for, nodes fused
    /// where there are fewer.
    ///
    /// # Errors
    /// A thread that asks for a core which is not there or not allowed.
    pub fn plan(&self, host: &Host) -> Result<Plan, Problems> {
        let cores = host.allowed.as_slice();
        let usable = usable_threads(host);
        let mut problems = Problems::default();
        for wished in &self.placement.threads {
            if let Some(core) = wished.core
                && !cores.contains(&core)
            {
                let allowed: Vec<String> = cores.iter().map(usize::to_string).collect();
                let what = match host.total_cores {
                    Some(total) if core >= total => {
                        format!(
                            "thread \"{}\" asks for core {core}, which is not there",
                            wished.name
                        )
                    }
                    _ => format!(
                        "thread \"{}\" asks for core {core}, which this process may not use",
                        wished.name
                    ),
                };
                let help = format!(
                    "cores it may use: {}",
                    list(allowed.iter().map(String::as_str))
                );
                problems.push(Problem::new(what, help).at(wished.place.as_ref()));
            }
        }
        let groups = self.groups(usable);
        problems.into_result(())?;

        let threads_wanted = groups.len();
        let mut notes = Vec::new();
        let cramped = Cramped::of(threads_wanted, usable, host);
        let strategy = self.strategy(cramped, usable, &mut notes);
        let taken: Vec<usize> = self
            .placement
            .threads
            .iter()
            .filter_map(|thread| thread.core)
            .collect();
        let mut free = cores.iter().copied().filter(|core| !taken.contains(core));
        // One core is everybody's: all may be pinned to it.
        let only = cores.first().copied().filter(|_| cores.len() == 1);
        let pins = self.placement.pin != Pin::Off;
        let is_shared = threads_wanted > cores.len();
        notes.extend(self.fused(&groups, usable, host));
        let mut threads = Vec::with_capacity(threads_wanted);
        for group in groups {
            let core = group.core.or_else(|| free.next()).or(only);
            let core = core.filter(|_| pins);
            let mut wait = group.wait.unwrap_or(strategy);
            if let Some(cramped) = cramped.filter(|_| wait.keeps_core()) {
                wait = strategy;
                notes.push(format!(
                    "thread \"{}\" was asked to spin, but {cramped}: it waits by {wait}",
                    group.name
                ));
            }
            let mut thread = thread(self, &group.name, core, wait, group.sharing, group.nodes);
            if is_shared {
                thread.placement = match thread.nodes.len() {
                    1 => "shared",
                    _ => "fused, shared",
                };
            }
            threads.push(thread);
        }
        notes.extend(sharing::unowed(self, &threads));
        let mut plan = Plan::with(self, threads);
        plan.notes = notes;
        plan.foresee(self);
        Ok(plan)
    }

    /// Why nodes are fused, if the plan fused any.
    fn fused(&self, groups: &[Group], usable: usize, host: &Host) -> Option<String> {
        let by_hand = self.placement.threads.len();
        let planned = &groups[by_hand.min(groups.len())..];
        let nodes: usize = planned.iter().map(|group| group.nodes.len()).sum();
        if nodes == planned.len() {
            return None;
        }
        let why = match (self.placement.threads_max, host.quota_cores) {
            (Some(most), _) if most < usable => format!("the limit is {most}"),
            (_, Some(quota)) if usable < host.allowed.len() => {
                format!("the cgroup grants the time of {quota} cores")
            }
            _ => format!(
                "this process may use {usable} of {} cores",
                host.total_cores.unwrap_or(host.allowed.len())
            ),
        };
        let others = match by_hand {
            0 => "",
            _ => "other ",
        };
        Some(format!(
            "{nodes} {others}nodes on {} thread{}: {why}, so neighbours are fused",
            planned.len(),
            if planned.len() == 1 { "" } else { "s" },
        ))
    }

    /// What loops do when idle, unless they say so themselves.
    fn strategy(
        &self,
        cramped: Option<Cramped>,
        usable: usize,
        notes: &mut Vec<String>,
    ) -> Strategy {
        let wished = self.placement.wait;
        let Some(cramped) = cramped else {
            let alone = usable == 1 && wished.is_none();
            if alone {
                notes.push("one core for everything: the loop yields when idle".to_owned());
            }
            return wished.unwrap_or(if alone {
                Strategy::YIELD
            } else {
                Strategy::Spin
            });
        };
        if let Some(wait) = wished.filter(|wait| !wait.keeps_core()) {
            if matches!(cramped, Cramped::Cores { .. }) {
                notes.push(format!("{cramped}: each runs when another gives way"));
            }
            return wait;
        }
        let wait = cramped.wait();
        notes.push(format!(
            "{cramped}: loops {} instead of spinning",
            wait.name()
        ));
        wait
    }

    /// Which nodes share a thread: those placed by hand as they are, the others in topological
    /// order on what is left, so that most hops stay on one core and sources stand apart.
    fn groups(&self, usable: usize) -> Vec<Group> {
        let find = |name: &String| self.nodes.iter().position(|node| node.name == *name);
        let mut groups: Vec<Group> = Vec::new();
        for wished in &self.placement.threads {
            let mut nodes: Vec<usize> = wished.nodes.iter().filter_map(find).collect();
            nodes.sort_unstable();
            let name = wished.name.clone();
            groups.push(Group {
                name,
                core: wished.core,
                wait: wished.wait,
                sharing: wished.sharing.or(self.placement.sharing),
                nodes,
            });
        }
        let placed: Vec<usize> = groups
            .iter()
            .flat_map(|group| group.nodes.clone())
            .collect();
        let rest: Vec<usize> = (0..self.nodes.len())
            .filter(|at| !placed.contains(at))
            .collect();
        if rest.is_empty() {
            return groups;
        }
        let most = self.placement.threads_max.unwrap_or(HOPS_MAX).min(usable);
        let threads = most.saturating_sub(groups.len()).clamp(1, rest.len());
        let weight = |at: usize| {
            if self.nodes[at].descriptor.role == Role::Source {
                3
            } else {
                1
            }
        };
        for nodes in split(&rest, threads, weight) {
            let name = match nodes.as_slice() {
                [one] => self.nodes[*one].name.clone(),
                _ => format!("loop-{}", groups.len()),
            };
            groups.push(Group {
                name,
                core: None,
                wait: None,
                sharing: self.placement.sharing,
                nodes,
            });
        }
        groups
    }
}

/// Why threads of a line cannot all keep a core busy.
#[derive(Clone, Copy, Debug)]
enum Cramped {
    /// They outnumber the cores: one that spins keeps the others from running.
    Cores { threads: usize, usable: usize },
    /// They would use more time than the cgroup grants: the kernel then stops all of them for the
    /// rest of each period, which is up to 100 ms.
    Quota { threads: usize, quota_cores: f64 },
}

impl Cramped {
    fn of(threads: usize, usable: usize, host: &Host) -> Option<Cramped> {
        match host.quota_cores {
            Some(quota_cores) if quota_cores < threads as f64 => Some(Cramped::Quota {
                threads,
                quota_cores,
            }),
            _ if threads > usable => Some(Cramped::Cores { threads, usable }),
            _ => None,
        }
    }

    /// How loops wait then: by what takes no time that others need.
    fn wait(self) -> Strategy {
        match self {
            Cramped::Cores { .. } => Strategy::YIELD,
            Cramped::Quota { .. } => Strategy::PARK,
        }
    }
}

impl fmt::Display for Cramped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        match *self {
            Cramped::Cores { threads, usable } => {
                write!(f, "{threads} threads share {usable} core{}", plural(usable))
            }
            Cramped::Quota {
                threads,
                quota_cores,
            } => write!(
                f,
                "the cgroup grants the time of {quota_cores} cores to {threads} thread{}",
                plural(threads)
            ),
        }
    }
}

struct Group {
    name: String,
    core: Option<usize>,
    wait: Option<Strategy>,
    sharing: Sharing,
    nodes: Vec<usize>,
}

/// Cuts a sequence into `parts` runs of about the same weight, none empty.
fn split(items: &[usize], parts: usize, weight: impl Fn(usize) -> usize) -> Vec<Vec<usize>> {
    let total: usize = items.iter().map(|item| weight(*item)).sum();
    let mut runs: Vec<Vec<usize>> = vec![Vec::new()];
    let mut before = 0;
    for (at, item) in items.iter().enumerate() {
        let part = runs.len();
        let run_is_full = before * parts >= total * part;
        let must_cut = items.len() - at == parts - part;
        let last = runs.last().is_some_and(Vec::is_empty);
        if !last && part < parts && (run_is_full || must_cut) {
            runs.push(Vec::new());
        }
        if let Some(run) = runs.last_mut() {
            run.push(*item);
        }
        before += weight(*item);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn runs_are_about_even_and_never_empty() {
        let even = |_: usize| 1;
        assert_eq!(split(&[0, 1, 2, 3], 2, even), vec![vec![0, 1], vec![2, 3]]);
        assert_eq!(split(&[0, 1, 2], 3, even), vec![vec![0], vec![1], vec![2]]);
        assert_eq!(split(&[0, 1, 2], 1, even), vec![vec![0, 1, 2]]);
        // Two sources of weight 3 stand apart from five stages.
        let sources_first = |at: usize| if at < 2 { 3 } else { 1 };
        assert_eq!(
            split(&[0, 1, 2, 3, 4, 5, 6], 2, sources_first),
            vec![vec![0, 1], vec![2, 3, 4, 5, 6]]
        );
        for items in 1..12 {
            let all: Vec<usize> = (0..items).collect();
            for parts in 1..=items {
                let runs = split(&all, parts, sources_first);
                assert_eq!(runs.len(), parts, "{items} items in {parts}");
                assert!(runs.iter().all(|run| !run.is_empty()));
                assert_eq!(runs.concat(), all);
            }
        }
    }
}
