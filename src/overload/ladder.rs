//! The degrade ladder: serving less, rung by rung, while pressure lasts, and rung by rung everything again.
//!
//! Invariant: at most one change a window, by one rung; a pressure between the marks changes nothing; each change is told.
//!
//! Overload is seen as in DAGOR (Zhou et al., "Overload Control for Scaling WeChat Microservices", SoCC 2018): by the queueing
//! delay, over windows that end after a time or a number of requests, whichever is first. Two things differ. The delay of a
//! window is its least and not its mean, as in CoDel, so that a burst that drains is none. And what is admitted does not
//! glide (DAGOR takes 5 % off and adds 1 %) but has rungs, since each rung is a behaviour that users of a line can name.

use core::fmt;

use super::bounds::{Amount, BoundError, SPAN_MAX_NS, span, within};

/// What is served on the way down, in the order in which it is given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// Everything is served.
    #[default]
    None,
    /// Of what has a key only the latest is: whoever looks sees every key's last state, and fewer steps between.
    Conflate,
    /// One in so many of what is not protected is: counts and means stay right, single events are missing.
    Sample,
    /// Nothing of what is not protected is: protected kinds are complete.
    ShedUnprotected,
    /// Nothing new comes in: clients are told so, or their sockets are paused.
    Refuse,
}

impl Rung {
    /// All rungs, the mildest first.
    pub const ALL: [Rung; 5] = [
        Rung::None,
        Rung::Conflate,
        Rung::Sample,
        Rung::ShedUnprotected,
        Rung::Refuse,
    ];

    /// The word that config files and reports use.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Rung::None => "none",
            Rung::Conflate => "conflate",
            Rung::Sample => "sample",
            Rung::ShedUnprotected => "shed_unprotected",
            Rung::Refuse => "refuse",
        }
    }

    /// The rung of that name.
    ///
    /// ```
    /// use hopline::overload::Rung;
    /// assert_eq!(Rung::parse("sample"), Some(Rung::Sample));
    /// assert_eq!(Rung::parse("drop"), None);
    /// ```
    #[must_use]
    pub fn parse(name: &str) -> Option<Rung> {
        Rung::ALL.into_iter().find(|rung| rung.name() == name)
    }

    /// Its place, 0 for [`Rung::None`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    fn harder(self) -> Option<Rung> {
        Rung::ALL.get(self.index() + 1).copied()
    }

    fn milder(self) -> Option<Rung> {
        Rung::ALL.get(self.index().checked_sub(1)?).copied()
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Most requests of a window; DAGOR's.
pub const WINDOW_FRAMES_MAX: u32 = 2_000;

/// Most windows of calm before a rung is left: with windows of 1 ms a minute, after which nobody remembers the cause.
pub const DWELL_MAX: u32 = 60_000;

/// When a [`Ladder`] changes its rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LadderParams {
    high: u64,
    low: u64,
    window_ns: u64,
    dwell: u32,
    most: Rung,
}

impl LadderParams {
    /// For services of about 1 us: pressure is a delay, with marks at 30 and 20 us.
    ///
    /// The marks of these presets are the ends of the ranges in which DAGOR's threshold does best at such services
    /// (Breakwater's evaluation, OSDI 2020), the window of 1 ms is the one it is run with there, and a dwell of 20 windows
    /// goes down all four rungs in 80 ms.
    pub const FOR_1_US: LadderParams = LadderParams::preset(30_000, 20_000);

    /// For services of about 10 us: marks at 70 and 50 us.
    pub const FOR_10_US: LadderParams = LadderParams::preset(70_000, 50_000);

    /// For services of about 100 us: marks at 450 and 350 us.
    pub const FOR_100_US: LadderParams = LadderParams::preset(450_000, 350_000);

    const fn preset(high: u64, low: u64) -> LadderParams {
        LadderParams {
            high,
            low,
            window_ns: 1_000_000,
            dwell: 20,
            most: Rung::Refuse,
        }
    }

    /// Up a rung after a window whose least pressure was above `high`, down one after `dwell` windows in a row with one
    /// below `low`. Pressure is whatever is given to [`Ladder::saw`]: a delay in nanoseconds, or a fill in frames. A window
    /// ends after `window_ns` or [`WINDOW_FRAMES_MAX`] frames.
    ///
    /// # Errors
    /// `high` is above [`SPAN_MAX_NS`], or not above `low`; `low` is 0, below which nothing is; the window is not a span that
    /// a policy may have; `dwell` is not 1 to [`DWELL_MAX`].
    pub fn new(
        high: u64,
        low: u64,
        window_ns: u64,
        dwell: u32,
    ) -> Result<LadderParams, BoundError> {
        within(
            "low",
            low,
            1,
            SPAN_MAX_NS,
            Amount::Count,
            "\"50us\" for a delay, 2048 for a fill",
        )?;
        within(
            "high",
            high,
            1,
            SPAN_MAX_NS,
            Amount::Count,
            "\"70us\" for a delay, 3072 for a fill",
        )?;
        if high <= low {
            return Err(BoundError::TooLittle {
                what: "high",
                given: Amount::Count(high),
                least: Amount::Count(low + 1),
                because: "1 more than low",
                write: "1.4 times low",
            });
        }
        span("window", window_ns, "\"1ms\"")?;
        within(
            "dwell",
            dwell.into(),
            1,
            DWELL_MAX.into(),
            Amount::Count,
            "20",
        )?;
        Ok(LadderParams {
            high,
            low,
            window_ns,
            dwell,
            most: Rung::Refuse,
        })
    }

    /// The same, but never beyond that rung: a line whose kinds are all protected ends at `conflate`, say.
    #[must_use]
    pub const fn up_to(mut self, most: Rung) -> LadderParams {
        self.most = most;
        self
    }

    /// Above it a window presses.
    #[must_use]
    pub const fn high(&self) -> u64 {
        self.high
    }

    /// Below it a window is calm.
    #[must_use]
    pub const fn low(&self) -> u64 {
        self.low
    }

    /// Length of a window, in nanoseconds.
    #[must_use]
    pub const fn window_ns(&self) -> u64 {
        self.window_ns
    }

    /// Calm windows in a row before a rung is left.
    #[must_use]
    pub const fn dwell(&self) -> u32 {
        self.dwell
    }

    /// The last rung.
    #[must_use]
    pub const fn most(&self) -> Rung {
        self.most
    }
}

impl Default for LadderParams {
    fn default() -> LadderParams {
        LadderParams::FOR_10_US
    }
}

/// A change of the rung, to be counted and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RungChange {
    /// The rung that is left.
    pub from: Rung,
    /// The rung that holds from now on: one beside it, or after a time in which nothing came several below.
    pub to: Rung,
    /// When.
    pub at_ns: u64,
    /// The least pressure of the window that decided; 0 if nothing came in it.
    pub pressure: u64,
}

/// The rung on which one hop or line is.
///
/// Time that steps back makes the present window longer by as much, and nothing else.
///
/// ```
/// use hopline::overload::{Ladder, LadderParams, Rung};
/// let mut ladder = Ladder::new(LadderParams::default());
/// // 100 us of delay for a window of 1 ms: up.
/// assert!((0..10).all(|n| ladder.saw(n * 100_000, 100_000).is_none()));
/// let change = ladder.turn(1_000_000).unwrap();
/// assert_eq!((change.from, change.to), (Rung::None, Rung::Conflate));
/// // Without a frame it is calm, and after 20 such windows down again.
/// assert!((2..=21).any(|ms| ladder.turn(ms * 1_000_000).is_some()));
/// assert_eq!(ladder.rung(), Rung::None);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Ladder {
    params: LadderParams,
    rung: Rung,
    since_ns: u64,
    /// The least pressure of the present window, `u64::MAX` before its first frame.
    least: u64,
    frames: u32,
    calm: u32,
}

impl Ladder {
    /// One that serves everything.
    #[must_use]
    pub const fn new(params: LadderParams) -> Ladder {
        Ladder {
            params,
            rung: Rung::None,
            since_ns: 0,
            least: u64::MAX,
            frames: 0,
            calm: 0,
        }
    }

    /// A frame has met that pressure: the delay that it had, or the fill that it found. A window that is over by then is
    /// judged first, so the frame counts for the next one.
    #[inline]
    pub fn saw(&mut self, now_ns: u64, pressure: u64) -> Option<RungChange> {
        let change = self.turn(now_ns);
        self.least = self.least.min(pressure);
        self.frames += 1;
        change
    }

    /// Time passes: to be called once a turn, or from housekeeping, so that a hop that nothing comes to gets calm.
    #[inline]
    pub fn turn(&mut self, now_ns: u64) -> Option<RungChange> {
        let over = now_ns.saturating_sub(self.since_ns) >= self.params.window_ns;
        if over || self.frames >= WINDOW_FRAMES_MAX {
            return self.end_window(now_ns);
        }
        None
    }

    /// The present rung.
    #[inline]
    #[must_use]
    pub const fn rung(&self) -> Rung {
        self.rung
    }

    /// The parameters.
    #[must_use]
    pub const fn params(&self) -> LadderParams {
        self.params
    }

    /// Goes on with other parameters, which judge the present window. The rung stays; one beyond the new last is left at
    /// once, for that one if it is milder.
    pub fn set_params(&mut self, now_ns: u64, params: LadderParams) -> Option<RungChange> {
        self.params = params;
        self.calm = 0;
        (self.rung > params.most).then(|| self.change(params.most, now_ns, 0))
    }

    #[cold]
    fn end_window(&mut self, now_ns: u64) -> Option<RungChange> {
        // Nothing that came is nothing that waits.
        let pressure = if self.frames == 0 { 0 } else { self.least };
        let elapsed = now_ns.saturating_sub(self.since_ns) / self.params.window_ns;
        self.since_ns = now_ns;
        self.least = u64::MAX;
        self.frames = 0;
        if pressure > self.params.high {
            self.calm = 0;
        } else if pressure < self.params.low {
            self.calm = self.calm.saturating_add(1);
        } else {
            self.calm = 0;
        }
        // In the windows after it that are over as well, nothing came. A few of them say little: who offers may have had its core
        // taken by the very consumer that is too slow.
        let empty = u32::try_from(elapsed.saturating_sub(1)).unwrap_or(u32::MAX);
        if pressure > self.params.high && empty < self.params.dwell {
            let to = self.rung.harder().filter(|&to| to <= self.params.most)?;
            return Some(self.change(to, now_ns, pressure));
        }
        self.calm = self.calm.saturating_add(empty);
        let mut to = self.rung;
        while self.calm >= self.params.dwell {
            let Some(milder) = to.milder() else {
                self.calm = 0;
                break;
            };
            to = milder;
            self.calm -= self.params.dwell;
        }
        (to != self.rung).then(|| self.change(to, now_ns, pressure))
    }

    fn change(&mut self, to: Rung, at_ns: u64, pressure: u64) -> RungChange {
        let from = self.rung;
        self.rung = to;
        RungChange {
            from,
            to,
            at_ns,
            pressure,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    /// Feeds a pressure for so many milliseconds, each with ten frames, and gives the changes.
    fn press(
        ladder: &mut Ladder,
        now_ns: &mut u64,
        span_ms: u64,
        pressure: u64,
    ) -> Vec<RungChange> {
        let mut changes = Vec::new();
        for _ in 0..10 * span_ms {
            *now_ns += MS / 10;
            changes.extend(ladder.saw(*now_ns, pressure));
        }
        changes
    }

    /// Up all rungs from 1 ms on; when it is at the top.
    fn at_the_top(ladder: &mut Ladder) -> u64 {
        let mut now_ns = 0;
        while ladder.rung() != Rung::Refuse {
            now_ns += 100_000;
            ladder.saw(now_ns, 10 * ladder.params().high());
        }
        now_ns
    }

    #[test]
    fn windows_in_which_nothing_came_count_each_for_itself() {
        let mut ladder = Ladder::new(LadderParams::default());
        let top_ns = at_the_top(&mut ladder);
        // The window that pressed, and 79 without a frame: three rungs of 20 windows each.
        let change = ladder.saw(top_ns + 80_000_000, 0).unwrap();
        assert_eq!((change.from, change.to), (Rung::Refuse, Rung::Conflate));
        let change = ladder.turn(top_ns + 101_000_000).unwrap();
        assert_eq!((change.from, change.to), (Rung::Conflate, Rung::None));
        // However long it was.
        at_the_top(&mut ladder);
        ladder.turn(u64::MAX);
        assert_eq!(ladder.rung(), Rung::None);
    }

    #[test]
    fn a_clump_each_few_windows_presses_as_well() {
        let mut ladder = Ladder::new(LadderParams::default());
        for clump in 1..=6 {
            for _ in 0..100 {
                ladder.saw(clump * 3_200_000, 1_000_000);
            }
        }
        assert_eq!(ladder.rung(), Rung::Refuse);
    }

    #[test]
    fn it_goes_up_a_rung_a_window_and_down_one_a_dwell() {
        let mut ladder = Ladder::new(LadderParams::FOR_10_US);
        let mut now_ns = 0;
        let up = press(&mut ladder, &mut now_ns, 10, 70_001);
        let rungs: Vec<Rung> = up.iter().map(|change| change.to).collect();
        assert_eq!(rungs, Rung::ALL[1..]);
        assert!(up.iter().all(|change| change.pressure == 70_001));
        let began_ns = now_ns;
        let down = press(&mut ladder, &mut now_ns, 100, 49_999);
        assert_eq!(down.len(), 4);
        for pair in down.windows(2) {
            assert_eq!(pair[1].at_ns - pair[0].at_ns, 20 * MS);
        }
        assert_eq!(ladder.rung(), Rung::None);
        assert!(down[3].at_ns - began_ns <= 100 * MS);
    }

    #[test]
    fn the_least_of_a_window_decides() {
        let mut ladder = Ladder::new(LadderParams::FOR_10_US);
        for ms in 0..50 {
            assert_eq!(ladder.saw(ms * MS, 10), None);
            assert_eq!(ladder.saw(ms * MS + 1, 5 * MS), None);
        }
    }

    #[test]
    fn calm_windows_count_only_in_a_row() {
        let mut ladder = Ladder::new(LadderParams::FOR_10_US);
        let mut now_ns = 0;
        press(&mut ladder, &mut now_ns, 2, MS);
        let rung = ladder.rung();
        for _ in 0..10 {
            assert_eq!(press(&mut ladder, &mut now_ns, 18, 10_000), []);
            assert_eq!(press(&mut ladder, &mut now_ns, 2, 60_000), []);
        }
        assert_ne!(rung, Rung::None);
        assert_eq!(ladder.rung(), rung);
    }

    #[test]
    fn a_window_ends_by_its_frames_too() {
        let mut ladder = Ladder::new(LadderParams::FOR_10_US);
        let changes: Vec<u32> = (0..=WINDOW_FRAMES_MAX)
            .filter(|_| ladder.saw(5, 100_000).is_some())
            .collect();
        assert_eq!(changes, [WINDOW_FRAMES_MAX]);
    }

    #[test]
    fn a_refusing_hop_gets_calm_without_a_frame() {
        let mut ladder = Ladder::new(LadderParams::FOR_10_US);
        let mut now_ns = 0;
        press(&mut ladder, &mut now_ns, 10, MS);
        assert_eq!(ladder.rung(), Rung::Refuse);
        let down = (1..=100).filter(|ms| ladder.turn(now_ns + ms * MS).is_some());
        assert_eq!(down.count(), 4);
        assert_eq!(ladder.rung(), Rung::None);
    }

    #[test]
    fn parameters_change_while_it_runs() {
        let mut ladder = Ladder::new(LadderParams::FOR_10_US.up_to(Rung::Sample));
        let mut now_ns = 0;
        press(&mut ladder, &mut now_ns, 10, MS);
        assert_eq!(ladder.rung(), Rung::Sample);
        let less = LadderParams::FOR_100_US.up_to(Rung::Conflate);
        let change = ladder.set_params(now_ns, less).unwrap();
        assert_eq!((change.from, change.to), (Rung::Sample, Rung::Conflate));
        assert_eq!(ladder.set_params(now_ns, LadderParams::FOR_100_US), None);
        assert_eq!(press(&mut ladder, &mut now_ns, 100, 400_000), []);
    }

    #[test]
    fn bad_parameters_are_refused_in_words() {
        let error = LadderParams::new(50, 50, MS, 20).unwrap_err();
        assert_eq!(
            error.to_string(),
            "high is 50, and has to be at least 51, 1 more than low; write for example 1.4 times low"
        );
        assert!(LadderParams::new(50, 0, MS, 20).is_err());
        assert!(LadderParams::new(70, 50, 0, 20).is_err());
        assert!(LadderParams::new(70, 50, MS, 0).is_err());
        for preset in [
            LadderParams::FOR_1_US,
            LadderParams::FOR_10_US,
            LadderParams::FOR_100_US,
        ] {
            let again = LadderParams::new(preset.high, preset.low, preset.window_ns, preset.dwell);
            assert_eq!(again, Ok(preset));
        }
        for rung in Rung::ALL {
            assert_eq!(Rung::parse(rung.name()), Some(rung));
        }
    }

    proptest! {
        #[test]
        fn it_never_changes_twice_in_a_window_nor_by_two_rungs(
            steps in proptest::collection::vec((0u64..600_000, 0u64..150_000, any::<bool>()), 0..400),
        ) {
            let mut ladder = Ladder::new(LadderParams::new(70_000, 50_000, MS, 2).unwrap());
            let (mut now_ns, mut last_ns, mut rung) = (0, 0, Rung::None);
            for (gap_ns, pressure, frame) in steps {
                now_ns += gap_ns;
                let change = if frame { ladder.saw(now_ns, pressure) } else { ladder.turn(now_ns) };
                if let Some(change) = change {
                    prop_assert!(now_ns - last_ns >= MS);
                    prop_assert_eq!(change.from, rung);
                    prop_assert_eq!(change.from.index().abs_diff(change.to.index()), 1);
                    last_ns = now_ns;
                    rung = change.to;
                }
                prop_assert_eq!(ladder.rung(), rung);
            }
        }

        #[test]
        fn a_steady_pressure_between_the_marks_changes_nothing(
            up_ms in 0u64..6, pressure in 50_000u64..=70_000,
        ) {
            let mut ladder = Ladder::new(LadderParams::FOR_10_US);
            let mut now_ns = 0;
            press(&mut ladder, &mut now_ns, up_ms, MS);
            // The window in which the pressure fell ends by what it is now.
            press(&mut ladder, &mut now_ns, 1, pressure);
            let rung = ladder.rung();
            prop_assert_eq!(press(&mut ladder, &mut now_ns, 200, pressure), []);
            prop_assert_eq!(ladder.rung(), rung);
        }

        #[test]
        fn any_times_at_all_do_no_harm(steps in proptest::collection::vec(any::<(u64, u64)>(), 0..100)) {
            let mut ladder = Ladder::new(LadderParams::FOR_1_US);
            for (now_ns, pressure) in steps {
                let _ = ladder.saw(now_ns, pressure);
            }
        }
    }
}
