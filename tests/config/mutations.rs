//! Good texts with pieces cut out and put in, and bytes of any kind: nothing panics, and each problem
//! is at a place that there is.

use hopline::config::{CaseFiles, Overrides, SourceText};
use proptest::prelude::*;

use crate::{LINE, build, files};

const LOAD: &str =
    "rate = \"5k/s\"\narrivals = \"bursty\"\nseed = 7\n[[feed]]\nsource = \"btc\"\nburst = 5\n";
const BUDGET: &str = "[slo]\np99 = \"5ms\"\njitter = \"1ms\"\nipdv = \"1ms\"\n[hop.\"btc->book\"]\nof = \"wait\"\np50 = \"5us\"\n";

/// A text with pieces cut out, doubled, or put in from a list of troublemakers.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "[",
        "]",
        "[[",
        "]]",
        "=",
        "\"",
        "'",
        "\n",
        ".",
        "{",
        "}",
        ",",
        "µ",
        "\u{feff}",
        "\\u",
        "-1",
        "0",
        "nan",
        "inf",
        "1e999",
        "99999999999999999999",
        "0x7f",
        "1979-05-27",
        "\"\"",
        "true",
        "->",
        "#",
        "\0",
        "\r",
        "[[[[[[[[",
        "p99",
        "name",
        "hop",
        "kind = 5",
    ];
    let edit = (any::<prop::sample::Index>(), 0..20usize, 0..=PIECES.len());
    proptest::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, cut, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + cut).min(text.len());
            let piece = match PIECES.get(piece) {
                Some(piece) => piece.chars().collect(),
                None => text[at..end].repeat(2),
            };
            text.splice(at..end, piece);
        }
        text.into_iter().collect::<String>()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_it_panic(
        line in prop_oneof![mutated(LINE), Just(LINE.to_owned())],
        load in prop_oneof![mutated(LOAD), Just(LOAD.to_owned())],
        budget in prop_oneof![mutated(BUDGET), Just(BUDGET.to_owned())],
    ) {
        let files = files(&line, Some(&load), Some(&budget));
        if let Err(problems) = build(files, &Overrides::default()) {
            prop_assert!(!problems.is_empty());
            let lines = |text: &str| 1 + text.matches('\n').count() as u32;
            for problem in &problems.0 {
                if let Some(place) = &problem.place {
                    let text = match &*place.file {
                        "line.toml" => &line,
                        "load.toml" => &load,
                        _ => &budget,
                    };
                    prop_assert!(place.line >= 1 && place.line <= lines(text), "{}", problem);
                    prop_assert!(place.column >= 1, "{}", problem);
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(line) = SourceText::from_bytes("line.toml", bytes) {
            let files = CaseFiles { line, load: None, budget: None };
            let _ = build(files, &Overrides::default());
        }
    }
}
