//! `line.toml`: nodes, hops and threads.
//!
//! Invariant: knows no kind of node; their settings are kept for the registry.

use crate::base::limits::{
    DRAIN_DEADLINE_NS, IDLE_SPAN_MAX_NS, NODES_MAX, PARK_MAX_NS, PARK_MIN_NS, RECORD_BYTES_DEFAULT,
    RECORD_BYTES_MIN,
};
use crate::base::units::Span;
use crate::host::{MemoryWish, PINNABLE_CORES, Pin, Wish};
use crate::overload::Slow;
use crate::reactor::Schedule;
use crate::stage::{OnPanic, Role};
use crate::topology::Class;
use crate::topology::draft::{DraftHop, HopPlaces};
use crate::topology::words::name_is_right;
use crate::topology::{
    Hop, Params, Place, Placement, Problem, Problems, Record, Sharing, ThreadSpec, Value,
};
use crate::wait::{Rung, Strategy};

use super::document::{Lists, Table};
use super::fan;
use super::life;
use super::policy;
use super::sharing;

/// The tables of `line.toml`.
const TABLES: &[&str] = &["line", "memory", "source", "stage", "sink", "hop", "thread"];

/// What `after` of a hop looks like.
const AFTER_EXAMPLE: &str = "after = { join = [\"book\", \"log\"] }";

/// What `line.toml` says.
#[derive(Clone, Debug)]
pub(super) struct LineSpec {
    pub(super) name: String,
    pub(super) placement: Placement,
    pub(super) drain_ns: u64,
    pub(super) nodes: Vec<NodeSpec>,
    pub(super) hops: Vec<DraftHop>,
    /// Nodes that a problem already tells of.
    pub(super) excused: Vec<String>,
    /// Where the line's `guard` stands, if it has one.
    guard_place: Option<Place>,
    /// Whether some `schedule` cannot be read: nothing is said of what depends on it.
    schedule_misread: bool,
}

/// A node as given.
#[derive(Clone, Debug)]
pub(super) struct NodeSpec {
    pub(super) role: Role,
    pub(super) name: String,
    pub(super) kind: String,
    /// What a panic of it comes to.
    pub(super) on_panic: OnPanic,
    /// All of its settings; `name`, `kind` and what belongs to `on_panic` are known already.
    pub(super) params: Params,
}

/// A value, or `None` after its problem was noted.
pub(super) fn noted<T>(result: Result<T, Problem>, problems: &mut Problems) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

impl LineSpec {
    /// Reads the document; `name` is the line's unless it names itself.
    pub(super) fn read(mut document: Table, name: &str, problems: &mut Problems) -> LineSpec {
        let mut line = LineSpec {
            name: name.to_owned(),
            placement: Placement::default(),
            drain_ns: DRAIN_DEADLINE_NS,
            nodes: Vec::new(),
            hops: Vec::new(),
            excused: Vec::new(),
            guard_place: None,
            schedule_misread: false,
        };
        if let Some(table) = document.take_table("line", problems) {
            line.head(table.into_params(&[], problems), problems);
        }
        if let Some(table) = document.take_table("memory", problems) {
            line.memory(table.into_params(&[], problems), problems);
        }
        for role in [Role::Source, Role::Stage, Role::Sink] {
            for table in document.take_tables(role.name(), problems) {
                line.node(role, table.into_params(&[], problems), problems);
            }
        }
        for mut table in document.take_tables("hop", problems) {
            let after = table.take_lists("after", AFTER_EXAMPLE, problems);
            let slow = fan::take_slow(&mut table, problems);
            let classes = table.take_tables("class", problems);
            let classes = classes
                .into_iter()
                .map(|one| one.into_params(&[], problems));
            let classes = classes.collect();
            let params = table.into_params(&[], problems);
            line.hop(params, after, slow, classes, problems);
        }
        for table in document.take_tables("thread", problems) {
            line.thread(table.into_params(&[], problems), problems);
        }
        line.what_schedules_use(problems);
        let lost = document.unknown(TABLES, problems);
        line.excused.extend(lost);
        line
    }

    /// The sources, in the file's order.
    pub(super) fn sources(&self) -> impl Iterator<Item = &NodeSpec> {
        self.nodes.iter().filter(|node| node.role == Role::Source)
    }

    /// The sinks, in the file's order.
    pub(super) fn sinks(&self) -> impl Iterator<Item = &NodeSpec> {
        self.nodes.iter().filter(|node| node.role == Role::Sink)
    }

    fn head(&mut self, mut params: Params, problems: &mut Problems) {
        if let Some(Some(name)) = noted(params.text("name"), problems) {
            match name_is_right(&name) {
                Ok(()) => self.name = name,
                Err(help) => {
                    let what = format!("\"{name}\" is no name for a line");
                    problems.push(params.problem("name", what, help));
                }
            }
        }
        let pins = [Pin::Require, Pin::Prefer, Pin::Off].map(Pin::name);
        let pin = params.word("pin", &pins, |word| word.parse().ok());
        if let Some(Some(pin)) = noted(pin, problems) {
            self.placement.pin = pin;
        }
        self.placement.wait = noted(wait(&mut params), problems).flatten();
        self.placement.sharing = sharing::read(&mut params, problems);
        let threads = noted(params.count("threads", 0, 1..=NODES_MAX as u64), problems);
        self.placement.threads_max = threads
            .filter(|count| *count > 0)
            .map(|count| count as usize);
        match noted(params.span_ns("drain"), problems).flatten() {
            Some(0) => {
                let what = "\"drain\" is zero, and so would discard what is on the hops";
                problems.push(params.problem("drain", what, "write a span, such as \"2s\""));
            }
            Some(drain_ns) => self.drain_ns = drain_ns,
            None => {}
        }
        problems.0.extend(params.unknown().0);
        let guard = self.placement.sharing.guard_turns;
        self.guard_place = guard.and_then(|_| params.place_of("guard").cloned());
        self.schedule_misread = sharing::is_misread(&params, self.placement.sharing);
    }

    /// What is said for schedules of which no thread has one: the line's guard, told here, and
    /// priorities, which are told with the line.
    fn what_schedules_use(&mut self, problems: &mut Problems) {
        if self.schedule_misread {
            self.placement.priorities.clear();
            return;
        }
        let uses = |sharing: Sharing| sharing.schedule() != Schedule::RoundRobin;
        let mut own = self.placement.threads.iter().map(|thread| thread.sharing);
        let used =
            uses(self.placement.sharing) || own.any(|own| own.guard_turns.is_none() && uses(own));
        if self.guard_place.is_some() && !used {
            problems.push(sharing::stray_guard(self.guard_place.as_ref()));
        }
    }

    fn memory(&mut self, mut params: Params, problems: &mut Problems) {
        let words = Wish::ALL.map(Wish::name);
        let mut wish = |key| {
            let word = params.word(key, &words, |word| word.parse().ok());
            noted(word, problems).flatten().unwrap_or_default()
        };
        self.placement.memory = MemoryWish {
            prefault: wish("prefault"),
            lock: wish("lock"),
            huge_pages: wish("huge_pages"),
        };
        problems.0.extend(params.unknown().0);
    }

    fn node(&mut self, role: Role, mut params: Params, problems: &mut Problems) {
        let name = noted(
            params.need_text("name", &format!("my-{}", role.name())),
            problems,
        );
        let kind = noted(params.need_text("kind", "…"), problems);
        if role != Role::Source {
            let priority = sharing::priority(&mut params, name.as_deref(), problems);
            self.placement.priorities.extend(priority);
        }
        let on_panic = noted(life::on_panic(role, &mut params), problems).unwrap_or_default();
        match (name, kind) {
            (Some(name), Some(kind)) => self.nodes.push(NodeSpec {
                role,
                name,
                kind,
                on_panic,
                params,
            }),
            (name, _) => {
                problems.0.extend(params.misspelt().0);
                self.excused.extend(name);
            }
        }
    }

    fn hop(
        &mut self,
        mut params: Params,
        after: Option<Lists>,
        slow: Vec<(String, Slow)>,
        classes: Vec<Params>,
        problems: &mut Problems,
    ) {
        let from = noted(params.texts("from"), problems);
        if from.as_ref().is_some_and(Vec::is_empty) {
            let what = "a hop comes from at least one node";
            let help = "write from = \"btc\", or from = [\"btc\", \"eth\"] for a hop each";
            problems.push(params.problem("from", what, help));
        }
        let to = noted(to(&mut params), problems);
        // Taken out before; asked for so that the key is known.
        let _ = params.texts("after");
        let _ = params.texts("slow");
        let mut hop = Hop {
            slow,
            ..Hop::default()
        };
        let before = problems.0.len();
        fan::read(&mut params, &mut hop, problems);
        depth(&mut params, &mut hop, problems);
        policy::read(&mut params, &mut hop, problems);
        record(&mut params, &mut hop, problems);
        problems.0.extend(params.unknown().0);

        let (Some(from), Some(to)) = (from.filter(|from| !from.is_empty()), to) else {
            // The end that is not known may be any node's only hop.
            let names = self.nodes.iter().map(|node| node.name.clone());
            self.excused.extend(names);
            return;
        };
        let after_place = after.as_ref().map(|after| after.place.clone());
        hop.after = after.map(|after| after.lists).unwrap_or_default();
        let places = HopPlaces {
            hop: params.place().cloned(),
            from: params.place_of("from").cloned(),
            to: params.place_of("to").cloned(),
            depth: params.place_of("depth").cloned(),
            after: after_place,
            overflow_to: params.place_of("overflow_to").cloned(),
            overflow_file: params.place_of("overflow_file").cloned(),
            changed_by: None,
            policy_by: None,
        };
        let mut hops = Vec::new();
        for mut params in classes {
            let mut hop = hop.clone();
            class(&mut params, &mut hop, problems);
            let mut places = places.clone();
            places.hop = params.place().cloned();
            places.depth = params.place_of("depth").cloned().or(places.depth);
            let file = params.place_of("overflow_file").cloned();
            places.overflow_file = file.or(places.overflow_file);
            hops.push((hop, places));
        }
        if hops.is_empty() {
            hops.push((hop, places));
        }
        if problems.0.len() == before {
            let hops = hops.iter().map(|(hop, _)| hop);
            policy::without_effect(&params, hops, problems);
        }
        for from in from {
            for (hop, places) in &hops {
                let hops = crate::topology::fan::spread(&from, &to, hop, places, self.hops.len());
                self.hops.extend(hops);
            }
        }
    }

    fn thread(&mut self, mut params: Params, problems: &mut Problems) {
        let name = noted(params.need_text("name", "hot"), problems);
        // A core that is not there, but could be somewhere, is the plan's to refuse.
        let none = u64::MAX;
        let core = noted(
            params.count("core", none, 0..=PINNABLE_CORES as u64 - 1),
            problems,
        );
        let wait = noted(wait(&mut params), problems).flatten();
        let sharing = sharing::read(&mut params, problems);
        let is_guarded = sharing.or(self.placement.sharing).schedule() != Schedule::RoundRobin;
        self.schedule_misread |= sharing::is_misread(&params, sharing);
        if sharing.guard_turns.is_some() && !is_guarded && !self.schedule_misread {
            problems.push(sharing::stray_guard(params.place_of("guard")));
        }
        let nodes = noted(params.texts("run"), problems);
        problems.0.extend(params.unknown().0);
        if let (Some(name), Some(nodes)) = (name, nodes) {
            self.placement.threads.push(ThreadSpec {
                name,
                core: core.filter(|core| *core != none).map(|core| core as usize),
                wait,
                sharing,
                nodes,
                place: params.place().cloned(),
            });
        }
    }
}

/// The depth of a hop or of one of its classes.
fn depth(params: &mut Params, hop: &mut Hop, problems: &mut Problems) {
    let bounds = 0..=i64::MAX as u64;
    let depth = params.count("depth", hop.depth as u64, bounds);
    if let Some(depth) = noted(depth, problems) {
        hop.depth = depth as usize;
    }
}

/// The file that a hop is recorded to, and its bound.
fn record(params: &mut Params, hop: &mut Hop, problems: &mut Problems) {
    let path = noted(params.text("record"), problems).flatten();
    let bound = params.count(
        "record_max",
        RECORD_BYTES_DEFAULT,
        RECORD_BYTES_MIN..=i64::MAX as u64,
    );
    let bound = noted(bound, problems);
    match (path, bound) {
        (Some(path), Some(bytes_max)) => {
            hop.record = Some(Record {
                path: path.into(),
                bytes_max,
            });
        }
        (None, _) if params.has("record_max") => {
            let what = "\"record_max\" has no effect without record";
            let help = "write record = \"FILE\" beside it, or remove it";
            problems.push(params.problem("record_max", what, help));
        }
        _ => {}
    }
}

/// A class of a hop: what it does not say is as the hop has it.
fn class(params: &mut Params, hop: &mut Hop, problems: &mut Problems) {
    let kinds = match params.has("kinds") {
        true => noted(params.texts("kinds"), problems),
        // The last one may name none.
        false => {
            let _ = params.text("kinds");
            Some(Vec::new())
        }
    };
    let kinds = kinds.unwrap_or_default();
    let name = noted(params.text("name"), problems).flatten();
    let named_by = kinds.first().map_or("rest", String::as_str);
    let name = name.unwrap_or_else(|| named_by.to_owned());
    let before = problems.0.len();
    depth(params, hop, problems);
    policy::read(params, hop, problems);
    if problems.0.len() == before {
        policy::without_effect(params, core::iter::once(&*hop), problems);
    }
    if !params.has("overflow_to") && !hop.policy.spills() {
        // It is for those classes that overflow.
        hop.overflow_to = None;
    }
    let is_file = params.has("overflow_file");
    if !is_file && (!hop.policy.spills() || params.has("overflow_to")) {
        hop.overflow_file = None;
    }
    if is_file && !params.has("overflow_to") {
        // The class says it otherwise than its hop.
        hop.overflow_to = None;
    }
    problems.0.extend(params.unknown().0);
    hop.class = Some(Class { name, kinds });
}

/// The consumers of a hop: one, or several that share its ring.
fn to(params: &mut Params) -> Result<Vec<String>, Problem> {
    if !matches!(params.peek("to"), Some(Value::List(_))) {
        return params.need_text("to", "book").map(|to| vec![to]);
    }
    let to = params.texts("to")?;
    if to.is_empty() {
        let help = "write to = \"book\", or to = [\"book\", \"log\"] for one ring that both read";
        return Err(params.problem("to", "a hop leads to at least one node", help));
    }
    Ok(to)
}

/// The setting `wait` of a line or a thread, with the steps of its ladder.
fn wait(params: &mut Params) -> Result<Option<Strategy>, Problem> {
    let words = [Strategy::Spin, Strategy::YIELD, Strategy::PARK].map(Strategy::name);
    let wait = params.word("wait", &words, |word| word.parse().ok());
    let steps = [
        "spin_turns",
        "spin_for",
        "yield_turns",
        "yield_for",
        "park_max",
    ];
    let given = steps.map(|key| params.has(key));
    if wait.is_err() {
        // Looked at, or they would be called unknown.
        steps.iter().for_each(|key| drop(params.text(key)));
    }
    let wait = wait?;
    let (wait, used) = match wait {
        Some(Strategy::Yield { spins }) => {
            let spins = rung(params, "spin_turns", "spin_for", spins)?;
            (Some(Strategy::Yield { spins }), 2)
        }
        Some(Strategy::Park {
            spins,
            yields,
            max_park_ns,
        }) => {
            // All are looked at before one of them fails, or the others would be called unknown.
            let spins = rung(params, "spin_turns", "spin_for", spins);
            let yields = rung(params, "yield_turns", "yield_for", yields);
            let park_ns = park_ns(params);
            let park = Strategy::Park {
                spins: spins?,
                yields: yields?,
                max_park_ns: park_ns?.unwrap_or(max_park_ns),
            };
            (Some(park), steps.len())
        }
        other => (other, 0),
    };
    for (at, key) in steps.into_iter().enumerate().skip(used) {
        // What the parser knows, even where it has no effect.
        let _ = params.text(key);
        if given[at] {
            let what = match wait {
                Some(wait) => format!("\"{key}\" has no effect where wait = \"{wait}\""),
                None => format!("\"{key}\" has no effect without a wait beside it"),
            };
            let help = match key {
                "spin_turns" | "spin_for" => {
                    "write wait = \"yield\" or wait = \"park\", or remove it"
                }
                _ => "write wait = \"park\", or remove it",
            };
            return Err(params.problem(key, what, help));
        }
    }
    Ok(wait)
}

/// A step of a ladder, in turns or in time but not in both; as the preset has it if neither is given.
fn rung(
    params: &mut Params,
    turns: &'static str,
    span: &'static str,
    preset: Rung,
) -> Result<Rung, Problem> {
    let both = params.has(turns) && params.has(span);
    // Both are read, or the other would be called unknown.
    let count = params.count(turns, 0, 0..=u64::from(u32::MAX));
    let span_ns = params.span_ns(span);
    let given = params.has(turns);
    let (count, span_ns) = (count?, span_ns?);
    if both {
        let what = format!("\"{span}\" and \"{turns}\" bound the same step");
        let help = format!("write {span} for a time or {turns} for a number of turns, not both");
        return Err(params.problem(span, what, help));
    }
    match span_ns {
        Some(ns) if ns > IDLE_SPAN_MAX_NS => Err(params.problem(
            span,
            format!("a step of {} is out of bounds", Span(ns)),
            format!("write a span of up to {}", Span(IDLE_SPAN_MAX_NS)),
        )),
        Some(ns) => Ok(Rung::Span(ns)),
        None if given => Ok(Rung::Turns(count as u32)),
        None => Ok(preset),
    }
}

/// The longest sleep of a loop.
fn park_ns(params: &mut Params) -> Result<Option<u64>, Problem> {
    match params.span_ns("park_max")? {
        Some(ns) if !(PARK_MIN_NS..=PARK_MAX_NS).contains(&ns) => Err(params.problem(
            "park_max",
            format!("a sleep of up to {} is out of bounds", Span(ns)),
            format!(
                "write a span from {} to {}",
                Span(PARK_MIN_NS),
                Span(PARK_MAX_NS)
            ),
        )),
        ns => Ok(ns),
    }
}
