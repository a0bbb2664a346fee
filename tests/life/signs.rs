//! The signs of life: what is said of a line that is slow, hangs, or is made anew for nothing, and by when.

use std::sync::Arc;
use std::time::Duration;

use hopline::base::NoWhy;
use hopline::base::limits::{GIVE_UP_GRACE_NS, LIVE_NS, STALL_NS};
use hopline::base::primitive::{AtomicBool, AtomicU64, Ordering};
use hopline::clock::{Clock, VirtualTime};
use hopline::frame::View;
use hopline::host::{Host, Pin};
use hopline::io::{Driver, IoError};
use hopline::stage::{Context, Delivery, Egress, Leaving, OnPanic, Outcome, Port, Stage};
use hopline::topology::{Builder, Hop, Line, Placement, Running, Stop};
use hopline::wait::Strategy;

use crate::numbers::{Collect, Counting, NUMBERS, Number};
use crate::{MS, PATIENT, Wrong, closed, good, inline, odd, on_threads, stage};

/// On one thread and on virtual time, which nobody moves but the nodes.
fn on_virtual_time(line: &mut Builder, clock: Clock) -> Running {
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads_max: Some(1),
        ..Placement::default()
    });
    let line = line.build().expect("a right line");
    let host = Host::read();
    let plan = line.plan(&host).expect("a plan");
    line.start_as(plan, host, clock, &Driver::real)
        .expect("it starts")
}

/// Waits until somebody has set it to that number or more.
fn wait_for(number: &AtomicU64, least: u64) {
    while number.load(Ordering::Acquire) < least {
        std::thread::yield_now();
    }
}

/// Takes `step_ns` for each frame, and goes on once it was looked at.
struct Slow {
    time: VirtualTime,
    step_ns: u64,
    begun: Arc<AtomicU64>,
    looks: Arc<AtomicU64>,
}

impl Stage for Slow {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        self.time.advance_by(self.step_ns);
        let begun = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        wait_for(&self.looks, begun);
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

/// All in one turn, so that nothing but its frames shows that the loop lives.
const FRAMES: u64 = 30;

/// A line at work with such a stage, how many frames that has begun with, and how many looks it was given.
fn slow(step_ns: u64) -> (Running, Arc<AtomicU64>, Arc<AtomicU64>) {
    let (clock, time) = Clock::virtual_at(1_000 * MS);
    let (begun, looks) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let mut line = Line::builder("slow");
    line.source("in", Counting::new(FRAMES, 0));
    let tells = (Arc::clone(&begun), Arc::clone(&looks));
    line.stage("slow", move || Slow {
        time: time.clone(),
        step_ns,
        begun: Arc::clone(&tells.0),
        looks: Arc::clone(&tells.1),
    });
    line.sink("out", Collect::default());
    line.connect("in", "slow", Hop::depth(64));
    line.connect("slow", "out", Hop::depth(64));
    (on_virtual_time(&mut line, clock), begun, looks)
}

#[test]
fn a_long_turn_is_alive_as_long_as_its_frames_are_not_and_a_long_frame_is_not() {
    for (step_ns, lives) in [(LIVE_NS / 2, true), (2 * LIVE_NS, false)] {
        let (mut running, begun, looks) = slow(step_ns);
        for frame in 1..=FRAMES {
            wait_for(&begun, frame);
            let why = running.health().why_not();
            assert_eq!(why.is_empty(), lives, "{frame}: {why:?}");
            assert!(lives || why[0].contains("slow does not return"), "{why:?}");
            looks.store(frame, Ordering::Release);
        }
        good(&running.end("finished"));
    }
}

#[test]
fn a_long_turn_is_no_stall_as_long_as_frames_are_done_with() {
    let (mut running, _, looks) = slow(STALL_NS / 20);
    let stop = Stop::after(Duration::from_secs(3_600));
    let cause = running.watch(&stop, |_| {
        looks.fetch_add(1, Ordering::AcqRel);
    });
    assert_eq!(cause, "finished");
    good(&running.end(cause));
}

#[test]
fn a_run_that_was_ended_because_it_stalled_is_not_good_though_it_went_on() {
    let (mut running, _, looks) = slow(STALL_NS + MS);
    let cause = running.watch(&Stop::when_done(), |_| {});
    assert_eq!(cause, "stalled");
    looks.store(FRAMES, Ordering::Release);
    let report = running.end(cause);
    closed(&report);
    assert!(!report.is_good());
    assert_eq!(report.faults.len(), 1, "{:?}", report.faults);
    assert!(report.faults[0].starts_with("slow: it returned"));
}

#[test]
fn a_stage_that_is_made_anew_for_nothing_is_not_alive_and_one_that_works_between_is() {
    let working: Vec<u64> = (0..200).step_by(2).collect();
    let (mut line, _) = odd(
        Counting::new(u64::MAX, MS),
        Wrong::At(working.leak()),
        PATIENT,
    );
    let mut running = on_threads(&mut line, 1, Strategy::PARK)
        .start()
        .expect("it starts");
    while stage(&running.report(), "odd").restarts < 5 {
        let health = running.health();
        let odd = health.nodes.iter().find(|node| node.name == "odd");
        assert!(odd.is_some_and(|odd| odd.restarts_in_vain <= 1));
        assert!(!running.wait(Duration::from_millis(1)), "it is over");
    }
    running.end("signal");

    let (mut line, _) = odd(Counting::new(u64::MAX, MS), Wrong::From(0), PATIENT);
    let mut running = on_threads(&mut line, 1, Strategy::PARK)
        .start()
        .expect("it starts");
    let is_named = |why: &String| why.starts_with("odd has been made anew ");
    while !running.health().why_not().iter().any(is_named) {
        assert!(!running.wait(Duration::from_millis(1)), "it is over");
    }
    assert!(!running.has_failed());
    running.abort();
    running.end("signal");
}

/// Asks for one timer, and in each timer for the next; panics in the second before it has.
struct Rings(Arc<AtomicU64>);

impl Stage for Rings {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if number.value() == 0 {
            cx.wake_at(cx.now_ns() + MS);
        }
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }

    fn on_timer(&mut self, cx: &mut Context<'_>) {
        let nth = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        assert!(nth != 2, "planted");
        cx.wake_at(cx.now_ns() + MS);
    }
}

#[test]
fn a_timer_that_panicked_comes_again() {
    let timers = Arc::<AtomicU64>::default();
    let tells = Arc::clone(&timers);
    let mut line = Line::builder("rings");
    line.source("in", Counting::new(100, MS));
    line.stage("odd", move || Rings(Arc::clone(&tells)));
    line.sink("out", Collect::default());
    line.connect("in", "odd", Hop::depth(64));
    line.connect("odd", "out", Hop::depth(64));
    line.on_panic("odd", OnPanic::SKIP);
    let report = inline(line);
    good(&report);
    assert_eq!(stage(&report, "odd").panics, 1);
    let timers = timers.load(Ordering::Relaxed);
    assert!((90..=100).contains(&timers), "{timers}");
}

/// Panics with each frame, and before every sixteenth waits until it was looked at twice.
struct Watched {
    nth: u64,
    looks: Arc<AtomicU64>,
}

impl Stage for Watched {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, _number: View<'_, Number>, _cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if self.nth.is_multiple_of(16) {
            let seen = self.looks.load(Ordering::Acquire);
            wait_for(&self.looks, seen + 2);
        }
        self.nth += 1;
        panic!("planted");
    }
}

#[test]
fn a_line_that_is_only_watched_keeps_as_many_panics_as_it_has_room_for() {
    let looks = Arc::<AtomicU64>::default();
    let tells = Arc::clone(&looks);
    let mut line = Line::builder("watched");
    line.source("in", Counting::new(150, 0));
    line.stage("odd", move || Watched {
        nth: 0,
        looks: Arc::clone(&tells),
    });
    line.sink("out", Collect::default());
    line.connect("in", "odd", Hop::depth(256));
    line.connect("odd", "out", Hop::depth(64));
    let skip = OnPanic::Skip {
        most: 1_000,
        within_ns: MS,
    };
    line.on_panic("odd", skip);
    let line = on_threads(&mut line, 1, Strategy::PARK);
    let mut running = line.start().expect("it starts");
    let cause = running.watch(&Stop::when_done(), |_| {
        looks.fetch_add(1, Ordering::AcqRel);
    });
    let report = running.end(cause);
    let odd = stage(&report, "odd");
    assert_eq!((odd.quarantined, odd.quarantine_lost), (150, 0));
}

/// Hangs where it is told to, and moves time on meanwhile, so that a deadline passes for nothing else.
#[derive(Clone)]
struct Hang {
    time: VirtualTime,
    hangs: Arc<AtomicBool>,
}

impl Hang {
    fn here(&self) {
        while self.hangs.load(Ordering::Acquire) {
            self.time.advance_by(MS);
            std::thread::yield_now();
        }
    }
}

struct HangsAsItGivesUp(Hang);

impl Egress for HangsAsItGivesUp {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        self.0.time.advance_by(MS);
        Delivery::NotNow
    }

    fn give_up(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        self.0.here();
        Ok(())
    }
}

struct HangsAsItIsDropped(Hang);

impl Stage for HangsAsItIsDropped {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

impl Drop for HangsAsItIsDropped {
    fn drop(&mut self) {
        self.0.here();
    }
}

#[test]
fn a_node_that_hangs_outside_a_turn_is_named() {
    for in_drop in [false, true] {
        let (clock, time) = Clock::virtual_at(1_000 * MS);
        let hangs = Arc::<AtomicBool>::default();
        let hang = Hang {
            time,
            hangs: Arc::clone(&hangs),
        };
        let mut line = Line::builder("hangs");
        line.source("in", Counting::new(u64::MAX, MS));
        let mut inner = hang.clone();
        if !in_drop {
            inner.hangs = Arc::default();
        }
        line.stage("odd", move || HangsAsItIsDropped(inner.clone()));
        if in_drop {
            line.sink("out", Collect::default());
        } else {
            line.sink("out", HangsAsItGivesUp(hang));
        }
        line.connect("in", "odd", Hop::depth(64));
        line.connect("odd", "out", Hop::depth(64));
        line.drain_within_ns(300 * MS);
        let mut running = on_virtual_time(&mut line, clock);
        // A line that is drained before its first message would end as it should.
        while running.report().hops[1].accepted == 0 {
            assert!(!running.wait(Duration::from_millis(1)), "it is over");
        }
        hangs.store(true, Ordering::Release);
        let drain = running.drain("signal");
        let name = if in_drop { "odd" } else { "out" };
        assert_eq!(
            (drain.complete, drain.stuck.as_slice()),
            (false, &[name.to_owned()][..])
        );
        hangs.store(false, Ordering::Release);
        let report = running.end("signal");
        assert!(!report.is_good());
        assert_eq!(stage(&report, name).state, "stuck");
    }
}

/// Hangs in its fifteenth frame until it is let go.
struct HangsInAFrame(u64, Arc<AtomicBool>);

impl Stage for HangsInAFrame {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        self.0 += 1;
        while self.0 == 15 && !self.1.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        cx.emit(NUMBERS, &number.to_owned());
        Outcome::done()
    }
}

/// Drains a line with a stage that hangs; says by how much it was late in all.
fn late_by_ns(deadline: Duration) -> u64 {
    let let_go = Arc::<AtomicBool>::default();
    let hangs = Arc::clone(&let_go);
    let mut line = Line::builder("hangs");
    line.source("in", Counting::new(20, 0));
    line.stage("odd", move || HangsInAFrame(0, Arc::clone(&hangs)));
    line.sink("out", Collect::default());
    line.connect("in", "odd", Hop::depth(64));
    line.connect("odd", "out", Hop::depth(64));
    let mut running = on_threads(&mut line, 1, Strategy::YIELD)
        .start()
        .expect("it starts");
    while running.report().hops[0].delivered < 14 {
        assert!(!running.wait(Duration::from_millis(1)), "it is over");
    }
    let clock = Clock::os();
    let began_ns = clock.stamp();
    let drain = running.drain_within("signal", deadline);
    let report = running.end("signal");
    let took_ns = clock.stamp() - began_ns;
    let_go.store(true, Ordering::Release);
    assert_eq!(
        (drain.complete, drain.stuck.as_slice()),
        (false, &["odd".to_owned()][..])
    );
    assert_eq!(u128::from(drain.deadline_ns), deadline.as_nanos());
    assert_eq!(stage(&report, "odd").state, "stuck");
    // What it did in the turn from which it did not return it has not said.
    let breaches = report.ledger.breaches.iter();
    let of_the_stage = breaches.filter(|breach| breach.starts_with("odd:"));
    assert_eq!(of_the_stage.collect::<Vec<_>>(), Vec::<&String>::new());
    // What waits for it, and what it has in hand, will not be delivered.
    let hop = &report.hops[0];
    assert_eq!((hop.delivered, hop.in_flight), (14, 0), "{hop:?}");
    let left = hop.accepted - 14;
    assert_eq!(hop.discarded["drain_deadline"], left, "{hop:?}");
    assert_eq!(hop.discarded_by_kind["other"]["drain_deadline"], left);
    assert_eq!(
        (drain.left[0].hop.as_str(), drain.left[0].messages),
        ("in->odd", left)
    );
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    took_ns.saturating_sub(drain.deadline_ns)
}

#[test]
fn a_drain_with_a_loop_that_hangs_is_over_by_its_deadline() {
    // Whatever the host does, one of some tries is not late by a grace that is waited for beyond the deadline.
    let deadline = Duration::from_millis(400);
    assert!((0..5).any(|_| late_by_ns(deadline) < GIVE_UP_GRACE_NS / 2));
}
