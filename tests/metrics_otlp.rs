//! Pushes to a collector: what it gets is what the report says, and one that is slow, refuses or is gone costs the line nothing.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

use hopline::host::Pin;
use hopline::metrics::otlp::{Exporter, Pushes};
use hopline::metrics::{BOUNDS, Snapshot};
use hopline::topology::{Hop, Line, Placement, Report, Stop};
use hopline::wait::Strategy;
use serde_json::Value;

#[path = "common/numbers.rs"]
mod numbers;

use numbers::{Collect, Counting};

const MESSAGES: u64 = 3_000;

/// Runs a line to its end with pushes every millisecond of them.
fn pushed(mut exporter: Exporter) -> (Pushes, Report) {
    let mut line = Line::builder("pushed");
    line.source("feed", Counting::new(MESSAGES, 100_000));
    line.sink("end", Collect::default());
    line.connect("feed", "end", Hop::depth(64));
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads_max: Some(2),
        ..Placement::default()
    });
    let mut running = line.build().unwrap().start().unwrap();
    let cause = running.watch(&Stop::when_done(), |running| exporter.answer(running));
    running.drain_watched(cause, |running| exporter.answer(running));
    running.observe();
    let last = Snapshot::take(&mut running, None);
    let report = running.end(cause);
    let pushes = exporter.last(last.ended(report.clone()));
    (pushes, report)
}

fn exporter(to: &TcpListener) -> Exporter {
    Exporter::open(to.local_addr().unwrap(), 1_000_000).unwrap()
}

/// A request's head and body.
fn request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    Some((head, serde_json::from_slice(&body).unwrap()))
}

/// A collector that answers each push so; it ends with a connection that asks for nothing, and gives what it got.
fn collector(listener: TcpListener, answer: &'static str) -> JoinHandle<Vec<(String, Value)>> {
    std::thread::spawn(move || {
        let mut got = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            match request(&mut stream) {
                None => break,
                Some(request) => got.push(request),
            }
            let _ = stream.write_all(answer.as_bytes());
        }
        got
    })
}

fn metric<'a>(body: &'a Value, name: &str) -> &'a Value {
    let metrics = &body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let mut found = metrics.as_array().unwrap().iter();
    found.find(|metric| metric["name"] == name).expect(name)
}

fn number(value: &Value) -> u64 {
    value.as_str().expect("64 bits are a text").parse().unwrap()
}

#[test]
fn a_collector_gets_what_the_report_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let exporter = exporter(&listener);
    let collector = collector(listener, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
    let (pushes, report) = pushed(exporter);
    drop(TcpStream::connect(at).unwrap());
    let got = collector.join().unwrap();
    assert_eq!((pushes.taken, pushes.failed), (got.len() as u64, 0));
    assert!(got.len() >= 2, "while it ran, and the last one");
    let (head, body) = got.last().unwrap();
    assert!(head.starts_with("POST /v1/metrics HTTP/1.1\r\n"));
    assert!(head.contains("Content-Type: application/json\r\n"));
    let hop = &report.hops[0];
    let delivered = metric(body, "hopline_hop_delivered_messages");
    assert_eq!(delivered["sum"]["isMonotonic"], true);
    assert_eq!(delivered["unit"], "{messages}");
    let point = &delivered["sum"]["dataPoints"][0];
    assert_eq!(number(&point["asInt"]), hop.delivered);
    assert_eq!(point["attributes"][0]["value"]["stringValue"], "feed->end");
    assert!(number(&point["startTimeUnixNano"]) < number(&point["timeUnixNano"]));
    let wait = metric(body, "hopline_hop_wait_seconds");
    let point = &wait["histogram"]["dataPoints"][0];
    let counts = point["bucketCounts"].as_array().unwrap();
    assert_eq!(counts.len(), BOUNDS.len() + 1);
    assert_eq!(
        point["explicitBounds"].as_array().unwrap().len(),
        BOUNDS.len()
    );
    assert_eq!(counts.iter().map(number).sum::<u64>(), hop.wait_ns.count);
    let quantiles = metric(body, "hopline_hop_wait_quantiles_seconds");
    let values = &quantiles["summary"]["dataPoints"][0]["quantileValues"];
    let p99 = values[2]["value"].as_f64().unwrap();
    assert_eq!((p99 * 1e9).round() as u64, hop.wait_ns.p99);
}

#[test]
fn a_collector_that_refuses_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let exporter = exporter(&listener);
    let collector = collector(
        listener,
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
    );
    let (pushes, report) = pushed(exporter);
    drop(TcpStream::connect(at).unwrap());
    assert_eq!(
        (pushes.taken, pushes.failed),
        (0, collector.join().unwrap().len() as u64)
    );
    assert!(report.is_good());
}

#[test]
fn one_that_is_gone_or_never_answers_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = exporter(&listener);
    let deaf = exporter(&listener);
    // It accepts, by its backlog, and says nothing.
    let (pushes, report) = pushed(deaf);
    assert!(report.is_good() && report.hops[0].delivered == MESSAGES);
    assert_eq!(pushes.taken, 0);
    assert!(
        pushes.dropped > 0,
        "the one before was still on its way: {pushes:?}"
    );
    drop(listener);
    let (pushes, report) = pushed(gone);
    assert!(report.is_good());
    assert!(pushes.taken == 0 && pushes.failed > 0, "{pushes:?}");
    assert!(Duration::from_nanos(report.line.elapsed_ns) < Duration::from_secs(60));
}
