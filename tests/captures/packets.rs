//! Packets as a source: every container, link and header that is read, and what is counted of the rest.

use hopline::adapter::{blackhole, datagrams, pcap};
use hopline::budget::report::SourceReport;
use hopline::io::VirtualNet;
use hopline::topology::{Hop, Inline, Line};

const PORT: u16 = 26_400;

fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [40_000, port, 8 + payload.len() as u16, 0] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes.extend_from_slice(payload);
    bytes
}

/// IPv4 with that many words of options; `fragment` is offset and flags.
fn ipv4(options: usize, fragment: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let head = 20 + 4 * options;
    let mut bytes = vec![0x40 | (head / 4) as u8, 0];
    bytes.extend_from_slice(&((head + payload.len()) as u16).to_be_bytes());
    bytes.extend_from_slice(&[0, 7]);
    bytes.extend_from_slice(&fragment.to_be_bytes());
    bytes.extend_from_slice(&[64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend_from_slice(&vec![1; 4 * options]);
    bytes.extend_from_slice(payload);
    bytes
}

/// IPv6, with these extension headers in front of UDP: each its number and its bytes but the first.
fn ipv6(extensions: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for (at, (_, rest)) in extensions.iter().enumerate() {
        body.push(extensions.get(at + 1).map_or(17, |next| next.0));
        body.extend_from_slice(rest);
    }
    body.extend_from_slice(payload);
    let mut bytes = vec![0x60, 0, 0, 0];
    bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
    bytes.extend_from_slice(&[extensions.first().map_or(17, |first| first.0), 64]);
    bytes.extend_from_slice(&[0xfd; 16]);
    bytes.extend_from_slice(&[0xfe; 16]);
    bytes.extend_from_slice(&body);
    bytes
}

fn ethernet(tags: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    for tag in tags {
        bytes.extend_from_slice(&tag.to_be_bytes());
        bytes.extend_from_slice(&[0, 9]);
    }
    bytes.extend_from_slice(&kind.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

const HOP_BY_HOP: (u8, &[u8]) = (0, &[0, 1, 4, 0, 0, 0, 0]);
const DESTINATION: (u8, &[u8]) = (60, &[0, 1, 4, 0, 0, 0, 0]);
const FIRST_FRAGMENT: (u8, &[u8]) = (44, &[0, 0, 1, 0, 0, 0, 9]);
const LATER_FRAGMENT: (u8, &[u8]) = (44, &[0, 0, 0xa0, 0, 0, 0, 9]);

/// A packet in a file: time in nanoseconds, its bytes, and how many it had on the wire.
type Packet = (u64, Vec<u8>, u32);

fn put(out: &mut Vec<u8>, big: bool, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&if big {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        });
    }
}

fn halves(out: &mut Vec<u8>, big: bool, words: &[u16]) {
    for word in words {
        out.extend_from_slice(&if big {
            word.to_be_bytes()
        } else {
            word.to_le_bytes()
        });
    }
}

fn classic(big: bool, nanoseconds: bool, link: u32, packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    put(
        &mut out,
        big,
        &[if nanoseconds {
            0xa1b2_3c4d
        } else {
            0xa1b2_c3d4
        }],
    );
    halves(&mut out, big, &[2, 4]);
    put(&mut out, big, &[0, 0, 65_535, link]);
    for (at_ns, bytes, wire) in packets {
        let part = at_ns % 1_000_000_000 / if nanoseconds { 1 } else { 1_000 };
        let words = [
            (at_ns / 1_000_000_000) as u32,
            part as u32,
            bytes.len() as u32,
            *wire,
        ];
        put(&mut out, big, &words);
        out.extend_from_slice(bytes);
    }
    out
}

/// What a block of a pcapng holds a packet as.
#[derive(Clone, Copy, PartialEq)]
enum As {
    Enhanced,
    Old,
    Simple,
}

fn block(out: &mut Vec<u8>, big: bool, kind: u32, body: &[u8]) {
    let padded = body.len().next_multiple_of(4);
    let length = 12 + padded as u32;
    put(out, big, &[kind, length]);
    out.extend_from_slice(body);
    out.resize(out.len() + padded - body.len(), 0);
    put(out, big, &[length]);
}

/// A section with a comment, an interface of nanoseconds, a block of names, and the packets, each with an option behind it.
fn sections(big: bool, link: u16, how: As, packets: &[Packet]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut body = Vec::new();
    put(&mut body, big, &[0x1a2b_3c4d]);
    halves(&mut body, big, &[1, 0]);
    put(&mut body, big, &[u32::MAX, u32::MAX]);
    halves(&mut body, big, &[1, 3]);
    body.extend_from_slice(b"hi!\0");
    halves(&mut body, big, &[0, 0]);
    block(&mut out, big, 0x0a0d_0d0a, &body);
    let mut body = Vec::new();
    halves(&mut body, big, &[link, 0]);
    put(&mut body, big, &[65_535]);
    halves(&mut body, big, &[9, 1]);
    body.extend_from_slice(&[9, 0, 0, 0]);
    halves(&mut body, big, &[0, 0]);
    block(&mut out, big, 1, &body);
    block(&mut out, big, 4, &[0; 37]);
    for (at_ns, bytes, wire) in packets {
        let mut body = Vec::new();
        let time = [(at_ns >> 32) as u32, *at_ns as u32];
        match how {
            As::Enhanced => put(
                &mut body,
                big,
                &[0, time[0], time[1], bytes.len() as u32, *wire],
            ),
            As::Old => {
                halves(&mut body, big, &[0, 0]);
                put(
                    &mut body,
                    big,
                    &[time[0], time[1], bytes.len() as u32, *wire],
                );
            }
            As::Simple => put(&mut body, big, &[bytes.len() as u32]),
        }
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        if how != As::Simple {
            halves(&mut body, big, &[2, 4, 0, 1, 0, 0]);
        }
        let kind = match how {
            As::Enhanced => 6,
            As::Old => 2,
            As::Simple => 3,
        };
        block(&mut out, big, kind, &body);
    }
    out
}

/// Ten packets to the port, a microsecond apart.
fn ten() -> Vec<Packet> {
    let packet = |nth: u64| {
        let bytes = ethernet(&[], 0x0800, &ipv4(0, 0, 17, &udp(PORT, &nth.to_le_bytes())));
        let wire = bytes.len() as u32;
        (1_700_000_000_000_000_000 + nth * 1_000, bytes, wire)
    };
    (0..10).map(packet).collect()
}

/// A file of each kind.
pub(crate) fn files() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for big in [false, true] {
        for nanoseconds in [false, true] {
            files.push(classic(big, nanoseconds, 1, &ten()));
        }
        for how in [As::Enhanced, As::Old, As::Simple] {
            files.push(sections(big, 1, how, &ten()));
        }
    }
    files
}

fn source(file: &[u8], speed: Option<f64>) -> SourceReport {
    let net = VirtualNet::new();
    net.put_file("a.pcap", file);
    let mut line = Line::builder("packets");
    line.source(
        "feed",
        pcap("a.pcap", PORT).speed(speed).decode(datagrams()),
    );
    line.sink("end", blackhole());
    line.connect("feed", "end", Hop::depth(1024));
    let (report, _) = line
        .build()
        .unwrap()
        .run_inline(Inline::new(net.driver().into()), None)
        .unwrap();
    assert!(report.is_good(), "{:?}", report.ledger);
    report.ledger.sources["feed"].clone()
}

/// Messages, packets of others, and what was refused, of one packet on that link.
fn of(link: u32, bytes: Vec<u8>) -> (u64, u64, String) {
    let wire = bytes.len() as u32;
    of_cut(link, bytes, wire)
}

fn of_cut(link: u32, bytes: Vec<u8>, wire: u32) -> (u64, u64, String) {
    let source = source(&classic(false, true, link, &[(5, bytes, wire)]), None);
    let rejected: Vec<&str> = source.rejected.keys().map(String::as_str).collect();
    (source.ingested, source.skipped, rejected.join(" "))
}

#[test]
fn every_container_byte_order_and_resolution_gives_the_same_messages() {
    let mut hashes = Vec::new();
    for file in files() {
        for file in [file.clone(), gzipped(&file)] {
            let source = source(&file, None);
            assert_eq!(
                (source.received, source.ingested, source.skipped),
                (10, 10, 0),
                "{:?}",
                source.rejected
            );
            hashes.push(source.fidelity.unwrap().content_hash);
        }
    }
    assert!(hashes.iter().all(|hash| *hash == hashes[0]));
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn times_pace_the_replay_and_simple_packets_have_none() {
    for file in files().into_iter().take(4) {
        let source = source(&file, Some(1.0));
        let gaps = source.gaps.unwrap();
        assert_eq!(
            (gaps.gaps, gaps.mean_ns, gaps.longest_ns),
            (9, 1_000, 1_000)
        );
    }
    let at_once = source(&sections(false, 1, As::Simple, &ten()), Some(1.0));
    assert_eq!(at_once.gaps.unwrap().longest_ns, 0);
}

#[test]
fn every_link_leads_to_the_datagram() {
    let ip = ipv4(0, 0, 17, &udp(PORT, b"tick"));
    let six = ipv6(&[], &udp(PORT, b"tick"));
    let before = |front: &[u8], ip: &[u8]| [front, ip].concat();
    let cooked = |protocol: u16| [&[0; 14][..], &protocol.to_be_bytes()].concat();
    let cooked_2 = |protocol: u16| [&protocol.to_be_bytes()[..], &[0; 18]].concat();
    for (link, bytes) in [
        (1, ethernet(&[], 0x0800, &ip)),
        (1, ethernet(&[], 0x86dd, &six)),
        (1, ethernet(&[0x8100], 0x0800, &ip)),
        (1, ethernet(&[0x88a8, 0x8100], 0x0800, &ip)),
        (1, ethernet(&[0x9100, 0x88a8, 0x8100, 0x8100], 0x86dd, &six)),
        // Padded to the least length of a frame.
        (1, before(&ethernet(&[], 0x0800, &ip), &[0; 14])),
        (101, ip.clone()),
        (12, six.clone()),
        (228, ip.clone()),
        (229, six.clone()),
        (0, before(&[2, 0, 0, 0], &ip)),
        (108, before(&[0, 0, 0, 30], &six)),
        (113, before(&cooked(0x0800), &ip)),
        (113, before(&cooked(0x86dd), &six)),
        (276, before(&cooked_2(0x0800), &ip)),
        (276, before(&cooked_2(0x86dd), &six)),
    ] {
        assert_eq!(of(link, bytes), (1, 0, String::new()), "link {link}");
    }
    assert_eq!(of(105, ip), (0, 0, "unknown_link".to_owned()));
}

#[test]
fn options_and_extension_headers_are_stepped_over_and_fragments_are_counted_once() {
    let datagram = udp(PORT, b"tick");
    let eth = |bytes: &[u8]| ethernet(&[], 0x0800, bytes);
    let eth6 = |bytes: &[u8]| ethernet(&[], 0x86dd, bytes);
    let none = String::new;
    for (bytes, expected) in [
        (eth(&ipv4(10, 0, 17, &datagram)), (1, 0, none())),
        (eth6(&ipv6(&[HOP_BY_HOP], &datagram)), (1, 0, none())),
        (
            eth6(&ipv6(&[HOP_BY_HOP, DESTINATION], &datagram)),
            (1, 0, none()),
        ),
        // The whole in one fragment is no fragment.
        (eth(&ipv4(0, 0x4000, 17, &datagram)), (1, 0, none())),
        (
            eth(&ipv4(0, 0x2000, 17, &datagram)),
            (0, 0, "fragmented".to_owned()),
        ),
        (eth(&ipv4(0, 0x0003, 17, b"the rest of it")), (0, 1, none())),
        (
            eth6(&ipv6(&[FIRST_FRAGMENT], &datagram)),
            (0, 0, "fragmented".to_owned()),
        ),
        (
            eth6(&ipv6(&[LATER_FRAGMENT], b"the rest of it")),
            (0, 1, none()),
        ),
        (
            eth(&ipv4(0, 0x2000, 17, &udp(PORT + 1, b"x"))),
            (0, 1, none()),
        ),
        (eth(&ipv4(0, 0, 17, &udp(PORT + 1, b"x"))), (0, 1, none())),
        (eth(&ipv4(0, 0, 6, &[0; 20])), (0, 1, none())),
        (ethernet(&[], 0x0806, &[0; 28]), (0, 1, none())),
    ] {
        assert_eq!(of(1, bytes.clone()), expected, "{bytes:02x?}");
    }
}

#[test]
fn packets_that_were_cut_or_contradict_themselves_are_counted_where_they_are_for_the_port() {
    let whole = ethernet(&[], 0x0800, &ipv4(0, 0, 17, &udp(PORT, b"tick")));
    let wire = whole.len() as u32;
    for cut in 0..whole.len() {
        let (ingested, skipped, rejected) = of_cut(1, whole[..cut].to_vec(), wire);
        assert_eq!(
            (ingested, skipped, rejected.as_str()),
            (0, 0, "truncated"),
            "cut to {cut}"
        );
    }
    let other = ethernet(&[], 0x0800, &ipv4(0, 0, 17, &udp(PORT + 1, b"tick")));
    assert_eq!(
        of_cut(1, other[..other.len() - 2].to_vec(), wire),
        (0, 1, String::new())
    );
    // More than there is, by UDP and by IP.
    for at in [14 + 20 + 4, 14 + 2] {
        let mut bytes = whole.clone();
        bytes[at] = 0x7f;
        assert_eq!(of(1, bytes), (0, 0, "bad_header".to_owned()), "byte {at}");
    }
    let nine = ethernet(&[0x8100; 9], 0x0800, &ipv4(0, 0, 17, &udp(PORT, b"tick")));
    assert_eq!(of(1, nine), (0, 0, "bad_header".to_owned()));
}

#[test]
fn a_file_cut_at_every_byte_gives_the_whole_packets_and_says_that_it_was_cut() {
    // One of each container in each byte order.
    for file in files().into_iter().step_by(3) {
        let mut before = 0;
        for cut in 0..=file.len() {
            let source = source(&file[..cut], None);
            assert!((before..=10).contains(&source.ingested), "cut at {cut}");
            before = source.ingested;
            let rejected: u64 = source.rejected.values().sum();
            assert!(rejected <= 1, "{:?}", source.rejected);
            if cut == file.len() {
                assert_eq!((source.ingested, rejected), (10, 0));
            }
            if cut == 0 {
                assert_eq!(source.rejected["empty"], 1);
            }
        }
        assert_eq!(before, 10);
    }
}

#[test]
fn one_address_of_a_port_can_be_asked_for() {
    let net = VirtualNet::new();
    net.put_file("a.pcap", &classic(false, true, 1, &ten()));
    for (address, ingested) in [("10.0.0.2", 10), ("10.0.0.3", 0)] {
        let mut line = Line::builder("packets");
        let feed = pcap("a.pcap", PORT)
            .speed(None)
            .to(address.parse().unwrap());
        line.source("feed", feed.decode(datagrams()));
        line.sink("end", blackhole());
        line.connect("feed", "end", Hop::depth(1024));
        let (report, _) = line
            .build()
            .unwrap()
            .run_inline(Inline::new(net.driver().into()), None)
            .unwrap();
        let source = &report.ledger.sources["feed"];
        assert_eq!((source.ingested, source.skipped), (ingested, 10 - ingested));
    }
}

#[test]
fn what_is_no_file_of_packets_is_refused_once() {
    let source = source(
        b"1723161255030314667 {}\n, which is an exchange's message",
        None,
    );
    assert_eq!((source.received, source.rejected["bad_header"]), (1, 1));
}
