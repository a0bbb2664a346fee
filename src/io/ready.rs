//! Lists of connections that something has come of, for whoever has too many to look at each.
//!
//! A list is a chain through its places: adding, taking and removing one costs the same however long
//! it is, nothing is allocated but where places are made, and it is never longer than there are places.
//!
//! Invariant: a place is in a chain once or not at all, and chains of the same [`Links`] share none.

/// No place: in front of the first, or behind the last.
const END: u32 = u32::MAX;
/// In no chain.
const APART: u32 = u32::MAX - 1;

/// What stands on both sides of a place in its chain.
#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

/// The ends of a chain.
#[derive(Debug)]
pub(crate) struct Chain {
    first: u32,
    last: u32,
}

impl Chain {
    pub(crate) const fn new() -> Chain {
        Chain {
            first: END,
            last: END,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first == END
    }
}

/// What chains run through: a link for each place.
#[derive(Debug)]
pub(crate) struct Links(Vec<Link>);

impl Links {
    pub(crate) const fn new() -> Links {
        Links(Vec::new())
    }

    /// Makes links for so many places. Allocates if there were fewer.
    pub(crate) fn grow(&mut self, places: usize) {
        if self.0.len() < places {
            let apart = Link {
                before: APART,
                after: APART,
            };
            self.0.resize(places, apart);
        }
    }

    /// Makes room for so many places, so that growing to them costs nothing. Allocates.
    pub(crate) fn reserve(&mut self, places: usize) {
        self.0.reserve_exact(places.saturating_sub(self.0.len()));
    }

    /// Adds a place at the end, unless it is in a chain already.
    pub(crate) fn push(&mut self, chain: &mut Chain, place: usize) {
        if self.0[place].after != APART {
            return;
        }
        self.0[place] = Link {
            before: chain.last,
            after: END,
        };
        match chain.last {
            END => chain.first = place as u32,
            last => self.0[last as usize].after = place as u32,
        }
        chain.last = place as u32;
    }

    /// Takes the place that has been there longest.
    pub(crate) fn pop(&mut self, chain: &mut Chain) -> Option<usize> {
        let first = (!chain.is_empty()).then_some(chain.first as usize)?;
        self.remove(chain, first);
        Some(first)
    }

    /// Takes a place out of its chain, which is this one, if it is in any.
    pub(crate) fn remove(&mut self, chain: &mut Chain, place: usize) {
        let apart = Link {
            before: APART,
            after: APART,
        };
        let Link { before, after } = self.0[place];
        if after == APART {
            return;
        }
        match before {
            END => chain.first = after,
            before => self.0[before as usize].after = after,
        }
        match after {
            END => chain.last = before,
            after => self.0[after as usize].before = before,
        }
        self.0[place] = apart;
    }

    /// Moves all of `from` behind what is in `to`.
    pub(crate) fn append(&mut self, to: &mut Chain, from: Chain) {
        if from.is_empty() {
            return;
        }
        self.0[from.first as usize].before = to.last;
        match to.last {
            END => to.first = from.first,
            last => self.0[last as usize].after = from.first,
        }
        to.last = from.last;
    }
}

/// What became readable, and what became writable again: of a listener's connections, or of those
/// that have none.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) readable: Chain,
    pub(crate) writable: Chain,
}

impl Ready {
    pub(crate) const fn new() -> Ready {
        Ready {
            readable: Chain::new(),
            writable: Chain::new(),
        }
    }
}

/// What those lists run through.
#[derive(Debug)]
pub(crate) struct ReadyLinks {
    pub(crate) readable: Links,
    pub(crate) writable: Links,
}

impl ReadyLinks {
    pub(crate) const fn new() -> ReadyLinks {
        ReadyLinks {
            readable: Links::new(),
            writable: Links::new(),
        }
    }

    /// As [`Links::grow`].
    pub(crate) fn grow(&mut self, places: usize) {
        self.readable.grow(places);
        self.writable.grow(places);
    }

    /// As [`Links::reserve`].
    pub(crate) fn reserve(&mut self, places: usize) {
        self.readable.reserve(places);
        self.writable.reserve(places);
    }

    /// The connection of this place is closed.
    pub(crate) fn remove(&mut self, of: &mut Ready, place: usize) {
        self.readable.remove(&mut of.readable, place);
        self.writable.remove(&mut of.writable, place);
    }

    /// The listener of `from` is closed: its connections are `to`'s now.
    pub(crate) fn append(&mut self, to: &mut Ready, from: Ready) {
        self.readable.append(&mut to.readable, from.readable);
        self.writable.append(&mut to.writable, from.writable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;
    use std::collections::VecDeque;

    const PLACES: usize = 12;

    #[test]
    fn chains_are_what_queues_that_are_searched_would_be() {
        let mut prng = Prng::new(5);
        let mut links = Links::new();
        links.grow(PLACES);
        let mut chains = [Chain::new(), Chain::new()];
        let mut models: [VecDeque<usize>; 2] = Default::default();
        for _ in 0..50_000 {
            let (of, place) = (prng.below(2) as usize, prng.below(PLACES as u64) as usize);
            match prng.below(8) {
                0..=3 => {
                    links.push(&mut chains[of], place);
                    if !models.iter().any(|model| model.contains(&place)) {
                        models[of].push_back(place);
                    }
                }
                4 | 5 => assert_eq!(links.pop(&mut chains[of]), models[of].pop_front()),
                6 if !models[1 - of].contains(&place) => {
                    links.remove(&mut chains[of], place);
                    models[of].retain(|other| *other != place);
                }
                6 => {}
                _ if prng.below(10) == 0 => {
                    let moved = core::mem::replace(&mut chains[1 - of], Chain::new());
                    links.append(&mut chains[of], moved);
                    let moved = core::mem::take(&mut models[1 - of]);
                    models[of].extend(moved);
                }
                _ => {}
            }
        }
        for (mut chain, mut model) in chains.into_iter().zip(models) {
            while let Some(expected) = model.pop_front() {
                assert_eq!(links.pop(&mut chain), Some(expected));
            }
            assert_eq!(links.pop(&mut chain), None);
        }
    }
}
