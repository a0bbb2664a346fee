//! The cases and the text on their keys that come with the project.

use std::collections::BTreeMap;
use std::path::Path;

use hopline::config::{Case, CaseFiles, FeedMode, Overrides, SourceText};
use hopline::stage::Role;
use hopline::topology::{Params, Registry, Value};
use hopline::{adapter, stages};

use crate::{LINE, files, said};

/// The kinds that come with the project.
pub(crate) fn registry() -> Registry {
    stages::register(adapter::register(Registry::new()))
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_cases_are_good() {
    for name in [
        "tick-to-trade",
        "market-ws",
        "udp-echo",
        "market-udp",
        "diamond",
        "overload",
        "overload-iot",
        "telemetry",
        "overload-telemetry",
    ] {
        let text = |file: &str| {
            let path = project().join("harness/cases").join(name).join(file);
            SourceText::from_bytes(file, read(&path).into_bytes()).unwrap()
        };
        let files = CaseFiles {
            line: text("line.toml"),
            load: Some(text("load.toml")),
            budget: Some(text("budget.toml")),
        };
        let case = Case::parse(name, files).unwrap();
        assert_eq!(case.name(), name);
        assert_eq!(case.load().unwrap().feeds.len(), case.sources().count());
        for feed in [FeedMode::Load, FeedMode::Live] {
            let overrides = Overrides {
                feed,
                sink_log: (name == "tick-to-trade").then(|| "out.ndjson".into()),
                ..Overrides::default()
            };
            let draft = case
                .draft(&registry(), &overrides)
                .unwrap_or_else(|problems| panic!("{problems}"));
            let mut given = draft.hops.iter().filter(|hop| hop.to != "sink-log");
            assert!(given.all(|hop| hop.hop.budget.is_some()));
            assert!(draft.objective.is_some());
            let line = draft
                .check()
                .unwrap_or_else(|problems| panic!("{problems}"));
            assert_eq!(line.name(), name);
        }
    }
}

/// The settings that a kind asks for, when it is given what it needs.
fn settings_of(kind: &str, role: Role, needed: &[(&str, &str)]) -> Vec<String> {
    let mut params = Params::new(None);
    for (key, value) in needed {
        params.set(key, Value::Text((*value).to_owned()), None);
    }
    if kind == "pcap" {
        params.set("port", Value::Int(26_400), None);
    }
    params.set("zzzzzzzz", Value::Bool(true), None);
    let said = match registry().make(kind, role, &mut params) {
        Ok(_) => panic!("{kind} takes any key"),
        Err(problems) => problems.to_string(),
    };
    let told = "unknown key \"zzzzzzzz\"\n  help: ";
    let help = said.split_once(told).map(|(_, help)| help);
    let help = help.and_then(|help| help.lines().next());
    match help.and_then(|help| help.strip_prefix("known here: ")) {
        Some(list) => list.split(", ").map(str::to_owned).collect(),
        None => {
            assert_eq!(help, Some("this takes no settings of its own"), "{said}");
            Vec::new()
        }
    }
}

/// Each kind and decoder that has settings, with them.
fn settings_of_kinds() -> Vec<(String, Vec<String>)> {
    let needed: &[(&str, &str)] = &[
        ("bind", "127.0.0.1:0"),
        ("to", "127.0.0.1:9"),
        ("file", "x"),
        ("rate", "1/s"),
        ("symbol", "BTCUSDT"),
        ("symbols", "BTCUSDT"),
        ("socket", "echo"),
        ("takes", "1us"),
        ("url", "ws://127.0.0.1:9443/ws"),
        ("budget", "1ms"),
    ];
    let decoder = |kind: &str| match kind {
        "moldudp64" => "itch",
        "iextp" => "deep",
        _ => "datagram",
    };
    let of_datagram = ["decode", "max_bytes"];
    let mut found = Vec::new();
    for (kind, role) in registry().kinds() {
        let all = [&[("decode", decoder(kind))], needed].concat();
        let given = if role == Role::Source { &all } else { needed };
        let mut settings = settings_of(kind, role, given);
        settings.retain(|key| role != Role::Source || !of_datagram.contains(&key.as_str()));
        found.push((format!("{} {kind}", role.name()), settings));
    }
    let of_udp = found
        .iter()
        .find(|(kind, _)| kind == "source udp")
        .unwrap()
        .1
        .clone();
    for decoder in [
        "binance", "datagram", "made_up", "captured", "statsd", "graphite", "influx",
    ] {
        let given = [&[("decode", decoder)], needed].concat();
        let mut settings = settings_of("udp", Role::Source, &given);
        settings.retain(|key| key != "decode" && !of_udp.contains(key));
        found.push((format!("decoder {decoder}"), settings));
    }
    found.retain(|(_, settings)| !settings.is_empty());
    found
}

/// The first cells of the tables below each heading of level two and three: `file heading`.
fn documented(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let (mut file, mut table) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            (file, table) = (heading.to_owned(), String::new());
        } else if let Some(heading) = line.strip_prefix("### ") {
            table = heading.trim_matches('`').to_owned();
        } else if let Some(row) = line.strip_prefix("| `")
            && let Some((key, _)) = row.split_once('`')
            && !table.is_empty()
        {
            let section = keys.entry(format!("{file} {table}")).or_default();
            section.push(key.to_owned());
        }
    }
    keys
}

#[test]
fn every_key_is_documented_and_every_documented_key_is_known() {
    let documented = documented(&read(&project().join("docs/CONFIG.md")));
    // An absurd key makes the parser list the ones that it knows.
    let known = |files: CaseFiles| -> Vec<String> {
        let said = said(files, &Overrides::default());
        let list = said
            .split("unknown key \"zzzzzzzz\"\n  help: known here: ")
            .nth(1)
            .unwrap_or_else(|| panic!("{said}"));
        let list = list.lines().next().unwrap_or_default();
        list.split(", ").map(str::to_owned).collect()
    };
    let line = |table: &str| files(&format!("{table}\nzzzzzzzz = 1\n"), None, None);
    let budget = |table: &str| files(LINE, None, Some(&format!("{table}\nzzzzzzzz = 1\n")));
    let load = |text: &str| files(LINE, Some(text), None);
    // A decoder and kinds without settings of their own.
    let source = "[[source]]\nname = \"a\"\nkind = \"bare\"\ndecode = \"datagram\"";
    let mut tables = vec![
        ("line.toml [line]", known(line("[line]"))),
        ("line.toml [memory]", known(line("[memory]"))),
        ("line.toml [[source]]", known(line(source))),
        (
            "line.toml [[stage]]",
            known(line("[[stage]]\nname = \"a\"\nkind = \"risk\"")),
        ),
        (
            "line.toml [[sink]]",
            known(line("[[sink]]\nname = \"a\"\nkind = \"blackhole\"")),
        ),
        ("line.toml [[hop]]", known(line("[[hop]]"))),
        (
            "line.toml [[hop.class]]",
            known(line(
                "[[hop]]\nfrom = \"btc\"\nto = \"book\"\n[[hop.class]]",
            )),
        ),
        ("line.toml [[thread]]", known(line("[[thread]]"))),
        ("load.toml top", known(load("zzzzzzzz = 1\n"))),
        (
            "load.toml [[feed]]",
            known(load("[[feed]]\nsource = \"btc\"\nzzzzzzzz = 1\n")),
        ),
        ("budget.toml [slo]", known(budget("[slo]"))),
        (
            "budget.toml [hop.\"from->to\"]",
            known(budget("[hop.\"btc->book\"]")),
        ),
    ];
    let kinds = settings_of_kinds();
    let kinds: Vec<(String, Vec<String>)> = kinds
        .into_iter()
        .map(|(kind, settings)| (format!("Settings of kinds {kind}"), settings))
        .collect();
    tables.extend(
        kinds
            .iter()
            .map(|(kind, settings)| (kind.as_str(), settings.clone())),
    );
    let sorted = |keys: &[String]| {
        let mut keys = keys.to_vec();
        keys.sort();
        keys
    };
    for (table, known) in &tables {
        let rows = documented.get(*table).map_or(&[][..], Vec::as_slice);
        assert_eq!(sorted(rows), sorted(known), "{table}");
    }
    let sections: Vec<&str> = documented.keys().map(String::as_str).collect();
    let mut expected: Vec<&str> = tables.iter().map(|(table, _)| *table).collect();
    expected.sort_unstable();
    assert_eq!(sections, expected);
}

#[test]
fn sources_of_two_kinds_may_share_an_address_and_two_of_one_may_not() {
    let problems = |kinds: [&str; 2]| {
        let mut text = String::from(
            "[line]\nname = \"two\"\n[[sink]]\nname = \"end\"\nkind = \"blackhole\"\n",
        );
        for (at, kind) in kinds.into_iter().enumerate() {
            let source = "bind = \"127.0.0.1:26400\"\ndecode = \"datagram\"";
            text += &format!("[[source]]\nname = \"s{at}\"\nkind = \"{kind}\"\n{source}\n");
            text += &format!("[[hop]]\nfrom = \"s{at}\"\nto = \"end\"\n");
        }
        let files = CaseFiles {
            line: SourceText::from_bytes("line.toml", text.into_bytes()).unwrap(),
            load: None,
            budget: None,
        };
        let case = Case::parse("two", files).unwrap();
        let overrides = Overrides {
            feed: FeedMode::Live,
            ..Overrides::default()
        };
        let draft = case.draft(&registry(), &overrides);
        draft
            .err()
            .map_or(String::new(), |problems| problems.to_string())
    };
    assert_eq!(problems(["udp", "tcp"]), "");
    assert!(problems(["tcp", "tcp"]).contains("both bind 127.0.0.1:26400"));
}

#[test]
fn both_lines_of_a_feed_are_addresses_that_nobody_else_may_bind() {
    let source = |name: &str, kind: &str, decode: &str, binds: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\nkind = \"{kind}\"\ndecode = \"{decode}\"\n{binds}\n"
        )
    };
    let itch = |name: &str, a: u16, b: u16| {
        let binds = format!("bind = \"127.0.0.1:{a}\"\nbind_b = \"127.0.0.1:{b}\"");
        source(name, "moldudp64", "itch", &binds)
    };
    let iex = |name: &str, binds: &str| source(name, "iextp", "deep", binds);
    let problems = |sources: [String; 2]| {
        let mut text = sources.concat();
        for name in ["one", "two"] {
            text += &format!("[[sink]]\nname = \"{name}-end\"\nkind = \"blackhole\"\n");
            text += &format!("[[hop]]\nfrom = \"{name}\"\nto = \"{name}-end\"\n");
        }
        let registry = registry();
        let files = files(&text, None, None);
        let draft = Case::parse("two", files).unwrap();
        let draft = draft.draft(&registry, &Overrides::default());
        draft.map_or_else(|problems| problems.to_string(), |_| String::new())
    };
    assert_eq!(
        problems([itch("one", 26700, 26701), itch("two", 26702, 26703)]),
        ""
    );
    let clash = |line: usize, at: &str| {
        format!(
            "line.toml:{line}:1: \"one\" and \"two\" both bind {at}\n  help: give each an address of its own"
        )
    };
    // The second line of one feed is the first of another, of another kind; and the other way round.
    let other = iex("two", "bind = \"127.0.0.1:26701\"");
    assert_eq!(
        problems([itch("one", 26700, 26701), other]),
        clash(11, "127.0.0.1:26701")
    );
    let first = iex("one", "bind = \"127.0.0.1:26701\"");
    assert_eq!(
        problems([first, itch("two", 26700, 26701)]),
        clash(11, "127.0.0.1:26701")
    );
    assert_eq!(
        problems([itch("one", 26700, 26701), itch("two", 26702, 26701)]),
        clash(12, "127.0.0.1:26701")
    );
    let udp = source("two", "udp", "datagram", "bind = \"[0:0::1]:26701\"");
    let six = iex("one", "bind = \"[::1]:26700\"\nbind_b = \"[::1]:26701\"");
    assert_eq!(problems([six, udp]), clash(11, "[::1]:26701"));
    // Ports that the system gives are different ones.
    assert_eq!(problems([itch("one", 26700, 0), itch("two", 26702, 0)]), "");
}
