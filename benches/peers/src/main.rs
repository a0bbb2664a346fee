//! hopline's rings beside the physical floor and every ring that people would pick instead, under one
//! loop, interleaved, on two pinned cores.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- [latency|open|throughput|typed|all]
//! [--rounds 9] [--depth 1024] [--quick] [--json]`
//!
//! - *latency*: closed loop, payloads of 8 to 1024 bytes; the Java Disruptor too, where it is present.
//! - *open*: one way, 56 B at 1 MHz, from intended times.
//! - *throughput*: flat out at 8, 56 and 64 B, one by one and in batches of 32.
//! - *typed*: a BookTicker with everything that a line does for a hop, beside bare peers.
//!
//! To add a ring of hopline's own: a row in [`latency`] or [`throughput`] beside the others.
//!
//! Invariant: a bar is judged by the rounds of this run alone.

mod bars;
mod java;
mod rivals;

use std::cell::RefCell;
use std::process::ExitCode;

use bars::Bar;
use hopline::host::Host;
use hopline_harness::measure::{
    self, ApartLink, BlobLink, BulkLink, Candidate, Floor, HopLink, LinedLink, Link, MeasureError,
    Null, PackedLink, Percentiles, Plan, Role, Row, Runs, Spread, Summary, Walk, typed,
};
use serde::Serialize;

/// The name of the typed hop's row.
const TYPED: &str = "hopline typed hop";
/// Items of a batch in the stream.
const BATCH: usize = 32;
/// The floor's p50 that tells whether the host has put the two cores near each other.
const NEAR_NS: f64 = 100.0;
const USAGE: &str = "usage: hopline-peers [latency|open|throughput|typed|all] [--rounds N] [--depth N] [--quick] [--json]";

/// What was asked for.
#[derive(Clone, Debug)]
struct Ask {
    what: String,
    rounds: usize,
    depth: usize,
    quick: bool,
    json: bool,
}

/// One stream's row for machines.
#[derive(Clone, Debug, Serialize)]
struct StreamRow {
    name: String,
    payload_bytes: usize,
    batch: usize,
    ns_an_item: f64,
}

/// All tables for machines.
#[derive(Clone, Debug, Default, Serialize)]
struct Report {
    cpu: Option<String>,
    cores: Vec<usize>,
    rounds: usize,
    depth: usize,
    clock_step_ns: u64,
    clock_skew_ns: f64,
    floor: Option<Percentiles>,
    latency: Vec<Row>,
    open: Vec<Row>,
    typed: Vec<Row>,
    throughput: Vec<StreamRow>,
    bars: Vec<Bar>,
    notes: Vec<String>,
}

/// A list of candidates that links are added to; which loop runs over them is the list's business.
trait Add {
    fn add<L: Link + 'static>(&mut self, name: &str, role: Role, link: L);
}

/// Links for the closed loop.
struct Trips<'a>(&'a Plan, Vec<Candidate<'a, Percentiles>>);

/// Links for the open loop.
struct Opens<'a>(&'a Plan, Vec<Candidate<'a, Percentiles>>);

/// Links for the stream, in batches of so many.
struct Streams<'a>(&'a Plan, usize, Vec<Candidate<'a, f64>>);

fn bytes(link: &impl Link) -> usize {
    link.words() as usize * 8
}

impl Add for Trips<'_> {
    fn add<L: Link + 'static>(&mut self, name: &str, role: Role, link: L) {
        let (plan, bytes) = (self.0, bytes(&link));
        let measure = move |round| measure::ping_pong(&link, plan, round);
        self.1.push(Candidate::new(name, bytes, role, measure));
    }
}

impl Add for Opens<'_> {
    fn add<L: Link + 'static>(&mut self, name: &str, role: Role, link: L) {
        let (plan, bytes) = (self.0, bytes(&link));
        let measure = move |round| measure::open_loop(&link, plan, round);
        self.1.push(Candidate::new(name, bytes, role, measure));
    }
}

impl Add for Streams<'_> {
    fn add<L: Link + 'static>(&mut self, name: &str, role: Role, link: L) {
        let (plan, batch, bytes) = (self.0, self.1, bytes(&link));
        let measure = move |round| measure::stream(&link, plan, batch, round);
        self.2.push(Candidate::new(name, bytes, role, measure));
    }
}

/// Every rival with a payload of `W` words.
fn add_peers<const W: usize>(to: &mut impl Add, depth: usize) {
    to.add("omango", Role::Peer, rivals::Omango::<W> { depth });
    to.add("nexus-queue", Role::Peer, rivals::Nexus::<W> { depth });
    to.add("gil", Role::Peer, rivals::Gil::<W> { depth });
    to.add("rtrb", Role::Peer, rivals::Rtrb::<W> { depth });
    to.add("ringbuf", Role::Peer, rivals::Ringbuf::<W> { depth });
    to.add("disruptor", Role::Peer, rivals::Disruptor::<W> { depth });
    to.add(
        "crossbeam ArrayQueue",
        Role::Peer,
        rivals::ArrayQueue::<W> { depth },
    );
    to.add(
        "crossbeam channel",
        Role::Peer,
        rivals::CrossbeamChannel::<W> { depth },
    );
    to.add("thingbuf", Role::Peer, rivals::Thingbuf::<W> { depth });
    to.add("kanal", Role::Peer, rivals::Kanal::<W> { depth });
    to.add("flume", Role::Peer, rivals::Flume::<W> { depth });
}

fn add_packed<const W: usize>(to: &mut impl Add, depth: usize) {
    to.add("hopline packed", Role::Ours, PackedLink::<W>::of(depth));
}

fn add_lined<const W: usize>(to: &mut impl Add, depth: usize) {
    to.add("hopline lined", Role::Ours, LinedLink::<W>::of(depth));
}

fn add_bulk<const W: usize>(to: &mut impl Add, depth: usize) {
    to.add("hopline bulk", Role::Ours, BulkLink::<W>::of(depth));
}

fn add_floor(to: &mut impl Add) {
    to.add("null (cost of measuring)", Role::Null, Null);
    to.add("floor (two bare lines)", Role::Floor, Floor);
}

/// What a run gathers.
struct Run<'a> {
    ask: &'a Ask,
    plan: &'a Plan,
    report: Report,
}

impl Run<'_> {
    /// Says something to a person; machines get it at the end, all at once.
    fn say(&self, text: &str) {
        if !self.ask.json {
            println!("{text}");
        }
    }

    fn summed_up(&mut self, title: &str, runs: &[Runs<Percentiles>], bars: Vec<Bar>) -> Summary {
        let summary = Summary::of(runs, Some(bars::NEAREST));
        let state = summary.floor().map_or(String::new(), |floor| {
            let state = if floor.p50 < NEAR_NS { "near" } else { "far" };
            format!("; host state: {state}, floor p50 {:.0} ns", floor.p50)
        });
        self.say(&format!(
            "\n{title}; {} rounds, depth {}, cores {:?}{state}; median (lowest-highest)",
            self.ask.rounds, self.ask.depth, self.plan.cores
        ));
        self.say(summary.table().trim_end());
        self.judge(bars);
        summary
    }

    fn judge(&mut self, bars: Vec<Bar>) {
        for bar in &bars {
            let verdict = if bar.met { "met   " } else { "MISSED" };
            self.say(&format!("{verdict} {}: {}", bar.bar, bar.found));
        }
        self.report.bars.extend(bars);
    }

    fn latency(&mut self) -> Result<(), MeasureError> {
        let depth = self.ask.depth;
        // Outlives the candidates that measure by it.
        let javas = self.javas();
        let mut to = Trips(self.plan, Vec::new());
        add_floor(&mut to);
        to.add("walk over bare lines", Role::Aside, Walk { depth });
        add_packed::<1>(&mut to, depth);
        add_lined::<1>(&mut to, depth);
        add_peers::<1>(&mut to, depth);
        add_packed::<7>(&mut to, depth);
        add_lined::<7>(&mut to, depth);
        add_peers::<7>(&mut to, depth);
        add_lined::<8>(&mut to, depth);
        add_peers::<8>(&mut to, depth);
        to.add("hopline hop", Role::Ours, HopLink::of(depth, 96));
        add_lined::<12>(&mut to, depth);
        add_peers::<12>(&mut to, depth);
        add_lined::<15>(&mut to, depth);
        add_peers::<15>(&mut to, depth);
        // By descriptor, and inline in a ring of values beside it.
        to.add("hopline blob", Role::Ours, BlobLink::of(depth, 256));
        to.add("hopline apart", Role::Ours, ApartLink::<32>::of(depth));
        add_lined::<32>(&mut to, depth);
        add_peers::<32>(&mut to, depth);
        to.add("hopline blob", Role::Ours, BlobLink::of(depth, 1024));
        to.add("hopline apart", Role::Ours, ApartLink::<128>::of(depth));
        add_lined::<128>(&mut to, depth);
        add_peers::<128>(&mut to, depth);
        for (words, java) in &javas {
            let measure = |_| {
                let round = java.borrow_mut().round();
                round.map_err(|doing| MeasureError::Peer { doing })
            };
            let java = Candidate::new("disruptor (Java)", words * 8, Role::Peer, measure);
            to.1.push(java);
        }
        let runs = measure::interleave(self.ask.rounds, to.1)?;
        let title = format!(
            "closed loop: round trip / 2 in ns, {} trips",
            self.plan.trips
        );
        let summary = self.summed_up(&title, &runs, bars::latency(&runs));
        self.report.floor = summary.floor();
        self.report.latency = summary.rows();
        Ok(())
    }

    /// The Java Disruptors that are present, by the words of their payload.
    fn javas(&mut self) -> Vec<(usize, RefCell<java::Java>)> {
        let mut javas = Vec::new();
        for words in [1, 8] {
            match java::Java::start(self.plan, words, self.ask.depth) {
                Ok(java) => javas.push((words, RefCell::new(java))),
                Err(why) => {
                    let note = format!("disruptor (Java): {why}");
                    self.say(&note);
                    self.report.notes.push(note);
                    break;
                }
            }
        }
        javas
    }

    fn open(&mut self) -> Result<(), MeasureError> {
        let depth = self.ask.depth;
        let mut to = Opens(self.plan, Vec::new());
        to.add("floor (a bare line)", Role::Floor, Floor);
        add_packed::<7>(&mut to, depth);
        add_lined::<7>(&mut to, depth);
        add_peers::<7>(&mut to, depth);
        let runs = measure::interleave(self.ask.rounds, to.1)?;
        let title = format!(
            "open loop: one way from intended times in ns, an item each {} ns, clock skew {:.0} ns",
            self.plan.period_ns, self.report.clock_skew_ns
        );
        let summary = self.summed_up(&title, &runs, bars::open(&runs, 56));
        self.report.open = summary.rows();
        Ok(())
    }

    fn typed(&mut self) -> Result<(), MeasureError> {
        let depth = self.ask.depth;
        let mut to = Trips(self.plan, Vec::new());
        add_floor(&mut to);
        to.add(
            "hopline hop, bare",
            Role::Aside,
            HopLink::of(depth, typed::TYPED_BYTES),
        );
        let link = typed::Typed {
            depth,
            clock: self.plan.clock.clone(),
        };
        let plan = self.plan;
        let measure = move |round| measure::ping_pong(&link, plan, round);
        to.1.push(Candidate::new(
            TYPED,
            typed::TYPED_BYTES,
            Role::Ours,
            measure,
        ));
        add_peers::<{ typed::TYPED_BYTES / 8 }>(&mut to, depth);
        let runs = measure::interleave(self.ask.rounds, to.1)?;
        let title = format!(
            "typed hop: a BookTicker of {} B in place, with envelope, stamps, records, ledger, beside bare peers; round trip / 2 in ns",
            typed::TYPED_BYTES
        );
        let bars = bars::typed(&runs, typed::TYPED_BYTES);
        let summary = self.summed_up(&title, &runs, bars);
        self.report.typed = summary.rows();
        Ok(())
    }

    fn throughput(&mut self) -> Result<(), MeasureError> {
        let depth = self.ask.depth;
        for batch in [1, BATCH] {
            let mut to = Streams(self.plan, batch, Vec::new());
            add_packed::<1>(&mut to, depth);
            add_lined::<1>(&mut to, depth);
            add_peers::<1>(&mut to, depth);
            add_bulk::<1>(&mut to, depth);
            add_packed::<7>(&mut to, depth);
            add_lined::<7>(&mut to, depth);
            add_bulk::<7>(&mut to, depth);
            add_peers::<7>(&mut to, depth);
            add_packed::<8>(&mut to, depth);
            add_lined::<8>(&mut to, depth);
            add_bulk::<8>(&mut to, depth);
            to.add("hopline hop", Role::Ours, HopLink::of(depth, 64));
            add_peers::<8>(&mut to, depth);
            let runs = measure::interleave(self.ask.rounds, to.2)?;
            let how = if batch == 1 {
                "one by one".to_owned()
            } else {
                format!("in batches of {batch}")
            };
            self.say(&format!(
                "\nstream: flat out {how}, {} items, {} rounds, depth {depth}; median (lowest-highest)",
                self.plan.stream_items, self.ask.rounds
            ));
            self.say(measure::stream_table(&runs).trim_end());
            let row = |run: &Runs<f64>| StreamRow {
                name: run.name.clone(),
                payload_bytes: run.payload_bytes,
                batch,
                ns_an_item: Spread::of(&run.rounds).median,
            };
            self.report.throughput.extend(runs.iter().map(row));
            self.judge(bars::throughput(&runs, batch));
        }
        Ok(())
    }
}

/// Reads the command line.
fn asked() -> Result<Ask, String> {
    let mut ask = Ask {
        what: "all".to_owned(),
        rounds: 9,
        depth: 1024,
        quick: false,
        json: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = |least: usize| {
            let number = words.next().and_then(|number| number.parse().ok());
            number.filter(|&number| number >= least).ok_or(USAGE)
        };
        match word.as_str() {
            "latency" | "open" | "throughput" | "typed" | "all" => ask.what = word,
            "--rounds" => ask.rounds = number(1)?,
            // Batches have to fit.
            "--depth" => ask.depth = number(BATCH)?,
            "--quick" => ask.quick = true,
            "--json" => ask.json = true,
            _ => return Err(USAGE.to_owned()),
        }
    }
    if !ask.depth.is_power_of_two() {
        return Err("--depth: hopline's rings want a power of two".to_owned());
    }
    Ok(ask)
}

fn run(ask: &Ask) -> Result<Report, MeasureError> {
    let host = Host::read();
    let plan = Plan {
        trips: 10_000,
        ..Plan::new()?
    };
    let plan = if ask.quick { plan.quick() } else { plan };
    let mut run = Run {
        ask,
        plan: &plan,
        report: Report {
            cpu: host.cpu_model,
            cores: plan.cores.to_vec(),
            rounds: ask.rounds,
            depth: ask.depth,
            clock_step_ns: plan.clock_step_ns,
            clock_skew_ns: measure::clock_skew_ns(&plan)?,
            ..Report::default()
        },
    };
    let all = ask.what == "all";
    if all || ask.what == "latency" {
        run.latency()?;
    }
    if all || ask.what == "open" {
        run.open()?;
    }
    if all || ask.what == "typed" {
        run.typed()?;
    }
    if all || ask.what == "throughput" {
        run.throughput()?;
    }
    Ok(run.report)
}

fn main() -> ExitCode {
    let ask = match asked() {
        Ok(ask) => ask,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    let report = match run(&ask) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("hopline-peers: {error}");
            return ExitCode::FAILURE;
        }
    };
    if ask.json {
        match serde_json::to_string_pretty(&report) {
            Ok(json) => println!("{json}"),
            Err(error) => {
                eprintln!("hopline-peers: the report cannot be written as JSON: {error}");
                return ExitCode::FAILURE;
            }
        }
    } else {
        let missed = report.bars.iter().filter(|bar| !bar.met).count();
        println!("\n{} bars, {missed} missed", report.bars.len());
    }
    ExitCode::SUCCESS
}
