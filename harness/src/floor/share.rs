//! The time that all sections share, so that a busy machine measures less and not for longer.
//!
//! Invariant: no round is begun for which there is no time, but for the fewest that a figure needs.

use hopline::clock::Clock;

/// What all sections take at most together, in nanoseconds, up to the end of the round that was begun
/// last. Short of a minute, so that the end of it is too.
pub(super) const LIMIT_NS: u64 = 50_000_000_000;

/// Fewest rounds of which a median is taken, whatever they take.
pub(super) const ROUNDS_MIN: usize = 3;

/// By when a section is to be done, and what it had to leave out.
#[derive(Debug)]
pub(super) struct Share<'a> {
    clock: &'a Clock,
    began_ns: u64,
    pub(super) until_ns: u64,
}

impl<'a> Share<'a> {
    /// From now until `until_ns` of `clock`.
    pub(super) fn until(clock: &'a Clock, until_ns: u64) -> Share<'a> {
        let began_ns = clock.stamp();
        Share {
            clock,
            began_ns,
            until_ns: until_ns.max(began_ns),
        }
    }

    /// The next one of `parts` equal ones of what is left.
    pub(super) fn part(&self, parts: u64) -> Share<'a> {
        Share::until(
            self.clock,
            self.clock.stamp() + self.left_ns() / parts.max(1),
        )
    }

    /// What is left of it.
    pub(super) fn left_ns(&self) -> u64 {
        self.until_ns.saturating_sub(self.clock.stamp())
    }

    /// Whether there is time for another round when `done` of them took as long as they did.
    pub(super) fn has_room(&self, done: usize) -> bool {
        let took_ns = self.clock.stamp().saturating_sub(self.began_ns);
        done < ROUNDS_MIN || took_ns / done as u64 <= self.left_ns()
    }
}

/// What sections did not get to, for a note.
#[derive(Debug, Default)]
pub(super) struct Cuts(Vec<String>);

impl Cuts {
    /// That section did so much of what it was to do.
    pub(super) fn tell(&mut self, section: &str, done: u64, of: u64, what: &str) {
        if done < of {
            self.0.push(format!("{section} ({done} of {of} {what})"));
        }
    }

    /// In words, if there are any.
    pub(super) fn note(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| {
            format!(
                "cut short, as all of it may take {} s: {}; the machine is busy, or slow",
                LIMIT_NS / 1_000_000_000,
                self.0.join(", ")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_go_on_while_there_is_time_for_another_and_the_fewest_are_always_there() {
        let (clock, time) = Clock::virtual_at(1_000_000);
        time.set_tick_ns(0);
        let share = Share::until(&clock, 1_010_000);
        let mut done = 0;
        while share.has_room(done) {
            done += 1;
            time.advance_to(1_000_000 + 1_500 * done as u64);
        }
        // Six took 9,000 of 10,000: a seventh is none that would fit.
        assert_eq!((done, share.left_ns()), (6, 1_000));
        // Each takes longer than there is.
        let share = Share::until(&clock, clock.stamp() + 10);
        let mut done = 0;
        while share.has_room(done) {
            done += 1;
            time.advance_to(2_000_000 * (1 + done as u64));
        }
        assert_eq!((done, share.left_ns()), (ROUNDS_MIN, 0));
    }

    #[test]
    fn parts_get_what_others_left() {
        let (clock, time) = Clock::virtual_at(0);
        time.set_tick_ns(0);
        let share = Share::until(&clock, 900);
        assert_eq!(share.part(3).until_ns, 300);
        time.advance_to(100);
        assert_eq!(share.part(2).until_ns, 500);
        time.advance_to(1_000);
        assert_eq!(share.part(1).left_ns(), 0);
    }

    #[test]
    fn what_was_cut_is_told_and_nothing_else() {
        let mut cuts = Cuts::default();
        cuts.tell("rings", 41, 41, "rounds");
        assert_eq!(cuts.note(), None);
        cuts.tell("rings", 7, 41, "rounds");
        cuts.tell("wake", 20, 2_000, "wakes");
        assert_eq!(
            cuts.note().unwrap(),
            "cut short, as all of it may take 50 s: rings (7 of 41 rounds), wake (20 of 2000 wakes); \
             the machine is busy, or slow"
        );
    }
}
