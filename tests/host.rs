//! Reading a machine from trees that are made up, broken or missing.

use std::fs;
use std::path::Path;

use hopline::host::{Host, NumaNode, usable_threads};
use tempfile::TempDir;

/// A tree with these files.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, content) in files {
        write(dir.path(), path, content.as_bytes());
    }
    dir
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn read(files: &[(&str, &str)]) -> Host {
    Host::read_from(tree(files).path())
}

const STATUS: (&str, &str) = (
    "proc/self/status",
    "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n",
);

#[test]
fn the_least_quota_of_version_2_on_the_way_up_counts() {
    let host = read(&[
        STATUS,
        ("proc/self/cgroup", "0::/a/b\n"),
        ("sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
        ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
        ("sys/fs/cgroup/cpu.max", "400000 100000\n"),
        ("sys/fs/cgroup/other/cpu.max", "1000 100000\n"),
        ("sys/fs/cgroup/a/cpuset.cpus.effective", "2-3\n"),
        ("sys/fs/cgroup/cpuset.cpus.effective", "0-7\n"),
    ]);
    assert_eq!(host.quota_cores, Some(1.5));
    assert_eq!(host.cpuset, Some(vec![2, 3]));
    assert_eq!(host.allowed, (0..8).collect::<Vec<_>>());
    assert_eq!(usable_threads(&host), 2);
}

#[test]
fn version_1_is_read_where_a_container_hides_the_path() {
    let host = read(&[
        STATUS,
        (
            "proc/self/cgroup",
            "4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n0::/\n",
        ),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ("sys/fs/cgroup/cpuset/cpuset.cpus", "4-6\n"),
    ]);
    assert_eq!(host.quota_cores, Some(3.0));
    assert_eq!(host.cpuset, Some(vec![4, 5, 6]));
    assert_eq!(usable_threads(&host), 3);
    let unlimited = read(&[
        ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
        ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
    ]);
    assert_eq!(unlimited.quota_cores, None);
}

#[test]
fn a_path_cannot_lead_out_of_the_cgroup_tree() {
    let host = read(&[
        ("proc/self/cgroup", "0::/../../../secret\n"),
        ("secret/cpu.max", "1000 100000\n"),
        ("sys/fs/cgroup/secret/cpu.max", "200000 100000\n"),
    ]);
    assert_eq!(host.quota_cores, Some(2.0));
}

#[test]
fn without_any_file_all_is_unknown_but_something_may_run() {
    let host = read(&[]);
    assert!(!host.allowed.is_empty());
    assert!(usable_threads(&host) >= 1);
    let unknown = Host {
        allowed: host.allowed.clone(),
        total_cores: None,
        quota_cores: None,
        cpuset: None,
        smt_siblings: None,
        isolated: None,
        nohz_full: None,
        numa_nodes: None,
        clock_source: None,
        clock_sources: None,
        page_bytes: None,
        huge_pages: None,
        kernel: None,
        cpu_model: None,
        hypervisor: None,
    };
    assert_eq!(host, unknown);
}

#[test]
fn every_fact_is_read() {
    let cpu = "sys/devices/system/cpu";
    let node = "sys/devices/system/node";
    let dir = tree(&[
        STATUS,
        (&format!("{cpu}/online"), "0-3\n"),
        (&format!("{cpu}/isolated"), "1-3,7\n"),
        (&format!("{cpu}/nohz_full"), "\n"),
        (
            &format!("{cpu}/cpu0/topology/thread_siblings_list"),
            "0,2\n",
        ),
        (
            &format!("{cpu}/cpu1/topology/thread_siblings_list"),
            "1,3\n",
        ),
        (
            &format!("{cpu}/cpu2/topology/thread_siblings_list"),
            "0,2\n",
        ),
        (
            &format!("{cpu}/cpu3/topology/thread_siblings_list"),
            "1,3\n",
        ),
        (&format!("{node}/online"), "0-1\n"),
        (&format!("{node}/node0/cpulist"), "0-1\n"),
        (&format!("{node}/node1/cpulist"), "2-3\n"),
        (
            "sys/devices/system/clocksource/clocksource0/current_clocksource",
            "tsc\n",
        ),
        (
            "sys/devices/system/clocksource/clocksource0/available_clocksource",
            "tsc hpet \n",
        ),
        (
            "sys/kernel/mm/transparent_hugepage/enabled",
            "always [madvise] never\n",
        ),
        ("proc/sys/kernel/osrelease", "6.1.0\n"),
        (
            "proc/cpuinfo",
            "processor\t: 0\nmodel name\t: A: fast one\nflags\t\t: fpu hypervisor avx\n\nmodel name\t: B\n",
        ),
    ]);
    let auxv = [6_usize, 16_384, 0, 0].map(usize::to_ne_bytes).concat();
    write(dir.path(), "proc/self/auxv", &auxv);
    let host = Host::read_from(dir.path());
    let nodes = [(0, vec![0, 1]), (1, vec![2, 3])];
    let expected = Host {
        allowed: (0..8).collect(),
        total_cores: Some(4),
        quota_cores: None,
        cpuset: None,
        smt_siblings: Some(vec![vec![0, 2], vec![1, 3]]),
        isolated: Some(vec![1, 2, 3, 7]),
        nohz_full: Some(vec![]),
        numa_nodes: Some(nodes.map(|(id, cores)| NumaNode { id, cores }).to_vec()),
        clock_source: Some("tsc".to_owned()),
        clock_sources: Some(vec!["tsc".to_owned(), "hpet".to_owned()]),
        page_bytes: Some(16_384),
        huge_pages: Some("madvise".to_owned()),
        kernel: Some("6.1.0".to_owned()),
        cpu_model: Some("A: fast one".to_owned()),
        hypervisor: Some(true),
    };
    assert_eq!(host, expected);
    let json = serde_json::to_value(&host).unwrap();
    assert_eq!(json["smt_siblings"][1][0], 1);
    assert_eq!(json["quota_cores"], serde_json::Value::Null);
}

#[test]
fn malformed_files_are_as_good_as_none() {
    let junk = "\u{0}\u{1}-,,-;[ : 99999999999999999999\n";
    let cpu = "sys/devices/system/cpu";
    let dir = tree(&[
        ("proc/self/status", "Cpus_allowed_list:\t5-2\n"),
        ("proc/self/cgroup", junk),
        ("proc/self/auxv", "short"),
        ("proc/cpuinfo", junk),
        ("sys/fs/cgroup/cpu.max", "999999999999999999999 1\n"),
        ("sys/fs/cgroup/cpuset.cpus.effective", junk),
        (&format!("{cpu}/online"), "0-999999999\n"),
        (&format!("{cpu}/isolated"), "1-x\n"),
        ("sys/devices/system/node/online", junk),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always"),
        ("proc/sys/kernel/osrelease", "\n"),
    ]);
    write(dir.path(), &format!("{cpu}/nohz_full"), &[0xff, 0xfe, b'1']);
    let host = Host::read_from(dir.path());
    let nothing = Host::read_from(tree(&[]).path());
    assert_eq!(host, nothing);
}

#[test]
fn usable_threads_are_never_fewer_than_one() {
    let mut host = read(&[STATUS]);
    for (quota_cores, expected) in [
        (None, 8),
        (Some(0.01), 1),
        (Some(0.0), 1),
        (Some(f64::NAN), 1),
        (Some(2.0), 2),
        (Some(2.1), 3),
        (Some(1e300), 8),
    ] {
        host.quota_cores = quota_cores;
        assert_eq!(usable_threads(&host), expected, "{quota_cores:?}");
    }
}

#[test]
fn this_machine_can_be_read() {
    let host = Host::read();
    assert_eq!(host.allowed, hopline::host::allowed_cores());
    if cfg!(target_os = "linux") {
        assert!(host.kernel.is_some());
        assert!(host.page_bytes.is_some_and(u64::is_power_of_two));
        assert!(host.total_cores.is_some_and(|cores| cores >= 1));
    }
}
