//! Numbers and colours as people read them.

use hopline::base::units::Span;

/// What a piece of text means, which decides its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// Less important than its neighbours.
    Dim,
    /// What the eye should find first.
    Strong,
    Good,
    Warn,
    Bad,
}

/// Paints text, or leaves it as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(pub(crate) bool);

impl Paint {
    /// `text` in the colour of `tone`.
    pub(crate) fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Dim => "2",
            Tone::Strong => "1",
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
        };
        if self.0 && !text.trim().is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A whole number in groups of three: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Events a second with three digits: `25.0k`.
pub(crate) fn rate(per_s: f64) -> String {
    let (value, unit) = match per_s {
        per_s if per_s >= 999_500.0 => (per_s / 1e6, "M"),
        per_s if per_s >= 999.5 => (per_s / 1e3, "k"),
        per_s => return format!("{per_s:.0}"),
    };
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{unit}")
}

/// A share of a whole in percent: `0.3%`, `12%`; nothing of nothing is a dash.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        0.0 => "0%".to_owned(),
        percent if percent < 0.05 => "<0.1%".to_owned(),
        percent if percent < 9.95 => format!("{percent:.1}%"),
        percent => format!("{percent:.0}%"),
    }
}

/// A span as it would be written in a budget: `20us`, not `20.0us`.
pub(crate) fn limit(ns: u64) -> String {
    let text = Span(ns).to_string();
    let at = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{number}{unit}")
}

/// Seconds for a clock that runs: `3.2s`.
pub(crate) fn seconds(ns: u64) -> String {
    format!("{:.1}s", ns as f64 / 1e9)
}

/// Bytes in binary units: `12.3 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    bytesize::ByteSize(bytes).display().iec().to_string()
}

/// `text`, cut to `width` characters with an ellipsis where it is longer.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { kept } else { kept + "…" }
}

/// Breaks `text` between words so that no line is wider than `width`; a longer word stands alone.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    // A number and its sign stay together.
    let text = text.replace(" %", "\u{a0}%");
    for word in text.split(|c: char| c.is_whitespace() && c != '\u{a0}') {
        if word.is_empty() {
            continue;
        }
        let word = &*word.replace('\u{a0}', " ");
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A text without its numbers: the same for two that say the same of other figures.
pub(crate) fn without_figures(text: &str) -> String {
    let is_word = |c: &char| !c.is_ascii_digit() && !".,".contains(*c);
    text.chars().filter(is_word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_groups_and_units() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (per_s, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (999.9, "1.00k"),
            (25_000.0, "25.0k"),
            (999_600.0, "1.00M"),
        ] {
            assert_eq!(rate(per_s), text);
        }
        for (part, text) in [(0, "0%"), (1, "<0.1%"), (30, "0.3%"), (1_234, "12%")] {
            assert_eq!(share(part, 10_000), text);
        }
        assert_eq!(share(1, 0), "-");
    }

    #[test]
    fn limits_are_written_as_in_a_budget() {
        for (ns, text) in [
            (20_000, "20us"),
            (5_000_000, "5ms"),
            (1_500, "1.5us"),
            (100, "100ns"),
            (200_000, "200us"),
        ] {
            assert_eq!(limit(ns), text);
        }
    }

    #[test]
    fn text_is_cut_and_wrapped_by_characters() {
        assert_eq!(cut("btc->book", 9), "btc->book");
        assert_eq!(cut("btc->book", 6), "btc->…");
        assert_eq!(cut("äöü", 2), "ä…");
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible x", 4), ["incomprehensible", "x"]);
        assert!(wrap("", 4).is_empty());
    }

    #[test]
    fn colour_is_a_choice() {
        assert_eq!(Paint(false).paint("x", Tone::Bad), "x");
        assert_eq!(Paint(true).paint("x", Tone::Bad), "\x1b[1;31mx\x1b[0m");
        assert_eq!(Paint(true).paint("x", Tone::Plain), "x");
    }
}
