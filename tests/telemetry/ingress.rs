//! Lines by datagrams and by streams: each is a message of its own, and what is refused has its reason.

use hopline::adapter::{
    Intake, IntoDecode, datagrams, graphite, influx, statsd, tcp, tcp_to, udp, unix_datagram,
    unix_datagram_to,
};
use hopline::base::Reason;
use hopline::base::limits::METRIC_LINE_BYTES_DEFAULT;
use hopline::feed::Lines;
use hopline::feed::aggregate::{Settings, Signs};
use hopline::io::{Driver, FaultPlan, Faulty, IoError, VirtualNet};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::stages::TextFormat;
use hopline::topology::{Builder, Hop, Line};
use hopline::wire::Prefix;

use crate::captured;
use crate::rig::{AT, Out, SECOND_NS, by_udp, inject, run, run_on, seconds, sums_up};
use crate::statsd::oracle;

const TCP: &str = "127.0.0.1:2003";

#[test]
fn each_line_of_a_datagram_is_a_message_of_its_own() {
    let net = VirtualNet::new();
    inject(
        &net,
        b"hits:1|c\nhits:2|c|@0.5|#\n\nbad\r\n\xff:1|c\nlevel:4|g\r\n",
        1_000,
    );
    inject(&net, b"_e{2,2}:up|ok|#a\n_sc|db|1\n:1|c", 2_000);
    inject(&net, b"", 3_000);
    inject(&net, b"\n\n", 4_000);
    let out = run(
        &mut by_udp(statsd(), seconds(), TextFormat::Ndjson),
        &net,
        2 * SECOND_NS,
    );
    let source = &out.report.ledger.sources["in"];
    assert_eq!((source.datagrams_received, source.kernel_dropped), (4, 0));
    assert_eq!(
        (source.lines(), source.ingested, source.shed),
        (Some(8), 5, 0)
    );
    let rejected = [("empty_name", 1), ("missing_field", 1), ("not_utf8", 1)];
    assert_eq!(out.rejected("in"), rejected);
    assert_eq!(out.total("hits", "sum"), 5.0);
    assert_eq!(out.total("level", "last"), 4.0);
    let json = out.json();
    assert!(json.iter().any(|line| line["event"]["title"] == "up"));
    assert!(json.iter().any(|line| line["service_check"]["status"] == 1));
}

#[test]
fn a_datagram_of_more_lines_than_a_hop_has_room_for_waits_and_loses_nothing() {
    let lines: Vec<String> = (0..3_000).map(|n| format!("n{}:1|c", n % 7)).collect();
    let net = VirtualNet::new();
    for nth in 0..3 {
        inject(&net, lines.join("\n").as_bytes(), 1_000 * nth);
    }
    let mut line = Line::builder("narrow");
    line.source("in", udp(AT).decode(statsd().at_most(58)));
    sums_up(&mut line, seconds(), TextFormat::Ndjson, Hop::depth(4));
    // Not all of it is in hand when the drain begins.
    let out = run(&mut line, &net, 200_000);
    let source = &out.report.ledger.sources["in"];
    let whole = source.datagrams_received * 3_000;
    assert!(whole > 0);
    assert_eq!((source.lines(), source.ingested), (Some(whole), whole));
    let total: f64 = (0..7).map(|n| out.total(&format!("n{n}"), "sum")).sum();
    assert_eq!(total, whole as f64);
}

#[test]
fn lines_in_hand_when_a_line_is_given_up_are_counted() {
    let net = VirtualNet::new();
    inject(&net, "a:1|c\n".repeat(5_000).as_bytes(), 0);
    // The sink takes nothing, ever: the drain is given up, and so is what the source has in hand.
    let mut line = Line::builder("stuck");
    line.drain_within_ns(300_000_000);
    line.source("in", udp(AT).decode(statsd().at_most(58)));
    line.sink("end", Full);
    line.connect("in", "end", Hop::depth(4));
    let out = run(&mut line, &net, SECOND_NS);
    let source = &out.report.ledger.sources["in"];
    assert_eq!(source.lines(), Some(5_000));
    assert_eq!(
        out.rejected("in"),
        [("line_ended", 5_000 - source.ingested)]
    );
    assert!(source.ingested < 10);
}

/// A sink that has no room.
struct Full;

impl Egress for Full {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, _frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        Delivery::NotNow
    }
}

#[test]
fn lines_longer_than_a_frame_come_whole_and_longer_than_the_bound_are_refused() {
    let net = VirtualNet::new();
    let tags: Vec<String> = (0..100).map(|n| format!("tag-{n}:value-{n}")).collect();
    let long = format!("{}:5|c|#{}", "n".repeat(200), tags.join(","));
    let too_long = format!("a:1|c|#{}", "t".repeat(METRIC_LINE_BYTES_DEFAULT));
    inject(&net, format!("{too_long}\n{long}\n{long}").as_bytes(), 0);
    let settings = Settings {
        key_bytes: 4096,
        ..seconds()
    };
    let mut line = by_udp(statsd(), settings, TextFormat::Ndjson);
    let out = run(&mut line, &net, SECOND_NS);
    assert_eq!(out.rejected("in"), [("too_long", 1)]);
    let rows = out.rows();
    assert_eq!((rows.len(), rows[0]["sum"].as_f64()), (1, Some(10.0)));
    let mut given: Vec<&str> = rows[0]["tags"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tag| tag.as_str().unwrap())
        .collect();
    let mut sent: Vec<&str> = tags.iter().map(String::as_str).collect();
    sent.sort_unstable();
    given.sort_unstable();
    assert_eq!(given, sent);
}

/// Adds what writes the bytes of datagrams to a connection, as a sender would.
fn writes(line: &mut Builder, to: &str) {
    line.source("feed", udp(AT).decode(datagrams().at_most(8_000)));
    line.sink("wire", tcp_to(to).framing(Prefix::None));
    line.connect("feed", "wire", Hop::depth(1024));
}

/// Lines by a connection in cuts of so many bytes.
fn by_tcp(format: &str, bytes: &[u8], cut: usize) -> Out {
    let net = VirtualNet::new();
    net.set_stream_cuts(cut, usize::MAX);
    inject(&net, bytes, 0);
    let mut line = Line::builder("stream");
    let at = tcp(TCP).max_message(64);
    match format {
        "graphite" => line.source("in", at.decode(graphite().at_most(64))),
        _ => line.source("in", at.decode(influx().at_most(64))),
    };
    sums_up(&mut line, seconds(), TextFormat::Ndjson, Hop::depth(256));
    writes(&mut line, TCP);
    run(&mut line, &net, 3 * SECOND_NS)
}

#[test]
fn a_stream_in_any_cuts_goes_on_after_bad_and_overlong_lines() {
    let text = format!(
        "a.b 1.5 -1\nnot a line\r\n\n{} 1 -1\na.b;host=x 2 -1\r\n{}\na.b 3 -1\nends in the mid",
        "x".repeat(80),
        "y".repeat(500)
    );
    for cut in (1..40).chain([64, 100, 1_000]) {
        let out = by_tcp("graphite", text.as_bytes(), cut);
        let source = &out.report.ledger.sources["in"];
        assert_eq!((source.lines(), source.ingested), (Some(7), 3), "{cut}");
        let rejected = [("too_long", 2), ("truncated", 1), ("wrong_type", 1)];
        assert_eq!(out.rejected("in"), rejected, "{cut}");
        assert_eq!(out.total("a.b", "last"), 2.0 + 3.0, "{cut}");
        assert_eq!(source.connected, 1);
        let bytes = 10 + 10 + 85 + 15 + 500 + 8 + 15;
        assert_eq!(source.bytes, bytes, "{cut}");
    }
}

#[test]
fn a_line_feed_inside_of_a_text_is_part_of_its_line_in_any_cuts() {
    let text = b"# a comment, \"quoted\ncpu,host=a load=1.5,note=\"two\nlines\"\n\nmem free=7i,up=t\nbad line\n";
    for cut in 1..text.len() {
        let out = by_tcp("influx", text, cut);
        let source = &out.report.ledger.sources["in"];
        assert_eq!((source.lines(), source.ingested), (Some(3), 2), "{cut}");
        assert_eq!(out.rejected("in"), [("missing_field", 1)], "{cut}");
        let rows = out.rows();
        let of = |name: &str, field: &str| {
            let found = rows
                .iter()
                .find(|row| row["name"] == name && row["field"] == field);
            found.and_then(|row| row["last"].as_f64())
        };
        assert_eq!(of("cpu", "load"), Some(1.5));
        assert_eq!((of("mem", "free"), of("mem", "up")), (Some(7.0), Some(1.0)));
        assert_eq!(rows.len(), 3, "a text is no sample");
    }
}

#[test]
fn influx_by_datagrams_has_its_lines_told_apart_in_the_same_way() {
    let net = VirtualNet::new();
    inject(
        &net,
        b"a,t=1 x=1,s=\"a\nb\" 1700000000500000000\n# no\na,t=1 x=2",
        0,
    );
    let mut line = by_udp(influx(), seconds(), TextFormat::Ndjson);
    let out = run(&mut line, &net, SECOND_NS);
    let source = &out.report.ledger.sources["in"];
    assert_eq!((source.lines(), source.ingested), (Some(2), 2));
    assert_eq!(out.total("a", "max"), 2.0);
    assert_eq!(out.rows()[0]["values"], 2);
}

#[test]
fn unix_datagrams_hold_several_lines_too() {
    let net = VirtualNet::new();
    inject(&net, "a:1|c\nb:2|c\nbad\n".repeat(20).as_bytes(), 0);
    let mut line = Line::builder("unix");
    line.source(
        "in",
        unix_datagram("metrics.sock").decode(statsd().at_most(58)),
    );
    sums_up(&mut line, seconds(), TextFormat::Ndjson, Hop::depth(4));
    line.source("feed", udp(AT).decode(datagrams()));
    line.sink("wire", unix_datagram_to("metrics.sock"));
    line.connect("feed", "wire", Hop::depth(64));
    let out = run(&mut line, &net, SECOND_NS);
    let source = &out.report.ledger.sources["in"];
    assert_eq!(source.datagrams_received, 1);
    assert_eq!((source.lines(), source.ingested), (Some(60), 40));
    assert_eq!((out.total("a", "sum"), out.total("b", "sum")), (20.0, 40.0));
}

#[test]
fn lines_behind_lengths_are_refused_when_the_line_is_made() {
    for prefix in [Prefix::U16Be, Prefix::None] {
        let decoder = graphite().into_decode().unwrap();
        let made = tcp(TCP).framing(prefix).into_ingress(decoder);
        let problem = made.err().unwrap().to_string();
        assert!(problem.contains("framing = \"lines\""), "{problem}");
    }
    let opaque = datagrams().into_decode().unwrap();
    assert!(
        tcp(TCP).lines().into_ingress(opaque).is_ok(),
        "any bytes may be lines"
    );
}

#[test]
fn cuts_and_calls_that_would_block_change_nothing() {
    let lines: Vec<String> = (0..2_000).map(|n| format!("n.{} {n} -1", n % 11)).collect();
    let mut last = None;
    for seed in 1..4 {
        let net = VirtualNet::new();
        for (nth, lines) in lines.chunks(100).enumerate() {
            let text = lines.join("\n") + "\n";
            inject(&net, text.as_bytes(), nth as u64 * 1_000);
        }
        let plan = FaultPlan {
            seed,
            stream_short_read_one_in: 2,
            stream_short_write_one_in: 2,
            stream_would_block_one_in: 3,
            ..FaultPlan::default()
        };
        let mut line = Line::builder("stream");
        line.source("in", tcp(TCP).decode(graphite()));
        sums_up(&mut line, seconds(), TextFormat::Ndjson, Hop::depth(64));
        writes(&mut line, TCP);
        let driver = Faulty::new(net.driver().into(), plan).into();
        let out = run_on(&mut line, &net, driver, 3 * SECOND_NS);
        assert_eq!(out.report.ledger.sources["in"].ingested, 2_000);
        let total: f64 = (0..11)
            .map(|n| out.total(&format!("n.{n}"), "values"))
            .sum();
        assert_eq!(total, 2_000.0);
        let sums: Vec<f64> = (0..11)
            .map(|n| out.total(&format!("n.{n}"), "max"))
            .collect();
        assert_eq!(*last.get_or_insert(sums.clone()), sums);
    }
}

#[test]
fn captured_datagrams_come_through_the_socket_as_the_oracle_says() {
    let name = "captured_datagrams_come_through_the_socket_as_the_oracle_says";
    let Some(captured) = captured(name) else {
        return;
    };
    let net = VirtualNet::new();
    let mut expected = std::collections::BTreeMap::new();
    let (mut lines, mut counted, mut notices) = (0_u64, 0.0, 0_u64);
    // Apart by as much as the line takes for each, so that the socket has room for all of them.
    for (nth, (_, datagram)) in captured.iter().enumerate() {
        inject(&net, datagram, nth as u64 * 100_000);
        for line in Lines::new(datagram) {
            lines += 1;
            match oracle(line) {
                Ok(_) => match hopline::feed::statsd::parse(line) {
                    Ok(hopline::feed::statsd::Line::Metric(metric)) => {
                        if metric.class == hopline::feed::Class::Counter {
                            let values = metric.values.map(|number| number.value);
                            counted += values.sum::<f64>() / metric.rate;
                        }
                    }
                    _ => notices += 1,
                },
                Err(why) => *expected.entry(why.name().to_owned()).or_insert(0_u64) += 1,
            }
        }
    }
    let settings = Settings {
        window_ns: 86_400 * SECOND_NS,
        signs: Signs::Numbers,
        keys: 1 << 16,
        ..Settings::default()
    };
    let mut line = by_udp(statsd(), settings, TextFormat::Ndjson);
    let for_ns = captured.len() as u64 * 100_000 + SECOND_NS;
    let out = run(&mut line, &net, for_ns);
    let source = &out.report.ledger.sources["in"];
    assert_eq!(source.datagrams_received, captured.len() as u64);
    assert_eq!(source.lines(), Some(lines));
    let rejected = expected.iter().map(|(why, count)| (why.as_str(), *count));
    assert_eq!(out.rejected("in"), rejected.collect::<Vec<_>>());
    assert!(lines > 1_000);
    let sums = out.report.stages.iter().find(|stage| stage.name == "sums");
    let sums = sums.expect("it is a stage of this line");
    assert_eq!(sums.forwarded, notices);
    let timed: u64 = sums.rejected.values().sum();
    if timed == 0 {
        let rows = out.rows().into_iter();
        let counters = rows.filter(|row| row["class"] == "counter");
        let total: f64 = counters.filter_map(|row| row["sum"].as_f64()).sum();
        assert!(
            (total - counted).abs() <= 1e-6 * counted.abs(),
            "{total} {counted}"
        );
    }
}
