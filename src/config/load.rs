//! `load.toml`: how the line is fed when nobody else does.
//!
//! What stands at the top holds for each source; a `[[feed]]` says what is different for one of them.
//!
//! Invariant: values only; whoever drives the line sends by them.

use crate::adapter::shape;
use crate::base::limits::MESSAGE_BYTES_MAX;
use crate::base::units::{Span, UnitError};
use crate::feed::arrivals::RATE_MAX;
use crate::feed::readings::LineFormat;
use crate::feed::schedule::ScheduleError;
use crate::feed::shape::{BURST_DEFAULT, BURST_MAX, INTENSITY_DEFAULT};
use crate::feed::simulated::SYMBOLS_MAX;
use crate::feed::{Arrivals, Rhythm, Schedule, Shape, Synthetic};
use crate::topology::problem::{all, closest};
use crate::topology::{Params, Problem, Problems};

use super::document::Table;
use super::line::{NodeSpec, noted};

/// Rate of a source where the file names none, in messages a second: well within what a line of a
/// few stages does on one core.
const RATE_DEFAULT: f64 = 10_000.0;

/// Seed where the file names none. Any number would do, if it is always the same.
const SEED_DEFAULT: u64 = 42;

/// Largest seed of a load: leaves room for each source's own, and fits in any format's integers.
pub const SEED_MAX: u64 = u32::MAX as u64;

/// Fewest bytes of a datagram: its number is in the first eight.
const DATAGRAM_BYTES_MIN: u64 = 8;

/// Bytes of a datagram where the file names no number.
const DATAGRAM_BYTES_DEFAULT: u64 = 64;

/// How messages get to the sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// In the source's own turn: each source is replaced by one of kind `synthetic`.
    #[default]
    Direct,
    /// From a sender on a thread of its own, over loopback, to the address that the source binds.
    Udp,
    /// From an exchange on a thread of its own, which listens at the address that the source connects to.
    WebSocket,
}

impl Via {
    const ALL: [Via; 3] = [Via::Direct, Via::Udp, Via::WebSocket];

    /// Whether the sources stay as they are, for somebody outside of them brings their messages.
    pub(super) const fn is_outside(self) -> bool {
        !matches!(self, Via::Direct)
    }

    /// The word that files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Via::Direct => "direct",
            Via::Udp => "udp",
            Via::WebSocket => "websocket",
        }
    }

    fn parse(word: &str) -> Option<Via> {
        Via::ALL.into_iter().find(|via| via.name() == word)
    }
}

/// What messages are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The exchange's JSON.
    Market,
    /// Bytes without a meaning.
    Datagrams {
        /// Bytes of each, from 8 to [`MESSAGE_BYTES_MAX`].
        bytes: usize,
    },
    /// Packets of a sequenced feed, which go over UDP.
    Feed(FeedContent),
    /// Lines of telemetry.
    Lines(LineFormat),
}

/// Which feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedKind {
    /// TotalView-ITCH 5.0 over MoldUDP64.
    Itch,
    /// DEEP 1.0 over IEX-TP.
    Deep,
    /// TOPS 1.6 over IEX-TP.
    Tops,
}

impl FeedKind {
    /// All of them.
    pub const ALL: [FeedKind; 3] = [FeedKind::Itch, FeedKind::Deep, FeedKind::Tops];

    /// The word that files use, which is that of its decoder as well.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            FeedKind::Itch => "itch",
            FeedKind::Deep => "deep",
            FeedKind::Tops => "tops",
        }
    }

    /// The kind of source that takes it.
    #[must_use]
    pub const fn source_kind(self) -> &'static str {
        match self {
            FeedKind::Itch => "moldudp64",
            FeedKind::Deep | FeedKind::Tops => "iextp",
        }
    }
}

/// A made-up feed, and what its lines are like: each line loses, delays and repeats by dice of its own.
/// Shares are in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedContent {
    /// Which feed.
    pub kind: FeedKind,
    /// Symbols of the exchange.
    pub symbols: u16,
    /// Share of packets that a line loses.
    pub loss_ppm: u32,
    /// Share of packets that come late, and by how much, in nanoseconds.
    pub delayed_ppm: u32,
    /// By how much, in nanoseconds.
    pub delay_ns: u64,
    /// Share of packets that come twice.
    pub repeated_ppm: u32,
    /// After how much silence there is a heartbeat, in nanoseconds.
    pub heartbeat_ns: u64,
    /// After how many messages the sender begins again, if ever.
    pub restart_after: Option<u64>,
    /// How it does: in a session of another name, else in the same.
    pub new_session: bool,
}

/// Symbols of a made-up exchange where the file names no number.
const FEED_SYMBOLS_DEFAULT: u64 = 1_000;

impl FeedContent {
    const fn of(kind: FeedKind) -> FeedContent {
        FeedContent {
            kind,
            symbols: FEED_SYMBOLS_DEFAULT as u16,
            loss_ppm: 0,
            delayed_ppm: 0,
            delay_ns: 100_000,
            repeated_ppm: 0,
            heartbeat_ns: 1_000_000_000,
            restart_after: None,
            new_session: true,
        }
    }

    /// The same with what the settings say.
    fn read(mut self, params: &mut Params) -> Result<FeedContent, Problem> {
        let symbols = params.count("symbols", self.symbols.into(), 1..=SYMBOLS_MAX.into())?;
        self.symbols = symbols as u16;
        self.loss_ppm = share(params, "loss")?.unwrap_or(self.loss_ppm);
        self.delayed_ppm = share(params, "delayed")?.unwrap_or(self.delayed_ppm);
        self.repeated_ppm = share(params, "repeated")?.unwrap_or(self.repeated_ppm);
        self.delay_ns = params.span_ns("delay")?.unwrap_or(self.delay_ns);
        let heartbeat_ns = params.span_ns("heartbeat")?;
        self.heartbeat_ns = heartbeat_ns.unwrap_or(self.heartbeat_ns).max(1);
        let after = params.count(
            "restart_after",
            self.restart_after.unwrap_or(0),
            0..=u64::MAX,
        )?;
        self.restart_after = (after > 0).then_some(after);
        let words = ["session", "sequence"];
        let known = |word: &str| words.iter().position(|known| *known == word);
        if let Some(at) = params.word("restart", &words, known)? {
            self.new_session = at == 0;
        }
        Ok(self)
    }
}

/// A share, such as `"5%"`, in millionths.
fn share(params: &mut Params, key: &'static str) -> Result<Option<u32>, Problem> {
    const EXPECTED: &str = "a share from \"0%\" to \"100%\", such as \"5%\"";
    params.unit(key, EXPECTED, |text| {
        let number = text
            .strip_suffix('%')
            .and_then(|text| text.parse::<f64>().ok());
        let number = number.filter(|number| (0.0..=100.0).contains(number));
        let ppm = number.map(|number| (number * 1e4).round() as u32);
        ppm.ok_or_else(|| UnitError {
            given: text.to_owned(),
            expected: EXPECTED,
        })
    })
}

/// Settings of made-up feeds alone.
const FEED_KEYS: [&str; 8] = [
    "symbols",
    "loss",
    "delayed",
    "delay",
    "repeated",
    "heartbeat",
    "restart_after",
    "restart",
];

impl Content {
    /// The word that files use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Content::Market => "market",
            Content::Datagrams { .. } => "datagrams",
            Content::Feed(feed) => feed.kind.name(),
            Content::Lines(format) => format.name(),
        }
    }
}

/// How one source is fed.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// The source.
    pub source: String,
    /// What its messages are made of.
    pub content: Content,
    /// Mean rate, in messages a second; says nothing where the shape brings its own.
    pub rate_per_s: f64,
    /// How they are spread in time.
    pub shape: Shape,
    /// Seed of times and contents. Unless the source's own is given, it is the file's plus the
    /// source's place in the line, so that no two feeds are the same.
    pub seed: u64,
}

impl Feed {
    /// When its messages are due, in nanoseconds from the start: what a source or a sender that was
    /// fed by it sent by. A shape that follows a capture takes its `rhythm`, and no other one does.
    ///
    /// # Errors
    /// A rate or arrivals that cannot be, or a capture's rhythm that is missing.
    pub fn schedule(&self, rhythm: Option<Rhythm>) -> Result<Schedule, ScheduleError> {
        match (&self.shape, rhythm) {
            (Shape::Recorded { .. }, Some(rhythm)) => Schedule::recorded(self.rate_per_s, rhythm),
            (Shape::Recorded { .. }, None) => Err(ScheduleError::Rhythm),
            (Shape::Of(arrivals), _) => {
                let seed = match self.content {
                    Content::Market => Synthetic::times_seed(self.seed),
                    Content::Datagrams { .. } | Content::Lines(_) | Content::Feed(_) => self.seed,
                };
                Schedule::new(self.rate_per_s, *arrivals, seed)
            }
        }
    }
}

/// What `load.toml` says.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// How messages get to the sources.
    pub via: Via,
    /// What is not counted at the beginning, in nanoseconds.
    pub warmup_ns: u64,
    /// How long the load lasts, in nanoseconds, if it ends by itself.
    pub duration_ns: Option<u64>,
    /// One for each source, in the line's order.
    pub feeds: Vec<Feed>,
}

impl Load {
    /// How a source is fed.
    #[must_use]
    pub fn feed(&self, source: &str) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.source == source)
    }

    /// Reads the document for a line with these sources.
    pub(super) fn read(mut document: Table, given: &[&NodeSpec], problems: &mut Problems) -> Load {
        let sources: Vec<&str> = given.iter().map(|source| source.name.as_str()).collect();
        let sources = sources.as_slice();
        let tables = document.take_tables("feed", problems);
        let mut params = document.into_params(&["feed"], problems);
        let common = Manner::DEFAULT.read(&mut params, problems);
        let seed = noted(params.count("seed", SEED_DEFAULT, 0..=SEED_MAX), problems);
        let seed = seed.unwrap_or(SEED_DEFAULT);
        let vias = Via::ALL.map(Via::name);
        let via = noted(params.word("via", &vias, Via::parse), problems).flatten();
        for source in given {
            if via == Some(Via::Udp) && !source.params.has("bind") {
                let name = &source.name;
                let what =
                    format!("via = \"udp\" sends to where a source binds, and \"{name}\" does not");
                let help = "give the source a setting bind, or write via = \"direct\"";
                problems.push(params.problem("via", what, help));
            }
            if via == Some(Via::WebSocket) && source.kind != "websocket" {
                let (name, kind) = (&source.name, &source.kind);
                let what = format!(
                    "via = \"websocket\" serves sources of that kind, and \"{name}\" is of kind \"{kind}\""
                );
                let help =
                    "give the source kind = \"websocket\" and a url, or write via = \"direct\"";
                problems.push(params.problem("via", what, help));
            }
        }
        let warmup_ns = noted(params.span_ns("warmup"), problems).flatten();
        let duration_ns = noted(params.span_ns("duration"), problems).flatten();
        if duration_ns == Some(0) {
            let help = "write a span, such as \"10s\", or leave it out";
            problems.push(params.problem("duration", "a load of no duration", help));
        }
        problems.0.extend(params.unknown().0);

        let mut feeds: Vec<Feed> = sources
            .iter()
            .zip(seed..)
            .map(|(source, seed)| common.feed(source, seed))
            .collect();
        let mut told: Vec<String> = Vec::new();
        for table in tables {
            let mut params = table.into_params(&[], problems);
            let source = noted(
                params.need_text("source", sources.first().unwrap_or(&"…")),
                problems,
            );
            let manner = common.read(&mut params, problems);
            let own = params.has("seed");
            let seed = noted(params.count("seed", SEED_DEFAULT, 0..=SEED_MAX), problems);
            problems.0.extend(params.unknown().0);
            let Some(source) = source else { continue };
            if told.contains(&source) {
                let what = format!("two [[feed]] are for \"{source}\"");
                problems.push(params.problem("source", what, "keep one of them"));
                continue;
            }
            match feeds.iter_mut().find(|feed| feed.source == source) {
                Some(feed) => {
                    let seed = seed.filter(|_| own).unwrap_or(feed.seed);
                    *feed = manner.feed(&source, seed);
                }
                None => {
                    let what = format!("\"{source}\" is no source of this line");
                    problems.push(params.problem("source", what, meant(&source, sources)));
                }
            }
            told.push(source);
        }
        Load {
            via: via.unwrap_or_default(),
            warmup_ns: warmup_ns.unwrap_or(0),
            duration_ns,
            feeds,
        }
    }
}

/// The name that was meant, or all that there are.
pub(super) fn meant(given: &str, sources: &[&str]) -> String {
    match closest(given, sources.iter().copied()) {
        Some(meant) => format!("did you mean \"{meant}\"?"),
        None => all("sources", sources.iter().copied()),
    }
}

/// Whether there are such times at that rate, or what is wrong and what would be right.
fn can_be(shape: &Shape, rate_per_s: f64) -> Result<(), (String, String)> {
    let Shape::Of(arrivals) = shape else {
        return Ok(());
    };
    Schedule::new(rate_per_s, *arrivals, 0)
        .map(drop)
        .map_err(|error| {
            let help = match error {
                ScheduleError::BurstSpan { messages, .. } => {
                    let apart_ns = (f64::from(messages) / rate_per_s * 1e9) as u64;
                    let span = Span(apart_ns);
                    format!("write a span of at most {span}, which is from one burst to the next")
                }
                _ => format!("rates are above 0 and at most {RATE_MAX} a second"),
            };
            (error.to_string(), help)
        })
}

/// What a run changes of a load, for every source that it feeds. The default changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadChange {
    /// Another mean rate for each source, in messages a second.
    pub rate_per_s: Option<f64>,
    /// A multiple of each source's mean rate, so that their proportion stays.
    pub factor: Option<f64>,
    /// Another shape.
    pub shape: Option<Shape>,
    /// Another seed for the first source; the next has one more, and so on.
    pub seed: Option<u64>,
}

impl LoadChange {
    /// Whether it changes something.
    #[must_use]
    pub fn is_some(&self) -> bool {
        *self != LoadChange::default()
    }
}

impl Load {
    /// Changes what is asked for. Sources that are bursty already stay as bursty as they are.
    ///
    /// # Errors
    /// A rate for a shape that brings its own, or bursts that one rate is too high for; the load is
    /// then half changed.
    pub(super) fn change(&mut self, change: &LoadChange) -> Result<(), Problem> {
        for (place, feed) in (0..).zip(&mut self.feeds) {
            match (&change.shape, &feed.shape) {
                (Some(Shape::Of(Arrivals::Bursty { .. })), Shape::Of(Arrivals::Bursty { .. }))
                | (None, _) => {}
                (Some(shape), _) => feed.shape = shape.clone(),
            }
            let changes_rate = change.rate_per_s.is_some() || change.factor.is_some();
            if changes_rate && feed.shape.has_own_rate() {
                let shape = &feed.shape;
                let what =
                    format!("a rate says nothing of \"{shape}\", which brings its own rates");
                return Err(Problem::new(
                    what,
                    "leave the rate out, or choose another shape",
                ));
            }
            let rate_per_s = change.rate_per_s.unwrap_or(feed.rate_per_s);
            feed.rate_per_s = rate_per_s * change.factor.unwrap_or(1.0);
            feed.seed = change.seed.map_or(feed.seed, |seed| seed + place);
            can_be(&feed.shape, feed.rate_per_s).map_err(|(what, help)| {
                let source = &feed.source;
                Problem::new(format!("the load of \"{source}\": {what}"), help)
            })?;
        }
        Ok(())
    }
}

/// What is the same for a file and for one of its feeds.
#[derive(Clone)]
struct Manner {
    content: Content,
    rate_per_s: f64,
    shape: Shape,
}

impl Manner {
    const DEFAULT: Manner = Manner {
        content: Content::Market,
        rate_per_s: RATE_DEFAULT,
        shape: Shape::Of(Arrivals::Poisson),
    };

    /// The same with what the settings say.
    fn read(&self, params: &mut Params, problems: &mut Problems) -> Manner {
        let rate = noted(params.rate("rate"), problems).flatten();
        let shape = noted(self.shape(params), problems);
        let content = noted(self.content(params), problems);
        let rate_per_s = rate.unwrap_or(self.rate_per_s);
        if let Some(shape) = &shape
            && let Err((what, help)) = can_be(shape, rate_per_s)
        {
            problems.push(params.problem("arrivals", what, help));
        }
        Manner {
            content: content.unwrap_or(self.content),
            rate_per_s,
            shape: shape.unwrap_or_else(|| self.shape.clone()),
        }
    }

    fn shape(&self, params: &mut Params) -> Result<Shape, Problem> {
        let given = shape::from_params(params);
        let (burst, intensity) = match self.shape {
            Shape::Of(Arrivals::Bursty { burst, intensity }) => (burst, intensity),
            _ => (BURST_DEFAULT, INTENSITY_DEFAULT),
        };
        let most = u64::from(BURST_MAX);
        let burst = params.count("burst", u64::from(burst), 1..=most);
        let intensity = params.count("intensity", u64::from(intensity), 1..=most);
        let bursty = Shape::Of(Arrivals::Bursty {
            burst: burst? as u32,
            intensity: intensity? as u32,
        });
        let shape = match given?.unwrap_or_else(|| self.shape.clone()) {
            Shape::Of(Arrivals::Bursty { .. }) => bursty.clone(),
            shape => shape,
        };
        let stray = ["burst", "intensity"]
            .into_iter()
            .find(|key| params.has(key));
        if let Some(key) = stray.filter(|_| shape != bursty) {
            let what = format!("\"{key}\" says nothing of arrivals that are not bursty");
            let help = "write arrivals = \"bursty\" beside it, or remove it";
            return Err(params.problem(key, what, help));
        }
        if shape.has_own_rate() && params.has("rate") {
            let what = "\"rate\" says nothing of arrivals that bring their own rates";
            return Err(params.problem("rate", what, "remove it, or choose other arrivals"));
        }
        Ok(shape)
    }

    fn content(&self, params: &mut Params) -> Result<Content, Problem> {
        let words = [
            "market",
            "datagrams",
            "statsd",
            "graphite",
            "influx",
            "itch",
            "deep",
            "tops",
        ];
        let word = params.word("content", &words, |word| {
            words.iter().copied().find(|known| *known == word)
        });
        let bytes = match self.content {
            Content::Datagrams { bytes } => bytes as u64,
            Content::Market | Content::Lines(_) | Content::Feed(_) => DATAGRAM_BYTES_DEFAULT,
        };
        let bytes = params.count(
            "bytes",
            bytes,
            DATAGRAM_BYTES_MIN..=MESSAGE_BYTES_MAX as u64,
        )? as usize;
        let word = word?.unwrap_or(self.content.name());
        let kind = FeedKind::ALL.into_iter().find(|kind| kind.name() == word);
        let before = match self.content {
            Content::Feed(feed) => feed,
            _ => FeedContent::of(FeedKind::Itch),
        };
        let feed = before.read(params);
        let content = match (kind, LineFormat::of_word(word)) {
            (Some(kind), _) => Content::Feed(FeedContent { kind, ..feed? }),
            (None, Some(format)) => Content::Lines(format),
            (None, None) if word == "market" => Content::Market,
            (None, None) => Content::Datagrams { bytes },
        };
        if kind.is_none()
            && let Some(key) = FEED_KEYS.into_iter().find(|key| params.has(key))
        {
            let what = format!(
                "\"{key}\" says something of a made-up feed, and the content is \"{word}\""
            );
            let help = "write content = \"itch\", \"deep\" or \"tops\" beside it, or remove it";
            return Err(params.problem(key, what, help));
        }
        if !matches!(content, Content::Datagrams { .. }) && params.has("bytes") {
            let what = "\"bytes\" says nothing of messages that are as long as they are";
            let help = "write content = \"datagrams\" beside it, or remove it";
            return Err(params.problem("bytes", what, help));
        }
        Ok(content)
    }

    fn feed(&self, source: &str, seed: u64) -> Feed {
        Feed {
            source: source.to_owned(),
            content: self.content,
            rate_per_s: self.rate_per_s,
            shape: self.shape.clone(),
            seed,
        }
    }
}
