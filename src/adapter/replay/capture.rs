//! What went over a hop, once more.
//!
//! A message of a capture is handed to a decoder as the records of its frames. [`captured`] checks each of them as a slot's payload is
//! checked and emits it again, so a frame that does not fit its kind is refused and not believed.
//!
//! Invariant: frames come as they were recorded: kind, marks and payload, byte for byte, unless an upgrade is registered for their
//! version; and a file whose frames this program cannot read is refused before the line starts.

use core::marker::PhantomData;
use std::path::{Path, PathBuf};

use super::{Item, Pace, Recording, decodes, paced, source};
use crate::adapter::Intake;
use crate::base::Reject;
use crate::base::limits::{FRAGMENTS_MAX, PAYLOAD_BYTES};
use crate::feed::market::Market;
use crate::feed::{Datagrams, DeepMessage, ItchMessage, Telemetry, TopsMessage};
use crate::frame::capture::{
    BLOCK_BYTES_MAX, CaptureFault, CaptureKind, CapturedFrames, content_hash,
};
use crate::frame::{
    Aligned, Carries, Frame, FrameError, Header, HeaderError, KindInfo, Replayed, TakeFrame,
    Upgrade,
};
use crate::io::{CaptureEvent, CaptureReader, Driver, Fill, IoError};
use crate::stage::context::Message;
use crate::stage::{Context, Decode, Decoded, Ingress, Out, Port};
use crate::topology::{Params, Problem};

/// Less than so much is read on for, in bytes: the longest message, or many short ones.
const SHORT_BYTES: usize = BLOCK_BYTES_MAX;

/// A description of a source that replays what went over a hop.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    path: PathBuf,
    pub(super) pace: Pace,
}

/// Replays a capture file, plain or gzip, at the pace at which its messages were due.
///
/// ```
/// use hopline::adapter::{capture, captured};
/// use hopline::feed::market::Market;
/// let source = capture("btc.cap").speed(None).decode(captured::<Market>());
/// ```
#[must_use]
pub fn capture(path: impl AsRef<Path>) -> Capture {
    Capture {
        path: path.as_ref().to_owned(),
        pace: Pace::default(),
    }
}

paced!(Capture, Blocks, |_| ());

impl Capture {
    /// From the settings `file`, `speed` and `epoch_ns`.
    pub(crate) fn from_params(params: &mut Params) -> Result<Capture, Problem> {
        let path = params.need_text("file", "btc.cap")?.into();
        let pace = Pace::from_params(params)?;
        Ok(Capture { path, pace })
    }
}

impl Intake for Capture {
    fn into_ingress(self, decoder: Box<dyn Decode>) -> Result<Box<dyn Ingress>, Problem> {
        source::<Blocks>(self.path, self.pace, (), decoder)
    }
}

/// A capture as the source reads it.
pub(super) struct Blocks {
    reader: CaptureReader,
    /// From the line's clock of the recording to its wall time at the start.
    offset_ns: i128,
    events: u64,
    recorded_hash: Option<u64>,
    /// Whether the break at its end was told.
    torn: bool,
}

/// What a fault of the file is counted as.
fn reject(fault: CaptureFault) -> Reject {
    match fault {
        CaptureFault::Truncated { .. } => Reject::Truncated,
        CaptureFault::Version(_) => Reject::UnknownSchema,
        _ => Reject::Corrupt,
    }
}

impl Recording for Blocks {
    type Wish = ();
    const MESSAGE_BYTES: usize = BLOCK_BYTES_MAX;
    const MEMORY_BYTES: usize = 1 << 20;

    fn open(io: &mut Driver, path: &Path, (): &()) -> Result<Blocks, IoError> {
        let reader = CaptureReader::open(io, path)?;
        let start = reader.start();
        Ok(Blocks {
            offset_ns: i128::from(start.wall_ns) - i128::from(start.line_ns),
            reader,
            events: 0,
            recorded_hash: None,
            torn: false,
        })
    }

    fn next(&mut self) -> Option<Item<'_>> {
        // Asked for twice, because what is found is borrowed.
        let at_end = self.reader.has_ended() && self.reader.is_drained();
        if at_end {
            let torn = self.reader.torn().filter(|_| !self.torn)?;
            self.torn = true;
            self.events += 1;
            return Some(Item::Bad(reject(torn.fault), self.reader.buffered_bytes()));
        }
        match self.reader.next_event()? {
            CaptureEvent::Message(message) => {
                self.events += 1;
                self.recorded_hash = Some(message.hash);
                let at_ns = i128::from(message.about.intended_ns) + self.offset_ns;
                Some(Item::Message {
                    at_ns: u64::try_from(at_ns).unwrap_or(0),
                    bytes: message.records,
                    peer: None,
                })
            }
            CaptureEvent::Bad(bad) => {
                self.events += 1;
                Some(Item::Bad(reject(bad.fault), 0))
            }
            CaptureEvent::End(_) => None,
        }
    }

    fn is_short(&self) -> bool {
        self.reader.buffered_bytes() < SHORT_BYTES
    }

    fn needs_fill(&self) -> bool {
        !self.reader.has_ended()
    }

    fn fill(&mut self, io: &mut Driver, budget_bytes: usize) -> Result<Fill, IoError> {
        self.reader.fill(io, budget_bytes)
    }

    fn at_end(&self) -> bool {
        self.reader.is_over()
            || (self.reader.has_ended()
                && self.reader.is_drained()
                && (self.torn || self.reader.torn().is_none()))
    }

    fn was_empty(&self) -> bool {
        self.events == 0
    }

    fn fold(hash: u64, bytes: &[u8]) -> u64 {
        CapturedFrames::of(bytes).fold(hash, |hash, (header, payload)| {
            content_hash(
                hash,
                header.schema(),
                header.version(),
                header.meta().flags,
                payload,
            )
        })
    }

    fn recorded_hash(&self) -> Option<u64> {
        self.recorded_hash
    }

    fn kinds(&self) -> &[CaptureKind] {
        &self.reader.start().kinds
    }

    fn close(self, io: &mut Driver) -> Result<(), IoError> {
        self.reader.close(io)
    }
}

/// Emits recorded frames of a set again.
#[derive(Clone, Debug)]
pub struct Captured<S> {
    upgrades: Vec<Upgrader>,
    set: PhantomData<fn() -> S>,
}

/// [`Upgrade::upgrade`] of a kind.
type MakeNew = fn(u16, &[u8], &mut [u8]) -> Result<usize, HeaderError>;

/// What reads older versions of a kind.
#[derive(Clone, Copy, Debug)]
struct Upgrader {
    schema: u16,
    upgrade: MakeNew,
}

/// The decoder for recorded frames of the set `S`, or of one kind, in the versions that this program has of them.
#[must_use]
pub fn captured<S: Replayed>() -> Captured<S> {
    Captured {
        upgrades: Vec::new(),
        set: PhantomData,
    }
}

impl<S> Captured<S> {
    /// The same, which takes frames `F` of older versions too, as their [`Upgrade`] makes them new.
    ///
    /// ```
    /// use hopline::adapter::{capture, captured};
    /// use hopline::frame::{Frame, HeaderError, Upgrade};
    ///
    /// #[hopline::frame(schema = 7, version = 1, name = "quote")]
    /// struct QuoteV1 { bid: i64 }
    ///
    /// #[hopline::frame(schema = 7, version = 2)]
    /// struct Quote { bid: i64, venue: u16 }
    ///
    /// impl Upgrade for Quote {
    ///     fn upgrade(from: u16, payload: &[u8], out: &mut [u8]) -> Result<usize, HeaderError> {
    ///         match from {
    ///             1 => Ok(Quote { bid: QuoteV1::read(payload)?.bid(), venue: 0 }.write(out)?),
    ///             _ => Err(Self::no_upgrade(from)),
    ///         }
    ///     }
    /// }
    ///
    /// let source = capture("quotes.cap").decode(captured::<Quote>().upgrades::<Quote>());
    /// ```
    #[must_use]
    pub fn upgrades<F: Upgrade>(mut self) -> Captured<S>
    where
        S: Carries<F>,
    {
        self.upgrades.push(Upgrader {
            schema: F::SCHEMA,
            upgrade: F::upgrade,
        });
        self
    }

    /// What makes frames of that kind and older version new, if anything was registered.
    fn upgrader(&self, schema: u16) -> Option<&Upgrader> {
        self.upgrades.iter().find(|one| one.schema == schema)
    }
}

type Make = fn() -> Box<dyn Decode>;

/// The sets of this library whose recorded frames can be decoded: the word for each, its decoder, and its kinds. A program adds
/// those of its own.
pub(crate) const CAPTURED: [(&str, Make, &[KindInfo]); 6] = [
    set::<Market>("market"),
    set::<Datagrams>("datagrams"),
    set::<Telemetry>("telemetry"),
    set::<ItchMessage>("itch"),
    set::<DeepMessage>("deep"),
    set::<TopsMessage>("tops"),
];

const fn set<S: Replayed>(word: &'static str) -> (&'static str, Make, &'static [KindInfo]) {
    (word, || Box::new(captured::<S>()), S::KINDS)
}

/// The word of the set that has just these kinds.
pub(crate) fn captured_word(kinds: &[KindInfo]) -> Option<&'static str> {
    let set = CAPTURED.iter().find(|(_, _, of_set)| *of_set == kinds);
    set.map(|(word, _, _)| *word)
}

/// The decoder of a set of this library that has all the kinds which a capture names, if there is one.
///
/// ```
/// use hopline::adapter::captured_of;
/// use hopline::feed::Datagrams;
/// use hopline::frame::{Input, capture::CaptureKind};
/// let kinds: Vec<CaptureKind> = Datagrams::KINDS.iter().map(CaptureKind::of).collect();
/// assert!(captured_of(&kinds).is_some());
/// let other = CaptureKind { schema: 60_000, ..kinds[0].clone() };
/// assert!(captured_of(&[other]).is_none());
/// ```
#[must_use]
pub fn captured_of(kinds: &[CaptureKind]) -> Option<Box<dyn Decode>> {
    let has = |of_set: &[KindInfo], kind: &CaptureKind| {
        of_set.iter().any(|known| known.schema == kind.schema)
    };
    let set = CAPTURED
        .iter()
        .find(|(_, _, of_set)| kinds.iter().all(|kind| has(of_set, kind)));
    set.map(|(_, make, _)| make())
}

impl<S: Replayed> Captured<S> {
    const PORTS: &'static [Port] = &[Port::new::<S>("out")];
}

/// Puts frames on a message in the making.
struct Push<'m, 'c, 'a, S>(&'m mut Message<'c, 'a, S>);

impl<S> TakeFrame<S> for Push<'_, '_, '_, S> {
    #[inline]
    fn take<F: Frame>(&mut self, frame: &F)
    where
        S: Carries<F>,
    {
        self.0.push(frame);
    }
}

/// Emits the one frame of a message.
struct Whole<'m, 'a, S>(&'m mut Context<'a>, PhantomData<S>);

impl<S> TakeFrame<S> for Whole<'_, '_, S> {
    #[inline]
    fn take<F: Frame>(&mut self, frame: &F)
    where
        S: Carries<F>,
    {
        self.0.emit(Out::<S>::at(0), frame);
    }
}

impl<S: Replayed> Decode for Captured<S> {
    fn ports(&self) -> &'static [Port] {
        Self::PORTS
    }

    /// As many as a message may have.
    fn max_emit(&self) -> usize {
        FRAGMENTS_MAX
    }

    fn other_version(&self, kind: &CaptureKind) -> Option<u16> {
        let known = S::KINDS.iter().find(|known| known.schema == kind.schema)?;
        if known.version == kind.version {
            return None;
        }
        // Which versions an upgrade knows it says when it is asked for one, whatever the payload is.
        let asked = self
            .upgrader(kind.schema)
            .filter(|_| kind.version < known.version);
        let (blank, mut out) = (
            Aligned::<PAYLOAD_BYTES>::new(),
            Aligned::<PAYLOAD_BYTES>::new(),
        );
        let blank = &blank[..usize::from(kind.bytes).min(PAYLOAD_BYTES)];
        let answer = asked.map(|one| (one.upgrade)(kind.version, blank, &mut out));
        match answer {
            None | Some(Err(HeaderError::Version { .. })) => Some(known.version),
            Some(_) => None,
        }
    }

    fn decode(&mut self, message: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        let count = CapturedFrames::of(message).count();
        let mut room = Room::default();
        let mut frames = CapturedFrames::of(message);
        let (first, _) = frames.clone().next().ok_or(Reject::Empty)?;
        for (header, _) in frames.clone() {
            let known = S::KINDS.iter().find(|kind| kind.schema == header.schema());
            let is_read = known.is_some_and(|kind| {
                kind.version == header.version()
                    || kind.version > header.version() && self.upgrader(kind.schema).is_some()
            });
            if !is_read {
                return Err(Reject::UnknownSchema);
            }
        }
        if count == 1 {
            let (header, payload) = frames.next().ok_or(Reject::Empty)?;
            let payload = self.read(header, payload, &mut room)?;
            S::give(header.schema(), payload, &mut Whole::<S>(cx, PhantomData)).map_err(wrong)?;
            return Ok(Decoded::default());
        }
        let mut message = cx.message::<S>(Out::at(0), first.schema(), count);
        for (header, payload) in frames {
            // One that is refused takes the whole message back.
            let payload = self.read(header, payload, &mut room)?;
            S::give(header.schema(), payload, &mut Push(&mut message)).map_err(wrong)?;
        }
        message.send();
        Ok(Decoded::default())
    }
}

/// Room for a payload as it was recorded, and as it is in this version.
#[derive(Default)]
struct Room {
    recorded: Aligned<PAYLOAD_BYTES>,
    upgraded: Aligned<PAYLOAD_BYTES>,
}

impl<S: Replayed> Captured<S> {
    /// The payload of a frame in the version that this program has of its kind.
    #[inline]
    fn read<'r>(
        &self,
        header: &Header,
        payload: &[u8],
        room: &'r mut Room,
    ) -> Result<&'r [u8], Reject> {
        let recorded = room.recorded.copy_from(payload).map_err(wrong)?;
        let (schema, version) = (header.schema(), header.version());
        let is_present = |kind: &KindInfo| kind.schema == schema && kind.version == version;
        if S::KINDS.iter().any(is_present) {
            return Ok(recorded);
        }
        let upgrader = self.upgrader(schema).ok_or(Reject::UnknownSchema)?;
        let written = (upgrader.upgrade)(version, recorded, &mut room.upgraded);
        let written = written.map_err(|error| match error {
            HeaderError::Version { .. } => Reject::UnknownSchema,
            _ => Reject::Corrupt,
        })?;
        room.upgraded.get(..written).ok_or(Reject::Corrupt)
    }
}

/// A payload that is not what its kind promises.
fn wrong(_: FrameError) -> Reject {
    Reject::Corrupt
}
