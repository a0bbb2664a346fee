//! Shapes of a load in `load.toml`, and what a run changes of it.

use hopline::config::{Case, LoadChange, Overrides};
use hopline::feed::shape::SHAPES;
use hopline::feed::{Arrivals, Shape};

use crate::{LINE, build, files, said};

fn said_of(load: &str) -> String {
    said(files(LINE, Some(load), None), &Overrides::default())
}

fn shape(text: &str) -> Shape {
    Shape::parse(text).unwrap()
}

/// What a change makes of the load of the line's one source.
fn changed(load: &str, change: &LoadChange) -> Result<(Shape, f64, u64), String> {
    let mut case = Case::parse("folder", files(LINE, Some(load), None)).unwrap();
    case.change_load(change)
        .map_err(|problem| problem.to_string())?;
    let feed = &case.load().unwrap().feeds[0];
    Ok((feed.shape.clone(), feed.rate_per_s, feed.seed))
}

#[test]
fn every_shape_is_read_and_makes_a_line() {
    for (text, rate) in [
        ("constant", "rate = \"20k/s\"\n"),
        ("poisson", ""),
        ("bursty", ""),
        ("bursts=100/1ms", "rate = \"100k/s\"\n"),
        ("ramp=10k..100k/10s", ""),
        ("steps=10k..100k/10/1s", ""),
        ("recorded=capture.gz", ""),
    ] {
        let load = format!("{rate}arrivals = \"{text}\"\n");
        let case = Case::parse("folder", files(LINE, Some(&load), None)).unwrap();
        assert_eq!(case.load().unwrap().feeds[0].shape, shape(text));
        if let Err(problems) = build(files(LINE, Some(&load), None), &Overrides::default()) {
            panic!("{text}: {problems}");
        }
    }
}

#[test]
fn a_wrong_shape_is_told_with_its_place() {
    assert_eq!(
        said_of("arrivals = \"bursts=100\"\n"),
        "load.toml:1:1: \"arrivals\" = \"bursts=100\" cannot be read\n  \
         help: write messages and the span they come within, such as \"bursts=100/1ms\""
    );
    assert_eq!(
        said_of("rate = \"20k/s\"\narrivals = \"bursts=100/6ms\"\n"),
        "load.toml:2:1: 100 messages within 6000000 ns are slower than the mean rate of 20000 a second\n  \
         help: write a span of at most 5.00ms, which is from one burst to the next"
    );
    assert_eq!(
        said_of("rate = \"20k/s\"\narrivals = \"ramp=1..2/1s\"\n"),
        "load.toml:1:1: \"rate\" says nothing of arrivals that bring their own rates\n  \
         help: remove it, or choose other arrivals"
    );
    assert_eq!(
        said_of("arrivals = 5\n"),
        "load.toml:1:1: \"arrivals\" is a whole number\n  help: write a text, such as arrivals = \"…\""
    );
    // Of the top as well as of one source.
    assert_eq!(
        said_of("[[feed]]\nsource = \"btc\"\narrivals = \"steps=1..2/1s\"\n"),
        "load.toml:3:1: \"arrivals\" = \"steps=1..2/1s\" cannot be read\n  \
         help: write two rates, how many steps and how long each is, such as \"steps=10k..100k/10/1s\""
    );
}

#[test]
fn a_run_changes_rate_shape_and_seed() {
    let load = "rate = \"5k/s\"\narrivals = \"bursty\"\nburst = 7\nseed = 3\n";
    let bursty = Shape::Of(Arrivals::Bursty {
        burst: 7,
        intensity: 20,
    });
    assert_eq!(
        changed(load, &LoadChange::default()),
        Ok((bursty.clone(), 5e3, 3))
    );
    let change = |shape: Option<&str>, rate_per_s, seed| LoadChange {
        rate_per_s,
        shape: shape.map(|text| Shape::parse(text).unwrap()),
        seed,
        ..LoadChange::default()
    };
    // Bursty stays as bursty as the file has it.
    assert_eq!(
        changed(load, &change(Some("bursty"), Some(2e4), Some(9))),
        Ok((bursty, 2e4, 9))
    );
    assert_eq!(
        changed(load, &change(Some("ramp=1..2/1s"), None, None)),
        Ok((shape("ramp=1..2/1s"), 5e3, 3))
    );
}

#[test]
fn a_factor_keeps_the_proportion_of_the_sources() {
    let line =
        "[[source]]\nname = \"btc\"\nkind = \"udp\"\n[[source]]\nname = \"eth\"\nkind = \"udp\"\n";
    let load = "rate = \"6k/s\"\n[[feed]]\nsource = \"eth\"\nrate = \"3k/s\"\n";
    let mut case = Case::parse("folder", files(line, Some(load), None)).unwrap();
    let factor = |factor| LoadChange {
        factor: Some(factor),
        ..LoadChange::default()
    };
    case.change_load(&factor(1.5)).unwrap();
    let feeds = &case.load().unwrap().feeds;
    let rates: Vec<f64> = feeds.iter().map(|feed| feed.rate_per_s).collect();
    assert_eq!(rates, [9e3, 4.5e3]);
    assert!(case.change_load(&factor(0.0)).is_err());
    assert!(case.change_load(&factor(1e9)).is_err(), "above all rates");
    let words = changed("arrivals = \"ramp=1..2/1s\"\n", &factor(2.0)).unwrap_err();
    assert!(words.starts_with("a rate says nothing of"), "{words}");
}

#[test]
fn changes_that_say_nothing_or_cannot_be_are_told() {
    let rate = |rate_per_s| LoadChange {
        rate_per_s: Some(rate_per_s),
        ..LoadChange::default()
    };
    let words = changed("arrivals = \"ramp=1..2/1s\"\n", &rate(2e4)).unwrap_err();
    assert!(
        words.starts_with("a rate says nothing of \"ramp=1..2/1000000000ns\""),
        "{words}"
    );
    // What the file's rate allowed another one does not.
    let bursts = "rate = \"1k/s\"\narrivals = \"bursts=100/50ms\"\n";
    assert!(changed(bursts, &rate(2e3)).is_ok());
    let words = changed(bursts, &rate(2.1e3)).unwrap_err();
    assert!(
        words.starts_with("the load of \"btc\": 100 messages"),
        "{words}"
    );

    let mut fed_by_nobody = Case::parse("folder", files(LINE, None, None)).unwrap();
    assert!(fed_by_nobody.change_load(&LoadChange::default()).is_ok());
    let problem = fed_by_nobody.change_load(&rate(1.0)).unwrap_err();
    assert!(problem.what.contains("no load.toml"), "{problem}");
}

#[test]
fn the_shapes_in_the_text_are_those_that_are_read() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/CONFIG.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, list) = text.split_once("**Shapes of a load.**").unwrap();
    let told: Vec<Shape> = list
        .lines()
        .skip_while(|line| !line.starts_with("- `\""))
        .map_while(|line| line.strip_prefix("- `\"")?.split_once("\"`"))
        .map(|(told, _)| shape(told))
        .collect();
    let words: Vec<String> = told
        .iter()
        .map(|shape| shape.to_string().split('=').next().unwrap().to_owned())
        .collect();
    assert_eq!(words, SHAPES);
}
