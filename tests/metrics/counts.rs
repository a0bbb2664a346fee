//! What a stage counts of its own: to its last frame, whatever becomes of the stage.

use hopline::base::NoWhy;
use hopline::frame::View;
use hopline::io::{Driver, Virtual};
use hopline::stage::{Context, Count, OnPanic, Outcome, Port, Stage};
use hopline::topology::{Hop, Inline, Line, Report};

use crate::grammar::scraped;
use crate::numbers::{Collect, Counting, NUMBERS, Number};
use crate::{ended, page_of, small, started};

/// Counts what it sees, and panics at three of them.
#[derive(Default)]
struct Watchful {
    seen: u64,
    odd: u64,
}

impl Stage for Watchful {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];
    const COUNTS: &'static [Count<Watchful>] = &[
        ("seen", |stage| stage.seen),
        ("odd", |stage| stage.odd),
        ("never", |_| 0),
    ];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let value = number.value();
        self.seen += 1;
        self.odd += value % 2;
        assert!(![10, 11, 60].contains(&value), "planted");
        cx.emit(NUMBERS, &Number { value });
        Outcome::done()
    }
}

/// A hundred numbers, from 0 on.
fn watched(policy: OnPanic) -> Report {
    let mut line = Line::builder("watched");
    line.source("in", Counting::new(100, 1_000_000));
    line.stage("watch", Watchful::default);
    line.sink("out", Collect::default());
    line.connect("in", "watch", Hop::depth(64));
    line.connect("watch", "out", Hop::depth(64));
    line.on_panic("watch", policy);
    let inline = Inline::new(Driver::Virtual(Virtual::new()));
    line.build().unwrap().run_inline(inline, None).unwrap().0
}

#[test]
fn what_a_stage_counts_goes_on_where_it_is_made_anew_and_is_whole_where_it_fails() {
    let restart = OnPanic::Restart {
        most: 10,
        within_ns: 60_000_000_000,
        after_ns: 5_000_000,
        after_max_ns: 5_000_000,
    };
    let (snapshot, _) = ended(started(small(0)));
    for (policy, seen, odd) in [
        (OnPanic::SKIP, 100, 50),
        (restart, 100, 50),
        (OnPanic::Stop, 11, 5),
    ] {
        let report = watched(policy);
        let page = scraped(&page_of(&snapshot.clone().ended(report)));
        assert_eq!(page.faults, Vec::<String>::new());
        for (what, expected) in [("seen", seen), ("odd", odd), ("never", 0)] {
            let of = [("stage", "watch"), ("what", what)];
            let count = page.count("hopline_stage_counted_total", &of);
            assert_eq!(count, expected, "{policy:?} {what}");
        }
    }
}
