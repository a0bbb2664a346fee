//! The edge as its users meet it: the real command on a real port, what docs/EDGE.md says of it, and what should not be done to it.

#[path = "edge/counted.rs"]
mod counted;
#[path = "../../tests/common/data.rs"]
#[allow(dead_code, reason = "only skips are said here")]
mod data;
#[path = "edge/hostile.rs"]
mod hostile;
#[path = "edge/peer.rs"]
mod peer;
#[path = "edge/program.rs"]
mod program;
#[path = "edge/screened.rs"]
mod screened;
#[path = "edge/text.rs"]
mod text;
#[path = "edge/written.rs"]
mod written;

use std::process::Command;

use serde_json::{Value, json};

use peer::{Peer, UPGRADE};
use program::{Program, case};

/// Follows the DAG until the connection ends, and gives how many events came and what was wrong with them.
fn watched(mut peer: Peer) -> (u64, Vec<String>) {
    let (mut last, mut count, mut faults) = (0, 0, Vec::new());
    while let Some(line) = peer.line() {
        let offset = line["o"].as_u64();
        match (line["type"].as_str().unwrap_or_default(), offset) {
            ("subscribed" | "snapshot", Some(offset)) => last = offset,
            ("gap", _) => faults.push(line.to_string()),
            (_, Some(offset)) => {
                count += 1;
                if offset != last + 1 + line["skip"].as_u64().unwrap_or(0) {
                    faults.push(format!("{offset} came behind {last}"));
                }
                last = offset;
            }
            _ => {}
        }
    }
    (count, faults)
}

#[test]
fn what_should_not_be_done_is_answered_and_the_line_goes_on() {
    let small = case("");
    let program = Program::start(
        small.path().to_str().unwrap(),
        small.path(),
        &["--for", "10m"],
    );
    let address = program.address.clone();
    let follower = Peer::lines(&address, "/dag");
    let follows = std::thread::spawn(move || watched(follower));
    let acts = hostile::all();
    let wrong = hostile::judged(&acts, &address);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let mut peer = Peer::ask(&address, "GET", "/health", "");
    assert_eq!(peer.response().body, "ok\n");
    let report = program.end();
    assert!(report["ledger"]["sources"]["btc"]["ingested"].as_u64() > Some(1_000));
    let (count, faults) = follows.join().unwrap();
    assert!(faults.is_empty(), "{faults:?}");
    assert!(count > 50, "{count} events while others did their worst");
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    const MOST: usize = 6;
    let small = case("");
    let most = MOST.to_string();
    let more = ["--for", "10m", "--edge-per-address", &most];
    let program = Program::start(small.path().to_str().unwrap(), small.path(), &more);
    let address = &program.address;
    let mut held: Vec<Peer> = (0..MOST).map(|_| Peer::lines(address, "/dag")).collect();
    for target in ["/dag", "/", "/health"] {
        let mut peer = Peer::ask(address, "GET", target, "");
        let response = peer.response();
        assert_eq!(response.status, 429, "{target}");
        assert_eq!(response.problem().as_deref(), Some("too_many"));
        assert!(peer.is_ended(), "{target}");
    }
    // A page would see nothing of a status.
    for target in ["/ws", "/dag"] {
        let mut peer = Peer::socket(address, target);
        let goodbye = peer.message();
        assert_eq!(
            (&goodbye["type"], &goodbye["code"]),
            (&json!("disconnect"), &json!(3002))
        );
        assert!(goodbye["retry_after_ms"].as_u64() > Some(0), "{goodbye}");
        assert_eq!(peer.closed(), Some(3002));
    }
    // Those that are inside are served on, and one that leaves makes room.
    assert!(held.iter_mut().all(|peer| peer.line().is_some()));
    held.pop();
    let let_in = (0..10_000).any(|_| Peer::ask(address, "GET", "/dag", "").head().status == 200);
    assert!(let_in, "there is room again");
    program.end();
}

#[test]
fn a_token_opens_the_channels() {
    let small = case("");
    let folder = small.path();
    std::fs::write(folder.join("token.txt"), "secret-1\n").unwrap();
    let more = ["--for", "10m", "--edge-token", "token.txt"];
    let program = Program::start(folder.to_str().unwrap(), folder, &more);
    let address = &program.address;
    for (headers, status) in [
        ("", 401),
        ("Authorization: Bearer secret-2\r\n", 401),
        ("Authorization: Bearer secret-11\r\n", 401),
        ("Authorization: Basic secret-1\r\n", 401),
        ("Authorization: Bearer secret-1\r\n", 200),
    ] {
        for target in ["/dag", "/stream/alerts/line"] {
            let response = Peer::ask(address, "GET", target, headers).head();
            assert_eq!(response.status, status, "{target} {headers}");
            let asks = response.header("www-authenticate");
            assert_eq!(asks, (status == 401).then_some("Bearer"));
        }
    }
    for target in ["/ws", "/dag"] {
        for (token, code) in [
            (json!("secret-2"), Some(3500)),
            (Value::Null, Some(3500)),
            (json!("secret-1"), None),
        ] {
            let mut peer = Peer::socket(address, target);
            peer.say(&json!({"type": "hello", "token": token, "subs": [{"ch": "alerts/line"}]}));
            match code {
                Some(code) => assert_eq!(peer.closed(), Some(code)),
                None => assert_eq!(peer.message()["type"], "hello"),
            }
        }
    }
    // The head of a handshake shows it as well.
    let shown = format!("{UPGRADE}Authorization: Bearer secret-1\r\n");
    let mut peer = Peer::ask(address, "GET", "/dag", &shown);
    assert_eq!(peer.head().status, 101);
    assert_eq!(peer.message()["type"], "hello");
    program.end();
}

#[test]
fn the_end_is_told_and_whoever_comes_late_learns_of_it() {
    let small = case("panic_at = 50\non_panic = \"skip\"");
    let more = ["--for", "2s", "--edge-linger", "10m"];
    let program = Program::start(small.path().to_str().unwrap(), small.path(), &more);
    let address = &program.address;
    let alerts = |mut peer: Peer| {
        let mut all = Vec::new();
        while let Some(line) = peer.line() {
            let is_last = line["type"] == "execution_complete";
            if line.get("o").is_some() && line["type"] != "subscribed" {
                all.push(line);
            }
            if is_last {
                break;
            }
        }
        all
    };
    let seen = alerts(Peer::lines(address, "/stream/alerts/line"));
    let panicked: Vec<&Value> = seen
        .iter()
        .filter(|line| line["code"] == "panicked")
        .collect();
    assert_eq!(panicked.len(), 1, "{seen:?}");
    assert_eq!(
        (&panicked[0]["node_id"], &panicked[0]["temporary"]),
        (&json!("fault"), &json!(true))
    );
    let results = &seen.last().unwrap()["results"];
    assert_eq!(
        (&results["cause"], &results["closed"]),
        (&json!("duration"), &json!(true))
    );
    assert!(results["delivered"].as_u64() > Some(100), "{results}");
    let offsets: Vec<u64> = seen.iter().filter_map(|line| line["o"].as_u64()).collect();
    assert!(
        offsets.iter().copied().eq(1..=offsets.len() as u64),
        "{offsets:?}"
    );
    assert_eq!(
        alerts(Peer::lines(address, "/stream/alerts/line")),
        seen,
        "late"
    );
    let ready = Peer::ask(address, "GET", "/ready", "").response();
    assert_eq!(ready.status, 503, "{}", ready.body);
    // Its clients are sent away when the time is over.
    let mut stays = Peer::greeted(address, &json!([]));
    let lines = Peer::lines(address, "/dag");
    program.end();
    let goodbye = stays.message_of("disconnect");
    assert_eq!(
        (&goodbye["code"], stays.closed()),
        (&json!(3000), Some(3000))
    );
    assert!(goodbye["retry_after_ms"].as_u64() > Some(0));
    assert!(watched(lines).1.is_empty());
}

#[test]
fn wishes_that_make_no_sense_are_refused() {
    let small = case("");
    let empty = small.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let empty = empty.to_str().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, code, words) in [
        (vec!["--edge", "somewhere"], 64, "somewhere"),
        (vec!["--edge", "0.0.0.0:0"], 64, "--edge-token"),
        (vec!["--edge", "[::]:0"], 64, "--edge-token"),
        (
            vec!["--edge", "127.0.0.1:0", "--edge-token", empty],
            64,
            "token",
        ),
        (
            vec!["--edge", "127.0.0.1:0", "--edge-token", "not-there"],
            74,
            "not-there",
        ),
        (vec!["--edge", &taken], 74, &taken),
        (vec!["--edge-linger", "1s"], 64, "--edge"),
        (vec!["--virtual", "--edge", "127.0.0.1:0"], 64, "--virtual"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_hopline"))
            .arg("run")
            .arg(small.path())
            .args(&args)
            .args(["--for", "1s"])
            .current_dir(small.path())
            .output()
            .unwrap();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {err}");
        assert!(
            err.contains(words) && output.stdout.is_empty(),
            "{args:?}: {err}"
        );
    }
}
