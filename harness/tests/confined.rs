//! The command inside real confinement: fewer cores than the machine has, a quota of processor time,
//! a limit on locked memory.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hopline::host::{Host, allowed_cores};
use serde_json::Value;

fn hopline(before: &[&str], args: &[&str]) -> Output {
    let command = [before, &[env!("CARGO_BIN_EXE_hopline")], args].concat();
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).env_remove("COLUMNS");
    process.stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn json(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn notes(value: &Value) -> Vec<&str> {
    let notes = value["notes"].as_array().unwrap().iter();
    notes.map(|note| note.as_str().unwrap()).collect()
}

#[track_caller]
fn assert_says(value: &Value, words: &str) {
    let notes = notes(value);
    assert!(
        notes.iter().any(|note| note.contains(words)),
        "{words}: {notes:?}"
    );
}

const CASE: &str = "tick-to-trade";

#[test]
fn on_one_core_of_the_machine_everything_is_fused_pinned_there_and_runs() {
    let core = *allowed_cores().last().unwrap();
    let taskset = ["taskset", "-c", &core.to_string()];
    let plan = json(&hopline(
        &taskset,
        &["plan", CASE, "--json", "--wait", "spin"],
    ));
    let threads = plan["threads"].as_array().unwrap();
    assert_eq!(threads.len(), 1, "{plan}");
    assert_eq!(threads[0]["core"], core);
    assert_says(&plan, "this process may use 1 of");

    let run = json(&hopline(
        &taskset,
        &["run", CASE, "--for", "300ms", "--json"],
    ));
    let place = &run["placement"][0];
    assert_eq!(
        (&place["pinned"], &place["wait"]),
        (&core.into(), &"yield".into())
    );
    assert_eq!(run["ledger"]["closed"], true, "{}", run["ledger"]);
    assert_eq!(run["host"]["allowed"], serde_json::json!([core]));

    // Another core is not there for this process, and that is said before anything starts.
    let others = Host::read().allowed;
    if let Some(other) = others.iter().find(|other| **other != core) {
        let case = case(&format!(
            "[[thread]]\nname = \"far\"\ncore = {other}\nrun = [\"in\"]\n"
        ));
        let refused = hopline(&taskset, &["run", case.path().to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(64));
        let said = text(&refused.stderr);
        let expected = format!("asks for core {other}, which this process may not use");
        assert!(said.contains(&expected), "{said}");
    }
}

/// A case that feeds itself, with more in its line.toml.
fn case(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        "[line]\nname = \"confined\"\n\
         [[source]]\nname = \"in\"\nkind = \"synthetic\"\ndecode = \"datagram\"\ncontent = \"datagrams\"\nrate = \"1k/s\"\n\
         [[sink]]\nname = \"out\"\nkind = \"blackhole\"\n\
         [[hop]]\nfrom = \"in\"\nto = \"out\"\n{more}"
    );
    fs::write(folder.path().join("line.toml"), line).unwrap();
    folder
}

/// A control group of one's own that is removed in the end.
struct Group(PathBuf);

impl Group {
    /// One that grants `percent` of a core, by version 1 or version 2, whichever the system lets us make.
    fn with_quota(percent: u64) -> Result<Group, String> {
        let quota_us = percent * 1_000;
        let v1 = (
            "/sys/fs/cgroup/cpu",
            "cpu.cfs_quota_us",
            quota_us.to_string(),
        );
        let v2 = ("/sys/fs/cgroup", "cpu.max", format!("{quota_us} 100000"));
        let mut why = Vec::new();
        for (mount, file, value) in [v1, v2] {
            let path = Path::new(mount).join(format!("hopline-test-{}", std::process::id()));
            if let Err(error) = fs::create_dir(&path) {
                why.push(format!("{}: {error}", path.display()));
                continue;
            }
            let group = Group(path);
            match fs::write(group.0.join(file), value) {
                Ok(()) => return Ok(group),
                Err(error) => why.push(format!("{}: {error}", group.0.join(file).display())),
            }
        }
        Err(why.join("; "))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn in_a_group_with_half_a_core_loops_park_and_that_is_said() {
    let group = match Group::with_quota(50) {
        Ok(group) => group,
        // Reading groups of any shape is tested on made-up trees, in the library.
        Err(why) => return eprintln!("skipped: this user may make no control group ({why})"),
    };
    let procs = group.0.join("cgroup.procs");
    let enter = format!("echo $$ > {} && exec \"$0\" \"$@\"", procs.display());
    let inside = ["sh", "-c", &enter];

    let plan = json(&hopline(&inside, &["plan", CASE, "--json"]));
    assert_eq!(plan["threads"].as_array().unwrap().len(), 1);
    assert_eq!(plan["threads"][0]["wait"], "park");
    assert_says(&plan, "the cgroup grants the time of 0.5 cores to 1 thread");

    let run = json(&hopline(
        &inside,
        &["run", CASE, "--for", "500ms", "--json"],
    ));
    assert_eq!(run["host"]["quota_cores"], 0.5);
    assert_eq!(run["placement"][0]["wait"], "park");
    assert_eq!(run["ledger"]["closed"], true, "{}", run["ledger"]);
    assert_says(&run, "loops park instead of spinning");
    // Asked to spin, it gives way and says so.
    let spin = ["run", CASE, "--for", "200ms", "--json", "--wait", "spin"];
    let spin = json(&hopline(&inside, &spin));
    assert_eq!(spin["placement"][0]["wait"], "park");

    let floor = json(&hopline(&inside, &["floor", "--json", "--quick"]));
    assert_eq!(floor["machine"]["quota_cores"], 0.5);
    assert!(floor["floor"].is_null() && floor["rings"].as_array().unwrap().is_empty());
    assert_says(&floor, "the cgroup grants the time of 0.5 cores");
}

#[test]
fn what_is_asked_of_the_memory_is_granted_or_the_reason_is_said() {
    let case =
        case("[memory]\nprefault = \"prefer\"\nlock = \"prefer\"\nhuge_pages = \"prefer\"\n");
    let path = case.path().to_str().unwrap();
    let run = json(&hopline(&[], &["run", path, "--for", "100ms", "--json"]));
    let memory = &run["line"]["memory"];
    for wish in ["prefault", "lock", "huge_pages"] {
        let granted = &memory[wish];
        assert_eq!(granted["asked"], "prefer", "{memory}");
        let is_granted = granted["granted"].as_bool().unwrap();
        assert_eq!(is_granted, granted["note"].is_null(), "{memory}");
    }
    // The one ring is smaller than a huge page, whatever the system.
    assert_eq!(
        memory["huge_pages"]["note"],
        "1 of 1 rings fill no huge page of 2 MiB"
    );
    // Stacks and buffers that nobody had touched.
    if memory["prefault"]["granted"] == true {
        assert!(
            memory["prefault"]["bytes"].as_u64().unwrap() > 1 << 20,
            "{memory}"
        );
    }
    let plain = text(&hopline(&[], &["run", path, "--for", "100ms"]).stdout);
    assert!(
        plain.contains("huge_pages: not granted: 1 of 1 rings"),
        "{plain}"
    );
    let required = self::case("[memory]\nhuge_pages = \"require\"\n");
    for command in ["run", "check"] {
        let refused = hopline(&[], &[command, required.path().to_str().unwrap()]);
        assert_eq!(refused.status.code(), Some(64));
        let said = text(&refused.stderr);
        assert!(
            said.contains("huge_pages = \"require\" in [memory]: 1 of 1 rings"),
            "{said}"
        );
        assert!(refused.stdout.is_empty());
    }
}

#[test]
fn a_lock_beyond_the_limit_is_refused_before_anything_runs() {
    // As a user without the right to lock what it wants.
    let limited = [
        "setpriv",
        "--bounding-set=-ipc_lock",
        "--inh-caps=-ipc_lock",
        "prlimit",
        "--memlock=65536",
    ];
    let usable = Command::new(limited[0])
        .args(&limited[1..])
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if !usable {
        return eprintln!("skipped: setpriv and prlimit do not work here");
    }
    let required = case("[memory]\nlock = \"require\"\n");
    let path = required.path().to_str().unwrap();
    let refused = hopline(&limited, &["run", path, "--for", "100ms"]);
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(64), "{said}");
    assert!(
        said.contains("the limit on locked memory is 64 KiB"),
        "{said}"
    );
    // What would be refused is refused by plan and check, in the same words.
    for command in ["plan", "check"] {
        let foreseen = hopline(&limited, &[command, path]);
        assert_eq!(foreseen.status.code(), Some(64), "{command}");
        let words = "error: lock = \"require\" in [memory]: the limit on locked memory is 64 KiB";
        assert!(
            text(&foreseen.stderr).starts_with(words),
            "{}",
            text(&foreseen.stderr)
        );
    }
    let plan = hopline(&limited, &["plan", path, "--json"]);
    let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["refused"][0]["wish"], "lock");
    let preferred = case("[memory]\nlock = \"prefer\"\n");
    let path = preferred.path().to_str().unwrap();
    let plan = json(&hopline(&limited, &["plan", path, "--json"]));
    let foreseen = plan["foreseen"][0].as_str().unwrap();
    assert!(
        foreseen.starts_with("lock would not be granted in full: the limit"),
        "{foreseen}"
    );
    let run = json(&hopline(
        &limited,
        &["run", path, "--for", "100ms", "--json"],
    ));
    assert_eq!(run["line"]["memory"]["lock"]["granted"], false);
}
