//! Which of several types a client likes best: the header `Accept` (RFC 9110, section 12.5.1).
//!
//! | rule | where RFC 9110 leaves it open |
//! |---|---|
//! | the most specific range that a type is in gives its weight | of two alike the greater weight |
//! | the type of the greatest weight is chosen; a weight of 0 refuses | of two alike the one that is named more exactly, then ours |
//! | no header accepts everything | nor does an empty one |
//! | parameters other than `q` are passed over | our types have none that matter |
//! | an entry that is none accepts nothing | |
//!
//! Invariant: what is chosen is acceptable to the client.

use crate::wire::http::Headers;

/// Weights are thousandths (RFC 9110, section 12.4.2).
const WHOLE: u16 = 1000;

/// What a client accepts.
///
/// ```
/// use hopline::edge::Accept;
/// use hopline::wire::http::{RequestLimits, Requests};
/// let mut requests = Requests::new(RequestLimits::default());
/// let mut input = &b"GET / HTTP/1.1\r\nHost: h\r\nAccept: text/html, text/*;q=0.5, */*;q=0\r\n\r\n"[..];
/// let request = requests.poll(&mut input).unwrap().unwrap();
/// let accept = Accept::of(request.headers);
/// assert_eq!(accept.choose(&["text/event-stream", "text/html"]), Some(1));
/// assert_eq!(accept.choose(&["application/x-ndjson"]), None);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Accept<'a> {
    headers: Headers<'a>,
    accepts_all: bool,
}

impl<'a> Accept<'a> {
    /// What these headers accept.
    #[must_use]
    pub fn of(headers: Headers<'a>) -> Accept<'a> {
        Accept {
            headers,
            accepts_all: headers.list("accept").next().is_none(),
        }
    }

    /// The place of the one that the client likes best among `ours`, which are types in lower case, the one that we like best
    /// first; none if it accepts none of them.
    #[must_use]
    pub fn choose(&self, ours: &[&str]) -> Option<usize> {
        let mut best = None;
        for (at, ours) in ours.iter().enumerate() {
            let Some(liking) = self.liking(ours).filter(|liking| liking.weight > 0) else {
                continue;
            };
            if best.is_none_or(|(_, best)| liking.better_than(best)) {
                best = Some((at, liking));
            }
        }
        best.map(|(at, _)| at)
    }

    /// Whether the client accepts that type, in lower case.
    #[must_use]
    pub fn accepts(&self, ours: &str) -> bool {
        self.choose(&[ours]).is_some()
    }

    /// How much it likes that type; none if no range has it.
    fn liking(&self, ours: &str) -> Option<Liking> {
        if self.accepts_all {
            return Some(Liking {
                exactness: 0,
                weight: WHOLE,
            });
        }
        let entries = self.headers.list("accept");
        let ranges = entries.filter_map(|entry| liking_in(entry, ours.as_bytes()));
        ranges.max_by_key(|liking| (liking.exactness, liking.weight))
    }
}

#[derive(Clone, Copy, Debug)]
struct Liking {
    /// 2 for the type itself, 1 for `type/*`, 0 for `*/*`.
    exactness: u8,
    /// In thousandths.
    weight: u16,
}

impl Liking {
    fn better_than(self, other: Liking) -> bool {
        (self.weight, self.exactness) > (other.weight, other.exactness)
    }
}

/// What an entry says of that type; none if it is another's, or no entry at all.
fn liking_in(entry: &[u8], ours: &[u8]) -> Option<Liking> {
    let mut parts = entry.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let range = parts.next()?;
    let main = ours.iter().position(|byte| *byte == b'/')?;
    let exactness = if range.eq_ignore_ascii_case(ours) {
        2
    } else if range == b"*/*" {
        0
    } else {
        let (start, end) = range.split_at_checked(main + 1)?;
        (end == b"*" && start.eq_ignore_ascii_case(&ours[..=main])).then_some(1)?
    };
    let mut weight = WHOLE;
    for parameter in parts {
        if let [b'q' | b'Q', rest @ ..] = parameter
            && let Some(value) = rest.trim_ascii_start().strip_prefix(b"=")
        {
            weight = weight_of(value.trim_ascii())?;
        }
    }
    Some(Liking { exactness, weight })
}

/// A weight, 0 to 1 with at most three decimals, in thousandths.
fn weight_of(text: &[u8]) -> Option<u16> {
    let (whole, decimals) = match text {
        [whole @ (b'0' | b'1')] => (whole, &[][..]),
        [whole @ (b'0' | b'1'), b'.', decimals @ ..] => (whole, decimals),
        _ => return None,
    };
    if decimals.len() > 3 || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut weight = u16::from(whole - b'0');
    for at in 0..3 {
        let digit = decimals.get(at).map_or(0, |digit| digit - b'0');
        weight = 10 * weight + u16::from(digit);
    }
    (weight <= WHOLE).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http::{RequestLimits, Requests};

    fn chosen(accept: &[&str], ours: &[&str]) -> Option<usize> {
        let lines: String = accept
            .iter()
            .map(|line| format!("Accept: {line}\r\n"))
            .collect();
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
        let mut requests = Requests::new(RequestLimits::default());
        let request = requests.poll(&mut text.as_bytes());
        let request = request.unwrap().unwrap();
        Accept::of(request.headers).choose(ours)
    }

    const OURS: [&str; 2] = ["application/x-ndjson", "text/event-stream"];

    #[test]
    fn the_type_that_is_liked_best_is_chosen() {
        for (accept, expected) in [
            (&[][..], Some(0)),
            (&[""], Some(0)),
            (&["*/*"], Some(0)),
            (&["text/event-stream"], Some(1)),
            (&["Text/Event-Stream;charset=utf-8"], Some(1)),
            (&["text/*"], Some(1)),
            (&["text/event-stream, */*"], Some(1)),
            (&["text/event-stream, application/x-ndjson"], Some(0)),
            (
                &["text/event-stream;q=0.9, application/x-ndjson;q=0.899"],
                Some(1),
            ),
            (&["text/event-stream;q=0.5, */*;q=0.9"], Some(0)),
            (&["*/*;q=0.1, application/x-ndjson;q=0"], Some(1)),
            (&["text/*;q=0, */*;q=0.5, text/event-stream;q=0.6"], Some(1)),
            (&["text/html", "text/event-stream"], Some(1)),
            (&["text/event-stream ; Q = 1.000 , x/y"], Some(1)),
            (&["text/event-stream;q=0;q=1"], Some(1)),
            (
                &["text/event-stream;version=1;q=0.2, text/event-stream;q=0.1, */*;q=0.15"],
                Some(1),
            ),
            (
                &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
                Some(0),
            ),
            (&["text/html"], None),
            (&["*/*;q=0"], None),
            (&["*/*;q=0.000"], None),
            (
                &["text/event-stream;q=0, application/x-ndjson;q=0, */*"],
                None,
            ),
            (&["*/event-stream"], None),
            (&["text"], None),
            (&["text/event-stream-x, text/event"], None),
            (&[",,"], Some(0)),
        ] {
            assert_eq!(chosen(accept, &OURS), expected, "{accept:?}");
        }
    }

    #[test]
    fn what_is_no_weight_makes_its_entry_none() {
        for weight in [
            "2", "1.001", "0.1234", "-1", "", "a", ".5", "1 1", "0.5x", "00", "1.1",
        ] {
            let accept = format!("text/event-stream;q={weight}");
            assert_eq!(chosen(&[&accept], &OURS), None, "{accept}");
        }
        for weight in ["1", "1.", "1.0", "0.001", "0.5", "0.99", "1.000"] {
            let accept = format!("text/event-stream;q={weight}");
            assert_eq!(chosen(&[&accept], &OURS), Some(1), "{accept}");
        }
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_asks_for() {
        let ours = ["text/plain", "application/openmetrics-text"];
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;\
                          version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(chosen(&[prometheus], &ours), Some(1));
        assert_eq!(chosen(&["*/*"], &ours), Some(0));
        assert_eq!(
            chosen(&["application/openmetrics-text,*/*"], &ours),
            Some(1)
        );
    }
}
