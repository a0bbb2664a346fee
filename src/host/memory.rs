//! What a line may ask of its memory: touched before the start, kept in memory, on huge pages.
//!
//! Without asking, rings and histograms are touched when they are made, since each of their words is
//! written then. What nobody has touched before the first frame are stacks below their first pages
//! and buffers that nodes allocate as zeros: their first use costs a page fault each.
//!
//! Huge pages do not make a hop faster (`docs/BENCHMARKING.md`): only rings of tens of MiB that are
//! really used to their depth gain from them. So rings are not aligned to huge pages; what of a ring
//! lies on whole ones is put on them. Tables that are touched at random and logs that are written straight on do gain, and
//! are laid on them without asking, as far as the system gives any ([`lay_on_huge_pages`]).
//!
//! Sources: `madvise(2)` (`MADV_POPULATE_WRITE` since Linux 5.14, `MADV_COLLAPSE` since 6.1),
//! `mlock(2)`, `capabilities(7)`.
//!
//! Invariant: control path, before the first frame. Nothing is claimed that the system did not grant.

#![cfg_attr(
    target_os = "linux",
    allow(unsafe_code, reason = "advice on memory has no safe form; fenced here")
)]

use core::fmt;
use core::ops::Range;
use core::str::FromStr;

use serde::Serialize;

use crate::base::units::UnitError;

/// Bytes of a huge page on x86-64, and on aarch64 with pages of 4 KiB. Elsewhere they are larger, and
/// the system refuses what does not fill one.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Largest mapping that is touched beforehand, in bytes: twice the deepest ring. What is larger is a
/// reservation of the program around the line, of which it may never use most.
pub const PREFAULT_MAPPING_BYTES_MAX: usize = 256 << 20;

/// What must be left of the limit on locked memory beside what is mapped already, in bytes: once
/// memory is locked the limit holds for whatever is mapped later, and that must not fail. Stacks and
/// heaps of a few threads.
pub const LOCK_MARGIN_BYTES: u64 = 256 << 20;

/// How serious a wish is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Wish {
    /// Without it the line does not start.
    Require,
    /// Without it the line runs, and the report says why.
    Prefer,
    /// Not tried.
    #[default]
    Off,
}

impl Wish {
    /// All of them, as configurations list them.
    pub const ALL: [Wish; 3] = [Wish::Off, Wish::Prefer, Wish::Require];

    /// The name as configurations write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Wish::Require => "require",
            Wish::Prefer => "prefer",
            Wish::Off => "off",
        }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Wish {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Wish, UnitError> {
        let wish = Wish::ALL
            .into_iter()
            .find(|wish| wish.name() == text.trim());
        wish.ok_or_else(|| UnitError {
            given: text.to_owned(),
            expected: "a wish: \"require\", \"prefer\" or \"off\"",
        })
    }
}

/// What a line asks of its memory; by default nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryWish {
    /// All memory of the process is touched before the first frame.
    pub prefault: Wish,
    /// All memory of the process stays in memory, now and later. Nothing takes that back.
    pub lock: Wish,
    /// Rings lie on huge pages, as far as they fill some.
    pub huge_pages: Wish,
}

/// What came of a wish.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Granted {
    /// How serious it was.
    pub asked: Wish,
    /// Whether it was granted in full.
    pub granted: bool,
    /// Bytes for which it was granted: mapped ones for a lock, those on huge pages, those that are in
    /// memory more than before.
    pub bytes: u64,
    /// Why not, or for how much not.
    pub note: Option<String>,
}

/// What came of a line's wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryReport {
    /// Of touching it beforehand.
    pub prefault: Granted,
    /// Of keeping it in memory.
    pub lock: Granted,
    /// Of huge pages.
    pub huge_pages: Granted,
}

impl MemoryReport {
    /// The wishes by their names in configurations.
    #[must_use]
    pub fn wishes(&self) -> [(&'static str, &Granted); 3] {
        [
            ("prefault", &self.prefault),
            ("lock", &self.lock),
            ("huge_pages", &self.huge_pages),
        ]
    }
}

/// A wish that was required and not granted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{wish} = \"require\" in [memory]: {why}")]
pub struct MemoryError {
    /// Its name in configurations.
    pub wish: &'static str,
    /// Why not.
    pub why: String,
}

/// Does what is asked, as far as the system grants it. `rings` are where the rings lie.
///
/// # Errors
/// The first wish that is required and not granted in full. What was granted before stays so.
pub fn arrange(wish: MemoryWish, rings: &[Range<usize>]) -> Result<MemoryReport, MemoryError> {
    // Huge pages first: collapsing touches what it moves. The lock last: it takes what is there.
    let huge_pages = settle("huge_pages", wish.huge_pages, || put_on_huge_pages(rings))?;
    let prefault = settle("prefault", wish.prefault, touch_all)?;
    let lock = settle("lock", wish.lock, lock_all)?;
    Ok(MemoryReport {
        prefault,
        lock,
        huge_pages,
    })
}

/// What can be said of the wishes before anything is allocated: those that the system would not grant,
/// in the words of the report. `ring_bytes` are those of the rings' slots, `more_bytes` what the line
/// maps until its memory is arranged.
///
/// A ring of more than one huge page and less than two may fill one or not, by where it comes to lie;
/// nothing is said of those.
#[must_use]
pub fn foresee(
    wish: MemoryWish,
    ring_bytes: &[usize],
    more_bytes: u64,
) -> Vec<(Wish, MemoryError)> {
    let mut refused = Vec::new();
    if wish.huge_pages != Wish::Off {
        let small = |bytes: &&usize| **bytes < HUGE_PAGE_BYTES;
        let small = ring_bytes.iter().filter(small).count();
        if let Some(why) = too_small(small, ring_bytes.len()) {
            let refusal = MemoryError {
                wish: "huge_pages",
                why,
            };
            refused.push((wish.huge_pages, refusal));
        }
    }
    if wish.lock != Wish::Off
        && let Err(why) = may_lock(more_bytes)
    {
        refused.push((wish.lock, MemoryError { wish: "lock", why }));
    }
    refused
}

/// What is said of rings that are too small for huge pages, before the start and after it.
fn too_small(small: usize, rings: usize) -> Option<String> {
    (small > 0).then(|| format!("{small} of {rings} rings fill no huge page of 2 MiB"))
}

/// Puts what lies in those spans of addresses on huge pages, as far as it fills some and the system gives them: how many
/// bytes came to lie so. For tables and logs of many MiB that are made before a run and touched all over in it: a guest walks
/// two page tables for each small page that it has forgotten, which costs more than the cache miss behind it
/// (`docs/BENCHMARKING.md`).
///
/// What is in the memory stays as it is. Control path: it copies what it moves.
///
/// ```
/// let table = vec![7_u64; 1 << 20];
/// let bytes = hopline::host::lay_on_huge_pages(&[hopline::base::addresses(&table)]);
/// assert!(bytes <= 8 << 20 && table.iter().all(|word| *word == 7));
/// ```
pub fn lay_on_huge_pages(spans: &[Range<usize>]) -> u64 {
    touch_spans(spans);
    put_on_huge_pages(spans).0
}

/// How much was granted, and what is missing of it.
type Came = (u64, Option<String>);

fn settle(
    name: &'static str,
    wish: Wish,
    ask: impl FnOnce() -> Came,
) -> Result<Granted, MemoryError> {
    if wish == Wish::Off {
        return Ok(Granted::default());
    }
    let (bytes, note) = ask();
    match note {
        Some(why) if wish == Wish::Require => Err(MemoryError { wish: name, why }),
        note => Ok(Granted {
            asked: wish,
            granted: note.is_none(),
            bytes,
            note,
        }),
    }
}

#[cfg(target_os = "linux")]
pub(crate) use linux::may_lock;
#[cfg(target_os = "linux")]
use linux::{lock_all, put_on_huge_pages, touch_all, touch_spans};

#[cfg(target_os = "linux")]
mod linux {
    use core::ops::Range;
    use std::io;
    use std::path::Path;

    use rustix::mm::{MlockAllFlags, mlockall};
    use rustix::process::{Resource, getrlimit};
    use rustix::thread::{CapabilitySet, capabilities};

    use super::{Came, HUGE_PAGE_BYTES, LOCK_MARGIN_BYTES, PREFAULT_MAPPING_BYTES_MAX, too_small};
    use crate::host::resident_bytes;
    use crate::host::tree::Tree;

    /// Puts pages of small size together into huge ones, now (`linux/mman.h`; libc has no name for it).
    const MADV_COLLAPSE: i32 = 25;

    /// Longest list of mappings that is read, in bytes: some tens of thousands of them.
    const MAPS_BYTES_MAX: u64 = 4 << 20;

    /// Advice that changes where or when pages lie in memory, never what is in them.
    #[derive(Clone, Copy)]
    enum Advice {
        Touch = libc::MADV_POPULATE_WRITE as isize,
        Collapse = MADV_COLLAPSE as isize,
    }

    fn advise(span: Range<usize>, advice: Advice) -> io::Result<()> {
        let start = core::ptr::without_provenance_mut(span.start);
        // SAFETY: neither advice changes what is in memory, and the call answers with an error where
        // nothing is mapped; so it is sound for any span, mapped by whomever.
        let status = unsafe { libc::madvise(start, span.len(), advice as i32) };
        match status {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The part of a span that is whole huge pages.
    fn whole_huge_pages(span: &Range<usize>) -> Range<usize> {
        let start = span.start.next_multiple_of(HUGE_PAGE_BYTES);
        let end = span.end / HUGE_PAGE_BYTES * HUGE_PAGE_BYTES;
        start..end.max(start)
    }

    pub(super) fn put_on_huge_pages(rings: &[Range<usize>]) -> Came {
        let (mut bytes, mut small, mut refused) = (0, 0, None);
        for whole in rings.iter().map(whole_huge_pages) {
            if whole.is_empty() {
                small += 1;
                continue;
            }
            match advise(whole.clone(), Advice::Collapse) {
                Ok(()) => bytes += whole.len() as u64,
                Err(error) => refused = Some(error),
            }
        }
        let note = match refused {
            Some(error) => Some(format!(
                "the system gave {} on huge pages and then none: {error}",
                size(bytes)
            )),
            None => too_small(small, rings.len()),
        };
        (bytes, note)
    }

    /// Whole pages that nobody has touched yet cannot be put together.
    pub(super) fn touch_spans(spans: &[Range<usize>]) {
        for whole in spans.iter().map(whole_huge_pages) {
            if !whole.is_empty() {
                // Refused, nothing is lost: the next call is then refused as well, and the pages stay small.
                let _ = advise(whole, Advice::Touch);
            }
        }
    }

    pub(super) fn touch_all() -> Came {
        let before = resident_bytes().unwrap_or(0);
        let tree = Tree::new(Path::new("/"));
        let Some(maps) = tree.text_up_to("proc/self/maps", MAPS_BYTES_MAX) else {
            return (0, Some("/proc/self/maps cannot be read".to_owned()));
        };
        let (mut large, mut refused) = (0, None);
        for span in maps.lines().filter_map(own_memory) {
            if span.len() > PREFAULT_MAPPING_BYTES_MAX {
                large += 1;
                continue;
            }
            if let Err(error) = advise(span, Advice::Touch) {
                refused = Some(error);
            }
        }
        let note = match refused {
            // A mapping may have gone since the list was read.
            Some(error) if error.raw_os_error() != Some(libc::ENOMEM) => {
                Some(format!("the system did not touch all of it: {error}"))
            }
            _ if large > 0 => Some(format!(
                "{large} mappings of more than {} were left alone",
                size(PREFAULT_MAPPING_BYTES_MAX as u64)
            )),
            _ => None,
        };
        let grown = resident_bytes().unwrap_or(0).saturating_sub(before);
        (grown, note)
    }

    /// The span of a mapping that is this process's own writable memory and no file: heaps, stacks.
    pub(super) fn own_memory(line: &str) -> Option<Range<usize>> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let is_private = words.next()? == "rw-p";
        // Offset, device and inode; what follows is a file's path, or a name such as [heap].
        let path = words.nth(3).unwrap_or("[");
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        (is_private && path.starts_with('[') && start < end).then_some(start..end)
    }

    /// Whether all memory may be locked, and so many bytes more; else why not.
    pub(crate) fn may_lock(more_bytes: u64) -> Result<(), String> {
        let free =
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
        let Some(limit) = getrlimit(Resource::Memlock).current.filter(|_| !free) else {
            return Ok(());
        };
        let mapped = status_bytes("VmSize:").unwrap_or(0);
        lock_fits(limit, mapped.saturating_add(more_bytes))
    }

    pub(super) fn lock_fits(limit: u64, mapped: u64) -> Result<(), String> {
        if mapped.saturating_add(LOCK_MARGIN_BYTES) <= limit {
            return Ok(());
        }
        Err(format!(
            "the limit on locked memory is {}; {} are mapped and {} more must be left: raise it with \
             `ulimit -l unlimited`, or LimitMEMLOCK= of the service",
            size(limit),
            size(mapped),
            size(LOCK_MARGIN_BYTES)
        ))
    }

    /// Bytes as people read them.
    fn size(bytes: u64) -> String {
        match bytes {
            0..0x10_0000 => format!("{} KiB", bytes >> 10),
            _ => format!("{} MiB", bytes >> 20),
        }
    }

    pub(super) fn lock_all() -> Came {
        if let Err(why) = may_lock(0) {
            return (0, Some(why));
        }
        // On fault: what is never touched takes no memory, such as the far ends of stacks.
        let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        match mlockall(all) {
            Ok(()) => (status_bytes("VmLck:").unwrap_or(0), None),
            Err(error) => (0, Some(format!("the system did not lock it: {error}"))),
        }
    }

    /// A field of `/proc/self/status` that is given in kB.
    pub(super) fn status_bytes(name: &str) -> Option<u64> {
        let status = Tree::new(Path::new("/")).text("proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kib << 10)
    }
}

/// What is granted where nothing of it is known.
#[cfg(not(target_os = "linux"))]
const UNKNOWN: &str = "only Linux is asked";

#[cfg(not(target_os = "linux"))]
pub(crate) fn may_lock(_: u64) -> Result<(), String> {
    Err(UNKNOWN.to_owned())
}

#[cfg(not(target_os = "linux"))]
fn lock_all() -> Came {
    (0, Some(UNKNOWN.to_owned()))
}

#[cfg(not(target_os = "linux"))]
fn touch_all() -> Came {
    (0, Some(UNKNOWN.to_owned()))
}

#[cfg(not(target_os = "linux"))]
fn touch_spans(_spans: &[Range<usize>]) {}

#[cfg(not(target_os = "linux"))]
fn put_on_huge_pages(_rings: &[Range<usize>]) -> Came {
    (0, Some(UNKNOWN.to_owned()))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::linux::{lock_fits, own_memory, status_bytes};
    use super::*;

    /// Zeros that nobody has touched.
    fn untouched(bytes: usize) -> Vec<u8> {
        core::hint::black_box(vec![0; bytes])
    }

    fn span(memory: &[u8]) -> Range<usize> {
        let start = memory.as_ptr().addr();
        start..start + memory.len()
    }

    /// Bytes on huge pages of the mapping that holds `span`.
    fn huge_bytes(span: &Range<usize>) -> u64 {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in smaps.lines() {
            if let Some(mapped) = own_memory(line) {
                inside = mapped.start <= span.start && span.end <= mapped.end;
            } else if let Some(rest) = line.strip_prefix("AnonHugePages:").filter(|_| inside) {
                let kib: u64 = rest.split_whitespace().next().unwrap().parse().unwrap();
                return kib << 10;
            }
        }
        panic!("the mapping of {span:x?} is not listed");
    }

    #[test]
    fn huge_pages_are_where_they_are_said_to_be_and_change_nothing() {
        let mut memory = untouched(16 << 20);
        for (at, byte) in memory.iter_mut().enumerate() {
            *byte = (at % 251) as u8;
        }
        let (ring, small) = (span(&memory), span(&memory[..4096]));
        let wish = |huge_pages| MemoryWish {
            huge_pages,
            ..MemoryWish::default()
        };
        let report = arrange(wish(Wish::Prefer), &[ring.clone(), small.clone()]).unwrap();
        let granted = report.huge_pages;
        // A system that grants none says why; one that says that it did, did.
        if granted.bytes > 0 {
            assert!(huge_bytes(&ring) >= granted.bytes, "{granted:?}");
            assert!(
                (12 << 20..=16 << 20).contains(&granted.bytes),
                "{granted:?}"
            );
        }
        assert!(!granted.granted && granted.note.is_some(), "{granted:?}");
        let error = arrange(wish(Wish::Require), &[small]).unwrap_err();
        assert!(error.to_string().contains("1 of 1 rings"), "{error}");
        let intact = |(at, byte): (usize, &u8)| *byte == (at % 251) as u8;
        assert!(memory.iter().enumerate().all(intact));
    }

    #[test]
    fn what_nobody_has_touched_comes_to_lie_on_huge_pages_too() {
        let memory = untouched(16 << 20);
        let (table, small) = (span(&memory), span(&memory[..4096]));
        let bytes = lay_on_huge_pages(&[table.clone(), small]);
        let system = crate::host::Host::read().huge_pages;
        if system.as_deref() == Some("never") {
            assert_eq!(bytes, 0);
        }
        assert!(bytes <= 16 << 20 && huge_bytes(&table) >= bytes, "{bytes}");
        assert!(memory.iter().all(|byte| *byte == 0));
        if bytes == 0 {
            // A system whose memory is in pieces has none to give. One that gives to what was touched gives to this as well.
            let touched = vec![1_u8; 16 << 20];
            let to_touched = lay_on_huge_pages(&[span(&touched)]);
            let again = untouched(16 << 20);
            assert!(to_touched < 12 << 20 || lay_on_huge_pages(&[span(&again)]) > 0);
        }
    }

    #[test]
    fn a_span_that_is_not_mapped_is_an_error_and_nothing_else() {
        let nowhere = 2 * HUGE_PAGE_BYTES..4 * HUGE_PAGE_BYTES;
        let wish = MemoryWish {
            huge_pages: Wish::Require,
            ..MemoryWish::default()
        };
        assert_eq!(arrange(wish, &[nowhere]).unwrap_err().wish, "huge_pages");
    }

    #[test]
    fn a_limit_that_leaves_too_little_is_named_with_what_is_needed() {
        assert_eq!(lock_fits(300 << 20, 44 << 20), Ok(()));
        assert_eq!(lock_fits(u64::MAX, 1 << 40), Ok(()));
        let why = lock_fits(64 << 10, 45 << 20).unwrap_err();
        for words in ["64 KiB", "45 MiB", "256 MiB", "ulimit -l"] {
            assert!(why.contains(words), "{why}");
        }
        assert!(lock_fits(300 << 20, u64::MAX).is_err());
    }

    #[test]
    fn mappings_are_told_apart() {
        let heap = "55d0-55f0 rw-p 00000000 00:00 0      [heap]";
        assert_eq!(own_memory(heap), Some(0x55d0..0x55f0));
        assert_eq!(
            own_memory("1000-2000 rw-p 00000000 00:00 0 "),
            Some(0x1000..0x2000)
        );
        for other in [
            "1000-2000 r--p 00000000 00:00 0 ",
            "1000-2000 rw-s 00000000 00:00 0 ",
            "1000-2000 rw-p 00000000 08:01 77   /usr/lib/x.so",
            "",
            "Size: 4 kB",
            "x-y rw-p 0 0 0",
        ] {
            assert_eq!(own_memory(other), None, "{other}");
        }
    }

    #[test]
    fn names_go_both_ways() {
        for wish in Wish::ALL {
            assert_eq!(wish.to_string().parse(), Ok(wish));
        }
        assert!("maybe".parse::<Wish>().is_err());
        assert!(status_bytes("VmSize:").unwrap() > 1 << 20);
        assert_eq!(status_bytes("NoSuchField:"), None);
    }
}
