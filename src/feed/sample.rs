//! What one line of telemetry says about one metric, whatever its format was.
//!
//! Invariant: views of the line's bytes; nothing is copied, sorted or unescaped here.

use crate::feed::{look, number};

/// What a metric's values mean, and so what is made of them in a window.
#[hopline::frame_part]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Values are added up, each by one over its rate.
    Counter,
    /// The last value stands.
    Gauge,
    /// Times in milliseconds, whose distribution counts.
    Timer,
    /// Values of any unit whose distribution counts.
    Histogram,
    /// The same under the name of its sender's choice: a distribution over all hosts.
    Distribution,
    /// Members, of which the different ones are counted.
    Set,
}

impl Class {
    /// All of them, in order.
    pub const ALL: &'static [Class] = &[
        Class::Counter,
        Class::Gauge,
        Class::Timer,
        Class::Histogram,
        Class::Distribution,
        Class::Set,
    ];

    /// The name that reports print.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Class::Counter => "counter",
            Class::Gauge => "gauge",
            Class::Timer => "timer",
            Class::Histogram => "histogram",
            Class::Distribution => "distribution",
            Class::Set => "set",
        }
    }
}

/// How tags are written.
#[hopline::frame_part]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TagForm {
    /// `key:value,alone`: DogStatsD.
    #[default]
    Colon,
    /// `key=value;key=value`: Graphite.
    Semicolon,
    /// `key=value,key=value` with backslashes before commas, blanks and equal signs: Influx.
    Escaped,
}

/// Tags as sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TagSet<'a> {
    /// Their bytes, without what stands around them all.
    pub bytes: &'a [u8],
    /// How they are written.
    pub form: TagForm,
}

impl<'a> TagSet<'a> {
    /// Each tag by itself, as sent; empty ones are passed over.
    ///
    /// ```
    /// use hopline::feed::{TagForm, TagSet};
    /// let tags = TagSet { bytes: b"env:prod,,canary", form: TagForm::Colon };
    /// let pairs: Vec<_> = tags.iter().map(|tag| tag.pair()).collect();
    /// assert_eq!(pairs, [(&b"env"[..], &b"prod"[..]), (b"canary", b"")]);
    /// ```
    #[must_use]
    pub const fn iter(self) -> Tags<'a> {
        Tags {
            rest: self.bytes,
            form: self.form,
        }
    }
}

impl<'a> IntoIterator for TagSet<'a> {
    type Item = Tag<'a>;
    type IntoIter = Tags<'a>;

    fn into_iter(self) -> Tags<'a> {
        self.iter()
    }
}

/// One tag as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// Its bytes; never empty.
    pub bytes: &'a [u8],
    /// How it is written.
    pub form: TagForm,
}

impl<'a> Tag<'a> {
    /// Its key and its value, as sent; a tag without a value has an empty one.
    #[inline]
    #[must_use]
    pub fn pair(self) -> (&'a [u8], &'a [u8]) {
        let at = match self.form {
            TagForm::Colon => look::find(b':', self.bytes),
            TagForm::Semicolon => look::find(b'=', self.bytes),
            TagForm::Escaped => unescaped(self.bytes, b'='),
        };
        match at {
            Some(at) => (&self.bytes[..at], &self.bytes[at + 1..]),
            None => (self.bytes, b""),
        }
    }
}

/// The tags of a [`TagSet`].
#[derive(Clone, Copy, Debug)]
pub struct Tags<'a> {
    rest: &'a [u8],
    form: TagForm,
}

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    #[inline]
    fn next(&mut self) -> Option<Tag<'a>> {
        while !self.rest.is_empty() {
            let at = match self.form {
                TagForm::Colon => look::find(b',', self.rest),
                TagForm::Semicolon => look::find(b';', self.rest),
                TagForm::Escaped => separator(self.rest),
            };
            let (bytes, rest) = match at {
                Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
                None => (self.rest, &b""[..]),
            };
            self.rest = rest;
            if !bytes.is_empty() {
                let form = self.form;
                return Some(Tag { bytes, form });
            }
        }
        None
    }
}

/// Where the first `byte` stands that no backslash escapes.
#[inline]
pub(crate) fn unescaped(text: &[u8], byte: u8) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + look::find2(byte, b'\\', text.get(from..)?)?;
        if text[at] == byte {
            return Some(at);
        }
        from = at + 2;
    }
}

/// Where the comma stands that ends the first tag: a key may hold commas, so it is one after the equal sign.
#[inline]
fn separator(text: &[u8]) -> Option<usize> {
    let value = unescaped(text, b'=')? + 1;
    Some(value + unescaped(&text[value..], b',')?)
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// The value; finite.
    pub value: f64,
    /// It was sent with a plus or a minus, which makes it a change of a StatsD gauge.
    pub signed: bool,
}

impl Number {
    /// A value that was sent without a sign.
    #[must_use]
    pub const fn plain(value: f64) -> Number {
        Number {
            value,
            signed: false,
        }
    }
}

/// The values of a line, which were all checked before.
#[derive(Clone, Copy, Debug)]
pub struct Numbers<'a> {
    first: Option<Number>,
    /// The further ones, parted by colons.
    packed: &'a [u8],
}

impl<'a> Numbers<'a> {
    /// None at all.
    pub const NONE: Numbers<'static> = Numbers {
        first: None,
        packed: b"",
    };

    /// Just this one.
    #[must_use]
    pub const fn one(number: Number) -> Numbers<'static> {
        Numbers {
            first: Some(number),
            packed: b"",
        }
    }

    /// This one and those that `packed` holds, each of which is known to be a number.
    #[inline]
    pub(crate) const fn checked(first: Number, packed: &'a [u8]) -> Numbers<'a> {
        Numbers {
            first: Some(first),
            packed,
        }
    }

    /// The first value, and the bytes of the others.
    #[inline]
    pub(crate) const fn parts(&self) -> (Option<Number>, &'a [u8]) {
        (self.first, self.packed)
    }

    /// The value, if there is just one.
    #[inline]
    #[must_use]
    pub const fn single(&self) -> Option<Number> {
        if self.packed.is_empty() {
            self.first
        } else {
            None
        }
    }
}

impl Iterator for Numbers<'_> {
    type Item = Number;

    #[inline]
    fn next(&mut self) -> Option<Number> {
        let number = self.first.take()?;
        if !self.packed.is_empty() {
            let end = look::find(b':', self.packed).unwrap_or(self.packed.len());
            self.first = parse_number(&self.packed[..end]).ok();
            self.packed = self.packed.get(end + 1..).unwrap_or(b"");
        }
        Some(number)
    }
}

/// The number that `text` writes, and whether with a sign.
#[inline]
pub(crate) fn parse_number(text: &[u8]) -> Result<Number, crate::base::Reject> {
    Ok(Number {
        value: number::float(text)?,
        signed: matches!(text.first(), Some(b'+' | b'-')),
    })
}

/// What one line says about one metric: what [`Aggregate`](crate::feed::Aggregate) takes.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The metric's name, as sent.
    pub name: &'a [u8],
    /// The field of a measurement; empty in formats that have none.
    pub field: &'a [u8],
    /// Its tags, as sent.
    pub tags: TagSet<'a>,
    /// What the values mean.
    pub class: Class,
    /// The values; none for a [`Class::Set`].
    pub values: Numbers<'a>,
    /// The member of a [`Class::Set`]; empty otherwise.
    pub member: &'a [u8],
    /// Which share of what happened was sent, above 0 and up to 1.
    pub rate: f64,
    /// When it happened by its sender's clock, in nanoseconds since 1970.
    pub at_ns: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(bytes: &[u8], form: TagForm) -> Vec<(&[u8], &[u8])> {
        TagSet { bytes, form }.into_iter().map(Tag::pair).collect()
    }

    #[test]
    fn tags_are_parted_as_their_format_does() {
        let plain = |pairs: &[(&'static str, &'static str)]| {
            let bytes = pairs.iter().map(|(k, v)| (k.as_bytes(), v.as_bytes()));
            bytes.collect::<Vec<_>>()
        };
        assert_eq!(
            pairs(b"a:b:c,,d,e:", TagForm::Colon),
            plain(&[("a", "b:c"), ("d", ""), ("e", "")])
        );
        assert_eq!(
            pairs(b"a=b=c;d=e,f", TagForm::Semicolon),
            plain(&[("a", "b=c"), ("d", "e,f")])
        );
        assert_eq!(
            pairs(br"a\=\,b=c\,d=\\,e,f=g\", TagForm::Escaped),
            plain(&[(r"a\=\,b", r"c\,d=\\"), ("e,f", r"g\")])
        );
        for form in [TagForm::Colon, TagForm::Semicolon, TagForm::Escaped] {
            assert!(pairs(b"", form).is_empty());
        }
    }

    #[test]
    fn packed_values_come_one_after_the_other() {
        let numbers = Numbers::checked(Number::plain(1.0), b"-2:+3:4.5");
        let all: Vec<(f64, bool)> = numbers.map(|n| (n.value, n.signed)).collect();
        assert_eq!(all, [(1.0, false), (-2.0, true), (3.0, true), (4.5, false)]);
        assert_eq!(numbers.single(), None);
        assert_eq!(
            Numbers::one(Number::plain(1.0)).single(),
            Some(Number::plain(1.0))
        );
        assert_eq!(Numbers::NONE.count(), 0);
    }
}
