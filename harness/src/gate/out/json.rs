//! `gate.json`: written, and read back.
//!
//! Invariant: what was written can be read; what speaks another schema, is cut or is something else is refused with words.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::gate::model::{GateReport, SCHEMA};

/// Largest file that is read: a report of twelve runs over 64 hops has some 20 MiB.
pub const GATE_JSON_BYTES_MAX: u64 = 256 << 20;

/// Why a report cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is longer than [`GATE_JSON_BYTES_MAX`].
    #[error("{name} is larger than {GATE_JSON_BYTES_MAX} bytes: no gate writes that much")]
    TooLarge {
        /// Which file.
        name: String,
    },
    /// It ends before its time.
    #[error("{name} is cut: it ends in line {line}, in the middle of a value")]
    Cut {
        /// Which file.
        name: String,
        /// Its last line.
        line: usize,
    },
    /// It is of another version.
    #[error("{name} speaks schema {found} (hopline {version}); this program reads schema {SCHEMA}")]
    Schema {
        /// Which file.
        name: String,
        /// What it says.
        found: String,
        /// The program that wrote it.
        version: String,
    },
    /// It is something else.
    #[error("{name} is not a gate's report: {what}")]
    Foreign {
        /// Which file.
        name: String,
        /// What is wrong with it, with line and column.
        what: String,
    },
}

impl ReadError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            ReadError::File { .. } => {
                "name a gate.json, as `hopline gate CASE --out DIR` writes it"
            }
            ReadError::TooLarge { .. } | ReadError::Foreign { .. } => {
                "name a gate.json, not another file of its folder"
            }
            ReadError::Cut { .. } => {
                "it was copied in part, or its disk was full: run the gate again"
            }
            ReadError::Schema { .. } => {
                "read it with the version that wrote it, or run the gate again"
            }
        }
    }
}

/// Why a report cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("the report cannot be written as JSON that can be read back: {0}")]
pub struct JsonError(String);

/// The report as JSON, indented, with a line's end.
///
/// # Errors
/// A figure in it is no number (JSON has no word for infinity), so that nobody could read it back.
pub fn to_json(report: &GateReport) -> Result<String, JsonError> {
    let mut text =
        serde_json::to_string_pretty(report).map_err(|error| JsonError(error.to_string()))?;
    text.push('\n');
    match from_json("the report", &text) {
        Ok(_) => Ok(text),
        Err(error) => Err(JsonError(error.to_string())),
    }
}

/// Reads a report from the text of a `gate.json`; `name` is for errors.
///
/// # Errors
/// See [`ReadError`].
pub fn from_json(name: &str, text: &str) -> Result<GateReport, ReadError> {
    #[derive(Deserialize)]
    struct Probe {
        schema: Option<serde_json::Value>,
        version: Option<String>,
    }
    let refuse = |error: serde_json::Error| {
        if error.is_eof() {
            ReadError::Cut {
                name: name.to_owned(),
                line: error.line(),
            }
        } else {
            ReadError::Foreign {
                name: name.to_owned(),
                what: error.to_string(),
            }
        }
    };
    // The schema first: fields of another version would be refused for the wrong reason.
    let probe: Probe = serde_json::from_str(text).map_err(refuse)?;
    let Some(schema) = probe.schema else {
        return Err(ReadError::Foreign {
            name: name.to_owned(),
            what: "it has no field \"schema\"".to_owned(),
        });
    };
    if schema != SCHEMA {
        return Err(ReadError::Schema {
            name: name.to_owned(),
            found: schema.to_string(),
            version: probe.version.unwrap_or_else(|| "unknown".to_owned()),
        });
    }
    serde_json::from_str(text).map_err(refuse)
}

/// Reads the report in a file.
///
/// # Errors
/// See [`ReadError`].
pub fn read(path: &Path) -> Result<GateReport, ReadError> {
    let name = path.display().to_string();
    let file = |source| ReadError::File {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let open = File::open(path).map_err(file)?;
    open.take(GATE_JSON_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(file)?;
    if bytes.len() as u64 > GATE_JSON_BYTES_MAX {
        return Err(ReadError::TooLarge { name });
    }
    let text = std::str::from_utf8(&bytes).map_err(|error| ReadError::Foreign {
        name: name.clone(),
        what: error.to_string(),
    })?;
    from_json(&name, text)
}
