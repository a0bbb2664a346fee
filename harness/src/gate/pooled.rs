//! The histograms of several runs as one, read back from the text that runs carry.
//!
//! Invariant: text that is no histogram gives none, never a wrong one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

/// All samples of the histograms in `texts` (V2, plain or compressed, base64). None if one of them cannot be read or there
/// is no sample at all.
pub(super) fn merged<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Histogram<u64>> {
    let mut all: Option<Histogram<u64>> = None;
    for text in texts {
        let bytes = STANDARD.decode(text).ok()?;
        let one: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .ok()?;
        match &mut all {
            Some(all) => all.add(one).ok()?,
            None => all = Some(one),
        }
    }
    all.filter(|all| !all.is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use hdrhistogram::serialization::{Serializer, V2Serializer};

    use super::*;

    /// A histogram as runs carry it.
    pub(in crate::gate) fn text(samples: impl Iterator<Item = u64>) -> String {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 68_000_000_000, 3).unwrap();
        samples.for_each(|ns| histogram.saturating_record(ns));
        let mut bytes = Vec::new();
        V2Serializer::new()
            .serialize(&histogram, &mut bytes)
            .unwrap();
        STANDARD.encode(bytes)
    }

    #[test]
    fn runs_are_added_up() {
        let (low, high) = (text(1..=100), text(101..=200));
        let all = merged([low.as_str(), high.as_str()].into_iter()).unwrap();
        assert_eq!((all.len(), all.value_at_quantile(0.5)), (200, 100));
    }

    #[test]
    fn what_cannot_be_read_gives_none() {
        let good = text(1..=3);
        assert!(merged([good.as_str(), "?"].into_iter()).is_none());
        assert!(merged(["AAAA"].into_iter()).is_none());
        assert!(merged([text(0..0).as_str()].into_iter()).is_none());
        assert!(merged([].into_iter()).is_none());
    }
}
