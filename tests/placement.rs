//! Where a line is placed on machines of all kinds: few cores, quotas, other people's cores.

use hopline::host::{Host, Pin};
use hopline::reactor::Schedule;
use hopline::topology::{Hop, Line, Placement, Plan, Sharing, ThreadSpec, p99};
use hopline::wait::{Rung, Strategy};

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting};

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Three sources and three sinks.
fn line(placement: Placement) -> Line {
    let mut line = Line::builder("placed");
    for pair in NAMES.chunks(2) {
        line.source(pair[0], Counting::new(1, 0));
        line.sink(pair[1], Collect::default());
        line.connect(pair[0], pair[1], Hop::depth(4096));
    }
    line.placement(placement);
    line.build().unwrap()
}

fn host(cores: &[usize], quota_cores: Option<f64>) -> Host {
    let mut host = Host::read();
    host.allowed = cores.to_vec();
    host.total_cores = Some(8);
    host.quota_cores = quota_cores;
    host
}

fn plan(placement: Placement, cores: &[usize], quota_cores: Option<f64>) -> Plan {
    line(placement).plan(&host(cores, quota_cores)).unwrap()
}

fn waits(plan: &Plan) -> Vec<&str> {
    plan.threads.iter().map(|thread| &*thread.wait).collect()
}

fn cores(plan: &Plan) -> Vec<Option<usize>> {
    plan.threads.iter().map(|thread| thread.core).collect()
}

fn placements(plan: &Plan) -> Vec<&str> {
    plan.threads.iter().map(|thread| thread.placement).collect()
}

fn paths(plan: &Plan) -> Vec<&str> {
    plan.hops.iter().map(|hop| hop.path).collect()
}

fn wish(wait: Strategy) -> Placement {
    Placement {
        wait: Some(wait),
        ..Placement::default()
    }
}

/// A thread by hand for each node, all asked to spin.
fn six_threads() -> Placement {
    let thread = |name: &&str| ThreadSpec {
        name: (*name).to_owned(),
        core: None,
        wait: Some(Strategy::Spin),
        nodes: vec![(*name).to_owned()],
        ..ThreadSpec::default()
    };
    Placement {
        threads: NAMES.iter().map(thread).collect(),
        ..wish(Strategy::Spin)
    }
}

#[test]
fn the_plan_says_who_has_the_next_turn_and_what_is_owed_to_nobody() {
    let shared = |schedule, batch| Placement {
        sharing: Sharing {
            schedule: Some(schedule),
            batch: Some(batch),
            guard_turns: None,
        },
        ..wish(Strategy::Spin)
    };
    let ranked = shared(Schedule::Priority, 8)
        .priority("f", 0)
        .priority("b", 7);
    let ranked = plan(ranked, &[2], None);
    let thread = &ranked.threads[0];
    assert_eq!((thread.schedule, thread.batch), ("priority", 8));
    assert_eq!(thread.nodes, ["a", "c", "e", "f", "b", "d"]);
    let usual = &plan(wish(Strategy::Spin), &[2], None).threads[0];
    assert_eq!((usual.schedule, usual.batch), ("round_robin", 32));
    assert_eq!(usual.nodes, NAMES);

    let said = |budgets: [bool; 3]| {
        let mut line = Line::builder("owed");
        for (pair, owed) in NAMES.chunks(2).zip(budgets) {
            line.source(pair[0], Counting::new(1, 0));
            line.sink(pair[1], Collect::default());
            let hop = Hop::depth(4096);
            let hop = if owed { hop.budget(p99("1ms")) } else { hop };
            line.connect(pair[0], pair[1], hop);
        }
        line.placement(shared(Schedule::Edf, 8));
        let plan = line.build().unwrap().plan(&host(&[2], None)).unwrap();
        let notes = plan.notes.into_iter();
        notes
            .filter(|note| note.contains("owed"))
            .collect::<Vec<_>>()
    };
    assert!(said([true; 3]).is_empty() && said([false; 3]).is_empty());
    assert_eq!(
        said([true, false, false]),
        [
            "thread \"loop-0\" goes by what is due first, and nothing is owed on c->d and on 1 other hop: frames \
          without a deadline are due there as soon as they are offered"
        ]
    );
}

#[test]
fn six_nodes_on_two_cores_are_fused_and_said_to_be() {
    let plan = plan(wish(Strategy::Spin), &[2, 3], None);
    assert_eq!(cores(&plan), [Some(2), Some(3)]);
    assert_eq!(waits(&plan), ["spin", "spin"]);
    assert_eq!(
        plan.notes,
        ["6 nodes on 2 threads: this process may use 2 of 8 cores, so neighbours are fused"]
    );
}

#[test]
fn six_threads_by_hand_on_two_cores_yield_and_each_is_named() {
    let plan = plan(six_threads(), &[0, 1], None);
    assert_eq!(waits(&plan), ["yield"; 6]);
    assert_eq!(cores(&plan)[..3], [Some(0), Some(1), None]);
    assert_eq!(
        plan.notes[0],
        "6 threads share 2 cores: loops yield instead of spinning"
    );
    assert_eq!(
        plan.notes[1],
        "thread \"a\" was asked to spin, but 6 threads share 2 cores: it waits by yield"
    );
    assert_eq!(plan.notes.len(), 7);
    assert_eq!(placements(&plan), ["shared"; 6]);
    assert_eq!(
        paths(&plan),
        ["between cores", "between threads", "between threads"]
    );
}

#[test]
fn threads_by_hand_on_one_core_are_pinned_there_and_called_what_they_are() {
    let plan = plan(six_threads(), &[3], None);
    assert_eq!(cores(&plan), [Some(3); 6]);
    assert_eq!(
        (placements(&plan), paths(&plan)),
        (vec!["shared"; 6], vec!["same core"; 3])
    );
    assert!(
        plan.notes[0].starts_with("6 threads share 1 core: "),
        "{:?}",
        plan.notes
    );
    assert!(
        plan.notes.iter().all(|note| !note.contains("fused")),
        "{:?}",
        plan.notes
    );

    // What is not placed by hand is fused, and only that is said to be.
    let mut placement = six_threads();
    placement.threads.truncate(2);
    let plan = self::plan(placement, &[0, 1, 2], None);
    assert_eq!(placements(&plan), ["dedicated", "dedicated", "fused"]);
    assert_eq!(
        paths(&plan),
        ["between cores", "same thread", "same thread"]
    );
    let expected =
        "4 other nodes on 1 thread: this process may use 3 of 8 cores, so neighbours are fused";
    assert_eq!(plan.notes, [expected]);
}

#[test]
fn a_limit_is_named_as_the_cause_and_without_pins_no_core_is() {
    let mut placement = wish(Strategy::YIELD);
    placement.threads_max = Some(1);
    placement.pin = Pin::Off;
    let plan = plan(placement, &[0, 1], None);
    assert_eq!(
        plan.notes,
        ["6 nodes on 1 thread: the limit is 1, so neighbours are fused"]
    );
    assert_eq!(cores(&plan), [None]);

    let mut placement = six_threads();
    placement.pin = Pin::Off;
    let free = self::plan(placement, &[0, 1, 2, 3, 4, 5], None);
    assert_eq!(cores(&free), [None; 6]);
    assert_eq!(
        (placements(&free), paths(&free)),
        (vec!["dedicated"; 6], vec!["between threads"; 3])
    );
}

#[test]
fn one_core_takes_everything_on_a_loop_that_yields() {
    let plan = plan(Placement::default(), &[0], None);
    assert_eq!((waits(&plan), cores(&plan)), (vec!["yield"], vec![Some(0)]));
    assert!(
        plan.notes[0].contains("one core for everything"),
        "{:?}",
        plan.notes
    );
}

#[test]
fn a_quota_below_the_threads_parks_them() {
    let half = plan(Placement::default(), &[0, 1, 2, 3], Some(0.5));
    assert_eq!(waits(&half), ["park"]);
    assert_eq!(
        half.notes[0],
        "the cgroup grants the time of 0.5 cores to 1 thread: loops park instead of spinning"
    );
    let more = plan(wish(Strategy::Spin), &[0, 1, 2, 3], Some(1.5));
    assert_eq!(waits(&more), ["park", "park"]);
    let by_hand = plan(six_threads(), &[0, 1, 2, 3], Some(2.0));
    assert_eq!(waits(&by_hand), ["park"; 6]);
    assert!(by_hand.notes[1].contains("time of 2 cores to 6 threads: it waits by park"));
    // A quota that they cannot use up changes nothing.
    let enough = plan(Placement::default(), &[0, 1], Some(2.0));
    assert_eq!(waits(&enough), ["spin", "spin"]);
    // Who says how to wait, other than by spinning, is heard.
    let own = plan(wish(Strategy::YIELD), &[0, 1], Some(0.5));
    assert_eq!(waits(&own), ["yield"]);
}

#[test]
fn the_ladder_is_said_with_its_steps() {
    let ladder = Strategy::Park {
        spins: Rung::Turns(5),
        yields: Rung::Turns(6),
        max_park_ns: 7_000,
    };
    let plan = plan(wish(ladder), &[0, 1], None);
    assert_eq!(
        plan.threads[0].ladder,
        "5 turns, 6 yields, then sleeps of up to 7.00us"
    );
}

#[test]
fn a_core_of_somebody_else_is_refused_with_those_that_are_ours() {
    let mut placement = six_threads();
    placement.pin = Pin::Require;
    placement.threads[1].core = Some(5);
    placement.threads[2].core = Some(9);
    let said = line(placement).plan(&host(&[1, 2], None)).unwrap_err();
    let said = said.to_string();
    assert!(said.contains("thread \"b\" asks for core 5, which this process may not use"));
    assert!(said.contains("thread \"c\" asks for core 9, which is not there"));
    assert!(said.contains("cores it may use: 1 or 2"), "{said}");
}

#[test]
fn what_is_asked_of_the_memory_is_foreseen() {
    let mut placement = Placement::default();
    placement.memory.huge_pages = hopline::host::Wish::Prefer;
    let plan = plan(placement, &[0, 1], None);
    let why = "3 of 3 rings fill no huge page of 2 MiB";
    let note = format!("huge_pages would not be granted in full: {why}");
    assert_eq!((&plan.foreseen, plan.refused.len()), (&vec![note], 0));
    assert_eq!(plan.memory.huge_pages, hopline::host::Wish::Prefer);

    // What a run is refused with, in the same words.
    let mut placement = Placement::default();
    placement.memory.huge_pages = hopline::host::Wish::Require;
    let refused = self::plan(placement.clone(), &[0, 1], None).refused;
    let said = line(placement).start().unwrap_err().to_string();
    assert_eq!(refused[0].to_string(), said);
    assert!(said.contains(why), "{said}");
}
