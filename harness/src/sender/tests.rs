//! Senders over the loopback: what they send, when, and what they say of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hopline::feed::Arrivals;
use hopline::io::{UdpId, UdpSpec};

use super::*;

fn lane(to: SocketAddr, content: Content) -> LaneSpec {
    LaneSpec {
        source: "in".to_owned(),
        to,
        content,
        recorded: None,
    }
}

fn until(most_ns: u64) -> Span {
    Span {
        most_ns: Some(most_ns),
        warmup_ns: 0,
    }
}

/// Everything that arrives at a socket of `driver` until `count` have, or nothing more comes.
fn receive(driver: &mut Driver, socket: UdpId, count: usize) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    let mut buffer = vec![0; MESSAGE_BYTES_MAX];
    let mut idle = 0;
    while got.len() < count && idle < 200 {
        match driver.udp_recv(socket, &mut buffer).unwrap() {
            Some(datagram) => {
                got.push(buffer[..datagram.len].to_vec());
                // Back to its sender, as an echo does.
                let _ = driver.udp_send(socket, Some(datagram.from), &buffer[..datagram.len]);
            }
            None => {
                driver.poll(0, Some(10_000_000)).unwrap();
                idle += 1;
            }
        }
    }
    got
}

fn listening() -> (Driver, UdpId, SocketAddr) {
    let mut driver = Driver::real().unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = driver.udp_open(&UdpSpec::bound(any)).unwrap();
    let to = driver.udp_local_addr(socket).unwrap();
    (driver, socket, to)
}

#[test]
fn a_capture_is_sent_in_order_and_what_is_no_message_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture");
    std::fs::write(
        &file,
        "1000 {\"a\":1}\nno line\n2000 {\"a\":2}\n\n1500 {}\n",
    )
    .unwrap();
    let (mut driver, socket, to) = listening();
    let clock = Clock::calibrated();
    let capture = Content::Capture {
        file,
        speed: Some(1.0),
        epoch_ns: 1000,
    };
    let senders = Senders::open(
        vec![lane(to, capture)],
        None,
        clock.clone(),
        Span::default(),
        None,
    )
    .unwrap();
    senders.start(clock.stamp());
    let got = receive(&mut driver, socket, 3);
    assert_eq!(got, [&b"{\"a\":1}"[..], b"{\"a\":2}", b"{}"]);
    let report = &senders.finish().0[0];
    assert_eq!((report.sent, report.unsent, report.returned), (3, 0, None));
    assert_eq!(report.late_ns.count, 3);
    assert_eq!(
        report.skipped,
        BTreeMap::from([("bad_line", 1), ("empty", 1)])
    );
}

#[test]
fn datagrams_that_return_are_counted_and_timed_from_their_intended_time() {
    let (mut driver, socket, to) = listening();
    let clock = Clock::calibrated();
    let datagrams = Content::Datagrams {
        rate_per_s: 10_000.0,
        arrivals: Arrivals::Constant,
        seed: 1,
        bytes: 64,
    };
    // Ten times 100 us from the start: 0, 100, ... 900 us.
    let senders = Senders::open(
        vec![lane(to, datagrams)],
        None,
        clock.clone(),
        until(950_000),
        None,
    )
    .unwrap();
    senders.start(clock.stamp());
    let got = receive(&mut driver, socket, 10);
    assert_eq!(got.len(), 10);
    for (at, datagram) in got.iter().enumerate() {
        assert_eq!(datagram.len(), 64);
        assert_eq!(datagram[..8], (at as u64).to_le_bytes());
    }
    while !senders.is_done() {
        std::thread::yield_now();
    }
    assert_eq!(senders.sent().collect::<Vec<_>>(), [("in", 10)]);
    let report = &senders.finish().0[0];
    assert_eq!(report.returned, Some(10));
    let away = report.round_trip_ns.unwrap();
    assert_eq!(away.count, 10);
    assert!(away.max >= report.late_ns.max);
}

fn datagrams(rate_per_s: f64, arrivals: Arrivals) -> Content {
    Content::Datagrams {
        rate_per_s,
        arrivals,
        seed: 1,
        bytes: 64,
    }
}

/// What a sender says that was started at `t0_ns`, once it has sent all.
fn sent_all(
    lanes: Vec<LaneSpec>,
    span: Span,
    t0_ns: impl FnOnce(u64) -> u64,
) -> (SenderReport, GeneratorGaps) {
    let clock = Clock::calibrated();
    let senders = Senders::open(lanes, None, clock.clone(), span, None).unwrap();
    senders.start(t0_ns(clock.stamp()));
    while !senders.is_done() {
        std::thread::yield_now();
    }
    let (mut reports, gaps) = senders.finish();
    (reports.remove(0), gaps)
}

#[test]
fn what_is_due_at_once_leaves_in_few_calls_and_in_order() {
    let (mut driver, socket, to) = listening();
    let at_once = Arrivals::Bursts {
        messages: 50,
        within_ns: 0,
    };
    let lanes = vec![lane(to, datagrams(5_000.0, at_once))];
    // A burst at 0, 10 and 20 ms, and the first message of none behind.
    let (report, _) = sent_all(lanes, until(29_000_000), |now_ns| now_ns);
    assert_eq!((report.sent, report.unsent, report.missed), (150, 0, 0));
    assert_eq!((report.bytes, report.late_ns.count), (150 * 64, 150));
    assert!(report.calls < 50, "{} calls", report.calls);
    let got = receive(&mut driver, socket, 150);
    let numbers = got
        .iter()
        .map(|datagram| u64::from_le_bytes(datagram[..8].try_into().unwrap()));
    assert!(numbers.eq(0..150));
    // Each says when it was due, not when it left.
    let due = got
        .iter()
        .map(|datagram| u64::from_le_bytes(datagram[8..16].try_into().unwrap()));
    let due: Vec<u64> = due.collect();
    assert!(
        due.iter()
            .all(|due_ns| (due_ns - due[0]).is_multiple_of(10_000_000))
    );
    assert_eq!(due[149] - due[0], 20_000_000);
}

#[test]
fn what_is_a_second_late_is_missed_and_nothing_is_skipped() {
    let (_driver, _socket, to) = listening();
    let specs = || vec![lane(to, datagrams(1_000.0, Arrivals::Constant))];
    // Due from 10 s ago to 8 s ago: none of the 2,000 may leave.
    let long_ago = |now_ns: u64| now_ns - 10_000_000_000;
    let (report, _) = sent_all(specs(), until(2_000_000_000), long_ago);
    assert_eq!((report.sent, report.unsent, report.missed), (0, 0, 2_000));
    assert_eq!((report.late_ns.count, report.achieved_per_s), (0, 0.0));
    let analysis = report.analysis();
    assert_eq!(analysis.missed, 2_000);
    assert!(
        (analysis.offered_per_s - 1_000.0).abs() < 1.0,
        "{analysis:?}"
    );
    // Due from 3 s ago until now: what is older than a second is missed, the others leave at once.
    let (report, _) = sent_all(specs(), until(3_000_000_000), |now_ns| {
        now_ns - 3_000_000_000
    });
    assert_eq!(report.sent + report.unsent + report.missed, 3_000);
    assert!(report.missed >= 2_000 && report.sent > 0, "{report:?}");
    assert!(report.late_ns.p50 > 100_000_000, "{report:?}");
}

#[test]
fn a_stop_leaves_nothing_uncounted() {
    let (_driver, _socket, to) = listening();
    let clock = Clock::calibrated();
    // Behind by half a second from the start on, at a rate that no sender keeps: what it may still
    // send after the stop is a small part of what it owes.
    let lanes = vec![lane(to, datagrams(2e7, Arrivals::Constant))];
    let senders = Senders::open(lanes, None, clock.clone(), Span::default(), None).unwrap();
    let t0_ns = clock.stamp().saturating_sub(500_000_000);
    senders.start(t0_ns);
    while senders.sent().map(|(_, sent)| sent).sum::<u64>() < 1_000 {
        std::thread::yield_now();
    }
    let stopping_ns = clock.stamp() - t0_ns;
    senders.stop();
    let (reports, _) = senders.finish();
    let over_ns = clock.stamp() - t0_ns;
    let report = &reports[0];
    let due = report.sent + report.unsent + report.missed;
    // One each fifty nanoseconds, up to when the sender saw the stop; they sweep by one gap.
    let span = stopping_ns / 50 - 1..=over_ns / 50 + 1;
    assert!(span.contains(&due), "{due} of {span:?}");
    assert!(report.missed > 0 && report.sent >= 1_000, "{report:?}");
    assert!(
        report.achieved_per_s < 0.99 * report.offered_per_s,
        "{report:?}"
    );
}

#[test]
fn the_warm_up_is_in_no_rate_and_no_lateness() {
    let (_driver, _socket, to) = listening();
    let span = Span {
        most_ns: Some(20_000_000),
        warmup_ns: 5_000_000,
    };
    // 20 ms at 10,000 a second are 200 messages, 50 of them before 5 ms. All are due at the start, so
    // that they leave in batches, of which one would hold both kinds.
    let lanes = vec![lane(to, datagrams(10_000.0, Arrivals::Constant))];
    let (report, _) = sent_all(lanes, span, |now_ns| now_ns - 100_000_000);
    assert_eq!((report.sent, report.late_ns.count), (200, 150));
    let offered = 150.0 / 0.015;
    assert!((report.offered_per_s - offered).abs() < 1.0, "{report:?}");
}

#[test]
fn a_rhythm_takes_the_place_of_other_arrivals() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("capture");
    // Gaps of 1 and 3 recorded milliseconds: 4 for two messages.
    std::fs::write(&file, "0 {}\n1000000 {}\n4000000 {}\n").unwrap();
    let (mut driver, socket, to) = listening();
    let spec = LaneSpec {
        recorded: Some(file),
        ..lane(to, datagrams(2_000.0, Arrivals::Constant))
    };
    let (report, _) = sent_all(vec![spec], until(2_900_000), |now_ns| now_ns);
    assert_eq!(report.sent, 6);
    let got = receive(&mut driver, socket, 6);
    let due: Vec<u64> = got
        .iter()
        .map(|datagram| u64::from_le_bytes(datagram[8..16].try_into().unwrap()))
        .collect();
    let gaps: Vec<u64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [250_000, 750_000, 250_000, 750_000, 250_000]);
}

#[test]
fn gaps_lie_within_the_run_and_in_order() {
    let (mut driver, socket, to) = listening();
    let clock = Clock::calibrated();
    let lanes = vec![lane(to, datagrams(50_000.0, Arrivals::Poisson))];
    let senders = Senders::open(lanes, None, clock.clone(), until(50_000_000), None).unwrap();
    let t0_ns = clock.stamp();
    senders.start(t0_ns);
    while !senders.is_done() {
        std::thread::yield_now();
    }
    let done_ns = clock.stamp();
    // One that comes back long after the end.
    for datagram in receive(&mut driver, socket, 1) {
        assert_eq!(datagram.len(), 64);
    }
    let (reports, gaps) = senders.finish();
    assert!(reports[0].sent > 2_000);
    // Known only if enough of them left alone.
    assert!(
        gaps.send_from_ns
            .is_none_or(|from_ns| from_ns >= GAP_FROM_NS)
    );
    assert_eq!(gaps.count, gaps.log.len() as u64 + gaps.lost);
    // Whatever the sender waits for before the start and after the end is no gap.
    let mut end_ns = t0_ns;
    for (start_ns, length_ns) in &gaps.log {
        assert!(*start_ns >= end_ns && *length_ns >= GAP_FROM_NS);
        end_ns = start_ns + length_ns;
    }
    assert!(end_ns <= done_ns, "{end_ns} of {done_ns}");
}

#[test]
fn a_missing_capture_is_an_error_before_anything_is_sent() {
    let to = "127.0.0.1:9".parse().unwrap();
    let capture = Content::Capture {
        file: "/nowhere/capture.gz".into(),
        speed: None,
        epoch_ns: 0,
    };
    let failure = Senders::open(
        vec![lane(to, capture)],
        None,
        Clock::calibrated(),
        Span::default(),
        None,
    )
    .unwrap_err();
    assert_eq!(failure.exit, crate::exit::Exit::Io);
    assert!(failure.what.contains("/nowhere/capture.gz"), "{failure}");
}
