//! The whole line, inline on virtual time: from the exchange's messages to the texts of orders.

use std::collections::BTreeMap;

use hopline::base::limits::FRAGMENTS_MAX;
use hopline::base::{NoWhy, Reject};
use hopline::feed::market::{Left, Market};
use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
use hopline::feed::{Arrivals, Datagrams, Decoder, Symbols, Synthetic, SyntheticSpec};
use hopline::frame::{Frame, View};
use hopline::io::{Driver, VirtualNet};
use hopline::overload::WhenFull;
use hopline::stage::{Context, Out, Outcome, Port, Role, Stage};
use hopline::stage::{Decode, Decoded};
use hopline::stages::{
    self, Book, Encode, Fault, FaultSpec, Forward, KillSwitch, Lean, LeanSpec, Risk, RiskSpec, Top,
};
use hopline::topology::{Hop, Inline, Line, Params, Registry, Report, Value};

use crate::book::{left_of, spec};
use crate::tape::{Tape, Timed, Wire, keep, run};

/// Messages of a seeded feed.
fn synthetic(symbol: &str, seed: u64, count: usize) -> Vec<Timed> {
    let mut feed = Synthetic::new(&SyntheticSpec {
        seed,
        symbol: symbol.to_owned(),
        rate_per_s: 20_000.0,
        arrivals: Arrivals::Poisson,
        mix: Mix::default(),
    })
    .unwrap();
    let mut buffer = vec![0; SYNTHETIC_BYTES_MAX];
    (0..count)
        .map(|_| {
            let (at_ns, len) = feed.next(&mut buffer).unwrap();
            (at_ns, buffer[..len].to_vec())
        })
        .collect()
}

/// The texts that datagrams carry.
fn texts(frames: impl Iterator<Item = Datagrams>) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for frame in frames {
        match &frame {
            Datagrams::Head(head) => {
                texts.push(str::from_utf8(head.as_slice()).unwrap().to_owned())
            }
            Datagrams::Part(part) => {
                let text = texts.last_mut().expect("a head comes first");
                text.push_str(str::from_utf8(part.as_slice()).unwrap());
            }
        }
    }
    texts
}

/// Runs the whole line and answers its report, its orders and its log.
pub(crate) fn market(
    btc: Vec<Timed>,
    eth: Vec<Timed>,
    risk: RiskSpec,
) -> (Report, Vec<String>, Vec<Left>) {
    let (orders, got_orders) = keep::<Datagrams>();
    let (log, got_log) = keep::<Left>();
    let mut line = Line::builder("market");
    line.source("btc", Tape::new(btc, Wire::new("BTCUSDT", 0)));
    line.source("eth", Tape::new(eth, Wire::new("ETHUSDT", 1)));
    line.stage("book", || Book::new(&spec()));
    line.stage("signal", || Lean::new(LeanSpec::default()));
    line.stage("risk", move || Risk::new(risk, KillSwitch::default()));
    line.stage("encode", || Encode::new(spec().symbols));
    line.sink("orders", orders);
    line.sink("log", log);
    line.connect(["btc", "eth"], "book", Hop::depth(4096));
    line.connect("book", "signal", Hop::depth(64));
    line.connect("book.log", "log", Hop::depth(64));
    line.connect("signal", "risk", Hop::depth(64));
    line.connect("risk", "encode", Hop::depth(64));
    line.connect("encode", "orders", Hop::depth(64));
    let report = run(line.build().unwrap());
    (report, texts(got_orders.iter()), got_log.iter().collect())
}

/// What the log must say of these messages.
pub(crate) fn expected_log(symbol: &str, number: u16, messages: &[Timed]) -> Vec<Left> {
    let symbols = Symbols::numbered(&[(symbol, number)]).unwrap();
    let mut decoder = Decoder::new(symbols, Some(symbol)).unwrap();
    messages
        .iter()
        .map(|(_, text)| left_of(&decoder.decode(text).unwrap()))
        .collect()
}

#[test]
fn a_line_of_two_feeds_accounts_for_every_message_and_repeats_itself() {
    let feeds = || {
        (
            synthetic("BTCUSDT", 7, 6_000),
            synthetic("ETHUSDT", 8, 6_000),
        )
    };
    let (btc, eth) = feeds();
    let expected = [
        expected_log("BTCUSDT", 0, &btc),
        expected_log("ETHUSDT", 1, &eth),
    ];
    let (report, orders, log) = market(btc, eth, RiskSpec::default());
    assert!(
        report.is_good(),
        "{:?} {:?}",
        report.faults,
        report.ledger.breaches
    );
    for (symbol, expected) in expected.iter().enumerate() {
        let of_symbol = log.iter().filter(|left| usize::from(left.symbol) == symbol);
        assert!(
            of_symbol.eq(expected),
            "symbol {symbol}: another order or a loss"
        );
    }
    let stage = |name: &str| {
        report
            .stages
            .iter()
            .find(|stage| stage.name == name)
            .unwrap()
    };
    assert_eq!(stage("book").consumed, 12_000);
    assert_eq!(stage("book").forwarded, 12_000, "each one left by the log");
    assert!(!orders.is_empty());
    assert_eq!(stage("encode").forwarded, orders.len() as u64);
    let ids = orders.iter().map(|order| {
        let text = order.as_str();
        let id = text.split('|').next().unwrap().strip_prefix("11=").unwrap();
        id.parse::<u64>().unwrap()
    });
    assert!(ids.eq(1..=orders.len() as u64));

    let (btc, eth) = feeds();
    let (again, same_orders, same_log) = market(btc, eth, RiskSpec::default());
    assert_eq!((orders, log), (same_orders, same_log));
    assert_eq!(report.hops, again.hops);
    assert_eq!(report.stages, again.stages);
}

#[test]
fn virtual_time_passes_over_nothing_that_is_due() {
    let (tops, _tops) = keep::<Top>();
    let mut line = Line::builder("due");
    let feeds = [("BTCUSDT", 0), ("ETHUSDT", 1)];
    for (symbol, number) in feeds {
        let messages = synthetic(symbol, 5, 5_000);
        line.source(symbol, Tape::new(messages, Wire::new(symbol, number)));
    }
    line.stage("book", || Book::new(&spec()));
    line.sink("tops", tops);
    line.connect(["BTCUSDT", "ETHUSDT"], "book", Hop::depth(1024));
    line.connect("book", "tops", Hop::depth(64));
    let inline = Inline::new(Driver::from(VirtualNet::new().driver())).stop_after_ns(200_000_000);
    let (report, _) = line.build().unwrap().run_inline(inline, None).unwrap();
    for (name, source) in &report.ledger.sources {
        // 20,000 a second for 0.2 s.
        assert!(
            (3_800..4_200).contains(&source.received),
            "{name}: {}",
            source.received
        );
        assert!(
            source.late_ns_max < 50_000,
            "{name}: {} ns late",
            source.late_ns_max
        );
    }
}

#[test]
fn a_killed_line_trades_nothing_and_says_so() {
    let kill = RiskSpec {
        kill: true,
        ..RiskSpec::default()
    };
    let (btc, eth) = (
        synthetic("BTCUSDT", 7, 2_000),
        synthetic("ETHUSDT", 8, 2_000),
    );
    let (report, orders, _) = market(btc, eth, kill);
    assert!(orders.is_empty());
    let risk = report
        .stages
        .iter()
        .find(|stage| stage.name == "risk")
        .unwrap();
    assert!(risk.consumed > 0);
    assert_eq!(
        risk.rejected,
        BTreeMap::from([("killed".to_owned(), risk.consumed)])
    );
    assert!(report.is_good());
}

/// A feed whose messages are all due at once, a book, a fault and a sink, with that hop before the sink.
fn faulty(fault: FaultSpec, last: Hop) -> (Report, usize) {
    let (tops, got) = keep::<Top>();
    let mut messages = synthetic("BTCUSDT", 3, 1_000);
    messages.iter_mut().for_each(|(due_ns, _)| *due_ns = 0);
    let mut line = Line::builder("faulty");
    line.source("btc", Tape::new(messages, Wire::new("BTCUSDT", 0)));
    line.stage("book", || Book::new(&spec()));
    line.stage("fault", move || Fault::new(fault));
    line.sink("tops", tops);
    line.connect("btc", "book", Hop::depth(1024));
    line.connect("book", "fault", Hop::depth(64));
    line.connect("fault", "tops", last);
    let report = run(line.build().unwrap());
    (report, got.iter().count())
}

#[test]
fn planted_faults_are_in_the_report() {
    let hop = || Hop::depth(64);
    let (sound, frames) = faulty(FaultSpec::default(), hop());
    assert!(sound.is_good());
    assert!(frames > 300, "{frames}");

    let undeclared = FaultSpec {
        undeclared_every: 100,
        ..FaultSpec::default()
    };
    let (report, _) = faulty(undeclared, hop());
    let fault = report
        .stages
        .iter()
        .find(|stage| stage.name == "fault")
        .unwrap();
    assert_eq!(fault.absorbed["undeclared"], frames as u64 / 100);
    assert!(!report.ledger.closed && !report.is_good());

    let panics = FaultSpec {
        panic_at: 50,
        ..FaultSpec::default()
    };
    let (report, passed) = faulty(panics, hop());
    let fault = report
        .stages
        .iter()
        .find(|stage| stage.name == "fault")
        .unwrap();
    assert_eq!((fault.state, passed), ("failed", 49));
    assert_eq!(fault.rejected["panicked"], 1);
    assert!(
        report
            .faults
            .iter()
            .any(|line| line.contains("planted at frame 50"))
    );

    let slow = FaultSpec {
        work_ns: 50_000,
        ..FaultSpec::default()
    };
    let (report, _) = faulty(slow, hop());
    let hop = report
        .hops
        .iter()
        .find(|hop| hop.name == "book->fault")
        .unwrap();
    assert!(hop.service_ns.p50 >= 50_000, "{:?}", hop.service_ns);
    assert!(report.is_good());
}

#[test]
fn what_a_hop_sheds_is_in_its_ledger_and_not_undeclared() {
    let hop = Hop::depth(2).when_full(WhenFull::DropNewest);
    let (report, frames) = faulty(FaultSpec::default(), hop);
    let shed = report
        .hops
        .iter()
        .find(|hop| hop.name == "fault->tops")
        .unwrap();
    assert!(
        shed.shed["full"] > 0,
        "nothing was shed, so nothing was shown"
    );
    assert_eq!(shed.delivered, frames as u64);
    let fault = report
        .stages
        .iter()
        .find(|stage| stage.name == "fault")
        .unwrap();
    assert_eq!(fault.forwarded, fault.consumed);
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
}

/// A fragment of a test's message.
#[hopline::frame(schema = 901, version = 1, name = "piece")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    message: u32,
    at: u16,
    of: u16,
}

/// Turns four bytes of a message's number and two of its length into that many pieces.
struct Pieces;

impl Decode for Pieces {
    fn ports(&self) -> &'static [Port] {
        const { &[Port::new::<Piece>("out")] }
    }

    fn max_emit(&self) -> usize {
        FRAGMENTS_MAX
    }

    fn decode(&mut self, bytes: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let message = u32::from_le_bytes(bytes[..4].try_into().unwrap());
        let of = u16::from_le_bytes(bytes[4..].try_into().unwrap());
        let mut frames = cx.message(Out::<Piece>::at(0), Piece::SCHEMA, usize::from(of));
        for at in 0..of {
            frames.push(&Piece { message, at, of });
        }
        frames.send();
        Ok(Decoded::default())
    }
}

#[test]
fn messages_of_a_fan_in_do_not_mix_and_are_passed_on_whole() {
    let lengths = [1u16, 2, 31, 32, 33, 64, 100, FRAGMENTS_MAX as u16];
    let feed = |from: u32| -> Vec<Timed> {
        (0..200u32)
            .map(|n| {
                let of = lengths[(n + from) as usize % lengths.len()];
                let mut bytes = (from + n).to_le_bytes().to_vec();
                bytes.extend(of.to_le_bytes());
                (0, bytes)
            })
            .collect()
    };
    let (sink, got) = keep::<Piece>();
    let mut line = Line::builder("pieces");
    line.source("a", Tape::new(feed(1_000), Pieces));
    line.source("b", Tape::new(feed(2_003), Pieces));
    line.stage("forward", Forward::<Piece>::new);
    line.sink("sink", sink);
    line.connect(["a", "b"], "forward", Hop::depth(512));
    line.connect("forward", "sink", Hop::depth(512));
    let report = run(line.build().unwrap());
    assert!(
        report.is_good(),
        "{:?} {:?}",
        report.faults,
        report.ledger.breaches
    );
    let forward = report
        .stages
        .iter()
        .find(|stage| stage.name == "forward")
        .unwrap();
    assert_eq!((forward.consumed, forward.forwarded), (400, 400));

    let pieces: Vec<Piece> = got.iter().collect();
    let mut messages = Vec::new();
    let mut at = 0;
    while let Some(first) = pieces.get(at) {
        for (n, piece) in pieces[at..at + usize::from(first.of)].iter().enumerate() {
            assert_eq!((piece.message, usize::from(piece.at)), (first.message, n));
        }
        at += usize::from(first.of);
        messages.push(first.message);
    }
    for from in [1_000, 2_003] {
        let of_feed = messages.iter().filter(|n| (from..from + 200).contains(*n));
        assert!(
            of_feed.copied().eq(from..from + 200),
            "order is kept for each input"
        );
    }
}

#[test]
fn a_set_of_kinds_is_passed_on_unchanged() {
    let messages = synthetic("BTCUSDT", 11, 2_000);
    let expected = expected_log("BTCUSDT", 0, &messages);
    let (log, got) = keep::<Left>();
    let (tops, _tops) = keep::<Top>();
    let mut line = Line::builder("set");
    line.source("btc", Tape::new(messages, Wire::new("BTCUSDT", 0)));
    line.stage("forward", Forward::<Market>::new);
    line.stage("book", || Book::new(&spec()));
    line.sink("tops", tops);
    line.sink("log", log);
    line.connect("btc", "forward", Hop::depth(512));
    line.connect("forward", "book", Hop::depth(512));
    line.connect("book", "tops", Hop::depth(64));
    line.connect("book.log", "log", Hop::depth(64));
    let report = run(line.build().unwrap());
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert!(got.iter().eq(expected));
    let book = report
        .stages
        .iter()
        .find(|stage| stage.name == "book")
        .unwrap();
    assert!(book.rejected.is_empty());
    let tops = report
        .hops
        .iter()
        .find(|hop| hop.name == "book->tops")
        .unwrap();
    assert!(tops.delivered > 500);
}

/// Emits for the first fragment of each message and says nothing of the others.
struct OnFirst;

impl Stage for OnFirst {
    type In = Piece;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Piece>("out")];

    fn on_frame(&mut self, piece: View<'_, Piece>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if cx.flags().is_first() && piece.message().is_multiple_of(2) {
            cx.emit(Out::<Piece>::at(0), &piece.to_owned());
        }
        Outcome::done()
    }
}

#[test]
fn an_emission_counts_for_the_message_of_its_fragment() {
    let feed = |message: u32| -> Vec<Timed> {
        let mut bytes = message.to_le_bytes().to_vec();
        bytes.extend(100u16.to_le_bytes());
        vec![(0, bytes)]
    };
    let (sink, got) = keep::<Piece>();
    let mut line = Line::builder("first");
    line.source("even", Tape::new(feed(2), Pieces));
    line.source("odd", Tape::new(feed(3), Pieces));
    line.stage("first", || OnFirst);
    line.sink("sink", sink);
    line.connect(["even", "odd"], "first", Hop::depth(512));
    line.connect("first", "sink", Hop::depth(8));
    let report = run(line.build().unwrap());
    let stage = report
        .stages
        .iter()
        .find(|stage| stage.name == "first")
        .unwrap();
    assert_eq!(
        (stage.forwarded, stage.undeclared(), got.iter().count()),
        (1, 1, 1)
    );
}

fn params(settings: &[(&str, Value)]) -> Params {
    let mut params = Params::new(None);
    for (key, value) in settings {
        params.set(key, value.clone(), None);
    }
    params
}

#[test]
fn every_kind_is_made_by_name_and_says_what_is_wrong_with_its_settings() {
    let text = |text: &str| Value::Text(text.to_owned());
    let registry = stages::register(Registry::new());
    let right: [(&str, &[(&str, Value)]); 7] = [
        (
            "book",
            &[
                ("levels", Value::Int(20)),
                ("symbols", Value::List(vec![text("ETHUSDT")])),
            ],
        ),
        (
            "signal",
            &[
                ("enter_percent", Value::Int(80)),
                ("leave_percent", Value::Int(10)),
                ("agree_percent", Value::Int(0)),
                ("spread_min", text("0.1")),
                ("qty", text("0.002")),
            ],
        ),
        (
            "risk",
            &[
                ("position_max", text("2")),
                ("order_max", text("0.5")),
                ("rate", text("10/s")),
                ("burst", Value::Int(1)),
                ("kill", Value::Bool(true)),
            ],
        ),
        ("encode", &[("symbols", text("BTCUSDT"))]),
        (
            "fault",
            &[
                ("undeclared_every", Value::Int(3)),
                ("panic_at", Value::Int(0)),
                ("hang_at", Value::Int(0)),
                ("work", text("20us")),
            ],
        ),
        ("book", &[]),
        ("forward", &[]),
    ];
    for (kind, settings) in right {
        let made = registry.make(kind, Role::Stage, &mut params(settings));
        assert!(made.is_ok(), "{kind}");
    }
    let wrong: [(&str, &str, Value); 7] = [
        ("book", "levels", Value::Int(0)),
        ("book", "symbols", text("btcusdt")),
        ("book", "level", Value::Int(9)),
        ("signal", "leave_percent", Value::Int(95)),
        ("signal", "qty", text("-1")),
        ("risk", "order_max", text("1e3")),
        ("fault", "work", Value::Int(20)),
    ];
    for (kind, key, value) in wrong {
        let made = registry.make(kind, Role::Stage, &mut params(&[(key, value)]));
        let Err(problems) = made.map(|_| ()) else {
            panic!("{kind}: {key} was taken");
        };
        assert!(problems.to_string().contains(key), "{problems}");
    }
}
