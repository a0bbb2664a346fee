//! Whether a client gets what it is owed: each offset once, or told as skipped or missing; and the state that the server has.
//!
//! ```text
//!            subscribed{o:41, recovered}        event{o:42}   event{o:47, skip:4}   gap{from:48, to:50}
//!   at ───────────────── 38 … 41 ─────────────────── 42 ─────────────── 47 ─────────────── 50 ──→
//! ```
//!
//! | what comes | is good if |
//! |---|---|
//! | an event | its offset is one behind the last, and behind those that its `skip` tells of |
//! | the same event again | its channel is one of critical events, which come again until they are acknowledged |
//! | a gap | it begins behind the last offset |
//! | `subscribed` with `recovered` | what it says that follows begins behind the position that the client named |
//! | a snapshot | it is not behind what the client has, and its values add up to its `sum` |
//! | a `sum` | it is that of the values that the client has |
//!
//! A client that events were skipped for lacks the newest values of some keys until they come, so a `sum` that it cannot have yet
//! says nothing; one that it has again says that all is well.
//!
//! Invariant: functions of what they are told, without time and without sockets; every fault is counted, and the first are told in
//! words.

use std::collections::BTreeMap;

use hopline::edge::{Epoch, Position, Sum};
use serde::Serialize;

use super::known::{Channel, Known, View};

/// Faults that are told in words; the rest are counted.
const TOLD_MAX: usize = 10;

/// What was checked, and what was wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Checks {
    /// Events with an offset that came as they should.
    pub(crate) events: u64,
    /// Events without an offset.
    pub(crate) unnumbered: u64,
    /// Offsets that neither came nor were told of.
    pub(crate) missing: u64,
    /// Events that came once too often.
    pub(crate) doubled: u64,
    /// Critical events that came again before they were acknowledged.
    pub(crate) resent: u64,
    /// Offsets that a client was told of as skipped, since newer events stand for them.
    pub(crate) skipped: u64,
    /// Offsets that a client was told of as lost, by reason.
    pub(crate) gaps: BTreeMap<String, u64>,
    /// Events without offsets that a client was told of as dropped.
    pub(crate) shed: u64,
    /// Snapshots.
    pub(crate) snapshots: u64,
    /// Check sums that were right.
    pub(crate) sums_right: u64,
    /// Check sums that were wrong.
    pub(crate) sums_wrong: u64,
    /// Check sums that said nothing, since events had been skipped.
    pub(crate) sums_unsure: u64,
    /// Events for which two clients were given different texts.
    pub(crate) differing: u64,
    /// What else a server may not say, by what it was.
    pub(crate) broken: BTreeMap<&'static str, u64>,
    /// Subscriptions that named a position, as far as the server answered.
    pub(crate) resumed: u64,
    /// Those behind whose position everything followed.
    pub(crate) recovered: u64,
    /// The first faults in words.
    pub(crate) faults: Vec<String>,
}

impl Checks {
    /// Whether nothing was wrong.
    pub(crate) fn are_good(&self) -> bool {
        let counted = self.missing + self.doubled + self.sums_wrong + self.differing;
        counted == 0 && self.broken.is_empty()
    }

    /// The server said what it may not.
    pub(super) fn breach(&mut self, what: &'static str, words: impl FnOnce() -> String) {
        *self.broken.entry(what).or_default() += 1;
        self.tell(words);
    }

    pub(super) fn tell(&mut self, words: impl FnOnce() -> String) {
        if self.faults.len() < TOLD_MAX {
            self.faults.push(words());
        }
    }
}

/// Whose channel it is, for words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whose<'a> {
    pub(super) client: u32,
    pub(super) channel: &'a Channel,
}

impl std::fmt::Display for Whose<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "client {}, {}", self.client, self.channel.name())
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// It is new.
    New,
    /// It came before.
    Again,
    /// It is new, and the client's state has gone astray.
    Astray,
}

/// The state that a client has of a channel.
#[derive(Clone, Debug, Default)]
struct State {
    /// Hashes of keys with their values, by the keys' places.
    entries: Vec<Option<u32>>,
    sum: Sum,
    /// Whether it began with a snapshot, and nothing was missed since.
    is_whole: bool,
    /// Whether keys may lack a value that is to come.
    is_unsure: bool,
}

impl State {
    fn set(&mut self, place: u32, hash: u32) {
        let place = place as usize;
        if place >= self.entries.len() {
            self.entries.resize(place + 1, None);
        }
        match self.entries[place].replace(hash) {
            Some(before) => self.sum.replace(before, hash),
            None => self.sum.add(hash),
        }
    }
}

/// A channel that a client follows.
#[derive(Clone, Debug)]
pub(super) struct Follow {
    /// Its place among the channels.
    pub(super) channel: u16,
    epoch: Option<Epoch>,
    /// All up to here came, or was told of.
    at: u64,
    /// The position that was named on this connection.
    named: Option<Position>,
    /// Whether `subscribed` came on this connection.
    is_joined: bool,
    awaits_snapshot: bool,
    /// The last offset that the channel had given when it was joined: with it the client is up to date.
    last: u64,
    state: State,
}

impl Follow {
    pub(super) fn new(channel: u16) -> Follow {
        Follow {
            channel,
            epoch: None,
            at: 0,
            named: None,
            is_joined: false,
            awaits_snapshot: false,
            last: 0,
            state: State::default(),
        }
    }

    /// Where it resumes.
    pub(super) fn position(&self, channel: &Channel) -> Option<Position> {
        let epoch = self.epoch.filter(|_| channel.is_numbered)?;
        // One that never got its snapshot has nothing to go on from.
        let has_begun = self.state.is_whole || !channel.sends_snapshots;
        has_begun.then_some(Position {
            epoch,
            offset: self.at,
        })
    }

    /// Another connection begins, on which that position is named.
    pub(super) fn begin(&mut self, named: Option<Position>) {
        (self.named, self.is_joined, self.awaits_snapshot) = (named, false, false);
    }

    /// Whether it has all that there was when it was joined.
    pub(super) fn is_live(&self) -> bool {
        self.is_joined && !self.awaits_snapshot && self.at >= self.last
    }

    /// The epoch of the server that it is with.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.epoch.filter(|_| self.is_joined)
    }

    /// The last offset that it has.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Whether an event of that offset was there before it was joined.
    pub(super) fn is_replayed(&self, offset: u64) -> bool {
        offset <= self.last
    }

    /// The server says that the channel is followed from here on.
    pub(super) fn subscribed(
        &mut self,
        epoch: Epoch,
        last: u64,
        recovered: bool,
        replayed: u64,
        whose: Whose<'_>,
        checks: &mut Checks,
    ) {
        let named = self.named.filter(|named| named.epoch == epoch);
        let expected = named.map(|named| last.checked_sub(named.offset));
        let is_right = match recovered {
            true => expected == Some(Some(replayed)),
            false => replayed <= last,
        };
        if self.is_joined || !is_right {
            checks.breach("bad_subscribed", || {
                format!(
                    "{whose}: subscribed at {last} with {replayed} replayed, recovered: {recovered}, does not follow {}",
                    words(self.named)
                )
            });
        }
        checks.resumed += u64::from(self.named.is_some());
        checks.recovered += u64::from(recovered);
        self.is_joined = true;
        self.epoch = Some(epoch);
        self.last = last;
        self.at = last.saturating_sub(replayed);
        if !recovered {
            self.state = State::default();
            self.awaits_snapshot = whose.channel.sends_snapshots;
        }
        if !whose.channel.is_numbered {
            // What came before has no number that would come again.
            self.at = self.last;
        }
    }

    /// A snapshot of the state at that offset.
    pub(super) fn snapshot(
        &mut self,
        offset: u64,
        view: &View,
        whose: Whose<'_>,
        checks: &mut Checks,
    ) {
        if !self.is_joined || offset < self.at {
            let at = self.at;
            checks.breach("bad_snapshot", || {
                format!("{whose}: a snapshot of {offset} where {at} was reached")
            });
        }
        checks.snapshots += 1;
        self.at = offset;
        self.awaits_snapshot = false;
        self.state = State {
            is_whole: true,
            ..State::default()
        };
        for (place, hash) in &view.entries {
            self.state.set(*place, *hash);
        }
        if view.told == view.sum.value() {
            checks.sums_right += 1;
            return;
        }
        checks.sums_wrong += 1;
        checks.tell(|| {
            let (told, sum) = (view.told, view.sum.value());
            format!("{whose}: the snapshot of {offset} says sum {told}, its values have {sum}")
        });
    }

    /// Offsets that will not come.
    pub(super) fn gap(
        &mut self,
        from: u64,
        to: u64,
        why: &str,
        whose: Whose<'_>,
        checks: &mut Checks,
    ) {
        let count = (to + 1).saturating_sub(from);
        *checks.gaps.entry(why.to_owned()).or_default() += count;
        // Of what was before this subscription: it begins behind it.
        if matches!(why, "history" | "epoch") {
            return;
        }
        if !self.is_joined || from <= self.at || to < from {
            let at = self.at;
            checks.breach("bad_gap", || {
                format!("{whose}: a gap from {from} to {to} where {at} was reached")
            });
            return;
        }
        self.miss(from - self.at - 1, from, whose, checks);
        self.at = to;
        self.state.is_whole = false;
    }

    /// Offsets before `next` that neither came nor were told of.
    fn miss(&mut self, count: u64, next: u64, whose: Whose<'_>, checks: &mut Checks) {
        if count == 0 {
            return;
        }
        checks.missing += count;
        self.state.is_whole = false;
        let at = self.at;
        checks.tell(|| format!("{whose}: {next} came after {at}, so {count} are missing"));
    }

    /// An event with an offset, that says so many before it were skipped.
    pub(super) fn event(
        &mut self,
        offset: u64,
        skip: u64,
        known: Known,
        whose: Whose<'_>,
        checks: &mut Checks,
    ) -> Took {
        if !self.is_joined || self.awaits_snapshot {
            checks.breach("unexpected_event", || {
                format!("{whose}: event {offset} came before the snapshot that it follows")
            });
            self.awaits_snapshot = false;
        }
        if offset <= self.at {
            let at = self.at;
            if whose.channel.is_critical {
                checks.resent += 1;
            } else {
                checks.doubled += 1;
                checks.tell(|| format!("{whose}: {offset} came again after {at}"));
            }
            return Took::Again;
        }
        let due = self.at.saturating_add(1).saturating_add(skip);
        if offset < due {
            let at = self.at;
            checks.breach("bad_skip", || {
                format!("{whose}: {offset} came after {at} and says that {skip} were skipped")
            });
        }
        let was_whole = self.state.is_whole;
        self.miss(offset.saturating_sub(due), offset, whose, checks);
        checks.events += 1;
        checks.skipped += skip;
        self.at = offset;
        self.state.is_unsure |= skip > 0;
        if let Some((place, hash)) = known.entry {
            self.state.set(place, hash);
        }
        let is_astray = was_whole && !self.state.is_whole;
        match known.sum {
            Some(told) if !self.compare(told, whose, checks) => Took::Astray,
            _ if is_astray => Took::Astray,
            _ => Took::New,
        }
    }

    /// Whether the server's sum is this client's, as far as that can be said.
    fn compare(&mut self, told: u32, whose: Whose<'_>, checks: &mut Checks) -> bool {
        let state = &mut self.state;
        if !state.is_whole {
            return true;
        }
        if state.sum.value() == told {
            checks.sums_right += 1;
            state.is_unsure = false;
            return true;
        }
        if state.is_unsure {
            checks.sums_unsure += 1;
            return true;
        }
        checks.sums_wrong += 1;
        state.is_whole = false;
        let (at, sum) = (self.at, self.state.sum.value());
        checks.tell(|| format!("{whose}: at {at} the server has sum {told}, the client {sum}"));
        false
    }
}

fn words(named: Option<Position>) -> String {
    match named {
        Some(position) => format!("position {position}"),
        None => "a subscription without a position".to_owned(),
    }
}

#[cfg(test)]
mod tests;
