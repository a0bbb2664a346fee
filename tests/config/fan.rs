//! Hops that lead to several nodes, as a file says them.

use hopline::config::{Case, HopSetting, Overrides};
use hopline::overload::{Slow, Split, WhenFull};
use hopline::topology::Draft;

use crate::kinds::registry;
use crate::{LINE, files, said};

/// The line, with a sink `log` that reads the ring of the hop to `orders` as well.
fn fan(hop: &str) -> String {
    let second = "[[sink]]\nname = \"log\"\nkind = \"udp\"\nto = \"127.0.0.1:26501\"\n\n[[hop]]\nfrom = \"btc\"";
    let line = LINE.replace("[[hop]]\nfrom = \"btc\"", second);
    let end = "to = \"orders\"\nwhen_full = \"drop_newest\"\n";
    assert!(line.contains(end));
    line.replace(end, hop)
}

fn draft(line: &str, budget: Option<&str>, overrides: &Overrides) -> Draft {
    let case = Case::parse("folder", files(line, None, budget)).unwrap();
    case.draft(&registry(), overrides)
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn a_list_of_consumers_is_one_ring_with_a_budget_for_each() {
    let line = fan("to = [\"orders\", \"log\"]\nafter = { log = \"orders\" }\n");
    let budget = "[hop.\"signal->log\"]\np99 = \"20us\"\n";
    let given = draft(&line, Some(budget), &Overrides::default());
    let names: Vec<String> = given.hops.iter().map(|hop| hop.name()).collect();
    assert_eq!(
        names,
        ["btc->book", "book->signal", "signal->orders", "signal->log"]
    );
    assert_eq!(given.hops[1].ring, None);
    assert!(given.hops[2].ring.is_some() && given.hops[2].ring == given.hops[3].ring);
    assert_eq!(
        given.hops[3].hop.after,
        [("log".to_owned(), vec!["orders".to_owned()])]
    );
    assert!(given.hops[2].hop.budget.is_none() && given.hops[3].hop.budget.is_some());
    given
        .check()
        .unwrap_or_else(|problems| panic!("{problems}"));

    // A list of one is a ring of its own.
    let alone = draft(
        &LINE.replace("to = \"book\"", "to = [\"book\"]"),
        None,
        &Overrides::default(),
    );
    assert_eq!(alone.hops[0].ring, None);
}

#[test]
fn a_setting_for_one_of_them_is_the_rings() {
    let overrides = Overrides {
        hops: vec![HopSetting {
            hop: "signal->log".to_owned(),
            depth: Some(32),
            when_full: Some(WhenFull::Reject),
            settings: Vec::new(),
            given: String::new(),
        }],
        ..Overrides::default()
    };
    let given = draft(&fan("to = [\"orders\", \"log\"]\n"), None, &overrides);
    for hop in &given.hops[2..] {
        assert_eq!(
            (hop.hop.depth, hop.hop.policy.when_full),
            (32, WhenFull::Reject)
        );
    }
    assert_eq!(given.hops[0].hop.depth, 1024);
}

#[test]
fn a_depth_that_a_run_sets_is_its_own_to_blame_once_a_ring() {
    let setting = |given: &str| Overrides {
        hops: vec![HopSetting {
            hop: "btc->book".to_owned(),
            depth: Some(16),
            when_full: None,
            settings: Vec::new(),
            given: given.to_owned(),
        }],
        ..Overrides::default()
    };
    let line = LINE.replace("to = \"book\"", "to = [\"book\", \"copy\"]").replace(
        "[[sink]]",
        "[[stage]]\nname = \"copy\"\nkind = \"book\"\n[[sink]]\nname = \"end\"\nkind = \"blackhole\"\n\
         [[hop]]\nfrom = \"copy\"\nto = \"end\"\n[[sink]]",
    );
    for (given, who) in [
        ("--hop 'btc->book:depth=16'", "--hop 'btc->book:depth=16'"),
        ("", "the setting for hop btc->book"),
    ] {
        assert_eq!(
            said(files(&line, None, None), &setting(given)),
            format!(
                "{who}: btc->book has a depth of 16, but one message of \"btc\" may have 512 frames\n  \
                 help: depth=512 or more fits, or when_full=drop_newest to shed messages that do not fit"
            )
        );
    }
}

#[test]
fn what_is_wrong_with_them_is_told_with_its_place() {
    for (hop, expected) in [
        (
            "to = []\n",
            "line.toml:41:1: a hop leads to at least one node\n  \
             help: write to = \"book\", or to = [\"book\", \"log\"] for one ring that both read",
        ),
        (
            "to = [\"orders\", \"logg\"]\n",
            "line.toml:41:1: to = \"logg\" names no node\n  help: did you mean \"log\"?",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = { lok = \"orders\" }\n",
            "line.toml:42:1: \"after\" names \"lok\", which this hop does not lead to\n  help: did you mean \"log\"?",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = { log = \"log\" }\n",
            "line.toml:42:1: \"log\" is to wait for itself\n  help: name those that it comes after",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = \"log\"\n",
            "line.toml:42:1: \"after\" is a plain value\n  help: write after = { join = [\"book\", \"log\"] }",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = { log = 3 }\n",
            "line.toml:42:11: \"log\" is a whole number\n  help: write after = { join = [\"book\", \"log\"] }",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = { log = [\"orders\", 1] }\n",
            "line.toml:42:11: \"log\" is a list with a whole number in it\n  \
             help: write after = { join = [\"book\", \"log\"] }",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = {}\n",
            "line.toml:42:1: \"after\" is empty\n  help: write after = { join = [\"book\", \"log\"] }",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = { log = [] }\n",
            "line.toml:42:1: \"log\" is to wait for nobody\n  \
             help: name those that it comes after, or remove it",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = { log = [\"orders\", \"orders\"] }\n",
            "line.toml:42:1: \"log\" is to wait for \"orders\" twice\n  help: name each of them once",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = { log = \"book\" }\n",
            "line.toml:42:1: \"after\" names \"book\", which this hop does not lead to\n  \
             help: consumers here: orders, log",
        ),
        (
            "to = [\"orders\", \"log\"]\nafter = { log = [\"orders\"], orders = [\"log\"] }\n",
            "line.toml:42:1: the line has a cycle: orders -> log -> orders\n  \
             help: a line is a DAG: remove one of these hops, or of the orders in \"after\"",
        ),
    ] {
        let said = said(files(&fan(hop), None, None), &Overrides::default());
        assert_eq!(said, expected, "{hop}");
    }
}

#[test]
fn a_list_may_be_divided_and_its_slow_ones_set_apart() {
    let line = fan("to = [\"orders\", \"log\"]\nsplit = \"any\"\n");
    let given = draft(&line, None, &Overrides::default());
    for hop in &given.hops[2..] {
        assert_eq!((hop.ring, hop.hop.split), (None, Some(Split::AnyOf)));
        assert!(hop.together.is_some());
    }
    given
        .check()
        .unwrap_or_else(|problems| panic!("{problems}"));

    let line = fan("to = [\"orders\", \"log\"]\nblock_timeout = \"1ms\"\n\
         slow = { log = \"disconnect\", orders = \"hold\" }\n");
    let given = draft(&line, None, &Overrides::default());
    let [.., orders, log] = &given.hops[..] else {
        panic!("{given:?}")
    };
    // One that holds the others back alone shares with nobody.
    assert_eq!((orders.ring, log.ring), (None, None));
    let timeouts = [orders, log].map(|hop| hop.hop.policy.block_timeout_ns);
    assert_eq!(timeouts, [0, 1_000_000]);
    assert_eq!(log.hop.slow[0], ("log".to_owned(), Slow::Disconnect));
    given
        .check()
        .unwrap_or_else(|problems| panic!("{problems}"));
}

#[test]
fn what_is_wrong_with_a_division_is_told_with_what_to_write() {
    let both = "to = [\"orders\", \"log\"]\n";
    for (settings, expected) in [
        (
            "split = \"key\"",
            "and none of their kinds has one\n  help: write split = \"any\", or give the frame a key",
        ),
        ("split = \"keys\"", "did you mean \"key\"?"),
        (
            "split = \"any\"\nafter = { log = \"orders\" }",
            "\"after\" has no meaning where each message goes to one consumer\n  help: remove after, or split",
        ),
        (
            "split = \"any\"\nslow = { log = \"tap\" }",
            "\"slow\" has no meaning where each message goes to one consumer",
        ),
        (
            "split = \"any\"\nisolate = true",
            "\"isolate\" moves hot keys, and these messages are not divided by key\n  help: write split = \"key\"",
        ),
        (
            "split = \"any\"\nwhen_full = \"conflate\"",
            "\"conflate\" keeps the latest of each key, and \"any\" sends a key anywhere",
        ),
        (
            "slow = { lag = \"tap\" }",
            "\"slow\" names \"lag\", which this hop does not lead to\n  help: did you mean \"log\"?",
        ),
        (
            "slow = { log = \"drop\" }",
            "slow: \"log\" is \"drop\"\n  help: write \"hold\", \"tap\" or \"disconnect\"",
        ),
        (
            "slow = { log = \"tap\" }\nafter = { log = \"orders\" }",
            "\"after\" names \"log\", which has a ring of its own: it is tap",
        ),
        (
            "slow = { log = \"disconnect\" }",
            "\"disconnect\" needs a time for which a consumer may hold the others back\n  \
             help: write when_full = \"block\" and block_timeout = \"10ms\"",
        ),
        (
            "slow = { log = \"disconnect\" }\nblock_timeout = \"10ms\"\nthen = \"reject\"",
            "\"then\" is \"reject\", and who held the others back for block_timeout is disconnected\n  help: remove then",
        ),
        (
            "slow = { orders = \"tap\", log = \"tap\" }\nblock_timeout = \"10ms\"",
            "\"block_timeout\" has no effect where when_full = \"drop_newest\"",
        ),
    ] {
        let line = fan(&format!("{both}{settings}\n"));
        let told = said(files(&line, None, None), &Overrides::default());
        assert!(told.contains(expected), "{settings}: {told}");
        assert!(told.starts_with("line.toml:"), "{told}");
        // What conflates without a key is wrong by itself, for each of them; a time for which nobody waits is wrong for each.
        let problems = match settings {
            _ if settings.contains("conflate") => 3,
            _ if settings.contains("orders = \"tap\"") => 2,
            _ => 1,
        };
        assert_eq!(
            told.matches("help:").count(),
            problems,
            "{settings}: {told}"
        );
    }
    let isolates = "to = [\"orders\", \"log\"]\nsplit = \"key\"\nisolate = true\n";
    let line = fan(isolates).replace("from = \"signal\"", "from = [\"signal\", \"book\"]");
    let told = said(files(&line, None, None), &Overrides::default());
    assert!(
        told.contains(
            "\"signal\" and \"book\" both isolate hot keys among the same consumers, and a key that is hot at one of them alone \
             would be with two consumers at a time\n  help: lead both to one stage"
        ),
        "{told}"
    );
    for (settings, expected) in [
        (
            "to = \"orders\"\nsplit = \"any\"",
            "\"split\" is \"any\", and there is one consumer",
        ),
        (
            "to = \"orders\"\nslow = { orders = \"tap\" }",
            "the only consumer of this hop",
        ),
    ] {
        let end = "to = \"orders\"\nwhen_full = \"drop_newest\"\n";
        let line = LINE.replace(end, &format!("{settings}\n"));
        let told = said(files(&line, None, None), &Overrides::default());
        assert!(told.contains(expected), "{settings}: {told}");
    }
}

#[test]
fn nobody_waits_for_a_tap_whatever_is_said_for_all() {
    let list = "to = [\"orders\", \"log\"]\nslow = { log = \"tap\" }\n";
    let run = |settings: &[(&str, &str)], when_full, hop: &str| {
        let setting = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Overrides {
            hops: vec![HopSetting {
                hop: hop.to_owned(),
                depth: Some(1024),
                when_full,
                settings: settings.iter().map(setting).collect(),
                given: "--hop it".to_owned(),
            }],
            ..Overrides::default()
        }
    };
    // Marks of the list are for those that hold the producer back.
    let line = fan(&format!("{list}high = 80\n"));
    let given = draft(&line, None, &Overrides::default());
    let [.., orders, log] = &given.hops[..] else {
        panic!("{given:?}")
    };
    assert!(!orders.is_tap() && log.is_tap());
    let of = |hop: &hopline::topology::draft::DraftHop| {
        let policy = hop.hop.policy;
        (policy.when_full, policy.high, policy.block_timeout_ns)
    };
    assert_eq!(of(orders), (WhenFull::Block, 80, 0));
    assert_eq!(of(log), (WhenFull::DropNewest, 0, 0));
    given
        .check()
        .unwrap_or_else(|problems| panic!("{problems}"));

    let overrides = run(
        &[
            ("high", "70"),
            ("block_timeout", "1ms"),
            ("deadline", "2ms"),
        ],
        Some(WhenFull::Block),
        "*",
    );
    let given = draft(&fan(list), None, &overrides);
    let [.., orders, log] = &given.hops[..] else {
        panic!("{given:?}")
    };
    assert_eq!(of(orders), (WhenFull::Block, 70, 1_000_000));
    assert_eq!(of(log), (WhenFull::DropNewest, 0, 0));
    // What has nothing to do with waiting is for it as well.
    assert_eq!(
        (log.hop.policy.deadline_ns, log.hop.depth),
        (2_000_000, 1024)
    );
    given
        .check()
        .unwrap_or_else(|problems| panic!("{problems}"));

    let own = run(&[], Some(WhenFull::DropOldest), "signal->log");
    let given = draft(&fan(list), None, &own);
    assert_eq!(of(&given.hops[3]).0, WhenFull::DropOldest);
    let case = Case::parse("folder", files(&fan(list), None, None)).unwrap();
    let holds = run(&[], Some(WhenFull::Block), "signal->log");
    let told = case.draft(&registry(), &holds).unwrap_err().to_string();
    assert_eq!(
        told,
        "--hop it: \"log\" is a tap\n  \
         help: nobody waits for a tap: give it a when_full that sheds, such as drop_newest"
    );
}
