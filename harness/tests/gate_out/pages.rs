//! The pages for people, read by another's parser and searched for what a page may not have.

use hopline_harness::gate::model::{END_TO_END, Word};
use hopline_harness::gate::out::compare::Comparison;
use hopline_harness::gate::out::page::{comparison, page};

use crate::{HOSTILE, all, report};

/// The page is XML too, so that another's parser can say whether every text stayed in its place.
fn well_formed(page: &str) -> roxmltree::Document<'_> {
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..roxmltree::ParsingOptions::default()
    };
    roxmltree::Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong with a page: what runs or is fetched, leads nowhere, has no words for those who do not see it.
fn page_faults(page: &str) -> Vec<String> {
    let tree = well_formed(page);
    let mut faults = Vec::new();
    let mut ids: Vec<&str> = tree
        .descendants()
        .filter_map(|node| node.attribute("id"))
        .collect();
    for node in tree.descendants().filter(roxmltree::Node::is_element) {
        let name = node.tag_name().name();
        if ["script", "iframe", "img", "object", "embed"].contains(&name) {
            faults.push(format!("<{name}>"));
        }
        for attribute in node.attributes() {
            let (key, value) = (attribute.name(), attribute.value());
            let leads =
                || value.strip_prefix('#').is_some_and(|id| ids.contains(&id)) || value == "data:,";
            if key.starts_with("on") || key == "src" || (key == "href" && !leads()) {
                faults.push(format!("{key}={value}"));
            }
            if value.contains("NaN") || value.contains("inf%") {
                faults.push(format!("no number: {key}={value}"));
            }
        }
        let is_hidden = node
            .ancestors()
            .any(|node| node.attribute("aria-hidden").is_some());
        if name == "svg" && !is_hidden && node.attribute("aria-label").is_none_or(str::is_empty) {
            faults.push("a picture without words".to_owned());
        }
        if name == "th" && node.attribute("scope").is_none() {
            faults.push("a title of nothing".to_owned());
        }
    }
    let style = tree.descendants().find(|node| node.has_tag_name("style"));
    let style = style.and_then(|node| node.text()).unwrap_or_default();
    if style.contains("url(")
        || style.contains("@import")
        || !style.contains("prefers-color-scheme: dark")
    {
        faults.push("the style".to_owned());
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() != all {
        faults.push("an id stands twice".to_owned());
    }
    faults
}

#[test]
fn the_page_is_whole_asks_for_nothing_and_can_be_read_aloud() {
    let reports = all();
    let pages = reports.iter().map(page);
    let both = Comparison::new(
        [&reports[0], &reports[4]],
        [HOSTILE.to_owned(), "b".to_owned()],
    );
    for page in pages.chain([comparison(&both)]) {
        assert_eq!(page_faults(&page), Vec::<String>::new());
    }
    let good = page(report());
    for (from, to, words) in [
        ("</main>", "<script>1</script></main>", "<script>"),
        (
            "href=\"#main\"",
            "href=\"https://example.org\"",
            "example.org",
        ),
        ("href=\"#main\"", "href=\"#nowhere\"", "nowhere"),
        (
            "<svg class=\"bullet\" role=\"img\" aria-label=\"",
            "<svg class=\"bullet\" x=\"",
            "without words",
        ),
        ("id=\"blame\"", "id=\"main\"", "twice"),
        ("prefers-color-scheme: dark", "x", "style"),
    ] {
        let planted = good.replacen(from, to, 1);
        assert_ne!(planted, good, "{from}");
        let found = page_faults(&planted).join("; ");
        assert!(found.contains(words), "{from}: {found}");
    }
}

#[test]
fn the_page_shows_every_verdict_with_its_word_sign_and_figures() {
    let text = page(report());
    let tree = well_formed(&text);
    let table = tree
        .descendants()
        .find(|node| node.attribute("class") == Some("verdicts"))
        .unwrap();
    let text_of = |node: roxmltree::Node<'_, '_>| -> String {
        let texts = node.descendants().filter(roxmltree::Node::is_text);
        texts.filter_map(|text| text.text()).collect()
    };
    let rows: Vec<Vec<String>> = table
        .descendants()
        .filter(|node| node.has_tag_name("tr"))
        .skip(1)
        .map(|row| row.children().map(text_of).collect())
        .collect();
    assert_eq!(rows.len(), report().verdicts.len());
    for verdict in &report().verdicts {
        let is_whole = verdict.hop == END_TO_END;
        let key = [
            if is_whole { "end to end" } else { &verdict.hop },
            if is_whole { "" } else { &verdict.of },
            &verdict.quantile.replace('_', "."),
        ];
        let row = rows.iter().find(|row| row[..3] == key).unwrap();
        let word = match verdict.word {
            Word::Pass => "✓PASS",
            Word::PassClean => "≈PASS_CLEAN",
            Word::Inconclusive => "?INCONCLUSIVE",
            Word::Fail => "✗FAIL",
            Word::Loss => "!LOSS",
        };
        let said = &row[3];
        assert!(
            said == word || said.starts_with(&format!("{word} ")),
            "{row:?}"
        );
    }
    for id in [
        "next",
        "verdicts",
        "percentiles",
        "timeline",
        "blame",
        "worst",
        "ledger",
        "loops",
        "host",
        "reproduce",
    ] {
        assert!(
            tree.descendants()
                .any(|node| node.attribute("id") == Some(id)),
            "{id}"
        );
    }
    let plots = tree
        .descendants()
        .filter(|node| node.attribute("class") == Some("percentiles"))
        .count();
    assert_eq!(plots, 5 * 2 + 1);
}

#[test]
fn what_a_bare_wake_takes_stands_beside_the_loops_where_one_was_measured() {
    let text = page(report());
    for words in ["Bare wakes", "0 wakes 1", "2,000", "38.1"] {
        assert!(text.contains(words), "{words}");
    }
    let mut none = report().clone();
    let runs = none.runs.iter_mut().chain(&mut none.base_runs);
    runs.for_each(|run| run.wake_probe = None);
    assert!(!page(&none).contains("Bare wakes"));
}
