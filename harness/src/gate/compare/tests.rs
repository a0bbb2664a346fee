//! The comparison against runs whose truth is known.
//!
//! Invariant: seeded throughout, so that a rate is the same each time.

use hopline::base::Prng;

use super::*;
use crate::gate::model::{LedgerAnalysis, LoopAnalysis, Quantiles, SpanAnalysis, Word};

/// A number from a normal distribution (Box, Muller, 1958).
fn normal(prng: &mut Prng) -> f64 {
    let radius = (-2.0 * (1.0 - prng.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * prng.unit()).cos()
}

/// A run whose spans have these clean quantiles, p50 and p99 alike.
fn run(hops: &[(&str, f64)]) -> RunAnalysis {
    let spans = hops.iter().map(|(hop, ns)| {
        let ns = *ns as u64;
        let clean = Quantiles {
            p50: ns,
            p90: ns,
            p99: ns,
            p99_9: ns,
            max: ns,
        };
        SpanAnalysis {
            hop: (*hop).to_owned(),
            of: "service".to_owned(),
            n: 10_000,
            n_clean: 9_000,
            raw: clean,
            clean,
            ..SpanAnalysis::default()
        }
    });
    RunAnalysis {
        spans: spans.collect(),
        ledger: LedgerAnalysis {
            closed: true,
            ..LedgerAnalysis::default()
        },
        loops: vec![LoopAnalysis::default()],
        ..RunAnalysis::default()
    }
}

fn metric(hop: &str) -> Metric {
    Metric {
        hop: hop.to_owned(),
        of: "service".to_owned(),
        quantile: "p99".to_owned(),
        slower: 0.05,
        reported_only: false,
    }
}

/// A hop that takes 10 us with base.
struct Hop {
    name: &'static str,
    /// Head over base.
    ratio: f64,
    /// Base again over base.
    again: f64,
    /// By how much runs vary.
    sd: f64,
    base_ns: f64,
}

fn hop(name: &'static str, ratio: f64) -> Hop {
    Hop {
        name,
        ratio,
        again: 1.0,
        sd: 0.03,
        base_ns: 10_000.0,
    }
}

/// Feeds blocks until it is done; gives the verdicts and how many it took.
fn drive(
    hops: &[Hop],
    seed: u64,
    change: impl Fn(usize, Arm, &mut RunAnalysis),
) -> (Vec<Verdict>, usize) {
    let mut prng = Prng::new(seed);
    let metrics = hops.iter().map(|hop| metric(hop.name)).collect();
    let mut comparison = Comparison::new(metrics, Options::default());
    loop {
        let (Next::RunBlocks(blocks) | Next::Confirm(blocks)) = comparison.next() else {
            let Next::Done(verdicts) = comparison.next() else {
                continue;
            };
            return (verdicts, comparison.blocks());
        };
        assert!(blocks <= LOOK_BLOCKS && comparison.blocks() < 3 * LOOK_BLOCKS);
        for _ in 0..blocks {
            let at = comparison.blocks();
            let runs = order(at).map(|arm| {
                let spans: Vec<(&str, f64)> = hops
                    .iter()
                    .map(|hop| {
                        let ratio = match arm {
                            Arm::Base => 1.0,
                            Arm::Head => hop.ratio,
                            Arm::BaseAgain => hop.again,
                        };
                        let noise = (hop.sd * normal(&mut prng)).exp();
                        (hop.name, hop.base_ns * ratio * noise)
                    })
                    .collect();
                let mut run = run(&spans);
                change(at, arm, &mut run);
                (arm, run)
            });
            comparison.block(&runs);
        }
    }
}

fn one(hops: &[Hop], change: impl Fn(usize, Arm, &mut RunAnalysis)) -> Verdict {
    drive(hops, 1, change).0.remove(0)
}

#[test]
fn each_arm_runs_as_often_early_as_late() {
    for block in 0..2 {
        let order = order(block);
        for arm in [Arm::Base, Arm::Head, Arm::BaseAgain] {
            let at: Vec<usize> = (0..BLOCK_RUNS).filter(|&at| order[at] == arm).collect();
            assert_eq!(at.iter().sum::<usize>(), BLOCK_RUNS - 1, "drift cancels");
        }
    }
}

#[test]
fn identical_code_passes_at_the_first_look() {
    let (verdicts, blocks) = drive(&[hop("a->b", 1.0)], 1, |_, _, _| ());
    assert_eq!(
        (verdicts[0].word, blocks),
        (Word::Pass, LOOK_BLOCKS),
        "{:?}",
        verdicts[0]
    );
    let change = verdicts[0].change.unwrap();
    assert!(change.low < 1.0 && change.high > 1.0 && change.allowed == 1.05);
    assert!(change.null_low < 1.0 && change.null_high > 1.0);
}

#[test]
fn a_slower_hop_fails_by_name_after_a_second_set() {
    let hops = [hop("a->b", 1.0), hop("b->c", 1.2), hop("c->d", 1.0)];
    let (verdicts, blocks) = drive(&hops, 7, |_, _, _| ());
    let words: Vec<_> = verdicts.iter().map(|one| (&*one.hop, one.word)).collect();
    assert_eq!(
        words,
        [
            ("b->c", Word::Fail),
            ("a->b", Word::Pass),
            ("c->d", Word::Pass)
        ]
    );
    assert_eq!(blocks, 2 * LOOK_BLOCKS);
    assert!(
        verdicts[0].reason.contains("again in 12 fresh"),
        "{}",
        verdicts[0].reason
    );
}

#[test]
fn a_pass_keeps_the_interval_of_the_look_that_it_was_said_by() {
    // The other hop needs a second set, in which this one becomes slower.
    let later = |at: usize, arm: Arm, run: &mut RunAnalysis| {
        if at >= LOOK_BLOCKS && arm == Arm::Head {
            run.spans[0].clean.p99 = run.spans[0].clean.p99 * 3 / 2;
        }
    };
    let (verdicts, blocks) = drive(&[hop("a->b", 1.0), hop("b->c", 1.2)], 7, later);
    assert_eq!(blocks, 2 * LOOK_BLOCKS);
    let passed = verdicts.iter().find(|one| one.hop == "a->b").unwrap();
    let change = passed.change.unwrap();
    assert_eq!(
        (passed.word, change.blocks as usize),
        (Word::Pass, LOOK_BLOCKS)
    );
    assert!(change.high <= change.allowed, "{change:?}");
    assert!(
        passed.reason.ends_with("after 12 blocks") && !passed.reason.contains("told apart"),
        "{}",
        passed.reason
    );
}

#[test]
fn a_fail_that_does_not_repeat_is_none() {
    let once = |at: usize, arm: Arm, run: &mut RunAnalysis| {
        if at < LOOK_BLOCKS && arm == Arm::Head {
            run.spans[0].clean.p99 = run.spans[0].clean.p99 * 6 / 5;
        }
    };
    let (verdicts, blocks) = drive(&[hop("a->b", 1.0)], 1, once);
    assert_eq!(
        (verdicts[0].reason.as_str(), blocks),
        ("unconfirmed", 2 * LOOK_BLOCKS)
    );
}

#[test]
fn a_base_that_differs_from_itself_spoils_a_fail_and_no_pass() {
    let biased = |ratio, again| {
        let mut hop = hop("a->b", ratio);
        (hop.again, hop.sd) = (again, 0.005);
        one(&[hop], |_, _, _| ())
    };
    assert_eq!(biased(1.2, 1.0).word, Word::Fail);
    assert_eq!(biased(1.2, 1.06).reason, "null-bias");
    assert_eq!(
        biased(1.2, 1.004).word,
        Word::Fail,
        "surely off, but by less than a quarter of 5 %"
    );
    assert_eq!(biased(1.0, 1.06).word, Word::Pass);
}

#[test]
fn changes_of_a_few_nanoseconds_are_not_told_apart() {
    let small = |base_ns, ratio| {
        let mut hop = hop("a->b", ratio);
        (hop.base_ns, hop.sd) = (base_ns, 0.02);
        one(&[hop], |_, _, _| ())
    };
    let verdict = small(200.0, 1.1);
    assert_eq!(verdict.word, Word::Pass);
    assert!(
        verdict.reason.contains("not told apart"),
        "{}",
        verdict.reason
    );
    assert_eq!(small(2_000.0, 1.1).word, Word::Fail);
    assert_eq!(small(495.0, 1.1).reason, "small", "at the edge of it");
}

#[test]
fn shares_that_differ_are_not_compared() {
    let exposed = |n_clean| {
        move |_: usize, arm: Arm, run: &mut RunAnalysis| {
            if arm == Arm::Head {
                run.spans[0].n_clean = n_clean;
            }
        }
    };
    assert_eq!(one(&[hop("a->b", 1.0)], exposed(8_400)).reason, "exposure");
    assert_eq!(one(&[hop("a->b", 1.2)], exposed(8_400)).reason, "exposure");
    assert_eq!(one(&[hop("a->b", 1.0)], exposed(8_600)).word, Word::Pass);
    let dirty = |_: usize, _: Arm, run: &mut RunAnalysis| run.spans[0].n_clean = 1_000;
    assert_eq!(one(&[hop("a->b", 1.0)], dirty).reason, "dirty");
}

#[test]
fn nothing_measured_never_passes() {
    let empty = |_: usize, arm: Arm, run: &mut RunAnalysis| {
        if arm == Arm::Head {
            run.spans[0].n_clean = 0;
            run.spans[0].clean = Quantiles::default();
        }
    };
    assert_eq!(one(&[hop("a->b", 1.0)], empty).reason, "samples");
    let gone = |_: usize, arm: Arm, run: &mut RunAnalysis| {
        if arm == Arm::Base {
            run.spans.clear();
        }
    };
    assert_eq!(one(&[hop("a->b", 1.0)], gone).reason, "samples");
    let once = |at: usize, _: Arm, run: &mut RunAnalysis| {
        if at == 3 {
            run.spans.clear();
        }
    };
    assert_eq!(one(&[hop("a->b", 1.0)], once).word, Word::Pass);
    let often = |at: usize, _: Arm, run: &mut RunAnalysis| {
        if at % 4 == 3 {
            run.spans.clear();
        }
    };
    assert_eq!(one(&[hop("a->b", 1.0)], often).reason, "samples");
    let mut comparison = Comparison::new(vec![metric("a->b")], Options::default());
    (0..LOOK_BLOCKS).for_each(|_| comparison.block(&[]));
    assert_eq!(comparison.verdicts()[0].word, Word::Inconclusive);
}

#[test]
fn a_comparison_cut_short_has_verdicts_that_say_so() {
    let mut comparison = Comparison::new(vec![metric("a->b")], Options::default());
    let runs = |ns| order(0).map(|arm| (arm, run(&[("a->b", ns)])));
    assert_eq!(comparison.next(), Next::RunBlocks(LOOK_BLOCKS));
    comparison.block(&runs(10_000.0));
    assert_eq!(comparison.next(), Next::RunBlocks(LOOK_BLOCKS - 1));
    let verdict = comparison.verdicts().remove(0);
    assert_eq!(verdict.word, Word::Inconclusive);
    assert!(
        verdict.next_step.contains("cut short"),
        "{}",
        verdict.next_step
    );
    assert_eq!(verdict.change.map(|change| change.high), Some(0.0));
}

#[test]
fn lost_frames_and_cut_logs_end_it_at_once() {
    let loses = |arm: Arm| {
        move |_: usize, by: Arm, run: &mut RunAnalysis| {
            if by == arm {
                run.ledger.losses.push("a->b: 3 lost".to_owned());
            }
        }
    };
    let head = one(&[hop("a->b", 1.0)], loses(Arm::Head));
    assert_eq!((head.word, &*head.reason), (Word::Loss, "a->b: 3 lost"));
    assert_eq!(one(&[hop("a->b", 1.0)], loses(Arm::Base)).reason, "base");
    let open = |_: usize, arm: Arm, run: &mut RunAnalysis| run.ledger.closed = arm != Arm::Head;
    assert_eq!(one(&[hop("a->b", 1.0)], open).word, Word::Loss);
    let cut = |_: usize, _: Arm, run: &mut RunAnalysis| run.loops[0].log_lost = 1;
    assert_eq!(one(&[hop("a->b", 1.0)], cut).reason, "log");
    let cut = |_: usize, _: Arm, run: &mut RunAnalysis| run.loops[0].looks_lost = 1;
    assert_eq!(one(&[hop("a->b", 1.0)], cut).reason, "log");
    for side in [Arm::Head, Arm::BaseAgain] {
        let full = move |_: usize, arm: Arm, run: &mut RunAnalysis| {
            if arm == side {
                let mut sojourn = run.spans[0].clone();
                (sojourn.of, sojourn.log_lost) = ("sojourn".to_owned(), 5);
                run.spans.push(sojourn);
            }
        };
        let verdict = one(&[hop("a->b", 1.0)], full);
        assert_eq!(verdict.reason, "log");
        assert!(verdict.next_step.contains("5 messages of a->b"));
        let stepped = move |_: usize, arm: Arm, run: &mut RunAnalysis| {
            if arm == side {
                (run.span_ns, run.clock_drift_ppm) = (500_000_000, -4_000.0);
            }
        };
        let verdict = one(&[hop("a->b", 1.0)], stepped);
        assert_eq!(
            (verdict.word, &*verdict.reason),
            (Word::Inconclusive, "clock")
        );
    }
}

#[test]
fn a_rate_that_is_not_reached_is_no_comparison() {
    let late = |side: Option<Arm>, held: bool| {
        move |_: usize, arm: Arm, run: &mut RunAnalysis| {
            run.generators = vec![Default::default()];
            run.generators[0].offered_per_s = 1_000.0;
            run.generators[0].achieved_per_s = 1_000.0;
            if side.is_none_or(|side| side == arm) {
                run.generators[0].achieved_per_s = 900.0;
                run.source_held_back = held;
            }
        }
    };
    let word = |side, held| one(&[hop("a->b", 1.0)], late(side, held));
    assert_eq!(word(None, false).reason, "rate");
    assert_eq!(word(None, true).reason, "rate", "base holds back as well");
    assert_eq!(word(Some(Arm::Head), true).word, Word::Fail);
    assert_eq!(word(Some(Arm::Base), true).reason, "rate");
}

#[test]
fn what_others_sent_to_a_source_of_either_side_is_no_comparison() {
    let strange = |side: Arm, others: u64| {
        move |_: usize, arm: Arm, run: &mut RunAnalysis| {
            run.span_ns = 1_000_000_000;
            run.generators = vec![Default::default()];
            run.generators[0].offered_per_s = 1_000.0;
            run.generators[0].achieved_per_s = 1_000.0;
            run.generators[0].others = if side == arm { others } else { 0 };
        }
    };
    let word = |side, others| one(&[hop("a->b", 1.0)], strange(side, others));
    assert_eq!(word(Arm::Head, 11).reason, "others");
    assert_eq!(word(Arm::Base, 11).reason, "others");
    assert_eq!(word(Arm::Base, 10).word, Word::Pass);
}

#[test]
fn what_is_undecided_says_how_many_blocks_would_decide() {
    let mut noisy = hop("a->b", 1.045);
    noisy.sd = 0.1;
    let (verdicts, blocks) = drive(&[noisy], 1, |_, _, _| ());
    assert_eq!(
        (verdicts[0].reason.as_str(), blocks),
        ("noise", 2 * LOOK_BLOCKS)
    );
    assert!(
        verdicts[0].next_step.contains("blocks would decide +5.0 %"),
        "{}",
        verdicts[0].next_step
    );
}

#[test]
fn what_is_only_shown_has_no_word() {
    let mut metric = metric("a->b");
    metric.reported_only = true;
    let mut comparison = Comparison::new(vec![metric], Options::default());
    for at in 0..LOOK_BLOCKS {
        let slow = |arm| if arm == Arm::Head { 20_000.0 } else { 10_000.0 };
        comparison.block(&order(at).map(|arm| (arm, run(&[("a->b", slow(arm))]))));
    }
    let Next::Done(verdicts) = comparison.next() else {
        panic!("nothing is judged, so nothing is to be confirmed");
    };
    assert_eq!(verdicts[0].reason, "reported");
    assert!(verdicts[0].reported_only);
}

#[test]
fn the_spans_that_are_compared() {
    let mut all = run(&[("a->b", 1.0), (END_TO_END, 1.0)]);
    all.spans[1].of = END_TO_END.to_owned();
    let mut wait = all.spans[0].clone();
    wait.of = "wait".to_owned();
    all.spans.push(wait);
    let metrics = metrics(&all, 0.05);
    let names: Vec<_> = metrics
        .iter()
        .map(|metric| (&*metric.of, &*metric.quantile, metric.slower))
        .collect();
    assert_eq!(
        names,
        [
            ("service", "p50", 0.05),
            ("service", "p99", 0.05),
            (END_TO_END, "p50", 0.1),
            (END_TO_END, "p99", 0.1),
            (END_TO_END, "p99_9", 0.1),
        ]
    );
    assert!(metrics[4].reported_only && !metrics[3].reported_only);
}

#[test]
fn a_quantile_of_a_few_frames_is_only_shown_and_one_of_none_is_judged() {
    let reported = |n| {
        let mut run = run(&[("a->b", 1.0)]);
        run.spans[0].n = n;
        let metrics = metrics(&run, 0.05);
        [metrics[0].reported_only, metrics[1].reported_only]
    };
    // P50 and P99: twenty frames have to lie beyond.
    assert_eq!(reported(2_000), [false, false]);
    assert_eq!(reported(1_999), [false, true]);
    assert_eq!(reported(39), [true, true]);
    assert_eq!(reported(0), [false, false]);
}

/// How many of `gates` gates over hops of these ratios end with a FAIL, and with nothing but PASS.
fn rates(ratios: &[f64], gates: u64) -> (u64, u64) {
    const NAMES: [&str; 4] = ["a->b", "b->c", "c->d", "d->e"];
    let (mut failed, mut passed) = (0, 0);
    for seed in 0..gates {
        let hops: Vec<Hop> = NAMES
            .iter()
            .zip(ratios)
            .map(|(name, ratio)| hop(name, *ratio))
            .collect();
        let (verdicts, _) = drive(&hops, seed, |_, _, _| ());
        failed += u64::from(verdicts.iter().any(|one| one.word == Word::Fail));
        passed += u64::from(verdicts.iter().all(|one| one.word == Word::Pass));
    }
    (failed, passed)
}

#[test]
fn simulated_gates_are_wrong_as_seldom_as_they_say() {
    let (failed, passed) = rates(&[1.0; 4], 100);
    assert!(
        failed == 0 && passed >= 95,
        "identical: {failed} FAIL, {passed} PASS"
    );
    let (failed, passed) = rates(&[1.05; 4], 100);
    assert!(
        failed <= 5,
        "all hops slower by just what is allowed: {failed} FAIL of 100"
    );
    assert_eq!(passed, 0, "four of them at once");
    let (_, passed) = rates(&[1.05], 200);
    assert!(
        passed <= 15,
        "a hop slower by just what is allowed: {passed} PASS of 200"
    );
    let (failed, passed) = rates(&[1.0, 1.2, 1.0, 1.0], 50);
    assert!(
        failed >= 48 && passed == 0,
        "20 % slower: {failed} FAIL, {passed} PASS"
    );
}
