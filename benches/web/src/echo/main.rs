//! hopline's WebSocket echo beside frames by hand on mio and tokio-tungstenite: the same client, the
//! same run, an end on each of two cores.
//!
//! ```text
//! cargo run --release --manifest-path benches/web/Cargo.toml --bin echo -- [--rounds 9] [--quick] [--json]
//! ```
//!
//! 64 B of binary payload, over 1 connection and over 64:
//!
//! - *round trips* (closed loop): one message in flight on each connection; percentiles of the round
//!   trip, and round trips a second. Over 64 connections the server is never idle, so a round trip is
//!   mostly the time in its queue.
//! - *flat out*: 32 messages in flight on each connection, written in one piece; messages a second.
//!
//! | server | what it is |
//! |---|---|
//! | hopline | `hopline_harness::web_echo`: `wire::websocket` on `io::Driver`, spinning; what `.ci/autobahn` proves |
//! | by hand | frames parsed and built in place on mio's sockets, spinning, read in the same order; what the client needs |
//! | tokio-tungstenite | its own example of an echo: what it reads is forwarded, and flushed when there is nothing more; one thread |
//! | tokio-tungstenite, send | the same with `send` for each message, which flushes each |
//!
//! Every answer is compared with what was sent, byte for byte. Rounds begin with another server each
//! time, and ratios are taken within rounds. Only ratios travel between machines. Both cores have to
//! be free.
//!
//! Invariant: a bar is judged by the rounds of this run alone.

mod by_hand;
mod by_tokio;
mod client;
mod ours;

use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::thread::{self, JoinHandle};

use client::Load;
use core_affinity::CoreId;
use hopline::base::primitive::{Arc, AtomicBool, Ordering};
use hopline::clock::Clock;
use hopline_harness::measure::{self, Candidate, MeasureError, Percentiles, Plan, Role, Runs};
use hopline_harness::measure::{Spread, ratios};
use serde::Serialize;

/// Bytes of payload.
const PAYLOAD_BYTES: usize = 64;
/// Connections.
const CONNECTIONS: [usize; 2] = [1, 64];
/// Messages in flight on each connection, flat out.
const WINDOW: usize = 32;

const OURS: &str = "hopline";
const BY_HAND: &str = "by hand on mio";
const TOKIO: &str = "tokio-tungstenite";
const USAGE: &str = "usage: echo [--rounds N] [--quick] [--json]";

/// A server on a thread of its own, until it is told to end.
pub struct Server {
    /// Where it listens.
    pub at: SocketAddr,
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
}

/// What a server serves by: the flag that ends it.
pub type Ends = Arc<AtomicBool>;

impl Server {
    /// Opens by `open` and serves by `serve`, both on that core.
    ///
    /// # Errors
    /// In words, what did not open.
    pub fn start<T>(
        core: usize,
        open: impl FnOnce() -> Result<(T, SocketAddr), String> + Send + 'static,
        serve: impl FnOnce(T, Ends) -> Result<(), String> + Send + 'static,
    ) -> Result<Server, String> {
        let ends = Arc::new(AtomicBool::new(false));
        let (told, (tell_at, hear_at)) = (ends.clone(), std::sync::mpsc::sync_channel(1));
        let thread = thread::spawn(move || {
            core_affinity::set_for_current(CoreId { id: core });
            let (opened, at) = open()?;
            // Whoever asked waits for it.
            let _ = tell_at.send(at);
            serve(opened, told)
        });
        match hear_at.recv() {
            Ok(at) => Ok(Server { at, ends, thread }),
            Err(_) => Err(joined(thread).err().unwrap_or_default()),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// In words, what went wrong with it.
    pub fn end(self) -> Result<(), String> {
        // Relaxed: the flag publishes nothing but itself.
        self.ends.store(true, Ordering::Relaxed);
        // One that waits for connections gets one; one that is gone already needs none.
        let _ = TcpStream::connect(self.at);
        joined(self.thread)
    }
}

fn joined(thread: JoinHandle<Result<(), String>>) -> Result<(), String> {
    thread.join().unwrap_or(Err("it panicked".to_owned()))
}

/// What one server did in one round.
#[derive(Clone, Copy, Debug)]
struct Figures {
    rtt: Percentiles,
    trips_per_s: f64,
    flat_out_per_s: f64,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
struct Amount {
    warm_up: u64,
    trips: u64,
    flat_out: u64,
}

/// How a server is started on a core.
type Start = fn(usize, &Clock) -> Result<Server, String>;

const SERVERS: [(&str, Role, Start); 4] = [
    (OURS, Role::Ours, ours::start),
    (BY_HAND, Role::Floor, by_hand::start),
    (TOKIO, Role::Peer, by_tokio::start_forwarding),
    (
        "tokio-tungstenite, send",
        Role::Aside,
        by_tokio::start_sending,
    ),
];

fn round(
    start: Start,
    connections: usize,
    amount: Amount,
    plan: &Plan,
) -> Result<Figures, MeasureError> {
    let failed = |doing: String| MeasureError::Peer { doing };
    let server = start(plan.cores[1], &plan.clock).map_err(failed)?;
    let figures = || {
        let mut load = Load::connect(server.at, connections, plan)?;
        load.drive(1, amount.warm_up)?;
        load.drive(WINDOW, amount.warm_up)?;
        let trips = load.drive(1, amount.trips)?;
        let flat_out = load.drive(WINDOW, amount.flat_out)?;
        Ok(Figures {
            rtt: trips.rtt,
            trips_per_s: trips.per_s,
            flat_out_per_s: flat_out.per_s,
        })
    };
    let figures = figures();
    let ended = server.end();
    let figures = figures.map_err(failed)?;
    ended.map_err(failed)?;
    Ok(figures)
}

/// One bar and how it came out.
#[derive(Clone, Debug, Serialize)]
struct Bar {
    bar: String,
    found: Spread,
    met: bool,
}

/// One server's row.
#[derive(Clone, Debug, Serialize)]
struct Row {
    server: String,
    connections: usize,
    p50_us: Spread,
    p99_us: Spread,
    trips_per_s: Spread,
    flat_out_per_s: Spread,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Report {
    cores: Vec<usize>,
    rounds: usize,
    rows: Vec<Row>,
    bars: Vec<Bar>,
}

fn row(run: &Runs<Figures>, connections: usize) -> Row {
    let spread = |of: fn(&Figures) -> f64| Spread::of(&run.series(of));
    Row {
        server: run.name.clone(),
        connections,
        p50_us: spread(|one| one.rtt.p50 / 1e3),
        p99_us: spread(|one| one.rtt.p99 / 1e3),
        trips_per_s: spread(|one| one.trips_per_s),
        flat_out_per_s: spread(|one| one.flat_out_per_s),
    }
}

fn bars(runs: &[Runs<Figures>], connections: usize) -> Vec<Bar> {
    let named = |name: &str| runs.iter().find(|run| run.name == name);
    let mut bars = Vec::new();
    let mut judge = |to: &str, what: &str, of: fn(&Figures) -> f64, most: Option<f64>, least| {
        let (Some(ours), Some(theirs)) = (named(OURS), named(to)) else {
            return;
        };
        let found = Spread::of(&ratios(&ours.series(of), &theirs.series(of)));
        let (sign, bound, met) = match most {
            Some(most) => ("<=", most, found.median <= most),
            None => (">=", least, found.median >= least),
        };
        bars.push(Bar {
            bar: format!("{connections} connections, {what} {sign} {bound:.2} of {to}"),
            found,
            met,
        });
    };
    judge(BY_HAND, "p50", |one| one.rtt.p50, Some(1.10), 0.0);
    judge(BY_HAND, "p99", |one| one.rtt.p99, Some(1.10), 0.0);
    judge(BY_HAND, "round trips/s", |one| one.trips_per_s, None, 0.95);
    judge(BY_HAND, "flat out", |one| one.flat_out_per_s, None, 0.95);
    judge(TOKIO, "round trips/s", |one| one.trips_per_s, None, 4.0);
    judge(TOKIO, "flat out", |one| one.flat_out_per_s, None, 4.0);
    bars
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
struct Ask {
    rounds: usize,
    quick: bool,
    json: bool,
}

fn asked() -> Option<Ask> {
    let mut ask = Ask {
        rounds: 9,
        quick: false,
        json: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => ask.rounds = words.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            "--quick" => ask.quick = true,
            "--json" => ask.json = true,
            _ => return None,
        }
    }
    Some(ask)
}

fn run(ask: Ask) -> Result<Report, MeasureError> {
    let plan = Plan::new()?;
    let amount = match ask.quick {
        true => Amount {
            warm_up: 640,
            trips: 2_560,
            flat_out: 20_480,
        },
        false => Amount {
            warm_up: 6_400,
            trips: 64_000,
            flat_out: 1_024_000,
        },
    };
    core_affinity::set_for_current(CoreId { id: plan.cores[0] });
    let mut report = Report {
        cores: plan.cores.to_vec(),
        rounds: ask.rounds,
        ..Report::default()
    };
    for connections in CONNECTIONS {
        let candidates = SERVERS.map(|(name, role, start)| {
            let plan = &plan;
            let measure = move |_| round(start, connections, amount, plan);
            Candidate::new(name, PAYLOAD_BYTES, role, measure)
        });
        let runs = measure::interleave(ask.rounds, candidates.into())?;
        report
            .rows
            .extend(runs.iter().map(|run| row(run, connections)));
        report.bars.extend(bars(&runs, connections));
    }
    Ok(report)
}

fn print(report: &Report) {
    println!(
        "{PAYLOAD_BYTES} B, {} rounds, client and server on cores {:?}; median (lowest-highest)",
        report.rounds, report.cores
    );
    for connections in CONNECTIONS {
        println!(
            "\n{connections:>2} connections {:>28} {:>28} {:>30} {:>34}",
            "p50 us", "p99 us", "round trips/s", "flat out, messages/s"
        );
        for row in report
            .rows
            .iter()
            .filter(|row| row.connections == connections)
        {
            println!(
                "{:<24} {:>18.2} {:>28.2} {:>30.0} {:>34.0}",
                row.server, row.p50_us, row.p99_us, row.trips_per_s, row.flat_out_per_s
            );
        }
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
    let report = match run(ask) {
        Ok(report) => report,
        Err(error) => {
            eprintln!("echo: {error}");
            return ExitCode::FAILURE;
        }
    };
    match (ask.json, serde_json::to_string_pretty(&report)) {
        (false, _) => print(&report),
        (true, Ok(json)) => println!("{json}"),
        (true, Err(error)) => {
            eprintln!("echo: the report cannot be written as JSON: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
