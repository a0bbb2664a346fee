//! A line that has of everything, so that each metric has something to say; and a report in which each figure is another one, so
//! that none is left out of the page.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;

use hopline::adapter::{
    Binance, blackhole, capture, captured, datagrams, file_to, itch, moldudp64, replay, statsd,
    synthetic, udp, websocket,
};
use hopline::budget::report::{
    BudgetReport, HopReport, Percentiles, RegimeReport, SourceReport, StageReport, WireReport,
};
use hopline::budget::sequenced::{FeedLineReport, SequencedReport};
use hopline::budget::{FidelityReport, GapsReport, LinkReport, Of, SkewReport};
use hopline::feed::aggregate::Settings;
use hopline::feed::market::Market;
use hopline::feed::moldudp64::Writer;
use hopline::io::Driver;
use hopline::metrics::{FAMILIES, Kind, Snapshot};
use hopline::overload::WhenFull;
use hopline::stages::{Format, Sums, TextFormat};
use hopline::topology::{
    Builder, Hop, Inline, Line, OverflowReport, RecordReport, SplitReport, Stop, p99,
};

use crate::grammar::scraped;
use crate::numbers::{Collect, Counting, Numbers};
use crate::{MESSAGES, PATIENCE, ended, page_of, placed, small, started};

/// A port that nobody listens on.
fn free() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

/// Messages of the recording, and how far apart: long enough for a drift, and short at 100 times the pace for a test.
const RECORDED: u64 = 8_000;
const APART_NS: u64 = 10_000_000;

/// Trades with event times and times of receipt.
fn recording() -> String {
    let line = |at: u64| {
        let received_ns = 1_700_000_000_000_000_000 + at * APART_NS;
        let event_ms = received_ns / 1_000_000 - 3;
        format!(
            "{received_ns} {{\"e\":\"trade\",\"E\":{event_ms},\"s\":\"BTCUSDT\",\"t\":{at},\"p\":\"1.0\",\"q\":\"0.5\",\"m\":true}}\n"
        )
    };
    (0..RECORDED).map(line).collect()
}

/// Records a made-up market to a file.
fn record(path: &Path) {
    let mut line = Line::builder("first");
    let feed = synthetic("BTCUSDT", 50_000.0).seed(7).count(500);
    line.source("btc", feed.decode(Binance::new(&["BTCUSDT"])));
    line.sink("end", blackhole());
    let hop = Hop::depth(1024).record(path, 1 << 20);
    line.connect("btc", "end", hop);
    let inline = Inline::new(Driver::real().unwrap());
    line.build().unwrap().run_inline(inline, None).unwrap();
}

/// Where a whole line is sent to.
struct Ports {
    wire: SocketAddr,
    telemetry: SocketAddr,
    feed: [SocketAddr; 2],
}

/// A line that has of everything, with its files in `folder`.
fn whole(folder: &Path, ports: &Ports) -> Builder {
    let mut line = small(0);
    let wire = udp(&ports.wire.to_string()).stamps(true);
    line.source("wire", wire.decode(Numbers { parts: 1 }));
    line.sink("off", blackhole());
    line.connect("wire", "off", Hop::depth(64));

    std::fs::write(folder.join("trades.txt"), recording()).unwrap();
    let trades = replay(folder.join("trades.txt")).speed(Some(100.0));
    line.source("trades", trades.decode(Binance::new(&["BTCUSDT"])));
    line.sink("traded", blackhole());
    let hop = Hop::depth(1024).record(folder.join("trades.cap"), 1 << 24);
    line.connect("trades", "traded", hop);

    let first = folder.join("first.cap");
    record(&first);
    let again = capture(first).speed(Some(10.0));
    line.source("again", again.decode(captured::<Market>()));
    line.sink("same", blackhole());
    line.connect("again", "same", Hop::depth(1024));

    let [a, b] = ports.feed.map(|port| udp(&port.to_string()));
    let feed = moldudp64(a).line_b(b).stale_ns(300_000_000);
    line.source("feed_ab", feed.decode(itch()));
    line.sink("orders", blackhole());
    line.connect("feed_ab", "orders", Hop::depth(64));

    let metrics = udp(&ports.telemetry.to_string());
    line.source("metrics", metrics.decode(statsd()));
    line.stage("sums", || Sums::new(Settings::default()).unwrap());
    line.stage("text", || Format::new(TextFormat::Ndjson));
    line.sink("out", file_to(folder.join("out.ndjson")));
    line.connect("metrics", "sums", Hop::depth(64));
    line.connect("sums", "text", Hop::depth(128));
    line.connect("text", "out", Hop::depth(128));

    line.source("burst", Counting::new(MESSAGES, 0));
    line.sink("kept", Collect::default());
    let hop = Hop::depth(64).when_full(WhenFull::Overflow);
    let hop = hop.overflow_file(folder.join("overflow.cap"), 1 << 24);
    line.connect("burst", "kept", hop);

    let nobody = websocket(&format!("ws://{}/", free()));
    line.source("ws", nobody.decode(datagrams()));
    line.sink("read", blackhole());
    line.connect("ws", "read", Hop::depth(64));
    line.objective(p99("1s"));
    placed(&mut line);
    line
}

/// A packet of one message of the first session.
fn packet(sequence: u64) -> Vec<u8> {
    let delete = b"D\x00\x07\x00\x00\x1f\x1a\xce\xd8\x50\x00\x00\x00\x00\x00\x00\x00\x00\x2a";
    let mut buffer = vec![0; 1_400];
    let mut writer = Writer::new(&mut buffer, [b'1'; 10], sequence).unwrap();
    assert!(writer.push(delete));
    let len = writer.finish();
    buffer.truncate(len);
    buffer
}

#[test]
fn whatever_a_line_has_is_on_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let ports = Ports {
        wire: free(),
        telemetry: free(),
        feed: [free(), free()],
    };
    let mut running = started(whole(folder.path(), &ports));
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut value = 0_u64;
    let stop = Stop::when_done();
    let mut seen = None;
    running.watch(&stop.or_after(PATIENCE), |running| {
        value += 1;
        let _ = sender.send_to(&value.to_le_bytes(), ports.wire);
        let _ = sender.send_to(
            b"hits:1|c\nhits:2|c\nhits:1|c|T1000000000\nbad",
            ports.telemetry,
        );
        for to in ports.feed {
            let _ = sender.send_to(&packet(value), to);
        }
        let snapshot = Snapshot::take(running, None);
        let sources = &snapshot.report.ledger.sources;
        let received = |name: &str| sources[name].received;
        let sums = snapshot.report.stages.iter();
        let sums = sums.filter(|one| one.name == "sums");
        let is_summed = sums.map(|one| one.counts["samples"]).sum::<u64>() > 0;
        let is_in = received("wire") > 0 && received("feed_ab") > 1 && is_summed;
        let is_fed = received("feed") == MESSAGES && received("burst") == MESSAGES;
        let are_over = ["trades", "again"].map(|name| sources[name].fidelity.is_some());
        let is_dialled = sources["ws"].link.as_ref().is_some_and(|one| one.dials > 0);
        if is_in && is_fed && is_dialled && are_over == [true; 2] && seen.is_none() {
            // At once: what the kernel says of a thread is gone with it.
            seen = Some((page_of(&snapshot), snapshot.report));
            running.begin_drain();
        }
    });
    let (text, report) = seen.expect("all of it came");
    let page = scraped(&text);
    assert_eq!(page.faults, Vec::<String>::new());
    // Of these it has none: nothing pinned, split, held back or surely lost, no server and no edge.
    let absent = [
        "split_",
        "loop_pinned_core",
        "loop_off_core",
        "stage_held_back",
        "_by_kind_",
        "metrics_",
        "_edge_",
    ];
    let shows_sched = Path::new("/proc/self/sched").exists();
    for family in FAMILIES {
        let of = |name: &str| match family.kind {
            Kind::Counter => name == family.shown(),
            Kind::Gauge => name == family.name,
            _ => name.starts_with(family.name),
        };
        let has = page.samples.iter().any(|sample| of(&sample.name));
        let has_file = family.name != "hopline_loop_migrations" || shows_sched;
        let may_lack = !has_file || absent.iter().any(|part| family.name.contains(part));
        assert!(has || may_lack, "{}", family.name);
    }
    // The figures are those of the report that it was made of.
    let feed = &report.ledger.sources["feed_ab"];
    for (name, line) in &feed.feed_lines {
        let of = [("source", "feed_ab"), ("feed_line", name)];
        let count = |what: &str| page.count(&format!("hopline_feed_line_{what}_total"), &of);
        assert_eq!(count("packets"), line.packets);
        let outcome = |outcome| {
            let of = [of[0], of[1], ("outcome", outcome)];
            page.count("hopline_feed_line_messages_total", &of)
        };
        assert_eq!(outcome("first"), line.first);
        assert_eq!(outcome("duplicate"), line.duplicates);
    }
    let sums = report.stages.iter().find(|one| one.name == "sums").unwrap();
    for (what, count) in &sums.counts {
        let of = [("stage", "sums"), ("what", what)];
        assert_eq!(page.count("hopline_stage_counted_total", &of), *count);
    }
    let skew = report.ledger.sources["trades"].skew.as_ref().unwrap();
    let of = ("source", "trades");
    let dated = page.count("hopline_source_dated_messages_total", &[of]);
    assert_eq!((dated, skew.messages), (RECORDED, RECORDED));
    let median = page.value(
        "hopline_source_latency_seconds",
        &[of, ("percentile", "p50")],
    );
    let median_ns = median.parse::<f64>().unwrap() * 1e9;
    assert_eq!(median_ns.round() as u64, skew.latency_ns.unwrap().p50);
    running.end("finished");
}

/// Numbers of which no two are the same, nor like anything that a line counts; whole as nanoseconds in seconds, and as a double.
struct Figures(u64);

impl Figures {
    fn next(&mut self) -> u64 {
        self.0 += 1_000;
        900_000_000_000_000 + self.0
    }

    fn signed(&mut self) -> i64 {
        -(self.next() as i64)
    }

    fn by_reason(&mut self, reason: &str) -> BTreeMap<String, u64> {
        BTreeMap::from([(reason.to_owned(), self.next())])
    }

    fn by_kind(&mut self, reason: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
        BTreeMap::from([("trade".to_owned(), self.by_reason(reason))])
    }

    fn percentiles(&mut self) -> Percentiles {
        Percentiles {
            count: self.next(),
            p50: self.next(),
            p90: self.next(),
            p99: self.next(),
            p99_9: self.next(),
            max: self.next(),
        }
    }

    fn budget(&mut self) -> BudgetReport {
        BudgetReport {
            of: Of::Sojourn,
            limits_ns: BTreeMap::from([("p99", self.next())]),
            lossless: true,
        }
    }

    fn hop(&mut self) -> HopReport {
        HopReport {
            name: "a->b".to_owned(),
            depth: self.next() as usize,
            when_full: "overflow",
            policy: "overflow".to_owned(),
            shares: None,
            offered: self.next(),
            accepted: self.next(),
            shed: self.by_reason("full"),
            waiting: self.next(),
            shed_by_kind: self.by_kind("full"),
            delivered: self.next(),
            in_flight: self.next(),
            discarded: self.by_reason("late"),
            discarded_by_kind: self.by_kind("late"),
            rung: "none",
            rungs: self.by_reason("none"),
            rungs_ns: self.by_reason("none"),
            depth_now: self.next(),
            depth_max: self.next(),
            depth_window_max: self.next(),
            age_now_ns: self.next(),
            age_window_max_ns: self.next(),
            full_ns: self.next(),
            wakes: self.next(),
            closed: None,
            wait_ns: Percentiles::default(),
            service_ns: Percentiles::default(),
            sojourn_ns: Percentiles::default(),
            budget: Some(self.budget()),
            over_budget: BTreeMap::from([("p99", self.next())]),
            saturated: self.next(),
        }
    }

    fn stage(&mut self) -> StageReport {
        StageReport {
            name: "b".to_owned(),
            role: "sink",
            kind: "made_up".to_owned(),
            state: "run",
            consumed: self.next(),
            forwarded: self.next(),
            absorbed: self.by_reason("done"),
            rejected: self.by_reason("bad"),
            held: self.next(),
            counts: BTreeMap::from([("found", self.next())]),
            emitted: self.next(),
            regimes_ns: RegimeReport {
                work: self.next(),
                io: self.next(),
                held_back: self.next(),
                housekeeping: self.next(),
                idle: self.next(),
            },
            held_back_by: None,
            held_back_by_ns: self.by_reason("outside"),
            on_panic: "stop",
            panics: self.next(),
            restarts: self.next(),
            away_ns: self.next(),
            quarantined: self.next(),
            quarantine_lost: self.next(),
            state_hash: None,
            out_of_order: self.next(),
            inversions: self.next(),
            inversion_ns_max: self.next(),
            fault: None,
        }
    }

    fn feed_line(&mut self) -> FeedLineReport {
        FeedLineReport {
            packets: self.next(),
            bytes: self.next(),
            rejected: self.by_reason("header_cut"),
            heartbeats: self.next(),
            messages: self.next(),
            first: self.next(),
            duplicates: self.next(),
            late: self.next(),
            old: self.next(),
            straggler: self.next(),
            unheld: self.next(),
            missed: self.next(),
            reordered: self.next(),
            repeated: self.next(),
            kernel_dropped: self.next(),
        }
    }

    fn sequenced(&mut self) -> SequencedReport {
        SequencedReport {
            state: "live",
            delivered: self.next(),
            lost: self.next(),
            held: self.next(),
            held_max: self.next(),
            gaps: self.next(),
            sessions: self.next(),
            restarts: self.next(),
            ended: self.next(),
            stale: self.next(),
            lost_ranges: Vec::new(),
            lost_ranges_more: self.next(),
        }
    }

    fn fidelity(&mut self) -> FidelityReport {
        FidelityReport {
            speed: None,
            messages: self.next(),
            time_backwards: self.next(),
            content_hash: String::new(),
            hash_matches: Some(true),
            send_error_ns: self.percentiles(),
            apart_from_stalls_ns: self.percentiles(),
            stalled_messages: self.next(),
            stalls: self.next(),
            stalled_ns: self.next(),
            stall_ns_max: self.next(),
            catch_up_ns_max: self.next(),
            slope_ppb: Some(self.signed()),
        }
    }

    fn skew(&mut self) -> SkewReport {
        SkewReport {
            messages: self.next(),
            latency_ns: Some(self.percentiles()),
            least_ns: self.signed(),
            clamped: self.next(),
            drift_ppb: Some(self.signed()),
            steps: self.next(),
            step_ns: self.signed(),
            jitter_ns: self.next(),
        }
    }

    fn link(&mut self) -> LinkReport {
        LinkReport {
            state: "live",
            retry_in_ns: Some(self.next()),
            dials: self.next(),
            opened: self.next(),
            lost: self.by_reason("refused"),
            last_lost: None,
            closed: self.by_reason("1000"),
            refused: self.by_reason("503"),
            outages: self.next(),
            outage_spans: Vec::new(),
            down_ns: self.next(),
            stale: self.next(),
            pings: self.next(),
            pongs: self.next(),
            pinged: self.next(),
            pongs_dropped: self.next(),
            round_trip_ns: self.next(),
            round_trip_ns_max: self.next(),
            bytes_in: self.next(),
            bytes_out: self.next(),
        }
    }

    fn source(&mut self) -> SourceReport {
        SourceReport {
            received: self.next(),
            bytes: self.next(),
            ingested: self.next(),
            shed: self.next(),
            rejected: self.by_reason("bad_line"),
            undeclared: self.next(),
            duplicates: self.next(),
            feed_lines: BTreeMap::from([("a", self.feed_line()), ("b", self.feed_line())]),
            sequenced: Some(self.sequenced()),
            is_in_lines: true,
            datagrams_received: self.next(),
            kernel_dropped: self.next(),
            kernel_dropped_at_least: true,
            wire: Some(WireReport {
                clock: String::new(),
                span_ns: Percentiles::default(),
                clamped: self.next(),
                clock_steps: self.next(),
                not_by_device: self.next(),
            }),
            skipped: self.next(),
            fidelity: Some(self.fidelity()),
            skew: Some(self.skew()),
            gaps: Some(GapsReport {
                gaps: self.next(),
                mean_ns: self.next(),
                deviation_ns: self.next(),
                longest_ns: self.next(),
            }),
            time_backwards: self.next(),
            late_ns_max: self.next(),
            connected: self.next(),
            disconnected: self.by_reason("reset"),
            link: Some(self.link()),
            refused: self.next(),
            claim_open_ns_max: self.next(),
        }
    }

    fn overflow(&mut self) -> OverflowReport {
        OverflowReport {
            hop: "a->b".to_owned(),
            file: String::new(),
            handed: self.next(),
            refused: self.by_reason("bound"),
            written: self.next(),
            failed: self.by_reason("drain_deadline"),
            pending: self.next(),
            bytes: self.next(),
            bytes_max: self.next(),
            fault: None,
        }
    }

    fn record(&mut self) -> RecordReport {
        RecordReport {
            hop: "a->b".to_owned(),
            file: String::new(),
            messages: self.next(),
            frames: self.next(),
            bytes: self.next(),
            frames_lost: self.next(),
            unrecorded: self.by_reason("torn"),
            content_hash: String::new(),
            fault: None,
        }
    }

    fn split(&mut self) -> SplitReport {
        SplitReport {
            hops: vec!["a->b".to_owned()],
            split: "key",
            isolate: true,
            hot_keys: Vec::new(),
            isolated: self.next(),
            moves: self.next(),
            stays: self.next(),
        }
    }
}

/// The numbers of a report that are [`Figures`], each with the way to it.
fn figures(way: &str, value: &serde_json::Value, into: &mut Vec<(String, f64)>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                figures(&format!("{way}/{name}"), value, into);
            }
        }
        serde_json::Value::Array(values) => {
            for value in values {
                figures(way, value, into);
            }
        }
        value => {
            let number = value.as_f64().filter(|number| number.abs() > 9e14);
            into.extend(number.map(|number| (way.to_owned(), number)));
        }
    }
}

/// Figures of a report that have no sample of their own, since others say them.
const SAID_BY_OTHERS: &[&str] = &[
    // The headings of a line's messages add up to them.
    "/feed_lines/a/messages",
    "/feed_lines/b/messages",
    // The messages of the replay, and those less what stalls made late.
    "/fidelity/send_error_ns/count",
    "/fidelity/apart_from_stalls_ns/count",
    // The same as that of the source.
    "/fidelity/time_backwards",
    // The dated messages.
    "/skew/latency_ns/count",
];

#[test]
fn no_figure_of_a_report_is_left_out_of_the_page() {
    let (snapshot, mut report) = ended(started(small(0)));
    let mut all = Figures(0);
    let (hop, stage, source) = (all.hop(), all.stage(), all.source());
    let (overflow, record, split) = (all.overflow(), all.record(), all.split());
    let mut said = Vec::new();
    for value in [
        serde_json::to_value(&hop),
        serde_json::to_value(&stage),
        serde_json::to_value(&source),
        serde_json::to_value(&overflow),
        serde_json::to_value(&record),
        serde_json::to_value(&split),
    ] {
        figures("", &value.unwrap(), &mut said);
    }
    // What text sources receive is on the report twice.
    let lines = said.iter().find(|(way, _)| way == "/lines");
    assert_eq!(lines.map(|(_, count)| *count as u64), source.lines());
    assert!(said.len() > 150, "{}", said.len());
    report.hops.push(hop);
    report.stages.push(stage);
    report.ledger.sources.insert("full".to_owned(), source);
    report.overflow_files.push(overflow);
    report.records.push(record);
    report.splits.push(split);
    let snapshot = snapshot.ended(report);
    let text = page_of(&snapshot);
    let left_out = |text: &str| -> BTreeSet<String> {
        let page = scraped(text);
        assert_eq!(page.faults, Vec::<String>::new());
        let values = page.samples.iter();
        let values: Vec<f64> = values.map(|one| one.value.parse().unwrap()).collect();
        let is_on = |number: f64| {
            let is_it = |value: &f64| {
                (value - number).abs() < 100.0 || (value * 1e9 - number).abs() < 100.0
            };
            values.iter().any(is_it)
        };
        let missing = said.iter().filter(|(_, number)| !is_on(*number));
        missing.map(|(way, _)| way.clone()).collect()
    };
    let others: BTreeSet<String> = SAID_BY_OTHERS.iter().map(ToString::to_string).collect();
    assert_eq!(left_out(&text), others);
    // A figure that is not on the page is found.
    let lost = "hopline_feed_lost_messages_total";
    let planted: String = text
        .lines()
        .filter(|line| !line.starts_with(lost))
        .map(|line| format!("{line}\n"))
        .collect();
    let found = left_out(&planted);
    let found: Vec<&String> = found.difference(&others).collect();
    assert_eq!(found, ["/sequenced/lost"]);
}
