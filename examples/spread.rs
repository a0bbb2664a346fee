//! A line of one's own in a page: two feeds, a stage with a frame of its own, a sink, and what each
//! hop did.
//!
//! `cargo run --release --example spread` runs it for a second on feeds that are made up. With
//! `udp("127.0.0.1:26400")` in the place of `synthetic(…)` it takes them from datagrams, and with
//! `replay("capture.gz")` from a file.

use std::error::Error;

use hopline::adapter::{Binance, blackhole, synthetic};
use hopline::feed::Price;
use hopline::feed::market::{Market, MarketView};
use hopline::stage::{Context, Out, Outcome, Port, Stage};
use hopline::topology::{Hop, Line, Report, Stop, p99};

/// A frame of one's own: what is written into a slot and read there.
#[hopline::frame(schema = 1000, version = 1, name = "hit")]
#[derive(Clone, Copy, Debug)]
struct Hit {
    update_id: u64,
    price: Price,
    spread: Price,
    symbol: u16,
}

hopline::reasons! {
    /// Why a message leads to no hit: every frame is accounted for.
    enum Why {
        /// The spread is too tight.
        Tight = "tight",
        /// No bookTicker, or no spread.
        Other = "other",
    }
}

struct Spread {
    min: Price,
}

const OUT: Out<Hit> = Out::at(0);

impl Stage for Spread {
    type In = Market;
    type Why = Why;
    const PORTS: &'static [Port] = &[Port::new::<Hit>("out")];

    fn on_frame(&mut self, frame: MarketView<'_>, cx: &mut Context<'_>) -> Outcome<Why> {
        let MarketView::Ticker(ticker) = frame else {
            return Outcome::absorbed(Why::Other);
        };
        let Some(spread) = ticker.ask().checked_sub(ticker.bid()) else {
            return Outcome::absorbed(Why::Other);
        };
        if spread < self.min {
            return Outcome::absorbed(Why::Tight);
        }
        let hit = Hit {
            update_id: ticker.update_id(),
            price: ticker.ask(),
            spread,
            symbol: ticker.symbol(),
        };
        cx.emit(OUT, &hit);
        Outcome::done()
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let symbols = ["BTCUSDT", "ETHUSDT"];
    let min = Price::from_ticks(2, Price(10_000_000)).ok_or("two ticks of 0.1")?;

    let mut line = Line::builder("spread");
    for (symbol, seed) in symbols.into_iter().zip(1..) {
        // Decoded in the source's own turn; a symbol's number is its place in the list.
        let decoder = Binance::new(&symbols).or(symbol);
        let feed = synthetic(symbol, 20_000.0).seed(seed).for_ns(1_000_000_000);
        line.source(symbol, feed.decode(decoder));
    }
    line.stage("spread", move || Spread { min });
    line.sink("hits", blackhole());
    let hop = Hop::depth(4096).budget(p99("50us"));
    line.connect(symbols, "spread", hop);
    line.connect("spread", "hits", Hop::depth(1024));

    let report = line.build()?.run_until(Stop::when_done())?;
    show(&report);
    Ok(())
}

fn show(report: &Report) {
    println!(
        "{:<16} {:>9} {:>10} {:>10} {:>10}",
        "hop", "delivered", "p50 ns", "p99 ns", "max ns"
    );
    for hop in &report.hops {
        let at = &hop.sojourn_ns;
        println!(
            "{:<16} {:>9} {:>10} {:>10} {:>10}",
            hop.name, hop.delivered, at.p50, at.p99, at.max
        );
    }
    for stage in report.stages.iter().filter(|stage| stage.role == "stage") {
        println!(
            "{}: {} in, {} out, absorbed {:?}",
            stage.name, stage.consumed, stage.forwarded, stage.absorbed
        );
    }
    println!("ledger closed: {}", report.ledger.closed);
}
