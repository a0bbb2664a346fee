//! What the control group grants: processor time and cores, by version 2 and version 1.
//!
//! A limit on any level above binds as well, so all levels are read and the least counts. Inside a
//! container the path that the kernel names may not exist; the levels that do are read.
//!
//! Sources: Linux `Documentation/admin-guide/cgroup-v2.rst` (`cpu.max`, `cpuset.cpus.effective`),
//! `Documentation/scheduler/sched-bwc.rst` (`cpu.cfs_quota_us`), `cgroups(7)`.
//!
//! Invariant: no mount table is read; the mount points are those of systemd and of container runtimes.

use std::path::{Component, Path, PathBuf};

use crate::host::tree::Tree;

/// Version 2 alone, and beside version 1.
const MOUNTS_V2: [&str; 2] = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];
const MOUNTS_V1_CPU: [&str; 3] = [
    "sys/fs/cgroup/cpu",
    "sys/fs/cgroup/cpu,cpuacct",
    "sys/fs/cgroup/cpuacct,cpu",
];
const MOUNTS_V1_CPUSET: [&str; 1] = ["sys/fs/cgroup/cpuset"];

/// The least quota on the way to the root, in cores; `None` without one.
pub(crate) fn quota_cores(tree: &Tree) -> Option<f64> {
    let v2 = levels(&MOUNTS_V2, own(tree, ""))
        .into_iter()
        .filter_map(|level| parse_max(&tree.text(level.join("cpu.max"))?));
    let v1 = levels(&MOUNTS_V1_CPU, own(tree, "cpu"))
        .into_iter()
        .filter_map(|level| {
            let quota_us = tree.text(level.join("cpu.cfs_quota_us"))?;
            let period_us = tree.text(level.join("cpu.cfs_period_us"))?;
            parse_quota(&quota_us, &period_us)
        });
    v2.chain(v1).reduce(f64::min)
}

/// The cores of the nearest level that names some.
pub(crate) fn cpuset(tree: &Tree) -> Option<Vec<usize>> {
    let v2 = levels(&MOUNTS_V2, own(tree, ""))
        .into_iter()
        .filter_map(|level| tree.cores(level.join("cpuset.cpus.effective")));
    let v1 = levels(&MOUNTS_V1_CPUSET, own(tree, "cpuset"))
        .into_iter()
        .filter_map(|level| {
            tree.cores(level.join("cpuset.effective_cpus"))
                .or_else(|| tree.cores(level.join("cpuset.cpus")))
        });
    v2.chain(v1).find(|cores| !cores.is_empty())
}

/// This process's path under a controller (version 2 for the empty name), without any way out of
/// the mount; empty if unknown.
fn own(tree: &Tree, controller: &str) -> PathBuf {
    let table = tree.text("proc/self/cgroup").unwrap_or_default();
    let path = table.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == controller)
            .then_some(path)
    });
    Path::new(path.unwrap_or(""))
        .components()
        .filter(|part| matches!(part, Component::Normal(_)))
        .collect()
}

/// All levels of a path under all mount points, the nearest first.
fn levels(mounts: &[&str], own: PathBuf) -> Vec<PathBuf> {
    let mut levels = Vec::new();
    for mount in mounts {
        levels.extend(own.ancestors().map(|level| Path::new(mount).join(level)));
    }
    levels
}

/// `cpu.max`: `<quota or max> <period>`, in microseconds; the period alone may be left out.
fn parse_max(text: &str) -> Option<f64> {
    let mut words = text.split_whitespace();
    let quota = words.next()?;
    parse_quota(quota, words.next().unwrap_or("100000"))
}

/// A quota in cores; -1 or `max` is none.
fn parse_quota(quota_us: &str, period_us: &str) -> Option<f64> {
    let quota_us: u64 = quota_us.parse().ok()?;
    let period_us: u64 = period_us.parse().ok()?;
    (quota_us > 0 && period_us > 0).then(|| quota_us as f64 / period_us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_parsed_or_none() {
        assert_eq!(parse_max("150000 100000"), Some(1.5));
        assert_eq!(parse_max("50000"), Some(0.5));
        for text in ["max 100000", "", "x y", "100000 0", "-1 100000", "0 100000"] {
            assert_eq!(parse_max(text), None, "{text}");
        }
        assert_eq!(parse_quota("-1", "100000"), None);
    }
}
