//! A line fed over WebSocket: by the exchange of the harness, through cuts and silence, and by a server that nobody here wrote.

#[path = "../../tests/common/data.rs"]
mod data;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use hopline::feed::parse_line;
use hopline::io::{Driver, LineEvent, LineReader};
use serde_json::Value;

const CAPTURE: &str = "market/binance_usdm_btcusdt_20240808.gz";

/// A port that nobody holds just now.
fn port() -> u16 {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// A case: one WebSocket into a book, and nothing behind it.
fn case(port: u16, settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        r#"
[line]
name = "ws"
wait = "yield"

[[source]]
name = "btc"
kind = "websocket"
url = "ws://127.0.0.1:{port}/stream"
subscribe = ['subscribe']
decode = "binance"
symbol = "BTCUSDT"
symbols = ["BTCUSDT"]
{settings}

[[stage]]
name = "book"
kind = "book"

[[sink]]
name = "end"
kind = "blackhole"

[[hop]]
from = "btc"
to = "book"

[[hop]]
from = "book"
to = "end"
"#
    );
    std::fs::write(folder.path().join("line.toml"), line).unwrap();
    folder
}

fn hopline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.env_remove("COLUMNS").stdin(Stdio::null());
    command
}

fn json(output: &Output) -> Value {
    let words = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {words}"))
}

/// A process that is ended with the test.
struct Ended(Option<Child>);

impl Ended {
    fn spawn(command: &mut Command) -> Ended {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Ended(Some(child.spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    fn signal(&mut self, name: &str) {
        let pid = self.child().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    fn output(mut self) -> Output {
        self.0.take().unwrap().wait_with_output().unwrap()
    }

    /// The rest of the first line of standard error that has these words.
    fn said(&mut self, words: &str) -> String {
        let stderr = self.child().stderr.take().unwrap();
        let mut lines = BufReader::new(stderr).lines();
        let line = lines.find_map(|line| {
            let line = line.unwrap();
            let at = line.find(words)?;
            Some(line[at + words.len()..].to_owned())
        });
        // The pipe stays open with somebody who reads it.
        std::thread::spawn(move || lines.for_each(drop));
        line.expect("it says so")
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// An exchange, and the port at which it serves.
fn exchange(args: &[&str]) -> (Ended, u16) {
    let mut command = hopline();
    command.args(["exchange", "--bind", "127.0.0.1:0", "--json"]);
    let mut exchange = Ended::spawn(command.args(args));
    let at = exchange.said("serving at ws://127.0.0.1:");
    (exchange, at.trim().parse().unwrap())
}

/// The line on that case, to be ended by a signal.
fn line(case: &Path, args: &[&str]) -> Ended {
    let mut command = hopline();
    command.arg("run").arg(case);
    command.args(["--live", "--for", "60s", "--json"]);
    Ended::spawn(command.args(args))
}

/// The reports of a line behind its exchange, which ends by itself.
fn both(exchange: Ended, mut line: Ended) -> (Value, Value) {
    let served = json(&exchange.output());
    line.signal("INT");
    let output = line.output();
    let report = json(&output);
    assert_eq!(output.status.code(), Some(0), "{}", report["faults"]);
    assert_eq!(report["ledger"]["closed"], true, "{}", report["ledger"]);
    (served[0].clone(), report)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Kind and numbers of a message, as the log of a sink has them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    kind: String,
    id: u64,
    prev: u64,
}

/// The messages of a capture, in order.
fn capture(file: &Path) -> Vec<Left> {
    let mut driver = Driver::real().unwrap();
    let mut lines = LineReader::open(&mut driver, file, 1 << 20).unwrap();
    let mut all = Vec::new();
    while !lines.at_end() {
        match lines.next_line() {
            Some(LineEvent::Line(line)) => {
                let (_, json) = parse_line(line).unwrap();
                let value: Value = serde_json::from_slice(json).unwrap();
                let data = value.get("data").unwrap_or(&value);
                let (kind, id) = match data["e"].as_str() {
                    Some("trade") => ("trade", "t"),
                    Some("bookTicker") => ("bookTicker", "u"),
                    Some("depthUpdate") => ("depthUpdate", "u"),
                    _ => ("snapshot", "lastUpdateId"),
                };
                all.push(Left {
                    kind: kind.to_owned(),
                    id: count(&data[id]),
                    prev: count(&data["pu"]),
                });
            }
            Some(LineEvent::Bad(why)) => panic!("{why:?}"),
            None => drop(lines.fill(&mut driver, 256 << 10).unwrap()),
        }
    }
    all
}

/// The messages that left the book, by the log of a sink.
fn left(log: &Path) -> Vec<Left> {
    let text = std::fs::read_to_string(log).unwrap();
    let of = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        Left {
            kind: value["kind"].as_str().unwrap().to_owned(),
            id: count(&value["id"]),
            prev: count(&value["prev"]),
        }
    };
    text.lines().map(of).collect()
}

fn of_kind<'a>(all: &'a [Left], kind: &'a str) -> impl Iterator<Item = &'a Left> {
    all.iter().filter(move |one| one.kind == kind)
}

#[test]
fn a_capture_comes_whole_through_a_cut_but_for_what_was_sent_meanwhile() {
    let test = "a_capture_comes_whole_through_a_cut_but_for_what_was_sent_meanwhile";
    let Some(data) = data::data_dir(test) else {
        return;
    };
    const CUT_AFTER: usize = 30_000;
    let file = data.join(CAPTURE);
    let sent = capture(&file);
    let (exchange, port) = exchange(&[
        file.to_str().unwrap(),
        "--speed",
        "60x",
        "--cut-after",
        &CUT_AFTER.to_string(),
    ]);
    let case = case(port, "retry_min = \"100ms\"\nretry_max = \"200ms\"");
    let log: PathBuf = case.path().join("log.ndjson");
    let line = line(case.path(), &["--sink-log", log.to_str().unwrap()]);
    let (served, report) = both(exchange, line);

    // What the exchange says of it: one message cut, one gap behind it, all others served.
    assert_eq!(count(&served["cut"]), 1);
    assert_eq!(count(&served["gap_count"]), 1, "{served}");
    let gap = &served["gaps"][0];
    let (first, missed) = (count(&gap["first"]) as usize, count(&gap["messages"]));
    assert_eq!(first, CUT_AFTER + 1, "{served}");
    assert!(
        missed > 100 && missed == count(&served["missed"]),
        "{served}"
    );
    let in_all = count(&served["served"]) + missed + 1;
    assert_eq!(in_all, sent.len() as u64, "{served}");

    // What the line says: all that was served, the cut message by its reason, and when nobody was connected.
    let source = &report["ledger"]["sources"]["btc"];
    assert_eq!(source["received"], count(&served["served"]) + 1, "{source}");
    assert_eq!(source["ingested"], served["served"], "{source}");
    assert_eq!(source["rejected"], serde_json::json!({"truncated": 1}));
    let link = &source["link"];
    assert_eq!(link["closed"], serde_json::json!({"1001": 1, "1006": 1}));
    assert_eq!(count(&link["opened"]), 2);
    let outage = &link["outage_spans"][0];
    assert!(
        count(&outage["until_ns"]) > count(&outage["from_ns"]),
        "{link}"
    );
    assert_eq!(source["disconnected"]["cut_off"], 1);

    // Message by message: the capture without the cut one and the gap, in its order.
    let there: Vec<&Left> = sent[..CUT_AFTER]
        .iter()
        .chain(&sent[first + missed as usize..])
        .collect();
    let logged = left(&log);
    for kind in ["trade", "bookTicker", "depthUpdate"] {
        let expected: Vec<&&Left> = there.iter().filter(|one| one.kind == kind).collect();
        let got: Vec<&Left> = of_kind(&logged, kind).collect();
        assert_eq!(got.len(), expected.len(), "{kind}");
        let mut both = got.iter().zip(&expected);
        assert!(both.all(|(got, sent)| *got == **sent), "{kind}");
    }
    let breaks = |kind: &str, follows: fn(&Left, &Left) -> bool| {
        let all: Vec<&Left> = of_kind(&logged, kind).collect();
        let pairs = all.windows(2);
        pairs.filter(|pair| !follows(pair[0], pair[1])).count()
    };
    assert_eq!(
        breaks("trade", |a, b| a.id + 1 == b.id),
        1,
        "contiguous but for the gap"
    );
    assert_eq!(
        breaks("depthUpdate", |a, b| b.prev == a.id),
        1,
        "each follows the one before but at the gap"
    );
    assert_eq!(
        breaks("bookTicker", |a, b| a.id < b.id),
        0,
        "updates rise, through the gap too"
    );
    let stages = report["stages"].as_array().unwrap();
    let book = stages.iter().find(|stage| stage["name"] == "book").unwrap();
    assert_eq!(count(&book["consumed"]), count(&served["served"]));
}

#[test]
fn a_capture_at_its_fastest_comes_whole_since_a_full_hop_holds_the_exchange() {
    let test = "a_capture_at_its_fastest_comes_whole_since_a_full_hop_holds_the_exchange";
    let Some(data) = data::data_dir(test) else {
        return;
    };
    let file = data.join(CAPTURE);
    let sent = capture(&file);
    let (exchange, port) = exchange(&[file.to_str().unwrap(), "--speed", "max"]);
    let case = case(port, "");
    let log: PathBuf = case.path().join("log.ndjson");
    let line = line(case.path(), &["--sink-log", log.to_str().unwrap()]);
    let (served, report) = both(exchange, line);
    assert_eq!(
        (count(&served["served"]), count(&served["missed"])),
        (sent.len() as u64, 0)
    );
    let source = &report["ledger"]["sources"]["btc"];
    assert_eq!(source["ingested"], served["served"], "{source}");
    assert_eq!(source["rejected"], serde_json::json!({}));
    let logged = left(&log);
    for kind in ["trade", "bookTicker"] {
        assert!(of_kind(&logged, kind).eq(of_kind(&sent, kind)), "{kind}");
    }
}

#[test]
fn an_exchange_that_falls_silent_is_found_by_its_pings_and_one_that_closes_is_told_apart() {
    let settings = "retry_min = \"20ms\"\nretry_max = \"40ms\"\nping_every = \"50ms\"\nsilent_after = \"300ms\"";
    for (wish, lost, closed) in [
        (&["--silent-after", "1000"][..], "silent", None),
        (
            &["--close-after", "1000", "--code", "1008"],
            "closed",
            Some("1008"),
        ),
        (&["--close-after", "1000"], "closed", Some("1012")),
    ] {
        let mut args = vec!["--rate", "5k", "--for", "2s"];
        args.extend(wish);
        let (exchange, port) = exchange(&args);
        let case = case(port, settings);
        let (served, report) = both(exchange, line(case.path(), &[]));
        let source = &report["ledger"]["sources"]["btc"];
        let link = &source["link"];
        assert!(count(&link["lost"][lost]) >= 1, "{link}");
        if let Some(code) = closed {
            assert_eq!(link["closed"][code], 1, "{link}");
        }
        assert!(count(&link["opened"]) >= 2, "{link}");
        assert!(
            count(&served["missed"]) > 0 && count(&served["gap_count"]) == 1,
            "{served}"
        );
        assert_eq!(source["ingested"], served["served"], "{source} {served}");
        assert_eq!(count(&served["asked"]), count(&link["opened"]));
    }
}

#[test]
fn the_case_market_ws_runs_by_itself_and_takes_all_that_is_served() {
    let test = "the_case_market_ws_runs_by_itself_and_takes_all_that_is_served";
    let run = |args: &[String]| {
        let mut command = hopline();
        command.args(["run", "market-ws", "--json"]).args(args);
        let output = command.output().unwrap();
        let report = json(&output);
        assert_eq!(output.status.code(), Some(0), "{}", report["faults"]);
        let feeds = report["exchange"].as_array().unwrap();
        assert_eq!(feeds.len(), 2);
        for feed in feeds {
            let source = &report["ledger"]["sources"][feed["source"].as_str().unwrap()];
            assert!(count(&feed["served"]) > 1_000, "{feed}");
            assert_eq!(source["received"], feed["served"], "{source}");
            assert_eq!(source["ingested"], feed["served"], "{source}");
            let (missed, asked) = (count(&feed["missed"]), count(&feed["asked"]));
            assert_eq!((missed, asked), (0, 1), "{feed}");
            assert_eq!(count(&source["link"]["opened"]), 1);
        }
        assert!(count(&report["end_to_end"]["count"]) > 0);
    };
    run(&["--for", "1s"].map(str::to_owned));
    // One run behind the other, for they have the same ports.
    let Some(data) = data::data_dir(test) else {
        return;
    };
    let input = |name: &str| {
        format!(
            "{name}={}",
            data.join(CAPTURE.replace("btc", name)).display()
        )
    };
    let mut args = ["--speed", "20x", "--for", "2s"]
        .map(str::to_owned)
        .to_vec();
    for name in ["btc", "eth"] {
        args.extend(["--input".to_owned(), input(name)]);
    }
    run(&args);
}

#[test]
fn a_load_over_websocket_is_refused_where_it_cannot_be() {
    let folder = case(port(), "");
    std::fs::write(
        folder.path().join("load.toml"),
        "via = \"websocket\"\nrate = \"1k/s\"\n",
    )
    .unwrap();
    let run = |args: &[&str]| {
        let output = hopline()
            .arg("run")
            .arg(folder.path())
            .args(args)
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (code, words) = run(&["--for", "200ms", "--via", "udp"]);
    assert_eq!(code, Some(64), "{words}");
    let (code, words) = run(&["--for", "300ms"]);
    assert_eq!(code, Some(0), "{words}");
    let (code, words) = run(&["--for", "300ms", "--via", "direct"]);
    assert_eq!(code, Some(0), "{words}");
    let output = hopline()
        .args(["run", "udp-echo", "--via", "websocket"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(words.contains("kind = \"websocket\""), "{words}");
}

/// A server of PyPI's websockets with these manners, the port it has, and what it says.
fn python(
    test: &str,
    manners: &[&str],
) -> Option<(Ended, u16, impl Iterator<Item = String> + use<>)> {
    let Some(python) = std::env::var_os("HOPLINE_WEBSOCKETS_PYTHON") else {
        data::skipped(
            test,
            "HOPLINE_WEBSOCKETS_PYTHON is not set: .ci/websocket-peers sets it",
        );
        return None;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/websocket_peer.py");
    let mut server = Ended::spawn(Command::new(python).arg(script).args(manners));
    let stdout = server.child().stdout.take().unwrap();
    let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
    let port = lines.next().expect("it says its port");
    let port = port.strip_prefix("port ").unwrap().parse().unwrap();
    Some((server, port, lines))
}

#[test]
fn a_server_that_nobody_here_wrote_is_a_peer_like_any_other() {
    let test = "a_server_that_nobody_here_wrote_is_a_peer_like_any_other";
    let manners = [
        "fragments",
        "1000",
        "1001",
        "1008",
        "1012",
        "long",
        "abort",
        "longer",
        "pings",
    ];
    // Each manner that does not end its connection is ended by the next run.
    let mut lost: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    for manner in manners {
        let Some((server, port, said)) = python(test, &[manner, "well"]) else {
            return;
        };
        let case = case(
            port,
            "retry_min = \"20ms\"\nretry_max = \"40ms\"\nping_every = \"100ms\"\nsilent_after = \"2s\"",
        );
        let log: PathBuf = case.path().join("log.ndjson");
        let mut command = hopline();
        command.arg("run").arg(case.path());
        command.args(["--live", "--for", "1500ms", "--json", "--sink-log"]);
        let output = command.arg(&log).output().unwrap();
        let report = json(&output);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{manner}: {}",
            report["faults"]
        );
        assert_eq!(report["ledger"]["closed"], true, "{manner}");
        let source = &report["ledger"]["sources"]["btc"];
        let link = &source["link"];
        let ends = matches!(
            manner,
            "1000" | "1001" | "1008" | "1012" | "abort" | "longer"
        );
        assert_eq!(
            count(&link["opened"]),
            1 + u64::from(ends),
            "{manner}: {link}"
        );
        if manner.parse::<u16>().is_ok() {
            assert_eq!(link["closed"][manner], 1, "{link}");
        }
        let rejected = match manner {
            "long" | "longer" => serde_json::json!({"too_long": 1}),
            _ => serde_json::json!({}),
        };
        if manner != "abort" {
            assert_eq!(source["rejected"], rejected, "{manner}");
        }
        if manner == "pings" {
            assert!(count(&link["pinged"]) >= 2_000, "{link}");
        }
        assert!(count(&link["pongs"]) > 2, "{manner}: {link}");
        // Trades are contiguous but where a connection was lost, and nothing comes twice.
        let ids: Vec<u64> = left(&log).iter().map(|one| one.id).collect();
        assert!(ids.len() > 200, "{manner}: {}", ids.len());
        let breaks = ids.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count();
        assert!(breaks <= usize::from(ends) && ids.is_sorted(), "{manner}");
        assert_eq!(count(&source["ingested"]), ids.len() as u64, "{manner}");
        if !matches!(manner, "abort" | "longer") {
            assert_eq!(breaks, 0, "{manner}: it closed in good order");
        }
        drop(server);
        let said: Vec<String> = said.collect();
        // One that is cut off at once has not been heard.
        let asked = said
            .iter()
            .filter(|line| *line == "heard subscribe")
            .count();
        // One that cuts a connection at once has not read from it.
        let cut = u64::from(manner == "abort");
        assert!(
            asked as u64 + cut >= count(&link["opened"]),
            "{manner}: {said:?}"
        );
        assert!(
            said.iter().any(|line| line.starts_with("closed 1000")),
            "{manner}: {said:?}"
        );
        let by: BTreeMap<String, u64> = serde_json::from_value(link["lost"].clone()).unwrap();
        lost.insert(manner, by);
    }
    assert_eq!(lost["longer"]["too_long"], 1);
    assert_eq!(lost["1012"]["closed"], 1);
}
