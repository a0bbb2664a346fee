//! Why a ring was not made, or did not take an item: one small type per operation.
//!
//! Invariant: a refused item goes back to the caller with the reason.

use core::fmt;

use crate::base::limits::{DEPTH_MAX, DEPTH_MIN};
use crate::base::{Cause, Reason};

/// A depth that no ring can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a ring cannot have {given} slots: the depth is a power of two from {DEPTH_MIN} to {DEPTH_MAX}, such as {nearest}"
)]
pub struct DepthError {
    /// What was given, in slots.
    pub given: usize,
    /// The next depth that would be right, in slots.
    pub nearest: usize,
}

impl DepthError {
    /// Whether a ring can have `depth` slots.
    ///
    /// ```
    /// use hopline::ring::DepthError;
    /// assert_eq!(DepthError::check(1024), Ok(()));
    /// assert_eq!(DepthError::check(1000), Err(DepthError { given: 1000, nearest: 1024 }));
    /// ```
    ///
    /// # Errors
    /// If `depth` is no power of two within the limits.
    pub const fn check(depth: usize) -> Result<(), DepthError> {
        if depth.is_power_of_two() && depth >= DEPTH_MIN && depth <= DEPTH_MAX {
            return Ok(());
        }
        let nearest = if depth < DEPTH_MIN {
            DEPTH_MIN
        } else if depth > DEPTH_MAX {
            DEPTH_MAX
        } else {
            depth.next_power_of_two()
        };
        Err(DepthError {
            given: depth,
            nearest,
        })
    }
}

/// Why slots were not claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimError {
    /// Fewer credits than slots asked for. Forever so, if more were asked for than the ring is deep.
    Full,
    /// One of the two sides has closed the ring; nothing will ever fit again.
    Closed(Cause),
}

impl fmt::Display for ClaimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClaimError::Full => f.write_str("the ring is full"),
            ClaimError::Closed(cause) => write!(f, "the ring is closed ({})", cause.name()),
        }
    }
}

impl std::error::Error for ClaimError {}

/// Why an item was not pushed, with the item.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PushError<T> {
    /// No room for it.
    Full(T),
    /// One of the two sides has closed the ring; nothing will ever fit again.
    Closed(T, Cause),
}

impl<T> PushError<T> {
    /// The refusal of `value` for the reason of a failed claim.
    pub(crate) fn of(reason: ClaimError, value: T) -> PushError<T> {
        match reason {
            ClaimError::Full => PushError::Full(value),
            ClaimError::Closed(cause) => PushError::Closed(value, cause),
        }
    }

    /// The item that was refused.
    pub fn into_inner(self) -> T {
        match self {
            PushError::Full(value) | PushError::Closed(value, _) => value,
        }
    }

    /// The reason without the item.
    pub fn reason(&self) -> ClaimError {
        match self {
            PushError::Full(_) => ClaimError::Full,
            PushError::Closed(_, cause) => ClaimError::Closed(*cause),
        }
    }
}

// By hand: items need not be printable for a refusal to be.
impl<T> fmt::Debug for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PushError::Full(_) => f.write_str("Full(..)"),
            PushError::Closed(_, cause) => write!(f, "Closed(.., {cause:?})"),
        }
    }
}

impl<T> fmt::Display for PushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl<T> std::error::Error for PushError<T> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_depth_names_a_right_one() {
        for (given, nearest) in [
            (0, DEPTH_MIN),
            (1, DEPTH_MIN),
            (3, 4),
            (DEPTH_MAX - 1, DEPTH_MAX),
            (DEPTH_MAX * 2, DEPTH_MAX),
            (usize::MAX, DEPTH_MAX),
        ] {
            assert_eq!(DepthError::check(given), Err(DepthError { given, nearest }));
            assert_eq!(DepthError::check(nearest), Ok(()));
        }
        let text = DepthError::check(1000).unwrap_err().to_string();
        assert!(
            text.contains("1000 slots") && text.ends_with("such as 1024"),
            "{text}"
        );
    }
}
