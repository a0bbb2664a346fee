//! What a line costs on the wire, beside raw sockets: loopback, two cores, 64 B datagrams.
//!
//! ```text
//! cargo bench --bench udp [-- echo | ingest | unit | costs] [-- --quick]
//! ```
//!
//! - *echo* (closed loop): a client on one core, and on the other either a loop of raw `recv` and
//!   `send`, or a line of three fused stages and two rings (source, forward, sink). The same client,
//!   both in each round, in turns. The bar: p50 within 1.10 x and p99 within 1.20 x of raw.
//! - *ingest* (flat out): a sender of GSO trains on one core, a line (source, stage, sink) on the
//!   other; each frame is stamped and accounted for. The bar: 10 M frames a second.
//! - *unit* (flat out): a sender of single datagrams, and a line beside a loop that receives in
//!   batches and only counts. The bar: no slower.
//! - *costs*: nanoseconds a datagram of each way to receive and to send, on one core.
//!
//! Both cores have to be free. Only ratios travel between machines.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use hopline::adapter::{blackhole, datagrams, shared_udp, udp_on, udp_reply};
use hopline::base::limits::{BATCH_FRAMES, FRAGMENTS_MAX};
use hopline::base::primitive::{AtomicBool, Ordering};
use hopline::base::{NoWhy, Reject};
use hopline::clock::Clock;
use hopline::feed::Datagrams;
use hopline::frame::View;
use hopline::host::Pin;
use hopline::io::{
    Driver, RecvBatch, SendBatch, Sent, SharedUdp, TRAIN_SEGMENTS_MAX, Trains, UdpId, UdpSpec,
};
use hopline::stage::{Context, Decode, Decoded, Out, Outcome, Port, Stage};
use hopline::stages::Forward;
use hopline::topology::{Builder, Hop, Line, Placement, Report, Running, ThreadSpec};
use hopline::wait::Strategy;

/// Bytes of each datagram.
const BYTES: usize = 64;
/// Round trips before the measured ones.
const WARM_UP: usize = 2_000;
/// Most that the line's p50 and p99 may be of raw's.
const ECHO_BARS: [f64; 2] = [1.10, 1.20];
/// Least frames a second that a line takes in.
const INGEST_BAR: f64 = 10e6;
/// Least of what counting alone takes in that a line takes in of single datagrams. The sender is slower
/// than both, and its own pace differs by more from round to round.
const UNIT_BAR: f64 = 0.98;
/// Kernel buffer of what receives flat out, in bytes.
const RECV_BUFFER_BYTES: usize = 4 << 20;

struct Plan {
    rounds: usize,
    trips: usize,
    flat_out: Duration,
    cores: [CoreId; 2],
    clock: Clock,
}

/// A frame of exactly one datagram: eight words.
#[hopline::frame(schema = 990, version = 1, name = "words")]
#[derive(Clone, Copy, Debug)]
struct Words {
    words: [u64; BYTES / 8],
}

/// Takes datagrams of exactly 64 B as typed frames.
struct WordsDecoder;

const WORDS: Out<Words> = Out::at(0);

impl Decode for WordsDecoder {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Words>("out")];
        PORTS
    }

    fn only_copies(&self) -> bool {
        true
    }

    #[inline]
    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let bytes: &[u8; BYTES] = message.try_into().map_err(|_| Reject::Truncated)?;
        let mut words = [0; BYTES / 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        cx.emit(WORDS, &Words { words });
        Ok(Decoded::default())
    }
}

/// Passes words on, with one of them changed.
struct Count(u64);

impl Stage for Count {
    type In = Words;
    type Why = NoWhy;
    const ONLY_COPIES: bool = true;
    const PORTS: &'static [Port] = &[Port::new::<Words>("out")];

    fn on_frame(&mut self, frame: View<'_, Words>, cx: &mut Context<'_>) -> Outcome<NoWhy> {
        let mut words = frame.to_owned();
        self.0 += 1;
        words.words[0] = self.0;
        cx.emit(WORDS, &words);
        Outcome::done()
    }
}

/// Puts all nodes on one thread that spins on the second core, and starts.
fn start(line: &mut Builder, nodes: &[&str], plan: &Plan) -> Running {
    line.placement(Placement {
        pin: Pin::Require,
        threads: vec![ThreadSpec {
            name: "line".into(),
            core: Some(plan.cores[1].id),
            wait: Some(Strategy::Spin),
            nodes: nodes.iter().map(|name| (*name).to_owned()).collect(),
            ..ThreadSpec::default()
        }],
        ..Placement::default()
    });
    line.build()
        .expect("a right line")
        .start()
        .expect("it starts")
}

/// Nanoseconds of each round trip to `server` and back.
fn trips(plan: &Plan, server: SocketAddr) -> Vec<u64> {
    let client = UdpSocket::bind("127.0.0.1:0").expect("a port");
    client.connect(server).expect("a route");
    client.set_nonblocking(true).expect("an option");
    let mut buf = [0; 2 * BYTES];
    let mut spans_ns = Vec::with_capacity(WARM_UP + plan.trips);
    for _ in 0..WARM_UP + plan.trips {
        let began_ns = plan.clock.stamp();
        client.send(&[7; BYTES]).expect("sent");
        while client.recv(&mut buf).is_err() {}
        spans_ns.push(plan.clock.stamp_after() - began_ns);
    }
    spans_ns.split_off(WARM_UP)
}

fn echo_raw(plan: &Plan) -> Vec<u64> {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let addr = server.local_addr().expect("an address");
    server.set_nonblocking(true).expect("an option");
    let (start, over) = (Barrier::new(2), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            core_affinity::set_for_current(plan.cores[1]);
            start.wait();
            let mut buf = [0; 2_048];
            while !over.load(Ordering::Relaxed) {
                if let Ok((len, from)) = server.recv_from(&mut buf) {
                    server.send_to(&buf[..len], from).expect("sent");
                }
            }
        });
        start.wait();
        let spans_ns = trips(plan, addr);
        over.store(true, Ordering::Relaxed);
        spans_ns
    })
}

fn echo_line(plan: &Plan, socket: &SharedUdp) -> Vec<u64> {
    let mut line = Line::builder("echo");
    line.source("in", udp_on(socket).decode(datagrams()));
    line.stage("forward", Forward::<Datagrams>::new);
    line.sink("out", udp_reply(socket));
    line.connect("in", "forward", Hop::depth(1024));
    line.connect("forward", "out", Hop::depth(1024));
    let running = start(&mut line, &["in", "forward", "out"], plan);
    let addr = socket.local_addr().expect("it is open");
    let spans_ns = trips(plan, addr);
    let report = running.end("duration");
    assert!(report.is_good(), "{:?}", report.ledger.breaches);
    assert_eq!(report.hops[1].delivered, (WARM_UP + plan.trips) as u64);
    spans_ns
}

fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn shared(trains: Trains, stamps: bool) -> SharedUdp {
    SharedUdp::new(UdpSpec {
        trains,
        stamps,
        recv_buffer_bytes: Some(RECV_BUFFER_BYTES),
        ..UdpSpec::bound(any())
    })
}

fn echo(plan: &Plan) {
    type Echo = fn(&Plan) -> Vec<u64>;
    let candidates: [(&str, Echo); 4] = [
        ("raw recv and send", echo_raw),
        ("line", |plan| {
            echo_line(plan, &shared_udp("127.0.0.1:0").expect("an address"))
        }),
        ("line, kernel stamps", |plan| {
            echo_line(plan, &shared(Trains::Backlog, true))
        }),
        ("line, trains from the start", |plan| {
            echo_line(plan, &shared(Trains::On, false))
        }),
    ];
    let mut figures = vec![[Vec::new(), Vec::new(), Vec::new()]; candidates.len()];
    for round in 0..plan.rounds {
        for turn in 0..candidates.len() {
            let at = (round + turn) % candidates.len();
            let mut spans_ns = (candidates[at].1)(plan);
            spans_ns.sort_unstable();
            for (of, q) in [0.50, 0.90, 0.99].into_iter().enumerate() {
                figures[at][of].push(quantile(&spans_ns, q));
            }
        }
    }
    println!(
        "echo of {BYTES} B: round trip in ns over {} rounds of {} trips; median (lowest-highest)",
        plan.rounds, plan.trips
    );
    println!(
        "{:<28} {:>24} {:>24} {:>24} {:>18} {:>18}",
        "", "p50", "p90", "p99", "p50 / raw", "p99 / raw"
    );
    for (at, (name, _)) in candidates.iter().enumerate() {
        let ratio = |of: usize| -> Vec<f64> {
            let pairs = figures[at][of].iter().zip(&figures[0][of]);
            pairs.map(|(own, raw)| own / raw).collect()
        };
        let [p50, p90, p99] = &figures[at];
        let (of50, of99) = (ratio(0), ratio(2));
        let good = middle(&of50) <= ECHO_BARS[0] && middle(&of99) <= ECHO_BARS[1];
        println!(
            "{name:<28} {:>24} {:>24} {:>24} {:>18} {:>18}  {}",
            spread(p50, 0),
            spread(p90, 0),
            spread(p99, 0),
            spread(&of50, 2),
            spread(&of99, 2),
            if good { "within" } else { "OVER" },
        );
    }
}

/// Sends to `to` flat out from the first core until told to stop; how many the system took.
fn flood(plan: &Plan, to: SocketAddr, trains: bool, over: &AtomicBool) -> u64 {
    core_affinity::set_for_current(plan.cores[0]);
    let mut sent = 0;
    if !trains {
        let out = UdpSocket::bind("127.0.0.1:0").expect("a port");
        out.connect(to).expect("a route");
        while !over.load(Ordering::Relaxed) {
            for _ in 0..32 {
                sent += u64::from(out.send(&[7; BYTES]).is_ok());
            }
        }
        return sent;
    }
    let mut driver = Driver::real().expect("a driver");
    let out = driver.udp_open(&UdpSpec::connected(to)).expect("a socket");
    let mut batch = SendBatch::new(TRAIN_SEGMENTS_MAX, TRAIN_SEGMENTS_MAX * BYTES);
    while !over.load(Ordering::Relaxed) {
        while batch.push(None, &[7; BYTES]) {}
        while !batch.is_empty() {
            let now = driver.udp_send_batch(out, &mut batch).expect("sent");
            if now.what == Sent::Yes {
                sent += now.count as u64;
            }
        }
    }
    sent
}

/// Frames a second through a line, and its report.
fn line_rate(plan: &Plan, socket: &SharedUdp, typed: bool, trains: bool) -> (f64, Report) {
    let mut line = Line::builder("ingest");
    let mut depth = FRAGMENTS_MAX;
    if typed {
        line.source("in", udp_on(socket).decode(WordsDecoder));
        line.stage("stage", || Count(0));
        depth = 2 * BATCH_FRAMES;
    } else {
        line.source("in", udp_on(socket).decode(datagrams()));
        line.stage("stage", Forward::<Datagrams>::new);
    }
    line.sink("end", blackhole());
    line.connect("in", "stage", Hop::depth(depth));
    line.connect("stage", "end", Hop::depth(depth));
    let mut running = start(&mut line, &["in", "stage", "end"], plan);
    let to = socket.local_addr().expect("it is open");
    let over = AtomicBool::new(false);
    let (rate, sent) = thread::scope(|scope| {
        let sender = scope.spawn(|| flood(plan, to, trains, &over));
        running.wait(plan.flat_out / 5);
        let (from, from_ns) = (delivered(&mut running), plan.clock.stamp());
        running.wait(plan.flat_out);
        let (until, until_ns) = (delivered(&mut running), plan.clock.stamp());
        over.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("no panic");
        // What still waits in the kernel is taken before the end; on a machine that is busy elsewhere that takes its time.
        for _ in 0..TAKE_IN_LOOKS {
            running.wait(plan.flat_out / 5);
            let source = &running.report().ledger.sources["in"];
            if source.received + source.kernel_dropped >= sent {
                break;
            }
        }
        (
            (until - from) as f64 * 1e9 / (until_ns - from_ns) as f64,
            sent,
        )
    });
    let report = running.end("duration");
    assert!(report.ledger.closed, "{:?}", report.ledger.breaches);
    let source = &report.ledger.sources["in"];
    assert!(source.received + source.kernel_dropped <= sent);
    if !source.kernel_dropped_at_least {
        assert_eq!(source.received + source.kernel_dropped, sent, "{source:?}");
    }
    assert_eq!(report.hops[1].delivered, source.received);
    (rate, report)
}

/// How often it is looked whether all that was sent is taken in; trains that the kernel drops count once, so that the sum
/// may never be reached.
const TAKE_IN_LOOKS: u32 = 10;

fn delivered(running: &mut Running) -> u64 {
    running.report().hops[1].delivered
}

/// Datagrams a second that a loop receives which only counts them.
fn raw_rate(plan: &Plan, trains: bool) -> f64 {
    let mut driver = Driver::real().expect("a driver");
    let spec = UdpSpec {
        trains: if trains { Trains::On } else { Trains::Off },
        recv_buffer_bytes: Some(RECV_BUFFER_BYTES),
        ..UdpSpec::bound(any())
    };
    let inbox = driver.udp_open(&spec).expect("a socket");
    let to = driver.udp_local_addr(inbox).expect("an address");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| flood(plan, to, trains, &over));
        let receiver = scope.spawn(|| {
            core_affinity::set_for_current(plan.cores[1]);
            let mut batch = RecvBatch::of_trains();
            let began_ns = plan.clock.stamp();
            let from_ns = began_ns + plan.flat_out.as_nanos() as u64 / 5;
            let until_ns = from_ns + plan.flat_out.as_nanos() as u64;
            let mut got = 0u64;
            let mut first = None;
            loop {
                got += driver.udp_recv_batch(inbox, &mut batch).expect("received") as u64;
                batch.clear();
                let now_ns = plan.clock.stamp();
                if first.is_none() && now_ns >= from_ns {
                    first = Some((got, now_ns));
                }
                if let Some((before, began_ns)) = first.filter(|_| now_ns >= until_ns) {
                    return (got - before) as f64 * 1e9 / (now_ns - began_ns) as f64;
                }
            }
        });
        let rate = receiver.join().expect("no panic");
        over.store(true, Ordering::Relaxed);
        sender.join().expect("no panic");
        rate
    })
}

fn ingest(plan: &Plan, trains: bool) {
    type Rate = fn(&Plan, bool) -> f64;
    let candidates: [(&str, Rate); 4] = [
        ("receives and counts only", |plan, trains| {
            raw_rate(plan, trains)
        }),
        ("line, typed frame", |plan, trains| {
            line_rate(plan, &shared(Trains::Backlog, true), true, trains).0
        }),
        ("line, typed frame, no stamps", |plan, trains| {
            line_rate(plan, &shared(Trains::Backlog, false), true, trains).0
        }),
        ("line, opaque datagrams", |plan, trains| {
            line_rate(plan, &shared(Trains::Backlog, true), false, trains).0
        }),
    ];
    let mut rates = vec![Vec::new(); candidates.len()];
    for round in 0..plan.rounds {
        for turn in 0..candidates.len() {
            let at = (round + turn) % candidates.len();
            rates[at].push((candidates[at].1)(plan, trains) / 1e6);
        }
    }
    let how = if trains {
        "GSO trains"
    } else {
        "single datagrams"
    };
    println!(
        "\ningest of {BYTES} B from {how}: M a second over {} rounds of {:?}; median (lowest-highest)",
        plan.rounds, plan.flat_out
    );
    for (at, (name, _)) in candidates.iter().enumerate() {
        let own: Vec<f64> = rates[at]
            .iter()
            .zip(&rates[0])
            .map(|(a, b)| a / b)
            .collect();
        let verdict = match at {
            0 => "",
            _ if trains && middle(&rates[at]) * 1e6 >= INGEST_BAR => "within",
            _ if !trains && middle(&own) >= UNIT_BAR => "within",
            _ => "OVER",
        };
        println!(
            "{name:<32} {:>24} {:>10.1} ns each {:>18} of counting  {verdict}",
            spread(&rates[at], 2),
            1e3 / middle(&rates[at]),
            spread(&own, 2),
        );
    }
}

/// A socket that receives by `spec` and one that sends to it.
fn pair(driver: &mut Driver, spec: &UdpSpec) -> (UdpId, UdpId) {
    let spec = UdpSpec {
        recv_buffer_bytes: Some(RECV_BUFFER_BYTES),
        ..*spec
    };
    let inbox = driver.udp_open(&spec).expect("a socket");
    let to = driver.udp_local_addr(inbox).expect("an address");
    (
        inbox,
        driver.udp_open(&UdpSpec::connected(to)).expect("a socket"),
    )
}

/// Nanoseconds a datagram of sending one by one, as trains, and alternately to two receivers, and of
/// receiving what came: by single calls, by batches, as trains; with the kernel's stamps or without.
fn costs(plan: &Plan) {
    /// Datagrams of a burst: what the default limit of a socket's buffer holds with room to spare.
    const BURST: usize = 128;
    let names = [
        "send",
        "sendmmsg",
        "send, trains",
        "recv",
        "recvmmsg",
        "recvmmsg, stamps",
        "recv of one in a batch call",
        "recv of one, stamps",
        "recv, trains",
        "recv, trains, stamps",
    ];
    let mut driver = Driver::real().expect("a driver");
    let plain = UdpSpec::bound(any());
    let stamped = UdpSpec {
        stamps: true,
        ..plain
    };
    let train = UdpSpec {
        trains: Trains::On,
        ..plain
    };
    let both = UdpSpec {
        stamps: true,
        ..train
    };
    let mut figures = vec![Vec::new(); names.len()];
    let clock = &plan.clock;
    let (one, other) = (pair(&mut driver, &plain), pair(&mut driver, &plain));
    let from = driver.udp_open(&UdpSpec::bound(any())).expect("a socket");
    let with: Vec<(UdpId, UdpId)> = [stamped, plain, stamped, train, both]
        .iter()
        .map(|spec| pair(&mut driver, spec))
        .collect();
    let mut out = SendBatch::new(BURST, BURST * BYTES);
    let mut many = RecvBatch::of_trains();
    let mut single = RecvBatch::new(1, 2_048);
    let per = |span_ns: u64| span_ns as f64 / BURST as f64;
    for _ in 0..plan.rounds * 50 {
        let mut next = 0;
        let mut note = |span_ns: u64| {
            figures[next].push(per(span_ns));
            next += 1;
        };
        // send, taken by recv further down.
        let began_ns = clock.stamp();
        for _ in 0..BURST {
            let _ = driver.udp_send(one.1, None, &[7; BYTES]);
        }
        note(clock.stamp() - began_ns);
        // sendmmsg: receivers that alternate make no trains.
        let ends = [one, other].map(|end| driver.udp_local_addr(end.0).expect("an address"));
        for nth in 0..BURST {
            out.push(Some(ends[nth % 2]), &[7; BYTES]);
        }
        let began_ns = clock.stamp();
        while !out.is_empty() {
            let _ = driver.udp_send_batch(from, &mut out);
        }
        note(clock.stamp() - began_ns);
        for _ in 0..BURST {
            out.push(None, &[7; BYTES]);
        }
        let began_ns = clock.stamp();
        while !out.is_empty() {
            let _ = driver.udp_send_batch(with[3].1, &mut out);
        }
        note(clock.stamp() - began_ns);
        // recv: what the first loop sent.
        let mut buf = [0; 2_048];
        let began_ns = clock.stamp();
        for _ in 0..BURST {
            let _ = driver.udp_recv(one.0, &mut buf);
        }
        note(clock.stamp() - began_ns);
        while driver
            .udp_recv(one.0, &mut buf)
            .expect("received")
            .is_some()
        {}
        while driver
            .udp_recv(other.0, &mut buf)
            .expect("received")
            .is_some()
        {}
        let fill = |driver: &mut Driver, to: UdpId| {
            for _ in 0..BURST {
                let _ = driver.udp_send(to, None, &[7; BYTES]);
            }
        };
        let take = |driver: &mut Driver, from: UdpId, batch: &mut RecvBatch| {
            let began_ns = clock.stamp();
            let mut taken = 0;
            // Over the loopback all is there once it is sent; what a full socket has dropped never comes.
            while taken < BURST && driver.udp_recv_batch(from, batch).expect("received") > 0 {
                while let Some(datagram) = batch.next() {
                    std::hint::black_box(datagram);
                    taken += 1;
                }
            }
            let span_ns = clock.stamp() - began_ns;
            while driver.udp_recv_batch(from, batch).expect("received") > 0 {
                batch.clear();
            }
            span_ns * BURST as u64 / taken.max(1) as u64
        };
        fill(&mut driver, one.1);
        note(take(&mut driver, one.0, &mut many));
        fill(&mut driver, with[0].1);
        note(take(&mut driver, with[0].0, &mut many));
        fill(&mut driver, with[1].1);
        note(take(&mut driver, with[1].0, &mut single));
        fill(&mut driver, with[2].1);
        note(take(&mut driver, with[2].0, &mut single));
        note(take(&mut driver, with[3].0, &mut many));
        for _ in 0..BURST {
            out.push(None, &[7; BYTES]);
        }
        while !out.is_empty() {
            let _ = driver.udp_send_batch(with[4].1, &mut out);
        }
        note(take(&mut driver, with[4].0, &mut many));
    }
    println!(
        "\ncosts: ns a datagram of {BYTES} B in bursts of {BURST}, one core; median (p10-p90)"
    );
    for (name, figures) in names.iter().zip(&mut figures) {
        figures.sort_by(f64::total_cmp);
        let at = |q: f64| figures[((figures.len() - 1) as f64 * q) as usize];
        println!(
            "{name:<32} {:>10.1} ({:.1}-{:.1})",
            at(0.5),
            at(0.1),
            at(0.9)
        );
    }
}

fn quantile(sorted: &[u64], q: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * q) as usize] as f64
}

fn middle(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median, and the lowest and highest.
fn spread(figures: &[f64], digits: usize) -> String {
    let low = figures.iter().copied().fold(f64::MAX, f64::min);
    let high = figures.iter().copied().fold(0.0, f64::max);
    format!(
        "{:.digits$} ({low:.digits$}-{high:.digits$})",
        middle(figures)
    )
}

fn main() {
    // cargo passes `--bench`; of the other arguments, words choose what runs.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let chosen: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let runs = |what: &str| chosen.is_empty() || chosen.contains(&what);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let &[first, second, ..] = &cores[..] else {
        println!(
            "udp: needs two cores, this process has {}; nothing measured",
            cores.len()
        );
        return;
    };
    let plan = Plan {
        rounds: if quick { 3 } else { 9 },
        trips: if quick { 3_000 } else { 20_000 },
        flat_out: Duration::from_millis(if quick { 100 } else { 300 }),
        cores: [first, second],
        clock: Clock::calibrated(),
    };
    // The allowed cores are read once, before anything is pinned.
    let _ = hopline::host::allowed_cores();
    core_affinity::set_for_current(first);
    if runs("echo") {
        echo(&plan);
    }
    if runs("ingest") {
        ingest(&plan, true);
    }
    if runs("unit") {
        ingest(&plan, false);
    }
    if runs("costs") {
        costs(&plan);
    }
}
