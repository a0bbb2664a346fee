//! The real command with its edge open.
//!
//! Invariant: the process ends with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A run with an edge.
pub(crate) struct Program {
    child: Child,
    out: ChildStdout,
    /// Where its edge is, without the scheme.
    pub(crate) address: String,
}

impl Program {
    /// Runs a case on threads that rest when there is nothing to do, in that folder.
    pub(crate) fn start(case: &str, folder: &Path, more: &[&str]) -> Program {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hopline"))
            .args(["run", case, "--edge", "127.0.0.1:0", "--json"])
            .args(["--pin", "off", "--wait", "park"])
            .args(more)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut err = BufReader::new(child.stderr.take().unwrap());
        let (mut said, mut line) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert!(err.read_line(&mut line).unwrap() > 0, "{said}");
            if let Some(url) = line.strip_prefix("edge: http://") {
                break url.trim().trim_end_matches('/').to_owned();
            }
            said.push_str(&line);
        };
        // The pipe stays open with somebody who reads it.
        std::thread::spawn(move || err.lines().for_each(drop));
        let out = child.stdout.take().unwrap();
        Program {
            child,
            out,
            address,
        }
    }

    /// Ends it by a signal, and gives its report.
    pub(crate) fn end(mut self) -> Value {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(sent.unwrap().success());
        let mut report = String::new();
        self.out.read_to_string(&mut report).unwrap();
        let status = self.child.wait().unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        assert_eq!(status.code(), Some(0), "{}", report["faults"]);
        assert_eq!(report["ledger"]["closed"], true, "{}", report["ledger"]);
        report
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A case of one's own: a source that is made up, a book, and a stage that does what `fault` says.
pub(crate) fn case(fault: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let line = format!(
        r#"
[line]
name = "small"

[[source]]
name = "btc"
kind = "synthetic"
rate = "2k/s"
decode = "binance"
symbol = "BTCUSDT"
symbols = ["BTCUSDT"]

[[stage]]
name = "book"
kind = "book"

[[stage]]
name = "fault"
kind = "fault"
{fault}

[[sink]]
name = "end"
kind = "blackhole"

[[hop]]
from = "btc"
to = "book"

[[hop]]
from = "book"
to = "fault"

[[hop]]
from = "fault"
to = "end"
"#
    );
    let load = "rate = \"2k/s\"\narrivals = \"constant\"\nseed = 1\n";
    for (file, text) in [
        ("line.toml", line.as_str()),
        ("load.toml", load),
        ("budget.toml", "[slo]\np99 = \"1s\"\n"),
    ] {
        std::fs::write(folder.path().join(file), text).unwrap();
    }
    folder
}
