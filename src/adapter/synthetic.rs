//! A feed that is made up, by a seed and a schedule.
//!
//! Times count from the line's start and are fixed ahead: a source that was held up sends what has
//! become due in bounded bursts, with the times at which it was due.
//!
//! Invariant: the same settings give the same messages at the same intended times; nothing
//! allocates after the source was made.

use std::path::PathBuf;

use crate::adapter::{Intake, decoder_takes, decodes, rhythm_of, shape};
use crate::base::limits::{BURST_MESSAGES, MESSAGE_BYTES_MAX};
use crate::budget::IngressCounters;
use crate::feed::arrivals::RATE_MAX;
use crate::feed::contents::Contents;
use crate::feed::readings::{LineFormat, READING_BYTES_MAX, Readings};
use crate::feed::rhythm::RHYTHM_GAPS_MAX;
use crate::feed::shape::{BURST_DEFAULT, INTENSITY_DEFAULT};
use crate::feed::synthetic::{Mix, SYNTHETIC_BYTES_MAX};
use crate::feed::{Arrivals, Schedule, Shape, Synthetic, SyntheticSpec};
use crate::io::{Driver, IoError, IoErrorKind};
use crate::stage::{Arrival, Decode, Feed, Ingress, Port, SourceContext};
use crate::topology::{Params, Problem};

/// Bytes of a made-up datagram unless set otherwise: a short market message.
const DATAGRAM_BYTES_DEFAULT: u64 = 64;

/// Shortest made-up datagram, in bytes: its number.
const DATAGRAM_BYTES_MIN: u64 = 8;

/// What is made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The exchange's messages of this symbol.
    Market {
        /// As the exchange writes it.
        symbol: String,
    },
    /// Datagrams of so many bytes: their number from 0 as a little-endian `u64`, then zeros.
    Datagrams {
        /// From 8 to the largest message.
        bytes: usize,
    },
    /// Lines of telemetry, one a message.
    Lines(LineFormat),
}

/// A description of a source that makes its messages up.
#[derive(Clone, Debug)]
pub struct MadeUp {
    content: Content,
    rate_per_s: f64,
    shape: Shape,
    seed: u64,
    for_ns: Option<u64>,
    count: Option<u64>,
}

/// Makes up the exchange's messages of a symbol, that many a second at Poisson times, by seed 1,
/// without an end.
///
/// ```
/// use hopline::adapter::{Binance, synthetic};
/// let source = synthetic("BTCUSDT", 50_000.0).seed(7).count(1_000).decode(Binance::new(&["BTCUSDT"]));
/// ```
#[must_use]
pub fn synthetic(symbol: &str, rate_per_s: f64) -> MadeUp {
    MadeUp {
        content: Content::Market {
            symbol: symbol.to_owned(),
        },
        rate_per_s,
        shape: Shape::Of(Arrivals::Poisson),
        seed: 1,
        for_ns: None,
        count: None,
    }
}

decodes!(MadeUp);

impl MadeUp {
    /// The same with other content.
    #[must_use]
    pub fn content(self, content: Content) -> MadeUp {
        MadeUp { content, ..self }
    }

    /// The same with other arrivals.
    #[must_use]
    pub fn arrivals(self, arrivals: Arrivals) -> MadeUp {
        self.shape(Shape::Of(arrivals))
    }

    /// The same spread in time by another shape. A capture that it names is read when the line opens.
    #[must_use]
    pub fn shape(self, shape: Shape) -> MadeUp {
        MadeUp { shape, ..self }
    }

    /// The same by another seed.
    #[must_use]
    pub fn seed(self, seed: u64) -> MadeUp {
        MadeUp { seed, ..self }
    }

    /// The same with an end: messages that would be due later than that span after the start are
    /// not sent.
    #[must_use]
    pub fn for_ns(self, for_ns: u64) -> MadeUp {
        MadeUp {
            for_ns: Some(for_ns),
            ..self
        }
    }

    /// The same with an end after so many messages.
    #[must_use]
    pub fn count(self, count: u64) -> MadeUp {
        MadeUp {
            count: Some(count),
            ..self
        }
    }

    /// From the settings `rate`, `arrivals`, `burst`, `intensity`, `seed`, `for`, `count`,
    /// `content`, `symbol` and `bytes`.
    pub(crate) fn from_params(params: &mut Params) -> Result<MadeUp, Problem> {
        let rate = params.rate("rate")?;
        let most = u64::from(u32::MAX);
        let burst = params.count("burst", u64::from(BURST_DEFAULT), 1..=most)? as u32;
        let intensity = params.count("intensity", u64::from(INTENSITY_DEFAULT), 1..=most)? as u32;
        let shape = match shape::from_params(params)? {
            None => Shape::Of(Arrivals::Poisson),
            Some(Shape::Of(Arrivals::Bursty { .. })) => {
                Shape::Of(Arrivals::Bursty { burst, intensity })
            }
            Some(shape) => shape,
        };
        let rate_per_s = match rate {
            None if shape.has_own_rate() => 0.0,
            Some(_) if shape.has_own_rate() => {
                let what = "\"rate\" says nothing of arrivals that bring their own rates";
                return Err(params.problem("rate", what, "remove it, or choose other arrivals"));
            }
            Some(rate) => rate,
            None => {
                return Err(params.problem(
                    "rate",
                    "the setting \"rate\" is missing",
                    "write rate = \"50k/s\"",
                ));
            }
        };
        let seed = params.count("seed", 1, 0..=i64::MAX as u64)?;
        let count = params.count("count", u64::MAX, 0..=i64::MAX as u64)?;
        let bytes = params.count(
            "bytes",
            DATAGRAM_BYTES_DEFAULT,
            DATAGRAM_BYTES_MIN..=MESSAGE_BYTES_MAX as u64,
        )?;
        let symbol = params.text("symbol")?;
        let words = ["market", "datagrams", "statsd", "graphite", "influx"];
        let known = |word: &str| words.into_iter().find(|known| *known == word);
        let word = params.word("content", &words, known)?.unwrap_or("market");
        let content = match (LineFormat::of_word(word), word, symbol) {
            (Some(format), ..) => Content::Lines(format),
            (None, "datagrams", _) => Content::Datagrams {
                bytes: bytes as usize,
            },
            (None, _, Some(symbol)) => Content::Market { symbol },
            (None, _, None) => {
                return Err(params.problem(
                    "symbol",
                    "the setting \"symbol\" is missing",
                    "write symbol = \"BTCUSDT\", or content = \"datagrams\"",
                ));
            }
        };
        Ok(MadeUp {
            content,
            rate_per_s,
            shape,
            seed,
            for_ns: params.span_ns("for")?,
            count: params.has("count").then_some(count),
        })
    }

    fn maker(&self) -> Result<(Maker, usize), Problem> {
        // What a capture says is known when the line opens; until then any arrivals will do.
        let arrivals = match &self.shape {
            Shape::Of(arrivals) => *arrivals,
            Shape::Recorded { .. } => Arrivals::Constant,
        };
        match &self.content {
            Content::Market { symbol } => {
                let spec = SyntheticSpec {
                    seed: self.seed,
                    symbol: symbol.clone(),
                    rate_per_s: self.rate_per_s,
                    arrivals,
                    mix: Mix::default(),
                };
                let feed = Synthetic::new(&spec).map_err(|error| {
                    let help = "a symbol is \"BTCUSDT\", a rate \"50k/s\", arrivals are constant or poisson";
                    Problem::new(error.to_string(), help)
                })?;
                Ok((Maker::Market(Box::new(feed)), SYNTHETIC_BYTES_MAX))
            }
            Content::Datagrams { bytes } => {
                let len = (*bytes).clamp(DATAGRAM_BYTES_MIN as usize, MESSAGE_BYTES_MAX);
                let made = Schedule::new(self.rate_per_s, arrivals, self.seed);
                let schedule = made.map_err(|error| {
                    let help = format!("a rate is above 0 and at most {RATE_MAX} a second");
                    Problem::new(error.to_string(), help)
                })?;
                let number = 0;
                Ok((Maker::Datagrams { schedule, number }, len))
            }
            Content::Lines(format) => {
                let made = Schedule::new(self.rate_per_s, arrivals, self.seed);
                let schedule = made.map_err(|error| {
                    let help = format!("a rate is above 0 and at most {RATE_MAX} a second");
                    Problem::new(error.to_string(), help)
                })?;
                let readings = Readings::new(*format, self.seed);
                Ok((Maker::Lines { schedule, readings }, READING_BYTES_MAX))
            }
        }
    }
}

impl Intake for MadeUp {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        if let Content::Datagrams { bytes } = self.content {
            decoder_takes(decoder.as_ref(), bytes, "each datagram has")?;
        }
        let (maker, buffer_bytes) = self.maker()?;
        let recorded = match self.shape {
            Shape::Recorded { file } => Some((file, self.rate_per_s)),
            Shape::Of(_) => None,
        };
        Ok(Box::new(SyntheticSource {
            maker,
            recorded,
            decoder,
            buffer: vec![0; buffer_bytes].into_boxed_slice(),
            waiting: None,
            t0_ns: 0,
            for_ns: self.for_ns.unwrap_or(u64::MAX),
            left: self.count.unwrap_or(u64::MAX),
        }))
    }
}

enum Maker {
    Market(Box<Synthetic>),
    Datagrams {
        schedule: Schedule,
        number: u64,
    },
    Lines {
        schedule: Schedule,
        readings: Readings,
    },
}

impl Maker {
    fn follow(&mut self, other: Schedule) {
        match self {
            Maker::Market(feed) => feed.follow(other),
            Maker::Datagrams { schedule, .. } | Maker::Lines { schedule, .. } => *schedule = other,
        }
    }

    /// Writes the next message: when it is due after the start, and its length.
    fn next(&mut self, buffer: &mut [u8]) -> Option<(u64, usize)> {
        match self {
            Maker::Market(feed) => feed.next(buffer),
            Maker::Datagrams { schedule, number } => {
                let bytes = buffer.first_chunk_mut()?;
                *bytes = number.to_le_bytes();
                *number += 1;
                Some((schedule.next_ns(), buffer.len()))
            }
            Maker::Lines { schedule, readings } => {
                let len = readings.write(buffer);
                Some((schedule.next_ns(), len))
            }
        }
    }
}

/// Makes messages up.
pub struct SyntheticSource {
    maker: Maker,
    /// The capture whose rhythm it follows, and the mean rate, in messages a second.
    recorded: Option<(PathBuf, f64)>,
    decoder: Box<dyn Decode>,
    buffer: Box<[u8]>,
    /// The message in the buffer: when it is due on the line's clock, and its length.
    waiting: Option<(u64, usize)>,
    t0_ns: u64,
    for_ns: u64,
    /// Messages that may still be made.
    left: u64,
}

impl core::fmt::Debug for SyntheticSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SyntheticSource")
            .field("waiting", &self.waiting)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl SyntheticSource {
    fn make(&mut self) {
        self.waiting = None;
        if self.left == 0 {
            return;
        }
        if let Some((after_ns, len)) = self.maker.next(&mut self.buffer)
            && after_ns < self.for_ns
        {
            self.left -= 1;
            self.waiting = Some((self.t0_ns.saturating_add(after_ns), len));
        }
    }
}

impl Ingress for SyntheticSource {
    fn ports(&self) -> &'static [Port] {
        self.decoder.ports()
    }

    fn max_emit(&self) -> usize {
        self.decoder.max_emit()
    }

    fn memory_bytes(&self) -> usize {
        let feed_bytes = match self.maker {
            Maker::Market(_) => size_of::<Synthetic>() + Contents::heap_bytes(),
            Maker::Datagrams { .. } | Maker::Lines { .. } => 0,
        };
        let rhythm_bytes = match self.recorded {
            Some(_) => RHYTHM_GAPS_MAX * size_of::<u64>(),
            None => 0,
        };
        let own_bytes = size_of::<SyntheticSource>() + self.buffer.len() + rhythm_bytes;
        own_bytes + feed_bytes + self.decoder.memory_bytes()
    }

    fn open(&mut self, io: &mut Driver) -> Result<(), IoError> {
        if let Some((file, rate_per_s)) = &self.recorded {
            let rhythm = rhythm_of(io, file)?;
            let schedule = Schedule::recorded(*rate_per_s, rhythm);
            // The rate was good for the schedule that this one replaces.
            self.maker.follow(schedule.map_err(|_| {
                IoError::new(IoErrorKind::InvalidInput, "scale the rhythm of").on(&file.display())
            })?);
        }
        Ok(())
    }

    fn start(&mut self, t0_ns: u64) {
        self.t0_ns = t0_ns;
        self.make();
    }

    fn turn(&mut self, cx: &mut SourceContext<'_, '_>) -> Feed {
        for nth in 0..BURST_MESSAGES {
            let Some((due_ns, len)) = self.waiting else {
                return Feed::Ended;
            };
            if cx.stamp() < due_ns || !cx.has_room() {
                break;
            }
            if nth == 0 {
                cx.begin_io();
            }
            let arrival = Arrival {
                bytes: &self.buffer[..len],
                t_intended_ns: due_ns,
                scheduled: true,
                received_wall_ns: None,
                peer: None,
            };
            cx.message(arrival, self.decoder.as_mut());
            // The next one is made while there is time for it, not when it is due.
            self.make();
            cx.did_io();
        }
        Feed::Live
    }

    fn housekeep(&mut self, _io: &mut Driver, counters: &IngressCounters) {
        let is = self.decoder.line_ends().is_some();
        counters.in_lines.set(u64::from(is));
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.waiting.map(|(due_ns, _)| due_ns)
    }
}
