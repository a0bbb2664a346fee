//! Messages that the decoder could only refuse are refused as settings.

use hopline::adapter::{Content, datagrams, register, synthetic, tcp};
use hopline::config::{Case, CaseFiles, FeedMode, Overrides, SourceText};
use hopline::topology::{Hop, Line, Registry};

/// A line with a source of these lines, and a load of those; what is said of it.
fn said(source: &str, load: Option<&str>, overrides: &Overrides) -> String {
    let line = format!(
        "[[source]]\nname = \"in\"\ndecode = \"datagram\"\n{source}\n\
         [[sink]]\nname = \"out\"\nkind = \"blackhole\"\n[[hop]]\nfrom = \"in\"\nto = \"out\"\n"
    );
    let files = CaseFiles {
        line: SourceText::new("line.toml", &line),
        load: load.map(|load| SourceText::new("load.toml", load)),
        budget: None,
    };
    let case = Case::parse("lengths", files).unwrap();
    let registry = register(Registry::new());
    let draft = case.draft(&registry, overrides);
    let line = draft.and_then(|draft| draft.check());
    line.map_or_else(|problems| problems.to_string(), |_| String::new())
}

const UDP: &str = "kind = \"udp\"\nbind = \"127.0.0.1:7\"";

#[test]
fn a_load_whose_every_datagram_is_too_long_is_refused_however_it_comes() {
    let load = |via: &str, bytes: usize| {
        format!("via = \"{via}\"\ncontent = \"datagrams\"\nbytes = {bytes}\n")
    };
    let plain = Overrides::default();
    for via in ["direct", "udp"] {
        let found = said(UDP, Some(&load(via, 60_000)), &plain);
        assert_eq!(
            found,
            "line.toml:3:1: the load of \"in\" has datagrams of 60000 bytes, and its decoder rejects what is \
             longer than 1472\n  help: write max_bytes = 60000 here (up to 47598), or at most bytes = 1472 in load.toml",
            "{via}"
        );
        assert_eq!(said(UDP, Some(&load(via, 1_472)), &plain), "");
        let longer = format!("{UDP}\nmax_bytes = 9000");
        assert_eq!(said(&longer, Some(&load(via, 9_000)), &plain), "");
        let found = said(&longer, Some(&load(via, 9_001)), &plain);
        assert!(found.starts_with("line.toml:6:1: the load of"), "{found}");
    }
    // Whoever else feeds it sends what they send.
    let live = Overrides {
        feed: FeedMode::Live,
        ..Overrides::default()
    };
    assert_eq!(said(UDP, Some(&load("udp", 60_000)), &live), "");
}

#[test]
fn a_made_up_datagram_and_a_stream_are_not_longer_than_their_decoder_takes() {
    let plain = Overrides::default();
    let made = "kind = \"synthetic\"\nrate = \"1k/s\"\ncontent = \"datagrams\"\nbytes = ";
    let found = said(&format!("{made}1473"), None, &plain);
    assert!(
        found.starts_with("line.toml:7:1: each datagram has 1473 bytes"),
        "{found}"
    );
    assert_eq!(said(&format!("{made}1472"), None, &plain), "");
    for kind in [
        "kind = \"tcp\"\nbind = \"127.0.0.1:7\"",
        "kind = \"unix\"\nbind = \"@lengths\"",
    ] {
        let found = said(&format!("{kind}\nmax_message = 2000"), None, &plain);
        assert!(
            found.starts_with("line.toml:6:1: messages are let in up to 2000 bytes"),
            "{found}"
        );
        let both = format!("{kind}\nmax_message = 2000\nmax_bytes = 2000");
        assert_eq!(said(&both, None, &plain), "");
        // Nothing said: the decoder's own bound is what holds.
        assert_eq!(said(kind, None, &plain), "");
    }
}

#[test]
fn so_it_is_in_the_builder() {
    let built = |line: &mut hopline::topology::Builder| {
        line.sink("out", hopline::adapter::blackhole());
        line.connect("in", "out", Hop::depth(1024));
        line.build()
            .map(drop)
            .map_err(|problems| problems.to_string())
    };
    let mut line = Line::builder("long");
    let long = synthetic("BTCUSDT", 1e3).content(Content::Datagrams { bytes: 1_473 });
    line.source("in", long.decode(datagrams()));
    assert!(built(&mut line).unwrap_err().contains("longer than 1472"));
    let mut line = Line::builder("long");
    line.source(
        "in",
        tcp("127.0.0.1:7")
            .max_message(100)
            .decode(datagrams().at_most(99)),
    );
    assert!(built(&mut line).unwrap_err().contains("longer than 99"));
    let mut line = Line::builder("long");
    line.source(
        "in",
        tcp("127.0.0.1:7")
            .max_message(99)
            .decode(datagrams().at_most(99)),
    );
    assert_eq!(built(&mut line), Ok(()));
}
