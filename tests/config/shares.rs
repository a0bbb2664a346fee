//! Sockets that a source shares and a sink answers by, in a file.

use hopline::config::{Case, FeedMode, Overrides};

use crate::kinds::registry;
use crate::{files, said};

/// A source and an answer, with these last lines each.
fn echo(source: &str, sink: &str) -> String {
    format!(
        "[[source]]\nname = \"in\"\nkind = \"udp\"\nbind = \"127.0.0.1:1\"\ndecode = \"datagram\"\n{source}\n\
         [[sink]]\nname = \"out\"\n{sink}\n[[hop]]\nfrom = \"in\"\nto = \"out\"\n"
    )
}

const REPLY: &str = "kind = \"udp_reply\"\nsocket = \"echo\"";

#[test]
fn who_shares_is_answered_and_who_answers_finds_a_socket() {
    for (source, sink, expected) in [
        (
            "",
            REPLY,
            "line.toml:10:1: socket = \"echo\": no source shares a socket by that name\n  \
             help: write share = \"echo\" in the [[source]] of kind \"udp\" whose senders it answers",
        ),
        (
            "share = \"eco\"",
            REPLY,
            "line.toml:10:1: socket = \"echo\": no source shares a socket by that name\n  \
             help: did you mean \"eco\"?",
        ),
        (
            "share = \"elsewhere\"",
            REPLY,
            "line.toml:10:1: socket = \"echo\": no source shares a socket by that name\n  \
             help: shared here: elsewhere",
        ),
        (
            "share = \"echo\"",
            "kind = \"blackhole\"",
            "line.toml:6:1: share = \"echo\": no sink answers by that socket\n  \
             help: add a [[sink]] of kind \"udp_reply\" with socket = \"echo\", or remove share",
        ),
        (
            "share = \"echo\"",
            "kind = \"stream_reply\"\nsocket = \"echo\"",
            "line.toml:9:1: \"out\" of kind \"stream_reply\" cannot answer by \"echo\", \
             which a source of kind \"udp\" shares\n  help: write kind = \"udp_reply\"",
        ),
    ] {
        let said = said(
            files(&echo(source, sink), None, None),
            &Overrides::default(),
        );
        assert_eq!(said, expected, "{source} {sink}");
    }
}

#[test]
fn what_a_run_puts_in_place_of_a_source_changes_nothing_of_that() {
    let line = echo("share = \"echo\"", REPLY);
    let case = Case::parse("echo", files(&line, Some("content = \"datagrams\""), None)).unwrap();
    for feed in [FeedMode::Load, FeedMode::Live] {
        let overrides = Overrides {
            feed,
            ..Overrides::default()
        };
        assert!(case.draft(&registry(), &overrides).is_ok(), "{feed:?}");
    }
}
