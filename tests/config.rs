//! Cases from TOML: what they become, and what is said of those that are wrong.

#[path = "config/beyond.rs"]
mod beyond;
#[path = "config/fan.rs"]
mod fan;
#[path = "config/kinds.rs"]
mod kinds;
#[path = "config/load.rs"]
mod load;
#[path = "config/mutations.rs"]
mod mutations;
#[path = "config/policies.rs"]
mod policies;
#[path = "config/shares.rs"]
mod shares;
#[path = "config/sharing.rs"]
mod sharing;
#[path = "config/shipped.rs"]
mod shipped;
#[path = "config/wrong.rs"]
mod wrong;

use std::path::PathBuf;

use hopline::config::{
    Case, CaseFiles, Content, FeedMode, HopSetting, Input, Overrides, SourceText, Via,
};
use hopline::feed::{Arrivals, Shape};
use hopline::host::{MemoryWish, Pin, Wish};
use hopline::overload::WhenFull;
use hopline::reactor::Schedule;
use hopline::topology::{Draft, Line, Problems, Sharing};
use hopline::wait::{Rung, Strategy};
use kinds::{made, registry};

pub(crate) const LINE: &str = r#"[line]
name = "mine"

[[source]]
name = "btc"
kind = "udp"
bind = "127.0.0.1:26400"
decode = "binance"
symbol = "BTCUSDT"
symbols = ["BTCUSDT", "ETHUSDT"]

[[stage]]
name = "book"
kind = "book"

[[stage]]
name = "signal"
kind = "signal"

[[sink]]
name = "orders"
kind = "udp"
to = "127.0.0.1:26500"

[[hop]]
from = "btc"
to = "book"
depth = 1024

[[hop]]
from = "book"
to = "signal"

[[hop]]
from = "signal"
to = "orders"
when_full = "drop_newest"
"#;

pub(crate) fn files(line: &str, load: Option<&str>, budget: Option<&str>) -> CaseFiles {
    CaseFiles {
        line: SourceText::new("line.toml", line),
        load: load.map(|load| SourceText::new("load.toml", load)),
        budget: budget.map(|budget| SourceText::new("budget.toml", budget)),
    }
}

pub(crate) fn build(files: CaseFiles, overrides: &Overrides) -> Result<Line, Problems> {
    Case::parse("folder", files)?
        .draft(&registry(), overrides)?
        .check()
}

pub(crate) fn said(files: CaseFiles, overrides: &Overrides) -> String {
    build(files, overrides).unwrap_err().to_string()
}

fn draft(load: Option<&str>, budget: Option<&str>, overrides: &Overrides) -> Draft {
    let case = Case::parse("folder", files(LINE, load, budget)).unwrap();
    made();
    case.draft(&registry(), overrides).unwrap()
}

/// Name, depth and policy of each hop.
fn hops(draft: &Draft) -> Vec<(String, usize, &'static str)> {
    let hops = draft.hops.iter();
    hops.map(|hop| (hop.name(), hop.hop.depth, hop.hop.policy.when_full.name()))
        .collect()
}

#[test]
fn a_good_case_becomes_a_line() {
    let line = build(files(LINE, None, None), &Overrides::default()).unwrap();
    assert_eq!(line.name(), "mine");
    let hops: Vec<&str> = line.hop_names().collect();
    assert_eq!(hops, ["btc->book", "book->signal", "signal->orders"]);
    let unnamed = LINE.replacen("name = \"mine\"", "", 1);
    let line = build(files(&unnamed, None, None), &Overrides::default()).unwrap();
    assert_eq!(line.name(), "folder");
}

#[test]
fn settings_become_what_they_say() {
    let text = LINE.replacen(
        "name = \"mine\"\n",
        "name = \"mine\"\npin = \"require\"\nwait = \"yield\"\nthreads = 2\ndrain = \"1.5s\"\n\
         schedule = \"priority\"\nguard = 99\n",
        1,
    ) + "[[thread]]\nname = \"feeds\"\ncore = 1\nwait = \"spin\"\nrun = [\"btc\"]\n\
         schedule = \"edf\"\nbatch = 8\n";
    let text = text.replacen("kind = \"book\"", "kind = \"book\"\npriority = 3", 1);
    let budget = "[slo]\np99 = \"5ms\"\njitter = \"200us\"\nipdv = \"90us\"\n\
                  [hop.\"btc->book\"]\nof = \"wait\"\np50 = \"5us\"\np99 = \"20us\"\nlossless = true\n";
    let case = Case::parse("folder", files(&text, None, Some(budget))).unwrap();
    let draft = case.draft(&registry(), &Overrides::default()).unwrap();
    assert_eq!(draft.placement.pin, Pin::Require);
    assert_eq!(draft.placement.wait, Some(Strategy::YIELD));
    assert_eq!(draft.placement.threads_max, Some(2));
    assert_eq!(draft.drain_ns, 1_500_000_000);
    let thread = &draft.placement.threads[0];
    assert_eq!(
        (thread.name.as_str(), thread.core, thread.wait),
        ("feeds", Some(1), Some(Strategy::Spin))
    );
    assert_eq!(thread.nodes, ["btc"]);
    let edf = Sharing {
        schedule: Some(Schedule::Edf),
        batch: Some(8),
        guard_turns: None,
    };
    assert_eq!(thread.sharing, edf);
    let sharing = Sharing {
        schedule: Some(Schedule::Priority),
        batch: None,
        guard_turns: Some(99),
    };
    assert_eq!(draft.placement.sharing, sharing);
    let book = &draft.placement.priorities[0];
    assert_eq!((book.node.as_str(), book.priority), ("book", 3));
    assert_eq!(
        hops(&draft),
        [
            ("btc->book".to_owned(), 1024, "block"),
            ("book->signal".to_owned(), 4096, "block"),
            ("signal->orders".to_owned(), 4096, "drop_newest"),
        ]
    );
    let owed = draft.hops[0].hop.budget.as_ref().unwrap();
    assert_eq!(owed.span().name(), "wait");
    assert_eq!(owed.limits_ns(), [5_000, 20_000]);
    assert!(owed.is_lossless() && draft.hops[1].hop.budget.is_none());
    assert_eq!(draft.objective.as_ref().unwrap().limits_ns(), [5_000_000]);
    let slo = case.slo();
    assert_eq!((slo.jitter_ns, slo.ipdv_ns), (Some(200_000), Some(90_000)));
    let given = case.sources().next().unwrap();
    assert_eq!((given.name(), given.kind()), ("btc", "udp"));
    assert_eq!(given.setting("bind"), Some("127.0.0.1:26400"));
}

#[test]
fn the_idle_ladder_and_the_memory_are_settings() {
    let text = LINE.replacen(
        "name = \"mine\"\n",
        "name = \"mine\"\nwait = \"park\"\nspin_turns = 10\nyield_turns = 0\npark_max = \"2ms\"\n\
         [memory]\nprefault = \"prefer\"\nlock = \"require\"\n",
        1,
    ) + "[[thread]]\nname = \"feeds\"\nwait = \"yield\"\nspin_turns = 7\nrun = [\"btc\"]\n";
    let case = Case::parse("folder", files(&text, None, None)).unwrap();
    let draft = case.draft(&registry(), &Overrides::default()).unwrap();
    let park = Strategy::Park {
        spins: Rung::Turns(10),
        yields: Rung::Turns(0),
        max_park_ns: 2_000_000,
    };
    assert_eq!(draft.placement.wait, Some(park));
    let thread = draft.placement.threads[0].wait;
    assert_eq!(
        thread,
        Some(Strategy::Yield {
            spins: Rung::Turns(7)
        })
    );
    let wish = MemoryWish {
        prefault: Wish::Prefer,
        lock: Wish::Require,
        huge_pages: Wish::Off,
    };
    assert_eq!(draft.placement.memory, wish);
    // Only named steps change; the others are the preset's.
    let text = LINE.replacen("name = \"mine\"\n", "wait = \"park\"\nspin_turns = 0\n", 1);
    let case = Case::parse("folder", files(&text, None, None)).unwrap();
    let draft = case.draft(&registry(), &Overrides::default()).unwrap();
    let Some(Strategy::Park {
        spins: Rung::Turns(0),
        yields,
        ..
    }) = draft.placement.wait
    else {
        panic!("{:?}", draft.placement.wait);
    };
    assert_eq!(yields, Rung::Turns(16));
    // Steps in time, and one of each kind.
    for (given, spins, yields) in [
        (
            "spin_for = \"50us\"\nyield_for = \"200us\"",
            Rung::Span(50_000),
            Rung::Span(200_000),
        ),
        (
            "spin_turns = 9\nyield_for = \"0s\"",
            Rung::Turns(9),
            Rung::Span(0),
        ),
    ] {
        let given = format!("wait = \"park\"\n{given}\n");
        let text = LINE.replacen("name = \"mine\"\n", &given, 1);
        let case = Case::parse("folder", files(&text, None, None)).unwrap();
        let draft = case.draft(&registry(), &Overrides::default()).unwrap();
        let park = Strategy::Park {
            spins,
            yields,
            max_park_ns: 50_000_000,
        };
        assert_eq!(draft.placement.wait, Some(park));
    }
}

#[test]
fn a_load_is_what_its_file_says_for_each_source() {
    let text = LINE.replacen(
        "[[stage]]",
        "[[source]]\nname = \"eth\"\nkind = \"udp\"\nbind = \"x\"\n[[stage]]",
        1,
    );
    let load = "rate = \"20k/s\"\narrivals = \"bursty\"\nburst = 5\nseed = 7\nwarmup = \"1s\"\n\
                via = \"udp\"\nduration = \"10s\"\n\
                [[feed]]\nsource = \"eth\"\nintensity = 3\ncontent = \"datagrams\"\nbytes = 9\n";
    let case = Case::parse("folder", files(&text, Some(load), None)).unwrap();
    let load = case.load().unwrap();
    assert_eq!(
        (load.via, load.warmup_ns, load.duration_ns),
        (Via::Udp, 1_000_000_000, Some(10_000_000_000))
    );
    let [btc, eth] = load.feeds.as_slice() else {
        panic!("{load:?}");
    };
    let bursty = |intensity| {
        Shape::Of(Arrivals::Bursty {
            burst: 5,
            intensity,
        })
    };
    assert_eq!(
        (btc.content, btc.shape.clone(), btc.rate_per_s, btc.seed),
        (Content::Market, bursty(20), 20_000.0, 7)
    );
    assert_eq!(
        (eth.content, eth.shape.clone(), eth.rate_per_s, eth.seed),
        (Content::Datagrams { bytes: 9 }, bursty(3), 20_000.0, 8)
    );
    let own_seed = "seed = 7\n[[feed]]\nsource = \"eth\"\nseed = 100\n";
    let case = Case::parse("folder", files(&text, Some(own_seed), None)).unwrap();
    assert_eq!(case.load().unwrap().feed("eth").unwrap().seed, 100);
    assert!(
        Case::parse("folder", files(LINE, None, None))
            .unwrap()
            .load()
            .is_none()
    );
}

#[test]
fn a_source_that_is_fed_otherwise_keeps_its_decoder() {
    const MARKET: &str = "binance BTCUSDT BTCUSDT,ETHUSDT";
    let load = "rate = \"5k/s\"\narrivals = \"bursty\"\nseed = 7\n";
    let kind = |draft: &Draft| draft.nodes[0].kind.clone();

    // As the file says first, so that its settings are checked; then as it is fed.
    let by_load = draft(Some(load), None, &Overrides::default());
    assert_eq!(kind(&by_load), "synthetic");
    let made_by_load = made();
    assert_eq!(made_by_load[0..2], [MARKET, "udp 127.0.0.1:26400"]);
    assert_eq!(
        made_by_load[made_by_load.len() - 2..],
        [MARKET, "synthetic Some(5000.0) bursty market 50 20 7 0"]
    );

    let mut overrides = Overrides {
        inputs: vec![Input::text("btc", "a b.gz")],
        speed: Some(Some(100.0)),
        epoch_ns: Some(1_700_000_000_000_000_000),
        ..Overrides::default()
    };
    for load in [Some(load), None] {
        assert_eq!(kind(&draft(load, None, &overrides)), "replay");
        let replay = "replay a b.gz Some(Some(100.0)) 1700000000000000000";
        assert_eq!(made().last().unwrap(), replay);
    }
    overrides.speed = Some(None);
    draft(None, None, &overrides);
    assert!(made().last().unwrap().contains("Some(None)"));

    // A sender feeds it, with or without a capture; or somebody else does.
    let udp = "via = \"udp\"\n";
    assert_eq!(kind(&draft(Some(udp), None, &overrides)), "udp");
    overrides.feed = FeedMode::Live;
    assert_eq!(kind(&draft(Some(udp), None, &overrides)), "replay");
    overrides.inputs.clear();
    assert_eq!(kind(&draft(Some(load), None, &overrides)), "udp");
    assert_eq!(kind(&draft(None, None, &Overrides::default())), "udp");
}

#[test]
fn a_run_changes_hops_and_placement_of_the_file() {
    let overrides = Overrides {
        sink_log: Some(PathBuf::from("out.ndjson")),
        hops: vec![
            HopSetting {
                hop: "*".into(),
                depth: Some(16),
                when_full: Some(WhenFull::DropNewest),
                settings: Vec::new(),
                given: String::new(),
            },
            HopSetting {
                hop: "book->signal".into(),
                depth: Some(32),
                when_full: None,
                settings: Vec::new(),
                given: String::new(),
            },
        ],
        pin: Some(Pin::Off),
        wait: Some(Strategy::PARK),
        threads: Some(1),
        ..Overrides::default()
    };
    let draft = draft(None, None, &overrides);
    assert_eq!(
        made().last().unwrap(),
        "sink_log out.ndjson BTCUSDT,ETHUSDT"
    );
    assert_eq!(
        hops(&draft),
        [
            ("btc->book".to_owned(), 16, "drop_newest"),
            ("book->signal".to_owned(), 32, "drop_newest"),
            ("signal->orders".to_owned(), 16, "drop_newest"),
            ("book.log->sink-log".to_owned(), 4096, "block"),
        ]
    );
    assert_eq!(draft.placement.pin, Pin::Off);
    assert_eq!(draft.placement.wait, Some(Strategy::PARK));
    assert_eq!(draft.placement.threads_max, Some(1));
    assert!(draft.check().is_ok());
}
