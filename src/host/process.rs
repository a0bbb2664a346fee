//! This process: its memory and its age.
//!
//! Source: `proc(5)`, `getauxval(3)`.
//!
//! Invariant: control path; each call reads files.

use std::path::Path;

use crate::host::tree::Tree;

/// Keys of the auxiliary vector.
const AT_PAGESZ: usize = 6;
const AT_CLKTCK: usize = 17;

/// Resident memory of this process in bytes; `None` where it cannot be read.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let tree = Tree::new(Path::new("/"));
    let statm = tree.text("proc/self/statm")?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_bytes(&tree)?)
}

/// Nanoseconds since this process was started, to the kernel's 10 ms; `None` where it cannot be read.
///
/// It covers what lies before `main`, so it bounds the time from the start to the first frame.
#[must_use]
pub fn age_ns() -> Option<u64> {
    age_from(&Tree::new(Path::new("/")))
}

fn age_from(tree: &Tree) -> Option<u64> {
    let stat = tree.text("proc/self/stat")?;
    // The name may contain spaces and brackets; the fields after it begin with the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let start: u64 = fields.split_whitespace().nth(22 - 3)?.parse().ok()?;
    let hertz = clock_ticks_per_s(tree)?;
    let uptime = tree.text("proc/uptime")?;
    let uptime_s: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    Some(((uptime_s - start as f64 / hertz as f64).max(0.0) * 1e9) as u64)
}

/// In how many parts of a second the kernel tells times to programs.
pub(crate) fn clock_ticks_per_s(tree: &Tree) -> Option<u64> {
    auxiliary(tree, AT_CLKTCK).filter(|hertz| *hertz > 0)
}

/// Bytes of a page.
pub(crate) fn page_bytes(tree: &Tree) -> Option<u64> {
    auxiliary(tree, AT_PAGESZ)
}

/// A value that the kernel told this process at its start: pairs of machine words, key and value.
fn auxiliary(tree: &Tree, key: usize) -> Option<u64> {
    const WORD: usize = size_of::<usize>();
    let bytes = tree.bytes("proc/self/auxv")?;
    let words: Vec<usize> = bytes
        .as_chunks::<WORD>()
        .0
        .iter()
        .map(|word| usize::from_ne_bytes(*word))
        .collect();
    let pair = words
        .as_chunks::<2>()
        .0
        .iter()
        .find(|pair| pair[0] == key)?;
    Some(pair[1] as u64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_what_is_touched() {
        let before = resident_bytes().unwrap();
        assert!(before > 100_000, "{before}");
        let touched = vec![1_u8; 64 << 20];
        let after = resident_bytes().unwrap();
        assert!(after > before + (32 << 20), "{before} {after}");
        drop(core::hint::black_box(touched));
    }

    #[test]
    fn age_is_read_past_an_odd_name() {
        let age = age_ns().unwrap();
        assert!(age < 3_600_000_000_000, "{age}");
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/self")).unwrap();
        let fields: Vec<String> = (4..=21).map(|field| field.to_string()).collect();
        let stat = format!("1 (a) b (c) R {} 250 0", fields.join(" "));
        let auxv = [AT_CLKTCK, 100].map(usize::to_ne_bytes).concat();
        for (file, content) in [
            ("proc/self/stat", stat.into_bytes()),
            ("proc/self/auxv", auxv),
            ("proc/uptime", b"4.00 1.00".to_vec()),
        ] {
            std::fs::write(dir.path().join(file), content).unwrap();
        }
        assert_eq!(age_from(&Tree::new(dir.path())), Some(1_500_000_000));
    }
}
