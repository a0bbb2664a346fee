//! A page as text.
//!
//! Invariant: a page of any names is well-formed: what a label may not contain is escaped.

use core::fmt::Write as _;

use super::bounds::BOUNDS;
use super::family::{Family, Kind};
use super::page::{Page, Quantiles, Sample, Value};

/// How a page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own format 0.0.4, for whoever does not ask for OpenMetrics.
    Prometheus,
}

impl Format {
    /// Its media type, as the header `Content-Type` has it.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes a page: every family with what it means, then its samples. Families without samples keep their head, so that a page
/// always names all that there is.
#[must_use]
pub fn write(page: &Page, format: Format) -> String {
    let mut out = String::with_capacity(64 << 10);
    for (family, samples) in page.rows() {
        head(&mut out, family, format);
        for sample in samples {
            lines(&mut out, family, sample);
        }
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    out
}

fn head(out: &mut String, family: &Family, format: Format) {
    // In the older format the type and help belong to the sample's name.
    let name = match format {
        Format::OpenMetrics => family.name.to_owned(),
        Format::Prometheus => family.shown(),
    };
    let kind = family.kind.name();
    push(out, &["# TYPE ", &name, " ", kind, "\n"]);
    if format == Format::OpenMetrics && !family.unit.is_empty() {
        push(out, &["# UNIT ", &name, " ", family.unit, "\n"]);
    }
    push(out, &["# HELP ", &name, " ", family.help, "\n"]);
}

fn lines(out: &mut String, family: &Family, sample: &Sample) {
    let labels = family.labels.iter().copied();
    let labels: Vec<(&str, &str)> = labels
        .zip(sample.labels.iter().map(String::as_str))
        .collect();
    let suffix = match family.kind {
        Kind::Counter => "_total",
        _ => "",
    };
    let mut plain = |value: &str| line(out, family.name, suffix, &labels, None, value);
    match &sample.value {
        Value::Count(count) => plain(&count.to_string()),
        Value::SpanNs(ns) => plain(&seconds(*ns)),
        Value::Real(value) => plain(&format!("{value:?}")),
        Value::Spread(spread) => {
            let all = ("+Inf", spread.count);
            let bounds = BOUNDS.iter().map(|bound| bound.le);
            let buckets = bounds.zip(spread.up_to.iter().copied());
            for (le, count) in buckets.chain([all]) {
                let le = Some(("le", le));
                line(out, family.name, "_bucket", &labels, le, &count.to_string());
            }
            count_and_sum(out, family, &labels, spread.count, spread.sum_ns);
        }
        Value::Quantiles(quantiles) => {
            for ((_, at), ns) in Quantiles::AT.iter().zip(quantiles.at_ns) {
                let value = match quantiles.count {
                    0 => "NaN".to_owned(),
                    _ => seconds(ns),
                };
                let at = Some(("quantile", *at));
                line(out, family.name, "", &labels, at, &value);
            }
            count_and_sum(out, family, &labels, quantiles.count, quantiles.sum_ns);
        }
    }
}

fn count_and_sum(
    out: &mut String,
    family: &Family,
    labels: &[(&str, &str)],
    count: u64,
    sum_ns: u64,
) {
    line(out, family.name, "_count", labels, None, &count.to_string());
    line(out, family.name, "_sum", labels, None, &seconds(sum_ns));
}

fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, &str)],
    last: Option<(&str, &str)>,
    value: &str,
) {
    push(out, &[name, suffix]);
    let mut between = "{";
    for (label, value) in labels.iter().copied().chain(last) {
        push(out, &[between, label, "=\""]);
        escape(out, value);
        out.push('"');
        between = ",";
    }
    if between == "," {
        out.push('}');
    }
    push(out, &[" ", value, "\n"]);
}

fn push(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

/// Writes a label's value: a line's end, a quote and a backslash are escaped.
fn escape(out: &mut String, value: &str) {
    for letter in value.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            letter => out.push(letter),
        }
    }
}

/// Nanoseconds in seconds, exactly, without zeros at the end.
fn seconds(ns: u64) -> String {
    let (whole, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let mut text = whole.to_string();
    if rest > 0 {
        // Writing into a string does not fail.
        let _ = write!(text, ".{rest:09}");
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hist::Totals;
    use crate::metrics::family::Id;
    use crate::metrics::page::views;

    #[test]
    fn spans_are_exact() {
        for (ns, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (181, "0.000000181"),
            (1_000_000_000, "1"),
            (1_500_000_000, "1.5"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(seconds(ns), text);
        }
    }

    #[test]
    fn both_formats_say_the_same_with_heads_of_their_own() {
        let mut page = Page::default();
        page.count(Id::HopOffered, &["a->\"b\"\\\n"], 7);
        let open = write(&page, Format::OpenMetrics);
        let sample = r#"hopline_hop_offered_messages_total{hop="a->\"b\"\\\n"} 7"#;
        assert!(open.contains(&format!("\n{sample}\n")), "{open}");
        assert!(open.contains("# TYPE hopline_hop_offered_messages counter\n"));
        assert!(open.contains("# UNIT hopline_hop_offered_messages messages\n"));
        assert!(open.ends_with("\n# EOF\n"));
        let plain = write(&page, Format::Prometheus);
        assert!(plain.contains(&format!("\n{sample}\n")));
        assert!(plain.contains("# TYPE hopline_hop_offered_messages_total counter\n"));
        assert!(!plain.contains("# UNIT") && !plain.contains("# EOF"));
        // Every family has its head although only one has a sample.
        for (family, _) in page.rows() {
            let head = format!("# HELP {} {}\n", family.name, family.help);
            assert!(open.contains(&head), "{}", family.name);
        }
    }

    #[test]
    fn histograms_and_summaries_have_their_parts() {
        let mut totals = Totals::new(&[]).unwrap();
        for ns in [90, 150, 4_000, 20_000_000_000] {
            totals.record(ns);
        }
        let (spread, quantiles) = views(&totals);
        let mut page = Page::default();
        page.put(Id::HopWait, &["a->b"], Value::Spread(spread));
        page.put(Id::HopWaitQuantiles, &["a->b"], Value::Quantiles(quantiles));
        let (_, none) = views(&Totals::new(&[]).unwrap());
        page.put(Id::HopWaitQuantiles, &["c->d"], Value::Quantiles(none));
        let text = write(&page, Format::OpenMetrics);
        for expected in [
            r#"hopline_hop_wait_seconds_bucket{hop="a->b",le="1e-07"} 1"#,
            r#"hopline_hop_wait_seconds_bucket{hop="a->b",le="2e-07"} 2"#,
            r#"hopline_hop_wait_seconds_bucket{hop="a->b",le="10.0"} 3"#,
            r#"hopline_hop_wait_seconds_bucket{hop="a->b",le="+Inf"} 4"#,
            r#"hopline_hop_wait_seconds_count{hop="a->b"} 4"#,
            r#"hopline_hop_wait_quantiles_seconds{hop="a->b",quantile="1.0"} 20"#,
            r#"hopline_hop_wait_quantiles_seconds_count{hop="a->b"} 4"#,
            r#"hopline_hop_wait_quantiles_seconds{hop="c->d",quantile="0.5"} NaN"#,
        ] {
            assert!(text.contains(&format!("\n{expected}\n")), "{expected}");
        }
        let buckets = text.lines().filter(|line| line.contains("_bucket{"));
        assert_eq!(buckets.count(), BOUNDS.len() + 1);
    }
}
