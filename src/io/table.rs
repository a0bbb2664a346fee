//! Small ids for what a driver has open.
//!
//! Free places form a list through the table itself, so that opening and closing cost the same
//! however many there are.
//!
//! Invariant: an id that was closed or never given out is an error, never somebody else's socket,
//! until its place has been given out four billion times more.

use crate::io::error::{IoError, IoErrorKind};

/// Place and generation of an entry: a closed place is given out again under a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    index: u16,
    generation: u32,
}

impl Slot {
    /// The place, below the table's limit.
    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    /// The next free place, if this one is free.
    next_free: Option<u16>,
    value: Option<T>,
}

/// Values by id; grows only while opening, up to its limit.
#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: Vec<Entry<T>>,
    /// The place that was freed last, which is taken first: it may still be in the cache.
    free: Option<u16>,
    limit: usize,
}

impl<T> Table<T> {
    /// An empty table of at most `limit` entries (at most 65,536).
    pub(crate) const fn new(limit: usize) -> Table<T> {
        assert!(limit <= 1 << 16);
        Table {
            entries: Vec::new(),
            free: None,
            limit,
        }
    }

    /// Most entries.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Has at most `limit` entries from now on (at most 65,536), and room for all of them; false if
    /// there are more places already. Allocates.
    pub(crate) fn set_limit(&mut self, limit: usize) -> bool {
        assert!(limit <= 1 << 16);
        if limit < self.entries.len() {
            return false;
        }
        self.entries.reserve_exact(limit - self.entries.len());
        self.limit = limit;
        true
    }

    /// Adds `value`.
    ///
    /// # Errors
    /// [`IoErrorKind::TooManyOpen`] if the table is full.
    pub(crate) fn insert(&mut self, value: T, what: &'static str) -> Result<Slot, IoError> {
        let index = match self.free {
            Some(free) => usize::from(free),
            None if self.entries.len() < self.limit => {
                self.entries.push(Entry {
                    generation: 0,
                    next_free: None,
                    value: None,
                });
                self.entries.len() - 1
            }
            None => return Err(IoError::new(IoErrorKind::TooManyOpen, what)),
        };
        let entry = &mut self.entries[index];
        // A new place has none behind it, and there is no free one then.
        self.free = entry.next_free.take();
        entry.value = Some(value);
        Ok(Slot {
            index: index as u16,
            generation: entry.generation,
        })
    }

    /// The value of this id.
    #[inline]
    pub(crate) fn get(&self, slot: Slot, what: &'static str) -> Result<&T, IoError> {
        match self.entries.get(slot.index()) {
            Some(Entry {
                generation,
                value: Some(value),
                ..
            }) if *generation == slot.generation => Ok(value),
            _ => Err(IoError::new(IoErrorKind::WrongId, what)),
        }
    }

    /// The value of this id, to change.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot, what: &'static str) -> Result<&mut T, IoError> {
        match self.entries.get_mut(slot.index()) {
            Some(Entry {
                generation,
                value: Some(value),
                ..
            }) if *generation == slot.generation => Ok(value),
            _ => Err(IoError::new(IoErrorKind::WrongId, what)),
        }
    }

    /// The value at this place, whatever its generation.
    pub(crate) fn at_mut(&mut self, index: usize) -> Option<&mut T> {
        self.entries.get_mut(index)?.value.as_mut()
    }

    /// The id and the value at this place, whatever its generation.
    pub(crate) fn slot_at_mut(&mut self, index: usize) -> Option<(Slot, &mut T)> {
        let Entry {
            generation, value, ..
        } = self.entries.get_mut(index)?;
        let slot = Slot {
            index: index as u16,
            generation: *generation,
        };
        value.as_mut().map(|value| (slot, value))
    }

    /// Takes the value out; the id is wrong from now on.
    pub(crate) fn remove(&mut self, slot: Slot, what: &'static str) -> Result<T, IoError> {
        self.get(slot, what)?;
        let entry = &mut self.entries[slot.index()];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next_free = self.free.replace(slot.index);
        entry
            .value
            .take()
            .ok_or_else(|| IoError::new(IoErrorKind::WrongId, what))
    }

    /// Places that were ever taken.
    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }

    /// All values, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().filter_map(|entry| entry.value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;

    #[test]
    fn a_closed_id_is_wrong_even_when_its_place_is_taken_again() {
        let mut table = Table::new(2);
        let a = table.insert('a', "test").unwrap();
        let b = table.insert('b', "test").unwrap();
        let full = table.insert('c', "test").unwrap_err();
        assert_eq!(full.kind, IoErrorKind::TooManyOpen);
        assert_eq!(table.remove(a, "test"), Ok('a'));
        assert!(table.remove(a, "test").is_err());
        let c = table.insert('c', "test").unwrap();
        assert_eq!(c.index(), a.index());
        assert_eq!(table.get(a, "test").unwrap_err().kind, IoErrorKind::WrongId);
        assert_eq!(table.get_mut(c, "test"), Ok(&mut 'c'));
        assert_eq!(table.get(b, "test"), Ok(&'b'));
        assert_eq!(table.iter().copied().collect::<String>(), "cb");
    }

    #[test]
    fn it_is_what_a_slow_model_of_it_is_whatever_comes_and_goes() {
        let mut prng = Prng::new(3);
        let mut table = Table::new(9);
        let (mut living, mut closed): (Vec<(Slot, u64)>, Vec<Slot>) = (Vec::new(), Vec::new());
        for number in 0..20_000 {
            if prng.below(2) == 0 {
                match table.insert(number, "test") {
                    Ok(slot) => {
                        let is_new = |other: &(Slot, u64)| other.0.index() != slot.index();
                        assert!(living.iter().all(is_new), "a place is given out twice");
                        living.push((slot, number));
                    }
                    Err(_) => assert_eq!(living.len(), 9),
                }
            } else if !living.is_empty() {
                let (slot, number) = living.swap_remove(prng.below(living.len() as u64) as usize);
                assert_eq!(table.remove(slot, "test"), Ok(number));
                closed.push(slot);
            }
            assert!(table.places() <= 9);
            assert_eq!(table.iter().count(), living.len());
            if let Some((slot, number)) = living.last() {
                assert_eq!(table.get(*slot, "test"), Ok(number));
            }
            let old = closed.get(prng.below(closed.len().max(1) as u64) as usize);
            assert!(old.is_none_or(|old| table.get(*old, "test").is_err()));
        }
        assert!(closed.len() > 5_000);
    }

    #[test]
    fn a_place_that_is_used_more_often_than_a_small_number_counts_keeps_its_ids_apart() {
        let mut table = Table::new(1);
        let first = table.insert(0, "test").unwrap();
        table.remove(first, "test").unwrap();
        for number in 1..=u32::from(u16::MAX) {
            let slot = table.insert(number, "test").unwrap();
            table.remove(slot, "test").unwrap();
        }
        table.insert(7, "test").unwrap();
        assert!(table.get(first, "test").is_err());
    }

    #[test]
    fn its_limit_may_be_set_but_not_below_what_it_has() {
        let mut table = Table::new(1);
        let a = table.insert('a', "test").unwrap();
        assert!(table.insert('b', "test").is_err());
        assert!(table.set_limit(3) && table.limit() == 3);
        let b = table.insert('b', "test").unwrap();
        assert!(!table.set_limit(1) && table.limit() == 3);
        assert_eq!(
            (table.get(a, "test"), table.get(b, "test")),
            (Ok(&'a'), Ok(&'b'))
        );
    }
}
