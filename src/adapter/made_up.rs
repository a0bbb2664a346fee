//! A stand-in for a decoder: each message, whatever is in it, is the next one of a made-up market.
//!
//! JSON costs a sender more to write, and a source more to read, than a line's hops cost to cross. Where a line is to be
//! offered more than a million messages a second by one core, its source takes eight bytes for each and makes the frames here:
//! those that the exchange's JSON of the same seed would be decoded into, kind by kind and level by level.
//!
//! Invariant: the same seed gives the same messages in the same order; no message allocates.

use crate::adapter::binance::emit;
use crate::base::Reject;
use crate::base::limits::FRAGMENTS_MAX;
use crate::feed::Symbols;
use crate::feed::contents::Contents;
use crate::feed::market::Market;
use crate::stage::{Context, Decode, Decoded, Port};
use crate::topology::{Params, Problem};

/// Makes the frames of a market up.
#[derive(Debug)]
pub struct MadeUpMarket {
    contents: Contents,
    /// When the first message was due, on the line's clock.
    first_due_ns: Option<u64>,
}

/// Takes each message for the next one of a made-up market of that seed. Its symbol has the number `symbol` in the line's list.
///
/// ```
/// use hopline::adapter::{Content, made_up, synthetic};
/// let content = Content::Datagrams { bytes: 8 };
/// let source = synthetic("BTCUSDT", 1e6).content(content).decode(made_up(7, 0));
/// ```
#[must_use]
pub fn made_up(seed: u64, symbol: u16) -> MadeUpMarket {
    MadeUpMarket {
        contents: Contents::new(seed, symbol),
        first_due_ns: None,
    }
}

impl MadeUpMarket {
    /// From the settings `seed`, `symbol` and `symbols`.
    pub(crate) fn from_params(params: &mut Params) -> Result<MadeUpMarket, Problem> {
        let seed = params.count("seed", 1, 0..=i64::MAX as u64)?;
        let symbols = params.texts("symbols")?;
        let symbol = params.need_text("symbol", "BTCUSDT")?;
        let mut names: Vec<&str> = symbols.iter().map(String::as_str).collect();
        if names.is_empty() {
            names.push(&symbol);
        }
        let table = Symbols::new(&names).map_err(|error| {
            let help = "write them as the exchange does: symbols = [\"BTCUSDT\"]";
            params.problem("symbols", error.to_string(), help)
        })?;
        let number = table
            .iter()
            .find(|(name, _)| *name == symbol)
            .map(|(_, number)| number);
        let number = number.ok_or_else(|| {
            let what = format!("\"{symbol}\" is none of the line's symbols");
            params.problem(
                "symbol",
                what,
                "add it to \"symbols\", or write one of them",
            )
        })?;
        Ok(made_up(seed, number))
    }
}

impl Decode for MadeUpMarket {
    fn ports(&self) -> &'static [Port] {
        const PORTS: &[Port] = &[Port::new::<Market>("out")];
        PORTS
    }

    fn max_emit(&self) -> usize {
        FRAGMENTS_MAX
    }

    fn memory_bytes(&self) -> usize {
        size_of::<MadeUpMarket>() + Contents::heap_bytes()
    }

    #[inline]
    fn decode(&mut self, _: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let due_ns = cx.t_intended_ns();
        let first_ns = *self.first_due_ns.get_or_insert(due_ns);
        emit(&self.contents.draw(due_ns.saturating_sub(first_ns)), cx)
    }
}
