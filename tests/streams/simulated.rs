//! On a virtual network: every cut can be made, and the same run twice is the same.
//!
//! Both ends are in one line: a feed into a connection, and a source that listens for it.

#![allow(
    clippy::disallowed_types,
    reason = "a test looks at what a sink saw after the run"
)]

use std::sync::{Arc, Mutex};

use hopline::adapter::{
    Content, StreamTo, datagrams, stream_on, stream_reply, synthetic, tcp, tcp_to, unix,
    unix_datagram, unix_datagram_to, unix_to,
};
use hopline::adapter::{shared_tcp, tcp_from};
use hopline::feed::Datagram;
use hopline::frame::View;
use hopline::io::{
    Driver, Endpoint, FaultPlan, Faulty, IoError, StreamId, StreamRead, StreamSpec, StreamWrite,
    VirtualNet,
};
use hopline::stage::{Delivery, Egress, Leaving};
use hopline::topology::{Builder, Hop, Inline, Line, Report};
use hopline::wire::Prefix;

use crate::{checked, counts, framed};

const AT: &str = "127.0.0.1:26410";

/// A sink that keeps the number that each message begins with.
#[derive(Clone, Default)]
struct Tap(Arc<Mutex<Vec<u64>>>);

impl Egress for Tap {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        if frame.envelope.flags.is_first() {
            let head = View::<Datagram>::read(frame.payload).unwrap().to_owned();
            let number = u64::from_le_bytes(*head.as_slice().first_chunk().unwrap());
            self.0.lock().unwrap().push(number);
        }
        match frame.envelope.flags.is_last() {
            true => Delivery::Sent,
            false => Delivery::Part,
        }
    }
}

/// A feed of so many messages into `out`.
fn feed(line: &mut Builder, messages: u64, bytes: usize, out: StreamTo) {
    let made = synthetic("BTCUSDT", 1e5).content(Content::Datagrams { bytes });
    line.source("feed", made.count(messages).decode(datagrams()));
    line.sink("out", out);
    line.connect("feed", "out", Hop::depth(64));
}

/// Runs for three virtual seconds, and gives what the tap saw.
fn run(line: &mut Builder, tap: &Tap, driver: Driver) -> (Report, Vec<u64>) {
    line.sink("end", tap.clone());
    line.connect("in", "end", Hop::depth(64));
    let line = line.build().unwrap_or_else(|problems| panic!("{problems}"));
    let inline = Inline::new(driver).stop_after_ns(3_000_000_000);
    let (report, _) = line.run_inline(inline, None).unwrap();
    (report, core::mem::take(&mut *tap.0.lock().unwrap()))
}

fn through(driver: Driver, messages: u64, bytes: usize, prefix: Prefix) -> (Report, Vec<u64>) {
    let (mut line, tap) = (Line::builder("through"), Tap::default());
    line.source("in", tcp(AT).framing(prefix).decode(datagrams()));
    feed(&mut line, messages, bytes, tcp_to(AT).framing(prefix));
    run(&mut line, &tap, driver)
}

#[test]
fn messages_are_whole_and_in_order_whatever_the_cuts() {
    for (_, prefix) in Prefix::WORDS {
        // 80 bytes are more than one frame; with its length a message is at most 84.
        for cut in 1..=85 {
            for (read, write) in [(cut, usize::MAX), (usize::MAX, cut), (cut, 86 - cut)] {
                let net = VirtualNet::new();
                net.set_stream_cuts(read, write);
                net.set_delay_ns(cut as u64 * 100);
                let (report, seen) = through(net.driver().into(), 12, 80, *prefix);
                assert!(seen.into_iter().eq(0..12), "{prefix:?} {read} {write}");
                let source = &report.ledger.sources["in"];
                assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
                assert_eq!((source.received, source.connected), (12, 1));
                assert_eq!(
                    counts(&source.disconnected),
                    [("finished", 1)],
                    "{prefix:?} {read} {write}"
                );
            }
        }
    }
}

#[test]
fn with_short_reads_writes_and_no_room_nothing_is_lost_and_a_seed_is_a_run() {
    let plan = |seed| FaultPlan {
        seed,
        stream_short_read_one_in: 2,
        stream_short_write_one_in: 2,
        stream_would_block_one_in: 3,
        ..FaultPlan::default()
    };
    let run = |seed| {
        let faulty = Faulty::new(VirtualNet::new().driver().into(), plan(seed));
        through(faulty.into(), 3_000, 700, Prefix::U32Be)
    };
    for seed in 1..4 {
        let (report, seen) = run(seed);
        assert!(seen.into_iter().eq(0..3_000));
        assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
        let (again, _) = run(seed);
        assert_eq!(format!("{:?}", report.hops), format!("{:?}", again.hops));
    }
}

#[test]
fn connections_that_break_again_and_again_come_back_and_every_message_is_accounted_for() {
    let mut truncated = 0;
    for seed in 1..=8 {
        let plan = FaultPlan {
            seed,
            stream_reset_one_in: 300,
            stream_short_write_one_in: 3,
            ..FaultPlan::default()
        };
        let faulty = Faulty::new(VirtualNet::new().driver().into(), plan);
        let (report, seen) = through(faulty.into(), 4_000, 700, Prefix::U32Be);
        checked_sources(&report);
        assert!(
            seen.is_sorted_by(|a, b| a < b),
            "none twice, none out of order"
        );
        let source = &report.ledger.sources["in"];
        assert!(source.connected > 3, "{}", source.connected);
        assert_eq!(source.ingested, seen.len() as u64);
        truncated += source.rejected.get("truncated").copied().unwrap_or(0);
        let out = report.stages.iter().find(|stage| stage.name == "out");
        let out = out.unwrap();
        let lost = out.rejected["broken"];
        assert_eq!(out.forwarded + lost, out.consumed);
        // What the network had taken when a connection broke is all that nobody counts.
        assert!(out.forwarded >= source.ingested && lost > 0);
    }
    assert!(
        truncated > 0,
        "a break inside a message is told from one between two"
    );
}

#[test]
fn unix_names_carry_streams_and_datagrams() {
    let (mut line, tap) = (Line::builder("unix"), Tap::default());
    line.source("in", unix("@in").max_message(80).decode(datagrams()));
    feed(&mut line, 500, 80, unix_to("@in"));
    let (report, seen) = run(&mut line, &tap, VirtualNet::new().driver().into());
    assert!(seen.into_iter().eq(0..500));
    checked_sources(&report);

    let (mut line, tap) = (Line::builder("unix"), Tap::default());
    line.source("in", unix_datagram("in.sock").decode(datagrams()));
    let made = synthetic("BTCUSDT", 1e6).content(Content::Datagrams { bytes: 700 });
    line.source("feed", made.count(5_000).decode(datagrams()));
    line.sink("out", unix_datagram_to("in.sock"));
    line.connect("feed", "out", Hop::depth(64));
    let net = VirtualNet::new();
    net.set_delay_ns(50_000);
    let (report, seen) = run(&mut line, &tap, net.driver().into());
    assert!(
        seen.into_iter().eq(0..5_000),
        "a full queue holds back and loses nothing"
    );
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
}

fn checked_sources(report: &Report) {
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    for source in report.ledger.sources.values() {
        let over: u64 = source.disconnected.values().sum();
        assert_eq!(source.connected, over);
    }
}

#[test]
fn a_message_over_the_limit_ends_its_connection_and_the_sender_comes_back() {
    let (mut line, tap) = (Line::builder("long"), Tap::default());
    line.source("in", tcp(AT).max_message(79).decode(datagrams()));
    feed(&mut line, 3, 80, tcp_to(AT));
    let (report, seen) = run(&mut line, &tap, VirtualNet::new().driver().into());
    let source = &report.ledger.sources["in"];
    assert!(seen.is_empty());
    assert!(source.rejected["too_long"] >= 1, "{:?}", source.rejected);
    assert_eq!(source.rejected["too_long"], source.disconnected["too_long"]);
    // The sender's own bound is told before anything is written.
    let (mut line, tap) = (Line::builder("long"), Tap::default());
    line.source("in", tcp(AT).decode(datagrams()));
    feed(&mut line, 3, 80, tcp_to(AT).max_message(79));
    let (report, _) = run(&mut line, &tap, VirtualNet::new().driver().into());
    let out = report
        .stages
        .iter()
        .find(|stage| stage.name == "out")
        .unwrap();
    assert_eq!(counts(&out.rejected), [("too_long", 3)]);
    checked_sources(&report);
}

#[test]
fn a_sink_that_never_connected_names_its_last_error_when_the_drain_is_given_up() {
    let mut line = Line::builder("alone");
    feed(&mut line, 10, 80, tcp_to(AT));
    let inline = Inline::new(VirtualNet::new().driver().into());
    let line = line.build().unwrap();
    let (report, _) = line.run_inline(inline, None).unwrap();
    assert!(!report.drain.as_ref().unwrap().complete);
    let expected = format!("out: i/o: cannot connect to {AT}: nobody listens there");
    assert_eq!(report.faults, [expected]);
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    assert_eq!(report.ledger.discarded, 10);
}

#[test]
fn replies_reach_a_source_that_connected() {
    // The echo answers a feed; a second source hears what another reply sink sends.
    let shared = shared_tcp(AT).unwrap();
    let (mut line, tap) = (Line::builder("reply"), Tap::default());
    line.source("asked", stream_on(&shared).decode(datagrams()));
    line.sink("answer", stream_reply(&shared));
    line.connect("asked", "answer", Hop::depth(64));
    feed(&mut line, 200, 80, tcp_to(AT));
    line.source("in", tcp_from(AT).decode(datagrams()));
    let (report, seen) = run(&mut line, &tap, VirtualNet::new().driver().into());
    assert!(seen.is_empty(), "nobody asked for it");
    let answer = report
        .stages
        .iter()
        .find(|stage| stage.name == "answer")
        .unwrap();
    assert_eq!(answer.forwarded, 200);
    assert_eq!(report.ledger.sources["asked"].connected, 2);
    checked(report);
}

/// A client that asks without end from a time on, and sips its answers.
struct Hostile {
    from_ns: u64,
    connection: Option<StreamId>,
    began_ns: Option<u64>,
    sipped_ns: u64,
    /// The rest of a question that was written in part.
    rest: Vec<u8>,
    ended_after_ns: Arc<Mutex<Option<u64>>>,
}

/// What it takes at a time, and how often: each sip makes room for a few answers.
const SIP_BYTES: usize = 20_000;
const SIP_NS: u64 = 700_000_000;

/// How often the client beside it asks.
const ASKED: u64 = 2_000;

impl Egress for Hostile {
    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        let at = Endpoint::Tcp(AT.parse().unwrap());
        self.connection = Some(io.stream_connect(&StreamSpec::at(at))?);
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        match frame.envelope.flags.is_last() {
            true => Delivery::Sent,
            false => Delivery::Part,
        }
    }

    fn pending(&self) -> bool {
        self.connection.is_some()
    }

    fn housekeep(&mut self, now_ns: u64, io: &mut Driver) {
        let began_ns = *self.began_ns.get_or_insert(now_ns);
        let since_ns = now_ns - began_ns;
        let Some(id) = self.connection.filter(|_| since_ns >= self.from_ns) else {
            return;
        };
        if since_ns - self.sipped_ns >= SIP_NS {
            self.sipped_ns = since_ns;
            let mut buf = [0; SIP_BYTES];
            let _ = io.stream_read(id, &mut buf);
        }
        loop {
            if self.rest.is_empty() {
                self.rest = framed(&[b'z'; 900]);
            }
            match io.stream_write(id, &self.rest) {
                Ok(StreamWrite::Bytes(count)) => drop(self.rest.drain(..count)),
                Ok(StreamWrite::WouldBlock) => return,
                Ok(StreamWrite::Broken) | Err(_) => break,
            }
        }
        // Whatever still was on its way is read before the end is seen.
        let mut buf = [0; SIP_BYTES];
        while matches!(io.stream_read(id, &mut buf), Ok(StreamRead::Bytes(_))) {}
        let _ = io.stream_close(id);
        self.connection = None;
        *self.ended_after_ns.lock().unwrap() = Some(since_ns - self.from_ns);
    }
}

/// An echo that is asked 500 times a second for four seconds, beside a client that floods from a time
/// on. After how long it was disconnected, and the report.
fn beside_hostile(from_ns: u64) -> (Option<u64>, Report) {
    let ended_after_ns = Arc::default();
    let hostile = Hostile {
        from_ns,
        connection: None,
        began_ns: None,
        sipped_ns: 0,
        rest: Vec::new(),
        ended_after_ns: Arc::clone(&ended_after_ns),
    };
    let shared = shared_tcp(AT).unwrap();
    let mut line = Line::builder("slow");
    line.source("asked", stream_on(&shared).decode(datagrams()));
    line.sink("answer", stream_reply(&shared));
    line.connect("asked", "answer", Hop::depth(1024));
    let made = synthetic("BTCUSDT", 500.0).content(Content::Datagrams { bytes: 80 });
    line.source("feed", made.count(ASKED).decode(datagrams()));
    line.sink("out", tcp_to(AT));
    line.connect("feed", "out", Hop::depth(64));
    // Nothing but a place for the client to run at.
    let idle = synthetic("BTCUSDT", 1e3).content(Content::Datagrams { bytes: 8 });
    line.source("in", idle.count(1).decode(datagrams()));
    line.sink("hostile", hostile);
    line.connect("in", "hostile", Hop::depth(64));
    let line = line.build().unwrap_or_else(|problems| panic!("{problems}"));
    let inline = Inline::new(VirtualNet::new().driver().into()).stop_after_ns(5_000_000_000);
    let (report, _) = line.run_inline(inline, None).unwrap();
    let ended_after_ns = ended_after_ns.lock().unwrap().take();
    (ended_after_ns, report)
}

#[test]
fn a_client_that_sips_is_disconnected_and_the_others_are_answered() {
    // From the start; while the other asks; and so late that the line is told to end meanwhile.
    for from_ns in [0, 1_000_000_000, 4_900_000_000] {
        let (ended_after_ns, report) = beside_hostile(from_ns);
        let ended_ms = ended_after_ns.expect("it holds the line back for ever") / 1_000_000;
        // Its second, and that in which the source keeps what was shut down on one side.
        assert!(
            (1_000..2_300).contains(&ended_ms),
            "{from_ns}: {ended_ms} ms"
        );
        let answer = report.stages.iter().find(|stage| stage.name == "answer");
        let answer = answer.unwrap();
        let refused = counts(&answer.rejected);
        let stalled = refused.iter().find(|(why, _)| *why == "stalled");
        assert!(stalled.is_some_and(|&(_, count)| count > 0), "{refused:?}");
        let lost: u64 = refused.iter().map(|&(_, count)| count).sum();
        let source = &report.ledger.sources["asked"];
        assert_eq!(answer.forwarded + lost, source.ingested);
        assert!(
            source.ingested > ASKED && answer.forwarded >= ASKED,
            "{source:?}"
        );
        let out = report.stages.iter().find(|stage| stage.name == "out");
        assert_eq!(out.unwrap().forwarded, ASKED, "the other was never refused");
        let drain = report.drain.as_ref().unwrap();
        assert!(
            drain.complete && drain.elapsed_ns < drain.deadline_ns,
            "{drain:?}"
        );
        checked(report);
    }
}
