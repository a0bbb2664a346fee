//! How many bytes the parsers of telemetry look at: counted in tests, free elsewhere.
//!
//! A parser that looked at the rest of its line for each part of it would take minutes for a line of
//! 64 KiB of commas. That is a matter of counts, so a test counts.
//!
//! Invariant: every search and every loop over a line's bytes is counted here.

/// Counts so many bytes.
#[inline(always)]
pub(crate) fn passed(bytes: usize) {
    #[cfg(test)]
    tests::LOOKED.with(|looked| looked.set(looked.get() + bytes));
    #[cfg(not(test))]
    let _ = bytes;
}

/// Where the first `byte` stands.
#[inline(always)]
pub(crate) fn find(byte: u8, text: &[u8]) -> Option<usize> {
    let found = memchr::memchr(byte, text);
    passed(found.unwrap_or(text.len()));
    found
}

/// Where the first of either stands.
#[inline(always)]
pub(crate) fn find2(one: u8, other: u8, text: &[u8]) -> Option<usize> {
    let found = memchr::memchr2(one, other, text);
    passed(found.unwrap_or(text.len()));
    found
}

#[cfg(test)]
mod tests {
    use crate::feed::{Lines, Sample, graphite, influx, statsd};
    use core::cell::Cell;

    thread_local! {
        pub(super) static LOOKED: Cell<usize> = const { Cell::new(0) };
    }

    /// Most looks at one byte: a handful of checks, and once more for whoever iterates.
    const LOOKS_MAX: usize = 16;

    /// Length of a line: long enough that looking at its rest for each part would be hundreds of looks.
    const LINE_BYTES: usize = 4_000;

    fn iterate(sample: &Sample<'_>) {
        for tag in sample.tags {
            let _ = tag.pair();
        }
        sample.values.count();
    }

    fn statsd(bytes: &[u8]) {
        for line in Lines::new(bytes) {
            if let Ok(statsd::Line::Metric(metric)) = statsd::parse(line) {
                iterate(&metric.sample());
            }
        }
    }

    fn graphite(bytes: &[u8]) {
        for line in Lines::new(bytes) {
            if let Ok(point) = graphite::parse(line) {
                iterate(&point.sample());
            }
        }
    }

    fn influx(bytes: &[u8]) {
        for line in influx::Lines::new(bytes) {
            if let Ok(point) = influx::parse(line) {
                point.tags().count();
                for (key, value) in point.fields() {
                    key.bytes().count();
                    if let influx::FieldValue::Text(text) = value {
                        text.bytes().count();
                    }
                }
                for sample in point.samples() {
                    // The tags are the same for each.
                    sample.values.count();
                }
            }
        }
    }

    #[test]
    fn no_line_is_looked_at_more_often_for_being_long() {
        const HEADS: &[&[u8]] = &[
            b"",
            b"a:",
            b"a:1",
            b"a:1|c|#",
            b"a:1|c|",
            b"a:1|c|@",
            b"_e{",
            b"_e{1,1}:",
            b"_sc|",
            b"a;b=",
            b"a 1 ",
            b"m",
            b"m,",
            b"m,a=",
            b"m,a=b f=1,",
            b"m f=1",
            b"m f=\"",
            b"m f=1 ",
            b"#",
            b" ",
            b"m f=1,g",
        ];
        const PARTS: &[&[u8]] = &[
            b"a",
            b"1",
            b"0",
            b":",
            b":1",
            b"|",
            b"|#a",
            b"|@1",
            b"|T1",
            b",",
            b",a",
            b",a:b",
            b";",
            b";a=b",
            b" ",
            b" a",
            b"=",
            b"a=",
            b",a=b",
            b",f=1",
            b",f=\"\"",
            b"\\",
            b"\\\\",
            b"\\,",
            b"\\\"",
            b"\"",
            b"\"\"",
            b"\"\n",
            b"\n",
            b"\\\n",
            b"\r",
            b"\r\n",
            b"#\n",
            b"# \"",
            b"m f=1\n",
            b"m f=\"\n\"\n",
            b".",
            b"e",
            b"-",
            b"\t",
            b"\xc3\xa9",
            b"\xff",
            b"}",
            b"a:1|c\n",
            b"a 1 2\n",
            b"nan",
            b"i",
            b"\0",
        ];
        let tails: &[&[u8]] = &[b"", b"|c", b" 1 2", b"\" 5", b" f=1", b"=1"];
        let mut most = 0;
        for head in HEADS {
            for part in PARTS {
                for tail in tails {
                    let body = part.repeat((LINE_BYTES - head.len()) / part.len());
                    let bytes = [head, &body[..], tail].concat();
                    for (name, parse) in [
                        ("statsd", statsd as fn(&[u8])),
                        ("graphite", graphite),
                        ("influx", influx),
                    ] {
                        LOOKED.with(|looked| looked.set(0));
                        parse(&bytes);
                        let looked = LOOKED.with(Cell::get);
                        let of = |part: &[u8]| part.escape_ascii().to_string();
                        assert!(
                            looked <= LOOKS_MAX * bytes.len(),
                            "{name}: {looked} looks at {} bytes: {} {} {}",
                            bytes.len(),
                            of(head),
                            of(part),
                            of(tail)
                        );
                        most = most.max(looked / bytes.len());
                    }
                }
            }
        }
        assert!(most >= 3, "looks are counted: {most}");
    }

    #[test]
    fn looking_at_the_rest_for_each_part_would_be_found() {
        LOOKED.with(|looked| looked.set(0));
        let bytes = vec![b','; 1_000];
        for at in 0..bytes.len() {
            super::find(b'=', &bytes[at..]);
        }
        assert!(LOOKED.with(Cell::get) > LOOKS_MAX * bytes.len());
    }
}
