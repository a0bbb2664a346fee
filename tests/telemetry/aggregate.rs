//! Windows against a slow model without bounds, and their bounds under a flood of keys.

use std::collections::{BTreeMap, BTreeSet};

use hopline::base::{Prng, Reason};
use hopline::feed::aggregate::{Aggregate, Counts, Lost, Row, Settings};
use hopline::feed::statsd::{self, Line};
use hopline::feed::{Class, Lines};

use crate::captured;
use crate::edits::edited;

const SECOND_NS: u64 = 1_000_000_000;
const START_S: u64 = 1_700_000_000;

/// What the model knows of a key in a window.
#[derive(Default)]
struct Cell {
    /// Values with their weight, in the order of their coming.
    values: Vec<(f64, u64)>,
    last: (u64, f64),
    members: BTreeSet<String>,
}

/// By start of the window and by class and key.
type Model = BTreeMap<(u64, &'static str, String), Cell>;

fn key(row: &Row<'_>) -> (u64, &'static str, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let name = format!("{}#{}", text(row.name), text(row.tags.bytes));
    (row.window_start_ns / SECOND_NS, row.class.name(), name)
}

/// Whether a row is what the model says; whole numbers are to be equal, quantiles within a bucket.
fn check(row: &Row<'_>, cell: &Cell) {
    if row.class == Class::Set {
        assert_eq!(
            (row.members, row.members_incomplete),
            (cell.members.len() as u64, false)
        );
        return;
    }
    let weight: u64 = cell.values.iter().map(|(_, weight)| weight).sum();
    let sum: f64 = cell
        .values
        .iter()
        .map(|(value, weight)| value * *weight as f64)
        .sum();
    assert_eq!(
        (row.values, row.weight, row.sum),
        (cell.values.len() as u64, weight as f64, sum)
    );
    let values = || cell.values.iter().map(|(value, _)| *value);
    assert_eq!(row.min, values().fold(f64::INFINITY, f64::min));
    assert_eq!(row.max, values().fold(f64::NEG_INFINITY, f64::max));
    assert_eq!(row.last, cell.last.1);
    let Some(_) = row.tally() else {
        assert!(matches!(row.class, Class::Counter | Class::Gauge));
        return;
    };
    let mut sorted: Vec<f64> = Vec::new();
    for (value, weight) in &cell.values {
        sorted.extend(std::iter::repeat_n(*value, *weight as usize));
    }
    sorted.sort_unstable_by(f64::total_cmp);
    for q in [0.5, 0.9, 0.99, 1.0] {
        let rank = ((q * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
        let exact = sorted[rank - 1];
        let given = row.quantile(q).unwrap();
        assert!(
            given >= exact - 1e-9 && given <= exact * 1.01 + 1e-3,
            "{q}: {given} for {exact}"
        );
    }
}

#[test]
fn windows_of_generated_lines_are_those_of_the_model() {
    let mut aggregate = Aggregate::new(Settings {
        window_ns: SECOND_NS,
        late_windows: 2,
        keys: 512,
        histograms: 1_024,
        ..Settings::default()
    })
    .unwrap();
    let mut prng = Prng::new(0xa66_0001);
    let mut model = Model::new();
    let (mut late, mut ahead, mut rows) = (0, 0, 0);
    let mut now_ns = START_S * SECOND_NS;
    for _ in 0..60_000 {
        now_ns += prng.below(2_000_000);
        rows += aggregate.close_due(now_ns, 7, |row| {
            let cell = model.remove(&key(row)).unwrap();
            check(row, &cell);
        });
        let now_s = now_ns / SECOND_NS;
        let number = prng.below(40);
        let name = format!("k{}", number / 2);
        let tags = ["", "|#a:1,b:2", "|#b:2,a:1"][prng.below(3) as usize];
        let (class, text) = [
            (Class::Counter, "c"),
            (Class::Gauge, "g"),
            (Class::Timer, "ms"),
            (Class::Histogram, "h"),
            (Class::Distribution, "d"),
            (Class::Set, "s"),
        ][(number % 6) as usize];
        let value = prng.below(1_000);
        let tenth = prng.below(4) == 0 && !matches!(class, Class::Gauge | Class::Set);
        let rate = if tenth { "|@0.1" } else { "" };
        let at_s = (prng.below(3) == 0).then(|| now_s - 4 + prng.below(9));
        let time = at_s.map_or(String::new(), |at_s| format!("|T{at_s}"));
        let line = format!("{name}:{value}|{text}{rate}{tags}{time}");
        let Ok(Line::Metric(metric)) = statsd::parse(line.as_bytes()) else {
            panic!("{line}");
        };
        let taken = aggregate.add(&metric.sample(), now_ns);
        match at_s {
            Some(at_s) if at_s < now_s - 2 => {
                assert_eq!(taken, Err(Lost::Late), "{line}");
                late += 1;
                continue;
            }
            // Five places, of which the oldest may still be handed out.
            Some(at_s) if taken.is_err() => {
                assert!(taken == Err(Lost::Ahead) && at_s >= now_s + 2, "{line}");
                ahead += 1;
                continue;
            }
            _ => assert_eq!(taken, Ok(()), "{line}"),
        }
        let at_ns = at_s.map_or(now_ns, |at_s| at_s * SECOND_NS);
        let tags = if tags.is_empty() { "" } else { "a:1,b:2" };
        let name = format!("{name}#{tags}");
        let cell = model
            .entry((at_ns / SECOND_NS, class.name(), name))
            .or_default();
        cell.values.push((value as f64, if tenth { 10 } else { 1 }));
        cell.members.insert(value.to_string());
        if at_ns >= cell.last.0 {
            cell.last = (at_ns, value as f64);
        }
    }
    rows += aggregate.close_all(usize::MAX, |row| {
        let cell = model.remove(&key(row)).unwrap();
        check(row, &cell);
    });
    assert!(model.is_empty(), "{} rows never came", model.len());
    let counts = aggregate.counts();
    assert_eq!(
        (
            counts.lost[Lost::Late.index()],
            counts.lost[Lost::Ahead.index()]
        ),
        (late, ahead)
    );
    assert_eq!(
        (counts.taken(), counts.rows),
        (60_000 - late - ahead, rows as u64)
    );
    assert!(
        late > 1_000 && ahead > 100 && rows > 1_000,
        "{late} {ahead} {rows}"
    );
    assert_eq!(
        (
            counts.without_histogram,
            counts.without_set,
            counts.keys_evicted
        ),
        (0, 0, 0)
    );
}

#[test]
fn a_flood_of_keys_is_bounded_and_counted() {
    let mut aggregate = Aggregate::new(Settings {
        window_ns: SECOND_NS,
        late_windows: 0,
        keys: 1_000,
        histograms: 10,
        sets: 10,
        ..Settings::default()
    })
    .unwrap();
    let mut prng = Prng::new(0xa66_0002);
    let mut now_ns = START_S * SECOND_NS;
    let (mut sum, mut taken) = (0.0, 0_u64);
    let mut samples = 0;
    for _ in 0..200_000 {
        now_ns += prng.below(1_000_000);
        aggregate.close_due(now_ns, 32, |row| {
            sum += if row.class == Class::Counter {
                row.sum
            } else {
                0.0
            }
        });
        let class = ["c", "ms", "s"][prng.below(3) as usize];
        // Half of all come from a few keys that stay, half from keys that never come again.
        let name = match prng.below(2) {
            0 => prng.below(100),
            _ => 1_000_000 + samples,
        };
        let line = format!("key{name}:1|{class}|#id:{name}");
        let Ok(Line::Metric(metric)) = statsd::parse(line.as_bytes()) else {
            panic!("{line}");
        };
        samples += 1;
        let add = aggregate.add(&metric.sample(), now_ns);
        taken += u64::from(add.is_ok() && class == "c");
        assert!(matches!(add, Ok(()) | Err(Lost::NoRoom)), "{add:?}");
    }
    while aggregate.close_all(100, |row| {
        sum += if row.class == Class::Counter {
            row.sum
        } else {
            0.0
        }
    }) > 0
    {}
    let counts: Counts = aggregate.counts();
    assert_eq!(sum, taken as f64, "counters are exact for what was taken");
    assert_eq!(counts.samples, samples);
    assert_eq!(counts.taken() + counts.lost[Lost::NoRoom.index()], samples);
    assert!(aggregate.keys() <= 1_000 && counts.keys_evicted > 1_000);
    assert!(counts.without_histogram > 0 && counts.without_set > 0);
    assert!(
        aggregate.probes() < 8 * samples,
        "{} places for {samples} samples",
        aggregate.probes()
    );
}

#[test]
fn edited_lines_are_taken_or_counted() {
    let seeds: &[&[u8]] = &[
        b"a:1|c|#x:1,y:2",
        b"b:1:2:3|ms|@0.5",
        b"c:-5|g|T1700000000",
        b"d:e|s|#z,y,x,w",
        b"e:1e300|h",
    ];
    let mut aggregate = Aggregate::new(Settings {
        keys: 64,
        key_bytes: 48,
        histograms: 8,
        sets: 4,
        set_members: 4,
        ..Settings::default()
    })
    .unwrap();
    let mut prng = Prng::new(0xa66_0003);
    let mut now_ns = START_S * SECOND_NS;
    let (mut given, mut values, mut handed_out) = (0, 0, 0);
    let count = |sample: &hopline::feed::Sample<'_>| match sample.class {
        Class::Set => 1,
        _ => sample.values.count() as u64,
    };
    for _ in 0..crate::inputs() {
        now_ns += prng.below(SECOND_NS);
        aggregate.close_due(now_ns, 3, |row| handed_out += row.values);
        let input = edited(&mut prng, seeds);
        for line in Lines::new(&input) {
            if let Ok(Line::Metric(metric)) = statsd::parse(line) {
                given += 1;
                let sample = metric.sample();
                if aggregate.add(&sample, now_ns).is_ok() {
                    values += count(&sample);
                }
            }
        }
    }
    aggregate.close_all(usize::MAX, |row| {
        assert!(row.min <= row.max && row.sum.is_finite());
        handed_out += row.values;
    });
    assert_eq!(aggregate.counts().samples, given);
    assert_eq!(handed_out, values, "what was taken is in one row");
}

#[test]
fn captured_counters_add_up_to_what_was_sent() {
    let Some(datagrams) = captured("captured_counters_add_up_to_what_was_sent") else {
        return;
    };
    let mut aggregate = Aggregate::new(Settings::default()).unwrap();
    let mut totals: BTreeMap<String, (u64, f64)> = BTreeMap::new();
    let mut total = |row: &Row<'_>| {
        let name = format!("{} {}", row.class.name(), String::from_utf8_lossy(row.name));
        let entry = totals.entry(name).or_default();
        entry.0 += row.values;
        entry.1 += row.sum;
    };
    for (now_ns, bytes) in &datagrams {
        while aggregate.close_due(*now_ns, 64, &mut total) == 64 {}
        for line in Lines::new(bytes) {
            if let Ok(Line::Metric(metric)) = statsd::parse(line) {
                assert_eq!(aggregate.add(&metric.sample(), *now_ns), Ok(()));
            }
        }
    }
    aggregate.close_all(usize::MAX, &mut total);
    assert_eq!(totals["counter app.req"], (2_000, 2_000.0));
    assert_eq!(totals["timer app.lat"].0, 2_000);
    let values: u64 = totals.values().map(|(values, _)| values).sum();
    assert_eq!(values, 2_000 + 965 + 2_000 + 3_558);
}
