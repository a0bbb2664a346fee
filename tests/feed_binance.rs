//! The exchange's decoder against serde_json as its oracle: on real captures, on cut, mutated and
//! shuffled text, and on everything that a sender can get wrong.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};

use hopline::base::Reject;
use hopline::base::limits::{FRAGMENTS_MAX, LINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use hopline::feed::market::{LEVELS_MAX, LEVELS_PER_FRAME, SIDE_ASKS, SIDE_BIDS};
use hopline::feed::{
    BookTicker, Decoder, DepthHead, Level, Message, Price, Qty, SnapshotHead, Symbols, Trade,
    fragments, frames_needed, parse_line,
};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

const TICKER: &str = concat!(
    r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","#,
    r#""b":"61800.20","B":"2.507","a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256314}}"#,
);
const TRADE: &str = concat!(
    r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256321,"s":"BTCUSDT","#,
    r#""t":5266583935,"p":"61800.30","q":"0.006","X":"MARKET","m":false}}"#,
);
const DEPTH: &str = concat!(
    r#"{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256299,"T":1723161256298,"#,
    r#""s":"BTCUSDT","U":5123107832006,"u":5123107837557,"pu":5123107831937,"b":[["58710.20","0.014"],"#,
    r#"["61496.50","0.010"],["61510.90","0.000"]],"a":[["61800.30","12.111"]]}}"#,
);
const SNAPSHOT: &str = concat!(
    r#"{"lastUpdateId":5123107852948,"E":1723161256501,"T":1723161256493,"bids":[["61800.20","2.909"],"#,
    r#"["61800.10","0.696"]],"asks":[["61800.30","20.004"]]}"#,
);
const SPOT_TICKER: &str = concat!(
    r#"{"u":400900217,"s":"ETHUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","#,
    r#""A":"40.66000000"}"#,
);
const SPOT_TRADE: &str = concat!(
    r#"{"e":"trade","E":1672515782136,"s":"ETHUSDT","t":12345,"p":"0.00100000","q":"100","b":88,"a":50,"#,
    r#""T":1672515782136,"m":true,"M":true}"#,
);
const SPOT_DEPTH: &str = r#"{"e":"depthUpdate","E":1672515782136,"s":"BTCUSDT","U":157,"u":160,"b":[["0.0024","10",[]]],"a":[]}"#;
const SPOT_SNAPSHOT: &str = r#"{"stream":"ethusdt@depth20","data":{"lastUpdateId":160,"bids":[],"asks":[["0.0026","100"]]}}"#;

const SAMPLES: [&str; 8] = [
    TICKER,
    TRADE,
    DEPTH,
    SNAPSHOT,
    SPOT_TICKER,
    SPOT_TRADE,
    SPOT_DEPTH,
    SPOT_SNAPSHOT,
];

fn symbols() -> Symbols {
    Symbols::new(&["BTCUSDT", "ETHUSDT"]).unwrap()
}

fn decoder() -> Decoder {
    Decoder::new(symbols(), Some("BTCUSDT")).unwrap()
}

/// A message with levels of its own.
#[derive(Clone, Debug, PartialEq)]
enum Owned {
    BookTicker(BookTicker),
    Trade(Trade),
    Depth(DepthHead, Vec<Level>, Vec<Level>),
    Snapshot(SnapshotHead, Vec<Level>, Vec<Level>),
}

fn decode(decoder: &mut Decoder, text: &[u8]) -> Result<Owned, Reject> {
    decoder.decode(text).map(|message| match message {
        Message::BookTicker(ticker) => Owned::BookTicker(ticker),
        Message::Trade(trade) => Owned::Trade(trade),
        Message::Depth { head, bids, asks } => Owned::Depth(head, bids.to_vec(), asks.to_vec()),
        Message::Snapshot { head, bids, asks } => {
            Owned::Snapshot(head, bids.to_vec(), asks.to_vec())
        }
    })
}

fn decode_once(text: &str) -> Result<Owned, Reject> {
    decode(&mut decoder(), text.as_bytes())
}

#[path = "feed/oracle.rs"]
mod oracle;

#[test]
fn the_samples_of_both_products_decode_as_the_oracle_says() {
    for text in SAMPLES {
        let message = decode_once(text);
        assert_eq!(
            message.clone().ok(),
            oracle::decode(text.as_bytes(), "BTCUSDT"),
            "{text}"
        );
        assert!(message.is_ok(), "{text}: {message:?}");
    }
    let Ok(Owned::BookTicker(ticker)) = decode_once(TICKER) else {
        panic!()
    };
    assert_eq!(ticker.bid, Price(6_180_020_000_000));
    assert_eq!(
        (ticker.event_ms, ticker.transaction_ms),
        (1_723_161_256_314, 1_723_161_256_313)
    );
    let Ok(Owned::Depth(head, ..)) = decode_once(DEPTH) else {
        panic!()
    };
    assert_eq!(head.prev(), Some(5_123_107_831_937));
    let Ok(Owned::Depth(head, ..)) = decode_once(SPOT_DEPTH) else {
        panic!()
    };
    assert_eq!(head.prev(), None);
    let Ok(Owned::Snapshot(head, ..)) = decode_once(SPOT_SNAPSHOT) else {
        panic!()
    };
    assert_eq!(head.symbol, 1, "named by its stream");
}

#[test]
fn a_message_that_is_cut_anywhere_is_refused_as_truncated() {
    let mut decoder = decoder();
    let odd = r#" { "e" : "trade" , "x" : [ -1.5e+7 , "\u00e9é" , { } , [ ] , true , null ] , "t" : 7 } "#;
    for text in SAMPLES.into_iter().chain([odd.trim_end()]) {
        for cut in 0..text.len() {
            let reject = decode(&mut decoder, &text.as_bytes()[..cut]).unwrap_err();
            let is_blank = text.as_bytes()[..cut].trim_ascii().is_empty();
            let expected = if is_blank {
                Reject::Empty
            } else {
                Reject::Truncated
            };
            assert_eq!(
                reject,
                expected,
                "{}",
                String::from_utf8_lossy(&text.as_bytes()[..cut])
            );
        }
        for garbage in ["x", "{}", "\0", ",", "}", "\u{a0}"] {
            let reject = decode_once(&format!("{text}{garbage}"));
            assert_eq!(reject, Err(Reject::NotJson), "{text}{garbage}");
        }
        assert_ne!(decode_once(&format!("{text} \t\r\n")), Err(Reject::NotJson));
    }
}

#[test]
fn a_prediction_and_the_rules_agree_on_every_number() {
    // A blank in front defeats every prediction.
    let mut decoder = decoder();
    for number in [
        "0",
        "0.0",
        "00.5",
        "1",
        "12.345",
        "9999999999.99999999",
        "10000000000.5",
        "92233720368.54775807",
        "92233720368.54775808",
        "0.000000010",
        "0.000000001",
        "-1",
        "-0.0",
        "",
        ".",
        "1.",
        ".1",
        "1e3",
        "+1",
        " 1",
        "1 ",
        "1.2.3",
        "é",
        "1\\u0030",
        "\\u0031\\u0032.5",
        "１",
    ] {
        for text in [
            TICKER.replace("61800.20", number),
            TICKER.replace("2.507", number),
            TRADE.replace("0.006", number),
            DEPTH.replace("61496.50", number),
            DEPTH.replace("12.111", number),
            SNAPSHOT.replace("2.909", number),
        ] {
            let predicted = decode(&mut decoder, text.as_bytes());
            let ruled = decode(&mut decoder, format!(" {text}").as_bytes());
            assert_eq!(predicted, ruled, "{text}");
            assert_eq!(
                predicted.ok(),
                oracle::decode(text.as_bytes(), "BTCUSDT"),
                "{text}"
            );
        }
    }
    for number in [
        "0",
        "00",
        "01",
        "9999999999999999",
        "10000000000000000",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
        "-1",
        "-0",
        "1.0",
        "1e3",
        "\"1\"",
        "null",
        "true",
        "[]",
        "",
        "1x",
    ] {
        for text in [
            TICKER.replace("5123107839020", number),
            TICKER.replace("1723161256314", number),
            TRADE.replace("5266583935", number),
            DEPTH.replace("5123107831937", number),
            SNAPSHOT.replace("5123107852948", number),
        ] {
            let predicted = decode(&mut decoder, text.as_bytes());
            let ruled = decode(&mut decoder, format!(" {text}").as_bytes());
            assert_eq!(predicted, ruled, "{text}");
            assert_eq!(
                predicted.ok(),
                oracle::decode(text.as_bytes(), "BTCUSDT"),
                "{text}"
            );
        }
    }
}

#[test]
fn each_reject_has_its_reason() {
    for (text, reject) in [
        ("", Reject::Empty),
        (" \r\n\t", Reject::Empty),
        ("nonsense", Reject::NotJson),
        ("{'e':1}", Reject::NotJson),
        ("\u{feff}{}", Reject::NotJson),
        ("{\"e\":\"tr\nade\"}", Reject::NotJson),
        ("{\"e\":", Reject::Truncated),
        ("5", Reject::UnknownKind),
        ("[]", Reject::UnknownKind),
        ("{}", Reject::UnknownKind),
        (r#"{"result":null,"id":1}"#, Reject::UnknownKind),
        (r#"{"e":"aggTrade"}"#, Reject::UnknownKind),
        (r#"{"e":"\ud800"}"#, Reject::UnknownKind),
        (
            r#"{"stream":"btcusdt@trade","data":[]}"#,
            Reject::UnknownKind,
        ),
        (r#"{"u":1,"b":"1","B":"1","a":"1"}"#, Reject::UnknownKind),
        (r#"{"e":5}"#, Reject::WrongType),
        (r#"{"e":null}"#, Reject::WrongType),
        (r#"{"e":"trade"}"#, Reject::MissingField),
        (r#"{"e":"bookTicker","u":1,"b":"1"}"#, Reject::MissingField),
        (r#"{"lastUpdateId":1,"bids":[]}"#, Reject::MissingField),
        (r#"{"e":"trade","t":"1"}"#, Reject::WrongType),
        (r#"{"e":"trade","t":1,"p":5}"#, Reject::WrongType),
        (
            r#"{"e":"trade","t":1,"p":"1","q":"1","m":"true"}"#,
            Reject::WrongType,
        ),
        (
            r#"{"e":"trade","t":1,"p":"1","q":"-1","m":true}"#,
            Reject::WrongType,
        ),
        (
            r#"{"e":"trade","t":1,"p":"0.123456789","q":"1","m":true}"#,
            Reject::BeyondScale,
        ),
        (
            r#"{"e":"trade","t":99999999999999999999}"#,
            Reject::BeyondScale,
        ),
        (
            r#"{"e":"trade","t":1,"s":"DOGEUSDT"}"#,
            Reject::UnknownSymbol,
        ),
        (
            r#"{"e":"trade","t":1,"s":"btcusdt"}"#,
            Reject::UnknownSymbol,
        ),
        (r#"{"e":"trade","t":1,"s":7}"#, Reject::WrongType),
        (
            r#"{"stream":"dogeusdt@x","data":{"lastUpdateId":1}}"#,
            Reject::UnknownSymbol,
        ),
        (
            r#"{"stream":7,"data":{"lastUpdateId":1}}"#,
            Reject::WrongType,
        ),
        (
            r#"{"lastUpdateId":1,"bids":{},"asks":[]}"#,
            Reject::WrongType,
        ),
        (
            r#"{"lastUpdateId":1,"bids":[7],"asks":[]}"#,
            Reject::WrongType,
        ),
        (
            r#"{"lastUpdateId":1,"bids":[[]],"asks":[]}"#,
            Reject::WrongType,
        ),
        (
            r#"{"lastUpdateId":1,"bids":[["1"]],"asks":[]}"#,
            Reject::WrongType,
        ),
        (
            r#"{"lastUpdateId":1,"bids":[["1",2]],"asks":[]}"#,
            Reject::WrongType,
        ),
        (
            r#"{"lastUpdateId":1,"bids":[[1,"2"]],"asks":[]}"#,
            Reject::WrongType,
        ),
    ] {
        assert_eq!(decode_once(text), Err(reject), "{text}");
    }
    for text in [
        &b"\xff"[..],
        b"{\"e\":\"\xc3\x28\"}",
        b"{\"e\":\"\xed\xa0\x80\"}",
    ] {
        assert_eq!(
            decode(&mut decoder(), text),
            Err(Reject::NotUtf8),
            "{text:?}"
        );
    }
    let broken_stream = TICKER.replace("btcusdt@", "btc\u{1}@").into_bytes();
    let broken_stream: Vec<u8> = broken_stream
        .iter()
        .map(|b| if *b == 1 { 0xff } else { *b })
        .collect();
    assert_eq!(decode(&mut decoder(), &broken_stream), Err(Reject::NotUtf8));
    let symbols = Symbols::new(&["BTCUSDT"]).unwrap();
    let mut no_default = Decoder::new(symbols, None).unwrap();
    assert_eq!(
        decode(&mut no_default, SNAPSHOT.as_bytes()),
        Err(Reject::MissingField)
    );
}

#[test]
fn what_other_products_add_is_passed_over() {
    let nested =
        r#""x":{"e":"trade","data":{"b":[1,{"u":[[]]}]}},"y":["\"}],{","\\",-1.5e-7,null],"#;
    for text in SAMPLES {
        let expected = decode_once(text);
        let inside = text.replacen("\"u\":", &format!("{nested}\"u\":"), 1);
        let inside = inside.replacen("\"T\":", &format!("{nested}\"T\":"), 1);
        assert_eq!(decode_once(&inside), expected, "{inside}");
        let outside = text.replacen('{', &format!("{{{nested}"), 1);
        assert_eq!(decode_once(&outside), expected, "{outside}");
    }
}

#[test]
fn keys_and_values_may_be_escaped_and_the_last_of_two_counts() {
    let expected = decode_once(TRADE);
    for (plain, other) in [
        ("\"e\":", r#""\u0065":"#),
        ("\"trade\"", r#""\u0074rade""#),
        ("\"s\":", r#""\u0073":"#),
        ("\"BTCUSDT\"", r#""BTC\u0055SDT""#),
        ("\"61800.30\"", r#""6\u003180\u0030.30""#),
        ("\"data\":", r#""\u0064ata":"#),
        ("\"t\":", r#""t":{"u":1},"t":"x","t":"#),
        (
            "\"data\":",
            r#""data":{"e":"depthUpdate"},"data":5,"data":"#,
        ),
        (
            "\"stream\":",
            r#""e":5,"s":"DOGEUSDT","data":null,"stream":"#,
        ),
    ] {
        let text = TRADE.replacen(plain, other, 1);
        assert_eq!(decode_once(&text), expected, "{text}");
        assert_eq!(
            oracle::decode(text.as_bytes(), "BTCUSDT"),
            expected.clone().ok(),
            "{text}"
        );
    }
    let long = format!(r#"{{"{}":1}}"#, r"\u0061".repeat(500));
    assert_eq!(decode_once(&long), Err(Reject::UnknownKind));
    // Of "data" the last one counts as well: a number is no combined form.
    let text = TRADE.replacen("}}", "},\"data\":5}", 1);
    assert_eq!(decode_once(&text), Err(Reject::UnknownKind));
}

#[test]
fn long_input_is_refused_and_a_long_message_fills_its_fragments_exactly() {
    assert_eq!(decode_once(&"x".repeat(1 << 20)), Err(Reject::TooLong));
    assert_eq!(
        decode_once(&"[".repeat(MESSAGE_BYTES_MAX)),
        Err(Reject::NotJson)
    );
    assert_eq!(
        decode_once(&format!("\"{}", "x".repeat(MESSAGE_BYTES_MAX - 1))),
        Err(Reject::Truncated)
    );
    let mut line = b"1 {}".to_vec();
    line.resize(1 << 20, b' ');
    assert_eq!(parse_line(&line), Err(Reject::TooLong));
    line.truncate(LINE_BYTES_MAX);
    assert!(parse_line(&line).is_ok());

    let list = |count: usize| {
        let mut list = String::new();
        for at in 0..count {
            let comma = if at == 0 { "" } else { "," };
            write!(list, r#"{comma}["{}","{at}"]"#, at + 1).unwrap();
        }
        list
    };
    for (bids, asks, fits) in [
        (LEVELS_MAX, 0, true),
        (0, LEVELS_MAX, true),
        (1, LEVELS_MAX - 5, true),
        (1, LEVELS_MAX - 4, false),
        (LEVELS_MAX + 1, 0, false),
    ] {
        let (b, a) = (list(bids), list(asks));
        for text in [
            format!(r#"{{"lastUpdateId":9,"E":1,"T":2,"bids":[{b}],"asks":[{a}]}}"#),
            format!(r#"{{"asks":[{a}],"bids":[{b}],"T":2,"E":1,"lastUpdateId":9}}"#),
        ] {
            let mut decoder = decoder();
            let message = decoder.decode(text.as_bytes());
            if !fits {
                assert_eq!(message, Err(Reject::TooManyLevels), "{bids} {asks}");
                continue;
            }
            let message = message.unwrap();
            let frames: Vec<_> = fragments(&message).collect();
            assert_eq!(frames.len() + 1, message.frames());
            assert_eq!(message.frames(), frames_needed(bids, asks));
            assert!(message.frames() <= FRAGMENTS_MAX);
        }
    }
}

#[test]
fn fragments_carry_every_level_once_and_in_order() {
    for (bids, asks) in [(0, 0), (1, 0), (0, 1), (5, 5), (6, 4), (12, 13)] {
        let levels: Vec<Level> = (0..bids + asks)
            .map(|at| Level {
                price: Price(at),
                qty: Qty(at * 2),
            })
            .collect();
        let (bids, asks) = levels.split_at(bids as usize);
        let head = DepthHead {
            last_id: 77,
            symbol: 3,
            ..DepthHead::default()
        };
        let message = Message::Depth { head, bids, asks };
        let frames = fragments(&message);
        assert_eq!(frames.len() + 1, frames_needed(bids.len(), asks.len()));
        let (mut seen_bids, mut seen_asks) = (vec![], vec![]);
        for (at, frame) in frames.enumerate() {
            assert_eq!((frame.last_id, frame.symbol), (77, 3));
            assert_eq!(
                (usize::from(frame.part), usize::from(frame.parts)),
                (at + 1, message.frames())
            );
            assert!((1..=LEVELS_PER_FRAME).contains(&frame.as_slice().len()));
            assert!(
                frame.levels[frame.as_slice().len()..]
                    .iter()
                    .all(|l| *l == Level::default())
            );
            match frame.side {
                SIDE_BIDS => seen_bids.extend_from_slice(frame.as_slice()),
                SIDE_ASKS => seen_asks.extend_from_slice(frame.as_slice()),
                other => panic!("side {other}"),
            }
        }
        assert_eq!((&seen_bids[..], &seen_asks[..]), (bids, asks));
    }
    let ticker = Message::BookTicker(BookTicker::default());
    assert_eq!((fragments(&ticker).len(), ticker.frames()), (0, 1));
}

/// What decoding must say of any text: what the oracle says, and its grammar's faults for no other.
fn agrees_with_the_oracle(decoder: &mut Decoder, text: &[u8]) -> Result<(), TestCaseError> {
    let message = decode(decoder, text);
    let is_json = std::str::from_utf8(text)
        .is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let is_grammar = matches!(
        message,
        Err(Reject::NotUtf8 | Reject::NotJson | Reject::Truncated | Reject::Empty)
    );
    prop_assert_eq!(
        is_grammar,
        !is_json,
        "{:?}: {:?}",
        String::from_utf8_lossy(text),
        message
    );
    let expected = oracle::decode(text, "BTCUSDT");
    prop_assert_eq!(
        message.ok(),
        expected,
        "{:?}",
        String::from_utf8_lossy(text)
    );
    Ok(())
}

/// An object's members, in any order, with blanks and members that nobody knows between them.
fn scrambled(members: Vec<(String, String)>) -> impl Strategy<Value = String> {
    let blank = prop::sample::select(vec!["", "", "", " ", "\n", "\t \r"]);
    let unknown = prop::sample::select(vec![
        None,
        None,
        Some(("x", "[1,[2,{\"e\":3}]]")),
        Some(("ps", "\"BTC\\\"USDT\"")),
        Some(("é", "{\"b\":[],\"\\u0061\":null}")),
        Some(("M", "-1.5e-9")),
    ]);
    let count = members.len();
    let members = Just(members).prop_shuffle();
    let between = prop::collection::vec((blank.clone(), blank, unknown), count);
    (members, between).prop_map(|(members, between)| {
        let mut parts = Vec::new();
        for ((key, value), (before, after, unknown)) in members.into_iter().zip(between) {
            if let Some((key, value)) = unknown {
                parts.push(format!("\"{key}\":{value}"));
            }
            parts.push(format!("{before}\"{key}\"{after}:{before}{value}{after}"));
        }
        format!("{{{}}}", parts.join(","))
    })
}

fn members(object: &Value) -> Vec<(String, String)> {
    let object = object.as_object().unwrap();
    object
        .iter()
        .map(|(key, value)| (key.clone(), value.to_string()))
        .collect()
}

fn scrambled_sample() -> impl Strategy<Value = (&'static str, String)> {
    prop::sample::select(SAMPLES.to_vec()).prop_flat_map(|sample| {
        let value: Value = serde_json::from_str(sample).unwrap();
        let text = match value.get("data") {
            Some(data) => {
                let stream = value["stream"].to_string();
                scrambled(members(data))
                    .prop_flat_map(move |data| {
                        scrambled(vec![
                            ("stream".into(), stream.clone()),
                            ("data".into(), data),
                        ])
                    })
                    .boxed()
            }
            None => scrambled(members(&value)).boxed(),
        };
        (Just(sample), text)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_keys_means_nothing((sample, text) in scrambled_sample()) {
        prop_assert_eq!(decode_once(&text), decode_once(sample), "{}", text);
    }

    #[test]
    fn any_bytes_are_met_calmly(text in prop::collection::vec(any::<u8>(), 0..300)) {
        agrees_with_the_oracle(&mut decoder(), &text)?;
    }

    #[test]
    fn any_soup_of_json_is_judged_as_the_oracle_does(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\"e\":", "\"trade\"", "\"b\":", "1", "-", ".5", "e9", "0",
            "true", "null", " ", "\\u0065", "é", "\"data\":{", "\"lastUpdateId\":1", "\"bids\":[", "[\"1\",\"2\"]",
        ]), 0..24),
    ) {
        agrees_with_the_oracle(&mut decoder(), parts.concat().as_bytes())?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_single_wrong_byte_is_judged_as_the_oracle_does(
        sample in prop::sample::select(SAMPLES.to_vec()),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(b"\"\\{}[],:.-+eE0 19tfn\n\0".to_vec())],
        how in 0..3,
    ) {
        let mut text = sample.as_bytes().to_vec();
        let at = at.index(text.len());
        match how {
            0 => text[at] = byte,
            1 => text.insert(at, byte),
            _ => drop(text.remove(at)),
        }
        agrees_with_the_oracle(&mut decoder(), &text)?;
    }
}

#[test]
fn every_message_of_the_captures_decodes_as_the_oracle_says() {
    let Some(data) = std::env::var_os("HOPLINE_DATA") else {
        println!("skipped: HOPLINE_DATA is not set, so there is no capture to read");
        return;
    };
    let folder = std::path::Path::new(&data).join("market");
    for (symbol, counts) in [
        ("btcusdt", [66_089, 21_313, 6_551, 1]),
        ("ethusdt", [53_992, 14_076, 6_586, 1]),
    ] {
        let file = folder.join(format!("binance_usdm_{symbol}_20240808.gz"));
        let file = std::fs::File::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let upper = symbol.to_uppercase();
        let mut decoder = Decoder::new(symbols(), Some(&upper)).unwrap();
        let mut lines = BufReader::new(flate2::read::MultiGzDecoder::new(file));
        let (mut line, mut spaced) = (Vec::new(), Vec::new());
        let mut seen = [0; 4];
        let (mut ticker, mut trade, mut prev) = (None, None, None);
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).unwrap() == 0 {
                break;
            }
            let (_, json) = parse_line(&line).unwrap();
            let message = decode(&mut decoder, json).unwrap();
            let expected = oracle::decode(json, &upper);
            assert_eq!(Some(&message), expected.as_ref());
            spaced.clear();
            spaced.push(b' ');
            spaced.extend_from_slice(json);
            assert_eq!(
                decode(&mut decoder, &spaced).as_ref(),
                Ok(&message),
                "rules and prediction"
            );
            match message {
                Owned::BookTicker(m) => {
                    seen[0] += 1;
                    assert!(
                        ticker
                            .replace(m.update_id)
                            .is_none_or(|last| last < m.update_id)
                    );
                }
                Owned::Trade(m) => {
                    seen[1] += 1;
                    assert!(
                        trade
                            .replace(m.trade_id)
                            .is_none_or(|last| last + 1 == m.trade_id)
                    );
                }
                Owned::Depth(m, ..) => {
                    seen[2] += 1;
                    assert!(
                        prev.replace(m.last_id)
                            .is_none_or(|last| m.prev() == Some(last))
                    );
                }
                Owned::Snapshot(..) => seen[3] += 1,
            }
        }
        assert_eq!(seen, counts, "{symbol}");
    }
}
