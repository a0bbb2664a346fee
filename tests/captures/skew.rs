//! Two clocks: what the exchange's events and the collector's receipts say of each other.

use hopline::adapter::{Binance, blackhole, replay};
use hopline::io::{Driver, VirtualNet};
use hopline::topology::{Hop, Inline, Line, Report};

use crate::common::data::data_dir;

fn replayed(path: &std::path::Path, driver: Driver) -> Report {
    let mut line = Line::builder("skew");
    let feed = replay(path).speed(None);
    line.source("btc", feed.decode(Binance::new(&["BTCUSDT"]).or("BTCUSDT")));
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(1024));
    let (report, _) = line
        .build()
        .unwrap()
        .run_inline(Inline::new(driver), None)
        .unwrap();
    report
}

#[test]
fn a_collector_that_is_behind_the_exchange_is_seen_to_be() {
    let Some(data) = data_dir("a_collector_that_is_behind_the_exchange_is_seen_to_be") else {
        return;
    };
    let file = data.join("market/binance_usdm_btcusdt_20240808.gz");
    let report = replayed(&file, Driver::real().unwrap());
    let skew = report.ledger.sources["btc"].skew.clone().unwrap();
    // About 1.27 s, with a way of some hundred milliseconds that varies.
    assert!(
        (-2_000_000_000..-1_000_000_000).contains(&skew.least_ns),
        "{skew:?}"
    );
    assert!(
        skew.clamped > skew.messages / 2 && skew.latency_ns.unwrap().p50 == 0,
        "{skew:?}"
    );
    assert!(skew.drift_ppb.is_some() && skew.jitter_ns > 0, "{skew:?}");
    // It is the collector's clock that budgets count by: nothing of this is in a latency.
    assert!(report.end_to_end.sojourn_ns.max < 1_000_000_000);
}

/// Events of a sender whose clock is 300 ms behind, gains 80 ppm, and is set forward by a second after 30 s.
#[test]
fn a_drift_and_a_step_of_a_made_up_sender_are_told() {
    let mut text = String::new();
    for at in 0..6_000_u64 {
        let received_ns = 1_700_000_000_000_000_000 + at * 10_000_000;
        let gained_ns = at * 10_000_000 * 80 / 1_000_000;
        let set_ns = if at >= 3_000 { 1_000_000_000 } else { 0 };
        let event_ms = (received_ns - 300_000_000 + gained_ns + set_ns) / 1_000_000;
        text += &format!(
            "{received_ns} {{\"e\":\"trade\",\"E\":{event_ms},\"s\":\"BTCUSDT\",\"t\":{at},\"p\":\"1.0\",\"q\":\"0.5\",\"m\":true}}\n"
        );
    }
    let net = VirtualNet::new();
    net.put_file("made.txt", text.as_bytes());
    let report = replayed("made.txt".as_ref(), net.driver().into());
    let source = &report.ledger.sources["btc"];
    let skew = source.skew.clone().unwrap();
    assert_eq!((skew.messages, skew.steps), (6_000, 1), "{skew:?}");
    // Events are dated to the millisecond.
    assert!((skew.step_ns + 1_000_000_000).abs() < 3_000_000, "{skew:?}");
    assert!(
        (skew.drift_ppb.unwrap() + 80_000).abs() < 20_000,
        "{skew:?}"
    );
    assert!(skew.clamped > 2_900);
    assert_eq!(source.gaps.unwrap().gaps, 5_999);
}
