//! What windows make of samples, and that every bound is met with a count.

use super::*;
use crate::feed::statsd::{self, Line};
use crate::feed::{graphite, influx};

const NOW_NS: u64 = 1_700_000_000_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

fn small() -> Settings {
    Settings {
        window_ns: SECOND_NS,
        keys: 4,
        key_bytes: 64,
        histograms: 2,
        sets: 1,
        set_members: 3,
        ..Settings::default()
    }
}

fn aggregate(settings: Settings) -> Aggregate {
    Aggregate::new(settings).unwrap()
}

fn add(aggregate: &mut Aggregate, line: &str, now_ns: u64) -> Result<(), Lost> {
    match statsd::parse(line.as_bytes()) {
        Ok(Line::Metric(metric)) => aggregate.add(&metric.sample(), now_ns),
        other => panic!("{line}: {other:?}"),
    }
}

/// A row without its borrows.
#[derive(Clone, Debug, PartialEq)]
struct Out {
    name: String,
    start_ns: u64,
    values: u64,
    weight: f64,
    sum: f64,
    min: f64,
    max: f64,
    last: f64,
    members: (u64, bool),
    median: Option<f64>,
}

fn out(row: &Row<'_>) -> Out {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut name = text(row.name);
    if !row.field.is_empty() {
        name = format!("{name} {}", text(row.field));
    }
    if !row.tags.bytes.is_empty() {
        name = format!("{name}#{}", text(row.tags.bytes));
    }
    Out {
        name,
        start_ns: row.window_start_ns,
        values: row.values,
        weight: row.weight,
        sum: row.sum,
        min: row.min,
        max: row.max,
        last: row.last,
        members: (row.members, row.members_incomplete),
        median: row.quantile(0.5),
    }
}

fn all(aggregate: &mut Aggregate) -> Vec<Out> {
    let mut rows = Vec::new();
    while aggregate.close_all(1, |row| rows.push(out(row))) == 1 {}
    assert!(!aggregate.is_due());
    rows
}

#[test]
fn each_class_is_summed_up_as_it_means() {
    let mut aggregate = aggregate(Settings {
        keys: 16,
        sets: 2,
        histograms: 4,
        ..small()
    });
    for line in [
        "hits:1|c|@0.1",
        "hits:2:3|c",
        "load:5|g",
        "load:-2|g",
        "load:+1.5|g",
        "took:10:20|ms|@0.5",
        "took:30|ms",
        "size:-4|h",
        "size:8|h",
        "who:ann|s",
        "who:bob|s",
        "who:ann|s",
    ] {
        assert_eq!(add(&mut aggregate, line, NOW_NS), Ok(()), "{line}");
    }
    let rows = all(&mut aggregate);
    let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    let hits = row("hits");
    assert_eq!((hits.values, hits.weight, hits.sum), (3, 12.0, 15.0));
    assert_eq!(
        (hits.min, hits.max, hits.last, hits.median),
        (1.0, 3.0, 3.0, None)
    );
    assert_eq!(hits.start_ns, NOW_NS);
    let load = row("load");
    assert_eq!((load.values, load.sum, load.last), (3, 12.5, 4.5));
    assert_eq!((load.min, load.max), (3.0, 5.0));
    let took = row("took");
    assert_eq!((took.values, took.weight, took.sum), (3, 5.0, 90.0));
    let median = took.median.unwrap();
    assert!((20.0..20.2).contains(&median), "{median}");
    let size = row("size");
    assert_eq!((size.sum, size.min, size.max), (4.0, -4.0, 8.0));
    assert_eq!(aggregate.counts().clamped, 1, "below nothing");
    assert_eq!(row("who").members, (2, false));
    assert_eq!((row("who").values, row("who").max), (3, 0.0));
    let counts = aggregate.counts();
    assert_eq!((counts.samples, counts.taken(), counts.rows), (12, 12, 5));
}

#[test]
fn a_gauge_keeps_its_level_over_windows() {
    let mut aggregate = aggregate(small());
    let later = |seconds| NOW_NS + seconds * SECOND_NS;
    assert_eq!(add(&mut aggregate, "load:5|g", NOW_NS), Ok(()));
    assert_eq!(
        aggregate.close_due(later(2), 10, |row| assert_eq!(row.last, 5.0)),
        1
    );
    assert_eq!(add(&mut aggregate, "load:+2|g", later(2)), Ok(()));
    // Older than what is known: in its window the last, but not the level.
    assert_eq!(
        add(&mut aggregate, "load:1|g|T1700000001", later(2)),
        Ok(())
    );
    assert_eq!(add(&mut aggregate, "load:+1|g", later(2)), Ok(()));
    let rows = all(&mut aggregate);
    assert_eq!(
        rows.iter().map(|row| row.last).collect::<Vec<_>>(),
        [1.0, 8.0]
    );
    let plain = Settings {
        signs: Signs::Numbers,
        ..small()
    };
    let mut aggregate = self::aggregate(plain);
    assert_eq!(add(&mut aggregate, "load:5:-3|g", NOW_NS), Ok(()));
    assert_eq!(all(&mut aggregate)[0].last, -3.0);
}

#[test]
fn events_go_to_the_window_of_their_own_time() {
    let mut aggregate = aggregate(small());
    let at = |seconds: u64| format!("a:1|c|T{}", 1_700_000_000 + seconds);
    let now_ns = NOW_NS + 5 * SECOND_NS;
    for (seconds, expected) in [
        (5, Ok(())),
        (4, Ok(())),
        (6, Ok(())),
        (3, Err(Lost::Late)),
        (0, Err(Lost::Late)),
        (9, Err(Lost::Ahead)),
        (4, Ok(())),
    ] {
        assert_eq!(
            add(&mut aggregate, &at(seconds), now_ns),
            expected,
            "{seconds}"
        );
    }
    assert_eq!(add(&mut aggregate, "a:1|c", now_ns), Ok(()));
    let rows = all(&mut aggregate);
    let sums: Vec<(u64, f64)> = rows
        .iter()
        .map(|row| (row.start_ns - NOW_NS, row.sum))
        .collect();
    assert_eq!(
        sums,
        [
            (4 * SECOND_NS, 2.0),
            (5 * SECOND_NS, 2.0),
            (6 * SECOND_NS, 1.0)
        ]
    );
    let counts = aggregate.counts();
    assert_eq!((counts.samples, counts.taken()), (8, 5));
    assert_eq!(counts.lost[Lost::Late.index()], 2);
    assert_eq!(counts.lost[Lost::Ahead.index()], 1);
}

#[test]
fn tags_in_any_order_are_one_key() {
    let lines = [
        "a:1|c|#x:1,y:2",
        "a:2|c|#y:2,x:1",
        "a:4|c|#y:2,,x:1,y:2",
        "a:8|c|#x:1",
    ];
    let mut sorted = aggregate(small());
    let mut as_sent = aggregate(Settings {
        tag_order: TagOrder::AsSent,
        ..small()
    });
    for line in lines {
        assert_eq!(add(&mut sorted, line, NOW_NS), Ok(()));
        assert_eq!(add(&mut as_sent, line, NOW_NS), Ok(()));
    }
    let rows = all(&mut sorted);
    let sums: Vec<(&str, f64)> = rows.iter().map(|row| (&*row.name, row.sum)).collect();
    assert_eq!(sums, [("a#x:1,y:2", 7.0), ("a#x:1", 8.0)]);
    assert_eq!(all(&mut as_sent).len(), 4);
    let tags: Vec<String> = (0..=METRIC_TAGS_MAX).rev().map(|n| n.to_string()).collect();
    let bytes = tags.join(",");
    let sample = Sample {
        name: b"a",
        field: b"",
        tags: TagSet {
            bytes: bytes.as_bytes(),
            form: TagForm::Colon,
        },
        class: Class::Set,
        values: crate::feed::Numbers::NONE,
        member: b"m",
        rate: 1.0,
        at_ns: None,
    };
    assert_eq!(sorted.add(&sample, NOW_NS), Err(Lost::KeyTooLong));
}

#[test]
fn keys_beyond_the_bound_wait_for_windows_to_close() {
    let mut aggregate = aggregate(small());
    for key in 0..4 {
        assert_eq!(add(&mut aggregate, &format!("k{key}:1|c"), NOW_NS), Ok(()));
    }
    assert_eq!(add(&mut aggregate, "k4:1|c", NOW_NS), Err(Lost::NoRoom));
    assert_eq!(
        add(&mut aggregate, "k0:1|c", NOW_NS),
        Ok(()),
        "a known one has room"
    );
    let long = "k".repeat(65);
    assert_eq!(
        add(&mut aggregate, &format!("{long}:1|c"), NOW_NS),
        Err(Lost::KeyTooLong)
    );
    let later_ns = NOW_NS + 2 * SECOND_NS;
    assert_eq!(aggregate.close_due(later_ns, 2, |_| {}), 2);
    assert!(aggregate.is_due());
    assert_eq!(
        add(&mut aggregate, "k4:1|c", later_ns),
        Ok(()),
        "k0 made room"
    );
    assert_eq!(aggregate.close_due(later_ns, 100, |_| {}), 2);
    assert_eq!(add(&mut aggregate, "k1:1|c", later_ns), Ok(()), "known");
    assert_eq!(
        add(&mut aggregate, "k0:1|c", later_ns),
        Ok(()),
        "k2 made room"
    );
    let counts = aggregate.counts();
    assert_eq!((counts.keys_added, counts.keys_evicted), (6, 2));
    assert_eq!(counts.lost[Lost::NoRoom.index()], 1);
    assert_eq!(counts.lost[Lost::KeyTooLong.index()], 1);
    assert_eq!((aggregate.keys(), all(&mut aggregate).len()), (4, 3));
}

#[test]
fn reserves_that_are_empty_are_counted_and_filled_again() {
    let mut aggregate = aggregate(Settings {
        keys: 16,
        ..small()
    });
    for line in [
        "a:1|ms", "b:1|h", "c:1|d", "c:3|d", "s:1|s", "s:2|s", "s:3|s", "s:4|s", "s:1|s", "t:1|s",
    ] {
        assert_eq!(add(&mut aggregate, line, NOW_NS), Ok(()));
    }
    let counts = aggregate.counts();
    assert_eq!(
        (
            counts.without_histogram,
            counts.without_set,
            counts.set_full
        ),
        (1, 1, 1)
    );
    let rows = all(&mut aggregate);
    let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    assert!(row("a").median.is_some() && row("b").median.is_some());
    assert_eq!(
        (row("c").median, row("c").sum, row("c").max),
        (None, 4.0, 3.0)
    );
    assert_eq!((row("s").members, row("t").members), ((3, true), (0, true)));
    let later_ns = NOW_NS + 60 * SECOND_NS;
    for line in ["c:1|d", "a:1|ms", "t:9|s"] {
        assert_eq!(add(&mut aggregate, line, later_ns), Ok(()));
    }
    let rows = all(&mut aggregate);
    assert_eq!(rows[0].median, Some(1.0), "a histogram that starts empty");
    assert_eq!(rows[2].members, (1, false));
    assert_eq!(aggregate.counts().without_histogram, 1);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let mut aggregate = aggregate(small());
    let lost = Err(Lost::BeyondScale);
    assert_eq!(add(&mut aggregate, "a:1e308|c|@0.01", NOW_NS), lost);
    assert_eq!(add(&mut aggregate, "b:1e308:1e308|ms", NOW_NS), lost);
    assert_eq!(add(&mut aggregate, "c:1e308:+1e308|g", NOW_NS), lost);
    assert_eq!(add(&mut aggregate, "d:1e308|c", NOW_NS), Ok(()));
    assert_eq!(add(&mut aggregate, "d:1e308|c", NOW_NS), lost);
    assert_eq!(
        add(&mut aggregate, "e:1|c|@1e-320", NOW_NS),
        lost,
        "and it had room"
    );
    let rows = all(&mut aggregate);
    assert_eq!((rows.len(), rows[0].sum, rows[0].values), (1, 1e308, 1));
    assert_eq!(
        add(&mut aggregate, "t:1e300|ms|@1e-7", NOW_NS + 60 * SECOND_NS),
        Ok(())
    );
    let rows = all(&mut aggregate);
    assert_eq!(
        (rows[0].median, aggregate.counts().clamped),
        (Some(1e300), 1)
    );
}

#[test]
fn all_formats_meet_in_one_table_and_stay_apart() {
    let mut aggregate = aggregate(small());
    assert_eq!(add(&mut aggregate, "cpu:1|g|#a:b", NOW_NS), Ok(()));
    let point = graphite::parse(b"cpu;z=1;a=b 2 1700000000").unwrap();
    assert_eq!(aggregate.add(&point.sample(), NOW_NS), Ok(()));
    let line = br#"cpu,z=1,a=b\,c user=0.5,up=t,note="x" 1700000000000000001"#;
    let point = influx::parse(line).unwrap();
    for sample in point.samples() {
        assert_eq!(aggregate.add(&sample, NOW_NS), Ok(()));
    }
    let rows = all(&mut aggregate);
    let last: Vec<(&str, f64)> = rows.iter().map(|row| (&*row.name, row.last)).collect();
    assert_eq!(
        last,
        [
            ("cpu#a:b", 1.0),
            ("cpu#a=b;z=1", 2.0),
            (r"cpu user#a=b\,c,z=1", 0.5),
            (r"cpu up#a=b\,c,z=1", 1.0),
        ]
    );
}

#[test]
fn totals_are_exact_whatever_the_order() {
    let mut prng = crate::base::Prng::new(9);
    let mut aggregate = aggregate(Settings {
        keys: 64,
        ..small()
    });
    let mut expected = [0_u64; 50];
    for _ in 0..20_000 {
        let key = prng.below(50) as usize;
        let value = prng.below(1_000_000);
        let tenth = prng.below(2) == 0;
        expected[key] += if tenth { value * 10 } else { value };
        let rate = if tenth { "|@0.1" } else { "" };
        assert_eq!(
            add(&mut aggregate, &format!("k{key}:{value}|c{rate}"), NOW_NS),
            Ok(())
        );
    }
    for row in all(&mut aggregate) {
        let key: usize = row.name[1..].parse().unwrap();
        assert_eq!(row.sum, expected[key] as f64);
    }
}
