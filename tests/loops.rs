//! What a loop says of itself: where its time went, its longest turn, the wake-ups it cost; and that
//! a loop which never rests still hears of all its sockets.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use hopline::adapter::{blackhole, datagrams, udp};
use hopline::base::primitive::{AtomicU64, Ordering};
use hopline::base::{Counter, NoWhy};
use hopline::budget::report::RegimeReport;
use hopline::frame::View;
use hopline::io::{Driver, IoError, RECV_FIRST_SOCKETS_MAX, UdpSpec, Virtual};
use hopline::reactor::Schedule;
use hopline::stage::{Context, Feed, Ingress, Outcome, Port, SourceContext, Stage};
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Report, Sharing, Stop, ThreadSpec};
use hopline::wait::{Rung, Strategy};

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

/// First and last time that a source had a turn, on the line's clock.
#[derive(Clone, Default)]
struct Seen(Arc<[AtomicU64; 2]>);

impl Seen {
    fn span_ns(&self) -> u64 {
        let [first, last] = &*self.0;
        last.load(Ordering::Relaxed) - first.load(Ordering::Relaxed)
    }
}

struct Watched(Counting, Seen);

impl Ingress for Watched {
    fn ports(&self) -> &'static [Port] {
        self.0.ports()
    }

    fn max_emit(&self) -> usize {
        self.0.max_emit()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        self.0.open(io)
    }

    fn start(&mut self, t0_ns: u64) {
        self.0.start(t0_ns);
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        let now_ns = cx.stamp();
        let [first, last] = &*self.1.0;
        if first.load(Ordering::Relaxed) == 0 {
            first.store(now_ns, Ordering::Relaxed);
        }
        last.store(now_ns, Ordering::Relaxed);
        self.0.turn(cx)
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.0.next_due_ns()
    }
}

/// Passes numbers on; one of them takes long, and some set a timer.
#[derive(Clone, Default)]
struct Slow {
    at: Option<u64>,
    for_ns: u64,
    timer_every: u64,
}

impl Stage for Slow {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if self.at == Some(number.value()) {
            let until_ns = cx.stamp() + self.for_ns;
            while cx.stamp() < until_ns {}
        }
        if self.timer_every > 0 && number.value().is_multiple_of(self.timer_every) {
            cx.wake_at(cx.now_ns() + 1);
        }
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

fn builder(source: impl Ingress, slow: Slow, depth: usize) -> Builder {
    let mut line = Line::builder("loops");
    line.source("in", source);
    line.stage("slow", move || slow.clone());
    line.sink("out", Collect::default());
    line.connect("in", "slow", Hop::depth(depth));
    line.connect("slow", "out", Hop::depth(depth));
    line
}

fn by(schedule: Schedule) -> Sharing {
    Sharing {
        schedule: Some(schedule),
        ..Sharing::default()
    }
}

/// Each with each.
fn product<A: Copy, B: Copy>(first: &[A], second: &[B]) -> Vec<(A, B)> {
    let pairs = first
        .iter()
        .flat_map(|a| second.iter().map(move |b| (*a, *b)));
    pairs.collect()
}

fn run(line: Builder, threads: usize, wait: Strategy, stop: Stop) -> Report {
    run_by(Schedule::RoundRobin, line, threads, wait, stop)
}

/// Without pins, since tests run beside each other.
fn run_by(
    schedule: Schedule,
    mut line: Builder,
    threads: usize,
    wait: Strategy,
    stop: Stop,
) -> Report {
    line.placement(Placement {
        pin: hopline::host::Pin::Off,
        sharing: by(schedule),
        wait: Some(wait),
        threads_max: Some(threads),
        ..Placement::default()
    });
    let report = line.build().unwrap().run_until(stop).unwrap();
    assert!(report.is_good(), "{:?}", report.ledger);
    report
}

fn inline(mut line: Builder) -> Report {
    let driver = Driver::Virtual(Virtual::new());
    let (report, _) = line
        .build()
        .unwrap()
        .run_inline(Inline::new(driver), None)
        .unwrap();
    report
}

fn sum(regimes: &RegimeReport) -> u64 {
    regimes.work + regimes.io + regimes.held_back + regimes.housekeeping + regimes.idle
}

/// Each tick of a loop belongs to one regime: its own and its nodes' add up to its time.
fn assert_exhaustive(report: &Report, what: &str) {
    for place in &report.placement {
        let of_nodes: u64 = report
            .stages
            .iter()
            .filter(|stage| place.planned.nodes.contains(&stage.name))
            .map(|stage| sum(&stage.regimes_ns))
            .sum();
        let all = of_nodes + sum(&place.regimes_ns);
        assert_eq!(all, place.span_ns, "{what}: {:?}", place.planned.nodes);
        assert!(place.span_ns > 0 && place.span_ns <= report.line.elapsed_ns);
    }
}

#[test]
fn regimes_add_up_to_the_time_of_the_loop_on_virtual_time() {
    let cases = [(0, 2), (0, 64), (700, 2), (1_000_000, 16)];
    for ((gap_ns, depth), schedule) in product(&cases, &Schedule::ALL) {
        let slow = Slow {
            timer_every: 7,
            ..Slow::default()
        };
        let mut line = builder(Counting::new(3_000, gap_ns), slow, depth);
        line.placement(Placement {
            sharing: by(schedule),
            ..Placement::default()
        });
        let report = inline(line);
        assert_exhaustive(&report, &format!("gap {gap_ns}, depth {depth}, {schedule}"));
        // There is but one loop, and nobody waited for it to start: a few stamps' ticks apart.
        let elsewhere_ns = report.line.elapsed_ns - report.placement[0].span_ns;
        assert!(elsewhere_ns < 1_000, "{elsewhere_ns}");
    }
}

#[test]
fn regimes_add_up_to_the_time_of_the_loop_on_threads() {
    let park = Strategy::Park {
        spins: Rung::Turns(2),
        yields: Rung::Turns(2),
        max_park_ns: 300_000,
    };
    let waits = [Strategy::YIELD, Strategy::PARK, park];
    for (wait, schedule) in product(&waits, &Schedule::ALL) {
        for (threads, gap_ns, depth) in [(1, 0, 2), (2, 20_000, 64), (3, 0, 2)] {
            let seen = Seen::default();
            let source = Watched(Counting::new(5_000, gap_ns), seen.clone());
            let report = run_by(
                schedule,
                builder(source, Slow::default(), depth),
                threads,
                wait,
                Stop::after(Duration::from_secs(60)),
            );
            let what = format!("{wait} on {threads}, gap {gap_ns}, depth {depth}, {schedule}");
            assert_exhaustive(&report, &what);
            let loop_of_source = &report.placement[0];
            assert!(loop_of_source.span_ns >= seen.span_ns(), "{what}");
        }
    }
}

#[test]
fn the_longest_turn_is_named_with_its_node_and_when_it_was() {
    const LONG_NS: u64 = 80_000_000;
    let slow = Slow {
        at: Some(2_500),
        for_ns: LONG_NS,
        ..Slow::default()
    };
    let source = Counting::new(5_000, 0);
    let stop = Stop::after(Duration::from_secs(60));
    let report = run(builder(source, slow, 64), 1, Strategy::YIELD, stop);
    let place = &report.placement[0];
    assert!(place.turn_ns_max >= LONG_NS, "{place:?}");
    assert_eq!(place.turn_max_node.as_deref(), Some("slow"));
    let ended_ns = place.turn_max_at_ns;
    assert!((LONG_NS..=report.line.elapsed_ns).contains(&ended_ns));
}

#[test]
fn the_time_before_a_turn_is_no_part_of_it() {
    // On virtual time a handler takes a stamp's tick or two, and the pause before it a millisecond.
    let report = inline(builder(Counting::new(100, 1_000_000), Slow::default(), 16));
    let place = &report.placement[0];
    assert!(place.regimes_ns.idle > 90_000_000, "{place:?}");
    assert!(place.turn_ns_max < 100_000, "{place:?}");
}

fn wakes(report: &Report) -> u64 {
    report.hops.iter().map(|hop| hop.wakes).sum()
}

#[test]
fn an_awake_consumer_costs_no_wake_and_a_sleeping_one_is_woken() {
    let spin_for_ever = Strategy::Park {
        spins: Rung::Turns(u32::MAX),
        yields: Rung::Turns(0),
        max_park_ns: 1_000_000,
    };
    let sleep_at_once = Strategy::Park {
        spins: Rung::Turns(0),
        yields: Rung::Turns(0),
        max_park_ns: 50_000_000,
    };
    // Paced, so that there is time to fall asleep between two.
    let paced = |wait| {
        let line = builder(Counting::new(300, 1_000_000), Slow::default(), 64);
        run(line, 3, wait, Stop::after(Duration::from_secs(60)))
    };
    assert_eq!(wakes(&paced(spin_for_ever)), 0);
    let slept = paced(sleep_at_once);
    let woken = wakes(&slept);
    // Two hops, a wake for each message at the most, and one for the end of each.
    assert!((1..=2 * 301).contains(&woken), "{woken}");
    // Loops that share a thread need no bell.
    let line = builder(Counting::new(300, 1_000_000), Slow::default(), 64);
    let fused = run(line, 1, sleep_at_once, Stop::after(Duration::from_secs(60)));
    assert_eq!(wakes(&fused), 0);
}

#[test]
fn many_sockets_are_heard_by_a_loop_that_never_rests() {
    const SOCKETS: usize = RECV_FIRST_SOCKETS_MAX + 4;
    const EACH: u64 = 20;
    // Ports that were free a moment ago, all of them held until all are known.
    let held: Vec<UdpSocket> = (0..SOCKETS)
        .map(|_| UdpSocket::bind("127.0.0.1:0").unwrap())
        .collect();
    let ports: Vec<_> = held
        .iter()
        .map(|socket| socket.local_addr().unwrap())
        .collect();
    drop(held);
    let mut line = Line::builder("many");
    for (at, port) in ports.iter().enumerate() {
        let name = format!("in-{at}");
        line.source(&name, udp(&port.to_string()).decode(datagrams()));
        line.connect(name.as_str(), "end", Hop::depth(64));
    }
    line.sink("end", blackhole());
    line.placement(Placement {
        pin: hopline::host::Pin::Off,
        wait: Some(Strategy::YIELD),
        threads_max: Some(1),
        ..Placement::default()
    });
    let mut running = line.build().unwrap().start().unwrap();
    let out = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sent = Counter::default();
    let everything = EACH * SOCKETS as u64;
    // One at a time and the loop idle between, so that each has to be noticed by itself.
    while sent.get() < everything {
        let to = ports[(sent.get() * 5) as usize % SOCKETS];
        out.send_to(&[7; 32], to).unwrap();
        sent.add(1);
        let heard = |report: &Report| report.hops.iter().map(|hop| hop.delivered).sum::<u64>();
        let mut patience = 5_000;
        while heard(&running.report()) < sent.get() {
            patience -= 1;
            assert!(
                patience > 0,
                "{} of {}",
                heard(&running.report()),
                sent.get()
            );
            running.wait(Duration::from_millis(1));
        }
    }
    let report = running.end("duration");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
}

#[test]
fn beyond_a_few_sockets_only_a_poll_says_which_are_readable() {
    let mut driver = Driver::real().unwrap();
    let spec = UdpSpec::bound("127.0.0.1:0".parse().unwrap());
    let ids: Vec<_> = (0..=RECV_FIRST_SOCKETS_MAX)
        .map(|_| driver.udp_open(&spec).unwrap())
        .collect();
    let (first, mut buf) = (ids[0], [0; 64]);
    let to = driver.udp_local_addr(first).unwrap();
    let out = UdpSocket::bind("127.0.0.1:0").unwrap();
    assert!(driver.wants_poll());
    // The first look finds it empty; from then on it waits to be told.
    assert_eq!(driver.udp_recv(first, &mut buf), Ok(None));
    out.send_to(b"a", to).unwrap();
    let mut polls = 0;
    while !driver.udp_maybe_readable(first) {
        assert_eq!(driver.udp_recv(first, &mut buf), Ok(None));
        driver.poll(0, Some(1_000_000)).unwrap();
        polls += 1;
        assert!(polls < 5_000);
    }
    assert_eq!(driver.udp_recv(first, &mut buf).unwrap().unwrap().len, 1);
    // With one less they are few enough to be tried.
    driver.udp_close(ids[1]).unwrap();
    assert!(!driver.wants_poll());
}

#[test]
fn six_loops_that_shall_spin_on_few_cores_give_way_and_get_through() {
    let stages = ["a", "b", "c", "d"];
    let mut line = Line::builder("six");
    line.source("in", Counting::new(20_000, 0));
    let mut before = "in";
    for name in stages {
        line.stage(name, Slow::default);
        line.connect(before, name, Hop::depth(64));
        before = name;
    }
    line.sink("out", Collect::default());
    line.connect(before, "out", Hop::depth(64));
    let alone = |name: &str| ThreadSpec {
        name: format!("of-{name}"),
        core: None,
        wait: Some(Strategy::Spin),
        nodes: vec![name.to_owned()],
        ..ThreadSpec::default()
    };
    let all = ["in", "a", "b", "c", "d", "out"];
    line.placement(Placement {
        wait: Some(Strategy::Spin),
        threads: all.map(alone).to_vec(),
        ..Placement::default()
    });
    let stop = Stop::after(Duration::from_secs(60));
    let report = line.build().unwrap().run_until(stop).unwrap();
    assert!(report.is_good(), "{:?}", report.ledger);
    assert_eq!(report.hops[4].delivered, 20_000);
    let cause = report.drain.as_ref().map(|drain| drain.cause);
    assert_eq!(cause, Some("finished"));
    if hopline::host::usable_threads(&hopline::host::Host::read()) < all.len() {
        let waits = report.placement.iter().map(|place| &place.planned.wait);
        assert!(
            waits
                .into_iter()
                .all(|wait| wait == "yield" || wait == "park")
        );
    }
}
