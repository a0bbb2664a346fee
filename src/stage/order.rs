//! In which order messages come to a sink, by the times at which they were due.
//!
//! Messages of one source come in its order. Those of several are merged as they come: of two that were due within less than the
//! way takes, either may be first. How many are, and by how much, is part of what a replay is held to.
//!
//! Invariant: two comparisons a message, nothing else.

use crate::base::Envelope;
use crate::base::limits::NODES_MAX;
use crate::budget::StageCounters;

/// The latest due time of each source, and of all.
#[derive(Debug)]
pub(crate) struct Order {
    of: [u64; NODES_MAX],
    newest_ns: u64,
    newest_of: u16,
}

impl Default for Order {
    fn default() -> Order {
        Order {
            of: [0; NODES_MAX],
            newest_ns: 0,
            newest_of: 0,
        }
    }
}

impl Order {
    /// A message is done with.
    #[inline]
    pub(crate) fn note(&mut self, envelope: &Envelope, counters: &StageCounters) {
        // Of one that is older than an envelope can say, the due time is not known.
        if envelope.origin_ns == u32::MAX {
            return;
        }
        let due_ns = envelope.t_intended_ns();
        if let Some(latest_ns) = self.of.get_mut(usize::from(envelope.source)) {
            counters.out_of_order.add(u64::from(due_ns < *latest_ns));
            *latest_ns = due_ns.max(*latest_ns);
        }
        if due_ns >= self.newest_ns {
            (self.newest_ns, self.newest_of) = (due_ns, envelope.source);
        } else if envelope.source != self.newest_of {
            counters.inversions.add(1);
            counters.inversion_ns_max.raise(self.newest_ns - due_ns);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_a_later_one_is_told_by_its_source() {
        let (mut order, counters) = (Order::default(), StageCounters::default());
        for (source, due_ns) in [
            (0, 100),
            (1, 90),
            (0, 110),
            (0, 105),
            (1, 120),
            (0, 120),
            (9_999, 1),
        ] {
            let envelope = Envelope {
                t_offer_ns: due_ns,
                source,
                ..Envelope::default()
            };
            order.note(&envelope, &counters);
        }
        let saturated = Envelope {
            origin_ns: u32::MAX,
            ..Envelope::default()
        };
        order.note(&saturated, &counters);
        assert_eq!(counters.out_of_order.get(), 1);
        assert_eq!(
            (counters.inversions.get(), counters.inversion_ns_max.get()),
            (2, 119)
        );
    }
}
