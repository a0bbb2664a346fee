//! A cell that always holds the latest value: one writer, any number of readers, nobody waits.
//!
//! ```text
//! writer                               reader
//!   version = odd      ┐                 version? even ─────────────┐
//!   fence              │ being written   read the words             │ a whole value, if
//!   write the words    │                 fence                      │ both are the same
//!   version = even     ┘                 version? ──────────────────┘
//! ```
//!
//! The value lies in words that are atomic each, so a reader that meets a writer reads parts of two values and *sees* that it
//! did: the version has moved, and it keeps what it had. No unsafe code is needed for that. `tests/loom_control.rs` tries every
//! interleaving.
//!
//! Invariant: a reader never gets a value that nobody wrote, and one that looks after the writer has written gets the last one.

use core::fmt;
use core::marker::PhantomData;

use crate::base::Counter;
use crate::base::primitive::{AtomicU64, Ordering, fence};

/// How often [`Latest::get`] looks before it gives up. A write takes some nanoseconds, so two looks in a row that meet one are
/// rare already; this many mean that the writer has lost its processor in the middle.
const LOOKS_MAX: usize = 64;

/// A value that can be written as `N` words and made from them.
///
/// `from_words` is only given what `to_words` gave.
pub trait Words<const N: usize>: Copy {
    /// The value as words.
    fn to_words(self) -> [u64; N];
    /// The value of these words.
    fn from_words(words: [u64; N]) -> Self;
}

impl Words<1> for u64 {
    fn to_words(self) -> [u64; 1] {
        [self]
    }
    fn from_words([word]: [u64; 1]) -> u64 {
        word
    }
}

impl Words<1> for bool {
    fn to_words(self) -> [u64; 1] {
        [u64::from(self)]
    }
    fn from_words([word]: [u64; 1]) -> bool {
        word != 0
    }
}

/// Which value of a [`Latest`] a reader has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

impl Epoch {
    /// Of a reader that has seen nothing: even the first value is news to it. Odd, as no whole value's version is.
    pub const NEVER: Epoch = Epoch(u64::MAX);
}

/// A reader that has seen nothing.
impl Default for Epoch {
    fn default() -> Epoch {
        Epoch::NEVER
    }
}

/// A cell with the latest value of `T`, in `N` words: one writer, any readers, level-triggered.
///
/// ```
/// use hopline::control::{Epoch, Latest};
/// let rate: Latest<u64, 1> = Latest::new(1_000);
/// let mut seen = Epoch::NEVER;
/// assert_eq!(rate.news(&mut seen), Some(1_000), "the first value is news");
/// assert_eq!(rate.news(&mut seen), None, "one load, as long as nothing is new");
/// rate.set(2_000);
/// rate.set(3_000);
/// assert_eq!(rate.news(&mut seen), Some(3_000), "late, and still right");
/// ```
pub struct Latest<T, const N: usize> {
    /// Twice the number of values that were set; odd while one is being written.
    version: AtomicU64,
    /// That number as the writer knows it. It never loads the version: the model would not try a reader that looked before.
    written: Counter,
    words: [AtomicU64; N],
    value: PhantomData<fn(T) -> T>,
}

impl<T: Words<N>, const N: usize> Latest<T, N> {
    /// A cell that holds `value`.
    #[must_use]
    pub fn new(value: T) -> Latest<T, N> {
        Latest {
            version: AtomicU64::new(0),
            written: Counter::default(),
            words: value.to_words().map(AtomicU64::new),
            value: PhantomData,
        }
    }

    /// Puts `value` in place of the last one. Never waits.
    ///
    /// Only one thread may ever call this on a given cell, as with a [`Counter`](crate::base::Counter): with two at a time a
    /// reader may get parts of both.
    pub fn set(&self, value: T) {
        let version = 2 * self.written.get();
        self.written.add(1);
        // Relaxed: the fence orders it before the words.
        self.version.store(version + 1, Ordering::Relaxed);
        // Left out under `--cfg planted_return`, only to show that the model would find that.
        if !cfg!(planted_return) {
            // Pairs with the fence in `read`: who read one of the new words sees that the version has moved.
            fence(Ordering::Release);
        }
        for (word, new) in self.words.iter().zip(value.to_words()) {
            // Relaxed: between the fence and the version.
            word.store(new, Ordering::Relaxed);
        }
        // Pairs with Acquire in `read`: who sees this version sees these words, and what was written before them. Weakened
        // under `--cfg planted_ordering`, only to show that the model would find that.
        let publishing = match cfg!(planted_ordering) {
            true => Ordering::Relaxed,
            false => Ordering::Release,
        };
        self.version.store(version + 2, publishing);
    }

    /// The last value and its epoch, or nothing if it is being written just now: keep what you had and look again later.
    #[inline]
    #[must_use]
    pub fn read(&self) -> Option<(T, Epoch)> {
        // Acquire pairs with Release in `set`.
        let version = self.version.load(Ordering::Acquire);
        if !version.is_multiple_of(2) {
            return None;
        }
        let mut words = [0; N];
        for (to, word) in words.iter_mut().zip(&self.words) {
            // Relaxed: after the version's Acquire, before the fence.
            *to = word.load(Ordering::Relaxed);
        }
        // Pairs with the fence in `set`: a word that is newer than `version` brings the version that announced it.
        fence(Ordering::Acquire);
        // Relaxed: the fence orders it behind the words.
        let is_whole = self.version.load(Ordering::Relaxed) == version;
        is_whole.then(|| (T::from_words(words), Epoch(version)))
    }

    /// Whether there may be another value than the one of that epoch: one load, for every turn of a loop.
    ///
    /// True may come a moment before that value can be read; false may be late by what is still on its way between cores.
    #[inline(always)]
    #[must_use]
    pub fn changed_since(&self, epoch: Epoch) -> bool {
        // Relaxed: only a hint; `read` decides.
        self.version.load(Ordering::Relaxed) != epoch.0
    }

    /// The value, if there is another than at the last call with the same `seen`. Nothing new costs one load.
    #[inline]
    #[must_use]
    pub fn news(&self, seen: &mut Epoch) -> Option<T> {
        if !self.changed_since(*seen) {
            return None;
        }
        let (value, epoch) = self.read()?;
        *seen = epoch;
        Some(value)
    }

    /// The last value, for a reader that can look more often than once: not for a loop's turn. Nothing if the writer does not
    /// get to the end of a write meanwhile, because it has lost its processor.
    #[must_use]
    pub fn get(&self) -> Option<T> {
        let mut looks = (0..LOOKS_MAX).map(|_| self.read());
        looks.find_map(|seen| seen.map(|(value, _)| value))
    }
}

impl<T: Words<N> + Default, const N: usize> Default for Latest<T, N> {
    fn default() -> Latest<T, N> {
        Latest::new(T::default())
    }
}

impl<T: Words<N> + fmt::Debug, const N: usize> fmt::Debug for Latest<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Latest").field(&self.get()).finish()
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Pair(u64, u64);

    impl Words<2> for Pair {
        fn to_words(self) -> [u64; 2] {
            [self.0, self.1]
        }
        fn from_words([a, b]: [u64; 2]) -> Pair {
            Pair(a, b)
        }
    }

    #[test]
    fn a_late_reader_sees_the_last_value_once() {
        let cell = Latest::new(Pair(0, 0));
        let mut seen = Epoch::default();
        assert_eq!(cell.news(&mut seen), Some(Pair(0, 0)));
        assert!(!cell.changed_since(seen));
        for value in 1..=5 {
            cell.set(Pair(value, value));
        }
        assert!(cell.changed_since(seen));
        assert_eq!(cell.news(&mut seen), Some(Pair(5, 5)));
        assert_eq!(cell.news(&mut seen), None);
        assert_eq!(cell.get(), Some(Pair(5, 5)));
    }

    #[test]
    fn a_value_that_is_being_written_is_not_there() {
        let cell = Latest::new(Pair(1, 1));
        let mut seen = cell.read().map(|(_, epoch)| epoch).unwrap();
        // A writer that has lost its processor in the middle.
        cell.version.store(1, Ordering::Relaxed);
        cell.words[0].store(2, Ordering::Relaxed);
        assert!(cell.changed_since(seen));
        assert_eq!(
            (cell.read(), cell.news(&mut seen), cell.get()),
            (None, None, None)
        );
        assert_eq!(format!("{cell:?}"), "Latest(None)");
        cell.words[1].store(2, Ordering::Relaxed);
        cell.version.store(2, Ordering::Release);
        assert_eq!(cell.news(&mut seen), Some(Pair(2, 2)));
    }

    #[test]
    fn readers_on_threads_see_whole_values_that_only_rise() {
        const LAST: u64 = 20_000;
        let cell = std::sync::Arc::new(Latest::new(Pair(0, u64::MAX)));
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let cell = cell.clone();
                std::thread::spawn(move || {
                    let (mut seen, mut last) = (Epoch::NEVER, 0);
                    while last < LAST {
                        if let Some(Pair(a, b)) = cell.news(&mut seen) {
                            assert_eq!(a, !b, "parts of two values");
                            assert!(a >= last, "{a} after {last}");
                            last = a;
                        }
                    }
                })
            })
            .collect();
        for value in 1..=LAST {
            cell.set(Pair(value, !value));
        }
        for reader in readers {
            reader.join().unwrap();
        }
    }
}
