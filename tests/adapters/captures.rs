//! The captured market data, where it is there.

use std::time::Duration;

use hopline::adapter::{Binance, blackhole, replay};
use hopline::feed::{BookTicker, DepthHead, SnapshotHead, Trade};
use hopline::io::Driver;
use hopline::topology::{Hop, Line, Placement, Stop};
use hopline::wait::Strategy;

use crate::common::data::data_dir;
use crate::rig::{Tap, of_kind, run_on};

#[test]
fn the_captures_come_through_flat_out_and_add_up() {
    let Some(data) = data_dir("the_captures_come_through_flat_out_and_add_up") else {
        return;
    };
    let file = |symbol: &str| data.join(format!("market/binance_usdm_{symbol}_20240808.gz"));
    let taps = [Tap::default(), Tap::default()];
    let mut line = Line::builder("captures");
    let symbols = ["BTCUSDT", "ETHUSDT"];
    for (name, tap) in ["btc", "eth"].into_iter().zip(&taps) {
        let capture = replay(file(&format!("{name}usdt"))).speed(None);
        // The snapshot names no symbol.
        let own = format!("{}USDT", name.to_uppercase());
        line.source(name, capture.decode(Binance::new(&symbols).or(&own)));
        let end = format!("{name}-end");
        line.sink(&end, tap.clone());
        line.connect(name, &end, Hop::depth(4096));
    }
    let report = run_on(&mut line, Driver::real().unwrap());
    assert_eq!((report.ledger.shed, report.ledger.discarded), (0, 0));
    let btc = taps[0].seen();
    assert_eq!(of_kind::<BookTicker>(&btc), 66_089);
    assert_eq!(of_kind::<Trade>(&btc), 21_313);
    assert_eq!(of_kind::<DepthHead>(&btc), 6_551);
    assert_eq!(of_kind::<SnapshotHead>(&btc), 1);
    for (name, tap, lines) in [("btc", &taps[0], 93_954), ("eth", &taps[1], 74_655)] {
        let source = &report.ledger.sources[name];
        assert_eq!((source.received, source.ingested), (lines, lines));
        assert!(source.rejected.is_empty(), "{:?}", source.rejected);
        let whole = tap
            .seen()
            .iter()
            .filter(|frame| frame.flags.is_last())
            .count();
        assert_eq!(whole as u64, lines);
        // The collector's clock is behind the exchange's by about 1.27 s.
        let skew = source.skew.as_ref().unwrap();
        assert!(skew.clamped > lines / 2);
        let ahead_ns = skew.ahead_ns_max();
        assert!(
            (1_000_000_000..2_000_000_000).contains(&ahead_ns),
            "{ahead_ns}"
        );
    }
}

#[test]
fn a_capture_at_400x_on_threads_loses_nothing() {
    let Some(data) = data_dir("a_capture_at_400x_on_threads_loses_nothing") else {
        return;
    };
    let mut line = Line::builder("400x");
    let capture = replay(data.join("market/binance_usdm_btcusdt_20240808.gz")).speed(Some(400.0));
    line.source("btc", capture.decode(Binance::new(&["BTCUSDT"])));
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(4096));
    line.placement(Placement {
        wait: Some(Strategy::YIELD),
        ..Placement::default()
    });
    let report = line
        .build()
        .unwrap()
        .run_until(Stop::after(Duration::from_secs(60)))
        .unwrap();
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert_eq!(
        (report.ledger.sources["btc"].ingested, report.ledger.shed),
        (93_954, 0)
    );
}
