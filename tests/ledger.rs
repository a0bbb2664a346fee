//! The ledger against random lines: graphs, policies, habits of nodes and faults drawn from a seed, run inline on virtual time,
//! and every count of the report held against what the parts of the line saw themselves.
//!
//! `HOPLINE_LEDGER_CASES` says how many lines, and `HOPLINE_LEDGER_SEED` runs just the one of that seed.
//!
//! Invariant: a seed is the whole of a case: the same one gives the same line, the same run and the same report.

#[path = "ledger/account.rs"]
mod account;
#[path = "ledger/fans.rs"]
mod fans;
#[path = "ledger/files.rs"]
mod files;
#[path = "ledger/on_ring.rs"]
mod on_ring;
#[path = "ledger/oracle.rs"]
mod oracle;
#[path = "ledger/outlet.rs"]
mod outlet;
#[path = "ledger/parts.rs"]
mod parts;
#[path = "ledger/places.rs"]
mod places;
#[path = "ledger/plan.rs"]
mod plan;
#[path = "ledger/policies.rs"]
mod policies;
#[path = "ledger/shrink.rs"]
mod shrink;

use std::sync::Arc;

use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::budget::report::{ByReason, HopReport, StageReport};
use hopline::io::{Driver, FaultPlan, Faulty, VirtualNet};
use hopline::overload::{Policy, Slow, WhenFull};
use hopline::reactor::Schedule;
use hopline::stage::Emit;
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Report};

use account::{Account, Made, Seen, Shared};
use oracle::differences;
use outlet::Outlet;
use parts::{Feeder, Worker, lock};
use places::{Has, PLACES};
use plan::{CLASSES, NodePlan, Plan, RingPlan, StagePlan};

/// Lines where nothing else is said: a second or two without optimisation.
const CASES_DEFAULT: u64 = 400;

/// Bytes that a file may have into which a hop overflows: as many as no line has.
const FILE_BYTES: u64 = 32 << 20;

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
    line.on_panic(name, stage.on_panic);
    match stage.habits.emit_max {
        1 => line.stage(name, move || Worker::<1>::new(at, seed, &plan, &shared)),
        3 => line.stage(name, move || Worker::<3>::new(at, seed, &plan, &shared)),
        _ => line.stage(name, move || Worker::<8>::new(at, seed, &plan, &shared)),
    };
}

/// Adds the hops of a ring, and of those that are of its list if it is the first one.
fn add_ring(line: &mut Builder, plan: &Plan, at: usize) {
    let (ring, list) = (&plan.rings[at], plan.list_of(at));
    if list[0] != at {
        return;
    }
    let mut hop = Hop::depth(ring.depth).policy(plan.policy_of(&list));
    if let Some(split) = plan.split_of(at) {
        hop = hop.split(split);
    }
    for one in &list {
        let slow = plan.slow_of(*one);
        for to in plan.rings[*one].to.iter().filter(|_| slow != Slow::Hold) {
            hop = hop.slow(&oracle::name(plan, *to), slow);
        }
    }
    (hop.most_keys, hop.rank) = (ring.most_keys, ring.rank);
    if let Some(to) = ring.overflow_to {
        hop = hop.overflow_to(&oracle::name(plan, to));
    }
    if ring.into_file {
        hop = hop.overflow_file(files::path(at), FILE_BYTES);
    }
    if let Some((name, kinds)) = ring.class.map(|class| CLASSES[class]) {
        hop = hop.class(name, kinds);
    }
    let names = |nodes: &[usize]| -> Vec<String> {
        nodes.iter().map(|node| oracle::name(plan, *node)).collect()
    };
    let after = list.iter().flat_map(|one| &plan.rings[*one].after);
    for (consumer, others) in after {
        let others = names(others);
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        hop = hop.after(&oracle::name(plan, *consumer), others.as_slice());
    }
    let to = list.iter().flat_map(|one| names(&plan.rings[*one].to));
    let to: Vec<String> = to.collect();
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
            NodePlan::Sink(sink) => line.sink(&name, Outlet::new(at, plan.seed, sink, shared)),
            NodePlan::Stage(stage) => {
                add_stage(&mut line, &name, at, plan.seed, stage, shared);
                &mut line
            }
        };
    }
    for at in 0..plan.rings.len() {
        add_ring(&mut line, plan, at);
    }
    let mut placement = Placement {
        sharing: plan.sharing,
        ..Placement::default()
    };
    // Whatever comes last is the most important.
    for at in 0..plan.nodes.len() {
        let is_source = matches!(plan.nodes[at], NodePlan::Source(_));
        if is_source || plan.sharing.schedule() != Schedule::Priority {
            continue;
        }
        placement = placement.priority(&oracle::name(plan, at), (plan.nodes.len() - at) as u8);
    }
    line.placement(placement);
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
    /// What is wrong with the files into which hops overflowed.
    wrong_files: Vec<String>,
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
    let wrong_files = files::differences(&plan, &report, &mut net.driver().into());
    Ran {
        plan,
        report,
        shared,
        datagrams: net.sent().len() as u64,
        wrong_files,
    }
}

impl Ran {
    fn differences(&self) -> Vec<String> {
        let account = lock(&self.shared);
        let mut found = differences(&self.plan, &account, &self.report);
        found.extend(self.wrong_files.iter().cloned());
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
            check(seed, seed.is_multiple_of(TWICE_ONE_IN));
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

/// Seeds within which each of the places is come to.
const PLACES_WITHIN: u64 = 2_000;

#[test]
fn the_seeds_come_to_all_that_can_become_of_a_message() {
    let mut left: Vec<_> = PLACES.iter().collect();
    for seed in 0..PLACES_WITHIN {
        let ran = run(&Plan::draw(seed));
        left.retain(|(_, is_there)| !is_there(&ran));
        if left.is_empty() {
            return;
        }
    }
    let left: Vec<&str> = left.iter().map(|(place, _)| *place).collect();
    panic!("never reached: {}", left.join(", "));
}

/// The first runs that have what a planted fault needs.
fn runs_with(is_there: impl Fn(&Ran) -> bool, count: usize) -> Vec<Ran> {
    let runs = (0..PLACES_WITHIN).map(|seed| run(&Plan::draw(seed)));
    let found: Vec<Ran> = runs.filter(is_there).take(count).collect();
    assert_eq!(found.len(), count, "there are such runs");
    found
}

/// Takes `count` from one reason and gives it to another.
fn swap(counts: &mut ByReason, from: &str, to: &str) {
    let moved = counts.remove(from).expect("there is such a reason");
    *counts.entry(to.to_owned()).or_default() += moved;
}

fn hop_with(report: &mut Report, is_it: impl Fn(&HopReport) -> bool) -> &mut HopReport {
    let mut hops = report.hops.iter_mut();
    hops.find(|hop| is_it(hop)).expect("there is such a hop")
}

fn node_with(report: &mut Report, is_it: impl Fn(&StageReport) -> bool) -> &mut StageReport {
    let mut nodes = report.stages.iter_mut();
    nodes
        .find(|node| is_it(node))
        .expect("there is such a node")
}

/// Spoils a report.
type Plant = fn(&mut Report);

/// Faults of a report that its own sums may not show.
const PLANTED: [(&str, Has, Plant); 13] = [
    (
        "one delivered more",
        |_| true,
        |report| report.hops[0].delivered += 1,
    ),
    (
        "one offered and accepted and delivered more",
        |_| true,
        |report| {
            let hop = &mut report.hops[0];
            hop.offered += 1;
            hop.accepted += 1;
            hop.delivered += 1;
            hop.sojourn_ns.count += 1;
        },
    ),
    (
        "one shed less",
        |ran| ran.has_shed("full"),
        |report| {
            let hop = hop_with(report, |hop| hop.shed.contains_key("full"));
            *hop.shed.get_mut("full").expect("it is there") -= 1;
        },
    ),
    (
        "one shed less, accepted and discarded",
        |ran| ran.has_shed("full"),
        |report| {
            let hop = hop_with(report, |hop| hop.shed.contains_key("full"));
            *hop.shed.get_mut("full").expect("it is there") -= 1;
            hop.accepted += 1;
            *hop.discarded.entry("stage_failed".to_owned()).or_default() += 1;
        },
    ),
    (
        "one of a split that another of its hops has shed as well",
        |ran| {
            let mut splits = ran.report.splits.iter();
            splits.any(|split| ran.has_delivered(split, 2) && ran.has_shed_token(split))
        },
        |report| {
            let split = report.splits.iter().flat_map(|split| split.hops.clone());
            let split: Vec<String> = split.collect();
            let hop = hop_with(report, |hop| {
                let token = hop.shed_by_kind.get("token");
                split.contains(&hop.name) && token.is_some_and(|shed| shed.contains_key("full"))
            });
            hop.offered += 1;
            *hop.shed.get_mut("full").expect("it is there") += 1;
            let token = hop.shed_by_kind.get_mut("token").expect("it is there");
            *token.get_mut("full").expect("it is there") += 1;
            report.ledger.shed += 1;
        },
    ),
    (
        "a shed by another reason",
        |ran| ran.has_shed("full"),
        |report| {
            let hop = hop_with(report, |hop| hop.shed.contains_key("full"));
            swap(&mut hop.shed, "full", "rejected");
        },
    ),
    (
        "a discard by another reason",
        |ran| ran.has_discarded("stage_failed"),
        |report| {
            let hop = hop_with(report, |hop| hop.discarded.contains_key("stage_failed"));
            swap(&mut hop.discarded, "stage_failed", "drain_deadline");
        },
    ),
    (
        "a shed of another kind",
        |ran| ran.has_shed("full") && ran.is_foretold(),
        |report| {
            let hop = hop_with(report, |hop| hop.shed_by_kind.contains_key("token"));
            let counts = hop.shed_by_kind.remove("token").expect("it is there");
            hop.shed_by_kind.insert("other".to_owned(), counts);
        },
    ),
    (
        "one still in flight",
        |_| true,
        |report| {
            let hop = hop_with(report, |hop| hop.delivered > 0);
            hop.delivered -= 1;
            hop.in_flight += 1;
        },
    ),
    (
        "one forwarded that was absorbed",
        |ran| {
            ran.report
                .stages
                .iter()
                .any(|node| node.absorbed.contains_key("enough"))
        },
        |report| {
            let node = node_with(report, |node| node.absorbed.contains_key("enough"));
            let absorbed = node.absorbed.remove("enough").expect("it is there");
            node.forwarded += absorbed;
        },
    ),
    (
        "one consumed and rejected more",
        |_| true,
        |report| {
            let node = node_with(report, |node| node.role == "sink");
            node.consumed += 1;
            *node.rejected.entry("unwanted".to_owned()).or_default() += 1;
        },
    ),
    (
        "one received and shed more",
        |_| true,
        |report| {
            let source = report.ledger.sources.values_mut().next().expect("a source");
            source.received += 1;
            source.shed += 1;
        },
    ),
    (
        "an open ledger that is called closed",
        |ran| !ran.report.ledger.closed,
        |report| {
            report.ledger.closed = true;
            report.ledger.breaches.clear();
        },
    ),
];

#[test]
fn a_planted_miscount_is_seen_wherever_it_is() {
    for (what, is_there, plant) in PLANTED {
        for mut ran in runs_with(is_there, 5) {
            plant(&mut ran.report);
            assert!(
                !ran.differences().is_empty(),
                "seed {}: {what} is not seen",
                ran.plan.seed
            );
        }
    }
}

/// Frames that come to a sink by one hop of a depth of 8, each with its message's number, its place and its parts; what is
/// said to be wrong with them.
fn come(emitted: &[usize], frames: &[(u64, usize, usize)]) -> Vec<String> {
    let mut plan = Plan::draw(0);
    plan.nodes = vec![
        NodePlan::Source(plan::SourcePlan::default()),
        NodePlan::Sink(plan::SinkPlan::default()),
    ];
    plan.rings = vec![RingPlan {
        from: 0,
        port: 0,
        to: vec![1],
        after: Vec::new(),
        depth: 8,
        policy: Policy::of(WhenFull::DropNewest),
        overflow_to: None,
        into_file: false,
        most_keys: 1,
        rank: 0,
        class: None,
        fan: None,
    }];
    let shared = Account::shared(&Arc::new(plan));
    let mut account = lock(&shared);
    for parts in emitted {
        let seq = account.next_seq(0, 0);
        let made = Made {
            from: 0,
            port: 0,
            seq,
            parts: *parts,
            kind: "token",
            alien_at: None,
            key: None,
        };
        account.emitted(made, Emit::Sent);
    }
    for (seq, part, parts) in frames {
        let seen = Seen {
            from: 0,
            port: 0,
            seq: *seq,
            part: *part,
            parts: *parts,
        };
        account.took(1, seen);
    }
    account.wrong.clone()
}

#[test]
fn half_a_message_and_one_out_of_turn_are_seen() {
    assert_eq!(come(&[2, 1], &[(0, 0, 2), (0, 1, 2), (1, 0, 1)]), [""; 0]);
    for frames in [
        // The first half only; the second half only; the same fragment twice.
        &[(0, 0, 2), (1, 0, 1)][..],
        &[(0, 1, 2), (1, 0, 1)],
        &[(0, 0, 2), (0, 0, 2)],
        // The later one first; one twice; one that never was; one of another length.
        &[(1, 0, 1), (0, 0, 2)],
        &[(0, 0, 2), (0, 1, 2), (0, 0, 2)],
        &[(0, 0, 2), (0, 1, 2), (2, 0, 1)],
        &[(0, 0, 2), (0, 1, 2), (1, 0, 2)],
        // One that is left out.
        &[(1, 0, 1)],
    ] {
        assert!(!come(&[2, 1], frames).is_empty(), "{frames:?} is not seen");
    }
    // One that had no room and is said to be sent.
    assert!(!come(&[8, 1], &[]).is_empty());
}

#[test]
fn a_failing_line_is_made_small() {
    let plan = (0..)
        .map(Plan::draw)
        .find(|plan| plan.nodes.len() > 12 && plan.rings.len() > 14);
    let plan = plan.expect("there is one");
    // As if a sink were the fault.
    let fails = |plan: &Plan| {
        plan.nodes
            .iter()
            .any(|node| matches!(node, NodePlan::Sink(_)))
    };
    let small = shrink::shrink(&plan, fails);
    assert!(small.loose().is_none() && fails(&small), "{small:#?}");
    assert!(
        small.nodes.len() <= 3 && small.rings.len() <= 2,
        "{small:#?}"
    );
    assert_eq!(small.end, plan::End::Finish);
    assert!(run(&small).differences().is_empty());
}
