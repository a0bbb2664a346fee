//! The recordings of a run, looked at before anything runs: are they there, what are they, and when do they begin?
//!
//! Invariant: reads a bounded piece of each file, and nothing of what can be read only once.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use hopline::adapter::Recorded;
use hopline::config::{Case, Input as Looked};
use hopline::io::Driver;

use crate::cli::Input;
use crate::exit::Failure;
use crate::replayed::Recording;

/// The inputs with what they are, and the recorded time that all of them start from, in nanoseconds since 1970, so that they stay
/// aligned: the smallest first time of all. `None` where no file shows one.
///
/// # Errors
/// A file that is missing, unreadable, a folder or empty.
pub(crate) fn look(case: &Case, inputs: &[Input]) -> Result<(Vec<Looked>, Option<u64>), Failure> {
    let mut driver = Driver::real()?;
    let (mut looked, mut epoch_ns) = (Vec::new(), None);
    for input in inputs {
        let of_input = |failure: Failure| Failure {
            what: format!("--input {}: {}", input.source, failure.what),
            ..failure
        };
        let recorded = look_at(&mut driver, &input.file).map_err(of_input)?;
        let source = case.sources().find(|source| source.name() == input.source);
        // What no source is for, or not for this one, is told with the case.
        let recording = source.and_then(|source| Recording::of(&recorded, &input.file, source));
        if let Some(recording) = recording {
            let first_ns = recording.first_ns(&mut driver);
            let first_ns = first_ns.map_err(|error| of_input(error.into()))?;
            epoch_ns = [epoch_ns, first_ns].into_iter().flatten().min();
        }
        looked.push(Looked {
            source: input.source.clone(),
            file: input.file.clone(),
            recorded,
        });
    }
    Ok((looked, epoch_ns))
}

/// What a file is a recording of.
fn look_at(driver: &mut Driver, file: &Path) -> Result<Recorded, Failure> {
    // A pipe blocks its loop in a read, and what is looked at here would be missing there.
    let is_pipe = |meta: std::fs::Metadata| !meta.is_file() && !meta.is_dir();
    if file.as_os_str() == "-" || std::fs::metadata(file).is_ok_and(is_pipe) {
        return Err(Failure::usage(
            format!("{} is no file that can be read ahead", file.display()),
            "write what it gives to a file first, and name that",
        ));
    }
    Recorded::look(driver, file)?.ok_or_else(|| {
        Failure::io(
            format!("{} is empty", file.display()),
            "an input is a file of lines `<nanoseconds> <message>`, a capture of a hop, or packets (pcap, pcapng)",
        )
    })
}

/// That what senders send or an exchange serves is text: `how` is the way it comes.
///
/// # Errors
/// The first input that is none.
pub(crate) fn only_text(inputs: &[Looked], how: &str) -> Result<(), Failure> {
    let has = match inputs.iter().find(|input| input.recorded != Recorded::Text) {
        None => return Ok(()),
        Some(input) => input,
    };
    let (what, instead) = match has.recorded {
        Recorded::Packets => ("packets", "tcpreplay sends packets: run with --live then"),
        _ => ("frames of a hop", "record the messages as lines of text"),
    };
    Err(Failure::usage(
        format!(
            "--input {}: {} has {what}, and what comes {how} is lines of text",
            has.source,
            has.file.display()
        ),
        format!("write --via direct, where the source itself replays it; or {instead}"),
    ))
}

/// The first recorded time of a file of lines, if its head has one.
pub(crate) fn first_time_ns(driver: &mut Driver, file: &Path) -> Result<Option<u64>, Failure> {
    match look_at(driver, file)? {
        Recorded::Text => Ok(Recording::text(file).first_ns(driver)?),
        _ => Err(Failure::usage(
            format!("{} is no file of lines", file.display()),
            "an exchange serves lines `<nanoseconds> <message>`; captures of hops and packets are replayed by --input",
        )),
    }
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

    fn case() -> Case {
        use hopline::config::{CaseFiles, SourceText};
        let line = "[[source]]\nname = \"btc\"\nkind = \"udp\"\nbind = \"0.0.0.0:26400\"\n";
        let line = SourceText::new("line.toml", line);
        let files = CaseFiles {
            line,
            load: None,
            budget: None,
        };
        Case::parse("one", files).unwrap()
    }

    fn epoch_ns(inputs: &[Input]) -> Result<Option<u64>, Failure> {
        look(&case(), inputs).map(|(_, epoch_ns)| epoch_ns)
    }

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
