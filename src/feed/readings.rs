//! Lines of telemetry that are made up: readings of a thousand devices, by a seed.
//!
//! Half of them count, the others are levels, times and members, as clients mix them; a quarter of the counts
//! is a sample. No line says a time, so each belongs to when it came.
//!
//! Invariant: the same seed gives the same lines; nothing is allocated, and every line is right by its format.

use core::fmt::{self, Write};

use crate::base::Prng;

/// Longest line, in bytes.
pub const READING_BYTES_MAX: usize = 128;

/// Devices, each at one of so many sites.
const DEVICES: u64 = 1_000;
const SITES: u64 = 20;

/// What a made-up line is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    /// DogStatsD.
    Statsd,
    /// Graphite's plaintext protocol.
    Graphite,
    /// Influx line protocol.
    Influx,
}

impl LineFormat {
    /// All of them, by the words that settings use.
    pub const WORDS: [(&'static str, LineFormat); 3] = [
        ("statsd", LineFormat::Statsd),
        ("graphite", LineFormat::Graphite),
        ("influx", LineFormat::Influx),
    ];

    /// The word that settings use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            LineFormat::Statsd => "statsd",
            LineFormat::Graphite => "graphite",
            LineFormat::Influx => "influx",
        }
    }

    /// The format of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<LineFormat> {
        let mut known = LineFormat::WORDS.into_iter();
        known.find_map(|(name, format)| (name == word).then_some(format))
    }
}

/// Makes lines up.
///
/// ```
/// use hopline::feed::readings::{LineFormat, READING_BYTES_MAX, Readings};
/// use hopline::feed::statsd;
/// let mut readings = Readings::new(LineFormat::Statsd, 7);
/// let mut buffer = [0; READING_BYTES_MAX];
/// let len = readings.write(&mut buffer);
/// assert!(statsd::parse(&buffer[..len]).is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Readings {
    format: LineFormat,
    prng: Prng,
}

impl Readings {
    /// Lines of that format by that seed.
    #[must_use]
    pub fn new(format: LineFormat, seed: u64) -> Readings {
        Readings {
            format,
            prng: Prng::new(seed),
        }
    }

    /// Writes the next line to the front of `buffer`, without an end, and says how long it is. What has no room,
    /// in less than [`READING_BYTES_MAX`] bytes, is left out.
    pub fn write(&mut self, buffer: &mut [u8]) -> usize {
        let mut line = Line { buffer, len: 0 };
        let device = self.prng.below(DEVICES);
        let site = device % SITES;
        // A line that has no room is as long as it is.
        let _ = match self.format {
            LineFormat::Statsd => self.statsd(device, site, &mut line),
            LineFormat::Graphite => {
                let level = self.level();
                let (name, quantity) = (site, ["temperature", "voltage"][(device % 2) as usize]);
                write!(line, "site-{name}.device-{device}.{quantity} {level} -1")
            }
            LineFormat::Influx => {
                let (level, volts) = (self.level(), self.prng.below(500));
                write!(
                    line,
                    "climate,device=d-{device},site=s-{site} temperature={level},millivolts={volts}i"
                )
            }
        };
        line.len
    }

    fn statsd(&mut self, device: u64, site: u64, line: &mut Line<'_>) -> fmt::Result {
        match self.prng.below(20) {
            0..10 => {
                let rate = match self.prng.below(4) {
                    0 => "|@0.5",
                    _ => "",
                };
                write!(
                    line,
                    "iot.uplinks:1|c{rate}|#device:d-{device},site:s-{site}"
                )
            }
            10..15 => {
                let level = self.level();
                write!(
                    line,
                    "iot.temperature:{level}|g|#device:d-{device},site:s-{site}"
                )
            }
            15..19 => {
                let span = self.prng.exponential(20.0);
                write!(line, "iot.round_trip:{span:.3}|ms|#site:s-{site}")
            }
            _ => write!(line, "iot.devices:d-{device}|s|#site:s-{site}"),
        }
    }

    /// A level of two decimals, from 0 to 100.
    fn level(&mut self) -> Hundredths {
        Hundredths(self.prng.below(10_000))
    }
}

struct Hundredths(u64);

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

struct Line<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.buffer.get_mut(self.len..self.len + text.len());
        room.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::{graphite, influx, statsd};

    #[test]
    fn every_line_is_right_and_comes_again() {
        for (_, format) in LineFormat::WORDS {
            let mut first = Readings::new(format, 3);
            let mut second = Readings::new(format, 3);
            let (mut one, mut other) = ([0; READING_BYTES_MAX], [0; READING_BYTES_MAX]);
            for _ in 0..2_000 {
                let len = first.write(&mut one);
                let line = &one[..len];
                let is_right = match format {
                    LineFormat::Statsd => statsd::parse(line).is_ok(),
                    LineFormat::Graphite => graphite::parse(line).is_ok(),
                    LineFormat::Influx => influx::parse(line).is_ok(),
                };
                assert!(is_right, "{}", String::from_utf8_lossy(line));
                let len = second.write(&mut other);
                assert_eq!(line, &other[..len]);
            }
        }
    }
}
