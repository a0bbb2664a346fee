//! When each schedule of a thread helps: four light stages and two heavy ones share a core, and who has the
//! next turn decides what the light ones wait for.
//!
//! ```text
//! cargo bench --bench schedule [-- --quick]
//! ```
//!
//! Sources run on one core and offer at random times (Poisson), whatever becomes of it; all stages and their sink
//! run on another. Light stages take 200 ns a message and get 50,000 a second each; heavy ones take 20 us, and
//! their rate makes the load: the share of the core that is asked for by all of them. A heavy hop is shallow and
//! sheds, so that an overload shows as what is not delivered.
//!
//! - *light*, *heavy*: sojourn on the stage's hop, from the offer to the end of its handler; of the worst of them.
//! - *delivered*: messages a second, of all light and of all heavy stages.
//!
//! Under `priority` the sink is the first, then the light stages; under `edf` a light message is owed within 50 us
//! and a heavy one within 5 ms. The table is Markdown, for docs/SCHEDULING.md. Both cores have to be free.

use std::time::Duration;

use hopline::adapter::{Content, blackhole, datagrams, synthetic};
use hopline::base::limits::BATCH_FRAMES;
use hopline::host::{Pin, allowed_cores};
use hopline::overload::WhenFull;
use hopline::reactor::Schedule;
use hopline::stages::{Work, WorkSpec};
use hopline::topology::{Hop, Line, Placement, Report, Running, Sharing, ThreadSpec, p99};
use hopline::wait::Strategy;
use hopline_harness::measure::Spread;

/// Shares of the core that are asked for.
const LOADS: [f64; 4] = [0.3, 0.6, 0.85, 1.2];
const BATCHES: [usize; 3] = [1, 8, BATCH_FRAMES];

const LIGHT: usize = 4;
const LIGHT_NS: u64 = 200;
const LIGHT_PER_S: f64 = 50_000.0;
/// What a light message takes with its hop and its way out, in nanoseconds: for the load only.
const LIGHT_ALL_NS: f64 = 400.0;
const HEAVY: usize = 2;
const HEAVY_NS: u64 = 20_000;

/// One of the cells of the table.
#[derive(Clone, Copy)]
struct Cell {
    load: f64,
    schedule: Schedule,
    batch: usize,
}

/// What one run came to.
struct Seen {
    light_ns: [f64; 2],
    heavy_ns: [f64; 2],
    light_per_s: f64,
    heavy_per_s: f64,
}

/// What a heavy stage is offered, in messages a second.
fn heavy_per_s(load: f64) -> f64 {
    let light = LIGHT as f64 * LIGHT_PER_S * LIGHT_ALL_NS / 1e9;
    (load - light) * 1e9 / (HEAVY as u64 * HEAVY_NS) as f64
}

fn line(cores: [usize; 2], cell: Cell) -> Line {
    let mut line = Line::builder("schedule");
    let mut placement = Placement {
        pin: Pin::Require,
        ..Placement::default()
    };
    let (mut feeds, mut shares) = (Vec::new(), vec!["out".to_owned()]);
    line.sink("out", blackhole());
    let by_priority = cell.schedule == Schedule::Priority;
    if by_priority {
        placement = placement.priority("out", 0);
    }
    let light = (0..LIGHT).map(|at| (format!("light-{at}"), LIGHT_NS, LIGHT_PER_S, "50us"));
    let heavy_per_s = heavy_per_s(cell.load);
    let heavy = (0..HEAVY).map(|at| (format!("heavy-{at}"), HEAVY_NS, heavy_per_s, "5ms"));
    for (seed, (name, takes_ns, rate_per_s, owed)) in (1..).zip(light.chain(heavy)) {
        let feed = format!("to-{name}");
        let source = synthetic("none", rate_per_s)
            .content(Content::Datagrams { bytes: 64 })
            .seed(seed);
        line.source(&feed, source.decode(datagrams()));
        line.stage(&name, move || {
            Work::new(WorkSpec {
                takes_ns,
                ..WorkSpec::default()
            })
        });
        let is_light = takes_ns == LIGHT_NS;
        let depth = if is_light { 4096 } else { 64 };
        let hop = Hop::depth(depth).when_full(WhenFull::DropNewest);
        line.connect(&feed, &name, hop.budget(p99(owed)));
        line.connect(&name, "out", Hop::depth(1024));
        if by_priority && is_light {
            placement = placement.priority(&name, 1);
        }
        feeds.push(feed);
        shares.push(name);
    }
    placement.threads = vec![
        ThreadSpec {
            name: "feeds".to_owned(),
            core: Some(cores[0]),
            wait: Some(Strategy::Spin),
            nodes: feeds,
            ..ThreadSpec::default()
        },
        ThreadSpec {
            name: "shared".to_owned(),
            core: Some(cores[1]),
            wait: Some(Strategy::Spin),
            sharing: Sharing {
                schedule: Some(cell.schedule),
                batch: Some(cell.batch),
                guard_turns: None,
            },
            nodes: shares,
            ..ThreadSpec::default()
        },
    ];
    line.placement(placement);
    line.build().expect("a right line")
}

/// Lets a running line be for that long.
fn let_run(running: &mut Running, span: Duration) {
    let ended = running.wait(span);
    assert!(!ended, "the feed has no end");
}

fn run(cores: [usize; 2], cell: Cell, span: Duration) -> Seen {
    let mut running = line(cores, cell).start().expect("two cores");
    // Caches and the clock's scale settle, and queues fill where there is too much.
    let_run(&mut running, Duration::from_millis(100));
    running.forget_latencies();
    let before = running.report();
    let began = running.elapsed();
    let_run(&mut running, span);
    let took_s = (running.elapsed() - began).as_secs_f64();
    let after = running.report();
    // All that was recorded is handed over at the end.
    let report = running.end("duration");
    let worst = |kind: &str| {
        let hops = report.hops.iter().filter(|hop| hop.name.starts_with(kind));
        let spans: Vec<_> = hops.map(|hop| &hop.sojourn_ns).collect();
        let most = |of: Vec<u64>| of.into_iter().max().unwrap_or(0) as f64;
        [
            most(spans.iter().map(|span| span.p50).collect()),
            most(spans.iter().map(|span| span.p90).collect()),
        ]
    };
    let delivered = |report: &Report, kind: &str| -> u64 {
        let hops = report.hops.iter().filter(|hop| hop.name.starts_with(kind));
        hops.map(|hop| hop.delivered).sum()
    };
    let per_s = |kind: &str| (delivered(&after, kind) - delivered(&before, kind)) as f64 / took_s;
    Seen {
        light_ns: worst("to-light"),
        heavy_ns: worst("to-heavy"),
        light_per_s: per_s("to-light"),
        heavy_per_s: per_s("to-heavy"),
    }
}

fn main() {
    // cargo passes `--bench`; whatever else it passes is not for this bench.
    let quick = std::env::args().any(|argument| argument == "--quick");
    let &[first, .., last] = allowed_cores() else {
        println!("schedule: needs two cores; nothing measured");
        return;
    };
    let (rounds, span) = if quick {
        (1, Duration::from_millis(100))
    } else {
        (5, Duration::from_millis(700))
    };
    let mut cells = Vec::new();
    for load in LOADS {
        for schedule in Schedule::ALL {
            cells.extend(BATCHES.map(|batch| Cell {
                load,
                schedule,
                batch,
            }));
        }
    }
    let mut seen: Vec<Vec<Seen>> = cells.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for turn in 0..cells.len() {
            let at = (round + turn) % cells.len();
            seen[at].push(run([first, last], cells[at], span));
        }
    }
    println!(
        "schedule: {LIGHT} light stages of {LIGHT_NS} ns and {HEAVY} heavy ones of {} us on core {last}, \
         {rounds} rounds of {span:?} each; median (lowest-highest)\n",
        HEAVY_NS / 1_000
    );
    println!(
        "| load | schedule | batch | light p50 us | light p90 us | heavy p50 us | heavy p90 us | light k/s | heavy k/s of asked |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|---:|---:|");
    for (cell, rounds) in cells.iter().zip(&seen) {
        let of =
            |which: fn(&Seen) -> f64| Spread::of(&rounds.iter().map(which).collect::<Vec<_>>());
        let Cell {
            load,
            schedule,
            batch,
        } = cell;
        println!(
            "| {:.0} % | `{schedule}` | {batch} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} | {:.1} of {:.1} |",
            load * 100.0,
            of(|seen| seen.light_ns[0] / 1e3),
            of(|seen| seen.light_ns[1] / 1e3),
            of(|seen| seen.heavy_ns[0] / 1e3),
            of(|seen| seen.heavy_ns[1] / 1e3),
            of(|seen| seen.light_per_s / 1e3).median,
            of(|seen| seen.heavy_per_s / 1e3).median,
            HEAVY as f64 * heavy_per_s(*load) / 1e3,
        );
    }
}
