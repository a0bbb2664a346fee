//! What each way to wait costs and saves: a real line of two loops on a core each, messages at a steady
//! rate, and how the consuming loop waits for them.
//!
//! ```text
//! cargo bench --bench wait [-- --quick]
//! ```
//!
//! - *wait*: from the offer of a message until the consumer takes it, as the line records it itself.
//! - *CPU*: the share of a core that the consumer's thread used, as the kernel counts it.
//! - *wakes*: system calls of the producer, per message. While the consumer is awake there is none.
//!
//! The producer spins in all of them, so that the rate is steady. Both cores have to be free.

use std::time::Duration;

use hopline::adapter::{Content, blackhole, datagrams, synthetic};
use hopline::feed::Arrivals;
use hopline::host::{Pin, allowed_cores};
use hopline::topology::{Hop, Line, Placement, Running, ThreadSpec};
use hopline::wait::Strategy;
use hopline_harness::measure::Spread;

const RATES_PER_S: [f64; 3] = [1e3, 1e4, 1e5];
const WAITS: [Strategy; 3] = [Strategy::Spin, Strategy::YIELD, Strategy::PARK];

/// The consumer's thread, by which the kernel's figures are found.
const CONSUMER: &str = "eats";

/// What one run came to.
struct Seen {
    p50_ns: f64,
    p90_ns: f64,
    p99_ns: f64,
    cpu_percent: f64,
    wakes_per_message: f64,
}

fn line(cores: [usize; 2], rate_per_s: f64, wait: Strategy) -> Line {
    let mut line = Line::builder("wait");
    let feed = synthetic("none", rate_per_s)
        .content(Content::Datagrams { bytes: 64 })
        .arrivals(Arrivals::Constant);
    line.source("in", feed.decode(datagrams()));
    line.sink("out", blackhole());
    line.connect("in", "out", Hop::depth(1024));
    let thread = |name: &str, core, wait, node: &str| ThreadSpec {
        name: name.to_owned(),
        core: Some(core),
        wait: Some(wait),
        nodes: vec![node.to_owned()],
        ..ThreadSpec::default()
    };
    line.placement(Placement {
        pin: Pin::Require,
        threads: vec![
            thread("feeds", cores[0], Strategy::Spin, "in"),
            thread(CONSUMER, cores[1], wait, "out"),
        ],
        ..Placement::default()
    });
    line.build().expect("a right line")
}

/// Nanoseconds that the consumer's thread has been on a core: the first word of its `schedstat`.
fn consumer_cpu_ns() -> Option<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let consumer = tasks.filter_map(Result::ok).find(|task| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == CONSUMER)
    })?;
    let stat = std::fs::read_to_string(consumer.path().join("schedstat")).ok()?;
    stat.split_whitespace().next()?.parse().ok()
}

/// Lets a running line be for that long.
fn let_run(running: &mut Running, span: Duration) {
    let ended = running.wait(span);
    assert!(!ended, "the feed has no end");
}

fn run(cores: [usize; 2], rate_per_s: f64, wait: Strategy, span: Duration) -> Seen {
    let mut running = line(cores, rate_per_s, wait).start().expect("two cores");
    // Caches and the clock's scale settle.
    let_run(&mut running, Duration::from_millis(100));
    running.forget_latencies();
    let before = running.report();
    let (began, cpu_began_ns) = (running.elapsed(), consumer_cpu_ns());
    let_run(&mut running, span);
    let (took, cpu_ended_ns) = (running.elapsed() - began, consumer_cpu_ns());
    let report = running.end("duration");
    let (hop, was) = (&report.hops[0], &before.hops[0]);
    let cpu_ns = cpu_ended_ns.unwrap_or(0) - cpu_began_ns.unwrap_or(0);
    Seen {
        p50_ns: hop.wait_ns.p50 as f64,
        p90_ns: hop.wait_ns.p90 as f64,
        p99_ns: hop.wait_ns.p99 as f64,
        cpu_percent: cpu_ns as f64 * 100.0 / took.as_nanos() as f64,
        wakes_per_message: (hop.wakes - was.wakes) as f64 / (hop.offered - was.offered) as f64,
    }
}

fn main() {
    // cargo passes `--bench`; whatever else it passes is not for this bench.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let &[first, .., last] = allowed_cores() else {
        println!("wait: needs two cores; nothing measured");
        return;
    };
    let (rounds, span) = if quick {
        (1, Duration::from_millis(200))
    } else {
        (5, Duration::from_millis(700))
    };
    let cells: Vec<(f64, Strategy)> = RATES_PER_S
        .iter()
        .flat_map(|rate| WAITS.map(|wait| (*rate, wait)))
        .collect();
    let mut seen: Vec<Vec<Seen>> = cells.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..cells.len() {
            let at = (round + turn) % cells.len();
            let (rate_per_s, wait) = cells[at];
            seen[at].push(run([first, last], rate_per_s, wait, span));
        }
    }
    println!(
        "wait: one hop between cores {first} and {last}, {rounds} rounds of {span:?} each; median (lowest-highest)"
    );
    println!(
        "{:>7} {:<6} {:>22} {:>24} {:>28} {:>18} {:>12}",
        "msg/s", "waits", "p50 ns", "p90 ns", "p99 ns", "CPU %", "wakes / msg"
    );
    for ((rate_per_s, wait), rounds) in cells.iter().zip(&seen) {
        let of =
            |which: fn(&Seen) -> f64| Spread::of(&rounds.iter().map(which).collect::<Vec<_>>());
        println!(
            "{rate_per_s:>7} {wait:<6} {:>22.0} {:>24.0} {:>28.0} {:>18.1} {:>12.3}",
            of(|seen| seen.p50_ns),
            of(|seen| seen.p90_ns),
            of(|seen| seen.p99_ns),
            of(|seen| seen.cpu_percent),
            of(|seen| seen.wakes_per_message).median,
        );
    }
}
