//! Hops of one port among which messages are divided: each message goes to exactly one of them.
//!
//! By key it is the one that the key's hash says. A key that has a large share of the messages is *hot*: it is told, and where
//! hot keys are isolated it moves to the last hop, which then serves hot keys alone. It moves when all that was put on its old
//! hop up to its last message has been taken and handled there, so its messages are handled in their order. A hop that has no
//! room never gets there by itself: then its producer is held back until it is, or, where the hop sheds, the messages of that
//! one key are, `shed{moving}`. Where that takes too long it stays for a while, and is tried again. A key that is hot no more
//! goes back once its last message has been taken.
//!
//! Invariant: which hop a message goes to is decided once, when it is offered, and nothing is allocated for it.

use std::sync::Arc;

use crate::base::Counter;
use crate::base::limits::HOPS_PER_NODE_MAX;
use crate::control::{Latest, Words};
use crate::overload::hot::HOT_MAX;
use crate::overload::{Hot, HotParams, Split};

use super::hop::{HopTx, Mark};

/// Hot keys that are told: there are no more than three at a time at a share of a quarter each.
pub const HOT_TOLD: usize = 8;

/// Words of what is told.
const WORDS: usize = 1 + 2 * HOT_TOLD;

/// Windows without being hot after which a key goes back: 100 ms at least of the default ones, so that one which comes and goes
/// does not move each time.
const COOL_WINDOWS: u32 = 10;

/// How long a key's old hop may take to be done with it, in nanoseconds, before the key stays there: rings of some thousand
/// messages of 10 us are done in that. A hop that blocks for a shorter time holds its producer back for no longer than that.
const MOVE_MAX_NS: u64 = 100_000_000;

/// How long a key stays before it is tried again, in nanoseconds: what a move that fails costs others is then at most a tenth of
/// the time.
const STAY_NS: u64 = 10 * MOVE_MAX_NS;

/// A hot key as it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToldKey {
    /// The key.
    pub key: u64,
    /// Its share of the last window, in thousandths; 0 where it was not hot in it.
    pub per_mille: u32,
    /// Its highest share of a window.
    pub per_mille_max: u32,
}

/// The keys that were hot, those with the highest shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HotKeys {
    len: usize,
    keys: [ToldKey; HOT_TOLD],
}

impl HotKeys {
    /// Those that have been hot, in no order that means anything.
    #[must_use]
    pub fn keys(&self) -> &[ToldKey] {
        &self.keys[..self.len.min(HOT_TOLD)]
    }

    /// Takes over what the last window has found. Whether that is anything new.
    fn window(&mut self, hot: &Hot) -> bool {
        let before = *self;
        for told in &mut self.keys[..self.len] {
            told.per_mille = 0;
        }
        for found in hot.keys() {
            let per_mille = (found.at_least * 1_000 / found.of.max(1)) as u32;
            let told = self.keys[..self.len]
                .iter()
                .position(|told| told.key == found.key);
            let at = match told {
                Some(at) => at,
                None if self.len < HOT_TOLD => {
                    self.len += 1;
                    self.len - 1
                }
                None => {
                    let least = |at: &usize| self.keys[*at].per_mille_max;
                    match (0..HOT_TOLD).min_by_key(least) {
                        Some(at) if self.keys[at].per_mille_max < per_mille => at,
                        _ => continue,
                    }
                }
            };
            let told = &mut self.keys[at];
            if told.key != found.key {
                told.per_mille_max = 0;
            }
            *told = ToldKey {
                key: found.key,
                per_mille,
                per_mille_max: told.per_mille_max.max(per_mille),
            };
        }
        *self != before
    }
}

impl Words<WORDS> for HotKeys {
    fn to_words(self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        words[0] = self.len as u64;
        for (told, pair) in self.keys.iter().zip(words[1..].chunks_exact_mut(2)) {
            pair[0] = told.key;
            pair[1] = u64::from(told.per_mille) | u64::from(told.per_mille_max) << 32;
        }
        words
    }

    fn from_words(words: [u64; WORDS]) -> HotKeys {
        let mut hot = HotKeys {
            len: (words[0] as usize).min(HOT_TOLD),
            ..HotKeys::default()
        };
        for (told, pair) in hot.keys.iter_mut().zip(words[1..].chunks_exact(2)) {
            *told = ToldKey {
                key: pair[0],
                per_mille: pair[1] as u32,
                per_mille_max: (pair[1] >> 32) as u32,
            };
        }
        hot
    }
}

/// What a split tells the outside.
#[derive(Debug, Default)]
pub struct SplitCounters {
    /// The keys that were hot.
    pub hot: Latest<HotKeys, WORDS>,
    /// Messages that went to the last hop because their key was moved there.
    pub isolated: Counter,
    /// Times that a key was moved there.
    pub moves: Counter,
    /// Times that one was not, because its old hop was not done with it in time.
    pub stays: Counter,
}

/// Where a hot key is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It moves as soon as its old hop is done with it.
    Waits,
    /// It must: its old hop has no room. Since when it is so, once that is known.
    Moves(Option<u64>),
    /// It is on the last hop.
    Isolated,
    /// It stays where it is: its old hop was not done with it in time, which was at that time. It moves all the same if that hop
    /// gets done with it by itself.
    Stays(u64),
}

/// A hot key that has moved, or is to move.
#[derive(Clone, Copy, Debug)]
struct Moved {
    key: u64,
    way: Way,
    /// The hop that its hash says.
    home: usize,
    /// Where its last message is on the hop that it is on.
    mark: Mark,
    /// Windows since it was last hot.
    cool: u32,
}

/// What a split by key knows of its keys.
#[derive(Debug)]
struct Keys {
    hot: Hot,
    /// When the window began that was last looked at.
    since_ns: u64,
    told: HotKeys,
    isolates: bool,
    moved: [Moved; HOT_MAX],
    len: usize,
    counters: Arc<SplitCounters>,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The hop, by its place among those of the port.
    pub(crate) at: usize,
    /// Whether it refuses it, because the key is on its way to another.
    pub(crate) moving: bool,
}

/// Hops of one port of which each message goes to one.
#[derive(Debug)]
pub(crate) struct Group {
    /// The kinds that it carries, by their schemas; all without.
    only: Option<Box<[u16]>>,
    /// Its hops, by their places among those of the port.
    members: Vec<usize>,
    /// Which of them comes next, where any may.
    turn: usize,
    keys: Option<Box<Keys>>,
}

/// The part of `parts` that a key belongs to: of its hash (splitmix64's last steps, Steele et al. 2014) the upper bits.
#[inline]
fn part_of(key: u64, parts: usize) -> usize {
    let mut x = key.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^= x >> 31;
    ((u128::from(x) * parts as u128) >> 64) as usize
}

/// Bytes that a group takes beside its hops.
pub(crate) fn memory_bytes(split: Split) -> usize {
    match split {
        Split::ByKey => size_of::<Keys>() + size_of::<SplitCounters>(),
        Split::AnyOf => size_of::<SplitCounters>(),
    }
}

impl Group {
    /// Of no hops yet; `isolates` has hot keys move to the last one.
    pub(crate) fn new(
        split: Split,
        isolates: bool,
        only: Option<Box<[u16]>>,
        counters: Arc<SplitCounters>,
    ) -> Group {
        const NOT_MOVED: Moved = Moved {
            key: 0,
            way: Way::Waits,
            home: 0,
            mark: Mark::NONE,
            cool: 0,
        };
        let keys = (split == Split::ByKey).then(|| {
            Box::new(Keys {
                hot: Hot::new(HotParams::default()),
                since_ns: 0,
                told: HotKeys::default(),
                isolates,
                moved: [NOT_MOVED; HOT_MAX],
                len: 0,
                counters,
            })
        });
        Group {
            only,
            members: Vec::with_capacity(HOPS_PER_NODE_MAX),
            turn: 0,
            keys,
        }
    }

    /// Adds the hop at that place.
    pub(crate) fn add(&mut self, at: usize) {
        self.members.push(at);
    }

    /// Whether the hop at that place is one of them.
    pub(crate) fn has(&self, at: usize) -> bool {
        self.members.contains(&at)
    }

    /// Whether the hop at that place is one of them, and a message may as well go to another.
    pub(crate) fn balances(&self, at: usize) -> bool {
        self.keys.is_none() && self.has(at)
    }

    /// Whether messages that begin with a frame of that kind are divided by it.
    #[inline]
    pub(crate) fn takes(&self, kind: u16) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&kind))
    }

    /// The hop for a message of `frames`, offered at `now_ns`, of that key if it has one.
    pub(crate) fn choose(
        &mut self,
        hops: &mut [HopTx],
        frames: usize,
        key: Option<u64>,
        now_ns: u64,
    ) -> Choice {
        let Group {
            members,
            turn,
            keys,
            ..
        } = self;
        let to = |at| Choice { at, moving: false };
        let Some(keys) = keys else {
            return to(any_of(members, turn, hops, frames));
        };
        match key {
            Some(key) => keys.choose(members, hops, frames, key, now_ns),
            // What has no key stays in one order, beside those of the first part.
            None => to(members[0]),
        }
    }

    /// The hop that has no room for `frames` so that the producer has to wait, by its place among those of the port.
    pub(crate) fn without_room(&mut self, hops: &mut [HopTx], frames: usize) -> Option<usize> {
        let Some(keys) = &mut self.keys else {
            return self.none_has_room(hops, frames);
        };
        for at in self.members.iter().copied() {
            if !hops[at].has_room(frames) {
                // It may only have been asked for the room of many turns at once.
                if keys.len > 0 && hops[at].is_half_full() {
                    keys.crowded(at);
                }
                return Some(at);
            }
            if keys.holds(at, hops) {
                return Some(at);
            }
        }
        None
    }

    /// The hop at that place holds the producer back at `now_ns`, which its policy lets it do for `most_ns`, or for ever if 0.
    pub(crate) fn held_back(&mut self, at: usize, now_ns: u64, most_ns: u64) {
        if let Some(keys) = &mut self.keys {
            keys.held_back(at, now_ns, most_ns);
        }
    }

    /// The hop to wait for, where any would do and none has room.
    fn none_has_room(&mut self, hops: &mut [HopTx], frames: usize) -> Option<usize> {
        let mut waits_for = None;
        let count = self.members.len();
        for nth in 0..count {
            let at = self.members[(self.turn + nth) % count];
            let hop = &mut hops[at];
            if !hop.is_read() {
                continue;
            }
            if hop.has_room(frames) {
                return None;
            }
            waits_for = waits_for.or(Some(at));
        }
        waits_for
    }
}

/// The first hop with room, going round; where none has any, the one whose turn it is, or the next that does not have to block.
fn any_of(members: &[usize], turn: &mut usize, hops: &mut [HopTx], frames: usize) -> usize {
    let count = members.len();
    let around = |turn: usize| (0..count).map(move |nth| (turn + nth) % count);
    let fits = around(*turn).find(|nth| hops[members[*nth]].fits(frames));
    let sheds = |nth: &usize| {
        let hop = &mut hops[members[*nth]];
        hop.is_read() && hop.has_room(frames)
    };
    let nth = fits.or_else(|| around(*turn).find(sheds)).unwrap_or(*turn);
    *turn = (nth + 1) % count;
    members[nth]
}

impl Keys {
    fn choose(
        &mut self,
        members: &[usize],
        hops: &mut [HopTx],
        frames: usize,
        key: u64,
        now_ns: u64,
    ) -> Choice {
        let last = members.len() - 1;
        let parts = if self.isolates { last } else { members.len() };
        let is_hot = self.hot.saw(now_ns, key);
        if self.hot.since_ns() != self.since_ns {
            self.since_ns = self.hot.since_ns();
            self.window_ended(&mut hops[members[last]]);
        }
        let home = members[part_of(key, parts)];
        let to = |at| Choice { at, moving: false };
        if !self.isolates {
            return to(home);
        }
        match self.moved[..self.len].iter().position(|one| one.key == key) {
            Some(moved) => self.on_its_way(moved, members[last], hops, frames, now_ns),
            None if is_hot && self.len < HOT_MAX => {
                self.moved[self.len] = Moved {
                    key,
                    way: Way::Waits,
                    home,
                    // Whatever there is of it lies before.
                    mark: hops[home].mark(0),
                    cool: 0,
                };
                self.len += 1;
                self.on_its_way(self.len - 1, members[last], hops, frames, now_ns)
            }
            None => to(home),
        }
    }

    /// The hop for a message of a key that has moved or is to move.
    #[inline(never)]
    fn on_its_way(
        &mut self,
        moved: usize,
        last: usize,
        hops: &mut [HopTx],
        frames: usize,
        now_ns: u64,
    ) -> Choice {
        let moved = &mut self.moved[moved];
        let home = moved.home;
        if let Way::Stays(since_ns) = moved.way
            && now_ns.saturating_sub(since_ns) >= STAY_NS
        {
            moved.way = Way::Waits;
        }
        if moved.way != Way::Isolated {
            if hops[home].is_past(&mut moved.mark) {
                moved.way = Way::Isolated;
                self.counters.moves.add(1);
            } else if moved.way == Way::Waits && hops[home].is_crowded(frames) {
                moved.way = Way::Moves(None);
            }
        }
        if let Way::Moves(_) = moved.way
            && !hops[home].blocks()
        {
            moved.waits_at(now_ns, MOVE_MAX_NS, &self.counters);
        }
        let moving = matches!(moved.way, Way::Moves(_)) && !hops[home].blocks();
        let at = if moved.way == Way::Isolated {
            last
        } else {
            home
        };
        if !moving {
            moved.mark = hops[at].mark(frames);
        }
        if moved.way == Way::Isolated {
            self.counters.isolated.add(1);
        }
        Choice { at, moving }
    }

    /// A hop has no room: the hot keys on it must move.
    #[cold]
    fn crowded(&mut self, at: usize) {
        for moved in &mut self.moved[..self.len] {
            if moved.home == at && moved.way == Way::Waits {
                moved.way = Way::Moves(None);
            }
        }
    }

    /// Whether a hop that has room is to take nothing before a key has left it.
    #[inline]
    fn holds(&mut self, at: usize, hops: &mut [HopTx]) -> bool {
        self.len > 0 && self.is_left(at, &mut hops[at])
    }

    #[cold]
    fn is_left(&mut self, at: usize, hop: &mut HopTx) -> bool {
        if !hop.blocks() || hop.is_expired() {
            return false;
        }
        let mut moved = self.moved[..self.len].iter_mut();
        moved.any(|one| {
            let moves = one.home == at && matches!(one.way, Way::Moves(_));
            moves && !hop.is_past(&mut one.mark)
        })
    }

    /// The producer is held back by that hop, which may do so for `most_ns`, or for ever if 0. Room for others ends that time and
    /// not the wait for a key, which is therefore bounded by itself.
    #[cold]
    fn held_back(&mut self, at: usize, now_ns: u64, most_ns: u64) {
        let most_ns = match most_ns {
            0 => MOVE_MAX_NS,
            most_ns => most_ns.min(MOVE_MAX_NS),
        };
        for moved in &mut self.moved[..self.len] {
            if moved.home == at {
                moved.waits_at(now_ns, most_ns, &self.counters);
            }
        }
    }

    /// Tells what was hot in the window, and lets those keys go back that are no more.
    #[cold]
    fn window_ended(&mut self, last: &mut HopTx) {
        if self.told.window(&self.hot) {
            self.counters.hot.set(self.told);
        }
        let mut at = 0;
        while at < self.len {
            let moved = &mut self.moved[at];
            moved.cool = if self.hot.is_hot(moved.key) {
                0
            } else {
                moved.cool + 1
            };
            let goes = match moved.way {
                Way::Waits | Way::Moves(_) => moved.cool > 0,
                Way::Stays(_) => moved.cool >= COOL_WINDOWS,
                Way::Isolated => moved.cool >= COOL_WINDOWS && last.is_past(&mut moved.mark),
            };
            if goes {
                self.len -= 1;
                self.moved[at] = self.moved[self.len];
            } else {
                at += 1;
            }
        }
    }
}

impl Moved {
    /// It still waits for its old hop at `now_ns`, which it may do for `most_ns`.
    fn waits_at(&mut self, now_ns: u64, most_ns: u64, counters: &SplitCounters) {
        let Way::Moves(since_ns) = &mut self.way else {
            return;
        };
        let since_ns = *since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since_ns) >= most_ns {
            self.way = Way::Stays(now_ns);
            counters.stays.add(1);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_comes_out_of_its_cell_as_it_went_in() {
        let mut hot = HotKeys {
            len: 2,
            ..HotKeys::default()
        };
        hot.keys[1] = ToldKey {
            key: u64::MAX,
            per_mille: 251,
            per_mille_max: 999,
        };
        assert_eq!(HotKeys::from_words(hot.to_words()), hot);
    }

    #[test]
    fn keys_spread_over_all_parts_and_stay() {
        for parts in 1..=HOPS_PER_NODE_MAX {
            let mut count = vec![0; parts];
            for key in 0..16_000 {
                count[part_of(key, parts)] += 1;
            }
            let even = 16_000 / parts;
            assert!(
                count
                    .iter()
                    .all(|one| even * 8 / 10 < *one && *one < even * 12 / 10),
                "{count:?}"
            );
        }
    }

    #[test]
    fn the_hottest_keys_of_a_run_are_told() {
        let mut hot = Hot::new(HotParams::default());
        let mut told = HotKeys::default();
        let mut window = |keys: &[u64], nth: u64| {
            for at in 0..1_000_u64 {
                hot.saw(nth * 10_000_000 + 1, keys[at as usize % keys.len()]);
            }
            hot.saw((nth + 1) * 10_000_000 + 1, 0);
            told.window(&hot);
            told
        };
        window(&[1, 2], 1);
        let told = window(&[1, 1, 1, 2, 3, 4, 5], 2);
        let of = |key| *told.keys().iter().find(|told| told.key == key).unwrap();
        assert!(of(1).per_mille > 400 && of(1).per_mille <= of(1).per_mille_max.max(430));
        assert_eq!(of(2).per_mille, 0);
        assert!(of(2).per_mille_max >= 490);
    }
}
