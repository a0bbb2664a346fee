//! What happened when: frames, gaps, sheds and depth of a run in slices of equal length.
//!
//! Invariant: every frame and every shed message is in one slice.

use hopline::budget::taint::Gaps;
use hopline::budget::{Evidence, HopEvidence};

use super::model::Slice;
use super::touch::Touch;
use hopline::budget::ways::dequeue_ns;

/// Slices of the timeline: a pixel or more each on any page.
const SLICES: u64 = 200;

/// A frame on the timeline: when it was due, what it took from then, and what the host did to it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at_ns: u64,
    pub(super) took_ns: u64,
    pub(super) touch: Touch,
}

/// The slices of the measured span.
pub(super) fn timeline(
    evidence: &Evidence,
    frames: impl Iterator<Item = Due>,
    gaps: &Gaps,
    from_ns: u64,
    until_ns: u64,
) -> Vec<Slice> {
    let width_ns = (until_ns.saturating_sub(from_ns) / SLICES).max(1);
    let mut slices: Vec<Slice> = (0..SLICES)
        .map(|at| {
            let begin_ns = from_ns + at * width_ns;
            Slice {
                at_ns: at * width_ns,
                gap_ns: gaps.time_in(begin_ns, begin_ns + width_ns),
                ..Slice::default()
            }
        })
        .collect();
    let place = |at_ns: u64| ((at_ns - from_ns) / width_ns).min(SLICES - 1) as usize;
    for frame in frames.filter(|frame| frame.at_ns >= from_ns) {
        let slice = &mut slices[place(frame.at_ns)];
        slice.frames += 1;
        slice.max_ns = slice.max_ns.max(frame.took_ns);
        slice.tainted += u64::from(!frame.touch.is_clean());
        slice.slowed += u64::from(frame.touch == Touch::Slowed);
    }
    let sheds = evidence.loops.iter().flat_map(|noted| &noted.sheds);
    for shed in sheds.filter(|shed| shed.at_ns >= from_ns) {
        slices[place(shed.at_ns)].shed += shed.messages;
    }
    for hop in &evidence.hops {
        depths(hop, &mut slices, from_ns, width_ns);
    }
    slices
}

/// Raises each slice to the most messages that waited on a hop within it: those that were offered and not yet taken.
fn depths(hop: &HopEvidence, slices: &mut [Slice], from_ns: u64, width_ns: u64) {
    let mut offered: Vec<u64> = hop.passages.iter().map(|one| one.t_offer_ns).collect();
    let mut taken: Vec<u64> = hop.passages.iter().map(dequeue_ns).collect();
    offered.sort_unstable();
    taken.sort_unstable();
    let mut ins = offered.partition_point(|at_ns| *at_ns < from_ns);
    let mut outs = taken.partition_point(|at_ns| *at_ns < from_ns).min(ins);
    for (end_ns, slice) in (1..).map(|nth| from_ns + nth * width_ns).zip(slices) {
        let mut deepest = ins - outs;
        while let Some(in_ns) = offered.get(ins).filter(|in_ns| **in_ns < end_ns) {
            while outs < ins && taken[outs] <= *in_ns {
                outs += 1;
            }
            ins += 1;
            deepest = deepest.max(ins - outs);
        }
        while outs < ins && taken[outs] < end_ns {
            outs += 1;
        }
        slice.depth_max = slice.depth_max.max(deepest as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hopline::budget::{LoopEvidence, Passage, ShedNote};

    fn passage(offer: u64, dequeue: u64) -> Passage {
        Passage {
            t_offer_ns: offer,
            wait_ns: (dequeue - offer) as u32,
            service_ns: 10,
            ..Passage::default()
        }
    }

    fn of(hops: Vec<Vec<Passage>>, sheds: Vec<ShedNote>) -> Vec<Slice> {
        let hops = hops.into_iter().map(|passages| HopEvidence {
            passages,
            ..HopEvidence::default()
        });
        let evidence = Evidence {
            hops: hops.collect(),
            loops: vec![LoopEvidence {
                sheds,
                ..LoopEvidence::default()
            }],
            ..Evidence::default()
        };
        let none = std::iter::empty();
        // Slices of 100 ns from 1000 on.
        timeline(&evidence, none, &Gaps::default(), 1_000, 21_000)
    }

    #[test]
    fn depth_is_what_waits_on_the_fullest_hop() {
        let one = vec![
            passage(900, 1_250),
            passage(1_010, 1_260),
            passage(1_020, 1_270),
            passage(1_280, 1_280),
        ];
        let slices = of(vec![one, vec![passage(1_250, 1_999)]], Vec::new());
        let depths: Vec<u64> = slices.iter().map(|slice| slice.depth_max).collect();
        assert_eq!(depths[..4], [3, 3, 3, 1]);
        assert_eq!(depths[9..12], [1, 0, 0], "taken at 1999");
        assert_eq!(slices.len(), 200);
    }

    #[test]
    fn sheds_are_in_the_slice_in_which_they_were_noticed() {
        let shed = |at_ns, messages| ShedNote {
            at_ns,
            messages,
            ..ShedNote::default()
        };
        let slices = of(
            Vec::new(),
            vec![
                shed(999, 7),
                shed(1_100, 2),
                shed(1_150, 3),
                shed(90_000, 4),
            ],
        );
        let sheds: Vec<u64> = slices.iter().map(|slice| slice.shed).collect();
        assert_eq!((sheds[1], sheds[199]), (5, 4), "the warm-up's do not count");
        assert_eq!(sheds.iter().sum::<u64>(), 9);
    }
}
