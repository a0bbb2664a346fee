//! Histograms as text, as they stand in `gate.json` and in `.hlog`.
//!
//! The encoding is HdrHistogram's V2 inside zlib ("V2 compressed"), in base64: the one that every port of HdrHistogram
//! reads. Python's knows no other.
//!
//! Invariant: a histogram that comes back has the same counts; text that holds none is refused, whatever it is.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::gate::model::{RunAnalysis, SpanAnalysis};

/// Longest text of a histogram: three digits over 68 s are 0.2 MiB when every count is large.
pub const HISTOGRAM_TEXT_BYTES_MAX: usize = 4 << 20;

/// Digits that sums are kept with, and bounds of the values, if what is added has fewer.
const SUM_DIGITS: u8 = 3;

/// Why a histogram cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HistogramError(String);

impl HistogramError {
    /// A histogram that a writer refused.
    pub(crate) fn of(why: &impl std::fmt::Display) -> HistogramError {
        HistogramError(why.to_string())
    }
}

fn error(what: &str, why: impl std::fmt::Display) -> HistogramError {
    HistogramError(format!("{what}: {why}"))
}

/// A histogram as text.
///
/// # Errors
/// It cannot be encoded, which only a count beyond 63 bits can cause.
pub fn encode(histogram: &Histogram<u64>) -> Result<String, HistogramError> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .map_err(|why| error("the histogram cannot be encoded", why))?;
    Ok(STANDARD.encode(bytes))
}

/// A histogram from text: V2, in zlib or bare.
///
/// # Errors
/// The text is too long, no base64, or holds something else.
pub fn decode(text: &str) -> Result<Histogram<u64>, HistogramError> {
    if text.len() > HISTOGRAM_TEXT_BYTES_MAX {
        let why = format!("it is longer than {HISTOGRAM_TEXT_BYTES_MAX} bytes");
        return Err(error("no histogram", why));
    }
    let bytes = STANDARD
        .decode(text)
        .map_err(|why| error("no base64", why))?;
    Deserializer::new()
        .deserialize(&mut Cursor::new(bytes))
        .map_err(|why| error("no HdrHistogram in V2", why))
}

/// One span of one hop, over all runs.
#[derive(Clone, Debug)]
pub(crate) struct Sums {
    /// Of all frames.
    pub(crate) raw: Histogram<u64>,
    /// Of the clean ones.
    pub(crate) clean: Histogram<u64>,
}

/// The spans with that name, of all runs.
pub(crate) fn spans<'a>(
    runs: &'a [RunAnalysis],
    hop: &'a str,
    of: &'a str,
) -> impl Iterator<Item = &'a SpanAnalysis> {
    let all = runs.iter().flat_map(|run| &run.spans);
    all.filter(move |span| span.hop == hop && span.of == of)
}

/// The histograms of a span added up over all runs; what cannot be read is left out, and no frame at all is `None`.
pub(crate) fn sums(runs: &[RunAnalysis], hop: &str, of: &str) -> Option<Sums> {
    let empty = || {
        let mut histogram = Histogram::<u64>::new(SUM_DIGITS).ok()?;
        histogram.auto(true);
        Some(histogram)
    };
    let mut sums = Sums {
        raw: empty()?,
        clean: empty()?,
    };
    for span in spans(runs, hop, of) {
        for (text, sum) in [
            (&span.raw_histogram, &mut sums.raw),
            (&span.clean_histogram, &mut sums.clean),
        ] {
            if let Ok(histogram) = decode(text) {
                // A sum that grows by itself takes everything in.
                let _ = sum.add(histogram);
            }
        }
    }
    (!sums.raw.is_empty()).then_some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::V2Serializer;

    fn some() -> Histogram<u64> {
        let mut histogram = Histogram::<u64>::new_with_bounds(1, 1 << 36, 3).unwrap();
        for value in [1, 700, 701, 90_000, 1 << 35] {
            histogram.record_n(value, value % 7 + 1).unwrap();
        }
        histogram
    }

    #[test]
    fn what_comes_back_is_the_same() {
        assert_eq!(decode(&encode(&some()).unwrap()).unwrap(), some());
        let mut bare = Vec::new();
        V2Serializer::new().serialize(&some(), &mut bare).unwrap();
        assert_eq!(decode(&STANDARD.encode(bare)).unwrap(), some());
    }

    #[test]
    fn anything_else_is_refused_with_words() {
        let whole = encode(&some()).unwrap();
        let half = STANDARD.encode(&STANDARD.decode(&whole).unwrap()[..20]);
        for (text, words) in [
            ("", "V2"),
            ("*", "base64"),
            ("AAAA", "V2"),
            (half.as_str(), "V2"),
            ("A".repeat(HISTOGRAM_TEXT_BYTES_MAX + 4).as_str(), "longer"),
        ] {
            let error = decode(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn runs_are_added_up_and_unreadable_ones_left_out() {
        let run = |text: String| RunAnalysis {
            spans: vec![SpanAnalysis {
                hop: "a->b".to_owned(),
                of: "wait".to_owned(),
                clean_histogram: text.clone(),
                raw_histogram: text,
                ..SpanAnalysis::default()
            }],
            ..RunAnalysis::default()
        };
        let text = encode(&some()).unwrap();
        let runs = [run(text.clone()), run("*".to_owned()), run(text)];
        let sums = sums(&runs, "a->b", "wait").unwrap();
        assert_eq!(sums.raw.len(), 2 * some().len());
        assert_eq!(sums.clean.max(), some().max());
        assert!(super::sums(&runs, "a->b", "service").is_none());
    }
}
