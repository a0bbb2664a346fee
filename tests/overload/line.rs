//! A line that is fed faster than its stage works, on virtual time: every run of it is the same.

#![allow(
    clippy::disallowed_types,
    reason = "a sink hands what it has seen to the test by a lock; nothing runs beside it"
)]

use std::sync::{Arc, Mutex};

use hopline::base::{NoWhy, Reject};
use hopline::clock::VirtualTime;
use hopline::frame::View;
use hopline::io::{Driver, IoError, Virtual};
use hopline::stage::{
    Arrival, Context, Decode, Decoded, Delivery, Egress, Feed, Ingress, Leaving, Out, Outcome,
    Port, SourceContext, Stage,
};
use hopline::topology::{Builder, Inline, Line, Report, StartError};

/// The latest of its symbol is all that counts.
#[hopline::frame(schema = 901, version = 1, name = "quote", key = "symbol")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quote {
    pub(crate) value: u64,
    pub(crate) symbol: u16,
}

/// Worth something for a while.
#[hopline::frame(schema = 902, version = 1, name = "trade")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trade {
    pub(crate) value: u64,
}

/// A message of several fragments of which none may be missing.
#[hopline::frame(schema = 903, version = 1, name = "depth")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) value: u64,
    pub(crate) nth: u16,
}

#[hopline::frame_set]
#[derive(Debug)]
pub(crate) enum Mixed {
    Quote(Quote),
    Trade(Trade),
    Depth(Depth),
}

/// Fragments of a depth message.
pub(crate) const PARTS: u16 = 3;

/// Symbols of quotes.
pub(crate) const SYMBOLS: u64 = 5;

const OUT: Out<Mixed> = Out::at(0);

/// Makes message number `value` a quote, a trade or a depth, one after the other.
pub(crate) struct Mix;

impl Decode for Mix {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Mixed>("out")];
        PORTS
    }

    fn max_emit(&self) -> usize {
        PARTS.into()
    }

    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let bytes: [u8; 8] = message.try_into().map_err(|_| Reject::BadLine)?;
        let value = u64::from_le_bytes(bytes);
        match value % 3 {
            0 => {
                let symbol = (value / 3 % SYMBOLS) as u16;
                cx.emit(OUT, &Quote { value, symbol });
            }
            1 => {
                cx.emit(OUT, &Trade { value });
            }
            _ => {
                let mut message = cx.message(OUT, 903, PARTS.into());
                for nth in 0..PARTS {
                    message.push(&Depth { value, nth });
                }
                message.send();
            }
        }
        Ok(Decoded::default())
    }
}

/// Sends messages on a schedule: `rates` are spans with the gap between two messages, one after the other.
pub(crate) struct Paced {
    pub(crate) rates: Vec<(u64, u64)>,
    sent: u64,
    due_ns: u64,
    end_ns: u64,
}

impl Paced {
    /// `rates`: for how long, and the gap between two messages, in nanoseconds.
    pub(crate) fn new(rates: &[(u64, u64)]) -> Paced {
        Paced {
            rates: rates.to_vec(),
            sent: 0,
            due_ns: 0,
            end_ns: 0,
        }
    }
}

impl Ingress for Paced {
    fn ports(&self) -> &'static [Port] {
        Mix.ports()
    }

    fn max_emit(&self) -> usize {
        Mix.max_emit()
    }

    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        self.due_ns = t0_ns;
        self.end_ns = t0_ns + self.rates[0].0;
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        for nth in 0..32 {
            while self.due_ns >= self.end_ns {
                self.rates.remove(0);
                let Some((span_ns, _)) = self.rates.first() else {
                    self.rates.push((0, 1));
                    return Feed::Ended;
                };
                self.end_ns += span_ns;
            }
            if cx.stamp() < self.due_ns || !cx.has_room() {
                return Feed::Live;
            }
            if nth == 0 {
                cx.begin_io();
            }
            let arrival = Arrival {
                bytes: &self.sent.to_le_bytes(),
                t_intended_ns: self.due_ns,
                scheduled: true,
                received_wall_ns: None,
                peer: None,
            };
            cx.message(arrival, &mut Mix);
            self.sent += 1;
            self.due_ns += self.rates[0].1;
        }
        Feed::Live
    }

    fn next_due_ns(&self) -> Option<u64> {
        Some(self.due_ns)
    }
}

/// Takes `service_ns` of virtual time for each frame.
pub(crate) struct Slow {
    pub(crate) time: VirtualTime,
    pub(crate) service_ns: u64,
}

impl Stage for Slow {
    type In = Mixed;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Mixed>("out")];

    fn on_frame(&mut self, frame: MixedView<'_>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        self.time.advance_by(self.service_ns);
        match frame {
            MixedView::Quote(view) => cx.emit(OUT, &view.to_owned()),
            MixedView::Trade(view) => cx.emit(OUT, &view.to_owned()),
            MixedView::Depth(view) => cx.emit(OUT, &view.to_owned()),
        };
        Outcome::done()
    }
}

/// What came out of the line, by its numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) quotes: Vec<Quote>,
    pub(crate) trades: Vec<u64>,
    pub(crate) depths: Vec<u64>,
}

/// Keeps what it is given, and asserts that no depth message comes in parts.
#[derive(Clone, Default)]
pub(crate) struct Keep {
    pub(crate) seen: Arc<Mutex<Seen>>,
    part: u16,
    /// Until then, and since when, it takes nothing.
    pub(crate) shut: Option<(VirtualTime, core::ops::Range<u64>)>,
}

impl Egress for Keep {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if let Some((time, span_ns)) = &self.shut
            && span_ns.contains(&time.now_ns())
        {
            return Delivery::NotNow;
        }
        let mut seen = self.seen.lock().expect("nobody panicked with it");
        match frame.envelope.kind {
            901 => {
                let quote = View::<Quote>::read(frame.payload).expect("a quote");
                seen.quotes.push(quote.to_owned());
            }
            902 => {
                let trade = View::<Trade>::read(frame.payload).expect("a trade");
                seen.trades.push(trade.value());
            }
            _ => {
                let depth = View::<Depth>::read(frame.payload).expect("a depth");
                assert_eq!(depth.nth(), self.part, "message {}", depth.value());
                self.part = (self.part + 1) % PARTS;
                if self.part == 0 {
                    seen.depths.push(depth.value());
                }
            }
        }
        Delivery::Sent
    }
}

/// source → work → out, where `connect` joins source and work; and what came out.
pub(crate) fn run(
    rates: &[(u64, u64)],
    service_ns: u64,
    connect: impl FnOnce(&mut Builder),
) -> (Report, Seen) {
    run_shut(rates, service_ns, None, 1024, connect)
}

/// The same with a sink, of a hop that deep, that takes nothing in that span of the virtual time, which begins at a second.
pub(crate) fn run_shut(
    rates: &[(u64, u64)],
    service_ns: u64,
    shut_ns: Option<core::ops::Range<u64>>,
    depth: usize,
    connect: impl FnOnce(&mut Builder),
) -> (Report, Seen) {
    let driver = Driver::Virtual(Virtual::new());
    let (ran, seen) = run_on(driver, rates, service_ns, shut_ns, depth, connect);
    (ran.expect("it runs").0, seen)
}

/// The same on a driver of the caller's, who gets it back; or why it did not start.
pub(crate) fn run_on(
    driver: Driver,
    rates: &[(u64, u64)],
    service_ns: u64,
    shut_ns: Option<core::ops::Range<u64>>,
    depth: usize,
    connect: impl FnOnce(&mut Builder),
) -> (Result<(Report, Driver), StartError>, Seen) {
    let inline = Inline::new(driver);
    let time = inline.clock.1.clone();
    let keep = Keep {
        shut: shut_ns.map(|span_ns| (time.clone(), span_ns)),
        ..Keep::default()
    };
    let mut line = Line::builder("overloaded");
    line.source("in", Paced::new(rates));
    line.stage("work", move || Slow {
        time: time.clone(),
        service_ns,
    });
    line.sink("out", keep.clone());
    line.connect("work", "out", hopline::topology::Hop::depth(depth));
    connect(&mut line);
    let line = line.build().expect("a line");
    let ran = line.run_inline(inline, None);
    let seen = keep.seen.lock().expect("nobody panicked with it").clone();
    (ran, seen)
}
