//! One side of a book: prices in order, the best at the end.
//!
//! A ring buffer of fixed size: a change moves only what lies between it and the nearer end, and
//! most changes are near the best price. When it is full, the farthest level goes and is counted.
//!
//! Invariant: keys rise strictly, so the best price is the last; never more levels than it was made for.

use std::collections::VecDeque;

use crate::feed::decimal::{Price, Qty};
use crate::feed::market::Level;

/// Most levels of one side of a book. The deepest side in the captures has 5,170 after six minutes;
/// far levels that nobody takes back only gather, so the farthest are the ones to let go.
pub const LEVELS_PER_SIDE: usize = 8192;

/// Whether the better price is the higher or the lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// Bids.
    Higher,
    /// Asks.
    Lower,
}

#[derive(Clone, Copy, Debug)]
struct Rung {
    /// The price, or its complement for asks: the better price has the higher key.
    key: i64,
    qty: i64,
}

/// A side of a book.
#[derive(Debug)]
pub(crate) struct Ladder {
    rungs: VecDeque<Rung>,
    most: usize,
    better: Better,
    dropped: u32,
}

impl Ladder {
    /// An empty side of at most `most` levels. Allocates for all of them.
    pub(crate) fn new(better: Better, most: usize) -> Ladder {
        Ladder {
            rungs: VecDeque::with_capacity(most),
            most,
            better,
            dropped: 0,
        }
    }

    /// Turns a price into a key and back; the complement reverses the order and has no overflow.
    #[inline]
    fn turn(&self, price: i64) -> i64 {
        match self.better {
            Better::Higher => price,
            Better::Lower => !price,
        }
    }

    #[inline]
    fn level(&self, rung: &Rung) -> Level {
        Level {
            price: Price(self.turn(rung.key)),
            qty: Qty(rung.qty),
        }
    }

    /// Sets what is offered at a price; a quantity of zero takes the price out.
    #[inline]
    pub(crate) fn set(&mut self, level: Level) {
        let key = self.turn(level.price.0);
        let qty = level.qty.0;
        match self.rungs.binary_search_by_key(&key, |rung| rung.key) {
            Ok(at) if qty <= 0 => drop(self.rungs.remove(at)),
            Ok(at) => self.rungs[at].qty = qty,
            Err(_) if qty <= 0 => {}
            Err(at) => self.insert(at, Rung { key, qty }),
        }
    }

    #[inline]
    fn insert(&mut self, at: usize, rung: Rung) {
        if self.rungs.len() < self.most {
            self.rungs.insert(at, rung);
            return;
        }
        self.dropped = self.dropped.saturating_add(1);
        if at > 0 {
            self.rungs.pop_front();
            self.rungs.insert(at - 1, rung);
        }
    }

    /// Takes all levels out; the count of dropped ones stays.
    pub(crate) fn clear(&mut self) {
        self.rungs.clear();
    }

    /// The best level.
    #[inline]
    pub(crate) fn best(&self) -> Option<Level> {
        self.rungs.back().map(|rung| self.level(rung))
    }

    /// All levels, the best first.
    pub(crate) fn levels(&self) -> impl Iterator<Item = Level> {
        self.rungs.iter().rev().map(|rung| self.level(rung))
    }

    /// Quantity of the `levels` best levels together.
    #[inline]
    pub(crate) fn qty_of_first(&self, levels: usize) -> i128 {
        let first = self.rungs.iter().rev().take(levels);
        first.map(|rung| i128::from(rung.qty)).sum()
    }

    /// Touches the whole store, so that no page of it is met first in a turn. Takes all levels out.
    pub(crate) fn touch(&mut self) {
        self.rungs.resize(self.most, Rung { key: 0, qty: 0 });
        self.rungs.clear();
    }

    /// Levels that were let go because the side was full.
    #[inline]
    pub(crate) fn dropped(&self) -> u32 {
        self.dropped
    }

    /// Bytes of its store.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.rungs.capacity() * size_of::<Rung>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn level(price: i64, qty: i64) -> Level {
        Level {
            price: Price(price),
            qty: Qty(qty),
        }
    }

    #[test]
    fn the_best_is_the_highest_bid_and_the_lowest_ask() {
        for (better, best, worst) in [(Better::Higher, 9, -9), (Better::Lower, -9, 9)] {
            let mut side = Ladder::new(better, 8);
            for price in [3, -9, 9, 0] {
                side.set(level(price, 1));
            }
            assert_eq!(side.best(), Some(level(best, 1)));
            assert_eq!(side.levels().last(), Some(level(worst, 1)));
        }
    }

    #[test]
    fn prices_at_the_ends_of_the_range_are_prices() {
        for better in [Better::Higher, Better::Lower] {
            let mut side = Ladder::new(better, 4);
            side.set(level(i64::MIN, 1));
            side.set(level(i64::MAX, i64::MAX));
            side.set(level(0, i64::MAX));
            assert_eq!(side.levels().count(), 3);
            assert_eq!(side.qty_of_first(3), 2 * i128::from(i64::MAX) + 1);
        }
    }

    proptest! {
        /// Against a map that drops its worst entry when it has one too many.
        #[test]
        fn it_agrees_with_a_sorted_map(
            bids in any::<bool>(),
            most in 1usize..12,
            changes in prop::collection::vec((0i64..24, 0i64..4), 0..200),
        ) {
            let better = if bids { Better::Higher } else { Better::Lower };
            let mut side = Ladder::new(better, most);
            let bytes = side.memory_bytes();
            let mut map: BTreeMap<i64, i64> = BTreeMap::new();
            let mut dropped = 0;
            for (price, qty) in changes {
                side.set(level(price, qty));
                if qty == 0 {
                    map.remove(&price);
                } else {
                    map.insert(price, qty);
                }
                if map.len() > most {
                    if bids { map.pop_first() } else { map.pop_last() };
                    dropped += 1;
                }
                let expected: Vec<Level> = map.iter().map(|(p, q)| level(*p, *q)).collect();
                let mut found: Vec<Level> = side.levels().collect();
                if bids {
                    found.reverse();
                }
                prop_assert_eq!(found, expected);
                prop_assert_eq!(side.dropped(), dropped);
            }
            prop_assert_eq!(side.memory_bytes(), bytes);
        }
    }
}
