//! The Java Disruptor as a rival: a process of its own, measured in the same rounds.
//!
//! The process is told to begin each round and idles in between, so that neither disturbs the other.
//! It stamps with `System.nanoTime`, which costs some 20 ns more a round trip than `rdtsc`.
//!
//! Invariant: where Java, its compiler or Debian's jar is absent, that is said and nothing else happens.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hopline_harness::measure::{Percentiles, Plan};
use tempfile::TempDir;

/// Where Debian's libdisruptor-java puts it.
const JAR: &str = "/usr/share/java/disruptor.jar";

/// The program, compiled when it is needed.
const SOURCE: &str = include_str!("../java/PingPong.java");

/// A running Java process that measures when it is asked.
#[derive(Debug)]
pub struct Java {
    child: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _classes: TempDir,
}

fn has(program: &str) -> bool {
    let version = Command::new(program)
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

impl Java {
    /// Compiles and starts it for payloads of `words` longs and rings of `depth`.
    ///
    /// # Errors
    /// In words, what is not present or failed.
    pub fn start(plan: &Plan, words: usize, depth: usize) -> Result<Java, String> {
        if !has("java") || !has("javac") {
            return Err("not present: java and javac (Debian: default-jdk-headless)".into());
        }
        if !Path::new(JAR).exists() {
            return Err(format!("not present: {JAR} (Debian: libdisruptor-java)"));
        }
        let classes = tempfile::tempdir().map_err(|error| error.to_string())?;
        let source = classes.path().join("PingPong.java");
        std::fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
        let compiled = Command::new("javac")
            .args(["-nowarn", "-cp", JAR, "-d"])
            .arg(classes.path())
            .arg(&source)
            .status();
        if !compiled.is_ok_and(|status| status.success()) {
            return Err("javac did not compile PingPong.java".into());
        }
        let class_path = format!("{JAR}:{}", classes.path().display());
        let [first, second] = plan.cores;
        let mut child = Command::new("taskset")
            .args(["-c", &format!("{first},{second}"), "java"])
            // No collector that works beside it, and nothing to collect.
            .args([
                "-XX:+UseSerialGC",
                "-Xms64m",
                "-Xmx64m",
                "-cp",
                &class_path,
                "PingPong",
            ])
            .args([words, depth, plan.trips as usize].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("taskset or java did not start: {error}"))?;
        let (Some(ask), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("java has no pipes".into());
        };
        let mut java = Java {
            child,
            ask,
            answers: BufReader::new(answers).lines(),
            _classes: classes,
        };
        // Rounds whose figures nobody sees: the compiler of the machine has to be done first.
        for _ in 0..3 {
            java.round()?;
        }
        Ok(java)
    }

    /// Measures one round.
    ///
    /// # Errors
    /// In words, if the process has ended or said something else.
    pub fn round(&mut self) -> Result<Percentiles, String> {
        let asked = self.ask.write_all(b"go\n").and_then(|()| self.ask.flush());
        asked.map_err(|error| format!("java has ended: {error}"))?;
        let answer = match self.answers.next() {
            Some(Ok(answer)) => answer,
            _ => return Err("java has ended".into()),
        };
        let mut figures = answer.split(' ').map(str::parse::<f64>);
        match [figures.next(), figures.next(), figures.next()] {
            [Some(Ok(p50)), Some(Ok(p90)), Some(Ok(p99))] => Ok(Percentiles { p50, p90, p99 }),
            _ => Err(format!("java said: {answer}")),
        }
    }
}

impl Drop for Java {
    fn drop(&mut self) {
        // It ends by itself when its input closes; this is for one that hangs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
