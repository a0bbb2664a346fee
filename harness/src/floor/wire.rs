//! Round trips over loopback sockets: answered by bare system calls, and by a line.
//!
//! Invariant: one client for both, and both in each round.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use hopline::adapter::{datagrams, shared_udp, udp_on, udp_reply};
use hopline::base::primitive::{AtomicBool, Ordering, spin_hint};
use hopline::feed::Datagrams;
use hopline::host::{Pin, pin};
use hopline::stages::Forward;
use hopline::topology::{Hop, Line, Placement, Running, ThreadSpec};
use hopline::wait::Strategy;

use super::Trouble;
use super::report::Wire;
use crate::measure::{MeasureError, Percentiles, Plan, Spans, median, ratios};

/// Bytes of a message.
const BYTES: usize = 64;

/// Slots of each ring: as many as a datagram of many fragments may take.
const DEPTH: usize = 1024;

/// Longest wait for an answer: loopback loses nothing, so it only ends what hangs.
const ANSWER_NS: u64 = 2_000_000_000;

/// Round trips over UDP, `trips` in each of `rounds`.
pub(super) fn udp(plan: &Plan, rounds: usize, trips: u64) -> Result<Wire, Trouble> {
    let mut raw = Vec::with_capacity(rounds);
    let mut line = Vec::with_capacity(rounds);
    for round in 0..rounds {
        // The one that goes second finds the host as the first has left it.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                raw.push(over_raw(plan, trips)?);
            } else {
                line.push(over_line(plan, trips)?);
            }
        }
    }
    let of = |runs: &[Percentiles], which: fn(&Percentiles) -> f64| -> Vec<f64> {
        runs.iter().map(which).collect()
    };
    let middle = |runs: &[Percentiles]| Percentiles {
        p50: median(&of(runs, |one| one.p50)),
        p90: median(&of(runs, |one| one.p90)),
        p99: median(&of(runs, |one| one.p99)),
    };
    let ratio = |which| median(&ratios(&of(&line, which), &of(&raw, which)));
    Ok(Wire {
        name: "udp",
        payload_bytes: BYTES,
        raw: middle(&raw),
        line: middle(&line),
        ratio: ratio(|one| one.p50),
        ratio_p99: ratio(|one| one.p99),
    })
}

/// A loop that answers each datagram with the same bytes, by two system calls.
fn over_raw(plan: &Plan, trips: u64) -> Result<Percentiles, Trouble> {
    let server = UdpSocket::bind("127.0.0.1:0")?;
    server.set_nonblocking(true)?;
    let addr = server.local_addr()?;
    let over = Arc::new(AtomicBool::new(false));
    let theirs = over.clone();
    std::thread::scope(|scope| {
        let echo = scope.spawn(move || {
            pin(plan.cores[1], Pin::Require).map_err(MeasureError::from)?;
            let mut buf = [0; 2 * BYTES];
            // Relaxed: the flag publishes nothing but itself.
            while !theirs.load(Ordering::Relaxed) {
                match server.recv_from(&mut buf) {
                    Ok((len, from)) => drop(server.send_to(&buf[..len], from)?),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => spin_hint(),
                    Err(error) => return Err(Trouble::from(error)),
                }
            }
            Ok(())
        });
        let asked = ask(plan, addr, trips);
        over.store(true, Ordering::Relaxed);
        echo.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        asked
    })
}

/// A line of a source, a stage and a sink, fused on one loop.
fn over_line(plan: &Plan, trips: u64) -> Result<Percentiles, Trouble> {
    // A port that was free a moment ago: a line's own socket is not to be had from outside.
    let addr = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
    let running = start(plan.cores[1], addr)?;
    let asked = ask(plan, addr, trips);
    drop(running.end("duration"));
    asked
}

fn start(core: usize, addr: SocketAddr) -> Result<Running, Trouble> {
    let socket = shared_udp(&addr.to_string()).map_err(|problem| Trouble::Line(problem.into()))?;
    let mut line = Line::builder("echo");
    line.source("in", udp_on(&socket).decode(datagrams()));
    line.stage("forward", Forward::<Datagrams>::new);
    line.sink("out", udp_reply(&socket));
    line.connect("in", "forward", Hop::depth(DEPTH));
    line.connect("forward", "out", Hop::depth(DEPTH));
    line.placement(Placement {
        pin: Pin::Require,
        threads: vec![ThreadSpec {
            name: "echo".to_owned(),
            core: Some(core),
            wait: Some(Strategy::Spin),
            nodes: ["in", "forward", "out"].map(str::to_owned).to_vec(),
            place: None,
        }],
        ..Placement::default()
    });
    Ok(line.build()?.start()?)
}

/// The client: one message at a time, each answer checked.
fn ask(plan: &Plan, to: SocketAddr, trips: u64) -> Result<Percentiles, Trouble> {
    let client = move || {
        pin(plan.cores[0], Pin::Require).map_err(MeasureError::from)?;
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        let clock = &plan.clock;
        let warm_up = (trips / 10).max(100);
        let mut spans = Spans::new(plan.clock_step_ns);
        let (mut message, mut answer) = ([0_u8; BYTES], [0_u8; 2 * BYTES]);
        for number in 0..warm_up + trips {
            message[..8].copy_from_slice(&number.to_le_bytes());
            let begin_ns = clock.stamp();
            socket.send(&message)?;
            let len = loop {
                match socket.recv(&mut answer) {
                    Ok(len) => break len,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        if clock.stamp() - begin_ns > ANSWER_NS {
                            return Err(Trouble::Unanswered);
                        }
                    }
                    Err(error) => return Err(error.into()),
                }
            };
            let end_ns = clock.stamp_after();
            if answer[..len] != message {
                return Err(MeasureError::Corrupt { wrong: 1, items: 1 }.into());
            }
            if number >= warm_up {
                spans.record(end_ns.saturating_sub(begin_ns));
            }
        }
        Ok(spans.percentiles(1.0))
    };
    std::thread::scope(|scope| {
        scope
            .spawn(client)
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
