//! Messages that are followed over whole lines on virtual time: what is told of them, and what it comes to.

use std::collections::BTreeMap;

use hopline::base::limits::{SAMPLE_PACE_NS, SAMPLES_PER_S, SAMPLES_TOLD};
use hopline::base::units::hash_text;
use hopline::base::{NoWhy, OneIn};
use hopline::budget::follow::{FollowCounts, Way};
use hopline::budget::report::HopReport;
use hopline::clock::{Clock, VirtualTime};
use hopline::edge::event::{Body, Kind, Place, Sample, SampleHop, placed};
use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{Driver, Virtual};
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Rate, Report, Samples};
use hopline::wait::Strategy;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

/// When inline lines begin, and how far apart their messages are due.
const T0_NS: u64 = 1_000_000_000;
const EVERY_NS: u64 = 100_000;

hopline::reasons! {
    /// Why a stage takes a number out.
    enum Why {
        /// It is one of those.
        Sieved = "sieved",
    }
}

/// Works for a time on each number, and longer on each so many; passes on all but each so many.
#[derive(Clone)]
struct Works {
    time: VirtualTime,
    takes_ns: u64,
    slow: Option<(u64, u64)>,
    absorbs: Option<u64>,
}

impl Works {
    fn new(time: &VirtualTime, takes_ns: u64) -> Works {
        Works {
            time: time.clone(),
            takes_ns,
            slow: None,
            absorbs: None,
        }
    }

    fn slow(mut self, each: u64, takes_ns: u64) -> Works {
        self.slow = Some((each, takes_ns));
        self
    }
}

impl Stage for Works {
    type In = Number;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<Why> {
        let value = number.value();
        let slow = self.slow.filter(|(each, _)| value.is_multiple_of(*each));
        self.time
            .advance_by(slow.map_or(self.takes_ns, |(_, takes_ns)| takes_ns));
        if self.absorbs.is_some_and(|each| value.is_multiple_of(each)) {
            return Outcome::absorbed(Why::Sieved);
        }
        cx.emit(NUMBERS, &Number { value });
        // Offered while it was still worked on.
        self.time.advance_by(50);
        Outcome::done()
    }
}

/// Runs a line inline with so many of its messages followed.
fn run(rate: Rate, make: impl FnOnce(&VirtualTime) -> Builder) -> (Report, Samples, Vec<String>) {
    let (clock, time) = Clock::virtual_at(T0_NS);
    time.set_tick_ns(0);
    let line = make(&time).build();
    let mut line = line.unwrap_or_else(|problems| panic!("{problems}"));
    let names = line.hop_names().map(str::to_owned).collect();
    let mut samples = line.samples();
    samples.rate(rate, 0);
    let inline = Inline {
        driver: Driver::Virtual(Virtual::new()),
        clock: (clock, time),
        stop_after_ns: None,
    };
    let (report, _) = line.run_inline(inline, None).expect("it runs");
    assert!(report.is_good());
    (report, samples, names)
}

/// `in -> parse -> left and right -> join -> out`: each message leaves twice, and `right` takes long for each tenth.
fn diamond(time: &VirtualTime, count: u64) -> Builder {
    let mut line = Line::builder("diamond");
    line.source("in", Counting::new(count, EVERY_NS));
    let stages = [
        ("parse", Works::new(time, 700)),
        ("left", Works::new(time, 300)),
        ("right", Works::new(time, 900).slow(10, 40_000)),
        ("join", Works::new(time, 200)),
    ];
    for (name, works) in stages {
        line.stage(name, move || works.clone());
    }
    line.sink("out", hopline::adapter::blackhole());
    line.connect("in", "parse", Hop::depth(256));
    line.connect("parse", "left", Hop::depth(256));
    line.connect("parse", "right", Hop::depth(256));
    line.connect("left", "join", Hop::depth(256));
    line.connect("right", "join", Hop::depth(256));
    line.connect("join", "out", Hop::depth(256));
    line
}

/// Passages of a message over it.
const STOPS: usize = 7;

fn hop<'r>(report: &'r Report, name: &str) -> &'r HopReport {
    report.hops.iter().find(|hop| hop.name == name).expect(name)
}

fn sum(way: &Way) -> u64 {
    let parts = way.parts();
    let each = parts.iter();
    each.map(|one| one.held_ns + one.wait_ns + one.service_ns)
        .sum()
}

#[test]
fn every_way_is_whole_and_its_parts_are_what_the_message_took() {
    const COUNT: u64 = 400;
    let (report, mut samples, names) = run(Rate::OneIn(1), |time| diamond(time, COUNT));
    let ways = samples.ways(u64::MAX);
    let expected = FollowCounts {
        seen: COUNT,
        whole: COUNT,
        ..FollowCounts::default()
    };
    assert_eq!((samples.counts(), ways.len() as u64), (expected, COUNT));
    let mut by_hop: BTreeMap<&str, (u64, u64, u64)> = BTreeMap::new();
    for (nth, way) in ways.iter().enumerate() {
        assert_eq!(way.due_ns, T0_NS + nth as u64 * EVERY_NS);
        assert_eq!(
            (way.stops.len(), way.has_left, way.together),
            (STOPS, true, 1)
        );
        assert_eq!(sum(way), way.total_ns, "{way:?}");
        for (at, stop) in way.stops.iter().enumerate() {
            let name = names[stop.hop].as_str();
            // Each comes from the stop whose consumer offers to it.
            let from = stop
                .after
                .map(|before| names[way.stops[before].hop].as_str());
            let leads = from.map(|from| from.split_once("->").unwrap().1);
            let begins = name.split_once("->").unwrap().0;
            assert_eq!(leads.unwrap_or("in"), begins);
            assert_eq!(stop.after.is_none(), at == 0);
            let sums = by_hop.entry(name).or_default();
            *sums = (
                sums.0 + 1,
                sums.1.max(stop.wait_ns),
                sums.2.max(stop.service_ns),
            );
        }
    }
    // The same as the hops' own figures, which are exact to three digits.
    assert_eq!(by_hop.len(), names.len());
    let near = |told: u64, exact: u64| told.abs_diff(exact) <= told / 500;
    for (name, (count, wait_ns, service_ns)) in by_hop {
        let hop = hop(&report, name);
        assert_eq!(hop.delivered, count);
        assert!(
            near(hop.wait_ns.max, wait_ns) && near(hop.service_ns.max, service_ns),
            "{name}"
        );
    }
    let slowest = ways.iter().map(|way| way.total_ns).max().unwrap();
    let told = report.end_to_end.sojourn_ns.max;
    assert!(near(told, slowest), "{told} {slowest}");
}

#[test]
fn the_followed_ones_are_those_that_the_rule_picks_on_every_hop() {
    const COUNT: u64 = 2_000;
    let (_, mut samples, _) = run(Rate::OneIn(16), |time| diamond(time, COUNT));
    let picked: Vec<u64> = (0..COUNT)
        .map(|nth| T0_NS + nth * EVERY_NS)
        .filter(|due_ns| OneIn::new(16).picks(0, *due_ns))
        .collect();
    assert!(picked.len() > 80);
    let ways = samples.ways(u64::MAX);
    assert_eq!(
        ways.iter().map(|way| way.due_ns).collect::<Vec<_>>(),
        picked
    );
    assert!(ways.iter().all(|way| way.stops.len() == STOPS));
    assert_eq!(samples.counts().incomplete, 0);
}

#[test]
fn while_none_is_followed_nothing_is_told() {
    let (report, mut samples, _) = run(Rate::Off, |time| diamond(time, 500));
    assert_eq!(hop(&report, "in->parse").delivered, 500);
    // Nor does a rule that comes too late find anything.
    samples.rate(Rate::OneIn(1), T0_NS);
    assert!(samples.ways(u64::MAX).is_empty());
    assert_eq!(samples.counts(), FollowCounts::default());
}

#[test]
fn what_a_ring_has_no_room_for_is_counted_and_no_way_is_made_up() {
    let count = SAMPLES_TOLD as u64 + 700;
    let (report, mut samples, names) = run(Rate::OneIn(1), |time| diamond(time, count));
    assert_eq!(hop(&report, "left->join").delivered, count, "nobody waits");
    assert!(samples.ways(u64::MAX).is_empty());
    let counts = samples.counts();
    // Over the last hop goes each message twice.
    let lost = 700 * (names.len() - 1) as u64 + SAMPLES_TOLD as u64 + 2 * 700;
    assert_eq!((counts.lost, counts.whole), (lost, 0));
    assert_eq!(counts.incomplete, SAMPLES_TOLD as u64);
}

#[test]
fn a_message_that_a_stage_absorbs_has_a_way_that_ends_there() {
    let (_, mut samples, names) = run(Rate::OneIn(1), |time| {
        let works = Works {
            absorbs: Some(4),
            ..Works::new(time, 100)
        };
        let mut line = Line::builder("absorbs");
        line.source("in", Counting::new(100, EVERY_NS));
        line.stage("some", move || works.clone());
        line.sink("out", Collect::default());
        line.connect("in", "some", Hop::depth(64));
        line.connect("some", "out", Hop::depth(64));
        line
    });
    let ways = samples.ways(u64::MAX);
    assert_eq!((ways.len(), names.len()), (100, 2));
    for (nth, way) in ways.iter().enumerate() {
        let stops = if nth % 4 == 0 { 1 } else { 2 };
        assert_eq!((way.stops.len(), way.has_left), (stops, stops == 2));
        assert_eq!(sum(way), way.total_ns);
    }
}

#[test]
fn a_planted_slow_stage_is_where_the_slowest_ways_spend_their_time() {
    let (_, mut samples, names) = run(Rate::OneIn(1), |time| diamond(time, 1_000));
    let mut ways = samples.ways(u64::MAX);
    ways.sort_by_key(|way| std::cmp::Reverse(way.total_ns));
    for way in &ways[..100] {
        let parts = way.parts();
        let most = parts
            .iter()
            .max_by_key(|part| part.service_ns.max(part.wait_ns));
        let most = most.unwrap();
        assert_eq!(names[way.stops[most.stop].hop], "parse->right");
        assert!(most.service_ns > 39_000);
    }
}

/// What the page's own tests are given: the events of this line, as an edge would publish them.
#[test]
fn the_pages_tests_have_the_samples_of_a_line() {
    let (_, mut samples, names) = run(Rate::OneIn(1), |time| diamond(time, 60));
    let events = samples.ways(u64::MAX).into_iter().map(|way| {
        let hops = way.stops.iter().map(|stop| SampleHop {
            hop: &names[stop.hop],
            after: stop.after.map(|at| at as u64),
            at_ns: stop.at_ns,
            wait_ns: stop.wait_ns,
            service_ns: stop.service_ns,
            gap_ns: stop.gap_ns,
        });
        let hops: Vec<SampleHop<'_>> = hops.collect();
        let sample = Sample {
            id: &hash_text(way.due_ns),
            source: "in",
            left: way.has_left,
            together: way.together as u64,
            total_ns: way.total_ns,
            hops: &hops,
            one_in: 1,
            ..Sample::default()
        };
        let place = Place {
            channel: "samples/line",
            offset: None,
            time_ms: way.due_ns / 1_000_000,
            sum: None,
        };
        placed(Kind::Sample, &sample.value(), &place)
    });
    let events: Vec<String> = events.collect();
    let text = format!("[\n{}\n]\n", events.join(",\n"));
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/samples.json");
    let kept = std::fs::read_to_string(place).unwrap_or_default();
    if text != kept {
        let now = concat!(env!("CARGO_TARGET_TMPDIR"), "/samples.json");
        std::fs::write(now, text).unwrap();
        panic!("{place} has other samples than the line: those of now are in {now}");
    }
}

/// A line on threads whose messages come a microsecond or so apart.
#[test]
fn a_paced_rate_follows_hundreds_a_second_and_all_of_them_whole() {
    for clean in [false, true] {
        let mut line = Line::builder("paced");
        line.source("in", Counting::new(u64::MAX, 20_000));
        line.stage("pass", || Pass);
        line.sink("out", Collect::default());
        line.connect("in", "pass", Hop::depth(1024));
        line.connect("pass", "out", Hop::depth(1024));
        line.placement(Placement {
            pin: Pin::Off,
            wait: Some(Strategy::YIELD),
            threads_max: Some(1),
            ..Placement::default()
        });
        let mut line = line.build().unwrap();
        if clean {
            line.watch_clean();
        }
        line.watch_samples();
        let mut running = line.start().unwrap();
        assert!(running.ways().is_empty());
        running.sample(Rate::Paced);
        let mut whole = 0;
        let clock = Clock::os();
        let until_ns = clock.stamp() + 60_000_000_000;
        // Some thousand a second come at the very first: the rule has changed before so many were seen.
        while whole < SAMPLES_PER_S {
            assert!(clock.stamp() < until_ns, "{:?}", running.samples());
            running.wait(std::time::Duration::from_nanos(SAMPLE_PACE_NS / 5));
            for way in running.ways() {
                assert_eq!((way.stops.len(), way.has_left), (2, true), "{way:?}");
                assert_eq!(sum(&way), way.total_ns);
                whole += 1;
            }
        }
        let samples = running.samples().unwrap();
        assert!(samples.one_in().is_some_and(|n| n < 1_024), "{samples:?}");
        running.sample(Rate::Off);
        assert_eq!(running.samples().unwrap().one_in(), None);
        assert!(running.end("finished").is_good());
    }
}

/// Passes numbers on.
struct Pass;

impl Stage for Pass {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}
