//! The log of what a judged loop's nodes shed.
//!
//! Invariant: it neither allocates nor faults while the loop runs, and every shed message is in one note, of its hop.

use std::sync::Arc;

use crate::budget::{HopCounters, ShedNote};

/// Most notes of sheds, at most one for a hop and each of the loop's chores: a minute of them on one hop. What comes later is
/// added to the last one of its hop.
const SHED_NOTES: usize = 1 << 16;

/// A hop that the loop's nodes offer to.
#[derive(Debug)]
struct Offer {
    /// Its place in the line.
    hop: u32,
    counters: Arc<HopCounters>,
    /// What it had shed when it was last looked at.
    shed: u64,
    /// Its last note.
    last: Option<usize>,
}

/// What a loop's nodes shed, and when.
#[derive(Debug)]
pub(super) struct Sheds {
    offers: Vec<Offer>,
    pub(super) notes: Vec<ShedNote>,
    /// When it was last looked.
    looked_ns: u64,
}

impl Sheds {
    /// Of the hops that the loop's nodes offer to, each with its place in the line.
    pub(super) fn of(offers: impl Iterator<Item = (usize, Arc<HopCounters>)>) -> Sheds {
        let offers = offers.map(|(hop, counters)| Offer {
            hop: u32::try_from(hop).unwrap_or(u32::MAX),
            counters,
            shed: 0,
            last: None,
        });
        let offers: Vec<Offer> = offers.collect();
        let touched = ShedNote {
            at_ns: 1,
            ..ShedNote::default()
        };
        // One more for each hop, so that none is without a note of its own.
        let mut notes = vec![touched; SHED_NOTES + offers.len()];
        notes.clear();
        Sheds {
            offers,
            notes,
            looked_ns: 0,
        }
    }

    /// Notes what was shed since the last call: a few loads where nothing was.
    pub(super) fn note(&mut self, now_ns: u64) {
        for offer in &mut self.offers {
            let shed = offer.counters.shed_total();
            let messages = shed - core::mem::replace(&mut offer.shed, shed);
            if messages == 0 {
                continue;
            }
            let is_full = self.notes.len() >= SHED_NOTES;
            let last = offer.last.filter(|_| is_full);
            if let Some(last) = last.and_then(|at| self.notes.get_mut(at)) {
                last.messages += messages;
                last.at_ns = now_ns;
            } else {
                offer.last = Some(self.notes.len());
                self.notes.push(ShedNote {
                    since_ns: self.looked_ns,
                    at_ns: now_ns,
                    messages,
                    hop: offer.hop,
                });
            }
        }
        self.looked_ns = now_ns;
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::Shed;

    #[test]
    fn sheds_are_noted_by_hop_when_they_are_noticed_and_none_twice() {
        let hops: Vec<Arc<HopCounters>> = (0..2).map(|_| Arc::default()).collect();
        let mut sheds = Sheds::of([(4, hops[0].clone()), (7, hops[1].clone())].into_iter());
        sheds.note(10);
        hops[0].shed(0, Shed::Full);
        hops[1].shed(0, Shed::Rejected);
        hops[1].shed(0, Shed::Rejected);
        sheds.note(20);
        sheds.note(30);
        let note = |hop, messages| ShedNote {
            since_ns: 10,
            at_ns: 20,
            messages,
            hop,
        };
        assert_eq!(sheds.notes, [note(4, 1), note(7, 2)]);
        for at_ns in 0..SHED_NOTES as u64 + 1 {
            hops[1].shed(0, Shed::Full);
            sheds.note(40 + at_ns);
        }
        assert_eq!(sheds.notes.len(), SHED_NOTES);
        let last = sheds.notes[SHED_NOTES - 1];
        // It says of all that is in it when that was.
        let span = (last.since_ns, last.at_ns);
        assert_eq!(
            (last.messages, span),
            (4, (SHED_NOTES as u64 + 36, SHED_NOTES as u64 + 40))
        );
        hops[0].shed(0, Shed::Full);
        sheds.note(1 << 40);
        assert_eq!(
            (sheds.notes[0].messages, sheds.notes[0].at_ns),
            (2, 1 << 40)
        );
    }
}
