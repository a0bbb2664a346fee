//! Decoding, fragmenting and synthesising allocate nothing, proven by a counting allocator.

#[path = "common/counting.rs"]
mod counting;

use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
use hopline::feed::{
    Arrivals, Decoder, Rhythm, Schedule, Shape, Symbols, Synthetic, SyntheticSpec, fragments,
    parse_line,
};

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
