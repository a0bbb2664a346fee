//! The line in which something is planted: a source with a schedule, two stages with some work each, a sink.
//!
//! Invariant: one frame in `EVERY` carries what is planted, at its place, and no other does.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use hopline::base::primitive::spin_hint;
use hopline::base::{NoWhy, Prng};
use hopline::budget::Evidence;
use hopline::budget::taint::Interval;
use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{Driver, IoError};
use hopline::stage::{
    Arrival, Context, Decode, Feed, Ingress, Outcome, Port, SourceContext, Stage,
};
use hopline::topology::{Hop, Line, Placement, Report, Stop, ThreadSpec};
use hopline::wait::Strategy;

use crate::numbers::{Collect, NUMBERS, Number, Numbers};
use crate::preempter::{Fist, Preempter};

/// Time between two frames: 20,000 a second.
pub(crate) const APART_NS: u64 = 50_000;

/// One frame in so many carries what is planted.
pub(crate) const EVERY: u64 = 500;

/// The frame that does, of each so many.
pub(crate) const NTH: u64 = EVERY / 2;

/// Work of each stage on each frame.
const WORK_NS: u64 = 600;

/// For how long the core is taken away, in nanoseconds.
const LEAST_NS: u64 = 20_000;
const MOST_NS: u64 = 200_000;

/// Around a frame's due time, where a thread on another core aims at: a wake takes it a few microseconds, and a frame's life is
/// two to three.
const AIM_NS: std::ops::Range<i64> = -12_000..4_000;

/// What a stage does itself for longer than it should.
const SPIN_NS: u64 = 20_000;
const SLEEP: Duration = Duration::from_micros(50);
/// More than the allocator ever keeps: mapped anew, and given back at once.
const MAPPED: usize = 40 << 20;
const TOUCHED: usize = 64 << 10;

/// From where the core is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// The source's turn, before it offers a frame.
    Source,
    /// The source's turn, after it has offered a frame: between the clock and the pop.
    Offered,
    /// The first stage's handler, in the midst of its work.
    Handler,
    /// The same, after it has offered a frame to the second: between hops.
    Emitted,
    /// Another core, at any time.
    Elsewhere,
}

/// What a stage does itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Own {
    Spin,
    Sleep,
    Fault,
    Unmap,
}

/// What is planted in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    Nothing,
    Preempt(From),
    Own(Own),
}

/// How the nodes are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// All on one loop, on the last core.
    Fused,
    /// Source and sink on the first core, the stages on the last.
    Apart,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) report: Report,
    pub(crate) evidence: Evidence,
    /// When the core was taken away.
    pub(crate) hits: Vec<Interval>,
}

/// Frames a run, on those cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) frames: u64,
    pub(crate) first: usize,
    pub(crate) last: usize,
}

/// What hits, from one place.
#[derive(Clone)]
struct Hits {
    from: From,
    fist: Option<Fist>,
    lengths: Prng,
}

impl Hits {
    fn at(&mut self, from: From, number: u64) {
        if from == self.from
            && number % EVERY == NTH
            && let Some(fist) = &self.fist
        {
            fist.hit(LEAST_NS + self.lengths.below(MOST_NS - LEAST_NS));
        }
    }
}

struct Source {
    count: u64,
    sent: u64,
    t0_ns: u64,
    /// Whether it has told the line's clock.
    has_told: bool,
    decoder: Offering,
}

impl Ingress for Source {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        self.t0_ns = t0_ns;
        if let Some(fist) = &self.decoder.hits.fist {
            fist.start(t0_ns);
        }
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        if self.sent == self.count {
            return Feed::Ended;
        }
        if !core::mem::replace(&mut self.has_told, true)
            && let Some(fist) = &self.decoder.hits.fist
        {
            fist.set_clock(cx.clock());
        }
        let due_ns = self.t0_ns + self.sent * APART_NS;
        if cx.stamp() < due_ns || !cx.has_room() {
            return Feed::Live;
        }
        cx.begin_io();
        self.decoder.hits.at(From::Source, self.sent);
        let bytes = self.sent.to_le_bytes();
        let arrival = Arrival {
            bytes: &bytes,
            t_intended_ns: due_ns,
            scheduled: true,
            received_wall_ns: None,
            peer: None,
        };
        cx.message(arrival, &mut self.decoder);
        self.sent += 1;
        Feed::Live
    }

    fn next_due_ns(&self) -> Option<u64> {
        Some(self.t0_ns + self.sent * APART_NS)
    }
}

/// A decoder that hits when it has offered its frame.
struct Offering {
    of: Numbers,
    hits: Hits,
    number: u64,
}

impl Decode for Offering {
    fn ports(&self) -> &'static [Port] {
        self.of.ports()
    }

    fn max_emit(&self) -> usize {
        self.of.max_emit()
    }

    fn decode(
        &mut self,
        message: &[u8],
        cx: &mut Context<'_>,
    ) -> Result<hopline::stage::Decoded, hopline::base::Reject> {
        let decoded = self.of.decode(message, cx);
        self.hits.at(From::Offered, self.number);
        self.number += 1;
        decoded
    }
}

/// A stage with its work, and what it may do beside it.
struct Works {
    hits: Hits,
    own: Option<Own>,
    mapped: Vec<Vec<u8>>,
}

impl Works {
    fn plainly() -> Works {
        Works {
            hits: Hits {
                from: From::Elsewhere,
                fist: None,
                lengths: Prng::new(0),
            },
            own: None,
            mapped: Vec::new(),
        }
    }
}

fn touched() -> Vec<u8> {
    let mut pages = Vec::with_capacity(MAPPED);
    pages.resize(TOUCHED, 1u8);
    pages
}

fn work(cx: &Context<'_>, ns: u64) {
    let until_ns = cx.stamp() + ns;
    while cx.stamp() < until_ns {
        spin_hint();
    }
}

impl Stage for Works {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, number: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let value = number.value();
        work(cx, WORK_NS / 2);
        self.hits.at(From::Handler, value);
        if value % EVERY == NTH {
            match self.own {
                None => {}
                Some(Own::Spin) => work(cx, SPIN_NS),
                Some(Own::Sleep) => {
                    // Nobody ever sends: it gives its processor up for as long.
                    let (_tx, rx) = sync_channel::<()>(1);
                    let _ = rx.recv_timeout(SLEEP);
                }
                Some(Own::Fault) => {
                    std::hint::black_box(touched());
                }
                Some(Own::Unmap) => drop(self.mapped.pop().expect("one for each")),
            }
        }
        work(cx, WORK_NS / 2);
        cx.emit(NUMBERS, &number.to_owned());
        self.hits.at(From::Emitted, value);
        Outcome::done()
    }
}

/// Runs the line once. `preempter` is there if the plant needs it; `seed` is where lengths and times come from.
pub(crate) fn run(
    setting: Setting,
    plant: Plant,
    placed: Placed,
    preempter: Option<Preempter>,
    seed: u64,
) -> Ran {
    let from = match plant {
        Plant::Preempt(from) => from,
        _ => From::Elsewhere,
    };
    let hits = Hits {
        from,
        fist: preempter.as_ref().map(Preempter::fist),
        lengths: Prng::new(seed),
    };
    let elsewhere = match plant {
        Plant::Preempt(From::Elsewhere) => hits.fist.clone(),
        _ => None,
    };
    let aims = elsewhere.map(|fist| {
        let mut random = Prng::new(seed);
        std::thread::spawn(move || aim(setting, &fist, &mut random))
    });
    let source = Source {
        count: setting.frames,
        sent: 0,
        t0_ns: 0,
        has_told: false,
        decoder: Offering {
            of: Numbers { parts: 1 },
            hits: hits.clone(),
            number: 0,
        },
    };
    let own = match plant {
        Plant::Own(own) => Some(own),
        _ => None,
    };
    let mapped = match own {
        Some(Own::Unmap) => setting.frames / EVERY + 1,
        _ => 0,
    };
    let mut line = Line::builder("planted");
    line.source("in", source);
    line.stage("first", move || Works {
        hits: hits.clone(),
        own,
        mapped: (0..mapped).map(|_| touched()).collect(),
    });
    line.stage("second", Works::plainly);
    line.sink("out", Collect::default());
    line.connect("in", "first", Hop::depth(1024));
    line.connect("first", "second", Hop::depth(1024));
    line.connect("second", "out", Hop::depth(1024));
    let thread = |name: &str, core: usize, nodes: &[&str]| ThreadSpec {
        name: name.to_owned(),
        core: Some(core),
        wait: Some(Strategy::Spin),
        nodes: nodes.iter().map(|&name| name.to_owned()).collect(),
        ..ThreadSpec::default()
    };
    line.placement(Placement {
        pin: Pin::Require,
        threads: match placed {
            Placed::Fused => vec![thread(
                "all",
                setting.last,
                &["in", "first", "second", "out"],
            )],
            Placed::Apart => vec![
                thread("ends", setting.first, &["in", "out"]),
                thread("stages", setting.last, &["first", "second"]),
            ],
        },
        ..Placement::default()
    });
    let mut line = line.build().expect("a right line");
    line.note_evidence(setting.frames as usize);
    let mut running = line.start().expect("it starts");
    let cause = running.watch(&Stop::after(Duration::from_secs(60)), |_| {});
    let (report, evidence) = running.end_noted(cause);
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    let hits = preempter.map_or(Vec::new(), Preempter::end);
    if let Some(aims) = aims {
        aims.join().expect("it does not panic");
    }
    Ran {
        report,
        evidence,
        hits,
    }
}

/// Hits from another core, around the due time of one frame in [`EVERY`].
fn aim(setting: Setting, fist: &Fist, random: &mut Prng) {
    // Where it cannot be bound it is elsewhere most of the time.
    let _ = hopline::host::pin(setting.first, Pin::Prefer);
    let mut begun = None;
    while begun.is_none() && !fist.is_over() {
        begun = fist.schedule();
        spin_hint();
    }
    let Some((clock, t0_ns)) = begun else { return };
    let width = AIM_NS.end.abs_diff(AIM_NS.start);
    let numbers = (NTH..setting.frames).step_by(EVERY as usize);
    for number in numbers {
        let ahead = AIM_NS.start + random.below(width) as i64;
        let at_ns = (t0_ns + number * APART_NS).saturating_add_signed(ahead);
        while clock.stamp() < at_ns {
            if fist.is_over() {
                return;
            }
            spin_hint();
        }
        fist.hit(LEAST_NS + random.below(MOST_NS - LEAST_NS));
    }
}
