//! Bytes of protocols, sans-IO: bytes in, messages out, and back.
//!
//! | file | what it knows |
//! |---|---|
//! | [`length`] | messages in a stream, each behind its length |
//! | [`lines`] | lines in a stream, each of bounded length |
//!
//! Invariant: nothing here opens, waits, or reads a clock; decoding allocates nothing after its
//! construction and never panics, whatever the bytes are.

pub mod length;
pub mod lines;

pub use length::{Decoder, Framing, LengthError, Prefix};
pub use lines::Splitter;
