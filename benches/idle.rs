//! What a policy costs that has nothing to do: the same line under each, never overloaded.
//!
//! ```text
//! cargo bench --bench idle [-- --quick]
//! ```
//!
//! source → stage → sink with both hops under the policy, of frames with a number that the stage passes on: there is hardly
//! anything beside the hops, so a ratio is the highest that a line can have. Three ways to run it:
//!
//! - *flat out*: all on one core, as fast as it goes; what a message takes of the core, from the source to the sink.
//! - *paced*: all on one core, 100,000 a second; p50 from the time a message was due until the sink has it.
//! - *apart*: the same with the source on a core of its own.
//!
//! Each round runs every policy, in another order, so that drift of the machine touches all alike; a ratio is one within a round,
//! of the same minute. What is shown is the median over the rounds, with the lowest and the highest. The bar is 1.10. *none
//! again* is the same as *none*: how far its ratios are from 1 is what this machine can tell. The table is Markdown, for
//! docs/OVERLOAD.md.
//!
//! A host that takes the core away for longer than a policy waits makes that policy act. Such a run is no measure of an idle one: it
//! is made again, and the last line says how often that was.
//!
//! Invariant: a run in which a message was lost is no measure, and one that lost some three times over ends the bench.

use std::time::Duration;

use hopline::adapter::blackhole;
use hopline::base::NoWhy;
use hopline::frame::View;
use hopline::host::{Pin, allowed_cores};
use hopline::overload::{Policy, WhenFull};
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::topology::{Hop, Line, Placement, Stop, ThreadSpec};
use hopline::wait::Strategy;
use hopline_harness::measure::{Spread, ratios};

#[path = "../tests/common/numbers.rs"]
mod numbers;

use numbers::{Counting, NUMBERS, Number};

/// What a policy may cost, as a ratio to none.
const BAR: f64 = 1.10;

/// Tries of a run.
const TRIES_MAX: usize = 3;

/// Between two paced messages, in nanoseconds.
const APART_NS: u64 = 10_000;

#[derive(Clone, Copy, PartialEq)]
enum Runs {
    FlatOut,
    Paced,
    Apart,
}

impl Runs {
    const ALL: [Runs; 3] = [Runs::FlatOut, Runs::Paced, Runs::Apart];

    fn name(self) -> &'static str {
        match self {
            Runs::FlatOut => "flat out",
            Runs::Paced => "paced",
            Runs::Apart => "apart",
        }
    }
}

/// Those that are compared; the first is what they are compared with. Each has more room than a line that keeps up needs.
fn policies() -> [(&'static str, Policy); 5] {
    let block = Policy::of(WhenFull::Block);
    let with_timeout = Policy {
        block_timeout_ns: 10_000_000,
        ..block
    };
    let with_deadline = Policy {
        deadline_ns: 50_000_000,
        ..block
    };
    let with_codel = Policy {
        codel_target_ns: 5_000_000,
        codel_interval_ns: 50_000_000,
        ..block
    };
    [
        ("none", block),
        ("`block`, 10 ms", with_timeout),
        ("`deadline`, 50 ms", with_deadline),
        ("`codel`, 5 ms in 50 ms", with_codel),
        ("none again", block),
    ]
}

/// Passes on.
struct Pass;

impl Stage for Pass {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

fn line(policy: Policy, runs: Runs, messages: u64, cores: &[usize]) -> Line {
    let mut line = Line::builder("idle");
    let gap_ns = if runs == Runs::FlatOut { 0 } else { APART_NS };
    line.source("in", Counting::new(messages, gap_ns));
    line.stage("pass", || Pass);
    line.sink("out", blackhole());
    line.connect("in", "pass", Hop::depth(1024).policy(policy));
    line.connect("pass", "out", Hop::depth(1024).policy(policy));
    let thread = |nodes: &[&str], core: Option<&usize>| ThreadSpec {
        name: nodes.join("-"),
        core: core.copied(),
        wait: Some(Strategy::Spin),
        nodes: nodes.iter().map(|&name| name.to_owned()).collect(),
        ..ThreadSpec::default()
    };
    // The first cores tend to serve interrupts.
    let threads = match runs {
        Runs::FlatOut | Runs::Paced => vec![thread(&["in", "pass", "out"], cores.last())],
        Runs::Apart => vec![
            thread(&["in"], cores.first()),
            thread(&["pass", "out"], cores.last()),
        ],
    };
    line.placement(Placement {
        pin: Pin::Prefer,
        threads,
        ..Placement::default()
    });
    line.build().expect("a right line")
}

/// A run that measures, and how many before it did not.
fn measured(policy: Policy, runs: Runs, messages: u64, cores: &[usize]) -> (f64, usize) {
    let mut tries = (0..TRIES_MAX).map(|before| (run(policy, runs, messages, cores), before));
    let found = tries.find_map(|(span_ns, before)| Some((span_ns?, before)));
    found.expect("a line that keeps up loses nothing")
}

/// Nanoseconds a message: what it takes of the core flat out, else the p50 from its due time to its end. None where the policy
/// acted.
fn run(policy: Policy, runs: Runs, messages: u64, cores: &[usize]) -> Option<f64> {
    let line = line(policy, runs, messages, cores);
    let mut running = line.start().expect("it starts");
    let cause = running.watch(&Stop::after(Duration::from_secs(20)), |_| {});
    let report = running.end(cause);
    assert!(report.is_good(), "{:?}", report.ledger);
    if report.hops.iter().any(|hop| hop.delivered != messages) {
        return None;
    }
    if runs == Runs::FlatOut {
        let stages = report.stages.iter().map(|stage| &stage.regimes_ns);
        let busy_ns: u64 = stages.map(|regimes| regimes.work + regimes.io).sum();
        return Some(busy_ns as f64 / messages as f64);
    }
    Some(report.end_to_end.sojourn_ns.p50 as f64)
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let has = |flag: &str| words.iter().any(|word| word == flag);
    // Cargo says `--bench`; without it this is `cargo test --benches`, and once around is enough.
    let (rounds, scale) = match (has("--bench"), has("--quick")) {
        (true, false) => (15, 1),
        _ => (1, 20),
    };
    let cores = allowed_cores();
    println!(
        "idle: ns a message, median of {rounds} rounds (lowest-highest); ratios round by round\n"
    );
    println!("| line | policy | ns | of none | |");
    println!("|---|---|---:|---:|---|");
    let mut again = 0;
    for runs in Runs::ALL {
        if runs == Runs::Apart && cores.len() < 2 {
            println!("| {} | needs two cores | | | |", runs.name());
            continue;
        }
        let messages = if runs == Runs::FlatOut {
            2_000_000
        } else {
            30_000
        };
        let policies = policies();
        let mut seen = vec![Vec::new(); policies.len()];
        for round in 0..rounds {
            for turn in 0..policies.len() {
                let at = (round + turn) % policies.len();
                let (span_ns, before) = measured(policies[at].1, runs, messages / scale, cores);
                seen[at].push(span_ns);
                again += before;
            }
        }
        for ((name, _), spans_ns) in policies.iter().zip(&seen) {
            let ratio = Spread::of(&ratios(spans_ns, &seen[0]));
            println!(
                "| {} | {name} | {:.1} | {ratio:.3} | {} |",
                runs.name(),
                Spread::of(spans_ns),
                if ratio.median <= BAR { "" } else { "over 1.10" }
            );
        }
    }
    println!(
        "\nruns made again, since the host held the line up for longer than its policy waits: {again}"
    );
}
