//! What the loops know of a link: something that carries numbered items from one thread to another.
//!
//! Invariant: a receiver's sum depends on every byte that the sender wrote.

/// A kind of link, of which the loops open as many as they need.
pub trait Link: Sync {
    /// The sending end.
    type Tx: Tx;
    /// The receiving end.
    type Rx: Rx;

    /// Words of eight bytes that an item carries; at least 1.
    fn words(&self) -> u64;

    /// A new link, empty. `round` differs from round to round, for links whose place in memory matters.
    fn open(&self, round: usize) -> (Self::Tx, Self::Rx);
}

/// The sending end of a link.
pub trait Tx: Send {
    /// Sends an item whose words are all `number`. `false`, and nothing sent, if there is no room now.
    fn send(&mut self, number: u64) -> bool;

    /// Sends the items `first`, `first + 1`, … up to `count` of them, in the link's own batch form if
    /// it has one. Returns how many it sent.
    fn send_batch(&mut self, first: u64, count: usize) -> usize {
        (first..)
            .take(count)
            .take_while(|&number| self.send(number))
            .count()
    }
}

/// The receiving end of a link.
pub trait Rx: Send {
    /// Takes the oldest item and returns the (wrapping) sum of all its words.
    fn take(&mut self) -> Option<u64>;

    /// Takes the oldest item and hands the sum of its words to `then` as soon as it is read.
    ///
    /// A link that is read in place gives the slot back, and does what else it owes, after `then`: an
    /// answer that is sent in there leaves before that, as it does from a handler of a line.
    fn take_with<T>(&mut self, then: impl FnOnce(u64) -> T) -> Option<T> {
        self.take().map(then)
    }

    /// Takes up to `most` items, in the link's own batch form if it has one. Returns how many, and
    /// the sum of all words of all of them.
    fn take_batch(&mut self, most: usize) -> (usize, u64) {
        let mut total = 0u64;
        let mut count = 0;
        while count < most {
            let Some(sum) = self.take() else { break };
            total = total.wrapping_add(sum);
            count += 1;
        }
        (count, total)
    }
}

/// A payload of `W` words, all of them `number`.
#[inline(always)]
#[must_use]
pub const fn fill<const W: usize>(number: u64) -> [u64; W] {
    [number; W]
}

/// The sum of all words of a payload.
#[inline(always)]
#[must_use]
pub fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// Writes `number` into every word of a payload of bytes; a rest shorter than a word stays.
#[inline(always)]
pub fn fill_bytes(payload: &mut [u8], number: u64) {
    // By assignment: a `copy_from_slice` a word stays a call each in a large program, and costs more than the hop.
    for word in payload.as_chunks_mut::<8>().0 {
        *word = number.to_le_bytes();
    }
}

/// The sum of all words of a payload of bytes; a rest shorter than a word does not count.
#[inline(always)]
#[must_use]
pub fn sum_bytes(payload: &[u8]) -> u64 {
    let (words, _) = payload.as_chunks::<8>();
    words
        .iter()
        .fold(0, |sum, &word| sum.wrapping_add(u64::from_le_bytes(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_counts() {
        let mut words = fill::<7>(5);
        assert_eq!(sum(&words), 35);
        for (at, word) in words.iter_mut().enumerate() {
            *word += 1 << at;
        }
        assert_eq!(sum(&words), 35 + 127);
        let mut bytes = [0; 96];
        fill_bytes(&mut bytes, 9);
        assert_eq!(sum_bytes(&bytes), 9 * 12);
        bytes[95] += 1;
        assert_eq!(sum_bytes(&bytes), 9 * 12 + (1 << 56));
    }
}
