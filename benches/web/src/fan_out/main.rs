//! One message to many: hopline's edge, a write for each message, frames by hand, and tokio-tungstenite with a broadcast.
//!
//! ```text
//! cargo run --release --manifest-path benches/web/Cargo.toml --bin fan-out -- [--rounds 9] [--clients 1000] \
//!     [--server NAME] [--quick] [--json]
//! ```
//!
//! Four messages are published at once to 1,000 WebSockets; a *turn* is the time from the first until the system has all of
//! them. The next one begins when all clients have read all: nothing is coalesced that was not published together. Turns are
//! timed by the servers' own core; the clients read on the other one.
//!
//! | server | what it is |
//! |---|---|
//! | hopline | `edge::Edge`, a stream channel, all that a turn has for a client in one write |
//! | hopline, one by one | the same with a turn for each message |
//! | by hand | frames written beforehand, one `write` of the four to each socket: the floor |
//! | tokio-tungstenite | a task for each client that receives from a `broadcast` and sends, on one thread |
//! | tokio-tungstenite, feed | the same, which takes all that the broadcast has and flushes once |
//!
//! Every client compares the number in each message with the one that has to come. Rounds begin with another server each time,
//! and ratios are taken within rounds. Only ratios travel between machines. Both cores have to be free; each client takes two files of
//! this process (`ulimit -n`).
//!
//! Invariant: a bar is judged by the rounds of this run alone.

mod by_hand;
mod by_tokio;
mod ours;
mod readers;

use std::process::ExitCode;
use std::thread;

use core_affinity::CoreId;
use hopline::clock::Clock;
use hopline_harness::measure::{self, Candidate, MeasureError, Percentiles, Plan, Role, Spans};
use hopline_harness::measure::{Runs, Spread, ratios};
use readers::{Progress, Readers};
use serde::Serialize;

/// Messages that are published at once.
const PENDING: u64 = 4;
/// Bytes of a message, about: a node's state.
const MESSAGE_BYTES: usize = 200;

const OURS: &str = "hopline";
const ONE_BY_ONE: &str = "hopline, one by one";
const BY_HAND: &str = "by hand";
const TOKIO: &str = "tokio-tungstenite";
const USAGE: &str = "usage: fan-out [--rounds N] [--clients N] [--server NAME] [--quick] [--json]";

/// What a server is run with.
#[derive(Clone, Debug)]
pub struct Run {
    clients: usize,
    warm_up: u64,
    turns: u64,
    clock: Clock,
    clock_step_ns: u64,
    progress: Progress,
}

impl Run {
    /// Runs all turns: `turn` publishes the messages with those numbers and comes back when the system has them.
    ///
    /// # Errors
    /// What a turn says, or that a client stopped reading.
    pub fn drive(
        &self,
        mut turn: impl FnMut(core::ops::Range<u64>) -> Result<(), String>,
    ) -> Result<Spans, String> {
        let mut spans = Spans::new(self.clock_step_ns);
        for nth in 0..self.warm_up + self.turns {
            let numbers = nth * PENDING..(nth + 1) * PENDING;
            let all = numbers.end * self.clients as u64;
            let began_ns = self.clock.stamp();
            turn(numbers)?;
            let took_ns = self.clock.stamp_after() - began_ns;
            if nth >= self.warm_up {
                spans.record(took_ns);
            }
            self.progress.await_read(all)?;
        }
        Ok(spans)
    }
}

/// A message as all but the edge, which writes its own, send it: as long, with its number last.
fn text(number: u64) -> String {
    let head = format!("{{\"type\":\"tick\",\"ch\":\"ticks/all\",\"o\":{number},");
    let tail = value(number, head.len());
    format!("{head}{}", &tail[1..])
}

/// A value that makes a message with so many bytes before it as long as all are, with its number last.
fn value(number: u64, before: usize) -> String {
    let tail = format!("\",\"n\":{}}}", readers::NUMBERED + number);
    let pad = MESSAGE_BYTES.saturating_sub(before + 8 + tail.len());
    format!("{{\"pad\":\"{}{tail}", "x".repeat(pad))
}

/// A server: it tells where it listens, waits until all clients are in, and runs.
type Serve = fn(&Run, &mut dyn FnMut(std::net::SocketAddr)) -> Result<Spans, String>;

const SERVERS: [(&str, Role, Serve); 5] = [
    (OURS, Role::Ours, ours::together),
    (ONE_BY_ONE, Role::Aside, ours::one_by_one),
    (BY_HAND, Role::Floor, by_hand::serve),
    (TOKIO, Role::Peer, by_tokio::sending),
    ("tokio-tungstenite, feed", Role::Aside, by_tokio::feeding),
];

fn round(serve: Serve, run: &Run, plan: &Plan) -> Result<Percentiles, MeasureError> {
    let failed = |doing: String| MeasureError::Peer { doing };
    let run = Run {
        progress: Progress::default(),
        ..run.clone()
    };
    let (core, of_server) = (plan.cores[1], run.clone());
    let (tell_at, hear_at) = std::sync::mpsc::sync_channel(1);
    let server = thread::spawn(move || {
        core_affinity::set_for_current(CoreId { id: core });
        serve(&of_server, &mut |at| {
            // Whoever asked waits for it.
            let _ = tell_at.send(at);
        })
    });
    let read = match hear_at.recv() {
        Ok(at) => Readers::connect(at, run.clients, &run.progress).and_then(|mut readers| {
            run.progress.all_are_in();
            readers.read((run.warm_up + run.turns) * PENDING)
        }),
        // It says itself why it did not open.
        Err(_) => Ok(()),
    };
    if read.is_err() {
        run.progress.give_up();
    }
    let served = server
        .join()
        .unwrap_or(Err("the server panicked".to_owned()));
    read.map_err(failed)?;
    Ok(served.map_err(failed)?.percentiles(1.0))
}

/// One bar and how it came out.
#[derive(Clone, Debug, Serialize)]
struct Bar {
    bar: String,
    found: Spread,
    met: bool,
}

/// One server's row: of a turn, in microseconds.
#[derive(Clone, Debug, Serialize)]
struct Row {
    server: String,
    p50_us: Spread,
    p99_us: Spread,
    per_message_ns: Spread,
    to_floor: Spread,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Report {
    cores: Vec<usize>,
    rounds: usize,
    clients: usize,
    rows: Vec<Row>,
    bars: Vec<Bar>,
}

/// What was asked for.
#[derive(Clone, Debug)]
struct Ask {
    rounds: usize,
    clients: usize,
    /// One server alone, for whoever profiles it.
    server: Option<String>,
    quick: bool,
    json: bool,
}

fn asked() -> Option<Ask> {
    let mut ask = Ask {
        rounds: 9,
        clients: 1_000,
        server: None,
        quick: false,
        json: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => ask.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            "--clients" => ask.clients = words.next()?.parse().ok().filter(|count| *count > 0)?,
            "--server" => {
                let name = words.next()?;
                let known = SERVERS.iter().any(|(server, ..)| *server == name);
                ask.server = Some(name).filter(|_| known);
                ask.server.as_ref()?;
            }
            "--quick" => ask.quick = true,
            "--json" => ask.json = true,
            _ => return None,
        }
    }
    Some(ask)
}

fn run(ask: &Ask) -> Result<Report, MeasureError> {
    let plan = Plan::new()?;
    core_affinity::set_for_current(CoreId { id: plan.cores[0] });
    let run = Run {
        clients: ask.clients,
        warm_up: if ask.quick { 5 } else { 20 },
        turns: if ask.quick { 20 } else { 200 },
        clock: plan.clock.clone(),
        clock_step_ns: plan.clock_step_ns,
        progress: Progress::default(),
    };
    let asked = |name: &str| ask.server.as_deref().is_none_or(|server| server == name);
    let servers = SERVERS.iter().filter(|(name, ..)| asked(name));
    let candidates = servers.map(|(name, role, serve)| {
        let (plan, run) = (&plan, &run);
        Candidate::new(*name, MESSAGE_BYTES, *role, move |_| {
            round(*serve, run, plan)
        })
    });
    let runs = measure::interleave(ask.rounds, candidates.collect())?;
    Ok(report(&runs, ask, &plan))
}

fn report(runs: &[Runs<Percentiles>], ask: &Ask, plan: &Plan) -> Report {
    let named = |name: &str| runs.iter().find(|run| run.name == name);
    let to = |run: &Runs<Percentiles>, name: &str| {
        let other = named(name).map(|other| other.series(|one| one.p50));
        Spread::of(&ratios(
            &run.series(|one| one.p50),
            &other.unwrap_or_default(),
        ))
    };
    let messages = (ask.clients as u64 * PENDING) as f64;
    let rows = runs.iter().map(|run| Row {
        server: run.name.clone(),
        p50_us: Spread::of(&run.series(|one| one.p50 / 1e3)),
        p99_us: Spread::of(&run.series(|one| one.p99 / 1e3)),
        per_message_ns: Spread::of(&run.series(|one| one.p50 / messages)),
        to_floor: to(run, BY_HAND),
    });
    let bar = |name: &str, least: f64| {
        let run = named(name)?;
        let found = to(run, OURS);
        Some(Bar {
            bar: format!("a turn of {name} takes >= {least:.1} of ours"),
            found,
            met: found.median >= least,
        })
    };
    Report {
        cores: plan.cores.to_vec(),
        rounds: ask.rounds,
        clients: ask.clients,
        rows: rows.collect(),
        bars: [bar(ONE_BY_ONE, 3.5), bar(TOKIO, 4.0)]
            .into_iter()
            .flatten()
            .collect(),
    }
}

fn print(report: &Report) {
    println!(
        "{PENDING} messages of {MESSAGE_BYTES} B to {} clients, {} rounds, readers and server on cores {:?}; median (lowest-highest)\n",
        report.clients, report.rounds, report.cores
    );
    println!(
        "{:<24} {:>28} {:>28} {:>24} {:>20}",
        "a turn of", "p50 us", "p99 us", "ns a message", "of by hand"
    );
    for row in &report.rows {
        println!(
            "{:<24} {:>28.0} {:>28.0} {:>24.0} {:>20.2}",
            row.server, row.p50_us, row.p99_us, row.per_message_ns, row.to_floor
        );
    }
    println!();
    for bar in &report.bars {
        let verdict = if bar.met { "met   " } else { "MISSED" };
        println!("{verdict} {}: {:.2}", bar.bar, bar.found);
    }
}

fn main() -> ExitCode {
    let Some(ask) = asked() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let report = match run(&ask) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("fan-out: {error}");
            return ExitCode::FAILURE;
        }
    };
    match (ask.json, serde_json::to_string_pretty(&report)) {
        (false, _) => print(&report),
        (true, Ok(json)) => println!("{json}"),
        (true, Err(error)) => {
            eprintln!("fan-out: the report cannot be written as JSON: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_sends_each_message_to_everybody() {
        let plan = Plan::new().unwrap();
        let run = Run {
            clients: 7,
            warm_up: 1,
            turns: 5,
            clock: plan.clock.clone(),
            clock_step_ns: plan.clock_step_ns,
            progress: Progress::default(),
        };
        for (name, _, serve) in SERVERS {
            let took = round(serve, &run, &plan).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(took.p50 > 0.0);
        }
    }

    #[test]
    fn messages_are_as_long_as_each_other() {
        assert_eq!(text(7).len(), MESSAGE_BYTES);
        assert_eq!(text(123_456).len(), MESSAGE_BYTES);
    }
}
