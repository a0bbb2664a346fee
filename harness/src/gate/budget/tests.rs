//! Each rule flips a verdict that would else be another one.
//!
//! Invariant: whatever is broken in a run, the word is never PASS or PASS_CLEAN.

use hopline::base::Prng;

use super::*;
use crate::Exit;
use crate::gate::model::{
    END_TO_END, Exceedances, GeneratorAnalysis, LedgerAnalysis, LimitCounts, LoopAnalysis,
    SpanAnalysis, WakeProbe,
};
use crate::gate::outcome::{Inconclusive, overall};
use crate::gate::pooled::tests::text;
use crate::gate::stats::{Blocks, lower};

mod validity;

const LIMIT_NS: u64 = 20_000;

fn exceedances(n: u64, k: u64, d: f64) -> Exceedances {
    Exceedances { n, k, d }
}

fn quantiles(p50: u64, p99: u64) -> Quantiles {
    Quantiles {
        p50,
        p90: p50 * 2,
        p99,
        p99_9: p99 * 2,
        max: p99 * 3,
    }
}

/// A quiet run of 10 000 frames with a P99 of half the limit.
fn run() -> RunAnalysis {
    RunAnalysis {
        ledger: LedgerAnalysis {
            closed: true,
            ..LedgerAnalysis::default()
        },
        generators: vec![GeneratorAnalysis {
            offered_per_s: 20_000.0,
            achieved_per_s: 19_990.0,
            ..GeneratorAnalysis::default()
        }],
        loops: vec![LoopAnalysis {
            name: "loop".into(),
            wait: "spin".into(),
            ..LoopAnalysis::default()
        }],
        spans: vec![SpanAnalysis {
            hop: "a->b".into(),
            of: "sojourn".into(),
            n: 10_000,
            n_clean: 9_000,
            raw: quantiles(4_000, 10_000),
            clean: quantiles(4_000, 10_000),
            clean_p50_halves: [4_000, 4_010],
            limits: vec![LimitCounts {
                quantile: "p99".into(),
                limit_ns: LIMIT_NS,
                raw: exceedances(10_000, 20, 1.5),
                clean: exceedances(9_000, 10, 1.2),
                from_send: None,
            }],
            ..SpanAnalysis::default()
        }],
        ..RunAnalysis::default()
    }
}

/// Three runs, each changed in the same way.
fn runs(change: impl Fn(&mut RunAnalysis)) -> Vec<RunAnalysis> {
    let mut runs = vec![run(); 3];
    runs.iter_mut().for_each(change);
    runs
}

fn span(run: &mut RunAnalysis) -> &mut SpanAnalysis {
    &mut run.spans[0]
}

fn limit(run: &mut RunAnalysis) -> &mut LimitCounts {
    &mut run.spans[0].limits[0]
}

/// Noise over the limit, in frames that gaps touched.
fn noisy(run: &mut RunAnalysis) {
    limit(run).raw = exceedances(10_000, 900, 8.0);
}

/// Slow whatever the host does.
fn slow(run: &mut RunAnalysis) {
    span(run).clean = quantiles(4_000, 30_000);
    limit(run).raw = exceedances(10_000, 900, 4.0);
    limit(run).clean = exceedances(9_000, 500, 2.0);
}

fn judged(runs: &[RunAnalysis]) -> Verdict {
    judge(runs, &owed(&vec![run(); 3]), &Options::default()).remove(0)
}

fn said(change: impl Fn(&mut RunAnalysis)) -> (Word, String) {
    let verdict = judged(&runs(change));
    assert_eq!(
        verdict.next_step.is_empty(),
        matches!(verdict.word, Word::Pass | Word::PassClean),
        "{verdict:?}"
    );
    (verdict.word, verdict.reason)
}

fn unclear(reason: &str) -> (Word, String) {
    (Word::Inconclusive, reason.to_owned())
}

#[test]
fn what_is_quick_passes_raw() {
    let (word, reason) = said(|_| ());
    assert_eq!(word, Word::Pass);
    assert_eq!(
        reason,
        "at most 0.26 % of all frames took longer than 20.0us, 1.0 % may"
    );
}

#[test]
fn what_is_quick_but_for_the_host_passes_clean_and_strict_asks_for_more() {
    let (word, reason) = said(noisy);
    assert_eq!(word, Word::PassClean);
    assert!(reason.contains("of all frames 9.00 %") || reason.contains("of all frames 9.0 %"));
    let strict = Options {
        strict: true,
        ..Options::default()
    };
    let verdict = judge(&runs(noisy), &owed(&runs(noisy)), &strict).remove(0);
    assert_eq!((verdict.word, verdict.reason), unclear("strict"));
    let pass = judge(&runs(|_| ()), &owed(&[run()]), &strict).remove(0);
    assert_eq!(pass.word, Word::Pass);
}

#[test]
fn what_is_slow_in_clean_frames_fails() {
    assert_eq!(said(slow).0, Word::Fail);
}

#[test]
fn loss_and_an_open_ledger_come_first() {
    let lost = |run: &mut RunAnalysis| run.ledger.losses.push("a->b: 3 messages lost".into());
    assert_eq!(said(lost), (Word::Loss, "a->b: 3 messages lost".into()));
    let mut one = runs(|_| ());
    one[1].ledger.closed = false;
    one[1].loops[0].log_lost = 9;
    assert_eq!(judged(&one).word, Word::Loss);
    assert_eq!(
        overall(&[judged(&one)], Inconclusive::Pass),
        (Word::Loss, Exit::Loss)
    );
    assert_eq!(judged(&one[1..2]).word, Word::Loss, "even of a single run");
}

#[test]
fn a_cut_log_is_not_judged() {
    let mut one = runs(|_| ());
    one[2].loops[0].log_lost = 1;
    assert_eq!(judged(&one).reason, "log");
    let mut one = runs(|_| ());
    one[0].loops[0].looks_lost = 1;
    assert_eq!(judged(&one).reason, "log");
}

#[test]
fn no_samples_never_pass() {
    let empty = |run: &mut RunAnalysis| {
        span(run).n = 0;
        span(run).n_clean = 0;
        limit(run).raw = Exceedances::default();
        limit(run).clean = Exceedances::default();
    };
    assert_eq!(said(empty), unclear("samples"));
    assert_eq!(said(|run| run.spans.clear()), unclear("samples"));
    assert_eq!(said(|run| span(run).limits.clear()), unclear("samples"));
    assert_eq!(judged(&[]).reason, "samples");
    assert_eq!(
        said(|run| *run = RunAnalysis {
            ledger: run.ledger.clone(),
            ..RunAnalysis::default()
        }),
        unclear("samples")
    );
    let behind = |run: &mut RunAnalysis| {
        empty(run);
        run.generators[0].achieved_per_s = 5_000.0;
    };
    let verdict = judged(&runs(behind));
    assert_eq!(verdict.reason, "samples");
    assert!(
        verdict.next_step.contains("25 % of the offered rate"),
        "{verdict:?}"
    );
    let mut one = runs(|_| ());
    empty(&mut one[0]);
    assert_eq!(judged(&one).reason, "samples", "one of three");
    let max = |run: &mut RunAnalysis| {
        limit(run).quantile = "max".into();
        empty(run);
    };
    let verdicts = judge(&runs(max), &owed(&runs(max)), &Options::default());
    assert_eq!(
        overall(&verdicts, Inconclusive::Pass),
        (Word::Inconclusive, Exit::Inconclusive)
    );
}

#[test]
fn few_frames_or_runs_are_not_judged() {
    let few = |run: &mut RunAnalysis| {
        span(run).n = 99;
        limit(run).raw = exceedances(99, 0, 1.0);
        limit(run).clean = exceedances(99, 0, 1.0);
    };
    assert_eq!(said(few), unclear("samples"));
    let enough = |run: &mut RunAnalysis| {
        span(run).n = 100;
        limit(run).raw = exceedances(100, 0, 1.0);
    };
    assert_eq!(
        said(enough).0,
        Word::Pass,
        "three times 100 are more than 299"
    );
    assert_eq!(judged(&runs(|_| ())[..2]).reason, "samples");
    let few_clean = |run: &mut RunAnalysis| {
        noisy(run);
        limit(run).clean = exceedances(90, 0, 1.0);
    };
    assert_eq!(said(few_clean), unclear("samples"));
}

#[test]
fn a_limit_below_what_the_clock_can_tell_has_no_word() {
    let judged = |limit_ns: u64, cost_ns: f64| {
        let planted = |run: &mut RunAnalysis| {
            limit(run).limit_ns = limit_ns;
            run.clock_cost_ns = cost_ns;
        };
        let runs = runs(planted);
        let verdict = judge(&runs, &owed(&runs), &Options::default()).remove(0);
        (verdict.reason == "resolution").then_some(verdict)
    };
    for (limit_ns, cost_ns) in [(1, 9.0), (CLOCK_GRAIN_NS - 1, 0.0), (900, 901.0)] {
        let verdict = judged(limit_ns, cost_ns).expect("no word");
        assert_eq!(verdict.word, Word::Inconclusive);
        assert!(verdict.next_step.contains("clock can tell"), "{verdict:?}");
    }
    assert!(judged(CLOCK_GRAIN_NS, 9.0).is_none() && judged(900, 900.0).is_none());
}

#[test]
fn halves_that_drift_are_a_warm_up() {
    let drift = |run: &mut RunAnalysis| span(run).clean_p50_halves = [4_300, 4_000];
    assert_eq!(said(drift), unclear("warmup"));
    assert_eq!(
        said(|run| span(run).clean_p50_halves = [4_150, 4_000]).0,
        Word::Pass
    );
    assert_eq!(
        said(|run| span(run).clean_p50_halves = [60, 45]).0,
        Word::Pass,
        "less than the clock's grain"
    );
    let mut one = runs(|_| ());
    drift(&mut one[0]);
    assert_eq!(judged(&one).word, Word::Pass, "one disturbed half of six");
}

#[test]
fn gaps_too_short_to_be_seen_bound_what_clean_frames_can_tell() {
    let hides = |run: &mut RunAnalysis, share| {
        noisy(run);
        span(run).contamination = share;
    };
    assert_eq!(said(|run| hides(run, 0.0021)), unclear("resolution"));
    assert_eq!(said(|run| hides(run, 0.0019)).0, Word::PassClean);
    assert_eq!(said(|run| hides(run, f64::NAN)), unclear("resolution"));
    // What all frames together hold needs no clean ones.
    assert_eq!(said(|run| span(run).contamination = 0.5).0, Word::Pass);
}

#[test]
fn too_many_tainted_frames_are_not_left_out() {
    let dirty = |run: &mut RunAnalysis, clean| {
        noisy(run);
        span(run).n_clean = clean;
        limit(run).clean = exceedances(clean, 0, 1.0);
    };
    assert_eq!(said(|run| dirty(run, 1_400)), unclear("dirty"));
    assert_eq!(said(|run| dirty(run, 1_600)).0, Word::PassClean);
    let dirty_and_quick = |run: &mut RunAnalysis| span(run).n_clean = 1_400;
    assert_eq!(
        said(dirty_and_quick).0,
        Word::Pass,
        "a raw pass needs no clean frame"
    );
    let few_drift = |run: &mut RunAnalysis| {
        dirty(run, 1_400);
        span(run).clean_p50_halves = [4_000, 9_000];
        span(run).n_slowed = 8_600;
    };
    assert_eq!(said(few_drift), unclear("dirty"));
    let words = judged(&runs(few_drift)).next_step;
    assert!(words.contains("a core that ran slowly"), "{words}");
}

#[test]
fn a_run_without_a_clean_frame_does_not_make_the_others_quicker() {
    let mut one_is_dirty = runs(noisy);
    let first = &mut one_is_dirty[0].spans[0];
    (first.n_clean, first.clean) = (0, Quantiles::default());
    first.limits[0].clean = exceedances(0, 0, 1.0);
    let verdict = judged(&one_is_dirty);
    let bounds = (verdict.clean_low_ns, verdict.clean_high_ns);
    assert_eq!((verdict.clean_ns, bounds), (10_000, (10_000, 10_000)));
}

#[test]
fn a_limit_in_the_band_is_not_judged() {
    let at = |p99| {
        move |run: &mut RunAnalysis| {
            span(run).raw = quantiles(4_000, p99);
            span(run).clean = quantiles(4_000, p99);
        }
    };
    assert_eq!(said(at(18_500)), unclear("band"), "8 % below");
    assert_eq!(said(at(18_000)).0, Word::Pass, "11 % above the quantile");
    let slow_at = |p99| {
        move |run: &mut RunAnalysis| {
            slow(run);
            span(run).clean = quantiles(4_000, p99);
        }
    };
    assert_eq!(said(slow_at(21_500)), unclear("band"));
    assert_eq!(said(slow_at(22_500)).0, Word::Fail);
    // Runs that vary widen it.
    let vary = |p99s: [u64; 3]| {
        let mut runs = runs(|_| ());
        for (run, p99) in runs.iter_mut().zip(p99s) {
            at(p99)(run);
        }
        judged(&runs)
    };
    assert_eq!(vary([10_000, 10_500, 11_000]).word, Word::Pass);
    assert_eq!(vary([7_000, 10_500, 17_000]).reason, "band");
    let clean_band = |run: &mut RunAnalysis| {
        noisy(run);
        span(run).clean = quantiles(4_000, 19_000);
    };
    assert_eq!(said(clean_band), unclear("band"));
}

#[test]
fn from_end_to_end_a_fail_stands_without_what_a_late_sender_adds() {
    let end_to_end = |from_send| {
        move |run: &mut RunAnalysis| {
            slow(run);
            span(run).hop = END_TO_END.into();
            span(run).of = END_TO_END.into();
            limit(run).from_send = from_send;
        }
    };
    let word = |from_send| {
        let runs = runs(end_to_end(from_send));
        let verdict = judge(&runs, &owed(&runs), &Options::default()).remove(0);
        (verdict.word, verdict.reason)
    };
    assert_eq!(
        word(Some(exceedances(9_000, 60, 1.0))),
        unclear("generator")
    );
    assert_eq!(word(None), unclear("generator"), "not counted at all");
    assert_eq!(word(Some(exceedances(9_000, 500, 1.0))).0, Word::Fail);
    // All that is clean is the line's, as every run of this program has it.
    let same = |run: &mut RunAnalysis| {
        end_to_end(None)(run);
        limit(run).from_send = Some(limit(run).clean);
    };
    let runs = runs(same);
    let verdict = judge(&runs, &owed(&runs), &Options::default()).remove(0);
    assert_eq!(verdict.word, Word::Fail);
}

#[test]
fn variation_of_spacing_is_judged_as_any_span() {
    use crate::gate::model::{IPDV, LINE};

    let of_line = |run: &mut RunAnalysis| {
        slow(run);
        span(run).hop = LINE.into();
        span(run).of = IPDV.into();
    };
    let runs = runs(of_line);
    let owed = owed(&runs);
    assert_eq!((&*owed[0].hop, &*owed[0].of), ("line", "ipdv"));
    let verdict = judge(&runs, &owed, &Options::default()).remove(0);
    assert_eq!((verdict.word, verdict.clean_ns), (Word::Fail, 30_000));
}

#[test]
fn the_programs_own_doing_is_not_excused() {
    let own = |run: &mut RunAnalysis| {
        noisy(run);
        run.loops[0].own_fault_share = 0.011;
    };
    assert_eq!(said(own), unclear("self"));
    let little = |run: &mut RunAnalysis| {
        own(run);
        run.loops[0].own_fault_share = 0.009;
    };
    assert_eq!(said(little).0, Word::PassClean);
    let elsewhere = |run: &mut RunAnalysis| {
        own(run);
        span(run).loops = vec!["another".into()];
    };
    assert_eq!(
        said(elsewhere).0,
        Word::PassClean,
        "on a loop that is not on its path"
    );
    let slow_too = |run: &mut RunAnalysis| {
        own(run);
        slow(run);
    };
    assert_eq!(said(slow_too).0, Word::Fail, "what is left fails by itself");
}

#[test]
fn a_loop_that_parks_sees_no_gaps() {
    let parked = |run: &mut RunAnalysis| {
        noisy(run);
        run.loops[0].wait = "park".into();
    };
    assert_eq!(said(parked), unclear("parked"));
    assert_eq!(said(|run| run.loops[0].wait = "park".into()).0, Word::Pass);
}

#[test]
fn what_a_parked_loop_can_hold_is_said_by_a_bare_wake() {
    let next = |p99: u64| {
        let runs = runs(|run| {
            noisy(run);
            run.loops[0].wait = "park".into();
            run.wake_probe = Some(WakeProbe {
                late: Quantiles {
                    p50: 1_000,
                    p99,
                    ..Quantiles::default()
                },
                ..WakeProbe::default()
            });
        });
        let verdict = judged(&runs);
        assert_eq!(
            (verdict.word, &*verdict.reason),
            (Word::Inconclusive, "parked")
        );
        verdict.next_step
    };
    let (below, above) = (next(LIMIT_NS), next(LIMIT_NS + 1_000_000));
    assert!(
        below.contains("a bare wake takes P99") && below.contains("raw figures"),
        "{below}"
    );
    assert!(above.contains("no line that is woken"), "{above}");
}

#[test]
fn what_cannot_be_told_says_what_would_decide() {
    let border = |k| {
        move |run: &mut RunAnalysis| {
            noisy(run);
            limit(run).clean = exceedances(9_000, k, 1.2);
        }
    };
    assert_eq!(said(border(84)), unclear("border"));
    let verdict = judged(&runs(border(84)));
    assert!(
        verdict.next_step.contains("would decide"),
        "{}",
        verdict.next_step
    );
    assert!(
        judged(&runs(border(90)))
            .next_step
            .contains("no run would decide")
    );
    let floor = |run: &mut RunAnalysis| {
        border(84)(run);
        span(run).host_floor = quantiles(0, 25_000);
    };
    assert_eq!(said(floor), unclear("host"));
    assert!(more_runs_help(std::slice::from_ref(&verdict)));
    assert!(!more_runs_help(&[verdict, judged(&runs(slow))]));
    assert!(!more_runs_help(&[judged(&runs(|_| ()))]));
}

#[test]
fn each_further_look_asks_for_more() {
    // 0.9 % in 27 000: enough for one look, not for one of four.
    let near = |run: &mut RunAnalysis| limit(run).raw = exceedances(10_000, 90, 1.0);
    let once = judge(&runs(near), &owed(&[run()]), &Options::default()).remove(0);
    assert_eq!(once.word, Word::Pass, "{once:?}");
    let nearer = |run: &mut RunAnalysis| limit(run).raw = exceedances(10_000, 89, 1.1);
    let four = Options {
        looks: 4,
        ..Options::default()
    };
    let nearer = runs(nearer);
    let words = [Options::default(), four]
        .map(|options| judge(&nearer, &owed(&[run()]), &options).remove(0).word);
    assert_eq!(words, [Word::Pass, Word::PassClean]);
}

#[test]
fn what_was_shed_counts_as_too_slow() {
    let shed = |run: &mut RunAnalysis| span(run).shed = 150;
    assert_eq!(
        said(shed),
        unclear("border"),
        "clean or not is not known, so it is no FAIL either"
    );
    let clean = |run: &mut RunAnalysis| {
        span(run).shed = 900;
        span(run).shed_clean = 900;
    };
    assert_eq!(said(clean).0, Word::Fail);
    let mut in_two = runs(clean);
    (in_two[0].spans[0].shed, in_two[0].spans[0].shed_clean) = (0, 0);
    in_two[1].spans[0].shed_clean = 5_000;
    in_two[2].spans[0].shed_clean = 5_000;
    assert_eq!(judged(&in_two).reason, "shed");
}

#[test]
fn a_limit_on_the_largest_speaks_of_each_frame() {
    let max = |raw, clean| {
        move |run: &mut RunAnalysis| {
            limit(run).quantile = "max".into();
            limit(run).raw = exceedances(10_000, raw, 1.0);
            limit(run).clean = exceedances(9_000, clean, 1.0);
        }
    };
    let word = |runs: &[RunAnalysis]| judge(runs, &owed(runs), &Options::default()).remove(0);
    assert_eq!(word(&runs(max(0, 0))).word, Word::Pass);
    assert_eq!(word(&runs(max(7, 0))).word, Word::PassClean);
    assert_eq!(word(&runs(max(7, 1))).word, Word::Fail);
    let mut once = runs(max(7, 0));
    max(7, 1)(&mut once[0]);
    assert_eq!(word(&once).reason, "once");
    let mut shed = runs(max(0, 0));
    shed[0].spans[0].shed = 1;
    assert_eq!(word(&shed).reason, "shed");
}

#[test]
fn jitter_is_the_way_from_the_median_to_p99() {
    let jitter = |run: &mut RunAnalysis| limit(run).quantile = JITTER.into();
    let runs = runs(jitter);
    let verdict = judge(&runs, &owed(&runs), &Options::default()).remove(0);
    assert_eq!((verdict.word, verdict.raw_ns), (Word::Pass, 6_000));
    let unknown = vec![Owed {
        quantile: "p42".into(),
        ..owed(&runs)[0].clone()
    }];
    let verdict = judge(&runs, &unknown, &Options::default()).remove(0);
    assert_eq!(verdict.reason, "quantile");
}

#[test]
fn the_figures_are_those_of_all_runs() {
    let mut runs = runs(|_| ());
    for (run, p99) in runs.iter_mut().zip([9_000, 10_000, 11_111]) {
        span(run).clean = quantiles(4_000, p99);
        span(run).host_floor = quantiles(0, p99 / 10);
        span(run).clean_histogram = text((0..9_000).map(|at| 1_000 + at));
    }
    let verdict = judged(&runs);
    assert_eq!((verdict.n, verdict.n_clean), (30_000, 27_000));
    assert!((verdict.tainted_share - 0.1).abs() < 1e-9);
    assert_eq!((verdict.clean_ns, verdict.host_floor_ns), (10_000, 1_000));
    assert_eq!((verdict.raw.n, verdict.raw.k), (30_000, 60));
    assert_eq!(
        (verdict.clean_low_ns, verdict.clean_high_ns),
        (9_000, 11_111)
    );
    // Histograms with a wider spread than the runs widen the bounds.
    for run in &mut runs {
        span(run).clean_histogram = text((0..300).map(|at| 1_000 + at * 60));
    }
    let verdict = judged(&runs);
    assert!(verdict.clean_high_ns > 18_800, "{verdict:?}");
}

/// Frames with an exponential tail; `scale` 1 has its P99 at 4 605 ns.
fn measured(prng: &mut Prng, scale: f64) -> RunAnalysis {
    let mut latencies: Vec<u64> = (0..3_000)
        .map(|_| (prng.exponential(1_000.0) * scale) as u64)
        .collect();
    let mut blocks = Blocks::default();
    latencies.iter().for_each(|&ns| blocks.push(ns > 4_605));
    latencies.sort_unstable();
    let at = |share: f64| latencies[(share * 3_000.0) as usize - 1];
    let mut run = run();
    let span = span(&mut run);
    (span.n, span.n_clean) = (3_000, 3_000);
    span.clean = quantiles(at(0.5), at(0.99));
    span.raw = span.clean;
    span.limits[0].limit_ns = 4_605;
    (span.limits[0].raw, span.limits[0].clean) = (blocks.counts(), blocks.counts());
    run
}

#[test]
fn simulated_gates_are_wrong_as_seldom_as_they_say() {
    let mut prng = Prng::new(42);
    let mut words = |scale: f64| {
        let mut words = [0; 3];
        for _ in 0..100 {
            let runs: Vec<RunAnalysis> = (0..3).map(|_| measured(&mut prng, scale)).collect();
            let verdict = judge(&runs, &owed(&runs), &Options::default()).remove(0);
            match verdict.word {
                Word::Pass | Word::PassClean => words[0] += 1,
                Word::Fail => words[1] += 1,
                _ => words[2] += 1,
            }
        }
        words
    };
    let [passed, failed, _] = words(1.0);
    assert!(
        passed <= 5 && failed <= 5,
        "at the budget: {passed} PASS, {failed} FAIL of 100"
    );
    let [passed, failed, _] = words(1.25);
    assert!(
        passed == 0 && failed >= 80,
        "25 % above: {passed} PASS, {failed} FAIL of 100"
    );
    let [passed, failed, _] = words(0.8);
    assert!(
        failed == 0 && passed >= 80,
        "20 % below: {passed} PASS, {failed} FAIL of 100"
    );
    assert!(lower(60.0, 3_000.0, ALPHA) > 0.01);
}
