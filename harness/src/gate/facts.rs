//! What a report says of the machine that it was made on, and of the programs that were measured.
//!
//! Invariant: names and values only; what cannot be read is left out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use hopline::clock::Clock;
use hopline::host::Host;

/// Batches of readings of the clock; the one in the middle counts.
const BATCHES: usize = 101;

/// Pairs of readings in a batch: enough that the readings around it do not count.
const PAIRS: u32 = 32;

/// What a reading of the clock costs here, in nanoseconds: half of one [`Clock::stamp`] and one [`Clock::stamp_after`], which
/// every span has. About 0.2 ms.
///
/// ```
/// use hopline::clock::Clock;
/// assert!(hopline_harness::gate::facts::clock_cost_ns(&Clock::calibrated()) > 0.0);
/// ```
#[must_use]
pub fn clock_cost_ns(clock: &Clock) -> f64 {
    let mut costs = [0; BATCHES];
    for cost_ns in &mut costs {
        let began_ns = clock.stamp_after();
        for _ in 0..PAIRS {
            std::hint::black_box((clock.stamp(), clock.stamp_after()));
        }
        *cost_ns = clock.stamp_after().saturating_sub(began_ns);
    }
    costs.sort_unstable();
    costs[BATCHES / 2] as f64 / f64::from(2 * PAIRS)
}

/// Bytes of a program that are read at once.
const PROGRAM_BYTES: usize = 64 << 10;

/// What is in a file, as 16 hexadecimal digits: the FNV-1a hash of 64 bits. It tells builds apart and proves nothing. None where
/// the file cannot be read.
#[must_use]
pub fn hash_of(file: &Path) -> Option<String> {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut file = File::open(file).ok()?;
    let mut bytes = vec![0; PROGRAM_BYTES];
    let mut hash = BASIS;
    loop {
        let read = match file.read(&mut bytes) {
            Ok(0) => return Some(format!("{hash:016x}")),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        hash = bytes[..read].iter().fold(hash, step);
    }
}

/// Facts of the machine by name; `clock` is the line's and `clock_cost_ns` what a reading of it costs. `fingerprint` is the
/// same on machines of one kind: processor, cores, virtual or not.
#[must_use]
pub fn of(host: &Host, clock: &str, clock_cost_ns: f64) -> BTreeMap<String, String> {
    let first = host.allowed.first().copied().unwrap_or(0);
    let governor = format!("/sys/devices/system/cpu/cpu{first}/cpufreq/scaling_governor");
    let governor = std::fs::read_to_string(governor).ok();
    let cpu = host.cpu_model.clone();
    let cores = Some(host.allowed.len().to_string());
    let is_virtual = host
        .hypervisor
        .map(|yes| if yes { "yes" } else { "no" }.to_owned());
    let print: Vec<&str> = [&cpu, &cores, &is_virtual]
        .into_iter()
        .map(|fact| fact.as_deref().unwrap_or("unknown"))
        .collect();
    let fingerprint = Some(print.join(" / "));
    let facts = [
        ("cpu", cpu.clone()),
        ("cores", cores.clone()),
        ("kernel", host.kernel.clone()),
        ("governor", governor.map(|text| text.trim().to_owned())),
        ("virtual", is_virtual.clone()),
        ("clock", Some(clock.to_owned())),
        ("clock_cost_ns", Some(format!("{clock_cost_ns:.1}"))),
        (
            "quota_cores",
            host.quota_cores.map(|cores| cores.to_string()),
        ),
        ("fingerprint", fingerprint),
    ];
    let known = |(name, fact): (&str, Option<String>)| Some((name.to_owned(), fact?));
    facts.into_iter().filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        // The test vectors of the hash's own authors.
        for (content, hash) in [
            ("", "cbf29ce484222325"),
            ("a", "af63dc4c8601ec8c"),
            ("foobar", "85944171f73967e8"),
        ] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(hash_of(&file).as_deref(), Some(hash));
        }
        assert_eq!(hash_of(&folder.path().join("gone")), None);
        assert_eq!(hash_of(folder.path()), None);
    }

    #[test]
    fn the_fingerprint_is_the_same_for_the_same_kind_of_machine() {
        let host = Host::read();
        let (one, other) = (of(&host, "tsc", 9.0), of(&host, "os", 25.0));
        assert_eq!(one["fingerprint"], other["fingerprint"]);
        let mut fewer = host;
        fewer.allowed.push(9_999);
        assert_ne!(of(&fewer, "tsc", 9.0)["fingerprint"], one["fingerprint"]);
    }
}
