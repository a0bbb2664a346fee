//! Mutated packets and messages of every binary feed: no panic, every byte accounted, every message and
//! every sequence under one heading, whatever the bytes are.
//!
//! `HOPLINE_FUZZ_INPUTS` says how many inputs each parser gets; by default it is a few thousand.

use hopline::base::Prng;
use hopline::feed::books::levels::{LevelBooks, LevelBooksSpec};
use hopline::feed::books::orders::{OrderBooks, OrderBooksSpec};
use hopline::feed::packets::Transport;
use hopline::feed::sequenced::{Delivery, Event, Params, Sequenced, Sink};
use hopline::feed::simulated::{Feed, Levels, Lines, LinesSpec, Orders, Restart, Saying, burst};
use hopline::feed::{Schedule, deep, iextp, itch, moldudp64, tops};

const INPUTS: u64 = 6_000;

fn inputs() -> u64 {
    match std::env::var("HOPLINE_FUZZ_INPUTS") {
        Ok(given) => given
            .parse()
            .expect("HOPLINE_FUZZ_INPUTS is a whole number"),
        Err(_) => INPUTS,
    }
}

/// A few of the changes that a wire, a sender or an enemy makes.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], prng: &mut Prng) {
    const EXTREMES: [u64; 8] = [0, 1, 2, 0x7f, 0xff, 0x7fff, 0xffff, u64::MAX];
    for _ in 0..=prng.below(3) {
        let len = bytes.len() as u64;
        let at = prng.below(len.max(1)) as usize;
        match prng.below(8) {
            _ if len == 0 => bytes.push(prng.next_u64() as u8),
            0 => bytes[at] ^= 1 << prng.below(8),
            1 => bytes[at] = prng.next_u64() as u8,
            2 => bytes.truncate(at),
            3 => bytes.extend((0..prng.below(40)).map(|nth| nth as u8)),
            4 => drop(bytes.remove(at)),
            5 => bytes.insert(at, prng.next_u64() as u8),
            // A number of two, four or eight bytes, most often in the header.
            6 => {
                let at = prng.below(len.min(44)) as usize;
                let number = EXTREMES[prng.below(8) as usize].wrapping_add(prng.below(3));
                let width = 2 << prng.below(3);
                let number = if prng.below(2) == 0 {
                    number.to_le_bytes()
                } else {
                    number.rotate_left(64 - 8 * width as u32).to_be_bytes()
                };
                for (place, byte) in bytes[at..].iter_mut().zip(&number[..width]) {
                    *place = *byte;
                }
            }
            _ => {
                let end = (at + 24).min(bytes.len()).min(other.len());
                let from = at.min(end);
                bytes[from..end].copy_from_slice(&other[from..end]);
            }
        }
    }
}

/// Packets of a simulated exchange, with losses, copies and restarts.
fn packets(saying: Saying, restart: Restart) -> (Transport, Vec<(usize, Vec<u8>)>) {
    let spec = LinesSpec {
        messages: 3_000,
        loss: 0.05,
        delayed: 0.1,
        repeated: 0.05,
        restart: Some((700, restart)),
        ..LinesSpec::default()
    };
    let mut lines = Lines::new(&spec, saying, Schedule::new(1e6, burst(), 1).unwrap());
    let (transport, mut packets) = (lines.transport(), Vec::new());
    while let Some(sent) = lines.next() {
        packets.push((sent.line, sent.bytes.to_vec()));
    }
    (transport, packets)
}

/// Applies what a feed hands out to books, and keeps account of sequences.
struct Accounts {
    orders: OrderBooks,
    levels: LevelBooks,
    era: u64,
    next: u64,
    handed_out: u64,
    given_up: u64,
}

impl Sink for Accounts {
    fn message(&mut self, m: &Delivery<'_>) {
        assert_eq!((m.era, m.sequence), (self.era, self.next));
        (self.next, self.handed_out) = (m.sequence + 1, self.handed_out + 1);
        if let Ok(message) = itch::decode(m.bytes) {
            let _counted = self.orders.apply(&message);
        }
        if let Ok(message) = deep::decode(m.bytes) {
            let _counted = self.levels.apply(&message);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Began { era, first, .. } => {
                assert_eq!(era, self.era + 1);
                (self.era, self.next) = (era, first);
            }
            Event::Lost {
                era, first, end, ..
            } => {
                assert_eq!((era, first), (self.era, self.next));
                assert!(first < end);
                self.given_up = self.given_up.saturating_add(end - first);
                self.next = end;
            }
            Event::State(_) | Event::Ended { .. } => {}
        }
    }
}

fn parse(transport: Transport, bytes: &[u8]) {
    let Ok(packet) = transport.parse(bytes) else {
        return;
    };
    let header = match transport {
        Transport::MoldUdp64 => moldudp64::HEADER_BYTES,
        Transport::IexTp { .. } => iextp::HEADER_BYTES,
    };
    let (count, mut total) = (packet.messages.len(), header);
    let mut seen = 0;
    for message in packet.messages {
        (seen, total) = (seen + 1, total + 2 + message.len());
    }
    assert_eq!(
        (seen, total),
        (count, bytes.len()),
        "every byte is accounted"
    );
    assert_eq!(packet.end() - packet.first, count as u64);
}

fn feed_mutated(saying: Saying, restart: Restart, seed: u64) {
    let (transport, packets) = packets(saying, restart);
    let params = Params {
        window_messages: 64,
        window_message_bytes: 48,
        deadline_ns: 50_000,
        stale_ns: 5_000_000,
        heals_after: 10,
        ..Params::of(transport)
    };
    let mut feed = Sequenced::new(&params).unwrap();
    let spec = OrderBooksSpec {
        symbols: 8,
        depth: 4,
        orders: 200,
        seed,
    };
    let mut accounts = Accounts {
        orders: OrderBooks::new(&spec).unwrap(),
        levels: LevelBooks::new(&LevelBooksSpec {
            symbols: 8,
            depth: 4,
        })
        .unwrap(),
        era: 0,
        next: 1,
        handed_out: 0,
        given_up: 0,
    };
    let mut prng = Prng::new(seed);
    let (mut now_ns, mut offered, mut refused) = (0, 0, 0);
    for nth in 0..inputs() {
        let pick = |prng: &mut Prng| &packets[prng.below(packets.len() as u64) as usize];
        // Mostly in order, as on a line; now and then any packet of the day.
        let (line, original) = if prng.below(4) == 0 {
            pick(&mut prng)
        } else {
            &packets[nth as usize % packets.len()]
        };
        let mut bytes = original.clone();
        if prng.below(3) != 0 {
            let other = &pick(&mut prng).1;
            mutate(&mut bytes, other, &mut prng);
        }
        parse(transport, &bytes);
        now_ns += prng.below(40_000);
        if prng.below(50) == 0 {
            feed.tick(now_ns, &mut accounts);
            now_ns += prng.below(10_000_000);
        }
        offered += 1;
        refused += u64::from(feed.packet(*line, &bytes, now_ns, &mut accounts).is_err());
    }
    feed.finish(&mut accounts);
    let union = feed.union();
    assert_eq!(
        (union.delivered, union.lost),
        (accounts.handed_out, accounts.given_up)
    );
    assert_eq!(accounts.next, feed.next_sequence());
    let (mut packets, mut rejected, mut first) = (0, 0, 0);
    for line in [0, 1] {
        let c = feed.line(line).unwrap();
        assert_eq!(
            c.messages,
            c.first + c.duplicate + c.late + c.old + c.straggler + c.unheld
        );
        packets += c.packets;
        rejected += c.rejected_all();
        first += c.first;
    }
    assert_eq!(
        (packets, rejected, first),
        (offered, refused, union.delivered)
    );
    assert!(
        refused > offered / 10 && union.delivered > offered / 10,
        "both are met"
    );
    assert!(accounts.orders.counts().messages() <= accounts.handed_out);
}

#[test]
fn mutated_packets_of_moldudp64_are_met_calmly() {
    for (seed, restart) in [(1, Restart::Session), (2, Restart::Sequence)] {
        feed_mutated(Saying::Orders(Orders::new(seed, 6, 100)), restart, seed);
    }
}

#[test]
fn mutated_packets_of_iextp_are_met_calmly() {
    for (feed, restart) in [
        (Feed::Deep, Restart::Session),
        (Feed::Tops, Restart::Sequence),
    ] {
        feed_mutated(Saying::Levels(Levels::new(feed, 3, 6)), restart, 3);
    }
}

#[test]
fn mutated_messages_are_read_or_refused() {
    let mut prng = Prng::new(7);
    let mut orders = Orders::new(1, 10, 100);
    let mut levels = [
        Levels::new(Feed::Deep, 1, 10),
        Levels::new(Feed::Tops, 1, 10),
    ];
    let (mut before, mut read) = (Vec::new(), [0_u64; 3]);
    for nth in 0..inputs() {
        let mut buffer = [0; 80];
        let which = nth as usize % 3;
        let len = match which {
            0 => orders.next(nth, buffer.first_chunk_mut().unwrap()),
            _ => levels[which - 1].next(nth, &mut buffer),
        };
        let mut bytes = buffer[..len].to_vec();
        mutate(&mut bytes, &before, &mut prng);
        if let Ok(message) = itch::decode(&bytes) {
            read[0] += 1;
            let known = itch::TYPES.iter().find(|(kind, _)| *kind == bytes[0]);
            assert_eq!(known.map(|(_, len)| *len), Some(bytes.len()), "{message:?}");
        }
        for (at, (known, types)) in [
            (deep::decode(&bytes).is_ok(), deep::TYPES),
            (tops::decode(&bytes).is_ok(), tops::TYPES),
        ]
        .into_iter()
        .enumerate()
        {
            let fits = bytes.first().is_some_and(|kind| {
                let known = types.iter().find(|(letter, _)| letter == kind);
                known.is_some_and(|(_, len)| *len <= bytes.len())
            });
            assert_eq!(known, fits, "{bytes:?}");
            read[at + 1] += u64::from(known);
        }
        before = bytes;
    }
    assert!(read.iter().all(|read| *read > inputs() / 20), "{read:?}");
}
