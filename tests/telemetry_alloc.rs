//! The way of telemetry allocates nothing once it is warm, from the datagram to the text, proven by a counting allocator: a run over
//! ten times as many datagrams allocates no more. Keys come and go all the while, far more than there is room for, and every
//! reason for which a line is refused comes again and again.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;

use hopline::adapter::{TelemetryDecoder, blackhole, file_to, graphite, influx, statsd, udp};
use hopline::clock::Clock;
use hopline::feed::aggregate::Settings;
use hopline::io::VirtualNet;
use hopline::overload::Split;
use hopline::stages::{Format, Sums, TextFormat};
use hopline::topology::{Builder, Hop, Inline, Line, Report};

#[path = "common/counting.rs"]
mod counting;

use counting::{Counting, counted};

#[global_allocator]
static GLOBAL: Counting = Counting;

/// When a run begins, in seconds since 1970: virtual time is its own wall time.
const START_S: u64 = 1_700_000_000;

const SECOND_NS: u64 = 1_000_000_000;

/// Between two datagrams of a source, in nanoseconds.
const GAP_NS: u64 = 100_000;

/// A window, in nanoseconds: some hundred datagrams.
const WINDOW_NS: u64 = 20_000_000;

/// Where each format is received.
const SOURCES: [(&str, &str, TelemetryDecoder); 3] = [
    ("statsd", "127.0.0.1:8125", statsd()),
    ("graphite", "127.0.0.1:2003", graphite()),
    ("influx", "127.0.0.1:8094", influx()),
];

/// Every reason for which a parser refuses a line.
const REASONS: [&str; 19] = [
    "missing_field",
    "empty_name",
    "name_too_long",
    "unknown_kind",
    "wrong_type",
    "not_finite",
    "beyond_scale",
    "bad_rate",
    "tags_too_long",
    "bad_tags",
    "bad_escape",
    "bad_time",
    "bad_event",
    "bad_check",
    "bad_line",
    "not_utf8",
    "empty",
    "too_long",
    "truncated",
];

/// What the stage that sums up refuses.
const REFUSED: [&str; 5] = ["late", "ahead", "no_room", "key_too_long", "no_number"];

/// Lines that are refused, of each format.
fn bad(source: &str) -> Vec<Vec<u8>> {
    let (name, tags) = ("n".repeat(600), "t".repeat(8_000));
    let many =
        |between: char| (0..200).fold(String::new(), |all, nth| format!("{all}{between}t{nth}=v"));
    let lines: Vec<String> = match source {
        "statsd" => vec![
            "bad".into(),
            ":1|c".into(),
            format!("{name}:1|c"),
            "a:1|zz".into(),
            "a:x|c".into(),
            "a:NaN|g".into(),
            "a:1e999|g".into(),
            "a:1|c|@2".into(),
            format!("a:1|c|#{}", many(',')),
            "a:1|c|Tsoon".into(),
            "_e{9,9}:up|ok".into(),
            "_sc|db|9".into(),
            format!("a:1|c|#{tags}"),
        ],
        "graphite" => vec![
            "a 1".into(),
            ";a=b 1 1".into(),
            format!("{name} 1 1"),
            "a x 1".into(),
            "a inf 1".into(),
            "a 1e999 1".into(),
            format!("a{} 1 1", many(';')),
            "a;b 1 1".into(),
            "a 1 soon".into(),
            "a 1 1 1".into(),
            "  ".into(),
        ],
        _ => vec![
            ",a=b f=1".into(),
            "m".into(),
            r"m\\ f=1".into(),
            "m,a f=1".into(),
            "m f=1x".into(),
            "m f=NaN".into(),
            "m f=1e999".into(),
            "m f=\"a".into(),
            "m f=1 x".into(),
            "m f=1 5 6".into(),
            "  ".into(),
        ],
    };
    let mut lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
    lines.push(b"\xff:1|c".to_vec());
    lines
}

/// The good lines of a datagram, of each format: of every class, with names of their own and names that come again.
fn good(source: &str, nth: u64) -> String {
    let mut text = String::new();
    let own = nth % 3_000;
    let now_s = START_S + nth * GAP_NS / SECOND_NS;
    let (early_s, ahead_s) = (now_s - 3_600, now_s + 3_600);
    let long = "long.name.".repeat(20);
    match source {
        "statsd" => writeln!(
            text,
            "hits.{own}:3|c|@0.5|#env:prod,host:h{h}\nlevel.{h}:4|g\nlevel.{h}:-1|g\nlat.{h}:{own}|ms|#a:b\nusers.{h}:u{own}|s\n\
             page:1:2:32|d\nsong:240|h|@0.5\n_e{{2,2}}:up|ok|#a\n_sc|db|1\n{long}:1|c|#env:prod\nold:1|c|T{early_s}\nnew:1|c|T{ahead_s}",
            h = nth % 7
        ),
        "graphite" => writeln!(
            text,
            "hits.{own};env=prod 3 -1\nload.{h} 0.25 -1\n{long} 1 -1\nold 1 {early_s}\nnew 1 {ahead_s}",
            h = nth % 7
        ),
        _ => writeln!(
            text,
            "cpu{own},host=h{h} user=1,system=2i,on=true\nmem,host=h{h} free=17u\ntext,host=a said=\"so\"\n{long} f=1",
            h = nth % 7
        ),
    }
    .expect("a text takes it");
    if nth.is_multiple_of(16) {
        // Longer than a key may be, which only the table of keys can tell.
        let _ = match source {
            "statsd" => writeln!(text, "{long}{long}:1|c"),
            "graphite" => writeln!(text, "{long}{long} 1 -1"),
            _ => writeln!(text, "{long}{long} f=1"),
        };
    }
    text
}

/// Sends that many datagrams to each source, the lines that are refused in turn.
fn send(net: &VirtualNet, datagrams: u64) {
    for (source, at, _) in SOURCES {
        let bad = bad(source);
        for nth in 0..datagrams {
            let mut bytes = good(source, nth).into_bytes();
            bytes.extend_from_slice(&bad[nth as usize % bad.len()]);
            let from: SocketAddr = "127.0.0.1:1".parse().unwrap();
            let at_ns = START_S * SECOND_NS + 1_000_000 + nth * GAP_NS;
            assert!(net.inject(from, at.parse().unwrap(), &bytes, at_ns));
        }
    }
}

/// Three formats, divided by key among two sums, to text.
fn line(format: TextFormat, to_file: bool) -> Builder {
    let mut line = Line::builder("telemetry");
    let settings = Settings {
        window_ns: WINDOW_NS,
        keys: 64,
        key_bytes: 256,
        histograms: 16,
        sets: 4,
        set_members: 16,
        ..Settings::default()
    };
    for name in ["sums-a", "sums-b"] {
        let settings = settings.clone();
        line.stage(name, move || {
            Sums::new(settings.clone()).expect("settings within their bounds")
        });
    }
    line.stage("text", move || Format::new(format));
    for (name, at, decoder) in SOURCES {
        line.source(name, udp(at).decode(decoder));
        line.connect(
            name,
            ["sums-a", "sums-b"],
            Hop::depth(512).split(Split::ByKey),
        );
    }
    if to_file {
        line.sink("out", file_to("out"));
    } else {
        line.sink("out", blackhole());
    }
    line.connect("sums-a", "text", Hop::depth(512));
    line.connect("sums-b", "text", Hop::depth(512));
    line.connect("text", "out", Hop::depth(512));
    line
}

/// The report of a run over so many datagrams a source, and how often it allocated.
fn run(format: TextFormat, datagrams: u64, to_file: bool) -> (Report, u64, VirtualNet) {
    let net = VirtualNet::new();
    send(&net, datagrams);
    let line = line(format, to_file)
        .build()
        .unwrap_or_else(|problems| panic!("{problems}"));
    let inline = Inline {
        clock: Clock::virtual_at(START_S * SECOND_NS),
        ..Inline::new(net.driver().into())
    };
    let inline = inline.stop_after_ns(2_000_000 + datagrams * GAP_NS);
    let mut report = None;
    let allocations = counted(|| {
        report = Some(line.run_inline(inline, None).unwrap().0);
    });
    let report = report.expect("it ran");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    for source in report.ledger.sources.values() {
        assert_eq!(source.datagrams_received, datagrams);
    }
    (report, allocations, net)
}

#[test]
fn what_is_sent_comes_by_every_way_that_telemetry_takes() {
    let (report, _, net) = run(TextFormat::Ndjson, 2_000, true);
    let mut rejected = BTreeSet::new();
    for source in report.ledger.sources.values() {
        assert!(source.ingested > 2_000, "{source:?}");
        rejected.extend(source.rejected.iter().filter(|(_, count)| **count > 20));
    }
    let rejected: BTreeSet<&str> = rejected.iter().map(|(why, _)| why.as_str()).collect();
    let missed: Vec<&&str> = REASONS
        .iter()
        .filter(|why| !rejected.contains(**why))
        .collect();
    assert!(missed.is_empty(), "no line is refused for {missed:?}");
    let sums = |why: &str| {
        let stages = report.stages.iter();
        let stages = stages.filter(|stage| stage.name.starts_with("sums"));
        let of = stages.flat_map(|stage| [stage.rejected.get(why), stage.absorbed.get(why)]);
        of.flatten().sum::<u64>()
    };
    for why in REFUSED {
        assert!(sums(why) > 20, "{why}: {:?}", report.stages);
    }
    let text = String::from_utf8(net.file("out").unwrap()).unwrap();
    let evicted = text
        .lines()
        .filter_map(|line| line.split_once("\"keys_evicted\":"));
    let evicted = evicted.filter(|(_, rest)| !rest.starts_with('0')).count();
    assert!(evicted > 10, "keys make room for others: {evicted}");
    assert!(text.contains("\"p99\""), "there are histograms");
}

#[test]
fn the_way_from_a_datagram_to_text_allocates_nothing_once_it_is_warm() {
    // The proof itself must see one allocation for each datagram.
    let planted = counted(|| {
        for nth in 0..100_u64 {
            std::hint::black_box(good("statsd", nth));
        }
    });
    assert!(planted >= 100, "{planted}");
    for format in [TextFormat::Ndjson, TextFormat::Influx, TextFormat::Graphite] {
        // What a process does once is none of a line's.
        run(format, 100, false);
        let (few, of_few, _) = run(format, 1_000, false);
        let (many, of_many, _) = run(format, 10_000, false);
        let left = |report: &Report| report.hops.last().expect("a hop").delivered;
        assert!(
            left(&many) > 5 * left(&few) && left(&few) > 500,
            "{}",
            left(&few)
        );
        // The virtual network keeps the buffers of what was taken, in a vector that doubles: four times at most for ten times
        // as many, and one allocation in each turn would be thousands.
        assert!(of_many <= of_few + 4, "{format:?}: {of_few} {of_many}");
    }
}
