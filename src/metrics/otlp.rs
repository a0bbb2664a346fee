//! Pushes pages to a collector: OTLP over HTTP, as JSON.
//!
//! ```text
//!   whoever holds the line ─ a snapshot is due ─→ a place for one ─→ thread "otlp": page ─ JSON ─→ POST /v1/metrics
//!                                └─ no room: counted
//! ```
//!
//! The JSON form of OTLP and not protobuf: it needs nothing but `serde_json`, and every collector takes it on the same port.
//! All values are cumulative, so a push that fails is not sent again: the next one has all of it.
//!
//! Source: OpenTelemetry protocol 1.x, "OTLP/HTTP" and "JSON Protobuf Encoding"; `metrics/v1/metrics.proto`.
//!
//! Invariant: whoever holds the line never waits for the collector; the thread waits for it no longer than [`OTLP_PUSH_NS`].

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use serde_json::{Value as Json, json};

use super::bounds::BOUNDS;
use super::family::{Family, Kind};
use super::machine::Machine;
use super::page::{Page, Quantiles, Sample, Value};
use super::snapshot::Snapshot;
use crate::base::Counter;
use crate::base::limits::{METRICS_HEAD_BYTES_MAX, OTLP_PUSH_NS};
use crate::base::primitive::Arc;
use crate::clock::Clock;
use crate::edge::Figures;
use crate::io::{Driver, IoError, StreamId, StreamRead, StreamSpec, StreamWrite};
use crate::topology::{Running, Window};
use crate::wire::http::Responses;

/// What became of pushes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pushes {
    /// The collector took them.
    pub taken: u64,
    /// It could not be reached, was too slow, or refused them.
    pub failed: u64,
    /// Not sent, since the one before was still on its way.
    pub dropped: u64,
}

#[derive(Debug, Default)]
struct Counts {
    taken: Counter,
    failed: Counter,
}

/// Pushes the page of a line every so often, from a thread of its own, which is not pinned.
#[derive(Debug)]
pub struct Exporter {
    every_ns: u64,
    due_ns: u64,
    clock: Clock,
    window: Option<Window>,
    snapshots: Option<SyncSender<Box<Snapshot>>>,
    /// The edge of the line, where it has one.
    edge: Option<Arc<Figures>>,
    counts: Arc<Counts>,
    dropped: u64,
    thread: Option<JoinHandle<()>>,
}

impl Exporter {
    /// Starts the thread; the first push is due at once. Nothing is connected before it.
    ///
    /// # Errors
    /// The system gives no poll or no thread.
    pub fn open(to: SocketAddr, every_ns: u64) -> Result<Exporter, IoError> {
        let (clock, driver) = (Clock::os(), Driver::real()?);
        let counts = Arc::new(Counts::default());
        let (snapshots, waits) = sync_channel(1);
        let mut pushing = Pushing {
            to,
            driver,
            machine: Machine::new(&clock),
            clock: clock.clone(),
            start_wall_ns: None,
        };
        let its = counts.clone();
        let thread = std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || pushing.run(&waits, &its))
            .map_err(|error| IoError::from_os(&error, "start the thread of otlp"))?;
        Ok(Exporter {
            every_ns,
            due_ns: 0,
            clock,
            window: None,
            snapshots: Some(snapshots),
            edge: None,
            counts,
            dropped: 0,
            thread: Some(thread),
        })
    }

    /// The edge of the line is so: pushes have it from here on.
    pub fn tell_edge(&mut self, figures: Arc<Figures>) {
        self.edge = Some(figures);
    }

    /// Takes a snapshot if one is due. A read of the clock where none is; never waits.
    pub fn answer(&mut self, running: &mut Running) {
        let now_ns = self.clock.stamp();
        if now_ns < self.due_ns {
            return;
        }
        self.due_ns = now_ns + self.every_ns;
        self.window = self.window.or_else(|| running.window());
        let mut snapshot = Snapshot::take(running, self.window);
        if let Some(edge) = &self.edge {
            snapshot = snapshot.with_edge(edge);
        }
        if let Some(snapshots) = &self.snapshots
            && let Err(TrySendError::Full(_)) = snapshots.try_send(Box::new(snapshot))
        {
            self.dropped += 1;
        }
    }

    /// Pushes what is said here of a line that has ended, waits for what is on its way, at most [`OTLP_PUSH_NS`] for each of
    /// three, and says what became of all.
    pub fn last(mut self, snapshot: Snapshot) -> Pushes {
        if let Some(snapshots) = self.snapshots.take() {
            // It has its place as soon as the one before is on its way.
            let _ = snapshots.send(Box::new(snapshot));
        }
        self.join();
        Pushes {
            taken: self.counts.taken.get(),
            failed: self.counts.failed.get(),
            dropped: self.dropped,
        }
    }

    fn join(&mut self) {
        self.snapshots = None;
        if let Some(thread) = self.thread.take() {
            // What panics there has nothing to say of the line.
            let _ = thread.join();
        }
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.join();
    }
}

/// The thread.
struct Pushing {
    to: SocketAddr,
    driver: Driver,
    clock: Clock,
    machine: Machine,
    /// When the line started, on the wall clock at the first push.
    start_wall_ns: Option<u64>,
}

impl Pushing {
    fn run(&mut self, snapshots: &Receiver<Box<Snapshot>>, counts: &Counts) {
        while let Ok(snapshot) = snapshots.recv() {
            let page = Page::of(&snapshot, &mut self.machine);
            let now_ns = self.clock.wall_ns();
            let line = &snapshot.report.line;
            let start_ns = *self
                .start_wall_ns
                .get_or_insert(now_ns.saturating_sub(line.elapsed_ns));
            let body = body(&page, &line.name, start_ns, now_ns).to_string();
            match self.push(&body) {
                true => counts.taken.add(1),
                false => counts.failed.add(1),
            }
        }
    }

    /// Whether the collector took it.
    fn push(&mut self, body: &str) -> bool {
        let until_ns = self.clock.stamp() + OTLP_PUSH_NS;
        let Ok(id) = self.driver.stream_connect(&StreamSpec::at(self.to)) else {
            return false;
        };
        let status = self.exchange(id, body, until_ns);
        let _ = self.driver.stream_close(id);
        status.is_some_and(|status| (200..300).contains(&status))
    }

    /// The status that the collector answers with, if it does in time.
    fn exchange(&mut self, id: StreamId, body: &str, until_ns: u64) -> Option<u16> {
        while !self.driver.stream_connected(id).ok()? {
            self.rest(until_ns)?;
        }
        let head = format!(
            "POST /v1/metrics HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.to,
            body.len()
        );
        for mut part in [head.as_bytes(), body.as_bytes()] {
            while !part.is_empty() {
                match self.driver.stream_write(id, part).ok()? {
                    StreamWrite::Bytes(count) => part = &part[count..],
                    StreamWrite::WouldBlock => self.rest(until_ns)?,
                    StreamWrite::Broken => return None,
                }
            }
        }
        let mut responses = Responses::new(METRICS_HEAD_BYTES_MAX);
        let mut buf = [0; 1 << 10];
        loop {
            match self.driver.stream_read(id, &mut buf).ok()? {
                StreamRead::Bytes(count) => {
                    // Of the body nothing is wanted.
                    if let Some(head) = responses.poll(&mut &buf[..count]).ok()? {
                        return Some(head.status);
                    }
                }
                StreamRead::WouldBlock => self.rest(until_ns)?,
                StreamRead::End | StreamRead::Reset => return None,
            }
        }
    }

    /// Waits for something to happen; nothing once the time is over.
    fn rest(&mut self, until_ns: u64) -> Option<()> {
        let now_ns = self.clock.stamp();
        let left_ns = until_ns
            .checked_sub(now_ns)
            .filter(|left_ns| *left_ns > 0)?;
        self.driver.poll(now_ns, Some(left_ns)).ok().map(drop)
    }
}

/// A page as an `ExportMetricsServiceRequest`, whose counters began at `start_ns` of the wall clock.
fn body(page: &Page, line: &str, start_ns: u64, now_ns: u64) -> Json {
    let times = Times { start_ns, now_ns };
    let rows = page.rows().filter(|(_, samples)| !samples.is_empty());
    let metrics: Vec<Json> = rows
        .map(|(family, samples)| metric(family, samples, times))
        .collect();
    json!({"resourceMetrics": [{
        "resource": {"attributes": [
            attribute("service.name", "hopline"),
            attribute("service.instance.id", line),
        ]},
        "scopeMetrics": [{
            "scope": {"name": "hopline", "version": env!("CARGO_PKG_VERSION")},
            "metrics": metrics,
        }],
    }]})
}

#[derive(Clone, Copy)]
struct Times {
    start_ns: u64,
    now_ns: u64,
}

fn attribute(key: &str, value: &str) -> Json {
    json!({"key": key, "value": {"stringValue": value}})
}

/// The unit as UCUM writes it.
fn unit(family: &Family) -> String {
    match family.unit {
        "seconds" => "s".to_owned(),
        "bytes" => "By".to_owned(),
        "" => "1".to_owned(),
        things => format!("{{{things}}}"),
    }
}

fn metric(family: &Family, samples: &[Sample], times: Times) -> Json {
    /// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
    const CUMULATIVE: u8 = 2;
    let points: Vec<Json> = samples
        .iter()
        .map(|sample| point(family, sample, times))
        .collect();
    let (data, content) = match family.kind {
        Kind::Counter => (
            "sum",
            json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true}),
        ),
        Kind::Gauge => ("gauge", json!({"dataPoints": points})),
        Kind::Histogram => (
            "histogram",
            json!({"dataPoints": points, "aggregationTemporality": CUMULATIVE}),
        ),
        Kind::Summary => ("summary", json!({"dataPoints": points})),
    };
    json!({"name": family.name, "description": family.help, "unit": unit(family), data: content})
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// A sample; 64-bit numbers are texts in this encoding.
fn point(family: &Family, sample: &Sample, times: Times) -> Json {
    let labels = family.labels.iter().zip(&sample.labels);
    let attributes: Vec<Json> = labels.map(|(key, value)| attribute(key, value)).collect();
    let mut point = json!({
        "attributes": attributes,
        "timeUnixNano": times.now_ns.to_string(),
    });
    if family.kind != Kind::Gauge {
        point["startTimeUnixNano"] = times.start_ns.to_string().into();
    }
    match &sample.value {
        Value::Count(count) => point["asInt"] = count.to_string().into(),
        Value::SpanNs(ns) => point["asDouble"] = seconds(*ns).into(),
        Value::Real(value) => point["asDouble"] = (*value).into(),
        Value::Spread(spread) => {
            let mut below = 0;
            let all = spread.up_to.iter().copied().chain([spread.count]);
            let counts = all.map(|up_to| {
                let count = up_to - core::mem::replace(&mut below, up_to);
                count.to_string()
            });
            point["bucketCounts"] = counts.collect::<Vec<String>>().into();
            let bounds = BOUNDS.iter().map(|bound| seconds(bound.ns));
            point["explicitBounds"] = bounds.collect::<Vec<f64>>().into();
            point["count"] = spread.count.to_string().into();
            point["sum"] = seconds(spread.sum_ns).into();
        }
        Value::Quantiles(quantiles) => {
            let values = Quantiles::AT.iter().zip(quantiles.at_ns);
            let values = values.filter(|_| quantiles.count > 0);
            let values = values.map(|((at, _), ns)| json!({"quantile": at, "value": seconds(ns)}));
            point["quantileValues"] = values.collect::<Vec<Json>>().into();
            point["count"] = quantiles.count.to_string().into();
            point["sum"] = seconds(quantiles.sum_ns).into();
        }
    }
    point
}
