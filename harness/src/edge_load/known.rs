//! What the server said of its channels to any of the clients, read once for all of them.
//!
//! All clients get the same text of an event. Whoever gets it first has it read; for the others it is compared, byte by byte,
//! with the one that is known. So ten thousand clients can be checked in full at the cost of a comparison each, and two of them
//! that are given different events for one offset are found too.
//!
//! Invariant: memory is bounded by what a channel of the edge keeps, whatever a server says.

use std::collections::HashMap;
use std::rc::Rc;

use hopline::base::limits::{EDGE_KEYS_DEFAULT, EDGE_LOG_EVENTS_DEFAULT};
use hopline::edge::{Epoch, Sum, sum};
use serde::de::IgnoredAny;

use super::message::{self, Head};

/// Events of a channel that are known: as many as a server keeps for those who come back.
const EVENTS: usize = EDGE_LOG_EVENTS_DEFAULT;

/// Snapshots of a channel that are known: clients that come in a crowd get few different ones.
const SNAPSHOTS: usize = 32;

/// Most keys of a channel: some times as many as a server has.
const KEYS_MAX: usize = 16 * EDGE_KEYS_DEFAULT;

/// What an event says, as far as a client keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The place of its key, and the hash of the key with its value.
    pub(super) entry: Option<(u32, u32)>,
    /// The sum that it carries.
    pub(super) sum: Option<u32>,
}

/// What a snapshot says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Places of keys, and the hashes of the keys with their values.
    pub(super) entries: Vec<(u32, u32)>,
    /// The sum over them.
    pub(super) sum: Sum,
    /// The sum that it carries.
    pub(super) told: u32,
}

/// Why a text cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is not written as the edge writes.
    NotCanonical,
    /// Another client was given another text for the same offset.
    Differs,
    /// More keys than a channel may have.
    TooManyKeys,
}

#[derive(Debug)]
struct Seen<T> {
    epoch: Epoch,
    offset: u64,
    text: Box<str>,
    what: T,
}

/// A channel, as far as any client knows it.
#[derive(Debug)]
pub(super) struct Channel {
    name: String,
    /// Its name as JSON has it, without the quotes.
    escaped: String,
    /// Whether clients acknowledge its events, and may get them again until they have.
    pub(super) is_critical: bool,
    /// Whether one that is new to it gets a snapshot.
    pub(super) sends_snapshots: bool,
    /// Whether its events have offsets.
    pub(super) is_numbered: bool,
    keys: HashMap<String, u32>,
    events: Vec<Option<Seen<Known>>>,
    snapshots: Vec<Option<Seen<Rc<View>>>>,
}

impl Channel {
    /// A channel of which nothing is known but its name, and what the names of a line's channels say.
    pub(super) fn new(name: &str) -> Channel {
        let quoted = serde_json::Value::from(name).to_string();
        let group = name.split_once('/').map_or(name, |(group, _)| group);
        Channel {
            name: name.to_owned(),
            escaped: quoted[1..quoted.len() - 1].to_owned(),
            is_critical: group == "alerts",
            sends_snapshots: group == "dag",
            is_numbered: !matches!(group, "stats" | "samples"),
            keys: HashMap::new(),
            events: Vec::new(),
            snapshots: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a head's channel is this one.
    pub(super) fn is(&self, escaped: &str) -> bool {
        self.escaped == escaped
    }

    /// What an event with that offset says, and how many offsets before it this client is told of as skipped.
    ///
    /// # Errors
    /// It cannot be taken.
    pub(super) fn event(
        &mut self,
        epoch: Epoch,
        offset: u64,
        head: &Head<'_>,
        text: &str,
    ) -> Result<(Known, u64), Unread> {
        let (shared, skip) = message::without_skip(text);
        if self.events.is_empty() {
            self.events.resize_with(EVENTS, || None);
        }
        let place = (offset % EVENTS as u64) as usize;
        if let Some(seen) = seen(&self.events[place], epoch, offset) {
            return match *seen.text == *shared {
                true => Ok((seen.what, skip)),
                false => Err(Unread::Differs),
            };
        }
        let known = self.read(head, text, shared)?;
        put(&mut self.events[place], epoch, offset, shared, known);
        Ok((known, skip))
    }

    /// Reads an event for the first time.
    fn read(&mut self, head: &Head<'_>, text: &str, shared: &str) -> Result<Known, Unread> {
        if serde_json::from_str::<IgnoredAny>(text).is_err() {
            return Err(Unread::NotCanonical);
        }
        let behind = text.len() - head.rest.len();
        let rest = shared.get(behind..).ok_or(Unread::NotCanonical)?;
        let (members, sum) = message::members(rest);
        let object = format!("{{{members}}}");
        let entry = match message::key(head.kind, &object) {
            Some(key) => Some((self.place(&key)?, sum::entry(&key, &object))),
            None => None,
        };
        Ok(Known { entry, sum })
    }

    /// What a snapshot of that offset says.
    ///
    /// # Errors
    /// It cannot be taken.
    pub(super) fn snapshot(
        &mut self,
        epoch: Epoch,
        offset: u64,
        head: &Head<'_>,
        text: &str,
    ) -> Result<Rc<View>, Unread> {
        self.sends_snapshots = true;
        if self.snapshots.is_empty() {
            self.snapshots.resize_with(SNAPSHOTS, || None);
        }
        let place = (offset % SNAPSHOTS as u64) as usize;
        if let Some(seen) = seen(&self.snapshots[place], epoch, offset) {
            return match *seen.text == *text {
                true => Ok(seen.what.clone()),
                false => Err(Unread::Differs),
            };
        }
        let read = message::Snapshot::of(head.rest).ok_or(Unread::NotCanonical)?;
        let mut view = View {
            entries: Vec::with_capacity(read.entries.len()),
            sum: Sum::default(),
            told: read.sum,
        };
        for (key, hash) in read.entries {
            view.entries.push((self.place(&key)?, hash));
            view.sum.add(hash);
        }
        let view = Rc::new(view);
        put(
            &mut self.snapshots[place],
            epoch,
            offset,
            text,
            view.clone(),
        );
        Ok(view)
    }

    /// The place of a key among those of the channel.
    fn place(&mut self, key: &str) -> Result<u32, Unread> {
        if let Some(place) = self.keys.get(key) {
            return Ok(*place);
        }
        let place = self.keys.len();
        if place >= KEYS_MAX {
            return Err(Unread::TooManyKeys);
        }
        self.keys.insert(key.to_owned(), place as u32);
        Ok(place as u32)
    }
}

/// What is known at that offset.
fn seen<T>(place: &Option<Seen<T>>, epoch: Epoch, offset: u64) -> Option<&Seen<T>> {
    let seen = place.as_ref()?;
    (seen.epoch == epoch && seen.offset == offset).then_some(seen)
}

/// Keeps what is newer than what lies there.
fn put<T>(place: &mut Option<Seen<T>>, epoch: Epoch, offset: u64, text: &str, what: T) {
    let is_newer = match place {
        Some(seen) => seen.epoch != epoch || seen.offset < offset,
        None => true,
    };
    if is_newer {
        *place = Some(Seen {
            epoch,
            offset,
            text: text.into(),
            what,
        });
    }
}

#[cfg(test)]
mod tests {
    use hopline::edge::Kind;
    use hopline::edge::event::{Body, CostUpdate, Place, State, placed, with_skip};

    use super::*;

    const EPOCH: Epoch = Epoch(42);

    fn text(offset: u64, spent_ppm: u64) -> String {
        let cost = CostUpdate {
            spent_ppm,
            ..CostUpdate::default()
        };
        let place = Place {
            channel: "dag/line",
            offset: Some(offset),
            time_ms: 5,
            sum: None,
        };
        placed(Kind::CostUpdate, &cost.value(), &place)
    }

    fn take(channel: &mut Channel, offset: u64, text: &str) -> Result<(Known, u64), Unread> {
        let head = Head::of(text).unwrap();
        assert!(channel.is(head.channel.unwrap()));
        channel.event(EPOCH, offset, &head, text)
    }

    #[test]
    fn an_event_is_what_the_server_hashed_whoever_gets_it() {
        let mut channel = Channel::new("dag/line");
        let one = text(7, 3);
        let (known, skip) = take(&mut channel, 7, &one).unwrap();
        let cost = CostUpdate {
            spent_ppm: 3,
            ..CostUpdate::default()
        };
        let hash = sum::entry(&cost.key(), &cost.value());
        assert_eq!((known.entry, known.sum, skip), (Some((0, hash)), None, 0));
        let again = with_skip(&one, 4, 99);
        assert_eq!(take(&mut channel, 7, &again), Ok((known, 4)));
    }

    #[test]
    fn another_text_for_the_same_offset_is_told() {
        let mut channel = Channel::new("dag/line");
        take(&mut channel, 7, &text(7, 3)).unwrap();
        assert_eq!(take(&mut channel, 7, &text(7, 4)), Err(Unread::Differs));
        let mut other = Channel::new("dag/line");
        let broken = text(7, 3).replace("remaining\":0", "remaining\":x");
        assert_eq!(take(&mut other, 7, &broken), Err(Unread::NotCanonical));
    }

    #[test]
    fn what_is_new_takes_the_place_of_what_is_old_and_not_the_other_way() {
        let mut channel = Channel::new("dag/line");
        let far = 7 + EVENTS as u64;
        take(&mut channel, far, &text(far, 1)).unwrap();
        take(&mut channel, 7, &text(7, 2)).unwrap();
        assert_eq!(take(&mut channel, far, &text(far, 9)), Err(Unread::Differs));
        assert!(take(&mut channel, 7, &text(7, 9)).is_ok(), "it is not kept");
    }

    #[test]
    fn snapshots_are_added_up_anew() {
        let mut channel = Channel::new("x/y");
        let read = |channel: &mut Channel, text: &str| {
            channel.snapshot(EPOCH, 3, &Head::of(text).unwrap(), text)
        };
        let text = r#"{"type":"snapshot","ch":"x/y","o":3,"data":{"a":{"n":1},"b":{}},"sum":9}"#;
        let view = read(&mut channel, text).unwrap();
        let sum = Sum::of([("a", "{\"n\":1}"), ("b", "{}")]);
        assert_eq!((view.sum, view.told, view.entries.len()), (sum, 9, 2));
        assert!(Rc::ptr_eq(&view, &read(&mut channel, text).unwrap()));
        let other = text.replace('9', "8");
        assert_eq!(read(&mut channel, &other), Err(Unread::Differs));
        assert!(channel.sends_snapshots);
    }
}
