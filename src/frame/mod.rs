//! Frames: bounded messages with a schema, written in place and read in place.
//!
//! A *frame* is a struct of fixed size. `#[hopline::frame(…)]` gives it a *schema id* (the `kind` of
//! an envelope), a *version* and an archived form, which is what lies in a slot; reading that form
//! is checking it and taking a reference. A *part* is a type that frames have fields of. A *set* is
//! the kinds of a mixed hop: an enum of frames, read as an enum of views by the envelope's kind.
//! Only at the borders (capture, bridge, egress) a frame gets a persistent [`Header`]; within the
//! line the envelope is enough. `docs/FRAME_FORMAT.md` has the bytes.
//!
//! Invariant: this room alone says rkyv, knows no ring, clock or policy, and has no unsafe code:
//! every read is checked. For frames without bools and enums the check is the length and the
//! address; `benches/frame.rs` measures it beside a plain copy of the struct, and what it costs is
//! too little to buy with an unchecked read.
//!
//! ```
//! use hopline::frame::{Aligned, Frame, Input};
//!
//! /// A price in ticks.
//! #[hopline::frame_part]
//! #[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
//! struct Price(i64);
//!
//! #[hopline::frame_part]
//! #[derive(Clone, Copy, Debug, PartialEq)]
//! struct Level { price: Price, qty: u64 }
//!
//! #[hopline::frame_part]
//! #[derive(Clone, Copy, Debug, PartialEq)]
//! #[repr(u8)]
//! enum Side { Buy = 1, Sell = 2 }
//!
//! #[hopline::frame(schema = 7, version = 1)]
//! #[derive(Debug, PartialEq)]
//! struct Quote { symbol: u32, side: Side, best: Level, next: [Price; 2] }
//!
//! #[hopline::frame(schema = 8, version = 1, name = "print")]
//! struct Trade { symbol: u32, price: Price }
//!
//! #[hopline::frame_set]
//! enum Market { Quote(Quote), Trade(Trade) }
//!
//! let quote = Quote {
//!     symbol: 3,
//!     side: Side::Sell,
//!     best: Level { price: Price(101), qty: 5 },
//!     next: [Price(102), Price(105)],
//! };
//! let mut slot = Aligned::<96>::new();
//! let bytes = quote.write(&mut slot)?;
//!
//! // A stage of one kind is given a view; a field is read by the method of its name.
//! let view = Quote::view(Quote::SCHEMA, &slot[..bytes])?;
//! assert_eq!((view.symbol(), view.best().price), (3, Price(101)));
//! assert_eq!(view.to_owned(), quote);
//!
//! // A stage of a mixed hop is given one of several.
//! match Market::view(Quote::SCHEMA, &slot[..bytes])? {
//!     MarketView::Quote(quote) => assert_eq!(quote.side(), Side::Sell),
//!     MarketView::Trade(trade) => unreachable!("{trade:?}"),
//! }
//! assert_eq!(Market::KINDS[1].name, "print");
//! # Ok::<(), hopline::frame::FrameError>(())
//! ```
//!
//! # What does not compile
//! A field without a fixed size:
//! ```compile_fail
//! #[hopline::frame(schema = 7, version = 1)]
//! struct Note { text: String }
//! ```
//! A field as wide as the machine, under whatever name:
//! ```compile_fail,E0277
//! type Width = usize;
//! #[hopline::frame(schema = 7, version = 1)]
//! struct Note { at: Width }
//! ```
//! An option, as there is no archived form of it that is cheaper than a value that means none:
//! ```compile_fail
//! #[hopline::frame(schema = 7, version = 1)]
//! struct Note { at: Option<u32> }
//! ```
//! A struct that is not marked as a part:
//! ```compile_fail,E0277
//! struct Price(i64);
//! #[hopline::frame(schema = 7, version = 1)]
//! struct Note { price: Price }
//! ```
//! A frame that is larger than a slot's payload (96 B do compile):
//! ```compile_fail,E0080
//! #[hopline::frame(schema = 7, version = 1)]
//! struct Wide { bytes: [u8; 97] }
//! ```
//! ```
//! #[hopline::frame(schema = 7, version = 1)]
//! struct Wide { bytes: [u8; 96] }
//! ```
//! A frame without a schema id:
//! ```compile_fail
//! #[hopline::frame(version = 1)]
//! struct Quote { bid: i64 }
//! ```
//! A set in which a kind does not say which variant is meant:
//! ```compile_fail,E0080
//! #[hopline::frame(schema = 7, version = 1)]
//! struct Quote { bid: i64 }
//! #[hopline::frame(schema = 7, version = 1)]
//! struct Trade { price: i64 }
//! #[hopline::frame_set]
//! enum Market { Quote(Quote), Trade(Trade) }
//! ```

mod aligned;
#[doc(hidden)]
pub mod archive;
pub mod capture;
mod codec;
mod error;
mod header;
mod input;
mod kind;
mod native;
mod view;

pub use aligned::{Aligned, PAYLOAD_ALIGN};
pub use codec::{Upgrade, decode, decode_or_upgrade, encode, encode_payload};
pub use error::FrameError;
pub use header::{HEADER_BYTES, Header, HeaderError, MAGIC, Meta, RECORD_BYTES_MAX};
pub use input::{Carries, Input, Raw, RawView, Replayed, TakeFrame};
pub use kind::{Frame, KindInfo, schemas_differ};
pub use native::Native;
#[doc(hidden)]
pub use native::{Fixed, assert_native};
/// The attributes name it by this path, so that a user's crate needs no rkyv of its own.
#[doc(hidden)]
pub use rkyv;
pub use view::View;
