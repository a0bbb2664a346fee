//! Shapes of a load: from settings, and from the captures that they name.
//!
//! Invariant: takes a bounded number of times from a capture, whatever it holds.

use std::path::Path;

use crate::feed::rhythm::RHYTHM_GAPS_MAX;
use crate::feed::shape::{SHAPES, ShapeError};
use crate::feed::{Rhythm, Shape, parse_line};
use crate::io::{Driver, IoError, IoErrorKind, LineEvent, LineReader};
use crate::topology::problem::{closest, list};
use crate::topology::{Params, Problem};

/// Bytes of text that are read at once: of a size that reading a capture is not made of calls.
const FILL_BYTES: usize = 256 << 10;

/// A shape that a person wrote, such as `poisson` or `bursts=100/1ms`: see [`Shape::parse`].
///
/// ```
/// use hopline::adapter::shape_of;
/// let problem = shape_of("poison").unwrap_err();
/// assert_eq!(problem.help, "did you mean \"poisson\"?");
/// ```
///
/// # Errors
/// What is wrong with it, and what would be right.
pub fn shape_of(text: &str) -> Result<Shape, Problem> {
    Shape::parse(text).map_err(|error| {
        let help = match &error {
            ShapeError::Word(word) => match closest(word, SHAPES) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => {
                    let known = SHAPES.map(|shape| format!("\"{shape}\""));
                    format!("write {}", list(known.iter().map(String::as_str)))
                }
            },
            ShapeError::Form { expected, .. } => format!("write {expected}"),
        };
        Problem::new(error.to_string(), help)
    })
}

/// The setting `arrivals`, if there is one.
pub(crate) fn from_params(params: &mut Params) -> Result<Option<Shape>, Problem> {
    let Some(text) = params.text("arrivals")? else {
        return Ok(None);
    };
    shape_of(&text).map(Some).map_err(|problem| {
        let what = match Shape::parse(&text) {
            Err(ShapeError::Word(word)) => {
                format!("\"arrivals\" does not know the word \"{word}\"")
            }
            _ => format!("\"arrivals\" = {}", problem.what),
        };
        params.problem("arrivals", what, problem.help)
    })
}

/// The gaps between the messages of a capture. Lines that are no messages do not count. Allocates, and
/// reads until it has as many gaps as a rhythm keeps.
///
/// # Errors
/// What the system said of the file; [`IoErrorKind::InvalidInput`] if it has no two messages of
/// different times.
pub fn rhythm_of(driver: &mut Driver, file: &Path) -> Result<Rhythm, IoError> {
    let mut lines = LineReader::open(driver, file, 2 * FILL_BYTES)?;
    let times_ns = times_of(driver, &mut lines).map_err(|error| error.on(&file.display()));
    lines.close(driver)?;
    Rhythm::of(times_ns?).map_err(|_| {
        IoError::new(IoErrorKind::InvalidInput, "take the rhythm of").on(&file.display())
    })
}

fn times_of(driver: &mut Driver, lines: &mut LineReader) -> Result<Vec<u64>, IoError> {
    let mut times_ns = Vec::new();
    while times_ns.len() <= RHYTHM_GAPS_MAX && !lines.at_end() {
        match lines.next_line() {
            Some(LineEvent::Line(line)) => {
                times_ns.extend(parse_line(line).map(|(at_ns, _)| at_ns))
            }
            Some(LineEvent::Bad(_)) => {}
            None => {
                lines.fill(driver, FILL_BYTES)?;
            }
        }
    }
    Ok(times_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::VirtualNet;
    use crate::topology::Value;

    #[test]
    fn a_setting_is_a_shape_or_says_what_would_be_one() {
        let read = |text: &str| {
            let mut params = Params::new(None);
            params.set("arrivals", Value::Text(text.to_owned()), None);
            from_params(&mut params)
        };
        assert_eq!(from_params(&mut Params::new(None)), Ok(None));
        assert_eq!(
            read("ramp=1..2/1s"),
            Shape::parse("ramp=1..2/1s")
                .map(Some)
                .map_err(|_| unreachable!())
        );
        assert_eq!(
            read("possion").unwrap_err().to_string(),
            "\"arrivals\" does not know the word \"possion\"\n  help: did you mean \"poisson\"?"
        );
        assert_eq!(
            read("evenly").unwrap_err().help,
            "write \"constant\", \"poisson\", \"bursty\", \"bursts\", \"ramp\", \"steps\" or \"recorded\""
        );
        assert_eq!(
            read("bursts=100").unwrap_err().to_string(),
            "\"arrivals\" = \"bursts=100\" cannot be read\n  \
             help: write messages and the span they come within, such as \"bursts=100/1ms\""
        );
    }

    #[test]
    fn a_rhythm_comes_from_the_messages_of_a_capture() {
        let net = VirtualNet::new();
        net.put_file("a", b"1000 {}\nrubbish\n1100 {}\n\n1050 {}\n1400 {}");
        net.put_file("b", b"1000 {}\n1000 {}\n");
        let mut driver = Driver::from(net.driver());
        let rhythm = rhythm_of(&mut driver, "a".as_ref()).unwrap();
        assert_eq!(
            Some(&rhythm),
            Rhythm::of([1000, 1100, 1100, 1400]).ok().as_ref()
        );
        let error = rhythm_of(&mut driver, "b".as_ref()).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::InvalidInput);
        let error = rhythm_of(&mut driver, "c".as_ref()).unwrap_err();
        assert_eq!(error.kind, IoErrorKind::NotFound);
        // Closed again each time: a driver has a bounded number of files.
        for _ in 0..2 * crate::io::FILES_MAX {
            assert!(rhythm_of(&mut driver, "a".as_ref()).is_ok());
        }
    }
}
