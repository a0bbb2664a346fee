//! The page of metrics and the log of a run, as whoever scrapes and reads them meets them: the real binary.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Longest wait for an answer of the program.
const PATIENCE: Duration = Duration::from_secs(60);

/// A case of its own, whose end holds messages up once it drains, if it is told to.
fn case(fault: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        r#"
[line]
name = "small"
pin = "off"
wait = "park"
drain = "2s"

[[source]]
name = "btc"
kind = "synthetic"
rate = "2k/s"
decode = "binance"
symbol = "BTCUSDT"
symbols = ["BTCUSDT"]

[[stage]]
name = "book"
kind = "book"

[[stage]]
name = "fault"
kind = "fault"
{fault}

[[sink]]
name = "end"
kind = "blackhole"

[[hop]]
from = "btc"
to = "book"
depth = 64
when_full = "drop_newest"

[[hop]]
from = "book"
to = "fault"
depth = 1024

[[hop]]
from = "fault"
to = "end"
depth = 1024
"#
    );
    let load = "rate = \"2k/s\"\narrivals = \"constant\"\nseed = 1\n";
    let budget = "[hop.\"btc->book\"]\np99 = \"1s\"\n";
    for (file, text) in [
        ("line.toml", line.as_str()),
        ("load.toml", load),
        ("budget.toml", budget),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    folder
}

/// A run that is scraped.
struct Run {
    child: Child,
    err: BufReader<ChildStderr>,
    address: String,
    /// What the log said before the address, if it is JSON.
    log: Vec<Value>,
}

impl Run {
    fn start(case: &tempfile::TempDir, more: &[&str]) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hopline"))
            .arg("run")
            .arg(case.path())
            .args(["--metrics", "127.0.0.1:0", "--json"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        let mut log = Vec::new();
        let address = loop {
            line.clear();
            assert!(
                err.read_line(&mut line).unwrap() > 0,
                "it says where it is served"
            );
            if let Some(url) = line.strip_prefix("metrics: http://") {
                break url.trim().trim_end_matches("/metrics").to_owned();
            }
            let Ok(event) = serde_json::from_str::<Value>(&line) else {
                continue;
            };
            let address = event["address"].as_str().map(str::to_owned);
            log.push(event);
            if let Some(address) = address {
                break address;
            }
        };
        Run {
            child,
            err,
            address,
            log,
        }
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// The samples of a page: name and labels, and the value.
    fn page(&self) -> BTreeMap<String, String> {
        let (status, body) = self.get("/metrics");
        assert_eq!(status, 200, "{body}");
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        let pairs = samples.map(|line| line.rsplit_once(' ').unwrap());
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Scrapes until the page says so.
    fn await_page(&self, name: &str, value: &str) -> BTreeMap<String, String> {
        for _ in 0..20_000 {
            let page = self.page();
            if page.get(name).map(String::as_str) == Some(value) {
                return page;
            }
        }
        panic!("{name} is never {value}");
    }

    /// The report, the rest of standard error, and the code.
    fn end(mut self) -> (Value, String, Option<i32>) {
        let mut report = String::new();
        let mut out = self.child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            out.read_to_string(&mut report).unwrap();
            report
        });
        let mut rest = String::new();
        self.err.read_to_string(&mut rest).unwrap();
        let report = reader.join().unwrap();
        let code = self.child.wait().unwrap().code();
        (serde_json::from_str(&report).unwrap(), rest, code)
    }
}

#[test]
fn the_last_page_is_the_report_and_a_signal_ends_its_time() {
    let case = case("");
    let run = Run::start(&case, &["--for", "1s", "--metrics-linger", "10m"]);
    assert_eq!(run.get("/healthz"), (200, "alive\n".to_owned()));
    let page = run.await_page("hopline_line_drained", "1");
    let (status, _) = run.get("/readyz");
    assert_eq!(status, 503, "it has ended");
    // Not ten minutes, and not the code of a second signal.
    run.signal("TERM");
    let (report, _, code) = run.end();
    assert_eq!(code, Some(0));
    for hop in report["hops"].as_array().unwrap() {
        for key in ["offered", "accepted", "delivered"] {
            let name = hop["name"].as_str().unwrap();
            let sample = format!("hopline_hop_{key}_messages_total{{hop=\"{name}\"}}");
            assert_eq!(page[&sample], hop[key].to_string(), "{sample}");
        }
    }
    let source = &report["ledger"]["sources"]["btc"];
    let received = "hopline_source_received_messages_total{source=\"btc\"}";
    assert_eq!(page[received], source["received"].to_string());
    assert!(source["received"].as_u64() > Some(100));
    assert_eq!(page["hopline_ledger_breaches"], "0");
    let thread = report["placement"][0]["name"].as_str().unwrap();
    let cpu = format!("hopline_loop_cpu_seconds_total{{loop=\"{thread}\"}}");
    // It was read while the run was scraped, and stays although its thread is gone by now.
    assert!(page[&cpu].parse::<f64>().unwrap() > 0.0);
}

#[test]
fn a_drain_is_seen_while_it_goes_on_and_the_port_closes_with_the_run() {
    // A consumer that takes its time: what is queued keeps the drain busy.
    let case = case("work = \"5ms\"");
    let run = Run::start(&case, &["--for", "10m"]);
    run.await_page("hopline_hop_rung{hop=\"book->fault\",rung=\"none\"}", "1");
    run.signal("TERM");
    let page = run.await_page("hopline_line_draining", "1");
    assert_eq!(
        page["hopline_line_drained"], "0",
        "it was seen before its end"
    );
    assert_eq!(run.get("/readyz").0, 503);
    let address = run.address.clone();
    let (report, _, _) = run.end();
    assert_eq!(report["drain"]["cause"], "signal");
    assert!(TcpStream::connect(&address).is_err());
}

#[test]
fn the_log_is_json_a_line_and_tells_the_life_of_the_line() {
    let case = case("");
    let mut run = Run::start(&case, &["--for", "1200ms", "--log", "json"]);
    let mut log = std::mem::take(&mut run.log);
    let (report, rest, code) = run.end();
    log.extend(
        rest.lines()
            .map(|line| serde_json::from_str(line).expect("one object a line")),
    );
    assert_eq!(code, Some(0));
    for event in &log {
        for key in ["time", "level", "event", "line", "message"] {
            assert!(event[key].is_string(), "{key}: {event}");
        }
        assert_eq!(event["line"], "small");
    }
    let of = |name: &'static str| log.iter().filter(move |event| event["event"] == name);
    assert_eq!(of("metrics").count(), 1);
    assert!(of("status").count() >= 1);
    let to_done = of("state").filter(|event| event["to"] == "done");
    assert_eq!(to_done.count(), 4, "each node comes to its end");
    let draining = of("draining").next().expect("the drain begins");
    assert_eq!(draining["cause"], "duration");
    let ended = log.last().unwrap();
    assert_eq!(
        (&ended["event"], &ended["exit"]),
        (&"ended".into(), &0.into())
    );
    assert_eq!(ended["ledger_closed"], report["ledger"]["closed"]);
}

#[test]
fn a_panic_is_a_fault_of_the_log_and_a_port_that_is_taken_costs_no_run() {
    let case = case("panic_at = 50");
    let more = ["--for", "10s", "--log", "json", "--metrics-linger", "10m"];
    let run = Run::start(&case, &more);
    let taken = Command::new(env!("CARGO_BIN_EXE_hopline"))
        .arg("run")
        .arg(case.path())
        .args(["--metrics", &run.address])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&taken.stderr).into_owned();
    assert_eq!(taken.status.code(), Some(74), "{words}");
    assert!(
        words.contains(&run.address) && taken.stdout.is_empty(),
        "{words}"
    );
    run.await_page("hopline_line_drained", "1");
    run.signal("TERM");
    let (_, rest, code) = run.end();
    assert_eq!(code, Some(3));
    // The words of the panic itself come from the runtime, as text.
    let log = rest
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let log: Vec<Value> = log.collect();
    let fault = log
        .iter()
        .find(|event| event["event"] == "fault")
        .expect("a fault");
    assert_eq!(
        (&fault["node"], &fault["level"]),
        (&"fault".into(), &"error".into())
    );
    let ended = log.last().unwrap();
    assert_eq!(
        (&ended["event"], &ended["level"]),
        (&"ended".into(), &"error".into())
    );
}

#[test]
fn wishes_that_make_no_sense_are_refused() {
    let case = case("");
    for (args, words) in [
        (vec!["--metrics", "somewhere"], "somewhere"),
        (vec!["--metrics-linger", "1s"], "--metrics"),
        (vec!["--virtual", "--metrics", "127.0.0.1:0"], "--virtual"),
        (vec!["--virtual", "--log", "json"], "--virtual"),
        (vec!["--log", "xml"], "xml"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_hopline"))
            .arg("run")
            .arg(case.path())
            .args(&args)
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}
