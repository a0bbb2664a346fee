//! How `bench` and `gate` end where something is wrong: bases that cannot be had, folders that cannot be written, signals.
//!
//! What these assert holds on a machine of any noise: words, codes and files, never a figure.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use hopline_harness::gate::model::SCHEMA;
use serde_json::Value;
use tempfile::TempDir;

const CASE: &str = "tick-to-trade";

fn hopline(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hopline"));
    command.args(args).stdin(Stdio::null());
    command.env_remove("COLUMNS").env_remove("CARGO_TARGET_DIR");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The words of a command that ends so and prints no report.
#[track_caller]
fn refused(output: &Output, code: i32) -> String {
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}\n{err}");
    assert!(out.is_empty(), "{out}");
    err
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A git repository with a crate of one binary, whose source is what it prints or does not even build.
struct Scratch(TempDir);

impl Scratch {
    fn new(main: &str) -> Scratch {
        let scratch = Scratch(tempfile::tempdir().unwrap());
        let manifest =
            "[package]\nname = \"scratch\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
        scratch.write("Cargo.toml", manifest);
        scratch.write("src/bin/mine.rs", main);
        scratch.write(".gitignore", "/target\n");
        scratch.git(&["init", "--quiet"]);
        scratch.git(&["add", "."]);
        scratch.git(&["commit", "--quiet", "--message", "first"]);
        scratch
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.current_dir(self.0.path())
            .args(["-c", "user.name=a", "-c", "user.email=a@b"]);
        let output = git.args(args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    }

    /// A gate against a revision of it, in its folder.
    fn gate(&self, revision: &str) -> Command {
        let mut gate = hopline(&["gate", CASE, "--json", "--base-rev", revision]);
        gate.args(["--base-bin", "mine"]).current_dir(self.0.path());
        gate
    }

    /// Nothing of a gate is left but what the next build can use again.
    fn is_clean(&self) -> bool {
        let trees = self.git(&["worktree", "list"]).lines().count();
        let base = self.0.path().join("target/hopline-base");
        let copies = fs::read_dir(base).into_iter().flatten().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            name.to_string_lossy().starts_with("gate-")
        });
        trees == 1 && self.git(&["status", "--short"]).is_empty() && copies.count() == 0
    }
}

#[test]
fn a_base_that_is_built_and_says_something_else_is_told_by_revision_and_commit() {
    let scratch = Scratch::new("fn main() { println!(\"hello\"); }");
    let first = scratch.git(&["rev-parse", "--short=12", "HEAD"]);
    scratch.write(
        "src/bin/mine.rs",
        "fn main() { println!(\"{{\\\"schema\\\": 999}}\"); }",
    );
    scratch.git(&["commit", "--quiet", "--all", "--message", "second"]);
    let words = refused(&scratch.gate("HEAD~1").output().unwrap(), 64);
    let named = format!("error: base HEAD~1 ({}): ", first.trim());
    assert!(
        words.contains(&named) && words.contains("no analysis"),
        "{words}"
    );
    assert!(scratch.is_clean());
    // What is built is what was committed, whatever lies in the folder.
    scratch.write("src/bin/mine.rs", "no program");
    let words = refused(&scratch.gate("HEAD").output().unwrap(), 64);
    assert!(
        words.contains(&format!("speaks schema 999, not {SCHEMA}")),
        "{words}"
    );
    scratch.git(&["checkout", "--quiet", "."]);
    assert!(scratch.is_clean());
    assert!(
        scratch.0.path().join("target/hopline-base").is_dir(),
        "for the next build"
    );
}

#[test]
fn a_base_that_does_not_build_shows_why_and_judges_nothing() {
    let scratch = Scratch::new("fn main() { this is no rust }");
    let into = scratch.0.path().join("target/verdicts");
    let mut gate = scratch.gate("HEAD");
    let words = refused(&gate.arg("--out").arg(&into).output().unwrap(), 64);
    assert!(words.contains("does not build:"), "{words}");
    assert!(
        words.contains("src/bin/mine.rs:1"),
        "the compiler's own words: {words}"
    );
    assert!(scratch.is_clean());
    let report = read(&into.join("gate.json"));
    assert_eq!(
        (&report["partial"], &report["word"]),
        (&true.into(), &"INCONCLUSIVE".into())
    );
    assert_eq!(report["exit_code"], 64);
    assert!(
        report["notes"][0]
            .as_str()
            .unwrap()
            .contains("does not build"),
        "{report}"
    );
    // A binary that the revision does not have.
    let mut gate = hopline(&["gate", CASE, "--base-rev", "HEAD", "--base-bin", "other"]);
    let words = refused(&gate.current_dir(scratch.0.path()).output().unwrap(), 64);
    assert!(
        words.contains("other") && words.contains("--base-bin"),
        "{words}"
    );
}

#[test]
fn a_revision_that_cannot_be_had_is_told_before_anything_runs() {
    let scratch = Scratch::new("fn main() {}");
    for revision in ["no-such-branch", "--help", "HEAD:src"] {
        let mut gate = hopline(&["gate", CASE, &format!("--base-rev={revision}")]);
        let words = refused(&gate.current_dir(scratch.0.path()).output().unwrap(), 64);
        assert!(words.contains("there is no revision"), "{words}");
    }
    let nowhere = tempfile::tempdir().unwrap();
    let mut gate = hopline(&["gate", CASE, "--base-rev", "HEAD"]);
    gate.current_dir(nowhere.path());
    gate.env("GIT_CEILING_DIRECTORIES", nowhere.path().parent().unwrap());
    let words = refused(&gate.output().unwrap(), 64);
    assert!(
        words.contains("git repository") && words.contains("--base"),
        "{words}"
    );
}

#[test]
fn a_missing_tool_is_named() {
    let scratch = Scratch::new("fn main() {}");
    let tools = tempfile::tempdir().unwrap();
    let words = refused(
        &scratch
            .gate("HEAD")
            .env("PATH", tools.path())
            .output()
            .unwrap(),
        74,
    );
    assert!(words.contains("cannot start git"), "{words}");
    let git = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("git"))
        .find(|path| path.is_file())
        .unwrap();
    std::os::unix::fs::symlink(git, tools.path().join("git")).unwrap();
    let words = refused(
        &scratch
            .gate("HEAD")
            .env("PATH", tools.path())
            .output()
            .unwrap(),
        74,
    );
    assert!(words.contains("cannot start cargo"), "{words}");
    assert!(scratch.is_clean());
}

/// A bench or gate under way.
struct Running {
    gate: Child,
    into: TempDir,
}

impl Running {
    fn start(args: &[&str]) -> Running {
        let into = tempfile::tempdir().unwrap();
        let mut gate = hopline(args);
        gate.arg("--out").arg(into.path().join("verdicts"));
        gate.stdout(Stdio::piped()).stderr(Stdio::null());
        let gate = gate.spawn().unwrap();
        Running { gate, into }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.into.path().join("verdicts").join(name)
    }

    /// The process runs that are there now.
    fn children(&self) -> BTreeSet<u32> {
        let pid = self.gate.id();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let each = threads.map(|thread| {
            let path = thread.unwrap().path().join("children");
            fs::read_to_string(path).unwrap_or_default()
        });
        let all: String = each.collect();
        all.split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    /// Waits until so many process runs have begun, and gives the last of them.
    fn wait_for_runs(&mut self, count: usize) -> u32 {
        let mut seen = BTreeSet::new();
        loop {
            assert!(
                self.gate.try_wait().unwrap().is_none(),
                "it ended by itself"
            );
            seen.extend(self.children());
            if seen.len() >= count {
                // Process ids wrap around, so the last is not the largest.
                if let Some(last) = self.children().into_iter().next() {
                    return last;
                }
            }
            std::thread::yield_now();
        }
    }

    fn kill(&self, signal: &str) {
        let pid = self.gate.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// What it printed, and the code that it ended with.
    fn end(self) -> (Option<i32>, Vec<u8>, TempDir) {
        let output = self.gate.wait_with_output().unwrap();
        (output.status.code(), output.stdout, self.into)
    }
}

/// Whether a process is there, other than as an entry that nobody has asked for.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().unwrap_or_default();
    !stat.is_empty() && !state.starts_with('Z')
}

#[track_caller]
fn is_partial_everywhere(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        assert!(text.contains("partial"), "{}", path.display());
    }
}

const SHORT: [&str; 4] = ["--warmup", "20ms", "--wait", "yield"];

#[test]
fn a_gate_that_is_ended_by_a_signal_shows_what_it_had_and_passes_nothing() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let args = ["gate", CASE, "--json", "--runs", "64", "--for", "100ms"];
        let mut running = Running::start(&[&args[..], &SHORT[..]].concat());
        // The third has begun, so two are done.
        let child = running.wait_for_runs(3);
        running.kill(signal);
        let (ended, printed, into) = running.end();
        assert_eq!(ended, Some(code));
        assert!(!is_alive(child));
        let dir = into.path().join("verdicts");
        let report = read(&dir.join("gate.json"));
        assert_eq!(report, serde_json::from_slice::<Value>(&printed).unwrap());
        assert_eq!(
            (&report["partial"], &report["exit_code"]),
            (&true.into(), &code.into())
        );
        assert!(report["runs"].as_array().unwrap().len() >= 2);
        let verdicts = report["verdicts"].as_array().unwrap();
        assert!(!verdicts.is_empty());
        for verdict in verdicts {
            let word = verdict["word"].as_str().unwrap();
            // On a machine that loses frames for the line, that is the truth.
            assert!(word == "INCONCLUSIVE" && verdict["reason"] == "cut short" || word == "LOSS");
        }
        is_partial_everywhere(&dir);
    }
}

#[test]
fn each_block_of_a_comparison_has_a_seed_of_its_own() {
    let base = env!("CARGO_BIN_EXE_hopline");
    let args = ["gate", CASE, "--json", "--base", base, "--for", "20ms"];
    let mut running = Running::start(&[&args[..], &SHORT[..]].concat());
    // One to settle, and two blocks of six, even where each run is made again three times; and the one after them.
    running.wait_for_runs((1 + 2 * 6) * 4 + 1);
    running.kill("-TERM");
    let (ended, printed, _into) = running.end();
    assert_eq!(ended, Some(143));
    let report: Value = serde_json::from_slice(&printed).unwrap();
    let seeds = |side: &str| -> Vec<u64> {
        let runs = report[side].as_array().unwrap().iter();
        runs.map(|run| run["seed"].as_u64().unwrap()).collect()
    };
    let (head, base) = (seeds("runs"), seeds("base_runs"));
    assert!(head.len() >= 4 && base.len() >= 8, "{head:?} {base:?}");
    assert!(
        head.chunks(2)
            .zip(42..)
            .all(|(block, seed)| block == [seed; 2]),
        "{head:?}"
    );
    assert!(
        base.chunks(4)
            .zip(42..)
            .all(|(block, seed)| block == [seed; 4]),
        "{base:?}"
    );
}

#[test]
fn a_bench_without_a_single_run_says_that_it_is_partial() {
    let args = ["bench", CASE, "--for", "1h"];
    let mut running = Running::start(&[&args[..], &SHORT[..]].concat());
    let child = running.wait_for_runs(1);
    running.kill("-INT");
    let (ended, printed, into) = running.end();
    assert_eq!(ended, Some(130));
    assert!(!is_alive(child));
    assert!(text(&printed).contains("partial"), "{}", text(&printed));
    let report = read(&into.path().join("verdicts/gate.json"));
    assert_eq!(report["runs"].as_array().unwrap().len(), 0);
    assert!(
        report["notes"][0].as_str().unwrap().contains("signal"),
        "{report}"
    );
    is_partial_everywhere(&into.path().join("verdicts"));
}

#[test]
fn a_gate_that_is_killed_leaves_nothing_that_looks_finished() {
    let mut running = Running::start(&["gate", CASE, "--for", "1h", "--wait", "yield"]);
    let child = running.wait_for_runs(1);
    running.kill("-KILL");
    let report = read(&running.file("gate.json"));
    assert_eq!(
        (&report["partial"], &report["word"]),
        (&true.into(), &"INCONCLUSIVE".into())
    );
    let junit = fs::read_to_string(running.file("junit.xml")).unwrap();
    assert!(
        junit.contains("errors=\"1\"") && junit.contains("PARTIAL"),
        "{junit}"
    );
    let (ended, _, into) = running.end();
    assert_eq!(ended, None);
    is_partial_everywhere(&into.path().join("verdicts"));
    // Nobody is left to read what it measures, so it ends as well.
    while is_alive(child) {
        std::thread::yield_now();
    }
}

#[test]
fn a_folder_that_cannot_be_written_costs_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let into = file.join("verdicts").display().to_string();
    // It would take an hour.
    let args = ["gate", CASE, "--for", "1h", "--out", &into];
    let words = refused(&hopline(&args).output().unwrap(), 74);
    assert!(words.contains(&into) && words.contains("--out"), "{words}");
}

/// Runs the tool with a small disk of its own at `$DISK`; none where this machine does not let a test make one.
fn on_a_small_disk(size: &str, script: &str) -> Option<Output> {
    let disk = tempfile::tempdir().unwrap();
    let script = format!("mount -t tmpfs -o size={size} none \"$DISK\" || exit 99\n{script}");
    let mut unshare = Command::new("unshare");
    unshare.args(["--map-root-user", "--mount", "sh", "-c", &script]);
    unshare
        .env("DISK", disk.path())
        .env("HOPLINE", env!("CARGO_BIN_EXE_hopline"));
    let output = unshare.stdin(Stdio::null()).output().ok()?;
    let is_there = output.status.code() != Some(99) && output.status.code() != Some(1);
    if !is_there {
        eprintln!(
            "skipped: no small disk can be made here: {}",
            text(&output.stderr)
        );
    }
    is_there.then_some(output)
}

#[test]
fn a_full_disk_is_found_before_the_first_run() {
    let script = "\"$HOPLINE\" gate tick-to-trade --for 1h --out \"$DISK/verdicts\"";
    if let Some(output) = on_a_small_disk("8k", script) {
        let words = refused(&output, 74);
        assert!(words.contains("the disk is full"), "{words}");
    }
}

#[test]
fn a_disk_that_fills_up_meanwhile_leaves_a_partial_report() {
    let script = "\"$HOPLINE\" bench tick-to-trade --runs 1 --for 100ms --wait yield --out \"$DISK\" >/dev/null
        code=$?; cat \"$DISK/gate.json\"
        for file in \"$DISK\"/* \"$DISK\"/.part-*; do
            [ ! -e \"$file\" ] || grep -qi partial \"$file\" || echo \"whole: $file\" >&2
        done
        exit $code";
    // Room for the outputs without figures and for no run's; and for the page of a run, but not for its gate.json.
    for size in ["96k", "200k"] {
        let Some(output) = on_a_small_disk(size, script) else {
            return;
        };
        let words = text(&output.stderr);
        assert_eq!(output.status.code(), Some(74), "{words}");
        assert!(words.contains("the disk is full"), "{words}");
        assert!(!words.contains("whole: "), "{words}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["partial"], true);
    }
}

#[test]
fn what_cannot_be_printed_is_written_all_the_same() {
    let into = tempfile::tempdir().unwrap();
    let dir = into.path().display().to_string();
    let args = [
        "bench", CASE, "--runs", "1", "--for", "100ms", "--out", &dir,
    ];
    let mut bench = hopline(&[&args[..], &SHORT[..]].concat());
    let full = fs::OpenOptions::new().write(true).open("/dev/full");
    let output = bench.stdout(full.unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    let words = text(&output.stderr);
    assert!(words.contains("standard output"), "{words}");
    let report = read(&into.path().join("gate.json"));
    assert_eq!(report["partial"], false);
    assert_eq!(report["runs"].as_array().unwrap().len(), 1);
}

/// A copy of the case with another budget.
fn with_budget(budget: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(CASE);
    for file in ["line.toml", "load.toml"] {
        fs::copy(root.join(file), dir.path().join(file)).unwrap();
    }
    fs::write(dir.path().join("budget.toml"), budget).unwrap();
    dir
}

#[test]
fn a_budget_that_is_none_or_of_no_hop_is_told() {
    let nowhere = with_budget("[hop.\"btc->nowhere\"]\nof = \"wait\"\np99 = \"1ms\"\n");
    let case = nowhere.path().display().to_string();
    let words = refused(&hopline(&["gate", &case]).output().unwrap(), 64);
    assert!(words.contains("btc->nowhere"), "{words}");
    let none = with_budget("");
    fs::remove_file(none.path().join("budget.toml")).unwrap();
    let case = none.path().display().to_string();
    let args = ["bench", &case, "--find-capacity", "--for", "50ms"];
    let words = refused(
        &hopline(&[&args[..], &SHORT[..]].concat()).output().unwrap(),
        64,
    );
    assert!(
        words.contains("no budget") && words.contains("budget.toml"),
        "{words}"
    );
}
