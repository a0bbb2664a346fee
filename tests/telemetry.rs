//! Telemetry's text formats against oracles, on the specifications' examples, on generated and on
//! captured lines, and on what is left of them after random edits; windows against a slow model; and lines that
//! take telemetry in, sum it up and write it out.
//!
//! `HOPLINE_FUZZ_INPUTS` says how many edited inputs each parser is given.

#[path = "telemetry/aggregate.rs"]
mod aggregate;
mod common;
#[path = "telemetry/edits.rs"]
mod edits;
#[path = "telemetry/graphite.rs"]
mod graphite;
#[path = "telemetry/influx.rs"]
mod influx;
#[path = "telemetry/ingress.rs"]
mod ingress;
#[path = "telemetry/panics.rs"]
mod panics;
#[path = "telemetry/rig.rs"]
mod rig;
#[path = "telemetry/statsd.rs"]
mod statsd;
#[path = "telemetry/sums.rs"]
mod sums;

use std::env;
use std::io::Read;

/// Edited inputs for each parser unless told otherwise.
const INPUTS_DEFAULT: u64 = 4_096;

fn inputs() -> u64 {
    match env::var("HOPLINE_FUZZ_INPUTS") {
        Ok(given) => given.parse().expect("HOPLINE_FUZZ_INPUTS is a number"),
        Err(_) => INPUTS_DEFAULT,
    }
}

/// The captured datagrams: each as the nanoseconds of its receipt and its bytes.
fn captured(test: &str) -> Option<Vec<(u64, Vec<u8>)>> {
    let file = common::data::data_dir(test)?.join("telemetry/statsd_dogstatsd_udp.bin.gz");
    let file = std::fs::File::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut bytes = Vec::new();
    let mut unpacked = flate2::read::MultiGzDecoder::new(file);
    unpacked.read_to_end(&mut bytes).unwrap();
    let mut rest = &bytes[..];
    let mut datagrams = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<12>() {
        let ns = u64::from_le_bytes(*head.first_chunk().unwrap());
        let len = u32::from_le_bytes(*head.last_chunk().unwrap()) as usize;
        datagrams.push((ns, tail[..len].to_vec()));
        rest = &tail[len..];
    }
    assert!(rest.is_empty(), "a record that is cut off");
    Some(datagrams)
}

/// The lines of a datagram by the rules once more.
fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.filter(|line| !line.is_empty()).collect()
}

/// What the standard library says of a number, with the reason that the formats give.
fn float(text: &str) -> Result<f64, hopline::base::Reject> {
    use hopline::base::Reject;
    match text.parse::<f64>() {
        Err(_) => Err(Reject::WrongType),
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) if text.contains(|c: char| c.is_ascii_digit()) => Err(Reject::BeyondScale),
        Ok(_) => Err(Reject::NotFinite),
    }
}

/// Whole seconds and up to nine decimals in nanoseconds, in wide arithmetic.
fn seconds_ns(text: &str) -> Option<u64> {
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(decimals) {
        return None;
    }
    let seconds: u128 = match seconds.trim_start_matches('0') {
        "" => 0,
        // More digits than any time that fits.
        seconds if seconds.len() > 30 => return None,
        seconds => seconds.parse().ok()?,
    };
    let nine: String = decimals
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    u64::try_from(seconds * 1_000_000_000 + nine.parse::<u128>().ok()?).ok()
}
