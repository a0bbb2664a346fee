//! Whether the host is told from the program: what is planted in a line, and under which cause it is found.
//!
//! ```text
//! cargo bench --bench planted                    # all of it, some five minutes
//! cargo bench --bench planted -- preempt         # the core is taken away by a thread under SCHED_FIFO
//! cargo bench --bench planted -- own             # a stage's own spin, sleep, page faults, munmap
//! cargo bench --bench planted -- own --rounds 1
//! ```
//!
//! - *found*: gaps cover it. *tainted*: frames whose time it overlaps that do not count as clean.
//! - *right*: the frame that it hit has the cause that it should: `preempted` in the handler, `host_gap` where it waited.
//! - *kept*: frames with the stage's own doing that are clean, or whose cause is the program; the others are excused.
//!
//! What was planted is known by its own clock and by the passages, not by what is judged from them. Each round runs a line with
//! nothing planted beside the others, so that drift of the machine touches all alike. A thread needs leave to take the class:
//! root or CAP_SYS_NICE, and `chrt` of util-linux. Both cores have to be free.
//!
//! Invariant: counts and figures only; nothing is asserted of them.

use std::collections::BTreeMap;
use std::process::ExitCode;

use hopline::budget::taint::{Gaps, Interval};
use hopline::budget::{Evidence, Passage};
use hopline::host::allowed_cores;
use hopline_harness::gate::analyse::{Given, analyse};
use hopline_harness::gate::each::{Each, Said, each};
use hopline_harness::gate::model::{END_TO_END, RunAnalysis, SpanAnalysis};
use hopline_harness::measure::Spread;

use line::{EVERY, From, NTH, Own, Placed, Plant, Ran, Setting};
use preempter::Preempter;

#[path = "planted/line.rs"]
mod line;
#[path = "../tests/common/numbers.rs"]
mod numbers;
#[path = "planted/preempter.rs"]
mod preempter;

/// Rounds, unless told otherwise.
const ROUNDS: usize = 12;

/// Frames of a run: two seconds.
const FRAMES: u64 = 40_000;
const FRAMES_QUICK: u64 = 2_000;

const WARMUP_NS: u64 = 50_000_000;

/// Share of a planted time that gaps have to cover.
const COVERED: f64 = 0.9;

const FROM: [From; 5] = [
    From::Source,
    From::Offered,
    From::Handler,
    From::Emitted,
    From::Elsewhere,
];

const OWN: [Own; 4] = [Own::Spin, Own::Sleep, Own::Fault, Own::Unmap];

/// Causes that excuse a frame.
const HOSTS: [&str; 2] = ["preempted", "host_gap"];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    // `cargo test --benches` runs this as well: once around is enough then.
    let quick = has("--quick") || !has("--bench");
    let after = words.iter().skip_while(|word| *word != "--rounds").nth(1);
    let rounds = match after.map(|word| word.parse::<usize>()) {
        Some(Ok(rounds)) if rounds > 0 => rounds,
        None if !has("--rounds") => ROUNDS,
        _ => {
            eprintln!("--rounds takes a number from 1 on");
            return ExitCode::FAILURE;
        }
    };
    let cores = allowed_cores();
    let (Some(&first), Some(&last)) = (cores.first(), cores.last()) else {
        eprintln!("no core to run on");
        return ExitCode::FAILURE;
    };
    if first == last {
        println!("skipped: it takes two cores, and one is allowed");
        return ExitCode::SUCCESS;
    }
    let setting = Setting {
        frames: if quick { FRAMES_QUICK } else { FRAMES },
        first,
        last,
    };
    let rounds = if quick { 1 } else { rounds };
    println!(
        "{rounds} rounds, {} frames a run, one in {EVERY} with what is planted, cores {first} and {last}",
        setting.frames
    );
    let (preempt, own) = (has("preempt"), has("own"));
    if preempt || !own {
        match Preempter::start(last) {
            Ok(preempter) => {
                preempter.end();
                preempted(setting, rounds);
            }
            Err(why) => println!("\nskipped: no thread can take the core away here: {why}"),
        }
    }
    if own || !preempt {
        own_doing(setting, rounds);
    }
    ExitCode::SUCCESS
}

fn given(exposure_ns: Option<u64>) -> Given {
    Given {
        warmup_ns: WARMUP_NS,
        exposure_ns,
        ..Given::default()
    }
}

fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", 100.0 * part as f64 / whole as f64),
    }
}

/// Counts of causes, the most frequent first.
fn listed(causes: &BTreeMap<String, u64>) -> String {
    let mut sorted: Vec<(&String, &u64)> = causes.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let words = sorted.iter().map(|(name, count)| format!("{name} {count}"));
    words.collect::<Vec<_>>().join(", ")
}

// The core is taken away.

/// What the line was doing when the core was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum During {
    Handler,
    Waiting,
    BeforeOffer,
    Idle,
}

impl During {
    fn name(self) -> &'static str {
        match self {
            During::Handler => "in a handler",
            During::Waiting => "offered, not taken",
            During::BeforeOffer => "due, not offered",
            During::Idle => "idle",
        }
    }

    fn cause(self) -> &'static str {
        match self {
            During::Handler => "preempted",
            _ => "host_gap",
        }
    }
}

fn dequeue_ns(passage: &Passage) -> u64 {
    passage.t_offer_ns + u64::from(passage.wait_ns)
}

/// The passage of a hop that was under way at a point in time.
fn under_way(passages: &[Passage], at_ns: u64) -> impl Iterator<Item = (usize, &Passage)> {
    let from = passages.partition_point(|one| one.done_ns() <= at_ns);
    let rest = passages.iter().enumerate().skip(from);
    rest.take_while(move |(_, one)| one.due_ns() <= at_ns)
}

/// What the line did at a point in time, with the hop and the place of the frame there.
fn during(evidence: &Evidence, at_ns: u64) -> (During, usize, usize) {
    let mut best = (During::Idle, 0, 0);
    for (hop, noted) in evidence.hops.iter().enumerate() {
        for (at, passage) in under_way(&noted.passages, at_ns) {
            let what = if dequeue_ns(passage) <= at_ns {
                During::Handler
            } else if passage.t_offer_ns <= at_ns {
                During::Waiting
            } else if hop == 0 {
                During::BeforeOffer
            } else {
                continue;
            };
            if what < best.0 {
                best = (what, hop, at);
            }
        }
    }
    best
}

#[derive(Default)]
struct Tally {
    planted: u64,
    found: u64,
    /// Frames whose time the planted one overlaps.
    frames: u64,
    tainted: u64,
    /// Planted ones that hit a frame, and those of them whose frame has the right cause.
    hit: u64,
    right: u64,
    wrong: BTreeMap<String, u64>,
    /// Frames of which it is the larger part from end to end, and those of them that are blamed on the host.
    late: u64,
    late_right: u64,
    late_wrong: BTreeMap<String, u64>,
}

fn overlap_ns(one: &Interval, from_ns: u64, until_ns: u64) -> u64 {
    one.end_ns
        .min(until_ns)
        .saturating_sub(one.start_ns.max(from_ns))
}

/// How much of a planted time gaps cover, where they are seen.
fn covered(gaps: &[Interval], hit: &Interval) -> f64 {
    let near = gaps.iter().filter(|gap| gap.end_ns > hit.start_ns);
    let inside = near.take_while(|gap| gap.start_ns < hit.end_ns);
    let ns: u64 = inside
        .map(|gap| overlap_ns(gap, hit.start_ns, hit.end_ns))
        .sum();
    ns as f64 / hit.len_ns().max(1) as f64
}

fn tally(ran: &Ran, given: &Given, tallies: &mut BTreeMap<During, Tally>) {
    let evidence = &ran.evidence;
    let gaps = Gaps::find(evidence, &[]);
    let said = each(evidence, given);
    let left = &evidence.hops.last().expect("it has hops").passages;
    for hit in ran
        .hits
        .iter()
        .filter(|hit| hit.start_ns >= evidence.began_ns + WARMUP_NS)
    {
        let (what, hop, at) = during(evidence, hit.start_ns);
        let tally = tallies.entry(what).or_default();
        tally.planted += 1;
        tally.found += u64::from(covered(&gaps.seen, hit) >= COVERED);
        let from = left.partition_point(|one| one.done_ns() <= hit.start_ns);
        let met = left.iter().zip(&said.end_to_end).skip(from);
        for (passage, said) in met.take_while(|(one, _)| one.due_ns() < hit.end_ns) {
            tally.frames += 1;
            tally.tainted += u64::from(!said.is_clean);
            let took_ns = passage.end_to_end_ns();
            if 2 * overlap_ns(hit, passage.due_ns(), passage.done_ns()) > took_ns {
                tally.late += 1;
                if HOSTS.contains(&&*said.cause) {
                    tally.late_right += 1;
                } else {
                    *tally.late_wrong.entry(said.cause.clone()).or_default() += 1;
                }
            }
        }
        let Some(frame) = hit_frame(&said, evidence, hit, (what, hop, at)) else {
            continue;
        };
        tally.hit += 1;
        if frame.cause == what.cause() {
            tally.right += 1;
        } else {
            *tally.wrong.entry(frame.cause.clone()).or_default() += 1;
        }
    }
}

/// What is said of the frame that a planted time hit; where the line was idle, of the first that became due meanwhile, if
/// that one waited for most of what it took.
fn hit_frame<'a>(
    said: &'a Each,
    evidence: &Evidence,
    hit: &Interval,
    (what, hop, at): (During, usize, usize),
) -> Option<&'a Said> {
    match what {
        During::Handler | During::Waiting => said.on_hops[hop].get(at),
        // From end to end: it was on no hop yet. One source, and nothing is lost: the same place on each.
        During::BeforeOffer => said.end_to_end.get(at),
        During::Idle => {
            let left = &evidence.hops.last()?.passages;
            let at = left.partition_point(|one| one.due_ns() < hit.start_ns);
            let next = left.get(at)?;
            let met_ns = overlap_ns(hit, next.due_ns(), next.done_ns());
            (2 * met_ns > next.end_to_end_ns()).then(|| &said.end_to_end[at])
        }
    }
}

fn end_to_end(run: &RunAnalysis) -> &SpanAnalysis {
    let found = run.spans.iter().find(|span| span.of == END_TO_END);
    found.expect("every analysis has it")
}

/// The p50 and P99 from end to end, clean, and the raw P99, in nanoseconds; the clean share.
fn figures(run: &RunAnalysis) -> [f64; 4] {
    let span = end_to_end(run);
    let clean = span.n_clean as f64 / span.n.max(1) as f64;
    [
        span.clean.p50 as f64,
        span.clean.p99 as f64,
        span.raw.p99 as f64,
        clean,
    ]
}

fn preempted(setting: Setting, rounds: usize) {
    let mut tallies: BTreeMap<(usize, During), Tally> = BTreeMap::new();
    let mut series: Vec<Vec<[f64; 4]>> = vec![Vec::new(); FROM.len() + 1];
    let mut exposure_ns = None;
    for round in 0..rounds {
        let plain = line::run(setting, Plant::Nothing, Placed::Fused, None, 0);
        let run = analyse(&plain.report, &plain.evidence, &given(exposure_ns));
        // Settled by the first run and frozen, as a gate does.
        exposure_ns.get_or_insert(run.exposure_ns);
        series[0].push(figures(&run));
        for (at, from) in FROM.into_iter().enumerate() {
            let preempter = match Preempter::start(setting.last) {
                Ok(preempter) => preempter,
                Err(why) => {
                    println!("skipped: {why}");
                    return;
                }
            };
            let seed = (round * FROM.len() + at) as u64 + 1;
            let plant = Plant::Preempt(from);
            let ran = line::run(setting, plant, Placed::Fused, Some(preempter), seed);
            let given = given(exposure_ns);
            series[at + 1].push(figures(&analyse(&ran.report, &ran.evidence, &given)));
            let mut found = BTreeMap::new();
            tally(&ran, &given, &mut found);
            for (what, more) in found {
                add(tallies.entry((at, what)).or_default(), more);
            }
        }
    }
    println!("\nThe core is taken away for 20 to 200 us, by a thread under SCHED_FIFO\n");
    println!(
        "{:<10} {:<19} {:>7} {:>15} {:>16} {:>16} {:>16}",
        "from", "while", "planted", "found", "tainted", "right cause", "late: host's"
    );
    for ((at, what), tally) in &tallies {
        let of = |part: u64, whole: u64| format!("{part} {}", share(part, whole));
        println!(
            "{:<10} {:<19} {:>7} {:>15} {:>16} {:>16} {:>16}",
            format!("{:?}", FROM[*at]).to_lowercase(),
            what.name(),
            tally.planted,
            of(tally.found, tally.planted),
            of(tally.tainted, tally.frames),
            of(tally.right, tally.hit),
            of(tally.late_right, tally.late),
        );
        for (name, wrong) in [("wrong", &tally.wrong), ("late", &tally.late_wrong)] {
            if !wrong.is_empty() {
                println!("{:>10} {name}: {}", "", listed(wrong));
            }
        }
    }
    println!(
        "\nEnd to end, ns, median (least, most) of {rounds} rounds; ratio to the round's run with nothing planted"
    );
    println!(
        "{:<10} {:>24} {:>24} {:>20} {:>26} {:>8}",
        "from", "clean p50", "clean p99", "ratio of p99", "raw p99", "clean"
    );
    for (at, of_from) in series.iter().enumerate() {
        let name = match at {
            0 => "nothing".to_owned(),
            _ => format!("{:?}", FROM[at - 1]).to_lowercase(),
        };
        let spread = |nth: usize| {
            let series: Vec<f64> = of_from.iter().map(|figures| figures[nth]).collect();
            Spread::of(&series)
        };
        let ratios = of_from.iter().zip(&series[0]);
        let ratios: Vec<f64> = ratios.map(|(one, plain)| one[1] / plain[1]).collect();
        let (ratio, clean) = (Spread::of(&ratios), spread(3));
        let [p50, p99, raw] = [0, 1, 2].map(|nth| {
            let Spread { low, median, high } = spread(nth);
            format!("{median:.0} ({low:.0}, {high:.0})")
        });
        println!(
            "{name:<10} {p50:>24} {p99:>24} {:>20} {raw:>26} {:>7.1}%",
            format!("{:.2} ({:.2}, {:.2})", ratio.median, ratio.low, ratio.high),
            100.0 * clean.median
        );
    }
}

fn add(to: &mut Tally, more: Tally) {
    to.planted += more.planted;
    to.found += more.found;
    to.frames += more.frames;
    to.tainted += more.tainted;
    to.hit += more.hit;
    to.right += more.right;
    to.late += more.late;
    to.late_right += more.late_right;
    for (into, from) in [
        (&mut to.wrong, more.wrong),
        (&mut to.late_wrong, more.late_wrong),
    ] {
        for (name, count) in from {
            *into.entry(name).or_default() += count;
        }
    }
}

// The stage's own doing.

/// Frames, by what is said of them.
#[derive(Default)]
struct Kept {
    frames: u64,
    clean: u64,
    blamed: u64,
    causes: BTreeMap<String, u64>,
}

impl Kept {
    fn count(&mut self, said: &Said) {
        self.frames += 1;
        if said.is_clean {
            self.clean += 1;
        } else if !HOSTS.contains(&&*said.cause) {
            self.blamed += 1;
        }
        let state = if said.is_clean { "" } else { " (tainted)" };
        let name = format!("{}{state}", said.cause);
        *self.causes.entry(name).or_default() += 1;
    }

    fn print(&self, name: &str, whose: &str) {
        let kept = self.clean + self.blamed;
        println!(
            "{name:<16} {whose:<12} {:>7} {:>7} {:>7} {:>8} {:>9}   {}",
            self.frames,
            self.clean,
            self.blamed,
            self.frames - kept,
            share(kept, self.frames),
            listed(&self.causes)
        );
    }
}

/// The frames with what is planted, on the first stage's hop; and those, from end to end, of which its handler is the larger
/// part.
fn keep(ran: &Ran, given: &Given, planted: &mut Kept, beside: &mut Kept) {
    let said = each(&ran.evidence, given);
    let passages = &ran.evidence.hops[0].passages;
    let left = &ran.evidence.hops.last().expect("it has hops").passages;
    let from_ns = ran.evidence.began_ns + WARMUP_NS;
    for at in (NTH as usize..passages.len()).step_by(EVERY as usize) {
        let passage = &passages[at];
        if passage.due_ns() < from_ns {
            continue;
        }
        planted.count(&said.on_hops[0][at]);
        let handler = Interval {
            start_ns: dequeue_ns(passage),
            end_ns: passage.done_ns(),
        };
        let from = left.partition_point(|one| one.done_ns() <= handler.start_ns);
        let met = left.iter().enumerate().skip(from);
        for (other, frame) in met.take_while(|(_, one)| one.due_ns() < handler.end_ns) {
            let met_ns = overlap_ns(&handler, frame.due_ns(), frame.done_ns());
            if other != at && 2 * met_ns > frame.end_to_end_ns() {
                beside.count(&said.end_to_end[other]);
            }
        }
    }
}

fn own_doing(setting: Setting, rounds: usize) {
    let mut rows: BTreeMap<(usize, usize), (Kept, Kept)> = BTreeMap::new();
    let placings = [Placed::Fused, Placed::Apart];
    let mut exposures = [None; 2];
    for _ in 0..rounds {
        for (way, placed) in placings.into_iter().enumerate() {
            let plain = line::run(setting, Plant::Nothing, placed, None, 0);
            let settled = analyse(&plain.report, &plain.evidence, &given(exposures[way]));
            exposures[way].get_or_insert(settled.exposure_ns);
            for (at, own) in OWN.into_iter().enumerate() {
                let ran = line::run(setting, Plant::Own(own), placed, None, 0);
                let (planted, beside) = rows.entry((way, at)).or_default();
                keep(&ran, &given(exposures[way]), planted, beside);
            }
        }
    }
    println!(
        "\nA stage does it itself. fused: all on one loop; apart: source and sink on another core"
    );
    println!("beside: other frames, from end to end, of whose time it is the larger part\n");
    println!(
        "{:<16} {:<12} {:>7} {:>7} {:>7} {:>8} {:>9}   causes",
        "what", "frames", "planted", "clean", "blamed", "excused", "kept"
    );
    for ((way, at), (planted, beside)) in &rows {
        let name = format!("{:?} {:?}", OWN[*at], placings[*way]).to_lowercase();
        planted.print(&name, "planted");
        beside.print("", "beside");
    }
}
