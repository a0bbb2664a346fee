//! Runs that say nothing, whatever their frames took.
//!
//! Invariant: none of them passes, and each has its own word.

use super::*;

#[test]
fn a_rate_that_was_not_reached_is_no_verdict_and_a_line_that_holds_back_fails() {
    let late = |run: &mut RunAnalysis| run.generators[0].achieved_per_s = 19_790.0;
    assert_eq!(said(late), unclear("rate"));
    assert_eq!(
        said(|run| run.generators[0].achieved_per_s = 19_810.0).0,
        Word::Pass
    );
    assert_eq!(
        said(|run| run.generators[0].achieved_per_s = f64::NAN),
        unclear("rate")
    );
    let held = |run: &mut RunAnalysis| {
        late(run);
        run.source_held_back = true;
    };
    assert_eq!(said(held).0, Word::Fail);
    let mut one = runs(|_| ());
    held(&mut one[0]);
    assert_eq!(judged(&one).reason, "rate", "once may be the host's doing");
}

#[test]
fn a_clock_that_did_not_keep_time_judges_nothing() {
    let clock = |drift_ppm: f64| {
        said(move |run| {
            run.span_ns = 3_000_000_000;
            run.clock_drift_ppm = drift_ppm;
        })
    };
    assert_eq!(clock(500.0).0, Word::Pass);
    // 1000 ppm of three seconds and a millisecond are 4 ms.
    assert_eq!(clock(1_300.0).0, Word::Pass);
    for drift_ppm in [1_400.0, -1_400.0, 1e6, -5e5, f64::NAN] {
        assert_eq!(clock(drift_ppm), unclear("clock"), "{drift_ppm}");
    }
    // One run is enough, and a FAIL is no better than a pass.
    let mut one = runs(slow);
    assert_eq!(judged(&one).word, Word::Fail);
    (one[2].clock_drift_ppm, one[2].span_ns) = (1e5, 1_000_000_000);
    assert_eq!(judged(&one).reason, "clock");
}

#[test]
fn what_others_sent_to_the_source_is_judged_as_nobodys() {
    let with = |others: u64| {
        move |run: &mut RunAnalysis| {
            run.span_ns = 1_000_000_000;
            run.generators[0].achieved_per_s = 20_000.0;
            run.generators[0].others = others;
        }
    };
    assert_eq!(said(with(200)).0, Word::Pass, "1 % is noise");
    assert_eq!(said(with(201)), unclear("others"));
    let mut one = runs(|_| ());
    with(300_000)(&mut one[2]);
    let verdict = judged(&one);
    assert_eq!(verdict.reason, "others", "once is enough");
    assert!(verdict.next_step.contains("1500"), "{}", verdict.next_step);
}

#[test]
fn messages_that_a_log_had_no_room_for_are_no_pass_and_no_clean_word_elsewhere() {
    let cut = |run: &mut RunAnalysis| span(run).log_lost = 7;
    assert_eq!(said(cut), unclear("log"));
    let mut one = runs(|_| ());
    cut(&mut one[1]);
    let verdict = judged(&one);
    assert_eq!(verdict.reason, "log");
    assert!(
        verdict.next_step.contains("7 messages of a->b") && verdict.next_step.contains("shorter"),
        "{verdict:?}"
    );
    slow(&mut one[0]);
    assert_eq!(judged(&one).reason, "log", "nor a FAIL");
    // Another hop: all of its own frames are there, but how long gaps lasted is not known.
    let elsewhere = |run: &mut RunAnalysis| {
        let mut other = run.spans[0].clone();
        (other.hop, other.log_lost) = ("b->c".into(), 7);
        run.spans.push(other);
    };
    assert_eq!(said(elsewhere).0, Word::Pass);
    for change in [noisy, slow] {
        let both = |run: &mut RunAnalysis| {
            change(run);
            elsewhere(run);
        };
        assert_eq!(said(both), unclear("log"));
    }
    // A span of the line is made of all hops.
    let line = |run: &mut RunAnalysis| {
        elsewhere(run);
        (span(run).hop, span(run).of) = (END_TO_END.into(), END_TO_END.into());
        span(run).log_lost = 7;
    };
    let verdict = judge(&runs(line), &owed(&runs(line)), &Options::default())
        .into_iter()
        .find(|verdict| verdict.hop == END_TO_END)
        .unwrap();
    assert_eq!(verdict.reason, "log");
    assert!(
        verdict.next_step.contains("7 messages of b->c"),
        "{verdict:?}"
    );
}
