//! Between what bounds the parameters of all policies lie, and the error that says so in words.
//!
//! Invariant: parameters that exist are within their bounds; a policy that has them checks nothing.

use core::fmt;

use crate::base::limits::HIST_MAX_NS;
use crate::base::units::Span;

/// Shortest span that a policy may be given, in nanoseconds: a hop takes some hundreds, so a shorter
/// limit is passed by every frame.
pub const SPAN_MIN_NS: u64 = 1_000;

/// Longest span that a policy may be given, in nanoseconds: no histogram tells longer ones apart, so
/// nobody could see what the policy does.
pub const SPAN_MAX_NS: u64 = HIST_MAX_NS;

/// A number with its unit, as errors write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// A span of time, in nanoseconds.
    SpanNs(u64),
    /// A number of frames, turns, windows or keys.
    Count(u64),
    /// Frames a second.
    RatePerS(u64),
    /// A share, in thousandths.
    PerMille(u64),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Amount::SpanNs(ns) => Span(ns).fmt(f),
            Amount::Count(count) => count.fmt(f),
            Amount::RatePerS(rate) => write!(f, "{rate}/s"),
            Amount::PerMille(share) => write!(f, "{share} in a thousand"),
        }
    }
}

/// Why a policy cannot have these parameters: what is wrong, its bound, and what to write instead.
///
/// ```
/// use hopline::overload::CodelParams;
/// let error = CodelParams::new(0, 1_000_000).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "target is 0ns, and not between 1.00us and 68.7s; write for example \"80us\"",
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundError {
    /// A value is too small or too large.
    #[error("{what} is {given}, and not between {least} and {most}; write for example {write}")]
    Outside {
        /// The parameter, as config files write it.
        what: &'static str,
        /// What was given.
        given: Amount,
        /// The least that can be given.
        least: Amount,
        /// The most that can be given.
        most: Amount,
        /// An example of what can be written.
        write: &'static str,
    },
    /// Two values have the wrong order or are too close.
    #[error(
        "{what} is {given}, and has to be at least {least}, {because}; write for example {write}"
    )]
    TooLittle {
        /// The parameter, as config files write it.
        what: &'static str,
        /// What was given.
        given: Amount,
        /// The least that goes with the other parameter.
        least: Amount,
        /// The other parameter, and why it asks for that.
        because: &'static str,
        /// An example of what can be written.
        write: &'static str,
    },
}

/// A span within the bounds of all spans.
pub(super) fn span(what: &'static str, ns: u64, write: &'static str) -> Result<(), BoundError> {
    within(what, ns, SPAN_MIN_NS, SPAN_MAX_NS, Amount::SpanNs, write)
}

/// A value from `least` to `most`.
pub(super) fn within(
    what: &'static str,
    given: u64,
    least: u64,
    most: u64,
    amount: fn(u64) -> Amount,
    write: &'static str,
) -> Result<(), BoundError> {
    if (least..=most).contains(&given) {
        return Ok(());
    }
    Err(BoundError::Outside {
        what,
        given: amount(given),
        least: amount(least),
        most: amount(most),
        write,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_which_bound_and_what_to_write() {
        let error = within("rate", 0, 1, 9, Amount::RatePerS, "\"5/s\"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "rate is 0/s, and not between 1/s and 9/s; write for example \"5/s\""
        );
        assert_eq!(within("rate", 9, 1, 9, Amount::RatePerS, ""), Ok(()));
        assert!(span("target", SPAN_MIN_NS - 1, "").is_err());
        assert!(span("target", SPAN_MAX_NS + 1, "").is_err());
        let error = BoundError::TooLittle {
            what: "high",
            given: Amount::Count(3),
            least: Amount::Count(5),
            because: "1 more than low",
            write: "9",
        };
        assert_eq!(
            error.to_string(),
            "high is 3, and has to be at least 5, 1 more than low; write for example 9"
        );
        assert_eq!(Amount::PerMille(50).to_string(), "50 in a thousand");
    }
}
