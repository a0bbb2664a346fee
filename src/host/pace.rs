//! How fast a core runs now: a fixed piece of work, for whoever times it.
//!
//! Two hardware threads share a core's execution units. When a host puts another guest, or another thread of this one, on the
//! second, everything on the first takes up to twice as long, and no time is missing anywhere. Work that keeps all the units
//! busy shows it at once; a chain of dependent instructions would not.
//!
//! Source: Tullsen, Eggers, Levy, *Simultaneous multithreading: maximizing on-chip parallelism*, ISCA 1995.
//!
//! Invariant: the same instructions each time, no memory beyond registers, no system call.

use core::hint::black_box;

/// Rounds of the work: about 100 ns on a core at 3.5 GHz, long enough for a clock that steps by 10 ns. What is not optimized
/// takes 190 ns a round there: more of them would be a gap of the loop's own.
const ROUNDS: u64 = if cfg!(debug_assertions) { 1 } else { 96 };

/// Rounds that fetch its instructions: all of them are in the first one.
const READY_ROUNDS: u64 = 2;

/// Lanes that do not depend on each other: more than a core has units for them.
const TURNS: [u32; 6] = [3, 7, 11, 13, 17, 19];

/// Does the work; the result is of no use to anybody.
pub fn pace_work() -> u64 {
    rounds(ROUNDS)
}

/// Has the work's instructions at hand, for right before it is timed: a handler that used much memory, or gave some back, has
/// the core fetch them anew, and that is the program's doing and no slow core.
pub fn pace_ready() -> u64 {
    rounds(READY_ROUNDS)
}

#[inline(never)]
fn rounds(count: u64) -> u64 {
    let mut lanes = [black_box(7u64); TURNS.len()];
    for round in 0..count {
        // Rotations by different spans: not to be done several at once by one vector instruction.
        for (lane, turn) in lanes.iter_mut().zip(TURNS) {
            *lane = lane.rotate_left(turn) ^ round;
        }
    }
    black_box(lanes.iter().fold(0, |all, lane| all ^ lane))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_work_each_time() {
        assert_eq!(pace_work(), pace_work());
        assert_ne!(pace_work(), 0);
        assert_ne!(pace_ready(), pace_work());
    }
}
