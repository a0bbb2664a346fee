//! The captures that sources replay: which they are, what paces them, and what of them was due by when.
//!
//! Invariant: what a source read as fast as it goes is no schedule, and nothing is ever judged by it.

use std::path::PathBuf;

use hopline::base::units::parse_speed;
use hopline::config::{Case, Load, Via};
use hopline::feed::parse_line;
use hopline::io::{Driver, IoError, LineEvent, LineReader};

use crate::cli::Shape;
use crate::exit::Failure;

/// Bytes of text that are read at once.
const FILL_BYTES: usize = 64 << 10;

/// Bytes of text that are held: a line that is begun, and what is read behind it.
const AHEAD_BYTES: usize = 2 * FILL_BYTES;

/// The kind of a source that replays a capture.
const KIND: &str = "replay";

/// A source that replays a capture in its own turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replayed {
    pub(crate) source: String,
    file: PathBuf,
    /// A multiple of the recorded pace; none for as fast as it goes.
    speed: Option<f64>,
    /// The recorded time that is due at the start: that of the first message unless it is given.
    epoch_ns: Option<u64>,
}

/// The sources that replay captures in their own turns: those with an input, and those of a kind that does and that nothing
/// else feeds.
pub(crate) fn in_turn(
    case: &Case,
    shape: &Shape,
    load: Option<&Load>,
    via: Via,
    epoch_ns: Option<u64>,
) -> Vec<Replayed> {
    let replayed = |source: hopline::config::GivenNode<'_>| {
        let name = source.name();
        let input = shape.inputs.iter().find(|input| input.source == name);
        if let Some(input) = input.filter(|_| via == Via::Direct) {
            return Some(Replayed {
                source: name.to_owned(),
                file: input.file.clone(),
                speed: shape.speed.map_or(Some(1.0), |pace| pace.0),
                epoch_ns,
            });
        }
        let is_fed = via == Via::Direct && load.is_some_and(|load| load.feed(name).is_some());
        if input.is_some() || is_fed || source.kind() != KIND {
            return None;
        }
        Some(Replayed {
            source: name.to_owned(),
            file: source.setting("file")?.into(),
            // A word that is no speed is told when the source is made.
            speed: source
                .setting("speed")
                .and_then(|text| parse_speed(text).ok())
                .unwrap_or(Some(1.0)),
            epoch_ns: source.whole("epoch_ns"),
        })
    };
    case.sources().filter_map(replayed).collect()
}

/// Refuses to judge a line that paces its own messages: each of them is dated from when it was read, and what waited in the
/// file shows nowhere. `via` is how messages get to the sources.
///
/// # Errors
/// The first such source.
pub(crate) fn refuse_flat_out(
    case: &Case,
    shape: &Shape,
    load: Option<&Load>,
    via: Via,
) -> Result<(), Failure> {
    let asked = shape.speed.is_some_and(|pace| pace.0.is_none());
    let flat_out = if asked {
        let input = shape.inputs.first();
        input.map(|input| (input.source.clone(), "--speed max"))
    } else {
        let sources = in_turn(case, shape, load, via, None).into_iter();
        let mut flat_out = sources.filter(|one| one.speed.is_none());
        flat_out
            .next()
            .map(|one| (one.source, "speed = \"max\" in line.toml"))
    };
    match flat_out {
        None => Ok(()),
        Some((source, by)) => Err(Failure::usage(
            format!(
                "\"{source}\" is read as fast as the line takes it ({by}), so that no message has a time at which it was due: what such a \
                 line takes is no figure to hold a budget to"
            ),
            "give it a pace, such as 100x, or a load.toml with a rate; `bench` shows what it takes without judging it",
        )),
    }
}

impl Replayed {
    /// How many of its messages were due within `span_ns` of the start; bad lines are counted like their neighbours, as the source
    /// counts them. None where nothing paces it. Reads the capture up to there: some 100 MB a second.
    ///
    /// # Errors
    /// The capture cannot be read any more.
    pub(crate) fn due_before(&self, span_ns: u64) -> Result<Option<u64>, IoError> {
        let Some(speed) = self.speed else {
            return Ok(None);
        };
        let mut driver = Driver::real()?;
        let mut lines = LineReader::open(&mut driver, &self.file, AHEAD_BYTES)?;
        let due = self.count(&mut driver, &mut lines, speed, span_ns);
        lines.close(&mut driver)?;
        due.map(Some)
            .map_err(|error| error.on(&self.file.display()))
    }

    fn count(
        &self,
        driver: &mut Driver,
        lines: &mut LineReader,
        speed: f64,
        span_ns: u64,
    ) -> Result<u64, IoError> {
        let (mut due, mut newest_ns, mut epoch_ns) = (0, 0, self.epoch_ns);
        while !lines.at_end() {
            let line = match lines.next_line() {
                Some(LineEvent::Line(line)) => line,
                Some(LineEvent::Bad(_)) => {
                    due += 1;
                    continue;
                }
                None => {
                    lines.fill(driver, FILL_BYTES)?;
                    continue;
                }
            };
            if let Ok((recorded_ns, _)) = parse_line(line) {
                // As the source does it: a time before an earlier one is due with that one.
                newest_ns = recorded_ns.max(newest_ns);
                let from_ns = *epoch_ns.get_or_insert(recorded_ns);
                let at_ns = newest_ns.saturating_sub(from_ns) as f64 / speed;
                if at_ns as u64 >= span_ns {
                    return Ok(due);
                }
            }
            due += 1;
        }
        Ok(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    impl Replayed {
        /// A capture at that many times its pace, from its first message on.
        pub(crate) fn of(source: &str, file: &Path, speed: Option<f64>) -> Replayed {
            Replayed {
                source: source.to_owned(),
                file: file.to_owned(),
                speed,
                epoch_ns: None,
            }
        }
    }

    #[test]
    fn what_was_due_is_counted_by_the_captures_own_times() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("capture");
        // Every 100 ns; one of them steps back and is due with the one before it, and one line is none.
        std::fs::write(
            &file,
            "1000 {}\n1100 {}\n1050 {}\nrubbish\n1200 {}\n1300 {}\n",
        )
        .unwrap();
        for (speed, epoch_ns, span_ns, due) in [
            (1.0, None, 0, 0),
            (1.0, None, 1, 1),
            (1.0, None, 101, 4),
            (1.0, None, 201, 5),
            (1.0, None, 10_000, 6),
            (0.5, None, 201, 4),
            (100.0, None, 3, 5),
            (1.0, Some(0), 1000, 0),
            (1.0, Some(1100), 1, 4),
        ] {
            let one = Replayed {
                epoch_ns,
                ..Replayed::of("in", &file, Some(speed))
            };
            assert_eq!(
                one.due_before(span_ns).unwrap(),
                Some(due),
                "{speed} {span_ns}"
            );
        }
        assert_eq!(Replayed::of("in", &file, None).due_before(1).unwrap(), None);
        let gone = Replayed::of("in", &folder.path().join("gone"), Some(1.0));
        assert!(gone.due_before(1).is_err());
    }
}
