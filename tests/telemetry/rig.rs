//! A telemetry line on a virtual network: what goes in, what comes out, what its ledger says.

use std::net::SocketAddr;

use hopline::adapter::{TelemetryDecoder, file_to, udp};
use hopline::clock::Clock;
use hopline::feed::aggregate::Settings;
use hopline::io::{Driver, VirtualNet};
use hopline::stages::{Format, Sums, TextFormat};
use hopline::topology::{Builder, Hop, Inline, Line, Report};
use serde_json::Value;

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// When a run begins, in seconds since 1970: virtual time is its own wall time.
pub(crate) const START_S: u64 = 1_700_000_000;

pub(crate) const AT: &str = "127.0.0.1:8125";

/// What came out of a run.
pub(crate) struct Out {
    pub(crate) report: Report,
    /// The text that left.
    pub(crate) text: String,
}

impl Out {
    /// The lines that left, as JSON.
    pub(crate) fn json(&self) -> Vec<Value> {
        let lines = self.text.lines().map(serde_json::from_str);
        lines.collect::<Result<_, _>>().expect("each line is JSON")
    }

    /// Those of metrics.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let rows = self.json().into_iter();
        rows.filter(|row| !row["name"].is_null()).collect()
    }

    /// The sum of that statistic over the rows of that name.
    pub(crate) fn total(&self, name: &str, statistic: &str) -> f64 {
        let rows = self.rows().into_iter();
        let of_name = rows.filter(|row| row["name"] == name);
        of_name.filter_map(|row| row[statistic].as_f64()).sum()
    }

    /// What the source refused, by reason.
    pub(crate) fn rejected(&self, source: &str) -> Vec<(&str, u64)> {
        let rejected = &self.report.ledger.sources[source].rejected;
        let counted = rejected.iter().filter(|(_, count)| **count > 0);
        counted.map(|(why, count)| (why.as_str(), *count)).collect()
    }
}

/// Windows of a second, one late.
pub(crate) fn seconds() -> Settings {
    Settings {
        window_ns: SECOND_NS,
        ..Settings::default()
    }
}

/// Adds what sums up what "in" brings, and writes it to the file "out".
pub(crate) fn sums_up(line: &mut Builder, settings: Settings, format: TextFormat, hop: Hop) {
    line.stage("sums", move || {
        Sums::new(settings.clone()).expect("settings within their bounds")
    });
    line.stage("text", move || Format::new(format));
    line.sink("out", file_to("out"));
    line.connect("in", "sums", hop);
    line.connect("sums", "text", Hop::depth(128));
    line.connect("text", "out", Hop::depth(128));
}

/// A line that receives datagrams of that format at [`AT`].
pub(crate) fn by_udp(decoder: TelemetryDecoder, settings: Settings, format: TextFormat) -> Builder {
    let mut line = Line::builder("telemetry");
    line.source("in", udp(AT).decode(decoder));
    sums_up(&mut line, settings, format, Hop::depth(1024));
    line
}

/// Runs for so many virtual nanoseconds from [`START_S`] on.
pub(crate) fn run(line: &mut Builder, net: &VirtualNet, for_ns: u64) -> Out {
    run_on(line, net, net.driver().into(), for_ns)
}

pub(crate) fn run_on(line: &mut Builder, net: &VirtualNet, driver: Driver, for_ns: u64) -> Out {
    let line = line.build().unwrap_or_else(|problems| panic!("{problems}"));
    let inline = Inline {
        clock: Clock::virtual_at(START_S * SECOND_NS),
        ..Inline::new(driver)
    };
    let (report, _) = line.run_inline(inline.stop_after_ns(for_ns), None).unwrap();
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    for (name, source) in &report.ledger.sources {
        let refused: u64 = source.rejected.values().sum();
        let lines = source.ingested + source.shed + refused;
        assert_eq!(source.lines().unwrap_or(source.received), lines, "{name}");
    }
    let text = String::from_utf8(net.file("out").unwrap_or_default()).unwrap();
    Out { report, text }
}

/// Puts a datagram on its way, so many nanoseconds after the start.
pub(crate) fn inject(net: &VirtualNet, bytes: &[u8], after_ns: u64) {
    let from: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let at_ns = START_S * SECOND_NS + after_ns;
    assert!(net.inject(from, AT.parse().unwrap(), bytes, at_ns));
}
