//! The load tool for edges against the edge of a running line: the real binaries, small numbers, no time that has to be kept.
//!
//! A proxy of the test's own stands between them where something is to go wrong on the way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use serde_json::Value;

/// A line that always has something new to tell.
const LINE: &str = r#"
[line]
name = "small"
pin = "off"
wait = "park"
drain = "2s"

[[source]]
name = "btc"
kind = "synthetic"
rate = "500/s"
decode = "binance"
symbol = "BTCUSDT"
symbols = ["BTCUSDT"]

[[stage]]
name = "book"
kind = "book"

[[sink]]
name = "end"
kind = "blackhole"

[[hop]]
from = "btc"
to = "book"
depth = 1024

[[hop]]
from = "book"
to = "end"
depth = 1024
"#;

fn hopline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.env_remove("COLUMNS").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A process that is ended with the test, and whose standard error is read to its end.
struct Running {
    child: Option<Child>,
    words: Receiver<String>,
}

impl Running {
    fn spawn(command: &mut Command) -> Running {
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        // Room for all that a test's processes say.
        let (tx, words) = sync_channel(4_096);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = tx.try_send(line);
            }
        });
        let child = Some(child);
        Running { child, words }
    }

    /// The rest of the next line of standard error that has these words.
    fn said(&self, words: &str) -> String {
        let mut said = self.words.iter();
        let line = said.find_map(|line| {
            let at = line.find(words)?;
            Some(line[at + words.len()..].trim().to_owned())
        });
        line.unwrap_or_else(|| panic!("it never says \"{words}\""))
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    fn interrupt(&self) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", "INT", &pid]).status();
        assert!(sent.unwrap().success());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn output(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A line with an edge, and where that is.
struct Served {
    running: Running,
    url: String,
    _case: tempfile::TempDir,
}

impl Served {
    fn at(address: &str, more: &[&str]) -> Served {
        let case = tempfile::tempdir().unwrap();
        std::fs::write(case.path().join("line.toml"), LINE).unwrap();
        let mut command = hopline();
        command.arg("run").arg(case.path());
        command.args(["--for", "300s", "--json", "--edge", address]);
        let running = Running::spawn(command.args(more));
        let url = running.said("edge: ");
        Served {
            running,
            url,
            _case: case,
        }
    }

    fn start(more: &[&str]) -> Served {
        Served::at("127.0.0.1:0", more)
    }

    fn address(&self) -> SocketAddr {
        let address = self.url.trim_start_matches("http://");
        address.trim_end_matches('/').parse().unwrap()
    }

    /// Follows the DAG until a line of it has these words, so that the next snapshot has them.
    fn shows(&self, words: &str) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let asks = b"GET /dag HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(asks).unwrap();
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains(words)), "{words}");
    }
}

fn load(url: &str, args: &[&str]) -> Command {
    let mut command = hopline();
    command.args(["edge-load", url]).args(args);
    command
}

#[track_caller]
fn ends(output: &Output, code: i32) -> Value {
    let (out, err) = (&output.stdout, &output.stderr);
    let [out, err] = [out, err].map(|bytes| String::from_utf8_lossy(bytes));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_default()
}

#[track_caller]
fn report(url: &str, args: &[&str], code: i32) -> Value {
    let output = load(url, args).arg("--json").output().unwrap();
    ends(&output, code)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

#[test]
fn everything_adds_up_through_a_cut() {
    let served = Served::start(&["--edge-per-address", "100"]);
    let pid = served.running.pid().to_string();
    let load = report(
        &served.url,
        &[
            "--clients",
            "18",
            "--via",
            "mix",
            "--for",
            "6s",
            "--subscribe",
            "dag/line",
            "--subscribe",
            "alerts/line",
            "--subscribe",
            "stats/line",
            "--rate-ack",
            "5",
            "--cut",
            "9@2s",
            "--server-pid",
            &pid,
        ],
        0,
    );
    let clients = &load["clients"];
    for (key, expected) in [
        ("ws", 6),
        ("sse", 6),
        ("ndjson", 6),
        ("expected", 18),
        ("live", 18),
        ("been_live", 18),
        ("not_begun", 0),
    ] {
        assert_eq!(count(&clients[key]), expected, "{key}: {clients}");
    }
    let (checks, connections) = (&load["checks"], &load["connections"]);
    for key in ["missing", "doubled", "sums_wrong", "differing"] {
        assert_eq!(checks[key], 0, "{checks}");
    }
    assert_eq!(checks["broken"], serde_json::json!({}));
    assert_eq!(checks["faults"], serde_json::json!([]));
    assert!(count(&checks["events"]) > 50, "{checks}");
    assert!(count(&checks["unnumbered"]) > 8, "{checks}");
    assert!(count(&checks["sums_right"]) >= 8, "{checks}");
    // Each that was cut came back, from where it was, and got all that it had missed.
    let cut = &load["cuts"][0];
    assert_eq!((count(&cut["cut"]), count(&cut["away"])), (9, 0), "{cut}");
    assert!(count(&cut["all_live_ns"]) > 0, "{cut}");
    assert_eq!(count(&load["live_again_ns"]["count"]), 9);
    assert!(count(&checks["resumed"]) > 0, "{checks}");
    assert_eq!(checks["recovered"], checks["resumed"], "{checks}");
    assert_eq!(count(&connections["cut"]), 9);
    assert_eq!(count(&connections["begun"]), 27, "{connections}");
    assert_eq!(connections["failed"], serde_json::json!({}));
    assert_eq!(connections["closed"], serde_json::json!({}));
    assert_eq!(connections["errors"], serde_json::json!({}));
    assert!(count(&connections["acks"]) > 0);
    for span in ["connect_late_ns", "hello_ns", "live_ns"] {
        assert_eq!(count(&load[span]["count"]), 18, "{span}");
    }
    // Those on dag/line: all WebSockets, and a third of the streams.
    assert_eq!(count(&load["snapshot_ns"]["count"]), 10);
    assert!(count(&load["event_delay_ns"]["count"]) > 50);
    assert!(count(&load["server"]["resident_max"]) > 1 << 20);
    assert!(count(&load["tool"]["resident_bytes"]) > 1 << 20);
}

#[test]
fn a_person_gets_a_table() {
    let served = Served::start(&[]);
    let output = load(&served.url, &["--clients", "3", "--for", "2s"])
        .output()
        .unwrap();
    ends(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for words in [
        "3 clients (3 ws)",
        "to hello",
        "3 of 3 at the end",
        "dense, none twice",
        "this tool",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn those_that_never_read_or_send_without_end_keep_no_other_from_its_events() {
    let served = Served::start(&[]);
    let load = report(
        &served.url,
        &[
            "--clients",
            "12",
            "--slow",
            "3",
            "--flood",
            "2",
            "--for",
            "4s",
            "--via",
            "mix",
        ],
        0,
    );
    let (clients, connections) = (&load["clients"], &load["connections"]);
    assert_eq!(count(&clients["slow"]), 3);
    assert_eq!(count(&clients["expected"]), 9);
    assert_eq!(clients["live"], clients["expected"], "{load}");
    // More than a burst of each was sent.
    assert!(count(&connections["flooded"]) > 400, "{connections}");
    // Spans are those of clients that behave.
    assert_eq!(count(&load["hello_ns"]["count"]), 7);
    // What those never read was good all the same: it is read at the end.
    assert!(count(&load["checks"]["snapshots"]) >= 12, "{load}");
}

/// What happens to lines on the way from the server.
#[derive(Clone, Copy)]
enum Fault {
    Drops,
    Doubles,
    /// The next digit behind these words is another one.
    Alters(&'static str),
}

/// Whether a line holds an event with an offset that is no snapshot.
fn is_event(line: &str) -> bool {
    line.contains("\"o\":") && line.contains("\"t\":") && line.contains("\"type\":\"edge_active\"")
}

/// Lets one connection through, and does that to the third event of it, or to the first line that can be altered.
fn proxy(server: SocketAddr, fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let upstream = TcpStream::connect(server).unwrap();
        let (mut up, mut down) = (upstream.try_clone().unwrap(), client.try_clone().unwrap());
        let mut asked = client;
        std::thread::spawn(move || std::io::copy(&mut asked, &mut up));
        let mut lines = BufReader::new(upstream);
        let (mut events, mut is_done) = (0, false);
        let mut bytes = Vec::new();
        while lines
            .read_until(b'\n', &mut bytes)
            .is_ok_and(|count| count > 0)
        {
            let mut line = String::from_utf8(core::mem::take(&mut bytes)).unwrap();
            events += u32::from(is_event(&line));
            match fault {
                Fault::Drops if events == 3 && !is_done => {
                    is_done = true;
                    line.clear();
                }
                Fault::Doubles if events == 3 && !is_done => {
                    is_done = true;
                    line = line.repeat(2);
                }
                Fault::Alters(words) if !is_done => {
                    if let Some(at) = line.find(words) {
                        is_done = true;
                        let at = at + words.len();
                        let other = if &line[at..=at] == "1" { "2" } else { "1" };
                        line.replace_range(at..=at, other);
                    }
                }
                _ => {}
            }
            if down.write_all(line.as_bytes()).is_err() {
                return;
            }
        }
    });
    url
}

#[test]
fn an_event_that_is_lost_on_the_way_is_found() {
    let served = Served::start(&[]);
    for via in ["ndjson", "sse"] {
        let url = proxy(served.address(), Fault::Drops);
        let load = report(&url, &["--clients", "1", "--via", via, "--for", "5s"], 3);
        let checks = &load["checks"];
        assert_eq!(
            (count(&checks["missing"]), count(&checks["doubled"])),
            (1, 0)
        );
        let fault = checks["faults"][0].as_str().unwrap();
        assert!(fault.contains("so 1 are missing"), "{fault}");
    }
}

#[test]
fn an_event_that_comes_twice_is_found() {
    let served = Served::start(&[]);
    let url = proxy(served.address(), Fault::Doubles);
    let args = ["--clients", "1", "--via", "ndjson", "--for", "5s"];
    let load = report(&url, &args, 3);
    let checks = &load["checks"];
    assert_eq!(
        (count(&checks["missing"]), count(&checks["doubled"])),
        (0, 1)
    );
}

#[test]
fn a_value_that_is_altered_on_the_way_is_found_by_the_sum() {
    let served = Served::start(&[]);
    // A sum comes with the snapshot; the next one is 64 events away.
    served.shows("\"capacity\":");
    let url = proxy(served.address(), Fault::Alters("\"capacity\":"));
    let args = ["--clients", "1", "--via", "ndjson", "--for", "3s"];
    let load = report(&url, &args, 3);
    assert_eq!(
        count(&load["checks"]["sums_wrong"]),
        1,
        "{}",
        load["checks"]
    );
    // And where it breaks what is said, by that.
    let url = proxy(
        served.address(),
        Fault::Alters("{\"type\":\"hello\",\"v\":"),
    );
    let output = load_once(&url);
    let load = ends(&output, 3);
    assert!(count(&load["checks"]["broken"]["bad_hello"]) > 0, "{load}");
}

fn load_once(url: &str) -> Output {
    let args = ["--clients", "1", "--via", "ndjson", "--for", "2s", "--json"];
    load(url, &args).output().unwrap()
}

#[test]
fn a_server_that_is_gone_is_tried_again_and_given_up() {
    let mut served = Served::start(&[]);
    let mut command = load(
        &served.url,
        &[
            "--clients",
            "6",
            "--via",
            "mix",
            "--for",
            "300s",
            "--give-up",
            "2s",
        ],
    );
    let running = Running::spawn(command.arg("--json"));
    running.said("6 clients are live");
    served.running.kill();
    let load = ends(&running.output(), 74);
    assert_eq!(load["gave_up"], true);
    let (connections, clients) = (&load["connections"], &load["clients"]);
    assert_eq!(
        (count(&clients["been_live"]), count(&clients["live"])),
        (6, 0)
    );
    assert_eq!(count(&connections["lost"]), 6);
    assert!(count(&connections["failed"]["nobody listens there"]) >= 6);
    assert_eq!(load["checks"]["missing"], 0);
    assert!(load["notes"].to_string().contains("--give-up"), "{load}");
}

#[test]
fn a_server_that_begins_anew_tells_so_and_all_are_live_again() {
    let mut served = Served::start(&[]);
    let address = served.address().to_string();
    let mut command = load(
        &served.url,
        &[
            "--clients",
            "6",
            "--via",
            "mix",
            "--for",
            "300s",
            "--subscribe",
            "dag/line",
        ],
    );
    let running = Running::spawn(command.arg("--json"));
    running.said("6 clients are live");
    served.running.kill();
    let again = Served::at(&address, &[]);
    running.said("6 clients are live");
    running.interrupt();
    let load = ends(&running.output(), 0);
    drop(again);
    assert_eq!(load["signalled"], true);
    let checks = &load["checks"];
    assert_eq!(
        (count(&checks["resumed"]), count(&checks["recovered"])),
        (6, 0)
    );
    assert!(!checks["gaps"]["epoch"].is_null(), "{checks}");
    assert_eq!(count(&load["clients"]["live"]), 6);
}

#[test]
fn who_is_not_let_in_is_counted_with_what_to_do() {
    let served = Served::start(&["--edge-per-address", "3"]);
    let args = ["--clients", "5", "--via", "ndjson", "--for", "2s"];
    let load = report(&served.url, &args, 0);
    assert!(count(&load["connections"]["refused"]["429"]) >= 2, "{load}");
    assert_eq!(count(&load["clients"]["live"]), 3);
    assert!(load["notes"].to_string().contains("--edge-per-address"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "a long secret\n").unwrap();
    let file = file.to_str().unwrap();
    let served = Served::start(&["--edge-token", file]);
    for via in ["ws", "sse"] {
        let args = ["--clients", "2", "--via", via, "--for", "60s"];
        let load = report(&served.url, &args, 74);
        assert_eq!(count(&load["connections"]["given_up"]), 2, "{load}");
        assert!(load["notes"].to_string().contains("--token FILE"), "{load}");
    }
    let args = [
        "--clients",
        "3",
        "--via",
        "mix",
        "--for",
        "2s",
        "--token",
        file,
    ];
    let load = report(&served.url, &args, 0);
    assert_eq!(count(&load["clients"]["live"]), 3);
}

#[test]
fn a_channel_that_is_not_there_is_told() {
    let served = Served::start(&[]);
    let args = ["--clients", "3", "--via", "mix", "--for", "2s"];
    let args = [&args[..], &["--subscribe", "dag/other"]].concat();
    let load = report(&served.url, &args, 74);
    assert_eq!(count(&load["connections"]["refused"]["404"]), 2, "{load}");
    assert_eq!(count(&load["connections"]["errors"]["no_channel"]), 1);
    assert!(load["notes"].to_string().contains("no such channel"));
}

#[test]
fn a_wrong_command_line_ends_64_before_anything_is_opened() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    port.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", port.local_addr().unwrap());
    for (args, words) in [
        (&["--clients", "2", "--slow", "3"][..], "of the clients"),
        (&["--cut", "5@20s"], "after the end"),
        (&["--cut", "5"], "500@20s"),
        (&["--via", "sse", "--rate-ack", "1"], "no effect"),
        (&["--subscribe", "dag"], "name/group"),
        (&["--server-pid", "4294967295"], "no such process"),
        (&["--clients", "70000"], "65536"),
        (&["--storms"], "--storm"),
    ] {
        let output = load(&url, args).output().unwrap();
        ends(&output, 64);
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(err.contains(words), "{args:?}: {err}");
        assert!(port.accept().is_err(), "nothing was opened");
    }
    let output = load("https://127.0.0.1:1/", &[]).output().unwrap();
    ends(&output, 64);
    let output = load(&url, &["--token", "/no/such/file"]).output().unwrap();
    ends(&output, 74);
}

#[test]
fn more_clients_than_files_is_said_with_what_to_do() {
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_hopline");
    let script =
        format!("ulimit -n 200 && exec {program} edge-load http://127.0.0.1:1/ --clients 1000");
    let output = command.args(["-c", &script]).output().unwrap();
    ends(&output, 64);
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(err.contains("1,000 clients need 1064 open files"), "{err}");
    assert!(err.contains("ulimit -n"), "{err}");
}

#[test]
fn what_is_no_edge_is_no_success() {
    // It answers everything with a page.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 1_024]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    for via in ["ws", "ndjson"] {
        let args = ["--clients", "2", "--via", via, "--for", "2s"];
        let output = load(&url, &args).arg("--json").output().unwrap();
        let code = output.status.code();
        assert!(matches!(code, Some(3 | 74)), "{via}: {code:?}");
    }
    // Nobody is there at all.
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", gone.local_addr().unwrap());
    drop(gone);
    let load = report(
        &url,
        &["--clients", "2", "--for", "60s", "--give-up", "1s"],
        74,
    );
    assert!(count(&load["connections"]["failed"]["nobody listens there"]) >= 2);
}
