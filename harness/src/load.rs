//! How the command line changes a case's load: the same flags for every command that runs one.
//!
//! Invariant: a flag that would have no effect is refused, before anything is opened.

use clap::Args;
use hopline::adapter::{rhythm_of, shape_of};
use hopline::base::units::parse_rate;
use hopline::config::{Case, Feed, LoadChange, SEED_MAX};
use hopline::feed::Shape;
use hopline::io::{Driver, IoErrorKind};

use crate::cli::Input;
use crate::exit::Failure;
use crate::gate::model::GeneratorAnalysis;

/// What a run changes of load.toml.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct LoadArgs {
    /// Messages a second that are made up for each source, such as 20k or 1.2M
    #[arg(long, value_name = "RATE", allow_negative_numbers = true, conflicts_with = "live", value_parser = parse_rate_flag)]
    pub(crate) rate: Option<f64>,
    /// A multiple of all rates, so that their proportion stays: how a search for the highest one asks
    #[arg(long, value_name = "FACTOR", hide = true, conflicts_with = "live")]
    pub(crate) rate_factor: Option<f64>,
    /// How they are spread in time: constant, poisson, bursty, bursts=100/1ms, ramp=10k..100k/10s,
    /// steps=10k..100k/10/1s, or recorded=FILE, the gaps of a capture scaled to the rate
    #[arg(long, value_name = "SHAPE", conflicts_with = "live", value_parser = parse_shape)]
    pub(crate) shape: Option<Shape>,
    /// Seed of times and contents for the first source; the next has one more, and so on
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "live",
        overrides_with = "seed"
    )]
    #[arg(value_parser = clap::value_parser!(u64).range(0..=SEED_MAX))]
    pub(crate) seed: Option<u64>,
}

pub(crate) fn parse_rate_flag(text: &str) -> Result<f64, String> {
    let text = text.trim();
    let bare = text.strip_suffix("/s").unwrap_or(text);
    parse_rate(&format!("{bare}/s")).map_err(|_| {
        "write messages a second, above 0 and at most 1000M, such as 800, 20k or 1.2M".to_owned()
    })
}

fn parse_shape(text: &str) -> Result<Shape, String> {
    shape_of(text).map_err(|problem| format!("{}; {}", problem.what, problem.help))
}

impl LoadArgs {
    /// The flags as they were given, for words about them.
    fn given(&self) -> Vec<&'static str> {
        let flags = [
            ("--rate", self.rate.is_some()),
            ("--rate-factor", self.rate_factor.is_some()),
            ("--shape", self.shape.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        let given = flags.iter().filter(|(_, is_given)| *is_given);
        given.map(|(flag, _)| *flag).collect()
    }

    /// Changes the case's load.
    ///
    /// # Errors
    /// Flags that say nothing: there is no load, or captures take the place of all of it; or that go
    /// together as little as a rate and a ramp.
    pub(crate) fn apply(&self, case: &mut Case, inputs: &[Input]) -> Result<(), Failure> {
        let given = self.given().join(" and ");
        if given.is_empty() {
            return Ok(());
        }
        let is_input = |name: &str| inputs.iter().any(|input| input.source == name);
        if case.load().is_some() && case.sources().all(|source| is_input(source.name())) {
            return Err(Failure::usage(
                format!("{given} would change nothing: every source replays a capture"),
                "leave it out; --speed says how fast captures are replayed",
            ));
        }
        let change = LoadChange {
            rate_per_s: self.rate,
            factor: self.rate_factor,
            shape: self.shape.clone(),
            seed: self.seed,
        };
        case.change_load(&change)
            .map_err(|problem| Failure::usage(format!("{given}: {}", problem.what), problem.help))
    }
}

/// What a source that makes its messages in its own turn was due to make within `span_ns` of its start,
/// and what of that it made (`made` may count later ones too): as a gate asks it of a sender. How late
/// each was is in the line's own spans, which begin at the due time, so that `lateness` is empty here.
///
/// # Errors
/// A capture whose rhythm it follows and that cannot be read any more.
pub fn made_in_turn(
    feed: &Feed,
    made: u64,
    span_ns: u64,
) -> Result<GeneratorAnalysis, Box<dyn std::error::Error>> {
    let rhythm = match &feed.shape {
        Shape::Recorded { file } => Some(rhythm_of(&mut Driver::real()?, file)?),
        Shape::Of(_) => None,
    };
    let due = feed.schedule(rhythm)?.count_before(span_ns);
    Ok(of_in_turn(&feed.source, due, made, span_ns))
}

/// The same of any source that has a schedule, of which `due` messages were due by then.
pub(crate) fn of_in_turn(source: &str, due: u64, made: u64, span_ns: u64) -> GeneratorAnalysis {
    let per_s = |count: u64| count as f64 * 1e9 / span_ns.max(1) as f64;
    GeneratorAnalysis {
        source: source.to_owned(),
        offered_per_s: per_s(due),
        achieved_per_s: per_s(made.min(due)),
        missed: due.saturating_sub(made),
        ..GeneratorAnalysis::default()
    }
}

/// The captures whose rhythm the case's load follows, with what a person should know of each.
///
/// # Errors
/// One that cannot be read, or has no rhythm.
pub(crate) fn rhythms(case: &Case, inputs: &[Input]) -> Result<Vec<Rhythmic>, Failure> {
    let mut found = Vec::new();
    let Some(load) = case.load() else {
        return Ok(found);
    };
    let mut driver = Driver::real()?;
    for feed in &load.feeds {
        let Shape::Recorded { file } = &feed.shape else {
            continue;
        };
        if inputs.iter().any(|input| input.source == feed.source) {
            continue;
        }
        let wrong = |what: String, help: &str| {
            Failure::usage(format!("the rhythm of \"{}\": {what}", feed.source), help)
        };
        // What is looked at here would be missing where it is followed.
        let is_pipe = std::fs::metadata(file).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
        if file.as_os_str() == "-" || is_pipe {
            return Err(wrong(
                format!("{} is no file, and cannot be read twice", file.display()),
                "write what it gives to a file first, and name that",
            ));
        }
        let rhythm = rhythm_of(&mut driver, file).map_err(|error| match error.kind {
            IoErrorKind::InvalidInput => wrong(
                format!("{} has no two messages of different times", file.display()),
                "a capture has a line `<nanoseconds> <json>` for each message",
            ),
            _ => error.into(),
        })?;
        let pace = rhythm.speed_at(feed.rate_per_s);
        found.push(Rhythmic {
            file: file.clone(),
            note: format!(
                "\"{}\" follows {} gaps of {} at {pace:.3} times the recorded pace",
                feed.source,
                rhythm.gaps(),
                file.display()
            ),
        });
    }
    Ok(found)
}

/// A capture that a load follows.
#[derive(Debug)]
pub(crate) struct Rhythmic {
    pub(crate) file: std::path::PathBuf,
    pub(crate) note: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_with_and_without_their_unit() {
        for (text, rate) in [
            ("20k", 2e4),
            ("20k/s", 2e4),
            ("1.5M", 1.5e6),
            (" 800 ", 800.0),
        ] {
            assert_eq!(parse_rate_flag(text), Ok(rate), "{text}");
        }
        for text in [
            "", "k", "0", "-1", "20 k", "20kb", "2000M", "inf", "nan", "/s",
        ] {
            assert!(parse_rate_flag(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_a_source_owed_is_what_it_makes() {
        use hopline::config::Content;
        use hopline::feed::Arrivals;
        use hopline::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
        use hopline::feed::{Synthetic, SyntheticSpec};

        let (rate_per_s, seed, arrivals) = (50_000.0, 9, Arrivals::Poisson);
        let feed = Feed {
            source: "in".to_owned(),
            content: Content::Market,
            rate_per_s,
            shape: Shape::Of(arrivals),
            seed,
        };
        let spec = SyntheticSpec {
            seed,
            symbol: "BTCUSDT".to_owned(),
            rate_per_s,
            arrivals,
            mix: Mix::default(),
        };
        let mut market = Synthetic::new(&spec).unwrap();
        let mut buffer = vec![0; SYNTHETIC_BYTES_MAX];
        let mut made = 0;
        while market.next(&mut buffer).unwrap().0 < 100_000_000 {
            made += 1;
        }
        let kept = made_in_turn(&feed, made, 100_000_000).unwrap();
        assert_eq!((kept.missed, kept.achieved_per_s), (0, kept.offered_per_s));
        let behind = made_in_turn(&feed, made - 60, 100_000_000).unwrap();
        assert_eq!(behind.missed, 60);
        assert!(behind.achieved_per_s < 0.99 * behind.offered_per_s);
        let file = "/nowhere/a.gz".into();
        let shape = Shape::Recorded { file };
        assert!(made_in_turn(&Feed { shape, ..feed }, 1, 1).is_err());
    }

    #[test]
    fn a_wrong_shape_says_what_would_be_right() {
        assert_eq!(
            parse_shape("poison").unwrap_err(),
            "there is no shape \"poison\"; did you mean \"poisson\"?"
        );
        let words = parse_shape("bursts=100").unwrap_err();
        assert!(words.contains("bursts=100/1ms"), "{words}");
    }
}
