//! Bytes of protocols, sans-IO: bytes in, events out; bytes out, into bounded buffers.
//!
//! | file | what it knows | by |
//! |---|---|---|
//! | [`length`] | messages in a stream, each behind its length | RFC 1035 (4.2.2) and others |
//! | [`lines`] | lines in a stream, each of bounded length | |
//! | [`ndjson`] | one JSON value a line | ndjson.org |
//! | [`sse`] | server-sent events, both sides | WHATWG HTML, 9.2 |
//! | [`http`] | HTTP/1.1 heads and bodies, both sides | RFC 9110, RFC 9112 |
//! | [`websocket`] | WebSocket, both sides, and a client that stays connected | RFC 6455 |
//! | [`session`] | a client's connection in time: pings, half-open, stale, back-off | |
//! | [`output`] | what waits for the socket, bounded | |
//! | `unread` | what came from the socket and is not handed out yet, bounded | |
//!
//! All of them are driven alike. Input is a slice of what a read gave: `poll(&mut input)` takes from
//! it and gives the next event, which may lie in the slice; it gives none once the slice is used up.
//! Output is what `pending()` or `output()` shows; `written(n)` says how much of it has left. Time is
//! an argument, in nanoseconds of any one clock, and so are seeds. How a connection gets its bytes is
//! nobody's business here.
//!
//! | part | takes memory |
//! |---|---|
//! | `length`, `lines`, `ndjson` | once, at its construction |
//! | `sse`, `http`, `output` | as it is needed, up to a bound, and keeps it |
//! | `websocket` | as well; messages in fragments, and what a client sends, take it anew each time |
//!
//! Invariant: nothing here opens, waits, or reads a clock; memory is bounded whatever the bytes are,
//! and none of them makes it panic.

pub mod http;
pub mod length;
pub mod lines;
pub mod ndjson;
pub mod output;
pub mod session;
pub mod sse;
mod unread;
pub mod websocket;

pub use length::{Decoder, Framing, LengthError, Prefix};
pub use lines::Splitter;
pub use output::{Full, Output};
pub use session::Session;
