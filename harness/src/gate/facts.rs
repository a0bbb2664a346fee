//! What a report says of the machine that it was made on.
//!
//! Invariant: names and values only; what cannot be read is left out.

use std::collections::BTreeMap;

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
    fn the_fingerprint_is_the_same_for_the_same_kind_of_machine() {
        let host = Host::read();
        let (one, other) = (of(&host, "tsc", 9.0), of(&host, "os", 25.0));
        assert_eq!(one["fingerprint"], other["fingerprint"]);
        let mut fewer = host;
        fewer.allowed.push(9_999);
        assert_ne!(of(&fewer, "tsc", 9.0)["fingerprint"], one["fingerprint"]);
    }
}
