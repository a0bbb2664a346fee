//! How the outside steers a running line, and how its loops speak back.
//!
//! Invariant: holds state that a late reader still sees; knows nobody who reads it.

mod latest;

pub use latest::{Epoch, Latest, Words};
