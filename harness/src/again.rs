//! The command `replay`: a capture file through a line of its own, to see what is in it and how faithfully it comes again.
//!
//! Invariant: knows no kind of frame; the decoder is one of those sets that the library has.

use std::path::Path;
use std::time::Duration;

use hopline::adapter::{blackhole, capture, captured_of};
use hopline::frame::capture::CaptureStart;
use hopline::io::{CaptureReader, Driver};
use hopline::topology::{Builder, Hop, Line, Stop};

use crate::cli::ReplayArgs;
use crate::exit::{Exit, Failure};
use crate::view::{captures, text};
use crate::{out, signals};

fn line(path: &Path, speed: Option<f64>, start: &CaptureStart) -> Result<Builder, Failure> {
    let mut line = Line::builder("replay");
    let source = capture(path).speed(speed);
    let Some(decoder) = captured_of(&start.kinds) else {
        let kinds: Vec<&str> = start.kinds.iter().map(|kind| kind.name.as_str()).collect();
        return Err(Failure::usage(
            format!(
                "{}: frames of {} are not known to this program",
                path.display(),
                kinds.join(", ")
            ),
            "replay it in a case of a program that has them, by a source of kind \"capture\"",
        ));
    };
    line.source("capture", source.decode(decoder));
    line.sink("end", blackhole());
    line.connect("capture", "end", Hop::depth(4096));
    Ok(line)
}

/// Replays a file, and says what came of it.
///
/// # Errors
/// The file is no capture, or of frames that this program has not.
pub(crate) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let mut io = Driver::real()?;
    let reader = CaptureReader::open(&mut io, &args.file)?;
    let start = reader.start().clone();
    reader.close(&mut io)?;
    let speed = args.speed.map_or(Some(1.0), |pace| pace.0);
    let line = line(&args.file, speed, &start)?.build()?;
    let signalled = signals::watch()?;
    let asked = move || signalled.load(hopline::base::primitive::Ordering::Relaxed);
    let stop = Stop::when(asked).or_after(
        args.duration
            .unwrap_or(Duration::from_secs(u32::MAX.into())),
    );
    let report = line.run_until(stop)?;
    let exit = Exit::of(&report);
    if args.json {
        let json = serde_json::to_string_pretty(&report).map_err(|error| Failure {
            exit: Exit::Defect,
            what: format!("the report cannot be written as JSON: {error}"),
            help: String::new(),
        })?;
        out::print(&(json + "\n"))?;
        return Ok(exit);
    }
    let mut lines = vec![format!(
        "{} of {}, recorded on line {}",
        args.file.display(),
        start.hop,
        start.line
    )];
    for kind in &start.kinds {
        lines.push(format!(
            "  {} (schema {}, version {})",
            kind.name, kind.schema, kind.version
        ));
    }
    for source in report.ledger.sources.values() {
        lines.extend(source.fidelity.as_ref().map(captures::replayed));
        for (why, count) in &source.rejected {
            lines.push(format!("refused: {} {why}", text::grouped(*count)));
        }
    }
    for fault in &report.faults {
        lines.push(format!("fault: {fault}"));
    }
    out::print(&(lines.join("\n") + "\n"))?;
    Ok(exit)
}
