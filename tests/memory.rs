//! What is asked of the memory, in a process of its own: it concerns all that the process has.

#![cfg(target_os = "linux")]

use hopline::host::memory::{Granted, arrange};
use hopline::host::{MemoryWish, Wish, resident_bytes};

#[test]
fn what_is_asked_to_be_touched_is_in_memory_and_what_is_locked_stays_so() {
    let memory = core::hint::black_box(vec![0_u8; 64 << 20]);
    let before = resident_bytes().unwrap();
    let mut wish = MemoryWish {
        prefault: Wish::Require,
        ..MemoryWish::default()
    };
    let report = arrange(wish, &[]).unwrap();
    assert!(report.prefault.granted && report.prefault.note.is_none());
    let grown = resident_bytes().unwrap() - before;
    assert!(
        grown >= 48 << 20 && report.prefault.bytes >= 48 << 20,
        "{grown}"
    );
    assert!(memory.iter().all(|byte| *byte == 0), "touched, not changed");
    assert_eq!(report.lock, Granted::default(), "not asked, not done");

    let locked = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        let kib: u64 = line
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        kib << 10
    };
    assert_eq!(locked(), 0);
    wish.lock = Wish::Prefer;
    let lock = arrange(wish, &[]).unwrap().lock;
    // A user who may not is told why; one who may has it.
    match lock.note {
        Some(why) => assert!(
            !lock.granted && locked() == 0 && why.contains("lock"),
            "{why}"
        ),
        None => assert!(locked() >= 64 << 20 && lock.bytes >= 64 << 20, "{lock:?}"),
    }
}
