//! What a turn of a line's loop costs: one that finds nothing, and one with a frame.

use std::hint::black_box;
use std::time::Duration;

use hopline::adapter::blackhole;
use hopline::base::{NoWhy, Reject};
use hopline::clock::Clock;
use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{Driver, IoError};
use hopline::stage::{
    Arrival, Context, Decode, Decoded, Feed, Ingress, Out, Outcome, Port, SourceContext, Stage,
};
use hopline::topology::{Hop, Line, Placement, Report, Stop, ThreadSpec};
use hopline::wait::{Rung, Strategy};

use super::Trouble;
use super::clock::cost;
use super::report::LoopReport;
use super::share::Share;
use crate::measure::Spread;

/// Slots of each hop.
const DEPTH: usize = 64;

/// The names of the nodes, in the order of their turns.
const NODES: [&str; 5] = ["in", "one", "two", "three", "out"];

/// Never rests in fact, and is no wish to keep a core that a plan would have to refuse.
const NEVER_RESTS: Strategy = Strategy::Yield {
    spins: Rung::Turns(u32::MAX),
};

/// What the line carries.
#[hopline::frame(schema = 990, version = 1, name = "tick")]
#[derive(Clone, Copy, Debug)]
struct Tick {
    words: [u64; 4],
}

const TICKS: &[Port] = &[Port::new::<Tick>("out")];
const OUT: Out<Tick> = Out::at(0);

/// Makes a tick of a number.
struct Ticks;

impl Decode for Ticks {
    fn ports(&self) -> &'static [Port] {
        TICKS
    }

    #[inline]
    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let word = message.first_chunk().ok_or(Reject::BadLine)?;
        let words = [u64::from_le_bytes(*word); 4];
        cx.emit(OUT, &Tick { words });
        Ok(Decoded::default())
    }
}

/// One tick a turn, or none ever.
struct Source {
    silent: bool,
    next: u64,
}

impl Ingress for Source {
    fn ports(&self) -> &'static [Port] {
        TICKS
    }

    fn max_emit(&self) -> usize {
        1
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        if self.silent || !cx.has_room() {
            return Feed::Live;
        }
        let bytes = self.next.to_le_bytes();
        self.next += 1;
        let arrival = Arrival {
            bytes: &bytes,
            t_intended_ns: cx.stamp(),
            scheduled: false,
            received_wall_ns: None,
            peer: None,
        };
        cx.message(arrival, &mut Ticks);
        Feed::Live
    }
}

/// Passes ticks on.
struct Pass;

impl Stage for Pass {
    type In = Tick;
    type Why = NoWhy;
    const PORTS: &'static [Port] = TICKS;

    #[inline]
    fn on_frame(&mut self, tick: View<'_, Tick>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        cx.emit(OUT, &tick.to_owned());
        Outcome::done()
    }
}

/// Runs the line on one pinned thread for that long.
fn run(core: usize, silent: bool, span: Duration) -> Result<Report, Trouble> {
    let mut line = Line::builder("turns");
    line.source(NODES[0], Source { silent, next: 0 });
    for name in &NODES[1..4] {
        line.stage(name, || Pass);
    }
    line.sink(NODES[4], blackhole());
    for pair in NODES.windows(2) {
        line.connect(pair[0], pair[1], Hop::depth(DEPTH));
    }
    line.placement(Placement {
        pin: Pin::Prefer,
        threads: vec![ThreadSpec {
            name: "all".to_owned(),
            core: Some(core),
            wait: Some(NEVER_RESTS),
            nodes: NODES.map(str::to_owned).to_vec(),
            ..ThreadSpec::default()
        }],
        ..Placement::default()
    });
    Ok(line.build()?.run_until(Stop::after(span))?)
}

/// `rounds` lines of each kind one after the other, or as many as fit, for `span` each; and how many
/// those were.
pub(super) fn measure(
    clock: &Clock,
    core: usize,
    rounds: usize,
    span: Duration,
    share: &Share<'_>,
) -> Result<(LoopReport, usize), Trouble> {
    let (mut empty, mut frame, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        if !share.has_room(round) {
            break;
        }
        let silent = run(core, true, span)?;
        empty.push(per(&silent, silent.placement[0].turns));
        let busy = run(core, false, span)?;
        let last = busy.hops.len() - 1;
        frame.push(per(&busy, busy.hops[last].delivered));
        bare.push(bare_turn(clock));
    }
    let measured = LoopReport {
        empty_turn_ns: Spread::of(&empty),
        frame_turn_ns: Spread::of(&frame),
        bare_turn_ns: Spread::of(&bare),
    };
    Ok((measured, bare.len()))
}

fn per(report: &Report, times: u64) -> f64 {
    report.placement[0].span_ns as f64 / times.max(1) as f64
}

/// What four hops cannot do without: the frame copied from place to place, and a stamp for each.
fn bare_turn(clock: &Clock) -> f64 {
    let mut places = [[0_u64; 4]; 5];
    let mut next = 0;
    cost(clock, || {
        next += 1;
        places[0] = [next; 4];
        let mut stamps = 0;
        for at in 1..places.len() {
            places[at] = black_box(places[at - 1]);
            stamps += clock.stamp();
        }
        stamps
    })
}
