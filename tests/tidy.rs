//! House rules of the whole repository, as a test: sizes, words, links, and that what is data has all its parts.
//!
//! Each rule is tested on a planted fault below.

#[path = "house/habits.rs"]
mod habits;
#[path = "house/lexer.rs"]
#[allow(
    dead_code,
    reason = "only the split of code and comments is needed here"
)]
mod lexer;
#[path = "house/tree.rs"]
mod tree;

/// Widest line of a Rust file, in characters; formatting aims at 100, tables of tests may need more.
const COLUMNS_MAX: usize = 140;

/// Longest Rust file, in lines.
const LINES_MAX: usize = 700;

/// The one file that has to name a registry.
const LOCK: &str = "Cargo.lock";

/// A word that has a better one. `below` are the folders where it counts; none means everywhere.
struct Word {
    text: &'static str,
    below: &'static [&'static str],
    instead: &'static str,
}

/// The words, in two halves each, so that this file does not say them.
const WORDS: &[Word] = &[
    Word {
        text: concat!("ga", "ted"),
        below: &[],
        instead: "a consumer holds back its producer; the gate is the verdict in CI",
    },
    Word {
        text: concat!("TO", "DO"),
        below: &[],
        instead: "do it, or leave it out",
    },
    Word {
        text: concat!("FIX", "ME"),
        below: &[],
        instead: "fix it",
    },
    Word {
        text: concat!("XX", "X"),
        below: &[],
        instead: "say what is wrong, or put it right",
    },
    Word {
        text: concat!("#[ig", "nore"),
        below: &[],
        instead: "a test runs or is taken out; a missing input is a counted skip",
    },
    Word {
        text: concat!("thread::", "sleep"),
        below: &["src/", "tests/"],
        instead: "wait for what happens, not for a time",
    },
    Word {
        text: concat!("/ho", "me/"),
        below: &[],
        instead: "a path of one machine",
    },
    Word {
        text: concat!("/ro", "ot/"),
        below: &[],
        instead: "a path of one machine",
    },
    Word {
        text: concat!("/wo", "rk"),
        below: &[],
        instead: "a path of one machine",
    },
    Word {
        text: concat!("/t", "mp/"),
        below: &[],
        instead: "a temporary folder comes from tempfile or mktemp",
    },
    Word {
        text: concat!("regis", "try+http"),
        below: &[],
        instead: "only the lock file names registries",
    },
    Word {
        text: concat!("://regis", "try."),
        below: &[],
        instead: "only the lock file names registries",
    },
    Word {
        text: concat!("index.cra", "tes.io"),
        below: &[],
        instead: "only the lock file names registries",
    },
    Word {
        text: concat!("static.cra", "tes.io"),
        below: &[],
        instead: "only the lock file names registries",
    },
];

/// What a case in `harness/cases/` consists of.
const CASE_FILES: &[&str] = &["line.toml", "load.toml", "budget.toml"];

/// Keys of a knob in `tuning/knobs/`.
const KNOB_KEYS: &[&str] = &[
    "name", "what", "why", "check", "apply", "undo", "risk", "gain",
];

/// Keys of a profile in `tuning/profiles/`.
const PROFILE_KEYS: &[&str] = &["name", "what", "knobs"];

/// Commands that only read, so that a check is always safe.
const READERS: &[&str] = &["cat", "getconf", "lscpu", "uname"];

/// Headings of a runbook, in order.
const RUNBOOK_HEADINGS: &[&str] = &["Symptom", "Confirm", "Causes", "Act", "Undo", "Drill"];

#[test]
fn the_project_is_tidy() {
    let found = habits::breaches(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

const KNOB: &str =
    "name = \"one\"\nwhat = \"\"\nwhy = \"\"\napply = []\nundo = []\nrisk = \"\"\ngain = \"\"\n";
const CHECK: &str = "[check]\ncommand = [\"cat\", \"x\"]\nexpect = { equals = \"1\" }\n";
const RUNBOOK: &str =
    "# One\n\n## Symptom\na\n## Confirm\na\n## Causes\na\n## Act\na\n## Undo\na\n## Drill\na\n";
const SCRIPT: &str = "#!/usr/bin/env bash\n# Proves one.\nset -euo pipefail\n";

/// Plants `files` into a tidy project and gives what is found.
fn breaches_with(files: &[(&str, &str)]) -> Vec<String> {
    let knob = format!("{KNOB}{CHECK}");
    let mut all = vec![
        (
            "README.md",
            "[one](docs/ONE.md#part) [far](https://example.org) the case `one-two`\n",
        ),
        (
            "docs/ONE.md",
            "[back](../README.md) `[no](link)`\n```\n[no](link)\n```\n",
        ),
        (
            "src/base/limits.rs",
            "//! Bounds.\n/// Why.\npub const A: u8 = 1;\n",
        ),
        (
            "src/base/mod.rs",
            "//! Words.\n//!\n//! Invariant: few.\npub mod limits;\n",
        ),
        ("src/base/assets/page.css", "a { color: red; }\n"),
        ("harness/cases/one-two/line.toml", ""),
        ("harness/cases/one-two/load.toml", ""),
        ("harness/cases/one-two/budget.toml", ""),
        ("tuning/knobs/one.toml", knob.as_str()),
        (
            "tuning/profiles/p.toml",
            "name = \"p\"\nwhat = \"\"\n[knobs]\none = \"apply\"\n",
        ),
        ("runbooks/README.md", "[one](one.md)\n"),
        ("runbooks/one.md", RUNBOOK),
        (".ci/one", SCRIPT),
        (
            "Cargo.lock",
            "source = \"x+https://github.com/rust-lang/crates.io-index\"\n",
        ),
    ];
    all.extend_from_slice(files);
    habits::breaches(tree::plant(&all).path())
}

/// Plants each file and expects exactly one breach, which says all the words.
fn each_is_named(faults: &[(&str, &str, &[&str])]) {
    for (file, text, words) in faults {
        let found = breaches_with(&[(file, text)]);
        let named = found.len() == 1 && words.iter().all(|word| found[0].contains(word));
        assert!(
            named,
            "{file}: {text}\nwanted: {words:?}\nfound: {found:#?}"
        );
    }
}

#[test]
fn a_tidy_project_has_no_breach() {
    assert_eq!(breaches_with(&[]), Vec::<String>::new());
}

#[test]
fn sizes_are_named() {
    let wide = format!("//! {}\n", "x".repeat(COLUMNS_MAX));
    let long = "//! x\n".repeat(LINES_MAX + 1);
    each_is_named(&[
        ("tests/x.rs", &wide, &["tests/x.rs:1: 144 columns"]),
        ("tests/x.rs", &long, &["tests/x.rs: 701 lines"]),
    ]);
}

#[test]
fn each_word_is_named_and_its_neighbours_are_not() {
    for word in WORDS {
        let file = format!("{}x.md", word.below.first().unwrap_or(&"docs/"));
        let (alone, named) = (format!("//!\na {} b\n", word.text), format!("{file}:2:"));
        each_is_named(&[(&file, &alone, &[&named, word.text])]);
        if word.text.starts_with('/') {
            let inside = format!("//! src{}\n", word.text);
            assert_eq!(breaches_with(&[(&file, &inside)]), Vec::<String>::new());
        }
    }
    let fine = concat!(
        "investiga",
        "ted propaga",
        "ted aTO",
        "DO /wo",
        "rker harness/wo",
        "rk\n"
    );
    assert_eq!(breaches_with(&[("docs/x.md", fine)]), Vec::<String>::new());
}

#[test]
fn texts_that_do_not_hold_are_named() {
    each_is_named(&[
        (
            "docs/x.md",
            "\nsee [it](NONE.md)\n",
            &["docs/x.md:2:", "NONE.md"],
        ),
        (
            "docs/x.md",
            "[out](../../x.md)\n",
            &["docs/x.md:1:", "../../x.md"],
        ),
        (
            "src/base/limits.rs",
            "//! x\n\npub const A: u8 = 1;\n",
            &["limits.rs:3:", "reason"],
        ),
        (
            "src/base/mod.rs",
            "//! x\npub mod limits;\n",
            &["src/base/mod.rs", "Invariant"],
        ),
        (
            "src/base/x.rs",
            "const A: u8 = 1;\n",
            &["src/base/x.rs", "what the file is for"],
        ),
        (
            "Cargo.lock",
            "source = \"x+https://elsewhere\"\n",
            &["Cargo.lock:1:", "registry"],
        ),
        (
            ".ci/two",
            "#!/usr/bin/env bash\nset -euo pipefail\n",
            &[".ci/two", "first comment"],
        ),
    ]);
}

#[test]
fn data_that_lacks_a_part_is_named() {
    let twin = format!("{}{CHECK}", KNOB.replace("one", "two"));
    let writes = format!("{KNOB}{}", CHECK.replace("cat", "tee"));
    let blind = format!("{KNOB}[check]\ncommand = [\"cat\"]\n");
    let riskless = format!("{KNOB}{CHECK}").replace("risk = \"\"\n", "");
    let undone = RUNBOOK.replace("## Undo\na\n", "");
    let empty = RUNBOOK.replace("## Act\na\n", "## Act\n\n");
    let profile = "name = \"p\"\nwhat = \"\"\n[knobs]\ntwo = \"apply\"\n";
    each_is_named(&[
        ("tuning/knobs/one.toml", &twin, &["name is not the file's"]),
        ("tuning/knobs/one.toml", &writes, &["check.command"]),
        ("tuning/knobs/one.toml", &blind, &["check.expect"]),
        ("tuning/knobs/one.toml", &riskless, &["no key risk"]),
        (
            "tuning/knobs/two.toml",
            "name = ",
            &["tuning/knobs/two.toml"],
        ),
        ("tuning/profiles/p.toml", profile, &["no knob two"]),
        (
            "tuning/profiles/p.toml",
            "name = \"p\"\nwhat = \"\"\n",
            &["no key knobs"],
        ),
        ("runbooks/one.md", &undone, &["runbooks/one.md", "headings"]),
        ("runbooks/one.md", &empty, &["nothing below Act"]),
        (
            "runbooks/two.md",
            RUNBOOK,
            &["runbooks/two.md", "does not link it"],
        ),
        ("README.md", "\n", &["harness/cases/one-two", "name it"]),
    ]);
    let found = breaches_with(&[
        ("README.md", "case `two`"),
        ("harness/cases/two/line.toml", ""),
    ]);
    for part in [
        "two: no load.toml",
        "two: no budget.toml",
        "one-two: neither",
    ] {
        assert!(
            found.iter().any(|breach| breach.contains(part)),
            "{part}: {found:#?}"
        );
    }
}
