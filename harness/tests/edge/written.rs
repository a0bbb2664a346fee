//! What docs/EDGE.md says of the edge, held against the program: each command of it is run, each table compared.

use std::fmt::Display;
use std::path::Path;
use std::process::{Command, Stdio};

use hopline::base::Reason;
use hopline::base::limits::*;
use hopline::dashboard::feed::Alert;
use hopline::edge::event::{GapWhy, ShedWhy};
use hopline::edge::{Code, FaultCode, Kind, Problem, Untaken};

use crate::program::{Program, case};
use crate::{data, text};

fn doc() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/EDGE.md");
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn every_command_of_the_text_does_what_it_says() {
    let test = "every_command_of_the_text_does_what_it_says";
    let mut curl = Command::new("curl");
    if curl
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        return data::skipped(test, "curl is not there");
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token.txt"), "a-token-of-one-test\n").unwrap();
    let line = Program::start("tick-to-trade", folder.path(), &["--for", "10m"]);
    // A panic that is skipped, and an end: both are alerts.
    let small = case("panic_at = 50\non_panic = \"skip\"");
    let ended = ["--for", "1s", "--edge-linger", "10m"];
    let ended = Program::start(small.path().to_str().unwrap(), folder.path(), &ended);
    let token = ["--for", "10m", "--edge-token", "token.txt"];
    let token = Program::start(small.path().to_str().unwrap(), folder.path(), &token);

    let (mut faults, mut run) = (Vec::new(), 0);
    for mut shown in text::shown(&doc()) {
        let program = if shown
            .answer
            .iter()
            .any(|line| line.contains("execution_complete"))
        {
            &ended
        } else if shown.script.contains("token.txt") {
            &token
        } else {
            &line
        };
        // What starts the program stands here already.
        let curls = shown
            .script
            .lines()
            .filter(|line| !line.starts_with("hopline "));
        shown.script = curls.collect::<Vec<_>>().join("\n");
        if shown.script.is_empty() {
            assert_eq!(shown.answer, ["edge: http://127.0.0.1:26480/"]);
            continue;
        }
        assert!(
            !shown.answer.is_empty(),
            "docs/EDGE.md:{}: what comes back?",
            shown.at
        );
        run += shown.script.matches("curl ").count();
        faults.extend(text::holds(&shown, &program.address, folder.path()).err());
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(run >= 18, "{run} commands were found");
    for program in [line, token] {
        program.end();
    }
}

#[test]
fn what_finds_a_text_that_is_wrong_finds_it() {
    let event = r#"{"type":"gap","ch":"dag/line","from":1,"to":2,"why":"epoch"}"#;
    for (shown, real, words) in [
        (event, event, ""),
        (
            event,
            r#"{"type":"gap","ch":"dag/line","from":7,"to":9,"why":"epoch"}"#,
            "",
        ),
        (
            event,
            r#"{"type":"gap","ch":"dag/line","from":1,"to":2,"why":"slow"}"#,
            "why",
        ),
        (
            event,
            r#"{"type":"gap","ch":"dag/line","from":1,"why":"epoch"}"#,
            "no to",
        ),
        (
            event,
            r#"{"type":"gap","ch":"dag/line","from":"1","to":2,"why":"epoch"}"#,
            "from",
        ),
        (
            event,
            r#"{"type":"gap","ch":"dag/line","from":1,"to":2,"why":"epoch","n":1}"#,
            "n is not",
        ),
        (event, "gap", "no JSON"),
        (r#"{"a":1,"…":"…"}"#, r#"{"a":1,"b":2}"#, ""),
        (r#"{"a":1,"…":"…"}"#, r#"{"b":2}"#, "no a"),
        (
            r#"{"hops":[{"a":1},{"b":1}]}"#,
            r#"{"hops":[{"b":5},{"a":5},{"a":6}]}"#,
            "",
        ),
        (
            r#"{"hops":[{"a":1},{"b":1}]}"#,
            r#"{"hops":[{"b":5},{"c":5}]}"#,
            "hops",
        ),
        (r#"{"hops":[{"a":1}]}"#, r#"{"hops":[]}"#, "0 items"),
        (r#"{"clean":null}"#, r#"{"clean":{"p50_us":1}}"#, ""),
        (r#"{"rate":null}"#, r#"{"rate":1}"#, "rate"),
        ("data: {\"a\":1}", "data: {\"a\":2}", ""),
        ("data: {\"a\":1}", "data: {\"b\":2}", "no a"),
        ("id: 0123456789abcdef:1", "id: fedcba9876543210:99", ""),
        ("id: 0123456789abcdef:1", "id: 99", "no position"),
        ("HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "404"),
        (
            "Content-Security-Policy: default-src 'none'; …",
            "Content-Security-Policy: default-src 'none'; x",
            "",
        ),
        ("Content-Length: 3", "Content-Length: 33", "33"),
        ("a … c", "a b d", "a b d"),
    ] {
        let found = text::difference(shown, real);
        let is_right = match &found {
            None => words.is_empty(),
            Some(found) => !words.is_empty() && found.contains(words),
        };
        assert!(is_right, "{shown} {real}: {found:?}");
    }
    let planted = "```sh\necho HTTP/1.1 200 OK; echo '{\"type\":\"a\"}'\n```\n\n```text\nHTTP/1.1 200 OK\n{\"type\":\"a\"}\n```\n";
    for (from, to, is_right) in [
        ("", "", true),
        ("text\nHTTP/1.1 200", "text\nHTTP/1.1 201", false),
        (
            "{\"type\":\"a\"}\n```\n",
            "{\"type\":\"a\",\"n\":1}\n```\n",
            false,
        ),
        ("```\n\n```text", "```\n\nWords.\n\n```text", true),
    ] {
        let shown = text::shown(&planted.replace(from, to));
        let held = text::holds(&shown[0], "127.0.0.1:1", Path::new("."));
        assert_eq!(held.is_ok(), is_right, "{held:?}");
        assert_eq!(shown[0].answer.is_empty(), to.contains("Words"));
    }
}

/// What of a row of a table is not in the text.
fn missing<T: Display>(
    text: &str,
    rows: impl IntoIterator<Item = (&'static str, T)>,
) -> Vec<String> {
    let table: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    let rows = rows
        .into_iter()
        .map(|(name, value)| (format!("`{name}`"), value.to_string()));
    let absent = rows.filter(|(name, value)| {
        !table
            .iter()
            .any(|row| row.contains(name) && row.contains(value))
    });
    absent
        .map(|(name, value)| format!("{name} with {value}"))
        .collect()
}

fn kib(bytes: usize) -> String {
    match bytes {
        bytes if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        bytes => format!("{} KiB", bytes >> 10),
    }
}

fn span(ns: u64) -> String {
    match ns {
        60_000_000_000 => "minute".to_owned(),
        ns if ns.is_multiple_of(1_000_000_000) => format!("{} s", ns / 1_000_000_000),
        ns => format!("{} ms", ns / 1_000_000),
    }
}

#[test]
fn the_tables_of_the_text_have_the_programs_own_words() {
    let text = doc();
    let mut absent = missing(
        &text,
        Code::ALL.iter().map(|code| (code.name(), code.number())),
    );
    absent.extend(missing(
        &text,
        Problem::ALL
            .iter()
            .map(|problem| (problem.name(), problem.status())),
    ));
    absent.extend(missing(
        &text,
        FaultCode::ALL.iter().map(|code| (code.name(), "")),
    ));
    absent.extend(missing(
        &text,
        GapWhy::ALL.iter().map(|why| (why.name(), "`gap`")),
    ));
    absent.extend(missing(
        &text,
        ShedWhy::ALL.iter().map(|why| (why.name(), "`shed`")),
    ));
    absent.extend(missing(
        &text,
        Untaken::ALL.iter().map(|why| (why.name(), "")),
    ));
    absent.extend(missing(
        &text,
        Alert::ALL.iter().map(|alert| (alert.name(), "`code`")),
    ));
    let limits = [
        ("EDGE_HEAD_BYTES_MAX", kib(EDGE_HEAD_BYTES_MAX)),
        ("EDGE_BODY_BYTES_MAX", kib(EDGE_BODY_BYTES_MAX)),
        ("EDGE_HELLO_NS", span(EDGE_HELLO_NS)),
        ("EDGE_MESSAGE_BYTES_MAX", kib(EDGE_MESSAGE_BYTES_MAX)),
        ("EDGE_CHANNELS_MAX", format!("| {EDGE_CHANNELS_MAX} |")),
        (
            "EDGE_CLIENT_RATE_PER_S",
            format!("{EDGE_CLIENT_RATE_PER_S} a second"),
        ),
        ("EDGE_CLIENT_BURST", format!("{EDGE_CLIENT_BURST} at once")),
        ("EDGE_THROTTLE_NS", span(EDGE_THROTTLE_NS)),
        (
            "EDGE_FLOOD_NS",
            format!("for {} at most", span(EDGE_FLOOD_NS)),
        ),
        ("EDGE_HEARTBEAT_NS", span(EDGE_HEARTBEAT_NS)),
        (
            "EDGE_HEARTBEAT_MISSES",
            format!("{EDGE_HEARTBEAT_MISSES} may be missing"),
        ),
        (
            "EDGE_LOG_EVENTS_DEFAULT",
            format!("{EDGE_LOG_EVENTS_DEFAULT} events"),
        ),
        ("EDGE_LOG_BYTES_DEFAULT", kib(EDGE_LOG_BYTES_DEFAULT)),
        (
            "EDGE_SAMPLE_EVERY",
            format!("one event of {EDGE_SAMPLE_EVERY}"),
        ),
        (
            "EDGE_SAMPLES_WAITING_MAX",
            format!("{EDGE_SAMPLES_WAITING_MAX} of a client at once"),
        ),
        (
            "EDGE_SAMPLE_NS_MAX",
            format!("within a {}", span(EDGE_SAMPLE_NS_MAX)),
        ),
        (
            "EDGE_CLOCK_OFF_NS",
            format!("{} off", span(EDGE_CLOCK_OFF_NS)),
        ),
        ("EDGE_CONFLATE_FROM", format!("| {EDGE_CONFLATE_FROM} |")),
        ("EDGE_OWN_MESSAGES_MAX", EDGE_OWN_MESSAGES_MAX.to_string()),
        ("EDGE_OWN_BYTES_MAX", kib(EDGE_OWN_BYTES_MAX)),
        ("EDGE_OUTPUT_BYTES", kib(EDGE_OUTPUT_BYTES)),
        ("EDGE_NOTSENT_BYTES", kib(EDGE_NOTSENT_BYTES)),
        ("EDGE_CLIENTS_DEFAULT", EDGE_CLIENTS_DEFAULT.to_string()),
        (
            "EDGE_PER_ADDRESS_DEFAULT",
            format!("{EDGE_PER_ADDRESS_DEFAULT} of one address"),
        ),
        (
            "EDGE_CONNECTS_PER_S",
            format!("{EDGE_CONNECTS_PER_S} a second"),
        ),
        (
            "EDGE_CONNECTS_MIN_PER_S",
            format!("at least {EDGE_CONNECTS_MIN_PER_S}"),
        ),
        ("EDGE_REFUSED_MAX", format!("| {EDGE_REFUSED_MAX};")),
        ("EDGE_LATE_NS", span(EDGE_LATE_NS)),
        ("EDGE_RETRY_NS_MIN", span(EDGE_RETRY_NS_MIN)),
        ("EDGE_RETRY_NS_MAX", span(EDGE_RETRY_NS_MAX)),
        ("METRICS_ANSWER_NS", span(METRICS_ANSWER_NS)),
    ];
    let named = text
        .split('`')
        .filter(|word| word.starts_with("EDGE_") || word.starts_with("METRICS_"));
    for name in named.filter(|name| *name != "EDGE_ADDRESS") {
        assert!(
            limits.iter().any(|(known, _)| *known == name),
            "{name} is held against nothing"
        );
    }
    absent.extend(missing(&text, limits));
    assert!(
        absent.is_empty(),
        "docs/EDGE.md lacks {}",
        absent.join(", ")
    );
    // What is an event, or said beside them, is there by its name.
    let kinds = Kind::ALL.iter().map(|kind| kind.name());
    let unsaid: Vec<&str> = kinds
        .filter(|kind| !text.contains(&format!("`{kind}`")))
        .collect();
    assert!(unsaid.is_empty(), "{unsaid:?}");
    // And what looks finds what is missing.
    let planted = text
        .replace("`slow` ", "")
        .replace("3008", "3007")
        .replace("16 KiB,", "8 KiB,");
    let code = Code::ALL.iter().map(|code| (code.name(), code.number()));
    assert_eq!(missing(&planted, code), ["`slow` with 3008"]);
    let limit = [("EDGE_HEAD_BYTES_MAX", kib(EDGE_HEAD_BYTES_MAX))];
    assert_eq!(
        missing(&planted, limit),
        ["`EDGE_HEAD_BYTES_MAX` with 16 KiB"]
    );
}
