//! The search on lines whose capacity is known, and what it says of them.
//!
//! Invariant: no real run; what a rate came to is planted.

use super::*;
use crate::gate::model::{
    Exceedances, GeneratorAnalysis, LedgerAnalysis, LimitCounts, Quantiles, SpanAnalysis,
};

/// Drives the search on a line that holds up to `capacity`, and gives the factors that it tried.
fn drive(search: &mut Search, capacity: f64) -> Vec<f64> {
    let mut tried = Vec::new();
    while let Some(factor) = search.next() {
        tried.push(factor);
        search.told(factor, factor <= capacity);
    }
    tried
}

#[test]
fn the_bracket_narrows_around_the_capacity() {
    for capacity in [0.02, 0.3, 0.999, 1.0, 1.001, 3.0, 777.0] {
        let mut search = Search::new(0.05, 1e5);
        let tried = drive(&mut search, capacity);
        let (holds, fails) = (search.holds.unwrap(), search.fails.unwrap());
        assert!(
            holds <= capacity && capacity < fails,
            "{capacity}: {tried:?}"
        );
        assert!(fails / holds <= 1.05 + 1e-9, "{capacity}: {holds} {fails}");
        assert!(tried.len() <= STEPS_MAX, "{tried:?}");
        assert_eq!(tried[0], 1.0, "the case's own rate is the first");
    }
}

#[test]
fn a_finer_bracket_takes_few_more_steps_and_all_have_an_end() {
    let steps = |within| drive(&mut Search::new(within, 1e6), 900_000.0).len();
    assert!(steps(0.05) < steps(0.01) && steps(0.01) <= STEPS_MAX);
    assert_eq!(
        steps(0.0),
        STEPS_MAX,
        "what can never be reached is bounded"
    );
}

#[test]
fn what_never_holds_and_what_always_holds_ends() {
    let mut search = Search::new(0.05, 1e6);
    let tried = drive(&mut search, 0.0);
    assert_eq!(tried.len(), 1 + HALVINGS_MAX as usize);
    assert_eq!((search.holds, search.fails), (None, Some(1.0 / 64.0)));
    let mut search = Search::new(0.05, 10.0);
    assert_eq!(drive(&mut search, 1e9), [1.0, 2.0, 4.0, 8.0, 10.0]);
    assert_eq!((search.holds, search.fails), (Some(10.0), None));
}

#[test]
fn what_a_lower_rate_does_not_help_ends_the_way_down() {
    let mut search = Search::new(0.05, 10.0);
    search.told(1.0, false);
    search.lower_is_no_help();
    assert_eq!(search.next(), None);
    let mut search = Search::new(0.05, 10.0);
    search.told(1.0, true);
    search.told(2.0, false);
    search.lower_is_no_help();
    assert!(search.next().is_some());
}

#[test]
fn a_machine_that_shows_nothing_is_not_asked_at_every_rate() {
    let mut hidden = runs(0.02, 1.0);
    hidden
        .iter_mut()
        .for_each(|run| run.spans[0].contamination = 0.1);
    let found = find(0.0, &hidden);
    assert_eq!((found.steps.len(), end(&found).1), (1, Exit::Inconclusive));
    assert!(
        found
            .answer
            .starts_with("capacity: none found, 15.0k/s is not shown to: "),
        "{}",
        found.answer
    );
    assert!(found.answer.ends_with(", resolution"), "{}", found.answer);
}

/// Three runs at which `slow_share` of the frames are over a limit of 20 us, at a part of the rate that was asked for.
fn runs(slow_share: f64, sent: f64) -> Vec<RunAnalysis> {
    let counts = Exceedances {
        n: 10_000,
        k: (10_000.0 * slow_share) as u64,
        d: 1.0,
    };
    let p99 = if slow_share > 0.01 { 40_000 } else { 10_000 };
    let quantiles = Quantiles {
        p50: 1_000,
        p90: 2_000,
        p99,
        p99_9: 80_000,
        max: 80_000,
    };
    let run = RunAnalysis {
        ledger: LedgerAnalysis {
            closed: true,
            ..LedgerAnalysis::default()
        },
        generators: vec![GeneratorAnalysis {
            offered_per_s: 1_000.0,
            achieved_per_s: 1_000.0 * sent,
            ..GeneratorAnalysis::default()
        }],
        spans: vec![SpanAnalysis {
            hop: "a->b".into(),
            of: "sojourn".into(),
            n: 10_000,
            n_clean: 10_000,
            raw: quantiles,
            clean: quantiles,
            clean_p50_halves: [1_000, 1_000],
            limits: vec![LimitCounts {
                quantile: "p99".into(),
                limit_ns: 20_000,
                raw: counts,
                clean: counts,
                from_send: None,
            }],
            ..SpanAnalysis::default()
        }],
        ..RunAnalysis::default()
    };
    vec![run; 3]
}

/// A search on a line that holds its budget up to `capacity` times 15k/s and then does `beyond`.
fn find(capacity: f64, beyond: &[RunAnalysis]) -> Capacity {
    let mut finder = Finder::new(&[10_000.0, 5_000.0], 0.05);
    while let Some(factor) = finder.next() {
        let good = runs(0.001, 1.0);
        let seen = if factor <= capacity { &good } else { beyond };
        if finder.look(factor, seen, false).unwrap() == Look::Again {
            let twice = [seen, seen].concat();
            assert_eq!(finder.look(factor, &twice, true).unwrap(), Look::Done);
        }
    }
    let (capacity, runs, verdicts) = finder.found();
    assert_eq!((runs.len() >= 3, verdicts.len()), (true, 1));
    let holds = capacity.holds_per_s.is_some();
    assert_eq!(
        verdicts[0].word == Word::Pass,
        holds,
        "of the rate that holds"
    );
    capacity
}

#[test]
fn a_capacity_is_named_with_what_stopped_it() {
    let found = find(3.0, &runs(0.2, 1.0));
    let (holds, fails) = (found.holds_per_s.unwrap(), found.fails_per_s.unwrap());
    assert!(holds <= 45_000.0 && fails > 45_000.0 && fails / holds < 1.051);
    assert!(
        found.answer.starts_with("capacity: between 4"),
        "{}",
        found.answer
    );
    assert!(
        found
            .answer
            .contains("/s (does not: a->b sojourn p99, at least "),
        "{}",
        found.answer
    );
    assert_eq!(end(&found), (Word::Pass, Exit::Good));
    assert!(
        found
            .steps
            .iter()
            .all(|step| step.holds || step.word == Word::Fail)
    );
}

#[test]
fn undecided_is_looked_at_once_more_and_is_no_pass() {
    let found = find(3.0, &runs(0.001, 0.9));
    let undecided = found.steps.iter().filter(|step| !step.holds);
    for step in undecided {
        assert_eq!((step.word, step.runs), (Word::Inconclusive, 6));
    }
    assert!(
        found
            .answer
            .ends_with("/s (is not shown to: a->b sojourn p99 is undecided, rate)"),
        "{}",
        found.answer
    );
    let never = find(0.0, &runs(0.001, 0.9));
    assert_eq!(never.holds_per_s, None);
    assert_eq!(end(&never), (Word::Inconclusive, Exit::Inconclusive));
    assert!(
        never
            .answer
            .starts_with("capacity: none found, even 234/s is not shown to: "),
        "{}",
        never.answer
    );
}

#[test]
fn a_budget_that_fails_at_every_rate_fails() {
    assert_eq!(end(&find(0.0, &runs(0.2, 1.0))), (Word::Fail, Exit::Fail));
    let mut lost = runs(0.001, 1.0);
    lost[1].ledger.losses.push("a->b: 3 shed".to_owned());
    assert_eq!(end(&find(0.0, &lost)), (Word::Loss, Exit::Loss));
    assert_eq!(
        end(&Capacity::default()),
        (Word::Inconclusive, Exit::Inconclusive)
    );
}

#[test]
fn a_case_that_owes_nothing_is_told() {
    let mut finder = Finder::new(&[1.0], 0.05);
    let failure = finder
        .look(1.0, &[RunAnalysis::default()], false)
        .unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.what.contains("no budget"), "{failure}");
}

#[test]
fn the_table_fits_a_narrow_terminal() {
    use crate::view::text::Paint;

    let found = find(3.0, &runs(0.2, 1.0));
    let lines = table(&found).lines(80, Paint(false));
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{lines:#?}"
    );
    let rates = lines.iter().filter(|line| line.contains("k/s"));
    assert_eq!(rates.count(), found.steps.len());
    assert!(
        lines[0].contains("rate") && lines[0].contains("decided by"),
        "{}",
        lines[0]
    );
}
