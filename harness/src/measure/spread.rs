//! Figures of several rounds made into one: median with lowest and highest, ratios within rounds, signs.
//!
//! Invariant: two series are compared round by round, never median against median.

use core::fmt;

use serde::Serialize;

/// The median of a series with its lowest and highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The lowest.
    pub low: f64,
    /// The middle one; of an even number the upper of the two.
    pub median: f64,
    /// The highest.
    pub high: f64,
}

impl Spread {
    /// Of a series; zeros if it is empty.
    #[must_use]
    pub fn of(series: &[f64]) -> Spread {
        let mut sorted = series.to_vec();
        sorted.sort_by(f64::total_cmp);
        match sorted[..] {
            [low, .., high] => Spread {
                low,
                median: sorted[sorted.len() / 2],
                high,
            },
            [only] => Spread {
                low: only,
                median: only,
                high: only,
            },
            [] => Spread::default(),
        }
    }
}

impl fmt::Display for Spread {
    /// `median (low-high)`, with the precision of the format, else one decimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(1);
        let Spread { low, median, high } = self;
        let text = format!("{median:.decimals$} ({low:.decimals$}-{high:.decimals$})");
        match f.width() {
            Some(width) => write!(f, "{text:>width$}"),
            None => f.write_str(&text),
        }
    }
}

/// The median of a series, 0 if it is empty.
#[must_use]
pub fn median(series: &[f64]) -> f64 {
    Spread::of(series).median
}

/// `of` over `to`, round by round.
#[must_use]
pub fn ratios(of: &[f64], to: &[f64]) -> Vec<f64> {
    of.iter().zip(to).map(|(of, to)| of / to).collect()
}

/// In how many rounds `of` is below `than`, out of how many.
#[must_use]
pub fn signs(of: &[f64], than: &[f64]) -> (usize, usize) {
    let rounds = of.len().min(than.len());
    let below = of.iter().zip(than).filter(|(of, than)| of < than).count();
    (below, rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_becomes_its_median_and_its_ends() {
        let spread = Spread::of(&[3.0, 1.0, 9.0]);
        assert_eq!((spread.low, spread.median, spread.high), (1.0, 3.0, 9.0));
        assert_eq!(format!("{spread}"), "3.0 (1.0-9.0)");
        assert_eq!(format!("{spread:>16.2}"), "3.00 (1.00-9.00)");
        assert_eq!(Spread::of(&[7.0]).high, 7.0);
        assert_eq!(Spread::of(&[]), Spread::default());
    }

    #[test]
    fn comparison_is_round_by_round() {
        // The host doubled in the second and third round: the ratio is steady all the same.
        let (of, to) = ([50.0, 100.0, 101.0], [100.0, 200.0, 202.0]);
        assert_eq!(ratios(&of, &to), [0.5, 0.5, 0.5]);
        assert_eq!(signs(&of, &to), (3, 3));
        assert_eq!(signs(&[1.0, 1.0], &[1.0, 2.0]), (1, 2));
    }
}
