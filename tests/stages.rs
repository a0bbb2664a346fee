//! The market line's stages: the book beside its oracles, the line from messages to orders, and
//! what a planted fault looks like in the report.

#[path = "stages/book.rs"]
mod book;
#[path = "stages/capture.rs"]
mod capture;
mod common;
#[path = "stages/join.rs"]
mod join;
#[path = "stages/line.rs"]
mod line;
#[path = "stages/tape.rs"]
mod tape;
