//! The ledger against random lines: graphs, policies, habits of nodes and faults drawn from a seed, run inline on virtual time,
//! and every count of the report held against what the parts of the line saw themselves.
//!
//! `HOPLINE_LEDGER_CASES` says how many lines, and `HOPLINE_LEDGER_SEED` runs just the one of that seed.
//!
//! Invariant: a seed is the whole of a case: the same one gives the same line, the same run and the same report.

#[path = "ledger/account.rs"]
mod account;
#[path = "ledger/oracle.rs"]
mod oracle;
#[path = "ledger/parts.rs"]
mod parts;
#[path = "ledger/plan.rs"]
mod plan;
#[path = "ledger/shrink.rs"]
mod shrink;

use std::sync::Arc;

use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::io::{Driver, FaultPlan, Faulty, VirtualNet};
use hopline::topology::{Builder, Hop, Inline, Line, Report};

use account::{Account, Shared};
use oracle::differences;
use parts::{End, Feeder, Worker, lock};
use plan::{NodePlan, OnPanic, Plan, RingPlan, StagePlan};

/// Lines where nothing else is said: a second or two without optimisation.
const CASES_DEFAULT: u64 = 400;

/// One in so many seeds is run a second time, for the same report.
const TWICE_ONE_IN: u64 = 16;

fn number(name: &str) -> Option<u64> {
    let given = std::env::var(name).ok()?;
    Some(
        given
            .parse()
            .unwrap_or_else(|_| panic!("{name} = {given} is no number")),
    )
}

fn add_stage(
    line: &mut Builder,
    name: &str,
    at: usize,
    seed: u64,
    stage: &StagePlan,
    shared: &Shared,
) {
    let (plan, shared) = (stage.clone(), shared.clone());
    match stage.on_panic {
        OnPanic::Stop => {}
    }
    match stage.habits.emit_max {
        1 => line.stage(name, move || Worker::<1>::new(at, seed, &plan, &shared)),
        3 => line.stage(name, move || Worker::<3>::new(at, seed, &plan, &shared)),
        _ => line.stage(name, move || Worker::<8>::new(at, seed, &plan, &shared)),
    };
}

fn add_ring(line: &mut Builder, plan: &Plan, ring: &RingPlan) {
    let mut hop = Hop::depth(ring.depth).when_full(ring.policy);
    let names = |nodes: &[usize]| -> Vec<String> {
        nodes.iter().map(|node| oracle::name(plan, *node)).collect()
    };
    for (consumer, others) in &ring.after {
        let others = names(others);
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        hop = hop.after(&oracle::name(plan, *consumer), others.as_slice());
    }
    let to = names(&ring.to);
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    line.connect(&oracle::from(plan, ring), to.as_slice(), hop);
}

/// The line of a plan, whose parts write to that account.
fn build(plan: &Plan, shared: &Shared) -> Line {
    let mut line = Line::builder("ledger");
    for (at, node) in plan.nodes.iter().enumerate() {
        let name = oracle::name(plan, at);
        match node {
            NodePlan::Source(source) => {
                line.source(&name, Feeder::new(at, plan.seed, source, shared))
            }
            NodePlan::Sink(sink) => line.sink(&name, End::new(at, plan.seed, sink, shared)),
            NodePlan::Stage(stage) => {
                add_stage(&mut line, &name, at, plan.seed, stage, shared);
                &mut line
            }
        };
    }
    for ring in &plan.rings {
        add_ring(&mut line, plan, ring);
    }
    line.drain_within_ns(plan.drain_ns);
    line.build()
        .unwrap_or_else(|problems| panic!("{plan:#?}\nis no line: {problems}"))
}

/// What a run left behind.
struct Ran {
    plan: Arc<Plan>,
    report: Report,
    shared: Shared,
    /// Datagrams that the network got.
    datagrams: u64,
}

fn run(plan: &Plan) -> Ran {
    let plan = Arc::new(plan.clone());
    let shared: Shared = Account::shared(&plan);
    let line = build(&plan, &shared);
    let net = VirtualNet::new();
    let faults = plan.faults;
    let driver = Faulty::new(
        net.driver().into(),
        FaultPlan {
            seed: plan.seed,
            send_would_block_one_in: faults.would_block_one_in,
            send_refused_one_in: faults.refused_one_in,
            poll_spurious_one_in: faults.spurious_one_in,
            ..FaultPlan::default()
        },
    );
    let mut inline = Inline::new(Driver::from(driver));
    inline.clock.1.set_tick_ns(plan.tick_ns);
    if let plan::End::After(span_ns) = plan.end {
        inline = inline.stop_after_ns(span_ns);
    }
    let signal = lock(&shared).signal.clone();
    let (report, _) = line.run_inline(inline, Some(&signal)).expect("it opens");
    Ran {
        plan,
        report,
        shared,
        datagrams: net.sent().len() as u64,
    }
}

impl Ran {
    fn differences(&self) -> Vec<String> {
        let account = lock(&self.shared);
        let mut found = differences(&self.plan, &account, &self.report);
        let sent: u64 = account.nodes.iter().map(|node| node.datagrams).sum();
        if sent != self.datagrams {
            found.push(format!(
                "sinks sent {sent} datagrams, {} are on the network",
                self.datagrams
            ));
        }
        found
    }

    fn json(&self) -> String {
        serde_json::to_string(&self.report).expect("a report is a value")
    }
}

/// All that is wrong with a run of a plan.
fn faults_of(plan: &Plan, twice: bool) -> Vec<String> {
    let ran = run(plan);
    let mut found = ran.differences();
    if twice && ran.json() != run(plan).json() {
        found.push("a second run gives another report".to_owned());
    }
    found
}

/// Runs the line of a seed.
///
/// # Panics
/// If a count is wrong: with the smallest line that was found on which it still is, and how to run it again.
fn check(seed: u64, twice: bool) {
    let plan = Plan::draw(seed);
    let found = faults_of(&plan, twice);
    if found.is_empty() {
        return;
    }
    let small = shrink::shrink(&plan, |plan| !faults_of(plan, twice).is_empty());
    panic!(
        "the ledger of seed {seed} is wrong:\n  {}\non the smallest line found like it:\n  {}\n{small:#?}\n\
         again: HOPLINE_LEDGER_SEED={seed} cargo test --test ledger\n",
        found.join("\n  "),
        faults_of(&small, twice).join("\n  "),
    );
}

#[test]
fn every_message_of_random_lines_is_in_the_ledger_once() {
    if let Some(seed) = number("HOPLINE_LEDGER_SEED") {
        return check(seed, true);
    }
    let cases = number("HOPLINE_LEDGER_CASES").unwrap_or(CASES_DEFAULT);
    let next = AtomicU64::new(0);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= cases {
                return;
            }
            check(seed, seed % TWICE_ONE_IN == 0);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}
