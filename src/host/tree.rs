//! Reading `/proc` and `/sys`, or copies of them.
//!
//! Invariant: each file is read up to a bound, and a malformed one is as good as none.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes read of one file: enough for the first processor of `/proc/cpuinfo`, whose length
/// grows with the machine, and for a `/proc/self/status` of any size.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// How many core numbers are believed, from 0: Linux is built for at most 8192, and a malformed range
/// must not fill the memory.
const CORES_MAX: usize = 8192;

#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(crate) fn new(root: &Path) -> Tree {
        Tree {
            root: root.to_owned(),
        }
    }

    pub(crate) fn bytes(&self, path: impl AsRef<Path>) -> Option<Vec<u8>> {
        self.bytes_up_to(path, FILE_BYTES_MAX)
    }

    fn bytes_up_to(&self, path: impl AsRef<Path>, most: u64) -> Option<Vec<u8>> {
        let file = File::open(self.root.join(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// The first `most` bytes of a file that may be longer than others.
    pub(crate) fn text_up_to(&self, path: impl AsRef<Path>, most: u64) -> Option<String> {
        let bytes = self.bytes_up_to(path, most)?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The text of a file, without white space around it.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Option<String> {
        let bytes = self.bytes(path)?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The text of a file that has one.
    pub(crate) fn word(&self, path: impl AsRef<Path>) -> Option<String> {
        self.text(path).filter(|text| !text.is_empty())
    }

    /// A list of cores (or nodes) such as `0-3,7`; an empty file is an empty list.
    pub(crate) fn cores(&self, path: impl AsRef<Path>) -> Option<Vec<usize>> {
        parse_cores(&self.text(path)?)
    }
}

/// The numbers in a list such as `0-3,7` (Linux: `Documentation/admin-guide/cputopology.rst`),
/// sorted; `None` if it is malformed.
pub(crate) fn parse_cores(list: &str) -> Option<Vec<usize>> {
    let mut cores = Vec::new();
    for part in list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.parse().ok()?;
        let last: usize = last.parse().ok()?;
        if first > last || last >= CORES_MAX {
            return None;
        }
        cores.extend(first..=last);
        // Overlapping ranges must not add up either.
        if cores.len() > CORES_MAX {
            return None;
        }
    }
    cores.sort_unstable();
    cores.dedup();
    Some(cores)
}

/// A sorted list as people write it: `0-3,7`.
pub(crate) fn show_cores(cores: &[usize]) -> String {
    let runs = cores.chunk_by(|left, right| left + 1 == *right);
    let shown: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            _ => run.iter().map(usize::to_string).collect(),
        })
        .collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_both_ways() {
        for (text, cores) in [
            ("", vec![]),
            ("0", vec![0]),
            ("0-1", vec![0, 1]),
            ("1-3,7", vec![1, 2, 3, 7]),
            ("0,2,4-6", vec![0, 2, 4, 5, 6]),
        ] {
            assert_eq!(parse_cores(text), Some(cores.clone()), "{text}");
            assert_eq!(show_cores(&cores), text);
        }
        assert_eq!(parse_cores(" 3, 1-2\n"), Some(vec![1, 2, 3]));
        assert_eq!(parse_cores("2-3,1-2"), Some(vec![1, 2, 3]));
    }

    #[test]
    fn malformed_lists_are_none() {
        for text in [
            "x",
            "1-",
            "-1",
            "3-1",
            "0-4294967295",
            "8192",
            "1-2-3",
            "1 2",
        ] {
            assert_eq!(parse_cores(text), None, "{text}");
        }
    }
}
