//! The open windows: for each a cell per key, and which keys it has seen.
//!
//! ```text
//!         sealed: being handed out      open for late ones   current   one ahead
//!   first ──→ [ 4 ]                        [ 5 ]               [ 6 ]     [ 7 ]
//! ```
//!
//! Invariant: nothing is allocated after its start; the windows held are neighbours, and what is
//! before `sealed` takes nothing more.

use super::keys::NONE;

/// Places beside the late windows: one that is handed out, the current one, and one ahead of it, for
/// senders whose clocks are ahead.
const MORE_PLACES: usize = 3;

/// What a window holds of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// Values, or members; 0 where the window has not seen the key.
    pub(super) values: u64,
    pub(super) weight: f64,
    pub(super) sum: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) last: f64,
    pub(super) last_at_ns: u64,
    /// Its histogram or set; `NONE` if it has none.
    pub(super) extra: u32,
    /// A member of a set had no room.
    pub(super) incomplete: bool,
}

impl Cell {
    pub(super) const EMPTY: Cell = Cell {
        values: 0,
        weight: 0.0,
        sum: 0.0,
        min: f64::INFINITY,
        max: f64::NEG_INFINITY,
        last: 0.0,
        last_at_ns: 0,
        extra: NONE,
        incomplete: false,
    };
}

#[derive(Debug)]
struct Window {
    cells: Box<[Cell]>,
    /// Keys in the order in which they were first seen; each at most once.
    seen: Box<[u32]>,
    seen_len: usize,
    handed_out: usize,
}

#[derive(Debug)]
pub(super) struct Windows {
    window_ns: u64,
    late: u64,
    places: Box<[Window]>,
    /// Number of the first window that is held, and its place.
    first: u64,
    first_place: usize,
    /// Windows before this number take nothing more.
    sealed: u64,
    /// The window of the last receive time, so that most need no division.
    current: u64,
    current_start_ns: u64,
    started: bool,
}

/// Bytes of memory of windows.
pub(super) const fn memory_bytes(keys: usize, late: usize) -> usize {
    (late + MORE_PLACES) * (keys * (size_of::<Cell>() + size_of::<u32>()) + size_of::<Window>())
}

/// Why there is no window for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoWindow {
    /// It takes nothing more.
    Late,
    /// It lies too far ahead.
    Ahead,
}

/// One thing that a window holds, as it is handed out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    pub(super) start_ns: u64,
    pub(super) key: u32,
    pub(super) cell: Cell,
}

impl Windows {
    pub(super) fn new(window_ns: u64, late: usize, keys: usize) -> Windows {
        let window = || Window {
            cells: vec![Cell::EMPTY; keys].into_boxed_slice(),
            seen: vec![NONE; keys].into_boxed_slice(),
            seen_len: 0,
            handed_out: 0,
        };
        Windows {
            window_ns,
            late: late as u64,
            places: (0..late + MORE_PLACES).map(|_| window()).collect(),
            first: 0,
            first_place: 0,
            sealed: 0,
            current: 0,
            current_start_ns: 0,
            started: false,
        }
    }

    /// The number of the window of a receive time.
    #[inline]
    fn of_now(&mut self, now_ns: u64) -> u64 {
        if now_ns.wrapping_sub(self.current_start_ns) >= self.window_ns {
            self.current = now_ns / self.window_ns;
            self.current_start_ns = self.current * self.window_ns;
        }
        if !self.started {
            self.started = true;
            self.first = self.current.saturating_sub(self.late);
            self.sealed = self.first;
        }
        self.current
    }

    /// The place of the window that something belongs to.
    #[inline]
    pub(super) fn place(&mut self, at_ns: Option<u64>, now_ns: u64) -> Result<usize, NoWindow> {
        let current = self.of_now(now_ns);
        let number = match at_ns {
            // A clock that was set back must not lose what comes in meanwhile.
            None => current.max(self.sealed),
            Some(at_ns) if at_ns.wrapping_sub(self.current_start_ns) < self.window_ns => current,
            Some(at_ns) => at_ns / self.window_ns,
        };
        if number < self.sealed {
            return Err(NoWindow::Late);
        }
        let mut ahead = number - self.first;
        if ahead >= self.places.len() as u64 {
            self.begin_anew();
            ahead = number.checked_sub(self.first).ok_or(NoWindow::Late)?;
            if ahead >= self.places.len() as u64 {
                return Err(NoWindow::Ahead);
            }
        }
        Ok(self.wrapped(self.first_place + ahead as usize))
    }

    /// Moves all windows to the current time, if none holds anything.
    #[cold]
    fn begin_anew(&mut self) {
        if self.places.iter().all(|window| window.seen_len == 0) {
            let oldest = self.current.saturating_sub(self.late);
            self.first = self.sealed.max(oldest);
            self.sealed = self.first;
        }
    }

    /// A place from a number of at most twice the places.
    #[inline]
    fn wrapped(&self, place: usize) -> usize {
        if place >= self.places.len() {
            place - self.places.len()
        } else {
            place
        }
    }

    #[inline]
    pub(super) fn cell(&mut self, place: usize, key: u32) -> &mut Cell {
        &mut self.places[place].cells[key as usize]
    }

    /// Notes that a window sees a key for the first time.
    #[inline]
    pub(super) fn note(&mut self, place: usize, key: u32) {
        let window = &mut self.places[place];
        window.seen[window.seen_len] = key;
        window.seen_len += 1;
    }

    /// Seals the windows that are too old for late ones at that time.
    pub(super) fn seal(&mut self, now_ns: u64) {
        let oldest = self.of_now(now_ns).saturating_sub(self.late);
        self.sealed = self.sealed.max(oldest);
    }

    /// Seals all windows that are held.
    pub(super) fn seal_all(&mut self) {
        if self.started {
            self.sealed = self.sealed.max(self.first + self.places.len() as u64);
        }
    }

    /// The next thing of a sealed window, which is forgotten; `None` when all of them are empty.
    pub(super) fn hand_out(&mut self) -> Option<Handed> {
        let mut empty = 0;
        while self.first < self.sealed {
            let window = &mut self.places[self.first_place];
            if window.handed_out < window.seen_len {
                let key = window.seen[window.handed_out];
                window.handed_out += 1;
                let cell = core::mem::replace(&mut window.cells[key as usize], Cell::EMPTY);
                return Some(Handed {
                    start_ns: self.first.saturating_mul(self.window_ns),
                    key,
                    cell,
                });
            }
            (window.seen_len, window.handed_out) = (0, 0);
            self.first_place = self.wrapped(self.first_place + 1);
            self.first += 1;
            empty += 1;
            // All places are empty, so none has to be looked at on the way.
            if empty == self.places.len() {
                self.first = self.first.max(self.sealed);
            }
        }
        None
    }

    /// Whether a sealed window may hold something that was not handed out.
    pub(super) fn is_due(&self) -> bool {
        self.first < self.sealed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(
        windows: &mut Windows,
        at_ns: Option<u64>,
        now_ns: u64,
        key: u32,
    ) -> Result<(), NoWindow> {
        let place = windows.place(at_ns, now_ns)?;
        windows.cell(place, key).values += 1;
        if windows.cell(place, key).values == 1 {
            windows.note(place, key);
        }
        Ok(())
    }

    fn all(windows: &mut Windows) -> Vec<(u64, u32, u64)> {
        core::iter::from_fn(|| windows.hand_out())
            .map(|handed| (handed.start_ns, handed.key, handed.cell.values))
            .collect()
    }

    #[test]
    fn windows_open_and_close_around_the_current_one() {
        let mut windows = Windows::new(10, 1, 4);
        assert_eq!(put(&mut windows, None, 105, 0), Ok(()));
        assert_eq!(
            put(&mut windows, Some(99), 105, 1),
            Ok(()),
            "late by one window"
        );
        assert_eq!(put(&mut windows, Some(89), 105, 1), Err(NoWindow::Late));
        assert_eq!(put(&mut windows, Some(119), 105, 2), Ok(()), "one ahead");
        assert_eq!(put(&mut windows, Some(130), 105, 2), Err(NoWindow::Ahead));
        windows.seal(109);
        assert!(!windows.is_due());
        windows.seal(110);
        assert_eq!(put(&mut windows, Some(99), 110, 1), Err(NoWindow::Late));
        assert_eq!(put(&mut windows, Some(105), 110, 0), Ok(()));
        assert_eq!(put(&mut windows, Some(129), 110, 0), Ok(()));
        assert_eq!(all(&mut windows), [(90, 1, 1)]);
        windows.seal(1_000_000_000_000);
        assert_eq!(all(&mut windows), [(100, 0, 2), (110, 2, 1), (120, 0, 1)]);
        assert!(!windows.is_due());
        assert_eq!(put(&mut windows, None, 1_000_000_000_000, 3), Ok(()));
        assert_eq!(put(&mut windows, None, 50, 3), Ok(()), "a clock set back");
        windows.seal_all();
        assert_eq!(
            all(&mut windows),
            [(999_999_999_990, 3, 1), (1_000_000_000_000, 3, 1)]
        );
    }

    #[test]
    fn windows_that_hold_nothing_follow_the_time() {
        let mut windows = Windows::new(10, 1, 4);
        assert_eq!(put(&mut windows, None, 5, 0), Ok(()));
        assert_eq!(
            put(&mut windows, None, 1_000, 0),
            Err(NoWindow::Ahead),
            "something is held"
        );
        windows.seal_all();
        assert_eq!(all(&mut windows), [(0, 0, 1)]);
        assert_eq!(
            put(&mut windows, Some(5_000), 1_000, 0),
            Err(NoWindow::Ahead)
        );
        assert_eq!(put(&mut windows, Some(980), 1_000, 0), Err(NoWindow::Late));
        assert_eq!(put(&mut windows, Some(990), 1_000, 0), Ok(()));
    }

    #[test]
    fn a_window_that_is_not_handed_out_keeps_its_place() {
        let mut windows = Windows::new(10, 0, 4);
        for now_ns in [0, 10, 20] {
            assert_eq!(put(&mut windows, None, now_ns, 1), Ok(()));
        }
        windows.seal(30);
        assert_eq!(
            put(&mut windows, None, 30, 1),
            Err(NoWindow::Ahead),
            "three are not handed out"
        );
        assert_eq!(windows.hand_out().map(|handed| handed.start_ns), Some(0));
        assert_eq!(put(&mut windows, None, 30, 1), Err(NoWindow::Ahead));
        assert_eq!(windows.hand_out().map(|handed| handed.start_ns), Some(10));
        assert_eq!(put(&mut windows, None, 30, 1), Ok(()));
        assert_eq!(all(&mut windows), [(20, 1, 1)]);
    }
}
