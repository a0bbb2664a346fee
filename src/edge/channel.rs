//! A channel: events of one kind of thing, numbered by one writer, and what has become of them for whoever is behind.
//!
//! ```text
//!                       offsets   1 … 41 │ 42 43 44 45 46 47   last
//!   log, bounded                         │  a  b  a  c  a  b          what a client a little behind still gets, one by one
//!   values, one a key                             c45 a46 b47         what one far behind gets, or one that comes anew
//! ```
//!
//! Nobody's queue is kept here: a client is a number, how far it has come. What waits for it is what lies between that and the
//! last offset, so a thousand clients that read nothing cost a thousand numbers.
//!
//! | lane | keeps | a client that is far behind |
//! |---|---|---|
//! | [`Lane::State`] | the log, and the newest event of each key | gets the newest of each key, in the order of their offsets |
//! | [`Lane::Critical`] | the log | has lost what the log lost, which ends its connection |
//! | [`Lane::Stream`] | the log | is told what it lost, and goes on behind it |
//!
//! Offsets are dense in a channel and an epoch, from 1 on. A state channel gives the newest events in the order of their
//! offsets, so one that has got the event `n` has got, of each key, the newest up to `n`: one number says where it is, whatever
//! was conflated (Centrifugo's recovery by offset and epoch, with conflation).
//!
//! Invariant: from any offset on, a client gets offsets that only rise, up to the last; what it does not get of them it is told
//! of, by a number that was skipped or as lost.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::event::{Body as _, GapWhy, Kind, Place, Snapshot};
use super::position::{Epoch, Position, Since};
use super::published::{NotPublished, Outline, Published};
use super::sum::{self, Sum};
use crate::base::limits::{
    EDGE_EVENT_BYTES_MAX, EDGE_KEY_BYTES_MAX, EDGE_KEYS_DEFAULT, EDGE_LOG_BYTES_DEFAULT,
    EDGE_LOG_EVENTS_DEFAULT,
};

/// Which of a client's channels come first. The order is that of the enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What must not be lost: errors, gates. Acknowledged by clients that can.
    Critical,
    /// What has a newest value for each key.
    State,
    /// Samples and streams: the oldest give way.
    Stream,
}

/// What a channel keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Most events in its log.
    pub events_max: usize,
    /// Most bytes of them, as WebSocket messages.
    pub bytes_max: usize,
    /// Of a state channel: most keys.
    pub keys_max: usize,
}

impl Default for ChannelLimits {
    fn default() -> ChannelLimits {
        ChannelLimits {
            events_max: EDGE_LOG_EVENTS_DEFAULT,
            bytes_max: EDGE_LOG_BYTES_DEFAULT,
            keys_max: EDGE_KEYS_DEFAULT,
        }
    }
}

/// Events that a client will not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first of them.
    pub from: u64,
    /// The last of them.
    pub to: u64,
    /// Why.
    pub why: GapWhy,
}

/// How a client begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Behind this offset.
    pub at: u64,
    /// Whether everything behind the position that it named follows.
    pub recovered: bool,
    /// How many events follow at once, those that will be conflated included.
    pub replayed: u64,
    /// What it will not get of what it asked for.
    pub gap: Option<Missing>,
    /// Whether it is to get a snapshot first, which is of [`Joined::at`].
    pub snapshot: bool,
}

/// What comes next for one that has come so far.
#[derive(Clone, Copy, Debug)]
pub enum Next<'a> {
    /// This event, at that offset, with so many before it that are not coming.
    Event {
        /// The event.
        event: &'a Published,
        /// Its place, numbered or not.
        at: u64,
        /// Those before it that newer ones stand for.
        skipped: u64,
    },
    /// It is too far behind: these are gone.
    Lost {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
}

#[derive(Debug)]
struct Value {
    key: Box<str>,
    value: Box<str>,
    event: Published,
    at: u64,
    sum: u32,
}

/// The newest event of each key.
#[derive(Debug, Default)]
struct Values {
    by_key: HashMap<Box<str>, usize>,
    all: Vec<Value>,
    /// Which of them is the newest at an offset.
    by_offset: BTreeMap<u64, usize>,
    sum: Sum,
    /// The snapshot of the last offset, once somebody asked for it.
    snapshot: Option<Published>,
}

/// A channel.
///
/// ```
/// use hopline::edge::{Channel, ChannelLimits, Epoch, Kind, Lane, Next, Outline};
/// let mut nodes = Channel::new("dag/line", Lane::State, ChannelLimits::default(), Epoch(7));
/// for (key, value) in [("a", "{\"n\":1}"), ("b", "{\"n\":2}"), ("a", "{\"n\":3}")] {
///     let outline = Outline { kind: Kind::NodeState, key: Some(key), value, time_ms: 0, born_ns: 0 };
///     nodes.publish(&outline)?;
/// }
/// // One that is too far behind for each of them gets the newest of each key, and is told so.
/// let Some(Next::Event { at, skipped, .. }) = nodes.next(0, 0) else { panic!() };
/// assert_eq!((at, skipped), (2, 1));
/// let Some(Next::Event { at, skipped, .. }) = nodes.next(2, 0) else { panic!() };
/// assert_eq!((at, skipped), (3, 0));
/// assert!(nodes.next(3, 0).is_none());
/// assert!(nodes.join(None, true).snapshot);
/// # Ok::<(), hopline::edge::NotPublished>(())
/// ```
#[derive(Debug)]
pub struct Channel {
    name: Box<str>,
    lane: Lane,
    limits: ChannelLimits,
    epoch: Epoch,
    numbered: bool,
    last: u64,
    log: VecDeque<(Published, Option<usize>)>,
    log_bytes: usize,
    values: Option<Values>,
}

impl Channel {
    /// A channel whose events are numbered, and kept for those who come back.
    #[must_use]
    pub fn new(name: &str, lane: Lane, limits: ChannelLimits, epoch: Epoch) -> Channel {
        Channel {
            name: name.into(),
            lane,
            limits,
            epoch,
            numbered: true,
            last: 0,
            log: VecDeque::new(),
            log_bytes: 0,
            values: (lane == Lane::State).then(Values::default),
        }
    }

    /// A channel of a stream whose events have no place: who comes back goes on with what is new. They never move a client's
    /// resume point.
    #[must_use]
    pub fn passing(name: &str, limits: ChannelLimits, epoch: Epoch) -> Channel {
        Channel {
            numbered: false,
            ..Channel::new(name, Lane::Stream, limits, epoch)
        }
    }

    /// Its name, `name/group`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its lane.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.lane
    }

    /// Its numbering.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether its events have offsets that clients see.
    #[must_use]
    pub fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// The offset of the last event; 0 before the first.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.last
    }

    /// The check sum of its values.
    #[must_use]
    pub fn sum(&self) -> Option<u32> {
        self.values.as_ref().map(|values| values.sum.value())
    }

    /// Bytes that its log takes up, as WebSocket messages.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// The first offset that the log has; one behind the last where it is empty.
    pub(super) fn first(&self) -> u64 {
        self.last - self.log.len() as u64 + 1
    }

    /// Numbers and keeps an event.
    ///
    /// # Errors
    /// It is none for this channel; nothing was published.
    pub fn publish(&mut self, outline: &Outline<'_>) -> Result<&Published, NotPublished> {
        if outline.value.len() > EDGE_EVENT_BYTES_MAX {
            return Err(NotPublished::TooLong);
        }
        let at = self.last + 1;
        let slot = match (&mut self.values, outline.key) {
            (None, None) => None,
            (Some(values), Some(key)) => Some(values.slot(key, self.limits.keys_max)?),
            _ => return Err(NotPublished::Key),
        };
        let hash = outline.key.map(|key| sum::entry(key, outline.value));
        if let (Some(values), Some(slot), Some(hash)) = (&mut self.values, slot, hash) {
            match values.all.get(slot) {
                Some(value) => values.sum.replace(value.sum, hash),
                None => values.sum.add(hash),
            }
        }
        let told = self.values.as_ref().filter(|_| sum::is_due(at));
        let place = Place {
            channel: &self.name,
            offset: self.numbered.then_some(at),
            time_ms: outline.time_ms,
            sum: told.map(|values| values.sum.value()),
        };
        let event = Published::new(&place, outline);
        if let (Some(values), Some(slot), Some(hash)) = (&mut self.values, slot, hash) {
            values.put(slot, outline, &event, at, hash);
        }
        self.last = at;
        self.log_bytes += event.bytes();
        self.log.push_back((event, slot));
        while self.log.len() > self.limits.events_max
            || (self.log_bytes > self.limits.bytes_max && self.log.len() > 1)
        {
            if let Some((gone, _)) = self.log.pop_front() {
                self.log_bytes -= gone.bytes();
            }
        }
        Ok(&self.log[self.log.len() - 1].0)
    }

    /// How one begins that wants it from there on; `snapshot` says whether it has a use for one.
    ///
    /// All or nothing: `recovered` says that everything behind its position follows. Otherwise it is told what is missing.
    #[must_use]
    pub fn join(&self, since: Option<Since>, snapshot: bool) -> Joined {
        let has_values = self.values.is_some();
        let fresh = Joined {
            at: self.last,
            recovered: false,
            replayed: 0,
            gap: None,
            snapshot: snapshot && has_values,
        };
        let from = |at: u64, recovered: bool| Joined {
            at,
            recovered,
            replayed: self.last - at,
            gap: None,
            snapshot: false,
        };
        if !self.numbered {
            return fresh;
        }
        match since {
            None if self.lane == Lane::Critical => from(self.first() - 1, false),
            None => fresh,
            // Of a state channel, the newest of each key is all that there is.
            Some(Since::Earliest) if has_values => from(0, false),
            Some(Since::Earliest) => from(self.first() - 1, false),
            Some(Since::After(position)) if position.epoch != self.epoch => Joined {
                gap: Some(Missing {
                    from: 1,
                    to: self.last,
                    why: GapWhy::Epoch,
                }),
                ..fresh
            },
            Some(Since::After(Position { offset, .. })) if offset > self.last => Joined {
                gap: Some(Missing {
                    from: self.last + 1,
                    to: offset,
                    why: GapWhy::Epoch,
                }),
                ..fresh
            },
            Some(Since::After(Position { offset, .. })) if offset + 1 < self.first() => Joined {
                gap: Some(Missing {
                    from: offset + 1,
                    to: self.last,
                    why: GapWhy::History,
                }),
                ..fresh
            },
            Some(Since::After(Position { offset, .. })) => from(offset, true),
        }
    }

    /// What comes next for one that has got everything up to `at`. One that is `conflate_from` events behind or more, or
    /// further than the log reaches, gets of a state channel only the newest of each key.
    #[must_use]
    pub fn next(&self, at: u64, conflate_from: u64) -> Option<Next<'_>> {
        let behind = self.last.saturating_sub(at);
        if behind == 0 {
            return None;
        }
        let is_in_log = at + 1 >= self.first();
        if let Some(values) = &self.values
            && (behind >= conflate_from || !is_in_log)
        {
            let (offset, slot) = values.by_offset.range(at + 1..).next()?;
            return Some(Next::Event {
                event: &values.all[*slot].event,
                at: *offset,
                skipped: offset - at - 1,
            });
        }
        if !is_in_log {
            let to = self.first() - 1;
            return Some(Next::Lost { from: at + 1, to });
        }
        let (event, _) = self.log.get((at + 1 - self.first()) as usize)?;
        Some(Next::Event {
            event,
            at: at + 1,
            skipped: 0,
        })
    }

    /// A snapshot of its values, made once for all who ask before the next event; of a channel without values none.
    pub fn snapshot(&mut self) -> Option<&Published> {
        let (last, name) = (self.last, &self.name);
        let values = self.values.as_mut()?;
        if values.snapshot.is_none() {
            values.snapshot = Some(values.to_snapshot(name, last));
        }
        values.snapshot.as_ref()
    }
}

impl Values {
    /// The place of a key, or of the next one that is new.
    fn slot(&self, key: &str, keys_max: usize) -> Result<usize, NotPublished> {
        match self.by_key.get(key) {
            Some(slot) => Ok(*slot),
            None if key.len() > EDGE_KEY_BYTES_MAX => Err(NotPublished::LongKey),
            None if self.all.len() < keys_max => Ok(self.all.len()),
            None => Err(NotPublished::TooManyKeys),
        }
    }

    fn put(&mut self, slot: usize, outline: &Outline<'_>, event: &Published, at: u64, sum: u32) {
        self.snapshot = None;
        let key: &str = outline.key.unwrap_or_default();
        let value = Value {
            key: key.into(),
            value: outline.value.into(),
            event: event.clone(),
            at,
            sum,
        };
        match self.all.get_mut(slot) {
            Some(old) => {
                self.by_offset.remove(&old.at);
                *old = value;
            }
            None => {
                self.by_key.insert(key.into(), slot);
                self.all.push(value);
            }
        }
        self.by_offset.insert(at, slot);
    }

    /// Keys in the order of their bytes, so that the same values give the same text.
    fn to_snapshot(&self, name: &str, last: u64) -> Published {
        let mut values: Vec<&Value> = self.all.iter().collect();
        values.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        let snapshot = Snapshot {
            channel: name,
            offset: last,
            entries: values.iter().map(|value| (&*value.key, &*value.value)),
            sum: self.sum,
        };
        Published::of_text(&snapshot.text(), Kind::Snapshot)
    }
}
