//! Derived budgets, read back by the project's own parser.
//!
//! Invariant: no case here has a budget that sums up to more than its objective.

use hopline::base::units::parse_span_ns;
use hopline::config::{Case, CaseFiles, Overrides, SourceText};
use hopline::topology::Registry;

use super::*;
use crate::gate::model::Quantiles;

fn span(hop: &str, of: &str, p50: u64, p99: u64) -> SpanAnalysis {
    let clean = Quantiles {
        p50,
        p90: (p50 + p99) / 2,
        p99,
        p99_9: p99 * 2,
        max: p99 * 4,
    };
    SpanAnalysis {
        hop: hop.to_owned(),
        of: of.to_owned(),
        n: 10_000,
        n_clean: 9_000,
        raw: clean,
        clean,
        ..SpanAnalysis::default()
    }
}

/// Three runs of a diamond, with a left side that is slow and steady and a right one that is quick and is not.
fn diamond() -> Vec<RunAnalysis> {
    let run = |percent: u64| RunAnalysis {
        spans: vec![
            span(END_TO_END, END_TO_END, 9_000, 20_000 * percent / 100),
            span("in->left", "sojourn", 4_000, 5_000 * percent / 100),
            span("in->left", "service", 1, 1),
            span("in->right", "sojourn", 500, 3_000 * percent / 100),
            span("left->join", "sojourn", 1_000, 2_000 * percent / 100),
            span("right->join", "sojourn", 1_000, 2_000 * percent / 100),
            span("join->out", "sojourn", 2_000, 6_000 * percent / 100),
        ],
        ..RunAnalysis::default()
    };
    vec![run(98), run(100), run(102)]
}

fn asked(slo: &[(Quantile, u64)]) -> Asked {
    Asked {
        slo: slo.to_vec(),
        jitter_ns: Some(80_000),
        ipdv_ns: Some(70_000),
        lossless: vec!["left->join".to_owned()],
        margin: MARGIN,
    }
}

fn limit(derived: &Derived, hop: &str, quantile: Quantile) -> u64 {
    let all = &derived.hops[hop];
    let one = all.iter().find(|one| one.quantile == quantile);
    one.unwrap().limit_ns
}

const LINE: &str = include_str!("../../../cases/diamond/line.toml");

#[test]
fn every_way_through_the_line_sums_up_to_less_than_the_objective() {
    let derived = derive(&diamond(), &asked(&[(Quantile::P99, 100_000)])).unwrap();
    let at = |hop: &str| limit(&derived, hop, Quantile::P99);
    let shares = derived.shares[0];
    let left = at("in->left") + at("left->join") + at("join->out");
    let right = at("in->right") + at("right->join") + at("join->out");
    assert_eq!((shares.hops_ns, shares.hops), (left.max(right), 3));
    let sum = left.max(right) + shares.between_ns;
    assert!(
        sum <= 90_000 && sum > 85_000,
        "the slack is given out: {sum}"
    );
    for (hop, envelopes) in &derived.hops {
        assert!(envelopes[0].limit_ns > envelopes[0].now_ns, "{hop}");
    }
    // The scattered hop has more headroom than the steady one.
    let headroom = |hop: &str| at(hop) as f64 / derived.hops[hop][0].now_ns as f64;
    assert!(headroom("in->right") > headroom("in->left") + 0.1);
    assert_eq!(derived.tight().count(), 0);
}

#[test]
fn the_text_is_a_budget_that_the_parser_takes() {
    let asked = asked(&[
        (Quantile::P999, 400_000),
        (Quantile::P50, 40_000),
        (Quantile::P99, 100_000),
        (Quantile::Max, 1_000_000),
    ]);
    let derived = derive(&diamond(), &asked).unwrap();
    let text = derived.to_toml();
    let case = Case::parse(
        "mine",
        CaseFiles {
            line: SourceText::new("line.toml", LINE),
            load: None,
            budget: Some(SourceText::new("budget.toml", &text)),
        },
    )
    .unwrap();
    let slo = case.slo();
    assert_eq!((slo.jitter_ns, slo.ipdv_ns), (Some(80_000), Some(70_000)));
    let limits: Vec<u64> = slo
        .budget
        .iter()
        .flat_map(|budget| budget.limits())
        .map(|limit| limit.limit_ns)
        .collect();
    assert_eq!(limits, [40_000, 100_000, 400_000, 1_000_000]);
    // What is wrong in a hop's table or name is told when the draft is made.
    let registry = hopline::stages::register(hopline::adapter::register(Registry::new()));
    let draft = case.draft(&registry, &Overrides::default());
    if let Err(problems) = draft {
        panic!("{problems}\n{text}");
    }
    for (hop, envelopes) in &derived.hops {
        assert!(text.contains(&format!("[hop.\"{hop}\"]")));
        assert!(
            envelopes.is_sorted_by_key(|one| one.limit_ns),
            "limits rise with quantiles"
        );
    }
    assert_eq!(text.matches("lossless = true").count(), 1);
    assert!(text.contains("at least 97.0 % of frames within the sum"));
}

#[test]
fn what_cannot_be_derived_says_why() {
    let p99 = |limit| asked(&[(Quantile::P99, limit)]);
    let error = |runs: &[RunAnalysis], asked: &Asked| derive(runs, asked).unwrap_err();
    let runs = diamond();
    assert_eq!(error(&runs, &asked(&[])), DeriveError::NoObjective);
    assert_eq!(error(&runs[..2], &p99(100_000)), DeriveError::Runs(2));
    assert_eq!(error(&[], &p99(100_000)), DeriveError::Runs(0));
    let margin = Asked {
        margin: f64::NAN,
        ..p99(100_000)
    };
    assert!(matches!(error(&runs, &margin), DeriveError::Margin(_)));
    let tight = error(&runs, &p99(15_000));
    assert!(matches!(tight, DeriveError::TooTight { .. }));
    assert!(tight.to_string().contains("cannot hold"), "{tight}");
    let mut empty = diamond();
    empty[1].spans[3].n_clean = 0;
    assert_eq!(
        error(&empty, &p99(100_000)),
        DeriveError::NoFrames("in->right".to_owned())
    );
    let mut none = diamond();
    none.iter_mut().for_each(|run| run.spans.truncate(1));
    assert_eq!(error(&none, &p99(100_000)), DeriveError::NoHops);
    let mut circle = diamond();
    for run in &mut circle {
        run.spans.push(span("out->in", "sojourn", 1_000, 2_000));
    }
    assert!(matches!(
        error(&circle, &p99(100_000)),
        DeriveError::Circle(_)
    ));
}

#[test]
fn a_budget_near_what_is_now_is_pointed_out() {
    let derived = derive(&diamond(), &asked(&[(Quantile::P99, 25_000)])).unwrap();
    assert!(derived.tight().count() > 0);
    assert!(derived.to_toml().contains("expect INCONCLUSIVE"));
}

#[test]
fn spans_read_back_as_they_were() {
    for ns in [
        1,
        999,
        1_000,
        1_250,
        12_000,
        99_900,
        1_234_567,
        5_000_000,
        68_000_000_000,
    ] {
        assert_eq!(parse_span_ns(&exact(ns)), Ok(ns), "{}", exact(ns));
    }
    assert_eq!(
        [999.9, 1_278.0, 98_765.0, 7.0, 0.0].map(round_down),
        [990, 1_200, 98_000, 7, 0]
    );
}
