//! Readings of TOPS and DEEP messages as `field=value` in the order of the bytes: as hopline gives them,
//! and by a slow decoder that knows only offsets and lengths from the tables of the specifications.

use hopline::feed::{deep, tops};

/// Fields of a type: name, offset, bytes.
type Fields = &'static [(&'static str, usize, usize)];

/// The tables of the specifications.
const TABLES: &[(u8, Fields)] = &[
    (b'S', &[("event", 1, 1), ("timestamp", 2, 8)]),
    (
        b'D',
        &[
            ("flags", 1, 1),
            ("timestamp", 2, 8),
            ("symbol", 10, 8),
            ("round_lot_size", 18, 4),
            ("adjusted_close", 22, 8),
            ("luld_tier", 30, 1),
        ],
    ),
    (
        b'H',
        &[
            ("status", 1, 1),
            ("timestamp", 2, 8),
            ("symbol", 10, 8),
            ("reason", 18, 4),
        ],
    ),
    (
        b'I',
        &[("indicator", 1, 1), ("timestamp", 2, 8), ("symbol", 10, 8)],
    ),
    (
        b'O',
        &[("status", 1, 1), ("timestamp", 2, 8), ("symbol", 10, 8)],
    ),
    (
        b'P',
        &[
            ("status", 1, 1),
            ("timestamp", 2, 8),
            ("symbol", 10, 8),
            ("detail", 18, 1),
        ],
    ),
    (
        b'E',
        &[("event", 1, 1), ("timestamp", 2, 8), ("symbol", 10, 8)],
    ),
    (
        b'Q',
        &[
            ("flags", 1, 1),
            ("timestamp", 2, 8),
            ("symbol", 10, 8),
            ("bid_size", 18, 4),
            ("bid", 22, 8),
            ("ask", 30, 8),
            ("ask_size", 38, 4),
        ],
    ),
    (b'8', LEVEL),
    (b'5', LEVEL),
    (b'T', TRADE),
    (b'B', TRADE),
    (
        b'X',
        &[
            ("price_type", 1, 1),
            ("timestamp", 2, 8),
            ("symbol", 10, 8),
            ("price", 18, 8),
        ],
    ),
    (
        b'A',
        &[
            ("auction", 1, 1),
            ("timestamp", 2, 8),
            ("symbol", 10, 8),
            ("paired", 18, 4),
            ("reference", 22, 8),
            ("indicative", 30, 8),
            ("imbalance", 38, 4),
            ("imbalance_side", 42, 1),
            ("extension", 43, 1),
            ("scheduled_s", 44, 4),
            ("book_clearing", 48, 8),
            ("collar_reference", 56, 8),
            ("collar_lower", 64, 8),
            ("collar_upper", 72, 8),
        ],
    ),
];

const LEVEL: Fields = &[
    ("flags", 1, 1),
    ("timestamp", 2, 8),
    ("symbol", 10, 8),
    ("size", 18, 4),
    ("price", 22, 8),
];

const TRADE: Fields = &[
    ("flags", 1, 1),
    ("timestamp", 2, 8),
    ("symbol", 10, 8),
    ("size", 18, 4),
    ("price", 22, 8),
    ("trade_id", 30, 8),
];

/// A reading by the tables; trade ids are the only 64 bits without a sign.
pub(crate) fn slow(bytes: &[u8]) -> Option<String> {
    let (_, fields) = TABLES.iter().find(|(kind, _)| *kind == bytes[0])?;
    let said = fields.iter().map(|(name, offset, len)| {
        let field = &bytes[*offset..offset + len];
        if *name == "symbol" {
            return format!("symbol={}", field.trim_ascii_end().escape_ascii());
        }
        let mut value = 0_u64;
        for byte in field.iter().rev() {
            value = value << 8 | u64::from(*byte);
        }
        match (*len, *name) {
            (8, name) if name != "trade_id" => format!("{name}={}", value as i64),
            (_, name) => format!("{name}={value}"),
        }
    });
    Some(said.collect::<Vec<_>>().join(" "))
}

/// How a field says itself.
trait Value {
    fn value(self) -> String;
}

macro_rules! values {
    ($($type:ty: |$v:ident| $text:expr;)+) => {
        $(impl Value for $type {
            fn value(self) -> String {
                let $v = self;
                $text.to_string()
            }
        })+
    };
}

values! {
    u8: |v| v;
    [u8; 4]: |v| u32::from_le_bytes(v);
    zerocopy::byteorder::little_endian::U32: |v| v.get();
    zerocopy::byteorder::little_endian::U64: |v| v.get();
    zerocopy::byteorder::little_endian::I64: |v| v.get();
    hopline::feed::views::SignedPrice4: |v| v.units();
    hopline::feed::views::Symbol8: |v| v;
}

macro_rules! say {
    ($m:expr; $($field:ident)+) => {
        [$(format!(concat!(stringify!($field), "={}"), $m.$field.value())),+].join(" ")
    };
}

macro_rules! shared {
    ($feed:ident, $message:expr; $($own:tt)*) => {
        match $message {
            $feed::Message::SystemEvent(m) => say!(m; event timestamp),
            $feed::Message::SecurityDirectory(m) => {
                say!(m; flags timestamp symbol round_lot_size adjusted_close luld_tier)
            }
            $feed::Message::TradingStatus(m) => say!(m; status timestamp symbol reason),
            $feed::Message::RetailLiquidity(m) => say!(m; indicator timestamp symbol),
            $feed::Message::OperationalHalt(m) => say!(m; status timestamp symbol),
            $feed::Message::ShortSaleStatus(m) => say!(m; status timestamp symbol detail),
            $feed::Message::TradeReport(m) | $feed::Message::TradeBreak(m) => {
                say!(m; flags timestamp symbol size price trade_id)
            }
            $feed::Message::OfficialPrice(m) => say!(m; price_type timestamp symbol price),
            $feed::Message::AuctionInformation(m) => say!(
                m; auction timestamp symbol paired reference indicative imbalance imbalance_side extension
                scheduled_s book_clearing collar_reference collar_lower collar_upper
            ),
            $($own)*
        }
    };
}

/// What hopline reads of a message of TOPS.
pub(crate) fn tops(message: &tops::Message<'_>) -> String {
    shared!(tops, message;
        tops::Message::QuoteUpdate(m) => say!(m; flags timestamp symbol bid_size bid ask ask_size),
    )
}

/// What hopline reads of a message of DEEP.
pub(crate) fn deep(message: &deep::Message<'_>) -> String {
    shared!(deep, message;
        deep::Message::SecurityEvent(m) => say!(m; event timestamp symbol),
        deep::Message::PriceLevelBuy(m) | deep::Message::PriceLevelSell(m) => {
            say!(m; flags timestamp symbol size price)
        }
    )
}
