//! A line that is offered ten times what it can do and is told to end: the report of its drain adds up, under every policy.

use std::io::Read;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/overload");

const HOP: &str = "in->book";

/// What it does by then is overloaded: two loops for a second, less what they need to start.
const WORKED_TICKS: u64 = 200;

/// What may stand behind the hop, and where its messages then go.
const POLICIES: [(&str, &[&str]); 9] = [
    ("when_full=block", &[]),
    (
        "when_full=block,block_timeout=1ms,then=drop_newest",
        &["block_timeout"],
    ),
    ("when_full=drop_newest", &["full"]),
    ("when_full=reject", &["rejected"]),
    ("when_full=drop_oldest", &["oldest"]),
    ("when_full=drop_newest,deadline=350us", &["hopeless"]),
    ("when_full=drop_newest,codel=80us", &["stale"]),
    ("when_full=drop_newest,rate=50k/s", &["rate_limited"]),
    (
        "when_full=drop_newest,degrade_high=300us",
        &["sampled", "degraded", "refused"],
    ),
];

/// The line of that policy, which has worked for a while.
fn overloaded(settings: &str) -> Child {
    let child = Command::new(env!("CARGO_BIN_EXE_hopline"))
        .args(["run", CASE, "--pin", "off", "--wait", "yield"])
        .args(["--for", "600s", "--json"])
        .args(["--hop", &format!("{HOP}:{settings}")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    while cpu_ticks(child.id()) < WORKED_TICKS {
        std::thread::yield_now();
    }
    child
}

/// CPU time that a process has had, in ticks of a hundredth of a second: the fields `utime` and `stime` of proc(5).
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_ascii_whitespace().skip(11).take(2);
    ticks
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum()
}

fn sum(counts: &Value) -> u64 {
    let counts = counts.as_object().into_iter().flatten();
    counts.filter_map(|(_, count)| count.as_u64()).sum()
}

#[test]
fn a_signal_at_ten_times_what_a_line_can_do_ends_it_with_a_report_that_adds_up() {
    for (settings, reasons) in POLICIES {
        let mut child = overloaded(settings);
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(sent.expect("there is a kill").success());
        let mut text = String::new();
        let mut out = child.stdout.take().expect("it is piped");
        out.read_to_string(&mut text).expect("it is text");
        child.wait().expect("it ends");
        let report: Value = serde_json::from_str(&text).expect("one report");
        assert_eq!(report["drain"]["cause"], "signal", "{settings}");
        assert_eq!(
            report["ledger"]["closed"], true,
            "{settings}: {}",
            report["ledger"]
        );
        assert_eq!(
            report["drain"]["complete"], true,
            "{settings}: {}",
            report["drain"]
        );
        for hop in report["hops"].as_array().expect("hops") {
            let count = |name: &str| hop[name].as_u64().unwrap_or(0);
            let accepted = count("accepted");
            assert_eq!(
                count("offered"),
                accepted + sum(&hop["shed"]),
                "{settings}: {hop}"
            );
            let delivered = count("delivered");
            assert_eq!(
                accepted,
                delivered + sum(&hop["discarded"]),
                "{settings}: {hop}"
            );
        }
        let hop = &report["hops"][0];
        assert_eq!(hop["name"], HOP);
        let lost = |why: &&&str| hop["shed"][**why].is_u64() || hop["discarded"][**why].is_u64();
        assert!(
            reasons.is_empty() || reasons.iter().any(|why| lost(&why)),
            "{settings}: {hop}"
        );
        let received = report["ledger"]["sources"]["in"]["received"].as_u64();
        let offered = hop["offered"].as_u64();
        assert!(
            received > Some(0) && received >= offered,
            "{settings}: {received:?} {offered:?}"
        );
    }
}
