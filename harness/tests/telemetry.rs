//! The case `telemetry` as senders meet it, by the real binary and real sockets: what was sent is what the ledger has, to
//! the datagram and to the line, and what left is what was summed up. And the same line with ten times too much.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// How long a run lasts: longer than what the senders take on a busy machine.
const RUN: &str = "6s";

/// Tries to reach a case that starts, of some 50 us each where nobody listens.
const TRIES: usize = 1_000_000;

/// An address of loopback that nobody holds now.
fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A running case, the addresses of its sources, and where its lines go.
struct Run {
    child: Child,
    statsd: SocketAddr,
    graphite: SocketAddr,
    influx: SocketAddr,
    dogstatsd: String,
    folder: tempfile::TempDir,
}

fn copied(case: &str, change: impl Fn(String) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(case);
    let out = folder.path().join("out.ndjson");
    for file in ["line.toml", "load.toml", "budget.toml"] {
        let text = std::fs::read_to_string(from.join(file)).unwrap();
        let text = text.replace("/dev/null", out.to_str().unwrap());
        std::fs::write(folder.path().join(file), change(text)).unwrap();
    }
    folder
}

impl Run {
    /// Starts the case, and waits until it listens.
    fn start() -> Run {
        let (statsd, graphite, influx, other) = (free(), free(), free(), free());
        let dogstatsd = format!("hopline-telemetry-{}", std::process::id());
        let folder = copied("telemetry", |text| text);
        let child = Command::new(env!("CARGO_BIN_EXE_hopline"))
            .arg("run")
            .arg(folder.path())
            .args(["--for", RUN, "--json", "--wait", "yield", "--pin", "off"])
            .args(["--bind", &format!("statsd={statsd}")])
            .args(["--bind", &format!("graphite={graphite}")])
            .args(["--bind", &format!("influx={influx}")])
            .args(["--bind", &format!("influx-udp={other}")])
            .args(["--bind", &format!("dogstatsd=@{dogstatsd}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut tries = 0;
        while TcpStream::connect(influx).is_err() {
            tries += 1;
            assert!(tries < TRIES, "the case does not listen");
            std::thread::yield_now();
        }
        Run {
            child,
            statsd,
            graphite,
            influx,
            dogstatsd,
            folder,
        }
    }

    /// The report, and what left, line by line.
    fn end(mut self) -> (Value, Vec<Value>) {
        let mut report = String::new();
        let mut stdout = self.child.stdout.take().unwrap();
        stdout.read_to_string(&mut report).unwrap();
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{said}");
        let report: Value = serde_json::from_str(&report).expect("one JSON report");
        (report, lines(self.folder.path()))
    }
}

/// The lines that left.
fn lines(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("out.ndjson")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect(line));
    lines.collect()
}

/// The ledger's row of a source, whose lines add up.
#[track_caller]
fn source<'r>(report: &'r Value, name: &str) -> &'r Value {
    let source = &report["ledger"]["sources"][name];
    let count = |key: &str| {
        source[key]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {key}"))
    };
    let rejected = source["rejected"].as_object().unwrap().values();
    let rejected: u64 = rejected.map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(
        count("lines"),
        count("ingested") + count("shed") + rejected,
        "{source}"
    );
    assert_eq!(report["ledger"]["closed"], true);
    source
}

/// The sum of a statistic over the rows of a name.
fn total(rows: &[Value], name: &str, statistic: &str) -> f64 {
    let rows = rows.iter().filter(|row| row["name"] == name);
    rows.filter_map(|row| row[statistic].as_f64()).sum()
}

#[test]
fn what_was_sent_is_what_the_ledger_has_to_the_datagram_and_the_line() {
    let run = Run::start();
    // At full speed, in datagrams of one to forty lines, each tenth with one that is no line.
    let out = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut datagrams, mut sent_lines, mut sent_bad) = (0, 0, 0);
    for nth in 0..60_000_u64 {
        let good = 1 + nth % 40;
        let mut text = "hits:1|c|#env:test\n".repeat(good as usize);
        if nth % 10 == 0 {
            text.push_str("no line at all\n");
            sent_bad += 1;
        }
        out.send_to(text.as_bytes(), run.statsd).unwrap();
        datagrams += 1;
        sent_lines += good;
    }
    // The same by a Unix socket, which holds the sender back and loses nothing.
    let unix = UnixDatagram::unbound().unwrap();
    let to = UnixAddr::from_abstract_name(&run.dogstatsd).unwrap();
    for _ in 0..2_000 {
        unix.send_to_addr(b"local:2|c\nlocal:3|c\n_sc|db|0", &to)
            .unwrap();
    }
    // And by a stream, byte by byte at first, with a bad line and one without an end.
    let mut stream = TcpStream::connect(run.graphite).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in b"servers.a.load 1.5 -1\nbad\nservers.a.load 2.5 -1\n" {
        stream.write_all(&[*byte]).unwrap();
    }
    let text: String = (0..5_000)
        .map(|n| format!("servers.b.load {n} -1\n"))
        .collect();
    stream.write_all(text.as_bytes()).unwrap();
    stream.write_all(b"servers.c.lo").unwrap();
    drop(stream);
    let mut stream = TcpStream::connect(run.influx).unwrap();
    stream
        .write_all(b"cpu,host=a user=0.5,note=\"two\nlines\" \n")
        .unwrap();
    stream
        .write_all(b"cpu,host=a user=1.5\n# silent\n")
        .unwrap();
    drop(stream);

    let (report, rows) = run.end();
    let statsd = source(&report, "statsd");
    let count = |key: &str| statsd[key].as_u64().unwrap();
    assert_eq!(
        count("datagrams_received") + count("kernel_dropped"),
        datagrams,
        "sent = received + dropped by the kernel: {statsd}"
    );
    assert_eq!(
        statsd.get("kernel_dropped_at_least"),
        Some(&Value::from(false))
    );
    assert_eq!(count("shed"), 0, "the case holds back");
    let admitted = count("ingested");
    if count("kernel_dropped") == 0 {
        assert_eq!(admitted, sent_lines);
        assert_eq!(statsd["rejected"]["missing_field"], sent_bad);
    }
    assert_eq!(
        total(&rows, "hits", "sum"),
        admitted as f64,
        "exact for what was admitted"
    );

    let local = source(&report, "dogstatsd");
    assert_eq!(
        (&local["datagrams_received"], &local["lines"]),
        (&Value::from(2_000), &Value::from(6_000))
    );
    assert_eq!(total(&rows, "local", "sum"), 10_000.0);
    let checks = rows
        .iter()
        .filter(|row| row["service_check"]["name"] == "db");
    assert_eq!(checks.count(), 2_000, "passed on, each of them");

    let graphite = source(&report, "graphite");
    assert_eq!(graphite["lines"], 5_004);
    assert_eq!(graphite["rejected"]["missing_field"], 1);
    assert_eq!(graphite["rejected"]["truncated"], 1);
    assert_eq!(total(&rows, "servers.b.load", "values"), 5_000.0);
    assert_eq!(total(&rows, "servers.a.load", "values"), 2.0);
    let influx = source(&report, "influx");
    assert_eq!(
        (&influx["lines"], &influx["ingested"]),
        (&Value::from(2), &Value::from(1))
    );
    assert_eq!(influx["rejected"]["bad_line"], 1);
}

#[test]
fn with_ten_times_too_much_the_ledger_closes_and_totals_are_exact_for_what_was_admitted() {
    // Without deadlines, by which a machine that is busy with other tests would refuse all of them.
    let folder = copied("overload-telemetry", |text| {
        let kept = text.lines().filter(|line| !line.starts_with("deadline"));
        kept.collect::<Vec<_>>().join("\n")
    });
    let output = Command::new(env!("CARGO_BIN_EXE_hopline"))
        .arg("run")
        .arg(folder.path())
        .args(["--for", "3s", "--json", "--wait", "yield", "--pin", "off"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    // What is late on a busy machine breaks budgets, which end the run with 1; the ledger holds whatever that was.
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON report");
    let rows = lines(folder.path());
    let (mut shed, mut ingested, mut delivered) = (0, 0, 0);
    for name in ["steady", "surge"] {
        let source = source(&report, name);
        shed += source["shed"].as_u64().unwrap();
        ingested += source["ingested"].as_u64().unwrap();
        let hops = report["hops"].as_array().unwrap();
        let hop = hops
            .iter()
            .find(|hop| hop["name"] == format!("{name}->sums"));
        delivered += hop.unwrap()["delivered"].as_u64().unwrap();
    }
    assert!(
        shed > ingested / 2,
        "{shed} of {ingested}: it is an overload"
    );
    let stages = report["stages"].as_array().unwrap();
    let sums = stages.iter().find(|stage| stage["name"] == "sums").unwrap();
    assert!(delivered > 0);
    assert_eq!(sums["absorbed"]["aggregated"], delivered);
    let values = rows.iter().filter_map(|row| row["values"].as_u64());
    assert_eq!(
        values.sum::<u64>(),
        delivered,
        "each line that was taken is in a row"
    );
    let counters = rows.iter().filter(|row| row["name"] == "iot.uplinks");
    let counted: f64 = counters.filter_map(|row| row["sum"].as_f64()).sum();
    assert_eq!(counted, counted.trunc());
    assert!(counted > 0.0);
}
