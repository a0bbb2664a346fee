//! The page of metrics: what is on it, whether it adds up, whether the documentation has it, and how it is served.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use hopline::base::limits::{METRICS_CONNECTIONS_MAX, METRICS_HEAD_BYTES_MAX};
use hopline::base::{Discard, NoWhy, Reason, Reject, Shed};
use hopline::clock::Clock;
use hopline::frame::View;
use hopline::host::Pin;
use hopline::metrics::{FAMILIES, Format, Machine, Page, Server, Snapshot, write};
use hopline::overload::WhenFull;
use hopline::stage::{Context, Outcome, Port, Stage};
use hopline::topology::{Builder, Hop, Line, Placement, Report, Running, Stop, p99};
use hopline::wait::Strategy;

#[path = "metrics/counts.rs"]
mod counts;
#[path = "metrics/grammar.rs"]
mod grammar;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "metrics/whole.rs"]
mod whole;

use grammar::{Scraped, scraped};
use numbers::{Collect, Counting, NUMBERS, Number};

/// Messages of a test's line.
const MESSAGES: u64 = 5_000;

/// Longest wait for an answer: a host that is busy answers late, one that hangs never.
const PATIENCE: Duration = Duration::from_secs(60);

fn placed(line: &mut Builder) {
    line.placement(Placement {
        pin: Pin::Off,
        wait: Some(Strategy::PARK),
        threads_max: Some(2),
        ..Placement::default()
    });
}

/// Numbers over a hop that sheds: its consumer is told to be slow.
fn small(gap_ns: u64) -> Builder {
    let mut line = Line::builder("small");
    line.source("feed", Counting::new(MESSAGES, gap_ns));
    line.stage("pass", || Pass);
    line.sink("end", Collect::default());
    let hop = Hop::depth(64).when_full(WhenFull::DropNewest);
    line.connect("feed", "pass", hop.budget(p99("1ms")));
    line.connect("pass", "end", Hop::depth(64));
    placed(&mut line);
    line
}

/// Passes every number on.
struct Pass;

impl Stage for Pass {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, frame: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let value = frame.value();
        cx.emit(NUMBERS, &Number { value });
        Outcome::done()
    }
}

fn started(mut line: Builder) -> Running {
    line.build().unwrap().start().unwrap()
}

/// The end of a line, as a server would get it.
fn ended(mut running: Running) -> (Snapshot, Report) {
    let cause = running.watch(&Stop::when_done(), |_| {});
    running.drain(cause);
    running.observe();
    let snapshot = Snapshot::take(&mut running, None);
    let report = running.end(cause);
    (snapshot.ended(report.clone()), report)
}

fn page_of(snapshot: &Snapshot) -> String {
    let mut machine = Machine::new(&Clock::os());
    write(&Page::of(snapshot, &mut machine), Format::OpenMetrics)
}

#[test]
fn the_last_page_says_what_the_report_says() {
    let (snapshot, report) = ended(started(small(0)));
    let page = scraped(&page_of(&snapshot));
    assert_eq!(page.faults, Vec::<String>::new());
    for hop in &report.hops {
        let of = ("hop", hop.name.as_str());
        let count = |name: &str| page.count(&format!("hopline_hop_{name}_messages_total"), &[of]);
        assert_eq!(count("offered"), hop.offered);
        assert_eq!(count("accepted"), hop.accepted);
        assert_eq!(count("delivered"), hop.delivered);
        for (reasons, name, counts) in [
            (Shed::NAMES, "shed", &hop.shed),
            (Discard::NAMES, "discarded", &hop.discarded),
        ] {
            let name = format!("hopline_hop_{name}_messages_total");
            for reason in reasons {
                let expected = counts.get(*reason).copied().unwrap_or(0);
                assert_eq!(page.count(&name, &[of, ("reason", reason)]), expected);
            }
        }
        for (span, percentiles) in [
            ("wait", hop.wait_ns),
            ("service", hop.service_ns),
            ("sojourn", hop.sojourn_ns),
        ] {
            let histogram = format!("hopline_hop_{span}_seconds");
            assert_eq!(
                page.count(&format!("{histogram}_count"), &[of]),
                percentiles.count
            );
            let summary = format!("hopline_hop_{span}_quantiles_seconds");
            for (quantile, ns) in [
                ("0.5", percentiles.p50),
                ("0.99", percentiles.p99),
                ("0.999", percentiles.p99_9),
                ("1.0", percentiles.max),
            ] {
                let seconds: f64 = page
                    .value(&summary, &[of, ("quantile", quantile)])
                    .parse()
                    .unwrap();
                assert_eq!((seconds * 1e9).round() as u64, ns, "{summary} {quantile}");
            }
        }
    }
    let source = &report.ledger.sources["feed"];
    let of = ("source", "feed");
    let count = |name: &str| page.count(&format!("hopline_source_{name}_messages_total"), &[of]);
    assert_eq!(count("received"), source.received);
    assert_eq!(count("received"), count("ingested") + count("shed"));
    for reason in Reject::NAMES {
        let name = "hopline_source_rejected_messages_total";
        assert_eq!(page.count(name, &[of, ("reason", reason)]), 0);
    }
    assert_eq!(page.value("hopline_line_drained", &[]), "1");
    assert_eq!(page.value("hopline_ledger_breaches", &[]), "0");
    let state = [("stage", "end"), ("state", "done")];
    assert_eq!(page.value("hopline_stage_state", &state), "1");
    let info = [("stage", "pass"), ("role", "stage")];
    assert_eq!(page.value("hopline_stage_info", &info), "1");
    assert!(report.is_good(), "{:?}", report.ledger);
}

#[test]
fn a_page_that_breaks_a_rule_is_found() {
    let good = "# TYPE hopline_hop_shed_messages counter\n\
                hopline_hop_shed_messages_total{hop=\"a->b\",reason=\"full\"} 3\n\
                # TYPE hopline_line_live gauge\nhopline_line_live 1\n# EOF\n";
    assert_eq!(scraped(good).faults, Vec::<String>::new());
    for (from, to, words) in [
        ("# EOF\n", "", "# EOF"),
        ("_total", "", "under hopline_hop_shed"),
        (",reason=\"full\"", "", "no label reason"),
        ("reason=", "why=", "label why"),
        ("a->b", "a\\x", "no sample"),
        ("} 3", "} -3", "below 0"),
        ("} 3", "} three", "no sample"),
        (
            "hopline_line_live 1\n",
            "hopline_line_live 1\nhopline_line_live 1\n",
            "twice",
        ),
        (
            "# TYPE hopline_line_live gauge\n",
            "",
            "under hopline_hop_shed",
        ),
        (
            "# TYPE hopline_line_live gauge\n",
            "# TYPE x gauge\n",
            "of no family",
        ),
        (
            "hopline_line_live gauge\n",
            "hopline_hop_shed_messages counter\n",
            "declared twice",
        ),
    ] {
        let planted = good.replacen(from, to, 1);
        let faults = scraped(&planted).faults;
        assert!(
            faults.iter().any(|fault| fault.contains(words)),
            "{words}: {faults:?}"
        );
    }
    let (snapshot, _) = ended(started(small(0)));
    let page = page_of(&snapshot);
    let inf = "hopline_hop_wait_seconds_bucket{hop=\"feed->pass\",le=\"+Inf\"} ";
    let at = page.find(inf).unwrap() + inf.len();
    let planted = format!("{}9{}", &page[..at], &page[at..]);
    assert!(
        scraped(&planted)
            .faults
            .iter()
            .any(|fault| fault.contains("+Inf is not"))
    );
    let planted = page.replace("le=\"1e-07\"", "le=\"1.5e-07\"");
    assert!(
        scraped(&planted)
            .faults
            .iter()
            .any(|fault| fault.contains("other bounds"))
    );
}

/// The rows of the tables of docs/METRICS.md: name, kind, unit, labels.
fn documented(text: &str) -> BTreeSet<[String; 4]> {
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.filter_map(|row| {
        let cells: Vec<&str> = row.split(" | ").collect();
        let [name, kind, unit, labels, _, ..] = cells.as_slice() else {
            return None;
        };
        let plain = |cell: &str| cell.trim_start_matches("| ").replace(['`', ' '], "");
        let name = plain(name);
        let of_ours = name.starts_with("hopline_") || name.starts_with("process_");
        of_ours.then(|| [name, plain(kind), plain(unit), plain(labels)])
    });
    rows.collect()
}

#[test]
fn the_documentation_has_each_metric_and_no_other() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md");
    let text = std::fs::read_to_string(file).unwrap();
    let said = documented(&text);
    let exist: BTreeSet<[String; 4]> = FAMILIES
        .iter()
        .map(|family| {
            let unit = match family.unit {
                "" => "-",
                unit => unit,
            };
            let labels = match family.labels {
                [] => "-".to_owned(),
                labels => labels.join(","),
            };
            [
                family.shown(),
                family.kind.name().to_owned(),
                unit.to_owned(),
                labels,
            ]
        })
        .collect();
    let missing: Vec<_> = exist.difference(&said).collect();
    let unknown: Vec<_> = said.difference(&exist).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing: {missing:#?}\nunknown: {unknown:#?}"
    );
    // The comparison sees a row that is gone and one that is wrong.
    let row = text
        .lines()
        .find(|line| line.starts_with("| `hopline_hop_offered"))
        .unwrap();
    assert_eq!(documented(&text.replace(row, "")).len() + 1, said.len());
    assert_ne!(
        documented(&text.replace(
            "| `hopline_hop_slots` | gauge",
            "| `hopline_hop_slots` | counter"
        )),
        said
    );
    // The head of each is on any page, with or without samples.
    let (snapshot, _) = ended(started(small(0)));
    let page = scraped(&page_of(&snapshot));
    let declared: BTreeSet<String> = page.families.into_iter().collect();
    assert_eq!(
        declared,
        FAMILIES
            .iter()
            .map(|family| family.name.to_owned())
            .collect()
    );
}

/// A response: its status, its head, its body.
#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: String,
}

/// Reads one response.
fn response(stream: &mut TcpStream, has_body: bool) -> Response {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(
            stream.read(&mut byte).expect("an answer in time"),
            1,
            "no end within a head"
        );
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.unwrap().parse().unwrap();
    let mut body = vec![0; if has_body { length } else { 0 }];
    stream.read_exact(&mut body).unwrap();
    Response {
        status,
        head,
        body: String::from_utf8(body).unwrap(),
    }
}

fn connected(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn ask(stream: &mut TcpStream, path: &str) -> Response {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept: application/openmetrics-text\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    response(stream, true)
}

/// A line that runs and is served while `scrape` does its part on another thread; then it is drained.
fn served(line: Builder, scrape: impl FnOnce(SocketAddr) + Send + 'static) -> (Server, Report) {
    let mut server = Server::open("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut running = started(line);
    let address = server.address();
    let scraper = std::thread::spawn(move || scrape(address));
    let stop = Stop::when(move || scraper.is_finished());
    running.watch(&stop.or_after(PATIENCE), |running| server.answer(running));
    running.drain_watched("duration", |running| server.answer(running));
    running.observe();
    let last = Snapshot::take(&mut running, None);
    let report = running.end("duration");
    server.last(last.ended(report.clone()));
    (server, report)
}

/// As [`small`], and it goes on until it is ended.
fn endless() -> Builder {
    let mut line = Line::builder("endless");
    line.source("feed", Counting::new(u64::MAX, 100_000));
    line.sink("end", Collect::default());
    line.connect("feed", "end", Hop::depth(64));
    placed(&mut line);
    line
}

/// Runs `scrape` and gives what it says of it, also where it panics.
fn scraping(line: Builder, scrape: impl FnOnce(SocketAddr) + Send + 'static) -> (Server, Report) {
    let (tx, rx): (SyncSender<()>, _) = sync_channel(1);
    let served = served(line, move |address| {
        scrape(address);
        let _ = tx.send(());
    });
    rx.recv()
        .expect("the scraper did all of it; its words are above");
    served
}

#[test]
fn a_running_line_is_scraped_over_one_connection_and_its_counters_only_rise() {
    let (server, report) = scraping(endless(), |address| {
        let mut stream = connected(address);
        let mut before = 0;
        for _ in 0..5 {
            let response = ask(&mut stream, "/metrics");
            assert_eq!(response.status, 200);
            assert!(
                response
                    .head
                    .contains("application/openmetrics-text; version=1.0.0; charset=utf-8")
            );
            let page = scraped(&response.body);
            assert_eq!(page.faults, Vec::<String>::new());
            let of = [("hop", "feed->end")];
            let delivered = page.count("hopline_hop_delivered_messages_total", &of);
            assert!(delivered >= before);
            before = delivered;
            let switches = page
                .samples
                .iter()
                .filter(|one| one.name == "hopline_loop_context_switches_total");
            assert!(switches.count() >= 2, "the kernel's counts of each loop");
            assert_eq!(page.value("hopline_line_draining", &[]), "0");
        }
        assert_eq!(ask(&mut stream, "/healthz").status, 200);
        assert_eq!(ask(&mut stream, "/readyz").body, "ready\n");
        assert_eq!(ask(&mut stream, "/").status, 404);
        let page = scraped(&ask(&mut stream, "/metrics").body);
        let responses = |code| page.count("hopline_metrics_responses_total", &[("code", code)]);
        assert_eq!(
            (responses("200"), responses("404"), responses("503")),
            (7, 1, 0)
        );
        // Without a wish for OpenMetrics, and only the head.
        stream
            .write_all(b"HEAD /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
            .unwrap();
        let head = response(&mut stream, false).head;
        assert!(head.contains("text/plain; version=0.0.4; charset=utf-8"));
    });
    // What is left behind is exact.
    let mut stream = connected(server.address());
    let page: Scraped = scraped(&ask(&mut stream, "/metrics").body);
    assert_eq!(page.faults, Vec::<String>::new());
    let of = [("hop", "feed->end")];
    assert_eq!(
        page.count("hopline_hop_delivered_messages_total", &of),
        report.hops[0].delivered
    );
    assert_eq!(page.value("hopline_line_drained", &[]), "1");
    assert_eq!(ask(&mut stream, "/healthz").status, 200);
    assert_eq!(ask(&mut stream, "/readyz").status, 503);
    drop(server);
    assert!(
        TcpStream::connect(stream.peer_addr().unwrap()).is_err(),
        "the port is closed"
    );
}

#[test]
fn peers_that_misbehave_hold_up_nobody() {
    scraping(endless(), |address| {
        // One that says half a request, and ones that say nothing at all.
        let mut half = connected(address);
        half.write_all(b"GET /metr").unwrap();
        let silent: Vec<TcpStream> = (2..METRICS_CONNECTIONS_MAX)
            .map(|_| connected(address))
            .collect();
        // One that asks again and again and never reads: its socket fills up, and the server stops to listen to it.
        let mut deaf = connected(address);
        deaf.set_nonblocking(true).unwrap();
        let request = b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n";
        for _ in 0..1_000 {
            if deaf.write(request).is_err() {
                break;
            }
        }
        for (bytes, status) in [
            (
                b"POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".to_vec(),
                405,
            ),
            (
                [
                    b"GET /metrics HTTP/1.1\r\nX: ".as_slice(),
                    &[b'x'; METRICS_HEAD_BYTES_MAX],
                ]
                .concat(),
                431,
            ),
            (b"\0\0\0\0".to_vec(), 400),
        ] {
            // All places are taken: it gets that of one that is silent.
            let mut stream = connected(address);
            stream.write_all(&bytes).unwrap();
            assert_eq!(response(&mut stream, true).status, status);
        }
        let mut stream = connected(address);
        let page = scraped(&ask(&mut stream, "/metrics").body);
        assert_eq!(page.faults, Vec::<String>::new());
        let cut = |why| page.count("hopline_metrics_connections_cut_total", &[("reason", why)]);
        // On a host that is very slow their time was over before.
        assert!(cut("full") + cut("silent") >= 1);
        let connections = page.count("hopline_metrics_connections", &[]);
        assert!(connections <= METRICS_CONNECTIONS_MAX as u64);
        half.write_all(b"ics HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        // It was inside a request, so its place was not given away; on a very slow host its time is over.
        assert!(matches!(response(&mut half, true).status, 200 | 408));
        drop((silent, deaf));
    });
}

/// Holds its first frame until somebody else waits at the barrier.
struct Hangs {
    until: Arc<Barrier>,
    is_first: bool,
}

impl Stage for Hangs {
    type In = Number;
    type Why = NoWhy;
    const PORTS: &'static [Port] = &[Port::new::<Number>("out")];

    fn on_frame(&mut self, frame: View<'_, Number>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        if std::mem::take(&mut self.is_first) {
            self.until.wait();
        }
        let value = frame.value();
        cx.emit(NUMBERS, &Number { value });
        Outcome::done()
    }
}

#[test]
fn a_handler_that_hangs_is_named_by_health() {
    let until = Arc::new(Barrier::new(2));
    let let_go = until.clone();
    let mut line = Line::builder("hangs");
    line.source("feed", Counting::new(u64::MAX, 100_000));
    line.stage("stuck", move || Hangs {
        until: until.clone(),
        is_first: true,
    });
    line.sink("end", Collect::default());
    line.connect("feed", "stuck", Hop::depth(64));
    line.connect("stuck", "end", Hop::depth(64));
    placed(&mut line);
    scraping(line, move |address| {
        let mut stream = connected(address);
        // Alive until it is known to hang.
        let dead = (0..100_000)
            .map(|_| ask(&mut stream, "/healthz"))
            .find(|one| one.status == 503);
        let body = dead.expect("it hangs").body;
        assert!(body.contains("stuck does not return"), "{body}");
        assert_eq!(ask(&mut stream, "/readyz").status, 503);
        let page = scraped(&ask(&mut stream, "/metrics").body);
        assert_eq!(page.value("hopline_line_live", &[]), "0");
        let_go.wait();
    });
}

#[test]
fn nobody_who_holds_the_line_is_a_503_and_a_taken_port_is_an_error() {
    let server = Server::open("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut stream = connected(server.address());
    let answer = ask(&mut stream, "/metrics");
    assert_eq!(
        (answer.status, answer.body.contains("has not answered")),
        (503, true)
    );
    let error = Server::open(server.address()).unwrap_err().to_string();
    assert!(error.contains(&server.address().to_string()), "{error}");
}
