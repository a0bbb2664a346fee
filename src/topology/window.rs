//! What was highest since somebody last looked: each reader has a window of its own, and none takes a peak from another.
//!
//! ```text
//!   loop: peaks of a hop ─ hand over once, when asked ─→ observe ─┬─→ window of the whole run ─→ last report
//!                                                                 ├─→ window of `report()`    ─ restarts when it is read
//!                                                                 └─→ window of each other reader ─ likewise
//! ```
//!
//! Invariant: a peak is in exactly one reading of each window, and in every window.

use crate::base::limits::WINDOWS_MAX;
use crate::budget::Peaks;
use crate::budget::culprit::Figures;

/// A reader's own window on a running line, from [`Running::window`](super::Running::window): it begins anew with each
/// [`report_since`](super::Running::report_since).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(usize);

/// The window of the whole run, which is never restarted.
pub(crate) const RUN: Window = Window(0);

/// The window of whoever asks for a report without naming one.
pub(crate) const UNNAMED: Window = Window(1);

/// The windows of a line, and what they have seen.
#[derive(Debug)]
pub(crate) struct Windows {
    hops: usize,
    open: Vec<Open>,
}

/// What a window has seen since it was last read.
#[derive(Debug)]
struct Open {
    since_ns: u64,
    peaks: Vec<Peaks>,
    /// The counters at the last reading, from which those of the window are the difference.
    before: Figures,
}

/// A window as it is read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How long it was open, in nanoseconds.
    pub(crate) span_ns: u64,
    /// The counters when it was opened.
    pub(crate) before: Figures,
}

impl Windows {
    /// Windows on so many hops, opened at `now_ns` of the line's clock: that of the run and the unnamed one.
    pub(crate) fn new(hops: usize, now_ns: u64) -> Windows {
        let mut windows = Windows {
            hops,
            open: Vec::with_capacity(WINDOWS_MAX),
        };
        for _ in [RUN, UNNAMED] {
            windows.open(now_ns);
        }
        windows
    }

    /// The line begins at `now_ns`: what went before is no part of it.
    pub(crate) fn begin(&mut self, now_ns: u64) {
        for open in &mut self.open {
            open.since_ns = now_ns;
        }
    }

    /// Opens another window at `now_ns`, whose first reading counts from the start of the run; none where there are as many
    /// as there may be.
    pub(crate) fn open(&mut self, now_ns: u64) -> Option<Window> {
        if self.open.len() == WINDOWS_MAX {
            return None;
        }
        self.open.push(Open {
            since_ns: now_ns,
            peaks: vec![Peaks::default(); self.hops],
            before: Figures::default(),
        });
        Some(Window(self.open.len() - 1))
    }

    /// Shows what a hop's consumer handed over, or what was seen of it from outside, to every window.
    pub(crate) fn show(&mut self, hop: usize, peaks: Peaks) {
        for open in &mut self.open {
            if let Some(seen) = open.peaks.get_mut(hop) {
                seen.raise(peaks);
            }
        }
    }

    /// What a window has seen since it was last read, hop by hop.
    pub(crate) fn peaks(&self, window: Window) -> &[Peaks] {
        self.open.get(window.0).map_or(&[], |open| &open.peaks)
    }

    /// Reads a window at `now_ns`, after its peaks; it begins anew, unless it is that of the run. `figures` are the line's counters now.
    pub(crate) fn read(&mut self, window: Window, now_ns: u64, figures: &Figures) -> Seen {
        let Some(open) = self.open.get_mut(window.0) else {
            return Seen::default();
        };
        let seen = Seen {
            span_ns: now_ns.saturating_sub(open.since_ns),
            before: open.before.clone(),
        };
        if window != RUN {
            open.since_ns = now_ns;
            open.peaks.fill(Peaks::default());
            open.before = figures.clone();
        }
        seen
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::hist::swap;

    fn peak(depth_frames: u64) -> Peaks {
        Peaks {
            depth_frames,
            age_ns: 10 * depth_frames,
        }
    }

    /// Deepest backlog of each of two hops in that window.
    fn read(windows: &mut Windows, window: Window, now_ns: u64) -> (u64, [u64; 2]) {
        let deepest = [0, 1].map(|at| windows.peaks(window)[at].depth_frames);
        let seen = windows.read(window, now_ns, &Figures::default());
        (seen.span_ns, deepest)
    }

    #[test]
    fn each_reader_sees_each_peak_once_and_takes_none_from_another() {
        let mut windows = Windows::new(2, 100);
        let other = windows.open(150).unwrap();
        windows.show(0, peak(7));
        assert_eq!(read(&mut windows, UNNAMED, 200), (100, [7, 0]));
        windows.show(1, peak(3));
        windows.show(0, peak(2));
        assert_eq!(read(&mut windows, UNNAMED, 300), (100, [2, 3]));
        assert_eq!(read(&mut windows, other, 300), (150, [7, 3]));
        assert_eq!(read(&mut windows, other, 310), (10, [0, 0]));
        for now_ns in [400, 500] {
            let whole = read(&mut windows, RUN, now_ns);
            assert_eq!(whole, (now_ns - 100, [7, 3]), "never restarted");
        }
    }

    #[test]
    fn windows_are_bounded() {
        let mut windows = Windows::new(1, 0);
        let more = std::iter::from_fn(|| windows.open(0)).count();
        assert_eq!(more, WINDOWS_MAX - 2);
    }

    /// A loop that sees one spike every so many looks of an observer; `loses` plants the mistake of a plain store that is
    /// reset from outside. Returns the sum of what was seen of the spikes, and of the spikes.
    fn spikes(loses: bool) -> (u64, u64) {
        let (mut writer, mut reader) = swap::pair(Peaks::default(), Peaks::default());
        let mut windows = Windows::new(1, 0);
        let (mut seen, mut spikes) = (0, 0);
        for turn in 0..1_000u64 {
            // A spike only every fourth turn, so that no two of them share a window of two turns.
            let depth = if turn % 4 == 0 { 1 + turn } else { 0 };
            spikes += depth;
            writer.with(|peaks| peaks.raise(peak(depth)));
            if turn % 2 == 1 {
                writer.hand_over_if_asked();
            }
            reader.collect(|peaks| windows.show(0, core::mem::take(peaks)));
            reader.ask();
            if loses && turn % 8 == 0 {
                writer.with(|peaks| *peaks = Peaks::default());
            }
            seen += windows.peaks(UNNAMED)[0].depth_frames;
            windows.read(UNNAMED, turn, &Figures::default());
        }
        drop(writer);
        reader.collect(|peaks| windows.show(0, core::mem::take(peaks)));
        seen += windows.peaks(UNNAMED)[0].depth_frames;
        (seen, spikes)
    }

    #[test]
    fn spikes_between_two_reads_are_all_seen_once_and_a_lost_window_is_found() {
        let (seen, planted) = spikes(false);
        assert_eq!(seen, planted);
        let (seen, planted) = spikes(true);
        assert!(seen < planted, "{seen} of {planted}");
    }
}
