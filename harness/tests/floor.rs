//! The command `floor`: its report, its words, and what it does where there is little to measure on.

#![cfg(target_os = "linux")]

use std::process::{Command, Output, Stdio};

use hopline::host::{Host, usable_threads};
use serde::Deserialize;

/// The report as somebody else's program would read it: every key that is promised.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    schema: u32,
    machine: Machine,
    noise: String,
    floor: Option<Percentiles>,
    floor_p50_spread: Option<Spread>,
    rings: Vec<Ring>,
    clock: Clock,
    gaps: Vec<Gaps>,
    wake: Wake,
    #[serde(rename = "loop")]
    turns: Option<Turns>,
    wire: Vec<Wire>,
    cannot: Vec<String>,
    notes: Vec<String>,
    took_ns: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "that the keys are there is the test")]
struct Machine {
    cpu_model: Option<String>,
    cores: Option<usize>,
    allowed: Vec<usize>,
    quota_cores: Option<f64>,
    measured: Option<[usize; 2]>,
    kernel: Option<String>,
    governor: Option<String>,
    virtualised: Option<bool>,
    clock_source: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
}

impl Percentiles {
    fn are_ordered(&self) -> bool {
        self.p50 <= self.p90 && self.p90 <= self.p99
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spread {
    low: f64,
    median: f64,
    high: f64,
}

impl Spread {
    fn is_of_something(&self) -> bool {
        0.0 < self.low && self.low <= self.median && self.median <= self.high
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ring {
    name: String,
    payload_bytes: usize,
    p50: f64,
    p90: f64,
    p99: f64,
    ratio: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clock {
    kind: String,
    stamp_ns: f64,
    stamp_after_ns: f64,
    os_ns: f64,
    step_ns: u64,
    skew_ns: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gaps {
    core: usize,
    watched_ns: u64,
    over_1us_per_s: f64,
    over_10us_per_s: f64,
    over_100us_per_s: f64,
    worst_ns: u64,
    lost_percent: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wake {
    park: Option<Percentiles>,
    waker: Option<Percentiles>,
    bare_park: Option<Percentiles>,
    bare_waker: Option<Percentiles>,
    awake_ns: f64,
    timers: Vec<Timer>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Timer {
    asked_ns: u64,
    late: Percentiles,
    bare_late: Percentiles,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Turns {
    empty_turn_ns: Spread,
    frame_turn_ns: Spread,
    bare_turn_ns: Spread,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    name: String,
    payload_bytes: usize,
    raw: Percentiles,
    line: Percentiles,
    ratio: f64,
    ratio_p99: f64,
}

fn hopline(before: &[&str], args: &[&str]) -> Output {
    in_columns(None, before, args)
}

fn in_columns(columns: Option<&str>, before: &[&str], args: &[&str]) -> Output {
    let command = [before, &[env!("CARGO_BIN_EXE_hopline"), "floor"], args].concat();
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).env_remove("COLUMNS");
    process.envs(columns.map(|columns| ("COLUMNS", columns)));
    process.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn report(output: &Output) -> Report {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "no progress but on a terminal");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What needs no second core is there on every machine.
fn check_one_core(report: &Report) {
    assert_eq!(report.schema, 1);
    assert!(["quiet", "uneasy", "noisy"].contains(&&*report.noise));
    assert!(["tsc", "os"].contains(&&*report.clock.kind));
    let clock = &report.clock;
    assert!(clock.stamp_ns > 0.0 && clock.stamp_after_ns > 0.0 && clock.os_ns > 0.0);
    assert!(clock.step_ns > 0 && report.took_ns > 0);
    assert_eq!(report.gaps.len(), report.machine.allowed.len().min(16));
    for (gaps, core) in report.gaps.iter().zip(&report.machine.allowed) {
        assert_eq!(gaps.core, *core);
        assert!(gaps.watched_ns >= 20_000_000 && gaps.worst_ns <= gaps.watched_ns);
        assert!(gaps.over_1us_per_s >= gaps.over_10us_per_s);
        assert!(gaps.over_10us_per_s >= gaps.over_100us_per_s);
        assert!((0.0..=100.0).contains(&gaps.lost_percent));
    }
    let asked: Vec<u64> = report
        .wake
        .timers
        .iter()
        .map(|timer| timer.asked_ns)
        .collect();
    assert_eq!(asked, [50_000, 250_000, 2_000_000]);
    for timer in &report.wake.timers {
        assert!(timer.late.are_ordered() && timer.bare_late.are_ordered());
    }
    assert!(report.wake.awake_ns > 0.0);
    let turns = report.turns.as_ref().unwrap();
    assert!(turns.empty_turn_ns.is_of_something() && turns.bare_turn_ns.is_of_something());
    // A frame that goes through a line costs more than one that is copied.
    assert!(turns.frame_turn_ns.median > turns.bare_turn_ns.low);
    let quick = "--quick measures too little to quote";
    assert!(report.notes.iter().any(|note| note == quick));
}

#[test]
fn the_report_has_every_section_with_its_floor_beside_it() {
    let report = report(&hopline(&[], &["--json", "--quick"]));
    check_one_core(&report);
    if usable_threads(&Host::read()) < 2 {
        return;
    }
    assert!(report.cannot.is_empty(), "{:?}", report.cannot);
    let floor = report.floor.unwrap();
    assert!(floor.p50 > 0.0 && floor.are_ordered(), "{floor:?}");
    assert!(report.floor_p50_spread.unwrap().is_of_something());
    assert!(report.clock.skew_ns.is_some());
    let rings: Vec<(&str, usize)> = report
        .rings
        .iter()
        .map(|ring| (&*ring.name, ring.payload_bytes))
        .collect();
    for ring in [
        ("packed", 8),
        ("lined", 56),
        ("hop", 96),
        ("typed hop", 64),
        ("mpsc, one producer", 56),
        ("fan-in of four", 56),
        ("multicast, to each", 56),
        ("multicast, to both", 56),
        ("apart", 256),
        ("blob", 256),
        ("blob", 1024),
    ] {
        assert!(rings.contains(&ring), "{rings:?}");
    }
    for ring in &report.rings {
        let Ring { p50, p90, p99, .. } = *ring;
        let percentiles = Percentiles { p50, p90, p99 };
        assert!(p50 > 0.0 && percentiles.are_ordered(), "{ring:?}");
        assert!(ring.ratio > 0.0);
    }
    let wake = &report.wake;
    for percentiles in [wake.park, wake.waker, wake.bare_park, wake.bare_waker] {
        let percentiles = percentiles.unwrap();
        assert!(percentiles.p50 > 0.0 && percentiles.are_ordered());
    }
    let kinds: Vec<&str> = report.wire.iter().map(|wire| &*wire.name).collect();
    assert_eq!(kinds, ["udp", "tcp", "unix", "unix_datagram"]);
    for wire in &report.wire {
        assert_eq!(wire.payload_bytes, 64, "{wire:?}");
        assert!(wire.raw.p50 > 0.0 && wire.line.p50 > 0.0, "{wire:?}");
        assert!(
            wire.raw.are_ordered() && wire.line.are_ordered(),
            "{wire:?}"
        );
        assert!(wire.ratio > 0.0 && wire.ratio_p99 > 0.0, "{wire:?}");
    }
    let [first, second] = report.machine.measured.unwrap();
    assert!(first != second && report.machine.allowed.contains(&second));
}

#[test]
fn on_one_core_it_does_what_it_can_and_says_what_it_cannot() {
    let core = Host::read().allowed[0].to_string();
    let report = report(&hopline(&["taskset", "-c", &core], &["--json", "--quick"]));
    check_one_core(&report);
    assert_eq!(report.machine.allowed.len(), 1);
    assert!(report.machine.measured.is_none() && report.floor.is_none());
    assert!(report.rings.is_empty() && report.wire.is_empty() && report.wake.park.is_none());
    assert_eq!(report.cannot.len(), 1, "{:?}", report.cannot);
    assert!(report.cannot[0].contains("needs two free cores"));
}

#[test]
fn people_get_tables_in_as_many_columns_as_they_have() {
    for (columns, most) in [(None, 100), (Some("80"), 80)] {
        let output = in_columns(columns, &[], &["--quick"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        for words in [
            "machine",
            "noise",
            "clock",
            "gaps of a spinning loop",
            "turn of a loop",
            "five nodes, nothing to do",
            "took",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
        if usable_threads(&Host::read()) >= 2 {
            for words in ["multicast, to both", "unix_datagram", "p99 / raw"] {
                assert!(said.contains(words), "{words} in {most}: {said}");
            }
        }
        let width = said.lines().map(|line| line.chars().count()).max();
        assert!(width.unwrap() <= most, "{said}");
    }
}

#[test]
fn wrong_flags_end_64() {
    for flag in ["--fast", "--json=yes", "extra"] {
        let output = hopline(&[], &[flag]);
        assert_eq!(output.status.code(), Some(64), "{flag}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_signal_ends_it_at_once() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hopline"))
        .arg("floor")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = child.id().to_string();
    // Not SIGINT: a shell in the background passes on that it ignores that one.
    let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
    assert!(sent.unwrap().success());
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(child.wait().unwrap().signal(), Some(15));
}
