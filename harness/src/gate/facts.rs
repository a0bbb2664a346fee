//! What a report says of the machine that it was made on.
//!
//! Invariant: names and values only; what cannot be read is left out.

use std::collections::BTreeMap;

use hopline::host::Host;

/// Facts of the machine by name. `fingerprint` is the same on machines of one kind: processor, cores, virtual or not.
#[must_use]
pub fn of(host: &Host, clock: &str) -> BTreeMap<String, String> {
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
        let (one, other) = (of(&host, "tsc"), of(&host, "os"));
        assert_eq!(one["fingerprint"], other["fingerprint"]);
        let mut fewer = host;
        fewer.allowed.push(9_999);
        assert_ne!(of(&fewer, "tsc")["fingerprint"], one["fingerprint"]);
    }
}
