//! Clients that read slowly or not at all: what they hold is bounded, and what they miss they are told.

use hopline::base::limits::{EDGE_LOG_EVENTS_DEFAULT, EDGE_OUTPUT_BYTES};
use hopline::edge::{Ended, Kind};

use super::end::{End, get, hub};

fn lines(text: &str) -> Vec<serde_json::Value> {
    let lines = text.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn one_that_reads_nothing_holds_an_output_and_catches_up_with_the_state() {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    end.ask(&get("/dag", ""));
    for number in 0..100_000 {
        let key = format!("node:{}", number % 7);
        end.publish(
            dag,
            Kind::NodeState,
            Some(&key),
            &format!("{{\"n\":{number}}}"),
        );
        if number % 1_000 == 0 {
            // A turn, in which the socket has no room.
            end.hear(0);
        }
        assert!(end.client.output().len() <= EDGE_OUTPUT_BYTES);
    }
    let said = lines(&end.hear_text());
    let newest: Vec<_> = said
        .iter()
        .rev()
        .take(7)
        .map(|one| one["n"].as_u64().unwrap())
        .collect();
    assert_eq!(newest, (99_993..100_000).rev().collect::<Vec<_>>());
    let skipped: u64 = said.iter().filter_map(|one| one["skip"].as_u64()).sum();
    assert_eq!(said.len() as u64 + skipped, 100_000);
}

#[test]
fn one_that_reads_nothing_of_a_stream_is_told_how_much_it_lost() {
    let (hub, .., stats) = hub();
    let mut end = End::new(hub);
    end.ask(&get("/stream/stats/line", ""));
    for _ in 0..10_000 {
        end.publish(stats, Kind::HopStats, None, "{\"hops\":[]}");
    }
    let said = lines(&end.hear_text());
    assert_eq!(
        (&said[0]["type"], &said[0]["why"]),
        (&"shed".into(), &"slow".into())
    );
    let lost = said[0]["n"].as_u64().unwrap();
    assert_eq!(said.len() - 1, EDGE_LOG_EVENTS_DEFAULT);
    assert_eq!(lost as usize + said.len() - 1, 10_000);
}

#[test]
fn one_that_takes_nothing_is_gone_after_its_time() {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    end.ask(&get("/dag", ""));
    end.publish(dag, Kind::NodeState, Some("node:a"), "{}");
    end.hear(0);
    end.client.blocked(end.now);
    let mut seconds = 0;
    while end.client.is_over().is_none() {
        seconds += 1;
        end.now.ns += 1_000_000_000;
        end.client.step(end.now, &mut end.counts);
        assert!(seconds < 100);
    }
    assert_eq!((seconds, end.client.is_over()), (45, Some(Ended::Stuck)));
}

#[test]
fn a_snapshot_larger_than_the_output_leaves_whole_in_any_pieces() {
    let (hub, dag, ..) = hub();
    let mut end = End::new(hub);
    for number in 0..1_000 {
        let value = format!("{{\"n\":{number},\"s\":\"{}\"}}", "x".repeat(200));
        end.publish(
            dag,
            Kind::NodeState,
            Some(&format!("node:{number}")),
            &value,
        );
    }
    end.say(get("/dag", "").as_bytes());
    let mut text = Vec::new();
    loop {
        let piece = end.hear(777);
        if piece.is_empty() {
            break;
        }
        text.extend_from_slice(&piece);
        if text.len() == 77_700 {
            // What comes meanwhile waits behind it.
            end.publish(dag, Kind::NodeState, Some("node:0"), "{\"n\":5000}");
        }
    }
    let said = lines(&String::from_utf8(text).unwrap());
    assert_eq!(said[2]["data"].as_object().unwrap().len(), 1_000);
    assert_eq!(
        (&said[3]["o"], &said[3]["n"]),
        (&1_001.into(), &5_000.into())
    );
    assert_eq!(said.len(), 4);
}
