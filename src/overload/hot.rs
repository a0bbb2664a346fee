//! Which keys of a stream are hot, found in a bounded place: for a partition by key that one key overloads.
//!
//! Invariant: a key that is told to be hot was, and one whose share is above threshold + 1/k is always told.
//!
//! The space-saving sketch of Metwally, Agrawal and El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data
//! Streams" (ICDT 2005): k counters; a key without one takes over the smallest, and with it its count, which is the most by
//! which the new key can be overrated. In a window of n frames the smallest of k counters is at most n/k. So the guaranteed
//! count (the counter less what it took over) is at most the true one and at least the true one less n/k.

use super::bounds::{Amount, BoundError, span, within};

/// Most counters: all of them are looked at for a key that has none, and 64 are 8 cache lines.
pub const KEYS_MAX: usize = 64;

/// Lowest threshold, in thousandths: who has a twentieth overloads no partition, since there are no more than 16.
pub const SHARE_MIN_PER_MILLE: u32 = 50;

/// Highest threshold, in thousandths.
pub const SHARE_MAX_PER_MILLE: u32 = 900;

/// Most keys that can be hot at once: each has more than a twentieth.
pub const HOT_MAX: usize = 1_000 / SHARE_MIN_PER_MILLE as usize;

/// Frames that a window needs to tell anything: with fewer the share of a key is off by over 3 % of all by chance.
pub const FRAMES_MIN: u64 = 256;

/// How long a window runs on at most until it has them, in nanoseconds: at less than 256 a second a consumer that cannot keep up
/// takes some milliseconds for each, and what is hot is told of a time that is still the present.
pub const WINDOW_MAX_NS: u64 = 1_000_000_000;

/// When a [`Hot`] says that a key is hot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HotParams {
    keys: u32,
    share_per_mille: u32,
    window_ns: u64,
}

impl HotParams {
    /// `keys` counters, a threshold in thousandths of a window's frames, and the window in nanoseconds.
    ///
    /// # Errors
    /// The counters are not 2 to [`KEYS_MAX`], the threshold is not [`SHARE_MIN_PER_MILLE`] to [`SHARE_MAX_PER_MILLE`] or is
    /// less than 1/k, by which counts may be off, or the window is not a span that a policy may have.
    pub fn new(keys: u32, share_per_mille: u32, window_ns: u64) -> Result<HotParams, BoundError> {
        within(
            "hot_keys",
            keys.into(),
            2,
            KEYS_MAX as u64,
            Amount::Count,
            "32",
        )?;
        within(
            "hot_share",
            share_per_mille.into(),
            SHARE_MIN_PER_MILLE.into(),
            SHARE_MAX_PER_MILLE.into(),
            Amount::PerMille,
            "250",
        )?;
        span("hot_window", window_ns, "\"10ms\"")?;
        let least = 1_000u32.div_ceil(keys);
        if share_per_mille < least {
            return Err(BoundError::TooLittle {
                what: "hot_share",
                given: Amount::PerMille(share_per_mille.into()),
                least: Amount::PerMille(least.into()),
                because: "the one in hot_keys by which a count may be off",
                write: "8 times that",
            });
        }
        Ok(HotParams {
            keys,
            share_per_mille,
            window_ns,
        })
    }

    /// Counters.
    #[must_use]
    pub const fn keys(&self) -> u32 {
        self.keys
    }

    /// The threshold, in thousandths.
    #[must_use]
    pub const fn share_per_mille(&self) -> u32 {
        self.share_per_mille
    }

    /// Length of a window, in nanoseconds. One with too few frames to tell anything, [`FRAMES_MIN`], runs on until it has them, for
    /// [`WINDOW_MAX_NS`] or this, whichever is more.
    #[must_use]
    pub const fn window_ns(&self) -> u64 {
        self.window_ns
    }
}

impl Default for HotParams {
    /// 32 counters, a quarter of the frames of 10 ms: what fills one of four partitions alone is hot, and what has 28.2 % is
    /// always found; at 100,000 frames a second a window has 1,000.
    fn default() -> HotParams {
        HotParams {
            keys: 32,
            share_per_mille: 250,
            window_ns: 10_000_000,
        }
    }
}

/// A key that was hot in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HotKey {
    /// The key.
    pub key: u64,
    /// Frames that it had at least.
    pub at_least: u64,
    /// Frames that it had at most.
    pub at_most: u64,
    /// Frames of the window.
    pub of: u64,
}

/// Counts the keys of one stream, window after window.
///
/// Time that steps back makes the present window longer by as much, and nothing else.
///
/// ```
/// use hopline::overload::{Hot, HotParams};
/// let mut hot = Hot::new(HotParams::default());
/// for nth in 0..=1_000u64 {
///     // Every other frame has key 7.
///     let key = if nth % 2 == 0 { 7 } else { nth };
///     hot.saw(nth * 10_000, key);
/// }
/// assert!(hot.is_hot(7) && !hot.is_hot(8));
/// assert_eq!(hot.keys()[0].of, 1_000);
/// ```
#[derive(Clone, Debug)]
pub struct Hot {
    params: HotParams,
    since_ns: u64,
    /// Frames of the present window.
    frames: u64,
    used: usize,
    keys: [u64; KEYS_MAX],
    counts: [u64; KEYS_MAX],
    /// What a counter had when its key took it over.
    taken_over: [u64; KEYS_MAX],
    hot: [HotKey; HOT_MAX],
    hot_len: usize,
}

impl Hot {
    /// One that has seen nothing.
    #[must_use]
    pub const fn new(params: HotParams) -> Hot {
        const NO_KEY: HotKey = HotKey {
            key: 0,
            at_least: 0,
            at_most: 0,
            of: 0,
        };
        Hot {
            params,
            since_ns: 0,
            frames: 0,
            used: 0,
            keys: [0; KEYS_MAX],
            counts: [0; KEYS_MAX],
            taken_over: [0; KEYS_MAX],
            hot: [NO_KEY; HOT_MAX],
            hot_len: 0,
        }
    }

    /// A frame of that key has come. Gives whether the key was hot in the last window.
    ///
    /// A hot key is found at once, since counters move forward as they grow; one without a counter is looked for in all.
    #[inline]
    pub fn saw(&mut self, now_ns: u64, key: u64) -> bool {
        if now_ns.saturating_sub(self.since_ns) >= self.params.window_ns {
            self.window_is_over(now_ns);
        }
        self.frames += 1;
        match self.keys[..self.used].iter().position(|&one| one == key) {
            Some(at) => self.count(at),
            None => self.take_over(key),
        }
        self.is_hot(key)
    }

    /// Whether a key was hot in the last window.
    #[inline]
    #[must_use]
    pub fn is_hot(&self, key: u64) -> bool {
        self.keys().iter().any(|one| one.key == key)
    }

    /// The keys that were hot in the last window, with their counts; in no order that means anything.
    #[inline]
    #[must_use]
    pub fn keys(&self) -> &[HotKey] {
        &self.hot[..self.hot_len]
    }

    /// When the present window began, in nanoseconds of whatever clock it is given: another value means that one has ended.
    #[must_use]
    pub const fn since_ns(&self) -> u64 {
        self.since_ns
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> HotParams {
        self.params
    }

    /// Goes on with other parameters in a window that begins now; what was hot stays so until it ends.
    pub fn set_params(&mut self, now_ns: u64, params: HotParams) {
        self.params = params;
        self.begin_window(now_ns);
    }

    #[inline]
    fn count(&mut self, at: usize) {
        self.counts[at] += 1;
        if at > 0 && self.counts[at] > self.counts[at - 1] {
            self.keys.swap(at, at - 1);
            self.counts.swap(at, at - 1);
            self.taken_over.swap(at, at - 1);
        }
    }

    fn take_over(&mut self, key: u64) {
        if self.used < self.params.keys as usize {
            self.keys[self.used] = key;
            self.counts[self.used] = 1;
            self.taken_over[self.used] = 0;
            self.used += 1;
            return;
        }
        let mut at = 0;
        for other in 1..self.used {
            // Of equals the last, which is where new keys belong.
            if self.counts[other] <= self.counts[at] {
                at = other;
            }
        }
        self.keys[at] = key;
        self.taken_over[at] = self.counts[at];
        self.count(at);
    }

    /// Ends a window that has had its time, if it has its frames or has waited for them for long enough.
    #[inline(never)]
    fn window_is_over(&mut self, now_ns: u64) {
        let most_ns = WINDOW_MAX_NS.max(self.params.window_ns);
        if self.frames >= FRAMES_MIN || now_ns.saturating_sub(self.since_ns) >= most_ns {
            self.end_window(now_ns);
        }
    }

    #[cold]
    fn end_window(&mut self, now_ns: u64) {
        self.hot_len = 0;
        if self.frames >= FRAMES_MIN {
            for at in 0..self.used {
                let at_least = self.counts[at] - self.taken_over[at];
                let share = u128::from(at_least) * 1_000;
                let threshold = u128::from(self.frames) * u128::from(self.params.share_per_mille);
                if share > threshold && self.hot_len < HOT_MAX {
                    self.hot[self.hot_len] = HotKey {
                        key: self.keys[at],
                        at_least,
                        at_most: self.counts[at],
                        of: self.frames,
                    };
                    self.hot_len += 1;
                }
            }
        }
        self.begin_window(now_ns);
    }

    fn begin_window(&mut self, now_ns: u64) {
        self.since_ns = now_ns;
        self.frames = 0;
        self.used = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::base::Prng;

    const MS: u64 = 1_000_000;

    /// Feeds the keys into one window and ends it.
    fn window(hot: &mut Hot, keys: impl IntoIterator<Item = u64>) {
        let began_ns = hot.since_ns;
        for key in keys {
            hot.saw(began_ns + 1, key);
        }
        hot.saw(began_ns + hot.params.window_ns, u64::MAX);
    }

    #[test]
    fn a_hot_key_is_found_among_any_number_of_others_and_forgotten() {
        let mut hot = Hot::new(HotParams::default());
        let mut prng = Prng::new(1);
        window(
            &mut hot,
            (0..10_000).map(|nth| if nth % 3 == 0 { 42 } else { prng.next_u64() }),
        );
        assert_eq!(hot.keys().len(), 1);
        let found = hot.keys()[0];
        assert_eq!((found.key, found.of), (42, 10_000));
        assert!(found.at_least <= 3_334 && found.at_most >= 3_334);
        assert!(hot.is_hot(42));
        window(&mut hot, (0..10_000).map(|_| prng.next_u64()));
        assert_eq!(hot.keys(), []);
    }

    #[test]
    fn a_thin_stream_tells_nothing() {
        let mut hot = Hot::new(HotParams::default());
        for nth in 0..10 * FRAMES_MIN {
            hot.saw(nth * (WINDOW_MAX_NS / (FRAMES_MIN - 1) + 1), 42);
            assert_eq!(hot.keys(), []);
        }
    }

    #[test]
    fn a_slow_stream_has_longer_windows() {
        let mut hot = Hot::new(HotParams::default());
        let gap_ns = WINDOW_MAX_NS / (FRAMES_MIN + 1);
        for nth in 0..=FRAMES_MIN {
            assert_eq!(hot.keys(), []);
            hot.saw(nth * gap_ns, 42);
        }
        assert_eq!((hot.keys()[0].key, hot.keys()[0].of), (42, FRAMES_MIN));
        // What it is now is told again by the next of them.
        for nth in 1..=FRAMES_MIN {
            hot.saw((FRAMES_MIN + nth) * gap_ns, nth);
        }
        assert_eq!(hot.keys(), []);
    }

    #[test]
    fn parameters_change_while_it_runs() {
        let mut hot = Hot::new(HotParams::default());
        window(&mut hot, (0..1_000).map(|nth| nth % 3));
        assert_eq!(hot.keys().len(), 3);
        hot.set_params(20 * MS, HotParams::new(2, 500, MS).unwrap());
        assert_eq!(hot.keys().len(), 3);
        window(&mut hot, (0..1_000).map(|nth| nth % 3));
        assert_eq!(hot.keys(), []);
    }

    #[test]
    fn bad_parameters_are_refused_in_words() {
        let error = HotParams::new(4, 100, MS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "hot_share is 100 in a thousand, and has to be at least 250 in a thousand, the one in hot_keys by which a count may \
             be off; write for example 8 times that"
        );
        assert!(HotParams::new(1, 900, MS).is_err());
        assert!(HotParams::new(KEYS_MAX as u32 + 1, 900, MS).is_err());
        assert!(HotParams::new(64, 49, MS).is_err());
        let preset = HotParams::default();
        let again = HotParams::new(preset.keys, preset.share_per_mille, preset.window_ns);
        assert_eq!(again, Ok(preset));
    }

    proptest! {
        #[test]
        fn counts_are_off_by_one_in_k_at_most_and_no_key_is_missed(
            keys in 4u32..=KEYS_MAX as u32,
            of in 1u64..200,
            heavy in vec(0u64..5, 256..1_500),
            share in 0.0f64..1.0,
            seed: u64,
        ) {
            let share_per_mille = 1_000u32.div_ceil(keys).max(100);
            let mut hot = Hot::new(HotParams::new(keys, share_per_mille, MS).unwrap());
            let mut prng = Prng::new(seed);
            let stream: Vec<u64> = heavy
                .into_iter()
                .map(|key| if prng.unit() < share { key * key } else { 100 + prng.below(of) })
                .collect();
            let mut counts: HashMap<u64, u64> = HashMap::new();
            for &key in &stream {
                *counts.entry(key).or_default() += 1;
            }
            let frames = stream.len() as u64;
            window(&mut hot, stream);
            for found in hot.keys() {
                let count = counts[&found.key];
                prop_assert!(found.at_least <= count && count <= found.at_most);
                prop_assert!((found.at_most - found.at_least) * u64::from(keys) <= frames);
                prop_assert!(count * 1_000 > frames * u64::from(share_per_mille));
            }
            for (key, count) in counts {
                let share = count as f64 / frames as f64;
                if share > f64::from(share_per_mille) / 1e3 + 1.0 / f64::from(keys) {
                    prop_assert!(hot.is_hot(key), "{key} has {share}");
                }
            }
        }

        #[test]
        fn any_times_at_all_do_no_harm(frames in vec(any::<(u64, u8)>(), 0..500)) {
            let mut hot = Hot::new(HotParams::default());
            for (now_ns, key) in frames {
                hot.saw(now_ns, key.into());
            }
        }
    }
}
