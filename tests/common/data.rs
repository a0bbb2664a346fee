//! Where captured input lies, for tests that read it.
//!
//! Invariant: only the variable `HOPLINE_DATA` is asked; no test looks beside the project by itself.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// The folder of captured data, or `None` with a line that says that `test` is skipped.
///
/// The test harness of cargo hides the output of a test that passes, so the line also goes to the
/// file that `HOPLINE_SKIP_LOG` names, if it is set: `.ci/test` counts the lines.
///
/// # Panics
/// If `HOPLINE_DATA` is set but is no folder: a wrong path must not look like a skip.
pub(crate) fn data_dir(test: &str) -> Option<PathBuf> {
    let Some(given) = env::var_os("HOPLINE_DATA") else {
        skipped(test, "HOPLINE_DATA is not set");
        return None;
    };
    let folder = PathBuf::from(given);
    assert!(
        folder.is_dir(),
        "HOPLINE_DATA is no folder: {}",
        folder.display()
    );
    Some(folder)
}

/// Says that `test` is skipped, and why.
pub(crate) fn skipped(test: &str, why: &str) {
    let line = format!("skipped: {test} ({why})\n");
    print!("{line}");
    if let Some(log) = env::var_os("HOPLINE_SKIP_LOG") {
        // One write of one short line: appends of parallel tests do not mix.
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("HOPLINE_SKIP_LOG can be appended to");
    }
}
