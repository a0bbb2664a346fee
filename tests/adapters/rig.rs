//! What the tests of adapters run lines with: a sink that keeps what it saw, a stage that says what
//! left, and the short way to run inline.

#![allow(
    clippy::disallowed_types,
    reason = "a test looks at what a sink saw after the run"
)]

use std::sync::{Arc, Mutex};

use hopline::base::{Flags, NoWhy};
use hopline::clock::Clock;
use hopline::feed::Left;
use hopline::feed::market::{Market, MarketView};
use hopline::frame::Frame;
use hopline::io::{Driver, IoError, VirtualNet};
use hopline::stage::{Context, Delivery, Egress, Leaving, Out, Outcome, Port, Stage};
use hopline::topology::{Builder, Inline, Line, Report};

/// A frame as a sink saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: u16,
    pub(crate) flags: Flags,
    pub(crate) source: u16,
    pub(crate) t_intended_ns: u64,
    pub(crate) t_offer_ns: u64,
}

/// A sink that keeps the words of every frame.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Vec<Seen>>>);

impl Tap {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

impl Egress for Tap {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        let words = frame.envelope;
        self.0.lock().unwrap().push(Seen {
            kind: words.kind,
            flags: words.flags,
            source: words.source,
            t_intended_ns: words.t_intended_ns(),
            t_offer_ns: words.t_offer_ns,
        });
        Delivery::Sent
    }
}

const LOG: Out<Left> = Out::at(0);

/// Says of each message that it left.
pub(crate) struct Leaves;

impl Stage for Leaves {
    type In = Market;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Left>("log")];

    fn on_frame(&mut self, frame: MarketView<'_>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let mut left = Left {
            kind: frame.kind(),
            ..Left::default()
        };
        match frame {
            MarketView::Ticker(ticker) => {
                (left.id, left.symbol) = (ticker.update_id(), ticker.symbol())
            }
            MarketView::Trade(trade) => (left.id, left.symbol) = (trade.trade_id(), trade.symbol()),
            MarketView::Depth(head) => {
                (left.id, left.symbol) = (head.last_id(), head.symbol());
                (left.prev, left.has_prev) = (head.prev_id(), head.has_prev());
            }
            MarketView::Snapshot(head) => (left.id, left.symbol) = (head.last_id(), head.symbol()),
            MarketView::Levels(_) => return Outcome::done(),
        }
        cx.emit(LOG, &left);
        Outcome::done()
    }
}

/// Runs a line inline on that network.
pub(crate) fn run(line: &mut Builder, net: &VirtualNet) -> Report {
    run_on(line, net.driver().into())
}

/// Runs a line inline on that driver.
pub(crate) fn run_on(line: &mut Builder, driver: Driver) -> Report {
    let line = line.build().unwrap_or_else(|problems| panic!("{problems}"));
    run_line(line, Inline::new(driver))
}

/// Runs a line inline; a run that is not done in a virtual minute is stopped.
pub(crate) fn run_line(line: Line, inline: Inline) -> Report {
    let inline = match inline.stop_after_ns {
        Some(_) => inline,
        None => inline.stop_after_ns(60_000_000_000),
    };
    let (report, _) = line.run_inline(inline, None).unwrap();
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    report
}

/// Inline on virtual time that moves only from one due time to the next.
pub(crate) fn exact(net: &VirtualNet) -> Inline {
    let (clock, time) = Clock::virtual_at(1_000_000_000);
    time.set_tick_ns(0);
    Inline {
        clock: (clock, time),
        ..Inline::new(net.driver().into())
    }
}

/// The number of frames of a kind.
pub(crate) fn of_kind<F: Frame>(seen: &[Seen]) -> usize {
    seen.iter().filter(|frame| frame.kind == F::SCHEMA).count()
}

/// A trade of the exchange.
pub(crate) const TRADE: &str =
    r#"{"e":"trade","E":1,"T":1,"s":"BTCUSDT","t":7,"p":"61800.10","q":"0.5","m":true}"#;

/// The same by another id.
pub(crate) fn trade(id: usize) -> String {
    TRADE.replace("\"t\":7", &format!("\"t\":{id}"))
}

/// What the source "btc" refused, by reason.
pub(crate) fn rejected(report: &Report) -> Vec<(&str, u64)> {
    let source = &report.ledger.sources["btc"];
    let by_reason = source.rejected.iter();
    by_reason
        .map(|(why, count)| (why.as_str(), *count))
        .collect()
}
