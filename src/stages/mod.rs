//! Ready-made stages: the market line, the telemetry line, the echo's middle, and a stage for chaos.
//!
//! ```text
//!   btc ─┐           top          signal          order          datagram
//!        ├─→ book ─────────→ signal ─────→ risk ───────→ encode ──────────→ a sink
//!   eth ─┘    └─ log: what left the book, for a log sink (may stay unconnected)
//! ```
//!
//! | kind | takes | gives | what it does |
//! |---|---|---|---|
//! | `book` | [`Market`] | [`Top`]; on `log` [`Left`] | keeps a book for each symbol |
//! | `order_book` | [`ItchMessage`] | [`Top`] | keeps a book of orders for each symbol of a feed |
//! | `level_book` | [`DeepMessage`] | [`Top`] | the same of price levels |
//! | `signal` | [`Top`] | [`Signal`] | says when the book leans to one side |
//! | `risk` | [`Signal`] | [`Order`] | refuses what is beyond its limits |
//! | `encode` | [`Order`] | [`Datagrams`] | writes the order as the text that leaves |
//! | `aggregate` | [`Telemetry`] | [`Summaries`] | sums metrics up by key and window |
//! | `format` | [`Summaries`] | [`Datagrams`] | writes summaries as NDJSON, Influx line protocol or Graphite |
//! | `batch` | [`Datagrams`] | [`Datagrams`] | gathers messages while they have time |
//! | `debounce` | [`Top`] | [`Top`] | passes on the latest of each symbol, as late as it may |
//! | `fault` | [`Top`] | [`Top`] | passes on, and misbehaves when told to |
//! | `forward` | [`Datagrams`] | [`Datagrams`] | passes on |
//! | `work` | [`Datagrams`] | [`Datagrams`] | passes on, after a time that is known beforehand |
//!
//! [`Market`]: crate::feed::market::Market
//! [`ItchMessage`]: crate::feed::ItchMessage
//! [`DeepMessage`]: crate::feed::DeepMessage
//! [`Left`]: crate::feed::market::Left
//! [`Datagrams`]: crate::feed::Datagrams
//! [`Telemetry`]: crate::feed::Telemetry
//! [`Summaries`]: crate::feed::Summaries
//!
//! Invariant: prices and quantities are fixed point, never floats (metrics are doubles, as their senders
//! write them); every store is bounded and allocated before the first frame; no stage reads a clock but through its context.

pub mod aggregate;
pub mod batch;
pub mod book;
pub mod debounce;
pub mod encode;
pub mod fault;
pub mod feed_book;
pub mod format;
pub mod forward;
pub mod frames;
pub mod risk;
pub mod signal;
mod slack;
pub mod work;

pub use aggregate::Sums;
pub use batch::{Batch, BatchSpec};
pub use book::{Book, BookSpec};
pub use debounce::{Debounce, DebounceSpec};
pub use encode::Encode;
pub use fault::{Fault, FaultSpec};
pub use feed_book::{FeedBook, FeedBookSpec};
pub use format::{Format, TextFormat};
pub use forward::{Forward, Pass};
pub use frames::{BookState, Order, Side, Signal, Top};
pub use risk::{KillSwitch, Risk, RiskSpec};
pub use signal::{Lean, LeanSpec};
pub use slack::SlackSpec;
pub use work::{Work, WorkSpec};

use crate::base::units::UnitError;
use crate::feed::books::levels::ByLevel;
use crate::feed::books::orders::ByOrder;
use crate::feed::{Datagrams, Symbols};
use crate::topology::{Params, Problem, Registry};

/// The symbols of a line that names none.
const SYMBOLS_DEFAULT: [&str; 2] = ["BTCUSDT", "ETHUSDT"];

/// Adds all kinds of this room to a registry.
///
/// ```
/// use hopline::stages;
/// use hopline::topology::Registry;
/// let registry = stages::register(Registry::new());
/// let kinds: Vec<&str> = registry.kinds().map(|(kind, _)| kind).collect();
/// assert_eq!(kinds, [
///     "aggregate", "batch", "book", "debounce", "encode", "fault", "format", "forward", "level_book", "order_book", "risk",
///     "signal", "work",
/// ]);
/// ```
#[must_use]
pub fn register(registry: Registry) -> Registry {
    register_with(registry, &KillSwitch::default())
}

/// The same with a switch that ends all trading of the line's `risk` stages when it is thrown.
#[must_use]
pub fn register_with(registry: Registry, switch: &KillSwitch) -> Registry {
    let switch = switch.clone();
    registry
        .stage("book", |params| {
            Ok(Book::new(&BookSpec::from_params(params)?))
        })
        .stage("order_book", FeedBook::<ByOrder>::from_params)
        .stage("level_book", FeedBook::<ByLevel>::from_params)
        .stage("signal", |params| {
            Ok(Lean::new(LeanSpec::from_params(params)?))
        })
        .stage("risk", move |params| {
            Ok(Risk::new(RiskSpec::from_params(params)?, switch.clone()))
        })
        .stage("encode", |params| Ok(Encode::new(symbols(params)?)))
        .stage("fault", |params| {
            Ok(Fault::new(FaultSpec::from_params(params)?))
        })
        .stage("aggregate", |params| {
            let takes_ns = params.span_ns("takes");
            let sums = Sums::new(aggregate::settings_from_params(params)?)?;
            Ok(sums.takes_ns(takes_ns?.unwrap_or(0)))
        })
        .stage("format", |params| {
            Ok(Format::new(TextFormat::from_params(params)?))
        })
        .stage("forward", |_| Ok(Forward::<Datagrams>::new()))
        .stage("batch", |params| {
            Ok(Batch::<Datagrams>::new(BatchSpec::from_params(params)?))
        })
        .stage("debounce", |params| {
            let spec = DebounceSpec::from_params(params)?;
            Ok(Debounce::<Top>::new(spec, |top| u64::from(top.symbol)))
        })
        .stage("work", |params| {
            Ok(Work::new(WorkSpec::from_params(params)?))
        })
}

/// The setting `symbols`: the line's table, in the order of its numbers.
fn symbols(params: &mut Params) -> Result<Symbols, Problem> {
    let given = params.texts("symbols")?;
    let mut names: Vec<&str> = given.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.extend(SYMBOLS_DEFAULT);
    }
    Symbols::new(&names).map_err(|error| {
        params.problem(
            "symbols",
            error.to_string(),
            "write symbols = [\"BTCUSDT\", \"ETHUSDT\"]",
        )
    })
}

/// A price or a quantity written as text, such as `"0.01"`; not negative.
fn fixed<T>(
    params: &mut Params,
    key: &'static str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    const EXPECTED: &str = "a number of at most eight decimals as text, such as \"0.01\"";
    params.unit(key, EXPECTED, |text| {
        parse(text)
            .filter(|_| !text.starts_with('-'))
            .ok_or_else(|| UnitError {
                given: text.to_owned(),
                expected: EXPECTED,
            })
    })
}
