//! A file of a case as text: bounded, not empty, and UTF-8.
//!
//! Invariant: holds no file open; somebody else read it.

use std::sync::Arc;

use crate::base::limits::CONFIG_BYTES_MAX;
use crate::topology::{Place, Problem};

/// A file's text and the name that problems call it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    name: Arc<str>,
    text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl SourceText {
    /// A text that is at hand, such as one that is part of the program.
    #[must_use]
    pub fn new(name: &str, text: impl Into<String>) -> SourceText {
        let text = text.into();
        let behind = text.match_indices('\n').map(|(newline, _)| newline + 1);
        SourceText {
            name: name.into(),
            lines: core::iter::once(0).chain(behind).collect(),
            text,
        }
    }

    /// A file's bytes. Its reader need not read more than [`CONFIG_BYTES_MAX`] + 1 of them.
    ///
    /// ```
    /// use hopline::config::SourceText;
    /// assert!(SourceText::from_bytes("line.toml", b"[line]\n".to_vec()).is_ok());
    /// let problem = SourceText::from_bytes("line.toml", b"[line]\nname = \"\xff\"".to_vec());
    /// assert!(problem.unwrap_err().to_string().starts_with("line.toml:2:9: "));
    /// ```
    ///
    /// # Errors
    /// More than [`CONFIG_BYTES_MAX`] bytes, none at all, or no UTF-8.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<SourceText, Problem> {
        if bytes.len() > CONFIG_BYTES_MAX {
            let what = format!("the file is larger than {} KiB", CONFIG_BYTES_MAX >> 10);
            let help = "is it the right file? A case's files are a few kilobytes long";
            return Err(Problem::new(what, help).at(Some(&start_of(name))));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let bad = error.utf8_error().valid_up_to();
            let byte = error.as_bytes().get(bad).copied().unwrap_or_default();
            let valid = String::from_utf8_lossy(&error.as_bytes()[..bad]).into_owned();
            let what = format!("the byte 0x{byte:02x} is not UTF-8");
            let help = "save the file as UTF-8; TOML allows nothing else";
            let place = SourceText::new(name, valid).place(bad);
            Problem::new(what, help).at(Some(&place))
        })?;
        let source = SourceText::new(name, text);
        source.not_empty()?;
        Ok(source)
    }

    /// An empty file is what an interrupted write leaves behind, so it is not taken for a case
    /// that asks for nothing. Comments alone are fine.
    pub(super) fn not_empty(&self) -> Result<(), Problem> {
        if self.text.trim().is_empty() {
            let help = "write its tables, see docs/CONFIG.md; load.toml and budget.toml may also be absent";
            return Err(Problem::new("the file is empty", help).at(Some(&start_of(&self.name))));
        }
        Ok(())
    }

    /// The name that problems call it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The place of a byte; beyond the end it is the end.
    pub(super) fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let line = self.line(before.len());
        let on_line = &before[self.lines[line as usize - 1]..];
        Place {
            file: self.name.clone(),
            line,
            column: 1 + on_line.chars().count() as u32,
        }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, at: usize) -> u32 {
        self.lines.partition_point(|start| *start <= at) as u32
    }
}

fn start_of(name: &str) -> Place {
    Place {
        file: name.into(),
        line: 1,
        column: 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{CONFIG_BYTES_MAX, SourceText};

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let source = SourceText::new("line.toml", "a = 1\nµµ = \"x\"\n");
        let show = |at| source.place(at).to_string();
        assert_eq!(show(0), "line.toml:1:1");
        assert_eq!(show(source.text.find('x').unwrap()), "line.toml:2:7");
        // A place inside a character and one beyond the end are at the end.
        assert_eq!(show(7), "line.toml:3:1");
        assert_eq!(show(1_000), "line.toml:3:1");
    }

    #[test]
    fn what_is_no_text_is_refused_at_its_place() {
        let refused = |bytes: &[u8]| {
            let problem = SourceText::from_bytes("line.toml", bytes.to_vec());
            problem.unwrap_err().to_string()
        };
        assert_eq!(
            refused(b"[line]\nname = \"\xc3\xa9\xff\"\n"),
            "line.toml:2:10: the byte 0xff is not UTF-8\n  help: save the file as UTF-8; TOML allows nothing else"
        );
        assert!(refused(b"").starts_with("line.toml:1:1: the file is empty\n"));
        assert!(refused(b" \n\t\n").starts_with("line.toml:1:1: the file is empty\n"));
        let large = vec![b'#'; CONFIG_BYTES_MAX + 1];
        assert!(refused(&large).starts_with("line.toml:1:1: the file is larger than 1024 KiB\n"));
        let largest = vec![b'#'; CONFIG_BYTES_MAX];
        assert!(SourceText::from_bytes("line.toml", largest).is_ok());
    }
}
