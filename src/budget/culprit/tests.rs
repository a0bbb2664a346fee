//! Who is to blame on made-up lines whose bottleneck is known.

use std::collections::BTreeMap;

use super::*;
use crate::base::{Discard, Reason, Shed};

/// A second, of which shares are taken in percent.
const SECOND_NS: u64 = 1_000_000_000;

fn percent(share: u64) -> u64 {
    SECOND_NS / 100 * share
}

/// A line in the making: shares of a second in percent.
#[derive(Clone, Default)]
struct Made {
    hops: Vec<HopReport>,
    stages: Vec<StageReport>,
    threads: Vec<(Vec<String>, u64, Option<String>)>,
}

impl Made {
    /// A node that works for so much of the time.
    fn node(mut self, name: &str, work: u64) -> Made {
        self.stages.push(StageReport {
            name: name.to_owned(),
            state: "run",
            regimes_ns: RegimeReport {
                work: percent(work),
                ..RegimeReport::default()
            },
            ..StageReport::default()
        });
        self
    }

    /// A hop that was at full, and held its producer back, for so much of the time.
    fn hop(mut self, name: &str, full: u64) -> Made {
        let hop = HopReport {
            name: name.to_owned(),
            depth: 64,
            when_full: "block",
            full_ns: percent(full),
            depth_now: if full > 0 { 64 } else { 0 },
            ..HopReport::default()
        };
        let (from, _) = hop.ends();
        let stage = self.stages.iter_mut().find(|stage| stage.name == from);
        let stage = stage.expect("nodes come first");
        stage.regimes_ns.held_back += percent(full);
        self.hops.push(hop);
        self
    }

    /// A hop that sheds what it has no room for.
    fn sheds(mut self, name: &str, full: u64, shed: u64) -> Made {
        self = self.hop(name, 0);
        let hop = self.hops.last_mut().unwrap();
        hop.when_full = "drop_newest";
        hop.full_ns = percent(full);
        hop.shed = BTreeMap::from([("full".to_owned(), shed)]);
        self
    }

    fn state(mut self, name: &str, state: &'static str) -> Made {
        let stage = self.stages.iter_mut().find(|stage| stage.name == name);
        stage.unwrap().state = state;
        self
    }

    fn outside(mut self, name: &str, held: u64) -> Made {
        let stage = self.stages.iter_mut().find(|stage| stage.name == name);
        let stage = stage.unwrap();
        stage
            .held_back_by_ns
            .insert(crate::budget::report::OUTSIDE.to_owned(), percent(held));
        stage.regimes_ns.held_back += percent(held);
        self
    }

    /// These nodes share a thread; all others have one to themselves.
    fn thread(mut self, nodes: &[&str]) -> Made {
        let names = nodes.iter().map(|name| (*name).to_owned()).collect();
        self.threads.push((names, 0, None));
        self
    }

    fn figures(&self) -> Figures {
        let mut threads = self.threads.clone();
        for stage in &self.stages {
            if !threads
                .iter()
                .any(|(nodes, ..)| nodes.contains(&stage.name))
            {
                threads.push((vec![stage.name.clone()], 0, None));
            }
        }
        let loops = threads.iter().map(|(nodes, silent_ns, current)| {
            let of = |name: &String| {
                let stage = self.stages.iter().find(|stage| stage.name == *name);
                total(&stage.unwrap().regimes_ns)
            };
            LoopTimes {
                nodes,
                silent_ns: *silent_ns,
                current: current.as_deref(),
                own: RegimeReport {
                    idle: SECOND_NS.saturating_sub(nodes.iter().map(of).sum()),
                    ..RegimeReport::default()
                },
            }
        });
        Figures::new(SECOND_NS, &self.hops, &self.stages, loops)
    }

    fn culprit(&self) -> Option<Culprit> {
        self.figures().culprit()
    }

    /// The culprit's node and what makes it one.
    fn blamed(&self) -> Option<(String, Cause)> {
        self.culprit().map(|culprit| (culprit.node, culprit.cause))
    }

    fn why(&self) -> String {
        self.culprit().expect("a culprit").why
    }
}

fn is(node: &str, cause: Cause) -> Option<(String, Cause)> {
    Some((node.to_owned(), cause))
}

/// `in -> a -> b -> out`, with b at its limit.
fn chain() -> Made {
    Made::default()
        .node("in", 3)
        .node("a", 10)
        .node("b", 98)
        .node("out", 20)
        .hop("in->a", 95)
        .hop("a->b", 73)
        .hop("b->out", 0)
}

#[test]
fn a_chain_is_followed_to_the_one_that_works() {
    let culprit = chain().culprit().unwrap();
    assert_eq!((culprit.node.as_str(), culprit.cause), ("b", Cause::Busy));
    assert_eq!(culprit.hop.as_deref(), Some("a->b"));
    assert_eq!(
        culprit.why,
        "b holds back a for 73 % of the time; it works 98 % of its own time"
    );
    assert_eq!(
        (culprit.full_ns, culprit.busy_ns),
        (percent(73), percent(98))
    );
    assert_eq!((culprit.span_ns, culprit.thread_ns), (SECOND_NS, SECOND_NS));
    assert_eq!((culprit.lost, culprit.waiting), (0, 64));
}

#[test]
fn nothing_lost_is_nobodys_fault() {
    let idle = Made::default().node("in", 3).node("a", 98).hop("in->a", 0);
    assert_eq!(idle.culprit(), None, "busy alone is no fault");
    // What the generator could not send never touched the line.
    assert_eq!(idle.figures().dropped("in", 0).culprit(), None);
    let mut hardly = idle.clone();
    hardly.hops[0].full_ns = percent(1) - 1;
    assert_eq!(hardly.culprit(), None);
    hardly.hops[0].full_ns = percent(1);
    assert_eq!(hardly.blamed(), is("a", Cause::Busy));
    assert_eq!(Figures::default().culprit(), None);
}

#[test]
fn one_that_is_held_back_half_of_its_time_waits_for_one_that_never_rests() {
    let line = |work_a: u64, held_a: u64, work_b: u64| {
        Made::default()
            .node("in", 3)
            .node("a", work_a)
            .node("b", work_b)
            .hop("in->a", 60)
            .hop("a->b", held_a)
    };
    assert_eq!(line(60, 40, 100).blamed(), is("b", Cause::Busy));
    assert_eq!(line(95, 5, 60).blamed(), is("a", Cause::Busy));
    // As long as it takes for it to be worth a name.
    assert_eq!(line(60, 0, 100).blamed(), is("a", Cause::Busy));
}

#[test]
fn a_diamond_has_one_slow_side() {
    let line = |left: u64, right: u64, join: u64| {
        Made::default()
            .node("in", 2)
            .node("l", 99.min(left + 5))
            .node("r", 99.min(right + 5))
            .node("join", join)
            .hop("in->l", left)
            .hop("in->r", right)
            .hop("l->join", 0)
            .hop("r->join", 0)
    };
    assert_eq!(line(94, 0, 30).blamed(), is("l", Cause::Busy));
    assert_eq!(line(0, 94, 30).blamed(), is("r", Cause::Busy));
    let mut joined = line(0, 0, 99);
    joined.hops.clear();
    for stage in &mut joined.stages[1..3] {
        stage.regimes_ns = RegimeReport::default();
    }
    let joined = joined.hop("in->l", 90).hop("in->r", 0);
    let joined = joined.hop("l->join", 95).hop("r->join", 90);
    assert_eq!(joined.blamed(), is("join", Cause::Busy));
    assert!(
        joined.why().contains("join holds back l for 95 %"),
        "{}",
        joined.why()
    );
}

#[test]
fn a_fan_in_blames_the_one_where_all_meet() {
    let line = Made::default()
        .node("x", 1)
        .node("y", 1)
        .node("book", 97)
        .hop("x->book", 10)
        .hop("y->book", 80);
    assert_eq!(line.blamed(), is("book", Cause::Busy));
    assert_eq!(line.culprit().unwrap().hop.as_deref(), Some("y->book"));
}

#[test]
fn in_a_broadcast_the_one_that_all_wait_for_is_named() {
    let mut line = Made::default()
        .node("in", 1)
        .node("quick", 20)
        .node("slow", 97)
        .hop("in->quick", 0)
        .hop("in->slow", 90);
    line.hops[1].shares = Some("in->quick".to_owned());
    assert_eq!(line.blamed(), is("slow", Cause::Busy));
    // A ring that sheds counts what it shed with its first hop, and the time with whom it was for.
    line.hops[0].when_full = "drop_newest";
    line.hops[1].when_full = "drop_newest";
    line.hops[0].shed = BTreeMap::from([("full".to_owned(), 500)]);
    assert_eq!(line.blamed(), is("slow", Cause::Busy));
}

#[test]
fn a_hop_that_sheds_blames_its_consumer_and_goes_no_further_than_that_is_held_back() {
    let line = Made::default()
        .node("in", 5)
        .node("a", 99)
        .node("b", 99)
        .sheds("in->a", 70, 4_000)
        .sheds("a->b", 20, 300);
    assert_eq!(line.blamed(), is("a", Cause::Busy));
    assert_eq!(
        line.why(),
        "a was too slow for 4,000 messages that in->a lost, full for 70 % of the time; it works 99 % of its own time"
    );
    let behind = Made::default()
        .node("in", 5)
        .node("a", 10)
        .node("b", 99)
        .sheds("in->a", 70, 4_000)
        .hop("a->b", 88);
    assert_eq!(behind.blamed(), is("b", Cause::Busy));
}

#[test]
fn a_moment_at_full_is_no_more_than_none() {
    // In ten seconds, 5 us at full and one message lost, against a million that were hopeless.
    let mut line = Made::default()
        .node("in", 5)
        .node("a", 20)
        .node("b", 99)
        .sheds("in->a", 0, 1)
        .sheds("in->b", 0, 0);
    line.hops[0].full_ns = 5_000;
    line.hops[1].shed = BTreeMap::from([("hopeless".to_owned(), 1_000_000)]);
    assert_eq!(line.blamed(), is("b", Cause::Busy));
    // From one part in a hundred on, time at full goes before counts.
    line.hops[0].full_ns = percent(1);
    assert_eq!(line.culprit().unwrap().node, "a");
}

#[test]
fn what_was_not_lost_for_want_of_room_is_not_told_by_it() {
    let made = |work: u64, why: &str, lost: u64| {
        let mut line = Made::default()
            .node("in", 5)
            .node("a", work)
            .sheds("in->a", 0, 0);
        let hop = &mut line.hops[0];
        let map = match why {
            "late" | "stale" | "oldest" => &mut hop.discarded,
            _ => &mut hop.shed,
        };
        map.insert(why.to_owned(), lost);
        line
    };
    for why in ["late", "stale", "hopeless"] {
        assert_eq!(
            made(99, why, 4_000).why(),
            "a was too slow for 4,000 messages that in->a lost for their age; it works 99 % of its own time"
        );
        let bursts = made(9, why, 4_000);
        assert_eq!(bursts.blamed(), is("a", Cause::Bursts));
        assert_eq!(
            bursts.why(),
            "a was too slow for 4,000 messages that in->a lost for their age; it works 9 % of its own time, \
             so in bursts they waited for longer than they may"
        );
    }
    for why in ["sampled", "degraded", "refused", "conflated"] {
        let mut line = made(9, why, 4_000);
        line.hops[0].rungs = BTreeMap::from([("sample".to_owned(), 2)]);
        assert_eq!(
            line.why(),
            "a was too slow for 4,000 messages that in->a lost on the degrade ladder; it works 9 % of its own time, \
             so the ladder let less through than it can do"
        );
    }
    let sampled = made(9, "sampled", 40).why();
    assert!(
        sampled.contains("lost as not the ones in so many that are taken"),
        "{sampled}"
    );
    let newer = made(99, "conflated", 40).why();
    assert!(
        newer.contains("lost to newer ones of their keys;"),
        "{newer}"
    );
    // What most was lost to leads; and where there was no room as well, for how long.
    let mut both = made(99, "stale", 50);
    both.hops[0].shed.insert("full".to_owned(), 49);
    both.hops[0].full_ns = percent(70);
    assert_eq!(
        both.why(),
        "a was too slow for 99 messages that in->a lost, most for their age, full for 70 % of the time; \
         it works 99 % of its own time"
    );
    assert!(
        made(99, "oldest", 9)
            .why()
            .contains("that in->a lost for want of room; it works"),
    );
}

#[test]
fn one_with_time_left_was_hit_by_bursts() {
    let line = Made::default()
        .node("in", 5)
        .node("a", 30)
        .sheds("in->a", 2, 40);
    assert_eq!(line.blamed(), is("a", Cause::Bursts));
    assert!(
        line.why()
            .ends_with("so bursts were more than the hop holds")
    );
}

#[test]
fn chores_are_the_time_of_whom_they_are_done_for() {
    let mut line = Made::default()
        .node("in", 5)
        .node("a", 49)
        .sheds("in->a", 80, 40);
    line.stages[1].regimes_ns.housekeeping = percent(50);
    assert_eq!(line.blamed(), is("a", Cause::Busy));
    assert!(
        line.why()
            .ends_with("it works 49 % of its own time and rests for 1 %"),
        "{}",
        line.why()
    );
    // With the chores of its thread it is the busier one.
    let mut two = Made::default()
        .node("in", 5)
        .node("a", 49)
        .node("b", 60)
        .hop("in->a", 80)
        .hop("a->b", 10);
    assert_eq!(two.blamed(), is("b", Cause::Busy));
    two.stages[1].regimes_ns.housekeeping = percent(40);
    assert_eq!(two.blamed(), is("a", Cause::Busy));
}

#[test]
fn what_was_shed_for_other_reasons_blames_nobody() {
    let mut line = Made::default()
        .node("in", 5)
        .node("a", 30)
        .sheds("in->a", 0, 0);
    let hop = &mut line.hops[0];
    for why in Shed::ALL {
        if !LostTo::shed(*why, false).is_slowness() {
            hop.shed.insert(why.name().to_owned(), 7);
        }
    }
    for why in Discard::ALL {
        if !LostTo::discarded(*why).is_slowness() {
            hop.discarded.insert(why.name().to_owned(), 7);
        }
    }
    assert_eq!((hop.shed.len(), hop.discarded.len()), (7, 4));
    assert_eq!(line.culprit(), None);
    line.hops[0].discarded.insert("stale".to_owned(), 1);
    assert_eq!(line.blamed(), is("a", Cause::Bursts));
}

#[test]
fn a_heavy_neighbour_is_to_blame_and_not_the_one_that_waits_for_its_turn() {
    let line = |heavy: u64| {
        Made::default()
            .node("in", 3)
            .node("light", 4)
            .node("heavy", heavy)
            .hop("in->light", 60)
            .hop("in->heavy", 0)
            .thread(&["light", "heavy"])
    };
    let culprit = line(93).culprit().unwrap();
    assert_eq!(
        (culprit.node.as_str(), culprit.cause),
        ("heavy", Cause::Neighbour)
    );
    assert_eq!(culprit.hop.as_deref(), Some("in->light"));
    assert_eq!(
        culprit.why,
        "heavy takes 93 % of the thread on which light waits for its turn; light holds back in for 60 % of the time"
    );
    // On a thread with time left nobody waits for long.
    assert_eq!(line(10).blamed(), is("light", Cause::Bursts));
    let mut apart = line(93);
    apart.threads.clear();
    assert_eq!(apart.blamed(), is("light", Cause::Bursts));
}

#[test]
fn on_one_thread_the_heaviest_on_the_way_is_to_blame() {
    let line = Made::default()
        .node("in", 4)
        .node("a", 3)
        .node("b", 90)
        .hop("in->a", 1)
        .hop("a->b", 1)
        .thread(&["in", "a", "b"]);
    // Others had the thread while the hop was at full: that is no time of the producer's own.
    let mut line = line;
    line.hops[0].full_ns = percent(97);
    line.hops[1].full_ns = percent(95);
    assert_eq!(line.blamed(), is("b", Cause::Busy));
    assert!(
        line.why().ends_with("it works 90 % of its thread's time"),
        "{}",
        line.why()
    );
    line.stages[0].regimes_ns.work = percent(80);
    line.stages[2].regimes_ns.work = percent(10);
    assert_eq!(line.blamed(), is("in", Cause::Neighbour));
}

#[test]
fn the_outside_is_named_where_it_takes_nothing() {
    let line = Made::default()
        .node("in", 3)
        .node("a", 5)
        .node("out", 8)
        .hop("in->a", 70)
        .hop("a->out", 72)
        .outside("out", 91);
    assert_eq!(line.blamed(), is("out", Cause::Outside));
    assert_eq!(
        line.why(),
        "out holds back a for 72 % of the time; the outside takes nothing from it for 91 % of its own time"
    );
}

#[test]
fn what_the_kernel_dropped_is_the_sources_unless_it_was_held_back() {
    let line = |held: u64| {
        Made::default()
            .node("in", 96 - held)
            .node("a", 98)
            .hop("in->a", held)
    };
    let source = line(0).figures().dropped("in", 12).culprit().unwrap();
    assert_eq!((source.node.as_str(), source.hop), ("in", None));
    assert!(source.why.contains("12 messages, which the kernel dropped"));
    let behind = line(80).figures().dropped("in", 12).culprit().unwrap();
    assert_eq!(behind.node, "a");
}

#[test]
fn one_that_does_not_return_is_to_blame_before_all_others() {
    let mut line = chain().thread(&["out"]);
    line.stages[3].regimes_ns = RegimeReport::default();
    line.hops[2].depth_now = 9;
    line.threads[0] = (vec!["out".to_owned()], HANG_NS, Some("out".to_owned()));
    assert_eq!(line.blamed(), is("out", Cause::Hangs));
    assert!(
        line.why().contains("9 frames wait on b->out"),
        "{}",
        line.why()
    );
    line.threads[0].1 = HANG_NS - 1;
    assert_ne!(line.blamed(), is("out", Cause::Hangs), "not for so long");
    line.threads[0] = (line.threads[0].0.clone(), 2 * HANG_NS, None);
    assert_ne!(line.blamed(), is("out", Cause::Hangs), "it sleeps");
    line.threads[0].2 = Some("out".to_owned());
    line.hops[2].depth_now = 0;
    assert_eq!(line.blamed(), is("b", Cause::Busy), "nobody waits for it");
    // A neighbour of one that hangs has frames that wait, too.
    let mut fused = chain().thread(&["a", "b"]);
    fused.threads[0].1 = HANG_NS;
    fused.threads[0].2 = Some("b".to_owned());
    fused.hops[1].depth_now = 0;
    assert_eq!(fused.blamed(), is("b", Cause::Hangs));
    assert_eq!(chain().state("b", "stuck").blamed(), is("b", Cause::Hangs));
}

#[test]
fn one_that_is_paused_or_failed_is_to_blame_for_what_waits() {
    for state in STOPPED {
        let line = chain().state("b", state);
        assert_eq!(line.blamed(), is("b", Cause::Stopped));
        assert!(
            line.why().ends_with(&format!("; its state is {state}")),
            "{}",
            line.why()
        );
    }
    // Elsewhere it is no matter.
    assert_eq!(
        chain().state("out", "paused").blamed(),
        is("b", Cause::Busy)
    );
}

#[test]
fn a_drain_that_was_given_up_names_its_holder() {
    let figures = chain().figures();
    let figures = figures.left("in->a", 3, "a").left("b->out", 40, "out");
    let culprit = figures.left("none", 90, "a").culprit().unwrap();
    assert_eq!(
        (culprit.node.as_str(), culprit.cause),
        ("out", Cause::Drain)
    );
    assert_eq!(
        culprit.why,
        "the drain was given up: out held up 40 messages on b->out"
    );
}

#[test]
fn of_the_time_since_an_earlier_look_only_that_counts() {
    let before = chain().figures();
    assert_eq!(before.since(&before, SECOND_NS).culprit(), None);
    let mut later = chain();
    for stage in &mut later.stages {
        stage.regimes_ns.work += percent(stage.name.len() as u64);
    }
    later.stages[3].regimes_ns.work += percent(60);
    later.hops[2].full_ns = percent(50);
    let now = later.figures().since(&before, SECOND_NS).culprit().unwrap();
    assert_eq!((now.node.as_str(), now.full_ns), ("out", percent(50)));
    let whole = later.figures().since(&Figures::default(), SECOND_NS);
    assert_eq!(whole.culprit().unwrap().node, "b");
    // A difference that forgets what went before would blame the one of yesterday.
    let forgets = later.figures().culprit().unwrap();
    assert_ne!(forgets.node, now.node);
}

#[test]
fn numbers_and_shares_are_as_people_read_them() {
    for (number, text) in [
        (0, "0"),
        (999, "999"),
        (1_000, "1,000"),
        (12_003_045, "12,003,045"),
    ] {
        assert_eq!(grouped(number), text);
    }
    for (part, text) in [
        (0, "0 %"),
        (4, "under 1 %"),
        (126, "13 %"),
        (2_000, "100 %"),
    ] {
        assert_eq!(share(part, 1_000), text);
    }
}

#[test]
fn figures_of_no_line_end_as_well() {
    let mut circle = Made::default()
        .node("a", 1)
        .node("b", 1)
        .hop("a->b", 90)
        .hop("b->a", 90);
    assert!(circle.culprit().is_some());
    circle.hops[0].name = "nowhere".to_owned();
    circle.hops[1].name = "b->gone".to_owned();
    assert_eq!(circle.culprit(), None);
}
