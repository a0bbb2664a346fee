//! A set of places that is taken in their order, turn by turn.
//!
//! Invariant: each place is in it once, and taking all costs a word for each 64 places that there are.

/// Places, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Places {
    words: Vec<u64>,
    count: usize,
    /// Those of this turn, and the word that is looked at next.
    taken: Vec<u64>,
    at: usize,
}

impl Places {
    /// Puts one in, for the next turn; it may be there already.
    pub(super) fn insert(&mut self, place: u32) {
        let (word, bit) = (place as usize / 64, 1 << (place % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    /// Whether the next turn has none.
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Begins a turn: what is in it is given by [`Places::next`], until that has none.
    pub(super) fn begin(&mut self) {
        debug_assert!(self.taken.iter().all(|word| *word == 0));
        core::mem::swap(&mut self.words, &mut self.taken);
        (self.count, self.at) = (0, 0);
    }

    /// The lowest place of this turn that was not given yet.
    pub(super) fn next(&mut self) -> Option<u32> {
        while let Some(word) = self.taken.get_mut(self.at) {
            if *word != 0 {
                let bit = word.trailing_zeros();
                *word &= *word - 1;
                return Some(self.at as u32 * 64 + bit);
            }
            self.at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(places: &mut Places) -> Vec<u32> {
        places.begin();
        core::iter::from_fn(|| places.next()).collect()
    }

    #[test]
    fn each_place_comes_out_once_and_in_order() {
        let mut places = Places::default();
        assert!(places.is_empty());
        for place in [700, 3, 64, 63, 3, 0, 700] {
            places.insert(place);
        }
        assert_eq!((places.is_empty(), places.count), (false, 5));
        assert_eq!(taken(&mut places), [0, 3, 63, 64, 700]);
        assert!(places.is_empty());
        assert!(taken(&mut places).is_empty());
    }

    #[test]
    fn what_is_put_in_during_a_turn_is_of_the_next() {
        let mut places = Places::default();
        places.insert(5);
        places.begin();
        assert_eq!(places.next(), Some(5));
        for place in [5, 900, 1] {
            places.insert(place);
        }
        assert_eq!(places.next(), None);
        assert_eq!(taken(&mut places), [1, 5, 900]);
    }
}
