//! The commands of docs/EDGE.md and what it says comes back, and whether that is so.
//!
//! A block of `sh` is a command; the block of `text` right behind it is what comes back, in this order, with other lines between.
//! A line of JSON stands for every line with its fields and their types; `…` stands for anything.
//!
//! Invariant: a command ends with its check.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::peer::PATIENCE;

/// What stands for anything.
const ANY: &str = "…";

/// Fields whose value is said by the text, and not its type alone.
const SAID: &[&str] = &[
    "type",
    "ch",
    "code",
    "why",
    "title",
    "detail",
    "status",
    "v",
    "recovered",
    "mutation",
    "cause",
    "closed",
];

/// Fields that may be null.
const NULLABLE: &[&str] = &[
    "p50_us",
    "p99_us",
    "raw",
    "wait_p99_ns",
    "service_p99_ns",
    "budget_us",
    "core",
    "fault",
    "node_id",
    "clean",
    "gap_ns",
    "tainted",
    "retry_after_ms",
    "why",
    "after",
    "gap_ns",
];

/// A command of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Its line in the text.
    pub(crate) at: usize,
    /// The commands, as they stand there.
    pub(crate) script: String,
    /// What comes back, a line each.
    pub(crate) answer: Vec<String>,
}

/// All commands of a text with what comes back.
pub(crate) fn shown(text: &str) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    let (mut fence, mut body): (Option<(usize, String)>, Vec<&str>) = (None, Vec::new());
    // Whether only blanks stand between the last command and here.
    let mut is_behind = false;
    for (at, line) in text.lines().enumerate() {
        match (&fence, line.strip_prefix("```")) {
            (None, Some(language)) => fence = Some((at + 1, language.to_owned())),
            (Some((from, language)), Some(_)) => {
                match language.as_str() {
                    "sh" => all.push(Shown {
                        at: *from + 1,
                        script: body.join("\n"),
                        answer: Vec::new(),
                    }),
                    "text" if is_behind => {
                        let last = all.last_mut().expect("a command before it");
                        last.answer = body.iter().map(|line| (*line).to_owned()).collect();
                    }
                    _ => {}
                }
                is_behind = language == "sh";
                (fence, body) = (None, Vec::new());
            }
            (Some(_), None) => body.push(line),
            (None, None) if line.is_empty() => {}
            (None, None) => is_behind = false,
        }
    }
    all
}

/// How a line of JSON differs from the one that the text shows; none if it does not.
fn json_difference(shown: &Value, real: &Value, path: &str) -> Option<String> {
    let name = path.rsplit('.').next().unwrap_or_default();
    let is_any = |value: &Value| value.as_str() == Some(ANY);
    if is_any(shown) {
        return None;
    }
    let differs = |words: String| Some(format!("{path}: {words}"));
    match (shown, real) {
        (Value::Object(shown), Value::Object(real)) => {
            let missing = shown
                .keys()
                .find(|key| *key != ANY && !real.contains_key(*key));
            if let Some(key) = missing {
                return differs(format!("there is no {key}"));
            }
            let added = real.keys().find(|key| !shown.contains_key(*key));
            if let (Some(key), false) = (added, shown.contains_key(ANY)) {
                return differs(format!("{key} is not in the text"));
            }
            let both = shown
                .iter()
                .filter_map(|(key, value)| Some((key, value, real.get(key)?)));
            let mut all = both
                .map(|(key, shown, real)| json_difference(shown, real, &format!("{path}.{key}")));
            all.find_map(|difference| difference)
        }
        (Value::Array(shown), Value::Array(real)) => {
            if real.is_empty() != shown.is_empty() {
                return differs(format!("{} items", real.len()));
            }
            real.iter().find_map(|item| {
                let mut all = shown.iter().map(|one| json_difference(one, item, path));
                let first = all.next()?;
                if first.is_none() || all.any(|difference| difference.is_none()) {
                    return None;
                }
                first
            })
        }
        (Value::Null, _) | (_, Value::Null) if NULLABLE.contains(&name) => None,
        _ if core::mem::discriminant(shown) != core::mem::discriminant(real) => {
            differs(format!("{real} where the text has {shown}"))
        }
        _ if SAID.contains(&name) && shown != real => {
            differs(format!("{real} where the text has {shown}"))
        }
        _ => None,
    }
}

/// How a line differs from the one that the text shows; none if it does not.
pub(crate) fn difference(shown: &str, real: &str) -> Option<String> {
    if let (Some(shown), Some(real)) = (shown.strip_prefix("data: "), real.strip_prefix("data: ")) {
        return difference(shown, real);
    }
    if shown.starts_with('{') {
        let parsed = |text: &str| serde_json::from_str::<Value>(text);
        let shown = parsed(shown).unwrap_or_else(|error| panic!("{error}: {shown}"));
        return match parsed(real) {
            Ok(real) => json_difference(&shown, &real, ""),
            Err(_) => Some(format!("no JSON: {real}")),
        };
    }
    if shown.starts_with("id: ") {
        let position = real
            .strip_prefix("id: ")
            .and_then(|text| text.split_once(':'));
        let is_one = position.is_some_and(|(epoch, offset)| {
            epoch.len() == 16 && offset.bytes().all(|byte| byte.is_ascii_digit())
        });
        return (!is_one).then(|| format!("no position: {real}"));
    }
    let mut parts = shown.split(ANY);
    let mut rest = real.strip_prefix(parts.next().unwrap_or_default());
    let mut last = "";
    for part in parts {
        rest = rest.and_then(|rest| Some(&rest[rest.find(part)? + part.len()..]));
        last = part;
    }
    let is_same =
        rest.is_some_and(|rest| rest.is_empty() || (shown.contains(ANY) && last.is_empty()));
    (!is_same).then(|| format!("{real:?} where the text has {shown:?}"))
}

/// Whether two lines are of the same kind, so that how they differ says something.
fn is_akin(shown: &str, real: &str) -> bool {
    let kind = |line: &str| {
        let object: Option<Map<String, Value>> =
            serde_json::from_str(line.trim_start_matches("data: ")).ok();
        match object {
            Some(object) => object
                .get("type")
                .and_then(Value::as_str)
                .map(str::to_owned),
            None => line.split([':', ' ']).next().map(str::to_owned),
        }
    };
    kind(shown) == kind(real)
}

/// Runs a command with the edge at that address, until all that the text shows has come.
///
/// # Errors
/// What came instead.
pub(crate) fn holds(shown: &Shown, address: &str, folder: &Path) -> Result<(), String> {
    let script = shown.script.replace("127.0.0.1:26480", address);
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| error.to_string())?;
    let (said, hears) = channel();
    let out = BufReader::new(child.stdout.take().expect("it is piped"));
    let reader = std::thread::spawn(move || {
        for line in out.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line)
                .trim_end_matches('\r')
                .to_owned();
            if said.send(line).is_err() {
                return;
            }
        }
    });
    let (mut left, mut nearest) = (shown.answer.iter().peekable(), None);
    let begin = Instant::now();
    while let Some(next) = left.peek() {
        let Ok(line) = hears.recv_timeout(PATIENCE.saturating_sub(begin.elapsed())) else {
            break;
        };
        match difference(next, &line) {
            None => {
                (_, nearest) = (left.next(), None);
            }
            Some(how) if is_akin(next, &line) => {
                nearest.get_or_insert(how);
            }
            Some(_) => {}
        }
    }
    let missing = left.next().cloned();
    let group = format!("-{}", child.id());
    let _ = Command::new("kill")
        .args(["-s", "KILL", "--", &group])
        .stderr(Stdio::null())
        .status();
    let _ = child.wait();
    drop(hears);
    let _ = reader.join();
    match missing {
        None => Ok(()),
        Some(line) => {
            let near = nearest.map_or(String::new(), |how| format!(" ({how})"));
            Err(format!(
                "docs/EDGE.md:{}: {} does not say: {line}{near}",
                shown.at, shown.script
            ))
        }
    }
}
