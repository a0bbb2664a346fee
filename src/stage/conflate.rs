//! Messages that wait at the producing end of a hop for room, the latest of each key.
//!
//! ```text
//!   key ──→ index (open addressing, half full at most) ──→ place in a ring of entries, oldest first
//! ```
//!
//! A newer message takes the place of the older one of its key and keeps its turn, so that a busy key does not starve: what it
//! waits is the wait of the first one of its key, what it says is the latest.
//!
//! Invariant: nothing is allocated after its start; entries never outnumber its bound, and each is found by its key alone.

use crate::base::Envelope;
use crate::base::limits::{CONFLATE_KEYS_MAX, PAYLOAD_BYTES};
use crate::frame::Frame;

/// A message that waits.
#[derive(Clone, Debug)]
struct Entry {
    /// Kind and key.
    key: Key,
    envelope: Envelope,
    payload: [u8; PAYLOAD_BYTES],
}

/// What tells messages apart: only those of one kind and one key replace each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) kind: u16,
    pub(crate) key: u64,
}

impl Key {
    #[inline]
    pub(crate) fn of<F: Frame>(frame: &F) -> Key {
        Key {
            kind: F::SCHEMA,
            key: frame.key(),
        }
    }

    /// Spreads keys that differ in a few bits (splitmix64's last steps, Steele et al. 2014).
    #[inline]
    fn hash(self) -> u64 {
        let mut x = self.key ^ (u64::from(self.kind) << 48);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It waits.
    Waits,
    /// It waits in the place of an older one.
    Replaced,
    /// There is no room for another key.
    Full,
}

/// No entry.
const NONE: u32 = u32::MAX;

/// Bytes that a table of so many keys takes.
pub(crate) fn memory_bytes(most_keys: usize) -> usize {
    let most = most_keys.clamp(1, CONFLATE_KEYS_MAX);
    (most + 1) * size_of::<Entry>() + (2 * most).next_power_of_two() * size_of::<u32>()
}

/// The table.
#[derive(Debug)]
pub(crate) struct Conflation {
    /// Places of entries by hash; [`NONE`] where there is none.
    index: Box<[u32]>,
    /// A ring of them.
    entries: Box<[Entry]>,
    /// Place of the oldest.
    first: usize,
    waiting: usize,
    /// Entries made so far.
    made: u64,
    /// A message in the making.
    spare: Entry,
}

impl Conflation {
    /// A table for up to so many keys, at least one and at most [`CONFLATE_KEYS_MAX`].
    pub(crate) fn new(most_keys: usize) -> Conflation {
        let most = most_keys.clamp(1, CONFLATE_KEYS_MAX);
        let empty = Entry {
            key: Key::default(),
            envelope: Envelope::default(),
            payload: [0; PAYLOAD_BYTES],
        };
        Conflation {
            index: vec![NONE; (2 * most).next_power_of_two()].into(),
            entries: vec![empty.clone(); most].into(),
            first: 0,
            waiting: 0,
            made: 0,
            spare: empty,
        }
    }

    /// Messages that wait.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Entries made so far, and how many of them have left: they leave in the order in which they were made.
    #[inline]
    pub(crate) fn made_and_left(&self) -> (u64, u64) {
        (self.made, self.made - self.waiting as u64)
    }

    /// Has a message wait, or takes it in the place of the one of its key.
    pub(crate) fn put(
        &mut self,
        key: Key,
        write: impl FnOnce(&mut [u8; PAYLOAD_BYTES]) -> Envelope,
    ) -> Put {
        let at = self.probe(key);
        let (place, put) = match self.index[at] {
            NONE if self.waiting == self.entries.len() => return Put::Full,
            NONE => {
                let place = (self.first + self.waiting) % self.entries.len();
                self.index[at] = place as u32;
                self.entries[place].key = key;
                self.waiting += 1;
                self.made += 1;
                (place, Put::Waits)
            }
            place => (place as usize, Put::Replaced),
        };
        let entry = &mut self.entries[place];
        entry.envelope = write(&mut entry.payload);
        put
    }

    /// Whether one of that key waits.
    pub(crate) fn has(&self, key: Key) -> bool {
        self.index[self.probe(key)] != NONE
    }

    /// Keeps a message that is not to wait yet, in the place of one that was kept before.
    pub(crate) fn stash(
        &mut self,
        key: Key,
        write: impl FnOnce(&mut [u8; PAYLOAD_BYTES]) -> Envelope,
    ) {
        self.spare.key = key;
        self.spare.envelope = write(&mut self.spare.payload);
    }

    /// Has the message that was kept wait.
    pub(crate) fn put_stashed(&mut self) -> Put {
        let Entry {
            key,
            envelope,
            payload,
        } = self.spare.clone();
        self.put(key, |slot| {
            *slot = payload;
            envelope
        })
    }

    /// The oldest.
    pub(crate) fn oldest(&self) -> Option<(&Envelope, &[u8; PAYLOAD_BYTES])> {
        let entry = &self.entries[self.first];
        (self.waiting > 0).then_some((&entry.envelope, &entry.payload))
    }

    /// Lets go of the oldest.
    pub(crate) fn pop(&mut self) {
        if self.waiting == 0 {
            return;
        }
        let at = self.probe(self.entries[self.first].key);
        self.forget(at);
        self.first = (self.first + 1) % self.entries.len();
        self.waiting -= 1;
    }

    /// Where a key is in the index, or would be. There is always a free place: the index is twice as large as the ring.
    fn probe(&self, key: Key) -> usize {
        let mask = self.index.len() - 1;
        let mut at = key.hash() as usize & mask;
        while self.index[at] != NONE && self.entries[self.index[at] as usize].key != key {
            at = (at + 1) & mask;
        }
        at
    }

    /// Takes a place out of the index and closes the gap, so that a search may end at the first free place (Knuth, TAOCP 3, 6.4
    /// algorithm R).
    fn forget(&mut self, mut gap: usize) {
        let mask = self.index.len() - 1;
        self.index[gap] = NONE;
        let mut at = (gap + 1) & mask;
        while self.index[at] != NONE {
            let home = self.entries[self.index[at] as usize].key.hash() as usize & mask;
            // It may move into the gap if its home does not lie behind the gap on the way to it.
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.index[gap] = self.index[at];
                self.index[at] = NONE;
                gap = at;
            }
            at = (at + 1) & mask;
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::prng::Prng;

    fn put(table: &mut Conflation, key: u64, value: u8) -> Put {
        let key = Key { kind: 7, key };
        table.put(key, |payload| {
            payload[0] = value;
            Envelope {
                len: 1,
                ..Envelope::default()
            }
        })
    }

    #[test]
    fn a_newer_message_takes_the_place_and_the_turn_of_the_older_one_of_its_key() {
        let mut table = Conflation::new(2);
        assert_eq!(put(&mut table, 1, 10), Put::Waits);
        assert_eq!(put(&mut table, 2, 20), Put::Waits);
        assert_eq!(put(&mut table, 1, 11), Put::Replaced);
        assert_eq!(put(&mut table, 3, 30), Put::Full);
        for value in [11, 20] {
            assert_eq!(table.oldest().unwrap().1[0], value);
            table.pop();
        }
        assert!(table.oldest().is_none());
        table.pop();
        assert_eq!(table.waiting(), 0);
    }

    #[test]
    fn another_kind_is_another_key() {
        let mut table = Conflation::new(4);
        for kind in [1, 2] {
            let put = table.put(Key { kind, key: 5 }, |_| Envelope::default());
            assert_eq!(put, Put::Waits);
        }
    }

    /// Against a map and a list that do the same slowly.
    #[test]
    fn it_does_what_a_map_and_a_list_do() {
        for seed in 0..50 {
            let mut random = Prng::new(seed);
            let most = 1 + random.below(20) as usize;
            let mut table = Conflation::new(most);
            let (mut order, mut latest) = (Vec::new(), BTreeMap::new());
            for step in 0..2_000_u64 {
                if random.below(3) == 0 {
                    let got = table.oldest().map(|(_, payload)| payload[0]);
                    table.pop();
                    let expected = (!order.is_empty()).then(|| order.remove(0));
                    assert_eq!(got, expected.and_then(|key| latest.remove(&key)));
                } else {
                    let (key, value) = (random.below(2 * most as u64), step as u8);
                    let expected = if latest.contains_key(&key) {
                        Put::Replaced
                    } else if order.len() == most {
                        Put::Full
                    } else {
                        order.push(key);
                        Put::Waits
                    };
                    if expected != Put::Full {
                        latest.insert(key, value);
                    }
                    assert_eq!(put(&mut table, key, value), expected);
                }
                assert_eq!(table.waiting(), order.len());
            }
        }
    }
}
