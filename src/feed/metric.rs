//! A line of telemetry as frames: its numbers in fields, its text behind them.
//!
//! | kind | frame | carries |
//! |---|---|---|
//! | `metric` | [`Metric`] | class, first value, rate, time, lengths, the first [`METRIC_HEAD_BYTES`] bytes of text |
//! | `notice` | [`Notice`] | an event or a service check: the first [`NOTICE_HEAD_BYTES`] bytes of its line |
//! | `text_part` | [`TextPart`] | the next [`TEXT_PART_BYTES`] bytes of either, a fragment after the head |
//!
//! The text of a metric is its name, its tags as sent, and the *rest*: of StatsD the further values or
//! the member of a set, of Influx all fields, of Graphite nothing. It was checked when the line was
//! parsed; reading it again here is bounded by it and cannot fail but by giving fewer samples.
//!
//! A metric's [route](Metric::route) is its key on a hop: equal names with equal tags, in whatever
//! order, have the same one, so that a hop divided by key sums each metric up in one place.
//!
//! Invariant: no line is cut: what has no room in one frame is a message of fragments.

use core::hash::{BuildHasher, Hasher};

use crate::base::limits::{FRAGMENTS_MAX, PAYLOAD_BYTES};
use crate::feed::sample::{Class, Number, Numbers, Sample, TagForm, TagSet};
use crate::feed::{graphite, influx, statsd};

/// Bytes of text in the first frame of a metric: what a slot's payload has beside the other fields.
pub const METRIC_HEAD_BYTES: usize = PAYLOAD_BYTES - 38;

/// Bytes of text in the first frame of a notice.
pub const NOTICE_HEAD_BYTES: usize = PAYLOAD_BYTES - 4;

/// Bytes of text in each further frame.
pub const TEXT_PART_BYTES: usize = PAYLOAD_BYTES - 3;

/// Longest text that the fragments of one message carry, in bytes.
pub const TEXT_BYTES_MAX: usize = METRIC_HEAD_BYTES + (FRAGMENTS_MAX - 1) * TEXT_PART_BYTES;

const _: () = assert!(TEXT_BYTES_MAX <= u16::MAX as usize && TEXT_PART_BYTES <= u8::MAX as usize);

/// [`Metric::at_ns`] of a line that says no time.
pub const NO_TIME: u64 = u64::MAX;

/// What a line of telemetry becomes, on one hop.
#[hopline::frame_set]
#[derive(Debug)]
pub enum Telemetry {
    /// Values of a metric.
    Metric(Metric),
    /// An event or a service check.
    Notice(Notice),
    /// More of the text of either.
    Part(TextPart),
}

/// Values of a metric, of a whole line or its beginning. Kind `metric`.
#[hopline::frame(schema = 211, version = 1, name = "metric", key = "route")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// When it happened by its sender's clock, in nanoseconds since 1970; [`NO_TIME`] if that is not said.
    pub at_ns: u64,
    /// The first value; 0 for a set, and for Influx, whose values are among the fields.
    pub value: f64,
    /// Which share of what happened was sent, above 0 and up to 1.
    pub rate: f64,
    /// The same for equal names with equal tags in any order.
    pub route: u32,
    /// Bytes of the name.
    pub name_bytes: u16,
    /// Bytes of the tags, which follow the name.
    pub tags_bytes: u16,
    /// Bytes of the rest, which follows the tags.
    pub rest_bytes: u16,
    /// How tags are written, and so the format of the line.
    pub form: TagForm,
    /// What the values mean.
    pub class: Class,
    /// The first value was sent with a plus or a minus.
    pub signed: bool,
    /// How many of `bytes` are meant. The others are zeros.
    pub count: u8,
    /// The first bytes of the text.
    pub bytes: [u8; METRIC_HEAD_BYTES],
}

/// An event or a service check as it was sent, of a whole line or its beginning. Kind `notice`.
#[hopline::frame(schema = 212, version = 1, name = "notice")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Bytes of the whole line.
    pub total: u16,
    /// It is a service check, not an event.
    pub is_check: bool,
    /// How many of `bytes` are meant. The others are zeros.
    pub count: u8,
    /// The first bytes of the line.
    pub bytes: [u8; NOTICE_HEAD_BYTES],
}

/// Further bytes of a text. Kind `text_part`.
#[hopline::frame(schema = 213, version = 1, name = "text_part")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextPart {
    /// Place of the first of `bytes` in the text.
    pub at: u16,
    /// How many of `bytes` are meant. The others are zeros.
    pub count: u8,
    /// The bytes.
    pub bytes: [u8; TEXT_PART_BYTES],
}

/// Most frames that a line of that many bytes becomes.
///
/// ```
/// use hopline::feed::metric::{METRIC_HEAD_BYTES, metric_frames_max};
/// assert_eq!(metric_frames_max(METRIC_HEAD_BYTES), 1);
/// assert_eq!(metric_frames_max(METRIC_HEAD_BYTES + 1), 2);
/// ```
#[must_use]
pub const fn metric_frames_max(line_bytes: usize) -> usize {
    1 + line_bytes
        .saturating_sub(METRIC_HEAD_BYTES)
        .div_ceil(TEXT_PART_BYTES)
}

/// Texts that lie one behind the other as if they were one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Joined<'a>(pub(crate) [&'a [u8]; 3]);

impl<'a> Joined<'a> {
    fn len(&self) -> usize {
        self.0.iter().map(|text| text.len()).sum()
    }

    /// Copies the bytes from `at` on, as many as there are or as have room.
    #[inline]
    fn copy(&self, mut at: usize, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for text in self.0 {
            let Some(rest) = text.get(at..) else {
                at -= text.len();
                continue;
            };
            at = 0;
            let now = rest.len().min(out.len() - filled);
            out[filled..filled + now].copy_from_slice(&rest[..now]);
            filled += now;
        }
        filled
    }

    /// The frames of what lies behind the first `from` bytes.
    pub(crate) fn parts(self, from: usize) -> impl ExactSizeIterator<Item = TextPart> + use<'a> {
        let count = self.len().saturating_sub(from).div_ceil(TEXT_PART_BYTES);
        (0..count).map(move |nth| {
            let at = from + nth * TEXT_PART_BYTES;
            let mut bytes = [0; TEXT_PART_BYTES];
            let count = self.copy(at, &mut bytes);
            TextPart {
                at: at as u16,
                count: count as u8,
                bytes,
            }
        })
    }
}

impl TextPart {
    /// The bytes that are meant.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count).min(TEXT_PART_BYTES)]
    }
}

/// What a line says, on its way into frames: the head, and the text that its parts are made of.
#[derive(Clone, Copy, Debug)]
pub struct Framed<'a, H> {
    /// The first frame.
    pub head: H,
    text: Joined<'a>,
    in_head: usize,
}

impl<'a, H> Framed<'a, H> {
    /// The frames behind the head, in order.
    pub fn parts(&self) -> impl ExactSizeIterator<Item = TextPart> + use<'a, H> {
        self.text.parts(self.in_head)
    }
}

impl Metric {
    /// A line of StatsD as frames; `None` if its text is longer than [`TEXT_BYTES_MAX`].
    ///
    /// ```
    /// use hopline::feed::statsd::{self, Line};
    /// use hopline::feed::Metric;
    /// let Ok(Line::Metric(line)) = statsd::parse(b"hits:3|c|@0.5|#env:prod") else { panic!() };
    /// let framed = Metric::of_statsd(&line).unwrap();
    /// assert_eq!((framed.head.value, framed.head.rate, framed.parts().len()), (3.0, 0.5, 0));
    /// let sample = framed.head.samples(framed.head.as_slice()).next().unwrap();
    /// assert_eq!((sample.name, sample.tags.bytes), (&b"hits"[..], &b"env:prod"[..]));
    /// ```
    #[inline]
    #[must_use]
    pub fn of_statsd<'a>(line: &statsd::Metric<'a>) -> Option<Framed<'a, Metric>> {
        let (first, packed) = line.values.parts();
        let rest = match line.class {
            Class::Set => line.member,
            _ => packed,
        };
        let tags = TagSet {
            bytes: line.tags,
            form: TagForm::Colon,
        };
        let first = first.unwrap_or(Number::plain(0.0));
        let times = (line.rate, line.at_ns);
        Metric::of([line.name, line.tags, rest], tags, line.class, first, times)
    }

    /// A line of Graphite as frames; `None` if its text is longer than [`TEXT_BYTES_MAX`].
    #[inline]
    #[must_use]
    pub fn of_graphite<'a>(line: &graphite::Point<'a>) -> Option<Framed<'a, Metric>> {
        let tags = TagSet {
            bytes: line.tags,
            form: TagForm::Semicolon,
        };
        let value = Number::plain(line.value);
        let text = [line.path, line.tags, b""];
        Metric::of(text, tags, Class::Gauge, value, (1.0, line.at_ns))
    }

    /// A line of Influx as frames; `None` if its text is longer than [`TEXT_BYTES_MAX`].
    #[inline]
    #[must_use]
    pub fn of_influx<'a>(line: &influx::Point<'a>) -> Option<Framed<'a, Metric>> {
        let tags = line.tag_set();
        let text = [line.measurement.raw(), tags.bytes, line.fields().raw()];
        let times = (1.0, line.since_1970_ns());
        Metric::of(text, tags, Class::Gauge, Number::plain(0.0), times)
    }

    #[inline]
    fn of<'a>(
        text: [&'a [u8]; 3],
        tags: TagSet<'a>,
        class: Class,
        first: Number,
        (rate, at_ns): (f64, Option<u64>),
    ) -> Option<Framed<'a, Metric>> {
        let [name, _, rest] = text;
        let text = Joined(text);
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let mut bytes = [0; METRIC_HEAD_BYTES];
        let in_head = text.copy(0, &mut bytes);
        let head = Metric {
            at_ns: at_ns.unwrap_or(NO_TIME),
            value: first.value,
            rate,
            route: route(name, tags),
            name_bytes: name.len() as u16,
            tags_bytes: tags.bytes.len() as u16,
            rest_bytes: rest.len() as u16,
            form: tags.form,
            class,
            signed: first.signed,
            count: in_head as u8,
            bytes,
        };
        Some(Framed {
            head,
            text,
            in_head,
        })
    }

    /// The bytes of text that are meant.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count).min(METRIC_HEAD_BYTES)]
    }

    /// Bytes of the whole text.
    #[inline]
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        usize::from(self.name_bytes) + usize::from(self.tags_bytes) + usize::from(self.rest_bytes)
    }

    /// What an aggregate takes of it: one sample, or of Influx one for each field that is a number.
    /// `text` is the whole text; one that is shorter than it should be has none.
    #[inline]
    #[must_use]
    pub fn samples<'a>(&self, text: &'a [u8]) -> Samples<'a> {
        let (name, tags) = (usize::from(self.name_bytes), usize::from(self.tags_bytes));
        let parted = text.split_at_checked(name).and_then(|(name, text)| {
            let (tags, text) = text.split_at_checked(tags)?;
            Some((name, tags, text.get(..usize::from(self.rest_bytes))?))
        });
        let Some((name, tags, rest)) = parted else {
            return Samples(Which::One(None));
        };
        let tags = TagSet {
            bytes: tags,
            form: self.form,
        };
        let at_ns = (self.at_ns != NO_TIME).then_some(self.at_ns);
        if self.form == TagForm::Escaped {
            return Samples(Which::Fields(influx::Samples {
                name,
                tags,
                at_ns,
                fields: influx::Fields::checked(rest),
            }));
        }
        let number = Number {
            value: self.value,
            signed: self.signed,
        };
        let (values, member) = match self.class {
            Class::Set => (Numbers::NONE, rest),
            _ => (Numbers::checked(number, rest), &b""[..]),
        };
        Samples(Which::One(Some(Sample {
            name,
            field: b"",
            tags,
            class: self.class,
            values,
            member,
            rate: self.rate,
            at_ns,
        })))
    }
}

/// The samples of a [`Metric`].
#[derive(Clone, Copy, Debug)]
pub struct Samples<'a>(Which<'a>);

#[derive(Clone, Copy, Debug)]
enum Which<'a> {
    One(Option<Sample<'a>>),
    Fields(influx::Samples<'a>),
}

impl<'a> Iterator for Samples<'a> {
    type Item = Sample<'a>;

    #[inline]
    fn next(&mut self) -> Option<Sample<'a>> {
        match &mut self.0 {
            Which::One(sample) => sample.take(),
            Which::Fields(samples) => samples.next(),
        }
    }
}

impl Notice {
    /// A line that is an event or a service check, as frames; `None` if it is longer than
    /// [`TEXT_BYTES_MAX`].
    #[must_use]
    pub fn of(line: &[u8], is_check: bool) -> Option<Framed<'_, Notice>> {
        if line.len() > TEXT_BYTES_MAX {
            return None;
        }
        let text = Joined([line, b"", b""]);
        let mut bytes = [0; NOTICE_HEAD_BYTES];
        let in_head = text.copy(0, &mut bytes);
        let head = Notice {
            total: line.len() as u16,
            is_check,
            count: in_head as u8,
            bytes,
        };
        Some(Framed {
            head,
            text,
            in_head,
        })
    }

    /// The bytes that are meant.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.count).min(NOTICE_HEAD_BYTES)]
    }
}

/// A number that equal names with equal tags share, whatever the order of the tags is. A tag that is
/// sent twice counts twice.
#[inline]
fn route(name: &[u8], tags: TagSet<'_>) -> u32 {
    // No secret: who sends a metric may know where it is summed up.
    const HASHER: foldhash::fast::FixedState = foldhash::fast::FixedState::with_seed(0);
    let hash = |bytes: &[u8]| {
        let mut hasher = HASHER.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    };
    let of_tags = tags.iter().map(|tag| hash(tag.bytes));
    let route = of_tags.fold(hash(name), u64::wrapping_add);
    (route >> 32) as u32
}

/// Where the text of a message is put together that comes in fragments.
///
/// Invariant: memory is taken once; what does not fit, or leaves a hole, is no whole text.
#[derive(Debug)]
pub struct TextStore {
    bytes: Box<[u8]>,
    filled: usize,
    total: usize,
    is_broken: bool,
}

impl TextStore {
    /// Room for texts of at most that many bytes. Allocates them.
    #[must_use]
    pub fn new(bytes_max: usize) -> TextStore {
        TextStore {
            bytes: vec![0; bytes_max].into_boxed_slice(),
            filled: 0,
            total: 0,
            is_broken: true,
        }
    }

    /// Begins a text of `total` bytes that starts like this.
    #[inline]
    pub fn begin(&mut self, total: usize, start: &[u8]) {
        (self.filled, self.total) = (0, total);
        self.is_broken = total > self.bytes.len();
        self.put(start);
    }

    /// Adds a part, which has to be the next one.
    #[inline]
    pub fn add(&mut self, part: &TextPart) {
        if usize::from(part.at) != self.filled {
            self.is_broken = true;
        }
        self.put(part.as_slice());
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let end = self.filled + bytes.len();
        if self.is_broken || end > self.total {
            self.is_broken = true;
            return;
        }
        self.bytes[self.filled..end].copy_from_slice(bytes);
        self.filled = end;
    }

    /// The text, if all of it is there.
    #[inline]
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        let is_whole = !self.is_broken && self.filled == self.total;
        is_whole.then(|| &self.bytes[..self.filled])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Aligned, Frame};

    /// The samples of a line that went through frames.
    fn through<'s>(framed: &Framed<'_, Metric>, store: &'s mut TextStore) -> Samples<'s> {
        let head = &framed.head;
        store.begin(head.text_bytes(), head.as_slice());
        for part in framed.parts() {
            store.add(&part);
        }
        head.samples(store.whole().expect("all of it"))
    }

    fn statsd(line: &str) -> statsd::Metric<'_> {
        match statsd::parse(line.as_bytes()) {
            Ok(statsd::Line::Metric(metric)) => metric,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_fill_a_slot_exactly() {
        let mut slot = Aligned::<PAYLOAD_BYTES>::new();
        let line = format!("a:1|c|#{}", "t".repeat(2 * PAYLOAD_BYTES));
        let framed = Metric::of_statsd(&statsd(&line)).unwrap();
        assert_eq!(framed.head.write(&mut slot), Ok(PAYLOAD_BYTES));
        assert_eq!(
            framed.parts().next().unwrap().write(&mut slot),
            Ok(PAYLOAD_BYTES)
        );
        let notice = Notice::of(b"_sc|a|0", true).unwrap();
        assert_eq!(notice.head.write(&mut slot), Ok(PAYLOAD_BYTES));
    }

    #[test]
    fn samples_of_every_format_come_back_as_they_were_parsed() {
        let mut store = TextStore::new(TEXT_BYTES_MAX);
        let long = "t".repeat(300);
        for line in [
            "a:1|c".to_owned(),
            "a.b:-1.5:2:3|ms|@0.25|#x:1,y|T1656581400".to_owned(),
            format!("users:one:two|s|#{long},{long}"),
            format!("g:+4|g|#{}", "k".repeat(METRIC_HEAD_BYTES - 2)),
        ] {
            let parsed = statsd(&line);
            let framed = Metric::of_statsd(&parsed).unwrap();
            let mut samples = through(&framed, &mut store);
            let (sample, expected) = (samples.next().unwrap(), parsed.sample());
            assert_eq!(format!("{sample:?}"), format!("{expected:?}"));
            assert!(samples.next().is_none());
        }
        let point = graphite::parse(b"disk.used;host=a;rack=3 42.5 1656581400").unwrap();
        let framed = Metric::of_graphite(&point).unwrap();
        let sample = through(&framed, &mut store).next().unwrap();
        assert_eq!(format!("{sample:?}"), format!("{:?}", point.sample()));
        let line = br#"cpu\ load,host=a\,b user=0.5,up=t,procs=12i,note="a, \"b\"",n=7u 1700"#;
        let point = influx::parse(line).unwrap();
        let framed = Metric::of_influx(&point).unwrap();
        let samples: Vec<_> = through(&framed, &mut store).collect();
        let expected: Vec<_> = point.samples().collect();
        assert_eq!(format!("{samples:?}"), format!("{expected:?}"));
        assert_eq!(samples.len(), 4);
    }

    #[test]
    fn a_route_does_not_depend_on_the_order_of_tags() {
        let route = |line: &str| Metric::of_statsd(&statsd(line)).unwrap().head.route;
        assert_eq!(route("a:1|c|#x:1,y:2"), route("a:9|g|#y:2,x:1"));
        assert_ne!(route("a:1|c|#x:1,y:2"), route("a:1|c|#x:1,y:3"));
        assert_ne!(route("a:1|c"), route("b:1|c"));
    }

    #[test]
    fn what_is_not_whole_has_no_samples() {
        let long = "t".repeat(300);
        let line = format!("a:1|c|#{long}");
        let framed = Metric::of_statsd(&statsd(&line)).unwrap();
        let head = framed.head;
        assert!(head.samples(head.as_slice()).next().is_none());
        let parts: Vec<TextPart> = framed.parts().collect();
        let mut store = TextStore::new(400);
        store.begin(head.text_bytes(), head.as_slice());
        store.add(&parts[1]);
        assert_eq!(store.whole(), None, "a hole");
        let mut store = TextStore::new(100);
        store.begin(head.text_bytes(), head.as_slice());
        for part in &parts {
            store.add(part);
        }
        assert_eq!(store.whole(), None, "no room");
    }

    #[test]
    fn the_longest_text_is_as_many_frames_as_a_message_has() {
        let line = vec![b'a'; TEXT_BYTES_MAX];
        let framed = Notice::of(&line, false).unwrap();
        assert!(framed.parts().len() < FRAGMENTS_MAX);
        assert_eq!(metric_frames_max(TEXT_BYTES_MAX), FRAGMENTS_MAX);
        assert!(Notice::of(&vec![b'a'; TEXT_BYTES_MAX + 1], false).is_none());
    }
}
