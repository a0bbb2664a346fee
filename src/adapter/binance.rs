//! The exchange's messages as frames.
//!
//! Invariant: the numbering of symbols is the line's, not this source's, and no message allocates.

use crate::adapter::IntoDecode;
use crate::base::Reject;
use crate::base::limits::FRAGMENTS_MAX;
use crate::feed::market::{LEVELS_MAX, Market};
use crate::feed::{Decoder, DepthHead, Level, Levels, Message, SnapshotHead, Symbols, fragments};
use crate::frame::{Carries, Frame};
use crate::stage::{Context, Decode, Decoded, Out, Port};
use crate::topology::{Params, Problem};

const OUT: Out<Market> = Out::at(0);

/// Nanoseconds in the exchange's unit of time.
const MILLISECOND_NS: u64 = 1_000_000;

/// A description of the decoder of the exchange's JSON.
///
/// Frames carry a symbol as its place in the list of symbols, so every source of a line, and every
/// stage that names symbols, is given the same list.
///
/// ```
/// use hopline::adapter::{Binance, udp};
/// let source = udp("127.0.0.1:26400").decode(Binance::new(&["BTCUSDT", "ETHUSDT"]).or("ETHUSDT"));
/// ```
#[derive(Clone, Debug)]
pub struct Binance {
    symbols: Vec<String>,
    default_symbol: Option<String>,
}

impl Binance {
    /// For these symbols, numbered by their place; messages of others are refused. With a single
    /// symbol, messages that name none are taken for it.
    #[must_use]
    pub fn new(symbols: &[&str]) -> Binance {
        Binance {
            symbols: symbols.iter().map(|&name| name.to_owned()).collect(),
            default_symbol: match symbols {
                [only] => Some((*only).to_owned()),
                _ => None,
            },
        }
    }

    /// The same, with messages that name no symbol (a snapshot asked for by itself) taken for this
    /// one.
    #[must_use]
    pub fn or(mut self, default_symbol: &str) -> Binance {
        self.default_symbol = Some(default_symbol.to_owned());
        self
    }

    /// From the settings `symbols` and `symbol`.
    pub(crate) fn from_params(params: &mut Params) -> Result<Binance, Problem> {
        let symbols = params.texts("symbols")?;
        let symbol = params.text("symbol")?;
        let problem = |what: &str, help: &str| params.problem("decode", what, help);
        let symbols = match (symbols.is_empty(), &symbol) {
            (false, _) => symbols,
            (true, Some(symbol)) => vec![symbol.clone()],
            (true, None) => {
                return Err(problem(
                    "the decoder \"binance\" is not told which symbols there are",
                    "write symbol = \"BTCUSDT\"; in a line of several, also symbols = [\"BTCUSDT\", \"ETHUSDT\"] on each of its sources",
                ));
            }
        };
        let described = Binance {
            default_symbol: symbol.or_else(|| match symbols.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            }),
            symbols,
        };
        // A wrong symbol is said at its own place.
        described
            .decoder()
            .map_err(|error| error.at(params.place_of("symbol")))?;
        Ok(described)
    }

    fn decoder(&self) -> Result<BinanceDecoder, Problem> {
        let names: Vec<&str> = self.symbols.iter().map(String::as_str).collect();
        let made = Symbols::new(&names)
            .and_then(|symbols| Decoder::new(symbols, self.default_symbol.as_deref()));
        let decoder = made.map_err(|error| {
            Problem::new(
                error.to_string(),
                "write it as the exchange does: \"BTCUSDT\"",
            )
        })?;
        Ok(BinanceDecoder { decoder })
    }
}

impl IntoDecode for Binance {
    fn into_decode(self) -> Result<Box<dyn Decode>, Problem> {
        Ok(Box::new(self.decoder()?))
    }
}

/// Decodes the exchange's JSON in the source's turn.
#[derive(Debug)]
pub struct BinanceDecoder {
    decoder: Decoder,
}

impl Decode for BinanceDecoder {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Market>("out")];
        PORTS
    }

    /// As many as the levels of one message may need.
    fn max_emit(&self) -> usize {
        FRAGMENTS_MAX
    }

    fn memory_bytes(&self) -> usize {
        size_of::<BinanceDecoder>() + LEVELS_MAX * size_of::<Level>()
    }

    #[inline]
    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        emit(&self.decoder.decode(message)?, cx)
    }
}

/// Emits a message on the first port, as one frame or as fragments.
#[inline]
pub(super) fn emit(message: &Message<'_>, cx: &mut Context<'_>) -> Result<Decoded, Reject> {
    let event_ms = match message {
        Message::BookTicker(ticker) => {
            cx.emit(OUT, ticker);
            ticker.event_ms
        }
        Message::Trade(trade) => {
            cx.emit(OUT, trade);
            trade.event_ms
        }
        Message::Depth { head, .. } => {
            emit_levels::<DepthHead>(head, message, cx)?;
            head.event_ms
        }
        Message::Snapshot { head, .. } => {
            emit_levels::<SnapshotHead>(head, message, cx)?;
            head.event_ms
        }
    };
    Ok(Decoded {
        event_wall_ns: (event_ms != 0).then(|| event_ms.saturating_mul(MILLISECOND_NS)),
    })
}

/// Emits a head and the fragments of its levels as one message.
fn emit_levels<F: Frame>(
    head: &F,
    message: &Message<'_>,
    cx: &mut Context<'_>,
) -> Result<(), Reject>
where
    Market: Carries<F>,
{
    let frames = message.frames();
    // A side's last frame may be partly filled, so the most levels can need one frame too many.
    if frames > FRAGMENTS_MAX {
        return Err(Reject::TooManyLevels);
    }
    cx.emit_with::<Market, F, Levels>(OUT, head, fragments(message));
    Ok(())
}
