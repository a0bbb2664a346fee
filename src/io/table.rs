//! Small ids for what a driver has open.
//!
//! Invariant: an id that was closed or never given out is an error, never somebody else's socket.

use crate::io::error::{IoError, IoErrorKind};

/// Place and generation of an entry: a closed place is given out again under a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    index: u16,
    generation: u16,
}

impl Slot {
    /// The place, below the table's limit.
    pub(crate) const fn index(self) -> usize {
        self.index as usize
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u16,
    value: Option<T>,
}

/// Values by id; grows only while opening, up to its limit.
#[derive(Debug)]
pub(crate) struct Table<T> {
    entries: Vec<Entry<T>>,
    limit: usize,
}

impl<T> Table<T> {
    /// An empty table of at most `limit` entries (at most 65,536).
    pub(crate) const fn new(limit: usize) -> Table<T> {
        assert!(limit <= 1 << 16);
        Table {
            entries: Vec::new(),
            limit,
        }
    }

    /// Adds `value`.
    ///
    /// # Errors
    /// [`IoErrorKind::TooManyOpen`] if the table is full.
    pub(crate) fn insert(&mut self, value: T, what: &'static str) -> Result<Slot, IoError> {
        let index = match self.entries.iter().position(|entry| entry.value.is_none()) {
            Some(free) => free,
            None if self.entries.len() < self.limit => {
                self.entries.push(Entry {
                    generation: 0,
                    value: None,
                });
                self.entries.len() - 1
            }
            None => return Err(IoError::new(IoErrorKind::TooManyOpen, what)),
        };
        let entry = &mut self.entries[index];
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
        let Entry { generation, value } = self.entries.get_mut(index)?;
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
}
