//! The captures of a run, looked at before anything runs: are they there, and when do they begin?
//!
//! Invariant: reads a bounded piece of each file, and nothing of what can be read only once.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use hopline::feed::parse_line;
use hopline::io::{Driver, Fill, LineEvent, LineReader};

use crate::cli::Input;
use crate::exit::Failure;

/// Bytes of text that are searched for a first message; beyond them the file is its source's to
/// judge.
const PEEK_BYTES: usize = 1 << 20;

/// Bytes read at once.
const FILL_BYTES: usize = 64 << 10;

/// The recorded time that all captures start from, in nanoseconds since 1970, so that they stay
/// aligned: the smallest first time of all. `None` where no file shows one.
///
/// # Errors
/// A file that is missing, unreadable, a folder or empty.
pub(crate) fn epoch_ns(inputs: &[Input]) -> Result<Option<u64>, Failure> {
    let mut driver = Driver::real()?;
    let mut epoch_ns: Option<u64> = None;
    for input in inputs {
        let first_ns = first_time_ns(&mut driver, &input.file).map_err(|failure| Failure {
            what: format!("--input {}: {}", input.source, failure.what),
            ..failure
        })?;
        epoch_ns = [epoch_ns, first_ns].into_iter().flatten().min();
    }
    Ok(epoch_ns)
}

/// The first recorded time of a capture, if its head has one.
pub(crate) fn first_time_ns(driver: &mut Driver, file: &Path) -> Result<Option<u64>, Failure> {
    // A pipe blocks its loop in a read, and what is looked at here would be missing there.
    let is_pipe = |meta: std::fs::Metadata| !meta.is_file() && !meta.is_dir();
    if file.as_os_str() == "-" || std::fs::metadata(file).is_ok_and(is_pipe) {
        return Err(Failure::usage(
            format!("{} is no file that can be read ahead", file.display()),
            "write what it gives to a file first, and name that",
        ));
    }
    let mut lines = LineReader::open(driver, file, 0)?;
    let first = peek(driver, &mut lines, file);
    lines.close(driver)?;
    first
}

fn peek(driver: &mut Driver, lines: &mut LineReader, file: &Path) -> Result<Option<u64>, Failure> {
    let (mut read_bytes, mut seen) = (0, 0_u64);
    while read_bytes <= PEEK_BYTES && !lines.at_end() {
        match lines.next_line() {
            Some(LineEvent::Line(line)) => {
                if let Ok((at_ns, _)) = parse_line(line) {
                    return Ok(Some(at_ns));
                }
                seen += 1;
            }
            Some(LineEvent::Bad(_)) => seen += 1,
            None => {
                let filled = lines
                    .fill(driver, FILL_BYTES)
                    .map_err(|error| Failure::from(error.on(&file.display())))?;
                if let Fill::Progress { text_bytes } = filled {
                    // A file of nothing but gzip frames makes no text; it still must end.
                    read_bytes += text_bytes.max(1);
                }
            }
        }
    }
    if seen == 0 && lines.at_end() {
        return Err(Failure::io(
            format!("{} is empty", file.display()),
            "a capture has a line `<nanoseconds> <json>` for each message",
        ));
    }
    Ok(None)
}

/// Refuses a sink log that would overwrite what the run reads, or that blocks.
///
/// # Errors
/// The log is one of the inputs, lies in the case's folder under a name of the case, or is a pipe.
pub(crate) fn sink_log_is_apart(log: &Path, inputs: &[Input], case: &Path) -> Result<(), Failure> {
    let Ok(meta) = std::fs::metadata(log) else {
        return Ok(());
    };
    if meta.file_type().is_fifo() {
        let what = format!("--sink-log {}: it is a pipe", log.display());
        return Err(Failure::usage(what, "name a file"));
    }
    let same = |path: &Path| {
        std::fs::metadata(path)
            .is_ok_and(|other| (other.dev(), other.ino()) == (meta.dev(), meta.ino()))
    };
    let of_case = ["line.toml", "load.toml", "budget.toml"].map(|name| case.join(name));
    let inputs = inputs.iter().map(|input| input.file.as_path());
    let read = inputs
        .chain(of_case.iter().map(PathBuf::as_path))
        .find(|path| same(path));
    match read {
        None => Ok(()),
        Some(path) => Err(Failure::usage(
            format!(
                "--sink-log {} would overwrite {}, which this run reads",
                log.display(),
                path.display()
            ),
            "give the log a name of its own",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn input(file: &Path) -> Input {
        Input {
            source: "btc".to_owned(),
            file: file.to_owned(),
        }
    }

    #[test]
    fn captures_share_the_smallest_first_time() {
        let folder = tempfile::tempdir().unwrap();
        let (early, late) = (folder.path().join("early"), folder.path().join("late"));
        std::fs::write(&early, "rubbish\n1000 {}\n5 {}\n").unwrap();
        std::fs::write(&late, "2000 {}\n").unwrap();
        let inputs = [input(&late), input(&early)];
        assert_eq!(epoch_ns(&inputs), Ok(Some(1000)));
        assert_eq!(epoch_ns(&[]), Ok(None));
    }

    #[test]
    fn a_file_without_any_message_has_no_time_and_an_empty_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (rubbish, empty) = (folder.path().join("rubbish"), folder.path().join("empty"));
        std::fs::write(&rubbish, "rubbish\n").unwrap();
        std::fs::write(&empty, "").unwrap();
        assert_eq!(epoch_ns(&[input(&rubbish)]), Ok(None));
        let failure = epoch_ns(&[input(&empty)]).unwrap_err();
        assert_eq!(failure.exit, Exit::Io);
        assert!(failure.what.starts_with("--input btc: "), "{failure}");
        assert!(failure.what.ends_with("empty is empty"), "{failure}");
    }

    #[test]
    fn a_missing_file_and_a_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for (file, words) in [
            (folder.path().join("none"), "no such file"),
            (folder.path().to_owned(), "folder"),
        ] {
            let failure = epoch_ns(&[input(&file)]).unwrap_err();
            assert_eq!(failure.exit, Exit::Io);
            assert!(failure.what.contains(words), "{failure}");
        }
    }
}
