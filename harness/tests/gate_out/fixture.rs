//! A plausible report: five hops, three runs on a guest with a neighbour, one limit that fails and one that stays open.
//!
//! Invariant: the same report every time, its counts and quantiles those of its histograms.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use hopline_harness::gate::model::*;
use hopline_harness::gate::out::histogram::encode;

/// Frames of a run.
const FRAMES: u64 = 6_000;

/// Name, median of the wait, median of the service, limits of the service's p99 and the sojourn's.
const HOPS: [(&str, f64, f64, u64, u64); 5] = [
    ("btc->book", 180.0, 420.0, 900, 2_000),
    ("eth->book", 190.0, 430.0, 900, 2_000),
    ("book->signal", 150.0, 610.0, 900, 2_000),
    ("signal->risk", 160.0, 350.0, 900, 1_500),
    ("risk->orders", 140.0, 900.0, 2_000, 2_500),
];

/// A generator that is the same everywhere.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A span around `median`, with the long right side that latencies have.
    fn span(&mut self, median: f64, width: f64) -> u64 {
        let normal: f64 = (0..12).map(|_| self.unit()).sum::<f64>() - 6.0;
        (median * (width * normal).exp()) as u64
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1 << 36, 3).unwrap()
}

fn quantiles(of: &Histogram<u64>) -> Quantiles {
    if of.is_empty() {
        return Quantiles::default();
    }
    Quantiles {
        p50: of.value_at_quantile(0.5),
        p90: of.value_at_quantile(0.9),
        p99: of.value_at_quantile(0.99),
        p99_9: of.value_at_quantile(0.999),
        max: of.max(),
    }
}

struct Pair {
    raw: Histogram<u64>,
    clean: Histogram<u64>,
}

impl Pair {
    fn new() -> Pair {
        Pair {
            raw: empty(),
            clean: empty(),
        }
    }

    fn record(&mut self, ns: u64, tainted: bool) {
        self.raw.record(ns.max(1)).unwrap();
        if !tainted {
            self.clean.record(ns.max(1)).unwrap();
        }
    }
}

fn causes(of: &str, tail: u64) -> BTreeMap<String, u64> {
    let parts: &[(&str, u64)] = match of {
        "service" => &[
            ("service", 46),
            ("page_fault", 4),
            ("interrupt_or_own", 20),
            ("preempted", 30),
        ],
        "wait" => &[("queueing", 30), ("held_back{risk}", 8), ("host_gap", 62)],
        _ => &[
            ("queueing", 18),
            ("service", 24),
            ("blocked_in_handler", 3),
            ("preempted", 15),
            ("host_gap", 40),
        ],
    };
    let part = |(name, share): &(&str, u64)| ((*name).to_owned(), tail * share / 100);
    parts.iter().map(part).collect()
}

fn span(hop: &str, of: &str, pair: &Pair, limits: Vec<LimitCounts>) -> SpanAnalysis {
    let clean = quantiles(&pair.clean);
    SpanAnalysis {
        hop: hop.to_owned(),
        of: of.to_owned(),
        n: pair.raw.len(),
        n_clean: pair.clean.len(),
        raw: quantiles(&pair.raw),
        clean,
        host_floor: Quantiles {
            p50: 40,
            p90: 90,
            p99: 260_000,
            p99_9: 2_900_000,
            max: 4_100_000,
        },
        clean_p50_halves: [clean.p50, clean.p50 + 4],
        contamination: 0.000_3,
        limits,
        blame: causes(of, pair.raw.len() / 100),
        raw_histogram: encode(&pair.raw).unwrap(),
        clean_histogram: encode(&pair.clean).unwrap(),
        ..SpanAnalysis::default()
    }
}

fn run(seed: u64, factor: f64) -> RunAnalysis {
    let mut draw = Draw(seed);
    let mut pairs: Vec<[Pair; 3]> = HOPS.iter().map(|_| [(); 3].map(|()| Pair::new())).collect();
    let mut whole = Pair::new();
    let mut timeline: Vec<Slice> = (0..300)
        .map(|at| Slice {
            at_ns: at * 16_666_667,
            ..Slice::default()
        })
        .collect();
    let mut worst: Vec<WorstFrame> = Vec::new();
    let mut stall = 0_u64;
    for frame in 0..FRAMES {
        // The neighbour takes the core for a slice of the scheduler, and some frames wait behind it.
        if stall == 0 && draw.unit() < 0.012 {
            stall = 1 + draw.next() % 12;
        }
        let tainted = stall > 0;
        let struck = draw.next() as usize % HOPS.len();
        let late_ns = draw.span(2_100.0, 0.08);
        let mut took = late_ns;
        let mut path = Vec::new();
        for (at, (hop, wait, service, ..)) in HOPS.iter().enumerate() {
            if (at == 0 && frame % 2 == 1) || (at == 1 && frame % 2 == 0) {
                continue;
            }
            let slow = if *hop == "book->signal" { factor } else { 1.0 };
            let mut wait_ns = draw.span(*wait, 0.35);
            let service_ns = draw.span(*service * slow, 0.2);
            if tainted && at == struck.max(1) {
                wait_ns += draw.next() % (340_000 * stall);
            }
            for (pair, ns) in pairs[at]
                .iter_mut()
                .zip([wait_ns, service_ns, wait_ns + service_ns])
            {
                pair.record(ns, tainted);
            }
            took += wait_ns + service_ns;
            path.push(Stop {
                hop: (*hop).to_owned(),
                wait_ns,
                service_ns,
            });
        }
        whole.record(took, tainted);
        let slice = &mut timeline[(frame * 300 / FRAMES) as usize];
        slice.frames += 1;
        slice.max_ns = slice.max_ns.max(took);
        slice.tainted += u64::from(tainted);
        slice.gap_ns += if tainted { took / 4 } else { 0 };
        slice.depth_max = slice.depth_max.max(if tainted {
            took / 50_000
        } else {
            1 + draw.next() % 3
        });
        if tainted && took > 3_000_000 {
            slice.shed += 1;
        }
        let (cause, place) = match path
            .iter()
            .max_by_key(|stop| stop.wait_ns + stop.service_ns)
        {
            Some(stop) if tainted && frame % 3 == 0 => ("preempted", stop.hop.clone()),
            Some(stop) if tainted => ("host_gap", stop.hop.clone()),
            _ => ("queueing", String::new()),
        };
        worst.push(WorstFrame {
            at_ns: frame * 833_333,
            took_ns: took,
            late_ns,
            cause: cause.to_owned(),
            place,
            path,
        });
        stall = stall.saturating_sub(1);
    }
    worst.sort_by_key(|frame| std::cmp::Reverse(frame.took_ns));
    worst.truncate(8);
    let mut spans = Vec::new();
    for ((hop, ..), [wait, service, sojourn]) in HOPS.iter().zip(&pairs) {
        spans.push(span(hop, "wait", wait, Vec::new()));
        spans.push(span(hop, "service", service, Vec::new()));
        spans.push(span(hop, "sojourn", sojourn, Vec::new()));
    }
    spans.push(span(END_TO_END, END_TO_END, &whole, Vec::new()));
    RunAnalysis {
        schema: SCHEMA,
        line: "tick-to-trade".to_owned(),
        clock: "tsc".to_owned(),
        clock_drift_ppm: 12.0,
        clock_cost_ns: 9.5,
        seed,
        span_ns: 5_000_000_000,
        exposure_ns: 20_000,
        loops: vec![
            LoopAnalysis {
                name: "generator".to_owned(),
                core: Some(0),
                wait: "spin".to_owned(),
                gap_from_ns: 620,
                receive_gap_from_ns: 620,
                gaps: 812,
                gap_share: 0.021,
                gaps_by_kind: [("idle".to_owned(), 760), ("send".to_owned(), 52)].into(),
                ..LoopAnalysis::default()
            },
            LoopAnalysis {
                name: "line".to_owned(),
                core: Some(1),
                wait: "spin".to_owned(),
                gap_from_ns: 2_050,
                receive_gap_from_ns: 7_300,
                gaps: 641,
                gap_share: 0.034,
                gaps_by_kind: [
                    ("idle".to_owned(), 502),
                    ("glue".to_owned(), 71),
                    ("receive".to_owned(), 68),
                ]
                .into(),
                own_faults: [("page_fault".to_owned(), 3)].into(),
                own_fault_share: 0.000_04,
                usual_work_ns: 110,
                slowed_share: 0.08,
                log_lost: 0,
                looks_lost: 0,
            },
        ],
        wake_probe: Some(WakeProbe {
            of: "line".to_owned(),
            cores: [0, 1],
            wakes: 2_000,
            late: Quantiles {
                p50: 5_210,
                p90: 6_030,
                p99: 38_100,
                p99_9: 91_000,
                max: 240_000,
            },
        }),
        cores_apart: Vec::new(),
        spans,
        generators: vec![GeneratorAnalysis {
            source: "btc".to_owned(),
            offered_per_s: 20_000.0,
            achieved_per_s: 19_998.2,
            missed: 0,
            others: 0,
            lateness: Quantiles {
                p50: 70,
                p90: 140,
                p99: 2_400,
                p99_9: 310_000,
                max: 4_100_000,
            },
        }],
        source_held_back: false,
        ledger: LedgerAnalysis {
            closed: true,
            shed: [(
                "risk->orders newest".to_owned(),
                timeline.iter().map(|slice| slice.shed).sum(),
            )]
            .into(),
            ..LedgerAnalysis::default()
        },
        worst,
        timeline,
        notes: vec!["core 1 is shared with the host's timer".to_owned()],
    }
}

/// Sums over the runs of a span's frames, as the verdict's figures.
fn verdict(runs: &[RunAnalysis], hop: &str, of: &str, quantile: &str, budget_ns: u64) -> Verdict {
    let share = match quantile {
        "p50" => 0.5,
        "p99" => 0.99,
        _ => 0.999,
    };
    let (mut raw, mut clean) = (empty(), empty());
    for span in runs.iter().flat_map(|run| &run.spans) {
        if span.hop == hop && span.of == of {
            let decode = hopline_harness::gate::out::histogram::decode;
            raw.add(decode(&span.raw_histogram).unwrap()).unwrap();
            clean.add(decode(&span.clean_histogram).unwrap()).unwrap();
        }
    }
    let count = |histogram: &Histogram<u64>| Exceedances {
        n: histogram.len(),
        k: histogram
            .iter_recorded()
            .filter(|step| step.value_iterated_to() > budget_ns)
            .map(|step| step.count_at_value())
            .sum(),
        d: 1.7,
    };
    let (raw_ns, clean_ns) = (raw.value_at_quantile(share), clean.value_at_quantile(share));
    let (word, reason, next_step) = if quantile == "p99_9" && hop == END_TO_END {
        (
            Word::Inconclusive,
            "few clean frames",
            "measure 4x as long: 12000 clean frames would decide",
        )
    } else if clean_ns > budget_ns {
        (
            Word::Fail,
            "more than 1 % of the clean frames are over the budget",
            "look at the handler of signal: its service grew, its wait did not",
        )
    } else if raw_ns <= budget_ns {
        (Word::Pass, "raw figures hold it", "")
    } else {
        (
            Word::PassClean,
            "holds without the frames that gaps touched",
            "",
        )
    };
    Verdict {
        hop: hop.to_owned(),
        of: of.to_owned(),
        quantile: quantile.to_owned(),
        budget_ns: Some(budget_ns),
        n: raw.len(),
        n_clean: clean.len(),
        tainted_share: 1.0 - clean.len() as f64 / raw.len() as f64,
        raw_ns,
        clean_ns,
        clean_low_ns: clean_ns * 96 / 100,
        clean_high_ns: clean_ns * 105 / 100,
        host_floor_ns: if share > 0.9 { 260_000 } else { 40 },
        raw: count(&raw),
        clean: count(&clean),
        change: None,
        word,
        reason: reason.to_owned(),
        next_step: next_step.to_owned(),
        ..Verdict::default()
    }
}

/// A gate of tick-to-trade; `factor` slows the handler of `book->signal`.
pub(crate) fn report(seed: u64, factor: f64) -> GateReport {
    let runs: Vec<RunAnalysis> = (0..3).map(|at| run(seed + at, factor)).collect();
    let mut verdicts = Vec::new();
    for (hop, wait, service, service_limit, sojourn_limit) in HOPS {
        let median = (wait + service) as u64 * 3 / 2;
        verdicts.push(verdict(&runs, hop, "service", "p99", service_limit));
        verdicts.push(verdict(&runs, hop, "sojourn", "p50", median));
        verdicts.push(verdict(&runs, hop, "sojourn", "p99", sojourn_limit));
    }
    for (quantile, budget_ns) in [("p50", 8_000), ("p99", 12_000), ("p99_9", 20_000)] {
        verdicts.push(verdict(&runs, END_TO_END, END_TO_END, quantile, budget_ns));
    }
    let word = verdicts
        .iter()
        .map(|verdict| verdict.word)
        .max()
        .unwrap_or_default();
    verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.word));
    let host = [
        ("cpu", "AMD EPYC 9B45 (Zen 4)"),
        ("cores", "2, no SMT"),
        ("kernel", "6.8.0-1021"),
        ("governor", "not to be seen"),
        ("virtual", "KVM guest"),
        ("clock", "tsc, 0.4 ns a step"),
        ("fingerprint", "zen4-2c-kvm-51f0"),
    ];
    GateReport {
        schema: SCHEMA,
        command: "gate".to_owned(),
        version: "0.1.0".to_owned(),
        case: "tick-to-trade".to_owned(),
        began_unix_s: 1_771_061_400 + seed,
        took_s: 15.2,
        host: host
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        head: "target/release/hopline".to_owned(),
        head_hash: Some("85944171f73967e8".to_owned()),
        base: None,
        base_hash: None,
        arguments: [
            "hopline",
            "gate",
            "tick-to-trade",
            "--rate",
            "20k",
            "--out",
            "gate",
        ]
        .map(str::to_owned)
        .into(),
        partial: false,
        verdicts,
        word,
        exit_code: u8::from(word == Word::Fail),
        runs,
        base_runs: Vec::new(),
        capacity: None,
        notes: vec!["a neighbour ran on core 1 during run 2: 34 % of its time was lost".to_owned()],
    }
}
