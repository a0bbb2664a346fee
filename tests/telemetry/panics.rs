//! A decoder that panics at any line of any datagram: every line of what was received is counted once.

use hopline::adapter::{self, blackhole, pcap, statsd, udp, unix_datagram, unix_datagram_to};
use hopline::base::Reject;
use hopline::io::VirtualNet;
use hopline::overload::WhenFull;
use hopline::stage::{Context, Decode, Decoded, LineEnds, Port, Taken};
use hopline::topology::{Hop, Line};
use proptest::prelude::*;

use crate::rig::{AT, SECOND_NS, inject, run};

/// What the decoder panics at, where lines are told apart.
const PLANTED: &[u8] = b"planted:1|c";

/// StatsD with a fault.
struct Faulty<D>(D);

impl<D: Decode> Decode for Faulty<D> {
    fn ports(&self) -> &'static [Port] {
        self.0.ports()
    }

    fn max_emit(&self) -> usize {
        self.0.max_emit()
    }

    fn is_packed(&self) -> bool {
        self.0.is_packed()
    }

    fn line_ends(&self) -> Option<LineEnds> {
        self.0.line_ends()
    }

    fn decode(&mut self, line: &[u8], cx: &mut Context<'_>) -> Result<Decoded, Reject> {
        assert_ne!(line, PLANTED, "the planted fault");
        self.0.decode(line, cx)
    }

    fn decode_next(&mut self, packet: &[u8], from: usize, cx: &mut Context<'_>) -> Taken {
        let mut lines = packet[from..].split(|byte| *byte == b'\n');
        let first = lines.find(|line| !line.is_empty());
        assert_ne!(first, Some(PLANTED), "the planted fault");
        self.0.decode_next(packet, from, cx)
    }

    fn messages_left(&self, packet: &[u8], from: usize) -> usize {
        self.0.messages_left(packet, from)
    }
}

/// Datagrams of lines: good, refused, blank, and at most one at which the decoder panics.
fn datagrams() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    let line = prop_oneof![
        5 => Just("a:1|c"),
        2 => Just("rubbish"),
        2 => Just(""),
        1 => Just("planted:1|c"),
    ];
    prop::collection::vec(prop::collection::vec(line, 1..12), 1..8)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Udp,
    Unix,
    Packets,
}

/// A pcap of raw IP with a datagram each microsecond.
fn packets(datagrams: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_3c4d_u32, 2 | 4 << 16, 0, 0, 65_535, 101] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    for (nth, payload) in datagrams.iter().enumerate() {
        let udp = 8 + payload.len() as u16;
        let bytes = 20 + udp;
        for word in [0, 1_000 * nth as u32, bytes.into(), bytes.into()] {
            file.extend_from_slice(&word.to_le_bytes());
        }
        file.extend_from_slice(&[0x45, 0]);
        file.extend_from_slice(&bytes.to_be_bytes());
        file.extend_from_slice(&[0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1]);
        for half in [40_000, 8_125, udp, 0] {
            file.extend_from_slice(&half.to_be_bytes());
        }
        file.extend_from_slice(payload);
    }
    file
}

/// Runs datagrams into a line, and holds the ledger of its source against them.
fn holds(
    given: &[Vec<&'static str>],
    by: By,
    depth: usize,
    when_full: WhenFull,
) -> Result<(), TestCaseError> {
    let bytes = given.iter().map(|lines| lines.join("\n") + "\n");
    let bytes: Vec<Vec<u8>> = bytes.map(String::into_bytes).collect();
    let net = VirtualNet::new();
    let mut line = Line::builder("faulty");
    let decoder: Box<dyn Decode> = Box::new(Faulty(statsd().at_most(58)));
    if by == By::Packets {
        net.put_file("a.pcap", &packets(&bytes));
        line.source("in", pcap("a.pcap", 8_125).decode(decoder));
    } else {
        bytes.iter().for_each(|bytes| inject(&net, bytes, 1_000));
        if by == By::Udp {
            line.source("in", udp(AT).decode(decoder));
        } else {
            line.source("feed", udp(AT).decode(adapter::datagrams()));
            line.sink("wire", unix_datagram_to("lines.sock"));
            line.connect("feed", "wire", Hop::depth(64));
            line.source("in", unix_datagram("lines.sock").decode(decoder));
        }
    }
    line.sink("end", blackhole());
    line.connect("in", "end", Hop::depth(depth).when_full(when_full));
    let out = run(&mut line, &net, SECOND_NS);
    let source = &out.report.ledger.sources["in"];
    let taken = match &source.fidelity {
        Some(fidelity) => fidelity.messages,
        None => source.datagrams_received,
    };
    // A replay that has failed does not say how many it took: those up to the planted fault.
    let panics = |lines: &Vec<&str>| lines.contains(&"planted:1|c");
    let taken = match (by, given.iter().position(panics)) {
        (By::Packets, Some(at)) => at + 1,
        _ => taken as usize,
    };
    let taken = &given[..taken];
    let lines = taken.iter().flatten().filter(|line| !line.is_empty());
    let lines = lines.count() as u64;
    let refused: u64 = source.rejected.values().sum();
    prop_assert_eq!(source.ingested + source.shed + refused, lines);
    prop_assert_eq!(source.lines().unwrap_or(lines), lines);
    let panicked = source.rejected.get("panicked").copied().unwrap_or(0);
    prop_assert_eq!(panicked, u64::from(taken.iter().any(panics)));
    prop_assert!(taken.len() == given.len() || panicked == 1);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_counts_once_wherever_the_decoder_panics(
        given in datagrams(),
        by in prop_oneof![Just(By::Udp), Just(By::Unix), Just(By::Packets)],
        depth in prop_oneof![Just(2_usize), Just(4), Just(64)],
        when_full in prop_oneof![Just(WhenFull::Block), Just(WhenFull::DropNewest)],
    ) {
        holds(&given, by, depth, when_full)?;
    }
}

#[test]
fn a_panic_at_the_first_in_the_middle_and_at_the_last_line() {
    for by in [By::Udp, By::Unix, By::Packets] {
        for at in [0, 1, 3] {
            let mut lines = vec!["a:1|c"; 4];
            lines[at] = "planted:1|c";
            let given = [vec!["a:1|c", "rubbish"], lines, vec!["a:1|c"; 3]];
            holds(&given, by, 64, WhenFull::Block).unwrap();
        }
    }
}
