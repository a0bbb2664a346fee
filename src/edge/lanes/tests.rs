//! Clients of any speed against channels: what they come to, and what they are told on the way.

use std::collections::BTreeMap;

use super::*;
use crate::base::Prng;
use crate::edge::channel::ChannelLimits;
use crate::edge::position::{Epoch, Position};
use crate::edge::published::Outline;
use crate::edge::sum::Sum;
use crate::overload::BucketParams;

const EPOCH: Epoch = Epoch(7);
const ID: ChannelId = ChannelId(0);
const MS: u64 = 1_000_000;

fn limits(events_max: usize) -> ChannelLimits {
    ChannelLimits {
        events_max,
        ..ChannelLimits::default()
    }
}

fn publish(channel: &mut Channel, kind: Kind, key: Option<&str>, number: u64, born_ns: u64) {
    let value = format!("{{\"n\":{number}}}");
    let outline = Outline {
        kind,
        key,
        value: &value,
        time_ms: 0,
        born_ns,
    };
    channel.publish(&outline).unwrap();
}

fn joined(channel: &Channel, wish: Wish) -> Lanes {
    let mut lanes = Lanes::default();
    lanes.subscribe(ID, channel, wish).unwrap();
    lanes
}

/// What a client makes of what it is sent, by its own rules: the whole of what a page does with a state channel.
#[derive(Default)]
struct View {
    last: u64,
    values: BTreeMap<String, String>,
    received: Vec<u64>,
    lost: u64,
    shed: u64,
    sums: u64,
    /// Until it has come so far its values are of no one moment.
    mixed_until: u64,
}

impl View {
    /// Takes at most `most` of what there is, and says how much that was.
    fn take(
        &mut self,
        lanes: &mut Lanes,
        channel: &mut Channel,
        most: usize,
        now_ns: u64,
    ) -> usize {
        for taken in 0..most {
            let out = lanes.next(core::slice::from_ref(channel), now_ns).unwrap();
            let Some(out) = out else { return taken };
            let mut snapshot = false;
            match out {
                Out::Own(_) => {}
                Out::Snapshot(_) => snapshot = true,
                Out::Event {
                    event,
                    skipped,
                    head,
                    ..
                } => {
                    if skipped > 0 {
                        self.mixed_until = self.mixed_until.max(head);
                    }
                    if let Some(offset) = event.offset() {
                        assert_eq!(offset, self.last + 1 + skipped, "no hole that was not told");
                        self.last = offset;
                        self.received.push(offset);
                    }
                    self.apply(event.json());
                }
                Out::Gap(_, gap) => {
                    assert!(gap.from > self.last && gap.to >= gap.from);
                    self.lost += gap.to - self.last;
                    self.last = gap.to;
                }
                Out::Shed(_, count, _) => self.shed += count,
            }
            if snapshot {
                let last = channel.last();
                self.restart(channel.snapshot().unwrap().json());
                lanes.snapshot_is_of(ID, last);
            }
            lanes.taken(now_ns);
            let counts = lanes.counts(core::slice::from_ref(channel));
            assert!(counts.adds_up(), "{counts:?}");
        }
        most
    }

    fn apply(&mut self, json: &str) {
        let object: serde_json::Value = serde_json::from_str(json).unwrap();
        let value = format!("{{\"n\":{}}}", object["n"]);
        // The tests' keys follow from their numbers.
        let key = format!("k{}", object["n"].as_u64().unwrap() % 10);
        self.values.insert(key, value);
        if let Some(sum) = object.get("sum").filter(|_| self.last >= self.mixed_until) {
            let own = Sum::of(self.values.iter().map(|(k, v)| (k.as_str(), v.as_str())));
            assert_eq!(u64::from(own.value()), sum.as_u64().unwrap());
            self.sums += 1;
        }
    }

    fn restart(&mut self, json: &str) {
        let object: serde_json::Value = serde_json::from_str(json).unwrap();
        let data = object["data"].as_object().unwrap().iter();
        self.values = data.map(|(k, v)| (k.clone(), v.to_string())).collect();
        self.last = object["o"].as_u64().unwrap();
        self.mixed_until = 0;
        let own = Sum::of(self.values.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        assert_eq!(u64::from(own.value()), object["sum"].as_u64().unwrap());
    }
}

#[test]
fn a_client_of_any_speed_has_the_state_of_the_channel_once_it_has_caught_up() {
    for seed in 0..200 {
        let mut prng = Prng::new(seed);
        let mut channel = Channel::new("dag/line", Lane::State, limits(50), EPOCH);
        let mut lanes = joined(&channel, Wish::default());
        let mut view = View::default();
        for _ in 0..300 {
            for _ in 0..prng.below(40) {
                let number = prng.below(1_000);
                let key = format!("k{}", number % 10);
                publish(&mut channel, Kind::NodeState, Some(&key), number, 0);
            }
            let most = prng.below(20) as usize;
            view.take(&mut lanes, &mut channel, most, 0);
            // Now and then the connection is another one, from where the client is.
            if prng.below(20) == 0 {
                let since = Position {
                    epoch: EPOCH,
                    offset: view.last,
                };
                let wish = Wish {
                    since: Some(Since::After(since)),
                    ..Wish::default()
                };
                lanes = joined(&channel, wish);
            }
        }
        view.take(&mut lanes, &mut channel, usize::MAX, 0);
        assert_eq!(view.last, channel.last());
        let own = Sum::of(view.values.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        assert_eq!(Some(own.value()), channel.sum(), "seed {seed}");
    }
}

#[test]
fn a_client_that_keeps_up_gets_every_event_and_the_sums() {
    let mut channel = Channel::new("dag/line", Lane::State, limits(1_000), EPOCH);
    let mut lanes = joined(&channel, Wish::default());
    let mut view = View::default();
    for number in 0..640 {
        publish(
            &mut channel,
            Kind::NodeState,
            Some(&format!("k{}", number % 10)),
            number,
            0,
        );
        view.take(&mut lanes, &mut channel, 100, 0);
    }
    // The first one was in the snapshot.
    assert_eq!(view.received.len(), 639);
    assert_eq!(view.sums, 10);
    assert_eq!(
        (lanes.counts(&[]).sent, lanes.counts(&[]).skipped),
        (639, 0)
    );
}

#[test]
fn one_far_behind_gets_each_key_once() {
    let mut channel = Channel::new("dag/line", Lane::State, limits(1_000), EPOCH);
    let mut lanes = joined(&channel, Wish::default());
    let mut view = View::default();
    view.take(&mut lanes, &mut channel, 10, 0);
    for number in 0..(EDGE_CONFLATE_FROM + 5) {
        publish(
            &mut channel,
            Kind::NodeState,
            Some(&format!("k{}", number % 10)),
            number,
            0,
        );
    }
    assert_eq!(view.take(&mut lanes, &mut channel, 1_000, 0), 10);
    assert_eq!(lanes.counts(&[]).skipped, EDGE_CONFLATE_FROM + 5 - 10);
}

#[test]
fn what_a_stream_loses_for_a_slow_client_is_told_and_adds_up() {
    for seed in 0..50 {
        let mut prng = Prng::new(seed);
        let numbered = seed % 2 == 0;
        let mut channel = match numbered {
            true => Channel::new("trades/all", Lane::Stream, limits(30), EPOCH),
            false => Channel::passing("trades/all", limits(30), EPOCH),
        };
        let mut lanes = joined(&channel, Wish::default());
        let (mut view, mut got, mut published) = (View::default(), 0, 0);
        for _ in 0..100 {
            for _ in 0..prng.below(20) {
                publish(&mut channel, Kind::Sample, None, published, 0);
                published += 1;
            }
            view.take(&mut lanes, &mut channel, prng.below(15) as usize, 0);
        }
        view.take(&mut lanes, &mut channel, usize::MAX, 0);
        got += lanes.counts(&[]).sent;
        assert_eq!(got + view.lost + view.shed, published);
        assert!(view.lost + view.shed > 0, "the test has a slow client");
        assert_eq!(view.lost > 0, numbered);
    }
}

#[test]
fn what_is_older_than_the_client_wants_is_shed_and_told() {
    let mut channel = Channel::passing("stats/line", limits(100), EPOCH);
    let wish = Wish {
        budget_ns: Some(10 * MS),
        ..Wish::default()
    };
    let mut lanes = joined(&channel, wish);
    for at in 0..20 {
        publish(&mut channel, Kind::HopStats, None, at, at * MS);
    }
    let now_ns = 25 * MS;
    let out = lanes.next(core::slice::from_ref(&channel), now_ns).unwrap();
    assert!(
        matches!(out, Some(Out::Shed(_, 15, ShedWhy::Deadline))),
        "{out:?}"
    );
    lanes.taken(now_ns);
    let mut view = View::default();
    assert_eq!(view.take(&mut lanes, &mut channel, 100, now_ns), 5);
}

#[test]
fn a_rate_lets_the_newest_of_a_state_through_and_says_when_to_look_again() {
    let mut channel = Channel::new("dag/line", Lane::State, limits(1_000), EPOCH);
    let wish = Wish {
        rate: Some(Bucket::new(BucketParams::new(10, 1).unwrap())),
        ..Wish::default()
    };
    let mut lanes = joined(&channel, wish);
    let mut view = View::default();
    view.take(&mut lanes, &mut channel, 10, 0);
    let (mut now_ns, mut got) = (0, 0);
    for number in 0..1_000 {
        now_ns = number * MS;
        publish(
            &mut channel,
            Kind::NodeState,
            Some("k0"),
            number * 10,
            now_ns,
        );
        got += view.take(&mut lanes, &mut channel, 100, now_ns);
    }
    assert!((9..=11).contains(&got), "{got} in a second");
    assert!(lanes.due_ns() > now_ns && lanes.due_ns() <= now_ns + 101 * MS);
    now_ns = lanes.due_ns();
    view.take(&mut lanes, &mut channel, 100, now_ns);
    assert_eq!(view.values["k0"], "{\"n\":9990}");
}

#[test]
fn critical_events_are_sent_again_until_they_are_acknowledged() {
    let mut channel = Channel::new("alerts/line", Lane::Critical, limits(100), EPOCH);
    let wish = Wish {
        acks: true,
        ..Wish::default()
    };
    let mut lanes = joined(&channel, wish);
    publish(&mut channel, Kind::Error, None, 1, 0);
    publish(&mut channel, Kind::Error, None, 2, 0);
    let take = |lanes: &mut Lanes, now_ns: u64| {
        let mut offsets = Vec::new();
        while let Some(Out::Event { event, skipped, .. }) =
            lanes.next(core::slice::from_ref(&channel), now_ns).unwrap()
        {
            assert_eq!(skipped, 0);
            offsets.extend(event.offset());
            lanes.taken(now_ns);
        }
        offsets
    };
    assert_eq!(take(&mut lanes, 0), [1, 2]);
    for (at, due_ns) in EDGE_RESEND_NS.into_iter().enumerate() {
        assert_eq!(lanes.due_ns(), due_ns);
        lanes.resend(due_ns - 1);
        assert!(take(&mut lanes, due_ns - 1).is_empty());
        lanes.resend(due_ns);
        // After the first time the first one is acknowledged.
        let expected: &[u64] = if at == 0 { &[1, 2] } else { &[2] };
        assert_eq!(take(&mut lanes, due_ns), expected);
        if at == 0 {
            assert!(lanes.ack(ID, 1, due_ns));
            // What is left begins anew.
            lanes.resend(due_ns + EDGE_RESEND_NS[0]);
            break;
        }
    }
    let mut lanes = joined(
        &channel,
        Wish {
            acks: true,
            ..Wish::default()
        },
    );
    assert_eq!(take(&mut lanes, 0), [1, 2]);
    for due_ns in EDGE_RESEND_NS {
        lanes.resend(due_ns);
        assert_eq!(take(&mut lanes, due_ns), [1, 2]);
    }
    assert_eq!(lanes.due_ns(), u64::MAX, "it is not sent for ever");
    assert!(!lanes.is_deaf(2 * 1_000 * MS) && lanes.is_deaf(5_000 * MS));
    assert!(!lanes.ack(ID, 3, 0), "that was never given");
    assert!(lanes.ack(ID, 2, 0) && !lanes.is_deaf(u64::MAX));
    let counts = lanes.counts(core::slice::from_ref(&channel));
    assert_eq!((counts.due, counts.resent, counts.sent), (2, 6, 8));
    assert!(counts.adds_up(), "{counts:?}");
}

#[test]
fn critical_events_that_are_gone_end_the_connection() {
    let mut channel = Channel::new("alerts/line", Lane::Critical, limits(10), EPOCH);
    let mut lanes = joined(&channel, Wish::default());
    for number in 0..11 {
        publish(&mut channel, Kind::Error, None, number, 0);
    }
    let lost = lanes.next(core::slice::from_ref(&channel), 0);
    assert_eq!(lost.err(), Some(TooSlow::Critical));
}

#[test]
fn own_messages_come_first_then_critical_then_state_then_streams() {
    let mut channels = [
        Channel::passing("stats/line", limits(10), EPOCH),
        Channel::new("dag/line", Lane::State, limits(10), EPOCH),
        Channel::new("alerts/line", Lane::Critical, limits(10), EPOCH),
    ];
    let mut lanes = Lanes::default();
    for (at, channel) in channels.iter().enumerate() {
        let wish = Wish {
            no_snapshot: true,
            ..Wish::default()
        };
        lanes
            .subscribe(ChannelId(at as u32), channel, wish)
            .unwrap();
    }
    publish(&mut channels[0], Kind::HopStats, None, 1, 0);
    publish(&mut channels[1], Kind::NodeState, Some("k2"), 2, 0);
    publish(&mut channels[2], Kind::Error, None, 3, 0);
    lanes.push("{\"type\":\"ping\"}").unwrap();
    let mut order = Vec::new();
    while let Some(out) = lanes.next(&channels, 0).unwrap() {
        order.push(match out {
            Out::Own(_) => None,
            Out::Event { event, .. } => Some(event.kind()),
            other => panic!("{other:?}"),
        });
        lanes.taken(0);
    }
    assert_eq!(
        order,
        [
            None,
            Some(Kind::Error),
            Some(Kind::NodeState),
            Some(Kind::HopStats)
        ]
    );
}

#[test]
fn positions_of_another_life_and_beyond_the_log_are_told_and_answered_with_a_snapshot() {
    let mut channel = Channel::new("dag/line", Lane::State, limits(10), EPOCH);
    for number in 0..30 {
        publish(
            &mut channel,
            Kind::NodeState,
            Some(&format!("k{}", number % 10)),
            number,
            0,
        );
    }
    let after = |epoch: Epoch, offset: u64| Some(Since::After(Position { epoch, offset }));
    for (since, from, to, why) in [
        (after(EPOCH, 5), 6, 30, GapWhy::History),
        (after(EPOCH, 31), 31, 31, GapWhy::Epoch),
        (after(Epoch(8), 29), 1, 30, GapWhy::Epoch),
    ] {
        let joined = channel.join(since, true);
        assert_eq!(joined.gap, Some(Missing { from, to, why }));
        assert!(joined.snapshot && !joined.recovered && joined.at == 30);
    }
    let joined = channel.join(after(EPOCH, 20), true);
    assert!(joined.recovered && !joined.snapshot && joined.gap.is_none());
    assert_eq!((joined.at, joined.replayed), (20, 10));
    let joined = channel.join(after(EPOCH, 30), true);
    assert!(
        joined.recovered && joined.replayed == 0,
        "also with nothing in between"
    );
}

#[test]
fn a_client_has_no_more_channels_and_own_messages_than_it_may() {
    let mut hub = crate::edge::Hub::new(EPOCH);
    let mut lanes = Lanes::default();
    for at in 0..=EDGE_CHANNELS_MAX {
        let id = hub
            .open(&format!("c/{at}"), Lane::Stream, limits(1))
            .unwrap();
        let got = lanes.subscribe(id, hub.channel(id).unwrap(), Wish::default());
        assert_eq!(got.is_ok(), at < EDGE_CHANNELS_MAX);
    }
    let id = hub.find("c/0").unwrap();
    let twice = lanes.subscribe(id, hub.channel(id).unwrap(), Wish::default());
    assert_eq!(twice.err(), Some(NoSubscription::Twice));
    assert!(lanes.unsubscribe(id, 0) && !lanes.unsubscribe(id, 0));
    for _ in 0..EDGE_OWN_MESSAGES_MAX {
        lanes.push("{}").unwrap();
    }
    assert_eq!(lanes.push("{}"), Err(TooSlow::Own));
}

#[test]
fn what_stands_behind_an_acknowledged_event_and_what_comes_late_is_sent_again_too() {
    let mut channel = Channel::new("a/b", Lane::Critical, limits(100), EPOCH);
    (0..3).for_each(|nth| publish(&mut channel, Kind::Error, None, nth, 0));
    let wish = Wish {
        acks: true,
        ..Wish::default()
    };
    let mut lanes = joined(&channel, wish);
    let take = |lanes: &mut Lanes, channel: &Channel, now_ns: u64| {
        let mut all = Vec::new();
        while let Some(out) = lanes.next(core::slice::from_ref(channel), now_ns).unwrap() {
            if let Out::Event { event, .. } = out {
                all.extend(event.offset());
            }
            lanes.taken(now_ns);
        }
        all
    };
    assert_eq!(take(&mut lanes, &channel, 0), [1, 2, 3]);
    // One of them is acknowledged: the others have their times from there on.
    assert!(lanes.ack(ID, 1, 100 * MS));
    assert_eq!(lanes.due_ns(), 100 * MS + EDGE_RESEND_NS[0]);
    for after_ns in EDGE_RESEND_NS {
        lanes.resend(100 * MS + after_ns);
        assert_eq!(take(&mut lanes, &channel, 100 * MS + after_ns), [2, 3]);
    }
    assert_eq!(lanes.due_ns(), u64::MAX);
    // All times are up, and another one comes: it has its own.
    publish(&mut channel, Kind::Error, None, 3, 0);
    let later_ns = 10_000 * MS;
    assert_eq!(take(&mut lanes, &channel, later_ns), [4]);
    assert_eq!(lanes.due_ns(), later_ns + EDGE_RESEND_NS[0]);
    lanes.resend(later_ns + EDGE_RESEND_NS[0]);
    assert_eq!(
        take(&mut lanes, &channel, later_ns + EDGE_RESEND_NS[0]),
        [2, 3, 4]
    );
}

#[test]
fn one_that_goes_back_behind_what_it_acknowledged_gets_it_again_however_slow_it_is() {
    let mut channel = Channel::new("alerts/line", Lane::Critical, limits(1_000), EPOCH);
    let wish = Wish {
        acks: true,
        ..Wish::default()
    };
    let mut lanes = joined(&channel, wish);
    for number in 0..10 {
        publish(&mut channel, Kind::Error, None, number, 0);
    }
    let mut view = View::default();
    view.take(&mut lanes, &mut channel, 100, 1);
    assert!(lanes.ack(ID, 10, 2));
    let since = Some(Since::After(Position {
        epoch: EPOCH,
        offset: 0,
    }));
    assert!(lanes.resync(ID, &channel, since));
    let mut view = View::default();
    view.take(&mut lanes, &mut channel, 3, 3);
    // What it was sent is sent again, and what it was not still waits.
    lanes.resend(5_000 * MS);
    let counts = lanes.counts(core::slice::from_ref(&channel));
    assert!(counts.adds_up(), "{counts:?}");
    assert_eq!((counts.resent, counts.waiting), (3, 10));
}
