//! One process run of a case, measured and analysed: what `bench` and `gate` start several of.
//!
//! A process of its own, since the spread that counts lies between runs: where memory lies, how caches are shared, what
//! the host does meanwhile.
//!
//! Invariant: standard output carries one analysis as JSON or nothing.

use std::net::SocketAddr;
use std::time::Duration;

use hopline::base::limits::PASSAGES_DEFAULT;
use hopline::budget::report::SourceReport;
use hopline::budget::taint::Interval;
use hopline::budget::{Evidence, LongSegment, Passage};
use hopline::config::{Feed, SEED_MAX};
use hopline::host::Host;
use hopline::topology::{Registry, Report};

use super::analyse::{Given, analyse};
use super::apart::Apart;
use super::model::{GeneratorAnalysis, LoopAnalysis, RunAnalysis};
use super::wake::Probe;
use crate::cli::{CleanArg, LogArg, Shape};
use crate::edge::EdgeOptions;
use crate::exit::{Exit, Failure};
use crate::load::{made_in_turn, of_in_turn};
use crate::replayed::Replayed;
use crate::run::{Done, Options};
use crate::sender::{GeneratorGaps, SenderReport};
use crate::{case, out, run, signals};
use hopline::budget::report::ends;

/// A source that is as late as that is in time: no more than 0.2 % of the shortest run that shows anything.
const IN_TIME_NS: u64 = 1_000_000;

/// The last part of a run, one in so many, that may be left out of what a source was due to make.
const NEAR_END: u64 = 10;

/// From which share of its time on a loop is busy all the time: the rest is what it takes to look for work.
const BUSY_MIN: f64 = 0.95;

/// The largest share of gaps with which a loop that has no time has none by its own doing.
const GAPS_MAX: f64 = 0.10;

/// What a run is to be like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Once {
    /// How long it is measured.
    pub(crate) span: Duration,
    /// What is left out before that.
    pub(crate) warmup: Duration,
    /// How long the line may take to drain after that.
    pub(crate) drain: Duration,
    /// The exposure, if another run has settled it.
    pub(crate) exposure_ns: Option<u64>,
    /// What the piece of work that shows a core's pace usually takes here, in nanoseconds, as earlier runs had it.
    pub(crate) usual_work_ns: Option<u64>,
    /// What the generator of the first source draws from; none where nothing is drawn.
    pub(crate) seed: Option<u64>,
    /// Where an edge is served meanwhile.
    pub(crate) edge: Option<SocketAddr>,
}

impl Once {
    /// The same, for the run that is `nth` after this one: with the next seed for each, so that no two draw the same.
    pub(crate) fn nth(self, nth: u64) -> Once {
        let seed = |seed: u64| seed.wrapping_add(nth) % (SEED_MAX + 1);
        Once {
            seed: self.seed.map(seed),
            ..self
        }
    }

    /// The same, with what `run` has shown of the machine's pace: the fastest counts.
    pub(crate) fn after(self, run: &RunAnalysis) -> Once {
        let seen = run.loops.iter().map(|one| one.usual_work_ns);
        let seen = seen.filter(|&ns| ns > 0).chain(self.usual_work_ns).min();
        Once {
            usual_work_ns: seen,
            ..self
        }
    }
}

/// Runs a case once and prints its analysis.
pub(crate) fn print(registry: &Registry, shape: &Shape, once: Once) -> Result<Exit, Failure> {
    signals::end_with_parent()?;
    let (analysis, exit) = measure(registry, shape, once)?;
    let json = serde_json::to_string(&analysis).map_err(|error| Failure {
        exit: Exit::Defect,
        what: format!("the analysis cannot be written as JSON: {error}"),
        help: String::new(),
    })?;
    out::print(&(json + "\n"))?;
    Ok(exit)
}

/// How many times the messages of its sources a hop is expected to carry at the most: a stage may emit several for one.
const FAN_MAX: f64 = 8.0;

/// Fewest messages that a hop has room to note: 3 MiB.
const PASSAGES_MIN: usize = 1 << 17;

/// Most messages that a hop has room to note: 300,000 a second for 5 s, each as [`FAN_MAX`].
const PASSAGES_MAX: usize = 12_000_000;

/// Most memory that the logs of all hops and loops take together for messages, in bytes. It is touched before a run, which takes
/// half a second then, and is to fit beside what else runs on a small machine. For a line of six hops on two loops it is four
/// million messages each.
const LOGS_BYTES_MAX: usize = 1 << 30;

/// What a hop notes of a message, in bytes.
const PASSAGE_BYTES: usize = size_of::<Passage>();

/// What a loop has room to note for each message of a hop, in bytes: a send over UDP is a long segment as a rule.
const SEGMENT_BYTES: usize = size_of::<LongSegment>();

/// Messages that each of so many hops has room to note: memory that is touched before a run makes the run longer.
fn passages(rate_per_s: Option<f64>, span: Duration, hops: usize, loops: usize) -> usize {
    let wanted = rate_per_s.map_or(PASSAGES_DEFAULT, |rate| {
        let expected = rate * span.as_secs_f64() * FAN_MAX;
        (expected as usize).clamp(PASSAGES_MIN, PASSAGES_MAX)
    });
    let each_bytes = PASSAGE_BYTES * hops + SEGMENT_BYTES * loops;
    wanted.min(LOGS_BYTES_MAX / each_bytes.max(1))
}

/// Runs a case once, and how the run ended.
fn measure(registry: &Registry, shape: &Shape, once: Once) -> Result<(RunAnalysis, Exit), Failure> {
    let mut ready = case::load_judged(registry, shape)?;
    // One warm-up: the line's own figures leave out the same.
    ready.warmup_ns = once.warmup.as_nanos() as u64;
    let options = Options {
        case: shape.case.clone(),
        most: Some(once.warmup + once.span),
        json: true,
        taps: Vec::new(),
        records: Vec::new(),
        clean: CleanArg::Never,
        metrics: None,
        edge: once.edge.map(EdgeOptions::crowded),
        linger: Duration::ZERO,
        #[cfg(feature = "otlp")]
        otlp: None,
        log: LogArg::Text,
    };
    let feeds = std::mem::take(&mut ready.made_in_turn).into_iter();
    let replayed = std::mem::take(&mut ready.replayed).into_iter();
    let feeds = feeds.map(InTurn::Made);
    let feeds: Vec<InTurn> = feeds.chain(replayed.map(InTurn::Replayed)).collect();
    let undated = std::mem::take(&mut ready.undated);
    let host = Host::read();
    let plan = ready.line.plan(&host)?;
    let hops = ready.line.hop_names().count();
    let span = once.warmup + once.span;
    let passages = passages(ready.rate_per_s, span, hops, plan.threads.len());
    let mut cores: Vec<usize> = plan.threads.iter().filter_map(|one| one.core).collect();
    cores.extend(run::free_core(&plan, &host).filter(|_| !ready.lanes.is_empty()));
    let mut apart = Apart::of(cores);
    let mut probe = Probe::of(&plan);
    probe.measure();
    apart.before();
    let done = run::measured(ready, &options, Some(passages))?;
    probe.measure();
    let Done { run, evidence, .. } = &done;
    let mut generators: Vec<GeneratorAnalysis> = run
        .senders
        .iter()
        .map(|sent| of_sender(sent, &run.report))
        .collect();
    generators.extend(in_turn(&feeds, &run.report, evidence)?);
    let given = Given {
        seed: once.seed.unwrap_or(0),
        warmup_ns: once.warmup.as_nanos() as u64,
        exposure_ns: once.exposure_ns,
        usual_work_ns: once.usual_work_ns,
        jitter_ns: run.jitter_budget_ns,
        ipdv_ns: run.ipdv_budget_ns,
        undated,
        generator_gaps: run.sender_gaps.as_ref().map(intervals).unwrap_or_default(),
        generators,
    };
    let mut analysis = analyse(&run.report, evidence, &given);
    // A source in a loop that has no time left for it is held back as well as one that finds no room.
    let sources: Vec<&str> = feeds.iter().map(InTurn::source).collect();
    analysis.source_held_back |= has_no_time(&sources, &run.report, &analysis.loops);
    analysis.clock_drift_ppm = done.clock_drift_ppm;
    analysis.clock_cost_ns = done.clock_cost_ns;
    analysis.notes.extend(run.notes.iter().cloned());
    probe.put_into(&mut analysis);
    apart.after(&mut analysis);
    if let Some(gaps) = &run.sender_gaps {
        analysis.loops.push(generator_loop(gaps, analysis.span_ns));
    }
    Ok((analysis, Exit::of(&run.report)))
}

/// What a sender did, with what came to its source from others.
fn of_sender(sent: &SenderReport, report: &Report) -> GeneratorAnalysis {
    let source = report.ledger.sources.get(&sent.source);
    let received = source.map_or(0, |source| source.received);
    GeneratorAnalysis {
        others: received.saturating_sub(sent.sent),
        ..sent.analysis()
    }
}

/// Whether a loop that runs one of these sources, which make their messages in their own turn, is busy all the time, mostly with
/// something else than making them, and not because the host takes it.
fn has_no_time(sources: &[&str], report: &Report, loops: &[LoopAnalysis]) -> bool {
    let making_ns = |node: &String| {
        let stage = report.stages.iter().find(|stage| stage.name == *node);
        let stage = stage.filter(|stage| sources.contains(&stage.name.as_str()));
        stage.map(|stage| stage.regimes_ns.io)
    };
    report.placement.iter().zip(loops).any(|(placed, found)| {
        let made: Vec<u64> = placed.planned.nodes.iter().filter_map(making_ns).collect();
        let busy_ns = placed.span_ns.saturating_sub(placed.regimes_ns.idle);
        !made.is_empty()
            && busy_ns as f64 >= BUSY_MIN * placed.span_ns.max(1) as f64
            && found.gap_share <= GAPS_MAX
            && 2 * made.iter().sum::<u64>() <= busy_ns
    })
}

/// How a source comes by its messages in its own turn.
#[derive(Clone, Debug)]
enum InTurn {
    /// It makes them.
    Made(Feed),
    /// It reads them.
    Replayed(Replayed),
}

impl InTurn {
    fn source(&self) -> &str {
        match self {
            InTurn::Made(feed) => &feed.source,
            InTurn::Replayed(replayed) => &replayed.source,
        }
    }

    /// What was due within `span_ns` of the start, beside the `made` messages; none where there is no schedule.
    fn owed(&self, made: u64, span_ns: u64) -> Result<Option<GeneratorAnalysis>, Failure> {
        let changed = |error: &dyn std::fmt::Display| {
            Failure::io(
                format!("the schedule of \"{}\": {error}", self.source()),
                "a capture that is followed or replayed must stay as it is during a run",
            )
        };
        match self {
            InTurn::Made(feed) => made_in_turn(feed, made, span_ns)
                .map(Some)
                .map_err(|error| changed(&error)),
            InTurn::Replayed(replayed) => {
                let due = replayed.due_before(span_ns);
                let due = due.map_err(|error| changed(&error))?;
                Ok(due.map(|due| of_in_turn(&replayed.source, due, made, span_ns)))
            }
        }
    }
}

/// What sources that make or read their messages in their own turns were due to, and did: until the drain began, or until they
/// were last seen to be in time, if that was near the end. One that is caught by a gap of the host there is no slow source.
fn in_turn(
    feeds: &[InTurn],
    report: &Report,
    evidence: &Evidence,
) -> Result<Vec<GeneratorAnalysis>, Failure> {
    let drained_ns = report.drain.as_ref().map_or(0, |drain| drain.elapsed_ns);
    let end_ns = report.line.elapsed_ns.saturating_sub(drained_ns);
    let owed = |feed: &InTurn| {
        let in_time_ns = in_time_ns(evidence, feed.source());
        let span_ns = in_time_ns
            .filter(|at_ns| *at_ns >= end_ns - end_ns / NEAR_END && *at_ns < end_ns)
            .unwrap_or(end_ns);
        let source = report.ledger.sources.get(feed.source());
        // A datagram of a recording is due as a whole, whatever it holds.
        let made = |source: &SourceReport| match &source.fidelity {
            Some(fidelity) => fidelity.messages,
            None => source.received,
        };
        feed.owed(source.map_or(0, made), span_ns).transpose()
    };
    feeds.iter().filter_map(owed).collect()
}

/// When the last message of a source was due, in nanoseconds from the start, that was taken off its first hop in time.
fn in_time_ns(evidence: &Evidence, source: &str) -> Option<u64> {
    let hops = evidence
        .hops
        .iter()
        .filter(|hop| ends(&hop.name).0 == source);
    let passages = hops.flat_map(|hop| &hop.passages);
    // Of a message that waited for a source which was held back the wait counts from when it was due.
    let in_time = passages
        .filter(|one| u64::from(one.origin_ns) + u64::from(one.wait_ns) <= IN_TIME_NS)
        .map(Passage::due_ns);
    in_time.max()?.checked_sub(evidence.began_ns)
}

/// The gaps of the thread that sent: its loop is this program's own, so all its long stretches are gaps.
fn intervals(gaps: &GeneratorGaps) -> Vec<Interval> {
    let interval = |(start_ns, len_ns): &(u64, u64)| Interval {
        start_ns: *start_ns,
        end_ns: start_ns + len_ns,
    };
    gaps.log.iter().map(interval).collect()
}

/// The same as a loop among the others.
fn generator_loop(gaps: &GeneratorGaps, span_ns: u64) -> LoopAnalysis {
    LoopAnalysis {
        name: "generator".to_owned(),
        core: gaps.core,
        wait: "spin".to_owned(),
        gap_from_ns: gaps.from_ns,
        receive_gap_from_ns: gaps.from_ns,
        gaps: gaps.count,
        gap_share: gaps.total_ns as f64 / span_ns.max(1) as f64,
        gaps_by_kind: [("generator".to_owned(), gaps.count)].into(),
        log_lost: gaps.lost,
        ..LoopAnalysis::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hopline::budget::HopEvidence;
    use hopline::config::Content;
    use hopline::feed::{Arrivals, Shape as LoadShape};

    use crate::view::summary::tests::a_run;

    /// A source that makes a message each 100 us.
    fn made() -> InTurn {
        InTurn::Made(Feed {
            source: "in".to_owned(),
            content: Content::Datagrams { bytes: 64 },
            rate_per_s: 10_000.0,
            shape: LoadShape::Of(Arrivals::Constant),
            seed: 1,
        })
    }

    /// A source that is due a message each 100 us, and takes `each_ns` for one; from `stops_ns` on something stops it. A second
    /// that ends with a drain of a millisecond.
    fn achieved(feed: InTurn, each_ns: u64, stops_ns: u64) -> f64 {
        let (began_ns, end_ns) = (5_000, 1_000_000_000);
        let made = |nth: u64| (nth * 100_000, (nth * 100_000).max(nth * each_ns));
        let made = (0..10_000).map(made);
        let made = made.take_while(|(_, at_ns)| *at_ns < stops_ns.min(end_ns));
        let passages = made.map(|(due_ns, at_ns)| Passage {
            t_offer_ns: began_ns + at_ns,
            origin_ns: (at_ns - due_ns) as u32,
            ..Passage::default()
        });
        let passages: Vec<Passage> = passages.collect();
        let mut report = a_run().report;
        let (_, mut counted) = report.ledger.sources.pop_first().unwrap();
        counted.received = passages.len() as u64;
        report.ledger.sources = [("in".to_owned(), counted)].into();
        report.line.elapsed_ns = end_ns + 1_000_000;
        let mut drain = report.drain.clone().unwrap_or_default();
        drain.elapsed_ns = 1_000_000;
        report.drain = Some(drain);
        let evidence = Evidence {
            hops: vec![HopEvidence {
                name: "in->stage".to_owned(),
                passages,
                lost: 0,
            }],
            began_ns,
            ..Evidence::default()
        };
        let generators = in_turn(&[feed], &report, &evidence).unwrap();
        generators[0].achieved_per_s / generators[0].offered_per_s
    }

    #[test]
    fn logs_have_room_for_a_quick_line_and_take_no_gigabytes_of_a_long_one() {
        let seconds = Duration::from_secs;
        let quick = passages(Some(300_000.0), seconds(5), 6, 2);
        assert!(quick >= 2 * 300_000 * 5, "{quick}");
        assert_eq!(passages(Some(1.0), seconds(1), 6, 2), PASSAGES_MIN);
        assert_eq!(passages(None, seconds(1), 6, 2), PASSAGES_DEFAULT);
        assert_eq!(passages(Some(1e9), seconds(60), 1, 1), PASSAGES_MAX);
        for (hops, loops) in [(6, 2), (60, 9), (1_000, 64)] {
            let each = passages(Some(1e9), seconds(60), hops, loops);
            let bytes = each * (hops * PASSAGE_BYTES + loops * SEGMENT_BYTES);
            assert!(each > 0 && bytes <= LOGS_BYTES_MAX, "{hops} hops: {bytes}");
        }
    }

    #[test]
    fn each_run_draws_from_a_seed_of_its_own_that_a_load_may_have() {
        let once = Once {
            span: Duration::ZERO,
            warmup: Duration::ZERO,
            drain: Duration::ZERO,
            exposure_ns: None,
            usual_work_ns: None,
            seed: Some(SEED_MAX),
            edge: None,
        };
        assert_eq!(
            [once.nth(0).seed, once.nth(2).seed],
            [Some(SEED_MAX), Some(1)]
        );
        let nothing = Once { seed: None, ..once };
        assert_eq!(nothing.nth(3).seed, None);
    }

    #[test]
    fn a_source_that_cannot_make_its_messages_fast_enough_is_seen() {
        assert!(achieved(made(), 50_000, u64::MAX) > 0.999);
        let slow = achieved(made(), 105_000, u64::MAX);
        assert!((slow - 1.0 / 1.05).abs() < 0.001, "{slow}");
    }

    #[test]
    fn a_replay_that_falls_behind_its_capture_is_seen_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("capture");
        // Recorded a hundred times as slowly as it is replayed.
        let lines = (0..10_000u64).map(|nth| format!("{} {{}}\n", 7 + nth * 10_000_000));
        std::fs::write(&file, lines.collect::<String>()).unwrap();
        let replayed = || InTurn::Replayed(Replayed::of("in", &file, Some(100.0)));
        assert!(achieved(replayed(), 50_000, u64::MAX) > 0.999);
        let slow = achieved(replayed(), 105_000, u64::MAX);
        assert!((slow - 1.0 / 1.05).abs() < 0.001, "{slow}");
    }

    #[test]
    fn a_loop_without_time_for_its_source_holds_it_back_unless_the_host_or_the_source_takes_it() {
        let held = |idle, making, gap_share| {
            let mut report = a_run().report;
            report.placement.truncate(1);
            report.placement[0].span_ns = 1_000_000;
            report.placement[0].regimes_ns.idle = idle;
            let stage = report.stages.iter_mut().find(|stage| stage.name == "btc");
            stage.unwrap().regimes_ns.io = making;
            let found = LoopAnalysis {
                gap_share,
                ..LoopAnalysis::default()
            };
            has_no_time(&["btc"], &report, &[found])
        };
        assert!(held(10_000, 100_000, 0.01));
        assert!(!held(200_000, 100_000, 0.01), "it had time");
        assert!(!held(10_000, 600_000, 0.01), "the source took it");
        assert!(!held(10_000, 100_000, 0.4), "the host took it");
        assert!(!has_no_time(
            &["elsewhere"],
            &a_run().report,
            &[LoopAnalysis::default()]
        ));
    }

    #[test]
    fn a_gap_near_the_end_is_no_slow_source_and_a_stop_before_is_one() {
        assert!(achieved(made(), 50_000, 950_000_000) > 0.999);
        let stopped = achieved(made(), 50_000, 800_000_000);
        assert!((stopped - 0.8).abs() < 0.001, "{stopped}");
    }
}
