//! TOPS 1.6 and DEEP 1.0: the examples of the specifications, and every field of every type against
//! a slow decoder that goes by the specifications' tables of offsets.

use std::fmt::Write as _;

use hopline::base::Prng;
use hopline::feed::iex::MESSAGE_BYTES_MAX;
use hopline::feed::packets::{Purpose, Session, Transport};
use hopline::feed::simulated::{Feed, Levels};
use hopline::feed::views::{MessageReject, Symbol8};
use hopline::feed::{deep, iextp, tops};

#[path = "feed/iex_oracle.rs"]
mod oracle;

fn hex(text: &str) -> Vec<u8> {
    let digits = text.split_whitespace();
    digits
        .map(|pair| u8::from_str_radix(pair, 16).unwrap())
        .collect()
}

/// The examples that the specifications print beside each message, as `field=value`.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "53 45 00 a0 99 97 e9 3d b6 14",
        "event=69 timestamp=1492448400000000000",
    ),
    (
        "44 80 00 20 89 7b 5a 1f b6 14 5a 49 45 58 54 20 20 20 64 00 00 00 24 1d 0f 00 00 00 00 00 01",
        "flags=128 timestamp=1492414800000000000 symbol=ZIEXT round_lot_size=100 adjusted_close=990500 luld_tier=1",
    ),
    (
        "48 48 ac 63 c0 20 96 86 6d 14 5a 49 45 58 54 20 20 20 54 31 20 20",
        "status=72 timestamp=1471980632572715948 symbol=ZIEXT reason=538980692",
    ),
    (
        "49 41 ac 63 c0 20 96 86 6d 14 5a 49 45 58 54 20 20 20",
        "indicator=65 timestamp=1471980632572715948 symbol=ZIEXT",
    ),
    (
        "4f 4f ac 63 c0 20 96 86 6d 14 5a 49 45 58 54 20 20 20",
        "status=79 timestamp=1471980632572715948 symbol=ZIEXT",
    ),
    (
        "50 01 ac 63 c0 20 96 86 6d 14 5a 49 45 58 54 20 20 20 41",
        "status=1 timestamp=1471980632572715948 symbol=ZIEXT detail=65",
    ),
    (
        "45 4f 00 f0 30 2a 5b 25 b6 14 5a 49 45 58 54 20 20 20",
        "event=79 timestamp=1492421400000000000 symbol=ZIEXT",
    ),
    (
        "51 00 ac 63 c0 20 96 86 6d 14 5a 49 45 58 54 20 20 20 e4 25 00 00 24 1d 0f 00 00 00 00 00 \
         ec 1d 0f 00 00 00 00 00 e8 03 00 00",
        "flags=0 timestamp=1471980632572715948 symbol=ZIEXT bid_size=9700 bid=990500 ask=990700 ask_size=1000",
    ),
    (
        "38 01 ac 63 c0 20 96 86 6d 14 5a 49 45 58 54 20 20 20 e4 25 00 00 24 1d 0f 00 00 00 00 00",
        "flags=1 timestamp=1471980632572715948 symbol=ZIEXT size=9700 price=990500",
    ),
    (
        "54 00 c3 df f7 05 a2 86 6d 14 5a 49 45 58 54 20 20 20 64 00 00 00 24 1d 0f 00 00 00 00 00 \
         96 8f 06 00 00 00 00 00",
        "flags=0 timestamp=1471980683662974915 symbol=ZIEXT size=100 price=990500 trade_id=429974",
    ),
    (
        "42 00 b2 8f a5 a0 ab 86 6d 14 5a 49 45 58 54 20 20 20 64 00 00 00 24 1d 0f 00 00 00 00 00 \
         96 8f 06 00 00 00 00 00",
        "flags=0 timestamp=1471980724912754610 symbol=ZIEXT size=100 price=990500 trade_id=429974",
    ),
    (
        "58 51 00 f0 30 2a 5b 25 b6 14 5a 49 45 58 54 20 20 20 24 1d 0f 00 00 00 00 00",
        "price_type=81 timestamp=1492421400000000000 symbol=ZIEXT price=990500",
    ),
    (
        "41 43 dd c7 f0 9a 1a 3a b6 14 5a 49 45 58 54 20 20 20 a0 86 01 00 24 1d 0f 00 00 00 00 00 \
         18 1f 0f 00 00 00 00 00 10 27 00 00 42 00 80 e6 f4 58 0c 21 0f 00 00 00 00 00 \
         c0 1c 0f 00 00 00 00 00 a4 99 0d 00 00 00 00 00 dc 9f 10 00 00 00 00 00",
        "auction=67 timestamp=1492444212462929885 symbol=ZIEXT paired=100000 reference=990500 indicative=991000 \
         imbalance=10000 imbalance_side=66 extension=0 scheduled_s=1492444800 book_clearing=991500 \
         collar_reference=990400 collar_lower=891300 collar_upper=1089500",
    ),
];

/// What hopline reads, by each feed that has the type.
fn readings(bytes: &[u8]) -> Vec<String> {
    let tops = tops::decode(bytes).map(|message| oracle::tops(&message));
    let deep = deep::decode(bytes).map(|message| oracle::deep(&message));
    [tops, deep].into_iter().flatten().collect()
}

#[test]
fn the_examples_of_the_specifications_are_read_as_they_say() {
    for (bytes, said) in EXAMPLES {
        let bytes = hex(bytes);
        let readings = readings(&bytes);
        let both = !matches!(bytes[0], b'Q' | b'E' | b'8' | b'5');
        assert_eq!(readings.len(), 1 + usize::from(both), "{said}");
        for reading in readings {
            assert_eq!(reading, *said);
        }
        assert_eq!(oracle::slow(&bytes), Some((*said).to_owned()));
    }
}

#[test]
fn the_example_of_the_transport_is_read_as_it_says() {
    let segment = hex(
        "01 00 04 80 01 00 00 00 00 00 87 42 48 00 02 00 8c a6 21 00 00 00 00 00 \
         ca c3 00 00 00 00 00 00 ec 45 c2 20 96 86 6d 14 \
         26 00 54 00 ac 63 c0 20 96 86 6d 14 5a 49 45 58 54 20 20 20 64 00 00 00 \
         24 1d 0f 00 00 00 00 00 96 8f 06 00 00 00 00 00 \
         1e 00 38 01 ac 63 c0 20 96 86 6d 14 5a 49 45 58 54 20 20 20 e4 25 00 00 \
         24 1d 0f 00 00 00 00 00",
    );
    let header = iextp::Segment::parse(&segment).unwrap().header;
    assert_eq!(
        (
            header.protocol.get(),
            header.channel.get(),
            header.stream_offset.get(),
            header.sent.get()
        ),
        (deep::PROTOCOL, 1, 2_205_324, 1_471_980_632_572_839_404)
    );
    let transport = Transport::IexTp {
        protocol: deep::PROTOCOL,
        channel: 1,
    };
    let packet = transport.parse(&segment).unwrap();
    assert_eq!(packet.session, Session::Number(0x4287_0000));
    assert_eq!(
        (packet.first, packet.end(), packet.purpose),
        (50_122, 50_124, Purpose::Messages)
    );
    let kinds: Vec<bool> = packet
        .messages
        .map(|message| matches!(deep::decode(message), Ok(deep::Message::PriceLevelBuy(_))))
        .collect();
    assert_eq!(kinds, [false, true]);

    let heartbeat = hex(
        "01 00 02 80 01 00 00 00 00 00 87 42 00 00 00 00 8c a6 21 00 00 00 00 00 \
         ca c3 00 00 00 00 00 00 ec 45 c2 20 96 86 6d 14",
    );
    let packet = iextp::Segment::parse(&heartbeat).unwrap().packet();
    assert_eq!((packet.first, packet.purpose), (50_122, Purpose::Heartbeat));
}

#[test]
fn every_field_of_every_type_is_what_the_slow_decoder_reads() {
    let mut prng = Prng::new(9);
    for (kind, len) in tops::TYPES.iter().chain(deep::TYPES) {
        for _ in 0..200 {
            let mut bytes = vec![0; *len];
            bytes
                .iter_mut()
                .for_each(|byte| *byte = prng.next_u64() as u8);
            bytes[0] = *kind;
            let slow = oracle::slow(&bytes).unwrap();
            let quick = readings(&bytes);
            assert!(!quick.is_empty());
            assert!(
                quick.iter().all(|reading| *reading == slow),
                "{quick:?} {slow}"
            );
        }
    }
}

#[test]
fn both_simulated_feeds_say_what_the_slow_decoder_reads() {
    for (feed, types) in [(Feed::Deep, deep::TYPES), (Feed::Tops, tops::TYPES)] {
        let mut exchange = Levels::new(feed, 4, 30);
        let (mut buffer, mut seen) = ([0; MESSAGE_BYTES_MAX], String::new());
        for nth in 0..20_000 {
            let len = exchange.next(1_723_123_800_000_000_000 + nth, &mut buffer);
            let bytes = &buffer[..len];
            let reading = match feed {
                Feed::Deep => oracle::deep(&deep::decode(bytes).unwrap()),
                Feed::Tops => oracle::tops(&tops::decode(bytes).unwrap()),
            };
            assert_eq!(Some(reading), oracle::slow(bytes));
            let known = types.iter().find(|(kind, _)| *kind == bytes[0]);
            assert_eq!(known.map(|(_, len)| *len), Some(len));
            if !seen.contains(bytes[0] as char) {
                write!(seen, "{}", bytes[0] as char).unwrap();
            }
        }
        assert_eq!(seen.len(), types.len(), "{feed:?}: {seen}");
    }
}

#[test]
fn a_message_that_grew_is_read_and_one_that_shrank_is_not() {
    for (kind, len) in deep::TYPES.iter().chain(tops::TYPES) {
        let mut bytes = vec![7; *len + 9];
        bytes[0] = *kind;
        let whole = readings(&bytes[..*len]);
        assert_eq!(readings(&bytes), whole);
        for cut in 1..*len {
            let rejects = [
                tops::decode(&bytes[..cut]).err(),
                deep::decode(&bytes[..cut]).err(),
            ];
            assert!(rejects.contains(&Some(MessageReject::TooShort)));
            assert!(rejects.iter().all(|reject| matches!(
                reject,
                Some(MessageReject::TooShort | MessageReject::UnknownType)
            )));
        }
    }
    assert_eq!(deep::decode(b""), Err(MessageReject::Empty));
    assert_eq!(tops::decode(b"8"), Err(MessageReject::UnknownType));
    assert_eq!(deep::decode(b"Q"), Err(MessageReject::UnknownType));
    assert_eq!(Symbol8::new("ZIEXT").to_string(), "ZIEXT");
}
