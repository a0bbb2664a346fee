//! The case udp-echo as its users meet it: what is sent comes back, or is on the account of who lost it.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hopline"))
        .env_remove("COLUMNS")
        .stdin(Stdio::null())
        .args(args)
        .output()
        .unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_echo_returns_every_datagram() {
    // The built-in case on a port of its own.
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/udp-echo");
    let folder = tempfile::tempdir().unwrap();
    // It is free again at once; a port that somebody takes meanwhile is a run that does not start.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    drop(socket);
    for file in ["line.toml", "load.toml", "budget.toml"] {
        let text = std::fs::read_to_string(built_in.join(file)).unwrap();
        let text = text.replace(":26600", &format!(":{port}"));
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    let case = folder.path().to_str().unwrap();
    let output = run(&["run", case, "--for", "500ms", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sender = &report["senders"][0];
    assert!(sender["sent"].as_u64().unwrap() > 1_000);
    // On a machine that is busy with other things a datagram may find a full socket.
    let count = |value: &Value| value.as_u64().unwrap();
    let dropped = count(&sender["kernel_dropped"])
        + count(&report["ledger"]["sources"]["in"]["kernel_dropped"]);
    let returned = count(&sender["returned"]);
    // Or find the system unwilling to send it back, which the sink counts by reason.
    let stages = report["stages"].as_array().unwrap();
    let sink = stages.iter().find(|stage| stage["name"] == "out").unwrap();
    let unsent: u64 = sink["rejected"]
        .as_object()
        .unwrap()
        .values()
        .map(count)
        .sum();
    assert_eq!(
        count(&sender["sent"]),
        returned + dropped + unsent,
        "{sender} {} {sink}",
        report["ledger"]
    );
    assert!(returned > 0);

    // Without its socket nothing can be answered, which is said before anything runs.
    for (way, advice) in [
        (&["--virtual"][..], "without --virtual"),
        (&["--via", "direct"], "--via udp"),
    ] {
        let output = run(&[&["run", case], way].concat());
        assert_eq!(output.status.code(), Some(64), "{}", err(&output));
        assert!(err(&output).contains(advice), "{}", err(&output));
    }
    assert!(sender["round_trip_ns"]["p50"].as_u64().unwrap() > 0);
}
