//! Lines summed up on a line: windows by event time, what is late, what has no room, what a drain lets go, what an
//! overload leaves, and every text that comes out read back.

use std::collections::BTreeMap;
use std::io::Read;

use hopline::adapter::{graphite, statsd, udp};
use hopline::feed::aggregate::Settings;
use hopline::feed::{graphite as plaintext, influx as protocol};
use hopline::io::VirtualNet;
use hopline::overload::{Split, WhenFull};
use hopline::stages::{Format, Sums, TextFormat};
use hopline::topology::{Hop, Line};
use serde_json::Value;

use crate::common::data::data_dir;
use crate::rig::{AT, Out, SECOND_NS, START_S, by_udp, inject, run, seconds, sums_up};

/// What a stage says of its messages: absorbed, then rejected.
fn of_sums(out: &Out) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
    let sums = out.report.stages.iter().find(|stage| stage.name == "sums");
    let sums = sums.expect("it is a stage of this line");
    let some = |by: &BTreeMap<String, u64>| {
        let some = by.iter().filter(|(_, count)| **count > 0);
        some.map(|(why, count)| (why.clone(), *count)).collect()
    };
    (some(&sums.absorbed), some(&sums.rejected))
}

fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    of.iter()
        .map(|(why, count)| ((*why).to_owned(), *count))
        .collect()
}

#[test]
fn windows_are_by_event_time_where_there_is_one_and_else_by_receipt() {
    let net = VirtualNet::new();
    let timed = |at_s: u64| format!("a:1|c|T{at_s}");
    // Received in the first second: two of it, one of the second before, which is still open.
    inject(
        &net,
        format!("a:1|c\n{}\n{}", timed(START_S), timed(START_S - 1)).as_bytes(),
        0,
    );
    // Received in the third: late by one is in time, late by two is not; a clock that is ahead by one.
    let text = [START_S + 1, START_S, START_S + 3, START_S + 9]
        .map(timed)
        .join("\n");
    inject(
        &net,
        format!("a:1|c\n{text}").as_bytes(),
        2 * SECOND_NS + 1_000,
    );
    let mut line = by_udp(statsd(), seconds(), TextFormat::Ndjson);
    let out = run(&mut line, &net, 5 * SECOND_NS);
    let (absorbed, rejected) = of_sums(&out);
    assert_eq!(absorbed, counts(&[("aggregated", 6)]));
    assert_eq!(rejected, counts(&[("ahead", 1), ("late", 1)]));
    let windows: Vec<(u64, u64)> = out
        .rows()
        .iter()
        .map(|row| {
            let start_s = row["window_start_ns"].as_u64().unwrap() / SECOND_NS;
            (start_s + 1 - START_S, row["sum"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(windows, [(0, 1), (1, 2), (2, 1), (3, 1), (4, 1)]);
    let mut told = out
        .json()
        .into_iter()
        .filter_map(|line| line["aggregate"].as_object().cloned());
    let last = told.next_back().expect("what it did is told at the end");
    assert_eq!(
        (&last["samples"], &last["late"]),
        (&Value::from(8), &Value::from(1))
    );
}

#[test]
fn a_window_leaves_when_its_time_is_over_though_nothing_else_comes() {
    let net = VirtualNet::new();
    inject(&net, b"a:1|c", 0);
    let settings = Settings {
        late_windows: 0,
        ..seconds()
    };
    let mut line = by_udp(statsd(), settings, TextFormat::Ndjson);
    // Still running when the file is looked at would need another thread; what the drain adds is told apart by
    // what the aggregate says it did: once after the window, and not again at the end.
    let out = run(&mut line, &net, 3 * SECOND_NS);
    let told: Vec<u64> = out
        .json()
        .iter()
        .filter_map(|line| line["aggregate"]["at_ns"].as_u64())
        .collect();
    assert_eq!(told.len(), 1);
    assert!(
        (START_S + 1..START_S + 2).contains(&(told[0] / SECOND_NS)),
        "{told:?}"
    );
}

#[test]
fn keys_are_bounded_and_who_made_room_is_counted() {
    let net = VirtualNet::new();
    for window in 0..5 {
        let lines: Vec<String> = (0..6).map(|n| format!("w{window}.n{n}:1|c")).collect();
        inject(&net, lines.join("\n").as_bytes(), window * 2 * SECOND_NS);
    }
    let settings = Settings {
        keys: 4,
        late_windows: 0,
        ..seconds()
    };
    let mut line = by_udp(statsd(), settings, TextFormat::Ndjson);
    let out = run(&mut line, &net, 12 * SECOND_NS);
    let (absorbed, rejected) = of_sums(&out);
    assert_eq!(absorbed, counts(&[("aggregated", 20)]));
    assert_eq!(rejected, counts(&[("no_room", 10)]));
    let mut told = out
        .json()
        .into_iter()
        .filter_map(|line| line["aggregate"].as_object().cloned());
    let last = told.next_back().unwrap();
    assert_eq!(last["keys_evicted"], 16);
    assert_eq!(
        (&last["keys"], &last["no_room"]),
        (&Value::from(4), &Value::from(10))
    );
}

#[test]
fn a_drain_lets_all_open_windows_go_through_hops_that_hold_few_of_their_rows() {
    let net = VirtualNet::new();
    let keys: u64 = 5_000;
    let tags = "t".repeat(150);
    let lines: Vec<String> = (0..keys)
        .map(|n| format!("key-{n}:{n}|c|#{tags}"))
        .collect();
    for (nth, lines) in lines.chunks(20).enumerate() {
        inject(&net, lines.join("\n").as_bytes(), nth as u64 * 100_000);
    }
    let mut line = by_udp(statsd(), seconds(), TextFormat::Ndjson);
    let out = run(&mut line, &net, 900_000_000);
    assert_eq!(out.report.ledger.sources["in"].ingested, keys);
    let rows = out.rows();
    assert_eq!(rows.len() as u64, keys);
    let total: f64 = rows.iter().filter_map(|row| row["sum"].as_f64()).sum();
    assert_eq!(total, (keys * (keys - 1) / 2) as f64);
}

#[test]
fn totals_are_exact_for_what_was_admitted_however_much_was_not() {
    let net = VirtualNet::new();
    let mut sent = 0;
    for nth in 0..40 {
        let lines: Vec<String> = (0..500)
            .map(|n| format!("k{}:1|c", (nth + n) % 97))
            .collect();
        inject(&net, lines.join("\n").as_bytes(), nth * 10_000_000);
        sent += 500;
    }
    let mut line = Line::builder("overload");
    line.source("in", udp(AT).decode(statsd().at_most(58)));
    let hop = Hop::depth(8).when_full(WhenFull::DropNewest);
    sums_up(&mut line, seconds(), TextFormat::Ndjson, hop);
    let out = run(&mut line, &net, SECOND_NS);
    let source = &out.report.ledger.sources["in"];
    assert_eq!(source.lines(), Some(sent));
    assert!(source.shed > sent / 4, "{}", source.shed);
    let rows = out.rows();
    let total: f64 = rows.iter().filter_map(|row| row["sum"].as_f64()).sum();
    assert_eq!(total, source.ingested as f64);
    assert_eq!(of_sums(&out).0, counts(&[("aggregated", source.ingested)]));
}

#[test]
fn a_metric_is_summed_up_in_one_place_where_a_hop_is_divided_by_key() {
    let net = VirtualNet::new();
    for nth in 0..50 {
        let lines: Vec<String> = (0..40)
            .map(|n| match nth % 2 {
                0 => format!("m{n}:1|c|#a:{n},b:{n}"),
                _ => format!("m{n}:1|c|#b:{n},a:{n}"),
            })
            .collect();
        inject(&net, lines.join("\n").as_bytes(), nth * 1_000_000);
    }
    let mut line = Line::builder("divided");
    line.source("in", udp(AT).decode(statsd().at_most(512)));
    for name in ["sums-a", "sums-b"] {
        line.stage(name, || Sums::new(seconds()).unwrap());
    }
    line.stage("text", || Format::new(TextFormat::Ndjson));
    line.sink("out", hopline::adapter::file_to("out"));
    let divided = Hop::depth(64).split(Split::ByKey);
    line.connect("in", ["sums-a", "sums-b"], divided);
    line.connect(["sums-a", "sums-b"], "text", Hop::depth(128));
    line.connect("text", "out", Hop::depth(128));
    let out = run(&mut line, &net, SECOND_NS);
    let rows = out.rows();
    assert_eq!(rows.len(), 40, "each of them once");
    assert!(rows.iter().all(|row| row["sum"] == 50));
    let taken = |name: &str| {
        let stage = out.report.stages.iter().find(|stage| stage.name == name);
        stage.unwrap().absorbed["aggregated"]
    };
    assert!(taken("sums-a") > 0 && taken("sums-b") > 0);
}

#[test]
fn influx_and_graphite_text_is_read_back_as_what_was_summed_up() {
    let lines =
        "hits:1|c|@0.1|#env:prod\nlevel:-3|g\nspan:5|ms\nspan:7|ms\nwho:a|s\nwho:b|s\n_e{1,1}:a|b";
    let text = |format| {
        let net = VirtualNet::new();
        inject(&net, lines.as_bytes(), 0);
        run(&mut by_udp(statsd(), seconds(), format), &net, SECOND_NS)
    };
    let out = text(TextFormat::Influx);
    let mut read = BTreeMap::new();
    for line in out.text.lines() {
        let point =
            protocol::parse(line.as_bytes()).unwrap_or_else(|why| panic!("{why:?}: {line}"));
        for (field, value) in point.fields() {
            let name = [point.measurement.raw(), b".", field.raw()].concat();
            read.insert(String::from_utf8(name).unwrap(), value.number());
        }
    }
    let expected = |read: &BTreeMap<String, Option<f64>>| {
        assert_eq!(read["hits.sum"], Some(10.0));
        assert_eq!(read["span.count"], Some(2.0));
        assert_eq!(
            (read["span.min"], read["span.mean"]),
            (Some(5.0), Some(6.0))
        );
        assert_eq!(read["who.members"], Some(2.0));
        assert_eq!(read["level.last"], Some(-3.0));
    };
    expected(&read);
    assert!(read.contains_key("event.title"));
    let out = text(TextFormat::Graphite);
    let mut read = BTreeMap::new();
    for line in out.text.lines() {
        let point =
            plaintext::parse(line.as_bytes()).unwrap_or_else(|why| panic!("{why:?}: {line}"));
        let name = String::from_utf8(point.path.to_vec()).unwrap();
        read.insert(name, Some(point.value));
    }
    expected(&read);
    let format = out.report.stages.iter().find(|stage| stage.name == "text");
    assert_eq!(
        format.unwrap().absorbed["no_form"],
        1,
        "an event has no path"
    );
}

/// The values of a series of the Numenta anomaly benchmark, by name.
fn series(archive: &[u8]) -> Vec<(String, Vec<f64>)> {
    let mut found = Vec::new();
    let mut rest = archive;
    // POSIX.1-1988 ustar: blocks of 512 bytes, the name from 0, the length in octal from 124.
    while let Some((head, tail)) = rest.split_first_chunk::<512>() {
        let text = |from: usize, len: usize| {
            let field = &head[from..from + len];
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(len);
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let Ok(len) = usize::from_str_radix(&text(124, 12), 8) else {
            break;
        };
        let name = text(0, 100);
        if name.ends_with(".csv") {
            let csv = std::str::from_utf8(&tail[..len]).unwrap();
            let values = csv
                .lines()
                .skip(1)
                .filter_map(|line| line.rsplit_once(',')?.1.parse().ok());
            let name = name.rsplit('/').next().unwrap().trim_end_matches(".csv");
            found.push((name.to_owned(), values.collect()));
        }
        rest = tail.get(len.next_multiple_of(512)..).unwrap_or(b"");
    }
    found
}

#[test]
fn real_series_by_graphite_have_the_levels_that_they_have() {
    let name = "real_series_by_graphite_have_the_levels_that_they_have";
    let Some(folder) = data_dir(name) else {
        return;
    };
    let file = std::fs::File::open(folder.join("telemetry/numenta_nab_data.tar.gz")).unwrap();
    let mut archive = Vec::new();
    flate2::read::GzDecoder::new(file)
        .read_to_end(&mut archive)
        .unwrap();
    let series = series(&archive);
    assert!(series.len() > 20, "{}", series.len());
    let net = VirtualNet::new();
    let mut lines = 0;
    for (name, values) in &series {
        for values in values.chunks(30) {
            let text: Vec<String> = values
                .iter()
                .map(|value| format!("nab.{name} {value:?} -1"))
                .collect();
            inject(&net, text.join("\n").as_bytes(), lines * 2_000);
            lines += values.len() as u64;
        }
    }
    let settings = Settings {
        window_ns: 3_600 * SECOND_NS,
        ..Settings::default()
    };
    let mut line = by_udp(graphite(), settings, TextFormat::Ndjson);
    let out = run(&mut line, &net, lines * 2_000 + SECOND_NS);
    assert_eq!(out.report.ledger.sources["in"].ingested, lines);
    let rows = out.rows();
    assert_eq!(rows.len(), series.len());
    for (name, values) in &series {
        let row = rows.iter().find(|row| row["name"] == format!("nab.{name}"));
        let row = row.unwrap_or_else(|| panic!("{name}"));
        let (min, max) = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| {
                (value.min(min), value.max(max))
            });
        assert_eq!(row["values"].as_u64(), Some(values.len() as u64), "{name}");
        let near = |given: &Value, exact: f64| {
            let given = given.as_f64().unwrap();
            assert!(
                (given - exact).abs() <= 1e-9 * exact.abs().max(1.0),
                "{name}: {given} {exact}"
            );
        };
        near(&row["min"], min);
        near(&row["max"], max);
        near(&row["last"], *values.last().unwrap());
        near(
            &row["mean"],
            values.iter().sum::<f64>() / values.len() as f64,
        );
    }
}
