//! What a window has to say about a metric, as frames.
//!
//! | kind | frame | carries |
//! |---|---|---|
//! | `summary` | [`Summary`] | the window, the sums, the lengths of name, field and tags |
//! | `quantiles` | [`Quantiles`] | of a distribution: follows its summary |
//! | `text_part` | [`TextPart`] | name, field and tags, one behind the other: follow the summary |
//! | `notice` | [`Notice`] | an event or a service check that was passed on, with its text parts |
//! | `summed_up` | [`SummedUp`] | what an aggregate did since it began, once for each window |
//!
//! Invariant: a summary is one message whatever its key is, and no figure is rounded.

use crate::base::limits::METRIC_KEY_BYTES_MAX;
use crate::feed::aggregate::{Aggregate, Lost, Row};
use crate::feed::metric::{Joined, Notice, TEXT_PART_BYTES, TextPart};
use crate::feed::sample::{Class, TagForm};

/// What leaves an aggregate, on one hop.
#[hopline::frame_set]
#[derive(Debug)]
pub enum Summaries {
    /// One metric in one window.
    Summary(Summary),
    /// Its quantiles, if it has some.
    Quantiles(Quantiles),
    /// Its name, field and tags.
    Part(TextPart),
    /// An event or a service check.
    Notice(Notice),
    /// What the aggregate did.
    SummedUp(SummedUp),
}

/// One metric in one window. Kind `summary`. The fields are those of
/// [`Row`], which says what they mean.
#[hopline::frame(schema = 214, version = 1, name = "summary")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// When the window began, in nanoseconds since 1970.
    pub window_start_ns: u64,
    /// How long it is, in nanoseconds.
    pub window_ns: u64,
    /// Values, or members, that came in.
    pub values: u64,
    /// What they stand for: each counts one over its rate.
    pub weight: f64,
    /// Of a counter, what it counted; otherwise the sum of the values by their weight.
    pub sum: f64,
    /// The least value; 0 for a set.
    pub min: f64,
    /// The largest value; 0 for a set.
    pub max: f64,
    /// The latest value; 0 for a set.
    pub last: f64,
    /// Different members of a set.
    pub members: u64,
    /// Bytes of the name, with which the text begins.
    pub name_bytes: u16,
    /// Bytes of the field, which follows the name.
    pub field_bytes: u16,
    /// Bytes of the tags, which follow the field.
    pub tags_bytes: u16,
    /// How tags are written, and so the format of the line.
    pub form: TagForm,
    /// What the values mean.
    pub class: Class,
    /// There were more members than a set can tell apart.
    pub members_incomplete: bool,
}

/// Values that so many of a hundred do not exceed. Kind `quantiles`.
#[hopline::frame(schema = 215, version = 1, name = "quantiles")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantiles {
    /// Half of them.
    pub p50: f64,
    /// 90 of a hundred.
    pub p90: f64,
    /// 95 of a hundred.
    pub p95: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// 999 of a thousand.
    pub p99_9: f64,
}

/// What an aggregate did since it began. Kind `summed_up`.
#[hopline::frame(schema = 216, version = 1, name = "summed_up")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SummedUp {
    /// When that was so, in nanoseconds since 1970.
    pub at_ns: u64,
    /// Samples that it was given.
    pub samples: u64,
    /// Samples of windows that were sealed.
    pub late: u64,
    /// Samples of windows too far ahead.
    pub ahead: u64,
    /// Samples of new keys without room.
    pub no_room: u64,
    /// Samples whose key is too long.
    pub key_too_long: u64,
    /// Samples whose sum is no double.
    pub beyond_scale: u64,
    /// Keys that made room for another.
    pub keys_evicted: u64,
    /// Times that a key had no histogram in a window.
    pub without_histogram: u64,
    /// Values outside of their histogram.
    pub clamped: u64,
    /// Keys that it knows.
    pub keys: u32,
    /// Times that a key had no set in a window; ends to count at the largest number.
    pub without_set: u32,
    /// Members that a set had no room for; likewise.
    pub set_full: u32,
}

/// Most frames of the summary of a key of so many bytes.
#[must_use]
pub const fn summary_frames_max(key_bytes: usize) -> usize {
    2 + key_bytes.div_ceil(TEXT_PART_BYTES)
}

const _: () = assert!(METRIC_KEY_BYTES_MAX <= u16::MAX as usize);

impl Summary {
    /// A row as frames: the head, its quantiles where it is a distribution, and its text.
    pub fn of<'a>(
        row: &Row<'a>,
    ) -> (
        Summary,
        Option<Quantiles>,
        impl ExactSizeIterator<Item = TextPart> + use<'a>,
    ) {
        let head = Summary {
            window_start_ns: row.window_start_ns,
            window_ns: row.window_ns,
            values: row.values,
            weight: row.weight,
            sum: row.sum,
            min: row.min,
            max: row.max,
            last: row.last,
            members: row.members,
            name_bytes: row.name.len() as u16,
            field_bytes: row.field.len() as u16,
            tags_bytes: row.tags.bytes.len() as u16,
            form: row.tags.form,
            class: row.class,
            members_incomplete: row.members_incomplete,
        };
        let quantiles = row.quantile(0.5).map(|p50| {
            let at = |q| row.quantile(q).unwrap_or(p50);
            Quantiles {
                p50,
                p90: at(0.9),
                p95: at(0.95),
                p99: at(0.99),
                p99_9: at(0.999),
            }
        });
        let text = Joined([row.name, row.field, row.tags.bytes]);
        (head, quantiles, text.parts(0))
    }

    /// Bytes of the whole text.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        usize::from(self.name_bytes) + usize::from(self.field_bytes) + usize::from(self.tags_bytes)
    }

    /// Name, field and tags of the whole text; `None` where it is shorter than it should be.
    #[must_use]
    pub fn parted<'a>(&self, text: &'a [u8]) -> Option<(&'a [u8], &'a [u8], &'a [u8])> {
        let (name, text) = text.split_at_checked(usize::from(self.name_bytes))?;
        let (field, text) = text.split_at_checked(usize::from(self.field_bytes))?;
        Some((name, field, text.get(..usize::from(self.tags_bytes))?))
    }

    /// The mean of the values by their weight; 0 for a set.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.weight > 0.0 {
            self.sum / self.weight
        } else {
            0.0
        }
    }
}

impl SummedUp {
    /// What an aggregate did up to `at_ns`, in nanoseconds since 1970.
    #[must_use]
    pub fn of(aggregate: &Aggregate, at_ns: u64) -> SummedUp {
        use crate::base::Reason;
        let counts = aggregate.counts();
        let lost = |why: Lost| counts.lost[why.index()];
        let short = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        SummedUp {
            at_ns,
            samples: counts.samples,
            late: lost(Lost::Late),
            ahead: lost(Lost::Ahead),
            no_room: lost(Lost::NoRoom),
            key_too_long: lost(Lost::KeyTooLong),
            beyond_scale: lost(Lost::BeyondScale),
            keys_evicted: counts.keys_evicted,
            without_histogram: counts.without_histogram,
            clamped: counts.clamped,
            keys: short(aggregate.keys() as u64),
            without_set: short(counts.without_set),
            set_full: short(counts.set_full),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits::PAYLOAD_BYTES;
    use crate::feed::aggregate::Settings;
    use crate::feed::metric::TextStore;
    use crate::feed::statsd::{self, Line};
    use crate::frame::{Aligned, Frame};

    #[test]
    fn a_row_comes_back_from_its_frames() {
        let mut aggregate = Aggregate::new(Settings::default()).unwrap();
        let tags = "t".repeat(200);
        for value in 1..=100 {
            let line = format!("latency:{value}|ms|#{tags}");
            let Ok(Line::Metric(metric)) = statsd::parse(line.as_bytes()) else {
                panic!("{line}")
            };
            aggregate.add(&metric.sample(), 5_000_000_000).unwrap();
        }
        let mut rows = 0;
        aggregate.close_all(10, |row| {
            let (head, quantiles, parts) = Summary::of(row);
            assert!(2 + parts.len() <= summary_frames_max(207));
            let mut store = TextStore::new(METRIC_KEY_BYTES_MAX);
            store.begin(head.text_bytes(), b"");
            parts.for_each(|part| store.add(&part));
            let text = store.whole().expect("all of it");
            let expected = (&b"latency"[..], &b""[..], tags.as_bytes());
            assert_eq!(head.parted(text), Some(expected));
            assert_eq!(
                (head.sum, head.min, head.max, head.mean()),
                (5050.0, 1.0, 100.0, 50.5)
            );
            let quantiles = quantiles.expect("a timer has some");
            assert!((50.0..=50.6).contains(&quantiles.p50), "{quantiles:?}");
            assert_eq!(Some(quantiles.p99), row.quantile(0.99));
            let mut slot = Aligned::<PAYLOAD_BYTES>::new();
            assert!(head.write(&mut slot).is_ok() && quantiles.write(&mut slot).is_ok());
            rows += 1;
        });
        assert_eq!(rows, 1);
        let summed = SummedUp::of(&aggregate, 7);
        assert_eq!((summed.at_ns, summed.samples, summed.keys), (7, 100, 1));
    }
}
