//! What the host did to a frame: a gap, a core that ran slowly, or nothing.
//!
//! Invariant: a gap anywhere on the line counts, since a frame may wait behind it; a slow core only where the frame was
//! worked on.

use hopline::budget::pace::Slowed;
use hopline::budget::report::ends;
use hopline::budget::taint::Gaps;
use hopline::budget::{Evidence, LoopEvidence, Passage};

/// What the host did to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    /// Nothing.
    None,
    /// A gap touched it.
    Gap,
    /// No gap did, but a core on its way ran slowly meanwhile.
    Slowed,
}

impl Touch {
    /// Whether the frame is the program's alone.
    pub(super) fn is_clean(self) -> bool {
        self == Touch::None
    }

    /// Of two frames that make one figure.
    pub(super) fn worse(self, other: Touch) -> Touch {
        match (self, other) {
            (Touch::Gap, _) | (_, Touch::Gap) => Touch::Gap,
            (Touch::None, other) => other,
            (Touch::Slowed, _) => Touch::Slowed,
        }
    }
}

/// What the host did, and to which frames.
pub(super) struct Host<'a> {
    pub(super) gaps: &'a Gaps,
    pub(super) exposure_ns: u64,
    /// By loop.
    pub(super) slowed: Vec<Slowed>,
}

impl<'a> Host<'a> {
    pub(super) fn new(
        evidence: &Evidence,
        gaps: &'a Gaps,
        exposure_ns: u64,
        from_ns: u64,
        usual_work_ns: Option<u64>,
    ) -> Host<'a> {
        let loops = evidence.loops.iter();
        let slowed = loops.map(|noted| Slowed::find(noted, from_ns, usual_work_ns));
        Host {
            gaps,
            exposure_ns,
            slowed: slowed.collect(),
        }
    }

    /// What it did to a message since `from_ns`, on one loop or on any.
    pub(super) fn touch(&self, passage: &Passage, from_ns: u64, on: Option<usize>) -> Touch {
        if self.gaps.taint(passage, self.exposure_ns) {
            return Touch::Gap;
        }
        let done_ns = passage.done_ns();
        let mut loops = self.slowed.iter().enumerate();
        if loops
            .any(|(at, slowed)| on.is_none_or(|on| on == at) && slowed.touches(from_ns, done_ns))
        {
            return Touch::Slowed;
        }
        Touch::None
    }

    /// Messages that were shed on a hop, after `from_ns`, while the host did nothing: from one look to the next no gap lasted,
    /// and no core ran slowly. That is only known of loops that do not sleep.
    pub(super) fn shed_clean(&self, evidence: &Evidence, hop: usize, from_ns: u64) -> u64 {
        let notes = evidence.loops.iter().flat_map(|noted| &noted.sheds);
        let of_hop = notes.filter(|note| note.hop as usize == hop && note.since_ns >= from_ns);
        let clean = of_hop.filter(|note| {
            let (since_ns, until_ns) = (note.since_ns, note.at_ns.saturating_add(1));
            let is_slow = |slowed: &Slowed| slowed.touches(since_ns, until_ns);
            self.gaps.first_in(since_ns, until_ns).is_none() && !self.slowed.iter().any(is_slow)
        });
        clean.map(|note| note.messages).sum()
    }
}

/// The loop of a hop's consumer.
pub(super) fn consumer_loop(evidence: &Evidence, hop: &str) -> Option<usize> {
    let (_, consumer) = ends(hop);
    let runs_it = |noted: &LoopEvidence| noted.nodes.iter().any(|node| node == consumer);
    evidence.loops.iter().position(runs_it)
}
