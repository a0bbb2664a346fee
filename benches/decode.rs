//! What decoding a message of the exchange costs, beside serde_json on the same text.
//!
//! The rival deserialises into borrowed structs: it finds the same fields, but leaves prices and
//! quantities as text, which hopline parses as well. Subjects take turns round by round, so that a
//! busy neighbour slows all of them, and the median round counts. `null` is the cost of measuring.
//!
//! Run: `cargo bench --bench decode`.

#![expect(
    dead_code,
    reason = "the rival's fields are there to be found, not to be read"
)]

use std::hint::black_box;

use hopline::feed::{Decoder, Symbols};
use serde::Deserialize;

const TICKER: &str = concat!(
    r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":4723107831020,"s":"BTCUSDT","#,
    r#""b":"58214.30","B":"1.907","a":"58214.40","A":"3.250","T":1712345678901,"E":1712345678902}}"#,
);
const TRADE: &str = concat!(
    r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1712345678922,"T":1712345678921,"s":"BTCUSDT","#,
    r#""t":4812345678,"p":"58214.40","q":"0.016","X":"MARKET","m":false}}"#,
);

const ROUNDS: usize = 400;
const TICKERS_A_ROUND: u32 = 2_000;
const DEPTHS_A_ROUND: u32 = 50;

#[derive(Deserialize)]
struct Combined<'a, T> {
    stream: &'a str,
    data: T,
}

#[derive(Deserialize)]
struct SerdeTicker<'a> {
    e: &'a str,
    u: u64,
    s: &'a str,
    b: &'a str,
    #[serde(rename = "B")]
    b_qty: &'a str,
    a: &'a str,
    #[serde(rename = "A")]
    a_qty: &'a str,
    #[serde(rename = "T")]
    transaction: u64,
    #[serde(rename = "E")]
    event: u64,
}

#[derive(Deserialize)]
struct SerdeTrade<'a> {
    e: &'a str,
    #[serde(rename = "E")]
    event: u64,
    #[serde(rename = "T")]
    transaction: u64,
    s: &'a str,
    t: u64,
    p: &'a str,
    q: &'a str,
    m: bool,
}

#[derive(Deserialize)]
struct SerdeDepth<'a> {
    e: &'a str,
    #[serde(rename = "E")]
    event: u64,
    #[serde(rename = "T")]
    transaction: u64,
    s: &'a str,
    #[serde(rename = "U")]
    first: u64,
    u: u64,
    pu: u64,
    #[serde(borrow)]
    b: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    a: Vec<(&'a str, &'a str)>,
}

/// A depthUpdate with 50 levels a side.
fn depth() -> String {
    let side = |start: u32| {
        let level = |at: u32| {
            format!(
                r#"["{}.{}0","{}.{:03}"]"#,
                start + at / 3,
                at % 10,
                at % 4,
                at * 17
            )
        };
        (0..50).map(level).collect::<Vec<_>>().join(",")
    };
    format!(
        concat!(
            r#"{{"stream":"btcusdt@depth@0ms","data":{{"e":"depthUpdate","E":1712345678922,"T":1712345678921,"#,
            r#""s":"BTCUSDT","U":4723107831020,"u":4723107837557,"pu":4723107830937,"b":[{}],"a":[{}]}}}}"#,
        ),
        side(58_190),
        side(58_214),
    )
}

fn serde<'a, T: Deserialize<'a>>(text: &'a [u8]) {
    let message: Combined<'a, T> = serde_json::from_slice(black_box(text)).unwrap();
    black_box(message);
}

/// One decoding of a text.
type Call<'s> = Box<dyn FnMut(&[u8]) + 's>;

/// A thing to measure: its name, the text, the calls in a round, and the call.
struct Subject<'s> {
    name: &'static str,
    text: &'s [u8],
    calls: u32,
    call: Call<'s>,
    rounds_ns: Vec<f64>,
}

fn main() {
    let depth = depth();
    // A blank in front defeats the prediction of the usual order of keys.
    let spaced: Vec<String> = [TICKER, TRADE, &depth]
        .map(|text| format!(" {text}"))
        .into();
    let decoder = || {
        let symbols = Symbols::new(&["BTCUSDT", "ETHUSDT"]).unwrap();
        let mut decoder = Decoder::new(symbols, Some("BTCUSDT")).unwrap();
        move |text: &[u8]| {
            black_box(decoder.decode(black_box(text)).unwrap());
        }
    };
    let mut subjects = Vec::new();
    let mut add = |name, text, calls, call: Call<'static>| {
        let rounds_ns = Vec::with_capacity(ROUNDS);
        subjects.push(Subject {
            name,
            text,
            calls,
            call,
            rounds_ns,
        });
    };
    let null = |text: &[u8]| {
        black_box(black_box(text).len());
    };
    add("null", TICKER.as_bytes(), TICKERS_A_ROUND, Box::new(null));
    for (at, (names, text, calls, rival)) in [
        (
            [
                "bookTicker hopline",
                "bookTicker any order",
                "bookTicker serde_json",
            ],
            TICKER,
            TICKERS_A_ROUND,
            Box::new(|text: &[u8]| serde::<SerdeTicker<'_>>(text)) as Call<'static>,
        ),
        (
            ["trade hopline", "trade any order", "trade serde_json"],
            TRADE,
            TICKERS_A_ROUND,
            Box::new(|text: &[u8]| serde::<SerdeTrade<'_>>(text)),
        ),
        (
            [
                "depth100 hopline",
                "depth100 any order",
                "depth100 serde_json",
            ],
            &depth,
            DEPTHS_A_ROUND,
            Box::new(|text: &[u8]| serde::<SerdeDepth<'_>>(text)),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        add(names[0], text.as_bytes(), calls, Box::new(decoder()));
        add(names[1], spaced[at].as_bytes(), calls, Box::new(decoder()));
        add(names[2], text.as_bytes(), calls, rival);
    }

    for _ in 0..ROUNDS {
        for subject in &mut subjects {
            let start = quanta::Instant::now();
            for _ in 0..subject.calls {
                (subject.call)(subject.text);
            }
            let ns = start.elapsed().as_nanos() as f64;
            subject.rounds_ns.push(ns / f64::from(subject.calls));
        }
    }

    println!(
        "{:<22} {:>6} {:>10} {:>10} {:>12} {:>9}",
        "subject", "bytes", "p50 ns", "p99 ns", "million/s", "x serde"
    );
    let medians: Vec<[f64; 2]> = subjects
        .iter_mut()
        .map(|subject| {
            subject.rounds_ns.sort_unstable_by(f64::total_cmp);
            [ROUNDS / 2, ROUNDS * 99 / 100].map(|at| subject.rounds_ns[at])
        })
        .collect();
    for (at, (subject, [p50, p99])) in subjects.iter().zip(&medians).enumerate() {
        // Each kind's rival is the third of its three.
        let ratio = at.checked_sub(1).map(|at| medians[at / 3 * 3 + 3][0] / p50);
        let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!(
            "{:<22} {:>6} {p50:>10.1} {p99:>10.1} {:>12.2} {ratio:>9}",
            subject.name,
            subject.text.len(),
            1e3 / p50,
        );
    }
}
