//! How fast a difference of two clocks grows, told from samples of which most are late by chance.
//!
//! What delays a sample only ever makes it later, so the least of each stretch of time is near what the clocks alone would give.
//! A line is laid through those by least squares.
//!
//! Invariant: knows no clock; constant memory, whatever comes.

/// A line through the least samples of stretches of time.
///
/// ```
/// use hopline::budget::slope::Slope;
/// let mut slope = Slope::new(1_000_000_000);
/// for second in 0..60_u64 {
///     // 40 ns a second, and every third sample is late.
///     let late_ns = if second % 3 == 0 { 900_000.0 } else { 0.0 };
///     slope.add(second * 1_000_000_000, 40.0 * second as f64 + late_ns);
///     slope.add(second * 1_000_000_000 + 1, 40.0 * second as f64);
/// }
/// assert_eq!(slope.ppb(), Some(40));
/// ```
#[derive(Clone, Debug)]
pub struct Slope {
    window_ns: u64,
    window: u64,
    least: Option<(f64, f64)>,
    from_ns: Option<u64>,
    count: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    /// When the two stretches that ended last had their least, in seconds.
    latest: [Option<f64>; 2],
}

/// Fewest stretches that a slope is told of.
const WINDOWS_MIN: f64 = 5.0;

impl Slope {
    /// With stretches of that many nanoseconds.
    #[must_use]
    pub fn new(window_ns: u64) -> Slope {
        Slope {
            window_ns: window_ns.max(1),
            window: 0,
            least: None,
            from_ns: None,
            count: 0.0,
            x: 0.0,
            y: 0.0,
            xx: 0.0,
            xy: 0.0,
            latest: [None; 2],
        }
    }

    /// A difference of `apart_ns` at `at_ns`. Answers the least of a stretch when the next one has begun.
    pub fn add(&mut self, at_ns: u64, apart_ns: f64) -> Option<f64> {
        let after_ns = at_ns.saturating_sub(*self.from_ns.get_or_insert(at_ns));
        let window = after_ns / self.window_ns;
        let mut ended = None;
        if window != self.window {
            ended = self.least.map(|(_, least)| least);
            self.end_window();
            self.window = window;
        }
        let sample = (after_ns as f64 / 1e9, apart_ns);
        match &mut self.least {
            Some(least) if least.1 <= apart_ns => {}
            least => *least = Some(sample),
        }
        ended
    }

    fn end_window(&mut self) {
        if let Some((x, y)) = self.least.take() {
            self.count += 1.0;
            self.x += x;
            self.y += y;
            self.xx += x * x;
            self.xy += x * y;
            self.latest = [self.latest[1], Some(x)];
        }
    }

    /// One of the clocks was set by that much, which the two stretches that ended last have shown. They and the one that is under
    /// way are corrected; what is added from now on has it taken off already.
    pub fn shift(&mut self, step_ns: f64) {
        for x in self.latest.into_iter().flatten() {
            self.y -= step_ns;
            self.xy -= x * step_ns;
        }
        if let Some(least) = &mut self.least {
            least.1 -= step_ns;
        }
    }

    /// Nanoseconds a second, which is parts per billion; `None` for fewer than five stretches. The one that is under way is not
    /// in it.
    #[must_use]
    pub fn ppb(&self) -> Option<i64> {
        let spread = self.count * self.xx - self.x * self.x;
        if self.count < WINDOWS_MIN || spread <= 0.0 {
            return None;
        }
        let slope = (self.count * self.xy - self.x * self.y) / spread;
        slope.is_finite().then_some(slope.round() as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_stretches_and_one_moment_have_no_slope() {
        let mut slope = Slope::new(10);
        assert_eq!(slope.ppb(), None);
        for _ in 0..100 {
            slope.add(7, 1.0);
        }
        assert_eq!(slope.ppb(), None);
        for at in 0..50 {
            slope.add(7 + at, 1.0);
        }
        assert_eq!(slope.ppb(), None, "four have ended");
        slope.add(57, 1.0);
        assert_eq!(slope.ppb(), Some(0));
    }

    #[test]
    fn it_falls_as_well() {
        let mut slope = Slope::new(1_000_000_000);
        let least: Vec<f64> = (0..20_u64)
            .filter_map(|second| slope.add(5 + second * 1_000_000_000, -2_500.0 * second as f64))
            .collect();
        assert_eq!(slope.ppb(), Some(-2_500));
        assert_eq!((least.len(), least[1]), (19, -2_500.0));
    }
}
