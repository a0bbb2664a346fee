//! Mutated files: no panic, nothing read past the end, an end, whatever the bytes are.

use hopline::base::Prng;
use hopline::feed::pcap::{PACKET_BYTES_MAX, Packets, Step, udp};

use crate::{file, packets};

const INPUTS: u64 = 3_000;

fn inputs() -> u64 {
    match std::env::var("HOPLINE_FUZZ_INPUTS") {
        Ok(given) => given
            .parse()
            .expect("HOPLINE_FUZZ_INPUTS is a whole number"),
        Err(_) => INPUTS,
    }
}

fn mutate(bytes: &mut Vec<u8>, prng: &mut Prng) {
    const EXTREMES: [u32; 8] = [
        0,
        1,
        0x7f,
        0xffff,
        0x1_0000,
        0x7fff_ffff,
        u32::MAX - 3,
        u32::MAX,
    ];
    for _ in 0..=prng.below(4) {
        let len = bytes.len() as u64;
        let at = prng.below(len.max(1)) as usize;
        match prng.below(7) {
            _ if len == 0 => bytes.push(prng.next_u64() as u8),
            0 => bytes[at] ^= 1 << prng.below(8),
            1 => bytes[at] = prng.next_u64() as u8,
            2 => bytes.truncate(at),
            3 => bytes.extend((0..prng.below(60)).map(|nth| nth as u8)),
            4 => drop(bytes.remove(at)),
            5 => bytes.insert(at, prng.next_u64() as u8),
            _ => {
                let at = at & !3;
                let number = EXTREMES[prng.below(8) as usize].wrapping_add(prng.below(3) as u32);
                let number = if prng.below(2) == 0 {
                    number.to_le_bytes()
                } else {
                    number.to_be_bytes()
                };
                for (place, byte) in bytes[at..].iter_mut().zip(number) {
                    *place = byte;
                }
            }
        }
    }
}

#[test]
fn mutated_captures_end_and_never_panic() {
    let whole = file::written(12, true);
    for seed in 0..inputs() {
        let mut prng = Prng::new(seed);
        let mut bytes = whole.clone();
        mutate(&mut bytes, &mut prng);
        if let Ok(read) = file::read_any(&bytes) {
            assert!(read <= 12 + bytes.len() / 48, "seed {seed}");
        }
    }
}

#[test]
fn mutated_packets_end_and_never_panic() {
    let files = packets::files();
    for seed in 0..inputs() {
        let mut prng = Prng::new(seed);
        let mut bytes = files[(seed % files.len() as u64) as usize].clone();
        mutate(&mut bytes, &mut prng);
        let (mut packets, mut rest) = (Packets::new(), &bytes[..]);
        let mut still = 0;
        loop {
            let (step, taken) = packets.next(rest);
            assert!(taken <= rest.len(), "seed {seed}");
            match step {
                Step::More | Step::Lost(_) => break,
                Step::Packet(packet) => {
                    assert!(packet.bytes.len() <= PACKET_BYTES_MAX);
                    let _ = udp(&packet, |_| true);
                }
                Step::Other | Step::Bad(_) => {}
            }
            // What takes nothing has changed what it does next.
            still = if taken == 0 { still + 1 } else { 0 };
            assert!(still < 4, "seed {seed}: it goes on and takes nothing");
            rest = &rest[taken..];
        }
    }
}
