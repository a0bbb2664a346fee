//! Decoding, fragmenting and synthesising allocate nothing, proven by a counting allocator.

#[path = "common/counting.rs"]
mod counting;

use hopline::feed::books::levels::{LevelBooks, LevelBooksSpec};
use hopline::feed::books::orders::{OrderBooks, OrderBooksSpec};
use hopline::feed::sequenced::{Delivery, Params, Sequenced, Sink};
use hopline::feed::simulated::{self, Feed, Levels, LinesSpec, Orders, Restart, Saying, burst};
use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
use hopline::feed::{
    Arrivals, Decoder, Rhythm, Schedule, Shape, Symbols, Synthetic, SyntheticSpec, deep, fragments,
    itch, parse_line,
};

use hopline::feed::aggregate::{Aggregate, Settings};
use hopline::feed::{Lines, graphite, influx, statsd};

use counting::{Counting, counted};

#[global_allocator]
static GLOBAL: Counting = Counting;

#[test]
fn nothing_is_allocated_for_a_due_time() {
    let rhythm = Rhythm::of([0, 5, 9, 40]).unwrap();
    let mut schedules = vec![Schedule::recorded(1e5, rhythm).unwrap()];
    for text in [
        "constant",
        "poisson",
        "bursty",
        "bursts=100/1us",
        "ramp=1k..1M/1ms",
        "steps=1k..1M/3/1ms",
    ] {
        let Ok(Shape::Of(arrivals)) = Shape::parse(text) else {
            panic!("{text}");
        };
        schedules.push(Schedule::new(1e5, arrivals, 1).unwrap());
    }
    let mut last = 0;
    let allocations = counted(|| {
        for schedule in &mut schedules {
            last = schedule.by_ref().take(10_000).fold(last, u64::max);
        }
    });
    assert_eq!(allocations, 0);
    assert!(last > 0);
}

#[test]
fn nothing_is_allocated_for_a_message() {
    assert_eq!(counted(|| drop(vec![1_u8])), 1, "the counter counts");

    let symbols = Symbols::new(&["BTCUSDT"]).unwrap();
    let mut decoder = Decoder::new(symbols, Some("BTCUSDT")).unwrap();
    let spec = SyntheticSpec {
        seed: 1,
        symbol: "BTCUSDT".into(),
        rate_per_s: 1e5,
        arrivals: Arrivals::Bursty {
            burst: 20,
            intensity: 10,
        },
        mix: Mix::default(),
    };
    let mut feed = Synthetic::new(&spec).unwrap();
    // Room for a blank in front, which defeats the predictions.
    let mut buffer = [b' '; SYNTHETIC_BYTES_MAX + 1];
    let (mut messages, mut frames) = (0, 0);
    let allocations = counted(|| {
        for _ in 0..20_000 {
            let (_, len) = feed.next(&mut buffer[1..]).unwrap();
            for text in [&buffer[1..=len], &buffer[..=len]] {
                let message = decoder.decode(text).unwrap();
                messages += 1;
                frames += 1 + fragments(&message).count();
            }
        }
    });
    assert_eq!((allocations, messages), (0, 40_000));
    assert!(frames > messages);

    let bad = [
        &b"1723161255088169167 {\"e\":\"trade\",\"t\":1,\"\\u0073\":\"\\u0042\"}\r\n"[..],
        b"1 {\"e\":\"trade\",\"t\":1,\"p\":\"0.000000000001\",\"q\":\"1\",\"m\":true}",
        b"1 {\"a\":[[[[{\"b\":\"\xc3\xa9\"}]]]]}",
        b"1 {\"a\":\"\xff\"}",
        b"1 {\"a\":\"cut",
        b"1 nonsense",
        b"99999999999999999999 {}",
        b"",
    ];
    let mut refused = 0;
    let allocations = counted(|| {
        for line in bad {
            let message = parse_line(line).and_then(|(_, json)| decoder.decode(json));
            refused += usize::from(message.is_err());
        }
    });
    assert_eq!((allocations, refused), (0, bad.len()));
}

#[test]
fn nothing_is_allocated_for_telemetry() {
    const SECOND_NS: u64 = 1_000_000_000;
    let mut aggregate = Aggregate::new(Settings {
        window_ns: SECOND_NS,
        keys: 64,
        histograms: 8,
        sets: 4,
        set_members: 8,
        ..Settings::default()
    })
    .unwrap();
    let mut datagrams: Vec<Vec<u8>> = Vec::new();
    for at in 0..200 {
        let lines = [
            format!("a{at}:1|c|@0.5|#z:1,y:2,x:{at}"),
            format!("b:{at}:2.5e3:0.30000000000000004|ms|#x"),
            format!("c:+{at}|g"),
            format!("d:member{at}|s"),
            "_e{1,1}:a|b|#c".to_owned(),
            "_sc|a|0|m:b".to_owned(),
            "bad:nan|c\nbad\n:1|c\nbad:1|c|@2".to_owned(),
        ];
        datagrams.push(lines.join("\n").into_bytes());
    }
    let paths = b"a.b;z=1;y=2 5 1700000000\r\na.b nan 1\nbad";
    let points = b"m\\ n,z=1,y=a\\,b f=1.5,g=2i,h=\"x \\\" y\",i=t 1700000000000000000\n# no\nm f=";
    let mut now_ns = 1_700_000_000 * SECOND_NS;
    let (mut taken, mut refused, mut rows) = (0, 0, 0);
    let allocations = counted(|| {
        for datagram in &datagrams {
            now_ns += SECOND_NS / 10;
            rows += aggregate.close_due(now_ns, 8, |row| {
                assert!(row.quantile(0.99) >= row.quantile(0.5))
            });
            for line in Lines::new(datagram) {
                match statsd::parse(line) {
                    Ok(statsd::Line::Metric(metric)) => {
                        taken += u64::from(aggregate.add(&metric.sample(), now_ns).is_ok());
                    }
                    Ok(_) => {}
                    Err(_) => refused += 1,
                }
            }
            for line in Lines::new(paths) {
                match graphite::parse(line) {
                    Ok(point) => taken += u64::from(aggregate.add(&point.sample(), now_ns).is_ok()),
                    Err(_) => refused += 1,
                }
            }
            for line in influx::Lines::new(points) {
                match influx::parse(line) {
                    Ok(point) => {
                        for sample in point.samples() {
                            taken += u64::from(aggregate.add(&sample, now_ns).is_ok());
                        }
                        refused += u64::from(point.measurement.bytes().count() != 3);
                    }
                    Err(_) => refused += 1,
                }
            }
        }
        rows += aggregate.close_all(1_000, |row| assert!(row.min <= row.max));
    });
    assert_eq!((allocations, refused), (0, 200 * 7));
    let counts = aggregate.counts();
    assert!(
        taken > 500 && rows > 200 && counts.keys_evicted > 50,
        "{counts:?}"
    );
}

/// Counts what it is handed, and keeps books of it.
struct Books {
    orders: OrderBooks,
    levels: LevelBooks,
    messages: u64,
}

impl Sink for Books {
    fn message(&mut self, m: &Delivery<'_>) {
        self.messages += 1;
        if let Ok(message) = itch::decode(m.bytes) {
            let _counted = self.orders.apply(&message);
        }
        if let Ok(message) = deep::decode(m.bytes) {
            let _counted = self.levels.apply(&message);
        }
    }
}

#[test]
fn nothing_is_allocated_for_a_packet_of_a_sequenced_feed() {
    let spec = LinesSpec {
        messages: 20_000,
        loss: 0.2,
        delayed: 0.05,
        restart: Some((9_000, Restart::Session)),
        ..LinesSpec::default()
    };
    for saying in [
        Saying::Orders(Orders::new(1, 20, 1_000)),
        Saying::Levels(Levels::new(Feed::Deep, 1, 20)),
    ] {
        let schedule = Schedule::new(1e6, burst(), 1).unwrap();
        let mut lines = simulated::Lines::new(&spec, saying, schedule);
        let mut feed = Sequenced::new(&Params::of(lines.transport())).unwrap();
        let mut books = Books {
            orders: OrderBooks::new(&OrderBooksSpec::default()).unwrap(),
            levels: LevelBooks::new(&LevelBooksSpec::default()).unwrap(),
            messages: 0,
        };
        let allocations = counted(|| {
            while let Some(sent) = lines.next() {
                feed.packet(sent.line, sent.bytes, sent.at_ns, &mut books)
                    .unwrap();
            }
            feed.finish(&mut books);
        });
        assert_eq!(allocations, 0);
        assert!(books.messages > 15_000 && feed.union().lost > 0);
    }
}
