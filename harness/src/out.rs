//! Words to the terminal, without the panics of `println!` when nobody reads any more.
//!
//! Invariant: a reader that went away is an error to return on standard output, and nothing at all
//! on standard error, where there is nobody left to tell.

use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::exit::Failure;

/// Writes `text` to standard output, all of it.
///
/// # Errors
/// The reader is gone, or the device is full.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| match error.kind() {
            ErrorKind::BrokenPipe => Failure::io(
                "the reader of standard output is gone: the result could not be printed",
                "",
            ),
            _ => Failure::io(
                format!("cannot write to standard output: {error}"),
                "the result could not be printed",
            ),
        })
}

/// Writes a line to standard error.
pub(crate) fn say(line: impl std::fmt::Display) {
    // Nobody is left to tell that this failed.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Writes `text` to standard error as it is, for a line that is written over.
pub(crate) fn show(text: &str) {
    let mut err = io::stderr().lock();
    // Nobody is left to tell that this failed.
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Whether standard output is a terminal that understands cursor movement.
pub(crate) fn is_terminal() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !dumb
}

/// Whether to use colour: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub(crate) fn has_colour() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    is_terminal() && !refused
}

/// Columns to print for: the terminal's, else `COLUMNS`, else 100.
pub(crate) fn columns() -> usize {
    const WITHOUT_TERMINAL: usize = 100;
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    let seen = || {
        crossterm::terminal::size()
            .ok()
            .map(|(columns, _)| usize::from(columns))
    };
    let columns = if is_terminal() { seen() } else { told() };
    columns
        .filter(|columns| *columns > 0)
        .unwrap_or(WITHOUT_TERMINAL)
}
