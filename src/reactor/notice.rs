//! What a loop notices of its hops and nodes while it does its housekeeping, and complains of.
//!
//! All of it is read from counters that are kept anyway, so nothing on a frame's way knows that somebody may complain.
//!
//! Invariant: a look costs some loads for each hop and node, and nothing for a frame.

use std::sync::Arc;

use crate::base::limits::SHED_QUIET_NS;
use crate::base::{Counter, Hangup, Reason, Shed};
use crate::budget::HopCounters;
use crate::control::{Voice, What};
use crate::stage::{NodeCounters, State};

/// What a loop looks after, and the voice that it has. By default it has none.
#[derive(Debug, Default)]
pub struct Notices {
    voice: Option<Voice>,
    hops: Vec<Shedding>,
    nodes: Vec<Watched>,
}

#[derive(Debug)]
struct Shedding {
    at: u16,
    counters: Arc<HopCounters>,
    /// Messages shed at the last look, by either end.
    shed: u64,
    /// When the present time of shedding was first and last seen, and what had been shed before it.
    now: Option<(u64, u64, u64)>,
    cut_off: bool,
}

#[derive(Debug)]
struct Watched {
    at: u16,
    counters: Arc<NodeCounters>,
    hung_up: [u64; Hangup::ALL.len()],
    failed: bool,
}

impl Notices {
    /// Those of hops and nodes with their numbers on the line: the hops that the loop's nodes offer to, and its nodes.
    #[must_use]
    pub fn new(
        voice: Voice,
        hops: impl Iterator<Item = (u16, Arc<HopCounters>)>,
        nodes: impl Iterator<Item = (u16, Arc<NodeCounters>)>,
    ) -> Notices {
        let hop = |(at, counters)| Shedding {
            at,
            counters,
            shed: 0,
            now: None,
            cut_off: false,
        };
        let node = |(at, counters)| Watched {
            at,
            counters,
            hung_up: [0; Hangup::ALL.len()],
            failed: false,
        };
        Notices {
            voice: Some(voice),
            hops: hops.map(hop).collect(),
            nodes: nodes.map(node).collect(),
        }
    }

    /// Looks at all counters, and complains of what is new.
    pub(crate) fn look(&mut self, now_ns: u64) {
        let Some(voice) = &mut self.voice else {
            return;
        };
        for hop in &mut self.hops {
            hop.look(voice, now_ns, SHED_QUIET_NS);
        }
        for node in &mut self.nodes {
            node.look(voice, now_ns);
        }
    }

    /// The last look: what still sheds has ended to.
    pub(crate) fn end(&mut self, now_ns: u64) {
        self.look(now_ns);
        if let Some(voice) = &mut self.voice {
            for hop in &mut self.hops {
                hop.look(voice, now_ns, 0);
            }
        }
    }
}

impl Shedding {
    fn look(&mut self, voice: &mut Voice, now_ns: u64, quiet_ns: u64) {
        // What a consumer steps over as late, stale or the oldest is shed by its hop as well.
        let shed = self.counters.shed_total() + self.counters.given_up_total();
        match &mut self.now {
            None if shed != self.shed => {
                self.now = Some((now_ns, now_ns, self.shed));
                voice.complain(What::SheddingBegan, self.at, now_ns);
            }
            Some((_, last_ns, _)) if shed != self.shed => *last_ns = now_ns,
            Some((first_ns, last_ns, before)) if now_ns - *last_ns >= quiet_ns => {
                let what = What::SheddingEnded {
                    shed: shed - *before,
                    lasted_ns: *last_ns - *first_ns,
                };
                voice.complain(what, self.at, now_ns);
                self.now = None;
            }
            _ => {}
        }
        if !self.cut_off && shed != self.shed {
            let cut_off = self.counters.tx.shed[Shed::Disconnected.index()].get();
            if cut_off > 0 {
                self.cut_off = true;
                voice.complain(What::CutOff, self.at, now_ns);
            }
        }
        self.shed = shed;
    }
}

impl Watched {
    fn look(&mut self, voice: &mut Voice, now_ns: u64) {
        let counts = self.counters.ingress.disconnected.iter();
        for ((why, seen), count) in Hangup::ALL.iter().zip(&mut self.hung_up).zip(counts) {
            let times = Counter::get(count) - *seen;
            *seen += times;
            let in_good_order = matches!(why, Hangup::Finished | Hangup::Ended);
            if times > 0 && !in_good_order {
                let why = *why;
                voice.complain(What::HungUp { why, times }, self.at, now_ns);
            }
        }
        if !self.failed && self.counters.state() == State::Failed {
            self.failed = true;
            voice.complain(What::Failed, self.at, now_ns);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::*;
    use crate::base::Discard;
    use crate::control::{Complaints, complaints};

    /// Two hops, numbered 4 and 5, and a node, 9.
    fn noticing() -> (
        Notices,
        Complaints,
        [Arc<HopCounters>; 2],
        Arc<NodeCounters>,
    ) {
        let (voice, heard) = complaints();
        let hops = [Arc::<HopCounters>::default(), Arc::default()];
        let node = Arc::<NodeCounters>::default();
        let numbered = (4..).zip(hops.clone());
        let notices = Notices::new(voice, numbered, std::iter::once((9, node.clone())));
        (notices, heard, hops, node)
    }

    fn told(heard: &Complaints) -> Vec<(What, u16, u64)> {
        let all = std::iter::from_fn(|| heard.take());
        all.map(|one| (one.what, one.at, one.at_ns)).collect()
    }

    #[test]
    fn a_time_of_shedding_is_told_at_its_beginning_and_its_end() {
        let (mut notices, heard, hops, _) = noticing();
        notices.look(1_000);
        assert_eq!(told(&heard), []);
        for at_ns in [2_000, 3_000, 5_000] {
            hops[1].shed(0, Shed::Full);
            hops[1].shed(0, Shed::Oversize);
            notices.look(at_ns);
        }
        notices.look(5_000 + SHED_QUIET_NS - 1);
        assert_eq!(told(&heard), [(What::SheddingBegan, 5, 2_000)]);
        notices.look(5_000 + SHED_QUIET_NS);
        let ended = |shed, lasted_ns| What::SheddingEnded { shed, lasted_ns };
        assert_eq!(told(&heard), [(ended(6, 3_000), 5, 5_000 + SHED_QUIET_NS)]);
        // The next time counts anew, and the end of the loop ends it.
        let again_ns = 2 * SHED_QUIET_NS;
        hops[1].shed(0, Shed::Full);
        notices.look(again_ns);
        notices.end(again_ns + 7);
        let began = (What::SheddingBegan, 5, again_ns);
        assert_eq!(told(&heard), [began, (ended(1, 0), 5, again_ns + 7)]);
        notices.end(again_ns + 9);
        assert_eq!(told(&heard), []);
    }

    #[test]
    fn what_the_consumer_steps_over_is_shed_as_well_and_what_a_failure_leaves_is_not() {
        let (mut notices, heard, hops, _) = noticing();
        for why in [
            Discard::StageFailed,
            Discard::Malformed,
            Discard::DrainDeadline,
        ] {
            hops[0].discard(0, why);
        }
        notices.look(1_000);
        assert_eq!(told(&heard), []);
        for (why, at_ns) in [
            (Discard::Late, 2_000),
            (Discard::Stale, 3_000),
            (Discard::Oldest, 4_000),
        ] {
            hops[0].discard(0, why);
            notices.look(at_ns);
        }
        hops[0].shed(0, Shed::Full);
        notices.look(5_000);
        notices.end(6_000);
        let ended = What::SheddingEnded {
            shed: 4,
            lasted_ns: 3_000,
        };
        let began = (What::SheddingBegan, 4, 2_000);
        assert_eq!(told(&heard), [began, (ended, 4, 6_000)]);
    }

    #[test]
    fn a_consumer_that_is_cut_off_is_told_once() {
        let (mut notices, heard, hops, _) = noticing();
        hops[0].shed(0, Shed::Full);
        notices.look(10);
        assert_eq!(told(&heard), [(What::SheddingBegan, 4, 10)]);
        for at_ns in [20, 30] {
            hops[0].shed(0, Shed::Disconnected);
            notices.look(at_ns);
        }
        assert_eq!(told(&heard), [(What::CutOff, 4, 20)]);
    }

    #[test]
    fn hang_ups_out_of_order_and_failures_are_told_once() {
        let (mut notices, heard, _, node) = noticing();
        node.ingress.hang_up(Hangup::Finished);
        node.ingress.hang_up(Hangup::Reset);
        node.ingress.hang_up(Hangup::Reset);
        notices.look(10);
        let reset = What::HungUp {
            why: Hangup::Reset,
            times: 2,
        };
        assert_eq!(told(&heard), [(reset, 9, 10)]);
        node.set_state(State::Failed, 15);
        notices.look(20);
        notices.end(30);
        assert_eq!(told(&heard), [(What::Failed, 9, 20)]);
    }
}
