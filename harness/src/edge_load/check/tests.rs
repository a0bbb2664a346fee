use hopline::base::Prng;
use hopline::edge::event::with_skip;
use hopline::edge::{Channel as Served, ChannelLimits, Kind, Lane, Next, Outline, Since};

use super::*;
use crate::edge_load::message::Head;

const EPOCH: Epoch = Epoch(7);

/// A channel of a server, and a client of it: what the one says the other is told, but for what a test does to it on the way.
struct Pair {
    served: Served,
    channel: Channel,
    follow: Follow,
    checks: Checks,
    prng: Prng,
}

/// What a test does to an event on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Nothing,
    Drops,
    Doubles,
    Alters,
    Skips(u64),
}

impl Pair {
    fn new(lane: Lane, name: &str) -> Pair {
        let mut pair = Pair {
            served: Served::new(name, lane, ChannelLimits::default(), EPOCH),
            channel: Channel::new(name),
            follow: Follow::new(0),
            checks: Checks::default(),
            prng: Prng::new(5),
        };
        pair.publish(30);
        pair.join();
        pair
    }

    fn publish(&mut self, count: u64) {
        for _ in 0..count {
            let (node, depth) = (self.prng.below(9), self.prng.below(1_000));
            let value = format!(r#"{{"node_id":"n{node}","depth":{depth}}}"#);
            let key = format!("node:n{node}");
            let is_state = self.served.lane() == Lane::State;
            let outline = Outline {
                kind: Kind::NodeState,
                key: is_state.then_some(key.as_str()),
                value: &value,
                time_ms: 5,
                born_ns: 0,
            };
            self.served.publish(&outline).unwrap();
        }
    }

    /// Begins a connection, from where the client is.
    fn join(&mut self) {
        let named = self.follow.position(&self.channel);
        self.follow.begin(named);
        let joined = self.served.join(named.map(Since::After), true);
        let whose = Whose {
            client: 3,
            channel: &self.channel,
        };
        let (last, checks) = (self.served.last(), &mut self.checks);
        let (recovered, replayed) = (joined.recovered, joined.replayed);
        self.follow
            .subscribed(EPOCH, last, recovered, replayed, whose, checks);
        if let Some(gap) = joined.gap {
            let why = hopline::base::Reason::name(gap.why);
            self.follow.gap(gap.from, gap.to, why, whose, checks);
        }
        if joined.snapshot {
            self.snapshot();
        }
    }

    fn snapshot(&mut self) {
        let text = self.served.snapshot().unwrap().json().to_owned();
        self.take_snapshot(&text);
    }

    fn take_snapshot(&mut self, text: &str) {
        let head = Head::of(text).unwrap();
        let offset = head.offset.unwrap();
        let view = self.channel.snapshot(EPOCH, offset, &head, text).unwrap();
        let whose = Whose {
            client: 3,
            channel: &self.channel,
        };
        self.follow.snapshot(offset, &view, whose, &mut self.checks);
    }

    /// Gives the client all that there is. Of the `nth` event of it the test does something.
    fn give(&mut self, conflate_from: u64, nth: u64, does: Does) -> Vec<Took> {
        let (mut at, mut took, mut count) = (self.follow.at(), Vec::new(), 0);
        loop {
            let (text, skipped) = match self.served.next(at, conflate_from) {
                None => return took,
                Some(Next::Lost { .. }) => panic!("the log has all that is asked for"),
                Some(Next::Event {
                    event,
                    at: offset,
                    skipped,
                }) => {
                    at = offset;
                    (event.json().to_owned(), skipped)
                }
            };
            let does = if count == nth { does } else { Does::Nothing };
            count += 1;
            match does {
                Does::Nothing => took.push(self.take(&with_skip(&text, skipped, 9_999))),
                Does::Drops => {}
                Does::Doubles => {
                    took.push(self.take(&with_skip(&text, skipped, 9_999)));
                    took.push(self.take(&with_skip(&text, skipped, 9_999)));
                }
                Does::Alters => {
                    let altered = text.replacen("\"depth\":", "\"depth\":1", 1);
                    took.push(self.take(&altered));
                }
                Does::Skips(count) => took.push(self.take(&with_skip(&text, count, 9_999))),
            }
        }
    }

    fn take(&mut self, text: &str) -> Took {
        let head = Head::of(text).unwrap();
        let offset = head.offset.unwrap();
        let (known, skip) = self.channel.event(EPOCH, offset, &head, text).unwrap();
        let whose = Whose {
            client: 3,
            channel: &self.channel,
        };
        self.follow
            .event(offset, skip, known, whose, &mut self.checks)
    }
}

#[test]
fn what_comes_whole_is_good_through_cuts_and_conflation() {
    let mut pair = Pair::new(Lane::State, "dag/line");
    let mut prng = Prng::new(11);
    for _ in 0..200 {
        let count = prng.below(90);
        pair.publish(count);
        let conflate_from = [1_000, 20][prng.below(2) as usize];
        pair.give(conflate_from, u64::MAX, Does::Nothing);
        if prng.below(3) == 0 {
            let missed = prng.below(90);
            pair.publish(missed);
            pair.join();
        }
        assert!(pair.checks.are_good(), "{:?}", pair.checks);
    }
    assert!(pair.follow.is_live());
    let checks = &pair.checks;
    assert_eq!(checks.resumed, checks.recovered);
    assert!(checks.skipped > 500 && checks.sums_right > 10 && checks.sums_unsure > 0);
    assert_eq!(pair.served.last(), pair.follow.at());
    assert_eq!(checks.events + checks.skipped + 30, pair.follow.at());
}

#[test]
fn one_that_was_away_for_too_long_is_told_so_and_begins_anew() {
    let mut pair = Pair::new(Lane::State, "dag/line");
    pair.publish(1_500);
    pair.join();
    let checks = &pair.checks;
    assert!(checks.are_good(), "{checks:?}");
    assert_eq!((checks.resumed, checks.recovered), (1, 0));
    assert_eq!(checks.gaps, BTreeMap::from([("history".to_owned(), 1_500)]));
    assert_eq!((checks.snapshots, pair.follow.at()), (2, 1_530));
}

#[test]
fn one_event_that_is_dropped_is_missing() {
    let mut pair = Pair::new(Lane::State, "dag/line");
    pair.publish(20);
    let took = pair.give(1_000, 7, Does::Drops);
    assert_eq!(pair.checks.missing, 1);
    assert_eq!(took.iter().filter(|took| **took == Took::Astray).count(), 1);
    assert!(!pair.checks.are_good());
    assert_eq!(
        pair.checks.faults,
        ["client 3, dag/line: 39 came after 37, so 1 are missing"]
    );
    // A snapshot puts it right, and what is missing stays counted.
    pair.snapshot();
    pair.publish(100);
    assert!(
        !pair
            .give(1_000, u64::MAX, Does::Nothing)
            .contains(&Took::Astray)
    );
    assert_eq!((pair.checks.missing, pair.checks.sums_wrong), (1, 0));
}

#[test]
fn one_event_that_comes_twice_is_doubled() {
    let mut pair = Pair::new(Lane::State, "dag/line");
    pair.publish(20);
    let took = pair.give(1_000, 7, Does::Doubles);
    assert_eq!(took[8], Took::Again);
    assert_eq!((pair.checks.doubled, pair.checks.missing), (1, 0));
    assert!(!pair.checks.are_good());
}

#[test]
fn critical_events_may_come_again_and_may_not_be_missing() {
    let mut pair = Pair::new(Lane::Critical, "alerts/line");
    pair.publish(20);
    pair.give(1_000, 7, Does::Doubles);
    assert_eq!((pair.checks.doubled, pair.checks.resent), (0, 1));
    assert!(pair.checks.are_good());
    pair.publish(20);
    pair.give(1_000, 7, Does::Drops);
    assert_eq!(pair.checks.missing, 1);
}

#[test]
fn a_value_that_was_altered_shows_in_the_next_sum() {
    let mut pair = Pair::new(Lane::State, "dag/line");
    pair.publish(33);
    let took = pair.give(1_000, 32, Does::Alters);
    assert_eq!(took.last(), Some(&Took::New));
    // The 64th offset carries a sum.
    pair.publish(1);
    assert_eq!(
        pair.give(1_000, u64::MAX, Does::Nothing).last(),
        Some(&Took::Astray)
    );
    assert_eq!((pair.checks.sums_wrong, pair.checks.missing), (1, 0));
    assert!(!pair.checks.are_good());
}

#[test]
fn a_snapshot_whose_values_have_another_sum_is_wrong() {
    let mut pair = Pair::new(Lane::State, "dag/line");
    let text = pair.served.snapshot().unwrap().json().to_owned();
    pair.channel = Channel::new("dag/line");
    pair.take_snapshot(&text.replacen("\"depth\":", "\"depth\":1", 1));
    assert_eq!(pair.checks.sums_wrong, 1);
}

#[test]
fn a_skip_that_does_not_fit_is_a_breach() {
    let mut pair = Pair::new(Lane::State, "dag/line");
    pair.publish(20);
    pair.give(1_000, 7, Does::Skips(2));
    assert_eq!(pair.checks.broken, BTreeMap::from([("bad_skip", 1)]));
    assert_eq!(pair.checks.missing, 0);
}

#[test]
fn what_the_server_may_not_say_is_a_breach() {
    let mut pair = Pair::new(Lane::State, "dag/line");
    let whose = Whose {
        client: 3,
        channel: &pair.channel,
    };
    let (follow, checks) = (&mut pair.follow, &mut pair.checks);
    follow.gap(20, 25, "slow", whose, checks);
    assert_eq!(checks.broken.remove("bad_gap"), Some(1));
    follow.gap(33, 35, "slow", whose, checks);
    assert_eq!((checks.missing, follow.at()), (2, 35));
    assert_eq!(checks.gaps["slow"], 9);
    follow.subscribed(EPOCH, 35, false, 0, whose, checks);
    assert_eq!(checks.broken.remove("bad_subscribed"), Some(1), "twice");
    follow.begin(None);
    let known = Known {
        entry: None,
        sum: None,
    };
    follow.event(36, 0, known, whose, checks);
    assert_eq!(checks.broken.remove("unexpected_event"), Some(1));
    let named = Position {
        epoch: EPOCH,
        offset: 36,
    };
    for (last, replayed, is_right) in [(40, 4, true), (40, 3, false), (35, 0, false)] {
        follow.begin(Some(named));
        follow.subscribed(EPOCH, last, true, replayed, whose, checks);
        let breaches = checks.broken.remove("bad_subscribed");
        assert_eq!(breaches.is_none(), is_right, "{last} {replayed}");
    }
}
