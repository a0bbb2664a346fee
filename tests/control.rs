//! A running line is steered and looked at from outside: pauses, health, complaints.

use std::net::UdpSocket;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use hopline::adapter::{blackhole, datagrams, udp};
use hopline::base::NoWhy;
use hopline::base::limits::{LIVE_NS, REQUESTS_DEPTH};
use hopline::frame::View;
use hopline::host::Pin;
use hopline::overload::WhenFull;
use hopline::stage::{Context, OnPanic, Outcome, Port, Stage, State};
use hopline::topology::{
    Builder, Heard, Hop, Line, Placement, Report, Running, SteerError, ThreadSpec,
};
use hopline::wait::Strategy;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting, NUMBERS, Number};

/// Looks, a millisecond apart, before something counts as not happening.
const PATIENCE_LOOKS: u32 = 20_000;

const LOOK: Duration = Duration::from_millis(1);

/// Looks until `seen` gives something. The line's own end is what is waited for between two looks.
fn await_some<T>(
    running: &mut Running,
    what: &str,
    mut seen: impl FnMut(&mut Running) -> Option<T>,
) -> T {
    for _ in 0..PATIENCE_LOOKS {
        if let Some(value) = seen(running) {
            return value;
        }
        running.wait(LOOK);
    }
    panic!("never seen: {what}; {:?}", running.health());
}

fn await_true(running: &mut Running, what: &str, mut is_so: impl FnMut(&mut Running) -> bool) {
    await_some(running, what, |running| is_so(running).then_some(()));
}

fn state(running: &mut Running, node: &str) -> State {
    let health = running.health();
    let found = health.nodes.iter().find(|one| one.name == node);
    found.expect("a node of that name").state
}

fn received(report: &Report, source: &str) -> u64 {
    report.ledger.sources[source].received
}

/// Starts it on these threads, unpinned, since tests run beside each other.
fn started(line: &mut Builder, threads: &[&[&str]], wait: Strategy) -> Running {
    let thread = |(at, nodes): (usize, &&[&str])| ThreadSpec {
        sharing: hopline::topology::Sharing::default(),
        name: format!("loop-{at}"),
        core: None,
        wait: Some(wait),
        nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        place: None,
    };
    line.placement(Placement {
        pin: Pin::Off,
        threads: threads.iter().enumerate().map(thread).collect(),
        ..Placement::default()
    });
    let line = line.build().expect("a right line");
    line.start().expect("it starts")
}

/// Where a stage waits, and where it goes on; the test comes to both.
struct Waits {
    begun: Barrier,
    word: Barrier,
}

impl Waits {
    fn new() -> Arc<Waits> {
        let [begun, word] = [Barrier::new(2), Barrier::new(2)];
        Arc::new(Waits { begun, word })
    }
}

/// At the number `at` it waits, or panics from then on, as it is told.
#[derive(Clone, Default)]
struct Odd {
    at: u64,
    panics: bool,
    waits: Option<Arc<Waits>>,
}

impl Odd {
    fn waiting(at: u64, waits: &Arc<Waits>) -> Odd {
        Odd {
            at,
            waits: Some(waits.clone()),
            ..Odd::default()
        }
    }
}

impl Stage for Odd {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        assert!(!self.panics || number.value() < self.at, "planted");
        if let Some(waits) = self.waits.as_ref().filter(|_| number.value() == self.at) {
            waits.begun.wait();
            waits.word.wait();
        }
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

fn odd_line(source: Counting, odd: Odd, first: Hop) -> Builder {
    let mut line = Line::builder("odd");
    line.source("in", source);
    line.stage("odd", move || odd.clone());
    line.sink("out", Collect::default());
    line.connect("in", "odd", first);
    line.connect("odd", "out", Hop::depth(64));
    line
}

#[test]
fn a_stage_that_hangs_is_named_by_health_and_by_the_drain() {
    let one: &[&[&str]] = &[&["in", "odd", "out"]];
    let each: &[&[&str]] = &[&["in"], &["odd"], &["out"]];
    for (threads, wait) in [(one, Strategy::YIELD), (each, Strategy::PARK)] {
        let waits = Waits::new();
        let odd = Odd::waiting(100, &waits);
        let mut line = odd_line(Counting::new(u64::MAX, 10_000), odd, Hop::depth(64));
        let mut running = started(&mut line, threads, wait);
        waits.begun.wait();
        // It has the turn from now on, and nobody gives it the word.
        let health = await_some(&mut running, "the hang", |running| {
            let health = running.health();
            let hung = |one: &String| one.contains("odd does not return");
            health.why_not().iter().any(hung).then_some(health)
        });
        assert!(!health.is_live());
        let on = health
            .nodes
            .iter()
            .find(|node| node.name == "odd")
            .expect("it")
            .on;
        let age_ns = health.loops[on].age_ns.expect("it is not over");
        assert!(age_ns > LIVE_NS, "{age_ns} ns");
        assert_eq!(health.loops[on].node.as_deref(), Some("odd"));
        // Who asks a loop that hangs is told so, once there is no room to ask it.
        if threads.len() == 1 {
            for _ in 0..REQUESTS_DEPTH {
                assert_eq!(running.pause("in"), Ok(()));
            }
            let refused = running.pause("in").expect_err("no room").to_string();
            assert!(refused.contains("has not looked"), "{refused}");
        }
        let drain = running.drain("test");
        assert!(!drain.complete && drain.elapsed_ns >= drain.deadline_ns);
        assert_eq!(drain.stuck, ["odd"]);
        waits.word.wait();
        await_true(&mut running, "the end", |running| running.wait(LOOK));
        assert_eq!(running.health().why_not(), Vec::<String>::new());
    }
}

#[test]
fn a_paused_source_leaves_its_messages_where_they_are() {
    const MESSAGES: u64 = 20;
    for wait in [Strategy::YIELD, Strategy::PARK] {
        // A port that was free a moment ago.
        let held = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap();
        drop(held);
        let mut line = Line::builder("paused");
        line.source("udp", udp(&port.to_string()).decode(datagrams()));
        line.source("other", Counting::new(u64::MAX, 1_000_000));
        line.sink("end", blackhole());
        line.sink("out", Collect::default());
        line.connect("udp", "end", Hop::depth(64));
        line.connect("other", "out", Hop::depth(64));
        let mut running = started(&mut line, &[&["udp", "end", "other", "out"]], wait);
        running.pause("udp").unwrap();
        await_true(&mut running, "the pause", |running| {
            state(running, "udp") == State::Paused
        });
        let out = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..MESSAGES {
            out.send_to(&[7; 32], port).unwrap();
        }
        // The loop makes turns all the while.
        let before = received(&running.report(), "other");
        await_true(&mut running, "the other source", |running| {
            received(&running.report(), "other") > before + 50
        });
        assert_eq!(received(&running.report(), "udp"), 0);
        let health = running.health();
        let paused = health.nodes[0].standing.expect("nobody writes it");
        assert_eq!((paused.state, paused.changes), (State::Paused, 2));
        running.resume("udp").unwrap();
        await_true(&mut running, "all messages", |running| {
            received(&running.report(), "udp") == MESSAGES
        });
        assert_eq!(state(&mut running, "udp"), State::Run);
        let report = running.end("test");
        assert!(report.is_good(), "{:?}", report.ledger.breaches);
    }
}

#[test]
fn what_is_due_in_a_pause_is_late_and_nothing_is_lost() {
    const GAP_NS: u64 = 1_000_000;
    const PAUSE_NS: u64 = 30_000_000;
    let odd = Odd::default();
    let mut line = odd_line(Counting::new(u64::MAX, GAP_NS), odd, Hop::depth(1024));
    let mut running = started(&mut line, &[&["in", "odd", "out"]], Strategy::PARK);
    running.pause("in").unwrap();
    // A second time is no second pause.
    running.pause("in").unwrap();
    await_true(&mut running, "the pause", |running| {
        state(running, "in") == State::Paused
    });
    let (since, at) = (running.elapsed(), received(&running.report(), "in"));
    await_true(&mut running, "some time", |running| {
        (running.elapsed() - since).as_nanos() as u64 >= PAUSE_NS
    });
    assert_eq!(received(&running.report(), "in"), at);
    // A pause is no illness: the loop goes on, beat by beat.
    await_true(&mut running, "a line that is well", |running| {
        running.elapsed() > since + 2 * Duration::from_nanos(LIVE_NS) && running.health().is_live()
    });
    running.resume("in").unwrap();
    await_true(&mut running, "what was due meanwhile", |running| {
        received(&running.report(), "in") > at + PAUSE_NS / GAP_NS
    });
    let report = running.end("test");
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert_eq!(report.hops[1].delivered, received(&report, "in"));
    // What was due first in the pause waited for nearly all of it, and its wait counts from then.
    let least_ns = PAUSE_NS - 2 * GAP_NS;
    assert!(report.ledger.sources["in"].late_ns_max >= least_ns);
    assert!(
        report.hops[0].wait_ns.max >= least_ns,
        "{:?}",
        report.hops[0].wait_ns
    );
    assert!(report.end_to_end.sojourn_ns.max >= least_ns);
}

#[test]
fn a_paused_line_drains() {
    let odd = Odd::default();
    let mut line = odd_line(Counting::new(u64::MAX, 100_000), odd, Hop::depth(64));
    let mut running = started(&mut line, &[&["in"], &["odd", "out"]], Strategy::PARK);
    running.pause("in").unwrap();
    await_true(&mut running, "the pause", |running| {
        state(running, "in") == State::Paused
    });
    let drain = running.drain("test");
    assert!(drain.complete, "{drain:?}");
    let ended = running.pause("in").expect_err("it has ended");
    let state = State::Done.name();
    let node = "in".to_owned();
    assert_eq!(ended, SteerError::Ended { node, state });
    let report = running.end("test");
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
}

#[test]
fn who_asks_for_the_wrong_thing_is_told_the_right_one() {
    let odd = Odd::default();
    let mut line = odd_line(Counting::new(u64::MAX, 1_000_000), odd, Hop::depth(64));
    let running = started(&mut line, &[&["in", "odd", "out"]], Strategy::PARK);
    let no_such = running.pause("inn").expect_err("no such node").to_string();
    assert_eq!(
        no_such,
        "no node is called \"inn\"; the line's sources are \"in\""
    );
    let no_source = running.resume("odd").expect_err("a stage").to_string();
    assert_eq!(
        no_source,
        "\"odd\" is a stage and cannot pause by itself; pause what feeds it: \"in\""
    );
}

#[test]
fn a_stage_that_is_away_comes_back_when_it_is_asked() {
    // The longest that there is: longer than the test looks.
    const LONG_NS: u64 = 60_000_000_000;
    let odd = Odd {
        at: 100,
        panics: true,
        waits: None,
    };
    let mut line = odd_line(Counting::new(u64::MAX, 100_000), odd, Hop::depth(64));
    line.on_panic(
        "odd",
        OnPanic::Restart {
            most: 3,
            within_ns: 4 * LONG_NS,
            after_ns: LONG_NS,
            after_max_ns: LONG_NS,
        },
    );
    let mut running = started(&mut line, &[&["in", "odd", "out"]], Strategy::PARK);
    let restarts = |running: &mut Running| {
        let health = running.health();
        let odd = health.nodes.iter().find(|one| one.name == "odd");
        let standing = odd.and_then(|odd| odd.standing)?;
        (standing.state == State::Restarting).then_some(standing.restarts)
    };
    for at in 0..2 {
        await_true(&mut running, "the panic", |running| {
            restarts(running) == Some(at)
        });
        assert_eq!(running.restart("odd"), Ok(()));
    }
    let refused = [
        (
            "nope",
            "no node is called \"nope\"; the line's stages are \"odd\"",
        ),
        (
            "out",
            "\"out\" is not away after a panic (run): there is nothing to make anew",
        ),
    ];
    for (node, words) in refused {
        let error = running.restart(node).expect_err("it is not away");
        assert_eq!(error.to_string(), words);
    }
    running.drain("over");
}

#[test]
fn shedding_and_a_panic_are_complained_of() {
    let waits = Waits::new();
    let odd = Odd::waiting(0, &waits);
    let drops = Hop::depth(4).when_full(WhenFull::DropNewest);
    let mut line = odd_line(Counting::new(u64::MAX, 100_000), odd, drops);
    let broken = Odd {
        at: 1_000,
        panics: true,
        waits: None,
    };
    line.stage("broken", move || broken.clone());
    line.sink("end", Collect::default());
    line.connect(
        "in",
        "broken",
        Hop::depth(64).when_full(WhenFull::DropNewest),
    );
    line.connect("broken", "end", Hop::depth(64));
    // The source is not on the loop of the stage that waits.
    let mut running = started(
        &mut line,
        &[&["in", "broken", "end"], &["odd", "out"]],
        Strategy::PARK,
    );
    waits.begun.wait();
    let mut heard: Vec<String> = Vec::new();
    await_true(&mut running, "the shedding", |running| {
        heard.extend(running.complaints().iter().map(Heard::to_string));
        heard.iter().any(|words| words == "in->odd sheds")
    });
    waits.word.wait();
    await_true(&mut running, "the panic", |running| {
        heard.extend(running.complaints().iter().map(Heard::to_string));
        heard
            .iter()
            .any(|words| words == "broken has failed: panicked: planted")
    });
    let health = running.health();
    let failed = |one: &String| one == "broken has failed: panicked: planted";
    assert!(
        health.why_not().iter().any(failed),
        "{:?}",
        health.why_not()
    );
    running.drain("fault");
    heard.extend(running.complaints().iter().map(Heard::to_string));
    let ended = heard
        .iter()
        .filter(|words| words.starts_with("in->odd sheds no more: "));
    assert!(ended.count() > 0, "{heard:?}");
}
