//! What the kernel has counted of a process, this or another, and of a thread, read from outside of that thread.
//!
//! Source: `proc(5)`; Linux `Documentation/scheduler/sched-stats.rst` (`schedstat` of a task), `kernel/sched/debug.c` (`sched`).
//!
//! Invariant: control path; each call reads files, and what cannot be read is `None`.

use std::path::{Path, PathBuf};

use crate::host::process::{age_ns, clock_ticks_per_s, page_bytes};
use crate::host::tree::Tree;

/// Most open files that are counted one by one; who has more has no use for the exact number.
const FILES_COUNTED_MAX: usize = 1 << 17;

/// The kernel's number of the calling thread.
#[must_use]
pub fn thread_id() -> u32 {
    rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}

/// What this process has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessUse {
    /// Processor time of all its threads, in nanoseconds, to the kernel's 10 ms.
    pub cpu_ns: Option<u64>,
    /// Bytes of memory that are resident.
    pub resident_bytes: Option<u64>,
    /// Resident bytes that belong to no file (`RssAnon`): what the allocator holds, stacks, and rings.
    pub heap_bytes: Option<u64>,
    /// Bytes of its address space.
    pub virtual_bytes: Option<u64>,
    /// Page faults that needed no disk.
    pub minor_faults: Option<u64>,
    /// Page faults that waited for a disk.
    pub major_faults: Option<u64>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Files and sockets that it has open.
    pub files: Option<u64>,
    /// How many it may have open.
    pub files_max: Option<u64>,
    /// Nanoseconds since its start.
    pub age_ns: Option<u64>,
}

impl ProcessUse {
    /// This process now.
    #[must_use]
    pub fn now() -> ProcessUse {
        let tree = Tree::new(Path::new("/"));
        ProcessUse {
            files: open_files(Path::new("/proc/self/fd")),
            age_ns: age_ns(),
            ..ProcessUse::read(&tree, Path::new("proc/self"))
        }
    }

    /// Another process now, of this user: all but its open files and its age. `None` if there is none of that number.
    #[must_use]
    pub fn of(process: u32) -> Option<ProcessUse> {
        let folder = PathBuf::from(format!("proc/{process}"));
        let used = ProcessUse::read(&Tree::new(Path::new("/")), &folder);
        used.cpu_ns.is_some().then_some(used)
    }

    fn read(tree: &Tree, process: &Path) -> ProcessUse {
        let stat = tree.text(process.join("stat"));
        let field = |number: usize| stat_field(stat.as_deref()?, number);
        let status = tree.text(process.join("status")).unwrap_or_default();
        let limits = tree.text(process.join("limits")).unwrap_or_default();
        let ticks = (field(14), field(15));
        let cpu_ns = |hertz: u64| Some((ticks.0? + ticks.1?).saturating_mul(1_000_000_000 / hertz));
        ProcessUse {
            cpu_ns: clock_ticks_per_s(tree).and_then(cpu_ns),
            resident_bytes: field(24).and_then(|pages| pages.checked_mul(page_bytes(tree)?)),
            heap_bytes: number_after(&status, "RssAnon:").and_then(|kib| kib.checked_mul(1024)),
            virtual_bytes: field(23),
            minor_faults: field(10),
            major_faults: field(12),
            threads: field(20),
            files: None,
            files_max: number_after(&limits, "Max open files"),
            age_ns: None,
        }
    }
}

/// What one thread of this process has used, and what the scheduler did with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskUse {
    /// Processor time, in nanoseconds.
    pub cpu_ns: Option<u64>,
    /// Nanoseconds for which it could have run and waited for a core: its time to dispatch, summed up.
    pub run_delay_ns: Option<u64>,
    /// How often it was given a core.
    pub timeslices: Option<u64>,
    /// Times that it gave its core up by itself.
    pub voluntary: Option<u64>,
    /// Times that its core was taken from it.
    pub involuntary: Option<u64>,
    /// Times that it moved to another core; only kernels that show `sched` tell.
    pub migrations: Option<u64>,
    /// The core that it ran on last.
    pub core: Option<u64>,
}

impl TaskUse {
    /// The thread of that number now; `None` if there is none any more.
    #[must_use]
    pub fn of(thread: u32) -> Option<TaskUse> {
        let task = PathBuf::from(format!("proc/self/task/{thread}"));
        TaskUse::read(&Tree::new(Path::new("/")), &task)
    }

    fn read(tree: &Tree, task: &Path) -> Option<TaskUse> {
        let stat = tree.text(task.join("stat"))?;
        let schedstat = tree.text(task.join("schedstat")).unwrap_or_default();
        let status = tree.text(task.join("status")).unwrap_or_default();
        let sched = tree.text(task.join("sched")).unwrap_or_default();
        let of_schedstat = |at: usize| schedstat.split_whitespace().nth(at)?.parse().ok();
        Some(TaskUse {
            cpu_ns: of_schedstat(0),
            run_delay_ns: of_schedstat(1),
            timeslices: of_schedstat(2),
            voluntary: number_after(&status, "voluntary_ctxt_switches:"),
            involuntary: number_after(&status, "nonvoluntary_ctxt_switches:"),
            migrations: number_after(&sched, "se.nr_migrations"),
            core: stat_field(&stat, 39),
        })
    }
}

/// A field of a `stat` file by its number in `proc(5)`, from the third on: the second is a name that may hold anything.
fn stat_field(stat: &str, number: usize) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(number - 3)?.parse().ok()
}

/// The first number on the line that begins so.
fn number_after(text: &str, beginning: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(beginning))?;
    let digits = line.trim_start_matches([' ', '\t', ':']);
    let end = digits.find(|byte: char| !byte.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

/// The entries of that folder, without the one that reading it opens.
fn open_files(folder: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(folder).ok()?;
    let count = entries.take(FILES_COUNTED_MAX).count();
    Some(count.saturating_sub(1) as u64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_read_from_outside_until_it_is_gone() {
        let (tx, rx) = std::sync::mpsc::sync_channel(0);
        let (done_tx, done_rx) = std::sync::mpsc::sync_channel::<()>(0);
        let thread = std::thread::spawn(move || {
            tx.send(thread_id()).unwrap();
            // Gives its core up at least here.
            let _ = done_rx.recv();
        });
        let id = rx.recv().unwrap();
        assert_ne!(id, thread_id());
        let seen = TaskUse::of(id).expect("it lives");
        assert!(
            seen.cpu_ns.is_some() && seen.run_delay_ns.is_some() && seen.core.is_some(),
            "{seen:?}"
        );
        assert!(seen.voluntary.is_some() && seen.involuntary.is_some());
        drop(done_tx);
        thread.join().unwrap();
        assert_eq!(TaskUse::of(id), None);
    }

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let before = ProcessUse::now();
        let file = tempfile::tempfile().unwrap();
        let touched = vec![1_u8; 32 << 20];
        let after = ProcessUse::now();
        // By itself: what other tests give back meanwhile is no difference of this one's.
        assert!(after.heap_bytes.unwrap() >= 32 << 20, "{after:?}");
        assert!(after.resident_bytes.unwrap() >= after.heap_bytes.unwrap());
        assert!(after.virtual_bytes > after.resident_bytes && after.threads >= Some(1));
        assert!(after.minor_faults > before.minor_faults && after.major_faults.is_some());
        assert!(after.files >= Some(1) && after.files <= after.files_max);
        assert!(after.cpu_ns.is_some() && after.age_ns.is_some());
        drop((file, core::hint::black_box(touched)));
    }

    #[test]
    fn another_process_is_read_until_it_is_gone() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let seen = ProcessUse::of(child.id()).expect("it waits for its input");
        assert_eq!(seen.threads, Some(1), "{seen:?}");
        assert!(seen.resident_bytes.is_some() && seen.files_max.is_some());
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        assert_eq!(ProcessUse::of(child.id()), None);
    }

    #[test]
    fn files_are_read_past_odd_names_and_what_is_absent_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let task = Path::new("proc/self/task/7");
        std::fs::create_dir_all(dir.path().join(task)).unwrap();
        let fields: Vec<String> = (4..=45).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b (c) R {}", fields.join(" "));
        let sched = "x (7, #threads: 1)\nse.nr_migrations           :          12\n";
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\nRssAnon:\t  116 kB\n";
        for (file, text) in [
            ("stat", stat.as_str()),
            ("schedstat", "66906 49893 2\n"),
            ("sched", sched),
            ("status", status),
        ] {
            std::fs::write(dir.path().join(task).join(file), text).unwrap();
        }
        let tree = Tree::new(dir.path());
        let read = TaskUse::read(&tree, task).unwrap();
        let expected = TaskUse {
            cpu_ns: Some(66_906),
            run_delay_ns: Some(49_893),
            timeslices: Some(2),
            voluntary: Some(3),
            involuntary: Some(4),
            migrations: Some(12),
            core: Some(39),
        };
        assert_eq!(read, expected);
        assert_eq!(TaskUse::read(&tree, Path::new("proc/self/task/8")), None);
        let none = ProcessUse::read(&tree, Path::new("proc/self"));
        assert_eq!(none, ProcessUse::default());
        assert_eq!(number_after(status, "RssAnon:"), Some(116));
        assert_eq!(
            number_after("Max open files   unlimited", "Max open files"),
            None
        );
    }
}
