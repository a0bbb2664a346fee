//! What a line of telemetry costs to parse, and to sum up in a window, on one core.
//!
//! The mix is what clients of StatsD and DogStatsD send: counters half of the time, timers and
//! histograms, gauges, some sets; half of the lines with tags, some with a rate; 2,000 keys; in
//! datagrams of up to 1,432 B, as clients pack them, and one line a datagram. Subjects take turns
//! round by round, so that a busy neighbour slows all of them, and the median round counts. `null`
//! only finds the lines.
//!
//! Run: `cargo bench --bench telemetry`.

use std::hint::black_box;

use hopline::base::Prng;
use hopline::feed::aggregate::{Aggregate, Settings, TagOrder};
use hopline::feed::statsd::{self, Line};
use hopline::feed::{Lines, graphite, influx};

const ROUNDS: usize = 300;
const LINES: usize = 10_000;
const KEYS: u64 = 2_000;
const DATAGRAM_BYTES: usize = 1_432;
const NOW_NS: u64 = 1_700_000_000_000_000_000;

/// A line of the mix.
fn statsd_line(prng: &mut Prng) -> String {
    let key = prng.below(KEYS);
    let (route, host) = (key % 40, key / 40);
    let tags = match key % 2 {
        0 => format!("|#env:prod,host:web-{host},route:/v1/items/{route}"),
        _ => String::new(),
    };
    let rate = match prng.below(4) {
        0 => "|@0.1",
        _ => "",
    };
    let service = ["checkout", "search", "auth", "catalog"][(key % 4) as usize];
    match key % 20 {
        0..10 => format!("{service}.requests.{route}:1|c{rate}{tags}"),
        10..14 => format!(
            "{service}.latency.{route}:{:.3}|ms{rate}{tags}",
            prng.exponential(20.0)
        ),
        14..17 => format!("{service}.payload.{route}:{}|h{tags}", prng.below(100_000)),
        17..19 => format!("{service}.queue.depth.{route}:{}|g{tags}", prng.below(500)),
        _ => format!("{service}.users:{}|s{tags}", prng.below(800)),
    }
}

/// The lines in datagrams of so many bytes.
fn packed(lines: &[String], bytes_max: usize) -> Vec<Vec<u8>> {
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    for line in lines {
        match datagrams.last_mut() {
            Some(last) if last.len() + 1 + line.len() <= bytes_max => {
                last.push(b'\n');
                last.extend_from_slice(line.as_bytes());
            }
            _ => datagrams.push(line.as_bytes().to_vec()),
        }
    }
    datagrams
}

/// What is done with a datagram; says how many lines it had.
type Call<'s> = Box<dyn FnMut(&[u8]) -> usize + 's>;

/// A thing to measure: its name, its datagrams, and what it does with one.
struct Subject<'s> {
    name: &'static str,
    datagrams: &'s [Vec<u8>],
    call: Call<'s>,
    rounds_ns: Vec<f64>,
}

fn main() {
    let mut prng = Prng::new(1);
    let lines: Vec<String> = (0..LINES).map(|_| statsd_line(&mut prng)).collect();
    let large = packed(&lines, DATAGRAM_BYTES);
    let single = packed(&lines, 0);
    let lines: Vec<String> = (0..LINES)
        .map(|at| {
            let (host, value) = (at % 50, prng.unit() * 100.0);
            format!(
                "servers.web-{host}.cpu.{}.user {value:.3} 1700000000",
                at % 8
            )
        })
        .collect();
    let graphite = packed(&lines, DATAGRAM_BYTES);
    let lines: Vec<String> = (0..LINES)
        .map(|at| {
            let (host, value) = (at % 50, prng.unit() * 100.0);
            format!("cpu,cpu=cpu{},host=web-{host} usage_user={value},usage_system=2.5,procs={at}i {NOW_NS}", at % 8)
        })
        .collect();
    let influx = packed(&lines, DATAGRAM_BYTES);

    let summed = |tag_order| {
        let settings = Settings {
            histograms: 2_000,
            tag_order,
            ..Settings::default()
        };
        let mut aggregate = Aggregate::new(settings).unwrap();
        move |datagram: &[u8]| {
            let mut lines = 0;
            for line in Lines::new(black_box(datagram)) {
                if let Ok(Line::Metric(metric)) = statsd::parse(line) {
                    aggregate.add(&metric.sample(), NOW_NS).unwrap();
                }
                lines += 1;
            }
            lines
        }
    };
    let parsed = |datagram: &[u8]| {
        let mut lines = 0;
        for line in Lines::new(black_box(datagram)) {
            black_box(statsd::parse(line)).unwrap();
            lines += 1;
        }
        lines
    };
    let mut subjects = Vec::new();
    let mut add = |name, datagrams, call| {
        let rounds_ns = Vec::with_capacity(ROUNDS);
        subjects.push(Subject {
            name,
            datagrams,
            call,
            rounds_ns,
        });
    };
    add(
        "null",
        &large[..],
        Box::new(|datagram: &[u8]| Lines::new(black_box(datagram)).count()) as Call<'_>,
    );
    add("statsd parsed", &large, Box::new(parsed));
    add("statsd parsed, one a datagram", &single, Box::new(parsed));
    add(
        "statsd into aggregates",
        &large,
        Box::new(summed(TagOrder::Sorted)),
    );
    add(
        "statsd into, one a datagram",
        &single,
        Box::new(summed(TagOrder::Sorted)),
    );
    add(
        "statsd into, tags as sent",
        &large,
        Box::new(summed(TagOrder::AsSent)),
    );
    let parse = |datagram: &[u8]| {
        let mut lines = 0;
        for line in Lines::new(black_box(datagram)) {
            black_box(graphite::parse(line)).unwrap();
            lines += 1;
        }
        lines
    };
    add("graphite parsed", &graphite, Box::new(parse));
    let parse = |datagram: &[u8]| {
        let mut lines = 0;
        for line in influx::Lines::new(black_box(datagram)) {
            for field in influx::parse(line).unwrap().fields() {
                black_box(field);
            }
            lines += 1;
        }
        lines
    };
    add("influx parsed, 3 fields", &influx, Box::new(parse));

    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            let start = quanta::Instant::now();
            let mut lines = 0;
            for datagram in subject.datagrams {
                lines += (subject.call)(datagram);
            }
            let ns = start.elapsed().as_nanos() as f64;
            assert_eq!(lines, LINES);
            subject.rounds_ns.push(ns / LINES as f64);
        }
    }

    println!(
        "{:<30} {:>8} {:>9} {:>9} {:>14}",
        "subject", "bytes", "p50 ns", "p99 ns", "million lines/s"
    );
    for subject in &mut subjects {
        subject.rounds_ns.sort_unstable_by(f64::total_cmp);
        let [p50, p99] = [ROUNDS / 2, ROUNDS * 99 / 100].map(|at| subject.rounds_ns[at]);
        let bytes: usize = subject.datagrams.iter().map(Vec::len).sum();
        println!(
            "{:<30} {:>8.1} {p50:>9.1} {p99:>9.1} {:>14.2}",
            subject.name,
            bytes as f64 / LINES as f64,
            1e3 / p50,
        );
    }
}
