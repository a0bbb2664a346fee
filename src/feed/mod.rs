//! Wire formats of market data and of telemetry: bytes in, frames and samples out, sans-IO.
//!
//! | file | what it knows |
//! |---|---|
//! | [`decimal`] | fixed-point prices and quantities |
//! | [`datagram`] | the frames that carry bytes nobody here reads |
//! | [`market`] | the frames that leave this room, and how a long message becomes fragments |
//! | [`symbols`] | the bounded table of symbols of a line |
//! | [`binance`] | the exchange's JSON, decoded by [`binance::Decoder`] |
//! | [`line`](mod@line) | the `<ns> <json>` lines of captures |
//! | [`arrivals`], [`schedule`] | open-loop schedules: constant, Poisson, bursty, bursts, ramps, recorded |
//! | [`rhythm`], [`shape`] | the gaps of a capture; how people write a schedule |
//! | [`synthetic`] | a seeded feed in the exchange's format |
//! | [`readings`] | seeded lines of telemetry |
//! | [`statsd`], [`graphite`], [`influx`] | a line of telemetry: StatsD and DogStatsD, Graphite plaintext, Influx line protocol |
//! | [`sample`] | what any of them says about one metric |
//! | [`metric`] | the frames that carry a line of telemetry |
//! | [`summary`] | the frames that carry what a window has to say |
//! | [`aggregate`] | samples summed up by key and window, bounded |
//! | `text`, `number`, `look` | lines of a datagram; doubles and times; searches, counted in tests |
//! | [`packets`] | packets of sequenced feeds: [`moldudp64`] and [`iextp`] |
//! | [`sequenced`] | sessions, gaps, reordering and two lines, for both transports |
//! | [`itch`], [`tops`], [`deep`] | binary messages as views; [`iex`] and [`views`] are what they share |
//! | [`placed`] | those messages as frames, with their place and the state of the feed |
//! | [`books`] | books from order messages and from price levels |
//! | [`simulated`] | seeded feeds of orders and price levels over two lossy lines |
//! | `predict`, `fields`, `scanner`, `digits` | the decoder: usual order of keys, rules, grammar, numbers |
//!
//! Invariant: nothing here opens, waits or reads a clock; decoding a message allocates nothing and
//! never panics, whatever the bytes are.

pub mod aggregate;
pub mod arrivals;
pub mod binance;
pub mod books;
pub mod contents;
pub mod datagram;
pub mod decimal;
pub mod deep;
mod digits;
mod fields;
pub mod graphite;
pub mod iex;
pub mod iextp;
pub mod influx;
pub mod itch;
pub mod line;
mod look;
pub mod market;
pub mod metric;
pub mod moldudp64;
mod number;
pub mod packets;
pub mod pcap;
pub mod placed;
mod predict;
pub mod readings;
pub mod rhythm;
pub mod sample;
mod scanner;
pub mod schedule;
pub mod sequenced;
pub mod shape;
pub mod simulated;
pub mod statsd;
pub mod summary;
pub mod symbols;
pub mod synthetic;
mod text;
pub mod tops;
pub mod views;

pub use aggregate::Aggregate;
pub use arrivals::Arrivals;
pub use binance::{Decoder, Message};
pub use datagram::{Datagram, DatagramPart, Datagrams};
pub use decimal::{Price, Qty};
pub use line::parse_line;
pub use market::{
    BookTicker, DepthHead, Left, Level, Levels, SnapshotHead, Trade, fragments, frames_needed,
};
pub use metric::{Metric, Notice, Telemetry, TextPart};
pub use placed::{DeepMessage, ItchMessage, Place, Placed, TopsMessage};
pub use rhythm::Rhythm;
pub use sample::{Class, Number, Numbers, Sample, Tag, TagForm, TagSet, Tags};
pub use schedule::Schedule;
pub use sequenced::Sequenced;
pub use shape::Shape;
pub use summary::{Quantiles, Summaries, Summary, SummedUp};
pub use symbols::Symbols;
pub use synthetic::{Synthetic, SyntheticSpec};
pub use text::Lines;
