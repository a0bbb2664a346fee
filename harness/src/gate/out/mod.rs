//! Everything that is made from a [`GateReport`]: files for machines, pages for people.
//!
//! | file | for |
//! |---|---|
//! | `gate.json` | the report itself; all else is made from it |
//! | `report.html` | people: one page, no script, no request |
//! | `junit.xml` | CI's list of tests |
//! | `annotations.txt` | GitHub: print it in a step |
//! | `summary.md` | the step's summary |
//! | `head.hlog`, `base.hlog` | HdrHistogram's tools |
//! | `trend.jsonl` | the history: kept from night to night, each gate adds a line |
//! | `trend.csv`, `otava.yaml` | Apache Otava: the history of this case on this host |
//!
//! A report that is partial says so in every file, and adds no line to the history; nor does a search for a capacity. A gate
//! begins its folder with such a report ([`begin`]), so that one which is killed leaves nothing that looks finished.
//!
//! Invariant: an output is a pure function of reports; only [`write_all`] and [`write_comparison`] touch the disk, and what
//! stands under a file's name is whole.

pub mod annotations;
mod command;
pub mod compare;
pub mod histogram;
pub mod hlog;
pub mod json;
pub mod junit;
pub mod markdown;
pub(crate) mod measured;
pub mod page;
mod phrase;
pub(crate) mod terminal;
pub mod trend;

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

pub(crate) use command::run;
pub(crate) use phrase::{advice as advice_of, place as place_of, worst_of};
pub(crate) use terminal::word as word_cell;

use self::compare::Comparison;
use self::hlog::HlogError;
use self::json::JsonError;
use self::trend::{Entry, HistoryError};
use crate::exit::{Exit, Failure};
use crate::gate::model::GateReport;

/// The report itself.
pub const GATE_JSON: &str = "gate.json";

/// The page.
pub const REPORT_HTML: &str = "report.html";

/// The history.
pub const TREND_JSONL: &str = "trend.jsonl";

/// The table for Otava.
pub const TREND_CSV: &str = "trend.csv";

/// The histogram log of base.
pub const BASE_HLOG: &str = "base.hlog";

/// The page of two reports.
pub const COMPARE_HTML: &str = "compare.html";

/// For everybody to read, as far as the user's mask allows: artefacts are collected by others.
const FILE_MODE: u32 = 0o666;

/// Why outputs were not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutError {
    /// The folder is not there and cannot be made.
    #[error("cannot make the folder {}: {}", path.display(), cause(source))]
    Folder {
        /// Which folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be written. What stood under its name before stands there still.
    #[error("cannot write {}: {}; {written} of {all} files were written", path.display(), cause(source))]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
        /// Files that were written before it.
        written: usize,
        /// Files that there should be.
        all: usize,
    },
    /// What an earlier gate left cannot be removed.
    #[error("cannot remove {}, which an earlier gate left: {}", path.display(), cause(source))]
    Stale {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The history cannot be read from the disk.
    #[error("cannot read {}: {source}", path.display())]
    History {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The history holds something else.
    #[error("{}: {source}", path.display())]
    Trend {
        /// Which file.
        path: PathBuf,
        /// Which line.
        source: HistoryError,
    },
    /// A histogram in the report cannot be read.
    #[error(transparent)]
    Histogram(#[from] HlogError),
    /// The report cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// What a person calls an error of the system.
fn cause(error: &io::Error) -> String {
    let words = match error.kind() {
        ErrorKind::StorageFull => "the disk is full",
        ErrorKind::QuotaExceeded => "the disk quota is used up",
        ErrorKind::ReadOnlyFilesystem => "the disk is read-only",
        ErrorKind::PermissionDenied => "permission denied",
        ErrorKind::NotADirectory => "a part of its path is a file",
        ErrorKind::IsADirectory | ErrorKind::DirectoryNotEmpty => "a folder has that name",
        _ => return error.to_string(),
    };
    words.to_owned()
}

impl From<OutError> for Failure {
    fn from(error: OutError) -> Failure {
        let what = error.to_string();
        match error {
            OutError::Folder { .. }
            | OutError::File { .. }
            | OutError::Stale { .. }
            | OutError::History { .. } => Failure::io(
                what,
                "name a folder with room that can be written, with --out",
            ),
            OutError::Trend { .. } => Failure::usage(
                what,
                "mend or move the file: the history is never written over",
            ),
            OutError::Histogram(_) => {
                Failure::usage(what, "gate.json is damaged: run the gate again")
            }
            OutError::Json(_) => Failure {
                exit: Exit::Defect,
                what,
                help: String::new(),
            },
        }
    }
}

/// Writes all outputs of a report into a folder, which is made if need be. All files are written under names of their own, and
/// renamed when the last of them is on the disk, so that what stands under its name is whole at any time and a disk that fills up
/// leaves what was there. A report that is partial is written `gate.json`
/// first and a whole one `gate.json` last, so that nothing looks finished that is not. Gives the files in that order.
///
/// # Errors
/// See [`OutError`]: everything is made before anything is written, so most errors leave the folder as it was.
pub fn write_all(report: &GateReport, dir: &Path) -> Result<Vec<PathBuf>, OutError> {
    let whole = (GATE_JSON, json::to_json(report)?);
    let mut files: Vec<(&str, String)> = vec![
        (REPORT_HTML, page::page(report)),
        ("junit.xml", junit::junit(report)),
        ("annotations.txt", annotations::annotations(report)),
        ("summary.md", markdown::step_summary(report)),
        ("head.hlog", hlog::hlog(report, &report.runs)?),
    ];
    if !report.base_runs.is_empty() {
        files.push((BASE_HLOG, hlog::hlog(report, &report.base_runs)?));
    }
    if let Some(entry) = Entry::of(report) {
        let history = trend::with(history(&dir.join(TREND_JSONL))?, entry.clone());
        files.push((TREND_JSONL, trend::lines(&history)));
        files.push((TREND_CSV, trend::csv(&history, &entry)));
        files.push(("otava.yaml", trend::otava_yaml(&history, &entry, TREND_CSV)));
    }
    files.insert(if report.partial { 0 } else { files.len() }, whole);
    let written = write(dir, &files)?;
    if report.base_runs.is_empty() {
        // That of an earlier gate would be taken for this one's.
        let path = dir.join(BASE_HLOG);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(OutError::Stale { path, source });
            }
            _ => {}
        }
    }
    Ok(written)
}

/// Begins a folder for a gate that has not ended: all that an earlier one left in it is replaced by `report`, which is partial
/// and has no figures yet. A gate that is killed leaves that, and a folder that cannot be written is found before anything
/// is measured.
///
/// # Errors
/// See [`OutError`]; a history that cannot be continued is one of them.
pub fn begin(report: &GateReport, dir: &Path) -> Result<(), OutError> {
    history(&dir.join(TREND_JSONL))?;
    write_all(report, dir).map(drop)
}

/// Writes the page of two reports into a folder, which is made if need be.
///
/// # Errors
/// The folder or the file cannot be written.
pub fn write_comparison(comparison: &Comparison<'_>, dir: &Path) -> Result<Vec<PathBuf>, OutError> {
    write(dir, &[(COMPARE_HTML, page::comparison(comparison))])
}

/// What the history holds; a file that is not there is an empty one.
fn history(path: &Path) -> Result<Vec<Entry>, OutError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(source) => {
            let path = path.to_owned();
            // The folder itself is at fault, and is named when it is to be made.
            return if source.kind() == ErrorKind::NotADirectory {
                Ok(Vec::new())
            } else {
                Err(OutError::History { path, source })
            };
        }
    };
    trend::parse(&text).map_err(|source| OutError::Trend {
        path: path.to_owned(),
        source,
    })
}

fn write(dir: &Path, files: &[(&str, String)]) -> Result<Vec<PathBuf>, OutError> {
    fs::create_dir_all(dir).map_err(|source| OutError::Folder {
        path: dir.to_owned(),
        source,
    })?;
    let failed = |path: &Path, written: usize, source: io::Error| OutError::File {
        path: path.to_owned(),
        source,
        written,
        all: files.len(),
    };
    // All are there under other names before any takes its own: a disk that fills up leaves what was.
    let mut parts = Vec::with_capacity(files.len());
    for (name, text) in files {
        let path = dir.join(name);
        let part = part(dir, text).map_err(|source| failed(&path, 0, source))?;
        parts.push((path, part));
    }
    let mut written = Vec::with_capacity(files.len());
    for (path, part) in parts {
        let kept = part.persist(&path).map_err(|error| error.error);
        kept.map_err(|source| failed(&path, written.len(), source))?;
        written.push(path);
    }
    Ok(written)
}

/// A file under a name of its own, whole and on the disk.
fn part(dir: &Path, text: &str) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(".part-")
        .permissions(fs::Permissions::from_mode(FILE_MODE))
        .tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    // Some disks say that they are full only when they are asked to keep what they took.
    file.as_file().sync_data()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_refuses_is_an_input_and_output_error_with_words() {
        for (kind, words) in [
            (ErrorKind::StorageFull, "the disk is full; 2 of 9 files"),
            (ErrorKind::QuotaExceeded, "quota"),
            (ErrorKind::ReadOnlyFilesystem, "read-only"),
            (ErrorKind::PermissionDenied, "permission"),
        ] {
            let failure = Failure::from(OutError::File {
                path: "out/gate.json".into(),
                source: kind.into(),
                written: 2,
                all: 9,
            });
            assert_eq!(failure.exit, Exit::Io);
            assert!(failure.what.contains(words), "{}", failure.what);
            assert!(failure.what.contains("out/gate.json"));
        }
    }
}
