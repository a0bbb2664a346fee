//! Server-sent events (WHATWG HTML, section 9.2): a server's encoder and a client's parser.
//!
//! | file | side | what it does |
//! |---|---|---|
//! | [`encoder`] | server | events, heartbeats and the time to reconnect, into a bounded [`Output`](crate::wire::Output) |
//! | [`parser`] | client | events from a stream in any cuts, by the rules of section 9.2.6 |
//!
//! The stream itself is the body of a response with the type [`CONTENT_TYPE`]; see
//! [`http`](crate::wire::http) for its head and its chunks.
//!
//! Invariant: what the encoder wrote comes out of the parser as it went in, whatever bytes the data
//! has, but that each line's end in it is a `\n`.

pub mod encoder;
pub mod parser;

pub use encoder::{NotEncoded, Outgoing, comment, encode, encoded_bytes, retry};
pub use parser::{Dropped, Incoming, Limits, Parser, SseCounts};

/// The type of the response whose body is such a stream.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// The header with which a client says where it was when its connection was lost.
pub const LAST_EVENT_ID: &str = "Last-Event-ID";
