//! WebSocket sources, on a virtual network and on the machine's own: every way to lose a connection,
//! refusals, floods, a peer that is held back, and the waits between two tries.

#[path = "common/handshake.rs"]
mod handshake;
#[path = "websockets/real.rs"]
mod real;
#[path = "websockets/rig.rs"]
mod rig;

use hopline::stage::Role;
use hopline::topology::Registry;
use hopline::wire::session::SessionConfig;

use rig::{Ends, Manner, S, Then, World, counts};

#[test]
fn a_feed_comes_whole_in_order_and_is_subscribed_to() {
    let mut world = World::new(vec![Manner::Well]);
    world.source = world.source.subscribe("one").subscribe("two");
    let seen = world.run(3 * S);
    assert!(seen.texts.len() > 250, "{}", seen.texts.len());
    assert!(seen.texts.iter().copied().eq(0..seen.texts.len() as u64));
    assert_eq!(seen.heard, ["one", "two"]);
    let source = seen.source();
    assert_eq!(
        (source.connected, source.received),
        (1, seen.texts.len() as u64)
    );
    assert_eq!(counts(&source.disconnected), [("ended", 1)]);
    let link = seen.link();
    assert_eq!((link.state, link.dials, link.opened), ("ended", 1, 1));
    assert_eq!((link.outages, link.down_ns > 0), (0, true));
    assert!(link.bytes_in > source.bytes && link.bytes_out > 0);
    // The line ends in good order, and tells the peer so.
    assert_eq!(seen.closes, [1000]);
    assert_eq!(seen.report.faults, Vec::<String>::new());
}

#[test]
fn whatever_ends_a_connection_is_named_and_the_next_one_goes_on() {
    use Then::*;
    let cases: Vec<(Then, Ends)> = vec![
        (
            Close(Some(1000)),
            Ends::of("closed", "finished").code("1000"),
        ),
        (
            Close(Some(1001)),
            Ends::of("closed", "finished").code("1001"),
        ),
        (
            Close(Some(1008)),
            Ends::of("closed", "finished").code("1008"),
        ),
        (
            Close(Some(1012)),
            Ends::of("closed", "finished").code("1012"),
        ),
        (
            Close(Some(4321)),
            Ends::of("closed", "finished").code("4321"),
        ),
        (Close(None), Ends::of("closed", "finished").code("1005")),
        (
            Raw(b"\x88\x02\x03\xee"),
            Ends::of("violation", "violation").rejects("violation"),
        ),
        (End, Ends::of("cut_off", "cut_off").code("1006")),
        (
            RawThenEnd(b"\x81\x05abc"),
            Ends::of("cut_off", "cut_off")
                .code("1006")
                .rejects("truncated"),
        ),
        (
            RawThenEnd(b"\x01\x03abc"),
            Ends::of("cut_off", "cut_off")
                .code("1006")
                .rejects("truncated"),
        ),
        (
            RawThenEnd(b"\x81"),
            Ends::of("cut_off", "cut_off")
                .code("1006")
                .rejects("truncated"),
        ),
        (
            Raw(b"\x81\x81\0\0\0\0x"),
            Ends::of("violation", "violation").rejects("violation"),
        ),
        (
            Raw(b"\xc1\x01x"),
            Ends::of("violation", "violation").rejects("violation"),
        ),
        (
            Raw(b"\x83\x01x"),
            Ends::of("violation", "violation").rejects("violation"),
        ),
        (
            Raw(b"\x80\x01x"),
            Ends::of("violation", "violation").rejects("violation"),
        ),
        (
            Raw(b"\x81\x01\xff"),
            Ends::of("violation", "violation").rejects("not_utf8"),
        ),
        (Silence, Ends::of("silent", "silent")),
    ];
    for (then, ends) in cases {
        let world = World::new(vec![Manner::After(20, then), Manner::Well]);
        // Silence is found after 45 s, all else at once.
        let span_ns = if ends.lost == "silent" { 120 } else { 10 } * S;
        let seen = world.run(span_ns);
        let (source, link) = (seen.source(), seen.link());
        let lost = [(ends.lost, 1), ("stopped", 1)];
        let mut expected = lost.to_vec();
        expected.sort_unstable();
        assert_eq!(counts(&link.lost), expected, "{then:?}");
        let mut expected = vec![(ends.hangup, 1), ("ended", 1)];
        expected.sort_unstable();
        assert_eq!(counts(&source.disconnected), expected, "{then:?}");
        let code: Vec<(&str, u64)> = ends.code.into_iter().map(|code| (code, 1)).collect();
        assert_eq!(counts(&link.closed), code, "{then:?}");
        let rejects: Vec<(&str, u64)> = ends.rejects.into_iter().map(|why| (why, 1)).collect();
        assert_eq!(counts(&source.rejected), rejects, "{then:?}");
        assert_eq!(
            (link.opened, link.outages, source.connected),
            (2, 1, 2),
            "{then:?}"
        );
        // The feed of the second connection begins anew: all of the first, then all of the second.
        assert!(seen.texts[..20].iter().copied().eq(0..20), "{then:?}");
        let second = &seen.texts[20..];
        assert!(second.len() > 100, "{then:?}: {}", second.len());
        assert!(
            second.iter().copied().eq(0..second.len() as u64),
            "{then:?}"
        );
        let outage = link.outage_spans[0];
        let down_ns = outage.until_ns.unwrap() - outage.from_ns;
        assert!((S..=31 * S).contains(&down_ns), "{then:?}: {down_ns}");
    }
}

#[test]
fn an_answer_that_opens_nothing_is_counted_by_its_status_and_tried_again() {
    for (manner, lost, status) in [
        (
            Manner::Answers("301 Moved Permanently\r\nLocation: ws://elsewhere"),
            "handshake_refused",
            Some("301"),
        ),
        (
            Manner::Answers("404 Not Found"),
            "handshake_refused",
            Some("404"),
        ),
        (
            Manner::Answers("500 Internal Server Error"),
            "handshake_refused",
            Some("500"),
        ),
        (Manner::WrongKey, "handshake_bad", None),
        (Manner::Babbles, "handshake_bad", None),
        (Manner::Mute, "handshake_timeout", None),
        (Manner::HangsUp, "cut_off", None),
    ] {
        let world = World::new(vec![manner, manner, Manner::Well]);
        let seen = world.run(40 * S);
        let (source, link) = (seen.source(), seen.link());
        assert_eq!(link.lost[lost], 2, "{manner:?}: {:?}", link.lost);
        let refused: Vec<(&str, u64)> = status.into_iter().map(|status| (status, 2)).collect();
        assert_eq!(counts(&link.refused), refused, "{manner:?}");
        assert_eq!(
            (link.dials, link.opened, link.outages),
            (3, 1, 0),
            "{manner:?}"
        );
        assert_eq!(
            (source.connected, source.rejected.len()),
            (1, 0),
            "{manner:?}"
        );
        assert!(link.down_ns >= 2 * S, "{manner:?}");
        assert!(seen.texts.len() > 100, "{manner:?}");
        assert_eq!(
            seen.report.faults,
            Vec::<String>::new(),
            "it came to be open"
        );
    }
}

#[test]
fn one_that_never_opens_says_why() {
    let seen = World::new(vec![Manner::Answers("404 Not Found")]).run(20 * S);
    let expected = "in: i/o: cannot open ws://127.0.0.1:26460/ws: handshake_refused, status 404";
    assert_eq!(seen.report.faults, [expected]);
    let seen = World::new(vec![]).run(20 * S);
    let fault = &seen.report.faults[0];
    assert!(fault.starts_with("in: i/o: cannot connect"), "{fault}");
    assert_eq!(seen.link().last_lost, Some("refused"));
}

#[test]
fn a_text_of_700_kb_is_refused_and_the_connection_stays() {
    let seen = World::new(vec![Manner::Sends(700_000)]).run(5 * S);
    let source = seen.source();
    assert_eq!(counts(&source.rejected), [("too_long", 1)]);
    assert_eq!((source.connected, seen.link().opened), (1, 1));
    assert!(seen.texts.iter().copied().eq(0..seen.texts.len() as u64));
    assert!(seen.texts.len() > 100);
    assert!(source.bytes >= 700_000);
}

#[test]
fn what_is_longer_than_it_reads_closes_the_connection_with_1009() {
    let mut world = World::new(vec![Manner::Sends(700_000), Manner::Well]);
    world.source = world.source.close_above(100_000);
    let seen = world.run(60 * S);
    let source = seen.source();
    assert_eq!(counts(&source.rejected), [("too_long", 1)]);
    assert_eq!(source.disconnected["too_long"], 1);
    assert_eq!(seen.closes, [1009, 1000]);
    assert_eq!(seen.link().opened, 2);
    assert!(seen.texts.len() > 1_000);
    assert!(
        source.bytes < 700_000,
        "what came is counted, not what was announced"
    );
}

#[test]
fn fragments_become_one_message_whatever_comes_between() {
    let seen = World::new(vec![Manner::Fragments]).run(5 * S);
    let source = seen.source();
    assert_eq!(source.rejected.len(), 0, "{:?}", source.rejected);
    assert!(seen.texts.len() > 100);
    assert!(seen.texts.iter().copied().eq(0..seen.texts.len() as u64));
    assert!(seen.link().pinged >= seen.texts.len() as u64);
}

#[test]
fn a_flood_of_pings_costs_bounded_turns_and_no_message() {
    const PINGS: u64 = 100_000;
    let seen = World::new(vec![Manner::After(20, Then::Pings(PINGS))]).run(20 * S);
    let link = seen.link();
    assert_eq!((link.opened, link.pinged), (1, PINGS));
    assert!(seen.texts.iter().copied().eq(0..seen.texts.len() as u64));
    assert!(seen.texts.len() > 1_000, "{}", seen.texts.len());
    // The peer does not read its pongs while it floods: what has no room is dropped, not kept.
    assert!(link.bytes_out < 3 * PINGS, "{}", link.bytes_out);
}

#[test]
fn a_half_open_connection_is_found_by_its_pings_and_a_quiet_one_is_stale_and_stays() {
    let seen = World::new(vec![Manner::After(20, Then::Silence), Manner::Well]).run(120 * S);
    let link = seen.link();
    let outage = link.outage_spans[0];
    // Twenty messages of 10 ms, then 45 s without a sign.
    assert!((45 * S..46 * S).contains(&outage.from_ns), "{outage:?}");
    assert!(link.pings >= 2, "{}", link.pings);
    assert_eq!(link.stale, 1);

    let seen = World::new(vec![Manner::After(20, Then::Quiet)]).run(120 * S);
    let link = seen.link();
    assert_eq!((link.opened, link.outages, link.stale), (1, 0, 1));
    assert_eq!((link.pings, link.pongs), (7, 7), "one each fifteen seconds");
    assert!(link.round_trip_ns > 0 && link.round_trip_ns <= link.round_trip_ns_max);

    let mut world = World::new(vec![Manner::After(20, Then::Quiet), Manner::Well]);
    world.source = world.source.times(SessionConfig {
        stale_drop_ns: Some(20 * S),
        ..SessionConfig::default()
    });
    let seen = world.run(60 * S);
    assert_eq!(seen.source().disconnected["stale"], 1);
    assert_eq!(seen.link().opened, 2);
}

#[test]
fn waits_lie_between_one_and_thirty_seconds_grow_and_differ() {
    let dials = |port: u16| {
        let mut world = World::new(vec![Manner::Answers("503 Busy")]);
        world.at(port);
        world.run(400 * S).asked_ns
    };
    let (one, other) = (dials(26460), dials(26461));
    for dials in [&one, &other] {
        // Half of thirty seconds on average, once they have grown.
        assert!((13..=80).contains(&dials.len()), "{}", dials.len());
        let waits: Vec<u64> = dials.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let slack_ns = S / 10;
        for (nth, wait_ns) in waits.iter().enumerate() {
            let most_ns = (S << (nth + 1).min(5)).min(30 * S) + slack_ns;
            assert!((S..=most_ns).contains(wait_ns), "{nth}: {wait_ns}");
        }
        assert!(waits.iter().any(|wait_ns| *wait_ns > 15 * S), "{waits:?}");
    }
    let same = one.iter().zip(&other).filter(|(a, b)| a == b);
    assert!(same.count() <= 1, "they would come back together");
}

#[test]
fn a_peer_that_is_held_back_is_not_called_silent_and_loses_nothing() {
    let mut world = World::new(vec![Manner::Well]);
    world.takes_nothing_until_ns = 60 * S;
    let seen = world.run(80 * S);
    let (source, link) = (seen.source(), seen.link());
    assert_eq!((link.opened, link.outages), (1, 0), "{:?}", link.lost);
    assert!(seen.texts.iter().copied().eq(0..seen.texts.len() as u64));
    assert!(seen.texts.len() > 7_000, "{}", seen.texts.len());
    assert_eq!(source.rejected.len(), 0, "{:?}", source.rejected);
    let stage = seen
        .report
        .stages
        .iter()
        .find(|stage| stage.name == "in")
        .unwrap();
    assert!(
        stage.regimes_ns.held_back > 50 * S,
        "{:?}",
        stage.regimes_ns
    );
    assert_eq!(stage.held_back_by.as_deref(), Some("in->end"));
}

#[test]
fn what_was_read_when_the_line_ends_is_counted() {
    // More at once than the hop has room for.
    let many = Vec::leak(b"\x81\x017".repeat(100));
    let mut world = World::new(vec![Manner::After(20, Then::Raw(many))]);
    world.takes_nothing_until_ns = u64::MAX;
    let seen = world.run(10 * S);
    let source = seen.source();
    assert!(source.rejected["line_ended"] > 0, "{:?}", source.rejected);
    assert_eq!(
        source.received,
        source.ingested + source.rejected.values().sum::<u64>()
    );
}

#[test]
fn the_same_run_twice_is_the_same() {
    let run = || {
        let manners = vec![
            Manner::Answers("503 Busy"),
            Manner::After(20, Then::End),
            Manner::After(7, Then::Close(Some(1012))),
            Manner::Well,
        ];
        let seen = World::new(manners).run(200 * S);
        let link = seen.link();
        let words = format!("{:?} {:?} {:?}", link.lost, link.outage_spans, link.dials);
        (words, seen.texts)
    };
    assert_eq!(run(), run());
}

/// What is wrong with these settings of a source.
fn problem(settings: &str) -> String {
    let line = format!(
        r#"
[line]
name = "small"
[[source]]
name = "in"
kind = "websocket"
decode = "datagram"
{settings}
[[sink]]
name = "end"
kind = "blackhole"
[[hop]]
from = "in"
to = "end"
"#
    );
    let registry = hopline::adapter::register(Registry::new());
    assert!(
        registry
            .kinds()
            .any(|kind| kind == ("websocket", Role::Source))
    );
    let files = hopline::config::CaseFiles {
        line: hopline::config::SourceText::new("line.toml", &line),
        load: None,
        budget: None,
    };
    let case = match hopline::config::Case::parse("small", files) {
        Ok(case) => case,
        Err(problems) => return problems.to_string(),
    };
    match case.draft(&registry, &hopline::config::Overrides::default()) {
        Ok(_) => String::new(),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn settings_that_cannot_be_are_told_with_what_to_write() {
    let url = "url = \"ws://127.0.0.1:9443/ws\"\n";
    assert_eq!(problem(url), "");
    assert_eq!(
        problem(&format!(
            "{url}connect = \"127.0.0.1:1\"\nsubscribe = [\"a\"]\nprotocol = \"v1\"\nheaders = [\"X-Key: a b\"]\n\
             max_message = 1000\nclose_above = 2000\nstale_after = \"0s\"\nretry_max = \"1min\"\n"
        )),
        ""
    );
    for (settings, words) in [
        ("", "url = \"ws://127.0.0.1:9443/ws\""),
        (
            "url = \"wss://stream.example/ws\"",
            "a proxy that speaks TLS",
        ),
        ("url = \"http://127.0.0.1/\"", "does not begin with ws://"),
        (
            "url = \"ws://stream.example/ws\"",
            "a loop looks up no names",
        ),
        (
            "url = \"ws://stream.example/ws\"\nconnect = \"stream.example:80\"",
            "no address with a port",
        ),
        (&format!("{url}protocol = \"a b\""), "no subprotocol"),
        (&format!("{url}headers = [\"no\"]"), "has no colon"),
        (
            &format!("{url}headers = [\"a b: c\"]"),
            "may not be a header",
        ),
        (
            &format!("{url}max_message = 3000"),
            "rejects what is longer than 1472",
        ),
        (
            &format!("{url}max_message = 1400\nclose_above = 100"),
            "close_above of at least",
        ),
        (&format!("{url}ping_every = \"1us\""), "out of bounds"),
        (
            &format!("{url}retry_min = \"1min\""),
            "shorter than \"retry_min\"",
        ),
        (
            &format!("{url}silent_after = \"15s\""),
            "lost before it is asked",
        ),
        (
            &format!("{url}subscribe = [\"{}\"]", "x".repeat(40_000)),
            "at most 32768",
        ),
    ] {
        let said = problem(settings);
        assert!(said.contains(words), "{settings}: {said}");
    }
}
