//! The check sum of a state channel: a client that keeps it too finds out when its view has gone astray.
//!
//! Each key with its value has a hash: FNV-1a of 32 bits over the key's UTF-8, one zero byte, and the value's canonical JSON
//! ([`json`](crate::edge::json)). The sum adds the hashes of all keys modulo 2^32. So it does not depend on the order of the
//! keys, and a change costs two hashes whatever the channel holds. It is told with each snapshot, and with the events whose offset
//! is a multiple of [`EVERY`].
//!
//! It is against defects, not against malice: who wants two states of the same sum can make them.
//!
//! Source: Fowler, Noll and Vo, "The FNV Non-Cryptographic Hash Algorithm" (draft-eastlake-fnv).
//!
//! Invariant: the same keys with the same values have the same sum, however they came to be.

/// Events of a state channel carry the sum when their offset is a multiple of it: some 17 bytes in so many events are nothing, and
/// a client that is wrong learns it within as many events.
pub const EVERY: u64 = 64;

/// Whether the event at that offset carries the sum.
///
/// ```
/// use hopline::edge::sum::is_due;
/// assert!(is_due(64) && is_due(128) && !is_due(65));
/// ```
#[must_use]
pub const fn is_due(offset: u64) -> bool {
    offset.is_multiple_of(EVERY)
}

const BASIS: u32 = 0x811c_9dc5;
const PRIME: u32 = 0x0100_0193;

const fn fnv1a(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u32).wrapping_mul(PRIME);
        at += 1;
    }
    hash
}

/// The hash of a key with its value, which is canonical JSON.
///
/// ```
/// use hopline::edge::sum::entry;
/// assert_eq!(entry("cost", "{\"spent\":12,\"budget\":100,\"remaining\":880}"), 0xb2e9_67fb);
/// ```
#[must_use]
pub const fn entry(key: &str, value: &str) -> u32 {
    let hash = fnv1a(fnv1a(BASIS, key.as_bytes()), &[0]);
    fnv1a(hash, value.as_bytes())
}

/// The sum over the keys of a channel, kept with each change.
///
/// ```
/// use hopline::edge::{Sum, sum::entry};
/// let mut sum = Sum::default();
/// sum.add(entry("a", "{\"n\":1}"));
/// sum.add(entry("b", "{\"n\":2}"));
/// sum.replace(entry("a", "{\"n\":1}"), entry("a", "{\"n\":3}"));
/// assert_eq!(sum, Sum::of([("b", "{\"n\":2}"), ("a", "{\"n\":3}")]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sum(u32);

impl Sum {
    /// The sum of all these keys with their values.
    #[must_use]
    pub fn of<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Sum {
        let mut sum = Sum::default();
        for (key, value) in entries {
            sum.add(entry(key, value));
        }
        sum
    }

    /// A key came, with that [`entry`].
    pub const fn add(&mut self, entry: u32) {
        self.0 = self.0.wrapping_add(entry);
    }

    /// A key left, whose last value had that [`entry`].
    pub const fn remove(&mut self, entry: u32) {
        self.0 = self.0.wrapping_sub(entry);
    }

    /// A key changed its value.
    pub const fn replace(&mut self, before: u32, now: u32) {
        self.remove(before);
        self.add(now);
    }

    /// As it is told to clients.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Prng;

    #[test]
    fn the_hash_is_the_published_one() {
        for (text, hash) in [
            ("", 0x811c_9dc5),
            ("a", 0xe40c_292c),
            ("b", 0xe70c_2de5),
            ("fo", 0x6222_e842),
            ("foobar", 0xbf9c_f968),
            ("chongo was here!\n", 0xd499_30d5),
        ] {
            assert_eq!(fnv1a(BASIS, text.as_bytes()), hash, "{text:?}");
        }
    }

    #[test]
    fn a_zero_byte_parts_a_key_from_its_value() {
        assert_ne!(entry("ab", "c"), entry("a", "bc"));
        assert_eq!(entry("a", "b"), fnv1a(BASIS, b"a\0b"));
        assert_eq!(
            entry("größe", "\"ß\""),
            fnv1a(BASIS, "größe\0\"ß\"".as_bytes())
        );
    }

    #[test]
    fn changes_come_to_the_same_sum_as_the_state_they_make() {
        let mut prng = Prng::new(17);
        let mut values: Vec<Option<String>> = vec![None; 20];
        let keys: Vec<String> = (0..20).map(|at| format!("node:{at}")).collect();
        let mut sum = Sum::default();
        for _ in 0..5_000 {
            let at = prng.below(20) as usize;
            let new = (prng.below(4) > 0).then(|| format!("{{\"n\":{}}}", prng.below(1_000)));
            let hash = |value: &String| entry(&keys[at], value);
            match (values[at].as_ref().map(hash), new.as_ref().map(hash)) {
                (Some(before), Some(now)) => sum.replace(before, now),
                (Some(before), None) => sum.remove(before),
                (None, Some(now)) => sum.add(now),
                (None, None) => {}
            }
            values[at] = new;
        }
        let state = keys.iter().zip(&values);
        let state = state.filter_map(|(key, value)| Some((key.as_str(), value.as_deref()?)));
        let state: Vec<(&str, &str)> = state.collect();
        assert!(state.len() > 5);
        assert_eq!(Sum::of(state.iter().copied()), sum);
        assert_eq!(Sum::of(state.iter().rev().copied()), sum);
        let [first, second, ..] = state[..] else {
            panic!("there are several")
        };
        let swapped = [(first.0, second.1), (second.0, first.1)];
        assert_ne!(
            Sum::of(swapped),
            Sum::of([first, second]),
            "values have their keys"
        );
    }
}
