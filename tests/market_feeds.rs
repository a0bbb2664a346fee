//! Sequenced market feeds on a line: two lossy lines of datagrams to frames and to books, the whole of the ledger, and
//! what happens when there is no room, a session changes, a line stops.

#![allow(
    clippy::disallowed_types,
    reason = "a test looks at what a sink saw after the run"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hopline::adapter::{blackhole, deep, iextp, itch, moldudp64, register, udp};
use hopline::feed::books::levels::ByLevel;
use hopline::feed::books::orders::{ByOrder, OrderBooks, OrderBooksSpec};
use hopline::feed::moldudp64::Writer;
use hopline::feed::packets::Transport;
use hopline::feed::sequenced::State;
use hopline::feed::simulated::{Feed, Levels, Lines, LinesSpec, Orders, Restart, Saying};
use hopline::feed::{Arrivals, DeepMessage, ItchMessage, Schedule, itch as itch_feed};
use hopline::frame::View;
use hopline::io::{Driver, FaultPlan, Faulty, IoError, VirtualNet};
use hopline::overload::{Split, WhenFull};
use hopline::stage::{Delivery, Egress, Leaving, Role};
use hopline::stages::{FeedBook, FeedBookSpec};
use hopline::topology::{Builder, Hop, Inline, Line, Params, Registry, Report, Value};

const A: &str = "127.0.0.1:26700";
const B: &str = "127.0.0.1:26701";

/// When packets begin to arrive: a millisecond after the line's start.
const START_NS: u64 = 1_001_000_000;

/// A frame as a sink saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    sequence: u64,
    lost: u32,
    number: u16,
    state: State,
    begins: bool,
    line: u8,
}

/// A sink that keeps what frames of ITCH say.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Vec<Seen>>>);

impl Keep {
    fn seen(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }
}

impl Egress for Keep {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        let view = View::<ItchMessage>::read(frame.payload).unwrap();
        assert!(view.message().is_ok());
        self.0.lock().unwrap().push(Seen {
            sequence: view.sequence(),
            lost: view.lost(),
            number: view.number(),
            state: view.state(),
            begins: view.begins(),
            line: view.line(),
        });
        Delivery::Sent
    }
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn arrives(net: &VirtualNet, line: usize, bytes: &[u8], at_ns: u64) {
    let to = addr([A, B][line]);
    assert!(net.inject(addr("127.0.0.1:1"), to, bytes, START_NS + at_ns));
}

/// A packet of order deletes, which any books may get.
fn packet(session: u8, first: u64, messages: usize) -> Vec<u8> {
    let delete = b"D\x00\x07\x00\x00\x1f\x1a\xce\xd8\x50\x00\x00\x00\x00\x00\x00\x00\x00\x2a";
    let all = vec![&delete[..]; messages];
    packet_of(session, first, &all)
}

fn packet_of(session: u8, first: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = vec![0; 60_000];
    let mut writer = Writer::new(&mut buffer, [session; 10], first).unwrap();
    assert!(messages.iter().all(|message| writer.push(message)));
    let len = writer.finish();
    buffer.truncate(len);
    buffer
}

fn run(line: &mut Builder, driver: Driver) -> Report {
    let line = line.build().unwrap_or_else(|problems| panic!("{problems}"));
    let inline = Inline::new(driver).stop_after_ns(2_000_000_000);
    let (report, _) = line.run_inline(inline, None).unwrap();
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    report
}

/// Two lines into a sink that keeps the frames.
fn two_lines(net: &VirtualNet) -> (Report, Vec<Seen>) {
    let keep = Keep::default();
    let mut line = Line::builder("feed");
    let feed = moldudp64(udp(A)).line_b(udp(B)).stale_ns(300_000_000);
    line.source("itch", feed.decode(itch()));
    line.sink("end", keep.clone());
    line.connect("itch", "end", Hop::depth(64));
    let report = run(&mut line, net.driver().into());
    (report, keep.seen())
}

/// Puts what two lossy lines carry on the net: the sequences that each brought, and all messages in order.
fn lossy(
    net: &VirtualNet,
    spec: &LinesSpec,
    saying: Saying,
    rate: f64,
) -> ([BTreeSet<u64>; 2], Vec<Vec<u8>>) {
    let schedule = Schedule::new(rate, Arrivals::Constant, 1).unwrap();
    let mut lines = Lines::new(spec, saying, schedule);
    let transport = lines.transport();
    let mut brought = [BTreeSet::new(), BTreeSet::new()];
    let mut messages = std::collections::BTreeMap::new();
    while let Some(sent) = lines.next() {
        let parsed = transport.parse(sent.bytes).unwrap();
        for (sequence, message) in (parsed.first..).zip(parsed.messages) {
            brought[sent.line].insert(sequence);
            messages.insert(sequence, message.to_vec());
        }
        arrives(net, sent.line, sent.bytes, sent.at_ns);
    }
    (brought, messages.into_values().collect())
}

fn lost_of(report: &Report, source: &str) -> BTreeSet<u64> {
    let feed = report.ledger.sources[source].sequenced.as_ref().unwrap();
    assert_eq!(feed.lost_ranges_more, 0);
    let ranges = feed.lost_ranges.iter();
    let lost: BTreeSet<u64> = ranges.flat_map(|range| range.first..=range.last).collect();
    assert_eq!(lost.len() as u64, feed.lost);
    lost
}

const LOSSY: LinesSpec = LinesSpec {
    seed: 5,
    lines: 2,
    messages: 40_000,
    loss: 0.05,
    delayed: 0.0,
    delay_ns: 0,
    repeated: 0.0,
    skew_ns: 10_000,
    heartbeat_ns: 1_000_000_000,
    restart: None,
};

#[test]
fn what_both_lines_lost_is_named_and_nothing_else_is_missing() {
    let net = VirtualNet::new();
    let orders = Saying::Orders(Orders::new(1, 50, 1_000));
    let ([a, b], messages) = lossy(&net, &LOSSY, orders, 500_000.0);
    let union: BTreeSet<u64> = a.union(&b).copied().collect();
    let high = *union.last().unwrap();
    let both_lost: BTreeSet<u64> = (1..=high)
        .filter(|sequence| !union.contains(sequence))
        .collect();
    assert!(both_lost.len() > 20, "{} lost", both_lost.len());
    let (report, seen) = two_lines(&net);
    assert!(
        seen.iter()
            .map(|one| one.sequence)
            .eq(union.iter().copied())
    );
    let lost = lost_of(&report, "itch");
    assert!(both_lost.is_subset(&lost));
    // Behind what arrived, a heartbeat or the end of the session may have told of more.
    assert!(lost.difference(&both_lost).all(|sequence| *sequence > high));
    // The frames themselves say it: nobody has to look at the report.
    let mut expected = 1;
    for (at, one) in seen.iter().enumerate() {
        assert_eq!(one.sequence, expected + u64::from(one.lost));
        assert_eq!((one.number as usize, one.begins), (at & 0xffff, at == 0));
        assert!(one.lost == 0 || one.state != State::Live);
        expected = one.sequence + 1;
    }
    let source = &report.ledger.sources["itch"];
    let (line_a, line_b) = (&source.feed_lines["a"], &source.feed_lines["b"]);
    assert_eq!(line_a.messages, a.len() as u64);
    assert_eq!(source.duplicates, a.intersection(&b).count() as u64);
    assert_eq!(source.received, (a.len() + b.len()) as u64);
    assert_eq!(source.ingested, union.len() as u64);
    assert_eq!(line_a.first + line_b.first, union.len() as u64);
    let missed_by_a = (1..=high).filter(|sequence| !a.contains(sequence)).count() as u64;
    assert!(line_a.missed >= missed_by_a && line_b.missed > 0);
    assert_eq!(messages.len(), union.len());
}

#[test]
fn the_same_packets_give_the_same_books_whatever_their_times() {
    let good = LinesSpec {
        loss: 0.0,
        delayed: 0.05,
        delay_ns: 400_000,
        ..LOSSY
    };
    let spec = OrderBooksSpec {
        symbols: 64,
        depth: 16,
        orders: 4_096,
        seed: 1,
    };
    let hashes = [100_000.0, 2_000_000.0].map(|rate| {
        let net = VirtualNet::new();
        let orders = Saying::Orders(Orders::new(1, 50, 1_000));
        let (_, messages) = lossy(&net, &good, orders, rate);
        let mut books = OrderBooks::new(&spec).unwrap();
        for message in &messages {
            let _counted = books.apply(&itch_feed::decode(message).unwrap());
        }
        assert!(books.open() > 100);
        let mut line = Line::builder("books");
        let feed = moldudp64(udp(A)).line_b(udp(B));
        line.source("itch", feed.decode(itch()));
        line.stage("book", move || {
            let common = FeedBookSpec {
                symbols: spec.symbols,
                levels: 3,
                part: false,
                heals_after: 0,
            };
            FeedBook::over(OrderBooks::new(&spec).unwrap(), &common)
        });
        line.sink("end", blackhole());
        line.connect("itch", "book", Hop::depth(256));
        line.connect("book", "end", Hop::depth(256));
        let report = run(&mut line, net.driver().into());
        let book = report
            .stages
            .iter()
            .find(|stage| stage.name == "book")
            .unwrap();
        assert!(book.rejected.is_empty(), "{:?}", book.rejected);
        assert!(book.emitted > 1_000);
        let hash = book.state_hash.clone().unwrap();
        assert_eq!(hash, format!("{:016x}", books.state_hash()));
        hash
    });
    assert_eq!(hashes[0], hashes[1]);
}

#[test]
fn price_levels_come_by_the_other_transport() {
    let net = VirtualNet::new();
    let levels = Saying::Levels(Levels::new(Feed::Deep, 3, 40));
    let ([a, b], _) = lossy(&net, &LOSSY, levels, 500_000.0);
    let mut line = Line::builder("levels");
    let feed = iextp(udp(A)).line_b(udp(B)).heals_after(2_000);
    line.source("deep", feed.decode(deep()));
    let registry = hopline::stages::register(Registry::new());
    let mut params = Params::new(None);
    params.set("most_symbols", Value::Int(64), None);
    assert!(
        registry
            .make("level_book", Role::Stage, &mut params)
            .is_ok()
    );
    line.stage("book", || {
        let mut params = Params::new(None);
        params.set("most_symbols", Value::Int(64), None);
        params.set("depth", Value::Int(16), None);
        FeedBook::<ByLevel>::from_params(&mut params).unwrap()
    });
    line.sink("end", blackhole());
    line.connect("deep", "book", Hop::depth(256));
    line.connect("book", "end", Hop::depth(256));
    let report = run(&mut line, net.driver().into());
    let source = &report.ledger.sources["deep"];
    assert_eq!(source.ingested, a.union(&b).count() as u64);
    let book = report
        .stages
        .iter()
        .find(|stage| stage.name == "book")
        .unwrap();
    assert_eq!(book.consumed, source.ingested);
    assert!(book.emitted > 5_000 && book.absorbed["no_book"] > 0);
}

/// A sink that keeps the symbols of DEEP's messages, each once.
#[derive(Clone, Default)]
struct Symbols(Arc<Mutex<BTreeSet<u64>>>);

impl Egress for Symbols {
    fn open(&mut self, _io: &mut Driver) -> Result<(), IoError> {
        Ok(())
    }

    fn on_frame(&mut self, frame: Leaving<'_>, _io: &mut Driver) -> Delivery {
        let view = View::<DeepMessage>::read(frame.payload).unwrap();
        let key = view.to_owned().symbol_key();
        self.0.lock().unwrap().insert(key);
        Delivery::Sent
    }
}

#[test]
fn price_levels_are_split_by_symbol() {
    let net = VirtualNet::new();
    let levels = Saying::Levels(Levels::new(Feed::Deep, 3, 40));
    lossy(&net, &LOSSY, levels, 500_000.0);
    let (left, right) = (Symbols::default(), Symbols::default());
    let mut line = Line::builder("levels");
    line.source("deep", iextp(udp(A)).line_b(udp(B)).decode(deep()));
    line.sink("left", left.clone());
    line.sink("right", right.clone());
    line.connect(
        "deep",
        ["left", "right"],
        Hop::depth(256).split(Split::ByKey),
    );
    run(&mut line, net.driver().into());
    let (left, right) = (left.0.lock().unwrap(), right.0.lock().unwrap());
    assert!(left.is_disjoint(&right) && left.len() > 5 && right.len() > 5);
    // Forty symbols, and the key of what is about none of them.
    assert_eq!(left.len() + right.len(), 41);
}

#[test]
fn what_has_no_room_waits_and_leaves_in_order() {
    let net = VirtualNet::new();
    // The second packet is late on both lines, and 5,000 messages wait for it: far more than the hop holds.
    arrives(&net, 0, &packet(b'1', 1, 10), 0);
    for at in 0..100 {
        arrives(&net, 0, &packet(b'1', 21 + at * 50, 50), 10_000 + at);
    }
    arrives(&net, 1, &packet(b'1', 11, 10), 900_000);
    arrives(&net, 1, &packet(b'1', 5_021, 10), 900_001);
    let keep = Keep::default();
    let mut line = Line::builder("held");
    line.source("itch", moldudp64(udp(A)).line_b(udp(B)).decode(itch()));
    line.sink("end", keep.clone());
    line.connect("itch", "end", Hop::depth(8));
    let driver = Faulty::new(net.driver().into(), FaultPlan::default());
    let report = run(&mut line, driver.into());
    let seen = keep.seen();
    assert!(seen.iter().map(|one| one.sequence).eq(1..=5_030));
    let source = &report.ledger.sources["itch"];
    assert_eq!((source.ingested, source.duplicates), (5_030, 0));
    let feed = source.sequenced.as_ref().unwrap();
    assert_eq!((feed.lost, feed.held, feed.held_max), (0, 0, 5_000));
    assert!(seen[10].state == State::Gap && seen[5_029].state == State::Live);
    assert_eq!(report.hops[0].shed_once(), 0);
}

#[test]
fn who_is_held_back_gives_nothing_up_that_waits_in_a_socket() {
    let net = VirtualNet::new();
    // A hop of four and packets of 400: each holds the source back for longer than the deadline of 1 us. Line A
    // lacks every other one, which lies in the socket of B all the while.
    for at in 0..40_u64 {
        let bytes = packet(b'1', 1 + at * 400, 400);
        arrives(&net, (at % 2) as usize, &bytes, 0);
    }
    let keep = Keep::default();
    let mut line = Line::builder("late");
    let feed = moldudp64(udp(A))
        .line_b(udp(B))
        .deadline_ns(1_000)
        .window(16_384, 32);
    line.source("itch", feed.decode(itch()));
    line.sink("end", keep.clone());
    line.connect("itch", "end", Hop::depth(4));
    let report = run(&mut line, net.driver().into());
    assert!(keep.seen().iter().map(|one| one.sequence).eq(1..=16_000));
    assert_eq!(lost_of(&report, "itch").len(), 0);
}

#[test]
fn a_session_that_changes_in_mid_gap_gives_up_what_it_lacked() {
    let net = VirtualNet::new();
    arrives(&net, 0, &packet(b'1', 1, 2), 0);
    arrives(&net, 0, &packet(b'1', 5, 2), 1_000);
    arrives(&net, 1, &packet(b'2', 1, 3), 2_000);
    // The other line is behind: these are of a session that is over.
    arrives(&net, 1, &packet(b'1', 3, 1), 3_000);
    arrives(&net, 0, &packet(b'2', 4, 1), 4_000);
    let (report, seen) = two_lines(&net);
    let place: Vec<(u64, u32, bool)> = seen
        .iter()
        .map(|one| (one.sequence, one.lost, one.begins))
        .collect();
    assert_eq!(
        place,
        [
            (1, 0, true),
            (2, 0, false),
            (5, 2, false),
            (6, 0, false),
            (1, 0, true),
            (2, 0, false),
            (3, 0, false),
            (4, 0, false),
        ]
    );
    let source = &report.ledger.sources["itch"];
    let feed = source.sequenced.as_ref().unwrap();
    let range = &feed.lost_ranges[0];
    assert_eq!(
        (range.first, range.last, range.why),
        (3, 4, "session_changed")
    );
    assert_eq!(range.session, "1111111111");
    assert_eq!((feed.sessions, feed.lost_ranges.len()), (2, 1));
    assert_eq!(source.rejected["out_of_turn"], 1);
    assert_eq!(source.feed_lines["b"].straggler, 1);
}

#[test]
fn lines_that_stop_make_the_feed_stale_and_the_next_frame_says_so() {
    let net = VirtualNet::new();
    arrives(&net, 0, &packet(b'1', 1, 1), 0);
    arrives(&net, 1, &packet(b'1', 2, 1), 100_000_000);
    // Line A says nothing any more, which is no matter while B does; then B is silent too.
    arrives(&net, 1, &packet(b'1', 3, 1), 350_000_000);
    arrives(&net, 1, &packet(b'1', 4, 2), 900_000_000);
    let (report, seen) = two_lines(&net);
    let states: Vec<State> = seen.iter().map(|one| one.state).collect();
    let (stale, live) = (State::Stale, State::Live);
    assert_eq!(states, [stale, live, live, stale, live]);
    let feed = report.ledger.sources["itch"].sequenced.as_ref().unwrap();
    // Once more behind the last one.
    assert_eq!((feed.stale, feed.state), (2, "stale"));
}

#[test]
fn each_refusal_has_its_reason_and_the_feed_goes_on() {
    let net = VirtualNet::new();
    arrives(&net, 0, &packet(b'1', 1, 1), 0);
    arrives(&net, 0, b"short", 1_000);
    let mut cut = packet(b'1', 2, 2);
    cut.pop();
    arrives(&net, 0, &cut, 2_000);
    arrives(&net, 0, &[&packet(b'1', 2, 1)[..], b"x"].concat(), 3_000);
    arrives(&net, 0, &packet(b'1', 0, 1), 4_000);
    arrives(
        &net,
        0,
        &packet_of(b'1', 2, &[b"", b"?", b"D", &[b'D'; 30]]),
        5_000,
    );
    arrives(&net, 1, &packet(b'1', 2, 1), 6_000);
    // A gap that the deadline of 2 ms ends, and what fills it when it is over.
    arrives(&net, 0, &packet(b'1', 8, 1), 7_000);
    arrives(&net, 1, &packet(b'1', 6, 3), 50_000_000);
    // A message before its turn that is longer than what is held.
    arrives(&net, 0, &packet_of(b'1', 10, &[&[b'D'; 300]]), 60_000_000);
    arrives(&net, 0, &packet(b'1', 9, 1), 61_000_000);
    let (report, seen) = two_lines(&net);
    let sequences: Vec<u64> = seen.iter().map(|one| one.sequence).collect();
    assert_eq!(sequences, [1, 8, 9]);
    // 6 and 7 were lost; the frames of 2 to 5 were none, and what they would have said is not lost with them.
    assert_eq!(
        (seen[1].lost, seen[1].number, seen[1].state),
        (2, 1, State::Gap)
    );
    let source = &report.ledger.sources["itch"];
    let rejected = &source.rejected;
    let count = |why: &str| rejected.get(why).copied().unwrap_or(0);
    // Of packets: two cut off, one with bytes behind; of messages: one cut off, one too long, two that were.
    assert_eq!((count("truncated"), count("bad_count")), (3, 1));
    assert_eq!((count("bad_sequence"), count("empty")), (1, 1));
    assert_eq!((count("unknown_kind"), count("too_long")), (1, 2));
    assert_eq!(count("out_of_turn"), 2);
    assert_eq!(source.duplicates, 2);
    let line_a = &source.feed_lines["a"];
    assert_eq!(line_a.rejected["header_cut"], 1);
    assert_eq!(line_a.rejected["block_cut"], 1);
    assert_eq!(line_a.rejected["count_too_low"], 1);
    assert_eq!((line_a.unheld, source.feed_lines["b"].late), (1, 2));
}

#[test]
fn what_a_hop_sheds_is_seen_by_the_frame_behind_it() {
    let net = VirtualNet::new();
    arrives(&net, 0, &packet(b'1', 1, 100), 0);
    arrives(&net, 0, &packet(b'1', 101, 1), 1_000_000);
    let keep = Keep::default();
    let mut line = Line::builder("shed");
    line.source("itch", moldudp64(udp(A)).decode(itch()));
    line.sink("end", keep.clone());
    line.connect("itch", "end", Hop::depth(4).when_full(WhenFull::DropNewest));
    let report = run(&mut line, net.driver().into());
    let source = &report.ledger.sources["itch"];
    assert!(source.shed > 90, "{} shed", source.shed);
    assert_eq!(source.ingested + source.shed, 101);
    let seen = keep.seen();
    let last = seen.last().unwrap();
    assert_eq!((last.sequence, last.number), (101, 100));
}

#[test]
fn what_the_kernel_drops_is_counted_by_line() {
    let net = VirtualNet::new();
    for at in 0..3_000_u64 {
        arrives(&net, 0, &packet(b'1', 1 + at, 1), 0);
    }
    let (report, seen) = two_lines(&net);
    let source = &report.ledger.sources["itch"];
    let dropped = source.feed_lines["a"].kernel_dropped;
    assert!(dropped > 0);
    assert_eq!(
        (source.kernel_dropped, source.feed_lines["b"].kernel_dropped),
        (dropped, 0)
    );
    assert_eq!(source.feed_lines["a"].packets + dropped, 3_000);
    assert_eq!(seen.len() as u64, source.ingested);
}

#[test]
fn restarts_empty_the_books_and_make_them_whole() {
    let spec = LinesSpec {
        restart: Some((10_000, Restart::Sequence)),
        loss: 0.0,
        ..LOSSY
    };
    let net = VirtualNet::new();
    let orders = Saying::Orders(Orders::new(1, 50, 1_000));
    lossy(&net, &spec, orders, 200_000.0);
    let mut line = Line::builder("restarts");
    line.source("itch", moldudp64(udp(A)).line_b(udp(B)).decode(itch()));
    line.stage("book", || {
        let mut params = Params::new(None);
        for (key, value) in [("most_symbols", 64), ("depth", 16), ("most_orders", 4_096)] {
            params.set(key, Value::Int(value), None);
        }
        FeedBook::<ByOrder>::from_params(&mut params).unwrap()
    });
    line.sink("end", blackhole());
    line.connect("itch", "book", Hop::depth(256));
    line.connect("book", "end", Hop::depth(256));
    let report = run(&mut line, net.driver().into());
    let feed = report.ledger.sources["itch"].sequenced.as_ref().unwrap();
    assert_eq!((feed.restarts, feed.lost), (3, 0));
    let book = report
        .stages
        .iter()
        .find(|stage| stage.name == "book")
        .unwrap();
    assert!(book.rejected.is_empty(), "{:?}", book.rejected);
}

#[test]
fn a_wrong_description_says_what_would_be_right() {
    let registry = register(Registry::new());
    let text = |text: &str| Value::Text(text.to_owned());
    let said = |kind: &str, settings: &[(&str, Value)]| {
        let mut params = Params::new(None);
        params.set("bind", text(A), None);
        params.set("decode", text("itch"), None);
        for (key, value) in settings {
            params.set(key, value.clone(), None);
        }
        match registry.make(kind, Role::Source, &mut params) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        }
    };
    assert_eq!(said("moldudp64", &[("bind_b", text(B))]), "");
    for (kind, settings, words) in [
        ("moldudp64", vec![("bind_b", text(A))], "the first line"),
        (
            "moldudp64",
            vec![("bind_b", text("nowhere"))],
            "\"bind_b\" = \"nowhere\"",
        ),
        ("moldudp64", vec![("join_b", text("239.1.1.1"))], "bind_b"),
        ("moldudp64", vec![("window", Value::Int(100))], "write 128"),
        ("moldudp64", vec![("window", Value::Int(1))], "64"),
        (
            "moldudp64",
            vec![("begin_at", text("two"))],
            "\"begin_at\" does not know",
        ),
        ("moldudp64", vec![("stale", text("1us"))], "stale"),
        ("moldudp64", vec![("decode", text("deep"))], "iextp"),
        (
            "moldudp64",
            vec![("decode", text("datagram"))],
            "place and state",
        ),
        ("moldudp64", vec![("channel", Value::Int(1))], "channel"),
        ("moldudp64", vec![("share", text("x"))], "share"),
        ("iextp", vec![], "decode = \"deep\""),
    ] {
        let problem = said(kind, &settings);
        assert!(problem.contains(words), "{settings:?}: {problem}");
    }
}

#[test]
fn a_deep_frame_is_its_message() {
    let levels = Saying::Levels(Levels::new(Feed::Deep, 3, 4));
    let schedule = Schedule::new(1e6, Arrivals::Constant, 1).unwrap();
    let mut lines = Lines::new(&LOSSY, levels, schedule);
    let sent = lines.next().unwrap();
    let transport = Transport::IexTp {
        protocol: hopline::feed::deep::PROTOCOL,
        channel: 1,
    };
    let parsed = transport.parse(sent.bytes).unwrap();
    let mut messages = parsed.messages;
    let first = messages.next().unwrap();
    let delivery = hopline::feed::sequenced::Delivery {
        session: parsed.session,
        era: 1,
        sequence: parsed.first,
        line: 0,
        state: State::Live,
        begins: false,
        lost: 0,
        lost_earlier: 0,
        received_ns: 0,
        bytes: first,
    };
    let frame = DeepMessage::of(&delivery, 0).unwrap();
    assert_eq!(&frame.bytes[..usize::from(frame.length)], delivery.bytes);
}
