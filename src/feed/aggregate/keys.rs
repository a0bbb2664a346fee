//! The table of keys: which metric is which number, and which one makes room for another.
//!
//! ```text
//!   key ──→ index (open addressing, half full at most) ──→ number: entry, and a place for its bytes
//! ```
//!
//! A key is *open* while a window holds something of it, and *idle* otherwise; idle ones stand in a
//! list, in the order in which they became so, and the first of them makes room for a new key. Each
//! key has a place of the same size for its bytes, so that whether there is room never depends on
//! what came before.
//!
//! Invariant: nothing is allocated after its start; a key that is open is never evicted.

use core::hash::{BuildHasher, Hasher};

use crate::feed::sample::{Class, TagForm, TagSet};

/// No key.
pub(super) const NONE: u32 = u32::MAX;

/// What makes a key: metrics of two classes or two formats are two, whatever their names are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) name: &'a [u8],
    pub(super) field: &'a [u8],
    pub(super) tags: TagSet<'a>,
    pub(super) class: Class,
}

impl Parts<'_> {
    /// All but the bytes, in one word.
    #[inline]
    fn shape(&self) -> Shape {
        Shape {
            name_len: self.name.len() as u16,
            field_len: self.field.len() as u16,
            tags_len: self.tags.bytes.len() as u16,
            class: self.class,
            form: self.tags.form,
        }
    }

    #[inline]
    fn len(&self) -> usize {
        self.name.len() + self.field.len() + self.tags.bytes.len()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    name_len: u16,
    field_len: u16,
    tags_len: u16,
    class: Class,
    form: TagForm,
}

impl Shape {
    #[inline]
    fn word(self) -> u64 {
        u64::from(self.name_len)
            | u64::from(self.field_len) << 16
            | u64::from(self.tags_len) << 32
            | (self.class as u64) << 48
            | (self.form as u64) << 56
    }
}

/// The level of a gauge, which outlives its windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    pub(super) value: f64,
    pub(super) at_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    shape: Shape,
    level: Level,
    /// Windows that hold something of it.
    open: u32,
    /// Neighbours in the list of idle keys; [`NONE`] beyond its ends.
    before: u32,
    after: u32,
    idle: bool,
}

/// Why there is no number for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// It has more bytes than a key may have.
    TooLong,
    /// As many keys as there may be are open.
    NoRoom,
}

#[derive(Debug)]
pub(super) struct Keys {
    hasher: foldhash::fast::FixedState,
    /// Upper half of the hash, then the number and one; 0 where nothing is.
    index: Box<[u64]>,
    entries: Box<[Entry]>,
    bytes: Box<[u8]>,
    key_bytes: usize,
    used: usize,
    /// Ends of the list of idle keys.
    oldest: u32,
    newest: u32,
    pub(super) added: u64,
    pub(super) evicted: u64,
    /// Places of the index that were looked at: the work that a hostile choice of keys could make.
    pub(super) probes: u64,
}

/// Bytes of memory of a table.
pub(super) const fn memory_bytes(keys: usize, key_bytes: usize) -> usize {
    keys * (size_of::<Entry>() + key_bytes) + (2 * keys).next_power_of_two() * size_of::<u64>()
}

impl Keys {
    pub(super) fn new(keys: usize, key_bytes: usize, seed: u64) -> Keys {
        let empty = Entry {
            hash: 0,
            shape: Shape {
                name_len: 0,
                field_len: 0,
                tags_len: 0,
                class: Class::Counter,
                form: TagForm::Colon,
            },
            level: Level {
                value: 0.0,
                at_ns: 0,
            },
            open: 0,
            before: NONE,
            after: NONE,
            idle: false,
        };
        Keys {
            hasher: foldhash::fast::FixedState::with_seed(seed),
            index: vec![0; (2 * keys).next_power_of_two()].into_boxed_slice(),
            entries: vec![empty; keys].into_boxed_slice(),
            bytes: vec![0; keys * key_bytes].into_boxed_slice(),
            key_bytes,
            used: 0,
            oldest: NONE,
            newest: NONE,
            added: 0,
            evicted: 0,
            probes: 0,
        }
    }

    /// Keys that it holds.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// A hash of a set's member, under the same seed.
    #[inline]
    pub(super) fn hash_member(&self, member: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(member);
        hasher.finish()
    }

    #[inline]
    fn hash(&self, parts: &Parts<'_>, shape: Shape) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_u64(shape.word());
        hasher.write(parts.name);
        if shape.field_len > 0 {
            hasher.write(parts.field);
        }
        if shape.tags_len > 0 {
            hasher.write(parts.tags.bytes);
        }
        hasher.finish()
    }

    #[inline]
    fn key(&self, number: u32) -> &[u8] {
        let from = number as usize * self.key_bytes;
        &self.bytes[from..from + self.key_bytes]
    }

    #[inline]
    fn is(&self, number: u32, parts: &Parts<'_>, shape: Shape) -> bool {
        let entry = &self.entries[number as usize];
        if entry.shape != shape {
            return false;
        }
        let (name, rest) = self.key(number).split_at(parts.name.len());
        let (field, rest) = rest.split_at(parts.field.len());
        name == parts.name
            && field == parts.field
            && &rest[..parts.tags.bytes.len()] == parts.tags.bytes
    }

    /// The number of a key, which is added if it is new.
    #[inline]
    pub(super) fn find_or_add(&mut self, parts: &Parts<'_>) -> Result<u32, NoKey> {
        if parts.len() > self.key_bytes {
            return Err(NoKey::TooLong);
        }
        let shape = parts.shape();
        let hash = self.hash(parts, shape);
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            self.probes += 1;
            let slot = self.index[at];
            if slot == 0 {
                return self.add(parts, shape, hash, at);
            }
            if slot >> 32 == hash >> 32 {
                let number = slot as u32 - 1;
                if self.is(number, parts, shape) {
                    return Ok(number);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a key, whose place in the index is `at` unless another has to make room.
    #[cold]
    fn add(&mut self, parts: &Parts<'_>, shape: Shape, hash: u64, at: usize) -> Result<u32, NoKey> {
        let mut at = at;
        let number = if self.used < self.entries.len() {
            self.used += 1;
            self.used as u32 - 1
        } else {
            let oldest = self.oldest;
            if oldest == NONE {
                return Err(NoKey::NoRoom);
            }
            self.unlink(oldest);
            self.remove(oldest);
            self.evicted += 1;
            at = self.free_place(hash);
            oldest
        };
        self.added += 1;
        self.index[at] = (hash >> 32) << 32 | u64::from(number + 1);
        self.entries[number as usize] = Entry {
            hash,
            shape,
            level: Level {
                value: 0.0,
                at_ns: 0,
            },
            open: 0,
            before: NONE,
            after: NONE,
            idle: false,
        };
        let from = number as usize * self.key_bytes;
        let mut place = &mut self.bytes[from..from + self.key_bytes];
        for part in [parts.name, parts.field, parts.tags.bytes] {
            let (here, rest) = place.split_at_mut(part.len());
            here.copy_from_slice(part);
            place = rest;
        }
        Ok(number)
    }

    /// The first place of the index that is free for a hash.
    fn free_place(&mut self, hash: u64) -> usize {
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        while self.index[at] != 0 {
            self.probes += 1;
            at = (at + 1) & mask;
        }
        at
    }

    /// Takes a key out of the index and moves those behind it up, so that no search ends early.
    fn remove(&mut self, number: u32) {
        let mask = self.index.len() - 1;
        let mut hole = self.entries[number as usize].hash as usize & mask;
        while self.index[hole] as u32 != number + 1 {
            self.probes += 1;
            hole = (hole + 1) & mask;
        }
        let mut at = (hole + 1) & mask;
        while self.index[at] != 0 {
            self.probes += 1;
            let other = self.index[at] as u32 - 1;
            let home = self.entries[other as usize].hash as usize & mask;
            // It may move if its home does not lie behind the hole.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.index[hole] = self.index[at];
                hole = at;
            }
            at = (at + 1) & mask;
        }
        self.index[hole] = 0;
    }

    /// The level of a gauge.
    #[inline]
    pub(super) fn level(&mut self, number: u32) -> &mut Level {
        &mut self.entries[number as usize].level
    }

    /// Another window holds something of it.
    #[inline]
    pub(super) fn open(&mut self, number: u32) {
        self.unlink(number);
        self.entries[number as usize].open += 1;
    }

    /// A window holds nothing of it any more.
    pub(super) fn close(&mut self, number: u32) {
        self.entries[number as usize].open -= 1;
        self.rest(number);
    }

    /// It becomes idle, if no window holds anything of it.
    pub(super) fn rest(&mut self, number: u32) {
        let newest = self.newest;
        let entry = &mut self.entries[number as usize];
        if entry.open > 0 || entry.idle {
            return;
        }
        entry.idle = true;
        (entry.before, entry.after) = (newest, NONE);
        match newest {
            NONE => self.oldest = number,
            newest => self.entries[newest as usize].after = number,
        }
        self.newest = number;
    }

    /// It is no longer idle.
    #[inline]
    fn unlink(&mut self, number: u32) {
        let entry = &mut self.entries[number as usize];
        if !entry.idle {
            return;
        }
        entry.idle = false;
        let (before, after) = (entry.before, entry.after);
        match before {
            NONE => self.oldest = after,
            before => self.entries[before as usize].after = after,
        }
        match after {
            NONE => self.newest = before,
            after => self.entries[after as usize].before = before,
        }
    }

    /// What the key was made of.
    pub(super) fn parts(&self, number: u32) -> Parts<'_> {
        let shape = self.entries[number as usize].shape;
        let (name, rest) = self.key(number).split_at(usize::from(shape.name_len));
        let (field, rest) = rest.split_at(usize::from(shape.field_len));
        let bytes = &rest[..usize::from(shape.tags_len)];
        let form = shape.form;
        Parts {
            name,
            field,
            tags: TagSet { bytes, form },
            class: shape.class,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;
    use std::collections::HashMap;

    fn parts(name: &[u8]) -> Parts<'_> {
        Parts {
            name,
            field: b"",
            tags: TagSet::default(),
            class: Class::Counter,
        }
    }

    #[test]
    fn each_part_tells_keys_apart() {
        let mut keys = Keys::new(16, 8, 1);
        let base = parts(b"ab");
        let tags = |bytes, form| TagSet { bytes, form };
        let all = [
            base,
            Parts {
                name: b"a",
                field: b"b",
                ..base
            },
            Parts {
                name: b"a",
                tags: tags(b"b", TagForm::Colon),
                ..base
            },
            Parts {
                name: b"a",
                tags: tags(b"b", TagForm::Escaped),
                ..base
            },
            Parts {
                class: Class::Gauge,
                ..base
            },
        ];
        for (number, parts) in all.iter().enumerate() {
            assert_eq!(keys.find_or_add(parts), Ok(number as u32));
        }
        for (number, parts) in all.iter().enumerate() {
            assert_eq!(keys.find_or_add(parts), Ok(number as u32));
            assert_eq!(keys.parts(number as u32), *parts);
        }
        assert_eq!(keys.find_or_add(&parts(b"123456789")), Err(NoKey::TooLong));
    }

    #[test]
    fn the_one_that_was_idle_longest_makes_room() {
        let mut keys = Keys::new(3, 8, 1);
        for (number, name) in [b"a", b"b", b"c"].iter().enumerate() {
            assert_eq!(keys.find_or_add(&parts(*name)), Ok(number as u32));
            keys.open(number as u32);
        }
        assert_eq!(keys.find_or_add(&parts(b"d")), Err(NoKey::NoRoom));
        keys.close(1);
        keys.close(0);
        keys.open(1);
        keys.close(1);
        assert_eq!(
            keys.find_or_add(&parts(b"d")),
            Ok(0),
            "a is idle for longer"
        );
        assert_eq!(keys.find_or_add(&parts(b"e")), Ok(1));
        assert_eq!(
            keys.find_or_add(&parts(b"f")),
            Err(NoKey::NoRoom),
            "d and e were not let go"
        );
        assert_eq!(keys.find_or_add(&parts(b"c")), Ok(2));
        assert_eq!((keys.len(), keys.evicted, keys.added), (3, 2, 5));
    }

    #[test]
    fn a_table_that_turns_over_finds_what_a_map_finds() {
        let mut keys = Keys::new(64, 16, 7);
        let mut model: HashMap<u64, u32> = HashMap::new();
        let mut names: HashMap<u32, u64> = HashMap::new();
        let mut prng = Prng::new(5);
        for _ in 0..20_000 {
            let name = prng.below(150);
            let number = keys.find_or_add(&parts(&name.to_le_bytes())).unwrap();
            if let Some(known) = model.get(&name) {
                assert_eq!(*known, number);
            } else {
                if let Some(evicted) = names.insert(number, name) {
                    model.remove(&evicted);
                }
                model.insert(name, number);
            }
            keys.open(number);
            keys.close(number);
        }
        assert!(keys.evicted > 1_000);
        assert_eq!(model.len(), keys.len());
        assert!(keys.probes < 20_000 * 8, "{}", keys.probes);
    }
}
