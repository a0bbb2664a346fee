//! Hops recorded and replayed, inline on virtual time and on threads.

use hopline::adapter::{Binance, blackhole, capture, captured, synthetic};
use hopline::feed::Symbols;
use hopline::feed::market::Market;
use hopline::host::Pin;
use hopline::io::{Driver, FaultPlan, Faulty, VirtualNet};
use hopline::overload::WhenFull;
use hopline::stages::{Book, BookSpec};
use hopline::topology::{
    Builder, Hop, Inline, Line, Placement, Record, RecordReport, Report, Stop,
};
use hopline::wait::Strategy;

use crate::file::read_any;
use crate::numbers::{Collect, Counting, Number};

fn book() -> Book {
    Book::new(&BookSpec {
        levels: 50,
        symbols: Symbols::new(&["BTCUSDT"]).unwrap(),
        takes_ns: 0,
    })
}

/// A made-up feed into a book.
fn market(messages: u64, hop: Hop) -> Builder {
    let mut line = Line::builder("market");
    let feed = synthetic("BTCUSDT", 50_000.0).seed(7).count(messages);
    line.source("btc", feed.decode(Binance::new(&["BTCUSDT"])));
    line.stage("book", book);
    line.sink("end", blackhole());
    line.connect("btc", "book", hop);
    line.connect("book", "end", Hop::depth(1024));
    line
}

/// The same from a capture.
fn again(file: &str, speed: Option<f64>, hop: Hop) -> Builder {
    let mut line = Line::builder("again");
    line.source(
        "btc",
        capture(file).speed(speed).decode(captured::<Market>()),
    );
    line.stage("book", book);
    line.sink("end", blackhole());
    line.connect("btc", "book", hop);
    line.connect("book", "end", Hop::depth(1024));
    line
}

fn inline(line: &mut Builder, net: &VirtualNet) -> Report {
    let inline = Inline::new(net.driver().into());
    let (report, _) = line.build().unwrap().run_inline(inline, None).unwrap();
    assert!(report.is_good(), "{:?} {:?}", report.faults, report.ledger);
    report
}

fn state_hash(report: &Report) -> &str {
    let book = report.stages.iter().find(|stage| stage.name == "book");
    book.unwrap().state_hash.as_deref().expect("a book has one")
}

fn hop(report: &Report) -> &hopline::budget::report::HopReport {
    &report.hops[0]
}

#[test]
fn a_recorded_hop_replays_to_the_same_content_and_state_at_any_speed() {
    let net = VirtualNet::new();
    let recorded = inline(
        &mut market(5_000, Hop::depth(1024).record("btc.cap", 1 << 30)),
        &net,
    );
    let record = &recorded.records[0];
    assert_eq!(
        (record.messages, record.frames_lost),
        (hop(&recorded).delivered, 0)
    );
    assert!(record.unrecorded.is_empty() && record.fault.is_none());
    assert_eq!(record.bytes, net.file("btc.cap").unwrap().len() as u64);
    for speed in [Some(1.0), Some(100.0), Some(0.5), None, Some(1.0)] {
        let replayed = inline(&mut again("btc.cap", speed, Hop::depth(1024)), &net);
        assert_eq!(hop(&replayed).delivered, 5_000);
        let fidelity = replayed.ledger.sources["btc"].fidelity.clone().unwrap();
        assert_eq!((fidelity.messages, fidelity.time_backwards), (5_000, 0));
        assert_eq!(fidelity.hash_matches, Some(true));
        assert_eq!(fidelity.content_hash, record.content_hash);
        assert_eq!(state_hash(&replayed), state_hash(&recorded), "{speed:?}");
        assert_eq!(
            fidelity.send_error_ns.count,
            if speed.is_some() { 5_000 } else { 0 }
        );
    }
}

#[test]
fn a_replay_is_recorded_to_the_same_content_and_other_content_has_another_hash() {
    let net = VirtualNet::new();
    inline(
        &mut market(500, Hop::depth(1024).record("a.cap", 1 << 30)),
        &net,
    );
    let b = inline(
        &mut again(
            "a.cap",
            Some(3.0),
            Hop::depth(1024).record("b.cap", 1 << 30),
        ),
        &net,
    );
    let c = inline(
        &mut market(499, Hop::depth(1024).record("c.cap", 1 << 30)),
        &net,
    );
    let hash = |report: &Report| report.records[0].content_hash.clone();
    assert_eq!(
        b.ledger.sources["btc"]
            .fidelity
            .clone()
            .unwrap()
            .content_hash,
        hash(&b)
    );
    assert_ne!(hash(&b), hash(&c));
    assert_ne!(state_hash(&b), state_hash(&c));
}

#[test]
fn one_damaged_message_is_refused_the_others_come_and_the_hash_says_so() {
    let net = VirtualNet::new();
    inline(
        &mut market(100, Hop::depth(1024).record("a.cap", 1 << 30)),
        &net,
    );
    let mut file = net.file("a.cap").unwrap();
    let last = file.len() - 60;
    file[last] ^= 1;
    net.put_file("a.cap", &file);
    let mut line = again("a.cap", None, Hop::depth(1024));
    let report = inline(&mut line, &net);
    let source = &report.ledger.sources["btc"];
    assert_eq!(
        (source.received, source.ingested, source.rejected["corrupt"]),
        (100, 99, 1)
    );
    // One more behind the damage would tell; here it was the last one.
    file[last] ^= 1;
    let middle = file.len() / 2;
    file[middle] ^= 1;
    net.put_file("a.cap", &file);
    let report = inline(&mut again("a.cap", None, Hop::depth(1024)), &net);
    let source = &report.ledger.sources["btc"];
    assert_eq!(source.rejected["corrupt"], 1);
    assert_eq!(source.fidelity.clone().unwrap().hash_matches, Some(false));
}

#[test]
fn one_that_breaks_off_is_truncated_and_one_of_other_frames_is_refused() {
    let net = VirtualNet::new();
    inline(
        &mut market(100, Hop::depth(1024).record("a.cap", 1 << 30)),
        &net,
    );
    let file = net.file("a.cap").unwrap();
    net.put_file("cut.cap", &file[..file.len() - 70]);
    let report = inline(&mut again("cut.cap", None, Hop::depth(1024)), &net);
    let source = &report.ledger.sources["btc"];
    assert_eq!((source.ingested, source.rejected["truncated"]), (99, 1));

    let mut line = Line::builder("other");
    line.source(
        "in",
        capture("a.cap").speed(None).decode(captured::<Number>()),
    );
    line.sink("out", Collect::default());
    line.connect("in", "out", Hop::depth(1024));
    let report = inline(&mut line, &net);
    assert_eq!(report.ledger.sources["in"].rejected["unknown_schema"], 100);
}

fn numbers(parts: usize, when_full: WhenFull, record: bool) -> Builder {
    let mut line = Line::builder("numbers");
    line.source("in", Counting::new(3_000, 777).parts(parts));
    line.sink("out", Collect::default());
    let mut hop = Hop::depth(512).when_full(when_full);
    if record {
        hop = hop.record("n.cap", 1 << 30);
    }
    line.connect("in", "out", hop);
    line
}

#[test]
fn a_line_inline_is_the_same_recorded_or_not() {
    for parts in [1, 7] {
        let words = |record| {
            let mut report = inline(
                &mut numbers(parts, WhenFull::Block, record),
                &VirtualNet::new(),
            );
            report.line.resident_bytes = None;
            report.records.clear();
            format!("{report:?}")
        };
        assert_eq!(words(true), words(false));
    }
}

#[test]
fn a_disk_that_is_full_costs_the_recording_and_not_the_line() {
    let plan = FaultPlan {
        disk_full_after_bytes: Some(20_000),
        ..FaultPlan::default()
    };
    let net = VirtualNet::new();
    let driver = Driver::from(Faulty::new(net.driver().into(), plan));
    let line = numbers(1, WhenFull::Block, true).build().unwrap();
    let (report, _) = line.run_inline(Inline::new(driver), None).unwrap();
    let record = &report.records[0];
    assert_eq!(record.messages + record.unrecorded["disk_full"], 3_000);
    assert_eq!(report.hops[0].delivered, 3_000);
    assert!(report.ledger.closed && report.ledger.losses.is_empty());
    assert!(
        report
            .faults
            .iter()
            .any(|fault| fault.contains("n.cap: cannot write")),
        "{:?}",
        report.faults
    );
    assert_eq!(
        read_any(&net.file("n.cap").unwrap()),
        Ok(record.messages as usize)
    );
}

#[test]
fn two_hops_to_one_file_an_unknown_hop_and_no_place_are_refused() {
    let mut line = numbers(1, WhenFull::Block, true).build().unwrap();
    let record = || Record {
        path: "n.cap".into(),
        bytes_max: 1 << 30,
    };
    let problem = line.record("in->uot", record()).unwrap_err();
    assert!(problem.help.contains("in->out"), "{problem:?}");
    let mut line = market(1, Hop::depth(1024).record("one.cap", 1 << 30))
        .build()
        .unwrap();
    let same = Record {
        path: "one.cap".into(),
        bytes_max: 1 << 30,
    };
    line.record("book->end", same).unwrap();
    let error = line
        .run_inline(Inline::new(VirtualNet::new().driver().into()), None)
        .unwrap_err();
    assert!(error.to_string().contains("one.cap"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let mut line = market(1, Hop::depth(1024)).build().unwrap();
    let nowhere = Record {
        path: folder.path().join("none/x.cap"),
        bytes_max: 1 << 30,
    };
    line.record("btc->book", nowhere).unwrap();
    let error = line.run_until(Stop::when_done()).unwrap_err();
    assert!(error.to_string().contains("no such file"), "{error}");
}

/// What came to a recorder is in its file, and what did not is counted: nothing else can have become of a frame.
fn adds_up(record: &RecordReport, delivered: u64, path: &std::path::Path) {
    let file = std::fs::read(path).unwrap();
    assert_eq!(
        read_any(&file),
        Ok(record.messages as usize + 1),
        "with its end"
    );
    assert_eq!(record.frames + record.frames_lost, delivered);
    assert!(record.unrecorded.is_empty(), "{:?}", record.unrecorded);
}

#[test]
fn on_threads_every_frame_is_in_the_file_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n.cap");
    let mut line = Line::builder("threads");
    line.source("in", Counting::new(400_000, 0));
    line.sink("out", Collect::default());
    line.connect("in", "out", Hop::depth(1024).record(&path, 1 << 30));
    line.placement(Placement {
        wait: Some(Strategy::YIELD),
        pin: Pin::Off,
        ..Placement::default()
    });
    let report = line.build().unwrap().run_until(Stop::when_done()).unwrap();
    assert!(report.is_good(), "{:?}", report.faults);
    adds_up(&report.records[0], 400_000, &path);
}
