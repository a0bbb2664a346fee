//! Policies of hops in a case: what they become, and what is wrong with them.

use hopline::overload::{Policy, WhenFull};
use hopline::topology::OverflowFile;

use hopline::config::{Case, HopSetting, Overrides};

use crate::kinds::registry;
use crate::{LINE, files, said, shipped};

/// The hop `btc->book` with these lines after its depth.
fn with(lines: &str) -> String {
    LINE.replacen("depth = 1024\n", &format!("depth = 1024\n{lines}\n"), 1)
}

fn policy(lines: &str) -> Policy {
    let case = Case::parse("folder", files(&with(lines), None, None)).unwrap();
    let draft = case.draft(&registry(), &Overrides::default());
    let draft = draft.unwrap_or_else(|problems| panic!("{lines}: {problems}"));
    draft.hops[0].hop.policy
}

#[test]
fn settings_of_a_hop_become_its_policy() {
    let block = Policy::of(WhenFull::Block);
    for (lines, expected) in [
        ("", block),
        (
            "block_timeout = \"1ms\"\nthen = \"reject\"",
            Policy {
                block_timeout_ns: 1_000_000,
                then: WhenFull::Reject,
                ..block
            },
        ),
        (
            "when_full = \"drop_oldest\"\ncodel = \"80us\"",
            Policy {
                codel_target_ns: 80_000,
                ..Policy::of(WhenFull::DropOldest)
            },
        ),
        (
            "codel = \"500us\"",
            Policy {
                codel_target_ns: 500_000,
                codel_interval_ns: 5_000_000,
                ..block
            },
        ),
        (
            "codel = \"400us\"\ncodel_interval = \"1ms\"",
            Policy {
                codel_target_ns: 400_000,
                codel_interval_ns: 1_000_000,
                ..block
            },
        ),
        (
            "rate = \"50k/s\"\nhigh = 80",
            Policy {
                rate_per_s: 50_000,
                burst: 50,
                high: 80,
                low: 40,
                ..block
            },
        ),
        (
            "degrade_high = \"300us\"\nprotected = true\nsample = 4\nsample_above = 75\ndeadline = \"2ms\"",
            Policy {
                degrade_high_ns: 300_000,
                degrade_low_ns: 150_000,
                protected: true,
                sample: 4,
                sample_above: 75,
                deadline_ns: 2_000_000,
                ..block
            },
        ),
    ] {
        assert_eq!(policy(lines), expected, "{lines}");
    }
}

#[test]
fn what_is_wrong_with_a_policy_is_told_with_what_to_write() {
    for (lines, expected) in [
        (
            "when_full = \"reject\"\nblock_timeout = \"1ms\"",
            "line.toml:25:1: hop btc->book: \"block_timeout\" has no effect where when_full = \"reject\"\n  \
             help: write when_full = \"block\", or remove it",
        ),
        (
            "block_timeout = \"1ms\"\nthen = \"drop_oldest\"",
            "line.toml:25:1: hop btc->book: \"then\" cannot be \"drop_oldest\"\n  \
             help: write \"drop_newest\", \"reject\", \"conflate\" or \"overflow\"",
        ),
        (
            "deadline = \"10s\"",
            "line.toml:25:1: hop btc->book: a deadline of 10.0s cannot be carried\n  \
             help: write at most \"4.2s\"",
        ),
        (
            "codel = \"80us\"\ncodel_interval = \"100us\"",
            "line.toml:25:1: hop btc->book: a codel interval of 100us is too short for a target of 80.0us\n  \
             help: write an interval of at least twice the target",
        ),
        (
            "high = 50\nlow = 50",
            "line.toml:25:1: hop btc->book: marks of 50 % and 50 % leave nothing between\n  \
             help: write low below high, and high up to 100",
        ),
        (
            "when_full = \"overflow\"",
            "line.toml:25:1: btc->book overflows, and nothing says where to\n  \
             help: write overflow_to = \"node\", and a [[hop]] that leads there, or overflow_file = \"PATH\"",
        ),
        (
            "overflow_file = \"spill.cap\"",
            "line.toml:29:1: \"overflow_file\" has no effect without when_full = \"overflow\"\n  \
             help: write when_full = \"overflow\" beside it, or remove it",
        ),
        (
            "when_full = \"overflow\"\noverflow_file_most = \"1GiB\"\noverflow_to = \"signal\"",
            "line.toml:30:1: \"overflow_file_most\" has no effect without overflow_file\n  \
             help: write overflow_file beside it, or remove it\n\
             line.toml:31:1: overflow_to of btc->book is \"signal\", and no hop leads there from \"btc\"\n  \
             help: add a [[hop]] of its own from \"btc\" to \"signal\" that does not overflow, or name another node",
        ),
        (
            "when_full = \"overflow\"\noverflow_file = \"spill.cap\"\noverflow_file_most = \"64\"",
            "line.toml:31:1: \"overflow_file_most\" = \"64\" cannot be read\n  \
             help: write a size in bytes with its unit, such as \"64MiB\" or \"1GiB\"",
        ),
        (
            "when_full = \"overflow\"\noverflow_file = \"spill.cap\"\noverflow_file_most = \"1KiB\"",
            "line.toml:30:1: the overflow file of btc->book may have 1024 bytes, which is out of bounds\n  \
             help: write \"1MiB\" to \"1TiB\"",
        ),
        (
            "when_full = \"overflow\"\noverflow_to = \"signal\"",
            "line.toml:30:1: overflow_to of btc->book is \"signal\", and no hop leads there from \"btc\"\n  \
             help: add a [[hop]] of its own from \"btc\" to \"signal\" that does not overflow, or name another node",
        ),
        (
            "overflow_to = \"book\"",
            "line.toml:29:1: \"overflow_to\" has no effect without when_full = \"overflow\"\n  \
             help: write when_full = \"overflow\" beside it, or remove it",
        ),
        (
            "when_full = \"overflow\"\noverflow_to = \"book\"",
            "line.toml:30:1: overflow_to of btc->book is \"book\", which is where it leads itself\n  \
             help: add a [[hop]] of its own from \"btc\" to \"book\" that does not overflow, or name another node",
        ),
    ] {
        let told = said(files(&with(lines), None, None), &Overrides::default());
        assert_eq!(told, expected, "{lines}");
    }
}

#[test]
fn an_interval_stays_as_it_was_given_and_is_told_where_it_is_not_the_usual_one() {
    for (lines, expected) in [
        ("codel = \"80us\"", "block, codel 80.0us"),
        ("codel = \"400us\"", "block, codel 400us"),
        (
            "codel = \"400us\"\ncodel_interval = \"1ms\"",
            "block, codel 400us within 1.00ms",
        ),
        (
            "codel = \"80us\"\ncodel_interval = \"5ms\"",
            "block, codel 80.0us within 5.00ms",
        ),
    ] {
        assert_eq!(policy(lines).to_string(), expected, "{lines}");
    }
    // A class that changes neither has both as the hop has them.
    let class = "codel = \"400us\"\ncodel_interval = \"1ms\"\n[[hop.class]]\ndepth = 64";
    assert_eq!(
        policy(class).to_string(),
        "block, codel 400us within 1.00ms"
    );
}

#[test]
fn a_limit_that_could_never_be_kept_is_told_with_its_bounds() {
    let marks = |high: u8, low: u8| format!("depth = 64\nhigh = {high}\nlow = {low}");
    for (lines, expected) in [
        (
            "degrade_high = \"100us\"\ndegrade_low = \"0us\"",
            "a wait is never below a \"degrade_low\" of zero: nothing recovers\n  help: write half of degrade_high",
        ),
        (
            "deadline = \"1ns\"",
            "\"deadline\" of 1ns is out of bounds\n  help: write \"1us\" to \"4.2s\"",
        ),
        (
            "codel = \"1ms\"\ncodel_interval = \"70s\"",
            "\"codel\": interval is 70.0s, and not between 1.00us and 68.7s\n  help: write for example \"1ms\"",
        ),
        (
            marks(1, 0).as_str(),
            "marks of 0 % and 1 % of a depth of 64 are 0 and 0 frames, and leave nothing between\n  \
             help: write low further below high, or a greater depth",
        ),
        (
            marks(51, 50).as_str(),
            "marks of 50 % and 51 % of a depth of 64 are 32 and 32 frames, and leave nothing between",
        ),
    ] {
        let line = with(lines).replacen("depth = 1024\ndepth = 64\n", "depth = 64\n", 1);
        let told = said(files(&line, None, None), &Overrides::default());
        let expected = format!("line.toml:25:1: hop btc->book: {expected}");
        assert!(told.starts_with(&expected), "{lines}: {told}");
    }
    let right = Policy {
        high: 50,
        low: 49,
        ..Policy::of(WhenFull::Block)
    };
    assert_eq!(right.check(64), Ok(()));
}

/// Settings that do nothing by themselves, with what makes them act.
const ALONE: &[(&str, &str, &str)] = &[
    ("low", "40", "high = 80"),
    ("burst", "16", "rate = \"50k/s\""),
    ("sample_above", "75", "sample = 4"),
    ("codel_interval", "\"2ms\"", "codel = \"80us\""),
    ("then", "\"reject\"", "block_timeout = \"1ms\""),
    ("degrade_low", "\"50us\"", "degrade_high = \"100us\""),
    ("protected", "true", "degrade_high = \"100us\""),
    ("most_keys", "64", "degrade_high = \"100us\""),
];

#[test]
fn a_setting_without_the_one_that_makes_it_act_has_no_effect_and_is_told() {
    for (key, value, acts) in ALONE {
        let told = |lines: &str| said(files(&with(lines), None, None), &Overrides::default());
        let alone = format!("{key} = {value}");
        let without = told(&alone);
        let what = format!("line.toml:29:1: \"{key}\" has no effect without ");
        assert!(without.starts_with(&what), "{key}: {without}");
        assert!(without.contains(", or remove it"), "{key}: {without}");
        // In a class, and for all classes where none of them has what makes it act.
        let class = told(&format!("[[hop.class]]\n{alone}"));
        assert!(class.contains("has no effect without"), "{key}: {class}");
        let classes = told(&format!("{alone}\n[[hop.class]]\ndepth = 64"));
        assert!(classes.starts_with(&what), "{key}: {classes}");
        for lines in [
            format!("{alone}\n{acts}"),
            format!("{acts}\n[[hop.class]]\n{alone}"),
            format!("{alone}\n[[hop.class]]\n{acts}"),
        ] {
            let case = Case::parse("folder", files(&with(&lines), None, None)).unwrap();
            let draft = case.draft(&registry(), &Overrides::default());
            draft.unwrap_or_else(|problems| panic!("{lines}: {problems}"));
        }
        // And in what a run changes.
        let setting = |key: &str, value: &str| (key.to_owned(), value.replace('"', ""));
        let mut change = HopSetting {
            hop: "btc->book".to_owned(),
            depth: None,
            when_full: None,
            settings: vec![setting(key, value)],
            given: "--hop".to_owned(),
        };
        let overrides = |changes: &[HopSetting]| Overrides {
            hops: changes.to_vec(),
            ..Overrides::default()
        };
        let changed = said(files(LINE, None, None), &overrides(&[change.clone()]));
        let what = format!("--hop: \"{key}\" has no effect without ");
        assert!(changed.starts_with(&what), "{key}: {changed}");
        let alone = change.clone();
        let (key, value) = acts.split_once(" = ").unwrap();
        change.settings = vec![setting(key, value)];
        let both = overrides(&[alone, change]);
        let case = Case::parse("folder", files(LINE, None, None)).unwrap();
        let draft = case.draft(&registry(), &both);
        draft.unwrap_or_else(|problems| panic!("{acts}: {problems}"));
    }
}

#[test]
fn a_hop_that_does_not_overflow_has_no_place_to_overflow_to() {
    let told = |lines: &str| said(files(&with(lines), None, None), &Overrides::default());
    let alone = told("when_full = \"drop_newest\"\noverflow_to = \"signal\"");
    assert!(
        alone.starts_with("line.toml:30:1: \"overflow_to\" has no effect without "),
        "{alone}"
    );
    // Of several classes those that do not overflow have none.
    let line = with(
        "overflow_to = \"signal\"\n[[hop.class]]\nkinds = [\"trade\"]\nwhen_full = \"overflow\"\n[[hop.class]]",
    );
    let case = Case::parse("folder", files(&line, None, None)).unwrap();
    let draft = case.draft(&registry(), &Overrides::default()).unwrap();
    let hops = draft.hops.iter().take(2);
    let to: Vec<Option<&str>> = hops.map(|hop| hop.hop.overflow_to.as_deref()).collect();
    assert_eq!(to, [Some("signal"), None]);
}

#[test]
fn what_conflates_needs_a_key() {
    let line = LINE.replacen("when_full = \"drop_newest\"", "when_full = \"conflate\"", 1);
    let told = said(files(&line, None, None), &Overrides::default());
    assert!(
        told.contains("conflates, and none of its kinds has a key"),
        "{told}"
    );
}

#[test]
fn classes_are_hops_of_their_own_that_share_a_port_between_them() {
    let line = with(
        "when_full = \"drop_newest\"\n\
         [[hop.class]]\nname = \"book\"\nkinds = [\"depthUpdate\", \"snapshot\"]\nwhen_full = \"block\"\n\
         [[hop.class]]\nkinds = [\"bookTicker\"]\nwhen_full = \"conflate\"\ndepth = 64\n\
         [[hop.class]]\ndeadline = \"1ms\"",
    );
    let sink = "kind = \"udp\"\nto = \"127.0.0.1:26500\"\n";
    assert!(line.contains(sink));
    let line = line.replacen(sink, "kind = \"blackhole\"\n", 1);
    let case = Case::parse("folder", files(&line, None, None)).unwrap();
    let draft = case
        .draft(&shipped::registry(), &Overrides::default())
        .unwrap();
    let hops: Vec<(String, usize, String)> = draft
        .hops
        .iter()
        .take(3)
        .map(|hop| (hop.name(), hop.hop.depth, hop.hop.policy.to_string()))
        .collect();
    assert_eq!(
        hops,
        [
            ("btc->book#book", 1024, "block"),
            ("btc->book#bookTicker", 64, "conflate"),
            ("btc->book#rest", 1024, "drop_newest, deadline 1.00ms"),
        ]
        .map(|(name, depth, policy)| (name.to_owned(), depth, policy.to_owned()))
    );
    draft
        .check()
        .unwrap_or_else(|problems| panic!("{problems}"));
    for (from, to, expected) in [
        ("bookTicker", "bookTickr", "did you mean \"bookTicker\"?"),
        (
            "\"snapshot\"]",
            "\"bookTicker\"]",
            "\"bookTicker\" is in another class",
        ),
        (
            "kinds = [\"bookTicker\"]\n",
            "name = \"tick\"\n",
            "names no kinds",
        ),
        (
            "name = \"book\"\nkinds",
            "name = \"b#k\"\nkinds",
            "no name for a class",
        ),
    ] {
        assert!(line.contains(from));
        let wrong = line.replacen(from, to, 1);
        let case = Case::parse("folder", files(&wrong, None, None)).unwrap();
        let draft = case
            .draft(&shipped::registry(), &Overrides::default())
            .unwrap();
        let told = draft.check().unwrap_err().to_string();
        assert!(told.contains(expected), "{to}: {told}");
    }
}

#[test]
fn a_run_may_change_any_setting_of_a_policy() {
    let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let overrides = Overrides {
        hops: vec![HopSetting {
            hop: "btc->book".to_owned(),
            depth: None,
            when_full: Some(WhenFull::DropOldest),
            settings: vec![setting("codel", "80us"), setting("sample", "5")],
            given: "--hop".to_owned(),
        }],
        ..Overrides::default()
    };
    let case = Case::parse("folder", files(LINE, None, None)).unwrap();
    let draft = case.draft(&registry(), &overrides).unwrap();
    let words = draft.hops[0].hop.policy.to_string();
    assert_eq!(words, "drop_oldest, codel 80.0us, 1 in 5 above 50 %");

    let mut wrong = overrides.clone();
    wrong.hops[0].settings = vec![setting("codel", "soon")];
    let case = Case::parse("folder", files(LINE, None, None)).unwrap();
    let told = case.draft(&registry(), &wrong).unwrap_err().to_string();
    assert!(told.starts_with("--hop: "), "{told}");
}

#[test]
fn an_overflow_that_a_run_asks_for_is_its_own_to_blame() {
    let setting = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let told = |when_full, settings: Vec<(String, String)>| {
        let overrides = Overrides {
            hops: vec![HopSetting {
                hop: "btc->book".to_owned(),
                depth: None,
                when_full,
                settings,
                given: "--hop btc->book".to_owned(),
            }],
            ..Overrides::default()
        };
        said(files(LINE, None, None), &overrides)
    };
    assert_eq!(
        told(None, vec![setting("overflow_to", "orders")]),
        "--hop btc->book: \"overflow_to\" has no effect without when_full = \"overflow\"\n  \
         help: write when_full = \"overflow\" beside it, or remove it"
    );
    assert_eq!(
        told(Some(WhenFull::Overflow), Vec::new()),
        "--hop btc->book: btc->book overflows, and nothing says where to\n  \
         help: add overflow_to=node, with a node that a hop from \"btc\" leads to, or overflow_file=PATH"
    );
}

#[test]
fn an_overflow_file_is_one_hops_own() {
    let told = |lines: &str| said(files(&with(lines), None, None), &Overrides::default());
    let file = "when_full = \"overflow\"\noverflow_file = \"spill.cap\"";
    let both = told(&format!("{file}\noverflow_to = \"signal\""));
    let expected = "line.toml:30:1: btc->book is to overflow to \"signal\" and into \"spill.cap\"";
    assert!(both.contains(expected), "{both}");
    // Of two classes one takes the hop's, and the other one names its own, or does not overflow.
    let classes =
        |last: &str| format!("{file}\n[[hop.class]]\nkinds = [\"trade\"]\n[[hop.class]]\n{last}");
    let twice = told(&classes("depth = 64"));
    let expected = "btc->book#trade and btc->book#rest overflow into one file, \"spill.cap\"\n  help: give each";
    assert!(twice.contains(expected), "{twice}");
    let of_each = |last: &str| -> Vec<Option<OverflowFile>> {
        let case = Case::parse("folder", files(&with(&classes(last)), None, None)).unwrap();
        let draft = case.draft(&registry(), &Overrides::default()).unwrap();
        let hops = draft.hops.into_iter().take(2);
        hops.map(|hop| hop.hop.overflow_file).collect()
    };
    let file = |path: &str, bytes_max| {
        let path = path.into();
        Some(OverflowFile { path, bytes_max })
    };
    assert_eq!(
        of_each("overflow_file = \"rest.cap\"\noverflow_file_most = \"2MiB\""),
        [file("spill.cap", 64 << 20), file("rest.cap", 2 << 20)]
    );
    let alone = of_each("when_full = \"drop_newest\"");
    assert_eq!(alone, [file("spill.cap", 64 << 20), None]);
}
