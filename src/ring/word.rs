//! The commit word of a ring with many producers: what one 64-bit word says of a position.
//!
//! The word of slot `p mod depth` is `(p + 1) ^ (tag << 48)`. As the reader at `p` sees it:
//!
//! | low 48 bits of `word ^ (p + 1)` | tag | position `p` is |
//! |---|---|---|
//! | not 0 | | not claimed, or claimed an instant ago: the word is an earlier lap's |
//! | 0 | 1 to 0x7fff | claimed by the producer with that number less 1, and not committed |
//! | 0 | 0x8000 | aborted: there is no item, step over it |
//! | 0 | 0 | ready |
//!
//! A slot is written in every lap, so an earlier lap's word lies exactly one depth back (at most
//! 2^20) and differs in the low 48 bits. One word says it all, so no answer is torn.
//!
//! Invariant: knows no memory and no ordering; a word is a number.

use crate::base::Sequence;
use crate::base::limits::{DEPTH_MAX, PRODUCERS_NAMED_MAX};
use crate::ring::stamped::stamp;

/// The tag begins above the bits that tell laps apart.
const TAG_SHIFT: u32 = 48;

/// The tag of an aborted slot.
const ABORTED: u64 = 1 << 15;

/// Which producer of a ring: the lowest number that no other living one has.
///
/// Up to [`PRODUCERS_NAMED_MAX`] producers are told apart; all beyond share [`ProducerId::OTHER`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProducerId(pub u16);

impl ProducerId {
    /// Shared by the producers beyond the first [`PRODUCERS_NAMED_MAX`].
    pub const OTHER: ProducerId = ProducerId(PRODUCERS_NAMED_MAX as u16);
}

/// The oldest position is claimed and not committed: what lies behind it waits for its producer.
///
/// A claim is open for nanoseconds as a rule. The ring knows no time, so whoever looks at it
/// judges how long is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenClaim {
    /// The position that is claimed.
    pub sequence: Sequence,
    /// Positions behind it that are claimed as well, in slots; most of them are committed and wait.
    pub behind: u64,
    /// Who holds it. `None` only in the instant between the claim and the store that signs it.
    pub producer: Option<ProducerId>,
}

/// What a commit word says of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Not claimed, or an instant ago.
    Stale,
    /// Claimed and not committed.
    Claimed(ProducerId),
    /// Committed without an item.
    Aborted,
    /// Committed with an item.
    Ready,
}

impl Word {
    /// What `word`, of the slot of `position`, says of it.
    #[inline(always)]
    pub(crate) fn of(word: u64, position: Sequence) -> Word {
        let differs = word ^ stamp(position);
        if differs == 0 {
            return Word::Ready;
        }
        if differs & ((1 << TAG_SHIFT) - 1) != 0 {
            return Word::Stale;
        }
        match differs >> TAG_SHIFT {
            ABORTED => Word::Aborted,
            tag => Word::Claimed(ProducerId((tag - 1) as u16)),
        }
    }
}

/// The commit word that says that `position` has no item.
pub(crate) fn abort_stamp(position: Sequence) -> u64 {
    stamp(position) ^ (ABORTED << TAG_SHIFT)
}

/// The commit word that says who has claimed `position`.
#[inline(always)]
pub(crate) fn claim_stamp(position: Sequence, by: ProducerId) -> u64 {
    stamp(position) ^ ((u64::from(by.0) + 1) << TAG_SHIFT)
}

// An earlier lap differs below the tag, and no number of a producer looks like the tag of an abort.
const _: () = assert!((DEPTH_MAX as u64) < 1 << TAG_SHIFT);
const _: () = assert!(PRODUCERS_NAMED_MAX <= u64::BITS as usize);
const _: () = assert!((PRODUCERS_NAMED_MAX as u64) + 1 < ABORTED);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_says_one_thing_of_its_position_and_nothing_of_the_laps_around_it() {
        let ends = [
            0,
            7,
            (1 << 48) - 1,
            1 << 48,
            (1 << 63) - 1,
            1 << 63,
            u64::MAX - 1,
            u64::MAX,
        ];
        for position in ends.map(Sequence) {
            let mut words = vec![
                (stamp(position), Word::Ready),
                (abort_stamp(position), Word::Aborted),
            ];
            for id in [0, 1, 63, ProducerId::OTHER.0].map(ProducerId) {
                words.push((claim_stamp(position, id), Word::Claimed(id)));
            }
            for (word, says) in words {
                assert_eq!(Word::of(word, position), says);
                for depth in [2, 1024, DEPTH_MAX as u64] {
                    assert_eq!(Word::of(word, position.plus(depth)), Word::Stale);
                    assert_eq!(
                        Word::of(word, position.plus(depth.wrapping_neg())),
                        Word::Stale
                    );
                }
            }
        }
    }
}
