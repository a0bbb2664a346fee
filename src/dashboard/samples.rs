//! The ways of single messages, for those who follow a line: a few of all that are followed, the slowest always among them.
//!
//! Invariant: the line follows messages only while somebody follows the channel, and what is not told is counted.

use crate::base::limits::{EDGE_SAMPLES_TOLD, SAMPLES_PER_S};
use crate::base::units::hash_text;
use crate::budget::follow::Way;
use crate::budget::report::ends;
use crate::edge::event::{Body, Sample, SampleHop};
use crate::edge::{ChannelId, Event, Kind};
use crate::topology::{Rate, Running};

/// Ways that are kept between two tellings: all that come in a second.
const KEPT_MAX: usize = SAMPLES_PER_S as usize;

/// Chooses what is told.
#[derive(Debug)]
pub(super) struct Samples {
    channel: ChannelId,
    /// The names of the line's hops.
    hops: Vec<String>,
    ways: Vec<Way>,
    /// Not told since the last one that was.
    shed: u64,
    /// Messages without a whole way, as they were counted last.
    incomplete: u64,
    one_in: u64,
}

impl Samples {
    pub(super) fn new(channel: ChannelId) -> Samples {
        Samples {
            channel,
            hops: Vec::new(),
            ways: Vec::new(),
            shed: 0,
            incomplete: 0,
            one_in: 0,
        }
    }

    /// Takes what the line has followed, if anybody wants it.
    pub(super) fn look(&mut self, running: &mut Running, is_followed: bool) {
        running.sample(if is_followed { Rate::Paced } else { Rate::Off });
        let ways = running.ways();
        if let Some(samples) = running.samples() {
            let incomplete = samples.counts().incomplete;
            self.shed += incomplete - core::mem::replace(&mut self.incomplete, incomplete);
            self.one_in = samples.one_in().unwrap_or(self.one_in);
        }
        if !is_followed {
            (self.ways, self.shed) = (Vec::new(), 0);
            return;
        }
        if self.hops.is_empty() {
            self.hops = running.hop_names().map(str::to_owned).collect();
        }
        self.take(ways);
    }

    fn take(&mut self, ways: Vec<Way>) {
        for way in ways {
            if self.ways.len() < KEPT_MAX {
                self.ways.push(way);
                continue;
            }
            self.shed += 1;
            let slowest = slowest(&self.ways);
            if let Some(slowest) = slowest.map(|at| &mut self.ways[at])
                && way.total_ns > slowest.total_ns
            {
                *slowest = way;
            }
        }
    }

    /// What is told of those that were taken since the last call: the slowest, and others as they came.
    pub(super) fn tell(&mut self) -> Vec<Event> {
        let event = |told: Told| Event {
            channel: self.channel,
            kind: Kind::Sample,
            key: None,
            value: value(&told, &self.hops, self.one_in),
        };
        let chosen = choose(core::mem::take(&mut self.ways), &mut self.shed);
        chosen.into_iter().map(event).collect()
    }

    /// The edge had no room for so many of them.
    pub(super) fn not_told(&mut self, events: &[Event]) {
        let mine = events.iter().filter(|event| event.channel == self.channel);
        self.shed += mine.count() as u64;
    }
}

/// What is told of one message.
#[derive(Debug)]
struct Told {
    way: Way,
    slowest: bool,
    /// Not told since the one before.
    shed: u64,
}

/// The slowest of these, and some others of them; what is not chosen is counted with those that were not before.
fn choose(ways: Vec<Way>, shed: &mut u64) -> Vec<Told> {
    let Some(slowest) = slowest(&ways) else {
        return Vec::new();
    };
    let others = ways.len() - 1;
    let wanted = others.min(EDGE_SAMPLES_TOLD - 1);
    *shed += (others - wanted) as u64;
    // Spread over all of them: a burst at the beginning is not all that is seen.
    let place = |nth: usize| {
        let at = nth * others / wanted;
        at + usize::from(at >= slowest)
    };
    let chosen: Vec<usize> = (0..wanted).map(place).collect();
    let ways = ways.into_iter().enumerate();
    let told = ways.filter(|(at, _)| *at == slowest || chosen.contains(at));
    told.map(|(at, way)| Told {
        way,
        slowest: at == slowest,
        shed: core::mem::take(shed),
    })
    .collect()
}

fn slowest(ways: &[Way]) -> Option<usize> {
    (0..ways.len()).max_by_key(|at| ways[*at].total_ns)
}

fn value(told: &Told, names: &[String], one_in: u64) -> String {
    let way = &told.way;
    let name = |hop: usize| names.get(hop).map_or("", String::as_str);
    let hops = way.stops.iter().map(|stop| SampleHop {
        hop: name(stop.hop),
        after: stop.after.map(|at| at as u64),
        at_ns: stop.at_ns,
        wait_ns: stop.wait_ns,
        service_ns: stop.service_ns,
        gap_ns: stop.gap_ns,
    });
    let hops: Vec<SampleHop<'_>> = hops.collect();
    Sample {
        id: &hash_text(way.due_ns),
        source: hops.first().map_or("", |first| ends(first.hop).0),
        left: way.has_left,
        slowest: told.slowest,
        together: way.together as u64,
        total_ns: way.total_ns,
        hops: &hops,
        one_in,
        shed: told.shed,
    }
    .value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::follow::Stop;
    use crate::edge::{ChannelLimits, Epoch, Hub};

    fn samples() -> Samples {
        let mut hub = Hub::new(Epoch(1));
        let channel = hub.open_passing("samples/line", ChannelLimits::default());
        let mut samples = Samples::new(channel.unwrap());
        samples.hops = vec!["in->out".to_owned()];
        samples
    }

    fn way(due_ns: u64, total_ns: u64) -> Way {
        Way {
            due_ns,
            total_ns,
            stops: vec![Stop::default()],
            ..Way::default()
        }
    }

    /// What is told of messages that took so long.
    fn told(samples: &mut Samples, totals_ns: impl Iterator<Item = u64>) -> Vec<Told> {
        let ways = totals_ns.enumerate();
        samples.take(ways.map(|(nth, ns)| way(nth as u64, ns)).collect());
        choose(core::mem::take(&mut samples.ways), &mut samples.shed)
    }

    fn shed(told: &[Told]) -> u64 {
        told.iter().map(|one| one.shed).sum()
    }

    #[test]
    fn the_slowest_is_always_told_and_what_is_not_told_is_counted() {
        for slowest in [0, 1, 50, 99] {
            let total = |nth| if nth == slowest { 9_000 } else { 100 };
            let told = told(&mut samples(), (0..100).map(total));
            let slow: Vec<&Told> = told.iter().filter(|one| one.slowest).collect();
            assert_eq!(slow.len(), 1);
            assert_eq!((slow[0].way.due_ns, slow[0].way.total_ns), (slowest, 9_000));
            let dues = told.iter().map(|one| one.way.due_ns);
            assert!(
                dues.is_sorted_by(|one, next| one < next),
                "each once, in order"
            );
            assert_eq!((told.len(), shed(&told)), (EDGE_SAMPLES_TOLD, 95));
        }
    }

    #[test]
    fn few_are_all_told_and_none_is_nothing() {
        for count in 0..=EDGE_SAMPLES_TOLD as u64 {
            let told = told(&mut samples(), 0..count);
            assert_eq!((told.len() as u64, shed(&told)), (count, 0));
        }
    }

    #[test]
    fn more_than_are_kept_are_counted_but_for_the_slowest() {
        let many = 2 * KEPT_MAX as u64;
        let told = told(&mut samples(), 0..many);
        let slowest = told.iter().map(|one| one.way.total_ns).max();
        assert_eq!(slowest, Some(many - 1));
        assert_eq!(shed(&told) + EDGE_SAMPLES_TOLD as u64, many);
    }

    #[test]
    fn what_the_edge_had_no_room_for_is_counted_with_the_next() {
        let mut samples = samples();
        samples.take(vec![way(1, 5), way(2, 6)]);
        let events = samples.tell();
        assert_eq!(events.len(), 2);
        samples.not_told(&events);
        samples.take(vec![way(3, 7)]);
        let events = samples.tell();
        assert!(events[0].value.ends_with(r#""one_in":0,"shed":2}"#));
    }
}
