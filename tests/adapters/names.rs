//! Sources, decoders and sinks by name and settings, as a case has them.

use hopline::adapter::{Binance, register, udp};
use hopline::io::VirtualNet;
use hopline::stage::Role;
use hopline::topology::draft::{DraftHop, DraftNode, HopPlaces};
use hopline::topology::{Draft, Hop, Inline, Line, Params, Registry, Value};

use crate::rig::run_line;

/// A setting of a node.
type Setting = (&'static str, Value);

fn params(settings: &[Setting]) -> Params {
    let mut params = Params::new(None);
    for (key, value) in settings {
        params.set(key, value.clone(), None);
    }
    params
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn all_kinds_are_made_by_their_names() {
    let registry = register(Registry::new());
    let kinds: Vec<(&str, Role)> = registry.kinds().collect();
    for (kind, role) in [
        ("udp", Role::Source),
        ("replay", Role::Source),
        ("capture", Role::Source),
        ("pcap", Role::Source),
        ("synthetic", Role::Source),
        ("udp", Role::Sink),
        ("udp_reply", Role::Sink),
        ("blackhole", Role::Sink),
        ("sink_log", Role::Sink),
    ] {
        assert!(kinds.contains(&(kind, role)), "{kind}");
    }
    let good: &[(&str, Role, &[Setting])] = &[
        (
            "udp",
            Role::Source,
            &[
                ("bind", text("127.0.0.1:0")),
                ("decode", text("binance")),
                ("symbol", text("BTCUSDT")),
            ],
        ),
        (
            "udp",
            Role::Source,
            &[
                ("bind", text("[::1]:0")),
                ("decode", text("datagram")),
                ("share", text("echo")),
                ("recv_buffer", Value::Int(1 << 20)),
            ],
        ),
        (
            "replay",
            Role::Source,
            &[
                ("file", text("a.gz")),
                ("speed", text("100x")),
                ("epoch_ns", Value::Int(5)),
                ("decode", text("binance")),
                (
                    "symbols",
                    Value::List(vec![text("BTCUSDT"), text("ETHUSDT")]),
                ),
                ("symbol", text("ETHUSDT")),
            ],
        ),
        (
            "capture",
            Role::Source,
            &[
                ("file", text("a.cap")),
                ("speed", text("max")),
                ("decode", text("captured")),
                ("frames", text("datagrams")),
            ],
        ),
        (
            "pcap",
            Role::Source,
            &[
                ("file", text("a.pcap")),
                ("port", Value::Int(26_400)),
                ("address", text("239.1.2.3")),
                ("decode", text("datagram")),
            ],
        ),
        (
            "synthetic",
            Role::Source,
            &[
                ("rate", text("50k/s")),
                ("arrivals", text("bursty")),
                ("burst", Value::Int(8)),
                ("intensity", Value::Int(4)),
                ("seed", Value::Int(9)),
                ("for", text("10s")),
                ("count", Value::Int(5)),
                ("decode", text("binance")),
                ("symbol", text("BTCUSDT")),
            ],
        ),
        (
            "synthetic",
            Role::Source,
            &[
                ("rate", text("50k/s")),
                ("content", text("datagrams")),
                ("bytes", Value::Int(100)),
                ("decode", text("datagram")),
                ("max_bytes", Value::Int(100)),
            ],
        ),
        ("udp", Role::Sink, &[("to", text("127.0.0.1:9"))]),
        ("udp_reply", Role::Sink, &[("socket", text("echo"))]),
        ("blackhole", Role::Sink, &[]),
        (
            "sink_log",
            Role::Sink,
            &[("file", text("a")), ("symbols", text("BTCUSDT"))],
        ),
    ];
    for (kind, role, settings) in good {
        let made = registry.make(kind, *role, &mut params(settings));
        let part = made.unwrap_or_else(|problems| panic!("{kind}: {problems}"));
        assert_eq!(part.descriptor().role, *role);
        assert!(part.descriptor().memory_bytes > 0 || *kind == "blackhole");
    }
}

#[test]
fn hardware_stamps_need_a_device_and_a_device_needs_hardware_stamps() {
    let registry = register(Registry::new());
    let make = |settings: &[Setting]| {
        let bare = [("decode", text("datagram")), ("bind", text("127.0.0.1:0"))];
        let mut params = params(&[&bare, settings].concat());
        let made = registry.make("udp", Role::Source, &mut params);
        made.map(drop).map_err(|problems| problems.to_string())
    };
    let hardware = ("timestamps", text("hardware"));
    assert_eq!(make(&[hardware.clone(), ("device", text("eth0"))]), Ok(()));
    assert_eq!(make(&[("timestamps", text("kernel"))]), Ok(()));
    for (settings, says) in [
        (vec![hardware.clone()], "write device = \"eth0\""),
        (
            vec![("timestamps", text("kernel")), ("device", text("eth0"))],
            "\"device\" has no effect where timestamps = \"kernel\"",
        ),
        (
            vec![("device", text("eth0"))],
            "\"device\" has no effect where timestamps = \"off\"",
        ),
        (
            vec![hardware, ("device", text("../eth0"))],
            "\"../eth0\" is no name of a network device",
        ),
        (
            vec![("timestamps", text("software"))],
            "write \"kernel\", \"hardware\" or \"off\"",
        ),
    ] {
        let said = make(&settings).unwrap_err();
        assert!(said.contains(says), "{settings:?}: {said}");
    }
}

#[test]
fn wrong_settings_are_named_with_what_to_write() {
    let registry = register(Registry::new());
    let bare: &[Setting] = &[("decode", text("datagram"))];
    let made_up: &[Setting] = &[("decode", text("binance")), ("symbol", text("BTCUSDT"))];
    for (kind, role, base, setting, says) in [
        (
            "udp",
            Role::Source,
            bare,
            None,
            "write bind = \"127.0.0.1:26400\"",
        ),
        (
            "udp",
            Role::Source,
            bare,
            Some(("bind", text("localhost:1"))),
            "no address with a port",
        ),
        (
            "udp",
            Role::Sink,
            &[],
            Some(("to", text("127.0.0.1"))),
            "no address with a port",
        ),
        (
            "udp",
            Role::Stage,
            &[],
            None,
            "\"udp\" is a source and a sink, not a stage",
        ),
        (
            "synthetic",
            Role::Source,
            made_up,
            None,
            "write rate = \"50k/s\"",
        ),
        (
            "synthetic",
            Role::Source,
            made_up,
            Some(("rate", text("50k"))),
            "cannot be read",
        ),
        (
            "synthetic",
            Role::Source,
            made_up,
            Some(("arrivals", text("possion"))),
            "did you mean \"poisson\"?",
        ),
        (
            "synthetic",
            Role::Source,
            made_up,
            Some(("arrivals", text("recorded=a.gz"))),
            "write rate = \"50k/s\"",
        ),
        (
            "replay",
            Role::Source,
            made_up,
            Some(("speed", text("100x"))),
            "\"file\" is missing",
        ),
        (
            "replay",
            Role::Source,
            &[("file", text("a")), ("decode", text("binance"))],
            None,
            "symbol = \"BTCUSDT\"",
        ),
        (
            "replay",
            Role::Source,
            &[("file", text("a")), ("decode", text("binance"))],
            Some(("symbol", text("btc"))),
            "as the exchange does",
        ),
        (
            "replay",
            Role::Source,
            &[("file", text("a")), ("decode", text("binnance"))],
            None,
            "did you mean \"binance\"?",
        ),
        (
            "replay",
            Role::Source,
            &[("file", text("a"))],
            None,
            "\"decode\" is missing",
        ),
        (
            "sink_log",
            Role::Sink,
            &[("file", text("a"))],
            None,
            "symbols = [\"BTCUSDT\"",
        ),
        (
            "blackhole",
            Role::Sink,
            &[],
            Some(("file", text("a"))),
            "unknown key \"file\"",
        ),
    ] {
        let mut given = params(base);
        if let Some((key, value)) = setting {
            given.set(key, value, None);
        }
        let made = registry.make(kind, role, &mut given).map(|_| ());
        let problems = made.unwrap_err().to_string();
        assert!(problems.contains(says), "{kind}: {problems}");
    }
    // In code the same is said when the line is built.
    let mut line = Line::builder("wrong");
    line.source("in", udp("nowhere").decode(Binance::new(&[])));
    let problems = line.build().unwrap_err().to_string();
    assert!(
        problems.contains("in: a source needs at least one symbol"),
        "{problems}"
    );
}

/// Kind and role, settings, and what is said of them.
type Refused<'a> = (&'a str, Role, &'a [(&'a str, &'a str)], &'a str);

#[test]
fn settings_that_would_have_no_effect_are_refused() {
    let registry = register(Registry::new());
    let (source, sink) = (Role::Source, Role::Sink);
    let (v4, v6) = ("0.0.0.0:7", "[::]:7");
    let (group, other, group6) = ("239.1.2.3", "239.1.2.4", "ff05::7");
    let cases: &[Refused] = &[
        (
            "udp",
            source,
            &[("bind", v4), ("interface", "1")],
            "without \"join\"",
        ),
        (
            "udp",
            source,
            &[("bind", "239.1.2.3:7")],
            "write join = \"239.1.2.3\"",
        ),
        (
            "udp",
            source,
            &[("bind", "239.1.2.4:7"), ("join", group)],
            "write bind = \"239.1.2.3:7\"",
        ),
        (
            "udp",
            source,
            &[("bind", "127.0.0.1:7"), ("join", group)],
            "bind = \"0.0.0.0:7\"",
        ),
        (
            "udp",
            source,
            &[("bind", v4), ("join", group6)],
            "\"join\" is an address of IPv6",
        ),
        (
            "udp",
            source,
            &[("bind", v6), ("join", other)],
            "\"join\" is an address of IPv4",
        ),
        (
            "udp",
            source,
            &[("bind", v6), ("join", group6), ("interface", "127.0.0.1")],
            "number",
        ),
        (
            "udp",
            source,
            &[("bind", v4), ("connect", "127.0.0.1:0")],
            "port 0",
        ),
        (
            "udp",
            source,
            &[("bind", v4), ("connect", "[::1]:1")],
            "\"connect\" is an address of IPv6",
        ),
        ("udp", sink, &[("to", "127.0.0.1:0")], "port 0"),
        (
            "udp",
            sink,
            &[("to", "127.0.0.1:9"), ("interface", "1")],
            "\"interface\" has no effect",
        ),
        (
            "udp",
            sink,
            &[("to", "[ff05::7]:9"), ("interface", "127.0.0.1")],
            "number",
        ),
        (
            "udp",
            sink,
            &[("to", "127.0.0.1:9"), ("bind", "[::1]:0")],
            "\"bind\" is an address of IPv6",
        ),
        ("tcp", sink, &[("to", "127.0.0.1:0")], "port 0"),
        ("tcp", source, &[("connect", "127.0.0.1:0")], "port 0"),
        (
            "tcp",
            source,
            &[("bind", "127.0.0.1:7"), ("connect", "127.0.0.1:8")],
            "exclude each other",
        ),
    ];
    let wrong = |kind: &str, role, mut given: Params| {
        if role == source {
            given.set("decode", text("datagram"), None);
        }
        let made = registry.make(kind, role, &mut given).map(|_| ());
        made.err().map(|problems| problems.to_string())
    };
    for (kind, role, settings, says) in cases {
        let mut given = Params::new(None);
        settings
            .iter()
            .for_each(|(key, value)| given.set(key, text(value), None));
        let said = wrong(kind, *role, given).unwrap_or_else(|| panic!("{settings:?} is taken"));
        assert!(
            said.contains(says) && said.contains("help: "),
            "{settings:?}: {said}"
        );
    }
    for (key, value) in [("ttl", Value::Int(1)), ("loop", Value::Bool(true))] {
        let mut given = Params::new(None);
        given.set("to", text("127.0.0.1:9"), None);
        given.set(key, value.clone(), None);
        let said = wrong("udp", sink, given.clone()).unwrap();
        assert!(said.contains(&format!("\"{key}\" has no effect")), "{said}");
        // To a group they have one.
        given.set("to", text("239.1.2.3:9"), None);
        assert_eq!(wrong("udp", sink, given), None);
    }
    for bind in ["0.0.0.0:7", "239.1.2.3:7"] {
        let mut given = Params::new(None);
        for (key, value) in [("bind", bind), ("join", group), ("interface", "1")] {
            given.set(key, text(value), None);
        }
        assert_eq!(wrong("udp", source, given), None, "{bind}");
    }
}

/// A source of a kind, and a reply by the socket "echo", joined by a hop; the sink is made first.
fn echo(kind: &str, settings: &[Setting]) -> Line {
    let registry = register(Registry::new());
    let reply = [("socket", text("echo"))];
    let mut draft = Draft::new("echo");
    for (name, kind, role, settings) in [
        ("out", "udp_reply", Role::Sink, &reply[..]),
        ("in", kind, Role::Source, settings),
    ] {
        draft.nodes.push(DraftNode {
            name: name.to_owned(),
            kind: kind.to_owned(),
            part: registry.make(kind, role, &mut params(settings)).unwrap(),
            place: None,
        });
    }
    draft.hops.push(DraftHop {
        from: "in".to_owned(),
        to: "out".to_owned(),
        hop: Hop::depth(64),
        ring: None,
        together: None,
        places: HopPlaces::default(),
    });
    draft.check().unwrap()
}

#[test]
fn a_reply_leaves_by_the_socket_that_a_source_shares_by_name() {
    let net = VirtualNet::new();
    let (client, bind) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:26402");
    assert!(net.inject(client, bind.parse().unwrap(), b"ping", 2_000_000_000));
    let line = echo(
        "udp",
        &[
            ("bind", text(bind)),
            ("decode", text("datagram")),
            ("share", text("echo")),
        ],
    );
    let inline = Inline::new(net.driver().into()).stop_after_ns(2_000_000_000);
    run_line(line, inline);
    let sent = net.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].from, sent[0].to), (bind.parse().unwrap(), client));
    assert_eq!(sent[0].bytes, b"ping");
}

#[test]
fn a_reply_without_a_source_that_shares_is_an_error_at_opening() {
    let line = echo(
        "synthetic",
        &[
            ("rate", text("1k/s")),
            ("content", text("datagrams")),
            ("decode", text("datagram")),
        ],
    );
    let ran = line.run_inline(Inline::new(VirtualNet::new().driver().into()), None);
    let error = ran.map(|_| ()).unwrap_err().to_string();
    assert!(
        error.contains("no source of this line has share = \"echo\""),
        "{error}"
    );
}
