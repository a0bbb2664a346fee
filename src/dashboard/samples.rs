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
            let slowest = self.slowest();
            if let Some(slowest) = slowest.map(|at| &mut self.ways[at])
                && way.total_ns > slowest.total_ns
            {
                *slowest = way;
            }
        }
    }

    fn slowest(&self) -> Option<usize> {
        (0..self.ways.len()).max_by_key(|at| self.ways[*at].total_ns)
    }

    /// What is told of those that were taken since the last call: the slowest, and others as they came.
    pub(super) fn tell(&mut self) -> Vec<Event> {
        let Some(slowest) = self.slowest() else {
            return Vec::new();
        };
        let ways = core::mem::take(&mut self.ways);
        let others = ways.len() - 1;
        let wanted = others.min(EDGE_SAMPLES_TOLD - 1);
        // Spread over all of them: a burst at the beginning is not all that is seen.
        let chosen = |nth: usize| {
            let at = nth * others / wanted;
            at + usize::from(at >= slowest)
        };
        let mut told: Vec<usize> = (0..wanted).map(chosen).collect();
        told.push(slowest);
        told.sort_unstable();
        self.shed += (ways.len() - told.len()) as u64;
        let events = told.into_iter().map(|at| {
            let shed = core::mem::take(&mut self.shed);
            Event {
                channel: self.channel,
                kind: Kind::Sample,
                key: None,
                value: value(&ways[at], &self.hops, at == slowest, self.one_in, shed),
            }
        });
        events.collect()
    }

    /// The edge had no room for so many of them.
    pub(super) fn not_told(&mut self, events: &[Event]) {
        let mine = events.iter().filter(|event| event.channel == self.channel);
        self.shed += mine.count() as u64;
    }
}

fn value(way: &Way, names: &[String], slowest: bool, one_in: u64, shed: u64) -> String {
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
        slowest,
        together: way.together as u64,
        total_ns: way.total_ns,
        hops: &hops,
        one_in,
        shed,
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

    fn told(samples: &mut Samples) -> Vec<serde_json::Value> {
        let events = samples.tell().into_iter();
        events
            .map(|event| serde_json::from_str(&event.value).unwrap())
            .collect()
    }

    #[test]
    fn the_slowest_is_always_told_and_what_is_not_told_is_counted() {
        for slowest in [0, 1, 50, 99] {
            let mut samples = samples();
            let total = |nth| if nth == slowest { 9_000 } else { 100 };
            samples.take((0..100).map(|nth| way(nth, total(nth))).collect());
            let told = told(&mut samples);
            assert_eq!(told.len(), EDGE_SAMPLES_TOLD);
            let of = |key: &str| told.iter().map(|one| one[key].clone()).collect::<Vec<_>>();
            let slow: Vec<_> = told.iter().filter(|one| one["slowest"] == true).collect();
            assert_eq!(slow.len(), 1);
            assert_eq!(
                (&slow[0]["total_ns"], &slow[0]["id"]),
                (&9_000.into(), &hash_text(slowest).into())
            );
            let mut ids = of("id");
            ids.dedup();
            assert_eq!(ids.len(), EDGE_SAMPLES_TOLD, "each once, in order");
            let shed: u64 = of("shed")
                .iter()
                .filter_map(serde_json::Value::as_u64)
                .sum();
            assert_eq!(shed, 95);
        }
    }

    #[test]
    fn few_are_all_told_and_none_is_nothing() {
        let mut samples = samples();
        assert_eq!(told(&mut samples), [] as [serde_json::Value; 0]);
        for count in 1..=EDGE_SAMPLES_TOLD as u64 {
            samples.take((0..count).map(|nth| way(nth, nth)).collect());
            assert_eq!(told(&mut samples).len() as u64, count);
        }
    }

    #[test]
    fn more_than_are_kept_are_counted_but_for_the_slowest() {
        let mut samples = samples();
        let many = 2 * KEPT_MAX as u64;
        samples.take((0..many).map(|nth| way(nth, nth)).collect());
        let told = told(&mut samples);
        let slowest = told
            .iter()
            .map(|one| one["total_ns"].as_u64())
            .max()
            .unwrap();
        assert_eq!(slowest, Some(many - 1));
        let shed: u64 = told.iter().filter_map(|one| one["shed"].as_u64()).sum();
        assert_eq!(shed + EDGE_SAMPLES_TOLD as u64, many);
    }

    #[test]
    fn what_the_edge_had_no_room_for_is_counted_with_the_next() {
        let mut samples = samples();
        samples.take(vec![way(1, 5), way(2, 6)]);
        let events = samples.tell();
        samples.not_told(&events);
        samples.take(vec![way(3, 7)]);
        assert_eq!(told(&mut samples)[0]["shed"], 2);
    }
}
