//! `hopline report`: one report rendered again, or two side by side.
//!
//! Invariant: it judges nothing. A report that failed is rendered with exit code 0, since the rendering went well.

use std::path::{Path, PathBuf};

use super::compare::Comparison;
use super::json::{self, ReadError};
use super::{measured, terminal, write_all, write_comparison};
use crate::exit::{Exit, Failure};
use crate::out;
use crate::view::text::Paint;

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        let (what, help) = (error.to_string(), error.hint());
        match error {
            ReadError::File { .. } => Failure::io(what, help),
            _ => Failure::usage(what, help),
        }
    }
}

/// Reads the report, and the second one if there is one; prints, and writes what is to be written into `dir`.
pub(crate) fn run(
    first: &Path,
    second: Option<&Path>,
    dir: Option<&Path>,
) -> Result<Exit, Failure> {
    let (width, paint) = (out::columns(), Paint(out::has_colour()));
    let report = json::read(first)?;
    let (lines, files) = match second {
        None => {
            let files = dir.map(|dir| write_all(&report, dir)).transpose()?;
            let lines = if measured::is_unjudged(&report) {
                measured::lines(&report, width, paint)
            } else {
                terminal::lines(&report, width, paint)
            };
            (lines, files)
        }
        Some(second) => {
            let other = json::read(second)?;
            let names = [first, second].map(|path| path.display().to_string());
            let comparison = Comparison::new([&report, &other], names);
            let files = dir
                .map(|dir| write_comparison(&comparison, dir))
                .transpose()?;
            (comparison.lines(width, paint), files)
        }
    };
    out::print(&(lines.join("\n") + "\n"))?;
    say_written(&files.unwrap_or_default());
    Ok(Exit::Good)
}

/// To standard error: standard output is the result.
fn say_written(files: &[PathBuf]) {
    for file in files {
        out::say(format_args!("wrote {}", file.display()));
    }
}
