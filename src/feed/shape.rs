//! The shape of a load as people write it.
//!
//! | text | what it is |
//! |---|---|
//! | `constant`, `poisson`, `bursty` | the [arrivals](crate::feed::Arrivals) of that name |
//! | `bursts=100/1ms` | bursts of 100 messages within 1 ms, as often as the mean rate makes them |
//! | `ramp=10k..100k/10s` | from 10,000 a second to 100,000 within 10 s |
//! | `steps=10k..100k/10/1s` | from 10,000 a second to 100,000 in ten steps of 1 s |
//! | `recorded=FILE` | the gaps between the messages of a capture, scaled to the mean rate |
//!
//! Invariant: what is shown is read as the same again.

use core::fmt;
use std::path::PathBuf;

use crate::base::units::{parse_rate, parse_span_ns};
use crate::feed::Arrivals;
use crate::feed::arrivals::STEPS_MAX;

/// Mean messages of a burst where nothing else is said.
pub const BURST_DEFAULT: u32 = 50;

/// How many times the mean rate a burst is sent at where nothing else is said.
pub const INTENSITY_DEFAULT: u32 = 20;

/// Most messages of a burst: at a million it lasts as long as a run.
pub const BURST_MAX: u32 = 1_000_000;

/// The words that a shape begins with.
pub const SHAPES: [&str; 7] = [
    "constant", "poisson", "bursty", "bursts", "ramp", "steps", "recorded",
];

const BURSTS: &str = "messages and the span they come within, such as \"bursts=100/1ms\"";
const RAMP: &str = "two rates and how long it takes, such as \"ramp=10k..100k/10s\"";
const STEPS: &str =
    "two rates, how many steps and how long each is, such as \"steps=10k..100k/10/1s\"";
const RECORDED: &str = "the capture whose gaps are meant, such as \"recorded=btc.gz\"";

/// How a load is spread in time.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// By a rule.
    Of(Arrivals),
    /// As the messages of a capture are, scaled to the mean rate.
    Recorded {
        /// The capture, plain or gzip.
        file: PathBuf,
    },
}

/// Why a text is no shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// It begins with none of [`SHAPES`].
    #[error("there is no shape \"{0}\"")]
    Word(
        /// The word.
        String,
    ),
    /// The word is known, and what follows is wrong.
    #[error("\"{given}\" cannot be read")]
    Form {
        /// The whole text.
        given: String,
        /// What would be right, with an example.
        expected: &'static str,
    },
}

impl Shape {
    /// Reads a shape. Rates may leave out their `/s`.
    ///
    /// ```
    /// use hopline::feed::{Arrivals, Shape};
    /// let shape = Shape::parse("bursts=100/1ms");
    /// assert_eq!(shape, Ok(Shape::Of(Arrivals::Bursts { messages: 100, within_ns: 1_000_000 })));
    /// assert_eq!(shape.unwrap().to_string(), "bursts=100/1000000ns");
    /// assert!(Shape::parse("ramp=10k/10s").is_err());
    /// ```
    ///
    /// # Errors
    /// What is wrong with it, and what would be right.
    pub fn parse(text: &str) -> Result<Shape, ShapeError> {
        let text = text.trim();
        let (word, more) = match text.split_once('=') {
            Some((word, more)) => (word, Some(more)),
            None => (text, None),
        };
        let form = |expected| ShapeError::Form {
            given: text.to_owned(),
            expected,
        };
        let (shape, expected) = match word {
            "constant" => (plain(more, Arrivals::Constant), "\"constant\" alone"),
            "poisson" => (plain(more, Arrivals::Poisson), "\"poisson\" alone"),
            "bursty" => {
                let (burst, intensity) = (BURST_DEFAULT, INTENSITY_DEFAULT);
                let bursty = Arrivals::Bursty { burst, intensity };
                (plain(more, bursty), "\"bursty\" alone")
            }
            "bursts" => (more.and_then(bursts), BURSTS),
            "ramp" => (more.and_then(ramp), RAMP),
            "steps" => (more.and_then(steps), STEPS),
            "recorded" => {
                let file = more.filter(|file| !file.is_empty());
                let recorded = |file: &str| Shape::Recorded { file: file.into() };
                return file.map(recorded).ok_or_else(|| form(RECORDED));
            }
            _ => return Err(ShapeError::Word(word.to_owned())),
        };
        shape.map(Shape::Of).ok_or_else(|| form(expected))
    }

    /// Whether it brings its own rates, so that a mean rate says nothing.
    #[must_use]
    pub const fn has_own_rate(&self) -> bool {
        matches!(self, Shape::Of(arrivals) if arrivals.has_own_rate())
    }
}

fn plain(more: Option<&str>, arrivals: Arrivals) -> Option<Arrivals> {
    more.is_none().then_some(arrivals)
}

/// A rate with or without its `/s`.
fn rate(text: &str) -> Option<f64> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    parse_rate(&format!("{text}/s")).ok()
}

fn rates(text: &str) -> Option<(f64, f64)> {
    let (from, to) = text.split_once("..")?;
    Some((rate(from)?, rate(to)?))
}

fn whole(text: &str, most: u32) -> Option<u32> {
    let number = text.parse().ok()?;
    (1..=most).contains(&number).then_some(number)
}

fn bursts(text: &str) -> Option<Arrivals> {
    let (messages, within) = text.split_once('/')?;
    Some(Arrivals::Bursts {
        messages: whole(messages, BURST_MAX)?,
        within_ns: parse_span_ns(within).ok()?,
    })
}

fn ramp(text: &str) -> Option<Arrivals> {
    let (between, over) = text.rsplit_once('/')?;
    let (from_per_s, to_per_s) = rates(between)?;
    let over_ns = parse_span_ns(over).ok().filter(|over_ns| *over_ns > 0)?;
    Some(Arrivals::Ramp {
        from_per_s,
        to_per_s,
        over_ns,
    })
}

fn steps(text: &str) -> Option<Arrivals> {
    let (rest, each) = text.rsplit_once('/')?;
    let (between, steps) = rest.rsplit_once('/')?;
    let (from_per_s, to_per_s) = rates(between)?;
    let each_ns = parse_span_ns(each).ok().filter(|each_ns| *each_ns > 0)?;
    Some(Arrivals::Steps {
        from_per_s,
        to_per_s,
        steps: whole(steps, STEPS_MAX)?,
        each_ns,
    })
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Of(arrivals) => arrivals.fmt(f),
            Shape::Recorded { file } => write!(f, "recorded={}", file.display()),
        }
    }
}

/// As [`Shape::parse`] reads it; the numbers of [`Arrivals::Bursty`] stand elsewhere.
impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Arrivals::Constant => f.write_str("constant"),
            Arrivals::Poisson => f.write_str("poisson"),
            Arrivals::Bursty { .. } => f.write_str("bursty"),
            Arrivals::Bursts {
                messages,
                within_ns,
            } => write!(f, "bursts={messages}/{within_ns}ns"),
            Arrivals::Ramp {
                from_per_s,
                to_per_s,
                over_ns,
            } => write!(f, "ramp={from_per_s}..{to_per_s}/{over_ns}ns"),
            Arrivals::Steps {
                from_per_s,
                to_per_s,
                steps,
                each_ns,
            } => write!(f, "steps={from_per_s}..{to_per_s}/{steps}/{each_ns}ns"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_as_people_write_them_and_shown_as_they_are_read() {
        let bursty = Arrivals::Bursty {
            burst: BURST_DEFAULT,
            intensity: INTENSITY_DEFAULT,
        };
        let ramp = Arrivals::Ramp {
            from_per_s: 1e4,
            to_per_s: 1e5,
            over_ns: 10_000_000_000,
        };
        let steps = Arrivals::Steps {
            from_per_s: 0.5,
            to_per_s: 1.2e6,
            steps: 10,
            each_ns: 1_000_000_000,
        };
        for (text, arrivals) in [
            ("constant", Arrivals::Constant),
            (" poisson ", Arrivals::Poisson),
            ("bursty", bursty),
            (
                "bursts=1/0s",
                Arrivals::Bursts {
                    messages: 1,
                    within_ns: 0,
                },
            ),
            ("ramp=10k..100k/10s", ramp),
            ("ramp=10k/s..100k/s/10s", ramp),
            ("steps=0.5..1.2M/10/1s", steps),
        ] {
            let shape = Shape::Of(arrivals);
            assert_eq!(Shape::parse(text).as_ref(), Ok(&shape), "{text}");
            assert_eq!(Shape::parse(&shape.to_string()), Ok(shape), "{text}");
        }
        let file = "a=b/c.gz".into();
        let recorded = Shape::Recorded { file };
        assert_eq!(Shape::parse("recorded=a=b/c.gz"), Ok(recorded));
    }

    #[test]
    fn what_is_no_shape_is_refused_with_what_would_be_one() {
        for word in ["", "poison", "Constant", "ramps=1..2/1s"] {
            let given = word.split('=').next().unwrap_or_default().to_owned();
            assert_eq!(Shape::parse(word), Err(ShapeError::Word(given)));
        }
        for text in [
            "constant=5",
            "poisson=",
            "bursts",
            "bursts=100",
            "bursts=0/1ms",
            "bursts=1000001/1ms",
            "bursts=100/1",
            "ramp=10k/10s",
            "ramp=10k..0/10s",
            "ramp=10k..100k/0s",
            "ramp=10k..100k",
            "ramp=-1..100k/10s",
            "steps=10k..100k/1s",
            "steps=10k..100k/0/1s",
            "steps=10k..100k/1001/1s",
            "steps=10k..100k/10/0s",
            "recorded",
            "recorded=",
        ] {
            let Err(ShapeError::Form { given, expected }) = Shape::parse(text) else {
                panic!("{text} is taken");
            };
            assert_eq!(given, text);
            let word = text.split('=').next().unwrap_or_default();
            assert!(expected.contains(word), "{text}: {expected}");
        }
    }
}
