//! The orders that are open, by reference: open addressing in fixed memory.
//!
//! An order lies at the place of its hash or within [`STEPS_MAX`] behind it, so that a search is
//! short whatever is asked for; one that would lie farther has no room. At most half of the places
//! are taken, and what is taken out leaves no trace: those behind it move up. References are spread
//! by a seeded mix, so that a run of them makes no cluster, nor can a sender aim at one.
//!
//! Invariant: memory is fixed; a search looks at no more than [`STEPS_MAX`] places.

use core::ops::Range;

use crate::base::addresses;

/// Farthest that an order lies from the place of its hash. At half full a distance of 30 is rare among
/// millions; this leaves room for bad luck.
pub(super) const STEPS_MAX: usize = 128;

/// An open order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) reference: u64,
    /// In ten-thousandths.
    pub(super) price: u32,
    pub(super) shares: u32,
    pub(super) symbol: u16,
    pub(super) side: u8,
    taken: bool,
}

impl Order {
    pub(super) fn new(reference: u64, symbol: u16, side: u8, shares: u32, price: u32) -> Order {
        Order {
            reference,
            price,
            shares,
            symbol,
            side,
            taken: true,
        }
    }
}

#[derive(Debug)]
pub(super) struct Table {
    places: Box<[Order]>,
    len: usize,
    len_max: usize,
    seed: u64,
}

/// Places of a table of so many orders.
pub(super) const fn places(orders: usize) -> usize {
    let places = (orders * 2).next_power_of_two();
    if places < STEPS_MAX {
        STEPS_MAX
    } else {
        places
    }
}

impl Table {
    pub(super) fn new(orders: usize, seed: u64) -> Table {
        Table {
            places: vec![Order::default(); places(orders)].into_boxed_slice(),
            len: 0,
            len_max: orders,
            seed,
        }
    }

    pub(super) fn clear(&mut self) {
        self.places.fill(Order::default());
        self.len = 0;
    }

    /// Where the places lie.
    pub(super) fn span(&self) -> Range<usize> {
        addresses(&self.places)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The place of a reference's hash: the finish of SplitMix64 over it and the seed.
    #[inline]
    fn home(&self, reference: u64) -> usize {
        let mut z = reference ^ self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize & (self.places.len() - 1)
    }

    /// Where an order is.
    #[inline]
    pub(super) fn find(&self, reference: u64) -> Option<usize> {
        let (mask, mut at) = (self.places.len() - 1, self.home(reference));
        for _ in 0..STEPS_MAX {
            let order = self.places.get(at)?;
            if order.reference == reference && order.taken {
                return Some(at);
            }
            if !order.taken {
                return None;
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// The order at a place that [`Table::find`] gave.
    #[inline]
    pub(super) fn at(&mut self, at: usize) -> &mut Order {
        &mut self.places[at]
    }

    /// Puts in an order that is not there; `false` if it has no room.
    #[inline]
    pub(super) fn insert(&mut self, order: Order) -> bool {
        if self.len == self.len_max {
            return false;
        }
        let (mask, mut at) = (self.places.len() - 1, self.home(order.reference));
        for _ in 0..STEPS_MAX {
            if !self.places[at].taken {
                self.places[at] = order;
                self.len += 1;
                return true;
            }
            at = (at + 1) & mask;
        }
        false
    }

    /// Takes out the order at a place, and moves up those behind it that lie nearer to their own then.
    #[inline]
    pub(super) fn remove(&mut self, at: usize) {
        let mask = self.places.len() - 1;
        let (mut hole, mut next) = (at, at);
        loop {
            next = (next + 1) & mask;
            let order = self.places[next];
            if !order.taken {
                break;
            }
            let home = self.home(order.reference);
            // It may move if the hole lies between its home and where it is.
            if (next.wrapping_sub(home) & mask) >= (next.wrapping_sub(hole) & mask) {
                self.places[hole] = order;
                hole = next;
            }
        }
        self.places[hole].taken = false;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;
    use std::collections::HashMap;

    #[test]
    fn it_holds_what_a_map_holds() {
        for (orders, spread) in [(1, 4), (40, 90), (5_000, 9_000)] {
            let (mut table, mut map) = (Table::new(orders, 5), HashMap::new());
            let mut prng = Prng::new(orders as u64);
            for _ in 0..60_000 {
                let reference = prng.below(spread);
                let at = table.find(reference);
                assert_eq!(at.is_some(), map.contains_key(&reference));
                match (at, prng.below(2)) {
                    (None, _) => {
                        let order = Order::new(reference, 1, 0, prng.next_u64() as u32, 3);
                        if table.insert(order) {
                            map.insert(reference, order);
                        } else {
                            assert_eq!(map.len(), orders, "refused for want of room only");
                        }
                    }
                    (Some(at), 0) => {
                        assert_eq!(Some(*table.at(at)), map.remove(&reference));
                        table.remove(at);
                    }
                    (Some(at), _) => assert_eq!(table.at(at), &map[&reference]),
                }
                assert_eq!(table.len(), map.len());
            }
            assert!(map.keys().all(|reference| table.find(*reference).is_some()));
        }
    }

    #[test]
    fn a_reference_of_zero_is_one_like_any_other() {
        let mut table = Table::new(8, 0);
        assert_eq!(table.find(0), None);
        assert!(table.insert(Order::new(0, 1, 0, 1, 1)));
        let at = table.find(0).unwrap();
        table.remove(at);
        assert_eq!((table.find(0), table.len()), (None, 0));
    }
}
