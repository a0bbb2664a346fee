//! A mark for each of the last sequences before a position: was it there, or was it not?
//!
//! Invariant: memory is fixed; what is too long ago is said to be unknown, never guessed.

/// Marks of the sequences before `next`, as far back as there is room.
#[derive(Debug)]
pub(super) struct Past {
    words: Box<[u64]>,
    /// Sequences before it are none of this era.
    from: u64,
    next: u64,
}

impl Past {
    /// Room for so many marks, a power of two from 64.
    pub(super) fn new(marks: usize) -> Past {
        debug_assert!(marks.is_power_of_two() && marks >= 64);
        Past {
            words: vec![0; marks / 64].into_boxed_slice(),
            from: 1,
            next: 1,
        }
    }

    /// Forgets all; the first sequence will be `at`.
    pub(super) fn begin(&mut self, at: u64) {
        (self.from, self.next) = (at, at);
    }

    /// The position: all before it are done.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The first sequence of the era.
    pub(super) fn from(&self) -> u64 {
        self.from
    }

    fn marks(&self) -> u64 {
        self.words.len() as u64 * 64
    }

    /// Word and bit of a sequence.
    #[inline]
    fn place(&self, sequence: u64) -> (usize, u32) {
        let at = sequence & (self.marks() - 1);
        ((at / 64) as usize, (at % 64) as u32)
    }

    /// Moves the position, with the same mark for all that it passes.
    #[inline]
    pub(super) fn advance(&mut self, to: u64, mark: bool) {
        let Some(mut left) = to.checked_sub(self.next) else {
            return;
        };
        if left >= self.marks() {
            self.words.fill(if mark { u64::MAX } else { 0 });
            self.next = to;
            return;
        }
        while left > 0 {
            let (word, bit) = self.place(self.next);
            let take = left.min(u64::from(64 - bit));
            let bits = (u64::MAX >> (64 - take)) << bit;
            if mark {
                self.words[word] |= bits;
            } else {
                self.words[word] &= !bits;
            }
            self.next += take;
            left -= take;
        }
    }

    /// The mark of a sequence before the position; `None` where that is not known.
    #[inline]
    pub(super) fn get(&self, sequence: u64) -> Option<bool> {
        let oldest = self.from.max(self.next.saturating_sub(self.marks()));
        if sequence < oldest || sequence >= self.next {
            return None;
        }
        let (word, bit) = self.place(sequence);
        Some(self.words[word] >> bit & 1 == 1)
    }

    /// Marks a sequence before the position, of which [`Past::get`] knows.
    pub(super) fn set(&mut self, sequence: u64) {
        let (word, bit) = self.place(sequence);
        self.words[word] |= 1 << bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;

    #[test]
    fn marks_are_those_of_a_list() {
        let mut prng = Prng::new(3);
        for marks in [64, 256] {
            let mut past = Past::new(marks);
            let start = 1 + prng.below(100);
            past.begin(start);
            let mut list: Vec<(u64, bool)> = Vec::new();
            for _ in 0..400 {
                let (span, mark) = (prng.below(90), prng.below(2) == 1);
                let next = past.next();
                list.extend((next..next + span).map(|sequence| (sequence, mark)));
                past.advance(next + span, mark);
                if prng.below(4) == 0
                    && let Some((sequence, mark)) = list.iter_mut().rev().nth(9)
                    && past.get(*sequence) == Some(false)
                {
                    past.set(*sequence);
                    *mark = true;
                }
                for (at, (sequence, mark)) in list.iter().rev().enumerate() {
                    let expected = (at < marks).then_some(*mark);
                    assert_eq!(past.get(*sequence), expected);
                }
                assert_eq!(past.get(start - 1), None);
                assert_eq!(past.get(past.next()), None);
            }
        }
        let mut past = Past::new(64);
        past.advance(u64::MAX, false);
        assert_eq!(past.get(u64::MAX - 1), Some(false));
    }
}
