//! Sets in reserve: different members counted up to a bound.
//!
//! A member is kept as its hash of 64 bits. Two of a million would be taken for one with a chance of
//! one in 37 million, and a set is full long before; for that its memory does not depend on what
//! members look like, which a sketch would buy with an error of percents.
//!
//! Invariant: nothing is allocated after its start; a set that is full says so and stays as it is.

use super::keys::NONE;

/// What became of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is new.
    New,
    /// It was there.
    Known,
    /// It was not there, and there is no room for it.
    Full,
}

#[derive(Debug)]
pub(super) struct Sets {
    /// Tables of hashes by open addressing, one after the other; 0 where nothing is.
    hashes: Box<[u64]>,
    slots: usize,
    members_max: usize,
    members: Box<[u32]>,
    free: Vec<u32>,
}

/// Bytes of memory of so many sets.
pub(super) const fn memory_bytes(sets: usize, members_max: usize) -> usize {
    sets * (slots(members_max) * size_of::<u64>() + 2 * size_of::<u32>())
}

/// Half of them are never used, so that searches are short.
const fn slots(members_max: usize) -> usize {
    (2 * members_max).next_power_of_two()
}

impl Sets {
    pub(super) fn new(sets: usize, members_max: usize) -> Sets {
        let slots = slots(members_max);
        Sets {
            hashes: vec![0; sets * slots].into_boxed_slice(),
            slots,
            members_max,
            members: vec![0; sets].into_boxed_slice(),
            free: (0..sets as u32).rev().collect(),
        }
    }

    /// An empty set; [`NONE`] if none is left.
    pub(super) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or(NONE)
    }

    /// Empties a set and takes it back.
    pub(super) fn give_back(&mut self, set: u32) {
        let from = set as usize * self.slots;
        self.hashes[from..from + self.slots].fill(0);
        self.members[set as usize] = 0;
        self.free.push(set);
    }

    /// Different members of a set.
    pub(super) fn len(&self, set: u32) -> u64 {
        u64::from(self.members[set as usize])
    }

    /// Puts in the member of a hash.
    #[inline]
    pub(super) fn put(&mut self, set: u32, hash: u64) -> Put {
        // 0 is an empty place.
        let hash = hash.max(1);
        let from = set as usize * self.slots;
        let table = &mut self.hashes[from..from + self.slots];
        let mask = self.slots - 1;
        let mut at = hash as usize & mask;
        while table[at] != 0 {
            if table[at] == hash {
                return Put::Known;
            }
            at = (at + 1) & mask;
        }
        let members = &mut self.members[set as usize];
        if *members as usize >= self.members_max {
            return Put::Full;
        }
        table[at] = hash;
        *members += 1;
        Put::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;
    use std::collections::HashSet;

    #[test]
    fn members_are_told_apart_up_to_the_bound() {
        let mut sets = Sets::new(2, 100);
        let (one, two) = (sets.take(), sets.take());
        assert_eq!(sets.take(), NONE);
        let mut model = HashSet::new();
        let mut prng = Prng::new(3);
        for _ in 0..1_000 {
            let hash = prng.below(300);
            let known = model.contains(&hash.max(1));
            let expected = match known {
                true => Put::Known,
                false if model.len() == 100 => Put::Full,
                false => Put::New,
            };
            assert_eq!(sets.put(one, hash), expected);
            if expected == Put::New {
                model.insert(hash.max(1));
            }
        }
        assert_eq!((sets.len(one), sets.len(two)), (100, 0));
        sets.give_back(one);
        let again = sets.take();
        assert_eq!(
            (again, sets.len(again), sets.put(again, 5)),
            (one, 0, Put::New)
        );
    }
}
