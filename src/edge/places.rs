//! A set of places that is taken in their order.
//!
//! Invariant: each place is in it once, and taking all costs a word for each 64 places that there are.

/// Places, by their numbers.
#[derive(Debug, Default)]
pub(super) struct Places {
    words: Vec<u64>,
    count: usize,
}

impl Places {
    /// Puts one in; it may be there already.
    pub(super) fn insert(&mut self, place: u32) {
        let (word, bit) = (place as usize / 64, 1 << (place % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.count += usize::from(self.words[word] & bit == 0);
        self.words[word] |= bit;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Takes one place after the other out, the lowest first.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = u32> {
        self.count = 0;
        let words = self.words.iter_mut().enumerate();
        words.flat_map(|(at, word)| {
            let mut left = core::mem::take(word);
            core::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(at as u32 * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_comes_out_once_and_in_order() {
        let mut places = Places::default();
        assert!(places.is_empty());
        for place in [700, 3, 64, 63, 3, 0, 700] {
            places.insert(place);
        }
        assert_eq!((places.is_empty(), places.count), (false, 5));
        assert_eq!(places.drain().collect::<Vec<u32>>(), [0, 3, 63, 64, 700]);
        assert!(places.is_empty());
        assert_eq!(places.drain().count(), 0);
    }
}
