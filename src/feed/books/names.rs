//! Symbols by their eight bytes, numbered in the order in which they were announced.
//!
//! Invariant: memory is fixed, at most half of it taken; a number never changes.

use crate::feed::views::Symbol8;

#[derive(Debug)]
pub(super) struct Names {
    /// Index of a symbol and one, by hash; 0 is free.
    places: Box<[u32]>,
    symbols: Box<[Symbol8]>,
    len: usize,
}

/// What a symbol takes at most, in bytes.
pub(super) const BYTES_A_SYMBOL: usize = 4 * size_of::<u32>() + size_of::<Symbol8>();

/// Farthest that a symbol lies from the place of its hash: beyond it there is no room.
const STEPS_MAX: usize = 128;

impl Names {
    pub(super) fn new(symbols: usize) -> Names {
        let places = (symbols * 2).next_power_of_two().max(STEPS_MAX);
        Names {
            places: vec![0; places].into_boxed_slice(),
            symbols: vec![Symbol8([b' '; 8]); symbols].into_boxed_slice(),
            len: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.places.fill(0);
        self.len = 0;
    }

    /// Place after place, from that of the symbol's hash on.
    #[inline]
    fn walk(&self, symbol: Symbol8) -> impl Iterator<Item = usize> + use<> {
        let mask = self.places.len() - 1;
        let mixed = symbol.key().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let home = (mixed ^ (mixed >> 32)) as usize;
        (home..home.wrapping_add(STEPS_MAX)).map(move |at| at & mask)
    }

    /// The number of a symbol.
    #[inline]
    pub(super) fn find(&self, symbol: Symbol8) -> Option<u32> {
        for at in self.walk(symbol) {
            let index = self.places[at].checked_sub(1)?;
            if self.symbols[index as usize] == symbol {
                return Some(index);
            }
        }
        None
    }

    /// The number of a symbol, a new one if need be; `None` if there is no room.
    pub(super) fn announce(&mut self, symbol: Symbol8) -> Option<u32> {
        for at in self.walk(symbol) {
            match self.places[at].checked_sub(1) {
                Some(index) if self.symbols[index as usize] == symbol => return Some(index),
                Some(_) => {}
                None => {
                    let index = self.len;
                    *self.symbols.get_mut(index)? = symbol;
                    self.len += 1;
                    self.places[at] = index as u32 + 1;
                    return Some(index as u32);
                }
            }
        }
        None
    }

    /// The symbol of a number.
    pub(super) fn symbol(&self, index: u32) -> Option<Symbol8> {
        self.symbols[..self.len].get(index as usize).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_keep_their_numbers_until_there_is_no_room() {
        let mut names = Names::new(1_000);
        let symbol = |n: u32| Symbol8::new(&format!("S{n}"));
        for round in 0..2 {
            for n in 0..1_000 {
                assert_eq!(names.find(symbol(n)).is_some(), round == 1);
                assert_eq!(names.announce(symbol(n)), Some(n));
                assert_eq!(
                    (names.find(symbol(n)), names.symbol(n)),
                    (Some(n), Some(symbol(n)))
                );
            }
        }
        assert_eq!(names.announce(symbol(1_000)), None);
        assert_eq!(
            (names.find(symbol(1_000)), names.symbol(1_000)),
            (None, None)
        );
        assert_eq!(names.len(), 1_000);
        names.clear();
        assert_eq!((names.find(symbol(1)), names.symbol(0)), (None, None));
    }
}
