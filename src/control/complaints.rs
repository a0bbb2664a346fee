//! What a loop has to complain of: few words a second, of fixed size, and the rest counted.
//!
//! A fault that comes a million times a second is one fault. So each kind of complaint has a bucket of tokens: a few may come
//! at once, then one for each [`COMPLAINT_NS`]. What is kept back is counted, and the next one of its kind says how many.
//!
//! Invariant: complaining never waits or allocates, whether anybody listens or not.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::base::limits::{COMPLAINT_BURST, COMPLAINT_NS, COMPLAINTS_DEPTH};
use crate::base::{Counter, Hangup};

/// Kinds of complaints, each with tokens of its own.
pub const KINDS: usize = 6;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A hop began to shed.
    SheddingBegan,
    /// It has shed nothing for a while.
    SheddingEnded {
        /// Messages shed since it began.
        shed: u64,
        /// From the first look that saw it to the last one that did, in nanoseconds.
        lasted_ns: u64,
    },
    /// Connections of a source ended otherwise than in good order.
    HungUp {
        /// Why.
        why: Hangup,
        /// How many since the last look.
        times: u64,
    },
    /// A node ended by a panic; its words are in the node's fault.
    Failed,
    /// The consumer of a hop held its producer back for too long and was cut off: it gets nothing more.
    CutOff,
    /// The file into which a hop overflows cannot be written; its words are in the report.
    FileFailed,
}

impl What {
    /// The words of all kinds, as reports and logs write them.
    pub const NAMES: [&'static str; KINDS] = [
        "shedding_began",
        "shedding_ended",
        "hung_up",
        "failed",
        "cut_off",
        "file_failed",
    ];

    /// The word of its kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        What::NAMES[self.kind()]
    }

    /// The place of its kind in [`What::NAMES`].
    pub(crate) const fn kind(self) -> usize {
        match self {
            What::SheddingBegan => 0,
            What::SheddingEnded { .. } => 1,
            What::HungUp { .. } => 2,
            What::Failed => 3,
            What::CutOff => 4,
            What::FileFailed => 5,
        }
    }
}

/// A complaint. Numbers only; the outside, which knows the names, makes words of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What went wrong.
    pub what: What,
    /// Where: the number of the hop for shedding and files, else that of the node, as the one that listens counts them.
    pub at: u16,
    /// When it was seen, in nanoseconds of the line's clock.
    pub at_ns: u64,
    /// How many of the same kind were kept back since the last one that was told.
    pub kept_back: u64,
}

/// The side of a loop and the side that listens to it.
///
/// ```
/// use hopline::control::{What, complaints};
/// let (mut voice, heard) = complaints();
/// for frame in 0..1_000 {
///     voice.complain(What::SheddingBegan, 3, 1_000 + frame);
/// }
/// let told = std::iter::from_fn(|| heard.take()).count();
/// assert!(told < 20, "few are told");
/// assert_eq!(told as u64 + heard.kept_back(), 1_000, "all are counted");
/// ```
#[must_use]
pub fn complaints() -> (Voice, Complaints) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(COMPLAINTS_DEPTH),
        kept_back: Default::default(),
        all: Default::default(),
    });
    let voice = Voice {
        shared: shared.clone(),
        full_at_ns: [0; KINDS],
    };
    (voice, Complaints { shared })
}

#[derive(Debug)]
struct Shared {
    queue: ArrayQueue<Complaint>,
    /// Complaints by kind that were kept back since the last one that was told; written by the loop.
    kept_back: [Counter; KINDS],
    /// All complaints by kind, told or not; written by the loop.
    all: [Counter; KINDS],
}

/// The loop's side.
#[derive(Debug)]
pub struct Voice {
    shared: Arc<Shared>,
    /// By kind, when its bucket is full again.
    full_at_ns: [u64; KINDS],
}

impl Voice {
    /// Complains, or counts what it would have said: if its kind has no token left, or nobody has listened for so long that
    /// there is no room.
    pub fn complain(&mut self, what: What, at: u16, at_ns: u64) {
        let kind = what.kind();
        let kept_back = &self.shared.kept_back[kind];
        self.shared.all[kind].add(1);
        let full_at_ns = self.full_at_ns[kind].max(at_ns);
        let has_token = full_at_ns - at_ns <= (COMPLAINT_BURST - 1) * COMPLAINT_NS;
        let complaint = Complaint {
            what,
            at,
            at_ns,
            kept_back: kept_back.get(),
        };
        if has_token && self.shared.queue.push(complaint).is_ok() {
            self.full_at_ns[kind] = full_at_ns + COMPLAINT_NS;
            kept_back.set(0);
        } else {
            kept_back.add(1);
        }
    }
}

/// The side that listens.
#[derive(Debug)]
pub struct Complaints {
    shared: Arc<Shared>,
}

impl Complaints {
    /// The oldest complaint that nobody has taken.
    #[must_use]
    pub fn take(&self) -> Option<Complaint> {
        self.shared.queue.pop()
    }

    /// Complaints that were kept back and that no later one has told of yet.
    #[must_use]
    pub fn kept_back(&self) -> u64 {
        self.shared.kept_back.iter().map(Counter::get).sum()
    }

    /// All complaints so far, told or kept back, in the order of [`What::NAMES`].
    #[must_use]
    pub fn all(&self) -> [u64; KINDS] {
        self.shared.all.each_ref().map(Counter::get)
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    fn drained(heard: &Complaints) -> Vec<Complaint> {
        std::iter::from_fn(|| heard.take()).collect()
    }

    #[test]
    fn a_burst_is_told_then_one_for_each_interval_and_the_rest_is_counted() {
        let (mut voice, heard) = complaints();
        let began_ns = 5_000_000_000;
        for _ in 0..100 {
            voice.complain(What::Failed, 7, began_ns);
        }
        let told = drained(&heard);
        assert_eq!(told.len() as u64, COMPLAINT_BURST);
        assert!(told.iter().all(|one| one.kept_back == 0 && one.at == 7));
        assert_eq!(heard.kept_back(), 100 - COMPLAINT_BURST);
        // A token comes back after the interval, not before.
        voice.complain(What::Failed, 7, began_ns + COMPLAINT_NS - 1);
        assert_eq!(drained(&heard), []);
        voice.complain(What::Failed, 8, began_ns + COMPLAINT_NS);
        let told = drained(&heard);
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].at, told[0].kept_back), (8, 101 - COMPLAINT_BURST));
        assert_eq!(heard.kept_back(), 0);
    }

    #[test]
    fn one_kind_takes_no_tokens_of_another() {
        let (mut voice, heard) = complaints();
        for _ in 0..100 {
            voice.complain(What::SheddingBegan, 0, 1);
        }
        let hung_up = What::HungUp {
            why: Hangup::Reset,
            times: 3,
        };
        voice.complain(hung_up, 1, 1);
        assert_eq!(heard.all(), [100, 0, 1, 0, 0, 0], "told or not");
        assert_eq!(hung_up.name(), "hung_up");
        let last = drained(&heard).pop();
        assert_eq!(
            last.map(|one| (one.what, one.kept_back)),
            Some((hung_up, 0))
        );
    }

    #[test]
    fn with_nobody_listening_the_oldest_stay_and_all_are_counted() {
        let (mut voice, heard) = complaints();
        let each_ns = |at: u64| at * COMPLAINT_NS;
        for at in 0..1_000 {
            voice.complain(What::Failed, at as u16, each_ns(at));
        }
        let told = drained(&heard);
        assert_eq!(told.len(), COMPLAINTS_DEPTH);
        assert!(told.iter().zip(0..).all(|(one, at)| one.at == at));
        assert_eq!(heard.kept_back(), 1_000 - COMPLAINTS_DEPTH as u64);
    }
}
