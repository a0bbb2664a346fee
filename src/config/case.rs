//! A case: its three files read, and made into the draft of a line.
//!
//! Invariant: reading a case needs no registry, and the same case makes any number of drafts.

use core::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::base::limits::DEPTH_DEFAULT;
use crate::budget::BeyondBudgets;
use crate::feed::datagram::DATAGRAM_BYTES_MAX;
use crate::overload::WhenFull;
use crate::stage::{OnPanic, Role};
use crate::topology::draft::{DraftHop, DraftNode, DraftOnPanic, HopPlaces};
use crate::topology::params::Value;
use crate::topology::problem::all;
use crate::topology::{Draft, Hop, Params, Part, Problem, Problems, Registry};

use super::document::{Table, parse};
use super::input::datagrams_for;
use super::line::{LineSpec, NodeSpec};
use super::load::{Content, FeedKind, Load, LoadChange, Via, meant};
use super::overrides::{FeedMode, Overrides, path};
use super::owed::{Owed, Slo};
use super::shares;
use super::source_text::SourceText;

/// The sink that logs what leaves a stage, its kind, and the port that it listens to.
const SINK_LOG: (&str, &str, &str) = ("sink-log", "sink_log", "log");

/// Settings of a source that are addresses to hear on: of its line, and of the other line of a feed.
const BINDS: [&str; 2] = ["bind", "bind_b"];

/// Whose sockets share a space of addresses with those of that kind: the kinds that receive by UDP are one.
fn transport(kind: &str) -> &str {
    match kind {
        "moldudp64" | "iextp" => "udp",
        kind => kind,
    }
}

/// The texts of a case.
#[derive(Clone, Debug)]
pub struct CaseFiles {
    /// `line.toml`.
    pub line: SourceText,
    /// `load.toml`, if there is one.
    pub load: Option<SourceText>,
    /// `budget.toml`, if there is one.
    pub budget: Option<SourceText>,
}

/// A source as `line.toml` gives it.
#[derive(Clone, Copy, Debug)]
pub struct GivenNode<'a>(&'a NodeSpec);

impl<'a> GivenNode<'a> {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'a str {
        &self.0.name
    }

    /// Its kind: how its messages come.
    #[must_use]
    pub fn kind(self) -> &'a str {
        &self.0.kind
    }

    /// A setting that is a text, such as `bind`, `decode` or `symbol`.
    #[must_use]
    pub fn setting(self, key: &str) -> Option<&'a str> {
        self.0.params.peek_text(key)
    }

    /// A setting that is a whole number, such as `epoch_ns`; `None` where it is below zero.
    #[must_use]
    pub fn whole(self, key: &str) -> Option<u64> {
        match self.0.params.peek(key)? {
            Value::Int(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The port whose datagrams are for it, and the address where it takes those of one only: by what a recording of packets is
    /// replayed at it. `None` of a source that takes no lone datagrams.
    #[must_use]
    pub fn datagrams(self) -> Option<(u16, Option<IpAddr>)> {
        datagrams_for(self.0)
    }
}

/// A case that was read. What is wrong with it beyond the syntax is kept until it is to become a
/// line, so that it is told together with what the registry and the checks find.
#[derive(Clone, Debug)]
pub struct Case {
    line: LineSpec,
    load: Option<Load>,
    owed: Owed,
    problems: Problems,
}

impl Case {
    /// Reads the texts of the case named `name`, which is the line's name unless it gives itself
    /// another one.
    ///
    /// ```
    /// use hopline::config::{Case, CaseFiles, SourceText};
    /// let line = SourceText::new("line.toml", "[[source]]\nname = \"btc\"\nkind = \"udp\"\n");
    /// let case = Case::parse("mine", CaseFiles { line, load: None, budget: None })?;
    /// assert_eq!(case.name(), "mine");
    /// # Ok::<(), hopline::topology::Problems>(())
    /// ```
    ///
    /// # Errors
    /// Texts that are empty or not TOML: all breaks of the syntax.
    pub fn parse(name: &str, files: CaseFiles) -> Result<Case, Problems> {
        let mut broken = Problems::default();
        let mut read = |text: &SourceText| -> Option<Table> {
            parse(text)
                .map_err(|problems| broken.0.extend(problems.0))
                .ok()
        };
        let line = read(&files.line);
        let load = files.load.as_ref().and_then(&mut read);
        let budget = files.budget.as_ref().and_then(&mut read);
        let (Some(line), true) = (line, broken.is_empty()) else {
            return Err(broken);
        };
        let mut problems = Problems::default();
        let line = LineSpec::read(line, name, &mut problems);
        let sources: Vec<&NodeSpec> = line.sources().collect();
        let load = load.map(|load| Load::read(load, &sources, &mut problems));
        let owed = budget
            .map(|budget| Owed::read(budget, &mut problems))
            .unwrap_or_default();
        Ok(Case {
            line,
            load,
            owed,
            problems,
        })
    }

    /// The line's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.line.name
    }

    /// What `load.toml` says, if there is one.
    #[must_use]
    pub fn load(&self) -> Option<&Load> {
        self.load.as_ref()
    }

    /// Has a source bind another address, for one run.
    ///
    /// # Errors
    /// The line has no such source. Whether the address is one is said when the line is made.
    pub fn bind(&mut self, source: &str, address: &str) -> Result<(), Problem> {
        let sources: Vec<String> = self.sources().map(|one| one.name().to_owned()).collect();
        let nodes = &mut self.line.nodes;
        let found = nodes
            .iter_mut()
            .find(|node| node.role == Role::Source && node.name == source);
        let Some(node) = found else {
            let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
            let what = format!("\"{source}\" is no source of this line");
            return Err(Problem::new(what, meant(source, &sources)));
        };
        if !node.params.has("bind") {
            let what = format!("\"{source}\" binds no address");
            let help =
                "only a source that listens can do so elsewhere: its [[source]] has a setting bind";
            return Err(Problem::new(what, help));
        }
        let place = node.params.place_of("bind").cloned();
        let address = Value::Text(address.to_owned());
        node.params.set("bind", address, place);
        Ok(())
    }

    /// Changes what `load.toml` says, for one run.
    ///
    /// # Errors
    /// There is no `load.toml`; a rate for a shape that brings its own; bursts that last into the next.
    pub fn change_load(&mut self, change: &LoadChange) -> Result<(), Problem> {
        match &mut self.load {
            Some(load) => load.change(change),
            None if change.is_some() => Err(Problem::new(
                "the case has no load.toml, so there is no load to change",
                "write one: rate = \"10k/s\" is enough",
            )),
            None => Ok(()),
        }
    }

    /// What the line owes from end to end.
    #[must_use]
    pub fn slo(&self) -> &Slo {
        &self.owed.slo
    }

    /// How long a drain of the line may take, in nanoseconds.
    #[must_use]
    pub fn drain_ns(&self) -> u64 {
        self.line.drain_ns
    }

    /// Whether there is any limit that could hold or not: from end to end, on jitter, or on a hop.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.owed.has_limits()
    }

    /// What the hops beyond the line owe, where the line has an edge.
    #[must_use]
    pub fn beyond(&self) -> &BeyondBudgets {
        &self.owed.beyond
    }

    /// The hops that may lose nothing, in the order of `budget.toml`.
    pub fn lossless(&self) -> impl Iterator<Item = &str> {
        self.owed.lossless()
    }

    /// The sources as the file gives them, in its order.
    pub fn sources(&self) -> impl Iterator<Item = GivenNode<'_>> {
        self.line.sources().map(GivenNode)
    }

    /// The sinks as the file gives them, in its order.
    pub fn sinks(&self) -> impl Iterator<Item = GivenNode<'_>> {
        self.line.sinks().map(GivenNode)
    }

    /// Makes the draft of a line. Nodes come from the registry by their kinds; each one is made as
    /// the file says even where a run replaces it, so that a wrong setting is found in any run.
    ///
    /// # Errors
    /// All that is wrong: in the files, with the overrides, and, if there is anything, also what
    /// [`Draft::check`] finds.
    pub fn draft(&self, registry: &Registry, overrides: &Overrides) -> Result<Draft, Problems> {
        let draft = self.assemble(registry, overrides);
        if draft.problems.is_empty() {
            return Ok(draft);
        }
        // A draft with problems is no line; checking it adds the others.
        Err(draft.check().err().unwrap_or_default())
    }

    fn assemble(&self, registry: &Registry, overrides: &Overrides) -> Draft {
        let mut draft = Draft::new(&self.line.name);
        draft.problems = self.problems.clone();
        draft.excused.clone_from(&self.line.excused);
        draft.drain_ns = self.line.drain_ns;
        draft.objective.clone_from(&self.owed.slo.budget);
        draft.placement = self.line.placement.clone();
        draft.placement.pin = overrides.pin.unwrap_or(draft.placement.pin);
        draft.placement.wait = overrides.wait.or(draft.placement.wait);
        draft.placement.threads_max = overrides.threads.or(draft.placement.threads_max);

        self.check_binds(&mut draft.problems);
        let given: Vec<&NodeSpec> = self.line.sources().collect();
        let sinks: Vec<&NodeSpec> = self.line.sinks().collect();
        shares::check(&given, &sinks, &mut draft.problems);
        let sources: Vec<&str> = self.sources().map(GivenNode::name).collect();
        overrides.check_inputs(&sources, &mut draft.problems);
        for node in &self.line.nodes {
            match self.node(node, registry, overrides) {
                Ok(node) => draft.nodes.push(node),
                Err(problems) => {
                    draft.problems.0.extend(problems.0);
                    draft.excused.push(node.name.clone());
                }
            }
        }
        let stages = self.line.nodes.iter();
        let policies = stages.filter(|node| node.on_panic != OnPanic::Stop);
        draft.on_panic = policies
            .map(|node| DraftOnPanic {
                node: node.name.clone(),
                policy: node.on_panic,
                place: node.params.place_of("on_panic").cloned(),
            })
            .collect();
        draft.hops.clone_from(&self.line.hops);
        self.owed.apply(&mut draft.hops, &mut draft.problems);
        let given = draft.hops.len();
        if let Some(file) = &overrides.sink_log
            && let Err(problems) = self.add_sink_log(&mut draft, registry, file)
        {
            draft.problems.0.extend(problems.0);
        }
        overrides.apply_to_hops(&mut draft.hops, given, &mut draft.problems);
        draft
    }

    /// Two sockets of a transport cannot hear on one address; the second would be refused when the line
    /// starts. UDP and TCP may share one. Two lines of one feed are their source's to tell.
    fn check_binds(&self, problems: &mut Problems) {
        let sources: Vec<&NodeSpec> = self.line.sources().collect();
        let bound = sources.iter().flat_map(|source| {
            BINDS.into_iter().filter_map(|key| {
                let bind = source.params.peek_text(key)?;
                // The same address may be written in several ways.
                let address = bind.parse::<SocketAddr>();
                let address = address.map_or_else(|_| bind.to_owned(), |at| at.to_string());
                (!address.ends_with(":0")).then_some((*source, key, address))
            })
        });
        let bound: Vec<(&NodeSpec, &str, String)> = bound.collect();
        for (at, (source, key, address)) in bound.iter().enumerate() {
            let earlier = bound[..at].iter().find(|(other, _, its)| {
                other.name != source.name
                    && transport(&other.kind) == transport(&source.kind)
                    && its == address
            });
            if let Some((other, ..)) = earlier {
                let what = format!(
                    "\"{}\" and \"{}\" both bind {address}",
                    other.name, source.name
                );
                problems.push(
                    source
                        .params
                        .problem(key, what, "give each an address of its own"),
                );
            }
        }
    }

    fn node(
        &self,
        spec: &NodeSpec,
        registry: &Registry,
        overrides: &Overrides,
    ) -> Result<DraftNode, Problems> {
        let mut kind = spec.kind.as_str();
        let mut given = spec.params.clone();
        if overrides.arrival_stamps
            && spec.role == Role::Source
            && ["udp", "moldudp64", "iextp"].contains(&kind)
            && !given.has("timestamps")
        {
            given.set("timestamps", Value::Text("kernel".to_owned()), None);
        }
        let mut part = registry.make(kind, spec.role, &mut given)?;
        if spec.role == Role::Source {
            self.check_load(spec, registry, overrides)?;
        }
        if spec.role == Role::Source
            && let ports = part.descriptor().ports
            && let Some(instead) = overrides.instead(spec, ports, self.load.as_ref())?
        {
            kind = instead.kind;
            let mut params = instead.params(&spec.params, registry)?;
            part = registry.make(kind, Role::Source, &mut params)?;
        }
        Ok(DraftNode {
            name: spec.name.clone(),
            kind: kind.to_owned(),
            part,
            place: spec.params.place_of("name").cloned(),
        })
    }

    /// A load of datagrams that the source's decoder refuses, each of them, is none.
    fn check_load(
        &self,
        spec: &NodeSpec,
        registry: &Registry,
        overrides: &Overrides,
    ) -> Result<(), Problem> {
        let feed = self.load.as_ref().and_then(|load| load.feed(&spec.name));
        let fed = overrides.feed == FeedMode::Load
            && !overrides
                .inputs
                .iter()
                .any(|input| input.source == spec.name);
        let (Some(feed), true) = (feed, fed) else {
            return Ok(());
        };
        let bytes = match feed.content {
            Content::Datagrams { bytes } => bytes,
            Content::Feed(made) => return self.check_feed(spec, made.kind, overrides),
            Content::Market | Content::Lines(_) => return Ok(()),
        };
        match registry.message_bytes_max(&spec.params) {
            Some(most) if most < bytes => {
                let key = ["max_bytes", "decode"]
                    .into_iter()
                    .find(|key| spec.params.has(key));
                let what = format!(
                    "the load of \"{}\" has datagrams of {bytes} bytes, and its decoder rejects what is longer than {most}",
                    spec.name
                );
                let help = format!(
                    "write max_bytes = {bytes} here (up to {DATAGRAM_BYTES_MAX}), or at most bytes = {most} in load.toml"
                );
                Err(spec.params.problem(key.unwrap_or("decode"), what, help))
            }
            _ => Ok(()),
        }
    }

    /// A made-up feed goes over UDP, to a source that takes it.
    fn check_feed(
        &self,
        spec: &NodeSpec,
        kind: FeedKind,
        overrides: &Overrides,
    ) -> Result<(), Problem> {
        let (word, source) = (kind.name(), kind.source_kind());
        let via = overrides.via.or(self.load.as_ref().map(|load| load.via));
        if via != Some(Via::Udp) {
            let what = format!(
                "the load of \"{}\" is a feed of packets, which go over UDP",
                spec.name
            );
            return Err(spec.params.problem(
                "kind",
                what,
                "write via = \"udp\" in load.toml, and run it with threads",
            ));
        }
        if spec.kind != source || spec.params.peek_text("decode") != Some(word) {
            let what = format!(
                "the load of \"{}\" is \"{word}\", which it does not take",
                spec.name
            );
            let help = format!(
                "write kind = \"{source}\" and decode = \"{word}\" here, or another content in load.toml"
            );
            return Err(spec.params.problem("decode", what, help));
        }
        Ok(())
    }

    /// Adds a sink that logs what leaves the first stage with a port `log`, behind a hop that loses
    /// nothing. It names symbols as the sources do.
    fn add_sink_log(
        &self,
        draft: &mut Draft,
        registry: &Registry,
        file: &Path,
    ) -> Result<(), Problems> {
        let (name, kind, port) = SINK_LOG;
        let has_port = |node: &&DraftNode| {
            let ports = node.part.descriptor().ports;
            ports.iter().any(|candidate| candidate.name == port)
        };
        let Some(stage) = draft.nodes.iter().find(has_port) else {
            // It may be one of those that could not be made.
            if draft.excused.is_empty() {
                let stages = draft.nodes.iter().map(|node| node.name.as_str());
                let what = format!("no node has a port \"{port}\", so there is nothing to log");
                let help = all("nodes", stages);
                return Err(Problem::new(what, help).into());
            }
            return Ok(());
        };
        let from = format!("{}.{port}", stage.name);
        let mut params = Params::new(None);
        params.set("file", path(file)?, None);
        let symbols = |key| {
            self.line
                .sources()
                .find_map(|source| source.params.peek(key))
        };
        if let Some(symbols) = symbols("symbols").or_else(|| symbols("symbol")) {
            params.set("symbols", symbols.clone(), None);
        }
        let part: Box<dyn Part> = registry.make(kind, Role::Sink, &mut params)?;
        draft.nodes.push(DraftNode {
            name: name.to_owned(),
            kind: kind.to_owned(),
            part,
            place: None,
        });
        draft.hops.push(DraftHop {
            from,
            to: name.to_owned(),
            hop: Hop::depth(DEPTH_DEFAULT).when_full(WhenFull::Block),
            ring: None,
            together: None,
            places: HopPlaces::default(),
        });
        Ok(())
    }
}
