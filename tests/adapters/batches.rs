//! The udp source and sink in batches: what is in hand, what leaves together, what the kernel says.

use std::net::UdpSocket;
use std::time::Duration;

use hopline::adapter::{Content, blackhole, datagrams, synthetic, udp, udp_on, udp_to};
use hopline::io::{FaultPlan, Faulty, SharedUdp, Trains, UdpSpec, VirtualNet};
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Running};
use hopline::wait::Strategy;

use crate::rig::{Tap, exact, run_line, run_on};

#[test]
fn what_is_in_hand_goes_its_way_before_a_drain_ends_the_source() {
    let net = VirtualNet::new();
    let (from, to) = (
        "127.0.0.1:1".parse().unwrap(),
        "127.0.0.1:7".parse().unwrap(),
    );
    for _ in 0..200 {
        assert!(net.inject(from, to, &[1; 64], 1_500_000_000));
    }
    // The hop holds less than a batch, and the sink takes next to nothing before the end.
    let plan = FaultPlan {
        seed: 1,
        send_would_block_one_in: 2,
        ..FaultPlan::default()
    };
    let mut line = Line::builder("held");
    line.source("in", udp("127.0.0.1:7").decode(datagrams().at_most(64)));
    line.sink("out", udp_to("127.0.0.1:9"));
    line.connect("in", "out", Hop::depth(4));
    let driver = Faulty::new(net.driver().into(), plan).into();
    let inline = Inline::new(driver).stop_after_ns(500_000_001);
    let report = run_line(line.build().unwrap(), inline);
    let source = &report.ledger.sources["in"];
    assert!(
        source.received > 0 && source.received.is_multiple_of(32),
        "whole batches"
    );
    assert_eq!(
        (source.ingested, &source.rejected),
        (source.received, &Default::default())
    );
    assert_eq!(net.sent().len() as u64, source.received);
}

#[test]
fn the_intended_time_is_the_kernels_and_the_span_to_the_receipt_is_told() {
    let run = |stamps: bool| {
        let net = VirtualNet::new();
        let (from, to) = (
            "127.0.0.1:1".parse().unwrap(),
            "127.0.0.1:7".parse().unwrap(),
        );
        // It came while the line was not looking: time moves only from one due time to the next.
        net.inject(from, to, b"x", 1_000_000_500);
        let mut line = Line::builder("wire");
        line.source("btc", udp("127.0.0.1:7").stamps(stamps).decode(datagrams()));
        let late = synthetic("BTCUSDT", 1e3).content(Content::Datagrams { bytes: 16 });
        line.source("late", late.count(2).decode(datagrams()));
        let tap = Tap::default();
        line.sink("end", tap.clone());
        line.sink("other", blackhole());
        line.connect("btc", "end", Hop::depth(64));
        line.connect("late", "other", Hop::depth(64));
        let inline = exact(&net).stop_after_ns(10_000_000);
        let report = run_line(line.build().unwrap(), inline);
        (tap.seen(), report.ledger.sources["btc"].clone())
    };
    let (seen, source) = run(true);
    assert_eq!(seen[0].t_intended_ns, 1_000_000_500);
    let wire = source.wire.unwrap();
    assert_eq!(wire.clock, "kernel software, CLOCK_REALTIME");
    assert_eq!(
        (wire.span_ns.count, wire.clamped, wire.clock_steps),
        (1, 0, 0)
    );
    assert_eq!(wire.not_by_device, 0);
    let (seen, source) = run(false);
    assert!(seen[0].t_intended_ns >= 1_000_000_500);
    assert_eq!(source.wire, None);
}

#[test]
fn what_a_turn_sends_together_arrives_as_it_was() {
    let sent = |plan: FaultPlan| {
        let net = VirtualNet::new();
        let mut line = Line::builder("out");
        let feed = synthetic("BTCUSDT", 1e8).content(Content::Datagrams { bytes: 64 });
        line.source("btc", feed.count(5_000).decode(datagrams().at_most(64)));
        line.sink("end", udp_to("127.0.0.1:9"));
        line.connect("btc", "end", Hop::depth(1024));
        let report = run_on(&mut line, Faulty::new(net.driver().into(), plan).into());
        let sent = net.sent();
        let numbers = sent
            .iter()
            .map(|one| u64::from_le_bytes(*one.bytes.first_chunk().unwrap()));
        (report, numbers.collect::<Vec<u64>>())
    };
    let (report, numbers) = sent(FaultPlan {
        seed: 7,
        send_would_block_one_in: 3,
        send_refused_one_in: 50,
        ..FaultPlan::default()
    });
    assert!(numbers.is_sorted() && !numbers.is_empty());
    let sink = &report.stages[1];
    assert_eq!(sink.forwarded, numbers.len() as u64);
    assert_eq!(sink.forwarded + sink.rejected["refused"], 5_000);
    // Only what has left counts towards the whole.
    assert_eq!(report.end_to_end.sojourn_ns.count, sink.forwarded);
    assert_eq!(report.hops[0].delivered, 5_000);
}

#[test]
fn what_never_leaves_is_discarded_and_not_delivered() {
    let net = VirtualNet::new();
    let plan = FaultPlan {
        send_would_block_one_in: 1,
        ..FaultPlan::default()
    };
    let mut line = Line::builder("stuck");
    let feed = synthetic("BTCUSDT", 1e6).content(Content::Datagrams { bytes: 64 });
    line.source("btc", feed.count(100).decode(datagrams()));
    line.sink("end", udp_to("127.0.0.1:9"));
    line.connect("btc", "end", Hop::depth(64));
    let report = run_on(&mut line, Faulty::new(net.driver().into(), plan).into());
    let hop = &report.hops[0];
    assert_eq!((hop.delivered, report.stages[1].consumed), (0, 0));
    assert_eq!(hop.discarded["drain_deadline"], hop.accepted);
    assert!(hop.accepted > 0 && report.ledger.losses.len() == 1);
}

fn on_threads(line: &mut Builder) -> Running {
    line.placement(Placement {
        wait: Some(Strategy::YIELD),
        ..Placement::default()
    });
    line.build().unwrap().start().unwrap()
}

#[test]
fn kernel_drops_add_up_to_what_was_sent() {
    for trains in [Trains::Off, Trains::Backlog] {
        let socket = SharedUdp::new(UdpSpec {
            recv_buffer_bytes: Some(8_192),
            trains,
            ..UdpSpec::bound("127.0.0.1:0".parse().unwrap())
        });
        let mut line = Line::builder("drops");
        line.source("in", udp_on(&socket).decode(datagrams()));
        line.sink("end", blackhole());
        line.connect("in", "end", Hop::depth(64));
        let mut running = on_threads(&mut line);
        let out = UdpSocket::bind("127.0.0.1:0").unwrap();
        out.connect(socket.local_addr().unwrap()).unwrap();
        let mut sent = 0;
        // Until the buffer has overflowed; single datagrams, so that each drop is one.
        for _ in 0..200 {
            for _ in 0..2_000 {
                out.send(&[1; 64]).unwrap();
                sent += 1;
            }
            running.wait(Duration::from_millis(5));
            if running.report().ledger.sources["in"].kernel_dropped > 0 {
                break;
            }
        }
        running.wait(Duration::from_millis(100));
        let report = running.end("duration");
        let source = &report.ledger.sources["in"];
        assert!(
            source.kernel_dropped > 0,
            "{trains:?}: nothing was dropped of {sent}"
        );
        assert_eq!(source.received + source.kernel_dropped, sent, "{trains:?}");
        if trains == Trains::Off {
            assert!(!source.kernel_dropped_at_least);
        }
    }
}
