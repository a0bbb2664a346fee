//! Limits on latency: which span, which quantile, how much.

use core::fmt;

use serde::Serialize;

use crate::base::limits::{HIST_MAX_NS, LIMITS_PER_BUDGET_MAX};
use crate::base::units::{Span, UnitError, parse_span_ns};

/// Which of a hop's three spans a budget limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// From the offer to the dequeue.
    Wait,
    /// From the dequeue to the end of the handler.
    Service,
    /// Both together.
    #[default]
    Sojourn,
}

impl Of {
    /// All three, in the order of their histograms.
    pub const ALL: [Of; 3] = [Of::Wait, Of::Service, Of::Sojourn];

    /// The word that budget files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Of::Wait => "wait",
            Of::Service => "service",
            Of::Sojourn => "sojourn",
        }
    }

    /// The span of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Of> {
        Of::ALL.into_iter().find(|of| of.name() == name)
    }
}

/// The quantiles that a budget may limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Quantile {
    /// The median.
    #[serde(rename = "p50")]
    P50,
    /// Nine of ten.
    #[serde(rename = "p90")]
    P90,
    /// 99 of a hundred.
    #[serde(rename = "p99")]
    P99,
    /// 999 of a thousand.
    #[serde(rename = "p99_9")]
    P999,
    /// All of them.
    #[serde(rename = "max")]
    Max,
}

impl Quantile {
    /// All of them, rising.
    pub const ALL: [Quantile; LIMITS_PER_BUDGET_MAX] = [
        Quantile::P50,
        Quantile::P90,
        Quantile::P99,
        Quantile::P999,
        Quantile::Max,
    ];

    /// The key that budget files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Quantile::P50 => "p50",
            Quantile::P90 => "p90",
            Quantile::P99 => "p99",
            Quantile::P999 => "p99_9",
            Quantile::Max => "max",
        }
    }

    /// The quantile as a share of one.
    #[must_use]
    pub const fn share(self) -> f64 {
        match self {
            Quantile::P50 => 0.5,
            Quantile::P90 => 0.9,
            Quantile::P99 => 0.99,
            Quantile::P999 => 0.999,
            Quantile::Max => 1.0,
        }
    }

    /// The quantile of that key.
    #[must_use]
    pub fn parse(name: &str) -> Option<Quantile> {
        Quantile::ALL
            .into_iter()
            .find(|quantile| quantile.name() == name)
    }
}

/// "This quantile is at most that long."
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Which quantile.
    pub quantile: Quantile,
    /// The most it may be, in nanoseconds.
    pub limit_ns: u64,
}

/// Why a budget is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BudgetError {
    /// The text is no span.
    Unit(Quantile, UnitError),
    /// A budget of zero can never hold.
    Zero(Quantile),
    /// Longer than a histogram tells apart.
    TooLong(Quantile, u64),
    /// A higher quantile has a smaller limit: it would decide alone.
    Order(Limit, Limit),
    /// The same quantile twice.
    Twice(Quantile),
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BudgetError::Unit(quantile, error) => write!(f, "{}: {error}", quantile.name()),
            BudgetError::Zero(quantile) => write!(
                f,
                "{}: a budget of zero can never hold; write the span you can accept, such as \"20us\"",
                quantile.name()
            ),
            BudgetError::TooLong(quantile, ns) => write!(
                f,
                "{}: {} is longer than histograms tell apart; write at most \"{}\"",
                quantile.name(),
                Span(*ns),
                Span(HIST_MAX_NS)
            ),
            BudgetError::Order(low, high) => write!(
                f,
                "{} = {} is above {} = {}: limits must not fall as quantiles rise",
                low.quantile.name(),
                Span(low.limit_ns),
                high.quantile.name(),
                Span(high.limit_ns)
            ),
            BudgetError::Twice(quantile) => write!(f, "{} is given twice", quantile.name()),
        }
    }
}

impl std::error::Error for BudgetError {}

/// What a hop, or the whole line, owes: at most one limit for each quantile, rising.
///
/// ```
/// use hopline::budget::{Budget, Of, Quantile};
/// let budget = Budget::default().of(Of::Service).limit(Quantile::P99, "20us")?;
/// assert_eq!(budget.limits()[0].limit_ns, 20_000);
/// assert!(Budget::default().limit(Quantile::P99, "0us").is_err());
/// # Ok::<(), hopline::budget::BudgetError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    of: Of,
    limits: Vec<Limit>,
    lossless: bool,
}

impl Budget {
    /// The same limits on another span.
    #[must_use]
    pub fn of(mut self, of: Of) -> Budget {
        self.of = of;
        self
    }

    /// Whether a shed message breaks this budget.
    #[must_use]
    pub fn lossless(mut self, lossless: bool) -> Budget {
        self.lossless = lossless;
        self
    }

    /// Adds a limit, given as people write it (`"20us"`).
    ///
    /// # Errors
    /// No span, zero, longer than a histogram tells apart, twice, or out of order.
    pub fn limit(self, quantile: Quantile, span: &str) -> Result<Budget, BudgetError> {
        let limit_ns = parse_span_ns(span).map_err(|error| BudgetError::Unit(quantile, error))?;
        self.limit_ns(quantile, limit_ns)
    }

    /// Adds a limit in nanoseconds.
    ///
    /// # Errors
    /// Zero, longer than a histogram tells apart, twice, or out of order.
    pub fn limit_ns(mut self, quantile: Quantile, limit_ns: u64) -> Result<Budget, BudgetError> {
        if limit_ns == 0 {
            return Err(BudgetError::Zero(quantile));
        }
        if limit_ns >= HIST_MAX_NS {
            return Err(BudgetError::TooLong(quantile, limit_ns));
        }
        if self.limits.iter().any(|limit| limit.quantile == quantile) {
            return Err(BudgetError::Twice(quantile));
        }
        self.limits.push(Limit { quantile, limit_ns });
        self.limits
            .sort_by(|a, b| a.quantile.share().total_cmp(&b.quantile.share()));
        for pair in self.limits.windows(2) {
            if pair[0].limit_ns > pair[1].limit_ns {
                return Err(BudgetError::Order(pair[0], pair[1]));
            }
        }
        Ok(self)
    }

    /// Which span is limited.
    #[must_use]
    pub fn span(&self) -> Of {
        self.of
    }

    /// The limits, by rising quantile.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Whether a shed message breaks this budget.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.lossless
    }

    /// The limits in nanoseconds, in the order of [`Budget::limits`]: what a recorder counts over.
    #[must_use]
    pub fn limits_ns(&self) -> Vec<u64> {
        self.limits.iter().map(|limit| limit.limit_ns).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_must_rise_with_the_quantile() {
        let budget = Budget::default().limit(Quantile::P99, "20us").unwrap();
        assert!(budget.clone().limit(Quantile::P999, "30us").is_ok());
        let error = budget.clone().limit(Quantile::P999, "10us").unwrap_err();
        assert_eq!(
            error.to_string(),
            "p99 = 20.0us is above p99_9 = 10.0us: limits must not fall as quantiles rise"
        );
        assert_eq!(
            budget.limit(Quantile::P99, "21us"),
            Err(BudgetError::Twice(Quantile::P99))
        );
    }

    #[test]
    fn a_budget_of_zero_or_of_hours_is_refused() {
        assert_eq!(
            Budget::default().limit(Quantile::P50, "0ns"),
            Err(BudgetError::Zero(Quantile::P50))
        );
        assert!(matches!(
            Budget::default().limit(Quantile::Max, "2h"),
            Err(BudgetError::TooLong(Quantile::Max, _))
        ));
        assert!(Budget::default().limit(Quantile::Max, "5").is_err());
    }
}
