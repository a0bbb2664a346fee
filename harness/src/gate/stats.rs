//! The statistics that verdicts stand on: bounds of shares and quantiles, intervals of means, and corrections for many looks.
//!
//! Counts are real numbers here: `k` exceedances in `n` frames that came in clusters say as much as `k / d` in `n / d`
//! independent ones, where `d` is the design effect (Kish, *Survey Sampling*, 1965, § 8.2).
//!
//! - What share may really be over the limit? [`upper`], [`lower`]: Clopper and Pearson, *The use of confidence or fiducial
//!   limits illustrated in the case of the binomial*, Biometrika 26, 1934.
//! - Between which shares does a quantile lie? [`levels`]: the same bounds, turned round.
//! - How large is a mean effect? [`t_interval`]: Student, *The probable error of a mean*, Biometrika 6, 1908.
//! - Which of many effects are real? [`holm`]: Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian
//!   Journal of Statistics 6, 1979.
//!
//! Invariant: pure, and total: whatever the arguments, the answer is the one that decides nothing (a share between 0 and 1,
//! an endless interval), never a panic or a number that is none.

use statrs::function::beta::checked_beta_reg;

use super::model::Exceedances;

/// Frames of a block, over which exceedances are counted for the design effect. A stall of a scheduler's slice (4 ms) at
/// 50 k/s is one block's, and 10 000 frames are 50 blocks: enough for a variance.
pub const BLOCK_FRAMES: u32 = 200;

/// Fewest blocks from which a variance is taken; with fewer the design effect is 1, and the counts are too small to pass.
const BLOCKS_MIN: u64 = 5;

/// Most halvings of an interval of at most 1, for quantiles down to 1e-40.
const HALVINGS: u32 = 180;

/// How near the ends of that interval come, relatively: finer than the distribution function itself.
const NEAR: f64 = 1e-12;

/// The share of a beta distribution below `x`. Its parameters must be above zero.
fn beta_cdf(a: f64, b: f64, x: f64) -> Option<f64> {
    checked_beta_reg(a, b, x.clamp(0.0, 1.0)).ok()
}

/// The point below which the share `p` of a beta distribution lies.
///
/// By halving, since the inverse of `statrs` (0.19, AS 109) is off by up to 1e-4 of its value where the parameters lie far
/// apart, which is the case of every tail; its distribution function is right to 1e-9.
fn beta_quantile(p: f64, a: f64, b: f64) -> Option<f64> {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..HALVINGS {
        if high - low <= NEAR * high {
            break;
        }
        let mid = f64::midpoint(low, high);
        if beta_cdf(a, b, mid)? < p {
            low = mid;
        } else {
            high = mid;
        }
    }
    Some(f64::midpoint(low, high))
}

/// The one-sided upper bound of a share, of which `k` in `n` were seen: it is above the truth but for a chance of `alpha`.
///
/// 1 where nothing was seen, or where the counts make no sense.
///
/// ```
/// use hopline_harness::gate::stats::upper;
/// assert!(upper(83.0, 10_000.0, 0.05) <= 0.01 && upper(84.0, 10_000.0, 0.05) > 0.01);
/// assert_eq!(upper(0.0, 0.0, 0.05), 1.0);
/// ```
#[must_use]
pub fn upper(k: f64, n: f64, alpha: f64) -> f64 {
    let sense = k >= 0.0 && k < n && n.is_finite() && alpha > 0.0 && alpha < 1.0;
    sense
        .then(|| beta_quantile(1.0 - alpha, k + 1.0, n - k))
        .flatten()
        .unwrap_or(1.0)
}

/// The one-sided lower bound of a share, of which `k` in `n` were seen: it is below the truth but for a chance of `alpha`.
///
/// 0 where nothing was seen, or where the counts make no sense.
///
/// ```
/// use hopline_harness::gate::stats::lower;
/// assert!(lower(118.0, 10_000.0, 0.05) > 0.01 && lower(117.0, 10_000.0, 0.05) <= 0.01);
/// ```
#[must_use]
pub fn lower(k: f64, n: f64, alpha: f64) -> f64 {
    let sense = k > 0.0 && k <= n && n.is_finite() && alpha > 0.0 && alpha < 1.0;
    sense
        .then(|| beta_quantile(alpha, k, n - k + 1.0))
        .flatten()
        .unwrap_or(0.0)
}

/// The least number of independent frames with which "the `quantile` is below the limit" can be shown at all, with not one
/// of them over it. None for a quantile that is no share between 0 and 1.
///
/// ```
/// use hopline_harness::gate::stats::frames_min;
/// assert_eq!(frames_min(0.99, 0.05), Some(299));
/// assert_eq!(frames_min(1.0, 0.05), None);
/// ```
#[must_use]
pub fn frames_min(quantile: f64, alpha: f64) -> Option<u64> {
    let sense = quantile > 0.0 && quantile < 1.0 && alpha > 0.0 && alpha < 1.0;
    // The upper bound of 0 in n is 1 - alpha^(1/n).
    sense.then(|| (alpha.ln() / quantile.ln()).ceil() as u64)
}

/// How many independent frames would decide, if the share over the limit stayed as it was seen: the least multiple of the
/// present `n` by powers of two that brings both bounds to one side of `1 - quantile`.
///
/// None where no sensible number would, since the share is what is allowed.
#[must_use]
pub fn frames_to_decide(k: f64, n: f64, quantile: f64, alpha: f64) -> Option<f64> {
    let allowed = 1.0 - quantile;
    let mut times = 1.0;
    // 2^10: a gate of seconds would last hours.
    for _ in 0..=10 {
        let (k, n) = (k * times, n * times);
        if n > 0.0 && (upper(k, n, alpha) <= allowed || lower(k, n, alpha) > allowed) {
            return Some(n);
        }
        times *= 2.0;
    }
    None
}

/// Between which two quantiles of what was measured the true `quantile` lies, with a chance of `alpha` of error on each side.
///
/// The value at the upper level is the least limit that would pass, the one at the lower level the largest that would fail.
/// Where so few frames (`n`, independent ones) allow no upper bound, that is 1, and the lower one may be 0.
///
/// ```
/// use hopline_harness::gate::stats::levels;
/// let (low, high) = levels(0.99, 10_000.0, 0.05);
/// assert!((low - (1.0 - 0.0118)).abs() < 1e-4 && (high - (1.0 - 0.0083)).abs() < 1e-4);
/// ```
#[must_use]
pub fn levels(quantile: f64, n: f64, alpha: f64) -> (f64, f64) {
    let allowed = 1.0 - quantile;
    if n.is_nan() || n <= 0.0 {
        return (0.0, 1.0);
    }
    // Both bounds rise with k.
    let first = |over: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, n);
        for _ in 0..60 {
            let mid = f64::midpoint(low, high);
            if over(mid) {
                high = mid;
            } else {
                low = mid;
            }
        }
        (low, high)
    };
    let (passes, _) = first(&|k| upper(k, n, alpha) > allowed);
    let (_, fails) = first(&|k| lower(k, n, alpha) > allowed);
    let high = if upper(0.0, n, alpha) <= allowed {
        1.0 - passes / n
    } else {
        1.0
    };
    (1.0 - fails / n, high)
}

/// Counts exceedances in blocks while frames go by, so that their clustering is known at the end.
///
/// ```
/// use hopline_harness::gate::stats::Blocks;
/// let mut blocks = Blocks::default();
/// // One stall of 200 frames says what one frame says.
/// (0..10_000).for_each(|at| blocks.push(at >= 4_000 && at < 4_200));
/// let counts = blocks.counts();
/// assert_eq!((counts.n, counts.k), (10_000, 200));
/// assert!(counts.d > 190.0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocks {
    n: u64,
    k: u64,
    in_block: u32,
    over_in_block: u32,
    blocks: u64,
    over_in_blocks: u64,
    squares: u64,
}

impl Blocks {
    /// One more frame, in the order of their due times.
    pub fn push(&mut self, over: bool) {
        self.n += 1;
        self.k += u64::from(over);
        self.in_block += 1;
        self.over_in_block += u32::from(over);
        if self.in_block == BLOCK_FRAMES {
            let over = u64::from(self.over_in_block);
            self.blocks += 1;
            self.over_in_blocks += over;
            self.squares += over * over;
            (self.in_block, self.over_in_block) = (0, 0);
        }
    }

    /// What was counted. The last block counts for the design effect only if it is full.
    ///
    /// The design effect is the variance of the blocks' counts over that of independent frames, `m p (1 - p)`: for the tails
    /// that budgets limit that is variance over mean, and for a median it is not half of it.
    #[must_use]
    pub fn counts(&self) -> Exceedances {
        let mut d = 1.0;
        if self.blocks >= BLOCKS_MIN {
            let blocks = self.blocks as f64;
            let mean = self.over_in_blocks as f64 / blocks;
            let variance = (self.squares as f64 - blocks * mean * mean) / (blocks - 1.0);
            d = effect(variance, mean);
        }
        Exceedances {
            n: self.n,
            k: self.k,
            d,
        }
    }
}

/// The design effect from the mean and the variance of the blocks' counts, at least 1.
fn effect(variance: f64, mean: f64) -> f64 {
    let independent = mean * (1.0 - mean / f64::from(BLOCK_FRAMES));
    if independent > 0.0 {
        (variance / independent).max(1.0)
    } else {
        1.0
    }
}

/// The counts of several runs as those of one: the blocks of all, with the variance between runs in the design effect.
///
/// Sums of `k / d` and `n / d` are nearly the same for runs that are alike. Where they are not, those sums would let the run
/// with the largest cluster count least.
#[must_use]
pub fn pooled(runs: &[Exceedances]) -> Exceedances {
    let (n, k) = runs
        .iter()
        .fold((0, 0), |(n, k), run| (n + run.n, k + run.k.min(run.n)));
    if n == 0 {
        return Exceedances { n, k, d: 1.0 };
    }
    let block = f64::from(BLOCK_FRAMES);
    let mean = k as f64 / n as f64 * block;
    let (mut squares, mut blocks) = (0.0, 0.0);
    for run in runs.iter().filter(|run| run.n > 0) {
        let of_run = run.n as f64 / block;
        let mean_of_run = run.k.min(run.n) as f64 / run.n as f64 * block;
        let d = if run.d.is_finite() {
            run.d.max(1.0)
        } else {
            1.0
        };
        let variance = d * mean_of_run * (1.0 - mean_of_run / block);
        squares += of_run * variance + of_run * (mean_of_run - mean) * (mean_of_run - mean);
        blocks += of_run;
    }
    Exceedances {
        n,
        k,
        d: effect(squares / blocks, mean),
    }
}

/// The value that Student's t of `df` degrees of freedom exceeds with the chance `alpha`, which is below a half.
///
/// Endless where there are no degrees of freedom.
#[must_use]
pub fn t_critical(alpha: f64, df: f64) -> f64 {
    if !(df > 0.0 && alpha > 0.0 && alpha < 0.5) {
        return f64::INFINITY;
    }
    // df / (df + t^2) is of a beta distribution.
    match beta_quantile(2.0 * alpha, df / 2.0, 0.5) {
        Some(x) if x > 0.0 => (df * (1.0 - x) / x).sqrt(),
        _ => f64::INFINITY,
    }
}

/// The chance that Student's t of `df` degrees of freedom exceeds `t`. 1 where that makes no sense.
#[must_use]
pub fn t_above(t: f64, df: f64) -> f64 {
    if t.is_nan() || df.is_nan() || df <= 0.0 {
        return 1.0;
    }
    let beyond = if t.is_infinite() {
        0.0
    } else {
        beta_cdf(df / 2.0, 0.5, df / (df + t * t)).unwrap_or(1.0) / 2.0
    };
    if t >= 0.0 { beyond } else { 1.0 - beyond }
}

/// One value in so many is cut off on each side of a [trimmed](Moments::trimmed) sample: the fifth that is usual for it. What
/// nobody sees of the host's doing, such as an interrupt in a handler, spoils a run in twenty here, and with it one block in
/// four, half of them on either side.
pub const TRIMMED_IN: usize = 5;

/// What a sample says of a mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Of the values; 0 where there are none.
    pub mean: f64,
    /// The standard deviation, with `n - 1`; 0 where there are fewer than two.
    pub sd: f64,
    /// How many values: none if one of them is not finite.
    pub n: usize,
}

impl Moments {
    /// Those of `values`.
    #[must_use]
    pub fn of(values: &[f64]) -> Moments {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            return Moments::default();
        }
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = if n < 2 {
            0.0
        } else {
            (squares / (n as f64 - 1.0)).sqrt()
        };
        Moments { mean, sd, n }
    }

    /// Those of `values` without the largest and the smallest ones, a fifth of them on each side: one disturbed value in five
    /// moves neither the mean nor its interval by much, and nobody has to say which one it was. `n` is what is left, and `sd`
    /// is made of the winsorized sum of squares, so that [`Moments::interval`] and [`Moments::chance_above`] are those of
    /// Yuen (*The two-sample trimmed t for unequal population variances*, Biometrika 61, 1974) for one sample.
    #[must_use]
    pub fn trimmed(values: &[f64]) -> Moments {
        let cut = values.len() / TRIMMED_IN;
        if cut == 0 || values.iter().any(|value| !value.is_finite()) {
            return Moments::of(values);
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let kept = &sorted[cut..sorted.len() - cut];
        let n = kept.len();
        let mean = kept.iter().sum::<f64>() / n as f64;
        let (low, high) = (kept[0], kept[n - 1]);
        let winsorized: Vec<f64> = sorted.iter().map(|value| value.clamp(low, high)).collect();
        let center = winsorized.iter().sum::<f64>() / winsorized.len() as f64;
        let squares: f64 = winsorized
            .iter()
            .map(|value| (value - center).powi(2))
            .sum();
        Moments {
            mean,
            sd: (squares / (n as f64 - 1.0)).sqrt(),
            n,
        }
    }

    /// The standard deviation of the mean.
    fn error(&self) -> f64 {
        self.sd / (self.n as f64).sqrt()
    }

    /// Where the true mean lies, for a critical value of Student's t with `n - 1` degrees of freedom ([`t_critical`]).
    #[must_use]
    pub fn interval(self, critical: f64) -> Interval {
        let half = if self.n < 2 {
            f64::INFINITY
        } else {
            critical * self.error()
        };
        Interval {
            low: self.mean - half,
            high: self.mean + half,
            of: self,
        }
    }

    /// The chance of a mean this far above `limit`, if the true one is `limit`: the p-value of "it is above".
    #[must_use]
    pub fn chance_above(&self, limit: f64) -> f64 {
        if self.n < 2 {
            return 1.0;
        }
        let over = self.mean - limit;
        if self.error() > 0.0 {
            t_above(over / self.error(), self.n as f64 - 1.0)
        } else if over > 0.0 {
            0.0
        } else {
            1.0
        }
    }
}

/// Between which two values a mean lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// The sample that says so.
    pub of: Moments,
}

/// Student's interval of the mean of `values`, with a chance of `alpha` of error on each side: 0.05 for a 90 % interval.
///
/// Endless for fewer than two values or one that is not finite.
///
/// ```
/// use hopline_harness::gate::stats::t_interval;
/// let interval = t_interval(&[1.0, 2.0, 3.0], 0.05);
/// assert!((interval.low - 0.314).abs() < 1e-3 && (interval.high - 3.686).abs() < 1e-3);
/// assert!(t_interval(&[1.0], 0.05).high.is_infinite());
/// ```
#[must_use]
pub fn t_interval(values: &[f64], alpha: f64) -> Interval {
    let of = Moments::of(values);
    of.interval(t_critical(alpha, of.n as f64 - 1.0))
}

/// Holm's step-down: which of several findings hold, if the chance that even one of those is wrong shall be `alpha`.
///
/// The least p-value is held against `alpha / m`, the next against `alpha / (m - 1)`, until one is too large.
///
/// ```
/// use hopline_harness::gate::stats::holm;
/// assert_eq!(holm(&[0.04, 0.01, 0.03], 0.05), [false, true, false]);
/// ```
#[must_use]
pub fn holm(p_values: &[f64], alpha: f64) -> Vec<bool> {
    let mut by_size: Vec<usize> = (0..p_values.len()).collect();
    by_size.sort_by(|&a, &b| p_values[a].total_cmp(&p_values[b]));
    let mut holds = vec![false; p_values.len()];
    for (at, &which) in by_size.iter().enumerate() {
        if p_values[which] * (p_values.len() - at) as f64 > alpha || p_values[which].is_nan() {
            break;
        }
        holds[which] = true;
    }
    holds
}

/// Most blocks of a comparison that are worth naming: an hour and a half.
pub const BLOCKS_WORTH_MAX: usize = 1_000;

/// How many values with this `mean` and `sd` it takes until their interval lies on one side of `limit`.
///
/// None where more than [`BLOCKS_WORTH_MAX`] would be needed: the mean is at the limit.
///
/// ```
/// use hopline_harness::gate::stats::blocks_to_decide;
/// assert_eq!(blocks_to_decide(0.0, 0.04, 0.0488, 0.025), Some(6));
/// assert_eq!(blocks_to_decide(0.0488, 0.04, 0.0488, 0.025), None);
/// ```
#[must_use]
pub fn blocks_to_decide(mean: f64, sd: f64, limit: f64, alpha: f64) -> Option<usize> {
    let away = (mean - limit).abs();
    (2..=BLOCKS_WORTH_MAX).find(|&n| {
        let n = n as f64;
        // The normal bound is below Student's, and cheap.
        1.64 * sd / n.sqrt() < away && t_critical(alpha, n - 1.0) * sd / n.sqrt() < away
    })
}

#[cfg(test)]
mod tests;
