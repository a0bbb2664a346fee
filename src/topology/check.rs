//! Finds all that is wrong with a draft, and turns a right one into a line.

mod policies;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::base::limits::{
    HOPS_MAX, HOPS_PER_NODE_MAX, KINDS_PER_HOP_MAX, NODES_MAX, PORTS_MAX, REASONS_MAX,
};
use crate::budget::Budget;
use crate::frame::KindInfo;
use crate::overload::WhenFull;
use crate::stage::log::Notes;
use crate::stage::orders::PolicyCell;
use crate::stage::{OnPanic, Role};

use super::classes;
use super::draft::{Draft, DraftHop, DraftNode, HopPlaces, Placement};
use super::fan;
use super::hop::Hop;
use super::line::{Line, LineHop, LineNode};
use super::problem::{Place, Problem, Problems, all, closest, list};
use super::sharing;
use super::words::{depth_is_right, name_is_right, node_of};

impl Line {
    pub(crate) fn new(draft: Draft) -> Result<Line, Problems> {
        let Draft {
            name,
            nodes,
            hops,
            on_panic,
            placement,
            objective,
            drain_ns,
            problems,
            excused,
        } = draft;
        let mut check = Check {
            problems,
            nodes: Vec::new(),
            places: Vec::new(),
            hop_places: Vec::new(),
            order_places: Vec::new(),
            excused: excused.into_iter().collect(),
        };
        if let Err(help) = name_is_right(&name) {
            check.problem(None, format!("\"{name}\" is no name for a line"), help);
        }
        check.take_nodes(nodes);
        check.take_policies(on_panic);
        let hops = check.take_hops(hops);
        check.ports_and_inputs(&hops);
        let edges = check.with_orders(&hops);
        let order = check.order(&edges);
        check.threads(&placement);
        let sharing = sharing::wrong(&placement, &check.nodes);
        check.problems.0.extend(sharing);
        check.objective(objective.as_ref());
        let Check {
            mut problems,
            nodes,
            ..
        } = check;
        problems.sort();
        problems.into_result(())?;
        Ok(reorder(
            name, nodes, hops, &order, placement, objective, drain_ns,
        ))
    }
}

/// Puts the nodes in topological order, and the hops' indices with them.
fn reorder(
    name: String,
    nodes: Vec<LineNode>,
    mut hops: Vec<LineHop>,
    order: &[usize],
    placement: Placement,
    objective: Option<Budget>,
    drain_ns: u64,
) -> Line {
    let mut slots: Vec<Option<LineNode>> = nodes.into_iter().map(Some).collect();
    let nodes = order.iter().filter_map(|at| slots[*at].take()).collect();
    let mut now_at = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        now_at[*old] = new;
    }
    for hop in &mut hops {
        hop.from = now_at[hop.from];
        hop.to = now_at[hop.to];
        hop.after.iter_mut().for_each(|at| *at = now_at[*at]);
    }
    Line {
        name,
        nodes,
        hops,
        placement,
        objective,
        drain_ns,
        notes: Notes::Nothing,
        samples: None,
    }
}

struct Check {
    problems: Problems,
    nodes: Vec<LineNode>,
    places: Vec<Option<Place>>,
    /// The place of each hop that was taken.
    hop_places: Vec<Option<Place>>,
    /// That of the orders among its ring's consumers.
    order_places: Vec<Option<Place>>,
    /// Nodes that a problem already tells of, so that what follows from it is not told again.
    excused: BTreeSet<String>,
}

impl Check {
    fn problem(&mut self, place: Option<&Place>, what: impl Into<String>, help: impl Into<String>) {
        let problem = Problem::new(what, help).at(place);
        // A hop with several producers is several hops at one place.
        if place.is_none() || !self.problems.0.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.name == name)
    }

    fn take_nodes(&mut self, nodes: Vec<DraftNode>) {
        if nodes.is_empty() && self.problems.is_empty() {
            self.problem(
                None,
                "the line has no nodes",
                "add a [[source]], a [[stage]] and a [[sink]]",
            );
        }
        if nodes.len() > NODES_MAX {
            let what = format!("{} nodes are more than a line may have", nodes.len());
            self.problem(None, what, format!("split it: at most {NODES_MAX}"));
        }
        for node in nodes {
            let place = node.place.clone();
            if let Err(help) = name_is_right(&node.name) {
                self.problem(
                    place.as_ref(),
                    format!("\"{}\" is no name for a node", node.name),
                    help,
                );
                self.excused.insert(node.name.clone());
            }
            if let Some(earlier) = self.find(&node.name) {
                let help = match &self.places[earlier] {
                    Some(at) => format!("give one of them another name; the first is at {at}"),
                    None => "give one of them another name".to_owned(),
                };
                let what = format!("two nodes are named \"{}\"", node.name);
                self.problem(place.as_ref(), what, help);
                continue;
            }
            let descriptor = node.part.descriptor();
            if descriptor.ports.len() > PORTS_MAX || descriptor.reasons.len() > REASONS_MAX {
                let what = format!("\"{}\" has too many ports or reasons", node.name);
                let help = format!("at most {PORTS_MAX} ports and {REASONS_MAX} reasons");
                self.problem(place.as_ref(), what, help);
            }
            self.nodes.push(LineNode {
                name: node.name,
                kind: node.kind,
                part: node.part,
                descriptor,
                on_panic: OnPanic::Stop,
            });
            self.places.push(place);
        }
    }

    fn take_hops(&mut self, hops: Vec<DraftHop>) -> Vec<LineHop> {
        let mut taken: Vec<LineHop> = Vec::new();
        let mut taken_places: Vec<HopPlaces> = Vec::new();
        self.problems.0.extend(fan::wrong(&hops));
        self.problems.0.extend(fan::wrong_spread(&hops));
        for draft in hops {
            let places = &draft.places;
            let place = places.hop.as_ref();
            let depth_place = places.depth.as_ref().or(place);
            let name = draft.name();
            if let Some(error) = &draft.hop.budget_error {
                self.problem(place, format!("hop {name}: {error}"), "");
            }
            if let Err((what, help)) = depth_is_right(draft.hop.depth) {
                self.problem(depth_place, what, help);
            }
            if let Some(problem) = classes::wrong_policy(&draft)
                && !self.problems.0.contains(&problem)
            {
                self.problems.push(problem);
            }
            let from = self.producer(&draft.from, places.from.as_ref().or(place));
            let to = self.consumer(&draft.to, places.to.as_ref().or(place));
            let (Some((from, port)), Some(to)) = (from, to) else {
                self.excuse(node_of(&draft.from));
                self.excuse(&draft.to);
                continue;
            };
            let class = |hop: &Hop| hop.class.as_ref().map(|class| class.name.clone());
            if taken.iter().any(|hop| {
                (hop.from, hop.port, hop.to) == (from, port, to)
                    && class(&hop.hop) == class(&draft.hop)
            }) {
                self.problem(
                    place,
                    format!("the hop {name} is there twice"),
                    "remove one of them",
                );
                continue;
            }
            let kinds = self.nodes[from].descriptor.ports[port].kinds;
            self.kinds(&name, kinds, to, place);
            // A ring has one depth, however many read it.
            let shares = |hop: &LineHop| draft.ring.is_some() && hop.ring == draft.ring;
            if !taken.iter().any(shares) {
                self.message_fits(&name, from, &draft.hop, places);
            }
            self.hop_places.push(place.cloned());
            self.order_places
                .push(places.after.as_ref().or(place).cloned());
            let orders = draft.hop.after.iter();
            let others = orders.filter(|(consumer, _)| *consumer == draft.to);
            let others = others.flat_map(|(_, others)| others);
            let after = others.filter_map(|other| self.find(other));
            let after = after.filter(|other| *other != to).collect();
            taken_places.push(draft.places.clone());
            taken.push(LineHop {
                name,
                from,
                port,
                to,
                to_name: draft.to,
                policy: Arc::new(PolicyCell::new(draft.hop.policy)),
                hop: draft.hop,
                kinds,
                only: None,
                spill_of: 0,
                ring: draft.ring,
                together: draft.together,
                after,
                desk: Arc::default(),
            });
        }
        if taken.len() > HOPS_MAX {
            let what = format!("{} hops are more than a line may have", taken.len());
            self.problem(None, what, format!("split it: at most {HOPS_MAX}"));
        }
        let problems = classes::divide(&mut taken, &taken_places);
        self.problems.0.extend(problems);
        self.problems
            .0
            .extend(fan::wrong_keys(&taken, &taken_places));
        taken
    }

    /// A hop that could not be taken does not make its ends look forgotten: neither the nodes that
    /// it names nor those that it seems to mean.
    fn excuse(&mut self, name: &str) {
        let names = self.nodes.iter().map(|node| node.name.as_str());
        if let Some(meant) = closest(name, names) {
            self.excused.insert(meant.to_owned());
        }
    }

    /// The node and port that `from` names.
    fn producer(&mut self, from: &str, place: Option<&Place>) -> Option<(usize, usize)> {
        let (name, port) = match from.split_once('.') {
            Some((name, port)) => (name, Some(port)),
            None => (from, None),
        };
        let Some(at) = self.find(name) else {
            self.unknown_node("from", name, place);
            return None;
        };
        let descriptor = self.nodes[at].descriptor;
        if descriptor.ports.is_empty() {
            let what = format!(
                "\"{name}\" is a {} and has no output",
                descriptor.role.name()
            );
            self.problem(
                place,
                what,
                "a hop must come from a source or a stage with a port",
            );
            return None;
        }
        let Some(port) = port else {
            return Some((at, 0));
        };
        let found = descriptor
            .ports
            .iter()
            .position(|candidate| candidate.name == port);
        if found.is_none() {
            let ports = || descriptor.ports.iter().map(|port| port.name);
            let what = format!("\"{name}\" has no port named \"{port}\"");
            let help = match closest(port, ports()) {
                Some(meant) => format!("did you mean \"{name}.{meant}\"?"),
                None => all("ports", ports()),
            };
            self.problem(place, what, help);
        }
        found.map(|port| (at, port))
    }

    fn consumer(&mut self, to: &str, place: Option<&Place>) -> Option<usize> {
        let Some(at) = self.find(to) else {
            self.unknown_node("to", to, place);
            return None;
        };
        if self.nodes[at].descriptor.role == Role::Source {
            let what = format!("\"{to}\" is a source and takes no frames");
            self.problem(place, what, "a hop must lead to a stage or a sink");
            return None;
        }
        Some(at)
    }

    fn unknown_node(&mut self, key: &str, name: &str, place: Option<&Place>) {
        if self.excused.contains(name) {
            return;
        }
        let names = || self.nodes.iter().map(|node| node.name.as_str());
        let help = match closest(name, names()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => all("nodes", names()),
        };
        self.problem(place, format!("{key} = \"{name}\" names no node"), help);
    }

    fn kinds(&mut self, name: &str, kinds: &[KindInfo], to: usize, place: Option<&Place>) {
        let takes = self.nodes[to].descriptor.takes;
        if kinds.len() >= KINDS_PER_HOP_MAX {
            let what = format!("{name} carries {} kinds", kinds.len());
            self.problem(
                place,
                what,
                format!("at most {} fit on a hop", KINDS_PER_HOP_MAX - 1),
            );
        }
        if takes.is_empty() {
            return;
        }
        let stranger = kinds.iter().find(|kind| !takes.contains(kind));
        let any = kinds.is_empty();
        if stranger.is_none() && !any {
            return;
        }
        let carried = stranger.map_or("frames of any kind", |kind| kind.name);
        let what = format!(
            "{name} carries {carried}, which \"{}\" does not take",
            self.nodes[to].name
        );
        let help = format!(
            "\"{}\" takes {}",
            self.nodes[to].name,
            list(takes.iter().map(|kind| kind.name))
        );
        self.problem(place, what, help);
    }

    /// A message of many fragments must fit on a hop that blocks, or it would block for ever.
    fn message_fits(&mut self, name: &str, from: usize, hop: &Hop, places: &HopPlaces) {
        let frames = self.nodes[from].descriptor.max_emit;
        if hop.policy.when_full == WhenFull::Block && frames > hop.depth {
            let what = format!(
                "{name} has a depth of {}, but one message of \"{}\" may have {frames} frames",
                hop.depth, self.nodes[from].name
            );
            let depth = frames.next_power_of_two();
            match &places.changed_by {
                Some(change) => {
                    let help = format!(
                        "depth={depth} or more fits, or when_full=drop_newest to shed messages that do not fit"
                    );
                    self.problem(None, format!("{change}: {what}"), help);
                }
                None => {
                    let help = format!(
                        "write depth = {depth} or more, or when_full = \"drop_newest\" to shed messages that do not fit"
                    );
                    self.problem(places.depth.as_ref().or(places.hop.as_ref()), what, help);
                }
            }
        }
    }

    fn ports_and_inputs(&mut self, hops: &[LineHop]) {
        for at in 0..self.nodes.len() {
            let descriptor = self.nodes[at].descriptor;
            let name = self.nodes[at].name.clone();
            let place = self.places[at].clone();
            let inputs = hops.iter().filter(|hop| hop.to == at).count();
            let outputs = hops.iter().filter(|hop| hop.from == at).count();
            if inputs > HOPS_PER_NODE_MAX || outputs > HOPS_PER_NODE_MAX {
                let what = format!("\"{name}\" has {inputs} inputs and {outputs} outputs");
                self.problem(
                    place.as_ref(),
                    what,
                    format!("at most {HOPS_PER_NODE_MAX} of each"),
                );
            }
            if self.excused.contains(&name) {
                continue;
            }
            if descriptor.role != Role::Source && inputs == 0 {
                let what = format!("nothing leads to \"{name}\": it would never get a frame");
                self.problem(
                    place.as_ref(),
                    what,
                    format!("add a [[hop]] with to = \"{name}\", or remove it"),
                );
            }
            for (port, described) in descriptor.ports.iter().enumerate() {
                let connected = hops.iter().any(|hop| hop.from == at && hop.port == port);
                if !connected && !described.optional {
                    let from = if port == 0 {
                        name.clone()
                    } else {
                        format!("{name}.{}", described.name)
                    };
                    let what = format!(
                        "the output \"{}\" of \"{name}\" leads nowhere",
                        described.name
                    );
                    self.problem(
                        place.as_ref(),
                        what,
                        format!("add a [[hop]] with from = \"{from}\""),
                    );
                }
            }
        }
    }

    /// The hops, and the orders among the consumers of a ring as if they were hops: nobody may come
    /// before one that it waits for.
    fn with_orders(&mut self, hops: &[LineHop]) -> Vec<LineHop> {
        let mut all = hops.to_vec();
        for (at, hop) in hops.iter().enumerate() {
            for from in hop.after.iter().copied() {
                all.push(LineHop {
                    from,
                    ..hop.clone()
                });
                self.hop_places.push(self.order_places[at].clone());
            }
        }
        all
    }

    /// A topological order (Kahn's), sources first and otherwise as given; names the cycle if
    /// there is one.
    fn order(&mut self, hops: &[LineHop]) -> Vec<usize> {
        let count = self.nodes.len();
        let mut waiting: Vec<usize> = (0..count)
            .map(|at| hops.iter().filter(|hop| hop.to == at).count())
            .collect();
        let mut order = Vec::with_capacity(count);
        let mut placed = vec![false; count];
        while let Some(at) = (0..count).find(|at| !placed[*at] && waiting[*at] == 0) {
            placed[at] = true;
            order.push(at);
            for hop in hops.iter().filter(|hop| hop.from == at) {
                waiting[hop.to] -= 1;
            }
        }
        if order.len() < count {
            let (cycle, hop) = self.cycle(hops, &placed);
            let place = hop.and_then(|hop| self.hop_places[hop].clone());
            self.problem(
                place.as_ref(),
                format!("the line has a cycle: {cycle}"),
                match hops.iter().all(|hop| hop.after.is_empty()) {
                    true => "a line is a DAG: remove one of these hops",
                    false => {
                        "a line is a DAG: remove one of these hops, or of the orders in \"after\""
                    }
                },
            );
        }
        order
    }

    /// Walks backwards from a node that is stuck until one comes twice: that is a cycle. Gives its
    /// nodes, and the hop that closes it as the hops are given: the last one of them.
    fn cycle(&self, hops: &[LineHop], placed: &[bool]) -> (String, Option<usize>) {
        let mut path: Vec<usize> = placed.iter().position(|done| !done).into_iter().collect();
        while let Some(last) = path.last().copied() {
            let back = hops.iter().find(|hop| hop.to == last && !placed[hop.from]);
            let Some(from) = back.map(|hop| hop.from) else {
                break;
            };
            if let Some(seen) = path.iter().position(|at| *at == from) {
                path.drain(..seen);
                path.push(from);
                break;
            }
            path.push(from);
        }
        let names: Vec<&str> = path
            .iter()
            .rev()
            .map(|at| self.nodes[*at].name.as_str())
            .collect();
        let in_cycle = |hop: &LineHop| {
            path.windows(2)
                .any(|pair| hop.to == pair[0] && hop.from == pair[1])
        };
        (names.join(" -> "), hops.iter().rposition(in_cycle))
    }

    /// An envelope carries a message's age in 32 bits of nanoseconds; a limit beyond that could
    /// never be seen to break.
    fn objective(&mut self, objective: Option<&Budget>) {
        let limits = objective.map(Budget::limits).unwrap_or_default();
        for limit in limits
            .iter()
            .filter(|limit| limit.limit_ns >= u64::from(u32::MAX))
        {
            let what = format!(
                "an objective of {} = {} is longer than a message's age can be carried",
                limit.quantile.name(),
                crate::base::units::Span(limit.limit_ns)
            );
            self.problem(None, what, "write at most \"4.2s\"");
        }
    }

    fn threads(&mut self, placement: &Placement) {
        let mut names = BTreeSet::new();
        let mut cores: BTreeMap<usize, &str> = BTreeMap::new();
        let mut owner: BTreeMap<&str, &str> = BTreeMap::new();
        for thread in &placement.threads {
            let place = thread.place.as_ref();
            if !names.insert(thread.name.as_str()) {
                self.problem(
                    place,
                    format!("two threads are named \"{}\"", thread.name),
                    "rename one of them",
                );
            }
            if let Some(core) = thread.core
                && let Some(other) = cores.insert(core, &thread.name)
            {
                let what = format!(
                    "threads \"{other}\" and \"{}\" ask for the same core {core}",
                    thread.name
                );
                self.problem(
                    place,
                    what,
                    "give each thread a core of its own, or leave core out",
                );
            }
            if thread.nodes.is_empty() {
                self.problem(
                    place,
                    format!("thread \"{}\" runs nothing", thread.name),
                    "write run = [\"…\"]",
                );
            }
            for node in &thread.nodes {
                if self.find(node).is_none() {
                    self.unknown_node("run", node, place);
                }
                if let Some(other) = owner.insert(node, &thread.name) {
                    let what = format!(
                        "\"{node}\" is on thread \"{other}\" and on \"{}\"",
                        thread.name
                    );
                    self.problem(place, what, "a node runs on one thread");
                }
            }
        }
    }
}
