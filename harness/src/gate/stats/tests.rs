//! The statistics against figures of scipy 1.17 and statsmodels 0.15, and against the table of the gate's specification.
//!
//! Invariant: nothing here is random but for seeded numbers.

use super::*;
use hopline::base::Prng;

/// `(k, n, alpha, beta.ppf(alpha, k, n - k + 1), beta.ppf(1 - alpha, k + 1, n - k))`, from scipy.stats.
const BOUNDS: [(f64, f64, f64, f64, f64); 15] = [
    (0.0, 299.0, 0.05, 0.0, 0.009969146792899269),
    (0.0, 298.0, 0.05, 0.0, 0.010002432437677691),
    (1.0, 3.0, 0.05, 0.0169524275084415, 0.8646496378284161),
    (0.5, 50.5, 0.05, 3.8739074558142635e-05, 0.07481595829476917),
    (
        8.33,
        833.33,
        0.05,
        0.005067102848123314,
        0.01775698325024662,
    ),
    (
        83.0,
        10_000.0,
        0.05,
        0.006865040158690724,
        0.009953917254203424,
    ),
    (
        118.0,
        10_000.0,
        0.05,
        0.010080090927286272,
        0.01373592054758397,
    ),
    (
        4.0,
        10_000.0,
        0.05,
        0.00013664300210786934,
        0.0009151160584710777,
    ),
    (
        16.0,
        10_000.0,
        0.05,
        0.0010038449151391585,
        0.002429109633300806,
    ),
    (
        37.25,
        4_210.8,
        0.0125,
        0.00592802376835698,
        0.012664610575632878,
    ),
    (
        5_000.0,
        10_000.0,
        0.05,
        0.4917265044037394,
        0.5082734955962607,
    ),
    (
        150_000.0,
        300_000.0,
        0.05,
        0.4984967989230889,
        0.5015032010769112,
    ),
    (
        2_999.7,
        300_000.0,
        0.0125,
        0.009596207170431453,
        0.010413889498344153,
    ),
    (
        1.5,
        1_000_000.0,
        0.05,
        1.7592318738096058e-07,
        5.535237678716439e-06,
    ),
    (
        100_000.0,
        10_000_000.0,
        0.05,
        0.00994830067049895,
        0.010051909014411874,
    ),
];

/// Relative, so that small shares are held to as many digits as large ones.
fn near(got: f64, want: f64) -> bool {
    (got - want).abs() <= 1e-6 * want.abs()
}

#[test]
fn bounds_of_shares_are_those_of_scipy() {
    for (k, n, alpha, low, high) in BOUNDS {
        let got = (lower(k, n, alpha), upper(k, n, alpha));
        assert!(
            near(got.0, low) && near(got.1, high),
            "{k} in {n}: {got:?}, not {:?}",
            (low, high)
        );
    }
}

#[test]
fn students_t_is_that_of_scipy() {
    // (alpha, df, t.ppf(1 - alpha, df))
    let critical = [
        (0.05, 1.0, 6.313751514675037),
        (0.05, 2.0, 2.9199855803537242),
        (0.05, 5.0, 2.0150483733330233),
        (0.025, 5.0, 2.5705818356363146),
        (0.025, 11.0, 2.200985160091639),
        (0.05, 17.0, 1.7396067260750725),
        (0.0125, 30.0, 2.359562458700931),
        (0.05, 250.0, 1.650971489812858),
    ];
    for (alpha, df, want) in critical {
        assert!(near(t_critical(alpha, df), want), "{alpha} {df}");
    }
    // (t, df, t.sf(t, df))
    let above = [
        (0.0, 5.0, 0.5),
        (0.5, 1.0, 0.35241638234956674),
        (2.5, 5.0, 0.02724504967118813),
        (-1.2, 5.0, 0.8580544716469487),
        (6.0, 11.0, 4.4630646020345655e-05),
        (12.0, 5.0, 3.544746258580761e-05),
    ];
    for (t, df, want) in above {
        assert!(near(t_above(t, df), want), "{t} {df}");
    }
}

#[test]
fn the_interval_of_a_mean_is_that_of_scipy() {
    // t.interval(0.90, 5, loc=mean(x), scale=sem(x)), then 0.95, then ttest_1samp(x, 0, alternative='greater').
    let x = [0.031, -0.012, 0.044, 0.008, 0.019, -0.003];
    let ninety = t_interval(&x, 0.05);
    assert!(near(ninety.of.mean, 0.0145) && near(ninety.of.sd, 0.02104043725781382));
    assert!(near(ninety.low, -0.0028087064338551144) && near(ninety.high, 0.031808706433855104));
    let wider = t_interval(&x, 0.025);
    assert!(near(wider.low, -0.007580584737345157) && near(wider.high, 0.036580584737345156));
    assert!(near(ninety.of.chance_above(0.0), 0.07610045864861206));
}

#[test]
fn holm_rejects_what_statsmodels_rejects() {
    // multipletests(p, alpha=0.05, method='holm')[0]
    let cases: [(&[f64], &[bool]); 5] = [
        (&[0.01, 0.04, 0.03], &[true, false, false]),
        (
            &[0.001, 0.012, 0.02, 0.04, 0.9],
            &[true, true, false, false, false],
        ),
        (&[0.0125, 0.0167, 0.025, 0.05], &[true, false, false, false]),
        (&[0.012, 0.016, 0.024, 0.05], &[true; 4]),
        (
            &[0.2, 0.0001, 0.013, 0.016, 0.6],
            &[false, true, false, false, false],
        ),
    ];
    for (p, want) in cases {
        assert_eq!(holm(p, 0.05), want, "{p:?}");
    }
    assert_eq!(holm(&[f64::NAN, 0.001], 0.05), [false, true]);
    assert!(holm(&[], 0.05).is_empty());
}

/// The most and the least `k` in 10 000 that pass and fail.
fn thresholds(quantile: f64) -> (Option<u32>, u32) {
    let allowed = 1.0 - quantile;
    let passes = (0..200).rfind(|&k| upper(f64::from(k), 10_000.0, 0.05) <= allowed);
    let fails = (0..200).find(|&k| lower(f64::from(k), 10_000.0, 0.05) > allowed);
    (passes, fails.unwrap_or(u32::MAX))
}

#[test]
fn the_figures_of_the_specification() {
    let least = [0.99, 0.999, 0.9999].map(|quantile| frames_min(quantile, 0.05));
    assert_eq!(least, [Some(299), Some(2_995), Some(29_956)]);
    assert_eq!(thresholds(0.99), (Some(83), 118));
    assert_eq!(thresholds(0.999), (Some(4), 16));
    assert_eq!(thresholds(0.9999).0, None);
}

#[test]
fn what_makes_no_sense_decides_nothing() {
    for (k, n) in [
        (0.0, 0.0),
        (f64::NAN, 10.0),
        (1.0, f64::INFINITY),
        (3.0, 2.0),
        (-1.0, 5.0),
    ] {
        assert_eq!((lower(k, n, 0.05), upper(k, n, 0.05)), (0.0, 1.0));
    }
    assert_eq!(upper(1.0, 10.0, 0.0), 1.0);
    assert_eq!(frames_min(1.0, 0.05), None);
    assert_eq!(t_critical(0.05, 0.0), f64::INFINITY);
    assert_eq!(t_above(f64::NAN, 5.0), 1.0);
    assert_eq!(Moments::of(&[]).chance_above(0.0), 1.0);
    assert_eq!(
        t_interval(&[1.0, f64::NAN], 0.05).low,
        f64::NEG_INFINITY,
        "an interval around no number"
    );
    assert_eq!(levels(0.99, 0.0, 0.05), (0.0, 1.0));
    assert_eq!(pooled(&[]).d, 1.0);
}

#[test]
fn equal_values_have_an_interval_of_no_width() {
    let same = t_interval(&[0.2; 6], 0.05);
    assert!((same.high - same.low).abs() < 1e-12);
    assert_eq!(Moments::of(&[0.5; 4]).chance_above(0.4), 0.0);
    assert_eq!(Moments::of(&[0.5; 4]).chance_above(0.5), 1.0);
}

#[test]
fn a_trimmed_mean_is_scipys_and_one_wild_value_moves_it_little() {
    let values = [
        0.012, -0.034, 0.021, 0.005, -0.011, 0.44, 0.018, -0.027, 0.009, 0.031, -0.002, -0.016,
    ];
    // scipy 1.16: trim_mean(x, 0.2), and ttest_ind(x, zeros, trim=0.2).confidence_interval(0.9).
    let trimmed = Moments::trimmed(&values);
    let interval = trimmed.interval(t_critical(0.05, 7.0));
    assert_eq!(trimmed.n, 8);
    for (found, wanted) in [
        (trimmed.mean, 0.0045),
        (interval.low, -0.008_443_261_176_329_535),
        (interval.high, 0.017_443_261_176_329_53),
    ] {
        assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
    }
    let all = Moments::of(&values);
    assert!(all.mean > 6.0 * trimmed.mean && all.sd > 4.0 * trimmed.sd);
    // Fewer than five are not trimmed.
    assert_eq!(Moments::trimmed(&values[..4]), Moments::of(&values[..4]));
    assert_eq!(Moments::trimmed(&[f64::NAN; 12]).n, 0);
}

#[test]
fn the_levels_of_a_quantile_are_where_limits_would_pass_and_fail() {
    let n = 5_000.0;
    let (low, high) = levels(0.99, n, 0.05);
    let over = |level: f64| (1.0 - level) * n;
    assert!((upper(over(high), n, 0.05) - 0.01).abs() < 1e-6);
    assert!((lower(over(low), n, 0.05) - 0.01).abs() < 1e-6);
    assert_eq!(levels(0.99, 200.0, 0.05).1, 1.0, "too few for an upper one");
}

#[test]
fn independent_exceedances_have_a_design_effect_near_one() {
    let mut prng = Prng::new(11);
    for share in [0.01, 0.5] {
        let mut blocks = Blocks::default();
        (0..200_000).for_each(|_| blocks.push(prng.unit() < share));
        let d = blocks.counts().d;
        assert!((1.0..1.2).contains(&d), "{share}: {d}");
    }
}

#[test]
fn clusters_have_the_design_effect_of_their_size() {
    let mut prng = Prng::new(12);
    let mut blocks = Blocks::default();
    // Clusters of ten, begun independently: a block's count is ten times a Poisson one.
    for _ in 0..200_000 {
        let slow = prng.unit() < 0.01;
        (0..10).for_each(|_| blocks.push(slow));
    }
    let counts = blocks.counts();
    assert!((8.0..12.0).contains(&counts.d), "{}", counts.d);
    let mut few = Blocks::default();
    (0..999).for_each(|at| few.push(at < 100));
    assert_eq!(few.counts().d, 1.0, "four full blocks have no variance");
}

#[test]
fn pooled_runs_count_the_variance_between_them() {
    let run = |k, d| Exceedances { n: 10_000, k, d };
    let alike = pooled(&[run(100, 2.0), run(100, 2.0), run(100, 2.0)]);
    assert_eq!((alike.n, alike.k), (30_000, 300));
    assert!((alike.d - 2.0).abs() < 1e-9);
    // One run of three with a stall: k / d and n / d summed up would hide it (30 in 20 200, 0.15 %).
    let stalled = pooled(&[run(5, 1.0), run(5, 1.0), run(1_000, 50.0)]);
    assert_eq!(stalled.k, 1_010);
    assert!(stalled.d > 40.0);
    assert!(upper(1_010.0 / stalled.d, 30_000.0 / stalled.d, 0.05) > 0.01);
    let apart = pooled(&[run(0, 1.0), run(0, 1.0), run(600, 1.0)]);
    assert!(apart.d > 3.0, "{}", apart.d);
    assert_eq!(
        pooled(&[run(3, f64::NAN)]).d,
        1.0,
        "a broken d counts as none"
    );
}

#[test]
fn bounds_are_wrong_as_often_as_they_say() {
    let mut prng = Prng::new(13);
    let (mut failed, mut passed) = (0, 0);
    const GATES: u32 = 2_000;
    for _ in 0..GATES {
        // 5 000 frames, of which exactly the allowed share is over: by the gaps between those that are.
        let (mut at, mut k) = (0.0, -1.0);
        while at <= 5_000.0 {
            at += prng.exponential(100.0);
            k += 1.0;
        }
        failed += u32::from(lower(k, 5_000.0, 0.05) > 0.01);
        passed += u32::from(upper(k, 5_000.0, 0.05) <= 0.01);
    }
    let most = GATES * 6 / 100;
    assert!(
        failed > 0 && failed <= most,
        "{failed} of {GATES} failed at the border"
    );
    assert!(
        passed > 0 && passed <= most,
        "{passed} of {GATES} passed at the border"
    );
}

#[test]
fn what_would_decide_decides() {
    let n = frames_to_decide(100.0, 12_000.0, 0.99, 0.05).expect("a share below the allowed one");
    assert!(upper(n / 120.0, n, 0.05) <= 0.01);
    assert_eq!(frames_to_decide(100.0, 10_000.0, 0.99, 0.05), None);
    let blocks = blocks_to_decide(0.06, 0.08, 0.0953, 0.025).expect("it is off the limit");
    let half = |n: usize| t_critical(0.025, n as f64 - 1.0) * 0.08 / (n as f64).sqrt();
    assert!(half(blocks) < 0.0353 && half(blocks - 1) >= 0.0353);
}
