//! A producer that hangs for good while messages wait at its end of a hop: they are accounted for, and told.

use std::sync::Arc;
use std::time::Duration;

use hopline::base::NoWhy;
use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{Driver, IoError};
use hopline::overload::WhenFull;
use hopline::stage::{Context, Delivery, Egress, Leaving, Out, Outcome, Port, Stage};
use hopline::topology::{Hop, Line, Placement, Report, Running, ThreadSpec};
use hopline::wait::Strategy;

use crate::hop;
use crate::numbers::{Counting, Number};

const COUNT: u64 = 3_000;
const KEYS: u64 = 50;

#[hopline::frame(schema = 931, version = 1, name = "tagged", key = "tag")]
struct Tagged {
    tag: u64,
    value: u64,
}

/// Tags numbers, and hangs in the last one until it is let go.
struct Hangs(Arc<AtomicBool>);

impl Stage for Hangs {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Tagged>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let value = number.value();
        let tag = value % KEYS;
        cx.emit(Out::<Tagged>::at(0), &Tagged { tag, value });
        while value == COUNT - 1 && !self.0.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        Outcome::done()
    }
}

/// Takes nothing until it is let go.
struct Stuck(Arc<AtomicBool>);

impl Egress for Stuck {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        while !self.0.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        Delivery::Sent
    }
}

fn until(running: &mut Running, said: impl Fn(&Report) -> bool) {
    for _ in 0..60_000 {
        if said(&running.report()) {
            return;
        }
        running.wait(Duration::from_millis(1));
    }
    panic!("{:?}", running.report().hops);
}

#[test]
fn what_waits_at_the_end_of_one_that_hangs_is_shed_and_named() {
    for sink_goes_on in [false, true] {
        let (let_go, sink_goes) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let mut line = Line::builder("hangs");
        line.source("in", Counting::new(COUNT, 0));
        let hangs = let_go.clone();
        line.stage("odd", move || Hangs(hangs.clone()));
        line.sink("out", Stuck(sink_goes.clone()));
        line.connect("in", "odd", Hop::depth(64));
        line.connect("odd", "out", Hop::depth(16).when_full(WhenFull::Conflate));
        let thread = |name: &str| ThreadSpec {
            name: name.to_owned(),
            nodes: vec![name.to_owned()],
            ..ThreadSpec::default()
        };
        line.placement(Placement {
            pin: Pin::Off,
            wait: Some(Strategy::YIELD),
            threads: ["in", "odd", "out"].map(thread).into(),
            ..Placement::default()
        });
        let mut running = line.build().expect("a line").start().expect("it starts");
        until(&mut running, |report| {
            let hop = hop(report, "odd->out");
            hop.offered == COUNT && hop.waiting > 0
        });
        if sink_goes_on {
            sink_goes.store(true, Ordering::Release);
            until(&mut running, |report| {
                hop(report, "odd->out").in_flight == 0
            });
        }
        let waiting = hop(&running.report(), "odd->out").waiting;
        let drain = running.drain_within("signal", Duration::from_millis(400));
        assert!(!drain.complete && drain.stuck.contains(&"odd".to_owned()));
        let left = drain.left.iter().find(|left| left.hop == "odd->out");
        let left = left.expect("what waits is left");
        let report = running.end("signal");
        let_go.store(true, Ordering::Release);
        sink_goes.store(true, Ordering::Release);
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        let of = hop(&report, "odd->out");
        assert!(of.adds_up());
        assert_eq!((of.waiting, of.shed["closed"]), (0, waiting));
        if sink_goes_on {
            assert_eq!((left.messages, left.held_by.as_str()), (waiting, "odd"));
        } else {
            assert_eq!(left.messages, waiting + of.discarded["drain_deadline"]);
        }
        assert!(
            report.ledger.losses.iter().any(|loss| loss.contains("odd")),
            "{:?}",
            report.ledger.losses
        );
    }
}
