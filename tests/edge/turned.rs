//! An edge turn by turn, on a network in memory and in virtual time: who comes in, who is told what, who is taken down.

use hopline::edge::{
    AdmissionLimits, ChannelId, Counts, Edge, EdgeConfig, Ended, Kind, Now, Outline, Router, Rules,
    Said, SessionTimes, Waits,
};
use hopline::io::{Driver, Endpoint, Half, StreamId, StreamRead, StreamSpec, StreamWrite, Virtual};

use super::end::{PAGES, get, hub};

const MS: u64 = 1_000_000;

/// An edge, its clients' ends in the same driver, and the time.
struct World {
    edge: Edge,
    now: Now,
    dag: ChannelId,
    alerts: ChannelId,
}

impl World {
    fn new(admission: AdmissionLimits, debounce_ns: u64) -> World {
        let (hub, dag, alerts, _) = hub();
        let driver = Driver::from(Virtual::new())
            .with_streams_max(20_000)
            .unwrap();
        let config = EdgeConfig {
            at: "127.0.0.1:8080".parse().unwrap(),
            rules: Rules {
                router: Router::new(Default::default(), PAGES),
                times: SessionTimes::default(),
                token: None,
            },
            admission,
            debounce_ns,
            budgets: Default::default(),
        };
        World {
            edge: Edge::open(driver, hub, config).unwrap(),
            now: Now {
                ns: MS,
                us: 1_764_500_000_000_000,
            },
            dag,
            alerts,
        }
    }

    fn connect(&mut self) -> StreamId {
        let at = Endpoint::Tcp(self.edge.address());
        self.edge
            .driver_mut()
            .stream_connect(&StreamSpec::at(at))
            .unwrap()
    }

    /// A turn after a poll that lets so much time pass.
    fn turn(&mut self, span_ns: u64) {
        let polled = self
            .edge
            .driver_mut()
            .poll(self.now.ns, Some(span_ns))
            .unwrap();
        let to_ns = polled.advance_to_ns.unwrap_or(self.now.ns + span_ns);
        self.now.ns = to_ns.max(self.now.ns);
        self.edge.driver_mut().observe_time(self.now.ns);
        self.edge.turn(self.now);
    }

    /// Turns for that long.
    fn run(&mut self, span_ns: u64) {
        let until_ns = self.now.ns + span_ns;
        while self.now.ns < until_ns {
            let due_ns = self.edge.due_ns().max(self.now.ns + MS / 10);
            self.turn((due_ns - self.now.ns).min(until_ns - self.now.ns).min(MS));
        }
    }

    fn say(&mut self, id: StreamId, text: &str) {
        let said = self
            .edge
            .driver_mut()
            .stream_write(id, text.as_bytes())
            .unwrap();
        assert_eq!(said, StreamWrite::Bytes(text.len()));
        self.run(2 * MS);
    }

    /// What has come, and whether the connection has ended.
    fn hear(&mut self, id: StreamId) -> (String, bool) {
        let (mut heard, mut buf) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match self.edge.driver_mut().stream_read(id, &mut buf).unwrap() {
                StreamRead::Bytes(count) => heard.extend_from_slice(&buf[..count]),
                StreamRead::WouldBlock => return (String::from_utf8(heard).unwrap(), false),
                StreamRead::End | StreamRead::Reset => {
                    return (String::from_utf8(heard).unwrap(), true);
                }
            }
        }
    }

    /// One that follows the line by NDJSON, and has had what there is at first.
    fn follower(&mut self) -> StreamId {
        let id = self.connect();
        self.run(2 * MS);
        self.say(id, &get("/dag", ""));
        self.run(2 * MS);
        id
    }

    fn publish(&mut self, id: ChannelId, key: Option<&str>, value: &str) {
        let kind = if key.is_some() {
            Kind::NodeState
        } else {
            Kind::Error
        };
        let outline = Outline {
            kind,
            key,
            value,
            time_ms: self.now.ms(),
            born_ns: self.now.ns,
        };
        self.edge.publish(id, &outline).unwrap();
    }

    /// Whoever holds the line says that it is alive.
    fn is_well(&mut self) {
        let said = Said {
            status: 200,
            media_type: "text/plain",
            body: "ok\n".into(),
        };
        self.edge.answer(Waits::Health, &said, self.now);
    }

    /// Every connection that was accepted is open, or has ended for a reason.
    fn counts(&self) -> Counts {
        let counts = self.edge.counts();
        assert_eq!(counts.open(), self.edge.open_connections() as u64);
        assert_eq!(counts.breaches(), Vec::<String>::new());
        counts
    }
}

fn ended(counts: &Counts, why: Ended) -> u64 {
    counts.ended[why as usize]
}

#[test]
fn what_was_published_between_two_turns_leaves_in_one_write() {
    let mut world = World::new(AdmissionLimits::default(), 20 * MS);
    let id = world.follower();
    assert!(world.hear(id).0.contains("\"snapshot\""));
    world.run(30 * MS);
    let writes = world.counts().writes;
    for number in 0..4 {
        world.publish(world.dag, Some("node:a"), &format!("{{\"n\":{number}}}"));
    }
    world.run(30 * MS);
    assert_eq!(world.counts().writes, writes + 1);
    assert_eq!(world.hear(id).0.lines().count(), 4);
}

#[test]
fn events_of_a_state_are_gathered_and_critical_ones_are_not() {
    let mut world = World::new(AdmissionLimits::default(), 20 * MS);
    let (states, alerts) = (world.follower(), world.connect());
    world.run(2 * MS);
    world.say(alerts, &get("/stream/alerts/line", ""));
    world.publish(world.dag, Some("node:a"), "{}");
    world.run(25 * MS);
    let _ = (world.hear(states), world.hear(alerts));
    world.publish(world.dag, Some("node:a"), "{}");
    world.run(25 * MS);
    let _ = world.hear(states);
    // Right behind a flush: the next one is 20 ms away.
    world.publish(world.dag, Some("node:a"), "{\"n\":1}");
    world.run(MS);
    world.publish(world.dag, Some("node:a"), "{\"n\":2}");
    world.publish(world.alerts, None, "{\"code\":\"failed\"}");
    world.run(3 * MS);
    assert!(world.hear(alerts).0.contains("failed"), "at once");
    world.run(25 * MS);
    assert_eq!(world.hear(states).0.lines().count(), 2);
}

#[test]
fn one_that_says_nothing_is_pinged_and_gone_in_its_time() {
    let mut world = World::new(AdmissionLimits::default(), 0);
    let id = world.connect();
    world.run(2 * MS);
    world.say(id, &super::end::upgrade("/dag"));
    let (mut pings, mut seconds) = (0, 0);
    loop {
        world.run(1_000 * MS);
        seconds += 1;
        let buf = &mut [0; 4096];
        match world.edge.driver_mut().stream_read(id, buf).unwrap() {
            StreamRead::Bytes(count) => {
                let text = String::from_utf8_lossy(&buf[..count]).into_owned();
                pings += text.matches("\"type\":\"ping\"").count();
            }
            StreamRead::WouldBlock => {}
            StreamRead::End | StreamRead::Reset => break,
        }
        assert!(seconds < 60);
    }
    // The third is due as its time is over, a moment before or behind.
    assert!(
        (2..=3).contains(&pings) && (45..=46).contains(&seconds),
        "{pings} in {seconds} s"
    );
    assert_eq!(ended(&world.counts(), Ended::Silent), 1);
}

#[test]
fn one_that_leaves_leaves_nothing_behind() {
    let mut world = World::new(AdmissionLimits::default(), 0);
    for _ in 0..50 {
        let id = world.follower();
        world.edge.driver_mut().stream_close(id).unwrap();
        world.run(2 * MS);
    }
    let counts = world.counts();
    assert_eq!((counts.accepted, ended(&counts, Ended::Left)), (50, 50));
    assert_eq!(world.edge.hub().all_followers(), 0);
}

#[test]
fn no_more_come_in_than_may_and_the_others_are_told_when_to_come_back() {
    let limits = AdmissionLimits {
        clients_max: 3,
        ..AdmissionLimits::default()
    };
    let mut world = World::new(limits, 0);
    let ids: Vec<StreamId> = (0..3).map(|_| world.follower()).collect();
    let late = world.connect();
    world.run(2 * MS);
    world.say(late, &get("/dag", ""));
    let (text, over) = world.hear(late);
    assert!(
        text.starts_with("HTTP/1.1 503 ") && text.contains("Retry-After: 1\r\n"),
        "{text}"
    );
    assert!(over, "and the connection ends");
    world.run(2_000 * MS);
    assert_eq!(ended(&world.counts(), Ended::Refused), 1);
    world.edge.driver_mut().stream_close(ids[0]).unwrap();
    world.run(5 * MS);
    let next = world.follower();
    assert!(world.hear(next).0.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_drain_gives_each_client_a_time_of_its_own_and_ends_all() {
    let mut world = World::new(AdmissionLimits::default(), 0);
    let (gone, ids): (Vec<StreamId>, Vec<StreamId>) = (0..10)
        .map(|_| (world.follower(), world.follower()))
        .unzip();
    // Their places are empty, and no time goes to them.
    for id in gone {
        world.edge.driver_mut().stream_close(id).unwrap();
    }
    world.run(5 * MS);
    for id in &ids {
        let _ = world.hear(*id);
    }
    world.edge.drain(world.now);
    world.run(5 * MS);
    let mut times: Vec<u64> = Vec::new();
    for id in &ids {
        let (text, over) = world.hear(*id);
        let last: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&last["type"], &last["code"], over),
            (&"disconnect".into(), &3000.into(), true)
        );
        times.push(last["retry_after_ms"].as_u64().unwrap());
        world.edge.driver_mut().stream_close(*id).unwrap();
    }
    let step_ms = 1_000 / AdmissionLimits::default().rate_per_s;
    let steps = times.windows(2).map(|two| two[1] - two[0]);
    assert_eq!(
        steps.collect::<Vec<u64>>(),
        [step_ms; 9],
        "each its own, one behind the other: {times:?}"
    );
    world.run(2_000 * MS);
    let counts = world.counts();
    assert_eq!((ended(&counts, Ended::Drained), counts.open()), (10, 0));
}

#[test]
fn one_that_only_listens_and_sends_all_the_same_is_held_back_and_ended() {
    let mut world = World::new(AdmissionLimits::default(), 0);
    let (floods, other) = (world.follower(), world.follower());
    let _ = (world.hear(floods), world.hear(other));
    let mut seconds = 0;
    while ended(&world.counts(), Ended::Flood) == 0 {
        for _ in 0..100 {
            let driver = world.edge.driver_mut();
            while let Ok(StreamWrite::Bytes(_)) = driver.stream_write(floods, &[b'x'; 4096]) {}
            world.run(10 * MS);
        }
        seconds += 1;
        assert!(seconds < 60);
        world.publish(world.dag, Some("node:a"), &format!("{{\"n\":{seconds}}}"));
        world.run(2 * MS);
        assert!(
            world.hear(other).0.contains("node_state"),
            "the other is served"
        );
    }
    assert!(seconds > 5, "{seconds}");
}

#[test]
fn one_that_asks_for_a_rate_and_does_not_read_keeps_nobody_waiting() {
    let mut world = World::new(AdmissionLimits::default(), 0);
    let (stuck, other) = (world.connect(), world.follower());
    world.run(2 * MS);
    world.say(stuck, &get("/dag?rate=100", ""));
    let pad = "x".repeat(4_000);
    let mut lines = 0;
    for number in 0..1_000 {
        let value = format!("{{\"n\":{number},\"s\":\"{pad}\"}}");
        world.publish(world.dag, Some(&format!("node:{}", number % 50)), &value);
        world.run(MS / 2);
        let heard = world.hear(other).0;
        lines += heard.matches("\"node_state\"").count();
    }
    assert_eq!(lines, 1_000);
    world.run(50_000 * MS);
    assert_eq!(ended(&world.counts(), Ended::Stuck), 1);
}

#[test]
fn a_crowd_of_which_some_never_read_is_served_and_adds_up() {
    let limits = AdmissionLimits {
        per_address_max: 1_000,
        rate_per_s: 100_000,
        ..AdmissionLimits::default()
    };
    let mut world = World::new(limits, 20 * MS);
    let ids: Vec<StreamId> = (0..200).map(|_| world.follower()).collect();
    let (readers, stuck) = ids.split_at(180);
    let mut lines = vec![0; readers.len()];
    for number in 0..2_000 {
        let value = format!("{{\"n\":{number},\"s\":\"{}\"}}", "x".repeat(500));
        world.publish(world.dag, Some(&format!("node:{}", number % 50)), &value);
        if number % 20 == 0 {
            world.run(25 * MS);
            for (id, lines) in readers.iter().zip(&mut lines) {
                *lines += world
                    .hear(*id)
                    .0
                    .lines()
                    .filter(|line| line.contains("node_state"))
                    .count();
            }
        }
    }
    world.run(50 * MS);
    for (id, lines) in readers.iter().zip(&mut lines) {
        *lines += world
            .hear(*id)
            .0
            .lines()
            .filter(|line| line.contains("node_state"))
            .count();
        assert_eq!(*lines, 2_000, "one that reads gets every event");
    }
    world.run(50_000 * MS);
    let counts = world.counts();
    assert_eq!(ended(&counts, Ended::Stuck), stuck.len() as u64);
    assert_eq!(world.edge.hub().all_followers(), readers.len() as u64);
}

#[test]
fn a_request_behind_one_that_waits_is_read_when_that_is_answered() {
    let mut world = World::new(AdmissionLimits::default(), 0);
    let id = world.connect();
    world.run(2 * MS);
    world.say(id, &get("/health", ""));
    // It stays in its socket, and nothing reports it again.
    world.say(id, &get("/", ""));
    world.is_well();
    world.run(5 * MS);
    let heard = world.hear(id).0;
    assert!(heard.contains("ok\n"), "{heard}");
    assert!(heard.contains("<title>a page</title>"), "{heard}");
}

#[test]
fn who_sends_its_last_behind_a_request_that_waits_is_let_go_with_the_answer() {
    let mut world = World::new(AdmissionLimits::default(), 0);
    let id = world.connect();
    world.run(2 * MS);
    world.say(id, &get("/health", ""));
    let driver = world.edge.driver_mut();
    driver.stream_shutdown(id, Half::Write).unwrap();
    world.run(2 * MS);
    world.is_well();
    world.run(5 * MS);
    assert!(world.hear(id).0.contains("ok\n"));
    assert_eq!(world.edge.open_connections(), 0);
}
