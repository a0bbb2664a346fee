//! Datagrams in and out: on a virtual network, and on real loopback.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use hopline::adapter::{
    Binance, Content, blackhole, datagrams, shared_udp, synthetic, udp, udp_on, udp_reply, udp_to,
};
use hopline::io::{Driver, FaultPlan, Faulty, Sent, SharedUdp, UdpSpec, VirtualNet};
use hopline::topology::{Builder, Hop, Inline, Line, Placement, Running};
use hopline::wait::Strategy;

use crate::rig::{rejected, run_line, run_on, trade};

#[test]
fn what_comes_in_by_a_socket_is_counted_even_where_it_is_lost() {
    let net = VirtualNet::new();
    let (from, to) = (
        "127.0.0.1:1".parse().unwrap(),
        "127.0.0.1:26400".parse().unwrap(),
    );
    // All at once: more than a socket's queue holds.
    for id in 0..1_100 {
        assert!(net.inject(from, to, trade(id).as_bytes(), 2_000_000_000));
    }
    let mut line = Line::builder("udp");
    line.source(
        "btc",
        udp("127.0.0.1:26400").decode(Binance::new(&["BTCUSDT"])),
    );
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(1024));
    let inline = Inline::new(net.driver().into()).stop_after_ns(2_000_000_000);
    let report = run_line(line.build().unwrap(), inline);
    let source = &report.ledger.sources["btc"];
    assert_eq!((source.received, source.kernel_dropped), (1_024, 76));
    assert_eq!(report.hops[0].delivered, 1_024);
}

#[test]
fn a_datagram_that_was_cut_is_too_long() {
    let net = VirtualNet::new();
    let to = "127.0.0.1:26400".parse().unwrap();
    for id in 0..10 {
        net.inject(
            "127.0.0.1:1".parse().unwrap(),
            to,
            trade(id).as_bytes(),
            2_000_000_000,
        );
    }
    let mut line = Line::builder("udp");
    line.source("btc", udp("127.0.0.1:26400").decode(datagrams()));
    line.sink("end", blackhole());
    line.connect("btc", "end", Hop::depth(1024));
    let plan = FaultPlan {
        recv_truncate_one_in: 1,
        ..FaultPlan::default()
    };
    let driver = Faulty::new(net.driver().into(), plan).into();
    let inline = Inline::new(driver).stop_after_ns(2_000_000_000);
    let report = run_line(line.build().unwrap(), inline);
    assert_eq!(rejected(&report), [("too_long", 10)]);
}

#[test]
fn a_full_socket_holds_back_and_a_refusal_is_counted() {
    let sent = |plan: FaultPlan| {
        let net = VirtualNet::new();
        let mut line = Line::builder("out");
        let feed = synthetic("BTCUSDT", 1e6).content(Content::Datagrams { bytes: 700 });
        line.source("btc", feed.count(1_000).decode(datagrams()));
        line.sink("end", udp_to("127.0.0.1:9"));
        line.connect("btc", "end", Hop::depth(64));
        let report = run_on(&mut line, Faulty::new(net.driver().into(), plan).into());
        let numbers: Vec<u64> = net
            .sent()
            .iter()
            .map(|datagram| {
                assert_eq!(datagram.bytes.len(), 700);
                u64::from_le_bytes(*datagram.bytes.first_chunk().unwrap())
            })
            .collect();
        (report, numbers)
    };
    // Each datagram is several fragments, of which the last one is offered again and again.
    let (report, numbers) = sent(FaultPlan {
        seed: 1,
        send_would_block_one_in: 2,
        ..FaultPlan::default()
    });
    assert!(numbers.into_iter().eq(0..1_000));
    assert_eq!(report.hops[0].delivered, 1_000);

    let (report, numbers) = sent(FaultPlan {
        seed: 1,
        send_refused_one_in: 4,
        ..FaultPlan::default()
    });
    let sink = &report.stages[1];
    assert_eq!(sink.forwarded, numbers.len() as u64);
    assert_eq!(sink.rejected["refused"], 1_000 - sink.forwarded);
    assert!((150..350).contains(&sink.rejected["refused"]));
}

/// A line on threads that only yield, so that tests beside it go on.
fn on_threads(line: &mut Builder) -> Running {
    line.placement(Placement {
        wait: Some(Strategy::YIELD),
        ..Placement::default()
    });
    line.build().unwrap().start().unwrap()
}

fn client(of: SocketAddr) -> UdpSocket {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client.connect(of).unwrap();
    client
}

#[test]
fn an_echo_comes_back_from_the_port_that_it_was_sent_to() {
    let socket = shared_udp("127.0.0.1:0").unwrap();
    let mut line = Line::builder("echo");
    line.source("in", udp_on(&socket).decode(datagrams()));
    line.sink("out", udp_reply(&socket));
    line.connect("in", "out", Hop::depth(256));
    let running = on_threads(&mut line);
    let echo = socket.local_addr().unwrap();
    // Connected: they hear nothing from any other port.
    let clients = [client(echo), client(echo)];
    let mut buf = [0; 2_000];
    for len in [0, 1, 75, 76, 1_472] {
        for (at, client) in clients.iter().enumerate() {
            let bytes = vec![at as u8 + 1; len];
            client.send(&bytes).unwrap();
            let got = client.recv(&mut buf).unwrap();
            assert_eq!(&buf[..got], bytes, "{len} bytes");
        }
    }
    clients[0].send(&[0; 1_473]).unwrap();
    clients[0].send(b"last").unwrap();
    assert_eq!(clients[0].recv(&mut buf).unwrap(), 4);
    let report = running.end("duration");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let source = &report.ledger.sources["in"];
    assert_eq!((source.received, source.ingested), (12, 11));
    assert_eq!(source.rejected["too_long"], 1);
    assert_eq!(report.faults, Vec::<String>::new());
}

#[test]
fn a_datagram_that_claims_to_come_from_the_echo_itself_is_rejected_and_not_answered_for_ever() {
    for bind in ["127.0.0.1:0", "0.0.0.0:0"] {
        let socket = shared_udp(bind).unwrap();
        let mut line = Line::builder("echo");
        line.source("in", udp_on(&socket).decode(datagrams()));
        line.sink("out", udp_reply(&socket));
        line.connect("in", "out", Hop::depth(256));
        let running = on_threads(&mut line);
        let port = socket.local_addr().unwrap().port();
        let echo = SocketAddr::from(([127, 0, 0, 1], port));
        // What a forger does with a raw socket, the socket itself does as well: an empty one, a
        // short one, and one of several fragments.
        let mut forger = Driver::real().unwrap();
        let own = forger.udp_join(&socket, false).unwrap();
        for len in [0, 4, 1_472] {
            assert_eq!(
                forger.udp_send(own, Some(echo), &vec![7; len]),
                Ok(Sent::Yes)
            );
        }
        let client = client(echo);
        let mut buf = [0; 16];
        for _ in 0..200 {
            client.send(b"after").unwrap();
            assert_eq!(client.recv(&mut buf).unwrap(), 5);
        }
        let report = running.end("duration");
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        let source = &report.ledger.sources["in"];
        assert_eq!((source.received, source.kernel_dropped), (203, 0), "{bind}");
        let out = report.stages.iter().find(|stage| stage.name == "out");
        let out = out.unwrap();
        assert_eq!((out.forwarded, out.rejected["own_address"]), (200, 3));
    }
}

#[test]
fn stamps_of_a_device_that_has_none_are_the_kernels_and_the_report_says_so() {
    let kernel = "kernel software, CLOCK_REALTIME";
    for (device, expected) in [
        (None, kernel.to_owned()),
        (
            Some("lo"),
            format!("{kernel} (asked for stamps of lo: it has none)"),
        ),
        (
            Some("not-there-9"),
            format!("{kernel} (asked for stamps of not-there-9: there is no such device)"),
        ),
    ] {
        let socket = SharedUdp::new(UdpSpec {
            stamps: true,
            stamp_device: device.map(|name| name.parse().unwrap()),
            ..UdpSpec::bound("127.0.0.1:0".parse().unwrap())
        });
        let mut line = Line::builder("stamped");
        line.source("in", udp_on(&socket).decode(datagrams()));
        line.sink("out", udp_reply(&socket));
        line.connect("in", "out", Hop::depth(256));
        let running = on_threads(&mut line);
        let client = client(socket.local_addr().unwrap());
        let mut buf = [0; 16];
        // The kernel begins to stamp a moment after it was asked by the first on the machine.
        for _ in 0..100 {
            client.send(b"x").unwrap();
            assert_eq!(client.recv(&mut buf).unwrap(), 1);
        }
        let report = running.end("duration");
        let wire = report.ledger.sources["in"].wire.as_ref().unwrap();
        assert_eq!((&wire.clock, wire.not_by_device), (&expected, 0));
        assert_eq!(report.faults, Vec::<String>::new());
    }
}

#[test]
fn market_data_over_loopback_is_all_accounted_for() {
    let socket = shared_udp("127.0.0.1:0").unwrap();
    let out = UdpSocket::bind("127.0.0.1:0").unwrap();
    out.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut line = Line::builder("through");
    line.source("in", udp_on(&socket).decode(datagrams()));
    line.sink("out", udp_to(&out.local_addr().unwrap().to_string()));
    line.connect("in", "out", Hop::depth(256));
    let running = on_threads(&mut line);
    let into = client(socket.local_addr().unwrap());
    let mut buf = [0; 2_000];
    // One at a time, so that no buffer of the kernel overflows.
    for id in 0..500 {
        let message = trade(id);
        into.send(message.as_bytes()).unwrap();
        let got = out.recv(&mut buf).unwrap();
        assert_eq!(&buf[..got], message.as_bytes());
    }
    let report = running.end("duration");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert_eq!((report.hops[0].delivered, report.ledger.shed), (500, 0));
    assert_eq!(report.ledger.sources["in"].kernel_dropped, 0);
}

#[test]
fn a_port_in_use_is_named() {
    let held = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = held.local_addr().unwrap().to_string();
    let mut line = Line::builder("twice");
    line.source("in", udp(&addr).decode(datagrams()));
    line.sink("end", blackhole());
    line.connect("in", "end", Hop::depth(64));
    let error = line.build().unwrap().start().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("in: cannot bind {addr}: address already in use")
    );
}
