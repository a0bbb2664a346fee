//! Ways of messages over lines that are drawn by hand; no test reads a clock.

use super::*;

/// A passage of a message that was due at `due_ns`: offered, taken and done so long after it.
fn passage(due_ns: u64, [offer, taken, done]: [u64; 3]) -> Passage {
    Passage {
        t_offer_ns: due_ns + offer,
        origin_ns: offer as u32,
        wait_ns: (taken - offer) as u32,
        service_ns: (done - taken) as u32,
        ..Passage::default()
    }
}

fn left(due_ns: u64, times: [u64; 3]) -> Passage {
    Passage {
        flags: Passage::LEFT,
        ..passage(due_ns, times)
    }
}

const DUE_NS: u64 = 10_000_000;

/// Follows every message on a line of these hops.
fn all(hops: &[&str]) -> Follow {
    let mut follow = Follow::new(Shape::of(hops.iter().copied()));
    follow.rule(OneIn::ALL, 0);
    follow
}

fn settled(follow: &mut Follow, now_ns: u64) -> Vec<Way> {
    let mut ways = Vec::new();
    follow.settle(now_ns, |way| ways.push(way));
    ways
}

/// Hop and stop before of each stop.
fn drawn(way: &Way) -> Vec<(usize, Option<usize>)> {
    way.stops
        .iter()
        .map(|stop| (stop.hop, stop.after))
        .collect()
}

fn sum(way: &Way) -> u64 {
    let parts = way.parts();
    let each = parts.iter();
    each.map(|one| one.held_ns + one.wait_ns + one.service_ns)
        .sum()
}

#[test]
fn passages_are_joined_in_whatever_order_they_are_heard() {
    let passages = [
        (0, passage(DUE_NS, [10, 20, 60])),
        (1, passage(DUE_NS, [50, 70, 90])),
        (2, left(DUE_NS, [90, 95, 130])),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut follow = all(&["in->a", "a->b", "b->out"]);
        for at in order {
            let (hop, passage) = passages[at];
            follow.passage(hop, passage);
        }
        assert_eq!(settled(&mut follow, DUE_NS + DELAY_NS + 129), []);
        let ways = settled(&mut follow, DUE_NS + DELAY_NS + 130);
        assert_eq!(ways.len(), 1);
        let way = &ways[0];
        assert_eq!((way.total_ns, way.due_ns, way.together), (130, DUE_NS, 1));
        assert_eq!(drawn(way), [(0, None), (1, Some(0)), (2, Some(1))]);
        assert_eq!((sum(way), way.has_left, follow.held()), (130, true, 0));
        // Ten before it was offered; thirty in the first handler until the second hop had it.
        let parts = way.parts();
        assert_eq!((parts[0].held_ns, parts[0].service_ns), (10, 30));
    }
}

#[test]
fn a_way_that_splits_and_joins_is_a_tree_whose_end_is_what_ended_last() {
    let mut follow = all(&["in->a", "a.left->b", "a.right->c", "b->out", "c->out"]);
    follow.passage(0, passage(DUE_NS, [0, 10, 50]));
    follow.passage(1, passage(DUE_NS, [20, 60, 80]));
    follow.passage(2, passage(DUE_NS, [30, 60, 200]));
    follow.passage(3, left(DUE_NS, [70, 90, 100]));
    follow.passage(4, left(DUE_NS, [190, 210, 220]));
    let ways = settled(&mut follow, u64::MAX);
    let expected = [
        (0, None),
        (1, Some(0)),
        (2, Some(0)),
        (3, Some(1)),
        (4, Some(2)),
    ];
    assert_eq!(drawn(&ways[0]), expected);
    let path: Vec<usize> = ways[0].parts().iter().map(|part| part.stop).collect();
    assert_eq!(
        (path, sum(&ways[0]), ways[0].total_ns),
        (vec![0, 2, 4], 220, 220)
    );
}

#[test]
fn of_messages_that_entered_together_the_slowest_is_told() {
    let mut follow = all(&["in->a", "a->out"]);
    for nth in 0..3 {
        let from = 100 * nth;
        follow.passage(0, passage(DUE_NS, [5, 10 + from, 110 + from]));
        follow.passage(1, left(DUE_NS, [60 + from, 500 + nth, 510 + nth]));
    }
    let ways = settled(&mut follow, u64::MAX);
    assert_eq!(
        (ways.len(), ways[0].together, ways[0].total_ns),
        (1, 3, 512)
    );
    assert_eq!(ways[0].stops[0].wait_ns, 205, "the third one");
    assert_eq!(follow.counts().seen, 1);
}

#[test]
fn what_a_stage_held_comes_of_the_one_that_came_to_it() {
    let hops = ["in->batch", "batch->out"];
    let mut follow = all(&hops);
    follow.passage(0, passage(DUE_NS, [0, 10, 20]));
    follow.passage(1, left(DUE_NS, [1_020, 1_030, 1_040]));
    let ways = settled(&mut follow, u64::MAX);
    assert_eq!(drawn(&ways[0]), [(0, None), (1, Some(0))]);
    assert_eq!((ways[0].parts()[1].held_ns, sum(&ways[0])), (1_000, 1_040));
    // Of two that came it is not known which.
    let mut follow = all(&hops);
    follow.passage(0, passage(DUE_NS, [0, 10, 20]));
    follow.passage(0, passage(DUE_NS, [0, 20, 30]));
    follow.passage(1, left(DUE_NS, [1_020, 1_030, 1_040]));
    assert_eq!(settled(&mut follow, u64::MAX), []);
    assert_eq!(follow.counts().incomplete, 1);
}

#[test]
fn what_does_not_leave_is_told_late_and_as_such() {
    let mut follow = all(&["in->a", "a->out"]);
    follow.passage(0, passage(DUE_NS, [0, 10, 20]));
    let done_ns = DUE_NS + 20;
    assert_eq!(settled(&mut follow, done_ns + DELAY_NS), []);
    let ways = settled(&mut follow, done_ns + SAMPLE_PATIENCE_NS);
    assert_eq!((ways[0].has_left, ways[0].total_ns), (false, 20));
    // And what comes of it still is no message of its own.
    follow.passage(1, left(DUE_NS, [15, 2_000_000_000, 2_000_000_010]));
    assert_eq!(settled(&mut follow, u64::MAX), []);
    let counts = follow.counts();
    assert_eq!((counts.seen, counts.whole, counts.late), (1, 1, 1));
}

#[test]
fn where_a_passage_may_be_missing_there_is_no_way() {
    let mut follow = all(&["in->a", "a->out"]);
    follow.passage(0, passage(DUE_NS, [0, 10, 20]));
    follow.lost(3, DUE_NS + 100);
    follow.passage(1, left(DUE_NS, [15, 30, 40]));
    // One that was due before the loss was noticed, and one after it.
    follow.passage(0, passage(DUE_NS + 50, [0, 10, 20]));
    follow.passage(0, left(DUE_NS + 101, [0, 10, 20]));
    // Longer than can be told.
    let long = Passage {
        wait_ns: u32::MAX,
        ..left(DUE_NS + 200, [0, 10, 20])
    };
    follow.passage(0, long);
    let ways = settled(&mut follow, u64::MAX);
    assert_eq!(ways.len(), 1);
    assert_eq!(ways[0].due_ns, DUE_NS + 101);
    let counts = follow.counts();
    assert_eq!((counts.lost, counts.incomplete, counts.whole), (3, 3, 1));
}

#[test]
fn what_not_all_hops_were_asked_for_is_not_told() {
    let hops = ["in->out"];
    let one = |due_ns| left(due_ns, [0, 10, 20]);
    let mut follow = Follow::new(Shape::of(hops.into_iter()));
    // Before it began, while not all had heard of it, and after it.
    follow.passage(0, one(1_000_000));
    follow.rule(OneIn::ALL, 2_000_000);
    follow.passage(0, one(1_900_000));
    follow.passage(0, one(2_900_000));
    follow.passage(0, one(3_100_000));
    // From then on fewer are: of those before only what both pick.
    let few = OneIn::new(1 << 20);
    let unpicked = (4_000_000..).find(|due_ns| !few.picks(0, *due_ns)).unwrap();
    follow.passage(0, one(unpicked));
    let dues = |ways: Vec<Way>| ways.iter().map(|way| way.due_ns).collect::<Vec<_>>();
    let now_ns = 10_000_000 + DELAY_NS;
    assert_eq!(dues(settled(&mut follow, now_ns)), [3_100_000, unpicked]);
    follow.passage(0, one(30_000_000));
    follow.rule(few, 40_000_000);
    assert!(dues(settled(&mut follow, u64::MAX)).is_empty());
    assert_eq!(follow.counts().incomplete, 0);
}

#[test]
fn what_is_held_is_bounded_and_what_has_no_room_is_lost() {
    let mut follow = all(&["in->a", "a->out"]);
    for at in 0..SAMPLES_HELD_MAX as u64 + 5 {
        follow.passage(0, passage(DUE_NS + at, [0, 10, 20]));
    }
    assert_eq!((follow.held(), follow.counts().lost), (SAMPLES_HELD_MAX, 5));
    assert_eq!(settled(&mut follow, u64::MAX), []);
    let mut follow = all(&["in->out"]);
    for _ in 0..=SAMPLE_PASSAGES_MAX {
        follow.passage(0, left(DUE_NS, [0, 10, 20]));
    }
    assert_eq!(follow.held(), SAMPLE_PASSAGES_MAX);
    assert_eq!(settled(&mut follow, u64::MAX), []);
    assert_eq!((follow.held(), follow.counts().incomplete), (0, 1));
}

#[test]
fn a_gap_counts_where_it_met_the_message_on_the_loop_that_had_it() {
    let shape = Shape::of(["in->a", "a->out"].into_iter());
    let mut follow = Follow::new(shape).with_gaps(vec![Some(1), None], 2);
    follow.rule(OneIn::ALL, 0);
    follow.passage(0, passage(DUE_NS, [0, 100, 200]));
    follow.passage(1, left(DUE_NS, [150, 250, 300]));
    let gap = |from, until| Interval {
        start_ns: DUE_NS + from,
        end_ns: DUE_NS + until,
    };
    follow.gap(0, gap(0, 90));
    follow.gap(1, gap(50, 80));
    follow.gap(1, gap(60, 80));
    follow.gap(1, gap(190, 260));
    follow.gap(1, gap(180, 270));
    let ways = settled(&mut follow, u64::MAX);
    let gaps: Vec<Option<u64>> = ways[0].stops.iter().map(|stop| stop.gap_ns).collect();
    assert_eq!(gaps, [Some(50), None]);
}
