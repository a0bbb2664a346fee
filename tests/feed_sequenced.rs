//! Two lines into one feed: against a slow model, and the promises themselves on what two lossy lines
//! carried, of both transports.

use std::collections::{BTreeMap, BTreeSet};

use hopline::base::Reason as _;
use hopline::feed::moldudp64::{Writer, write_empty};
use hopline::feed::packets::{PacketReject, Purpose, Session, Transport};
use hopline::feed::sequenced::{
    Delivery, Event, Join, Params, ParamsError, Sequenced, Sink, State, Why,
};
use hopline::feed::simulated::{Feed, Levels, Lines, LinesSpec, Orders, Restart, Saying, burst};
use hopline::feed::{Arrivals, Schedule};
use proptest::prelude::*;

#[path = "feed/sequenced_model.rs"]
mod model;

use model::{Model, Out};

/// How many cases, or more where `HOPLINE_CASES` says so by a factor.
fn cases(usual: u32) -> u32 {
    let factor = std::env::var("HOPLINE_CASES").ok();
    usual
        * factor.map_or(1, |factor| {
            factor.parse().expect("HOPLINE_CASES is a whole number")
        })
}

/// Keeps all that is handed out.
#[derive(Default)]
struct Record(Vec<Out>);

impl Sink for Record {
    fn message(&mut self, m: &Delivery<'_>) {
        self.0.push(Out::Message {
            era: m.era,
            sequence: m.sequence,
            line: m.line,
            state: m.state,
            begins: m.begins,
            lost: m.lost,
            lost_earlier: m.lost_earlier,
            received_ns: m.received_ns,
            bytes: m.bytes.to_vec(),
        });
    }

    fn event(&mut self, event: Event) {
        self.0.push(Out::Event(event));
    }
}

#[test]
fn what_a_line_has_not_come_to_yet_is_not_given_up() {
    let params = Params {
        deadline_ns: 1_000,
        ..Params::of(Transport::MoldUdp64)
    };
    let mut feed = Sequenced::new(&params).unwrap();
    let mut out = Record::default();
    // The first line lacks 2 and 5; the second one, which is behind, has come to 4.
    for (line, first) in [(0, 1), (0, 3), (0, 4), (0, 6), (1, 1), (1, 3)] {
        feed.arrived(line, &packet(b'1', first, &[b"x"]), 0, &mut out)
            .unwrap();
    }
    assert_eq!(
        (feed.position(0), feed.position(1), feed.position(2)),
        (7, 4, 0)
    );
    assert_eq!(feed.next_sequence(), 2);
    feed.tick_as_far_as(500, 4, &mut out);
    assert_eq!(feed.next_sequence(), 2, "it is not late yet");
    feed.tick_as_far_as(5_000, 4, &mut out);
    assert_eq!((feed.next_sequence(), feed.union().lost), (5, 1));
    feed.tick_as_far_as(6_000, 4, &mut out);
    assert_eq!((feed.missing(), feed.union().lost), (Some((5, 6)), 1));
    // It comes after all.
    feed.arrived(1, &packet(b'1', 5, &[b"x"]), 7_000, &mut out)
        .unwrap();
    assert_eq!((feed.next_sequence(), feed.union().lost), (7, 1));
}

fn packet(session: u8, first: u64, messages: &[&[u8]]) -> Vec<u8> {
    let mut buffer = [0; 1_400];
    let mut writer = Writer::new(&mut buffer, [session; 10], first).unwrap();
    assert!(messages.iter().all(|message| writer.push(message)));
    let len = writer.finish();
    buffer[..len].to_vec()
}

fn empty(session: u8, next: u64, purpose: Purpose) -> Vec<u8> {
    let mut buffer = [0; 20];
    write_empty(&mut buffer, [session; 10], next, purpose).unwrap();
    buffer.to_vec()
}

fn params() -> Params {
    Params {
        window_messages: 64,
        window_message_bytes: 64,
        deadline_ns: 1_000,
        stale_ns: 100_000,
        ..Params::of(Transport::MoldUdp64)
    }
}

/// Sequences, lines and states of the messages.
fn told(out: &Record) -> Vec<(u64, u64, u8, State)> {
    let messages = out.0.iter().filter_map(|out| match out {
        Out::Message {
            era,
            sequence,
            line,
            state,
            ..
        } => Some((*era, *sequence, *line, *state)),
        Out::Event(_) => None,
    });
    messages.collect()
}

#[test]
fn the_first_copy_counts_and_a_gap_closes_when_either_line_fills_it() {
    let (mut feed, mut out) = (Sequenced::new(&params()).unwrap(), Record::default());
    feed.packet(0, &packet(1, 1, &[b"a", b"b"]), 10, &mut out)
        .unwrap();
    feed.packet(1, &packet(1, 1, &[b"a", b"b", b"c"]), 20, &mut out)
        .unwrap();
    feed.packet(0, &packet(1, 5, &[b"e"]), 30, &mut out)
        .unwrap();
    assert_eq!(
        (feed.state(), feed.missing(), feed.held()),
        (State::Gap, Some((4, 5)), 1)
    );
    assert_eq!(feed.next_tick_ns(), Some(1_030));
    feed.packet(1, &packet(1, 4, &[b"d"]), 40, &mut out)
        .unwrap();
    assert_eq!(
        (feed.state(), feed.missing(), feed.held()),
        (State::Live, None, 0)
    );
    assert_eq!(
        told(&out),
        [
            (1, 1, 0, State::Stale),
            (1, 2, 0, State::Live),
            (1, 3, 1, State::Live),
            (1, 4, 1, State::Gap),
            (1, 5, 0, State::Gap),
        ]
    );
    let (a, b) = (feed.line(0).unwrap(), feed.line(1).unwrap());
    assert_eq!((a.first, a.duplicate, a.missing), (3, 0, 2));
    assert_eq!((b.first, b.duplicate, b.missing), (2, 2, 0));
    assert_eq!((feed.union().lost, feed.union().gaps), (0, 1));
}

#[test]
fn a_handler_that_sees_only_messages_misses_no_loss() {
    let params = Params {
        heals_after: 2,
        ..params()
    };
    let (mut feed, mut out) = (Sequenced::new(&params).unwrap(), Record::default());
    feed.packet(0, &packet(1, 1, &[b"a"]), 0, &mut out).unwrap();
    feed.packet(0, &packet(1, 4, &[b"d", b"e", b"f", b"g"]), 10, &mut out)
        .unwrap();
    feed.tick(1_009, &mut out);
    assert_eq!(told(&out).len(), 1, "held for as long as it may be");
    feed.tick(1_010, &mut out);
    assert_eq!(
        told(&out)[1..],
        [
            (1, 4, 0, State::Gap),
            (1, 5, 0, State::Gap),
            (1, 6, 0, State::Gap),
            (1, 7, 0, State::Gap),
        ],
        "handed out while the state was gap"
    );
    let Out::Message { lost, .. } = out
        .0
        .iter()
        .rfind(|out| matches!(out, Out::Message { sequence: 4, .. }))
        .unwrap()
    else {
        panic!();
    };
    assert_eq!(*lost, 2);
    assert_eq!(feed.state(), State::Live, "two in unbroken order heal it");
    feed.packet(1, &packet(1, 2, &[b"b"]), 1_011, &mut out)
        .unwrap();
    assert_eq!(feed.line(1).unwrap().late, 1);
    feed.packet(0, &packet(1, 9, &[b"i"]), 1_012, &mut out)
        .unwrap();
    feed.tick(9_000, &mut out);
    feed.packet(0, &packet(1, 10, &[b"j"]), 9_001, &mut out)
        .unwrap();
    assert_eq!(
        told(&out)[5..],
        [(1, 9, 0, State::Gap), (1, 10, 0, State::Recovering)]
    );
    assert_eq!(feed.state(), State::Live);
    feed.tick(9_001 + 100_000, &mut out);
    assert_eq!((feed.state(), feed.next_tick_ns()), (State::Stale, None));
    feed.packet(0, &packet(1, 11, &[b"k"]), 200_000, &mut out)
        .unwrap();
    assert_eq!(told(&out)[7..], [(1, 11, 0, State::Stale)]);
}

#[test]
fn a_session_that_changes_in_mid_gap_loses_what_is_missing_and_goes_on() {
    let (mut feed, mut out) = (Sequenced::new(&params()).unwrap(), Record::default());
    feed.packet(0, &packet(1, 1, &[b"a"]), 0, &mut out).unwrap();
    feed.packet(0, &packet(1, 3, &[b"c"]), 10, &mut out)
        .unwrap();
    feed.packet(0, &packet(2, 2, &[b"B"]), 20, &mut out)
        .unwrap();
    feed.packet(1, &packet(1, 2, &[b"b"]), 30, &mut out)
        .unwrap();
    feed.packet(1, &packet(2, 1, &[b"A"]), 40, &mut out)
        .unwrap();
    assert_eq!(
        told(&out)
            .iter()
            .map(|(era, sequence, ..)| (*era, *sequence))
            .collect::<Vec<_>>(),
        [(1, 1), (1, 3), (2, 1), (2, 2)]
    );
    let session = Session::Name([1; 10]);
    let lost = Event::Lost {
        session,
        era: 1,
        first: 2,
        end: 3,
        why: Why::Session,
    };
    assert!(out.0.contains(&Out::Event(lost)));
    assert_eq!(feed.line(1).unwrap().straggler, 1);
    assert_eq!((feed.union().sessions, feed.union().lost), (2, 1));
    assert_eq!(feed.state(), State::Live, "a session from 1 lacks nothing");
}

#[test]
fn a_sequence_that_falls_to_one_is_a_restart_only_if_it_is_no_late_copy() {
    let (mut feed, mut out) = (Sequenced::new(&params()).unwrap(), Record::default());
    feed.packet(0, &packet(1, 1, &[b"a"]), 0, &mut out).unwrap();
    feed.packet(0, &packet(1, 2, &[b"b"]), 10, &mut out)
        .unwrap();
    feed.packet(0, &packet(1, 1, &[b"a"]), 20, &mut out)
        .unwrap();
    assert_eq!(
        (feed.union().restarts, feed.line(0).unwrap().repeated),
        (0, 1)
    );
    // The line was quiet for the deadline: nothing of the old numbering is still on its way.
    feed.packet(0, &packet(1, 1, &[b"A"]), 1_010, &mut out)
        .unwrap();
    assert_eq!(
        (feed.union().restarts, feed.session()),
        (1, Some((Session::Name([1; 10]), 2)))
    );
    // What the other line still brings of the old one is none of the new one.
    feed.packet(1, &packet(1, 1, &[b"A", b"B"]), 1_020, &mut out)
        .unwrap();
    assert_eq!(told(&out).last(), Some(&(2, 2, 1, State::Live)));
    assert_eq!(
        out.0
            .iter()
            .filter(|out| matches!(out, Out::Message { begins: true, .. }))
            .count(),
        2
    );
}

#[test]
fn heartbeats_tell_of_losses_and_ends_are_told_once() {
    let (mut feed, mut out) = (Sequenced::new(&params()).unwrap(), Record::default());
    feed.packet(0, &packet(1, 1, &[b"a"]), 0, &mut out).unwrap();
    feed.packet(0, &empty(1, 4, Purpose::Heartbeat), 100, &mut out)
        .unwrap();
    assert_eq!((feed.state(), feed.missing()), (State::Gap, Some((2, 4))));
    assert_eq!(feed.line(0).unwrap().missing, 3 - 1);
    assert_eq!(feed.next_tick_ns(), Some(1_100));
    feed.packet(1, &packet(1, 2, &[b"b"]), 200, &mut out)
        .unwrap();
    feed.packet(1, &empty(1, 4, Purpose::EndOfSession), 300, &mut out)
        .unwrap();
    feed.tick(1_100, &mut out);
    feed.packet(0, &empty(1, 4, Purpose::EndOfSession), 1_200, &mut out)
        .unwrap();
    feed.tick(10_000_000, &mut out);
    assert_eq!(
        (feed.union().lost, feed.union().ended, feed.union().stale),
        (1, 1, 0)
    );
    let ended = Event::Ended {
        session: Session::Name([1; 10]),
        next: 4,
    };
    assert_eq!(
        out.0
            .iter()
            .filter(|out| **out == Out::Event(ended))
            .count(),
        1
    );
    feed.packet(0, &empty(1, 2, Purpose::EndOfSession), 10_000_001, &mut out)
        .unwrap();
    assert_eq!(feed.union().ended, 1, "an end before what was sent is none");
}

#[test]
fn what_is_beyond_the_window_moves_it() {
    let (mut feed, mut out) = (Sequenced::new(&params()).unwrap(), Record::default());
    feed.packet(0, &packet(1, 1, &[b"a"]), 0, &mut out).unwrap();
    feed.packet(0, &packet(1, 65, &[b"x"]), 0, &mut out)
        .unwrap();
    assert_eq!(
        (feed.held(), feed.union().lost),
        (1, 0),
        "the last that fits"
    );
    feed.packet(0, &packet(1, 67, &[b"y"]), 0, &mut out)
        .unwrap();
    assert_eq!((feed.held(), feed.union().lost), (2, 2));
    feed.packet(0, &packet(1, 1 << 60, &[b"z"]), 0, &mut out)
        .unwrap();
    assert_eq!(feed.union().delivered, 3);
    feed.packet(
        0,
        &packet(1, (1 << 60) + 1, &[&[0_u8; 65][..]]),
        0,
        &mut out,
    )
    .unwrap();
    assert_eq!(feed.line(0).unwrap().unheld, 1, "too long to be held");
    feed.finish(&mut out);
    let union = feed.union();
    assert_eq!(union.delivered + union.lost, (1 << 60) + 1);
}

#[test]
fn a_packet_that_lies_changes_nothing_but_a_count() {
    let (mut feed, mut out) = (Sequenced::new(&params()).unwrap(), Record::default());
    feed.packet(0, &packet(1, 1, &[b"a"]), 0, &mut out).unwrap();
    let mut lie = packet(1, 2, &[b"b"]);
    lie[19] = 2;
    let before = out.0.len();
    assert_eq!(
        feed.packet(0, &lie, 1, &mut out),
        Err(PacketReject::CountTooHigh)
    );
    assert_eq!(
        feed.packet(7, &lie, 1, &mut out),
        Err(PacketReject::UnknownLine)
    );
    assert_eq!((out.0.len(), feed.next_sequence()), (before, 2));
    let counts = feed.line(0).unwrap();
    assert_eq!(counts.rejected[PacketReject::CountTooHigh.index()], 1);
    assert_eq!(
        (
            counts.packets,
            counts.rejected_all(),
            feed.union().unknown_line
        ),
        (2, 1, 1)
    );
}

#[test]
fn parameters_out_of_bounds_are_refused() {
    let bad = |change: fn(&mut Params)| {
        let mut params = params();
        change(&mut params);
        Sequenced::new(&params).unwrap_err()
    };
    assert_eq!(bad(|p| p.lines = 3), ParamsError::Lines(3));
    assert_eq!(bad(|p| p.window_messages = 100), ParamsError::Window(100));
    assert_eq!(
        bad(|p| p.window_message_bytes = 0),
        ParamsError::MessageBytes(0)
    );
    assert_eq!(bad(|p| p.deadline_ns = 0), ParamsError::Spans);
    assert!(matches!(
        bad(|p| (p.window_messages, p.window_message_bytes) = (1 << 16, 60_000)),
        ParamsError::Memory(_)
    ));
}

/// Copies of both lines as they arrive.
fn arrivals(spec: &LinesSpec, saying: Saying, schedule: Schedule) -> Vec<(u64, usize, Vec<u8>)> {
    let mut lines = Lines::new(spec, saying, schedule);
    let mut arrivals = Vec::new();
    while let Some(sent) = lines.next() {
        arrivals.push((sent.at_ns, sent.line, sent.bytes.to_vec()));
    }
    arrivals
}

/// A line whose counts are compared with the model's.
fn headings(feed: &Sequenced, line: usize) -> [u64; 6] {
    let c = feed.line(line).unwrap();
    assert_eq!(
        c.messages,
        c.first + c.duplicate + c.late + c.old + c.straggler + c.unheld
    );
    [c.first, c.duplicate, c.late, c.old, c.straggler, c.unheld]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(400), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_feed_does_what_the_slow_model_does(
        seed in any::<u64>(),
        lines in 1_usize..=2,
        loss in prop::sample::select(vec![0.0, 0.05, 0.3]),
        delayed in prop::sample::select(vec![0.0, 0.1, 0.5]),
        delay_ns in prop::sample::select(vec![5_000_u64, 60_000, 400_000]),
        repeated in prop::sample::select(vec![0.0, 0.1]),
        skew_ns in prop::sample::select(vec![0_u64, 30_000, 700_000]),
        heartbeat_ns in prop::sample::select(vec![40_000_u64, 1_000_000]),
        restart in prop::sample::select(vec![
            None,
            Some((40, Restart::Sequence)),
            Some((300, Restart::Sequence)),
            Some((150, Restart::Session)),
        ]),
        rate in prop::sample::select(vec![2e4, 1e6]),
        window_messages in prop::sample::select(vec![64_usize, 256]),
        window_message_bytes in prop::sample::select(vec![32_usize, 64]),
        deadline_ns in prop::sample::select(vec![20_000_u64, 200_000, 2_000_000]),
        stale_ns in prop::sample::select(vec![2_000_000_u64, 50_000_000]),
        heals_after in prop::sample::select(vec![0_u64, 3, 50]),
        join in prop::sample::select(vec![Join::AtOne, Join::AtFirst]),
        ticks in prop::sample::select(vec![1_u64, 3]),
    ) {
        let spec = LinesSpec {
            seed, lines, messages: 900, loss, delayed, delay_ns, repeated, skew_ns, heartbeat_ns, restart,
        };
        let schedule = Schedule::new(rate, Arrivals::Bursty { burst: 20, intensity: 50 }, seed).unwrap();
        let params = Params {
            transport: Transport::MoldUdp64,
            lines, join, window_messages, window_message_bytes, deadline_ns, stale_ns, heals_after,
        };
        let (mut feed, mut out) = (Sequenced::new(&params).unwrap(), Record::default());
        let mut model = Model::new(params);
        for (nth, (at_ns, line, bytes)) in arrivals(&spec, Saying::Orders(Orders::new(seed, 5, 40)), schedule).iter().enumerate() {
            if (nth as u64).is_multiple_of(ticks) && let Some(due_ns) = feed.next_tick_ns() && due_ns < *at_ns {
                feed.tick(due_ns, &mut out);
                model.tick(due_ns);
            }
            prop_assert_eq!(feed.packet(line.to_owned(), bytes, *at_ns, &mut out), Ok(()));
            model.packet(*line, bytes, *at_ns);
            let made = out.0.len().min(model.out.len());
            prop_assert_eq!(&out.0[..made], &model.out[..made]);
            prop_assert_eq!(out.0.len(), model.out.len());
            out.0.clear();
            model.out.clear();
        }
        feed.finish(&mut out);
        model.finish();
        prop_assert_eq!(out.0, model.out);
        for line in 0..lines {
            prop_assert_eq!(headings(&feed, line), model.lines[line].counts);
            prop_assert_eq!(feed.line(line).unwrap().missing, model.lines[line].missing());
        }
    }
}

/// The promise, without a model: of one era, with room and time enough, everything that a line
/// carried is handed out once and in order, and the rest is named lost.
fn nothing_is_missing_but_what_both_lost(saying: Saying, spec: &LinesSpec, transport: Transport) {
    let schedule = Schedule::new(1e6, burst(), 3).unwrap();
    let params = Params {
        transport,
        lines: spec.lines,
        deadline_ns: 5_000_000,
        ..Params::of(transport)
    };
    let (mut feed, mut out) = (Sequenced::new(&params).unwrap(), Record::default());
    let mut carried = [BTreeMap::new(), BTreeMap::new()];
    let mut high = 1;
    for (at_ns, line, bytes) in arrivals(spec, saying, schedule) {
        let packet = transport.parse(&bytes).unwrap();
        for (sequence, message) in (packet.first..).zip(packet.messages) {
            carried[line].insert(sequence, message.to_vec());
        }
        high = high.max(packet.end());
        feed.packet(line, &bytes, at_ns, &mut out).unwrap();
    }
    feed.finish(&mut out);
    let (mut next, mut lost) = (1, BTreeSet::new());
    let mut unnamed = 0;
    for out in &out.0 {
        match out {
            Out::Message {
                sequence,
                bytes,
                lost,
                line,
                ..
            } => {
                assert_eq!(*sequence, next);
                assert_eq!(carried[usize::from(*line)].get(sequence), Some(bytes));
                assert_eq!(*lost, unnamed);
                (next, unnamed) = (next + 1, 0);
            }
            Out::Event(Event::Lost { first, end, .. }) => {
                assert_eq!(*first, next);
                assert!((*first..*end).all(|sequence| lost.insert(sequence)));
                (next, unnamed) = (*end, unnamed + end - first);
            }
            Out::Event(_) => {}
        }
    }
    assert_eq!(next, high);
    let neither =
        (1..high).filter(|sequence| carried.iter().all(|line| !line.contains_key(sequence)));
    assert_eq!(lost, neither.collect());
    if spec.loss > 0.0 {
        assert!(
            spec.lines == 1 || lost.len() < high as usize / 50,
            "{}",
            lost.len()
        );
        assert!(!lost.is_empty(), "some were lost on both");
    }
    let union = feed.union();
    assert_eq!(
        (union.delivered + union.lost, union.lost),
        (high - 1, lost.len() as u64)
    );
    for (line, carried) in carried.iter().enumerate().take(spec.lines) {
        let counts = feed.line(line).unwrap();
        assert_eq!(
            counts.missing,
            high - 1 - carried.len() as u64,
            "line {line}"
        );
        assert_eq!(
            counts.late + counts.old + counts.straggler + counts.unheld,
            0
        );
    }
}

#[test]
fn two_lines_of_five_percent_loss_lose_what_both_lost_and_nothing_else() {
    let spec = LinesSpec {
        messages: 60_000,
        loss: 0.05,
        delayed: 0.02,
        repeated: 0.01,
        ..LinesSpec::default()
    };
    let orders = Saying::Orders(Orders::new(2, 50, 4_000));
    nothing_is_missing_but_what_both_lost(orders, &spec, Transport::MoldUdp64);
    for feed in [Feed::Deep, Feed::Tops] {
        let transport = Transport::IexTp {
            protocol: feed.protocol(),
            channel: 1,
        };
        let levels = Saying::Levels(Levels::new(feed, 2, 50));
        nothing_is_missing_but_what_both_lost(levels, &spec, transport);
    }
}

#[test]
fn one_line_loses_what_it_lost() {
    let spec = LinesSpec {
        lines: 1,
        messages: 20_000,
        loss: 0.05,
        delayed: 0.05,
        ..LinesSpec::default()
    };
    let orders = Saying::Orders(Orders::new(2, 50, 4_000));
    nothing_is_missing_but_what_both_lost(orders, &spec, Transport::MoldUdp64);
}

#[test]
fn a_burst_behind_a_gap_fits_in_the_window() {
    // The first packet of a burst of 8,000 is late on the only line by more than the burst lasts.
    let transport = Transport::MoldUdp64;
    let (mut feed, mut out) = (
        Sequenced::new(&Params::of(transport)).unwrap(),
        Record::default(),
    );
    for first in (2..8_000).step_by(30) {
        let packet = packet(1, first, &[&[7_u8; 40][..]; 30]);
        feed.packet(0, &packet, first * 125, &mut out).unwrap();
    }
    assert_eq!((feed.union().delivered, feed.state()), (0, State::Gap));
    feed.packet(0, &packet(1, 1, &[b"first"]), 1_900_000, &mut out)
        .unwrap();
    assert_eq!(
        (feed.union().lost, feed.held(), feed.state()),
        (0, 0, State::Live)
    );
    assert_eq!(feed.union().delivered, feed.next_sequence() - 1);
    assert!(feed.union().delivered > 7_990);
}

#[test]
fn the_same_calls_give_the_same_messages() {
    let spec = LinesSpec {
        messages: 5_000,
        loss: 0.1,
        delayed: 0.1,
        restart: Some((2_000, Restart::Session)),
        ..LinesSpec::default()
    };
    let run = || {
        let schedule = Schedule::new(1e6, burst(), 3).unwrap();
        let (mut feed, mut out) = (Sequenced::new(&params()).unwrap(), Record::default());
        for (at_ns, line, bytes) in arrivals(&spec, Saying::Orders(Orders::new(2, 5, 40)), schedule)
        {
            feed.packet(line, &bytes, at_ns, &mut out).unwrap();
        }
        feed.finish(&mut out);
        (out.0, *feed.union())
    };
    assert_eq!(run(), run());
}
