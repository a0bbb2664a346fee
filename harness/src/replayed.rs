//! The captures that sources replay: which they are, what paces them, and what of them was due by when.
//!
//! Invariant: what a source read as fast as it goes is no schedule, and nothing is ever judged by it.

use std::net::IpAddr;
use std::path::Path;

use hopline::adapter::{Capture, Pcap, Recorded, Replay, capture, pcap, replay};
use hopline::base::units::parse_speed;
use hopline::config::{Case, GivenNode, Input, Load, Via};
use hopline::io::{Driver, IoError};

use crate::cli::Shape;
use crate::exit::Failure;

/// A recording as its source replays it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recording {
    Text(Replay),
    Frames(Capture),
    Packets(Pcap),
}

impl Recording {
    /// A file of lines.
    pub(crate) fn text(file: &Path) -> Recording {
        Recording::Text(replay(file))
    }

    /// A file of packets, of which those count that are for a port, and an address where there is one.
    pub(crate) fn packets(file: &Path, (port, address): (u16, Option<IpAddr>)) -> Recording {
        let all = pcap(file, port);
        Recording::Packets(match address {
            Some(address) => all.to(address),
            None => all,
        })
    }

    /// What a file is a recording of, as that source takes it; none if it cannot.
    pub(crate) fn of(recorded: &Recorded, file: &Path, source: GivenNode<'_>) -> Option<Recording> {
        Some(match recorded {
            Recorded::Text => Recording::text(file),
            Recorded::Frames(_) => Recording::Frames(capture(file)),
            Recorded::Packets => Recording::packets(file, source.datagrams()?),
        })
    }

    /// What a source of a kind that replays has.
    fn own(source: GivenNode<'_>) -> Option<Recording> {
        let file = || source.setting("file").map(Path::new);
        Some(match source.kind() {
            "replay" => Recording::text(file()?),
            "capture" => Recording::Frames(capture(file()?)),
            "pcap" => Recording::packets(file()?, source.datagrams()?),
            _ => return None,
        })
    }

    /// The same at a pace.
    fn paced(self, speed: Option<f64>, epoch_ns: Option<u64>) -> Recording {
        macro_rules! paced {
            ($of:expr) => {{
                let paced = $of.speed(speed);
                match epoch_ns {
                    Some(epoch_ns) => paced.epoch_ns(epoch_ns),
                    None => paced,
                }
            }};
        }
        match self {
            Recording::Text(of) => Recording::Text(paced!(of)),
            Recording::Frames(of) => Recording::Frames(paced!(of)),
            Recording::Packets(of) => Recording::Packets(paced!(of)),
        }
    }

    /// The recorded time of the first message, if its head has one.
    pub(crate) fn first_ns(&self, driver: &mut Driver) -> Result<Option<u64>, IoError> {
        match self {
            Recording::Text(of) => of.first_ns(driver),
            Recording::Frames(of) => of.first_ns(driver),
            Recording::Packets(of) => of.first_ns(driver),
        }
    }

    fn due_before(&self, driver: &mut Driver, span_ns: u64) -> Result<Option<u64>, IoError> {
        match self {
            Recording::Text(of) => of.due_before(driver, span_ns),
            Recording::Frames(of) => of.due_before(driver, span_ns),
            Recording::Packets(of) => of.due_before(driver, span_ns),
        }
    }
}

/// A source that replays a recording in its own turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replayed {
    pub(crate) source: String,
    recording: Recording,
    /// A multiple of the recorded pace; none for as fast as it goes.
    speed: Option<f64>,
}

/// The sources that replay recordings in their own turns: those with an input, and those of a kind that does and that nothing
/// else feeds. `inputs` are those of the command line, looked at.
pub(crate) fn in_turn(
    case: &Case,
    shape: &Shape,
    inputs: &[Input],
    load: Option<&Load>,
    via: Via,
    epoch_ns: Option<u64>,
) -> Vec<Replayed> {
    let replayed = |source: GivenNode<'_>| {
        let input = inputs.iter().find(|input| input.source == source.name());
        match input.filter(|_| via == Via::Direct) {
            Some(input) => {
                let speed = shape.speed.map_or(Some(1.0), |pace| pace.0);
                let recording = Recording::of(&input.recorded, &input.file, source)?;
                Some(Replayed {
                    source: source.name().to_owned(),
                    recording: recording.paced(speed, epoch_ns),
                    speed,
                })
            }
            None => own(source, shape, load, via),
        }
    };
    case.sources().filter_map(replayed).collect()
}

/// A source that replays by its own kind, if nothing else feeds it.
fn own(source: GivenNode<'_>, shape: &Shape, load: Option<&Load>, via: Via) -> Option<Replayed> {
    let name = source.name();
    let is_input = shape.inputs.iter().any(|input| input.source == name);
    let is_fed = via == Via::Direct && load.is_some_and(|load| load.feed(name).is_some());
    if is_input || is_fed {
        return None;
    }
    // A word that is no speed is told when the source is made.
    let speed = source
        .setting("speed")
        .and_then(|text| parse_speed(text).ok())
        .unwrap_or(Some(1.0));
    Some(Replayed {
        source: name.to_owned(),
        recording: Recording::own(source)?.paced(speed, source.whole("epoch_ns")),
        speed,
    })
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
        let sources = case.sources();
        let sources = sources.filter_map(|source| own(source, shape, load, via));
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
    /// How many of its messages were due within `span_ns` of the start; what is no message never is. None where nothing paces it.
    /// Reads the recording up to there: some 100 MB a second.
    ///
    /// # Errors
    /// The recording cannot be read any more.
    pub(crate) fn due_before(&self, span_ns: u64) -> Result<Option<u64>, IoError> {
        self.recording.due_before(&mut Driver::real()?, span_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Replayed {
        /// A capture at that many times its pace, from its first message on.
        pub(crate) fn of(source: &str, file: &Path, speed: Option<f64>) -> Replayed {
            Replayed::like(source, Recording::text(file), speed, None)
        }

        /// A recording at that many times its pace, from that time or its first message on.
        pub(crate) fn like(
            source: &str,
            recording: Recording,
            speed: Option<f64>,
            epoch_ns: Option<u64>,
        ) -> Replayed {
            Replayed {
                source: source.to_owned(),
                recording: recording.paced(speed, epoch_ns),
                speed,
            }
        }
    }

    #[test]
    fn what_was_due_is_counted_by_the_captures_own_times() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("capture");
        // Every 100 ns; one of them steps back and is due with the one before it, and one line is no message.
        std::fs::write(
            &file,
            "1000 {}\n1100 {}\n1050 {}\nrubbish\n1200 {}\n1300 {}\n",
        )
        .unwrap();
        for (speed, epoch_ns, span_ns, due) in [
            (1.0, None, 0, 0),
            (1.0, None, 1, 1),
            (1.0, None, 101, 3),
            (1.0, None, 201, 4),
            (1.0, None, 10_000, 5),
            (0.5, None, 201, 3),
            (100.0, None, 3, 4),
            (1.0, Some(0), 1000, 0),
            (1.0, Some(1100), 1, 3),
        ] {
            let recording = Recording::text(&file);
            let one = Replayed::like("in", recording, Some(speed), epoch_ns);
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
