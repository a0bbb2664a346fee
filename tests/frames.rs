//! Frames from outside: layout, checks, sets, records and upgrades.
//!
//! Invariant: the golden bytes below are what captures on disk look like; a change of layout is a
//! new version and an upgrade, not a new golden value.

use hopline::base::Flags;
use hopline::base::limits::PAYLOAD_BYTES;
use hopline::frame::{
    Aligned, Carries, Frame, FrameError, HEADER_BYTES, Header, HeaderError, Input, KindInfo, Meta,
    RECORD_BYTES_MAX, Raw, RawView, Upgrade, View, decode, decode_or_upgrade, encode,
    encode_payload,
};
use proptest::prelude::*;

#[hopline::frame_part]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Price(i64);

#[hopline::frame_part]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    price: Price,
    qty: u64,
}

#[hopline::frame_part]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Side {
    Buy = 1,
    Sell = 2,
}

#[hopline::frame(schema = 7, version = 2)]
#[derive(Clone, Debug, PartialEq)]
struct TopQuote {
    symbol: u32,
    side: Side,
    best: Level,
    next: [Price; 2],
    firm: bool,
}

/// The layout that captures of version 1 have.
#[hopline::frame(schema = 7, version = 1, name = "top_quote")]
#[derive(Clone, Debug, PartialEq)]
struct TopQuoteV1 {
    symbol: u32,
    bid: i64,
}

#[hopline::frame(schema = 8, version = 1, name = "print")]
#[derive(Clone, Debug, PartialEq)]
struct Trade {
    price: Price,
    qty: u32,
}

#[hopline::frame(schema = 65535, version = 65535)]
#[derive(Clone, Debug, PartialEq)]
struct Wide {
    a: u128,
    b: i128,
    c: [[u16; 2]; 3],
    d: f64,
    e: f32,
    f: i8,
    g: u8,
    h: i16,
    i: i32,
    j: u64,
}

#[hopline::frame_set]
#[derive(Debug, PartialEq)]
enum Market {
    Quote(TopQuote),
    Print(Trade),
}

impl Upgrade for TopQuote {
    fn upgrade(from: u16, payload: &[u8], out: &mut [u8]) -> Result<usize, HeaderError> {
        match from {
            1 => {
                let old = TopQuoteV1::read(payload)?;
                let price = Price(old.bid());
                let best = Level { price, qty: 0 };
                let new = TopQuote {
                    symbol: old.symbol(),
                    side: Side::Buy,
                    best,
                    next: [price; 2],
                    firm: false,
                };
                Ok(new.write(out)?)
            }
            _ => Err(Self::no_upgrade(from)),
        }
    }
}

fn quote() -> TopQuote {
    TopQuote {
        symbol: 0x0403_0201,
        side: Side::Sell,
        best: Level {
            price: Price(-2),
            qty: 0x1817_1615_1413_1211,
        },
        next: [Price(5), Price(6)],
        firm: true,
    }
}

const META: Meta = Meta {
    sequence: 0x2827_2625_2423_2221,
    time_ns: 0x3837_3635_3433_3231,
    intended_ns: 0x4847_4645_4443_4241,
    flags: Flags::FIRST,
};

/// Header of [`META`] for a [`TopQuote`].
const GOLDEN_HEADER: [u8; HEADER_BYTES] = [
    b'H', b'O', b'P', b'F', 48, 0, 7, 0, 2, 0, 1, 0, 48, 0, 0, 0, // magic .. payload length
    0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, // sequence
    0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, // time
    0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, // intended
    0, 0, 0, 0, 0, 0, 0, 0, // reserved
];

/// Payload of [`quote`]: fields in order, each at a multiple of its alignment, zeros between.
const GOLDEN_PAYLOAD: [u8; 48] = [
    0x01, 0x02, 0x03, 0x04, 2, 0, 0, 0, // symbol, side
    0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // best.price
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, // best.qty
    5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, // next
    1, 0, 0, 0, 0, 0, 0, 0, // firm
];

fn golden() -> Aligned<96> {
    let mut record = Aligned::new();
    record[..HEADER_BYTES].copy_from_slice(&GOLDEN_HEADER);
    record[HEADER_BYTES..].copy_from_slice(&GOLDEN_PAYLOAD);
    record
}

#[test]
fn a_record_has_the_golden_bytes() {
    let mut out = [0xaa; RECORD_BYTES_MAX];
    let bytes = encode(&quote(), META, &mut out).unwrap();
    assert_eq!(bytes, 96);
    assert_eq!(out[..HEADER_BYTES], GOLDEN_HEADER);
    assert_eq!(out[HEADER_BYTES..bytes], GOLDEN_PAYLOAD);
    assert!(out[bytes..].iter().all(|&byte| byte == 0xaa));

    // What a capture writes of the slot's bytes is the same record.
    let mut copied = [0; 96];
    let kind = KindInfo::of::<TopQuote>();
    assert_eq!(
        encode_payload(&kind, &GOLDEN_PAYLOAD, META, &mut copied),
        Ok(96)
    );
    assert_eq!(copied[..], golden()[..]);
}

#[test]
fn the_golden_bytes_are_read_back() {
    let record = golden();
    let (header, payload) = Header::parse(&record).unwrap();
    assert_eq!(header.meta(), META);
    assert_eq!(
        (header.schema(), header.version(), header.record_bytes()),
        (7, 2, 96)
    );
    assert_eq!(payload, GOLDEN_PAYLOAD);
    assert_eq!(decode::<TopQuote>(&record).unwrap().to_owned(), quote());
}

#[test]
fn accessors_answer_native_values_in_place() {
    let mut slot = Aligned::<PAYLOAD_BYTES>::new();
    let view = slot.hold(&quote()).unwrap();
    assert_eq!(view.symbol(), 0x0403_0201);
    assert_eq!(view.side(), Side::Sell);
    assert_eq!(view.best().price, Price(-2));
    assert_eq!(view.next(), [Price(5), Price(6)]);
    assert!(view.firm());
    assert!(format!("{view:?}").contains("symbol: 67305985"));
}

#[test]
fn kinds_say_what_the_attributes_said() {
    let named = |schema, version, name, bytes| KindInfo {
        schema,
        version,
        name,
        bytes,
        keyed: false,
    };
    assert_eq!(TopQuote::KINDS, [named(7, 2, "top_quote", 48)]);
    assert_eq!(
        Market::KINDS,
        [named(7, 2, "top_quote", 48), named(8, 1, "print", 16)]
    );
    assert_eq!(KindInfo::of::<Wide>(), named(65535, 65535, "wide", 80));
    assert!(Raw::KINDS.is_empty());
}

#[test]
fn a_set_dispatches_on_the_kind() {
    fn carries<I: Carries<TopQuote> + Carries<Trade>>() {}
    carries::<Market>();
    carries::<Raw>();

    let mut slot = Aligned::<PAYLOAD_BYTES>::new();
    let trade = Trade {
        price: Price(9),
        qty: 3,
    };
    let bytes = trade.write(&mut slot).unwrap();
    let payload = &slot[..bytes];
    let view = Market::view(8, payload).unwrap();
    assert_eq!(view.kind(), Trade::SCHEMA);
    assert_eq!(view.to_owned(), Market::Print(trade));
    assert_eq!(
        Market::view(9, payload).unwrap_err(),
        FrameError::UnknownKind(9)
    );
    let length = FrameError::Length {
        kind: 7,
        expected: 48,
        found: 16,
    };
    assert_eq!(Market::view(7, payload).unwrap_err(), length);
    assert_eq!(
        TopQuote::view(8, payload).unwrap_err(),
        FrameError::UnknownKind(8)
    );
    let raw = RawView {
        kind: 9,
        bytes: payload,
    };
    assert_eq!(Raw::view(9, payload), Ok(raw));
}

#[test]
fn a_payload_of_another_length_is_refused() {
    let record = golden();
    for end in 0..48 {
        let found = TopQuote::read(&record[HEADER_BYTES..][..end]).unwrap_err();
        let expected = FrameError::Length {
            kind: 7,
            expected: 48,
            found: end,
        };
        assert_eq!(found, expected);
    }
    // A longer slice holds a root at its end, which is not the frame that was written.
    assert!(matches!(
        TopQuote::read(&record[..64]),
        Err(FrameError::Length { found: 64, .. })
    ));
}

#[test]
fn a_payload_at_the_wrong_address_is_refused() {
    let mut bytes = Aligned::<128>::new();
    for at in 0..32 {
        bytes[at..at + 48].copy_from_slice(&GOLDEN_PAYLOAD);
        let read = View::<TopQuote>::read(&bytes[at..at + 48]);
        if at % align_of::<<TopQuote as Frame>::Archived>() == 0 {
            assert_eq!(read.unwrap().to_owned(), quote());
        } else {
            assert_eq!(read.unwrap_err(), FrameError::Misaligned);
        }
    }
    // A record at an odd address is read after a copy.
    let mut shifted = Aligned::<97>::new();
    shifted[1..].copy_from_slice(&golden());
    assert_eq!(
        decode::<TopQuote>(&shifted[1..]).unwrap_err(),
        HeaderError::Frame(FrameError::Misaligned)
    );
    let mut scratch = Aligned::<RECORD_BYTES_MAX>::new();
    let copied = scratch.copy_from(&shifted[1..]).unwrap();
    assert_eq!(decode::<TopQuote>(copied).unwrap().to_owned(), quote());
}

#[test]
fn values_that_a_field_cannot_have_are_refused() {
    for (at, value) in [(4, 0), (4, 3), (4, 255), (40, 2), (40, 255)] {
        let mut record = golden();
        record[HEADER_BYTES + at] = value;
        assert_eq!(
            decode::<TopQuote>(&record).unwrap_err(),
            HeaderError::Frame(FrameError::Invalid),
            "byte {at} = {value}"
        );
    }
}

#[test]
fn a_buffer_that_is_too_small_is_left_as_it_was() {
    for room in 0..48 {
        let mut out = vec![0xaa; room];
        assert_eq!(quote().write(&mut out), Err(FrameError::Space));
        assert!(out.iter().all(|&byte| byte == 0xaa));
    }
    for room in 0..96 {
        let mut out = vec![0xaa; room];
        let expected = HeaderError::Space {
            needed: 96,
            found: room,
        };
        assert_eq!(encode(&quote(), META, &mut out), Err(expected));
        assert!(out.iter().all(|&byte| byte == 0xaa));
    }
    let (record, mut small) = (golden(), Aligned::<8>::new());
    assert_eq!(small.copy_from(&record), Err(FrameError::Space));
    assert_eq!(small.hold(&quote()).unwrap_err(), FrameError::Space);
}

#[test]
fn a_record_cut_anywhere_is_truncated() {
    let record = golden();
    for found in 0..record.len() {
        let needed = if found < HEADER_BYTES { 48 } else { 96 };
        assert_eq!(
            decode::<TopQuote>(&record[..found]).unwrap_err(),
            HeaderError::Truncated { needed, found }
        );
    }
}

#[test]
fn a_flipped_bit_of_the_header_is_an_error_or_another_value() {
    for bit in 0..HEADER_BYTES * 8 {
        let mut record = golden();
        record[bit / 8] ^= 1 << (bit % 8);
        let header_is_a_value = matches!(bit / 8, 16..40) || matches!(bit, 80 | 81);
        match decode::<TopQuote>(&record) {
            Err(error) => {
                assert!(!header_is_a_value, "bit {bit}: {error}");
                assert!(!error.to_string().is_empty());
            }
            Ok(view) => {
                assert!(header_is_a_value, "bit {bit} was not noticed");
                assert_eq!(view.to_owned(), quote());
                let (header, _) = Header::parse(&record).unwrap();
                assert_ne!(header.meta(), META, "bit {bit}");
            }
        }
    }
}

#[test]
fn errors_name_what_is_wrong() {
    let broken = |at: usize, value: u8| {
        let mut record = golden();
        record[at] = value;
        decode::<TopQuote>(&record).unwrap_err()
    };
    assert_eq!(broken(0, b'h'), HeaderError::Magic(*b"hOPF"));
    assert_eq!(broken(4, 64), HeaderError::HeaderLength(64));
    assert_eq!(
        broken(6, 8),
        HeaderError::Schema {
            expected: 7,
            found: 8
        }
    );
    assert_eq!(
        broken(8, 3),
        HeaderError::Version {
            schema: 7,
            expected: 2,
            found: 3
        }
    );
    assert_eq!(broken(10, 5), HeaderError::Reserved);
    assert_eq!(broken(12, 97), HeaderError::PayloadLength(97));
    assert_eq!(broken(47, 1), HeaderError::Reserved);
    assert_eq!(
        Header::new(7, 2, PAYLOAD_BYTES + 1, META),
        Err(HeaderError::PayloadLength(97))
    );
    let kind = KindInfo::of::<TopQuote>();
    assert!(matches!(
        encode_payload(&kind, &[0; 47], META, &mut [0; 96]),
        Err(HeaderError::Frame(FrameError::Length { found: 47, .. }))
    ));
}

#[test]
fn padding_after_the_payload_is_zero() {
    #[hopline::frame(schema = 9, version = 1)]
    struct Beat {
        count: u32,
    }
    let mut record = Aligned::<64>::new();
    record.fill(0xaa);
    assert_eq!(encode(&Beat { count: 3 }, META, &mut record), Ok(64));
    assert_eq!(record[HEADER_BYTES + 4..], [0; 12]);
    assert_eq!(decode::<Beat>(&record).unwrap().count(), 3);
    record[63] = 1;
    assert_eq!(decode::<Beat>(&record).unwrap_err(), HeaderError::Reserved);
}

#[test]
fn fragment_marks_survive() {
    for flags in [Flags::FIRST, Flags::LAST, Flags::WHOLE, Flags::MIDDLE] {
        let mut record = Aligned::<96>::new();
        let meta = Meta { flags, ..META };
        encode(&quote(), meta, &mut record).unwrap();
        assert_eq!(Header::parse(&record).unwrap().0.meta(), meta);
    }
}

#[test]
fn records_follow_each_other() {
    let mut file = Aligned::<320>::new();
    let mut end = 0;
    for sequence in 0..3 {
        let meta = Meta { sequence, ..META };
        end += encode(&quote(), meta, &mut file[end..]).unwrap();
    }
    let mut rest = &file[..end];
    let mut sequence = 0;
    while !rest.is_empty() {
        let (header, _) = Header::parse(rest).unwrap();
        assert_eq!(header.meta().sequence, sequence);
        assert_eq!(decode::<TopQuote>(rest).unwrap().to_owned(), quote());
        rest = &rest[header.record_bytes()..];
        sequence += 1;
    }
    assert_eq!(sequence, 3);
}

#[test]
fn older_versions_are_upgraded_and_newer_ones_refused() {
    let mut scratch = Aligned::new();
    let mut record = Aligned::<RECORD_BYTES_MAX>::new();
    let old = TopQuoteV1 { symbol: 5, bid: -7 };
    encode(&old, META, &mut record).unwrap();
    let version = |found| HeaderError::Version {
        schema: 7,
        expected: 2,
        found,
    };
    assert_eq!(decode::<TopQuote>(&record).unwrap_err(), version(1));
    let view = decode_or_upgrade::<TopQuote>(&record, &mut scratch).unwrap();
    assert_eq!((view.symbol(), view.best().price), (5, Price(-7)));

    // Of this version: in place, without the scratch.
    let mut record = golden();
    let view = decode_or_upgrade::<TopQuote>(&record, &mut scratch).unwrap();
    assert_eq!(view.to_owned(), quote());

    for unknown in [0, 3, 255] {
        record[8] = unknown;
        assert_eq!(
            decode_or_upgrade::<TopQuote>(&record, &mut scratch).unwrap_err(),
            version(u16::from(unknown))
        );
    }
    // A payload of the old version with the new one's length is not believed.
    record[8] = 1;
    assert!(matches!(
        decode_or_upgrade::<TopQuote>(&record, &mut scratch),
        Err(HeaderError::Frame(FrameError::Length { .. }))
    ));
}

prop_compose! {
    fn quotes()(
        symbol: u32, sell: bool, price: i64, qty: u64, next: [i64; 2], firm: bool,
    ) -> TopQuote {
        TopQuote {
            symbol,
            side: if sell { Side::Sell } else { Side::Buy },
            best: Level { price: Price(price), qty },
            next: next.map(Price),
            firm,
        }
    }
}

prop_compose! {
    fn wides()(
        a: u128, b: i128, c: [[u16; 2]; 3], d in -1e300..1e300f64, e in -1e30..1e30f32,
        f: i8, g: u8, h: i16, i: i32, j: u64,
    ) -> Wide {
        Wide { a, b, c, d, e, f, g, h, i, j }
    }
}

proptest! {
    #[test]
    fn frames_survive_a_slot_and_a_record(
        quote in quotes(), wide in wides(), sequence: u64, time_ns: u64, intended_ns: u64,
    ) {
        let mut slot = Aligned::<PAYLOAD_BYTES>::new();
        prop_assert_eq!(&slot.hold(&quote).unwrap().to_owned(), &quote);
        prop_assert_eq!(&slot.hold(&wide).unwrap().to_owned(), &wide);

        let meta = Meta { sequence, time_ns, intended_ns, flags: Flags::WHOLE };
        let mut record = Aligned::<RECORD_BYTES_MAX>::new();
        encode(&wide, meta, &mut record).unwrap();
        prop_assert_eq!(Header::parse(&record).unwrap().0.meta(), meta);
        prop_assert_eq!(decode::<Wide>(&record).unwrap().to_owned(), wide);
    }

    #[test]
    fn what_was_read_is_written_back_byte_for_byte(bytes: [u8; 16]) {
        let mut payload = Aligned::<16>::new();
        payload.copy_from_slice(&bytes);
        // Every 16 bytes are a `Trade`; its padding alone is not kept.
        let trade = View::<Trade>::read(&payload).unwrap().to_owned();
        let mut again = [0; 16];
        trade.write(&mut again).unwrap();
        prop_assert_eq!(&again[..12], &bytes[..12]);
        prop_assert_eq!(&again[12..], &[0; 4]);
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), kind: u16) {
        let mut scratch = Aligned::<200>::new();
        let aligned = scratch.copy_from(&bytes).unwrap();
        for input in [aligned, &bytes] {
            let _ = Market::view(kind, input);
            let _ = Market::view(7, input);
            let _ = Header::parse(input);
            let _ = decode::<TopQuote>(input);
        }
        if let Ok(view) = TopQuote::read(&aligned[..aligned.len().min(48)]) {
            prop_assert!((1..=2).contains(&aligned[4]) && aligned[40] < 2, "{:?}", view);
        }
    }

    #[test]
    fn a_damaged_record_is_another_record_or_an_error(at in 0usize..96, value: u8) {
        let mut record = golden();
        record[at] = value;
        let mut upgraded = Aligned::new();
        if let Ok(view) = decode_or_upgrade::<TopQuote>(&record, &mut upgraded) {
            let again = view.to_owned();
            let mut out = Aligned::<96>::new();
            prop_assert_eq!(encode(&again, META, &mut out), Ok(96));
        }
    }
}
