//! What was planted in passages and segments comes out as exact values.
//!
//! Invariant: no test reads a clock.

use std::sync::OnceLock;

use hopline::budget::report::BudgetReport;
use hopline::budget::{HopEvidence, LongSegment, LoopEvidence, Pace, ShedNote, Witness};

use super::*;
use crate::gate::budget::{self, Options, owed};
use crate::gate::model::Word;
use crate::view::summary::tests::a_run;

/// A report of a line with the two hops below, which owes that much from end to end at P99.
fn report(p99_ns: Option<u64>) -> Report {
    static REPORT: OnceLock<Report> = OnceLock::new();
    let mut report = REPORT.get_or_init(|| a_run().report).clone();
    report.hops.truncate(2);
    for (hop, name) in report.hops.iter_mut().zip(["in->stage", "stage->out"]) {
        (hop.name, hop.budget) = (name.to_owned(), None);
        hop.shed.clear();
    }
    report.end_to_end.budget = p99_ns.map(|limit_ns| BudgetReport {
        of: Of::Sojourn,
        limits_ns: [(Quantile::P99.name(), limit_ns)].into(),
        lossless: false,
    });
    report
}

/// The two passages of a message that was offered so long after it was due, and took so long then.
fn message(due_ns: u64, late_ns: u64, took_ns: u64) -> [Passage; 2] {
    let first = Passage {
        t_offer_ns: due_ns + late_ns,
        origin_ns: late_ns as u32,
        wait_ns: 100,
        service_ns: 100,
        ..Passage::default()
    };
    let second = Passage {
        t_offer_ns: first.t_offer_ns + 150,
        origin_ns: first.origin_ns + 150,
        wait_ns: 60,
        service_ns: (took_ns - 210) as u32,
        source: 0,
        flags: Passage::LEFT,
    };
    [first, second]
}

fn evidence(messages: impl Iterator<Item = [Passage; 2]>) -> Evidence {
    let (first, second) = messages.map(|[first, second]| (first, second)).unzip();
    let hop = |name: &str, passages| HopEvidence {
        name: name.to_owned(),
        passages,
        lost: 0,
    };
    Evidence {
        loops: vec![LoopEvidence {
            nodes: ["in", "stage", "out"].map(str::to_owned).to_vec(),
            idle_p99_9_ns: 50,
            ..LoopEvidence::default()
        }],
        hops: vec![hop("in->stage", first), hop("stage->out", second)],
        began_ns: 0,
    }
}

fn span<'a>(run: &'a RunAnalysis, hop: &str, of: &str) -> &'a SpanAnalysis {
    let mut spans = run.spans.iter();
    spans
        .find(|span| span.hop == hop && span.of == of)
        .unwrap_or_else(|| panic!("no {hop} {of}"))
}

#[test]
fn residence_is_the_span_in_the_line_without_lateness() {
    let messages = (1..=1_000).map(|nth| message(nth * 100_000, nth, 1_000 + nth));
    let run = analyse(&report(None), &evidence(messages), &Given::default());
    let residence = span(&run, LINE, RESIDENCE);
    assert_eq!((residence.n, residence.n_clean), (1_000, 1_000));
    assert_eq!((residence.raw.p50, residence.raw.p99), (1_500, 1_990));
    assert_eq!(span(&run, END_TO_END, END_TO_END).raw.p99, 2_980);
    assert_eq!(span(&run, LINE, IPDV).raw.max, 2);
    assert!(run.notes.is_empty(), "{:?}", run.notes);
    // Whoever compares finds its median, and of the variation nothing.
    let metrics = crate::gate::compare::metrics(&run, 0.05);
    let of_line = metrics.iter().filter(|metric| metric.hop == LINE);
    let of_line: Vec<_> = of_line.map(|one| (&*one.of, &*one.quantile)).collect();
    assert_eq!(of_line, [(RESIDENCE, "p50")]);
}

#[test]
fn a_message_that_cannot_be_followed_is_left_out_and_said() {
    let mut evidence = evidence((1..=10).map(|nth| message(nth * 100_000, 0, 1_000)));
    evidence.hops[0].passages[4].source = 7;
    let run = analyse(&report(None), &evidence, &Given::default());
    assert_eq!(span(&run, LINE, RESIDENCE).n, 9);
    assert_eq!(span(&run, END_TO_END, END_TO_END).n, 10);
    assert!(
        run.notes[0].starts_with("1 of 10 messages"),
        "{:?}",
        run.notes
    );
}

#[test]
fn variation_is_counted_pair_by_pair_and_a_pair_is_as_clean_as_its_worse_half() {
    // From end to end 1000, 1000, 1400, 1000 …: of each four pairs two differ by 400.
    let took = |nth: u64| if nth % 4 == 2 { 1_400 } else { 1_000 };
    let mut evidence =
        evidence((0..400).map(|nth| message(1_000_000 + nth * 100_000, 0, took(nth))));
    // A gap touches the one at 1.3 ms, and so the two pairs that it is in.
    evidence.loops[0].segments.push(LongSegment {
        start_ns: 1_300_100,
        len_ns: 5_000,
        kind: Segment::Idle,
        node: 0,
        witness: None,
    });
    let given = Given {
        ipdv_ns: Some(399),
        ..Given::default()
    };
    let run = analyse(&report(None), &evidence, &given);
    let ipdv = span(&run, LINE, IPDV);
    assert_eq!((ipdv.n, ipdv.n_clean), (399, 397));
    assert_eq!((ipdv.raw.p50, ipdv.raw.p99), (400, 400));
    let limit = &ipdv.limits[0];
    assert_eq!((&*limit.quantile, limit.limit_ns), ("p99", 399));
    assert_eq!((limit.raw.k, limit.clean.k), (200, 199));
    let at_limit = Given {
        ipdv_ns: Some(400),
        ..Given::default()
    };
    let run = analyse(&report(None), &evidence, &at_limit);
    assert_eq!(span(&run, LINE, IPDV).limits[0].raw.k, 0);
}

#[test]
fn variation_is_that_of_each_sink() {
    let mut evidence = evidence((1..=4).map(|nth| message(nth * 100_000, 0, 1_000)));
    let mut other = HopEvidence {
        name: "stage.other->aside".to_owned(),
        ..HopEvidence::default()
    };
    for at in [1, 2] {
        let mut passage = evidence.hops[1].passages[at];
        passage.service_ns += 5_000;
        other.passages.push(passage);
    }
    evidence.hops.push(other);
    let mut report = report(None);
    let third = report.hops[1].clone();
    report.hops.push(third);
    let run = analyse(&report, &evidence, &Given::default());
    let ipdv = span(&run, LINE, IPDV);
    assert_eq!(
        (ipdv.n, ipdv.raw.max),
        (4, 0),
        "3 pairs of one, 1 of the other"
    );
}

/// Frames of which one in fifty takes 9 us: the P99 from end to end. The sender of none was late, the line's loop of all.
fn slow_run(limit_ns: u64) -> RunAnalysis {
    let took = |nth: u64| if nth.is_multiple_of(50) { 8_500 } else { 1_000 };
    let messages = (0..5_000).map(|nth| message(1_000_000 + nth * 100_000, 500, took(nth)));
    analyse(
        &report(Some(limit_ns)),
        &evidence(messages),
        &Given::default(),
    )
}

#[test]
fn a_budget_from_end_to_end_well_below_the_quantile_fails_and_one_above_passes() {
    let word = |limit_ns| {
        let runs = vec![slow_run(limit_ns); 3];
        assert_eq!(span(&runs[0], END_TO_END, END_TO_END).clean.p99, 9_000);
        let verdicts = budget::judge(&runs, &owed(&runs), &Options::default());
        assert_eq!(verdicts.len(), 1);
        (verdicts[0].word, verdicts[0].reason.clone())
    };
    assert_eq!(word(7_200).0, Word::Fail, "{:?}", word(7_200));
    assert_eq!(word(10_800).0, Word::Pass, "{:?}", word(10_800));
    assert_eq!(word(9_000).1, "band");
}

#[test]
fn a_gap_of_the_programs_own_making_is_a_shootdown_and_taints_nothing() {
    let mut evidence = evidence((1..=10).map(|nth| message(nth * 100_000, 0, 1_000)));
    let segment = |start_ns, kind, faults| LongSegment {
        start_ns,
        len_ns: 20_000,
        kind,
        node: 0,
        witness: Some(Witness {
            faults,
            ..Witness::default()
        })
        .filter(|_| kind == Segment::Handler),
    };
    evidence.loops[0].segments = vec![
        segment(290_000, Segment::Idle, 0),
        segment(590_000, Segment::Idle, 0),
    ];
    let other = LoopEvidence {
        segments: vec![segment(280_000, Segment::Handler, 2)],
        ..evidence.loops[0].clone()
    };
    evidence.loops.push(other);
    let mut report = report(None);
    let placed = report.placement[0].clone();
    report.placement = vec![placed.clone(), placed];
    let run = analyse(&report, &evidence, &Given::default());
    let [one, other] = &run.loops[..] else {
        panic!("{:?}", run.loops)
    };
    assert_eq!((one.gaps, other.gaps), (1, 0));
    assert_eq!(one.own_faults, [("shootdown".to_owned(), 1)].into());
    assert_eq!(other.own_faults, [("page_fault".to_owned(), 1)].into());
    let whole = span(&run, END_TO_END, END_TO_END);
    assert_eq!(
        (whole.n, whole.n_clean),
        (10, 9),
        "only the host's gap taints"
    );
}

#[test]
fn what_waits_in_a_socket_unseen_is_said_where_it_matters() {
    let messages = || evidence((1..=10).map(|nth| message(nth * 100_000, 0, 1_000)));
    let given = Given {
        undated: vec!["feed".to_owned()],
        ..Given::default()
    };
    let run = analyse(&report(Some(9_000)), &messages(), &given);
    assert!(
        run.notes[0].contains("\"feed\"") && run.notes[0].contains("timestamps = \"kernel\""),
        "{:?}",
        run.notes
    );
    let run = analyse(&report(None), &messages(), &given);
    assert!(run.notes.is_empty(), "nothing is owed");
}

#[test]
fn messages_that_found_no_room_are_told_of_the_hop_and_of_the_line() {
    let mut evidence = evidence((1..=10).map(|nth| message(nth * 100_000, 0, 1_000)));
    evidence.hops[0].lost = 3;
    let run = analyse(&report(None), &evidence, &Given::default());
    assert_eq!(run.cut_hops().collect::<Vec<_>>(), [("in->stage", 3)]);
    let lost = |hop, of| span(&run, hop, of).log_lost;
    for of in Of::ALL.map(Of::name) {
        assert_eq!((lost("in->stage", of), lost("stage->out", of)), (3, 0));
    }
    let line = [(END_TO_END, END_TO_END), (LINE, RESIDENCE), (LINE, IPDV)];
    assert_eq!(line.map(|(hop, of)| lost(hop, of)), [3; 3]);
    assert!(
        run.notes[0].contains("3 came after them"),
        "{:?}",
        run.notes
    );
}

#[test]
fn looks_at_the_pace_that_found_no_room_are_told_of_their_loop() {
    let mut evidence = evidence((1..=10).map(|nth| message(nth * 100_000, 0, 1_000)));
    (evidence.loops[0].lost, evidence.loops[0].paces_lost) = (2, 3);
    let run = analyse(&report(None), &evidence, &Given::default());
    let one = &run.loops[0];
    assert_eq!((one.log_lost, one.looks_lost, one.cut()), (2, 3, 5));
}

#[test]
fn a_loop_that_parks_aside_keeps_no_other_hop_from_failing() {
    let took = |nth: u64| if nth.is_multiple_of(50) { 8_500 } else { 1_000 };
    let messages = (0..5_000).map(|nth| message(1_000_000 + nth * 100_000, 500, took(nth)));
    let mut evidence = evidence(messages);
    let aside = LoopEvidence {
        nodes: vec!["log".to_owned()],
        idle_p99_9_ns: 50,
        ..LoopEvidence::default()
    };
    evidence.loops.push(aside);
    evidence.hops.push(HopEvidence {
        name: "stage.copy->log".to_owned(),
        ..HopEvidence::default()
    });
    let mut report = report(None);
    let [out, placed] = [report.hops[1].clone(), report.hops[1].clone()];
    report.hops = vec![report.hops[0].clone(), out, placed];
    report.hops[2].name = "stage.copy->log".to_owned();
    report.hops[1].budget = Some(BudgetReport {
        of: Of::Sojourn,
        limits_ns: [(Quantile::P99.name(), 6_000)].into(),
        lossless: false,
    });
    let placed = report.placement[0].clone();
    report.placement = vec![placed.clone(), placed];
    (
        report.placement[0].planned.wait,
        report.placement[1].planned.wait,
    ) = ("spin".into(), "park".into());
    report.placement[1].planned.name = "aside".to_owned();
    let word = |when_full| {
        let mut report = report.clone();
        report.hops[2].when_full = when_full;
        let runs = vec![analyse(&report, &evidence, &Given::default()); 3];
        let verdict = budget::judge(&runs, &owed(&runs), &Options::default()).remove(0);
        (verdict.word, verdict.reason)
    };
    assert_eq!(
        word("drop_newest").0,
        Word::Fail,
        "{:?}",
        word("drop_newest")
    );
    // Where it can hold the line back, nobody knows what it slept through.
    assert_eq!(word("block").1, "parked");
}

/// 5,000 messages at even times, of which some more were shed on that hop, noted from one millisecond to the next.
fn shedding(hop: u32, sheds: &[(u64, u64)]) -> Evidence {
    let messages = (0..5_000).map(|nth| message(1_000_000 + nth * 100_000, 0, 1_000));
    let mut evidence = evidence(messages);
    let notes = sheds.iter().map(|(at_ms, messages)| ShedNote {
        since_ns: at_ms * 1_000_000,
        at_ns: (at_ms + 1) * 1_000_000,
        messages: *messages,
        hop,
    });
    evidence.loops[0].sheds = notes.collect();
    evidence
}

#[test]
fn what_is_shed_while_the_host_does_nothing_makes_a_budget_fail() {
    let budget = BudgetReport {
        of: Of::Sojourn,
        limits_ns: [(Quantile::P99.name(), 9_000)].into(),
        lossless: false,
    };
    let judged = |evidence: &Evidence, hop: usize, parks: bool| {
        let mut report = report(Some(20_000));
        report.placement.truncate(1);
        report.placement[0].planned.wait = if parks { "park" } else { "spin" }.to_owned();
        let shed = evidence.loops[0].sheds.iter().map(|note| note.messages);
        report.hops[hop].shed = [("full".into(), shed.sum())].into();
        report.hops[hop].budget = Some(budget.clone());
        let runs = vec![analyse(&report, evidence, &Given::default()); 3];
        let name = report.hops[hop].name.clone();
        let counts = |hop, of| {
            let span = span(&runs[0], hop, of);
            (span.shed, span.shed_clean)
        };
        let (of_hop, whole) = (counts(&name, "sojourn"), counts(END_TO_END, END_TO_END));
        let verdicts = budget::judge(&runs, &owed(&runs), &Options::default());
        let word = |hop: &str| verdicts.iter().find(|one| one.hop == hop).unwrap().word;
        (of_hop, whole, [word(&name), word(END_TO_END)])
    };
    // A tenth, all along. What is shed at the end of the line never left it.
    let sheds: Vec<(u64, u64)> = (1..=500).map(|at_ms| (at_ms, 1)).collect();
    let all = judged(&shedding(1, &sheds), 1, false);
    assert_eq!(all, ((500, 500), (500, 500), [Word::Fail; 2]));
    // What is shed before might have come to nothing anyway.
    let (of_hop, whole, words) = judged(&shedding(0, &sheds), 0, false);
    assert_eq!((of_hop, whole), ((500, 500), (500, 0)));
    assert_eq!(words, [Word::Fail, Word::Inconclusive]);
    // Gaps in which it was shed, or a loop that sleeps and sees none: it can only keep the budget from passing.
    let mut hit = shedding(1, &sheds);
    hit.loops[0].segments = (1..=500)
        .map(|at_ms| LongSegment {
            start_ns: at_ms * 1_000_000 + 850_000,
            len_ns: 20_000,
            kind: Segment::Idle,
            node: 0,
            witness: None,
        })
        .collect();
    let undecided = ((500, 0), (500, 0), [Word::Inconclusive; 2]);
    assert_eq!(judged(&hit, 1, false), undecided);
    assert_eq!(judged(&shedding(1, &sheds), 1, true), undecided);
    // One slow core is enough as well.
    let mut slow = shedding(1, &sheds);
    let pace = |nth: u64| Pace {
        at_ns: nth * 500_000,
        took_ns: if nth.is_multiple_of(2) { 110 } else { 190 },
    };
    slow.loops[0].paces = (0..1_200).map(pace).collect();
    assert_eq!(judged(&slow, 1, false).0, (500, 0));
}

#[test]
fn what_the_warm_up_shed_is_not_clean() {
    let given = Given {
        warmup_ns: 100_000_000,
        ..Given::default()
    };
    let sheds = [(99, 3), (100, 5), (200, 7)];
    let mut report = report(None);
    report.hops[1].shed = [("full".into(), 15)].into();
    report.placement.truncate(1);
    let run = analyse(&report, &shedding(1, &sheds), &given);
    let span = span(&run, "stage->out", "sojourn");
    assert_eq!((span.shed, span.shed_clean), (15, 12));
}

#[test]
fn what_took_longer_than_can_be_told_is_over_any_limit() {
    let messages = (1..=1_000).map(|nth| {
        let [first, mut second] = message(nth * 100_000, 0, 1_000);
        second.service_ns = u32::MAX;
        [first, second]
    });
    let given = Given {
        jitter_ns: Some(1_000),
        ipdv_ns: Some(1_000),
        ..Given::default()
    };
    let run = analyse(&report(None), &evidence(messages), &given);
    let of_line = [(END_TO_END, END_TO_END, 1_000), (LINE, IPDV, 999)];
    for (hop, of, n) in of_line {
        let limit = &span(&run, hop, of).limits[0];
        assert_eq!((limit.raw.n, limit.raw.k), (n, n), "{of}: all look alike");
    }
}
