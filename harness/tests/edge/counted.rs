//! What a server counts of what is done to it, in this process: nothing goes uncounted, and nothing is left behind.

use hopline::base::Reason;
use hopline::edge::{
    AdmissionLimits, ChannelLimits, Counts, Ended, Epoch, Event, Hub, Kind, Lane, Problem, Router,
    Rules, Server, ServerConfig, SessionTimes,
};
use serde_json::json;

use crate::hostile::{self, Answer};
use crate::peer::Peer;

/// A server with the channels of a line, and something in each.
fn server(times: SessionTimes) -> Server {
    let mut hub = Hub::new(Epoch(0x9c5e_2f0a_7b1d_4e83));
    let limits = ChannelLimits::default();
    let dag = hub.open("dag/line", Lane::State, limits).unwrap();
    let alerts = hub.open("alerts/line", Lane::Critical, limits).unwrap();
    hub.open_passing("stats/line", limits).unwrap();
    let server = Server::open(ServerConfig {
        at: "127.0.0.1:0".parse().unwrap(),
        rules: Rules {
            router: Router::new(Default::default(), hopline::dashboard::assets::ASSETS),
            times,
            token: None,
        },
        admission: AdmissionLimits::default(),
        hub,
        budgets: Default::default(),
    });
    let server = server.unwrap();
    let event = |channel, kind, key: Option<&str>, value: &str| Event {
        channel,
        kind,
        key: key.map(Into::into),
        value: value.to_owned(),
    };
    let events = vec![
        event(dag, Kind::NodeState, Some("node:a"), "{\"node_id\":\"a\"}"),
        event(
            dag,
            Kind::CostUpdate,
            Some("cost"),
            "{\"spent\":1,\"budget\":2,\"remaining\":500}",
        ),
        event(
            alerts,
            Kind::Error,
            None,
            "{\"code\":\"failed\",\"message\":\"m\",\"temporary\":false,\"node_id\":\"a\"}",
        ),
    ];
    server.publisher().publish(events).unwrap();
    server
}

/// Waits until everybody has left, and ends it.
fn counted(server: Server) -> Counts {
    let address = server.address().to_string();
    let rests =
        |server: &Server| server.open_connections() == 0 && server.publisher().followed() == 0;
    for _ in 0..200 {
        if rests(&server) {
            break;
        }
        // A request that takes a turn of its thread, and leaves.
        Peer::ask(&address, "GET", "/nowhere", "Connection: close\r\n").is_ended();
    }
    assert_eq!(server.publisher().followed(), 0, "nobody follows anything");
    assert!(
        server.open_connections() <= 1,
        "{} are open",
        server.open_connections()
    );
    let counts = server.end().counts;
    assert!(counts.open() <= 1, "{counts:?}");
    counts
}

#[test]
fn whatever_is_done_to_a_server_is_counted_and_nothing_leaks() {
    let server = server(SessionTimes::default());
    let acts = hostile::all();
    let wrong = hostile::judged(&acts, &server.address().to_string());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Who leaves its channels and then goes leaves nothing either.
    let mut peer = Peer::greeted(
        &server.address().to_string(),
        &json!([{"ch": "dag/line"}, {"ch": "stats/line"}]),
    );
    for channel in ["dag/line", "stats/line"] {
        peer.say(&json!({"type": "unsubscribe", "ch": channel}));
    }
    peer.say(&json!({"type": "bye"}));
    assert_eq!(peer.closed(), Some(1000));
    drop(peer);
    let counts = counted(server);
    for problem in Problem::ALL {
        let is_it =
            |answer: &Answer| matches!(answer, Answer::Problem(_, name) if name == problem.name());
        let (expected, counted) = (
            hostile::expected(&acts, is_it),
            counts.problems[*problem as usize],
        );
        // Those that look whether a connection goes on ask for what is not there.
        let is_right = match problem {
            Problem::NotFound => counted >= expected,
            _ => counted == expected,
        };
        assert!(is_right, "{}: {counted} of {expected}", problem.name());
    }
    let errors = hostile::expected(&acts, |answer| matches!(answer, Answer::Error(_)));
    assert_eq!(counts.refused, errors);
    for (ended, codes) in [
        (Ended::Protocol, &[1002, 1007, 1009][..]),
        (Ended::Flood, &[3013]),
        (Ended::NoHello, &[3009]),
    ] {
        let is_it =
            |answer: &Answer| matches!(answer, Answer::Closed(code) if codes.contains(code));
        let acts = hostile::expected(&acts, is_it);
        let expected = match ended {
            // A head that comes too slowly has said nothing either.
            Ended::NoHello => acts + 1,
            _ => acts,
        };
        assert_eq!(
            counts.ended[ended as usize],
            expected,
            "{}: {counts:?}",
            ended.name()
        );
    }
}

#[test]
fn who_gives_no_sign_of_life_is_given_up() {
    let times = SessionTimes {
        heartbeat_ns: 100_000_000,
        ..SessionTimes::default()
    };
    let server = server(times);
    let address = server.address().to_string();
    // Half open: it hears, and says nothing.
    let mut deaf = Peer::greeted(&address, &json!([{"ch": "dag/line"}]));
    while deaf.next().is_some() {}
    // One that only listens lives, by what its socket takes.
    let mut listens = Peer::lines(&address, "/dag");
    let mut pings = 0;
    while pings < 10 {
        let line = listens.line().expect("it lives");
        pings += u32::from(line["type"] == "ping");
    }
    drop(listens);
    let counts = counted(server);
    assert_eq!(counts.ended[Ended::Silent as usize], 1, "{counts:?}");
}
